//! Probes: when an attempt is due, and when a row of results turns what is published.
//!
//! Attempts are made outside ([`Action::RunProbe`]); what follows from a published failure is decided here.

use alloc::format;
use alloc::string::ToString;
use core::time::Duration;

use serde::{Deserialize, Serialize};

use crate::action::{Action, ActionId, EventKind, Note, ProbeKind, StopCause};
use crate::container::{Container, Role, Stage};
use crate::event::{KillTrigger, ProbeOutcome};
use crate::restart;
use crate::spec::{ContainerSpec, ProbeHandler, ProbeSpec};
use crate::time::Timestamp;
use crate::worker::{PodWorker, Termination};

/// Attempts in a row that may fail to be made before the result is dropped (k8s: 7.b.1).
const MAX_PROBE_TRIES: u32 = 3;

/// Attempts of a probe over the network that goes well come on a grid of this width on the engine's clock: at most so much sooner than
/// their period has it, never later. So the attempts of many pods fall together, and an engine wakes seldom. Commands come in their
/// period: what they cost is their processes, and those are better spread.
pub const ROUTINE_PROBE_GRID: Duration = Duration::from_millis(250);

/// The probes of one container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Probes {
    probers: alloc::vec::Vec<Prober>,
}

/// One probe of one container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Prober {
    kind: ProbeKind,
    spec: ProbeSpec,
    /// What is published: `None` until there is a verdict.
    result: Option<bool>,
    /// The last attempt's result, and how many like it came in a row.
    last: Option<bool>,
    run: u32,
    errors: u32,
    attempt: Attempt,
}

/// Where the prober stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Attempt {
    /// Off: no instance, not its time, or its verdict is final for this instance (k8s: 7.a.15).
    Off,
    /// The next attempt is due.
    Due { at: Timestamp },
    /// An attempt runs; the next one is due at `next`, or when this one is over.
    Running { action: ActionId, next: Timestamp },
}

impl Probes {
    pub(crate) fn new(spec: &ContainerSpec) -> Self {
        let all = [
            (ProbeKind::Startup, &spec.startup_probe),
            (ProbeKind::Liveness, &spec.liveness_probe),
            (ProbeKind::Readiness, &spec.readiness_probe),
        ];
        let probers = all.into_iter().filter_map(|(kind, spec)| spec.clone().map(|spec| Prober::new(kind, spec)));
        Self { probers: probers.collect() }
    }

    /// The instance is gone: everything begins anew with the next (k8s: 7.a.10).
    pub(crate) fn reset(&mut self) {
        for prober in &mut self.probers {
            *prober = Prober::new(prober.kind, prober.spec.clone());
        }
    }

    fn find(&self, kind: ProbeKind) -> Option<&Prober> {
        self.probers.iter().find(|prober| prober.kind == kind)
    }
}

impl Prober {
    const fn new(kind: ProbeKind, spec: ProbeSpec) -> Self {
        Self { kind, spec, result: None, last: None, run: 0, errors: 0, attempt: Attempt::Off }
    }

    /// When the next attempt is due if this one begins now.
    fn next_after(&self, now: Timestamp) -> Timestamp {
        let next = now + Duration::from_secs(self.spec.period_secs);
        let goes_well = (self.result, self.last) == (Some(true), Some(true));
        match self.spec.handler {
            ProbeHandler::HttpGet(_) | ProbeHandler::TcpSocket { .. } | ProbeHandler::Grpc { .. } if goes_well => {
                next.floor_to(ROUTINE_PROBE_GRID)
            }
            ProbeHandler::HttpGet(_) | ProbeHandler::TcpSocket { .. } | ProbeHandler::Grpc { .. } | ProbeHandler::Exec { .. } => next,
        }
    }

    /// Counts one result; true when it turns what is published (k8s: 7.a.13).
    fn count(&mut self, success: bool) -> bool {
        self.run = if self.last == Some(success) { self.run.saturating_add(1) } else { 1 };
        self.last = Some(success);
        let threshold = if success { self.spec.success_threshold } else { self.spec.failure_threshold };
        if self.run < threshold || self.result == Some(success) {
            return false;
        }
        self.result = Some(success);
        true
    }
}

impl Container {
    /// `started` of its status (k8s: 7.c.1, 7.c.5).
    pub(crate) fn is_started(&self) -> bool {
        self.shows_running() && self.probes.find(ProbeKind::Startup).is_none_or(|prober| prober.result == Some(true))
    }

    /// `ready` of its status (k8s: 7.c.3, 7.c.4).
    pub(crate) fn is_ready(&self) -> bool {
        match self.role {
            Role::Init => self.exit().is_some_and(|exit| exit.code == 0),
            Role::Ephemeral => false,
            Role::Sidecar | Role::Regular => {
                self.is_started() && self.probes.find(ProbeKind::Readiness).is_none_or(|prober| prober.result == Some(true))
            }
        }
    }

    const fn shows_running(&self) -> bool {
        matches!(self.stage, Stage::Running | Stage::Stopping(_)) && self.frozen.is_none()
    }
}

impl PodWorker {
    /// The container shows Running from here on: its probes begin.
    pub(crate) fn start_probes(&mut self, index: usize, now: Timestamp) {
        let container = &mut self.containers[index];
        let started_at = container.instance.as_ref().and_then(|instance| instance.started_at).unwrap_or(now);
        let has_startup = container.probes.find(ProbeKind::Startup).is_some();
        for prober in &mut container.probes.probers {
            // k8s: 7.a.11: the others wait for the startup probe.
            if prober.kind == ProbeKind::Startup || !has_startup {
                prober.attempt = first_attempt(prober, started_at, now);
            }
        }
    }

    /// A new engine drives the pod: attempts that fell due while nobody was there to make them come one by one within their period, and not
    /// all at the same moment as those of all other pods (k8s: 7.a.4, where chance spreads them).
    pub fn spread_overdue_probes(&mut self, now: Timestamp) {
        let uid = self.spec.uid.clone();
        for container in &mut self.containers {
            let name = container.spec.name.clone();
            for prober in &mut container.probes.probers {
                if let Attempt::Due { at } = &mut prober.attempt
                    && *at < now
                {
                    *at = now + share_of_period(&[&uid, &name, &prober.kind.to_string()], prober.spec.period_secs);
                }
            }
        }
    }

    /// When the next attempt of any probe is due, and of which container; of several at once, of the first.
    pub(crate) fn probe_timer(&self) -> Option<(Timestamp, &Container)> {
        let due = self.containers.iter().filter_map(|container| Some((self.next_attempt(container)?, container)));
        due.min_by_key(|(at, _)| *at)
    }

    fn next_attempt(&self, container: &Container) -> Option<Timestamp> {
        let due = container.probes.probers.iter().filter(|prober| self.may_probe(container, prober.kind));
        let at = due.filter_map(|prober| match prober.attempt {
            Attempt::Due { at } => Some(at),
            Attempt::Off | Attempt::Running { .. } => None,
        });
        at.min()
    }

    pub(crate) fn probe_timeout(&mut self, index: usize, now: Timestamp) {
        for position in 0..self.containers[index].probes.probers.len() {
            let prober = &self.containers[index].probes.probers[position];
            if !matches!(prober.attempt, Attempt::Due { at } if at <= now) || !self.may_probe(&self.containers[index], prober.kind) {
                continue;
            }
            let Some(container_id) = self.containers[index].live_id().cloned() else { continue };
            let next = prober.next_after(now);
            let action = Action::RunProbe {
                container: self.containers[index].spec.name.clone(),
                container_id,
                probe: prober.kind,
                handler: prober.spec.handler.clone(),
                timeout: Duration::from_secs(prober.spec.timeout_secs),
            };
            let action = self.ask_for_container(index, action);
            self.containers[index].probes.probers[position].attempt = Attempt::Running { action, next };
        }
    }

    /// k8s: 7.a.19, 7.g.4: in a stop only readiness goes on.
    fn may_probe(&self, container: &Container, kind: ProbeKind) -> bool {
        match container.stage {
            Stage::Running => self.termination.is_none() || kind == ProbeKind::Readiness,
            Stage::Stopping(_) => kind == ProbeKind::Readiness,
            Stage::Waiting
            | Stage::BackOff { .. }
            | Stage::ImagePullFailed { .. }
            | Stage::RetryLater { .. }
            | Stage::InspectingImage { .. }
            | Stage::PullingImage { .. }
            | Stage::Creating { .. }
            | Stage::Starting { .. }
            | Stage::PostStart { .. }
            | Stage::Exited { .. }
            | Stage::Done => false,
        }
    }

    /// Whether the result turned.
    pub(crate) fn probe_finished(&mut self, index: usize, id: ActionId, outcome: ProbeOutcome, now: Timestamp) -> bool {
        let mut probers = self.containers[index].probes.probers.iter_mut();
        let Some(prober) = probers.find(|prober| matches!(prober.attempt, Attempt::Running { action, .. } if action == id)) else {
            return false;
        };
        let Attempt::Running { next, .. } = prober.attempt else { return false };
        let kind = prober.kind;
        // k8s: 7.a.9: attempts of one probe never overlap; a slow one delays the next.
        prober.attempt = Attempt::Due { at: next.max(now) };
        if !matches!(outcome, ProbeOutcome::Error { .. }) {
            prober.errors = 0;
        }
        let success = match &outcome {
            ProbeOutcome::Success | ProbeOutcome::Warning { .. } => true,
            ProbeOutcome::Failure { .. } => false,
            ProbeOutcome::Error { error } => {
                prober.errors += 1;
                if prober.errors < MAX_PROBE_TRIES {
                    prober.attempt = Attempt::Due { at: now };
                } else {
                    prober.errors = 0;
                    let text = format!("{kind} probe errored and resulted in unknown state: {error}");
                    self.tell_container(index, EventKind::Warning, "Unhealthy", text);
                }
                return false;
            }
        };
        let turned = prober.count(success);
        if turned && (kind == ProbeKind::Startup || (kind == ProbeKind::Liveness && !success)) {
            // k8s: 7.a.12, 7.a.15
            prober.attempt = Attempt::Off;
        }
        match outcome {
            // k8s: 7.b.2, 7.b.3
            ProbeOutcome::Failure { output } => {
                self.tell_container(index, EventKind::Warning, "Unhealthy", format!("{kind} probe failed: {output}"));
            }
            ProbeOutcome::Warning { output } => {
                self.tell_container(index, EventKind::Warning, "ProbeWarning", format!("{kind} probe warning: {output}"));
            }
            ProbeOutcome::Success | ProbeOutcome::Error { .. } => {}
        }
        if turned {
            let container = self.containers[index].spec.name.clone();
            self.tell(Action::Note(Note::ProbeTurned { container, probe: kind, success }));
            self.probe_turned(index, kind, success, now);
        }
        turned
    }

    fn probe_turned(&mut self, index: usize, kind: ProbeKind, success: bool, now: Timestamp) {
        match (kind, success) {
            (ProbeKind::Startup, true) => {
                let container = &mut self.containers[index];
                let started_at = container.instance.as_ref().and_then(|instance| instance.started_at).unwrap_or(now);
                for prober in container.probes.probers.iter_mut().filter(|prober| prober.kind != ProbeKind::Startup) {
                    prober.attempt = first_attempt(prober, started_at, now);
                }
            }
            (ProbeKind::Startup, false) => self.kill_unhealthy(index, StopCause::StartupFailed, now),
            (ProbeKind::Liveness, false) => self.kill_unhealthy(index, StopCause::LivenessFailed, now),
            (ProbeKind::Liveness, true) | (ProbeKind::Readiness, _) => {}
        }
    }

    /// k8s: 4.a.4 to 4.a.7
    fn kill_unhealthy(&mut self, index: usize, cause: StopCause, now: Timestamp) {
        if self.containers[index].stage != Stage::Running || self.termination.is_some() {
            return;
        }
        let container = &self.containers[index];
        let (kind, word) = match cause {
            StopCause::StartupFailed => (ProbeKind::Startup, "startup"),
            StopCause::LivenessFailed
            | StopCause::Pod(_)
            | StopCause::PostStartFailed
            | StopCause::DefinitionChanged
            | StopCause::ResizeNeedsRestart
            | StopCause::RestartAllContainers => (ProbeKind::Liveness, "liveness"),
        };
        let probe_grace = container.probes.find(kind).and_then(|prober| prober.spec.termination_grace_period_secs);
        let name = container.spec.name.clone();
        let restarts = restart::restarts_after_probe(container.role, &container.spec, self.spec.restart_policy);
        let text = match (container.role, restarts) {
            (Role::Init | Role::Sidecar, _) => format!("Init container {name} failed {word} probe"),
            (Role::Regular, true) => format!("Container {name} failed {word} probe, will be restarted"),
            (Role::Regular, false) | (Role::Ephemeral, _) => format!("Container {name} failed {word} probe"),
        };
        let others_live = self
            .containers
            .iter()
            .enumerate()
            .any(|(other, container)| other != index && container.role == Role::Regular && container.stage != Stage::Done);
        if container.role == Role::Regular && !restarts && !others_live {
            // k8s: 4.a.6: the last one, and nothing restarts it: the whole pod goes, with the spec's grace.
            let trigger = KillTrigger::ProbeFailed;
            self.begin_termination(Termination::by_itself(trigger, now), now);
            return;
        }
        self.stop_alone(index, cause, text, probe_grace, now);
    }
}

/// k8s: 7.a.8
fn first_attempt(prober: &Prober, started_at: Timestamp, now: Timestamp) -> Attempt {
    Attempt::Due { at: (started_at + Duration::from_secs(prober.spec.initial_delay_secs)).max(now) }
}

/// A part of the period that is always the same for the same probe, and seldom the same for two.
fn share_of_period(names: &[&str], period_secs: u64) -> Duration {
    let bytes = names.iter().flat_map(|name| name.bytes().chain([0]));
    let hash = bytes.fold(FNV_OFFSET, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(FNV_PRIME));
    let period_millis = period_secs.saturating_mul(1000);
    Duration::from_millis(hash.checked_rem(period_millis).unwrap_or(0))
}

/// FNV-1a with 64 bits.
const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0100_0000_01b3;
