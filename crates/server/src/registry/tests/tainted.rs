//! Pods on a node with taints.

use std::time::Duration;

use tokio::time::Instant;

use super::waiting::{events, place};
use super::*;
use crate::registry::taints::Bearing;

async fn taint(scene: &Scene, taints: Value) {
    let spec = json!({ "spec": { "taints": taints } });
    let patch = Patch { format: PatchFormat::Merge, value: spec, duplicates: Vec::new() };
    scene.registry.patch(stored("nodes"), Part::Whole, "", "here", &patch, &options()).await.expect("patched");
}

fn tolerating(name: &str, toleration: Value) -> Value {
    let mut pod = pod(name);
    pod["spec"]["tolerations"] = json!([toleration]);
    pod
}

async fn tainted_scene(effect: &str) -> Scene {
    let scene = scene().await;
    scene.create("nodes", json!({ "metadata": { "name": "here" } })).await.expect("created");
    taint(&scene, json!([{ "key": "disk", "value": "slow", "effect": effect }])).await;
    scene
}

fn is_going(scene: &Scene, name: &str) -> bool {
    object::is_terminating(&scene.get("pods", name).expect("it goes with grace"))
}

#[tokio::test]
async fn a_taint_keeps_out_who_does_not_tolerate_it_until_it_is_taken_away() {
    for effect in ["NoSchedule", "NoExecute"] {
        let scene = tainted_scene(effect).await;
        let made = scene.create("pods", pod("p")).await.expect("created");
        let why = "0/1 nodes are available: 1 node(s) had untolerated taint(s).";
        assert_eq!(place(&made), json!([null, "False", "Unschedulable", why]));
        assert_eq!(events(&scene), [format!("FailedScheduling {why}")]);
        let tolerant = scene.create("pods", tolerating("tolerant", json!({ "key": "disk", "value": "slow" }))).await.expect("created");
        assert_eq!(place(&tolerant)[0], "here");
        taint(&scene, json!([{ "key": "disk", "value": "slow", "effect": "PreferNoSchedule" }])).await;
        assert_eq!(place(&scene.get("pods", "p").expect("there")), json!(["here", "True", null, null]));
    }
}

#[tokio::test]
async fn a_taint_drives_away_who_does_not_tolerate_it_and_others_when_their_time_is_over() {
    let scene = scene().await;
    scene.create("nodes", json!({ "metadata": { "name": "here" } })).await.expect("created");
    let exists = |seconds: Value| json!({ "key": "disk", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": seconds });
    for (name, toleration) in [
        ("none", json!({ "key": "cpu", "operator": "Exists" })),
        ("short", exists(json!(30))),
        ("long", exists(json!(60))),
        ("ever", exists(Value::Null)),
    ] {
        scene.create("pods", tolerating(name, toleration)).await.expect("created");
    }
    let (mut bearing, begun) = (Bearing::new(), Instant::now());
    let mut after = async |secs: u64| {
        let now = begun + Duration::from_secs(secs);
        scene.registry.evict_intolerant(&mut bearing, now).await.expect("the store takes it").map(|next| next.as_secs())
    };
    assert_eq!(after(0).await, None);
    taint(&scene, json!([{ "key": "disk", "effect": "NoExecute" }])).await;
    assert_eq!(after(10).await, Some(30));
    let going = scene.get("pods", "none").expect("it goes with grace");
    assert!(object::is_terminating(&going), "{going}");
    let told = &going["status"]["conditions"][1];
    assert_eq!((&told["type"], &told["reason"]), (&json!("DisruptionTarget"), &json!("DeletionByTaintManager")), "{going}");
    let asker = scene.registry.deletion_asker(object::uid(&going));
    assert_eq!(asker.as_deref(), Some("a taint of the node that it does not tolerate"));
    assert!(events(&scene).contains(&"TaintManagerEviction Marking for deletion Pod default/none".to_owned()), "{:?}", events(&scene));

    assert_eq!(after(39).await, Some(1));
    assert!(!is_going(&scene, "short"));
    assert_eq!(after(40).await, Some(30));
    assert!(is_going(&scene, "short"));
    // What was borne before is forgotten with the taint.
    taint(&scene, json!([])).await;
    assert_eq!(after(69).await, None);
    taint(&scene, json!([{ "key": "disk", "effect": "NoExecute" }])).await;
    assert_eq!(after(71).await, Some(60));
    assert_eq!(after(131).await, None);
    assert!(is_going(&scene, "long") && !is_going(&scene, "ever"));
}
