//! What the engine does for the API: logs, sessions with containers, connections to pods.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use chronicle::SessionVerb;
use futures_util::future::BoxFuture;
use node::{NodeConfig, Pod};
use runtime::{
    AttachRequest, ContainerStats, ContainerStreams, EmbeddedRuntime, PodStats, Runtime as _, StreamingExecRequest, StreamsEnd, Terminal,
    TerminalSize, WantedStreams,
};
use server::backend::{
    Backend, BackendError, Connection, ContainerUsage, ExecOptions, Exit, LogOptions, PodRef, Reader, Session, Streams, Usage, Used,
};
use server::client::NodeClient;
use tokio::sync::mpsc;

use super::log;
use crate::commands::session::{self, InputOf};
use crate::commands::session_told::{Beginning, Told};

/// The engine.
pub(super) struct Engine {
    pub(super) runtime: Arc<EmbeddedRuntime>,
    pub(super) node: NodeConfig,
    /// Set before anyone can ask.
    pub(super) client: Arc<OnceLock<NodeClient>>,
}

impl Engine {
    fn pod(&self, pod: &PodRef) -> Result<Pod, BackendError> {
        let client = self.client.get().ok_or_else(|| BackendError::Failed("the engine is not ready yet".to_owned()))?;
        let found = client.pod(&pod.namespace, &pod.name).map_err(|error| BackendError::NotFound(error.message))?;
        if node::static_pods::uid_on_node(&found) != pod.uid {
            return Err(BackendError::NotFound(format!("pods \"{}\" not found", pod.name)));
        }
        Ok(found)
    }

    /// Tells the journal that a session begins.
    async fn begin(&self, pod: &PodRef, container_id: &str, id: &str, (verb, options): (SessionVerb, &ExecOptions)) -> Told {
        let beginning = Beginning {
            container: options.container.clone(),
            container_id: container_id.to_owned(),
            verb,
            command: options.command.clone(),
            tty: options.streams.tty,
            by: Some(options.user.clone()),
        };
        Told::begin(self.node.pod_dir(&pod.uid), id, beginning).await
    }

    /// The id of the running instance of a container.
    fn running(&self, pod: &PodRef, container: &str) -> Result<String, BackendError> {
        let status = self.pod(pod)?.status.unwrap_or_default();
        let all = [status.container_statuses, status.init_container_statuses, status.ephemeral_container_statuses];
        let found = all.into_iter().flatten().flatten().find(|status| status.name == container);
        let running = found.filter(|status| status.state.as_ref().is_some_and(|state| state.running.is_some()));
        let id = running.and_then(|status| status.container_id).and_then(|id| id.split_once("://").map(|(_, id)| id.to_owned()));
        id.ok_or_else(|| BackendError::Invalid(format!("container {container} is not running in pod {}", pod.name)))
    }
}

impl Backend for Engine {
    fn logs(&self, pod: PodRef, options: LogOptions) -> BoxFuture<'_, Result<Reader, BackendError>> {
        Box::pin(async move {
            let client = self.client.get().cloned().ok_or_else(|| BackendError::Failed("the engine is not ready yet".to_owned()))?;
            log::read(&self.node.log_root, pod, options, client)
        })
    }

    fn exec(&self, pod: PodRef, options: ExecOptions) -> BoxFuture<'_, Result<Session, BackendError>> {
        Box::pin(async move {
            let container_id = self.running(&pod, &options.container)?;
            let exec_id = session::exec_id();
            let told = self.begin(&pod, &container_id, &exec_id, (SessionVerb::Exec, &options)).await;
            let request = StreamingExecRequest {
                pod_uid: pod.uid,
                container_id,
                exec_id,
                command: options.command,
                streams: wanted(options.streams),
                // The client tells it as the first thing.
                size: None,
            };
            let streams = self.runtime.exec_streams(&request).await;
            Ok(carried(streams.map_err(|error| BackendError::Failed(node::error_chain(&error)))?, told))
        })
    }

    fn attach(&self, pod: PodRef, options: ExecOptions) -> BoxFuture<'_, Result<Session, BackendError>> {
        Box::pin(async move {
            let container_id = self.running(&pod, &options.container)?;
            let input = InputOf::container(&self.pod(&pod)?, &options.container);
            // Whether there is a terminal and input was decided when the container was made.
            let asked = wanted(options.streams);
            let streams = WantedStreams { stdin: asked.stdin && input.stdin, tty: input.tty, ..asked };
            let options = ExecOptions { streams: Streams { tty: streams.tty && streams.stdin, ..options.streams }, ..options };
            let told = self.begin(&pod, &container_id, &session::exec_id(), (SessionVerb::Attach, &options)).await;
            let request = AttachRequest { pod_uid: pod.uid, container_id, streams, stdin_once: input.stdin_once };
            let streams = self.runtime.attach(&request).await;
            Ok(carried(streams.map_err(|error| BackendError::Failed(node::error_chain(&error)))?, told))
        })
    }

    fn port_forward(&self, pod: PodRef, port: u16) -> BoxFuture<'_, Result<Connection, BackendError>> {
        Box::pin(async move {
            self.pod(&pod)?;
            let stream = self.runtime.port_forward(&pod.uid, port).await;
            let stream = stream.map_err(|error| BackendError::Failed(node::error_chain(&error)))?;
            let (reader, writer) = stream.into_split();
            Ok(Connection { reader: Box::new(reader), writer: Box::new(writer) })
        })
    }

    fn usage(&self, uids: Vec<String>) -> BoxFuture<'_, Result<Usage, BackendError>> {
        Box::pin(async move {
            let machine = node::machine_use().ok_or_else(|| BackendError::Failed("/proc does not tell what is used".to_owned()))?;
            let node = Used { cpu_nanos: machine.cpu_nanos, memory_bytes: machine.memory_working_set_bytes };
            let mut pods = BTreeMap::new();
            for uid in uids {
                let used = usage_of(&self.runtime, &uid).await;
                pods.insert(uid, used);
            }
            Ok(Usage { node, pods })
        })
    }
}

/// What one pod's containers have used; nothing, if it cannot be told.
async fn usage_of(runtime: &EmbeddedRuntime, uid: &str) -> Vec<ContainerUsage> {
    let stats = runtime.pod_stats(uid).await.unwrap_or_else(|error| {
        tracing::debug!(error = node::error_chain(&error), uid, "what a pod uses cannot be told");
        PodStats::default()
    });
    let of_container = |stats: ContainerStats| {
        let used = Used { cpu_nanos: stats.cpu_usage_nanos?, memory_bytes: stats.memory_working_set_bytes? };
        Some(ContainerUsage { name: stats.name, id: stats.id, used })
    };
    stats.containers.into_iter().filter_map(of_container).collect()
}

fn wanted(streams: Streams) -> WantedStreams {
    let Streams { stdin, stdout, stderr, tty } = streams;
    WantedStreams { stdin, stdout, stderr, tty }
}

fn carried(streams: ContainerStreams, told: Told) -> Session {
    let ContainerStreams { stdin, stdout, stderr, terminal, exit } = streams;
    let exit = async move {
        let ended = exit.await;
        told.end(if let Ok(StreamsEnd::Exited(code)) = ended { Some(code) } else { None }).await;
        match ended {
            Ok(StreamsEnd::Exited(code)) => Ok(Exit::Code(code)),
            Ok(StreamsEnd::ContainerEnded) => Ok(Exit::Over),
            Ok(StreamsEnd::Detached) => Ok(Exit::Detached),
            Err(error) => Err(BackendError::Failed(node::error_chain(&error))),
        }
    };
    Session { stdin, stdout, stderr, resize: terminal.map(resizer), exit: Box::pin(exit) }
}

/// Sizes that wait; they are applied at once.
const SIZES_MAX: usize = 16;

fn resizer(terminal: Terminal) -> mpsc::Sender<server::backend::TerminalSize> {
    let (resize, mut sizes) = mpsc::channel::<server::backend::TerminalSize>(SIZES_MAX);
    tokio::spawn(async move {
        while let Some(size) = sizes.recv().await {
            if let Err(error) = terminal.resize(TerminalSize { columns: size.width, rows: size.height }) {
                tracing::debug!(%error, "a terminal cannot be resized");
            }
        }
    });
    resize
}
