//! The volumes of a pod: where each one is, what there is to make, and making it.

use std::io;
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::{HostPathVolumeSource, Pod, Volume};

use super::claim::{ChangePolicy, is_claim_name, make_claim};
use super::empty_dir::{Medium, make_empty_dir, medium};
use super::host_path::check_host_path;
use super::payload::{Payload, PayloadError, payload, update_volume, write_volume};
use super::{PRIVATE_DIR_MODE, PodFiles, blocking, make_private_dirs, set_mode};
use crate::error_chain;
use crate::machine::Machine;
use crate::objects::Objects;
use crate::quantity::QuantityError;

/// The volumes of a pod are not ready (k8s: 2.a.9).
#[derive(Debug, thiserror::Error)]
pub enum PrepareVolumesError {
    /// A folder could not be made (k8s: 2.a.8).
    #[error("error making pod data directories: mkdir {}", path.display())]
    Dir {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A volume could not be set up. With its cause after a colon this is the reference's text, blank before the colon included.
    #[error("MountVolume.SetUp failed for volume {volume:?} ")]
    Volume {
        /// Its name in the pod.
        volume: String,
        /// Why.
        source: VolumeProblem,
    },
}

impl PrepareVolumesError {
    /// Reason and text of the Event that tells it.
    pub fn event(&self) -> (&'static str, String) {
        match self {
            // k8s: 2.a.8
            Self::Dir { .. } => ("Failed", error_chain(self)),
            // k8s: 2.a.9
            Self::Volume { .. } => ("FailedMount", format!("Unable to attach or mount volumes: {}", error_chain(self))),
        }
    }
}

/// A volume could not be brought up to date; it shows what it showed before.
#[derive(Debug, thiserror::Error)]
#[error("cannot bring volume {volume:?} up to date")]
pub struct UpdateVolumesError {
    /// Its name in the pod.
    pub volume: String,
    /// Why.
    pub source: VolumeProblem,
}

/// Why a volume could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum VolumeProblem {
    /// The path of a hostPath goes upwards.
    #[error("invalid HostPath `{path}`: must not contain '..'")]
    Backsteps {
        /// The path.
        path: String,
    },
    /// What is at the path of a hostPath is something else, or nothing.
    #[error("hostPath type check failed: {path} is not a {expected}")]
    WrongType {
        /// The path.
        path: String,
        /// `directory`, `file`, …
        expected: &'static str,
    },
    /// The type of a hostPath is none.
    #[error("{type_} is an invalid volume type")]
    InvalidType {
        /// The type.
        type_: String,
    },
    /// The name of a claim is none, and could lead anywhere.
    #[error("persistentVolumeClaim.claimName {name:?} is no name of a claim")]
    ClaimName {
        /// What it is.
        name: String,
    },
    /// The engine has no such volumes.
    #[error("{what} is not supported")]
    Unsupported {
        /// The field that is set in the volume, and what it says.
        what: String,
    },
    /// A quantity in the volume cannot be read.
    #[error(transparent)]
    Quantity(#[from] QuantityError),
    /// The content of the volume cannot be had.
    #[error(transparent)]
    Payload(#[from] PayloadError),
    /// An emptyDir of large pages cannot be had.
    #[error("emptyDir.medium HugePages: {0}")]
    HugePages(String),
    /// The machine refused.
    #[error("{what} {}", path.display())]
    Io {
        /// The call, such as `mkdir`.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl VolumeProblem {
    pub(super) fn io(what: &'static str, path: &Path, source: impl Into<io::Error>) -> Self {
        Self::Io { what, path: path.to_owned(), source: source.into() }
    }
}

/// Where a volume's content is on the node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct VolumePath {
    /// A folder, or for a hostPath whatever it is.
    pub(crate) path: PathBuf,
    /// Its content is the engine's: containers may only read.
    pub(crate) is_read_only: bool,
    /// It is a hostPath without a type, which is made where it is missing.
    pub(crate) is_made_when_missing: bool,
}

/// The kinds that the engine has, as the folders of the reference name them.
enum Kind {
    EmptyDir,
    HostPath,
    ConfigMap,
    Secret,
    DownwardApi,
    Projected,
    Claim,
    Image,
}

impl Kind {
    fn of(volume: &Volume) -> Option<Self> {
        if volume.host_path.is_some() {
            Some(Self::HostPath)
        } else if volume.config_map.is_some() {
            Some(Self::ConfigMap)
        } else if volume.secret.is_some() {
            Some(Self::Secret)
        } else if volume.downward_api.is_some() {
            Some(Self::DownwardApi)
        } else if volume.projected.is_some() {
            Some(Self::Projected)
        } else if volume.persistent_volume_claim.is_some() {
            Some(Self::Claim)
        } else if volume.image.is_some() {
            Some(Self::Image)
        } else if volume.empty_dir.is_some() || foreign_source(volume).is_none() {
            // A volume without a source is an emptyDir.
            Some(Self::EmptyDir)
        } else {
            None
        }
    }

    const fn folder(&self) -> &'static str {
        match self {
            Self::EmptyDir => "kubernetes.io~empty-dir",
            Self::HostPath => "kubernetes.io~host-path",
            Self::ConfigMap => "kubernetes.io~configmap",
            Self::Secret => "kubernetes.io~secret",
            Self::DownwardApi => "kubernetes.io~downward-api",
            Self::Projected => "kubernetes.io~projected",
            Self::Claim => "kubernetes.io~local-volume",
            Self::Image => "kubernetes.io~image",
        }
    }
}

/// The field of a source that the engine does not have, if the volume has one.
fn foreign_source(volume: &Volume) -> Option<String> {
    let known = ["name", "emptyDir", "hostPath", "configMap", "secret", "downwardAPI", "projected", "persistentVolumeClaim", "image"];
    match serde_json::to_value(volume) {
        Ok(serde_json::Value::Object(fields)) => fields.keys().find(|field| !known.contains(&field.as_str())).cloned(),
        Ok(_) | Err(_) => None,
    }
}

/// What there is to do for one volume, everything about the pod already decided.
enum Plan {
    CheckHostPath(HostPathVolumeSource),
    MakeEmptyDir {
        dir: PathBuf,
        medium: Medium,
        fs_group: Option<i64>,
    },
    WritePayload {
        dir: PathBuf,
        payload: Payload,
        fs_group: Option<i64>,
    },
    MakeClaim {
        dir: PathBuf,
        fs_group: Option<i64>,
        policy: ChangePolicy,
    },
    /// It is mounted from where it is.
    Nothing,
}

impl Plan {
    fn carry_out(&self) -> Result<(), VolumeProblem> {
        match self {
            Self::CheckHostPath(source) => check_host_path(source),
            Self::MakeEmptyDir { dir, medium, fs_group } => make_empty_dir(dir, medium, *fs_group),
            Self::WritePayload { dir, payload, fs_group } => write_volume(dir, payload, *fs_group),
            Self::MakeClaim { dir, fs_group, policy } => make_claim(dir, *fs_group, *policy),
            Self::Nothing => Ok(()),
        }
    }
}

impl PodFiles {
    /// Makes all volumes of the pod, in their order. What is there already stays: it may be called again after a restart of the
    /// engine, or after an error.
    pub async fn prepare_volumes(&self, pod: &Pod, objects: &Objects) -> Result<(), PrepareVolumesError> {
        let plans = self.plans(pod, objects, &Machine::this())?;
        let dir = self.dir.clone();
        blocking(move || {
            for path in [dir.join("volumes"), dir.join("containers")] {
                make_private_dirs(&path).map_err(|source| PrepareVolumesError::Dir { path, source })?;
            }
            set_mode(&dir, PRIVATE_DIR_MODE).map_err(|source| PrepareVolumesError::Dir { path: dir, source })?;
            for (volume, plan) in plans {
                plan.carry_out().map_err(|source| PrepareVolumesError::Volume { volume, source })?;
            }
            Ok(())
        })
        .await
    }

    fn plans(&self, pod: &Pod, objects: &Objects, machine: &Machine) -> Result<Vec<(String, Plan)>, PrepareVolumesError> {
        let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
        let plans = volumes.map(|volume| {
            let name = volume.name.clone();
            match self.plan(pod, volume, objects, machine) {
                Ok(plan) => Ok((name, plan)),
                Err(source) => Err(PrepareVolumesError::Volume { volume: name, source }),
            }
        });
        plans.collect()
    }

    fn plan(&self, pod: &Pod, volume: &Volume, objects: &Objects, machine: &Machine) -> Result<Plan, VolumeProblem> {
        let Some(kind) = Kind::of(volume) else {
            let field = foreign_source(volume).unwrap_or_default();
            return Err(VolumeProblem::Unsupported { what: format!("volume source {field}") });
        };
        if let (Kind::HostPath, Some(source)) = (&kind, &volume.host_path) {
            return Ok(Plan::CheckHostPath(source.clone()));
        }
        let security = pod.spec.as_ref().and_then(|spec| spec.security_context.as_ref());
        let fs_group = security.and_then(|security| security.fs_group);
        if volume.image.is_some() {
            return Ok(Plan::Nothing);
        }
        if let Some(claim) = &volume.persistent_volume_claim {
            let policy = ChangePolicy::of(security.and_then(|security| security.fs_group_change_policy.as_deref()));
            return Ok(Plan::MakeClaim { dir: self.claim_dir(pod, &claim.claim_name)?, fs_group, policy });
        }
        let dir = self.volume_dir(&kind, &volume.name);
        Ok(match payload(pod, volume, objects, machine)? {
            Some(payload) => Plan::WritePayload { dir, payload, fs_group },
            None => Plan::MakeEmptyDir { dir, medium: medium(volume.empty_dir.as_ref(), pod, machine)?, fs_group },
        })
    }

    fn volume_dir(&self, kind: &Kind, name: &str) -> PathBuf {
        self.dir.join("volumes").join(kind.folder()).join(name)
    }

    /// Where the claim of this name of the pod's namespace is.
    fn claim_dir(&self, pod: &Pod, name: &str) -> Result<PathBuf, VolumeProblem> {
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        if is_claim_name(name) && is_claim_name(namespace) {
            Ok(self.claims.join(namespace).join(name))
        } else {
            Err(VolumeProblem::ClaimName { name: name.to_owned() })
        }
    }

    /// Writes what configMap, secret, downwardAPI and projected volumes hold anew where it is another by now: each volume changes in
    /// one step, as containers see it. Returns the names of those that changed. A volume that cannot be had any more stays as it is.
    ///
    /// # Errors
    /// Of the first volume with one; the others were written.
    pub async fn update_volumes(&self, pod: &Pod, objects: &Objects) -> Result<Vec<String>, UpdateVolumesError> {
        let machine = Machine::this();
        let volumes: Vec<_> = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten()).collect();
        let fs_group = pod.spec.as_ref().and_then(|spec| spec.security_context.as_ref()).and_then(|security| security.fs_group);
        let mut wanted = Vec::new();
        let mut failed = None;
        for volume in volumes {
            let Some(kind) = Kind::of(volume) else { continue };
            match payload(pod, volume, objects, &machine) {
                Ok(Some(payload)) => wanted.push((volume.name.clone(), self.volume_dir(&kind, &volume.name), payload)),
                Ok(None) => {}
                Err(source) => {
                    failed.get_or_insert(UpdateVolumesError { volume: volume.name.clone(), source: source.into() });
                }
            }
        }
        blocking(move || {
            let mut changed = Vec::new();
            for (volume, dir, payload) in wanted {
                match update_volume(&dir, &payload, fs_group) {
                    Ok(true) => changed.push(volume),
                    Ok(false) => {}
                    Err(source) => {
                        failed.get_or_insert(UpdateVolumesError { volume, source });
                    }
                }
            }
            failed.map_or(Ok(changed), Err)
        })
        .await
    }

    /// Where the content of a volume of the pod is; `None` if the pod has no such volume, or none of a known kind.
    pub(crate) fn volume_path(&self, pod: &Pod, name: &str) -> Option<VolumePath> {
        let mut volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
        let volume = volumes.find(|volume| volume.name == name)?;
        let kind = Kind::of(volume)?;
        if let Some(claim) = &volume.persistent_volume_claim {
            let path = self.claim_dir(pod, &claim.claim_name).ok()?;
            return Some(VolumePath { path, is_read_only: claim.read_only.unwrap_or(false), is_made_when_missing: false });
        }
        Some(match (&kind, &volume.host_path) {
            (Kind::HostPath, Some(source)) => VolumePath {
                path: PathBuf::from(&source.path),
                is_read_only: false,
                is_made_when_missing: source.type_.as_deref().unwrap_or_default().is_empty(),
            },
            (kind, _) => VolumePath {
                path: self.volume_dir(kind, name),
                is_read_only: !matches!(kind, Kind::EmptyDir | Kind::HostPath),
                is_made_when_missing: false,
            },
        })
    }
}

#[cfg(test)]
mod tests;
