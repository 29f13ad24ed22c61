//! Which journals are removed: those of pods that are gone, the oldest first, when there are too many, too large or too old ones.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::{JournalLimits, older};

/// What was removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// Journals.
    pub count: usize,
    /// Their bytes.
    pub bytes: u64,
}

/// A journal on the disk.
#[derive(Debug)]
struct Found {
    path: PathBuf,
    bytes: u64,
    /// When it was written to, since 1970.
    written_at: Duration,
}

/// Removes journals from the folder until the limits are kept. `lives` says of a uid whether its pod is there; `now` is
/// wall-clock time since 1970.
///
/// # Errors
/// When the folder cannot be listed, or a journal cannot be removed.
pub fn retain(folder: &Path, limits: &JournalLimits, now: Duration, lives: impl Fn(&str) -> bool) -> io::Result<Removed> {
    let mut found = list(folder)?;
    // The newest first: what does not fit any more is older than all that does.
    found.sort_by_key(|journal| std::cmp::Reverse((journal.written_at, journal.path.clone())));
    let mut removed = Removed::default();
    let (mut count, mut bytes) = (0, 0_u64);
    for journal in found {
        count += 1;
        bytes += journal.bytes;
        let is_too_old = now.saturating_sub(journal.written_at) > limits.age_max;
        if !(is_too_old || count > limits.count_max || bytes > limits.total_bytes_max) || uid_of(&journal.path).is_some_and(&lives) {
            continue;
        }
        for path in [journal.path.clone(), older(&journal.path)] {
            match fs::remove_file(path) {
                Ok(()) => {}
                // Another engine was faster.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        count -= 1;
        bytes -= journal.bytes;
        removed.count += 1;
        removed.bytes += journal.bytes;
    }
    Ok(removed)
}

fn list(folder: &Path) -> io::Result<Vec<Found>> {
    let mut journals: BTreeMap<PathBuf, Found> = BTreeMap::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let path = entry.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
        let Some(stem) = name.strip_suffix(".1").unwrap_or(name).strip_suffix(".jsonl") else { continue };
        let metadata = match entry.metadata() {
            Ok(metadata) if metadata.is_file() => metadata,
            Ok(_) => continue,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        let written_at = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH).duration_since(UNIX_EPOCH).unwrap_or_default();
        let path = folder.join(format!("{stem}.jsonl"));
        let journal = journals.entry(path.clone()).or_insert(Found { path, bytes: 0, written_at });
        journal.bytes += metadata.len();
        journal.written_at = journal.written_at.max(written_at);
    }
    Ok(journals.into_values().collect())
}

/// `NAMESPACE_NAME_UID.jsonl`
fn uid_of(path: &Path) -> Option<&str> {
    path.file_name()?.to_str()?.strip_suffix(".jsonl")?.splitn(3, '_').nth(2)
}
