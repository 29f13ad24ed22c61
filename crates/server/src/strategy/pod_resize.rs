//! The resize of a pod that is there: what its containers ask for and may use, and nothing else.

use std::collections::BTreeMap;

use api::FieldError;
use api::path::FieldPath;
use k8s_openapi::api::core::v1::{Container, Pod, PodSpec, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use serde_json::Value;

use super::pod_update::difference;
use super::qos::qos_class;

/// Resources that may change while a container runs.
const MUTABLE: [&str; 2] = ["cpu", "memory"];

type List = BTreeMap<String, Quantity>;

/// Of what a client wrote, only the resources of containers count. Where the lists of containers are others, all is kept, so that
/// it is refused.
pub(super) fn keep_all_but_resources(old: &Value, new: &mut Value) {
    let lists = ["containers", "initContainers"];
    let names = |pod: &Value, list: &str| {
        let containers = pod["spec"][list].as_array().cloned().unwrap_or_default();
        containers.iter().map(|container| container["name"].clone()).collect::<Vec<_>>()
    };
    if lists.iter().any(|list| names(old, list) != names(new, list)) {
        return;
    }
    let mut resized = old.clone();
    resized["metadata"] = new["metadata"].clone();
    for list in lists {
        for (index, container) in resized["spec"][list].as_array_mut().into_iter().flatten().enumerate() {
            for field in ["resources", "resizePolicy"] {
                match new["spec"][list][index].get(field) {
                    Some(value) => container[field] = value.clone(),
                    None => {
                        container.as_object_mut().map(|fields| fields.remove(field));
                    }
                }
            }
        }
    }
    *new = resized;
}

/// Checks a resize of a pod.
pub(super) fn validate_resize(old: &Pod, new: &Pod) -> Vec<FieldError> {
    let (Some(before), Some(after)) = (&old.spec, &new.spec) else { return Vec::new() };
    let path = FieldPath::new("spec");
    let (own_before, own_after) = (before.resources.as_ref(), after.resources.as_ref());
    if own_before.is_some_and(is_set) || own_after.is_some_and(is_set) {
        return vec![FieldError::forbidden(&path, "pods with pod-level resources cannot be resized")];
    }
    let lists = [
        ("containers", before.containers.as_slice(), after.containers.as_slice()),
        ("initContainers", before.init_containers.as_deref().unwrap_or_default(), after.init_containers.as_deref().unwrap_or_default()),
    ];
    let unordered: Vec<_> = lists.iter().filter_map(|(list, before, after)| order(list, before, after, &path)).collect();
    if !unordered.is_empty() {
        return unordered;
    }
    let mut errors = api::validate::validate_pod_spec(after, &path);
    let class = qos_class(before);
    if class != qos_class(after) {
        errors.push(FieldError::invalid(&path, class, "Pod QOS Class may not change as a result of resizing"));
    }
    for (list, before, after) in lists {
        for (index, (before, after)) in before.iter().zip(after).enumerate() {
            removed(before, after, &path.child(list).index(index).child("resources"), &mut errors);
        }
    }
    let rest = without_changes(before, after);
    if rest != *before {
        errors.push(FieldError::forbidden(&path, format!("only cpu and memory resources are mutable\n{}", difference(before, &rest))));
    }
    errors
}

fn order(list: &'static str, before: &[Container], after: &[Container], path: &FieldPath) -> Option<FieldError> {
    if before.len() != after.len() {
        return Some(FieldError::forbidden(&path.child(list), format!("{list} may not be added or removed on resize")));
    }
    let index = before.iter().zip(after).position(|(before, after)| before.name != after.name)?;
    let path = path.child(list).index(index).child("name");
    Some(FieldError::forbidden(&path, format!("{list} may not be renamed or reordered on resize")))
}

fn removed(before: &Container, after: &Container, path: &FieldPath, errors: &mut Vec<FieldError>) {
    let is_removed = |of: fn(&ResourceRequirements) -> &Option<List>| {
        let list = |container: &Container| container.resources.as_ref().and_then(|resources| of(resources).clone()).unwrap_or_default();
        let after = list(after);
        list(before).keys().any(|name| !after.contains_key(name))
    };
    if is_removed(|resources| &resources.requests) {
        errors.push(FieldError::forbidden(&path.child("requests"), "resource requests cannot be removed"));
    }
    if is_removed(|resources| &resources.limits) {
        errors.push(FieldError::forbidden(&path.child("limits"), "resource limits cannot be removed"));
    }
}

/// The new spec with everything back that may change: where a container ends by itself, nothing may.
fn without_changes(before: &PodSpec, after: &PodSpec) -> PodSpec {
    let mut rest = after.clone();
    let back = |container: &mut Container, before: &Container| {
        let was = before.resources.clone().unwrap_or_default();
        let mut resources = container.resources.clone().unwrap_or_default();
        put_back(&mut resources.requests, was.requests.as_ref());
        put_back(&mut resources.limits, was.limits.as_ref());
        container.resources = if before.resources.is_none() && !is_set(&resources) { None } else { Some(resources) };
    };
    for (container, before) in rest.containers.iter_mut().zip(&before.containers) {
        back(container, before);
    }
    for (container, before) in rest.init_containers.iter_mut().flatten().zip(before.init_containers.iter().flatten()) {
        if before.restart_policy.as_deref() == Some("Always") {
            back(container, before);
        }
    }
    rest
}

fn put_back(list: &mut Option<List>, was: Option<&List>) {
    let mut kept = list.take().unwrap_or_default();
    for name in MUTABLE {
        match was.and_then(|was| was.get(name)) {
            Some(quantity) => kept.insert(name.to_owned(), quantity.clone()),
            None => kept.remove(name),
        };
    }
    *list = (was.is_some() || !kept.is_empty()).then_some(kept);
}

fn is_set(resources: &ResourceRequirements) -> bool {
    [&resources.requests, &resources.limits].into_iter().flatten().any(|list| !list.is_empty())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// The texts of a resize of container `a` from the first resources to the second, the kept rest included.
    fn texts(before: Value, after: Value) -> Vec<String> {
        let pod = |container: Value| {
            let mut container = container;
            container["name"] = json!("a");
            container["image"] = json!("x");
            let mut pod: Pod = serde_json::from_value(json!({
                "metadata": { "name": "p", "namespace": "default" },
                "spec": { "containers": [container] },
            }))
            .expect("a pod");
            api::defaults::default_pod(&mut pod);
            pod
        };
        let (old, written) = (pod(before), pod(after));
        let mut new = serde_json::to_value(&written).expect("as JSON");
        keep_all_but_resources(&serde_json::to_value(&old).expect("as JSON"), &mut new);
        let new: Pod = serde_json::from_value(new).expect("a pod");
        validate_resize(&old, &new).iter().map(ToString::to_string).collect()
    }

    fn resources(requests: Value, limits: Value) -> Value {
        json!({ "resources": { "requests": requests, "limits": limits } })
    }

    #[test]
    fn processor_and_memory_may_be_raised_and_lowered_and_limits_added() {
        let before = || resources(json!({ "cpu": "100m", "memory": "64Mi" }), json!({ "cpu": "200m" }));
        for after in [
            resources(json!({ "cpu": "50m", "memory": "128Mi" }), json!({ "cpu": "1" })),
            resources(json!({ "cpu": "100m", "memory": "64Mi" }), json!({ "cpu": "200m", "memory": "1Gi" })),
        ] {
            assert_eq!(texts(before(), after), Vec::<String>::new());
        }
        // What else a client writes does not count.
        let mut after = resources(json!({ "cpu": "50m", "memory": "64Mi" }), json!({ "cpu": "1" }));
        after["command"] = json!(["other"]);
        assert_eq!(texts(before(), after), Vec::<String>::new());
    }

    #[test]
    fn nothing_may_be_taken_away_and_the_class_stays() {
        let before = || resources(json!({ "cpu": "100m", "memory": "64Mi" }), json!({ "cpu": "200m", "memory": "64Mi" }));
        assert_eq!(
            texts(before(), resources(json!({ "cpu": "100m", "memory": "64Mi" }), json!({ "cpu": "200m" }))),
            ["spec.containers[0].resources.limits: Forbidden: resource limits cannot be removed"]
        );
        assert_eq!(
            texts(before(), resources(json!({ "cpu": "200m", "memory": "64Mi" }), json!({ "cpu": "200m", "memory": "64Mi" }))),
            ["spec: Invalid value: \"Burstable\": Pod QOS Class may not change as a result of resizing"]
        );
        let errors = texts(before(), resources(json!({ "cpu": "300m", "memory": "64Mi" }), json!({ "cpu": "200m", "memory": "64Mi" })));
        assert!(errors[0].contains("must be less than or equal to cpu limit of 200m"), "{errors:?}");
    }

    #[test]
    fn other_resources_and_the_policy_are_fixed() {
        let before = || resources(json!({ "cpu": "1", "ephemeral-storage": "1Gi" }), json!({}));
        let mut after = resources(json!({ "cpu": "1", "ephemeral-storage": "2Gi" }), json!({}));
        assert!(texts(before(), after.clone())[0].starts_with("spec: Forbidden: only cpu and memory resources are mutable"), "{after}");
        after = before();
        after["resizePolicy"] = json!([{ "resourceName": "cpu", "restartPolicy": "RestartContainer" }]);
        assert!(texts(before(), after)[0].starts_with("spec: Forbidden: only cpu and memory resources are mutable"));
    }

    #[test]
    fn containers_are_neither_added_nor_renamed_and_pods_with_resources_of_their_own_are_left_alone() {
        let pod = |spec: Value| serde_json::from_value::<Pod>(json!({ "spec": spec })).expect("a pod");
        let texts = |old: Value, new: Value| validate_resize(&pod(old), &pod(new)).iter().map(ToString::to_string).collect::<Vec<_>>();
        let one = json!({ "containers": [{ "name": "a", "image": "x" }] });
        let two = json!({ "containers": [{ "name": "a", "image": "x" }, { "name": "b", "image": "x" }] });
        let other = json!({ "containers": [{ "name": "c", "image": "x" }] });
        let expected = "spec.containers: Forbidden: containers may not be added or removed on resize";
        assert_eq!(texts(one.clone(), two), [expected]);
        let expected = "spec.containers[0].name: Forbidden: containers may not be renamed or reordered on resize";
        assert_eq!(texts(one, other), [expected]);
        let own = json!({ "containers": [{ "name": "a", "image": "x" }], "resources": { "limits": { "cpu": "1" } } });
        assert_eq!(texts(own.clone(), own), ["spec: Forbidden: pods with pod-level resources cannot be resized"]);
    }

    #[test]
    fn init_containers_that_end_keep_what_they_have() {
        let pod = |policy: Value, cpu: &str| {
            let mut pod: Pod = serde_json::from_value(json!({
                "metadata": { "name": "p", "namespace": "default" },
                "spec": {
                    "initContainers": [{ "name": "i", "image": "x", "restartPolicy": policy, "resources": { "requests": { "cpu": cpu } } }],
                    "containers": [{ "name": "a", "image": "x" }],
                },
            }))
            .expect("a pod");
            api::defaults::default_pod(&mut pod);
            pod
        };
        assert_eq!(validate_resize(&pod(json!("Always"), "1"), &pod(json!("Always"), "2")), Vec::new());
        let errors = validate_resize(&pod(Value::Null, "1"), &pod(Value::Null, "2"));
        assert!(errors[0].to_string().starts_with("spec: Forbidden: only cpu and memory resources are mutable"), "{errors:?}");
    }
}
