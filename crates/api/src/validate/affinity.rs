//! Rules of affinity: to nodes, to and from other Pods.

use k8s_openapi::api::core::v1::{
    Affinity, NodeAffinity, NodeSelectorRequirement, NodeSelectorTerm, PodAffinityTerm, WeightedPodAffinityTerm,
};

use super::error::FieldError;
use super::meta::{validate_label_name, validate_selector};
use super::{Errors, complain, names};
use crate::path::FieldPath;

const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";

/// Checks all affinities of a Pod.
pub(super) fn validate_affinity(affinity: Option<&Affinity>, path: &FieldPath, errors: &mut Errors) {
    let Some(affinity) = affinity else { return };
    if let Some(node) = &affinity.node_affinity {
        validate_node(node, &path.child("nodeAffinity"), errors);
    }
    if let Some(pods) = &affinity.pod_affinity {
        let path = path.child("podAffinity");
        validate_terms(pods.required_during_scheduling_ignored_during_execution.as_deref(), &path, errors);
        validate_weighted(pods.preferred_during_scheduling_ignored_during_execution.as_deref(), &path, errors);
    }
    if let Some(pods) = &affinity.pod_anti_affinity {
        let path = path.child("podAntiAffinity");
        validate_terms(pods.required_during_scheduling_ignored_during_execution.as_deref(), &path, errors);
        validate_weighted(pods.preferred_during_scheduling_ignored_during_execution.as_deref(), &path, errors);
    }
}

fn validate_node(affinity: &NodeAffinity, path: &FieldPath, errors: &mut Errors) {
    if let Some(selector) = &affinity.required_during_scheduling_ignored_during_execution {
        let path = path.child(REQUIRED).child("nodeSelectorTerms");
        if selector.node_selector_terms.is_empty() {
            errors.push(FieldError::required(&path, "must have at least one node selector term"));
        }
        for (index, term) in selector.node_selector_terms.iter().enumerate() {
            validate_node_term(term, &path.index(index), errors);
        }
    }
    for (index, term) in affinity.preferred_during_scheduling_ignored_during_execution.iter().flatten().enumerate() {
        let path = path.child(PREFERRED).index(index);
        validate_weight(term.weight, &path, errors);
        validate_node_term(&term.preference, &path.child("preference"), errors);
    }
}

fn validate_node_term(term: &NodeSelectorTerm, path: &FieldPath, errors: &mut Errors) {
    for (index, requirement) in term.match_expressions.iter().flatten().enumerate() {
        let path = path.child("matchExpressions").index(index);
        validate_operator(requirement, &path, errors);
        validate_label_name(&requirement.key, &path.child("key"), errors);
    }
    for (index, requirement) in term.match_fields.iter().flatten().enumerate() {
        let path = path.child("matchFields").index(index);
        if !matches!(requirement.operator.as_str(), "In" | "NotIn") {
            let detail = "not a valid selector operator";
            errors.push(FieldError::invalid(&path.child("operator"), &requirement.operator, detail));
        }
        if requirement.key != "metadata.name" {
            let detail = "not a valid field selector key";
            errors.push(FieldError::invalid(&path.child("key"), &requirement.key, detail));
        }
    }
}

fn validate_operator(requirement: &NodeSelectorRequirement, path: &FieldPath, errors: &mut Errors) {
    let values = requirement.values.as_deref().unwrap_or_default();
    let field = path.child("values");
    match requirement.operator.as_str() {
        "In" | "NotIn" if values.is_empty() => {
            errors.push(FieldError::required(&field, "must be specified when `operator` is 'In' or 'NotIn'"));
        }
        "Exists" | "DoesNotExist" if !values.is_empty() => {
            let detail = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
            errors.push(FieldError::forbidden(&field, detail));
        }
        "Gt" | "Lt" if values.len() != 1 => {
            errors.push(FieldError::required(&field, "must be specified single value when `operator` is 'Lt' or 'Gt'"));
        }
        "In" | "NotIn" | "Exists" | "DoesNotExist" | "Gt" | "Lt" => {}
        other => {
            errors.push(FieldError::invalid(&path.child("operator"), other, "not a valid selector operator"));
        }
    }
}

fn validate_terms(terms: Option<&[PodAffinityTerm]>, path: &FieldPath, errors: &mut Errors) {
    for (index, term) in terms.into_iter().flatten().enumerate() {
        validate_term(term, &path.child(REQUIRED).index(index), errors);
    }
}

fn validate_weighted(terms: Option<&[WeightedPodAffinityTerm]>, path: &FieldPath, errors: &mut Errors) {
    for (index, term) in terms.into_iter().flatten().enumerate() {
        let path = path.child(PREFERRED).index(index);
        validate_weight(term.weight, &path, errors);
        validate_term(&term.pod_affinity_term, &path.child("podAffinityTerm"), errors);
    }
}

fn validate_term(term: &PodAffinityTerm, path: &FieldPath, errors: &mut Errors) {
    validate_selector(term.label_selector.as_ref(), &path.child("labelSelector"), errors);
    validate_selector(term.namespace_selector.as_ref(), &path.child("namespaceSelector"), errors);
    for (index, name) in term.namespaces.iter().flatten().enumerate() {
        let exact = path.child("namespaces").index(index);
        let mut wrong = Vec::new();
        complain(&mut wrong, &path.child("namespace"), name, names::dns_label(name));
        errors.extend(wrong.into_iter().map(|error| error.exactly(exact.clone())));
    }
    let key = path.child("topologyKey");
    if term.topology_key.is_empty() {
        errors.push(FieldError::required(&key, "can not be empty"));
    }
    validate_label_name(&term.topology_key, &key, errors);
}

fn validate_weight(weight: i32, path: &FieldPath, errors: &mut Errors) {
    if !(1..=100).contains(&weight) {
        errors.push(FieldError::invalid(&path.child("weight"), weight, "must be in the range 1-100"));
    }
}
