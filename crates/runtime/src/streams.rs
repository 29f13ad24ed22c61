//! The streams of a process in a container, as CRI's `Exec` and `Attach` carry them: live, in both directions.
//!
//! Bytes go from the process to the reader through one pipe or terminal of the kernel, so whoever does not read holds up the
//! process, and nothing grows.

use std::io;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_util::future::BoxFuture;
use rustix::termios::{Winsize, tcsetwinsize};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::ExecError;

/// A stream from a process.
pub type StreamReader = Box<dyn AsyncRead + Send + Unpin>;
/// A stream to a process.
pub type StreamWriter = Box<dyn AsyncWrite + Send + Unpin>;

/// A command to be run in a container, with streams. CRI `ExecRequest`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamingExecRequest {
    /// The sandbox.
    pub pod_uid: String,
    /// The container instance.
    pub container_id: String,
    /// Unique in the pod's life: `[a-z0-9-]{1,100}`.
    pub exec_id: String,
    /// Not empty.
    pub command: Vec<String>,
    /// The streams that are wanted. Without one of them the command has `/dev/null` there.
    pub streams: WantedStreams,
    /// The size that its terminal, if it has one, begins with.
    pub size: Option<TerminalSize>,
}

/// A container whose main process somebody joins. CRI `AttachRequest`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttachRequest {
    /// The sandbox.
    pub pod_uid: String,
    /// The container instance.
    pub container_id: String,
    /// The streams that are wanted. `tty` says whether the container has a terminal; input that it does not take is not given.
    pub streams: WantedStreams,
    /// `stdinOnce`: the container's input, if it is no terminal, ends with this session's.
    pub stdin_once: bool,
}

/// Which streams of a process are wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WantedStreams {
    /// Input.
    pub stdin: bool,
    /// Output.
    pub stdout: bool,
    /// Errors; they come with the output of a terminal.
    pub stderr: bool,
    /// All through a terminal.
    pub tty: bool,
}

/// The size of a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TerminalSize {
    /// Characters in a line.
    pub columns: u16,
    /// Lines.
    pub rows: u16,
}

/// A process with its streams.
pub struct ContainerStreams {
    /// Its input. Shutting it down, or dropping it, ends the input; that of a terminal goes on.
    pub stdin: Option<StreamWriter>,
    /// Its output.
    pub stdout: Option<StreamReader>,
    /// Its errors, unless it has a terminal.
    pub stderr: Option<StreamReader>,
    /// Its terminal.
    pub terminal: Option<Terminal>,
    /// How it ended. Dropped before that, it says that nobody wants to know: a terminal hangs up, and a command is killed with all
    /// that it started if it does not end by that. The main process of a container goes on.
    pub exit: BoxFuture<'static, Result<StreamsEnd, ExecError>>,
}

impl std::fmt::Debug for ContainerStreams {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ContainerStreams").finish_non_exhaustive()
    }
}

/// How streams ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamsEnd {
    /// The command ended with this code: 0 to 255; 128 + signal when a signal ended it.
    Exited(i32),
    /// The container that was joined has ended; its status tells how.
    ContainerEnded,
    /// The input of the session ended, and the container goes on.
    Detached,
}

/// Our side of a terminal. Its clones are one terminal; at most one task reads and one writes.
#[derive(Clone, Debug)]
pub struct Terminal {
    side: Arc<AsyncFd<OwnedFd>>,
}

impl Terminal {
    /// Takes our side of a terminal.
    pub(crate) fn new(side: OwnedFd) -> io::Result<Self> {
        let flags = rustix::fs::fcntl_getfl(&side)?;
        rustix::fs::fcntl_setfl(&side, flags | rustix::fs::OFlags::NONBLOCK)?;
        Ok(Self { side: Arc::new(register(side)?) })
    }

    /// Gives it another size; programs in front are told by the kernel.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn resize(&self, size: TerminalSize) -> io::Result<()> {
        let size = Winsize { ws_row: size.rows, ws_col: size.columns, ws_xpixel: 0, ws_ypixel: 0 };
        Ok(tcsetwinsize(self.side.get_ref(), size)?)
    }
}

#[expect(unsafe_code, reason = "tokio marks the registration of descriptors as unsafe because the owner could close them meanwhile")]
fn register(side: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: the descriptor belongs to the `AsyncFd` alone and is never taken out of it.
    unsafe { AsyncFd::register(side) }.map_err(Into::into)
}

impl AsyncRead for Terminal {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            let mut guard = ready!(self.side.poll_read_ready(context))?;
            let unfilled = buffer.initialize_unfilled();
            match guard.try_io(|side| Ok(rustix::io::read(side.get_ref(), &mut *unfilled)?)) {
                Ok(Ok(read)) => {
                    buffer.advance(read);
                    return Poll::Ready(Ok(()));
                }
                // A terminal whose other side was closed by all says EIO: its end.
                Ok(Err(error)) if error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error()) => return Poll::Ready(Ok(())),
                Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(Err(error)) => return Poll::Ready(Err(error)),
                Err(_would_block) => {}
            }
        }
    }
}

impl AsyncWrite for Terminal {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            let mut guard = ready!(self.side.poll_write_ready(context))?;
            match guard.try_io(|side| Ok(rustix::io::write(side.get_ref(), bytes)?)) {
                Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(written) => return Poll::Ready(written),
                Err(_would_block) => {}
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
