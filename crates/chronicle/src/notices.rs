//! What people are told of a journal that does not hold everything, in clauses.

/// Entries that are missing, and lines that are no entries.
pub(crate) fn gaps(lost_entries: u64, unreadable_lines: usize) -> impl Iterator<Item = String> {
    let lost = match lost_entries {
        0 => None,
        1 => Some("1 entry is missing: the disk refused it".to_owned()),
        count => Some(format!("{count} entries are missing: the disk refused them")),
    };
    let unreadable = match unreadable_lines {
        0 => None,
        1 => Some("1 line cannot be read and is left out: the engine or the machine died while it was written".to_owned()),
        count => Some(format!("{count} lines cannot be read and are left out: the engine or the machine died while they were written")),
    };
    [lost, unreadable].into_iter().flatten()
}

/// Entries before the first that is there.
pub(crate) fn dropped(dropped_entries: u64) -> Option<String> {
    match dropped_entries {
        0 => None,
        1 => Some("the first entry is gone: the journal was full".to_owned()),
        count => Some(format!("the first {count} entries are gone: the journal was full")),
    }
}
