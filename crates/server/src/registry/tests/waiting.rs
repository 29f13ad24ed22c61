//! Pods that wait for their gates, or for a node that takes none.

use super::*;

async fn cordon(scene: &Scene, is_cordoned: Value) {
    let spec = json!({ "spec": { "unschedulable": is_cordoned } });
    let patch = Patch { format: PatchFormat::Merge, value: spec, duplicates: Vec::new() };
    scene.registry.patch(stored("nodes"), Part::Whole, "", "here", &patch, &options()).await.expect("patched");
}

/// What is said of a pod's place: its node, and the reason and message of its condition.
pub(super) fn place(pod: &Value) -> Value {
    let condition = &pod["status"]["conditions"][0];
    assert_eq!((&condition["type"], &pod["status"]["phase"]), (&json!("PodScheduled"), &json!("Pending")), "{pod}");
    json!([pod["spec"]["nodeName"], condition["status"], condition["reason"], condition["message"]])
}

pub(super) fn events(scene: &Scene) -> Vec<String> {
    let events = scene.registry.list(stored("events"), Some("default"), &ListOptions::default()).expect("listed");
    let text = |event: Value| format!("{} {}", event["reason"].as_str().unwrap_or_default(), event["message"].as_str().unwrap_or_default());
    events.items.iter().map(|item| text(item.value())).collect()
}

#[tokio::test]
async fn a_pod_waits_until_its_gates_are_taken_away() {
    let scene = scene().await;
    let mut gated = pod("p");
    gated["spec"]["schedulingGates"] = json!([{ "name": "example.com/a" }, { "name": "example.com/b" }]);
    let made = scene.create("pods", gated).await.expect("created");
    let waits = json!([null, "False", "SchedulingGated", "Scheduling is blocked due to non-empty scheduling gates"]);
    assert_eq!(place(&made), waits);
    let open = async |gates: Value| scene.patch("pods", "p", PatchFormat::Merge, json!({ "spec": { "schedulingGates": gates } })).await;
    let error = open(json!([{ "name": "example.com/c" }])).await.expect_err("another gate");
    assert!(error.message.contains("only deletion is allowed, but found new scheduling gate 'example.com/c'"), "{error}");
    open(json!([{ "name": "example.com/b" }])).await.expect("one is gone");
    assert_eq!(place(&scene.get("pods", "p").expect("there")), waits);
    assert_eq!(events(&scene), [""; 0]);
    open(json!([])).await.expect("all are gone");
    assert_eq!(place(&scene.get("pods", "p").expect("there")), json!(["here", "True", null, null]));
    assert_eq!(events(&scene), ["Scheduled Successfully assigned default/p to here"]);
}

#[tokio::test]
async fn a_pod_waits_until_the_node_takes_pods_again() {
    let scene = scene().await;
    scene.create("nodes", json!({ "metadata": { "name": "here" } })).await.expect("created");
    cordon(&scene, json!(true)).await;
    let made = scene.create("pods", pod("p")).await.expect("created");
    let why = "0/1 nodes are available: 1 node(s) were unschedulable.";
    assert_eq!(place(&made), json!([null, "False", "Unschedulable", why]));
    assert_eq!(events(&scene), [format!("FailedScheduling {why}")]);
    let mut tolerant = pod("tolerant");
    tolerant["spec"]["tolerations"] = json!([{ "operator": "Exists" }]);
    assert_eq!(place(&scene.create("pods", tolerant).await.expect("created"))[0], "here");
    cordon(&scene, Value::Null).await;
    assert_eq!(place(&scene.get("pods", "p").expect("there")), json!(["here", "True", null, null]));

    // One that an engine left waiting when it died is bound by the next.
    cordon(&scene, json!(true)).await;
    let left = scene.create("pods", pod("left")).await.expect("created");
    let mut node = scene.get("nodes", "here").expect("there");
    node["spec"] = json!({});
    let revision = scene.registry.stored(stored("nodes"), "", "here").expect("there").revision;
    let key = ObjectKey::new("", "here");
    scene.registry.store.write("nodes", key, crate::store::Write::Update(revision, node)).await.expect("written behind its back");
    assert_eq!(left["spec"].get("nodeName"), None);
    scene.registry.bootstrap().await.expect("started again");
    assert_eq!(place(&scene.get("pods", "left").expect("there"))[0], "here");
}

#[tokio::test]
async fn a_pod_that_waits_goes_at_once_when_it_is_deleted() {
    let scene = scene().await;
    let mut gated = pod("p");
    gated["spec"]["schedulingGates"] = json!([{ "name": "example.com/a" }]);
    scene.create("pods", gated).await.expect("created");
    let deletion = scene.registry.delete(stored("pods"), "default", "p", &DeleteOptions::default()).await.expect("gone");
    assert!(matches!(deletion, Deletion::Gone(_)));
}
