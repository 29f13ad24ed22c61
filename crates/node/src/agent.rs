//! All pods of a node: one driver for each, the API on one side, the machine's folders on the other.
//!
//! ```text
//!   PodApi ── Pod objects ──▶ Agent ── one task a pod ──▶ PodDriver ──▶ runtime
//!      ▲                        │
//!      └── status, Events, "it is over" ◀── Live entries
//! ```
//!
//! Not a decision about a pod's life: what is said of a Pod object is handed to its machine. Invariant: what the API must know of
//! a pod is told, and the telling has ended, before the pod's folder is removed; so whoever dies in between finds it again.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use k8s_openapi::api::core::v1::{Event, PodStatus as V1PodStatus};
use lifecycle::{Action, Grace, KillPod, KillTrigger, PodStatus, Rejection};
use runtime::Runtime;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};

use crate::admission::{Admission, Allocatable, NodeFacts, Victims};
use crate::container_config::Objects;
use crate::control::{ControlSocket, EngineLock};
use crate::convert::{
    StatusContext, has_readiness_gates, pod_status, regated_status, same_conditions_of_others, with_conditions_of_others,
};
use crate::driver::{Pod, PodDriver, PodHandle};
use crate::events::untold::{self, Journaled};
use crate::events::{EventRecorder, Recorded, node_event};
use crate::eviction::{EvictionConfig, NodeCondition, Watch, WatchedPod};
use crate::gc::{Collector, GcConfig, GcMetrics};
use crate::journal::{Live, Record};
use crate::observer::Observer;
use crate::pod_files::{is_set_aside, remove_pod_folder};
use crate::pod_world::{NodeConfig, PodWorld, read_manifest};
use crate::shutdown::{Leaver, ShutdownPlan, Wave};
use crate::state::PodState;
use crate::{admission, clock, error_chain};

mod garbage;

/// The API, as far as a node needs it. In Kubernetes' terms only: it may be in this process or be a cluster's.
///
/// Nothing here fails: an implementation tries again for as long as that makes sense, and says why it gave up.
pub trait PodApi: Send + Sync + 'static {
    /// The ConfigMaps and Secrets that a pod speaks of, as far as they exist.
    fn objects(&self, pod: &Pod) -> Objects;

    /// Whether the API has a pod of this name and uid.
    fn has_pod(&self, namespace: &str, name: &str, uid: &str) -> bool;

    /// The status that the API has of the pod with this uid; `None` if it has none.
    fn status(&self, pod: &Pod) -> Option<V1PodStatus>;

    /// Who asked for the deletion of this pod, where that is known.
    fn deletion_asker(&self, pod: &Pod) -> Option<String>;

    /// Sets the status, but for the conditions of others, which the API keeps. Returns when it is durable, or the pod is gone from the API.
    fn publish_status(&self, pod: &Pod, status: V1PodStatus) -> impl Future<Output = ()> + Send;

    /// The Events that the API has about this pod.
    fn events(&self, pod: &Pod) -> Vec<Event>;

    /// Stores an Event; `is_new` if there was none of this name before.
    fn record_event(&self, event: Event, is_new: bool) -> impl Future<Output = ()> + Send;

    /// Nothing is left of a pod whose deletion was asked for: the object may go (row 3.f.10; k8s: 1.b.16).
    fn remove_pod(&self, pod: &Pod) -> impl Future<Output = ()> + Send;
}

/// Drives the pods of a node.
#[derive(Debug)]
pub struct Agent<R: Runtime, A: PodApi> {
    shared: Arc<Shared<R, A>>,
    tasks: JoinSet<()>,
    watch: Option<JoinHandle<()>>,
    collecting: Option<JoinHandle<()>>,
    /// Critical pods that are taken as soon as others are gone, by uid.
    waiting: BTreeMap<String, Waiting>,
}

/// A pod that waits until others are gone.
#[derive(Debug)]
struct Waiting {
    pod: Pod,
    victims: BTreeSet<String>,
}

impl<R: Runtime, A: PodApi> Drop for Agent<R, A> {
    fn drop(&mut self) {
        for task in [self.watch.take(), self.collecting.take()].into_iter().flatten() {
            task.abort();
        }
    }
}

struct Shared<R: Runtime, A: PodApi> {
    runtime: Arc<R>,
    node: NodeConfig,
    api: A,
    recorder: Mutex<EventRecorder>,
    observers: OnceLock<Vec<Arc<dyn Observer>>>,
    pods: Mutex<BTreeMap<String, Driven>>,
    /// What the node is short of.
    pressure: watch::Sender<BTreeSet<NodeCondition>>,
    /// Something that was driven is over: told to whoever drives the agent, also later.
    ended: Arc<Notify>,
    /// The same, told to those that wait at that moment.
    ended_too: Notify,
    allocatable: Allocatable,
    is_shutting_down: AtomicBool,
    /// Removes what nobody needs, if somebody asked for that.
    collector: OnceLock<Arc<tokio::sync::Mutex<Collector<R>>>>,
}

/// The least time between stop signal and SIGKILL, and what it takes to tell the end of it.
const AFTER_LAST_WAVE: Duration = Duration::from_secs(lifecycle::MINIMUM_STOP_WINDOW_SECS + 3);

/// A pod that an engine before this one drove.
#[derive(Debug)]
struct Left {
    uid: String,
    pod: Pod,
    state: PodState,
    lock: EngineLock,
}

impl Left {
    /// By their creation, as the reference has it.
    fn order(&self) -> impl Ord + use<> {
        let created = self.pod.metadata.creation_timestamp.as_ref().map(|created| created.0);
        (created, self.uid.clone())
    }
}

/// How a pod comes to be driven.
#[derive(Debug)]
enum Beginning {
    /// It is new here.
    New,
    /// Another engine drove it.
    Resumed(Box<PodState>),
    /// The node does not take it.
    Rejected(Rejection),
}

impl<R: Runtime, A: PodApi> std::fmt::Debug for Shared<R, A> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("pods", &self.pods).finish_non_exhaustive()
    }
}

/// A pod that is driven.
#[derive(Debug)]
struct Driven {
    handle: PodHandle,
    /// The newest object.
    pod: Arc<Pod>,
    /// The grace, in seconds, with which its end was asked for last.
    asked_secs: Option<u64>,
    /// Others have changed what Ready depends on.
    regated: Arc<Notify>,
}

/// What became of an attempt to take up the pods that an engine before this one left.
#[derive(Debug, Default)]
pub struct Adopted {
    /// Uids of the pods that go on.
    pub pods: Vec<String>,
    /// Folders that cannot be taken up, and why. Their containers live on; `usher rm` removes them.
    pub failed: Vec<(PathBuf, String)>,
}

impl<R: Runtime, A: PodApi> Agent<R, A> {
    /// No pods yet.
    pub fn new(runtime: Arc<R>, node: NodeConfig, allocatable: Allocatable, api: A) -> Self {
        node.allocations.set_capacity(&allocatable);
        let recorder = Mutex::new(EventRecorder::new(&node.node_name));
        let (pods, pressure, ended) = (Mutex::default(), watch::Sender::default(), Arc::default());
        let shared = Shared {
            runtime,
            node,
            api,
            recorder,
            observers: OnceLock::new(),
            pods,
            pressure,
            ended,
            ended_too: Notify::new(),
            allocatable,
            is_shutting_down: AtomicBool::default(),
            collector: OnceLock::new(),
        };
        Self { shared: Arc::new(shared), tasks: JoinSet::new(), watch: None, collecting: None, waiting: BTreeMap::new() }
    }

    /// Has these told everything that passes in the pods; to be called once, before the first pod is taken.
    pub fn observe(&self, observers: Vec<Arc<dyn Observer>>) {
        let _ = self.shared.observers.set(observers);
    }

    /// Watches what the machine has left from now on, and evicts pods when it is too little.
    pub fn watch(&mut self, config: EvictionConfig) {
        let shared = self.shared.clone();
        let node = &shared.node;
        let watch = Watch::new(shared.runtime.clone(), config, node.clone());
        if let Some(before) = self.watch.replace(tokio::spawn(watch_pods(shared, watch))) {
            before.abort();
        }
    }

    /// Collects garbage from now on; to be called once.
    pub fn collect_garbage(&mut self, config: GcConfig, metrics: Option<GcMetrics>) {
        let shared = self.shared.clone();
        let collector = Collector::new(shared.runtime.clone(), shared.node.clone(), config, metrics);
        let collector = Arc::new(tokio::sync::Mutex::new(collector));
        if shared.collector.set(collector.clone()).is_ok() {
            self.collecting = Some(tokio::spawn(garbage::collect(shared, collector)));
        }
    }

    /// What the node is short of, and every change of that.
    pub fn pressure(&self) -> watch::Receiver<BTreeSet<NodeCondition>> {
        self.shared.pressure.subscribe()
    }

    /// Takes up every pod that has a folder on the machine and no engine: to be called once, before anything else.
    ///
    /// # Errors
    /// When the folders cannot be listed.
    pub fn adopt(&mut self) -> std::io::Result<Adopted> {
        let mut adopted = Adopted::default();
        let entries = match std::fs::read_dir(self.shared.node.root.join("pods")) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(adopted),
            Err(error) => return Err(error),
        };
        let mut left = Vec::new();
        for entry in entries {
            let folder = entry?.path();
            match self.find_left(&folder) {
                Ok(found) => left.extend(found),
                Err(error) => adopted.failed.push((folder, error)),
            }
        }
        // k8s: 11.b.1: those that were here first have the place.
        left.sort_by_key(Left::order);
        let mut taken = Vec::new();
        for pod in left {
            let (uid, folder) = (pod.uid.clone(), self.shared.node.pod_dir(&pod.uid));
            match self.adopt_one(pod, &mut taken) {
                Ok(()) => adopted.pods.push(uid),
                Err(error) => adopted.failed.push((folder, error)),
            }
        }
        Ok(adopted)
    }

    /// `None` if there is nothing to take up: another engine drives it, or it never got as far as having a state.
    fn find_left(&self, folder: &Path) -> Result<Option<Left>, String> {
        let uid = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let node = &self.shared.node;
        if is_set_aside(folder) {
            return remove_pod_folder(folder).map(|()| None).map_err(|error| error_chain(&error));
        }
        let Some(lock) = EngineLock::try_take(folder).map_err(|error| error_chain(&error))? else { return Ok(None) };
        if !node.state_path(&uid).exists() {
            // Its first state is written before anything is made: nothing of it is anywhere.
            return remove_pod_folder(folder).map(|()| None).map_err(|error| error_chain(&error));
        }
        let mut pod = read_manifest(&node.manifest_path(&uid)).map_err(|error| error_chain(&error))?;
        forget_writers(&mut pod);
        let state = PodState::load(&node.state_path(&uid)).map_err(|error| error_chain(&error))?;
        Ok(Some(Left { uid, pod, state, lock }))
    }

    /// Goes on with a pod, and looks whether the node still takes it beside those that it has `taken` up before. What it has is what
    /// counts, not what a resize wants (k8s: 11.b.20).
    fn adopt_one(&mut self, left: Left, taken: &mut Vec<Pod>) -> Result<(), String> {
        let Left { uid, pod, state, lock } = left;
        let is_going = state.worker.is_terminating() || state.worker.is_finished() || pod.metadata.deletion_timestamp.is_some();
        let is_known = self.shared.api.status(&pod).is_some();
        let counted = admission::as_allocated(&pod, &state.worker.allocated());
        self.begin(pod, Beginning::Resumed(Box::new(state)), lock)?;
        if !is_known {
            // The API has it no more: it goes, and nobody has to make room for it.
            return Ok(());
        }
        if !is_going {
            // Whatever the node is short of: who goes for that, evictions choose. A kubelet that has just begun knows of no pressure either.
            match self.admit_beside(&counted, &taken.iter().collect::<Vec<_>>(), BTreeSet::new()) {
                Admission::Taken => {}
                Admission::After(victims) => self.preempt(&counted, &victims),
                Admission::Rejected(rejection) => {
                    if let Some(driven) = self.shared.pods().get(&uid) {
                        driven.handle.reject(rejection, "the node, which looked again when its engine was restarted");
                    }
                    return Ok(());
                }
            }
        }
        taken.push(counted);
        Ok(())
    }

    /// Told whenever a pod that was driven is over: then [`Self::take_waiting`] is to be called.
    pub fn ended(&self) -> Arc<Notify> {
        self.shared.ended.clone()
    }

    /// Takes the critical pods for which the others are gone by now.
    pub fn take_waiting(&mut self) {
        let is_due = |waiting: &Waiting| !waiting.victims.iter().any(|victim| self.shared.pods().contains_key(victim));
        let due: Vec<_> = self.waiting.iter().filter(|(_, waiting)| is_due(waiting)).map(|(uid, _)| uid.clone()).collect();
        for uid in due {
            let Some(Waiting { pod, .. }) = self.waiting.remove(&uid) else { continue };
            // Looked at anew: the node may go down by now.
            self.start(&pod);
        }
    }

    /// The API has this pod, or has it differently than before: starts it, changes it, or has it go.
    pub fn handle_pod(&mut self, mut pod: Pod) {
        forget_writers(&mut pod);
        let uid = pod.metadata.uid.clone().unwrap_or_default();
        if let Some(waiting) = self.waiting.get_mut(&uid) {
            waiting.pod = pod;
            if waiting.pod.metadata.deletion_timestamp.is_some() {
                self.give_up(&uid);
            }
            return;
        }
        let is_known = self.shared.pods().contains_key(&uid);
        if !is_known && !self.start(&pod) {
            return;
        }
        let mut pods = self.shared.pods();
        let Some(driven) = pods.get_mut(&uid) else { return };
        // Files of the downward API show labels and annotations.
        let shown = |pod: &Pod| (pod.metadata.labels.clone(), pod.metadata.annotations.clone());
        if is_known && (driven.pod.spec != pod.spec || shown(&driven.pod) != shown(&pod)) {
            driven.handle.update(pod.clone());
        }
        let deletion = pod.metadata.deletion_timestamp.as_ref().map(|_| deletion_grace(&pod));
        if has_readiness_gates(&pod) && !same_conditions_of_others(&driven.pod, &pod) {
            driven.regated.notify_one();
        }
        driven.pod = Arc::new(pod);
        // k8s: 3.a.5: the same grace again asks for nothing.
        if let Some(secs) = deletion.filter(|secs| driven.asked_secs.is_none_or(|asked| *secs < asked)) {
            driven.asked_secs = Some(secs);
            let by = self.shared.api.deletion_asker(&driven.pod).unwrap_or_else(|| "a delete through the API".to_owned());
            driven.handle.kill_by(KillPod { trigger: KillTrigger::Deleted, grace: Grace::Seconds(secs) }, by);
        }
    }

    /// The API has this pod no more (row 4.a.3): what runs of it goes, with its hooks and the grace of its spec.
    pub fn handle_gone(&mut self, uid: &str) {
        self.handle_removed(uid, "the API, which has the pod no more");
    }

    /// The same, and says for the journal by whom the pod is wanted no more.
    pub fn handle_removed(&mut self, uid: &str, by: &str) {
        self.waiting.remove(uid);
        let mut pods = self.shared.pods();
        let Some(driven) = pods.get_mut(uid).filter(|driven| driven.asked_secs.is_none()) else { return };
        driven.asked_secs = Some(u64::MAX);
        driven.handle.kill_by(KillPod { trigger: KillTrigger::Deleted, grace: Grace::FromSpec }, by);
    }

    /// The API has told all its pods: those that are driven and not among them are gone from it.
    pub fn handle_synced(&mut self, known: &BTreeSet<String>) {
        let orphans: Vec<_> = self.shared.pods().keys().filter(|uid| !known.contains(*uid)).cloned().collect();
        for uid in orphans {
            self.handle_gone(&uid);
        }
    }

    /// ConfigMaps and Secrets have changed: every pod is given what it speaks of anew.
    pub fn handle_objects_changed(&self) {
        let pods: Vec<_> = self.shared.pods().values().map(|driven| (driven.handle.clone(), driven.pod.clone())).collect();
        for (handle, pod) in pods {
            let objects = self.shared.api.objects(&pod);
            tokio::spawn(async move {
                if let Err(error) = handle.update_objects(objects).await {
                    tracing::warn!(pod = pod.metadata.name, error = error_chain(&error), "a volume shows old content");
                }
            });
        }
    }

    /// Stops one pod for a reason of the node's: eviction, preemption.
    pub fn kill(&self, uid: &str, kill: KillPod) {
        if let Some(driven) = self.shared.pods().get(uid) {
            driven.handle.kill(kill);
        }
    }

    /// Uids of the pods that are driven.
    pub fn pods(&self) -> Vec<String> {
        self.shared.pods().keys().cloned().collect()
    }

    /// The newest objects of the pods that are driven.
    pub fn driven(&self) -> Vec<Arc<Pod>> {
        self.shared.pods().values().map(|driven| driven.pod.clone()).collect()
    }

    /// The API that this agent reports to.
    pub fn api(&self) -> &A {
        &self.shared.api
    }

    /// The machine goes down: no pod is taken any more, and those that are here go wave by wave. Returns when nothing is left of them,
    /// or their time is over; until then the agent can be used as before.
    pub fn shut_down(&self, plan: ShutdownPlan) -> impl Future<Output = ()> + Send + use<R, A> {
        let shared = self.shared.clone();
        shared.is_shutting_down.store(true, Ordering::Relaxed);
        async move {
            let mut last = None;
            for wave in plan.waves(&shared.leavers()) {
                let period = wave.period;
                shared.dismiss(&wave);
                shared.left_of(&wave.uids, period).await;
                last = period;
            }
            // Those that were not done in time are killed by now, and what became of them is being told.
            let all: Vec<_> = shared.pods().keys().cloned().collect();
            shared.left_of(&all, last.map(|_| AFTER_LAST_WAVE)).await;
        }
    }

    /// Forgets tasks that have ended; to be called now and then.
    pub fn reap(&mut self) {
        while self.tasks.try_join_next().is_some() {}
    }

    /// False if there is nothing to be driven.
    fn start(&mut self, pod: &Pod) -> bool {
        let uid = pod.metadata.uid.clone().unwrap_or_default();
        if is_over(pod) {
            if pod.metadata.deletion_timestamp.is_some() {
                let (shared, pod) = (self.shared.clone(), pod.clone());
                self.tasks.spawn(async move { shared.api.remove_pod(&pod).await });
            }
            return false;
        }
        match self.admit(pod) {
            Admission::Taken => self.take(pod, Beginning::New),
            Admission::Rejected(rejection) => self.take(pod, Beginning::Rejected(rejection)),
            Admission::After(victims) => {
                self.preempt(pod, &victims);
                self.waiting.insert(uid, Waiting { pod: pod.clone(), victims: victims.uids.into_iter().collect() });
                false
            }
        }
    }

    fn admit(&self, pod: &Pod) -> Admission {
        let driven: Vec<_> = self.shared.pods().values().map(|driven| driven.pod.clone()).collect();
        let conditions = self.shared.pressure.borrow().clone();
        self.admit_beside(pod, &driven.iter().map(AsRef::as_ref).collect::<Vec<_>>(), conditions)
    }

    fn admit_beside(&self, pod: &Pod, driven: &[&Pod], conditions: BTreeSet<NodeCondition>) -> Admission {
        let waiting: Vec<&Pod> = self.waiting.values().map(|waiting| &waiting.pod).collect();
        let facts = NodeFacts {
            allocatable: self.shared.allocatable.clone(),
            conditions,
            is_shutting_down: self.shared.is_shutting_down.load(Ordering::Relaxed),
        };
        admission::admit(pod, &facts, driven, &waiting)
    }

    /// k8s: 4.a.20: in their own grace.
    fn preempt(&self, pod: &Pod, victims: &Victims) {
        let name = |text: &Option<String>| text.clone().unwrap_or_default();
        let by = preemption_text(&format!("{}/{}", name(&pod.metadata.namespace), name(&pod.metadata.name)));
        let pods = self.shared.pods();
        for victim in victims.uids.iter().filter_map(|victim| pods.get(victim)) {
            victim.handle.preempt(victims.resource, &*by);
        }
    }

    /// A pod that waited is wanted no more: nothing of it is anywhere.
    fn give_up(&mut self, uid: &str) {
        let Some(Waiting { pod, .. }) = self.waiting.remove(uid) else { return };
        let shared = self.shared.clone();
        self.tasks.spawn(async move { shared.api.remove_pod(&pod).await });
    }

    /// False if it cannot be driven.
    fn take(&mut self, pod: &Pod, beginning: Beginning) -> bool {
        let uid = pod.metadata.uid.clone().unwrap_or_default();
        let folder = self.shared.node.pod_dir(&uid);
        let begun = std::fs::create_dir_all(&folder)
            .and_then(|()| EngineLock::try_take(&folder))
            .map_err(|error| error_chain(&error))
            .and_then(|lock| lock.ok_or_else(|| "another engine drives it".to_owned()))
            .and_then(|lock| self.begin(pod.clone(), beginning, lock));
        if let Err(error) = &begun {
            tracing::error!(pod = pod.metadata.name, uid, error, "cannot take up a pod");
        }
        begun.is_ok()
    }

    fn begin(&mut self, mut pod: Pod, beginning: Beginning, lock: EngineLock) -> Result<(), String> {
        let shared = self.shared.clone();
        let objects = shared.api.objects(&pod);
        let world =
            PodWorld::new(shared.runtime.clone(), shared.node.clone(), pod.clone(), objects).map_err(|error| error_chain(&error))?;
        let (uid, folder) = (world.spec().uid.clone(), world.pod_dir());
        // An engine that died may have been about to tell these. Read before this one writes into the same journal.
        let journaled = match beginning {
            Beginning::Resumed(_) => untold::newest(&world.journal_path()).unwrap_or_default(),
            Beginning::New | Beginning::Rejected(_) => Vec::new(),
        };
        if matches!(beginning, Beginning::Resumed(_)) {
            // What others have written into it meanwhile.
            pod.status = shared.api.status(&pod).or(pod.status);
        }
        let (watcher, watched) = mpsc::unbounded_channel();
        let driver = match beginning {
            Beginning::New => PodDriver::new(world, watcher),
            Beginning::Resumed(state) => PodDriver::resume(world, *state, watcher),
            Beginning::Rejected(rejection) => PodDriver::rejected(world, rejection, watcher),
        };
        let driver = driver.map_err(|error| error_chain(&error))?.without_output();
        let control = ControlSocket::listen(&folder, driver.handle()).map_err(|error| error_chain(&error))?;
        let regated = Arc::new(Notify::new());
        if has_readiness_gates(&pod) {
            regated.notify_one();
        }
        let driven = Driven { handle: driver.handle(), pod: Arc::new(pod), asked_secs: None, regated: regated.clone() };
        shared.pods().insert(uid.clone(), driven);
        let running = driver.run();
        let telling = (shared.clone(), uid.clone());
        self.tasks.spawn(async move {
            let told = tokio::spawn(async move {
                let (shared, uid) = telling;
                // Once, and over soon: it has no part in what the task holds.
                Box::pin(shared.catch_up(&uid, journaled)).await;
                tell(shared, uid, watched, &regated).await;
            });
            running.await;
            // The last status is durable on the other side before the pod is forgotten on this one.
            let _ = told.await;
            drop(control);
            Box::pin(shared.forget(&uid, &folder, lock)).await;
        });
        Ok(())
    }
}

impl<R: Runtime, A: PodApi> Shared<R, A> {
    fn pods(&self) -> MutexGuard<'_, BTreeMap<String, Driven>> {
        self.pods.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn leavers(&self) -> Vec<Leaver> {
        let priority = |pod: &Pod| pod.spec.as_ref().and_then(|spec| spec.priority).unwrap_or(0);
        self.pods().iter().map(|(uid, driven)| Leaver { uid: uid.clone(), priority: priority(&driven.pod) }).collect()
    }

    /// k8s: 4.a.21
    fn dismiss(&self, wave: &Wave) {
        let pods = self.pods();
        for driven in wave.uids.iter().filter_map(|uid| pods.get(uid)) {
            let own = driven.pod.spec.as_ref().and_then(|spec| spec.termination_grace_period_seconds);
            let own = own.and_then(|secs| u64::try_from(secs).ok()).unwrap_or(u64::MAX);
            let grace = wave.period.map_or(Grace::FromSpec, |period| Grace::Seconds(period.as_secs().min(own)));
            driven.handle.kill_by(KillPod { trigger: KillTrigger::NodeShutdown, grace }, "the node, which goes down");
        }
    }

    /// Waits until none of these pods is driven any more, or the time is over.
    async fn left_of(&self, uids: &[String], within: Option<Duration>) {
        let all_gone = async {
            loop {
                let notified = self.ended_too.notified();
                tokio::pin!(notified);
                // Before looking, so that no end is missed.
                notified.as_mut().enable();
                if !uids.iter().any(|uid| self.pods().contains_key(uid)) {
                    return;
                }
                notified.await;
            }
        };
        match within {
            Some(within) => drop(tokio::time::timeout(within, all_gone).await),
            None => all_gone.await,
        }
    }

    fn watched(&self) -> Vec<WatchedPod> {
        self.pods().values().map(|driven| WatchedPod { pod: driven.pod.clone(), handle: driven.handle.clone() }).collect()
    }

    fn newest(&self, uid: &str) -> Option<Arc<Pod>> {
        self.pods().get(uid).map(|driven| driven.pod.clone())
    }

    async fn forget(&self, uid: &str, folder: &Path, lock: EngineLock) {
        let driven = self.pods().remove(uid);
        if let Err(error) = remove_pod_folder(folder) {
            tracing::warn!(error = error_chain(&error), folder = %folder.display(), "cannot remove the folder of a pod");
        }
        drop(lock);
        self.recorder.lock().unwrap_or_else(PoisonError::into_inner).forget(uid);
        if let Some(driven) = driven.filter(|driven| driven.pod.metadata.deletion_timestamp.is_some()) {
            self.api.remove_pod(&driven.pod).await;
        }
        self.ended.notify_one();
        self.ended_too.notify_waiters();
    }

    fn record(&self, pod: &Pod, record: &lifecycle::EventRecord, wall_nanos: u64) -> Recorded {
        self.recorder.lock().unwrap_or_else(PoisonError::into_inner).record(pod, record, wall_nanos)
    }

    /// Tells the Events that the engine before wrote down and did not come to tell.
    async fn catch_up(&self, uid: &str, journaled: Vec<Journaled>) {
        let Some(pod) = self.newest(uid).filter(|_| !journaled.is_empty()) else { return };
        for Journaled { wall_nanos, record } in untold::untold(journaled, &self.api.events(&pod), clock::moment().wall_nanos) {
            self.tell_event(&pod, &record, wall_nanos).await;
        }
    }

    async fn tell_event(&self, pod: &Pod, record: &lifecycle::EventRecord, wall_nanos: u64) {
        match self.record(pod, record, wall_nanos) {
            Recorded::Added(event) => self.api.record_event(event, true).await,
            Recorded::Counted(event) => self.api.record_event(event, false).await,
            Recorded::Dropped => {}
        }
    }

    async fn publish(&self, uid: &str, status: &PodStatus, previous: &mut Option<V1PodStatus>) {
        let Some(pod) = self.newest(uid) else { return };
        let published = {
            let (wall_nanos, now) = (&clock::wall_nanos, clock::now());
            let known = previous.as_ref().map(|known| with_conditions_of_others(known, &pod));
            let context = StatusContext { pod: &pod, wall_nanos, now, host_ips: &self.node.host_ips, previous: known.as_ref() };
            pod_status(status, &context)
        };
        *previous = Some(published.clone());
        self.api.publish_status(&pod, published).await;
    }

    /// Publishes Ready anew if the conditions of others make it another one.
    async fn look_at_gates(&self, uid: &str, previous: &mut Option<V1PodStatus>) {
        let (Some(pod), Some(known)) = (self.newest(uid), previous.as_ref()) else { return };
        let known = with_conditions_of_others(known, &pod);
        let published = {
            let (wall_nanos, now) = (&clock::wall_nanos, clock::now());
            let context = StatusContext { pod: &pod, wall_nanos, now, host_ips: &self.node.host_ips, previous: Some(&known) };
            regated_status(&known, &context)
        };
        let is_changed = published != known;
        *previous = Some(published.clone());
        if is_changed {
            self.api.publish_status(&pod, published).await;
        }
    }
}

/// Looks at the node for as long as the agent lives.
async fn watch_pods<R: Runtime, A: PodApi>(shared: Arc<Shared<R, A>>, mut watch: Watch<R>) {
    let mut looks = tokio::time::interval(watch.every());
    looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        let look = watch.look(&shared.watched(), |signal| shared.clone().relieve(signal)).await;
        shared.pressure.send_if_modified(|known| {
            let is_changed = *known != look.conditions;
            *known = look.conditions;
            is_changed
        });
        if let Some(shortage) = look.began {
            let message = format!("Attempting to reclaim {}", shortage.threshold.signal.resource());
            let event = node_event(&shared.node.node_name, "EvictionThresholdMet", message, clock::moment().wall_nanos);
            shared.api.record_event(event, true).await;
        }
    }
}

/// Tells the API what happens in one pod, in order. What a request to the API takes is on the heap for as long as it lasts: most of the
/// time there is none. A status that another one has overtaken already is left out.
async fn tell<R: Runtime, A: PodApi>(shared: Arc<Shared<R, A>>, uid: String, mut watched: mpsc::UnboundedReceiver<Live>, regated: &Notify) {
    let mut previous = shared.newest(&uid).and_then(|pod| shared.api.status(&pod));
    let mut unpublished: Option<PodStatus> = None;
    loop {
        let live = match (watched.try_recv(), &unpublished) {
            (Ok(live), _) => live,
            (Err(_), Some(status)) => {
                Box::pin(shared.publish(&uid, status, &mut previous)).await;
                unpublished = None;
                continue;
            }
            (Err(_), None) => tokio::select! {
                live = watched.recv() => match live {
                    Some(live) => live,
                    None => break,
                },
                () = regated.notified() => {
                    Box::pin(shared.look_at_gates(&uid, &mut previous)).await;
                    continue;
                }
            },
        };
        for observer in shared.observers.get().into_iter().flatten() {
            observer.passed(&uid, &live);
        }
        // What the journal only counts is told all the same.
        let (at, record) = match live {
            Live::Entry(entry) => (entry.at, entry.record),
            Live::Passing { at, record } => (at, *record),
            Live::Output { .. } | Live::Pull { .. } => continue,
        };
        match record {
            Record::Status(status) => unpublished = Some(status),
            Record::Action(lifecycle::Step { action: Action::RecordEvent(record), .. }) => {
                let Some(pod) = shared.newest(&uid) else { continue };
                Box::pin(shared.tell_event(&pod, &record, at.wall_nanos)).await;
            }
            Record::Opened { .. }
            | Record::Kill(_)
            | Record::Event(_)
            | Record::Action(_)
            | Record::Runtime(_)
            | Record::Warning { .. }
            | Record::Spec(_)
            | Record::Pull(_)
            | Record::Volumes(_)
            | Record::Hook(_)
            | Record::Probes(_)
            | Record::OutputCut(_)
            | Record::Session(_)
            | Record::Full => {}
        }
    }
    for observer in shared.observers.get().into_iter().flatten() {
        observer.ended(&uid);
    }
}

/// Who asks a pod to go so that a critical one, `NAMESPACE/NAME`, finds room: for the journal.
pub fn preemption_text(critical: &str) -> String {
    format!("the node, for the critical pod {critical}")
}

/// Whether the API says that this pod has ended: it is never run again.
fn is_over(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
}

/// Who wrote which field is the API's business, and most of what an object weighs.
fn forget_writers(pod: &mut Pod) {
    pod.metadata.managed_fields = None;
}

/// k8s: 3.a.1: `deletionGracePeriodSeconds`, which the API sets together with the timestamp.
fn deletion_grace(pod: &Pod) -> u64 {
    let secs = pod.metadata.deletion_grace_period_seconds.unwrap_or_default();
    u64::try_from(secs).unwrap_or_default()
}
