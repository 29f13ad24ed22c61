//! In-place resize: other resources for containers that run.
//!
//! ```text
//!  another manifest ─▶ Asking ─▶ granted: every container of the pod is allocated what the manifest says
//!                        ▲  └──▶ Waiting: Deferred (asked again), Infeasible (until the manifest changes)
//!                        └─ by time, or when another pod makes place
//!
//!  granted, and something runs ─▶ what would lose memory does not use it ─▶ the pod's group is raised ─▶ restarts that the policy asks for
//!                              ─▶ each container, those that are lowered first ─▶ the pod's group as it is to be ─▶ done
//! ```
//!
//! The pod's group always has room for what its containers have at that moment. A container that is not there is made with what is
//! allocated when its time comes, as far as the pod's group has room for it by then; one that pauses after crashes begins at once, since
//! the pauses were earned with other resources. What the node refuses to write is tried again; nothing else of the pod waits for it.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::time::Duration;

use serde::{Deserialize, Serialize};

use crate::action::{Action, ActionId, EventKind, StopCause};
use crate::back_off::BackOff;
use crate::container::{Container, Role, Stage};
use crate::resources::{Fit, Resources, Room, judge};
use crate::spec::PodSpec;
use crate::status::{Condition, ConditionKind};
use crate::text::go_quote;
use crate::time::Timestamp;
use crate::worker::{PodWorker, RETRY_AFTER, Sandbox};

/// A resize that does not fit is asked for again after this long, as the reference does, or as soon as another pod makes place.
pub const RESIZE_RETRY_AFTER: Duration = Duration::from_secs(180);

/// Where a resize stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Resize {
    pub(crate) request: Request,
    pub(crate) progress: Progress,
    /// What the pod's control group has room for, in the order of the machine's containers.
    pub(crate) of_pod: Vec<Resources>,
    /// No more memory is in use than is allocated, as far as that was looked at: something may be written.
    pub(crate) is_checked: bool,
}

/// What the manifest wants and is not allocated yet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Request {
    /// Nothing.
    #[default]
    None,
    /// Waits for `RoomMeasured`.
    Asking { action: ActionId },
    /// It does not fit; asked again at `again_at`, if it ever can fit.
    Waiting { reason: PendingReason, message: String, again_at: Option<Timestamp> },
}

/// Why a resize waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum PendingReason {
    Deferred,
    Infeasible,
}

/// How far what is allocated has come to be so.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Progress {
    /// It is so.
    #[default]
    Complete,
    /// The next step follows from where everything stands. The last failure is told until all is done.
    Due { error: Option<String> },
    /// Waits for `Resized`.
    Writing { action: ActionId, change: Change, error: Option<String> },
    /// The node refused; tried again at `again_at`.
    Failed { error: String, again_at: Timestamp },
}

/// What is being written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Change {
    /// Nothing yet: it is looked whether something could be.
    None,
    Pod {
        to: Vec<Resources>,
    },
    Container {
        index: usize,
        to: Resources,
    },
}

impl PodWorker {
    /// The node has other room than when it was asked last: a resize that was deferred may fit.
    pub fn handle_room_changed(&mut self, now: Timestamp) {
        if let Request::Waiting { reason: PendingReason::Deferred, .. } = self.resize.request {
            self.ask_for_room();
        }
        self.settle(now);
    }

    /// Whether a resize waits until other pods make place.
    pub const fn waits_for_room(&self) -> bool {
        matches!(self.resize.request, Request::Waiting { reason: PendingReason::Deferred, .. })
    }

    /// What each container is allocated, by name: not what the manifest says while that does not fit.
    pub fn allocated(&self) -> BTreeMap<String, Resources> {
        self.containers.iter().map(|container| (container.spec.name.clone(), container.allocated)).collect()
    }

    /// A state that an engine wrote which knew nothing of resources: what the manifest says is what the containers were made with.
    pub fn learn_resources(&mut self, spec: &PodSpec) {
        if self.containers.iter().any(|container| !container.spec.resources.is_empty()) {
            return;
        }
        self.take_resources(spec);
        for container in &mut self.containers {
            container.allocated = container.spec.resources;
            container.created_with = container.allocated;
            if let Some(instance) = &mut container.instance {
                instance.resources = container.allocated;
            }
        }
        self.resize.of_pod = self.containers.iter().map(|container| container.allocated).collect();
    }

    /// Takes the resources of a changed manifest; what follows is decided with [`Self::consider_resize`].
    pub(crate) fn take_resources(&mut self, spec: &PodSpec) {
        self.spec.generation = spec.generation;
        for changed in spec.init_containers.iter().chain(&spec.containers) {
            let mut of_spec = self.spec.init_containers.iter_mut().chain(&mut self.spec.containers);
            if let Some(known) = of_spec.find(|known| known.name == changed.name) {
                known.resources = changed.resources;
            }
            if let Some(known) = self.containers.iter_mut().find(|known| known.spec.name == changed.name) {
                known.spec.resources = changed.resources;
            }
        }
    }

    pub(crate) fn consider_resize(&mut self) {
        let is_wanted = self.containers.iter().any(|container| container.spec.resources != container.allocated);
        if !is_wanted || self.termination.is_some() {
            self.resize.request = Request::None;
            return;
        }
        self.ask_for_room();
    }

    fn ask_for_room(&mut self) {
        let action = self.ask_for_pod(Action::MeasureRoom);
        // What was said of it last is shown until there is another answer.
        if !matches!(self.resize.request, Request::Waiting { .. }) {
            self.resize.request = Request::Asking { action };
        }
    }

    pub(crate) fn room_measured(&mut self, room: Room, now: Timestamp) {
        if self.resize.request == Request::None || self.termination.is_some() {
            return;
        }
        let (reason, message, again_at) = match judge(room, &self.containers) {
            Fit::Fits => {
                self.grant_resize();
                return;
            }
            Fit::NotNow(message) => (PendingReason::Deferred, message, Some(now + RESIZE_RETRY_AFTER)),
            Fit::Never(message) => (PendingReason::Infeasible, message, None),
        };
        let is_known =
            matches!(&self.resize.request, Request::Waiting { reason: old, message: text, .. } if (*old, text) == (reason, &message));
        if !is_known {
            let wanted = self.resize_message(&format!("Pod resize {reason:?}"), |container| container.spec.resources, Some(&message));
            self.tell_pod(EventKind::Warning, &format!("Resize{reason:?}"), wanted);
        }
        self.resize.request = Request::Waiting { reason, message, again_at };
    }

    fn grant_resize(&mut self) {
        self.resize.request = Request::None;
        for container in self.containers.iter_mut().filter(|container| container.allocated != container.spec.resources) {
            container.allocated = container.spec.resources;
            // k8s: 5.b.7: what it may use is part of what the pauses are remembered by.
            container.back_off = BackOff::default();
            if matches!(container.stage, Stage::BackOff { .. }) {
                container.stage = Stage::Waiting;
            }
        }
        if !self.is_resized() {
            let text = self.resize_message("Pod resize started", |container| container.allocated, None);
            self.tell_pod(EventKind::Normal, "ResizeStarted", text);
            self.resize.is_checked = false;
            if !matches!(self.resize.progress, Progress::Writing { .. }) {
                self.resize.progress = Progress::Due { error: None };
            }
        }
    }

    /// Whether everything that runs has what is allocated to it.
    fn is_resized(&self) -> bool {
        let of_pod = self.containers.iter().map(|container| container.allocated);
        let is_pod_resized =
            !matches!(self.sandbox, Sandbox::Creating { .. } | Sandbox::Ready { .. }) || self.resize.of_pod.iter().copied().eq(of_pod);
        is_pod_resized
            && self.containers.iter().all(|container| container.resources_in_use().is_none_or(|used| used == container.allocated))
    }

    /// The next step of a resize that is granted: called whenever anything has changed.
    pub(crate) fn go_on_with_resize(&mut self, now: Timestamp) {
        let Progress::Due { error } = self.resize.progress.clone() else { return };
        if !matches!(self.sandbox, Sandbox::Ready { .. }) || self.restart_all.is_some() {
            return;
        }
        if !self.resize.is_checked {
            // What cannot be done as a whole is not begun.
            if let Some(check) = self.memory_check() {
                let action = self.ask_for_pod(check);
                self.resize.progress = Progress::Writing { action, change: Change::None, error };
                return;
            }
            self.resize.is_checked = true;
        }
        let allocated: Vec<_> = self.containers.iter().map(|container| container.allocated).collect();
        let room: Vec<_> = self.resize.of_pod.iter().zip(&allocated).map(|(had, needed)| had.max(*needed)).collect();
        if room != self.resize.of_pod {
            return self.resize_pod(room, error);
        }
        self.restart_for_resize(now);
        if let Some(index) = self.next_to_resize() {
            return self.resize_container(index, error);
        }
        // Others have yet to begin, to end, or to begin again.
        let is_on_the_way = |container: &Container| {
            let differs = container.resources_in_use().is_some_and(|used| used != container.allocated);
            differs || container.is_replaced() && container.stage != Stage::Done
        };
        if self.containers.iter().any(is_on_the_way) {
            return;
        }
        if self.resize.of_pod != allocated {
            return self.resize_pod(allocated, error);
        }
        self.resize.progress = Progress::Complete;
        let text = self.resize_message("Pod resize completed", |container| container.allocated, None);
        self.tell_pod(EventKind::Normal, "ResizeCompleted", text);
    }

    /// What a new instance is made with: what is allocated, as far as the pod's group has been raised for it.
    pub(crate) fn resources_for_start(&self, index: usize) -> Resources {
        let allocated = self.containers[index].allocated;
        self.resize.of_pod.get(index).map_or(allocated, |room| allocated.within(*room))
    }

    /// What has to be known before memory is taken from what runs and goes on. The pod as a whole is looked at if none of its containers
    /// is restarted for the resize: then what it uses now is what it will use.
    fn memory_check(&self) -> Option<Action> {
        let running = || self.containers.iter().filter(|container| container.stage == Stage::Running);
        let differing = || running().filter_map(|container| Some((container, container.resources_in_use()?)));
        let restarts = |(container, used): &(&Container, Resources)| used.needs_restart(container.allocated, container.spec.resize_policy);
        let lowered = differing().filter(|(container, used)| used.has_less_memory_with(container.allocated));
        let lowered = lowered.filter(|pair| !restarts(pair)).map(|(container, _)| (container.spec.name.clone(), container.allocated));
        let containers: BTreeMap<_, _> = lowered.collect();
        let pod = if differing().any(|pair| restarts(&pair)) { BTreeMap::new() } else { self.allocated() };
        (!containers.is_empty()).then_some(Action::CheckMemory { containers, pod })
    }

    /// k8s: 4.a.10: with the spec's grace, and started again whatever the restart policy says.
    fn restart_for_resize(&mut self, now: Timestamp) {
        for index in 0..self.containers.len() {
            let container = &self.containers[index];
            let Some(used) = container.resources_in_use().filter(|_| container.stage == Stage::Running) else { continue };
            if container.role == Role::Init || !used.needs_restart(container.allocated, container.spec.resize_policy) {
                continue;
            }
            let text = format!("Container {} resize requires restart", container.spec.name);
            if let Some(instance) = &mut self.containers[index].instance {
                instance.is_replaced = true;
            }
            self.stop_alone(index, StopCause::ResizeNeedsRestart, text, None, now);
        }
    }

    /// Those from which something is taken go first, so that there is place for the others.
    fn next_to_resize(&self) -> Option<usize> {
        let differs = |container: &Container| {
            let used = container.resources_in_use().filter(|_| container.stage == Stage::Running)?;
            (used != container.allocated).then_some(used)
        };
        let all = || self.containers.iter().enumerate();
        let lowered = all().find(|(_, container)| differs(container).is_some_and(|used| used.is_lowered_by(container.allocated)));
        lowered.or_else(|| all().find(|(_, container)| differs(container).is_some())).map(|(index, _)| index)
    }

    fn resize_pod(&mut self, to: Vec<Resources>, error: Option<String>) {
        let containers = self.containers.iter().zip(&to).map(|(container, to)| (container.spec.name.clone(), *to)).collect();
        let action = self.ask_for_pod(Action::ResizePod { containers });
        self.resize.progress = Progress::Writing { action, change: Change::Pod { to }, error };
    }

    fn resize_container(&mut self, index: usize, error: Option<String>) {
        let container = &self.containers[index];
        let Some(container_id) = container.live_id().cloned() else { return };
        let (name, to) = (container.spec.name.clone(), container.allocated);
        let action = self.ask_for_container(index, Action::ResizeContainer { container: name, container_id, resources: to });
        self.resize.progress = Progress::Writing { action, change: Change::Container { index, to }, error };
    }

    pub(crate) fn resized(&mut self, id: ActionId, refusal: Option<String>, now: Timestamp) {
        let Progress::Writing { action, change, error } = self.resize.progress.clone() else { return };
        if action != id {
            return;
        }
        let Some(refusal) = refusal else {
            match change {
                Change::None => self.resize.is_checked = true,
                Change::Pod { to } => self.resize.of_pod = to,
                Change::Container { index, to } => {
                    if let Some(instance) = &mut self.containers[index].instance {
                        instance.resources = to;
                    }
                }
            }
            self.resize.progress = Progress::Due { error };
            return;
        };
        // A container that ended meanwhile is made anew with what is allocated.
        let is_gone = matches!(change, Change::Container { index, .. } if !self.containers[index].is_live());
        if is_gone {
            self.resize.progress = Progress::Due { error };
            return;
        }
        if error.as_ref() != Some(&refusal) {
            let text = self.resize_message("Pod resize error", |container| container.allocated, Some(&refusal));
            self.tell_pod(EventKind::Warning, "ResizeError", text);
        }
        self.resize.is_checked = false;
        self.resize.progress = Progress::Failed { error: refusal, again_at: now + RETRY_AFTER };
    }

    pub(crate) fn resize_due(&self) -> Option<Timestamp> {
        if self.termination.is_some() {
            return None;
        }
        let request = match self.resize.request {
            Request::Waiting { again_at, .. } => again_at,
            Request::None | Request::Asking { .. } => None,
        };
        let progress = match self.resize.progress {
            Progress::Failed { again_at, .. } => Some(again_at),
            Progress::Complete | Progress::Due { .. } | Progress::Writing { .. } => None,
        };
        request.into_iter().chain(progress).min()
    }

    pub(crate) fn resize_timeout(&mut self, now: Timestamp) {
        if self.termination.is_some() {
            return;
        }
        if let Request::Waiting { again_at: Some(at), .. } = &mut self.resize.request
            && *at <= now
        {
            *at = now + RESIZE_RETRY_AFTER;
            self.ask_for_room();
        }
        if let Progress::Failed { error, again_at } = self.resize.progress.clone()
            && again_at <= now
        {
            self.resize.progress = Progress::Due { error: Some(error) };
        }
    }

    /// The sandbox is lost, and with it every group: the next one is made with what is allocated.
    pub(crate) fn forget_resize_steps(&mut self) {
        if let Progress::Writing { error, .. } = self.resize.progress.clone() {
            self.resize.progress = Progress::Due { error };
        }
        // The question was the pod's, and is not answered any more.
        self.consider_resize();
    }

    /// k8s: 8.b.1: what waits before what is under way.
    pub(crate) fn resize_conditions(&self) -> Vec<Condition> {
        let mut conditions = Vec::new();
        if self.termination.is_some() {
            return conditions;
        }
        if let Request::Waiting { reason, message, .. } = &self.resize.request {
            let reason = format!("{reason:?}");
            conditions.push(Condition { kind: ConditionKind::PodResizePending, is_true: true, reason, message: message.clone() });
        }
        let error = match &self.resize.progress {
            Progress::Complete => return conditions,
            Progress::Due { error } | Progress::Writing { error, .. } => error.clone(),
            Progress::Failed { error, .. } => Some(error.clone()),
        };
        let reason = if error.is_some() { "Error" } else { "" }.to_string();
        let message = error.unwrap_or_default();
        conditions.push(Condition { kind: ConditionKind::PodResizeInProgress, is_true: true, reason, message });
        conditions
    }

    /// k8s: 10.d.18: the text of an Event, with the resources that it is about.
    fn resize_message(&self, begin: &str, of: impl Fn(&Container) -> Resources, error: Option<&str>) -> String {
        let list = |name: &str, wanted: &dyn Fn(Role) -> bool| {
            let containers = self.containers.iter().filter(|container| wanted(container.role));
            let texts: Vec<_> = containers
                .map(|container| format!("{{\"name\":{},\"resources\":{}}}", go_quote(&container.spec.name), of(container).to_json()))
                .collect();
            (!texts.is_empty()).then(|| format!("\"{name}\":[{}]", texts.join(",")))
        };
        let sidecars = list("initContainers", &|role| role == Role::Sidecar);
        let regular = list("containers", &|role| role == Role::Regular);
        let generation = Some(format!("\"generation\":{}", self.spec.generation));
        let error = error.map(|error| format!("\"error\":{}", go_quote(error)));
        let parts: Vec<_> = [sidecars, regular, generation, error].into_iter().flatten().collect();
        format!("{begin}: {{{}}}", parts.join(","))
    }
}
