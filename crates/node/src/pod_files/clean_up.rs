//! Removing a pod's folder: unmount first, then remove, and never leave the folder, whatever links or mounts are in it.
//!
//! The folder is set aside before it is emptied, so that nobody who lists pods meanwhile finds one of which half is gone.
//!
//! A walk by open folders, not by names: no link is followed (`RESOLVE_NO_SYMLINKS`), and a mount that is still there stops it
//! (`RESOLVE_NO_XDEV`) instead of being emptied. So content of the node that was mounted into the pod cannot be lost.

use std::ffi::CString;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{AtFlags, Mode, OFlags, RawDir, ResolveFlags};
use rustix::io::Errno;
use rustix::mount::UnmountFlags;

use super::{ENGINE_LOCK, ENGINE_SOCKET, MANIFEST_FILE, PodFiles, STATE_FILE, blocking};

/// What the name of a folder begins with that is being removed.
const SET_ASIDE: &str = ".gone-";
/// What engines have in a pod's folder.
const KEPT: [&str; 4] = [STATE_FILE, MANIFEST_FILE, ENGINE_LOCK, ENGINE_SOCKET];
/// Mounts can lie over each other; so often the table is read again before it is given up.
const UNMOUNT_ROUNDS_MAX: u32 = 64;
/// Folders open at once; what lies deeper is moved to the top first.
const OPEN_FOLDERS_MAX: usize = 64;
/// Room for the entries of a folder that are read at once, in bytes.
const ENTRIES_BYTES: usize = 16 * 1024;
/// Every folder on the way is opened with these.
const INSIDE: ResolveFlags =
    ResolveFlags::BENEATH.union(ResolveFlags::NO_XDEV).union(ResolveFlags::NO_SYMLINKS).union(ResolveFlags::NO_MAGICLINKS);

/// A pod's folder could not be removed; what is left stays where it is, and it can be tried again.
#[derive(Debug, thiserror::Error)]
pub enum CleanUpError {
    /// The table of mounts cannot be read.
    #[error("cannot read the mounts of this process")]
    Mounts {
        /// Why.
        source: io::Error,
    },
    /// Something stays mounted in the folder.
    #[error("cannot unmount {}", path.display())]
    Unmount {
        /// What.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Something cannot be removed.
    #[error("cannot remove {}", path.display())]
    Remove {
        /// What, or the folder that it is in.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl PodFiles {
    /// Unmounts and removes all that the pod has here, but for what an engine needs to know that it has ended: that goes with the folder,
    /// [when the end is told](remove_pod_folder). Otherwise an engine that dies before that would have the next one begin the pod anew.
    /// Idempotent: no folder is no error.
    pub async fn clean_up(&self) -> Result<(), CleanUpError> {
        let dir = self.dir().to_owned();
        blocking(move || empty_pod_folder(&dir)).await
    }
}

fn empty_pod_folder(dir: &Path) -> Result<(), CleanUpError> {
    unmount_all(dir)?;
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source: io::Error| CleanUpError::Remove { path, source }
    };
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries.collect::<Result<Vec<_>, _>>().map_err(failed(dir))?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(dir)(error)),
    };
    let mut going: Vec<_> = entries.into_iter().filter(|entry| !KEPT.iter().any(|kept| entry.file_name() == *kept)).collect();
    // What says of a folder what it is, before what is in it.
    going.sort_by_key(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    if !going.is_empty() {
        let aside = place_aside(dir);
        std::fs::create_dir(&aside).map_err(failed(&aside))?;
        for entry in going {
            std::fs::rename(entry.path(), aside.join(entry.file_name())).map_err(failed(&entry.path()))?;
        }
        remove_tree(&aside)?;
    }
    match std::fs::remove_dir(dir) {
        Err(error) if !matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::DirectoryNotEmpty) => Err(failed(dir)(error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Whether a folder among those of the pods is one that is being removed, or was when an engine died. No pod has such a uid.
pub fn is_set_aside(folder: &Path) -> bool {
    folder.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(SET_ASIDE.as_bytes()))
}

/// Unmounts and removes all that is in a pod's folder. Idempotent: no folder is no error.
///
/// # Errors
/// When something stays mounted in it, or cannot be removed. What is left is where it was, or set aside; an engine that begins removes it.
pub fn remove_pod_folder(dir: &Path) -> Result<(), CleanUpError> {
    unmount_all(dir)?;
    match set_aside(dir)? {
        Some(aside) => remove_tree(&aside),
        None => Ok(()),
    }
}

/// A place for what goes of a pod's folder, where nothing is yet.
fn place_aside(dir: &Path) -> PathBuf {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let name = dir.file_name().unwrap_or_default().to_string_lossy();
    dir.with_file_name(format!("{SET_ASIDE}{name}-{}-{number}", std::process::id()))
}

/// Where the folder is from now on; `None` if it is gone.
fn set_aside(dir: &Path) -> Result<Option<PathBuf>, CleanUpError> {
    if dir.file_name().is_none() || is_set_aside(dir) {
        return Ok(Some(dir.to_owned()));
    }
    let aside = place_aside(dir);
    match rustix::fs::rename(dir, &aside) {
        Ok(()) => Ok(Some(aside)),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(CleanUpError::Remove { path: dir.to_owned(), source: error.into() }),
    }
}

/// Unmounts everything at and beneath the folder, the newest first.
fn unmount_all(dir: &Path) -> Result<(), CleanUpError> {
    // The table has the true path.
    let Ok(dir) = dir.canonicalize() else { return Ok(()) };
    let mut last_error = None;
    for _ in 0..UNMOUNT_ROUNDS_MAX {
        let table = std::fs::read("/proc/self/mountinfo").map_err(|source| CleanUpError::Mounts { source })?;
        let inside: Vec<_> = mount_points(&table).filter(|point| point.starts_with(&dir)).collect();
        if inside.is_empty() {
            return Ok(());
        }
        for path in inside.into_iter().rev() {
            if let Err(error) = rustix::mount::unmount(&path, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW) {
                last_error = Some((path, error));
            }
        }
    }
    let (path, error) = last_error.unwrap_or((dir, Errno::BUSY));
    Err(CleanUpError::Unmount { path, source: error.into() })
}

/// The fifth field of each line, in which blanks and the like are written as `\040`.
fn mount_points(table: &[u8]) -> impl DoubleEndedIterator<Item = PathBuf> {
    let lines = table.split(|byte| *byte == b'\n');
    lines
        .filter_map(|line| line.split(|byte| *byte == b' ').nth(4))
        .map(|field| PathBuf::from(std::ffi::OsString::from_vec(unescape(field))))
}

fn unescape(field: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, after)) = rest.split_first() {
        let octal = after.get(..3).filter(|_| *first == b'\\').and_then(|digits| std::str::from_utf8(digits).ok());
        match octal.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[3..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    bytes
}

/// A folder that is being emptied.
struct Open {
    folder: OwnedFd,
    name: CString,
}

fn remove_tree(dir: &Path) -> Result<(), CleanUpError> {
    let failed = |error: Errno| CleanUpError::Remove { path: dir.to_owned(), source: error.into() };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let root = match rustix::fs::open(dir, flags, Mode::empty()) {
        Ok(root) => root,
        Err(Errno::NOENT) => return Ok(()),
        Err(error) => return Err(failed(error)),
    };
    empty(root, dir)?;
    match rustix::fs::rmdir(dir) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(failed(error)),
    }
}

/// Removes all that is in the folder.
fn empty(root: OwnedFd, dir: &Path) -> Result<(), CleanUpError> {
    let mut open = vec![Open { folder: root, name: CString::default() }];
    let mut moved_up: u64 = 0;
    let mut buffer = Vec::with_capacity(ENTRIES_BYTES);
    while let Some(top) = open.last() {
        let failed = |error: Errno| {
            let inside = open.iter().skip(1).map(|folder| folder.name.to_string_lossy().into_owned());
            CleanUpError::Remove { path: dir.join(inside.collect::<PathBuf>()), source: error.into() }
        };
        match remove_some(&top.folder, &mut buffer).map_err(failed)? {
            Found::Nothing if open.len() == 1 => return Ok(()),
            Found::Nothing => {
                let above = &open[open.len() - 2].folder;
                rustix::fs::unlinkat(above, &top.name, AtFlags::REMOVEDIR).map_err(failed)?;
                open.pop();
            }
            Found::Files => {}
            Found::Folder(name) if open.len() < OPEN_FOLDERS_MAX => {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let folder = rustix::fs::openat2(&top.folder, &name, flags, Mode::empty(), INSIDE).map_err(failed)?;
                open.push(Open { folder, name });
            }
            Found::Folder(name) => {
                moved_up += 1;
                rustix::fs::renameat(&top.folder, &name, &open[0].folder, format!("..deep-{moved_up}")).map_err(failed)?;
            }
        }
    }
    Ok(())
}

/// What a look into a folder came to.
enum Found {
    /// It is empty.
    Nothing,
    /// There were files, which are gone now; look again.
    Files,
    /// There is a folder in it.
    Folder(CString),
}

fn remove_some(folder: &OwnedFd, buffer: &mut Vec<u8>) -> Result<Found, Errno> {
    rustix::fs::seek(folder, rustix::fs::SeekFrom::Start(0))?;
    let mut found = Found::Nothing;
    let mut entries = RawDir::new(folder, buffer.spare_capacity_mut());
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        match rustix::fs::unlinkat(folder, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => found = Found::Files,
            // POSIX has EPERM for a folder where Linux has EISDIR; opening it will tell.
            Err(Errno::ISDIR) => return Ok(Found::Folder(name.to_owned())),
            Err(Errno::PERM) if entry.file_type() == rustix::fs::FileType::Directory => return Ok(Found::Folder(name.to_owned())),
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests;
