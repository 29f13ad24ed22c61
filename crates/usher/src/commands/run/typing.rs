//! What is typed at `usher run -i` reaches a container, and with `-t` its terminal is this one.
//!
//! One session with the first instance of one container, as `kubectl run -i` has it. On a terminal the story waits until it is over:
//! both cannot write to it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context as _;
use lifecycle::ContainerState;
use node::Pod;
use node::journal::{Live, Record};
use runtime::{AttachRequest, EmbeddedRuntime, Runtime as _, WantedStreams};
use tokio::sync::oneshot;

use crate::cli::Run;
use crate::commands::exec::default_container;
use crate::commands::session::{self, InputOf};

/// The container that takes what is typed.
#[derive(Debug)]
pub(super) struct Typing {
    pod_uid: String,
    container: String,
    input: InputOf,
    is_on_terminal: Arc<AtomicBool>,
    running: oneshot::Receiver<String>,
}

/// What the story has to know of it.
#[derive(Debug)]
pub(super) struct Stage {
    container: String,
    wants_terminal: bool,
    /// The container writes to this terminal.
    is_on_terminal: Arc<AtomicBool>,
    running: Option<oneshot::Sender<String>>,
}

/// Chooses the container and has its manifest say that it takes input.
pub(super) fn prepare(run: &Run, pods: &mut [Pod]) -> anyhow::Result<Option<(Typing, Stage)>> {
    if !run.stdin {
        return Ok(None);
    }
    anyhow::ensure!(
        !run.files.iter().any(|file| file.as_os_str() == "-"),
        "standard input holds a manifest, so it cannot be passed on: leave -i out"
    );
    let [pod] = pods else { anyhow::bail!("what is typed goes to one pod, and {} were given: leave -i out", pods.len()) };
    let container = default_container(pod).context("the pod has no container to type into")?;
    let tty = run.tty && session::stdin_is_terminal();
    if run.tty && !tty {
        tracing::warn!("no terminal is made (-t): the input is not one");
    }
    let spec = pod.spec.as_mut().context("the pod has no spec")?;
    let found = spec.containers.iter_mut().find(|known| known.name == container);
    let found = found.with_context(|| format!("the pod has no container {container:?} to type into"))?;
    if found.stdin != Some(true) {
        (found.stdin, found.stdin_once) = (Some(true), Some(true));
    }
    if tty {
        found.tty = Some(true);
    }
    let input = InputOf::container(pod, &container);
    let is_on_terminal = Arc::new(AtomicBool::new(false));
    let (told, running) = oneshot::channel();
    let stage =
        Stage { container: container.clone(), wants_terminal: tty, is_on_terminal: Arc::clone(&is_on_terminal), running: Some(told) };
    let pod_uid = pod.metadata.uid.clone().unwrap_or_default();
    Ok(Some((Typing { pod_uid, container, input, is_on_terminal, running }, stage)))
}

impl Typing {
    /// Passes everything on from when the container runs until it has ended.
    pub(super) async fn carry(self, runtime: Arc<EmbeddedRuntime>) {
        let Ok(container_id) = self.running.await else { return };
        let is_on_terminal = self.is_on_terminal.load(Ordering::Relaxed);
        // Without a terminal, what the container prints is part of the story.
        let streams = WantedStreams { stdin: true, stdout: is_on_terminal, stderr: false, tty: self.input.tty };
        let request = AttachRequest { pod_uid: self.pod_uid, container_id, streams, stdin_once: self.input.stdin_once };
        let ended = match runtime.attach(&request).await {
            Ok(mut streams) => {
                streams.terminal = streams.terminal.filter(|_| is_on_terminal);
                session::carry(streams).await.map(drop)
            }
            Err(error) => Err(error.into()),
        };
        self.is_on_terminal.store(false, Ordering::Relaxed);
        if let Err(error) = ended {
            tracing::warn!(error = %format!("{error:#}"), container = %self.container, "what is typed does not reach the container");
        }
    }
}

impl Stage {
    /// Takes notice of what happens; whether it may be told.
    pub(super) fn look(&mut self, live: &Live) -> bool {
        if let Live::Entry(entry) = live
            && let Record::Status(status) = &entry.record
        {
            let own = status.container_statuses.iter().find(|status| status.name == self.container);
            let running = own.filter(|own| matches!(own.state, ContainerState::Running { .. })).and_then(|own| own.container_id.as_ref());
            if let Some(id) = running
                && let Some(told) = self.running.take()
            {
                self.is_on_terminal.store(self.wants_terminal, Ordering::Relaxed);
                let _ = told.send(id.to_string());
                return true;
            }
        }
        // What the terminal has shown is not told once more when its lines come from the log.
        let is_shown = matches!(live, Live::Output { container, .. } if *container == self.container);
        !(self.is_on_terminal.load(Ordering::Relaxed) || is_shown && self.wants_terminal && self.running.is_none())
    }
}
