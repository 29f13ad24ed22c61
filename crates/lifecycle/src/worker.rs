//! The machine of one pod: what comes in, what goes out, and the pod's own stages.
//!
//! ```text
//!  sandbox:  Absent ─▶ Creating ─▶ Ready ─▶ Stopping ─▶ CleaningUp ─▶ Gone
//!              ▲           │         │
//!              └─ retry ───┘         └─ lost: everything in it is gone, a new one is made
//! ```
//!
//! The pod lives until something begins its termination ([`PodWorker::handle_kill`], its deadline, or that all its containers are done).
//! From then on nothing is started; when no process is left the sandbox is stopped, and what the pod had is given back.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::time::Duration;

use serde::{Deserialize, Serialize};

use crate::action::{Action, ActionId, ContainerId, EventKind, EventRecord, Note, Step};
use crate::back_off::BACK_OFF_MAX;
use crate::container::{Container, Instance, Role, Stage};
use crate::event::{Event, Eviction, Exit, Grace, KillPod, KillTrigger, Rejection};
use crate::resize::Resize;
use crate::restart;
use crate::restart_all::RestartAll;
use crate::spec::{PodSpec, RestartPolicy};
use crate::start::ImageTrouble;
use crate::status::Phase;
use crate::time::Timestamp;

/// After this long a step that failed for no fault of a container is tried again (k8s: 5.c.2, without the jitter).
pub const RETRY_AFTER: Duration = Duration::from_secs(10);

/// The lifecycle of one pod, decided here and nowhere else.
///
/// Contract: call one `handle_*`, then [`Self::poll_action`] until it is empty, then read [`Self::poll_timeout`] and [`Self::status`].
/// `now` never goes back. The machine cannot fail: failures of the world are events.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodWorker {
    pub(crate) spec: PodSpec,
    pub(crate) start_time: Timestamp,
    pub(crate) sandbox: Sandbox,
    /// Init containers first, then the regular ones, then the ephemeral ones, each in spec order.
    pub(crate) containers: Vec<Container>,
    /// Index of the first init container that is not yet passed; all are passed when it equals their number.
    pub(crate) init_cursor: usize,
    /// The container whose start is under way; starts are one at a time (k8s: 2.b.19, 2.b.20).
    pub(crate) turn: Option<usize>,
    /// Where the present pass over the containers stands.
    pub(crate) pass_cursor: usize,
    pub(crate) image_trouble: BTreeMap<String, ImageTrouble>,
    /// The longest pause before a container that crashed is started again.
    #[serde(default = "reference_back_off_max")]
    pub(crate) back_off_max: Duration,
    pub(crate) termination: Option<Termination>,
    /// Why the node evicts it, if that is what began the termination.
    #[serde(default)]
    pub(crate) eviction: Option<Eviction>,
    /// The node did not take it: nothing was ever made.
    #[serde(default)]
    pub(crate) rejection: Option<Rejection>,
    /// An engine that is new does not take it any more, if that is what began the termination.
    #[serde(default)]
    pub(crate) turned_away: Option<Rejection>,
    /// When the node, which has the pod go, loses patience.
    #[serde(default)]
    pub(crate) overdue_at: Option<Timestamp>,
    /// All containers are beginning again.
    #[serde(default)]
    pub(crate) restart_all: Option<RestartAll>,
    /// Containers are to have other resources.
    #[serde(default)]
    pub(crate) resize: Resize,
    /// The last phase that was not terminal: shown until nothing can be running any more (k8s: 8.a.17).
    pub(crate) live_phase: Phase,
    pending: BTreeMap<ActionId, Unanswered>,
    outbox: VecDeque<Step>,
    next_action: u64,
}

/// Position of the pod's sandbox.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Sandbox {
    /// None yet, or the last one is lost; made at `not_before`.
    Absent { attempt: u32, not_before: Timestamp },
    /// Waits for `SandboxReady` or `SandboxFailed`.
    Creating { attempt: u32 },
    /// Containers may start.
    Ready { attempt: u32, ips: Vec<String> },
    /// The last process is gone; waits for `SandboxStopped`.
    Stopping { ips: Vec<String> },
    /// Waits for `PodCleanedUp`.
    CleaningUp { ips: Vec<String> },
    /// The end.
    Gone { ips: Vec<String> },
}

/// The pod goes, for this reason and with this grace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Termination {
    pub(crate) trigger: KillTrigger,
    pub(crate) requested_at: Timestamp,
    /// The caller's override (k8s: 3.a.4, 3.a.5); `None` leaves each container the spec's.
    pub(crate) grace_secs: Option<u64>,
    /// No hooks, no signals, no waiting.
    pub(crate) at_once: bool,
    /// When it was first deleted through the API: the shorter grace of a later delete counts from there (k8s: 1.b.12).
    pub(crate) deleted_at: Option<Timestamp>,
}

impl Termination {
    /// With the grace of the spec, because of what the pod itself did (k8s: 3.a.9).
    pub(crate) const fn by_itself(trigger: KillTrigger, now: Timestamp) -> Self {
        Self { trigger, requested_at: now, grace_secs: None, at_once: false, deleted_at: None }
    }
}

/// An action that waits for its answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Unanswered {
    whom: Pending,
    action: Action,
}

/// Whom an answer is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Pending {
    Pod,
    Container(usize),
}

/// Why [`PodWorker::poll_timeout`] wants to be called back.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Timer {
    /// `activeDeadlineSeconds` is over.
    PodDeadline,
    /// The node loses patience with a pod that is to go.
    Overdue,
    /// The sandbox is tried again.
    SandboxRetry,
    /// All containers are gone, and begin again.
    RestartAll,
    /// A resize is tried again.
    Resize,
    /// A state that was published needs its successor.
    NextStep {
        /// Name of the container.
        container: String,
    },
    /// A pause before a start is over.
    StartRetry {
        /// Name of the container.
        container: String,
    },
    /// The preStop hook is out of grace.
    PreStopEnd {
        /// Name of the container.
        container: String,
    },
    /// A sidecar's wait for the others is out of grace.
    OrderEnd {
        /// Name of the container.
        container: String,
    },
    /// SIGKILL is due.
    KillDue {
        /// Name of the container.
        container: String,
    },
    /// A probe attempt is due.
    ProbeDue {
        /// Name of the container.
        container: String,
    },
}

/// So many actions may be asked for before the state is saved again. Only attempts of probes may: an engine that begins anew makes
/// others, and counts their failures from where the saved state stands.
pub const UNSAVED_ACTIONS_MAX: u64 = 256;

impl PodWorker {
    /// A pod that is new at `now`. Its first actions wait in [`Self::poll_action`].
    pub fn new(spec: PodSpec, now: Timestamp) -> Self {
        let mut worker = Self::unsettled(spec, now);
        worker.settle(now);
        worker
    }

    /// A pod that the node does not take: it has failed before anything was made, and is finished (k8s: 8.a.22, 10.d.12).
    pub fn rejected(spec: PodSpec, rejection: Rejection, now: Timestamp) -> Self {
        let mut worker = Self::unsettled(spec, now);
        worker.sandbox = Sandbox::Gone { ips: Vec::new() };
        worker.tell_pod(EventKind::Warning, &rejection.reason, rejection.message.clone());
        worker.rejection = Some(rejection);
        worker
    }

    fn unsettled(spec: PodSpec, now: Timestamp) -> Self {
        let init = spec.init_containers.iter().map(|container| Container::init(container.clone()));
        let regular = spec.containers.iter().map(|container| Container::new(container.clone(), Role::Regular));
        let ephemeral = spec.ephemeral_containers.iter().map(|container| Container::new(container.clone(), Role::Ephemeral));
        let containers = init.chain(regular).chain(ephemeral).collect();
        Self {
            spec,
            start_time: now,
            sandbox: Sandbox::Absent { attempt: 0, not_before: now },
            containers,
            init_cursor: 0,
            turn: None,
            pass_cursor: 0,
            image_trouble: BTreeMap::new(),
            back_off_max: BACK_OFF_MAX,
            termination: None,
            eviction: None,
            rejection: None,
            turned_away: None,
            overdue_at: None,
            restart_all: None,
            resize: Resize::default(),
            live_phase: Phase::Pending,
            pending: BTreeMap::new(),
            outbox: VecDeque::new(),
            next_action: 0,
        }
    }

    /// No pause of a container that crashed is longer than this from here on, those that were earned already included; one that is
    /// under way goes on to its end (k8s: 5.b.13).
    pub fn limit_back_off(&mut self, max: Duration) {
        self.back_off_max = max;
        for container in &mut self.containers {
            container.back_off.limit(max);
        }
    }

    /// The spec that is in force.
    pub const fn spec(&self) -> &PodSpec {
        &self.spec
    }

    /// Whether nothing of the pod is left and nothing more will be asked for.
    pub const fn is_finished(&self) -> bool {
        matches!(self.sandbox, Sandbox::Gone { .. })
    }

    /// Whether there is, or may be, a sandbox whose events are to be listened to.
    pub const fn has_sandbox(&self) -> bool {
        matches!(self.sandbox, Sandbox::Ready { .. } | Sandbox::Stopping { .. })
    }

    /// The container that the step `id` is starting: its name, instance and restart count.
    pub fn starting(&self, id: ActionId) -> Option<(&str, &ContainerId, u32)> {
        let container = self.containers.iter().find(|container| container.stage == Stage::Starting { action: id })?;
        let instance = container.instance.as_ref()?;
        Some((&container.spec.name, &instance.id, instance.restart_count))
    }

    /// Whether the pod is on its way out.
    pub const fn is_terminating(&self) -> bool {
        self.termination.is_some()
    }

    /// The next action, in the order in which they are to be begun.
    pub fn poll_action(&mut self) -> Option<Step> {
        self.outbox.pop_front()
    }

    /// The engine was restarted and this state was read back: every action that is not yet answered is asked for again, under
    /// its old id. Whoever does them knows by id what was begun already. New actions have ids that the engine before cannot have used,
    /// if it saved the state at least once in [`UNSAVED_ACTIONS_MAX`] actions.
    pub fn resume(&mut self) {
        self.next_action += UNSAVED_ACTIONS_MAX;
        let again = self.pending.iter().map(|(id, unanswered)| Step { id: *id, action: unanswered.action.clone() });
        self.outbox = again.collect();
    }

    /// Someone wants the pod gone, or gone sooner. A longer grace than the one in force changes nothing (k8s: 3.a.8).
    pub fn handle_kill(&mut self, kill: KillPod, now: Timestamp) {
        let asked = match kill.grace {
            Grace::FromSpec => self.spec.termination_grace_period_secs,
            Grace::Seconds(secs) => secs,
            Grace::AtOnce => 0,
        };
        // k8s: 3.a.5, 3.a.6
        let grace_secs = asked.max(1);
        let at_once = kill.grace == Grace::AtOnce;
        match self.termination {
            None => {
                let deleted_at = (kill.trigger == KillTrigger::Deleted).then_some(now);
                let termination =
                    Termination { trigger: kill.trigger, requested_at: now, grace_secs: Some(grace_secs), at_once, deleted_at };
                if kill.trigger == KillTrigger::Preempted {
                    // k8s: 10.d.1
                    self.tell_pod(EventKind::Warning, "Preempting", crate::status::PREEMPTED_MESSAGE.to_string());
                }
                self.begin_termination(termination, now);
            }
            Some(_) => self.shorten_termination(kill.trigger, grace_secs, at_once, now),
        }
        self.expect_end(kill.trigger, asked, now);
        self.settle(now);
    }

    /// The node evicts the pod. One that is on its way out already only gets the shorter of both graces.
    pub fn handle_eviction(&mut self, grace: Grace, eviction: Eviction, now: Timestamp) {
        if self.termination.is_none() && self.rejection.is_none() {
            // k8s: 10.d.2
            self.tell_pod(EventKind::Warning, crate::status::EVICTED, eviction.message.clone());
            self.eviction = Some(eviction);
        }
        self.handle_kill(KillPod { trigger: KillTrigger::Evicted, grace }, now);
    }

    /// The node, with an engine that is new, does not take the pod any more (k8s: 11.b.1): it fails, but in its own grace.
    pub fn handle_rejection(&mut self, rejection: Rejection, now: Timestamp) {
        if self.termination.is_some() || self.rejection.is_some() {
            return;
        }
        // k8s: 10.d.12
        self.tell_pod(EventKind::Warning, &rejection.reason, rejection.message.clone());
        self.turned_away = Some(rejection);
        self.handle_kill(KillPod { trigger: KillTrigger::Rejected, grace: Grace::FromSpec }, now);
    }

    /// Something happened.
    pub fn handle_event(&mut self, event: Event, now: Timestamp) {
        match event {
            Event::ContainerExited { container_id, exit } => self.container_exited(&container_id, exit, now),
            Event::SandboxLost { .. } => self.sandbox_lost(now),
            Event::SandboxReady { id, .. }
            | Event::SandboxFailed { id, .. }
            | Event::SandboxStopped { id }
            | Event::PodCleanedUp { id }
            | Event::ImageInspected { id, .. }
            | Event::ImagePulled { id, .. }
            | Event::ImagePullFailed { id, .. }
            | Event::ContainerCreated { id, .. }
            | Event::ContainerCreateFailed { id, .. }
            | Event::ContainerStarted { id, .. }
            | Event::ContainerStartFailed { id, .. }
            | Event::StopSignalled { id, .. }
            | Event::KillSignalled { id, .. }
            | Event::HookFinished { id, .. }
            | Event::RoomMeasured { id, .. }
            | Event::Resized { id, .. } => match self.pending.remove(&id).map(|unanswered| unanswered.whom) {
                Some(Pending::Pod) => self.answer_for_pod(event, now),
                Some(Pending::Container(index)) => self.answer_for_container(index, id, event, now),
                None => return,
            },
            Event::ProbeFinished { id, outcome } => {
                let whom = self.pending.remove(&id).map(|unanswered| unanswered.whom);
                let Some(Pending::Container(index)) = whom else { return };
                if !self.probe_finished(index, id, outcome, now) {
                    // Nothing follows from it.
                    return;
                }
            }
        }
        self.settle(now);
    }

    /// Time has come to [`Self::poll_timeout`], or past it.
    pub fn handle_timeout(&mut self, now: Timestamp) {
        if self.timeout_besides_probes().is_none_or(|(at, _)| at > now) {
            // Most of what ever happens to a pod, and nothing follows from it.
            (0..self.containers.len()).for_each(|index| self.probe_timeout(index, now));
            return;
        }
        if self.deadline().is_some_and(|deadline| deadline <= now) {
            self.tell_pod(EventKind::Normal, "DeadlineExceeded", crate::status::DEADLINE_MESSAGE.to_string());
            // k8s: 4.a.17: like a natural end, with the spec's grace.
            let termination = Termination::by_itself(KillTrigger::DeadlineExceeded, now);
            self.begin_termination(termination, now);
        }
        self.begin_again(now);
        self.end_timeout(now);
        self.resize_timeout(now);
        for index in 0..self.containers.len() {
            self.container_timeout(index, now);
            self.probe_timeout(index, now);
        }
        self.settle(now);
    }

    /// The earliest moment at which [`Self::handle_timeout`] must be called, and why.
    pub fn poll_timeout(&self) -> Option<(Timestamp, Timer)> {
        let other = self.timeout_besides_probes();
        match self.probe_timer() {
            Some((at, container)) if other.as_ref().is_none_or(|(other_at, _)| at < *other_at) => {
                Some((at, Timer::ProbeDue { container: container.spec.name.clone() }))
            }
            Some(_) | None => other,
        }
    }

    fn timeout_besides_probes(&self) -> Option<(Timestamp, Timer)> {
        let sandbox_retry = match (&self.sandbox, self.termination) {
            (Sandbox::Absent { not_before, .. }, None) => Some((*not_before, Timer::SandboxRetry)),
            (_, _) => None,
        };
        let restart_all = match self.restart_all {
            Some(RestartAll::Removed { at }) => Some((at, Timer::RestartAll)),
            Some(_) | None => None,
        };
        let of_pod = [
            self.deadline().map(|at| (at, Timer::PodDeadline)),
            self.overdue_at.map(|at| (at, Timer::Overdue)),
            sandbox_retry,
            restart_all,
            self.resize_due().map(|at| (at, Timer::Resize)),
        ];
        of_pod.into_iter().flatten().chain(self.containers.iter().filter_map(|container| self.stage_timer(container))).min()
    }

    fn deadline(&self) -> Option<Timestamp> {
        let secs = self.spec.active_deadline_secs?;
        self.termination.is_none().then(|| self.start_time + Duration::from_secs(secs))
    }

    fn answer_for_pod(&mut self, event: Event, now: Timestamp) {
        match event {
            Event::SandboxReady { ips, missing_pull_secrets, .. } => {
                if let Sandbox::Creating { attempt } = self.sandbox {
                    self.sandbox = Sandbox::Ready { attempt, ips };
                    self.tell_missing_pull_secrets(&missing_pull_secrets);
                }
            }
            Event::SandboxFailed { reason, message, .. } => {
                if let Sandbox::Creating { attempt } = self.sandbox {
                    // k8s: 2.b.8: silent when the pod is going anyway.
                    if self.termination.is_none() {
                        self.tell_pod(EventKind::Warning, &reason, message);
                    }
                    self.sandbox = Sandbox::Absent { attempt: attempt.saturating_add(1), not_before: now + RETRY_AFTER };
                }
            }
            Event::SandboxStopped { .. } => {
                self.overdue_at = None;
                if let Sandbox::Stopping { ips } = &self.sandbox {
                    self.sandbox = Sandbox::CleaningUp { ips: ips.clone() };
                    self.ask_for_pod(Action::CleanUpPod);
                }
            }
            Event::PodCleanedUp { .. } => {
                if let Sandbox::CleaningUp { ips } = &self.sandbox {
                    self.sandbox = Sandbox::Gone { ips: ips.clone() };
                }
            }
            Event::RoomMeasured { room, .. } => self.room_measured(room, now),
            Event::Resized { id, error } => self.resized(id, error, now),
            Event::SandboxLost { .. }
            | Event::ImageInspected { .. }
            | Event::ImagePulled { .. }
            | Event::ImagePullFailed { .. }
            | Event::ContainerCreated { .. }
            | Event::ContainerCreateFailed { .. }
            | Event::ContainerStarted { .. }
            | Event::ContainerStartFailed { .. }
            | Event::ContainerExited { .. }
            | Event::StopSignalled { .. }
            | Event::KillSignalled { .. }
            | Event::HookFinished { .. }
            | Event::ProbeFinished { .. } => {}
        }
    }

    /// k8s: 9.b.11: told, and the pull is tried all the same.
    fn tell_missing_pull_secrets(&mut self, missing: &[String]) {
        if missing.is_empty() || self.termination.is_some() {
            return;
        }
        let missing = missing.join(", ");
        let text = format!("Unable to retrieve some image pull secrets ({missing}); attempting to pull the image may not succeed.");
        self.tell_pod(EventKind::Warning, "FailedToRetrieveImagePullSecret", text);
    }

    fn answer_for_container(&mut self, index: usize, id: ActionId, event: Event, now: Timestamp) {
        match event {
            Event::ImageInspected { outcome, .. } => self.image_inspected(index, id, outcome, now),
            Event::ImagePulled { image_ref, size_bytes, took, took_with_waiting, .. } => {
                self.image_pulled(index, id, image_ref, size_bytes, (took, took_with_waiting), now);
            }
            Event::ImagePullFailed { reason, message, .. } => self.image_pull_failed(index, id, reason, message, now),
            Event::ContainerCreated { container_id, .. } => self.container_created(index, id, container_id),
            Event::ContainerCreateFailed { reason, message, .. } => self.container_create_failed(index, id, reason, message, now),
            Event::ContainerStarted { at, .. } => self.container_started(index, id, at, now),
            Event::ContainerStartFailed { message, .. } => self.container_start_failed(index, id, message, now),
            Event::HookFinished { outcome, .. } => self.hook_finished(index, id, outcome, now),
            Event::StopSignalled { error, .. } | Event::KillSignalled { error, .. } => self.signal_answered(error),
            Event::Resized { error, .. } => self.resized(id, error, now),
            Event::RoomMeasured { .. }
            | Event::SandboxReady { .. }
            | Event::SandboxFailed { .. }
            | Event::SandboxLost { .. }
            | Event::SandboxStopped { .. }
            | Event::PodCleanedUp { .. }
            | Event::ProbeFinished { .. }
            | Event::ContainerExited { .. } => {}
        }
    }

    fn container_exited(&mut self, container_id: &ContainerId, exit: Exit, now: Timestamp) {
        let Some(index) = self.containers.iter().position(|container| container.live_id() == Some(container_id)) else {
            return;
        };
        let container = &mut self.containers[index];
        if let (Stage::Starting { .. }, Some(instance)) = (&container.stage, &mut container.instance) {
            instance.early_exit = Some(exit);
            return;
        }
        self.end_instance(index, exit, now);
    }

    /// The container's process is gone: the one place where an instance ends.
    pub(crate) fn end_instance(&mut self, index: usize, exit: Exit, now: Timestamp) {
        let stage = core::mem::replace(&mut self.containers[index].stage, Stage::Exited { at: now });
        if let Some(instance) = &mut self.containers[index].instance {
            instance.exit = Some(exit);
        }
        self.hooks_after_exit(index, stage);
        self.containers[index].probes.reset();
        self.end_turn(index);
    }

    /// k8s: 2.b.5, 2.b.14, 2.b.16, 8.c.8
    fn sandbox_lost(&mut self, now: Timestamp) {
        let (attempt, ips) = match &self.sandbox {
            Sandbox::Ready { attempt, ips } => (*attempt, ips.clone()),
            Sandbox::Creating { attempt } => (*attempt, Vec::new()),
            Sandbox::Absent { .. } | Sandbox::Stopping { .. } | Sandbox::CleaningUp { .. } | Sandbox::Gone { .. } => return,
        };
        self.turn = None;
        for index in 0..self.containers.len() {
            self.containers[index].frozen = None;
            self.lose_container(index, now);
        }
        self.give_up_restart_all();
        self.pending.retain(|_, unanswered| unanswered.whom != Pending::Pod);
        self.forget_resize_steps();
        if self.termination.is_some() {
            self.sandbox = Sandbox::Ready { attempt, ips };
            return;
        }
        let any_started = self.containers.iter().any(|container| container.instance.is_some());
        if self.spec.restart_policy == RestartPolicy::Never && any_started {
            // k8s: 2.b.14: no second sandbox for a pod that never restarts.
            self.sandbox = Sandbox::Ready { attempt, ips };
            let termination = Termination::by_itself(KillTrigger::Completed, now);
            self.begin_termination(termination, now);
            return;
        }
        self.tell_pod(EventKind::Normal, "SandboxChanged", "Pod sandbox changed, it will be killed and re-created.".to_string());
        self.init_cursor = 0;
        self.pass_cursor = 0;
        for index in 0..self.containers.len() {
            let container = &self.containers[index];
            let has_ended = matches!(container.stage, Stage::Exited { .. } | Stage::Done);
            // One that failed goes its way: another try, or the end of the pod.
            if container.role == Role::Init && has_ended && container.exit().is_some_and(|exit| !restart::init_failed(exit)) {
                self.wait_or_back_off(index, now);
            }
        }
        self.sandbox = Sandbox::Absent { attempt: attempt.saturating_add(1), not_before: now };
    }

    /// The container's part of a lost sandbox: what lived in it has ended somehow, what was being made is not made.
    fn lose_container(&mut self, index: usize, now: Timestamp) {
        match self.containers[index].stage {
            Stage::Starting { .. } | Stage::PostStart { .. } | Stage::Running | Stage::Stopping(_) => {
                let instance = self.containers[index].instance.as_mut();
                let started_at = instance.as_ref().and_then(|instance| instance.started_at);
                let exit = instance.and_then(|instance| instance.early_exit.take());
                let exit = exit.unwrap_or_else(|| crate::status::unknown_exit(crate::status::LOST_MESSAGE, started_at, now));
                self.end_instance(index, exit, now);
            }
            // k8s: 2.c.1: the next try is another start, and waits like one.
            Stage::PullingImage { action } => {
                self.tell(Action::CancelPull { pull: action });
                self.wait_or_back_off(index, now);
            }
            Stage::InspectingImage { .. } | Stage::Creating { .. } => self.wait_or_back_off(index, now),
            Stage::Waiting
            | Stage::BackOff { .. }
            | Stage::ImagePullFailed { .. }
            | Stage::RetryLater { .. }
            | Stage::Exited { .. }
            | Stage::Done => {}
        }
    }

    pub(crate) fn begin_termination(&mut self, termination: Termination, now: Timestamp) {
        self.termination = Some(termination);
        self.restart_all = None;
        self.tell(Action::Note(Note::TerminationBegan {
            trigger: termination.trigger,
            grace_secs: termination.grace_secs,
            shortened: false,
        }));
        self.turn = None;
        for index in 0..self.containers.len() {
            self.containers[index].frozen = None;
            self.terminate_container(index, now);
        }
    }

    /// What follows from where everything stands: called at the end of every `handle_*`.
    pub(crate) fn settle(&mut self, now: Timestamp) {
        if self.termination.is_none() {
            self.remove_for_restart(now);
            if self.restart_all.is_none() {
                self.end_if_complete(now);
            }
        }
        if self.termination.is_some() {
            self.release_sidecars(now);
            self.finish_termination();
            self.remember_phase();
            return;
        }
        if let Sandbox::Absent { attempt, not_before } = self.sandbox
            && not_before <= now
        {
            self.sandbox = Sandbox::Creating { attempt };
            self.create_sandbox(attempt);
        }
        self.pass_init_containers();
        self.give_turn(now);
        self.go_on_with_resize(now);
        self.remember_phase();
    }

    fn create_sandbox(&mut self, attempt: u32) {
        self.resize.of_pod = self.containers.iter().map(|container| container.allocated).collect();
        let mut containers = self.allocated();
        containers.retain(|_, resources| !resources.is_empty());
        self.ask_for_pod(Action::CreateSandbox { attempt, containers });
    }

    /// k8s: 4.a.14, 4.a.15: an init container failed for good, or every regular container is done.
    fn end_if_complete(&mut self, now: Timestamp) {
        let init_failed = self.containers.iter().any(|container| {
            container.role == Role::Init && container.stage == Stage::Done && container.exit().is_some_and(restart::init_failed)
        });
        let mut regular = self.containers.iter().filter(|container| container.role == Role::Regular);
        let completed = regular.all(|container| container.stage == Stage::Done);
        let trigger = match (init_failed, completed) {
            (true, _) => KillTrigger::InitFailed,
            (false, true) => KillTrigger::Completed,
            (false, false) => return,
        };
        // k8s: 3.a.9: no override, each container has the spec's grace.
        self.begin_termination(Termination::by_itself(trigger, now), now);
    }

    fn finish_termination(&mut self) {
        if self.containers.iter().any(|container| container.is_live() || container.is_being_made()) {
            return;
        }
        match &self.sandbox {
            Sandbox::Ready { ips, .. } => {
                self.sandbox = Sandbox::Stopping { ips: ips.clone() };
                self.ask_for_pod(Action::StopSandbox);
            }
            Sandbox::Absent { .. } => {
                self.sandbox = Sandbox::CleaningUp { ips: Vec::new() };
                self.ask_for_pod(Action::CleanUpPod);
            }
            Sandbox::Creating { .. } | Sandbox::Stopping { .. } | Sandbox::CleaningUp { .. } | Sandbox::Gone { .. } => {}
        }
    }

    pub(crate) fn end_turn(&mut self, index: usize) {
        if self.turn == Some(index) {
            self.turn = None;
            self.containers[index].frozen = None;
        }
    }

    pub(crate) fn ask_for_pod(&mut self, action: Action) -> ActionId {
        self.ask(Pending::Pod, action)
    }

    pub(crate) fn ask_for_container(&mut self, index: usize, action: Action) -> ActionId {
        self.ask(Pending::Container(index), action)
    }

    fn ask(&mut self, whom: Pending, action: Action) -> ActionId {
        let id = self.push(action.clone());
        self.pending.insert(id, Unanswered { whom, action });
        id
    }

    /// An action that nobody answers.
    pub(crate) fn tell(&mut self, action: Action) {
        self.push(action);
    }

    fn push(&mut self, action: Action) -> ActionId {
        let id = ActionId(self.next_action);
        self.next_action += 1;
        self.outbox.push_back(Step { id, action });
        id
    }

    pub(crate) fn tell_pod(&mut self, kind: EventKind, reason: &str, message: String) {
        self.tell(Action::RecordEvent(EventRecord { about: None, kind, reason: reason.to_string(), message }));
    }

    pub(crate) fn tell_container(&mut self, index: usize, kind: EventKind, reason: &str, message: String) {
        let about = Some(self.containers[index].field_path());
        self.tell(Action::RecordEvent(EventRecord { about, kind, reason: reason.to_string(), message }));
    }

    pub(crate) fn fail_start(&mut self, index: usize, reason: &str, message: &str) {
        self.tell_container(index, EventKind::Warning, "Failed", format!("Error: {message}"));
        self.containers[index].start_failure =
            Some(crate::container::StartFailure { reason: reason.to_string(), message: message.to_string() });
    }

    pub(crate) fn new_instance(&mut self, index: usize, id: ContainerId, image_ref: String) {
        let restart_count = self.containers[index].next_restart_count();
        // The manifest may have come to name another image meanwhile.
        let image = self.containers[index].created_of.clone().unwrap_or_else(|| self.containers[index].spec.image.clone());
        let fresh = Instance {
            id,
            restart_count,
            image,
            image_ref,
            resources: self.containers[index].created_with,
            is_replaced: false,
            is_removed: false,
            started_at: None,
            early_exit: None,
            exit: None,
        };
        let older = self.containers[index].previous.take();
        let container = &mut self.containers[index];
        container.previous = container.instance.replace(fresh);
        // k8s: 5.c.6: one dead record is kept for each container.
        if let Some(older) = older.filter(|older| !older.is_removed) {
            let name = self.containers[index].spec.name.clone();
            self.tell(Action::RemoveContainer { container: name, container_id: older.id });
        }
    }
}

/// Of a state that knew of no other.
const fn reference_back_off_max() -> Duration {
    BACK_OFF_MAX
}
