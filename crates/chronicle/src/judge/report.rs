//! A test of a pod as a whole, and its form for programs: documented in `docs/test.md`, with a version of its own.

use std::collections::BTreeMap;
use std::time::Duration;

use lifecycle::Timestamp;
use serde_json::{Value, json};

use super::{Check, Outcome, Request, RunTimes, Spread, Spreads, Tally, VERDICTS_VERSION, Verdict, first_failed};
use crate::record::Moment;
use crate::text::{time_of_day, wall_text};

/// The test of one pod.
#[derive(Clone, Debug, PartialEq)]
pub struct PodReport {
    /// `metadata.namespace`.
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
    /// Its runs, in order.
    pub runs: Vec<RunReport>,
}

/// One run of it.
#[derive(Clone, Debug, PartialEq)]
pub struct RunReport {
    /// `metadata.uid`: `usher timeline UID` draws it.
    pub uid: String,
    /// When the pod was created.
    pub began: Moment,
    /// How long it lived.
    pub lived: Duration,
    /// What it took.
    pub times: RunTimes,
    /// What is to be said of it.
    pub verdicts: Vec<Verdict>,
    /// The requests that were sent to it.
    pub traffic: Option<Tally>,
}

impl RunReport {
    /// Since the pod was created.
    pub fn age(&self, at: Timestamp) -> Duration {
        at.since(self.began.timestamp())
    }

    /// A moment for people: time since the pod was created, and time of the day.
    pub fn moment_text(&self, at: Timestamp) -> String {
        let age = self.age(at);
        format!("{:>5}.{:03} s  {} UTC", age.as_secs(), age.subsec_millis(), time_of_day(self.began.wall_nanos_of(at)))
    }
}

impl PodReport {
    /// All verdicts of all runs.
    pub fn verdicts(&self) -> impl Iterator<Item = &Verdict> {
        self.runs.iter().flat_map(|run| &run.verdicts)
    }

    /// The first check that failed in any run.
    pub fn first_failed(&self) -> Option<Check> {
        first_failed(self.verdicts())
    }

    /// 0, or that of the first check that failed.
    pub fn exit_code(&self) -> u8 {
        self.first_failed().map_or(0, Check::exit_code)
    }

    /// The times of all runs.
    pub fn spreads(&self) -> Spreads {
        Spreads::over(&self.runs.iter().map(|run| run.times.clone()).collect::<Vec<_>>())
    }
}

/// The form for programs. Durations are seconds, moments RFC 3339 and seconds since the pod was created.
pub fn json(pods: &[PodReport]) -> Value {
    let exit_code = pods.iter().map(PodReport::exit_code).filter(|code| *code > 0).min().unwrap_or(0);
    json!({
        "version": VERDICTS_VERSION,
        "passed": exit_code == 0,
        "exitCode": exit_code,
        "pods": pods.iter().map(pod).collect::<Vec<_>>(),
    })
}

fn pod(pod: &PodReport) -> Value {
    let failed = pod.first_failed();
    json!({
        "namespace": pod.namespace,
        "name": pod.name,
        "passed": failed.is_none(),
        "firstFailed": failed.map(Check::name),
        "exitCode": pod.exit_code(),
        "runs": pod.runs.iter().map(run).collect::<Vec<_>>(),
        "spreads": spreads(&pod.spreads()),
    })
}

fn run(run: &RunReport) -> Value {
    json!({
        "uid": run.uid,
        "beganAt": rfc3339(run.began.wall_nanos),
        "livedSeconds": secs(run.lived),
        "readySeconds": run.times.ready.map(secs),
        "stopSeconds": run.times.stop.map(secs),
        "hookSeconds": by_name(&run.times.hooks, |time| json!(secs(*time))),
        "graceUsedSeconds": by_name(&run.times.grace, |time| json!(secs(*time))),
        "verdicts": run.verdicts.iter().map(|one| verdict(run, one)).collect::<Vec<_>>(),
        "traffic": run.traffic.as_ref().map(|tally| traffic(run, tally)),
    })
}

fn verdict(run: &RunReport, verdict: &Verdict) -> Value {
    let evidence = verdict.evidence.iter().map(|evidence| {
        json!({
            "at": rfc3339(run.began.wall_nanos_of(evidence.at)),
            "seconds": secs(run.age(evidence.at)),
            "text": evidence.text,
        })
    });
    json!({
        "check": verdict.check.name(),
        "whom": verdict.whom,
        "outcome": verdict.outcome.name(),
        "text": verdict.text,
        "evidence": evidence.collect::<Vec<_>>(),
        "cure": verdict.cure,
    })
}

fn traffic(run: &RunReport, tally: &Tally) -> Value {
    let failure = |request: &Request| {
        json!({
            "seconds": secs(run.age(request.sent_at)),
            "tookSeconds": secs(request.ended_at.since(request.sent_at)),
            "reply": request.reply.word(),
            "detail": request.reply.detail(),
        })
    };
    json!({
        "url": tally.url,
        "sent": tally.sent,
        "failed": tally.failed,
        "byReply": tally.by_reply,
        "longestSeconds": secs(tally.longest),
        "failures": tally.failures.iter().map(failure).collect::<Vec<_>>(),
    })
}

fn spreads(spreads: &Spreads) -> Value {
    let one = |spread: &Spread| {
        json!({
            "count": spread.count,
            "min": secs(spread.min),
            "median": secs(spread.median),
            "p95": secs(spread.p95),
            "max": secs(spread.max),
        })
    };
    json!({
        "ready": spreads.ready.as_ref().map(one),
        "stop": spreads.stop.as_ref().map(one),
        "hooks": by_name(&spreads.hooks, one),
        "graceUsed": by_name(&spreads.grace, one),
        "graceEnoughSeconds": spreads.enough_secs,
    })
}

fn by_name<T>(named: &BTreeMap<String, T>, value: impl Fn(&T) -> Value) -> Value {
    Value::Object(named.iter().map(|(name, one)| (name.clone(), value(one))).collect())
}

/// Seconds, to the millisecond.
fn secs(duration: Duration) -> f64 {
    duration.as_millis() as f64 / 1e3
}

/// `2026-11-29T09:41:07.345Z`
pub(super) fn rfc3339(wall_nanos: u64) -> String {
    let date = wall_text(wall_nanos);
    let date = date.split(' ').next().unwrap_or_default();
    format!("{date}T{}Z", time_of_day(wall_nanos))
}

/// `passed` unless something failed.
pub(super) const fn is_failure(verdict: &Verdict) -> bool {
    matches!(verdict.outcome, Outcome::Failed)
}
