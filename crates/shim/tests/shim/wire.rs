//! Clients that misbehave, and what becomes of the others.

use std::io::{Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use shim::client::connect;
use shim::protocol::{
    Answer, Call, FrameReader, PROTOCOL_VERSION, RefusalCode, Request, ServerFrame, decode_body, encode_frame, send_with_fds,
};

use crate::fixture::{Calls as _, Pod, WITHIN};

#[test]
fn a_frame_that_is_none_closes_only_the_client_that_sent_it() {
    let Some(pod) = Pod::start("a_frame_that_is_none_closes_only_the_client_that_sent_it") else { return };
    let mut other = pod.client();
    let too_long = u32::MAX.to_le_bytes();
    let empty = 0_u32.to_le_bytes();
    let no_json = [4, 0, 0, 0, b'{', b'{', b'{', b'{'];
    let no_request = [4, 0, 0, 0, b'n', b'u', b'l', b'l'];
    for hostile in [too_long.as_slice(), &empty, &no_json, &no_request] {
        let mut stream = raw(&pod);
        stream.write_all(hostile).expect("the shim listens");
        assert_closed(&mut stream, hostile);
        other.state();
    }
}

#[test]
fn a_client_that_goes_away_in_the_middle_of_a_frame_harms_nobody() {
    let Some(pod) = Pod::start("a_client_that_goes_away_in_the_middle_of_a_frame_harms_nobody") else { return };
    let mut stream = raw(&pod);
    stream.write_all(&[200, 0, 0, 0, b'{', b'"']).expect("the shim listens");
    drop(stream);
    pod.client().state();
}

#[test]
fn a_call_of_a_newer_version_is_refused_and_the_client_goes_on() {
    let Some(pod) = Pod::start("a_call_of_a_newer_version_is_refused_and_the_client_goes_on") else { return };
    let mut stream = raw(&pod);
    let hello = Call::Hello { protocol: PROTOCOL_VERSION, client: "raw".into() };
    assert!(exchange(&mut stream, &Request { id: 1, call: hello }).is_ok());
    let newer = serde_json::json!({ "id": 7, "call": { "checkpoint": { "container": "a" } } });
    assert_eq!(exchange(&mut stream, &newer).map_err(|refusal| refusal.code), Err(RefusalCode::UnknownCall));
    let wrong = serde_json::json!({ "id": 8, "call": { "kill_exec": { "exec": "../up", "why": "" } } });
    assert_eq!(exchange(&mut stream, &wrong).map_err(|refusal| refusal.code), Err(RefusalCode::UnknownCall));
    assert!(exchange(&mut stream, &Request { id: 9, call: Call::State }).is_ok());
}

#[test]
fn nothing_is_served_before_a_greeting_in_the_same_version() {
    let Some(pod) = Pod::start("nothing_is_served_before_a_greeting_in_the_same_version") else { return };
    let mut stream = raw(&pod);
    let refused = |stream: &mut UnixStream, call| exchange(stream, &Request { id: 1, call }).map_err(|it| it.code);
    assert_eq!(refused(&mut stream, Call::State), Err(RefusalCode::NotGreeted));
    let other = Call::Hello { protocol: PROTOCOL_VERSION + 1, client: "newer".into() };
    assert_eq!(refused(&mut stream, other), Err(RefusalCode::NotGreeted));
    assert_eq!(refused(&mut stream, Call::State), Err(RefusalCode::NotGreeted));
}

#[test]
fn a_client_that_does_not_read_is_dropped_and_the_others_are_served() {
    let Some(pod) = Pod::start("a_client_that_does_not_read_is_dropped_and_the_others_are_served") else { return };
    let mut stream = raw(&pod);
    stream.set_write_timeout(Some(WITHIN)).expect("a socket");
    let mut requests = Vec::new();
    let hello = Call::Hello { protocol: PROTOCOL_VERSION, client: "deaf".into() };
    encode_frame(&Request { id: 0, call: hello }, &mut requests).expect("fits");
    for id in 0..1_000 {
        encode_frame(&Request { id, call: Call::State }, &mut requests).expect("fits");
    }
    // The shim must end this connection, not stop reading it or grow without bound.
    let mut rounds = 0;
    while stream.write_all(&requests).is_ok() {
        rounds += 1;
        assert!(rounds < 1_000, "the shim keeps answers for a client that does not read");
    }
    pod.client().state();
}

#[test]
fn a_client_that_passes_more_files_than_a_call_can_take_is_dropped_and_they_are_closed() {
    let name = "a_client_that_passes_more_files_than_a_call_can_take_is_dropped_and_they_are_closed";
    let Some(pod) = Pod::start(name) else { return };
    let mut stream = raw(&pod);
    let (mut reader, writer) = std::io::pipe().expect("a pipe");
    for _ in 0..3 {
        // A byte of a length, so that no frame ever claims them.
        send_with_fds(stream.as_fd(), &[1], &[writer.as_fd(), writer.as_fd()]).expect("the shim listens");
    }
    drop(writer);
    assert_closed(&mut stream, b"six files");
    assert_eq!(reader.read(&mut [0]).expect("a pipe"), 0, "the shim kept a file");
    pod.client().state();
}

#[test]
fn whoever_connects_and_says_nothing_does_not_keep_others_out() {
    let Some(pod) = Pod::start("whoever_connects_and_says_nothing_does_not_keep_others_out") else { return };
    let silent: Vec<_> = (0..40).map(|_| raw(&pod)).collect();
    pod.client().state();
    drop(silent);
}

#[test]
fn there_is_a_bound_on_clients() {
    let Some(pod) = Pod::start("there_is_a_bound_on_clients") else { return };
    let clients: Vec<_> = (0..16).map(|_| pod.client()).collect();
    assert_closed(&mut raw(&pod), b"");
    drop(clients);
    pod.client().state();
}

fn raw(pod: &Pod) -> UnixStream {
    let stream = connect(&pod.state_dir()).expect("the shim listens");
    stream.set_read_timeout(Some(WITHIN)).expect("a socket");
    stream
}

fn exchange<T: serde::Serialize>(stream: &mut UnixStream, request: &T) -> Result<Answer, shim::protocol::Refusal> {
    let mut bytes = Vec::new();
    encode_frame(request, &mut bytes).expect("fits");
    stream.write_all(&bytes).expect("the shim listens");
    let mut reader = FrameReader::default();
    let mut buffer = [0; 4096];
    loop {
        let received = stream.read(&mut buffer).expect("an answer in time");
        assert!(received > 0, "the shim closed the connection");
        reader.extend(&buffer[..received]);
        if let Some(body) = reader.next_body().expect("a frame") {
            match decode_body(body).expect("a frame of the shim") {
                ServerFrame::Answer { result, .. } => return result.map(|answer| *answer),
                other => panic!("not an answer: {other:?}"),
            }
        }
    }
}

fn assert_closed(stream: &mut UnixStream, after: &[u8]) {
    let mut rest = Vec::new();
    stream.set_read_timeout(Some(WITHIN.max(Duration::from_secs(1)))).expect("a socket");
    match stream.read_to_end(&mut rest) {
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {}
        Err(error) => panic!("not closed after {after:?}: {error}"),
    }
}
