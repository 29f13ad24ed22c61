//! `usher lint` on files, folders and standard input, with and without images in the store.

mod support;

use std::fs;
use std::io::Write as _;
use std::process::{Output, Stdio};

use serde_json::Value;
use support::Machine;

const GOOD: &str = "apiVersion: v1
kind: Pod
metadata: {name: good}
spec:
  containers:
  - name: app
    image: registry.example.com/app:1
    lifecycle: {preStop: {sleep: {seconds: 5}}}
";

const FAULTY: &str = "apiVersion: v1
kind: Pod
metadata: {name: faulty}
spec:
  terminationGracePeriodSeconds: 10
  containers:
  - name: app
    image: registry.example.com/app:1
    lifecycle:
      preStop:
        exec: {command: [sleep, \"15\"]}
";

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_fault_is_underlined_and_makes_the_exit_code_1() {
    let Some(machine) = Machine::without_images("a_fault_is_underlined_and_makes_the_exit_code_1") else { return };
    let path = machine.file("faulty.yaml", FAULTY).display().to_string();
    let output = machine.output(["lint", &path]);
    let expected = format!(
        "error[USH101]: the preStop hook of app uses up the grace period of 10 s
  --> {path}:11:33
   |
11 |         exec: {{command: [sleep, \"15\"]}}
   |                                 ^^^^ it takes 15 s
   |
  ::: {path}:5:34
   |
 5 |   terminationGracePeriodSeconds: 10
   |                                  -- the whole grace is 10 s
   |
   = help: when the grace is over, the process gets its stop signal and is killed 2 s later, whatever it is doing
   = help: set `spec.terminationGracePeriodSeconds` to 20 or more, or shorten the hook

1 error in 1 file with 1 pod
"
    );
    assert_eq!(stdout(&output), expected);
    assert_eq!((output.status.code(), stderr(&output)), (Some(1), String::new()));
    assert!(!machine.root().exists(), "looking makes nothing");
}

#[test]
fn exit_codes_follow_what_is_asked() {
    let Some(machine) = Machine::without_images("exit_codes_follow_what_is_asked") else { return };
    let good = machine.file("good.yaml", GOOD).display().to_string();
    let faulty = machine.file("faulty.yaml", FAULTY).display().to_string();
    let broken = machine.file("broken.yaml", "kind: [").display().to_string();
    let empty = machine.file("empty.yaml", "# nothing\n").display().to_string();
    let code = |arguments: &[&str]| {
        let output = machine.output([&["lint"], arguments].concat());
        output.status.code().unwrap_or_else(|| panic!("{}", stderr(&output)))
    };
    assert_eq!(code(&[&good]), 0);
    assert_eq!(code(&[&good, &faulty]), 1);
    assert_eq!(code(&["--fail-on", "never", &faulty]), 0);
    assert_eq!(code(&["--ignore", "USH205,prestop-takes-all-grace", &faulty]), 0);
    assert_eq!(code(&["--only", "USH401", &faulty]), 0);
    assert_eq!(code(&[&faulty, &broken]), 125);
    assert_eq!(code(&["/no/such.yaml", &good]), 125);
    assert_eq!(code(&[&empty]), 125);
    assert_eq!(code(&["--only", "USH999", &good]), 125);
    assert_eq!(code(&[]), 125);
}

#[test]
fn folders_are_gone_through_and_what_is_no_manifest_is_passed_over() {
    let Some(machine) = Machine::without_images("folders_are_gone_through_and_what_is_no_manifest_is_passed_over") else { return };
    let folder = machine.path().join("deploy");
    fs::create_dir_all(folder.join("base/.git")).expect("folders");
    for (name, text) in [
        ("base/a.yaml", FAULTY),
        ("base/b.yml", GOOD),
        ("base/list.json", "{\"apiVersion\": \"v1\", \"kind\": \"List\", \"items\": []}"),
        ("base/.git/hidden.yaml", "kind: ["),
        ("base/notes.txt", "kind: ["),
        ("package.json", "{\"name\": \"shop\", \"version\": \"1\"}"),
        ("values.yaml", "image: {tag: 1}\n"),
    ] {
        fs::write(folder.join(name), text).expect("a file");
    }
    let folder = folder.display().to_string();
    let output = machine.output(["lint", &folder]);
    let text = stdout(&output);
    assert!(text.ends_with("1 error in 2 files with 2 pods; 3 files without Kubernetes objects passed over\n"), "{text}");
    assert!(text.contains("deploy/base/a.yaml:11:33"), "{text}");
    assert_eq!((output.status.code(), stderr(&output)), (Some(1), String::new()));

    let chart = machine.path().join("deploy/chart.yaml");
    fs::write(&chart, "kind: {{ .Values.kind }}\nspec: [}\n").expect("a file");
    let render = "render the chart first, `helm template CHART | usher lint -`\n";
    let output = machine.output(["lint", &folder]);
    assert_eq!((output.status.code(), stderr(&output)), (Some(1), format!("warning: 1 template passed over: {render}")));
    let output = machine.output(["lint", &chart.display().to_string()]);
    assert_eq!(output.status.code(), Some(125), "what is named is to be looked at");
    assert!(stderr(&output).ends_with(&format!("this looks like a template of a chart: {render}")), "{}", stderr(&output));

    fs::write(&chart, "kind: [\n").expect("a file");
    let output = machine.output(["lint", &folder]);
    assert_eq!(output.status.code(), Some(125), "what cannot be read is not passed over");
    assert!(stderr(&output).contains("chart.yaml:"), "{}", stderr(&output));
    assert!(stdout(&output).contains("USH101"), "the others are looked at all the same");
}

#[test]
fn standard_input_is_read() {
    let Some(machine) = Machine::without_images("standard_input_is_read") else { return };
    let mut child = machine.usher(["lint", "-", "-o", "json"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("usher starts");
    child.stdin.take().expect("stdin is piped").write_all(FAULTY.as_bytes()).expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    let value: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(value["files"][0]["file"], "<stdin>");
    assert_eq!(value["files"][0]["findings"][0]["rule"], "USH101");
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn sarif_is_written_also_where_a_file_is_broken() {
    let Some(machine) = Machine::without_images("sarif_is_written_also_where_a_file_is_broken") else { return };
    let faulty = machine.file("faulty.yaml", FAULTY).display().to_string();
    let broken = machine.file("broken.yaml", "kind: [").display().to_string();
    let output = machine.output(["lint", "-o", "sarif", &faulty, &broken]);
    let log: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let run = &log["runs"][0];
    assert_eq!(log["version"], "2.1.0");
    assert_eq!(run["results"][0]["ruleId"], "USH101");
    let uri = run["results"][0]["locations"][0]["physicalLocation"]["artifactLocation"]["uri"].as_str();
    assert_eq!(uri, Some(format!("file://{faulty}").as_str()));
    assert_eq!(run["invocations"][0]["executionSuccessful"], false);
    assert_eq!(output.status.code(), Some(125));
}

#[test]
fn rules_are_listed_and_explained() {
    let Some(machine) = Machine::without_images("rules_are_listed_and_explained") else { return };
    let rules = stdout(&machine.output(["lint", "--rules"]));
    assert!(rules.contains("USH101  error    prestop-takes-all-grace      A preStop hook that takes the whole grace period\n"), "{rules}");
    let page = stdout(&machine.output(["lint", "--explain", "grace-zero"]));
    assert!(page.starts_with("# USH104: grace-zero\n"), "{page}");
}

#[test]
fn hooks_are_checked_against_the_image_in_the_store() {
    let Some(machine) = Machine::new("hooks_are_checked_against_the_image_in_the_store") else { return };
    let manifest = "apiVersion: v1
kind: Pod
metadata: {name: web}
spec:
  containers:
  - name: app
    image: busybox
    command: [tapp]
    lifecycle:
      preStop:
        exec: {command: [nginx, -s, quit]}
  - name: shell
    image: docker.io/library/busybox:latest
    command: [sh, -c, tapp run]
    lifecycle:
      postStart:
        exec: {command: [/bin/bash, -c, echo hello]}
      preStop:
        exec: {command: [sh, -c, 'sleep 1 && wget -q http://localhost/drain']}
  - name: elsewhere
    image: registry.example.com/nginx:1
    lifecycle:
      preStop:
        exec: {command: [nginx, -s, quit]}
";
    let path = machine.file("web.yaml", manifest).display().to_string();
    let found = |more: &[&str]| {
        let output = machine.output([&["lint", "-o", "json", &path], more].concat());
        let value: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", stderr(&output)));
        let findings = value["files"][0]["findings"].as_array().expect("findings").clone();
        let shown = findings.iter().map(|finding| {
            let place = &finding["place"];
            format!(
                "{}:{} {} {}",
                place["line"],
                place["column"],
                finding["rule"].as_str().unwrap_or_default(),
                finding["message"].as_str().unwrap_or_default()
            )
        });
        shown.collect::<Vec<_>>()
    };
    // `sh` of the image is BusyBox, which gives its place to the last command; in an image that is not known it may be dash.
    assert_eq!(
        found(&[]),
        [
            "11:26 USH207 nginx is not in the image of app, so its preStop always fails",
            "17:26 USH207 /bin/bash is not in the image of shell, so its postStart always fails",
        ]
    );
    assert_eq!(found(&["--no-images"]), [] as [&str; 0], "the name of the image tells what its shell is, nothing tells what is in it");
}

#[test]
fn measured_runs_feed_the_rules() {
    let Some(machine) = Machine::new("measured_runs_feed_the_rules") else { return };
    // The hook's time stands in no place that a rule can read.
    let manifest = "apiVersion: v1
kind: Pod
metadata: {name: measured}
spec:
  terminationGracePeriodSeconds: 3
  containers:
  - name: app
    image: tapp:1
    command: [sh, -c, 'trap \"sleep 1; exit 0\" TERM; while true; do sleep 0.1; done']
    lifecycle:
      preStop:
        exec: {command: [sh, -c, 'eval \"sleep 2\"']}
";
    let path = machine.file("measured.yaml", manifest).display().to_string();
    let lint = |more: &[&str]| machine.output([&["lint", path.as_str()], more].concat());
    assert_eq!(lint(&["--fail-on", "note"]).status.code(), Some(0), "nothing is known yet");
    let unknown = lint(&["--journal=measured"]);
    assert_eq!(unknown.status.code(), Some(125));
    assert!(stderr(&unknown).contains("no journal of a pod called \"measured\""), "{}", stderr(&unknown));

    let mut running = machine.run(manifest, &[]);
    running.wait_running("app");
    running.interrupt();
    let ended = running.end();
    assert!(ended.find(|entry| entry["event"]["event"] == "ContainerExited").is_some(), "{}", ended.story());

    let output = lint(&["--journal=measured"]);
    let text = stdout(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.starts_with("warning[USH102]: app needs 3"), "{text}");
    for wanted in ["the drain took 1", "the hook took 2", "in a measured run", "but its grace is 3 s"] {
        assert!(text.contains(wanted), "{wanted:?} is missing in:\n{text}");
    }
    assert_eq!(lint(&["--journal", "--fail-on", "note"]).status.code(), Some(1), "all journals are read where none is named");
}

#[test]
fn a_shell_that_dropped_its_signal_in_a_run_is_proof() {
    let Some(machine) = Machine::new("a_shell_that_dropped_its_signal_in_a_run_is_proof") else { return };
    // What `eval` does, no rule can read.
    let manifest = "apiVersion: v1
kind: Pod
metadata: {name: proof}
spec:
  terminationGracePeriodSeconds: 2
  containers:
  - name: app
    image: tapp:1
    command: [sh, -c, 'eval \"while sleep 0.1; do true; done\"']
";
    let path = machine.file("proof.yaml", manifest).display().to_string();
    assert_eq!(machine.output(["lint", &path, "--fail-on", "note"]).status.code(), Some(0), "nothing is known yet");
    let mut running = machine.run(manifest, &[]);
    running.wait_running("app");
    running.interrupt();
    assert_eq!(running.end().code, Some(2));
    let text = stdout(&machine.output(["lint", &path, "--journal=proof"]));
    assert!(
        text.starts_with("warning[USH501]: process 1 of app was a shell in a measured run, and the stop signal came to nothing"),
        "{text}"
    );
    assert!(text.contains("`sh` had no handler for it, so the kernel dropped it") && !text.contains("USH102"), "{text}");
}
