//! `usher ps`: the pods on this machine, also those whose engine is gone.

use std::io::Write as _;
use std::process::ExitCode;

use lifecycle::{ContainerState, PodStatus};
use node::control::EngineLock;
use node::static_pods::uid_on_node;
use node::{Pod, PodState};
use serde::Serialize;

use crate::cli::{Global, Output, Ps};
use crate::commands::daemon::Daemon;
use crate::commands::node_config;
use crate::commands::pods::{self, FoundPod};
use crate::commands::serve::BAD_MANIFESTS_FILE;

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    namespace: String,
    name: String,
    ready: String,
    status: String,
    restarts: u32,
    age_secs: u64,
    ip: String,
    /// Whether an engine drives it right now.
    driven: bool,
    /// Nothing of it is on the machine.
    #[serde(skip)]
    is_over: bool,
    uid: String,
}

/// The pods on the machine, and those that only the API of its daemon has: ended, refused, or not begun yet.
fn rows(global: &Global) -> anyhow::Result<Vec<Row>> {
    let node = node_config(global);
    let mut rows: Vec<_> = pods::all(&node)?.iter().map(|pod| row(&node, pod)).collect();
    let known = Daemon::running(global)?.map(|daemon| daemon.pods()).transpose()?.unwrap_or_default();
    let is_other = |pod: &&Pod| !rows.iter().any(|row| row.uid == uid_on_node(pod));
    let others = known.iter().filter(is_other).map(row_of_daemon).collect::<Vec<_>>();
    rows.extend(others);
    rows.sort_by(|a, b| (&a.namespace, &a.name, &a.uid).cmp(&(&b.namespace, &b.name, &b.uid)));
    Ok(rows)
}

#[expect(clippy::unused_async, reason = "every command is awaited alike")]
pub(crate) async fn ps(global: &Global, ps: &Ps) -> anyhow::Result<ExitCode> {
    let mut out = std::io::stdout().lock();
    if ps.output == Output::Json {
        writeln!(out, "{}", serde_json::to_string_pretty(&rows(global)?)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    // Told by `usher serve` of its manifest folder.
    let bad_manifests = std::fs::read_to_string(global.root().join(BAD_MANIFESTS_FILE)).unwrap_or_default();
    let rows = rows(global)?;
    if rows.is_empty() {
        write!(
            out,
            "no pods
{bad_manifests}"
        )?;
        return Ok(ExitCode::SUCCESS);
    }
    let heading = ["NAMESPACE", "NAME", "READY", "STATUS", "RESTARTS", "AGE", "IP", "ENGINE"].map(str::to_owned);
    let mut table = vec![heading];
    for row in rows {
        let engine = match (row.driven, row.is_over) {
            (true, _) => "yes",
            (false, false) => "gone",
            (false, true) => "-",
        };
        let age = lifecycle::go_duration(std::time::Duration::from_secs(row.age_secs));
        table.push([row.namespace, row.name, row.ready, row.status, row.restarts.to_string(), age, row.ip, engine.to_owned()]);
    }
    let mut widths = [0; 8];
    for row in &table {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    for row in &table {
        let cells: Vec<String> = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        writeln!(out, "{}", cells.join("   ").trim_end())?;
    }
    write!(out, "{bad_manifests}")?;
    Ok(ExitCode::SUCCESS)
}

fn row(node: &node::NodeConfig, pod: &FoundPod) -> Row {
    let status = PodState::load(&node.state_path(&pod.uid)).ok().map(|state| (state.worker.is_terminating(), state.worker.status()));
    let driven = EngineLock::is_held(&pod.folder);
    let (ready, text, restarts, ip, age_secs) = match &status {
        Some((terminating, status)) => {
            let ready = status.container_statuses.iter().filter(|container| container.ready).count();
            let restarts = status.container_statuses.iter().map(|container| container.restart_count).sum();
            let age = node::clock::now().since(status.start_time).as_secs();
            let ip = status.pod_ips.first().cloned().unwrap_or_default();
            (format!("{ready}/{}", status.container_statuses.len()), status_text(*terminating, status), restarts, ip, age)
        }
        None => ("?".to_owned(), "Unknown".to_owned(), 0, String::new(), 0),
    };
    Row {
        namespace: pod.namespace.clone(),
        name: pod.name.clone(),
        ready,
        status: text,
        restarts,
        age_secs,
        ip,
        driven,
        is_over: false,
        uid: pod.uid.clone(),
    }
}

/// A pod of which the machine has nothing.
fn row_of_daemon(pod: &Pod) -> Row {
    let status = pod.status.clone().unwrap_or_default();
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let containers = status.container_statuses.unwrap_or_default();
    let all = pod.spec.as_ref().map_or(0, |spec| spec.containers.len());
    let created = pod.metadata.creation_timestamp.as_ref().and_then(|time| u64::try_from(time.0.as_second()).ok());
    let now = node::clock::moment().wall_nanos / 1_000_000_000;
    let age_secs = created.map_or(0, |created| now.saturating_sub(created));
    Row {
        namespace: text(&pod.metadata.namespace),
        name: text(&pod.metadata.name),
        ready: format!("{}/{all}", containers.iter().filter(|container| container.ready).count()),
        status: if status.reason.is_some() { text(&status.reason) } else { text(&status.phase) },
        restarts: containers.iter().map(|container| u32::try_from(container.restart_count).unwrap_or_default()).sum(),
        age_secs,
        ip: text(&status.pod_ip),
        driven: false,
        is_over: true,
        uid: text(&pod.metadata.uid),
    }
}

/// As `kubectl get pods` sums it up.
fn status_text(terminating: bool, status: &PodStatus) -> String {
    if terminating && !status.phase.is_terminal() {
        return "Terminating".to_owned();
    }
    for container in &status.container_statuses {
        match &container.state {
            ContainerState::Waiting { reason, .. } if !reason.is_empty() => return reason.clone(),
            ContainerState::Terminated(ended) if !status.phase.is_terminal() => return ended.exit.reason.clone(),
            ContainerState::Waiting { .. } | ContainerState::Terminated(_) | ContainerState::Running { .. } => {}
        }
    }
    if status.reason.is_empty() { format!("{:?}", status.phase) } else { status.reason.clone() }
}
