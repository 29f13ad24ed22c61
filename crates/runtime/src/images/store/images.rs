//! Images as the rest of the engine sees them: found by name or id, and only if all of their layers are there.

use std::path::PathBuf;

use oci_spec::image::ImageConfiguration;

use super::index::{ImageRecord, Index};
use super::{ImageStore, StoreError};
use crate::images::digest::Digest;
use crate::images::reference::{ImageReference, ParseImageReferenceError};

/// An image in the store. CRI: `Image`, with what a runtime needs beyond it.
#[derive(Debug, Clone, PartialEq)]
pub struct Image {
    /// The image id: the digest of its configuration.
    pub id: Digest,
    /// Digest of its manifest, as it was pulled or made on import.
    pub manifest: Digest,
    /// Full names with a tag.
    pub repo_tags: Vec<String>,
    /// Full names with the digest of the manifest (or of the index that led to it).
    pub repo_digests: Vec<String>,
    /// Bytes of manifest, configuration and layers, compressed as they came.
    pub size: u64,
    /// The configuration.
    pub config: ImageConfiguration,
    /// Lower directories for overlayfs, top first.
    pub layers: Vec<PathBuf>,
    /// `diff_id`s of all layers, bottom first.
    pub(crate) diff_ids: Vec<Digest>,
}

/// The user that an image asks for, as CRI tells it (`Image.uid` and `Image.username`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImageUser {
    /// None: root.
    Unset,
    /// A number. A group after a colon is left out.
    Uid(i64),
    /// A name, which is in the image's `/etc/passwd`. A group after a colon is left out.
    Name(String),
}

/// How an image is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImageQuery {
    /// By its id.
    Id(Digest),
    /// By one of its names.
    Reference(ImageReference),
}

/// A text that is neither an image id nor an image name.
pub type ParseImageQueryError = ParseImageReferenceError;

impl ImageQuery {
    /// Reads `sha256:…` (or the 64 digits alone) as an id, and anything else as a name.
    pub fn parse(text: &str) -> Result<Self, ParseImageQueryError> {
        if let Ok(id) = Digest::parse(text).or_else(|_| Digest::parse(&format!("sha256:{text}"))) {
            return Ok(Self::Id(id));
        }
        ImageReference::parse(text).map(Self::Reference)
    }
}

impl From<ImageReference> for ImageQuery {
    fn from(reference: ImageReference) -> Self {
        Self::Reference(reference)
    }
}

impl From<Digest> for ImageQuery {
    fn from(id: Digest) -> Self {
        Self::Id(id)
    }
}

impl std::fmt::Display for ImageQuery {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Id(id) => id.fmt(f),
            Self::Reference(reference) => reference.fmt(f),
        }
    }
}

/// An image whose layers are all in the store, about to get its names.
#[derive(Debug, Clone)]
pub(crate) struct NewImage {
    pub(crate) id: Digest,
    pub(crate) config: Vec<u8>,
    pub(crate) manifest: Digest,
    pub(crate) manifest_bytes: Vec<u8>,
    /// Store names that mean this image from now on.
    pub(crate) names: Vec<String>,
    pub(crate) size: u64,
    /// Bottom first.
    pub(crate) layers: Vec<Digest>,
}

impl Image {
    /// The user of the image's configuration, in the two forms that CRI knows.
    pub fn user(&self) -> ImageUser {
        let user = self.config.config().as_ref().and_then(|config| config.user().as_deref()).unwrap_or_default();
        let user = user.split(':').next().unwrap_or_default();
        match (user, user.parse()) {
            ("", _) => ImageUser::Unset,
            (_, Ok(uid)) => ImageUser::Uid(uid),
            (name, Err(_)) => ImageUser::Name(name.to_owned()),
        }
    }

    /// The directories that overlayfs stacks, top first. There is always at least one.
    pub fn lower_dirs(&self) -> &[PathBuf] {
        &self.layers
    }
}

impl ImageStore {
    /// The image of this name or id, if it is there with all of its layers. CRI: `ImageStatus`.
    // k8s: 9.a.4
    pub async fn image_status(&self, query: &ImageQuery) -> Result<Option<Image>, StoreError> {
        let query = query.clone();
        self.blocking(move |store| store.find_image(&query)).await
    }

    /// All images that are there with all of their layers, by id. CRI: `ListImages`.
    pub async fn list(&self) -> Result<Vec<Image>, StoreError> {
        self.blocking(|store| {
            let index = store.read_index()?;
            let mut images = Vec::with_capacity(index.images.len());
            for (id, record) in &index.images {
                if store.has_layers(record)? {
                    images.extend(store.load_image(id, record, &index)?);
                }
            }
            Ok(images)
        })
        .await
    }

    pub(crate) fn find_image(&self, query: &ImageQuery) -> Result<Option<Image>, StoreError> {
        let index = self.read_index()?;
        let Some((id, record)) = index.find(query) else { return Ok(None) };
        for layer in &record.layers {
            if self.trusted_layer(layer)?.is_none() {
                return Ok(None);
            }
        }
        self.load_image(id, record, &index)
    }

    fn has_layers(&self, record: &ImageRecord) -> Result<bool, StoreError> {
        for layer in &record.layers {
            if self.stored_layer(layer)?.is_none() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn load_image(&self, id: &Digest, record: &ImageRecord, index: &Index) -> Result<Option<Image>, StoreError> {
        let Some(config) = self.read_blob(id, self.config().limits.config_bytes_max)? else { return Ok(None) };
        let config = serde_json::from_slice(&config)
            .map_err(|error| StoreError::Corrupt { path: self.dir("blobs").join(id.hex()), what: error.to_string() })?;
        let (repo_tags, repo_digests) = index.names_of(id);
        let mut layers = Vec::with_capacity(record.layers.len() + 1);
        if record.has_parents {
            layers.push(self.parents_dir(id));
        }
        for diff_id in record.layers.iter().rev() {
            let Some(stored) = self.stored_layer(diff_id)? else { return Ok(None) };
            layers.push(self.lower_dir(diff_id));
            if stored.layer.root_is_opaque {
                break;
            }
        }
        Ok(Some(Image {
            id: id.clone(),
            manifest: record.manifest.clone(),
            repo_tags,
            repo_digests,
            size: record.size,
            config,
            layers,
            diff_ids: record.layers.clone(),
        }))
    }

    /// Gives an image that is already there, whole and with this manifest, more names. `None` if it is not.
    pub(crate) fn name_image(&self, id: &Digest, manifest: &Digest, names: &[String]) -> Result<Option<Image>, StoreError> {
        let query = ImageQuery::Id(id.clone());
        let has_names = |index: &Index| names.iter().all(|name| index.names.get(name) == Some(id));
        match self.find_image(&query)? {
            Some(image) if image.manifest == *manifest => {}
            _ => return Ok(None),
        }
        if !has_names(&self.read_index()?) {
            let lock = self.lock()?;
            let mut index = self.read_index()?;
            if !index.images.contains_key(id) {
                return Ok(None);
            }
            index.names.extend(names.iter().map(|name| (name.clone(), id.clone())));
            index.drop_nameless();
            self.write_index(&lock, &index)?;
        }
        self.find_image(&query)
    }

    /// Gives an image its names. Its layers must be in the store and claimed by a lease.
    pub(crate) fn commit_image(&self, new: NewImage) -> Result<Image, StoreError> {
        let temp = self.temp_dir()?;
        let parents = self.build_parents(&new.layers, &temp)?;
        let lock = self.lock()?;
        if let Some(parents) = &parents {
            self.publish_parents(&lock, &new.id, parents)?;
        }
        self.write_blob(&lock, &new.id, &new.config)?;
        self.write_blob(&lock, &new.manifest, &new.manifest_bytes)?;
        let mut index = self.read_index()?;
        let before = index.clone();
        let record = ImageRecord { manifest: new.manifest, size: new.size, layers: new.layers, has_parents: parents.is_some() };
        index.images.insert(new.id.clone(), record.clone());
        for name in new.names {
            index.names.insert(name, new.id.clone());
        }
        index.drop_nameless();
        if index != before {
            self.write_index(&lock, &index)?;
        }
        drop(lock);
        let image = self.load_image(&new.id, &record, &index)?;
        image.ok_or_else(|| StoreError::Corrupt { path: self.dir("layers"), what: "a layer that was just made is gone".to_owned() })
    }
}

impl Index {
    fn find(&self, query: &ImageQuery) -> Option<(&Digest, &ImageRecord)> {
        match query {
            ImageQuery::Id(id) => self.images.get_key_value(id),
            ImageQuery::Reference(reference) => self.images.get_key_value(self.names.get(&reference.store_name())?),
        }
    }
}
