//! The download of a layer: bytes for whoever unpacks them, while they come.
//!
//! When the connection breaks, the download goes on where it was, so the unpacking behind it never notices. What the bytes
//! are is not judged here: their digest is checked by the receiver, at the end.

use bytes::Bytes;
use reqwest::StatusCode;
use tokio::sync::mpsc;
use tracing::debug;

use super::client::RepositoryClient;
use super::error::RegistryError;
use crate::images::digest::Digest;

/// A piece of a download.
#[derive(Debug)]
pub(crate) enum BlobChunk {
    /// The next bytes.
    Data(Bytes),
    /// That was all. A channel that closes without this means that the download was given up.
    End,
}

impl RepositoryClient {
    /// Sends the blob `digest` of `size` bytes to `sink`, in order, and tells `progress` how many bytes there were so far.
    /// Ends early and without an error if nobody receives any more.
    pub(crate) async fn download(
        &self,
        digest: &Digest,
        size: u64,
        sink: mpsc::Sender<BlobChunk>,
        mut progress: impl FnMut(u64),
    ) -> Result<(), RegistryError> {
        let mut received = 0;
        let mut retries = self.retries;
        let mut pause = self.retry_pause;
        loop {
            let before = received;
            match self.download_from(digest, size, &mut received, &sink, &mut progress).await {
                Err(error) if error.is_transient() => {
                    // A connection that brings something each time may break as often as it likes.
                    if received > before {
                        (retries, pause) = (self.retries, self.retry_pause);
                    }
                    retries = retries.checked_sub(1).ok_or(error)?;
                    debug!(%digest, received, "download broke off, taking it up again");
                    tokio::time::sleep(pause).await;
                    pause *= 2;
                }
                result => return result,
            }
        }
    }

    async fn download_from(
        &self,
        digest: &Digest,
        size: u64,
        received: &mut u64,
        sink: &mpsc::Sender<BlobChunk>,
        progress: &mut impl FnMut(u64),
    ) -> Result<(), RegistryError> {
        let (mut response, url) = self.open_blob(digest, *received).await?;
        let bad_size = || RegistryError::BadSize { what: digest.to_string(), expected: size };
        let continues = response.status() == StatusCode::PARTIAL_CONTENT;
        let mut skip = if continues { 0 } else { *received };
        while let Some(chunk) = self.chunk(&mut response, &url).await? {
            let skipped = usize::try_from(skip).unwrap_or(usize::MAX).min(chunk.len());
            skip -= skipped as u64;
            let data = chunk.slice(skipped..);
            if data.is_empty() {
                continue;
            }
            *received += data.len() as u64;
            if *received > size {
                return Err(bad_size());
            }
            if sink.send(BlobChunk::Data(data)).await.is_err() {
                return Ok(());
            }
            progress(*received);
        }
        if *received < size {
            return Err(bad_size());
        }
        let _ = sink.send(BlobChunk::End).await;
        Ok(())
    }
}
