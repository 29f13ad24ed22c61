//! What the runtime is told of a sandbox and of a container: a Pod's fields as CRI's.
//!
//! Not a decision about the pod's life, and not its volumes: those are in [`PodFiles`] already. Of the file system only what belongs
//! to one instance is touched here: its termination log, the parts of volumes that it mounts, and a hostPath that is missing.
//! An error here is the user's to mend: the container waits with `CreateContainerConfigError` (k8s: 2.c.6), and the text is the
//! reference's.

pub(crate) mod environment;
pub(crate) mod field_ref;
mod mounts;
pub(crate) mod resources;
mod sandbox;
mod security;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use k8s_openapi::api::core::v1::{Container, Pod};
use runtime::{ContainerConfig, ImageStatus};

pub use crate::objects::Objects;
pub use environment::EnvironmentError;
pub use field_ref::FieldRefError;
pub use mounts::MountsError;
pub use sandbox::sandbox_config;
pub use security::SecurityError;

use crate::convert::container_of;
use crate::expansion::expand;
use crate::machine::Machine;
use crate::pod_files::PodFiles;
use crate::pod_world::NodeConfig;
use crate::quantity::QuantityError;

/// What a container's configuration needs beside the pod.
#[derive(Debug)]
pub struct ConfigContext<'a> {
    /// The node.
    pub node: &'a NodeConfig,
    /// The pod's folder, with its volumes.
    pub files: &'a PodFiles,
    /// ConfigMaps and Secrets.
    pub objects: &'a Objects,
    /// The container's image.
    pub image: &'a ImageStatus,
    /// The images that it mounts, by the names that the pod has for them.
    pub volume_images: &'a BTreeMap<String, ImageStatus>,
    /// Addresses of the pod, primary family first; on the node's network none.
    pub ips: &'a [IpAddr],
    /// The instance's log file.
    pub log_path: PathBuf,
}

/// A container cannot be configured as its pod wants it; the text is for users.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The pod has no such container.
    #[error("the pod has no container {container:?}")]
    NoContainer {
        /// The name.
        container: String,
    },
    /// A field that this engine cannot satisfy.
    #[error("{field} of container {container:?} is not supported")]
    Unsupported {
        /// The field.
        field: &'static str,
        /// The container.
        container: String,
    },
    /// Its environment cannot be had.
    #[error(transparent)]
    Environment(#[from] EnvironmentError),
    /// What it wants to mount cannot be had.
    #[error(transparent)]
    Mounts(#[from] MountsError),
    /// Its security context cannot be satisfied.
    #[error(transparent)]
    Security(#[from] SecurityError),
    /// One of its resources is no quantity.
    #[error(transparent)]
    Quantity(#[from] QuantityError),
}

/// What the runtime is to be told of an instance of a container, after `restart_count` others.
pub fn container_config(
    pod: &Pod,
    container: &str,
    restart_count: u32,
    context: &ConfigContext<'_>,
) -> Result<ContainerConfig, ConfigError> {
    let spec = container_of(pod, container).ok_or_else(|| ConfigError::NoContainer { container: container.to_owned() })?;
    let spec = &*spec;
    refuse_unsupported(spec)?;
    let machine = Machine::this();
    let facts = field_ref::PodFacts { pod, node_name: &context.node.node_name, node_ips: &context.node.host_ips, pod_ips: context.ips };
    let envs = environment::environment(spec, &facts, &machine, context.objects)?;
    let security = security::security_context(pod, spec, context.image, &context.node.root.join("seccomp"))?;
    let sources = mounts::Sources { files: context.files, images: context.volume_images };
    let words = |words: &Option<Vec<String>>| words.iter().flatten().map(|word| expand(word, |name| lookup(&envs, name))).collect();
    let mut resources = resources::container_resources(pod, spec, &machine)?;
    // The pod's limit, said again: with version 1 of control groups only what has a limit of its own is counted.
    resources.pids_limit = context.node.pod_pids_max.map(i64::from);
    Ok(ContainerConfig {
        pod_uid: pod.metadata.uid.clone().unwrap_or_default(),
        name: spec.name.clone(),
        attempt: restart_count,
        image_id: context.image.id.clone(),
        command: words(&spec.command),
        args: words(&spec.args),
        working_dir: spec.working_dir.clone().filter(|dir| !dir.is_empty()),
        mounts: mounts::mounts(pod, spec, restart_count, sources, &envs)?,
        log_path: context.log_path.clone(),
        log_max_bytes: context.node.log_max_bytes,
        log_max_files: context.node.log_max_files,
        stdin: spec.stdin.unwrap_or(false),
        tty: spec.tty.unwrap_or(false),
        target_id: None,
        // k8s: 3.g.1
        stop_signal: spec.lifecycle.as_ref().and_then(|lifecycle| lifecycle.stop_signal.clone()),
        resources,
        security,
        envs,
    })
}

fn refuse_unsupported(container: &Container) -> Result<(), ConfigError> {
    let unsupported = |field| Err(ConfigError::Unsupported { field, container: container.name.clone() });
    if container.volume_devices.as_ref().is_some_and(|devices| !devices.is_empty()) {
        return unsupported("volumeDevices");
    }
    if container.resources.as_ref().and_then(|resources| resources.claims.as_ref()).is_some_and(|claims| !claims.is_empty()) {
        return unsupported("resources.claims");
    }
    Ok(())
}

/// The value that a variable has in the environment.
fn lookup(envs: &[(String, String)], name: &str) -> Option<String> {
    envs.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value.clone())
}

#[cfg(test)]
mod tests;
