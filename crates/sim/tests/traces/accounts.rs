//! The grace accounts of the recorded cases: they add up, they name the cause that the recording shows, and hook and process
//! have the time in them that the reference node measured.

use std::time::Duration;

use chronicle::Life;
use chronicle::blame::{Blame, blame};
use lifecycle::{GraceAccount, ShareUser, Verdict};

use sim::trace::recording::{Line, Recording};
use sim::trace::{CASES, Case};

use crate::{pod, replay};

/// The recordings were made on a machine that is busy with other things: what the reference took for a step beside the work.
const LAG: f64 = 1.3;

/// Cases whose stops differ on purpose from the reference, so that durations cannot be compared.
const NOT_COMPARED: &[(&str, &str)] = &[
    ("e-prestop-hang", "difference 3: the hook is cut off when the signal goes out"),
    ("f2-poststart-hang-delete", "difference 1: the delete cancels the postStart hook"),
    ("h2-sleep-over-grace", "difference 3: the sleep is cut off"),
    ("j-liveness-prestop-restart", "it is stopped several times, as often as time allows"),
    ("p-exit-during-poststart", "difference 6: nothing is killed where nothing lives"),
];

/// Who is to blame for each stop, in the order in which the stops began, as the recording shows it: `about` says what the case is,
/// the end stands in its `container` and `work` lines.
const BLAMED: &[(&str, &[Blame])] = &[
    ("d-prestop5-grace6-app3", &[Blame::PreStop]),
    ("d3-ignore-term-grace3", &[Blame::Process]),
    ("m-force-grace0", &[Blame::PreStopEndless]),
    ("m2-grace3-override", &[Blame::PreStopEndless]),
    ("m5-grace1", &[Blame::Process]),
    ("m7-spec-grace0", &[Blame::Process]),
];

fn life(name: &str) -> (Life, Recording) {
    let case = Case::named(name).expect("a case");
    let story = replay::play(&pod::read(case.pod));
    let life = Life::of(&sim::journal::of(&story)).expect("a heading");
    (life, Recording::read(case.recorded))
}

#[test]
fn the_shares_of_every_recorded_stop_make_the_whole() {
    let mut stops = 0;
    for Case { name, .. } in CASES {
        for account in life(name).0.accounts {
            let used = account.used().expect("every recorded container ended");
            let mut at = Duration::ZERO;
            for share in account.shares() {
                assert_eq!(share.from, at, "{name}: {account:#?}");
                at = share.to;
            }
            assert_eq!(at, used.max(Duration::from_secs(account.grace_secs)), "{name}: {account:#?}");
            stops += 1;
        }
    }
    assert!(stops >= 40, "{stops} stops");
}

#[test]
fn the_blame_of_every_recorded_kill_is_the_recorded_cause() {
    for Case { name, .. } in CASES {
        let found: Vec<Blame> = life(name).0.accounts.iter().map(blame).filter(|blame| *blame != Blame::Nobody).collect();
        let recorded = BLAMED.iter().find(|(other, _)| other == name).map_or(&[][..], |(_, blames)| *blames);
        assert_eq!(found, recorded, "{name}");
    }
}

/// An account says Killed if and only if the reference's workload got its stop signal and never wrote that it ended.
#[test]
fn what_was_killed_on_the_reference_node_is_killed_here() {
    let mut compared = 0;
    for Case { name, .. } in CASES {
        let (life, recording) = life(name);
        for container in &life.containers {
            let accounts: Vec<&GraceAccount> = life.accounts.iter().filter(|account| account.container == container.name).collect();
            let ([account], Some(work)) = (accounts.as_slice(), recording.work.get(&container.name)) else { continue };
            let signal = work.iter().rfind(|line| line.text.starts_with("main: signal"));
            let Some(signal) = signal.filter(|_| account.signalled_at.is_some()) else { continue };
            let was_killed = !work.iter().any(|line| line.at >= signal.at && line.text.starts_with("main: exit"));
            assert_eq!(account.verdict() == Verdict::Killed, was_killed, "{name} {}: {account:#?}", container.name);
            compared += 1;
        }
    }
    assert!(compared >= 25, "{compared} stops");
}

/// What the workload wrote down on the reference node: when its hook ran, when the signal came, when it ended.
struct Measured {
    hook: Option<f64>,
    signal_to_exit: Option<f64>,
}

fn measured(work: &[Line]) -> Measured {
    let after = |text: &str, from: f64| work.iter().find(|line| line.at >= from && line.text.starts_with(text)).map(|line| line.at);
    let signal = after("main: signal", f64::MIN);
    let exit = signal.and_then(|at| after("main: exit", at));
    // Hooks of the stop only: those of the start are over long before.
    let begun = work.iter().rev().find(|line| line.text.starts_with("hook: sleep begins")).map(|line| line.at);
    let hook = begun.and_then(|from| Some(after("hook: sleep ends", from)? - from));
    Measured { hook, signal_to_exit: signal.zip(exit).map(|(from, to)| to - from) }
}

#[test]
fn hook_and_process_have_the_time_that_the_reference_node_measured() {
    let mut compared = 0;
    for Case { name, .. } in CASES {
        if NOT_COMPARED.iter().any(|(other, _)| other == name) {
            continue;
        }
        let (life, recording) = life(name);
        for container in &life.containers {
            let accounts: Vec<&GraceAccount> = life.accounts.iter().filter(|account| account.container == container.name).collect();
            let ([account], Some(work)) = (accounts.as_slice(), recording.work.get(&container.name)) else { continue };
            let measured = measured(work);
            if let (Some(measured), Some(_)) = (measured.signal_to_exit, account.signalled_at) {
                let ours = account.share_of(ShareUser::StopSignal).as_secs_f64();
                assert!((ours - measured).abs() < LAG, "{name} {}: {ours} s after the signal, measured {measured} s", container.name);
                compared += 1;
            }
            if let (Some(measured), Some(_)) = (measured.hook, &account.pre_stop) {
                let ours = account.share_of(ShareUser::PreStop).as_secs_f64();
                assert!((ours - measured).abs() < LAG, "{name} {}: {ours} s of hook, measured {measured} s", container.name);
                compared += 1;
            }
        }
    }
    assert!(compared >= 25, "{compared} durations");
}
