//! Verdicts over a test run: was the pod Ready in time, did its hooks succeed, was anything dropped, was its stop graceful?
//!
//! Read from the pod's journal and from what was seen from outside ([`Seen`]); whoever ran the pod and looked is not here. Each
//! verdict has its sentence, the times that prove it, and where there is one, the cure. What the journal does not tell is not guessed.

mod again;
mod junit;
mod report;
mod spread;
mod start;
mod stop;
mod traffic;

use std::time::Duration;

use lifecycle::Timestamp;

use crate::life::Life;
use crate::read::Journal;
use crate::record::Record;
use crate::why::{Answer, Evidence};

pub use again::second_start;
pub use junit::junit;
pub use report::{PodReport, RunReport, json};
pub use spread::{RunTimes, Spread, Spreads};
pub use traffic::{Reply, Request, Tally, Traffic};

/// Version of the JSON form of verdicts.
pub const VERDICTS_VERSION: u32 = 1;

/// What is judged, in the order in which it is told: causes before what follows from them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Check {
    /// Every hook that ran succeeded.
    Hooks,
    /// No container ended or was restarted before anybody asked.
    Up,
    /// The pod was Ready in time.
    Ready,
    /// The command that was run against the pod succeeded.
    While,
    /// Every request was answered until the endpoint was withdrawn.
    Traffic,
    /// The stop signal reached somebody who does something about it.
    Signal,
    /// Sidecars ended after the containers that they serve.
    Order,
    /// Nothing was killed.
    Kill,
    /// The grace is enough, with a margin.
    Grace,
    /// Started once more with the same volumes, it works again.
    SecondStart,
}

impl Check {
    /// All of them, in order.
    pub const ALL: [Self; 10] = [
        Self::Hooks,
        Self::Up,
        Self::Ready,
        Self::While,
        Self::Traffic,
        Self::Signal,
        Self::Order,
        Self::Kill,
        Self::Grace,
        Self::SecondStart,
    ];

    /// Its name, as users and programs know it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hooks => "hooks",
            Self::Up => "up",
            Self::Ready => "ready",
            Self::While => "while",
            Self::Traffic => "traffic",
            Self::Signal => "signal",
            Self::Order => "order",
            Self::Kill => "kill",
            Self::Grace => "grace",
            Self::SecondStart => "second-start",
        }
    }

    /// What it asks.
    pub const fn promise(self) -> &'static str {
        match self {
            Self::Hooks => "every hook that ran succeeded",
            Self::Up => "no container ended before anybody asked",
            Self::Ready => "the pod was Ready in time",
            Self::While => "the command that was run against it succeeded",
            Self::Traffic => "every request was answered until the endpoint was withdrawn",
            Self::Signal => "the stop signal reached somebody who acts on it",
            Self::Order => "sidecars outlived the containers that they serve",
            Self::Kill => "nothing was killed",
            Self::Grace => "the grace is enough, with a margin",
            Self::SecondStart => "started once more with the same volumes, it works again",
        }
    }

    /// The exit code of a test in which this is the first that failed: 1 to 10, in order.
    pub const fn exit_code(self) -> u8 {
        self as u8 + 1
    }
}

/// How a check went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// There was nothing to be judged.
    Skipped,
    /// As it should.
    Passed,
    /// It went well this time.
    Warned,
    /// Not as it should.
    Failed,
}

impl Outcome {
    /// Its name, as programs know it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Skipped => "skipped",
            Self::Passed => "passed",
            Self::Warned => "warned",
            Self::Failed => "failed",
        }
    }
}

/// What is to be said of one check, of the pod or of one container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// What was judged.
    pub check: Check,
    /// Whom it is about: `pod` or a container's name.
    pub whom: String,
    /// How it went.
    pub outcome: Outcome,
    /// The sentence or sentences.
    pub text: String,
    /// What it rests on, in order of time.
    pub evidence: Vec<Evidence>,
    /// What to do about it.
    pub cure: Option<String>,
}

impl Verdict {
    fn new(check: Check, whom: impl Into<String>, outcome: Outcome, text: impl Into<String>) -> Self {
        Self { check, whom: whom.into(), outcome, text: text.into(), evidence: Vec::new(), cure: None }
    }

    fn with(mut self, at: Timestamp, text: impl Into<String>) -> Self {
        self.evidence.push(Evidence { at, text: text.into() });
        self
    }

    fn with_all(self, evidence: impl IntoIterator<Item = (Timestamp, String)>) -> Self {
        evidence.into_iter().fold(self, |verdict, (at, text)| verdict.with(at, text))
    }

    fn with_some(self, at: Option<Timestamp>, text: impl Into<String>) -> Self {
        match at {
            Some(at) => self.with(at, text),
            None => self,
        }
    }

    fn with_answer(mut self, answer: Answer) -> Self {
        self.evidence.extend(answer.evidence);
        self
    }

    fn cured(mut self, cure: impl Into<String>) -> Self {
        self.cure = Some(cure.into());
        self
    }

    /// A warning as a failure.
    #[must_use]
    pub fn strictly(self) -> Self {
        match self.outcome {
            Outcome::Warned => Self { outcome: Outcome::Failed, ..self },
            Outcome::Passed | Outcome::Failed | Outcome::Skipped => self,
        }
    }

    fn ordered(mut self) -> Self {
        self.evidence.sort_by_key(|evidence| evidence.at);
        self
    }
}

/// What was seen of a run from outside.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    /// So long it was given to become Ready, from its creation on.
    pub ready_within: Duration,
    /// The command that was run against it.
    pub command: Option<CommandRun>,
    /// The requests that were sent to it.
    pub traffic: Option<Traffic>,
}

/// A command that was run against a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandRun {
    /// Its line.
    pub command: String,
    /// When it began and ended; `None` if the pod was not Ready for it.
    pub ran: Option<(Timestamp, Timestamp)>,
    /// Its exit code, if it ended by itself.
    pub exit_code: Option<i32>,
    /// Why it has none.
    pub error: Option<String>,
}

/// All verdicts over a run, in the order of the checks; `None` if the journal has no heading.
pub fn judge(journal: &Journal, seen: &Seen) -> Option<Vec<Verdict>> {
    let life = Life::of(journal)?;
    let before = before_the_request(journal).unwrap_or_else(|| life.clone());
    let mut verdicts = Vec::new();
    verdicts.extend(start::hooks(&life));
    verdicts.extend(start::up(&life));
    verdicts.extend(start::ready(&life, &before, seen.ready_within));
    verdicts.extend(seen.command.as_ref().map(start::command));
    verdicts.extend(seen.traffic.as_ref().map(|traffic| traffic::judge(&life, traffic)));
    verdicts.extend(stop::signal(&life));
    verdicts.extend(stop::order(&life));
    verdicts.extend(stop::kill(&life));
    verdicts.extend(stop::grace(&life));
    Some(verdicts.into_iter().map(Verdict::ordered).collect())
}

/// The first check that failed: its exit code is the test's.
pub fn first_failed<'a>(verdicts: impl IntoIterator<Item = &'a Verdict>) -> Option<Check> {
    verdicts.into_iter().filter(|verdict| verdict.outcome == Outcome::Failed).map(|verdict| verdict.check).min()
}

/// The life up to the first request that the pod go.
fn before_the_request(journal: &Journal) -> Option<Life> {
    let end = journal.entries.iter().position(|entry| matches!(entry.record, Record::Kill(_)))?;
    Life::of(&Journal { entries: journal.entries[..end].to_vec(), ..Journal::default() })
}

/// When it was first asked that the pod go.
fn asked_at(life: &Life) -> Option<Timestamp> {
    life.asked.first().map(|asked| asked.at)
}

/// When the pod first was Ready.
fn first_ready(life: &Life) -> Option<Timestamp> {
    life.ready.iter().find(|(_, is_ready)| *is_ready).map(|(at, _)| *at)
}
