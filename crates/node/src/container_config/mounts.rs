//! What a container sees of the node: its volumes, its termination log, and the three files in `/etc`.
//!
//! In the order of depth, so that a mount inside of another one is not hidden by it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

use k8s_openapi::api::core::v1::{Container, Pod, VolumeMount};
use runtime::{ImageStatus, Mount, MountPropagation};

use crate::expansion::expand;
use crate::pod_files::{PodFiles, SubPath, SubPathError};

/// k8s: 1.a.3
const TERMINATION_LOG_PATH: &str = "/dev/termination-log";

/// What a container wants to mount cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum MountsError {
    /// There is no such volume.
    #[error("cannot find volume {volume:?} to mount into container {container:?}")]
    NoVolume {
        /// The volume.
        volume: String,
        /// The container.
        container: String,
    },
    /// A variable in `subPathExpr` is not set.
    #[error("missing value for {}", names.join(", "))]
    SubPathVariables {
        /// Which, in order.
        names: Vec<String>,
    },
    /// A part of a volume cannot be mounted.
    #[error(transparent)]
    SubPath(#[from] SubPathError),
    /// A mode of propagation that does not exist.
    #[error("invalid MountPropagation mode: {mode:?}")]
    Propagation {
        /// The mode.
        mode: String,
    },
    /// A hostPath without a type is missing, and cannot be made.
    #[error("failed to mkdir {}", path.display())]
    HostPath {
        /// The path.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The termination log cannot be made.
    #[error("cannot make the termination log of container {container:?}")]
    TerminationLog {
        /// The container.
        container: String,
        /// Why.
        source: std::io::Error,
    },
}

/// Where volumes come from.
#[derive(Clone, Copy)]
pub(super) struct Sources<'a> {
    /// The pod's folder.
    pub(super) files: &'a PodFiles,
    /// The images that the pod mounts, by the names that it has for them.
    pub(super) images: &'a BTreeMap<String, ImageStatus>,
}

/// All mounts of an instance of the container.
pub(super) fn mounts(
    pod: &Pod,
    container: &Container,
    restart_count: u32,
    sources: Sources<'_>,
    envs: &[(String, String)],
) -> Result<Vec<Mount>, MountsError> {
    let files = sources.files;
    let mut mounts = Vec::new();
    for (index, wanted) in container.volume_mounts.iter().flatten().enumerate() {
        let mount = match image_mount(pod, container, wanted, sources.images)? {
            Some(mount) => mount,
            None => volume_mount(pod, container, (index, wanted), files, envs)?,
        };
        mounts.push(mount);
    }
    let taken: BTreeSet<PathBuf> = mounts.iter().map(|mount| mount.container_path.clone()).collect();
    let add = |mounts: &mut Vec<Mount>, host_path: PathBuf, container_path: PathBuf, readonly: bool| {
        if !taken.contains(&container_path) {
            mounts.push(Mount { host_path, container_path, readonly, ..Mount::default() });
        }
    };
    let is_root_readonly = container.security_context.as_ref().and_then(|own| own.read_only_root_filesystem).unwrap_or(false);
    add(&mut mounts, files.etc_hosts(), PathBuf::from("/etc/hosts"), false);
    add(&mut mounts, files.etc_hostname(), PathBuf::from("/etc/hostname"), is_root_readonly);
    add(&mut mounts, files.resolv_conf(), PathBuf::from("/etc/resolv.conf"), is_root_readonly);
    let log = files.make_termination_log(&container.name, restart_count);
    let log = log.map_err(|source| MountsError::TerminationLog { container: container.name.clone(), source })?;
    let path = container.termination_message_path.as_deref().filter(|path| !path.is_empty()).unwrap_or(TERMINATION_LOG_PATH);
    add(&mut mounts, log, absolute(path), false);
    mounts.sort_by_key(|mount| mount.container_path.components().count());
    Ok(mounts)
}

/// The files of an image, which nobody can write; `None` for volumes of another kind.
fn image_mount(
    pod: &Pod,
    container: &Container,
    wanted: &VolumeMount,
    images: &BTreeMap<String, ImageStatus>,
) -> Result<Option<Mount>, MountsError> {
    let mut volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    let Some(source) = volumes.find(|volume| volume.name == wanted.name).and_then(|volume| volume.image.as_ref()) else {
        return Ok(None);
    };
    let no_volume = || MountsError::NoVolume { volume: wanted.name.clone(), container: container.name.clone() };
    let image = images.get(source.reference.as_deref().unwrap_or_default()).ok_or_else(no_volume)?;
    Ok(Some(Mount {
        image_id: Some(image.id.clone()),
        container_path: absolute(&wanted.mount_path),
        readonly: true,
        propagation: propagation(wanted)?,
        ..Mount::default()
    }))
}

fn volume_mount(
    pod: &Pod,
    container: &Container,
    (index, wanted): (usize, &VolumeMount),
    files: &PodFiles,
    envs: &[(String, String)],
) -> Result<Mount, MountsError> {
    let no_volume = || MountsError::NoVolume { volume: wanted.name.clone(), container: container.name.clone() };
    let volume = files.volume_path(pod, &wanted.name).ok_or_else(no_volume)?;
    if volume.is_made_when_missing && !volume.path.exists() {
        std::fs::create_dir_all(&volume.path).map_err(|source| MountsError::HostPath { path: volume.path.clone(), source })?;
    }
    let sub_path = sub_path(wanted, envs)?;
    let host_path = if sub_path.is_empty() {
        volume.path
    } else {
        let part = SubPath { volume_path: &volume.path, volume: &wanted.name, container: &container.name, index, sub_path: &sub_path };
        files.stage_sub_path(part)?
    };
    let readonly = wanted.read_only.unwrap_or(false) || volume.is_read_only;
    Ok(Mount {
        image_id: None,
        host_path,
        container_path: absolute(&wanted.mount_path),
        readonly,
        recursive_readonly: readonly && matches!(wanted.recursive_read_only.as_deref(), Some("Enabled" | "IfPossible")),
        propagation: propagation(wanted)?,
    })
}

fn sub_path(wanted: &VolumeMount, envs: &[(String, String)]) -> Result<String, MountsError> {
    let Some(expression) = wanted.sub_path_expr.as_deref().filter(|expression| !expression.is_empty()) else {
        return Ok(wanted.sub_path.clone().unwrap_or_default());
    };
    let mut missing = BTreeSet::new();
    let path = expand(expression, |name| {
        let value = super::lookup(envs, name).filter(|value| !value.is_empty());
        if value.is_none() {
            missing.insert(name.to_owned());
        }
        value
    });
    if missing.is_empty() { Ok(path) } else { Err(MountsError::SubPathVariables { names: missing.into_iter().collect() }) }
}

fn propagation(wanted: &VolumeMount) -> Result<MountPropagation, MountsError> {
    match wanted.mount_propagation.as_deref() {
        None | Some("None") => Ok(MountPropagation::Private),
        Some("HostToContainer") => Ok(MountPropagation::HostToContainer),
        Some("Bidirectional") => Ok(MountPropagation::Bidirectional),
        Some(other) => Err(MountsError::Propagation { mode: other.to_owned() }),
    }
}

/// The path from the root, without `.` and `..`: what a container names must not lead out of it.
fn absolute(path: &str) -> PathBuf {
    let mut clean = PathBuf::from("/");
    for component in Path::new(path).components() {
        match component {
            Component::Normal(name) => clean.push(name),
            Component::ParentDir => {
                clean.pop();
            }
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    clean
}

#[cfg(test)]
mod tests;
