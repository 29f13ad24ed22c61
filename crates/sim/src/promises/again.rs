//! RestartAllContainers: an exit by such a rule has all containers of the pod begin again, at once and in the sandbox that they have
//! (rows 6.d, 4.b.1).
//!
//! ```text
//!   exit by a rule ─▶ whatever lives is stopped without a hook, in two seconds ─▶ nothing lives, all records are removed
//!                  ─▶ the first container starts, without a pause
//! ```
//!
//! Followed from the exit that is told to the start of the first container; what a lost sandbox makes of it is not followed.

use std::collections::BTreeSet;
use std::time::Duration;

use lifecycle::{Action, ContainerId, Event, Hook, Note, Role, StopCause, Timestamp};

use super::{Promise, Verdict};
use crate::known::{Known, KnownContainer, Window, begins_all_again};
use crate::story::{Story, What};

const CAUSE: &str = "all containers begin again only after an exit by a rule that says so";
const STOPPED: &str = "whatever lives is stopped at once when all containers begin again";
const WITHOUT_HOOK: &str = "a container that is to begin again is stopped in two seconds and without its hook";
const WAIT: &str = "nothing starts again before everything has ended";
const RECORDS: &str = "the record of every container is removed before the first starts again";
const FIRST: &str = "the first container starts as soon as nothing lives";

/// k8s: 4.b.1
const STOP_WINDOW: Duration = Duration::from_secs(2);

/// Follows one restart of all containers after the other.
#[derive(Debug)]
pub(super) struct Again {
    /// The exit was told, and the first container did not start yet.
    since: Option<Timestamp>,
    removed: BTreeSet<ContainerId>,
    /// Each container's stop, if one has begun.
    stops: Vec<Option<StopCause>>,
    last_at: Timestamp,
}

impl Again {
    pub(super) fn new(story: &Story) -> Self {
        let stops = vec![None; story.pod.all_containers().count()];
        Self { since: None, removed: BTreeSet::new(), stops, last_at: story.start }
    }

    fn note_exit(&mut self, known: &Known<'_>, window: &Window<'_>) {
        let Some(What::Told(event)) = window.input else { return };
        match event {
            Event::SandboxLost { .. } => self.since = None,
            Event::ContainerExited { .. } | Event::ContainerStarted { .. } | Event::ContainerStartFailed { .. } => {
                let is_due = |container: &KnownContainer<'_>| {
                    let ended = container.instance.as_ref().filter(|instance| !self.removed.contains(&instance.id));
                    ended.and_then(|instance| instance.exit.as_ref()).is_some_and(|exit| begins_all_again(container.spec, exit))
                };
                if self.since.is_none() && known.has_sandbox && known.epoch == 0 && known.containers.iter().any(is_due) {
                    self.since = Some(window.at);
                }
            }
            _ => {}
        }
    }

    fn judge(&mut self, known: &Known<'_>, window: &Window<'_>, action: &Action) -> Verdict {
        match action {
            Action::Note(Note::StopBegan { container, cause, .. }) => {
                let Some(index) = known.index(container) else { return Ok(()) };
                self.stops[index] = Some(*cause);
                let by_rule = |container: &KnownContainer<'_>| container.exit().is_some_and(|exit| begins_all_again(container.spec, exit));
                if *cause == StopCause::RestartAllContainers && !known.containers.iter().any(by_rule) {
                    return Err((CAUSE, container.clone()));
                }
            }
            Action::RunHook { container, hook: Hook::PreStop, .. } if self.stops_by_rule(known, container) => {
                return Err((WITHOUT_HOOK, format!("preStop of {container}")));
            }
            Action::StopContainer { container, kill_after, .. } if self.stops_by_rule(known, container) && *kill_after != STOP_WINDOW => {
                return Err((WITHOUT_HOOK, format!("{container} has {kill_after:?}")));
            }
            Action::RemoveContainer { container_id, .. } => {
                self.removed.insert(container_id.clone());
            }
            Action::InspectImage { container, .. } | Action::PullImage { container, .. } => {
                return self.judge_start(known, window, container);
            }
            Action::RecordEvent(record) if record.message.starts_with("Back-off pulling image") && !lives(known) => self.since = None,
            _ => {}
        }
        Ok(())
    }

    fn stops_by_rule(&self, known: &Known<'_>, container: &str) -> bool {
        known.index(container).is_some_and(|index| self.stops[index] == Some(StopCause::RestartAllContainers))
    }

    fn judge_start(&mut self, known: &Known<'_>, window: &Window<'_>, name: &str) -> Verdict {
        let Some(index) = known.index(name).filter(|index| known.containers[*index].role != Role::Ephemeral) else { return Ok(()) };
        // What is told at the same instant may come before the rule is looked at.
        let Some(since) = self.since.filter(|since| *since < window.at || !lives(known)) else { return Ok(()) };
        if lives(known) {
            return Err((WAIT, format!("{name} starts, the exit was told at {since}")));
        }
        let kept =
            beginners(known).filter_map(|container| container.instance.as_ref()).find(|instance| !self.removed.contains(&instance.id));
        if let Some(instance) = kept {
            return if since < window.at { Err((RECORDS, format!("{}", instance.id))) } else { Ok(()) };
        }
        self.since = None;
        if index == 0 { Ok(()) } else { Err((FIRST, format!("{name} comes first"))) }
    }
}

impl<'a> Promise<'a> for Again {
    fn before(&mut self, known: &Known<'a>, window: &Window<'a>) -> Verdict {
        let is_later = window.at > std::mem::replace(&mut self.last_at, window.at);
        let Some(since) = self.since.filter(|since| *since < window.at && is_later && !window.is_after_sleep) else { return Ok(()) };
        let left = known
            .containers
            .iter()
            .zip(&self.stops)
            .find(|(container, stop)| container.role != Role::Ephemeral && container.is_alive() && container.is_up && stop.is_none());
        if let Some((container, _)) = left {
            return Err((STOPPED, format!("{} goes on, the exit was told at {since}", container.spec.name)));
        }
        let ephemeral_starts = known.containers.iter().any(|container| container.role == Role::Ephemeral && container.is_busy());
        if lives(known) || ephemeral_starts {
            return Ok(());
        }
        Err((FIRST, format!("nothing lives, the exit was told at {since}")))
    }

    fn heard(&mut self, known: &Known<'a>, window: &Window<'a>) -> Verdict {
        for (container, stop) in known.containers.iter().zip(&mut self.stops) {
            stop.take_if(|_| !container.is_alive());
        }
        self.note_exit(known, window);
        let goes = |action: &Action| matches!(action, Action::Note(Note::TerminationBegan { .. }));
        if known.termination.is_some() || window.did.iter().any(|step| goes(&step.action)) {
            self.since = None;
        }
        window.did.iter().try_for_each(|step| self.judge(known, window, &step.action))
    }
}

/// Those that begin again; ephemeral containers are left alone.
fn beginners<'b>(known: &'b Known<'_>) -> impl Iterator<Item = &'b KnownContainer<'b>> {
    known.containers.iter().filter(|container| container.role != Role::Ephemeral)
}

/// Whether any of them lives, or is being made.
fn lives(known: &Known<'_>) -> bool {
    beginners(known).any(|container| {
        let step = container.start_step.and_then(|id| known.step(id));
        let is_made = matches!(step, Some(Action::CreateContainer { .. } | Action::StartContainer { .. }));
        container.is_alive() || is_made
    })
}
