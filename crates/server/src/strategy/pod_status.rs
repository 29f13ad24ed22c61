//! The status of a pod has several authors: its node, and whoever else keeps conditions in it.

use serde_json::{Value, json};

/// The conditions that the node keeps; all others are somebody else's. k8s: 8.b.2
const OF_THE_NODE: [&str; 8] = [
    "PodScheduled",
    "Ready",
    "Initialized",
    "ContainersReady",
    "PodResizeInProgress",
    "PodResizePending",
    "PodReadyToStartContainers",
    "AllContainersRestarting",
];

/// A condition that the node sets too.
const SHARED: &str = "DisruptionTarget";

/// The status as the node sees it, with what others have in the status that is there. k8s: 8.b.1, 8.b.2
pub(crate) fn with_what_others_wrote(old: &Value, mut new: Value) -> Value {
    let of = |status: &Value| status["conditions"].as_array().cloned().unwrap_or_default();
    let is_of_the_node = |condition: &Value| condition["type"].as_str().is_some_and(|kind| OF_THE_NODE.contains(&kind));
    let is_shared = |condition: &Value| condition["type"] == SHARED;
    let told: Vec<_> = of(&new).into_iter().filter(|condition| is_of_the_node(condition) || is_shared(condition)).collect();
    let is_told = told.iter().any(is_shared);
    let foreign = of(old).into_iter().filter(|condition| !(is_of_the_node(condition) || is_told && is_shared(condition)));
    let conditions: Vec<_> = foreign.chain(told).collect();
    if !conditions.is_empty() {
        new["conditions"] = json!(conditions);
    } else if let Some(fields) = new.as_object_mut() {
        fields.remove("conditions");
    }
    for field in ["qosClass", "resourceClaimStatuses"] {
        if new.get(field).is_none()
            && let Some(kept) = old.get(field)
        {
            new[field] = kept.clone();
        }
    }
    new
}

#[cfg(test)]
mod tests {
    use super::*;

    // k8s: 8.b.1, 8.b.2
    #[test]
    fn conditions_of_others_stay_before_those_of_the_node() {
        let check = |old: Value, new: Value, expected: Value| {
            let merged = with_what_others_wrote(&json!({ "conditions": old, "qosClass": "Burstable" }), json!({ "conditions": new }));
            assert_eq!((&merged["conditions"], &merged["qosClass"]), (&expected, &json!("Burstable")));
        };
        let of = |kind: &str, status: &str| json!({ "type": kind, "status": status });
        check(
            json!([of("Ready", "True"), of("x/y", "True"), of("PodResizePending", "True")]),
            json!([of("x/y", "False"), of("Ready", "False")]),
            json!([of("x/y", "True"), of("Ready", "False")]),
        );
        check(json!([of("DisruptionTarget", "False")]), json!([]), json!([of("DisruptionTarget", "False")]));
        check(json!([of("DisruptionTarget", "False")]), json!([of("DisruptionTarget", "True")]), json!([of("DisruptionTarget", "True")]));
        check(json!([of("Ready", "True")]), json!([]), Value::Null);
    }
}
