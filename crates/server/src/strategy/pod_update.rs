//! What may change in a pod that is there: next to nothing, since its containers run already.

use api::FieldError;
use api::path::FieldPath;
use k8s_openapi::api::core::v1::{Container, Pod, PodSpec};

use super::{Part, shown};

/// k8s: 1.d.13
const FIELDS_FIXED: &str = "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";

/// Marks the object of a pod that stands in a file of the node.
const MIRROR: &str = "kubernetes.io/config.mirror";

/// The most lines of difference shown.
const DIFFERENCE_LINES_MAX: usize = 40;

/// Checks an update of a pod.
pub(super) fn validate_update(part: Part, old: &Pod, new: &Pod) -> Vec<FieldError> {
    let (Some(before), Some(after)) = (&old.spec, &new.spec) else { return Vec::new() };
    let path = FieldPath::new("spec");
    let mut errors = Vec::new();
    if part == Part::EphemeralContainers {
        return ephemeral_containers(old, before, after);
    }
    for (field, before, after) in [
        ("containers", Some(&before.containers), Some(&after.containers)),
        ("initContainers", before.init_containers.as_ref(), after.init_containers.as_ref()),
    ] {
        let (before, after) = (before.map_or(0, Vec::len), after.map_or(0, Vec::len));
        if before != after {
            let detail = "pod updates may not add or remove containers";
            return vec![FieldError::forbidden(&path.child(field), detail)];
        }
    }
    images(&after.containers, &path.child("containers"), &mut errors);
    images(after.init_containers.as_deref().unwrap_or_default(), &path.child("initContainers"), &mut errors);
    deadline(before.active_deadline_seconds, after.active_deadline_seconds, &path.child("activeDeadlineSeconds"), &mut errors);
    tolerations(before, after, &path.child("tolerations"), &mut errors);
    gates(before, after, &path.child("schedulingGates"), &mut errors);
    // Everything else must be the same.
    let mut allowed = after.clone();
    allowed.active_deadline_seconds = before.active_deadline_seconds;
    allowed.tolerations = before.tolerations.clone();
    allowed.scheduling_gates = before.scheduling_gates.clone();
    keep_images(&mut allowed.containers, &before.containers);
    keep_images(allowed.init_containers.as_deref_mut().unwrap_or_default(), before.init_containers.as_deref().unwrap_or_default());
    // k8s: 1.b.4
    if before.termination_grace_period_seconds.is_some_and(|grace| grace < 0) && after.termination_grace_period_seconds == Some(1) {
        allowed.termination_grace_period_seconds = before.termination_grace_period_seconds;
    }
    if allowed != *before {
        errors.push(FieldError::forbidden(&path, format!("{FIELDS_FIXED}\n{}", difference(before, &allowed))));
    }
    errors
}

/// They may be added, never changed or removed. k8s: 1.d.11, 1.d.16
fn ephemeral_containers(old: &Pod, before: &PodSpec, after: &PodSpec) -> Vec<FieldError> {
    if old.metadata.annotations.as_ref().is_some_and(|annotations| annotations.contains_key(MIRROR)) {
        return vec![FieldError::forbidden(&FieldPath::new(""), "static pods do not support ephemeral containers")];
    }
    let path = FieldPath::new("spec");
    let mut errors = api::validate::validate_pod_spec(after, &path);
    let path = path.child("ephemeralContainers");
    for known in before.ephemeral_containers.iter().flatten() {
        match after.ephemeral_containers.iter().flatten().find(|container| container.name == known.name) {
            Some(same) if same == known => {}
            Some(changed) => {
                let what = format!("existing ephemeral containers \"{}\" may not be changed", known.name);
                errors.push(FieldError::forbidden(&path, format!("{what}\n{}", difference(known, changed))));
            }
            None => {
                let detail = format!("existing ephemeral containers \"{}\" may not be removed\n", known.name);
                errors.push(FieldError::forbidden(&path, detail));
            }
        }
    }
    errors
}

fn images(containers: &[Container], path: &FieldPath, errors: &mut Vec<FieldError>) {
    for (index, container) in containers.iter().enumerate() {
        let (path, image) = (path.index(index).child("image"), container.image.as_deref().unwrap_or_default());
        if image.is_empty() {
            errors.push(FieldError::required(&path, ""));
        } else if image.trim() != image {
            errors.push(FieldError::invalid(&path, image, "must not have leading or trailing whitespace"));
        }
    }
}

/// k8s: 1.f.2
fn deadline(before: Option<i64>, after: Option<i64>, path: &FieldPath, errors: &mut Vec<FieldError>) {
    match (before, after) {
        (Some(_), None) => {
            errors.push(FieldError::invalid(path, shown(&serde_json::Value::Null), "must not update from a positive integer to nil value"))
        }
        (_, Some(after)) if !(0..=i64::from(i32::MAX)).contains(&after) => {
            errors.push(FieldError::invalid(path, after, "must be between 0 and 2147483647, inclusive"));
        }
        (Some(before), Some(after)) if after > before => {
            errors.push(FieldError::invalid(path, after, "must be less than or equal to previous value"));
        }
        (_, None | Some(_)) => {}
    }
}

fn tolerations(before: &PodSpec, after: &PodSpec, path: &FieldPath, errors: &mut Vec<FieldError>) {
    let (before, after) = (before.tolerations.as_deref().unwrap_or_default(), after.tolerations.as_deref().unwrap_or_default());
    if before.iter().any(|toleration| !after.contains(toleration)) {
        errors.push(FieldError::forbidden(path, "existing toleration can not be modified except its tolerationSeconds"));
    }
}

/// Gates may be taken away only.
fn gates(before: &PodSpec, after: &PodSpec, path: &FieldPath, errors: &mut Vec<FieldError>) {
    let known = before.scheduling_gates.as_deref().unwrap_or_default();
    for (index, gate) in after.scheduling_gates.iter().flatten().enumerate().filter(|(_, gate)| !known.contains(gate)) {
        let detail = format!("only deletion is allowed, but found new scheduling gate '{}'", gate.name);
        errors.push(FieldError::forbidden(&path.index(index).child("name"), detail));
    }
}

fn keep_images(containers: &mut [Container], before: &[Container]) {
    for (container, before) in containers.iter_mut().zip(before) {
        container.image.clone_from(&before.image);
    }
}

/// The lines in which two specs differ.
pub(super) fn difference<T: serde::Serialize>(before: &T, after: &T) -> String {
    let lines = |spec: &T| {
        let text = serde_json::to_value(spec).ok().and_then(|spec| serde_json::to_string_pretty(&spec).ok());
        text.unwrap_or_default().lines().map(ToOwned::to_owned).collect::<Vec<_>>()
    };
    let (before, after) = (lines(before), lines(after));
    let same_start = before.iter().zip(&after).take_while(|(before, after)| before == after).count();
    let rest = (&before[same_start..], &after[same_start..]);
    let same_end = rest.0.iter().rev().zip(rest.1.iter().rev()).take_while(|(before, after)| before == after).count();
    let gone = rest.0[..rest.0.len() - same_end].iter().map(|line| format!("-{line}"));
    let come = rest.1[..rest.1.len() - same_end].iter().map(|line| format!("+{line}"));
    let all: Vec<_> = gone.chain(come).collect();
    let more = all.len().saturating_sub(DIFFERENCE_LINES_MAX);
    let mut text = all[..all.len() - more].join("\n");
    if more > 0 {
        text += &format!("\n… and {more} more lines");
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn texts(before: Value, after: Value) -> Vec<String> {
        let pod = |spec: Value| {
            let mut pod: Pod = serde_json::from_value(json!({ "spec": spec })).expect("a pod");
            api::defaults::default_pod(&mut pod);
            pod
        };
        validate_update(Part::Whole, &pod(before), &pod(after)).iter().map(ToString::to_string).collect()
    }

    fn spec(changes: Value) -> Value {
        let mut spec = json!({ "containers": [{ "name": "a", "image": "x:1" }] });
        crate::patch::apply_merge_patch(&mut spec, &changes);
        spec
    }

    // k8s: 1.d.13
    #[test]
    fn images_deadlines_and_added_tolerations_may_change() {
        let after = spec(json!({
            "containers": [{ "name": "a", "image": "x:2" }],
            "activeDeadlineSeconds": 5,
            "tolerations": [{ "operator": "Exists" }],
        }));
        assert_eq!(texts(spec(json!({})), after), Vec::<String>::new());
    }

    #[test]
    fn scheduling_gates_may_only_be_taken_away() {
        let gates =
            |names: &[&str]| spec(json!({ "schedulingGates": names.iter().map(|name| json!({ "name": name })).collect::<Vec<_>>() }));
        for after in [&["b"][..], &[]] {
            assert_eq!(texts(gates(&["a", "b"]), gates(after)), Vec::<String>::new(), "{after:?}");
        }
        let text = "spec.schedulingGates[1].name: Forbidden: only deletion is allowed, but found new scheduling gate 'c'";
        assert_eq!(texts(gates(&["a", "b"]), gates(&["a", "c"])), [text]);
    }

    // k8s: 1.d.13
    #[test]
    fn nothing_else_may_change() {
        for change in [
            json!({ "containers": [{ "name": "a", "image": "x:1", "command": ["y"] }] }),
            json!({ "restartPolicy": "Never" }),
            json!({ "terminationGracePeriodSeconds": 5 }),
            json!({ "containers": [{ "name": "a", "image": "x:1", "lifecycle": { "preStop": { "sleep": { "seconds": 1 } } } }] }),
        ] {
            let errors = texts(spec(json!({})), spec(change.clone()));
            assert!(errors[0].starts_with("spec: Forbidden: pod updates may not change fields other than"), "{change}: {errors:?}");
        }
        let two = spec(json!({ "containers": [{ "name": "a", "image": "x:1" }, { "name": "b", "image": "y" }] }));
        assert_eq!(texts(spec(json!({})), two), ["spec.containers: Forbidden: pod updates may not add or remove containers"]);
    }

    // k8s: 1.d.11, 1.d.16
    #[test]
    fn ephemeral_containers_may_be_added_and_nothing_else() {
        let changed = |before: Value, after: Value| {
            let pod = |ephemeral: Value| {
                let mut pod: Pod =
                    serde_json::from_value(json!({ "spec": spec(json!({ "ephemeralContainers": ephemeral })) })).expect("a pod");
                api::defaults::default_pod(&mut pod);
                pod
            };
            let errors = validate_update(Part::EphemeralContainers, &pod(before), &pod(after));
            errors.iter().map(|error| error.to_string().lines().next().unwrap_or_default().to_owned()).collect::<Vec<_>>()
        };
        let one = json!({ "name": "d", "image": "y", "targetContainerName": "a", "resources": {} });
        let other = json!({ "name": "e", "image": "z" });
        assert_eq!(changed(json!([]), json!([one])), Vec::<String>::new());
        assert_eq!(changed(json!([one]), json!([other, one])), Vec::<String>::new());
        let at = "spec.ephemeralContainers";
        assert_eq!(
            changed(json!([one]), json!([other])),
            [format!("{at}: Forbidden: existing ephemeral containers \"d\" may not be removed")]
        );
        let image = json!({ "name": "d", "image": "x", "targetContainerName": "a", "resources": {} });
        assert_eq!(
            changed(json!([one]), json!([image])),
            [format!("{at}: Forbidden: existing ephemeral containers \"d\" may not be changed")]
        );
        let same_name = json!({ "name": "a", "image": "y" });
        assert_eq!(changed(json!([]), json!([same_name])), [format!("{at}[0].name: Duplicate value: \"a\"")]);
        let lost = json!({ "name": "d", "image": "y", "targetContainerName": "b" });
        assert_eq!(changed(json!([]), json!([lost])), [format!("{at}[0].targetContainerName: Not found: \"b\"")]);
    }

    // k8s: 1.b.4
    #[test]
    fn a_negative_grace_may_be_repaired() {
        let grace = |seconds: i64| spec(json!({ "terminationGracePeriodSeconds": seconds }));
        assert_eq!(texts(grace(-5), grace(1)), Vec::<String>::new());
        assert_eq!(texts(grace(-5), grace(2)).len(), 1);
        assert_eq!(texts(grace(5), grace(1)).len(), 1);
    }

    // k8s: 1.f.2
    #[test]
    fn deadlines_may_only_come_nearer() {
        let deadline = |seconds: Value| spec(json!({ "activeDeadlineSeconds": seconds }));
        let check = |before: Value, after: Value, expected: &[&str]| {
            assert_eq!(texts(deadline(before), deadline(after)), expected);
        };
        check(json!(10), json!(5), &[]);
        check(json!(10), json!(0), &[]);
        check(json!(10), json!(11), &["spec.activeDeadlineSeconds: Invalid value: 11: must be less than or equal to previous value"]);
        check(
            json!(10),
            json!(null),
            &["spec.activeDeadlineSeconds: Invalid value: null: must not update from a positive integer to nil value"],
        );
        check(json!(10), json!(-1), &["spec.activeDeadlineSeconds: Invalid value: -1: must be between 0 and 2147483647, inclusive"]);
    }
}
