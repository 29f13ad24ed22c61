//! Stopping containers: preStop, stop signal, SIGKILL, all inside one grace period.
//!
//! ```text
//!  [Killing] ─▶ preStop ─▶ (sidecar: wait for the others) ─▶ stop signal ─▶ SIGKILL ─▶ exited
//!     │          at most G       at most what is left          what is left, at least 2 s
//!     └─ the countdown of the grace G begins here
//! ```
//!
//! Time used is subtracted in whole seconds, truncated down (k8s: 3.b.3). Hooks of all containers begin at once; only the
//! stop signals of sidecars are ordered (k8s: 6.c.2, 6.c.4).

use alloc::format;
use alloc::string::{String, ToString};
use core::time::Duration;

use crate::action::{Action, ActionId, EventKind, Hook, Note, StopCause};
use crate::container::{Container, Role, Stage, Stop, StopStep};
use crate::event::{HookOutcome, KillTrigger};
use crate::time::Timestamp;
use crate::worker::{PodWorker, RETRY_AFTER, Termination, Timer};

/// The least time between stop signal and SIGKILL, in whole seconds (k8s: 3.b.5).
pub const MINIMUM_STOP_WINDOW_SECS: u64 = 2;

impl PodWorker {
    /// The pod goes: whatever this container does, it ends with that.
    pub(crate) fn terminate_container(&mut self, index: usize, now: Timestamp) {
        let Some(termination) = self.termination else { return };
        match self.containers[index].stage.clone() {
            Stage::PullingImage { action } => {
                self.tell(Action::CancelPull { pull: action });
                self.containers[index].stage = Stage::Waiting;
            }
            Stage::InspectingImage { .. } => self.containers[index].stage = Stage::Waiting,
            Stage::PostStart { action, .. } => {
                self.tell(Action::CancelHook { run: action });
                self.containers[index].stage = Stage::Running;
                self.stop_for_pod(index, termination, now);
            }
            Stage::Running => self.stop_for_pod(index, termination, now),
            Stage::Stopping(stop) => {
                let end = termination.grace_secs.unwrap_or(self.spec.termination_grace_period_secs);
                self.shorten_stop(index, stop, termination.requested_at + Duration::from_secs(end), termination.at_once, now);
            }
            // `Creating` and `Starting` come back here when they are answered; the rest has no process.
            Stage::Creating { .. }
            | Stage::Starting { .. }
            | Stage::Waiting
            | Stage::BackOff { .. }
            | Stage::ImagePullFailed { .. }
            | Stage::RetryLater { .. }
            | Stage::Exited { .. }
            | Stage::Done => {}
        }
    }

    fn stop_for_pod(&mut self, index: usize, termination: Termination, now: Timestamp) {
        let grace_secs = termination.grace_secs.unwrap_or(self.spec.termination_grace_period_secs);
        let text = format!("Stopping container {}", self.containers[index].spec.name);
        let stop = NewStop { cause: StopCause::Pod(termination.trigger), text, grace_secs, began_at: termination.requested_at };
        self.begin_stop(index, stop, now);
    }

    /// A single container is stopped while its pod lives on: budget from the probe if it has one, else the spec's (k8s: 3.a.1).
    pub(crate) fn stop_alone(&mut self, index: usize, cause: StopCause, text: String, probe_grace_secs: Option<u64>, now: Timestamp) {
        let grace_secs = probe_grace_secs.unwrap_or(self.spec.termination_grace_period_secs);
        self.begin_stop(index, NewStop { cause, text, grace_secs, began_at: now }, now);
    }

    fn begin_stop(&mut self, index: usize, new: NewStop, now: Timestamp) {
        let Some(container_id) = self.containers[index].live_id().cloned() else { return };
        let container = self.containers[index].spec.name.clone();
        // k8s: 3.b.1: told before the hook and before any signal.
        self.tell_container(index, EventKind::Normal, "Killing", new.text);
        self.tell(Action::Note(Note::StopBegan {
            container: container.clone(),
            container_id: container_id.clone(),
            cause: new.cause,
            grace_secs: new.grace_secs,
            began_at: new.began_at,
        }));
        let mut stop = Stop {
            cause: new.cause,
            began_at: new.began_at,
            grace_secs: new.grace_secs,
            step: StopStep::AwaitingOrder { since: now, remaining_secs: 0 },
        };
        if self.termination.is_some_and(|termination| termination.at_once) {
            self.containers[index].stage = Stage::Stopping(stop);
            self.kill_now(index, now);
            return;
        }
        // k8s: 3.b.2, 3.e.6: without any grace there is no hook.
        match self.containers[index].spec.pre_stop.clone() {
            Some(handler) if stop.remaining_secs(now) > 0 => {
                let until = stop.end();
                let action = self.ask_for_container(index, Action::RunHook { container, container_id, hook: Hook::PreStop, handler });
                stop.step = StopStep::PreStop { action, until };
                self.containers[index].stage = Stage::Stopping(stop);
            }
            Some(_) | None => {
                let remaining_secs = stop.remaining_secs(now);
                self.containers[index].stage = Stage::Stopping(stop);
                self.after_pre_stop(index, remaining_secs, now);
            }
        }
    }

    /// k8s: 3.b.4: the hook is over; sidecars of a pod that goes wait for those that stop before them.
    fn after_pre_stop(&mut self, index: usize, remaining_secs: u64, now: Timestamp) {
        let Stage::Stopping(stop) = &mut self.containers[index].stage else { return };
        if !matches!(stop.cause, StopCause::Pod(_)) || remaining_secs == 0 {
            self.signal(index, remaining_secs, now);
            return;
        }
        stop.step = StopStep::AwaitingOrder { since: now, remaining_secs };
        if self.is_next_to_stop(index) {
            self.signal(index, remaining_secs, now);
        } else {
            let container = self.containers[index].spec.name.clone();
            self.tell(Action::Note(Note::StopOrderWait { container }));
        }
    }

    /// k8s: 6.c.3 to 6.c.6
    fn is_next_to_stop(&self, index: usize) -> bool {
        match self.containers[index].role {
            Role::Init | Role::Regular | Role::Ephemeral => true,
            Role::Sidecar => {
                let later = self.containers.iter().enumerate().filter(|(other, _)| *other != index);
                !later
                    .filter(|(other, container)| container.role == Role::Regular || (container.role == Role::Sidecar && *other > index))
                    .any(|(_, container)| container.may_run())
            }
        }
    }

    /// Sidecars whose time has come because another container is gone.
    pub(crate) fn release_sidecars(&mut self, now: Timestamp) {
        for index in (0..self.containers.len()).rev() {
            if let Stage::Stopping(Stop { step: StopStep::AwaitingOrder { since, remaining_secs }, .. }) = self.containers[index].stage
                && self.is_next_to_stop(index)
            {
                // k8s: 3.b.4: seconds waited are subtracted, truncated down.
                self.signal(index, remaining_secs.saturating_sub(now.whole_secs_since(since)), now);
            }
        }
    }

    /// k8s: 3.b.5, 3.b.6
    fn signal(&mut self, index: usize, remaining_secs: u64, now: Timestamp) {
        let Some(container_id) = self.containers[index].live_id().cloned() else { return };
        let kill_after = Duration::from_secs(remaining_secs.max(MINIMUM_STOP_WINDOW_SECS));
        let container = self.containers[index].spec.name.clone();
        self.ask_for_container(index, Action::StopContainer { container, container_id, kill_after });
        if let Stage::Stopping(stop) = &mut self.containers[index].stage {
            stop.step = StopStep::Signalled { at: now, kill_at: now + kill_after };
        }
    }

    fn kill_now(&mut self, index: usize, now: Timestamp) {
        let Some(container_id) = self.containers[index].live_id().cloned() else { return };
        let Stage::Stopping(stop) = &mut self.containers[index].stage else { return };
        let hook = match stop.step {
            StopStep::PreStop { action, .. } => Some(action),
            StopStep::AwaitingOrder { .. } | StopStep::Signalled { .. } | StopStep::Killed { .. } => None,
        };
        stop.step = StopStep::Killed { again_at: now + RETRY_AFTER };
        if let Some(run) = hook {
            self.tell(Action::CancelHook { run });
        }
        let container = self.containers[index].spec.name.clone();
        self.ask_for_container(index, Action::KillContainer { container, container_id });
    }

    /// A hook has ended.
    pub(crate) fn hook_finished(&mut self, index: usize, id: ActionId, outcome: HookOutcome, now: Timestamp) {
        match &self.containers[index].stage {
            Stage::PostStart { action, .. } if *action == id => match outcome {
                HookOutcome::Succeeded => self.start_complete(index, now),
                HookOutcome::ContainerEnded { .. } => {
                    self.post_start_failed(index, &outcome);
                    self.await_exit(index, now);
                }
                HookOutcome::ExitedNonZero { .. }
                | HookOutcome::FailedToRun { .. }
                | HookOutcome::HttpFailed { .. }
                | HookOutcome::TimedOut { .. }
                | HookOutcome::Cancelled => {
                    self.post_start_failed(index, &outcome);
                    // k8s: 2.d.11: through the normal stop path; the turn is kept until the container is gone.
                    self.stop_alone(index, StopCause::PostStartFailed, "FailedPostStartHook".to_string(), None, now);
                }
            },
            Stage::Stopping(stop) if matches!(stop.step, StopStep::PreStop { action, .. } if action == id) => {
                let remaining_secs = stop.remaining_secs(now);
                match outcome {
                    // A hook whose own work ended the container did its job; the exit is told separately.
                    HookOutcome::ContainerEnded { .. } => {
                        self.await_exit(index, now);
                        return;
                    }
                    HookOutcome::Succeeded | HookOutcome::Cancelled => {}
                    HookOutcome::ExitedNonZero { .. }
                    | HookOutcome::FailedToRun { .. }
                    | HookOutcome::HttpFailed { .. }
                    | HookOutcome::TimedOut { .. } => {
                        // k8s: 3.e.1
                        self.tell_container(index, EventKind::Warning, "FailedPreStopHook", "PreStopHook failed".to_string());
                    }
                }
                self.after_pre_stop(index, remaining_secs, now);
            }
            Stage::PostStart { .. }
            | Stage::Stopping(_)
            | Stage::Waiting
            | Stage::BackOff { .. }
            | Stage::ImagePullFailed { .. }
            | Stage::RetryLater { .. }
            | Stage::InspectingImage { .. }
            | Stage::PullingImage { .. }
            | Stage::Creating { .. }
            | Stage::Starting { .. }
            | Stage::Running
            | Stage::Exited { .. }
            | Stage::Done => {}
        }
    }

    /// The container has ended, says its hook, and its exit is about to be told: nothing is there to be signalled. Should the
    /// exit not come within what is left of the grace, SIGKILL makes sure.
    fn await_exit(&mut self, index: usize, now: Timestamp) {
        let grace_secs = self.spec.termination_grace_period_secs;
        let (cause, began_at, grace_secs) = match &self.containers[index].stage {
            Stage::Stopping(stop) => (stop.cause, stop.began_at, stop.grace_secs),
            Stage::PostStart { .. }
            | Stage::Waiting
            | Stage::BackOff { .. }
            | Stage::ImagePullFailed { .. }
            | Stage::RetryLater { .. }
            | Stage::InspectingImage { .. }
            | Stage::PullingImage { .. }
            | Stage::Creating { .. }
            | Stage::Starting { .. }
            | Stage::Running
            | Stage::Exited { .. }
            | Stage::Done => (StopCause::PostStartFailed, now, grace_secs),
        };
        let mut stop = Stop { cause, began_at, grace_secs, step: StopStep::Killed { again_at: now } };
        let window = Duration::from_secs(stop.remaining_secs(now).max(MINIMUM_STOP_WINDOW_SECS));
        stop.step = StopStep::Signalled { at: now, kill_at: now + window };
        self.containers[index].stage = Stage::Stopping(stop);
    }

    /// The container ended by itself while a hook ran: the wait is over at once, `sleep` included.
    pub(crate) fn hooks_after_exit(&mut self, index: usize, stage: Stage) {
        match stage {
            Stage::PostStart { action, .. } => {
                self.tell(Action::CancelHook { run: action });
                self.post_start_came_too_late(index);
            }
            Stage::Stopping(Stop { step: StopStep::PreStop { action, .. }, .. }) => self.tell(Action::CancelHook { run: action }),
            Stage::Stopping(_)
            | Stage::Waiting
            | Stage::BackOff { .. }
            | Stage::ImagePullFailed { .. }
            | Stage::RetryLater { .. }
            | Stage::InspectingImage { .. }
            | Stage::PullingImage { .. }
            | Stage::Creating { .. }
            | Stage::Starting { .. }
            | Stage::Running
            | Stage::Exited { .. }
            | Stage::Done => {}
        }
    }

    pub(crate) fn signal_answered(&mut self, error: Option<String>) {
        // k8s: 3.b.15: told; the kill is repeated by time until the container is gone.
        if let Some(error) = error {
            self.tell_pod(EventKind::Warning, "FailedKillPod", format!("error killing pod: {error}"));
        }
    }

    /// A termination under way gets a shorter grace: it counts at once, in every step of every stop.
    pub(crate) fn shorten_termination(&mut self, trigger: KillTrigger, grace_secs: u64, at_once: bool, now: Timestamp) {
        let Some(termination) = &mut self.termination else { return };
        let in_force = termination.grace_secs.unwrap_or(self.spec.termination_grace_period_secs);
        let end_in_force = termination.requested_at + Duration::from_secs(in_force);
        // k8s: 1.b.12: a second delete counts from the first; everything else from when it is asked.
        let counts_from = match trigger {
            KillTrigger::Deleted => *termination.deleted_at.get_or_insert(now),
            KillTrigger::DeadlineExceeded
            | KillTrigger::Evicted
            | KillTrigger::Preempted
            | KillTrigger::NodeShutdown
            | KillTrigger::Rejected
            | KillTrigger::Completed
            | KillTrigger::InitFailed
            | KillTrigger::ProbeFailed => now,
        };
        let end = (counts_from + Duration::from_secs(grace_secs)).min(end_in_force);
        let is_shorter = end < end_in_force || (at_once && !termination.at_once);
        // k8s: 3.a.8
        if !is_shorter || self.sandbox.is_past_containers() {
            return;
        }
        let grace_secs = end.whole_secs_since(termination.requested_at);
        termination.grace_secs = Some(grace_secs);
        termination.at_once |= at_once;
        self.tell(Action::Note(Note::TerminationBegan { trigger, grace_secs: Some(grace_secs), shortened: true }));
        for index in 0..self.containers.len() {
            if let Stage::Stopping(stop) = self.containers[index].stage.clone() {
                self.shorten_stop(index, stop, end, at_once, now);
            }
        }
    }

    /// Brings the end of one stop forward to `end`, never back.
    pub(crate) fn shorten_stop(&mut self, index: usize, mut stop: Stop, end: Timestamp, at_once: bool, now: Timestamp) {
        let end = end.min(stop.end());
        stop.grace_secs = end.whole_secs_since(stop.began_at);
        match &mut stop.step {
            StopStep::PreStop { until, .. } => *until = end.min(*until),
            StopStep::AwaitingOrder { since, remaining_secs } => *remaining_secs = end.whole_secs_since(*since).min(*remaining_secs),
            StopStep::Signalled { at, kill_at } => {
                *kill_at = end.max(*at + Duration::from_secs(MINIMUM_STOP_WINDOW_SECS)).min(*kill_at);
            }
            StopStep::Killed { .. } => {}
        }
        let is_killed = matches!(stop.step, StopStep::Killed { .. });
        self.containers[index].stage = Stage::Stopping(stop);
        if at_once && !is_killed {
            self.kill_now(index, now);
        }
    }

    /// The steps of a stop that leave by time.
    pub(crate) fn container_timeout(&mut self, index: usize, now: Timestamp) {
        let Stage::Stopping(stop) = &self.containers[index].stage else {
            self.start_timeout(index, now);
            return;
        };
        let remaining_secs = stop.remaining_secs(now);
        match stop.step {
            StopStep::PreStop { action, until } if until <= now => {
                let container = self.containers[index].spec.name.clone();
                self.tell(Action::Note(Note::PreStopOutOfGrace { container, run: action }));
                let text = "PreStopHook did not finish within the grace period".to_string();
                self.tell_container(index, EventKind::Warning, "FailedPreStopHook", text);
                self.tell(Action::CancelHook { run: action });
                self.after_pre_stop(index, remaining_secs, now);
            }
            // k8s: 6.c.7
            StopStep::AwaitingOrder { .. } if stop.order_end().is_some_and(|end| end <= now) => self.signal(index, 0, now),
            StopStep::Signalled { kill_at, .. } if kill_at <= now => self.kill_now(index, now),
            StopStep::Killed { again_at } if again_at <= now => {
                let name = &self.containers[index].spec.name;
                let text = format!("error killing pod: container {name} is still alive after SIGKILL");
                self.tell_pod(EventKind::Warning, "FailedKillPod", text);
                self.kill_now(index, now);
            }
            StopStep::PreStop { .. } | StopStep::AwaitingOrder { .. } | StopStep::Signalled { .. } | StopStep::Killed { .. } => {}
        }
    }

    pub(crate) fn stage_timer(&self, container: &Container) -> Option<(Timestamp, Timer)> {
        let Stage::Stopping(stop) = &container.stage else {
            return if self.termination.is_some() { None } else { Self::start_timer(container) };
        };
        let name = container.spec.name.clone();
        Some(match stop.step {
            StopStep::PreStop { until, .. } => (until, Timer::PreStopEnd { container: name }),
            StopStep::AwaitingOrder { since, .. } => (stop.order_end().unwrap_or(since), Timer::OrderEnd { container: name }),
            StopStep::Signalled { kill_at, .. } => (kill_at, Timer::KillDue { container: name }),
            StopStep::Killed { again_at } => (again_at, Timer::KillDue { container: name }),
        })
    }
}

/// What a new stop is made of.
struct NewStop {
    cause: StopCause,
    text: String,
    grace_secs: u64,
    began_at: Timestamp,
}
