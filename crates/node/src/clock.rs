//! The only place in this crate that reads a clock.

use std::time::Duration;

use lifecycle::Timestamp;
use runtime::Moment;
use rustix::time::{ClockId, clock_gettime};

/// Both clocks, now.
pub fn moment() -> Moment {
    Moment { boot_nanos: nanos(ClockId::Boottime), wall_nanos: nanos(ClockId::Realtime) }
}

/// The clock that decides, now.
pub fn now() -> Timestamp {
    timestamp(moment())
}

/// The side of a moment that decides.
pub const fn timestamp(moment: Moment) -> Timestamp {
    Timestamp::from_nanos(moment.boot_nanos)
}

/// Wall-clock time, in nanoseconds since 1970, of a point of the deciding clock.
pub fn wall_nanos(at: Timestamp) -> u64 {
    let now = moment();
    if at.as_nanos() >= now.boot_nanos {
        now.wall_nanos.saturating_add(at.as_nanos() - now.boot_nanos)
    } else {
        now.wall_nanos.saturating_sub(now.boot_nanos - at.as_nanos())
    }
}

/// How long from now until `at`; zero if it is past.
pub fn until(at: Timestamp) -> Duration {
    at.since(now())
}

fn nanos(clock: ClockId) -> u64 {
    let time = clock_gettime(clock);
    let (secs, nanos) = (u64::try_from(time.tv_sec).unwrap_or(0), u64::try_from(time.tv_nsec).unwrap_or(0));
    secs.saturating_mul(1_000_000_000).saturating_add(nanos)
}
