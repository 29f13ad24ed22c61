//! A steady stream of requests, each accounted for: what was dropped, and how long a preStop sleep would have had to be.
//!
//! ```text
//!   Ready ────────── delete ─────────── endpoint withdrawn
//!     requests …        requests …             none
//!                       ├── preStop ──┤ stop signal
//! ```
//!
//! A pod that is deleted goes on getting requests until everyone has heard that its endpoint is withdrawn; the stop signal, which ends
//! most servers, comes sooner unless a preStop hook holds it back. Whoever sends the requests stops when that delay is over.

use std::collections::BTreeMap;
use std::time::Duration;

use lifecycle::{GraceAccount, Handler, Role, Timestamp};

use super::{Check, Outcome, Verdict, asked_at};
use crate::life::{Instance, Life};
use crate::text::{signal_name, span_text};

/// The first status that says that the server failed.
const SERVER_ERROR: u16 = 500;

/// Failed requests that the JSON form lists.
const LISTED_MAX: usize = 100;

/// What was sent to a pod, and what came back.
#[derive(Clone, Debug, PartialEq)]
pub struct Traffic {
    /// Where to, as asked for.
    pub url: String,
    /// The container that serves it, if that is known.
    pub container: Option<String>,
    /// From the delete to the withdrawal of the endpoint.
    pub endpoint_delay: Duration,
    /// In the order in which they were sent.
    pub requests: Vec<Request>,
}

/// One request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// When it was sent.
    pub sent_at: Timestamp,
    /// When it was answered, or given up.
    pub ended_at: Timestamp,
    /// How.
    pub reply: Reply,
}

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// It was answered in full, with this status.
    Answered(u16),
    /// Nobody listened.
    Refused,
    /// The connection ended before the answer did.
    BrokenOff(String),
    /// It took too long.
    TimedOut,
    /// There was no way to the pod.
    Unreachable(String),
}

impl Reply {
    /// Whether a client would call it a failure.
    pub const fn is_failure(&self) -> bool {
        match self {
            Self::Answered(status) => *status >= SERVER_ERROR,
            Self::Refused | Self::BrokenOff(_) | Self::TimedOut | Self::Unreachable(_) => true,
        }
    }

    /// What became of it, in words.
    pub fn word(&self) -> String {
        match self {
            Self::Answered(status) => format!("answered with status {status}"),
            Self::Refused => "refused".to_owned(),
            Self::BrokenOff(_) => "broken off".to_owned(),
            Self::TimedOut => "not answered in time".to_owned(),
            Self::Unreachable(_) => "unreachable".to_owned(),
        }
    }

    /// The system's words, where there are some.
    pub fn detail(&self) -> Option<&str> {
        match self {
            Self::BrokenOff(detail) | Self::Unreachable(detail) => Some(detail),
            Self::Answered(_) | Self::Refused | Self::TimedOut => None,
        }
    }
}

/// All requests, counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Where they went.
    pub url: String,
    /// All of them.
    pub sent: usize,
    /// Those that failed.
    pub failed: usize,
    /// By what became of them: `answered with status 200`, `refused`, …
    pub by_reply: BTreeMap<String, usize>,
    /// The longest that was answered.
    pub longest: Duration,
    /// The first that failed; at most 100.
    pub failures: Vec<Request>,
}

impl Traffic {
    /// Counts them.
    pub fn tally(&self) -> Tally {
        let mut by_reply = BTreeMap::new();
        for request in &self.requests {
            *by_reply.entry(request.reply.word()).or_insert(0) += 1;
        }
        Tally {
            url: self.url.clone(),
            sent: self.requests.len(),
            failed: self.failed().count(),
            by_reply,
            longest: self.longest(),
            failures: self.failed().take(LISTED_MAX).cloned().collect(),
        }
    }

    fn failed(&self) -> impl Iterator<Item = &Request> {
        self.requests.iter().filter(|request| request.reply.is_failure())
    }

    fn longest(&self) -> Duration {
        let answered = self.requests.iter().filter(|request| !request.reply.is_failure());
        answered.map(|request| request.ended_at.since(request.sent_at)).max().unwrap_or_default()
    }
}

/// How the stop of the serving container looked to its clients.
struct Stop<'a> {
    container: &'a str,
    asked_at: Timestamp,
    /// The preStop hook, if it has one.
    hook: Option<&'a Handler>,
    /// When its stop signal went out, or when it ended without one.
    ends_at: Timestamp,
    /// What that was, as the object of a sentence.
    what: String,
    /// And as a sentence.
    told: String,
    /// It ended while its preStop hook ran.
    in_pre_stop: bool,
}

impl Stop<'_> {
    /// From the delete to the moment from which on the process is on its way out.
    fn held(&self) -> Duration {
        self.ends_at.since(self.asked_at)
    }
}

/// The verdict over all requests.
pub(super) fn judge(life: &Life, traffic: &Traffic) -> Verdict {
    let sent = traffic.requests.len();
    let verdict = |outcome, text: String| Verdict::new(Check::Traffic, "pod", outcome, text);
    if sent == 0 {
        return verdict(Outcome::Skipped, format!("no request was sent to {}: the pod was not Ready", traffic.url));
    }
    let failed: Vec<_> = traffic.failed().collect();
    let stop = stop(life, traffic);
    let Some(first) = failed.first() else {
        let enough = stop.as_ref().map_or_else(String::new, |stop| enough(traffic, stop));
        return verdict(Outcome::Passed, format!("all {sent} requests to {} were answered{enough}", traffic.url));
    };
    let kinds = kinds(&failed);
    let text = format!("{} of {sent} requests to {} failed ({kinds})", failed.len(), traffic.url);
    let early = stop.as_ref().is_none_or(|stop| first.ended_at < stop.asked_at);
    let verdict = match stop.as_ref().filter(|_| !early) {
        Some(stop) => dropped(traffic, stop, verdict(Outcome::Failed, text)),
        None => {
            let text = format!("{text}, the first before anybody asked the pod to go");
            verdict(Outcome::Failed, text)
                .cured("a readiness probe that fails in time keeps requests away from a container that cannot answer")
        }
    };
    verdict.with(first.sent_at, format!("the first request that failed was sent; it was {}", first.reply.word()))
}

/// `3 refused, 1 broken off`
fn kinds(failed: &[&Request]) -> String {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for request in failed {
        *counts.entry(request.reply.word()).or_default() += 1;
    }
    counts.iter().map(|(word, count)| format!("{count} {word}")).collect::<Vec<_>>().join(", ")
}

fn stop<'a>(life: &'a Life, traffic: &Traffic) -> Option<Stop<'a>> {
    let asked_at = asked_at(life)?;
    let stops =
        life.containers.iter().filter(|container| !matches!(container.role, Role::Init | Role::Ephemeral)).filter_map(|container| {
            let instance = container.newest()?;
            let (ends_at, what) = end_of_service(instance)?;
            let told = if instance.stop_signal().is_some() {
                format!("{what} went out to {}", container.name)
            } else {
                format!("{} ended", container.name)
            };
            let hook = container.spec.as_ref().and_then(|spec| spec.pre_stop.as_ref());
            let in_pre_stop = instance.stop_signal().is_none()
                && life.account_of(instance).is_some_and(|account: &GraceAccount| account.pre_stop.is_some());
            Some(Stop { container: &container.name, asked_at, hook, ends_at, what, told, in_pre_stop })
        });
    let wanted = traffic.container.as_deref();
    stops.filter(|stop| wanted.is_none_or(|name| stop.container == name)).min_by_key(|stop| stop.ends_at)
}

fn end_of_service(instance: &Instance) -> Option<(Timestamp, String)> {
    match instance.stop_signal() {
        Some(signal) => Some((signal.at, signal.number.map_or_else(|| "the stop signal".to_owned(), signal_name))),
        None => Some((instance.ended_at()?, "its end".to_owned())),
    }
}

/// Why nothing was dropped, and what less would do.
fn enough(traffic: &Traffic, stop: &Stop<'_>) -> String {
    let delay = span_text(traffic.endpoint_delay);
    let until = format!(" until the endpoint was withdrawn, {delay} after the delete");
    let (name, what) = (stop.container, &stop.what);
    if stop.held() < traffic.endpoint_delay {
        return match stop.hook {
            None => format!("{until}: {name} went on answering after {what} and needs no preStop sleep for that"),
            Some(_) => {
                let held = span_text(stop.held());
                format!("{until}: preStop held {what} back for {held}, and {name} went on answering after it")
            }
        };
    }
    let held = span_text(stop.held());
    let smallest = match stop.hook {
        Some(Handler::Sleep { secs }) => needed_secs(traffic, Duration::ZERO).min(*secs),
        Some(_) | None => needed_secs(traffic, Duration::ZERO),
    };
    match stop.hook {
        Some(Handler::Sleep { secs }) if *secs == smallest => {
            format!("{until}: preStop held {what} back for {held}, which is the smallest sleep in whole seconds that would do")
        }
        Some(_) => format!("{until}: preStop held {what} back for {held}; a sleep of {smallest} s would do"),
        None => until,
    }
}

/// What would have had to be otherwise for nothing to be dropped.
fn dropped(traffic: &Traffic, stop: &Stop<'_>, verdict: Verdict) -> Verdict {
    let delay = span_text(traffic.endpoint_delay);
    let (name, what, held) = (stop.container, &stop.what, span_text(stop.held()));
    let withdrawn_at = stop.asked_at + traffic.endpoint_delay;
    let smallest = needed_secs(traffic, answering(traffic, stop));
    let (how, cure) = match (stop.hook, stop.in_pre_stop) {
        (Some(_), true) => (
            format!("the preStop hook of {name} ended it {held} after the delete"),
            format!("have the hook sleep for {smallest} s before it stops the process"),
        ),
        (Some(Handler::Sleep { secs }), false) if *secs >= smallest => (
            format!("{name} dropped them although preStop held {what} back for {held}"),
            format!("have {name} answer what it has accepted before it ends"),
        ),
        (Some(Handler::Sleep { secs }), false) => (
            format!("a preStop sleep of {secs} s is too short"),
            format!("preStop: sleep: seconds: {smallest} is the smallest that would do"),
        ),
        (Some(_), false) => (
            format!("preStop held {what} back for {held}, which is too short"),
            format!("a preStop hook of {smallest} s is the shortest that would do"),
        ),
        (None, _) => (format!("nothing held {what} back"), format!("preStop: sleep: seconds: {smallest} is the smallest that would do")),
    };
    let text = format!("{}, because the endpoint was withdrawn {delay} after the delete, and {how}", verdict.text);
    Verdict { text, ..verdict }
        .with(stop.asked_at, "the delete")
        .with(stop.ends_at, stop.told.clone())
        .with(withdrawn_at, "the endpoint was withdrawn")
        .cured(format!("{cure}; the grace has to hold it besides what the process needs"))
}

/// How long the process went on answering new requests after its stop signal.
fn answering(traffic: &Traffic, stop: &Stop<'_>) -> Duration {
    let after = || traffic.requests.iter().filter(|request| request.sent_at >= stop.ends_at);
    let first_failed = after().find(|request| request.reply.is_failure()).map(|request| request.sent_at);
    let answered = after().filter(|request| !request.reply.is_failure() && first_failed.is_none_or(|failed| request.sent_at < failed));
    answered.map(|request| request.sent_at.since(stop.ends_at)).max().unwrap_or_default()
}

/// Whole seconds that the stop signal has to be held back: until the endpoint is withdrawn and the last request before that is answered,
/// less what the process answers after it.
fn needed_secs(traffic: &Traffic, answers_for: Duration) -> u64 {
    let needed = (traffic.endpoint_delay + traffic.longest()).saturating_sub(answers_for);
    needed.as_secs() + u64::from(needed.subsec_nanos() > 0)
}
