//! Rules of `metadata`: names, labels, annotations, owners.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta, OwnerReference};

use super::error::FieldError;
use super::{Errors, complain, names, text};
use crate::path::FieldPath;

/// All keys and values of annotations together, in bytes.
const ANNOTATIONS_BYTES_MAX: usize = 256 * 1024;

/// Whether objects of a kind are in namespaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// They are.
    Namespaced,
    /// They are not.
    Cluster,
}

/// The names that objects of a kind may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameRule {
    /// DNS subdomains.
    Subdomain,
    /// DNS labels.
    Label,
}

/// Checks the metadata of an object of a kind that has no rules of its own here.
pub fn validate_object_meta(meta: &ObjectMeta, scope: Scope, rule: NameRule) -> Vec<FieldError> {
    let mut errors = Vec::new();
    validate_scoped(meta, scope, rule, &mut errors);
    errors
}

/// Checks the metadata of an object whose name is a DNS subdomain.
pub(super) fn validate_meta(meta: &ObjectMeta, errors: &mut Errors) {
    validate_scoped(meta, Scope::Namespaced, NameRule::Subdomain, errors);
}

fn validate_scoped(meta: &ObjectMeta, scope: Scope, rule: NameRule, errors: &mut Errors) {
    let path = FieldPath::new("metadata");
    let generate_name = text(&meta.generate_name);
    if !generate_name.is_empty() {
        complain(errors, &path.child("generateName"), generate_name, names::generate_name(generate_name));
    }
    match text(&meta.name) {
        "" if generate_name.is_empty() => {
            errors.push(FieldError::required(&path.child("name"), "name or generateName is required"));
        }
        "" => {}
        name => {
            let complaints = match rule {
                NameRule::Subdomain => names::dns_subdomain(name),
                NameRule::Label => names::dns_label(name),
            };
            complain(errors, &path.child("name"), name, complaints);
        }
    }
    match (scope, text(&meta.namespace)) {
        (Scope::Namespaced, "") => errors.push(FieldError::required(&path.child("namespace"), "")),
        (Scope::Cluster, "") => {}
        (Scope::Cluster, _) => errors.push(FieldError::forbidden(&path.child("namespace"), "not allowed on this type")),
        (Scope::Namespaced, namespace) => complain(errors, &path.child("namespace"), namespace, names::dns_label(namespace)),
    }
    if let Some(generation) = meta.generation.filter(|generation| *generation < 0) {
        let path = path.child("generation");
        errors.push(FieldError::invalid(&path, generation, "must be greater than or equal to 0"));
    }
    validate_labels(meta.labels.as_ref(), &path.child("labels"), errors);
    validate_annotations(meta.annotations.as_ref(), &path.child("annotations"), errors);
    validate_owners(meta.owner_references.as_deref().unwrap_or_default(), &path.child("ownerReferences"), errors);
    for (index, finalizer) in meta.finalizers.iter().flatten().enumerate() {
        let path = path.child("finalizers").index(index);
        complain(errors, &path, finalizer, names::qualified_name(finalizer));
        const STANDARD: [&str; 3] = ["foregroundDeletion", "orphan", "kubernetes"];
        if !finalizer.contains('/') && !STANDARD.contains(&finalizer.as_str()) {
            let detail = "name is neither a standard finalizer name nor is it fully qualified";
            errors.push(FieldError::invalid(&path, finalizer, detail));
        }
    }
}

/// Checks labels, or the node labels that a Pod asks for.
pub(super) fn validate_labels(labels: Option<&BTreeMap<String, String>>, path: &FieldPath, errors: &mut Errors) {
    for (key, value) in labels.into_iter().flatten() {
        let exact = path.key(key.clone());
        let wrong = names::qualified_name(key).into_iter().map(|complaint| FieldError::invalid(path, key, complaint));
        errors.extend(wrong.map(|error| error.exactly(exact.clone())));
        let wrong = names::label_value(value).into_iter().map(|complaint| FieldError::invalid(path, value, complaint));
        errors.extend(wrong.map(|error| error.exactly(exact.clone())));
    }
}

/// Checks the name of a label that something refers to.
pub(super) fn validate_label_name(name: &str, path: &FieldPath, errors: &mut Errors) {
    complain(errors, path, name, names::qualified_name(name));
}

/// Checks a selector by labels.
pub(super) fn validate_selector(selector: Option<&LabelSelector>, path: &FieldPath, errors: &mut Errors) {
    let Some(selector) = selector else { return };
    validate_labels(selector.match_labels.as_ref(), &path.child("matchLabels"), errors);
    for (index, expression) in selector.match_expressions.iter().flatten().enumerate() {
        let path = path.child("matchExpressions").index(index);
        let values = expression.values.as_deref().unwrap_or_default();
        match expression.operator.as_str() {
            "In" | "NotIn" if values.is_empty() => {
                let detail = "must be specified when `operator` is 'In' or 'NotIn'";
                errors.push(FieldError::required(&path.child("values"), detail));
            }
            "In" | "NotIn" => {}
            "Exists" | "DoesNotExist" if !values.is_empty() => {
                let detail = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
                errors.push(FieldError::forbidden(&path.child("values"), detail));
            }
            "Exists" | "DoesNotExist" => {}
            operator => {
                let path = path.child("operator");
                errors.push(FieldError::invalid(&path, operator, "not a valid selector operator"));
            }
        }
        validate_label_name(&expression.key, &path.child("key"), errors);
        for (index, value) in values.iter().enumerate() {
            complain(errors, &path.child("values").index(index), value, names::label_value(value));
        }
    }
}

pub(super) fn validate_annotations(annotations: Option<&BTreeMap<String, String>>, path: &FieldPath, errors: &mut Errors) {
    let mut bytes = 0;
    for (key, value) in annotations.into_iter().flatten() {
        let wrong = names::qualified_name(&key.to_lowercase());
        let wrong = wrong.into_iter().map(|complaint| FieldError::invalid(path, key, complaint));
        errors.extend(wrong.map(|error| error.exactly(path.key(key.clone()))));
        bytes += key.len() + value.len();
    }
    if bytes > ANNOTATIONS_BYTES_MAX {
        errors.push(FieldError::too_long(path, ANNOTATIONS_BYTES_MAX));
    }
}

fn validate_owners(owners: &[OwnerReference], path: &FieldPath, errors: &mut Errors) {
    for (index, owner) in owners.iter().enumerate() {
        let path = path.index(index);
        let fields = [("apiVersion", &owner.api_version), ("kind", &owner.kind), ("name", &owner.name), ("uid", &owner.uid)];
        for (field, value) in fields {
            if value.is_empty() {
                errors.push(FieldError::invalid(
                    &path.child(field),
                    value,
                    format!(
                        "{} must not be empty",
                        match field {
                            "apiVersion" => "version",
                            field => field,
                        }
                    ),
                ));
            }
        }
    }
    if owners.iter().filter(|owner| owner.controller == Some(true)).count() > 1 {
        let detail = "Only one reference can have Controller set to true";
        errors.push(FieldError::invalid(path, "", detail));
    }
}
