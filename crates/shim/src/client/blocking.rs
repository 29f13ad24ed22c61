//! A client that blocks: one connection, one call at a time, events kept in the order in which they came.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::io::Errno;

use crate::protocol::{
    Answer, Call, FrameReader, Greeting, PROTOCOL_VERSION, ReadFrameError, Refusal, Request, ServerFrame, WriteFrameError, decode_body,
    encode_frame, receive_with_fds, send_with_fds,
};
use crate::records::SHIM_SOCKET;

/// A shim could not be reached.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// There is no socket, or nobody behind it.
    #[error("cannot connect to the shim in {state_dir}")]
    Connect {
        /// The state directory.
        state_dir: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It is there but does not greet back.
    #[error("cannot greet the shim in {state_dir}")]
    Greet {
        /// The state directory.
        state_dir: PathBuf,
        /// Why not.
        source: CallError,
    },
}

/// A call brought no answer, or a refusal.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The shim did not do it.
    #[error("the shim refused")]
    Refused(#[from] Refusal),
    /// The connection failed or was closed.
    #[error("the connection to the shim failed")]
    Connection(#[from] io::Error),
    /// The shim took too long.
    #[error("the shim did not answer within {0:?}")]
    TimedOut(Duration),
    /// The shim sent something that is not of this protocol.
    #[error("the shim sent an unexpected frame")]
    Frame(#[from] ReadFrameError),
    /// The call has no wire form.
    #[error("the call cannot be sent")]
    Encode(#[from] WriteFrameError),
    /// The answer belongs to another call.
    #[error("the shim answered something else: {0:?}")]
    Unexpected(Box<ServerFrame>),
}

/// Opens a connection to the shim in `state_dir`, without a word. Works with paths of any length.
///
/// # Errors
/// When there is no such directory or socket, or nobody listens.
pub fn connect(state_dir: &Path) -> io::Result<UnixStream> {
    let folder = File::open(state_dir)?;
    UnixStream::connect(format!("/proc/self/fd/{}/{SHIM_SOCKET}", folder.as_raw_fd()))
}

/// A connection to a shim that has greeted back.
#[derive(Debug)]
pub struct ShimClient {
    wire: Wire,
    /// Events and output that came while an answer was awaited.
    kept: VecDeque<ServerFrame>,
    next_id: u64,
    timeout: Duration,
    greeting: Greeting,
}

impl ShimClient {
    /// Connects and greets. `timeout` bounds this and every call.
    ///
    /// # Errors
    /// When the shim cannot be reached or speaks another version.
    pub fn connect(state_dir: &Path, name: &str, timeout: Duration) -> Result<Self, ConnectError> {
        let stream = connect(state_dir).map_err(|source| ConnectError::Connect { state_dir: state_dir.to_owned(), source })?;
        let mut wire = Wire { stream, reader: FrameReader::default(), passed: VecDeque::new() };
        let greeting = wire.greet(name, timeout).map_err(|source| ConnectError::Greet { state_dir: state_dir.to_owned(), source })?;
        Ok(Self { wire, kept: VecDeque::new(), next_id: 1, timeout, greeting })
    }

    /// Who the shim is.
    pub fn greeting(&self) -> &Greeting {
        &self.greeting
    }

    /// Makes a call and waits for its answer.
    ///
    /// # Errors
    /// When the shim refuses or the connection fails.
    pub fn call(&mut self, call: Call) -> Result<Answer, CallError> {
        Ok(self.call_with_fds(call, &[])?.0)
    }

    /// Makes a call that passes descriptors or whose answer does.
    ///
    /// # Errors
    /// When the shim refuses or the connection fails.
    pub fn call_with_fds(&mut self, call: Call, fds: &[BorrowedFd<'_>]) -> Result<(Answer, Vec<OwnedFd>), CallError> {
        let id = self.next_id;
        self.next_id += 1;
        self.wire.send(&Request { id, call }, fds)?;
        let deadline = Instant::now() + self.timeout;
        loop {
            match self.wire.receive(deadline, self.timeout)? {
                ServerFrame::Answer { id: answered, result } if answered == id => {
                    return Ok((*result?, self.wire.passed.drain(..).collect()));
                }
                other @ ServerFrame::Answer { .. } => return Err(CallError::Unexpected(Box::new(other))),
                frame @ (ServerFrame::Event { .. } | ServerFrame::Output { .. }) => self.kept.push_back(frame),
            }
        }
    }

    /// The next event or output, waiting for at most `within`.
    ///
    /// # Errors
    /// When nothing comes in time or the connection fails.
    pub fn next_frame(&mut self, within: Duration) -> Result<ServerFrame, CallError> {
        match self.kept.pop_front() {
            Some(frame) => Ok(frame),
            None => self.wire.receive(Instant::now() + within, within),
        }
    }
}

/// Frames over a stream.
#[derive(Debug)]
struct Wire {
    stream: UnixStream,
    reader: FrameReader,
    passed: VecDeque<OwnedFd>,
}

impl Wire {
    fn greet(&mut self, name: &str, timeout: Duration) -> Result<Greeting, CallError> {
        let call = Call::Hello { protocol: PROTOCOL_VERSION, client: name.to_owned() };
        self.send(&Request { id: 0, call }, &[])?;
        let frame = self.receive(Instant::now() + timeout, timeout)?;
        let ServerFrame::Answer { id: 0, result } = frame else { return Err(CallError::Unexpected(Box::new(frame))) };
        let answer = result?;
        let Answer::Hello(greeting) = *answer else {
            return Err(CallError::Unexpected(Box::new(ServerFrame::Answer { id: 0, result: Ok(answer) })));
        };
        Ok(greeting)
    }

    fn send(&mut self, request: &Request, fds: &[BorrowedFd<'_>]) -> Result<(), CallError> {
        let mut bytes = Vec::new();
        encode_frame(request, &mut bytes)?;
        let mut rest = bytes.as_slice();
        let mut fds = fds;
        while !rest.is_empty() {
            match send_with_fds(self.stream.as_fd(), rest, fds) {
                Ok(sent) => (rest, fds) = (&rest[sent..], &[]),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(CallError::Connection(errno.into())),
            }
        }
        Ok(())
    }

    fn receive(&mut self, deadline: Instant, within: Duration) -> Result<ServerFrame, CallError> {
        let mut buffer = vec![0; READ_BYTES];
        loop {
            if let Some(body) = self.reader.next_body()? {
                return Ok(decode_body(body)?);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(CallError::TimedOut(within));
            }
            self.stream.set_read_timeout(Some(left))?;
            match receive_with_fds(self.stream.as_fd(), &mut buffer, &mut self.passed) {
                Ok(0) => return Err(CallError::Connection(io::ErrorKind::UnexpectedEof.into())),
                Ok(bytes) => self.reader.extend(&buffer[..bytes]),
                Err(Errno::INTR | Errno::AGAIN) => {}
                Err(errno) => return Err(CallError::Connection(errno.into())),
            }
        }
    }
}

const READ_BYTES: usize = 64 * 1024;
