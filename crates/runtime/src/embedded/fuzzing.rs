//! A fuzz target: what a shim may answer, from the engine's side.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use shim::protocol::{Answer, ExecId, ServerFrame, decode_body};

use super::story::{Story, Told};
use crate::RuntimeEvent;

/// Messages of a shim, one on each line; what is none is passed over, and an empty line is a second that passes.
///
/// Whatever is told, the end of a container and of a command is told once (as long as no snapshot says that the shim has forgotten
/// it), and with time nothing is held back for ever.
pub fn shim_answers(data: &[u8]) {
    let mut story = Story::default();
    let mut now = Instant::now();
    let mut ended = Ended::default();
    for line in data.split(|byte| *byte == b'\n') {
        match decode_body(line) {
            Ok(ServerFrame::Answer { result: Ok(answer), .. }) => match *answer {
                Answer::State(snapshot) => {
                    ended.containers.retain(|id| snapshot.containers.iter().any(|status| status.container.as_str() == id));
                    ended.execs.retain(|id| snapshot.execs.iter().any(|status| status.exec == *id));
                    story.handle_snapshot(snapshot, now);
                }
                Answer::Exec(status) => story.handle_exec_status(status, now),
                Answer::Hello(_) | Answer::Container(_) | Answer::Stopping(_) | Answer::Stats(_) | Answer::Done => {}
            },
            Ok(ServerFrame::Event { event, .. }) => story.handle_event(event, now),
            Ok(ServerFrame::Answer { result: Err(_), .. } | ServerFrame::Output { .. }) => {}
            Err(_) if line.is_empty() => {
                now += Duration::from_secs(1);
                story.handle_timeout(now);
            }
            Err(_) => {}
        }
        ended.take(&mut story);
    }
    story.handle_timeout(now + Duration::from_secs(60));
    ended.take(&mut story);
    assert_eq!(story.poll_timeout(), None, "something is held back for ever");
    story.handle_lost();
    ended.take(&mut story);
}

/// What has been told as ended.
#[derive(Debug, Default)]
struct Ended {
    containers: BTreeSet<String>,
    execs: BTreeSet<ExecId>,
}

impl Ended {
    fn take(&mut self, story: &mut Story) {
        while let Some(told) = story.poll_told() {
            match told {
                Told::ExecEnded(end) => assert!(self.execs.insert(end.exit.exec.clone()), "told twice: {end:?}"),
                Told::Event(RuntimeEvent::ContainerExited { container_id, exit }) => {
                    assert!(self.containers.insert(container_id), "told twice: {exit:?}");
                }
                Told::Event(_) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::shim_answers;
    use crate::fuzzing::replay::replay;

    fn event(event: &Value) -> String {
        json!({ "event": { "sequence": 1, "event": event } }).to_string()
    }

    #[test]
    fn answers_of_the_corpus_are_told_to_an_end() {
        let at = json!({ "boot_ns": 7, "wall_ns": 9 });
        let process = json!({ "pid": 7, "start_ticks": 8 });
        let exit = json!({ "container": "c", "process": process, "started_at": at, "exited_at": at, "end": { "signaled": { "signal": 9 } },
            "oom_kills": 0, "last_signal": null, "log_lines_lost": 0 });
        let exec_exit = json!({ "exec": "x", "container": "c", "process": process, "started_at": at, "exited_at": at,
            "end": { "signaled": { "signal": 9 } }, "timed_out": false, "container_exiting": false, "output_bytes": 0,
            "output_truncated": false, "output_open": false, "last_signal": null });
        let life = [
            event(&json!({ "container_started": { "container": "c", "process": process, "at": at } })),
            event(&json!({ "exec_started": { "exec": "x", "container": "c", "process": process, "at": at } })),
            event(&json!({ "exec_output": { "exec": "x", "stream": "stdout", "bytes": "aGkK", "at": at } })),
            event(&json!({ "oom_kill": { "container": "c", "oom_kills": 1, "at": at } })),
            event(&json!({ "exec_exited": { "exit": exec_exit, "recorded": "saved" } })),
            event(&json!({ "container_exited": { "exit": exit, "recorded": "saved" } })),
        ];
        let status = json!({ "container": "c", "process": process, "created_at": at, "state": { "exited": exit }, "stop_deadline": null,
            "last_signal": null, "clamped": [] });
        let exec = json!({ "exec": "x", "container": "c", "state": { "exited": exec_exit } });
        let snapshot = json!({ "at": at, "sequence": 1, "containers": [status], "execs": [exec] });
        let state = json!({ "answer": { "id": 1, "result": { "Ok": { "state": snapshot } } } }).to_string();
        for line in life.iter().chain([&state]) {
            let decoded = shim::protocol::decode_body::<shim::protocol::ServerFrame>(line.as_bytes());
            assert!(decoded.is_ok(), "a seed that is no message says nothing: {line}: {decoded:?}");
        }
        let mut held = life.clone();
        held[5].clear();
        let seeds = [
            ("life".to_owned(), life.join("\n").into_bytes()),
            ("held".to_owned(), held.join("\n").into_bytes()),
            ("snapshot".to_owned(), [life[0].as_str(), &state, &life[5], "", &state].join("\n").into_bytes()),
        ];
        replay("shim_answers", seeds, shim_answers);
    }
}
