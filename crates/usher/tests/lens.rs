//! What is kept of a pod's life, and what is made of it: journal, timeline and answers, with real containers.

mod support;

use std::fs;
use std::path::PathBuf;

use rustix::process::Signal;
use serde_json::Value;
use support::Machine;

fn pod(name: &str, spec: &str) -> String {
    let spec: String = spec.lines().map(|line| format!("  {line}\n")).collect();
    format!("apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec:\n{spec}")
}

fn say(machine: &Machine, arguments: &[&str]) -> String {
    let output = machine.output(arguments.iter().copied());
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

fn journal(machine: &Machine, name: &str) -> Vec<Value> {
    let text = say(machine, &["journal", name, "-o", "json"]);
    text.lines().map(|line| serde_json::from_str(line).expect("an entry")).collect()
}

fn journal_files(machine: &Machine) -> Vec<PathBuf> {
    let entries = fs::read_dir(machine.root().join("journals")).expect("the journals");
    entries.map(|entry| entry.expect("a journal").path()).collect()
}

/// Everything that is kept of a life with volumes, hooks, a request, probes, signals and an exit.
#[test]
fn the_journal_of_a_pod_that_is_gone_tells_everything() {
    let Some(machine) = Machine::new("the_journal_of_a_pod_that_is_gone_tells_everything") else { return };
    let manifest = pod(
        "full",
        r#"terminationGracePeriodSeconds: 10
containers:
- name: app
  image: tapp:1
  imagePullPolicy: Never
  command: ["tapp", "run", "--http", "8080"]
  volumeMounts: [{name: scratch, mountPath: /scratch}]
  readinessProbe: {httpGet: {path: /healthz, port: 8080}, periodSeconds: 1}
  lifecycle:
    postStart: {exec: {command: ["sh", "-c", "echo warm; echo oh >&2; sleep 0.3"]}}
    preStop: {httpGet: {path: /status/503, port: 8080}}
volumes: [{name: scratch, emptyDir: {}}]"#,
    );
    let mut running = machine.run(&manifest, &[]);
    running.wait_for("ready", |entry| entry["status"]["containerStatuses"][0]["ready"] == true);
    // Attempts that change nothing are shown, and not kept.
    running.wait_for("a second attempt", |entry| entry["event"]["event"] == "ProbeFinished" && entry["seq"].is_null());
    running.interrupt();
    let ended = running.end();
    assert_eq!(ended.code, Some(0), "{}", ended.story());

    let entries = journal(&machine, "full");
    let numbers: Vec<u64> = entries.iter().map(|entry| entry["seq"].as_u64().expect("a number")).collect();
    assert_eq!(numbers, (0..entries.len() as u64).collect::<Vec<_>>());
    let find = |what: &str, wanted: &dyn Fn(&Value) -> bool| {
        entries.iter().find(|entry| wanted(entry)).unwrap_or_else(|| panic!("{what} is not in the journal")).clone()
    };
    assert_eq!(find("the heading", &|entry| entry["opened"].is_object())["opened"]["version"], 2);
    assert_eq!(find("the manifest", &|entry| entry["spec"].is_object())["spec"]["containers"][0]["name"], "app");
    assert_eq!(find("the volumes", &|entry| entry["volumes"].is_object())["volumes"]["names"], serde_json::json!(["scratch"]));
    let post_start = find("the postStart run", &|entry| entry["hook"]["hook"] == "PostStart")["hook"].clone();
    assert_eq!((&post_start["exitCode"], &post_start["outputCut"]), (&Value::from(0), &Value::Null));
    let nanos = |moment: &Value| moment["bootNanos"].as_u64().expect("a time");
    let took = nanos(&post_start["finishedAt"]) - nanos(&post_start["startedAt"]);
    // The shim hears of the start a moment after the command has begun to sleep.
    assert!((200_000_000..2_000_000_000).contains(&took), "{took} ns");
    let lines: Vec<_> =
        entries.iter().filter(|entry| entry["runtime"]["runtimeEvent"] == "ExecOutput").map(|entry| &entry["runtime"]).collect();
    let lines: Vec<_> = lines.iter().map(|line| (line["stream"].as_str(), line["line"].as_str())).collect();
    assert!(lines.contains(&(Some("stdout"), Some("warm"))) && lines.contains(&(Some("stderr"), Some("oh"))), "{lines:?}");
    assert_eq!(find("the preStop run", &|entry| entry["hook"]["hook"] == "PreStop")["hook"]["httpStatus"], 503);
    assert_eq!(find("the request", &|entry| entry["kill"].is_object())["kill"]["by"], "Ctrl-C (SIGINT) to usher run");
    let signal = find("the stop signal", &|entry| entry["runtime"]["runtimeEvent"] == "SignalSent")["runtime"].clone();
    assert_eq!((&signal["signal"], &signal["why"]), (&Value::from(15), &Value::from("stop")));
    assert_eq!(signal["handling"], serde_json::json!({ "process": "tapp", "disposition": "handled" }));
    find("the counts", &|entry| entry["probes"]["successes"].as_u64().is_some_and(|count| count >= 1));
    let turns = entries.iter().filter(|entry| entry["event"]["event"] == "ProbeFinished").count();
    assert_eq!(turns, 1, "only the attempt that made it Ready is kept");
    find("the exit", &|entry| entry["event"]["event"] == "ContainerExited");
    find("the end", &|entry| entry["event"]["event"] == "PodCleanedUp");
}

#[test]
fn a_gone_pod_is_drawn_in_every_form_and_explained() {
    let Some(machine) = Machine::new("a_gone_pod_is_drawn_in_every_form_and_explained") else { return };
    let manifest = machine.file(
        "pod.yaml",
        &pod(
            "drawn",
            r#"restartPolicy: Never
containers:
- name: app
  image: tapp:1
  imagePullPolicy: Never
  command: ["tapp", "run", "--exit-after", "600", "--exit-code", "3"]
  lifecycle: {postStart: {exec: {command: ["tapp", "sleep", "200"]}}}"#,
        ),
    );
    let output = machine.output(["run", "--timeline", &manifest.display().to_string()]);
    assert_eq!(output.status.code(), Some(1));
    let story = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(story.contains("default/drawn") && story.contains("postStart 0.") && story.contains("● ended badly"), "{story}");

    let chart = say(&machine, &["timeline", "drawn", "--width", "90"]);
    assert!(story.contains("exit 3 Error") && chart.lines().all(|line| line.chars().count() <= 90), "{chart}");
    let svg = say(&machine, &["timeline", "default/drawn", "-o", "svg"]);
    assert!(svg.starts_with("<svg ") && svg.trim_end().ends_with("</svg>"), "{svg}");
    let html = say(&machine, &["timeline", "drawn", "-o", "html"]);
    assert!(html.starts_with("<!DOCTYPE html>") && html.contains("app ended by itself with exit code 3"), "{html}");
    assert!(say(&machine, &["timeline", "drawn", "-o", "mermaid"]).starts_with("gantt\n"));
    let whole: Value = serde_json::from_str(&say(&machine, &["timeline", "drawn", "-o", "json"])).expect("JSON");
    assert_eq!((&whole["version"], &whole["life"]["containers"][0]["instances"][0]["exit"]["code"]), (&Value::from(1), &Value::from(3)));
    let why = say(&machine, &["why", "drawn"]);
    assert!(why.contains("Pod default/drawn is gone: it Failed: app ended with exit code 3."), "{why}");
    let unknown = machine.output(["why", "drawn", "web"]);
    assert_eq!(unknown.status.code(), Some(125));
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("pod drawn has no container \"web\"; it has app"), "{unknown:?}");
}

#[test]
fn a_shell_that_swallows_its_stop_signal_is_named() {
    let Some(machine) = Machine::new("a_shell_that_swallows_its_stop_signal_is_named") else { return };
    let manifest = pod(
        "shell",
        r#"terminationGracePeriodSeconds: 2
containers:
- {name: app, image: "tapp:1", imagePullPolicy: Never, command: [sh, -c, "sleep 1000; echo done"]}"#,
    );
    let mut running = machine.run(&manifest, &[]);
    running.wait_running("app");
    running.interrupt();
    let ended = running.end();
    assert_eq!(ended.code, Some(2), "{}", ended.story());
    let why = say(&machine, &["why", "shell", "app"]);
    let wanted =
        "app was killed because SIGTERM came to nothing: its main process `sh` is PID 1 and has no handler for it, so the kernel drops it";
    assert!(why.contains(wanted), "{why}");
}

#[test]
fn out_of_memory_is_told_with_the_cgroups_numbers() {
    let Some(machine) = Machine::new("out_of_memory_is_told_with_the_cgroups_numbers") else { return };
    let manifest = pod(
        "hungry",
        r#"restartPolicy: Never
containers:
- name: app
  image: tapp:1
  imagePullPolicy: Never
  command: [sh, -c, "exec tail /dev/zero"]
  resources: {limits: {memory: 32Mi}}"#,
    );
    let ended = machine.run(&manifest, &[]).end();
    assert_eq!(ended.code, Some(1), "{}", ended.story());
    let killed = ended.find(|entry| entry["runtime"]["runtimeEvent"] == "OomKilled").expect("the kernel's kill is told");
    assert_eq!(killed["runtime"]["memory"]["limitBytes"], 32 << 20);
    assert!(killed["runtime"]["memory"]["peakBytes"].as_u64().is_some_and(|peak| peak > 16 << 20), "{killed}");
    let why = say(&machine, &["why", "hungry", "app"]);
    assert!(why.contains("app ended because its memory limit of 32 MiB was reached"), "{why}");
}

/// A hook that prints 20 MB and probes that run all the time leave a small journal.
#[test]
fn a_pod_that_prints_and_probes_without_end_has_a_small_journal() {
    let Some(machine) = Machine::new("a_pod_that_prints_and_probes_without_end_has_a_small_journal") else { return };
    let manifest = pod(
        "loud",
        r#"containers:
- name: app
  image: tapp:1
  imagePullPolicy: Never
  command: ["tapp", "run"]
  livenessProbe: {exec: {command: ["echo", "alive"]}, periodSeconds: 1}
  lifecycle: {postStart: {exec: {command: [sh, -c, "yes noise | head -c 20000000"]}}}"#,
    );
    let mut running = machine.run(&manifest, &["--stop-after", "4s"]);
    running.wait_running("app");
    let ended = running.end();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let bytes: u64 = journal_files(&machine).iter().map(|path| fs::metadata(path).expect("the journal").len()).sum();
    assert!(bytes < 128 << 10, "{bytes} bytes");
    let entries = journal(&machine, "loud");
    let lines = entries.iter().filter(|entry| entry["runtime"]["runtimeEvent"] == "ExecOutput").count();
    assert_eq!(lines, 200);
    assert!(entries.iter().any(|entry| entry["outputCut"]["lines"] == 200));
    assert!(entries.iter().any(|entry| entry["hook"]["outputCut"] == true));
}

#[test]
fn the_journal_goes_on_when_another_engine_takes_over() {
    let Some(machine) = Machine::new("the_journal_goes_on_when_another_engine_takes_over") else { return };
    let manifest = pod("orphan", r#"containers: [{name: app, image: "tapp:1", imagePullPolicy: Never, command: [tapp, run]}]"#);
    let mut running = machine.run(&manifest, &[]);
    running.wait_running("app");
    running.signal(Signal::KILL);
    let _ = running.child.wait();
    let path = journal_files(&machine).pop().expect("a journal");
    // What a power cut may leave.
    let mut torn = fs::OpenOptions::new().append(true).open(&path).expect("the journal");
    std::io::Write::write_all(&mut torn, br#"{"seq":99,"at":{"boot"#).expect("half a line");
    let why = say(&machine, &["why", "orphan"]);
    assert!(why.contains("No engine drives the pod any more"), "{why}");
    say(&machine, &["rm", "orphan"]);
    let entries = journal(&machine, "orphan");
    assert!(entries.iter().any(|entry| entry["opened"]["resumed"] == true));
    let by = entries.iter().find_map(|entry| entry["kill"]["by"].as_str());
    assert_eq!(by, Some("usher rm"));
    let numbers: Vec<u64> = entries.iter().filter_map(|entry| entry["seq"].as_u64()).collect();
    assert_eq!(numbers, (0..entries.len() as u64).collect::<Vec<_>>());
    let chart = say(&machine, &["timeline", "orphan"]);
    assert!(chart.contains("? no engine"), "{chart}");
}

#[test]
fn old_journals_are_removed_and_newer_formats_are_refused() {
    let Some(machine) = Machine::new("old_journals_are_removed_and_newer_formats_are_refused") else { return };
    let run = |name: &str, more: &[&str]| {
        let manifest = pod(
            name,
            r#"restartPolicy: Never
containers: [{name: app, image: "tapp:1", imagePullPolicy: Never, command: [tapp, say, hello]}]"#,
        );
        let ended = machine.run(&manifest, more).end();
        assert_eq!(ended.code, Some(0), "{}", ended.story());
    };
    run("one", &[]);
    run("two", &[]);
    assert_eq!(journal_files(&machine).len(), 2);
    run("three", &["--journal-max-count", "2"]);
    let mut names: Vec<_> =
        journal_files(&machine).iter().map(|path| path.file_name().expect("a name").to_string_lossy().into_owned()).collect();
    names.sort();
    assert_eq!(names.len(), 2, "{names:?}");
    assert!(names[0].starts_with("default_three_") && names[1].starts_with("default_two_"), "{names:?}");

    let path = machine.root().join("journals/default_future_uid.jsonl");
    fs::write(&path, "{\"seq\":0,\"at\":{\"bootNanos\":1,\"wallNanos\":1},\"opened\":{\"version\":9}}\n").expect("a journal");
    let refused = machine.output(["timeline", "future"]);
    assert_eq!(refused.status.code(), Some(125));
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(said.contains("it has format 9, this usher reads formats 1 to 2"), "{said}");
}

/// Whatever a journal lacks, who reads it is told, in every form.
#[test]
fn a_journal_with_gaps_says_so_in_every_form() {
    let Some(machine) = Machine::new("a_journal_with_gaps_says_so_in_every_form") else { return };
    let manifest = pod(
        "gappy",
        r#"restartPolicy: Never
containers: [{name: app, image: "tapp:1", imagePullPolicy: Never, command: [tapp, say, hello]}]"#,
    );
    let ended = machine.run(&manifest, &[]).end();
    assert_eq!(ended.code, Some(0), "{}", ended.story());
    let path = journal_files(&machine).pop().expect("a journal");
    let whole = fs::read_to_string(&path).expect("the journal");
    let lines: Vec<&str> = whole.lines().collect();
    let heading = lines[0];
    let continued = heading.replace("\"seq\":0", "\"seq\":40").replace("\"resumed\":false", "\"resumed\":false,\"continued\":true");
    let renumbered = lines[1..]
        .iter()
        .enumerate()
        .map(|(number, line)| line.replace(&format!("\"seq\":{}", number + 1), &format!("\"seq\":{}", number + 41)));
    let renumbered: Vec<String> = renumbered.collect();
    let cut = std::iter::once(continued).chain(renumbered).collect::<Vec<_>>().join("\n");
    let gappy = [&lines[..3], &lines[5..]].concat().join("\n");
    let torn = format!("{}\n{{\"seq\":", lines.join("\n"));
    for (text, of_journal, of_life) in [
        (cut.as_str(), "the first 40 entries are gone: the journal was full", "the beginning of this life is gone: the journal was full"),
        (&gappy, "2 entries are missing: the disk refused them", "2 entries are missing: the disk refused them"),
        (&torn, "1 line cannot be read and is left out", "1 line cannot be read and is left out"),
    ] {
        fs::write(&path, text).expect("the journal");
        assert!(say(&machine, &["journal", "gappy"]).starts_with(&format!("note: {of_journal}")), "{of_journal}");
        let json = machine.output(["journal", "gappy", "-o", "json"]);
        assert!(String::from_utf8_lossy(&json.stderr).starts_with(&format!("note: {of_journal}")), "{json:?}");
        assert!(json.stdout.starts_with(b"{\"seq\":"), "what programs read is entries only");
        for form in ["text", "svg", "html", "json"] {
            let chart = say(&machine, &["timeline", "gappy", "-o", form]);
            assert!(chart.contains(of_life), "{form}: {chart}");
        }
        let why = say(&machine, &["why", "gappy"]);
        assert!(why.contains(&format!("note: {of_life}")), "{why}");
    }
    fs::write(&path, &whole).expect("the journal");
    for arguments in [&["journal", "gappy"][..], &["timeline", "gappy"], &["why", "gappy"]] {
        assert!(!say(&machine, arguments).contains("note:"), "{arguments:?}");
    }
}

#[test]
fn lives_that_are_gone_are_listed_and_found_by_the_beginning_of_their_uid() {
    let Some(machine) = Machine::new("lives_that_are_gone_are_listed_and_found_by_the_beginning_of_their_uid") else { return };
    assert!(say(&machine, &["journal"]).starts_with("no journals in "));
    let run = |name: &str, code: i32| {
        let command = format!("[sh, -c, exit {code}]");
        let spec =
            format!("restartPolicy: Never\ncontainers: [{{name: app, image: \"tapp:1\", imagePullPolicy: Never, command: {command}}}]");
        assert_eq!(machine.run(&pod(name, &spec), &[]).end().code, Some(code));
    };
    run("good", 0);
    run("bad", 1);
    let table = say(&machine, &["journal"]);
    let rows: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["NAMESPACE", "NAME", "UID", "BEGAN", "LIVED", "END", "KIB"], "{table}");
    assert_eq!((rows.len(), rows[1][..2].to_vec(), rows[2][..2].to_vec()), (3, vec!["default", "good"], vec!["default", "bad"]), "{table}");
    assert!(rows[1].contains(&"Succeeded") && rows[2].contains(&"Failed"), "{table}");
    let list: Value = serde_json::from_str(&say(&machine, &["journal", "-o", "json"])).expect("JSON");
    let (good, bad) = (&list[0], &list[1]);
    assert_eq!((&good["name"], &good["phase"], &good["isDriven"]), (&"good".into(), &"Succeeded".into(), &false.into()), "{list}");
    assert!(
        good["beganNanos"].as_u64() < good["endedNanos"].as_u64() && good["endedNanos"].as_u64() < bad["beganNanos"].as_u64(),
        "{list}"
    );
    assert!(good["bytes"].as_u64().is_some_and(|bytes| bytes > 1000), "{list}");
    let uid = bad["uid"].as_str().expect("a uid");
    assert!(say(&machine, &["why", &uid[..8]]).contains("Pod default/bad is gone"));
    assert!(say(&machine, &["journal", &uid[..8]]).contains(uid));
    let short = machine.output(["why", &uid[..2]]);
    assert_eq!(short.status.code(), Some(125), "{short:?}");
    // One that cannot be read does not hide the others.
    fs::write(machine.root().join("journals/default_broken_uid.jsonl"), "nothing\n").expect("a file");
    let output = machine.output(["journal"]);
    assert!(output.status.success() && String::from_utf8_lossy(&output.stdout).contains("good"), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("default_broken_uid.jsonl"), "{output:?}");
}

// k8s: 3.d.20, 3.d.21
#[test]
fn a_hook_that_fell_back_to_http_is_told_of_as_such() {
    let Some(machine) = Machine::new("a_hook_that_fell_back_to_http_is_told_of_as_such") else { return };
    let manifest = pod(
        "plain",
        r#"terminationGracePeriodSeconds: 5
containers:
- name: app
  image: tapp:1
  imagePullPolicy: Never
  command: [tapp, run, --http, "8080"]
  readinessProbe: {tcpSocket: {port: 8080}, periodSeconds: 1}
  lifecycle: {preStop: {httpGet: {scheme: HTTPS, path: /status/204, port: 8080}}}"#,
    );
    let mut running = machine.run(&manifest, &[]);
    running.wait_for("ready", |entry| entry["status"]["containerStatuses"][0]["ready"] == true);
    running.interrupt();
    let ended = running.end();
    assert_eq!(ended.code, Some(0), "{}", ended.story());
    let hook = &ended.find(|entry| entry["hook"].is_object()).expect("the run")["hook"];
    assert_eq!((&hook["fellBackToHttp"], &hook["httpStatus"]), (&true.into(), &204.into()), "{hook}");
    assert!(!ended.events().iter().any(|event| event.contains("LifecycleHTTPFallback")), "the reference's Event never reaches the API");
    assert!(say(&machine, &["journal", "plain"]).contains("preStop: the server does not speak HTTPS and was asked over HTTP"));
    let words = "answered with status 204, over HTTP because the server does not speak HTTPS";
    assert!(say(&machine, &["timeline", "plain", "-o", "html"]).contains(words));
    let tested =
        machine.output(["test", "--no-second-start", "--keep-for", "0s", &machine.file("pod.yaml", &manifest).display().to_string()]);
    let tested = String::from_utf8_lossy(&tested.stdout).into_owned();
    assert!(tested.contains("over HTTP because the server does not speak HTTPS"), "{tested}");
}

#[test]
fn a_session_stands_in_the_journal_and_explains_the_end_that_it_brought() {
    let Some(machine) = Machine::new("a_session_stands_in_the_journal_and_explains_the_end_that_it_brought") else { return };
    let manifest = pod(
        "visited",
        r#"restartPolicy: Never
terminationGracePeriodSeconds: 5
containers: [{name: app, image: "tapp:1", imagePullPolicy: Never, command: [tapp, run]}]"#,
    );
    let mut running = machine.run(&manifest, &[]);
    running.wait_running("app");
    let exec = |words: &[&str]| {
        // What the machine adds to a command line comes after the command here.
        let mut command = machine.usher([&["exec", "visited", "--"], words].concat());
        command.env("USHER_ROOT", machine.root()).output().expect("usher runs")
    };
    assert_eq!(exec(&["sh", "-c", "exit 3"]).status.code(), Some(3));
    running.wait_for("the end of the session", |entry| entry["session"]["exitCode"] == 3);
    exec(&["sh", "-c", "kill 1"]);
    let ended = running.end();
    let sessions: Vec<&Value> = ended.entries.iter().filter(|entry| entry["session"].is_object()).map(|entry| &entry["session"]).collect();
    assert!(sessions.len() >= 3, "{}", ended.story());
    assert_eq!((&sessions[0]["verb"], &sessions[0]["container"]), (&"exec".into(), &"app".into()));
    assert_eq!(sessions[0]["command"].as_array().map(|words| words[..3].to_vec()), Some(vec!["sh".into(), "-c".into(), "exit 3".into()]));
    assert_eq!((sessions[0]["id"].clone(), sessions[0]["finishedAt"].is_null()), (sessions[1]["id"].clone(), true), "begin and end");
    assert!(sessions[0]["by"].as_str().is_some_and(|by| by.starts_with("usher (process ")), "{}", sessions[0]);
    let kept = |entry: &Value| entry["runtime"]["runtimeEvent"] == "ExecStarted" && !entry["seq"].is_null();
    assert_eq!(ended.find(kept), None, "a bare id tells nobody anything");
    let why = say(&machine, &["why", "visited", "app"]);
    assert!(why.contains("ran `sh -c kill 1") && why.contains("before"), "{why}");
    assert!(say(&machine, &["journal", "visited"]).contains("session over with 3 after "));
    let chart = say(&machine, &["timeline", "visited"]);
    assert!(chart.lines().any(|line| line.contains("  sessions") && line.contains('┊')), "{chart}");
}

#[test]
fn a_chart_among_json_lines_is_refused() {
    let Some(machine) = Machine::without_images("a_chart_among_json_lines_is_refused") else { return };
    let path = machine.file("pod.yaml", &pod("any", "containers: [{name: app, image: x}]")).display().to_string();
    let output = machine.output(["run", &path, "-o", "json", "--timeline"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(125), "{said}");
    assert!(said.contains("--timeline") && said.contains("-o json"), "{said}");
}
