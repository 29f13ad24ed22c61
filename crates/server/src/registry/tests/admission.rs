//! What other objects say about a new one.

use super::*;

fn with(spec: Value) -> Value {
    let mut pod = pod("p");
    crate::patch::apply_merge_patch(&mut pod["spec"], &spec);
    pod
}

async fn class(scene: &Scene, name: &str, rest: Value) -> ApiResult<Value> {
    let mut class = json!({ "metadata": { "name": name } });
    crate::patch::apply_merge_patch(&mut class, &rest);
    scene.create("priorityclasses", class).await
}

fn priority(pod: &Value) -> Value {
    let spec = &pod["spec"];
    json!([spec["priorityClassName"], spec["priority"], spec["preemptionPolicy"]])
}

#[tokio::test]
async fn a_pod_has_the_priority_of_its_class() {
    let scene = scene().await;
    class(&scene, "quiet", json!({ "value": 7, "preemptionPolicy": "Never" })).await.expect("created");
    let made = async |name: &str, spec: Value| {
        let mut pod = with(spec);
        pod["metadata"]["name"] = json!(name);
        scene.create("pods", pod).await.map(|pod| priority(&pod)).map_err(|error| error.message)
    };
    assert_eq!(made("a", json!({})).await, Ok(json!([null, 0, "PreemptLowerPriority"])));
    assert_eq!(made("b", json!({ "priorityClassName": "quiet" })).await, Ok(json!(["quiet", 7, "Never"])));
    let critical = json!(["system-node-critical", 2_000_001_000, "PreemptLowerPriority"]);
    assert_eq!(made("c", json!({ "priorityClassName": "system-node-critical" })).await, Ok(critical));
    let unknown = "pods \"d\" is forbidden: no PriorityClass with name loud was found";
    assert_eq!(made("d", json!({ "priorityClassName": "loud" })).await, Err(unknown.to_owned()));
    let other = "pods \"e\" is forbidden: the integer value of priority (8) must not be provided in pod spec; priority admission controller computed 7 from the given PriorityClass name";
    assert_eq!(made("e", json!({ "priorityClassName": "quiet", "priority": 8 })).await, Err(other.to_owned()));

    // From here on, those that name none have this one.
    class(&scene, "usual", json!({ "value": 3, "globalDefault": true })).await.expect("created");
    assert_eq!(made("f", json!({})).await, Ok(json!(["usual", 3, "PreemptLowerPriority"])));
    let error = class(&scene, "second", json!({ "value": 1, "globalDefault": true })).await.expect_err("there is one");
    assert!(error.message.ends_with("PriorityClass usual is already marked as default. Only one default can exist"), "{error}");
    let error = class(&scene, "high", json!({ "value": 1_000_000_001 })).await.expect_err("too high");
    assert!(error.message.ends_with("maximum allowed value of a user defined priority is 1000000000"), "{error}");
    let error = class(&scene, "system-x", json!({ "value": 1 })).await.expect_err("reserved");
    assert!(error.message.ends_with("priority class names with 'system-' prefix are reserved for system use only"), "{error}");
}

#[tokio::test]
async fn a_pod_has_an_account_that_is_there_and_its_pull_secrets() {
    let scene = scene().await;
    let account = json!({ "metadata": { "name": "robot" }, "imagePullSecrets": [{ "name": "pull" }] });
    scene.create("serviceaccounts", account).await.expect("created");
    let made = async |name: &str, spec: Value| {
        let mut pod = with(spec);
        pod["metadata"]["name"] = json!(name);
        let shown = |pod: Value| json!([pod["spec"]["serviceAccountName"], pod["spec"]["serviceAccount"], pod["spec"]["imagePullSecrets"]]);
        scene.create("pods", pod).await.map(shown).map_err(|error| error.message)
    };
    assert_eq!(made("a", json!({})).await, Ok(json!(["default", "default", null])));
    assert_eq!(made("b", json!({ "serviceAccountName": "robot" })).await, Ok(json!(["robot", "robot", [{ "name": "pull" }]])));
    let own = json!({ "serviceAccountName": "robot", "imagePullSecrets": [{ "name": "own" }] });
    assert_eq!(made("c", own).await, Ok(json!(["robot", "robot", [{ "name": "own" }]])));
    let unknown = "pods \"d\" is forbidden: error looking up service account default/nobody: serviceaccount \"nobody\" not found";
    assert_eq!(made("d", json!({ "serviceAccountName": "nobody" })).await, Err(unknown.to_owned()));
}

#[tokio::test]
async fn a_claim_is_bound_from_its_start_and_an_older_one_at_the_next() {
    let scene = scene().await;
    let claim = |name: &str| {
        json!({
            "metadata": { "name": name },
            "spec": { "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "1Gi" } } },
        })
    };
    let made = scene.create("persistentvolumeclaims", claim("data")).await.expect("created");
    let bound = json!({ "phase": "Bound", "accessModes": ["ReadWriteOnce"], "capacity": { "storage": "1Gi" } });
    assert_eq!((&made["status"], &made["spec"]["volumeName"]), (&bound, &json!(format!("pvc-{}", object::uid(&made)))));
    // As its author writes it: the name of the volume is not theirs to keep.
    let mut again = claim("data");
    again["metadata"]["labels"] = json!({ "a": "b" });
    let kind = stored("persistentvolumeclaims");
    let (after, _) = scene.registry.update(kind, Part::Whole, "default", "data", again, &options()).await.expect("updated");
    assert_eq!(after["spec"], made["spec"]);

    let mut old = after.clone();
    old["status"] = json!({ "phase": "Pending" });
    scene.registry.update(kind, Part::Status, "default", "data", old, &options()).await.expect("as an older version left it");
    scene.registry.bootstrap().await.expect("started again");
    assert_eq!(scene.get("persistentvolumeclaims", "data").expect("there")["status"], bound);
}

// k8s: 8.b.2
#[tokio::test]
async fn a_status_of_the_node_keeps_what_others_wrote_into_it() {
    let scene = scene().await;
    let created = scene.create("pods", pod("p")).await.expect("created");
    let kind = stored("pods");
    let patch = json!({ "status": { "conditions": [{ "type": "example.com/fed", "status": "True" }] } });
    let patch = Patch { format: PatchFormat::Strategic, value: patch, duplicates: Vec::new() };
    scene.registry.patch(kind, Part::Status, "default", "p", &patch, &options()).await.expect("patched");
    // What the node knew before it.
    let status = json!({ "phase": "Running", "conditions": [{ "type": "Ready", "status": "True" }] });
    let set = async |uid: &str| scene.registry.set_pod_status("default", "p", uid, &status, &options()).await;
    let after = set(object::uid(&created)).await.expect("set");
    let shown: Vec<_> = after["status"]["conditions"].as_array().expect("conditions").iter().map(|one| &one["type"]).collect();
    assert_eq!(shown, ["example.com/fed", "Ready"]);
    assert_eq!((&after["status"]["phase"], &after["status"]["qosClass"]), (&json!("Running"), &json!("BestEffort")));
    assert_eq!(set("another").await.expect_err("another pod").code, 409);
}
