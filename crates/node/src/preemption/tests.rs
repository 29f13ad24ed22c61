use serde_json::json;

use super::*;

/// A pod whose requests are its limits if its name begins with `g`.
fn pod(name: &str, priority: i32, cpu: Option<&str>, memory: Option<&str>) -> Pod {
    let mut requests = serde_json::Map::new();
    for (resource, quantity) in [("cpu", cpu), ("memory", memory)] {
        if let Some(quantity) = quantity {
            requests.insert(resource.to_owned(), json!(quantity));
        }
    }
    let resources =
        if name.starts_with('g') { json!({ "requests": requests, "limits": requests }) } else { json!({ "requests": requests }) };
    let spec = json!({ "priority": priority, "containers": [{ "name": "a", "resources": resources }] });
    serde_json::from_value(json!({ "metadata": { "name": name, "uid": name }, "spec": spec })).expect("a pod")
}

const SYSTEM: i32 = 2_000_000_000;

#[track_caller]
fn check(others: &[Pod], missing: &[(&'static str, i64)], wanted: Result<&[&str], &str>) {
    let missing: Vec<_> = missing.iter().map(|(resource, quantity)| Requirement { resource, quantity: *quantity }).collect();
    let others: Vec<&Pod> = others.iter().collect();
    let found = victims(&pod("critical", SYSTEM, None, None), &others, &missing).map_err(|error| error.to_string());
    assert_eq!(
        found.as_ref().map(|uids| uids.iter().map(String::as_str).collect::<Vec<_>>()).map_err(String::as_str),
        wanted.map(<[_]>::to_vec)
    );
}

// k8s: 4.a.20
#[test]
fn lower_classes_go_first_and_only_as_many_as_are_needed() {
    let others = [
        pod("g-large", 0, Some("1"), Some("1Gi")),
        pod("g-small", 0, Some("100m"), Some("1Gi")),
        pod("b-half", 0, Some("500m"), None),
        pod("b-other", 0, Some("300m"), None),
        pod("none", 0, None, None),
    ];
    check(&others, &[("cpu", 300)], Ok(&["b-other"]));
    check(&others, &[("cpu", 400)], Ok(&["b-half"]));
    check(&others, &[("cpu", 800)], Ok(&["b-half", "b-other"]));
    check(&others, &[("cpu", 900)], Ok(&["b-half", "b-other", "g-small"]));
    check(&others, &[("pods", 1)], Ok(&["none"]));
    check(&others, &[("memory", 1 << 20)], Ok(&["g-small"]));
    check(&others, &[("memory", 3 << 30)], Err("no set of running pods found to reclaim resources: [(res: memory, q: 1073741824), ]"));
}

// k8s: 4.c.1
#[test]
fn critical_pods_go_only_for_more_important_ones() {
    let others = [pod("b-system", SYSTEM, Some("1"), None), pod("b-higher", SYSTEM + 1, Some("1"), None)];
    check(&others, &[("cpu", 1)], Err("no set of running pods found to reclaim resources: [(res: cpu, q: 1), ]"));
    let others = [&others[0], &others[1]];
    let missing = [Requirement { resource: "cpu", quantity: 1 }];
    let found = victims(&pod("critical", SYSTEM + 1, None, None), &others, &missing).expect("one goes");
    assert_eq!(found, ["b-system"]);
}
