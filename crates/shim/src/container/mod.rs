//! Containers from OCI bundles, without a runtime beside: created, started, and commands run in them.
//!
//! A container is a child of this process, made in two steps as the OCI runtime specification has them: [`create()`] does everything up
//! to `execve`, [`CreatedContainer::start`] lets the command run. Reaping is the caller's, by pidfd.
//!
//! Not here: images, networks, logs, restarts. The caller's own memory stays small, because everything that needs memory is done in
//! child processes (see [`launch`]).

mod bundle;
mod capabilities;
mod channel;
mod command;
mod console;
mod create;
mod devices;
mod error;
mod exec;
mod executable;
mod init;
mod launch;
mod mask;
mod mounts;
mod namespaces;
mod oci;
mod process;
mod resolve;
mod rootfs;
mod running;
mod stdio;

use std::{
    os::fd::BorrowedFd,
    path::{Path, PathBuf},
};

pub use self::{
    create::{create, create_by},
    error::{BundleError, CommandError, CreateContainerError, ExecError, StartContainerError, StepError},
    exec::exec,
    executable::read_only_executable,
    oci::forget,
    running::{CreatedContainer, ExecProcess, RunningContainer},
    stdio::Stdio,
};
use crate::cgroup::CgroupPath;

/// Where the container's root file system comes from; `root.path` of the bundle is not used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rootfs {
    /// A prepared directory.
    Path(PathBuf),
    /// An overlay, mounted only inside the container's mount namespace. What is written to it is not synced to disk: after a crash of the
    /// machine, `upper` must not be used again.
    Overlay {
        /// Read-only layers, the topmost first.
        lower: Vec<PathBuf>,
        /// Takes the writes.
        upper: PathBuf,
        /// The overlay's own directory, on the file system of `upper`.
        work: PathBuf,
    },
}

/// What to create.
#[derive(Debug, Clone, Copy)]
pub struct CreateContainer<'a> {
    /// The container's id, for messages and lists of processes.
    pub id: &'a str,
    /// The directory of the OCI `config.json`.
    pub bundle: &'a Path,
    /// The root file system.
    pub rootfs: &'a Rootfs,
    /// The container's own cgroup; it is made here, its parent (the pod's) where missing. `linux.cgroupsPath` is not used.
    pub cgroup: &'a CgroupPath,
}

/// The container in which [`exec()`] runs a command. All of it can be had from a state folder, so it also works for containers that
/// this process has not created.
#[derive(Debug, Clone, Copy)]
pub struct ExecTarget<'a> {
    /// The pidfd of the container's init.
    pub pidfd: BorrowedFd<'a>,
    /// The container's bundle; what the process JSON leaves out, and the system call filter, come from its `config.json`.
    pub bundle: &'a Path,
    /// The container's cgroup.
    pub cgroup: &'a CgroupPath,
}
