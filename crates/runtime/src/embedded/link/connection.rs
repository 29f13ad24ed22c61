//! One connection to a shim: whole frames in, whole frames out.

use std::io;
use std::path::Path;
use std::time::Duration;

use shim::protocol::{
    Answer, Call, FrameReader, PROTOCOL_VERSION, ReadFrameError, Refusal, Request, ServerFrame, Snapshot, WriteFrameError, decode_body,
    encode_frame,
};

use tokio::io::AsyncWriteExt as _;
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;

use super::super::errors::chain;

/// How this program calls itself to the shim.
pub(crate) const CLIENT_NAME: &str = concat!("usher ", env!("CARGO_PKG_VERSION"));
const READ_BYTES: usize = 16 * 1024;
/// Frames that wait to be written. A caller waits for each answer, so no more than its concurrent calls are under way.
const UNWRITTEN_FRAMES_MAX: usize = 64;

/// The shim could not be reached, or does not speak our language.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    /// Nobody holds its lock.
    #[error("the shim process died")]
    Dead,
    /// It cannot be seen whether it lives.
    #[error("the shim cannot be looked for in {dir}")]
    Look {
        /// Its state folder.
        dir: String,
        /// Why.
        source: io::Error,
    },
    /// There is no socket, or nobody listens.
    #[error("cannot connect to the shim in {dir}")]
    Connect {
        /// Its state folder.
        dir: String,
        /// Why.
        source: io::Error,
    },
    /// It broke off.
    #[error("the shim in {dir} broke off while it greeted")]
    Broken {
        /// Its state folder.
        dir: String,
        /// Why.
        source: ConnectionError,
    },
    /// It does not accept us.
    #[error("the shim in {dir} refused the connection")]
    Refused {
        /// Its state folder.
        dir: String,
        /// Why.
        source: Refusal,
    },
    /// It answered something else.
    #[error("the shim in {dir} gave an unexpected answer to its greeting")]
    Unexpected {
        /// Its state folder.
        dir: String,
    },
    /// It did not answer.
    #[error("the shim in {dir} did not answer within {within:?}")]
    Silent {
        /// Its state folder.
        dir: String,
        /// How long it was given.
        within: Duration,
    },
}

impl ConnectError {
    /// It lives and does not speak, however often it is tried.
    pub(crate) fn is_hung(&self) -> bool {
        match self {
            Self::Connect { .. } | Self::Broken { .. } | Self::Silent { .. } => true,
            Self::Dead | Self::Look { .. } | Self::Refused { .. } | Self::Unexpected { .. } => false,
        }
    }

    /// How the loss of such a shim is told.
    pub(crate) fn loss(&self) -> String {
        if self.is_hung() { format!("the shim process does not answer: {}", chain(self)) } else { chain(self) }
    }
}

/// The connection cannot go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectionError {
    /// The other side is gone.
    #[error("the connection was closed")]
    Closed,
    /// The socket failed.
    #[error("the socket failed")]
    Socket(#[from] io::Error),
    /// Something that is no frame came.
    #[error("a frame cannot be understood")]
    Read(#[from] ReadFrameError),
    /// A request is too long.
    #[error("a request cannot be made into a frame")]
    Write(#[from] WriteFrameError),
}

/// A connection that is subscribed to all events.
#[derive(Debug)]
pub(crate) struct Connection {
    socket: OwnedReadHalf,
    frames: FrameReader,
    unwritten: mpsc::Sender<Vec<u8>>,
    last_request: u64,
}

impl Connection {
    /// Connects to the shim in `dir`, greets it and subscribes to its events, all of it within this time.
    pub(crate) async fn open(dir: &Path, within: Duration) -> Result<(Self, Snapshot), ConnectError> {
        let shown = || dir.display().to_string();
        let opened = async {
            let socket = connect(dir).map_err(|source| ConnectError::Connect { dir: shown(), source })?;
            let (read, write) = socket.into_split();
            let (unwritten, frames_to_write) = mpsc::channel(UNWRITTEN_FRAMES_MAX);
            tokio::spawn(write_frames(write, frames_to_write));
            let mut connection = Self { socket: read, frames: FrameReader::default(), unwritten, last_request: 0 };
            let hello = Call::Hello { protocol: PROTOCOL_VERSION, client: CLIENT_NAME.to_owned() };
            let Answer::Hello(_) = connection.greet(hello, dir).await? else {
                return Err(ConnectError::Unexpected { dir: shown() });
            };
            let Answer::State(snapshot) = connection.greet(Call::Subscribe, dir).await? else {
                return Err(ConnectError::Unexpected { dir: shown() });
            };
            Ok((connection, snapshot))
        };
        tokio::time::timeout(within, opened).await.unwrap_or_else(|_| Err(ConnectError::Silent { dir: shown(), within }))
    }

    /// Sends a call; returns the id of its answer.
    pub(crate) async fn send(&mut self, call: Call) -> Result<u64, ConnectionError> {
        self.last_request += 1;
        let mut frame = Vec::new();
        encode_frame(&Request { id: self.last_request, call }, &mut frame)?;
        self.unwritten.send(frame).await.map_err(|_| ConnectionError::Closed)?;
        Ok(self.last_request)
    }

    /// Waits for more bytes. Cancelling loses nothing.
    pub(crate) async fn fill(&mut self) -> Result<(), ConnectionError> {
        loop {
            self.socket.readable().await?;
            // On the stack, after the wait: a pod's task waits most of the time, and would keep the buffer.
            let mut buffer = [0; READ_BYTES];
            match self.socket.try_read(&mut buffer) {
                Ok(0) => return Err(ConnectionError::Closed),
                Ok(length) => {
                    self.frames.extend(&buffer[..length]);
                    return Ok(());
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// The next frame that has come as a whole.
    pub(crate) fn next_frame(&mut self) -> Result<Option<ServerFrame>, ConnectionError> {
        Ok(self.frames.next_body()?.map(decode_body).transpose()?)
    }

    async fn greet(&mut self, call: Call, dir: &Path) -> Result<Answer, ConnectError> {
        let shown = || dir.display().to_string();
        let broken = |source| ConnectError::Broken { dir: shown(), source };
        let sent = self.send(call).await.map_err(broken)?;
        loop {
            match self.next_frame().map_err(broken)? {
                Some(ServerFrame::Answer { id, result }) if id == sent => {
                    return result.map(|answer| *answer).map_err(|source| ConnectError::Refused { dir: shown(), source });
                }
                Some(_) => return Err(ConnectError::Unexpected { dir: shown() }),
                None => self.fill().await.map_err(broken)?,
            }
        }
    }
}

/// Connecting to a local socket does not wait: either somebody listens, or not.
fn connect(dir: &Path) -> io::Result<UnixStream> {
    let socket = shim::client::connect(dir)?;
    socket.set_nonblocking(true)?;
    UnixStream::from_std(socket)
}

/// Writes apart from reading, so that neither side can wait for the other for ever.
async fn write_frames(mut socket: OwnedWriteHalf, mut frames: mpsc::Receiver<Vec<u8>>) {
    while let Some(frame) = frames.recv().await {
        if socket.write_all(&frame).await.is_err() {
            return; // The reading side finds out, too.
        }
    }
}
