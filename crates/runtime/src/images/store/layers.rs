//! Layers in the store: unpacked once each, found by their `diff_id`.
//!
//! A layer becomes visible by one rename, complete. What a rename does not promise is that the data is on the disk when
//! the power fails, and waiting for that would hold up every pull. So each layer notes the boot in which it was made and
//! whether it has been synced since; one from an earlier boot that never was is checked against its digest before its
//! first use.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tracing::{debug, info, warn};

use super::temp::TempDir;
use super::{ImageStore, StoreError};
use crate::images::digest::Digest;
use crate::images::unpack::{FILES_DIR, UnpackedLayer, reassemble_layer};

const LAYER_FILE: &str = "layer.json";

/// What is known of a layer, kept next to its files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StoredLayer {
    pub(crate) layer: UnpackedLayer,
    /// The boot in which it was unpacked.
    boot_id: String,
    /// Its data is known to be on the disk.
    is_synced: bool,
}

impl ImageStore {
    /// The directory of a layer, whether or not it exists.
    pub(crate) fn layer_dir(&self, diff_id: &Digest) -> PathBuf {
        self.dir("layers").join(diff_id.algorithm().as_str()).join(diff_id.hex())
    }

    /// The directory of a layer that overlayfs takes.
    pub(crate) fn lower_dir(&self, diff_id: &Digest) -> PathBuf {
        self.layer_dir(diff_id).join(FILES_DIR)
    }

    /// The layer `diff_id`, if the store has it.
    pub(crate) fn stored_layer(&self, diff_id: &Digest) -> Result<Option<StoredLayer>, StoreError> {
        let path = self.layer_dir(diff_id).join(LAYER_FILE);
        let bytes = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            bytes => bytes.map_err(|source| StoreError::io("read", &path, source))?,
        };
        match serde_json::from_slice::<StoredLayer>(&bytes) {
            Ok(stored) if stored.layer.diff_id == *diff_id => Ok(Some(stored)),
            // Cut short by a crash of the machine.
            _ => {
                warn!(path = %path.display(), "layer is broken and counts as missing");
                Ok(None)
            }
        }
    }

    /// The same, and certain to be whole: a layer that may have suffered from a crash of the machine is checked first, and
    /// removed if it has.
    pub(crate) fn trusted_layer(&self, diff_id: &Digest) -> Result<Option<StoredLayer>, StoreError> {
        let Some(stored) = self.stored_layer(diff_id)? else { return Ok(None) };
        if stored.is_synced || stored.boot_id == self.boot_id() {
            return Ok(Some(stored));
        }
        info!(layer = %diff_id, "checking a layer that was new when the machine stopped");
        let directory = self.layer_dir(diff_id);
        match reassemble_layer(&directory, diff_id, &mut io::sink()) {
            Ok(()) => {
                self.mark_synced(diff_id)?;
                Ok(Some(StoredLayer { is_synced: true, ..stored }))
            }
            Err(error) => {
                warn!(layer = %diff_id, %error, "layer is broken and is removed");
                let trash = self.temp_dir()?;
                self.move_away(&directory, &trash)?;
                Ok(None)
            }
        }
    }

    /// Makes the layer in the directory `content` of `temp` visible. If there is one already, that one stays.
    pub(crate) fn publish_layer(&self, temp: &TempDir, content: &Path, layer: &UnpackedLayer) -> Result<(), StoreError> {
        let stored = StoredLayer { layer: layer.clone(), boot_id: self.boot_id().to_owned(), is_synced: false };
        write_layer_file(content, &stored)?;
        let target = self.layer_dir(&layer.diff_id);
        let io_error = |source: io::Error| StoreError::io("make layer", &target, source);
        fs::create_dir_all(target.parent().unwrap_or(&target)).map_err(io_error)?;
        match fs::rename(content, &target) {
            // A directory that is not empty is never replaced.
            Err(error) if matches!(error.kind(), io::ErrorKind::AlreadyExists | io::ErrorKind::DirectoryNotEmpty) => {
                if self.stored_layer(&layer.diff_id)?.is_some() {
                    debug!(layer = %layer.diff_id, "somebody else has unpacked this layer");
                    return Ok(());
                }
                self.move_away(&target, temp)?;
                fs::rename(content, &target).map_err(io_error)?;
            }
            renamed => renamed.map_err(io_error)?,
        }
        self.sync_later(layer.diff_id.clone());
        Ok(())
    }

    /// Moves something that is no longer wanted into `trash`.
    pub(crate) fn move_away(&self, path: &Path, trash: &TempDir) -> Result<(), StoreError> {
        let target = trash.path().join(super::temp::random_name()?);
        match fs::rename(path, target) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(StoreError::io("remove", path, error)),
            _ => Ok(()),
        }
    }

    /// All layers that have a directory.
    pub(crate) fn all_layers(&self) -> Result<Vec<Digest>, StoreError> {
        super::list_digests(&self.dir("layers"))
    }

    /// Notes that the data of a layer is on the disk.
    pub(super) fn mark_synced(&self, diff_id: &Digest) -> Result<(), StoreError> {
        match self.stored_layer(diff_id)? {
            Some(stored) if !stored.is_synced => write_layer_file(&self.layer_dir(diff_id), &StoredLayer { is_synced: true, ..stored }),
            _ => Ok(()),
        }
    }
}

fn write_layer_file(directory: &Path, stored: &StoredLayer) -> Result<(), StoreError> {
    let path = directory.join(LAYER_FILE);
    let bytes = serde_json::to_vec(stored).map_err(|error| StoreError::io("write", &path, error.into()))?;
    let new = directory.join(format!("{LAYER_FILE}.new"));
    fs::write(&new, bytes).and_then(|()| fs::rename(&new, &path)).map_err(|source| StoreError::io("write", &path, source))
}
