//! What the folder of pods and images has to be.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
use rustix::thread::UnshareFlags;

use super::kernel::{in_own_thread, unshare};
use super::{Finding, Severity};

const FOLDER: &str = "folder";
const OVERLAY: &str = "overlay file system";
/// Below this, one usual image fills the disk.
const FREE_BYTES_MIN: u64 = 1 << 30;

/// Whether the folder can be written, and how much room it has.
pub(super) fn root(root: &Path) -> Finding {
    const WHY: &str = "pods and images are kept there";
    let unusable = |what: String| Finding::wrong(FOLDER, Severity::Blocks, what, WHY, "choose another folder, or make it writable");
    let free = match trial_folder(root).and_then(|_trial| Ok(rustix::fs::statvfs(root)?)) {
        Ok(room) => room.f_bavail.saturating_mul(room.f_frsize),
        Err(error) => return unusable(format!("cannot use {}: {error}", root.display())),
    };
    let shown = format!("{:.1} GiB free in {}", free as f64 / f64::from(1 << 30), root.display());
    if free >= FREE_BYTES_MIN {
        return Finding::fine(FOLDER, shown);
    }
    Finding::wrong(FOLDER, Severity::Limits, format!("only {shown}"), "images may not fit", "make room, or choose another folder")
}

/// Mounts an overlay in a mount namespace that ends with the check.
pub(super) fn overlay(root: &Path) -> Finding {
    let root = root.to_owned();
    match in_own_thread(move || try_overlay(&root)) {
        Ok(()) => Finding::fine(OVERLAY, String::new()),
        Err(reason) => Finding::wrong(
            OVERLAY,
            Severity::Blocks,
            format!("cannot mount an overlay: {reason}"),
            "containers see the layers of their image and their own changes as one",
            "use a kernel with CONFIG_OVERLAY_FS (or load its module: modprobe overlay), and a folder on a disk file system such as \
             ext4 or xfs, not on another overlay",
        ),
    }
}

fn try_overlay(root: &Path) -> Result<(), String> {
    let told = |error: rustix::io::Errno| error.to_string();
    let trial = trial_folder(root).map_err(|error| error.to_string())?;
    unshare(UnshareFlags::NEWNS)?;
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).map_err(told)?;
    let folder = |name: &str| -> Result<PathBuf, String> {
        let path = trial.0.join(name);
        fs::create_dir(&path).map_err(|error| error.to_string())?;
        Ok(path)
    };
    let [lower, upper, work, merged] = ["lower", "upper", "work", "merged"].map(folder);
    let (lower, upper, work, merged) = (lower?, upper?, work?, merged?);
    let options = format!("lowerdir={},upperdir={},workdir={}", lower.display(), upper.display(), work.display());
    let options = std::ffi::CString::new(options).map_err(|error| error.to_string())?;
    mount("overlay", &merged, "overlay", MountFlags::empty(), options.as_c_str()).map_err(told)?;
    rustix::mount::unmount(&merged, rustix::mount::UnmountFlags::DETACH).map_err(told)
}

/// A folder that vanishes when dropped.
struct TrialFolder(PathBuf);

impl Drop for TrialFolder {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            tracing::debug!(path = %self.0.display(), %error, "the folder of a check is left");
        }
    }
}

fn trial_folder(root: &Path) -> io::Result<TrialFolder> {
    DirBuilder::new().recursive(true).mode(0o755).create(root)?;
    let mut bytes = [0; 8];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())?;
    let path = root.join(format!(".check-{:016x}", u64::from_ne_bytes(bytes)));
    DirBuilder::new().mode(0o700).create(&path)?;
    Ok(TrialFolder(path))
}
