//! Probes: when attempts come, when results turn, and what a turn does (section 7 of the rows).

use std::time::Duration;

use lifecycle::{
    Action, ActionId, Event, KillTrigger, Note, ProbeHandler, ProbeKind, ProbeOutcome, ProbeSpec, ROUTINE_PROBE_GRID, RestartPolicy, Role,
    Timestamp,
};

use super::{Promise, Verdict};
use crate::known::{Known, Window};
use crate::story::{Story, What};

const TIME: &str = "a probe comes at its time and not while another attempt of it runs";
const LATE: &str = "no probe comes late";
const TURN: &str = "a probe's result turns after so many equal ones in a row, and is told";
const KILL: &str = "a container is killed for its probes exactly when their threshold says so";

/// k8s: 7.b.1
const TRIES: u32 = 3;

/// One probe of one container.
#[derive(Clone, Debug)]
struct Prober {
    kind: ProbeKind,
    spec: ProbeSpec,
    at: At,
    result: Option<bool>,
    last: Option<bool>,
    row: u32,
    errors: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Off,
    Due {
        at: Timestamp,
    },
    /// It fell due while the engine was away: it comes at some moment since then, before this one (k8s: 7.a.4).
    Overdue {
        end: Timestamp,
    },
    Running {
        run: ActionId,
        next: Timestamp,
    },
}

/// Foretells probes.
#[derive(Debug)]
pub(super) struct Probes {
    probers: Vec<Vec<Prober>>,
    was_up: Vec<bool>,
    stopping: Vec<bool>,
    last_at: Timestamp,
}

impl Probes {
    pub(super) fn new(story: &Story) -> Self {
        let containers = story.pod.all_containers();
        let prober = |kind, spec: &Option<ProbeSpec>| {
            let fresh = |spec: &ProbeSpec| Prober { kind, spec: spec.clone(), at: At::Off, result: None, last: None, row: 0, errors: 0 };
            spec.as_ref().map(fresh)
        };
        let probers: Vec<Vec<Prober>> = containers
            .map(|spec| {
                let all = [
                    prober(ProbeKind::Startup, &spec.startup_probe),
                    prober(ProbeKind::Liveness, &spec.liveness_probe),
                    prober(ProbeKind::Readiness, &spec.readiness_probe),
                ];
                all.into_iter().flatten().collect()
            })
            .collect();
        let count = probers.len();
        Self { probers, was_up: vec![false; count], stopping: vec![false; count], last_at: story.start }
    }

    fn note_overdue(&mut self, now: Timestamp) {
        for prober in self.probers.iter_mut().flatten() {
            let is_overdue = match prober.at {
                At::Due { at } => at < now,
                At::Overdue { .. } => true,
                At::Off | At::Running { .. } => false,
            };
            if is_overdue {
                prober.at = At::Overdue { end: now + Duration::from_secs(prober.spec.period_secs) };
            }
        }
    }

    /// k8s: 7.a.19, 7.g.4
    fn may_run(&self, known: &Known<'_>, index: usize, kind: ProbeKind) -> bool {
        let goes = known.termination.is_some() || self.stopping[index];
        known.containers[index].is_alive() && (!goes || kind == ProbeKind::Readiness)
    }

    /// k8s: 7.a.8, 7.a.11: from its start an instance is probed, startup first.
    fn note_instances(&mut self, known: &Known<'_>, now: Timestamp) {
        for (index, container) in known.containers.iter().enumerate() {
            if !container.is_alive() {
                self.was_up[index] = false;
                self.stopping[index] = false;
                for prober in &mut self.probers[index] {
                    *prober = Prober { at: At::Off, result: None, last: None, row: 0, errors: 0, ..prober.clone() };
                }
                continue;
            }
            if !container.is_up || known.termination.is_some() || std::mem::replace(&mut self.was_up[index], true) {
                continue;
            }
            let has_startup = container.spec.startup_probe.is_some();
            for prober in &mut self.probers[index] {
                if prober.kind == ProbeKind::Startup || !has_startup {
                    prober.at = first(prober, started_at(known, index, now), now);
                }
            }
        }
    }

    /// What is asked for in one window is decided before a stop that begins in it.
    fn judge_attempts(&mut self, known: &Known<'_>, window: &Window<'_>) -> Verdict {
        for step in &window.did {
            let Action::RunProbe { container, probe, timeout, .. } = &step.action else { continue };
            let Some(index) = known.index(container) else { continue };
            let may_run = self.may_run(known, index, *probe);
            let Some(prober) = self.probers[index].iter_mut().find(|prober| prober.kind == *probe) else {
                return Err((TIME, format!("{container} has no {probe} probe")));
            };
            let is_due = match prober.at {
                At::Due { at } => at <= window.at,
                At::Overdue { .. } => true,
                At::Off | At::Running { .. } => false,
            };
            if !may_run || !is_due || *timeout != Duration::from_secs(prober.spec.timeout_secs) {
                return Err((TIME, format!("{probe} of {container}: {:?}", prober.at)));
            }
            // One that goes well comes on the grid, a little sooner than its period has it.
            let next = window.at + Duration::from_secs(prober.spec.period_secs);
            let goes_well = (prober.result, prober.last) == (Some(true), Some(true));
            let is_command = matches!(prober.spec.handler, ProbeHandler::Exec { .. });
            let next = if goes_well && !is_command { next.floor_to(ROUTINE_PROBE_GRID) } else { next };
            prober.at = At::Running { run: step.id, next };
        }
        Ok(())
    }

    fn finished(&mut self, known: &Known<'_>, window: &Window<'_>, id: ActionId, outcome: &ProbeOutcome) -> Verdict {
        let now = window.at;
        let is_it = |prober: &Prober| matches!(prober.at, At::Running { run, .. } if run == id);
        let Some(index) = self.probers.iter().position(|probers| probers.iter().any(is_it)) else { return Ok(()) };
        let Some(position) = self.probers[index].iter().position(is_it) else { return Ok(()) };
        let prober = &mut self.probers[index][position];
        let kind = prober.kind;
        let At::Running { next, .. } = prober.at else { return Ok(()) };
        // k8s: 7.a.9
        prober.at = At::Due { at: next.max(now) };
        let success = match outcome {
            ProbeOutcome::Error { .. } => {
                prober.errors += 1;
                if prober.errors < TRIES {
                    prober.at = At::Due { at: now };
                } else {
                    prober.errors = 0;
                }
                return expect_told(window, prober.errors == 0, "errored and resulted in unknown state");
            }
            ProbeOutcome::Success | ProbeOutcome::Warning { .. } => true,
            ProbeOutcome::Failure { .. } => false,
        };
        prober.errors = 0;
        // k8s: 7.a.13
        prober.row = if prober.last == Some(success) { prober.row + 1 } else { 1 };
        prober.last = Some(success);
        let threshold = if success { prober.spec.success_threshold } else { prober.spec.failure_threshold };
        let turns = prober.row >= threshold && prober.result != Some(success);
        if turns {
            prober.result = Some(success);
            // k8s: 7.a.12, 7.a.15
            if kind == ProbeKind::Startup || (kind == ProbeKind::Liveness && !success) {
                prober.at = At::Off;
            }
        }
        // k8s: 7.b.2, 7.b.3
        expect_told(window, !success, "probe failed: ")?;
        let turned = window.did.iter().any(|step| {
            matches!(&step.action, Action::Note(Note::ProbeTurned { probe, success: turned, .. }) if *probe == kind && *turned == success)
        });
        if turned != turns {
            return Err((TURN, format!("{kind} of {}: turned {turned}, expected {turns}", known.containers[index].spec.name)));
        }
        if turns && kind == ProbeKind::Startup && success {
            for prober in self.probers[index].iter_mut().filter(|prober| prober.kind != ProbeKind::Startup) {
                prober.at = first(prober, started_at(known, index, now), now);
            }
        }
        let kills = turns && !success && kind != ProbeKind::Readiness && known.termination.is_none() && !self.stopping[index];
        expect_killed(known, window, index, kind, kills)
    }
}

impl<'a> Promise<'a> for Probes {
    fn before(&mut self, known: &Known<'a>, window: &Window<'a>) -> Verdict {
        let is_later = window.at > std::mem::replace(&mut self.last_at, window.at);
        if window.is_after_sleep {
            self.note_overdue(window.at);
            return Ok(());
        }
        if !is_later {
            return Ok(());
        }
        for (index, probers) in self.probers.iter().enumerate() {
            for prober in probers {
                if let At::Due { at } | At::Overdue { end: at } = prober.at
                    && at < window.at
                    && self.may_run(known, index, prober.kind)
                {
                    return Err((LATE, format!("{} of {} was due at {at}", prober.kind, known.containers[index].spec.name)));
                }
            }
        }
        Ok(())
    }

    fn heard(&mut self, known: &Known<'a>, window: &Window<'a>) -> Verdict {
        self.note_instances(known, window.at);
        let is_probe_answer = matches!(window.input, Some(What::Told(Event::ProbeFinished { .. })));
        if let Some(What::Told(Event::ProbeFinished { id, outcome })) = window.input {
            self.finished(known, window, *id, outcome)?;
        }
        self.judge_attempts(known, window)?;
        for step in &window.did {
            if let Action::RecordEvent(record) = &step.action
                && record.reason == "Killing"
                && let Some(index) = record.about.as_ref().and_then(|about| known.index(about.container()))
            {
                if record.message.contains("probe") && !is_probe_answer {
                    return Err((KILL, record.message.clone()));
                }
                self.stopping[index] = true;
            }
        }
        Ok(())
    }
}

fn started_at(known: &Known<'_>, index: usize, now: Timestamp) -> Timestamp {
    known.containers[index].instance.as_ref().and_then(|instance| instance.started_at).unwrap_or(now)
}

/// k8s: 7.a.8
fn first(prober: &Prober, started_at: Timestamp, now: Timestamp) -> At {
    At::Due { at: (started_at + Duration::from_secs(prober.spec.initial_delay_secs)).max(now) }
}

fn expect_told(window: &Window<'_>, is_expected: bool, words: &str) -> Verdict {
    let is_told = window
        .did
        .iter()
        .any(|step| matches!(&step.action, Action::RecordEvent(record) if record.reason == "Unhealthy" && record.message.contains(words)));
    if is_told == is_expected { Ok(()) } else { Err((TURN, format!("`{words}` told: {is_told}, expected: {is_expected}"))) }
}

/// k8s: 4.a.4 to 4.a.7
fn expect_killed(known: &Known<'_>, window: &Window<'_>, index: usize, kind: ProbeKind, kills: bool) -> Verdict {
    let container = &known.containers[index];
    let name = &container.spec.name;
    let restarts =
        container.role == Role::Sidecar || container.spec.restart_policy.unwrap_or(known.pod.restart_policy) != RestartPolicy::Never;
    let word = if kind == ProbeKind::Startup { "startup" } else { "liveness" };
    let text = match (container.role, restarts) {
        (Role::Init | Role::Sidecar, _) => format!("Init container {name} failed {word} probe"),
        (Role::Regular, true) => format!("Container {name} failed {word} probe, will be restarted"),
        (Role::Regular, false) | (Role::Ephemeral, _) => format!("Container {name} failed {word} probe"),
    };
    let is_killed = window
        .did
        .iter()
        .any(|step| matches!(&step.action, Action::RecordEvent(record) if record.reason == "Killing" && record.message == text));
    let goes = window.did.iter().any(|step| {
        matches!(&step.action, Action::Note(Note::TerminationBegan { trigger: KillTrigger::ProbeFailed, shortened: false, .. }))
    });
    let others_live = known.containers.iter().enumerate().any(|(other, container)| {
        let is_finished = container.exit().is_some_and(|exit| !crate::known::is_restarted(known.pod, container, exit));
        other != index && container.role == Role::Regular && !is_finished
    });
    let takes_pod = kills && container.role == Role::Regular && !restarts && !others_live;
    if is_killed == (kills && !takes_pod) && goes == takes_pod {
        return Ok(());
    }
    Err((KILL, format!("{name}: killed {is_killed}, pod goes {goes}; expected {kills}, {takes_pod}")))
}
