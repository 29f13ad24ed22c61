//! Time as a value: the machine never reads a clock, it is told what time it is.

use core::fmt;
use core::ops::{Add, Sub};
use core::time::Duration;

use serde::{Deserialize, Serialize};

/// A point of monotonic time in nanoseconds, of the clock that the caller chose (`CLOCK_BOOTTIME` outside, virtual time in tests).
///
/// It decides everything and is never shown: wall-clock time exists only at the edge.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The start of the clock.
    pub const ZERO: Self = Self(0);

    /// The time that is `nanos` nanoseconds after the start of the clock.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since the start of the clock.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// How long after `earlier` this is, or zero if it is not after it.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// The last point at or before this one that lies a multiple of `step` after the start of the clock; itself for a step of zero.
    #[must_use]
    pub const fn floor_to(self, step: Duration) -> Self {
        match (step.as_nanos() as u64, self.0) {
            (0, nanos) => Self(nanos),
            (step, nanos) => Self(nanos - nanos % step),
        }
    }

    /// Whole seconds after `earlier`, truncated down, as the grace period is accounted (k8s: 3.b.3).
    pub const fn whole_secs_since(self, earlier: Self) -> u64 {
        self.since(earlier).as_secs()
    }
}

impl Add<Duration> for Timestamp {
    type Output = Self;

    fn add(self, rhs: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(rhs.as_nanos()).unwrap_or(u64::MAX)))
    }
}

impl Sub<Duration> for Timestamp {
    type Output = Self;

    fn sub(self, rhs: Duration) -> Self {
        Self(self.0.saturating_sub(u64::try_from(rhs.as_nanos()).unwrap_or(u64::MAX)))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:03}", self.0 / 1_000_000_000, self.0 / 1_000_000 % 1_000)
    }
}
