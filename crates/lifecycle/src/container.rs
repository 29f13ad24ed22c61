//! One container of the pod: where it stands, which instance it has, and what it had before.
//!
//! Only data and questions; the moves are made by [`crate::PodWorker`] in `start.rs`, `stop.rs` and `probe.rs`.
//!
//! ```text
//!  Waiting ─▶ InspectingImage ─▶ PullingImage ─▶ Creating ─▶ Starting ─▶ PostStart ─▶ Running
//!     ▲              │                │              │           │           │           │
//!     │              ▼                ▼              ▼           │           ▼           ▼
//!     │◀──────── RetryLater ◀──── ImagePullFailed ───┘           │       Stopping ◀──────┤
//!     │◀──────── BackOff ◀────────────────────────── Exited ◀────┴───────────┴───────────┘
//!                                                      └──▶ Done
//! ```

use alloc::string::String;
use core::time::Duration;

use serde::{Deserialize, Serialize};

use crate::action::{ActionId, ContainerId, FieldPath, StopCause};
use crate::back_off::BackOff;
use crate::event::Exit;
use crate::probe::Probes;
use crate::resources::Resources;
use crate::restart;
use crate::spec::{ContainerSpec, RestartPolicy};
use crate::status::ContainerStatus;
use crate::time::Timestamp;

/// Which list the container stands in, and what that means for its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Role {
    /// Runs to its end before the next container starts.
    Init,
    /// An init container with `restartPolicy: Always` (kep-753).
    Sidecar,
    /// One of `spec.containers`.
    Regular,
    /// One of `spec.ephemeralContainers`: started once, at once, and nothing waits for it or depends on it (k8s: 2.b.17).
    Ephemeral,
}

/// A container of the pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Container {
    pub(crate) spec: ContainerSpec,
    pub(crate) role: Role,
    pub(crate) stage: Stage,
    /// The newest instance, alive or ended.
    pub(crate) instance: Option<Instance>,
    /// The instance before that; always ended.
    pub(crate) previous: Option<Instance>,
    pub(crate) back_off: BackOff,
    /// How many of the images that it mounts were found for the start under way.
    #[serde(default)]
    pub(crate) volume_images_found: usize,
    /// What the next instance is made with, and the one that runs is to have: what the manifest says, once the node has place.
    #[serde(default)]
    pub(crate) allocated: Resources,
    /// What the instance that is being created is created with.
    #[serde(default)]
    pub(crate) created_with: Resources,
    /// The image of the instance that was asked for last, as the manifest named it then; `None` in a state that knew nothing of it.
    #[serde(default)]
    pub(crate) created_of: Option<String>,
    /// Why the last start failed, until one succeeds (k8s: 8.c.14).
    pub(crate) start_failure: Option<StartFailure>,
    /// What is published while a start is under way: what was published before it (k8s: 2.d.3).
    pub(crate) frozen: Option<ContainerStatus>,
    pub(crate) probes: Probes,
}

/// Position inside the container's machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Stage {
    /// May start as soon as it is its turn. From: the beginning, a pause that is over, a restart without pause.
    Waiting,
    /// Crashed or ended, will be started again at `until`. Leaves by time.
    BackOff { until: Timestamp },
    /// An image pull failed just now, and that was published; becomes `RetryLater` at the next timeout, which is due at once.
    ImagePullFailed { at: Timestamp },
    /// A step of the start failed; the next try is at `until`. Leaves by time.
    RetryLater { until: Timestamp },
    /// Holds the turn; waits for `ImageInspected`.
    InspectingImage { action: ActionId },
    /// Holds the turn; waits for `ImagePulled` or `ImagePullFailed`.
    PullingImage { action: ActionId },
    /// Holds the turn; waits for `ContainerCreated` or `ContainerCreateFailed`.
    Creating { action: ActionId, image_ref: String },
    /// Holds the turn; waits for `ContainerStarted` or `ContainerStartFailed`.
    Starting { action: ActionId },
    /// Holds the turn; its process lives, its postStart hook runs; waits for `HookFinished`.
    PostStart { action: ActionId, since: Timestamp },
    /// Its process lives.
    Running,
    /// Its process lives and is being stopped; waits for `ContainerExited`.
    Stopping(Stop),
    /// Its process ended just now, and that was published; what comes next is decided at the next timeout, which is due at once.
    Exited { at: Timestamp },
    /// Ended, and will not be started again.
    Done,
}

/// A stop in progress.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stop {
    pub(crate) cause: StopCause,
    /// The countdown of the grace began here.
    pub(crate) began_at: Timestamp,
    pub(crate) grace_secs: u64,
    pub(crate) step: StopStep,
}

/// Position inside a stop.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum StopStep {
    /// The preStop hook runs; it has until `until`.
    PreStop { action: ActionId, until: Timestamp },
    /// A sidecar waits until those that stop before it are gone, at most until `until`.
    AwaitingOrder { since: Timestamp, remaining_secs: u64 },
    /// The stop signal is out, or the container is known to have ended by itself; SIGKILL follows at `kill_at`.
    Signalled { at: Timestamp, kill_at: Timestamp },
    /// SIGKILL is out; it is sent again at `again_at`.
    Killed { again_at: Timestamp },
}

/// One instance of a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Instance {
    pub(crate) id: ContainerId,
    pub(crate) restart_count: u32,
    /// The image as the manifest named it when this instance was made.
    pub(crate) image: String,
    pub(crate) image_ref: String,
    /// What it may use at this moment.
    #[serde(default)]
    pub(crate) resources: Resources,
    /// It was stopped because the manifest is another one, and another instance takes its place (k8s: 4.a.8, 4.a.10).
    pub(crate) is_replaced: bool,
    pub(crate) started_at: Option<Timestamp>,
    /// The process ended before the runtime had said that it began: counts when that answer comes.
    pub(crate) early_exit: Option<Exit>,
    pub(crate) exit: Option<Exit>,
    /// Its record was removed so that all containers begin again: its exit counts for the status only (k8s: 5.b.16).
    #[serde(default)]
    pub(crate) is_removed: bool,
}

/// Why a start failed: the reason and message of the Waiting state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StartFailure {
    pub(crate) reason: String,
    pub(crate) message: String,
}

impl Container {
    /// One of the init containers.
    pub(crate) fn init(spec: ContainerSpec) -> Self {
        let role = match spec.restart_policy {
            Some(RestartPolicy::Always) => Role::Sidecar,
            Some(RestartPolicy::OnFailure | RestartPolicy::Never) | None => Role::Init,
        };
        Self::new(spec, role)
    }

    pub(crate) fn new(spec: ContainerSpec, role: Role) -> Self {
        let probes = Probes::new(&spec);
        Self {
            allocated: spec.resources,
            created_with: spec.resources,
            created_of: None,
            spec,
            role,
            stage: Stage::Waiting,
            instance: None,
            previous: None,
            back_off: BackOff::default(),
            volume_images_found: 0,
            start_failure: None,
            frozen: None,
            probes,
        }
    }

    /// How Events name it.
    pub(crate) fn field_path(&self) -> FieldPath {
        match self.role {
            Role::Init | Role::Sidecar => FieldPath::InitContainer(self.spec.name.clone()),
            Role::Regular => FieldPath::Container(self.spec.name.clone()),
            Role::Ephemeral => FieldPath::EphemeralContainer(self.spec.name.clone()),
        }
    }

    /// Whether a process of it may live.
    pub(crate) const fn is_live(&self) -> bool {
        match self.stage {
            Stage::PostStart { .. } | Stage::Running | Stage::Stopping(_) => true,
            Stage::Waiting
            | Stage::BackOff { .. }
            | Stage::ImagePullFailed { .. }
            | Stage::RetryLater { .. }
            | Stage::InspectingImage { .. }
            | Stage::PullingImage { .. }
            | Stage::Creating { .. }
            | Stage::Starting { .. }
            | Stage::Exited { .. }
            | Stage::Done => false,
        }
    }

    /// Whether it runs or may come to life though its pod goes. One that is only being created is not started any more, and
    /// holds back nobody (k8s: 6.c.6).
    pub(crate) const fn may_run(&self) -> bool {
        self.is_live() || matches!(self.stage, Stage::Starting { .. })
    }

    /// Whether the runtime is making it right now: neither alive nor safely absent.
    pub(crate) const fn is_being_made(&self) -> bool {
        matches!(self.stage, Stage::Creating { .. } | Stage::Starting { .. })
    }

    /// What the instance that lives, or is being made, may use; none if there is no such.
    pub(crate) fn resources_in_use(&self) -> Option<Resources> {
        match self.stage {
            Stage::Creating { .. } => Some(self.created_with),
            Stage::Starting { .. } | Stage::PostStart { .. } | Stage::Running | Stage::Stopping(_) => {
                self.instance.as_ref().map(|instance| instance.resources)
            }
            Stage::Waiting
            | Stage::BackOff { .. }
            | Stage::ImagePullFailed { .. }
            | Stage::RetryLater { .. }
            | Stage::InspectingImage { .. }
            | Stage::PullingImage { .. }
            | Stage::Exited { .. }
            | Stage::Done => None,
        }
    }

    pub(crate) fn live_id(&self) -> Option<&ContainerId> {
        self.instance.as_ref().filter(|instance| instance.exit.is_none()).map(|instance| &instance.id)
    }

    pub(crate) fn exit(&self) -> Option<&Exit> {
        self.instance.as_ref().and_then(|instance| instance.exit.as_ref())
    }

    /// Its last exit, if there still is a record of it: pauses count from that (k8s: 5.b.5).
    pub(crate) fn recorded_exit(&self) -> Option<&Exit> {
        self.instance.as_ref().filter(|instance| !instance.is_removed).and_then(|instance| instance.exit.as_ref())
    }

    /// Whether it would be started again after its last exit, were the pod to live on (k8s: 5.a.2, 5.a.8, 5.a.10, 4.a.8).
    pub(crate) fn restarts_after_exit(&self, pod_policy: RestartPolicy) -> bool {
        if self.is_replaced() {
            return true;
        }
        self.exit().is_some_and(|exit| restart::restarts(self.role, &self.spec, pod_policy, exit))
    }

    /// Whether the newest instance makes place for another one, whatever the restart policy says (k8s: 4.a.8, 4.a.10).
    pub(crate) fn is_replaced(&self) -> bool {
        self.instance.as_ref().is_some_and(|instance| instance.is_replaced)
    }

    /// Restart count that the next instance will have (k8s: 2.c.4).
    pub(crate) fn next_restart_count(&self) -> u32 {
        self.instance.as_ref().map_or(0, |instance| instance.restart_count.saturating_add(1))
    }
}

impl Stop {
    /// What is left of the grace at `now`, in whole seconds, time used truncated down (k8s: 3.b.3, 3.e.5).
    pub(crate) fn remaining_secs(&self, now: Timestamp) -> u64 {
        self.grace_secs.saturating_sub(now.whole_secs_since(self.began_at))
    }

    pub(crate) fn end(&self) -> Timestamp {
        self.began_at + Duration::from_secs(self.grace_secs)
    }

    /// When a sidecar that waits for its turn waits no longer. Seconds that the hook used count in whole ones, but the wait is
    /// over with the grace at the latest: nothing lives longer than the grace and the last two seconds (k8s: 3.b.11, 6.c.7).
    pub(crate) fn order_end(&self) -> Option<Timestamp> {
        match self.step {
            StopStep::AwaitingOrder { since, remaining_secs } => Some((since + Duration::from_secs(remaining_secs)).min(self.end())),
            StopStep::PreStop { .. } | StopStep::Signalled { .. } | StopStep::Killed { .. } => None,
        }
    }
}
