//! How long to pause before a container is started or an image is pulled again.
//!
//! Both follow the same rule with the same numbers, but count from different moments: crash back-off from the exit
//! (k8s: 5.b.3), pull back-off from the last failure (k8s: 5.d.1).

use core::time::Duration;

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// The first pause (k8s: 5.b.1).
pub const BACK_OFF_INITIAL: Duration = Duration::from_secs(10);
/// The longest pause, unless the node has another one for containers (k8s: 5.b.1, 5.b.13).
pub const BACK_OFF_MAX: Duration = Duration::from_secs(300);
/// After this long without trouble the pauses start anew (k8s: 5.b.6).
pub const BACK_OFF_RESET_AFTER: Duration = Duration::from_secs(600);

/// The pause that is in force for one container or one image.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BackOff {
    entry: Option<Entry>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    pause: Duration,
    updated_at: Timestamp,
}

impl BackOff {
    /// If a pause counted from `event_at` is not over at `now`: its length.
    pub(crate) fn pause_since(&self, event_at: Timestamp, now: Timestamp) -> Option<Duration> {
        let entry = self.entry.as_ref()?;
        let over = is_reset(entry, event_at) || now.since(event_at) >= entry.pause;
        (!over).then_some(entry.pause)
    }

    /// If a pause counted from the last [`Self::lengthen`] is not over at `now`: its length and end.
    pub(crate) fn pause_since_update(&self, now: Timestamp) -> Option<(Duration, Timestamp)> {
        let entry = self.entry.as_ref()?;
        let until = entry.updated_at + entry.pause;
        (now < until).then_some((entry.pause, until))
    }

    /// Makes the next pause longer: 10, 20, 40, 80, 160, 300 s, or 10 s again after a long quiet time; never more than `max`.
    pub(crate) fn lengthen(&mut self, event_at: Timestamp, now: Timestamp, max: Duration) {
        let pause = match &self.entry {
            Some(entry) if !is_reset(entry, event_at) => entry.pause * 2,
            Some(_) | None => BACK_OFF_INITIAL,
        };
        self.entry = Some(Entry { pause: pause.min(max), updated_at: now });
    }

    /// Makes the pause no longer than `max`.
    pub(crate) fn limit(&mut self, max: Duration) {
        if let Some(entry) = &mut self.entry {
            entry.pause = entry.pause.min(max);
        }
    }
}

fn is_reset(entry: &Entry, event_at: Timestamp) -> bool {
    event_at.since(entry.updated_at) > BACK_OFF_RESET_AFTER
}
