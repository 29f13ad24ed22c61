use serde_json::{Value, json};

use super::*;

const MACHINE_MEMORY: i64 = 10_000;

fn machine() -> Machine {
    Machine { memory_bytes: MACHINE_MEMORY, cpu_millis: 1000, hostname: String::new(), has_unified_cgroups: false }
}

fn pod(spec: Value) -> Pod {
    serde_json::from_value(json!({"spec": spec})).expect("a pod")
}

fn first(spec: Value) -> LinuxResources {
    let pod = pod(spec);
    container_resources(&pod, &pod.spec.as_ref().expect("a spec").containers[0], &machine()).expect("resources")
}

fn container(resources: Value) -> Value {
    json!({"name": "c", "resources": resources})
}

#[test]
fn cpu_becomes_a_weight_and_a_quota() {
    let check = |resources: Value, shares: u64, quota: Option<i64>| {
        let made = first(json!({"containers": [container(resources.clone())]}));
        assert_eq!((made.cpu_shares, made.cpu_quota_micros), (Some(shares), quota), "{resources}");
        assert_eq!(made.cpu_period_micros, quota.map(|_| 100_000));
    };
    check(json!({}), 2, None);
    check(json!({"requests": {"cpu": "1"}}), 1024, None);
    check(json!({"requests": {"cpu": "1m"}}), 2, None);
    check(json!({"requests": {"cpu": "300"}}), 262_144, None);
    check(json!({"requests": {"cpu": "250m"}, "limits": {"cpu": "1500m"}}), 256, Some(150_000));
    check(json!({"limits": {"cpu": "500m"}}), 512, Some(50_000));
    check(json!({"limits": {"cpu": "5m"}}), 5, Some(1000));
    check(json!({"limits": {"cpu": "0"}}), 2, None);
}

#[test]
fn memory_and_huge_pages_are_limited_in_bytes() {
    let limits = json!({"limits": {"memory": "64Mi", "hugepages-2Mi": "4Mi", "hugepages-1Gi": "2Gi", "hugepages-64Ki": "64Ki"}});
    let made = first(json!({"containers": [container(limits)]}));
    assert_eq!(made.memory_limit_bytes, Some(64 << 20));
    let expected = [("1GB".to_owned(), 2 << 30), ("2MB".to_owned(), 4 << 20), ("64KB".to_owned(), 64 << 10)];
    assert_eq!(made.hugepage_limits, BTreeMap::from(expected));
    assert_eq!(first(json!({"containers": [container(json!({}))]})).memory_limit_bytes, None);
}

#[test]
fn who_asked_for_less_memory_is_killed_sooner() {
    let check = |spec: Value, expected: i32| assert_eq!(first(spec.clone()).oom_score_adj, Some(expected), "{spec}");
    let all = json!({"requests": {"cpu": "1", "memory": "1"}, "limits": {"cpu": "1", "memory": "1"}});
    let asks = |bytes: &str| container(json!({"requests": {"memory": bytes}}));
    check(json!({"containers": [container(json!({}))]}), 1000);
    check(json!({"containers": [container(all)]}), -997);
    check(json!({"containers": [asks("2500")]}), 750);
    check(json!({"containers": [asks("10000")]}), 3);
    check(json!({"containers": [asks("1")]}), 999);
    check(json!({"containers": [container(json!({}))], "priority": 2_000_000_000}), -997);
    // What the pod itself asks for beyond its containers is theirs in equal parts.
    check(json!({"containers": [asks("1000"), asks("1000")], "resources": {"requests": {"memory": "4000"}}}), 800);
}

#[test]
fn a_sidecar_is_not_killed_before_the_containers_that_it_serves() {
    let pod = pod(json!({
        "initContainers": [{"name": "s", "restartPolicy": "Always"}],
        "containers": [container(json!({"requests": {"memory": "5000"}})), container(json!({"requests": {"memory": "2000"}}))],
    }));
    let sidecar = &pod.spec.as_ref().expect("a spec").init_containers.as_ref().expect("a sidecar")[0];
    assert_eq!(container_resources(&pod, sidecar, &machine()).expect("resources").oom_score_adj, Some(800));
}

#[test]
fn the_pod_has_what_runs_at_once() {
    let check = |spec: Value, shares: u64, quota: Option<i64>, memory: Option<i64>| {
        let made = pod_resources(&pod(spec.clone())).expect("resources");
        assert_eq!((made.cpu_shares, made.cpu_quota_micros, made.memory_limit_bytes), (Some(shares), quota, memory), "{spec}");
    };
    let both = |cpu: &str, memory: &str| json!({"requests": {"cpu": cpu}, "limits": {"cpu": cpu, "memory": memory}});
    let init = |resources: Value, policy: Value| json!({"name": "i", "resources": resources, "restartPolicy": policy});
    check(json!({"containers": [container(json!({}))]}), 2, None, None);
    check(json!({"containers": [container(both("1", "10")), container(both("1", "5"))]}), 2048, Some(200_000), Some(15));
    check(json!({"containers": [container(both("1", "10")), container(json!({}))]}), 1024, None, None);
    // A large init container before, a sidecar beside.
    let spec = json!({
        "initContainers": [init(both("1", "1"), json!("Always")), init(both("3", "30"), Value::Null)],
        "containers": [container(both("1", "10"))],
    });
    check(spec, 4096, Some(400_000), Some(31));
    check(
        json!({"containers": [container(both("1", "10"))], "resources": {"limits": {"cpu": "2", "memory": "99"}}}),
        1024,
        Some(200_000),
        Some(99),
    );
}

#[test]
fn a_container_out_of_memory_is_killed_as_a_whole_where_the_kernel_can_do_that() {
    let pod = pod(json!({"containers": [container(json!({}))]}));
    let unified = |has_unified_cgroups| {
        let machine = Machine { has_unified_cgroups, ..machine() };
        container_resources(&pod, &pod.spec.as_ref().expect("a spec").containers[0], &machine).expect("resources").unified
    };
    assert_eq!(unified(true), BTreeMap::from([("memory.oom.group".to_owned(), "1".to_owned())]));
    assert_eq!(unified(false), BTreeMap::new());
    assert_eq!(pod_resources(&pod).expect("resources").unified, BTreeMap::new(), "a pod's containers are killed one by one");
}

#[test]
fn the_pods_group_has_room_for_what_the_pod_costs_beside_its_containers() {
    let spec = |overhead: Value| {
        let limited = container(json!({"requests": {"cpu": "500m", "memory": "16Mi"}, "limits": {"cpu": "500m", "memory": "16Mi"}}));
        pod(json!({"containers": [limited], "overhead": overhead}))
    };
    let plain = pod_resources(&spec(json!({}))).expect("resources");
    assert_eq!((plain.cpu_quota_micros, plain.memory_limit_bytes), (Some(50_000), Some(16 << 20)));
    let costly = spec(json!({"cpu": "250m", "memory": "16Mi"}));
    let made = pod_resources(&costly).expect("resources");
    assert_eq!((made.cpu_shares, made.cpu_quota_micros, made.memory_limit_bytes), (Some(768), Some(75_000), Some(32 << 20)));
    let asked = |name: &str| pod_request(&costly, name).expect("requests");
    assert_eq!((asked("cpu").millis(), asked("memory").units()), (750, 32 << 20));
}

#[test]
fn the_pods_group_holds_the_large_pages_of_all_its_containers() {
    let pages = |amount: &str| container(json!({"limits": {"cpu": "1", "hugepages-2Mi": amount}}));
    let made = pod_resources(&pod(json!({"containers": [pages("4Mi"), pages("2Mi"), container(json!({}))]}))).expect("resources");
    assert_eq!(made.hugepage_limits, BTreeMap::from([("2MB".to_owned(), 6 << 20)]));
}
