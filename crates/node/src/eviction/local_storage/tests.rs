use serde_json::{Value, json};

use super::*;

fn pod(spec: Value) -> Pod {
    serde_json::from_value(json!({ "spec": spec })).expect("a pod")
}

fn used(volumes: &[(&str, u64)], containers: &[(&str, u64)]) -> StorageUse {
    let map = |list: &[(&str, u64)]| list.iter().map(|(name, bytes)| ((*name).to_owned(), *bytes)).collect();
    StorageUse { volumes: map(volumes), containers: map(containers) }
}

fn limited(limits: &[Option<&str>]) -> Pod {
    let container = |(index, limit): (usize, &Option<&str>)| {
        let resources = limit.map_or_else(|| json!({}), |limit| json!({ "limits": { "ephemeral-storage": limit } }));
        json!({ "name": format!("c{index}"), "resources": resources })
    };
    pod(json!({ "containers": limits.iter().enumerate().map(container).collect::<Vec<_>>() }))
}

const KIB: u64 = 1024;

fn told(signal: &'static str, message: &str) -> Exceeded {
    Exceeded { signal, message: message.to_owned() }
}

// k8s: 8.a.19
#[test]
fn an_empty_dir_may_take_its_limit_and_not_a_byte_more() {
    let volumes = json!([{ "name": "free", "emptyDir": {} }, { "name": "data", "emptyDir": { "sizeLimit": "1Ki" } }]);
    let pod = pod(json!({ "containers": [{ "name": "c0" }], "volumes": volumes }));
    assert!(is_limited(&pod));
    assert_eq!(exceeded(&pod, &used(&[("data", KIB), ("free", 9 * KIB)], &[("c0", 9 * KIB)])), None);
    let wanted = "Usage of EmptyDir volume \"data\" exceeds the limit \"1Ki\". ";
    assert_eq!(exceeded(&pod, &used(&[("data", KIB + 1)], &[])), Some(told("emptydirfs.limit", wanted)));
}

// k8s: 8.a.19
#[test]
fn a_pod_may_take_what_its_containers_may_take_together_and_each_only_its_own() {
    let pod = limited(&[Some("1Ki"), Some("2Ki"), None]);
    assert!(is_limited(&pod));
    assert_eq!(exceeded(&pod, &used(&[("data", KIB)], &[("c0", KIB), ("c1", KIB)])), None);
    let wanted = "Pod ephemeral local storage usage exceeds the total limit of containers 3Ki. ";
    assert_eq!(exceeded(&pod, &used(&[("data", KIB)], &[("c0", KIB), ("c2", KIB + 1)])), Some(told("ephemeralpodfs.limit", wanted)));
    let wanted = "Container c0 exceeded its local ephemeral storage limit \"1Ki\". ";
    assert_eq!(exceeded(&pod, &used(&[], &[("c0", KIB + 1), ("c1", KIB)])), Some(told("ephemeralcontainerfs.limit", wanted)));
}

#[test]
fn what_has_no_limit_is_never_too_large() {
    let pod = limited(&[None]);
    assert!(!is_limited(&pod));
    assert_eq!(exceeded(&pod, &used(&[("data", u64::MAX)], &[("c0", u64::MAX)])), None);
    let zero = self::pod(json!({ "containers": [], "volumes": [{ "name": "data", "emptyDir": { "sizeLimit": "0" } }] }));
    assert!(!is_limited(&zero));
}
