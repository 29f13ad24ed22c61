//! A Kubernetes Pod as the machine's plain extract.
//!
//! Not validation and not defaulting: the pod has been through both. What is an error here is what the API accepts and this engine
//! cannot do, and it names the field. Ports of requests are resolved here, because their names belong to the container (k8s: 3.d.6).

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::{
    self, Container, ContainerRestartRule, EnvVar, HTTPGetAction, LifecycleHandler, Pod, Probe, TCPSocketAction,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use lifecycle::{
    ContainerSpec, ExitCodeOperator, Handler, Hook, HttpGet, HttpPort, ImagePullPolicy, PodSpec, ProbeHandler, ProbeSpec, RestartAction,
    RestartPolicy, RestartRule, Scheme, VolumeImage,
};

use super::containers::as_container;
use super::hook_timeout::{HookTimeoutError, hook_timeouts};
use super::resources::{resize_policy, resources};
use crate::expansion::expand;
use crate::go_text::quote;

/// A pod that cannot be driven.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PodSpecError {
    /// A field that every defaulted, validated pod has.
    #[error("{field}: the pod has not been defaulted and validated")]
    Missing {
        /// Which.
        field: String,
    },
    /// A field has a value that this engine has no machine for.
    #[error("{field}: {value:?} is not supported")]
    Unsupported {
        /// Which.
        field: String,
        /// What it says.
        value: String,
    },
    /// An annotation for the time limit of a hook cannot take effect.
    #[error(transparent)]
    HookTimeout(#[from] HookTimeoutError),
}

type HookTimeouts = BTreeMap<(String, Hook), Duration>;

/// The machine's view of a defaulted and validated pod.
pub fn pod_spec(pod: &Pod) -> Result<PodSpec, PodSpecError> {
    let spec = pod.spec.as_ref().ok_or_else(|| missing("spec"))?;
    let timeouts = hook_timeouts(pod)?;
    let containers = |list: &[Container], field: &str| {
        let each = list.iter().enumerate();
        each.map(|(index, container)| {
            let own = container_spec(container, &format!("{field}[{index}]"), &timeouts)?;
            Ok(ContainerSpec { volume_images: volume_images(container, spec)?, ..own })
        })
        .collect::<Result<Vec<_>, PodSpecError>>()
    };
    let ephemeral: Vec<Container> = spec.ephemeral_containers.iter().flatten().map(as_container).collect();
    Ok(PodSpec {
        name: pod.metadata.name.clone().ok_or_else(|| missing("metadata.name"))?,
        namespace: pod.metadata.namespace.clone().ok_or_else(|| missing("metadata.namespace"))?,
        uid: pod.metadata.uid.clone().ok_or_else(|| missing("metadata.uid"))?,
        generation: pod.metadata.generation.map_or(0, non_negative),
        restart_policy: restart_policy(spec.restart_policy.as_deref().unwrap_or("Always"), "spec.restartPolicy")?,
        // k8s: 1.b.1
        termination_grace_period_secs: u64::try_from(spec.termination_grace_period_seconds.unwrap_or(30)).unwrap_or(1),
        active_deadline_secs: spec.active_deadline_seconds.map(non_negative),
        init_containers: containers(spec.init_containers.as_deref().unwrap_or_default(), "spec.initContainers")?,
        containers: containers(&spec.containers, "spec.containers")?,
        ephemeral_containers: containers(&ephemeral, "spec.ephemeralContainers")?,
    })
}

fn container_spec(container: &Container, field: &str, timeouts: &HookTimeouts) -> Result<ContainerSpec, PodSpecError> {
    let lifecycle = container.lifecycle.as_ref();
    let hook = |handler: Option<&LifecycleHandler>, hook: Hook| {
        handler.map(|handler| {
            let field = format!("{field}.lifecycle.{hook}");
            hook_handler(handler, container, &field, timeouts.get(&(container.name.clone(), hook)).copied())
        })
    };
    let probe = |probe: &Option<Probe>, name: &str| {
        let probe = probe.as_ref();
        probe.map(|probe| probe_spec(probe, container, &format!("{field}.{name}"))).transpose()
    };
    let rules = container.restart_policy_rules.iter().flatten().enumerate();
    Ok(ContainerSpec {
        name: container.name.clone(),
        image: container.image.clone().unwrap_or_default(),
        resources: resources(container),
        resize_policy: resize_policy(container.resize_policy.as_deref()),
        image_pull_policy: pull_policy(container.image_pull_policy.as_deref(), || format!("{field}.imagePullPolicy"))?,
        volume_images: Vec::new(),
        restart_policy: container
            .restart_policy
            .as_deref()
            .map(|policy| restart_policy(policy, &format!("{field}.restartPolicy")))
            .transpose()?,
        restart_policy_rules: rules
            .map(|(index, rule)| restart_rule(rule, &format!("{field}.restartPolicyRules[{index}]")))
            .collect::<Result<_, _>>()?,
        post_start: hook(lifecycle.and_then(|lifecycle| lifecycle.post_start.as_ref()), Hook::PostStart).transpose()?,
        pre_stop: hook(lifecycle.and_then(|lifecycle| lifecycle.pre_stop.as_ref()), Hook::PreStop).transpose()?,
        startup_probe: probe(&container.startup_probe, "startupProbe")?,
        liveness_probe: probe(&container.liveness_probe, "livenessProbe")?,
        readiness_probe: probe(&container.readiness_probe, "readinessProbe")?,
    })
}

fn restart_policy(policy: &str, field: &str) -> Result<RestartPolicy, PodSpecError> {
    match policy {
        "Always" => Ok(RestartPolicy::Always),
        "OnFailure" => Ok(RestartPolicy::OnFailure),
        "Never" => Ok(RestartPolicy::Never),
        other => Err(unsupported(field, other)),
    }
}

fn pull_policy(policy: Option<&str>, field: impl FnOnce() -> String) -> Result<ImagePullPolicy, PodSpecError> {
    match policy {
        Some("Always") => Ok(ImagePullPolicy::Always),
        Some("IfNotPresent") => Ok(ImagePullPolicy::IfNotPresent),
        Some("Never") => Ok(ImagePullPolicy::Never),
        Some(other) => Err(unsupported(&field(), other)),
        None => Err(missing(&field())),
    }
}

/// The images that the container mounts, each once, in the order of its mounts.
fn volume_images(container: &Container, spec: &v1::PodSpec) -> Result<Vec<VolumeImage>, PodSpecError> {
    let mut images: Vec<VolumeImage> = Vec::new();
    for mount in container.volume_mounts.iter().flatten() {
        let mut volumes = spec.volumes.iter().flatten().enumerate();
        let Some((index, Some(source))) =
            volumes.find(|(_, volume)| volume.name == mount.name).map(|(index, volume)| (index, &volume.image))
        else {
            continue;
        };
        let policy = pull_policy(source.pull_policy.as_deref(), || format!("spec.volumes[{index}].image.pullPolicy"))?;
        let image = source.reference.clone().unwrap_or_default();
        if images.iter().all(|known| known.image != image) {
            images.push(VolumeImage { image, pull_policy: policy });
        }
    }
    Ok(images)
}

fn restart_rule(rule: &ContainerRestartRule, field: &str) -> Result<RestartRule, PodSpecError> {
    let action = match rule.action.as_str() {
        "Restart" => RestartAction::Restart,
        "RestartAllContainers" => RestartAction::RestartAllContainers,
        other => return Err(unsupported(&format!("{field}.action"), other)),
    };
    let codes = rule.exit_codes.as_ref().ok_or_else(|| missing(&format!("{field}.exitCodes")))?;
    let operator = match codes.operator.as_str() {
        "In" => ExitCodeOperator::In,
        "NotIn" => ExitCodeOperator::NotIn,
        other => return Err(unsupported(&format!("{field}.exitCodes.operator"), other)),
    };
    Ok(RestartRule { action, operator, exit_codes: codes.values.clone().unwrap_or_default() })
}

fn hook_handler(handler: &LifecycleHandler, owner: &Container, field: &str, limit: Option<Duration>) -> Result<Handler, PodSpecError> {
    if let Some(exec) = &handler.exec {
        // k8s: 2.d.17: as it is written, no expansion.
        Ok(Handler::Exec { command: exec.command.clone().unwrap_or_default(), time_limit: limit })
    } else if let Some(get) = &handler.http_get {
        Ok(Handler::HttpGet(http_get(get, owner, field)?))
    } else if let Some(sleep) = &handler.sleep {
        Ok(Handler::Sleep { secs: non_negative(sleep.seconds) })
    } else if handler.tcp_socket.is_some() {
        Ok(Handler::TcpSocket)
    } else {
        Err(missing(field))
    }
}

fn probe_spec(probe: &Probe, owner: &Container, field: &str) -> Result<ProbeSpec, PodSpecError> {
    let secs = |value: Option<i32>, default: i32| non_negative(i64::from(value.filter(|value| *value != 0).unwrap_or(default)));
    let times =
        |value: Option<i32>, default: u32| value.and_then(|value| u32::try_from(value).ok()).filter(|value| *value != 0).unwrap_or(default);
    Ok(ProbeSpec {
        handler: probe_handler(probe, owner, field)?,
        initial_delay_secs: secs(probe.initial_delay_seconds, 0),
        // k8s: 1.a.7
        timeout_secs: secs(probe.timeout_seconds, 1),
        period_secs: secs(probe.period_seconds, 10),
        success_threshold: times(probe.success_threshold, 1),
        failure_threshold: times(probe.failure_threshold, 3),
        termination_grace_period_secs: probe.termination_grace_period_seconds.map(non_negative),
    })
}

fn probe_handler(probe: &Probe, owner: &Container, field: &str) -> Result<ProbeHandler, PodSpecError> {
    if let Some(exec) = &probe.exec {
        let command = exec.command.iter().flatten();
        Ok(ProbeHandler::Exec { command: command.map(|word| expand_static(word, owner.env.as_deref().unwrap_or_default())).collect() })
    } else if let Some(get) = &probe.http_get {
        Ok(ProbeHandler::HttpGet(http_get(get, owner, field)?))
    } else if let Some(TCPSocketAction { host, port }) = &probe.tcp_socket {
        Ok(ProbeHandler::TcpSocket { host: host.clone().filter(|host| !host.is_empty()), port: http_port(port, owner) })
    } else if let Some(grpc) = &probe.grpc {
        let port = u16::try_from(grpc.port).map_err(|_| unsupported(&format!("{field}.grpc.port"), &grpc.port.to_string()))?;
        Ok(ProbeHandler::Grpc { port, service: grpc.service.clone().unwrap_or_default() })
    } else {
        Err(missing(field))
    }
}

/// Only variables with a value of their own; those from elsewhere and unknown ones stay literal (k8s: 7.d.1).
fn expand_static(word: &str, env: &[EnvVar]) -> String {
    let value_of = |name: &str| {
        let last = env.iter().rev().find(|variable| variable.name == name)?;
        if last.value_from.is_some() { None } else { Some(last.value.clone().unwrap_or_default()) }
    };
    expand(word, value_of)
}

fn http_get(get: &HTTPGetAction, owner: &Container, field: &str) -> Result<HttpGet, PodSpecError> {
    // k8s: 3.d.7
    let scheme = match get.scheme.as_deref().unwrap_or("HTTP") {
        "HTTP" | "" => Scheme::Http,
        "HTTPS" => Scheme::Https,
        other => return Err(unsupported(&format!("{field}.httpGet.scheme"), other)),
    };
    Ok(HttpGet {
        host: get.host.clone().filter(|host| !host.is_empty()),
        port: http_port(&get.port, owner),
        path: get.path.clone().filter(|path| !path.is_empty()).unwrap_or_else(|| "/".to_owned()),
        scheme,
        headers: get.http_headers.iter().flatten().map(|header| (header.name.clone(), header.value.clone())).collect(),
    })
}

/// k8s: 3.d.5, 3.d.6: a number, or a name among the container's own ports, or a number written as text.
fn http_port(port: &IntOrString, owner: &Container) -> HttpPort {
    let number = match port {
        IntOrString::Int(number) => i64::from(*number),
        IntOrString::String(text) => {
            let named = owner.ports.iter().flatten().find(|port| port.name.as_deref() == Some(text.as_str()));
            match named.map_or_else(|| atoi(text), |port| Ok(i64::from(port.container_port))) {
                Ok(number) => number,
                Err(message) => return HttpPort::Unresolved(message),
            }
        }
    };
    match u16::try_from(number) {
        Ok(usable) if usable > 0 => HttpPort::Number(usable),
        Ok(_) | Err(_) => HttpPort::Unresolved(format!("invalid port number: {number}")),
    }
}

/// Go's `strconv.Atoi`, with the text of its errors.
fn atoi(text: &str) -> Result<i64, String> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!("strconv.Atoi: parsing {}: invalid syntax", quote(text)));
    }
    text.parse().map_err(|_| format!("strconv.Atoi: parsing {}: value out of range", quote(text)))
}

fn non_negative(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

fn missing(field: &str) -> PodSpecError {
    PodSpecError::Missing { field: field.to_owned() }
}

fn unsupported(field: &str, value: &str) -> PodSpecError {
    PodSpecError::Unsupported { field: field.to_owned(), value: value.to_owned() }
}

#[cfg(test)]
mod tests;
