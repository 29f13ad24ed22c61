//! What the shim holds of a container, from its creation to its removal.

use std::collections::BTreeSet;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use rustix::termios::{Winsize, tcsetwinsize};

use super::audience::Audience;
use super::poll::Key;
use super::stop::Stop;
use crate::cgroup::{Cgroup, OomWatch};
use crate::container::CreatedContainer;
use crate::log::{CriLog, Stream};
use crate::moment::Moment;
use crate::protocol::{ContainerId, ContainerState, ContainerStatus, TerminalSize};
use crate::records::{ContainerExit, ProcessIdentity, SentSignal};

/// One container.
#[derive(Debug)]
pub(super) struct Container {
    pub(super) key: Key,
    pub(super) id: ContainerId,
    pub(super) bundle: PathBuf,
    pub(super) cgroup: Cgroup,
    pub(super) process: ProcessIdentity,
    pub(super) created_at: Moment,
    pub(super) stage: Stage,
    pub(super) stop: Stop,
    pub(super) last_signal: Option<SentSignal>,
    /// SIGKILL went out to the whole container, and is sent again until nothing is left of it.
    pub(super) killing: Option<Killing>,
    pub(super) log: CriLog,
    /// The read end of its stdout, or our side of its terminal.
    pub(super) stdout: Option<OwnedFd>,
    pub(super) stderr: Option<OwnedFd>,
    /// Streams that are not read until somebody has caught up.
    pub(super) held: BTreeSet<Stream>,
    pub(super) audience: Audience,
    pub(super) input: Input,
    pub(super) oom: OomCount,
    pub(super) clamped: Vec<String>,
}

/// Where a container is in its life.
#[derive(Debug)]
pub(super) enum Stage {
    /// Waits for its start. Dropping the handle kills it.
    Created(CreatedContainer),
    /// Between created and running, only while the start call is carried out.
    Starting,
    /// Its command runs; we wait for its exit.
    Running { pidfd: OwnedFd, started_at: Moment },
    /// Its init was reaped. It stays until it is removed.
    Exited { exit: Box<ContainerExit>, save: Save },
}

/// Whether an exit record is on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Save {
    Done,
    /// The disk refused it; it is tried again.
    Pending,
}

/// How a container gets input.
#[derive(Debug)]
pub(super) enum Input {
    /// Not at all.
    None,
    /// Through a pipe, of which this is the write end.
    Pipe(OwnedFd),
    /// Through its terminal, which is where its stdout comes from.
    Terminal,
}

/// A kill under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Killing {
    pub(super) again_at: Moment,
    pub(super) tries_left: u32,
}

/// What is known about the out-of-memory killer's visits.
#[derive(Debug, Default)]
pub(super) struct OomCount {
    pub(super) watch: Option<OomWatch>,
    /// The count of the cgroup before the container began; 0 in a new one.
    pub(super) before: u64,
    /// How many of the container's own were told.
    pub(super) told: u64,
    /// The kernel announces the event before it counts the kill, so it is looked at again then.
    pub(super) recheck: Option<Recheck>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Recheck {
    pub(super) at: Moment,
    pub(super) tries_left: u32,
}

impl Container {
    /// The init, while it is there to be signalled.
    pub(super) fn pidfd(&self) -> Option<BorrowedFd<'_>> {
        match &self.stage {
            Stage::Created(created) => Some(created.pidfd()),
            Stage::Running { pidfd, .. } => Some(pidfd.as_fd()),
            Stage::Starting | Stage::Exited { .. } => None,
        }
    }

    pub(super) fn started_at(&self) -> Option<Moment> {
        match &self.stage {
            Stage::Running { started_at, .. } => Some(*started_at),
            Stage::Exited { exit, .. } => exit.started_at,
            Stage::Created(_) | Stage::Starting => None,
        }
    }

    pub(super) fn is_exited(&self) -> bool {
        matches!(self.stage, Stage::Exited { .. })
    }

    /// The out-of-memory killer's count for this container, or what was known last when it cannot be read.
    pub(super) fn oom_kills(&self) -> u64 {
        self.cgroup.oom_kills().map_or(self.oom.told, |kills| kills.saturating_sub(self.oom.before))
    }

    pub(super) fn resize(&self, size: TerminalSize) -> rustix::io::Result<()> {
        match (&self.input, &self.stdout) {
            (Input::Terminal, Some(terminal)) => {
                let size = Winsize { ws_row: size.rows, ws_col: size.columns, ws_xpixel: 0, ws_ypixel: 0 };
                tcsetwinsize(terminal, size)
            }
            (Input::Terminal | Input::Pipe(_) | Input::None, _) => Err(rustix::io::Errno::NOTTY),
        }
    }

    pub(super) fn status(&self) -> ContainerStatus {
        let state = match &self.stage {
            Stage::Created(_) | Stage::Starting => ContainerState::Created,
            Stage::Running { started_at, .. } => ContainerState::Running { started_at: *started_at },
            Stage::Exited { exit, .. } => ContainerState::Exited(exit.clone()),
        };
        ContainerStatus {
            container: self.id.clone(),
            process: self.process,
            created_at: self.created_at,
            stop_deadline: if self.is_exited() { None } else { self.stop.deadline().cloned() },
            state,
            last_signal: self.last_signal.clone(),
            clamped: self.clamped.clone(),
        }
    }

    /// When this container next needs attention without anything happening, in boot time.
    pub(super) fn next_deadline_ns(&self) -> Option<u64> {
        let stop = self.stop.deadline().filter(|_| self.killing.is_none() && !self.is_exited()).map(|deadline| deadline.at);
        let kill = self.killing.map(|killing| killing.again_at);
        let oom = self.oom.recheck.map(|recheck| recheck.at);
        let stalled = self.audience.next_deadline();
        [stop, kill, oom, stalled].into_iter().flatten().map(|at| at.boot_ns).min()
    }
}
