//! One instant on two clocks.
//!
//! Deadlines and durations are taken from `CLOCK_BOOTTIME`, which counts through suspend and is never set; the wall clock is
//! there to be shown to users. Both are read where the thing happened, because an engine that was away cannot know it later.
//! What this is not: a calendar. Text is made of it in [`crate::log`].

use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

/// Nanoseconds in one millisecond.
pub(crate) const NS_PER_MS: u64 = 1_000_000;

/// An instant, read from both clocks one after the other.
///
/// Ordered by boot time. Two moments of different boots must not be compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Moment {
    /// `CLOCK_BOOTTIME` in nanoseconds since the machine booted.
    pub boot_ns: u64,
    /// `CLOCK_REALTIME` in nanoseconds since 1970-01-01T00:00:00Z; jumps when the clock is set.
    pub wall_ns: u64,
}

impl Moment {
    /// Reads both clocks.
    pub fn now() -> Self {
        Self { boot_ns: read_ns(ClockId::Boottime), wall_ns: read_ns(ClockId::Realtime) }
    }

    /// The moment `timeout_ms` milliseconds after this one, on both clocks. Stays at the end of time instead of overflowing.
    #[must_use]
    pub fn plus_ms(self, timeout_ms: u64) -> Self {
        let ns = timeout_ms.saturating_mul(NS_PER_MS);
        Self { boot_ns: self.boot_ns.saturating_add(ns), wall_ns: self.wall_ns.saturating_add(ns) }
    }
}

/// A clock before its epoch (a wall clock set before 1970) reads as zero.
fn read_ns(clock: ClockId) -> u64 {
    let time = clock_gettime(clock);
    u64::try_from(i128::from(time.tv_sec) * 1_000_000_000 + i128::from(time.tv_nsec)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::Moment;

    #[test]
    fn a_deadline_moves_both_clocks_and_never_wraps() {
        let start = Moment { boot_ns: 5, wall_ns: u64::MAX - 1 };
        assert_eq!(start.plus_ms(2), Moment { boot_ns: 2_000_005, wall_ns: u64::MAX });
        assert_eq!(start.plus_ms(u64::MAX).boot_ns, u64::MAX);
    }

    #[test]
    fn the_clocks_run() {
        let first = Moment::now();
        let second = Moment::now();
        assert!(first.boot_ns > 0 && second.boot_ns >= first.boot_ns);
        assert!(first.wall_ns > 1_577_836_800_000_000_000, "the wall clock is before 2020: {}", first.wall_ns);
    }
}
