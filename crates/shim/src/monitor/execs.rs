//! What the shim holds of an exec, from its start until it is removed or forgotten.
//!
//! ```text
//!   Running ──leader reaped──▶ Draining ──output ended, or 200 ms──▶ Exited
//! ```

use std::os::fd::OwnedFd;

use super::containers::{Killing, Save};
use super::poll::Key;
use crate::cgroup::{Cgroup, CgroupError};
use crate::container::ExecProcess;
use crate::log::{CriLog, Stream};
use crate::moment::Moment;
use crate::protocol::{ContainerId, ExecId, ExecState, ExecStatus, Keep};
use crate::records::{End, ExecExit, ProcessIdentity, SentSignal};

/// How long the exit of a leader waits for the rest of its output while a descendant holds the pipe open, in milliseconds. What
/// the leader itself wrote is in the pipe already.
pub(super) const DRAIN_MS: u64 = 200;

/// One exec.
#[derive(Debug)]
pub(super) struct ExecEntry {
    pub(super) key: Key,
    pub(super) id: ExecId,
    pub(super) container: ContainerId,
    pub(super) keep: Keep,
    pub(super) hold: Hold,
    pub(super) stage: ExecStage,
    /// The process's handle, for its cgroup; `None` when the command never ran.
    pub(super) process: Option<ExecProcess>,
    pub(super) capture: Option<Capture>,
    pub(super) last_signal: Option<SentSignal>,
    pub(super) killing: Option<Killing>,
}

/// Where an exec is in its life.
#[derive(Debug)]
pub(super) enum ExecStage {
    /// Its command runs; we wait for its leader's exit or for its deadline.
    Running(Running),
    /// Its leader was reaped; we wait for the rest of the output, but not for long.
    Draining { running: Running, ended: Ended, until: Moment },
    /// Its end was told. It stays until it is removed or pushed out.
    Exited { exit: Box<ExecExit>, save: Save },
}

/// Whether somebody waits for a command that only matters to whoever began it ([`Keep::WhileHeld`]).
#[derive(Debug)]
pub(super) enum Hold {
    /// It is kept for other reasons.
    NotNeeded,
    /// This pipe ends when nobody does.
    Held(OwnedFd, OnRelease),
    /// Nobody does: it is forgotten as soon as it has ended.
    Released,
}

/// What happens to a running command that nobody holds any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OnRelease {
    /// It is killed.
    Kill,
    /// It has lost its terminal and has [`HANG_UP_MS`] to end by itself.
    LetEnd,
}

/// How long a command whose terminal hung up may take to end, in milliseconds.
pub(super) const HANG_UP_MS: u64 = 2_000;

/// A command that was executed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Running {
    pub(super) process: ProcessIdentity,
    pub(super) started_at: Moment,
    pub(super) deadline: Option<Moment>,
    pub(super) timed_out: bool,
}

/// The leader's end.
#[derive(Clone, Debug)]
pub(super) struct Ended {
    pub(super) end: End,
    pub(super) at: Moment,
    pub(super) container_exiting: bool,
}

/// Output that the shim keeps.
#[derive(Debug)]
pub(super) struct Capture {
    pub(super) log: CriLog,
    pub(super) stdout: Option<OwnedFd>,
    pub(super) stderr: Option<OwnedFd>,
    pub(super) bytes_max: u64,
    pub(super) bytes_seen: u64,
}

impl Capture {
    /// Whether a descendant or the leader may still write.
    pub(super) fn is_open(&self) -> bool {
        self.stdout.is_some() || self.stderr.is_some()
    }

    pub(super) fn is_truncated(&self) -> bool {
        self.bytes_seen > self.bytes_max
    }

    /// Takes bytes that were read, and returns those that are still inside the cap.
    pub(super) fn take<'a>(&mut self, stream: Stream, bytes: &'a [u8], now: Moment) -> &'a [u8] {
        let room = usize::try_from(self.bytes_max.saturating_sub(self.bytes_seen)).unwrap_or(usize::MAX);
        let kept = &bytes[..bytes.len().min(room)];
        let was_truncated = self.is_truncated();
        self.bytes_seen = self.bytes_seen.saturating_add(bytes.len() as u64);
        if !kept.is_empty() {
            self.log.append(stream, kept, now);
        }
        if self.is_truncated() && !was_truncated {
            self.log.finish(Stream::Stdout, now);
            self.log.finish(Stream::Stderr, now);
            self.log.note(&format!("usher: output cut after {} bytes", self.bytes_max), now);
        }
        kept
    }
}

impl ExecEntry {
    pub(super) fn status(&self) -> ExecStatus {
        let state = match &self.stage {
            ExecStage::Running(running) | ExecStage::Draining { running, .. } => {
                ExecState::Running { process: running.process, started_at: running.started_at, deadline: running.deadline }
            }
            ExecStage::Exited { exit, .. } => ExecState::Exited(exit.clone()),
        };
        ExecStatus { exec: self.id.clone(), container: self.container.clone(), state }
    }

    /// The pid to be reaped, while it is there.
    pub(super) fn running(&self) -> Option<&Running> {
        match &self.stage {
            ExecStage::Running(running) => Some(running),
            ExecStage::Draining { .. } | ExecStage::Exited { .. } => None,
        }
    }

    pub(super) fn is_exited(&self) -> bool {
        matches!(self.stage, ExecStage::Exited { .. })
    }

    /// Kills everything in the exec's own cgroup, once, without waiting.
    pub(super) fn kill_once(&self) -> Result<(), CgroupError> {
        match &self.process {
            Some(process) => Cgroup::open(process.cgroup())?.kill(),
            None => Ok(()),
        }
    }

    /// Whether any process of the exec is left, zombies aside.
    pub(super) fn is_populated(&self) -> bool {
        let populated = |process: &ExecProcess| Cgroup::open(process.cgroup()).and_then(|cgroup| cgroup.is_populated());
        self.process.as_ref().is_some_and(|process| populated(process).unwrap_or(false))
    }

    /// When this exec next needs attention without anything happening, in boot time.
    pub(super) fn next_deadline_ns(&self) -> Option<u64> {
        let own = match &self.stage {
            ExecStage::Running(running) => running.deadline.filter(|_| !running.timed_out),
            ExecStage::Draining { until, .. } => Some(*until),
            ExecStage::Exited { .. } => None,
        };
        let kill = self.killing.map(|killing| killing.again_at);
        [own, kill].into_iter().flatten().map(|at| at.boot_ns).min()
    }
}

/// The open output of execs that were forgotten while descendants of them live: read and thrown away, so that these do not
/// die of a broken pipe.
#[derive(Debug, Default)]
pub(super) struct Sinks {
    all: Vec<Sink>,
}

#[derive(Debug)]
struct Sink {
    key: Key,
    container: ContainerId,
    stdout: Option<OwnedFd>,
    stderr: Option<OwnedFd>,
}

/// Most forgotten outputs; the oldest is closed for a new one.
const SINKS_MAX: usize = 64;

impl Sinks {
    pub(super) fn add(&mut self, key: Key, container: ContainerId, capture: Capture) {
        if capture.is_open() {
            if self.all.len() >= SINKS_MAX {
                self.all.remove(0);
            }
            self.all.push(Sink { key, container, stdout: capture.stdout, stderr: capture.stderr });
        }
    }

    /// The output that belongs to a ready source.
    pub(super) fn output(&mut self, key: Key, stream: Stream) -> Option<&mut Option<OwnedFd>> {
        let sink = self.all.iter_mut().find(|sink| sink.key == key)?;
        Some(match stream {
            Stream::Stdout => &mut sink.stdout,
            Stream::Stderr => &mut sink.stderr,
        })
    }

    /// Closes what has ended.
    pub(super) fn sweep(&mut self) {
        self.all.retain(|sink| sink.stdout.is_some() || sink.stderr.is_some());
    }

    /// Closes everything of a container.
    pub(super) fn remove_container(&mut self, container: &ContainerId) {
        self.all.retain(|sink| sink.container != *container);
    }
}
