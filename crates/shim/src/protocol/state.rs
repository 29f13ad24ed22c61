//! What a shim answers.

use serde::{Deserialize, Serialize};

use super::{ContainerId, Event, ExecId, RawBytes};
use crate::log::Stream;
use crate::moment::Moment;
use crate::records::{ContainerExit, ExecExit, ProcessIdentity, SentSignal, ShimIdentity};

/// A frame from the shim.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ServerFrame {
    /// The answer to a request.
    Answer {
        /// The request's id.
        id: u64,
        /// What came of it.
        result: Result<Box<Answer>, Refusal>,
    },
    /// Something happened.
    Event {
        /// Counts all events of this shim from 1, also those that nobody heard.
        sequence: u64,
        /// What.
        event: Event,
    },
    /// A container that this client follows wrote something. Not counted among the events.
    Output {
        /// Which container.
        container: ContainerId,
        /// Where it wrote.
        stream: Stream,
        /// What it wrote.
        bytes: RawBytes,
        /// When it was read.
        at: Moment,
    },
}

/// What came of a call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// To `Hello`.
    Hello(Greeting),
    /// To `State` and `Subscribe`.
    State(Snapshot),
    /// To `CreateContainer` and `StartContainer`: the container as it is after the call.
    Container(ContainerStatus),
    /// To `StopContainer`.
    Stopping(StopAccepted),
    /// To `Exec`: the exec as it is after the call, which may be the state of an earlier call with the same id.
    Exec(ExecStatus),
    /// To `Stats`.
    Stats(Vec<Stats>),
    /// To everything else.
    Done,
}

/// Who is at the other end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Greeting {
    /// The shim.
    pub shim: ShimIdentity,
}

/// Everything that a shim knows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// When this was true.
    pub at: Moment,
    /// The last event that is contained in this.
    pub sequence: u64,
    /// All containers that were not removed, ordered by id.
    pub containers: Vec<ContainerStatus>,
    /// All execs that were not removed or forgotten, ordered by id.
    pub execs: Vec<ExecStatus>,
}

/// A container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerStatus {
    /// Which.
    pub container: ContainerId,
    /// Its init.
    pub process: ProcessIdentity,
    /// When it was created.
    pub created_at: Moment,
    /// Where it is in its life.
    pub state: ContainerState,
    /// When it will be killed, if it is being stopped.
    pub stop_deadline: Option<StopDeadline>,
    /// The last signal that the shim sent to it.
    pub last_signal: Option<SentSignal>,
    /// Settings that this machine granted only in part, one phrase each.
    pub clamped: Vec<String>,
}

/// Where a container is in its life.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ContainerState {
    /// Created; its command does not run yet.
    Created,
    /// Its command runs.
    Running {
        /// Since when.
        started_at: Moment,
    },
    /// It has ended.
    Exited(Box<ContainerExit>),
}

/// When a container is killed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StopDeadline {
    /// Then.
    pub at: Moment,
    /// Because of this.
    pub why: String,
}

/// A stop is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StopAccepted {
    /// When the container is killed if it still lives: the nearest deadline of all stops so far.
    pub deadline: Moment,
    /// When the signal was sent: by this call, or by an earlier one.
    pub signaled_at: Moment,
}

/// An exec.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecStatus {
    /// Which.
    pub exec: ExecId,
    /// Where it runs.
    pub container: ContainerId,
    /// Where it is in its life.
    pub state: ExecState,
}

/// Where an exec is in its life.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExecState {
    /// Its command runs, or its exit is about to be told.
    Running {
        /// Its leader.
        process: ProcessIdentity,
        /// Since when.
        started_at: Moment,
        /// When it is killed.
        deadline: Option<Moment>,
    },
    /// It has ended.
    Exited(Box<ExecExit>),
}

/// What a container uses; `None` where the machine does not count it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stats {
    /// Which container.
    pub container: ContainerId,
    /// When it was read.
    pub at: Moment,
    /// Processor time, in nanoseconds.
    pub cpu_usage_nanos: Option<u64>,
    /// Memory charged, in bytes.
    pub memory_usage_bytes: Option<u64>,
    /// Memory charged less inactive file pages, in bytes.
    pub memory_working_set_bytes: Option<u64>,
    /// Anonymous memory, in bytes.
    pub memory_rss_bytes: Option<u64>,
    /// Processes and threads.
    pub pids: Option<u64>,
}

/// A call was not carried out, and nothing changed by it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// For programs.
    pub code: RefusalCode,
    /// For people: what was tried, with what, and why it did not work.
    pub message: String,
}

/// Why a call was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefusalCode {
    /// The client must say hello first, in this version.
    NotGreeted,
    /// A call that this shim does not know, or arguments that do not fit.
    UnknownCall,
    /// Arguments that cannot be right, such as a relative log path.
    InvalidArgument,
    /// No such container or exec.
    NotFound,
    /// The id was used before.
    AlreadyExists,
    /// Not in this state, such as an exec in a container that does not run.
    WrongState,
    /// A bound was reached.
    TooMany,
    /// The command cannot be executed. The message is the one that users of Kubernetes know.
    Command,
    /// The machine made a step fail.
    Failed,
}

impl Refusal {
    pub(crate) fn new(code: RefusalCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}
