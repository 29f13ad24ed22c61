//! Drives one pod: hands events to its machine, has its actions done, publishes its status. No decision is made here.
//!
//! ```text
//!   commands ─┐                ┌─▶ journal
//!   runtime  ─┼─▶ PodWorker ───┼─▶ one task for each action ─▶ its answer comes back as an event (probes over the network: no task)
//!   answers  ─┘   (lifecycle)  └─▶ status
//! ```
//!
//! Invariant: everything that goes into the machine or comes out of it is in the journal, in that order, and the machine's state is
//! on disk before the actions that follow from it are begun. So an engine that dies at any instant can be replaced by another.

mod attempts;

use std::collections::{BTreeMap, BTreeSet};
use std::future::poll_fn;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use chronicle::SessionFacts;
use k8s_openapi::api::core::v1;
use lifecycle::{
    Action, ActionId, Event, Eviction, Grace, Handler, Hook, HookOutcome, KillPod, KillTrigger, PodSpec, PodStatus, PodWorker,
    ProbeHandler, Rejection, Step, Timer, Timestamp, UNSAVED_ACTIONS_MAX,
};
use runtime::{Runtime, RuntimeEvent};
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

use self::attempts::Attempts;
use crate::container_config::Objects;
use crate::convert::happening;
use crate::gc::logs::{PodName, journaled, mark_gone};
use crate::journal::{Heading, Journal, Kill, Live, Record, retain};
use crate::logs::LogFollower;
use crate::pod_files::UpdateVolumesError;
use crate::pod_world::PodWorld;
use crate::state::{PodState, SaveStateError};
use crate::{clock, error_chain, probes};

/// A pod, the machine that decides about it, and all that is needed to do what it asks.
#[derive(Debug)]
pub struct PodDriver<R: Runtime> {
    world: Arc<PodWorld<R>>,
    state: PodState,
    journal: Journal,
    inputs: mpsc::UnboundedReceiver<Input>,
    sender: mpsc::UnboundedSender<Input>,
    /// What can be cancelled, by the step that started it.
    running: BTreeMap<ActionId, Running>,
    attempts: Attempts,
    /// Where each container's output is read for the watcher.
    followers: BTreeMap<String, LogFollower>,
    shown: Shown,
    published: Option<PodStatus>,
    /// Hooks that another engine began.
    taken_over: BTreeSet<ActionId>,
    /// Actions that were asked for since the state was last saved.
    unsaved: u64,
    folder: Folder,
}

/// Tells a [`PodDriver`] what is wanted, from anywhere.
#[derive(Clone, Debug)]
pub struct PodHandle {
    sender: mpsc::UnboundedSender<Input>,
}

impl PodHandle {
    /// Asks that the pod go; without effect on a pod that is gone.
    pub fn kill(&self, kill: KillPod) {
        let _ = self.sender.send(Input::Kill(Box::new(Kill::plain(kill, None))));
    }

    /// Asks that the pod go, and says for the journal who asks: `Ctrl-C`, `usher rm (uid 0)`.
    pub fn kill_by(&self, kill: KillPod, by: impl Into<String>) {
        let _ = self.sender.send(Input::Kill(Box::new(Kill::plain(kill, Some(by.into())))));
    }

    /// Evicts the pod, and says for the journal what the node saw.
    pub fn evict(&self, grace: Grace, eviction: Eviction, by: impl Into<String>) {
        let kill = Kill::plain(KillPod { trigger: KillTrigger::Evicted, grace }, Some(by.into()));
        let _ = self.sender.send(Input::Kill(Box::new(Kill { eviction: Some(eviction), ..kill })));
    }

    /// Has the pod go in its own grace so that a critical one finds room; `resource` is what that one has too little of.
    pub fn preempt(&self, resource: impl Into<String>, by: impl Into<String>) {
        let kill = Kill::plain(KillPod { trigger: KillTrigger::Preempted, grace: Grace::FromSpec }, Some(by.into()));
        let _ = self.sender.send(Input::Kill(Box::new(Kill { preempted_for: Some(resource.into()), ..kill })));
    }

    /// The node takes the pod no more, and has it go in its own grace.
    pub fn reject(&self, rejection: Rejection, by: impl Into<String>) {
        let kill = Kill::plain(KillPod { trigger: KillTrigger::Rejected, grace: Grace::FromSpec }, Some(by.into()));
        let _ = self.sender.send(Input::Kill(Box::new(Kill { rejection: Some(rejection), ..kill })));
    }

    /// Somebody began a session with a container, or is done with it: for the journal.
    pub fn tell_session(&self, session: SessionFacts) {
        let _ = self.sender.send(Input::Session(Box::new(session)));
    }

    /// Whether nothing of the pod is left, so that nothing can be asked of it any more.
    pub fn is_over(&self) -> bool {
        self.sender.is_closed()
    }

    /// Gives the pod other ConfigMaps and Secrets: volumes show them at once, variables from the next start of a container on. Returns
    /// the names of the volumes that changed; of a pod that is gone, none.
    ///
    /// # Errors
    /// When a volume could not be brought up to date.
    pub async fn update_objects(&self, objects: Objects) -> Result<Vec<String>, UpdateVolumesError> {
        let (answer, answered) = oneshot::channel();
        let _ = self.sender.send(Input::Objects { objects: Box::new(objects), answer });
        answered.await.unwrap_or_else(|_| Ok(Vec::new()))
    }

    /// The manifest of the pod is another one; what may not change of a pod that exists is not looked at.
    pub fn update(&self, pod: Pod) {
        let _ = self.sender.send(Input::Update(Box::new(pod)));
    }
}

/// What comes in. Small: each pod's channel has room for some that are never used.
#[derive(Debug)]
enum Input {
    Kill(Box<Kill>),
    Update(Box<Pod>),
    Answer(Box<Event>),
    Runtime(Box<RuntimeEvent>),
    /// A container ended; its termination message is read and its output is complete.
    Exited {
        container_id: String,
        exit: lifecycle::Exit,
    },
    Warning(String),
    Session(Box<SessionFacts>),
    Objects {
        objects: Box<Objects>,
        answer: oneshot::Sender<Result<Vec<String>, UpdateVolumesError>>,
    },
}

/// What a turn began with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    /// An attempt of a probe has ended, or one is due.
    Probes,
    Other,
}

impl Turn {
    fn of(input: Option<&Input>) -> Self {
        match input {
            Some(Input::Answer(event)) if matches!(**event, Event::ProbeFinished { .. }) => Self::Probes,
            Some(_) | None => Self::Other,
        }
    }
}

/// What becomes of the pod's folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Folder {
    /// The state is in it.
    Kept,
    /// It is being emptied. The state that was saved last says so, and leads the next engine to go on with that, whatever else comes in.
    Going,
}

/// What the watcher is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shown {
    /// Also each line that the containers print.
    Everything,
    /// Only what stands in the journal.
    Journal,
}

/// Something that a later action may cancel.
#[derive(Debug)]
enum Running {
    /// A command in a container: killed by its id.
    Exec { exec_id: String },
    /// A task of this engine: ended by dropping its work.
    Task(oneshot::Sender<()>),
}

/// What must survive the engine beside the machine's own state.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DriverState {
    /// When each unfinished hook was begun.
    pub hooks_begun: BTreeMap<ActionId, Timestamp>,
}

/// How long the rest of a container's output may take to be read after its end.
const OUTPUT_DRAIN: Duration = Duration::from_secs(2);

impl<R: Runtime> PodDriver<R> {
    /// A pod that is new.
    ///
    /// # Errors
    /// When its journal or state cannot be written.
    pub fn new(world: PodWorld<R>, watcher: mpsc::UnboundedSender<Live>) -> Result<Self, OpenPodError> {
        let worker = PodWorker::new(world.spec().clone(), clock::now());
        Self::open(world, PodState { worker, driver: DriverState::default() }, false, watcher)
    }

    /// A pod that the node does not take: its end is told and nothing else happens.
    ///
    /// # Errors
    /// When its journal cannot be written.
    pub fn rejected(world: PodWorld<R>, rejection: Rejection, watcher: mpsc::UnboundedSender<Live>) -> Result<Self, OpenPodError> {
        let worker = PodWorker::rejected(world.spec().clone(), rejection, clock::now());
        Self::open(world, PodState { worker, driver: DriverState::default() }, false, watcher)
    }

    /// A pod that another engine left behind: goes on where that one was.
    ///
    /// # Errors
    /// When its journal cannot be written.
    pub fn resume(world: PodWorld<R>, mut state: PodState, watcher: mpsc::UnboundedSender<Live>) -> Result<Self, OpenPodError> {
        state.worker.resume();
        state.worker.spread_overdue_probes(clock::now());
        state.worker.learn_resources(world.spec());
        world.remember_ips(&state.worker.status().pod_ips);
        Self::open(world, state, true, watcher)
    }

    fn open(world: PodWorld<R>, mut state: PodState, resumed: bool, watcher: mpsc::UnboundedSender<Live>) -> Result<Self, OpenPodError> {
        state.worker.limit_back_off(world.node().back_off_max);
        let path = world.journal_path();
        let heading = Heading { spec: world.spec().clone(), resumed };
        let bytes_max = world.node().journal.bytes_max;
        let journal = Journal::open(&path, heading, bytes_max, watcher).map_err(|source| OpenPodError::Journal { path, source })?;
        world.note_allocated(&state.worker.allocated());
        let taken_over = state.driver.hooks_begun.keys().copied().collect();
        let (sender, inputs) = mpsc::unbounded_channel();
        Ok(Self {
            world: Arc::new(world),
            state,
            journal,
            inputs,
            sender,
            running: BTreeMap::new(),
            attempts: Attempts::default(),
            followers: BTreeMap::new(),
            shown: Shown::Everything,
            published: None,
            taken_over,
            unsaved: 0,
            folder: Folder::Kept,
        })
    }

    /// Does not show what the containers print: it is in their logs.
    #[must_use]
    pub fn without_output(mut self) -> Self {
        self.shown = Shown::Journal;
        self
    }

    /// To ask things of the pod while it runs.
    pub fn handle(&self) -> PodHandle {
        PodHandle { sender: self.sender.clone() }
    }

    /// Runs the pod to its end; returns its last status. What is awaited is small: the driver is on the heap, once.
    pub fn run(self) -> impl Future<Output = PodStatus> + Send {
        let driver = Box::new(self);
        driver.drive()
    }

    async fn drive(mut self: Box<Self>) -> PodStatus {
        if self.state.worker.has_sandbox() {
            Box::pin(self.listen()).await;
        }
        let mut room = self.world.node().allocations.changes();
        self.after_input(Turn::Other);
        while !self.state.worker.is_finished() {
            let timeout = self.state.worker.poll_timeout();
            let waits_for_room = self.state.worker.waits_for_room();
            let sleep = tokio::time::sleep(timeout.as_ref().map_or(Duration::from_secs(3600), |(at, _)| clock::until(*at)));
            let turn = tokio::select! {
                biased;
                input = self.inputs.recv() => {
                    let turn = Turn::of(input.as_ref());
                    if let Some(input) = input {
                        let mut attempts = std::mem::take(&mut self.attempts);
                        // Boxed, for it is seldom, and would be room that every pod has all the time.
                        attempts.beside(Box::pin(self.take(input))).await;
                        self.attempts = attempts;
                    }
                    turn
                }
                (id, outcome) = poll_fn(|context| self.attempts.poll_next(context)) => {
                    self.hand(Event::ProbeFinished { id, outcome });
                    Turn::Probes
                }
                Ok(()) = room.changed(), if waits_for_room => {
                    self.state.worker.handle_room_changed(clock::now());
                    Turn::Other
                }
                () = sleep => {
                    self.state.worker.handle_timeout(clock::now());
                    if matches!(timeout, Some((_, Timer::ProbeDue { .. }))) { Turn::Probes } else { Turn::Other }
                }
            };
            self.after_input(turn);
        }
        self.world.forget_allocated();
        Box::pin(remove_old_journals(self.world.node().clone(), self.name())).await;
        self.state.worker.status()
    }

    fn name(&self) -> PodName {
        let PodSpec { namespace, name, uid, .. } = self.world.spec();
        PodName { namespace: namespace.clone(), name: name.clone(), uid: uid.clone() }
    }

    async fn take(&mut self, input: Input) {
        match input {
            Input::Kill(kill) => {
                self.journal.append(Record::Kill((*kill).clone()));
                match (kill.eviction, kill.rejection) {
                    (Some(eviction), _) => self.state.worker.handle_eviction(kill.kill.grace, eviction, clock::now()),
                    (None, Some(rejection)) => self.state.worker.handle_rejection(rejection, clock::now()),
                    (None, None) => self.state.worker.handle_kill(kill.kill, clock::now()),
                }
            }
            Input::Update(pod) => self.update(*pod),
            Input::Answer(event) => {
                if let Some(id) = answered(&event) {
                    self.running.remove(&id);
                    self.state.driver.hooks_begun.remove(&id);
                }
                if matches!(*event, Event::SandboxReady { .. }) {
                    Box::pin(self.listen()).await;
                }
                if let Event::ContainerStarted { id, .. } = &*event {
                    self.follow(*id);
                }
                for measured in self.world.take_measured() {
                    self.journal.append(measured);
                }
                self.hand(*event);
            }
            Input::Runtime(event) => Box::pin(self.take_runtime(*event)).await,
            Input::Exited { container_id, exit } => {
                let container_id = lifecycle::ContainerId(container_id);
                self.hand(Event::ContainerExited { container_id, exit });
            }
            Input::Session(session) => self.journal.append(Record::Session(*session)),
            Input::Warning(message) => self.journal.append(Record::Warning { message }),
            Input::Objects { objects, answer } => {
                let world = self.world.clone();
                // Whoever asked may have gone away meanwhile.
                tokio::spawn(async move { answer.send(world.update_objects(*objects).await) });
            }
        }
    }

    fn update(&mut self, pod: Pod) {
        match self.world.with_pod(pod) {
            Ok(world) => {
                self.world = Arc::new(world);
                self.journal.update_spec(self.world.spec().clone());
                self.state.worker.handle_update(self.world.spec().clone(), clock::now());
                let (world, sender) = (self.world.clone(), self.sender.clone());
                tokio::spawn(async move {
                    if let Err(error) = world.refresh_volumes().await {
                        let _ = sender.send(Input::Warning(error_chain(&error)));
                    }
                });
            }
            Err(error) => self.journal.append(Record::Warning { message: error_chain(&error) }),
        }
    }

    async fn take_runtime(&mut self, event: RuntimeEvent) {
        match event {
            RuntimeEvent::ContainerExited { container_id, exit } => {
                // The end is told to the machine when its message is read and its output is shown: the order that users expect.
                if let Some(follower) = self.followers.remove(&container_id) {
                    follower.finish(OUTPUT_DRAIN).await;
                }
                let exit = self.world.describe_exit(&container_id, &exit).await;
                let _ = self.sender.send(Input::Exited { container_id, exit });
            }
            RuntimeEvent::SandboxLost { message } => self.hand(Event::SandboxLost { message }),
            RuntimeEvent::SignalSent { .. }
            | RuntimeEvent::ExecStarted { .. }
            | RuntimeEvent::ExecOutput { .. }
            | RuntimeEvent::OomKilled { .. } => {
                if let Some(happening) = happening(event) {
                    self.journal.append(Record::Runtime(happening));
                }
            }
        }
    }

    fn hand(&mut self, event: Event) {
        let may_grant = matches!(event, Event::RoomMeasured { .. });
        self.journal.append(Record::Event(event.clone()));
        self.state.worker.handle_event(event, clock::now());
        if may_grant {
            self.world.note_allocated(&self.state.worker.allocated());
        }
    }

    /// Save, act, publish.
    fn after_input(&mut self, turn: Turn) {
        let mut steps = Vec::new();
        while let Some(step) = self.state.worker.poll_action() {
            if let Action::RunHook { .. } = step.action {
                self.state.driver.hooks_begun.entry(step.id).or_insert_with(clock::now);
            }
            steps.push(step);
        }
        let news = self.news(turn, &steps);
        // The folder of a finished pod is gone, and nobody will ever go on with it.
        if !self.state.worker.is_finished()
            && self.folder == Folder::Kept
            && !self.may_go_unsaved(turn, &steps, news.is_some())
            && let Err(error) = self.state.save(&self.world.state_path())
        {
            // Running pods are not harmed by a full disk; what is lost is only that a new engine could go on exactly here.
            tracing::warn!(%error, "cannot save the state of the pod");
        }
        if steps.iter().any(|step| matches!(step.action, Action::CleanUpPod)) {
            self.folder = Folder::Going;
        }
        for step in &steps {
            self.journal.append(Record::Action(step.clone()));
        }
        if let Some(status) = news {
            self.journal.append(Record::Status(status.clone()));
            self.published = Some(status);
        }
        self.journal.flush();
        for step in steps {
            self.begin(step);
        }
    }

    /// The status, if it is another one than was published. Where an attempt of a probe only began or ended, it cannot be: a result that
    /// turns is noted.
    fn news(&self, turn: Turn, steps: &[Step]) -> Option<PodStatus> {
        let compared = || Some(self.state.worker.status()).filter(|status| self.published.as_ref() != Some(status));
        if turn == Turn::Probes && steps.iter().all(is_attempt) {
            debug_assert!(compared().is_none(), "a status changed and nothing was said of it");
            return None;
        }
        compared()
    }

    /// Whether only probes went on, with the results that they had before: most of what happens to a pod, a file each time, and nothing
    /// that the next engine has to know.
    fn may_go_unsaved(&mut self, turn: Turn, steps: &[Step], is_news: bool) -> bool {
        let unsaved = self.unsaved + steps.len() as u64;
        let is_routine = turn == Turn::Probes && !is_news && steps.iter().all(is_attempt);
        let may_go = is_routine && unsaved <= UNSAVED_ACTIONS_MAX;
        self.unsaved = if may_go { unsaved } else { 0 };
        may_go
    }

    /// Begins one action; whatever it leads to comes back through the channel.
    fn begin(&mut self, step: Step) {
        let Step { id, action } = step;
        match action {
            Action::RecordEvent(_) | Action::Note(_) => {}
            Action::CancelHook { run: started } | Action::CancelPull { pull: started } => self.cancel(started),
            Action::PullImage { container, image } => {
                let cancelled = self.cancellable(id);
                let (world, sender, watcher) = (self.world.clone(), self.sender.clone(), self.journal.watcher());
                tokio::spawn(async move {
                    let event = tokio::select! {
                        event = world.pull_image(id, &container, &image, watcher) => event,
                        _ = cancelled => {
                            let message = "the pull was given up because the pod is being deleted".to_owned();
                            Event::ImagePullFailed { id, reason: "ErrImagePull".to_owned(), message }
                        }
                    };
                    let _ = sender.send(Input::Answer(Box::new(event)));
                });
            }
            Action::RunProbe { container_id, handler: ProbeHandler::Exec { command }, timeout, .. } => {
                let (world, sender) = (self.world.clone(), self.sender.clone());
                tokio::spawn(async move {
                    let outcome = world.probe_by_exec(id, &container_id.0, command, timeout).await;
                    let _ = sender.send(Input::Answer(Box::new(Event::ProbeFinished { id, outcome })));
                });
            }
            Action::RunProbe { handler, timeout, .. } => {
                let ip = self.world.probed_ip();
                self.attempts.begin(id, async move { probes::ask(&handler, ip, timeout).await });
            }
            Action::RunHook { container, container_id, hook, handler } => {
                let taken_over = self.taken_over.remove(&id);
                self.run_hook(RunHook { id, container, container_id: container_id.0, hook, handler, taken_over });
            }
            Action::CreateSandbox { .. }
            | Action::StopSandbox
            | Action::CleanUpPod
            | Action::InspectImage { .. }
            | Action::CreateContainer { .. }
            | Action::StartContainer { .. }
            | Action::StopContainer { .. }
            | Action::KillContainer { .. }
            | Action::RemoveContainer { .. }
            | Action::MeasureRoom
            | Action::CheckMemory { .. }
            | Action::ResizePod { .. }
            | Action::ResizeContainer { .. } => {
                let (world, sender) = (self.world.clone(), self.sender.clone());
                tokio::spawn(async move {
                    let mut warn = |message| {
                        let _ = sender.send(Input::Warning(message));
                    };
                    if let Some(event) = world.perform(id, action, &mut warn).await {
                        let _ = sender.send(Input::Answer(Box::new(event)));
                    }
                });
            }
        }
    }

    fn run_hook(&mut self, hook: RunHook) {
        let (world, sender) = (self.world.clone(), self.sender.clone());
        let begun = self.state.driver.hooks_begun.get(&hook.id).copied().unwrap_or_else(clock::now);
        if let Handler::Exec { .. } = hook.handler {
            let exec_id = hook.exec_id();
            self.running.insert(hook.id, Running::Exec { exec_id });
            tokio::spawn(async move {
                let outcome = world.exec_hook(&hook).await;
                let _ = sender.send(Input::Answer(Box::new(Event::HookFinished { id: hook.id, outcome })));
            });
            return;
        }
        let cancelled = self.cancellable(hook.id);
        tokio::spawn(async move {
            let outcome = tokio::select! {
                outcome = world.engine_hook(&hook, begun) => outcome,
                _ = cancelled => HookOutcome::Cancelled,
            };
            let _ = sender.send(Input::Answer(Box::new(Event::HookFinished { id: hook.id, outcome })));
        });
    }

    fn cancellable(&mut self, id: ActionId) -> oneshot::Receiver<()> {
        let (cancel, cancelled) = oneshot::channel();
        self.running.insert(id, Running::Task(cancel));
        cancelled
    }

    fn cancel(&mut self, started: ActionId) {
        match self.running.remove(&started) {
            Some(Running::Task(cancel)) => {
                let _ = cancel.send(());
            }
            Some(Running::Exec { exec_id }) => {
                let world = self.world.clone();
                tokio::spawn(async move { world.kill_exec(&exec_id).await });
            }
            // It has ended in the meantime.
            None => {}
        }
    }

    /// Connects to what happens in the sandbox.
    async fn listen(&mut self) {
        match self.world.events().await {
            Ok(mut events) => {
                let sender = self.sender.clone();
                tokio::spawn(async move {
                    while let Some(event) = events.recv().await {
                        if sender.send(Input::Runtime(Box::new(event))).is_err() {
                            return;
                        }
                    }
                });
            }
            Err(error) => {
                let message = error_chain(&error);
                let _ = self.sender.send(Input::Runtime(Box::new(RuntimeEvent::SandboxLost { message })));
            }
        }
    }

    fn follow(&mut self, started: ActionId) {
        if self.shown == Shown::Journal {
            return;
        }
        let Some((container, container_id, restart_count)) = self.state.worker.starting(started) else { return };
        let path = self.world.log_path(container, restart_count);
        let follower = LogFollower::start(path, container.to_owned(), self.journal.watcher());
        self.followers.insert(container_id.0.clone(), follower);
    }
}

fn is_attempt(step: &Step) -> bool {
    matches!(step.action, Action::RunProbe { .. })
}

/// A hook to be run.
#[derive(Clone, Debug)]
pub struct RunHook {
    /// The step.
    pub id: ActionId,
    /// Name of the container.
    pub container: String,
    /// Its instance.
    pub container_id: String,
    /// Which hook.
    pub hook: Hook,
    /// What it does.
    pub handler: Handler,
    /// Another engine began it.
    pub taken_over: bool,
}

impl RunHook {
    /// The id under which the runtime knows the hook's command: the same however often it is asked for.
    pub fn exec_id(&self) -> String {
        chronicle::exec_id(self.hook, &self.container_id)
    }
}

/// Removes journals of pods that are gone, as far as the limits ask for it. Logs of pods without a journal, as this one may be, are found
/// by a mark.
async fn remove_old_journals(node: crate::NodeConfig, ended: PodName) {
    let removed = tokio::task::spawn_blocking(move || {
        let now = Duration::from_nanos(clock::moment().wall_nanos);
        let lives = |uid: &str| node.pod_dir(uid).exists();
        let mut unmarked = journaled(&node)?;
        unmarked.insert(ended);
        let removed = retain(&node.journal_dir(), &node.journal, now, lives)?;
        let kept = journaled(&node)?;
        unmarked.iter().filter(|pod| !kept.contains(*pod)).try_for_each(|pod| mark_gone(&node, pod))?;
        Ok(removed)
    });
    match removed.await {
        Ok(Ok(removed)) if removed.count > 0 => tracing::info!(count = removed.count, bytes = removed.bytes, "old journals are removed"),
        Ok(Ok(_)) | Err(_) => {}
        Ok(Err(error)) => {
            let error: std::io::Error = error;
            tracing::warn!(%error, "cannot remove old journals");
        }
    }
}

/// The step that an event answers.
fn answered(event: &Event) -> Option<ActionId> {
    match event {
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
        | Event::Resized { id, .. }
        | Event::ProbeFinished { id, .. } => Some(*id),
        Event::SandboxLost { .. } | Event::ContainerExited { .. } => None,
    }
}

/// A pod cannot be taken up.
#[derive(Debug, thiserror::Error)]
pub enum OpenPodError {
    /// Its journal cannot be opened.
    #[error("cannot open the journal {}", path.display())]
    Journal {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Its state cannot be written.
    #[error("cannot save the state of the pod")]
    State(#[from] SaveStateError),
}

/// The pod as Kubernetes knows it; kept here so that readers need not import the crate of the types.
pub type Pod = v1::Pod;
