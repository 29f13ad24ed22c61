//! How times, durations, sizes and signals are worded.

use std::time::Duration;

/// `1.2 s`, `45 ms`, `3 m 20 s`, `2 h 5 m`, `3 d 4 h`: as exact as people compare.
pub fn span_text(duration: Duration) -> String {
    if duration < Duration::from_millis(100) {
        return format!("{} ms", duration.as_millis());
    }
    let tenths = duration.as_millis().saturating_add(50) / 100;
    if tenths < 600 {
        return format!("{}.{} s", tenths / 10, tenths % 10);
    }
    let secs = duration.as_secs() + u64::from(duration.subsec_millis() >= 500);
    match (secs / 86_400, secs / 3600 % 24, secs / 60 % 60, secs % 60) {
        (0, 0, minutes, 0) => format!("{minutes} m"),
        (0, 0, minutes, secs) => format!("{minutes} m {secs} s"),
        (0, hours, 0, _) => format!("{hours} h"),
        (0, hours, minutes, _) => format!("{hours} h {minutes} m"),
        (days, 0, ..) => format!("{days} d"),
        (days, hours, ..) => format!("{days} d {hours} h"),
    }
}

/// `09:41:07.345` of a day, UTC.
pub fn time_of_day(wall_nanos: u64) -> String {
    let (secs, millis) = (wall_nanos / 1_000_000_000, wall_nanos / 1_000_000 % 1000);
    format!("{:02}:{:02}:{:02}.{millis:03}", secs / 3600 % 24, secs / 60 % 60, secs % 60)
}

/// `2026-11-29 09:41:07 UTC`.
pub fn wall_text(wall_nanos: u64) -> String {
    let secs = wall_nanos / 1_000_000_000;
    let (year, month, day) = date(secs / 86_400);
    format!("{year}-{month:02}-{day:02} {:02}:{:02}:{:02} UTC", secs / 3600 % 24, secs / 60 % 60, secs % 60)
}

/// Year, month and day of a day since 1970-01-01, in the Gregorian calendar.
const fn date(days: u64) -> (u64, u64, u64) {
    // Eras of 400 years that begin on 1 March, so that the leap day is the last of its year.
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (era * 400 + year_of_era + if month <= 2 { 1 } else { 0 }, month, day)
}

/// `12 bytes`, `3.4 MiB`.
pub(crate) fn bytes_text(bytes: u64) -> String {
    let units = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 1024 {
        return format!("{bytes} bytes");
    }
    let mut size = bytes as f64 / 1024.0;
    let mut unit = 0;
    while size >= 1024.0 && unit + 1 < units.len() {
        size /= 1024.0;
        unit += 1;
    }
    let text = format!("{size:.1}");
    format!("{} {}", text.strip_suffix(".0").unwrap_or(&text), units[unit])
}

/// `SIGTERM`, or `signal 40` for one without a name.
pub fn signal_name(signal: i32) -> String {
    let name = match signal {
        1 => "SIGHUP",
        2 => "SIGINT",
        3 => "SIGQUIT",
        4 => "SIGILL",
        5 => "SIGTRAP",
        6 => "SIGABRT",
        7 => "SIGBUS",
        8 => "SIGFPE",
        9 => "SIGKILL",
        10 => "SIGUSR1",
        11 => "SIGSEGV",
        12 => "SIGUSR2",
        13 => "SIGPIPE",
        14 => "SIGALRM",
        15 => "SIGTERM",
        24 => "SIGXCPU",
        25 => "SIGXFSZ",
        28 => "SIGWINCH",
        29 => "SIGIO",
        30 => "SIGPWR",
        31 => "SIGSYS",
        other => return format!("signal {other}"),
    };
    name.to_owned()
}

/// Text from a container or a server on one line: control characters are shown, not obeyed.
pub(crate) fn harmless(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.trim_end().chars() {
        match character {
            '\n' => safe.push_str("; "),
            control if control.is_control() => safe.extend(control.escape_default()),
            other => safe.push(other),
        }
    }
    safe
}

/// At most so many characters, with an ellipsis for the rest.
pub(crate) fn shortened(text: &str, chars_max: usize) -> String {
    if text.chars().count() <= chars_max {
        return text.to_owned();
    }
    text.chars().take(chars_max.saturating_sub(1)).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{bytes_text, span_text, time_of_day, wall_text};

    #[test]
    fn durations_are_worded_as_exactly_as_people_compare() {
        let cases: [(u64, &str); 12] = [
            (0, "0 ms"),
            (99, "99 ms"),
            (100, "0.1 s"),
            (1_249, "1.2 s"),
            (59_949, "59.9 s"),
            (59_950, "1 m"),
            (200_000, "3 m 20 s"),
            (3_600_000, "1 h"),
            (7_500_000, "2 h 5 m"),
            (86_400_000, "1 d"),
            (100_000_000, "1 d 3 h"),
            (14_400_499, "4 h"),
        ];
        for (millis, text) in cases {
            assert_eq!(span_text(Duration::from_millis(millis)), text, "{millis} ms");
        }
    }

    #[test]
    fn wall_clock_time_is_a_date_also_around_leap_days() {
        let cases: [(u64, &str); 5] = [
            (0, "1970-01-01 00:00:00 UTC"),
            (951_782_399, "2000-02-28 23:59:59 UTC"),
            (951_782_400, "2000-02-29 00:00:00 UTC"),
            (1_709_251_199, "2024-02-29 23:59:59 UTC"),
            (4_107_542_400, "2100-03-01 00:00:00 UTC"),
        ];
        for (secs, text) in cases {
            assert_eq!(wall_text(secs * 1_000_000_000), text);
        }
        assert_eq!(time_of_day(951_782_399_045_000_000), "23:59:59.045");
    }

    #[test]
    fn sizes_are_worded_in_powers_of_two() {
        assert_eq!(bytes_text(1023), "1023 bytes");
        assert_eq!(bytes_text(64 << 20), "64 MiB");
        assert_eq!(bytes_text(1_572_864), "1.5 MiB");
    }
}
