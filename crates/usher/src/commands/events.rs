//! `usher events`: what happened to pods, as Kubernetes tells it: from the daemon where it runs, from the journals otherwise.
//!
//! The daemon forgets an Event after an hour; a pod of which it knows none, or that it never had, is told from its journal.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use k8s_openapi::api::core::v1::Event;
use k8s_openapi::jiff::Timestamp;
use lifecycle::{Action, Step};
use node::events::EventRecorder;
use node::journal::{self, Record};
use node::{NodeConfig, Pod};
use serde_json::Value;

use crate::cli::{Global, Output};
use crate::commands::daemon::Daemon;
use crate::commands::{journals, node_config};
use crate::story::paint::harmless;

/// Time between two looks at a journal.
const LOOK_AGAIN: Duration = Duration::from_millis(250);
/// Widths below which a column does not go, so that what comes later stands below what came first.
const WIDTHS_LEAST: [usize; 4] = [9, 7, 10, 12];

/// What `usher events` takes.
#[derive(Debug, Args)]
pub(crate) struct Events {
    /// Pod by name, namespace/name or uid; all if not given
    #[arg(value_name = "POD")]
    pod: Option<String>,
    /// Go on with those that come
    #[arg(short, long)]
    watch: bool,
    /// How to print; JSON is one Event a line
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    output: Output,
}

pub(crate) async fn events(global: &Global, events: Events) -> anyhow::Result<ExitCode> {
    let node = node_config(global);
    if let Some(daemon) = Daemon::running(global)?
        && let Some(listing) = Listing::of_daemon(&daemon, events.pod.as_deref())?
    {
        let mut printer = Printer::new(events.output, &listing.events);
        printer.print_all(&listing.events)?;
        return if events.watch {
            watch_daemon(&daemon, &listing.revision, events.pod, printer).await
        } else {
            Ok(printer.end(&listing.events))
        };
    }
    let found = of_journals(&node, events.pod.as_deref())?;
    let mut printer = Printer::new(events.output, &found);
    printer.print_all(&found)?;
    if events.watch { watch_journals(&node, events.pod, found, printer).await } else { Ok(printer.end(&found)) }
}

/// What the daemon knows at one revision.
struct Listing {
    events: Vec<Event>,
    revision: String,
}

impl Listing {
    /// `None` if the daemon neither has the pod nor knows anything about it.
    fn of_daemon(daemon: &Daemon, pod: Option<&str>) -> anyhow::Result<Option<Self>> {
        let list = daemon.get("/api/v1/events")?;
        let revision = list["metadata"]["resourceVersion"].as_str().unwrap_or_default().to_owned();
        let all: Vec<Event> = serde_json::from_value(list["items"].clone()).context("the daemon's Events cannot be read")?;
        let mut events: Vec<_> = all.into_iter().filter(|event| is_wanted(event, pod)).collect();
        sort(&mut events);
        let is_known = match pod {
            None => true,
            Some(_) if !events.is_empty() => true,
            Some(pod) => {
                let pods = daemon.get("/api/v1/pods")?;
                pods["items"].as_array().into_iter().flatten().any(|item| {
                    let text = |field: &str| item["metadata"][field].as_str().unwrap_or_default();
                    is_called(pod, text("namespace"), text("name"), text("uid"))
                })
            }
        };
        Ok(is_known.then_some(Self { events, revision }))
    }
}

async fn watch_daemon(daemon: &Daemon, since: &str, pod: Option<String>, mut printer: Printer) -> anyhow::Result<ExitCode> {
    let lines = daemon.lines(&format!("/api/v1/events?watch=true&resourceVersion={since}"))?;
    // Its end is that of the daemon; an interrupt ends this process.
    tokio::task::spawn_blocking(move || {
        for line in lines {
            let change: Value = serde_json::from_str(&line.context("the daemon is gone")?).context("the daemon's answer cannot be read")?;
            match change["type"].as_str() {
                Some("ADDED" | "MODIFIED") => {
                    let event: Event = serde_json::from_value(change["object"].clone()).context("an Event cannot be read")?;
                    if is_wanted(&event, pod.as_deref()) {
                        printer.print_all(&[event])?;
                    }
                }
                Some("ERROR") => anyhow::bail!("{}", change["object"]["message"].as_str().unwrap_or("the daemon ends the watch")),
                Some(_) | None => {}
            }
        }
        anyhow::bail!("the daemon has ended")
    })
    .await?
}

/// Those of all journals that are meant.
fn of_journals(node: &NodeConfig, pod: Option<&str>) -> anyhow::Result<Vec<Event>> {
    let paths = match pod {
        Some(pod) => vec![journals::find(node, pod)?],
        None => journals::all(node)?,
    };
    let mut events = Vec::new();
    for path in paths {
        events.extend(of_journal(node, &path)?);
    }
    sort(&mut events);
    Ok(events)
}

fn of_journal(node: &NodeConfig, path: &Path) -> anyhow::Result<Vec<Event>> {
    let mut recorder = EventRecorder::new(&node.node_name);
    let mut pod = Pod::default();
    for entry in journal::read(path)?.entries {
        match entry.record {
            Record::Opened { name, namespace, uid, .. } => {
                let metadata = &mut pod.metadata;
                (metadata.name, metadata.namespace, metadata.uid) = (Some(name), Some(namespace), Some(uid));
            }
            Record::Action(Step { action: Action::RecordEvent(record), .. }) => drop(recorder.record(&pod, &record, entry.at.wall_nanos)),
            Record::Kill(_)
            | Record::Event(_)
            | Record::Action(_)
            | Record::Status(_)
            | Record::Runtime(_)
            | Record::Warning { .. }
            | Record::Spec(_)
            | Record::Pull(_)
            | Record::Volumes(_)
            | Record::Hook(_)
            | Record::Probes(_)
            | Record::OutputCut(_)
            | Record::Session(_)
            | Record::Full => {}
        }
    }
    Ok(recorder.list().cloned().collect())
}

/// Looks again and again, and tells what is new or was counted up.
async fn watch_journals(node: &NodeConfig, pod: Option<String>, told: Vec<Event>, mut printer: Printer) -> anyhow::Result<ExitCode> {
    let key = |event: &Event| (event.metadata.namespace.clone(), event.metadata.name.clone());
    let mut told: BTreeMap<_, _> = told.iter().map(|event| (key(event), event.count)).collect();
    loop {
        tokio::time::sleep(LOOK_AGAIN).await;
        for event in of_journals(node, pod.as_deref())? {
            if told.insert(key(&event), event.count) != Some(event.count) {
                printer.print_all(&[event])?;
            }
        }
    }
}

fn is_wanted(event: &Event, pod: Option<&str>) -> bool {
    let Some(pod) = pod else { return true };
    let about = &event.involved_object;
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    about.kind.as_deref() == Some("Pod") && is_called(pod, &text(&about.namespace), &text(&about.name), &text(&about.uid))
}

fn is_called(wanted: &str, namespace: &str, name: &str, uid: &str) -> bool {
    uid == wanted || name == wanted || wanted.split_once('/') == Some((namespace, name))
}

fn last_seen(event: &Event) -> Option<Timestamp> {
    let times = [event.last_timestamp.as_ref(), event.first_timestamp.as_ref(), event.metadata.creation_timestamp.as_ref()];
    times.into_iter().flatten().next().map(|time| time.0)
}

/// Seconds since 1970.
fn now_secs() -> i64 {
    i64::try_from(node::clock::moment().wall_nanos / 1_000_000_000).unwrap_or(i64::MAX)
}

fn sort(events: &mut [Event]) {
    // What happened in the same second is in the order of its names, which carry nanoseconds.
    events.sort_by_cached_key(|event| (last_seen(event), event.metadata.name.clone()));
}

/// Prints Events, one a line.
struct Printer {
    output: Output,
    widths: [usize; 4],
    is_begun: bool,
}

impl Printer {
    fn new(output: Output, events: &[Event]) -> Self {
        let now = now_secs();
        let mut widths = WIDTHS_LEAST;
        for event in events {
            for (width, cell) in widths.iter_mut().zip(&cells(event, now)) {
                *width = (*width).max(cell.chars().count());
            }
        }
        Self { output, widths, is_begun: false }
    }

    fn print_all(&mut self, events: &[Event]) -> anyhow::Result<()> {
        let mut out = std::io::stdout().lock();
        for event in events {
            match self.output {
                Output::Json => writeln!(out, "{}", serde_json::to_string(event)?)?,
                Output::Text => {
                    if !std::mem::replace(&mut self.is_begun, true) {
                        self.line(&mut out, ["LAST SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE"].map(str::to_owned))?;
                    }
                    self.line(&mut out, cells(event, now_secs()))?;
                }
            }
        }
        out.flush().context("cannot print")
    }

    fn line(&self, out: &mut impl Write, cells: [String; 5]) -> std::io::Result<()> {
        for (cell, width) in cells.iter().zip(self.widths) {
            write!(out, "{cell:<width$}   ")?;
        }
        writeln!(out, "{}", cells[4])
    }

    #[expect(clippy::print_stdout, reason = "that there is nothing is an answer")]
    fn end(&self, events: &[Event]) -> ExitCode {
        if events.is_empty() && self.output == Output::Text {
            println!("no events");
        }
        ExitCode::SUCCESS
    }
}

/// As `kubectl get events` has them.
fn cells(event: &Event, now_secs: i64) -> [String; 5] {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let age = |at: Option<Timestamp>| {
        let secs = at.map_or(0, |at| now_secs.saturating_sub(at.as_second()));
        lifecycle::go_duration(Duration::from_secs(u64::try_from(secs).unwrap_or_default()))
    };
    let first = event.first_timestamp.as_ref().map(|time| time.0);
    let seen = match event.count {
        Some(count @ 2..) => format!("{} (x{count} over {})", age(last_seen(event)), age(first)),
        Some(_) | None => age(last_seen(event)),
    };
    let about = &event.involved_object;
    let namespace = about.namespace.as_deref().filter(|namespace| *namespace != "default").map(|namespace| format!("{namespace}/"));
    let object = format!("{}/{}{}", text(&about.kind).to_lowercase(), namespace.unwrap_or_default(), text(&about.name));
    // Messages quote what containers and clients said.
    [seen, text(&event.type_), text(&event.reason), object, text(&event.message)].map(|cell| harmless(&cell))
}
