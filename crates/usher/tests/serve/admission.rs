//! Which pods the node takes and when, what it says of itself, and who asked for an end.

use serde_json::Value;

use crate::{POD, Served, await_pod, machine};

/// The pod of the other tests, under another name and with more in its spec.
fn pod(name: &str, more: &str) -> String {
    POD.replace("name: web", &format!("name: {name}")).replace("spec:\n", &format!("spec:\n{more}"))
}

fn apply(served: &Served<'_>, manifest: &str) {
    let file = served.machine.file("applied.yaml", manifest);
    served.ok(&["apply", "-f", file.to_str().expect("text")]);
}

fn is_ready(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array();
    conditions.into_iter().flatten().any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
}

#[test]
fn a_node_is_drained_and_pods_wait_until_it_takes_them_again() {
    let Some(machine) = machine("a_node_is_drained_and_pods_wait_until_it_takes_them_again") else { return };
    let served = Served::start(&machine);
    apply(&served, &pod("first", ""));
    served.ok(&["wait", "--for=condition=Ready", "pod/first", "--timeout=60s"]);
    let node = served.ok(&["get", "nodes", "-o", "jsonpath={.items[0].metadata.name}"]);
    let drained = served.ok(&["drain", &node, "--force", "--timeout=60s"]);
    assert!(drained.contains("pod/first evicted") && drained.contains("drained"), "{drained}");
    assert_eq!(served.ok(&["get", "pods", "-o", "name"]), "");
    assert!(served.ok(&["get", "nodes", "--no-headers"]).contains("Ready,SchedulingDisabled"));

    apply(&served, POD);
    let why = "0/1 nodes are available: 1 node(s) were unschedulable.";
    let waiting = served.pod();
    let condition = &waiting["status"]["conditions"][0];
    assert_eq!((&condition["reason"], &condition["message"]), (&"Unschedulable".into(), &why.into()), "{waiting}");
    assert_eq!((&waiting["status"]["phase"], waiting["spec"].get("nodeName")), (&"Pending".into(), None));
    let events = served.ok(&["events", "--for", "pod/web"]);
    assert!(events.contains("FailedScheduling") && events.contains(why), "{events}");
    served.ok(&["uncordon", &node]);
    await_pod(&served, "readiness", is_ready);
    served.ok(&["delete", "pod", "web", "--timeout=60s"]);
    // Journals outlive their pods.
    let told = String::from_utf8_lossy(&machine.output(["why", "first"]).stdout).into_owned();
    assert!(told.contains("by an eviction by usher-admin (kubectl/") && told.contains(", through the API"), "{told}");
}

#[test]
fn a_taint_drives_pods_away_and_keeps_others_waiting_until_it_is_removed() {
    let Some(machine) = machine("a_taint_drives_pods_away_and_keeps_others_waiting_until_it_is_removed") else { return };
    let served = Served::start(&machine);
    let tolerant = "  tolerations: [{key: disk, operator: Exists}]\n";
    apply(&served, &pod("first", ""));
    apply(&served, &pod("tolerant", tolerant));
    served.ok(&["wait", "--for=condition=Ready", "pod/first", "pod/tolerant", "--timeout=60s"]);
    let node = served.ok(&["get", "nodes", "-o", "jsonpath={.items[0].metadata.name}"]);
    served.ok(&["taint", "nodes", &node, "disk=slow:NoExecute"]);
    served.ok(&["wait", "--for=delete", "pod/first", "--timeout=60s"]);
    let events = served.ok(&["get", "events", "--field-selector", "involvedObject.name=first"]);
    assert!(events.contains("TaintManagerEviction") && events.contains("Marking for deletion Pod default/first"), "{events}");
    let told = String::from_utf8_lossy(&machine.output(["why", "first"]).stdout).into_owned();
    assert!(told.contains("by a taint of the node that it does not tolerate"), "{told}");

    apply(&served, POD);
    let why = "0/1 nodes are available: 1 node(s) had untolerated taint(s).";
    assert_eq!(served.pod()["status"]["conditions"][0]["message"], why);
    served.ok(&["taint", "nodes", &node, "disk-"]);
    await_pod(&served, "readiness", is_ready);
    let restarts = served.ok(&["get", "pod", "tolerant", "-o", "jsonpath={.status.containerStatuses[0].restartCount}"]);
    assert_eq!(restarts, "0");
    served.ok(&["delete", "pod", "web", "tolerant", "--timeout=60s"]);
}

#[test]
fn a_pod_with_scheduling_gates_starts_when_the_last_is_taken_away() {
    let Some(machine) = machine("a_pod_with_scheduling_gates_starts_when_the_last_is_taken_away") else { return };
    let served = Served::start(&machine);
    apply(&served, &pod("web", "  schedulingGates: [{name: example.com/quota}]\n"));
    let row = served.ok(&["get", "pod", "web", "--no-headers"]);
    assert!(row.contains("SchedulingGated"), "{row}");
    served.ok(&["patch", "pod", "web", "-p", "{\"spec\":{\"schedulingGates\":null}}"]);
    await_pod(&served, "readiness", is_ready);
    let events = served.ok(&["events", "--for", "pod/web"]);
    assert!(events.contains("Successfully assigned default/web"), "{events}");
    served.ok(&["delete", "pod", "web", "--timeout=60s"]);
}

#[test]
fn a_node_names_its_images_and_is_described() {
    let Some(machine) = machine("a_node_names_its_images_and_is_described") else { return };
    let served = Served::start(&machine);
    let node: Value = serde_json::from_str(&served.ok(&["get", "nodes", "-o", "json"])).expect("JSON");
    let images = node["items"][0]["status"]["images"].as_array().expect("images").clone();
    let sizes: Vec<_> = images.iter().map(|image| image["sizeBytes"].as_u64().expect("a size")).collect();
    assert!(sizes.iter().all(|size| *size > 0) && sizes.is_sorted_by(|one, other| one >= other), "the largest first: {sizes:?}");
    let names: Vec<_> = images.iter().flat_map(|image| image["names"].as_array().expect("names")).filter_map(Value::as_str).collect();
    assert!(names.iter().any(|name| name.ends_with("tapp:1")), "{names:?}");
    served.start_pod();
    let told = served.ok(&["describe", "nodes"]);
    for part in [
        "Unschedulable:      false",
        "MemoryPressure",
        "Container Runtime Version:  usher://",
        "Non-terminated Pods:          (1 in total)",
        "default                     web",
    ] {
        assert!(told.contains(part), "{part:?} is not in {told}");
    }
    served.ok(&["delete", "pod", "web", "--timeout=60s"]);
}

#[test]
fn the_journal_tells_who_asked_for_a_deletion() {
    let Some(machine) = machine("the_journal_tells_who_asked_for_a_deletion") else { return };
    let served = Served::start(&machine);
    served.ok(&["create", "namespace", "crowd"]);
    served.ok(&["create", "configmap", "settings", "-n", "crowd", "--from-literal=colour=red"]);
    for name in ["first", "second"] {
        apply(&served, &pod(name, ""));
    }
    let third = machine.file("third.yaml", POD.split("---").next().expect("the pod"));
    served.ok(&["apply", "-n", "crowd", "-f", third.to_str().expect("text")]);
    served.ok(&["wait", "--for=condition=Ready", "pod/first", "pod/second", "--timeout=60s"]);
    served.ok(&["wait", "--for=condition=Ready", "pod/web", "-n", "crowd", "--timeout=60s"]);
    served.ok(&["delete", "pod", "first", "--timeout=60s"]);
    assert!(machine.output(["rm", "second"]).status.success());
    served.ok(&["delete", "namespace", "crowd", "--timeout=60s"]);
    let agent = format!("(usher/{})", env!("CARGO_PKG_VERSION"));
    for (pod, by) in [
        ("first", "by usher-admin (kubectl/".to_owned()),
        ("second", format!("by root {agent}, through the API")),
        ("web", "by the end of its namespace, deleted by usher-admin (kubectl/".to_owned()),
    ] {
        let told = String::from_utf8_lossy(&machine.output(["why", pod]).stdout).into_owned();
        assert!(told.contains(&by), "{by} is not in {told}");
    }
}
