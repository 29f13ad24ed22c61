//! Containers: from an image and a wish to a process that waits for its start, and to its end.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use oci_spec::image;
use oci_spec::runtime::{LinuxNamespaceType, LinuxSeccomp, Spec};
use rustix::rand::{GetRandomFlags, getrandom};
use shim::client::ShimRecord;
use shim::log::LogLimits;
use shim::moment::Moment;
use shim::protocol::{
    Answer, Call, ContainerId, ContainerState, ContainerStatus, CreateContainer, LogTarget, RefusalCode, Rootfs, SignalNumber, Snapshot,
    Stdin, Stdio,
};
use shim::records::{CONTAINERS, End, PID_NAMESPACE};

use super::errors::{ReachError, StepError, Tries, chain};
use super::link::CallError;
use super::pod_folder::{BUNDLE_CONFIG, CommandError, ContainerRecord, PodFolder, SandboxRecord, ignore_missing};
use super::pods::Pod;
use super::spec::{self, ImageUser, Machine, PidMode, ResolvedUser, SandboxInfo, SpecInput};
use super::{Inner, blocking, convert, machine, signal};
use crate::images::{Image, ImageQuery, UpperDirs};
use crate::{
    ContainerConfig, CreateContainerError, Moment as SeamMoment, MountPropagation, PodSandboxConfig, SeccompProfile, StartContainerError,
};

/// How long the shim may take to create a container. It takes some milliseconds, and all containers of a pod wait in one line.
const CREATE_WITHIN: Duration = Duration::from_secs(60);
/// How long the shim may take for anything else.
pub(crate) const CALL_WITHIN: Duration = Duration::from_secs(30);
/// Longest seccomp profile, in bytes; the largest known have some ten thousand.
const PROFILE_BYTES_MAX: u64 = 1024 * 1024;
/// Bytes of randomness in a container's id: CRI's ids have 64 hexadecimal digits.
const ID_BYTES: usize = 32;

/// Creates a container; the same instance of a name asked for again is the same container.
pub(crate) async fn create(runtime: &Arc<Inner>, pod: &Arc<Pod>, config: ContainerConfig) -> Result<String, CreateContainerError> {
    let _work = pod.work.lock().await;
    let told = |error: StepError| CreateContainerError::Runtime { message: format!("failed to create container: {}", chain(&error)) };
    if let Some(id) = existing(runtime, pod, &config).await.map_err(told)? {
        return Ok(id.into());
    }
    let image = image_of(runtime, &config.image_id).await.map_err(told)?;
    let sandbox = pod.sandbox().await.map_err(|error| told(error.into()))?;
    let pod_name = format!("{}_{}({})", sandbox.config.name, sandbox.config.namespace, sandbox.config.uid);
    let oci = image.config.config().clone().unwrap_or_default();
    let user = ImageUser::parse(oci.user().as_deref().unwrap_or_default());
    spec::check_non_root(&config.security, &user, &pod_name, &config.name).map_err(|message| CreateContainerError::Config { message })?;

    let id = new_id().map_err(told)?;
    match make(runtime, pod, &id, &config, &image, (oci, user), &sandbox).await {
        Ok(()) => Ok(id.into()),
        Err(error) => {
            if let Err(undo) = remove_locked(runtime, pod, &id).await {
                tracing::warn!(pod = pod.uid(), container = %id, error = chain(&undo), "what was made of a container is not all gone");
            }
            Err(told(error))
        }
    }
}

/// The container of this name and attempt, if it was created before and has not ended.
async fn existing(runtime: &Arc<Inner>, pod: &Arc<Pod>, config: &ContainerConfig) -> Result<Option<ContainerId>, StepError> {
    let snapshot = snapshot(runtime, pod).await?;
    let folder = pod.folder.clone();
    let records = blocking(move || folder.containers()).await.map_err(StepError::file("list the containers of", pod.folder.path()))?;
    let same = records.into_iter().filter(|record| record.name == config.name && record.attempt == config.attempt);
    let lives = |record: &ContainerRecord| {
        let status = snapshot.containers.iter().find(|status| status.container == record.id);
        record.command_error.is_some() || status.is_some_and(|status| !matches!(status.state, ContainerState::Exited(_)))
    };
    Ok(same.filter(lives).map(|record| record.id).next_back())
}

async fn image_of(runtime: &Inner, id: &str) -> Result<Image, StepError> {
    let query = ImageQuery::parse(id).map_err(StepError::part("read the image's id"))?;
    let store = runtime.image_store().await.map_err(StepError::part("open the image store"))?;
    let found = store.image_status(&query).await.map_err(StepError::part("look for the image"))?;
    found.ok_or_else(|| StepError::Told(format!("image {id} is not on the machine")))
}

fn new_id() -> Result<ContainerId, StepError> {
    let mut bytes = [0; ID_BYTES];
    getrandom(&mut bytes, GetRandomFlags::empty()).map_err(StepError::part("get random bytes"))?;
    let id: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    id.try_into().map_err(StepError::part("make an id"))
}

async fn make(
    runtime: &Arc<Inner>,
    pod: &Arc<Pod>,
    id: &ContainerId,
    config: &ContainerConfig,
    image: &Image,
    (oci, user): (image::Config, ImageUser),
    sandbox: &SandboxRecord,
) -> Result<(), StepError> {
    let program = program(runtime, config, sandbox)?;
    let store = runtime.image_store().await.map_err(StepError::part("open the image store"))?;
    store.lease(image, pod.folder.path(), id.as_str()).await.map_err(StepError::part("claim the image"))?;
    let info = sandbox_info(sandbox, &pod.folder);
    let target = match (&config.target_id, &info.pid) {
        (Some(target), PidMode::Container) => Some(Target::find(runtime, pod, target).await?),
        (Some(_) | None, _) => None,
    };
    let pid = target.as_ref().map_or_else(|| info.pid.clone(), |target| PidMode::Joined(target.path()));
    let plan = Plan {
        id: id.clone(),
        dir: pod.folder.container_dir(id),
        config: config.clone(),
        oci,
        user,
        image: image.clone(),
        mounted_images: mounted_images(runtime, pod, id, config).await?,
        machine: runtime.machine.clone(),
        sandbox: SandboxInfo { pid, ..info },
        stop_signal: stop_signal(config, image)?,
        app_armor: runtime.app_armor.resolve(&config.security).await?,
        shim: sandbox.shim,
    };
    let folder = pod.folder.clone();
    let dir = plan.dir.clone();
    let prepared = blocking(move || {
        let (record, upper) = plan.prepare()?;
        folder.write_container(&record)?;
        Ok::<_, StepError>((record, upper))
    });
    let (mut record, UpperDirs { upper, work }) = prepared.await?;

    let call = CreateContainer {
        container: id.clone(),
        rootfs: Rootfs::Overlay { lower: image.lower_dirs().to_vec(), upper, work },
        bundle: dir,
        cgroup: format!("{}/{id}", sandbox.cgroup),
        log: LogTarget {
            path: config.log_path.clone(),
            limits: LogLimits { file_bytes_max: config.log_max_bytes, files_max: config.log_max_files },
        },
        stdio: match (config.tty, config.stdin) {
            (true, _) => Stdio::Terminal,
            (false, true) => Stdio::Pipes { stdin: Stdin::Open },
            (false, false) => Stdio::Pipes { stdin: Stdin::Null },
        },
        runtime: program,
    };
    let link = pod.link(runtime).await?;
    let created = link.call(Call::CreateContainer(Box::new(call)), CREATE_WITHIN).await;
    drop(target);
    match created {
        Ok(Answer::Container(status)) => {
            for clamped in status.clamped {
                tracing::debug!(pod = pod.uid(), container = %id, clamped, "the machine grants a setting in part only");
            }
            Ok(())
        }
        Ok(_) => Err(CallError::Unexpected.into()),
        Err(CallError::Refused(refusal)) if refusal.code == RefusalCode::Command => {
            record.command_error = Some(CommandError { message: refusal.message, told_at: None });
            let folder = pod.folder.clone();
            Ok(blocking(move || folder.write_container(&record)).await?)
        }
        Err(error) => Err(error.into()),
    }
}

/// The OCI runtime that makes the pod's containers, if it is not the shim itself.
fn program(runtime: &Inner, config: &ContainerConfig, sandbox: &SandboxRecord) -> Result<Option<PathBuf>, StepError> {
    let handler = &sandbox.config.runtime_handler;
    let program = runtime.config.handler(handler).map_err(StepError::part("find the runtime of the pod"))?;
    let refused = |what: &str| Err(StepError::Told(format!("{what} is not supported by containers of runtime handler {handler:?}")));
    match program {
        None => Ok(None),
        Some(_) if config.tty => refused("a terminal (tty)"),
        Some(_) if config.mounts.iter().any(|mount| mount.propagation == MountPropagation::Bidirectional) => {
            refused("mount propagation Bidirectional")
        }
        Some(program) => Ok(Some(program.clone())),
    }
}

/// Claims the images that a container mounts; their layers, top first, by their ids.
async fn mounted_images(
    runtime: &Arc<Inner>,
    pod: &Arc<Pod>,
    id: &ContainerId,
    config: &ContainerConfig,
) -> Result<BTreeMap<String, Vec<PathBuf>>, StepError> {
    let mut mounted = BTreeMap::new();
    for image_id in config.mounts.iter().filter_map(|mount| mount.image_id.as_ref()) {
        let image = image_of(runtime, image_id).await?;
        let store = runtime.image_store().await.map_err(StepError::part("open the image store"))?;
        store.lease(&image, pod.folder.path(), &mounted_lease(id, image_id)).await.map_err(StepError::part("claim the mounted image"))?;
        mounted.insert(image_id.clone(), image.lower_dirs().to_vec());
    }
    Ok(mounted)
}

/// The name of the claim of a container on an image that it mounts.
fn mounted_lease(id: &ContainerId, image_id: &str) -> String {
    format!("{id} {image_id}")
}

/// The process namespace of another container of the pod, held open: as long as that is so, its path means this one, whatever becomes
/// of the container and of its number.
#[derive(Debug)]
struct Target {
    namespace: fs::File,
}

impl Target {
    async fn find(runtime: &Arc<Inner>, pod: &Arc<Pod>, id: &str) -> Result<Self, StepError> {
        let gone = || StepError::Told(format!("container {id}, whose processes are to be seen, is not running"));
        let snapshot = snapshot(runtime, pod).await?;
        let status = snapshot.containers.iter().find(|status| status.container.as_str() == id);
        let running = status.filter(|status| matches!(status.state, ContainerState::Running { .. })).ok_or_else(gone)?;
        let process = running.process;
        let namespace = blocking(move || fs::File::open(format!("/proc/{}/ns/pid", process.pid))).await.map_err(|_| gone())?;
        // It was this process when it was opened, for it still is.
        if process.is_alive() { Ok(Self { namespace }) } else { Err(gone()) }
    }

    fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/fd/{}", std::process::id(), self.namespace.as_raw_fd()))
    }
}

fn sandbox_info(record: &SandboxRecord, folder: &PodFolder) -> SandboxInfo {
    let config = &record.config;
    let hostname = if config.hostname.is_empty() {
        rustix::system::uname().nodename().to_string_lossy().into_owned()
    } else {
        config.hostname.clone()
    };
    let network = (!config.host_network).then_some(LinuxNamespaceType::Network);
    let ipc = (!config.host_ipc).then_some(LinuxNamespaceType::Ipc);
    SandboxInfo {
        owned: network.into_iter().chain(ipc).collect(),
        hostname,
        pid: match (config.host_pid, config.share_process_namespace) {
            (true, _) => PidMode::Node,
            (false, true) => PidMode::Joined(folder.shim_dir(record.shim).join(PID_NAMESPACE)),
            (false, false) => PidMode::Container,
        },
        shm: if config.host_ipc { PathBuf::from("/dev/shm") } else { folder.shm() },
        sysctls: sysctls(config),
    }
}

/// What the pod says, and besides, in a network of the pod's own, that anybody may serve low ports and send pings, as with containerd.
fn sysctls(config: &PodSandboxConfig) -> BTreeMap<String, String> {
    let mut sysctls = config.sysctls.clone();
    let is_set = |name: &str| config.sysctls.keys().any(|set| set.replace('/', ".") == name);
    for (name, value) in OPEN_TO_ANYBODY.into_iter().filter(|(name, _)| !config.host_network && !is_set(name)) {
        sysctls.insert(name.to_owned(), value.to_owned());
    }
    sysctls
}

const OPEN_TO_ANYBODY: [(&str, &str); 2] = [("net.ipv4.ip_unprivileged_port_start", "0"), ("net.ipv4.ping_group_range", "0 2147483647")];

/// k8s: 3.g.1
fn stop_signal(config: &ContainerConfig, image: &Image) -> Result<SignalNumber, StepError> {
    let of_image = || image.config.config().as_ref()?.stop_signal().clone();
    let name = config.stop_signal.clone().or_else(of_image).filter(|name| !name.is_empty());
    let Some(name) = name else { return Ok(SignalNumber::TERM) };
    signal::parse_signal(&name).ok_or_else(|| StepError::Told(format!("stop signal {name:?} of container {} is unknown", config.name)))
}

/// All that is needed to make a container's files.
struct Plan {
    id: ContainerId,
    dir: PathBuf,
    config: ContainerConfig,
    oci: image::Config,
    user: ImageUser,
    image: Image,
    mounted_images: BTreeMap<String, Vec<PathBuf>>,
    machine: Machine,
    sandbox: SandboxInfo,
    stop_signal: SignalNumber,
    /// Name of the AppArmor profile.
    app_armor: Option<String>,
    shim: u32,
}

impl Plan {
    /// Makes folders and bundle.
    fn prepare(mut self) -> Result<(ContainerRecord, UpperDirs), StepError> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.dir).map_err(StepError::file("make", &self.dir))?;
        let upper = self.image.prepare_upper(&self.dir).map_err(StepError::part("prepare the root file system"))?;
        for mount in self.config.mounts.iter_mut().filter(|mount| mount.image_id.is_none()) {
            mount.host_path = mount_source(&mount.host_path)?;
        }
        if self.config.security.privileged {
            self.machine.devices = machine::device_nodes().map_err(StepError::file("list the devices in", "/dev"))?;
        }
        let user = spec::user_to_resolve(&self.config.security, &self.user);
        let of_image = self.image.resolve_user(&user).map_err(|error| StepError::Told(chain(&error)))?;
        let spec = self.spec(&ResolvedUser::new(&of_image, &self.config.security))?;
        let path = self.dir.join(BUNDLE_CONFIG);
        let text = serde_json::to_vec(&spec).map_err(|error| StepError::file("encode", &path)(error.into()))?;
        fs::write(&path, text).map_err(StepError::file("write", path))?;
        let record = ContainerRecord {
            id: self.id,
            name: self.config.name,
            attempt: self.config.attempt,
            shim: self.shim,
            image_id: self.config.image_id,
            mounted_images: self.mounted_images.into_keys().collect(),
            stop_signal: self.stop_signal.into(),
            created_at: Moment::now(),
            command_error: None,
        };
        Ok((record, upper))
    }

    fn spec(&self, user: &ResolvedUser) -> Result<Spec, StepError> {
        let profile = match &self.config.security.seccomp {
            SeccompProfile::Localhost(path) => Some(read_profile(path)?),
            SeccompProfile::RuntimeDefault | SeccompProfile::Unconfined => None,
        };
        let input = SpecInput {
            container: &self.config,
            image: &self.oci,
            user,
            sandbox: &self.sandbox,
            machine: &self.machine,
            mounted_images: &self.mounted_images,
            localhost_profile: profile.as_ref(),
            app_armor: self.app_armor.as_deref(),
        };
        spec::oci_spec(&input).map_err(|error| StepError::Told(error.to_string()))
    }
}

/// What is mounted must be there: a missing folder of the node is made, as the usual runtimes do. Links are followed here, on the
/// node, so that they do not lead elsewhere later.
fn mount_source(path: &Path) -> Result<PathBuf, StepError> {
    match fs::canonicalize(path) {
        Ok(path) => Ok(path),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            DirBuilder::new().recursive(true).mode(0o755).create(path).map_err(StepError::file("make the mount source", path))?;
            fs::canonicalize(path).map_err(StepError::file("find the mount source", path))
        }
        Err(error) => Err(StepError::file("find the mount source", path)(error)),
    }
}

fn read_profile(path: &Path) -> Result<LinuxSeccomp, StepError> {
    use std::io::Read as _;
    let mut text = Vec::new();
    let file = fs::File::open(path).map_err(StepError::file("open the seccomp profile", path))?;
    file.take(PROFILE_BYTES_MAX).read_to_end(&mut text).map_err(StepError::file("read the seccomp profile", path))?;
    serde_json::from_slice(&text).map_err(|error| StepError::file("understand the seccomp profile", path)(error.into()))
}

/// Lets a created container run.
pub(crate) async fn start(runtime: &Arc<Inner>, pod: &Arc<Pod>, id: &ContainerId) -> Result<SeamMoment, StartContainerError> {
    let mut tries = Tries::default();
    let started = loop {
        match ask_to_start(runtime, pod, id).await {
            Err(error) if tries.again(&error) => {}
            told => break told,
        }
    };
    started.map_err(|error| StartContainerError { message: format!("failed to start container {id}: {}", chain(&error)) })
}

async fn ask_to_start(runtime: &Arc<Inner>, pod: &Arc<Pod>, id: &ContainerId) -> Result<SeamMoment, StepError> {
    if let Some(mut record) = record_of(pod, id).await?
        && let Some(error) = &mut record.command_error
    {
        let told = command_failed(&error.message);
        error.told_at.get_or_insert_with(Moment::now);
        let folder = pod.folder.clone();
        blocking(move || folder.write_container(&record)).await?;
        return Err(told);
    }
    let link = pod.link(runtime).await?;
    // It may have been started already: for an engine before this one, or with an answer that got lost.
    let Answer::State(snapshot) = link.call(Call::State, CALL_WITHIN).await? else {
        return Err(CallError::Unexpected.into());
    };
    let known = snapshot.containers.iter().find(|status| status.container == *id);
    if let Some(status) = known.filter(|status| !matches!(status.state, ContainerState::Created)) {
        return started_at(status);
    }
    let Answer::Container(status) = link.call(Call::StartContainer { container: id.clone() }, CALL_WITHIN).await? else {
        return Err(CallError::Unexpected.into());
    };
    started_at(&status)
}

fn started_at(status: &ContainerStatus) -> Result<SeamMoment, StepError> {
    let at = match &status.state {
        ContainerState::Running { started_at } => Some(*started_at),
        ContainerState::Exited(exit) => match &exit.end {
            End::NotStarted { message, .. } => return Err(command_failed(message)),
            End::Exited { .. } | End::Signaled { .. } => exit.started_at,
        },
        ContainerState::Created => None,
    };
    at.map(convert::moment).ok_or_else(|| StepError::Told("the container was killed before it was started".to_owned()))
}

fn command_failed(message: &str) -> StepError {
    StepError::Told(format!("OCI runtime create failed: unable to start container process: {message}"))
}

async fn record_of(pod: &Pod, id: &ContainerId) -> Result<Option<ContainerRecord>, StepError> {
    let (folder, id) = (pod.folder.clone(), id.clone());
    Ok(blocking(move || folder.container(&id)).await?)
}

async fn required_record_of(pod: &Pod, id: &ContainerId) -> Result<ContainerRecord, StepError> {
    record_of(pod, id).await?.ok_or_else(|| StepError::Told("there is no such container".to_owned()))
}

/// Sends the stop signal, and has SIGKILL follow. A container that has ended, or cannot begin, is stopped.
pub(crate) async fn stop(runtime: &Arc<Inner>, pod: &Arc<Pod>, id: &ContainerId, kill_after: Duration) -> Result<(), StepError> {
    let record = required_record_of(pod, id).await?;
    let signal = SignalNumber::try_from(record.stop_signal).map_err(StepError::part("use the recorded stop signal"))?;
    let begun = Instant::now();
    let call = || {
        // Not a moment too early.
        let left = kill_after.saturating_sub(begun.elapsed()).as_micros().div_ceil(1000);
        let timeout_ms = u64::try_from(left).unwrap_or(u64::MAX);
        Call::StopContainer { container: id.clone(), signal, timeout_ms, why: "stop".to_owned() }
    };
    call_until_answered(runtime, pod, call).await
}

/// Kills every process of a container. A container that has ended, or cannot begin, is killed.
pub(crate) async fn kill(runtime: &Arc<Inner>, pod: &Arc<Pod>, id: &ContainerId) -> Result<(), StepError> {
    required_record_of(pod, id).await?;
    let call = || Call::KillContainer { container: id.clone(), why: "kill".to_owned() };
    call_until_answered(runtime, pod, call).await
}

/// Calls for what is done already if the container has ended.
async fn call_until_answered(runtime: &Arc<Inner>, pod: &Arc<Pod>, call: impl Fn() -> Call) -> Result<(), StepError> {
    let mut tries = Tries::default();
    loop {
        let answer = pod.link(runtime).await?.call(call(), CALL_WITHIN).await;
        match answer.map_err(StepError::from) {
            Ok(_) => return Ok(()),
            Err(StepError::Call(CallError::Refused(refusal)))
                if matches!(refusal.code, RefusalCode::WrongState | RefusalCode::NotFound) =>
            {
                return Ok(());
            }
            Err(error) if tries.again(&error) => {}
            Err(error) => return Err(error),
        }
    }
}

/// Removes a container and its files.
pub(crate) async fn remove(runtime: &Arc<Inner>, pod: &Arc<Pod>, id: &ContainerId) -> Result<(), StepError> {
    let _work = pod.work.lock().await;
    remove_locked(runtime, pod, id).await
}

async fn remove_locked(runtime: &Arc<Inner>, pod: &Arc<Pod>, id: &ContainerId) -> Result<(), StepError> {
    match pod.link(runtime).await {
        Ok(link) => {
            link.call(Call::RemoveContainer { container: id.clone() }, CALL_WITHIN).await?;
            link.forget_container(id.clone()).await?;
        }
        Err(ReachError::NoSandbox | ReachError::Gone) => {}
        Err(error) => return Err(error.into()),
    }
    let store = runtime.image_store().await.map_err(StepError::part("open the image store"))?;
    store.release(pod.folder.path(), id.as_str()).await.map_err(StepError::part("release the image"))?;
    for image_id in record_of(pod, id).await?.into_iter().flat_map(|record| record.mounted_images) {
        let lease = mounted_lease(id, &image_id);
        store.release(pod.folder.path(), &lease).await.map_err(StepError::part("release the mounted image"))?;
    }
    let program = match pod.sandbox().await {
        Ok(sandbox) => runtime.config.handler(&sandbox.config.runtime_handler).ok().flatten().cloned(),
        Err(_) => None,
    };
    let (folder, id) = (pod.folder.clone(), id.clone());
    blocking(move || {
        if let Some(program) = program {
            shim::container::forget(&program, &folder.container_dir(&id), id.as_str());
        }
        // A shim that is gone cannot remove its records.
        if let Some(record) = folder.container(&id)? {
            let records = folder.shim_dir(record.shim).join(CONTAINERS).join(id.as_str());
            ignore_missing(fs::remove_dir_all(&records)).map_err(StepError::file("remove", records))?;
        }
        folder.remove_container(&id).map_err(StepError::file("remove the files of the container in", folder.container_dir(&id)))
    })
    .await
}

/// What the shim knows.
pub(crate) async fn snapshot(runtime: &Arc<Inner>, pod: &Arc<Pod>) -> Result<Snapshot, StepError> {
    let Answer::State(snapshot) = pod.link(runtime).await?.call(Call::State, CALL_WITHIN).await? else {
        return Err(CallError::Unexpected.into());
    };
    Ok(snapshot)
}

/// All containers of the pod, oldest first.
pub(crate) async fn list(runtime: &Arc<Inner>, pod: &Arc<Pod>) -> Result<Vec<crate::ContainerRecord>, StepError> {
    let present = match snapshot(runtime, pod).await {
        Ok(snapshot) => snapshot.containers,
        Err(StepError::Reach(ReachError::NoSandbox | ReachError::Gone) | StepError::Call(CallError::Lost)) => Vec::new(),
        Err(error) => return Err(error),
    };
    let folder = pod.folder.clone();
    blocking(move || {
        let records = folder.containers().map_err(StepError::file("list the containers of", folder.path()))?;
        let mut listed = Vec::new();
        for record in records {
            let told = present.iter().find(|status| status.container == record.id).map(told_times);
            let found = match (told, &record.command_error) {
                (Some(told), _) => Some(told),
                (None, Some(error)) => Some((None, error.told_at.map(never_started))),
                (None, None) => recorded_times(&folder.shim_dir(record.shim), &record.id)?,
            };
            if let Some((started_at, exit)) = found {
                listed.push(crate::ContainerRecord { id: record.id.into(), name: record.name, attempt: record.attempt, started_at, exit });
            }
        }
        Ok(listed)
    })
    .await
}

type Times = (Option<SeamMoment>, Option<crate::ContainerExit>);

fn told_times(status: &ContainerStatus) -> Times {
    match &status.state {
        ContainerState::Created => (None, None),
        ContainerState::Running { started_at } => (Some(convert::moment(*started_at)), None),
        ContainerState::Exited(exit) => (exit.started_at.map(convert::moment), Some(convert::container_exit(exit))),
    }
}

/// The end of a container whose command cannot be executed.
// k8s: 8.d.2
fn never_started(at: Moment) -> crate::ContainerExit {
    let (signal, started_at) = (None, None);
    crate::ContainerExit { code: 128, signal, oom_killed: false, killed_by_runtime: false, started_at, finished_at: convert::moment(at) }
}

/// What a shim that is gone has written down; `None`: it never had this container.
fn recorded_times(dir: &Path, id: &ContainerId) -> Result<Option<Times>, StepError> {
    let shim = ShimRecord::load(dir).map_err(StepError::part("read the records of the shim"))?;
    let found = shim.and_then(|shim| shim.containers.into_iter().find(|container| container.container == *id));
    Ok(found.map(|found| {
        let started_at = found.started.map(|started| convert::moment(started.at));
        (started_at, found.exit.as_ref().map(convert::container_exit))
    }))
}
