//! Where a pod's files are on the disk, and what they take there.

use std::collections::BTreeMap;
use std::path::PathBuf;

use k8s_openapi::api::core::v1::Pod;
use runtime::PodStats;

use super::disk_usage::{DiskMeter, DiskUse};
use super::local_storage::StorageUse;
use crate::NodeConfig;
use crate::pod_files::PodFiles;

/// The folders that count for a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct PodFolders {
    /// Volumes that live as long as the pod, by name.
    volumes: BTreeMap<String, PathBuf>,
    /// Of each container: its logs.
    logs: BTreeMap<String, PathBuf>,
    /// Of each container: what its newest instance wrote into its own file system.
    layers: BTreeMap<String, PathBuf>,
}

impl PodFolders {
    pub(super) fn of(node: &NodeConfig, pod: &Pod, stats: &PodStats) -> Self {
        let metadata = &pod.metadata;
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let uid = text(&metadata.uid);
        let files = PodFiles::new(node.pod_dir(&uid), node.claims_dir());
        let logs = node.log_root.join(format!("{}_{}_{uid}", text(&metadata.namespace), text(&metadata.name)));
        let mut found = Self::default();
        for volume in pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten()) {
            // Memory is not disk, and what is not the pod's alone does not count.
            let on_disk = volume.empty_dir.as_ref().is_some_and(|source| source.medium.as_deref().unwrap_or_default().is_empty());
            if (on_disk || volume.config_map.is_some())
                && let Some(place) = files.volume_path(pod, &volume.name)
            {
                found.volumes.insert(volume.name.clone(), place.path);
            }
        }
        if let Some(spec) = &pod.spec {
            let usual = spec.containers.iter().chain(spec.init_containers.iter().flatten()).map(|container| &container.name);
            // They have no limits of their own, and count against the pod's.
            let ephemeral = spec.ephemeral_containers.iter().flatten().map(|container| &container.name);
            found.logs.extend(usual.chain(ephemeral).map(|name| (name.clone(), logs.join(name))));
        }
        // Oldest first: the newest instance is what stays.
        found.layers = stats.containers.iter().map(|stats| (stats.name.clone(), stats.writable_layer.clone())).collect();
        found
    }

    pub(super) fn paths(&self) -> impl Iterator<Item = PathBuf> {
        self.volumes.values().chain(self.logs.values()).chain(self.layers.values()).cloned()
    }

    /// In bytes, name by name.
    pub(super) fn storage_use(&self, meter: &DiskMeter) -> StorageUse {
        let bytes = |path: &PathBuf| meter.usage(path).bytes;
        let volumes = self.volumes.iter().map(|(name, path)| (name.clone(), bytes(path))).collect();
        let containers = self.logs.iter().map(|(name, path)| {
            let layer = self.layers.get(name).map_or(0, bytes);
            (name.clone(), bytes(path).saturating_add(layer))
        });
        StorageUse { volumes, containers: containers.collect() }
    }

    /// All of it.
    pub(super) fn disk_use(&self, meter: &DiskMeter) -> DiskUse {
        self.paths().map(|path| meter.usage(&path)).sum()
    }
}
