//! Wall time as text, in UTC: the timestamp of a CRI log line and the stamp of a rotated file.
//!
//! Calendar arithmetic only; no time zone data is read, so the shim needs no files for it.

use std::io::Write as _;

const NS_PER_SECOND: u64 = 1_000_000_000;
const SECONDS_PER_DAY: u64 = 86_400;

/// Appends `wall_ns` as `2016-10-06T00:17:09.669794202Z`: always nine fractional digits, so that lines sort as text.
pub fn push_rfc3339_nanos(wall_ns: u64, out: &mut Vec<u8>) {
    let time = CivilTime::from_wall_ns(wall_ns);
    let nanos = wall_ns % NS_PER_SECOND;
    // Writing into a Vec cannot fail.
    let _ = write!(
        out,
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{nanos:09}Z",
        time.year, time.month, time.day, time.hour, time.minute, time.second
    );
}

/// The stamp in a rotated file's name, `20161006-001709`.
// kubelet: container log manager, timestampFormat
pub fn rotation_stamp(wall_ns: u64) -> String {
    let time = CivilTime::from_wall_ns(wall_ns);
    format!("{:04}{:02}{:02}-{:02}{:02}{:02}", time.year, time.month, time.day, time.hour, time.minute, time.second)
}

struct CivilTime {
    year: u64,
    month: u64,
    day: u64,
    hour: u64,
    minute: u64,
    second: u64,
}

impl CivilTime {
    /// Splits seconds since 1970 into calendar fields, counting in 400-year eras that begin on 1 March, so that the leap
    /// day is the last day of a year.
    fn from_wall_ns(wall_ns: u64) -> Self {
        const DAYS_PER_ERA: u64 = 146_097;
        const DAYS_FROM_ERA_START_TO_1970: u64 = 719_468;
        let seconds = wall_ns / NS_PER_SECOND;
        let (days, of_day) = (seconds / SECONDS_PER_DAY, seconds % SECONDS_PER_DAY);

        let shifted = days + DAYS_FROM_ERA_START_TO_1970;
        let (era, day_of_era) = (shifted / DAYS_PER_ERA, shifted % DAYS_PER_ERA);
        let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * day_of_year + 2) / 153;
        let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };

        Self {
            year: era * 400 + year_of_era + u64::from(month <= 2),
            month,
            day: day_of_year - (153 * month_from_march + 2) / 5 + 1,
            hour: of_day / 3_600,
            minute: of_day / 60 % 60,
            second: of_day % 60,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{push_rfc3339_nanos, rotation_stamp};

    fn check(wall_ns: u64, expected: &str) {
        let mut out = Vec::new();
        push_rfc3339_nanos(wall_ns, &mut out);
        assert_eq!(String::from_utf8_lossy(&out), expected);
    }

    #[test]
    fn timestamps_are_rfc3339_with_nine_digits() {
        check(0, "1970-01-01T00:00:00.000000000Z");
        check(1_475_713_029_669_794_202, "2016-10-06T00:17:09.669794202Z");
        check(951_782_399_000_000_001, "2000-02-28T23:59:59.000000001Z");
        check(951_782_400_000_000_000, "2000-02-29T00:00:00.000000000Z");
        check(1_709_251_199_999_999_999, "2024-02-29T23:59:59.999999999Z");
        check(1_767_225_599_000_000_000, "2025-12-31T23:59:59.000000000Z");
        check(4_107_542_400_000_000_000, "2100-03-01T00:00:00.000000000Z");
    }

    #[test]
    fn every_day_follows_the_one_before() {
        let mut previous = String::new();
        for day in 0..80_000 {
            let mut out = Vec::new();
            push_rfc3339_nanos(day * 86_400 * 1_000_000_000, &mut out);
            let text = String::from_utf8(out).expect("a timestamp is ASCII");
            assert!(text > previous, "{previous} is not before {text}");
            previous = text;
        }
        assert_eq!(previous, "2189-01-11T00:00:00.000000000Z");
    }

    #[test]
    fn rotated_files_carry_the_second_of_their_rotation() {
        assert_eq!(rotation_stamp(1_475_713_029_669_794_202), "20161006-001709");
    }
}
