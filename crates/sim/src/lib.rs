//! Simulation: the lifecycle machine in virtual time, in a world that is only data.
//!
//! A seed gives a pod, a world and a course of events ([`plan`]); the machine is driven through it ([`drive`]), and what
//! happened is judged by promises that know nothing of the machine's inside ([`promises`]). A seed that breaks a promise is
//! played again with `cargo xtask sim --seed N`.
//!
//! The same world, with other natures, plays the scenarios of `lifecycle` and the recordings of a reference node.

pub mod chance;
pub mod drive;
pub mod journal;
pub mod known;
pub mod nature;
pub mod plan;
pub mod promises;
pub mod story;
pub mod timeline;
pub mod trace;
pub mod whim;
pub mod world;

mod shrink;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use lifecycle::Timestamp;

use crate::drive::Drive;
use crate::plan::Plan;
use crate::promises::Broken;
use crate::story::Story;
use crate::whim::Whim;

/// The virtual clock begins somewhere, so that nothing counts from zero by accident.
const START: Timestamp = Timestamp::from_nanos(3_600_000_000_007);
/// So long after the last delete everything must be gone: the longest grace and the longest steps of the runtime together.
const AFTERMATH: Duration = Duration::from_secs(3600);

/// What a seed came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The seed.
    pub seed: u64,
    /// How many things happened.
    pub entries: usize,
    /// The first promise that was not kept.
    pub broken: Option<Broken>,
}

/// Plays a seed and judges it.
pub fn run(seed: u64) -> Outcome {
    let story = play(&Plan::of(seed));
    Outcome { seed, entries: story.entries.len(), broken: promises::judge(&story) }
}

/// Plays a plan.
pub fn play(plan: &Plan) -> Story {
    let asks: Vec<_> = plan.asks.iter().map(|(after, ask)| (START + *after, ask.clone())).collect();
    let mut drive = Drive::new(plan.pod.clone(), Whim::new(plan.clone()), START, asks);
    if let Some(max) = plan.back_off_max {
        drive.limit_back_off(max);
    }
    drive.run(START + plan.pace.horizon() + AFTERMATH)
}

/// The story of a seed for a reader. If it breaks a promise, the smallest story that was found which breaks it too.
pub fn timeline(seed: u64) -> String {
    let plan = Plan::of(seed);
    let Some(broken) = promises::judge(&play(&plan)) else {
        return timeline::text(&play(&plan));
    };
    let (plan, broken) = shrink::shrink(plan, broken);
    let mut story = play(&plan);
    // What came later does not matter any more.
    story.entries.retain(|entry| entry.at <= broken.at);
    format!(
        "{:#?}\n{}\nbroken at {}: {}\n{}\n\nplay it again: cargo xtask sim --seed {seed}\n",
        plan.pod,
        timeline::text(&story),
        timeline::seconds(&story, broken.at),
        broken.promise,
        broken.how
    )
}

/// Plays many seeds on several threads; those that break a promise, in order.
pub fn run_many(seeds: std::ops::Range<u64>, threads: usize) -> Vec<Outcome> {
    let next = AtomicU64::new(seeds.start);
    let failed = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        return;
                    }
                    let outcome = run(seed);
                    if outcome.broken.is_some() {
                        failed.lock().unwrap_or_else(PoisonError::into_inner).push(outcome);
                    }
                }
            });
        }
    });
    let mut failed = failed.into_inner().unwrap_or_else(PoisonError::into_inner);
    failed.sort_by_key(|outcome| outcome.seed);
    failed
}
