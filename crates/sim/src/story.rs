//! What happened in one run, in order: what was asked and told, what the machine did and showed, what was really so.

use std::time::Duration;

use lifecycle::{Event, EvictionCause, KillPod, PodSpec, PodStatus, Step, Timer, Timestamp};

use crate::world::Fact;

/// One run of one pod.
#[derive(Clone, Debug)]
pub struct Story {
    /// The pod.
    pub pod: PodSpec,
    /// The node's longest pause between crashes.
    pub back_off_max: Duration,
    /// When it began.
    pub start: Timestamp,
    /// Everything, in order; entries of one instant stand in the order in which they came about.
    pub entries: Vec<Entry>,
    /// How it ended.
    pub end: End,
}

/// One thing that happened.
#[derive(Clone, Debug)]
pub struct Entry {
    /// When.
    pub at: Timestamp,
    /// What.
    pub what: What,
}

/// Kinds of things that happen.
#[derive(Clone, Debug)]
pub enum What {
    /// Someone asked that the pod go; for an eviction, whose fault it is.
    Asked(KillPod, Option<EvictionCause>),
    /// The manifest became another one.
    Updated(Box<PodSpec>),
    /// Other pods have come or gone.
    RoomChanged,
    /// The machine was told.
    Told(Event),
    /// The machine was told something once more.
    ToldAgain(Event),
    /// Time came that the machine had asked for; the timer that was due first.
    Due(Timer),
    /// The machine asked for this.
    Did(Step),
    /// The machine showed a new status.
    Shown(Box<PodStatus>),
    /// What was really so.
    Fact(Fact),
    /// The engine stopped; the machine was written down.
    EngineStopped,
    /// The engine is back; the machine was read again.
    EngineStarted,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// Nothing of the pod is left.
    Gone,
    /// Time was up.
    TimeUp,
    /// Neither the world nor the machine has anything more to do.
    Stalled,
    /// The run itself broke a promise.
    Broken {
        /// Which.
        promise: &'static str,
        /// How.
        how: String,
    },
}

impl Story {
    /// The moment that stands last.
    pub fn end_at(&self) -> Timestamp {
        self.entries.last().map_or(self.start, |entry| entry.at)
    }

    /// Time since the start.
    pub fn age(&self, at: Timestamp) -> Duration {
        at.since(self.start)
    }

    /// The first moment from `at` on at which the engine runs.
    pub fn awake(&self, at: Timestamp) -> Timestamp {
        let mut asleep_since = None;
        for entry in &self.entries {
            match entry.what {
                What::EngineStopped => asleep_since = Some(entry.at),
                What::EngineStarted => {
                    if asleep_since.take().is_some_and(|since| since <= at) && at <= entry.at {
                        return entry.at;
                    }
                }
                What::Asked(..)
                | What::Updated(_)
                | What::RoomChanged
                | What::Told(_)
                | What::ToldAgain(_)
                | What::Due(_)
                | What::Did(_)
                | What::Shown(_)
                | What::Fact(_) => {}
            }
        }
        at
    }
}
