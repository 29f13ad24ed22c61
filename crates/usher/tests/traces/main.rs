//! The recordings of a reference node, run by `usher run` with real containers: the same manifests, the same things done to
//! them from outside, and the same lifecycle shown.
//!
//! Each case must show the same Events, container states, phases, conditions, signals, exit codes and workload lines in the same
//! order, and the durations that its manifest asks for. What may differ stands in `sim::trace::differences`, each line with its
//! reason. The same recordings are replayed in virtual time by `sim`'s own tests.

#[path = "../support/mod.rs"]
mod support;

mod play;
mod shown;

use sim::trace::compare::Tolerance;
use sim::trace::differences::Player;
use sim::trace::recording::Recording;
use sim::trace::{CASES, Case, judge};

use support::Machine;

/// What a machine with all its processors busy may take longer for a step.
const TOLERANCE: Tolerance = Tolerance { step_late_secs: 1.5 };

/// A case of which other steps are played than the recorded ones.
struct Other {
    case: &'static str,
    steps: &'static str,
    /// What is compared ends a little after this container shows this.
    cut_after: Option<(&'static str, &'static str)>,
}

/// The reference gets to a delete only with its next sync: by then the pause before the next start has begun, or the process that
/// had just started has ended. Here the delete comes at the same point of the pod's life.
const LATER: &[Other] = &[
    Other { case: "b-poststart-badcommand", steps: "until restarts>=2; until reason=CrashLoopBackOff; delete", cut_after: None },
    Other { case: "b2-poststart-exit3", steps: "until restarts>=1; until reason=CrashLoopBackOff; delete", cut_after: None },
    Other { case: "g13-poststart-http-host", steps: "until restarts>=1; until reason=CrashLoopBackOff; delete", cut_after: None },
    Other { case: "g4-poststart-http-refused", steps: "until restarts>=1; until reason=CrashLoopBackOff; delete", cut_after: None },
    Other { case: "k2-crashloop-exit0", steps: "until restarts>=2; until reason=CrashLoopBackOff; delete", cut_after: None },
    Other { case: "o-poststart-fail-with-prestop", steps: "until restarts>=1; until reason=CrashLoopBackOff; delete", cut_after: None },
    Other { case: "p-exit-during-poststart", steps: "until restarts>=1; until reason=CrashLoopBackOff; delete", cut_after: None },
];

/// The pauses of a crash loop are the machine's alone, and its test in virtual time waits for all of them. With real containers
/// three restarts show how they grow, after 0, 10 and 20 s; all five take three minutes.
const SHORTER: &[Other] = &[Other {
    case: "k-crashloop-always",
    steps: "until restarts>=3 60; until reason=CrashLoopBackOff; sleep 6; delete",
    cut_after: Some(("app", "terminated 1 Error restarts=3")),
}];

// k8s: 2.c.16, 2.d.17, 3.g.1, 3.d.1, and 3.d.23: what `g13` asks of 127.0.0.1 is asked of the node
fn check(name: &str) {
    let case = Case::named(name).expect("the case is recorded");
    let Some(machine) = Machine::new(name) else { return };
    let other = LATER.iter().chain(SHORTER).find(|other| other.case == name);
    let played = play::play(&machine, case, other.map(|other| other.steps));
    let mut reference = Recording::read(case.recorded);
    let mut ours = shown::recording(&played.entries);
    if let Some((container, shown)) = other.and_then(|other| other.cut_after) {
        for recording in [&mut reference, &mut ours] {
            assert!(recording.cut_after(container, shown), "{name} never showed {shown}\n{}", played.story());
        }
    }
    if let Err(disagreements) = judge(case, Player::RealRuntime, &reference, &ours, TOLERANCE) {
        panic!("{}\n{disagreements}", played.story());
    }
}

macro_rules! tests {
    ($($test:ident = $name:literal,)*) => {
        $(
            #[test]
            fn $test() {
                check($name);
            }
        )*
    };
}

sim::for_each_trace!(tests);

#[test]
fn other_steps_belong_to_a_case() {
    for other in LATER.iter().chain(SHORTER) {
        assert!(CASES.iter().any(|case| case.name == other.case), "{}", other.case);
    }
}
