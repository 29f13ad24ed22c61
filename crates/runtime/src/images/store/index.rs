//! The index of the store: which names there are, and which image each means.
//!
//! One small JSON file, always replaced as a whole, so a reader needs no lock and a crash leaves the old one or the new
//! one. Not here: contents. Whether the layers of an image are really there is asked of the layers.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::images::digest::Digest;

/// The layout of the store that this code reads and writes.
pub(crate) const INDEX_VERSION: u32 = 1;

/// What the index file holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Index {
    pub(crate) version: u32,
    /// Images by their id, the digest of their configuration.
    pub(crate) images: BTreeMap<Digest, ImageRecord>,
    /// Full names (with tag, or with digest) to image ids.
    pub(crate) names: BTreeMap<String, Digest>,
}

/// One image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ImageRecord {
    /// Digest of the image's manifest.
    pub(crate) manifest: Digest,
    /// Bytes of manifest, configuration and layers as they came, compressed.
    pub(crate) size: u64,
    /// `diff_id`s of the layers, bottom first.
    pub(crate) layers: Vec<Digest>,
    /// There is a layer of directory attributes on top, see `parents`.
    pub(crate) has_parents: bool,
}

impl Default for Index {
    fn default() -> Self {
        Self { version: INDEX_VERSION, images: BTreeMap::new(), names: BTreeMap::new() }
    }
}

impl Index {
    /// Names with a tag, and names with a digest, of the image `id`.
    pub(crate) fn names_of(&self, id: &Digest) -> (Vec<String>, Vec<String>) {
        let names = self.names.iter().filter(|(_, target)| *target == id).map(|(name, _)| name.clone());
        names.filter(|name| name != &id.to_string()).partition(|name| !name.contains('@'))
    }

    /// Removes images that no name means. Returns their ids.
    pub(crate) fn drop_nameless(&mut self) -> Vec<Digest> {
        let named: BTreeSet<&Digest> = self.names.values().collect();
        let nameless: Vec<Digest> = self.images.keys().filter(|id| !named.contains(id)).cloned().collect();
        for id in &nameless {
            self.images.remove(id);
        }
        nameless
    }
}
