//! Conditions that somebody else keeps in the status of a pod, and what depends on them.

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::{Served, await_pod, machine};

const GATED: &str = "apiVersion: v1
kind: Pod
metadata: {name: web}
spec:
  terminationGracePeriodSeconds: 5
  readinessGates: [{conditionType: example.com/fed}]
  containers:
  - name: app
    image: tapp:1
    imagePullPolicy: Never
    command: [tapp, run]
    readinessProbe: {exec: {command: [sh, -c, 'test ! -e /tmp/down']}, periodSeconds: 1}
";

fn condition(pod: &Value, kind: &str) -> Value {
    let all = pod["status"]["conditions"].as_array().cloned().unwrap_or_default();
    all.into_iter().find(|condition| condition["type"] == kind).unwrap_or_default()
}

fn is(pod: &Value, kind: &str, status: &str) -> bool {
    condition(pod, kind)["status"] == status
}

/// What another controller would do.
fn feed(served: &Served<'_>, status: &str) {
    let patch = json!({ "status": { "conditions": [{ "type": "example.com/fed", "status": status, "reason": "Other" }] } });
    served.ok(&["patch", "pod", "web", "--subresource=status", "-p", &patch.to_string()]);
}

// k8s: 8.b.2, 8.b.11, 8.b.12
#[test]
fn conditions_of_others_stay_and_open_readiness_gates() {
    let Some(machine) = machine("conditions_of_others_stay_and_open_readiness_gates") else { return };
    let mut served = Served::start(&machine);
    let manifest = machine.file("pod.yaml", GATED);
    served.ok(&["apply", "-f", manifest.to_str().expect("text")]);
    let pod = await_pod(&served, "ready containers", |pod| is(pod, "ContainersReady", "True"));
    let ready = condition(&pod, "Ready");
    assert_eq!((&ready["status"], &ready["reason"]), (&json!("False"), &json!("ReadinessGatesNotReady")), "{ready}");
    assert_eq!(ready["message"], "corresponding condition of pod readiness gate \"example.com/fed\" does not exist.");
    let wide = served.ok(&["get", "pod", "web", "-o", "wide", "--no-headers"]);
    assert!(wide.trim_end().ends_with("0/1"), "one gate, and it is shut: {wide}");

    feed(&served, "True");
    await_pod(&served, "readiness by the gate", |pod| is(pod, "Ready", "True"));
    // What the node says after that leaves it alone.
    served.ok(&["exec", "web", "--", "touch", "/tmp/down"]);
    let pod = await_pod(&served, "the failed probe", |pod| is(pod, "ContainersReady", "False"));
    assert_eq!(condition(&pod, "Ready")["reason"], "ContainersNotReady");
    assert_eq!(condition(&pod, "example.com/fed")["reason"], "Other");
    assert_eq!(pod["status"]["conditions"][0]["type"], "example.com/fed", "k8s: 8.b.1");
    served.ok(&["exec", "web", "--", "rm", "/tmp/down"]);
    await_pod(&served, "readiness again", |pod| is(pod, "Ready", "True"));

    // Changed while no daemon is there to see it: the next one looks.
    served.signal(Signal::KILL);
    served = Served::start(&machine);
    assert!(is(&served.pod(), "Ready", "True"));
    feed(&served, "False");
    let pod = await_pod(&served, "the shut gate", |pod| is(pod, "Ready", "False"));
    let text = "the status of pod readiness gate \"example.com/fed\" is not \"True\", but False";
    assert_eq!(condition(&pod, "Ready")["message"], text);
    assert_eq!(pod["status"]["containerStatuses"][0]["restartCount"], 0);
    served.ok(&["delete", "pod", "web", "--timeout=60s"]);
}
