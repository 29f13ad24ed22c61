//! Signals by the names that manifests and images give them.

use shim::protocol::SignalNumber;

/// The first and the last real-time signal, as the C library counts them.
const RT_MIN: u8 = 34;
const RT_MAX: u8 = 64;

/// Reads `SIGTERM`, `TERM`, `15`, `SIGRTMIN+3` or `SIGRTMAX-1`, in any case. `None`: no signal of Linux.
pub(crate) fn parse_signal(text: &str) -> Option<SignalNumber> {
    if let Ok(number) = text.parse::<u8>() {
        return SignalNumber::try_from(number).ok();
    }
    let name = text.to_ascii_uppercase();
    let name = name.strip_prefix("SIG").unwrap_or(&name);
    let number = NAMES.iter().find(|(known, _)| *known == name).map(|(_, number)| *number).or_else(|| real_time(name))?;
    SignalNumber::try_from(number).ok()
}

fn real_time(name: &str) -> Option<u8> {
    let number = if let Some(above) = name.strip_prefix("RTMIN") {
        RT_MIN.checked_add(offset(above, '+')?)?
    } else {
        RT_MAX.checked_sub(offset(name.strip_prefix("RTMAX")?, '-')?)?
    };
    (RT_MIN..=RT_MAX).contains(&number).then_some(number)
}

fn offset(text: &str, sign: char) -> Option<u8> {
    if text.is_empty() { Some(0) } else { text.strip_prefix(sign)?.parse().ok() }
}

/// Numbers of the architectures that Linux containers run on (x86-64, arm64, …; not MIPS).
const NAMES: [(&str, u8); 35] = [
    ("HUP", 1),
    ("INT", 2),
    ("QUIT", 3),
    ("ILL", 4),
    ("TRAP", 5),
    ("ABRT", 6),
    ("IOT", 6),
    ("BUS", 7),
    ("FPE", 8),
    ("KILL", 9),
    ("USR1", 10),
    ("SEGV", 11),
    ("USR2", 12),
    ("PIPE", 13),
    ("ALRM", 14),
    ("TERM", 15),
    ("STKFLT", 16),
    ("CHLD", 17),
    ("CLD", 17),
    ("CONT", 18),
    ("STOP", 19),
    ("TSTP", 20),
    ("TTIN", 21),
    ("TTOU", 22),
    ("URG", 23),
    ("XCPU", 24),
    ("XFSZ", 25),
    ("VTALRM", 26),
    ("PROF", 27),
    ("WINCH", 28),
    ("IO", 29),
    ("POLL", 29),
    ("PWR", 30),
    ("SYS", 31),
    ("UNUSED", 31),
];

#[cfg(test)]
mod tests {
    use super::parse_signal;

    #[test]
    fn a_signal_is_read_by_number_and_by_name() {
        for (text, number) in [
            ("15", Some(15)),
            ("SIGTERM", Some(15)),
            ("sigquit", Some(3)),
            ("WINCH", Some(28)),
            ("SIGRTMIN", Some(34)),
            ("SIGRTMIN+3", Some(37)),
            ("SIGRTMAX-1", Some(63)),
            ("RTMAX", Some(64)),
            ("SIGRTMIN+31", None),
            ("SIGRTMAX-40", None),
            ("SIGRTMIN-1", None),
            ("0", None),
            ("65", None),
            ("SIGNAL", None),
            ("", None),
        ] {
            assert_eq!(parse_signal(text).map(u8::from), number, "{text}");
        }
    }
}
