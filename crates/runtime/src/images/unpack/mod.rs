//! Unpacking of one layer: from a compressed tar stream to a directory that overlayfs takes as a lower layer.
//!
//! Blocking, and without any knowledge of registries or of the store. A layer comes from a stranger, so everything about
//! it is doubted: its size ([`limits`]), its names ([`path`]), the symbolic links on the way to them ([`root`]).
//! Invariants: nothing outside the given directory is ever written, and success means that the whole stream was read and
//! has the digest that was asked for.
//!
//! ```text
//!   bytes ─ count ─ decompress ─ limits ─ hash ─ tar ─┬─ headers ── recipe
//!                                                     └─ entries ── fs/
//! ```

mod compression;
mod entries;
mod limits;
mod path;
mod reassemble;
mod recipe;
mod root;
mod tar;

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use serde::{Deserialize, Serialize};

use self::entries::EntryWriter;
use self::limits::{CountingReader, LimitedReader};
use self::recipe::RecipeWriter;
use super::digest::{Digest, DigestAlgorithm, Hasher};

pub use self::compression::UnsupportedCompression;
pub use self::limits::{LayerLimitError, LayerLimits, RATIO_FREE_BYTES};
pub use self::path::EntryPathError;
pub use self::reassemble::ReassembleLayerError;

pub(crate) use self::compression::{decompress, is_compressed};
pub(crate) use self::path::{clean_path, escape_path, split_path, unescape_path};
pub(crate) use self::reassemble::reassemble_layer;
pub(crate) use self::root::{OPAQUE_XATTR, is_whiteout};
pub(crate) use self::tar::{TarError, TarKind, TarReader, padding_of};

/// Below a layer's directory: its files.
pub(crate) const FILES_DIR: &str = "fs";
/// Below a layer's directory: files that a later entry of the same layer replaced, by number.
pub(crate) const DISPLACED_DIR: &str = "displaced";
/// Below a layer's directory: see [`recipe`].
pub(crate) const RECIPE_FILE: &str = "recipe.zst";

/// Bytes read from the decoder at once.
const BUFFER_LEN: usize = 256 * 1024;

/// What is worth knowing of an unpacked layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct UnpackedLayer {
    /// Digest of the tar stream.
    pub(crate) diff_id: Digest,
    /// Length of the tar stream.
    pub(crate) tar_bytes: u64,
    /// Number of entries.
    pub(crate) entries: u64,
    /// The root directory hides all lower layers. Overlayfs does not look at the mark on a root, so whoever stacks layers must.
    pub(crate) root_is_opaque: bool,
    /// Directories that lie in the layer only because something lies in them (escaped paths, the root as the empty path).
    /// Their attributes are those of the next lower layer that has an entry for them.
    pub(crate) implied: Vec<String>,
    /// How many objects are in [`DISPLACED_DIR`].
    pub(crate) displaced: u32,
}

/// Why a layer could not be unpacked.
#[derive(Debug, thiserror::Error)]
pub enum UnpackLayerError {
    /// The bytes could not be had: the download, or the file, failed.
    #[error("read the layer")]
    Read(#[source] io::Error),
    /// The bytes are no tar stream.
    #[error("the layer is broken: {0}")]
    Malformed(String),
    /// The bytes are compressed in a way that is not known, or not well.
    #[error("decompress the layer")]
    Decompress(#[source] io::Error),
    /// The compression is known, but not supported.
    #[error(transparent)]
    UnsupportedCompression(#[from] UnsupportedCompression),
    /// The layer is too large.
    #[error(transparent)]
    Limit(#[from] LayerLimitError),
    /// The name of an entry is refused.
    #[error("refuse entry {path:?}: {reason}")]
    EntryPath {
        /// The name, as it is in the layer.
        path: String,
        /// What is wrong with it.
        reason: EntryPathError,
    },
    /// A hard link whose target is refused.
    #[error("refuse hard link {path:?} to {target:?}: {reason}")]
    HardLinkPath {
        /// The name of the link.
        path: String,
        /// Its target, as it is in the layer.
        target: String,
        /// What is wrong with it.
        reason: EntryPathError,
    },
    /// A hard link to something that is not in the layer (or cannot be linked to).
    #[error("make hard link {path:?} to {target:?}, which has to be a file of the same layer")]
    HardLink {
        /// The name of the link.
        path: String,
        /// Its target.
        target: String,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// An entry that cannot be what it says it is.
    #[error("refuse entry {path:?}: {reason}")]
    Entry {
        /// The name.
        path: String,
        /// Why not.
        reason: &'static str,
    },
    /// An entry could not be written.
    #[error("{action} {path:?} of the layer")]
    Write {
        /// What was tried.
        action: &'static str,
        /// The name of the entry.
        path: String,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// The disk is full.
    #[error("no space left on the disk of the image store")]
    NoSpace(#[source] io::Error),
    /// The content is not what the image says it is.
    #[error("the layer has diff id {actual}, but the image says {expected}")]
    WrongDiffId {
        /// As in the image configuration.
        expected: Digest,
        /// As computed.
        actual: Digest,
    },
}

impl UnpackLayerError {
    fn write(action: &'static str, path: &[u8], source: io::Error) -> Self {
        if is_no_space(&source) {
            return Self::NoSpace(source);
        }
        Self::Write { action, path: escape_path(path), source }
    }

    fn from_tar(error: TarError) -> Self {
        let error = match error {
            TarError::Read(error) => error,
            malformed @ (TarError::Malformed { .. } | TarError::UnsupportedEntry { .. }) => return Self::Malformed(malformed.to_string()),
        };
        let inner = error.get_ref();
        if let Some(limit) = inner.and_then(|inner| inner.downcast_ref::<LayerLimitError>()) {
            return Self::Limit(*limit);
        }
        if let Some(unsupported) = inner.and_then(|inner| inner.downcast_ref::<UnsupportedCompression>()) {
            return Self::UnsupportedCompression(*unsupported);
        }
        if inner.is_some_and(|inner| inner.is::<SourceError>()) {
            return Self::Read(error);
        }
        Self::Decompress(error)
    }
}

/// Marks an error of the source itself, to tell it from an error of the decoder behind it.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub(crate) struct SourceError(pub(crate) io::Error);

/// Marks every error of the reader inside as a [`SourceError`].
struct SourceReader<R>(R);

impl<R: Read> Read for SourceReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.0.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(io::Error::other(SourceError(error))),
                Ok(len) => return Ok(len),
            }
        }
    }
}

/// Computes the digest of what passes.
struct HashingReader<R> {
    inner: R,
    hasher: Hasher,
}

impl<R: Read> Read for HashingReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..len]);
        Ok(len)
    }
}

/// Unpacks the layer that `source` yields into the empty directory `into`, and reads `source` to its end.
/// On failure the directory holds rubbish; it is the caller's to remove.
pub(crate) fn unpack_layer(
    source: impl Read + Send,
    into: &Path,
    limits: LayerLimits,
    expected: Option<&Digest>,
) -> Result<UnpackedLayer, UnpackLayerError> {
    let (source, compressed) = CountingReader::new(SourceReader(source));
    let stream = decompress(source).map_err(|error| UnpackLayerError::from_tar(TarError::Read(error)))?;
    let stream = LimitedReader::new(stream, compressed, limits);
    let algorithm = expected.map_or(DigestAlgorithm::Sha256, Digest::algorithm);
    let stream = HashingReader { inner: stream, hasher: Hasher::new(algorithm) };
    let mut reader = TarReader::new(BufReader::with_capacity(BUFFER_LEN, stream));

    let write_error = |source| UnpackLayerError::write("make the directory", b"", source);
    let recipe = File::create_new(into.join(RECIPE_FILE)).and_then(RecipeWriter::new).map_err(write_error)?;
    let mut writer = EntryWriter::begin(into, recipe)?;
    let mut entries = 0;
    while let Some(entry) = reader.next_entry().map_err(UnpackLayerError::from_tar)? {
        writer.write_raw(reader.raw())?;
        if entry.kind == TarKind::GlobalHeader {
            continue;
        }
        entries += 1;
        if entries > limits.entries_max {
            return Err(LayerLimitError::Entries { entries_max: limits.entries_max }.into());
        }
        writer.write_entry(&entry, &mut reader)?;
    }
    writer.write_raw(reader.raw())?;
    let mut recipe_error = None;
    let drained = reader.drain(|bytes| {
        let written = writer.write_raw(bytes);
        recipe_error = written.err();
        if recipe_error.is_some() { Err(io::Error::from(io::ErrorKind::Other)) } else { Ok(()) }
    });
    if let Some(error) = recipe_error {
        return Err(error);
    }
    drained.map_err(UnpackLayerError::from_tar)?;
    let tar_bytes = reader.offset();
    let diff_id = reader.into_inner().into_inner().hasher.finish();
    if let Some(expected) = expected.filter(|expected| **expected != diff_id) {
        return Err(UnpackLayerError::WrongDiffId { expected: expected.clone(), actual: diff_id });
    }
    let unpacked = writer.finish(diff_id, tar_bytes, entries)?;
    if unpacked.displaced == 0 {
        std::fs::remove_dir(into.join(DISPLACED_DIR)).map_err(write_error)?;
    }
    Ok(unpacked)
}

/// Whether the disk, or the quota on it, is full.
pub(crate) fn is_no_space(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) use self::tests::fuzz_seeds;
