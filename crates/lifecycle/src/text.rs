//! The reference's texts, and Go's ways of printing that they are made with.

use alloc::format;
use alloc::string::String;
use core::fmt::Write as _;
use core::time::Duration;

use crate::event::HookOutcome;
use crate::spec::Handler;

/// Exit code of a command that died with its container: 128 + SIGKILL.
const DIED_WITH_CONTAINER: i32 = 137;

/// A string as Go's `%q` prints it.
pub(crate) fn go_quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        match character {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\u{7}' => quoted.push_str("\\a"),
            '\u{8}' => quoted.push_str("\\b"),
            '\u{c}' => quoted.push_str("\\f"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '\u{b}' => quoted.push_str("\\v"),
            control if (control as u32) < 0x20 || control as u32 == 0x7f => {
                let _ = write!(quoted, "\\x{:02x}", control as u32);
            }
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}

/// A duration as Go's `%v` prints it: `1m20s`, `1.5s`, `250ms`, `0s`.
pub fn go_duration(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    if nanos == 0 {
        return String::from("0s");
    }
    if nanos < 1_000 {
        return format!("{nanos}ns");
    }
    if nanos < 1_000_000 {
        return format!("{}µs", fraction(nanos, 1_000));
    }
    if nanos < 1_000_000_000 {
        return format!("{}ms", fraction(nanos, 1_000_000));
    }
    let (hours, minutes) = (duration.as_secs() / 3600, duration.as_secs() / 60 % 60);
    let seconds = fraction(nanos % 60_000_000_000, 1_000_000_000);
    match (hours, minutes) {
        (0, 0) => format!("{seconds}s"),
        (0, minutes) => format!("{minutes}m{seconds}s"),
        (hours, minutes) => format!("{hours}h{minutes}m{seconds}s"),
    }
}

fn fraction(value: u128, unit: u128) -> String {
    let (whole, rest) = (value / unit, value % unit);
    if rest == 0 {
        return format!("{whole}");
    }
    let digits = match unit {
        1_000 => 3,
        1_000_000 => 6,
        _ => 9,
    };
    let rest = format!("{rest:0digits$}");
    format!("{whole}.{}", rest.trim_end_matches('0'))
}

/// The detailed text of a failed hook: the message of the Waiting state `PostStartHookError` (k8s: 3.c.4, 3.d.22).
pub(crate) fn hook_failure(handler: &Handler, outcome: &HookOutcome, container: &str, pod: &str) -> String {
    let whom = format!("for Container {} in Pod {}", go_quote(container), go_quote(pod));
    match handler {
        Handler::Exec { command, .. } => {
            let (error, output) = exec_failure(&command.join(" "), outcome);
            format!("Exec lifecycle hook ([{}]) {whom} failed - error: {error}, message: {}", command.join(" "), go_quote(&output))
        }
        Handler::HttpGet(get) => format!("HTTP lifecycle hook ({}) {whom} failed - error: {}", get.path, plain_failure(outcome)),
        Handler::Sleep { secs } => format!("Sleep lifecycle hook ({secs}) {whom} failed - error: {}", plain_failure(outcome)),
        // k8s: 3.d.28
        Handler::TcpSocket => format!("Cannot run handler: {}", plain_failure(outcome)),
    }
}

fn exec_failure(command: &str, outcome: &HookOutcome) -> (String, String) {
    match outcome {
        // k8s: 3.c.3
        HookOutcome::ExitedNonZero { code, stdout, stderr } => {
            (format!("command '{command}' exited with {code}: {stderr}"), format!("{stdout}{stderr}"))
        }
        HookOutcome::ContainerEnded { stdout, stderr } => {
            (format!("command '{command}' exited with {DIED_WITH_CONTAINER}: {stderr}"), format!("{stdout}{stderr}"))
        }
        HookOutcome::TimedOut { limit } => (format!("command '{command}' timed out after {}", go_duration(*limit)), String::new()),
        HookOutcome::Succeeded | HookOutcome::FailedToRun { .. } | HookOutcome::HttpFailed { .. } | HookOutcome::Cancelled => {
            (plain_failure(outcome), String::new())
        }
    }
}

fn plain_failure(outcome: &HookOutcome) -> String {
    match outcome {
        HookOutcome::FailedToRun { error } | HookOutcome::HttpFailed { error } => error.clone(),
        HookOutcome::Cancelled => String::from("the hook was cancelled"),
        HookOutcome::ContainerEnded { .. } => String::from("container terminated before the hook finished"),
        HookOutcome::TimedOut { limit } => format!("timed out after {}", go_duration(*limit)),
        HookOutcome::ExitedNonZero { code, .. } => format!("exited with {code}"),
        HookOutcome::Succeeded => String::new(),
    }
}
