//! Locks between processes: `flock` on files of the store, with a bounded wait.
//!
//! A lock belongs to an open file, so it is gone with the process that held it, however that ended, and it holds between
//! tasks of one process too. Waiting means asking again: a blocking `flock` could neither be bounded nor cancelled.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::FlockOperation;
use rustix::io::Errno;

use super::StoreError;

/// First pause between two attempts; it doubles up to [`RETRY_MAX`].
const RETRY_MIN: Duration = Duration::from_millis(2);
/// Longest pause: how late a waiter may notice that a long unpack has ended.
const RETRY_MAX: Duration = Duration::from_millis(100);

/// A held lock; dropping it lets go.
#[derive(Debug)]
pub(crate) struct FileLock {
    file: File,
    /// Where the file is, if it goes with the lock.
    remove: Option<PathBuf>,
}

impl FileLock {
    /// Takes the lock at `path` if nobody has it.
    pub(crate) fn try_acquire(path: &Path) -> Result<Option<Self>, StoreError> {
        let io_error = |source| StoreError::io("lock", path, source);
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(path).map_err(io_error)?;
        Ok(Self::try_lock(file).map_err(io_error)?.filter(|lock| lock.is_still_at(path)))
    }

    /// Takes the lock on an open file or directory if nobody has it.
    pub(crate) fn try_lock(file: File) -> io::Result<Option<Self>> {
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Self { file, remove: None })),
            Err(Errno::AGAIN) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Waits for the lock at `path` on this thread.
    pub(crate) fn acquire(path: &Path, wait: Duration) -> Result<Self, StoreError> {
        wait_for(path, wait, || false, Self::try_acquire)
    }

    /// The same; the file is removed when the lock is dropped.
    pub(crate) fn try_acquire_removable(path: &Path) -> Result<Option<Self>, StoreError> {
        Ok(Self::try_acquire(path)?.map(|mut lock| {
            lock.remove = Some(path.to_owned());
            lock
        }))
    }

    /// Waits for the lock at `path` without holding up a thread. The file is removed when the lock is dropped.
    pub(crate) async fn acquire_removable(path: &Path, wait: Duration) -> Result<Self, StoreError> {
        let deadline = tokio::time::Instant::now() + wait;
        let mut pause = RETRY_MIN;
        loop {
            if let Some(lock) = Self::try_acquire_removable(path)? {
                return Ok(lock);
            }
            if tokio::time::Instant::now() + pause > deadline {
                return Err(StoreError::Busy { path: path.to_owned(), waited: wait });
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(RETRY_MAX);
        }
    }

    /// The same on this thread, until `is_cancelled`.
    pub(crate) fn acquire_removable_blocking(path: &Path, wait: Duration, is_cancelled: impl Fn() -> bool) -> Result<Self, StoreError> {
        wait_for(path, wait, is_cancelled, Self::try_acquire_removable)
    }

    /// Whoever had the lock before may have removed the file; then this lock is on a file that nobody else will find.
    fn is_still_at(&self, path: &Path) -> bool {
        let identity = |metadata: std::fs::Metadata| (metadata.dev(), metadata.ino());
        let here = self.file.metadata().map(identity).ok();
        here.is_some() && here == path.symlink_metadata().map(identity).ok()
    }
}

fn wait_for(
    path: &Path,
    wait: Duration,
    is_cancelled: impl Fn() -> bool,
    try_acquire: impl Fn(&Path) -> Result<Option<FileLock>, StoreError>,
) -> Result<FileLock, StoreError> {
    let deadline = Instant::now() + wait;
    let mut pause = RETRY_MIN;
    loop {
        if let Some(lock) = try_acquire(path)? {
            return Ok(lock);
        }
        if is_cancelled() {
            return Err(StoreError::Cancelled);
        }
        if Instant::now() + pause > deadline {
            return Err(StoreError::Busy { path: path.to_owned(), waited: wait });
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(RETRY_MAX);
    }
}

impl Drop for FileLock {
    fn drop(&mut self) {
        if let Some(path) = &self.remove {
            // Removed while held, so that no two processes hold locks on two files of this name.
            let _ = std::fs::remove_file(path);
        }
    }
}
