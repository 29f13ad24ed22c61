//! Rules of containers: regular ones, init containers with sidecars among them, and debug containers.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{Container, EphemeralContainer, PodSpec, ResourceRequirements};

use super::error::FieldError;
use super::pod::PodContext;
use super::resources::Owner;
use super::{Errors, complain, env, handler, mounts, names, ports, resources, restart, security, text};
use crate::path::FieldPath;

/// Checks the regular containers.
pub(super) fn validate_containers(containers: &[Container], context: &PodContext<'_>, path: &FieldPath, errors: &mut Errors) {
    if containers.is_empty() {
        return errors.push(FieldError::required(path, ""));
    }
    let mut seen = BTreeSet::new();
    for (index, container) in containers.iter().enumerate() {
        let path = path.index(index);
        validate_common(container, context, &path, errors);
        // k8s: 1.d.16
        if !seen.insert(container.name.as_str()) {
            errors.push(FieldError::duplicate(&path.child("name"), &container.name));
        }
        if let Some(lifecycle) = &container.lifecycle {
            handler::validate_lifecycle(lifecycle, context, &path.child("lifecycle"), errors);
        }
        handler::validate_probes(probes(container), context, &path, errors);
        restart::validate_container_restart(container, &path, errors);
    }
    ports::validate_host_ports(containers.iter().enumerate(), path, errors);
}

/// Checks init containers and sidecars.
pub(super) fn validate_init_containers(spec: &PodSpec, context: &PodContext<'_>, path: &FieldPath, errors: &mut Errors) {
    let mut seen: BTreeSet<&str> = spec.containers.iter().map(|container| container.name.as_str()).collect();
    for (index, container) in spec.init_containers.iter().flatten().enumerate() {
        let here = path.index(index);
        validate_common(container, context, &here, errors);
        restart::validate_container_restart(container, &here, errors);
        if seen.contains(container.name.as_str()) {
            errors.push(FieldError::duplicate(&here.child("name"), &container.name));
        } else if !container.name.is_empty() {
            seen.insert(&container.name);
        }
        ports::validate_host_ports([(index, container)], path, errors);
        if text(&container.restart_policy) == "Always" {
            // k8s: 1.d.10
            if let Some(lifecycle) = &container.lifecycle {
                handler::validate_lifecycle(lifecycle, context, &here.child("lifecycle"), errors);
            }
            handler::validate_probes(probes(container), context, &here, errors);
        } else {
            validate_ends(container, &here, errors);
        }
        restart::validate_init_resize(container, &here, errors);
    }
}

/// What only makes sense for a container that goes on running. k8s: 1.d.9
fn validate_ends(container: &Container, path: &FieldPath, errors: &mut Errors) {
    let present = [
        ("lifecycle", container.lifecycle.is_some()),
        ("livenessProbe", container.liveness_probe.is_some()),
        ("readinessProbe", container.readiness_probe.is_some()),
        ("startupProbe", container.startup_probe.is_some()),
    ];
    for (field, _) in present.into_iter().filter(|(_, present)| *present) {
        let detail = "may not be set for init containers without restartPolicy=Always";
        errors.push(FieldError::forbidden(&path.child(field), detail));
    }
}

/// Checks debug containers.
pub(super) fn validate_ephemeral_containers(spec: &PodSpec, context: &PodContext<'_>, path: &FieldPath, errors: &mut Errors) {
    let others = spec.containers.iter().chain(spec.init_containers.iter().flatten());
    let others: BTreeSet<&str> = others.map(|container| container.name.as_str()).collect();
    let mut seen = others.clone();
    for (index, container) in spec.ephemeral_containers.iter().flatten().enumerate() {
        let path = path.index(index);
        let common = as_container(container);
        validate_common(&common, context, &path, errors);
        validate_image_blanks(&common, &path, errors);
        if !seen.insert(container.name.as_str()) {
            errors.push(FieldError::duplicate(&path.child("name"), &container.name));
        }
        let target = text(&container.target_container_name);
        if !target.is_empty() && !others.contains(target) {
            errors.push(FieldError::not_found(&path.child("targetContainerName"), target));
        }
        validate_debug_fields(container, &path, errors);
    }
}

/// k8s: 1.d.11
fn validate_debug_fields(container: &EphemeralContainer, path: &FieldPath, errors: &mut Errors) {
    const DETAIL: &str = "cannot be set for an Ephemeral Container";
    let present = [
        ("ports", container.ports.is_some()),
        // Whoever writes Go writes it even when it is empty.
        ("resources", container.resources.as_ref().is_some_and(|resources| *resources != ResourceRequirements::default())),
        ("resizePolicy", container.resize_policy.is_some()),
        ("restartPolicy", container.restart_policy.is_some()),
        ("restartPolicyRules", container.restart_policy_rules.is_some()),
        ("livenessProbe", container.liveness_probe.is_some()),
        ("readinessProbe", container.readiness_probe.is_some()),
        ("startupProbe", container.startup_probe.is_some()),
        ("lifecycle", container.lifecycle.is_some()),
    ];
    for (field, _) in present.into_iter().filter(|(_, present)| *present) {
        errors.push(FieldError::forbidden(&path.child(field), DETAIL));
    }
    for (index, mount) in container.volume_mounts.iter().flatten().enumerate() {
        for (field, value) in [("subPath", &mount.sub_path), ("subPathExpr", &mount.sub_path_expr)] {
            if !text(value).is_empty() {
                errors.push(FieldError::forbidden(&path.child("volumeMounts").index(index).child(field), DETAIL));
            }
        }
    }
}

/// What all containers have in common.
fn validate_common(container: &Container, context: &PodContext<'_>, path: &FieldPath, errors: &mut Errors) {
    if container.name.is_empty() {
        errors.push(FieldError::required(&path.child("name"), ""));
    } else {
        complain(errors, &path.child("name"), &container.name, names::dns_label(&container.name));
    }
    if text(&container.image).is_empty() {
        errors.push(FieldError::required(&path.child("image"), ""));
    }
    validate_message_policy(text(&container.termination_message_policy), &path.child("terminationMessagePolicy"), errors);
    ports::validate_ports(container.ports.as_deref().unwrap_or_default(), &path.child("ports"), errors);
    env::validate_env(container.env.as_deref().unwrap_or_default(), context, &path.child("env"), errors);
    env::validate_env_from(container.env_from.as_deref().unwrap_or_default(), &path.child("envFrom"), errors);
    mounts::validate_mounts(container, context, path, errors);
    validate_pull_policy(text(&container.image_pull_policy), &path.child("imagePullPolicy"), errors);
    if let Some(own) = &container.resources {
        resources::validate_resources(own, Owner::Container, &context.claims, &path.child("resources"), errors);
    }
    let resize = container.resize_policy.as_deref().unwrap_or_default();
    restart::validate_resize(resize, context.restart_policy, &path.child("resizePolicy"), errors);
    let own = container.security_context.as_ref();
    security::validate_container(own, context.host_users, &path.child("securityContext"), errors);
}

/// k8s: 1.d.14
fn validate_message_policy(policy: &str, path: &FieldPath, errors: &mut Errors) {
    match policy {
        "File" | "FallbackToLogsOnError" => {}
        "" => errors.push(FieldError::required(path, "")),
        other => errors.push(FieldError::not_supported(path, other, &["File", "FallbackToLogsOnError"])),
    }
}

/// k8s: 1.d.15
pub(super) fn validate_pull_policy(policy: &str, path: &FieldPath, errors: &mut Errors) {
    match policy {
        "Always" | "IfNotPresent" | "Never" => {}
        "" => errors.push(FieldError::required(path, "")),
        other => errors.push(FieldError::not_supported(path, other, &["Always", "IfNotPresent", "Never"])),
    }
}

/// Only checked for Pods, not for templates of them.
pub(super) fn validate_image_blanks(container: &Container, path: &FieldPath, errors: &mut Errors) {
    let image = text(&container.image);
    if image.trim() != image {
        let detail = "must not have leading or trailing whitespace";
        errors.push(FieldError::invalid(&path.child("image"), image, detail));
    }
}

fn probes(container: &Container) -> [Option<&k8s_openapi::api::core::v1::Probe>; 3] {
    [container.liveness_probe.as_ref(), container.readiness_probe.as_ref(), container.startup_probe.as_ref()]
}

/// A debug container with the fields that it shares with others.
fn as_container(container: &EphemeralContainer) -> Container {
    Container {
        args: container.args.clone(),
        command: container.command.clone(),
        env: container.env.clone(),
        env_from: container.env_from.clone(),
        image: container.image.clone(),
        image_pull_policy: container.image_pull_policy.clone(),
        name: container.name.clone(),
        ports: container.ports.clone(),
        resize_policy: container.resize_policy.clone(),
        resources: container.resources.clone(),
        security_context: container.security_context.clone(),
        termination_message_policy: container.termination_message_policy.clone(),
        volume_devices: container.volume_devices.clone(),
        volume_mounts: container.volume_mounts.clone(),
        ..Container::default()
    }
}
