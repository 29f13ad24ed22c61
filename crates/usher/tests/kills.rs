//! The engine, or a pod's shim, is killed at every step of a pod's life: nothing is left behind after `usher rm`, and what was
//! running is told truthfully.

mod support;

use rustix::process::Signal;
use serde_json::Value;
use support::{Machine, Running};

const POD: &str = "apiVersion: v1
kind: Pod
metadata:
  name: victim
spec:
  restartPolicy: Never
  terminationGracePeriodSeconds: 5
  containers:
  - name: app
    image: tapp:1
    imagePullPolicy: Never
    command: [tapp, run, --term-delay, '100']
    lifecycle:
      postStart:
        exec: {command: [tapp, say, postStart]}
      preStop:
        exec: {command: [sh, -c, tapp say preStop; sleep 0.2]}
";

/// A step of the life: what is in the journal when it has begun, and whether it is part of the stop.
struct Step {
    name: &'static str,
    in_stop: bool,
    has_begun: fn(&Value) -> bool,
}

const STEPS: &[Step] = &[
    Step { name: "sandbox", in_stop: false, has_begun: |entry| is_action(entry, "CreateSandbox") },
    Step { name: "create", in_stop: false, has_begun: |entry| is_action(entry, "CreateContainer") },
    Step { name: "start", in_stop: false, has_begun: |entry| is_action(entry, "StartContainer") },
    Step { name: "postStart", in_stop: false, has_begun: |entry| is_action(entry, "RunHook") },
    Step { name: "running", in_stop: false, has_begun: |entry| entry["status"]["phase"] == "Running" },
    Step { name: "preStop", in_stop: true, has_begun: |entry| entry["action"]["action"]["hook"] == "PreStop" },
    Step { name: "stop signal", in_stop: true, has_begun: |entry| is_action(entry, "StopContainer") },
    Step { name: "exit", in_stop: true, has_begun: |entry| entry["event"]["event"] == "ContainerExited" },
];

/// Rounds over all steps; with both victims more than a hundred kills.
const ROUNDS: usize = 7;

fn is_action(entry: &Value, action: &str) -> bool {
    entry["action"]["action"]["action"] == action
}

fn run_until(machine: &Machine, step: &Step) -> Running {
    let mut running = machine.run(POD, &[]);
    if step.in_stop {
        running.wait_running("app");
        running.interrupt();
    }
    running.wait_for(step.name, step.has_begun);
    running
}

#[test]
fn an_engine_killed_at_any_step_leaves_a_pod_that_rm_stops_properly() {
    let Some(machine) = Machine::new("an_engine_killed_at_any_step_leaves_a_pod_that_rm_stops_properly") else { return };
    for round in 0..ROUNDS {
        for step in STEPS {
            let mut running = run_until(&machine, step);
            running.signal(Signal::KILL);
            let _ = running.child.wait();
            let listed = machine.output(["ps", "-o", "json"]);
            let listed: Value = serde_json::from_slice(&listed.stdout).expect("ps prints JSON");
            let uid = listed[0]["uid"].as_str().unwrap_or_default().to_owned();
            let removed = machine.output(["rm", "victim"]);
            let text = format!("{}{}", String::from_utf8_lossy(&removed.stdout), String::from_utf8_lossy(&removed.stderr));
            assert!(removed.status.success(), "round {round}, killed at {}: {text}", step.name);
            let left = machine.left_behind();
            assert!(left.is_empty(), "round {round}, killed at {}: left {left:?}\n{text}", step.name);
            let said = std::fs::read_to_string(machine.log_root().join(format!("default_victim_{uid}/app/0.log"))).unwrap_or_default();
            let hooks = |hook: &str| said.lines().filter(|line| line.contains(&format!("hook: {hook} "))).count();
            // Each hook runs at most once in a container's life; preStop exactly once where the container lived to see it.
            assert!(hooks("postStart") <= 1, "round {round}, killed at {}: {said}", step.name);
            let lived = said.contains("main: start");
            assert_eq!(hooks("preStop"), usize::from(lived), "round {round}, killed at {}: {said}\n{text}", step.name);
            assert_eq!(lived, said.contains("main: exit 0"), "round {round}, killed at {}: stopped gracefully: {said}\n{text}", step.name);
        }
    }
}

#[test]
fn a_shim_killed_at_any_step_is_told_and_leaves_nothing() {
    let Some(machine) = Machine::new("a_shim_killed_at_any_step_is_told_and_leaves_nothing") else { return };
    for round in 0..ROUNDS {
        for step in STEPS.iter().skip(1) {
            let running = run_until(&machine, step);
            for pid in machine.shims() {
                let pid = rustix::process::Pid::from_raw(pid).expect("a pid");
                // It may have ended by itself in the meantime.
                let _ = rustix::process::kill_process(pid, Signal::KILL);
            }
            // A pod of which nothing had started gets a new sandbox; it is asked to stop like the others.
            running.interrupt();
            let ended = running.end();
            let code = ended.code.unwrap_or(-1);
            assert!((0..=4).contains(&code), "round {round}, killed at {}: exit code {code}\n{}", step.name, ended.story());
            let left = machine.left_behind();
            assert!(left.is_empty(), "round {round}, killed at {}: left {left:?}\n{}", step.name, ended.story());
        }
    }
}
