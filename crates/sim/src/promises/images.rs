//! Images: a container that runs another image than the manifest names makes place for one that runs the right one.

use lifecycle::{Action, Note, Role, StopCause};

use super::{Promise, Verdict};
use crate::known::{Known, KnownContainer, Window};
use crate::story::Story;

const REPLACED: &str = "a container whose image is another one in the manifest is stopped as soon as it is there";
const CAUSE: &str = "only a container whose image is another one is stopped for that";

/// Judges replacements.
#[derive(Debug)]
pub(super) struct Images {
    stopping: Vec<bool>,
}

impl Images {
    pub(super) fn new(story: &Story) -> Self {
        Self { stopping: vec![false; story.pod.all_containers().count()] }
    }
}

impl<'a> Promise<'a> for Images {
    fn heard(&mut self, known: &Known<'a>, window: &Window<'a>) -> Verdict {
        for (index, container) in known.containers.iter().enumerate() {
            self.stopping[index] &= container.is_alive();
        }
        for step in &window.did {
            let Action::Note(Note::StopBegan { container, cause, .. }) = &step.action else { continue };
            let Some(index) = known.index(container) else { continue };
            if *cause == StopCause::DefinitionChanged && (self.stopping[index] || !is_outdated(&known.containers[index])) {
                return Err((CAUSE, container.clone()));
            }
            self.stopping[index] = true;
        }
        Ok(())
    }

    fn after(&mut self, known: &Known<'a>, _window: &Window<'a>) -> Verdict {
        if known.termination.is_some() {
            return Ok(());
        }
        let left = known.containers.iter().enumerate().find(|(index, container)| is_outdated(container) && !self.stopping[*index]);
        match left {
            Some((_, container)) => Err((REPLACED, format!("{}: {:?}", container.spec.name, container.instance))),
            None => Ok(()),
        }
    }
}

/// k8s: 4.a.8, 4.a.9, 6.a.7: plain init containers may finish with the old one.
fn is_outdated(container: &KnownContainer<'_>) -> bool {
    let is_replaceable = matches!(container.role, Role::Regular | Role::Sidecar);
    let runs_another = container.instance.as_ref().is_some_and(|instance| instance.image != container.spec.image);
    is_replaceable && container.is_alive() && container.is_up && runs_another
}
