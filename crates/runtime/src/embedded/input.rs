//! The input of a session: closed when it is shut down, and told when it has ended.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::AsyncWrite;
use tokio::sync::oneshot;

use crate::streams::StreamWriter;

/// Goes to a process. A pipe is closed with the last of its writers, so it is given up as soon as no more is to come.
pub(crate) struct Input {
    writer: Option<StreamWriter>,
    /// Nobody is told if the process does not read any more: the session goes on.
    ended: Option<oneshot::Sender<()>>,
}

impl Input {
    pub(crate) fn new(writer: impl AsyncWrite + Send + Unpin + 'static) -> Self {
        Self { writer: Some(Box::new(writer)), ended: None }
    }

    /// The same, and its end is told.
    pub(crate) fn telling(mut self, ended: oneshot::Sender<()>) -> Self {
        self.ended = Some(ended);
        self
    }

    fn end(&mut self) {
        self.writer = None;
        if let Some(ended) = self.ended.take() {
            let _ = ended.send(());
        }
    }
}

impl AsyncWrite for Input {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let Some(writer) = &mut self.writer else { return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())) };
        let written = ready!(Pin::new(writer).poll_write(context, bytes));
        if written.is_err() {
            self.ended = None;
        }
        Poll::Ready(written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.writer.as_mut().map_or(Poll::Ready(Ok(())), |writer| Pin::new(writer).poll_flush(context))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(writer) = &mut self.writer {
            ready!(Pin::new(writer).poll_shutdown(context))?;
        }
        self.end();
        Poll::Ready(Ok(()))
    }
}

impl Drop for Input {
    fn drop(&mut self) {
        self.end();
    }
}
