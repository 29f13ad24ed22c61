//! What is counted, and what it is called.

use chronicle::{Entry, Moment, Record};
use lifecycle::{Action, ActionId, Event, Note, Step};
use prometheus::TextEncoder;

use super::*;

fn counted(measures: &[Measure]) -> String {
    let registry = Registry::new();
    let metrics = Metrics::register(&registry).expect("registered");
    measures.iter().for_each(|measure| metrics.families.count(measure));
    TextEncoder::new().encode_to_string(&registry.gather()).expect("text")
}

/// The series whose value is not 0, buckets apart.
fn series(text: &str) -> Vec<&str> {
    text.lines().filter(|line| !line.starts_with('#') && !line.contains("_bucket") && !line.ends_with(" 0")).collect()
}

#[test]
fn every_measure_is_counted_once_under_its_words() {
    let second = Duration::from_secs(1);
    let measures = [
        Measure::PodSeen,
        Measure::PodRunning(second),
        Measure::PodReady(second),
        Measure::Terminating(KillTrigger::Evicted),
        Measure::Preempted("memory".to_owned()),
        Measure::SandboxMade(second),
        Measure::Pulled { size_bytes: 300 << 20, took: second },
        Measure::Pulled { size_bytes: 0, took: second },
        Measure::FellBackToHttp,
        Measure::Hook { hook: Hook::PreStop, handler: "sleep", end: "cancelled", took: second },
        Measure::StageFailed { stage: Stage::Sandbox, role: None, reason: "FailedCreatePodSandBox".to_owned() },
        Measure::Stage(Stage::Sandbox, second),
        Measure::Stage(Stage::Pull, second),
        Measure::StageFailed { stage: Stage::Sandbox, role: None, reason: "FailedMount".to_owned() },
        Measure::StageFailed { stage: Stage::Pull, role: Some(Role::Sidecar), reason: "ErrImagePull".to_owned() },
        Measure::Started { role: Role::Regular, is_restart: true },
        Measure::Hook { hook: Hook::PreStop, handler: "exec", end: "timed_out", took: second },
        Measure::Probe { probe: ProbeKind::Liveness, result: "failed", took: second },
        Measure::ProbeLate(ProbeKind::Liveness, second),
        Measure::SignalToExit(second),
        Measure::Stopped { cause: StopCause::LivenessFailed, used_share: Some(0.5) },
        Measure::Stopped { cause: StopCause::LivenessFailed, used_share: None },
        Measure::Killed(Blame::PreStopEndless),
        Measure::Exited("OOMKilled".to_owned()),
    ];
    let expected = r#"kubelet_image_pull_duration_seconds_sum{image_size_in_bytes="100MB-500MB"} 1
kubelet_image_pull_duration_seconds_count{image_size_in_bytes="100MB-500MB"} 1
kubelet_image_pull_duration_seconds_sum{image_size_in_bytes="N/A"} 1
kubelet_image_pull_duration_seconds_count{image_size_in_bytes="N/A"} 1
kubelet_lifecycle_handler_http_fallbacks_total 1
kubelet_pod_start_duration_seconds_sum 1
kubelet_pod_start_duration_seconds_count 1
kubelet_preemptions{preemption_signal="memory"} 1
kubelet_run_podsandbox_duration_seconds_sum 1
kubelet_run_podsandbox_duration_seconds_count 1
kubelet_run_podsandbox_errors_total 1
kubelet_sleep_action_terminated_early_total 1
kubelet_started_containers_errors_total{code="ErrImagePull",container_type="init_container"} 1
kubelet_started_containers_total{container_type="container"} 1
kubelet_started_pods_errors_total{message="FailedCreatePodSandBox"} 1
kubelet_started_pods_errors_total{message="FailedMount"} 1
kubelet_started_pods_total 3
prober_probe_duration_seconds_sum{probe_type="Liveness"} 1
prober_probe_duration_seconds_count{probe_type="Liveness"} 1
prober_probe_total{probe_type="Liveness",result="failed"} 1
usher_container_exits_total{reason="OOMKilled"} 1
usher_container_kills_total{cause="pre_stop_endless"} 1
usher_container_restarts_total{container_type="container"} 1
usher_grace_used_ratio_sum{cause="liveness_failed"} 0.5
usher_grace_used_ratio_count{cause="liveness_failed"} 1
usher_hook_duration_seconds_sum{handler="exec",hook="preStop"} 1
usher_hook_duration_seconds_count{handler="exec",hook="preStop"} 1
usher_hook_duration_seconds_sum{handler="sleep",hook="preStop"} 1
usher_hook_duration_seconds_count{handler="sleep",hook="preStop"} 1
usher_hook_runs_total{end="cancelled",handler="sleep",hook="preStop"} 1
usher_hook_runs_total{end="timed_out",handler="exec",hook="preStop"} 1
usher_pod_ready_duration_seconds_sum 1
usher_pod_ready_duration_seconds_count 1
usher_pod_terminations_total{trigger="evicted"} 1
usher_probe_lateness_seconds_sum{probe_type="Liveness"} 1
usher_probe_lateness_seconds_count{probe_type="Liveness"} 1
usher_start_stage_duration_seconds_sum{stage="pull"} 1
usher_start_stage_duration_seconds_count{stage="pull"} 1
usher_start_stage_duration_seconds_sum{stage="sandbox"} 1
usher_start_stage_duration_seconds_count{stage="sandbox"} 1
usher_stop_signal_to_exit_seconds_sum 1
usher_stop_signal_to_exit_seconds_count 1"#;
    assert_eq!(series(&counted(&measures)).join("\n"), expected);
}

#[test]
fn no_word_of_the_world_becomes_a_label() {
    let none = counted(&[]).lines().count();
    let strange = |reason: &str| {
        [
            Measure::Exited(reason.to_owned()),
            Measure::StageFailed { stage: Stage::Sandbox, role: None, reason: reason.to_owned() },
            Measure::StageFailed { stage: Stage::Create, role: None, reason: reason.to_owned() },
        ]
    };
    let many: Vec<Measure> = (0..1000).flat_map(|number| strange(&format!("Reason{number}"))).collect();
    let text = counted(&many);
    assert_eq!(text.lines().count(), none, "all series are there from the beginning");
    assert!(text.contains("usher_container_exits_total{reason=\"Other\"} 1000\n"), "{text}");
}

#[test]
fn a_pod_that_ended_is_forgotten() {
    let registry = Registry::new();
    let metrics = Metrics::register(&registry).expect("registered");
    let told = |record: Record| Live::Entry(Box::new(Entry { seq: 0, at: Moment::default(), record }));
    let asked = Step { id: ActionId(1), action: Action::Note(Note::StopOrderWait { container: "app".to_owned() }) };
    metrics.passed("one", &told(Record::Action(asked)));
    let ready = Event::SandboxReady { id: ActionId(2), ips: Vec::new(), missing_pull_secrets: Vec::new() };
    metrics.passed("one", &told(Record::Event(ready)));
    let text = || TextEncoder::new().encode_to_string(&registry.gather()).expect("text");
    assert!(text().contains("kubelet_running_pods 1\n"));
    metrics.ended("one");
    assert!(text().contains("kubelet_running_pods 0\n"));
    assert!(metrics.pods.lock().expect("whole").is_empty());
}
