//! What holds a pod back from the node: gates of its own, or a node that takes no pods.

use serde_json::{Value, json};

use super::taints::{Taint, taints};
use crate::object;

/// The node, as a pod that is new to it finds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seat {
    node: String,
    /// What keeps out pods that do not tolerate it, and how that is told.
    barriers: Vec<(Taint, &'static str)>,
}

impl Seat {
    /// It takes pods.
    pub fn open(node: &str) -> Self {
        Self { node: node.to_owned(), barriers: Vec::new() }
    }

    /// It takes the pods that tolerate what the node's object says: that it takes none (`kubectl cordon`), and its taints.
    pub(crate) fn of(name: &str, node: &Value) -> Self {
        let is_cordoned = node["spec"]["unschedulable"] == json!(true);
        let cordon = is_cordoned.then(|| (Taint::no_schedule(UNSCHEDULABLE_TAINT), UNSCHEDULABLE));
        let tainted = taints(node).into_iter().map(|taint| (taint, UNTOLERATED));
        Self { node: name.to_owned(), barriers: cordon.into_iter().chain(tainted).collect() }
    }

    /// The name of the node.
    pub fn node(&self) -> &str {
        &self.node
    }

    /// What keeps a pod without gates from the node.
    pub(super) fn obstacle(&self, pod: &Value) -> Option<&'static str> {
        // Who names the node asks no scheduler.
        if pod["spec"]["nodeName"] == json!(self.node) {
            return None;
        }
        self.barriers.iter().find(|(taint, _)| !taint.is_tolerated(pod)).map(|(_, why)| *why)
    }
}

/// Why a pod waits for a node that takes none; the text is the reference's.
const UNSCHEDULABLE: &str = "0/1 nodes are available: 1 node(s) were unschedulable.";
/// Why a pod waits for a node with taints; the text is the reference's.
const UNTOLERATED: &str = "0/1 nodes are available: 1 node(s) had untolerated taint(s).";
/// Why a pod waits for its gates; the text is the reference's.
const GATED: &str = "Scheduling is blocked due to non-empty scheduling gates";

/// What a pod has to tolerate to come to a node that takes none.
const UNSCHEDULABLE_TAINT: &str = "node.kubernetes.io/unschedulable";

/// Whether a pod waits for its gates.
pub(crate) fn is_gated(pod: &Value) -> bool {
    pod["spec"]["schedulingGates"].as_array().is_some_and(|gates| !gates.is_empty())
}

/// Whether a pod waits for its gates or for the node.
pub(crate) fn is_waiting(pod: &Value) -> bool {
    pod["spec"]["nodeName"].as_str().is_none_or(str::is_empty)
}

/// Notes in the status of a new pod whether it was bound, or what it waits for.
pub(crate) fn note_scheduled(pod: &mut Value, seat: &Seat, now: &str) {
    pod["status"]["conditions"] = json!([condition(pod, seat, now)]);
}

/// The same for a pod that is bound or not, by what its spec says.
fn condition(pod: &Value, seat: &Seat, now: &str) -> Value {
    let (status, reason, message) = if !is_waiting(pod) {
        ("True", None, None)
    } else if is_gated(pod) {
        ("False", Some("SchedulingGated"), Some(GATED))
    } else {
        ("False", Some("Unschedulable"), seat.obstacle(pod))
    };
    let mut condition = json!({ "type": "PodScheduled", "status": status, "lastProbeTime": null, "lastTransitionTime": now });
    for (field, value) in [("reason", reason), ("message", message)] {
        if let Some(value) = value {
            condition[field] = json!(value);
        }
    }
    condition
}

fn scheduled(pod: &Value) -> Option<&Value> {
    pod["status"]["conditions"].as_array()?.iter().find(|condition| condition["type"] == "PodScheduled")
}

/// What a pod waits for, as its status has it.
pub(crate) fn told_obstacle(pod: &Value) -> Option<&str> {
    scheduled(pod)?["message"].as_str()
}

/// A pod that waits, bound if it need not wait any more, or saying what it waits for; `None` if nothing is different.
pub(crate) fn seated(pod: &Value, seat: &Seat, now: &str) -> Option<Value> {
    if !is_waiting(pod) || is_gated(pod) || object::is_terminating(pod) {
        return None;
    }
    let mut seated = pod.clone();
    if seat.obstacle(pod).is_none() {
        seated["spec"]["nodeName"] = json!(seat.node());
    }
    let fresh = condition(&seated, seat, now);
    let same = |field: &str| scheduled(pod).is_some_and(|before| before[field] == fresh[field]);
    if ["status", "reason", "message"].into_iter().all(same) {
        return None;
    }
    let known = pod["status"]["conditions"].as_array().into_iter().flatten();
    let others = known.filter(|condition| condition["type"] != "PodScheduled").cloned();
    seated["status"]["conditions"] = others.chain([fresh]).collect();
    object::drop_empty(&mut seated);
    Some(seated)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(spec: Value) -> Value {
        let mut pod = json!({ "metadata": { "name": "p" }, "spec": spec, "status": { "phase": "Pending" } });
        note_scheduled(&mut pod, &cordoned(), "before");
        object::drop_empty(&mut pod);
        pod
    }

    fn cordoned() -> Seat {
        Seat::of("here", &json!({ "spec": { "unschedulable": true } }))
    }

    #[test]
    fn a_pod_waits_for_its_gates_first_and_for_the_node_then() {
        let gated = pod(json!({ "schedulingGates": [{ "name": "a" }] }));
        let condition = &gated["status"]["conditions"][0];
        assert_eq!((&condition["reason"], &condition["message"]), (&json!("SchedulingGated"), &json!(GATED)));
        assert_eq!(seated(&gated, &Seat::open("here"), "now"), None);
        let mut open = gated;
        open["spec"]["schedulingGates"] = json!([]);
        open["status"]["conditions"] = json!([{ "type": "x/y", "status": "True" }, open["status"]["conditions"][0]]);
        let waiting = seated(&open, &cordoned(), "now").expect("it waits for something else");
        let reasons: Vec<_> = waiting["status"]["conditions"].as_array().expect("conditions").iter().map(|one| &one["reason"]).collect();
        assert_eq!(reasons, [&Value::Null, &json!("Unschedulable")], "those of others stay");
        assert_eq!(told_obstacle(&waiting), Some(UNSCHEDULABLE));
        assert_eq!(seated(&waiting, &cordoned(), "later"), None, "nothing is different");
        let tainted = Seat::of("here", &json!({ "spec": { "taints": [{ "key": "a", "effect": "NoExecute" }] } }));
        let waiting = seated(&waiting, &tainted, "later").expect("it waits for yet something else");
        assert_eq!(told_obstacle(&waiting), Some(UNTOLERATED));
        let bound = seated(&waiting, &Seat::open("here"), "then").expect("it is bound");
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
            assert_eq!(cordoned().obstacle(&json!({ "spec": spec })).is_none(), comes, "{spec}");
        }
    }
}
