//! A pod that the node has go, and that is not gone in time: that is told, and the stop goes on as it is.
//!
//! Only for what the node decides by itself. Whoever deletes a pod through the API sees for himself that it is still there.

use alloc::string::ToString;
use core::time::Duration;

use crate::action::EventKind;
use crate::event::KillTrigger;
use crate::time::Timestamp;
use crate::worker::{PodWorker, Sandbox};

/// The least time for which the node waits (k8s: 3.f.12).
const PATIENCE_MIN: Duration = Duration::from_secs(10);

/// How long the node waits for a pod that it has go with this grace (k8s: 3.f.12).
pub fn patience(grace_secs: u64) -> Duration {
    Duration::from_secs(grace_secs).saturating_mul(3).checked_div(2).unwrap_or(PATIENCE_MIN).max(PATIENCE_MIN)
}

impl PodWorker {
    /// The pod was asked to go, with this grace in seconds.
    pub(crate) fn expect_end(&mut self, trigger: KillTrigger, grace_secs: u64, now: Timestamp) {
        let is_the_nodes_wish = match trigger {
            KillTrigger::Evicted | KillTrigger::Preempted | KillTrigger::NodeShutdown => true,
            KillTrigger::Deleted
            | KillTrigger::DeadlineExceeded
            | KillTrigger::Rejected
            | KillTrigger::Completed
            | KillTrigger::InitFailed
            | KillTrigger::ProbeFailed => false,
        };
        let is_there = match self.sandbox {
            Sandbox::Creating { .. } | Sandbox::Ready { .. } | Sandbox::Stopping { .. } => true,
            Sandbox::Absent { .. } | Sandbox::CleaningUp { .. } | Sandbox::Gone { .. } => false,
        };
        if is_the_nodes_wish && is_there {
            let at = now + patience(grace_secs);
            self.overdue_at = Some(self.overdue_at.map_or(at, |known| known.min(at)));
        }
    }

    pub(crate) fn end_timeout(&mut self, now: Timestamp) {
        if self.overdue_at.is_some_and(|at| at <= now) {
            self.overdue_at = None;
            let text = "Container runtime did not kill the pod within specified grace period.";
            self.tell_pod(EventKind::Warning, "ExceededGracePeriod", text.to_string());
        }
    }
}
