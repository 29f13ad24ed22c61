//! Which thresholds are met and for how long, what conditions the node has, and whether a pod has to go.
//!
//! Pure: it is told what time it is and what was read. Thresholds are met when less is there than they say; once met and acted on,
//! they stay so until what was to be reclaimed beyond them is there too. Conditions outlive their thresholds for the transition period,
//! so that a node that is just at its edge does not show another condition every ten seconds.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use lifecycle::Timestamp;

use super::signal::{NodeCondition, Signal};
use super::threshold::{EvictionConfig, Threshold};

/// Grace of a pod that a hard threshold or a limit of its own evicts, in seconds (k8s: 4.a.18).
pub const IMMEDIATE_GRACE_SECS: u64 = 1;

/// What was read of a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Observation {
    /// So much is there.
    pub available: u64,
    /// Of so much.
    pub capacity: u64,
}

/// What was read, of the signals that could be read.
pub type Observations = BTreeMap<Signal, Observation>;

/// Something that is short, and by what it is known.
#[derive(Clone, Debug, PartialEq)]
pub struct Shortage {
    /// The threshold.
    pub threshold: Threshold,
    /// What was read.
    pub observation: Observation,
}

/// What follows from one look at the node.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Verdict {
    /// The conditions that the node has.
    pub conditions: BTreeSet<NodeCondition>,
    /// What is to be reclaimed, if anything.
    pub reclaim: Option<Shortage>,
}

/// Remembers what was met when.
#[derive(Debug)]
pub struct Manager {
    config: EvictionConfig,
    /// Since when each threshold is met, by its place in the configuration.
    met_since: BTreeMap<usize, Timestamp>,
    /// Those that were acted on at the last look.
    acted_on: BTreeSet<usize>,
    /// When each condition was last seen.
    seen: BTreeMap<NodeCondition, Timestamp>,
}

impl Shortage {
    /// In numbers, below what it is short.
    pub fn level(&self) -> u64 {
        self.threshold.level.units(self.observation.capacity)
    }

    /// The grace of a pod that goes for it, of which its own is so long; both in seconds (k8s: 4.a.18, 4.a.19, 12.b.4).
    pub fn grace_secs(&self, config: &EvictionConfig, own: Option<i64>) -> u64 {
        if self.threshold.grace.is_none() {
            return IMMEDIATE_GRACE_SECS;
        }
        config.pod_grace_secs_max.min(own.and_then(|secs| u64::try_from(secs).ok()).unwrap_or(u64::MAX))
    }
}

/// What a threshold is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Beyond {
    Nothing,
    MinimumReclaim,
}

impl Manager {
    /// Nothing is known yet.
    pub const fn new(config: EvictionConfig) -> Self {
        Self { config, met_since: BTreeMap::new(), acted_on: BTreeSet::new(), seen: BTreeMap::new() }
    }

    /// The settings.
    pub const fn config(&self) -> &EvictionConfig {
        &self.config
    }

    /// Takes what was read, and says what follows.
    pub fn observe(&mut self, observations: &Observations, now: Timestamp) -> Verdict {
        let thresholds = self.config.thresholds.iter().enumerate();
        let met: BTreeSet<usize> = thresholds
            .filter(|(index, threshold)| {
                is_met(threshold, observations, Beyond::Nothing)
                    || (self.acted_on.contains(index) && is_met(threshold, observations, Beyond::MinimumReclaim))
            })
            .map(|(index, _)| index)
            .collect();
        self.met_since.retain(|index, _| met.contains(index));
        for index in &met {
            self.met_since.entry(*index).or_insert(now);
            self.seen.insert(self.config.thresholds[*index].signal.condition(), now);
        }
        self.acted_on =
            self.met_since.iter().filter(|(index, since)| self.is_due(**index, **since, now)).map(|(index, _)| *index).collect();
        Verdict { conditions: self.conditions(now), reclaim: self.shortage(observations) }
    }

    fn is_due(&self, index: usize, since: Timestamp, now: Timestamp) -> bool {
        now.since(since) >= self.config.thresholds[index].grace.unwrap_or(Duration::ZERO)
    }

    fn conditions(&self, now: Timestamp) -> BTreeSet<NodeCondition> {
        let holds = |seen: Timestamp| seen == now || now.since(seen) < self.config.transition_period;
        self.seen.iter().filter(|(_, seen)| holds(**seen)).map(|(condition, _)| *condition).collect()
    }

    /// Memory goes before everything else, and then the order of the configuration.
    fn shortage(&self, observations: &Observations) -> Option<Shortage> {
        let due = || self.acted_on.iter().map(|index| &self.config.thresholds[*index]);
        let memory = due().find(|threshold| threshold.signal == Signal::MemoryAvailable);
        let threshold = memory.or_else(|| due().next())?;
        let observation = *observations.get(&threshold.signal)?;
        Some(Shortage { threshold: threshold.clone(), observation })
    }
}

/// A signal that could not be read is short of nothing.
fn is_met(threshold: &Threshold, observations: &Observations, beyond: Beyond) -> bool {
    let Some(Observation { available, capacity }) = observations.get(&threshold.signal).copied() else { return false };
    let reclaim = match (beyond, &threshold.reclaim) {
        (Beyond::MinimumReclaim, Some(reclaim)) => reclaim.units(capacity),
        (Beyond::MinimumReclaim, None) | (Beyond::Nothing, _) => 0,
    };
    available < threshold.level.units(capacity).saturating_add(reclaim)
}

#[cfg(test)]
mod tests;
