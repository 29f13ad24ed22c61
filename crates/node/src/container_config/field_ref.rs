//! Fields of the pod as text, for environment variables and `downwardAPI` volumes.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::IpAddr;

use k8s_openapi::api::core::v1::{Container, Pod, ResourceFieldSelector};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::resources::pod_level;
use crate::convert::container_of;
use crate::go_text::quote;
use crate::machine::Machine;
use crate::quantity::{Amount, QuantityError, div_ceil, saturate};

/// A field that cannot be told.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FieldRefError {
    /// There is no such field, or it may not be told.
    #[error("unsupported fieldPath: {path}")]
    Path {
        /// The path.
        path: String,
    },
    /// The pod has no such container.
    #[error("container {container} not found")]
    NoContainer {
        /// The name.
        container: String,
    },
    /// There is no such resource.
    #[error("unsupported container resource : {resource}")]
    Resource {
        /// The name.
        resource: String,
    },
    /// A resource is no quantity.
    #[error(transparent)]
    Quantity(#[from] QuantityError),
}

/// What fields can tell of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PodFacts<'a> {
    pub(crate) pod: &'a Pod,
    pub(crate) node_name: &'a str,
    pub(crate) node_ips: &'a [IpAddr],
    pub(crate) pod_ips: &'a [IpAddr],
}

/// The value of a `fieldRef`.
pub(crate) fn field_value(path: &str, facts: &PodFacts<'_>) -> Result<String, FieldRefError> {
    let metadata = &facts.pod.metadata;
    let spec = facts.pod.spec.as_ref();
    let list = |ips: &[IpAddr]| ips.iter().map(ToString::to_string).collect::<Vec<_>>();
    // k8s: 8.f.4
    let uses_host_network = spec.and_then(|spec| spec.host_network).unwrap_or(false);
    let pod_ips = if uses_host_network { facts.node_ips } else { facts.pod_ips };
    if let Some((map, key)) = subscript(path) {
        let entries = match map {
            "metadata.labels" => &metadata.labels,
            "metadata.annotations" => &metadata.annotations,
            _ => return Err(FieldRefError::Path { path: path.to_owned() }),
        };
        return Ok(entries.as_ref().and_then(|entries| entries.get(key)).cloned().unwrap_or_default());
    }
    Ok(match path {
        "metadata.name" => metadata.name.clone().unwrap_or_default(),
        "metadata.namespace" => metadata.namespace.clone().unwrap_or_default(),
        "metadata.uid" => metadata.uid.clone().unwrap_or_default(),
        "metadata.labels" => format_map(metadata.labels.as_ref()),
        "metadata.annotations" => format_map(metadata.annotations.as_ref()),
        "spec.nodeName" => {
            let named = spec.and_then(|spec| spec.node_name.clone()).filter(|name| !name.is_empty());
            named.unwrap_or_else(|| facts.node_name.to_owned())
        }
        "spec.serviceAccountName" => spec.and_then(|spec| spec.service_account_name.clone()).unwrap_or_default(),
        "status.hostIP" => list(facts.node_ips).into_iter().next().unwrap_or_default(),
        "status.hostIPs" => list(facts.node_ips).join(","),
        "status.podIP" => list(pod_ips).into_iter().next().unwrap_or_default(),
        "status.podIPs" => list(pod_ips).join(","),
        other => return Err(FieldRefError::Path { path: other.to_owned() }),
    })
}

/// `metadata.labels['key']` as its two parts.
fn subscript(path: &str) -> Option<(&str, &str)> {
    path.strip_suffix("']")?.split_once("['")
}

/// One `key="value"` a line, in the order of the keys.
fn format_map(entries: Option<&BTreeMap<String, String>>) -> String {
    let lines: Vec<_> = entries.into_iter().flatten().map(|(key, value)| format!("{key}={}", quote(value))).collect();
    lines.join("\n")
}

/// The value of a `resourceFieldRef`; `own` is the container that asks.
pub(crate) fn resource_value(
    selector: &ResourceFieldSelector,
    pod: &Pod,
    own: Option<&Container>,
    machine: &Machine,
) -> Result<String, FieldRefError> {
    let named = selector.container_name.as_deref().filter(|name| !name.is_empty());
    let container = named.map_or_else(|| own.map(Cow::Borrowed), |name| container_of(pod, name));
    let container = container.ok_or_else(|| FieldRefError::NoContainer { container: named.unwrap_or_default().to_owned() })?;
    let unknown = || FieldRefError::Resource { resource: selector.resource.clone() };
    let (side, name) = selector.resource.split_once('.').ok_or_else(unknown)?;
    if !matches!(name, "cpu" | "memory" | "ephemeral-storage") && !name.starts_with("hugepages-") {
        return Err(unknown());
    }
    let resources = container.resources.as_ref();
    let given = |list: Option<&BTreeMap<String, Quantity>>| list.and_then(|list| list.get(name)).map(Amount::parse).transpose();
    let amount = match side {
        "limits" => match given(resources.and_then(|resources| resources.limits.as_ref()))? {
            Some(limit) if !limit.is_zero() => limit,
            // Without a limit of its own a container has the pod's, and without one there all of the node.
            Some(_) | None => match pod_level(pod, name, |resources| resources.limits.as_ref())? {
                Some(limit) => limit,
                None => allocatable(name, machine),
            },
        },
        "requests" => given(resources.and_then(|resources| resources.requests.as_ref()))?.unwrap_or_default(),
        _ => return Err(unknown()),
    };
    let divisor = selector.divisor.as_ref().map(Amount::parse).transpose()?.filter(|divisor| !divisor.is_zero());
    let divisor = divisor.unwrap_or(Amount::from_units(1));
    let (amount, divisor) = if name == "cpu" { (amount.millis(), divisor.millis()) } else { (amount.units(), divisor.units()) };
    Ok(saturate(div_ceil(i128::from(amount), i128::from(divisor.max(1)))).to_string())
}

fn allocatable(name: &str, machine: &Machine) -> Amount {
    match name {
        "cpu" => Amount::from_millis(machine.cpu_millis),
        "memory" => Amount::from_units(machine.memory_bytes),
        _ => Amount::default(),
    }
}

#[cfg(test)]
mod tests;
