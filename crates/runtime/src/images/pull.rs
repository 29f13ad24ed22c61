//! Pulling: from a registry into the store.
//!
//! A layer is unpacked while it is downloaded, so it needs no room twice; it becomes visible when all of it was there and
//! both of its digests are right. Dropping the future ends a pull at any point: what was begun is removed by the thread
//! that unpacks, and the next pull begins anew. Not here: whether an image has to be pulled, and how often.

use std::collections::BTreeSet;
use std::error::Error;
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes};
use futures_util::{FutureExt, StreamExt, TryStreamExt, stream};
use tokio::sync::{mpsc, oneshot};
use tracing::{debug, info};

use super::config::{ImageConfigError, check_config};
use super::digest::{Digest, Hasher};
use super::manifest::{Descriptor, Document, ImageManifest, ManifestError};
use super::progress::{ProgressListener, PullPhase, PullProgress};
use super::reference::{ImageReference, quote};
use super::registry::{Auth, BlobChunk, RegistryError, RepositoryClient};
use super::store::{Image, ImageStore, NewImage, StoreError, StoreFileLock, StoreTempDir};
use super::unpack::{UnpackLayerError, unpack_layer};

/// Pieces of a download that wait to be unpacked: a few hundred kilobytes.
const CHUNKS_WAITING_MAX: usize = 16;
/// Bytes between two reports of progress of a layer.
const PROGRESS_STEP: u64 = 256 * 1024;
/// From a slow registry fewer bytes are told of after this time.
const PROGRESS_PAUSE: Duration = Duration::from_millis(200);

/// How to pull.
#[derive(Debug, Clone, Default)]
pub struct PullOptions {
    /// Credentials to try, in this order; none means anonymous.
    pub auths: Vec<Auth>,
    /// Who is told how far it is.
    pub progress: ProgressListener,
}

/// Why a pull failed. See [`Self::message`] for the text that users see.
#[derive(Debug, thiserror::Error)]
pub enum PullImageError {
    /// The registry did not give the manifest.
    #[error("failed to resolve reference {}", quote(reference))]
    Resolve {
        /// The image.
        reference: String,
        /// Why not.
        #[source]
        source: RegistryError,
    },
    /// The registry did not give the configuration or a layer.
    #[error("failed to fetch {what}")]
    Fetch {
        /// The image.
        reference: String,
        /// The digest of what was asked for.
        what: Digest,
        /// Why not.
        #[source]
        source: RegistryError,
    },
    /// The manifest is none that can be used.
    #[error("failed to read the manifest of {}", quote(reference))]
    Manifest {
        /// The image.
        reference: String,
        /// What is wrong with it.
        #[source]
        source: ManifestError,
    },
    /// There are images behind the name, but none for this machine.
    #[error("no match for platform in manifest: {wanted} is needed, and there is {available}: not found")]
    NoMatchingPlatform {
        /// The image.
        reference: String,
        /// What was looked for.
        wanted: String,
        /// What there is.
        available: String,
    },
    /// The configuration is none that can be used.
    #[error("failed to read the configuration of {}", quote(reference))]
    Config {
        /// The image.
        reference: String,
        /// What is wrong with it.
        #[source]
        source: ImageConfigError,
    },
    /// A layer could not be unpacked.
    #[error("failed to extract layer {layer}")]
    Layer {
        /// The image.
        reference: String,
        /// The layer's digest.
        layer: Digest,
        /// Why not.
        #[source]
        source: UnpackLayerError,
    },
    /// The store failed.
    #[error("failed to store {}", quote(reference))]
    Store {
        /// The image.
        reference: String,
        /// How.
        #[source]
        source: StoreError,
    },
}

impl PullImageError {
    /// The image, in full.
    pub fn reference(&self) -> &str {
        match self {
            Self::Resolve { reference, .. }
            | Self::Fetch { reference, .. }
            | Self::Manifest { reference, .. }
            | Self::NoMatchingPlatform { reference, .. }
            | Self::Config { reference, .. }
            | Self::Layer { reference, .. }
            | Self::Store { reference, .. } => reference,
        }
    }

    /// The whole story in one line, as containerd tells it to the kubelet: what a container that waits with `ErrImagePull`
    /// has as its message, behind `rpc error: code = … desc = `.
    // k8s: 9.b.3
    pub fn message(&self) -> String {
        let mut message = format!("failed to pull and unpack image {}", quote(self.reference()));
        let mut error: Option<&(dyn Error + 'static)> = Some(self);
        while let Some(link) = error {
            let text = link.to_string();
            // A transparent error says what its source says.
            if !message.ends_with(&text) {
                message.push_str(": ");
                message.push_str(&text);
            }
            error = link.source();
        }
        message
    }

    /// What the registry said, if it was the registry.
    pub fn registry_error(&self) -> Option<&RegistryError> {
        match self {
            Self::Resolve { source, .. } | Self::Fetch { source, .. } => Some(source),
            Self::Manifest { .. } | Self::NoMatchingPlatform { .. } | Self::Config { .. } | Self::Layer { .. } | Self::Store { .. } => None,
        }
    }
}

/// A name resolved to one image.
struct Resolved {
    client: RepositoryClient,
    /// Digest of what the name itself means: the manifest, or the index that led to it.
    target: Digest,
    digest: Digest,
    bytes: Vec<u8>,
    manifest: ImageManifest,
}

/// One layer to be had.
#[derive(Debug, Clone)]
struct LayerJob {
    descriptor: Descriptor,
    diff_id: Digest,
}

impl ImageStore {
    /// Pulls an image, or makes sure that what is there is still what the registry has. CRI: `PullImage`.
    pub async fn pull(&self, reference: &ImageReference, options: &PullOptions) -> Result<Image, PullImageError> {
        let pull = Pull { store: self, reference, progress: &options.progress, unpacking: Mutex::default() };
        let resolved = pull.resolve(&options.auths).await?;
        let names = vec![reference.store_name(), reference.with_digest(resolved.target.clone()).store_name()];
        let (id, manifest) = (resolved.manifest.config.digest.clone(), resolved.digest.clone());
        let known = {
            let (id, names) = (id.clone(), names.clone());
            self.blocking(move |store| store.name_image(&id, &manifest, &names)).await.map_err(|source| pull.store_error(source))?
        };
        if let Some(image) = known {
            debug!(image = %reference, %id, "image is up to date");
            return Ok(image);
        }

        let config = pull.config(&resolved).await?;
        let checked = check_config(&config, resolved.manifest.layers.len(), &self.config().platform)
            .map_err(|source| PullImageError::Config { reference: reference.to_string(), source })?;
        let claims = checked.layers.clone();
        let _lease = self.blocking(move |store| store.work_lease(&claims)).await.map_err(|source| pull.store_error(source))?;
        pull.layers(&resolved, &checked.layers).await?;
        let new = NewImage {
            id,
            config,
            manifest: resolved.digest,
            size: resolved.manifest.content_size().saturating_add(resolved.bytes.len() as u64),
            manifest_bytes: resolved.bytes,
            names,
            layers: checked.layers,
        };
        let image = self.blocking(move |store| store.commit_image(new)).await.map_err(|source| pull.store_error(source))?;
        info!(image = %reference, id = %image.id, "image pulled");
        Ok(image)
    }
}

struct Pull<'a> {
    store: &'a ImageStore,
    reference: &'a ImageReference,
    progress: &'a ProgressListener,
    /// One for each layer that is being unpacked: closes when its thread has cleaned up.
    unpacking: Mutex<Vec<oneshot::Receiver<()>>>,
}

impl Pull<'_> {
    fn store_error(&self, source: StoreError) -> PullImageError {
        PullImageError::Store { reference: self.reference.to_string(), source }
    }

    fn manifest_error(&self, source: ManifestError) -> PullImageError {
        PullImageError::Manifest { reference: self.reference.to_string(), source }
    }

    fn fetch_error(&self, what: &Digest, source: RegistryError) -> PullImageError {
        PullImageError::Fetch { reference: self.reference.to_string(), what: what.clone(), source }
    }

    /// Finds the manifest, with the first credentials that the registry takes.
    async fn resolve(&self, auths: &[Auth]) -> Result<Resolved, PullImageError> {
        let anonymous = [Auth::Anonymous];
        let auths = if auths.is_empty() { &anonymous } else { auths };
        let mut result = self.resolve_with(&auths[0]).await;
        for auth in &auths[1..] {
            // A registry that does not want to say that something exists says that it was not found.
            let is_refused = |error: &RegistryError| matches!(error, RegistryError::Unauthorized { .. } | RegistryError::NotFound { .. });
            if !result.as_ref().err().and_then(PullImageError::registry_error).is_some_and(is_refused) {
                break;
            }
            result = self.resolve_with(auth).await;
        }
        result
    }

    async fn resolve_with(&self, auth: &Auth) -> Result<Resolved, PullImageError> {
        let limits = self.store.config().limits;
        let resolve_error = |source| PullImageError::Resolve { reference: self.reference.to_string(), source };
        let client = RepositoryClient::new(self.store.clients(), self.reference, auth.clone()).map_err(resolve_error)?;
        let top = client.manifest(self.reference, limits.manifest_bytes_max).await.map_err(resolve_error)?;
        let target = top.digest.clone();
        let document = Document::parse(&top.bytes, top.media_type.as_deref()).map_err(|source| self.manifest_error(source))?;
        let (fetched, manifest) = match document {
            Document::Image(manifest) => (top, manifest),
            Document::Index(index) => {
                let wanted = &self.store.config().platform;
                let Some(chosen) = wanted.choose(&index) else {
                    let platforms: BTreeSet<String> =
                        index.manifests.iter().filter_map(|entry| entry.platform.as_ref()).map(ToString::to_string).collect();
                    let available = platforms.into_iter().collect::<Vec<_>>().join(", ");
                    return Err(PullImageError::NoMatchingPlatform {
                        reference: self.reference.to_string(),
                        wanted: wanted.to_string(),
                        available: if available.is_empty() { "none".to_owned() } else { available },
                    });
                };
                let reference = self.reference.with_digest(chosen.digest.clone());
                let fetched = client.manifest(&reference, limits.manifest_bytes_max).await.map_err(resolve_error)?;
                let document = Document::parse(&fetched.bytes, Some(&chosen.media_type)).map_err(|source| self.manifest_error(source))?;
                let Document::Image(manifest) = document else {
                    return Err(self.manifest_error(ManifestError::Malformed("the index leads to another index".to_owned())));
                };
                (fetched, manifest)
            }
        };
        manifest.check(limits.layers_max).map_err(|source| self.manifest_error(source))?;
        Ok(Resolved { client, target, digest: fetched.digest, bytes: fetched.bytes, manifest })
    }

    async fn config(&self, resolved: &Resolved) -> Result<Vec<u8>, PullImageError> {
        let digest = resolved.manifest.config.digest.clone();
        let bytes_max = self.store.config().limits.config_bytes_max;
        let stored = {
            let digest = digest.clone();
            self.store.blocking(move |store| store.read_blob(&digest, bytes_max)).await.map_err(|source| self.store_error(source))?
        };
        match stored {
            Some(config) => Ok(config),
            None => resolved.client.blob(&digest, bytes_max).await.map_err(|source| self.fetch_error(&digest, source)),
        }
    }

    /// Gets all layers that the store has not, several at once.
    async fn layers(&self, resolved: &Resolved, diff_ids: &[Digest]) -> Result<(), PullImageError> {
        let mut seen = BTreeSet::new();
        let jobs: Vec<LayerJob> = std::iter::zip(&resolved.manifest.layers, diff_ids)
            .map(|(descriptor, diff_id)| LayerJob { descriptor: descriptor.clone(), diff_id: diff_id.clone() })
            .filter(|job| seen.insert(job.diff_id.clone()))
            .collect();
        // All are told of at once, so that nobody takes the first few for the whole.
        jobs.iter().for_each(|job| self.tell(job, 0, PullPhase::Waiting));
        let parallel = self.store.config().layers_parallel.max(1);
        let layers: Vec<_> = jobs.into_iter().map(|job| self.layer(&resolved.client, job).boxed()).collect();
        let result = stream::iter(layers).buffer_unordered(parallel).try_collect().await;
        if result.is_err() {
            // The first failure ends the other downloads too; what they have begun is gone when this returns.
            let unpacking = std::mem::take(&mut *self.unpacking.lock().unwrap_or_else(PoisonError::into_inner));
            for finished in unpacking {
                let _ = finished.await;
            }
        }
        result
    }

    fn tell(&self, job: &LayerJob, bytes: u64, phase: PullPhase) {
        self.progress.tell(PullProgress { layer: job.descriptor.digest.clone(), bytes, total: job.descriptor.size, phase });
    }

    async fn has_layer(&self, job: &LayerJob) -> Result<bool, PullImageError> {
        let diff_id = job.diff_id.clone();
        let stored = self.store.blocking(move |store| store.trusted_layer(&diff_id)).await;
        Ok(stored.map_err(|source| self.store_error(source))?.is_some())
    }

    async fn layer(&self, client: &RepositoryClient, job: LayerJob) -> Result<(), PullImageError> {
        if self.has_layer(&job).await? {
            self.tell(&job, job.descriptor.size, PullPhase::AlreadyPresent);
            return Ok(());
        }
        let lock_path = self.store.layer_lock(&job.diff_id);
        let lock = match StoreFileLock::try_acquire_removable(&lock_path) {
            Ok(Some(lock)) => Ok(lock),
            Ok(None) => {
                self.tell(&job, 0, PullPhase::Waiting);
                StoreFileLock::acquire_removable(&lock_path, self.store.config().layer_wait).await
            }
            Err(error) => Err(error),
        };
        let lock = lock.map_err(|source| self.store_error(source))?;
        if self.has_layer(&job).await? {
            self.tell(&job, job.descriptor.size, PullPhase::AlreadyPresent);
            return Ok(());
        }
        self.download_layer(client, &job, lock).await?;
        self.tell(&job, job.descriptor.size, PullPhase::Done);
        Ok(())
    }

    async fn download_layer(&self, client: &RepositoryClient, job: &LayerJob, lock: StoreFileLock) -> Result<(), PullImageError> {
        let temp = self.store.blocking(|store| store.temp_dir()).await.map_err(|source| self.store_error(source))?;
        let (sink, source) = mpsc::channel(CHUNKS_WAITING_MAX);
        let mut told = 0;
        let mut told_at = Instant::now();
        let progress = |bytes: u64| {
            let is_all = bytes == job.descriptor.size;
            if bytes >= told + PROGRESS_STEP || told_at.elapsed() >= PROGRESS_PAUSE || is_all {
                (told, told_at) = (bytes, Instant::now());
                self.tell(job, bytes, if is_all { PullPhase::Unpacking } else { PullPhase::Downloading });
            }
        };
        self.tell(job, 0, PullPhase::Downloading);
        let store = self.store.clone();
        let (finished, when_finished) = oneshot::channel();
        self.unpacking.lock().unwrap_or_else(PoisonError::into_inner).push(when_finished);
        let unpack = UnpackJob { job: job.clone(), temp, _lock: lock, _finished: finished };
        let unpacking = tokio::task::spawn_blocking(move || unpack.run(&store, source));
        let downloading = client.download(&job.descriptor.digest, job.descriptor.size, sink, progress);
        let (downloaded, unpacked) = tokio::join!(downloading, unpacking);
        // If the download failed, the unpacking could not but fail too.
        downloaded.map_err(|source| self.fetch_error(&job.descriptor.digest, source))?;
        match unpacked {
            Ok(Ok(())) => Ok(()),
            Ok(Err(LayerFailure::Registry(source))) => Err(self.fetch_error(&job.descriptor.digest, source)),
            Ok(Err(LayerFailure::Store(source))) => Err(self.store_error(source)),
            Ok(Err(LayerFailure::Unpack(source))) => {
                Err(PullImageError::Layer { reference: self.reference.to_string(), layer: job.descriptor.digest.clone(), source })
            }
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_) => Err(self.store_error(StoreError::Cancelled)),
        }
    }
}

/// How a layer fails that has been downloaded.
enum LayerFailure {
    Registry(RegistryError),
    Unpack(UnpackLayerError),
    Store(StoreError),
}

/// The half of a layer's pull that runs on a thread of its own. Order matters: first the directory goes, then the lock.
struct UnpackJob {
    job: LayerJob,
    temp: StoreTempDir,
    _lock: StoreFileLock,
    _finished: oneshot::Sender<()>,
}

impl UnpackJob {
    fn run(self, store: &ImageStore, source: mpsc::Receiver<BlobChunk>) -> Result<(), LayerFailure> {
        let Descriptor { digest, .. } = &self.job.descriptor;
        let mut reader = ChannelReader::new(source, Hasher::new(digest.algorithm()));
        let content = self.content()?;
        let unpacked = unpack_layer(&mut reader, &content, store.config().limits.layer, Some(&self.job.diff_id));
        let is_about_content = |error: &UnpackLayerError| {
            matches!(error, UnpackLayerError::Malformed(_) | UnpackLayerError::Decompress(_) | UnpackLayerError::WrongDiffId { .. })
        };
        if unpacked.as_ref().err().is_none_or(is_about_content) {
            // Bytes that were damaged on the way explain whatever is wrong with what they say.
            let actual = reader.finish().map_err(|error| LayerFailure::Unpack(UnpackLayerError::Read(error)))?;
            if actual != *digest {
                let (what, expected) = (format!("layer {digest}"), digest.clone());
                return Err(LayerFailure::Registry(RegistryError::BadDigest { what, expected, actual }));
            }
        }
        let layer = unpacked.map_err(LayerFailure::Unpack)?;
        store.publish_layer(&self.temp, &content, &layer).map_err(LayerFailure::Store)
    }

    fn content(&self) -> Result<PathBuf, LayerFailure> {
        let content = self.temp.path().join("layer");
        match std::fs::create_dir(&content) {
            Ok(()) => Ok(content),
            Err(source) => Err(LayerFailure::Store(StoreError::io("make", &content, source))),
        }
    }
}

/// Reads a download from its channel, and computes its digest on the way.
struct ChannelReader {
    source: mpsc::Receiver<BlobChunk>,
    current: Bytes,
    is_at_end: bool,
    hasher: Hasher,
}

impl ChannelReader {
    fn new(source: mpsc::Receiver<BlobChunk>, hasher: Hasher) -> Self {
        Self { source, current: Bytes::new(), is_at_end: false, hasher }
    }

    /// Reads to the end and gives the digest of all.
    fn finish(mut self) -> io::Result<Digest> {
        io::copy(&mut self, &mut io::sink())?;
        Ok(self.hasher.finish())
    }
}

impl Read for ChannelReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() && !self.is_at_end {
            match self.source.blocking_recv() {
                Some(BlobChunk::Data(bytes)) => {
                    self.hasher.update(&bytes);
                    self.current = bytes;
                }
                Some(BlobChunk::End) => self.is_at_end = true,
                None => return Err(io::Error::new(io::ErrorKind::ConnectionAborted, "the download was given up")),
            }
        }
        let len = self.current.len().min(buffer.len());
        self.current.copy_to_slice(&mut buffer[..len]);
        Ok(len)
    }
}

#[cfg(test)]
mod tests;
