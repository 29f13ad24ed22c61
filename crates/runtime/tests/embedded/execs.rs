//! Commands in containers.

use std::time::{Duration, Instant};

use runtime::{ExecError, Runtime as _, RuntimeEvent};

use crate::support::{Machine, Pod};

#[test]
fn a_command_tells_its_lines_and_its_end() {
    let Some(machine) = Machine::new("a_command_tells_its_lines_and_its_end") else { return };
    let engine = machine.engine();
    let mut pod = Pod::start(&machine, &engine, "says");
    let id = pod.run("app", "sleep 1000");
    let request = pod.request(&id, "hook", &["sh", "-c", "echo one; echo two >&2; echo -n three; exit 9"]);
    let result = machine.run(engine.exec(&request)).expect("a result");
    assert_eq!((result.exit_code, result.stdout.as_str(), result.stderr.as_str()), (9, "one\nthree", "two\n"));
    assert!(!result.truncated && !result.timed_out && !result.killed && !result.container_ended);
    assert!(result.started_at.boot_nanos <= result.finished_at.boot_nanos);
    let mut lines = Vec::new();
    while lines.len() < 3 {
        if let RuntimeEvent::ExecOutput { exec_id, stream, line, .. } = pod.event() {
            assert_eq!(exec_id, "hook");
            lines.push(format!("{stream} {line}"));
        }
    }
    lines.sort();
    assert_eq!(lines, ["stderr two", "stdout one", "stdout three"]);
    let again = machine.run(engine.exec(&request)).expect("the same result");
    assert_eq!(again, result, "asked again, it is not run again");
    pod.remove();
}

#[test]
fn a_command_that_is_missing_is_told_in_the_usual_words() {
    let Some(machine) = Machine::new("a_command_that_is_missing_is_told_in_the_usual_words") else { return };
    let engine = machine.engine();
    let pod = Pod::start(&machine, &engine, "missing");
    let id = pod.run("app", "sleep 1000");
    for (exec, command, text) in [
        ("absolute", "/no/such/command", r#"exec: "/no/such/command": stat /no/such/command: no such file or directory"#),
        ("path", "no-such-command", r#"exec: "no-such-command": executable file not found in $PATH"#),
        ("folder", "/tmp", r#"exec: "/tmp": is a directory"#),
    ] {
        let error = machine.run(engine.exec(&pod.request(&id, exec, &[command]))).expect_err("it cannot run");
        // As in trace `b-poststart-badcommand`.
        let expected = format!(
            "failed to exec in container: failed to start exec \"{exec}\": OCI runtime exec failed: exec failed: \
             unable to start container process: {text}"
        );
        assert!(matches!(error, ExecError::NotStarted { .. }));
        assert_eq!(error.to_string(), expected);
    }
    let ended = pod.create(&pod.container("created", "true"));
    for container in [ended.as_str(), "0000"] {
        let error = machine.run(engine.exec(&pod.request(container, "nowhere", &["true"]))).expect_err("it cannot run");
        assert!(matches!(error, ExecError::NotRunning { .. }), "{error:?}");
    }
    pod.remove();
}

#[test]
fn a_command_is_killed_with_all_it_started() {
    let Some(machine) = Machine::new("a_command_is_killed_with_all_it_started") else { return };
    let engine = machine.engine();
    let mut pod = Pod::start(&machine, &engine, "tree");
    let id = pod.run("app", "sleep 1000");
    let mut request = pod.request(&id, "timed", &["sh", "-c", "(sleep 555; true) & echo begun; sleep 555"]);
    request.timeout = Some(Duration::from_millis(300));
    let begun = Instant::now();
    let result = machine.run(engine.exec(&request)).expect("a result");
    assert!(result.timed_out && !result.killed && !result.container_ended, "{result:?}");
    assert_eq!((result.exit_code, result.stdout.as_str()), (137, "begun\n"));
    assert!(begun.elapsed() < Duration::from_secs(10));

    let request = pod.request(&id, "cancelled", &["sh", "-c", "(sleep 555; true) & echo begun; sleep 555"]);
    let running = {
        let engine = engine.clone();
        machine.run(async { tokio::spawn(async move { engine.exec(&request).await }) })
    };
    loop {
        if matches!(pod.event(), RuntimeEvent::ExecOutput { exec_id, .. } if exec_id == "cancelled") {
            break;
        }
    }
    machine.run(engine.kill_exec("tree", "cancelled")).expect("killed");
    let result = machine.run(running).expect("no panic").expect("a result");
    assert!(result.killed && !result.timed_out && !result.container_ended, "{result:?}");
    machine.run(engine.kill_exec("tree", "cancelled")).expect("killed already");
    crate::support::eventually("all of both are gone", || !pod.ask(&id, "cat /proc/[0-9]*/cmdline | tr '\\0' ' '").contains("sleep 555"));
    pod.remove();
}

#[test]
fn output_is_kept_up_to_the_cap() {
    let Some(machine) = Machine::new("output_is_kept_up_to_the_cap") else { return };
    let engine = machine.engine();
    let pod = Pod::start(&machine, &engine, "cap");
    let id = pod.run("app", "sleep 1000");
    let mut request = pod.request(&id, "loud", &["sh", "-c", "i=0; while [ $i -lt 1000 ]; do echo 123456789; i=$((i+1)); done"]);
    request.output_cap = 100;
    let result = machine.run(engine.exec(&request)).expect("a result");
    assert_eq!((result.exit_code, result.stdout, result.truncated), (0, "123456789\n".repeat(10), true));
    assert_eq!(result.stderr, "");
    pod.remove();
}

#[test]
fn many_probes_do_not_fill_the_shim() {
    let Some(machine) = Machine::new("many_probes_do_not_fill_the_shim") else { return };
    let engine = machine.engine();
    let pod = Pod::start(&machine, &engine, "probes");
    let id = pod.run("app", "sleep 1000");
    for round in 0..300 {
        let exec = if round % 2 == 0 { format!("probe-{round}") } else { format!("other-{round}") };
        let result = machine.run(engine.exec(&pod.request(&id, &exec, &["true"]))).expect("a result");
        assert_eq!(result.exit_code, 0);
    }
    pod.remove();
}
