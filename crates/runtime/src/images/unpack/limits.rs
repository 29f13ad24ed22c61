//! The bounds of one layer, and the reader that keeps them while the layer streams through.
//!
//! A layer is data from a stranger: a few kilobytes may claim to be petabytes. The bounds are checked on the decompressed
//! stream, before anything is written.

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// How large a layer may become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LayerLimits {
    /// Most bytes of the decompressed tar stream.
    pub bytes_max: u64,
    /// Most entries of the tar stream.
    pub entries_max: u64,
    /// Most decompressed bytes for each compressed byte, beyond the first [`RATIO_FREE_BYTES`].
    pub ratio_max: u64,
}

/// Below this many bytes no ratio is asked for: small layers of zeros are harmless and not rare.
pub const RATIO_FREE_BYTES: u64 = 1024 * 1024 * 1024;

impl Default for LayerLimits {
    /// 64 GiB, 2 million entries, and 200 to 1 (text compresses about 10 to 1; gzip's limit is 1032 to 1).
    fn default() -> Self {
        Self { bytes_max: 64 * 1024 * 1024 * 1024, entries_max: 2_000_000, ratio_max: 200 }
    }
}

/// A bound that a layer broke. It travels as the inner error of an [`io::Error`] through the decoders.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LayerLimitError {
    /// Too many bytes.
    #[error("the layer is larger than {bytes_max} bytes when decompressed")]
    Bytes {
        /// The bound, in bytes.
        bytes_max: u64,
    },
    /// Too many entries.
    #[error("the layer has more than {entries_max} entries")]
    Entries {
        /// The bound.
        entries_max: u64,
    },
    /// A decompression bomb.
    #[error("the layer decompresses to more than {ratio_max} times its size, which no honest layer does")]
    Ratio {
        /// The bound.
        ratio_max: u64,
    },
}

/// Counts what passes. The count is shared, because the reader itself vanishes into a decoder.
#[derive(Debug)]
pub(crate) struct CountingReader<R> {
    inner: R,
    count: Arc<AtomicU64>,
}

impl<R> CountingReader<R> {
    pub(crate) fn new(inner: R) -> (Self, Arc<AtomicU64>) {
        let count = Arc::new(AtomicU64::new(0));
        (Self { inner, count: Arc::clone(&count) }, count)
    }
}

impl<R: Read> Read for CountingReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = self.inner.read(buffer)?;
        self.count.fetch_add(len as u64, Ordering::Relaxed);
        Ok(len)
    }
}

/// Passes the decompressed stream on as long as it keeps the bounds.
#[derive(Debug)]
pub(crate) struct LimitedReader<R> {
    inner: R,
    passed: u64,
    compressed: Arc<AtomicU64>,
    limits: LayerLimits,
}

impl<R> LimitedReader<R> {
    pub(crate) fn new(inner: R, compressed: Arc<AtomicU64>, limits: LayerLimits) -> Self {
        Self { inner, passed: 0, compressed, limits }
    }
}

impl<R: Read> Read for LimitedReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = self.inner.read(buffer)?;
        self.passed += len as u64;
        let LayerLimits { bytes_max, ratio_max, .. } = self.limits;
        if self.passed > bytes_max {
            return Err(io::Error::other(LayerLimitError::Bytes { bytes_max }));
        }
        let allowed = self.compressed.load(Ordering::Relaxed).saturating_mul(ratio_max);
        if self.passed > RATIO_FREE_BYTES && self.passed > allowed {
            return Err(io::Error::other(LayerLimitError::Ratio { ratio_max }));
        }
        Ok(len)
    }
}
