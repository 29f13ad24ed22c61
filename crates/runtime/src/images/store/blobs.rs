//! Manifests and configurations, by digest.
//!
//! They are small, so they are checked whenever they are read, and a broken one counts as missing.

use std::fs;
use std::io;
use std::path::PathBuf;

use tracing::warn;

use super::lock::FileLock;
use super::{Durability, ImageStore, StoreError, read_bounded};
use crate::images::digest::{Digest, Hasher};

impl ImageStore {
    fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.dir("blobs").join(digest.algorithm().as_str()).join(digest.hex())
    }

    /// Stores `bytes`, whose digest is `digest`, and which are few.
    pub(super) fn write_blob(&self, _lock: &FileLock, digest: &Digest, bytes: &[u8]) -> Result<(), StoreError> {
        let path = self.blob_path(digest);
        let parent = path.parent().unwrap_or(&path);
        fs::create_dir_all(parent).map_err(|source| StoreError::io("make directory", parent, source))?;
        self.replace_file(&path, bytes, Durability::Process)
    }

    /// Reads a blob of at most `len_max` bytes; `None` if it is missing or broken.
    pub(crate) fn read_blob(&self, digest: &Digest, len_max: u64) -> Result<Option<Vec<u8>>, StoreError> {
        let path = self.blob_path(digest);
        let bytes = match read_bounded(&path, len_max) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            bytes => bytes.map_err(|source| StoreError::io("read", &path, source))?,
        };
        let mut hasher = Hasher::new(digest.algorithm());
        hasher.update(&bytes);
        if hasher.finish() != *digest {
            warn!(path = %path.display(), "blob is broken and counts as missing");
            return Ok(None);
        }
        Ok(Some(bytes))
    }

    /// All blobs.
    pub(super) fn all_blobs(&self) -> Result<Vec<Digest>, StoreError> {
        super::list_digests(&self.dir("blobs"))
    }

    pub(super) fn remove_blob(&self, digest: &Digest) -> Result<(), StoreError> {
        let path = self.blob_path(digest);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(StoreError::io("remove", &path, error)),
            _ => Ok(()),
        }
    }
}
