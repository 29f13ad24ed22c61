//! The recipe of a layer: how its tar stream is put together again, to the byte, from the unpacked files.
//!
//! An unpacked layer has lost what the digest of its tar stream covers: the order of entries, header variants, padding.
//! The recipe keeps just that (compressed: a few bytes for each file), and the content of files stays where it is. So no
//! layer is stored twice, and still any layer can be exported, and checked against its `diff_id`, at any time.
//!
//! ```text
//!   literal "header of a"    file 0 "a" 512    literal "padding, header of b"    file 1 "b" 7    literal "padding, end"
//! ```
//!
//! An entry that replaces an earlier one of the same layer moves that aside ([`Record::Displaced`]), since the stream
//! holds the content of both.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};

/// Literals are cut at this length, so a reader needs no more memory than that.
const LITERAL_LEN_MAX: usize = 64 * 1024;
/// Longest path in a record: what a tar header may hold.
const PATH_LEN_MAX: usize = 1024 * 1024;
/// Level 3 is where zstd is still much faster than the disk.
const ZSTD_LEVEL: i32 = 3;

const TAG_LITERAL: u8 = 0;
const TAG_FILE: u8 = 1;
const TAG_DISPLACED: u8 = 2;

/// One step of a recipe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Record {
    /// These bytes.
    Literal(Vec<u8>),
    /// The content of the file that entry number `entry` made at `path`, which is `size` bytes long.
    File { entry: u64, size: u64, path: Vec<u8> },
    /// Entry number `entry` moved away what was at `path`. Objects moved away are numbered from 0 in this order.
    Displaced { entry: u64, path: Vec<u8> },
}

/// Writes a recipe while a layer is unpacked.
pub(crate) struct RecipeWriter {
    encoder: zstd::Encoder<'static, BufWriter<File>>,
    literal: Vec<u8>,
}

impl std::fmt::Debug for RecipeWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RecipeWriter")
    }
}

impl RecipeWriter {
    pub(crate) fn new(file: File) -> io::Result<Self> {
        let encoder = zstd::Encoder::new(BufWriter::new(file), ZSTD_LEVEL)?;
        Ok(Self { encoder, literal: Vec::with_capacity(LITERAL_LEN_MAX) })
    }

    pub(crate) fn literal(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let len = bytes.len().min(LITERAL_LEN_MAX - self.literal.len());
            self.literal.extend_from_slice(&bytes[..len]);
            bytes = &bytes[len..];
            if self.literal.len() == LITERAL_LEN_MAX {
                self.flush_literal()?;
            }
        }
        Ok(())
    }

    pub(crate) fn file(&mut self, entry: u64, size: u64, path: &[u8]) -> io::Result<()> {
        self.flush_literal()?;
        self.encoder.write_all(&[TAG_FILE])?;
        self.encoder.write_all(&entry.to_le_bytes())?;
        self.encoder.write_all(&size.to_le_bytes())?;
        self.write_bytes(path)
    }

    pub(crate) fn displaced(&mut self, entry: u64, path: &[u8]) -> io::Result<()> {
        self.flush_literal()?;
        self.encoder.write_all(&[TAG_DISPLACED])?;
        self.encoder.write_all(&entry.to_le_bytes())?;
        self.write_bytes(path)
    }

    pub(crate) fn finish(mut self) -> io::Result<()> {
        self.flush_literal()?;
        self.encoder.finish()?.flush()
    }

    fn flush_literal(&mut self) -> io::Result<()> {
        if self.literal.is_empty() {
            return Ok(());
        }
        self.encoder.write_all(&[TAG_LITERAL])?;
        let literal = std::mem::take(&mut self.literal);
        self.write_bytes(&literal)?;
        self.literal = literal;
        self.literal.clear();
        Ok(())
    }

    fn write_bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        let len = u32::try_from(bytes.len()).map_err(io::Error::other)?;
        self.encoder.write_all(&len.to_le_bytes())?;
        self.encoder.write_all(bytes)
    }
}

/// Reads a recipe.
pub(crate) struct RecipeReader {
    decoder: zstd::Decoder<'static, BufReader<File>>,
}

impl std::fmt::Debug for RecipeReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RecipeReader")
    }
}

impl RecipeReader {
    pub(crate) fn new(file: File) -> io::Result<Self> {
        Ok(Self { decoder: zstd::Decoder::new(file)? })
    }

    /// The next step, `None` after the last one.
    pub(crate) fn next_record(&mut self) -> io::Result<Option<Record>> {
        let mut tag = [0];
        if self.decoder.read(&mut tag)? == 0 {
            return Ok(None);
        }
        Ok(Some(match tag[0] {
            TAG_LITERAL => Record::Literal(self.read_bytes(LITERAL_LEN_MAX)?),
            TAG_FILE => Record::File { entry: self.read_u64()?, size: self.read_u64()?, path: self.read_bytes(PATH_LEN_MAX)? },
            TAG_DISPLACED => Record::Displaced { entry: self.read_u64()?, path: self.read_bytes(PATH_LEN_MAX)? },
            _ => return Err(io::Error::from(io::ErrorKind::InvalidData)),
        }))
    }

    fn read_u64(&mut self) -> io::Result<u64> {
        let mut bytes = [0; 8];
        self.decoder.read_exact(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn read_bytes(&mut self, len_max: usize) -> io::Result<Vec<u8>> {
        let mut len = [0; 4];
        self.decoder.read_exact(&mut len)?;
        let len = u32::from_le_bytes(len) as usize;
        if len > len_max {
            return Err(io::Error::from(io::ErrorKind::InvalidData));
        }
        let mut bytes = vec![0; len];
        self.decoder.read_exact(&mut bytes)?;
        Ok(bytes)
    }
}
