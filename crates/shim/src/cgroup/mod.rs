//! Control groups of pods, containers and commands: limits, counts, and the means to kill a whole process tree.
//!
//! A group is named by one relative path, the same in every hierarchy. It exists only in those hierarchies that something is
//! asked of, because each directory costs time: memory (for the out-of-memory count), devices (for the allow list), version 2
//! where it is mounted (for `cgroup.kill`), and those that a limit needs.
//!
//! Not here: who is in a group (`container` puts processes in) and what the limits should be (the caller knows).

mod apply;
mod device_filter;
mod devices;
mod hierarchy;
mod kill;
mod limits;
mod oom;
mod stats;

use std::{
    fs::{self, File},
    io,
    path::{Component, Path, PathBuf},
    time::Duration,
};

use oci_spec::runtime::LinuxResources;

pub(crate) use self::apply::{Level, Prepared, prepare};
use self::hierarchy::{Controller, Hierarchies, Place};
pub use self::{oom::OomWatch, stats::CgroupStats};

/// A group's place, relative to the root of every hierarchy, such as `usher/pod<uid>/<container id>`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CgroupPath(PathBuf);

impl CgroupPath {
    /// Checks that `path` is relative, not empty, has no `.` or `..` in it, and is not deeper than eight levels.
    pub fn new(path: impl Into<PathBuf>) -> Result<Self, CgroupPathError> {
        let path = path.into();
        let plain = path.components().all(|component| matches!(component, Component::Normal(_)));
        let depth = path.components().count();
        if !plain || depth == 0 || depth > DEPTH_MAX || path.as_os_str().as_encoded_bytes().contains(&b'\n') {
            return Err(CgroupPathError(path));
        }
        Ok(Self(path))
    }

    /// The group named `name` inside this one. `name` is one component.
    pub fn join(&self, name: &str) -> Result<Self, CgroupPathError> {
        if name.contains('/') || name.is_empty() {
            return Err(CgroupPathError(self.0.join(name)));
        }
        Self::new(self.0.join(name))
    }

    /// The relative path.
    pub fn as_path(&self) -> &Path {
        &self.0
    }
}

/// Why a path cannot name a group.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cgroup path {0:?} must be relative, free of dot components, and of one to eight names")]
pub struct CgroupPathError(pub PathBuf);

/// Why an operation on a group failed.
#[derive(Debug, thiserror::Error)]
pub enum CgroupError {
    /// A file or directory of the group could not be used.
    #[error("{action} {}", path.display())]
    Io {
        /// What was tried, such as `write 4096 to`.
        action: String,
        /// With which file.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A limit cannot be kept on this machine, or by this runtime.
    #[error("{limit}: {reason}")]
    Unsupported {
        /// The field of OCI `linux.resources`.
        limit: String,
        /// Why not.
        reason: &'static str,
    },
    /// More memory is in use than would be allowed, and `memory.checkBeforeUpdate` is set.
    #[error("memory.limit: {limit_bytes} bytes are below the present usage of {usage_bytes}, and memory.checkBeforeUpdate is set")]
    LimitBelowUsage {
        /// The limit.
        limit_bytes: u64,
        /// What is in use.
        usage_bytes: u64,
    },
    /// Processes are left in spite of all kills.
    #[error("processes are left in cgroup {} after {within:?}", path.display())]
    StillPopulated {
        /// The group.
        path: PathBuf,
        /// How long it was tried.
        within: Duration,
    },
}

impl CgroupError {
    pub(crate) fn io(action: impl Into<String>, path: &Path, source: io::Error) -> Self {
        Self::Io { action: action.into(), path: path.to_owned(), source }
    }

    fn unsupported(limit: impl Into<String>, reason: &'static str) -> Self {
        Self::Unsupported { limit: limit.into(), reason }
    }
}

/// A group of this machine, which may or may not exist (any more).
#[derive(Debug, Clone)]
pub struct Cgroup {
    path: CgroupPath,
    hierarchies: &'static Hierarchies,
}

impl Cgroup {
    /// Makes the pod's group with its limits, its parents where missing, and lets controllers through to the containers' groups.
    /// What the machine granted only in part is returned as phrases for the log.
    pub fn create_pod(path: &CgroupPath, limits: &LinuxResources) -> Result<(Self, Vec<String>), CgroupError> {
        let prepared = prepare(path, limits, Level::Pod)?;
        Ok((prepared.cgroup, prepared.clamped))
    }

    /// Names the group of that path; it is no error when it does not exist (any more).
    pub fn open(path: &CgroupPath) -> Result<Self, CgroupError> {
        Ok(Self { path: path.clone(), hierarchies: Hierarchies::of_this_machine()? })
    }

    /// Makes the group in every hierarchy, its parents where missing, and moves the calling process into it, out of all limits
    /// of the group it came from.
    pub(crate) fn enter(&self) -> Result<(), CgroupError> {
        apply::enter(self)
    }

    /// The group's place.
    pub fn path(&self) -> &CgroupPath {
        &self.path
    }

    /// Processes of this group that the out-of-memory killer has killed so far; zero if the group does not exist.
    /// Read it before [`Self::remove`].
    pub fn oom_kills(&self) -> Result<u64, CgroupError> {
        oom::kills(self)
    }

    /// An event source for out-of-memory situations, or `None` where the memory controller is not mounted.
    pub fn watch_oom(&self) -> Result<Option<OomWatch>, CgroupError> {
        oom::watch(self)
    }

    /// Sends SIGKILL to every process in the group and below, once, without waiting.
    pub fn kill(&self) -> Result<(), CgroupError> {
        kill::kill(self)
    }

    /// Whether any process, zombies aside, is left in the group or below.
    pub fn is_populated(&self) -> Result<bool, CgroupError> {
        kill::is_populated(self)
    }

    /// Kills until the group is empty, for at most `within`. Processes that are children of the caller stay as zombies for it to reap.
    pub fn kill_all(&self, within: Duration) -> Result<(), CgroupError> {
        kill::kill_all(self, within)
    }

    /// Removes the group and those below it in every hierarchy, retrying for less than a second. A missing group is success.
    pub fn remove(&self) -> Result<(), CgroupError> {
        kill::remove(self)
    }

    /// Removes the group if nothing is in it, without retries. `false` if something is.
    pub fn try_remove(&self) -> Result<bool, CgroupError> {
        kill::try_remove(self)
    }

    /// Removes what a failed creation may have left, unless somebody lives in it.
    pub(crate) fn discard(&self) {
        if matches!(self.is_populated(), Ok(false)) {
            // Nobody is left to be told; a group that cannot be removed goes with the pod's.
            let _ = self.remove();
        }
    }

    /// What the group uses at this moment.
    pub fn stats(&self) -> Result<CgroupStats, CgroupError> {
        stats::read(self)
    }

    /// Writes other limits to the living group. Returns what was granted only in part.
    pub fn update(&self, limits: &LinuxResources) -> Result<Vec<String>, CgroupError> {
        apply::update(self, limits)
    }

    /// The group's directories as a container is to see them, by the names of their mounts; one with an empty name if there is only
    /// version 2. Directories that do not exist are left out.
    pub(crate) fn views(&self) -> Vec<(String, PathBuf)> {
        if self.hierarchies.v1.is_empty() {
            return self.directory_v2().map(|directory| vec![(String::new(), directory)]).unwrap_or_default();
        }
        let name = |mount: &Path| mount.file_name().map(|name| name.to_string_lossy().into_owned());
        let views = self.hierarchies.mounts().filter_map(|mount| Some((name(mount)?, mount.join(self.path.as_path()))));
        views.filter(|(_, directory)| directory.is_dir()).collect()
    }

    /// The group's directory where `controller` is.
    fn directory(&self, controller: Controller) -> Option<(PathBuf, Version)> {
        match self.hierarchies.place(controller)? {
            Place::V1(mount) => Some((mount.join(self.path.as_path()), Version::V1)),
            Place::V2(mount) => Some((mount.join(self.path.as_path()), Version::V2)),
        }
    }

    /// The group's directory in the version 2 hierarchy.
    fn directory_v2(&self) -> Option<PathBuf> {
        self.hierarchies.v2.as_ref().map(|unified| unified.mount.join(self.path.as_path()))
    }

    /// The group's directories in every hierarchy, whether they exist or not, version 2 first.
    fn directories(&self) -> impl Iterator<Item = PathBuf> {
        self.hierarchies.mounts().map(|mount| mount.join(self.path.as_path()))
    }
}

/// Whose rules a directory follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    V1,
    V2,
}

fn read_file(path: &Path) -> Result<String, CgroupError> {
    fs::read_to_string(path).map_err(|source| CgroupError::io("read", path, source))
}

/// Reads a file of a group that may be gone.
fn read_if_there(path: &Path) -> Result<Option<String>, CgroupError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if is_gone(&error) => Ok(None),
        Err(source) => Err(CgroupError::io("read", path, source)),
    }
}

/// The file or its group does not exist (any more).
fn is_gone(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENODEV))
}

fn write_file(path: &Path, value: &str) -> Result<(), CgroupError> {
    use io::Write as _;
    let written = File::options().write(true).open(path).and_then(|mut file| file.write_all(value.as_bytes()));
    written.map_err(|source| CgroupError::io(format!("write {value:?} to"), path, source))
}

/// The number after `key` in a file of `key number` lines.
fn keyed_number(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok())
}

/// `usher/pod/container/exec` is four; the rest is for parents that a service manager delegated.
const DEPTH_MAX: usize = 8;

#[cfg(test)]
mod tests;
