//! Instances: never two alive, nothing is done to the dead, each hook once.

use std::collections::BTreeSet;

use lifecycle::{Action, ActionId, ContainerId, Event, Hook, HookOutcome};

use super::{Promise, Verdict};
use crate::known::{Known, Window};
use crate::story::What;

const DEAD: &str = "nothing is done to an instance that does not run";
const ONCE: &str = "each hook runs at most once for each instance";
const START: &str = "an instance is started once, and only the newest";
const IDS: &str = "each step has an identity of its own, and they rise";
const REMOVE: &str = "only what has ended is removed";

/// Judges what is done to instances.
#[derive(Debug, Default)]
pub(super) struct Instances {
    hooks: BTreeSet<(ContainerId, Hook)>,
    /// Their end is known from a hook that ended with them; the exit is still to be told.
    ended: BTreeSet<ContainerId>,
    started: BTreeSet<ContainerId>,
    last_step: Option<ActionId>,
}

impl<'a> Promise<'a> for Instances {
    fn before(&mut self, known: &Known<'a>, window: &Window<'a>) -> Verdict {
        let Some(What::Told(Event::HookFinished { id, outcome: HookOutcome::ContainerEnded { .. } })) = window.input else { return Ok(()) };
        let Some(Action::RunHook { container_id, hook, .. }) = known.step(*id) else { return Ok(()) };
        // Nobody waits any more for a postStart that was cancelled.
        if *hook == Hook::PreStop || known.containers.iter().any(|container| container.start_step == Some(*id)) {
            self.ended.insert(container_id.clone());
        }
        Ok(())
    }

    fn heard(&mut self, known: &Known<'a>, window: &Window<'a>) -> Verdict {
        window.did.iter().try_for_each(|step| {
            if self.last_step.replace(step.id).is_some_and(|last| last >= step.id) {
                return Err((IDS, format!("{step:?}")));
            }
            self.judge(known, &step.action)
        })
    }
}

impl Instances {
    fn judge(&mut self, known: &Known<'_>, action: &Action) -> Verdict {
        match action {
            Action::StartContainer { container_id, .. } => {
                let is_newest = known.containers.iter().any(|container| {
                    container.instance.as_ref().is_some_and(|instance| &instance.id == container_id && instance.exit.is_none())
                });
                if !is_newest || !self.started.insert(container_id.clone()) {
                    return Err((START, format!("{container_id}")));
                }
                Ok(())
            }
            Action::RunHook { container_id, hook, .. } => {
                if !self.hooks.insert((container_id.clone(), *hook)) {
                    return Err((ONCE, format!("{hook} of {container_id}")));
                }
                self.expect_alive(known, container_id, action)?;
                self.expect_not_ended(container_id, action)
            }
            Action::StopContainer { container_id, .. } => {
                self.expect_alive(known, container_id, action)?;
                self.expect_not_ended(container_id, action)
            }
            Action::KillContainer { container_id, .. }
            | Action::RunProbe { container_id, .. }
            | Action::ResizeContainer { container_id, .. } => self.expect_alive(known, container_id, action),
            Action::RemoveContainer { container_id, .. } => {
                let is_open = known.containers.iter().filter_map(|container| container.instance.as_ref());
                let is_open = is_open.into_iter().any(|instance| &instance.id == container_id && instance.exit.is_none());
                if is_open { Err((REMOVE, format!("{container_id}"))) } else { Ok(()) }
            }
            Action::CreateSandbox { .. }
            | Action::StopSandbox
            | Action::CleanUpPod
            | Action::InspectImage { .. }
            | Action::PullImage { .. }
            | Action::CancelPull { .. }
            | Action::CreateContainer { .. }
            | Action::CancelHook { .. }
            | Action::MeasureRoom
            | Action::CheckMemory { .. }
            | Action::ResizePod { .. }
            | Action::RecordEvent(_)
            | Action::Note(_) => Ok(()),
        }
    }

    fn expect_alive(&self, known: &Known<'_>, id: &ContainerId, action: &Action) -> Verdict {
        let instances = known.containers.iter().filter_map(|container| container.instance.as_ref());
        let is_alive = instances.into_iter().any(|instance| &instance.id == id && instance.is_alive());
        if is_alive { Ok(()) } else { Err((DEAD, format!("{action:?}"))) }
    }

    fn expect_not_ended(&self, id: &ContainerId, action: &Action) -> Verdict {
        if self.ended.contains(id) { Err((DEAD, format!("its hook ended with it: {action:?}"))) } else { Ok(()) }
    }
}
