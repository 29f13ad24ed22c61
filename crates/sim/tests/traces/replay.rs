//! Plays a recorded case: does to our machine what was done to the reference, at the same points of its life.

use std::time::Duration;

use lifecycle::{Action, Grace, KillPod, KillTrigger, Timestamp};
use sim::drive::{Ask, Drive};
use sim::story::{Entry, Story, What};
use sim::trace::steps::{self, Condition, Step};

use crate::pod::Case;
use crate::tapp::Tapp;

/// What a request takes on its way to the node; the recordings show 10 to 80 ms.
const REQUEST: Duration = Duration::from_millis(60);
/// No case is longer.
const LONGEST: Duration = Duration::from_secs(900);

/// Plays the case to its end.
pub(crate) fn play(case: &Case) -> Story {
    let mut drive = Drive::new(case.pod.clone(), Tapp::new(&case.pod, case.commands.clone()), Timestamp::ZERO, []);
    let mut clock = Timestamp::ZERO;
    for step in steps::read(&case.steps) {
        match step {
            // The run goes on to its end anyway.
            Step::Until(Condition::Gone, _) => {}
            Step::Until(condition, patience) => {
                let until = clock + patience;
                let is_met = |drive: &Drive<Tapp>| condition.is_met(drive.shown(), told(drive.entries()));
                while !is_met(&drive) && drive.step(until) {}
                clock = if is_met(&drive) { drive.now().max(clock) } else { until };
            }
            Step::Sleep(time) => {
                clock = clock + time;
                while drive.step(clock) {}
            }
            Step::Delete(grace) => {
                let secs = grace.unwrap_or(case.pod.termination_grace_period_secs);
                let kill = KillPod { trigger: KillTrigger::Deleted, grace: Grace::Seconds(secs) };
                drive.ask(clock + REQUEST, Ask::Kill(kill));
            }
        }
    }
    drive.run(Timestamp::ZERO + LONGEST)
}

/// Reasons of the Events that were told.
fn told(entries: &[Entry]) -> impl Iterator<Item = &str> {
    entries.iter().filter_map(|entry| match &entry.what {
        What::Did(step) => {
            let Action::RecordEvent(record) = &step.action else { return None };
            Some(record.reason.as_str())
        }
        What::Asked(..)
        | What::Updated(_)
        | What::RoomChanged
        | What::Told(_)
        | What::ToldAgain(_)
        | What::Due(_)
        | What::Shown(_)
        | What::Fact(_)
        | What::EngineStopped
        | What::EngineStarted => None,
    })
}
