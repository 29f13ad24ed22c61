//! What a pod's entries measure, while they pass: durations of stages, ends of hooks, grace that was used, probes that came late.
//!
//! A [`Meter`] follows one pod from entry to entry, also those that the journal only counts; it gives back what was measured and
//! never adds anything up. It is not a [`Life`](crate::Life): it keeps only what it waits for, so that a pod that lives for years
//! costs no more than a young one. What an engine before this one began and did not end is not measured.

mod words;

pub use words::{blame_word, handler_word, hook_end, probe_word, stop_word, trigger_word};

use std::collections::BTreeMap;
use std::time::Duration;

use lifecycle::{
    Action, ActionId, ConditionKind, ContainerState, ContainerStatus, Entry as AccountEntry, Event, Exit, GraceAccount, Hook, HookOutcome,
    KillPod, KillTrigger, Note, Phase, PodSpec, PodStatus, ProbeKind, ProbeOutcome, RestartPolicy, Role, Step, StopCause, Timestamp,
};

use crate::blame::{Blame, blame};
use crate::record::{Happening, Kill, Moment, Record};

/// Entries that are remembered while containers are being stopped: a pod of a hundred containers with hooks needs a thousand. A stop
/// that is longer is not accounted for.
const STOP_ENTRIES_MAX: usize = 4096;

const SIGKILL: i32 = 9;

/// Something that was measured.
#[derive(Clone, Debug, PartialEq)]
pub enum Measure {
    /// The pod was seen for the first time.
    PodSeen,
    /// All its containers run for the first time: so long after it was seen.
    PodRunning(Duration),
    /// It is Ready for the first time: so long after it was seen.
    PodReady(Duration),
    /// It began to go.
    Terminating(KillTrigger),
    /// The node evicts it, for this signal.
    Evicted(String),
    /// The node has it go for a critical pod, which needs more of this resource.
    Preempted(String),
    /// A stage of a start was passed.
    Stage(Stage, Duration),
    /// The sandbox itself was made: without the volumes.
    SandboxMade(Duration),
    /// An image was pulled.
    Pulled {
        /// Its size; 0 if that is not known.
        size_bytes: u64,
        /// With the wait for its turn.
        took: Duration,
    },
    /// A hook's request for HTTPS was answered over HTTP.
    FellBackToHttp,
    /// A stage of a start failed, with the reason that the API shows.
    StageFailed {
        /// Which.
        stage: Stage,
        /// Of which kind of container; `None` for the pod.
        role: Option<Role>,
        /// `ErrImagePull`, `FailedCreatePodSandBox` and the like.
        reason: String,
    },
    /// A container's process began.
    Started {
        /// What it does in the pod.
        role: Role,
        /// It had run before.
        is_restart: bool,
    },
    /// A hook ended.
    Hook {
        /// Which.
        hook: Hook,
        /// What it does: `exec`, `httpGet`, `sleep`, `tcpSocket`.
        handler: &'static str,
        /// How: see [`hook_end`].
        end: &'static str,
        /// From its request to its end.
        took: Duration,
    },
    /// An attempt of a probe ended.
    Probe {
        /// Which.
        probe: ProbeKind,
        /// The reference's words: `successful`, `failed`, `unknown`.
        result: &'static str,
        /// How long it took.
        took: Duration,
    },
    /// An attempt of a probe began so long after it was due.
    ProbeLate(ProbeKind, Duration),
    /// A container ended so long after its stop signal.
    SignalToExit(Duration),
    /// The stop of a container is over.
    Stopped {
        /// Why it was stopped.
        cause: StopCause,
        /// The part of its grace that it used; above 1 if it ended beyond it. `None` if there was none to use.
        used_share: Option<f64>,
    },
    /// A container was killed.
    Killed(Blame),
    /// A container ended, with the reason that the API shows.
    Exited(String),
}

/// A stage of a start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// The sandbox, volumes and network included.
    Sandbox,
    /// The volumes alone.
    Volumes,
    /// The image, with the wait for its turn.
    Pull,
    /// The container's creation.
    Create,
    /// Its start.
    Start,
    /// From its start until it is Ready.
    Ready,
}

/// What a pod is made of at the moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// It has a sandbox.
    pub has_sandbox: bool,
    /// Containers that run.
    pub running: usize,
    /// Containers that have ended and were not started again.
    pub exited: usize,
}

/// Follows one pod.
#[derive(Clone, Debug, Default)]
pub struct Meter {
    roles: BTreeMap<String, Role>,
    periods: BTreeMap<(String, ProbeKind), Duration>,
    /// Steps that wait for their answer.
    asked: BTreeMap<ActionId, (Timestamp, Action)>,
    /// Attempts of probes that are awaited.
    due: BTreeMap<(String, ProbeKind), Timestamp>,
    /// How often the newest instance of each container was started before: told at its creation.
    restart_counts: BTreeMap<String, u32>,
    /// Instances, from their creation to their end.
    instances: BTreeMap<String, Running>,
    /// Since a container is being stopped.
    stops: Vec<(Timestamp, Kept)>,
    /// Instances that are being stopped.
    stopping: Vec<String>,
    /// What the node evicts it for, until it goes.
    evicted_for: Option<String>,
    /// The resource that a critical pod needs, until this one goes.
    preempted_for: Option<String>,
    /// What the volumes of the sandbox that is being made took.
    volumes_took: Option<(ActionId, Duration)>,
    seen_at: Option<Timestamp>,
    was_running: bool,
    was_ready: bool,
    census: Census,
}

#[derive(Clone, Debug)]
struct Running {
    started_at: Option<Timestamp>,
    signalled_at: Option<Timestamp>,
    was_ready: bool,
}

#[derive(Clone, Debug)]
enum Kept {
    Kill(KillPod),
    Step(Step),
    Event(Event),
}

impl Meter {
    /// Takes the next entry, and gives what it measures.
    pub fn take(&mut self, at: Moment, record: &Record) -> Vec<Measure> {
        let at = at.timestamp();
        let mut measured = Vec::new();
        self.keep(at, record);
        match record {
            Record::Opened { resumed, continued, .. } => {
                if !resumed && !continued {
                    self.seen_at = Some(at);
                    measured.push(Measure::PodSeen);
                }
            }
            Record::Spec(spec) => self.spec(spec),
            Record::Action(step) => self.step(step, at, &mut measured),
            Record::Event(event) => self.event(event, at, &mut measured),
            Record::Status(status) => self.status(status, at, &mut measured),
            Record::Runtime(Happening::SignalSent { container_id, why, at, .. }) if why == "stop" => {
                if let Some(instance) = self.instances.get_mut(container_id) {
                    instance.signalled_at.get_or_insert(at.timestamp());
                }
            }
            Record::Kill(Kill { eviction: Some(eviction), .. }) => self.evicted_for = Some(eviction.signal.clone()),
            Record::Kill(Kill { preempted_for: Some(resource), .. }) => self.preempted_for = Some(resource.clone()),
            Record::Volumes(facts) => {
                self.volumes_took = Some((facts.id, facts.took));
                // What failed is counted with the sandbox, which fails with it.
                measured.extend(facts.error.is_none().then_some(Measure::Stage(Stage::Volumes, facts.took)));
            }
            Record::Hook(facts) => measured.extend(facts.fell_back_to_http.then_some(Measure::FellBackToHttp)),
            Record::Runtime(_)
            | Record::Kill(_)
            | Record::Warning { .. }
            | Record::Pull(_)
            | Record::Session(_)
            | Record::Probes(_)
            | Record::OutputCut(_)
            | Record::Full => {}
        }
        measured
    }

    /// What the pod is made of at the moment.
    pub const fn census(&self) -> Census {
        self.census
    }

    fn spec(&mut self, spec: &PodSpec) {
        for container in &spec.init_containers {
            let role = if container.restart_policy == Some(RestartPolicy::Always) { Role::Sidecar } else { Role::Init };
            self.roles.insert(container.name.clone(), role);
        }
        self.roles.extend(spec.containers.iter().map(|container| (container.name.clone(), Role::Regular)));
        self.roles.extend(spec.ephemeral_containers.iter().map(|container| (container.name.clone(), Role::Ephemeral)));
        for container in spec.all_containers() {
            let probes = [
                (ProbeKind::Startup, &container.startup_probe),
                (ProbeKind::Liveness, &container.liveness_probe),
                (ProbeKind::Readiness, &container.readiness_probe),
            ];
            let periods = probes.into_iter().filter_map(|(kind, probe)| Some((kind, Duration::from_secs(probe.as_ref()?.period_secs))));
            self.periods.extend(periods.map(|(kind, period)| ((container.name.clone(), kind), period)));
        }
    }

    fn role(&self, container: &str) -> Role {
        self.roles.get(container).copied().unwrap_or(Role::Regular)
    }

    fn step(&mut self, step: &Step, at: Timestamp, measured: &mut Vec<Measure>) {
        if step.action.is_answered() {
            self.asked.insert(step.id, (at, step.action.clone()));
        }
        match &step.action {
            Action::RunProbe { container, probe, .. } => {
                if let Some(due) = self.due.remove(&(container.clone(), *probe)) {
                    measured.push(Measure::ProbeLate(*probe, at.since(due)));
                }
            }
            Action::StopContainer { container_id, .. } => {
                if let Some(instance) = self.instances.get_mut(&container_id.0) {
                    instance.signalled_at.get_or_insert(at);
                }
            }
            Action::StopSandbox => self.census.has_sandbox = false,
            Action::Note(Note::TerminationBegan { trigger, shortened: false, .. }) => {
                measured.push(Measure::Terminating(*trigger));
                // One that went already is not counted: it was not for this that it went.
                let signal = self.evicted_for.take().filter(|_| *trigger == KillTrigger::Evicted);
                measured.extend(signal.map(Measure::Evicted));
                let resource = self.preempted_for.take().filter(|_| *trigger == KillTrigger::Preempted);
                measured.extend(resource.map(Measure::Preempted));
                // Of the probes of a pod that goes, only readiness goes on.
                self.due.retain(|(_, probe), _| *probe == ProbeKind::Readiness);
            }
            Action::Note(Note::StopBegan { container_id, .. }) => self.stopping.push(container_id.0.clone()),
            Action::Note(
                Note::TerminationBegan { shortened: true, .. }
                | Note::PreStopOutOfGrace { .. }
                | Note::StopOrderWait { .. }
                | Note::BackingOff { .. }
                | Note::ProbeTurned { .. },
            )
            | Action::CreateSandbox { .. }
            | Action::CleanUpPod
            | Action::InspectImage { .. }
            | Action::PullImage { .. }
            | Action::CancelPull { .. }
            | Action::CreateContainer { .. }
            | Action::StartContainer { .. }
            | Action::KillContainer { .. }
            | Action::RemoveContainer { .. }
            | Action::RunHook { .. }
            | Action::CancelHook { .. }
            | Action::MeasureRoom
            | Action::CheckMemory { .. }
            | Action::ResizePod { .. }
            | Action::ResizeContainer { .. }
            | Action::RecordEvent(_) => {}
        }
    }

    fn event(&mut self, event: &Event, at: Timestamp, measured: &mut Vec<Measure>) {
        match event {
            Event::SandboxReady { id, .. } => {
                self.census.has_sandbox = true;
                self.sandbox_ready(*id, at, measured);
            }
            Event::SandboxFailed { id, reason, .. } => measured.push(self.failed(*id, Stage::Sandbox, reason)),
            Event::SandboxLost { .. } => {
                self.census.has_sandbox = false;
                self.instances.clear();
                self.end_stops();
            }
            Event::ImagePulled { id, size_bytes, took_with_waiting, .. } => {
                measured.extend(self.passed(*id, Stage::Pull, at));
                measured.push(Measure::Pulled { size_bytes: *size_bytes, took: *took_with_waiting });
            }
            Event::ImagePullFailed { id, reason, .. } => measured.push(self.failed(*id, Stage::Pull, reason)),
            Event::ContainerCreated { id, container_id } => {
                if let Some((_, Action::CreateContainer { container, restart_count, .. })) = self.asked.get(id) {
                    self.restart_counts.insert(container.clone(), *restart_count);
                    let instance = Running { started_at: None, signalled_at: None, was_ready: false };
                    self.instances.insert(container_id.0.clone(), instance);
                }
                measured.extend(self.passed(*id, Stage::Create, at));
            }
            Event::ContainerCreateFailed { id, reason, .. } => measured.push(self.failed(*id, Stage::Create, reason)),
            Event::ContainerStarted { id, at: started_at } => self.started(*id, *started_at, measured),
            Event::ContainerStartFailed { id, .. } => measured.push(self.failed(*id, Stage::Start, "RunContainerError")),
            Event::ContainerExited { container_id, exit } => self.exited(&container_id.0, exit, measured),
            Event::HookFinished { id, outcome } => measured.extend(self.hook_finished(*id, outcome, at)),
            Event::ProbeFinished { id, outcome } => measured.extend(self.probe_finished(*id, outcome, at)),
            Event::ImageInspected { id, .. }
            | Event::StopSignalled { id, .. }
            | Event::KillSignalled { id, .. }
            | Event::SandboxStopped { id }
            | Event::PodCleanedUp { id }
            | Event::RoomMeasured { id, .. }
            | Event::Resized { id, .. } => drop(self.asked.remove(id)),
        }
    }

    fn passed(&mut self, id: ActionId, stage: Stage, at: Timestamp) -> Option<Measure> {
        let (asked_at, _) = self.asked.remove(&id)?;
        Some(Measure::Stage(stage, at.since(asked_at)))
    }

    fn sandbox_ready(&mut self, id: ActionId, at: Timestamp, measured: &mut Vec<Measure>) {
        let Some((asked_at, _)) = self.asked.remove(&id) else { return };
        let whole = at.since(asked_at);
        let volumes = self.volumes_took.take().filter(|(sandbox, _)| *sandbox == id).map_or(Duration::ZERO, |(_, took)| took);
        measured.push(Measure::Stage(Stage::Sandbox, whole));
        measured.push(Measure::SandboxMade(whole.saturating_sub(volumes)));
    }

    fn failed(&mut self, id: ActionId, stage: Stage, reason: &str) -> Measure {
        let role = match self.asked.remove(&id) {
            Some((
                _,
                Action::PullImage { container, .. } | Action::CreateContainer { container, .. } | Action::StartContainer { container, .. },
            )) => Some(self.role(&container)),
            Some(_) | None => None,
        };
        Measure::StageFailed { stage, role, reason: reason.to_owned() }
    }

    fn started(&mut self, id: ActionId, started_at: Timestamp, measured: &mut Vec<Measure>) {
        let Some((asked_at, Action::StartContainer { container, container_id })) = self.asked.remove(&id) else { return };
        let role = self.role(&container);
        let is_restart = self.restart_counts.get(&container).is_some_and(|count| *count > 0);
        if let Some(instance) = self.instances.get_mut(&container_id.0) {
            instance.started_at = Some(started_at);
        }
        measured.push(Measure::Stage(Stage::Start, started_at.since(asked_at)));
        measured.push(Measure::Started { role, is_restart });
    }

    fn exited(&mut self, container_id: &str, exit: &Exit, measured: &mut Vec<Measure>) {
        measured.push(Measure::Exited(exit.reason.clone()));
        let signalled_at = self.instances.remove(container_id).and_then(|instance| instance.signalled_at);
        if let Some(at) = signalled_at.filter(|at| *at <= exit.finished_at) {
            measured.push(Measure::SignalToExit(exit.finished_at.since(at)));
        }
        self.asked.retain(|_, (_, action)| !matches!(action, Action::RunProbe { container_id: of, .. } if of.0 == container_id));
        match self.account_of(container_id) {
            Some(account) => {
                let grace = Duration::from_secs(account.grace_secs);
                let used_share = account.used().filter(|_| !grace.is_zero()).map(|used| used.as_secs_f64() / grace.as_secs_f64());
                measured.push(Measure::Stopped { cause: account.cause, used_share });
                measured.extend(Some(blame(&account)).filter(|blame| *blame != Blame::Nobody).map(Measure::Killed));
            }
            None if exit.reason == "OOMKilled" => measured.push(Measure::Killed(Blame::OutOfMemory)),
            None if exit.signal == Some(SIGKILL) => measured.push(Measure::Killed(Blame::Stranger)),
            None => {}
        }
        self.stopping.retain(|stopping| stopping != container_id);
        if self.stopping.is_empty() {
            self.end_stops();
        }
    }

    /// The account of the stop that is over with the last entry.
    fn account_of(&self, container_id: &str) -> Option<GraceAccount> {
        if !self.stopping.iter().any(|stopping| stopping == container_id) || self.stops.len() >= STOP_ENTRIES_MAX {
            return None;
        }
        let entries = self.stops.iter().map(|(at, kept)| {
            let entry = match kept {
                Kept::Kill(kill) => AccountEntry::Kill(kill),
                Kept::Step(step) => AccountEntry::Step(step),
                Kept::Event(event) => AccountEntry::Event(event),
            };
            (*at, entry)
        });
        GraceAccount::read(entries).into_iter().rev().find(|account| account.container_id.0 == container_id)
    }

    /// Remembers what an account is made of.
    #[expect(clippy::wildcard_enum_match_arm, reason = "whoever picks a few records lets the others pass")]
    fn keep(&mut self, at: Timestamp, record: &Record) {
        let begins = match record {
            Record::Kill(_) => true,
            Record::Action(step) => matches!(step.action, Action::Note(Note::TerminationBegan { .. } | Note::StopBegan { .. })),
            _ => false,
        };
        if (!begins && self.stops.is_empty()) || self.stops.len() >= STOP_ENTRIES_MAX {
            return;
        }
        let kept = match record {
            Record::Kill(kill) => Kept::Kill(kill.kill),
            Record::Action(step) if !matches!(step.action, Action::RunProbe { .. } | Action::RecordEvent(_)) => Kept::Step(step.clone()),
            Record::Event(event @ (Event::HookFinished { .. } | Event::ContainerExited { .. })) => Kept::Event(event.clone()),
            _ => return,
        };
        self.stops.push((at, kept));
    }

    /// Nothing is being stopped. That someone wants the pod gone is remembered: its other containers will be stopped too.
    fn end_stops(&mut self) {
        self.stopping.clear();
        self.stops.retain(|(_, kept)| match kept {
            Kept::Kill(_) => true,
            Kept::Step(step) => matches!(step.action, Action::Note(Note::TerminationBegan { .. })),
            Kept::Event(_) => false,
        });
    }

    fn hook_finished(&mut self, id: ActionId, outcome: &HookOutcome, at: Timestamp) -> Option<Measure> {
        let Some((asked_at, Action::RunHook { hook, handler, .. })) = self.asked.remove(&id) else { return None };
        Some(Measure::Hook { hook, handler: handler_word(&handler), end: hook_end(outcome), took: at.since(asked_at) })
    }

    fn probe_finished(&mut self, id: ActionId, outcome: &ProbeOutcome, at: Timestamp) -> Option<Measure> {
        let Some((asked_at, Action::RunProbe { container, probe, .. })) = self.asked.remove(&id) else { return None };
        // k8s: 7.a.9: a slow attempt delays the next. One that could not be made is tried again at once, when that is possible.
        let key = (container, probe);
        match self.periods.get(&key).filter(|_| !matches!(outcome, ProbeOutcome::Error { .. })) {
            Some(period) => self.due.insert(key, (asked_at + *period).max(at)),
            None => self.due.remove(&key),
        };
        Some(Measure::Probe { probe, result: probe_word(outcome), took: at.since(asked_at) })
    }

    fn status(&mut self, status: &PodStatus, at: Timestamp, measured: &mut Vec<Measure>) {
        let containers = || status.all_container_statuses();
        let count = |is: fn(&ContainerState) -> bool| containers().filter(|one| is(&one.state)).count();
        self.census.running = count(|state| matches!(state, ContainerState::Running { .. }));
        self.census.exited = count(|state| matches!(state, ContainerState::Terminated(_)));
        for container in containers() {
            measured.extend(self.became_ready(container, at));
            if !matches!(container.state, ContainerState::Running { .. }) {
                self.due.retain(|(name, _), _| *name != container.name);
            }
        }
        let Some(seen_at) = self.seen_at else { return };
        if status.phase == Phase::Running && !self.was_running {
            self.was_running = true;
            measured.push(Measure::PodRunning(at.since(seen_at)));
        }
        let is_ready = status.conditions.iter().any(|condition| condition.kind == ConditionKind::Ready && condition.is_true);
        if is_ready && !self.was_ready {
            self.was_ready = true;
            measured.push(Measure::PodReady(at.since(seen_at)));
        }
    }

    fn became_ready(&mut self, container: &ContainerStatus, at: Timestamp) -> Option<Measure> {
        // An init container that has ended well is called ready too.
        let is_running = matches!(container.state, ContainerState::Running { .. });
        let instance = self.instances.get_mut(&container.container_id.as_ref()?.0)?;
        if !container.ready || !is_running || instance.was_ready {
            return None;
        }
        instance.was_ready = true;
        Some(Measure::Stage(Stage::Ready, at.since(instance.started_at?)))
    }
}
