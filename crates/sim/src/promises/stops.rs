//! Stops: what is done to each container that stops, in which order and exactly when (sections 3, 4 and 6.c of the rows).
//!
//! For each container that stops a model goes through hook, wait, signal and SIGKILL with the arithmetic of the rows; in
//! every window the machine must do what the model does, no more and no less.

use std::time::Duration;

use lifecycle::{Action, ActionId, Event, Grace, Hook, HookOutcome, KillPod, KillTrigger, Note, ProbeKind, Role, Timestamp};

use super::{Promise, Verdict};
use crate::known::{Known, KnownTermination, Window};
use crate::story::{Story, What};

const STOP: &str = "a stop goes through hook, wait, signal and SIGKILL in this order and at these times";
const LATE: &str = "no step of a stop comes late";
const WHY: &str = "a container is stopped only for a reason";
const BOUND: &str = "every container is killed within its grace and two seconds";

/// k8s: 3.b.5
const FLOOR_SECS: u64 = 2;
const AGAIN: Duration = Duration::from_secs(10);

/// What the machine does to one container that stops.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Deed {
    Killing(String),
    RunPreStop,
    CancelPreStop,
    HookFailed,
    HookOutOfGrace,
    Stop { secs: u64 },
    Kill,
}

/// A stop in progress.
#[derive(Clone, Debug)]
struct Stop {
    /// The countdown began here.
    began_at: Timestamp,
    /// Its length in whole seconds.
    grace_secs: u64,
    /// Sidecars wait for their turn only when the pod goes.
    is_of_pod: bool,
    step: At,
}

#[derive(Clone, Debug)]
enum At {
    Hook { run: Option<ActionId>, until: Timestamp },
    Wait { since: Timestamp, secs: u64 },
    Signalled { at: Timestamp, kill_at: Timestamp },
    Killed { again_at: Timestamp },
}

impl Stop {
    /// k8s: 3.b.3
    fn left(&self, now: Timestamp) -> u64 {
        self.grace_secs.saturating_sub(now.since(self.began_at).as_secs())
    }

    fn end(&self) -> Timestamp {
        self.began_at + Duration::from_secs(self.grace_secs)
    }

    fn due(&self) -> Timestamp {
        match self.step {
            At::Hook { until, .. } => until,
            At::Wait { since, secs } => (since + Duration::from_secs(secs)).min(self.end()),
            At::Signalled { kill_at, .. } => kill_at,
            At::Killed { again_at } => again_at,
        }
    }
}

/// The grace of the pod.
#[derive(Clone, Copy, Debug)]
struct PodGrace {
    began_at: Timestamp,
    grace_secs: u64,
    at_once: bool,
    deleted_at: Option<Timestamp>,
}

/// Foretells stops.
#[derive(Debug)]
pub(super) struct Stops {
    stops: Vec<Option<Stop>>,
    pod: Option<PodGrace>,
    /// No container may be left alone longer than until then (k8s: 3.b.11).
    bounds: Vec<Option<Timestamp>>,
    expected: Vec<Vec<Deed>>,
    last_at: Timestamp,
}

impl Stops {
    pub(super) fn new(story: &Story) -> Self {
        let count = story.pod.all_containers().count();
        Self { stops: vec![None; count], pod: None, bounds: vec![None; count], expected: vec![Vec::new(); count], last_at: story.start }
    }

    fn expect(&mut self, index: usize, deed: Deed) {
        self.expected[index].push(deed);
    }

    /// k8s: 3.b.1, 3.b.2
    fn begin(&mut self, known: &Known<'_>, index: usize, text: String, stop: Stop, now: Timestamp) {
        self.expect(index, Deed::Killing(text));
        self.bounds[index] = Some(stop.end().max(now) + Duration::from_secs(FLOOR_SECS));
        let left = stop.left(now);
        let is_at_once = self.pod.is_some_and(|pod| pod.at_once);
        let end = stop.end();
        self.stops[index] = Some(stop);
        if is_at_once {
            self.kill(index, now);
        } else if known.containers[index].spec.pre_stop.is_some() && left > 0 {
            self.expect(index, Deed::RunPreStop);
            self.set(index, At::Hook { run: None, until: end });
        } else {
            self.after_hook(known, index, left, now);
        }
    }

    fn set(&mut self, index: usize, step: At) {
        if let Some(stop) = &mut self.stops[index] {
            stop.step = step;
        }
    }

    /// k8s: 3.b.4
    fn after_hook(&mut self, known: &Known<'_>, index: usize, left: u64, now: Timestamp) {
        let waits = self.stops[index].as_ref().is_some_and(|stop| stop.is_of_pod) && left > 0 && !is_next(known, index);
        if waits {
            self.set(index, At::Wait { since: now, secs: left });
        } else {
            self.signal(index, left, now);
        }
    }

    /// k8s: 3.b.5, 3.b.6
    fn signal(&mut self, index: usize, left: u64, now: Timestamp) {
        let secs = left.max(FLOOR_SECS);
        self.expect(index, Deed::Stop { secs });
        self.set(index, At::Signalled { at: now, kill_at: now + Duration::from_secs(secs) });
    }

    fn kill(&mut self, index: usize, now: Timestamp) {
        if let Some(Stop { step: At::Hook { .. }, .. }) = &self.stops[index]
            && !self.expected[index].contains(&Deed::RunPreStop)
        {
            self.expect(index, Deed::CancelPreStop);
        }
        self.expect(index, Deed::Kill);
        self.set(index, At::Killed { again_at: now + AGAIN });
    }

    /// k8s: 3.a.5, 3.a.6, 3.a.9
    fn pod_begins(&mut self, known: &Known<'_>, window: &Window<'_>, asked: Option<KillPod>) {
        let spec = known.pod.termination_grace_period_secs;
        let (grace_secs, at_once, deleted_at) = match asked {
            Some(kill) => {
                let deleted_at = (kill.trigger == KillTrigger::Deleted).then_some(window.at);
                (grace_of(kill, spec), kill.grace == Grace::AtOnce, deleted_at)
            }
            None => (spec, false, None),
        };
        self.pod = Some(PodGrace { began_at: window.at, grace_secs, at_once, deleted_at });
        for index in 0..self.stops.len() {
            if self.stops[index].is_some() {
                self.shorten(index, window.at + Duration::from_secs(grace_secs), at_once, window.at);
            } else if known.containers[index].is_alive() {
                self.stop_for_pod(known, index, window.at);
            }
        }
    }

    fn stop_for_pod(&mut self, known: &Known<'_>, index: usize, now: Timestamp) {
        let Some(pod) = self.pod else { return };
        let text = format!("Stopping container {}", known.containers[index].spec.name);
        let step = At::Killed { again_at: now };
        let stop = Stop { began_at: pod.began_at, grace_secs: pod.grace_secs, is_of_pod: true, step };
        self.begin(known, index, text, stop, now);
    }

    /// k8s: 1.b.12, 3.a.8: a shorter grace counts at once, a longer one not at all.
    fn asked_again(&mut self, known: &Known<'_>, kill: KillPod, now: Timestamp) {
        let Some(pod) = &mut self.pod else { return };
        let counts_from = if kill.trigger == KillTrigger::Deleted { *pod.deleted_at.get_or_insert(now) } else { now };
        let in_force = pod.began_at + Duration::from_secs(pod.grace_secs);
        let end = (counts_from + Duration::from_secs(grace_of(kill, known.pod.termination_grace_period_secs))).min(in_force);
        let at_once = kill.grace == Grace::AtOnce;
        if end >= in_force && (!at_once || pod.at_once) {
            return;
        }
        pod.grace_secs = end.since(pod.began_at).as_secs();
        pod.at_once |= at_once;
        for index in 0..self.stops.len() {
            self.shorten(index, end, at_once, now);
        }
    }

    fn shorten(&mut self, index: usize, end: Timestamp, at_once: bool, now: Timestamp) {
        let Some(stop) = &mut self.stops[index] else { return };
        let end = end.min(stop.end());
        stop.grace_secs = end.since(stop.began_at).as_secs();
        let bound = end.max(now) + Duration::from_secs(FLOOR_SECS);
        self.bounds[index] = self.bounds[index].map(|earlier| earlier.min(bound));
        let mut is_killed = false;
        match &mut stop.step {
            At::Hook { until, .. } => *until = end.min(*until),
            At::Wait { since, secs } => *secs = end.since(*since).as_secs().min(*secs),
            At::Signalled { at, kill_at } => *kill_at = end.max(*at + Duration::from_secs(FLOOR_SECS)).min(*kill_at),
            At::Killed { .. } => is_killed = true,
        }
        if at_once && !is_killed {
            self.kill(index, now);
        }
    }

    fn hook_finished(&mut self, known: &Known<'_>, id: ActionId, outcome: &HookOutcome, now: Timestamp) {
        let is_it = |stop: &Option<Stop>| matches!(stop, Some(Stop { step: At::Hook { run: Some(run), .. }, .. }) if *run == id);
        let Some(index) = self.stops.iter().position(is_it) else { return };
        let left = self.stops[index].as_ref().map_or(0, |stop| stop.left(now));
        match outcome {
            HookOutcome::ContainerEnded { .. } => {
                let kill_at = now + Duration::from_secs(left.max(FLOOR_SECS));
                self.set(index, At::Signalled { at: now, kill_at });
                return;
            }
            HookOutcome::Succeeded | HookOutcome::Cancelled => {}
            HookOutcome::ExitedNonZero { .. }
            | HookOutcome::FailedToRun { .. }
            | HookOutcome::HttpFailed { .. }
            | HookOutcome::TimedOut { .. } => self.expect(index, Deed::HookFailed),
        }
        self.after_hook(known, index, left, now);
    }

    /// k8s: 2.d.11
    fn post_start_failed(&mut self, known: &Known<'_>, index: usize, outcome: &HookOutcome, now: Timestamp) {
        let grace_secs = known.pod.termination_grace_period_secs;
        let stop = Stop { began_at: now, grace_secs, is_of_pod: false, step: At::Killed { again_at: now } };
        if matches!(outcome, HookOutcome::ContainerEnded { .. }) {
            let kill_at = now + Duration::from_secs(grace_secs.max(FLOOR_SECS));
            self.stops[index] = Some(Stop { step: At::Signalled { at: now, kill_at }, ..stop });
        } else {
            self.begin(known, index, "FailedPostStartHook".to_owned(), stop, now);
        }
    }

    /// k8s: 3.a.1, 4.a.4, 4.a.5, 4.a.10: a probe's kill is told by its text; that it is due is judged with the probes.
    fn probe_kills(&mut self, known: &Known<'_>, window: &Window<'_>) {
        for step in &window.did {
            let Action::RecordEvent(record) = &step.action else { continue };
            let probe = match record.message.as_str() {
                message if record.reason == "Killing" && message.contains("failed liveness probe") => Some(ProbeKind::Liveness),
                message if record.reason == "Killing" && message.contains("failed startup probe") => Some(ProbeKind::Startup),
                // k8s: 4.a.10: whether it is due is judged with the resizes.
                message if record.reason == "Killing" && message.ends_with("resize requires restart") => None,
                // k8s: 4.a.8, 4.a.9: whether it is due is judged with the images.
                message if record.reason == "Killing" && message.contains(" definition changed") => None,
                _ => continue,
            };
            let Some(index) = record.about.as_ref().and_then(|about| known.index(about.container())) else { continue };
            let spec = known.containers[index].spec;
            let probe = match probe {
                Some(ProbeKind::Liveness) => spec.liveness_probe.as_ref(),
                Some(ProbeKind::Startup) => spec.startup_probe.as_ref(),
                Some(ProbeKind::Readiness) | None => None,
            };
            let own = probe.and_then(|probe| probe.termination_grace_period_secs);
            let grace_secs = own.unwrap_or(known.pod.termination_grace_period_secs);
            let stop = Stop { began_at: window.at, grace_secs, is_of_pod: false, step: At::Killed { again_at: window.at } };
            self.begin(known, index, record.message.clone(), stop, window.at);
        }
    }

    fn time_out(&mut self, known: &Known<'_>, now: Timestamp) {
        for index in 0..self.stops.len() {
            let Some(stop) = self.stops[index].clone().filter(|stop| stop.due() <= now) else { continue };
            match stop.step {
                // k8s: 3.e.3, difference 3
                At::Hook { .. } => {
                    self.expect(index, Deed::HookOutOfGrace);
                    self.expect(index, Deed::CancelPreStop);
                    self.after_hook(known, index, stop.left(now), now);
                }
                // k8s: 6.c.7
                At::Wait { .. } => self.signal(index, 0, now),
                At::Signalled { .. } | At::Killed { .. } => self.kill(index, now),
            }
        }
    }

    fn release(&mut self, known: &Known<'_>, now: Timestamp) {
        for index in (0..self.stops.len()).rev() {
            if let Some(Stop { step: At::Wait { since, secs }, .. }) = self.stops[index]
                && is_next(known, index)
            {
                self.signal(index, secs.saturating_sub(now.since(since).as_secs()), now);
            }
        }
    }

    /// Those that are gone stop no more; a hook that still ran is cancelled.
    fn forget_the_dead(&mut self, known: &Known<'_>) {
        for index in 0..self.stops.len() {
            if self.stops[index].is_some() && !known.containers[index].is_alive() {
                if let Some(Stop { step: At::Hook { .. }, .. }) = self.stops[index] {
                    self.expect(index, Deed::CancelPreStop);
                }
                self.stops[index] = None;
                self.bounds[index] = None;
            }
        }
    }

    fn compare(&self, known: &Known<'_>, window: &Window<'_>) -> Verdict {
        for (index, container) in known.containers.iter().enumerate() {
            let name = &container.spec.name;
            let did: Vec<Deed> = window.did.iter().filter_map(|step| deed(known, name, &step.action)).collect();
            if did != self.expected[index] {
                let is_baseless = self.expected[index].is_empty() && matches!(did.first(), Some(Deed::Killing(_)));
                let promise = if is_baseless { WHY } else { STOP };
                return Err((promise, format!("{name}: did {did:?} where {:?} was due", self.expected[index])));
            }
        }
        Ok(())
    }
}

impl<'a> Promise<'a> for Stops {
    fn before(&mut self, known: &Known<'a>, window: &Window<'a>) -> Verdict {
        if window.is_after_sleep {
            // What was due while the engine was away is due when it is back, and the signal has its two seconds then.
            for bound in self.bounds.iter_mut().flatten() {
                *bound = (window.at + Duration::from_secs(FLOOR_SECS)).max(*bound);
            }
        }
        let is_later = window.at > std::mem::replace(&mut self.last_at, window.at);
        if is_later && !window.is_after_sleep {
            for (index, stop) in self.stops.iter().enumerate() {
                if let Some(stop) = stop.as_ref().filter(|stop| stop.due() < window.at) {
                    return Err((LATE, format!("{}: {:?} was due at {}", known.containers[index].spec.name, stop.step, stop.due())));
                }
            }
        }
        for expected in &mut self.expected {
            expected.clear();
        }
        if let Some(What::Told(Event::HookFinished { id, outcome })) = window.input
            && known.termination.is_none()
            && *outcome != HookOutcome::Succeeded
            && let Some(index) = known.containers.iter().position(|container| container.start_step == Some(*id))
            && matches!(known.step(*id), Some(Action::RunHook { hook: Hook::PostStart, .. }))
        {
            self.post_start_failed(known, index, outcome, window.at);
        }
        Ok(())
    }

    fn heard(&mut self, known: &Known<'a>, window: &Window<'a>) -> Verdict {
        let now = window.at;
        self.forget_the_dead(known);
        let mut begun = window.did.iter().filter_map(|step| match &step.action {
            Action::Note(Note::TerminationBegan { trigger, shortened: false, .. }) => Some(*trigger),
            _ => None,
        });
        let trigger = begun.next();
        let begins = trigger.is_some();
        match window.input {
            // A pod that goes anyway has nothing to be turned away from.
            Some(What::Asked(kill, _)) if known.termination.is_some() && kill.trigger == KillTrigger::Rejected => {}
            Some(What::Asked(kill, _)) if known.termination.is_some() && !known.is_over => self.asked_again(known, *kill, now),
            Some(What::Asked(kill, _)) if begins => self.pod_begins(known, window, Some(*kill)),
            Some(What::Told(Event::HookFinished { id, outcome })) => self.hook_finished(known, *id, outcome, now),
            Some(What::Told(Event::ContainerStarted { .. })) if known.termination.is_some() => {
                for index in 0..self.stops.len() {
                    if self.stops[index].is_none() && known.containers[index].is_alive() {
                        self.stop_for_pod(known, index, now);
                    }
                }
            }
            // The pod's own deadline comes before what it may bring forward to this instant.
            Some(What::Due(_)) => {
                if trigger == Some(KillTrigger::DeadlineExceeded) {
                    self.pod_begins(known, window, None);
                }
                self.time_out(known, now);
            }
            Some(_) | None => {}
        }
        self.probe_kills(known, window);
        if begins && trigger != Some(KillTrigger::DeadlineExceeded) && !matches!(window.input, Some(What::Asked(..))) {
            self.pod_begins(known, window, None);
        }
        if begins || known.termination.is_some() {
            self.release(known, now);
        }
        self.compare(known, window)
    }

    fn after(&mut self, known: &Known<'a>, window: &Window<'a>) -> Verdict {
        for step in &window.did {
            match &step.action {
                Action::RunHook { container, hook: Hook::PreStop, .. } => {
                    if let Some(index) = known.index(container)
                        && let Some(Stop { step: At::Hook { run, .. }, .. }) = &mut self.stops[index]
                    {
                        *run = Some(step.id);
                    }
                }
                Action::KillContainer { container, .. } => {
                    if let Some(index) = known.index(container)
                        && let Some(bound) = self.bounds[index].take()
                        && bound < window.at
                    {
                        let since = known.termination.map(|KnownTermination { at, .. }| at);
                        return Err((BOUND, format!("{container}: was to be killed by {bound}, the pod goes since {since:?}")));
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// k8s: 3.a.5, 3.a.6
fn grace_of(kill: KillPod, spec: u64) -> u64 {
    match kill.grace {
        Grace::FromSpec => spec.max(1),
        Grace::Seconds(secs) => secs.max(1),
        Grace::AtOnce => 1,
    }
}

/// k8s: 6.c.3, 6.c.4, 6.c.5, 6.c.6
fn is_next(known: &Known<'_>, index: usize) -> bool {
    if known.containers[index].role != Role::Sidecar {
        return true;
    }
    let others = known.containers.iter().enumerate().filter(|(other, _)| *other != index);
    !others.into_iter().any(|(other, container)| {
        let is_starting = container.start_step.is_some_and(|id| matches!(known.step(id), Some(Action::StartContainer { .. })));
        let stops_first = container.role == Role::Regular || (container.role == Role::Sidecar && other > index);
        stops_first && (container.is_alive() || is_starting)
    })
}

fn deed(known: &Known<'_>, name: &str, action: &Action) -> Option<Deed> {
    match action {
        Action::RecordEvent(record) if record.about.as_ref().is_some_and(|about| about.container() == name) => {
            match (record.reason.as_str(), record.message.as_str()) {
                ("Killing", message) => Some(Deed::Killing(message.to_owned())),
                ("FailedPreStopHook", "PreStopHook failed") => Some(Deed::HookFailed),
                ("FailedPreStopHook", _) => Some(Deed::HookOutOfGrace),
                _ => None,
            }
        }
        Action::RunHook { container, hook: Hook::PreStop, .. } if container == name => Some(Deed::RunPreStop),
        Action::CancelHook { run } => match known.step(*run) {
            Some(Action::RunHook { container, hook: Hook::PreStop, .. }) if container == name => Some(Deed::CancelPreStop),
            Some(_) | None => None,
        },
        Action::StopContainer { container, kill_after, .. } if container == name => Some(Deed::Stop { secs: kill_after.as_secs() }),
        Action::KillContainer { container, .. } if container == name => Some(Deed::Kill),
        _ => None,
    }
}
