//! `usher journal`: the kept story of a pod, also of one that is gone.

use std::io::Write as _;
use std::process::ExitCode;

use node::journal::{Entry, Live, Record, read};

use crate::cli::{Global, JournalOf, Output};
use crate::commands::{journals, node_config};
use crate::story::Story;
use crate::story::paint::Paint;

pub(crate) fn journal(global: &Global, journal: &JournalOf) -> anyhow::Result<ExitCode> {
    let path = journals::find(&node_config(global), &journal.pod)?;
    let entries = read(&path)?.entries;
    let mut out = std::io::stdout().lock();
    match journal.output {
        Output::Json => {
            for entry in &entries {
                writeln!(out, "{}", serde_json::to_string(entry)?)?;
            }
        }
        Output::Text => {
            let paint = Paint::new(global.use_color());
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
