use k8s_openapi::api::core::v1::{Event, Pod};
use lifecycle::{ActionId, EventKind, FieldPath};

use super::*;
use crate::events::{EventRecorder, Recorded};

const SECOND: u64 = 1_000_000_000;

fn record(reason: &str, message: &str) -> EventRecord {
    EventRecord {
        about: Some(FieldPath::Container("app".to_owned())),
        kind: EventKind::Normal,
        reason: reason.to_owned(),
        message: message.to_owned(),
    }
}

fn line(wall_nanos: u64, record: &EventRecord) -> String {
    let mut entry = serde_json::json!({ "seq": 0, "at": { "bootNanos": 0, "wallNanos": wall_nanos } });
    let step = Step { id: ActionId(1), action: Action::RecordEvent(record.clone()) };
    entry["action"] = serde_json::to_value(step).expect("JSON");
    format!("{entry}\n")
}

fn told(wall_nanos: u64, record: &EventRecord) -> Event {
    match EventRecorder::new("node").record(&Pod::default(), record, wall_nanos) {
        Recorded::Added(event) => event,
        other @ (Recorded::Counted(_) | Recorded::Dropped) => panic!("{other:?}"),
    }
}

fn reasons(untold: &[Journaled]) -> Vec<&str> {
    untold.iter().map(|journaled| journaled.record.reason.as_str()).collect()
}

#[test]
fn only_what_the_api_does_not_have_is_untold() {
    let (created, started) = (record("Created", "Container created"), record("Started", "Container started"));
    let text = format!("{}{}", line(100 * SECOND, &created), line(100 * SECOND + 5, &started));
    let journaled = in_lines(&text);
    assert_eq!(reasons(&journaled), ["Created", "Started"]);
    let known = [told(100 * SECOND, &created)];
    assert_eq!(reasons(&untold(journaled.clone(), &known, 101 * SECOND)), ["Started"]);
    let known = [told(100 * SECOND, &created), told(100 * SECOND + 5, &started)];
    assert_eq!(untold(journaled, &known, 101 * SECOND), []);
}

#[test]
fn what_happened_again_is_untold_although_it_was_told_once() {
    let back_off = record("BackOff", "Back-off restarting failed container");
    let journaled = in_lines(&format!("{}{}", line(100 * SECOND, &back_off), line(120 * SECOND, &back_off)));
    let untold = untold(journaled, &[told(100 * SECOND, &back_off)], 121 * SECOND);
    assert_eq!(untold.iter().map(|journaled| journaled.wall_nanos / SECOND).collect::<Vec<_>>(), [120]);
}

#[test]
fn what_is_older_than_the_telling_can_be_behind_was_told() {
    let text = format!("{}{}", line(100 * SECOND, &record("Created", "a")), line(161 * SECOND, &record("Started", "b")));
    assert_eq!(reasons(&in_lines(&text)), ["Started"]);
    assert_eq!(untold(in_lines(&text), &[], (161 + 3600) * SECOND), [], "the API would forget it at once");
}

#[test]
fn lines_that_are_cut_are_no_entries() {
    let whole = line(100 * SECOND, &record("Created", "a"));
    let text = format!("{}{whole}{}", &whole[20..], &whole[..20]);
    assert_eq!(reasons(&in_lines(&text)), ["Created"]);
}
