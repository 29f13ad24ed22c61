use serde_json::{Value, json};

use super::*;
use crate::convert::HookTimeoutError;

fn pod_of(container: Value, annotations: Value) -> Pod {
    let pod = json!({
        "metadata": {"name": "p", "namespace": "ns", "uid": "u-1", "annotations": annotations},
        "spec": {"restartPolicy": "OnFailure", "terminationGracePeriodSeconds": 7, "containers": [container]},
    });
    serde_json::from_value(pod).expect("a pod")
}

fn only_container(container: Value) -> Result<ContainerSpec, PodSpecError> {
    let mut container = container;
    container["name"] = json!("c");
    container["imagePullPolicy"] = json!("Never");
    pod_spec(&pod_of(container, json!({}))).map(|spec| spec.containers[0].clone())
}

#[test]
fn a_pod_keeps_what_its_life_depends_on() {
    let pod: Pod = serde_json::from_value(json!({
        "metadata": {"name": "p", "namespace": "ns", "uid": "u-1"},
        "spec": {
            "restartPolicy": "Never", "terminationGracePeriodSeconds": 0, "activeDeadlineSeconds": 9,
            "initContainers": [{"name": "s", "image": "i", "imagePullPolicy": "Always", "restartPolicy": "Always"}],
            "containers": [{
                "name": "c", "image": "j:1", "imagePullPolicy": "IfNotPresent", "restartPolicy": "Never",
                "restartPolicyRules": [{"action": "Restart", "exitCodes": {"operator": "NotIn", "values": [1, 2]}}],
            }],
        },
    }))
    .expect("a pod");
    let spec = pod_spec(&pod).expect("a spec");
    assert_eq!(spec.full_name(), "p_ns(u-1)");
    assert_eq!((spec.restart_policy, spec.termination_grace_period_secs, spec.active_deadline_secs), (RestartPolicy::Never, 0, Some(9)));
    assert_eq!(spec.init_containers[0].restart_policy, Some(RestartPolicy::Always));
    assert_eq!(
        spec.containers[0].restart_policy_rules,
        [RestartRule { action: RestartAction::Restart, operator: ExitCodeOperator::NotIn, exit_codes: vec![1, 2] }]
    );
    assert_eq!(spec.containers[0].image_pull_policy, ImagePullPolicy::IfNotPresent);
}

/// k8s: 2.d.17, 7.d.1
#[test]
fn variables_are_expanded_in_exec_probes_and_not_in_hooks() {
    let container = only_container(json!({
        "env": [
            {"name": "A", "value": "a"},
            {"name": "F", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        ],
        "lifecycle": {"preStop": {"exec": {"command": ["echo", "$(A)"]}}},
        "livenessProbe": {"exec": {"command": ["echo", "$(A)", "$(F)", "$(NONE)", "$$(A)"]}, "timeoutSeconds": 3},
    }))
    .expect("a container");
    assert_eq!(container.pre_stop, Some(Handler::Exec { command: vec!["echo".into(), "$(A)".into()], time_limit: None }));
    let probe = container.liveness_probe.expect("a probe");
    let expected = ["echo", "a", "$(F)", "$(NONE)", "$(A)"].map(str::to_owned).to_vec();
    assert_eq!(probe.handler, ProbeHandler::Exec { command: expected });
    assert_eq!((probe.timeout_secs, probe.period_secs, probe.success_threshold, probe.failure_threshold), (3, 10, 1, 3));
}

/// k8s: 3.d.5, 3.d.6
#[test]
fn ports_are_resolved_in_the_container_with_the_texts_of_the_reference() {
    let check = |port: Value, expected: HttpPort| {
        let container = only_container(json!({
            "ports": [{"name": "web", "containerPort": 8080}],
            "lifecycle": {"postStart": {"httpGet": {"port": port}}},
            "readinessProbe": {"tcpSocket": {"port": port}},
        }));
        let container = container.expect("a container");
        let get = HttpGet { host: None, port: expected.clone(), path: "/".into(), scheme: Scheme::Http, headers: vec![] };
        assert_eq!(container.post_start, Some(Handler::HttpGet(get)), "{port}");
        assert_eq!(container.readiness_probe.map(|probe| probe.handler), Some(ProbeHandler::TcpSocket { host: None, port: expected }));
    };
    let unresolved = |text: &str| HttpPort::Unresolved(text.to_owned());
    check(json!(8099), HttpPort::Number(8099));
    check(json!("web"), HttpPort::Number(8080));
    check(json!("8081"), HttpPort::Number(8081));
    check(json!("nope"), unresolved("strconv.Atoi: parsing \"nope\": invalid syntax"));
    check(json!("99999999999999999999"), unresolved("strconv.Atoi: parsing \"99999999999999999999\": value out of range"));
    check(json!(0), unresolved("invalid port number: 0"));
    check(json!(70000), unresolved("invalid port number: 70000"));
    check(json!("-1"), unresolved("invalid port number: -1"));
}

#[test]
fn requests_keep_path_scheme_and_headers_as_they_are_written() {
    let container = only_container(json!({"lifecycle": {
        "postStart": {"httpGet": {"port": 1, "host": "h", "path": "a?b=c", "scheme": "HTTPS",
            "httpHeaders": [{"name": "x", "value": "1"}, {"name": "x", "value": "2"}]}},
        "preStop": {"sleep": {"seconds": 4}},
    }}));
    let container = container.expect("a container");
    let headers = vec![("x".to_owned(), "1".to_owned()), ("x".to_owned(), "2".to_owned())];
    let get = HttpGet { host: Some("h".into()), port: HttpPort::Number(1), path: "a?b=c".into(), scheme: Scheme::Https, headers };
    assert_eq!(container.post_start, Some(Handler::HttpGet(get)));
    assert_eq!(container.pre_stop, Some(Handler::Sleep { secs: 4 }));
    let container = only_container(json!({"lifecycle": {"postStart": {"tcpSocket": {"port": 1}}}})).expect("a container");
    assert_eq!(container.post_start, Some(Handler::TcpSocket));
}

#[test]
fn a_grpc_probe_without_a_service_asks_for_the_empty_one() {
    let container = only_container(json!({"startupProbe": {"grpc": {"port": 5000}, "terminationGracePeriodSeconds": 3}}));
    let probe = container.expect("a container").startup_probe.expect("a probe");
    assert_eq!(probe.handler, ProbeHandler::Grpc { port: 5000, service: String::new() });
    assert_eq!(probe.termination_grace_period_secs, Some(3));
}

#[test]
fn what_the_engine_has_no_machine_for_is_named() {
    let rule = json!({"action": "Explode", "exitCodes": {"operator": "In", "values": [1]}});
    let error = only_container(json!({"restartPolicy": "Never", "restartPolicyRules": [rule]})).expect_err("an error");
    assert_eq!(error.to_string(), "spec.containers[0].restartPolicyRules[0].action: \"Explode\" is not supported");
    let error = only_container(json!({"lifecycle": {"preStop": {}}})).expect_err("an error");
    assert_eq!(error.to_string(), "spec.containers[0].lifecycle.preStop: the pod has not been defaulted and validated");
}

fn with_timeout(annotation: &str, value: &str) -> Result<PodSpec, PodSpecError> {
    let container = json!({"name": "app", "imagePullPolicy": "Never", "lifecycle": {
        "preStop": {"exec": {"command": ["x"]}},
        "postStart": {"sleep": {"seconds": 1}},
    }});
    pod_spec(&pod_of(container, json!({annotation: value, "other": "x"})))
}

#[test]
fn an_annotation_limits_the_time_of_an_exec_hook() {
    let limit = |value: &str| {
        let spec = with_timeout("pre-stop.timeout-seconds.usher.dev/app", value).expect("a spec");
        let Some(Handler::Exec { time_limit, .. }) = &spec.containers[0].pre_stop else { panic!("no exec hook") };
        *time_limit
    };
    assert_eq!(limit("5"), Some(Duration::from_secs(5)));
    assert_eq!(limit("0"), None);
    assert_eq!(limit("2147483647"), Some(Duration::from_secs(2_147_483_647)));
}

#[test]
fn an_annotation_that_cannot_limit_anything_is_an_error() {
    let error = |annotation: &str, value: &str| with_timeout(annotation, value).expect_err("an error").to_string();
    let pre_stop = "pre-stop.timeout-seconds.usher.dev/app";
    for value in ["", "5s", "-1", "+5", "2147483648", "1.5"] {
        let expected =
            format!("metadata.annotations[{pre_stop}]: {value:?} is not a whole number of seconds from 0 (no limit) to 2147483647");
        assert_eq!(error(pre_stop, value), expected);
    }
    assert_eq!(
        error("pre-stop.timeout-seconds.usher.dev/db", "5"),
        "metadata.annotations[pre-stop.timeout-seconds.usher.dev/db]: the pod has no container \"db\""
    );
    let post_start = "post-start.timeout-seconds.usher.dev/app";
    let expected = HookTimeoutError::NoExecHook { annotation: post_start.to_owned(), container: "app".to_owned(), hook: Hook::PostStart };
    assert_eq!(with_timeout(post_start, "5"), Err(PodSpecError::HookTimeout(expected)));
}
