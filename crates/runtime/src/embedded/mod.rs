//! The runtime that needs no daemon: a shim process for each pod, which outlives the engine.
//!
//! ```text
//!  EmbeddedRuntime ── Pods ── Pod ── Link ══ socket ══ shim ── containers
//!                      │       │       └ Story: events in the order of causes
//!                      │       └ PodFolder: records, from which a later engine finds all this again
//!                      ├ sandbox, containers, exec, streams: what a call of the seam takes
//!                      └ spec: OCI configurations;  check: whether the machine can do all this
//! ```
//!
//! Every call is carried out to its end even if its future is dropped, works on one pod only, and waits for bounded times; a slow
//! pod holds up no other. What may block runs on the blocking threads.
//!
//! Not here: decisions about a pod, and whatever the caller keeps in a pod's folder.

mod app_armor;
mod check;
mod config;
mod containers;
mod convert;
mod errors;
mod events;
mod exec;
mod forward;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod images;
mod input;
mod link;
mod listing;
mod machine;
mod output_log;
mod pod_folder;
mod pods;
mod resize;
mod sandbox;
mod signal;
mod spec;
mod stats;
mod story;
mod streams;

use std::sync::Arc;
use std::time::Duration;

use shim::protocol::ContainerId;
use tokio::net::TcpStream;
use tokio::sync::{OnceCell, mpsc};

use self::app_armor::DefaultProfile;
pub use self::app_armor::{has_app_armor, has_default_app_armor_profile};
pub use self::check::{Finding, Severity, check, has_controller};
pub use self::config::{EmbeddedConfig, EmbeddedConfigError, OpenRuntimeError};
use self::errors::{ReachError, StepError};
pub use self::listing::PodRecord;
use self::pod_folder::PodFolder;
use self::pods::{Pod, Pods};
use self::spec::Machine;
use crate::images::{ImageStore, StoreError};
use crate::network::PodNetwork;
use crate::streams::{AttachRequest, ContainerStreams, StreamingExecRequest};
use crate::{
    Cause, ContainerConfig, ContainerRecord, CreateContainerError, EventsError, ExecError, ExecRequest, ExecResult, ImageStatus,
    ImageStatusError, LinuxResources, Moment, PodSandbox, PodSandboxConfig, PodStats, PodStatsError, PortForwardError, PullImageError,
    PullProgress, RegistryCredential, RemoveStoredImageError, RunPodSandboxError, Runtime, RuntimeEvent, SignalContainerError,
    StartContainerError, StopPodSandboxError, StoredImage, UpdateResourcesError,
};

/// The runtime. Any number of them, in any number of processes, may work on the same folder, as long as each pod has one engine.
#[derive(Clone, Debug)]
pub struct EmbeddedRuntime {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    config: EmbeddedConfig,
    network: PodNetwork,
    images: OnceCell<ImageStore>,
    machine: Machine,
    app_armor: DefaultProfile,
    pods: Pods,
}

impl EmbeddedRuntime {
    /// Checks the settings. Nothing is made on the machine until the first call that needs it.
    ///
    /// # Errors
    /// When the settings cannot work, or `/proc` cannot be read.
    pub fn new(config: EmbeddedConfig) -> Result<Self, OpenRuntimeError> {
        config.validate()?;
        let network = PodNetwork::new(config.network.clone())?;
        let machine = machine::read_machine()?;
        Ok(Self {
            inner: Arc::new(Inner {
                config,
                network,
                images: OnceCell::new(),
                machine,
                app_armor: DefaultProfile::default(),
                pods: Pods::default(),
            }),
        })
    }

    /// The settings.
    pub fn config(&self) -> &EmbeddedConfig {
        &self.inner.config
    }

    /// The image store, opened at the first call.
    ///
    /// # Errors
    /// When it cannot be opened or made.
    pub async fn image_store(&self) -> Result<&ImageStore, StoreError> {
        self.inner.image_store().await
    }

    /// All pods that have a sandbox, or had one, ordered by namespace, name and uid. A folder without a record of a sandbox is
    /// none.
    ///
    /// # Errors
    /// When the folder of pods cannot be listed. A pod whose records cannot be read is passed over.
    pub async fn pods(&self) -> Result<Vec<PodRecord>, std::io::Error> {
        listing::pods(&self.inner).await
    }

    fn pod(&self, uid: &str) -> Result<Arc<Pod>, ReachError> {
        Ok(self.inner.pods.get(PodFolder::new(&self.inner.config.root, uid)?))
    }

    fn container(&self, uid: &str, container_id: &str) -> Result<(Arc<Pod>, ContainerId), StepError> {
        Ok((self.pod(uid)?, container_id.parse().map_err(StepError::part("use the id"))?))
    }
}

impl Inner {
    async fn image_store(&self) -> Result<&ImageStore, StoreError> {
        self.images.get_or_try_init(|| ImageStore::open(self.config.images.clone())).await
    }
}

/// Runs blocking work where it holds up nobody.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
}

/// Carries work out to its end, whether or not the caller waits for it.
async fn carried_out<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> T {
    match tokio::spawn(work).await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The engine ends, and this with it.
            Err(_) => std::future::pending().await,
        },
    }
}

fn signal_error(what: &'static str, object: &str) -> impl FnOnce(StepError) -> SignalContainerError {
    let object = object.to_owned();
    move |source| SignalContainerError { what, object, source: source.into() }
}

impl Runtime for EmbeddedRuntime {
    async fn run_pod_sandbox(&self, config: &PodSandboxConfig) -> Result<PodSandbox, RunPodSandboxError> {
        let pod = self.pod(&config.uid).map_err(|error| RunPodSandboxError::Shim { pod: config.uid.clone(), source: error.into() })?;
        let (inner, config) = (Arc::clone(&self.inner), config.clone());
        carried_out(async move { sandbox::run(&inner, &pod, config).await }).await
    }

    async fn stop_pod_sandbox(&self, pod_uid: &str) -> Result<(), StopPodSandboxError> {
        let pod = self.pod(pod_uid).map_err(|error| invalid_uid("stop", pod_uid, error))?;
        let inner = Arc::clone(&self.inner);
        carried_out(async move { sandbox::stop(&inner, &pod).await }).await
    }

    async fn remove_pod_sandbox(&self, pod_uid: &str) -> Result<(), StopPodSandboxError> {
        let pod = self.pod(pod_uid).map_err(|error| invalid_uid("remove", pod_uid, error))?;
        let inner = Arc::clone(&self.inner);
        carried_out(async move { sandbox::remove(&inner, &pod).await }).await
    }

    async fn image_status(&self, image: &str) -> Result<Option<ImageStatus>, ImageStatusError> {
        images::status(&self.inner, image).await
    }

    async fn list_images(&self) -> Result<Vec<StoredImage>, ImageStatusError> {
        images::list(&self.inner).await
    }

    async fn remove_image(&self, id: &str) -> Result<u64, RemoveStoredImageError> {
        images::remove(&self.inner, id).await
    }

    async fn pull_image(
        &self,
        image: &str,
        credentials: &[RegistryCredential],
        progress: mpsc::UnboundedSender<PullProgress>,
    ) -> Result<ImageStatus, PullImageError> {
        images::pull(&self.inner, image, credentials, progress).await
    }

    async fn create_container(&self, config: &ContainerConfig) -> Result<String, CreateContainerError> {
        let pod = self.pod(&config.pod_uid).map_err(|error| CreateContainerError::Runtime { message: errors::chain(&error) })?;
        let (inner, config) = (Arc::clone(&self.inner), config.clone());
        carried_out(async move { containers::create(&inner, &pod, config).await }).await
    }

    async fn start_container(&self, pod_uid: &str, container_id: &str) -> Result<Moment, StartContainerError> {
        let found = self.container(pod_uid, container_id);
        let (pod, id) = found.map_err(|error| StartContainerError { message: errors::chain(&error) })?;
        containers::start(&self.inner, &pod, &id).await
    }

    async fn stop_container(&self, pod_uid: &str, container_id: &str, kill_after: Duration) -> Result<(), SignalContainerError> {
        let stopped = async {
            let (pod, id) = self.container(pod_uid, container_id)?;
            containers::stop(&self.inner, &pod, &id, kill_after).await
        };
        stopped.await.map_err(signal_error("stop container", container_id))
    }

    async fn kill_container(&self, pod_uid: &str, container_id: &str) -> Result<(), SignalContainerError> {
        let killed = async {
            let (pod, id) = self.container(pod_uid, container_id)?;
            containers::kill(&self.inner, &pod, &id).await
        };
        killed.await.map_err(signal_error("kill container", container_id))
    }

    async fn update_container_resources(
        &self,
        pod_uid: &str,
        container_id: &str,
        resources: &LinuxResources,
    ) -> Result<(), UpdateResourcesError> {
        let found = self.container(pod_uid, container_id);
        let (pod, id) = found.map_err(|error| resize::failed(container_id, error.into()))?;
        resize::update(&pod, Some(&id), resources).await
    }

    async fn update_pod_resources(&self, pod_uid: &str, resources: &LinuxResources) -> Result<(), UpdateResourcesError> {
        let pod = self.pod(pod_uid).map_err(|error| resize::failed(pod_uid, error.into()))?;
        resize::update(&pod, None, resources).await
    }

    async fn remove_container(&self, pod_uid: &str, container_id: &str) -> Result<(), SignalContainerError> {
        let removed = async {
            let (pod, id) = self.container(pod_uid, container_id)?;
            let inner = Arc::clone(&self.inner);
            carried_out(async move { containers::remove(&inner, &pod, &id).await }).await
        };
        removed.await.map_err(signal_error("remove container", container_id))
    }

    async fn exec(&self, request: &ExecRequest) -> Result<ExecResult, ExecError> {
        let pod = self.pod(&request.pod_uid).map_err(|error| ExecError::NotStarted { message: errors::chain(&error) })?;
        exec::run(&self.inner, &pod, request.clone()).await
    }

    async fn exec_streams(&self, request: &StreamingExecRequest) -> Result<ContainerStreams, ExecError> {
        let pod = self.pod(&request.pod_uid).map_err(|error| ExecError::NotStarted { message: errors::chain(&error) })?;
        let (inner, request) = (Arc::clone(&self.inner), request.clone());
        carried_out(async move { streams::exec(&inner, &pod, request).await }).await
    }

    async fn attach(&self, request: &AttachRequest) -> Result<ContainerStreams, ExecError> {
        let not_running = |_| ExecError::NotRunning { container: request.container_id.clone() };
        let pod = self.pod(&request.pod_uid).map_err(not_running)?;
        let (inner, request) = (Arc::clone(&self.inner), request.clone());
        carried_out(async move { streams::attach(&inner, &pod, request).await }).await
    }

    async fn port_forward(&self, pod_uid: &str, port: u16) -> Result<TcpStream, PortForwardError> {
        let pod = self.pod(pod_uid).map_err(|error| PortForwardError::Sandbox { pod: pod_uid.to_owned(), source: error.into() })?;
        forward::connect(&pod, port).await
    }

    async fn kill_exec(&self, pod_uid: &str, exec_id: &str) -> Result<(), SignalContainerError> {
        let killed = async {
            let pod = self.pod(pod_uid)?;
            exec::kill(&self.inner, &pod, exec_id).await
        };
        killed.await.map_err(signal_error("kill exec", exec_id))
    }

    async fn events(&self, pod_uid: &str) -> Result<mpsc::UnboundedReceiver<RuntimeEvent>, EventsError> {
        let events = async {
            let pod = self.pod(pod_uid)?;
            events::of(&self.inner, &pod).await
        };
        events.await.map_err(|source: StepError| EventsError { pod: pod_uid.to_owned(), source: source.into() })
    }

    async fn list_containers(&self, pod_uid: &str) -> Result<Vec<ContainerRecord>, EventsError> {
        let listed = async {
            let pod = self.pod(pod_uid)?;
            containers::list(&self.inner, &pod).await
        };
        listed.await.map_err(|source: StepError| EventsError { pod: pod_uid.to_owned(), source: source.into() })
    }

    async fn pod_stats(&self, pod_uid: &str) -> Result<PodStats, PodStatsError> {
        let counted = async {
            let pod = self.pod(pod_uid)?;
            stats::of(&self.inner, &pod).await
        };
        counted.await.map_err(|source: StepError| PodStatsError { pod: pod_uid.to_owned(), source: source.into() })
    }
}

fn invalid_uid(what: &'static str, uid: &str, source: ReachError) -> StopPodSandboxError {
    StopPodSandboxError { what, pod: uid.to_owned(), source: Cause::from(source) }
}
