use std::fmt::Write as _;
use std::time::Duration;

use chronicle::why::{Present, moment_text, why};
use chronicle::{Journal, Life, read};

/// So long after its last entry a journal is asked.
const ASKED_AFTER: Duration = Duration::from_millis(500);

/// What `usher why` says of a recorded journal, word by word; `usher why POD app` too where the pod has one that lives.
fn check(name: &str, recorded: &str) {
    let journal = read([recorded]).expect("the recording is read");
    let life = Life::of(&journal).expect("a heading");
    let present = Present { now: life.read_to.timestamp() + ASKED_AFTER, is_driven: name != "engine-killed" };
    let mut text = String::new();
    for answer in why(&life, None, present) {
        let _ = writeln!(text, "{}", answer.text);
        for evidence in &answer.evidence {
            let _ = writeln!(text, "  {}  {}", moment_text(&life, evidence.at), evidence.text);
        }
    }
    insta::with_settings!({ snapshot_path => "../../fixtures/why", prepend_module_to_snapshot => false, omit_expression => true }, {
        insta::assert_snapshot!(name, text);
    });
}

macro_rules! recordings {
    ($($test:ident = $name:literal,)*) => {
        $(
            #[test]
            fn $test() {
                check($name, include_str!(concat!("../../fixtures/journals/", $name, ".jsonl")));
            }
        )*

        /// All recordings that are asked.
        const RECORDINGS: &[&str] = &[$($name),*];
    };
}

recordings! {
    config_error = "config-error",
    crash_loop = "crash-loop",
    deadline = "deadline",
    engine_killed = "engine-killed",
    failed = "failed",
    graceful = "graceful",
    image_never = "image-never",
    image_pull_failed = "image-pull-failed",
    image_pulling = "image-pulling",
    init_fails = "init-fails",
    init_runs = "init-runs",
    killed_at_once = "killed-at-once",
    killed_by_stranger = "killed-by-stranger",
    killed_endless_pre_stop = "killed-endless-pre-stop",
    killed_ignores = "killed-ignores",
    killed_pre_stop = "killed-pre-stop",
    killed_shell = "killed-shell",
    killed_slow = "killed-slow",
    liveness_failed = "liveness-failed",
    out_of_memory = "out-of-memory",
    post_start_failed = "post-start-failed",
    post_start_runs = "post-start-runs",
    readiness_lost = "readiness-lost",
    readiness_never = "readiness-never",
    ready = "ready",
    restarted_after_crash = "restarted-after-crash",
    sandbox_lost = "sandbox-lost",
    sidecar_not_started = "sidecar-not-started",
    start_error = "start-error",
    startup_failed = "startup-failed",
    startup_waits = "startup-waits",
    stopping_pre_stop = "stopping-pre-stop",
    stopping_sidecar = "stopping-sidecar",
    stopping_signalled = "stopping-signalled",
    succeeded = "succeeded",
}

#[test]
fn every_recording_is_asked() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/journals");
    let files = std::fs::read_dir(folder).expect("the recordings are there");
    let mut names: Vec<String> =
        files.filter_map(|file| file.ok()?.file_name().into_string().ok()?.strip_suffix(".jsonl").map(str::to_owned)).collect();
    names.retain(|name| name != "format-1");
    names.sort();
    assert_eq!(names, RECORDINGS);
}

#[test]
fn one_container_is_asked_alone() {
    let journal = read([include_str!("../../fixtures/journals/post-start-runs.jsonl")]).expect("the recording is read");
    let life = Life::of(&journal).expect("a heading");
    let present = Present { now: life.read_to.timestamp() + ASKED_AFTER, is_driven: true };
    let answers = why(&life, Some("second"), present);
    assert_eq!(answers.iter().map(|answer| answer.whom.as_str()).collect::<Vec<_>>(), ["second"]);
}

/// Whatever a pod goes through, every moment of its life can be asked about, and no answer speaks of what comes after.
#[test]
fn every_moment_of_a_hundred_simulated_lives_has_its_answers() {
    for seed in 0..100 {
        let journal = sim::journal::of(&sim::play(&sim::plan::Plan::of(seed)));
        let lengths = (1..=10).map(|part| journal.entries.len() * part / 10);
        for length in lengths {
            let cut = Journal { entries: journal.entries[..length.max(2)].to_vec(), ..Journal::default() };
            let life = Life::of(&cut).expect("a heading");
            let present = Present { now: life.read_to.timestamp(), is_driven: true };
            let answers = why(&life, None, present);
            assert!(!answers.is_empty(), "seed {seed}, {length} entries");
            for answer in answers {
                let is_sentence = answer.text.ends_with('.') && !answer.text.contains("..") && !answer.text.contains("  ");
                assert!(is_sentence, "seed {seed}, {length} entries: {}", answer.text);
                let later = answer.evidence.iter().find(|evidence| evidence.at > present.now && evidence.text != "the pause is over");
                assert_eq!(later, None, "seed {seed}, {length} entries: {}", answer.text);
            }
        }
    }
}
