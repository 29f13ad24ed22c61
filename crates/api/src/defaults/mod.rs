//! The values that the API server fills in where an author gave none.
//!
//! Exactly those of the API: what a cluster's admission adds (the service account, tolerations) is not here. Invariant:
//! defaulting twice changes nothing more.

mod container;
mod image;
mod volume;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ConfigMap, Container, Pod, PodSecurityContext, PodSpec, ResourceRequirements, Secret};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as ApiQuantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use self::container::{default_container, default_ephemeral_container};
pub use self::image::image_tag;
use crate::quantity::Quantity;

/// The namespace of objects that name none.
pub const DEFAULT_NAMESPACE: &str = "default";
/// Seconds between the stop signal and the kill where a Pod does not say. k8s: 1.a.6
pub const DEFAULT_TERMINATION_GRACE_PERIOD_SECONDS: i64 = 30;
/// Where the termination message is read where a container does not say. k8s: 1.a.3
pub const DEFAULT_TERMINATION_MESSAGE_PATH: &str = "/dev/termination-log";

/// The longest name made from `generateName`: a DNS label.
const GENERATED_NAME_BYTES_MAX: usize = 63;

/// Fills in a Pod as the API server does before it validates it.
pub fn default_pod(pod: &mut Pod) {
    default_namespace(&mut pod.metadata);
    let spec = pod.spec.get_or_insert_default();
    default_pod_spec(spec);
    for container in spec.containers.iter_mut().chain(spec.init_containers.iter_mut().flatten()) {
        default_requests(&mut container.resources);
    }
    default_pod_requests(spec);
    spec.enable_service_links.get_or_insert(true);
    if spec.host_network == Some(true) {
        default_host_ports(&mut spec.containers);
        default_host_ports(spec.init_containers.as_deref_mut().unwrap_or_default());
    }
}

/// Fills in what the API server also fills in inside templates of Pods.
pub fn default_pod_spec(spec: &mut PodSpec) {
    default_text(&mut spec.dns_policy, "ClusterFirst");
    // k8s: 1.a.5
    default_text(&mut spec.restart_policy, "Always");
    default_text(&mut spec.scheduler_name, "default-scheduler");
    spec.security_context.get_or_insert_with(PodSecurityContext::default);
    spec.termination_grace_period_seconds.get_or_insert(DEFAULT_TERMINATION_GRACE_PERIOD_SECONDS);
    default_service_account(spec);
    for volume in spec.volumes.iter_mut().flatten() {
        volume::default_volume(volume);
    }
    for container in spec.containers.iter_mut().chain(spec.init_containers.iter_mut().flatten()) {
        default_container(container);
    }
    for container in spec.ephemeral_containers.iter_mut().flatten() {
        default_ephemeral_container(container);
    }
    for resources in [&mut spec.resources].into_iter().flatten() {
        round_amounts(&mut resources.limits);
        round_amounts(&mut resources.requests);
    }
    round_amounts(&mut spec.overhead);
}

/// A negative grace period counts as one second. k8s: 1.b.1
///
/// Apart from [`default_pod`], because the warning about it needs the value that the author wrote.
pub fn repair_grace_period(pod: &mut Pod) {
    let grace = pod.spec.as_mut().and_then(|spec| spec.termination_grace_period_seconds.as_mut());
    if let Some(grace) = grace.filter(|grace| **grace < 0) {
        *grace = 1;
    }
}

/// Fills in a ConfigMap.
pub fn default_config_map(config_map: &mut ConfigMap) {
    default_namespace(&mut config_map.metadata);
}

/// Fills in a Secret, and takes its `stringData` into its `data`.
pub fn default_secret(secret: &mut Secret) {
    default_namespace(&mut secret.metadata);
    default_text(&mut secret.type_, "Opaque");
    for (key, text) in secret.string_data.take().unwrap_or_default() {
        let bytes = k8s_openapi::ByteString(text.into_bytes());
        secret.data.get_or_insert_default().insert(key, bytes);
    }
}

/// The name for an object with `generateName`: the beginning, shortened as needed, and `suffix`, which the caller
/// draws at random.
pub fn generated_name(generate_name: &str, suffix: &str) -> String {
    let room = GENERATED_NAME_BYTES_MAX.saturating_sub(suffix.len());
    let end = (0..=room.min(generate_name.len())).rev().find(|at| generate_name.is_char_boundary(*at)).unwrap_or(0);
    format!("{}{suffix}", &generate_name[..end])
}

fn default_namespace(metadata: &mut ObjectMeta) {
    default_text(&mut metadata.namespace, DEFAULT_NAMESPACE);
}

/// Sets a text that is absent or empty, which is the same to the API.
pub(crate) fn default_text(field: &mut Option<String>, value: &str) {
    if field.as_deref().unwrap_or_default().is_empty() {
        *field = Some(value.to_owned());
    }
}

/// The old name of the field and the new one always agree; the new one wins.
fn default_service_account(spec: &mut PodSpec) {
    let name = [&spec.service_account_name, &spec.service_account].into_iter().flatten().find(|name| !name.is_empty());
    if let Some(name) = name.cloned() {
        spec.service_account = Some(name.clone());
        spec.service_account_name = Some(name);
    }
}

/// Requests that are not given are the limits. k8s: 1.a.12
fn default_requests(resources: &mut Option<ResourceRequirements>) {
    let Some(resources) = resources else { return };
    let Some(limits) = &resources.limits else {
        return;
    };
    let requests = resources.requests.get_or_insert_default();
    for (name, limit) in limits {
        requests.entry(name.clone()).or_insert_with(|| limit.clone());
    }
}

/// Requests of the pod as a whole, where it has limits: what its containers request together, or else its limits.
fn default_pod_requests(spec: &mut PodSpec) {
    let totals = container_requests(spec);
    let Some(resources) = &mut spec.resources else {
        return;
    };
    let Some(limits) = resources.limits.as_ref().filter(|limits| !limits.is_empty()) else {
        return;
    };
    let supported = |name: &str| matches!(name, "cpu" | "memory") || name.starts_with("hugepages-");
    let requests = resources.requests.get_or_insert_default();
    for (name, total) in totals.into_iter().filter(|(name, _)| matches!(name.as_str(), "cpu" | "memory")) {
        requests.entry(name).or_insert_with(|| ApiQuantity(total.to_string()));
    }
    for (name, limit) in limits.iter().filter(|(name, _)| supported(name)) {
        requests.entry(name.clone()).or_insert_with(|| limit.clone());
    }
}

/// What the containers of a pod request at most at one time: regular containers and sidecars together, or, if larger,
/// an init container with the sidecars started before it.
pub(crate) fn container_requests(spec: &PodSpec) -> BTreeMap<String, Quantity> {
    let mut running: BTreeMap<String, Quantity> = BTreeMap::new();
    for container in &spec.containers {
        add(&mut running, &requests(container));
    }
    let mut sidecars: BTreeMap<String, Quantity> = BTreeMap::new();
    let mut peak: BTreeMap<String, Quantity> = BTreeMap::new();
    for container in spec.init_containers.iter().flatten() {
        let own = requests(container);
        if container.restart_policy.as_deref() == Some("Always") {
            add(&mut running, &own);
            add(&mut sidecars, &own);
            raise(&mut peak, &sidecars);
        } else {
            let mut together = own;
            add(&mut together, &sidecars);
            raise(&mut peak, &together);
        }
    }
    raise(&mut running, &peak);
    running
}

fn requests(container: &Container) -> BTreeMap<String, Quantity> {
    let requests = container.resources.iter().flat_map(|resources| resources.requests.iter().flatten());
    requests.filter_map(|(name, amount)| Some((name.clone(), Quantity::parse(&amount.0).ok()?))).collect()
}

fn add(sums: &mut BTreeMap<String, Quantity>, amounts: &BTreeMap<String, Quantity>) {
    for (name, amount) in amounts {
        sums.entry(name.clone()).and_modify(|sum| *sum = sum.saturating_add(amount)).or_insert(*amount);
    }
}

fn raise(sums: &mut BTreeMap<String, Quantity>, amounts: &BTreeMap<String, Quantity>) {
    for (name, amount) in amounts {
        sums.entry(name.clone()).and_modify(|sum| *sum = (*sum).max(*amount)).or_insert(*amount);
    }
}

/// Ports on the host's own network are the host's ports.
fn default_host_ports(containers: &mut [Container]) {
    for port in containers.iter_mut().flat_map(|container| container.ports.iter_mut().flatten()) {
        if port.host_port.unwrap_or(0) == 0 {
            port.host_port = Some(port.container_port);
        }
    }
}

/// Amounts of resources are whole thousandths.
pub(crate) fn round_amounts(amounts: &mut Option<BTreeMap<String, ApiQuantity>>) {
    for amount in amounts.iter_mut().flat_map(|amounts| amounts.values_mut()) {
        if let Ok(quantity) = Quantity::parse(&amount.0) {
            amount.0 = quantity.round_up_milli().to_string();
        }
    }
}
