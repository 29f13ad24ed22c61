//! Events do not stay: they go an hour after they happened last, as in the reference, and earlier if there are very many.

use std::borrow::Cow;

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use serde::Deserialize;

use super::Registry;
use crate::kinds::stored;
use crate::object::parse_time;
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
            listing.iter(None).map(|(key, stored)| (last_time(&stored.json), key.clone(), stored.revision)).collect();
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

/// The times of an event. There may be thousands of events, so nothing else of them is read.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Times<'a> {
    #[serde(borrow)]
    last_timestamp: Option<Cow<'a, str>>,
    #[serde(borrow)]
    event_time: Option<Cow<'a, str>>,
    #[serde(borrow)]
    series: Option<Series<'a>>,
    #[serde(borrow)]
    metadata: Metadata<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Series<'a> {
    #[serde(borrow)]
    last_observed_time: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata<'a> {
    #[serde(borrow)]
    creation_timestamp: Option<Cow<'a, str>>,
}

/// When an event happened last; long ago, if it does not say.
fn last_time(event: &[u8]) -> Timestamp {
    let Ok(times) = serde_json::from_slice::<Times<'_>>(event) else { return Timestamp::MIN };
    let observed = times.series.and_then(|series| series.last_observed_time);
    let times = [observed, times.last_timestamp, times.event_time, times.metadata.creation_timestamp];
    times.iter().flatten().filter_map(|time| parse_time(time)).max().unwrap_or(Timestamp::MIN)
}
