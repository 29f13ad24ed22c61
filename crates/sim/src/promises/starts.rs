//! Starts: one at a time, in the order of the spec, exactly when they are due, and none once the pod goes.
//!
//! The model foretells for each container when it may start next; it must start then, as soon as nobody else is starting.

use std::collections::BTreeMap;
use std::time::Duration;

use lifecycle::{Action, Event, Exit, Hook, ImageInspection, ImagePullPolicy, Note, PodSpec, Role, StopCause, Timestamp};

use super::grants::{Answer, Grants};
use super::{Promise, Verdict};
use crate::known::{Known, KnownContainer, Window, is_restarted};
use crate::story::{Story, What};

const AFTER_THE_END: &str = "nothing is started once the pod goes";
const ONE_AT_A_TIME: &str = "starts are one at a time";
const TOO_EARLY: &str = "a start comes not before its time";
const TOO_LATE: &str = "a start comes when it is time and nobody else starts";
const ORDER: &str = "regular containers start in the order of the spec";
const RESTART_COUNT: &str = "the restart count rises by one with each instance";

/// k8s: 5.b.1, 5.b.6, 5.d.1
const FIRST_PAUSE: Duration = Duration::from_secs(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(300);
const QUIET_TIME: Duration = Duration::from_secs(600);
/// k8s: 5.c.2
const AFTER_A_FAILURE: Duration = Duration::from_secs(10);

/// A pause that grows.
#[derive(Clone, Copy, Debug)]
struct Pause {
    length: Duration,
    updated_at: Timestamp,
}

/// Foretells starts.
#[derive(Debug)]
pub(super) struct Starts {
    /// k8s: 5.b.13
    longest_pause: Duration,
    crash: Vec<Option<Pause>>,
    image: BTreeMap<String, Pause>,
    /// After a failed step: not before.
    retry_at: Vec<Option<Timestamp>>,
    /// A pull failed, and the pause for it is not yet told.
    pull_just_failed: Vec<bool>,
    attempts: Vec<u32>,
    /// Init containers that let the next one start, in this sandbox.
    passed: Vec<bool>,
    /// The sandbox in which the newest instance was.
    instance_epoch: Vec<u32>,
    startup_succeeded: Vec<bool>,
    /// It is stopped for another image or other resources: one that is stopped as soon as it is there lets nobody start.
    makes_place: Vec<bool>,
    grants: Grants,
    epoch: u32,
    last_at: Timestamp,
}

impl Starts {
    pub(super) fn new(story: &Story) -> Self {
        let count = story.pod.all_containers().count();
        Self {
            longest_pause: story.back_off_max,
            crash: vec![None; count],
            image: BTreeMap::new(),
            retry_at: vec![None; count],
            pull_just_failed: vec![false; count],
            attempts: vec![0; count],
            passed: vec![false; count],
            instance_epoch: vec![0; count],
            startup_succeeded: vec![false; count],
            makes_place: vec![false; count],
            grants: Grants::new(story),
            epoch: 0,
            last_at: story.start,
        }
    }

    /// When a container may start next; `None` while it must not.
    fn due(&self, known: &Known<'_>, index: usize) -> Option<Timestamp> {
        let container = &known.containers[index];
        let is_there = container.instance.as_ref().is_some_and(|instance| instance.exit.is_none());
        if is_there || container.is_busy() || !self.is_reached(known, index) {
            return None;
        }
        let mut due = self.retry_at[index].unwrap_or(known.start);
        if let Some(exit) = container.exit() {
            let has_succeeded = exit.code == 0 && exit.reason != "OOMKilled";
            let begins_anew = container.role == Role::Init && has_succeeded && self.instance_epoch[index] != known.epoch;
            if !begins_anew && !is_restarted(known.pod, container, exit) {
                return None;
            }
            due = due.max(self.end_of_pause(index, exit));
        }
        Some(due)
    }

    /// k8s: 5.b.3, 5.b.6
    fn end_of_pause(&self, index: usize, exit: &Exit) -> Timestamp {
        match self.crash[index] {
            Some(pause) if exit.finished_at.since(pause.updated_at) <= QUIET_TIME => exit.finished_at + pause.length,
            Some(_) | None => exit.finished_at,
        }
    }

    /// k8s: 6.a.1, 6.a.12, 6.b.1, 6.b.2, 6.b.6
    fn is_reached(&self, known: &Known<'_>, index: usize) -> bool {
        let earlier = (0..index).filter(|other| matches!(known.containers[*other].role, Role::Init | Role::Sidecar));
        let all_passed = earlier.into_iter().all(|other| self.passed[other]);
        match known.containers[index].role {
            Role::Init => all_passed && !self.passed[index],
            Role::Sidecar | Role::Regular => all_passed,
            // k8s: 2.b.17
            Role::Ephemeral => true,
        }
    }

    fn note_passed(&mut self, known: &Known<'_>, window: &Window<'_>) {
        for (index, container) in known.containers.iter().enumerate() {
            let began = |of: StopCause| {
                window.did.iter().any(|step| match &step.action {
                    Action::Note(Note::StopBegan { container: name, cause, .. }) => *cause == of && *name == container.spec.name,
                    _ => false,
                })
            };
            self.makes_place[index] |= began(StopCause::DefinitionChanged);
            self.makes_place[index] &= container.is_alive();
            self.passed[index] |= match container.role {
                Role::Regular | Role::Ephemeral => false,
                Role::Sidecar => {
                    let has_started = container.spec.startup_probe.is_none() || self.startup_succeeded[index];
                    let is_there = container.is_alive() && container.is_up && !self.makes_place[index];
                    is_there && has_started && self.is_reached(known, index)
                }
                Role::Init => {
                    let has_succeeded = container.exit().is_some_and(|exit| exit.code == 0 && exit.reason != "OOMKilled");
                    has_succeeded && self.instance_epoch[index] == known.epoch && self.is_reached(known, index)
                }
            };
            // What is resized as soon as it is there has let the next one start before that.
            self.makes_place[index] |= began(StopCause::ResizeNeedsRestart);
        }
    }

    /// k8s: 5.b.2: the entry made at this start counts for the next exit.
    fn attempt(&mut self, known: &Known<'_>, index: usize, at: Timestamp) -> Verdict {
        let name = &known.containers[index].spec.name;
        match self.due(known, index) {
            Some(due) if due <= at => {}
            Some(due) => return Err((TOO_EARLY, format!("{name} is due at {due}"))),
            None => return Err((TOO_EARLY, format!("it is not the time of {name}"))),
        }
        let before = (0..index).filter(|other| known.containers[*other].role == Role::Regular);
        if known.containers[index].role == Role::Regular && known.epoch == 0 && before.into_iter().any(|other| self.attempts[other] == 0) {
            return Err((ORDER, format!("{name} comes before its turn")));
        }
        self.attempts[index] += 1;
        self.retry_at[index] = None;
        if let Some(exit) = known.containers[index].exit() {
            let is_fresh = self.crash[index].is_none_or(|pause| exit.finished_at.since(pause.updated_at) > QUIET_TIME);
            let longer = self.crash[index].map_or(FIRST_PAUSE, |pause| pause.length * 2);
            let length = if is_fresh { FIRST_PAUSE } else { longer }.min(self.longest_pause);
            self.crash[index] = Some(Pause { length, updated_at: at });
        }
        Ok(())
    }

    fn image_pause_end(&self, image: &str, at: Timestamp) -> Option<Timestamp> {
        self.image.get(image).map(|pause| pause.updated_at + pause.length).filter(|end| *end > at)
    }

    /// k8s: 5.d.1
    fn pull_failed(&mut self, image: &str, at: Timestamp) {
        let length = match self.image.get(image) {
            Some(pause) if at.since(pause.updated_at) <= QUIET_TIME => (pause.length * 2).min(LONGEST_PAUSE),
            Some(_) | None => FIRST_PAUSE,
        };
        self.image.insert(image.to_owned(), Pause { length, updated_at: at });
    }

    /// k8s: 5.b.7: another image begins without the pauses that the old one had earned.
    fn note_images(&mut self, known: &Known<'_>, spec: &PodSpec) {
        for (index, changed) in spec.init_containers.iter().chain(&spec.containers).enumerate() {
            if known.containers[index].spec.image != changed.image {
                self.crash[index] = None;
                self.retry_at[index] = None;
                self.pull_just_failed[index] = false;
            }
        }
    }

    /// What a failed step means for the next try; before the answer is taken in, since it ends the step.
    fn note_failures(&mut self, known: &Known<'_>, window: &Window<'_>) {
        let Some(What::Told(event)) = window.input else { return };
        let (id, at) = match event {
            Event::ImageInspected { id, .. } | Event::ImagePullFailed { id, .. } | Event::ContainerCreateFailed { id, .. } => {
                (*id, window.at)
            }
            Event::SandboxReady { .. }
            | Event::SandboxFailed { .. }
            | Event::SandboxLost { .. }
            | Event::SandboxStopped { .. }
            | Event::PodCleanedUp { .. }
            | Event::ImagePulled { .. }
            | Event::ContainerCreated { .. }
            | Event::ContainerStarted { .. }
            | Event::ContainerStartFailed { .. }
            | Event::ContainerExited { .. }
            | Event::StopSignalled { .. }
            | Event::KillSignalled { .. }
            | Event::HookFinished { .. }
            | Event::RoomMeasured { .. }
            | Event::Resized { .. }
            | Event::ProbeFinished { .. } => return,
        };
        let Some(index) = known.containers.iter().position(|container| container.start_step == Some(id)) else { return };
        let spec = known.containers[index].spec;
        match event {
            Event::ImageInspected { outcome: ImageInspection::Present { .. }, .. } => {}
            Event::ImageInspected { outcome: ImageInspection::Absent, .. } if spec.image_pull_policy != ImagePullPolicy::Never => {
                self.retry_at[index] = self.image_pause_end(&spec.image, at);
            }
            Event::ImagePullFailed { .. } => {
                self.pull_failed(&spec.image, at);
                self.retry_at[index] = self.image_pause_end(&spec.image, at);
                self.pull_just_failed[index] = true;
            }
            _ => self.retry_at[index] = Some(at + AFTER_A_FAILURE),
        }
    }

    fn judge(&mut self, known: &Known<'_>, window: &Window<'_>, action: &Action) -> Verdict {
        let Some((container, begins)) = start_action(known, action) else {
            return self.judge_image_event(known, window, action);
        };
        let Some(index) = known.index(container) else { return Ok(()) };
        if known.termination.is_some() {
            return Err((AFTER_THE_END, format!("{action:?}")));
        }
        if let Some(other) = known.containers.iter().find(|other| other.spec.name != container && other.is_busy()) {
            return Err((ONE_AT_A_TIME, format!("{action:?} while {} starts", other.spec.name)));
        }
        if let Action::CreateContainer { restart_count, .. } = action {
            let expected = known.containers[index].instance.as_ref().map_or(0, |instance| instance.restart_count + 1);
            if *restart_count != expected {
                return Err((RESTART_COUNT, format!("{container}: {restart_count} instead of {expected}")));
            }
        }
        if begins { self.attempt(known, index, window.at) } else { Ok(()) }
    }

    /// Under `Always` a start that finds its image in a pause shows in nothing but the event.
    fn judge_image_event(&mut self, known: &Known<'_>, window: &Window<'_>, action: &Action) -> Verdict {
        let Action::RecordEvent(record) = action else { return Ok(()) };
        let Some(index) = record.about.as_ref().and_then(|about| known.index(about.container())) else { return Ok(()) };
        if record.reason != "BackOff" || !record.message.starts_with("Back-off pulling image") {
            return Ok(());
        }
        let spec = known.containers[index].spec;
        if std::mem::take(&mut self.pull_just_failed[index]) || spec.image_pull_policy != ImagePullPolicy::Always {
            return Ok(());
        }
        self.attempt(known, index, window.at)?;
        self.retry_at[index] = self.image_pause_end(&spec.image, window.at);
        Ok(())
    }
}

impl<'a> Promise<'a> for Starts {
    fn before(&mut self, known: &Known<'a>, window: &Window<'a>) -> Verdict {
        let is_later = window.at > self.last_at && !window.is_after_sleep;
        let last_at = std::mem::replace(&mut self.last_at, window.at);
        if is_later && known.has_sandbox && known.termination.is_none() && !known.containers.iter().any(KnownContainer::is_busy) {
            for (index, container) in known.containers.iter().enumerate() {
                if let Some(due) = self.due(known, index)
                    && due < window.at
                {
                    return Err((TOO_LATE, format!("{} was due at {}", container.spec.name, due.max(last_at))));
                }
            }
        }
        self.note_failures(known, window);
        if let Some(What::Updated(spec)) = window.input {
            self.note_images(known, spec);
        }
        if let Some(What::Told(Event::SandboxLost { .. })) = window.input {
            self.passed.fill(false);
            self.startup_succeeded.fill(false);
        }
        Ok(())
    }

    fn heard(&mut self, known: &Known<'a>, window: &Window<'a>) -> Verdict {
        self.epoch = known.epoch;
        // k8s: 5.b.7: other resources begin without the pauses that the old ones had earned.
        if let Some(Answer::Granted(changed)) = self.grants.hear(known, window) {
            for index in changed {
                self.crash[index] = None;
            }
        }
        if let Some(What::Told(Event::ContainerCreated { id, .. })) = window.input
            && let Some(Action::CreateContainer { container, .. }) = known.step(*id)
            && let Some(index) = known.index(container)
            && known.containers[index].instance.as_ref().is_some_and(|instance| instance.started_at.is_none())
        {
            self.instance_epoch[index] = known.epoch;
            self.startup_succeeded[index] = false;
        }
        for step in &window.did {
            if let Action::Note(Note::ProbeTurned { container, probe: lifecycle::ProbeKind::Startup, success: true }) = &step.action
                && let Some(index) = known.index(container)
            {
                self.startup_succeeded[index] = true;
            }
        }
        self.note_passed(known, window);
        // Several starts can begin and end in one window; what each means for the next is taken in one by one.
        let mut known_so_far: Vec<bool> = known.containers.iter().map(KnownContainer::is_busy).collect();
        for step in &window.did {
            if let Some((container, begins)) = start_action(known, &step.action)
                && let Some(index) = known.index(container)
            {
                if begins && known_so_far.iter().any(|busy| *busy) {
                    return Err((ONE_AT_A_TIME, format!("{:?} while another one starts", step.action)));
                }
                known_so_far[index] = true;
            }
            self.judge(known, window, &step.action)?;
        }
        Ok(())
    }
}

/// Whom an action starts, and whether the start begins with it.
fn start_action<'b>(known: &Known<'_>, action: &'b Action) -> Option<(&'b str, bool)> {
    match action {
        Action::InspectImage { container, .. } => Some((container, true)),
        Action::PullImage { container, .. } => {
            let index = known.index(container)?;
            Some((container, known.containers[index].spec.image_pull_policy == ImagePullPolicy::Always))
        }
        Action::CreateContainer { container, .. }
        | Action::StartContainer { container, .. }
        | Action::RunHook { container, hook: Hook::PostStart, .. } => Some((container, false)),
        Action::CreateSandbox { .. }
        | Action::StopSandbox
        | Action::CleanUpPod
        | Action::CancelPull { .. }
        | Action::StopContainer { .. }
        | Action::KillContainer { .. }
        | Action::RemoveContainer { .. }
        | Action::RunHook { .. }
        | Action::CancelHook { .. }
        | Action::MeasureRoom
        | Action::CheckMemory { .. }
        | Action::ResizePod { .. }
        | Action::ResizeContainer { .. }
        | Action::RunProbe { .. }
        | Action::RecordEvent(_)
        | Action::Note(_) => None,
    }
}
