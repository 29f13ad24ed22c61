//! What the journals of this machine's pods say about their runs: how long hooks, drains and starts took.
//!
//! Only an adapter: it reads records, and adds up nothing but the longest of several runs.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use api::lint::{Measured, MeasuredContainer};
use chronicle::{Disposition, Happening};
use lifecycle::{
    Action, ActionId, ContainerId, ContainerState, Entry as AccountEntry, Event, GraceAccount, Hook, PodStatus, Timestamp, Verdict,
};
use node::journal::{Entry, Record, read};

use crate::cli::Global;
use crate::commands::journals::Names;
use crate::commands::node_config;

/// The newest journals that are read; older runs say little about a manifest of today.
const JOURNALS_MAX: usize = 50;

/// What the newest runs of one pod, or of all pods, have shown.
pub(super) fn measured(global: &Global, pod: Option<&str>) -> anyhow::Result<Vec<Measured>> {
    let folder = node_config(global).journal_dir();
    let mut runs: BTreeMap<(String, String), Measured> = BTreeMap::new();
    for (names, path) in journals(&folder, pod)? {
        let entries = read(&path)?.entries;
        let Names { namespace, pod, .. } = names;
        let run = runs.entry((namespace.clone(), pod.clone()));
        take(&entries, run.or_insert_with(|| Measured { namespace, pod, containers: BTreeMap::new() }));
    }
    match pod {
        Some(pod) if runs.is_empty() => anyhow::bail!("no journal of a pod called {pod:?} in {}", folder.display()),
        Some(_) | None => Ok(runs.into_values().collect()),
    }
}

/// The newest journals, each with the names of its pod.
fn journals(folder: &Path, pod: Option<&str>) -> anyhow::Result<Vec<(Names, PathBuf)>> {
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.with_context(|| format!("cannot list {}", folder.display()))?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.with_context(|| format!("cannot list {}", folder.display()))?.path();
        let Some(names) = Names::of(&path) else { continue };
        if pod.is_none_or(|wanted| names.is_called(wanted)) {
            let changed = std::fs::metadata(&path).and_then(|metadata| metadata.modified()).ok();
            found.push((changed, names, path));
        }
    }
    found.sort_by(|(one, _, path), (other, _, other_path)| (other, other_path).cmp(&(one, path)));
    Ok(found.into_iter().take(JOURNALS_MAX).map(|(_, names, path)| (names, path)).collect())
}

/// Adds one run.
fn take(entries: &[Entry], run: &mut Measured) {
    let mut started: BTreeMap<ActionId, (String, Timestamp)> = BTreeMap::new();
    let (mut stopped, mut ready) = (BTreeMap::new(), BTreeSet::new());
    let mut log = Vec::new();
    for entry in entries {
        let at = entry.at.timestamp();
        match &entry.record {
            Record::Action(step) => {
                if let Action::RunHook { container, hook: Hook::PostStart, .. } = &step.action {
                    started.insert(step.id, (container.clone(), at));
                }
                if let Action::StopContainer { container, container_id, .. } = &step.action {
                    stopped.insert(container_id.0.clone(), container.clone());
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
            Record::Status(status) => starts(status, at, &mut ready, run),
            Record::Runtime(Happening::SignalSent { container_id, why, handling: Some(handling), .. }) if why == "stop" => {
                let comes_to_nothing = matches!(handling.disposition, Disposition::Dropped | Disposition::Ignored);
                if let Some(container) = stopped.get(container_id).filter(|_| comes_to_nothing) {
                    of(run, container).swallowed_by = Some(handling.process.clone());
                }
            }
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
            | Record::Session(_)
            | Record::Full => {}
        }
    }
    for account in GraceAccount::read(log) {
        stop(&account, run);
    }
}

/// When instances of containers were seen to be ready for the first time; `ready` are those that were.
fn starts(status: &PodStatus, at: Timestamp, ready: &mut BTreeSet<ContainerId>, run: &mut Measured) {
    for container in status.init_container_statuses.iter().chain(&status.container_statuses) {
        if let (true, ContainerState::Running { started_at }) = (container.ready, &container.state) {
            // Later statuses of the same instance say the same for longer.
            if container.container_id.as_ref().is_some_and(|id| ready.insert(id.clone())) {
                raise(&mut of(run, &container.name).ready_seconds, seconds(*started_at, at));
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
    // A process that does nothing about its signal does not drain.
    let is_swallowed = measured.swallowed_by.is_some();
    if let (Some(signalled_at), Some(exited_at), false) = (account.signalled_at, account.exited_at(), is_swallowed) {
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
