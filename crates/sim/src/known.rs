//! What an engine can know at each moment of a story: what it asked, what it was told. Not what the machine made of it.
//!
//! The promises are judged on this. It is put together from the entries of the story alone.

use std::collections::BTreeMap;

use lifecycle::{
    Action, ActionId, ContainerId, ContainerSpec, Event, EvictionCause, Exit, ExitCodeOperator, Hook, HookOutcome, KillPod, KillTrigger,
    Note, PodSpec, PodStatus, RestartAction, RestartPolicy, RestartRule, Role, Step, StopCause, Timestamp,
};

use crate::story::{Story, What};

/// What is said of a container that went with its sandbox (k8s: 8.c.8).
const LOST: &str = "The container could not be located when the pod was deleted.  The container used to be Running";

/// One `handle_*` of the machine and what came of it.
#[derive(Debug)]
pub struct Window<'a> {
    /// When.
    pub at: Timestamp,
    /// What the machine was given; `None` for its beginning, and when the engine is back.
    pub input: Option<&'a What>,
    /// What it asked for.
    pub did: Vec<&'a Step>,
    /// What it showed, if that was something new.
    pub shown: Option<&'a PodStatus>,
    /// The engine was away right before.
    pub is_after_sleep: bool,
}

/// The windows of a story, in order.
pub fn windows(story: &Story) -> Vec<Window<'_>> {
    let fresh = |at, input, is_after_sleep| Window { at, input, did: Vec::new(), shown: None, is_after_sleep };
    let mut windows = vec![fresh(story.start, None, false)];
    for entry in &story.entries {
        let last = windows.len() - 1;
        match &entry.what {
            What::Asked(..) | What::Updated(_) | What::RoomChanged | What::Told(_) | What::ToldAgain(_) | What::Due(_) => {
                windows.push(fresh(entry.at, Some(&entry.what), false));
            }
            What::EngineStarted => windows.push(fresh(entry.at, None, true)),
            What::Did(step) => windows[last].did.push(step),
            What::Shown(status) => windows[last].shown = Some(status),
            What::Fact(_) | What::EngineStopped => {}
        }
    }
    windows
}

/// What is known of the pod.
#[derive(Debug)]
pub struct Known<'a> {
    /// The pod.
    pub pod: &'a PodSpec,
    /// When it began.
    pub start: Timestamp,
    /// The sandbox is there.
    pub has_sandbox: bool,
    /// How many sandboxes there were before this one.
    pub epoch: u32,
    /// The sandbox is stopped, what is left is given back, and nothing can live any more.
    pub is_over: bool,
    /// Init containers first, then regular ones, in the order of the spec.
    pub containers: Vec<KnownContainer<'a>>,
    /// The pod goes.
    pub termination: Option<KnownTermination>,
    steps: BTreeMap<ActionId, &'a Action>,
}

/// What is known of the pod's end.
#[derive(Clone, Copy, Debug)]
pub struct KnownTermination {
    /// Why.
    pub trigger: KillTrigger,
    /// Since when.
    pub at: Timestamp,
    /// Who asked, if someone did.
    pub asked: Option<KillPod>,
    /// Whose fault an eviction is.
    pub cause: Option<EvictionCause>,
}

/// What is known of a container.
#[derive(Debug)]
pub struct KnownContainer<'a> {
    /// Its spec.
    pub spec: &'a ContainerSpec,
    /// What it is to the pod.
    pub role: Role,
    /// The newest instance.
    pub instance: Option<KnownInstance>,
    /// The one before.
    pub previous: Option<KnownInstance>,
    /// The unanswered step of a start: looking for the image, pulling, creating, starting, postStart.
    pub start_step: Option<ActionId>,
    /// Its postStart hook failed, and the container is not gone yet.
    pub is_failing: bool,
    /// Its postStart hook is over, or it has none: it is there.
    pub is_up: bool,
    /// Its newest instance makes place for another one, whatever the restart policy says (k8s: 4.a.8, 4.a.10).
    pub is_replaced: bool,
    /// The image of the instance that was asked for last.
    making: &'a str,
}

/// What is known of one instance.
#[derive(Clone, Debug)]
pub struct KnownInstance {
    /// Its identity.
    pub id: ContainerId,
    /// Its number.
    pub restart_count: u32,
    /// Its image, as the manifest named it when it was asked for.
    pub image: String,
    /// When its process was released.
    pub started_at: Option<Timestamp>,
    /// The exit that was told before the start was.
    early_exit: Option<Exit>,
    /// How it ended.
    pub exit: Option<Exit>,
}

impl KnownInstance {
    /// Whether its process runs, as far as one can know.
    pub const fn is_alive(&self) -> bool {
        self.started_at.is_some() && self.exit.is_none()
    }
}

impl KnownContainer<'_> {
    /// Whether its process runs, as far as one can know.
    pub fn is_alive(&self) -> bool {
        self.instance.as_ref().is_some_and(KnownInstance::is_alive)
    }

    /// How its newest instance ended.
    pub fn exit(&self) -> Option<&Exit> {
        self.instance.as_ref().and_then(|instance| instance.exit.as_ref())
    }

    /// Whether it has the turn: its start is under way.
    pub const fn is_busy(&self) -> bool {
        self.start_step.is_some() || self.is_failing
    }
}

impl<'a> Known<'a> {
    /// At the beginning nothing is known.
    pub fn new(story: &'a Story) -> Self {
        let container = |spec: &'a ContainerSpec, role: Role| KnownContainer {
            spec,
            role,
            instance: None,
            previous: None,
            start_step: None,
            is_failing: false,
            is_up: false,
            is_replaced: false,
            making: &spec.image,
        };
        let init = story.pod.init_containers.iter().map(|spec| container(spec, init_role(spec)));
        let regular = story.pod.containers.iter().map(|spec| container(spec, Role::Regular));
        let ephemeral = story.pod.ephemeral_containers.iter().map(|spec| container(spec, Role::Ephemeral));
        Self {
            pod: &story.pod,
            start: story.start,
            has_sandbox: false,
            epoch: 0,
            is_over: false,
            containers: init.chain(regular).chain(ephemeral).collect(),
            termination: None,
            steps: BTreeMap::new(),
        }
    }

    /// The action of a step that was asked for.
    pub fn step(&self, id: ActionId) -> Option<&'a Action> {
        self.steps.get(&id).copied()
    }

    /// Where a container stands in the list.
    pub fn index(&self, name: &str) -> Option<usize> {
        self.containers.iter().position(|container| container.spec.name == name)
    }

    /// Where the container of an instance stands in the list.
    pub fn index_of(&self, id: &ContainerId) -> Option<usize> {
        let is_it = |instance: &Option<KnownInstance>| instance.as_ref().is_some_and(|instance| &instance.id == id);
        self.containers.iter().position(|container| is_it(&container.instance) || is_it(&container.previous))
    }

    /// Takes in what the machine was told.
    pub fn hear(&mut self, window: &Window<'a>) {
        if let Some(What::Updated(spec)) = window.input {
            self.update(spec);
        }
        let Some(What::Told(event)) = window.input else { return };
        match event {
            Event::SandboxReady { .. } => self.has_sandbox = true,
            Event::SandboxLost { .. } => self.lose_sandbox(window.at),
            Event::SandboxFailed { .. }
            | Event::SandboxStopped { .. }
            | Event::PodCleanedUp { .. }
            | Event::StopSignalled { .. }
            | Event::KillSignalled { .. } => {}
            Event::ContainerCreated { id, container_id } => {
                let is_given_up = window
                    .did
                    .iter()
                    .any(|step| matches!(&step.action, Action::RemoveContainer { container_id: removed, .. } if removed == container_id));
                self.created(*id, container_id, is_given_up);
            }
            Event::ContainerStarted { id, at } => self.started(*id, *at),
            Event::ContainerStartFailed { id, message } => self.start_failed(*id, message, window.at),
            Event::ContainerExited { container_id, exit } => self.exited(container_id, exit),
            Event::HookFinished { id, outcome } => self.hook_finished(*id, outcome),
            Event::ImageInspected { id, .. }
            | Event::ImagePulled { id, .. }
            | Event::ImagePullFailed { id, .. }
            | Event::ContainerCreateFailed { id, .. } => self.end_step(*id),
            Event::ProbeFinished { .. } | Event::RoomMeasured { .. } | Event::Resized { .. } => {}
        }
    }

    fn update(&mut self, spec: &'a PodSpec) {
        self.pod = spec;
        for (container, spec) in self.containers.iter_mut().zip(spec.init_containers.iter().chain(&spec.containers)) {
            let looks_for_image = container
                .start_step
                .and_then(|id| self.steps.get(&id))
                .is_some_and(|action| matches!(action, Action::InspectImage { .. } | Action::PullImage { .. }));
            // Nobody waits any more for an image that is not wanted.
            if looks_for_image && container.spec.image != spec.image {
                container.start_step = None;
            }
            container.spec = spec;
        }
    }

    /// Takes in what the machine asked for.
    pub fn see(&mut self, window: &Window<'a>) {
        for step in &window.did {
            self.steps.insert(step.id, &step.action);
            match &step.action {
                Action::InspectImage { container, .. }
                | Action::PullImage { container, .. }
                | Action::StartContainer { container, .. }
                | Action::RunHook { container, hook: Hook::PostStart, .. } => {
                    if let Some(index) = self.index(container) {
                        self.containers[index].start_step = Some(step.id);
                    }
                }
                Action::CreateContainer { container, .. } => {
                    if let Some(index) = self.index(container) {
                        let container = &mut self.containers[index];
                        (container.start_step, container.making) = (Some(step.id), &container.spec.image);
                    }
                }
                Action::CancelHook { run } => self.end_step(*run),
                Action::CancelPull { pull } => self.end_step(*pull),
                Action::Note(Note::TerminationBegan { trigger, shortened: false, .. }) => {
                    let (asked, cause) = match window.input {
                        Some(What::Asked(kill, cause)) => (Some(*kill), *cause),
                        Some(_) | None => (None, None),
                    };
                    self.termination = Some(KnownTermination { trigger: *trigger, at: window.at, asked, cause });
                    for container in &mut self.containers {
                        container.is_failing = false;
                    }
                }
                Action::Note(Note::StopBegan {
                    container, cause: StopCause::ResizeNeedsRestart | StopCause::DefinitionChanged, ..
                }) => {
                    if let Some(index) = self.index(container) {
                        self.containers[index].is_replaced = true;
                    }
                }
                Action::CleanUpPod => self.is_over = true,
                Action::CreateSandbox { .. }
                | Action::StopSandbox
                | Action::StopContainer { .. }
                | Action::KillContainer { .. }
                | Action::RemoveContainer { .. }
                | Action::RunHook { .. }
                | Action::MeasureRoom
                | Action::CheckMemory { .. }
                | Action::ResizePod { .. }
                | Action::ResizeContainer { .. }
                | Action::RunProbe { .. }
                | Action::RecordEvent(_)
                | Action::Note(_) => {}
            }
        }
    }

    fn end_step(&mut self, id: ActionId) {
        for container in &mut self.containers {
            if container.start_step == Some(id) {
                container.start_step = None;
            }
        }
    }

    fn lose_sandbox(&mut self, at: Timestamp) {
        // A pod that goes has no other one; what is left of this one is still to be stopped.
        let any_instance = self.containers.iter().any(|container| container.instance.is_some());
        let goes = self.termination.is_some() || (self.pod.restart_policy == RestartPolicy::Never && any_instance);
        self.has_sandbox &= goes;
        self.epoch += 1;
        for container in &mut self.containers {
            container.start_step = None;
            container.is_failing = false;
            container.is_up = false;
            if let Some(instance) = container.instance.as_mut().filter(|instance| instance.exit.is_none()) {
                let unknown = Exit {
                    code: 137,
                    signal: None,
                    reason: "ContainerStatusUnknown".to_owned(),
                    message: LOST.to_owned(),
                    started_at: instance.started_at,
                    finished_at: at,
                };
                instance.exit = Some(instance.early_exit.take().unwrap_or(unknown));
            }
        }
    }

    fn created(&mut self, id: ActionId, container_id: &ContainerId, is_given_up: bool) {
        let Some(index) = self.containers.iter().position(|container| container.start_step == Some(id)) else { return };
        self.end_step(id);
        if self.termination.is_some() || is_given_up {
            return;
        }
        let container = &mut self.containers[index];
        let restart_count = container.instance.as_ref().map_or(0, |instance| instance.restart_count + 1);
        let (id, image) = (container_id.clone(), container.making.to_owned());
        let fresh = KnownInstance { id, restart_count, image, started_at: None, early_exit: None, exit: None };
        container.previous = container.instance.replace(fresh);
        container.is_replaced = false;
    }

    fn started(&mut self, id: ActionId, at: Timestamp) {
        let Some(index) = self.containers.iter().position(|container| container.start_step == Some(id)) else { return };
        self.end_step(id);
        let container = &mut self.containers[index];
        let Some(instance) = &mut container.instance else { return };
        instance.started_at = Some(at);
        instance.exit = instance.early_exit.take();
        container.is_up = instance.exit.is_none() && container.spec.post_start.is_none();
    }

    fn start_failed(&mut self, id: ActionId, message: &str, at: Timestamp) {
        let Some(index) = self.containers.iter().position(|container| container.start_step == Some(id)) else { return };
        self.end_step(id);
        if let Some(instance) = &mut self.containers[index].instance {
            instance.exit = Some(Exit {
                code: 128,
                signal: None,
                reason: "StartError".to_owned(),
                message: message.to_owned(),
                started_at: None,
                finished_at: at,
            });
        }
    }

    fn exited(&mut self, id: &ContainerId, exit: &Exit) {
        for container in &mut self.containers {
            let Some(instance) = container.instance.as_mut().filter(|instance| &instance.id == id && instance.exit.is_none()) else {
                continue;
            };
            if instance.started_at.is_none() {
                instance.early_exit = Some(exit.clone());
                return;
            }
            instance.exit = Some(exit.clone());
            container.start_step = None;
            container.is_failing = false;
            container.is_up = false;
            return;
        }
    }

    fn hook_finished(&mut self, id: ActionId, outcome: &HookOutcome) {
        let Some(container) = self.containers.iter_mut().find(|container| container.start_step == Some(id)) else { return };
        container.start_step = None;
        if self.termination.is_some() {
            return;
        }
        container.is_up = *outcome == HookOutcome::Succeeded;
        container.is_failing = !container.is_up;
    }
}

/// What a container is to its pod (kep-753).
fn init_role(spec: &ContainerSpec) -> Role {
    match spec.restart_policy {
        Some(RestartPolicy::Always) => Role::Sidecar,
        Some(RestartPolicy::OnFailure | RestartPolicy::Never) | None => Role::Init,
    }
}

/// Whether an exit has all containers of the pod begin again: the first rule that speaks of it decides (k8s: 5.a.4, 6.d.1).
pub fn begins_all_again(spec: &ContainerSpec, exit: &Exit) -> bool {
    let speaks = |rule: &&RestartRule| rule.exit_codes.contains(&exit.code) == (rule.operator == ExitCodeOperator::In);
    let first = spec.restart_policy_rules.iter().find(speaks);
    spec.restart_policy.is_some() && first.is_some_and(|rule| rule.action == RestartAction::RestartAllContainers)
}

/// Whether a container that ended so is started again while its pod lives (k8s: 5.a.2, 5.a.3, 5.a.8, 5.a.9, 5.a.10).
pub fn is_restarted(pod: &PodSpec, container: &KnownContainer<'_>, exit: &Exit) -> bool {
    if container.is_replaced {
        return true;
    }
    let has_failed = exit.code != 0 || exit.reason == "OOMKilled";
    match container.role {
        Role::Sidecar => return true,
        // k8s: 5.a.11
        Role::Ephemeral => return false,
        Role::Init if !has_failed => return false,
        Role::Init | Role::Regular => {}
    }
    let Some(own) = container.spec.restart_policy else { return follows(pod.restart_policy, exit.code) };
    let matches = container.spec.restart_policy_rules.iter().any(|rule| {
        let is_listed = rule.exit_codes.contains(&exit.code);
        is_listed == (rule.operator == ExitCodeOperator::In)
    });
    matches || follows(own, exit.code)
}

fn follows(policy: RestartPolicy, code: i32) -> bool {
    match policy {
        RestartPolicy::Always => true,
        RestartPolicy::OnFailure => code != 0,
        RestartPolicy::Never => false,
    }
}
