//! How far a pull has come, for whoever wants to show it.

use std::sync::Arc;

use super::digest::Digest;

/// What is happening to a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PullPhase {
    /// The store has it already.
    AlreadyPresent,
    /// Its turn has not come, or another process, or another pull of this one, is unpacking it.
    Waiting,
    /// Bytes are coming, and are unpacked as they come.
    Downloading,
    /// All bytes are here, and some are still to be unpacked.
    Unpacking,
    /// It is in the store.
    Done,
}

/// A step of one layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PullProgress {
    /// The digest of the compressed layer, as in the manifest.
    pub layer: Digest,
    /// Bytes downloaded so far.
    pub bytes: u64,
    /// Bytes to be downloaded.
    pub total: u64,
    /// What is happening.
    pub phase: PullPhase,
}

/// Who is told. It is called from the task that pulls, so it must be quick.
#[derive(Clone, Default)]
pub struct ProgressListener(Option<Arc<dyn Fn(PullProgress) + Send + Sync>>);

impl ProgressListener {
    /// Tells `listener`.
    pub fn new(listener: impl Fn(PullProgress) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(listener)))
    }

    pub(crate) fn tell(&self, progress: PullProgress) {
        if let Some(listener) = &self.0 {
            listener(progress);
        }
    }
}

impl std::fmt::Debug for ProgressListener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.is_some() { "ProgressListener" } else { "ProgressListener(nobody)" })
    }
}
