//! What containers ask for and may use, in plain numbers: whether a pod fits on its node, and how its resources are named in texts.
//!
//! Only processor and memory, which are all that can be changed while a container runs. Pure arithmetic; the course of a change is
//! in `resize.rs`.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::container::{Container, Role};

/// What a container asks for and may use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Resources {
    /// `requests.cpu`, in thousandths of a processor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_request_millis: Option<u64>,
    /// `limits.cpu`, in thousandths of a processor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_limit_millis: Option<u64>,
    /// `requests.memory`, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_request_bytes: Option<u64>,
    /// `limits.memory`, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_limit_bytes: Option<u64>,
}

/// Whether a container lives through a change of its resources: `resizePolicy`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ResizePolicy {
    /// For a change of `cpu`.
    pub cpu: ResizeRestart,
    /// For a change of the limit of `memory`.
    pub memory: ResizeRestart,
}

/// `resizePolicy[*].restartPolicy`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ResizeRestart {
    /// It goes on.
    #[default]
    NotRequired,
    /// It is stopped and started again.
    RestartContainer,
}

/// What a node has, and what its other pods have asked for of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Room {
    /// Thousandths of processors that pods may have.
    pub cpu_millis: u64,
    /// Bytes of memory that pods may have.
    pub memory_bytes: u64,
    /// Of these, what other pods have.
    pub used_cpu_millis: u64,
    /// Of these, what other pods have.
    pub used_memory_bytes: u64,
}

/// Whether what is wanted fits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fit {
    Fits,
    /// Not beside the other pods (with the reference's text).
    NotNow(String),
    /// Never on this node (with the reference's text).
    Never(String),
}

impl Resources {
    /// Whether nothing is asked for or limited.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Enough for both; what one of them does not limit is not limited.
    pub(crate) fn max(self, other: Self) -> Self {
        let limit = |one: Option<u64>, other: Option<u64>| Some(one?.max(other?));
        Self {
            cpu_request_millis: self.cpu_request_millis.max(other.cpu_request_millis),
            cpu_limit_millis: limit(self.cpu_limit_millis, other.cpu_limit_millis),
            memory_request_bytes: self.memory_request_bytes.max(other.memory_request_bytes),
            memory_limit_bytes: limit(self.memory_limit_bytes, other.memory_limit_bytes),
        }
    }

    /// The same with limits that a group with those of `room` can hold.
    pub(crate) fn within(self, room: Self) -> Self {
        let limit = |wanted: Option<u64>, room: Option<u64>| wanted.into_iter().chain(room).min();
        Self {
            cpu_limit_millis: limit(self.cpu_limit_millis, room.cpu_limit_millis),
            memory_limit_bytes: limit(self.memory_limit_bytes, room.memory_limit_bytes),
            ..self
        }
    }

    /// Whether going to `to` takes something away.
    pub(crate) fn is_lowered_by(self, to: Self) -> bool {
        let lower = |from: Option<u64>, to: Option<u64>| to.is_some_and(|to| from.is_none_or(|from| to < from));
        lower(self.cpu_limit_millis, to.cpu_limit_millis) || lower(self.memory_limit_bytes, to.memory_limit_bytes)
    }

    /// Whether going to `to` takes memory away.
    pub(crate) fn has_less_memory_with(self, to: Self) -> bool {
        to.memory_limit_bytes.is_some_and(|to| self.memory_limit_bytes.is_none_or(|from| to < from))
    }

    /// Whether the container must be started again to have `to` instead. k8s: 4.a.10
    pub(crate) fn needs_restart(self, to: Self, policy: ResizePolicy) -> bool {
        let cpu = (self.cpu_request_millis, self.cpu_limit_millis) != (to.cpu_request_millis, to.cpu_limit_millis);
        let memory = self.memory_limit_bytes != to.memory_limit_bytes;
        cpu && policy.cpu == ResizeRestart::RestartContainer || memory && policy.memory == ResizeRestart::RestartContainer
    }

    /// As JSON, in the order and with the texts of the reference's events.
    pub(crate) fn to_json(self) -> String {
        let list = |cpu: Option<u64>, memory: Option<u64>| {
            let cpu = cpu.map(|millis| format!("\"cpu\":\"{}\"", cpu_text(millis)));
            let memory = memory.map(|bytes| format!("\"memory\":\"{}\"", memory_text(bytes)));
            let entries: Vec<_> = cpu.into_iter().chain(memory).collect();
            (!entries.is_empty()).then(|| entries.join(","))
        };
        let limits = list(self.cpu_limit_millis, self.memory_limit_bytes).map(|list| format!("\"limits\":{{{list}}}"));
        let requests = list(self.cpu_request_millis, self.memory_request_bytes).map(|list| format!("\"requests\":{{{list}}}"));
        format!("{{{}}}", limits.into_iter().chain(requests).collect::<Vec<_>>().join(","))
    }
}

/// Thousandths of a processor as Kubernetes writes them: `150m`, `2`.
pub fn cpu_text(millis: u64) -> String {
    if millis.is_multiple_of(1000) { (millis / 1000).to_string() } else { format!("{millis}m") }
}

/// Bytes as Kubernetes writes them: `64Mi`, `1000`.
pub fn memory_text(bytes: u64) -> String {
    let units = [("Ei", 60), ("Pi", 50), ("Ti", 40), ("Gi", 30), ("Mi", 20), ("Ki", 10)];
    let whole = units.iter().find(|(_, shift)| bytes >= 1 << shift && bytes.is_multiple_of(1 << shift));
    whole.map_or_else(|| bytes.to_string(), |(unit, shift)| format!("{}{unit}", bytes >> shift))
}

/// Whether the pod fits with what its containers want.
pub(crate) fn judge(room: Room, containers: &[Container]) -> Fit {
    let cpu = total(containers, |wanted| wanted.cpu_request_millis);
    let memory = total(containers, |wanted| wanted.memory_request_bytes);
    if memory > room.memory_bytes {
        let capacity = room.memory_bytes;
        return Fit::Never(format!("Node didn't have enough capacity: memory, requested: {memory}, capacity: {capacity}"));
    }
    if cpu > room.cpu_millis {
        return Fit::Never(format!("Node didn't have enough capacity: cpu, requested: {cpu}, capacity: {}", room.cpu_millis));
    }
    let short = |name: &str, wanted: u64, used: u64, capacity: u64| {
        (wanted > capacity.saturating_sub(used))
            .then(|| format!("Node didn't have enough resource: {name}, requested: {wanted}, used: {used}, capacity: {capacity}"))
    };
    let cpu = short("cpu", cpu, room.used_cpu_millis, room.cpu_millis);
    cpu.or_else(|| short("memory", memory, room.used_memory_bytes, room.memory_bytes)).map_or(Fit::Fits, Fit::NotNow)
}

/// What runs at once: all regular containers with all sidecars, or one init container with the sidecars before it.
fn total(containers: &[Container], of: impl Fn(&Resources) -> Option<u64>) -> u64 {
    let (mut at_start, mut sidecars, mut regular) = (0_u64, 0_u64, 0_u64);
    for container in containers {
        let wanted = of(&container.spec.resources).unwrap_or_default();
        match container.role {
            Role::Init => at_start = at_start.max(sidecars.saturating_add(wanted)),
            Role::Sidecar => {
                sidecars = sidecars.saturating_add(wanted);
                at_start = at_start.max(sidecars);
            }
            Role::Regular => regular = regular.saturating_add(wanted),
            // It has none of its own.
            Role::Ephemeral => {}
        }
    }
    at_start.max(sidecars.saturating_add(regular))
}
