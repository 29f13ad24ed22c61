//! Thresholds: how little of something is too little, in the syntax of the kubelet's flags.
//!
//! `memory.available<100Mi,nodefs.available<10%`; grace periods as `memory.available=1m30s`; minimum reclaim as
//! `nodefs.available=500Mi`. What is wrong is refused with the piece of text that is wrong.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::signal::Signal;
use crate::quantity::{Amount, QuantityError};

/// How much of something, as it was written.
#[derive(Clone, Debug, PartialEq)]
pub enum Level {
    /// Bytes, inodes or processes.
    Amount {
        /// As a number.
        units: u64,
        /// As it was written.
        text: String,
    },
    /// A part of all there is, 0 to 1. In the precision of the reference, so that the same number comes out of it.
    Part(f32),
}

/// Below this, pods are evicted.
#[derive(Clone, Debug, PartialEq)]
pub struct Threshold {
    /// Of what.
    pub signal: Signal,
    /// How little is too little.
    pub level: Level,
    /// So much more than that has to be there before it is enough again.
    pub reclaim: Option<Level>,
    /// For how long it may be too little: zero makes a hard threshold, of which pods have no say in their grace.
    pub grace: Option<Duration>,
}

/// When pods are evicted, and how.
#[derive(Clone, Debug, PartialEq)]
pub struct EvictionConfig {
    /// Hard ones first, each in the order in which it was given.
    pub thresholds: Vec<Threshold>,
    /// The longest grace of a pod that is evicted by a soft threshold, in seconds (`evictionMaxPodGracePeriod`).
    pub pod_grace_secs_max: u64,
    /// For how long a condition of the node stays after the last time that it held (`evictionPressureTransitionPeriod`).
    pub transition_period: Duration,
    /// Time between two looks at the node.
    pub every: Duration,
}

/// What the flags or the configuration say, word for word.
#[derive(Clone, Copy, Debug, Default)]
pub struct EvictionTexts<'a> {
    /// `evictionHard`; `None` for the reference's defaults, empty for none at all.
    pub hard: Option<&'a str>,
    /// `evictionSoft`.
    pub soft: &'a str,
    /// `evictionSoftGracePeriod`.
    pub soft_grace_period: &'a str,
    /// `evictionMinimumReclaim`.
    pub minimum_reclaim: &'a str,
}

/// A setting that cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EvictionConfigError {
    /// Not of the form that is asked for.
    #[error("{piece:?} is not of the form {form}")]
    Form {
        /// What was written.
        piece: String,
        /// How it should look.
        form: &'static str,
    },
    /// There is no such signal.
    #[error("{name:?} is no eviction signal; there are {}", Signal::ALL.map(Signal::name).join(", "))]
    Signal {
        /// What was written.
        name: String,
    },
    /// The same signal twice.
    #[error("{signal} is given twice")]
    Twice {
        /// Which.
        signal: Signal,
    },
    /// No quantity.
    #[error("the value of {signal} is wrong")]
    Quantity {
        /// Of which signal.
        signal: Signal,
        /// Why.
        source: QuantityError,
    },
    /// Nothing, less than nothing, or more than all.
    #[error("the value {value:?} of {signal} is not above zero, or is above 100%")]
    Range {
        /// Of which signal.
        signal: Signal,
        /// What was written.
        value: String,
    },
    /// A soft threshold without a grace period.
    #[error("the soft threshold of {signal} has no grace period; give one, such as {signal}=1m30s")]
    NoGrace {
        /// Of which signal.
        signal: Signal,
    },
    /// No duration.
    #[error("the grace period {value:?} of {signal} is no duration; write for example 30s or 1m30s")]
    Duration {
        /// Of which signal.
        signal: Signal,
        /// What was written.
        value: String,
    },
}

/// The reference's hard thresholds on Linux.
pub const HARD_DEFAULT: &str =
    "memory.available<100Mi,nodefs.available<10%,nodefs.inodesFree<5%,imagefs.available<15%,imagefs.inodesFree<5%";
/// `evictionPressureTransitionPeriod` of the reference.
pub const TRANSITION_PERIOD_DEFAULT: Duration = Duration::from_secs(5 * 60);
/// Time between two looks of the reference.
pub const EVERY_DEFAULT: Duration = Duration::from_secs(10);

impl Level {
    /// As a number, of all there is. Rounded as the reference does it.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a part of a number is no larger than it")]
    pub fn units(&self, capacity: u64) -> u64 {
        match self {
            Self::Amount { units, .. } => *units,
            Self::Part(part) => (capacity as f64 * f64::from(*part)) as u64,
        }
    }

    fn parse(signal: Signal, text: &str) -> Result<Option<Self>, EvictionConfigError> {
        let range = || EvictionConfigError::Range { signal, value: text.to_owned() };
        if let Some(percent) = text.strip_suffix('%') {
            let percent: f32 = percent.parse().map_err(|_| range())?;
            return match percent {
                // What can never, or must always, be below is no threshold.
                0.0 | 100.0 => Ok(None),
                percent if percent > 0.0 && percent < 100.0 => Ok(Some(Self::Part(percent / 100.0))),
                _ => Err(range()),
            };
        }
        let amount = Amount::parse(&Quantity(text.to_owned())).map_err(|source| EvictionConfigError::Quantity { signal, source })?;
        match u64::try_from(amount.units()) {
            Ok(units) if units > 0 => Ok(Some(Self::Amount { units, text: text.to_owned() })),
            Ok(_) | Err(_) => Err(range()),
        }
    }
}

impl EvictionConfig {
    /// Reads the settings; `duration` reads a grace period.
    ///
    /// # Errors
    /// When one of them cannot be understood.
    pub fn parse(texts: &EvictionTexts<'_>, duration: impl Fn(&str) -> Option<Duration>) -> Result<Self, EvictionConfigError> {
        let graces = pairs(texts.soft_grace_period, '=', "<signal>=<duration>")?;
        let reclaims = pairs(texts.minimum_reclaim, '=', "<signal>=<quantity or percentage>")?;
        let reclaim = |signal| match reclaims.get(&signal) {
            Some(text) if Amount::parse(&Quantity((*text).to_owned())).is_ok_and(Amount::is_zero) => Ok(None),
            Some(text) => Level::parse(signal, text),
            None => Ok(None),
        };
        let mut thresholds = Vec::new();
        for (signal, text) in pairs(texts.hard.unwrap_or(HARD_DEFAULT), '<', "<signal><<quantity or percentage>")? {
            let Some(level) = Level::parse(signal, text)? else { continue };
            thresholds.push(Threshold { signal, level, reclaim: reclaim(signal)?, grace: None });
        }
        for (signal, text) in pairs(texts.soft, '<', "<signal><<quantity or percentage>")? {
            let Some(level) = Level::parse(signal, text)? else { continue };
            let value = graces.get(&signal).ok_or(EvictionConfigError::NoGrace { signal })?;
            let grace = duration(value).ok_or_else(|| EvictionConfigError::Duration { signal, value: (*value).to_owned() })?;
            thresholds.push(Threshold { signal, level, reclaim: reclaim(signal)?, grace: Some(grace) });
        }
        Ok(Self { thresholds, pod_grace_secs_max: 0, transition_period: TRANSITION_PERIOD_DEFAULT, every: EVERY_DEFAULT })
    }

    /// No thresholds: nothing is ever short.
    pub const fn none() -> Self {
        Self { thresholds: Vec::new(), pod_grace_secs_max: 0, transition_period: TRANSITION_PERIOD_DEFAULT, every: EVERY_DEFAULT }
    }

    /// The hard threshold of a signal: so much of it is kept from pods.
    pub fn hard(&self, signal: Signal) -> Option<&Level> {
        self.thresholds.iter().find(|threshold| threshold.signal == signal && threshold.grace.is_none()).map(|threshold| &threshold.level)
    }
}

/// `signal<value,signal<value` by signal; nothing for an empty text.
fn pairs<'a>(text: &'a str, between: char, form: &'static str) -> Result<BTreeMap<Signal, &'a str>, EvictionConfigError> {
    let mut found = BTreeMap::new();
    if text.trim().is_empty() {
        return Ok(found);
    }
    for piece in text.split(',').map(str::trim) {
        let split = piece.split_once(between).filter(|(_, value)| !value.trim().is_empty());
        let (name, value) = split.ok_or_else(|| EvictionConfigError::Form { piece: piece.to_owned(), form })?;
        let signal = Signal::named(name.trim()).ok_or_else(|| EvictionConfigError::Signal { name: name.trim().to_owned() })?;
        if found.insert(signal, value.trim()).is_some() {
            return Err(EvictionConfigError::Twice { signal });
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests;
