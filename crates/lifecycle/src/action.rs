//! What the machine asks the world to do.
//!
//! Each [`Step`] has an id. Actions that [`Action::is_answered`] are answered by exactly one [`crate::Event`] with that id;
//! the others are announcements that need no answer.

use alloc::collections::BTreeMap;
use alloc::string::String;
use core::fmt;
use core::time::Duration;

use serde::{Deserialize, Serialize};

use crate::event::KillTrigger;
use crate::resources::Resources;
use crate::spec::{Handler, ProbeHandler};
use crate::time::Timestamp;

/// Identity of one [`Step`], unique within a pod's life and rising.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ActionId(pub u64);

impl fmt::Display for ActionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a{}", self.0)
    }
}

/// Identity of one instance of a container, given by the runtime when it was created.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ContainerId(pub String);

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An action with its identity.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// Repeated by the answer.
    pub id: ActionId,
    /// What is to be done.
    pub action: Action,
}

/// What the machine asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "action", rename_all_fields = "camelCase")]
pub enum Action {
    /// Prepare volumes and make the pod's sandbox. Answer: `SandboxReady` or `SandboxFailed`.
    CreateSandbox {
        /// 0 for the first, then one more each time (k8s: 2.b.6).
        attempt: u32,
        /// What each container asks for and may use, by name; those without anything are left out.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        containers: BTreeMap<String, Resources>,
    },
    /// Stop the sandbox and whatever is left in it. Answer: `SandboxStopped`.
    StopSandbox,
    /// Give back all that the pod had: containers, volumes, cgroup, address. Answer: `PodCleanedUp`.
    CleanUpPod,
    /// Look for the image on the machine. Answer: `ImageInspected`.
    InspectImage {
        /// The container that needs it.
        container: String,
        /// As written in the manifest.
        image: String,
    },
    /// Pull the image. Answer: `ImagePulled` or `ImagePullFailed`.
    PullImage {
        /// The container that needs it.
        container: String,
        /// As written in the manifest.
        image: String,
    },
    /// Give up a pull that is under way. Not answered; the pull itself is, with a failure.
    CancelPull {
        /// The step that started the pull.
        pull: ActionId,
    },
    /// Create an instance of the container. Answer: `ContainerCreated` or `ContainerCreateFailed`.
    CreateContainer {
        /// Name in the pod.
        container: String,
        /// 0 for the first instance.
        restart_count: u32,
        /// The image as the runtime knows it.
        image_ref: String,
        /// What it asks for and may use.
        #[serde(default, skip_serializing_if = "Resources::is_empty")]
        resources: Resources,
    },
    /// Let the created container run. Answer: `ContainerStarted` or `ContainerStartFailed`.
    StartContainer {
        /// Name in the pod.
        container: String,
        /// The instance.
        container_id: ContainerId,
    },
    /// Send the stop signal, and see to it that SIGKILL follows after `kill_after` even if the engine dies. Answer: `StopSignalled`.
    StopContainer {
        /// Name in the pod.
        container: String,
        /// The instance.
        container_id: ContainerId,
        /// Whole seconds between the stop signal and SIGKILL, at least [`crate::MINIMUM_STOP_WINDOW_SECS`].
        kill_after: Duration,
    },
    /// Kill all of the container with SIGKILL. Answer: `KillSignalled`.
    KillContainer {
        /// Name in the pod.
        container: String,
        /// The instance.
        container_id: ContainerId,
    },
    /// Remove the records and files of an instance that has ended. Not answered.
    RemoveContainer {
        /// Name in the pod.
        container: String,
        /// The instance.
        container_id: ContainerId,
    },
    /// Run a hook. Answer: `HookFinished`.
    RunHook {
        /// Name in the pod.
        container: String,
        /// The instance.
        container_id: ContainerId,
        /// Which of the two.
        hook: Hook,
        /// What it does.
        handler: Handler,
    },
    /// Kill a hook that runs, its whole process tree. Not answered; the hook itself is, as cancelled.
    CancelHook {
        /// The step that started the hook.
        run: ActionId,
    },
    /// Make one probe attempt. Answer: `ProbeFinished`.
    RunProbe {
        /// Name in the pod.
        container: String,
        /// The instance.
        container_id: ContainerId,
        /// Which probe.
        probe: ProbeKind,
        /// What it does.
        handler: ProbeHandler,
        /// How long the attempt may take.
        timeout: Duration,
    },
    /// Find out what the node has and what its other pods use of it. Answer: `RoomMeasured`.
    MeasureRoom,
    /// Find out whether more memory is in use than is to be allowed. Answer: `Resized`.
    CheckMemory {
        /// The containers that are to have less, with what they are to have, by name.
        containers: BTreeMap<String, Resources>,
        /// What each container of the pod is to have, by name, if the pod as a whole is to be looked at.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        pod: BTreeMap<String, Resources>,
    },
    /// Give the pod's control group room for containers with these resources. Answer: `Resized`.
    ResizePod {
        /// What each container asks for and may use, by name.
        containers: BTreeMap<String, Resources>,
    },
    /// Give a container that runs other resources. Answer: `Resized`.
    ResizeContainer {
        /// Name in the pod.
        container: String,
        /// The instance.
        container_id: ContainerId,
        /// What it asks for and may use from here on.
        resources: Resources,
    },
    /// Publish a Kubernetes Event. Not answered.
    RecordEvent(EventRecord),
    /// A fact for the journal that no other action shows. Not answered.
    Note(Note),
}

impl Action {
    /// Whether the machine waits for an event with the id of this action.
    pub const fn is_answered(&self) -> bool {
        !matches!(
            self,
            Self::CancelPull { .. } | Self::RemoveContainer { .. } | Self::CancelHook { .. } | Self::RecordEvent(_) | Self::Note(_)
        )
    }
}

/// A lifecycle hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Hook {
    /// Right after the start, beside the entry point.
    PostStart,
    /// Before the stop signal, inside the grace period.
    PreStop,
}

impl fmt::Display for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PostStart => "postStart",
            Self::PreStop => "preStop",
        })
    }
}

/// A probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ProbeKind {
    /// Has it started?
    Startup,
    /// Does it live?
    Liveness,
    /// May it get traffic?
    Readiness,
}

impl fmt::Display for ProbeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Startup => "Startup",
            Self::Liveness => "Liveness",
            Self::Readiness => "Readiness",
        })
    }
}

/// A Kubernetes Event as the machine words it; time, names and counting are added outside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EventRecord {
    /// The container spoken of, with the list that it stands in; `None` for the pod.
    pub about: Option<FieldPath>,
    /// Normal or Warning.
    pub kind: EventKind,
    /// CamelCase reason.
    pub reason: String,
    /// The reference's text.
    pub message: String,
}

/// `involvedObject.fieldPath` of a container (k8s: 2.c.16).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FieldPath {
    /// `spec.containers{name}`
    Container(String),
    /// `spec.initContainers{name}`
    InitContainer(String),
    /// `spec.ephemeralContainers{name}`
    EphemeralContainer(String),
}

impl FieldPath {
    /// The container's name.
    pub fn container(&self) -> &str {
        match self {
            Self::Container(name) | Self::InitContainer(name) | Self::EphemeralContainer(name) => name,
        }
    }
}

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Container(name) => write!(f, "spec.containers{{{name}}}"),
            Self::InitContainer(name) => write!(f, "spec.initContainers{{{name}}}"),
            Self::EphemeralContainer(name) => write!(f, "spec.ephemeralContainers{{{name}}}"),
        }
    }
}

/// Type of a Kubernetes Event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum EventKind {
    /// As expected.
    Normal,
    /// Someone may have to act.
    Warning,
}

/// Facts that the journal needs beside the actions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "note", rename_all_fields = "camelCase")]
pub enum Note {
    /// The pod's termination began, or its grace was shortened.
    TerminationBegan {
        /// Who asked.
        trigger: KillTrigger,
        /// The effective grace of the pod in whole seconds; `None` when each container has its own from the spec.
        grace_secs: Option<u64>,
        /// A termination was under way already, and this made its grace shorter.
        shortened: bool,
    },
    /// The stop of one container began.
    StopBegan {
        /// Name in the pod.
        container: String,
        /// The instance.
        container_id: ContainerId,
        /// Why.
        cause: StopCause,
        /// The budget in whole seconds.
        grace_secs: u64,
        /// The countdown runs from here: from the request, even if the container was still being started then.
        began_at: Timestamp,
    },
    /// A preStop hook was still running when its grace was over; the stop goes on without it.
    PreStopOutOfGrace {
        /// Name in the pod.
        container: String,
        /// The step that started the hook.
        run: ActionId,
    },
    /// A sidecar waits for the containers that must stop before it (k8s: 6.c.4).
    StopOrderWait {
        /// Name in the pod.
        container: String,
    },
    /// A container that ended will be started again, at the earliest after a pause.
    BackingOff {
        /// Name in the pod.
        container: String,
        /// Length of the pause, counted from the exit.
        pause: Duration,
    },
    /// A probe's published result changed.
    ProbeTurned {
        /// Name in the pod.
        container: String,
        /// Which probe.
        probe: ProbeKind,
        /// It succeeds from here on.
        success: bool,
    },
}

/// Why a container is being stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum StopCause {
    /// The whole pod goes.
    Pod(KillTrigger),
    /// Its postStart hook failed.
    PostStartFailed,
    /// A liveness probe failed.
    LivenessFailed,
    /// A startup probe failed.
    StartupFailed,
    /// Its image in the manifest is another one now.
    DefinitionChanged,
    /// A rule has all containers begin again (k8s: 4.b.1).
    RestartAllContainers,
    /// Its resources change, and its `resizePolicy` wants a restart for that (k8s: 4.a.10).
    ResizeNeedsRestart,
}
