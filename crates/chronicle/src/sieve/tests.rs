use lifecycle::{ContainerId, EventKind, EventRecord, Exit, FieldPath, Hook, ProbeHandler, Timestamp};

use super::*;
use crate::{HookFacts, Kill};

fn at(millis: u64) -> Moment {
    Moment { boot_nanos: millis * 1_000_000, wall_nanos: millis * 1_000_000 }
}

fn attempt(id: u64) -> Record {
    let action = Action::RunProbe {
        container: "app".to_owned(),
        container_id: ContainerId("c1".to_owned()),
        probe: ProbeKind::Readiness,
        handler: ProbeHandler::Exec { command: vec!["check".to_owned()] },
        timeout: Duration::from_secs(1),
    };
    Record::Action(Step { id: ActionId(id), action })
}

fn finished(id: u64, success: bool) -> Record {
    let outcome = if success { ProbeOutcome::Success } else { ProbeOutcome::Failure { output: "refused".to_owned() } };
    Record::Event(Event::ProbeFinished { id: ActionId(id), outcome })
}

fn turn_note(success: bool) -> Record {
    let note = Note::ProbeTurned { container: "app".to_owned(), probe: ProbeKind::Readiness, success };
    Record::Action(Step { id: ActionId(9999), action: Action::Note(note) })
}

fn unhealthy() -> Record {
    let about = Some(FieldPath::Container("app".to_owned()));
    let record = EventRecord { about, kind: EventKind::Warning, reason: "Unhealthy".to_owned(), message: "refused".to_owned() };
    Record::Action(Step { id: ActionId(9998), action: Action::RecordEvent(record) })
}

fn exit() -> Record {
    let exit = Exit {
        code: 0,
        signal: None,
        reason: "Completed".to_owned(),
        message: String::new(),
        started_at: None,
        finished_at: Timestamp::ZERO,
    };
    Record::Event(Event::ContainerExited { container_id: ContainerId("c1".to_owned()), exit })
}

fn kept(passed: Vec<Passed>) -> Vec<Record> {
    passed.into_iter().filter(|passed| passed.is_kept).map(|passed| passed.record).collect()
}

#[test]
fn a_million_attempts_that_change_nothing_leave_seven_entries() {
    let mut sieve = Sieve::default();
    let mut written = Vec::new();
    for count in 0..1_000_000 {
        written.extend(kept(sieve.sift(vec![(at(count * 10), attempt(count))])));
        written.extend(kept(sieve.sift(vec![(at(count * 10 + 3), finished(count, false)), (at(count * 10 + 3), unhealthy())])));
    }
    let counts: Vec<u64> = written
        .iter()
        .map(|record| {
            let Record::Probes(counts) = record else { panic!("{record:?} was kept") };
            counts.failures
        })
        .collect();
    assert_eq!(counts, [1, 10, 100, 1000, 10_000, 100_000, 1_000_000]);
    let Some(Record::Probes(last)) = written.last() else { panic!("counts") };
    assert_eq!((last.longest, last.total), (Duration::from_millis(3), Duration::from_millis(3_000_000)));
    assert_eq!(last.failures_in_row, 1_000_000);
    assert_eq!(last.last_failure.as_ref().map(|failure| failure.output.as_str()), Some("refused"));
}

#[test]
fn an_attempt_that_turns_the_result_is_kept_with_the_counts_before_it() {
    let mut sieve = Sieve::default();
    for count in 0..2 {
        sieve.sift(vec![(at(count * 1000), attempt(count))]);
        sieve.sift(vec![(at(count * 1000 + 5), finished(count, false)), (at(count * 1000 + 5), unhealthy())]);
    }
    sieve.sift(vec![(at(2000), attempt(2))]);
    let turn = vec![(at(2005), finished(2, false)), (at(2005), unhealthy()), (at(2005), turn_note(false))];
    let written = kept(sieve.sift(turn));
    let Record::Probes(counts) = &written[0] else { panic!("{written:?}") };
    assert_eq!((counts.failures, counts.first_at, counts.last_at), (2, at(0), at(1005)));
    assert_eq!(written[1..], [attempt(2), finished(2, false), unhealthy(), turn_note(false)]);
    // The counts begin anew.
    sieve.sift(vec![(at(3000), attempt(3))]);
    let written = kept(sieve.sift(vec![(at(3005), finished(3, true))]));
    assert!(matches!(&written[..], [Record::Probes(counts)] if counts.successes == 1 && counts.failures == 0), "{written:?}");
}

#[test]
fn counts_are_told_before_the_end_of_their_instance_and_before_a_deletion() {
    let mut sieve = Sieve::default();
    for count in 0..3 {
        sieve.sift(vec![(at(count * 1000), attempt(count))]);
        sieve.sift(vec![(at(count * 1000 + 5), finished(count, true))]);
    }
    let kill = lifecycle::KillPod { trigger: lifecycle::KillTrigger::Deleted, grace: lifecycle::Grace::FromSpec };
    let kill = Record::Kill(Kill::plain(kill, Some("a test".to_owned())));
    let told = kept(sieve.sift(vec![(at(4000), kill.clone())]));
    assert!(matches!(&told[..], [Record::Probes(counts), other] if counts.successes == 3 && *other == kill), "{told:?}");
    let told = kept(sieve.sift(vec![(at(5000), exit())]));
    assert!(matches!(&told[..], [Record::Probes(counts), Record::Event(_)] if counts.successes == 3), "{told:?}");
    // Nothing is left of the instance.
    assert_eq!(kept(sieve.sift(vec![(at(6000), exit())])), [exit()]);
}

#[test]
fn what_is_not_kept_is_still_shown() {
    let mut sieve = Sieve::default();
    let shown = sieve.sift(vec![(at(0), attempt(0))]);
    assert_eq!(shown, [Passed { at: at(0), record: attempt(0), is_kept: false }]);
}

fn line(exec_id: &str, text: String) -> Record {
    Record::Runtime(Happening::ExecOutput { exec_id: exec_id.to_owned(), stream: "stdout".to_owned(), line: text, at: at(0) })
}

fn hook_facts() -> HookFacts {
    HookFacts {
        id: ActionId(5),
        container: "app".to_owned(),
        container_id: "0123456789abcdef".to_owned(),
        hook: Hook::PreStop,
        started_at: Some(at(0)),
        finished_at: at(9),
        exit_code: Some(0),
        http_status: None,
        fell_back_to_http: false,
        error: None,
        missed_stdout: String::new(),
        missed_stderr: String::new(),
        output_cut: false,
    }
}

#[test]
fn a_hook_that_prints_without_end_costs_its_cap() {
    let mut sieve = Sieve::default();
    let mut written = Vec::new();
    for _ in 0..100_000 {
        written.extend(kept(sieve.sift(vec![(at(0), line("prestop-0123456789ab", "x".repeat(1000)))])));
    }
    assert_eq!(written.len(), 17, "16 lines of 1,000 bytes and the mark");
    let cut = OutputCut { exec_id: "prestop-0123456789ab".to_owned(), lines: 16, bytes: 16_000 };
    assert_eq!(written.last(), Some(&Record::OutputCut(cut)));
    let told = kept(sieve.sift(vec![(at(9), Record::Hook(hook_facts()))]));
    assert_eq!(told, [Record::Hook(HookFacts { output_cut: true, ..hook_facts() })]);
    // What comes after the end of the run, or of the container, is no new run.
    sieve.sift(vec![(at(10), exit())]);
    assert_eq!(kept(sieve.sift(vec![(at(11), line("prestop-0123456789ab", "late".to_owned()))])), []);
}

#[test]
fn empty_lines_without_end_cost_no_more() {
    let mut sieve = Sieve::default();
    let written: Vec<_> =
        (0..10_000).flat_map(|_| kept(sieve.sift(vec![(at(0), line("poststart-0123456789ab", String::new()))]))).collect();
    assert_eq!(written.len() as u64, HOOK_LINES_MAX + 1);
}

#[test]
fn what_probes_print_is_not_kept() {
    let mut sieve = Sieve::default();
    let began = Record::Runtime(Happening::ExecStarted { exec_id: "probe-0123456789ab-7".to_owned(), at: at(0) });
    assert_eq!(kept(sieve.sift(vec![(at(0), began), (at(0), line("probe-0123456789ab-7", "up".to_owned()))])), []);
}

#[test]
fn the_output_beside_a_failed_hook_is_cut_between_characters_and_says_so() {
    assert_eq!(cut("héllo", 2), "h… (5 bytes cut)");
    assert_eq!(cut("héllo", 3), "hé… (3 bytes cut)");
    assert_eq!(cut("héllo", 6), "héllo");
    let outcome = HookOutcome::ExitedNonZero { code: 1, stdout: "o".repeat(5000), stderr: String::new() };
    let finished = Record::Event(Event::HookFinished { id: ActionId(1), outcome });
    let told = kept(Sieve::default().sift(vec![(at(0), finished)]));
    let Record::Event(Event::HookFinished { outcome: HookOutcome::ExitedNonZero { stdout, .. }, .. }) = &told[0] else {
        panic!("{told:?}")
    };
    assert!(stdout.ends_with("ooo… (2952 bytes cut)"), "{stdout}");
}
