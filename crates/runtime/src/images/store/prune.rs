//! Removal: of a name, of an image, of what nobody refers to.
//!
//! Under the lock of the store it is decided what goes, and what goes is moved away by renames; the slow removal of files
//! happens afterwards. Invariant: a layer that an image of the index or a lease refers to stays.

use std::collections::BTreeSet;

use super::images::ImageQuery;
use super::index::Index;
use super::lock::FileLock;
use super::{ImageStore, StoreError, temp};
use crate::images::digest::Digest;

/// What a prune removes, beyond layers and files that nothing refers to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PruneScope {
    /// No image.
    Unreferenced,
    /// Images without a tag that no container uses.
    Untagged,
    /// All images that no container uses.
    Unused,
}

/// What a prune has removed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PruneReport {
    /// Ids of images.
    pub images: Vec<Digest>,
    /// `diff_id`s of layers.
    pub layers: Vec<Digest>,
    /// Bytes of these layers when unpacked, about.
    pub bytes: u64,
}

/// What the removal of an image or a name has removed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RemoveReport {
    /// Names that are gone.
    pub untagged: Vec<String>,
    /// What went with them.
    pub pruned: PruneReport,
}

/// Why a prune failed.
#[derive(Debug, thiserror::Error)]
pub enum PruneImagesError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why an image was not removed.
#[derive(Debug, thiserror::Error)]
pub enum RemoveImageError {
    /// There is none.
    #[error("image {0} is not in the store")]
    NotFound(String),
    /// A container uses it.
    #[error("image {image} is in use by container {container:?} of {pod_dir:?}")]
    InUse {
        /// The image, as it was asked for.
        image: String,
        /// The container.
        container: String,
        /// The directory of its pod's state.
        pod_dir: std::path::PathBuf,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl ImageStore {
    /// Removes a name, or by its id an image with all of its names. With its last tag an image goes as a whole, unless a
    /// container uses it: then nothing is removed. CRI: `RemoveImage`.
    pub async fn remove(&self, query: &ImageQuery) -> Result<RemoveReport, RemoveImageError> {
        let query = query.clone();
        self.blocking(move |store| {
            let lock = store.lock()?;
            let mut index = store.read_index()?;
            let untagged = index.remove_names(&query).ok_or_else(|| RemoveImageError::NotFound(query.to_string()))?;
            let gone = index.drop_nameless();
            let (leases, _) = store.leases_locked(&lock)?;
            if let Some(lease) = leases.into_iter().find(|lease| gone.contains(&lease.image)) {
                let (container, pod_dir) = (lease.container, lease.pod_dir);
                return Err(RemoveImageError::InUse { image: query.to_string(), container, pod_dir });
            }
            store.write_index(&lock, &index)?;
            let mut pruned = store.prune_unreferenced(lock, &index)?;
            pruned.images = gone;
            Ok(RemoveReport { untagged, pruned })
        })
        .await
    }

    /// Removes what nothing refers to, and images by `scope`.
    pub async fn prune(&self, scope: PruneScope) -> Result<PruneReport, PruneImagesError> {
        self.blocking(move |store| {
            let lock = store.lock()?;
            let mut index = store.read_index()?;
            let used: BTreeSet<Digest> = store.leases_locked(&lock)?.0.into_iter().map(|lease| lease.image).collect();
            let goes = |id: &Digest, index: &Index| match scope {
                PruneScope::Unreferenced => false,
                PruneScope::Untagged => !used.contains(id) && index.names_of(id).0.is_empty(),
                PruneScope::Unused => !used.contains(id),
            };
            let gone: Vec<Digest> = index.images.keys().filter(|id| goes(id, &index)).cloned().collect();
            index.names.retain(|_, id| !gone.contains(id));
            index.images.retain(|id, _| !gone.contains(id));
            if !gone.is_empty() {
                store.write_index(&lock, &index)?;
            }
            let mut report = store.prune_unreferenced(lock, &index)?;
            report.images = gone;
            Ok(report)
        })
        .await
    }

    /// Moves away what nothing refers to, lets go of the lock, and then removes it.
    fn prune_unreferenced(&self, lock: FileLock, index: &Index) -> Result<PruneReport, StoreError> {
        let (leases, claimed) = self.leases_locked(&lock)?;
        let trash = self.temp_dir_locked(&lock)?;
        let left_over = temp::take_over_left_over(&self.dir("tmp"))?;
        self.remove_stale_locks()?;
        let mut report = PruneReport::default();

        let wanted: BTreeSet<&Digest> = index.images.values().flat_map(|image| &image.layers).chain(&claimed).collect();
        for diff_id in self.all_layers()?.into_iter().filter(|diff_id| !wanted.contains(diff_id)) {
            report.bytes += self.stored_layer(&diff_id)?.map_or(0, |stored| stored.layer.tar_bytes);
            self.move_away(&self.layer_dir(&diff_id), &trash)?;
            report.layers.push(diff_id);
        }
        let images: BTreeSet<&Digest> = index.images.keys().chain(leases.iter().map(|lease| &lease.image)).collect();
        for id in self.all_parents()?.into_iter().filter(|id| !images.contains(id)) {
            self.move_away(&self.parents_dir(&id), &trash)?;
        }
        let blobs: BTreeSet<&Digest> = index.images.iter().flat_map(|(id, image)| [id, &image.manifest]).collect();
        for digest in self.all_blobs()?.into_iter().filter(|digest| !blobs.contains(digest)) {
            self.remove_blob(&digest)?;
        }
        drop(lock);
        drop((trash, left_over));
        Ok(report)
    }
}

impl Index {
    /// Removes what the query means; `None` if there is nothing. With the last tag of an image its names by digest go too.
    fn remove_names(&mut self, query: &ImageQuery) -> Option<Vec<String>> {
        let id = match query {
            ImageQuery::Id(id) => self.images.get_key_value(id)?.0.clone(),
            ImageQuery::Reference(reference) => {
                let (name, id) = self.names.remove_entry(&reference.store_name())?;
                let is_last_tag = reference.digest().is_none() && self.names_of(&id).0.is_empty();
                if !is_last_tag {
                    return Some(vec![name]);
                }
                self.names.insert(name, id.clone());
                id
            }
        };
        let (gone, kept) = std::mem::take(&mut self.names).into_iter().partition(|(_, target)| *target == id);
        self.names = kept;
        Some(std::collections::BTreeMap::into_keys(gone).collect())
    }
}
