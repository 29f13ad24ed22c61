//! Resizes: containers get what the manifest says if the node has room for it, and only then; nothing else of the pod waits for that.
//!
//! Judged on what was asked of the runtime and answered by it. That the pod's group always has room for its containers is the world's
//! to see.

use std::collections::BTreeMap;
use std::time::Duration;

use lifecycle::{Action, ConditionKind, Event, Note, ResizeRestart, Resources, Room, StopCause, Timestamp};

use super::grants::{Answer, Grants};
use super::{Promise, Verdict};
use crate::known::{Known, Window};
use crate::story::{Story, What};

const GRANTED: &str = "a container gets no more than the node has room for";
const SHOWN: &str = "what is shown of resources is what the runtime was told last";
const DONE: &str = "a resize is over when everything that runs has what the manifest says";
const ASKED: &str = "a resize that was deferred is asked for again in time";
const WHOLE: &str = "nothing of a resize is written while memory that it takes is in use";
const POLICY: &str = "a resize restarts only containers whose policy says so";

/// As the reference has it.
const RETRY: Duration = Duration::from_secs(180);

/// Judges resizes.
#[derive(Debug)]
pub(super) struct Resizes {
    grants: Grants,
    /// What each container has, in the order of the spec.
    in_use: Vec<Resources>,
    deferred_since: Option<Timestamp>,
    room: Option<Room>,
    steps: BTreeMap<lifecycle::ActionId, (usize, Resources)>,
    check: Check,
    last_at: Timestamp,
}

/// What is known of the memory that a resize takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Check {
    /// Nothing, or that it is free.
    Open,
    /// It is being looked at.
    Asked(lifecycle::ActionId),
    /// It is in use, and nothing has ended, begun to stop or been granted since: what goes is not looked at.
    Refused,
}

impl Resizes {
    pub(super) fn new(story: &Story) -> Self {
        let grants = Grants::new(story);
        let in_use = grants.allocated().to_vec();
        Self { grants, in_use, deferred_since: None, room: None, steps: BTreeMap::new(), check: Check::Open, last_at: story.start }
    }

    fn measured(&mut self, answer: &Answer, now: Timestamp) {
        self.deferred_since = match answer {
            Answer::Granted(_) => {
                self.check = Check::Open;
                None
            }
            Answer::NotNow(room) => {
                self.room = Some(*room);
                Some(now)
            }
            Answer::Never => None,
        };
    }

    fn answered(&mut self, event: &Event) {
        match event {
            Event::Resized { id, error } if self.check == Check::Asked(*id) => {
                self.check = if error.is_some() { Check::Refused } else { Check::Open };
            }
            Event::SandboxLost { .. } | Event::ContainerExited { .. } => self.check = Check::Open,
            Event::Resized { id, error: None } => {
                if let Some((index, to)) = self.steps.remove(id) {
                    self.in_use[index] = to;
                }
            }
            _ => {}
        }
    }

    fn judge_action(&mut self, known: &Known<'_>, id: lifecycle::ActionId, action: &Action) -> Verdict {
        if matches!(action, Action::Note(Note::StopBegan { .. })) && self.check == Check::Refused {
            self.check = Check::Open;
        }
        match action {
            Action::CreateContainer { container, resources, .. } => {
                let Some(index) = known.index(container) else { return Ok(()) };
                self.in_use[index] = *resources;
                self.expect_within(index, *resources, container)
            }
            Action::CheckMemory { .. } => {
                self.check = Check::Asked(id);
                Ok(())
            }
            Action::ResizePod { .. } if self.check != Check::Open => Err((WHOLE, "the pod's group is written".to_owned())),
            Action::ResizeContainer { container, .. } if self.check != Check::Open => Err((WHOLE, format!("{container} is written"))),
            Action::ResizeContainer { container, resources, .. } => {
                let Some(index) = known.index(container) else { return Ok(()) };
                self.steps.insert(id, (index, *resources));
                self.expect_allocated(index, *resources, container)
            }
            Action::Note(Note::StopBegan { container, cause: StopCause::ResizeNeedsRestart, .. }) => {
                let Some(index) = known.index(container) else { return Ok(()) };
                let (policy, used, to) = (known.containers[index].spec.resize_policy, self.in_use[index], self.grants.allocated()[index]);
                let cpu = (used.cpu_request_millis, used.cpu_limit_millis) != (to.cpu_request_millis, to.cpu_limit_millis);
                let memory = used.memory_limit_bytes != to.memory_limit_bytes;
                let is_due =
                    cpu && policy.cpu == ResizeRestart::RestartContainer || memory && policy.memory == ResizeRestart::RestartContainer;
                if is_due { Ok(()) } else { Err((POLICY, container.clone())) }
            }
            _ => Ok(()),
        }
    }

    fn expect_allocated(&self, index: usize, resources: Resources, container: &str) -> Verdict {
        let allocated = self.grants.allocated()[index];
        if resources == allocated { Ok(()) } else { Err((GRANTED, format!("{container}: {resources:?}, {allocated:?} is allocated"))) }
    }

    /// Until the pod's group is raised, a container begins with lower limits than it is to have.
    fn expect_within(&self, index: usize, resources: Resources, container: &str) -> Verdict {
        let allocated = self.grants.allocated()[index];
        let requests = |resources: Resources| (resources.cpu_request_millis, resources.memory_request_bytes);
        let is_within = |limit: Option<u64>, allocated: Option<u64>| allocated.is_none_or(|most| limit.is_some_and(|limit| limit <= most));
        let has_room = requests(resources) == requests(allocated)
            && is_within(resources.cpu_limit_millis, allocated.cpu_limit_millis)
            && is_within(resources.memory_limit_bytes, allocated.memory_limit_bytes);
        if has_room { Ok(()) } else { Err((GRANTED, format!("{container}: {resources:?}, {allocated:?} is allocated"))) }
    }

    fn judge_shown(&self, known: &Known<'_>, window: &Window<'_>) -> Verdict {
        let Some(status) = window.shown else { return Ok(()) };
        let is_open = status.conditions.iter().any(|condition| condition.kind == ConditionKind::PodResizeInProgress);
        let waits = status.conditions.iter().any(|condition| condition.kind == ConditionKind::PodResizePending);
        for (index, container) in known.containers.iter().enumerate() {
            let all = status.init_container_statuses.iter().chain(&status.container_statuses);
            let Some(shown) = all.into_iter().find(|status| status.name == container.spec.name) else { continue };
            let Some(in_use) = shown.in_use.filter(|_| container.is_alive() && !container.is_busy()) else { continue };
            if in_use != self.in_use[index] {
                return Err((SHOWN, format!("{}: {in_use:?} instead of {:?}", shown.name, self.in_use[index])));
            }
            let is_settled = !is_open && known.termination.is_none();
            if is_settled && in_use != self.grants.allocated()[index] {
                return Err((DONE, format!("{}: {in_use:?}, {:?} is allocated", shown.name, self.grants.allocated()[index])));
            }
            if waits && self.grants.allocated()[index] != shown.allocated {
                return Err((SHOWN, format!("{}: {:?} is shown as allocated", shown.name, shown.allocated)));
            }
        }
        Ok(())
    }
}

impl<'a> Promise<'a> for Resizes {
    fn before(&mut self, known: &Known<'a>, window: &Window<'a>) -> Verdict {
        // What is due in the same instant, such as that of an engine's return, comes one after the other.
        let is_later = std::mem::replace(&mut self.last_at, window.at) < window.at;
        let is_late = self.deferred_since.is_some_and(|since| window.at > since + RETRY);
        if is_late && is_later && !window.is_after_sleep && known.termination.is_none() && !matches!(window.input, Some(What::Due(_))) {
            return Err((ASKED, format!("it waits since {:?}, the node has {:?}", self.deferred_since, self.room)));
        }
        Ok(())
    }

    fn heard(&mut self, known: &Known<'a>, window: &Window<'a>) -> Verdict {
        match window.input {
            Some(What::Told(event)) => self.answered(event),
            Some(What::Updated(_)) => self.deferred_since = None,
            Some(_) | None => {}
        }
        if let Some(answer) = self.grants.hear(known, window) {
            self.measured(&answer, window.at);
        }
        for step in &window.did {
            if step.action == Action::MeasureRoom {
                self.deferred_since = None;
            }
            self.judge_action(known, step.id, &step.action)?;
        }
        Ok(())
    }

    fn after(&mut self, known: &Known<'a>, window: &Window<'a>) -> Verdict {
        self.judge_shown(known, window)
    }
}
