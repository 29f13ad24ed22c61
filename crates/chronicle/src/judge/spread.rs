//! How long things took, over all runs of a test: the smallest, the median, the 95th percentile and the largest.

use std::collections::BTreeMap;
use std::time::Duration;

use lifecycle::{Hook, PreStopEnd, Verdict};

use super::{asked_at, first_ready, stop::enough_secs};
use crate::life::Life;

/// What a run took.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunTimes {
    /// From its creation to Ready.
    pub ready: Option<Duration>,
    /// From the delete to the end of the last container.
    pub stop: Option<Duration>,
    /// Its hooks: `app postStart`.
    pub hooks: BTreeMap<String, Duration>,
    /// Used grace, by container.
    pub grace: BTreeMap<String, Duration>,
    /// A stop was cut short, by SIGKILL or in its preStop hook: what it needs was not seen.
    pub is_cut_short: bool,
}

impl RunTimes {
    /// Reads them from a life.
    pub fn of(life: &Life) -> Self {
        let mut times = Self { ready: first_ready(life).map(|at| life.age(at)), ..Self::default() };
        let ends = life.containers.iter().filter_map(|container| container.newest()?.ended_at());
        times.stop = asked_at(life).zip(ends.max()).map(|(asked, ended)| ended.since(asked));
        for container in &life.containers {
            for run in container.instances.iter().flat_map(|instance| &instance.hooks) {
                let hook = match run.hook {
                    Hook::PostStart => "postStart",
                    Hook::PreStop => "preStop",
                };
                times.hooks.insert(format!("{} {hook}", container.name), run.took(life.read_to.timestamp()));
            }
            let Some(account) = container.newest().and_then(|instance| life.account_of(instance)) else { continue };
            times.grace.extend(account.used().map(|used| (container.name.clone(), used)));
            let hook_cut = account.pre_stop.as_ref().is_some_and(|hook| hook.end == PreStopEnd::OutOfGrace);
            times.is_cut_short |= hook_cut || account.verdict() == Verdict::Killed;
        }
        times
    }
}

/// A spread of durations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spread {
    /// How many there are.
    pub count: usize,
    /// The smallest.
    pub min: Duration,
    /// Half of them are not larger.
    pub median: Duration,
    /// Nineteen of twenty are not larger.
    pub p95: Duration,
    /// The largest.
    pub max: Duration,
}

impl Spread {
    /// Of any number of durations; `None` of none. Percentiles are values that were measured (nearest rank).
    pub fn of(times: impl IntoIterator<Item = Duration>) -> Option<Self> {
        let mut times: Vec<_> = times.into_iter().collect();
        times.sort_unstable();
        let rank = |percent: usize| times.get((times.len() * percent).div_ceil(100).saturating_sub(1)).copied();
        Some(Self { count: times.len(), min: *times.first()?, median: rank(50)?, p95: rank(95)?, max: *times.last()? })
    }
}

/// The spreads over all runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spreads {
    /// From creation to Ready.
    pub ready: Option<Spread>,
    /// From the delete to the end of the last container.
    pub stop: Option<Spread>,
    /// Hooks, as `app postStart`.
    pub hooks: BTreeMap<String, Spread>,
    /// Used grace, by container.
    pub grace: BTreeMap<String, Spread>,
    /// The smallest grace in whole seconds that would have done in every run, with a margin; `None` if nothing was
    /// stopped, or a stop was cut short.
    pub enough_secs: Option<u64>,
}

impl Spreads {
    /// Over these runs.
    pub fn over(runs: &[RunTimes]) -> Self {
        let grace = by_name(runs.iter().map(|run| &run.grace));
        Self {
            ready: Spread::of(runs.iter().filter_map(|run| run.ready)),
            stop: Spread::of(runs.iter().filter_map(|run| run.stop)),
            hooks: by_name(runs.iter().map(|run| &run.hooks)),
            enough_secs: grace.values().map(|spread| enough_secs(spread.max)).max().filter(|_| !runs.iter().any(|run| run.is_cut_short)),
            grace,
        }
    }
}

fn by_name<'a>(runs: impl Iterator<Item = &'a BTreeMap<String, Duration>>) -> BTreeMap<String, Spread> {
    let mut times: BTreeMap<&str, Vec<Duration>> = BTreeMap::new();
    for (name, time) in runs.flatten() {
        times.entry(name).or_default().push(*time);
    }
    times.into_iter().filter_map(|(name, times)| Some((name.to_owned(), Spread::of(times)?))).collect()
}
