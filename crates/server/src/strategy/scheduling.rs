//! What holds a pod back from the node: gates of its own, or a node that takes no pods.

use serde_json::{Value, json};

use crate::object;

/// The node, as a pod that is new to it finds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seat {
    /// It takes pods.
    Open(String),
    /// It was told to take none (`kubectl cordon`), but those that tolerate that.
    Cordoned(String),
}

impl Seat {
    /// The name of the node.
    pub fn node(&self) -> &str {
        let (Self::Open(node) | Self::Cordoned(node)) = self;
        node
    }
}

/// Why a pod waits for a node that takes none; the text is the reference's.
pub(crate) const UNSCHEDULABLE: &str = "0/1 nodes are available: 1 node(s) were unschedulable.";
/// Why a pod waits for its gates; the text is the reference's.
const GATED: &str = "Scheduling is blocked due to non-empty scheduling gates";

/// What a pod has to tolerate to come to a node that takes none.
const UNSCHEDULABLE_TAINT: &str = "node.kubernetes.io/unschedulable";

/// Whether a node was told to take no pods.
pub(crate) fn is_cordoned(node: &Value) -> bool {
    node["spec"]["unschedulable"] == json!(true)
}

/// Whether a pod waits for its gates.
pub(crate) fn is_gated(pod: &Value) -> bool {
    pod["spec"]["schedulingGates"].as_array().is_some_and(|gates| !gates.is_empty())
}

/// Whether a pod waits for its gates or for the node.
pub(crate) fn is_waiting(pod: &Value) -> bool {
    pod["spec"]["nodeName"].as_str().is_none_or(str::is_empty)
}

/// Whether a pod without gates comes to the node.
pub(super) fn is_taken(pod: &Value, seat: &Seat) -> bool {
    match seat {
        Seat::Open(_) => true,
        // Who names the node asks no scheduler.
        Seat::Cordoned(node) => pod["spec"]["nodeName"] == json!(node) || tolerates_cordon(pod),
    }
}

fn tolerates_cordon(pod: &Value) -> bool {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    pod["spec"]["tolerations"].as_array().into_iter().flatten().any(|toleration| {
        let (key, operator) = (text(&toleration["key"]), text(&toleration["operator"]));
        let of_effect = matches!(text(&toleration["effect"]).as_str(), "" | "NoSchedule");
        // The taint has no value.
        let of_value = operator == "Exists" || text(&toleration["value"]).is_empty();
        of_effect && of_value && (key == UNSCHEDULABLE_TAINT || key.is_empty() && operator == "Exists")
    })
}

/// Notes in the status of a new pod whether it was bound, or what it waits for.
pub(crate) fn note_scheduled(pod: &mut Value, now: &str) {
    pod["status"]["conditions"] = json!([condition(pod, now)]);
}

/// The same for a pod that is bound or not, by what its spec says.
fn condition(pod: &Value, now: &str) -> Value {
    let (status, reason, message) = if !is_waiting(pod) {
        ("True", None, None)
    } else if is_gated(pod) {
        ("False", Some("SchedulingGated"), Some(GATED))
    } else {
        ("False", Some("Unschedulable"), Some(UNSCHEDULABLE))
    };
    let mut condition = json!({ "type": "PodScheduled", "status": status, "lastProbeTime": null, "lastTransitionTime": now });
    for (field, value) in [("reason", reason), ("message", message)] {
        if let Some(value) = value {
            condition[field] = json!(value);
        }
    }
    condition
}

/// A pod that waits, bound if it need not wait any more, or saying what it waits for; `None` if nothing is different.
pub(crate) fn seated(pod: &Value, seat: &Seat, now: &str) -> Option<Value> {
    if !is_waiting(pod) || is_gated(pod) || object::is_terminating(pod) {
        return None;
    }
    let mut seated = pod.clone();
    if is_taken(pod, seat) {
        seated["spec"]["nodeName"] = json!(seat.node());
    }
    let fresh = condition(&seated, now);
    let empty = Vec::new();
    let known = pod["status"]["conditions"].as_array().unwrap_or(&empty);
    let before = known.iter().find(|condition| condition["type"] == "PodScheduled");
    if before.is_some_and(|before| before["status"] == fresh["status"] && before["reason"] == fresh["reason"]) {
        return None;
    }
    let others = known.iter().filter(|condition| condition["type"] != "PodScheduled").cloned();
    seated["status"]["conditions"] = others.chain([fresh]).collect();
    object::drop_empty(&mut seated);
    Some(seated)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(spec: Value) -> Value {
        let mut pod = json!({ "metadata": { "name": "p" }, "spec": spec, "status": { "phase": "Pending" } });
        note_scheduled(&mut pod, "before");
        object::drop_empty(&mut pod);
        pod
    }

    fn cordoned() -> Seat {
        Seat::Cordoned("here".to_owned())
    }

    #[test]
    fn a_pod_waits_for_its_gates_first_and_for_the_node_then() {
        let gated = pod(json!({ "schedulingGates": [{ "name": "a" }] }));
        let condition = &gated["status"]["conditions"][0];
        assert_eq!((&condition["reason"], &condition["message"]), (&json!("SchedulingGated"), &json!(GATED)));
        assert_eq!(seated(&gated, &Seat::Open("here".to_owned()), "now"), None);
        let mut open = gated;
        open["spec"]["schedulingGates"] = json!([]);
        open["status"]["conditions"] = json!([{ "type": "x/y", "status": "True" }, open["status"]["conditions"][0]]);
        let waiting = seated(&open, &cordoned(), "now").expect("it waits for something else");
        let reasons: Vec<_> = waiting["status"]["conditions"].as_array().expect("conditions").iter().map(|one| &one["reason"]).collect();
        assert_eq!(reasons, [&Value::Null, &json!("Unschedulable")], "those of others stay");
        assert_eq!(seated(&waiting, &cordoned(), "later"), None, "nothing is different");
        let bound = seated(&waiting, &Seat::Open("here".to_owned()), "then").expect("it is bound");
        assert_eq!((&bound["spec"]["nodeName"], &bound["status"]["conditions"][1]["status"]), (&json!("here"), &json!("True")));
        assert_eq!(seated(&bound, &cordoned(), "later"), None);
    }

    #[test]
    fn who_tolerates_the_cordon_or_names_the_node_comes_all_the_same() {
        for (spec, comes) in [
            (json!({}), false),
            (json!({ "nodeName": "here" }), true),
            (json!({ "nodeName": "there" }), false),
            (json!({ "tolerations": [{ "operator": "Exists" }] }), true),
            (json!({ "tolerations": [{ "operator": "Exists", "effect": "NoExecute" }] }), false),
            (json!({ "tolerations": [{ "key": UNSCHEDULABLE_TAINT, "effect": "NoSchedule" }] }), true),
            (json!({ "tolerations": [{ "key": UNSCHEDULABLE_TAINT, "value": "x" }] }), false),
        ] {
            assert_eq!(is_taken(&json!({ "spec": spec }), &cordoned()), comes, "{spec}");
        }
    }
}
