//! Reading a journal: tolerant of what a crash leaves behind, strict about versions.

use serde::Deserialize;

use crate::notices;
use crate::record::{Entry, JOURNAL_VERSION, Record};

/// A journal as it was read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Journal {
    /// In the order in which they were written.
    pub entries: Vec<Entry>,
    /// Lines that are not entries: what was being written when the machine lost power, or words of a later minor version.
    pub unreadable_lines: usize,
    /// Entries that are missing in between: the disk refused them.
    pub lost_entries: u64,
    /// Entries before the first one that are gone, because the journal was full.
    pub dropped_entries: u64,
}

impl Journal {
    /// What is to be known of it before it is read: gaps, and what is gone.
    pub fn notices(&self) -> Vec<String> {
        let gaps = notices::gaps(self.lost_entries, self.unreadable_lines);
        notices::dropped(self.dropped_entries).into_iter().chain(gaps).collect()
    }
}

/// A journal cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// A newer usher wrote it.
    #[error(
        "it has format {version}, this usher reads formats 1 to {JOURNAL_VERSION}; read it with the usher that wrote it, or a later one"
    )]
    Newer {
        /// Its version.
        version: u32,
    },
    /// Nothing of it is an entry.
    #[error("it holds no entries: it is empty, or not a journal")]
    Nothing,
}

/// Just enough of a line to know whose words it holds.
#[derive(Deserialize)]
struct Heading {
    opened: Option<Version>,
}

#[derive(Deserialize)]
struct Version {
    version: u32,
}

/// Reads the texts of a journal's files, the oldest first.
///
/// # Errors
/// When it is of a newer version, or not a journal.
pub fn read<'a>(texts: impl IntoIterator<Item = &'a str>) -> Result<Journal, ReadError> {
    let mut journal = Journal::default();
    let mut next_seq = None;
    for line in texts.into_iter().flat_map(str::lines).filter(|line| !line.trim().is_empty()) {
        let Ok(entry) = serde_json::from_str::<Entry>(line) else {
            refuse_newer(line)?;
            journal.unreadable_lines += 1;
            continue;
        };
        if let Record::Opened { version, .. } = entry.record
            && version > JOURNAL_VERSION
        {
            return Err(ReadError::Newer { version });
        }
        match next_seq {
            None => journal.dropped_entries = entry.seq,
            Some(next) => journal.lost_entries += entry.seq.saturating_sub(next),
        }
        next_seq = Some(entry.seq + 1);
        journal.entries.push(entry);
    }
    // A line that could not be read has its number too.
    journal.lost_entries = journal.lost_entries.saturating_sub(journal.unreadable_lines as u64);
    if journal.entries.is_empty() { Err(ReadError::Nothing) } else { Ok(journal) }
}

/// A heading may have fields that are not known here, so its version is looked for apart.
fn refuse_newer(line: &str) -> Result<(), ReadError> {
    let Ok(Heading { opened: Some(Version { version }) }) = serde_json::from_str(line) else { return Ok(()) };
    if version > JOURNAL_VERSION { Err(ReadError::Newer { version }) } else { Ok(()) }
}

#[cfg(test)]
mod tests;
