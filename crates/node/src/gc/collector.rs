//! Removes what is to go, and counts it.

use std::sync::Arc;
use std::time::Duration;

use prometheus::{IntCounter, IntCounterVec, Opts, Registry};
use runtime::{Runtime, StoredImage};

use super::images::{ImageMemory, Present};
use super::logs::{self, PodName};
use super::{GcConfig, dead, folders};
use crate::eviction::Signal;
use crate::eviction::reading::observations;
use crate::{NodeConfig, clock, error_chain};

/// Counts what was removed.
#[derive(Clone, Debug)]
pub struct GcMetrics {
    images: IntCounterVec,
    logs: IntCounter,
    folders: IntCounter,
}

impl GcMetrics {
    /// Nothing was removed yet.
    ///
    /// # Errors
    /// When `registry` has a metric of one of these names already.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let opts = Opts::new("kubelet_image_garbage_collected_total", "Images that were removed, by why.");
        let images = IntCounterVec::new(opts, &["reason"])?;
        for reason in [Reason::Age, Reason::Space] {
            images.with_label_values(&[reason.word()]);
        }
        let logs = IntCounter::new("usher_pod_logs_garbage_collected_total", "Pods that are gone and whose logs were removed.")?;
        let folders = IntCounter::new("usher_pod_folders_garbage_collected_total", "Folders of pods that were left over and removed.")?;
        registry.register(Box::new(images.clone()))?;
        registry.register(Box::new(logs.clone()))?;
        registry.register(Box::new(folders.clone()))?;
        Ok(Self { images, logs, folders })
    }
}

/// Why an image goes.
#[derive(Clone, Copy, Debug)]
enum Reason {
    Age,
    Space,
}

impl Reason {
    const fn word(self) -> &'static str {
        match self {
            Self::Age => "age",
            Self::Space => "space",
        }
    }
}

/// Something that went wrong, as an Event of the node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// Its reason.
    pub reason: &'static str,
    /// What happened.
    pub message: String,
}

/// Collects the garbage of one node.
#[derive(Debug)]
pub struct Collector<R: Runtime> {
    runtime: Arc<R>,
    node: NodeConfig,
    config: GcConfig,
    memory: ImageMemory,
    metrics: Option<GcMetrics>,
    /// What went wrong the last time: told once.
    told: Vec<Trouble>,
}

impl<R: Runtime> Collector<R> {
    /// Nothing is known yet.
    pub fn new(runtime: Arc<R>, node: NodeConfig, config: GcConfig, metrics: Option<GcMetrics>) -> Self {
        Self { runtime, node, config, memory: ImageMemory::new(clock::now()), metrics, told: Vec::new() }
    }

    /// Time between two collections.
    pub const fn every(&self) -> Duration {
        self.config.every
    }

    /// Collects once: `there` are pods that are driven, `gone` those that nobody knows any more. Returns what went wrong and was not told
    /// the last time.
    pub async fn collect(&mut self, there: &[PodName], gone: Vec<PodName>) -> Vec<Trouble> {
        let mut troubles = Vec::new();
        if let Err(message) = self.collect_logs(there, gone).await {
            troubles.push(Trouble { reason: "ContainerGCFailed", message });
        }
        let is_driven = |uid: &str| there.iter().any(|pod| pod.uid == uid);
        match folders::remove_left_over(&self.node, is_driven).await {
            Ok(0) => {}
            Ok(count) => {
                tracing::info!(count, "folders of pods that were left over are removed");
                if let Some(metrics) = &self.metrics {
                    metrics.folders.inc_by(count);
                }
            }
            Err(error) => {
                troubles.push(Trouble { reason: "ContainerGCFailed", message: format!("cannot list the folders of pods: {error}") })
            }
        }
        if let Err(trouble) = self.collect_images().await {
            troubles.push(trouble);
        }
        let news = troubles.iter().filter(|trouble| !self.told.iter().any(|told| told.reason == trouble.reason)).cloned().collect();
        self.told = troubles;
        news
    }

    /// The node is short of disk: removes all that nobody needs, before a pod has to go for it.
    pub async fn relieve(&mut self, signal: Signal, gone: Vec<PodName>) {
        let images_only = matches!(signal, Signal::ImageFsAvailable | Signal::ImageFsInodesFree);
        let is_shared = same_file_system(&self.node);
        if !images_only || is_shared {
            self.remove_logs(gone).await;
        }
        if images_only || is_shared {
            match self.look_at_images().await {
                Ok(()) => drop(self.remove_spare(u64::MAX).await),
                Err(error) => tracing::warn!(error, "images cannot be reclaimed"),
            }
        }
    }

    async fn collect_logs(&self, there: &[PodName], gone: Vec<PodName>) -> Result<(), String> {
        let (node, config, there) = (self.node.clone(), self.config.clone(), there.to_vec());
        let chosen = blocking(move || {
            let now = Duration::from_nanos(clock::moment().wall_nanos);
            let mut dead = Vec::new();
            for pod in &there {
                dead.extend(logs::dead_instances(&node, pod).map_err(|error| format!("cannot look at the logs of {pod}: {error}"))?);
            }
            let removed = logs::remove_instances(dead::surplus(dead, &config.dead, now));
            let removed = removed.map_err(|error| format!("cannot remove logs of dead containers: {error}"))?;
            if removed > 0 {
                tracing::info!(files = removed, "logs of dead containers are removed");
            }
            let found = logs::measure(&node, &gone).map_err(|error| format!("cannot measure logs: {error}"))?;
            Ok::<_, String>(logs::too_many(found, &config.logs, now))
        });
        let chosen = chosen.await?.into_iter().map(|logs| logs.pod).collect();
        self.remove_logs(chosen).await;
        Ok(())
    }

    async fn remove_logs(&self, gone: Vec<PodName>) {
        let (node, metrics) = (self.node.clone(), self.metrics.clone());
        let removing = blocking(move || {
            for pod in gone {
                match logs::remove(&node, &pod) {
                    Ok(()) => {
                        tracing::info!(%pod, "the logs of a pod that is gone are removed");
                        if let Some(metrics) = &metrics {
                            metrics.logs.inc();
                        }
                    }
                    Err(error) => tracing::warn!(%error, %pod, "the logs of a pod that is gone cannot be removed"),
                }
            }
        });
        removing.await;
    }

    async fn collect_images(&mut self) -> Result<(), Trouble> {
        let failed = |message: String| Trouble { reason: "ImageGCFailed", message };
        self.look_at_images().await.map_err(failed)?;
        for id in self.memory.outdated(&self.config.images, clock::now()) {
            self.remove_image(&id, Reason::Age).await;
        }
        let (root, images) = (self.node.root.clone(), self.node.images_dir());
        let observed = blocking(move || observations(&root, &images)).await;
        let Some(disk) = observed.get(&Signal::ImageFsAvailable).copied().filter(|disk| disk.capacity > 0) else {
            return Err(Trouble { reason: "InvalidDiskCapacity", message: "invalid capacity 0 on image filesystem".to_owned() });
        };
        let wanted = self.config.images.bytes_to_free(disk);
        if wanted == 0 {
            return Ok(());
        }
        let freed = self.remove_spare(wanted).await;
        if freed >= wanted {
            return Ok(());
        }
        // The text is the reference's.
        let message = format!(
            "Failed to garbage collect required amount of images. Attempted to free {wanted} bytes, but only found {freed} bytes eligible \
             to free."
        );
        Err(Trouble { reason: "FreeDiskSpaceFailed", message })
    }

    async fn look_at_images(&mut self) -> Result<(), String> {
        let images = self.runtime.list_images().await.map_err(|error| error_chain(&error))?;
        let present = |image: StoredImage| Present { is_used: image.is_used || image.is_pinned, id: image.id };
        let present: Vec<_> = images.into_iter().map(present).collect();
        self.memory.observe(&present, clock::now());
        Ok(())
    }

    /// Removes images until so many bytes are free, as far as there are any; returns how many bytes were freed.
    async fn remove_spare(&self, wanted: u64) -> u64 {
        let mut freed = 0_u64;
        for id in self.memory.spare(&self.config.images, clock::now()) {
            if freed >= wanted {
                break;
            }
            freed = freed.saturating_add(self.remove_image(&id, Reason::Space).await);
        }
        freed
    }

    async fn remove_image(&self, id: &str, reason: Reason) -> u64 {
        match self.runtime.remove_image(id).await {
            Ok(bytes) => {
                tracing::info!(image = id, bytes, reason = reason.word(), "an image that no container uses is removed");
                if let Some(metrics) = &self.metrics {
                    metrics.images.with_label_values(&[reason.word()]).inc();
                }
                bytes
            }
            // A container may have begun to use it, or someone else has removed it.
            Err(error) => {
                tracing::debug!(image = id, error = error_chain(&error), "an image stays");
                0
            }
        }
    }
}

/// Whether images are on the file system of the pods: then the one's space is the other's.
fn same_file_system(node: &NodeConfig) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let device = |path: &std::path::Path| std::fs::metadata(path).map(|metadata| metadata.dev()).ok();
    match device(&node.images_dir()) {
        Some(images) => device(&node.root) == Some(images),
        None => true,
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
}
