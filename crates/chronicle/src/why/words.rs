//! Parts of sentences.

use lifecycle::{Handler, HookOutcome, HttpGet, HttpPort, KillTrigger, ProbeHandler, ProbeSpec, Scheme};

use crate::life::{HookRun, SessionRun};
use crate::record::SessionVerb;
use crate::text::{harmless, shortened, span_text};

/// Characters of a command that a sentence shows.
const COMMAND_SHOWN_MAX: usize = 80;

/// Characters of somebody's words that a sentence shows.
const WORDS_SHOWN_MAX: usize = 240;

/// `once`, `3 times in a row`.
pub fn times(count: u64) -> String {
    match count {
        0 | 1 => "once".to_owned(),
        2 => "twice in a row".to_owned(),
        count => format!("{count} times in a row"),
    }
}

/// `once`, `twice`, `3 times`.
pub(crate) fn count_text(count: u64) -> String {
    match count {
        0 | 1 => "once".to_owned(),
        2 => "twice".to_owned(),
        count => format!("{count} times"),
    }
}

/// Why a pod goes, as a sentence about the pod.
pub(super) const fn pod_trigger_text(trigger: KillTrigger) -> &'static str {
    match trigger {
        KillTrigger::Deleted => "the pod was deleted",
        KillTrigger::DeadlineExceeded => "the pod's deadline was over",
        KillTrigger::Evicted => "the pod was evicted",
        KillTrigger::Preempted => "a critical pod needed the place",
        KillTrigger::NodeShutdown => "the node shuts down",
        KillTrigger::Rejected => "the node does not take the pod any more",
        KillTrigger::Completed => "the pod's other containers were done",
        KillTrigger::InitFailed => "an init container of the pod failed",
        KillTrigger::ProbeFailed => "a probe failed and nothing restarts the container",
    }
}

/// `a`, `a and b`, `a, b and c`.
pub(crate) fn list<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<_> = names.collect();
    match names.as_slice() {
        [] => "nothing".to_owned(),
        [one] => (*one).to_owned(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

/// Somebody's words as a part of a sentence: one line, no full stop.
pub(crate) fn clause(words: &str) -> String {
    let words = harmless(words);
    shortened(words.trim().trim_end_matches('.'), WORDS_SHOWN_MAX)
}

/// Why a pod goes.
pub const fn trigger_text(trigger: KillTrigger) -> &'static str {
    match trigger {
        KillTrigger::Deleted => "it was deleted",
        KillTrigger::DeadlineExceeded => "its deadline was over",
        KillTrigger::Evicted => "it was evicted",
        KillTrigger::Preempted => "a critical pod needed the place",
        KillTrigger::NodeShutdown => "the node shuts down",
        KillTrigger::Rejected => "the node does not take it any more",
        KillTrigger::Completed => "its containers were done",
        KillTrigger::InitFailed => "an init container failed",
        KillTrigger::ProbeFailed => "a probe failed and nothing restarts the container",
    }
}

/// What a hook does: its command, its request, its sleep.
pub fn handler_text(handler: &Handler) -> String {
    match handler {
        Handler::Exec { command, .. } => shortened(&harmless(&command.join(" ")), COMMAND_SHOWN_MAX),
        Handler::HttpGet(get) => request(get),
        Handler::Sleep { secs } => format!("sleep of {secs} s"),
        Handler::TcpSocket => "tcpSocket".to_owned(),
    }
}

/// What a probe does and how often.
pub fn probe_text(probe: &ProbeSpec) -> String {
    let what = match &probe.handler {
        ProbeHandler::Exec { command } => shortened(&harmless(&command.join(" ")), COMMAND_SHOWN_MAX),
        ProbeHandler::HttpGet(get) => request(get),
        ProbeHandler::TcpSocket { port, .. } => format!("connection to {}", port_text(port)),
        ProbeHandler::Grpc { port, .. } => format!("gRPC health check on port {port}"),
    };
    format!("{what}, every {} s", probe.period_secs)
}

fn request(get: &HttpGet) -> String {
    let scheme = if get.scheme == Scheme::Https { "HTTPS " } else { "" };
    format!("{scheme}GET {} on {}", shortened(&harmless(&get.path), COMMAND_SHOWN_MAX), port_text(&get.port))
}

fn port_text(port: &HttpPort) -> String {
    match port {
        HttpPort::Number(port) => format!("port {port}"),
        HttpPort::Unresolved(_) => "a port that the container does not name".to_owned(),
    }
}

/// What somebody did in a container, and how it ended: `exec ls / by usher-admin, exit code 0 after 0.1 s`.
pub fn session_text(session: &SessionRun) -> String {
    let by = session.by.as_ref().map_or_else(String::new, |by| format!(" by {}", clause(by)));
    let code = session.exit_code.map_or_else(String::new, |code| format!(", exit code {code}"));
    let took = session.ended_at.map_or_else(String::new, |at| format!(" after {}", span_text(at.since(session.began_at))));
    format!("{}{by}{code}{took}", session_command(session))
}

/// `exec ls /`, `attach`
pub(super) fn session_command(session: &SessionRun) -> String {
    let verb = match session.verb {
        SessionVerb::Exec => "exec",
        SessionVerb::Attach => "attach",
    };
    let command = shortened(&harmless(&session.command.join(" ")), COMMAND_SHOWN_MAX);
    if command.is_empty() { verb.to_owned() } else { format!("{verb} {command}") }
}

/// How a hook ended, as the end of a sentence about it.
pub fn hook_end_text(run: &HookRun) -> String {
    let Some(end) = &run.end else { return "is still running".to_owned() };
    if end.out_of_grace {
        return "ran out of grace and was cut off".to_owned();
    }
    match (&end.outcome, end.http_status) {
        (HookOutcome::Succeeded, Some(status)) if end.fell_back_to_http => {
            format!("answered with status {status}, over HTTP because the server does not speak HTTPS")
        }
        (HookOutcome::Succeeded, Some(status)) => format!("answered with status {status}"),
        (HookOutcome::Succeeded, None) => "succeeded".to_owned(),
        (HookOutcome::ExitedNonZero { code, .. }, _) => format!("failed with exit code {code}"),
        (HookOutcome::FailedToRun { error } | HookOutcome::HttpFailed { error }, _) => format!("failed ({})", clause(error)),
        (HookOutcome::TimedOut { limit }, _) => format!("ran over its limit of {} and was killed", span_text(*limit)),
        (HookOutcome::ContainerEnded { .. }, _) => "ended with its container".to_owned(),
        (HookOutcome::Cancelled, _) => "was cancelled".to_owned(),
    }
}
