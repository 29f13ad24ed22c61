use k8s_openapi::serde_json::json;
use lifecycle::FieldPath;

use super::*;

/// 2026-11-23T13:55:33Z and a bit.
const AT: u64 = 1_795_442_133_700_260_600;

fn pod(uid: &str) -> Pod {
    serde_json::from_value(json!({"metadata": {"name": "p", "namespace": "ns", "uid": uid}})).expect("a pod")
}

fn unhealthy(message: &str) -> EventRecord {
    EventRecord {
        about: Some(FieldPath::Container("app".to_owned())),
        kind: EventKind::Warning,
        reason: "Unhealthy".to_owned(),
        message: message.to_owned(),
    }
}

fn secs(count: u64) -> u64 {
    count * 1_000_000_000
}

fn event_of(recorded: &Recorded) -> &Event {
    match recorded {
        Recorded::Added(event) | Recorded::Counted(event) => event,
        Recorded::Dropped => panic!("dropped"),
    }
}

/// k8s: 10.a.1 to 10.a.4
#[test]
fn an_event_is_published_field_by_field_as_the_reference_does() {
    let mut recorder = EventRecorder::new("anchor-node");
    let recorded = recorder.record(&pod("u"), &unhealthy("Liveness probe failed: HTTP probe failed with statuscode: 500"), AT);
    let expected = json!({
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": "p.18eab11ba1f932f8", "namespace": "ns", "creationTimestamp": "2026-11-23T13:55:33Z"},
        "involvedObject": {
            "apiVersion": "v1", "kind": "Pod", "name": "p", "namespace": "ns", "uid": "u", "fieldPath": "spec.containers{app}",
        },
        "type": "Warning",
        "reason": "Unhealthy",
        "message": "Liveness probe failed: HTTP probe failed with statuscode: 500",
        "count": 1,
        "firstTimestamp": "2026-11-23T13:55:33Z",
        "lastTimestamp": "2026-11-23T13:55:33Z",
        "source": {"component": "kubelet", "host": "anchor-node"},
        "reportingComponent": "kubelet",
        "reportingInstance": "anchor-node",
    });
    assert_eq!(serde_json::to_value(event_of(&recorded)).expect("json"), expected);
    assert!(matches!(recorded, Recorded::Added(_)));
}

/// k8s: 10.b.4
#[test]
fn what_repeats_is_counted_in_one_event() {
    let mut recorder = EventRecorder::new("n");
    let first = recorder.record(&pod("u"), &unhealthy("x"), AT);
    let second = recorder.record(&pod("u"), &unhealthy("x"), AT + secs(1));
    assert!(matches!(second, Recorded::Counted(_)));
    let (first, second) = (event_of(&first), event_of(&second));
    assert_eq!((second.count, &second.metadata.name), (Some(2), &first.metadata.name));
    assert_eq!(second.first_timestamp, first.first_timestamp);
    assert_eq!(second.last_timestamp, time(AT + secs(1)));
    // Another container, another Event; at the same time, another name.
    let other = EventRecord { about: Some(FieldPath::InitContainer("app".to_owned())), ..unhealthy("x") };
    let other = recorder.record(&pod("u"), &other, AT);
    assert_eq!(event_of(&other).involved_object.field_path.as_deref(), Some("spec.initContainers{app}"));
    let names: BTreeSet<_> = recorder.list().map(|event| event.metadata.name.clone()).collect();
    assert_eq!(names.len(), 2);
}

/// k8s: 10.b.3
#[test]
fn from_the_tenth_different_message_on_they_are_folded() {
    let mut recorder = EventRecorder::new("n");
    for index in 0..9 {
        assert!(matches!(recorder.record(&pod("u"), &unhealthy(&format!("m{index}")), AT), Recorded::Added(_)));
    }
    let tenth = recorder.record(&pod("u"), &unhealthy("m9"), AT);
    assert_eq!(event_of(&tenth).message.as_deref(), Some("(combined from similar events): m9"));
    let next = recorder.record(&pod("u"), &unhealthy("m10"), AT + secs(600));
    assert_eq!(event_of(&next).message.as_deref(), Some("(combined from similar events): m10"));
    assert_eq!(event_of(&next).count, Some(2));
    let after = recorder.record(&pod("u"), &unhealthy("m11"), AT + secs(1201));
    assert_eq!(event_of(&after).message.as_deref(), Some("m11"));
}

/// k8s: 10.b.2
#[test]
fn a_flood_about_one_object_is_dropped_until_there_is_room_again() {
    let mut recorder = EventRecorder::new("n");
    let flood = |recorder: &mut EventRecorder, at| recorder.record(&pod("u"), &unhealthy("x"), at);
    for _ in 0..25 {
        assert!(!matches!(flood(&mut recorder, AT), Recorded::Dropped));
    }
    assert_eq!(flood(&mut recorder, AT), Recorded::Dropped);
    // Another kind, and another pod, have room of their own.
    let normal = EventRecord { kind: EventKind::Normal, ..unhealthy("x") };
    assert!(matches!(recorder.record(&pod("u"), &normal, AT), Recorded::Added(_)));
    assert!(matches!(recorder.record(&pod("v"), &unhealthy("x"), AT), Recorded::Added(_)));
    // What was dropped has been counted.
    assert_eq!(event_of(&flood(&mut recorder, AT + secs(300))).count, Some(27));
    assert_eq!(flood(&mut recorder, AT + secs(301)), Recorded::Dropped);
}

#[test]
fn the_list_is_bounded_and_a_pod_can_be_forgotten() {
    let mut recorder = EventRecorder::new("n");
    for index in 0..EVENTS_MAX + 10 {
        recorder.record(&pod(&format!("u{index}")), &unhealthy("x"), AT);
    }
    assert_eq!(recorder.list().count(), EVENTS_MAX);
    assert_eq!((recorder.similar.len(), recorder.rooms.len()), (EVENTS_MAX, EVENTS_MAX));
    assert_eq!(recorder.list_of("u9").count(), 0);
    assert_eq!(recorder.list_of("u10").count(), 1);
    recorder.forget("u10");
    assert_eq!(recorder.list_of("u10").count(), 0);
    assert_eq!(recorder.list().count(), EVENTS_MAX - 1);
}
