//! A story as lines of text: for people who read a failed run, and for tests that compare.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use lifecycle::{
    Action, ActionId, Condition, ContainerId, ContainerState, ContainerStatus, Entry, Event, EventKind, Grace, GraceAccount, HookOutcome,
    ImageInspection, KillPod, KillTrigger, Note, PodStatus, ProbeOutcome, Resources, StopCause, Terminated, Timer, Timestamp, cpu_text,
    go_duration, memory_text,
};

use crate::story::{End, Story, What};
use crate::world::Fact;

/// What a line tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Someone asked for something.
    Ask,
    /// The machine was told something.
    Tell,
    /// A timer was due.
    Due,
    /// The machine asked the runtime for something.
    Do,
    /// The machine made a Kubernetes Event.
    Event,
    /// The machine made a note for the journal.
    Note,
    /// The machine showed a container or the phase.
    Show,
    /// The machine showed a condition.
    Condition,
    /// The machine showed the pod's addresses.
    Addresses,
    /// What was really so.
    Fact,
    /// The engine stopped or started.
    Engine,
}

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// When.
    pub at: Timestamp,
    /// What it tells of.
    pub kind: Kind,
    /// The text.
    pub text: String,
}

/// The whole story, a line for each thing that happened.
pub fn lines(story: &Story) -> Vec<Line> {
    let mut teller = Teller::default();
    let mut lines = Vec::new();
    for entry in &story.entries {
        lines.extend(teller.tell(&entry.what).into_iter().map(|(kind, text)| Line { at: entry.at, kind, text }));
    }
    lines
}

/// The whole story as one text.
pub fn text(story: &Story) -> String {
    let mut text = String::new();
    for line in lines(story) {
        let kind = match line.kind {
            Kind::Ask => "asked",
            Kind::Tell => "  told",
            Kind::Due => "   due",
            Kind::Do => "    do",
            Kind::Event => " event",
            Kind::Note => "  note",
            Kind::Show | Kind::Condition | Kind::Addresses => "  show",
            Kind::Fact => "  fact",
            Kind::Engine => "engine",
        };
        let _ = writeln!(text, "{:>12} {kind}  {}", seconds(story, line.at), line.text);
    }
    match &story.end {
        End::Gone => text.push_str("the pod is gone\n"),
        End::TimeUp => text.push_str("time is up\n"),
        End::Stalled => text.push_str("nothing more happens, and the pod is not gone\n"),
        End::Broken { promise, how } => {
            let _ = writeln!(text, "broken: {promise}: {how}");
        }
    }
    text
}

/// The grace accounts of the story, read as from a journal.
pub fn accounts(story: &Story) -> Vec<GraceAccount> {
    let entries = story.entries.iter().filter_map(|entry| match &entry.what {
        What::Did(step) => Some((entry.at, Entry::Step(step))),
        What::Told(event) => Some((entry.at, Entry::Event(event))),
        What::Asked(kill, _) => Some((entry.at, Entry::Kill(kill))),
        What::Updated(_)
        | What::RoomChanged
        | What::ToldAgain(_)
        | What::Due(_)
        | What::Shown(_)
        | What::Fact(_)
        | What::EngineStopped
        | What::EngineStarted => None,
    });
    GraceAccount::read(entries)
}

/// Time since the start of the story, in seconds with milliseconds.
pub fn seconds(story: &Story, at: Timestamp) -> String {
    let age = story.age(at);
    format!("{}.{:03}", age.as_secs(), age.subsec_millis())
}

/// Remembers what identities stand for.
#[derive(Debug, Default)]
struct Teller {
    containers: BTreeMap<ContainerId, String>,
    steps: BTreeMap<ActionId, String>,
    shown: Option<PodStatus>,
}

impl Teller {
    fn tell(&mut self, what: &What) -> Vec<(Kind, String)> {
        match what {
            What::Asked(kill, _) => vec![(Kind::Ask, asked(*kill))],
            What::Updated(spec) => {
                vec![(Kind::Tell, format!("the manifest changes: generation {}", spec.generation))]
            }
            What::RoomChanged => vec![(Kind::Tell, "other pods have come or gone".to_owned())],
            What::Told(event) => vec![(Kind::Tell, self.told(event))],
            What::ToldAgain(event) => vec![(Kind::Tell, format!("again: {}", self.told(event)))],
            What::Due(timer) => vec![(Kind::Due, due(timer))],
            What::Did(step) => {
                let (kind, text) = self.did(&step.action);
                if step.action.is_answered() {
                    self.steps.insert(step.id, text.clone());
                }
                vec![(kind, text)]
            }
            What::Shown(status) => self.showed(status),
            What::Fact(fact) => vec![(Kind::Fact, self.fact(fact))],
            What::EngineStopped => vec![(Kind::Engine, "stops".to_owned())],
            What::EngineStarted => vec![(Kind::Engine, "starts".to_owned())],
        }
    }

    fn name(&self, id: &ContainerId) -> String {
        self.containers.get(id).cloned().unwrap_or_else(|| id.to_string())
    }

    fn step(&self, id: ActionId) -> String {
        self.steps.get(&id).cloned().unwrap_or_else(|| id.to_string())
    }

    fn told(&mut self, event: &Event) -> String {
        match event {
            Event::SandboxReady { .. } => "the sandbox is ready".to_owned(),
            Event::SandboxFailed { reason, message, .. } => format!("no sandbox: {reason}: {message}"),
            Event::SandboxLost { .. } => "the sandbox is lost".to_owned(),
            Event::SandboxStopped { .. } => "the sandbox is stopped".to_owned(),
            Event::PodCleanedUp { .. } => "the pod is cleaned up".to_owned(),
            Event::ImageInspected { id, outcome } => {
                let found = match outcome {
                    ImageInspection::Present { .. } => "present".to_owned(),
                    ImageInspection::Absent => "absent".to_owned(),
                    ImageInspection::InvalidName { message } => format!("invalid name: {message}"),
                    ImageInspection::Failed { message } => format!("failed: {message}"),
                };
                format!("{}: {found}", self.step(*id))
            }
            Event::ImagePulled { id, .. } => format!("{}: pulled", self.step(*id)),
            Event::ImagePullFailed { id, reason, message } => format!("{}: {reason}: {message}", self.step(*id)),
            Event::ContainerCreated { id, container_id } => {
                let step = self.step(*id);
                let name = step.strip_prefix("CreateContainer ").unwrap_or(&step).to_owned();
                self.containers.insert(container_id.clone(), name);
                format!("{step}: done")
            }
            Event::ContainerCreateFailed { id, reason, message } => format!("{}: {reason}: {message}", self.step(*id)),
            Event::ContainerStarted { id, .. } => format!("{}: done", self.step(*id)),
            Event::ContainerStartFailed { id, message } => format!("{}: failed: {message}", self.step(*id)),
            Event::ContainerExited { container_id, exit } => {
                format!("{} exited {} {}", self.name(container_id), exit.code, exit.reason)
            }
            Event::StopSignalled { id, error } | Event::KillSignalled { id, error } => match error {
                None => format!("{}: done", self.step(*id)),
                Some(error) => format!("{}: failed: {error}", self.step(*id)),
            },
            Event::HookFinished { id, outcome } => format!("{}: {}", self.step(*id), hook_outcome(outcome)),
            Event::RoomMeasured { id, .. } => format!("{}: done", self.step(*id)),
            Event::Resized { id, error } => match error {
                None => format!("{}: done", self.step(*id)),
                Some(error) => format!("{}: failed: {error}", self.step(*id)),
            },
            Event::ProbeFinished { id, outcome } => {
                let how = match outcome {
                    ProbeOutcome::Success => "success".to_owned(),
                    ProbeOutcome::Warning { output } => format!("warning: {output}"),
                    ProbeOutcome::Failure { output } => format!("failure: {output}"),
                    ProbeOutcome::Error { error } => format!("error: {error}"),
                };
                format!("{}: {how}", self.step(*id))
            }
        }
    }

    fn did(&self, action: &Action) -> (Kind, String) {
        let text = match action {
            Action::CreateSandbox { attempt, .. } => format!("CreateSandbox {attempt}"),
            Action::StopSandbox => "StopSandbox".to_owned(),
            Action::CleanUpPod => "CleanUpPod".to_owned(),
            Action::InspectImage { container, .. } => format!("InspectImage {container}"),
            Action::PullImage { container, .. } => format!("PullImage {container}"),
            Action::CancelPull { pull } => format!("CancelPull of {}", self.step(*pull)),
            Action::CreateContainer { container, restart_count, .. } => format!("CreateContainer {container}#{restart_count}"),
            Action::StartContainer { container_id, .. } => format!("StartContainer {}", self.name(container_id)),
            Action::StopContainer { container_id, kill_after, .. } => {
                format!("StopContainer {} kill after {}", self.name(container_id), go_duration(*kill_after))
            }
            Action::KillContainer { container_id, .. } => format!("KillContainer {}", self.name(container_id)),
            Action::RemoveContainer { container_id, .. } => format!("RemoveContainer {}", self.name(container_id)),
            Action::RunHook { container_id, hook, .. } => format!("RunHook {} {hook}", self.name(container_id)),
            Action::CancelHook { run } => format!("CancelHook of {}", self.step(*run)),
            Action::RunProbe { container_id, probe, .. } => format!("RunProbe {} {probe}", self.name(container_id)),
            Action::MeasureRoom => "MeasureRoom".to_owned(),
            Action::CheckMemory { containers, pod } => {
                let lowered: Vec<_> = containers.iter().map(|(name, to)| format!("{name} {}", in_words(*to))).collect();
                format!("CheckMemory {}{}", lowered.join(", "), if pod.is_empty() { "" } else { " and pod" })
            }
            Action::ResizePod { containers } => {
                let rooms: Vec<_> = containers.iter().map(|(name, resources)| format!("{name} {}", in_words(*resources))).collect();
                format!("ResizePod {}", rooms.join(", "))
            }
            Action::ResizeContainer { container_id, resources, .. } => {
                format!("ResizeContainer {} {}", self.name(container_id), in_words(*resources))
            }
            Action::RecordEvent(record) => {
                let about = record.about.as_ref().map_or_else(|| "pod".to_owned(), |about| about.container().to_owned());
                let kind = match record.kind {
                    EventKind::Normal => "Normal",
                    EventKind::Warning => "Warning",
                };
                return (Kind::Event, format!("{kind} {} {about}: {}", record.reason, record.message));
            }
            Action::Note(note) => return (Kind::Note, self.note(note)),
        };
        (Kind::Do, text)
    }

    fn note(&self, note: &Note) -> String {
        match note {
            Note::TerminationBegan { trigger, grace_secs, shortened } => {
                let grace = grace_secs.map_or_else(|| "of the spec".to_owned(), |secs| format!("{secs}s"));
                let what = if *shortened { "termination is shortened" } else { "termination begins" };
                format!("{what}: {trigger:?}, grace {grace}")
            }
            Note::StopBegan { container_id, cause, grace_secs, .. } => {
                let cause = match cause {
                    StopCause::Pod(trigger) => format!("{trigger:?}"),
                    StopCause::PostStartFailed
                    | StopCause::LivenessFailed
                    | StopCause::StartupFailed
                    | StopCause::DefinitionChanged
                    | StopCause::ResizeNeedsRestart
                    | StopCause::RestartAllContainers => {
                        format!("{cause:?}")
                    }
                };
                format!("stop of {} begins: {cause}, grace {grace_secs}s", self.name(container_id))
            }
            Note::PreStopOutOfGrace { container, .. } => format!("preStop of {container} is out of grace"),
            Note::StopOrderWait { container } => format!("{container} waits for its turn to stop"),
            Note::BackingOff { container, pause } => format!("{container} backs off for {}", go_duration(*pause)),
            Note::ProbeTurned { container, probe, success } => format!("{probe} of {container} turned {success}"),
        }
    }

    fn showed(&mut self, status: &PodStatus) -> Vec<(Kind, String)> {
        let old = self.shown.replace(status.clone());
        let old_container = |name: &str| {
            let old = old.as_ref()?;
            old.all_container_statuses().find(|other| other.name == name)
        };
        let mut lines = Vec::new();
        for new in status.all_container_statuses() {
            let text = container_status(new);
            if old_container(&new.name).map(container_status).as_ref() != Some(&text) {
                lines.push((Kind::Show, text));
            }
        }
        for new in &status.conditions {
            if !old.as_ref().is_some_and(|old| old.conditions.contains(new)) {
                lines.push((Kind::Condition, condition(new)));
            }
        }
        if old.as_ref().map_or(&[][..], |old| old.pod_ips.as_slice()) != status.pod_ips.as_slice() {
            lines.push((Kind::Addresses, format!("addresses [{}]", status.pod_ips.join(" "))));
        }
        let phase = phase(status);
        if old.as_ref().map(self::phase).as_ref() != Some(&phase) {
            lines.push((Kind::Show, phase));
        }
        lines
    }

    fn fact(&self, fact: &Fact) -> String {
        match fact {
            Fact::Started { id } => format!("{} runs", self.name(id)),
            Fact::StopSignal { id } => format!("{} gets its stop signal", self.name(id)),
            Fact::Ended { id, ending } => format!("{} ends with {} {}", self.name(id), ending.code, ending.reason),
            Fact::HookBegan { id, hook } => format!("{hook} of {} begins", self.name(id)),
            Fact::HookEnded { id, hook, outcome } => format!("{hook} of {} ends: {}", self.name(id), hook_outcome(outcome)),
            Fact::SandboxLost => "the sandbox goes away".to_owned(),
            Fact::Misuse(text) => format!("MISUSE: {text}"),
        }
    }
}

/// How a hook ended, in few words.
pub fn hook_outcome(outcome: &HookOutcome) -> String {
    match outcome {
        HookOutcome::Succeeded => "ok".to_owned(),
        HookOutcome::ExitedNonZero { code, .. } => format!("exited {code}"),
        HookOutcome::FailedToRun { error } | HookOutcome::HttpFailed { error } => format!("failed: {error}"),
        HookOutcome::TimedOut { limit } => format!("timed out after {}", go_duration(*limit)),
        HookOutcome::ContainerEnded { .. } => "ended with its container".to_owned(),
        HookOutcome::Cancelled => "cancelled".to_owned(),
    }
}

fn asked(kill: KillPod) -> String {
    let what = match kill.trigger {
        KillTrigger::Deleted => "delete",
        KillTrigger::DeadlineExceeded => "deadline",
        KillTrigger::Evicted => "evict",
        KillTrigger::Preempted => "preempt",
        KillTrigger::NodeShutdown => "shutdown",
        KillTrigger::Rejected => "reject",
        KillTrigger::Completed => "complete",
        KillTrigger::InitFailed => "init failed",
        KillTrigger::ProbeFailed => "probe failed",
    };
    match kill.grace {
        Grace::FromSpec => what.to_owned(),
        Grace::Seconds(secs) => format!("{what} grace {secs}"),
        Grace::AtOnce => format!("{what} at once"),
    }
}

fn due(timer: &Timer) -> String {
    match timer {
        Timer::PodDeadline => "the pod's deadline".to_owned(),
        Timer::Overdue => "the end of the node's patience".to_owned(),
        Timer::SandboxRetry => "the sandbox's next try".to_owned(),
        Timer::Resize => "next try of the resize".to_owned(),
        Timer::RestartAll => "restart of all containers".to_owned(),
        Timer::NextStep { container } => format!("next step of {container}"),
        Timer::StartRetry { container } => format!("next start of {container}"),
        Timer::PreStopEnd { container } => format!("end of preStop of {container}"),
        Timer::OrderEnd { container } => format!("end of the wait of {container}"),
        Timer::KillDue { container } => format!("SIGKILL of {container}"),
        Timer::ProbeDue { container } => format!("probe of {container}"),
    }
}

/// Requests and limits: `cpu 100m/200m memory 64Mi/-`.
fn in_words(resources: Resources) -> String {
    let pair = |name: &str, request: Option<String>, limit: Option<String>| {
        let text = |amount: Option<String>| amount.unwrap_or_else(|| "-".to_owned());
        (request.is_some() || limit.is_some()).then(|| format!("{name} {}/{}", text(request), text(limit)))
    };
    let cpu = pair("cpu", resources.cpu_request_millis.map(cpu_text), resources.cpu_limit_millis.map(cpu_text));
    let memory = pair("memory", resources.memory_request_bytes.map(memory_text), resources.memory_limit_bytes.map(memory_text));
    let words: Vec<_> = cpu.into_iter().chain(memory).collect();
    if words.is_empty() { "nothing".to_owned() } else { words.join(" ") }
}

/// A container's status in few words.
pub fn container_status(status: &ContainerStatus) -> String {
    let mut text = format!("{}: {}", status.name, state(&status.state));
    if status.restart_count > 0 {
        let _ = write!(text, ", restarts {}", status.restart_count);
    }
    if let Some(last) = &status.last_state {
        let _ = write!(text, ", last {}", ended(last));
    }
    match (status.started, status.ready) {
        (true, true) => text.push_str(", ready"),
        (true, false) => text.push_str(", started"),
        (false, true) => text.push_str(", done"),
        (false, false) => {}
    }
    if let Some(in_use) = status.in_use {
        let _ = write!(text, ", has {}", in_words(in_use));
    }
    if !status.allocated.is_empty() && status.in_use.is_none_or(|in_use| in_use != status.allocated) {
        let _ = write!(text, ", is to have {}", in_words(status.allocated));
    }
    text
}

fn state(state: &ContainerState) -> String {
    match state {
        ContainerState::Waiting { reason, message } if message.is_empty() => format!("Waiting {reason}"),
        ContainerState::Waiting { reason, message } => format!("Waiting {reason} ({message})"),
        ContainerState::Running { .. } => "Running".to_owned(),
        ContainerState::Terminated(terminated) => format!("Terminated {}", ended(terminated)),
    }
}

fn ended(terminated: &Terminated) -> String {
    let exit = &terminated.exit;
    if exit.message.is_empty() {
        format!("{} {}", exit.code, exit.reason)
    } else {
        format!("{} {} ({})", exit.code, exit.reason, exit.message)
    }
}

fn condition(condition: &Condition) -> String {
    let mut text = format!("{:?}={}", condition.kind, if condition.is_true { "True" } else { "False" });
    if !condition.reason.is_empty() {
        let _ = write!(text, " {}", condition.reason);
    }
    if !condition.message.is_empty() {
        let _ = write!(text, " ({})", condition.message);
    }
    text
}

fn phase(status: &PodStatus) -> String {
    let mut text = format!("phase {:?}", status.phase);
    if !status.reason.is_empty() {
        let _ = write!(text, " {}", status.reason);
    }
    if !status.message.is_empty() {
        let _ = write!(text, " ({})", status.message);
    }
    text
}
