//! Defaults of containers, their probes, hooks and variables.

use k8s_openapi::api::core::v1::{
    Container, ContainerPort, EnvVar, EphemeralContainer, GRPCAction, HTTPGetAction, Lifecycle, Probe, ResourceRequirements,
};

use super::{DEFAULT_TERMINATION_MESSAGE_PATH, default_text, image_tag, round_amounts};

/// Fills in a regular or init container.
pub(super) fn default_container(container: &mut Container) {
    // k8s: 1.a.1
    default_text(&mut container.image_pull_policy, pull_policy(container.image.as_deref().unwrap_or_default()));
    default_message(&mut container.termination_message_path, &mut container.termination_message_policy);
    default_ports(&mut container.ports);
    default_env(&mut container.env);
    default_resources(&mut container.resources);
    default_lifecycle(&mut container.lifecycle);
    for probe in [&mut container.liveness_probe, &mut container.readiness_probe, &mut container.startup_probe] {
        default_probe(probe);
    }
}

/// Fills in a debug container.
pub(super) fn default_ephemeral_container(container: &mut EphemeralContainer) {
    default_text(&mut container.image_pull_policy, pull_policy(container.image.as_deref().unwrap_or_default()));
    default_message(&mut container.termination_message_path, &mut container.termination_message_policy);
    default_ports(&mut container.ports);
    default_env(&mut container.env);
    default_resources(&mut container.resources);
    default_lifecycle(&mut container.lifecycle);
    for probe in [&mut container.liveness_probe, &mut container.readiness_probe, &mut container.startup_probe] {
        default_probe(probe);
    }
}

/// What an image is pulled by where its author does not say: a moving tag always, anything else once.
pub(super) fn pull_policy(image: &str) -> &'static str {
    match image_tag(image).as_deref() {
        Some("latest") => "Always",
        _ => "IfNotPresent",
    }
}

/// k8s: 1.a.3, 1.a.4
fn default_message(path: &mut Option<String>, policy: &mut Option<String>) {
    default_text(path, DEFAULT_TERMINATION_MESSAGE_PATH);
    default_text(policy, "File");
}

fn default_ports(ports: &mut Option<Vec<ContainerPort>>) {
    for port in ports.iter_mut().flatten() {
        default_text(&mut port.protocol, "TCP");
    }
}

fn default_env(env: &mut Option<Vec<EnvVar>>) {
    for from in env.iter_mut().flatten().filter_map(|variable| variable.value_from.as_mut()) {
        if let Some(field) = &mut from.field_ref {
            default_text(&mut field.api_version, "v1");
        }
        if let Some(file) = &mut from.file_key_ref {
            file.optional.get_or_insert(false);
        }
    }
}

fn default_resources(resources: &mut Option<ResourceRequirements>) {
    if let Some(resources) = resources {
        round_amounts(&mut resources.limits);
        round_amounts(&mut resources.requests);
    }
}

fn default_lifecycle(lifecycle: &mut Option<Lifecycle>) {
    let Some(lifecycle) = lifecycle else { return };
    for handler in [&mut lifecycle.post_start, &mut lifecycle.pre_stop].into_iter().flatten() {
        default_http(&mut handler.http_get);
    }
}

/// k8s: 1.a.7
fn default_probe(probe: &mut Option<Probe>) {
    let Some(probe) = probe else { return };
    default_number(&mut probe.timeout_seconds, 1);
    default_number(&mut probe.period_seconds, 10);
    default_number(&mut probe.success_threshold, 1);
    default_number(&mut probe.failure_threshold, 3);
    default_http(&mut probe.http_get);
    default_grpc(&mut probe.grpc);
}

/// Sets a number that is absent or zero, which is the same to the API.
fn default_number(field: &mut Option<i32>, value: i32) {
    if field.unwrap_or(0) == 0 {
        *field = Some(value);
    }
}

/// k8s: 1.a.8
fn default_http(http: &mut Option<HTTPGetAction>) {
    if let Some(http) = http {
        default_text(&mut http.path, "/");
        default_text(&mut http.scheme, "HTTP");
    }
}

/// k8s: 1.a.11
fn default_grpc(grpc: &mut Option<GRPCAction>) {
    if let Some(grpc) = grpc {
        grpc.service.get_or_insert_default();
    }
}
