//! How a process comes into being as a child of the shim while the shim itself stays small: the shim forks a creator, the creator does
//! what needs memory and makes the process as its own sibling, and ends.
//!
//! ```text
//! shim ──fork──▶ creator      reads JSON, makes cgroups, compiles filters
//!   │              └─clone3(CLONE_PARENT)──▶ process      mounts, identity, …, execve
//!   │◀─────────────── one channel ──────────────┘
//!   └── reaps the creator at once, and the process when it ends
//! ```
//!
//! Invariant: when a launch fails, neither creator nor process is left, not even as a zombie.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    panic::{AssertUnwindSafe, catch_unwind},
    time::{Duration, Instant},
};

use rustix::{
    io::Errno,
    process::{
        DumpableBehavior, Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, WaitIdStatus, pidfd_open, pidfd_send_signal,
        set_dumpable_behavior, waitid,
    },
};

use super::{
    channel::{self, Report},
    error::{During as _, Failure},
    stdio::Stdio,
};
use crate::{
    cgroup::Prepared,
    sys::{self, Forked},
};

/// A process that has told that it is ready.
#[derive(Debug)]
pub(crate) struct Launched {
    pub(crate) pid: i32,
    pub(crate) pidfd: OwnedFd,
    pub(crate) channel: OwnedFd,
    pub(crate) clamped: Vec<String>,
    pub(crate) console: Option<OwnedFd>,
}

/// Forks a creator, which runs `creator` with its end of the channel, and waits until the process it makes is ready.
/// Descriptors in `kept`, and the standard streams in `stdio`, are the only ones that the creator inherits.
pub(crate) fn launch(
    stdio: Stdio,
    kept: &[BorrowedFd<'_>],
    creator: impl FnOnce(BorrowedFd<'_>, Stdio) -> Result<(), Failure>,
) -> Result<Launched, Failure> {
    let (ours, theirs) = channel::pair().during("make", "channel")?;
    match sys::fork().during("fork", "creator")? {
        Forked::Child => run_creator(&theirs, stdio, kept, creator),
        Forked::Parent(pid) => {
            drop((theirs, stdio));
            let creator = Child::forked(pid)?;
            let result = wait_until_ready(ours, Instant::now() + CREATE_TIME_MAX);
            if result.is_err() {
                // It may be stuck in a file system that does not answer.
                creator.kill();
            }
            creator.reap();
            result
        }
    }
}

/// Waits until the started process has become its command (`Ok`), or says why it cannot.
pub(crate) fn wait_until_executed(channel: BorrowedFd<'_>) -> Result<(), Failure> {
    match channel::receive(channel, Instant::now() + EXECUTE_TIME_MAX).during("wait for", "execve")? {
        Report::Ended => Ok(()),
        Report::Failed(failure) => Err(failure),
        Report::Spawned { .. } | Report::Ready { .. } => Err(Failure::step("wait for", "execve", Errno::PROTO)),
    }
}

/// The creator's part that is the same for containers and commands: makes the process with `flags`, tells the shim, and puts the process
/// into its cgroups. `process` runs in the new process; what it waits for tells it that it is in its cgroups.
pub(crate) fn spawn(
    mut prepared: Prepared,
    flags: u64,
    channel: BorrowedFd<'_>,
    process: impl FnOnce(Option<OwnedFd>) -> Failure,
) -> Result<(), Failure> {
    let gate = if prepared.joins.is_empty() { None } else { Some(rustix::pipe::pipe_with(PIPE_FLAGS).during("make", "pipe")?) };
    let (waits, tells) = gate.unzip();
    let spawned = sys::clone3(libc::CLONE_PARENT as u64 | flags, prepared.birthplace.as_ref().map(AsFd::as_fd));
    let child = match spawned {
        Ok(Forked::Parent(child)) => child,
        Ok(Forked::Child) => {
            drop((tells, prepared));
            let failure = catch_unwind(AssertUnwindSafe(|| process(waits))).unwrap_or_else(|_| panicked());
            channel::send_failed(channel, &failure);
            sys::exit(EXIT_FAILED)
        }
        Err(error) => {
            prepared.abandon();
            return Err(Failure::step("make process in", "cgroup and namespaces", error));
        }
    };
    // From here on the shim knows the process, and ends it if anything fails.
    channel::send_spawned(channel, child.pid, child.pidfd.as_fd()).during("tell the shim of process", child.pid)?;
    if let Some(tells) = tells {
        prepared.join(child.pid)?;
        rustix::io::write(&tells, &[1]).during("let go on process", child.pid)?;
    }
    Ok(())
}

/// The process's part of [`spawn`]: waits until it is in its cgroups.
pub(crate) fn wait_until_joined(joined: Option<OwnedFd>) -> Result<(), Failure> {
    match joined {
        // The pipe ends without a word when the creator has failed: then nothing limits this process.
        Some(pipe) if !channel::wait_for_release(pipe.as_fd()) => Err(Failure::step("join", "cgroups", Errno::SRCH)),
        Some(_) | None => Ok(()),
    }
}

/// Kills the process and reaps it, within a bounded time.
pub(crate) fn destroy(pidfd: BorrowedFd<'_>) -> Option<WaitIdStatus> {
    // One that is dead already is as good.
    let _ = pidfd_send_signal(pidfd, Signal::KILL);
    reap(pidfd)
}

/// Waits for the end of a child for a bounded time. `None` if it does not come: the child is stuck in the kernel and stays for the
/// caller's own reaping.
fn reap(pidfd: BorrowedFd<'_>) -> Option<WaitIdStatus> {
    channel::wait_readable(pidfd, Instant::now() + REAP_TIME_MAX).ok()?;
    waitid(WaitId::PidFd(pidfd), WaitIdOptions::EXITED | WaitIdOptions::NOHANG).ok().flatten()
}

fn wait_until_ready(channel: OwnedFd, deadline: Instant) -> Result<Launched, Failure> {
    let mut process: Option<(i32, OwnedFd)> = None;
    let mut ready = None;
    let failure = loop {
        match channel::receive(channel.as_fd(), deadline) {
            Ok(Report::Spawned { pid, pidfd }) => process = Some((pid, pidfd)),
            Ok(Report::Ready { clamped, console }) => ready = Some((clamped, console)),
            Ok(Report::Failed(failure)) => break failure,
            Ok(Report::Ended) => break Failure::step("wait for new process:", "it has ended", Errno::SRCH),
            Err(error) => break Failure::step("wait for", "new process", error),
        }
        // The two come from two processes, in any order.
        match (process.take(), ready.take()) {
            (Some((pid, pidfd)), Some((clamped, console))) => return Ok(Launched { pid, pidfd, channel, clamped, console }),
            (first, second) => (process, ready) = (first, second),
        }
    };
    // What the creator said before it ended may still lie in the channel.
    while process.is_none()
        && let Ok(report) = channel::receive(channel.as_fd(), deadline.min(Instant::now() + REAP_TIME_MAX))
    {
        match report {
            Report::Spawned { pid, pidfd } => process = Some((pid, pidfd)),
            Report::Ready { .. } | Report::Failed(_) => {}
            Report::Ended => break,
        }
    }
    match process.and_then(|(_, pidfd)| destroy(pidfd.as_fd())) {
        Some(status) if status.terminating_signal() == Some(libc::SIGKILL) && was_unexpected(&failure) => {
            Err(Failure::step("wait for new process:", "it was killed, perhaps for lack of memory", Errno::NOMEM))
        }
        _ => Err(failure),
    }
}

/// The process ended without a word.
fn was_unexpected(failure: &Failure) -> bool {
    matches!(failure, Failure::Step(error) if error.source.raw_os_error() == Some(libc::ESRCH))
}

fn run_creator(
    channel: &OwnedFd,
    stdio: Stdio,
    kept: &[BorrowedFd<'_>],
    creator: impl FnOnce(BorrowedFd<'_>, Stdio) -> Result<(), Failure>,
) -> ! {
    let run = || {
        let all: Vec<_> = kept.iter().copied().chain(stdio.descriptors()).chain([channel.as_fd()]).collect();
        sys::close_all_except(&all).during("close", "descriptors")?;
        // Nobody may look into, or trace, a process that is on its way from the host to the container.
        set_dumpable_behavior(DumpableBehavior::NotDumpable).during("protect", "creator")?;
        creator(channel.as_fd(), stdio)
    };
    let code = match catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|_| Err(panicked())) {
        Ok(()) => 0,
        Err(failure) => {
            channel::send_failed(channel.as_fd(), &failure);
            EXIT_FAILED
        }
    };
    sys::exit(code)
}

fn panicked() -> Failure {
    Failure::step("create process", "(a bug: the creator panicked)", io::Error::from_raw_os_error(libc::ENOTRECOVERABLE))
}

/// A forked child that has not been reaped, so that its number means it and nobody else.
struct Child {
    pid: Pid,
    pidfd: OwnedFd,
}

impl Child {
    fn forked(pid: i32) -> Result<Self, Failure> {
        let pid = Pid::from_raw(pid).ok_or_else(|| Failure::step("fork", "creator", Errno::CHILD))?;
        match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(pidfd) => Ok(Self { pid, pidfd }),
            Err(errno) => {
                // Out of descriptors: it cannot be watched, so it must go.
                let _ = rustix::process::kill_process(pid, Signal::KILL);
                let _ = waitid(WaitId::Pid(pid), WaitIdOptions::EXITED);
                Err(Failure::step("open pidfd of creator", pid.as_raw_nonzero(), errno))
            }
        }
    }

    fn kill(&self) {
        let _ = pidfd_send_signal(&self.pidfd, Signal::KILL);
    }

    fn reap(self) {
        if reap(self.pidfd.as_fd()).is_none() {
            let _ = rustix::process::kill_process(self.pid, Signal::KILL);
            let _ = reap(self.pidfd.as_fd());
        }
    }
}

const PIPE_FLAGS: rustix::pipe::PipeFlags = rustix::pipe::PipeFlags::CLOEXEC;
/// A machine under heavy load takes a second; a network file system that hangs takes forever.
const CREATE_TIME_MAX: Duration = Duration::from_secs(20);
/// From the start to `execve` there are a few system calls, and perhaps the reading of the program from disk.
const EXECUTE_TIME_MAX: Duration = Duration::from_secs(20);
/// From SIGKILL to the zombie. Mounts and namespaces are taken down on the way.
const REAP_TIME_MAX: Duration = Duration::from_secs(5);
const EXIT_FAILED: i32 = 125;
