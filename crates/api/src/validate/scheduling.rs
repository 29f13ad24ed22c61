//! Rules of what only a scheduler reads: tolerations, spreading, gates.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{PodSpec, Toleration, TopologySpreadConstraint};

use super::error::FieldError;
use super::meta::{validate_label_name, validate_selector};
use super::{Errors, complain, names, text};
use crate::path::FieldPath;

const NOT_POSITIVE: &str = "must be greater than zero";

/// Checks tolerations.
pub(super) fn validate_tolerations(tolerations: &[Toleration], path: &FieldPath, errors: &mut Errors) {
    for (index, toleration) in tolerations.iter().enumerate() {
        let path = path.index(index);
        let (key, operator, value, effect) =
            (text(&toleration.key), text(&toleration.operator), text(&toleration.value), text(&toleration.effect));
        let invalid = |field: &'static str, value: &str, detail: &str| FieldError::invalid(&path.child(field), value, detail);
        if !key.is_empty() {
            validate_label_name(key, &path.child("key"), errors);
        }
        if key.is_empty() && operator != "Exists" {
            let detail = "operator must be Exists when `key` is empty, which means \"match all values and all keys\"";
            errors.push(invalid("operator", operator, detail));
        }
        if toleration.toleration_seconds.is_some() && effect != "NoExecute" {
            let detail = "effect must be 'NoExecute' when `tolerationSeconds` is set";
            errors.push(invalid("effect", effect, detail));
        }
        match operator {
            "Equal" | "" => {
                let wrong = names::label_value(value);
                if !wrong.is_empty() {
                    errors.push(invalid("operator", value, &wrong.join(";")));
                }
            }
            "Exists" if !value.is_empty() => {
                errors.push(invalid("operator", value, "value must be empty when `operator` is 'Exists'"));
            }
            "Exists" => {}
            other => errors.push(FieldError::not_supported(&path.child("operator"), other, &["Equal", "Exists"])),
        }
        if !matches!(effect, "" | "NoSchedule" | "PreferNoSchedule" | "NoExecute") {
            let supported = ["NoSchedule", "PreferNoSchedule", "NoExecute"];
            errors.push(FieldError::not_supported(&path.child("effect"), effect, &supported));
        }
    }
}

/// Checks how Pods are to be spread.
pub(super) fn validate_spreading(constraints: &[TopologySpreadConstraint], path: &FieldPath, errors: &mut Errors) {
    let repeated = repeated(constraints);
    for (index, constraint) in constraints.iter().enumerate() {
        let path = path.index(index);
        if constraint.max_skew <= 0 {
            errors.push(FieldError::invalid(&path.child("maxSkew"), constraint.max_skew, NOT_POSITIVE));
        }
        if constraint.topology_key.is_empty() {
            errors.push(FieldError::required(&path.child("topologyKey"), "can not be empty"));
        }
        let action = constraint.when_unsatisfiable.as_str();
        if !matches!(action, "DoNotSchedule" | "ScheduleAnyway") {
            let supported = ["DoNotSchedule", "ScheduleAnyway"];
            errors.push(FieldError::not_supported(&path.child("whenUnsatisfiable"), action, &supported));
        }
        if repeated.contains(&index) {
            let shown = format!("{{{}, {action}}}", constraint.topology_key);
            let field = path.child("{topologyKey, whenUnsatisfiable}");
            errors.push(FieldError::duplicate(&field, &shown).exactly(path.clone()));
        }
        validate_min_domains(constraint, &path.child("minDomains"), errors);
        let policies = [("nodeAffinityPolicy", &constraint.node_affinity_policy), ("nodeTaintsPolicy", &constraint.node_taints_policy)];
        for (field, policy) in policies {
            if let Some(policy) = policy.as_deref().filter(|policy| !matches!(*policy, "Honor" | "Ignore")) {
                errors.push(FieldError::not_supported(&path.child(field), policy, &["Honor", "Ignore"]));
            }
        }
        validate_match_label_keys(constraint, &path.child("matchLabelKeys"), errors);
        validate_selector(constraint.label_selector.as_ref(), &path.child("labelSelector"), errors);
    }
}

/// The constraints for which a later one is of the same kind.
fn repeated(constraints: &[TopologySpreadConstraint]) -> BTreeSet<usize> {
    let mut later = BTreeSet::new();
    let kinds = constraints.iter().map(|constraint| (&constraint.topology_key, &constraint.when_unsatisfiable));
    let numbered: Vec<_> = kinds.enumerate().collect();
    numbered.into_iter().rev().filter(|(_, kind)| !later.insert(*kind)).map(|(index, _)| index).collect()
}

fn validate_min_domains(constraint: &TopologySpreadConstraint, path: &FieldPath, errors: &mut Errors) {
    let Some(domains) = constraint.min_domains else {
        return;
    };
    if domains <= 0 {
        errors.push(FieldError::invalid(path, domains, NOT_POSITIVE));
    }
    let action = constraint.when_unsatisfiable.as_str();
    if action != "DoNotSchedule" {
        let detail = format!("can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {action}");
        errors.push(FieldError::invalid(path, domains, detail));
    }
}

fn validate_match_label_keys(constraint: &TopologySpreadConstraint, path: &FieldPath, errors: &mut Errors) {
    let keys = constraint.match_label_keys.as_deref().unwrap_or_default();
    if keys.is_empty() {
        return;
    }
    let selector = constraint.label_selector.as_ref();
    if selector.is_none() {
        errors.push(FieldError::forbidden(path, "must not be specified when labelSelector is not set"));
    }
    let labels = selector.iter().flat_map(|selector| selector.match_labels.iter().flatten()).map(|(key, _)| key);
    let expressions = selector.iter().flat_map(|selector| selector.match_expressions.iter().flatten());
    let selected: BTreeSet<_> = labels.chain(expressions.map(|expression| &expression.key)).collect();
    for (index, key) in keys.iter().enumerate() {
        let path = path.index(index);
        validate_label_name(key, &path, errors);
        if selected.contains(key) {
            errors.push(FieldError::invalid(&path, key, "exists in both matchLabelKeys and labelSelector"));
        }
    }
}

/// Checks the conditions and gates that a Pod waits for.
pub(super) fn validate_readiness_gates(spec: &PodSpec, path: &FieldPath, errors: &mut Errors) {
    for (index, gate) in spec.readiness_gates.iter().flatten().enumerate() {
        let path = path.index(index).child("conditionType");
        complain(errors, &path, &gate.condition_type, names::qualified_name(&gate.condition_type));
    }
}

/// Checks what holds a Pod back from being scheduled.
pub(super) fn validate_scheduling_gates(spec: &PodSpec, path: &FieldPath, errors: &mut Errors) {
    let mut seen = BTreeSet::new();
    for (index, gate) in spec.scheduling_gates.iter().flatten().enumerate() {
        let path = path.index(index);
        complain(errors, &path, &gate.name, names::qualified_name(&gate.name));
        if !seen.insert(&gate.name) {
            errors.push(FieldError::duplicate(&path, &gate.name));
        }
    }
}
