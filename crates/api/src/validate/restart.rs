//! Rules of restart and resize policies.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{Container, ContainerResizePolicy, ContainerRestartRule};

use super::error::FieldError;
use super::{Errors, text};
use crate::path::FieldPath;

/// The most restart rules of a container. k8s: 1.e.4
const RULES_MAX: usize = 20;
/// The most exit codes of a restart rule. k8s: 1.e.7
const EXIT_CODES_MAX: usize = 255;

/// Checks the restart policy of a Pod. k8s: 1.e.1
pub(super) fn validate_restart_policy(policy: &str, path: &FieldPath, errors: &mut Errors) {
    match policy {
        "Always" | "OnFailure" | "Never" => {}
        "" => errors.push(FieldError::required(path, "")),
        other => errors.push(FieldError::not_supported(path, other, &["Always", "OnFailure", "Never"])),
    }
}

/// Checks the restart policy of one container and its rules.
pub(super) fn validate_container_restart(container: &Container, path: &FieldPath, errors: &mut Errors) {
    let rules = container.restart_policy_rules.as_deref().unwrap_or_default();
    let policy_path = path.child("restartPolicy");
    match container.restart_policy.as_deref() {
        // k8s: 1.e.3
        None if !rules.is_empty() => {
            let detail = "must specify restartPolicy when restart rules are used";
            errors.push(FieldError::required(&policy_path, detail));
        }
        None | Some("Always" | "Never" | "OnFailure") => {}
        // k8s: 1.e.2
        Some(other) => {
            errors.push(FieldError::not_supported(&policy_path, other, &["Always", "Never", "OnFailure"]));
        }
    }
    let path = path.child("restartPolicyRules");
    if rules.len() > RULES_MAX {
        errors.push(FieldError::too_many(&path, rules.len(), RULES_MAX));
    }
    for (index, rule) in rules.iter().enumerate() {
        validate_rule(rule, &path.index(index), errors);
    }
}

fn validate_rule(rule: &ContainerRestartRule, path: &FieldPath, errors: &mut Errors) {
    // k8s: 1.e.5
    if !matches!(rule.action.as_str(), "Restart" | "RestartAllContainers") {
        let supported = ["Restart", "RestartAllContainers"];
        errors.push(FieldError::not_supported(&path.child("action"), &rule.action, &supported));
    }
    let path = path.child("exitCodes");
    match &rule.exit_codes {
        // k8s: 1.e.6
        None => errors.push(FieldError::required(&path, "must be specified")),
        // k8s: 1.e.7
        Some(codes) => {
            if !matches!(codes.operator.as_str(), "In" | "NotIn") {
                let path = path.child("operator");
                errors.push(FieldError::not_supported(&path, &codes.operator, &["In", "NotIn"]));
            }
            let values = codes.values.as_deref().unwrap_or_default();
            if values.len() > EXIT_CODES_MAX {
                errors.push(FieldError::too_many(&path.child("values"), values.len(), EXIT_CODES_MAX));
            }
        }
    }
}

/// Checks what a change of resources does to a container.
pub(super) fn validate_resize(policies: &[ContainerResizePolicy], pod_restart_policy: &str, path: &FieldPath, errors: &mut Errors) {
    let mut seen = BTreeSet::new();
    for (index, policy) in policies.iter().enumerate() {
        // The reference names the list, except for duplicates.
        let exact = path.index(index);
        let start = errors.len();
        if !seen.insert(policy.resource_name.as_str()) {
            errors.push(FieldError::duplicate(&exact, &policy.resource_name));
        }
        match policy.resource_name.as_str() {
            "cpu" | "memory" => {}
            "" => errors.push(FieldError::required(path, "")),
            other => errors.push(FieldError::not_supported(path, other, &["cpu", "memory"])),
        }
        match policy.restart_policy.as_str() {
            "NotRequired" | "RestartContainer" => {}
            "" => errors.push(FieldError::required(path, "")),
            other => {
                let supported = ["NotRequired", "RestartContainer"];
                errors.push(FieldError::not_supported(path, other, &supported));
            }
        }
        // k8s: 1.e.11
        if pod_restart_policy == "Never" && policy.restart_policy != "NotRequired" {
            let detail = "must be 'NotRequired' when pod `restartPolicy` is 'Never'";
            errors.push(FieldError::invalid(path, &policy.restart_policy, detail));
        }
        for error in &mut errors[start..] {
            error.exact.get_or_insert_with(|| exact.clone());
        }
    }
}

/// Init containers that end cannot be restarted for a resize. k8s: 1.e.12
pub(super) fn validate_init_resize(container: &Container, path: &FieldPath, errors: &mut Errors) {
    let sidecar = text(&container.restart_policy) == "Always";
    for (index, policy) in container.resize_policy.iter().flatten().enumerate() {
        if !sidecar && policy.restart_policy == "RestartContainer" {
            let path = path.child("resizePolicy").index(index).child("restartPolicy");
            let detail = "must not be set to 'RestartContainer' for non-sidecar initContainers";
            errors.push(FieldError::invalid(&path, &policy.restart_policy, detail));
        }
    }
}
