//! A runtime that exists only as data: it does what the machine asks, in virtual time, as its [`Nature`] has it.
//!
//! It knows the truth about every process and keeps the contract of the actions: each answered action is answered exactly
//! once (or more often, if its nature repeats answers), never before it was asked. What the machine must not ask for is done
//! as a real runtime would, and put down as [`Fact::Misuse`].

use std::collections::BTreeMap;
use std::time::Duration;

use lifecycle::{Action, ActionId, ContainerId, Event, Exit, Handler, Hook, HookOutcome, ProbeOutcome, Resources, Step, Timestamp};

use crate::nature::{Ending, HookRun, Life, Nature, OnStopSignal};

/// SIGKILL's number, as the end of a process has it.
const SIGKILL: i32 = 9;

/// Something that really happened, whether the machine knows of it or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// A main process runs.
    Started {
        /// The instance.
        id: ContainerId,
    },
    /// The stop signal reached a live main process.
    StopSignal {
        /// The instance.
        id: ContainerId,
    },
    /// A main process ended.
    Ended {
        /// The instance.
        id: ContainerId,
        /// How.
        ending: Ending,
    },
    /// A hook began to run.
    HookBegan {
        /// The instance.
        id: ContainerId,
        /// Which.
        hook: Hook,
    },
    /// A hook ended.
    HookEnded {
        /// The instance.
        id: ContainerId,
        /// Which.
        hook: Hook,
        /// How.
        outcome: HookOutcome,
    },
    /// The sandbox and all in it went away.
    SandboxLost,
    /// The machine asked for something that it must never ask for.
    Misuse(String),
}

/// What comes out of the world when time passes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// To be told to the machine.
    Tell(Event),
    /// Told already; to be told again.
    TellAgain(Event),
    /// For the record only.
    Fact(Fact),
}

/// The fake runtime.
#[derive(Debug)]
pub struct World<N> {
    nature: N,
    agenda: BTreeMap<(Timestamp, u64), Happening>,
    next_number: u64,
    sandbox: Option<u32>,
    /// What the pod's group has room for, by container.
    place: BTreeMap<String, Resources>,
    instances: BTreeMap<ContainerId, Instance>,
    hooks: BTreeMap<ActionId, RunningHook>,
    pulls: BTreeMap<ActionId, (Timestamp, u64)>,
    created: u64,
    /// Losses of the sandbox that the machine does not know of yet.
    untold_losses: u32,
    facts: Vec<Fact>,
}

#[derive(Debug)]
struct Instance {
    container: String,
    restart_count: u32,
    resources: Resources,
    process: Process,
    life: Life,
    stop_signalled: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Process {
    NotYet,
    Starting,
    Alive { since: Timestamp },
    Ended,
}

#[derive(Debug)]
struct RunningHook {
    id: ContainerId,
    hook: Hook,
    is_exec: bool,
    told_after: Duration,
    due: Option<(Timestamp, u64)>,
}

#[derive(Clone, Debug)]
enum Happening {
    Answer(Event),
    Repeat(Event),
    Exit { id: ContainerId, ending: Ending },
    Create { step: ActionId, container: String, restart_count: u32, resources: Resources, sandbox: Option<u32> },
    Start { step: ActionId, id: ContainerId },
    StopSignal { step: ActionId, id: ContainerId, kill_after: Duration, error: Option<String> },
    KillSignal { step: Option<ActionId>, id: ContainerId, error: Option<String> },
    HookEnds { run: ActionId, outcome: HookOutcome },
    SandboxMade { step: ActionId, attempt: u32, ips: Vec<String>, place: BTreeMap<String, Resources> },
    ResizePod { step: ActionId, containers: BTreeMap<String, Resources>, error: Option<String> },
    ResizeContainer { step: ActionId, id: ContainerId, to: Resources, error: Option<String> },
    SandboxGone { step: ActionId },
}

impl<N: Nature> World<N> {
    /// An empty world.
    pub const fn new(nature: N) -> Self {
        Self {
            nature,
            agenda: BTreeMap::new(),
            next_number: 0,
            sandbox: None,
            place: BTreeMap::new(),
            instances: BTreeMap::new(),
            hooks: BTreeMap::new(),
            pulls: BTreeMap::new(),
            created: 0,
            untold_losses: 0,
            facts: Vec::new(),
        }
    }

    /// The world's character.
    pub const fn nature(&mut self) -> &mut N {
        &mut self.nature
    }

    /// When something happens next by itself.
    pub fn next_at(&self) -> Option<Timestamp> {
        self.agenda.keys().next().map(|(at, _)| *at)
    }

    /// Whether a main process lives.
    pub fn is_anything_alive(&self) -> bool {
        self.instances.values().any(|instance| matches!(instance.process, Process::Alive { .. } | Process::Starting))
    }

    /// The live instance of a container, if there is one.
    pub fn live_instance(&self, container: &str) -> Option<ContainerId> {
        let mut live = self
            .instances
            .iter()
            .filter(|(_, instance)| instance.container == container && matches!(instance.process, Process::Alive { .. }));
        live.next().map(|(id, _)| id.clone())
    }

    /// Facts that came about outside of [`Self::pass`], oldest first.
    pub fn take_facts(&mut self) -> Vec<Fact> {
        std::mem::take(&mut self.facts)
    }

    /// The machine asks for something.
    pub fn begin(&mut self, step: &Step, now: Timestamp) {
        let id = step.id;
        match &step.action {
            Action::CreateSandbox { attempt, containers } => self.create_sandbox(id, *attempt, containers, now),
            Action::StopSandbox => {
                if self.is_anything_alive() {
                    self.misuse("the sandbox is stopped while a process lives in it");
                }
                let at = now + self.nature.stop_sandbox();
                self.plan(at, Happening::SandboxGone { step: id });
            }
            Action::CleanUpPod => {
                if self.is_anything_alive() {
                    self.misuse("the pod is cleaned up while a process lives in it");
                }
                let at = now + self.nature.clean_up();
                self.answer(at, Event::PodCleanedUp { id });
            }
            Action::InspectImage { container, image } => {
                self.expect_sandbox("an image is looked for");
                let look = self.nature.inspect_image(container, image);
                self.answer(now + look.after, Event::ImageInspected { id, outcome: look.value });
            }
            Action::PullImage { container, image } => self.pull_image(id, container, image, now),
            Action::CancelPull { pull } => self.cancel_pull(*pull, now),
            Action::CreateContainer { container, restart_count, resources, .. } => {
                self.create_container(id, container, (*restart_count, *resources), now);
            }
            Action::StartContainer { container_id, .. } => self.start_container(id, container_id, now),
            Action::StopContainer { container, container_id, kill_after } => {
                self.expect_process(container_id, "the stop signal is sent");
                let sent = self.nature.stop_signal(container);
                let happening =
                    Happening::StopSignal { step: id, id: container_id.clone(), kill_after: *kill_after, error: sent.value.err() };
                self.plan(now + sent.after, happening);
            }
            Action::KillContainer { container, container_id } => {
                self.expect_process(container_id, "SIGKILL is sent");
                let sent = self.nature.kill_signal(container);
                let happening = Happening::KillSignal { step: Some(id), id: container_id.clone(), error: sent.value.err() };
                self.plan(now + sent.after, happening);
            }
            Action::RemoveContainer { container_id, .. } => match self.instances.get(container_id) {
                Some(instance) if matches!(instance.process, Process::Alive { .. } | Process::Starting) => {
                    self.misuse(&format!("{container_id} is removed while it lives"));
                }
                Some(_) => {
                    self.instances.remove(container_id);
                }
                None => self.misuse(&format!("{container_id} is removed and is not there")),
            },
            Action::RunHook { container, container_id, hook, handler } => {
                self.run_hook(id, container, container_id, *hook, handler, now);
            }
            Action::CancelHook { run } => {
                if let Some(told_after) = self.hooks.get(run).map(|hook| hook.told_after) {
                    self.reschedule_hook(*run, now + told_after, HookOutcome::Cancelled);
                }
            }
            Action::RunProbe { container, container_id, probe, .. } => {
                let outcome = match self.instances.get(container_id) {
                    Some(Instance { process: Process::Alive { since }, restart_count, .. }) => {
                        self.nature.probe(container, *restart_count, *probe, now.since(*since))
                    }
                    Some(_) | None => crate::nature::Timed::now(ProbeOutcome::Error { error: "the container has ended".to_owned() }),
                };
                self.answer(now + outcome.after, Event::ProbeFinished { id, outcome: outcome.value });
            }
            Action::MeasureRoom => {
                let room = self.nature.room();
                self.answer(now + room.after, Event::RoomMeasured { id, room: room.value });
            }
            Action::CheckMemory { containers, .. } => {
                self.expect_sandbox("the pod's memory is looked at");
                let looked = self.nature.memory_check(containers);
                self.answer(now + looked.after, Event::Resized { id, error: looked.value.err() });
            }
            Action::ResizePod { containers } => {
                self.expect_sandbox("the pod's group is resized");
                let written = self.nature.resize(None);
                let happening = Happening::ResizePod { step: id, containers: containers.clone(), error: written.value.err() };
                self.plan(now + written.after, happening);
            }
            Action::ResizeContainer { container, container_id, resources } => {
                self.expect_process(container_id, "other resources are written");
                let written = self.nature.resize(Some(container));
                let (step, id, to) = (id, container_id.clone(), *resources);
                self.plan(now + written.after, Happening::ResizeContainer { step, id, to, error: written.value.err() });
            }
            Action::RecordEvent(_) | Action::Note(_) => {}
        }
    }

    /// The next thing that is due at `now`, and what comes of it; empty if nothing is due.
    pub fn pass(&mut self, now: Timestamp) -> Vec<News> {
        let Some(entry) = self.agenda.first_entry().filter(|entry| entry.key().0 <= now) else {
            return Vec::new();
        };
        let mut news = Vec::new();
        match entry.remove() {
            Happening::Answer(event) => self.tell(event, now, &mut news),
            Happening::Repeat(event) => news.push(News::TellAgain(event)),
            Happening::Exit { id, ending } => self.process_ends(&id, ending, now, &mut news),
            Happening::Create { step, container, restart_count, resources, sandbox } => {
                let event = self.container_made(step, container, (restart_count, resources), sandbox);
                self.tell(event, now, &mut news);
            }
            Happening::Start { step, id } => self.process_starts(step, id, now, &mut news),
            Happening::StopSignal { step, id, kill_after, error } => {
                if error.is_none() {
                    self.stop_signal_arrives(&id, kill_after, now, &mut news);
                }
                self.tell(Event::StopSignalled { id: step, error }, now, &mut news);
            }
            Happening::KillSignal { step, id, error } => {
                if error.is_none()
                    && let Some(instance) = self.instances.get(&id)
                {
                    let at = now + instance.life.dies_after;
                    self.plan(at, Happening::Exit { id, ending: Ending::by_signal(SIGKILL) });
                }
                if let Some(id) = step {
                    self.tell(Event::KillSignalled { id, error }, now, &mut news);
                }
            }
            Happening::HookEnds { run, outcome } => {
                if let Some(hook) = self.hooks.remove(&run) {
                    news.push(News::Fact(Fact::HookEnded { id: hook.id, hook: hook.hook, outcome: outcome.clone() }));
                    self.tell(Event::HookFinished { id: run, outcome }, now, &mut news);
                }
            }
            Happening::ResizePod { step, containers, error } => {
                if error.is_none() && self.sandbox.is_some() {
                    self.place = containers;
                    self.expect_place();
                }
                self.tell(Event::Resized { id: step, error }, now, &mut news);
            }
            Happening::ResizeContainer { step, id, to, error } => {
                let error = error.or_else(|| self.resize_container(&id, to).err());
                self.tell(Event::Resized { id: step, error }, now, &mut news);
            }
            Happening::SandboxMade { step, attempt, ips, place } => {
                self.sandbox = Some(attempt);
                self.place = place;
                let missing_pull_secrets = self.nature.missing_pull_secrets();
                self.tell(Event::SandboxReady { id: step, ips, missing_pull_secrets }, now, &mut news);
            }
            Happening::SandboxGone { step } => {
                self.sandbox = None;
                self.tell(Event::SandboxStopped { id: step }, now, &mut news);
            }
        }
        news
    }

    /// A main process ends, though nobody asked.
    pub fn end_process(&mut self, container: &str, ending: Ending, now: Timestamp) {
        if let Some(id) = self.live_instance(container) {
            self.plan(now, Happening::Exit { id, ending });
        }
    }

    /// The sandbox goes away with all that is in it; the news of it comes after `told_after`, and that of each container
    /// too if `exits_are_told`. False if there is no sandbox.
    pub fn lose_sandbox(&mut self, told_after: Duration, exits_are_told: bool, now: Timestamp) -> bool {
        if self.sandbox.take().is_none() {
            return false;
        }
        self.facts.push(Fact::SandboxLost);
        self.untold_losses += 1;
        let live: Vec<ContainerId> = self
            .instances
            .iter()
            .filter(|(_, instance)| matches!(instance.process, Process::Alive { .. } | Process::Starting))
            .map(|(id, _)| id.clone())
            .collect();
        for id in live {
            let mut news = Vec::new();
            self.process_ends(&id, Ending::by_signal(SIGKILL), now, &mut news);
            self.facts.extend(news.into_iter().filter_map(|news| match news {
                News::Fact(fact) => Some(fact),
                News::Tell(_) | News::TellAgain(_) => None,
            }));
        }
        if !exits_are_told {
            self.agenda.retain(|_, happening| !matches!(happening, Happening::Answer(Event::ContainerExited { .. })));
        }
        self.plan(now + told_after, Happening::Answer(Event::SandboxLost { message: "the sandbox is gone".to_owned() }));
        true
    }

    /// The machine was told that the sandbox is gone.
    pub const fn loss_is_told(&mut self) {
        self.untold_losses = self.untold_losses.saturating_sub(1);
    }

    fn create_sandbox(&mut self, id: ActionId, attempt: u32, place: &BTreeMap<String, Resources>, now: Timestamp) {
        if self.sandbox.is_some() {
            self.misuse("a second sandbox is made");
        }
        let made = self.nature.create_sandbox(attempt);
        let at = now + made.after;
        match made.value {
            Ok(ips) => {
                self.plan(at, Happening::SandboxMade { step: id, attempt, ips, place: place.clone() });
            }
            Err(trouble) => self.answer(at, Event::SandboxFailed { id, reason: trouble.reason, message: trouble.message }),
        }
    }

    fn pull_image(&mut self, id: ActionId, container: &str, image: &str, now: Timestamp) {
        self.expect_sandbox("an image is pulled");
        let pull = self.nature.pull_image(container, image);
        let event = match pull.value {
            Ok(size_bytes) => {
                Event::ImagePulled { id, image_ref: image_ref(image), size_bytes, took: pull.after, took_with_waiting: pull.after }
            }
            Err(trouble) => Event::ImagePullFailed { id, reason: trouble.reason, message: trouble.message },
        };
        let key = self.plan(now + pull.after, Happening::Answer(event));
        self.pulls.insert(id, key);
    }

    fn cancel_pull(&mut self, pull: ActionId, now: Timestamp) {
        let Some(key) = self.pulls.remove(&pull) else {
            self.misuse("a pull is cancelled that was never begun");
            return;
        };
        if self.agenda.remove(&key).is_some() {
            let at = now + self.nature.pull_cancelled_after();
            let (reason, message) = ("ErrImagePull".to_owned(), "context canceled".to_owned());
            self.answer(at, Event::ImagePullFailed { id: pull, reason, message });
        }
    }

    fn create_container(&mut self, id: ActionId, container: &str, (restart_count, resources): (u32, Resources), now: Timestamp) {
        self.expect_sandbox("a container is created");
        if self.live_instance(container).is_some() {
            self.misuse(&format!("a second instance of {container} is made beside a live one"));
        }
        let made = self.nature.create_container(container, restart_count);
        let at = now + made.after;
        match made.value {
            Ok(()) => {
                let (container, sandbox) = (container.to_owned(), self.sandbox);
                self.plan(at, Happening::Create { step: id, container, restart_count, resources, sandbox });
            }
            Err(trouble) => self.answer(at, Event::ContainerCreateFailed { id, reason: trouble.reason, message: trouble.message }),
        }
    }

    fn container_made(
        &mut self,
        step: ActionId,
        container: String,
        (restart_count, resources): (u32, Resources),
        sandbox: Option<u32>,
    ) -> Event {
        if sandbox.is_none() || sandbox != self.sandbox {
            let (reason, message) = ("CreateContainerError".to_owned(), "the sandbox is gone".to_owned());
            return Event::ContainerCreateFailed { id: step, reason, message };
        }
        let container_id = ContainerId(format!("{container}-{}", self.created));
        self.created += 1;
        let life = self.nature.life(&container, restart_count);
        let instance = Instance { container, restart_count, resources, process: Process::NotYet, life, stop_signalled: false };
        self.instances.insert(container_id.clone(), instance);
        self.expect_place();
        Event::ContainerCreated { id: step, container_id }
    }

    fn resize_container(&mut self, id: &ContainerId, to: Resources) -> Result<(), String> {
        match self.instances.get_mut(id) {
            Some(instance) if matches!(instance.process, Process::Alive { .. }) => instance.resources = to,
            Some(_) | None => return Err("the container has ended".to_owned()),
        }
        self.expect_place();
        Ok(())
    }

    /// The kernel lets no group have more than the one that it is in.
    fn expect_place(&mut self) {
        let place = std::mem::take(&mut self.place);
        let lives = |instance: &&Instance| instance.process != Process::Ended;
        let cramped: Vec<_> = self
            .instances
            .values()
            .filter(lives)
            .filter(|instance| !has_place(place.get(&instance.container).copied().unwrap_or_default(), instance.resources))
            .map(|instance| instance.container.clone())
            .collect();
        self.place = place;
        for container in cramped {
            self.misuse(&format!("{container} may use more than the pod's group has for it"));
        }
    }

    fn start_container(&mut self, id: ActionId, container_id: &ContainerId, now: Timestamp) {
        let Some(instance) = self.instances.get_mut(container_id) else {
            self.misuse(&format!("{container_id} is started and does not exist"));
            let message = "no such container".to_owned();
            self.answer(now, Event::ContainerStartFailed { id, message });
            return;
        };
        let was = std::mem::replace(&mut instance.process, Process::Starting);
        let (container, restart_count) = (instance.container.clone(), instance.restart_count);
        if was != Process::NotYet {
            self.misuse(&format!("{container_id} is started twice"));
        }
        let start = self.nature.start_container(&container, restart_count);
        let at = now + start.after;
        match start.value {
            Ok(()) => {
                self.plan(at, Happening::Start { step: id, id: container_id.clone() });
            }
            Err(message) => {
                if let Some(instance) = self.instances.get_mut(container_id) {
                    instance.process = Process::Ended;
                }
                self.answer(at, Event::ContainerStartFailed { id, message });
            }
        }
    }

    fn process_starts(&mut self, step: ActionId, id: ContainerId, now: Timestamp, news: &mut Vec<News>) {
        let instance = self.instances.get_mut(&id).filter(|instance| instance.process == Process::Starting);
        let (Some(instance), true) = (instance, self.sandbox.is_some()) else {
            self.tell(Event::ContainerStartFailed { id: step, message: "the sandbox is gone".to_owned() }, now, news);
            return;
        };
        instance.process = Process::Alive { since: now };
        let (container, ends) = (instance.container.clone(), instance.life.ends.clone());
        let others = self.instances.values().filter(|other| other.container == container && matches!(other.process, Process::Alive { .. }));
        if others.count() > 1 {
            self.misuse(&format!("two instances of {container} live"));
        }
        news.push(News::Fact(Fact::Started { id: id.clone() }));
        if let Some(ends) = ends {
            self.plan(now + ends.after, Happening::Exit { id, ending: ends.value });
        }
        let told_at = now + self.nature.start_told_after(&container);
        self.answer(told_at, Event::ContainerStarted { id: step, at: now });
    }

    fn stop_signal_arrives(&mut self, id: &ContainerId, kill_after: Duration, now: Timestamp, news: &mut Vec<News>) {
        let Some(instance) = self.instances.get_mut(id).filter(|instance| matches!(instance.process, Process::Alive { .. })) else {
            return;
        };
        news.push(News::Fact(Fact::StopSignal { id: id.clone() }));
        let first = !std::mem::replace(&mut instance.stop_signalled, true);
        if let (OnStopSignal::Ends(ends), true) = (instance.life.on_stop_signal.clone(), first) {
            self.plan(now + ends.after, Happening::Exit { id: id.clone(), ending: ends.value });
        }
        self.plan(now + kill_after, Happening::KillSignal { step: None, id: id.clone(), error: None });
    }

    fn process_ends(&mut self, id: &ContainerId, ending: Ending, now: Timestamp, news: &mut Vec<News>) {
        let Some(instance) = self.instances.get_mut(id) else { return };
        let started_at = match std::mem::replace(&mut instance.process, Process::Ended) {
            Process::Alive { since } => Some(since),
            Process::Starting => None,
            earlier @ (Process::NotYet | Process::Ended) => {
                instance.process = earlier;
                return;
            }
        };
        let told_at = now + instance.life.told_after;
        news.push(News::Fact(Fact::Ended { id: id.clone(), ending: ending.clone() }));
        let hooks: Vec<(ActionId, Duration)> =
            self.hooks.iter().filter(|(_, hook)| hook.is_exec && &hook.id == id).map(|(run, hook)| (*run, hook.told_after)).collect();
        for (run, told_after) in hooks {
            let outcome = HookOutcome::ContainerEnded { stdout: String::new(), stderr: String::new() };
            self.reschedule_hook(run, now + told_after, outcome);
        }
        let Some(started_at) = started_at else { return };
        let exit = Exit {
            code: ending.code,
            signal: ending.signal,
            reason: ending.reason,
            message: String::new(),
            started_at: Some(started_at),
            finished_at: now,
        };
        self.plan(told_at, Happening::Answer(Event::ContainerExited { container_id: id.clone(), exit }));
    }

    fn run_hook(&mut self, run: ActionId, container: &str, id: &ContainerId, hook: Hook, handler: &Handler, now: Timestamp) {
        let Some(instance) = self.instances.get(id) else {
            self.misuse(&format!("{hook} runs for {id}, which does not exist"));
            self.answer(now, Event::HookFinished { id: run, outcome: HookOutcome::FailedToRun { error: "no such container".to_owned() } });
            return;
        };
        let restart_count = instance.restart_count;
        let is_alive = matches!(instance.process, Process::Alive { .. });
        let is_exec = matches!(handler, Handler::Exec { .. });
        let run_of_nature = self.nature.hook(container, restart_count, hook, handler);
        let HookRun { takes, outcome, ends_container, told_after } = within_limit(run_of_nature, handler);
        self.facts.push(Fact::HookBegan { id: id.clone(), hook });
        self.hooks.insert(run, RunningHook { id: id.clone(), hook, is_exec, told_after, due: None });
        if is_exec && !is_alive {
            let error = "the container is not running".to_owned();
            self.reschedule_hook(run, now + told_after, HookOutcome::FailedToRun { error });
            return;
        }
        if let Some(takes) = takes {
            self.reschedule_hook(run, now + takes, outcome);
        }
        if let Some(ends) = ends_container {
            self.plan(now + ends.after, Happening::Exit { id: id.clone(), ending: ends.value });
        }
    }

    /// Brings the end of a hook to `at`, unless it ends earlier anyway.
    fn reschedule_hook(&mut self, run: ActionId, at: Timestamp, outcome: HookOutcome) {
        let due = self.hooks.get(&run).and_then(|hook| hook.due);
        if due.is_some_and(|(due, _)| due <= at) {
            return;
        }
        if let Some(due) = due {
            self.agenda.remove(&due);
        }
        let due = self.plan(at, Happening::HookEnds { run, outcome });
        if let Some(hook) = self.hooks.get_mut(&run) {
            hook.due = Some(due);
        }
    }

    fn expect_sandbox(&mut self, what: &str) {
        if self.sandbox.is_none() && self.untold_losses == 0 {
            self.misuse(&format!("{what} without a sandbox"));
        }
    }

    fn expect_process(&mut self, id: &ContainerId, what: &str) {
        match self.instances.get(id).map(|instance| instance.process) {
            Some(Process::Alive { .. } | Process::Ended) => {}
            Some(Process::NotYet | Process::Starting) => self.misuse(&format!("{what} to {id}, which was never started")),
            None => self.misuse(&format!("{what} to {id}, which does not exist")),
        }
    }

    fn misuse(&mut self, text: &str) {
        self.facts.push(Fact::Misuse(text.to_owned()));
    }

    fn answer(&mut self, at: Timestamp, event: Event) {
        self.plan(at, Happening::Answer(event));
    }

    fn tell(&mut self, event: Event, now: Timestamp, news: &mut Vec<News>) {
        // The loss of a sandbox answers nothing and names nothing: a second one is another loss.
        let is_loss = matches!(event, Event::SandboxLost { .. });
        if !is_loss && let Some(later) = self.nature.repeats_answer() {
            self.plan(now + later, Happening::Repeat(event.clone()));
        }
        news.push(News::Tell(event));
    }

    fn plan(&mut self, at: Timestamp, happening: Happening) -> (Timestamp, u64) {
        let key = (at, self.next_number);
        self.next_number += 1;
        self.agenda.insert(key, happening);
        key
    }
}

/// A command that has a time limit is killed then.
fn within_limit(run: HookRun, handler: &Handler) -> HookRun {
    let limit = match handler {
        Handler::Exec { time_limit, .. } => *time_limit,
        Handler::HttpGet(_) | Handler::Sleep { .. } | Handler::TcpSocket => None,
    };
    match limit {
        Some(limit) if run.takes.is_none_or(|takes| takes > limit) => HookRun {
            takes: Some(limit),
            outcome: HookOutcome::TimedOut { limit },
            ends_container: run.ends_container.filter(|ends| ends.after <= limit),
            ..run
        },
        Some(_) | None => run,
    }
}

/// What the runtime calls an image.
pub fn image_ref(image: &str) -> String {
    format!("sha256:{image}")
}

/// Whether a group of `place` has room for one that may use `wanted`.
fn has_place(place: Resources, wanted: Resources) -> bool {
    let enough = |place: Option<u64>, wanted: Option<u64>| place.is_none_or(|place| wanted.is_some_and(|wanted| wanted <= place));
    enough(place.cpu_limit_millis, wanted.cpu_limit_millis) && enough(place.memory_limit_bytes, wanted.memory_limit_bytes)
}
