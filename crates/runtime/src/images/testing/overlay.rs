//! Mounts, to see what a container would see.

use std::ffi::CString;
use std::path::{Path, PathBuf};

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

/// A mounted overlay, unmounted when dropped.
pub(crate) struct Overlay {
    target: tempfile::TempDir,
}

impl Overlay {
    /// Mounts layers, top first, read only; or with writable directories.
    pub(crate) fn mount(layers: &[PathBuf], upper: Option<(&Path, &Path)>) -> Self {
        let target = tempfile::tempdir().expect("a temporary directory");
        let paths: Vec<String> = layers.iter().map(|path| path.display().to_string()).collect();
        // A single lower directory cannot be mounted without an upper one.
        let empty = target.path().join("empty");
        let mut options = format!("lowerdir={}", paths.join(":"));
        match upper {
            Some((upper, work)) => options += &format!(",upperdir={},workdir={}", upper.display(), work.display()),
            None => {
                std::fs::create_dir(&empty).expect("a directory");
                options += &format!(":{}", empty.display());
            }
        }
        let options = CString::new(options).expect("no NUL");
        let point = target.path().join("root");
        std::fs::create_dir(&point).expect("a directory");
        mount("overlay", &point, "overlay", MountFlags::empty(), options.as_c_str()).expect("root can mount overlays");
        Self { target }
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.target.path().join("root")
    }
}

impl Drop for Overlay {
    fn drop(&mut self) {
        let _ = unmount(self.root(), UnmountFlags::DETACH);
    }
}
