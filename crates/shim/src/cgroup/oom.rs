//! Out-of-memory kills: the count, and the news that it may have changed.
//!
//! Version 1 tells through an eventfd when the limit is hit, *before* the kill is counted; version 2 makes `memory.events` readable
//! with priority after it. So the news says "read the count", and the count at the exit is what decides.

use std::{
    fs::File,
    io::Read as _,
    os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd},
    path::PathBuf,
};

use rustix::event::{EventfdFlags, epoll::EventFlags, eventfd};

use super::{Cgroup, CgroupError, Version, hierarchy::Controller, is_gone, keyed_number, read_if_there, write_file};

/// Tells of out-of-memory situations in a group.
#[derive(Debug)]
pub struct OomWatch {
    source: Source,
    path: PathBuf,
}

#[derive(Debug)]
enum Source {
    Eventfd(OwnedFd),
    Events(File),
}

impl OomWatch {
    /// Which readiness to ask epoll for.
    pub fn interest(&self) -> EventFlags {
        match self.source {
            Source::Eventfd(_) => EventFlags::IN,
            Source::Events(_) => EventFlags::PRI,
        }
    }

    /// Clears the readiness; then read [`Cgroup::oom_kills`]. The count may follow a moment later, so read it at the exit as well.
    /// The removal of the group makes the watch ready too.
    pub fn acknowledge(&mut self) -> Result<(), CgroupError> {
        let mut buffer = [0u8; 1024];
        let read = match &mut self.source {
            Source::Eventfd(fd) => match rustix::io::read(fd, &mut buffer[..8]) {
                Ok(_) | Err(rustix::io::Errno::AGAIN) => Ok(()),
                Err(error) => Err(error.into()),
            },
            Source::Events(file) => {
                use std::io::{Seek as _, SeekFrom};
                file.seek(SeekFrom::Start(0)).and_then(|_| file.read(&mut buffer)).map(drop)
            }
        };
        match read {
            Err(error) if !is_gone(&error) => Err(CgroupError::io("read event of", &self.path, error)),
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

impl AsFd for OomWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.source {
            Source::Eventfd(fd) => fd.as_fd(),
            Source::Events(file) => file.as_fd(),
        }
    }
}

pub(super) fn kills(cgroup: &Cgroup) -> Result<u64, CgroupError> {
    let Some((directory, version)) = cgroup.directory(Controller::Memory) else { return Ok(0) };
    let file = match version {
        Version::V1 => "memory.oom_control",
        Version::V2 => "memory.events",
    };
    let text = read_if_there(&directory.join(file))?;
    Ok(text.and_then(|text| keyed_number(&text, "oom_kill")).unwrap_or(0))
}

pub(super) fn watch(cgroup: &Cgroup) -> Result<Option<OomWatch>, CgroupError> {
    let Some((directory, version)) = cgroup.directory(Controller::Memory) else { return Ok(None) };
    let open = |path: &PathBuf| File::open(path).map_err(|source| CgroupError::io("open", path, source));
    match version {
        Version::V1 => {
            let path = directory.join("memory.oom_control");
            let control = open(&path)?;
            let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
                .map_err(|errno| CgroupError::io("make an event for", &path, errno.into()))?;
            let registration = format!("{} {}", event.as_raw_fd(), control.as_raw_fd());
            write_file(&directory.join("cgroup.event_control"), &registration)?;
            Ok(Some(OomWatch { source: Source::Eventfd(event), path }))
        }
        Version::V2 => {
            let path = directory.join("memory.events");
            let mut watch = OomWatch { source: Source::Events(open(&path)?), path };
            // Only changes after a first read are told.
            watch.acknowledge()?;
            Ok(Some(watch))
        }
    }
}
