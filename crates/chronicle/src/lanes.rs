//! A life as lanes of spans and marks: what every chart draws, whatever it draws with.
//!
//! One lane for the pod and one for each container; in a lane, a row for what it is, and rows below for hooks, probe gates and
//! the grace budget. Times are those of the journal; nothing is rounded here.

use lifecycle::{Exit, GraceAccount, Hook, HookOutcome, Phase, ProbeKind, Role, ShareUser, Timestamp};
use serde::Serialize;

use crate::blame::{Blame, blame};
use crate::life::{ContainerLife, HookRun, Instance, Life, SessionRun, Why};
use crate::text::{bytes_text, harmless, shortened, signal_name, span_text};
use crate::why::session_text;

/// Characters of a command or message that are shown.
const TEXT_SHOWN_MAX: usize = 160;

/// All lanes of a life.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Lanes {
    /// Where the chart begins.
    pub from: Timestamp,
    /// Where it ends: when the pod was gone, or how far is known.
    pub to: Timestamp,
    /// The pod first.
    pub lanes: Vec<Lane>,
}

/// The pod, or one container.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Lane {
    /// `pod`, or the container's name.
    pub name: String,
    /// What it is: `pod`, `init`, `sidecar` or `container`.
    pub kind: &'static str,
    /// Its rows, the main one first.
    pub rows: Vec<Row>,
}

/// One line of a chart.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    /// Empty for the main row.
    pub label: String,
    /// In the order in which they begin.
    pub spans: Vec<Span>,
    /// In the order in which they are.
    pub marks: Vec<Mark>,
    /// What is to be known of the row, in a few words.
    pub note: String,
}

/// A stretch of time in which something is so.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Span {
    /// What it is.
    pub look: Look,
    /// Where it begins.
    pub from: Timestamp,
    /// Where it ends, or how far it is known.
    pub to: Timestamp,
    /// In a few words.
    pub text: String,
}

/// What a [`Span`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Look {
    /// The sandbox and the volumes are being made.
    Sandbox,
    /// The pod is Pending.
    Pending,
    /// The pod is Running.
    PodRunning,
    /// The pod goes.
    Terminating,
    /// What the pod had is given back.
    CleanUp,
    /// No engine drives it.
    EngineAway,
    /// An image is pulled.
    Pulling,
    /// The container is being created and started.
    Creating,
    /// Its process lives, its postStart hook runs.
    Starting,
    /// It runs and is not Ready.
    Running,
    /// It is Ready.
    Ready,
    /// It is being stopped: before the stop signal.
    Stopping,
    /// It is being stopped: after the stop signal.
    Signalled,
    /// It is being killed.
    Killed,
    /// It waits for its next start.
    BackOff,
    /// A hook runs.
    Hook,
    /// A hook ran and failed, or was cut off.
    HookFailed,
    /// A probe holds the container back.
    GateClosed,
    /// A probe lets it pass.
    GateOpen,
    /// Grace that was used.
    GraceUsed,
    /// Grace that was left.
    GraceLeft,
    /// Time that was used beyond the grace.
    Overtime,
}

impl Look {
    /// Whether nothing is done while it lasts, so that a chart may fold it.
    pub const fn is_steady(self) -> bool {
        match self {
            Self::Pending | Self::PodRunning | Self::Running | Self::Ready | Self::BackOff | Self::GateClosed | Self::GateOpen => true,
            Self::EngineAway | Self::GraceLeft => true,
            Self::Sandbox | Self::Terminating | Self::CleanUp | Self::Pulling | Self::Creating | Self::Starting => false,
            Self::Stopping | Self::Signalled | Self::Killed | Self::Hook | Self::HookFailed | Self::GraceUsed | Self::Overtime => false,
        }
    }

    /// What a legend says.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Sandbox => "sandbox",
            Self::Pending => "Pending",
            Self::PodRunning => "Running",
            Self::Terminating => "terminating",
            Self::CleanUp => "clean-up",
            Self::EngineAway => "no engine",
            Self::Pulling => "pulling",
            Self::Creating => "creating",
            Self::Starting => "starting",
            Self::Running => "running, not Ready",
            Self::Ready => "Ready",
            Self::Stopping => "stopping",
            Self::Signalled => "after the stop signal",
            Self::Killed => "being killed",
            Self::BackOff => "waiting to restart",
            Self::Hook => "hook",
            Self::HookFailed => "hook failed",
            Self::GateClosed => "probe not passed",
            Self::GateOpen => "probe passed",
            Self::GraceUsed => "grace used",
            Self::GraceLeft => "grace left",
            Self::Overtime => "beyond the grace",
        }
    }
}

/// A moment at which something happened.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Mark {
    /// What.
    pub kind: MarkKind,
    /// When.
    pub at: Timestamp,
    /// In a few words.
    pub text: String,
}

/// What a [`Mark`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum MarkKind {
    /// Someone asked that the pod go.
    Asked,
    /// A stop signal.
    Signal,
    /// SIGKILL.
    Kill,
    /// The kernel killed for lack of memory.
    OutOfMemory,
    /// It ended well.
    EndedWell,
    /// It ended badly.
    EndedBadly,
    /// A step failed.
    Failed,
    /// A probe began to succeed, or the pod became Ready.
    Passed,
    /// A probe began to fail.
    Unhealthy,
    /// Somebody ran a command, or joined the streams.
    Session,
}

impl MarkKind {
    /// What a legend says.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Asked => "asked to go",
            Self::Signal => "stop signal",
            Self::Kill => "SIGKILL",
            Self::OutOfMemory => "out of memory",
            Self::EndedWell => "ended well",
            Self::EndedBadly => "ended badly",
            Self::Failed => "failed",
            Self::Passed => "passed or Ready",
            Self::Unhealthy => "failed or not Ready",
            Self::Session => "session",
        }
    }
}

/// The lanes of a life; what still goes on is drawn up to `now`.
pub fn lanes(life: &Life, now: Timestamp) -> Lanes {
    let from = life.began.timestamp();
    let to = life.gone_at.unwrap_or_else(|| now.max(life.read_to.timestamp())).max(from);
    let drawer = Drawer { life, to };
    let mut lanes = vec![drawer.pod()];
    lanes.extend(life.containers.iter().map(|container| drawer.container(container)));
    Lanes { from, to, lanes }
}

struct Drawer<'a> {
    life: &'a Life,
    to: Timestamp,
}

impl Drawer<'_> {
    fn pod(&self) -> Lane {
        let life = self.life;
        let mut spans = Vec::new();
        let going_at = life.terminations.first().map(|step| step.at);
        let stop_at = life.sandboxes.last().and_then(|sandbox| sandbox.stop_asked_at);
        for (position, phase) in life.phases.iter().enumerate() {
            let next = life.phases.get(position + 1).map(|next| next.at);
            let end = [next, going_at].into_iter().flatten().min().unwrap_or(self.to);
            let look = if phase.phase == Phase::Pending { Look::Pending } else { Look::PodRunning };
            if !phase.phase.is_terminal() {
                push(&mut spans, look, phase.at, end, format!("{:?}", phase.phase));
            }
        }
        for sandbox in &life.sandboxes {
            let failed_at = sandbox.failed.as_ref().map(|failure| failure.at);
            let end = sandbox.ready_at.or(failed_at).unwrap_or(self.to);
            let text = match (&sandbox.failed, &sandbox.volumes) {
                (Some(failure), _) => format!("sandbox failed: {}", shown(&failure.message)),
                (None, Some(volumes)) if !volumes.names.is_empty() => {
                    format!("sandbox, with volumes {} in {}", volumes.names.join(", "), span_text(volumes.took))
                }
                (None, _) => "sandbox".to_owned(),
            };
            push(&mut spans, Look::Sandbox, sandbox.asked_at, end, text);
        }
        if let Some(going_at) = going_at {
            push(&mut spans, Look::Terminating, going_at, stop_at.or(life.gone_at).unwrap_or(self.to), "terminating".to_owned());
        }
        if let Some(stop_at) = stop_at {
            push(&mut spans, Look::CleanUp, stop_at, life.gone_at.unwrap_or(self.to), "clean-up".to_owned());
        }
        for engine in &life.engines {
            if let Some(away_since) = engine.away_since {
                push(&mut spans, Look::EngineAway, away_since, engine.at, "no engine".to_owned());
            }
        }
        let mut row = Row { label: String::new(), spans, marks: self.pod_marks(), note: self.pod_note() };
        row.order();
        Lane { name: "pod".to_owned(), kind: "pod", rows: vec![row] }
    }

    fn pod_marks(&self) -> Vec<Mark> {
        let life = self.life;
        let mut marks = Vec::new();
        for asked in &life.asked {
            let by = asked.by.as_ref().map_or_else(String::new, |by| format!(" by {by}"));
            marks.push(Mark { kind: MarkKind::Asked, at: asked.at, text: format!("{}{by}", crate::why::trigger_text(asked.kill.trigger)) });
        }
        for sandbox in &life.sandboxes {
            if let Some((at, message)) = &sandbox.lost {
                marks.push(Mark { kind: MarkKind::Failed, at: *at, text: format!("sandbox lost: {}", shown(message)) });
            }
            if let Some(failure) = &sandbox.failed {
                marks.push(Mark {
                    kind: MarkKind::Failed,
                    at: failure.at,
                    text: format!("{}: {}", failure.reason, shown(&failure.message)),
                });
            }
        }
        for (at, is_ready) in &life.ready {
            let (kind, text) = if *is_ready { (MarkKind::Passed, "Ready") } else { (MarkKind::Unhealthy, "not Ready") };
            if *is_ready || life.terminations.first().is_none_or(|step| step.at > *at) {
                marks.push(Mark { kind, at: *at, text: text.to_owned() });
            }
        }
        marks
    }

    fn pod_note(&self) -> String {
        let Some(phase) = self.life.phase() else { return String::new() };
        let going = self.life.terminations.last();
        match (going, phase.phase.is_terminal()) {
            (Some(step), false) => format!("{:?}, {}", phase.phase, crate::why::trigger_text(step.trigger)),
            _ if phase.reason.is_empty() => format!("{:?}", phase.phase),
            _ => format!("{:?}, {}", phase.phase, phase.reason),
        }
    }

    fn container(&self, container: &ContainerLife) -> Lane {
        let mut main = Row { label: String::new(), spans: Vec::new(), marks: Vec::new(), note: container_note(container) };
        for (position, instance) in container.instances.iter().enumerate() {
            let next = container.instances.get(position + 1).map(|next| next.asked_at);
            self.instance(instance, next, &mut main);
        }
        main.order();
        let mut rows = vec![main];
        rows.extend(self.hooks(container));
        for probe in [ProbeKind::Startup, ProbeKind::Liveness, ProbeKind::Readiness] {
            rows.extend(self.gate(container, probe));
        }
        rows.extend(self.grace(container));
        rows.extend(sessions(container));
        let kind = match container.role {
            Role::Init => "init",
            Role::Sidecar => "sidecar",
            Role::Regular => "container",
            Role::Ephemeral => "ephemeral",
        };
        Lane { name: container.name.clone(), kind, rows }
    }

    fn instance(&self, instance: &Instance, next: Option<Timestamp>, row: &mut Row) {
        let end = instance.ended_at().unwrap_or(self.to);
        for pull in &instance.pulls {
            push(&mut row.spans, Look::Pulling, pull.asked_at, pull.ended_at.unwrap_or(end.min(self.to)), pull_text(pull));
        }
        if let Some(asked_at) = instance.create_asked_at {
            let until = instance.started_at.or_else(|| instance.failures.last().map(|failure| failure.at)).unwrap_or(end);
            push(&mut row.spans, Look::Creating, asked_at, until, "creating and starting".to_owned());
        }
        if let Some(started_at) = instance.started_at {
            self.run(instance, started_at, end, &mut row.spans);
        }
        if let Some(back_off) = instance.back_off {
            let until = next.unwrap_or(back_off.until).min(self.to.max(back_off.at));
            let text = format!("waits {} to restart", span_text(back_off.pause));
            push(&mut row.spans, Look::BackOff, instance.ended_at().unwrap_or(back_off.at), until, text);
        }
        row.marks.extend(instance_marks(instance));
    }

    /// From the start of the process to its end.
    fn run(&self, instance: &Instance, started_at: Timestamp, end: Timestamp, spans: &mut Vec<Span>) {
        let stop_at = instance.stop.map(|(at, _)| at.max(started_at));
        let settled = stop_at.unwrap_or(end);
        let running_at = instance.running_at.unwrap_or(settled).min(settled);
        let has_hook = instance.hook(Hook::PostStart).is_some();
        let look = if has_hook { Look::Starting } else { Look::Creating };
        push(spans, look, started_at, running_at, if has_hook { "postStart runs".to_owned() } else { "starting".to_owned() });
        let mut from = running_at;
        let mut is_ready = false;
        for (at, ready) in &instance.ready {
            let at = (*at).clamp(from, settled);
            push(spans, ready_look(is_ready), from, at, ready_look(is_ready).word().to_owned());
            (from, is_ready) = (at, *ready);
        }
        push(spans, ready_look(is_ready), from, settled, ready_look(is_ready).word().to_owned());
        let Some(stop_at) = stop_at else { return };
        let signalled_at = instance.stop_signal().map_or(end, |signal| signal.at.clamp(stop_at, end.max(stop_at)));
        let killed_at = instance.kill_signal().map_or(end, |signal| signal.at.clamp(stop_at, end.max(stop_at)));
        push(spans, Look::Stopping, stop_at, signalled_at.min(killed_at), "stopping, before the stop signal".to_owned());
        push(spans, Look::Signalled, signalled_at, killed_at, "after the stop signal".to_owned());
        push(spans, Look::Killed, killed_at, end, "after SIGKILL".to_owned());
    }

    fn hooks(&self, container: &ContainerLife) -> Option<Row> {
        let runs: Vec<&HookRun> = container.instances.iter().flat_map(|instance| &instance.hooks).collect();
        let last = runs.last()?;
        let mut row = Row { label: "hooks".to_owned(), spans: Vec::new(), marks: Vec::new(), note: String::new() };
        for run in &runs {
            let end = run.end.as_ref().map_or(self.to, |end| end.at);
            let is_bad = run.end.as_ref().is_some_and(|end| is_bad(&end.outcome) || end.out_of_grace);
            let look = if is_bad { Look::HookFailed } else { Look::Hook };
            push(&mut row.spans, look, run.began_at.unwrap_or(run.asked_at), end, self.hook_text(run));
        }
        row.note = match runs.as_slice() {
            [first, second] if first.hook != second.hook => format!("{}; {}", self.hook_note(first), self.hook_note(second)),
            [_] => self.hook_note(last),
            all => format!("{} runs; {}", all.len(), self.hook_note(last)),
        };
        row.order();
        Some(row)
    }

    fn hook_note(&self, run: &HookRun) -> String {
        let took = span_text(run.took(self.to));
        format!(
            "{} {took} {}",
            run.hook,
            run.end.as_ref().map_or("…", |end| if is_bad(&end.outcome) || end.out_of_grace { "✘" } else { "✔" })
        )
    }

    fn hook_text(&self, run: &HookRun) -> String {
        let took = span_text(run.took(self.to));
        format!("{} ({}): {} after {took}", run.hook, shown(&crate::why::handler_text(&run.handler)), crate::why::hook_end_text(run))
    }

    fn gate(&self, container: &ContainerLife, probe: ProbeKind) -> Option<Row> {
        let is_configured = container.spec.as_ref().is_some_and(|spec| match probe {
            ProbeKind::Startup => spec.startup_probe.is_some(),
            ProbeKind::Liveness => spec.liveness_probe.is_some(),
            ProbeKind::Readiness => spec.readiness_probe.is_some(),
        });
        let has_changes = container.instances.iter().flat_map(|one| &one.probe_changes).any(|change| change.probe == probe);
        if !is_configured && !has_changes {
            return None;
        }
        let mut row = Row { label: probe.to_string().to_lowercase(), spans: Vec::new(), marks: Vec::new(), note: String::new() };
        for instance in &container.instances {
            let Some(begun_at) = instance.running_at else { continue };
            let end = instance.ended_at().unwrap_or(self.to);
            let (mut from, mut is_open) = (begun_at, false);
            for change in instance.probe_changes.iter().filter(|change| change.probe == probe) {
                push_gate(&mut row.spans, is_open, from, change.at);
                (from, is_open) = (change.at, change.success);
                let kind = if change.success { MarkKind::Passed } else { MarkKind::Unhealthy };
                let said = if change.output.is_empty() { String::new() } else { format!(": {}", shown(&change.output)) };
                let verb = if change.success { "succeeded" } else { "failed" };
                row.marks.push(Mark { kind, at: change.at, text: format!("{verb} {}{said}", crate::why::times(change.in_row)) });
            }
            push_gate(&mut row.spans, is_open, from, end);
        }
        let last = container.instances.iter().flat_map(|one| &one.probe_changes).rfind(|change| change.probe == probe);
        row.note = match last {
            Some(change) if change.success => {
                format!("passed after {}", span_text(change.at.since(self.begun_before(container, change.at))))
            }
            Some(change) => format!("failed {}", crate::why::times(change.in_row)),
            None => "not passed".to_owned(),
        };
        row.order();
        Some(row)
    }

    /// When the instance that lived at `at` was started.
    fn begun_before(&self, container: &ContainerLife, at: Timestamp) -> Timestamp {
        container.instances.iter().filter_map(|instance| instance.started_at).rfind(|started| *started <= at).unwrap_or(at)
    }

    fn grace(&self, container: &ContainerLife) -> Option<Row> {
        let accounts: Vec<&GraceAccount> = self.life.accounts.iter().filter(|account| account.container == container.name).collect();
        let last = accounts.last()?;
        let mut row = Row { label: format!("grace {} s", last.grace_secs), spans: Vec::new(), marks: Vec::new(), note: grace_note(last) };
        for account in &accounts {
            let budget_end = account.began_at + std::time::Duration::from_secs(account.grace_secs);
            let end = account.exited_at().unwrap_or(self.to);
            push(&mut row.spans, Look::GraceUsed, account.began_at, end.min(budget_end), "grace used".to_owned());
            push(&mut row.spans, Look::Overtime, budget_end, end, "beyond the grace".to_owned());
            // What is left was never lived: it ends with the chart, or with the next start.
            let next = container.instances.iter().map(|instance| instance.asked_at).find(|asked_at| *asked_at >= end);
            let left_end = budget_end.min(self.to).min(next.unwrap_or(self.to));
            push(&mut row.spans, Look::GraceLeft, end, left_end, "grace left".to_owned());
        }
        row.order();
        Some(row)
    }
}

/// What people did in a container, all its instances together.
fn sessions(container: &ContainerLife) -> Option<Row> {
    let all: Vec<&SessionRun> = container.instances.iter().flat_map(|instance| &instance.sessions).collect();
    let last = all.last()?;
    let marks = all.iter().map(|session| Mark { kind: MarkKind::Session, at: session.began_at, text: session_text(session) });
    let count: u64 = all.iter().map(|session| 1 + session.left_out).sum();
    let note = if count == 1 { session_text(last) } else { format!("{count} sessions, last {}", session_text(last)) };
    let mut row = Row { label: "sessions".to_owned(), spans: Vec::new(), marks: marks.collect(), note };
    row.order();
    Some(row)
}

impl Row {
    fn order(&mut self) {
        self.spans.sort_by_key(|span| (span.from, span.to));
        self.marks.sort_by_key(|mark| (mark.at, mark.kind));
    }
}

fn push(spans: &mut Vec<Span>, look: Look, from: Timestamp, to: Timestamp, text: String) {
    if to > from {
        spans.push(Span { look, from, to, text });
    }
}

fn push_gate(spans: &mut Vec<Span>, is_open: bool, from: Timestamp, to: Timestamp) {
    let look = if is_open { Look::GateOpen } else { Look::GateClosed };
    push(spans, look, from, to, look.word().to_owned());
}

const fn ready_look(is_ready: bool) -> Look {
    if is_ready { Look::Ready } else { Look::Running }
}

const fn is_bad(outcome: &HookOutcome) -> bool {
    match outcome {
        HookOutcome::Succeeded | HookOutcome::ContainerEnded { .. } | HookOutcome::Cancelled => false,
        HookOutcome::ExitedNonZero { .. }
        | HookOutcome::FailedToRun { .. }
        | HookOutcome::HttpFailed { .. }
        | HookOutcome::TimedOut { .. } => true,
    }
}

fn instance_marks(instance: &Instance) -> Vec<Mark> {
    let mut marks = Vec::new();
    for signal in &instance.signals {
        let name = signal.number.map_or_else(|| "stop signal".to_owned(), signal_name);
        let (kind, text) = match signal.why {
            Why::Stop => (MarkKind::Signal, name),
            Why::Deadline => (MarkKind::Kill, "SIGKILL: its time was over".to_owned()),
            Why::Kill => (MarkKind::Kill, "SIGKILL".to_owned()),
        };
        marks.push(Mark { kind, at: signal.at, text });
    }
    for (at, count, memory) in &instance.out_of_memory {
        let limit = memory.and_then(|memory| memory.limit_bytes).map_or_else(String::new, |limit| format!(", limit {}", bytes_text(limit)));
        marks.push(Mark { kind: MarkKind::OutOfMemory, at: *at, text: format!("out of memory ({count}{limit})") });
    }
    for failure in &instance.failures {
        marks.push(Mark { kind: MarkKind::Failed, at: failure.at, text: format!("{}: {}", failure.reason, shown(&failure.message)) });
    }
    if let Some(exit) = &instance.exit {
        let kind = if exit.code == 0 { MarkKind::EndedWell } else { MarkKind::EndedBadly };
        marks.push(Mark { kind, at: exit.finished_at, text: exit_text(exit) });
    }
    marks
}

fn exit_text(exit: &Exit) -> String {
    match exit.signal {
        Some(signal) => format!("ended by {} ({}, {})", signal_name(signal), exit.reason, exit.code),
        None => format!("exit code {} ({})", exit.code, exit.reason),
    }
}

fn container_note(container: &ContainerLife) -> String {
    let Some(newest) = container.newest() else {
        return container.waits.last().map_or_else(String::new, |(_, reason, _)| reason.clone());
    };
    let restarts = match newest.restart_count {
        0 => String::new(),
        1 => ", 1 restart".to_owned(),
        count => format!(", {count} restarts"),
    };
    let state = match (&newest.exit, newest.running_at, container.is_ready) {
        (Some(exit), ..) => format!("exit {} {}", exit.code, exit.reason),
        (None, ..) if newest.stop.is_some() => "stopping".to_owned(),
        (None, Some(_), true) => "Ready".to_owned(),
        (None, Some(_), false) => "Running".to_owned(),
        (None, None, _) => container.waits.last().map_or_else(|| "starting".to_owned(), |(_, reason, _)| reason.clone()),
    };
    format!("{state}{restarts}")
}

fn grace_note(account: &GraceAccount) -> String {
    let Some(used) = account.used() else { return "running".to_owned() };
    let who = match blame(account) {
        Blame::Nobody | Blame::OutOfMemory | Blame::Stranger => return format!("{} used", span_text(used)),
        Blame::Asker => "killed at once",
        Blame::PreStopEndless => "killed: endless preStop",
        Blame::PreStop => "killed: long preStop",
        Blame::Order => "killed: waited for others",
        Blame::Starting => "killed: was still starting",
        Blame::Process => "killed: did not end",
    };
    let first = account.shares().iter().map(|share| share.user).find(|user| *user != ShareUser::Unused);
    if first.is_none() { "killed at once".to_owned() } else { who.to_owned() }
}

fn pull_text(pull: &crate::life::PullRun) -> String {
    match (&pull.error, &pull.facts) {
        (Some((reason, message)), _) => format!("pull of {} failed: {reason}: {}", pull.image, shown(message)),
        (None, Some(facts)) => {
            let speed = facts.bytes_per_second().map_or_else(String::new, |speed| format!(", {}/s", bytes_text(speed)));
            format!("pulled {}: {} in {}{speed}", pull.image, bytes_text(facts.bytes), span_text(facts.took))
        }
        (None, None) => format!("pulling {}", pull.image),
    }
}

fn shown(text: &str) -> String {
    shortened(&harmless(text), TEXT_SHOWN_MAX)
}
