//! Which images go: those that no container has used for longest, when the disk is fuller than it may be, and those that were not used
//! for too long.
//!
//! Pure. As in the reference, what is known of images before this engine began is only that they were there: they are old enough to go for
//! want of room, and their age counts from its beginning.

use std::collections::BTreeMap;
use std::time::Duration;

use lifecycle::Timestamp;

use crate::eviction::Observation;

/// When images are removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImagePolicy {
    /// `imageGCHighThresholdPercent`: images go when more than this of their file system is in use; 100 for never.
    high_percent: u8,
    /// `imageGCLowThresholdPercent`: they go until no more than this is in use.
    low_percent: u8,
    /// `imageMinimumGCAge`: younger ones stay.
    min_age: Duration,
    /// `imageMaximumGCAge`: those that were not used for so long go in any case; `None` for never.
    max_age: Option<Duration>,
}

/// Settings that cannot be, in the words of the reference.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImagePolicyError {
    /// No part of a whole.
    #[error("{field} {percent} must be between 0 and 100, inclusive")]
    Percent {
        /// Of which setting.
        field: &'static str,
        /// What was given.
        percent: i64,
    },
    /// What is to be reached is more than what begins it.
    #[error("imageGCLowThresholdPercent {low} must be less than imageGCHighThresholdPercent {high}")]
    Order {
        /// The lower threshold.
        low: u8,
        /// The higher one.
        high: u8,
    },
    /// No image could ever be old enough for the one and too old for the other.
    #[error("imageMaximumGCAge {max:?} must be greater than imageMinimumGCAge {min:?}")]
    Ages {
        /// The lower age.
        min: Duration,
        /// The higher one.
        max: Duration,
    },
}

/// `imageGCHighThresholdPercent` of the reference.
pub const HIGH_PERCENT_DEFAULT: i64 = 85;
/// `imageGCLowThresholdPercent` of the reference.
pub const LOW_PERCENT_DEFAULT: i64 = 80;
/// `imageMinimumGCAge` of the reference.
pub const MIN_AGE_DEFAULT: Duration = Duration::from_secs(2 * 60);

impl Default for ImagePolicy {
    fn default() -> Self {
        Self { high_percent: 85, low_percent: 80, min_age: MIN_AGE_DEFAULT, max_age: None }
    }
}

impl ImagePolicy {
    /// A policy of these settings.
    ///
    /// # Errors
    /// When they cannot be.
    pub fn new(high: i64, low: i64, min_age: Duration, max_age: Option<Duration>) -> Result<Self, ImagePolicyError> {
        let percent = |field, percent: i64| {
            let fits = u8::try_from(percent).ok().filter(|percent| *percent <= 100);
            fits.ok_or(ImagePolicyError::Percent { field, percent })
        };
        let high_percent = percent("imageGCHighThresholdPercent", high)?;
        let low_percent = percent("imageGCLowThresholdPercent", low)?;
        if low_percent >= high_percent {
            return Err(ImagePolicyError::Order { low: low_percent, high: high_percent });
        }
        match max_age {
            Some(max) if max <= min_age => Err(ImagePolicyError::Ages { min: min_age, max }),
            max_age => Ok(Self { high_percent, low_percent, min_age, max_age }),
        }
    }

    /// How many bytes are to be freed of a file system; zero if none.
    pub fn bytes_to_free(&self, disk: Observation) -> u64 {
        if self.high_percent == 100 || disk.capacity == 0 {
            return 0;
        }
        let part = |percent: u64| u128::from(disk.capacity) * u128::from(percent) / 100;
        let used = 100_u128.saturating_sub(u128::from(disk.available) * 100 / u128::from(disk.capacity));
        if used < u128::from(self.high_percent) {
            return 0;
        }
        let wanted = part(100 - u64::from(self.low_percent)).saturating_sub(u128::from(disk.available));
        u64::try_from(wanted).unwrap_or(u64::MAX)
    }
}

/// An image that is on the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Present {
    /// Its id.
    pub id: String,
    /// Whether a container has it, or it must not go for another reason.
    pub is_used: bool,
}

/// What is remembered of images.
#[derive(Debug)]
pub struct ImageMemory {
    began: Timestamp,
    images: BTreeMap<String, Remembered>,
    has_looked: bool,
}

#[derive(Clone, Copy, Debug)]
struct Remembered {
    /// `None`: before the first look.
    first_seen: Option<Timestamp>,
    /// Never before the first look.
    last_used: Option<Timestamp>,
    is_used: bool,
}

impl ImageMemory {
    /// Nothing is known yet.
    pub const fn new(began: Timestamp) -> Self {
        Self { began, images: BTreeMap::new(), has_looked: false }
    }

    /// These are there now, and no others.
    pub fn observe(&mut self, present: &[Present], now: Timestamp) {
        self.images.retain(|id, _| present.iter().any(|image| image.id == *id));
        let first_seen = self.has_looked.then_some(now);
        for Present { id, is_used } in present {
            let image = self.images.entry(id.clone()).or_insert(Remembered { first_seen, last_used: None, is_used: false });
            image.is_used = *is_used;
            if *is_used {
                image.last_used = Some(now);
            }
        }
        self.has_looked = true;
    }

    /// Images that may go for want of room, the first to go first: those not used for longest, then those that are here for longest.
    pub fn spare(&self, policy: &ImagePolicy, now: Timestamp) -> Vec<String> {
        let is_old = |image: &Remembered| image.first_seen.is_none_or(|seen| now.since(seen) >= policy.min_age);
        let mut spare: Vec<_> = self.images.iter().filter(|(_, image)| !image.is_used && is_old(image)).collect();
        spare.sort_by_key(|(id, image)| (image.last_used, image.first_seen, (*id).clone()));
        spare.into_iter().map(|(id, _)| id.clone()).collect()
    }

    /// Images that go in any case: not used for longer than they may be.
    pub fn outdated(&self, policy: &ImagePolicy, now: Timestamp) -> Vec<String> {
        let Some(max_age) = policy.max_age else { return Vec::new() };
        let is_outdated = |id: &String| {
            let image = &self.images[id];
            let since = image.last_used.or(image.first_seen).unwrap_or(self.began);
            now.since(since) > max_age
        };
        self.spare(policy, now).into_iter().filter(is_outdated).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: u64) -> Timestamp {
        Timestamp::from_nanos(secs * 1_000_000_000)
    }

    fn present(images: &[(&str, bool)]) -> Vec<Present> {
        images.iter().map(|(id, is_used)| Present { id: (*id).to_owned(), is_used: *is_used }).collect()
    }

    #[test]
    fn images_go_from_the_high_threshold_on_until_the_low_one_is_reached() {
        let policy = ImagePolicy::default();
        let disk = |available| Observation { available, capacity: 1000 };
        assert_eq!(policy.bytes_to_free(disk(160)), 0, "84 %");
        assert_eq!(policy.bytes_to_free(disk(150)), 50, "85 %");
        assert_eq!(policy.bytes_to_free(disk(0)), 200);
        let never = ImagePolicy::new(100, 80, MIN_AGE_DEFAULT, None).expect("a policy");
        assert_eq!(never.bytes_to_free(disk(0)), 0);
        assert_eq!(policy.bytes_to_free(Observation { available: 0, capacity: 0 }), 0, "nothing is known");
    }

    #[test]
    fn those_not_used_for_longest_go_first_and_used_or_young_ones_stay() {
        let policy = ImagePolicy::default();
        let mut memory = ImageMemory::new(at(0));
        memory.observe(&present(&[("a", true), ("b", true), ("old", false)]), at(0));
        memory.observe(&present(&[("a", false), ("b", true), ("old", false), ("new", false)]), at(100));
        memory.observe(&present(&[("a", false), ("b", false), ("old", false), ("new", false), ("used", true)]), at(150));
        assert_eq!(memory.spare(&policy, at(150)), ["old", "a", "b"], "the new one is too young");
        assert_eq!(memory.spare(&policy, at(220)), ["old", "new", "a", "b"]);
        memory.observe(&present(&[("a", false)]), at(230));
        assert_eq!(memory.spare(&policy, at(230)), ["a"], "the others are gone");
    }

    #[test]
    fn images_that_were_not_used_for_too_long_go_in_any_case() {
        let policy = ImagePolicy::new(85, 80, Duration::from_secs(10), Some(Duration::from_secs(100))).expect("a policy");
        let mut memory = ImageMemory::new(at(50));
        memory.observe(&present(&[("before", false), ("used", true)]), at(60));
        memory.observe(&present(&[("before", false), ("used", false), ("pulled", false)]), at(100));
        assert_eq!(memory.outdated(&policy, at(140)), [""; 0]);
        assert_eq!(memory.outdated(&policy, at(151)), ["before"], "its age counts from the beginning");
        assert_eq!(memory.outdated(&policy, at(161)), ["before", "used"], "and that of others from their last use");
        assert_eq!(memory.outdated(&policy, at(201)), ["before", "pulled", "used"], "or from when they came");
        assert_eq!(memory.outdated(&ImagePolicy::default(), at(1_000_000)), [""; 0]);
    }

    #[test]
    fn settings_that_cannot_be_are_refused() {
        let refused = |high, low, max_age: Option<u64>| {
            let policy = ImagePolicy::new(high, low, MIN_AGE_DEFAULT, max_age.map(Duration::from_secs));
            policy.expect_err("a refusal").to_string()
        };
        assert_eq!(refused(101, 80, None), "imageGCHighThresholdPercent 101 must be between 0 and 100, inclusive");
        assert_eq!(refused(85, -1, None), "imageGCLowThresholdPercent -1 must be between 0 and 100, inclusive");
        assert_eq!(refused(80, 80, None), "imageGCLowThresholdPercent 80 must be less than imageGCHighThresholdPercent 80");
        assert_eq!(refused(85, 80, Some(60)), "imageMaximumGCAge 60s must be greater than imageMinimumGCAge 120s");
    }
}
