//! From entries to a life: one pass, in the order in which they were written.
#![expect(clippy::wildcard_enum_match_arm, reason = "a reader of one kind of record lets the others pass")]

use std::collections::BTreeMap;

use lifecycle::{
    Action, ActionId, ConditionKind, ContainerState, ContainerStatus, Entry as AccountEntry, Event, Exit, GraceAccount, Hook, HookOutcome,
    Note, PodSpec, PodStatus, ProbeKind, ProbeOutcome, RestartPolicy, Role, Step, StopCause, Timestamp,
};

use super::{
    Asked, BackingOff, ContainerLife, EngineRun, HookEnd, HookRun, Instance, Life, OutputLine, PhaseSpan, ProbeChange, PullRun, SandboxRun,
    SessionRun, Signal, StartFailure, TerminationStep, Trigger, Why,
};
use crate::read::Journal;
use crate::record::{Entry, Happening, HookFacts, Kill, Moment, Record, SessionFacts, exec_id};

/// Exit code of an instance that never ran (k8s: 8.d.2).
const START_ERROR_CODE: i32 = 128;

/// Exit code that is shown for an instance of which nothing is known (k8s: 8.c.6).
const UNKNOWN_EXIT_CODE: i32 = 137;

pub(super) fn read(journal: &Journal) -> Option<Life> {
    let (name, namespace, uid) = journal.entries.iter().find_map(|entry| match &entry.record {
        Record::Opened { name, namespace, uid, .. } => Some((name.clone(), namespace.clone(), uid.clone())),
        _ => None,
    })?;
    // A static pod has the same uid again when it is run again: the newest life is told.
    let is_birth = |entry: &Entry| matches!(entry.record, Record::Opened { resumed: false, continued: false, .. });
    let begin = journal.entries.iter().rposition(is_birth).unwrap_or_default();
    let entries = &journal.entries[begin..];
    let first = entries.first()?;
    let life = Life {
        name,
        namespace,
        uid,
        began: first.at,
        read_to: first.at,
        is_cut: journal.dropped_entries > 0 && begin == 0,
        lost_entries: journal.lost_entries,
        unreadable_lines: journal.unreadable_lines,
        spec: None,
        engines: Vec::new(),
        asked: Vec::new(),
        terminations: Vec::new(),
        sandboxes: Vec::new(),
        phases: Vec::new(),
        ready: Vec::new(),
        containers: Vec::new(),
        accounts: Vec::new(),
        events: Vec::new(),
        warnings: Vec::new(),
        gone_at: None,
        status: None,
    };
    let mut reader = Reader { life, steps: BTreeMap::new(), shift: 0, last_at: None, probe_output: BTreeMap::new() };
    let mut kept = Vec::with_capacity(entries.len());
    for entry in entries {
        let at = reader.clock(entry);
        reader.entry(entry, at);
        reader.last_at = Some(at);
        kept.push((at, &entry.record));
    }
    reader.life.accounts = accounts(&kept);
    Some(reader.life)
}

/// The grace accounts, from the entries that they are made of.
fn accounts(entries: &[(Timestamp, &Record)]) -> Vec<GraceAccount> {
    let entries = entries.iter().filter_map(|(at, record)| match record {
        Record::Action(step) => Some((*at, AccountEntry::Step(step))),
        Record::Event(event) => Some((*at, AccountEntry::Event(event))),
        Record::Kill(kill) => Some((*at, AccountEntry::Kill(&kill.kill))),
        _ => None,
    });
    GraceAccount::read(entries)
}

struct Reader {
    life: Life,
    /// Steps that wait for their answer.
    steps: BTreeMap<ActionId, Action>,
    /// What is added to the deciding clock, because the machine was started anew and it began from zero.
    shift: u64,
    /// When the entry before passed.
    last_at: Option<Timestamp>,
    /// What the last attempt of each probe said.
    probe_output: BTreeMap<(String, ProbeKind), String>,
}

impl Reader {
    /// The time of an entry on one clock that never goes back, also over a restart of the machine.
    fn clock(&mut self, entry: &Entry) -> Timestamp {
        let last = self.life.read_to;
        let shown = entry.at.boot_nanos.saturating_add(self.shift);
        if matches!(entry.record, Record::Opened { .. }) && shown < last.boot_nanos {
            let away = entry.at.wall_nanos.saturating_sub(last.wall_nanos);
            self.shift = last.boot_nanos.saturating_add(away).saturating_sub(entry.at.boot_nanos);
        }
        let boot_nanos = entry.at.boot_nanos.saturating_add(self.shift);
        if boot_nanos >= last.boot_nanos {
            self.life.read_to = Moment { boot_nanos, wall_nanos: entry.at.wall_nanos };
        }
        Timestamp::from_nanos(boot_nanos)
    }

    fn entry(&mut self, entry: &Entry, at: Timestamp) {
        match &entry.record {
            Record::Opened { resumed, continued, engine, .. } => {
                if !continued {
                    let away_since = if *resumed { self.last_at } else { None };
                    self.life.engines.push(EngineRun { at, away_since, version: engine.clone() });
                }
            }
            Record::Spec(spec) => self.spec(spec),
            Record::Kill(Kill { kill, by, .. }) => self.life.asked.push(Asked { at, kill: *kill, by: by.clone() }),
            Record::Event(event) => self.event(event, at),
            Record::Action(step) => self.step(step, at),
            Record::Runtime(happening) => self.happening(happening),
            Record::Status(status) => self.status(status, at),
            Record::Warning { message } => self.life.warnings.push((at, message.clone())),
            Record::Pull(facts) => {
                let mut pulls =
                    self.life.containers.iter_mut().flat_map(|container| &mut container.instances).flat_map(|one| &mut one.pulls);
                if let Some(pull) = pulls.rfind(|pull| pull.ended_at.is_none() && pull.image == facts.image) {
                    pull.facts = Some(facts.clone());
                }
            }
            Record::Volumes(facts) => {
                if let Some(sandbox) = self.life.sandboxes.last_mut() {
                    sandbox.volumes = Some(facts.clone());
                }
            }
            Record::Hook(facts) => self.hook_facts(facts),
            Record::Probes(counts) => {
                self.probe_output.insert(
                    (counts.container.clone(), counts.probe),
                    counts.last_failure.as_ref().map_or_else(String::new, |failure| failure.output.clone()),
                );
                if let Some(instance) = self.instance(&counts.container_id) {
                    // A later count of the same row replaces the earlier.
                    instance.probe_counts.retain(|older| older.probe != counts.probe || older.first_at != counts.first_at);
                    instance.probe_counts.push(counts.clone());
                }
            }
            Record::OutputCut(cut) => {
                if let Some(run) = self.run(&cut.exec_id) {
                    run.output_cut = true;
                }
            }
            Record::Session(facts) => self.session(facts),
            Record::Full => self.life.warnings.push((at, "the journal was full from here on".to_owned())),
        }
    }

    fn spec(&mut self, spec: &PodSpec) {
        for container in &spec.init_containers {
            let role = if container.restart_policy == Some(RestartPolicy::Always) { Role::Sidecar } else { Role::Init };
            self.container(&container.name, role).spec = Some(container.clone());
        }
        for container in &spec.containers {
            self.container(&container.name, Role::Regular).spec = Some(container.clone());
        }
        for container in &spec.ephemeral_containers {
            self.container(&container.name, Role::Ephemeral).spec = Some(container.clone());
        }
        self.life.spec = Some(spec.clone());
    }

    fn container(&mut self, name: &str, role: Role) -> &mut ContainerLife {
        let containers = &mut self.life.containers;
        let index = containers.iter().position(|container| container.name == name).unwrap_or_else(|| {
            let fresh = ContainerLife {
                name: name.to_owned(),
                role,
                spec: None,
                waits: Vec::new(),
                instances: Vec::new(),
                state: None,
                is_ready: false,
            };
            containers.push(fresh);
            containers.len() - 1
        });
        &mut containers[index]
    }

    /// The container of that name; one that no manifest and no status named before is a regular one.
    fn named(&mut self, name: &str) -> &mut ContainerLife {
        self.container(name, Role::Regular)
    }

    fn instance(&mut self, container_id: &str) -> Option<&mut Instance> {
        let mut instances = self.life.containers.iter_mut().flat_map(|container| &mut container.instances);
        instances.rfind(|instance| instance.container_id.as_deref() == Some(container_id))
    }

    /// The instance that is being started, made if this is its first step.
    fn starting(&mut self, name: &str, at: Timestamp) -> &mut Instance {
        let container = self.named(name);
        let needs_fresh = container.newest().is_none_or(|instance| instance.exit.is_some());
        if needs_fresh {
            let restart_count = container.newest().map_or(0, |instance| instance.restart_count + 1);
            container.instances.push(fresh_instance(restart_count, at));
        }
        let last = container.instances.len() - 1;
        &mut container.instances[last]
    }

    /// The run of a hook that the runtime's command is.
    fn run(&mut self, wanted: &str) -> Option<&mut HookRun> {
        let instances = self.life.containers.iter_mut().flat_map(|container| &mut container.instances);
        let mut runs = instances.flat_map(|instance| {
            let id = instance.container_id.clone();
            instance.hooks.iter_mut().map(move |run| (id.clone(), run))
        });
        runs.rfind(|(id, run)| id.as_ref().is_some_and(|id| exec_id(run.hook, id) == wanted)).map(|(_, run)| run)
    }

    fn step(&mut self, step: &Step, at: Timestamp) {
        if step.action.is_answered() {
            self.steps.insert(step.id, step.action.clone());
        }
        match &step.action {
            Action::CreateSandbox { .. } => self.life.sandboxes.push(SandboxRun {
                asked_at: at,
                volumes: None,
                ready_at: None,
                ips: Vec::new(),
                failed: None,
                lost: None,
                stop_asked_at: None,
                stopped_at: None,
            }),
            Action::StopSandbox => {
                if let Some(sandbox) = self.life.sandboxes.last_mut() {
                    sandbox.stop_asked_at = Some(at);
                }
            }
            Action::InspectImage { container, .. } => drop(self.starting(container, at)),
            Action::PullImage { container, image } => {
                let pull = PullRun { asked_at: at, image: image.clone(), ended_at: None, error: None, facts: None };
                self.starting(container, at).pulls.push(pull);
            }
            Action::CreateContainer { container, restart_count, .. } => {
                let instance = self.starting(container, at);
                instance.restart_count = *restart_count;
                instance.create_asked_at = Some(at);
            }
            Action::RunHook { container_id, hook, handler, .. } => self.hook_asked(&container_id.0, *hook, handler.clone(), at),
            Action::StopContainer { container_id, .. } => self.signal(&container_id.0, at, None, Why::Stop),
            Action::KillContainer { container_id, .. } => self.signal(&container_id.0, at, None, Why::Kill),
            Action::RecordEvent(record) => self.life.events.push((at, record.clone())),
            Action::Note(note) => self.note(note, at),
            Action::CleanUpPod
            | Action::CancelPull { .. }
            | Action::StartContainer { .. }
            | Action::RemoveContainer { .. }
            | Action::CancelHook { .. }
            | Action::MeasureRoom
            | Action::CheckMemory { .. }
            | Action::ResizePod { .. }
            | Action::ResizeContainer { .. }
            | Action::RunProbe { .. } => {}
        }
    }

    fn hook_asked(&mut self, container_id: &str, hook: Hook, handler: lifecycle::Handler, at: Timestamp) {
        let Some(instance) = self.instance(container_id) else { return };
        let trigger = match (hook, instance.stop) {
            (Hook::PreStop, Some((_, cause))) => Trigger::Stop(cause),
            (Hook::PostStart | Hook::PreStop, _) => Trigger::Started,
        };
        // An engine that takes over asks again for what it does not know to be done.
        if instance.hooks.iter().any(|run| run.hook == hook && run.end.is_none()) {
            return;
        }
        let output = Vec::new();
        instance.hooks.push(HookRun { hook, handler, trigger, asked_at: at, began_at: None, end: None, output, output_cut: false });
    }

    fn note(&mut self, note: &Note, at: Timestamp) {
        match note {
            Note::TerminationBegan { trigger, grace_secs, shortened } => {
                self.life.terminations.push(TerminationStep { at, trigger: *trigger, grace_secs: *grace_secs, shortened: *shortened });
            }
            Note::StopBegan { container_id, cause, .. } => self.stop_began(&container_id.0, *cause, at),
            Note::PreStopOutOfGrace { container, .. } => {
                let run = self.named(container).instances.iter_mut().rev().flat_map(|instance| instance.hooks.iter_mut().rev());
                if let Some(run) = run.into_iter().find(|run| run.hook == Hook::PreStop) {
                    run.end = Some(HookEnd { out_of_grace: true, ..hook_end(at, HookOutcome::Cancelled) });
                }
            }
            Note::BackingOff { container, pause } => {
                let last = self.named(container).instances.iter_mut().rev().find(|instance| instance.exit.is_some());
                if let Some(instance) = last {
                    let until = instance.exit.as_ref().map_or(at, |exit| exit.finished_at) + *pause;
                    instance.back_off = Some(BackingOff { at, pause: *pause, until });
                }
            }
            Note::ProbeTurned { container, probe, success } => self.probe_turned(container, *probe, *success, at),
            // The account knows it.
            Note::StopOrderWait { .. } => {}
        }
    }

    fn stop_began(&mut self, container_id: &str, cause: StopCause, at: Timestamp) {
        if let Some(instance) = self.instance(container_id) {
            instance.stop.get_or_insert((at, cause));
        }
    }

    fn probe_turned(&mut self, container: &str, probe: ProbeKind, success: bool, at: Timestamp) {
        let output = self.probe_output.get(&(container.to_owned(), probe)).cloned().unwrap_or_default();
        let output = if success { String::new() } else { output };
        let threshold = self.named(container).spec.as_ref().and_then(|spec| {
            let probe = match probe {
                ProbeKind::Startup => spec.startup_probe.as_ref(),
                ProbeKind::Liveness => spec.liveness_probe.as_ref(),
                ProbeKind::Readiness => spec.readiness_probe.as_ref(),
            };
            probe.map(|probe| if success { probe.success_threshold } else { probe.failure_threshold })
        });
        let in_row = u64::from(threshold.unwrap_or(1));
        if let Some(instance) = self.named(container).instances.last_mut() {
            instance.probe_changes.push(ProbeChange { at, probe, success, output, in_row });
        }
    }

    fn event(&mut self, event: &Event, at: Timestamp) {
        match event {
            Event::SandboxReady { ips, .. } => {
                if let Some(sandbox) = self.life.sandboxes.last_mut() {
                    sandbox.ready_at = Some(at);
                    sandbox.ips.clone_from(ips);
                }
            }
            Event::SandboxFailed { reason, message, .. } => {
                if let Some(sandbox) = self.life.sandboxes.last_mut() {
                    sandbox.failed = Some(StartFailure { at, reason: reason.clone(), message: message.clone() });
                }
            }
            Event::SandboxLost { message } => self.sandbox_lost(message, at),
            Event::SandboxStopped { .. } => {
                if let Some(sandbox) = self.life.sandboxes.last_mut() {
                    sandbox.stopped_at = Some(at);
                }
            }
            Event::PodCleanedUp { .. } => self.life.gone_at = Some(at),
            Event::ImageInspected { .. } | Event::StopSignalled { .. } | Event::KillSignalled { .. } => {}
            Event::ImagePulled { id, .. } => self.pull_ended(*id, None, at),
            Event::ImagePullFailed { id, reason, message } => self.pull_ended(*id, Some((reason.clone(), message.clone())), at),
            Event::ContainerCreated { id, container_id } => {
                if let Some(Action::CreateContainer { container, .. }) = self.steps.remove(id) {
                    let instance = self.starting(&container, at);
                    instance.container_id = Some(container_id.0.clone());
                    instance.created_at = Some(at);
                }
            }
            Event::ContainerCreateFailed { id, reason, message } => {
                if let Some(Action::CreateContainer { container, .. }) = self.steps.remove(id) {
                    let failure = StartFailure { at, reason: reason.clone(), message: message.clone() };
                    self.starting(&container, at).failures.push(failure);
                }
            }
            Event::ContainerStarted { id, at: started_at } => {
                if let Some(Action::StartContainer { container_id, .. }) = self.steps.remove(id)
                    && let Some(instance) = self.instance(&container_id.0)
                {
                    instance.started_at = Some(*started_at);
                }
            }
            Event::ContainerStartFailed { id, message } => self.start_failed(*id, message, at),
            Event::ContainerExited { container_id, exit } => {
                if let Some(instance) = self.instance(&container_id.0) {
                    instance.started_at = instance.started_at.or(exit.started_at);
                    instance.exit = Some(exit.clone());
                    instance.exit_told_at = Some(at);
                }
            }
            Event::HookFinished { id, outcome } => self.hook_finished(*id, outcome, at),
            Event::ProbeFinished { id, outcome } => self.probe_finished(*id, outcome),
            Event::RoomMeasured { id, .. } | Event::Resized { id, .. } => {
                self.steps.remove(id);
            }
        }
    }

    fn sandbox_lost(&mut self, message: &str, at: Timestamp) {
        if let Some(sandbox) = self.life.sandboxes.last_mut() {
            sandbox.lost = Some((at, message.to_owned()));
        }
        // The machine gives up whatever lived in it; nothing more is known of its end.
        for instance in self.life.containers.iter_mut().filter_map(|container| container.instances.last_mut()) {
            if instance.container_id.is_some() && instance.exit.is_none() {
                let exit = unknown_exit(instance.started_at, at);
                instance.exit = Some(exit);
                instance.exit_told_at = Some(at);
            }
        }
    }

    fn pull_ended(&mut self, id: ActionId, error: Option<(String, String)>, at: Timestamp) {
        let Some(Action::PullImage { container, .. }) = self.steps.remove(&id) else { return };
        let instance = self.starting(&container, at);
        if let Some((reason, message)) = &error {
            instance.failures.push(StartFailure { at, reason: reason.clone(), message: message.clone() });
        }
        if let Some(pull) = instance.pulls.last_mut() {
            pull.ended_at = Some(at);
            pull.error = error;
        }
    }

    fn start_failed(&mut self, id: ActionId, message: &str, at: Timestamp) {
        let Some(Action::StartContainer { container_id, .. }) = self.steps.remove(&id) else { return };
        let Some(instance) = self.instance(&container_id.0) else { return };
        instance.failures.push(StartFailure { at, reason: "RunContainerError".to_owned(), message: message.to_owned() });
        instance.exit = Some(Exit {
            code: START_ERROR_CODE,
            signal: None,
            reason: "StartError".to_owned(),
            message: message.to_owned(),
            started_at: None,
            finished_at: at,
        });
        instance.exit_told_at = Some(at);
    }

    fn hook_finished(&mut self, id: ActionId, outcome: &HookOutcome, at: Timestamp) {
        let Some(Action::RunHook { container_id, hook, .. }) = self.steps.remove(&id) else { return };
        let Some(instance) = self.instance(&container_id.0) else { return };
        let Some(run) = instance.hooks.iter_mut().rev().find(|run| run.hook == hook) else { return };
        match &mut run.end {
            // Measured where it ran.
            Some(end) if end.outcome != *outcome && !end.out_of_grace => end.outcome = outcome.clone(),
            Some(_) => {}
            None => run.end = Some(hook_end(at, outcome.clone())),
        }
    }

    fn hook_facts(&mut self, facts: &HookFacts) {
        let Some(instance) = self.instance(&facts.container_id) else { return };
        let Some(run) = instance.hooks.iter_mut().rev().find(|run| run.hook == facts.hook) else { return };
        run.began_at = facts.started_at.map(Moment::timestamp);
        run.output_cut |= facts.output_cut;
        for (stream, text) in [("stdout", &facts.missed_stdout), ("stderr", &facts.missed_stderr)] {
            run.output.extend(text.lines().map(|line| OutputLine { at: None, stream: stream.to_owned(), line: line.to_owned() }));
        }
        let out_of_grace = run.end.as_ref().is_some_and(|end| end.out_of_grace);
        // The outcome follows with the event that the machine is told.
        let outcome = run.end.take().map_or(HookOutcome::Succeeded, |end| end.outcome);
        let at = facts.finished_at.timestamp();
        let HookFacts { exit_code, http_status, fell_back_to_http, .. } = *facts;
        run.end = Some(HookEnd { at, outcome, exit_code, http_status, fell_back_to_http, out_of_grace });
    }

    fn probe_finished(&mut self, id: ActionId, outcome: &ProbeOutcome) {
        let Some(Action::RunProbe { container, probe, .. }) = self.steps.remove(&id) else { return };
        let output = match outcome {
            ProbeOutcome::Success => "",
            ProbeOutcome::Warning { output } | ProbeOutcome::Failure { output } => output,
            ProbeOutcome::Error { error } => error,
        };
        self.probe_output.insert((container, probe), output.to_owned());
    }

    fn happening(&mut self, happening: &Happening) {
        match happening {
            Happening::SignalSent { container_id, signal, why, at, handling } => {
                let why = match why.as_str() {
                    "stop" => Why::Stop,
                    "deadline" => Why::Deadline,
                    _ => Why::Kill,
                };
                let at = self.shifted(*at);
                self.signal(container_id, at, Some((*signal, handling.clone())), why);
            }
            Happening::ExecStarted { exec_id, at } => {
                let at = self.shifted(*at);
                if let Some(run) = self.run(exec_id) {
                    run.began_at = Some(at);
                }
            }
            Happening::ExecOutput { exec_id, stream, line, at } => {
                let at = Some(self.shifted(*at));
                let line = OutputLine { at, stream: stream.clone(), line: line.clone() };
                if let Some(run) = self.run(exec_id) {
                    run.output.push(line);
                }
            }
            Happening::OomKilled { container_id, count, at, memory } => {
                let at = self.shifted(*at);
                if let Some(instance) = self.instance(container_id) {
                    instance.out_of_memory.push((at, *count, *memory));
                }
            }
        }
    }

    /// Told at its begin and at its end; of the begin nothing may be left.
    fn session(&mut self, facts: &SessionFacts) {
        let (began_at, ended_at) = (self.shifted(facts.started_at), facts.finished_at.map(|at| self.shifted(at)));
        let Some(instance) = self.instance(&facts.container_id) else { return };
        if let Some(known) = instance.sessions.iter_mut().find(|known| known.id == facts.id) {
            (known.ended_at, known.exit_code) = (ended_at, facts.exit_code);
            return;
        }
        instance.sessions.push(SessionRun {
            id: facts.id.clone(),
            verb: facts.verb,
            command: facts.command.clone(),
            tty: facts.tty,
            by: facts.by.clone(),
            began_at,
            ended_at,
            exit_code: facts.exit_code,
            left_out: facts.left_out,
        });
    }

    fn shifted(&self, at: Moment) -> Timestamp {
        Timestamp::from_nanos(at.boot_nanos.saturating_add(self.shift))
    }

    /// A request for a signal, and then the signal itself: one and the same, told twice.
    fn signal(&mut self, container_id: &str, at: Timestamp, sent: Option<(i32, Option<crate::SignalHandling>)>, why: Why) {
        let Some(instance) = self.instance(container_id) else { return };
        let (number, handling) = sent.map_or((None, None), |(number, handling)| (Some(number), handling));
        let signal = Signal { at, number, why, handling };
        match instance.signals.iter_mut().rev().find(|other| other.why == why && other.number.is_none()) {
            Some(asked) => *asked = signal,
            None => instance.signals.push(signal),
        }
    }

    fn status(&mut self, status: &PodStatus, at: Timestamp) {
        if self.life.phases.last().is_none_or(|last| last.phase != status.phase || last.reason != status.reason) {
            let (reason, message) = (status.reason.clone(), status.message.clone());
            self.life.phases.push(PhaseSpan { at, phase: status.phase, reason, message });
        }
        // k8s: 8.a.22: the node did not take it, so there is nothing to be given back.
        if status.phase.is_terminal() && status.conditions.is_empty() {
            self.life.gone_at.get_or_insert(at);
        }
        let is_ready = status.conditions.iter().any(|condition| condition.kind == ConditionKind::Ready && condition.is_true);
        if self.life.ready.last().is_some_and(|(_, last)| *last) != is_ready {
            self.life.ready.push((at, is_ready));
        }
        for shown in &status.init_container_statuses {
            let index = self.life.containers.iter().position(|container| container.name == shown.name);
            // Which init container is a sidecar stands in the manifest only.
            let role = index.map_or(Role::Init, |index| self.life.containers[index].role);
            self.container_status(shown, role, at);
        }
        for shown in &status.container_statuses {
            self.container_status(shown, Role::Regular, at);
        }
        for shown in &status.ephemeral_container_statuses {
            self.container_status(shown, Role::Ephemeral, at);
        }
        self.life.status = Some(status.clone());
    }

    fn container_status(&mut self, shown: &ContainerStatus, role: Role, at: Timestamp) {
        let container = self.container(&shown.name, role);
        container.state = Some(shown.state.clone());
        container.is_ready = shown.ready;
        match &shown.state {
            ContainerState::Waiting { reason, message } => {
                let is_new = container.waits.last().is_none_or(|(_, last, text)| last != reason || text != message);
                if is_new {
                    container.waits.push((at, reason.clone(), message.clone()));
                }
            }
            ContainerState::Running { .. } | ContainerState::Terminated(_) => {}
        }
        let Some(id) = &shown.container_id else { return };
        if !container.instances.iter().any(|instance| instance.container_id.as_deref() == Some(&id.0)) {
            // Its start is in a part of the journal that is gone.
            let mut instance = fresh_instance(shown.restart_count, at);
            instance.container_id = Some(id.0.clone());
            container.instances.push(instance);
        }
        let instance = container.instances.iter_mut().rfind(|instance| instance.container_id.as_deref() == Some(&id.0));
        let Some(instance) = instance else { return };
        if let ContainerState::Running { started_at } = shown.state {
            instance.started_at.get_or_insert(started_at);
            instance.running_at.get_or_insert(at);
        }
        if shown.started {
            instance.startup_at.get_or_insert(at);
        }
        if instance.ready.last().is_some_and(|(_, last)| *last) != shown.ready && instance.exit.is_none() {
            instance.ready.push((at, shown.ready));
        }
    }
}

/// An end of which nothing was measured.
const fn hook_end(at: Timestamp, outcome: HookOutcome) -> HookEnd {
    HookEnd { at, outcome, exit_code: None, http_status: None, fell_back_to_http: false, out_of_grace: false }
}

const fn fresh_instance(restart_count: u32, asked_at: Timestamp) -> Instance {
    Instance {
        restart_count,
        container_id: None,
        asked_at,
        pulls: Vec::new(),
        failures: Vec::new(),
        create_asked_at: None,
        created_at: None,
        started_at: None,
        running_at: None,
        hooks: Vec::new(),
        startup_at: None,
        ready: Vec::new(),
        probe_changes: Vec::new(),
        probe_counts: Vec::new(),
        stop: None,
        signals: Vec::new(),
        sessions: Vec::new(),
        out_of_memory: Vec::new(),
        exit: None,
        exit_told_at: None,
        back_off: None,
    }
}

fn unknown_exit(started_at: Option<Timestamp>, at: Timestamp) -> Exit {
    Exit {
        code: UNKNOWN_EXIT_CODE,
        signal: None,
        reason: "ContainerStatusUnknown".to_owned(),
        message: String::new(),
        started_at,
        finished_at: at,
    }
}
