//! Whether the node takes a pod that is new to it.
//!
//! Pure: what the node has and what runs on it comes in as values. A pod that is not taken has failed (k8s: 8.a.22). For a critical one
//! that does not fit others have to go, see [`crate::preemption`].

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{ContainerPort, Pod, Toleration};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use lifecycle::{Rejection, Resources};

use crate::container_config::resources::pod_request;
use crate::convert::{QosClass, qos_class};
use crate::eviction::NodeCondition;
use crate::eviction::rank::is_critical;
use crate::preemption::{Requirement, victims};

/// The taint that a best-effort pod has to tolerate to be taken while memory is short.
const MEMORY_PRESSURE_TAINT: &str = "node.kubernetes.io/memory-pressure";

/// The resource of which every pod takes one.
pub const PODS: &str = "pods";
/// The resources of which a node has so much, in the order in which the reference looks at them.
const FITTED: [&str; 3] = ["cpu", "memory", "ephemeral-storage"];

/// What pods can have of a node: pods, `cpu` in thousandths, everything else in units. What is not named is not counted.
pub type Allocatable = BTreeMap<String, i64>;

/// What is known of the node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeFacts {
    /// What pods can have of it.
    pub allocatable: Allocatable,
    /// What it is short of.
    pub conditions: BTreeSet<NodeCondition>,
    /// It goes down.
    pub is_shutting_down: bool,
}

/// What becomes of a pod that is new to the node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It is taken.
    Taken,
    /// It is taken as soon as others are gone (k8s: 4.a.20).
    After(Victims),
    /// It is not taken.
    Rejected(Rejection),
}

/// Those that go so that a critical pod finds room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Victims {
    /// Their uids.
    pub uids: Vec<String>,
    /// The first resource of which there is too little.
    pub resource: &'static str,
}

/// The pod with what it has in place of what it asks for: that is not the same while a resize has not come to pass (k8s: 11.b.20).
pub fn as_allocated(pod: &Pod, allocated: &BTreeMap<String, Resources>) -> Pod {
    let mut pod = pod.clone();
    let Some(spec) = &mut pod.spec else { return pod };
    for container in spec.containers.iter_mut().chain(spec.init_containers.iter_mut().flatten()) {
        let Some(has) = allocated.get(&container.name).filter(|has| !has.is_empty()) else { continue };
        let cpu = has.cpu_request_millis.map(|millis| Quantity(format!("{millis}m")));
        let memory = has.memory_request_bytes.map(|bytes| Quantity(bytes.to_string()));
        let requests = container.resources.get_or_insert_default().requests.get_or_insert_default();
        for (name, amount) in [("cpu", cpu), ("memory", memory)] {
            match amount {
                Some(amount) => requests.insert(name.to_owned(), amount),
                None => requests.remove(name),
            };
        }
    }
    pod
}

/// Looks whether the node takes the pod beside those that it drives, and those that it has taken and that wait for others to go.
pub fn admit(pod: &Pod, node: &NodeFacts, driven: &[&Pod], waiting: &[&Pod]) -> Admission {
    if let Err(rejection) = at_shutdown(node).and_then(|()| under_pressure(pod, &node.conditions)) {
        return Admission::Rejected(rejection);
    }
    let others = [driven, waiting].concat();
    if let Some(rejection) = huge_pages_missing(pod, &node.allocatable, &others) {
        return Admission::Rejected(rejection);
    }
    let missing = missing(pod, &node.allocatable, &others);
    let Some(first) = missing.first() else {
        return ports_are_free(pod, &others).map_or_else(Admission::Rejected, |()| Admission::Taken);
    };
    if !is_critical(pod) {
        return Admission::Rejected(first.rejection());
    }
    // What others could not cure by going is told first: nobody goes in vain.
    if let Err(rejection) = ports_are_free(pod, &others) {
        return Admission::Rejected(rejection);
    }
    let requirements: Vec<_> = missing.iter().map(Missing::requirement).collect();
    match victims(pod, driven, &requirements) {
        Ok(uids) => Admission::After(Victims { uids, resource: first.resource }),
        Err(error) => {
            let message = format!(
                "Unexpected error while attempting to recover from admission failure: preemption: error finding a set of pods to preempt: \
                 {error}"
            );
            Admission::Rejected(Rejection { reason: "UnexpectedAdmissionError".to_owned(), message })
        }
    }
}

/// A resource of which the pod wants more than is left.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Missing {
    resource: &'static str,
    requested: i64,
    used: i64,
    capacity: i64,
}

impl Missing {
    /// k8s: 10.d.13
    fn rejection(&self) -> Rejection {
        out_of(self.resource, self.requested, self.used, self.capacity)
    }

    fn requirement(&self) -> Requirement {
        let quantity = self.requested.saturating_sub(self.capacity.saturating_sub(self.used));
        Requirement { resource: self.resource, quantity }
    }
}

fn missing(pod: &Pod, allocatable: &Allocatable, others: &[&Pod]) -> Vec<Missing> {
    let of = |resource: &'static str| {
        let capacity = *allocatable.get(resource)?;
        let requested = request(pod, resource);
        let used = others.iter().fold(0_i64, |sum, other| sum.saturating_add(request(other, resource)));
        let is_missing = requested > 0 && requested > capacity.saturating_sub(used);
        is_missing.then_some(Missing { resource, requested, used, capacity })
    };
    [PODS].into_iter().chain(FITTED).filter_map(of).collect()
}

/// Large pages are only there if somebody has set them aside, so a size that the node does not name is one that it has none of. Nobody
/// has to go for them.
fn huge_pages_missing(pod: &Pod, allocatable: &Allocatable, others: &[&Pod]) -> Option<Rejection> {
    if allocatable.is_empty() {
        return None;
    }
    let containers = pod.spec.iter().flat_map(|spec| spec.containers.iter().chain(spec.init_containers.iter().flatten()));
    let lists = containers.filter_map(|container| container.resources.as_ref()?.requests.as_ref());
    let names: BTreeSet<&String> = lists.flat_map(BTreeMap::keys).filter(|name| name.starts_with("hugepages-")).collect();
    names.into_iter().find_map(|resource| {
        let capacity = allocatable.get(resource).copied().unwrap_or_default();
        let requested = request(pod, resource);
        let used = others.iter().fold(0_i64, |sum, other| sum.saturating_add(request(other, resource)));
        let is_missing = requested > 0 && requested > capacity.saturating_sub(used);
        is_missing.then(|| out_of(resource, requested, used, capacity))
    })
}

/// k8s: 10.d.13
fn out_of(resource: &str, requested: i64, used: i64, capacity: i64) -> Rejection {
    let message = format!("Node didn't have enough resource: {resource}, requested: {requested}, used: {used}, capacity: {capacity}");
    Rejection { reason: format!("OutOf{resource}"), message }
}

/// What a pod asks for, in the unit of [`Allocatable`].
pub(crate) fn request(pod: &Pod, resource: &str) -> i64 {
    if resource == PODS {
        return 1;
    }
    let amount = pod_request(pod, resource).unwrap_or_default();
    if resource == "cpu" { amount.millis() } else { amount.units() }
}

/// A port of the node can lead to one pod only.
fn ports_are_free(pod: &Pod, others: &[&Pod]) -> Result<(), Rejection> {
    let taken: Vec<_> = others.iter().flat_map(|other| host_ports(other)).collect();
    let is_taken = host_ports(pod).any(|port| taken.iter().any(|other| port.conflicts(other)));
    if is_taken {
        return Err(Rejection { reason: "NodePorts".to_owned(), message: "Predicate NodePorts failed".to_owned() });
    }
    Ok(())
}

struct NodePort<'a> {
    ip: &'a str,
    protocol: &'a str,
    port: i32,
}

impl NodePort<'_> {
    fn conflicts(&self, other: &Self) -> bool {
        let is_any = |ip: &str| matches!(ip, "" | "0.0.0.0" | "::");
        self.port == other.port && self.protocol == other.protocol && (self.ip == other.ip || is_any(self.ip) || is_any(other.ip))
    }
}

fn host_ports(pod: &Pod) -> impl Iterator<Item = NodePort<'_>> {
    let spec = pod.spec.iter();
    let sidecars = spec.clone().flat_map(|spec| spec.init_containers.iter().flatten());
    let sidecars = sidecars.filter(|container| container.restart_policy.as_deref() == Some("Always"));
    let all = spec.flat_map(|spec| &spec.containers).chain(sidecars);
    let port = |port: &'_ ContainerPort| port.host_port.filter(|port| *port != 0);
    all.flat_map(|container| container.ports.iter().flatten()).filter_map(move |declared| {
        let (ip, protocol) = (declared.host_ip.as_deref().unwrap_or_default(), declared.protocol.as_deref().unwrap_or("TCP"));
        Some(NodePort { ip, protocol, port: port(declared)? })
    })
}

fn at_shutdown(node: &NodeFacts) -> Result<(), Rejection> {
    if !node.is_shutting_down {
        return Ok(());
    }
    // k8s: 10.d.14
    Err(Rejection { reason: "NodeShutdown".to_owned(), message: "Pod was rejected as the node is shutting down.".to_owned() })
}

/// k8s: 4.c.2: critical pods are taken in any case. While only memory is short, others are too if they asked for any.
fn under_pressure(pod: &Pod, conditions: &BTreeSet<NodeCondition>) -> Result<(), Rejection> {
    if conditions.is_empty() || is_critical(pod) {
        return Ok(());
    }
    let only_memory = conditions.iter().eq([&NodeCondition::MemoryPressure]);
    if only_memory && (qos_class(pod) != Ok(QosClass::BestEffort) || tolerates_memory_pressure(pod)) {
        return Ok(());
    }
    let names: Vec<_> = conditions.iter().map(ToString::to_string).collect();
    Err(Rejection { reason: "Evicted".to_owned(), message: format!("The node had condition: [{}]. ", names.join(" ")) })
}

fn tolerates_memory_pressure(pod: &Pod) -> bool {
    let tolerations = pod.spec.iter().flat_map(|spec| spec.tolerations.iter().flatten());
    tolerations.into_iter().any(|toleration| {
        let Toleration { effect, key, operator, value, .. } = toleration;
        let of_effect = effect.as_deref().is_none_or(|effect| effect.is_empty() || effect == "NoSchedule");
        let key = key.as_deref().unwrap_or_default();
        let exists = operator.as_deref() == Some("Exists");
        // The taint has no value.
        let of_value = exists || value.as_deref().unwrap_or_default().is_empty();
        of_effect && of_value && (key == MEMORY_PRESSURE_TAINT || (key.is_empty() && exists))
    })
}

#[cfg(test)]
mod tests;
