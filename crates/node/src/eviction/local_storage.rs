//! Whether a pod uses more of the node's disk than it may: the size limits of its emptyDirs, and its limits of `ephemeral-storage`.
//!
//! Pure: what it uses comes in. Logs and what containers write into their own file systems count, as with the reference.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, Pod};

use crate::container_config::resources::{amount, limits, total};
use crate::quantity::Amount;

/// The name of the resource.
pub const EPHEMERAL_STORAGE: &str = "ephemeral-storage";

/// What an emptyDir, a pod and a container exceed, in the reference's words for its metric.
pub const LIMIT_SIGNALS: [&str; 3] = [EMPTY_DIR_LIMIT, POD_LIMIT, CONTAINER_LIMIT];
const EMPTY_DIR_LIMIT: &str = "emptydirfs.limit";
const POD_LIMIT: &str = "ephemeralpodfs.limit";
const CONTAINER_LIMIT: &str = "ephemeralcontainerfs.limit";

/// What a pod exceeds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exceeded {
    /// One of [`LIMIT_SIGNALS`].
    pub signal: &'static str,
    /// What the pod is told, in the reference's words (k8s: 8.a.19).
    pub message: String,
}

/// What a pod uses of the disk, in bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StorageUse {
    /// Of each volume that is on the disk for as long as the pod is there.
    pub volumes: BTreeMap<String, u64>,
    /// Of each container: its logs and its own files.
    pub containers: BTreeMap<String, u64>,
}

/// Whether something of the pod is limited at all.
pub fn is_limited(pod: &Pod) -> bool {
    size_limits(pod).next().is_some() || containers(pod).any(|container| limit(container).is_some())
}

/// The first limit that the pod exceeds, in the reference's order (k8s: 8.a.19).
pub fn exceeded(pod: &Pod, used: &StorageUse) -> Option<Exceeded> {
    let limits = [(EMPTY_DIR_LIMIT, of_empty_dirs(pod, used)), (POD_LIMIT, of_pod(pod, used)), (CONTAINER_LIMIT, of_containers(pod, used))];
    limits.into_iter().find_map(|(signal, message)| Some(Exceeded { signal, message: message? }))
}

fn of_empty_dirs(pod: &Pod, used: &StorageUse) -> Option<String> {
    let (name, text, _) = size_limits(pod).find(|(name, _, limit)| is_over(used.volumes.get(*name), *limit))?;
    Some(format!("Usage of EmptyDir volume {name:?} exceeds the limit {text:?}. "))
}

fn of_pod(pod: &Pod, used: &StorageUse) -> Option<String> {
    let spec = pod.spec.as_ref()?;
    containers(pod).find_map(limit)?;
    let limit = total(spec, |container| Ok(limit(container).map_or_else(Amount::default, |(_, limit)| limit))).ok()?;
    let all = used.volumes.values().chain(used.containers.values()).fold(0_u64, |sum, bytes| sum.saturating_add(*bytes));
    let text = crate::quantity::binary_text(u64::try_from(limit.units()).unwrap_or(0));
    is_over(Some(&all), limit).then(|| format!("Pod ephemeral local storage usage exceeds the total limit of containers {text}. "))
}

fn of_containers(pod: &Pod, used: &StorageUse) -> Option<String> {
    let mut all = containers(pod).filter_map(|container| limit(container).map(|(text, limit)| (&container.name, text, limit)));
    let (name, text, _) = all.find(|(name, _, limit)| is_over(used.containers.get(*name), *limit))?;
    Some(format!("Container {name} exceeded its local ephemeral storage limit {text:?}. "))
}

fn is_over(used: Option<&u64>, limit: Amount) -> bool {
    used.is_some_and(|used| Amount::from_units(i64::try_from(*used).unwrap_or(i64::MAX)) > limit)
}

/// Names and size limits of the emptyDirs that have one.
fn size_limits(pod: &Pod) -> impl Iterator<Item = (&str, &str, Amount)> {
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    volumes.filter_map(|volume| {
        let text = volume.empty_dir.as_ref()?.size_limit.as_ref()?;
        let limit = Amount::parse(text).ok().filter(|limit| *limit > Amount::default())?;
        Some((volume.name.as_str(), text.0.as_str(), limit))
    })
}

fn limit(container: &Container) -> Option<(&str, Amount)> {
    let list = limits(container);
    let limit = amount(list, EPHEMERAL_STORAGE).ok()??;
    Some((list?.get(EPHEMERAL_STORAGE)?.0.as_str(), limit))
}

fn containers(pod: &Pod) -> impl Iterator<Item = &Container> {
    pod.spec.iter().flat_map(|spec| spec.containers.iter().chain(spec.init_containers.iter().flatten()))
}

#[cfg(test)]
mod tests;
