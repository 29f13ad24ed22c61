//! Persistent volume claims: a folder for each, made on first use and kept.
//!
//! Containers of other pods may be writing in it at any time, so nothing in it is looked up by a path that they could bend: the walk
//! that gives it to fsGroup goes by open folders and never leaves it.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::ownership::{FOLDER, READ_WRITE};
use super::volume::VolumeProblem;
use super::{make_private_dirs, set_mode};

/// Every container of every pod of the namespace may write, whatever user it runs as.
const CLAIM_MODE: u32 = 0o777;
/// Longest name of a claim, in bytes.
const NAME_BYTES_MAX: usize = 253;
/// Nothing in the folder leads out of it.
const INSIDE: ResolveFlags =
    ResolveFlags::BENEATH.union(ResolveFlags::NO_XDEV).union(ResolveFlags::NO_SYMLINKS).union(ResolveFlags::NO_MAGICLINKS);

/// `securityContext.fsGroupChangePolicy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ChangePolicy {
    /// All files are given to the group each time.
    Always,
    /// Only if the top of the volume is not the group's already.
    OnRootMismatch,
}

impl ChangePolicy {
    pub(super) fn of(policy: Option<&str>) -> Self {
        match policy {
            Some("OnRootMismatch") => Self::OnRootMismatch,
            _ => Self::Always,
        }
    }
}

/// A DNS subdomain, so that it names one folder and no other place.
pub(super) fn is_claim_name(name: &str) -> bool {
    let is_part = |part: &str| {
        !part.is_empty()
            && !part.starts_with('-')
            && !part.ends_with('-')
            && part.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
    };
    name.len() <= NAME_BYTES_MAX && name.split('.').all(is_part)
}

/// Makes the folder of a claim if it is not there, and gives it to the group.
pub(super) fn make_claim(dir: &Path, fs_group: Option<i64>, policy: ChangePolicy) -> Result<(), VolumeProblem> {
    make_private_dirs(dir.parent().unwrap_or(dir)).map_err(|source| VolumeProblem::io("mkdir", dir, source))?;
    match DirBuilder::new().mode(CLAIM_MODE).create(dir) {
        // Not by the mode of mkdir, which the umask cuts.
        Ok(()) => set_mode(dir, CLAIM_MODE).map_err(|source| VolumeProblem::io("chmod", dir, source))?,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && fs::symlink_metadata(dir).is_ok_and(|there| there.is_dir()) => {}
        Err(error) => return Err(VolumeProblem::io("mkdir", dir, error)),
    }
    let Some(group) = fs_group.and_then(|group| u32::try_from(group).ok()) else { return Ok(()) };
    give_to_group(dir, group, policy).map_err(|source| VolumeProblem::io("chown", dir, source))
}

fn give_to_group(dir: &Path, group: u32, policy: ChangePolicy) -> io::Result<()> {
    let top = fs::symlink_metadata(dir)?;
    let rights = READ_WRITE | FOLDER;
    if policy == ChangePolicy::OnRootMismatch && top.gid() == group && top.mode() & rights == rights {
        return Ok(());
    }
    let root = rustix::fs::open(dir, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
    let mut todo = vec![PathBuf::new()];
    while let Some(path) = todo.pop() {
        let Some(folder) = open_folder(&root, &path)? else { continue };
        for entry in rustix::fs::Dir::read_from(&folder)? {
            let entry = entry?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            if give_entry(&folder, name, group)? == FileType::Directory {
                todo.push(path.join(OsStr::from_bytes(name.to_bytes())));
            }
        }
    }
    // The top last: `OnRootMismatch` takes it as the sign that all below is done.
    change(&root, group)
}

/// A folder of the volume; `None` if it is gone, or is something else by now.
fn open_folder(root: &OwnedFd, path: &Path) -> io::Result<Option<OwnedFd>> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match rustix::fs::openat2(root, path, flags, Mode::empty(), INSIDE) {
        Ok(folder) => Ok(Some(folder)),
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::XDEV | Errno::AGAIN) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Gives one entry of a folder to the group; a link itself, never what it leads to. Returns what it is.
fn give_entry(folder: &OwnedFd, name: &std::ffi::CStr, group: u32) -> io::Result<FileType> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened = match rustix::fs::openat(folder, name, flags, Mode::empty()) {
        Ok(opened) => opened,
        Err(Errno::NOENT) => return Ok(FileType::Unknown),
        Err(error) => return Err(error.into()),
    };
    let kind = FileType::from_raw_mode(rustix::fs::fstat(&opened)?.st_mode);
    if kind == FileType::Symlink {
        rustix::fs::chownat(&opened, "", None, Some(Gid::from_raw(group)), AtFlags::EMPTY_PATH | AtFlags::SYMLINK_NOFOLLOW)?;
    } else {
        change(&opened, group)?;
    }
    Ok(kind)
}

/// Of the opened file itself, by its descriptor.
fn change(opened: &OwnedFd, group: u32) -> io::Result<()> {
    let stat = rustix::fs::fstat(opened)?;
    rustix::fs::chownat(opened, "", None, Some(Gid::from_raw(group)), AtFlags::EMPTY_PATH)?;
    let folder = if FileType::from_raw_mode(stat.st_mode) == FileType::Directory { FOLDER } else { 0 };
    let mode = (stat.st_mode & 0o7777) | READ_WRITE | folder;
    // A descriptor that is only a place cannot be changed itself, but this name of it can, and it leads nowhere else.
    fs::set_permissions(format!("/proc/self/fd/{}", opened.as_raw_fd()), fs::Permissions::from_mode(mode))
}

#[cfg(test)]
mod tests;
