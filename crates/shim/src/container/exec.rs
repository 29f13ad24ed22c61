//! Running commands in containers that run already: the shim's side and the creator's.
//!
//! The command gets a cgroup of its own below the container's, so that it can be killed with everything that came of it, also what
//! forked twice and started a new session. It is otherwise as if the container's first process had started it.

use std::{
    mem::ManuallyDrop,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
    path::Path,
};

use rustix::{
    fs::{CWD, Mode, OFlags, open, openat},
    io::Errno,
    process::setsid,
    thread::{ThreadNameSpaceType, move_into_thread_name_spaces},
};

use super::{
    ExecTarget,
    bundle::read_command,
    error::{During as _, ExecError, Failure},
    launch::{destroy, launch, spawn, wait_until_executed, wait_until_joined},
    process::ProcessPlan,
    resolve::Root,
    running::ExecProcess,
    stdio::Stdio,
};
use crate::cgroup::{self, Cgroup, CgroupPath, Level};

/// Runs the command of the OCI process JSON in the file `process` inside a container, as a child of this process.
/// What the JSON leaves out of user, directory, environment and privileges is as in the container's `config.json`.
pub fn exec(target: &ExecTarget<'_>, process: &Path, exec_id: &str, stdio: Stdio) -> Result<ExecProcess, ExecError> {
    let path = target.cgroup.join(&format!("exec-{exec_id}")).map_err(|error| Failure::bundle("exec id", error))?;
    let cgroup = Cgroup::open(&path).map_err(Failure::from)?;
    let launched = launch(stdio, &[target.pidfd], |channel, stdio| exec_in_creator(target, process, &path, channel, stdio));
    let executed = launched.and_then(|launched| match wait_until_executed(launched.channel.as_fd()) {
        Ok(()) => Ok(launched),
        Err(failure) => {
            destroy(launched.pidfd.as_fd());
            Err(failure)
        }
    });
    match executed {
        Ok(launched) => Ok(ExecProcess::new(launched, cgroup)),
        Err(failure) => {
            cgroup.discard();
            Err(failure.into())
        }
    }
}

fn exec_in_creator(
    target: &ExecTarget<'_>,
    process: &Path,
    path: &CgroupPath,
    channel: BorrowedFd<'_>,
    stdio: Stdio,
) -> Result<(), Failure> {
    let mut plan = read_command(target.bundle, process)?;
    stdio.check(plan.terminal)?;
    // A container without a living process has no namespaces to join, and its group must not be filled again.
    let proc = openat(CWD, "/proc", OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).during("open", "/proc")?;
    let prepared = cgroup::prepare(path, &Default::default(), Level::Exec)?;
    let mut clamped = Vec::new();
    let joined = plan.set_inherited(&mut clamped).and_then(|()| join(target.pidfd, NAMESPACES));
    if let Err(failure) = joined {
        prepared.abandon();
        return Err(failure);
    }
    let pidfd = target.pidfd;
    spawn(prepared, 0, channel, |joined| {
        run_command(plan, proc, pidfd, channel, stdio, clamped, joined).err().unwrap_or(Failure::NotRunning)
    })
}

/// All namespaces but that of control groups: where these are mounted with `nsdelegate`, as systemd does, nobody who is in the
/// container's may make a process come into its groups from outside. So it is joined by the command, when it is in them.
const NAMESPACES: ThreadNameSpaceType = ThreadNameSpaceType::MOUNT
    .union(ThreadNameSpaceType::PROCESS_ID)
    .union(ThreadNameSpaceType::NETWORK)
    .union(ThreadNameSpaceType::INTER_PROCESS_COMMUNICATION)
    .union(ThreadNameSpaceType::HOST_NAME_AND_NIS_DOMAIN_NAME);

/// Joins namespaces of the container's first process; those that it shares with us are joined without effect.
fn join(pidfd: BorrowedFd<'_>, namespaces: ThreadNameSpaceType) -> Result<(), Failure> {
    match move_into_thread_name_spaces(pidfd, namespaces) {
        Err(Errno::SRCH) => Err(Failure::NotRunning),
        other => other.during("join", "namespaces of the container"),
    }
}

fn run_command(
    mut plan: ProcessPlan,
    proc: OwnedFd,
    container: BorrowedFd<'_>,
    channel: BorrowedFd<'_>,
    stdio: Stdio,
    clamped: Vec<String>,
    joined: Option<OwnedFd>,
) -> Result<(), Failure> {
    setsid().during("start", "session")?;
    wait_until_joined(joined)?;
    join(container, ThreadNameSpaceType::CONTROL_GROUP)?;
    plan.open_labels(proc.as_fd())?;
    drop(proc);
    let directory = open("/", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).during("open", "container root")?;
    let root = Root::new(directory);
    let console = stdio.open_console(&root, plan.terminal)?;
    // Closing it would hang up this process before it can say why it failed; its end or its command closes it.
    let master = ManuallyDrop::new(stdio.take(console)?);
    let kept: Vec<_> = master.iter().map(OwnedFd::as_fd).chain([channel]).collect();
    let (ready, clamped) = plan.prepare(root, &kept, clamped)?;
    ready.announce(channel, &clamped, master.as_ref())?;
    Err(ready.run())
}
