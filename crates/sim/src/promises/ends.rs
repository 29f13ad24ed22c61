//! Ends: a pod goes when it must and only then, in order, and nothing of it is left.

use std::time::Duration;

use lifecycle::{Action, Event, KillTrigger, Note, RestartPolicy, Role, Timestamp};

use super::{Promise, Verdict};
use crate::known::{Known, KnownContainer, Window, is_restarted};
use crate::story::{End, Story, What};

const COMPLETE: &str = "a pod goes as soon as it is complete or cannot become so";
const DEADLINE: &str = "a pod goes at its deadline";
const CAUSE: &str = "a pod goes only for a cause";
const ORDER: &str = "the sandbox goes after the last container and the clean-up after the sandbox";
const GONE: &str = "a pod that was killed is gone in the end";

/// Judges how pods end.
#[derive(Debug)]
pub(super) struct Ends {
    last_at: Timestamp,
    stopped: bool,
    cleaned: bool,
}

impl Ends {
    pub(super) const fn new(story: &Story) -> Self {
        Self { last_at: story.start, stopped: false, cleaned: false }
    }

    fn judge_cause(known: &Known<'_>, window: &Window<'_>, trigger: KillTrigger) -> Verdict {
        let is_justified = match trigger {
            KillTrigger::Completed => is_complete(known) || is_lost_for_good(known, window),
            KillTrigger::InitFailed => has_failed_to_initialize(known),
            KillTrigger::DeadlineExceeded => deadline(known).is_some_and(|deadline| deadline <= window.at),
            // Judged with the probes.
            KillTrigger::ProbeFailed => true,
            KillTrigger::Deleted | KillTrigger::Evicted | KillTrigger::Preempted | KillTrigger::NodeShutdown | KillTrigger::Rejected => {
                matches!(window.input, Some(What::Asked(kill, _)) if kill.trigger == trigger)
            }
        };
        if is_justified { Ok(()) } else { Err((CAUSE, format!("{trigger:?}"))) }
    }
}

impl<'a> Promise<'a> for Ends {
    fn before(&mut self, known: &Known<'a>, window: &Window<'a>) -> Verdict {
        let is_later = window.at > self.last_at && !window.is_after_sleep;
        self.last_at = window.at;
        if known.termination.is_some() || !is_later {
            return Ok(());
        }
        if is_complete(known) || has_failed_to_initialize(known) {
            return Err((COMPLETE, format!("{:?}", known.containers.iter().map(KnownContainer::exit).collect::<Vec<_>>())));
        }
        match deadline(known).filter(|deadline| *deadline < window.at) {
            Some(deadline) => Err((DEADLINE, format!("it was at {deadline}"))),
            None => Ok(()),
        }
    }

    fn heard(&mut self, known: &Known<'a>, window: &Window<'a>) -> Verdict {
        for step in &window.did {
            match &step.action {
                Action::Note(Note::TerminationBegan { trigger, shortened: false, .. }) => {
                    if known.termination.is_some() {
                        return Err((CAUSE, "it begins twice".to_owned()));
                    }
                    Self::judge_cause(known, window, *trigger)?;
                }
                Action::StopSandbox => {
                    let lives = known.containers.iter().any(KnownContainer::is_alive);
                    if lives || std::mem::replace(&mut self.stopped, true) {
                        return Err((ORDER, "the sandbox is stopped too early or twice".to_owned()));
                    }
                }
                Action::CleanUpPod => {
                    let is_told = matches!(window.input, Some(What::Told(Event::SandboxStopped { .. })));
                    let is_early = self.stopped && !is_told;
                    if is_early || std::mem::replace(&mut self.cleaned, true) {
                        return Err((ORDER, "the pod is cleaned up too early or twice".to_owned()));
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn end(&mut self, known: &Known<'a>, story: &'a Story) -> Verdict {
        if story.end == End::Gone && !known.containers.iter().any(KnownContainer::is_alive) {
            return Ok(());
        }
        Err((GONE, format!("{:?}", story.end)))
    }
}

/// k8s: 8.a.15
fn deadline(known: &Known<'_>) -> Option<Timestamp> {
    known.pod.active_deadline_secs.map(|secs| known.start + Duration::from_secs(secs))
}

/// k8s: 4.a.15
fn is_complete(known: &Known<'_>) -> bool {
    let mut regular = known.containers.iter().filter(|container| container.role == Role::Regular);
    regular.all(|container| !container.is_busy() && container.exit().is_some_and(|exit| !is_restarted(known.pod, container, exit)))
}

/// k8s: 4.a.14
fn has_failed_to_initialize(known: &Known<'_>) -> bool {
    known.containers.iter().filter(|container| container.role == Role::Init).any(|container| {
        let failed = container.exit().filter(|exit| exit.code != 0 || exit.reason == "OOMKilled");
        !container.is_busy() && failed.is_some_and(|exit| !is_restarted(known.pod, container, exit))
    })
}

/// k8s: 2.b.14
fn is_lost_for_good(known: &Known<'_>, window: &Window<'_>) -> bool {
    let is_lost = matches!(window.input, Some(What::Told(Event::SandboxLost { .. })));
    is_lost && known.pod.restart_policy == RestartPolicy::Never && known.containers.iter().any(|container| container.instance.is_some())
}
