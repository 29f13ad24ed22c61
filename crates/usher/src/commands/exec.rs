//! `usher exec`: a command in a container of a pod on this machine, whoever drives it, with input and a terminal if wanted.

use std::process::ExitCode;

use anyhow::Context as _;
use chronicle::SessionVerb;
use node::Pod;
use runtime::{EmbeddedRuntime, Runtime as _, StreamingExecRequest, WantedStreams};

use crate::cli::{Exec, Global};
use crate::commands::pods::{self, FoundPod};
use crate::commands::session_told::{Beginning, Told};
use crate::commands::{node_config, runtime, session};

/// kubectl's word for the container that is meant where none is named.
const DEFAULT_CONTAINER: &str = "kubectl.kubernetes.io/default-container";

pub(crate) async fn exec(global: &Global, exec: Exec) -> anyhow::Result<ExitCode> {
    let runtime = runtime(global)?;
    let pod = pods::the_one(&node_config(global), &exec.pod)?;
    let container = container_of(&pod, exec.container.as_deref())?;
    let container_id = running(&runtime, &pod, &container).await?;
    let has_terminal = exec.tty && session::stdin_is_terminal();
    if exec.tty && !has_terminal {
        tracing::warn!("no terminal is made (-t): the input is not one");
    }
    let exec_id = session::exec_id();
    let beginning = Beginning {
        container,
        container_id: container_id.clone(),
        verb: SessionVerb::Exec,
        command: exec.command.clone(),
        tty: has_terminal,
        by: None,
    };
    let told = Told::begin(pod.folder.clone(), &exec_id, beginning).await;
    let request = StreamingExecRequest {
        pod_uid: pod.uid.clone(),
        container_id,
        exec_id,
        command: exec.command,
        streams: WantedStreams { stdin: exec.stdin, stdout: true, stderr: !has_terminal, tty: has_terminal },
        size: session::size(),
    };
    let carried = match runtime.exec_streams(&request).await {
        Ok(streams) => session::carry(streams).await,
        Err(error) => Err(error.into()),
    };
    told.end(carried.as_ref().ok().and_then(|end| end.code)).await;
    Ok(carried?.exit_code())
}

/// The container that is meant: where none is named, the one that the pod's annotation names, or the first.
pub(crate) fn container_of(pod: &FoundPod, wanted: Option<&str>) -> anyhow::Result<String> {
    match wanted {
        Some(name) => Ok(name.to_owned()),
        None => {
            pod.pod.as_ref().and_then(default_container).with_context(|| format!("name a container of pod {} with -c", pod.full_name()))
        }
    }
}

/// The running instance of a container.
pub(crate) async fn running(runtime: &EmbeddedRuntime, pod: &FoundPod, container: &str) -> anyhow::Result<String> {
    let records = runtime.list_containers(&pod.uid).await?;
    let is_meant = |record: &&runtime::ContainerRecord| record.name == container && record.started_at.is_some() && record.exit.is_none();
    let newest = records.iter().filter(is_meant).max_by_key(|record| record.attempt);
    newest.map(|record| record.id.clone()).with_context(|| format!("container {container} of pod {} is not running", pod.full_name()))
}

/// The container that the pod's annotation names, or the first.
pub(crate) fn default_container(pod: &Pod) -> Option<String> {
    let annotated = pod.metadata.annotations.as_ref().and_then(|annotations| annotations.get(DEFAULT_CONTAINER)).cloned();
    annotated.or_else(|| Some(pod.spec.as_ref()?.containers.first()?.name.clone()))
}
