//! Creating containers: the shim's side and the creator's.

use std::{os::fd::BorrowedFd, path::Path};

use rustix::io::Errno;

use super::{
    CreateContainer, CreatedContainer,
    bundle::read_container,
    error::{CreateContainerError, Failure},
    init::Init,
    launch::{launch, spawn},
    oci,
    stdio::Stdio,
};
use crate::cgroup::{self, Cgroup, CgroupError, Level};

/// Creates a container as a child of this process. Blocks for a few milliseconds, at most for a bounded time.
///
/// A caller that reaps children by signal will get a SIGCHLD for the creator, which is reaped here.
pub fn create(request: &CreateContainer<'_>, stdio: Stdio) -> Result<CreatedContainer, CreateContainerError> {
    create_in(request, stdio, None)
}

/// The same by the command line of an OCI runtime, whose containers are processes of this kernel. This process must be the reaper of its
/// orphans. Blocks for some tens of milliseconds, at most for a bounded time.
pub fn create_by(program: &Path, request: &CreateContainer<'_>, stdio: Stdio) -> Result<CreatedContainer, CreateContainerError> {
    create_in(request, stdio, Some(program))
}

fn create_in(request: &CreateContainer<'_>, stdio: Stdio, program: Option<&Path>) -> Result<CreatedContainer, CreateContainerError> {
    // Opened here, so that the hierarchies are looked up once in the life of the shim and not in every creator.
    let cgroup = Cgroup::open(request.cgroup).map_err(Failure::from)?;
    let launched = launch(stdio, &[], |channel, stdio| match program {
        Some(program) => oci::create_in_creator(request, program, channel, stdio),
        None => create_in_creator(request, channel, stdio),
    });
    match launched {
        Ok(launched) => {
            let starter = program.map(|program| oci::Starter::new(request, program));
            Ok(CreatedContainer::new(launched, cgroup, request.bundle, starter))
        }
        Err(failure) => {
            let starved = cgroup.oom_kills().unwrap_or(0) > 0;
            cgroup.discard();
            let failure = if starved {
                Failure::step(format!("create container {} within", request.id), "its memory limit", Errno::NOMEM)
            } else {
                failure
            };
            Err(failure.into())
        }
    }
}

fn create_in_creator(request: &CreateContainer<'_>, channel: BorrowedFd<'_>, stdio: Stdio) -> Result<(), Failure> {
    let mut plan = read_container(request.bundle)?;
    stdio.check(plan.process.terminal)?;
    let mut prepared = cgroup::prepare(request.cgroup, &plan.resources, Level::Container)?;
    plan.clamped.append(&mut prepared.clamped);
    let ready = plan.process.set_inherited(&mut plan.clamped).and_then(|()| plan.namespaces.join());
    if let Err(failure) = ready {
        prepared.abandon();
        return Err(failure);
    }
    let flags = plan.namespaces.new;
    let cgroups = prepared.cgroup.views();
    spawn(prepared, flags, channel, |joined| Init { id: request.id, plan, rootfs: request.rootfs, cgroups, joined, stdio }.run(channel))
}

impl From<CgroupError> for Failure {
    fn from(error: CgroupError) -> Self {
        match error {
            CgroupError::Io { action, path, source } => Self::step(action, path.display(), source),
            CgroupError::Unsupported { limit, reason } => Self::bundle(format!("linux.resources.{limit}"), reason),
            CgroupError::LimitBelowUsage { .. } => Self::bundle("linux.resources.memory.limit", error),
            CgroupError::StillPopulated { path, .. } => Self::step("empty cgroup", path.display(), Errno::BUSY),
        }
    }
}
