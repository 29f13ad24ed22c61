//! What the world tells the machine: answers to actions, and things that happened by themselves.

use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use serde::{Deserialize, Serialize};

use crate::action::{ActionId, ContainerId};
use crate::resources::Room;
use crate::time::Timestamp;

/// Something that happened. Variants with an `id` answer the step of that id; late or repeated answers are dropped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all_fields = "camelCase")]
pub enum Event {
    /// The sandbox is there, with its addresses (none for a pod on the host's network).
    SandboxReady {
        /// Answers this step.
        id: ActionId,
        /// Addresses of the pod, primary family first.
        ips: Vec<String>,
        /// Names of the pod's `imagePullSecrets` that are not there.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        missing_pull_secrets: Vec<String>,
    },
    /// The sandbox could not be made.
    SandboxFailed {
        /// Answers this step.
        id: ActionId,
        /// The reason of the reference's Event: `FailedCreatePodSandBox`, `FailedMount`, …
        reason: String,
        /// The Event's text.
        message: String,
    },
    /// The sandbox and all its processes are gone, though nobody asked.
    SandboxLost {
        /// What is known of the cause.
        message: String,
    },
    /// The sandbox is stopped.
    SandboxStopped {
        /// Answers this step.
        id: ActionId,
    },
    /// Nothing of the pod is left.
    PodCleanedUp {
        /// Answers this step.
        id: ActionId,
    },
    /// The image was looked for.
    ImageInspected {
        /// Answers this step.
        id: ActionId,
        /// What was found.
        outcome: ImageInspection,
    },
    /// The image was pulled.
    ImagePulled {
        /// Answers this step.
        id: ActionId,
        /// The image as the runtime knows it.
        image_ref: String,
        /// Size in bytes.
        size_bytes: u64,
        /// Time that the pull itself took.
        took: Duration,
        /// With the time that it waited for its turn.
        took_with_waiting: Duration,
    },
    /// The image was not pulled.
    ImagePullFailed {
        /// Answers this step.
        id: ActionId,
        /// `ErrImagePull` and its kin.
        reason: String,
        /// The runtime's words.
        message: String,
    },
    /// The container exists and waits to be started.
    ContainerCreated {
        /// Answers this step.
        id: ActionId,
        /// The new instance.
        container_id: ContainerId,
    },
    /// The container could not be created.
    ContainerCreateFailed {
        /// Answers this step.
        id: ActionId,
        /// `CreateContainerConfigError`, `CreateContainerError`, … (k8s: 2.c.6, 2.c.9)
        reason: String,
        /// The cause.
        message: String,
    },
    /// The container's process runs.
    ContainerStarted {
        /// Answers this step.
        id: ActionId,
        /// When it was released.
        at: Timestamp,
    },
    /// The container's process did not come to run.
    ContainerStartFailed {
        /// Answers this step.
        id: ActionId,
        /// The cause, in the runtime's words.
        message: String,
    },
    /// The container's main process has ended; all its processes are gone.
    ContainerExited {
        /// The instance.
        container_id: ContainerId,
        /// How it ended.
        exit: Exit,
    },
    /// The stop signal was sent, or could not be.
    StopSignalled {
        /// Answers this step.
        id: ActionId,
        /// Why not, if not.
        error: Option<String>,
    },
    /// SIGKILL was sent, or could not be.
    KillSignalled {
        /// Answers this step.
        id: ActionId,
        /// Why not, if not.
        error: Option<String>,
    },
    /// A hook has ended.
    HookFinished {
        /// Answers this step.
        id: ActionId,
        /// How.
        outcome: HookOutcome,
    },
    /// What the node has and uses.
    RoomMeasured {
        /// Answers this step.
        id: ActionId,
        /// The numbers.
        room: Room,
    },
    /// Other resources are in force, or could be, or could not be.
    Resized {
        /// Answers this step.
        id: ActionId,
        /// Why not, if not.
        error: Option<String>,
    },
    /// A probe attempt has ended.
    ProbeFinished {
        /// Answers this step.
        id: ActionId,
        /// How.
        outcome: ProbeOutcome,
    },
}

/// What was found when an image was looked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "found", rename_all_fields = "camelCase")]
pub enum ImageInspection {
    /// It is on the machine.
    Present {
        /// The image as the runtime knows it.
        image_ref: String,
    },
    /// It is not.
    Absent,
    /// The name cannot be read (k8s: 9.a.2).
    InvalidName {
        /// Why.
        message: String,
    },
    /// The look itself failed (k8s: 9.a.4).
    Failed {
        /// Why.
        message: String,
    },
}

/// How a container's main process ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Exit {
    /// 0 to 255; 128 + signal when a signal ended it.
    pub code: i32,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// `Completed`, `Error`, `OOMKilled`, `StartError`, … (k8s: 8.d.1)
    pub reason: String,
    /// The termination message (k8s: 8.e.1, 8.e.2).
    pub message: String,
    /// When the process was released, if it ever was.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Timestamp,
}

/// How a hook ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all_fields = "camelCase")]
pub enum HookOutcome {
    /// Exit code 0, an HTTP answer of whatever status (k8s: 3.d.17), or the sleep is over.
    Succeeded,
    /// The command ended otherwise.
    ExitedNonZero {
        /// Its exit code.
        code: i32,
        /// Its output, capped.
        stdout: String,
        /// Its error output, capped.
        stderr: String,
    },
    /// The command did not come to run.
    FailedToRun {
        /// Why.
        error: String,
    },
    /// The request failed.
    HttpFailed {
        /// Why.
        error: String,
    },
    /// The opt-in time limit ended it.
    TimedOut {
        /// The limit.
        limit: Duration,
    },
    /// It ended because the container did.
    ContainerEnded {
        /// Its output, capped.
        stdout: String,
        /// Its error output, capped.
        stderr: String,
    },
    /// The machine cancelled it.
    Cancelled,
}

/// How a probe attempt ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all_fields = "camelCase")]
pub enum ProbeOutcome {
    /// It succeeded.
    Success,
    /// It succeeded, with something to say (k8s: 7.b.3).
    Warning {
        /// What.
        output: String,
    },
    /// It failed.
    Failure {
        /// The output.
        output: String,
    },
    /// It could not be made (k8s: 7.b.1).
    Error {
        /// Why.
        error: String,
    },
}

/// A request that the pod go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KillPod {
    /// Who asks.
    pub trigger: KillTrigger,
    /// How long it may take.
    pub grace: Grace,
}

/// Why a node evicts a pod, as its status and its Event say it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Eviction {
    /// What the node was short of, or the pod used too much of.
    pub cause: EvictionCause,
    /// The same in the reference's word for its metric: `memory.available`, `emptydirfs.limit`. Empty if it is not known.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub signal: String,
    /// `status.message`, in the reference's words (k8s: 8.a.18, 8.a.19).
    pub message: String,
}

/// Whose fault an [`Eviction`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum EvictionCause {
    /// The node is short of something: the pod is disrupted (k8s: 8.b.14).
    NodePressure,
    /// The pod uses more of the node's disk than it may: no disruption (k8s: 8.b.14).
    LocalStorage,
}

/// Why a node does not take a pod that is new to it (k8s: 8.a.22, 10.d.12), or takes one no more that ran before the engine was
/// restarted (k8s: 11.b.1).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rejection {
    /// `OutOfcpu`, `Evicted`, `NodeShutdown`, …
    pub reason: String,
    /// The Event's text; `status.message` has it after a prefix.
    pub message: String,
}

/// Who asks that a pod go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum KillTrigger {
    /// A user or client deleted it.
    Deleted,
    /// `activeDeadlineSeconds` is over (k8s: 4.a.17).
    DeadlineExceeded,
    /// The node was short of something (k8s: 4.a.18, 4.a.19).
    Evicted,
    /// A critical pod needed the place (k8s: 4.a.20).
    Preempted,
    /// The machine or the service goes down (k8s: 4.a.21).
    NodeShutdown,
    /// The node, with an engine that is new, does not take it any more (k8s: 11.b.1).
    Rejected,
    /// All its containers are done (k8s: 3.a.9).
    Completed,
    /// An init container failed for good (k8s: 4.a.14).
    InitFailed,
    /// A probe of its last running container failed, and nothing restarts it (k8s: 4.a.6).
    ProbeFailed,
}

/// The grace that comes with a [`KillPod`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Grace {
    /// The pod's own `terminationGracePeriodSeconds`.
    FromSpec,
    /// This many seconds; 0 counts as 1 (k8s: 3.a.6).
    Seconds(u64),
    /// No hook, no signal, no wait: SIGKILL at once. Beyond what the API can ask for.
    AtOnce,
}
