//! Plays a recorded case: does to `usher run` what was done to the reference node, at the same points of the pod's life.

use std::time::{Duration, Instant};

use lifecycle::PodStatus;
use serde_json::{Value, json};
use sim::trace::Case;
use sim::trace::steps::{self, Condition, Step};

use crate::support::{Ended, Machine, Running};

/// Plays the case to its end; `other_steps` in place of the recorded ones.
pub(crate) fn play(machine: &Machine, case: &Case, other_steps: Option<&str>) -> Ended {
    let recorded: Value = serde_json::from_str(case.pod).expect("a recorded case is JSON");
    let spec = &recorded["spec"];
    import_images(machine, spec);
    let pod = json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "p", "namespace": "ns" }, "spec": spec });
    let mut running = machine.run(&pod.to_string(), &[]);
    running.wait_for("the pod's creation", |entry| entry["opened"].is_object());
    for step in steps::read(other_steps.or(recorded["steps"].as_str()).expect("a case has steps")) {
        match step {
            // The run is followed to its end anyway.
            Step::Until(Condition::Gone, _) => {}
            Step::Until(condition, patience) => wait_until(&mut running, &condition, patience),
            // Part of what was done to the reference: the pod is left alone for so long.
            Step::Sleep(time) => std::thread::sleep(time),
            Step::Delete(None) => running.interrupt(),
            Step::Delete(Some(secs)) => {
                let removed = machine.output(["rm", "ns/p", "--quiet", "--grace-period", &secs.to_string()]);
                assert!(removed.status.success(), "{removed:?}");
            }
        }
    }
    running.end()
}

/// The recordings wait in vain where their conditions never come true; a pod that is gone changes no more.
fn wait_until(running: &mut Running, condition: &Condition, patience: Duration) {
    let deadline = Instant::now() + patience;
    let is_met = |seen: &[Value]| {
        let status = seen.iter().rev().find_map(|entry| entry.get("status"));
        let status: Option<PodStatus> = status.and_then(|status| serde_json::from_value(status.clone()).ok());
        condition.is_met(status.as_ref(), seen.iter().filter_map(|entry| entry["action"]["action"]["reason"].as_str()))
    };
    while !is_met(&running.seen) && running.next(deadline) {}
}

fn import_images(machine: &Machine, spec: &Value) {
    let all = ["containers", "initContainers"].map(|list| spec[list].as_array().cloned().unwrap_or_default()).concat();
    let images: Vec<&str> = all.iter().filter_map(|container| container["image"].as_str()).collect();
    if images.contains(&"nginx") {
        machine.import_example_images();
    }
    if images.contains(&"tapp:quit") {
        machine.import_image("tapp:quit", &["--stop-signal", "SIGQUIT"]);
    }
}
