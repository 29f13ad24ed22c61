//! `usher why`: why a pod or a container is as it is, in sentences with their evidence.

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::ensure;
use chronicle::why::{moment_text, why as explain};
use chronicle::{Asked, Life};
use node::agent::preemption_text;
use node::static_pods::uid_on_node;
use node::{NodeConfig, clock, journal};

use crate::cli::{Global, Output, Why};
use crate::commands::daemon::Daemon;
use crate::commands::journals::NoJournal;
use crate::commands::pods::FoundPod;
use crate::commands::{journals, node_config};
use crate::story::paint::{Look, Paint, harmless};

pub(crate) fn why(global: &Global, why: &Why) -> anyhow::Result<ExitCode> {
    let found = journals::life(global, &why.pod);
    let is_past = match &found {
        Ok((life, _)) => life.is_over(),
        Err(error) => error.is::<NoJournal>(),
    };
    // What is remembered under this name may be of another pod, which is gone.
    if is_past && let Some(pod) = not_taken_up(global, &why.pod)? {
        return tell_not_taken_up(global, why, &pod);
    }
    let (life, present) = found?;
    if let Some(container) = &why.container {
        let names: Vec<_> = life.containers.iter().map(|one| one.name.as_str()).collect();
        ensure!(names.contains(&container.as_str()), "pod {} has no container {container:?}; it has {}", life.name, names.join(", "));
    }
    let answers = explain(&life, why.container.as_deref(), present);
    let mut out = std::io::stdout().lock();
    if why.output == Output::Json {
        journals::complain(&life.notices())?;
        writeln!(out, "{}", serde_json::to_string_pretty(&answers)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let paint = Paint::new(global.use_color());
    for (position, answer) in answers.iter().enumerate() {
        if position > 0 {
            writeln!(out)?;
        }
        writeln!(out, "{}", harmless(&answer.text))?;
        for evidence in &answer.evidence {
            let at = paint.put(Look::Dim, moment_text(&life, evidence.at));
            writeln!(out, "  {at}  {}", harmless(&evidence.text))?;
        }
    }
    if answers.is_empty() {
        writeln!(out, "there is nothing to explain: the container was never reached")?;
    }
    for (position, notice) in life.notices().iter().enumerate() {
        if position == 0 {
            writeln!(out)?;
        }
        writeln!(out, "{}", paint.put(Look::Warn, format!("note: {notice}")))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// A pod of this name that the daemon knows and of which nothing is kept: the node has not taken it up.
fn not_taken_up(global: &Global, wanted: &str) -> anyhow::Result<Option<FoundPod>> {
    let node = node_config(global);
    let Some(daemon) = Daemon::running(global)? else { return Ok(None) };
    let unknown = daemon.pods()?.into_iter().filter(|pod| journals::of_uid(&node, uid_on_node(pod)).is_none());
    Ok(unknown.map(|pod| FoundPod::of_daemon(&node, pod)).find(|pod| pod.is_called(wanted)))
}

fn tell_not_taken_up(global: &Global, why: &Why, pod: &FoundPod) -> anyhow::Result<ExitCode> {
    let text = waiting_text(&node_config(global), pod)?;
    let mut out = std::io::stdout().lock();
    if why.output == Output::Json {
        let answer = serde_json::json!([{ "question": "state", "whom": "pod", "text": text, "evidence": [] }]);
        writeln!(out, "{}", serde_json::to_string_pretty(&answer)?)?;
    } else {
        writeln!(out, "{}", harmless(&text))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn waiting_text(node: &NodeConfig, pod: &FoundPod) -> anyhow::Result<String> {
    let name = pod.full_name();
    let status = pod.pod.as_ref().and_then(|pod| pod.status.clone()).unwrap_or_default();
    let text = |text: Option<String>| text.filter(|text| !text.is_empty());
    if let Some(reason) = text(status.reason) {
        let message = text(status.message).map_or_else(String::new, |message| format!(" ({})", message.trim_end_matches('.')));
        return Ok(format!("Pod {name} has no journal: the node did not take it, with reason {reason}{message}."));
    }
    if node.journal.bytes_max == 0 {
        return Ok(format!("Pod {name} has no journal: none are kept on this machine (--journal-max-bytes 0)."));
    }
    let going = going_for(node, &name)?;
    if going.is_empty() {
        let phase = text(status.phase).unwrap_or_else(|| "Pending".to_owned());
        return Ok(format!("Pod {name} ({phase}) is not taken up by the node, and nothing is known of it yet."));
    }
    Ok(format!("Pod {name} is not taken up by the node yet: there is no room for it, and it waits for others to go: {}.", going.join("; ")))
}

/// The pods that have to go for a critical one and are still there, each with how far it is.
fn going_for(node: &NodeConfig, name: &str) -> anyhow::Result<Vec<String>> {
    let mut going = Vec::new();
    for path in journals::all(node)? {
        // A journal that cannot be read is of no pod that is known to go.
        let Some(life) = journal::read(&path).ok().and_then(|journal| Life::of(&journal)) else { continue };
        let is_meant = |asked: &Asked| asked.by.as_deref() == Some(preemption_text(name).as_str());
        let Some(asked) = life.asked.iter().find(|asked| is_meant(asked)).filter(|_| !life.is_over()) else { continue };
        let since = chronicle::span_text(clock::now().since(asked.at));
        going.push(format!("{}/{}, which was asked to go {since} ago", life.namespace, life.name));
    }
    going.sort();
    Ok(going)
}
