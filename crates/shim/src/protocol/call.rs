//! What a client may ask of a shim.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{ContainerId, ExecId, SignalNumber};
use crate::log::LogLimits;

/// One call with the id that its answer will have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Chosen by the client; the shim only repeats it.
    pub id: u64,
    /// What is asked.
    pub call: Call,
}

/// A body that is no request of this version.
#[derive(Debug, thiserror::Error)]
pub enum MalformedRequest {
    /// It has an id, so the refusal can be told: a call of a newer version, or arguments that do not fit.
    #[error("request {id} cannot be understood")]
    Call {
        /// The id of the request.
        id: u64,
        /// What does not fit.
        source: serde_json::Error,
    },
    /// It has not even an id.
    #[error("a frame holds no request")]
    NoRequest {
        /// What JSON found wrong.
        source: serde_json::Error,
    },
}

impl Request {
    /// Reads a request from the body of a frame.
    ///
    /// # Errors
    /// When the body is no request, or one of an unknown kind.
    pub fn parse(body: &[u8]) -> Result<Self, MalformedRequest> {
        #[derive(Deserialize)]
        struct IdOnly {
            id: u64,
        }
        serde_json::from_slice(body).map_err(|source| match serde_json::from_slice(body) {
            Ok(IdOnly { id }) => MalformedRequest::Call { id, source },
            Err(_) => MalformedRequest::NoRequest { source },
        })
    }
}

/// The calls. Reasons (`why`) are shown to users with the signal they led to; up to 256 bytes, the rest is cut.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Call {
    /// The first call on a connection. Answered by [`super::Answer::Hello`].
    Hello {
        /// The version that the client speaks; another one than the shim's is refused.
        protocol: u32,
        /// The client's name, for the shim's log.
        client: String,
    },
    /// The whole truth. Answered by [`super::Answer::State`].
    State,
    /// Like [`Call::State`], and every event from then on.
    Subscribe,
    /// Creates a container up to the point where its command would run. Answered by [`super::Answer::Container`].
    CreateContainer(Box<CreateContainer>),
    /// Runs the command of a created container. Answered by [`super::Answer::Container`]: a command that cannot be executed is
    /// an exit (with [`crate::records::End::NotStarted`]), not a refusal.
    StartContainer {
        /// Which.
        container: ContainerId,
    },
    /// Sends a signal to the container's init, and nothing else. Answered by [`super::Answer::Done`].
    SignalContainer {
        /// Which.
        container: ContainerId,
        /// What to send.
        signal: SignalNumber,
        /// Why.
        why: String,
    },
    /// Sends `signal` to the container's init and arms SIGKILL for the whole container at the deadline, in the shim: the container
    /// is gone when its grace is over, whether or not the client still lives. Asked again, the signal is not sent twice, and
    /// the deadline can only come nearer. Answered by [`super::Answer::Stopping`].
    StopContainer {
        /// Which.
        container: ContainerId,
        /// What to send.
        signal: SignalNumber,
        /// The grace period in milliseconds, from this moment.
        timeout_ms: u64,
        /// Why.
        why: String,
    },
    /// Sends SIGKILL to every process of the container. Answered by [`super::Answer::Done`], the exit comes as an event.
    KillContainer {
        /// Which.
        container: ContainerId,
        /// Why.
        why: String,
    },
    /// Forgets a container that has exited, and its records, execs and cgroup. A created one is killed. A missing one is no
    /// error. Its log files stay. Answered by [`super::Answer::Done`].
    RemoveContainer {
        /// Which.
        container: ContainerId,
    },
    /// Runs a command in a running container, once for each exec id: asked again, the answer is the exec's state, and nothing
    /// is run. Answered by [`super::Answer::Exec`].
    Exec(Box<Exec>),
    /// Kills the whole process tree of an exec, descendants that outlived its leader included. Answered by
    /// [`super::Answer::Done`].
    KillExec {
        /// Which.
        exec: ExecId,
        /// Why.
        why: String,
    },
    /// Forgets an exec that has ended, with its records and output. Descendants that still run are left alone. A missing one
    /// is no error. Answered by [`super::Answer::Done`].
    RemoveExec {
        /// Which.
        exec: ExecId,
    },
    /// Opens the container's log file again, after someone else renamed it. Answered by [`super::Answer::Done`].
    ReopenLog {
        /// Which.
        container: ContainerId,
    },
    /// Changes the limits of the container's log. Answered by [`super::Answer::Done`].
    SetLogLimits {
        /// Which.
        container: ContainerId,
        /// The new limits.
        limits: LogLimits,
    },
    /// Sets the size of the container's terminal. Answered by [`super::Answer::Done`].
    ResizeTerminal {
        /// Which.
        container: ContainerId,
        /// The new size.
        size: TerminalSize,
    },
    /// Asks for a file descriptor that writes to the container's standard input (`stdin: open`) or terminal. It comes with the
    /// answer, [`super::Answer::Done`]; of a terminal it is also readable, but reading takes output away from the log.
    OpenStdin {
        /// Which.
        container: ContainerId,
    },
    /// Closes the shim's end of the container's standard input: the container reads its end when all clients closed theirs
    /// too. Answered by [`super::Answer::Done`].
    CloseStdin {
        /// Which.
        container: ContainerId,
    },
    /// Asks for [`super::ServerFrame::Output`] frames with what the container writes from now on, raw, without waiting for
    /// line ends. Answered by [`super::Answer::Done`].
    FollowOutput {
        /// Which.
        container: ContainerId,
    },
    /// Writes what the container writes from now on, raw, into pipes whose write ends come with the request's frame: one for its
    /// output, one for its errors. They are closed when the stream has ended, when nobody reads them, or when a reader that does not
    /// read has held the container up for 30 s. Answered by [`super::Answer::Done`].
    AttachOutput {
        /// Which.
        container: ContainerId,
    },
    /// Ends [`Call::FollowOutput`]. Answered by [`super::Answer::Done`].
    UnfollowOutput {
        /// Which.
        container: ContainerId,
    },
    /// What the containers use at this moment. Answered by [`super::Answer::Stats`].
    Stats,
    /// Ends the shim. Answered by [`super::Answer::Done`] as the last thing it says.
    Shutdown {
        /// What to do with containers that live.
        mode: ShutdownMode,
    },
}

/// What a shutdown does with living containers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ShutdownMode {
    /// Refused while one lives.
    WhenEmpty,
    /// Everything in the pod's cgroup is killed, its exits are recorded, and the pod's cgroup is removed.
    KillAll,
}

/// A container to create.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreateContainer {
    /// Its id, new in this shim.
    pub container: ContainerId,
    /// The folder with the OCI `config.json`.
    pub bundle: PathBuf,
    /// Its root file system.
    pub rootfs: Rootfs,
    /// Its cgroup, relative to the root of every hierarchy, below the pod's.
    pub cgroup: String,
    /// Where its output goes.
    pub log: LogTarget,
    /// Its standard streams.
    pub stdio: Stdio,
    /// The OCI runtime that makes it, by its command line, in place of the shim itself. Absolute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runtime: Option<PathBuf>,
}

/// Where the root file system of a container comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rootfs {
    /// A prepared directory.
    Path(PathBuf),
    /// An overlay, mounted in the container's mount namespace only.
    Overlay {
        /// Read-only layers, the topmost first.
        lower: Vec<PathBuf>,
        /// Takes the writes.
        upper: PathBuf,
        /// The overlay's own directory, on the file system of `upper`.
        work: PathBuf,
    },
}

/// The log of a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogTarget {
    /// The file, absolute; its folders are made.
    pub path: PathBuf,
    /// How large it may grow.
    #[serde(default)]
    pub limits: LogLimits,
}

/// The standard streams of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stdio {
    /// Output and errors apart, each through a pipe.
    Pipes {
        /// What it reads.
        stdin: Stdin,
    },
    /// A terminal (`process.terminal` in the bundle, its first size in `process.consoleSize`); its output is logged as stdout.
    Terminal,
}

/// The standard input of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stdin {
    /// Nothing to read, `/dev/null`.
    Null,
    /// A pipe that the shim holds open, over all clients, until [`Call::CloseStdin`].
    Open,
}

/// The size of a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TerminalSize {
    /// Lines.
    pub rows: u16,
    /// Characters in a line.
    pub columns: u16,
}

/// A command to run in a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exec {
    /// Its id, never used before.
    pub exec: ExecId,
    /// Where to run it.
    pub container: ContainerId,
    /// The file with the OCI process (`process` of a `config.json`); read before the answer comes.
    pub process: PathBuf,
    /// After this many milliseconds the whole process tree is killed. `None`: no limit.
    pub timeout_ms: Option<u64>,
    /// Where its output goes.
    pub output: ExecOutput,
    /// For how long its end is remembered.
    pub keep: Keep,
}

/// Where the output of an exec goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExecOutput {
    /// The shim keeps it in the exec's `output.log` and tells it as events, up to the cap. It reads nothing.
    Captured {
        /// The cap, in bytes of output of both streams together; at most 1 MiB.
        bytes_max: u32,
    },
    /// Three file descriptors come with the request's frame: stdin, stdout, stderr. The shim keeps none of them.
    Passed,
    /// A terminal (`terminal` in the process, its first size in `consoleSize`), whose other side comes with the answer's frame as
    /// a file descriptor. The shim keeps none of it: the client reads, writes and resizes.
    Terminal,
}

impl ExecOutput {
    /// The cap where nothing else is wanted: room for a stack trace, not for a dump.
    pub const BYTES_MAX_DEFAULT: u32 = 64 * 1024;
    /// The largest cap.
    pub const BYTES_MAX_LIMIT: u32 = 1024 * 1024;
}

/// For how long the end of an exec is remembered, so that it is not run again and its result can be collected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Keep {
    /// Until it is removed: hooks, which must run exactly once.
    UntilRemoved,
    /// Until newer ones push it out: probes, of which only the latest result matters.
    Recent,
    /// For as long as the client holds it: sessions, which nobody can go on with. After the descriptors of its output comes one more,
    /// the end of a pipe to read from. When nobody has the other end any more, a command that still runs is killed (one with a terminal,
    /// which has been hung up on by then, two seconds later), and its end is forgotten.
    WhileHeld,
}
