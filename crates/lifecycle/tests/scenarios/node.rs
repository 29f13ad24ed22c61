//! What the node decides about a pod: evictions for the disk that it uses itself, and pods that are not taken at all.

use lifecycle::{
    Action, ConditionKind, ContainerSpec, EventKind, Eviction, EvictionCause, Grace, ImagePullPolicy, Phase, PodSpec, PodWorker, Rejection,
    RestartPolicy, Step, Timestamp,
};

fn spec() -> PodSpec {
    let container = ContainerSpec {
        name: "a".to_owned(),
        image: "a".to_owned(),
        image_pull_policy: ImagePullPolicy::IfNotPresent,
        resources: lifecycle::Resources::default(),
        resize_policy: lifecycle::ResizePolicy::default(),
        volume_images: Vec::new(),
        restart_policy: None,
        restart_policy_rules: Vec::new(),
        post_start: None,
        pre_stop: None,
        startup_probe: None,
        liveness_probe: None,
        readiness_probe: None,
    };
    PodSpec {
        name: "pod".to_owned(),
        namespace: "default".to_owned(),
        uid: "1".to_owned(),
        generation: 1,
        restart_policy: RestartPolicy::Always,
        termination_grace_period_secs: 30,
        active_deadline_secs: None,
        init_containers: Vec::new(),
        ephemeral_containers: Vec::new(),
        containers: vec![container],
    }
}

fn events(worker: &mut PodWorker) -> Vec<String> {
    let mut told = Vec::new();
    while let Some(Step { action, .. }) = worker.poll_action() {
        if let Action::RecordEvent(record) = action {
            assert_eq!((record.kind, record.about), (EventKind::Warning, None));
            told.push(format!("{}: {}", record.reason, record.message));
        }
    }
    told
}

/// An evicted pod of which nothing is left: its Events, its last status.
fn evicted(cause: EvictionCause) -> (Vec<String>, lifecycle::PodStatus) {
    let now = Timestamp::from_nanos(5);
    let mut worker = PodWorker::new(spec(), now);
    let creation = worker.poll_action().expect("the sandbox is asked for").id;
    worker.handle_eviction(Grace::Seconds(1), Eviction { cause, signal: String::new(), message: "Too much. ".to_owned() }, now);
    worker.handle_event(lifecycle::Event::SandboxFailed { id: creation, reason: "x".to_owned(), message: "y".to_owned() }, now);
    (events(&mut worker), worker.status())
}

// k8s: 8.a.18, 8.a.19, 8.b.14, 8.b.15, 10.d.2
#[test]
fn only_an_eviction_for_the_nodes_sake_is_a_disruption() {
    for (cause, disruption) in [(EvictionCause::NodePressure, Some("Too much. ")), (EvictionCause::LocalStorage, None)] {
        let (told, status) = evicted(cause);
        assert_eq!(told, ["Evicted: Too much. "], "{cause:?}");
        assert_eq!((status.phase, status.reason.as_str(), status.message.as_str()), (Phase::Failed, "Evicted", "Too much. "));
        let condition = status.conditions.iter().find(|condition| condition.kind == ConditionKind::DisruptionTarget);
        assert_eq!(condition.map(|condition| condition.message.as_str()), disruption, "{cause:?}");
        assert!(condition.is_none_or(|condition| condition.reason == "TerminationByKubelet" && condition.is_true));
    }
}

#[test]
fn an_eviction_of_a_pod_that_goes_already_only_shortens_its_grace() {
    let now = Timestamp::from_nanos(5);
    let mut worker = PodWorker::new(spec(), now);
    let kill = lifecycle::KillPod { trigger: lifecycle::KillTrigger::Deleted, grace: Grace::FromSpec };
    worker.handle_kill(kill, now);
    worker.handle_eviction(
        Grace::Seconds(1),
        Eviction { cause: EvictionCause::NodePressure, signal: String::new(), message: "Too much. ".to_owned() },
        now,
    );
    assert_eq!(events(&mut worker), [""; 0]);
    assert_eq!(worker.status().reason, "");
}

// k8s: 8.a.22, 10.d.12
#[test]
fn a_pod_that_the_node_does_not_take_has_failed_before_anything_was_made() {
    let rejection = Rejection { reason: "OutOfcpu".to_owned(), message: "There is none".to_owned() };
    let mut worker = PodWorker::rejected(spec(), rejection, Timestamp::from_nanos(5));
    assert!(worker.is_finished());
    assert_eq!(worker.poll_timeout(), None);
    assert_eq!(events(&mut worker), ["OutOfcpu: There is none"]);
    let status = worker.status();
    assert_eq!((status.phase, status.reason.as_str()), (Phase::Failed, "OutOfcpu"));
    assert_eq!(status.message, "Pod was rejected: There is none");
    assert!(status.conditions.is_empty() && status.container_statuses.is_empty() && status.init_container_statuses.is_empty());
}

// k8s: 11.b.1, 10.d.12; unlike 11.b.2 with its hooks
#[test]
fn a_pod_that_a_new_engine_does_not_take_goes_in_its_own_grace_and_has_failed() {
    let now = Timestamp::from_nanos(5);
    let mut worker = PodWorker::new(spec(), now);
    let creation = worker.poll_action().expect("the sandbox is asked for").id;
    let rejection = Rejection { reason: "OutOfpods".to_owned(), message: "There are too many".to_owned() };
    worker.handle_rejection(rejection.clone(), now);
    worker.handle_rejection(rejection, now);
    let began = std::iter::from_fn(|| worker.poll_action()).collect::<Vec<_>>();
    let grace = began.iter().find_map(|step| {
        let Action::Note(lifecycle::Note::TerminationBegan { trigger, grace_secs, .. }) = &step.action else { return None };
        Some((*trigger, *grace_secs))
    });
    assert_eq!(grace, Some((lifecycle::KillTrigger::Rejected, Some(30))), "the grace of its spec");
    let told = began.iter().filter(|step| matches!(&step.action, Action::RecordEvent(record) if record.reason == "OutOfpods"));
    assert_eq!(told.count(), 1, "told once");
    worker.handle_event(lifecycle::Event::SandboxFailed { id: creation, reason: "x".to_owned(), message: "y".to_owned() }, now);
    let status = worker.status();
    assert_eq!((status.phase, status.reason.as_str()), (Phase::Failed, "OutOfpods"));
    assert_eq!(status.message, "Pod was rejected: There are too many");
    assert!(!status.conditions.iter().any(|condition| condition.kind == ConditionKind::DisruptionTarget));
}

// k8s: 3.f.12
#[test]
fn the_node_waits_half_longer_than_the_grace_and_at_least_ten_seconds() {
    assert_eq!([0, 1, 7, 30].map(|secs| lifecycle::patience(secs).as_millis()), [10_000, 10_000, 10_500, 45_000]);
}
