//! In which order pods go when the machine goes down, and how long each may take (k8s: 4.a.21, 4.c.3).
//!
//! Pure. Pods are grouped by priority; a group goes after those below it, and has its own time. A pod never gets more than its own
//! grace.

use std::time::Duration;

/// Priority from which on pods are critical, and go in a group of their own.
const CRITICAL: i32 = crate::eviction::rank::CRITICAL_PRIORITY;

/// Pods of this priority and above, up to the next group, have so long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Group {
    /// The lowest priority in it.
    pub priority: i32,
    /// How long its pods may take.
    pub period: Duration,
}

/// How a node goes down.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ShutdownPlan {
    /// Ascending by priority. None at all: every pod goes at once, in its own grace.
    groups: Vec<Group>,
}

/// A plan that cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ShutdownPlanError {
    /// More is kept for critical pods than there is.
    #[error("critical pods cannot have {critical:?} of a shutdown that has {total:?} in all")]
    TooLittle {
        /// For all pods.
        total: Duration,
        /// For critical ones.
        critical: Duration,
    },
    /// The same priority twice.
    #[error("priority {priority} is given twice")]
    Twice {
        /// Which.
        priority: i32,
    },
}

/// A pod of which only this matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaver {
    /// Its uid.
    pub uid: String,
    /// Its priority; 0 without one.
    pub priority: i32,
}

/// Pods that go together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wave {
    /// How long they may take; `None`: each its own grace.
    pub period: Option<Duration>,
    /// Their uids.
    pub uids: Vec<String>,
}

impl ShutdownPlan {
    /// Every pod goes at once, in its own grace.
    pub const fn at_once() -> Self {
        Self { groups: Vec::new() }
    }

    /// `shutdownGracePeriod` and `shutdownGracePeriodCriticalPods`: the second is the last part of the first. Without time there is no
    /// plan but to go at once.
    ///
    /// # Errors
    /// When the part is larger than the whole.
    pub fn from_periods(total: Duration, critical: Duration) -> Result<Self, ShutdownPlanError> {
        let others = total.checked_sub(critical).ok_or(ShutdownPlanError::TooLittle { total, critical })?;
        if total.is_zero() {
            return Ok(Self::at_once());
        }
        Ok(Self { groups: vec![Group { priority: 0, period: others }, Group { priority: CRITICAL, period: critical }] })
    }

    /// `shutdownGracePeriodByPodPriority`.
    ///
    /// # Errors
    /// When a priority is there twice.
    pub fn from_groups(mut groups: Vec<Group>) -> Result<Self, ShutdownPlanError> {
        groups.sort_by_key(|group| group.priority);
        match groups.windows(2).find(|pair| pair[0].priority == pair[1].priority) {
            Some(pair) => Err(ShutdownPlanError::Twice { priority: pair[0].priority }),
            None => Ok(Self { groups }),
        }
    }

    /// Who goes when. Pods below the lowest group belong to it.
    pub fn waves(&self, pods: &[Leaver]) -> Vec<Wave> {
        let of =
            |wanted: &dyn Fn(i32) -> bool| pods.iter().filter(|pod| wanted(pod.priority)).map(|pod| pod.uid.clone()).collect::<Vec<_>>();
        if self.groups.is_empty() {
            return vec![Wave { period: None, uids: of(&|_| true) }];
        }
        let bounds = self.groups.iter().enumerate().map(|(index, group)| {
            let from = if index == 0 { i32::MIN } else { group.priority };
            let below = self.groups.get(index + 1).map(|next| next.priority);
            Wave { period: Some(group.period), uids: of(&|priority| priority >= from && below.is_none_or(|below| priority < below)) }
        });
        bounds.filter(|wave| !wave.uids.is_empty()).collect()
    }
}

#[cfg(test)]
mod tests;
