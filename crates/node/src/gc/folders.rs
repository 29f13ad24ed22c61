//! Folders of pods that an engine has left behind: of pods that never began, and of those of which nothing is left but the folder.
//!
//! What still may run is none of them: that is taken up by an engine, or by `usher rm`.

use std::fs;
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

use crate::control::EngineLock;
use crate::pod_files::{is_set_aside, remove_pod_folder};
use crate::state::PodState;
use crate::{NodeConfig, error_chain};

/// A younger folder may be of a pod that is about to begin.
const AGE_MIN: Duration = Duration::from_secs(10 * 60);

/// Removes them; returns how many there were. Folders that `is_driven` says of their uid are left alone, as are those of other engines.
///
/// # Errors
/// When the folders cannot be listed.
pub async fn remove_left_over(node: &NodeConfig, is_driven: impl Fn(&str) -> bool) -> io::Result<u64> {
    let entries = match fs::read_dir(node.root.join("pods")) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(error),
    };
    let mut removed = 0;
    for entry in entries {
        let entry = entry?;
        let uid = entry.file_name().to_string_lossy().into_owned();
        if is_driven(&uid) || !is_old(&entry.path()) || !is_left_over(node, &uid) && !is_set_aside(&entry.path()) {
            continue;
        }
        let Ok(Some(lock)) = EngineLock::try_take(&entry.path()) else { continue };
        let folder = entry.path();
        match tokio::task::spawn_blocking(move || remove_pod_folder(&folder)).await {
            Ok(Ok(())) => removed += 1,
            Ok(Err(error)) => tracing::warn!(error = error_chain(&error), uid, "a folder that was left over cannot be removed"),
            // The engine ends.
            Err(_) => return Ok(removed),
        }
        drop(lock);
    }
    Ok(removed)
}

fn is_old(folder: &Path) -> bool {
    let written_at = fs::metadata(folder).and_then(|metadata| metadata.modified()).unwrap_or(SystemTime::now());
    written_at.elapsed().is_ok_and(|age| age >= AGE_MIN)
}

/// Nothing was made of it, or all that was made is gone: its state says so.
fn is_left_over(node: &NodeConfig, uid: &str) -> bool {
    let state = node.state_path(uid);
    !state.exists() || PodState::load(&state).is_ok_and(|state| state.worker.is_finished())
}
