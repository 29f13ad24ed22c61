//! RestartAllContainers: a rule of one container has the whole pod begin again, in the sandbox that it has (k8s: 6.d).
//!
//! ```text
//!  exit by a rule ─▶ Stopping ─▶ Removed ─▶ from the first init container, without a pause
//!                     all others end         all records are gone, and that was published
//! ```
//!
//! No preStop hook runs, and every stop signal has two seconds (k8s: 4.b.1). Nothing is started meanwhile. Ephemeral containers are
//! never started again, so they are left alone.

use alloc::string::ToString;

use serde::{Deserialize, Serialize};

use crate::action::{Action, StopCause};
use crate::container::{Instance, Role, Stage, StartFailure};
use crate::event::Exit;
use crate::restart;
use crate::status::UNKNOWN_EXIT_CODE;
use crate::time::Timestamp;
use crate::worker::PodWorker;

/// k8s: 6.d.7
const MESSAGE: &str = "The container is removed because RestartAllContainers in place";

/// Where a restart of all containers stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum RestartAll {
    /// Waits until nothing lives.
    Stopping,
    /// All records are removed, and that was published; the pod begins again at the next timeout, which is due at once.
    Removed { at: Timestamp },
}

impl PodWorker {
    /// Whether a container that ended so has all of them begin again (k8s: 6.d.1).
    pub(crate) fn restarts_all(&self, index: usize) -> bool {
        let container = &self.containers[index];
        container.recorded_exit().is_some_and(|exit| restart::restarts_all(&container.spec, exit))
    }

    /// Whether the pod was initialised, has begun again since, and did not come back to all its regular containers yet.
    pub(crate) fn is_beginning_again(&self) -> bool {
        let mut regular = self.containers.iter().filter(|container| container.role == Role::Regular);
        regular.any(|container| container.instance.as_ref().is_some_and(|instance| instance.is_removed))
    }

    pub(crate) fn begin_restart_all(&mut self, now: Timestamp) {
        self.restart_all = Some(RestartAll::Stopping);
        self.turn = None;
        for index in 0..self.containers.len() {
            self.containers[index].frozen = None;
            self.give_way(index, now);
        }
    }

    /// The container's part: it is not started any more, or it is stopped.
    pub(crate) fn give_way(&mut self, index: usize, now: Timestamp) {
        if self.containers[index].role == Role::Ephemeral {
            return;
        }
        match self.containers[index].stage.clone() {
            Stage::PullingImage { action } => {
                self.tell(Action::CancelPull { pull: action });
                self.containers[index].stage = Stage::Waiting;
            }
            Stage::InspectingImage { .. } => self.containers[index].stage = Stage::Waiting,
            Stage::PostStart { action, .. } => {
                self.tell(Action::CancelHook { run: action });
                self.containers[index].stage = Stage::Running;
                self.stop_for_restart(index, now);
            }
            Stage::Running => self.stop_for_restart(index, now),
            Stage::Stopping(stop) => self.shorten_stop(index, stop, now, false, now),
            // `Creating` and `Starting` come back here when they are answered; the rest has no process.
            Stage::Creating { .. }
            | Stage::Starting { .. }
            | Stage::Waiting
            | Stage::BackOff { .. }
            | Stage::ImagePullFailed { .. }
            | Stage::RetryLater { .. }
            | Stage::Exited { .. }
            | Stage::Done => {}
        }
    }

    /// k8s: 4.b.1: without any grace there is no hook, and the stop signal has its two seconds.
    fn stop_for_restart(&mut self, index: usize, now: Timestamp) {
        self.stop_alone(index, StopCause::RestartAllContainers, "killing".to_string(), Some(0), now);
    }

    /// Once nothing lives, and every exit was published: the records go (k8s: 6.d.3, 6.d.6, 6.d.7).
    pub(crate) fn remove_for_restart(&mut self, now: Timestamp) {
        let is_quiet = |stage: &Stage| !matches!(stage, Stage::Exited { .. });
        let mut beginning_again = self.containers.iter().filter(|container| container.role != Role::Ephemeral);
        let is_over = beginning_again.all(|container| !container.is_live() && !container.is_being_made() && is_quiet(&container.stage));
        if self.restart_all != Some(RestartAll::Stopping) || !is_over {
            return;
        }
        for index in 0..self.containers.len() {
            if self.containers[index].role != Role::Ephemeral {
                self.remove_records(index, now);
                self.containers[index].stage = Stage::Waiting;
            }
        }
        self.restart_all = Some(RestartAll::Removed { at: now });
    }

    /// What is known of the container from here on is only how often it was started.
    fn remove_records(&mut self, index: usize, now: Timestamp) {
        let container = &mut self.containers[index];
        let name = container.spec.name.clone();
        let previous = container.previous.take();
        let Some(instance) = &mut container.instance else { return };
        let is_there = |instance: &Instance| !instance.is_removed;
        let ids = [
            previous.filter(is_there).map(|previous| previous.id),
            Some(&*instance).filter(|instance| is_there(instance)).map(|instance| instance.id.clone()),
        ];
        instance.is_removed = true;
        instance.exit = Some(Exit {
            code: UNKNOWN_EXIT_CODE,
            signal: None,
            reason: restart::RESTARTING_ALL.to_string(),
            message: MESSAGE.to_string(),
            started_at: instance.started_at,
            finished_at: now,
        });
        container.start_failure = Some(StartFailure { reason: restart::RESTARTING_ALL.to_string(), message: MESSAGE.to_string() });
        for container_id in ids.into_iter().flatten() {
            self.tell(Action::RemoveContainer { container: name.clone(), container_id });
        }
    }

    /// k8s: 6.d.5
    pub(crate) fn begin_again(&mut self, now: Timestamp) {
        if matches!(self.restart_all, Some(RestartAll::Removed { at }) if at <= now) {
            self.restart_all = None;
            self.init_cursor = 0;
            self.pass_cursor = 0;
        }
    }

    /// The sandbox is lost, and with it the pod begins again anyway.
    pub(crate) fn give_up_restart_all(&mut self) {
        if self.restart_all.take().is_some() {
            for container in &mut self.containers {
                if container.role != Role::Ephemeral && matches!(container.stage, Stage::Exited { .. } | Stage::Done) {
                    container.stage = Stage::Waiting;
                }
            }
        }
    }
}
