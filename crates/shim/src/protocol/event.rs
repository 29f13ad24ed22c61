//! What a shim tells on its own.

use serde::{Deserialize, Serialize};

use super::{ContainerId, ExecId, RawBytes};
use crate::log::Stream;
use crate::moment::Moment;
use crate::records::{ContainerExit, ContainerStarted, ExecExit, ExecStarted, SentSignal};

/// Something that happened. Times are those of the happening, not of the telling.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// A container's command runs.
    ContainerStarted(ContainerStarted),
    /// A container has ended.
    ContainerExited {
        /// How.
        exit: Box<ContainerExit>,
        /// Whether it is written down.
        recorded: Recorded,
    },
    /// The shim sent a signal, for whatever reason.
    SignalSent {
        /// To whom.
        target: Target,
        /// Which, by whom and why.
        signal: SentSignal,
    },
    /// The command of an exec runs.
    ExecStarted(ExecStarted),
    /// An exec with captured output wrote something.
    ExecOutput {
        /// Which exec.
        exec: ExecId,
        /// Where it wrote.
        stream: Stream,
        /// What it wrote, raw.
        bytes: RawBytes,
        /// When it was read.
        at: Moment,
    },
    /// An exec has ended. All output that its leader wrote was told before.
    ExecExited {
        /// How.
        exit: Box<ExecExit>,
        /// Whether it is written down.
        recorded: Recorded,
    },
    /// The out-of-memory killer killed in a container.
    OomKill {
        /// Which container.
        container: ContainerId,
        /// How many of its processes so far.
        oom_kills: u64,
        /// When it was noticed.
        at: Moment,
        /// The cgroup's numbers, if they could be read.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        memory: Option<MemoryFacts>,
    },
    /// An exit record that could not be written at first is on the disk now.
    RecordSaved {
        /// Whose.
        target: Target,
    },
}

/// What a cgroup says of its memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryFacts {
    /// The limit in bytes.
    pub limit_bytes: Option<u64>,
    /// What was charged when it was looked.
    pub usage_bytes: Option<u64>,
    /// The most that was ever charged.
    pub peak_bytes: Option<u64>,
}

/// Whether an exit record is on the disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Recorded {
    /// Written and synced before this was told.
    Saved,
    /// Kept in the shim's memory only, and tried again.
    Unsaved {
        /// Why it could not be written.
        error: String,
    },
}

/// A container, or an exec in one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// A container.
    Container(ContainerId),
    /// An exec.
    Exec(ExecId),
}
