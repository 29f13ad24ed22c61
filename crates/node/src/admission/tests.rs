use serde_json::{Value, json};

use super::*;

fn pod(spec: Value) -> Pod {
    serde_json::from_value(json!({ "metadata": { "name": "p" }, "spec": spec })).expect("a pod")
}

fn message(pod: &Pod, conditions: &[NodeCondition]) -> Option<String> {
    let rejected = under_pressure(pod, &conditions.iter().copied().collect()).err()?;
    assert_eq!(rejected.reason, "Evicted");
    Some(rejected.message)
}

// k8s: 4.c.2, 10.d.14
#[test]
fn under_pressure_only_critical_pods_are_taken_and_for_memory_those_that_asked_for_some() {
    let best_effort = pod(json!({ "containers": [{ "name": "a" }] }));
    let burstable = pod(json!({ "containers": [{ "name": "a", "resources": { "requests": { "cpu": "1m" } } }] }));
    let critical = pod(json!({ "containers": [{ "name": "a" }], "priority": 2_000_000_000 }));
    let memory = [NodeCondition::MemoryPressure];
    let both = [NodeCondition::MemoryPressure, NodeCondition::DiskPressure];
    let of_memory = Some("The node had condition: [MemoryPressure]. ".to_owned());
    let of_both = Some("The node had condition: [MemoryPressure DiskPressure]. ".to_owned());
    assert_eq!([&best_effort, &burstable, &critical].map(|pod| message(pod, &[])), [None, None, None]);
    assert_eq!([&best_effort, &burstable, &critical].map(|pod| message(pod, &memory)), [of_memory, None, None]);
    assert_eq!([&best_effort, &burstable, &critical].map(|pod| message(pod, &both)), [of_both.clone(), of_both, None]);
    let of_pids = Some("The node had condition: [PIDPressure]. ".to_owned());
    assert_eq!(message(&burstable, &[NodeCondition::PidPressure]), of_pids);
}

// k8s: 4.c.2
#[test]
fn a_best_effort_pod_that_tolerates_short_memory_is_taken() {
    let check = |toleration: Value, taken: bool| {
        let pod = pod(json!({ "containers": [{ "name": "a" }], "tolerations": [toleration] }));
        assert_eq!(message(&pod, &[NodeCondition::MemoryPressure]).is_none(), taken, "{pod:?}");
        assert!(message(&pod, &[NodeCondition::DiskPressure]).is_some());
    };
    let key = "node.kubernetes.io/memory-pressure";
    check(json!({ "key": key, "operator": "Exists" }), true);
    check(json!({ "key": key, "effect": "NoSchedule" }), true);
    check(json!({ "operator": "Exists" }), true);
    check(json!({ "key": key, "operator": "Exists", "effect": "NoExecute" }), false);
    check(json!({ "key": key, "operator": "Equal", "value": "x" }), false);
    check(json!({ "key": "other", "operator": "Exists" }), false);
}

fn facts(allocatable: &[(&str, i64)]) -> NodeFacts {
    let allocatable = allocatable.iter().map(|(name, amount)| ((*name).to_owned(), *amount)).collect();
    NodeFacts { allocatable, ..NodeFacts::default() }
}

fn asking(name: &str, priority: i32, requests: &Value) -> Pod {
    let spec = json!({ "priority": priority, "containers": [{ "name": "a", "resources": { "requests": requests } }] });
    serde_json::from_value(json!({ "metadata": { "name": name, "uid": name }, "spec": spec })).expect("a pod")
}

#[track_caller]
fn check(pod: &Pod, node: &NodeFacts, others: &[Pod], wanted: Result<&[&str], (&str, &str)>) {
    let others: Vec<&Pod> = others.iter().collect();
    let found = match admit(pod, node, &others, &[]) {
        Admission::Taken => Ok(Vec::new()),
        Admission::After(victims) => Ok(victims.uids),
        Admission::Rejected(rejection) => Err((rejection.reason, rejection.message)),
    };
    let wanted = wanted.map(|uids| uids.iter().map(|uid| (*uid).to_owned()).collect::<Vec<_>>());
    assert_eq!(found, wanted.map_err(|(reason, message)| (reason.to_owned(), message.to_owned())));
}

// k8s: 10.d.13
#[test]
fn a_pod_that_asks_for_more_than_is_left_is_told_of_what_in_the_references_order() {
    let node = facts(&[("pods", 2), ("cpu", 1000), ("memory", 1 << 30), ("ephemeral-storage", 1000)]);
    let one = [asking("one", 0, &json!({ "cpu": "600m", "memory": "1Gi", "ephemeral-storage": "1" }))];
    check(&asking("p", 0, &json!({ "cpu": "400m" })), &node, &one, Ok(&[]));
    let too_much = |resource: &str, numbers: &str| format!("Node didn't have enough resource: {resource}, {numbers}");
    let cpu = too_much("cpu", "requested: 401, used: 600, capacity: 1000");
    check(&asking("p", 0, &json!({ "cpu": "401m", "memory": "1" })), &node, &one, Err(("OutOfcpu", &cpu)));
    let memory = too_much("memory", "requested: 1, used: 1073741824, capacity: 1073741824");
    check(&asking("p", 0, &json!({ "memory": "1" })), &node, &one, Err(("OutOfmemory", &memory)));
    let disk = too_much("ephemeral-storage", "requested: 1000, used: 1, capacity: 1000");
    check(&asking("p", 0, &json!({ "ephemeral-storage": "1k" })), &node, &one, Err(("OutOfephemeral-storage", &disk)));
    let two = [one[0].clone(), asking("two", 0, &json!({}))];
    let pods = too_much("pods", "requested: 1, used: 2, capacity: 2");
    check(&asking("p", 0, &json!({ "cpu": "401m" })), &node, &two, Err(("OutOfpods", &pods)));
    check(&asking("p", 0, &json!({ "cpu": "999" })), &facts(&[]), &two, Ok(&[]));
    // What the pod itself takes beside its containers counts as well.
    let mut with_overhead = asking("p", 0, &json!({ "cpu": "300m" }));
    let quantity = serde_json::from_value(json!("101m")).expect("a quantity");
    with_overhead.spec.as_mut().expect("a spec").overhead = Some([("cpu".to_owned(), quantity)].into());
    check(&with_overhead, &node, &one, Err(("OutOfcpu", &cpu)));
}

// k8s: 4.a.20, 10.d.14
#[test]
fn for_a_critical_pod_others_go_unless_that_would_be_in_vain() {
    let node = facts(&[("pods", 2), ("cpu", 1000)]);
    let others = [asking("idle", 0, &json!({})), asking("busy", 0, &json!({ "cpu": "900m" }))];
    let critical = asking("critical", 2_000_000_000, &json!({ "cpu": "200m" }));
    check(&critical, &node, &others, Ok(&["busy"]));
    let vain = "Unexpected error while attempting to recover from admission failure: preemption: error finding a set of pods to preempt: \
                no set of running pods found to reclaim resources: [(res: cpu, q: 200), ]";
    let large = asking("critical", 2_000_000_000, &json!({ "cpu": "1200m" }));
    check(&large, &node, &others, Err(("UnexpectedAdmissionError", vain)));
    let mut with_port = critical.clone();
    let mut holder = others[0].clone();
    for pod in [&mut with_port, &mut holder] {
        let spec = pod.spec.as_mut().expect("a spec");
        spec.containers[0].ports = Some(vec![serde_json::from_value(json!({ "containerPort": 80, "hostPort": 80 })).expect("a port")]);
    }
    check(&with_port, &node, &[holder, others[1].clone()], Err(("NodePorts", "Predicate NodePorts failed")));
}

#[test]
fn a_port_of_the_node_leads_to_one_pod_only() {
    let with = |port: Value| {
        let spec = json!({ "containers": [{ "name": "a", "ports": [port] }] });
        serde_json::from_value::<Pod>(json!({ "metadata": { "name": "p" }, "spec": spec })).expect("a pod")
    };
    let holder = [with(json!({ "containerPort": 1, "hostPort": 80, "hostIP": "10.0.0.1" }))];
    let taken = Err(("NodePorts", "Predicate NodePorts failed"));
    let cases = [
        (json!({ "containerPort": 80 }), true),
        (json!({ "containerPort": 1, "hostPort": 81 }), true),
        (json!({ "containerPort": 1, "hostPort": 80, "protocol": "UDP" }), true),
        (json!({ "containerPort": 1, "hostPort": 80, "hostIP": "10.0.0.2" }), true),
        (json!({ "containerPort": 1, "hostPort": 80, "hostIP": "10.0.0.1" }), false),
        (json!({ "containerPort": 1, "hostPort": 80 }), false),
        (json!({ "containerPort": 1, "hostPort": 80, "hostIP": "0.0.0.0" }), false),
    ];
    for (port, is_free) in cases {
        check(&with(port), &NodeFacts::default(), &holder, if is_free { Ok(&[]) } else { taken });
    }
}

// k8s: 10.d.14
#[test]
fn a_node_that_goes_down_takes_no_pod_however_critical() {
    let node = NodeFacts { is_shutting_down: true, ..NodeFacts::default() };
    let critical = asking("critical", 2_000_000_000, &json!({}));
    check(&critical, &node, &[], Err(("NodeShutdown", "Pod was rejected as the node is shutting down.")));
}

// k8s: 10.d.13
#[test]
fn large_pages_that_nobody_has_set_aside_are_told_with_their_size() {
    let wants = asking("p", 0, &json!({ "cpu": "1m", "hugepages-2Mi": "4Mi" }));
    let other = asking("q", 0, &json!({ "cpu": "1m", "hugepages-2Mi": "2Mi" }));
    let text = |used: i64, capacity: i64| {
        format!("Node didn't have enough resource: hugepages-2Mi, requested: 4194304, used: {used}, capacity: {capacity}")
    };
    for node in [facts(&[("cpu", 1000)]), facts(&[("cpu", 1000), ("hugepages-2Mi", 0)])] {
        check(&wants, &node, &[], Err(("OutOfhugepages-2Mi", &text(0, 0))));
    }
    let some = facts(&[("cpu", 1000), ("hugepages-2Mi", 4 << 20)]);
    check(&wants, &some, &[], Ok(&[]));
    check(&wants, &some, &[other], Err(("OutOfhugepages-2Mi", &text(2 << 20, 4 << 20))));
}

// k8s: 11.b.20
#[test]
fn a_pod_counts_with_what_it_has_and_not_with_what_a_resize_wants() {
    let resources = json!({ "requests": { "cpu": "100", "memory": "1Ti", "ephemeral-storage": "1Gi" } });
    let pod: Pod = serde_json::from_value(json!({ "spec": { "containers": [{ "name": "a", "resources": resources }, { "name": "b" }] } }))
        .expect("a pod");
    let has = Resources { cpu_request_millis: Some(250), memory_request_bytes: Some(64 << 20), ..Resources::default() };
    let counted = as_allocated(&pod, &BTreeMap::from([("a".to_owned(), has), ("b".to_owned(), Resources::default())]));
    assert_eq!(["cpu", "memory", "ephemeral-storage"].map(|name| request(&counted, name)), [250, 64 << 20, 1 << 30]);
    assert_eq!(request(&as_allocated(&pod, &BTreeMap::new()), "cpu"), 100_000);
}
