//! Who holds a lease, and whether that holder is still there.
//!
//! The owner of everything that a pod has is its shim. A pid alone is not enough to name it, since pids come round again, so
//! the start time goes with it; and the boot, since both come round after a reboot.

use std::fs;
use std::io;

use serde::{Deserialize, Serialize};

/// Where the kernel names the running boot.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// A process, in a way that tells it from a later one with the same pid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Owner {
    /// Process id, as seen from this process's pid namespace.
    pub pid: u32,
    /// Field 22 of `/proc/PID/stat`: when it started, in clock ticks since boot.
    pub start_time: u64,
}

impl Owner {
    /// The process that has this pid at the moment.
    pub fn of(pid: u32) -> io::Result<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        let stat = ProcessStat::parse(&stat).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))?;
        Ok(Self { pid, start_time: stat.start_time })
    }
}

/// An owner as it is written down, with what is needed to judge it later.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct OwnerRecord {
    #[serde(flatten)]
    pub(super) owner: Owner,
    /// Inode of the pid namespace in which the pid counts.
    pid_namespace: u64,
    boot_id: String,
}

/// The place from which owners are judged: this boot, this pid namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Vantage {
    pid_namespace: u64,
    boot_id: String,
}

impl Vantage {
    /// Where this process stands.
    pub(super) fn here() -> io::Result<Self> {
        use std::os::unix::fs::MetadataExt as _;
        let pid_namespace = fs::metadata("/proc/self/ns/pid")?.ino();
        let boot_id = fs::read_to_string(BOOT_ID)?.trim().to_owned();
        Ok(Self { pid_namespace, boot_id })
    }

    /// The owner as it is to be written down.
    pub(super) fn record(&self, owner: Owner) -> OwnerRecord {
        OwnerRecord { owner, pid_namespace: self.pid_namespace, boot_id: self.boot_id.clone() }
    }

    /// Whether the owner is surely gone. One in another pid namespace cannot be seen from here and counts as there.
    pub(super) fn is_gone(&self, record: &OwnerRecord) -> bool {
        if record.boot_id != self.boot_id {
            return true;
        }
        if record.pid_namespace != self.pid_namespace {
            return false;
        }
        let stat = match fs::read_to_string(format!("/proc/{}/stat", record.owner.pid)) {
            Ok(stat) => stat,
            // ESRCH: the process went between open and read.
            Err(error) => {
                return error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(ESRCH);
            }
        };
        // A zombie has given up its namespaces already; only its exit code waits to be fetched.
        ProcessStat::parse(&stat).is_some_and(|stat| stat.start_time != record.owner.start_time || matches!(stat.state, b'Z' | b'X'))
    }
}

const ESRCH: i32 = rustix::io::Errno::SRCH.raw_os_error();

/// The two fields of `/proc/PID/stat` that matter here.
#[derive(Debug, PartialEq, Eq)]
struct ProcessStat {
    state: u8,
    start_time: u64,
}

impl ProcessStat {
    /// The second field is the command in brackets and may hold anything, brackets and spaces too: count from its end.
    fn parse(stat: &str) -> Option<Self> {
        let (_, after_command) = stat.rsplit_once(')')?;
        let mut fields = after_command.split_ascii_whitespace();
        let state = *fields.next()?.as_bytes().first()?;
        let start_time = fields.nth(18)?.parse().ok()?;
        Some(Self { state, start_time })
    }
}

#[cfg(test)]
mod tests;
