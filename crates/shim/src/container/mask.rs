//! Hiding and write-protecting paths of the container.
//!
//! Files are hidden below the host's `/dev/null`, which was opened and checked before the container's root became `/` (what the image
//! calls `/dev/null` is not to be trusted); directories below one empty read-only file system that they share.

use std::{
    io,
    os::fd::{AsFd as _, BorrowedFd},
    path::Path,
};

use rustix::{
    fs::{CWD, FileType, Mode, OFlags, fstat, makedev, openat},
    io::Errno,
};

use super::{
    error::{During as _, Failure},
    mounts::{Attributes, Detached},
    resolve::Root,
};

/// What paths are hidden below.
#[derive(Debug)]
pub(crate) struct Masks {
    null: Cover,
    empty: Option<Cover>,
}

/// One mount that is put on several places.
#[derive(Debug)]
struct Cover {
    mount: Detached,
    is_attached: bool,
}

impl Cover {
    /// Only a mount that is attached in our own tree may be cloned (before Linux 6.15), so the first place takes the mount itself.
    fn put_on(&mut self, place: BorrowedFd<'_>) -> io::Result<()> {
        if self.is_attached {
            return Detached::bind_fd(self.mount.as_fd())?.attach(place);
        }
        self.is_attached = true;
        self.mount.attach(place)
    }
}

impl Masks {
    /// Opens the host's null device. To be called while `/` is the host's.
    pub(crate) fn new() -> Result<Self, Failure> {
        let path = Path::new("/dev/null");
        let node = openat(CWD, path, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty()).during_path("open", path)?;
        let status = fstat(&node).during_path("look at", path)?;
        if FileType::from_raw_mode(status.st_mode) != FileType::CharacterDevice || status.st_rdev != makedev(1, 3) {
            return Err(Failure::step("find the null device at", path.display(), Errno::NODEV));
        }
        let mount = Detached::bind_fd(node.as_fd()).during_path("clone", path)?;
        Ok(Self { null: Cover { mount, is_attached: false }, empty: None })
    }

    /// Hides what is at `path`, if there is anything.
    pub(crate) fn hide(&mut self, root: &Root, path: &Path) -> Result<(), Failure> {
        let place = match root.open(path) {
            Ok(place) => place,
            Err(error) if is_absent(&error) => return Ok(()),
            Err(error) => return Err(Failure::step("open path to mask", path.display(), error)),
        };
        let status = fstat(&place).during_path("look at path to mask", path)?;
        let is_directory = FileType::from_raw_mode(status.st_mode) == FileType::Directory;
        let cover = if is_directory { self.empty()? } else { &mut self.null };
        cover.put_on(place.as_fd()).during_path("mask", path)
    }

    fn empty(&mut self) -> Result<&mut Cover, Failure> {
        match &mut self.empty {
            Some(cover) => Ok(cover),
            empty => {
                let mount = Detached::new("tmpfs", Some("tmpfs"), &[("mode".to_owned(), Some("755".to_owned()))])?;
                mount.set(&Attributes::inert(true)).during("write-protect", "empty file system")?;
                Ok(empty.insert(Cover { mount, is_attached: false }))
            }
        }
    }
}

/// Write-protects what is at `path`, if there is anything, with all mounts below.
pub(crate) fn write_protect(root: &Root, path: &Path) -> Result<(), Failure> {
    let place = match root.open(path) {
        Ok(place) => place,
        Err(error) if is_absent(&error) => return Ok(()),
        Err(error) => return Err(Failure::step("open path to write-protect", path.display(), error)),
    };
    let clone = Detached::bind_fd_recursive(place.as_fd()).during_path("clone", path)?;
    clone.set(&Attributes::read_only_below()).during_path("write-protect", path)?;
    clone.attach(place.as_fd()).during_path("write-protect", path)
}

/// A path below a file is as absent as any other.
fn is_absent(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR))
}
