use serde_json::json;

use super::*;

fn ranked(signal: Signal, candidates: &[(&str, i32, Option<u64>, u64)]) -> Vec<String> {
    let candidate = |(uid, priority, usage, request): &(&str, i32, Option<u64>, u64)| Candidate {
        uid: (*uid).to_owned(),
        priority: *priority,
        usage: *usage,
        request: *request,
    };
    let mut candidates: Vec<_> = candidates.iter().map(candidate).collect();
    rank(signal, &mut candidates);
    candidates.into_iter().map(|candidate| candidate.uid).collect()
}

#[test]
fn pods_over_their_request_go_first_then_the_less_important_then_the_largest_excess() {
    let candidates = [
        ("within, low", -5, Some(100), 100),
        ("over, high", 10, Some(500), 10),
        ("over by 20", 0, Some(30), 10),
        ("over by 90", 0, Some(100), 10),
        ("within by 1", -5, Some(99), 100),
    ];
    let wanted = ["over by 90", "over by 20", "over, high", "within, low", "within by 1"];
    for signal in [Signal::MemoryAvailable, Signal::NodeFsAvailable, Signal::ImageFsInodesFree] {
        assert_eq!(ranked(signal, &candidates), wanted, "{signal}");
    }
}

#[test]
fn a_pod_of_which_nothing_is_known_goes_first() {
    let candidates = [("within", 0, Some(1), 10), ("over", 0, Some(11), 10), ("unknown", 0, None, 10), ("unknown, high", 7, None, 10)];
    assert_eq!(ranked(Signal::MemoryAvailable, &candidates), ["unknown", "unknown, high", "over", "within"]);
}

#[test]
fn of_processes_only_importance_and_number_count() {
    let candidates = [("few", 0, Some(1), 0), ("many", 0, Some(100), 0), ("important", 5, Some(1000), 0)];
    assert_eq!(ranked(Signal::PidAvailable, &candidates), ["many", "few", "important"]);
}

// k8s: 4.c.1
#[test]
fn static_mirror_and_system_pods_are_critical() {
    let pod = |value| serde_json::from_value::<Pod>(value).expect("a pod");
    let critical = [
        json!({ "spec": { "containers": [], "priority": 2_000_000_000 } }),
        json!({ "metadata": { "annotations": { "kubernetes.io/config.mirror": "x" } } }),
        json!({ "metadata": { "annotations": { "kubernetes.io/config.source": "file" } } }),
    ];
    for value in critical {
        assert!(is_critical(&pod(value.clone())), "{value}");
    }
    let usual = [
        json!({ "spec": { "containers": [], "priority": 1_999_999_999 } }),
        json!({ "metadata": { "annotations": { "kubernetes.io/config.source": "api" } } }),
        json!({}),
    ];
    for value in usual {
        assert!(!is_critical(&pod(value.clone())), "{value}");
    }
}
