//! The part of the network that is written down: which pod has which address and which host ports.
//!
//! Several processes share it without a daemon, so it is a folder under one lock:
//!
//! ```text
//! STATE_DIR/BRIDGE/lock                    held for every change, and for every rule set made from the folder
//!                 /last-address            where the search for a free address goes on
//!                 /addresses/10.189.0.7    taken by O_EXCL; who has it
//!                 /host-ports/tcp-any-80   taken by O_EXCL; who has it, and where it leads
//!                 /pods/UID                index by pod; written before what it points to, removed after it
//! ```
//!
//! Invariant: an address or a host port has one file, and so one owner. A file whose owner is gone is free to be taken; one
//! that cannot be read as a record was being written by a process that died, and is free too. This module does not touch
//! interfaces or rules.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::config::NetworkConfig;
use super::host_port::HostPort;
use super::node_socket::Families;
use super::owner::{OwnerRecord, Vantage};
use super::subnet::Ipv4Subnet;

mod addresses;
mod host_ports;

pub use addresses::ClaimAddressError;
pub use host_ports::ClaimHostPortsError;

/// The lock is held for well under a millisecond; a process that holds it this long is stopped or stuck.
const LOCK_WAIT_MAX: Duration = Duration::from_secs(10);
/// How often a taken lock is tried again.
const LOCK_RETRY: Duration = Duration::from_millis(1);
/// A record is a few hundred bytes; what is longer is not one of ours.
const RECORD_LEN_MAX: u64 = 64 * 1024;
/// A uid becomes a file name, which the kernel limits to 255 bytes, less what a temporary name adds.
const POD_UID_LEN_MAX: usize = 200;

/// Why the state folder could not be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The system refused a file operation.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// With which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another process sat on the lock.
    #[error("another process has held {} for {} s", path.display(), waited.as_secs())]
    Locked {
        /// The lock file.
        path: PathBuf,
        /// How long it was waited for.
        waited: Duration,
    },
    /// The uid cannot be a file name.
    #[error("{pod_uid:?} is not a pod uid: 1 to {} letters, digits, '-', '_' or '.', starting with a letter or digit", POD_UID_LEN_MAX)]
    PodUid {
        /// What was given.
        pod_uid: String,
    },
}

/// What is known of an attached pod.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PodRecord {
    /// Its shim.
    pub(super) owner: OwnerRecord,
    /// Its address.
    pub(super) ipv4: std::net::Ipv4Addr,
    /// Index of the host's end of its veth pair, once that is made. Indexes are not reused, names are.
    pub(super) host_link: Option<u32>,
    /// The host ports that lead to it.
    pub(super) host_ports: Vec<HostPort>,
}

/// A pod whose owner was gone, and what it leaves behind for others to remove.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ReclaimedPod {
    pub(super) pod_uid: String,
    pub(super) host_link: Option<u32>,
}

/// The folder of one bridge.
#[derive(Debug, Clone)]
pub(super) struct State {
    dir: PathBuf,
    subnet: Ipv4Subnet,
    families: Families,
    vantage: Vantage,
}

impl State {
    /// Names the folder; makes nothing yet.
    pub(super) fn new(config: &NetworkConfig) -> Result<Self, StateError> {
        let vantage = Vantage::here().map_err(|source| StateError::Io { action: "read", path: PathBuf::from("/proc"), source })?;
        let families = if config.ipv6_subnet.is_some() { Families::Both } else { Families::Ipv4 };
        Ok(Self { dir: config.state_dir.join(&config.bridge), subnet: config.ipv4_subnet, families, vantage })
    }

    /// Makes the folder if it is missing, and waits for the lock, at most [`LOCK_WAIT_MAX`].
    pub(super) fn lock(&self) -> Result<LockedState<'_>, StateError> {
        for dir in ["addresses", "host-ports", "pods"].map(|name| self.dir.join(name)) {
            fs::create_dir_all(&dir).map_err(|source| StateError::Io { action: "create", path: dir, source })?;
        }
        let path = self.dir.join("lock");
        let io = |action| {
            let path = path.clone();
            move |source| StateError::Io { action, path, source }
        };
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path).map_err(io("create"))?;
        let started = Instant::now();
        loop {
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {
                    return Ok(LockedState { state: self, changed_host_ports: Vec::new(), _lock: file });
                }
                Err(rustix::io::Errno::WOULDBLOCK) if started.elapsed() >= LOCK_WAIT_MAX => {
                    return Err(StateError::Locked { path, waited: LOCK_WAIT_MAX });
                }
                Err(rustix::io::Errno::WOULDBLOCK | rustix::io::Errno::INTR) => std::thread::sleep(LOCK_RETRY),
                Err(errno) => return Err(io("lock")(errno.into())),
            }
        }
    }
}

/// The folder while this process holds its lock; dropping it lets go.
#[derive(Debug)]
pub(super) struct LockedState<'a> {
    state: &'a State,
    /// Host ports that were given or taken.
    changed_host_ports: Vec<HostPort>,
    _lock: File,
}

impl LockedState<'_> {
    /// Host ports that were given or taken since the lock was got, so that the rules have to follow.
    pub(super) fn changed_host_ports(&self) -> &[HostPort] {
        &self.changed_host_ports
    }

    /// What is known of a pod, if it is attached.
    pub(super) fn pod(&self, pod_uid: &str) -> Result<Option<PodRecord>, StateError> {
        read_record(&self.pod_path(pod_uid)?)
    }

    /// Notes which interface the pod's address went to.
    pub(super) fn set_host_link(&mut self, pod_uid: &str, host_link: u32) -> Result<(), StateError> {
        if let Some(mut record) = self.pod(pod_uid)? {
            record.host_link = Some(host_link);
            self.put_pod(pod_uid, &record)?;
        }
        Ok(())
    }

    /// Gives back all that a pod has. Says what it was; `None` if it had nothing.
    pub(super) fn release(&mut self, pod_uid: &str) -> Result<Option<PodRecord>, StateError> {
        let Some(record) = self.pod(pod_uid)? else {
            return Ok(None);
        };
        self.release_host_ports(pod_uid, &record.host_ports)?;
        self.release_address(pod_uid, record.ipv4)?;
        remove(&self.pod_path(pod_uid)?)?;
        Ok(Some(record))
    }

    /// Frees everything whose owner is gone.
    pub(super) fn reclaim(&mut self) -> Result<Vec<ReclaimedPod>, StateError> {
        let mut reclaimed = Vec::new();
        for pod_uid in list(&self.dir("pods"))? {
            let Some(record) = self.pod(&pod_uid)? else {
                remove(&self.dir("pods").join(&pod_uid))?;
                continue;
            };
            if self.state.vantage.is_gone(&record.owner) {
                self.release(&pod_uid)?;
                reclaimed.push(ReclaimedPod { pod_uid, host_link: record.host_link });
            }
        }
        self.reclaim_stray_addresses()?;
        self.reclaim_stray_host_ports()?;
        Ok(reclaimed)
    }

    fn put_pod(&self, pod_uid: &str, record: &PodRecord) -> Result<(), StateError> {
        replace_record(&self.pod_path(pod_uid)?, record)
    }

    fn dir(&self, name: &str) -> PathBuf {
        self.state.dir.join(name)
    }

    fn pod_path(&self, pod_uid: &str) -> Result<PathBuf, StateError> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        let right_length = (1..=POD_UID_LEN_MAX).contains(&pod_uid.len());
        if !right_length || !pod_uid.as_bytes()[0].is_ascii_alphanumeric() || !pod_uid.bytes().all(allowed) {
            return Err(StateError::PodUid { pod_uid: pod_uid.to_owned() });
        }
        Ok(self.dir("pods").join(pod_uid))
    }
}

/// Reads a record; one that is not there or not readable as a record is no record.
fn read_record<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, StateError> {
    use io::Read as _;
    let io = |source| StateError::Io { action: "read", path: path.to_owned(), source };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io(error)),
    };
    let mut text = Vec::new();
    file.take(RECORD_LEN_MAX).read_to_end(&mut text).map_err(io)?;
    Ok(serde_json::from_slice(&text).ok())
}

/// Takes a name that nobody has; `false` if somebody has it.
fn claim_record<T: Serialize>(path: &Path, record: &T) -> Result<bool, StateError> {
    let io = |source| StateError::Io { action: "create", path: path.to_owned(), source };
    let mut file = match OpenOptions::new().write(true).create_new(true).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(false),
        Err(error) => return Err(io(error)),
    };
    let written = serde_json::to_vec(record).map_err(io::Error::from).and_then(|text| file.write_all(&text));
    if let Err(error) = written {
        remove(path)?;
        return Err(io(error));
    }
    Ok(true)
}

/// Writes a record whole or not at all.
fn replace_record<T: Serialize>(path: &Path, record: &T) -> Result<(), StateError> {
    let temporary = path.with_file_name(".new");
    let written = serde_json::to_vec(record)
        .map_err(io::Error::from)
        .and_then(|text| fs::write(&temporary, text))
        .and_then(|()| fs::rename(&temporary, path));
    written.map_err(|source| StateError::Io { action: "write", path: path.to_owned(), source })
}

/// Removes a file that may be gone already.
fn remove(path: &Path) -> Result<(), StateError> {
    match fs::remove_file(path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(StateError::Io { action: "remove", path: path.to_owned(), source }),
    }
}

/// Names in a folder, without those that begin with a dot. As many as there are pods, so bounded by the subnet.
fn list(dir: &Path) -> Result<Vec<String>, StateError> {
    let io = |source| StateError::Io { action: "list", path: dir.to_owned(), source };
    let mut names = Vec::new();
    for entry in fs::read_dir(dir).map_err(io)? {
        if let Ok(name) = entry.map_err(io)?.file_name().into_string()
            && !name.starts_with('.')
        {
            names.push(name);
        }
    }
    names.sort_unstable();
    Ok(names)
}

#[cfg(test)]
mod tests;
