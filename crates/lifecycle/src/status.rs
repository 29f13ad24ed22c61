//! What is published about the pod: phase, conditions, container statuses. A projection of the machine, never a source of truth.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::action::ContainerId;
use crate::container::{Container, Instance, Role};
use crate::event::{EvictionCause, Exit, KillTrigger, Rejection};
use crate::resources::Resources;
use crate::restart;
use crate::spec::RestartAction;
use crate::time::Timestamp;
use crate::worker::{PodWorker, Sandbox};

/// k8s: 8.a.14
pub(crate) const DEADLINE_MESSAGE: &str = "Pod was active on the node longer than the specified deadline";
/// k8s: 8.a.20, 10.d.1
pub(crate) const PREEMPTED_MESSAGE: &str = "Preempted in order to admit critical pod";
/// k8s: 8.a.21, 8.b.15
const SHUTDOWN_MESSAGE: &str = "Pod was terminated in response to imminent node shutdown.";
/// k8s: 8.a.18, 10.d.2
pub(crate) const EVICTED: &str = "Evicted";
/// k8s: 8.c.8
pub(crate) const LOST_MESSAGE: &str = "The container could not be located when the pod was deleted.  The container used to be Running";
/// k8s: 3.f.9, 8.c.6
const NEVER_LOCATED_MESSAGE: &str = "The container could not be located when the pod was terminated";
/// k8s: 8.c.6
pub(crate) const UNKNOWN_EXIT_CODE: i32 = 137;

/// The pod's status, times not yet turned into wall-clock time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PodStatus {
    /// `status.phase`.
    pub phase: Phase,
    /// `status.reason`, empty if none.
    pub reason: String,
    /// `status.message`, empty if none.
    pub message: String,
    /// In the reference's order (k8s: 8.b.1).
    pub conditions: Vec<Condition>,
    /// `status.startTime`.
    pub start_time: Timestamp,
    /// `status.podIPs`.
    pub pod_ips: Vec<String>,
    /// In spec order (k8s: 8.c.18).
    pub init_container_statuses: Vec<ContainerStatus>,
    /// Sorted by name (k8s: 8.c.18).
    pub container_statuses: Vec<ContainerStatus>,
    /// Sorted by name (k8s: 8.c.18).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ephemeral_container_statuses: Vec<ContainerStatus>,
}

impl PodStatus {
    /// The statuses of all its containers: init, regular, ephemeral.
    pub fn all_container_statuses(&self) -> impl Iterator<Item = &ContainerStatus> {
        self.init_container_statuses.iter().chain(&self.container_statuses).chain(&self.ephemeral_container_statuses)
    }
}

/// `status.phase`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// Not everything has started yet.
    Pending,
    /// Everything has started once.
    Running,
    /// Ended, all regular containers with 0.
    Succeeded,
    /// Ended otherwise.
    Failed,
}

impl Phase {
    /// Whether a pod in this phase stays in it.
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed)
    }
}

/// One of `status.conditions`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Condition {
    /// Its type.
    pub kind: ConditionKind,
    /// True or False.
    pub is_true: bool,
    /// Empty if none.
    pub reason: String,
    /// Empty if none.
    pub message: String,
}

/// Type of a [`Condition`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum ConditionKind {
    /// The pod is about to be disrupted (k8s: 8.b.14).
    DisruptionTarget,
    /// Other resources are wanted and cannot be had yet, or ever.
    PodResizePending,
    /// Other resources are on their way to the containers.
    PodResizeInProgress,
    /// The sandbox is there (k8s: 8.b.3).
    PodReadyToStartContainers,
    /// All init containers are passed (k8s: 8.b.4).
    Initialized,
    /// The pod may get traffic (k8s: 8.b.11).
    Ready,
    /// All its containers are ready (k8s: 8.b.7).
    ContainersReady,
    /// Always true here (k8s: 8.b.13).
    PodScheduled,
    /// All containers begin again; only of pods that have a rule for it (k8s: 6.d.2, 6.d.9).
    AllContainersRestarting,
}

/// Status of one container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ContainerStatus {
    /// Its name.
    pub name: String,
    /// What it does.
    pub state: ContainerState,
    /// What the instance before did, if there was one.
    pub last_state: Option<Terminated>,
    /// `ready`.
    pub ready: bool,
    /// `started`.
    pub started: bool,
    /// `restartCount`.
    pub restart_count: u32,
    /// The image as the manifest has it.
    pub image: String,
    /// The image as the runtime knows it, empty before it was looked at.
    pub image_ref: String,
    /// The newest instance.
    pub container_id: Option<ContainerId>,
    /// What it is allocated: what the manifest says, once the node has place for it.
    #[serde(default, skip_serializing_if = "Resources::is_empty")]
    pub allocated: Resources,
    /// What the live instance may use at this moment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_use: Option<Resources>,
}

/// `state` of a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all_fields = "camelCase")]
pub enum ContainerState {
    /// Not running.
    Waiting {
        /// Why; may be empty (k8s: 8.c.4).
        reason: String,
        /// More of why; may be empty.
        message: String,
    },
    /// Running.
    Running {
        /// Since when.
        started_at: Timestamp,
    },
    /// Ended.
    Terminated(Terminated),
}

/// An instance that ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Terminated {
    /// How.
    pub exit: Exit,
    /// Which instance; none if there never was one.
    pub container_id: Option<ContainerId>,
}

impl PodWorker {
    /// What is to be published now.
    pub fn status(&self) -> PodStatus {
        if let Some(rejection) = &self.rejection {
            return self.rejected_status(rejection);
        }
        let init: Vec<_> = self.indices(is_init).map(|index| self.container_status(index)).collect();
        let mut regular: Vec<_> = self.indices(|role| role == Role::Regular).map(|index| self.container_status(index)).collect();
        let mut ephemeral: Vec<_> = self.indices(|role| role == Role::Ephemeral).map(|index| self.container_status(index)).collect();
        let computed = self.computed_phase(&init, &regular);
        let conditions = self.conditions(computed, &init, &regular);
        regular.sort_by(|a, b| a.name.cmp(&b.name));
        ephemeral.sort_by(|a, b| a.name.cmp(&b.name));
        // k8s: 8.a.17: a terminal phase is held back while a process may live.
        let held_back = computed.is_terminal() && !self.sandbox.is_stopped();
        let (reason, message) = match self.termination.map(|termination| termination.trigger) {
            _ if held_back => (String::new(), String::new()),
            Some(trigger) => self.terminal_reason(trigger),
            None => (String::new(), String::new()),
        };
        PodStatus {
            phase: if held_back { self.live_phase } else { computed },
            reason,
            message,
            conditions,
            start_time: self.start_time,
            pod_ips: self.sandbox.ips().to_vec(),
            init_container_statuses: init,
            container_statuses: regular,
            ephemeral_container_statuses: ephemeral,
        }
    }

    /// k8s: 8.a.22: neither conditions nor container statuses.
    fn rejected_status(&self, rejection: &Rejection) -> PodStatus {
        PodStatus {
            phase: Phase::Failed,
            reason: rejection.reason.clone(),
            message: rejected_message(rejection),
            conditions: Vec::new(),
            start_time: self.start_time,
            pod_ips: Vec::new(),
            init_container_statuses: Vec::new(),
            container_statuses: Vec::new(),
            ephemeral_container_statuses: Vec::new(),
        }
    }

    /// k8s: 8.a.14, 8.a.18 to 8.a.21
    fn terminal_reason(&self, trigger: KillTrigger) -> (String, String) {
        let (reason, message) = match trigger {
            KillTrigger::DeadlineExceeded => ("DeadlineExceeded", DEADLINE_MESSAGE),
            KillTrigger::Preempted => ("Preempting", PREEMPTED_MESSAGE),
            KillTrigger::NodeShutdown => ("Terminated", SHUTDOWN_MESSAGE),
            KillTrigger::Rejected => {
                let rejection = self.turned_away.as_ref();
                return rejection.map(|rejection| (rejection.reason.clone(), rejected_message(rejection))).unwrap_or_default();
            }
            KillTrigger::Evicted => (EVICTED, self.eviction.as_ref().map_or("", |eviction| eviction.message.as_str())),
            KillTrigger::Deleted | KillTrigger::Completed | KillTrigger::InitFailed | KillTrigger::ProbeFailed => ("", ""),
        };
        (reason.to_string(), message.to_string())
    }

    /// k8s: 8.b.14, 8.b.15
    fn disruption(&self, trigger: KillTrigger) -> Option<&str> {
        match trigger {
            KillTrigger::Preempted => Some("Pod was preempted by Kubelet to accommodate a critical pod."),
            KillTrigger::NodeShutdown => Some(SHUTDOWN_MESSAGE),
            KillTrigger::Evicted => self
                .eviction
                .as_ref()
                .filter(|eviction| eviction.cause == EvictionCause::NodePressure)
                .map(|eviction| eviction.message.as_str()),
            KillTrigger::Deleted
            | KillTrigger::DeadlineExceeded
            | KillTrigger::Rejected
            | KillTrigger::Completed
            | KillTrigger::InitFailed
            | KillTrigger::ProbeFailed => None,
        }
    }

    pub(crate) fn remember_phase(&mut self) {
        let init: Vec<_> = self.indices(is_init).map(|index| self.container_status(index)).collect();
        let regular: Vec<_> = self.indices(|role| role == Role::Regular).map(|index| self.container_status(index)).collect();
        let phase = self.computed_phase(&init, &regular);
        if !phase.is_terminal() {
            self.live_phase = phase;
        }
    }

    fn indices(&self, wanted: impl Fn(Role) -> bool) -> impl Iterator<Item = usize> {
        self.containers.iter().enumerate().filter(move |(_, container)| wanted(container.role)).map(|(index, _)| index)
    }

    /// The status of one container as it is to be published.
    pub(crate) fn container_status(&self, index: usize) -> ContainerStatus {
        let container = &self.containers[index];
        if let Some(frozen) = &container.frozen {
            return frozen.clone();
        }
        let (state, last_state) = self.states(index);
        let newest = container.instance.as_ref();
        ContainerStatus {
            name: container.spec.name.clone(),
            state,
            last_state,
            ready: container.is_ready(),
            started: container.is_started(),
            restart_count: newest.map_or(0, |instance| instance.restart_count),
            image: newest.map_or(&container.spec.image, |instance| &instance.image).clone(),
            image_ref: newest.map_or_else(String::new, |instance| instance.image_ref.clone()),
            container_id: newest.map(|instance| instance.id.clone()),
            allocated: container.allocated,
            in_use: container.resources_in_use().filter(|used| container.is_live() && !used.is_empty()),
        }
    }

    fn states(&self, index: usize) -> (ContainerState, Option<Terminated>) {
        let container = &self.containers[index];
        let previous = container.previous.as_ref().and_then(terminated);
        match container.instance.as_ref() {
            Some(instance) => match (&instance.exit, instance.started_at) {
                (Some(_), _) => {
                    let ended = terminated(instance);
                    // k8s: 8.c.9, 2.d.12: the last failure shows only if the container is due to restart.
                    let due = self.termination.is_none() && container.restarts_after_exit(self.spec.restart_policy);
                    match (&container.start_failure, ended) {
                        (Some(failure), ended) if due => {
                            let state = ContainerState::Waiting { reason: failure.reason.clone(), message: failure.message.clone() };
                            (state, ended)
                        }
                        (_, Some(ended)) => (ContainerState::Terminated(ended), previous),
                        (_, None) => (self.waiting(container), previous),
                    }
                }
                (None, Some(started_at)) if container.is_live() => (ContainerState::Running { started_at }, previous),
                // k8s: 8.c.4
                (None, _) => (ContainerState::Waiting { reason: String::new(), message: String::new() }, previous),
            },
            None if self.sandbox.is_stopped() && self.was_reached(index) => {
                // k8s: 3.f.9: nothing is known of it, and the pod is over.
                let exit = unknown_exit(NEVER_LOCATED_MESSAGE, None, self.start_time);
                (ContainerState::Terminated(Terminated { exit, container_id: None }), None)
            }
            None => (self.waiting(container), None),
        }
    }

    /// Whether the pod got so far that this container should have run: a regular one once the pod was initialised, an init
    /// container if it or a later one was started, and the first in any case. The others stay waiting for ever (k8s: 3.f.9).
    fn was_reached(&self, index: usize) -> bool {
        let is_later_known =
            || self.containers[index..].iter().any(|container| container.role != Role::Ephemeral && container.instance.is_some());
        match self.containers[index].role {
            Role::Regular => self.is_initialized(),
            Role::Init | Role::Sidecar => index == 0 || is_later_known(),
            Role::Ephemeral => false,
        }
    }

    fn waiting(&self, container: &Container) -> ContainerState {
        if let (Some(failure), None) = (&container.start_failure, self.termination) {
            return ContainerState::Waiting { reason: failure.reason.clone(), message: failure.message.clone() };
        }
        // k8s: 8.c.1
        let reason = if self.spec.init_containers.is_empty() { "ContainerCreating" } else { "PodInitializing" };
        ContainerState::Waiting { reason: reason.to_string(), message: String::new() }
    }

    /// k8s: 3.f.9: whatever the containers say, a pod that is over has ended.
    fn computed_phase(&self, init: &[ContainerStatus], regular: &[ContainerStatus]) -> Phase {
        let phase = self.phase_of_containers(init, regular);
        if self.is_over() && !phase.is_terminal() { Phase::Failed } else { phase }
    }

    /// k8s: 8.a.1 to 8.a.8, 8.a.10
    fn phase_of_containers(&self, init: &[ContainerStatus], regular: &[ContainerStatus]) -> Phase {
        match self.termination.map(|termination| termination.trigger) {
            Some(
                KillTrigger::DeadlineExceeded
                | KillTrigger::Evicted
                | KillTrigger::Preempted
                | KillTrigger::NodeShutdown
                | KillTrigger::Rejected,
            ) => return Phase::Failed,
            Some(KillTrigger::Deleted | KillTrigger::Completed | KillTrigger::InitFailed | KillTrigger::ProbeFailed) | None => {}
        }
        let any_regular_started = regular.iter().any(|status| status.started);
        let mut is_initializing = false;
        let mut any_sidecar_running = false;
        for (status, index) in init.iter().zip(self.indices(is_init)) {
            let container = &self.containers[index];
            match (container.role, &status.state) {
                (Role::Sidecar, ContainerState::Terminated(_)) => {}
                (Role::Sidecar, ContainerState::Waiting { .. }) => {
                    is_initializing |= status.last_state.is_none() && !any_regular_started;
                }
                (Role::Sidecar, ContainerState::Running { .. }) => {
                    any_sidecar_running = true;
                    is_initializing |= !status.started && !any_regular_started;
                }
                (Role::Init | Role::Regular | Role::Ephemeral, ContainerState::Running { .. }) => is_initializing = true,
                (Role::Init | Role::Regular | Role::Ephemeral, ContainerState::Terminated(ended)) => {
                    if restart::init_failed(&ended.exit) {
                        if !restart::restarts(container.role, &container.spec, self.spec.restart_policy, &ended.exit) || self.is_over() {
                            return Phase::Failed;
                        }
                        is_initializing = true;
                    }
                }
                // k8s: 6.d.10
                (Role::Init | Role::Regular | Role::Ephemeral, ContainerState::Waiting { .. }) => {
                    is_initializing |= status.last_state.as_ref().is_none_or(|ended| ended.exit.reason != restart::RESTARTING_ALL);
                }
            }
        }
        // k8s: 6.d.10: a pod that begins again was initialised before.
        if is_initializing && !self.is_over() && !self.is_beginning_again() {
            return Phase::Pending;
        }
        self.regular_phase(regular, any_sidecar_running)
    }

    /// A sidecar that runs counts as running (k8s: 8.a.5), one that has ended does not count (k8s: 8.a.10).
    fn regular_phase(&self, regular: &[ContainerStatus], any_sidecar_running: bool) -> Phase {
        let mut any_running = any_sidecar_running;
        let mut any_restarts = false;
        let mut all_succeeded = true;
        for (status, index) in regular.iter().zip(self.indices(|role| role == Role::Regular)) {
            let container = &self.containers[index];
            let ended = match (&status.state, &status.last_state) {
                (ContainerState::Running { .. }, _) => {
                    any_running = true;
                    continue;
                }
                (ContainerState::Terminated(ended), _) | (ContainerState::Waiting { .. }, Some(ended)) => ended,
                // k8s: 8.a.4
                (ContainerState::Waiting { .. }, None) => return Phase::Pending,
            };
            all_succeeded &= ended.exit.code == 0;
            any_restarts |=
                container.is_replaced() || restart::restarts(container.role, &container.spec, self.spec.restart_policy, &ended.exit);
        }
        match (any_running, self.is_over(), any_restarts, all_succeeded) {
            (true, ..) => Phase::Running,
            // k8s: 8.a.7
            (false, false, true, _) => Phase::Running,
            (false, _, _, true) => Phase::Succeeded,
            (false, _, _, false) => Phase::Failed,
        }
    }

    /// Whether the pod is being finalised: on its way out, and nothing of it lives (k8s: 8.a.6).
    fn is_over(&self) -> bool {
        self.termination.is_some() && self.sandbox.is_stopped()
    }

    fn conditions(&self, phase: Phase, init: &[ContainerStatus], regular: &[ContainerStatus]) -> Vec<Condition> {
        let mut conditions = self.resize_conditions();
        if let (Some(termination), true) = (self.termination, self.sandbox.is_stopped())
            && let Some(message) = self.disruption(termination.trigger)
        {
            conditions.push(Condition {
                kind: ConditionKind::DisruptionTarget,
                is_true: true,
                reason: "TerminationByKubelet".to_string(),
                message: message.to_string(),
            });
        }
        let ready_to_start = matches!(self.sandbox, Sandbox::Ready { .. } | Sandbox::Stopping { .. });
        conditions.push(plain(ConditionKind::PodReadyToStartContainers, ready_to_start));
        conditions.push(self.initialized(phase, init, regular));
        let ready = self.containers_ready(phase, init, regular);
        conditions.push(Condition { kind: ConditionKind::Ready, ..ready.clone() });
        conditions.push(ready);
        conditions.push(plain(ConditionKind::PodScheduled, true));
        conditions.extend(self.all_containers_restarting());
        conditions
    }

    /// k8s: 6.d.2, 6.d.9
    fn all_containers_restarting(&self) -> Option<Condition> {
        let mut rules = self.containers.iter().flat_map(|container| &container.spec.restart_policy_rules);
        rules.any(|rule| rule.action == RestartAction::RestartAllContainers).then(|| {
            let mut condition = plain(ConditionKind::AllContainersRestarting, self.restart_all.is_some());
            if condition.is_true {
                condition.reason = "RestartAllContainersStarted".to_string();
                condition.message = "container exited with restart policy rule".to_string();
            }
            condition
        })
    }

    /// k8s: 8.b.4, 8.b.5
    fn initialized(&self, phase: Phase, init: &[ContainerStatus], regular: &[ContainerStatus]) -> Condition {
        let mut condition = plain(ConditionKind::Initialized, true);
        if phase == Phase::Succeeded {
            condition.reason = "PodCompleted".to_string();
            return condition;
        }
        let waiting = init.iter().zip(self.indices(is_init)).filter(|(status, index)| {
            let passed = match self.containers[*index].role {
                Role::Sidecar => status.started,
                Role::Init | Role::Regular | Role::Ephemeral => status.ready,
            };
            !passed
        });
        let incomplete: Vec<_> = waiting.map(|(status, _)| status.name.as_str()).collect();
        // k8s: 6.d.8
        let begins_again = self.restart_all.is_some() || self.is_beginning_again();
        if incomplete.is_empty() || regular.iter().any(|status| status.started) || begins_again {
            return condition;
        }
        condition.is_true = false;
        condition.reason = "ContainersNotInitialized".to_string();
        condition.message = format!("containers with incomplete status: [{}]", incomplete.join(" "));
        condition
    }

    /// k8s: 8.b.7 to 8.b.10
    fn containers_ready(&self, phase: Phase, init: &[ContainerStatus], regular: &[ContainerStatus]) -> Condition {
        let mut condition = plain(ConditionKind::ContainersReady, false);
        match phase {
            Phase::Succeeded => condition.reason = "PodCompleted".to_string(),
            Phase::Failed => condition.reason = "PodFailed".to_string(),
            Phase::Pending | Phase::Running => {
                let sidecars = init.iter().zip(self.indices(is_init));
                let sidecars = sidecars.filter(|(_, index)| self.containers[*index].role == Role::Sidecar).map(|(status, _)| status);
                let unready: Vec<_> = sidecars.chain(regular).filter(|status| !status.ready).map(|status| status.name.as_str()).collect();
                if unready.is_empty() {
                    condition.is_true = true;
                } else {
                    condition.reason = "ContainersNotReady".to_string();
                    condition.message = format!("containers with unready status: [{}]", unready.join(" "));
                }
            }
        }
        condition
    }
}

impl Sandbox {
    /// Whether no process of the pod can be alive any more, and none will be.
    pub(crate) const fn is_stopped(&self) -> bool {
        matches!(self, Self::CleaningUp { .. } | Self::Gone { .. })
    }

    /// Whether all containers are behind us.
    pub(crate) const fn is_past_containers(&self) -> bool {
        matches!(self, Self::Stopping { .. } | Self::CleaningUp { .. } | Self::Gone { .. })
    }

    fn ips(&self) -> &[String] {
        match self {
            Self::Absent { .. } | Self::Creating { .. } => &[],
            Self::Ready { ips, .. } | Self::Stopping { ips } | Self::CleaningUp { ips } | Self::Gone { ips } => ips,
        }
    }
}

/// Whether containers of this role stand in the list of init containers.
const fn is_init(role: Role) -> bool {
    matches!(role, Role::Init | Role::Sidecar)
}

/// k8s: 8.a.22
fn rejected_message(rejection: &Rejection) -> String {
    format!("Pod was rejected: {}", rejection.message)
}

fn plain(kind: ConditionKind, is_true: bool) -> Condition {
    Condition { kind, is_true, reason: String::new(), message: String::new() }
}

fn terminated(instance: &Instance) -> Option<Terminated> {
    instance.exit.clone().map(|exit| Terminated { exit, container_id: Some(instance.id.clone()) })
}

/// k8s: 8.c.6, 8.c.8
pub(crate) fn unknown_exit(message: &str, started_at: Option<Timestamp>, at: Timestamp) -> Exit {
    Exit {
        code: UNKNOWN_EXIT_CODE,
        signal: None,
        reason: "ContainerStatusUnknown".to_string(),
        message: message.to_string(),
        started_at,
        finished_at: at,
    }
}
