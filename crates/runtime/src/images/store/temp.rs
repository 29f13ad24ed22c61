//! Directories for what is being made, and their removal after a crash.
//!
//! Each is locked as long as its process works in it. What nobody has locked is left over: the next user of the store
//! removes it. Invariant: a directory is made, and removed as left over, only under the lock of the store, so no fresh
//! one is taken for a left-over.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use tracing::{debug, warn};

use super::StoreError;
use super::lock::FileLock;

/// A directory that vanishes with all its contents when dropped.
#[derive(Debug)]
pub(crate) struct TempDir {
    path: PathBuf,
    _lock: FileLock,
}

impl TempDir {
    /// Makes one beneath `parent`. The store's lock must be held.
    pub(super) fn create(parent: &Path) -> Result<Self, StoreError> {
        let path = parent.join(random_name()?);
        let create = || {
            fs::create_dir(&path)?;
            FileLock::try_lock(File::open(&path)?)
        };
        let lock = create().map_err(|source| StoreError::io("make temporary directory", &path, source))?;
        match lock {
            Some(lock) => Ok(Self { path, _lock: lock }),
            None => Err(StoreError::Busy { path, waited: std::time::Duration::ZERO }),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.path) {
            warn!(path = %self.path.display(), %error, "temporary directory not removed");
        }
    }
}

/// Takes over all directories beneath `parent` whose processes are gone. The store's lock must be held; dropping the
/// result, which removes them and may take long, needs no lock.
pub(super) fn take_over_left_over(parent: &Path) -> Result<Vec<TempDir>, StoreError> {
    let io_error = |source| StoreError::io("list", parent, source);
    let mut left_over = Vec::new();
    for entry in fs::read_dir(parent).map_err(io_error)? {
        let path = entry.map_err(io_error)?.path();
        let is_dir = path.symlink_metadata().is_ok_and(|metadata| metadata.is_dir());
        if !is_dir {
            // Files are written only under the lock of the store, which is held here.
            fs::remove_file(&path).map_err(|source| StoreError::io("remove", &path, source))?;
            continue;
        }
        let lock = File::open(&path).and_then(FileLock::try_lock).map_err(|source| StoreError::io("lock", &path, source))?;
        if let Some(lock) = lock {
            debug!(path = %path.display(), "removing what a crash has left");
            left_over.push(TempDir { path, _lock: lock });
        }
    }
    Ok(left_over)
}

/// A name that no other process chooses.
pub(super) fn random_name() -> Result<String, StoreError> {
    let mut bytes = [0; 12];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())
        .map_err(|error| StoreError::io("get random bytes for", Path::new("a temporary name"), error.into()))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
