//! Containers and commands as the shim holds them: by a pidfd, and by the name of their cgroup.

use std::{
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    ExecTarget, channel,
    error::{During as _, Failure, StartContainerError},
    launch::{self, Launched, destroy},
    oci::Starter,
};
use crate::cgroup::{Cgroup, CgroupError, CgroupPath};

/// Everything is done up to `execve`. Dropping it kills and reaps the process and removes the container's cgroup.
#[derive(Debug)]
pub struct CreatedContainer {
    inner: Option<Inner>,
    pid: i32,
    console: Option<OwnedFd>,
    clamped: Vec<String>,
}

#[derive(Debug)]
struct Inner {
    pidfd: OwnedFd,
    channel: OwnedFd,
    /// Another runtime made it, and lets it run.
    starter: Option<Starter>,
    cgroup: Cgroup,
    bundle: PathBuf,
}

impl CreatedContainer {
    pub(super) fn new(launched: Launched, cgroup: Cgroup, bundle: &Path, starter: Option<Starter>) -> Self {
        let Launched { pid, pidfd, channel, clamped, console } = launched;
        Self { inner: Some(Inner { pidfd, channel, starter, cgroup, bundle: bundle.to_owned() }), pid, console, clamped }
    }

    /// The init's process id as this process sees it.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// The init's pidfd.
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.held().pidfd.as_fd()
    }

    /// The container's cgroup, for instance to watch for out-of-memory before the start.
    pub fn cgroup(&self) -> &Cgroup {
        &self.held().cgroup
    }

    /// Our side of the container's terminal, once, if it has one.
    pub fn take_console(&mut self) -> Option<OwnedFd> {
        self.console.take()
    }

    /// Settings that this machine granted only in part, one phrase each, for the log.
    pub fn clamped(&self) -> &[String] {
        &self.clamped
    }

    /// Lets the command run, and waits until `execve` has succeeded or failed. Blocks for less than a millisecond as a rule, at most for
    /// a bounded time. An init that is killed before `execve` counts as started: its end tells how.
    pub fn start(self) -> Result<RunningContainer, StartContainerError> {
        if let Some(starter) = &self.held().starter {
            starter.start()?;
            return self.into_running();
        }
        let released = channel::release(self.held().channel.as_fd()).during("start", "container init");
        let executed = match released {
            // It is dead already; what it had to say is in the channel.
            Ok(()) | Err(Failure::Step(_)) => launch::wait_until_executed(self.held().channel.as_fd()),
            Err(failure) => Err(failure),
        };
        executed?;
        self.into_running()
    }

    fn into_running(mut self) -> Result<RunningContainer, StartContainerError> {
        let Some(Inner { pidfd, cgroup, bundle, .. }) = self.inner.take() else { return Err(gone().into()) };
        Ok(RunningContainer { pid: self.pid, pidfd, cgroup, bundle })
    }

    fn held(&self) -> &Inner {
        self.inner.as_ref().expect("only start takes it, and start consumes the container")
    }
}

fn gone() -> Failure {
    Failure::step("start", "container init", rustix::io::Errno::SRCH)
}

impl Drop for CreatedContainer {
    fn drop(&mut self) {
        if let Some(inner) = self.inner.take() {
            destroy(inner.pidfd.as_fd());
            inner.cgroup.discard();
        }
    }
}

/// A container whose command has been executed. Dropping it does nothing to the process; reap it with the pidfd.
#[derive(Debug)]
pub struct RunningContainer {
    pid: i32,
    pidfd: OwnedFd,
    cgroup: Cgroup,
    bundle: PathBuf,
}

impl RunningContainer {
    /// The init's process id as this process sees it.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// The init's pidfd.
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// Gives the pidfd away, to be kept in an event loop.
    pub fn into_pidfd(self) -> OwnedFd {
        self.pidfd
    }

    /// The container's cgroup. To be killed until empty and removed after the init has been reaped.
    pub fn cgroup(&self) -> &Cgroup {
        &self.cgroup
    }

    /// What [`super::exec()`] needs to know of the container.
    pub fn exec_target(&self) -> ExecTarget<'_> {
        ExecTarget { pidfd: self.pidfd.as_fd(), bundle: &self.bundle, cgroup: self.cgroup.path() }
    }
}

/// A command that runs in a container, in a cgroup of its own below the container's. Dropping it does nothing to the process.
#[derive(Debug)]
pub struct ExecProcess {
    pid: i32,
    pidfd: OwnedFd,
    console: Option<OwnedFd>,
    clamped: Vec<String>,
    cgroup: Cgroup,
}

impl ExecProcess {
    pub(super) fn new(launched: Launched, cgroup: Cgroup) -> Self {
        let Launched { pid, pidfd, console, clamped, .. } = launched;
        Self { pid, pidfd, console, clamped, cgroup }
    }

    /// The command's process id as this process sees it.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// The command's pidfd.
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// Our side of the command's terminal, once, if it has one.
    pub fn take_console(&mut self) -> Option<OwnedFd> {
        self.console.take()
    }

    /// Settings that this machine granted only in part, one phrase each, for the log.
    pub fn clamped(&self) -> &[String] {
        &self.clamped
    }

    /// The command's own cgroup, below the container's.
    pub fn cgroup(&self) -> &CgroupPath {
        self.cgroup.path()
    }

    /// Kills the command and all its descendants, also those that changed session or parent, for at most `within`.
    /// The leader stays a zombie until it is reaped with the pidfd.
    pub fn kill_tree(&self, within: Duration) -> Result<(), CgroupError> {
        self.cgroup.kill_all(within)
    }

    /// Removes the command's cgroup if it is empty. `false`: descendants of the command live on in it; it goes with the container's.
    pub fn remove_cgroup(&self) -> Result<bool, CgroupError> {
        self.cgroup.try_remove()
    }
}
