//! Tells a pod's life line by line while it happens. Reads the journal's entries; knows nothing else and decides nothing.
//!
//! One line for each happening: time since creation, who, what. The grace accounts come at the end.

pub(crate) mod account;
pub(crate) mod paint;

use std::collections::BTreeMap;
use std::time::Duration;

use chronicle::{Disposition, SessionVerb, signal_name};
use lifecycle::{
    Action, ActionId, ContainerState, Entry as AccountEntry, Event, EventKind, Exit, Grace, GraceAccount, Handler, Hook, HookOutcome,
    KillTrigger, Note, PodStatus, Step, StopCause,
};
use node::journal::{Entry, Happening, Live, Record};

use account::seconds;
use paint::{Look, Paint, harmless};

/// Characters of a hook's command that are shown.
const COMMAND_SHOWN_MAX: usize = 100;

/// The story of one pod so far.
#[derive(Debug)]
pub(crate) struct Story {
    paint: Paint,
    /// Shown before every line when several pods run.
    pod: Option<String>,
    width: usize,
    begun_at: Option<u64>,
    hooks: BTreeMap<ActionId, HookRun>,
    /// Which container and hook a command of the runtime belongs to.
    execs: BTreeMap<String, (String, Hook)>,
    instances: BTreeMap<String, String>,
    last: Option<PodStatus>,
    log: Vec<Entry>,
}

#[derive(Clone, Debug)]
struct HookRun {
    container: String,
    hook: Hook,
    begun_at: u64,
}

/// One line to be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    at: Duration,
    who: String,
    look: Look,
    text: String,
}

impl Story {
    /// Begins a story; `names` are those that will appear, for the width of their column.
    pub(crate) fn new<'a>(paint: Paint, pod: Option<String>, names: impl IntoIterator<Item = &'a str>) -> Self {
        let width = names.into_iter().map(str::len).max().unwrap_or(0).max("pod".len());
        Self {
            paint,
            pod,
            width,
            begun_at: None,
            hooks: BTreeMap::new(),
            execs: BTreeMap::new(),
            instances: BTreeMap::new(),
            last: None,
            log: Vec::new(),
        }
    }

    /// What is to be shown of something that happened.
    pub(crate) fn tell(&mut self, live: &Live) -> Vec<String> {
        let lines = match live {
            Live::Entry(entry) => {
                let lines = self.record(entry.at.boot_nanos, &entry.record);
                if is_kept(&entry.record) {
                    self.log.push((**entry).clone());
                }
                lines
            }
            Live::Passing { at, record } => self.record(at.boot_nanos, record),
            Live::Output { container, line, .. } => {
                let at = self.since_begin(node::clock::moment().boot_nanos);
                vec![Line { at, who: container.clone(), look: Look::Plain, text: format!("│ {}", harmless(line)) }]
            }
            Live::Pull { .. } => Vec::new(),
        };
        lines.into_iter().map(|line| self.render(&line)).collect()
    }

    /// The grace accounts of all stops, for the end of the story.
    pub(crate) fn accounts(&self) -> Vec<GraceAccount> {
        let entries = self.log.iter().filter_map(|entry| {
            let at = entry.at.timestamp();
            match &entry.record {
                Record::Action(step) => Some((at, AccountEntry::Step(step))),
                Record::Event(event) => Some((at, AccountEntry::Event(event))),
                Record::Kill(kill) => Some((at, AccountEntry::Kill(&kill.kill))),
                Record::Opened { .. }
                | Record::Spec(_)
                | Record::Runtime(_)
                | Record::Status(_)
                | Record::Warning { .. }
                | Record::Pull(_)
                | Record::Volumes(_)
                | Record::Hook(_)
                | Record::Probes(_)
                | Record::OutputCut(_)
                | Record::Session(_)
                | Record::Full => None,
            }
        });
        GraceAccount::read(entries)
    }

    fn since_begin(&self, boot_nanos: u64) -> Duration {
        Duration::from_nanos(boot_nanos.saturating_sub(self.begun_at.unwrap_or(boot_nanos)))
    }

    fn render(&self, line: &Line) -> String {
        let millis = line.at.as_millis();
        let time = self.paint.put(Look::Dim, format!("{:>4}.{:03}", millis / 1000, millis % 1000));
        let pod = self.pod.as_ref().map_or_else(String::new, |pod| format!("{} ", self.paint.put(Look::Dim, pod)));
        let who = self.paint.put(Look::Strong, format!("{:<width$}", line.who, width = self.width));
        format!("{time}  {pod}{who}  {}", self.paint.put(line.look, &line.text))
    }

    /// The columns of a line about `who`, with no time and no text.
    pub(crate) fn blank(&self, who: &str) -> String {
        let pod = self.pod.as_ref().map_or_else(String::new, |pod| format!("{} ", self.paint.put(Look::Dim, pod)));
        let who = self.paint.put(Look::Strong, format!("{:<width$}", who, width = self.width));
        format!("{:>8}  {pod}{who}", "")
    }

    fn record(&mut self, nanos: u64, record: &Record) -> Vec<Line> {
        self.begun_at.get_or_insert(nanos);
        let at = self.since_begin(nanos);
        let told = match record {
            Record::Opened { continued: true, .. } => Vec::new(),
            Record::Opened { name, namespace, uid, resumed, .. } => {
                let how = if *resumed { "taken over" } else { "created" };
                vec![("pod".to_owned(), Look::Plain, format!("{namespace}/{name} {how}, uid {uid}"))]
            }
            Record::Kill(asked) => {
                let by = asked.by.as_ref().map_or_else(String::new, |by| format!(", by {}", harmless(by)));
                vec![("pod".to_owned(), Look::Warn, format!("{}{by}", kill_text(asked.kill.trigger, asked.kill.grace)))]
            }
            Record::Event(event) => self.event(event, nanos),
            Record::Action(step) => self.step(step, nanos),
            Record::Runtime(event) => self.runtime(event),
            Record::Status(status) => self.status(status),
            Record::Warning { message } => vec![("pod".to_owned(), Look::Warn, format!("warning: {message}"))],
            Record::Pull(pull) => vec![("pod".to_owned(), Look::Plain, pull_text(pull))],
            Record::OutputCut(cut) => match self.execs.get(&cut.exec_id) {
                Some((container, hook)) => {
                    let text = format!("{hook} prints more than {} lines; the rest is not kept", cut.lines);
                    vec![(container.clone(), Look::Warn, text)]
                }
                None => Vec::new(),
            },
            Record::Session(facts) => vec![session_line(facts)],
            Record::Hook(facts) if facts.fell_back_to_http => {
                let text = format!("{}: the server does not speak HTTPS and was asked over HTTP", facts.hook);
                vec![(facts.container.clone(), Look::Warn, text)]
            }
            Record::Spec(_) | Record::Volumes(_) | Record::Hook(_) | Record::Probes(_) => Vec::new(),
            Record::Full => vec![("pod".to_owned(), Look::Warn, "the journal is full; the story goes on unwritten".to_owned())],
        };
        told.into_iter().map(|(who, look, text)| Line { at, who, look, text }).collect()
    }

    fn step(&mut self, step: &Step, nanos: u64) -> Vec<Told> {
        match &step.action {
            Action::RunHook { container, container_id, hook, handler } => {
                self.hooks.insert(step.id, HookRun { container: container.clone(), hook: *hook, begun_at: nanos });
                self.execs.insert(chronicle::exec_id(*hook, &container_id.0), (container.clone(), *hook));
                vec![(container.clone(), Look::Hook, format!("{hook} begins: {}", handler_text(handler)))]
            }
            Action::StopContainer { container, kill_after, .. } => {
                vec![(container.clone(), Look::Signal, format!("stop signal; SIGKILL follows in {} s", kill_after.as_secs()))]
            }
            Action::RecordEvent(event) => {
                let who = event.about.as_ref().map_or("pod", |path| path.container()).to_owned();
                match (event.kind, event.reason.as_str()) {
                    (EventKind::Warning, reason) => vec![(who, Look::Bad, format!("{reason}: {}", harmless(&event.message)))],
                    (
                        EventKind::Normal,
                        "Pulling" | "Pulled" | "SandboxChanged" | "DeadlineExceeded" | "ResizeStarted" | "ResizeCompleted",
                    ) => {
                        vec![(who, Look::Plain, harmless(&event.message))]
                    }
                    // Told from their causes, with more to say.
                    (EventKind::Normal, _) => Vec::new(),
                }
            }
            Action::Note(note) => note_lines(note),
            Action::CreateContainer { .. }
            | Action::CreateSandbox { .. }
            | Action::StopSandbox
            | Action::CleanUpPod
            | Action::InspectImage { .. }
            | Action::PullImage { .. }
            | Action::CancelPull { .. }
            | Action::StartContainer { .. }
            | Action::KillContainer { .. }
            | Action::RemoveContainer { .. }
            | Action::CancelHook { .. }
            | Action::MeasureRoom
            | Action::CheckMemory { .. }
            | Action::ResizePod { .. }
            | Action::ResizeContainer { .. }
            | Action::RunProbe { .. } => Vec::new(),
        }
    }

    fn event(&mut self, event: &Event, nanos: u64) -> Vec<Told> {
        match event {
            Event::SandboxReady { ips, .. } if ips.is_empty() => {
                vec![("pod".to_owned(), Look::Plain, "sandbox ready, on the node's network".to_owned())]
            }
            Event::SandboxReady { ips, .. } => vec![("pod".to_owned(), Look::Plain, format!("sandbox ready, address {}", ips.join(", ")))],
            Event::SandboxLost { message } => vec![("pod".to_owned(), Look::Bad, format!("sandbox lost: {}", harmless(message)))],
            Event::ContainerExited { container_id, exit } => {
                let who = self.instances.get(&container_id.0).cloned().unwrap_or_else(|| short(&container_id.0));
                let (look, text) = exit_text(exit);
                vec![(who, look, text)]
            }
            Event::HookFinished { id, outcome } => {
                let Some(run) = self.hooks.remove(id) else { return Vec::new() };
                let took = seconds(Duration::from_nanos(nanos.saturating_sub(run.begun_at)));
                let (look, text) = outcome_text(outcome);
                vec![(run.container, look, format!("{} {text} ({took})", run.hook))]
            }
            Event::PodCleanedUp { .. } => vec![("pod".to_owned(), Look::Plain, "gone, nothing is left of it".to_owned())],
            Event::SandboxFailed { .. }
            | Event::SandboxStopped { .. }
            | Event::ImageInspected { .. }
            | Event::ImagePulled { .. }
            | Event::ImagePullFailed { .. }
            | Event::ContainerCreated { .. }
            | Event::ContainerCreateFailed { .. }
            | Event::ContainerStarted { .. }
            | Event::ContainerStartFailed { .. }
            | Event::StopSignalled { .. }
            | Event::KillSignalled { .. }
            | Event::RoomMeasured { .. }
            | Event::Resized { .. }
            | Event::ProbeFinished { .. } => Vec::new(),
        }
    }

    fn runtime(&mut self, event: &Happening) -> Vec<Told> {
        match event {
            Happening::ExecOutput { exec_id, line, .. } => match self.execs.get(exec_id) {
                Some((container, hook)) => vec![(container.clone(), Look::Hook, format!("{hook} │ {}", harmless(line)))],
                None => Vec::new(),
            },
            Happening::SignalSent { container_id, signal, why, handling, .. } => {
                let who = self.instances.get(container_id).cloned().unwrap_or_else(|| short(container_id));
                let why = match why.as_str() {
                    "stop" => "asks it to stop",
                    "deadline" => "its time is over",
                    _ => "kills all of it",
                };
                let mut told = vec![(who.clone(), Look::Signal, format!("{} {why}", signal_name(*signal)))];
                let comes_to_nothing = match handling.as_ref().map(|handling| (handling.disposition, &handling.process)) {
                    Some((Disposition::Dropped, process)) => {
                        Some(format!("{process} is PID 1 without a handler for it: the kernel drops it"))
                    }
                    Some((Disposition::Ignored, process)) => Some(format!("{process} ignores it")),
                    Some((Disposition::Handled | Disposition::Ends, _)) | None => None,
                };
                told.extend(comes_to_nothing.map(|text| (who, Look::Warn, harmless(&text))));
                told
            }
            Happening::OomKilled { container_id, count, .. } => {
                let who = self.instances.get(container_id).cloned().unwrap_or_else(|| short(container_id));
                let text = format!("the kernel killed a process for lack of memory ({count} so far in this container)");
                vec![(who, Look::Bad, text)]
            }
            Happening::ExecStarted { .. } => Vec::new(),
        }
    }

    fn status(&mut self, status: &PodStatus) -> Vec<Told> {
        let mut told = Vec::new();
        let last = self.last.replace(status.clone());
        for container in status.all_container_statuses() {
            if let Some(id) = &container.container_id {
                self.instances.insert(id.0.clone(), container.name.clone());
            }
            let before = last.as_ref().and_then(|last| last.all_container_statuses().find(|other| other.name == container.name));
            let was_running = before.is_some_and(|before| {
                matches!(before.state, ContainerState::Running { .. }) && before.container_id == container.container_id
            });
            if matches!(container.state, ContainerState::Running { .. }) && !was_running {
                let nth = if container.restart_count > 0 { format!(" (restart {})", container.restart_count) } else { String::new() };
                told.push((container.name.clone(), Look::Good, format!("Running{nth}")));
            }
            if container.ready && before.is_some_and(|before| !before.ready) && was_running {
                told.push((container.name.clone(), Look::Good, "Ready".to_owned()));
            }
        }
        let phase_before = last.map(|last| last.phase);
        if phase_before.is_some_and(|before| before != status.phase) {
            let reason = if status.reason.is_empty() { String::new() } else { format!(" ({})", status.reason) };
            told.push(("pod".to_owned(), Look::Strong, format!("{:?}{reason}", status.phase)));
        }
        told
    }
}

/// Who, how it looks, and what.
type Told = (String, Look, String);

/// Whether the end of the story needs it.
const fn is_kept(record: &Record) -> bool {
    matches!(record, Record::Action(_) | Record::Event(_) | Record::Kill(_))
}

fn note_lines(note: &Note) -> Vec<Told> {
    match note {
        Note::TerminationBegan { trigger, grace_secs, shortened } => {
            let grace = grace_secs.map_or_else(|| "each container has the grace of the spec".to_owned(), |secs| format!("grace {secs} s"));
            let text = match (trigger, shortened) {
                (_, true) => format!("the grace is shortened to {} s", grace_secs.unwrap_or(0)),
                (KillTrigger::Completed, false) => "all containers are done".to_owned(),
                (KillTrigger::InitFailed, false) => format!("an init container failed for good: the pod ends, {grace}"),
                (KillTrigger::ProbeFailed, false) => format!("a probe failed and nothing restarts the container: the pod ends, {grace}"),
                (KillTrigger::DeadlineExceeded, false) => format!("its deadline is over: the pod ends, {grace}"),
                (
                    KillTrigger::Deleted
                    | KillTrigger::Evicted
                    | KillTrigger::Preempted
                    | KillTrigger::NodeShutdown
                    | KillTrigger::Rejected,
                    false,
                ) => format!("termination begins, {grace}"),
            };
            vec![("pod".to_owned(), Look::Warn, text)]
        }
        Note::StopBegan { container, cause: StopCause::Pod(_), grace_secs, .. } => {
            vec![(container.clone(), Look::Warn, format!("stopping: its grace of {grace_secs} s runs"))]
        }
        Note::StopBegan { container, cause, grace_secs, .. } => {
            let why = match cause {
                StopCause::PostStartFailed => "its postStart hook failed",
                StopCause::LivenessFailed => "its liveness probe failed",
                StopCause::StartupFailed => "its startup probe failed",
                StopCause::DefinitionChanged => "its image was changed",
                StopCause::ResizeNeedsRestart => "its resources were changed",
                StopCause::RestartAllContainers => "all containers begin again",
                StopCause::Pod(_) => "the pod goes",
            };
            vec![(container.clone(), Look::Warn, format!("stopping because {why}: its grace of {grace_secs} s runs"))]
        }
        Note::PreStopOutOfGrace { container, .. } => {
            vec![(container.clone(), Look::Bad, "preStop is out of grace and is cut off".to_owned())]
        }
        Note::StopOrderWait { container } => {
            vec![(container.clone(), Look::Warn, "waits for the containers that stop before it".to_owned())]
        }
        Note::BackingOff { container, pause } => {
            vec![(container.clone(), Look::Warn, format!("will be restarted {} after its exit", lifecycle::go_duration(*pause)))]
        }
        Note::ProbeTurned { container, probe, success } => {
            let (look, word) = if *success { (Look::Good, "succeeds") } else { (Look::Bad, "fails") };
            vec![(container.clone(), look, format!("{probe} probe {word}"))]
        }
    }
}

fn kill_text(trigger: KillTrigger, grace: Grace) -> String {
    let grace = match grace {
        Grace::FromSpec => "with the grace of its spec".to_owned(),
        Grace::Seconds(secs) => format!("within {secs} s"),
        Grace::AtOnce => "at once".to_owned(),
    };
    match trigger {
        KillTrigger::Deleted => format!("asked to stop {grace}"),
        KillTrigger::Evicted => format!("evicted, {grace}"),
        KillTrigger::Preempted => format!("preempted, {grace}"),
        KillTrigger::NodeShutdown => format!("the node shuts down: asked to stop {grace}"),
        KillTrigger::Rejected => format!("the node does not take it any more: asked to stop {grace}"),
        KillTrigger::DeadlineExceeded | KillTrigger::Completed | KillTrigger::InitFailed | KillTrigger::ProbeFailed => {
            format!("ends, {grace}")
        }
    }
}

fn session_line(facts: &chronicle::SessionFacts) -> Told {
    let verb = match facts.verb {
        SessionVerb::Exec => "exec",
        SessionVerb::Attach => "attach",
    };
    let command = shortened(&harmless(&facts.command.join(" ").replace('\n', "; ")));
    let what = if command.is_empty() { verb.to_owned() } else { format!("{verb} {command}") };
    let by = facts.by.as_ref().map_or_else(String::new, |by| format!(" by {}", harmless(by)));
    let text = match facts.finished_at {
        None => format!("session: {what}{by}{}", left_out_text(facts.left_out)),
        Some(finished) => {
            let took = seconds(finished.timestamp().since(facts.started_at.timestamp()));
            let code = facts.exit_code.map_or_else(String::new, |code| format!(" with {code}"));
            format!("session over{code} after {took}: {what}{by}{}", left_out_text(facts.left_out))
        }
    };
    (facts.container.clone(), Look::Plain, text)
}

fn left_out_text(count: u64) -> String {
    if count == 0 { String::new() } else { format!(" ({count} before it are not kept)") }
}

fn pull_text(pull: &chronicle::PullFacts) -> String {
    let mib = |bytes: u64| format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20));
    let took = seconds(pull.took);
    match pull.bytes_per_second() {
        Some(speed) => format!("the pull of {} brought {} in {took}, {}/s", harmless(&pull.image), mib(pull.bytes), mib(speed)),
        None => format!("the pull of {} brought nothing that was not here", harmless(&pull.image)),
    }
}

fn handler_text(handler: &Handler) -> String {
    let text = match handler {
        Handler::Exec { command, .. } => command.join(" "),
        Handler::HttpGet(get) => {
            let port = match &get.port {
                lifecycle::HttpPort::Number(port) => port.to_string(),
                lifecycle::HttpPort::Unresolved(_) => "?".to_owned(),
            };
            format!("GET {} on port {port}", get.path)
        }
        Handler::Sleep { secs } => format!("sleep {secs} s"),
        Handler::TcpSocket => "tcpSocket".to_owned(),
    };
    shortened(&harmless(&text.replace('\n', "; ")))
}

fn shortened(text: &str) -> String {
    if text.chars().count() <= COMMAND_SHOWN_MAX {
        return text.to_owned();
    }
    text.chars().take(COMMAND_SHOWN_MAX).chain(['…']).collect()
}

fn outcome_text(outcome: &HookOutcome) -> (Look, String) {
    match outcome {
        HookOutcome::Succeeded => (Look::Good, "succeeded".to_owned()),
        HookOutcome::ExitedNonZero { code, .. } => (Look::Bad, format!("failed with exit code {code}")),
        HookOutcome::FailedToRun { error } => (Look::Bad, format!("failed: {}", harmless(error))),
        HookOutcome::HttpFailed { error } => (Look::Bad, format!("failed: {}", harmless(error))),
        HookOutcome::TimedOut { limit } => (Look::Bad, format!("ran over its limit of {} and was killed", seconds(*limit))),
        HookOutcome::ContainerEnded { .. } => (Look::Plain, "ended with its container".to_owned()),
        HookOutcome::Cancelled => (Look::Warn, "was cancelled".to_owned()),
    }
}

fn exit_text(exit: &Exit) -> (Look, String) {
    let ran = exit.started_at.map_or_else(String::new, |from| format!(" after {}", seconds(exit.finished_at.since(from))));
    let message = if exit.message.is_empty() { String::new() } else { format!(": {}", harmless(exit.message.trim_end())) };
    match (exit.code, exit.signal, exit.reason.as_str()) {
        (code, _, "OOMKilled") => (Look::Bad, format!("killed for lack of memory{ran} (OOMKilled, {code}){message}")),
        (code, _, "StartError") => (Look::Bad, format!("could not be started ({code}){message}")),
        (code, _, "ContainerStatusUnknown") => (Look::Bad, format!("lost{ran} ({code}){message}")),
        (code, Some(signal), reason) => (Look::Bad, format!("ended by {}{ran} ({reason}, {code}){message}", signal_name(signal))),
        (0, None, reason) => (Look::Good, format!("exited with 0{ran} ({reason}){message}")),
        (code, None, reason) => (Look::Bad, format!("exited with {code}{ran} ({reason}){message}")),
    }
}

fn short(id: &str) -> String {
    id.get(..12).unwrap_or(id).to_owned()
}
