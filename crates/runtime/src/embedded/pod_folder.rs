//! What is kept of a pod on the disk, so that another engine, or the same one after a crash, finds it again.
//!
//! ```text
//!   ROOT/pods/UID/sandbox.json               SandboxRecord: what was asked for, and which shim is the present one
//!                 shim.N/                    state of shim N, see `shim::records`
//!                 shm/                       /dev/shm of the containers, a tmpfs
//!                 containers/ID/container.json   ContainerRecord
//!                               config.json      the OCI configuration
//!                               upper/ work/     of the overlay
//! ```
//!
//! Whatever else is in a pod's folder belongs to the caller, and stays.
//!
//! Invariant: a container's record is written before the shim hears of the container, so none is without one.

use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use shim::moment::Moment;
use shim::protocol::ContainerId;
use shim::records::{Durability, ReadRecordError, WriteRecordError, read_record, write_record};

use crate::PodSandboxConfig;

const PODS: &str = "pods";
const SANDBOX_RECORD: &str = "sandbox.json";
const CONTAINER_RECORD: &str = "container.json";
const CONTAINERS: &str = "containers";
const SHM: &str = "shm";
const SHIM_PREFIX: &str = "shim.";
/// The name that OCI gives to a bundle's configuration.
pub(crate) const BUNDLE_CONFIG: &str = "config.json";
/// Longest uid, in bytes: it becomes a folder's name and part of a cgroup's.
const UID_BYTES_MAX: usize = 128;

/// A text that cannot be a pod's uid here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{uid:?} cannot be the uid of a pod: it must have 1 to {UID_BYTES_MAX} letters, digits, '-', '_' or '.', and begin with a letter or digit"
)]
pub(crate) struct InvalidUid {
    uid: String,
}

/// The folder of one pod; it need not exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PodFolder {
    uid: String,
    path: PathBuf,
}

/// What was made for a pod.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SandboxRecord {
    /// What was asked for.
    pub(crate) config: PodSandboxConfig,
    /// The number of the present shim; each gets a folder of its own.
    pub(crate) shim: u32,
    /// The pod's cgroup, relative to the root of every hierarchy.
    pub(crate) cgroup: String,
    /// All of it was made. If not, whoever made it died meanwhile.
    pub(crate) is_ready: bool,
    /// The pod's addresses, the main one first.
    pub(crate) ips: Vec<IpAddr>,
}

/// What was made for a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ContainerRecord {
    /// Its id.
    pub(crate) id: ContainerId,
    /// Name in the pod.
    pub(crate) name: String,
    /// Number of instances before it.
    pub(crate) attempt: u32,
    /// The shim that has it.
    pub(crate) shim: u32,
    /// The image's id.
    pub(crate) image_id: String,
    /// The ids of the images that it mounts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) mounted_images: Vec<String>,
    /// The signal that asks it to end.
    pub(crate) stop_signal: u8,
    /// When its creation began.
    pub(crate) created_at: Moment,
    /// Its command cannot be executed, which was found out when it was created and is told when it is started, as the usual
    /// runtimes do. The shim has no such container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) command_error: Option<CommandError>,
}

/// Why a container cannot be started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CommandError {
    /// The text that users of Kubernetes know.
    pub(crate) message: String,
    /// When it was tried.
    pub(crate) told_at: Option<Moment>,
}

impl PodFolder {
    /// The folder of the pod `uid` below `root`.
    pub(crate) fn new(root: &Path, uid: &str) -> Result<Self, InvalidUid> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        let is_valid = (1..=UID_BYTES_MAX).contains(&uid.len()) && uid.as_bytes()[0].is_ascii_alphanumeric() && uid.bytes().all(is_plain);
        if !is_valid {
            return Err(InvalidUid { uid: uid.chars().take(UID_BYTES_MAX).collect() });
        }
        Ok(Self { uid: uid.to_owned(), path: root.join(PODS).join(uid) })
    }

    /// The folders of all pods below `root`, ordered by uid.
    pub(crate) fn all(root: &Path) -> io::Result<Vec<Self>> {
        let entries = match fs::read_dir(root.join(PODS)) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut found = Vec::new();
        for entry in entries {
            found.extend(entry?.file_name().to_str().and_then(|uid| Self::new(root, uid).ok()));
        }
        found.sort_by(|a, b| a.uid.cmp(&b.uid));
        Ok(found)
    }

    pub(crate) fn uid(&self) -> &str {
        &self.uid
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn shm(&self) -> PathBuf {
        self.path.join(SHM)
    }

    pub(crate) fn shim_dir(&self, number: u32) -> PathBuf {
        self.path.join(format!("{SHIM_PREFIX}{number}"))
    }

    pub(crate) fn container_dir(&self, id: &ContainerId) -> PathBuf {
        self.path.join(CONTAINERS).join(id.as_str())
    }

    /// What was made for the pod; `None` if nothing was.
    pub(crate) fn sandbox(&self) -> Result<Option<SandboxRecord>, ReadRecordError> {
        read_record(&self.path, SANDBOX_RECORD)
    }

    pub(crate) fn write_sandbox(&self, record: &SandboxRecord) -> Result<(), WriteRecordError> {
        write_record(&self.path, SANDBOX_RECORD, record, Durability::Machine)
    }

    pub(crate) fn write_container(&self, record: &ContainerRecord) -> Result<(), WriteRecordError> {
        write_record(&self.container_dir(&record.id), CONTAINER_RECORD, record, Durability::Process)
    }

    pub(crate) fn container(&self, id: &ContainerId) -> Result<Option<ContainerRecord>, ReadRecordError> {
        read_record(&self.container_dir(id), CONTAINER_RECORD)
    }

    /// All containers that have a record, oldest first. One whose record is broken or absent is passed over: it was cut off while
    /// it was made, or removed, and its files go with the pod.
    pub(crate) fn containers(&self) -> io::Result<Vec<ContainerRecord>> {
        let entries = match fs::read_dir(self.path.join(CONTAINERS)) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut found = Vec::new();
        for entry in entries {
            let Some(Ok(id)) = entry?.file_name().to_str().map(str::parse::<ContainerId>) else { continue };
            match self.container(&id) {
                Ok(record) => found.extend(record),
                Err(error) => tracing::warn!(pod = self.uid, container = %id, error = %error, "a container's record cannot be used"),
            }
        }
        found.sort_by(|a, b| (a.created_at, &a.id).cmp(&(b.created_at, &b.id)));
        Ok(found)
    }

    /// Removes the files of a container; the first thing to go is what makes it one.
    pub(crate) fn remove_container(&self, id: &ContainerId) -> io::Result<()> {
        let dir = self.container_dir(id);
        ignore_missing(fs::remove_file(dir.join(CONTAINER_RECORD)))?;
        ignore_missing(fs::remove_dir_all(dir))
    }

    /// Removes all that was made for the pod, and its folder if nothing else is in it. What is mounted in it is unmounted before, not
    /// emptied.
    pub(crate) fn remove(&self) -> io::Result<()> {
        unmount_below(&self.path)?;
        // What makes it a sandbox goes first.
        ignore_missing(fs::remove_file(self.path.join(SANDBOX_RECORD)))?;
        let entries = match fs::read_dir(&self.path) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name();
            let is_own = name == CONTAINERS || name == SHM || name.as_encoded_bytes().starts_with(SHIM_PREFIX.as_bytes());
            if is_own {
                ignore_missing(fs::remove_dir_all(entry.path()))?;
            }
        }
        match fs::remove_dir(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::DirectoryNotEmpty => ignore_missing(Err(error)),
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

/// Unmounts everything at and below `path`, in this mount namespace. Afterwards nothing is mounted there.
pub(crate) fn unmount_below(path: &Path) -> io::Result<()> {
    let path = match fs::canonicalize(path) {
        Ok(path) => path,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    // One mount can hide others at the same place, so it is looked at again until nothing is left.
    for _ in 0..UNMOUNT_ROUNDS_MAX {
        let mounts = mounts_below(&path)?;
        if mounts.is_empty() {
            return Ok(());
        }
        for mount in mounts.iter().rev() {
            match rustix::mount::unmount(mount, rustix::mount::UnmountFlags::DETACH | rustix::mount::UnmountFlags::NOFOLLOW) {
                // It went with the one that it was on.
                Ok(()) | Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOENT) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
    Err(io::Error::new(io::ErrorKind::ResourceBusy, format!("something is mounted below {} again and again", path.display())))
}

/// More mounts than that at one place are nobody's intention.
const UNMOUNT_ROUNDS_MAX: usize = 64;

fn mounts_below(path: &Path) -> io::Result<Vec<PathBuf>> {
    let table = fs::read_to_string("/proc/thread-self/mountinfo")?;
    let places = table.lines().filter_map(|line| line.split(' ').nth(4)).map(unescaped);
    Ok(places.filter(|place| place.starts_with(path)).collect())
}

/// The kernel writes blanks, line ends and backslashes of paths as octal numbers.
fn unescaped(field: &str) -> PathBuf {
    use std::os::unix::ffi::OsStringExt as _;
    let bytes = field.as_bytes();
    let mut plain = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let code = field.get(at + 1..at + 4).filter(|_| bytes[at] == b'\\').and_then(|code| u8::from_str_radix(code, 8).ok());
        plain.push(code.unwrap_or(bytes[at]));
        at += if code.is_some() { 4 } else { 1 };
    }
    std::ffi::OsString::from_vec(plain).into()
}

pub(crate) fn ignore_missing(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::{PodFolder, unescaped};

    #[test]
    fn a_uid_is_a_plain_name() {
        for uid in ["50f91fee-5409-43c5-bea6-431cd3617d6f", "a", "x.y_z"] {
            assert_eq!(PodFolder::new(Path::new("/r"), uid).map(|f| f.path().to_owned()), Ok(Path::new("/r/pods").join(uid)));
        }
        for uid in ["", ".", "..", "a/b", "../a", "-a", &"x".repeat(129)] {
            assert!(PodFolder::new(Path::new("/r"), uid).is_err(), "{uid}");
        }
    }

    #[test]
    fn mount_points_with_odd_names_are_read() {
        assert_eq!(unescaped(r"/a\040b\134\011"), PathBuf::from("/a b\\\t"));
        assert_eq!(unescaped(r"/plain\"), PathBuf::from(r"/plain\"));
    }
}
