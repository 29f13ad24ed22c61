//! The root directory of a layer while entries are put into it, and the only way to a path beneath it.
//!
//! Symbolic links of the layer are followed as a container would follow them: an absolute target, and any `..`, ends at
//! the layer's own root. The kernel does it (`openat2` with `RESOLVE_IN_ROOT`); where directories are missing, the same
//! walk is made here one component at a time, on descriptors. Invariant: no descriptor handed out lies outside the root.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, CWD, Dev, FileType, Mode, OFlags, ResolveFlags, Stat, XattrFlags};
use rustix::io::Errno;

use super::path::{DEPTH_MAX, split_path};

/// Most symbolic links followed on the way to one path, as in the kernel.
const SYMLINKS_MAX: usize = 40;
/// Most directories without an entry of their own that one layer may have.
const IMPLIED_MAX: usize = 100_000;
/// The extended attribute by which overlayfs hides what lower layers have in a directory.
pub(crate) const OPAQUE_XATTR: &str = "trusted.overlay.opaque";

/// Opens a directory only to reach what is in it.
const WALK_FLAGS: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
const IN_ROOT: ResolveFlags = ResolveFlags::IN_ROOT.union(ResolveFlags::NO_MAGICLINKS).union(ResolveFlags::NO_XDEV);

/// The root of a layer that is being unpacked.
#[derive(Debug)]
pub(crate) struct LayerRoot {
    root: OwnedFd,
    /// The parent of the last path asked for: entries of one directory follow each other.
    cached: Option<(Vec<u8>, OwnedFd)>,
    /// Directories that were made only because something lies in them: inode and path.
    implied: BTreeMap<u64, Vec<u8>>,
}

/// One step of a walk through missing directories.
struct Walk {
    /// Directories from the root down to where the walk stands, without the root.
    opened: Vec<OwnedFd>,
    names: Vec<Vec<u8>>,
    /// Components still to go, last one first.
    todo: Vec<Vec<u8>>,
    symlinks_left: usize,
}

impl LayerRoot {
    /// Takes the directory at `path`, which must exist, as root.
    pub(crate) fn open(path: &std::path::Path) -> io::Result<Self> {
        let root = rustix::fs::openat(CWD, path, WALK_FLAGS, Mode::empty())?;
        Ok(Self { root, cached: None, implied: BTreeMap::new() })
    }

    /// Opens the directory at the clean path `parent`, and makes the directories that are missing on the way.
    pub(crate) fn directory(&mut self, parent: &[u8]) -> io::Result<BorrowedFd<'_>> {
        if parent.is_empty() {
            return Ok(self.root.as_fd());
        }
        let is_cached = self.cached.as_ref().is_some_and(|(path, _)| path == parent);
        if !is_cached {
            let opened = match self.find_directory(parent) {
                Err(Errno::NOENT | Errno::NOTDIR | Errno::NAMETOOLONG) => self.walk(parent)?,
                found => found?,
            };
            self.cached = Some((parent.to_vec(), opened));
        }
        Ok(self.cached.as_ref().map_or(self.root.as_fd(), |(_, fd)| fd.as_fd()))
    }

    /// Opens the directory at the clean path `path` if it exists.
    pub(crate) fn find_directory(&self, path: &[u8]) -> Result<OwnedFd, Errno> {
        find_directory(self.root.as_fd(), path)
    }

    /// The same, but a symbolic link at `path` itself is not followed.
    pub(crate) fn find_directory_itself(&self, path: &[u8]) -> Result<OwnedFd, Errno> {
        if path.is_empty() {
            return self.find_directory(path);
        }
        let (parent, name) = split_path(path);
        rustix::fs::openat(self.find_directory(parent)?, name, WALK_FLAGS, Mode::empty())
    }

    /// Forgets what it knows of descriptors: something that a path may lead through was replaced.
    pub(crate) fn forget(&mut self) {
        self.cached = None;
    }

    /// An entry of its own was found for this directory.
    pub(crate) fn make_explicit(&mut self, directory: BorrowedFd<'_>) -> io::Result<()> {
        if !self.implied.is_empty() {
            self.implied.remove(&rustix::fs::fstat(directory)?.st_ino);
        }
        Ok(())
    }

    /// The paths of all directories that have no entry of their own.
    pub(crate) fn implied_paths(&self) -> Vec<Vec<u8>> {
        let mut paths: Vec<Vec<u8>> = self
            .implied
            .iter()
            .filter(|(inode, path)| self.find_directory_itself(path).and_then(rustix::fs::fstat).is_ok_and(|stat| stat.st_ino == **inode))
            .map(|(_, path)| path.clone())
            .collect();
        paths.sort();
        paths
    }

    /// Walks to `path` as `openat2` would, and makes what is missing.
    fn walk(&mut self, path: &[u8]) -> io::Result<OwnedFd> {
        let mut walk = Walk { opened: Vec::new(), names: Vec::new(), todo: Vec::new(), symlinks_left: SYMLINKS_MAX };
        walk.push_components(path);
        while let Some(name) = walk.todo.pop() {
            if name == b".." {
                walk.opened.pop();
                walk.names.pop();
                continue;
            }
            if walk.opened.len() >= DEPTH_MAX {
                return Err(Errno::NAMETOOLONG.into());
            }
            self.step(&mut walk, name)?;
        }
        match walk.opened.pop() {
            Some(directory) => Ok(directory),
            None => Ok(rustix::fs::openat(&self.root, ".", WALK_FLAGS, Mode::empty())?),
        }
    }

    fn step(&mut self, walk: &mut Walk, name: Vec<u8>) -> io::Result<()> {
        let here = walk.opened.last().map_or(self.root.as_fd(), AsFd::as_fd);
        let found = match rustix::fs::statat(here, name.as_slice(), AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Some(stat),
            Err(Errno::NOENT) => None,
            Err(error) => return Err(error.into()),
        };
        let is_hidden_below = found.as_ref().is_some_and(is_whiteout);
        match found.as_ref().map(|stat| FileType::from_raw_mode(stat.st_mode)) {
            Some(FileType::Symlink) => {
                let target = rustix::fs::readlinkat(here, name.as_slice(), Vec::new())?;
                return walk.follow(target.as_bytes());
            }
            Some(FileType::Directory) => {}
            Some(_) if !is_hidden_below => return Err(Errno::NOTDIR.into()),
            Some(_) | None => {
                if is_hidden_below {
                    rustix::fs::unlinkat(here, name.as_slice(), AtFlags::empty())?;
                }
                rustix::fs::mkdirat(here, name.as_slice(), Mode::from_raw_mode(0o755))?;
            }
        }
        let directory = rustix::fs::openat(here, name.as_slice(), WALK_FLAGS, Mode::empty())?;
        let is_new = is_hidden_below || found.is_none();
        walk.opened.push(directory);
        walk.names.push(name);
        if is_new {
            self.adopt_new(walk, is_hidden_below)?;
        }
        Ok(())
    }

    /// Gives a directory that was just made the attributes that do not depend on the moment, and remembers it.
    fn adopt_new(&mut self, walk: &Walk, is_hidden_below: bool) -> io::Result<()> {
        let Some(directory) = walk.opened.last() else { return Ok(()) };
        if self.implied.len() >= IMPLIED_MAX {
            return Err(io::Error::other("too many directories without an entry of their own"));
        }
        let writable = rustix::fs::openat(directory, ".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        rustix::fs::fchown(&writable, Some(rustix::fs::Uid::ROOT), Some(rustix::fs::Gid::ROOT))?;
        rustix::fs::fchmod(&writable, Mode::from_raw_mode(0o755))?;
        if is_hidden_below {
            set_opaque(writable.as_fd())?;
        }
        self.implied.insert(rustix::fs::fstat(&writable)?.st_ino, walk.names.join(&b'/'));
        Ok(())
    }
}

impl Walk {
    fn push_components(&mut self, path: &[u8]) {
        let components = path.split(|byte| *byte == b'/').filter(|component| !matches!(*component, b"" | b"."));
        self.todo.extend(components.rev().map(<[u8]>::to_vec));
    }

    fn follow(&mut self, target: &[u8]) -> io::Result<()> {
        self.symlinks_left = self.symlinks_left.checked_sub(1).ok_or(Errno::LOOP)?;
        if target.starts_with(b"/") {
            self.opened.clear();
            self.names.clear();
        }
        self.push_components(target);
        Ok(())
    }
}

/// Opens the regular file at the clean path `path` beneath `root` for reading; the last component is not followed.
pub(crate) fn open_file(root: BorrowedFd<'_>, path: &[u8]) -> io::Result<std::fs::File> {
    let (parent, name) = split_path(path);
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    match rustix::fs::openat2(root, path, flags, Mode::empty(), IN_ROOT) {
        Err(Errno::NAMETOOLONG) => Ok(rustix::fs::openat(find_directory(root, parent)?, name, flags, Mode::empty())?.into()),
        opened => Ok(opened?.into()),
    }
}

fn find_directory(root: BorrowedFd<'_>, path: &[u8]) -> Result<OwnedFd, Errno> {
    if path.is_empty() {
        return rustix::fs::openat(root, ".", WALK_FLAGS, Mode::empty());
    }
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    match rustix::fs::openat2(root, path, flags, Mode::empty(), IN_ROOT) {
        // The whole may be longer than the kernel takes in one go, and each part still be fine.
        Err(Errno::NAMETOOLONG) => {
            let (parent, name) = split_path(path);
            if parent.is_empty() {
                return Err(Errno::NAMETOOLONG);
            }
            rustix::fs::openat(find_directory(root, parent)?, name, WALK_FLAGS, Mode::empty())
        }
        found => found,
    }
}

/// Whether this is how overlayfs marks that an object of a lower layer is gone: a character device 0:0.
pub(crate) fn is_whiteout(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == Dev::default()
}

/// Marks a directory so that overlayfs shows nothing of the same directory in lower layers.
pub(crate) fn set_opaque(directory: BorrowedFd<'_>) -> io::Result<()> {
    Ok(rustix::fs::fsetxattr(directory, OPAQUE_XATTR, b"y", XattrFlags::empty())?)
}
