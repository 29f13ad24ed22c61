//! Archives: images as files, in the formats of OCI (`oci-archive`, and the same as a directory) and of `docker save`.

mod export;
mod load;
mod source;
mod tar_writer;

use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

pub use self::export::{ExportImageError, ExportTarget};
pub use self::load::{LoadImageError, LoadOptions};
pub use self::source::OpenArchiveError;

/// Where an archive comes from.
pub enum ArchiveInput {
    /// A file, or the directory of an OCI layout.
    Path(PathBuf),
    /// A stream, such as standard input.
    Reader(Box<dyn Read + Send>),
}

impl std::fmt::Debug for ArchiveInput {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Path(path) => f.debug_tuple("Path").field(path).finish(),
            Self::Reader(_) => f.write_str("Reader"),
        }
    }
}

impl ArchiveInput {
    /// Opens a file as a stream. The error comes with the path.
    pub(super) fn into_reader(self) -> Result<Box<dyn Read + Send>, (PathBuf, io::Error)> {
        match self {
            Self::Path(path) => match File::open(&path) {
                Ok(file) => Ok(Box::new(file)),
                Err(error) => Err((path, error)),
            },
            Self::Reader(reader) => Ok(reader),
        }
    }
}

/// Tells work on another thread, when dropped, that nobody waits for it any more.
#[derive(Debug)]
pub(super) struct CancelOnDrop(Arc<AtomicBool>);

/// The other end of a [`CancelOnDrop`].
#[derive(Debug, Clone)]
pub(super) struct Cancelled(Arc<AtomicBool>);

impl CancelOnDrop {
    pub(super) fn new() -> (Self, Cancelled) {
        let flag = Arc::new(AtomicBool::new(false));
        (Self(Arc::clone(&flag)), Cancelled(flag))
    }
}

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Cancelled {
    /// Reads from `inner` until nobody waits any more; then every read is an error.
    pub(super) fn reader<R: Read>(&self, inner: R) -> CancelReader<R> {
        CancelReader { inner, cancelled: self.clone() }
    }

    pub(super) fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    pub(super) fn check(&self) -> io::Result<()> {
        if self.is_set() { Err(io::Error::new(io::ErrorKind::ConnectionAborted, "cancelled")) } else { Ok(()) }
    }
}

/// See [`Cancelled::reader`].
#[derive(Debug)]
pub(super) struct CancelReader<R> {
    inner: R,
    cancelled: Cancelled,
}

impl<R: Read> Read for CancelReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.cancelled.check()?;
        self.inner.read(buffer)
    }
}

#[cfg(test)]
mod tests;
