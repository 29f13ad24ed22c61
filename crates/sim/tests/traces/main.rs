//! Replay of recordings from a reference node: the same manifests, the same things done to them, in virtual time.
//!
//! Each case must show the same Events, container states, phases, conditions, signals and exit codes, and the durations that
//! its manifest asks for. What differs stands in `sim::trace::differences`, each line with its reason; a line there that does
//! not show fails the test too.

mod accounts;
mod pod;
mod replay;
mod shown;
mod tapp;

use sim::story::{End, What};
use sim::trace::compare::Tolerance;
use sim::trace::differences::{DIFFERENCES, Player};
use sim::trace::recording::Recording;
use sim::trace::{CASES, Case, judge};
use sim::world::Fact;

/// Virtual machines are never under load; their steps take what `tapp.rs` says, the recorded ones a little less at times.
const TOLERANCE: Tolerance = Tolerance { step_late_secs: 0.35 };

/// The stop signal as the workload names it.
fn stop_signal(case: &pod::Case) -> &'static str {
    if case.pod.containers.iter().any(|container| container.image == "tapp:quit") { "3 (Quit)" } else { "15 (Terminated)" }
}

// k8s: 2.c.16, 2.d.17, 3.g.1
fn check(name: &str) {
    let recorded = Case::named(name).expect("the case is recorded");
    let case = pod::read(recorded.pod);
    let story = replay::play(&case);
    assert_eq!(story.end, End::Gone, "{}", sim::timeline::text(&story));
    for entry in &story.entries {
        assert!(!matches!(entry.what, What::Fact(Fact::Misuse(_))), "{:?}\n{}", entry.what, sim::timeline::text(&story));
    }
    let reference = shown::without_details(Recording::read(recorded.recorded));
    let mut ours = shown::recording(&story, stop_signal(&case));
    // Other images than the workload's write no lines that could be compared.
    ours.work.retain(|container, _| case.commands.get(container).is_some_and(|command| !command.is_empty()));
    if let Err(disagreements) = judge(recorded, Player::VirtualTime, &reference, &ours, TOLERANCE) {
        panic!("{}\n{disagreements}", sim::timeline::text(&story));
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
fn every_recording_is_played() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/traces");
    let files = std::fs::read_dir(folder).expect("the recordings are there");
    let mut names: Vec<String> =
        files.filter_map(|file| file.ok()?.file_name().into_string().ok()?.strip_suffix(".json").map(str::to_owned)).collect();
    names.sort();
    assert_eq!(names, CASES.iter().map(|case| case.name).collect::<Vec<_>>());
}

#[test]
fn every_difference_belongs_to_a_case() {
    for difference in DIFFERENCES {
        assert!(Case::named(difference.case).is_some(), "{difference:?}");
    }
}
