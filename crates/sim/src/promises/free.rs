//! What holds for every pod, also for those with something that the models do not follow: rules that have all containers begin again,
//! images that are mounted.

use std::collections::BTreeMap;

use lifecycle::{ContainerState, Phase};

use super::{Promise, Verdict};
use crate::known::{Known, KnownContainer, Window, begins_all_again, windows};
use crate::story::{End, Story};

const GONE: &str = "a pod that was killed is gone in the end";
const COUNT: &str = "restart counts never fall";
const STICKY: &str = "a pod that has ended stays so";
const ALIVE: &str = "only what lives is shown as running";

/// Whether the models do not follow this story.
pub(super) fn is_free(story: &Story) -> bool {
    let mut containers = story.pod.init_containers.iter().chain(&story.pod.containers);
    containers.any(|container| !container.volume_images.is_empty()) || begins_again(story)
}

/// Whether a rule has all containers begin again; a pod that only has such rules is like any other.
fn begins_again(story: &Story) -> bool {
    let mut known = Known::new(story);
    windows(story).iter().any(|window| {
        known.hear(window);
        let mut containers = known.containers.iter();
        let by_rule = containers.any(|container| container.exit().is_some_and(|exit| begins_all_again(container.spec, exit)));
        known.see(window);
        by_rule
    })
}

/// Judges what holds for every pod.
#[derive(Debug, Default)]
pub(super) struct Free {
    counts: BTreeMap<String, u32>,
    phase: Option<Phase>,
}

impl<'a> Promise<'a> for Free {
    fn after(&mut self, known: &Known<'a>, window: &Window<'a>) -> Verdict {
        let Some(status) = window.shown else { return Ok(()) };
        for shown in status.init_container_statuses.iter().chain(&status.container_statuses) {
            let before = self.counts.insert(shown.name.clone(), shown.restart_count).unwrap_or_default();
            if shown.restart_count < before {
                return Err((COUNT, format!("{}: {} after {before}", shown.name, shown.restart_count)));
            }
            let lives = known.index(&shown.name).is_some_and(|index| known.containers[index].is_alive());
            let is_frozen = known.index(&shown.name).is_some_and(|index| known.containers[index].is_busy());
            if matches!(shown.state, ContainerState::Running { .. }) && !lives && !is_frozen {
                return Err((ALIVE, shown.name.clone()));
            }
        }
        match self.phase.replace(status.phase) {
            Some(before) if before.is_terminal() && before != status.phase => Err((STICKY, format!("{:?} after {before:?}", status.phase))),
            Some(_) | None => Ok(()),
        }
    }

    fn end(&mut self, known: &Known<'a>, story: &'a Story) -> Verdict {
        if story.end == End::Gone && !known.containers.iter().any(KnownContainer::is_alive) {
            return Ok(());
        }
        Err((GONE, format!("{:?}", story.end)))
    }
}
