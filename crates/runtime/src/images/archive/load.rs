//! Loading: from an archive into the store.

use std::error::Error;
use std::io::{self, Read};
use std::path::PathBuf;

use serde::Deserialize;
use tracing::info;

use super::source::{ArchiveSource, OpenArchiveError};
use super::{ArchiveInput, CancelOnDrop, Cancelled};
use crate::images::config::{ImageConfigError, check_config};
use crate::images::digest::{Digest, Hasher};
use crate::images::import::new_image;
use crate::images::limits::ImageLimits;
use crate::images::manifest::{Descriptor, Document, ImageManifest, ManifestError};
use crate::images::reference::{ImageReference, ParseImageReferenceError};
use crate::images::store::{Image, ImageStore, NewImage, StoreError, StoreFileLock};
use crate::images::unpack::{UnpackLayerError, unpack_layer};

const INDEX_FILE: &str = "index.json";
const DOCKER_MANIFEST_FILE: &str = "manifest.json";
/// Annotation with the full name of an image (containerd, and `docker save` since 25).
pub(super) const NAME_ANNOTATION: &str = "io.containerd.image.name";
/// Annotation with the name, or only the tag, of an image. OCI image-spec: annotations.
pub(super) const REF_NAME_ANNOTATION: &str = "org.opencontainers.image.ref.name";
/// Most levels of indexes within indexes.
const INDEX_DEPTH_MAX: usize = 3;

/// How to load.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LoadOptions {
    /// The image's name, instead of those in the archive. The archive has to hold one image.
    pub name: Option<ImageReference>,
}

/// Why an archive could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadImageError {
    /// It cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenArchiveError),
    /// It holds no images.
    #[error(
        "there are no images in {0:?}: neither index.json (OCI) nor manifest.json (docker save); if it is a root file system, import it"
    )]
    NotAnArchive(PathBuf),
    /// It holds none for this machine.
    #[error("the archive has no image for {0}")]
    NoMatchingPlatform(String),
    /// A name was given for several images.
    #[error("the archive holds {0} images, so they cannot all be named alike")]
    SeveralImages(usize),
    /// A file of the archive is missing or cannot be read.
    #[error("read {file:?} in the archive")]
    File {
        /// The file.
        file: String,
        /// What is wrong with it.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// A file is not what its digest says.
    #[error("{file:?} in the archive has digest {actual}, expected {expected}")]
    BadDigest {
        /// The file.
        file: String,
        /// As referred to.
        expected: Digest,
        /// As computed.
        actual: Digest,
    },
    /// A manifest is none that can be used.
    #[error("read manifest {file:?} in the archive")]
    Manifest {
        /// The file.
        file: String,
        /// What is wrong with it.
        #[source]
        source: ManifestError,
    },
    /// A configuration is none that can be used.
    #[error("read image configuration {file:?} in the archive")]
    Config {
        /// The file.
        file: String,
        /// What is wrong with it.
        #[source]
        source: ImageConfigError,
    },
    /// A name in the archive is none.
    #[error("read the names in the archive")]
    Name(#[source] ParseImageReferenceError),
    /// A layer could not be unpacked.
    #[error("unpack layer {file:?} of the archive")]
    Layer {
        /// The file.
        file: String,
        /// Why not.
        #[source]
        source: UnpackLayerError,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// An image in an archive.
struct Candidate {
    config_file: String,
    config: Vec<u8>,
    /// Bottom first, with the digest if the archive tells one.
    layers: Vec<(String, Option<Digest>)>,
    /// The manifest, where the format has one.
    manifest: Option<(Digest, Vec<u8>, ImageManifest)>,
    names: Vec<ImageReference>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DockerManifest {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

impl ImageStore {
    /// Loads all images of an archive that are for this machine's platform.
    pub async fn load(&self, input: ArchiveInput, options: &LoadOptions) -> Result<Vec<Image>, LoadImageError> {
        let options = options.clone();
        let (_cancel, cancelled) = CancelOnDrop::new();
        self.blocking(move |store| {
            let path = match &input {
                ArchiveInput::Path(path) => path.clone(),
                ArchiveInput::Reader(_) => PathBuf::from("-"),
            };
            let limits = store.config().limits;
            let temp = store.temp_dir()?;
            let archive = Archive { source: ArchiveSource::open(input, &temp, limits.archive_bytes_max, &cancelled)?, limits };
            let mut candidates = if archive.source.has(INDEX_FILE) {
                archive.oci_images(store)?
            } else if archive.source.has(DOCKER_MANIFEST_FILE) {
                archive.docker_images()?
            } else {
                return Err(LoadImageError::NotAnArchive(path));
            };
            if let Some(name) = options.name {
                match candidates.as_mut_slice() {
                    [candidate] => candidate.names = vec![name],
                    several => return Err(LoadImageError::SeveralImages(several.len())),
                }
            }
            candidates.into_iter().map(|candidate| archive.load(store, candidate, &cancelled)).collect()
        })
        .await
    }
}

struct Archive {
    source: ArchiveSource,
    limits: ImageLimits,
}

impl Archive {
    fn small_file(&self, file: &str, bytes_max: u64) -> Result<Vec<u8>, LoadImageError> {
        let file_error = |source: io::Error| LoadImageError::File { file: file.to_owned(), source: source.into() };
        let content = self.source.read_small(file, bytes_max).map_err(file_error)?;
        content.ok_or_else(|| file_error(io::Error::new(io::ErrorKind::NotFound, "there is no such file")))
    }

    fn small_blob(&self, digest: &Digest, bytes_max: u64) -> Result<(String, Vec<u8>), LoadImageError> {
        let file = blob_file(digest);
        let bytes = self.small_file(&file, bytes_max)?;
        let mut hasher = Hasher::new(digest.algorithm());
        hasher.update(&bytes);
        let actual = hasher.finish();
        if actual == *digest { Ok((file, bytes)) } else { Err(LoadImageError::BadDigest { file, expected: digest.clone(), actual }) }
    }

    /// Images of an OCI layout.
    fn oci_images(&self, store: &ImageStore) -> Result<Vec<Candidate>, LoadImageError> {
        let bytes = self.small_file(INDEX_FILE, self.limits.manifest_bytes_max)?;
        let manifest_error = |source| LoadImageError::Manifest { file: INDEX_FILE.to_owned(), source };
        let Document::Index(index) = Document::parse(&bytes, None).map_err(manifest_error)? else {
            return Err(manifest_error(ManifestError::Malformed("it is no index".to_owned())));
        };
        let mut candidates: Vec<Candidate> = Vec::new();
        for descriptor in &index.manifests {
            let Some((digest, bytes, manifest)) = self.manifest(store, descriptor, 0)? else { continue };
            let names = names_of(descriptor)?;
            match candidates.iter_mut().find(|known| known.manifest.as_ref().is_some_and(|(known, ..)| *known == digest)) {
                Some(known) => known.names.extend(names),
                None => {
                    let (config_file, config) = self.small_blob(&manifest.config.digest, self.limits.config_bytes_max)?;
                    let layers = manifest.layers.iter().map(|layer| (blob_file(&layer.digest), Some(layer.digest.clone()))).collect();
                    candidates.push(Candidate { config_file, config, layers, manifest: Some((digest, bytes, manifest)), names });
                }
            }
        }
        if candidates.is_empty() {
            return Err(LoadImageError::NoMatchingPlatform(store.config().platform.to_string()));
        }
        Ok(candidates)
    }

    /// The manifest that a descriptor leads to, for this machine's platform if there is a choice.
    fn manifest(
        &self,
        store: &ImageStore,
        descriptor: &Descriptor,
        depth: usize,
    ) -> Result<Option<(Digest, Vec<u8>, ImageManifest)>, LoadImageError> {
        let platform = &store.config().platform;
        if descriptor.platform.as_ref().is_some_and(|other| !platform.runs(other)) {
            return Ok(None);
        }
        let (file, bytes) = self.small_blob(&descriptor.digest, self.limits.manifest_bytes_max)?;
        let manifest_error = |source| LoadImageError::Manifest { file: file.clone(), source };
        match Document::parse(&bytes, Some(&descriptor.media_type)).map_err(manifest_error)? {
            Document::Image(manifest) => {
                manifest.check(self.limits.layers_max).map_err(manifest_error)?;
                Ok(Some((descriptor.digest.clone(), bytes, manifest)))
            }
            Document::Index(_) if depth >= INDEX_DEPTH_MAX => {
                Err(manifest_error(ManifestError::Malformed("there are too many indexes within indexes".to_owned())))
            }
            Document::Index(index) => match platform.choose(&index) {
                Some(chosen) => self.manifest(store, chosen, depth + 1),
                None => Ok(None),
            },
        }
    }

    /// Images of `docker save`.
    fn docker_images(&self) -> Result<Vec<Candidate>, LoadImageError> {
        let bytes = self.small_file(DOCKER_MANIFEST_FILE, self.limits.manifest_bytes_max)?;
        let manifest_error = |source| LoadImageError::Manifest { file: DOCKER_MANIFEST_FILE.to_owned(), source };
        let images: Vec<DockerManifest> =
            serde_json::from_slice(&bytes).map_err(|error| manifest_error(ManifestError::Malformed(error.to_string())))?;
        let candidate = |image: DockerManifest| {
            let count = image.layers.len();
            if count > self.limits.layers_max {
                return Err(manifest_error(ManifestError::TooManyLayers { count, count_max: self.limits.layers_max }));
            }
            let tags = image.repo_tags.unwrap_or_default();
            let names = tags.iter().map(|tag| ImageReference::parse(tag).map_err(LoadImageError::Name)).collect::<Result<_, _>>()?;
            let config = self.small_file(&image.config, self.limits.config_bytes_max)?;
            let layers = image.layers.into_iter().map(|file| (file, None)).collect();
            Ok(Candidate { config_file: image.config, config, layers, manifest: None, names })
        };
        images.into_iter().map(candidate).collect()
    }

    fn load(&self, store: &ImageStore, candidate: Candidate, cancelled: &Cancelled) -> Result<Image, LoadImageError> {
        let Candidate { config_file, config, layers, manifest, names } = candidate;
        let checked = check_config(&config, layers.len(), &store.config().platform)
            .map_err(|source| LoadImageError::Config { file: config_file, source })?;
        let _lease = store.work_lease(&checked.layers)?;
        let mut sizes = Vec::with_capacity(layers.len());
        for ((file, digest), diff_id) in layers.iter().zip(&checked.layers) {
            sizes.push(self.load_layer(store, file, digest.as_ref(), diff_id, cancelled)?);
        }
        let mut store_names: Vec<String> = names.iter().map(ImageReference::store_name).collect();
        if store_names.is_empty() {
            store_names.push(Digest::sha256_of(&config).to_string());
        }
        let new = match manifest {
            Some((digest, bytes, manifest)) => {
                store_names.extend(names.iter().map(|name| name.with_digest(digest.clone()).store_name()));
                NewImage {
                    id: manifest.config.digest.clone(),
                    size: manifest.content_size().saturating_add(bytes.len() as u64),
                    manifest: digest,
                    manifest_bytes: bytes,
                    config,
                    names: store_names,
                    layers: checked.layers,
                }
            }
            None => new_image(config, &std::iter::zip(checked.layers, sizes).collect::<Vec<_>>(), store_names),
        };
        let image = store.commit_image(new)?;
        info!(id = %image.id, names = ?image.repo_tags, "image loaded");
        Ok(image)
    }

    /// Unpacks a layer unless the store has it. Returns the length of its tar stream.
    fn load_layer(
        &self,
        store: &ImageStore,
        file: &str,
        digest: Option<&Digest>,
        diff_id: &Digest,
        cancelled: &Cancelled,
    ) -> Result<u64, LoadImageError> {
        if let Some(stored) = store.trusted_layer(diff_id)? {
            return Ok(stored.layer.tar_bytes);
        }
        let _lock =
            StoreFileLock::acquire_removable_blocking(&store.layer_lock(diff_id), store.config().layer_wait, || cancelled.is_set())?;
        if let Some(stored) = store.trusted_layer(diff_id)? {
            return Ok(stored.layer.tar_bytes);
        }
        let temp = store.temp_dir()?;
        let content = temp.path().join("layer");
        std::fs::create_dir(&content).map_err(|source| StoreError::io("make", &content, source))?;
        let file_error = |source: io::Error| LoadImageError::File { file: file.to_owned(), source: source.into() };
        let opened = self.source.open_file(file).map_err(file_error)?;
        let (stream, _) = opened.ok_or_else(|| file_error(io::Error::new(io::ErrorKind::NotFound, "there is no such file")))?;
        let algorithm = digest.unwrap_or(diff_id).algorithm();
        let mut reader = HashedReader { inner: cancelled.reader(stream), hasher: Hasher::new(algorithm) };
        let layer_error = |source| LoadImageError::Layer { file: file.to_owned(), source };
        let layer = unpack_layer(&mut reader, &content, store.config().limits.layer, Some(diff_id)).map_err(layer_error)?;
        io::copy(&mut reader, &mut io::sink()).map_err(file_error)?;
        let actual = reader.hasher.finish();
        if let Some(expected) = digest.filter(|digest| **digest != actual) {
            return Err(LoadImageError::BadDigest { file: file.to_owned(), expected: expected.clone(), actual });
        }
        store.publish_layer(&temp, &content, &layer)?;
        Ok(layer.tar_bytes)
    }
}

struct HashedReader<R> {
    inner: R,
    hasher: Hasher,
}

impl<R: Read> Read for HashedReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..len]);
        Ok(len)
    }
}

fn blob_file(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm().as_str(), digest.hex())
}

/// The names that a descriptor of the outermost index gives its image. A mere tag names nothing.
fn names_of(descriptor: &Descriptor) -> Result<Vec<ImageReference>, LoadImageError> {
    let annotations = &descriptor.annotations.0;
    let name = annotations.get(NAME_ANNOTATION).or_else(|| annotations.get(REF_NAME_ANNOTATION).filter(|name| name.contains(['/', ':'])));
    name.map(|name| ImageReference::parse(name).map_err(LoadImageError::Name)).into_iter().collect()
}
