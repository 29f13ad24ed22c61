//! What our machine showed in virtual time, as a recording. The workload's lines are reconstructed from what was really so.

use std::collections::BTreeMap;
use std::time::Duration;

use lifecycle::{Action, ActionId, ContainerId, Handler, Hook, HookOutcome};
use sim::story::{Story, What};
use sim::trace::recording::Recording;
use sim::world::Fact;

use crate::tapp::{Output, run_command};

/// Writes down what our machine showed; `signal` is the stop signal as the workload names it.
pub(crate) fn recording(story: &Story, signal: &str) -> Recording {
    let mut recording = Recording::default();
    let mut workload = Workload::default();
    for entry in &story.entries {
        let at = story.age(entry.at).as_secs_f64();
        match &entry.what {
            What::Asked(..) => recording.step(at, "delete"),
            What::Did(step) => {
                if let Action::RecordEvent(record) = &step.action {
                    recording.event(at, record);
                }
                workload.did(&step.action, step.id);
            }
            What::Shown(status) => recording.status(at, status),
            What::Fact(fact) => {
                for (after, container, text) in workload.fact(fact, signal, story.age(entry.at)) {
                    recording.work(after.as_secs_f64(), &container, &text);
                }
            }
            What::Updated(_)
            | What::RoomChanged
            | What::Told(_)
            | What::ToldAgain(_)
            | What::Due(_)
            | What::EngineStopped
            | What::EngineStarted => {}
        }
    }
    recording.sort_work();
    recording
}

/// What the virtual world cannot write is taken out of a reference recording: requests that a server got, and what a shell
/// finds in its container.
pub(crate) fn without_details(mut reference: Recording) -> Recording {
    reference.work.retain(|subject, _| !subject.ends_with("-asked"));
    for lines in reference.work.values_mut() {
        for line in lines.iter_mut().filter(|line| line.text.starts_with("hook: hook-context")) {
            line.text = line.text.split(' ').take(3).collect::<Vec<_>>().join(" ");
        }
    }
    reference
}

/// What the workload writes, reconstructed from what was really so.
#[derive(Default)]
struct Workload {
    hooks: BTreeMap<(ContainerId, Hook), (Duration, Option<Output>)>,
    asked: BTreeMap<(ContainerId, Hook), (ActionId, Handler)>,
}

impl Workload {
    fn did(&mut self, action: &Action, id: ActionId) {
        if let Action::RunHook { container_id, hook, handler, .. } = action {
            self.asked.insert((container_id.clone(), *hook), (id, handler.clone()));
        }
    }

    fn fact(&mut self, fact: &Fact, signal: &str, now: Duration) -> Vec<(Duration, String, String)> {
        let name = |id: &ContainerId| id.0.rsplit_once('-').map_or_else(|| id.0.clone(), |(name, _)| name.to_owned());
        match fact {
            Fact::Started { id } => vec![(now, name(id), "main: start".to_owned())],
            Fact::StopSignal { id } => vec![(now, name(id), format!("main: signal {signal}"))],
            Fact::Ended { id, ending } if ending.signal.is_none() => vec![(now, name(id), format!("main: exit {}", ending.code))],
            Fact::HookBegan { id, hook } => {
                let output = match self.asked.get(&(id.clone(), *hook)) {
                    Some((_, Handler::Exec { command, .. })) => Some(run_command(command)),
                    Some(_) | None => None,
                };
                self.hooks.insert((id.clone(), *hook), (now, output));
                Vec::new()
            }
            Fact::HookEnded { id, hook, outcome } => {
                let Some((began, Some(output))) = self.hooks.remove(&(id.clone(), *hook)) else { return Vec::new() };
                let is_whole = !matches!(outcome, HookOutcome::Cancelled | HookOutcome::ContainerEnded { .. });
                let lines = output.lines.into_iter().filter(|(after, _)| is_whole || began + *after < now);
                lines.map(|(after, text)| (began + after, name(id), text)).collect()
            }
            Fact::Ended { .. } | Fact::SandboxLost | Fact::Misuse(_) => Vec::new(),
        }
    }
}
