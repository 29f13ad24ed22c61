//! Killing everything in a group, and removing it.
//!
//! The kernel's `cgroup.kill` takes a whole subtree at once and cannot be outrun by forks. Where it is missing (no version 2 mount,
//! or a kernel before 5.14), the processes are frozen if possible, signalled one by one, and this is repeated until none is left.
//! Invariant: every loop ends at a deadline.

use std::{
    fs::{self, File},
    io::{self, Read as _, Seek as _, SeekFrom},
    os::fd::AsFd as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, Signal, kill_process},
};

use super::{Cgroup, CgroupError, Version, hierarchy::Controller, is_gone, read_if_there, write_file};

pub(super) fn kill(cgroup: &Cgroup) -> Result<(), CgroupError> {
    if let Some(directory) = cgroup.directory_v2() {
        let file = directory.join("cgroup.kill");
        match write_file(&file, "1") {
            Ok(()) => return Ok(()),
            Err(CgroupError::Io { source, .. }) if is_gone(&source) => {}
            Err(error) => return Err(error),
        }
    }
    kill_one_by_one(cgroup)
}

pub(super) fn is_populated(cgroup: &Cgroup) -> Result<bool, CgroupError> {
    if let Some(directory) = cgroup.directory_v2()
        && let Some(events) = read_if_there(&directory.join("cgroup.events"))?
    {
        return Ok(says_populated(&events));
    }
    match members_directory(cgroup) {
        Some(directory) => Ok(!members(&directory)?.is_empty()),
        None => Ok(false),
    }
}

pub(super) fn kill_all(cgroup: &Cgroup, within: Duration) -> Result<(), CgroupError> {
    let deadline = Instant::now() + within;
    let mut pause = PAUSE_MIN;
    loop {
        kill(cgroup)?;
        if !is_populated(cgroup)? {
            return Ok(());
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(CgroupError::StillPopulated { path: cgroup.path.as_path().to_owned(), within });
        }
        wait_for_change(cgroup, left.min(pause))?;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

pub(super) fn remove(cgroup: &Cgroup) -> Result<(), CgroupError> {
    for directory in cgroup.directories() {
        remove_directory(&directory)?;
    }
    Ok(())
}

pub(super) fn try_remove(cgroup: &Cgroup) -> Result<bool, CgroupError> {
    for directory in cgroup.directories() {
        match fs::remove_dir(&directory) {
            Ok(()) => {}
            Err(error) if is_gone(&error) => {}
            Err(error) if error.raw_os_error() == Some(libc::EBUSY) => return Ok(false),
            Err(error) => return Err(CgroupError::io("remove cgroup", &directory, error)),
        }
    }
    Ok(true)
}

/// A group may stay busy for a moment after its last process has been reaped.
fn remove_directory(directory: &Path) -> Result<(), CgroupError> {
    let mut pause = PAUSE_MIN;
    for attempt in 0..REMOVE_ATTEMPTS_MAX {
        match fs::remove_dir(directory) {
            Ok(()) => return Ok(()),
            Err(error) if is_gone(&error) => return Ok(()),
            Err(error) if error.raw_os_error() == Some(libc::EBUSY) && attempt + 1 < REMOVE_ATTEMPTS_MAX => {}
            Err(error) => return Err(CgroupError::io("remove cgroup", directory, error)),
        }
        if attempt == 0 {
            for child in subdirectories(directory)? {
                remove_directory(&child)?;
            }
        } else {
            rest(pause);
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }
    Ok(())
}

fn kill_one_by_one(cgroup: &Cgroup) -> Result<(), CgroupError> {
    let Some(directory) = members_directory(cgroup) else { return Ok(()) };
    let _frozen = Frozen::freeze(cgroup);
    for pid in members(&directory)? {
        if let Some(pid) = Pid::from_raw(pid) {
            // A process that has gone meanwhile is what is wanted.
            let _ = kill_process(pid, Signal::KILL);
        }
    }
    Ok(())
}

/// Keeps a group from forking while it is signalled; frozen processes get their signals at the thaw (version 1) or at once (version 2).
struct Frozen {
    thaw: Option<(PathBuf, &'static str)>,
}

impl Frozen {
    fn freeze(cgroup: &Cgroup) -> Self {
        let (file, freeze, thaw) = match (cgroup.directory(Controller::Freezer), cgroup.directory_v2()) {
            (Some((directory, Version::V1)), _) => (directory.join("freezer.state"), "FROZEN", "THAWED"),
            (_, Some(directory)) => (directory.join("cgroup.freeze"), "1", "0"),
            (_, None) => return Self { thaw: None },
        };
        let frozen = write_file(&file, freeze).is_ok();
        Self { thaw: frozen.then_some((file, thaw)) }
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        if let Some((file, thaw)) = &self.thaw {
            // The group is gone, or it was thawed from elsewhere.
            let _ = write_file(file, thaw);
        }
    }
}

/// A hierarchy in which the group exists, to list its processes.
fn members_directory(cgroup: &Cgroup) -> Option<PathBuf> {
    cgroup.directories().find(|directory| directory.is_dir())
}

/// The processes of the group and of those below it.
fn members(directory: &Path) -> Result<Vec<i32>, CgroupError> {
    let Some(text) = read_if_there(&directory.join("cgroup.procs"))? else { return Ok(Vec::new()) };
    let mut pids: Vec<i32> = text.lines().filter_map(|line| line.parse().ok()).collect();
    for child in subdirectories(directory)? {
        pids.extend(members(&child)?);
    }
    Ok(pids)
}

fn subdirectories(directory: &Path) -> Result<Vec<PathBuf>, CgroupError> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if is_gone(&error) => return Ok(Vec::new()),
        Err(error) => return Err(CgroupError::io("list", directory, error)),
    };
    let is_directory = |entry: &fs::DirEntry| entry.file_type().is_ok_and(|kind| kind.is_dir());
    Ok(entries.flatten().filter(is_directory).map(|entry| entry.path()).collect())
}

/// Returns when the group's population may have changed, at the latest after `pause`.
fn wait_for_change(cgroup: &Cgroup, pause: Duration) -> Result<(), CgroupError> {
    let events = cgroup.directory_v2().map(|directory| directory.join("cgroup.events"));
    let opened = events.as_ref().and_then(|path| File::open(path).ok());
    let Some(mut file) = opened else {
        rest(pause);
        return Ok(());
    };
    // Only changes after a read are told, so what was read decides whether there is anything to wait for.
    let mut text = String::new();
    let read = file.seek(SeekFrom::Start(0)).and_then(|_| file.read_to_string(&mut text));
    if read.is_ok() && says_populated(&text) {
        let timeout = timespec(pause);
        match poll(&mut [PollFd::new(&file.as_fd(), PollFlags::PRI)], Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(CgroupError::io("wait for", cgroup.path.as_path(), io::Error::from(error))),
        }
    }
    Ok(())
}

fn says_populated(events: &str) -> bool {
    events.lines().any(|line| line == "populated 1")
}

/// There is no event for the population of a version 1 group.
fn rest(pause: Duration) {
    // An interrupted rest only means to look again earlier.
    let _ = poll(&mut [], Some(&timespec(pause)));
}

fn timespec(duration: Duration) -> Timespec {
    Timespec { tv_sec: duration.as_secs() as i64, tv_nsec: i64::from(duration.subsec_nanos()) }
}

const PAUSE_MIN: Duration = Duration::from_millis(1);
const PAUSE_MAX: Duration = Duration::from_millis(50);
/// With growing pauses up to 50 ms this is under half a second for each directory.
const REMOVE_ATTEMPTS_MAX: u32 = 14;
