//! The writable part of a container's root file system.
//!
//! Only the directories that overlayfs needs beside the image's layers ([`Image::lower_dirs`]). Mounting them happens in
//! the container's own mount namespace, elsewhere.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags};

use super::store::{Image, copy_attributes};

/// The writable directories of one container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpperDirs {
    /// Holds what the container changes: `upperdir` of overlayfs.
    pub upper: PathBuf,
    /// Belongs to overlayfs: `workdir`. It lies on the same file system.
    pub work: PathBuf,
}

/// Why the directories could not be made.
#[derive(Debug, thiserror::Error)]
#[error("prepare the writable layer in {path:?}")]
pub struct PrepareUpperError {
    /// The directory that was asked for.
    pub path: PathBuf,
    /// What the system says.
    #[source]
    pub source: io::Error,
}

impl Image {
    /// Makes the writable directories of a container in `dir`, which must exist. What is there already is kept, so a
    /// container that is started again finds its files. Overlayfs shows the owner and mode of the upper directory as
    /// those of `/`, so it gets the image's.
    pub fn prepare_upper(&self, dir: &Path) -> Result<UpperDirs, PrepareUpperError> {
        let dirs = UpperDirs { upper: dir.join("upper"), work: dir.join("work") };
        let prepare = || {
            make_dir(&dirs.work)?;
            if dirs.upper.is_dir() {
                return Ok(());
            }
            // Complete before it has its name: a crash in between must not leave a root with the wrong rights.
            let new = dir.join("upper.new");
            make_dir(&new)?;
            if let Some(top) = self.lower_dirs().first() {
                copy_attributes(&open(top)?, &open(&new)?)?;
            }
            fs::rename(&new, &dirs.upper)
        };
        prepare().map_err(|source| PrepareUpperError { path: dir.to_owned(), source })?;
        Ok(dirs)
    }
}

fn make_dir(path: &Path) -> io::Result<()> {
    match fs::create_dir(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

fn open(path: &Path) -> io::Result<OwnedFd> {
    Ok(rustix::fs::openat(CWD, path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?)
}

#[cfg(test)]
mod tests;
