//! A life for a page that draws it by itself: the lanes laid out over a width of 1, the answers, the grace accounts, the hooks and
//! the Events, as plain data.
//!
//! Everything that a container or a server said is a string and nothing more. Who may not see what hooks printed is given the view of
//! [`Life::without_output`].

use lifecycle::{EventKind, GraceAccount, Role, Timestamp};
use serde::Serialize;

use super::html::{share_class, share_word};
use super::scale::Scale;
use super::terminal::tick_text;
use crate::lanes::{Lanes, Look, MarkKind, Row, lanes};
use crate::life::{ContainerLife, HookRun, Life};
use crate::text::{span_text, time_of_day};
use crate::why::{Answer, Present, handler_text, hook_end_text, why};

/// Version of the form of a view.
const VIEW_VERSION: u32 = 1;

/// The newest of each that are shown: what people scroll through, and what a page holds without trouble.
const EVENTS_MAX: usize = 200;
const HOOKS_MAX: usize = 100;
const ACCOUNTS_MAX: usize = 50;
const SPANS_MAX: usize = 400;

/// Part of the width between two labels of the axis.
const TICK_APART: f64 = 0.13;

/// A life for a page.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct View {
    version: u32,
    namespace: String,
    name: String,
    uid: String,
    phase: String,
    reason: String,
    /// When the life began, in milliseconds since 1970.
    began_millis: u64,
    /// How long it lasted, or has lasted so far.
    lived: String,
    is_over: bool,
    is_driven: bool,
    /// The beginning of the journal is gone.
    is_cut: bool,
    containers: Vec<Container>,
    ticks: Vec<Tick>,
    folds: Vec<Fold>,
    lanes: Vec<Lane>,
    answers: Vec<Words>,
    accounts: Vec<Account>,
    hooks: Vec<Hook>,
    events: Vec<Told>,
    warnings: Vec<String>,
    /// What is to be known of the journal.
    notices: Vec<String>,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Container {
    name: String,
    kind: &'static str,
    is_ready: bool,
    restarts: u32,
    has_run: bool,
}

#[derive(Clone, Debug, Serialize)]
struct Tick {
    x: f64,
    text: String,
}

/// A stretch that is not to scale.
#[derive(Clone, Debug, Serialize)]
struct Fold {
    from: f64,
    to: f64,
    text: String,
}

#[derive(Clone, Debug, Serialize)]
struct Lane {
    name: String,
    kind: &'static str,
    rows: Vec<Line>,
}

#[derive(Clone, Debug, Serialize)]
struct Line {
    label: String,
    note: String,
    spans: Vec<Stretch>,
    marks: Vec<Point>,
}

#[derive(Clone, Debug, Serialize)]
struct Stretch {
    look: Look,
    word: &'static str,
    from: f64,
    to: f64,
    lasted: String,
    text: String,
}

#[derive(Clone, Debug, Serialize)]
struct Point {
    kind: MarkKind,
    word: &'static str,
    x: f64,
    at: String,
    text: String,
}

#[derive(Clone, Debug, Serialize)]
struct Words {
    whom: String,
    text: String,
    evidence: Vec<Moment>,
}

#[derive(Clone, Debug, Serialize)]
struct Moment {
    after: String,
    at: String,
    text: String,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Account {
    container: String,
    grace_secs: u64,
    sentence: String,
    shares: Vec<Share>,
}

#[derive(Clone, Debug, Serialize)]
struct Share {
    kind: &'static str,
    word: &'static str,
    part: f64,
    text: String,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Hook {
    container: String,
    restarts: u32,
    hook: String,
    handler: String,
    after: String,
    end: String,
    is_good: bool,
    is_running: bool,
    took: String,
    output: Vec<Printed>,
    is_cut: bool,
}

#[derive(Clone, Debug, Serialize)]
struct Printed {
    stream: String,
    line: String,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Told {
    after: String,
    at: String,
    about: String,
    is_warning: bool,
    reason: String,
    message: String,
}

/// The view of a life.
pub fn view(life: &Life, present: Present) -> View {
    let drawn = lanes(life, present.now);
    let scale = Scale::new(&drawn, 1.0);
    let viewer = Viewer { life, now: present.now };
    View {
        version: VIEW_VERSION,
        namespace: life.namespace.clone(),
        name: life.name.clone(),
        uid: life.uid.clone(),
        phase: life.phase().map_or_else(String::new, |phase| format!("{:?}", phase.phase)),
        reason: life.phase().map_or_else(String::new, |phase| phase.reason.clone()),
        began_millis: life.began.wall_nanos / 1_000_000,
        lived: span_text(drawn.to.since(drawn.from)),
        is_over: life.is_over(),
        is_driven: present.is_driven,
        is_cut: life.is_cut,
        containers: life.containers.iter().map(container).collect(),
        ticks: ticks(&scale, &drawn),
        folds: folds(&scale),
        lanes: drawn.lanes.iter().map(|lane| viewer.lane(lane, &scale)).collect(),
        answers: why(life, None, present).iter().map(|answer| viewer.words(answer)).collect(),
        accounts: newest(&life.accounts, ACCOUNTS_MAX).iter().filter(|account| account.exit.is_some()).map(account).collect(),
        hooks: viewer.hooks(),
        events: newest(&life.events, EVENTS_MAX).iter().map(|(at, event)| viewer.told(*at, event)).collect(),
        warnings: life.warnings.iter().map(|(_, text)| text.clone()).collect(),
        notices: life.notices(),
    }
}

fn newest<T>(all: &[T], most: usize) -> &[T] {
    &all[all.len().saturating_sub(most)..]
}

fn container(container: &ContainerLife) -> Container {
    let kind = match container.role {
        Role::Regular => "container",
        Role::Init => "init",
        Role::Sidecar => "sidecar",
        Role::Ephemeral => "ephemeral",
    };
    let restarts = container.newest().map_or(0, |instance| instance.restart_count);
    let has_run = container.instances.iter().any(|instance| instance.started_at.is_some());
    Container { name: container.name.clone(), kind, is_ready: container.is_ready, restarts, has_run }
}

fn ticks(scale: &Scale, lanes: &Lanes) -> Vec<Tick> {
    let ticks = scale.ticks(lanes.from, TICK_APART).into_iter();
    ticks.map(|at| Tick { x: scale.place(at), text: tick_text(at.since(lanes.from)) }).collect()
}

fn folds(scale: &Scale) -> Vec<Fold> {
    let folded = scale.pieces().iter().filter(|piece| piece.is_folded);
    folded.map(|piece| Fold { from: piece.left, to: piece.right, text: span_text(piece.length()) }).collect()
}

fn account(account: &GraceAccount) -> Account {
    let shares = account.shares();
    let whole = shares.last().map_or(0.0, |share| share.to.as_secs_f64()).max(f64::EPSILON);
    let shares = shares.iter().map(|share| Share {
        kind: share_class(share.user),
        word: share_word(share.user),
        part: share.length().as_secs_f64() / whole,
        text: span_text(share.length()),
    });
    Account { container: account.container.clone(), grace_secs: account.grace_secs, sentence: account.sentence(), shares: shares.collect() }
}

struct Viewer<'a> {
    life: &'a Life,
    now: Timestamp,
}

impl Viewer<'_> {
    fn lane(&self, lane: &crate::lanes::Lane, scale: &Scale) -> Lane {
        Lane { name: lane.name.clone(), kind: lane.kind, rows: lane.rows.iter().map(|row| self.line(row, scale)).collect() }
    }

    fn line(&self, row: &Row, scale: &Scale) -> Line {
        let spans = newest(&row.spans, SPANS_MAX).iter().map(|span| Stretch {
            look: span.look,
            word: span.look.word(),
            from: scale.place(span.from),
            to: scale.place(span.to),
            lasted: span_text(span.to.since(span.from)),
            text: span.text.clone(),
        });
        let marks = newest(&row.marks, SPANS_MAX).iter().map(|mark| Point {
            kind: mark.kind,
            word: mark.kind.word(),
            x: scale.place(mark.at),
            at: self.at(mark.at),
            text: mark.text.clone(),
        });
        Line { label: row.label.clone(), note: row.note.clone(), spans: spans.collect(), marks: marks.collect() }
    }

    fn words(&self, answer: &Answer) -> Words {
        let evidence = answer.evidence.iter().map(|evidence| Moment {
            after: self.after(evidence.at),
            at: self.at(evidence.at),
            text: evidence.text.clone(),
        });
        Words { whom: answer.whom.clone(), text: answer.text.clone(), evidence: evidence.collect() }
    }

    /// The newest runs, in the order in which they were asked for.
    fn hooks(&self) -> Vec<Hook> {
        let instances = self.life.containers.iter().flat_map(|one| one.instances.iter().map(move |instance| (one, instance)));
        let mut runs: Vec<_> =
            instances.flat_map(|(one, instance)| instance.hooks.iter().map(move |run| (&one.name, instance.restart_count, run))).collect();
        runs.sort_by_key(|(_, _, run)| run.asked_at);
        newest(&runs, HOOKS_MAX).iter().map(|(name, restarts, run)| self.hook(name, *restarts, run)).collect()
    }

    fn hook(&self, container: &str, restarts: u32, run: &HookRun) -> Hook {
        let output = run.output.iter().map(|line| Printed { stream: line.stream.clone(), line: line.line.clone() });
        Hook {
            container: container.to_owned(),
            restarts,
            hook: run.hook.to_string(),
            handler: handler_text(&run.handler),
            after: self.after(run.asked_at),
            end: hook_end_text(run),
            is_good: run.end.is_none() || run.has_succeeded(),
            is_running: run.end.is_none(),
            took: span_text(run.took(self.now)),
            output: output.collect(),
            is_cut: run.output_cut,
        }
    }

    fn told(&self, at: Timestamp, event: &lifecycle::EventRecord) -> Told {
        Told {
            after: self.after(at),
            at: self.at(at),
            about: event.about.as_ref().map_or("pod", |path| path.container()).to_owned(),
            is_warning: event.kind == EventKind::Warning,
            reason: event.reason.clone(),
            message: event.message.clone(),
        }
    }

    /// Time since the life began.
    fn after(&self, at: Timestamp) -> String {
        let age = self.life.age(at);
        format!("{}.{:03} s", age.as_secs(), age.subsec_millis())
    }

    fn at(&self, at: Timestamp) -> String {
        time_of_day(self.life.wall_nanos(at))
    }
}
