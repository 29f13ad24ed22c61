//! The fuzz targets of this crate; see `cargo xtask fuzz`. Neither in the product nor in its interface.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::protocol::{FrameReader, Request, ServerFrame, decode_body, encode_frame};

pub use crate::monitor::fuzzing::client;

/// Any bytes as the frames of either side. Text that begins like JSON is a message on each line; of other input the first byte says
/// how long the pieces are in which the rest comes.
///
/// However they are cut, the same frames come out; and a message that is understood means the same when it is written again.
pub fn frames(data: &[u8]) {
    if data.first() == Some(&b'{') {
        return data.split(|byte| *byte == b'\n').for_each(message);
    }
    let Some((cut, wire)) = data.split_first() else { return };
    let whole = read([wire]);
    assert_eq!(read(wire.chunks(usize::from(*cut).max(1))), whole);
    whole.0.iter().for_each(|body| message(body));
}

/// The bodies up to the first error, and the error.
fn read<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Vec<u8>>, Option<String>) {
    let mut reader = FrameReader::default();
    let mut bodies = Vec::new();
    for piece in pieces {
        reader.extend(piece);
        loop {
            match reader.next_body() {
                Ok(Some(body)) => bodies.push(body.to_vec()),
                Ok(None) => break,
                Err(error) => return (bodies, Some(error.to_string())),
            }
        }
    }
    (bodies, None)
}

fn message(body: &[u8]) {
    if let Ok(request) = Request::parse(body) {
        survives(&request);
    }
    if let Ok(frame) = decode_body::<ServerFrame>(body) {
        survives(&frame);
    }
}

/// What was understood is small enough for a frame, unless base64 or escapes make it longer than it came.
fn survives<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(message: &T) {
    let mut wire = Vec::new();
    if encode_frame(message, &mut wire).is_err() {
        assert!(wire.is_empty(), "what does not fit leaves nothing behind");
        return;
    }
    let mut reader = FrameReader::default();
    reader.extend(&wire);
    let body = reader.next_body().expect("a frame").expect("a whole one");
    assert_eq!(&decode_body::<T>(body).expect("the same message"), message);
}

#[cfg(test)]
#[path = "../../../fuzz/replay.rs"]
mod replay;

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{client, frames, replay};

    fn calls() -> Vec<Value> {
        let exec = |output: Value| json!({ "exec": { "exec": "x", "container": "c", "process": "/p", "timeout_ms": 5, "output": output, "keep": "recent" } });
        let rootfs = json!({ "overlay": { "lower": ["/1"], "upper": "/u", "work": "/w" } });
        vec![
            json!({ "hello": { "protocol": 1, "client": "engine" } }),
            json!("subscribe"),
            json!({ "create_container": { "container": "c", "bundle": "/b", "rootfs": rootfs, "cgroup": "usher/p/c", "log": { "path": "/l" }, "stdio": { "pipes": { "stdin": "open" } } } }),
            json!({ "start_container": { "container": "c" } }),
            exec(json!({ "captured": { "bytes_max": 5 } })),
            exec(json!("passed")),
            json!({ "stop_container": { "container": "c", "signal": 15, "timeout_ms": 30000, "why": "deleted" } }),
            json!({ "open_stdin": { "container": "c" } }),
            json!({ "checkpoint": { "container": "c" } }),
            json!({ "shutdown": { "mode": "kill_all" } }),
        ]
    }

    fn requests() -> Vec<Vec<u8>> {
        let calls = calls().into_iter().enumerate();
        calls.map(|(id, call)| json!({ "id": id, "call": call }).to_string().into_bytes()).collect()
    }

    fn frame(body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len()).expect("a short message").to_le_bytes();
        [length.as_slice(), body].concat()
    }

    fn answers() -> Vec<u8> {
        let at = json!({ "boot_ns": 7, "wall_ns": 9 });
        let process = json!({ "pid": 7, "start_ticks": 8 });
        let signal = json!({ "signal": 9, "by": "stop_deadline", "why": "late", "at": at });
        let frames = [
            json!({ "answer": { "id": 1, "result": { "Ok": "done" } } }),
            json!({ "answer": { "id": 2, "result": { "Err": { "code": "not_found", "message": "no" } } } }),
            json!({ "answer": { "id": 3, "result": { "Ok": { "state": { "at": at, "sequence": 1, "containers": [], "execs": [] } } } } }),
            json!({ "event": { "sequence": 2, "event": { "container_started": { "container": "c", "process": process, "at": at } } } }),
            json!({ "event": { "sequence": 3, "event": { "signal_sent": { "target": { "container": "c" }, "signal": signal } } } }),
            json!({ "event": { "sequence": 4, "event": { "exec_output": { "exec": "x", "stream": "stdout", "bytes": "aGk=", "at": at } } } }),
            json!({ "event": { "sequence": 5, "event": { "oom_kill": { "container": "c", "oom_kills": 1, "at": at } } } }),
        ];
        frames.iter().map(|frame| format!("{frame}\n")).collect::<String>().into_bytes()
    }

    #[test]
    fn frames_of_the_corpus_come_out_the_same_however_they_are_cut() {
        let wire = requests().iter().flat_map(|request| frame(request)).collect::<Vec<u8>>();
        let seeds = [
            ("requests".to_owned(), [&[7], wire.as_slice()].concat()),
            ("request-lines".to_owned(), requests().join(&b'\n')),
            ("answer-lines".to_owned(), answers()),
            ("too-long".to_owned(), [&[1][..], &u32::MAX.to_le_bytes()].concat()),
            ("empty".to_owned(), vec![1, 0, 0, 0, 0]),
        ];
        replay::replay("shim_frames", seeds, frames);
    }

    #[test]
    fn clients_of_the_corpus_are_served_and_no_descriptor_of_theirs_is_kept() {
        // A piece: its length, how many descriptors come with it, and its bytes.
        let piece = |fds: u8, bytes: &[u8]| [&[u8::try_from(bytes.len()).expect("a short piece"), fds], bytes].concat();
        let whole = |fds: u8, request: &[u8]| {
            frame(request).chunks(200).enumerate().flat_map(|(at, bytes)| piece(if at == 0 { fds } else { 0 }, bytes)).collect()
        };
        let requests = requests();
        let each: Vec<Vec<u8>> = requests.iter().map(|request| whole(0, request)).collect();
        let seeds = [
            ("every-call".to_owned(), each.concat()),
            ("passed-streams".to_owned(), whole(3, &requests[5])),
            ("passed-too-many".to_owned(), [whole(3, &requests[1]), piece(3, &frame(&requests[3])[..9])].concat()),
            ("passed-with-half-a-frame".to_owned(), piece(2, &frame(&requests[0])[..9])),
            ("passed-and-never-claimed".to_owned(), [whole(1, &requests[1]), whole(2, &requests[1])].concat()),
        ];
        replay::replay("shim_client", seeds, client);
    }
}
