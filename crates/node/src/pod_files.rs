//! A pod's folder on the node: its volumes, the files that every container of it gets, and how all of it goes away again.
//!
//! ```text
//! <root>/pods/<uid>/
//!   volumes/kubernetes.io~empty-dir/<volume>     and so on, one folder for each volume that is not on the node already
//!   volume-subpaths/<volume>/<container>/<n>     where a mount of a part of a volume is bound to
//!   containers/<container>/<8 hex digits>        termination logs
//!   etc-hosts, hostname, resolv.conf
//!   pod.json, state.json, engine.lock, engine.sock   of the engine that drives the pod; they go last
//! ```
//!
//! Not a volume manager: what is on the node already (hostPath) is checked and named, never touched. Folders of persistent volume
//! claims are beside the pods' folders, by namespace and name: made on first use, kept for ever.
//! Invariant: nothing outside of the folder, and of the claims' folders, is ever removed or changed, whatever links or mounts are
//! inside.
//!
//! Mounts are made in the engine's mount namespace, which has to be the one that the runtime takes them from.

mod claim;
mod clean_up;
mod empty_dir;
mod etc;
mod host_path;
mod ownership;
mod payload;
mod sub_path;
mod termination_log;
mod volume;

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

pub use clean_up::{CleanUpError, is_set_aside, remove_pod_folder};
pub use etc::{EtcFilesError, hostname};
pub use payload::PayloadError;
pub(crate) use sub_path::SubPath;
pub use sub_path::SubPathError;
pub use volume::{PrepareVolumesError, UpdateVolumesError, VolumeProblem};

/// The Pod object as it was given, defaulted.
pub(crate) const MANIFEST_FILE: &str = "pod.json";
/// The state from which an engine can go on.
pub(crate) const STATE_FILE: &str = "state.json";
/// Held by the engine that drives the pod.
pub(crate) const ENGINE_LOCK: &str = "engine.lock";
/// Where that one listens.
pub(crate) const ENGINE_SOCKET: &str = "engine.sock";
/// Mode of the folders that only the engine looks into.
const PRIVATE_DIR_MODE: u32 = 0o750;

/// The folder of one pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodFiles {
    dir: PathBuf,
    claims: PathBuf,
}

impl PodFiles {
    /// The files of the pod whose folder this is; it belongs to the pod alone. In `claims` are the folders of persistent volume
    /// claims, which are all pods'. Touches nothing.
    pub const fn new(dir: PathBuf, claims: PathBuf) -> Self {
        Self { dir, claims }
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }
}

fn make_private_dirs(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(PRIVATE_DIR_MODE).create(path)
}

fn set_mode(path: &Path, mode: u32) -> io::Result<()> {
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}

/// Does blocking work away from the threads that drive pods.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // Blocking work is cancelled only when the engine itself goes down.
            Err(_) => std::future::pending().await,
        },
    }
}

#[cfg(test)]
pub(crate) mod test_folder;
