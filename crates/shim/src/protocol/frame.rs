//! Frames on the wire: a length of four bytes, least significant first, and that many bytes of JSON.
//!
//! Works on byte buffers alone, so that the shim's event loop, an async engine and a blocking test share it. Invariant: no
//! frame is longer than [`FRAME_BYTES_MAX`], in either direction, and a length that says otherwise is an error before any
//! memory is taken for it.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Longest body of a frame, in bytes. A full snapshot of a pod with all its bounds reached stays below it.
pub const FRAME_BYTES_MAX: usize = 1 << 20;

const LENGTH_BYTES: usize = 4;

/// The other side sent something that is no frame of this protocol; the connection cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum ReadFrameError {
    /// A frame without a body.
    #[error("a frame announced an empty body")]
    Empty,
    /// A frame over the limit.
    #[error("a frame announced {length} bytes, more than the limit of {FRAME_BYTES_MAX}")]
    TooLong {
        /// The announced length in bytes.
        length: usize,
    },
    /// The body is not the expected message.
    #[error("a frame of {length} bytes holds no message of this protocol")]
    Malformed {
        /// Length of the body in bytes.
        length: usize,
        /// What JSON found wrong.
        source: serde_json::Error,
    },
}

/// A message could not be made into a frame.
#[derive(Debug, thiserror::Error)]
pub enum WriteFrameError {
    /// A message over the limit.
    #[error("a message would take {length} bytes, more than the limit of {FRAME_BYTES_MAX}")]
    TooLong {
        /// Length of the body in bytes.
        length: usize,
    },
    /// A message that JSON cannot hold, such as a path that is not UTF-8.
    #[error("a message cannot be written as JSON")]
    Unwritable {
        /// What JSON found wrong.
        source: serde_json::Error,
    },
}

/// Appends `message` to `out` as one frame. On an error `out` is as before.
///
/// # Errors
/// When the message is too long or has no JSON form.
pub fn encode_frame<T: Serialize>(message: &T, out: &mut Vec<u8>) -> Result<(), WriteFrameError> {
    let start = out.len();
    out.extend_from_slice(&[0; LENGTH_BYTES]);
    if let Err(source) = serde_json::to_writer(&mut *out, message) {
        out.truncate(start);
        return Err(WriteFrameError::Unwritable { source });
    }
    let length = out.len() - start - LENGTH_BYTES;
    if length > FRAME_BYTES_MAX {
        out.truncate(start);
        return Err(WriteFrameError::TooLong { length });
    }
    out[start..start + LENGTH_BYTES].copy_from_slice(&(length as u32).to_le_bytes());
    Ok(())
}

/// Reads the body of a frame as a message.
///
/// # Errors
/// When the body is not JSON or not this message.
pub fn decode_body<T: DeserializeOwned>(body: &[u8]) -> Result<T, ReadFrameError> {
    serde_json::from_slice(body).map_err(|source| ReadFrameError::Malformed { length: body.len(), source })
}

/// Collects received bytes and hands out whole frames. Holds no memory while nothing is pending.
#[derive(Debug, Default)]
pub struct FrameReader {
    pending: Vec<u8>,
    /// Bytes of `pending` that were handed out.
    consumed: usize,
}

impl FrameReader {
    /// Takes bytes as they came, cut anywhere.
    pub fn extend(&mut self, bytes: &[u8]) {
        if self.consumed == self.pending.len() {
            self.pending.clear();
        } else {
            self.pending.drain(..self.consumed);
        }
        self.consumed = 0;
        self.pending.extend_from_slice(bytes);
    }

    /// The body of the next whole frame, or `None` until more bytes are there.
    ///
    /// # Errors
    /// When the bytes cannot be a frame; the reader must not be used again.
    pub fn next_body(&mut self) -> Result<Option<&[u8]>, ReadFrameError> {
        let rest = &self.pending[self.consumed..];
        let Some(head) = rest.first_chunk::<LENGTH_BYTES>() else {
            if rest.is_empty() {
                self.pending = Vec::new();
                self.consumed = 0;
            }
            return Ok(None);
        };
        let length = u32::from_le_bytes(*head) as usize;
        match length {
            0 => return Err(ReadFrameError::Empty),
            1..=FRAME_BYTES_MAX => {}
            _ => return Err(ReadFrameError::TooLong { length }),
        }
        if rest.len() < LENGTH_BYTES + length {
            return Ok(None);
        }
        let start = self.consumed + LENGTH_BYTES;
        self.consumed = start + length;
        Ok(Some(&self.pending[start..self.consumed]))
    }

    /// Whether bytes of an unfinished frame are pending.
    pub fn is_mid_frame(&self) -> bool {
        self.consumed < self.pending.len()
    }
}

#[cfg(test)]
mod tests;
