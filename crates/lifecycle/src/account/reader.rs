//! Reads accounts from the entries of a journal, in their order.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use super::{Budget, GraceAccount, Measured, PreStopEnd, PreStopUse};
use crate::action::{Action, ActionId, ContainerId, Hook, Note, Step, StopCause};
use crate::event::{Event, Grace, HookOutcome, KillPod};
use crate::time::Timestamp;

/// What was read so far.
#[derive(Default)]
pub(super) struct Reader {
    pub(super) accounts: Vec<GraceAccount>,
    /// PreStop runs that have not ended, by the step that started them: index of the account.
    hooks: BTreeMap<ActionId, usize>,
    /// When the pod's termination began.
    terminating_since: Option<Timestamp>,
    /// The grace that was asked for, if not the pod's own.
    asked_secs: Option<u64>,
}

impl Reader {
    pub(super) fn kill(&mut self, kill: &KillPod) {
        if let Grace::Seconds(secs) = kill.grace {
            // k8s: 3.a.6
            self.asked_secs = Some(secs.max(1));
        }
    }

    /// Gives each stop what the stops of its container before it took.
    pub(super) fn look_back(&mut self) {
        let mut longest: BTreeMap<String, Measured> = BTreeMap::new();
        for account in &mut self.accounts {
            let seen = longest.entry(account.container.clone()).or_default();
            account.earlier = *seen;
            let pre_stop = account.pre_stop.as_ref().and_then(|_| account.own_pre_stop());
            *seen = Measured { pre_stop: seen.pre_stop.max(pre_stop), process: seen.process.max(account.own_process()) };
        }
    }

    pub(super) fn step(&mut self, step: &Step, at: Timestamp) {
        match &step.action {
            Action::Note(Note::StopBegan { container, container_id, cause, grace_secs, began_at }) => {
                let is_asked_for = matches!(cause, StopCause::Pod(_)) && self.asked_secs == Some(*grace_secs);
                self.accounts.push(GraceAccount {
                    container: container.clone(),
                    container_id: container_id.clone(),
                    cause: *cause,
                    grace_secs: *grace_secs,
                    budget: if is_asked_for { Budget::Request } else { Budget::Manifest },
                    began_at: *began_at,
                    pre_stop: None,
                    order_wait_at: None,
                    signalled_at: None,
                    kill_due_at: None,
                    killed_at: None,
                    exit: None,
                    earlier: Measured::default(),
                });
            }
            Action::Note(Note::TerminationBegan { grace_secs, .. }) => {
                // The first one is when the pod's grace begins to run; a container that was being stopped already has no longer.
                let since = *self.terminating_since.get_or_insert(at);
                let Some(grace_secs) = grace_secs else { return };
                let end = since + Duration::from_secs(*grace_secs);
                for account in self.accounts.iter_mut().filter(|account| account.exit.is_none()) {
                    let left = end.whole_secs_since(account.began_at);
                    if left < account.grace_secs && self.asked_secs.is_some() {
                        account.budget = Budget::Request;
                    }
                    account.grace_secs = account.grace_secs.min(left);
                }
            }
            Action::Note(Note::StopOrderWait { container }) => {
                if let Some(account) = self.open_by_name(container) {
                    account.order_wait_at = Some(at);
                }
            }
            Action::Note(Note::PreStopOutOfGrace { run, .. }) => self.end_hook(*run, PreStopEnd::OutOfGrace, at),
            Action::RunHook { container_id, hook: Hook::PreStop, .. } => {
                if let Some(index) = self.open(container_id) {
                    self.accounts[index].pre_stop = Some(PreStopUse { began_at: at, ended_at: None, end: PreStopEnd::Running });
                    self.hooks.insert(step.id, index);
                }
            }
            Action::StopContainer { container_id, kill_after, .. } => {
                if let Some(index) = self.open(container_id) {
                    self.accounts[index].signalled_at.get_or_insert(at);
                    self.accounts[index].kill_due_at.get_or_insert(at + *kill_after);
                }
            }
            Action::KillContainer { container_id, .. } => {
                if let Some(index) = self.open(container_id) {
                    self.accounts[index].killed_at.get_or_insert(at);
                }
            }
            Action::CreateSandbox { .. }
            | Action::StopSandbox
            | Action::CleanUpPod
            | Action::InspectImage { .. }
            | Action::PullImage { .. }
            | Action::CancelPull { .. }
            | Action::CreateContainer { .. }
            | Action::StartContainer { .. }
            | Action::RemoveContainer { .. }
            | Action::RunHook { .. }
            | Action::CancelHook { .. }
            | Action::MeasureRoom
            | Action::CheckMemory { .. }
            | Action::ResizePod { .. }
            | Action::ResizeContainer { .. }
            | Action::RunProbe { .. }
            | Action::RecordEvent(_)
            | Action::Note(_) => {}
        }
    }

    pub(super) fn event(&mut self, event: &Event, at: Timestamp) {
        match event {
            Event::HookFinished { id, outcome } => {
                let end = match outcome {
                    HookOutcome::Succeeded => PreStopEnd::Succeeded,
                    HookOutcome::ContainerEnded { .. } => PreStopEnd::ContainerEnded,
                    HookOutcome::Cancelled => PreStopEnd::Cancelled,
                    HookOutcome::ExitedNonZero { .. }
                    | HookOutcome::FailedToRun { .. }
                    | HookOutcome::HttpFailed { .. }
                    | HookOutcome::TimedOut { .. } => PreStopEnd::Failed,
                };
                self.end_hook(*id, end, at);
            }
            Event::ContainerExited { container_id, exit } => {
                if let Some(index) = self.open(container_id) {
                    self.accounts[index].exit = Some(exit.clone());
                    let hook = self.accounts[index].pre_stop.as_mut().filter(|hook| hook.ended_at.is_none());
                    if let Some(hook) = hook {
                        hook.ended_at = Some(exit.finished_at);
                        hook.end = PreStopEnd::ContainerEnded;
                    }
                }
            }
            Event::SandboxReady { .. }
            | Event::SandboxFailed { .. }
            | Event::SandboxLost { .. }
            | Event::SandboxStopped { .. }
            | Event::PodCleanedUp { .. }
            | Event::ImageInspected { .. }
            | Event::ImagePulled { .. }
            | Event::ImagePullFailed { .. }
            | Event::ContainerCreated { .. }
            | Event::ContainerCreateFailed { .. }
            | Event::ContainerStarted { .. }
            | Event::ContainerStartFailed { .. }
            | Event::StopSignalled { .. }
            | Event::KillSignalled { .. }
            | Event::RoomMeasured { .. }
            | Event::Resized { .. }
            | Event::ProbeFinished { .. } => {}
        }
    }

    fn end_hook(&mut self, run: ActionId, end: PreStopEnd, at: Timestamp) {
        let Some(index) = self.hooks.remove(&run) else { return };
        if let Some(hook) = &mut self.accounts[index].pre_stop
            && hook.ended_at.is_none()
        {
            hook.ended_at = Some(at);
            hook.end = end;
        }
    }

    fn open(&self, container_id: &ContainerId) -> Option<usize> {
        self.accounts.iter().rposition(|account| account.container_id == *container_id && account.exit.is_none())
    }

    fn open_by_name(&mut self, container: &str) -> Option<&mut GraceAccount> {
        self.accounts.iter_mut().rev().find(|account| account.container == container && account.exit.is_none())
    }
}
