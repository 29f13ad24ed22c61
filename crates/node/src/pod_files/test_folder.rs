//! A pod's folder for tests, which leaves nothing behind: neither files nor mounts.

use std::path::PathBuf;

use k8s_openapi::api::core::v1::Pod;
use rustix::mount::UnmountFlags;

use super::PodFiles;

pub(crate) struct TestFolder {
    root: tempfile::TempDir,
    pub(crate) files: PodFiles,
}

impl TestFolder {
    pub(crate) fn new() -> Self {
        let root = tempfile::tempdir().expect("a folder for the test");
        let dir = root.path().join("pods/u");
        std::fs::create_dir_all(&dir).expect("a folder for the pod");
        Self { files: PodFiles::new(dir, root.path().join("volumes")), root }
    }

    /// A path outside of the pod's folder.
    pub(crate) fn outside(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }
}

impl Drop for TestFolder {
    fn drop(&mut self) {
        let Ok(root) = self.root.path().canonicalize() else { return };
        let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let points = table.lines().filter_map(|line| line.split(' ').nth(4));
        for point in points.filter(|point| point.starts_with(&*root.to_string_lossy())).collect::<Vec<_>>().into_iter().rev() {
            let _ = rustix::mount::unmount(point, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW);
        }
    }
}

/// Whether this process may mount; says so if not.
pub(crate) fn may_mount(test: &str) -> bool {
    let folder = tempfile::tempdir().expect("a folder for the test");
    let mounted = rustix::mount::mount("tmpfs", folder.path(), "tmpfs", rustix::mount::MountFlags::empty(), None);
    match mounted {
        Ok(()) => {
            let _ = rustix::mount::unmount(folder.path(), UnmountFlags::DETACH);
            true
        }
        Err(error) => {
            skip(test, &format!("cannot mount: {error}"));
            false
        }
    }
}

#[expect(clippy::print_stderr, reason = "whoever runs the tests has to see which did not run")]
pub(crate) fn skip(test: &str, why: &str) {
    eprintln!("SKIP {test}: {why}");
}

pub(crate) fn pod(spec: serde_json::Value) -> Pod {
    let pod = serde_json::json!({"metadata": {"name": "p", "namespace": "ns", "uid": "u", "labels": {"app": "web"}}, "spec": spec});
    serde_json::from_value(pod).expect("a pod")
}
