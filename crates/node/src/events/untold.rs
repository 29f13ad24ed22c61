//! Events that an engine wrote into a pod's journal and did not come to tell the API, because it died.
//!
//! What the journal says and the API has are compared; only the newest can be missing, since the telling follows the journal at once.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::Path;
use std::time::Duration;

use k8s_openapi::api::core::v1::Event;
use lifecycle::{Action, EventRecord, Step};

use super::{FOLDED_PREFIX, nanos, time};
use crate::journal::{Entry, Record};

/// So much of the end of a journal is read.
const TAIL_BYTES: u64 = 64 << 10;
/// Events this much older than the newest entry were told: the telling is that far behind at most, also on a slow disk.
const BEHIND_MAX: Duration = Duration::from_secs(60);
/// The API forgets what is older.
const LIFE: Duration = Duration::from_secs(3600);

/// An Event as a journal has it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Journaled {
    pub(crate) wall_nanos: u64,
    pub(crate) record: EventRecord,
}

/// The newest Events of a journal, the oldest of them first. To be read before anything else is written into it.
///
/// # Errors
/// When it cannot be read.
pub(crate) fn newest(journal: &Path) -> io::Result<Vec<Journaled>> {
    let mut file = File::open(journal)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(in_lines(&String::from_utf8_lossy(&bytes)))
}

/// The first line may be a part of one, and so may the last: neither is an entry then.
fn in_lines(text: &str) -> Vec<Journaled> {
    let entries = text.lines().filter_map(|line| serde_json::from_str::<Entry>(line).ok());
    let mut newest_nanos = 0;
    let mut found = Vec::new();
    for Entry { at, record, .. } in entries {
        newest_nanos = at.wall_nanos;
        if let Record::Action(Step { action: Action::RecordEvent(record), .. }) = record {
            found.push(Journaled { wall_nanos: at.wall_nanos, record });
        }
    }
    found.retain(|journaled| journaled.wall_nanos.saturating_add(nanos(BEHIND_MAX)) >= newest_nanos);
    found
}

/// Those that are not among the Events that the API has of the pod.
pub(crate) fn untold(journaled: Vec<Journaled>, told: &[Event], now_nanos: u64) -> Vec<Journaled> {
    let is_kept = |journaled: &Journaled| journaled.wall_nanos.saturating_add(nanos(LIFE)) > now_nanos;
    journaled.into_iter().filter(is_kept).filter(|journaled| !told.iter().any(|event| tells(event, journaled))).collect()
}

/// Whether an Event is this one, or has counted it.
fn tells(event: &Event, journaled: &Journaled) -> bool {
    let record = &journaled.record;
    let message = event.message.as_deref().unwrap_or_default();
    let is_folded = message.starts_with(FOLDED_PREFIX);
    let is_about = is_folded || event.involved_object.field_path == record.about.as_ref().map(ToString::to_string);
    let last = event.last_timestamp.as_ref().map(|time| time.0);
    event.reason.as_deref() == Some(&*record.reason)
        && (is_folded || message == record.message)
        && is_about
        // Times of Events are in whole seconds.
        && last >= time(journaled.wall_nanos).map(|time| time.0)
}

#[cfg(test)]
mod tests;
