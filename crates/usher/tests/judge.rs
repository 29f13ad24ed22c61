//! `usher test` over every example of `examples/test/`: its verdicts, word by word.
//!
//! The command stands in the head of the manifest, what it says in the `.txt` beside it (`UPDATE=1` writes it anew). Figures that
//! differ from run to run are masked: durations with a fraction, moments, counts of requests.

mod support;

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use support::Machine;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/test")
}

/// What `usher test` said and its exit code, with the command of the example's head.
fn run(machine: &Machine, name: &str, more: &[&str]) -> (Option<i32>, String) {
    let path = folder().join(format!("{name}.yaml"));
    let manifest = fs::read_to_string(&path).expect("the example is there");
    let shown = format!("examples/test/{name}.yaml");
    let command = manifest.lines().find_map(|line| line.strip_prefix("# $ usher ")).expect("the head has a command");
    let path = path.display().to_string();
    let words: Vec<&str> = command.split(' ').map(|word| if word == shown { path.as_str() } else { word }).collect();
    let output = machine.output([words.as_slice(), more].concat());
    let said = String::from_utf8(output.stdout).expect("UTF-8");
    (output.status.code(), said + &String::from_utf8_lossy(&output.stderr))
}

/// `0.35 s` as `T s`, `12:00:01.123` as `T`, counts of requests as `N`. Evidence is in the order of the alphabet: what happens in the same
/// moments happens in any order.
fn masked(text: &str) -> String {
    let lines: Vec<String> = text.lines().map(mask_line).collect();
    let is_evidence = |line: &String| line.starts_with("T s T UTC ");
    let sorted = lines.chunk_by(|one, next| is_evidence(one) == is_evidence(next)).flat_map(|block| {
        let mut block = block.to_vec();
        if block.first().is_some_and(is_evidence) {
            block.sort();
        }
        block
    });
    sorted.map(|line| line + "\n").collect()
}

fn mask_line(line: &str) -> String {
    let words: Vec<&str> = line.split_whitespace().collect();
    let masked = words.iter().enumerate().map(|(position, word)| mask_word(word, &words[position + 1..]));
    let line = masked.collect::<Vec<_>>().join(" ");
    // Of connections to a server that ends, those that waited to be accepted are broken off.
    line.replace("(N broken off, N refused)", "(N refused)").replace("it was broken off", "it was refused")
}

fn mask_word(word: &str, rest: &[&str]) -> String {
    let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let next = rest.first().map_or("", |next| next.trim_end_matches([',', ')', ';', ':']));
    let bare = word.trim_matches(|character: char| !character.is_ascii_digit());
    let is_number = is_digits(bare);
    let is_moment = bare.contains(':') && bare.chars().all(|character| character.is_ascii_digit() || ":.".contains(character));
    let is_fraction = bare.contains('.') && bare.parse::<f64>().is_ok();
    let is_date = bare.len() == 10 && bare.matches('-').count() == 2;
    let is_of = next == "of" && rest.get(1).is_some_and(|whole| is_digits(whole));
    let is_count = is_number && (is_of || ["times", "requests", "refused", "broken", "not", "unreachable"].contains(&next));
    match () {
        // Addresses are given out as they come.
        () if word.contains("http://10.") => "ADDRESS".to_owned(),
        () if word.contains("http://") => word.to_owned(),
        // Below a tenth of a second a time is told in milliseconds.
        () if word.trim_end_matches([',', ')', ';', ':']) == "ms" => word.replace("ms", "s"),
        () if is_moment || is_fraction || is_date || (is_number && next == "ms") => word.replace(bare, "T"),
        () if is_count => word.replace(bare, "N"),
        () => word.to_owned(),
    }
}

fn check(name: &str, code: i32) {
    let Some(machine) = Machine::new(name) else { return };
    let (ended, said) = run(&machine, name, &[]);
    assert_eq!(ended, Some(code), "{said}");
    let path = folder().join(format!("{name}.txt"));
    let said = masked(&said);
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, &said).expect("the verdicts are written");
    }
    let wanted = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(said, wanted, "the verdicts of {name} are others than those of {}", path.display());
}

macro_rules! examples {
    ($($test:ident: $name:literal ends with $code:literal,)*) => {
        $(
            #[test]
            fn $test() {
                check($name, $code);
            }
        )*

        const EXAMPLES: &[&str] = &[$($name),*];
    };
}

examples! {
    a_good_server_passes_every_check: "good" ends with 0,
    a_server_that_drains_for_3_s_needs_no_pre_stop: "drains" ends with 0,
    a_hook_that_stops_pid_1_has_done_its_work: "hook-stops-pid1" ends with 0,
    a_hook_that_fails_is_told_with_its_last_words: "hook-fails" ends with 1,
    a_hook_that_takes_too_long_is_cut_off: "hook-too-long" ends with 1,
    a_program_that_ends_too_early_is_named: "exits-early" ends with 2,
    a_crash_loop_is_counted: "crash-loop" ends with 2,
    a_slow_start_is_not_ready_in_time: "slow-start" ends with 3,
    a_probe_that_cannot_succeed_is_the_reason: "never-ready" ends with 3,
    dropped_connections_are_counted: "drops-connections" ends with 5,
    a_pre_stop_sleep_that_is_too_short_is_measured: "short-sleep" ends with 5,
    a_shell_as_pid_1_is_named_with_its_child: "shell-pid1" ends with 6,
    a_program_that_ignores_its_signal_is_named: "ignores-term" ends with 6,
    a_sidecar_that_dies_first_is_named: "sidecar-first" ends with 7,
    a_process_that_stops_too_late_is_killed: "stops-too-late" ends with 8,
    a_lock_that_stays_fails_the_second_start: "stale-lock" ends with 10,
}

#[test]
fn every_example_is_tested() {
    let files = fs::read_dir(folder()).expect("the examples are there");
    let mut names: Vec<String> =
        files.filter_map(|file| file.ok()?.file_name().into_string().ok()?.strip_suffix(".yaml").map(str::to_owned)).collect();
    names.sort();
    let mut tested = EXAMPLES.to_vec();
    tested.sort_unstable();
    assert_eq!(names, tested);
}

#[test]
fn masks_hide_what_differs_and_nothing_else() {
    for (text, wanted) in [
        ("✓ ready        Ready after 0.4 s (limit 60 s)", "✓ ready Ready after T s (limit 60 s)"),
        ("  2.310 s  12:00:01.123 UTC  SIGTERM went out", "T s T UTC SIGTERM went out"),
        ("(sleep of 1 s) succeeded in 1.0 s", "(sleep of 1 s) succeeded in T s"),
        ("took 12 ms, and 2 s", "took T s, and 2 s"),
        ("default/app  2026-11-29 12:00:01 UTC", "default/app T T UTC"),
        ("✗ traffic  3 of 61 requests to http://:80/ failed (3 refused)", "✗ traffic N of N requests to http://:80/ failed (N refused)"),
    ] {
        assert_eq!(mask_line(text), wanted);
    }
}

#[test]
fn runs_are_compared_and_told_to_programs() {
    let Some(machine) = Machine::new("runs_are_compared_and_told_to_programs") else { return };
    let (code, said) = run(&machine, "hook-stops-pid1", &["--runs", "3", "--keep-for", "0s", "-o", "json"]);
    assert_eq!(code, Some(0), "{said}");
    let report: Value = serde_json::from_str(&said).expect("JSON and nothing else");
    assert_eq!((&report["version"], &report["passed"], &report["exitCode"]), (&1.into(), &true.into(), &0.into()));
    let pod = &report["pods"][0];
    assert_eq!((&pod["name"], pod["runs"].as_array().map(Vec::len)), (&"hook-stops-pid1".into(), Some(3)));
    for what in ["ready", "stop"] {
        let spread = &pod["spreads"][what];
        let figure = |name: &str| spread[name].as_f64().expect("a figure");
        assert_eq!(spread["count"], 3);
        assert!(figure("min") <= figure("median") && figure("median") <= figure("p95") && figure("p95") <= figure("max"), "{spread}");
    }
    assert_eq!(pod["spreads"]["hooks"]["app preStop"]["count"], 3);
    assert!(pod["spreads"]["graceEnoughSeconds"].as_u64().is_some_and(|secs| secs >= 2), "{pod}");
    let second = pod["runs"][1]["verdicts"].as_array().expect("verdicts").last().expect("one").clone();
    assert_eq!((&second["check"], &second["outcome"]), (&"second-start".into(), &"passed".into()));
}

#[test]
fn runs_are_compared_for_people_too() {
    let Some(machine) = Machine::new("runs_are_compared_for_people_too") else { return };
    let (code, said) = run(&machine, "hook-stops-pid1", &["--runs", "2", "--keep-for", "0s"]);
    assert_eq!(code, Some(0), "{said}");
    let said = masked(&said);
    for line in [
        "default/hook-stops-pid1 T T UTC run N of 2",
        "runs min median p95 max",
        "Ready 2 T s T s T s T s",
        "app preStop 2 T s T s T s T s",
        "terminationGracePeriodSeconds: 2 would have done in every run, with a margin",
        "PASSED default/hook-stops-pid1",
    ] {
        assert!(said.lines().any(|shown| shown == line), "{line:?} is missing in:\n{said}");
    }
}

#[test]
fn a_wrong_command_line_is_no_verdict() {
    let Some(machine) = Machine::without_images("a_wrong_command_line_is_no_verdict") else { return };
    for (more, why) in [
        (["--http", "https://:443/"], "requests of a test are not encrypted"),
        (["--ready-within", "soon"], "is not a duration"),
        (["--rate", "0"], "0 is not in 1..=200"),
    ] {
        let (code, said) = run(&machine, "shell-pid1", &more);
        assert_eq!(code, Some(125), "{said}");
        assert!(said.contains(why), "{said}");
    }
    let help = machine.output(["test", "--help"]);
    assert_eq!(help.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&help.stdout).contains("--endpoint-delay"), "{help:?}");
}

#[test]
fn a_command_runs_against_the_pod_and_its_failure_is_the_test_s() {
    let Some(machine) = Machine::new("a_command_runs_against_the_pod_and_its_failure_is_the_test_s") else { return };
    let line = "echo asking $POD_NAME at $POD_IP; busybox wget -q -O - http://$POD_IP:8080/";
    let (code, said) = run(&machine, "good", &["--no-second-start", "--while", line]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("asking good at 10.199.") && said.contains("hello"), "{said}");
    assert!(masked(&said).contains("✓ while `echo asking $POD_NAME at $POD_IP; busybox wget -q -O -"), "{said}");
    let (code, said) = run(&machine, "good", &["--no-second-start", "--while", "exit 3"]);
    assert_eq!(code, Some(4), "{said}");
    assert!(masked(&said).contains("✗ while `exit 3` ended with exit code 3 after T s"), "{said}");
}

#[test]
fn junit_has_the_cause_and_the_cure() {
    let Some(machine) = Machine::new("junit_has_the_cause_and_the_cure") else { return };
    let (code, said) = run(&machine, "shell-pid1", &["--no-second-start", "--keep-for", "0s", "-o", "junit"]);
    assert_eq!(code, Some(6), "{said}");
    let wanted = "<failure message=\"SIGTERM came to nothing: PID 1 of app is the shell `sh`, which has no handler for it and does not pass \
                  it on to `sleep`\" type=\"signal\">";
    assert!(said.starts_with("<?xml ") && said.contains(wanted) && said.contains("\ncure: start `sleep` with `exec`"), "{said}");
}

#[test]
fn strict_makes_a_warning_a_failure() {
    let Some(machine) = Machine::new("strict_makes_a_warning_a_failure") else { return };
    let more = ["--no-second-start", "--keep-for", "0s", "--grace-period", "1"];
    let (code, said) = run(&machine, "hook-stops-pid1", &more);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("warnings: grace"), "{said}");
    let (code, said) = run(&machine, "hook-stops-pid1", &[more.as_slice(), &["--strict"]].concat());
    assert_eq!(code, Some(9), "{said}");
}

#[test]
fn an_interrupted_test_leaves_nothing_and_judges_nothing() {
    let Some(machine) = Machine::new("an_interrupted_test_leaves_nothing_and_judges_nothing") else { return };
    let path = folder().join("never-ready.yaml").display().to_string();
    let mut child = machine
        .usher(["test", path.as_str(), "--while", "sleep 1000"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("usher starts");
    // The shim is there as soon as the pod is being made.
    let deadline = std::time::Instant::now() + support::PATIENCE;
    while machine.shims().is_empty() {
        assert!(std::time::Instant::now() < deadline && child.try_wait().expect("a child").is_none(), "no pod was made");
        std::thread::yield_now();
    }
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), rustix::process::Signal::INT).expect("it is interrupted");
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(125), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stderr).lines().last(), Some("error: the test was interrupted; nothing is judged"));
    assert!(output.stdout.is_empty(), "{output:?}");
}

#[test]
fn a_port_that_no_container_names_is_refused_before_anything_is_made() {
    let Some(machine) = Machine::without_images("a_port_that_no_container_names_is_refused_before_anything_is_made") else { return };
    let (code, said) = run(&machine, "shell-pid1", &["--http", ":web/"]);
    assert_eq!(code, Some(125), "{said}");
    assert!(said.contains("pod shell-pid1 names no port \"web\" (it names: none)"), "{said}");
    assert!(!machine.root().join("journals").exists());
}

/// The template of a workload, with its restart policy and what its shell does.
fn workload(head: &str, pad: usize, restart: &str, script: &str) -> String {
    let template = format!(
        "metadata: {{labels: {{app: web}}}}\nspec:\n  restartPolicy: {restart}\n  terminationGracePeriodSeconds: 3\n  containers:\n  - name: app\n    \
         image: tapp:1\n    imagePullPolicy: Never\n    command: [sh, -c, '{script}']\n"
    );
    let template: String = template.lines().map(|line| format!("{}{line}\n", " ".repeat(pad))).collect();
    format!("{head}\n{template}")
}

#[test]
fn any_kind_with_a_pod_template_is_tested() {
    let Some(machine) = Machine::new("any_kind_with_a_pod_template_is_tested") else { return };
    // What ends by itself has the time to do so before it is asked to.
    let test = |manifest: &str| {
        let path = machine.file("workload.yaml", manifest).display().to_string();
        let output = machine.output(["test", "--keep-for", "2s", "--no-second-start", &path]);
        (output.status.code(), format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)))
    };
    let deployment =
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec:\n  selector: {matchLabels: {app: web}}\n  template:";
    let (code, said) = test(&workload(deployment, 4, "Always", "exec tapp run"));
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("Deployment web is run as one pod: web-") && said.contains("PASSED") && said.contains("default/web-"), "{said}");
    let (code, said) = test(&workload(deployment, 4, "Always", "sleep 1000; true"));
    assert_eq!(code, Some(6), "the verdicts are those of a Pod: {said}");
    let job = "apiVersion: batch/v1\nkind: Job\nmetadata: {name: sum}\nspec:\n  template:";
    let (code, said) = test(&workload(job, 4, "Never", "echo 42"));
    assert_eq!(code, Some(0), "a job may end: {said}");
    assert!(said.contains("Job sum is run as one pod: sum-") && said.contains("PASSED"), "{said}");
    let (code, said) = test(&workload(job, 4, "Never", "exit 3"));
    assert!(code != Some(0) && said.contains("exit code 3"), "but not badly: {code:?}: {said}");
    let template = "apiVersion: v1\nkind: PodTemplate\nmetadata: {name: base}\ntemplate:";
    let (code, said) = test(&workload(template, 2, "Always", "exec tapp run"));
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("PodTemplate base is run as one pod: base-"), "{said}");
}
