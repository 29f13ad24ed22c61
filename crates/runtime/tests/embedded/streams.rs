//! Commands in containers with live streams.

use runtime::{
    AttachRequest, ContainerConfig, ContainerStreams, EmbeddedRuntime, ExecError, Runtime as _, StreamingExecRequest, StreamsEnd,
    TerminalSize, WantedStreams,
};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};

use crate::support::{Machine, PATIENCE, Pod, eventually};

const ALL: WantedStreams = WantedStreams { stdin: true, stdout: true, stderr: true, tty: false };
const TERMINAL: WantedStreams = WantedStreams { stdin: true, stdout: true, stderr: false, tty: true };

fn request(pod: &Pod<'_>, container: &str, exec: &str, script: &str, streams: WantedStreams) -> StreamingExecRequest {
    StreamingExecRequest {
        pod_uid: pod.uid.clone(),
        container_id: container.to_owned(),
        exec_id: exec.to_owned(),
        command: ["sh", "-c", script].map(str::to_owned).to_vec(),
        streams,
        size: Some(TerminalSize { columns: 80, rows: 24 }),
    }
}

async fn begin(engine: &EmbeddedRuntime, request: &StreamingExecRequest) -> ContainerStreams {
    engine.exec_streams(request).await.unwrap_or_else(|error| panic!("{}", crate::support::chain(&error)))
}

/// Reads until `wanted` came; what came.
async fn read_until(reader: &mut (impl AsyncRead + Unpin), wanted: &str) -> String {
    let mut read = Vec::new();
    while !String::from_utf8_lossy(&read).contains(wanted) {
        let next = tokio::time::timeout(PATIENCE, reader.read_u8()).await;
        let next = next.unwrap_or_else(|_| panic!("{wanted:?} did not come, but {:?}", String::from_utf8_lossy(&read)));
        read.push(next.unwrap_or_else(|error| panic!("{wanted:?} did not come: {error}; {:?}", String::from_utf8_lossy(&read))));
    }
    String::from_utf8_lossy(&read).into_owned()
}

async fn read_to_end(reader: &mut (impl AsyncRead + Unpin)) -> String {
    let mut read = Vec::new();
    tokio::time::timeout(PATIENCE, reader.read_to_end(&mut read)).await.expect("it ends").expect("it can be read");
    String::from_utf8_lossy(&read).into_owned()
}

async fn code(streams: ContainerStreams) -> i32 {
    match tokio::time::timeout(PATIENCE, streams.exit).await.expect("it ends").expect("its end is known") {
        StreamsEnd::Exited(code) => code,
        other @ (StreamsEnd::ContainerEnded | StreamsEnd::Detached) => panic!("{other:?}"),
    }
}

#[test]
fn a_command_is_answered_while_it_runs() {
    let Some(machine) = Machine::new("a_command_is_answered_while_it_runs") else { return };
    let engine = machine.engine();
    let pod = Pod::start(&machine, &engine, "answers");
    let id = pod.run("app", "sleep 1000");
    machine.run(async {
        let script = "while read line; do echo \"heard $line\"; done; echo over >&2; exit 9";
        let mut streams = begin(&engine, &request(&pod, &id, "talk", script, ALL)).await;
        let (mut stdin, mut stdout) = (streams.stdin.take().expect("wanted"), streams.stdout.take().expect("wanted"));
        for word in ["one", "two"] {
            stdin.write_all(format!("{word}\n").as_bytes()).await.expect("it reads");
            assert_eq!(read_until(&mut stdout, "\n").await, format!("heard {word}\n"));
        }
        drop(stdin);
        assert_eq!(read_to_end(&mut stdout).await, "");
        assert_eq!(read_to_end(&mut streams.stderr.take().expect("wanted")).await, "over\n");
        assert_eq!(code(streams).await, 9);
    });
    pod.remove();
}

#[test]
fn a_stream_that_is_not_wanted_is_dev_null() {
    let Some(machine) = Machine::new("a_stream_that_is_not_wanted_is_dev_null") else { return };
    let engine = machine.engine();
    let pod = Pod::start(&machine, &engine, "null");
    let id = pod.run("app", "sleep 1000");
    machine.run(async {
        let wanted = WantedStreams { stdout: true, ..WantedStreams::default() };
        let script = "cat; ls -l /proc/self/fd | grep -c /dev/null; echo lost >&2";
        let mut streams = begin(&engine, &request(&pod, &id, "quiet", script, wanted)).await;
        assert!(streams.stdin.is_none() && streams.stderr.is_none() && streams.terminal.is_none());
        // The input and the errors of `ls`; its output goes to `grep`.
        assert_eq!(read_to_end(&mut streams.stdout.take().expect("wanted")).await, "2\n");
        assert_eq!(code(streams).await, 0);
    });
    pod.remove();
}

#[test]
fn a_terminal_has_the_size_that_it_is_given_and_passes_signals_on() {
    let Some(machine) = Machine::new("a_terminal_has_the_size_that_it_is_given_and_passes_signals_on") else { return };
    let engine = machine.engine();
    let pod = Pod::start(&machine, &engine, "terminal");
    let id = pod.run("app", "sleep 1000");
    machine.run(async {
        let script = "trap 'echo size $(stty size)' WINCH; trap 'echo interrupted; exit 5' INT; test -t 1 && echo $TERM $(tty) $(stty size); \
                      while :; do sleep 0.02; done";
        let mut streams = begin(&engine, &request(&pod, &id, "shell", script, TERMINAL)).await;
        let (mut stdin, mut stdout) = (streams.stdin.take().expect("wanted"), streams.stdout.take().expect("wanted"));
        assert_eq!(read_until(&mut stdout, "\r\n").await, "xterm /dev/pts/0 24 80\r\n");
        let terminal = streams.terminal.clone().expect("there is one");
        terminal.resize(TerminalSize { columns: 91, rows: 33 }).expect("a size");
        assert_eq!(read_until(&mut stdout, "\r\n").await, "size 33 91\r\n");
        stdin.write_all(b"\x03").await.expect("it reads");
        read_until(&mut stdout, "interrupted\r\n").await;
        assert_eq!(read_to_end(&mut stdout).await, "", "the end of a terminal is an end, not an error");
        assert_eq!(code(streams).await, 5);
    });
    pod.remove();
}

#[test]
fn a_command_that_nobody_waits_for_is_killed_with_all_it_started() {
    let Some(machine) = Machine::new("a_command_that_nobody_waits_for_is_killed_with_all_it_started") else { return };
    let engine = machine.engine();
    let pod = Pod::start(&machine, &engine, "dropped");
    let id = pod.run("app", "sleep 1000");
    machine.run(async {
        for (exec, streams) in [("pipes", ALL), ("terminal", TERMINAL)] {
            let script = "trap '' HUP; (trap '' HUP; sleep 555) & echo begun; sleep 555";
            let mut streams = begin(&engine, &request(&pod, &id, exec, script, streams)).await;
            read_until(streams.stdout.as_mut().expect("wanted"), "begun").await;
            drop(streams);
        }
    });
    eventually("all of both are gone", || !pod.ask(&id, "cat /proc/[0-9]*/cmdline | tr '\\0' ' '").contains("sleep 555"));
    pod.remove();
}

#[test]
fn a_terminal_that_nobody_holds_hangs_up() {
    let Some(machine) = Machine::new("a_terminal_that_nobody_holds_hangs_up") else { return };
    let engine = machine.engine();
    let pod = Pod::start(&machine, &engine, "hangup");
    let id = pod.run("app", "sleep 1000");
    machine.run(async {
        let script = "trap 'echo hung up >/tmp/said; exit 0' HUP; echo begun; while :; do sleep 0.02; done";
        let mut streams = begin(&engine, &request(&pod, &id, "shell", script, TERMINAL)).await;
        read_until(streams.stdout.as_mut().expect("wanted"), "begun").await;
        drop(streams);
    });
    eventually("the shell hears of it", || pod.ask(&id, "cat /tmp/said 2>/dev/null; true") == "hung up\n");
    pod.remove();
}

#[test]
fn a_reader_that_does_not_read_holds_up_the_command() {
    let Some(machine) = Machine::new("a_reader_that_does_not_read_holds_up_the_command") else { return };
    let engine = machine.engine();
    let pod = Pod::start(&machine, &engine, "slow");
    let id = pod.run("app", "sleep 1000");
    let script = "dd if=/dev/zero bs=1000000 count=100 2>/dev/null";
    let mut streams = machine.run(begin(&engine, &request(&pod, &id, "loud", script, ALL)));
    let mut stdout = streams.stdout.take().expect("wanted");
    machine.run(stdout.read_exact(&mut vec![0; 1_000_000])).expect("it writes");
    let of_dd = "for p in /proc/[0-9]*; do [ \"$(cat $p/comm)\" = dd ] && cat $p/stat $p/io; done; true";
    eventually("it sleeps", || pod.ask(&id, of_dd).contains("(dd) S "));
    let told = pod.ask(&id, of_dd);
    let written = told.lines().find_map(|line| line.strip_prefix("wchar: ")?.parse::<u64>().ok()).expect("a count");
    assert!(written < 5_000_000, "{written} bytes are on their way, and nobody reads them");
    machine.run(async {
        let mut rest = 0;
        let mut buffer = vec![0; 65536];
        while let read @ 1.. = stdout.read(&mut buffer).await.expect("readable") {
            rest += read;
        }
        assert_eq!(rest, 99_000_000);
        assert_eq!(code(streams).await, 0);
    });
    pod.remove();
}

#[test]
fn a_command_that_is_missing_or_has_no_container_is_an_error_at_once() {
    let Some(machine) = Machine::new("a_command_that_is_missing_or_has_no_container_is_an_error_at_once") else { return };
    let engine = machine.engine();
    let pod = Pod::start(&machine, &engine, "missing");
    let id = pod.run("app", "sleep 1000");
    machine.run(async {
        for streams in [ALL, TERMINAL] {
            let exec = if streams.tty { "no-tty" } else { "no-pipes" };
            let asked = StreamingExecRequest { command: vec!["/no/such".to_owned()], ..request(&pod, &id, exec, "", streams) };
            let error = engine.exec_streams(&asked).await.expect_err("it cannot run");
            assert!(matches!(error, ExecError::NotStarted { .. }), "{error:?}");
            assert!(error.to_string().ends_with("exec: \"/no/such\": stat /no/such: no such file or directory"), "{error}");
        }
        let error = engine.exec_streams(&request(&pod, "0000", "nowhere", "true", ALL)).await.expect_err("it cannot run");
        assert!(matches!(error, ExecError::NotRunning { .. }), "{error:?}");
    });
    pod.remove();
}

#[test]
fn the_end_of_a_container_ends_its_commands() {
    let Some(machine) = Machine::new("the_end_of_a_container_ends_its_commands") else { return };
    let engine = machine.engine();
    let pod = Pod::start(&machine, &engine, "ends");
    let id = pod.run("app", "sleep 1000");
    machine.run(async {
        let mut streams = begin(&engine, &request(&pod, &id, "victim", "echo begun; sleep 555", ALL)).await;
        read_until(streams.stdout.as_mut().expect("wanted"), "begun\n").await;
        engine.kill_container(&pod.uid, &id).await.expect("killed");
        assert_eq!(read_to_end(streams.stdout.as_mut().expect("wanted")).await, "");
        assert_eq!(code(streams).await, 137);
    });
    pod.remove();
}

fn attach(pod: &Pod<'_>, container: &str, streams: WantedStreams) -> AttachRequest {
    AttachRequest { pod_uid: pod.uid.clone(), container_id: container.to_owned(), streams, stdin_once: false }
}

#[test]
fn whoever_joins_a_container_gets_its_output_from_then_on() {
    let Some(machine) = Machine::new("whoever_joins_a_container_gets_its_output_from_then_on") else { return };
    let engine = machine.engine();
    let pod = Pod::start(&machine, &engine, "joined");
    let script = "echo before; read word; echo heard $word; echo bad >&2";
    let id = pod.run_with(&ContainerConfig { stdin: true, ..pod.container("app", script) });
    pod.wait_for_line("app", "stdout F before");
    machine.run(async {
        let watching = WantedStreams { stdin: false, ..ALL };
        let mut watcher = engine.attach(&attach(&pod, &id, watching)).await.expect("it runs");
        assert!(watcher.stdin.is_none());
        let mut typist = engine.attach(&attach(&pod, &id, ALL)).await.expect("it runs");
        typist.stdin.as_mut().expect("wanted").write_all(b"this\n").await.expect("it reads");
        for one in [&mut watcher, &mut typist] {
            assert_eq!(read_to_end(one.stdout.as_mut().expect("wanted")).await, "heard this\n");
            assert_eq!(read_to_end(one.stderr.as_mut().expect("wanted")).await, "bad\n");
        }
        for one in [watcher, typist] {
            let end = tokio::time::timeout(PATIENCE, one.exit).await.expect("it ends").expect("its end is known");
            assert_eq!(end, StreamsEnd::ContainerEnded);
        }
        let error = engine.attach(&attach(&pod, &id, ALL)).await.expect_err("it has ended");
        assert!(matches!(error, ExecError::NotRunning { .. }), "{error:?}");
    });
    assert_eq!(pod.log("app"), ["stdout F before", "stdout F heard this", "stderr F bad"]);
    pod.remove();
}

#[test]
fn input_that_is_given_once_ends_with_its_session_however_that_ends() {
    let Some(machine) = Machine::new("input_that_is_given_once_ends_with_its_session_however_that_ends") else { return };
    let engine = machine.engine();
    let mut pod = Pod::start(&machine, &engine, "once");
    for (name, is_dropped) in [("shut", false), ("dropped", true)] {
        let id = pod.run_with(&ContainerConfig { stdin: true, ..pod.container(name, "cat; echo over") });
        machine.run(async {
            let request = AttachRequest { stdin_once: true, ..attach(&pod, &id, ALL) };
            let mut session = engine.attach(&request).await.expect("it runs");
            let mut stdin = session.stdin.take().expect("wanted");
            stdin.write_all(b"word\n").await.expect("it reads");
            assert_eq!(read_until(session.stdout.as_mut().expect("wanted"), "\n").await, "word\n");
            if !is_dropped {
                stdin.shutdown().await.expect("it ends");
                assert_eq!(read_to_end(session.stdout.as_mut().expect("wanted")).await, "over\n");
            }
        });
        assert_eq!(pod.exit_of(&id).code, 0);
        assert_eq!(pod.log(name), ["stdout F word", "stdout F over"]);
    }
    pod.remove();
}

#[test]
fn other_input_is_only_let_go() {
    let Some(machine) = Machine::new("other_input_is_only_let_go") else { return };
    let engine = machine.engine();
    let pod = Pod::start(&machine, &engine, "again");
    let pipe = pod.run_with(&ContainerConfig { stdin: true, ..pod.container("pipe", "cat") });
    let terminal = pod.run_with(&ContainerConfig { stdin: true, tty: true, ..pod.container("terminal", "cat") });
    machine.run(async {
        for (id, streams, once) in [(&pipe, ALL, false), (&terminal, TERMINAL, false), (&terminal, TERMINAL, true)] {
            for word in ["one\n", "two\n"] {
                let request = AttachRequest { stdin_once: once, ..attach(&pod, id, streams) };
                let mut session = engine.attach(&request).await.expect("it runs");
                let mut stdin = session.stdin.take().expect("wanted");
                stdin.write_all(word.as_bytes()).await.expect("it reads");
                read_until(session.stdout.as_mut().expect("wanted"), "\n").await;
                stdin.shutdown().await.expect("it ends");
                let end = tokio::time::timeout(PATIENCE, session.exit).await.expect("it ends").expect("its end is known");
                assert_eq!(end, StreamsEnd::Detached);
            }
        }
        let none = engine.attach(&attach(&pod, &pipe, ALL)).await.expect("it runs on");
        assert!(none.stdin.is_some());
    });
    pod.remove();
}

#[test]
fn a_container_without_input_gives_none() {
    let Some(machine) = Machine::new("a_container_without_input_gives_none") else { return };
    let engine = machine.engine();
    let pod = Pod::start(&machine, &engine, "mute");
    let id = pod.run("app", "sleep 1000");
    machine.run(async {
        let session = engine.attach(&attach(&pod, &id, ALL)).await.expect("it runs");
        assert!(session.stdin.is_none() && session.stdout.is_some() && session.stderr.is_some() && session.terminal.is_none());
    });
    pod.remove();
}
