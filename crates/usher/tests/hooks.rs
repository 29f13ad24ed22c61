//! Hooks of real containers: what runs when, what the users are told, and who pays with the grace period.

mod support;

use std::cell::Cell;

use support::Machine;

fn pod(name: &str, spec: &str) -> String {
    let spec: String = spec.lines().map(|line| format!("  {line}\n")).collect();
    format!("apiVersion: v1\nkind: Pod\nmetadata:\n  name: {name}\nspec:\n{spec}")
}

fn is_hook_end(entry: &serde_json::Value, outcome: &str) -> bool {
    entry["event"]["event"] == "HookFinished" && entry["event"]["outcome"]["outcome"] == outcome
}

fn is_action(entry: &serde_json::Value, action: &str) -> bool {
    entry["action"]["action"]["action"] == action
}

// k8s: 2.d.1, 2.d.3, 2.d.8
#[test]
fn a_container_shows_running_only_when_its_post_start_hook_has_ended() {
    let Some(machine) = Machine::new("a_container_shows_running_only_when_its_post_start_hook_has_ended") else { return };
    let manifest = pod(
        "slow-start",
        r#"terminationGracePeriodSeconds: 5
containers:
- name: app
  image: tapp:1
  imagePullPolicy: Never
  command: ["tapp", "run"]
  lifecycle:
    postStart:
      exec: {command: ["sh", "-c", "echo from the hook; sleep 1"]}"#,
    );
    let mut running = machine.run(&manifest, &[]);
    running.wait_running("app");
    running.interrupt();
    let ended = running.end();
    assert_eq!(ended.code, Some(0), "{}", ended.story());
    let begun = ended.find(|entry| is_action(entry, "RunHook")).expect("the hook began");
    let finished = ended.find(|entry| is_hook_end(entry, "Succeeded")).expect("the hook ended");
    let first_running =
        ended.find(|entry| entry["status"]["containerStatuses"][0]["state"]["state"] == "Running").expect("the container showed Running");
    assert!(ended.seconds_between(begun, finished) >= 1.0, "{}", ended.story());
    assert!(ended.seconds_between(finished, first_running) >= 0.0, "{}", ended.story());
    assert!(ended.hook_output().contains(&"from the hook".to_owned()), "{}", ended.story());
    let started = ended.output().iter().position(|line| line.contains("main: start"));
    assert!(started.is_some(), "the entry point ran beside the hook: {}", ended.story());
}

// k8s: 2.d.9, 2.d.10, 2.d.11, 5.b.2, 5.b.10
#[test]
fn a_failed_post_start_hook_kills_the_container_and_is_told_as_in_the_reference() {
    let Some(machine) = Machine::new("a_failed_post_start_hook_kills_the_container_and_is_told_as_in_the_reference") else { return };
    let manifest = pod(
        "bad-hook",
        r#"containers:
- name: app
  image: tapp:1
  imagePullPolicy: Never
  command: ["tapp", "run"]
  lifecycle:
    postStart:
      exec: {command: ["tapp", "out", "secret-output", "then", "code", "3"]}
    preStop:
      exec: {command: ["tapp", "say", "preStop"]}"#,
    );
    let mut running = machine.run(&manifest, &[]);
    running.wait_for("back-off", |entry| entry["action"]["action"]["note"] == "BackingOff");
    running.interrupt();
    let ended = running.end();
    let events = ended.events();
    let wanted = [
        "Created: Container created",
        "Started: Container started",
        "FailedPostStartHook: PostStartHook failed",
        "Killing: FailedPostStartHook",
    ];
    let twice: Vec<&str> = events.iter().map(String::as_str).filter(|event| wanted.contains(event)).collect();
    assert_eq!(twice, [wanted, wanted].concat(), "{}", ended.story());
    let waiting = ended
        .find(|entry| entry["status"]["containerStatuses"][0]["state"]["reason"] == "PostStartHookError")
        .expect("the failure shows in the status");
    let message = waiting["status"]["containerStatuses"][0]["state"]["message"].as_str().unwrap_or_default();
    assert!(
        message.starts_with(r#"Exec lifecycle hook ([tapp out secret-output then code 3]) for Container "app" in Pod "bad-hook_default("#)
    );
    let error = "error: command 'tapp out secret-output then code 3' exited with 3: err-secret-output\n, message: \
                 \"secret-output\\nerr-secret-output\\n\"";
    assert!(message.ends_with(error), "{message}");
    assert!(!events.iter().any(|event| event.contains("secret-output")), "hook output must not be in Events: {events:?}");
    assert!(ended.output().iter().any(|line| line.contains("hook: preStop")), "preStop runs too: {}", ended.story());
}

// k8s: 3.b.1, 3.b.5, 3.b.9
#[test]
fn the_grace_that_pre_stop_used_is_missing_to_the_process() {
    let Some(machine) = Machine::new("the_grace_that_pre_stop_used_is_missing_to_the_process") else { return };
    let manifest = pod(
        "spent",
        r#"terminationGracePeriodSeconds: 3
containers:
- name: app
  image: tapp:1
  imagePullPolicy: Never
  command: ["tapp", "run", "--term-delay", "8000"]
  lifecycle:
    preStop:
      exec: {command: ["tapp", "sleep", "2000"]}"#,
    );
    let mut running = machine.run(&manifest, &[]);
    running.wait_running("app");
    running.interrupt();
    let ended = running.end();
    assert_eq!(ended.code, Some(2), "killed: {}", ended.story());
    let began = ended.find(|entry| entry["action"]["action"]["note"] == "StopBegan").expect("the stop began");
    let signalled = ended.find(|entry| is_action(entry, "StopContainer")).expect("the stop signal went out");
    let killed = ended.find(|entry| is_action(entry, "KillContainer")).expect("SIGKILL went out");
    let (hook, window) = (ended.seconds_between(began, signalled), ended.seconds_between(signalled, killed));
    assert!((2.0..2.9).contains(&hook), "the hook took {hook} s");
    // The two seconds run from the decision; the signal is written down a moment after it.
    assert!((1.9..2.9).contains(&window), "at least 2 s lie between stop signal and SIGKILL: {window} s");
    let state = &ended.status()["containerStatuses"][0]["state"];
    assert_eq!((&state["exit"]["code"], &state["exit"]["reason"]), (&137.into(), &"Error".into()), "{}", ended.story());
}

// k8s: 3.e.3: and better: it says so, and the hook dies with all its processes.
#[test]
fn a_pre_stop_hook_out_of_grace_is_cut_off_and_told() {
    let Some(machine) = Machine::new("a_pre_stop_hook_out_of_grace_is_cut_off_and_told") else { return };
    let manifest = pod(
        "hang",
        r#"terminationGracePeriodSeconds: 2
containers:
- name: app
  image: tapp:1
  imagePullPolicy: Never
  command: ["tapp", "run"]
  lifecycle:
    preStop:
      exec: {command: ["sh", "-c", "setsid sleep 1000 & sleep 1000"]}"#,
    );
    let mut running = machine.run(&manifest, &[]);
    running.wait_running("app");
    running.interrupt();
    let ended = running.end();
    let events = ended.events();
    let text = "FailedPreStopHook: PreStopHook did not finish within the grace period";
    assert!(events.iter().any(|event| event == text), "{events:?}");
    assert_eq!(ended.code, Some(0), "the process itself stopped at once: {}", ended.story());
    let began = ended.find(|entry| entry["action"]["action"]["note"] == "StopBegan").expect("the stop began");
    let exited = ended.find(|entry| entry["event"]["event"] == "ContainerExited").expect("it exited");
    let took = ended.seconds_between(began, exited);
    assert!((2.0..3.0).contains(&took), "{took} s");
}

// Deliberate difference 1: a running postStart does not hold up a deletion.
#[test]
fn a_pod_is_deleted_while_its_post_start_hook_hangs() {
    let Some(machine) = Machine::new("a_pod_is_deleted_while_its_post_start_hook_hangs") else { return };
    let manifest = pod(
        "hanging-start",
        r#"terminationGracePeriodSeconds: 5
containers:
- name: app
  image: tapp:1
  imagePullPolicy: Never
  command: ["tapp", "run"]
  lifecycle:
    postStart:
      exec: {command: ["tapp", "sleep", "100000"]}
    preStop:
      exec: {command: ["tapp", "say", "preStop"]}"#,
    );
    let mut running = machine.run(&manifest, &[]);
    // Both, in whichever order: as long as the main process does not handle signals, the kernel drops them.
    let (is_begun, is_up) = (Cell::new(false), Cell::new(false));
    running.wait_for("the hook and the main process", |entry| {
        is_begun.set(is_begun.get() || is_action(entry, "RunHook"));
        is_up.set(is_up.get() || entry["output"]["line"].as_str().is_some_and(|line| line.contains("main: start")));
        is_begun.get() && is_up.get()
    });
    running.interrupt();
    let ended = running.end();
    assert_eq!(ended.code, Some(0), "{}", ended.story());
    assert!(ended.find(|entry| is_hook_end(entry, "Cancelled")).is_some(), "{}", ended.story());
    assert!(ended.output().iter().any(|line| line.contains("hook: preStop")), "{}", ended.story());
    let asked = ended.find(|entry| entry["kill"].is_object()).expect("the delete is in the journal");
    let gone = ended.find(|entry| entry["event"]["event"] == "PodCleanedUp").expect("the pod is gone");
    assert!(ended.seconds_between(asked, gone) < 3.0, "{}", ended.story());
}

// k8s: 3.d.24
#[test]
fn sleep_hooks_let_time_pass_without_a_process() {
    let Some(machine) = Machine::new("sleep_hooks_let_time_pass_without_a_process") else { return };
    let manifest = pod(
        "sleeper",
        r#"containers:
- name: app
  image: tapp:1
  imagePullPolicy: Never
  command: ["tapp", "run"]
  lifecycle:
    postStart: {sleep: {seconds: 1}}
    preStop: {sleep: {seconds: 1}}"#,
    );
    let mut running = machine.run(&manifest, &[]);
    running.wait_running("app");
    running.interrupt();
    let ended = running.end();
    assert_eq!(ended.code, Some(0), "{}", ended.story());
    let began = ended.find(|entry| entry["action"]["action"]["note"] == "StopBegan").expect("the stop began");
    let signalled = ended.find(|entry| is_action(entry, "StopContainer")).expect("the stop signal went out");
    // The machine counts from its decision, which is written down a moment later, on a slow machine some milliseconds.
    let asked = ended.find(|entry| entry["kill"].is_object()).expect("the delete is in the journal");
    let (since_asked, slept) = (ended.seconds_between(asked, signalled), ended.seconds_between(began, signalled));
    assert!(since_asked >= 1.0 && slept < 1.5, "{since_asked} s, {slept} s");
}

// k8s: 3.a.8, deliberate difference 2: a second Ctrl-C shortens the grace to 1 s, a third to nothing.
#[test]
fn asking_again_shortens_the_grace_and_a_third_time_ends_it() {
    let Some(machine) = Machine::new("asking_again_shortens_the_grace_and_a_third_time_ends_it") else { return };
    let manifest = pod(
        "stubborn",
        r#"terminationGracePeriodSeconds: 600
containers:
- name: app
  image: tapp:1
  imagePullPolicy: Never
  command: ["tapp", "run", "--ignore-term"]
  lifecycle:
    preStop:
      exec: {command: ["tapp", "sleep", "300000"]}"#,
    );
    let mut running = machine.run(&manifest, &[]);
    running.wait_running("app");
    running.interrupt();
    running.wait_for("preStop", |entry| entry["action"]["action"]["hook"] == "PreStop");
    running.interrupt();
    running.wait_for("the stop signal", |entry| is_action(entry, "StopContainer"));
    running.interrupt();
    let ended = running.end();
    assert_eq!(ended.code, Some(2), "{}", ended.story());
    let signalled = ended.find(|entry| is_action(entry, "StopContainer")).expect("the stop signal went out");
    let exited = ended.find(|entry| entry["event"]["event"] == "ContainerExited").expect("it exited");
    assert!(ended.seconds_between(signalled, exited) < 1.5, "the third request kills at once: {}", ended.story());
}

// k8s: 3.d.28
#[test]
fn a_hook_that_would_open_a_connection_always_fails_and_is_told_so() {
    let Some(machine) = Machine::new("a_hook_that_would_open_a_connection_always_fails_and_is_told_so") else { return };
    let manifest = pod(
        "connects",
        r#"terminationGracePeriodSeconds: 5
containers:
- name: app
  image: tapp:1
  imagePullPolicy: Never
  command: ["tapp", "run", "--http", "8080"]
  lifecycle:
    preStop: {tcpSocket: {port: 8080}}"#,
    );
    let mut running = machine.run(&manifest, &[]);
    running.wait_running("app");
    running.wait_handling("app");
    running.interrupt();
    let ended = running.end();
    assert_eq!(ended.code, Some(0), "the stop goes on: {}", ended.story());
    assert!(ended.find(|entry| is_hook_end(entry, "FailedToRun")).is_some(), "{}", ended.story());
    assert!(ended.events().contains(&"FailedPreStopHook: PreStopHook failed".to_owned()), "{:?}", ended.events());
    let warned = "lifecycle.preStop.tcpSocket: a hook cannot open a TCP connection: this hook always fails";
    assert!(ended.stderr.contains(warned), "{}", ended.stderr);
}
