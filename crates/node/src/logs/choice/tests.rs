//! Every state that a container can show, and the log that it has.

use k8s_openapi::api::core::v1::PodStatus;
use serde_json::{Value, json};

use super::{Choice, Wanted, choose, has_ended};

fn status(container: &Value) -> PodStatus {
    let mut container = container.clone();
    container["name"] = json!("app");
    for (field, value) in [("image", json!("")), ("imageID", json!("")), ("ready", json!(false))] {
        container[field] = value;
    }
    serde_json::from_value(json!({ "containerStatuses": [container] })).expect("a status")
}

fn ended(id: Option<&str>) -> Value {
    json!({ "terminated": { "exitCode": 1, "containerID": id } })
}

fn waiting(reason: &str) -> Value {
    json!({ "waiting": { "reason": reason } })
}

#[track_caller]
fn check(container: &Value, present: &Choice, previous: &Choice) {
    let status = status(container);
    assert_eq!(choose(&status, "web", "app", Wanted::Present), *present, "{container}");
    assert_eq!(choose(&status, "web", "app", Wanted::Previous), *previous, "{container}");
}

#[test]
fn the_instance_is_the_one_that_the_kubelet_chooses() {
    let no_previous = Choice::Nothing("previous terminated container \"app\" in pod \"web\" not found".to_owned());
    let nothing = |what: &str| Choice::Nothing(format!("container \"app\" in pod \"web\" is {what}"));
    let running = json!({ "running": {} });
    check(&json!({ "restartCount": 0, "containerID": "u://a", "state": running }), &Choice::Instance(0), &no_previous);
    check(
        &json!({ "restartCount": 2, "containerID": "u://c", "state": running, "lastState": ended(Some("u://b")) }),
        &Choice::Instance(2),
        &Choice::Instance(1),
    );
    check(&json!({ "restartCount": 0, "containerID": "u://a", "state": ended(Some("u://a")) }), &Choice::Instance(0), &no_previous);
    check(&json!({ "restartCount": 0, "state": ended(None) }), &nothing("terminated"), &no_previous);
    // It waits for its next start: the instance that ended is both the present and the previous one.
    check(
        &json!({ "restartCount": 1, "containerID": "u://b", "state": waiting("CrashLoopBackOff"), "lastState": ended(Some("u://b")) }),
        &Choice::IfThere(2, Box::new(Choice::Instance(1))),
        &Choice::Instance(1),
    );
    for (reason, text) in [
        ("ContainerCreating", "waiting to start: ContainerCreating"),
        ("PodInitializing", "waiting to start: PodInitializing"),
        ("CreateContainerConfigError", "waiting to start: CreateContainerConfigError"),
        ("ErrImagePull", "waiting to start: image can't be pulled"),
        ("ImagePullBackOff", "waiting to start: trying and failing to pull image"),
    ] {
        let expected = Choice::IfThere(0, Box::new(nothing(text)));
        check(&json!({ "restartCount": 0, "state": waiting(reason) }), &expected, &no_previous);
    }
    assert_eq!(choose(&PodStatus::default(), "web", "app", Wanted::Present), nothing("not available"));
}

#[test]
fn what_was_printed_while_a_hook_holds_up_the_start_is_given_out() {
    // The status does not know the instance yet.
    let first = json!({ "restartCount": 0, "state": waiting("ContainerCreating") });
    let nothing = Choice::Nothing("container \"app\" in pod \"web\" is waiting to start: ContainerCreating".to_owned());
    assert_eq!(choose(&status(&first), "web", "app", Wanted::Present), Choice::IfThere(0, Box::new(nothing)));
    assert!(!has_ended(&status(&first), "app", 0));
    let again =
        json!({ "restartCount": 0, "containerID": "u://a", "state": waiting("CrashLoopBackOff"), "lastState": ended(Some("u://a")) });
    assert_eq!(choose(&status(&again), "web", "app", Wanted::Present), Choice::IfThere(1, Box::new(Choice::Instance(0))));
    assert!(!has_ended(&status(&again), "app", 1) && has_ended(&status(&again), "app", 0));
    // It does.
    let known = json!({ "restartCount": 1, "containerID": "u://b", "state": { "waiting": {} }, "lastState": ended(Some("u://a")) });
    assert_eq!(choose(&status(&known), "web", "app", Wanted::Present), Choice::IfThere(1, Box::new(Choice::Instance(0))));
    assert!(!has_ended(&status(&known), "app", 1) && has_ended(&status(&known), "app", 0));
}

#[test]
fn an_instance_has_ended_when_its_status_says_so_or_another_has_come() {
    let running = json!({ "restartCount": 1, "containerID": "u://b", "state": { "running": {} }, "lastState": ended(Some("u://a")) });
    let over = json!({ "restartCount": 1, "containerID": "u://b", "state": ended(Some("u://b")) });
    let backs_off =
        json!({ "restartCount": 1, "containerID": "u://b", "state": waiting("CrashLoopBackOff"), "lastState": ended(Some("u://b")) });
    for (container, instance, expected) in [(&running, 1, false), (&running, 0, true), (&over, 1, true), (&backs_off, 1, true)] {
        assert_eq!(has_ended(&status(container), "app", instance), expected, "{container} {instance}");
    }
    assert!(has_ended(&PodStatus::default(), "app", 0), "a pod that is gone");
}
