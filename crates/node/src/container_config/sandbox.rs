//! What the runtime is told of a pod's sandbox.

use std::net::IpAddr;

use k8s_openapi::api::core::v1::{Container, Pod};
use runtime::{LinuxResources, PodSandboxConfig, PortMapping};

use super::resources::pod_resources;
use crate::machine::Machine;
use crate::pod_files::hostname;

/// What the runtime is to be told of the pod's sandbox, after `attempt` others.
///
/// Resources that are no quantities limit nothing here: the containers that have them are refused.
pub fn sandbox_config(pod: &Pod, attempt: u32) -> PodSandboxConfig {
    let spec = pod.spec.clone().unwrap_or_default();
    let host_network = spec.host_network.unwrap_or(false);
    let sysctls = spec.security_context.into_iter().flat_map(|security| security.sysctls.into_iter().flatten());
    let sidecars = spec.init_containers.iter().flatten().filter(|container| container.restart_policy.as_deref() == Some("Always"));
    let ports = spec.containers.iter().chain(sidecars).flat_map(port_mappings);
    PodSandboxConfig {
        name: pod.metadata.name.clone().unwrap_or_default(),
        namespace: pod.metadata.namespace.clone().unwrap_or_default(),
        uid: pod.metadata.uid.clone().unwrap_or_default(),
        attempt,
        hostname: if host_network { Machine::this().hostname } else { hostname(pod) },
        host_network,
        host_ipc: spec.host_ipc.unwrap_or(false),
        host_pid: spec.host_pid.unwrap_or(false),
        share_process_namespace: spec.share_process_namespace.unwrap_or(false),
        // On the node's network the ports are the node's own.
        port_mappings: if host_network { Vec::new() } else { ports.collect() },
        sysctls: sysctls.map(|sysctl| (sysctl.name, sysctl.value)).collect(),
        resources: pod_resources(pod).unwrap_or_else(|_| LinuxResources::default()),
        // Known to whoever knows the classes.
        runtime_handler: String::new(),
    }
}

fn port_mappings(container: &Container) -> impl Iterator<Item = PortMapping> {
    container.ports.iter().flatten().filter_map(|port| {
        Some(PortMapping {
            protocol: port.protocol.clone().unwrap_or_else(|| "TCP".to_owned()),
            host_ip: port.host_ip.as_deref().and_then(|ip| ip.parse().ok()).filter(|ip: &IpAddr| !ip.is_unspecified()),
            host_port: port.host_port.and_then(|port| u16::try_from(port).ok()).filter(|port| *port != 0)?,
            container_port: u16::try_from(port.container_port).ok()?,
        })
    })
}

#[cfg(test)]
mod tests;
