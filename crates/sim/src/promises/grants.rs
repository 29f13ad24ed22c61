//! What containers are allocated: what the manifest says, as soon as the node's room was measured and is enough for it.
//!
//! A model for the promises, not a promise itself.

use std::collections::BTreeSet;

use lifecycle::{Action, ActionId, Event, Resources, Role, Room};

use crate::known::{Known, Window};
use crate::story::{Story, What};

/// Follows what is allocated.
#[derive(Debug)]
pub(super) struct Grants {
    /// In the order of the spec.
    allocated: Vec<Resources>,
    /// Questions for the node's room whose answers count. A loss of the sandbox makes all that was asked before it void.
    questions: BTreeSet<ActionId>,
}

/// What an answer means to a pod that wants other resources than it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// There is room: these containers are allocated something else from here on.
    Granted(Vec<usize>),
    /// There is not.
    NotNow(Room),
    /// There never will be.
    Never,
}

impl Grants {
    pub(super) fn new(story: &Story) -> Self {
        Self { allocated: story.pod.all_containers().map(|spec| spec.resources).collect(), questions: BTreeSet::new() }
    }

    /// What each container is allocated.
    pub(super) fn allocated(&self) -> &[Resources] {
        &self.allocated
    }

    /// Takes in a window whose input is known already; what an answer in it means.
    pub(super) fn hear(&mut self, known: &Known<'_>, window: &Window<'_>) -> Option<Answer> {
        let answer = match window.input {
            Some(What::Told(Event::RoomMeasured { id, room })) if known.termination.is_none() && self.questions.remove(id) => {
                self.answered(known, *room)
            }
            Some(What::Told(Event::SandboxLost { .. })) => {
                self.questions.clear();
                None
            }
            Some(_) | None => None,
        };
        self.questions.extend(window.did.iter().filter(|step| step.action == Action::MeasureRoom).map(|step| step.id));
        answer
    }

    fn answered(&mut self, known: &Known<'_>, room: Room) -> Option<Answer> {
        let wanted: Vec<_> = known.containers.iter().map(|container| container.spec.resources).collect();
        let changed: Vec<_> = (0..wanted.len()).filter(|index| wanted[*index] != self.allocated[*index]).collect();
        if changed.is_empty() {
            return None;
        }
        if fits(known, room) {
            self.allocated = wanted;
            return Some(Answer::Granted(changed));
        }
        Some(if can_fit(known, room) { Answer::NotNow(room) } else { Answer::Never })
    }
}

/// What the pod asks for at its most: an init container beside the sidecars before it, or all that runs on.
fn asked(known: &Known<'_>, of: impl Fn(&Resources) -> Option<u64>) -> u64 {
    let wanted = |index: usize| of(&known.containers[index].spec.resources).unwrap_or(0);
    let is = |role: Role| move |index: &usize| known.containers[*index].role == role;
    let all = 0..known.containers.len();
    let sidecars_before = |end: usize| (0..end).filter(is(Role::Sidecar)).map(wanted).sum::<u64>();
    let starting = all.clone().filter(is(Role::Init)).map(|index| wanted(index) + sidecars_before(index)).max().unwrap_or(0);
    let running = all.clone().filter(is(Role::Regular)).map(wanted).sum::<u64>() + sidecars_before(all.len());
    starting.max(running)
}

fn fits(known: &Known<'_>, room: Room) -> bool {
    asked(known, |wanted| wanted.cpu_request_millis) + room.used_cpu_millis <= room.cpu_millis
        && asked(known, |wanted| wanted.memory_request_bytes) + room.used_memory_bytes <= room.memory_bytes
}

fn can_fit(known: &Known<'_>, room: Room) -> bool {
    asked(known, |wanted| wanted.cpu_request_millis) <= room.cpu_millis
        && asked(known, |wanted| wanted.memory_request_bytes) <= room.memory_bytes
}
