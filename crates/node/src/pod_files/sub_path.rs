//! `subPath`: a part of a volume as a mount of its own, with nothing that a container could bend to lead elsewhere.
//!
//! The containers of a pod write into its volumes while the path is being resolved. So the kernel resolves it in one call that
//! never leaves the volume (`openat2` with `RESOLVE_BENEATH`; links inside a volume are legal, as `subPath` into a configMap needs
//! them), and the *opened* file, not its name, is mounted to a place that no container can reach. The runtime is given that place.

use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::mount::{MoveMountFlags, OpenTreeFlags, UnmountFlags};

use super::PodFiles;

/// The kernel gives up a safe resolution when something is renamed meanwhile; so often it is asked again.
const RESOLVE_ATTEMPTS_MAX: u32 = 128;
/// No link may lead out of the volume, nor through `/proc`.
const BENEATH: ResolveFlags = ResolveFlags::BENEATH.union(ResolveFlags::NO_MAGICLINKS);

/// A part of a volume could not be mounted. The cause is only logged, since it could tell users of the node's files.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubPathError {
    /// The path starts at the root.
    #[error("error SubPath `{sub_path}` must not be an absolute path")]
    Absolute {
        /// The path.
        sub_path: String,
    },
    /// The path goes upwards.
    #[error("unable to provision SubPath `{sub_path}`: must not contain '..'")]
    Backsteps {
        /// The path.
        sub_path: String,
    },
    /// What the path names was not there and could not be made.
    #[error("failed to create subPath directory for volumeMount {mount:?} of container {container:?}")]
    Create {
        /// The volume's name.
        mount: String,
        /// The container's name.
        container: String,
    },
    /// What the path names is there, but outside of the volume, or cannot be mounted.
    #[error("failed to prepare subPath for volumeMount {mount:?} of container {container:?}")]
    Prepare {
        /// The volume's name.
        mount: String,
        /// The container's name.
        container: String,
    },
}

/// Which mount of a part of a volume.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SubPath<'a> {
    /// Where the volume is.
    pub(crate) volume_path: &'a Path,
    /// The volume's name.
    pub(crate) volume: &'a str,
    /// The container's name.
    pub(crate) container: &'a str,
    /// Position in the container's list of mounts.
    pub(crate) index: usize,
    /// The path in the volume.
    pub(crate) sub_path: &'a str,
}

impl PodFiles {
    /// Binds a part of a volume to a place of its own, in place of what an earlier instance of the container had there.
    pub(crate) fn stage_sub_path(&self, part: SubPath<'_>) -> Result<PathBuf, SubPathError> {
        let sub_path = Path::new(part.sub_path);
        if sub_path.is_absolute() {
            return Err(SubPathError::Absolute { sub_path: part.sub_path.to_owned() });
        }
        if sub_path.components().any(|component| component == Component::ParentDir) {
            return Err(SubPathError::Backsteps { sub_path: part.sub_path.to_owned() });
        }
        let (mount, container) = (part.volume, part.container);
        let unprepared = |cause: io::Error| {
            tracing::warn!(%cause, container, volume = mount, sub_path = part.sub_path, "cannot prepare the part of the volume");
            SubPathError::Prepare { mount: mount.to_owned(), container: container.to_owned() }
        };
        let root = rustix::fs::open(part.volume_path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
        let root = root.map_err(|error| unprepared(error.into()))?;
        let opened = match open_beneath(&root, sub_path) {
            Err(Errno::NOENT) => make_beneath(&root, sub_path).map_err(|cause| {
                tracing::warn!(%cause, container, volume = mount, sub_path = part.sub_path, "cannot make the part of the volume");
                SubPathError::Create { mount: mount.to_owned(), container: container.to_owned() }
            })?,
            other => other.map_err(|error| unprepared(error.into()))?,
        };
        let place = self.dir().join("volume-subpaths").join(mount).join(container).join(part.index.to_string());
        bind(&opened, &place).map_err(unprepared)?;
        Ok(place)
    }
}

fn open_beneath(root: &OwnedFd, path: &Path) -> Result<OwnedFd, Errno> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    let mut attempts = 0;
    loop {
        attempts += 1;
        match rustix::fs::openat2(root, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), BENEATH) {
            Err(Errno::AGAIN) if attempts < RESOLVE_ATTEMPTS_MAX => {}
            other => return other,
        }
    }
}

/// Makes the folders of the path that are missing, with the rights of the volume's own folder.
fn make_beneath(root: &OwnedFd, path: &Path) -> Result<OwnedFd, Errno> {
    let mode = Mode::from_raw_mode(rustix::fs::fstat(root)?.st_mode & 0o7777);
    let mut made_so_far = PathBuf::new();
    let mut parent = open_beneath(root, Path::new("."))?;
    for component in path.components() {
        let Component::Normal(name) = component else { continue };
        made_so_far.push(name);
        parent = match open_beneath(root, &made_so_far) {
            Err(Errno::NOENT) => match rustix::fs::mkdirat(&parent, name, Mode::RWXU) {
                Ok(()) => {
                    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                    let made = rustix::fs::openat2(&parent, name, flags, Mode::empty(), BENEATH | ResolveFlags::NO_XDEV)?;
                    // Not by the mode of mkdir, which the umask cuts.
                    rustix::fs::fchmod(&made, mode)?;
                    open_beneath(root, &made_so_far)?
                }
                Err(Errno::EXIST) => open_beneath(root, &made_so_far)?,
                Err(other) => return Err(other),
            },
            other => other?,
        };
    }
    Ok(parent)
}

/// Mounts the opened file itself: no name of it is looked up again.
fn bind(opened: &OwnedFd, place: &Path) -> io::Result<()> {
    if let Some(parent) = place.parent() {
        super::make_private_dirs(parent)?;
    }
    detach(place)?;
    let is_dir = FileType::from_raw_mode(rustix::fs::fstat(opened)?.st_mode) == FileType::Directory;
    match fs::symlink_metadata(place) {
        Ok(there) if there.is_dir() => fs::remove_dir(place)?,
        Ok(_) => fs::remove_file(place)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    if is_dir {
        fs::create_dir(place)?
    } else {
        fs::File::create_new(place).map(|_| ())?
    }
    let clone = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    let tree = rustix::mount::open_tree(opened, "", clone)?;
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    rustix::mount::move_mount(tree.as_fd(), "", rustix::fs::CWD, place, flags)?;
    Ok(())
}

/// Takes away what is mounted at a place of the engine's own; nothing mounted there is no error.
fn detach(place: &Path) -> io::Result<()> {
    match rustix::mount::unmount(place, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW) {
        Ok(()) | Err(Errno::INVAL | Errno::NOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests;
