//! Every example of `examples/` does what its comment says, with the images that the quick start makes.

mod support;

use std::path::{Path, PathBuf};

use support::{Ended, Machine};

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples").join(name)
}

fn run(test: &str, name: &str, more: &[&str], until: impl FnOnce(&mut support::Running)) -> Option<(Ended, Machine)> {
    let machine = Machine::without_images(test)?;
    machine.import_example_images();
    let mut running = machine.run_file(&example(name), more);
    until(&mut running);
    Some((running.end(), machine))
}

fn hook_outcomes(ended: &Ended) -> Vec<String> {
    let ends = ended.entries.iter().filter(|entry| entry["event"]["event"] == "HookFinished");
    ends.filter_map(|entry| entry["event"]["outcome"]["outcome"].as_str()).map(str::to_owned).collect()
}

// Deliberate difference 3: the reference reports this preStop as failed.
#[test]
fn lifecycle_demo_stops_nginx_by_its_hook_and_that_is_a_success() {
    let test = "lifecycle_demo_stops_nginx_by_its_hook_and_that_is_a_success";
    let Some((ended, _machine)) = run(test, "lifecycle-demo.yaml", &[], |running| {
        running.wait_running("lifecycle-demo-container");
        running.interrupt();
    }) else {
        return;
    };
    assert_eq!(ended.code, Some(0), "{}", ended.story());
    assert_eq!(hook_outcomes(&ended), ["Succeeded", "ContainerEnded"], "{}", ended.story());
    assert!(!ended.events().iter().any(|event| event.starts_with("FailedPreStopHook")), "{:?}", ended.events());
    assert_eq!(ended.status()["phase"], "Succeeded");
}

#[test]
fn badcommand_poststart_is_killed_and_told() {
    let Some((ended, _machine)) = run("badcommand_poststart_is_killed_and_told", "badcommand-poststart.yaml", &[], |running| {
        running.wait_for("back-off", |entry| entry["action"]["action"]["note"] == "BackingOff");
        running.interrupt();
    }) else {
        return;
    };
    let events = ended.events();
    assert!(events.iter().any(|event| event == "FailedPostStartHook: PostStartHook failed"), "{events:?}");
    let failed = ended.find(|entry| entry["status"]["containerStatuses"][0]["state"]["reason"] == "PostStartHookError");
    let message = failed.expect("the failure shows")["status"]["containerStatuses"][0]["state"]["message"].to_string();
    assert!(message.contains(r#"exec: \"/bin/no-such-command\": stat /bin/no-such-command: no such file or directory"#), "{message}");
}

#[test]
fn prestop_echo_shows_what_the_hook_printed() {
    let Some((ended, _machine)) = run("prestop_echo_shows_what_the_hook_printed", "prestop-echo.yaml", &[], |running| {
        running.wait_running("app");
        running.interrupt();
    }) else {
        return;
    };
    assert_eq!(ended.code, Some(0), "{}", ended.story());
    let mut printed = ended.hook_output();
    printed.sort();
    assert_eq!(printed, ["and meaning it", "saying goodbye"], "{}", ended.story());
    assert!(ended.output().contains(&"got TERM".to_owned()), "{}", ended.story());
}

#[test]
fn grace_spent_ends_with_a_kill_and_the_account_says_why() {
    let test = "grace_spent_ends_with_a_kill_and_the_account_says_why";
    let Some(machine) = Machine::without_images(test) else { return };
    machine.import_example_images();
    let path = example("grace-spent.yaml").display().to_string();
    let output = machine.output(["run", &path, "--stop-after", "500ms"]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(text.contains("app: grace of 6 s, because the pod was deleted"), "{text}");
    let (_, verdict) = text.split_once("killed: preStop used ").expect(&text);
    let (used, verdict) = verdict.split_once(" s of the 6 s grace, the process needed more than the ").expect(&text);
    let (left, _) = verdict.split_once(" s that were left after it").expect(&text);
    // On a busy machine all of it takes some tenths more.
    for (number, least) in [(used, 5.0), (left, 2.0)] {
        let number: f64 = number.parse().expect(&text);
        assert!((least..least + 1.0).contains(&number), "{text}");
    }
}

#[test]
fn dns_config_is_what_the_container_sees() {
    let Some((ended, _machine)) = run("dns_config_is_what_the_container_sees", "dns-config.yaml", &[], |_| ()) else { return };
    assert_eq!(ended.code, Some(0), "{}", ended.story());
    let lines = ["search svc.example example", "nameserver 192.0.2.53", "options ndots:2 edns0"];
    assert_eq!(ended.output(), lines, "{}", ended.story());
}

#[test]
fn dns_poststart_edits_the_file_of_its_container() {
    let Some((ended, _machine)) = run("dns_poststart_edits_the_file_of_its_container", "dns-poststart.yaml", &[], |_| ()) else { return };
    assert_eq!(ended.code, Some(0), "{}", ended.story());
    assert_eq!(ended.output().last().map(String::as_str), Some("options ndots:2"), "{}", ended.story());
}

// k8s: 3.d.1, 3.d.17: the second request is answered with 404, and that is a success.
#[test]
fn http_hooks_reach_the_server_and_any_answer_is_a_success() {
    let Some((ended, _machine)) = run("http_hooks_reach_the_server_and_any_answer_is_a_success", "http-hooks.yaml", &[], |running| {
        running.wait_running("app");
        running.interrupt();
    }) else {
        return;
    };
    assert!(!ended.events().iter().any(|event| event.starts_with("Failed")), "{:?}", ended.events());
    let output = ended.output().join("\n");
    assert!(output.contains("/started") && output.contains("/stopping"), "{output}");
    assert_eq!(hook_outcomes(&ended), ["Succeeded"; 4], "{}", ended.story());
}
