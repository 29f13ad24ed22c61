//! Does what a pod's machine asks for: turns actions into calls of the runtime, and what comes of them into events.
//!
//! Nothing is decided here. How a failure is named for users is decided in one place, at the end of this file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use chronicle::sieve::{HOOK_BYTES_MAX, cut};
use chronicle::{HookFacts, PullFacts, VolumeFacts};
use lifecycle::{Action, ActionId, Event, Exit, Handler, HookOutcome, ImageInspection, PodSpec, ProbeOutcome, Resources, Timestamp};
use runtime::{
    ContainerExit, CreateContainerError, ExecError, ExecRequest, ImageStatus, ImageStatusError, LinuxResources, PodSandboxConfig, Runtime,
    UpdateResourcesError,
};
use tokio::sync::{Semaphore, mpsc};

use crate::allocations::{Allocation, Allocations};
use crate::container_config::resources::{container_resources, pod_request, pod_resources};
use crate::container_config::{ConfigContext, Objects, container_config};
use crate::convert::resources::pod_with_resources;
use crate::convert::{self, pod_spec};
use crate::driver::{Pod, RunHook};
use crate::journal::{JournalLimits, Live, Record};
use crate::machine::Machine;
use crate::pod_files::{MANIFEST_FILE, PodFiles, STATE_FILE, UpdateVolumesError};
use crate::{clock, error_chain, http, probes};

/// So much later than the engine the shim would kill: it does so only if the engine is dead, and the journal knows who killed.
const KILL_MARGIN: Duration = Duration::from_millis(500);

/// Output of a hook that is kept, in bytes.
const HOOK_OUTPUT_MAX: usize = 64 << 10;

/// Output of a probe that is kept, in bytes (k8s: 7.d.4).
const PROBE_OUTPUT_MAX: usize = 10 << 10;

/// Settings of a node that every pod on it shares.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// Where pods, journals and volumes are.
    pub root: PathBuf,
    /// Where container logs are, `/var/log/pods` by default.
    pub log_root: PathBuf,
    /// `spec.nodeName`.
    pub node_name: String,
    /// Addresses of the node, primary first.
    pub host_ips: Vec<std::net::IpAddr>,
    /// Largest log file in bytes (`containerLogMaxSize`, 10 MiB).
    pub log_max_bytes: u64,
    /// Log files of a container that are kept (`containerLogMaxFiles`, 5).
    pub log_max_files: u32,
    /// How much of the journals is kept.
    pub journal: JournalLimits,
    /// The most processes and threads of one pod (`podPidsLimit`); `None` for no limit but the machine's.
    pub pod_pids_max: Option<u32>,
    /// The longest pause before a container that crashed is started again (`crashLoopBackOff.maxContainerRestartPeriod`, 5 min).
    pub back_off_max: Duration,
    /// A place for each image that may be pulled at the same time (`serializeImagePulls`, `maxParallelImagePulls`); `None` for no limit.
    pub pulls: Option<Arc<Semaphore>>,
    /// What the pods of the node ask for.
    pub allocations: Allocations,
}

impl NodeConfig {
    /// Where the files of a pod are.
    pub fn pod_dir(&self, uid: &str) -> PathBuf {
        self.root.join("pods").join(uid)
    }

    /// Where the journals are; they outlive their pods.
    pub fn journal_dir(&self) -> PathBuf {
        self.root.join("journals")
    }

    /// Where the folders of persistent volume claims are; they outlive the pods.
    pub fn claims_dir(&self) -> PathBuf {
        self.root.join("volumes")
    }

    /// Where the layers of images are.
    pub fn images_dir(&self) -> PathBuf {
        self.root.join("images")
    }

    /// The journal of a pod.
    pub fn journal_path(&self, namespace: &str, name: &str, uid: &str) -> PathBuf {
        self.journal_dir().join(format!("{namespace}_{name}_{uid}.jsonl"))
    }

    /// The state of a pod, from which an engine can go on.
    pub fn state_path(&self, uid: &str) -> PathBuf {
        self.pod_dir(uid).join(STATE_FILE)
    }

    /// The Pod object as it was given, defaulted.
    pub fn manifest_path(&self, uid: &str) -> PathBuf {
        self.pod_dir(uid).join(MANIFEST_FILE)
    }
}

/// The world as one pod sees it.
#[derive(Debug)]
pub struct PodWorld<R: Runtime> {
    runtime: Arc<R>,
    node: NodeConfig,
    pod: Pod,
    spec: PodSpec,
    files: PodFiles,
    /// Shared, as what was learnt, by all that this pod's world has been: manifests change, these stay.
    objects: Arc<Mutex<Arc<Objects>>>,
    live: Arc<Mutex<LiveFacts>>,
}

/// What was learnt while the pod runs.
#[derive(Debug, Default)]
struct LiveFacts {
    ips: Vec<std::net::IpAddr>,
    /// Each image as it was last inspected or pulled.
    images: BTreeMap<String, ImageStatus>,
    /// Which container an instance belongs to, and its restart count.
    instances: BTreeMap<String, (String, u32)>,
    /// What was measured while an action was done; taken with its answer.
    measured: Vec<Record>,
}

impl<R: Runtime> PodWorld<R> {
    /// Makes the pod's folder and writes its manifest there.
    ///
    /// # Errors
    /// When the manifest cannot be turned into a lifecycle spec, or a folder cannot be made.
    pub fn new(runtime: Arc<R>, node: NodeConfig, pod: Pod, objects: Objects) -> Result<Self, NewPodError> {
        let spec = pod_spec(&pod)?;
        let folder = node.pod_dir(&spec.uid);
        for folder in [&folder, &node.journal_dir()] {
            std::fs::create_dir_all(folder).map_err(|source| NewPodError::Files { path: folder.clone(), source })?;
        }
        write_manifest(&node.manifest_path(&spec.uid), &pod)?;
        let files = PodFiles::new(folder, node.claims_dir());
        Ok(Self { runtime, node, pod, spec, files, objects: Arc::new(Mutex::new(Arc::new(objects))), live: Arc::default() })
    }

    /// The same pod with another manifest, which replaces the one in the pod's folder.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn with_pod(&self, pod: Pod) -> Result<Self, NewPodError> {
        let spec = pod_spec(&pod)?;
        write_manifest(&self.node.manifest_path(&self.spec.uid), &pod)?;
        let (runtime, node, objects) = (self.runtime.clone(), self.node.clone(), self.objects.clone());
        Ok(Self { runtime, node, pod, spec, files: self.files.clone(), objects, live: self.live.clone() })
    }

    /// What the machine needs to know of the pod.
    pub const fn spec(&self) -> &PodSpec {
        &self.spec
    }

    /// The pod as it was given.
    pub const fn pod(&self) -> &Pod {
        &self.pod
    }

    /// The pod's folder.
    pub fn pod_dir(&self) -> PathBuf {
        self.node.pod_dir(&self.spec.uid)
    }

    pub(crate) const fn node(&self) -> &NodeConfig {
        &self.node
    }

    /// What was measured since it was last asked, for the journal.
    pub(crate) fn take_measured(&self) -> Vec<Record> {
        std::mem::take(&mut self.facts().measured)
    }

    fn measure(&self, record: Record) {
        self.facts().measured.push(record);
    }

    pub(crate) fn journal_path(&self) -> PathBuf {
        self.node.journal_path(&self.spec.namespace, &self.spec.name, &self.spec.uid)
    }

    pub(crate) fn state_path(&self) -> PathBuf {
        self.node.state_path(&self.spec.uid)
    }

    /// k8s: 2.e.5
    pub(crate) fn log_path(&self, container: &str, restart_count: u32) -> PathBuf {
        let PodSpec { name, namespace, uid, .. } = &self.spec;
        self.node.log_root.join(format!("{namespace}_{name}_{uid}")).join(container).join(format!("{restart_count}.log"))
    }

    /// The pod's addresses, as an engine before this one learnt them.
    pub(crate) fn remember_ips(&self, ips: &[String]) {
        self.facts().ips = ips.iter().filter_map(|ip| ip.parse().ok()).collect();
    }

    pub(crate) async fn events(&self) -> Result<mpsc::UnboundedReceiver<runtime::RuntimeEvent>, runtime::EventsError> {
        self.runtime.events(&self.spec.uid).await
    }

    /// Does one action; `None` if it needs no answer.
    pub(crate) async fn perform(&self, id: ActionId, action: Action, warn: &mut (dyn FnMut(String) + Send)) -> Option<Event> {
        match action {
            Action::CreateSandbox { attempt, containers } => Some(self.create_sandbox(id, (attempt, &containers), warn).await),
            Action::StopSandbox => {
                self.report(self.runtime.stop_pod_sandbox(&self.spec.uid).await, warn);
                Some(Event::SandboxStopped { id })
            }
            Action::CleanUpPod => {
                self.clean_up(warn).await;
                Some(Event::PodCleanedUp { id })
            }
            Action::InspectImage { image, .. } => {
                let outcome = self.inspect_image(&image).await;
                Some(Event::ImageInspected { id, outcome })
            }
            Action::CreateContainer { container, restart_count, resources, .. } => {
                Some(self.create_container(id, &container, (restart_count, resources)).await)
            }
            Action::StartContainer { container_id, .. } => Some(self.start_container(id, &container_id.0).await),
            Action::StopContainer { container_id, kill_after, .. } => {
                let sent = self.runtime.stop_container(&self.spec.uid, &container_id.0, kill_after + KILL_MARGIN).await;
                Some(Event::StopSignalled { id, error: sent.err().map(|error| error_chain(&error)) })
            }
            Action::KillContainer { container_id, .. } => {
                let sent = self.runtime.kill_container(&self.spec.uid, &container_id.0).await;
                Some(Event::KillSignalled { id, error: sent.err().map(|error| error_chain(&error)) })
            }
            Action::RemoveContainer { container_id, .. } => {
                self.report(self.runtime.remove_container(&self.spec.uid, &container_id.0).await, warn);
                None
            }
            Action::MeasureRoom => Some(Event::RoomMeasured { id, room: self.node.allocations.room(&self.spec.uid) }),
            Action::CheckMemory { containers, pod } => {
                let error = self.check_memory(&containers, &pod).await.err();
                Some(Event::Resized { id, error })
            }
            Action::ResizePod { containers } => {
                let error = self.resize_pod(&containers).await.err();
                Some(Event::Resized { id, error })
            }
            Action::ResizeContainer { container, container_id, resources } => {
                let error = self.resize_container(&container, &container_id.0, resources).await.err();
                Some(Event::Resized { id, error })
            }
            Action::PullImage { .. }
            | Action::CancelPull { .. }
            | Action::RunHook { .. }
            | Action::RunProbe { .. }
            | Action::CancelHook { .. }
            | Action::RecordEvent(_)
            | Action::Note(_) => None,
        }
    }

    async fn create_sandbox(
        &self,
        id: ActionId,
        (attempt, containers): (u32, &BTreeMap<String, Resources>),
        warn: &mut (dyn FnMut(String) + Send),
    ) -> Event {
        let begun = Instant::now();
        let prepared = self.files.prepare_volumes(&self.pod, &self.objects()).await;
        let volumes = self.pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten()).map(|volume| volume.name.clone());
        let error = prepared.as_ref().err().map(|error| error_chain(error));
        let facts = VolumeFacts { id, names: volumes.collect(), took: begun.elapsed(), error };
        if !facts.names.is_empty() {
            self.measure(Record::Volumes(facts));
        }
        if let Err(error) = prepared {
            let (reason, message) = error.event();
            return Event::SandboxFailed { id, reason: reason.to_owned(), message };
        }
        let runtime_handler = match self.objects().runtime_handler(&self.pod) {
            Ok(handler) => handler,
            Err(class) => {
                let message = format!("Failed to create pod sandbox: runtimeclass.node.k8s.io {class:?} not found");
                return Event::SandboxFailed { id, reason: "FailedCreatePodSandBox".to_owned(), message };
            }
        };
        let config = crate::container_config::sandbox_config(&pod_with_resources(&self.pod, containers), attempt);
        let mut config = PodSandboxConfig { runtime_handler, ..config };
        config.resources.pids_limit = self.node.pod_pids_max.map(i64::from);
        match self.runtime.run_pod_sandbox(&config).await {
            Ok(sandbox) => {
                sandbox.warnings.into_iter().for_each(&mut *warn);
                if let Err(error) = self.files.write_etc_files(&self.pod, &sandbox.ips).await {
                    // A sandbox that failed is nobody's to remove later.
                    self.report(self.runtime.stop_pod_sandbox(&self.spec.uid).await, warn);
                    let message = format!("Failed to create pod sandbox: {}", error_chain(&error));
                    return Event::SandboxFailed { id, reason: "FailedCreatePodSandBox".to_owned(), message };
                }
                let ips = sandbox.ips.iter().map(ToString::to_string).collect();
                self.facts().ips = sandbox.ips;
                Event::SandboxReady { id, ips, missing_pull_secrets: self.objects().missing_pull_secrets(&self.pod) }
            }
            // k8s: 2.b.9
            Err(error) => {
                let message = format!("Failed to create pod sandbox: {}", error_chain(&error));
                Event::SandboxFailed { id, reason: "FailedCreatePodSandBox".to_owned(), message }
            }
        }
    }

    async fn clean_up(&self, warn: &mut (dyn FnMut(String) + Send)) {
        if let Err(error) = self.files.clean_up().await {
            warn(error_chain(&error));
        }
        self.report(self.runtime.remove_pod_sandbox(&self.spec.uid).await, warn);
    }

    async fn inspect_image(&self, image: &str) -> ImageInspection {
        match self.runtime.image_status(image).await {
            Ok(Some(status)) => {
                let image_ref = status.image_ref.clone();
                self.facts().images.insert(image.to_owned(), status);
                ImageInspection::Present { image_ref }
            }
            Ok(None) => ImageInspection::Absent,
            Err(error @ ImageStatusError::InvalidName { .. }) => ImageInspection::InvalidName { message: error.to_string() },
            Err(error) => ImageInspection::Failed { message: error_chain(&error) },
        }
    }

    pub(crate) async fn pull_image(&self, id: ActionId, container: &str, image: &str, watcher: mpsc::UnboundedSender<Live>) -> Event {
        let asked = Instant::now();
        // Whoever gives the pull up gives its place up; nobody closes the places.
        let _place = match &self.node.pulls {
            Some(places) => places.clone().acquire_owned().await.ok(),
            None => None,
        };
        let begun = Instant::now();
        let (progress, mut progresses) = mpsc::unbounded_channel::<runtime::PullProgress>();
        let show = {
            let (container, image) = (container.to_owned(), image.to_owned());
            async move {
                let mut last = None;
                while let Some(progress) = progresses.recv().await {
                    last = Some(progress.clone());
                    let _ = watcher.send(Live::Pull { container: container.clone(), image: image.clone(), progress });
                }
                last
            }
        };
        let credentials = self.objects().pull_credentials(&self.pod);
        let (pulled, last) = tokio::join!(self.runtime.pull_image(image, &credentials, progress), show);
        if let Some(last) = last {
            let facts = PullFacts {
                id,
                image: image.to_owned(),
                bytes: last.bytes,
                total_bytes: last.total_bytes,
                layers: last.layers,
                took: begun.elapsed(),
            };
            self.measure(Record::Pull(facts));
        }
        match pulled {
            Ok(status) => {
                let (image_ref, size_bytes) = (status.image_ref.clone(), status.size_bytes);
                self.facts().images.insert(image.to_owned(), status);
                Event::ImagePulled { id, image_ref, size_bytes, took: begun.elapsed(), took_with_waiting: asked.elapsed() }
            }
            Err(error) => Event::ImagePullFailed { id, reason: error.reason.to_owned(), message: error_chain(&error) },
        }
    }

    async fn create_container(&self, id: ActionId, container: &str, (restart_count, resources): (u32, Resources)) -> Event {
        let fail = |reason: &str, message: String| Event::ContainerCreateFailed { id, reason: reason.to_owned(), message };
        let ips = self.facts().ips.clone();
        let images = match self.images_of(container).await {
            Ok(images) => images,
            Err(name) => {
                return fail("CreateContainerError", format!("image {name} of container {container} is not on the machine any more"));
            }
        };
        let Some(image) = images.get(&self.image_name(container)).cloned() else {
            return fail("CreateContainerError", format!("the pod has no container {container}"));
        };
        let log_path = self.log_path(container, restart_count);
        let objects = self.objects();
        let context = ConfigContext {
            node: &self.node,
            files: &self.files,
            objects: &objects,
            image: &image,
            volume_images: &images,
            ips: &ips,
            log_path,
        };
        let pod = self.pod_with(container, resources);
        let mut config = match container_config(&pod, container, restart_count, &context) {
            Ok(config) => config,
            Err(error) => return fail("CreateContainerConfigError", error_chain(&error)),
        };
        config.target_id = match self.target_of(container).await {
            Ok(target) => target,
            Err(message) => return fail("CreateContainerConfigError", message),
        };
        match self.runtime.create_container(&config).await {
            Ok(container_id) => {
                self.facts().instances.insert(container_id.clone(), (container.to_owned(), restart_count));
                Event::ContainerCreated { id, container_id: lifecycle::ContainerId(container_id) }
            }
            Err(error @ CreateContainerError::Config { .. }) => fail("CreateContainerConfigError", error_chain(&error)),
            Err(error @ CreateContainerError::Runtime { .. }) => fail("CreateContainerError", error_chain(&error)),
        }
    }

    /// The newest instance of the container at whose processes an ephemeral one looks; the error says that there is none.
    async fn target_of(&self, container: &str) -> Result<Option<String>, String> {
        let target = convert::ephemeral_container(&self.pod, container).and_then(|container| container.target_container_name.as_ref());
        let Some(target) = target.filter(|target| !target.is_empty()) else { return Ok(None) };
        let records = self.runtime.list_containers(&self.spec.uid).await.map_err(|error| error_chain(&error))?;
        let newest = records.into_iter().filter(|record| record.name == *target).max_by_key(|record| record.attempt);
        // k8s: 2.c.5
        newest.map(|record| Some(record.id)).ok_or_else(|| format!("unable to find target container {target}"))
    }

    /// The pod, with these resources for one of its containers.
    fn pod_with(&self, container: &str, resources: Resources) -> Pod {
        let mut all = convert::resources::pod_resources(&self.pod);
        all.insert(container.to_owned(), resources);
        pod_with_resources(&self.pod, &all)
    }

    /// Everything that would be refused is told at once.
    async fn check_memory(&self, containers: &BTreeMap<String, Resources>, pod: &BTreeMap<String, Resources>) -> Result<(), String> {
        let stats = self.runtime.pod_stats(&self.spec.uid).await.map_err(|error| error_chain(&error))?;
        let mut refused = Vec::new();
        let mut compare = |whose: &str, limit: Option<u64>, usage: Option<u64>| {
            if let Some((limit, usage)) = limit.zip(usage).filter(|(limit, usage)| usage > limit) {
                refused.push(below_usage(whose, limit, usage));
            }
        };
        for (name, resources) in containers {
            let newest = stats.containers.iter().rev().find(|stats| stats.name == *name);
            compare(&format!("container {name:?}"), resources.memory_limit_bytes, newest.and_then(|stats| stats.memory_usage_bytes));
        }
        if !pod.is_empty() {
            let whole = pod_resources(&pod_with_resources(&self.pod, pod)).map_err(|error| error_chain(&error))?;
            compare("pod", whole.memory_limit_bytes.and_then(|limit| u64::try_from(limit).ok()), stats.memory_usage_bytes);
        }
        if refused.is_empty() { Ok(()) } else { Err(cannot_decrease(&refused)) }
    }

    async fn resize_pod(&self, containers: &BTreeMap<String, Resources>) -> Result<(), String> {
        let pod = pod_with_resources(&self.pod, containers);
        let resources = pod_resources(&pod).map_err(|error| error_chain(&error))?;
        let resized = self.runtime.update_pod_resources(&self.spec.uid, &unlimited_where_unset(resources)).await;
        resized.map_err(|error| resize_error(&error, "pod"))
    }

    async fn resize_container(&self, container: &str, container_id: &str, resources: Resources) -> Result<(), String> {
        let pod = self.pod_with(container, resources);
        let spec = convert::container_of(&pod, container).ok_or_else(|| format!("the pod has no container {container}"))?;
        let resources = container_resources(&pod, &spec, &Machine::this()).map_err(|error| error_chain(&error))?;
        let resized = self.runtime.update_container_resources(&self.spec.uid, container_id, &unlimited_where_unset(resources)).await;
        resized.map_err(|error| resize_error(&error, &format!("container {container:?}")))
    }

    /// Tells the pods beside this one what it has.
    pub(crate) fn note_allocated(&self, allocated: &BTreeMap<String, Resources>) {
        // Requests that are no quantities are those of containers that cannot be created.
        let pod = pod_with_resources(&self.pod, allocated);
        let asked = |name| pod_request(&pod, name).unwrap_or_default();
        let (cpu_millis, memory_bytes) = (asked("cpu").millis(), asked("memory").units());
        let positive = |number: i64| u64::try_from(number).unwrap_or_default();
        let allocation = Allocation { cpu_millis: positive(cpu_millis), memory_bytes: positive(memory_bytes) };
        self.node.allocations.note(&self.spec.uid, Some(allocation));
    }

    pub(crate) fn forget_allocated(&self) {
        self.node.allocations.note(&self.spec.uid, None);
    }

    fn image_name(&self, container: &str) -> String {
        let mut all = self.spec.all_containers();
        all.find(|spec| spec.name == container).map(|spec| spec.image.clone()).unwrap_or_default()
    }

    /// The container's image and those that it mounts, by name. Where the engine was restarted since they were found, they are
    /// looked for again; the error is the name of one that is gone.
    async fn images_of(&self, container: &str) -> Result<BTreeMap<String, ImageStatus>, String> {
        let mut images = BTreeMap::new();
        let Some(spec) = self.spec.all_containers().find(|spec| spec.name == container) else { return Ok(images) };
        for name in spec.volume_images.iter().map(|mounted| &mounted.image).chain([&spec.image]) {
            let known = self.facts().images.get(name).cloned();
            let status = match known {
                Some(status) => Some(status),
                None => self.runtime.image_status(name).await.ok().flatten(),
            };
            images.insert(name.clone(), status.ok_or_else(|| name.clone())?);
        }
        Ok(images)
    }

    async fn start_container(&self, id: ActionId, container_id: &str) -> Event {
        match self.runtime.start_container(&self.spec.uid, container_id).await {
            Ok(moment) => Event::ContainerStarted { id, at: clock::timestamp(moment) },
            Err(error) => Event::ContainerStartFailed { id, message: error_chain(&error) },
        }
    }

    /// A hook that is a command in the container.
    pub(crate) async fn exec_hook(&self, hook: &RunHook) -> HookOutcome {
        let Handler::Exec { command, time_limit } = &hook.handler else { return HookOutcome::Cancelled };
        let request = ExecRequest {
            pod_uid: self.spec.uid.clone(),
            container_id: hook.container_id.clone(),
            exec_id: hook.exec_id(),
            command: command.clone(),
            timeout: *time_limit,
            output_cap: HOOK_OUTPUT_MAX,
        };
        let ran = self.runtime.exec(&request).await;
        self.measure(Record::Hook(exec_facts(hook, &ran)));
        match ran {
            Ok(result) if result.container_ended => HookOutcome::ContainerEnded { stdout: result.stdout, stderr: result.stderr },
            Ok(result) if result.killed => HookOutcome::Cancelled,
            Ok(result) if result.timed_out => HookOutcome::TimedOut { limit: time_limit.unwrap_or_default() },
            Ok(result) if result.exit_code == 0 => HookOutcome::Succeeded,
            Ok(result) => HookOutcome::ExitedNonZero { code: result.exit_code, stdout: result.stdout, stderr: result.stderr },
            Err(ExecError::NotRunning { .. }) => HookOutcome::ContainerEnded { stdout: String::new(), stderr: String::new() },
            Err(error @ (ExecError::NotStarted { .. } | ExecError::Lost { .. })) => HookOutcome::FailedToRun { error: error_chain(&error) },
        }
    }

    /// A hook that needs no process in the container.
    pub(crate) async fn engine_hook(&self, hook: &RunHook, begun: Timestamp) -> HookOutcome {
        let mut facts = HookFacts { started_at: Some(convert::moment(clock::moment())), ..no_facts(hook) };
        let outcome = self.do_engine_hook(hook, begun, &mut facts).await;
        facts.finished_at = convert::moment(clock::moment());
        self.measure(Record::Hook(facts));
        outcome
    }

    async fn do_engine_hook(&self, hook: &RunHook, begun: Timestamp, facts: &mut HookFacts) -> HookOutcome {
        match &hook.handler {
            // An engine that takes over a sleep sleeps what is left of it.
            Handler::Sleep { secs } => {
                tokio::time::sleep(clock::until(begun + Duration::from_secs(*secs))).await;
                HookOutcome::Succeeded
            }
            Handler::HttpGet(get) => {
                let ip = self.facts().ips.first().copied();
                match http::get(get, ip, http::Purpose::Hook).await {
                    // k8s: 3.d.17
                    Ok(answer) => {
                        facts.http_status = Some(answer.status);
                        // k8s: 3.d.21
                        facts.fell_back_to_http = answer.fell_back_to_http;
                        HookOutcome::Succeeded
                    }
                    Err(error) => {
                        facts.error = Some(error.to_string());
                        HookOutcome::HttpFailed { error: error.to_string() }
                    }
                }
            }
            // k8s: 3.d.28
            Handler::TcpSocket => HookOutcome::FailedToRun { error: "invalid handler: tcpSocket is not implemented for hooks".to_owned() },
            // Commands are run by `exec_hook`.
            Handler::Exec { .. } => HookOutcome::Cancelled,
        }
    }

    pub(crate) async fn kill_exec(&self, exec_id: &str) {
        if let Err(error) = self.runtime.kill_exec(&self.spec.uid, exec_id).await {
            tracing::warn!(error = %error_chain(&error), exec_id, "cannot kill the command");
        }
    }

    /// Makes one attempt of a probe by a command.
    pub(crate) async fn probe_by_exec(&self, id: ActionId, container_id: &str, command: Vec<String>, timeout: Duration) -> ProbeOutcome {
        let instance = container_id.get(..12).unwrap_or(container_id);
        let request = ExecRequest {
            pod_uid: self.spec.uid.clone(),
            container_id: container_id.to_owned(),
            exec_id: format!("probe-{instance}-{}", id.0),
            command,
            timeout: Some(timeout),
            output_cap: PROBE_OUTPUT_MAX,
        };
        let ended = self.runtime.exec(&request).await;
        probes::exec_outcome(&request.command, timeout, ended)
    }

    /// Where probes over the network ask that name no host: at the pod, or at the node whose network it has.
    pub(crate) fn probed_ip(&self) -> Option<std::net::IpAddr> {
        self.facts().ips.first().copied().or_else(|| self.node.host_ips.first().copied())
    }

    /// How a container ended, in the machine's words: reason and termination message.
    pub(crate) async fn describe_exit(&self, container_id: &str, exit: &ContainerExit) -> Exit {
        let name = self.facts().instances.get(container_id).cloned();
        let name = match name {
            Some(name) => Some(name),
            None => self.recorded_instance(container_id).await,
        };
        let message = match &name {
            Some((container, restart_count)) => {
                let log_path = self.log_path(container, *restart_count);
                self.files.termination_message(&self.pod, container, *restart_count, exit.code, &log_path).await
            }
            None => String::new(),
        };
        Exit {
            code: exit.code,
            signal: exit.signal,
            reason: exit_reason(exit).to_owned(),
            message,
            started_at: exit.started_at.map(clock::timestamp),
            finished_at: clock::timestamp(exit.finished_at),
        }
    }

    async fn recorded_instance(&self, container_id: &str) -> Option<(String, u32)> {
        let records = self.runtime.list_containers(&self.spec.uid).await.ok()?;
        records.into_iter().find(|record| record.id == container_id).map(|record| (record.name, record.attempt))
    }

    fn report<E: std::error::Error + 'static>(&self, result: Result<(), E>, warn: &mut (dyn FnMut(String) + Send)) {
        if let Err(error) = result {
            warn(error_chain(&error));
        }
    }

    fn objects(&self) -> Arc<Objects> {
        self.objects.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    /// Takes other ConfigMaps and Secrets: volumes show them at once, variables from the next start of a container on. Returns the
    /// names of the volumes that changed.
    pub(crate) async fn update_objects(&self, objects: Objects) -> Result<Vec<String>, UpdateVolumesError> {
        let objects = Arc::new(objects);
        *self.objects.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = objects.clone();
        self.files.update_volumes(&self.pod, &objects).await
    }

    /// Has volumes show what the pod's manifest and objects say at present.
    pub(crate) async fn refresh_volumes(&self) -> Result<Vec<String>, UpdateVolumesError> {
        self.files.update_volumes(&self.pod, &self.objects()).await
    }

    fn facts(&self) -> std::sync::MutexGuard<'_, LiveFacts> {
        self.live.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// What is to be known of a hook's run before it has begun.
fn no_facts(hook: &RunHook) -> HookFacts {
    HookFacts {
        id: hook.id,
        container: hook.container.clone(),
        container_id: hook.container_id.clone(),
        hook: hook.hook,
        started_at: None,
        finished_at: convert::moment(clock::moment()),
        exit_code: None,
        http_status: None,
        fell_back_to_http: false,
        error: None,
        missed_stdout: String::new(),
        missed_stderr: String::new(),
        output_cut: false,
    }
}

/// How a command ran, as it was measured where it ran.
fn exec_facts(hook: &RunHook, ran: &Result<runtime::ExecResult, ExecError>) -> HookFacts {
    let facts = no_facts(hook);
    match ran {
        Ok(result) => {
            // Whoever began it was told what it printed, line by line; that engine is gone if this one took over.
            let missed = |text: &String| if hook.taken_over { cut(text, HOOK_BYTES_MAX as usize) } else { String::new() };
            HookFacts {
                started_at: Some(convert::moment(result.started_at)),
                finished_at: convert::moment(result.finished_at),
                exit_code: Some(result.exit_code),
                missed_stdout: missed(&result.stdout),
                missed_stderr: missed(&result.stderr),
                output_cut: result.truncated,
                ..facts
            }
        }
        Err(error) => HookFacts { error: Some(error_chain(error)), ..facts },
    }
}

/// k8s: 8.d.1, 8.d.3. The cause is what happened, not what 137 might mean: out of memory only if the cgroup counted a kill and
/// nobody else sent the SIGKILL.
fn exit_reason(exit: &ContainerExit) -> &'static str {
    match exit.code {
        _ if exit.oom_killed && exit.code == 137 && !exit.killed_by_runtime => "OOMKilled",
        0 => "Completed",
        _ => "Error",
    }
}

/// What is not limited is to be limited no more.
fn unlimited_where_unset(resources: LinuxResources) -> LinuxResources {
    let quota = resources.cpu_quota_micros.or(Some(-1));
    LinuxResources { cpu_quota_micros: quota, memory_limit_bytes: resources.memory_limit_bytes.or(Some(-1)), ..resources }
}

fn resize_error(error: &UpdateResourcesError, whose: &str) -> String {
    match error {
        UpdateResourcesError::BelowUsage { limit_bytes, usage_bytes } => cannot_decrease(&[below_usage(whose, *limit_bytes, *usage_bytes)]),
        UpdateResourcesError::Failed { .. } => error_chain(error),
    }
}

fn below_usage(whose: &str, limit: u64, usage: u64) -> String {
    format!("attempting to set {whose} memory limit ({limit}) below current usage ({usage})")
}

fn cannot_decrease(refused: &[String]) -> String {
    format!("cannot decrease memory limits: [{}]", refused.join(", "))
}

/// Replaces the Pod object in the pod's folder; a reader sees the old one or this one.
fn write_manifest(path: &Path, pod: &Pod) -> Result<(), NewPodError> {
    let fresh = path.with_extension("new");
    let text = serde_json::to_vec_pretty(pod).map_err(std::io::Error::other);
    let written = text.and_then(|text| std::fs::write(&fresh, text)).and_then(|()| std::fs::rename(&fresh, path));
    written.map_err(|source| NewPodError::Files { path: path.to_owned(), source })
}

/// Reads the Pod object that [`PodWorld::new`] wrote.
///
/// # Errors
/// When the file cannot be read or is not a Pod.
pub fn read_manifest(path: &Path) -> Result<Pod, NewPodError> {
    let text = std::fs::read(path).map_err(|source| NewPodError::Files { path: path.to_owned(), source })?;
    serde_json::from_slice(&text).map_err(|error| NewPodError::Files { path: path.to_owned(), source: std::io::Error::other(error) })
}

/// A pod cannot be taken up.
#[derive(Debug, thiserror::Error)]
pub enum NewPodError {
    /// Its manifest says something that cannot be.
    #[error(transparent)]
    Spec(#[from] convert::PodSpecError),
    /// A file or folder of it cannot be made or read.
    #[error("cannot use {}", path.display())]
    Files {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}
