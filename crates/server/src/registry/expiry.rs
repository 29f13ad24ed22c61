//! Events do not stay: they go an hour after they happened last, as in the reference, and earlier if there are very many.

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::Registry;
use crate::kinds::stored;
use crate::object::{self, parse_time};
use crate::store::{ObjectKey, Revision, Write, WriteError};

/// How long an event stays after it happened last.
const EVENT_LIFE: SignedDuration = SignedDuration::from_hours(1);

/// The most events that stay; the oldest go first. A machine with 500 pods makes some thousands in an hour.
const EVENTS_MAX: usize = 20_000;

impl Registry {
    /// Takes away the events whose time is over. Gives how many those were.
    ///
    /// # Errors
    /// The store cannot be written.
    pub async fn expire_events(&self, now: Timestamp) -> Result<usize, WriteError> {
        let kind = stored("events");
        let listing = self.store().list(kind.stored_as);
        let mut events: Vec<(Timestamp, ObjectKey, Revision)> =
            listing.iter(None).map(|(key, stored)| (last_time(&stored.value()), key.clone(), stored.revision)).collect();
        events.sort_by_key(|(time, ..)| *time);
        let too_many = events.len().saturating_sub(EVENTS_MAX);
        let over = events.iter().take_while(|(time, ..)| now.duration_since(*time) > EVENT_LIFE).count();
        let mut gone = 0;
        for (_, key, revision) in events.into_iter().take(too_many.max(over)) {
            match self.store().write(kind.stored_as, key, Write::Delete(revision)).await {
                Ok(_) => gone += 1,
                // It happened again just then.
                Err(WriteError::Conflict(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(gone)
    }
}

/// When an event happened last; long ago, if it does not say.
fn last_time(event: &Value) -> Timestamp {
    let times = [
        event["series"]["lastObservedTime"].as_str(),
        event["lastTimestamp"].as_str(),
        event["eventTime"].as_str(),
        Some(object::meta(event, "creationTimestamp")),
    ];
    times.into_iter().flatten().filter_map(parse_time).max().unwrap_or(Timestamp::MIN)
}
