//! `usher attach`: the output of a container from now on, and its input if it takes any, whoever drives its pod.

use std::process::ExitCode;

use anyhow::Context as _;
use chronicle::SessionVerb;
use runtime::{AttachRequest, Runtime as _, WantedStreams};

use crate::cli::{Attach, Global};
use crate::commands::session::InputOf;
use crate::commands::session_told::{Beginning, Told};
use crate::commands::{exec, node_config, pods, runtime, session};

pub(crate) async fn attach(global: &Global, attach: Attach) -> anyhow::Result<ExitCode> {
    let runtime = runtime(global)?;
    let pod = pods::the_one(&node_config(global), &attach.pod)?;
    let container = exec::container_of(&pod, attach.container.as_deref())?;
    let container_id = exec::running(&runtime, &pod, &container).await?;
    let manifest = pod.pod.as_ref().with_context(|| format!("the manifest of pod {} cannot be read", pod.full_name()))?;
    let input = InputOf::container(manifest, &container);
    anyhow::ensure!(
        !attach.stdin || input.stdin,
        "container {container} of pod {} takes no input: its manifest does not say `stdin: true`",
        pod.full_name()
    );
    let streams = WantedStreams { stdin: attach.stdin, stdout: true, stderr: !input.tty, tty: input.tty };
    let beginning = Beginning {
        container,
        container_id: container_id.clone(),
        verb: SessionVerb::Attach,
        command: Vec::new(),
        tty: streams.tty && streams.stdin,
        by: None,
    };
    let told = Told::begin(pod.folder.clone(), &session::exec_id(), beginning).await;
    let request = AttachRequest { pod_uid: pod.uid.clone(), container_id, streams, stdin_once: input.stdin_once };
    let carried = match runtime.attach(&request).await {
        Ok(mut streams) => {
            // Who only looks does not change the size for those who type.
            streams.terminal = streams.terminal.filter(|_| attach.stdin);
            session::carry(streams).await
        }
        Err(error) => Err(error.into()),
    };
    told.end(carried.as_ref().ok().and_then(|end| end.code)).await;
    Ok(carried?.exit_code())
}
