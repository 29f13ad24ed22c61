//! The truth about a pod from its state directory alone, when nobody answers at the socket.
//!
//! A shim that is gone took its knowledge with it, but not its records: whoever has an exit record has exited that way; whoever
//! has none and is gone is lost; whoever has none and is there must be killed, because nobody will ever see it exit.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use crate::cgroup::{Cgroup, CgroupError, CgroupPath, CgroupPathError};
use crate::protocol::{ContainerId, ExecId};
use crate::records::{
    CONTAINERS, CREATED_RECORD, ContainerCreated, ContainerExit, ContainerStarted, EXECS, EXIT_RECORD, ExecExit, ExecStarted,
    ProcessIdentity, ReadProcessError, ReadRecordError, SHIM_RECORD, STARTED_RECORD, ShimIdentity, boot_id, read_record,
};

/// Whether a process is still there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// The very process lives.
    Alive,
    /// It is gone, or the machine was booted since.
    Dead,
}

/// A state directory as it was read.
#[derive(Clone, Debug)]
pub struct ShimRecord {
    /// The shim.
    pub shim: ShimIdentity,
    /// Whether it lives. A living one is to be asked over its socket: it knows more than its records.
    pub life: Life,
    /// Its containers, ordered by id.
    pub containers: Vec<ContainerRecord>,
    /// Its execs, ordered by id.
    pub execs: Vec<ExecRecord>,
}

/// What is written of a container.
#[derive(Clone, Debug)]
pub struct ContainerRecord {
    /// Which.
    pub container: ContainerId,
    /// That it was created.
    pub created: Option<ContainerCreated>,
    /// That its command ran.
    pub started: Option<ContainerStarted>,
    /// How it ended.
    pub exit: Option<ContainerExit>,
    /// Whether its init lives.
    pub life: Life,
}

/// What is written of an exec.
#[derive(Clone, Debug)]
pub struct ExecRecord {
    /// Which.
    pub exec: ExecId,
    /// That its command ran.
    pub started: Option<ExecStarted>,
    /// How it ended.
    pub exit: Option<ExecExit>,
    /// Whether its leader lives.
    pub life: Life,
}

/// A state directory could not be read.
#[derive(Debug, thiserror::Error)]
pub enum LoadRecordError {
    /// A folder cannot be listed.
    #[error("cannot list {path}")]
    List {
        /// The folder.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A record is there but cannot be used.
    #[error("cannot use a record of the shim")]
    Record(#[from] ReadRecordError),
    /// It is not known which boot this is.
    #[error("cannot tell this boot from another")]
    Boot(#[from] ReadProcessError),
}

impl ShimRecord {
    /// Reads the state directory of a shim; `None` when none has ever been ready in it.
    ///
    /// # Errors
    /// When a folder or record is there but cannot be read. A missing record is none.
    pub fn load(state_dir: &Path) -> Result<Option<Self>, LoadRecordError> {
        let Some(shim) = read_record::<ShimIdentity>(state_dir, SHIM_RECORD)? else { return Ok(None) };
        let is_this_boot = shim.boot_id == boot_id()?;
        let life = |process: Option<ProcessIdentity>| match process {
            Some(process) if is_this_boot && process.is_alive() => Life::Alive,
            Some(_) | None => Life::Dead,
        };
        let mut containers = Vec::new();
        for (container, folder) in list(&state_dir.join(CONTAINERS))? {
            let created = read_record::<ContainerCreated>(&folder, CREATED_RECORD)?;
            let started = read_record(&folder, STARTED_RECORD)?;
            let exit = read_record(&folder, EXIT_RECORD)?;
            let life = life(created.as_ref().map(|created| created.process));
            containers.push(ContainerRecord { container, created, started, exit, life });
        }
        let mut execs = Vec::new();
        for (exec, folder) in list(&state_dir.join(EXECS))? {
            let started = read_record::<ExecStarted>(&folder, STARTED_RECORD)?;
            let exit = read_record(&folder, EXIT_RECORD)?;
            let life = life(started.as_ref().map(|started| started.process));
            execs.push(ExecRecord { exec, started, exit, life });
        }
        Ok(Some(Self { life: life(Some(shim.process)), shim, containers, execs }))
    }
}

/// The folders whose names are ids, ordered by id.
fn list<Id: FromStr + Ord>(path: &Path) -> Result<Vec<(Id, PathBuf)>, LoadRecordError> {
    let failed = |source| LoadRecordError::List { path: path.to_owned(), source };
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(failed)?;
        if let Some(Ok(id)) = entry.file_name().to_str().map(Id::from_str) {
            found.push((id, entry.path()));
        }
    }
    found.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(found)
}

/// The remains of a pod could not be cleaned up.
#[derive(Debug, thiserror::Error)]
pub enum KillPodError {
    /// The shim lives: shut it down instead.
    #[error("the shim of pod {0} lives and is the one to kill its containers")]
    ShimAlive(String),
    /// The record names no usable cgroup.
    #[error("the shim's record has no usable cgroup")]
    Path(#[from] CgroupPathError),
    /// Killing or removing did not work.
    #[error("cannot clear the pod's cgroup")]
    Cgroup(#[from] CgroupError),
    /// It is not known which boot this is.
    #[error("cannot tell this boot from another")]
    Boot(#[from] ReadProcessError),
}

/// Kills everything that a dead shim left in its pod's cgroup, waiting for at most `within`, and removes the cgroup. After another
/// boot there is nothing to do.
///
/// # Errors
/// When the shim lives, or something does not die in time.
pub fn kill_pod_cgroup(shim: &ShimIdentity, within: Duration) -> Result<(), KillPodError> {
    if shim.boot_id != boot_id()? {
        return Ok(());
    }
    if shim.process.is_alive() {
        return Err(KillPodError::ShimAlive(shim.pod_uid.clone()));
    }
    let cgroup = Cgroup::open(&CgroupPath::new(&shim.cgroup)?)?;
    cgroup.kill_all(within)?;
    cgroup.remove()?;
    Ok(())
}
