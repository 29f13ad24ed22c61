//! What the journals of this machine's pods say about their runs: how long hooks, drains and starts took.
//!
//! Only an adapter: it reads records, and adds up nothing but the longest of several runs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use api::lint::{Measured, MeasuredContainer};
use lifecycle::{Action, ActionId, ContainerState, Entry as AccountEntry, Event, GraceAccount, Hook, PodStatus, Timestamp, Verdict};
use node::journal::{Entry, Record, read};

use crate::cli::Global;
use crate::commands::node_config;

/// The newest journals that are read; older runs say little about a manifest of today.
const JOURNALS_MAX: usize = 50;

/// What the newest runs of one pod, or of all pods, have shown.
pub(super) fn measured(global: &Global, pod: Option<&str>) -> anyhow::Result<Vec<Measured>> {
    let folder = node_config(global).journal_dir();
    let mut runs: BTreeMap<String, Measured> = BTreeMap::new();
    for (name, path) in journals(&folder, pod)? {
        let entries = read(&path)?.entries;
        let run = runs.entry(name.clone()).or_insert_with(|| Measured { pod: name, containers: BTreeMap::new() });
        take(&entries, run);
    }
    match pod {
        Some(pod) if runs.is_empty() => anyhow::bail!("no journal of a pod called {pod:?} in {}", folder.display()),
        Some(_) | None => Ok(runs.into_values().collect()),
    }
}

/// The newest journals, each with the name of its pod.
fn journals(folder: &Path, pod: Option<&str>) -> anyhow::Result<Vec<(String, PathBuf)>> {
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.with_context(|| format!("cannot list {}", folder.display()))?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.with_context(|| format!("cannot list {}", folder.display()))?.path();
        let name = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_suffix(".jsonl"));
        let mut parts = name.unwrap_or_default().splitn(3, '_');
        let (Some(namespace), Some(name), Some(uid)) = (parts.next(), parts.next(), parts.next()) else { continue };
        let is_called = |wanted: &str| wanted == name || wanted == uid || wanted.split_once('/') == Some((namespace, name));
        if pod.is_none_or(is_called) {
            let changed = std::fs::metadata(&path).and_then(|metadata| metadata.modified()).ok();
            found.push((changed, name.to_owned(), path));
        }
    }
    found.sort_by(|a, b| b.cmp(a));
    Ok(found.into_iter().take(JOURNALS_MAX).map(|(_, name, path)| (name, path)).collect())
}

/// Adds one run.
fn take(entries: &[Entry], run: &mut Measured) {
    let mut started: BTreeMap<ActionId, (String, Timestamp)> = BTreeMap::new();
    let mut log = Vec::new();
    for entry in entries {
        let at = entry.at.timestamp();
        match &entry.record {
            Record::Action(step) => {
                if let Action::RunHook { container, hook: Hook::PostStart, .. } = &step.action {
                    started.insert(step.id, (container.clone(), at));
                }
                log.push((at, AccountEntry::Step(step)));
            }
            Record::Event(event) => {
                if let Event::HookFinished { id, .. } = event
                    && let Some((container, began)) = started.remove(id)
                {
                    raise(&mut of(run, &container).post_start_seconds, seconds(began, at));
                }
                log.push((at, AccountEntry::Event(event)));
            }
            Record::Status(status) => starts(status, at, run),
            Record::Kill(kill) => log.push((at, AccountEntry::Kill(&kill.kill))),
            Record::Opened { .. }
            | Record::Spec(_)
            | Record::Runtime(_)
            | Record::Warning { .. }
            | Record::Pull(_)
            | Record::Volumes(_)
            | Record::Hook(_)
            | Record::Probes(_)
            | Record::OutputCut(_)
            | Record::Full => {}
        }
    }
    for account in GraceAccount::read(log) {
        stop(&account, run);
    }
}

/// When containers were seen to be ready for the first time.
fn starts(status: &PodStatus, at: Timestamp, run: &mut Measured) {
    for container in status.init_container_statuses.iter().chain(&status.container_statuses) {
        if let (true, ContainerState::Running { started_at }) = (container.ready, &container.state) {
            let measured = of(run, &container.name);
            // Later statuses of the same instance say the same for longer.
            if measured.ready_seconds.is_none() {
                measured.ready_seconds = Some(seconds(*started_at, at));
            }
        }
    }
}

/// Hook and drain of one stop.
fn stop(account: &GraceAccount, run: &mut Measured) {
    let measured = of(run, &account.container);
    if let Some(hook) = &account.pre_stop
        && let Some(ended_at) = hook.ended_at
    {
        raise(&mut measured.pre_stop_seconds, seconds(hook.began_at, ended_at));
    }
    if let (Some(signalled_at), Some(exited_at)) = (account.signalled_at, account.exited_at()) {
        raise(&mut measured.drain_seconds, seconds(signalled_at, exited_at));
    }
    measured.killed |= account.verdict() == Verdict::Killed;
}

fn of<'a>(run: &'a mut Measured, container: &str) -> &'a mut MeasuredContainer {
    run.containers.entry(container.to_owned()).or_default()
}

fn raise(longest: &mut Option<f64>, seconds: f64) {
    *longest = Some(longest.map_or(seconds, |known| known.max(seconds)));
}

fn seconds(from: Timestamp, to: Timestamp) -> f64 {
    to.since(from).as_secs_f64()
}
