use serde_json::json;

use super::*;

fn check(spec: serde_json::Value, expected: QosClass) {
    let pod: Pod = serde_json::from_value(json!({"spec": spec})).expect("a pod");
    assert_eq!(qos_class(&pod), Ok(expected), "{spec}");
}

fn resources(requests: serde_json::Value, limits: serde_json::Value) -> serde_json::Value {
    json!({"name": "c", "resources": {"requests": requests, "limits": limits}})
}

#[test]
fn the_class_follows_from_cpu_and_memory_of_all_containers() {
    use QosClass::{BestEffort, Burstable, Guaranteed};
    let full = resources(json!({"cpu": "1", "memory": "1Gi"}), json!({"cpu": "1000m", "memory": "1024Mi"}));
    let none = json!({"name": "c"});
    check(json!({"containers": [none]}), BestEffort);
    check(json!({"containers": [full]}), Guaranteed);
    check(json!({"containers": [full, none]}), Burstable);
    check(json!({"containers": [full], "initContainers": [none]}), Burstable);
    check(json!({"containers": [full], "initContainers": [full]}), Guaranteed);
    check(json!({"containers": [resources(json!({"cpu": "1"}), json!({"cpu": "1"}))]}), Burstable);
    check(json!({"containers": [resources(json!({"cpu": "1", "memory": "1Gi"}), json!({"cpu": "2", "memory": "1Gi"}))]}), Burstable);
    check(json!({"containers": [resources(json!({"cpu": "0"}), json!({"memory": "0"}))]}), BestEffort);
    check(json!({"containers": [resources(json!({"ephemeral-storage": "1Gi"}), json!({}))]}), BestEffort);
}

#[test]
fn resources_of_the_pod_itself_decide_alone() {
    let asked = resources(json!({"cpu": "1"}), json!({}));
    let pod_wide = json!({"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"cpu": "1", "memory": "1Gi"}});
    check(json!({"containers": [asked], "resources": pod_wide}), QosClass::Guaranteed);
    check(json!({"containers": [asked], "resources": {"limits": {"cpu": "1"}}}), QosClass::Burstable);
    check(json!({"containers": [asked], "resources": {}}), QosClass::Burstable);
}
