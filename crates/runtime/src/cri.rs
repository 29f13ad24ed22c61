//! The seam: what an engine may ask of a runtime, in the words of the Container Runtime Interface.
//!
//! Where CRI makes the runtime decide (how long between stop signal and kill), the caller decides here; where CRI makes the
//! caller poll (relist), the runtime tells ([`RuntimeEvent`]). Times are told twice, as both clocks showed them where it happened.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use crate::streams::{AttachRequest, ContainerStreams, StreamingExecRequest};

/// Both clocks at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Moment {
    /// `CLOCK_BOOTTIME` in nanoseconds: decides, survives the engine, not the machine.
    pub boot_nanos: u64,
    /// `CLOCK_REALTIME` in nanoseconds since 1970: shown.
    pub wall_nanos: u64,
}

/// What an engine may ask of a runtime. One pod's calls come from one task; several pods' calls come at once.
///
/// Calls are idempotent by id: the same sandbox, container or exec id asked for again gives its present state, not a second one.
/// A dropped future may leave the call running in the runtime; ask again or remove.
pub trait Runtime: Send + Sync + 'static {
    /// Makes the pod's sandbox: namespaces, network, cgroup. CRI `RunPodSandbox`.
    fn run_pod_sandbox(&self, config: &PodSandboxConfig) -> impl Future<Output = Result<PodSandbox, RunPodSandboxError>> + Send;

    /// Kills whatever is left in the sandbox and gives back its network. Idempotent. CRI `StopPodSandbox`.
    fn stop_pod_sandbox(&self, pod_uid: &str) -> impl Future<Output = Result<(), StopPodSandboxError>> + Send;

    /// Removes the sandbox, its containers and their files; logs stay. Idempotent. CRI `RemovePodSandbox`.
    fn remove_pod_sandbox(&self, pod_uid: &str) -> impl Future<Output = Result<(), StopPodSandboxError>> + Send;

    /// Looks for an image on the machine. CRI `ImageStatus`.
    fn image_status(&self, image: &str) -> impl Future<Output = Result<Option<ImageStatus>, ImageStatusError>> + Send;

    /// All images that are on the machine. CRI `ListImages`.
    fn list_images(&self) -> impl Future<Output = Result<Vec<StoredImage>, ImageStatusError>> + Send;

    /// Removes an image with all its names, unless a container uses it; tells how many bytes that freed, about. CRI `RemoveImage`.
    fn remove_image(&self, id: &str) -> impl Future<Output = Result<u64, RemoveStoredImageError>> + Send;

    /// Pulls an image; dropping the future gives the pull up and leaves nothing half-made. CRI `PullImage`.
    fn pull_image(
        &self,
        image: &str,
        credentials: &[RegistryCredential],
        progress: mpsc::UnboundedSender<PullProgress>,
    ) -> impl Future<Output = Result<ImageStatus, PullImageError>> + Send;

    /// Makes a container that waits to be started; returns its id, 64 hexadecimal digits. CRI `CreateContainer`.
    fn create_container(&self, config: &ContainerConfig) -> impl Future<Output = Result<String, CreateContainerError>> + Send;

    /// Lets a created container run; an error is told in the words of the usual runtimes. CRI `StartContainer`.
    fn start_container(&self, pod_uid: &str, container_id: &str) -> impl Future<Output = Result<Moment, StartContainerError>> + Send;

    /// Sends the container's stop signal and has SIGKILL follow after `kill_after`, even if the engine dies meanwhile.
    /// Returns when the signal is out; the end is told by [`RuntimeEvent::ContainerExited`]. An earlier deadline wins over a later.
    fn stop_container(
        &self,
        pod_uid: &str,
        container_id: &str,
        kill_after: Duration,
    ) -> impl Future<Output = Result<(), SignalContainerError>> + Send;

    /// Sends SIGKILL to every process of the container.
    fn kill_container(&self, pod_uid: &str, container_id: &str) -> impl Future<Output = Result<(), SignalContainerError>> + Send;

    /// Gives a live container other limits; what is not set stays as it is. A memory limit below what is in use is refused. CRI
    /// `UpdateContainerResources`.
    fn update_container_resources(
        &self,
        pod_uid: &str,
        container_id: &str,
        resources: &LinuxResources,
    ) -> impl Future<Output = Result<(), UpdateResourcesError>> + Send;

    /// Gives the whole pod other limits, in the same way. CRI `UpdatePodSandboxResources`.
    fn update_pod_resources(
        &self,
        pod_uid: &str,
        resources: &LinuxResources,
    ) -> impl Future<Output = Result<(), UpdateResourcesError>> + Send;

    /// Removes an ended container's files; its logs stay. Idempotent. CRI `RemoveContainer`.
    fn remove_container(&self, pod_uid: &str, container_id: &str) -> impl Future<Output = Result<(), SignalContainerError>> + Send;

    /// Runs a command in the container and waits for it. The same `exec_id` asked again waits for, or returns, the same run.
    /// Output is told line by line meanwhile ([`RuntimeEvent::ExecOutput`]). CRI `ExecSync`.
    fn exec(&self, request: &ExecRequest) -> impl Future<Output = Result<ExecResult, ExecError>> + Send;

    /// Runs a command in the container with live streams. When the answer is dropped, so is the command. CRI `Exec`.
    fn exec_streams(&self, request: &StreamingExecRequest) -> impl Future<Output = Result<ContainerStreams, ExecError>> + Send;

    /// Joins the streams of a container's main process: its output from now on, its input if it takes any. CRI `Attach`.
    fn attach(&self, request: &AttachRequest) -> impl Future<Output = Result<ContainerStreams, ExecError>> + Send;

    /// Connects to a TCP port of the loopback of the pod: what listens there need not listen on the pod's address. CRI `PortForward`.
    fn port_forward(&self, pod_uid: &str, port: u16) -> impl Future<Output = Result<TcpStream, PortForwardError>> + Send;

    /// Kills a running exec with its whole process tree.
    fn kill_exec(&self, pod_uid: &str, exec_id: &str) -> impl Future<Output = Result<(), SignalContainerError>> + Send;

    /// Everything that happens in the pod's sandbox from now on, in the order in which it happened, after a first account of all
    /// exits that were recorded and not yet removed. Ends with [`RuntimeEvent::SandboxLost`] if the sandbox dies.
    fn events(&self, pod_uid: &str) -> impl Future<Output = Result<mpsc::UnboundedReceiver<RuntimeEvent>, EventsError>> + Send;

    /// Containers of the pod that the runtime knows of, oldest first. CRI `ListContainers`.
    fn list_containers(&self, pod_uid: &str) -> impl Future<Output = Result<Vec<ContainerRecord>, EventsError>> + Send;

    /// What the pod uses at this moment; nothing of a pod without a sandbox. CRI `PodSandboxStats`.
    fn pod_stats(&self, pod_uid: &str) -> impl Future<Output = Result<PodStats, PodStatsError>> + Send;
}

/// CRI `PodSandboxStats`, as far as a node needs it. `None` where the kernel does not count it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodStats {
    /// Memory, file pages included, in bytes.
    pub memory_usage_bytes: Option<u64>,
    /// Memory less the file pages that were not used lately, in bytes.
    pub memory_working_set_bytes: Option<u64>,
    /// Processes and threads.
    pub processes: Option<u64>,
    /// Its containers, those that have ended and are not removed included, oldest first.
    pub containers: Vec<ContainerStats>,
}

/// CRI `ContainerStats`, as far as a node needs it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContainerStats {
    /// Its instance.
    pub id: String,
    /// Name in the pod.
    pub name: String,
    /// Processor time since it began, in nanoseconds; `None` if it has ended.
    pub cpu_usage_nanos: Option<u64>,
    /// Memory, file pages included, in bytes; `None` if it has ended.
    pub memory_usage_bytes: Option<u64>,
    /// Memory less the file pages that were not used lately, in bytes; `None` if it has ended.
    pub memory_working_set_bytes: Option<u64>,
    /// Where the files are that it made or changed in its own file system.
    pub writable_layer: PathBuf,
}

/// CRI `PodSandboxConfig`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodSandboxConfig {
    /// `metadata.name`.
    pub name: String,
    /// `metadata.namespace`.
    pub namespace: String,
    /// `metadata.uid`; names the sandbox everywhere.
    pub uid: String,
    /// How many sandboxes the pod had before.
    pub attempt: u32,
    /// Host name inside; at most 64 bytes.
    pub hostname: String,
    /// Use the node's network namespace.
    pub host_network: bool,
    /// Use the node's ipc namespace.
    pub host_ipc: bool,
    /// Use the node's pid namespace.
    pub host_pid: bool,
    /// One pid namespace for all containers.
    pub share_process_namespace: bool,
    /// Ports of the node that lead into the pod.
    pub port_mappings: Vec<PortMapping>,
    /// Kernel parameters of the pod's namespaces.
    pub sysctls: BTreeMap<String, String>,
    /// Limits of the whole pod.
    pub resources: LinuxResources,
    /// Which of the configured runtimes makes the pod's containers; empty for the usual one. CRI `runtime_handler`.
    pub runtime_handler: String,
}

/// A port of the node that leads into the pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PortMapping {
    /// `TCP` or `UDP`.
    pub protocol: String,
    /// Address of the node; `None` for all.
    pub host_ip: Option<IpAddr>,
    /// Port of the node.
    pub host_port: u16,
    /// Port in the pod.
    pub container_port: u16,
}

/// A sandbox that is ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodSandbox {
    /// Addresses, primary family first; none on the node's network.
    pub ips: Vec<IpAddr>,
    /// What the machine could not do, in the words of `usher check`.
    pub warnings: Vec<String>,
}

/// CRI `LinuxContainerResources`; zero or `None` means not set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LinuxResources {
    /// Weight, 2 to 262144, as cgroup v1 counts.
    pub cpu_shares: Option<u64>,
    /// Microseconds of CPU per period.
    pub cpu_quota_micros: Option<i64>,
    /// Length of the period in microseconds.
    pub cpu_period_micros: Option<u64>,
    /// Bytes.
    pub memory_limit_bytes: Option<i64>,
    /// Number of tasks.
    pub pids_limit: Option<i64>,
    /// -1000 to 1000.
    pub oom_score_adj: Option<i32>,
    /// CPUs, such as `0-1`.
    pub cpuset_cpus: Option<String>,
    /// Bytes by page size name, such as `2MB`.
    pub hugepage_limits: BTreeMap<String, u64>,
    /// Files of version 2 of control groups and what is written to them; empty where version 2 is not alone.
    pub unified: BTreeMap<String, String>,
}

/// An image that is on the machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageStatus {
    /// Digest of the image's configuration, `sha256:…`.
    pub id: String,
    /// What `status.containerStatuses[].image` shows: the normalised tag or digest reference.
    pub reference: String,
    /// What `imageID` shows: `name@sha256:…` where known, else the id.
    pub image_ref: String,
    /// Size in bytes.
    pub size_bytes: u64,
    /// `User` of the configuration, empty if none.
    pub user: String,
    /// `StopSignal` of the configuration.
    pub stop_signal: Option<String>,
}

/// One of the images that are on the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredImage {
    /// Digest of the image's configuration, `sha256:…`.
    pub id: String,
    /// Its names, with tags and digests.
    pub names: Vec<String>,
    /// Size in bytes.
    pub size_bytes: u64,
    /// Whether a container has it, as its own image or as a volume.
    pub is_used: bool,
    /// It came from a file and not from a registry: it stays until somebody removes it, because nobody can pull it again.
    pub is_pinned: bool,
}

/// Credentials for registries, in the order in which they are to be tried.
#[derive(Clone, PartialEq, Eq)]
pub struct RegistryCredential {
    /// Content of a `.dockerconfigjson`.
    pub docker_config_json: Vec<u8>,
}

impl std::fmt::Debug for RegistryCredential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RegistryCredential(..)")
    }
}

/// How far a pull is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PullProgress {
    /// Bytes that have arrived, of all layers.
    pub bytes: u64,
    /// Bytes of all layers, as far as known.
    pub total_bytes: u64,
    /// Layers that are complete.
    pub layers_done: u32,
    /// Layers in all.
    pub layers: u32,
}

/// CRI `ContainerConfig`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ContainerConfig {
    /// The sandbox.
    pub pod_uid: String,
    /// Name in the pod.
    pub name: String,
    /// Number of instances before this one.
    pub attempt: u32,
    /// The image, by [`ImageStatus::id`].
    pub image_id: String,
    /// Replaces the image's entry point if not empty.
    pub command: Vec<String>,
    /// Replaces the image's command if not empty.
    pub args: Vec<String>,
    /// Replaces the image's working directory.
    pub working_dir: Option<String>,
    /// Added to the image's environment; later ones win.
    pub envs: Vec<(String, String)>,
    /// Mounted in this order.
    pub mounts: Vec<Mount>,
    /// The log file, absolute.
    pub log_path: PathBuf,
    /// Largest log file in bytes before it is rotated.
    pub log_max_bytes: u64,
    /// Log files kept, the current one included.
    pub log_max_files: u32,
    /// Keep stdin open.
    pub stdin: bool,
    /// A terminal.
    pub tty: bool,
    /// The container whose processes it sees, unless it sees those of the pod or of the node anyway. CRI `NamespaceMode` `TARGET`.
    pub target_id: Option<String>,
    /// Replaces the image's stop signal: `SIGQUIT`, `SIGRTMIN+3`, …
    pub stop_signal: Option<String>,
    /// Limits.
    pub resources: LinuxResources,
    /// Rights.
    pub security: SecurityContext,
}

/// CRI `Mount`: a file or folder of the node, or the files of an image, inside the container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Mount {
    /// The image whose files are mounted, in place of something of the node; always read-only.
    pub image_id: Option<String>,
    /// Absolute, on the node; of no meaning for an image.
    pub host_path: PathBuf,
    /// Absolute, in the container.
    pub container_path: PathBuf,
    /// Not writable.
    pub readonly: bool,
    /// Submounts not writable either.
    pub recursive_readonly: bool,
    /// Which mounts made later are seen on which side.
    pub propagation: MountPropagation,
}

/// CRI `MountPropagation`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum MountPropagation {
    /// None (`rprivate`).
    #[default]
    Private,
    /// From the node (`rslave`).
    HostToContainer,
    /// Both ways (`rshared`); privileged containers only.
    Bidirectional,
}

/// CRI `LinuxContainerSecurityContext`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SecurityContext {
    /// User id; `None` leaves it to the image.
    pub run_as_user: Option<u32>,
    /// Group id; `None` leaves it to the image and its passwd file.
    pub run_as_group: Option<u32>,
    /// Refuse to run as user 0.
    pub run_as_non_root: bool,
    /// More groups, `fsGroup` among them.
    pub supplemental_groups: Vec<u32>,
    /// Do not add groups from the image's group file (`supplementalGroupsPolicy: Strict`).
    pub strict_supplemental_groups: bool,
    /// All capabilities and devices, no masks, no seccomp.
    pub privileged: bool,
    /// Capabilities on top of the default set; `ALL` is legal.
    pub add_capabilities: Vec<String>,
    /// Capabilities taken from the default set; `ALL` is legal.
    pub drop_capabilities: Vec<String>,
    /// The root file system is not writable.
    pub readonly_rootfs: bool,
    /// `allowPrivilegeEscalation: false`.
    pub no_new_privs: bool,
    /// System call filter.
    pub seccomp: SeccompProfile,
    /// `procMount: Unmasked`: neither masked nor read-only paths.
    pub unmasked_proc: bool,
    /// AppArmor profile.
    pub app_armor: AppArmorProfile,
}

/// AppArmor profile of a container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum AppArmorProfile {
    /// The runtime's own, where there is one.
    #[default]
    Unspecified,
    /// The runtime's own. The container does not run if there should be one and it cannot be had.
    RuntimeDefault,
    /// None.
    Unconfined,
    /// One that the kernel knows by this name.
    Localhost(String),
}

/// System call filter of a container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum SeccompProfile {
    /// The runtime's own. usher's default even where the kubelet's is unconfined.
    #[default]
    RuntimeDefault,
    /// None.
    Unconfined,
    /// An OCI profile in a file of the node.
    Localhost(PathBuf),
}

/// A command to be run in a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecRequest {
    /// The sandbox.
    pub pod_uid: String,
    /// The container instance.
    pub container_id: String,
    /// Unique in the pod's life: `[a-z0-9-]{1,100}`.
    pub exec_id: String,
    /// Not empty.
    pub command: Vec<String>,
    /// After this long the whole process tree is killed; `None`: no limit.
    pub timeout: Option<Duration>,
    /// Bytes of output that are kept.
    pub output_cap: usize,
}

/// How an exec ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecResult {
    /// 0 to 255; 128 + signal when a signal ended it.
    pub exit_code: i32,
    /// The time limit ended it.
    pub timed_out: bool,
    /// [`Runtime::kill_exec`] ended it.
    pub killed: bool,
    /// It died because the container's main process ended.
    pub container_ended: bool,
    /// Output, up to the cap.
    pub stdout: String,
    /// Error output, up to the cap.
    pub stderr: String,
    /// Output was cut.
    pub truncated: bool,
    /// When the command began.
    pub started_at: Moment,
    /// When it ended.
    pub finished_at: Moment,
}

/// A container as the runtime remembers it.
#[derive(Clone, Debug, PartialEq)]
pub struct ContainerRecord {
    /// Its id.
    pub id: String,
    /// Name in the pod.
    pub name: String,
    /// Number of instances before it.
    pub attempt: u32,
    /// When it was released.
    pub started_at: Option<Moment>,
    /// How it ended.
    pub exit: Option<ContainerExit>,
}

/// How a container's main process ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ContainerExit {
    /// 0 to 255; 128 + signal when a signal ended it.
    pub code: i32,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// The cgroup counted an out-of-memory kill in this container.
    pub oom_killed: bool,
    /// The runtime itself sent the SIGKILL, because the stop deadline was over or it was asked to kill.
    pub killed_by_runtime: bool,
    /// When it was released.
    pub started_at: Option<Moment>,
    /// When it ended.
    pub finished_at: Moment,
}

/// Something that happened in a sandbox.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "runtimeEvent", rename_all_fields = "camelCase")]
pub enum RuntimeEvent {
    /// A container's main process ended; all its processes are gone. Told before the exits of execs that died with it.
    ContainerExited {
        /// Which.
        container_id: String,
        /// How.
        exit: ContainerExit,
    },
    /// A signal was sent to a container's main process.
    SignalSent {
        /// To which.
        container_id: String,
        /// Its number.
        signal: i32,
        /// `stop`, `deadline` or `kill`.
        why: String,
        /// When.
        at: Moment,
        /// What the process does with it, as the kernel knew it just before; `None` if that is not known.
        handling: Option<SignalHandling>,
    },
    /// A command began.
    ExecStarted {
        /// Which.
        exec_id: String,
        /// When.
        at: Moment,
    },
    /// A command printed a line.
    ExecOutput {
        /// Which.
        exec_id: String,
        /// `stdout` or `stderr`.
        stream: String,
        /// Without its newline; bytes that are not UTF-8 are replaced.
        line: String,
        /// When it was read.
        at: Moment,
    },
    /// The kernel killed something in the container for lack of memory.
    OomKilled {
        /// In which.
        container_id: String,
        /// How often so far.
        count: u64,
        /// When it was noticed.
        at: Moment,
        /// The cgroup's numbers, if they could be read.
        memory: Option<MemoryFacts>,
    },
    /// The sandbox died, and with it everything in it.
    SandboxLost {
        /// What is known of it.
        message: String,
    },
}

/// What a process does with a signal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SignalHandling {
    /// Name of the process, as the kernel has it.
    pub process: String,
    /// What happens to the signal.
    pub disposition: Disposition,
    /// The processes that it started with its main thread, and theirs, as far as they are told.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub children: Vec<ChildHandling>,
}

/// What a process that another one started would do with a signal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ChildHandling {
    /// Name of the process, as the kernel has it.
    pub process: String,
    /// What would happen to the signal.
    pub disposition: Disposition,
}

/// What happens to a signal that a process gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Disposition {
    /// It has a handler, or it waits for the signal.
    Handled,
    /// It asked that the signal be ignored.
    Ignored,
    /// It did nothing about it, so the signal ends it.
    Ends,
    /// It did nothing about it and is PID 1 of its namespace: the kernel drops the signal.
    Dropped,
}

/// What a cgroup says of its memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MemoryFacts {
    /// The limit in bytes.
    pub limit_bytes: Option<u64>,
    /// What was charged when it was looked.
    pub usage_bytes: Option<u64>,
    /// The most that was ever charged.
    pub peak_bytes: Option<u64>,
}

/// A boxed cause.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Making a sandbox failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunPodSandboxError {
    /// The shim process did not come up.
    #[error("cannot start the shim of pod {pod}")]
    Shim {
        /// The pod's uid.
        pod: String,
        /// Why.
        source: Cause,
    },
    /// The network could not be set up.
    #[error("cannot set up the network of pod {pod}")]
    Network {
        /// The pod's uid.
        pod: String,
        /// Why.
        source: Cause,
    },
    /// The runtime that the pod asks for is not there.
    #[error(transparent)]
    Handler(Cause),
    /// The cgroup could not be made.
    #[error("cannot make the cgroup of pod {pod}")]
    Cgroup {
        /// The pod's uid.
        pod: String,
        /// Why.
        source: Cause,
    },
    /// A folder or file could not be made.
    #[error("cannot prepare {path}")]
    Files {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// Stopping or removing a sandbox failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {what} the sandbox of pod {pod}")]
pub struct StopPodSandboxError {
    /// `stop` or `remove`.
    pub what: &'static str,
    /// The pod's uid.
    pub pod: String,
    /// Why.
    pub source: Cause,
}

/// Looking for an image failed.
#[derive(Debug, thiserror::Error)]
pub enum ImageStatusError {
    /// The name cannot be read.
    #[error("couldn't parse image name {image:?}: {message}")]
    InvalidName {
        /// The name.
        image: String,
        /// Why.
        message: String,
    },
    /// The store cannot be read.
    #[error("cannot read the image store")]
    Store {
        /// Why.
        source: Cause,
    },
}

/// Removing an image failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot remove image {image}")]
pub struct RemoveStoredImageError {
    /// Its id.
    pub image: String,
    /// Why.
    pub source: Cause,
}

/// Pulling an image failed.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct PullImageError {
    /// `ErrImagePull` or `InvalidImageName` (k8s: 9.b.3, 9.a.2)
    pub reason: &'static str,
    /// The whole story in one line, as it is shown to users.
    pub message: String,
}

/// Creating a container failed.
#[derive(Debug, thiserror::Error)]
pub enum CreateContainerError {
    /// The configuration cannot be satisfied: the user must change the manifest (k8s: 2.c.6).
    #[error("{message}")]
    Config {
        /// The reference's text, such as `container has runAsNonRoot and image will run as root`.
        message: String,
    },
    /// The runtime failed (k8s: 2.c.9).
    #[error("{message}")]
    Runtime {
        /// The whole story in one line.
        message: String,
    },
}

/// Starting a container failed.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct StartContainerError {
    /// In the words of the usual runtimes: `failed to create containerd task: …`-like, but our own prefix.
    pub message: String,
}

/// A signal, or a removal, failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {what} {object}")]
pub struct SignalContainerError {
    /// What was tried.
    pub what: &'static str,
    /// On which container or exec.
    pub object: String,
    /// Why.
    pub source: Cause,
}

/// Limits could not be changed.
#[derive(Debug, thiserror::Error)]
pub enum UpdateResourcesError {
    /// More memory is in use than would be allowed: the kernel would kill.
    #[error("memory limit of {limit_bytes} bytes is below current usage of {usage_bytes}")]
    BelowUsage {
        /// The limit that was asked for.
        limit_bytes: u64,
        /// What is in use.
        usage_bytes: u64,
    },
    /// Anything else.
    #[error("cannot change the resources of {object}")]
    Failed {
        /// Of what.
        object: String,
        /// Why.
        source: Cause,
    },
}

/// A command could not be run.
#[derive(Debug, thiserror::Error)]
pub enum ExecError {
    /// It did not come to run; the text names the cause as the usual runtimes do.
    #[error("{message}")]
    NotStarted {
        /// The whole story in one line.
        message: String,
    },
    /// The container is not running.
    #[error("container {container} is not running")]
    NotRunning {
        /// Which.
        container: String,
    },
    /// The connection to the sandbox broke.
    #[error("lost the connection to the sandbox of pod {pod}")]
    Lost {
        /// The pod's uid.
        pod: String,
        /// Why.
        source: Cause,
    },
}

/// There is no connection to a port of a pod.
#[derive(Debug, thiserror::Error)]
pub enum PortForwardError {
    /// The pod's network cannot be entered.
    #[error("failed to find the network namespace of pod {pod}")]
    Sandbox {
        /// The pod's uid.
        pod: String,
        /// Why.
        source: Cause,
    },
    /// Nothing answers at the port, neither with IPv4 nor with IPv6.
    #[error(
        "failed to execute portforward in network namespace \"{netns}\": failed to connect to localhost:{port} inside namespace \"{pod}\", \
         IPv4: dial tcp4 127.0.0.1:{port}: {} IPv6: dial tcp6 [::1]:{port}: {}",
        dial_text(v4),
        dial_text(v6)
    )]
    Connect {
        /// The pod's uid.
        pod: String,
        /// Where the kernel shows its network namespace.
        netns: String,
        /// The port.
        port: u16,
        /// What came of IPv4.
        v4: std::io::Error,
        /// What came of IPv6.
        v6: std::io::Error,
    },
}

/// As Go's network library tells it: its table has the C library's words with a small first letter.
fn dial_text(error: &std::io::Error) -> String {
    if error.kind() == std::io::ErrorKind::TimedOut {
        return "i/o timeout".to_owned();
    }
    let text = error.to_string();
    let text = text.split(" (os error ").next().unwrap_or_default();
    let mut letters = text.chars();
    let first = letters.next().map(|letter| letter.to_lowercase().to_string()).unwrap_or_default();
    format!("connect: {first}{}", letters.as_str())
}

/// What a pod uses cannot be told.
#[derive(Debug, thiserror::Error)]
#[error("cannot tell what pod {pod} uses")]
pub struct PodStatsError {
    /// The pod's uid.
    pub pod: String,
    /// Why.
    pub source: Cause,
}

/// The sandbox cannot be listened to.
#[derive(Debug, thiserror::Error)]
#[error("cannot reach the sandbox of pod {pod}")]
pub struct EventsError {
    /// The pod's uid.
    pub pod: String,
    /// Why.
    pub source: Cause,
}
