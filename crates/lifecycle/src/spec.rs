//! What the machine needs to know of a Pod: a defaulted, validated extract in plain words.
//!
//! Not the Kubernetes object: `node` makes this from a `v1::Pod` in one place. Everything that only the world needs
//! (environment, mounts, security) stays out.

use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use serde::{Deserialize, Serialize};

use crate::resources::{ResizePolicy, Resources};

/// A pod, as far as its lifecycle depends on it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodSpec {
    /// `metadata.name`.
    pub name: String,
    /// `metadata.namespace`.
    pub namespace: String,
    /// `metadata.uid`.
    pub uid: String,
    /// `metadata.generation`: which manifest this is; 0 if nobody counts them.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub generation: u64,
    /// `spec.restartPolicy`, the rule for containers that have none of their own.
    pub restart_policy: RestartPolicy,
    /// `spec.terminationGracePeriodSeconds`; 0 is legal (k8s: 1.a.6).
    pub termination_grace_period_secs: u64,
    /// `spec.activeDeadlineSeconds`, counted from `status.startTime` (k8s: 8.a.15).
    pub active_deadline_secs: Option<u64>,
    /// `spec.initContainers` in order, sidecars among them.
    pub init_containers: Vec<ContainerSpec>,
    /// `spec.containers` in order.
    pub containers: Vec<ContainerSpec>,
    /// `spec.ephemeralContainers` in order: they come while the pod lives, and never go.
    #[serde(default)]
    pub ephemeral_containers: Vec<ContainerSpec>,
}

impl PodSpec {
    /// All its containers: init, regular, ephemeral.
    pub fn all_containers(&self) -> impl Iterator<Item = &ContainerSpec> {
        self.init_containers.iter().chain(&self.containers).chain(&self.ephemeral_containers)
    }

    /// The pod as the reference names it in messages: `name_namespace(uid)` (k8s: 3.c.5).
    pub fn full_name(&self) -> String {
        alloc::format!("{}_{}({})", self.name, self.namespace, self.uid)
    }
}

/// A container, as far as its lifecycle depends on it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerSpec {
    /// Unique in the pod.
    pub name: String,
    /// The image as written in the manifest.
    pub image: String,
    /// When the registry is asked.
    pub image_pull_policy: ImagePullPolicy,
    /// What it asks for and may use, as far as that can change while it runs.
    #[serde(default, skip_serializing_if = "Resources::is_empty")]
    pub resources: Resources,
    /// Whether it lives through a change of that.
    #[serde(default, skip_serializing_if = "is_default")]
    pub resize_policy: ResizePolicy,
    /// Images that it mounts as volumes: they have to be there before its own (k8s: 2.c.2).
    #[serde(default)]
    pub volume_images: Vec<VolumeImage>,
    /// The container's own rule; for an init container `Always` makes it a sidecar (kep-753).
    pub restart_policy: Option<RestartPolicy>,
    /// Rules by exit code, looked at before `restart_policy` (k8s: 5.a.2).
    pub restart_policy_rules: Vec<RestartRule>,
    /// `lifecycle.postStart`.
    pub post_start: Option<Handler>,
    /// `lifecycle.preStop`.
    pub pre_stop: Option<Handler>,
    /// `startupProbe`: until it succeeds, the container is not `started`.
    pub startup_probe: Option<ProbeSpec>,
    /// `livenessProbe`: when it fails, the container is killed.
    pub liveness_probe: Option<ProbeSpec>,
    /// `readinessProbe`: while it fails, the container is not `ready`.
    pub readiness_probe: Option<ProbeSpec>,
}

/// An image that is mounted as a volume.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeImage {
    /// The image as written in the manifest.
    pub image: String,
    /// When the registry is asked.
    pub pull_policy: ImagePullPolicy,
}

/// Whether a container that ended is started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RestartPolicy {
    /// Whatever the exit code.
    Always,
    /// Only after an exit code that is not 0.
    OnFailure,
    /// Never.
    Never,
}

/// One of `restartPolicyRules` (kep-5307).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestartRule {
    /// What follows.
    #[serde(default)]
    pub action: RestartAction,
    /// Which exit codes it speaks of.
    pub operator: ExitCodeOperator,
    /// The codes; empty is legal (k8s: 1.e.7).
    pub exit_codes: Vec<i32>,
}

/// `action` of a [`RestartRule`] (k8s: 1.e.5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum RestartAction {
    /// The container is started again.
    #[default]
    Restart,
    /// All containers of the pod begin again (k8s: 6.d.1).
    RestartAllContainers,
}

/// `exitCodes.operator`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ExitCodeOperator {
    /// The exit code is listed.
    In,
    /// The exit code is not listed.
    NotIn,
}

/// `imagePullPolicy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ImagePullPolicy {
    /// Ask the registry at every start (k8s: 9.a.3).
    Always,
    /// Ask only if the image is not on the machine.
    IfNotPresent,
    /// Never ask (k8s: 9.a.5).
    Never,
}

/// What a hook does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Handler {
    /// Run a command in the container.
    Exec {
        /// Used as it is: no shell, no `$(VAR)` (k8s: 2.d.17).
        command: Vec<String>,
        /// Opt-in limit after which the command's process tree is killed; `None` as in the reference: no limit.
        time_limit: Option<Duration>,
    },
    /// GET from the node's network.
    HttpGet(HttpGet),
    /// Let time pass in the engine, no process (k8s: 3.d.24).
    Sleep {
        /// Whole seconds, 0 returns at once.
        secs: u64,
    },
    /// Stored by the API, never implemented by the reference: fails at once (k8s: 3.d.28).
    TcpSocket,
}

/// An HTTP request of a hook or a probe.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpGet {
    /// `host`; `None` means the pod's first address (k8s: 3.d.2).
    pub host: Option<String>,
    /// The port, already looked up in the container's ports (k8s: 3.d.5).
    pub port: HttpPort,
    /// Path and query as written.
    pub path: String,
    /// `https` rather than `http`.
    pub scheme: Scheme,
    /// In the order of the manifest, repeated names included (k8s: 3.d.13).
    pub headers: Vec<(String, String)>,
}

/// The port of an [`HttpGet`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum HttpPort {
    /// A usable port.
    Number(u16),
    /// A name that no port of the container has: the error text with which the request fails (k8s: 3.d.5).
    Unresolved(String),
}

/// `scheme` of an HTTP request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Scheme {
    /// Plain.
    Http,
    /// TLS, certificates unverified (k8s: 3.d.15).
    Https,
}

/// A probe's numbers and what it does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeSpec {
    /// What is done.
    pub handler: ProbeHandler,
    /// Seconds after the container's start before the first probe.
    pub initial_delay_secs: u64,
    /// Seconds a single attempt may take.
    pub timeout_secs: u64,
    /// Seconds between attempts.
    pub period_secs: u64,
    /// Equal successes in a row before the result turns.
    pub success_threshold: u32,
    /// Equal failures in a row before the result turns.
    pub failure_threshold: u32,
    /// The probe's own grace for the kill that it causes (k8s: 3.a.1).
    pub termination_grace_period_secs: Option<u64>,
}

/// What a probe does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ProbeHandler {
    /// Run a command in the container; exit code 0 is success.
    Exec {
        /// The command, `$(VAR)` of static environment already expanded (k8s: 7.d.1).
        command: Vec<String>,
    },
    /// GET; 200 to 399 is success.
    HttpGet(HttpGet),
    /// Connect.
    TcpSocket {
        /// `None` means the pod's address.
        host: Option<String>,
        /// The port.
        port: HttpPort,
    },
    /// The standard health protocol.
    Grpc {
        /// The port.
        port: u16,
        /// The service name asked for, may be empty.
        service: String,
    },
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
const fn is_zero(number: &u64) -> bool {
    *number == 0
}

fn is_default(policy: &ResizePolicy) -> bool {
    *policy == ResizePolicy::default()
}
