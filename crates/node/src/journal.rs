//! The journal of a pod: everything that was asked for and everything that happened, with both clocks.
//!
//! There is one place where actions and events pass ([`crate::driver`]), and it writes here; so the journal is complete by
//! construction, and timeline, grace account and story are read from it. It decides nothing: what is kept of a pod that probes
//! or prints without end is decided by [`chronicle::sieve`], and what the entries mean stands in [`chronicle`].
//!
//! ```text
//!   driver ──append──▶ one turn ──flush──▶ sieve ──┬──▶ file, synced in the background
//!                                                  └──▶ watcher
//! ```
//!
//! A file grows to half of the pod's share of the disk and then becomes the older of two; so the newest history is always there.

mod retention;
mod writer;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use chronicle::{Entry, Happening, JOURNAL_VERSION, Kill, Record};
pub use retention::{Removed, retain};
pub use writer::{Heading, Journal};

/// A pod's journal takes this much of the disk, in two files: a crash loop of a week, or the life of a pod that behaves.
pub const JOURNAL_BYTES_MAX: u64 = 8 << 20;

/// Journals of pods that are gone are kept for so long.
pub const JOURNAL_AGE_MAX: Duration = Duration::from_secs(30 * 24 * 3600);

/// So many journals are kept.
pub const JOURNALS_MAX: usize = 1000;

/// All journals together take this much of the disk.
pub const JOURNALS_BYTES_MAX: u64 = 512 << 20;

/// How much is kept. Journals of pods that are there are never removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JournalLimits {
    /// Bytes of one pod's journal.
    pub bytes_max: u64,
    /// Journals.
    pub count_max: usize,
    /// Bytes of all of them.
    pub total_bytes_max: u64,
    /// Time since the last entry.
    pub age_max: Duration,
}

impl Default for JournalLimits {
    fn default() -> Self {
        Self { bytes_max: JOURNAL_BYTES_MAX, count_max: JOURNALS_MAX, total_bytes_max: JOURNALS_BYTES_MAX, age_max: JOURNAL_AGE_MAX }
    }
}

/// Something that is shown while it happens.
#[derive(Clone, Debug, PartialEq)]
pub enum Live {
    /// A line of the journal.
    Entry(Box<Entry>),
    /// Something that passed and is not kept, or only counted.
    Passing {
        /// When.
        at: chronicle::Moment,
        /// What.
        record: Box<Record>,
    },
    /// A line that a container printed.
    Output {
        /// Name of the container.
        container: String,
        /// `stdout` or `stderr`.
        stream: String,
        /// Without its newline.
        line: String,
    },
    /// How far an image pull is.
    Pull {
        /// Name of the container.
        container: String,
        /// The image.
        image: String,
        /// How far.
        progress: runtime::PullProgress,
    },
}

/// The older file of a journal.
pub(crate) fn older(path: &Path) -> PathBuf {
    let mut older = path.as_os_str().to_owned();
    older.push(".1");
    older.into()
}

/// Reads a journal back, both files of it.
///
/// # Errors
/// When a file cannot be read, is of a newer version, or is no journal.
pub fn read(path: &Path) -> Result<chronicle::Journal, ReadJournalError> {
    let text = |path: &Path| {
        let bytes = std::fs::read(path).map_err(|source| ReadJournalError::Read { path: path.to_owned(), source })?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    let older = match text(&older(path)) {
        Ok(older) => older,
        Err(ReadJournalError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(error),
    };
    let newer = text(path)?;
    chronicle::read([older.as_str(), newer.as_str()]).map_err(|source| ReadJournalError::Format { path: path.to_owned(), source })
}

/// Reading a journal failed.
#[derive(Debug, thiserror::Error)]
pub enum ReadJournalError {
    /// A file cannot be read.
    #[error("cannot read the journal {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It cannot be understood.
    #[error("cannot understand the journal {}", path.display())]
    Format {
        /// Which.
        path: PathBuf,
        /// Why.
        source: chronicle::ReadError,
    },
}

#[cfg(test)]
mod tests;
