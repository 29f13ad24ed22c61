//! Volumes whose content the engine writes: configMap, secret, downwardAPI, projected.
//!
//! What a container sees changes in one step, as in the reference: the files are in a folder of their own, `..data` is a link to
//! it, and each file is a link through `..data`.
//!
//! ```text
//! ..2026_11_23_13_55_29.123456789/key
//! ..data -> ..2026_11_23_13_55_29.123456789
//! key    -> ..data/key
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Component, Path, PathBuf};

use k8s_openapi::api::core::v1::{DownwardAPIVolumeFile, KeyToPath, Pod, Volume};
use k8s_openapi::jiff;

use super::empty_dir::{Medium, make_empty_dir};
use super::ownership::{Access, give_to_group};
use super::set_mode;
use super::volume::VolumeProblem;
use crate::clock;
use crate::container_config::FieldRefError;
use crate::container_config::field_ref::{PodFacts, field_value, resource_value};
use crate::machine::Machine;
use crate::objects::Objects;

/// Mode of files whose volume names none.
const FILE_MODE: i32 = 0o644;
/// Mode of the folders in which the files are.
const DIR_MODE: u32 = 0o755;
/// The link through which all files are seen.
const DATA: &str = "..data";
/// Where the next such link is made ready.
const DATA_NEXT: &str = "..data_tmp";

/// The content of a volume cannot be had; texts as in the reference.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PayloadError {
    /// An object that is not optional is not there.
    #[error("{kind} {name:?} not found")]
    NoObject {
        /// `configmap` or `secret`.
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// The ConfigMap is there, the key is not.
    #[error("configmap references non-existent config key: {key}")]
    NoConfigKey {
        /// The key.
        key: String,
    },
    /// The Secret is there, the key is not.
    #[error("references non-existent secret key: {key}")]
    NoSecretKey {
        /// The key.
        key: String,
    },
    /// A file would be outside of the volume.
    #[error("invalid path {path:?}: must be relative, without '..'")]
    Path {
        /// Its path.
        path: String,
    },
    /// A source that the engine does not have.
    #[error("projected.sources[{index}].{field} is not supported")]
    Unsupported {
        /// Its place.
        index: usize,
        /// Its field.
        field: &'static str,
    },
    /// A field of the pod cannot be told.
    #[error(transparent)]
    Field(#[from] FieldRefError),
}

/// The files of a volume, by their path in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Payload {
    files: BTreeMap<String, File>,
    medium: Option<Medium>,
}

#[derive(Clone, PartialEq, Eq)]
struct File {
    content: Vec<u8>,
    mode: u32,
}

/// Without the content, which may be secret.
impl std::fmt::Debug for File {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes, mode {:o}", self.content.len(), self.mode)
    }
}

/// An object's data by key.
type Data = BTreeMap<String, Vec<u8>>;

/// The content of a volume that the engine writes; `None` for other volumes.
pub(super) fn payload(pod: &Pod, volume: &Volume, objects: &Objects, machine: &Machine) -> Result<Option<Payload>, PayloadError> {
    let source = Source { pod, objects, machine };
    // Secrets never reach a disk; configMaps may.
    let in_memory = Some(Medium::Memory { bytes_max: None });
    let mut payload = Payload { files: BTreeMap::new(), medium: in_memory };
    if let Some(wanted) = &volume.config_map {
        payload.medium = Some(Medium::Disk);
        let data = source.config_map(&wanted.name, wanted.optional)?;
        payload.add(data, wanted.items.as_deref(), wanted.optional, wanted.default_mode, no_config_key)?;
    } else if let Some(wanted) = &volume.secret {
        let data = source.secret(wanted.secret_name.as_deref().unwrap_or_default(), wanted.optional)?;
        payload.add(data, wanted.items.as_deref(), wanted.optional, wanted.default_mode, no_secret_key)?;
    } else if let Some(wanted) = &volume.downward_api {
        source.add_fields(&mut payload, wanted.items.as_deref(), wanted.default_mode)?;
    } else if let Some(wanted) = &volume.projected {
        for (index, projection) in wanted.sources.iter().flatten().enumerate() {
            if let Some(part) = &projection.config_map {
                let data = source.config_map(&part.name, part.optional)?;
                payload.add(data, part.items.as_deref(), part.optional, wanted.default_mode, no_config_key)?;
            } else if let Some(part) = &projection.secret {
                let data = source.secret(&part.name, part.optional)?;
                payload.add(data, part.items.as_deref(), part.optional, wanted.default_mode, no_secret_key)?;
            } else if let Some(part) = &projection.downward_api {
                source.add_fields(&mut payload, part.items.as_deref(), wanted.default_mode)?;
            } else if projection.service_account_token.is_some() {
                return Err(PayloadError::Unsupported { index, field: "serviceAccountToken" });
            } else if projection.cluster_trust_bundle.is_some() {
                return Err(PayloadError::Unsupported { index, field: "clusterTrustBundle" });
            } else if projection.pod_certificate.is_some() {
                return Err(PayloadError::Unsupported { index, field: "podCertificate" });
            }
        }
    } else {
        return Ok(None);
    }
    Ok(Some(payload))
}

fn no_config_key(key: String) -> PayloadError {
    PayloadError::NoConfigKey { key }
}

fn no_secret_key(key: String) -> PayloadError {
    PayloadError::NoSecretKey { key }
}

impl Payload {
    fn add(
        &mut self,
        data: Data,
        items: Option<&[KeyToPath]>,
        optional: Option<bool>,
        default_mode: Option<i32>,
        no_key: fn(String) -> PayloadError,
    ) -> Result<(), PayloadError> {
        let default_mode = default_mode.unwrap_or(FILE_MODE);
        let Some(items) = items.filter(|items| !items.is_empty()) else {
            return data.into_iter().try_for_each(|(key, content)| self.insert(&key, content, default_mode));
        };
        for item in items {
            match data.get(&item.key) {
                Some(content) => self.insert(&item.path, content.clone(), item.mode.unwrap_or(default_mode))?,
                None if optional == Some(true) => {}
                None => return Err(no_key(item.key.clone())),
            }
        }
        Ok(())
    }

    fn insert(&mut self, path: &str, content: Vec<u8>, mode: i32) -> Result<(), PayloadError> {
        let is_inside = Path::new(path).components().all(|component| matches!(component, Component::Normal(_) | Component::CurDir));
        if path.is_empty() || !is_inside || path.starts_with("..") {
            return Err(PayloadError::Path { path: path.to_owned() });
        }
        self.files.insert(path.to_owned(), File { content, mode: mode.cast_unsigned() & 0o777 });
        Ok(())
    }
}

/// What contents are made from.
struct Source<'a> {
    pod: &'a Pod,
    objects: &'a Objects,
    machine: &'a Machine,
}

impl Source<'_> {
    fn namespace(&self) -> &str {
        self.pod.metadata.namespace.as_deref().unwrap_or_default()
    }

    fn config_map(&self, name: &str, optional: Option<bool>) -> Result<Data, PayloadError> {
        match self.objects.config_map(self.namespace(), name) {
            Some(object) => {
                let text = object.data.iter().flatten().map(|(key, value)| (key.clone(), value.clone().into_bytes()));
                let binary = object.binary_data.iter().flatten().map(|(key, value)| (key.clone(), value.0.clone()));
                Ok(text.chain(binary).collect())
            }
            None if optional == Some(true) => Ok(Data::new()),
            None => Err(PayloadError::NoObject { kind: "configmap", name: name.to_owned() }),
        }
    }

    fn secret(&self, name: &str, optional: Option<bool>) -> Result<Data, PayloadError> {
        match self.objects.secret(self.namespace(), name) {
            Some(object) => Ok(object.data.iter().flatten().map(|(key, value)| (key.clone(), value.0.clone())).collect()),
            None if optional == Some(true) => Ok(Data::new()),
            None => Err(PayloadError::NoObject { kind: "secret", name: name.to_owned() }),
        }
    }

    fn add_fields(
        &self,
        payload: &mut Payload,
        items: Option<&[DownwardAPIVolumeFile]>,
        default_mode: Option<i32>,
    ) -> Result<(), PayloadError> {
        for item in items.unwrap_or_default() {
            let value = match (&item.field_ref, &item.resource_field_ref) {
                (Some(field), _) => {
                    if !field.field_path.starts_with("metadata.") {
                        return Err(FieldRefError::Path { path: field.field_path.clone() }.into());
                    }
                    field_value(&field.field_path, &PodFacts { pod: self.pod, node_name: "", node_ips: &[], pod_ips: &[] })?
                }
                (None, Some(selector)) => resource_value(selector, self.pod, None, self.machine)?,
                (None, None) => String::new(),
            };
            payload.insert(&item.path, value.into_bytes(), item.mode.or(default_mode).unwrap_or(FILE_MODE))?;
        }
        Ok(())
    }
}

/// Writes a volume's content, or changes it in one step if it is there already.
pub(super) fn write_volume(dir: &Path, payload: &Payload, fs_group: Option<i64>) -> Result<(), VolumeProblem> {
    make_empty_dir(dir, payload.medium.as_ref().unwrap_or(&Medium::Disk), fs_group)?;
    replace(dir, payload, fs_group).map_err(|source| VolumeProblem::io("write", dir, source))
}

/// The same for a volume that is there already, if it holds something else; whether it did.
pub(super) fn update_volume(dir: &Path, payload: &Payload, fs_group: Option<i64>) -> Result<bool, VolumeProblem> {
    // Not made yet: it will be made with what there is then.
    if !dir.exists() || holds(dir, payload) {
        return Ok(false);
    }
    write_volume(dir, payload, fs_group).map(|()| true)
}

/// Whether a volume holds exactly these files. Their modes may have group rights beside, which fsGroup adds.
fn holds(dir: &Path, payload: &Payload) -> bool {
    let mut found = 0;
    let data = dir.join(DATA);
    let is_same = |(path, file): (&String, &File)| {
        let place = data.join(path);
        let mode = fs::metadata(&place).map(|metadata| metadata.permissions().mode());
        mode.is_ok_and(|mode| mode & file.mode == file.mode) && fs::read(&place).is_ok_and(|content| content == file.content)
    };
    payload.files.iter().all(is_same) && count_files(&data, &mut found).is_ok() && found == payload.files.len()
}

fn count_files(dir: &Path, found: &mut usize) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            count_files(&entry.path(), found)?;
        } else {
            *found += 1;
        }
    }
    Ok(())
}

fn replace(dir: &Path, payload: &Payload, fs_group: Option<i64>) -> io::Result<()> {
    let name = folder_name();
    let fresh = dir.join(&name);
    fs::create_dir(&fresh)?;
    set_mode(&fresh, DIR_MODE)?;
    for (path, file) in &payload.files {
        write_file(&fresh, Path::new(path), file)?;
    }
    give_to_group(&fresh, fs_group, Access::ReadOnly)?;
    let next = dir.join(DATA_NEXT);
    remove_link(&next)?;
    symlink(&name, &next)?;
    fs::rename(&next, dir.join(DATA))?;
    link_files(dir, payload)?;
    remove_older(dir, &name)
}

/// Removes the folders of earlier contents. By their names, not by the old link: whoever could write here might have bent that.
fn remove_older(dir: &Path, current: &str) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        if name.as_encoded_bytes().starts_with(b"..") && name != current && entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

fn folder_name() -> String {
    let nanos = i128::from(clock::moment().wall_nanos);
    let at = jiff::Timestamp::from_nanosecond(nanos).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    format!("..{}", at.strftime("%Y_%m_%d_%H_%M_%S.%N"))
}

fn write_file(root: &Path, path: &Path, file: &File) -> io::Result<()> {
    let mut folder = root.to_owned();
    for component in path.parent().iter().flat_map(|parent| parent.components()) {
        folder.push(component);
        if !folder.exists() {
            fs::create_dir(&folder)?;
            set_mode(&folder, DIR_MODE)?;
        }
    }
    let mut written = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(root.join(path))?;
    written.write_all(&file.content)?;
    written.set_permissions(fs::Permissions::from_mode(file.mode))
}

/// Makes the links of files that are new, and removes those of files that are gone.
fn link_files(dir: &Path, payload: &Payload) -> io::Result<()> {
    let tops: BTreeSet<PathBuf> = payload.files.keys().filter_map(|path| top(path)).collect();
    for name in &tops {
        if fs::symlink_metadata(dir.join(name)).is_err() {
            symlink(Path::new(DATA).join(name), dir.join(name))?;
        }
    }
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = PathBuf::from(entry.file_name());
        if entry.file_type()?.is_symlink() && name != Path::new(DATA) && !tops.contains(&name) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// The first part of a path.
fn top(path: &str) -> Option<PathBuf> {
    Path::new(path)
        .components()
        .find(|component| matches!(component, Component::Normal(_)))
        .map(|component| PathBuf::from(component.as_os_str()))
}

fn remove_link(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests;
