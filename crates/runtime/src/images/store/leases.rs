//! Leases: which layers must not be removed, and for whom.
//!
//! A [`Lease`] belongs to a container and names the directory of its pod's state: it is void once that is gone, so nobody
//! has to clean up for a pod whose engine crashed. A [`WorkLease`] belongs to a process that is adding an image and lasts
//! as long as the process holds its lock.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tracing::debug;

use super::images::Image;
use super::lock::FileLock;
use super::{Durability, ImageStore, StoreError, read_bounded, temp};
use crate::images::digest::Digest;

const WORK_PREFIX: &str = "work-";
/// Largest lease: a hundred layers, and paths.
const LEASE_BYTES_MAX: u64 = 1024 * 1024;

/// A container's claim on the layers of its image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lease {
    /// The directory of the pod's state; the lease is void once it does not exist.
    pub pod_dir: PathBuf,
    /// The container, unique within the pod's directory.
    pub container: String,
    /// The image.
    pub image: Digest,
    /// `diff_id`s of its layers.
    layers: Vec<Digest>,
}

/// A claim on layers by this process, until dropped.
#[derive(Debug)]
pub(crate) struct WorkLease {
    path: PathBuf,
    _lock: FileLock,
}

impl Drop for WorkLease {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.path) {
            debug!(path = %self.path.display(), %error, "lease not removed");
        }
    }
}

impl ImageStore {
    /// Claims the layers of `image` for a container of the pod whose state is in `pod_dir`, which must exist. Claiming
    /// again for the same container replaces the claim.
    pub async fn lease(&self, image: &Image, pod_dir: &Path, container: &str) -> Result<(), StoreError> {
        let layers = image.diff_ids.clone();
        let pod_dir = std::path::absolute(pod_dir).map_err(|source| StoreError::io("lease for", pod_dir, source))?;
        let lease = Lease { pod_dir, container: container.to_owned(), image: image.id.clone(), layers };
        self.blocking(move |store| {
            let path = store.lease_path(&lease.pod_dir, &lease.container);
            let _lock = store.lock()?;
            // A prune may have come first; under the lock it cannot come in between.
            for layer in &lease.layers {
                if store.stored_layer(layer)?.is_none() {
                    let error = io::Error::new(io::ErrorKind::NotFound, "the layer was removed");
                    return Err(StoreError::io("lease", &store.layer_dir(layer), error));
                }
            }
            let bytes = serde_json::to_vec(&lease).map_err(|error| StoreError::io("write", &path, error.into()))?;
            store.replace_file(&path, &bytes, Durability::PowerLoss)
        })
        .await
    }

    /// Gives up the claim of one container. Without one, nothing happens.
    pub async fn release(&self, pod_dir: &Path, container: &str) -> Result<(), StoreError> {
        let pod_dir = std::path::absolute(pod_dir).map_err(|source| StoreError::io("release for", pod_dir, source))?;
        let path = self.lease_path(&pod_dir, container);
        self.blocking(move |store| {
            let _lock = store.lock()?;
            remove_lease(&path)
        })
        .await
    }

    /// All claims of containers whose pods still have their state.
    pub async fn leases(&self) -> Result<Vec<Lease>, StoreError> {
        self.blocking(|store| {
            let lock = store.lock()?;
            Ok(store.leases_locked(&lock)?.0)
        })
        .await
    }

    /// Claims layers while an image is being added.
    pub(crate) fn work_lease(&self, layers: &[Digest]) -> Result<WorkLease, StoreError> {
        let path = self.dir("leases").join(format!("{WORK_PREFIX}{}", temp::random_name()?));
        let store_lock = self.lock()?;
        let bytes = serde_json::to_vec(layers).map_err(|error| StoreError::io("write", &path, error.into()))?;
        self.replace_file(&path, &bytes, Durability::Process)?;
        let lock = FileLock::try_acquire(&path)?.ok_or(StoreError::Busy { path: path.clone(), waited: self.config().lock_wait })?;
        drop(store_lock);
        Ok(WorkLease { path, _lock: lock })
    }

    /// Valid leases of containers, and all layers that any lease claims. Void leases are removed.
    pub(super) fn leases_locked(&self, _lock: &FileLock) -> Result<(Vec<Lease>, BTreeSet<Digest>), StoreError> {
        let directory = self.dir("leases");
        let io_error = |source| StoreError::io("list", &directory, source);
        let (mut leases, mut claimed) = (Vec::new(), BTreeSet::new());
        for entry in fs::read_dir(&directory).map_err(io_error)? {
            let entry = entry.map_err(io_error)?;
            if entry.file_name().to_string_lossy().starts_with(WORK_PREFIX) {
                claimed.extend(work_claims(&entry.path())?);
            } else if let Some(lease) = container_lease(&entry.path())? {
                claimed.extend(lease.layers.iter().cloned());
                leases.push(lease);
            }
        }
        leases.sort_by(|a, b| (&a.pod_dir, &a.container).cmp(&(&b.pod_dir, &b.container)));
        Ok((leases, claimed))
    }

    fn lease_path(&self, pod_dir: &Path, container: &str) -> PathBuf {
        use std::os::unix::ffi::OsStrExt;
        let identity = [pod_dir.as_os_str().as_bytes(), b"\0", container.as_bytes()].concat();
        self.dir("leases").join(Digest::sha256_of(&identity).hex())
    }
}

fn container_lease(path: &Path) -> Result<Option<Lease>, StoreError> {
    let bytes = match read_bounded(path, LEASE_BYTES_MAX) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        bytes => bytes.map_err(|source| StoreError::io("read", path, source))?,
    };
    // A broken lease is an error, not a void one: it may be all that keeps a container's files.
    let lease: Lease =
        serde_json::from_slice(&bytes).map_err(|error| StoreError::Corrupt { path: path.to_owned(), what: error.to_string() })?;
    match lease.pod_dir.symlink_metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            debug!(pod_dir = %lease.pod_dir.display(), container = lease.container, "lease of a pod that is gone");
            remove_lease(path)?;
            Ok(None)
        }
        _ => Ok(Some(lease)),
    }
}

fn work_claims(path: &Path) -> Result<Vec<Digest>, StoreError> {
    let io_error = |source| StoreError::io("read", path, source);
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        file => file.map_err(io_error)?,
    };
    // Its process may end, and remove it, at any moment: from here on only the open file is asked.
    let mut bytes = Vec::new();
    (&file).take(LEASE_BYTES_MAX).read_to_end(&mut bytes).map_err(io_error)?;
    if FileLock::try_lock(file).map_err(io_error)?.is_some() {
        debug!(path = %path.display(), "lease of a process that is gone");
        remove_lease(path)?;
        return Ok(Vec::new());
    }
    serde_json::from_slice(&bytes).map_err(|error| StoreError::Corrupt { path: path.to_owned(), what: error.to_string() })
}

fn remove_lease(path: &Path) -> Result<(), StoreError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(StoreError::io("remove", path, error)),
        _ => Ok(()),
    }
}
