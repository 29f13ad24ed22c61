//! The beginning of a connection: until a client has sent the first words of HTTP, nobody knows which version it speaks, and no library
//! waits for them with a limit.

use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

/// How HTTP/2 begins.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The shortest request is `GET / HTTP/1.0` and two ends of lines.
const REQUEST_BYTES_MIN: usize = 18;

/// A connection that breaks if its client does not begin to speak.
pub(super) struct Begin<I> {
    io: I,
    /// Until it has begun.
    waiting: Option<Waiting>,
}

struct Waiting {
    limit: Pin<Box<Sleep>>,
    read: Vec<u8>,
}

impl<I> Begin<I> {
    pub(super) fn new(io: I, within: Duration) -> Self {
        Self { io, waiting: Some(Waiting { limit: Box::pin(tokio::time::sleep(within)), read: Vec::with_capacity(PREFACE.len()) }) }
    }
}

impl Waiting {
    /// Takes a look at what was read; whether the client has begun.
    fn has_begun(&mut self, bytes: &[u8]) -> bool {
        self.read.extend(bytes.iter().take(PREFACE.len() - self.read.len()));
        let needed = if PREFACE.starts_with(&self.read) { PREFACE.len() } else { REQUEST_BYTES_MIN };
        self.read.len() >= needed
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Begin<I> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.io).poll_read(context, buffer);
        let Some(waiting) = &mut self.waiting else { return read };
        match read {
            Poll::Ready(Ok(())) => {
                if waiting.has_begun(&buffer.filled()[before..]) {
                    self.waiting = None;
                }
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => waiting.limit.as_mut().poll(context).map(|()| Err(io::ErrorKind::TimedOut.into())),
        }
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Begin<I> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, context: &mut Context<'_>, parts: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    async fn only_a_client_that_begins_to_speak_is_waited_for() {
        for (said, begins) in [
            (&b""[..], false),
            (b"G", false),
            (b"GET / HTTP/1.0\r\n", false),
            (b"GET / HTTP/1.0\r\n\r\n", true),
            (b"POST /api/v1/namespaces", true),
            (b"PRI * HTTP/2.0\r\n\r\nSM", false),
            (PREFACE, true),
        ] {
            let (mut client, server) = tokio::io::duplex(64);
            let mut server = Begin::new(server, Duration::from_millis(10));
            client.write_all(said).await.expect("written");
            let mut read = vec![0; said.len()];
            server.read_exact(&mut read).await.expect("read");
            assert_eq!((read.as_slice(), server.waiting.is_none()), (said, begins), "{:?}", String::from_utf8_lossy(said));
            if !begins {
                assert_eq!(server.read_u8().await.expect_err("it ends").kind(), io::ErrorKind::TimedOut);
            }
        }
    }
}
