//! Rules of the objects that make Pods, as far as they are about the Pods: the template, and whether it is selected.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use super::error::{BadValue, FieldError};
use super::meta::{validate_annotations, validate_labels, validate_meta, validate_selector};
use super::pod::validate_new_spec;
use super::{Errors, text};
use crate::path::FieldPath;
use crate::workload::{Replica, WorkloadKind};

/// Checks a workload by the Pod that was made of it, which must have been defaulted. The paths are those of the workload.
pub fn validate_replica(replica: &Replica) -> Vec<FieldError> {
    let mut errors = Vec::new();
    validate_meta(&replica.metadata, &mut errors);
    let template = replica.kind.template_path();
    validate_selected(replica, &template, &mut errors);
    let metadata = template.child("metadata");
    validate_labels(Some(&replica.labels), &metadata.child("labels"), &mut errors);
    validate_annotations(replica.pod.metadata.annotations.as_ref(), &metadata.child("annotations"), &mut errors);
    let spec = template.child("spec");
    validate_new_spec(&replica.pod, &spec, &mut errors);
    validate_ends(replica, &spec, &mut errors);
    errors
}

/// The Pods of a workload are those that it selects, so it has to select what it makes.
fn validate_selected(replica: &Replica, template: &FieldPath, errors: &mut Errors) {
    let Some(selector) = &replica.selector else { return };
    let path = FieldPath::new("spec").child("selector");
    validate_selector(Some(selector), &path, errors);
    let is_empty =
        selector.match_labels.as_ref().is_none_or(BTreeMap::is_empty) && selector.match_expressions.as_ref().is_none_or(Vec::is_empty);
    if is_empty {
        let what = match replica.kind {
            WorkloadKind::DaemonSet => "empty selector is invalid for daemonset",
            WorkloadKind::Deployment => "empty selector is invalid for deployment",
            WorkloadKind::StatefulSet => "empty selector is invalid for statefulset",
            WorkloadKind::ReplicaSet => "empty selector is invalid for deployment",
            WorkloadKind::ReplicationController => return errors.push(FieldError::required(&path, "")),
            WorkloadKind::Job | WorkloadKind::CronJob | WorkloadKind::PodTemplate => return,
        };
        return errors.push(FieldError::invalid(&path, BadValue::Raw("{}".to_owned()), what));
    }
    if !is_selected(selector, &replica.labels) {
        let shown = serde_json::to_string(&replica.labels).unwrap_or_default();
        let path = template.child("metadata").child("labels");
        errors.push(FieldError::invalid(&path, BadValue::Raw(shown), "`selector` does not match template `labels`"));
    }
}

fn is_selected(selector: &LabelSelector, labels: &BTreeMap<String, String>) -> bool {
    let equal = selector.match_labels.iter().flatten().all(|(key, value)| labels.get(key) == Some(value));
    equal
        && selector.match_expressions.iter().flatten().all(|expression| {
            let value = labels.get(&expression.key);
            let is_listed = value.is_some_and(|value| expression.values.iter().flatten().any(|listed| listed == value));
            match expression.operator.as_str() {
                "In" => is_listed,
                "NotIn" => !is_listed,
                "Exists" => value.is_some(),
                "DoesNotExist" => value.is_none(),
                // Told of as an operator that is none.
                _ => true,
            }
        })
}

/// Pods of a Job end, those of everything else do not.
fn validate_ends(replica: &Replica, spec: &FieldPath, errors: &mut Errors) {
    // Whether the Pods of a mere template end is not known.
    let Some(own) = replica.pod.spec.as_ref().filter(|_| replica.kind != WorkloadKind::PodTemplate) else { return };
    let policy = text(&own.restart_policy);
    let path = spec.child("restartPolicy");
    if replica.kind.is_job() {
        if policy == "Always" {
            errors.push(FieldError::required(&path, r#"valid values: "OnFailure", "Never""#));
        }
        return;
    }
    if matches!(policy, "OnFailure" | "Never") {
        errors.push(FieldError::not_supported(&path, policy, &["Always"]));
    }
    if own.active_deadline_seconds.is_some() {
        let owner = match replica.kind {
            WorkloadKind::Deployment | WorkloadKind::ReplicaSet => "ReplicaSet",
            WorkloadKind::StatefulSet
            | WorkloadKind::DaemonSet
            | WorkloadKind::ReplicationController
            | WorkloadKind::Job
            | WorkloadKind::CronJob
            | WorkloadKind::PodTemplate => replica.kind.name(),
        };
        let detail = format!("activeDeadlineSeconds in {owner} is not Supported");
        errors.push(FieldError::forbidden(&spec.child("activeDeadlineSeconds"), detail));
    }
}
