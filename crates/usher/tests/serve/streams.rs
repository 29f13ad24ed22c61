//! Commands in containers, with everything that kubectl can carry, and with `usher exec`.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::Stdio;
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::support::PATIENCE;
use crate::terminal::InTerminal;
use crate::{Served, kubectl, machine, machine_with_new_kubectl};

/// The ways of kubectl to speak to a server: WebSocket, SPDY, and one that knows nothing but SPDY.
fn ways() -> Vec<(String, &'static [(&'static str, &'static str)])> {
    let mut ways: Vec<(String, &'static [(&str, &str)])> = vec![
        (kubectl().to_owned(), &[("KUBECTL_REMOTE_COMMAND_WEBSOCKETS", "true")]),
        (kubectl().to_owned(), &[("KUBECTL_REMOTE_COMMAND_WEBSOCKETS", "false")]),
    ];
    ways.extend(std::env::var("KUBECTL_OLD").ok().map(|old| (old, [].as_slice())));
    ways
}

#[test]
fn kubectl_exec_carries_input_output_and_codes() {
    let Some(machine) = machine("kubectl_exec_carries_input_output_and_codes") else { return };
    let served = Served::start(&machine);
    served.start_pod();
    for (kubectl, environment) in ways() {
        let run = |arguments: &[&str]| {
            let mut command = served.command(&kubectl, arguments);
            command.envs(environment.iter().copied());
            command
        };
        let mut child =
            run(&["exec", "-i", "web", "--", "sh", "-c", "while read word; do echo \"heard $word\"; done; echo over >&2; exit 7"])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .expect("kubectl starts");
        let mut stdin = child.stdin.take().expect("piped");
        let mut stdout = BufReader::new(child.stdout.take().expect("piped"));
        for word in ["one", "two"] {
            writeln!(stdin, "{word}").expect("it reads");
            let mut line = String::new();
            stdout.read_line(&mut line).expect("it answers");
            assert_eq!(line, format!("heard {word}\n"), "{kubectl} {environment:?}");
        }
        drop(stdin);
        let output = child.wait_with_output().expect("it ends");
        let err = String::from_utf8_lossy(&output.stderr);
        assert!(err.starts_with("over\n") && err.contains("exit code 7"), "{kubectl} {environment:?}: {err}");
        let output = run(&["exec", "web", "--", "/no/such/program"]).output().expect("kubectl runs");
        let err = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && err.contains("stat /no/such/program: no such file or directory"), "{err}");
    }
    served.ok(&["delete", "pod", "web"]);
}

#[test]
fn sessions_of_kubectl_stand_in_the_journal_with_their_user_and_their_end() {
    let Some(machine) = machine("sessions_of_kubectl_stand_in_the_journal_with_their_user_and_their_end") else { return };
    let served = Served::start(&machine);
    served.start_pod();
    let output = served.command("kubectl", &["exec", "web", "--", "sh", "-c", "exit 4"]).output().expect("kubectl runs");
    assert!(String::from_utf8_lossy(&output.stderr).contains("exit code 4"), "{output:?}");
    served.command("kubectl", &["exec", "web", "--", "/no/such/program"]).output().expect("kubectl runs");
    // The client that goes away is told of as an end without a code.
    let mut child = served.command("kubectl", &["exec", "-i", "web", "--", "sh", "-c", "echo begun; cat"]);
    let mut child = child.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("kubectl starts");
    let mut begun = [0; 6];
    child.stdout.take().expect("piped").read_exact(&mut begun).expect("it begins");
    child.kill().expect("it is killed");
    child.wait().expect("it ends");
    let deadline = Instant::now() + PATIENCE;
    let sessions = loop {
        let kept = machine.output(["journal", "web", "-o", "json"]);
        let entries =
            String::from_utf8_lossy(&kept.stdout).lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()).collect::<Vec<_>>();
        let sessions: Vec<Value> = entries.iter().map(|entry| entry["session"].clone()).filter(Value::is_object).collect();
        if sessions.iter().filter(|session| !session["finishedAt"].is_null()).count() == 3 {
            break sessions;
        }
        assert!(Instant::now() < deadline, "{sessions:#?}");
    };
    assert_eq!(sessions.len(), 6, "each begin and each end: {sessions:#?}");
    assert!(
        sessions.iter().all(|session| session["by"] == "usher-admin" && session["verb"] == "exec" && session["container"] == "app"),
        "{sessions:#?}"
    );
    let ends: Vec<&Value> = sessions.iter().filter(|session| !session["finishedAt"].is_null()).collect();
    assert_eq!((&ends[0]["command"], &ends[0]["exitCode"]), (&json!(["sh", "-c", "exit 4"]), &json!(4)));
    assert_eq!((&ends[2]["command"][2], &ends[2]["exitCode"]), (&json!("echo begun; cat"), &Value::Null));
    served.ok(&["delete", "pod", "web"]);
}

#[test]
fn kubectl_exec_gives_a_terminal() {
    let Some(machine) = machine("kubectl_exec_gives_a_terminal") else { return };
    let served = Served::start(&machine);
    served.start_pod();
    for (kubectl, environment) in ways() {
        let mut command = served.command(&kubectl, &["exec", "-it", "web", "--", "sh"]);
        command.envs(environment.iter().copied());
        let mut terminal = InTerminal::start(&command);
        terminal.wait_for("# ");
        // The size comes after the terminal.
        terminal.write("while [ \"$(stty size 2>/dev/null)\" != '24 80' ]; do sleep 0.05; done; tty\r");
        terminal.wait_for("/dev/pts/");
        terminal.write("while [ \"$(stty size)\" != '40 100' ]; do sleep 0.05; done; echo it is larger | tr a-z A-Z\r");
        terminal.resize(40, 100);
        terminal.wait_for("IT IS LARGER\r\n");
        terminal.write("sh -c 'echo begun | tr a-z A-Z; exec sleep 1000'\r");
        terminal.wait_for("BEGUN\r\n");
        terminal.write("\x03");
        terminal.wait_for("# ");
        terminal.write("exit 9\r");
        let (status, shown) = terminal.end();
        assert!(!status.success() && shown.contains("exit code 9"), "{kubectl} {environment:?}: {shown}");
    }
    served.ok(&["delete", "pod", "web"]);
}

#[test]
fn kubectl_cp_carries_large_files_both_ways() {
    let Some(machine) = machine("kubectl_cp_carries_large_files_both_ways") else { return };
    let served = Served::start(&machine);
    served.start_pod();
    let (there, back) = (machine.path().join("there"), machine.path().join("back"));
    let content: Vec<u8> = (0..50_000_000_u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    std::fs::write(&there, &content).expect("written");
    for (kubectl, environment) in ways() {
        for arguments in [["cp", there.to_str().expect("text"), "web:/tmp/file"], ["cp", "web:/tmp/file", back.to_str().expect("text")]] {
            let mut command = served.command(&kubectl, &arguments);
            let output = command.envs(environment.iter().copied()).output().expect("kubectl runs");
            assert!(output.status.success(), "{kubectl} {environment:?} {arguments:?}: {output:?}");
        }
        assert!(std::fs::read(&back).expect("it came back") == content, "{kubectl} {environment:?}: it is another one");
        std::fs::remove_file(&back).expect("removed");
        served.ok(&["exec", "web", "--", "rm", "/tmp/file"]);
    }
    served.ok(&["delete", "pod", "web"]);
}

#[test]
fn the_command_of_a_kubectl_that_is_killed_is_killed() {
    let Some(machine) = machine("the_command_of_a_kubectl_that_is_killed_is_killed") else { return };
    let served = Served::start(&machine);
    served.start_pod();
    for (kubectl, environment) in ways() {
        let script = "sleep 555 & echo begun; cat >/dev/null; sleep 555";
        let mut command = served.command(&kubectl, &["exec", "-i", "web", "--", "sh", "-c", script]);
        command.envs(environment.iter().copied()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("kubectl starts");
        let mut begun = [0; 6];
        child.stdout.take().expect("piped").read_exact(&mut begun).expect("it begins");
        child.kill().expect("it is there");
        child.wait().expect("it ends");
        eventually(&format!("nothing of {kubectl} {environment:?} is left"), || {
            !served.ok(&["exec", "web", "--", "sh", "-c", "cat /proc/[0-9]*/cmdline | tr '\\0' ' '"]).contains("sleep 555")
        });
    }
    served.ok(&["delete", "pod", "web"]);
}

#[test]
fn a_kubectl_that_does_not_read_holds_up_its_command_and_not_the_daemon() {
    let Some(machine) = machine("a_kubectl_that_does_not_read_holds_up_its_command_and_not_the_daemon") else { return };
    let served = Served::start(&machine);
    served.start_pod();
    let before = memory(&served);
    let mut child = served
        .command(kubectl(), &["exec", "web", "--", "dd", "if=/dev/zero", "bs=65536", "count=32000"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("kubectl starts");
    let mut stdout = child.stdout.take().expect("piped");
    stdout.read_exact(&mut [0; 65536]).expect("it begins");
    let pid = Pid::from_child(&child);
    kill_process(pid, Signal::STOP).expect("it is there");
    let look = "for p in /proc/[0-9]*; do [ \"$(cat $p/comm)\" = dd ] && cat $p/stat $p/io; done; true";
    let of_dd = || served.ok(&["exec", "web", "--", "sh", "-c", look]);
    // All buffers on the way are full when it sleeps twice in a row without having written anything meanwhile.
    let mut last = String::new();
    eventually("it is held up", || {
        let io = of_dd();
        let same = io.contains("(dd) S ") && io == last;
        last = io;
        same
    });
    let grown = memory(&served).saturating_sub(before);
    assert!(grown < 16 * 1024, "the daemon took {grown} KiB for a client that does not read");
    kill_process(pid, Signal::CONT).expect("it is there");
    drop(stdout);
    let _ = child.kill();
    child.wait().expect("it ends");
    served.ok(&["delete", "pod", "web"]);
}

/// What the daemon holds, in KiB.
pub(crate) fn memory(served: &Served<'_>) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", served.child.id())).expect("the daemon is there");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("it has memory");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

#[test]
fn usher_exec_works_with_pods_of_run_and_of_serve() {
    let Some(machine) = machine("usher_exec_works_with_pods_of_run_and_of_serve") else { return };
    let served = Served::start(&machine);
    served.start_pod();
    let exec = |pod: &str, options: &[&str], script: &str| {
        let mut command = machine.usher([""; 0]);
        command.arg("exec").arg(pod).args(options).args(["--", "sh", "-c", script]);
        command
    };
    let output = exec("web", &[], "echo out; echo err >&2; exit 3").output().expect("usher runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert_eq!((output.status.code(), text(&output.stdout), text(&output.stderr)), (Some(3), "out\n".to_owned(), "err\n".to_owned()));
    let mut running = machine.run(
        "apiVersion: v1\nkind: Pod\nmetadata: {name: alone}\nspec:\n  terminationGracePeriodSeconds: 1\n  containers:\n  - {name: a, image: tapp:1, \
         imagePullPolicy: Never, command: [tapp, run]}\n  - {name: b, image: tapp:1, imagePullPolicy: Never, command: [tapp, run]}\n",
        &[],
    );
    running.wait_running("b");
    let mut child = exec("default/alone", &["-i", "-c", "b"], "cat; echo over")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("usher starts");
    child.stdin.take().expect("piped").write_all(b"through and through\n").expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(text(&output.stdout), "through and through\nover\n");
    let mut terminal = InTerminal::start(&exec("alone", &["-it"], "stty size; read word; echo heard $word; exit 4"));
    terminal.wait_for("24 80\r\n");
    terminal.write("hello\r");
    terminal.wait_for("heard hello\r\n");
    let (status, _) = terminal.end();
    assert_eq!(status.code(), Some(4));
    let output = exec("nobody", &[], "true").output().expect("usher runs");
    assert_eq!(output.status.code(), Some(125));
    assert!(text(&output.stderr).contains("no pod is called \"nobody\""), "{output:?}");
    let output = exec("alone", &["-c", "c"], "true").output().expect("usher runs");
    assert!(text(&output.stderr).contains("container c of pod default/alone is not running"), "{output:?}");
    running.interrupt();
    running.end();
    served.ok(&["delete", "pod", "web"]);
}

/// Waits until `is_so`, which another process makes true.
pub(crate) fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}: it is not so");
        std::thread::yield_now();
    }
}

/// A pod with one container that takes input.
fn input_pod(name: &str, command: &str, input: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec:\n  restartPolicy: Never\n  terminationGracePeriodSeconds: 1\n  containers:\n  \
         - {{name: app, image: 'tapp:1', imagePullPolicy: Never, command: [sh, -c, '{command}'], {input}}}\n"
    )
}

impl Served<'_> {
    fn start_input_pod(&self, name: &str, command: &str, input: &str) {
        let manifest = self.machine.file("input.yaml", &input_pod(name, command, input));
        self.ok(&["apply", "-f", manifest.to_str().expect("text")]);
        self.ok(&["wait", "--for=condition=Ready", &format!("pod/{name}"), "--timeout=30s"]);
    }

    fn wait_for_phase(&self, name: &str, phase: &str) {
        self.ok(&["wait", &format!("--for=jsonpath={{.status.phase}}={phase}"), &format!("pod/{name}"), "--timeout=30s"]);
    }
}

#[test]
fn attached_input_reaches_the_container_and_ends_with_the_first_session_if_it_is_given_once() {
    let name = "attached_input_reaches_the_container_and_ends_with_the_first_session_if_it_is_given_once";
    let Some(machine) = machine(name) else { return };
    let served = Served::start(&machine);
    for (index, (kubectl, environment)) in ways().into_iter().enumerate() {
        let name = format!("once-{index}");
        served.start_input_pod(&name, "echo before; while read word; do echo heard $word; done; echo over", "stdin: true, stdinOnce: true");
        let mut command = served.command(&kubectl, &["attach", "-i", &name]);
        command.envs(environment.iter().copied()).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("kubectl starts");
        let mut stdin = child.stdin.take().expect("piped");
        let mut stdout = BufReader::new(child.stdout.take().expect("piped"));
        writeln!(stdin, "one").expect("it reads");
        let mut line = String::new();
        stdout.read_line(&mut line).expect("it answers");
        assert_eq!(line, "heard one\n", "{kubectl} {environment:?}: what came before is not shown");
        drop(stdin);
        let mut rest = String::new();
        stdout.read_to_string(&mut rest).expect("readable");
        let output = child.wait_with_output().expect("it ends");
        assert!(output.status.success() && rest == "over\n", "{kubectl} {environment:?}: {rest} {output:?}");
        served.wait_for_phase(&name, "Succeeded");
        assert_eq!(served.ok(&["logs", &name]), "before\nheard one\nover\n");
        served.ok(&["delete", "pod", &name]);
    }
}

#[test]
fn input_that_is_not_given_once_goes_on_with_the_next_session() {
    let Some(machine) = machine("input_that_is_not_given_once_goes_on_with_the_next_session") else { return };
    let served = Served::start(&machine);
    served.start_input_pod("again", "while read word; do echo heard $word; done", "stdin: true");
    for word in ["one", "two"] {
        let mut command = served.command(kubectl(), &["attach", "-i", "again"]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("kubectl starts");
        let mut stdin = child.stdin.take().expect("piped");
        writeln!(stdin, "{word}").expect("it reads");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("it answers");
        assert_eq!(line, format!("heard {word}\n"));
        drop(stdin);
        assert!(child.wait().expect("it ends with its input").success());
    }
    assert_eq!(served.ok(&["get", "pod", "again", "-o", "jsonpath={.status.phase}"]), "Running");
    served.ok(&["delete", "pod", "again"]);
}

#[test]
fn a_terminal_is_attached_to_and_its_output_is_logged_as_stdout() {
    let Some(machine) = machine("a_terminal_is_attached_to_and_its_output_is_logged_as_stdout") else { return };
    let served = Served::start(&machine);
    for (index, (kubectl, environment)) in ways().into_iter().enumerate() {
        let name = format!("terminal-{index}");
        served.start_input_pod(&name, "exec sh", "stdin: true, tty: true");
        let mut command = served.command(&kubectl, &["attach", "-it", &name]);
        command.envs(environment.iter().copied());
        let mut terminal = InTerminal::start(&command);
        terminal.wait_for("try pressing enter.");
        terminal.write("\r");
        terminal.wait_for("# ");
        terminal.write("stty size; echo to-errors >&2; echo $TERM\r");
        terminal.wait_for("24 80\r\n");
        terminal.wait_for("to-errors\r\n");
        terminal.wait_for("xterm\r\n");
        terminal.write("exit 3\r");
        terminal.end();
        served.wait_for_phase(&name, "Failed");
        let log = machine.log_root().join(format!("default_{name}_{}", served.uid(&name))).join("app/0.log");
        let log = std::fs::read_to_string(log).expect("a log");
        assert!(log.contains(" stdout F to-errors\r\n") && !log.contains(" stderr "), "{log}");
        served.ok(&["delete", "pod", &name]);
    }
}

impl Served<'_> {
    pub(crate) fn uid(&self, pod: &str) -> String {
        self.ok(&["get", "pod", pod, "-o", "jsonpath={.metadata.uid}"])
    }
}

#[test]
fn kubectl_run_gives_a_shell_in_a_pod_that_goes_with_it() {
    let Some(machine) = machine("kubectl_run_gives_a_shell_in_a_pod_that_goes_with_it") else { return };
    let served = Served::start(&machine);
    for (kubectl, environment) in ways() {
        let arguments = ["run", "box", "-it", "--rm", "--restart=Never", "--image=tapp:1", "--image-pull-policy=Never", "--", "sh"];
        let mut command = served.command(&kubectl, &arguments);
        command.envs(environment.iter().copied());
        let mut terminal = InTerminal::start(&command);
        terminal.wait_for("try pressing enter.");
        terminal.write("\r");
        terminal.wait_for("# ");
        terminal.write("echo in the $(echo box)\r");
        terminal.wait_for("in the box\r\n");
        terminal.write("exit\r");
        let (status, shown) = terminal.end();
        assert!(status.success() && shown.contains("pod \"box\" deleted"), "{kubectl} {environment:?}: {shown}");
        assert_eq!(served.ok(&["get", "pods", "-o", "name"]), "");
    }
}

#[test]
fn kubectl_debug_looks_at_a_container_from_an_ephemeral_one() {
    let Some(machine) = machine_with_new_kubectl("kubectl_debug_looks_at_a_container_from_an_ephemeral_one") else { return };
    let served = Served::start(&machine);
    served.start_pod();
    let debug = |name: &str, target: &str| {
        let container = format!("--container={name}");
        let target = format!("--target={target}");
        InTerminal::start(&served.command(kubectl(), &["debug", "-it", "web", "--image=tapp:1", &container, &target, "--", "sh"]))
    };
    let mut terminal = debug("looker", "app");
    terminal.wait_for("try pressing enter.");
    terminal.write("\r");
    terminal.wait_for("# ");
    terminal.write("cat /proc/1/cmdline | tr '\\0' ' '; echo; echo seen\r");
    terminal.wait_for("tapp run");
    terminal.wait_for("seen\r\n");
    let shown = |path: &str| served.ok(&["get", "pod", "web", "-o", &format!("jsonpath={path}")]);
    assert!(!shown("{.status.ephemeralContainerStatuses[0].state.running.startedAt}").is_empty());
    terminal.write("exit 5\r");
    terminal.end();
    served.ok(&["wait", "--for=jsonpath={.status.ephemeralContainerStatuses[0].state.terminated.exitCode}=5", "pod/web", "--timeout=30s"]);
    assert_eq!(shown("{.status.phase} {.status.ephemeralContainerStatuses[*].name}"), "Running looker");
    assert!(served.ok(&["logs", "web", "-c", "looker"]).contains("tapp run"));
    let described = served.ok(&["describe", "pod", "web"]);
    assert!(described.contains("Ephemeral Containers:\n  looker:"), "{described}");
    let events = served.ok(&["get", "events", "-o", "jsonpath={range .items[*]}{.involvedObject.fieldPath} {.reason}{\"\\n\"}{end}"]);
    assert!(events.lines().any(|line| line == "spec.ephemeralContainers{looker} Started"), "{events}");
    let (_, refused) = debug("second", "nobody").end();
    assert!(refused.contains("spec.ephemeralContainers[1].targetContainerName: Not found: \"nobody\""), "{refused}");
    let timeline = machine.output(["timeline", "web", "-o", "json"]);
    assert!(String::from_utf8_lossy(&timeline.stdout).contains("looker"), "{timeline:?}");
    assert_eq!(shown("{.status.containerStatuses[0].restartCount} {.status.ephemeralContainerStatuses[0].restartCount}"), "0 0");
    served.ok(&["delete", "pod", "web"]);
}

/// Gives the pod `web` ephemeral containers, as clients other than `kubectl debug` do.
fn add_ephemeral(served: &Served<'_>, containers: &Value) {
    let mut pod = served.pod();
    pod["spec"]["ephemeralContainers"] = containers.clone();
    let file = served.machine.file("ephemeral.json", &pod.to_string());
    let path = "/api/v1/namespaces/default/pods/web/ephemeralcontainers";
    served.ok(&["replace", "--raw", path, "-f", file.to_str().expect("text")]);
}

#[test]
fn an_ephemeral_container_has_arguments_variables_a_folder_and_a_last_word_like_others() {
    let name = "an_ephemeral_container_has_arguments_variables_a_folder_and_a_last_word_like_others";
    let Some(machine) = machine(name) else { return };
    let served = Served::start(&machine);
    served.start_pod();
    let container = |name: &str, script: &str, more: Value| {
        let mut container =
            json!({ "name": name, "image": "tapp:1", "imagePullPolicy": "Never", "command": ["sh", "-c"], "args": [script] });
        let fields = container.as_object_mut().expect("an object");
        fields.extend(more.as_object().expect("an object").clone());
        container
    };
    let shown = |path: &str| served.ok(&["get", "pod", "web", "-o", &format!("jsonpath={path}")]);
    let state = |name: &str, path: &str| shown(&format!("{{.status.ephemeralContainerStatuses[?(@.name=='{name}')].state.{path}}}"));
    let talker = json!({
        "workingDir": "/usr/share", "envFrom": [{ "configMapRef": { "name": "settings" } }], "terminationMessagePath": "/tmp/last",
    });
    let script = "pwd; echo $0 and $1; echo colour is $colour; echo a last word > /tmp/last; exit 3";
    let mut talker = container("talker", script, talker);
    talker["args"] = json!([script, "zero", "one"]);
    let logger = container("logger", "echo from the log; exit 4", json!({ "terminationMessagePolicy": "FallbackToLogsOnError" }));
    let stranger = json!({ "name": "stranger", "image": "nowhere/to-be-found:1", "imagePullPolicy": "Never" });
    let reader = container("reader", "cat; echo over", json!({ "stdin": true, "stdinOnce": true }));
    add_ephemeral(&served, &json!([talker, logger, stranger, reader]));

    eventually("the talker's end", || state("talker", "terminated.exitCode") == "3");
    assert_eq!(served.ok(&["logs", "web", "-c", "talker"]), "/usr/share\nzero and one\ncolour is green\n");
    assert_eq!(state("talker", "terminated.message"), "a last word\n");
    eventually("the logger's end", || state("logger", "terminated.exitCode") == "4");
    assert_eq!(state("logger", "terminated.message"), "from the log\n");
    eventually("the stranger's refusal", || state("stranger", "waiting.reason") == "ErrImageNeverPull");
    eventually("the reader", || !state("reader", "running.startedAt").is_empty());
    let mut command = served.command(kubectl(), &["attach", "-i", "web", "-c", "reader"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("kubectl starts");
    writeln!(child.stdin.take().expect("piped"), "typed").expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{output:?}");
    // Its input ended with the session: so did it.
    eventually("the reader's end", || state("reader", "terminated.exitCode") == "0");
    assert_eq!(served.ok(&["logs", "web", "-c", "reader"]), "typed\nover\n");
    served.ok(&["delete", "pod", "web"]);
}

#[test]
fn an_ephemeral_container_survives_a_restart_of_the_daemon() {
    let Some(machine) = machine_with_new_kubectl("an_ephemeral_container_survives_a_restart_of_the_daemon") else { return };
    let mut served = Served::start(&machine);
    served.start_pod();
    served.ok(&["debug", "web", "--image=tapp:1", "--container=looker", "--", "tapp", "run"]);
    let running = "--for=jsonpath={.status.ephemeralContainerStatuses[0].state.running}";
    served.ok(&["wait", running, "pod/web", "--timeout=30s"]);
    let id = |served: &Served<'_>| served.pod()["status"]["ephemeralContainerStatuses"][0]["containerID"].clone();
    let before = id(&served);
    served.signal(Signal::KILL);
    served = Served::start(&machine);
    assert_eq!(id(&served), before);
    assert_eq!(served.ok(&["exec", "web", "-c", "looker", "--", "echo", "inside"]), "inside\n");
    served.ok(&["delete", "pod", "web", "--timeout=30s"]);
}

#[test]
fn usher_attach_types_into_a_container() {
    let Some(machine) = machine("usher_attach_types_into_a_container") else { return };
    let served = Served::start(&machine);
    served.start_input_pod("typed", "exec sh", "stdin: true, tty: true");
    let mut command = machine.usher([""; 0]);
    command.args(["attach", "-i", "typed"]);
    let mut terminal = InTerminal::start(&command);
    terminal.write("\r");
    terminal.wait_for("# ");
    terminal.write("echo in the $(echo shell)\r");
    terminal.wait_for("in the shell\r\n");
    terminal.write("exit\r");
    assert!(terminal.end().0.success());
    served.wait_for_phase("typed", "Succeeded");
    served.start_pod();
    let refused = machine.output(["attach", "-i", "web"]);
    assert_eq!(refused.status.code(), Some(125));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("container app of pod default/web takes no input"), "{refused:?}");
    served.ok(&["delete", "pods", "typed", "web"]);
}

// k8s: 2.c.5
#[test]
fn an_ephemeral_container_waits_for_a_target_that_is_not_there_yet() {
    let Some(machine) = machine_with_new_kubectl("an_ephemeral_container_waits_for_a_target_that_is_not_there_yet") else { return };
    let served = Served::start(&machine);
    let manifest = "apiVersion: v1\nkind: Pod\nmetadata: {name: early}\nspec:\n  terminationGracePeriodSeconds: 1\n  initContainers:\n  \
                    - {name: first, image: 'tapp:1', imagePullPolicy: Never, command: [tapp, run]}\n  containers:\n  \
                    - {name: app, image: 'tapp:1', imagePullPolicy: Never, command: [tapp, run]}\n";
    let manifest = machine.file("early.yaml", manifest);
    served.ok(&["apply", "-f", manifest.to_str().expect("text")]);
    served.ok(&["debug", "early", "--image=tapp:1", "--container=looker", "--target=app", "--", "tapp", "run"]);
    let waiting = "{.status.ephemeralContainerStatuses[0].state.waiting";
    served.ok(&["wait", &format!("--for=jsonpath={waiting}.reason}}=CreateContainerConfigError"), "pod/early", "--timeout=30s"]);
    let message = served.ok(&["get", "pod", "early", "-o", &format!("jsonpath={waiting}.message}}")]);
    assert_eq!(message, "unable to find target container app");
    served.ok(&["delete", "pod", "early", "--timeout=30s"]);
}
