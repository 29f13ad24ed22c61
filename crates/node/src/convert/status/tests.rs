use k8s_openapi::serde_json::{Value, json};
use lifecycle::{ContainerId, Exit};

use super::*;

/// The deciding clock starts 1,000 s and a bit after 1970.
const WALL_OFFSET_NANOS: u64 = 1_000_400_000_000;

fn at(secs: u64) -> Timestamp {
    Timestamp::from_nanos(secs * 1_000_000_000)
}

fn pod() -> Pod {
    let pod = json!({
        "metadata": {"name": "p", "namespace": "ns", "uid": "u", "generation": 3},
        "spec": {"containers": [{
            "name": "app", "image": "tapp:1",
            "resources": {"requests": {"cpu": "1"}},
            "volumeMounts": [
                {"name": "trace", "mountPath": "/trace"},
                {"name": "token", "mountPath": "/token", "readOnly": true},
            ],
        }]},
    });
    serde_json::from_value(pod).expect("a pod")
}

fn condition(kind: ConditionKind, is_true: bool) -> Condition {
    Condition { kind, is_true, reason: String::new(), message: String::new() }
}

fn exit(message: &str) -> Exit {
    Exit { code: 3, signal: None, reason: "Error".into(), message: message.into(), started_at: Some(at(5)), finished_at: at(9) }
}

fn running() -> ContainerStatus {
    ContainerStatus {
        name: "app".into(),
        state: ContainerState::Running { started_at: at(10) },
        last_state: Some(Terminated { exit: exit("bye"), container_id: Some(ContainerId("old".into())) }),
        ready: true,
        started: true,
        restart_count: 1,
        image: "tapp:1".into(),
        image_ref: "sha256:abc".into(),
        container_id: Some(ContainerId("new".into())),
        allocated: Resources { cpu_request_millis: Some(1000), ..Resources::default() },
        in_use: None,
    }
}

fn machine_status(container: ContainerStatus) -> PodStatus {
    PodStatus {
        phase: Phase::Running,
        reason: String::new(),
        message: String::new(),
        conditions: vec![condition(ConditionKind::Initialized, true), condition(ConditionKind::Ready, true)],
        start_time: at(1),
        pod_ips: vec!["10.0.0.5".into(), "fd00::5".into()],
        init_container_statuses: vec![],
        container_statuses: vec![container],
        ephemeral_container_statuses: Vec::new(),
    }
}

fn publish(pod: &Pod, status: &PodStatus, previous: Option<&V1PodStatus>, now: Timestamp) -> V1PodStatus {
    let host_ips = ["192.0.2.1".parse().expect("an address")];
    let wall_nanos = |at: Timestamp| at.as_nanos() + WALL_OFFSET_NANOS;
    pod_status(status, &StatusContext { pod, wall_nanos: &wall_nanos, now, host_ips: &host_ips, previous })
}

fn as_json(status: &V1PodStatus) -> Value {
    serde_json::to_value(status).expect("json")
}

// k8s: 8.b.19, 8.c.15, 8.c.16, 8.c.19, 8.f.2, 8.f.3
#[test]
fn a_running_pod_is_published_field_by_field_as_the_reference_does() {
    let published = publish(&pod(), &machine_status(running()), None, at(20));
    let expected = json!({
        "observedGeneration": 3,
        "phase": "Running",
        "conditions": [
            {"type": "Initialized", "status": "True", "lastTransitionTime": "1970-01-01T00:17:00Z", "observedGeneration": 3},
            {"type": "Ready", "status": "True", "lastTransitionTime": "1970-01-01T00:17:00Z", "observedGeneration": 3},
        ],
        "hostIP": "192.0.2.1",
        "hostIPs": [{"ip": "192.0.2.1"}],
        "podIP": "10.0.0.5",
        "podIPs": [{"ip": "10.0.0.5"}, {"ip": "fd00::5"}],
        "startTime": "1970-01-01T00:16:41Z",
        "containerStatuses": [{
            "name": "app",
            "state": {"running": {"startedAt": "1970-01-01T00:16:50Z"}},
            "lastState": {"terminated": {
                "exitCode": 3, "reason": "Error", "message": "bye",
                "startedAt": "1970-01-01T00:16:45Z", "finishedAt": "1970-01-01T00:16:49Z", "containerID": "usher://old",
            }},
            "ready": true,
            "restartCount": 1,
            "image": "docker.io/library/tapp:1",
            "imageID": "sha256:abc",
            "containerID": "usher://new",
            "started": true,
            "allocatedResources": {"cpu": "1"},
            "resources": {"requests": {"cpu": "1"}},
            "volumeMounts": [
                {"name": "trace", "mountPath": "/trace"},
                {"name": "token", "mountPath": "/token", "readOnly": true, "recursiveReadOnly": "Disabled"},
            ],
        }],
        "qosClass": "Burstable",
    });
    assert_eq!(as_json(&published), expected);
}

#[test]
fn a_container_that_never_was_shows_its_image_as_it_is_written_and_no_id() {
    let waiting = ContainerStatus {
        state: ContainerState::Waiting { reason: "ContainerCreating".into(), message: String::new() },
        last_state: None,
        ready: false,
        started: false,
        restart_count: 0,
        image_ref: String::new(),
        container_id: None,
        ..running()
    };
    let published = as_json(&publish(&pod(), &machine_status(waiting), None, at(20)));
    let container = &published["containerStatuses"][0];
    assert_eq!(container["image"], "tapp:1");
    assert_eq!(container["imageID"], "");
    assert_eq!(container["state"], json!({"waiting": {"reason": "ContainerCreating"}}));
    assert_eq!(container["lastState"], json!({}));
    assert_eq!((container.get("containerID"), container.get("resources")), (None, None));
}

/// k8s: 8.b.18, 8.f.1
#[test]
fn the_time_of_a_condition_stays_while_its_status_does() {
    let first = publish(&pod(), &machine_status(running()), None, at(20));
    let mut status = machine_status(running());
    status.conditions[0].reason = "PodCompleted".into();
    status.conditions[1].is_true = false;
    status.start_time = at(99);
    let second = as_json(&publish(&pod(), &status, Some(&first), at(30)));
    assert_eq!(second["conditions"][0]["lastTransitionTime"], "1970-01-01T00:17:00Z");
    assert_eq!(second["conditions"][0]["reason"], "PodCompleted");
    assert_eq!(second["conditions"][1]["lastTransitionTime"], "1970-01-01T00:17:10Z");
    assert_eq!(second["startTime"], "1970-01-01T00:16:41Z");
}

/// k8s: 8.b.1, 8.b.2
#[test]
fn conditions_of_others_survive_and_come_first() {
    let previous: V1PodStatus = serde_json::from_value(json!({"conditions": [
        {"type": "Ready", "status": "False"},
        {"type": "ContainersReady", "status": "True"},
        {"type": "example.com/gate", "status": "False"},
    ]}))
    .expect("a status");
    let published = publish(&pod(), &machine_status(running()), Some(&previous), at(20));
    let types: Vec<_> = published.conditions.iter().flatten().map(|condition| condition.type_.as_str()).collect();
    assert_eq!(types, ["example.com/gate", "Initialized", "Ready"]);
}

/// k8s: 8.b.12
#[test]
fn readiness_gates_hold_back_ready_and_say_why() {
    let mut gated = pod();
    let spec = gated.spec.as_mut().expect("a spec");
    spec.readiness_gates = serde_json::from_value(json!([{"conditionType": "a.io/x"}, {"conditionType": "a.io/y"}])).expect("gates");
    let previous: V1PodStatus = serde_json::from_value(json!({"conditions": [{"type": "a.io/y", "status": "Unknown"}]})).expect("a status");
    let published = as_json(&publish(&gated, &machine_status(running()), Some(&previous), at(20)));
    let ready = &published["conditions"][2];
    assert_eq!((&ready["status"], &ready["reason"]), (&json!("False"), &json!("ReadinessGatesNotReady")));
    assert_eq!(
        ready["message"],
        "corresponding condition of pod readiness gate \"a.io/x\" does not exist., \
         the status of pod readiness gate \"a.io/y\" is not \"True\", but Unknown"
    );
}

/// k8s: 8.e.5
#[test]
fn termination_messages_share_a_bound_and_are_cut_between_characters() {
    let mut crowded = pod();
    let spec = crowded.spec.as_mut().expect("a spec");
    spec.init_containers = Some(vec![spec.containers[0].clone(); 2]);
    let mut status = running();
    let message = format!("{}ä", "x".repeat(4095));
    status.state = ContainerState::Terminated(Terminated { exit: exit(&message), container_id: None });
    let published = publish(&crowded, &machine_status(status), None, at(20));
    let state = published.container_statuses.as_ref().and_then(|all| all[0].state.clone()).expect("a state");
    assert_eq!(state.terminated.and_then(|ended| ended.message), Some("x".repeat(4095)));
}

/// k8s: 8.c.6
#[test]
fn an_end_that_nobody_saw_has_no_times() {
    let unseen = Exit { reason: "ContainerStatusUnknown".into(), code: 137, ..exit("gone") };
    let mut status = running();
    status.state = ContainerState::Terminated(Terminated { exit: unseen, container_id: None });
    let published = as_json(&publish(&pod(), &machine_status(status), None, at(20)));
    let expected = json!({"terminated": {"exitCode": 137, "reason": "ContainerStatusUnknown", "message": "gone"}});
    assert_eq!(published["containerStatuses"][0]["state"], expected);
}

#[test]
fn a_container_that_never_ran_started_at_the_epoch() {
    let failed = Exit { reason: "StartError".into(), code: 128, started_at: None, ..exit("") };
    let mut status = running();
    status.state = ContainerState::Terminated(Terminated { exit: failed, container_id: Some(ContainerId("x".into())) });
    let published = as_json(&publish(&pod(), &machine_status(status), None, at(20)));
    assert_eq!(published["containerStatuses"][0]["state"]["terminated"]["startedAt"], "1970-01-01T00:00:00Z");
}

// k8s: 8.f.2, 8.f.6, 8.b.19
#[test]
fn the_generation_never_goes_back_and_the_class_is_found_anew() {
    let previous: V1PodStatus = serde_json::from_value(json!({"observedGeneration": 5, "qosClass": "Guaranteed"})).expect("a status");
    let published = publish(&pod(), &machine_status(running()), Some(&previous), at(20));
    assert_eq!(published.observed_generation, Some(5), "the pod of which it is has generation 3");
    assert!(published.conditions.iter().flatten().all(|condition| condition.observed_generation == Some(5)));
    assert_eq!(published.qos_class.as_deref(), Some("Burstable"));
}

/// k8s: 8.f.4
#[test]
fn a_pod_on_the_nodes_network_has_the_nodes_addresses() {
    let mut on_host = pod();
    on_host.spec.as_mut().expect("a spec").host_network = Some(true);
    let status = PodStatus { pod_ips: vec![], ..machine_status(running()) };
    let published = publish(&on_host, &status, None, at(20));
    assert_eq!(published.pod_ip.as_deref(), Some("192.0.2.1"));
}

#[test]
fn images_are_shown_with_registry_folder_and_tag() {
    let check = |image: &str, expected: &str| assert_eq!(normalised_image(image), expected);
    check("nginx", "docker.io/library/nginx:latest");
    check("nginx:1.27", "docker.io/library/nginx:1.27");
    check("me/app", "docker.io/me/app:latest");
    check("localhost/app:1", "localhost/app:1");
    check("localhost:5000/app", "localhost:5000/app:latest");
    check("ghcr.io/a/b@sha256:0", "ghcr.io/a/b@sha256:0");
}

// k8s: 8.b.1, 8.c.19
#[test]
fn a_resize_shows_what_is_allocated_and_what_is_in_force_apart() {
    let mut resized = pod();
    let wanted = json!({"requests": {"cpu": "1", "memory": "64Mi"}, "limits": {"cpu": "4"}});
    resized.spec.as_mut().expect("a spec").containers[0].resources = serde_json::from_value(wanted).expect("resources");
    let allocated = Resources {
        cpu_request_millis: Some(1000),
        cpu_limit_millis: Some(3000),
        memory_request_bytes: Some(32 << 20),
        memory_limit_bytes: None,
    };
    let in_use = Some(Resources { cpu_limit_millis: Some(2500), memory_request_bytes: Some(1), ..allocated });
    let mut status = machine_status(ContainerStatus { allocated, in_use, ..running() });
    let pending = |kind| Condition { kind, is_true: true, reason: "Deferred".into(), message: "no room".into() };
    status.conditions.insert(0, pending(ConditionKind::PodResizePending));
    let published = as_json(&publish(&resized, &status, None, at(20)));
    let container = &published["containerStatuses"][0];
    assert_eq!(container["allocatedResources"], json!({"cpu": "1", "memory": "32Mi"}));
    assert_eq!(container["resources"], json!({"requests": {"cpu": "1", "memory": "32Mi"}, "limits": {"cpu": "2500m"}}));
    let first = &published["conditions"][0];
    assert_eq!((&first["type"], &first["reason"], &first["message"]), (&"PodResizePending".into(), &"Deferred".into(), &"no room".into()));
}

// k8s: 8.b.2, 8.b.11
#[test]
fn ready_follows_the_conditions_of_others_without_a_word_of_the_machine() {
    let gated = |status: &str, ready: bool| -> (Pod, V1PodStatus) {
        let mut pod = pod();
        let spec = pod.spec.as_mut().expect("a spec");
        spec.readiness_gates = serde_json::from_value(json!([{"conditionType": "a.io/x"}])).expect("gates");
        let status = json!({"conditions": [{"type": "a.io/x", "status": status}, {"type": "Ready", "status": "Unknown"}]});
        pod.status = serde_json::from_value(status).expect("a status");
        let mut machine = machine_status(running());
        machine.conditions.push(condition(ConditionKind::ContainersReady, ready));
        machine.conditions[1].is_true = ready;
        let published = publish(&pod, &machine, None, at(20));
        (pod, published)
    };
    let looked_at = |pod: &Pod, published: &V1PodStatus| {
        let known = with_conditions_of_others(published, pod);
        let host_ips = ["192.0.2.1".parse().expect("an address")];
        let wall_nanos = |at: Timestamp| at.as_nanos() + WALL_OFFSET_NANOS;
        let context = StatusContext { pod, wall_nanos: &wall_nanos, now: at(30), host_ips: &host_ips, previous: Some(&known) };
        regated_status(&known, &context)
    };
    let shown = |status: &V1PodStatus| -> Vec<(String, String)> {
        status.conditions.iter().flatten().map(|condition| (condition.type_.clone(), condition.status.clone())).collect()
    };
    let expected = |list: &[(&str, &str)]| list.iter().map(|(kind, status)| ((*kind).to_owned(), (*status).to_owned())).collect::<Vec<_>>();
    for (gate, containers, ready) in [("True", true, "True"), ("False", true, "False"), ("True", false, "False")] {
        let (pod, published) = gated(gate, containers);
        let looked = looked_at(&pod, &published);
        let containers = if containers { "True" } else { "False" };
        let all = [("a.io/x", gate), ("Initialized", "True"), ("Ready", ready), ("ContainersReady", containers)];
        assert_eq!(shown(&looked), expected(&all), "{gate} {containers}");
        assert_eq!(looked_at(&pod, &looked), looked, "looking twice changes nothing");
    }
}
