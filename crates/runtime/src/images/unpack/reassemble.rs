//! Puts the tar stream of an unpacked layer together again, by its recipe.
//!
//! It gives the very bytes that were unpacked, or an error: the caller compares the digest. That makes it the check of a
//! layer's content as well.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags};

use super::recipe::{RecipeReader, Record};
use super::root::open_file;
use super::{DISPLACED_DIR, Digest, FILES_DIR, RECIPE_FILE, escape_path};
use crate::images::digest::Hasher;

const BUFFER_LEN: usize = 256 * 1024;

/// Why a layer could not be put together.
#[derive(Debug, thiserror::Error)]
pub enum ReassembleLayerError {
    /// The recipe could not be read.
    #[error("read the recipe of the layer")]
    Recipe(#[source] io::Error),
    /// A file of the layer could not be read.
    #[error("read {path:?} of the layer")]
    File {
        /// The path in the layer.
        path: String,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// The layer is not as it was unpacked.
    #[error("the stored layer {expected} has changed: it is {actual} now")]
    Changed {
        /// The digest that the stream had.
        expected: Digest,
        /// The digest that it has.
        actual: Digest,
    },
    /// The stream could not be written to where it was asked for.
    #[error("write the layer")]
    Write(#[source] io::Error),
}

/// An object that an entry moved away.
struct Displaced {
    entry: u64,
    path: Vec<u8>,
}

/// Writes the tar stream of the layer in `layer_dir` to `out`, and checks that its digest is `diff_id`.
pub(crate) fn reassemble_layer(layer_dir: &Path, diff_id: &Digest, out: &mut dyn Write) -> Result<(), ReassembleLayerError> {
    let displaced = displaced_objects(layer_dir)?;
    let open_directory = |name: &str| {
        rustix::fs::openat(CWD, layer_dir.join(name), OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
            .map_err(|source| ReassembleLayerError::File { path: name.to_owned(), source: source.into() })
    };
    let files = open_directory(FILES_DIR)?;
    let displaced_dir = if displaced.is_empty() { None } else { Some(open_directory(DISPLACED_DIR)?) };

    let mut hasher = Hasher::new(diff_id.algorithm());
    let mut recipe = open_recipe(layer_dir)?;
    while let Some(record) = recipe.next_record().map_err(ReassembleLayerError::Recipe)? {
        match record {
            Record::Displaced { .. } => {}
            Record::Literal(bytes) => {
                hasher.update(&bytes);
                out.write_all(&bytes).map_err(ReassembleLayerError::Write)?;
            }
            Record::File { entry, size, path } => {
                let file_error = |source| ReassembleLayerError::File { path: escape_path(&path), source };
                let file = open_content(&files, displaced_dir.as_ref(), &displaced, entry, &path).map_err(file_error)?;
                copy_content(file, size, &mut hasher, out, file_error)?;
            }
        }
    }
    let actual = hasher.finish();
    if actual == *diff_id { Ok(()) } else { Err(ReassembleLayerError::Changed { expected: diff_id.clone(), actual }) }
}

fn open_recipe(layer_dir: &Path) -> Result<RecipeReader, ReassembleLayerError> {
    File::open(layer_dir.join(RECIPE_FILE)).and_then(RecipeReader::new).map_err(ReassembleLayerError::Recipe)
}

fn displaced_objects(layer_dir: &Path) -> Result<Vec<Displaced>, ReassembleLayerError> {
    let mut recipe = open_recipe(layer_dir)?;
    let mut displaced = Vec::new();
    if !layer_dir.join(DISPLACED_DIR).exists() {
        return Ok(displaced);
    }
    while let Some(record) = recipe.next_record().map_err(ReassembleLayerError::Recipe)? {
        if let Record::Displaced { entry, path } = record {
            displaced.push(Displaced { entry, path });
        }
    }
    Ok(displaced)
}

/// Opens what entry number `entry` wrote at `path`: the first later entry that moved it, or a directory above it, away
/// tells where it is.
fn open_content(files: &OwnedFd, displaced_dir: Option<&OwnedFd>, displaced: &[Displaced], entry: u64, path: &[u8]) -> io::Result<File> {
    let moved = displaced.iter().enumerate().filter(|(_, object)| object.entry > entry).find_map(|(number, object)| {
        let rest = path.strip_prefix(object.path.as_slice())?;
        (rest.is_empty() || rest.starts_with(b"/")).then_some((number, rest))
    });
    match (moved, displaced_dir) {
        (Some((number, rest)), Some(directory)) => open_file(directory.as_fd(), &[number.to_string().as_bytes(), rest].concat()),
        _ => open_file(files.as_fd(), path),
    }
}

fn copy_content(
    file: File,
    size: u64,
    hasher: &mut Hasher,
    out: &mut dyn Write,
    file_error: impl Fn(io::Error) -> ReassembleLayerError,
) -> Result<(), ReassembleLayerError> {
    let mut content = file.take(size);
    let mut buffer = vec![0; BUFFER_LEN.min(usize::try_from(size).unwrap_or(BUFFER_LEN))];
    let mut left = size;
    while left > 0 {
        let len = content.read(&mut buffer).map_err(&file_error)?;
        if len == 0 {
            return Err(file_error(io::Error::from(io::ErrorKind::UnexpectedEof)));
        }
        hasher.update(&buffer[..len]);
        out.write_all(&buffer[..len]).map_err(ReassembleLayerError::Write)?;
        left -= len as u64;
    }
    Ok(())
}
