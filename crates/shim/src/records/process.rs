//! Which process, beyond doubt: a pid is used again, a pid with its start time within one boot is not.

use std::fs;
use std::io;

use serde::{Deserialize, Serialize};

use crate::moment::Moment;

/// A process of this boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ProcessIdentity {
    /// Its pid, as the shim sees it.
    pub pid: i32,
    /// Its start time in clock ticks since the boot, the 22nd field of `/proc/PID/stat`.
    pub start_ticks: u64,
}

/// Who a shim is: the first record in its state directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShimIdentity {
    /// Version of the protocol it speaks.
    pub protocol: u32,
    /// Version of the program.
    pub version: String,
    /// The pod.
    pub pod_uid: String,
    /// The process.
    pub process: ProcessIdentity,
    /// Identity of the boot it runs in.
    pub boot_id: String,
    /// The pod's cgroup, relative to the root of every hierarchy.
    pub cgroup: String,
    /// When it started.
    pub started_at: Moment,
}

/// What a process is could not be found out.
#[derive(Debug, thiserror::Error)]
pub enum ReadProcessError {
    /// A file of `/proc` could not be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: String,
        /// Why not.
        source: io::Error,
    },
    /// A file of `/proc` does not look as expected.
    #[error("cannot understand {path}")]
    Parse {
        /// The file.
        path: String,
    },
}

/// Set in a process's flags while it is ending.
const PF_EXITING: u64 = 0x4;

impl ProcessIdentity {
    /// Reads the identity of a living process, or of a zombie.
    ///
    /// # Errors
    /// When there is no such process.
    pub fn of(pid: i32) -> Result<Self, ReadProcessError> {
        let [start_ticks] = read_stat_fields(pid, [StatField::StartTime])?;
        Ok(Self { pid, start_ticks })
    }

    /// Whether this very process lives. One that is ending, or that waits to be reaped, does not.
    pub fn is_alive(&self) -> bool {
        // With one look: a zombie may be reaped between two.
        let looked = read_stat_fields(self.pid, [StatField::StartTime, StatField::Flags]);
        looked.is_ok_and(|[start_ticks, flags]| start_ticks == self.start_ticks && flags & PF_EXITING == 0)
    }

    /// Whether this process is in the middle of ending, or has ended.
    pub(crate) fn is_exiting(&self) -> bool {
        read_stat_fields(self.pid, [StatField::Flags]).is_ok_and(|[flags]| flags & PF_EXITING != 0)
    }
}

/// A field of `/proc/PID/stat`, by its place behind the command's name.
#[derive(Clone, Copy)]
enum StatField {
    Flags = 6,
    StartTime = 19,
}

/// The fields as they were at one moment.
fn read_stat_fields<const N: usize>(pid: i32, fields: [StatField; N]) -> Result<[u64; N], ReadProcessError> {
    let path = format!("/proc/{pid}/stat");
    let stat = match fs::read(&path) {
        Ok(stat) => stat,
        Err(source) => return Err(ReadProcessError::Read { path, source }),
    };
    // The command's name is in parentheses and may hold anything, so fields are counted from its end.
    let end = stat.iter().rposition(|&byte| byte == b')').map_or(stat.len(), |end| end + 1);
    let rest: Vec<&str> = std::str::from_utf8(&stat[end..]).unwrap_or_default().split_ascii_whitespace().collect();
    let mut values = [0; N];
    for (value, field) in values.iter_mut().zip(fields) {
        let found = rest.get(field as usize).and_then(|text| text.parse().ok());
        *value = found.ok_or_else(|| ReadProcessError::Parse { path: path.clone() })?;
    }
    Ok(values)
}

/// The identity of the running boot.
///
/// # Errors
/// When `/proc` does not tell it.
pub fn boot_id() -> Result<String, ReadProcessError> {
    let path = "/proc/sys/kernel/random/boot_id";
    match fs::read_to_string(path) {
        Ok(id) => Ok(id.trim().to_owned()),
        Err(source) => Err(ReadProcessError::Read { path: path.to_owned(), source }),
    }
}

#[cfg(test)]
mod tests {
    use super::ProcessIdentity;

    #[test]
    fn a_process_is_known_by_pid_and_start_time() {
        let own = std::process::id() as i32;
        let identity = ProcessIdentity::of(own).expect("this process exists");
        assert!(identity.is_alive() && !identity.is_exiting());
        let earlier = ProcessIdentity { start_ticks: identity.start_ticks - 1, ..identity };
        assert!(!earlier.is_alive(), "another start time is another process");
        assert!(!ProcessIdentity { pid: i32::MAX, ..identity }.is_alive());
    }

    #[test]
    fn a_zombie_is_known_but_not_alive() {
        let mut child = std::process::Command::new("/bin/true").spawn().expect("a child");
        let identity = ProcessIdentity::of(child.id() as i32).expect("the child exists until it is reaped");
        while !identity.is_exiting() {
            std::thread::yield_now();
        }
        assert!(!identity.is_alive());
        assert_eq!(ProcessIdentity::of(identity.pid).expect("not reaped yet"), identity);
        // Whoever looks while it is reaped never sees it alive.
        let watcher = std::thread::spawn(move || {
            while ProcessIdentity::of(identity.pid).is_ok_and(|found| found == identity) {
                assert!(!identity.is_alive());
            }
        });
        std::thread::yield_now();
        child.wait().expect("the child is ours");
        watcher.join().expect("never alive");
        ProcessIdentity::of(identity.pid).expect_err("reaped");
    }
}
