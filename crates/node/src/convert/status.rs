//! The machine's status as a `v1::PodStatus`: what users and clients see of a pod.
//!
//! Not a decision about the pod's life. What is decided here needs the API's view: readiness gates, conditions of others, and the
//! time of a condition's last change, which is kept from what was published before (k8s: 8.b.18).

use std::net::IpAddr;

use k8s_openapi::api::core::v1::{
    ContainerState as V1ContainerState, ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting,
    ContainerStatus as V1ContainerStatus, HostIP, Pod, PodCondition, PodIP, PodStatus as V1PodStatus, VolumeMount, VolumeMountStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff;
use lifecycle::{Condition, ConditionKind, ContainerState, ContainerStatus, Phase, PodStatus, Resources, Terminated, Timestamp};

use super::containers::container_of;
use super::qos::qos_class;
use super::resources::with_resources;
use crate::go_text::quote;

/// All termination messages of a pod together, in bytes (k8s: 8.e.5).
const TERMINATION_MESSAGES_BYTES_MAX: usize = 12 * 1024;
/// k8s: 8.c.15
const CONTAINER_ID_PREFIX: &str = "usher://";
/// The reason of an end that nobody saw; it has no times (k8s: 8.c.6).
const UNKNOWN_REASON: &str = "ContainerStatusUnknown";
/// Conditions that this side owns: what was published of them before does not survive (k8s: 8.b.2).
const OWNED_CONDITIONS: [&str; 8] = [
    "PodScheduled",
    "Ready",
    "Initialized",
    "ContainersReady",
    "PodResizeInProgress",
    "PodResizePending",
    "PodReadyToStartContainers",
    "AllContainersRestarting",
];

/// What a status needs beside the machine.
pub struct StatusContext<'a> {
    /// The pod of which the status is; its generation becomes `observedGeneration` (k8s: 8.f.2).
    pub pod: &'a Pod,
    /// The wall-clock time that a point of the machine's time was, in nanoseconds since 1970.
    pub wall_nanos: &'a dyn Fn(Timestamp) -> u64,
    /// The present time, for conditions that changed.
    pub now: Timestamp,
    /// Addresses of the node, primary family first.
    pub host_ips: &'a [IpAddr],
    /// What was published last; none for the first time.
    pub previous: Option<&'a V1PodStatus>,
}

impl std::fmt::Debug for StatusContext<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StatusContext").field("now", &self.now).field("host_ips", &self.host_ips).finish_non_exhaustive()
    }
}

/// The status as it is published.
pub fn pod_status(status: &PodStatus, context: &StatusContext<'_>) -> V1PodStatus {
    let spec = context.pod.spec.as_ref();
    let host_ips: Vec<String> = context.host_ips.iter().map(ToString::to_string).collect();
    // k8s: 8.f.4
    let pod_ips = match spec.and_then(|spec| spec.host_network) {
        Some(true) => host_ips.clone(),
        Some(false) | None => status.pod_ips.clone(),
    };
    let message_cap = TERMINATION_MESSAGES_BYTES_MAX / count_containers(context.pod).max(1);
    let containers = |list: &[ContainerStatus]| {
        let published: Vec<_> = list.iter().map(|container| container_status(container, context, message_cap)).collect();
        if published.is_empty() { None } else { Some(published) }
    };
    let previous = context.previous;
    V1PodStatus {
        observed_generation: generation(context),
        phase: Some(phase(status.phase).to_owned()),
        conditions: some_list(conditions(status, context)),
        reason: not_empty(&status.reason),
        message: not_empty(&status.message),
        host_ip: host_ips.first().cloned(),
        host_ips: some_list(host_ips.into_iter().map(|ip| HostIP { ip }).collect()),
        pod_ip: pod_ips.first().cloned(),
        pod_ips: some_list(pod_ips.into_iter().map(|ip| PodIP { ip }).collect()),
        // k8s: 8.f.1
        start_time: previous.and_then(|previous| previous.start_time.clone()).or_else(|| time(status.start_time, context)),
        init_container_statuses: containers(&status.init_container_statuses),
        container_statuses: containers(&status.container_statuses),
        qos_class: qos_class(context.pod).ok().map(|class| class.to_string()),
        ephemeral_container_statuses: containers(&status.ephemeral_container_statuses).map(|statuses| {
            // Nothing ever looks whether they have started.
            statuses.into_iter().map(|status| V1ContainerStatus { started: None, ..status }).collect()
        }),
        nominated_node_name: previous.and_then(|previous| previous.nominated_node_name.clone()),
        ..V1PodStatus::default()
    }
}

/// Whether Ready of this pod depends on conditions of others.
pub fn has_readiness_gates(pod: &Pod) -> bool {
    pod.spec.as_ref().and_then(|spec| spec.readiness_gates.as_ref()).is_some_and(|gates| !gates.is_empty())
}

fn is_owned(condition: &PodCondition) -> bool {
    OWNED_CONDITIONS.contains(&condition.type_.as_str())
}

fn conditions_of_others(pod: &Pod) -> impl Iterator<Item = &PodCondition> {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.filter(|condition| !is_owned(condition))
}

/// Whether the conditions of others are the same in two objects of a pod.
pub fn same_conditions_of_others(pod: &Pod, other: &Pod) -> bool {
    conditions_of_others(pod).eq(conditions_of_others(other))
}

/// What was published last, with the conditions that others have in the newest object of the pod (k8s: 8.b.2).
pub fn with_conditions_of_others(published: &V1PodStatus, pod: &Pod) -> V1PodStatus {
    let disruption = condition_type(ConditionKind::DisruptionTarget);
    let own = published.conditions.iter().flatten().filter(|condition| is_owned(condition) || condition.type_ == disruption);
    let own: Vec<_> = own.cloned().collect();
    let is_disrupted = own.iter().any(|condition| condition.type_ == disruption);
    let others = conditions_of_others(pod).filter(|condition| !(is_disrupted && condition.type_ == disruption));
    V1PodStatus { conditions: some_list(others.cloned().chain(own.iter().cloned()).collect()), ..published.clone() }
}

/// A published status with Ready by the conditions that others have in it: it is what ContainersReady is, and asks the pod's gates if
/// that is True (k8s: 8.b.11).
pub fn regated_status(published: &V1PodStatus, context: &StatusContext<'_>) -> V1PodStatus {
    let known = published.conditions.as_deref().unwrap_or_default();
    let are_ready = known.iter().any(|condition| condition.type_ == "ContainersReady" && condition.status == "True");
    if !are_ready {
        return published.clone();
    }
    let ready = Condition { kind: ConditionKind::Ready, is_true: true, reason: String::new(), message: String::new() };
    let ready = pod_condition(&gated(&ready, known, context.pod), known, context);
    let looked = known.iter().map(|condition| match condition.type_ == ready.type_ {
        // Its generation is that of the look before: nothing else was looked at.
        true => PodCondition { observed_generation: condition.observed_generation, ..ready.clone() },
        false => condition.clone(),
    });
    V1PodStatus { conditions: some_list(looked.collect()), ..published.clone() }
}

const fn phase(phase: Phase) -> &'static str {
    match phase {
        Phase::Pending => "Pending",
        Phase::Running => "Running",
        Phase::Succeeded => "Succeeded",
        Phase::Failed => "Failed",
    }
}

fn count_containers(pod: &Pod) -> usize {
    pod.spec.as_ref().map_or(0, |spec| {
        let optional = spec.init_containers.as_ref().map_or(0, Vec::len) + spec.ephemeral_containers.as_ref().map_or(0, Vec::len);
        spec.containers.len() + optional
    })
}

/// k8s: 8.f.2: the generation, which never goes back.
fn generation(context: &StatusContext<'_>) -> Option<i64> {
    context.pod.metadata.generation.max(context.previous.and_then(|previous| previous.observed_generation))
}

/// k8s: 8.b.1: conditions of others first, then the machine's in its order.
fn conditions(status: &PodStatus, context: &StatusContext<'_>) -> Vec<PodCondition> {
    let published = context.previous.and_then(|previous| previous.conditions.as_deref()).unwrap_or_default();
    let is_disrupted = status.conditions.iter().any(|condition| condition.kind == ConditionKind::DisruptionTarget);
    let foreign = published.iter().filter(|condition| {
        let is_ours = OWNED_CONDITIONS.contains(&condition.type_.as_str());
        !(is_ours || is_disrupted && condition.type_ == condition_type(ConditionKind::DisruptionTarget))
    });
    let mut conditions: Vec<_> = foreign.cloned().collect();
    for condition in &status.conditions {
        conditions.push(if condition.kind == ConditionKind::Ready && condition.is_true {
            pod_condition(&gated(condition, published, context.pod), published, context)
        } else {
            pod_condition(condition, published, context)
        });
    }
    conditions
}

/// k8s: 8.b.11, 8.b.12: Ready also asks the conditions that the pod names as its gates.
fn gated(ready: &Condition, published: &[PodCondition], pod: &Pod) -> Condition {
    let gates = pod.spec.iter().flat_map(|spec| spec.readiness_gates.iter().flatten());
    let unmet: Vec<String> = gates
        .filter_map(|gate| {
            let name = &gate.condition_type;
            match published.iter().find(|condition| condition.type_ == *name) {
                None => Some(format!("corresponding condition of pod readiness gate {} does not exist.", quote(name))),
                Some(condition) if condition.status != "True" => {
                    Some(format!("the status of pod readiness gate {} is not \"True\", but {}", quote(name), condition.status))
                }
                Some(_) => None,
            }
        })
        .collect();
    if unmet.is_empty() {
        return ready.clone();
    }
    Condition { kind: ready.kind, is_true: false, reason: "ReadinessGatesNotReady".to_owned(), message: unmet.join(", ") }
}

fn pod_condition(condition: &Condition, published: &[PodCondition], context: &StatusContext<'_>) -> PodCondition {
    let type_ = condition_type(condition.kind);
    let status = if condition.is_true { "True" } else { "False" };
    let before = published.iter().find(|before| before.type_ == type_ && before.status == status);
    PodCondition {
        type_: type_.to_owned(),
        status: status.to_owned(),
        reason: not_empty(&condition.reason),
        message: not_empty(&condition.message),
        // k8s: 8.b.18
        last_transition_time: before.and_then(|before| before.last_transition_time.clone()).or_else(|| time(context.now, context)),
        last_probe_time: None,
        // k8s: 8.b.19
        observed_generation: generation(context),
    }
}

const fn condition_type(kind: ConditionKind) -> &'static str {
    match kind {
        ConditionKind::DisruptionTarget => "DisruptionTarget",
        ConditionKind::PodResizePending => "PodResizePending",
        ConditionKind::PodResizeInProgress => "PodResizeInProgress",
        ConditionKind::PodReadyToStartContainers => "PodReadyToStartContainers",
        ConditionKind::Initialized => "Initialized",
        ConditionKind::Ready => "Ready",
        ConditionKind::ContainersReady => "ContainersReady",
        ConditionKind::PodScheduled => "PodScheduled",
        ConditionKind::AllContainersRestarting => "AllContainersRestarting",
    }
}

fn container_status(status: &ContainerStatus, context: &StatusContext<'_>, message_cap: usize) -> V1ContainerStatus {
    let container = container_of(context.pod, &status.name);
    let container = container.as_deref();
    let is_known = status.container_id.is_some();
    let wanted = container.and_then(|container| container.resources.clone()).unwrap_or_default();
    let allocated = with_resources(&wanted, status.allocated);
    // Requests of memory are kept by nothing in the kernel: what is allocated is in force.
    let in_use = status
        .in_use
        .map_or(status.allocated, |in_use| Resources { memory_request_bytes: status.allocated.memory_request_bytes, ..in_use });
    V1ContainerStatus {
        name: status.name.clone(),
        state: Some(container_state(&status.state, context, message_cap)),
        last_state: Some(status.last_state.as_ref().map_or_else(V1ContainerState::default, |ended| V1ContainerState {
            terminated: Some(terminated(ended, context, message_cap)),
            ..V1ContainerState::default()
        })),
        ready: status.ready,
        restart_count: i32::try_from(status.restart_count).unwrap_or(i32::MAX),
        // k8s: 8.c.16
        image: if status.image_ref.is_empty() { status.image.clone() } else { normalised_image(&status.image) },
        image_id: status.image_ref.clone(),
        container_id: status.container_id.as_ref().map(|id| format!("{CONTAINER_ID_PREFIX}{id}")),
        started: Some(status.started),
        // k8s: 8.c.19
        allocated_resources: allocated.requests.filter(|requests| is_known && !requests.is_empty()),
        resources: is_known.then(|| with_resources(&wanted, in_use)),
        volume_mounts: container.and_then(|container| container.volume_mounts.as_deref()).map(volume_mounts),
        ..V1ContainerStatus::default()
    }
}

fn container_state(state: &ContainerState, context: &StatusContext<'_>, message_cap: usize) -> V1ContainerState {
    match state {
        ContainerState::Waiting { reason, message } => V1ContainerState {
            waiting: Some(ContainerStateWaiting { reason: not_empty(reason), message: not_empty(message) }),
            ..V1ContainerState::default()
        },
        // k8s: 8.c.3
        ContainerState::Running { started_at } => V1ContainerState {
            running: Some(ContainerStateRunning { started_at: time(*started_at, context) }),
            ..V1ContainerState::default()
        },
        ContainerState::Terminated(ended) => {
            V1ContainerState { terminated: Some(terminated(ended, context, message_cap)), ..V1ContainerState::default() }
        }
    }
}

/// k8s: 8.c.5
fn terminated(ended: &Terminated, context: &StatusContext<'_>, message_cap: usize) -> ContainerStateTerminated {
    let exit = &ended.exit;
    let is_witnessed = exit.reason != UNKNOWN_REASON;
    ContainerStateTerminated {
        exit_code: exit.code,
        // The reference never fills it: the exit code tells the signal (k8s: 8.d.2).
        signal: None,
        reason: not_empty(&exit.reason),
        message: not_empty(cut(&exit.message, message_cap)),
        started_at: match exit.started_at {
            _ if !is_witnessed => None,
            Some(started_at) => time(started_at, context),
            // A record of a container that never ran has a start time of zero.
            None => Some(Time(jiff::Timestamp::UNIX_EPOCH)),
        },
        finished_at: if is_witnessed { time(exit.finished_at, context) } else { None },
        container_id: ended.container_id.as_ref().map(|id| format!("{CONTAINER_ID_PREFIX}{id}")),
    }
}

fn volume_mounts(mounts: &[VolumeMount]) -> Vec<VolumeMountStatus> {
    let status = |mount: &VolumeMount| {
        let is_read_only = mount.read_only.unwrap_or(false);
        VolumeMountStatus {
            name: mount.name.clone(),
            mount_path: mount.mount_path.clone(),
            read_only: is_read_only.then_some(true),
            recursive_read_only: is_read_only.then(|| match mount.recursive_read_only.as_deref() {
                Some("Enabled" | "IfPossible") => "Enabled".to_owned(),
                Some(_) | None => "Disabled".to_owned(),
            }),
            volume_status: None,
        }
    };
    mounts.iter().map(status).collect()
}

/// An image's name with registry, folder and tag written out, as runtimes show it.
fn normalised_image(image: &str) -> String {
    let (first, has_slash) = image.split_once('/').map_or((image, false), |(first, _)| (first, true));
    let has_registry = has_slash && (first.contains(['.', ':']) || first == "localhost");
    let full = match (has_registry, has_slash) {
        (true, _) => image.to_owned(),
        (false, true) => format!("docker.io/{image}"),
        (false, false) => format!("docker.io/library/{image}"),
    };
    let last = full.rsplit_once('/').map_or(full.as_str(), |(_, last)| last);
    if last.contains([':', '@']) { full } else { format!("{full}:latest") }
}

/// k8s: 8.e.5: the first bytes, cut where a character begins.
fn cut(message: &str, cap: usize) -> &str {
    let mut end = cap.min(message.len());
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    &message[..end]
}

/// k8s: 8.f.3
fn time(at: Timestamp, context: &StatusContext<'_>) -> Option<Time> {
    let secs = i64::try_from((context.wall_nanos)(at) / 1_000_000_000).ok()?;
    jiff::Timestamp::from_second(secs).ok().map(Time)
}

fn not_empty(text: &str) -> Option<String> {
    if text.is_empty() { None } else { Some(text.to_owned()) }
}

fn some_list<T>(list: Vec<T>) -> Option<Vec<T>> {
    if list.is_empty() { None } else { Some(list) }
}

#[cfg(test)]
mod tests;
