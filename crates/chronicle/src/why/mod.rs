//! Why something is as it is, in sentences, each with the evidence that it rests on.
//!
//! For the pod: what it does and what it waits for. For a container: what it does or waits for, why it is not Ready, why it was
//! restarted, why it was killed. Sentences are made from a [`Life`] alone; what the journal does not tell is not guessed.

mod ends;
mod state;
mod words;

use lifecycle::{Grace, KillTrigger, Phase, Timestamp};
use serde::Serialize;

use crate::life::Life;
use crate::text::{span_text, time_of_day};

pub(crate) use ends::{cause, killed};
pub(crate) use words::{clause, count_text, list};
pub use words::{handler_text, hook_end_text, probe_text, session_text, times, trigger_text};

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Question {
    /// What does it do, what does it wait for?
    State,
    /// Why is it not Ready?
    NotReady,
    /// Why was it restarted?
    Restarted,
    /// Why was it killed?
    Killed,
    /// Why did it end?
    Ended,
}

/// One answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    /// To what.
    pub question: Question,
    /// Whom it is about: `pod` or a container's name.
    pub whom: String,
    /// The sentence or sentences.
    pub text: String,
    /// What it rests on, in order.
    pub evidence: Vec<Evidence>,
}

/// Something that happened and that a sentence rests on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Evidence {
    /// When.
    pub at: Timestamp,
    /// What.
    pub text: String,
}

/// What is known besides the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Present {
    /// What time it is.
    pub now: Timestamp,
    /// Whether an engine drives the pod.
    pub is_driven: bool,
}

impl Answer {
    fn new(question: Question, whom: &str, text: String) -> Self {
        Self { question, whom: whom.to_owned(), text, evidence: Vec::new() }
    }

    fn with(mut self, at: Timestamp, text: impl Into<String>) -> Self {
        self.evidence.push(Evidence { at, text: text.into() });
        self
    }

    fn with_some(self, at: Option<Timestamp>, text: impl Into<String>) -> Self {
        match at {
            Some(at) => self.with(at, text),
            None => self,
        }
    }

    /// Its evidence in order of time.
    fn ordered(mut self) -> Self {
        self.evidence.sort_by_key(|evidence| evidence.at);
        self
    }
}

/// All answers about a pod, or about one container of it.
pub fn why(life: &Life, container: Option<&str>, present: Present) -> Vec<Answer> {
    let mut answers = Vec::new();
    if container.is_none() {
        answers.push(pod(life, present));
    }
    for one in life.containers.iter().filter(|one| container.is_none_or(|name| one.name == name)) {
        answers.extend(state::answers(life, one, present, container.is_some()));
        answers.extend(ends::answers(life, one));
    }
    answers.into_iter().map(Answer::ordered).collect()
}

/// The pod in one answer.
fn pod(life: &Life, present: Present) -> Answer {
    if life.is_over() {
        return over(life);
    }
    let answer = match life.terminations.last() {
        Some(_) => terminating(life, present),
        None => living(life, present),
    };
    match (present.is_driven, life.read_to.timestamp()) {
        (true, _) => answer,
        (false, last) => {
            let text = format!(
                "{} No engine drives the pod any more: its containers live on without restarts and probes. \
                 `usher rm {}` stops it with what is left of its grace.",
                answer.text, life.name
            );
            Answer { text, ..answer }.with(last, "the last entry of the engine that drove it")
        }
    }
}

fn over(life: &Life) -> Answer {
    let full_name = format!("{}/{}", life.namespace, life.name);
    let phase = life.phase();
    let how = match phase.map(|phase| (phase.phase, phase.reason.as_str())) {
        Some((Phase::Failed, "DeadlineExceeded")) => {
            let secs = life.spec.as_ref().and_then(|spec| spec.active_deadline_secs);
            let limit = secs.map_or_else(|| "activeDeadlineSeconds".to_owned(), |secs| format!("activeDeadlineSeconds of {secs}"));
            format!("it Failed because it was active for longer than its {limit}")
        }
        Some((Phase::Failed, "")) => format!("it Failed{}", who_failed(life)),
        Some((Phase::Failed, reason)) => {
            let message = phase.map_or("", |phase| phase.message.as_str());
            let message = if message.is_empty() { String::new() } else { format!(" ({})", clause(message)) };
            format!("it Failed with reason {reason}{message}")
        }
        Some((Phase::Succeeded, _)) => "it Succeeded: every container ended with exit code 0".to_owned(),
        Some((Phase::Pending | Phase::Running, _)) | None => "it was removed before it had ended".to_owned(),
    };
    let asked = life.asked.first().map_or_else(String::new, |asked| format!(", after it was {}", asked_text(asked)));
    let answer = Answer::new(Question::State, "pod", format!("Pod {full_name} is gone: {how}{asked}."));
    let answer = evidence_of_asking(life, answer);
    answer.with_some(phase.map(|phase| phase.at), phase.map_or_else(String::new, |phase| format!("{:?} was published", phase.phase)))
}

/// `: container app ended with exit code 3`
fn who_failed(life: &Life) -> String {
    let failed = life.containers.iter().filter_map(|container| {
        let exit = container.newest()?.exit.as_ref().filter(|exit| exit.code != 0)?;
        Some(format!("{} ended with exit code {}", container.name, exit.code))
    });
    let failed: Vec<_> = failed.collect();
    if failed.is_empty() { String::new() } else { format!(": {}", failed.join(", ")) }
}

fn terminating(life: &Life, present: Present) -> Answer {
    let began = life.terminations.first().map_or(present.now, |step| step.at);
    let last = life.terminations.last();
    let grace = last.and_then(|step| step.grace_secs).or_else(|| life.spec.as_ref().map(|spec| spec.termination_grace_period_secs));
    let used = span_text(present.now.since(began));
    let grace = grace.map_or_else(|| format!("{used} ago"), |secs| format!("{used} of its grace of {secs} s are used"));
    let trigger = life.terminations.first().map_or("it goes", |step| trigger_text(step.trigger));
    let by = life.asked.first().and_then(|asked| asked.by.as_ref()).map_or_else(String::new, |by| format!(" (by {by})"));
    let still: Vec<_> =
        life.containers.iter().filter(|container| container.newest().is_some_and(crate::life::Instance::is_alive)).collect();
    let waits = match still.as_slice() {
        [] => "Its containers are gone; what it had is being given back.".to_owned(),
        all => format!("It waits for {}.", list(all.iter().map(|container| container.name.as_str()))),
    };
    let text = format!("The pod is on its way out because {trigger}{by}: {grace}. {waits}");
    evidence_of_asking(life, Answer::new(Question::State, "pod", text)).with(began, "the termination began")
}

fn evidence_of_asking(life: &Life, answer: Answer) -> Answer {
    life.asked.iter().fold(answer, |answer, asked| answer.with(asked.at, asked_text(asked)))
}

/// `deleted with a grace of 5 s by Ctrl-C`
fn asked_text(asked: &crate::life::Asked) -> String {
    let what = match asked.kill.trigger {
        KillTrigger::Deleted => "deleted",
        KillTrigger::Evicted => "evicted",
        KillTrigger::Preempted => "preempted",
        KillTrigger::NodeShutdown => "stopped because the node shuts down,",
        KillTrigger::Rejected => "stopped because the node does not take it any more,",
        KillTrigger::DeadlineExceeded | KillTrigger::Completed | KillTrigger::InitFailed | KillTrigger::ProbeFailed => "ended",
    };
    let grace = match asked.kill.grace {
        Grace::FromSpec => "with the grace of its spec".to_owned(),
        Grace::Seconds(secs) => format!("with a grace of {secs} s"),
        Grace::AtOnce => "without any grace".to_owned(),
    };
    let by = asked.by.as_ref().map_or_else(String::new, |by| format!(" by {by}"));
    format!("{what} {grace}{by}")
}

fn living(life: &Life, present: Present) -> Answer {
    if let Some(answer) = sandbox(life, present) {
        return answer;
    }
    let is_ready = life.ready.last().is_some_and(|(_, is_ready)| *is_ready);
    let phase = life.phase().map_or(Phase::Pending, |phase| phase.phase);
    let since = life.ready.last().map(|(at, _)| *at);
    if is_ready {
        let age = since.map_or_else(String::new, |at| format!(" and has been Ready for {}", span_text(present.now.since(at))));
        return Answer::new(Question::State, "pod", format!("The pod is {phase:?}{age}.")).with_some(since, "it became Ready");
    }
    let unready: Vec<_> = life
        .containers
        .iter()
        .filter(|one| !one.is_ready && !matches!(one.role, lifecycle::Role::Init | lifecycle::Role::Ephemeral))
        .collect();
    let text = match unready.as_slice() {
        [] => format!("The pod is {phase:?}."),
        all => {
            let verb = if all.len() == 1 { "is" } else { "are" };
            let names = list(all.iter().map(|one| one.name.as_str()));
            format!("The pod is {phase:?} and not Ready because {names} {verb} not Ready.")
        }
    };
    Answer::new(Question::NotReady, "pod", text).with_some(since, "it stopped being Ready")
}

/// What is to be said of a sandbox that is not there.
fn sandbox(life: &Life, present: Present) -> Option<Answer> {
    let sandbox = life.sandboxes.last()?;
    if sandbox.ready_at.is_some() {
        return None;
    }
    let failures = life.sandboxes.iter().filter(|sandbox| sandbox.failed.is_some()).count() as u64;
    if let Some(failure) = &sandbox.failed {
        let text = format!(
            "The pod waits for its sandbox, which could not be made {} ({}): {}. It is tried again.",
            times(failures),
            failure.reason,
            clause(&failure.message),
        );
        return Some(Answer::new(Question::State, "pod", text).with(failure.at, format!("{}: {}", failure.reason, failure.message)));
    }
    let lost = life.sandboxes.iter().rev().find_map(|sandbox| sandbox.lost.as_ref());
    let again = lost.map_or_else(String::new, |(_, message)| format!(" again, because the one before was lost ({})", clause(message)));
    let took = span_text(present.now.since(sandbox.asked_at));
    let answer = Answer::new(Question::State, "pod", format!("The pod waits for its sandbox: it has been made{again} for {took}."));
    let answer = answer.with(sandbox.asked_at, "the sandbox was asked for");
    Some(answer.with_some(lost.map(|(at, _)| *at), "the sandbox before was lost"))
}

/// A moment for people: time since the pod began, and time of the day.
pub fn moment_text(life: &Life, at: Timestamp) -> String {
    let age = life.age(at);
    format!("{:>5}.{:03} s  {} UTC", age.as_secs(), age.subsec_millis(), time_of_day(life.wall_nanos(at)))
}
