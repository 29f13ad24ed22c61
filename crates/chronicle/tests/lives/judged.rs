use std::fmt::Write as _;
use std::time::Duration;

use chronicle::judge::{
    Check, Outcome, PodReport, Reply, Request, RunReport, RunTimes, Seen, Spread, Traffic, Verdict, json, judge, junit, second_start,
};
use chronicle::{Journal, Life, read};
use lifecycle::Timestamp;

use crate::charts::elements;

fn journal(recorded: &str) -> Journal {
    read([recorded]).expect("the recording is read")
}

fn seen(traffic: Option<Traffic>) -> Seen {
    Seen { ready_within: Duration::from_secs(5), command: None, traffic }
}

fn verdicts(recorded: &str) -> Vec<Verdict> {
    judge(&journal(recorded), &seen(None)).expect("a heading")
}

fn report(journal: &Journal, verdicts: Vec<Verdict>, traffic: Option<&Traffic>) -> PodReport {
    let life = Life::of(journal).expect("a heading");
    let run = RunReport {
        uid: life.uid.clone(),
        began: life.began,
        lived: life.age(life.read_to.timestamp()),
        times: RunTimes::of(&life),
        verdicts,
        traffic: traffic.map(Traffic::tally),
    };
    PodReport { namespace: life.namespace, name: life.name, runs: vec![run] }
}

macro_rules! recordings {
    ($($test:ident = $name:literal,)*) => {
        $(
            #[test]
            fn $test() {
                let recorded = include_str!(concat!("../../fixtures/journals/", $name, ".jsonl"));
                let journal = journal(recorded);
                let report = report(&journal, verdicts(recorded), None);
                let mut text = String::new();
                for verdict in report.verdicts() {
                    let _ = writeln!(text, "{:<7} {:<7} {}", verdict.outcome.name(), verdict.check.name(), verdict.text);
                    for evidence in &verdict.evidence {
                        let _ = writeln!(text, "  {}  {}", report.runs[0].moment_text(evidence.at), evidence.text);
                    }
                    if let Some(cure) = &verdict.cure {
                        let _ = writeln!(text, "  cure: {cure}");
                    }
                }
                insta::with_settings!({ snapshot_path => "../../fixtures/verdicts", prepend_module_to_snapshot => false, omit_expression => true }, {
                    insta::assert_snapshot!($name, text);
                });
            }
        )*
    };
}

recordings! {
    verdicts_over_a_config_error = "config-error",
    verdicts_over_a_crash_loop = "crash-loop",
    verdicts_over_a_graceful_life = "graceful",
    verdicts_over_a_missing_image = "image-never",
    verdicts_over_a_failing_init_container = "init-fails",
    verdicts_over_a_kill_without_grace = "killed-at-once",
    verdicts_over_a_stranger_s_kill = "killed-by-stranger",
    verdicts_over_an_endless_pre_stop = "killed-endless-pre-stop",
    verdicts_over_an_ignored_signal = "killed-ignores",
    verdicts_over_a_pre_stop_that_used_the_grace = "killed-pre-stop",
    verdicts_over_a_shell_that_swallows_its_signal = "killed-shell",
    verdicts_over_a_slow_stop = "killed-slow",
    verdicts_over_a_failed_liveness_probe = "liveness-failed",
    verdicts_over_a_pod_out_of_memory = "out-of-memory",
    verdicts_over_a_failed_post_start = "post-start-failed",
    verdicts_over_a_lost_readiness = "readiness-lost",
    verdicts_over_a_pod_never_ready = "readiness-never",
    verdicts_over_a_failed_startup_probe = "startup-failed",
    verdicts_over_a_job = "succeeded",
}

/// When the pod of the recording was asked to go, and when its stop signal went out.
fn stop_of(life: &Life) -> (Timestamp, Timestamp) {
    let signal = life.containers[0].newest().and_then(|instance| instance.stop_signal()).expect("a stop signal");
    (life.asked.first().expect("a request").at, signal.at)
}

const SLOW: &str = include_str!("../../fixtures/journals/killed-slow.jsonl");

/// Requests every 100 ms, from one second before the delete until the endpoint is withdrawn. Those sent up to `answers_until` after the
/// delete are answered in `takes`.
fn traffic(life: &Life, delay_secs: u64, answers_until: Duration, takes: Duration, failed: &Reply) -> Traffic {
    let (asked, _) = stop_of(life);
    let from = Timestamp::from_nanos(asked.as_nanos() - 1_000_000_000);
    let count = 10 + delay_secs * 10;
    let requests = (0..count).map(|number| {
        let sent_at = from + Duration::from_millis(number * 100);
        let is_answered = sent_at <= asked + answers_until;
        let reply = if is_answered { Reply::Answered(200) } else { failed.clone() };
        Request { sent_at, ended_at: sent_at + takes, reply }
    });
    Traffic {
        url: "http://:8080/".to_owned(),
        container: Some("app".to_owned()),
        endpoint_delay: Duration::from_secs(delay_secs),
        requests: requests.collect(),
    }
}

fn over_traffic(life_text: &str, traffic: &Traffic) -> Verdict {
    let verdicts = judge(&journal(life_text), &seen(Some(traffic.clone()))).expect("a heading");
    verdicts.into_iter().find(|verdict| verdict.check == Check::Traffic).expect("a verdict over the traffic")
}

#[test]
fn a_dropped_request_is_told_with_the_sleep_that_would_have_saved_it() {
    let life = Life::of(&journal(SLOW)).expect("a heading");
    let none = Duration::ZERO;
    let millis = Duration::from_millis;
    // Refused as soon as the signal is there: the whole delay is missing.
    let verdict = over_traffic(SLOW, &traffic(&life, 2, none, millis(5), &Reply::Refused));
    assert_eq!(verdict.outcome, Outcome::Failed);
    assert_eq!(
        verdict.text,
        "19 of 30 requests to http://:8080/ failed (19 refused), because the endpoint was withdrawn 2.0 s after the delete, and nothing held \
         SIGTERM back"
    );
    let cure = "preStop: sleep: seconds: 3 is the smallest that would do; the grace has to hold it besides what the process needs";
    assert_eq!(verdict.cure.as_deref(), Some(cure));
    // What is in flight when the endpoint is withdrawn has to be answered, too.
    let verdict = over_traffic(SLOW, &traffic(&life, 2, none, millis(1700), &Reply::BrokenOff("EOF".to_owned())));
    assert!(verdict.cure.as_deref().is_some_and(|cure| cure.starts_with("preStop: sleep: seconds: 4 is")), "{verdict:?}");
    // A process that answers for 1.2 s after its signal needs less.
    let verdict = over_traffic(SLOW, &traffic(&life, 4, millis(1200), millis(5), &Reply::Refused));
    assert!(verdict.cure.as_deref().is_some_and(|cure| cure.starts_with("preStop: sleep: seconds: 3 is")), "{verdict:?}");
    // All answered: nothing is needed.
    let verdict = over_traffic(SLOW, &traffic(&life, 2, millis(2000), millis(5), &Reply::Refused));
    assert_eq!(
        (verdict.outcome, verdict.text.as_str()),
        (
            Outcome::Passed,
            "all 30 requests to http://:8080/ were answered until the endpoint was withdrawn, 2.0 s after the delete: app went on answering \
             after SIGTERM and needs no preStop sleep for that"
        )
    );
}

#[test]
fn a_request_that_fails_before_the_delete_is_not_blamed_on_the_stop() {
    let life = Life::of(&journal(SLOW)).expect("a heading");
    let mut traffic = traffic(&life, 2, Duration::from_secs(2), Duration::from_millis(5), &Reply::Refused);
    traffic.requests[3].reply = Reply::Answered(503);
    let verdict = over_traffic(SLOW, &traffic);
    let wanted = "1 of 30 requests to http://:8080/ failed (1 answered with status 503), the first before anybody asked the pod to go";
    assert_eq!((verdict.outcome, verdict.text.as_str()), (Outcome::Failed, wanted));
}

#[test]
fn every_request_is_in_the_tally() {
    let life = Life::of(&journal(SLOW)).expect("a heading");
    let mut traffic = traffic(&life, 2, Duration::ZERO, Duration::from_millis(5), &Reply::Refused);
    traffic.requests[0].reply = Reply::Answered(404);
    let tally = traffic.tally();
    let by_reply: Vec<_> = tally.by_reply.iter().map(|(word, count)| (word.as_str(), *count)).collect();
    assert_eq!(by_reply, [("answered with status 200", 10), ("answered with status 404", 1), ("refused", 19)]);
    assert_eq!((tally.sent, tally.failed, tally.failures.len()), (30, 19, 19));
}

#[test]
fn nothing_sent_is_nothing_judged() {
    let traffic = Traffic { url: ":80/".to_owned(), container: None, endpoint_delay: Duration::ZERO, requests: Vec::new() };
    assert_eq!(over_traffic(SLOW, &traffic).outcome, Outcome::Skipped);
}

#[test]
fn a_second_start_is_compared_with_the_first() {
    let within = Duration::from_secs(60);
    let (good, bad) = (journal(SLOW), journal(include_str!("../../fixtures/journals/crash-loop.jsonl")));
    let outcome = |first: &Journal, second: &Journal| second_start(first, second, within).expect("headings").outcome;
    assert_eq!(outcome(&good, &good), Outcome::Passed);
    assert_eq!(outcome(&good, &bad), Outcome::Failed);
    assert_eq!(outcome(&bad, &good), Outcome::Skipped);
}

#[test]
fn percentiles_are_values_that_were_measured() {
    let spread = |times: &[u64]| Spread::of(times.iter().map(|millis| Duration::from_millis(*millis)));
    assert_eq!(spread(&[]), None);
    let one = spread(&[7]).expect("one");
    assert_eq!([one.min, one.median, one.p95, one.max].map(|time| time.as_millis()), [7; 4]);
    let hundred: Vec<u64> = (1..=100).rev().collect();
    let many = spread(&hundred).expect("many");
    assert_eq!([many.min, many.median, many.p95, many.max].map(|time| time.as_millis()), [1, 50, 95, 100]);
}

#[test]
fn exit_codes_are_those_of_the_documented_table() {
    let table = include_str!("../../../../docs/test.md");
    for check in Check::ALL {
        let row = format!("| {} | `{}` |", check.exit_code(), check.name());
        assert!(table.contains(&row), "docs/test.md lacks {row}");
    }
    let shell = report(&journal(SLOW), verdicts(include_str!("../../fixtures/journals/killed-shell.jsonl")), None);
    assert_eq!(shell.exit_code(), Check::Signal.exit_code(), "causes come before what follows from them");
}

#[test]
fn the_form_for_programs_is_stable() {
    let life = Life::of(&journal(SLOW)).expect("a heading");
    let mut traffic = traffic(&life, 1, Duration::from_millis(800), Duration::from_millis(5), &Reply::Refused);
    traffic.requests.retain(|request| request.sent_at >= life.asked[0].at);
    let verdicts = judge(&journal(SLOW), &seen(Some(traffic.clone()))).expect("a heading");
    let report = report(&journal(SLOW), verdicts, Some(&traffic));
    let text = serde_json::to_string_pretty(&json(&[report])).expect("JSON");
    insta::with_settings!({ snapshot_path => "../../fixtures/verdicts", prepend_module_to_snapshot => false, omit_expression => true }, {
        insta::assert_snapshot!("form-json", text);
    });
}

#[test]
fn junit_is_well_formed_whatever_a_pod_says() {
    let journal = journal(SLOW);
    let mut verdicts = verdicts(SLOW);
    verdicts[0].text = "<evil> & \"quoted\" \u{1b}[2J \u{ffff} ü\n".to_owned();
    let xml = junit(&[report(&journal, verdicts, None)]);
    assert!(!xml.contains('\u{1b}') && !xml.contains('\u{ffff}'), "{xml}");
    let body = xml.strip_prefix("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n").expect("a declaration");
    let elements = elements(body);
    let count = |name: &str| elements.iter().filter(|element| *element == name).count();
    assert_eq!((count("testsuites"), count("testsuite")), (1, 1));
    assert!(xml.contains(&format!("tests=\"{}\" failures=\"{}\"", count("testcase"), count("failure"))), "{xml}");
    assert!(count("failure") > 0 && count("skipped") > 0, "{xml}");
}

/// Whatever a pod goes through, every check has its say, in order, in one sentence without loose ends.
#[test]
fn every_check_has_its_verdict_over_a_hundred_simulated_lives() {
    for seed in 0..100 {
        let journal = sim::journal::of(&sim::play(&sim::plan::Plan::of(seed)));
        let verdicts = judge(&journal, &seen(None)).expect("a heading");
        let checks: Vec<Check> = verdicts.iter().map(|verdict| verdict.check).collect();
        assert!(checks.is_sorted(), "seed {seed}: {checks:?}");
        for check in [Check::Hooks, Check::Up, Check::Ready, Check::Signal, Check::Kill, Check::Grace] {
            assert!(checks.contains(&check), "seed {seed}: nothing is said of {}", check.name());
        }
        for verdict in verdicts {
            let text = &verdict.text;
            assert!(!text.is_empty() && !text.ends_with('.') && !text.contains("..") && !text.contains("  "), "seed {seed}: {text}");
            assert!(verdict.evidence.is_sorted_by_key(|evidence| evidence.at), "seed {seed}: {text}");
            let is_proven = verdict.outcome != Outcome::Failed || !verdict.evidence.is_empty();
            assert!(is_proven, "seed {seed}: {text} has no evidence");
        }
    }
}
