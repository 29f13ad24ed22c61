//! Every message survives the wire, and keeps the names that older and newer sides know.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::*;
use crate::log::{LogLimits, Stream};
use crate::moment::Moment;
use crate::records::{ContainerExit, ContainerStarted, End, ExecExit, ExecStarted, ProcessIdentity, Sender, SentSignal, ShimIdentity};

#[test]
fn every_call_survives_the_wire() {
    let container = || "c".parse::<ContainerId>().expect("an id");
    let exec = || "x".parse::<ExecId>().expect("an id");
    let why = || "why".to_owned();
    let size = TerminalSize { rows: 24, columns: 80 };
    let create = |rootfs, stdio| {
        Call::CreateContainer(Box::new(CreateContainer {
            container: container(),
            bundle: "/b".into(),
            rootfs,
            cgroup: "usher/pod/c".into(),
            log: LogTarget { path: "/l/0.log".into(), limits: LogLimits::default() },
            stdio,
            runtime: None,
        }))
    };
    let overlay = Rootfs::Overlay { lower: vec!["/1".into(), "/2".into()], upper: "/u".into(), work: "/w".into() };
    let run = |output, keep| {
        let process = "/p.json".into();
        Call::Exec(Box::new(Exec { exec: exec(), container: container(), process, timeout_ms: Some(1), output, keep }))
    };
    for call in [
        Call::Hello { protocol: 1, client: "engine".into() },
        Call::State,
        Call::Subscribe,
        create(Rootfs::Path("/r".into()), Stdio::Pipes { stdin: Stdin::Null }),
        create(overlay.clone(), Stdio::Pipes { stdin: Stdin::Open }),
        create(overlay, Stdio::Terminal),
        Call::StartContainer { container: container() },
        Call::SignalContainer { container: container(), signal: SignalNumber::TERM, why: why() },
        Call::StopContainer { container: container(), signal: SignalNumber::TERM, timeout_ms: u64::MAX, why: why() },
        Call::KillContainer { container: container(), why: why() },
        Call::RemoveContainer { container: container() },
        run(ExecOutput::Captured { bytes_max: 5 }, Keep::UntilRemoved),
        run(ExecOutput::Passed, Keep::Recent),
        run(ExecOutput::Terminal, Keep::Recent),
        Call::KillExec { exec: exec(), why: why() },
        Call::RemoveExec { exec: exec() },
        Call::ReopenLog { container: container() },
        Call::SetLogLimits { container: container(), limits: LogLimits::default() },
        Call::ResizeTerminal { container: container(), size },
        Call::OpenStdin { container: container() },
        Call::CloseStdin { container: container() },
        Call::FollowOutput { container: container() },
        Call::AttachOutput { container: container() },
        Call::UnfollowOutput { container: container() },
        Call::Stats,
        Call::Shutdown { mode: ShutdownMode::WhenEmpty },
        Call::Shutdown { mode: ShutdownMode::KillAll },
    ] {
        check(&Request { id: u64::MAX, call });
    }
}

#[test]
fn every_frame_of_the_shim_survives_the_wire() {
    let at = Moment { boot_ns: u64::MAX, wall_ns: 1 };
    let container = || "c".parse::<ContainerId>().expect("an id");
    let exec = || "x".parse::<ExecId>().expect("an id");
    let process = ProcessIdentity { pid: 7, start_ticks: u64::MAX };
    let signal = SentSignal { signal: SignalNumber::KILL, by: Sender::StopDeadline, why: "\u{0}ü\"".into(), at, handling: None };
    let exit = ContainerExit {
        container: container(),
        process,
        started_at: Some(at),
        exited_at: at,
        end: End::Signaled { signal: SignalNumber::KILL },
        oom_kills: 1,
        last_signal: Some(signal.clone()),
        log_lines_lost: 2,
    };
    let exec_exit = ExecExit {
        exec: exec(),
        container: container(),
        process: None,
        started_at: None,
        exited_at: at,
        end: End::NotStarted { message: "no".into(), errno: Some(2) },
        timed_out: true,
        container_exiting: true,
        output_bytes: 3,
        output_truncated: true,
        output_open: true,
        last_signal: None,
    };
    let status = |state| ContainerStatus {
        container: container(),
        process,
        created_at: at,
        state,
        stop_deadline: Some(StopDeadline { at, why: "w".into() }),
        last_signal: None,
        clamped: vec!["c".into()],
    };
    let exec_status = |state| ExecStatus { exec: exec(), container: container(), state };
    let shim = ShimIdentity {
        protocol: 1,
        version: "0".into(),
        pod_uid: "u".into(),
        process,
        boot_id: "b".into(),
        cgroup: "usher/pod".into(),
        started_at: at,
    };
    let snapshot = Snapshot {
        at,
        sequence: 4,
        containers: vec![
            status(ContainerState::Created),
            status(ContainerState::Running { started_at: at }),
            status(ContainerState::Exited(Box::new(exit.clone()))),
        ],
        execs: vec![
            exec_status(ExecState::Running { process, started_at: at, deadline: None }),
            exec_status(ExecState::Exited(Box::new(exec_exit.clone()))),
        ],
    };
    let stats = Stats {
        container: container(),
        at,
        cpu_usage_nanos: Some(1),
        memory_usage_bytes: None,
        memory_working_set_bytes: Some(2),
        memory_rss_bytes: None,
        pids: Some(3),
    };
    for answer in [
        Answer::Hello(Greeting { shim }),
        Answer::State(snapshot),
        Answer::Container(status(ContainerState::Created)),
        Answer::Stopping(StopAccepted { deadline: at, signaled_at: at }),
        Answer::Exec(exec_status(ExecState::Exited(Box::new(exec_exit.clone())))),
        Answer::Stats(vec![stats]),
        Answer::Done,
    ] {
        check(&ServerFrame::Answer { id: 1, result: Ok(Box::new(answer)) });
    }
    check(&ServerFrame::Answer { id: 1, result: Err(Refusal::new(RefusalCode::NotFound, "no")) });
    check(&ServerFrame::Output { container: container(), stream: Stream::Stdout, bytes: RawBytes(vec![0, 255]), at });
    for event in [
        Event::ContainerStarted(ContainerStarted { container: container(), process, at }),
        Event::ContainerExited { exit: Box::new(exit), recorded: Recorded::Unsaved { error: "full".into() } },
        Event::SignalSent { target: Target::Exec(exec()), signal },
        Event::ExecStarted(ExecStarted { exec: exec(), container: container(), process, at }),
        Event::ExecOutput { exec: exec(), stream: Stream::Stderr, bytes: RawBytes((0..=255).collect()), at },
        Event::ExecExited { exit: Box::new(exec_exit), recorded: Recorded::Saved },
        Event::OomKill { container: container(), oom_kills: 1, at, memory: None },
        Event::RecordSaved { target: Target::Container(container()) },
    ] {
        check(&ServerFrame::Event { sequence: 9, event });
    }
}

#[test]
fn the_names_on_the_wire_are_those_that_running_shims_know() {
    let stop = json!({ "id": 3, "call": { "stop_container":
        { "container": "c", "signal": 15, "timeout_ms": 30000, "why": "deleted" } } });
    let parsed = Request::parse(stop.to_string().as_bytes()).expect("a call of version 1");
    assert_eq!(serde_json::to_value(&parsed).expect("JSON"), stop);
    let create = json!({ "id": 4, "call": { "create_container": {
        "container": "c", "bundle": "/b", "rootfs": { "overlay": { "lower": ["/1"], "upper": "/u", "work": "/w" } },
        "cgroup": "usher/pod/c", "log": { "path": "/l", "limits": { "file_bytes_max": 10, "files_max": 2 } },
        "stdio": { "pipes": { "stdin": "null" } } } } });
    let parsed = Request::parse(create.to_string().as_bytes()).expect("a call of version 1");
    assert_eq!(serde_json::to_value(&parsed).expect("JSON"), create);
}

#[test]
fn fields_that_a_newer_side_adds_are_no_error() {
    let newer = json!({ "id": 1, "call": { "remove_exec": { "exec": "x", "gently": true } }, "trace": "t" });
    assert!(Request::parse(newer.to_string().as_bytes()).is_ok());
}

fn check<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(message: &T) {
    let mut wire = Vec::new();
    encode_frame(message, &mut wire).expect("it fits");
    let mut reader = FrameReader::default();
    reader.extend(&wire);
    let body = reader.next_body().expect("a frame").expect("a whole one");
    assert_eq!(&decode_body::<T>(body).expect("the same message"), message);
}
