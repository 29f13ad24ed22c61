//! Drives one machine through one world: the loop that `node` has with real IO, here with virtual time.
//!
//! Keeps the machine's contract (one `handle_*`, then all actions, then timers and status) and checks the promises that only
//! the loop can see: written down and read again it is the same machine, a repeated answer changes nothing, time goes on.

use std::collections::VecDeque;
use std::time::Duration;

use lifecycle::{
    BACK_OFF_MAX, ContainerSpec, Event, Eviction, EvictionCause, Grace, KillPod, KillTrigger, PodSpec, PodStatus, PodWorker, Rejection,
    Resources, Timestamp,
};

use crate::nature::{Ending, Nature};
use crate::story::{End, Entry, Story, What};
use crate::world::{News, World};

/// What evictions of the simulation say.
pub(crate) const fn eviction_message(cause: EvictionCause) -> &'static str {
    match cause {
        EvictionCause::NodePressure => "The node was low on resource: memory. ",
        EvictionCause::LocalStorage => "Pod ephemeral local storage usage exceeds the total limit of containers 1Mi. ",
    }
}

/// Why a node of the simulation takes a pod no more.
pub(crate) fn rejection() -> Rejection {
    Rejection { reason: "OutOfcpu".to_owned(), message: "Node didn't have enough resource: cpu".to_owned() }
}

/// So often may the machine's own timers be due at one instant; each container has a handful of steps that follow at once.
const TIMEOUTS_AT_ONE_INSTANT_MAX: u32 = 100;
/// So many entries may a story have; the longest honest ones have a tenth of it.
const ENTRIES_MAX: usize = 400_000;

/// Something that comes from outside of machine and runtime.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// The pod shall go.
    Kill(KillPod),
    /// A main process ends, though nobody asked.
    EndProcess {
        /// Name of the container.
        container: String,
        /// How.
        ending: Ending,
    },
    /// The sandbox goes away.
    LoseSandbox {
        /// Until the machine is told.
        told_after: Duration,
        /// Whether the exit of each container is told as well.
        exits_are_told: bool,
    },
    /// The manifest names another image.
    Image {
        /// Name of the container.
        container: String,
        /// As it stands in the manifest from here on.
        image: String,
    },
    /// The manifest has an ephemeral container more.
    Debug {
        /// It.
        container: Box<ContainerSpec>,
    },
    /// The manifest has another `activeDeadlineSeconds`.
    Deadline {
        /// Counted from the pod's start.
        secs: u64,
    },
    /// The manifest has other resources for a container.
    Resize {
        /// Name of the container.
        container: String,
        /// What it asks for and may use from here on.
        resources: Resources,
    },
    /// The pod uses more of the node's disk than it may.
    EvictForStorage {
        /// How long it may take.
        grace: Grace,
    },
    /// The node, with an engine that is new, does not take the pod any more.
    Reject,
    /// Another pod has come or gone.
    RoomChanged,
    /// The engine stops and is back after a while.
    RestartEngine {
        /// How long it is away.
        away: Duration,
    },
}

/// A run in progress.
#[derive(Debug)]
pub struct Drive<N> {
    worker: PodWorker,
    world: World<N>,
    now: Timestamp,
    story: Story,
    asks: VecDeque<(Timestamp, Ask)>,
    shown: Option<PodStatus>,
    timeouts_at_now: u32,
    asleep_until: Option<Timestamp>,
}

impl<N: Nature> Drive<N> {
    /// A pod that begins at `start`, and what comes from outside, sorted by time.
    pub fn new(pod: PodSpec, nature: N, start: Timestamp, asks: impl IntoIterator<Item = (Timestamp, Ask)>) -> Self {
        let mut asks: Vec<_> = asks.into_iter().collect();
        asks.sort_by_key(|(at, _)| *at);
        let mut drive = Self {
            worker: PodWorker::new(pod.clone(), start),
            world: World::new(nature),
            now: start,
            story: Story { pod, back_off_max: BACK_OFF_MAX, start, entries: Vec::new(), end: End::TimeUp },
            asks: asks.into(),
            shown: None,
            timeouts_at_now: 0,
            asleep_until: None,
        };
        drive.settle();
        drive
    }

    /// Runs until the pod is gone, or `until`.
    pub fn run(mut self, until: Timestamp) -> Story {
        while self.step(until) {}
        self.finish()
    }

    /// The time.
    pub const fn now(&self) -> Timestamp {
        self.now
    }

    /// The node has another longest pause between crashes than the reference.
    pub fn limit_back_off(&mut self, max: Duration) {
        self.worker.limit_back_off(max);
        self.story.back_off_max = max;
    }

    /// What was shown last.
    pub const fn shown(&self) -> Option<&PodStatus> {
        self.shown.as_ref()
    }

    /// What has happened so far.
    pub fn entries(&self) -> &[Entry] {
        &self.story.entries
    }

    /// Adds something that comes from outside.
    pub fn ask(&mut self, at: Timestamp, ask: Ask) {
        let position = self.asks.partition_point(|(other, _)| *other <= at);
        self.asks.insert(position, (at, ask));
    }

    /// The story.
    pub fn finish(mut self) -> Story {
        if self.story.end == End::TimeUp {
            let is_still = self.world.next_at().is_none() && self.worker.poll_timeout().is_none() && self.asks.is_empty();
            self.story.end = match (self.worker.is_finished(), is_still) {
                (true, _) => End::Gone,
                (false, true) => End::Stalled,
                (false, false) => End::TimeUp,
            };
        }
        self.story
    }

    /// One thing more happens; false if nothing does until `until`, or the run is over.
    pub fn step(&mut self, until: Timestamp) -> bool {
        if matches!(self.story.end, End::Broken { .. }) {
            return false;
        }
        if self.story.entries.len() > ENTRIES_MAX {
            self.broken("the story of a pod is bounded", format!("more than {ENTRIES_MAX} entries"));
            return false;
        }
        if let Some(at) = self.asleep_until {
            return self.step_asleep(at, until);
        }
        let world_at = self.world.next_at();
        let timer_at = self.worker.poll_timeout().map(|(at, _)| at.max(self.now));
        let ask_at = self.asks.front().map(|(at, _)| *at);
        let Some(next) = [world_at, timer_at, ask_at].into_iter().flatten().min() else { return false };
        if next > until {
            return false;
        }
        if next > self.now {
            self.now = next;
            self.timeouts_at_now = 0;
        }
        let (ask_is_due, world_is_due, timer_is_due) = (ask_at == Some(next), world_at == Some(next), timer_at == Some(next));
        if ask_is_due && let Some((_, ask)) = self.asks.pop_front() {
            self.take(ask);
        } else if world_is_due && (!timer_is_due || self.world.nature().world_goes_first()) {
            self.pass();
        } else if timer_is_due {
            self.time_out();
        }
        true
    }

    fn take(&mut self, ask: Ask) {
        match ask {
            Ask::Kill(KillPod { trigger: KillTrigger::Evicted, grace }) => self.evict(grace, EvictionCause::NodePressure),
            Ask::Kill(kill) => {
                self.log(What::Asked(kill, None));
                self.worker.handle_kill(kill, self.now);
                self.settle();
            }
            Ask::EvictForStorage { grace } => self.evict(grace, EvictionCause::LocalStorage),
            Ask::Reject => {
                self.log(What::Asked(KillPod { trigger: KillTrigger::Rejected, grace: Grace::FromSpec }, None));
                self.worker.handle_rejection(rejection(), self.now);
                self.settle();
            }
            Ask::EndProcess { container, ending } => self.world.end_process(&container, ending, self.now),
            Ask::LoseSandbox { told_after, exits_are_told } => {
                self.world.lose_sandbox(told_after, exits_are_told, self.now);
                self.log_facts();
            }
            Ask::Image { container, image } => self.update_container(&container, |spec| spec.image = image),
            Ask::Resize { container, resources } => self.update_container(&container, |spec| spec.resources = resources),
            Ask::RoomChanged => {
                self.log(What::RoomChanged);
                self.worker.handle_room_changed(self.now);
                self.settle();
            }
            Ask::Debug { container } => {
                let mut spec = self.worker.spec().clone();
                spec.ephemeral_containers.push(*container);
                self.update(spec);
            }
            Ask::Deadline { secs } => self.update(PodSpec { active_deadline_secs: Some(secs), ..self.worker.spec().clone() }),
            Ask::RestartEngine { away } => {
                self.log(What::EngineStopped);
                self.write_and_read();
                self.asleep_until = Some(self.now + away);
            }
        }
    }

    fn evict(&mut self, grace: Grace, cause: EvictionCause) {
        self.log(What::Asked(KillPod { trigger: KillTrigger::Evicted, grace }, Some(cause)));
        let eviction = Eviction { cause, signal: String::new(), message: eviction_message(cause).to_owned() };
        self.worker.handle_eviction(grace, eviction, self.now);
        self.settle();
    }

    fn update_container(&mut self, container: &str, change: impl FnOnce(&mut ContainerSpec)) {
        let mut spec = self.worker.spec().clone();
        let mut all = spec.init_containers.iter_mut().chain(&mut spec.containers);
        if let Some(changed) = all.find(|spec| spec.name == container) {
            change(changed);
        }
        self.update(spec);
    }

    fn update(&mut self, mut spec: PodSpec) {
        spec.generation += 1;
        self.log(What::Updated(Box::new(spec.clone())));
        self.worker.handle_update(spec, self.now);
        self.settle();
    }

    /// The engine is away: the world goes on, and its news wait.
    fn step_asleep(&mut self, wakes_at: Timestamp, until: Timestamp) -> bool {
        if wakes_at > until {
            return false;
        }
        let mut waiting = Vec::new();
        while let Some(at) = self.world.next_at().filter(|at| *at < wakes_at) {
            self.now = self.now.max(at);
            for news in self.world.pass(self.now) {
                match news {
                    News::Fact(fact) => self.log(What::Fact(fact)),
                    News::Tell(_) | News::TellAgain(_) => waiting.push(news),
                }
            }
        }
        let mut kills = Vec::new();
        while self.asks.front().is_some_and(|(at, _)| *at < wakes_at) {
            let Some((_, ask)) = self.asks.pop_front() else { break };
            match ask {
                Ask::Kill(kill) => kills.push((wakes_at, Ask::Kill(kill))),
                Ask::EndProcess { .. }
                | Ask::LoseSandbox { .. }
                | Ask::Image { .. }
                | Ask::Debug { .. }
                | Ask::Deadline { .. }
                | Ask::Resize { .. }
                | Ask::RoomChanged
                | Ask::EvictForStorage { .. }
                | Ask::Reject => kills.push((wakes_at, ask)),
                Ask::RestartEngine { .. } => {}
            }
        }
        for (at, ask) in kills.into_iter().rev() {
            self.asks.push_front((at, ask));
        }
        self.now = wakes_at;
        self.timeouts_at_now = 0;
        self.asleep_until = None;
        self.log(What::EngineStarted);
        self.worker.spread_overdue_probes(self.now);
        self.settle();
        for news in waiting {
            self.hear(news);
        }
        true
    }

    fn pass(&mut self) {
        for news in self.world.pass(self.now) {
            self.hear(news);
        }
    }

    fn hear(&mut self, news: News) {
        match news {
            News::Fact(fact) => self.log(What::Fact(fact)),
            News::Tell(event) => {
                if matches!(event, Event::SandboxLost { .. }) {
                    self.world.loss_is_told();
                }
                self.log(What::Told(event.clone()));
                self.worker.handle_event(event, self.now);
                self.settle();
            }
            News::TellAgain(event) => self.tell_again(event),
        }
    }

    /// An answer that was given before must not change anything.
    fn tell_again(&mut self, event: Event) {
        self.log(What::ToldAgain(event.clone()));
        let before = self.worker.clone();
        self.worker.handle_event(event.clone(), self.now);
        if self.worker != before {
            self.broken("a repeated answer changes nothing", format!("{event:?}"));
        }
        self.settle();
    }

    fn time_out(&mut self) {
        self.timeouts_at_now += 1;
        if let Some((_, timer)) = self.worker.poll_timeout() {
            if self.timeouts_at_now > TIMEOUTS_AT_ONE_INSTANT_MAX {
                self.broken("time goes on", format!("{timer:?} is due again and again"));
                return;
            }
            self.log(What::Due(timer));
        }
        self.worker.handle_timeout(self.now);
        self.settle();
    }

    /// What follows each `handle_*`: all actions are begun, and the status is shown if it is another one.
    fn settle(&mut self) {
        while let Some(step) = self.worker.poll_action() {
            self.log(What::Did(step.clone()));
            self.world.begin(&step, self.now);
            self.log_facts();
        }
        let status = self.worker.status();
        if self.shown.as_ref() != Some(&status) {
            self.shown = Some(status.clone());
            self.log(What::Shown(Box::new(status)));
        }
    }

    /// As an engine does that stops and comes back: the machine is written down and read again.
    fn write_and_read(&mut self) {
        let read = serde_json::to_string(&self.worker)
            .map_err(|error| error.to_string())
            .and_then(|text| serde_json::from_str::<PodWorker>(&text).map_err(|error| error.to_string()));
        match read {
            Ok(worker) if worker == self.worker => self.worker = worker,
            Ok(_) => self.broken("written down and read again it is the same machine", "it is another one".to_owned()),
            Err(error) => self.broken("written down and read again it is the same machine", error),
        }
    }

    fn broken(&mut self, promise: &'static str, how: String) {
        if !matches!(self.story.end, End::Broken { .. }) {
            self.story.end = End::Broken { promise, how };
        }
    }

    fn log_facts(&mut self) {
        for fact in self.world.take_facts() {
            self.log(What::Fact(fact));
        }
    }

    fn log(&mut self, what: What) {
        self.story.entries.push(Entry { at: self.now, what });
    }
}
