//! What a meter measures while entries pass is what the whole journal tells afterwards.

use std::time::Duration;

use chronicle::blame::{Blame, blame};
use chronicle::measure::{Measure, Meter, Stage};
use chronicle::{Journal, Life, Moment, Record};
use lifecycle::{
    Action, ActionId, ContainerId, Event, Exit, Grace, Handler, Hook, HookOutcome, KillPod, KillTrigger, Note, ProbeHandler, ProbeKind,
    ProbeOutcome, Step, StopCause, Timestamp,
};

/// Simulated pods that are looked at.
const SEEDS: u64 = 1000;

fn measures(journal: &Journal) -> Vec<Measure> {
    let mut meter = Meter::default();
    journal.entries.iter().flat_map(|entry| meter.take(entry.at, &entry.record)).collect()
}

#[test]
fn the_stops_and_ends_that_are_measured_are_those_of_the_life() {
    let (mut stops, mut kills) = (0, 0);
    for seed in 0..SEEDS {
        let journal = sim::journal::of(&sim::play(&sim::plan::Plan::of(seed)));
        let life = Life::of(&journal).expect("a heading");
        let measured = measures(&journal);
        let mut shares: Vec<f64> = measured.iter().filter_map(share).collect();
        let mut expected: Vec<f64> = life
            .accounts
            .iter()
            .filter_map(|account| {
                let grace = Duration::from_secs(account.grace_secs).as_secs_f64();
                account.used().filter(|_| grace > 0.0).map(|used| used.as_secs_f64() / grace)
            })
            .collect();
        shares.sort_by(f64::total_cmp);
        expected.sort_by(f64::total_cmp);
        assert_eq!(shares, expected, "seed {seed}");
        stops += shares.len();
        let blamed = |wanted: Blame| measured.iter().filter(|measure| **measure == Measure::Killed(wanted)).count();
        for wanted in [Blame::Asker, Blame::PreStopEndless, Blame::PreStop, Blame::Order, Blame::Starting, Blame::Process] {
            let told = life.accounts.iter().filter(|account| blame(account) == wanted).count();
            assert_eq!(blamed(wanted), told, "seed {seed}: {wanted:?}");
            kills += told;
        }
        let exits = journal.entries.iter().filter(|entry| matches!(entry.record, Record::Event(Event::ContainerExited { .. }))).count();
        assert_eq!(measured.iter().filter(|measure| matches!(measure, Measure::Exited(_))).count(), exits, "seed {seed}");
    }
    assert!(stops > 500 && kills > 100, "the seeds say too little: {stops} stops, {kills} kills");
}

const fn share(measure: &Measure) -> Option<f64> {
    if let Measure::Stopped { used_share, .. } = measure { *used_share } else { None }
}

#[test]
fn the_starts_and_hooks_that_are_measured_are_those_of_the_life() {
    let mut hooks = 0;
    for seed in 0..SEEDS {
        let journal = sim::journal::of(&sim::play(&sim::plan::Plan::of(seed)));
        let life = Life::of(&journal).expect("a heading");
        let measured = measures(&journal);
        let started: Vec<u32> = starts(&journal).iter().map(|id| restarts(&life, id)).collect();
        let restarted = started.iter().filter(|count| **count > 0).count();
        let count = |is: fn(&Measure) -> bool| measured.iter().filter(|measure| is(measure)).count();
        assert_eq!(count(|measure| matches!(measure, Measure::Started { .. })), started.len(), "seed {seed}");
        assert_eq!(count(|measure| matches!(measure, Measure::Started { is_restart: true, .. })), restarted, "seed {seed}");
        let ended = journal.entries.iter().filter(|entry| matches!(entry.record, Record::Event(Event::HookFinished { .. }))).count();
        assert_eq!(count(|measure| matches!(measure, Measure::Hook { .. })), ended, "seed {seed}");
        hooks += ended;
    }
    assert!(hooks > 500, "the seeds say too little: {hooks} hooks");
}

/// The instances whose start was answered.
#[expect(clippy::wildcard_enum_match_arm, reason = "whoever picks a few records lets the others pass")]
fn starts(journal: &Journal) -> Vec<ContainerId> {
    let mut asked = std::collections::BTreeMap::new();
    let mut started = Vec::new();
    for entry in &journal.entries {
        match &entry.record {
            Record::Action(Step { id, action: Action::StartContainer { container_id, .. } }) => {
                drop(asked.insert(*id, container_id.clone()))
            }
            // Whatever is answered a second time is dropped.
            Record::Event(Event::ContainerStartFailed { id, .. }) => drop(asked.remove(id)),
            Record::Event(Event::ContainerStarted { id, .. }) => started.extend(asked.remove(id)),
            _ => {}
        }
    }
    started
}

fn restarts(life: &Life, id: &ContainerId) -> u32 {
    let mut instances = life.containers.iter().flat_map(|container| &container.instances);
    instances.find(|instance| instance.container_id.as_ref() == Some(&id.0)).expect("it is in the life").restart_count
}

const fn at(secs: u64) -> Moment {
    Moment { boot_nanos: secs * 1_000_000_000, wall_nanos: 0 }
}

const fn timestamp(secs: u64) -> Timestamp {
    Timestamp::from_nanos(secs * 1_000_000_000)
}

const fn asked(id: u64, action: Action) -> Record {
    Record::Action(Step { id: ActionId(id), action })
}

fn app() -> (String, ContainerId) {
    ("app".to_owned(), ContainerId("0123456789abcdef".to_owned()))
}

/// A pod with one container that runs since the second second.
fn running() -> Meter {
    let mut meter = Meter::default();
    let (container, container_id) = app();
    let mut spec = sim::plan::Plan::of(0).pod;
    spec.init_containers.clear();
    spec.containers.truncate(1);
    spec.containers[0].name.clone_from(&container);
    spec.containers[0].liveness_probe = Some(lifecycle::ProbeSpec {
        handler: ProbeHandler::Exec { command: vec!["true".to_owned()] },
        initial_delay_secs: 0,
        timeout_secs: 1,
        period_secs: 10,
        success_threshold: 1,
        failure_threshold: 3,
        termination_grace_period_secs: None,
    });
    meter.take(at(0), &Record::Spec(Box::new(spec)));
    meter.take(
        at(0),
        &asked(
            1,
            Action::CreateContainer {
                container: container.clone(),
                restart_count: 0,
                image_ref: String::new(),
                resources: lifecycle::Resources::default(),
            },
        ),
    );
    let created = Event::ContainerCreated { id: ActionId(1), container_id: container_id.clone() };
    assert_eq!(meter.take(at(1), &Record::Event(created)), [Measure::Stage(Stage::Create, Duration::from_secs(1))]);
    meter.take(at(1), &asked(2, Action::StartContainer { container, container_id }));
    let started = meter.take(at(3), &Record::Event(Event::ContainerStarted { id: ActionId(2), at: timestamp(2) }));
    let role = lifecycle::Role::Regular;
    assert_eq!(started, [Measure::Stage(Stage::Start, Duration::from_secs(1)), Measure::Started { role, is_restart: false }]);
    meter
}

fn probe(id: u64) -> Record {
    let (container, container_id) = app();
    let handler = ProbeHandler::Exec { command: vec!["true".to_owned()] };
    asked(id, Action::RunProbe { container, container_id, probe: ProbeKind::Liveness, handler, timeout: Duration::from_secs(1) })
}

#[test]
fn a_probe_is_late_by_what_is_over_its_period() {
    let mut meter = running();
    assert_eq!(meter.take(at(10), &probe(3)), [], "nobody knows when the first one was due");
    let ended = Event::ProbeFinished { id: ActionId(3), outcome: ProbeOutcome::Failure { output: String::new() } };
    let (probe_kind, second) = (ProbeKind::Liveness, Duration::from_secs(1));
    assert_eq!(meter.take(at(11), &Record::Event(ended)), [Measure::Probe { probe: probe_kind, result: "failed", took: second }]);
    assert_eq!(meter.take(at(23), &probe(4)), [Measure::ProbeLate(probe_kind, Duration::from_secs(3))]);
    let slow = Event::ProbeFinished { id: ActionId(4), outcome: ProbeOutcome::Success };
    meter.take(at(40), &Record::Event(slow));
    assert_eq!(meter.take(at(40), &probe(5)), [Measure::ProbeLate(probe_kind, Duration::ZERO)], "a slow one delays the next");
    let error = Event::ProbeFinished { id: ActionId(5), outcome: ProbeOutcome::Error { error: String::new() } };
    meter.take(at(41), &Record::Event(error));
    assert_eq!(meter.take(at(60), &probe(6)), [], "one that could not be made is tried again, and nobody knows when that is due");
}

#[test]
fn volumes_are_a_stage_of_their_own_and_no_part_of_the_sandbox_itself() {
    let mut meter = Meter::default();
    meter.take(at(10), &asked(7, Action::CreateSandbox { attempt: 0, containers: std::collections::BTreeMap::new() }));
    let facts = |error: Option<&str>| {
        let (names, error) = (vec!["data".to_owned()], error.map(str::to_owned));
        Record::Volumes(chronicle::VolumeFacts { id: ActionId(7), names, took: Duration::from_secs(2), error })
    };
    assert_eq!(meter.take(at(15), &facts(None)), [Measure::Stage(Stage::Volumes, Duration::from_secs(2))]);
    let ready = Event::SandboxReady { id: ActionId(7), ips: Vec::new(), missing_pull_secrets: Vec::new() };
    let expected = [Measure::Stage(Stage::Sandbox, Duration::from_secs(5)), Measure::SandboxMade(Duration::from_secs(3))];
    assert_eq!(meter.take(at(15), &Record::Event(ready)), expected);
    assert_eq!(meter.take(at(16), &facts(Some("no such folder"))), [], "what failed is counted with the sandbox");
}

#[test]
fn a_preemption_is_measured_once_and_only_if_the_pod_goes_for_it() {
    let kill = KillPod { trigger: KillTrigger::Preempted, grace: Grace::FromSpec };
    let kill = chronicle::Kill { preempted_for: Some("memory".to_owned()), ..chronicle::Kill::plain(kill, None) };
    let began = |trigger| asked(9, Action::Note(Note::TerminationBegan { trigger, grace_secs: None, shortened: false }));
    let mut meter = running();
    assert_eq!(meter.take(at(100), &Record::Kill(kill.clone())), []);
    let expected = [Measure::Terminating(KillTrigger::Preempted), Measure::Preempted("memory".to_owned())];
    assert_eq!(meter.take(at(100), &began(KillTrigger::Preempted)), expected);
    let mut meter = running();
    meter.take(at(100), &Record::Kill(kill));
    assert_eq!(meter.take(at(100), &began(KillTrigger::Deleted)), [Measure::Terminating(KillTrigger::Deleted)]);
}

#[test]
fn a_hook_that_ate_the_grace_is_measured_with_its_kill() {
    let mut meter = running();
    let (container, container_id) = app();
    let kill = KillPod { trigger: KillTrigger::Deleted, grace: Grace::Seconds(4) };
    assert_eq!(meter.take(at(100), &Record::Kill(chronicle::Kill::plain(kill, None))), []);
    let began = Note::TerminationBegan { trigger: KillTrigger::Deleted, grace_secs: Some(4), shortened: false };
    assert_eq!(meter.take(at(100), &asked(9, Action::Note(began))), [Measure::Terminating(KillTrigger::Deleted)]);
    let cause = StopCause::Pod(KillTrigger::Deleted);
    let stop = Note::StopBegan {
        container: container.clone(),
        container_id: container_id.clone(),
        cause,
        grace_secs: 4,
        began_at: timestamp(100),
    };
    meter.take(at(100), &asked(10, Action::Note(stop)));
    let handler = Handler::Sleep { secs: 60 };
    let run = Action::RunHook { container: container.clone(), container_id: container_id.clone(), hook: Hook::PreStop, handler };
    meter.take(at(100), &asked(11, run));
    meter.take(at(104), &asked(12, Action::Note(Note::PreStopOutOfGrace { container: container.clone(), run: ActionId(11) })));
    let stop =
        Action::StopContainer { container: container.clone(), container_id: container_id.clone(), kill_after: Duration::from_secs(2) };
    meter.take(at(104), &asked(13, stop));
    let cancelled = Event::HookFinished { id: ActionId(11), outcome: HookOutcome::Cancelled };
    let hook = Measure::Hook { hook: Hook::PreStop, handler: "sleep", end: "cancelled", took: Duration::from_secs(4) };
    assert_eq!(meter.take(at(104), &Record::Event(cancelled)), [hook]);
    meter.take(at(106), &asked(14, Action::KillContainer { container, container_id: container_id.clone() }));
    let exit = Exit {
        code: 137,
        signal: Some(9),
        reason: "Error".to_owned(),
        message: String::new(),
        started_at: Some(timestamp(2)),
        finished_at: timestamp(106),
    };
    let measured = meter.take(at(106), &Record::Event(Event::ContainerExited { container_id, exit }));
    let expected = [
        Measure::Exited("Error".to_owned()),
        Measure::SignalToExit(Duration::from_secs(2)),
        Measure::Stopped { cause, used_share: Some(1.5) },
        Measure::Killed(Blame::PreStopEndless),
    ];
    assert_eq!(measured, expected);
}
