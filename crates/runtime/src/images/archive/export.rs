//! Exporting: from the store to an `oci-archive`.
//!
//! Layers are put together from their files by their recipes, so an exported image has the same configuration, the same
//! layers to the byte, and therefore the same id. They are not compressed again: compressing would give other bytes than
//! the registry's anyway, and whoever wants a smaller file compresses the archive. The archive of one image is always the
//! same.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::load::{NAME_ANNOTATION, REF_NAME_ANNOTATION};
use super::tar_writer::TarWriter;
use super::{CancelOnDrop, Cancelled};
use crate::images::digest::Digest;
use crate::images::import::new_image;
use crate::images::manifest::{Document, ImageManifest, OCI_INDEX, OCI_MANIFEST};
use crate::images::reference::ImageReference;
use crate::images::store::{Image, ImageQuery, ImageStore, StoreError};
use crate::images::unpack::{ReassembleLayerError, reassemble_layer};

const BUFFER_LEN: usize = 256 * 1024;

/// Where an archive goes.
pub enum ExportTarget {
    /// A file, which appears when it is complete.
    Path(PathBuf),
    /// A stream, such as standard output.
    Writer(Box<dyn Write + Send>),
}

impl std::fmt::Debug for ExportTarget {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Path(path) => f.debug_tuple("Path").field(path).finish(),
            Self::Writer(_) => f.write_str("Writer"),
        }
    }
}

/// Why an image could not be exported.
#[derive(Debug, thiserror::Error)]
pub enum ExportImageError {
    /// There is none.
    #[error("image {0} is not in the store")]
    NotFound(String),
    /// The archive cannot be written.
    #[error("write the archive {path:?}")]
    Write {
        /// The file, or `-`.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// A layer cannot be put together.
    #[error("put layer {layer} together")]
    Layer {
        /// The layer's `diff_id`.
        layer: Digest,
        /// Why not.
        #[source]
        source: ReassembleLayerError,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// All that goes into an archive.
struct Export {
    image: Image,
    names: Vec<String>,
    config: Vec<u8>,
    manifest: Vec<u8>,
    /// `diff_id` and length, each once.
    layers: Vec<(Digest, u64)>,
}

impl ImageStore {
    /// Writes an image to an archive that [`ImageStore::load`] reads back as the same image, with the name it was asked
    /// for, or with all of its names if it was asked for by its id.
    pub async fn export(&self, query: &ImageQuery, target: ExportTarget) -> Result<(), ExportImageError> {
        let query = query.clone();
        let (_cancel, cancelled) = CancelOnDrop::new();
        self.blocking(move |store| {
            let image = store.find_image(&query)?.ok_or_else(|| ExportImageError::NotFound(query.to_string()))?;
            let _lease = store.work_lease(&image.diff_ids)?;
            let export = Export::new(store, image, &query)?;
            match target {
                ExportTarget::Path(path) => export.write_file(store, &path, &cancelled),
                ExportTarget::Writer(out) => export.write(store, out, Path::new("-"), &cancelled).map(|_| ()),
            }
        })
        .await
    }
}

impl Export {
    fn new(store: &ImageStore, image: Image, query: &ImageQuery) -> Result<Self, ExportImageError> {
        let limits = store.config().limits;
        let gone = || ExportImageError::NotFound(query.to_string());
        let config = store.read_blob(&image.id, limits.config_bytes_max)?.ok_or_else(gone)?;
        let mut all_layers = Vec::with_capacity(image.diff_ids.len());
        for diff_id in &image.diff_ids {
            all_layers.push((diff_id.clone(), store.trusted_layer(diff_id)?.ok_or_else(gone)?.layer.tar_bytes));
        }
        let names = match query {
            ImageQuery::Reference(reference) if reference.digest().is_none() => vec![reference.store_name()],
            ImageQuery::Reference(_) | ImageQuery::Id(_) => image.repo_tags.clone(),
        };
        // A manifest whose layers are not compressed is still true of what is written.
        let stored = store.read_blob(&image.manifest, limits.manifest_bytes_max)?;
        let kept = stored.filter(|bytes| is_uncompressed(bytes, &image.diff_ids));
        let manifest = kept.unwrap_or_else(|| new_image(config.clone(), &all_layers, Vec::new()).manifest_bytes);
        let mut layers = all_layers;
        layers.sort();
        layers.dedup();
        Ok(Self { image, names, config, manifest, layers })
    }

    fn write_file(&self, store: &ImageStore, path: &Path, cancelled: &Cancelled) -> Result<(), ExportImageError> {
        let write_error = |source| ExportImageError::Write { path: path.to_owned(), source };
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{}.part", std::process::id()));
        let part = PartFile { path: path.with_file_name(name) };
        let file = File::create(&part.path).map_err(write_error)?;
        let file = self.write(store, file, path, cancelled)?;
        file.sync_all().and_then(|()| std::fs::rename(&part.path, path)).map_err(write_error)
    }

    fn write<W: Write>(&self, store: &ImageStore, out: W, path: &Path, cancelled: &Cancelled) -> Result<W, ExportImageError> {
        let write_error = |source| ExportImageError::Write { path: path.to_owned(), source };
        let out = CancelWriter { inner: out, cancelled };
        let mut tar = TarWriter::new(BufWriter::with_capacity(BUFFER_LEN, out));
        tar.file("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#).map_err(write_error)?;
        tar.file("index.json", self.index().to_string().as_bytes()).map_err(write_error)?;
        tar.file(&blob_name(&Digest::sha256_of(&self.manifest)), &self.manifest).map_err(write_error)?;
        tar.file(&blob_name(&self.image.id), &self.config).map_err(write_error)?;
        for (diff_id, len) in &self.layers {
            tar.begin(&blob_name(diff_id), *len).map_err(write_error)?;
            reassemble_layer(&store.layer_dir(diff_id), diff_id, tar.content()).map_err(|error| match error {
                ReassembleLayerError::Write(source) => write_error(source),
                source @ (ReassembleLayerError::Recipe(_) | ReassembleLayerError::File { .. } | ReassembleLayerError::Changed { .. }) => {
                    ExportImageError::Layer { layer: diff_id.clone(), source }
                }
            })?;
            tar.end(*len).map_err(write_error)?;
        }
        let buffered = tar.finish().map_err(write_error)?;
        Ok(buffered.into_inner().map_err(|error| write_error(error.into_error()))?.inner)
    }

    fn index(&self) -> Value {
        let descriptor = |name: Option<&String>| {
            let mut descriptor = json!({
                "mediaType": OCI_MANIFEST,
                "digest": Digest::sha256_of(&self.manifest).to_string(),
                "size": self.manifest.len(),
            });
            if let Some(name) = name {
                let tag = ImageReference::parse(name).ok().and_then(|reference| reference.tag().map(str::to_owned));
                descriptor["annotations"] = json!({ NAME_ANNOTATION: name, REF_NAME_ANNOTATION: tag.unwrap_or_default() });
            }
            descriptor
        };
        let manifests: Vec<Value> =
            if self.names.is_empty() { vec![descriptor(None)] } else { self.names.iter().map(|name| descriptor(Some(name))).collect() };
        json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests })
    }
}

fn is_uncompressed(manifest: &[u8], diff_ids: &[Digest]) -> bool {
    let is_image = |manifest: &ImageManifest| manifest.media_type == OCI_MANIFEST;
    match Document::parse(manifest, None) {
        Ok(Document::Image(manifest)) => is_image(&manifest) && manifest.layers.iter().map(|layer| &layer.digest).eq(diff_ids),
        Ok(Document::Index(_)) | Err(_) => false,
    }
}

fn blob_name(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm().as_str(), digest.hex())
}

/// A file that is removed unless it was renamed.
struct PartFile {
    path: PathBuf,
}

impl Drop for PartFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Writes until nobody waits any more; then every write is an error.
struct CancelWriter<'a, W> {
    inner: W,
    cancelled: &'a Cancelled,
}

impl<W: Write> Write for CancelWriter<'_, W> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.cancelled.check()?;
        self.inner.write(buffer)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
