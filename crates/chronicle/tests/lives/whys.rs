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

/// What is said of `app`, which was killed by a stranger, with these sessions in its journal: verb's words, begun and ended so many
/// milliseconds before its end.
fn with_sessions(sessions: &[(&[&str], bool, u64, Option<u64>)]) -> String {
    let recorded = include_str!("../../fixtures/journals/killed-by-stranger.jsonl");
    let mut journal = read([recorded]).expect("the recording is read");
    let life = Life::of(&journal).expect("a heading");
    let instance = &life.containers[0].instances[0];
    let exited = instance.ended_at().expect("it ended").as_nanos();
    let moment = |millis: u64| chronicle::Moment { boot_nanos: exited - millis * 1_000_000, wall_nanos: 0 };
    let last = journal.entries.last().expect("entries").clone();
    for (number, (command, tty, began, ended)) in sessions.iter().enumerate() {
        let facts = chronicle::SessionFacts {
            id: format!("exec-{number}"),
            container: life.containers[0].name.clone(),
            container_id: instance.container_id.clone().expect("an id"),
            verb: chronicle::SessionVerb::Exec,
            command: command.iter().map(|word| (*word).to_owned()).collect(),
            tty: *tty,
            by: Some("usher-admin".to_owned()),
            started_at: moment(*began),
            finished_at: ended.map(moment),
            exit_code: None,
            left_out: 0,
        };
        journal.entries.push(chronicle::Entry { seq: last.seq + 1, at: last.at, record: chronicle::Record::Session(facts) });
    }
    let life = Life::of(&journal).expect("a heading");
    let present = Present { now: life.read_to.timestamp() + ASKED_AFTER, is_driven: true };
    why(&life, Some(&life.containers[0].name), present).iter().map(|answer| answer.text.as_str()).collect::<Vec<_>>().join(" ")
}

#[test]
fn a_session_that_may_have_ended_the_process_is_named() {
    let kill = with_sessions(&[(&["sh"], true, 900, None), (&["sh", "-c", "kill -9 1"], false, 120, Some(100))]);
    assert!(kill.contains("; a session of usher-admin ran `sh -c kill -9 1` 0.1 s before"), "{kill}");
    let typed = with_sessions(&[(&["bash"], true, 90_000, None)]);
    assert!(typed.contains("; a session of usher-admin with a terminal (exec bash) was there"), "{typed}");
    let innocent =
        [(&["ls", "/skill"][..], false, 100, Some(50)), (&["kill", "1"], false, 9000, Some(8000)), (&["sh"], true, 9000, Some(8000))];
    assert!(!with_sessions(&innocent).contains("session"), "{}", with_sessions(&innocent));
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
