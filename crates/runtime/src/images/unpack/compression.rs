//! Compression of layers and archives, told by the first bytes.
//!
//! The media type of a layer names its compression too, but registries are full of layers where it is wrong; the bytes
//! are not.

use std::io::{self, BufReader, Read};

/// Largest window a zstd frame may ask for, as a power of two: 128 MiB of memory, what the command line tool allows.
const ZSTD_WINDOW_LOG_MAX: u32 = 27;
const BUFFER_LEN: usize = 128 * 1024;

const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// Skippable frames have 16 magics; `zstd:chunked` layers and parallel compressors may begin with one.
const ZSTD_SKIPPABLE_MAGIC: [u8; 3] = [0x2a, 0x4d, 0x18];
const BZIP2_MAGIC: [u8; 3] = *b"BZh";
const XZ_MAGIC: [u8; 6] = [0xfd, b'7', b'z', b'X', b'Z', 0];

/// How a stream is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compression {
    None,
    Gzip,
    Zstd,
}

/// A compression that container images do not use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{name} compression is not supported: use gzip, zstd or none")]
pub struct UnsupportedCompression {
    name: &'static str,
}

impl Compression {
    pub(crate) fn detect(start: &[u8]) -> Result<Self, UnsupportedCompression> {
        let is_skippable = start.len() >= 4 && start[0] & 0xf0 == 0x50 && start[1..4] == ZSTD_SKIPPABLE_MAGIC;
        if start.starts_with(&GZIP_MAGIC) {
            Ok(Self::Gzip)
        } else if start.starts_with(&ZSTD_MAGIC) || is_skippable {
            Ok(Self::Zstd)
        } else if start.starts_with(&BZIP2_MAGIC) {
            Err(UnsupportedCompression { name: "bzip2" })
        } else if start.starts_with(&XZ_MAGIC) {
            Err(UnsupportedCompression { name: "xz" })
        } else {
            Ok(Self::None)
        }
    }
}

/// Decompresses `source`, whatever its compression. Concatenated gzip members and zstd frames are one stream.
pub(crate) fn decompress<'a>(source: impl Read + Send + 'a) -> io::Result<Box<dyn Read + Send + 'a>> {
    let mut source = BufReader::with_capacity(BUFFER_LEN, source);
    // The first read may be short, and the longest magic is six bytes.
    let mut start = [0; 6];
    let mut len = 0;
    while len < start.len() {
        let count = source.read(&mut start[len..])?;
        if count == 0 {
            break;
        }
        len += count;
    }
    let compression = Compression::detect(&start[..len]).map_err(io::Error::other)?;
    let source = io::Cursor::new(start).take(len as u64).chain(source);
    Ok(match compression {
        Compression::None => Box::new(source),
        Compression::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(source)),
        Compression::Zstd => {
            let mut decoder = zstd::Decoder::with_buffer(source)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
            Box::new(decoder)
        }
    })
}

/// Whether a stream that begins like this has to be decompressed (or cannot be).
pub(crate) fn is_compressed(start: &[u8]) -> bool {
    Compression::detect(start) != Ok(Compression::None)
}
