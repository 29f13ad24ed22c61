//! `usher journal`: the kept story of a pod, also of one that is gone; without a pod, a list of all that are kept.

use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;
use chronicle::{Life, span_text, wall_text};
use node::NodeConfig;
use node::journal::{Entry, Live, Record, read};
use serde::Serialize;

use crate::cli::{Global, JournalOf, Output};
use crate::commands::{journals, node_config};
use crate::story::Story;
use crate::story::paint::{Paint, harmless};

pub(crate) fn journal(global: &Global, journal: &JournalOf) -> anyhow::Result<ExitCode> {
    match &journal.pod {
        Some(pod) => one(global, pod, journal.output),
        None => list(global, journal.output),
    }
}

fn one(global: &Global, pod: &str, output: Output) -> anyhow::Result<ExitCode> {
    let path = journals::find(&node_config(global), pod)?;
    let journal = read(&path)?;
    let notices = journal.notices();
    let entries = journal.entries;
    let mut out = std::io::stdout().lock();
    match output {
        Output::Json => {
            journals::complain(&notices)?;
            for entry in &entries {
                writeln!(out, "{}", serde_json::to_string(entry)?)?;
            }
        }
        Output::Text => {
            let paint = Paint::new(global.use_color());
            for notice in notices {
                writeln!(out, "note: {notice}")?;
            }
            let names = names(&entries);
            let mut story = Story::new(paint, None, names.iter().map(String::as_str));
            for entry in entries {
                for line in story.tell(&Live::Entry(Box::new(entry))) {
                    writeln!(out, "{line}")?;
                }
            }
            for account in story.accounts() {
                writeln!(out)?;
                for line in crate::story::account::render(&account, paint) {
                    writeln!(out, "{line}")?;
                }
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

#[expect(clippy::wildcard_enum_match_arm, reason = "names stand in statuses only")]
fn names(entries: &[Entry]) -> Vec<String> {
    let statuses = entries.iter().filter_map(|entry| match &entry.record {
        Record::Status(status) => Some(status),
        _ => None,
    });
    let containers = statuses.flat_map(lifecycle::PodStatus::all_container_statuses);
    containers.map(|container| container.name.clone()).collect()
}

/// A journal in the list.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    namespace: String,
    name: String,
    uid: String,
    /// Nanoseconds since 1970.
    began_nanos: u64,
    /// The last entry, if nothing is left of the pod.
    ended_nanos: Option<u64>,
    /// The last entry.
    last_nanos: u64,
    /// `Succeeded`, `Failed`, `Running` …
    phase: String,
    reason: String,
    /// What asked for its end first: `Deleted`, `Evicted` …
    trigger: Option<String>,
    is_driven: bool,
    /// Of both files.
    bytes: u64,
}

fn list(global: &Global, output: Output) -> anyhow::Result<ExitCode> {
    let node = node_config(global);
    let mut rows = Vec::new();
    for path in journals::all(&node)? {
        match row(&node, &path) {
            Ok(row) => rows.push(row),
            // One that cannot be read does not hide the others.
            Err(error) => journals::complain(&[format!("{error:#}")])?,
        }
    }
    rows.sort_by_key(|row| (row.began_nanos, row.uid.clone()));
    let mut out = std::io::stdout().lock();
    if output == Output::Json {
        writeln!(out, "{}", serde_json::to_string_pretty(&rows)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    if rows.is_empty() {
        writeln!(out, "no journals in {}", node.journal_dir().display())?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = vec![["NAMESPACE", "NAME", "UID", "BEGAN", "LIVED", "END", "KIB"].map(str::to_owned)];
    table.extend(rows.iter().map(cells));
    let width = |column: usize| table.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let widths: Vec<usize> = (0..7).map(width).collect();
    for row in &table {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        writeln!(out, "{}", cells.join("   ").trim_end())?;
    }
    Ok(ExitCode::SUCCESS)
}

fn row(node: &NodeConfig, path: &Path) -> anyhow::Result<Row> {
    let life = Life::of(&read(path)?).with_context(|| format!("the journal {} has no heading", path.display()))?;
    let present = journals::present(node, &life);
    let phase = life.phase();
    let last_nanos = life.read_to.wall_nanos;
    Ok(Row {
        began_nanos: life.began.wall_nanos,
        ended_nanos: life.is_over().then_some(last_nanos),
        last_nanos,
        phase: phase.map_or_else(String::new, |phase| format!("{:?}", phase.phase)),
        reason: phase.map_or_else(String::new, |phase| phase.reason.clone()),
        trigger: life.terminations.first().map(|step| format!("{:?}", step.trigger)),
        is_driven: present.is_driven,
        bytes: journals::size(path),
        namespace: life.namespace,
        name: life.name,
        uid: life.uid,
    })
}

fn cells(row: &Row) -> [String; 7] {
    let lived = span_text(std::time::Duration::from_nanos(row.last_nanos.saturating_sub(row.began_nanos)));
    let why = [Some(&row.reason).filter(|reason| !reason.is_empty()), row.trigger.as_ref()];
    let why: Vec<&str> = why.into_iter().flatten().map(String::as_str).collect();
    let why = if why.is_empty() { String::new() } else { format!(" ({})", why.join(", ")) };
    let end = match (row.ended_nanos, row.is_driven) {
        (Some(_), _) => format!("{}{why}", row.phase),
        (None, true) => format!("lives: {}{why}", row.phase),
        (None, false) => format!("no engine: {}{why}", row.phase),
    };
    let text = |text: &str| harmless(text);
    let kib = row.bytes.div_ceil(1024).to_string();
    [text(&row.namespace), text(&row.name), text(&row.uid), wall_text(row.began_nanos), lived, text(&end), kib]
}
