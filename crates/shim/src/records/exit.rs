//! The life of a container or an exec as records: created, started, ended, and who had a hand in the end.

use serde::{Deserialize, Serialize};

use super::{ProcessIdentity, SignalHandling};
use crate::moment::Moment;
use crate::protocol::{ContainerId, ExecId, SignalNumber};

/// How a process ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// It called `exit`.
    Exited {
        /// 0 to 255.
        code: u8,
    },
    /// A signal ended it.
    Signaled {
        /// Which one.
        signal: SignalNumber,
    },
    /// Its command never ran.
    NotStarted {
        /// The text for users, such as `exec: "tapp": executable file not found in $PATH`.
        message: String,
        /// The kernel's answer, when it was the command that could not be executed.
        errno: Option<i32>,
    },
}

impl End {
    /// The exit code as Kubernetes shows it: a signal counts from 128, a command that never ran is 128.
    // k8s: 8.d.2
    pub fn exit_code(&self) -> i32 {
        match self {
            Self::Exited { code } => i32::from(*code),
            Self::Signaled { signal } => 128 + signal.as_raw(),
            Self::NotStarted { .. } => 128,
        }
    }
}

/// Who sent a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sender {
    /// A client asked for just this signal, or for the kill.
    Client,
    /// The deadline of a `StopContainer` was reached.
    StopDeadline,
    /// The time limit of an exec was reached.
    ExecTimeout,
    /// The container's init had exited, and what it left behind was killed.
    ContainerExit,
    /// The shim was told to shut down by force.
    Shutdown,
}

/// A signal that went out, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SentSignal {
    /// Which.
    pub signal: SignalNumber,
    /// Who sent it.
    pub by: Sender,
    /// The reason given by the client whose request led to it; may be empty.
    pub why: String,
    /// When it was sent.
    pub at: Moment,
    /// What the process did with it, as the kernel knew it just before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handling: Option<SignalHandling>,
}

/// A container's init process exists and waits to be started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerCreated {
    /// The container.
    pub container: ContainerId,
    /// Its init.
    pub process: ProcessIdentity,
    /// Its cgroup, relative to the root of every hierarchy.
    pub cgroup: String,
    /// When it was created.
    pub at: Moment,
}

/// A container's command runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerStarted {
    /// The container.
    pub container: ContainerId,
    /// Its init.
    pub process: ProcessIdentity,
    /// When its command was executed.
    pub at: Moment,
}

/// A container has ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerExit {
    /// The container.
    pub container: ContainerId,
    /// Its init.
    pub process: ProcessIdentity,
    /// When its command was executed, if it was.
    pub started_at: Option<Moment>,
    /// When its init was reaped.
    pub exited_at: Moment,
    /// How its init ended.
    pub end: End,
    /// Processes of the container that the out-of-memory killer killed, by the container's own count.
    pub oom_kills: u64,
    /// The last signal that the shim sent to it.
    pub last_signal: Option<SentSignal>,
    /// Lines of its log that the disk refused.
    pub log_lines_lost: u64,
}

impl ContainerExit {
    /// The exit code as Kubernetes shows it.
    pub fn exit_code(&self) -> i32 {
        self.end.exit_code()
    }

    /// Whether the out-of-memory killer killed in this container, be it the init or another process.
    // k8s: 8.d.3
    pub fn is_oom_killed(&self) -> bool {
        self.oom_kills > 0
    }

    /// The signal of the shim's that ended the container, if the last one it sent is the one that ended it.
    pub fn killed_by_shim(&self) -> Option<&SentSignal> {
        self.last_signal.as_ref().filter(|sent| self.end == End::Signaled { signal: sent.signal })
    }
}

/// The command of an exec runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecStarted {
    /// The exec.
    pub exec: ExecId,
    /// The container it runs in.
    pub container: ContainerId,
    /// Its leader.
    pub process: ProcessIdentity,
    /// When its command was executed.
    pub at: Moment,
}

/// An exec has ended, or never began.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecExit {
    /// The exec.
    pub exec: ExecId,
    /// The container it ran in.
    pub container: ContainerId,
    /// Its leader, if its command ran.
    pub process: Option<ProcessIdentity>,
    /// When its command was executed, if it was.
    pub started_at: Option<Moment>,
    /// When its leader was reaped, or when starting it failed.
    pub exited_at: Moment,
    /// How its leader ended.
    pub end: End,
    /// Its time limit was reached, and its process tree was killed for it.
    pub timed_out: bool,
    /// The container's init was ending when the leader ended: the exec may have died of that.
    pub container_exiting: bool,
    /// Bytes of output that were seen until the exit was told, kept or not.
    pub output_bytes: u64,
    /// The output went past its cap; the rest was thrown away.
    pub output_truncated: bool,
    /// A descendant still held the output open when the exit was told.
    pub output_open: bool,
    /// The last signal that the shim sent to it.
    pub last_signal: Option<SentSignal>,
}
