//! Commands in containers: hooks and probes, run once, bounded in time and output.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::fd::AsFd as _;

use serde_json::json;
use shim::log::Stream;
use shim::protocol::{Answer, Call, Event, Exec, ExecOutput, ExecState, Keep, RefusalCode, SignalNumber};
use shim::records::{End, Sender};

use crate::fixture::{Calls as _, Pod, container_id, exec_id, wait_until};

const KILLED: End = End::Signaled { signal: SignalNumber::KILL };

/// A pod with one container that does nothing.
fn idle(test: &str) -> Option<Pod> {
    let pod = Pod::start(test)?;
    pod.client().run(pod.shell("a", "echo ready; exec sleep 1000"));
    Some(pod)
}

#[test]
fn an_exec_tells_its_output_and_its_code() {
    let Some(pod) = idle("an_exec_tells_its_output_and_its_code") else { return };
    let mut client = pod.subscriber();
    client.exec(pod.exec("a", "x", "echo out; echo err >&2; exit 3"));
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let exit = loop {
        match client.event() {
            Event::ExecOutput { stream: Stream::Stdout, bytes, .. } => out.extend(bytes.0),
            Event::ExecOutput { stream: Stream::Stderr, bytes, .. } => err.extend(bytes.0),
            Event::ExecExited { exit, .. } => break exit,
            Event::ExecStarted(_)
            | Event::ContainerStarted(_)
            | Event::ContainerExited { .. }
            | Event::SignalSent { .. }
            | Event::OomKill { .. }
            | Event::RecordSaved { .. } => {}
        }
    };
    assert_eq!((out.as_slice(), err.as_slice()), (b"out\n".as_slice(), b"err\n".as_slice()));
    assert_eq!((&exit.end, exit.output_bytes), (&End::Exited { code: 3 }, 8));
    assert!(!exit.timed_out && !exit.output_truncated && !exit.output_open && !exit.container_exiting, "{exit:?}");
    let log = fs::read_to_string(pod.state_dir().join("execs/x/output.log")).expect("the output is kept");
    assert!(log.contains(" stdout F out\n") && log.contains(" stderr F err\n"), "{log}");
}

#[test]
fn an_exec_id_runs_once_however_often_it_is_asked_for() {
    let Some(pod) = idle("an_exec_id_runs_once_however_often_it_is_asked_for") else { return };
    let mut client = pod.subscriber();
    let request = pod.exec("a", "x", "echo ran >> /tmp/runs; while [ ! -e /tmp/go ]; do sleep 0.01; done; exit 4");
    assert!(matches!(client.exec(request.clone()).state, ExecState::Running { .. }));
    // Another client, as after a restart of the engine, while it runs and when it has ended.
    assert!(matches!(pod.client().exec(request.clone()).state, ExecState::Running { .. }));
    client.exec(pod.exec("a", "y", "echo > /tmp/go"));
    client.exec_exit("x");
    match pod.client().exec(request).state {
        ExecState::Exited(exit) => assert_eq!(exit.end, End::Exited { code: 4 }),
        running => panic!("still running: {running:?}"),
    }
    client.exec(pod.exec("a", "z", "exit $(grep -c ran /tmp/runs)"));
    assert_eq!(client.exec_exit("z").end, End::Exited { code: 1 });
}

#[test]
fn an_exec_over_its_time_is_killed_with_all_its_descendants() {
    let Some(pod) = idle("an_exec_over_its_time_is_killed_with_all_its_descendants") else { return };
    let mut client = pod.subscriber();
    let script = "busybox setsid sleep 1000 & sleep 1000 & echo started; sleep 1000";
    let request = Exec { timeout_ms: Some(300), ..pod.exec("a", "x", script) };
    client.exec(request);
    let exit = client.exec_exit("x");
    assert!(exit.timed_out, "{exit:?}");
    assert_eq!((&exit.end, exit.last_signal.map(|sent| sent.by)), (&KILLED, Some(Sender::ExecTimeout)));
    wait_until("only the container's own process is left", || processes(&pod) == 1);
}

#[test]
fn a_running_exec_is_killed_when_a_client_asks_for_it() {
    let Some(pod) = idle("a_running_exec_is_killed_when_a_client_asks_for_it") else { return };
    let mut client = pod.subscriber();
    client.exec(pod.exec("a", "x", "trap '' TERM; busybox setsid sleep 1000 & while :; do sleep 1; done"));
    let remove = Call::RemoveExec { exec: exec_id("x") };
    assert_eq!(client.refused(remove), RefusalCode::WrongState);
    client.call(Call::KillExec { exec: exec_id("x"), why: "cancelled".into() }).expect("it runs");
    let exit = client.exec_exit("x");
    assert!(!exit.timed_out && exit.end == KILLED, "{exit:?}");
    assert_eq!(exit.last_signal.map(|sent| (sent.by, sent.why)), Some((Sender::Client, "cancelled".into())));
    wait_until("only the container's own process is left", || processes(&pod) == 1);
}

#[test]
fn an_exit_is_told_promptly_though_descendants_hold_the_output_and_the_rest_can_be_killed() {
    let name = "an_exit_is_told_promptly_though_descendants_hold_the_output_and_the_rest_can_be_killed";
    let Some(pod) = idle(name) else { return };
    let mut client = pod.subscriber();
    client.exec(pod.exec("a", "x", "sleep 1000 & echo done; exit 6"));
    let exit = client.exec_exit("x");
    assert_eq!((&exit.end, exit.output_open, exit.output_bytes), (&End::Exited { code: 6 }, true, 5));
    assert_eq!(processes(&pod), 2, "the descendant must live on");
    client.call(Call::KillExec { exec: exec_id("x"), why: "rest".into() }).expect("it is remembered");
    wait_until("only the container's own process is left", || processes(&pod) == 1);
}

#[test]
fn what_an_exec_left_running_is_not_hurt_when_the_exec_is_forgotten() {
    let Some(pod) = idle("what_an_exec_left_running_is_not_hurt_when_the_exec_is_forgotten") else { return };
    let mut client = pod.subscriber();
    let script = "(while [ ! -e /tmp/go ]; do sleep 0.01; done; echo more && echo > /tmp/wrote) & exit 0";
    client.exec(pod.exec("a", "x", script));
    assert!(client.exec_exit("x").output_open);
    client.call(Call::RemoveExec { exec: exec_id("x") }).expect("it has ended");
    assert!(!pod.state_dir().join("execs/x").exists());
    assert_eq!(client.state().execs, []);
    client.exec(pod.exec("a", "y", "echo > /tmp/go; while [ ! -e /tmp/wrote ]; do sleep 0.01; done"));
    assert_eq!(client.exec_exit("y").end, End::Exited { code: 0 });
}

#[test]
fn output_over_the_cap_is_cut_and_marked_and_does_not_hold_up_the_command() {
    let Some(pod) = idle("output_over_the_cap_is_cut_and_marked_and_does_not_hold_up_the_command") else { return };
    let mut client = pod.subscriber();
    let mut request = pod.exec("a", "x", "seq 1 100000");
    request.output = ExecOutput::Captured { bytes_max: 1000 };
    client.exec(request);
    let mut told = 0;
    let exit = loop {
        match client.event() {
            Event::ExecOutput { bytes, .. } => told += bytes.0.len(),
            Event::ExecExited { exit, .. } => break exit,
            other => assert!(matches!(other, Event::ExecStarted(_)), "{other:?}"),
        }
    };
    assert_eq!((told, exit.output_bytes, exit.output_truncated), (1000, 588_895, true));
    assert_eq!(exit.end, End::Exited { code: 0 });
    let log = fs::read_to_string(pod.state_dir().join("execs/x/output.log")).expect("the output is kept");
    assert!(log.ends_with("stderr F usher: output cut after 1000 bytes\n"), "{log}");
}

#[test]
fn a_command_that_cannot_run_is_an_end_like_any_other() {
    let Some(pod) = idle("a_command_that_cannot_run_is_an_end_like_any_other") else { return };
    let mut client = pod.subscriber();
    let request = pod.exec("a", "x", "");
    let process = json!({ "args": ["tapp"], "cwd": "/", "user": { "uid": 0, "gid": 0 }, "env": ["PATH=/bin"] });
    fs::write(&request.process, process.to_string()).expect("writable");
    for _ in 0..2 {
        match client.exec(request.clone()).state {
            ExecState::Exited(exit) => match &exit.end {
                End::NotStarted { message, errno } => {
                    assert!(message.contains("tapp") && *errno == Some(2), "{exit:?}");
                }
                end => panic!("it ran: {end:?}"),
            },
            running => panic!("it runs: {running:?}"),
        }
    }
    assert!(pod.state_dir().join("execs/x/exit.json").exists());
    assert_eq!(client.exec_exit("x").process, None);
}

#[test]
fn an_exec_that_dies_with_its_container_says_so_before_the_container_does() {
    let Some(pod) = idle("an_exec_that_dies_with_its_container_says_so_before_the_container_does") else { return };
    let mut client = pod.subscriber();
    client.exec(pod.exec("a", "x", "sleep 1000"));
    let signal = SignalNumber::KILL;
    client.call(Call::SignalContainer { container: container_id("a"), signal, why: String::new() }).expect("it runs");
    let exit = loop {
        match client.event() {
            Event::ExecExited { exit, .. } => break exit,
            Event::ContainerExited { .. } => panic!("the container's end was told first"),
            Event::ExecStarted(_)
            | Event::ExecOutput { .. }
            | Event::ContainerStarted(_)
            | Event::SignalSent { .. }
            | Event::OomKill { .. }
            | Event::RecordSaved { .. } => {}
        }
    };
    assert!(exit.container_exiting, "{exit:?}");
    assert_eq!((&exit.end, &exit.last_signal), (&KILLED, &None));
    client.container_exit("a");
    assert_eq!(client.refused(Call::Exec(Box::new(pod.exec("a", "y", "true")))), RefusalCode::WrongState);
}

#[test]
fn the_streams_of_an_exec_can_be_passed_by_the_client() {
    let Some(pod) = idle("the_streams_of_an_exec_can_be_passed_by_the_client") else { return };
    let mut client = pod.subscriber();
    let mut request = pod.exec("a", "x", "cat; echo err >&2");
    request.output = ExecOutput::Passed;
    assert_eq!(client.refused(Call::Exec(Box::new(request.clone()))), RefusalCode::InvalidArgument);
    let (stdin, mut to_stdin) = std::io::pipe().expect("a pipe");
    let (mut from_stdout, stdout) = std::io::pipe().expect("a pipe");
    let (mut from_stderr, stderr) = std::io::pipe().expect("a pipe");
    let fds = [stdin.as_fd(), stdout.as_fd(), stderr.as_fd()];
    client.call_with_fds(Call::Exec(Box::new(request)), &fds).expect("it runs");
    drop((stdin, stdout, stderr));
    to_stdin.write_all(b"through and through").expect("it reads");
    drop(to_stdin);
    let (mut out, mut err) = (String::new(), String::new());
    from_stdout.read_to_string(&mut out).expect("it writes");
    from_stderr.read_to_string(&mut err).expect("it writes");
    assert_eq!((out.as_str(), err.as_str()), ("through and through", "err\n"));
    assert_eq!(client.exec_exit("x").end, End::Exited { code: 0 });
}

#[test]
fn the_terminal_of_an_exec_is_handed_to_the_client() {
    let Some(pod) = idle("the_terminal_of_an_exec_is_handed_to_the_client") else { return };
    let mut client = pod.subscriber();
    let mut request = pod.exec("a", "x", "");
    request.output = ExecOutput::Terminal;
    let process = json!({
        "args": ["/bin/sh", "-c", "stty size; exit 2"], "terminal": true, "consoleSize": { "height": 10, "width": 40 },
        "cwd": "/", "user": { "uid": 0, "gid": 0 }, "env": ["PATH=/bin"],
    });
    fs::write(&request.process, process.to_string()).expect("writable");
    let (answer, mut fds) = client.call_with_fds(Call::Exec(Box::new(request)), &[]).expect("it runs");
    assert!(matches!(answer, Answer::Exec(_)), "{answer:?}");
    let mut terminal = fs::File::from(fds.pop().expect("the terminal came along"));
    let mut output = Vec::new();
    let mut buffer = [0; 100];
    while let Ok(bytes @ 1..) = terminal.read(&mut buffer) {
        output.extend_from_slice(&buffer[..bytes]);
    }
    assert_eq!(String::from_utf8_lossy(&output), "10 40\r\n");
    assert_eq!(client.exec_exit("x").end, End::Exited { code: 2 });
}

#[test]
fn a_command_that_nobody_holds_any_more_is_killed_and_forgotten() {
    let Some(pod) = idle("a_command_that_nobody_holds_any_more_is_killed_and_forgotten") else { return };
    let mut client = pod.subscriber();
    let request = Exec { keep: Keep::WhileHeld, ..pod.exec("a", "x", "trap '' TERM; busybox setsid sleep 1000 & sleep 1000; sleep 1000") };
    assert_eq!(client.refused(Call::Exec(Box::new(request.clone()))), RefusalCode::InvalidArgument);
    let (held, hold) = std::io::pipe().expect("a pipe");
    // Another client begins it, and is gone at once: it is not the connection that counts.
    pod.client().call_with_fds(Call::Exec(Box::new(request)), &[held.as_fd()]).expect("it runs");
    drop(held);
    wait_until("the command runs", || processes(&pod) > 2);
    drop(hold);
    let exit = client.exec_exit("x");
    assert_eq!((&exit.end, exit.last_signal.map(|sent| sent.by)), (&KILLED, Some(Sender::Client)));
    wait_until("only the container's own process is left", || processes(&pod) == 1);
    wait_until("it is forgotten", || client.state().execs.is_empty() && !pod.state_dir().join("execs/x").exists());
}

#[test]
fn a_command_that_ended_is_remembered_while_somebody_holds_it() {
    let Some(pod) = idle("a_command_that_ended_is_remembered_while_somebody_holds_it") else { return };
    let mut client = pod.subscriber();
    let request = Exec { keep: Keep::WhileHeld, ..pod.exec("a", "x", "exit 3") };
    let (held, hold) = std::io::pipe().expect("a pipe");
    client.call_with_fds(Call::Exec(Box::new(request.clone())), &[held.as_fd()]).expect("it runs");
    drop(held);
    client.exec_exit("x");
    match client.exec(request).state {
        ExecState::Exited(exit) => assert_eq!(exit.end, End::Exited { code: 3 }),
        running => panic!("still running: {running:?}"),
    }
    drop(hold);
    wait_until("it is forgotten", || client.state().execs.is_empty());
}

#[test]
fn a_command_that_loses_its_terminal_may_end_by_itself_but_not_take_its_time() {
    let Some(pod) = idle("a_command_that_loses_its_terminal_may_end_by_itself_but_not_take_its_time") else { return };
    let mut client = pod.subscriber();
    for (id, script, wanted) in [
        ("ends", "trap 'exit 5' HUP; echo ready; while :; do sleep 0.05; done", End::Exited { code: 5 }),
        ("stays", "trap '' HUP; echo ready; while :; do sleep 0.05; done", KILLED),
    ] {
        let mut request = Exec { output: ExecOutput::Terminal, keep: Keep::WhileHeld, ..pod.exec("a", id, "") };
        request.process = pod.path(&format!("terminal-{id}.json"));
        let process = json!({
            "args": ["/bin/sh", "-c", script], "terminal": true,
            "cwd": "/", "user": { "uid": 0, "gid": 0 }, "env": ["PATH=/bin"],
        });
        fs::write(&request.process, process.to_string()).expect("writable");
        let (held, hold) = std::io::pipe().expect("a pipe");
        let (_, mut fds) = client.call_with_fds(Call::Exec(Box::new(request)), &[held.as_fd()]).expect("it runs");
        let mut terminal = fs::File::from(fds.pop().expect("the terminal came along"));
        let mut buffer = [0; 5];
        terminal.read_exact(&mut buffer).expect("it says that it is ready");
        drop((terminal, held, hold));
        assert_eq!(client.exec_exit(id).end, wanted, "{id}");
    }
    wait_until("both are forgotten", || client.state().execs.is_empty());
}

#[test]
fn probes_push_out_older_ones_and_hooks_stay() {
    let Some(pod) = idle("probes_push_out_older_ones_and_hooks_stay") else { return };
    let mut client = pod.subscriber();
    client.exec(pod.exec("a", "hook", "true"));
    client.exec_exit("hook");
    for n in 0..40 {
        let id = format!("probe-{n}");
        let request = Exec { keep: Keep::Recent, ..pod.exec("a", &id, "true") };
        client.exec(request);
        client.exec_exit(&id);
    }
    let execs = client.state().execs;
    assert_eq!(execs.len(), 33, "{execs:?}");
    assert!(execs.iter().any(|exec| exec.exec.as_str() == "hook"));
    assert!(execs.iter().any(|exec| exec.exec.as_str() == "probe-39"));
    assert_eq!(fs::read_dir(pod.state_dir().join("execs")).expect("readable").count(), 33);
}

/// Processes in the container, and in the groups of its execs.
fn processes(pod: &Pod) -> usize {
    let container = format!("{}/a", pod.shim.cgroup);
    let mounts = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"].map(std::path::Path::new);
    let mount = mounts.iter().find(|mount| mount.join(&container).is_dir()).expect("a version 2 hierarchy");
    let members = |folder: &std::path::Path| fs::read_to_string(folder.join("cgroup.procs")).map_or(0, |members| members.lines().count());
    let folder = mount.join(container);
    let below = fs::read_dir(&folder).expect("readable").map(|entry| members(&entry.expect("readable").path()));
    members(&folder) + below.sum::<usize>()
}
