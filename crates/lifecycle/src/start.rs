//! Starting containers: whose turn it is, and the steps from image to postStart.
//!
//! One start at a time, in spec order, as the reference's pass over the containers has it (k8s: 2.b.19, 2.b.20);
//! a container whose start fails or pauses does not hold up the others.

use alloc::format;
use alloc::string::{String, ToString};
use core::time::Duration;

use serde::{Deserialize, Serialize};

use crate::action::{Action, ActionId, ContainerId, EventKind, Hook, Note};
use crate::back_off::{BACK_OFF_MAX, BackOff};
use crate::container::{Container, Role, Stage, StartFailure};
use crate::event::{Exit, HookOutcome, ImageInspection};
use crate::restart;
use crate::spec::{Handler, ImagePullPolicy};
use crate::text::{go_duration, go_quote, hook_failure};
use crate::time::Timestamp;
use crate::worker::{PodWorker, RETRY_AFTER, Sandbox, Timer};

/// What went wrong with an image of this pod (k8s: 9.b.8: other pods do not share it).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ImageTrouble {
    back_off: BackOff,
    last_error: Option<(String, String)>,
}

/// Exit code that the runtime gives to a container that could not be started (k8s: 8.d.2).
const START_ERROR_CODE: i32 = 128;

impl PodWorker {
    /// Moves the init cursor over everything that lets the next container start (k8s: 6.a.1, 6.b.1, 6.b.2).
    pub(crate) fn pass_init_containers(&mut self) {
        while let Some(container) = self.containers.get(self.init_cursor) {
            let passed = match container.role {
                Role::Init => container.stage == Stage::Done && container.exit().is_some_and(|exit| !restart::init_failed(exit)),
                Role::Sidecar => container.stage == Stage::Running && container.is_started(),
                Role::Regular | Role::Ephemeral => false,
            };
            if !passed {
                return;
            }
            self.init_cursor += 1;
        }
    }

    /// Whether all init containers are passed (k8s: 6.a.12).
    pub(crate) fn is_initialized(&self) -> bool {
        self.containers.get(self.init_cursor).is_none_or(|next| matches!(next.role, Role::Regular | Role::Ephemeral))
    }

    pub(crate) fn give_turn(&mut self, now: Timestamp) {
        while self.turn.is_none()
            && matches!(self.sandbox, Sandbox::Ready { .. })
            && self.termination.is_none()
            && self.restart_all.is_none()
        {
            // k8s: 2.b.17: whoever came to look does not wait for what he looks at.
            let ephemeral =
                (0..self.containers.len()).find(|index| self.containers[*index].role == Role::Ephemeral && self.may_start(*index));
            if let Some(index) = ephemeral {
                self.take_turn(index, now);
                continue;
            }
            let next = (self.pass_cursor..self.containers.len()).find(|index| self.may_start(*index));
            let Some(index) = next.or_else(|| (0..self.pass_cursor).find(|index| self.may_start(*index))) else {
                self.pass_cursor = 0;
                return;
            };
            self.pass_cursor = index + 1;
            self.take_turn(index, now);
        }
    }

    fn may_start(&self, index: usize) -> bool {
        let container = &self.containers[index];
        let reached = match container.role {
            Role::Init => index == self.init_cursor,
            Role::Sidecar => index <= self.init_cursor,
            Role::Regular => self.is_initialized(),
            Role::Ephemeral => true,
        };
        reached && container.stage == Stage::Waiting
    }

    fn take_turn(&mut self, index: usize, now: Timestamp) {
        self.turn = Some(index);
        let frozen = self.container_status(index);
        let container = &mut self.containers[index];
        container.frozen = Some(frozen);
        // k8s: 5.b.2: the entry made at this restart applies to the next exit.
        if let Some(finished_at) = container.recorded_exit().map(|exit| exit.finished_at) {
            container.back_off.lengthen(finished_at, now, self.back_off_max);
        }
        container.volume_images_found = 0;
        self.look_for_image(index, now);
    }

    fn look_for_image(&mut self, index: usize, now: Timestamp) {
        match self.image_in_turn(index).2 {
            ImagePullPolicy::Always => self.pull_unless_backing_off(index, now),
            ImagePullPolicy::IfNotPresent | ImagePullPolicy::Never => {
                let (container, image, _) = self.image_in_turn(index);
                let action = self.ask_for_container(index, Action::InspectImage { container, image });
                self.containers[index].stage = Stage::InspectingImage { action };
            }
        }
    }

    /// The container's name, and the image that it needs next: those that it mounts, then its own (k8s: 2.c.2).
    fn image_in_turn(&self, index: usize) -> (String, String, ImagePullPolicy) {
        let container = &self.containers[index];
        let spec = &container.spec;
        match spec.volume_images.get(container.volume_images_found) {
            Some(mounted) => (spec.name.clone(), mounted.image.clone(), mounted.pull_policy),
            None => (spec.name.clone(), spec.image.clone(), spec.image_pull_policy),
        }
    }

    fn image_found(&mut self, index: usize, image_ref: String, now: Timestamp) {
        let container = &mut self.containers[index];
        if container.volume_images_found < container.spec.volume_images.len() {
            container.volume_images_found += 1;
            self.look_for_image(index, now);
        } else {
            self.create_container(index, image_ref);
        }
    }

    /// Events of an image that is mounted are about the pod (k8s: 9.b.13).
    fn tell_of_image(&mut self, index: usize, kind: EventKind, reason: &str, message: String) {
        let container = &self.containers[index];
        if container.volume_images_found < container.spec.volume_images.len() {
            self.tell_pod(kind, reason, message);
        } else {
            self.tell_container(index, kind, reason, message);
        }
    }

    pub(crate) fn image_inspected(&mut self, index: usize, id: ActionId, outcome: ImageInspection, now: Timestamp) {
        if self.containers[index].stage != (Stage::InspectingImage { action: id }) {
            return;
        }
        let (_, image, policy) = self.image_in_turn(index);
        match outcome {
            ImageInspection::Present { image_ref } => {
                let message = format!("Container image {} already present on machine and can be accessed by the pod", go_quote(&image));
                self.tell_of_image(index, EventKind::Normal, "Pulled", message);
                self.image_found(index, image_ref, now);
            }
            ImageInspection::Absent if policy == ImagePullPolicy::Never => {
                let message = format!("Container image {} is not present with pull policy of Never", go_quote(&image));
                self.tell_of_image(index, EventKind::Warning, "ErrImageNeverPull", message.clone());
                self.image_unusable(index, "ErrImageNeverPull", message, now);
            }
            ImageInspection::Absent => self.pull_unless_backing_off(index, now),
            ImageInspection::InvalidName { message } => {
                let event = format!("Failed to apply default image tag {}: {message}", go_quote(&image));
                self.tell_of_image(index, EventKind::Warning, "InspectFailed", event.clone());
                self.image_unusable(index, "InvalidImageName", event, now);
            }
            ImageInspection::Failed { message } => {
                let event = format!("Failed to inspect image {}: {message}", go_quote(&image));
                self.tell_of_image(index, EventKind::Warning, "InspectFailed", event.clone());
                self.image_unusable(index, "ImageInspectError", event, now);
            }
        }
    }

    /// k8s: 2.c.3: beside the image's own event, one on the container with the bare reason.
    fn image_unusable(&mut self, index: usize, reason: &str, message: String, now: Timestamp) {
        self.tell_container(index, EventKind::Warning, "Failed", format!("Error: {reason}"));
        self.containers[index].start_failure = Some(StartFailure { reason: reason.to_string(), message });
        self.containers[index].stage = Stage::RetryLater { until: now + RETRY_AFTER };
        self.end_turn(index);
    }

    fn pull_unless_backing_off(&mut self, index: usize, now: Timestamp) {
        let (container, image, _) = self.image_in_turn(index);
        let pause = self.image_trouble.get(&image).and_then(|trouble| trouble.back_off.pause_since_update(now));
        if let Some((_, until)) = pause {
            self.image_backs_off(index, until);
            return;
        }
        self.tell_of_image(index, EventKind::Normal, "Pulling", format!("Pulling image {}", go_quote(&image)));
        let action = self.ask_for_container(index, Action::PullImage { container, image });
        self.containers[index].stage = Stage::PullingImage { action };
    }

    /// k8s: 9.b.6, 9.b.7
    fn image_backs_off(&mut self, index: usize, until: Timestamp) {
        let (_, image, _) = self.image_in_turn(index);
        let text = format!("Back-off pulling image {}", go_quote(&image));
        self.tell_of_image(index, EventKind::Normal, "BackOff", text.clone());
        self.tell_container(index, EventKind::Warning, "Failed", "Error: ImagePullBackOff".to_string());
        let message = match self.image_trouble.get(&image).and_then(|trouble| trouble.last_error.as_ref()) {
            Some((reason, error)) => format!("{text}: {reason}: {error}"),
            None => text,
        };
        self.containers[index].start_failure = Some(StartFailure { reason: "ImagePullBackOff".to_string(), message });
        self.containers[index].stage = Stage::RetryLater { until };
        self.end_turn(index);
    }

    pub(crate) fn image_pulled(
        &mut self,
        index: usize,
        id: ActionId,
        image_ref: String,
        size_bytes: u64,
        (took, took_with_waiting): (Duration, Duration),
        now: Timestamp,
    ) {
        if self.containers[index].stage != (Stage::PullingImage { action: id }) {
            return;
        }
        // k8s: 9.b.2
        let message = format!(
            "Successfully pulled image {} in {} ({} including waiting). Image size: {size_bytes} bytes.",
            go_quote(&self.image_in_turn(index).1),
            go_duration(truncate_to_millis(took)),
            go_duration(truncate_to_millis(took_with_waiting)),
        );
        self.tell_of_image(index, EventKind::Normal, "Pulled", message);
        self.image_found(index, image_ref, now);
    }

    pub(crate) fn image_pull_failed(&mut self, index: usize, id: ActionId, reason: String, message: String, now: Timestamp) {
        if self.containers[index].stage != (Stage::PullingImage { action: id }) {
            return;
        }
        let (_, image, _) = self.image_in_turn(index);
        self.tell_of_image(index, EventKind::Warning, "Failed", format!("Failed to pull image {}: {message}", go_quote(&image)));
        self.tell_container(index, EventKind::Warning, "Failed", format!("Error: {reason}"));
        let trouble = self.image_trouble.entry(image).or_default();
        trouble.back_off.lengthen(now, now, BACK_OFF_MAX);
        trouble.last_error = Some((reason.clone(), message.clone()));
        self.containers[index].start_failure = Some(StartFailure { reason, message });
        self.containers[index].stage = Stage::ImagePullFailed { at: now };
        self.end_turn(index);
    }

    fn create_container(&mut self, index: usize, image_ref: String) {
        let restart_count = self.containers[index].next_restart_count();
        let container = self.containers[index].spec.name.clone();
        let resources = self.resources_for_start(index);
        self.containers[index].created_with = resources;
        self.containers[index].created_of = Some(self.containers[index].spec.image.clone());
        let create = Action::CreateContainer { container, restart_count, image_ref: image_ref.clone(), resources };
        let action = self.ask_for_container(index, create);
        self.containers[index].stage = Stage::Creating { action, image_ref };
    }

    pub(crate) fn container_created(&mut self, index: usize, id: ActionId, container_id: ContainerId) {
        let name = self.containers[index].spec.name.clone();
        let image_ref = match &self.containers[index].stage {
            Stage::Creating { action, image_ref } if *action == id => image_ref.clone(),
            Stage::Creating { .. }
            | Stage::Waiting
            | Stage::BackOff { .. }
            | Stage::ImagePullFailed { .. }
            | Stage::RetryLater { .. }
            | Stage::InspectingImage { .. }
            | Stage::PullingImage { .. }
            | Stage::Starting { .. }
            | Stage::PostStart { .. }
            | Stage::Running
            | Stage::Stopping(_)
            | Stage::Exited { .. }
            | Stage::Done => {
                // The sandbox that it was made for is lost.
                self.tell(Action::RemoveContainer { container: name, container_id });
                return;
            }
        };
        if self.termination.is_some() || self.restart_all.is_some() {
            // k8s: 4.b.5: never started, so there is nothing to run or to stop.
            self.tell(Action::RemoveContainer { container: name, container_id });
            self.containers[index].stage = Stage::Waiting;
            return;
        }
        self.new_instance(index, container_id.clone(), image_ref);
        self.tell_container(index, EventKind::Normal, "Created", "Container created".to_string());
        let action = self.ask_for_container(index, Action::StartContainer { container: name, container_id });
        self.containers[index].stage = Stage::Starting { action };
    }

    pub(crate) fn container_create_failed(&mut self, index: usize, id: ActionId, reason: String, message: String, now: Timestamp) {
        if !matches!(&self.containers[index].stage, Stage::Creating { action, .. } if *action == id) {
            return;
        }
        self.fail_start(index, &reason, &message);
        self.containers[index].stage = Stage::RetryLater { until: now + RETRY_AFTER };
        self.end_turn(index);
    }

    pub(crate) fn container_started(&mut self, index: usize, id: ActionId, at: Timestamp, now: Timestamp) {
        if self.containers[index].stage != (Stage::Starting { action: id }) {
            return;
        }
        if let Some(instance) = &mut self.containers[index].instance {
            instance.started_at = Some(at);
        }
        self.tell_container(index, EventKind::Normal, "Started", "Container started".to_string());
        if let Some(exit) = self.containers[index].instance.as_mut().and_then(|instance| instance.early_exit.take()) {
            if self.termination.is_none() {
                self.post_start_came_too_late(index);
            }
            self.end_instance(index, exit, now);
            return;
        }
        if self.termination.is_some() {
            // It came to life when the pod was going already: no postStart, but a proper stop inside the grace that runs.
            self.containers[index].stage = Stage::Running;
            self.terminate_container(index, now);
            return;
        }
        if self.restart_all.is_some() && self.containers[index].role != Role::Ephemeral {
            self.containers[index].stage = Stage::Running;
            self.give_way(index, now);
            return;
        }
        match (self.containers[index].spec.post_start.clone(), self.containers[index].live_id().cloned()) {
            (Some(handler), Some(container_id)) => {
                let container = self.containers[index].spec.name.clone();
                let action = self.ask_for_container(index, Action::RunHook { container, container_id, hook: Hook::PostStart, handler });
                self.containers[index].stage = Stage::PostStart { action, since: now };
            }
            (Some(_) | None, _) => self.start_complete(index, now),
        }
    }

    /// k8s: 2.d.8: the hook, if any, succeeded; from here on the container shows Running.
    pub(crate) fn start_complete(&mut self, index: usize, now: Timestamp) {
        self.containers[index].stage = Stage::Running;
        self.containers[index].start_failure = None;
        self.end_turn(index);
        self.start_probes(index, now);
        self.replace_if_outdated(index, now);
    }

    pub(crate) fn container_start_failed(&mut self, index: usize, id: ActionId, message: String, now: Timestamp) {
        if self.containers[index].stage != (Stage::Starting { action: id }) {
            return;
        }
        // k8s: 2.c.12, 8.d.2: the runtime keeps a record of an instance that never ran.
        self.fail_start(index, "RunContainerError", &message);
        let exit =
            Exit { code: START_ERROR_CODE, signal: None, reason: "StartError".to_string(), message, started_at: None, finished_at: now };
        self.end_instance(index, exit, now);
    }

    /// A command cannot run in a container that has ended, and has thereby failed (137 in the reference); a request or a sleep has not.
    pub(crate) fn post_start_came_too_late(&mut self, index: usize) {
        if matches!(self.containers[index].spec.post_start, Some(Handler::Exec { .. })) {
            self.post_start_failed(index, &HookOutcome::ContainerEnded { stdout: String::new(), stderr: String::new() });
        }
    }

    /// k8s: 2.d.9 to 2.d.11
    pub(crate) fn post_start_failed(&mut self, index: usize, outcome: &HookOutcome) {
        let Some(handler) = self.containers[index].spec.post_start.clone() else { return };
        let message = hook_failure(&handler, outcome, &self.containers[index].spec.name, &self.spec.full_name());
        self.tell_container(index, EventKind::Warning, "FailedPostStartHook", "PostStartHook failed".to_string());
        self.containers[index].start_failure = Some(StartFailure { reason: "PostStartHookError".to_string(), message });
    }

    /// The stages that leave by time and belong to starting.
    pub(crate) fn start_timeout(&mut self, index: usize, now: Timestamp) {
        match self.containers[index].stage {
            Stage::Exited { at } if at <= now && self.termination.is_none() => self.decide_restart(index, now),
            Stage::ImagePullFailed { at } if at <= now && self.termination.is_none() => {
                let (_, image, _) = self.image_in_turn(index);
                match self.image_trouble.get(&image).and_then(|trouble| trouble.back_off.pause_since_update(now)) {
                    Some((_, until)) => self.image_backs_off(index, until),
                    None => self.containers[index].stage = Stage::Waiting,
                }
            }
            Stage::BackOff { until } if until <= now && self.termination.is_none() => self.containers[index].stage = Stage::Waiting,
            // k8s: 2.c.1: the crash back-off is looked at before each start, also when the last one failed for another reason.
            Stage::RetryLater { until } if until <= now && self.termination.is_none() => self.wait_or_back_off(index, now),
            Stage::Exited { .. }
            | Stage::ImagePullFailed { .. }
            | Stage::BackOff { .. }
            | Stage::RetryLater { .. }
            | Stage::Waiting
            | Stage::InspectingImage { .. }
            | Stage::PullingImage { .. }
            | Stage::Creating { .. }
            | Stage::Starting { .. }
            | Stage::PostStart { .. }
            | Stage::Running
            | Stage::Stopping(_)
            | Stage::Done => {}
        }
    }

    fn decide_restart(&mut self, index: usize, now: Timestamp) {
        if self.restart_all.is_some() || self.restarts_all(index) {
            self.containers[index].stage = Stage::Done;
            if self.restart_all.is_none() {
                self.begin_restart_all(now);
            }
            return;
        }
        let container = &self.containers[index];
        if !container.restarts_after_exit(self.spec.restart_policy) {
            self.containers[index].stage = Stage::Done;
            return;
        }
        self.wait_or_back_off(index, now);
    }

    /// May start from here on, or after the pause that its last exit and the starts since then ask for.
    pub(crate) fn wait_or_back_off(&mut self, index: usize, now: Timestamp) {
        let container = &self.containers[index];
        let finished_at = container.recorded_exit().map(|exit| exit.finished_at);
        let pause = finished_at.and_then(|finished_at| container.back_off.pause_since(finished_at, now));
        let (Some(finished_at), Some(pause)) = (finished_at, pause) else {
            self.containers[index].stage = Stage::Waiting;
            return;
        };
        // k8s: 5.b.10
        let (name, pod) = (container.spec.name.clone(), self.spec.full_name());
        self.tell_container(index, EventKind::Warning, "BackOff", format!("Back-off restarting failed container {name} in pod {pod}"));
        let message = format!("back-off {} restarting failed container={name} pod={pod}", go_duration(pause));
        self.containers[index].start_failure = Some(StartFailure { reason: "CrashLoopBackOff".to_string(), message });
        self.containers[index].stage = Stage::BackOff { until: finished_at + pause };
        self.tell(Action::Note(Note::BackingOff { container: name, pause }));
    }

    pub(crate) fn start_timer(container: &Container) -> Option<(Timestamp, Timer)> {
        let name = container.spec.name.clone();
        match container.stage {
            Stage::Exited { at } | Stage::ImagePullFailed { at } => Some((at, Timer::NextStep { container: name })),
            Stage::BackOff { until } | Stage::RetryLater { until } => Some((until, Timer::StartRetry { container: name })),
            Stage::Waiting
            | Stage::InspectingImage { .. }
            | Stage::PullingImage { .. }
            | Stage::Creating { .. }
            | Stage::Starting { .. }
            | Stage::PostStart { .. }
            | Stage::Running
            | Stage::Stopping(_)
            | Stage::Done => None,
        }
    }
}

fn truncate_to_millis(duration: Duration) -> Duration {
    Duration::from_millis(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}
