//! The container's root: an overlay or a prepared directory, made a detached mount and then the `/` of the container.
//!
//! All of it happens in the container's own mount namespace, so that nothing is left on the host when the last process is gone.
//!
//! Overlays are volatile: nothing is synced, neither when a program in the container asks for it nor when the overlay goes. The writable
//! layer of a container is not used again after a crash of the machine, and a sync of its whole disk would hold up the container's end.

use std::{
    ffi::CString,
    io,
    os::fd::{AsFd as _, AsRawFd as _, OwnedFd},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{CWD, Mode, OFlags, open},
    mount::{
        FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, OpenTreeFlags, UnmountFlags, fsconfig_create, fsconfig_set_flag,
        fsconfig_set_string, fsmount, fsopen, mount, open_tree, unmount,
    },
    process::{fchdir, pivot_root},
    system::uname,
};

use super::{
    Rootfs,
    error::{During as _, Failure},
    mounts::Detached,
    resolve::Root,
};
use crate::sys::{self, Recursive};

/// Makes the root file system as a detached mount. Ties must be cut before: it may be mounted in this namespace for a moment.
pub(crate) fn detached(rootfs: &Rootfs) -> Result<Detached, Failure> {
    match rootfs {
        Rootfs::Path(path) => Detached::bind(path, Recursive::Yes),
        Rootfs::Overlay { lower, upper, work } => overlay(lower, upper, work),
    }
}

/// Cuts the ties of propagation, so that nothing that is mounted or unmounted from here on reaches the host.
pub(crate) fn make_private() -> Result<(), Failure> {
    let root = open_tree(CWD, "/", OpenTreeFlags::OPEN_TREE_CLOEXEC).during("open", "/")?;
    sys::mount_setattr(root.as_fd(), Recursive::Yes, 0, 0, libc::MS_PRIVATE).during("make mounts private below", "/")
}

/// Cuts the ties of propagation in one direction: what is mounted on the host is still seen here, and not the other way round.
pub(crate) fn make_dependent() -> Result<(), Failure> {
    let root = open_tree(CWD, "/", OpenTreeFlags::OPEN_TREE_CLOEXEC).during("open", "/")?;
    sys::mount_setattr(root.as_fd(), Recursive::Yes, 0, 0, libc::MS_SLAVE).during("make mounts dependent below", "/")
}

/// Makes the mount `/` of this process, and drops the tree that was `/`.
pub(crate) fn enter(root: &Detached) -> Result<Root, Failure> {
    // On top of the old root: our own `/` still means the old one, until the two change places.
    let old = open("/", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).during("open", "/")?;
    root.attach(old.as_fd()).during("mount root file system on", "/")?;
    fchdir(root.as_fd()).during("enter", "root file system")?;
    pivot_root(".", ".").during("pivot to", "root file system")?;
    // The old root now lies on top of the new one, at the place where we stand.
    unmount(".", UnmountFlags::DETACH).during("detach", "old root file system")?;
    let directory = open("/", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).during("open", "container root")?;
    fchdir(&directory).during("enter", "container root")?;
    Ok(Root::new(directory))
}

fn overlay(lower: &[PathBuf], upper: &Path, work: &Path) -> Result<Detached, Failure> {
    if lower.is_empty() {
        return Err(Failure::bundle("rootfs", "an overlay needs at least one lower directory"));
    }
    forget_earlier_use(work)?;
    // Asking an older kernel for `lowerdir+` fails too, but leaves a line in the kernel's log each time.
    if kernel_is_older_than((6, 7)) {
        return overlay_by_options(lower, upper, work);
    }
    overlay_by_layers(lower, upper, work)
}

/// A volatile overlay leaves a mark by which the kernel refuses to mount it again: after a crash of the machine its files may be incomplete.
/// Here the directories are used again only when a creation has failed half-way, on the same running machine.
fn forget_earlier_use(work: &Path) -> Result<(), Failure> {
    let mark = work.join("work/incompat/volatile");
    match std::fs::remove_dir_all(&mark) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Failure::step("remove mark of earlier use", mark.display(), error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// One call for each layer: no limit on the length of all paths together, and no character with a meaning.
fn overlay_by_layers(lower: &[PathBuf], upper: &Path, work: &Path) -> Result<Detached, Failure> {
    let context = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC).during("open file system", "overlay")?;
    let layers = lower.iter().map(|path| ("lowerdir+", path.as_path()));
    for (key, path) in layers.chain([("upperdir", upper), ("workdir", work)]) {
        fsconfig_set_string(&context, key, path).during("set overlay's", format_args!("{key} {}", path.display()))?;
    }
    fsconfig_set_flag(&context, "volatile").during("set overlay's", "volatile")?;
    fsconfig_create(&context).during_path("mount overlay with upper directory", upper)?;
    let mount = fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty()).during_path("mount overlay", upper)?;
    Detached::from_mount(mount).during("look at", "overlay")
}

/// `mount(2)` with one string of options, on top of the upper directory in this mount namespace only. The string has room for one page,
/// and some characters have a meaning in it, so that layers are named by descriptors.
fn overlay_by_options(lower: &[PathBuf], upper: &Path, work: &Path) -> Result<Detached, Failure> {
    let open = |path: &Path| open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).during_path("open layer", path);
    let name = |fd: &OwnedFd| format!("/proc/self/fd/{}", fd.as_raw_fd());
    let layers = lower.iter().map(|path| open(path)).collect::<Result<Vec<_>, _>>()?;
    let (upper_fd, work_fd) = (open(upper)?, open(work)?);
    let lower = layers.iter().map(name).collect::<Vec<_>>().join(":");
    let options = format!("volatile,lowerdir={lower},upperdir={},workdir={}", name(&upper_fd), name(&work_fd));
    let options = CString::new(options).map_err(|_| Failure::bundle("rootfs", "a path has a NUL byte in it"))?;
    mount("overlay", upper, "overlay", MountFlags::empty(), options.as_c_str())
        .during_path("mount overlay, by options of at most 4095 bytes, with upper directory", upper)?;
    Detached::bind(upper, Recursive::No)
}

/// An overlay of layers alone, which nobody can write. Older kernels mount it on top of a layer, in this mount namespace only, and it
/// is cloned and taken away again.
pub(crate) fn read_only_overlay(lower: &[PathBuf]) -> Result<Detached, Failure> {
    let [top, ..] = lower else { return Err(Failure::bundle("mounts", "an overlay needs at least one lower directory")) };
    if !kernel_is_older_than((6, 7)) {
        let layers: Vec<_> = lower.iter().map(|path| ("lowerdir+".to_owned(), Some(path.display().to_string()))).collect();
        return Detached::new("overlay", Some("overlay"), &layers);
    }
    let open =
        |path: &PathBuf| open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).during_path("open layer", path);
    let layers = lower.iter().map(open).collect::<Result<Vec<_>, _>>()?;
    let names = layers.iter().map(|fd| format!("/proc/self/fd/{}", fd.as_raw_fd())).collect::<Vec<_>>().join(":");
    let options = CString::new(format!("lowerdir={names}")).map_err(|_| Failure::bundle("mounts", "a path has a NUL byte in it"))?;
    mount("overlay", top, "overlay", MountFlags::RDONLY, options.as_c_str())
        .during_path("mount overlay, by options of at most 4095 bytes, on", top)?;
    let clone = Detached::bind(top, Recursive::No);
    unmount(top, UnmountFlags::DETACH).during_path("unmount overlay from", top)?;
    clone
}

fn kernel_is_older_than(version: (u32, u32)) -> bool {
    let uname = uname();
    is_older_than(&uname.release().to_string_lossy(), version)
}

fn is_older_than(release: &str, version: (u32, u32)) -> bool {
    let mut numbers = release.split(|character: char| !character.is_ascii_digit()).map(|number| number.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) < version
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernel_versions_are_compared_as_numbers() {
        for (release, older) in
            [("6.1.0-56-cloud-amd64", true), ("6.6.12", true), ("6.7", false), ("6.18.44-fc-v669", false), ("10.0-rc1", false)]
        {
            assert_eq!(is_older_than(release, (6, 7)), older, "{release}");
        }
    }
}
