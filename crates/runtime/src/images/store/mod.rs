//! The image store: a directory that many processes use at once, without a daemon between them.
//!
//! ```text
//!   lock                          held, shortly, by whoever changes the index, leases or temporary directories
//!   images.json                   names and images (index)
//!   blobs/sha256/…                manifests and configurations, checked whenever they are read
//!   layers/sha256/…/fs            unpacked layers by diff_id, each a lower directory of overlayfs (layers)
//!   parents/sha256/…              attributes of directories that layers leave open, by image (parents)
//!   leases/…                      who uses which layers (leases)
//!   locks/…                       one file while a layer is being unpacked, so that it is unpacked once
//!   tmp/…                         what is being made (temp)
//! ```
//!
//! Invariants: whatever is outside `tmp` is complete, because it got there by a rename; the lock of the store is never
//! held while something large is written or removed; nothing that a lease names is removed. Not here: where images come
//! from (`pull`, `archive`, `import`).

mod blobs;
mod images;
mod index;
mod layers;
mod leases;
mod lock;
mod parents;
mod prune;
mod temp;

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tracing::debug;

use self::index::{INDEX_VERSION, Index};
use self::lock::FileLock;
use self::temp::TempDir;
use super::digest::Digest;
use super::limits::ImageLimits;
use super::platform::Platform;
use super::registry::{RegistryClients, RegistryConfig};
use super::unpack::is_no_space;

pub use self::images::{Image, ImageQuery, ImageUser, ParseImageQueryError};
pub use self::leases::Lease;
pub use self::prune::{PruneImagesError, PruneReport, PruneScope, RemoveImageError, RemoveReport};

pub(crate) use self::images::NewImage;
pub(crate) use self::lock::FileLock as StoreFileLock;
pub(crate) use self::parents::copy_attributes;
pub(crate) use self::temp::TempDir as StoreTempDir;

const INDEX_FILE: &str = "images.json";
const LOCK_FILE: &str = "lock";
/// Largest index file: some hundred thousand images.
const INDEX_BYTES_MAX: u64 = 64 * 1024 * 1024;
const DIRECTORIES: [&str; 6] = ["blobs", "layers", "leases", "locks", "parents", "tmp"];

/// Settings of a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageStoreConfig {
    /// The directory that the store lives in. It is made if missing, with access for its owner only: layers hold
    /// set-user-id programs that are none of the host's.
    pub root: PathBuf,
    /// How large images may be.
    pub limits: ImageLimits,
    /// Longest wait for another process that changes the store. Changes are short, so this is a guard, not a queue.
    pub lock_wait: Duration,
    /// Longest wait for another process that unpacks a layer which is wanted here too.
    pub layer_wait: Duration,
    /// Layers downloaded at once for one image.
    pub layers_parallel: usize,
    /// How registries are reached.
    pub registries: RegistryConfig,
    /// The platform that images have to be for.
    pub platform: Platform,
}

impl ImageStoreConfig {
    /// The defaults for a store at `root`: waits of 30 s and 30 min, 3 layers at once.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self {
            root: root.into(),
            limits: ImageLimits::default(),
            lock_wait: Duration::from_secs(30),
            layer_wait: Duration::from_secs(30 * 60),
            layers_parallel: 3,
            registries: RegistryConfig::default(),
            platform: Platform::host(),
        }
    }
}

/// A handle on a store; clones share it.
#[derive(Debug, Clone)]
pub struct ImageStore {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    config: ImageStoreConfig,
    boot_id: String,
    clients: RegistryClients,
    /// Layers to be synced by the thread that does it, and whether there is one.
    unsynced: Mutex<(Vec<Digest>, bool)>,
}

/// What may go wrong with the store itself.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file system refuses.
    #[error("{action} {path:?} of the image store")]
    Io {
        /// What was tried.
        action: &'static str,
        /// With which file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// The disk is full.
    #[error("no space left on the disk of the image store, writing {path:?}")]
    NoSpace {
        /// The file that was written.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// Another process holds a lock for too long.
    #[error("the image store is busy: another process has held {path:?} for more than {} s", waited.as_secs())]
    Busy {
        /// The lock.
        path: PathBuf,
        /// How long was waited.
        waited: Duration,
    },
    /// A file of the store cannot be read as what it should be.
    #[error("{path:?} of the image store is broken: {what}; remove it, and pull or load the images again")]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// Another version of this program made the store.
    #[error("the image store {path:?} has layout {found}, and this program knows layout {INDEX_VERSION} only")]
    Layout {
        /// The store's index.
        path: PathBuf,
        /// The layout it has.
        found: u32,
    },
    /// The operation was given up because nobody waits for it.
    #[error("cancelled")]
    Cancelled,
}

impl StoreError {
    pub(crate) fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        if is_no_space(&source) { Self::NoSpace { path, source } } else { Self::Io { action, path, source } }
    }
}

impl ImageStore {
    /// Opens the store, makes it if it is missing, and removes what a crash has left.
    pub async fn open(config: ImageStoreConfig) -> Result<Self, StoreError> {
        let path = Path::new("/proc/sys/kernel/random/boot_id");
        let boot_id = fs::read_to_string(path).map_err(|source| StoreError::io("read", path, source))?;
        Self::open_in_boot(config, boot_id.trim()).await
    }

    /// The same, pretending to be in the boot `boot_id`.
    pub(crate) async fn open_in_boot(config: ImageStoreConfig, boot_id: &str) -> Result<Self, StoreError> {
        let clients = RegistryClients::new(config.registries.clone());
        let inner = Inner { config, boot_id: boot_id.to_owned(), clients, unsynced: Mutex::default() };
        let store = Self { inner: Arc::new(inner) };
        store.blocking(|store| store.prepare()).await?;
        Ok(store)
    }

    /// The settings.
    pub fn config(&self) -> &ImageStoreConfig {
        &self.inner.config
    }

    pub(crate) fn clients(&self) -> &RegistryClients {
        &self.inner.clients
    }

    pub(crate) fn dir(&self, name: &str) -> PathBuf {
        self.inner.config.root.join(name)
    }

    pub(crate) fn boot_id(&self) -> &str {
        &self.inner.boot_id
    }

    /// Runs `work` where it may block.
    pub(crate) async fn blocking<T, E>(&self, work: impl FnOnce(&Self) -> Result<T, E> + Send + 'static) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let store = self.clone();
        match tokio::task::spawn_blocking(move || work(&store)).await {
            Ok(result) => result,
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_) => Err(StoreError::Cancelled.into()),
        }
    }

    fn prepare(&self) -> Result<(), StoreError> {
        let root = &self.inner.config.root;
        let make = |path: &Path| {
            let io_error = |source| StoreError::io("make directory", path, source);
            DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(io_error)
        };
        make(root)?;
        for name in DIRECTORIES {
            make(&root.join(name))?;
        }
        self.read_index()?;
        // Cleaning is a courtesy: if somebody is at work, the next one does it.
        let left_over = match FileLock::try_acquire(&root.join(LOCK_FILE))? {
            Some(lock) => {
                self.leases_locked(&lock)?;
                self.remove_stale_locks()?;
                temp::take_over_left_over(&self.dir("tmp"))?
            }
            None => Vec::new(),
        };
        drop(left_over);
        Ok(())
    }

    /// Takes the lock of the store. Only for what is short.
    pub(crate) fn lock(&self) -> Result<FileLock, StoreError> {
        FileLock::acquire(&self.inner.config.root.join(LOCK_FILE), self.inner.config.lock_wait)
    }

    /// Makes a directory for what is being made, on the file system of the store.
    pub(crate) fn temp_dir(&self) -> Result<TempDir, StoreError> {
        let _lock = self.lock()?;
        TempDir::create(&self.dir("tmp"))
    }

    /// The same for a caller who holds the lock.
    fn temp_dir_locked(&self, _lock: &FileLock) -> Result<TempDir, StoreError> {
        TempDir::create(&self.dir("tmp"))
    }

    /// The path of the lock under which one layer is unpacked.
    pub(crate) fn layer_lock(&self, diff_id: &Digest) -> PathBuf {
        self.dir("locks").join(format!("{}-{}", diff_id.algorithm().as_str(), diff_id.hex()))
    }

    /// Removes lock files that killed processes left.
    fn remove_stale_locks(&self) -> Result<(), StoreError> {
        let directory = self.dir("locks");
        let io_error = |source| StoreError::io("list", &directory, source);
        for entry in fs::read_dir(&directory).map_err(io_error)? {
            drop(FileLock::try_acquire_removable(&entry.map_err(io_error)?.path())?);
        }
        Ok(())
    }

    /// Reads the index, as of some moment.
    pub(crate) fn read_index(&self) -> Result<Index, StoreError> {
        let path = self.inner.config.root.join(INDEX_FILE);
        let bytes = match read_bounded(&path, INDEX_BYTES_MAX) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Index::default()),
            bytes => bytes.map_err(|source| StoreError::io("read", &path, source))?,
        };
        let corrupt = |error: serde_json::Error| StoreError::Corrupt { path: path.clone(), what: error.to_string() };
        #[derive(serde::Deserialize)]
        struct Version {
            version: u32,
        }
        let Version { version } = serde_json::from_slice(&bytes).map_err(corrupt)?;
        if version != INDEX_VERSION {
            return Err(StoreError::Layout { path, found: version });
        }
        serde_json::from_slice(&bytes).map_err(corrupt)
    }

    /// Replaces the index. The caller holds the lock, and has read the index under it.
    pub(crate) fn write_index(&self, _lock: &FileLock, index: &Index) -> Result<(), StoreError> {
        let path = self.inner.config.root.join(INDEX_FILE);
        let bytes = serde_json::to_vec_pretty(index).map_err(|error| StoreError::io("write", &path, error.into()))?;
        self.replace_file(&path, &bytes, Durability::PowerLoss)
    }

    /// Writes a file so that at any instant there is the old one or the new one.
    fn replace_file(&self, path: &Path, bytes: &[u8], durability: Durability) -> Result<(), StoreError> {
        let new = self.dir("tmp").join(temp::random_name()?);
        let write = || {
            let mut file = File::create_new(&new)?;
            file.write_all(bytes)?;
            if durability == Durability::PowerLoss {
                file.sync_all()?;
            }
            fs::rename(&new, path)
        };
        write().map_err(|source| {
            let _ = fs::remove_file(&new);
            StoreError::io("write", path, source)
        })
    }

    /// Sees to it that the data of a layer gets to the disk, without anybody waiting for it.
    fn sync_later(&self, diff_id: Digest) {
        let mut unsynced = self.inner.unsynced.lock().unwrap_or_else(PoisonError::into_inner);
        unsynced.0.push(diff_id);
        if std::mem::replace(&mut unsynced.1, true) {
            return;
        }
        drop(unsynced);
        let store = self.clone();
        let spawned = std::thread::Builder::new().name("image-sync".to_owned()).spawn(move || store.sync_until_done());
        if let Err(error) = spawned {
            debug!(%error, "no thread to sync new layers; they are checked after the next boot");
            self.inner.unsynced.lock().unwrap_or_else(PoisonError::into_inner).1 = false;
        }
    }

    fn sync_until_done(&self) {
        loop {
            let layers = {
                let mut unsynced = self.inner.unsynced.lock().unwrap_or_else(PoisonError::into_inner);
                unsynced.1 = !unsynced.0.is_empty();
                if !unsynced.1 {
                    return;
                }
                std::mem::take(&mut unsynced.0)
            };
            let synced = File::open(self.dir("layers")).and_then(|directory| Ok(rustix::fs::syncfs(directory)?));
            for layer in layers {
                let marked = match &synced {
                    Ok(()) => self.mark_synced(&layer).map_err(|error| error.to_string()),
                    Err(error) => Err(error.to_string()),
                };
                if let Err(error) = marked {
                    debug!(%layer, %error, "layer not marked as synced; it is checked after the next boot");
                }
            }
        }
    }
}

/// What a write has to survive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Durability {
    /// The end of this process. For what is checked when it is read.
    Process,
    /// The end of the machine.
    PowerLoss,
}

fn read_bounded(path: &Path, len_max: u64) -> io::Result<Vec<u8>> {
    use std::io::Read;
    let mut bytes = Vec::new();
    File::open(path)?.take(len_max + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > len_max { Err(io::ErrorKind::FileTooLarge.into()) } else { Ok(bytes) }
}

/// The digests that name the entries of `directory/<algorithm>/`. Other entries are not ours and are left alone.
fn list_digests(directory: &Path) -> Result<Vec<Digest>, StoreError> {
    let io_error = |source| StoreError::io("list", directory, source);
    let mut digests = Vec::new();
    for algorithm in fs::read_dir(directory).map_err(io_error)? {
        let algorithm = algorithm.map_err(io_error)?;
        for entry in fs::read_dir(algorithm.path()).map_err(io_error)? {
            let entry = entry.map_err(io_error)?;
            let text = format!("{}:{}", algorithm.file_name().to_string_lossy(), entry.file_name().to_string_lossy());
            digests.extend(Digest::parse(&text));
        }
    }
    digests.sort();
    Ok(digests)
}

#[cfg(test)]
mod tests;
