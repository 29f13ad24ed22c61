//! What only the node can do: the seam between the API and the engine that runs the pods.
//!
//! Everything else goes through objects; see [`NodeClient`](crate::client::NodeClient).

use std::collections::BTreeMap;

use futures_util::future::BoxFuture;
use k8s_openapi::jiff::Timestamp;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;

/// A stream from the node.
pub type Reader = Box<dyn AsyncRead + Send + Unpin>;
/// A stream to the node.
pub type Writer = Box<dyn AsyncWrite + Send + Unpin>;

/// A pod, as the request found it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodRef {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The UID under which the node runs it.
    pub uid: String,
}

/// Which part of a container's log is wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogOptions {
    /// The container.
    pub container: String,
    /// Whether to wait for more at the end.
    pub follow: bool,
    /// The log of the instance before the present one.
    pub previous: bool,
    /// Nothing written before this.
    pub since: Option<Timestamp>,
    /// Each line begins with its time.
    pub timestamps: bool,
    /// The last lines only.
    pub tail_lines: Option<u64>,
    /// No more than this.
    pub limit_bytes: Option<u64>,
    /// Only this stream: `stdout` or `stderr`.
    pub stream: Option<String>,
}

/// A command that is to run in a container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExecOptions {
    /// The container.
    pub container: String,
    /// The command; empty when attaching to the main process.
    pub command: Vec<String>,
    /// The streams that are wanted.
    pub streams: Streams,
    /// The name of the user who asks.
    pub user: String,
}

/// Streams of a session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Streams {
    /// Input.
    pub stdin: bool,
    /// Output.
    pub stdout: bool,
    /// Errors; goes into the output if there is a terminal.
    pub stderr: bool,
    /// Whether there is a terminal.
    pub tty: bool,
}

/// The size of a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TerminalSize {
    /// Columns.
    pub width: u16,
    /// Rows.
    pub height: u16,
}

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// With this code; 128 and the number of a signal that ended it.
    Code(i32),
    /// It ended, and nobody can tell how: what is left of its output is still sent.
    Over,
    /// It goes on: the session is over.
    Detached,
}

/// A command that runs.
pub struct Session {
    /// Its input, if that was wanted. Dropping it ends the input.
    pub stdin: Option<Writer>,
    /// Its output, if that was wanted.
    pub stdout: Option<Reader>,
    /// Its errors, if they were wanted and there is no terminal.
    pub stderr: Option<Reader>,
    /// Takes the sizes of the terminal.
    pub resize: Option<mpsc::Sender<TerminalSize>>,
    /// Its end. Dropping this before ends the session.
    pub exit: BoxFuture<'static, Result<Exit, BackendError>>,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").finish_non_exhaustive()
    }
}

/// A connection into a pod.
pub struct Connection {
    /// What comes from the pod.
    pub reader: Reader,
    /// What goes to it.
    pub writer: Writer,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").finish_non_exhaustive()
    }
}

/// What has been used until a moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// By the whole machine.
    pub node: Used,
    /// By containers that run, by the UIDs under which the node runs their pods.
    pub pods: BTreeMap<String, Vec<ContainerUsage>>,
}

/// What one instance of a container has used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContainerUsage {
    /// Its name in the pod.
    pub name: String,
    /// The id of the instance.
    pub id: String,
    /// By it.
    pub used: Used,
}

/// Processor and memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Used {
    /// Processor time since the beginning, in nanoseconds.
    pub cpu_nanos: u64,
    /// The working set of now, in bytes.
    pub memory_bytes: u64,
}

/// Why the node cannot do what it is asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BackendError {
    /// The thing is not there.
    #[error("{0}")]
    NotFound(String),
    /// The request makes no sense in the present state.
    #[error("{0}")]
    Invalid(String),
    /// It failed.
    #[error("{0}")]
    Failed(String),
}

/// What the node can do.
pub trait Backend: Send + Sync + 'static {
    /// The log of a container.
    fn logs(&self, pod: PodRef, options: LogOptions) -> BoxFuture<'_, Result<Reader, BackendError>>;

    /// Runs a command in a container.
    fn exec(&self, pod: PodRef, options: ExecOptions) -> BoxFuture<'_, Result<Session, BackendError>>;

    /// Joins the streams of a container's main process.
    fn attach(&self, pod: PodRef, options: ExecOptions) -> BoxFuture<'_, Result<Session, BackendError>>;

    /// Connects to a port inside a pod.
    fn port_forward(&self, pod: PodRef, port: u16) -> BoxFuture<'_, Result<Connection, BackendError>>;

    /// What the machine has used until now, and the pods with these UIDs. What cannot be told of a pod is left out.
    fn usage(&self, uids: Vec<String>) -> BoxFuture<'_, Result<Usage, BackendError>>;
}

/// A node that can do nothing yet.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoBackend;

const NOTHING_RUNS: &str = "no engine runs behind this API";

impl Backend for NoBackend {
    fn logs(&self, _: PodRef, _: LogOptions) -> BoxFuture<'_, Result<Reader, BackendError>> {
        Box::pin(std::future::ready(Err(BackendError::Failed(NOTHING_RUNS.to_owned()))))
    }

    fn exec(&self, _: PodRef, _: ExecOptions) -> BoxFuture<'_, Result<Session, BackendError>> {
        Box::pin(std::future::ready(Err(BackendError::Failed(NOTHING_RUNS.to_owned()))))
    }

    fn attach(&self, _: PodRef, _: ExecOptions) -> BoxFuture<'_, Result<Session, BackendError>> {
        Box::pin(std::future::ready(Err(BackendError::Failed(NOTHING_RUNS.to_owned()))))
    }

    fn port_forward(&self, _: PodRef, _: u16) -> BoxFuture<'_, Result<Connection, BackendError>> {
        Box::pin(std::future::ready(Err(BackendError::Failed(NOTHING_RUNS.to_owned()))))
    }

    fn usage(&self, _: Vec<String>) -> BoxFuture<'_, Result<Usage, BackendError>> {
        Box::pin(std::future::ready(Err(BackendError::Failed(NOTHING_RUNS.to_owned()))))
    }
}
