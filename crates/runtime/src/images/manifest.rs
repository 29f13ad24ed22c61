//! Manifests and indexes, of OCI and of Docker: read with doubt, and written for images that are made here.

use serde::{Deserialize, Serialize};

use super::digest::Digest;
use super::platform::Platform;

pub(crate) const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(crate) const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub(crate) const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";

/// What is asked for when a manifest is fetched.
pub(crate) const MANIFEST_MEDIA_TYPES: [&str; 4] = [OCI_MANIFEST, OCI_INDEX, DOCKER_MANIFEST, DOCKER_LIST];

/// Layers are recognised by their bytes; their media type only has to be that of a layer.
const LAYER_MEDIA_TYPES: [&str; 9] = [
    OCI_LAYER,
    "application/vnd.oci.image.layer.v1.tar+gzip",
    "application/vnd.oci.image.layer.v1.tar+zstd",
    "application/vnd.oci.image.layer.nondistributable.v1.tar",
    "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
    "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd",
    "application/vnd.docker.image.rootfs.diff.tar",
    "application/vnd.docker.image.rootfs.diff.tar.gzip",
    "application/vnd.docker.image.rootfs.diff.tar.zstd",
];

/// A reference from one document to another. OCI image-spec: content descriptor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Descriptor {
    #[serde(default)]
    pub(crate) media_type: String,
    pub(crate) digest: Digest,
    /// Bytes.
    pub(crate) size: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) platform: Option<Platform>,
    #[serde(default, skip_serializing_if = "Annotations::is_empty")]
    pub(crate) annotations: Annotations,
}

/// Annotations of a descriptor. `null` is as good as none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Option<std::collections::BTreeMap<String, String>>", into = "std::collections::BTreeMap<String, String>")]
pub(crate) struct Annotations(pub(crate) std::collections::BTreeMap<String, String>);

impl Annotations {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<Option<std::collections::BTreeMap<String, String>>> for Annotations {
    fn from(map: Option<std::collections::BTreeMap<String, String>>) -> Self {
        Self(map.unwrap_or_default())
    }
}

impl From<Annotations> for std::collections::BTreeMap<String, String> {
    fn from(annotations: Annotations) -> Self {
        annotations.0
    }
}

/// The manifest of one image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ImageManifest {
    pub(crate) schema_version: u32,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) media_type: String,
    pub(crate) config: Descriptor,
    pub(crate) layers: Vec<Descriptor>,
}

/// The index of several images, usually one for each platform.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ImageIndex {
    pub(crate) schema_version: u32,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) media_type: String,
    pub(crate) manifests: Vec<Descriptor>,
}

/// What a digest or a tag may lead to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Document {
    Image(ImageManifest),
    Index(ImageIndex),
}

/// Why a document is no manifest that can be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// It cannot be read.
    #[error("the manifest is broken: {0}")]
    Malformed(String),
    /// It, or what it refers to, is of a kind that is no container image.
    #[error("unsupported media type {0:?}")]
    UnsupportedMediaType(String),
    /// Too many layers.
    #[error("the image has {count} layers, more than {count_max}")]
    TooManyLayers {
        /// How many.
        count: usize,
        /// The bound.
        count_max: usize,
    },
}

impl Document {
    /// Reads a manifest or an index. `media_type` is what the registry called it; the document's own word counts more.
    pub(crate) fn parse(bytes: &[u8], media_type: Option<&str>) -> Result<Self, ManifestError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Shape {
            schema_version: Option<u32>,
            media_type: Option<String>,
            manifests: Option<serde::de::IgnoredAny>,
            layers: Option<serde::de::IgnoredAny>,
            config: Option<serde::de::IgnoredAny>,
        }
        let malformed = |error: serde_json::Error| ManifestError::Malformed(error.to_string());
        let shape: Shape = serde_json::from_slice(bytes).map_err(malformed)?;
        let has_image = shape.layers.is_some() || shape.config.is_some();
        // One document that can be read as both means something else to every reader.
        if has_image && shape.manifests.is_some() {
            return Err(ManifestError::Malformed("it is a manifest and an index at once".to_owned()));
        }
        let own = shape.media_type.filter(|own| !own.is_empty());
        let told = media_type.filter(|told| MANIFEST_MEDIA_TYPES.contains(told)).map(str::to_owned);
        let name = own.or(told).unwrap_or_else(|| if has_image { OCI_MANIFEST } else { OCI_INDEX }.to_owned());
        if shape.schema_version != Some(2) {
            let version = shape.schema_version.map_or("none".to_owned(), |version| version.to_string());
            return Err(ManifestError::UnsupportedMediaType(format!("{name}; schemaVersion={version}")));
        }
        match name.as_str() {
            OCI_MANIFEST | DOCKER_MANIFEST => serde_json::from_slice(bytes).map(Self::Image).map_err(malformed),
            OCI_INDEX | DOCKER_LIST => serde_json::from_slice(bytes).map(Self::Index).map_err(malformed),
            _ => Err(ManifestError::UnsupportedMediaType(name)),
        }
    }
}

impl ImageManifest {
    /// Whether this is a container image, and not too large a one.
    pub(crate) fn check(&self, layers_max: usize) -> Result<(), ManifestError> {
        if ![OCI_CONFIG, DOCKER_CONFIG].contains(&self.config.media_type.as_str()) {
            return Err(ManifestError::UnsupportedMediaType(self.config.media_type.clone()));
        }
        if self.layers.len() > layers_max {
            return Err(ManifestError::TooManyLayers { count: self.layers.len(), count_max: layers_max });
        }
        let is_foreign = |media_type: &str| media_type.starts_with("application/vnd.docker.image.rootfs.foreign.diff.tar");
        match self.layers.iter().find(|layer| !LAYER_MEDIA_TYPES.contains(&layer.media_type.as_str()) && !is_foreign(&layer.media_type)) {
            Some(layer) => Err(ManifestError::UnsupportedMediaType(layer.media_type.clone())),
            None => Ok(()),
        }
    }

    /// Bytes of configuration and layers.
    pub(crate) fn content_size(&self) -> u64 {
        self.layers.iter().chain([&self.config]).fold(0, |sum: u64, descriptor| sum.saturating_add(descriptor.size))
    }
}

#[cfg(test)]
mod tests;
