use serde_json::{Value, json};

use super::*;

fn pod(spec: Value) -> Pod {
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": spec});
    serde_json::from_value(pod).expect("a pod")
}

fn defaulted(spec: Value) -> Value {
    let mut pod = pod(spec);
    default_pod(&mut pod);
    let once = pod.clone();
    default_pod(&mut pod);
    assert_eq!(once, pod, "defaulting twice changes nothing");
    serde_json::to_value(pod).expect("serializes")
}

// k8s: 1.a.3, 1.a.4, 1.a.5
#[test]
fn a_smallest_pod_is_filled_in_as_by_the_api_server() {
    let found = defaulted(json!({"containers": [{"name": "a", "image": "x"}]}));
    let expected = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "p", "namespace": "default"},
        "spec": {
            "containers": [{
                "name": "a",
                "image": "x",
                "imagePullPolicy": "Always",
                "terminationMessagePath": "/dev/termination-log",
                "terminationMessagePolicy": "File",
            }],
            "dnsPolicy": "ClusterFirst",
            "enableServiceLinks": true,
            "restartPolicy": "Always",
            "schedulerName": "default-scheduler",
            "securityContext": {},
            "terminationGracePeriodSeconds": 30,
        },
    });
    assert_eq!(found, expected);
}

// k8s: 1.a.7, 1.a.8, 1.a.10, 1.a.11
#[test]
fn probes_and_hooks_are_filled_in() {
    let found = defaulted(json!({"containers": [{
        "name": "a",
        "image": "x:1",
        "livenessProbe": {"httpGet": {"port": 80}, "timeoutSeconds": 0, "initialDelaySeconds": 0},
        "readinessProbe": {"grpc": {"port": 80}, "periodSeconds": 3, "successThreshold": 2},
        "lifecycle": {"preStop": {"httpGet": {"port": "web", "path": "/x", "scheme": "HTTPS"}}, "postStart": {"sleep": {"seconds": 0}}},
    }]}));
    let container = &found["spec"]["containers"][0];
    assert_eq!(container["imagePullPolicy"], "IfNotPresent");
    assert_eq!(
        container["livenessProbe"],
        json!({
            "httpGet": {"port": 80, "path": "/", "scheme": "HTTP"},
            "initialDelaySeconds": 0, "timeoutSeconds": 1, "periodSeconds": 10,
            "successThreshold": 1, "failureThreshold": 3,
        })
    );
    assert_eq!(
        container["readinessProbe"],
        json!({
            "grpc": {"port": 80, "service": ""},
            "timeoutSeconds": 1, "periodSeconds": 3, "successThreshold": 2, "failureThreshold": 3,
        })
    );
    assert_eq!(
        container["lifecycle"],
        json!({
            "preStop": {"httpGet": {"port": "web", "path": "/x", "scheme": "HTTPS"}},
            "postStart": {"sleep": {"seconds": 0}},
        })
    );
}

// k8s: 1.a.12
#[test]
fn requests_come_from_limits_and_amounts_are_whole_thousandths() {
    let found = defaulted(json!({"containers": [{
        "name": "a",
        "image": "x",
        "resources": {"limits": {"cpu": "1", "memory": "64Mi"}, "requests": {"cpu": "0.0001"}},
    }]}));
    let resources = &found["spec"]["containers"][0]["resources"];
    assert_eq!(resources["requests"], json!({"cpu": "1m", "memory": "64Mi"}));
}

#[test]
fn pod_level_requests_come_from_containers_and_then_from_limits() {
    let found = defaulted(json!({
        "resources": {"limits": {"cpu": "4", "memory": "1Gi"}},
        "containers": [
            {"name": "a", "image": "x", "resources": {"requests": {"cpu": "1"}}},
            {"name": "b", "image": "x", "resources": {"requests": {"cpu": "500m"}}},
        ],
        "initContainers": [{"name": "c", "image": "x", "resources": {"requests": {"cpu": "2"}}}],
    }));
    assert_eq!(found["spec"]["resources"]["requests"], json!({"cpu": "2", "memory": "1Gi"}));
}

#[test]
fn ports_on_the_host_network_are_host_ports() {
    let found = defaulted(json!({
        "hostNetwork": true,
        "containers": [{"name": "a", "image": "x", "ports": [{"containerPort": 80}]}],
    }));
    let port = &found["spec"]["containers"][0]["ports"][0];
    assert_eq!(*port, json!({"containerPort": 80, "hostPort": 80, "protocol": "TCP"}));
}

// k8s: 1.a.2
#[test]
fn volumes_are_filled_in() {
    let found = defaulted(json!({
        "containers": [{"name": "a", "image": "x", "env": [{"name": "N", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]}],
        "volumes": [
            {"name": "none"},
            {"name": "host", "hostPath": {"path": "/x"}},
            {"name": "secret", "secret": {"secretName": "s"}},
            {"name": "map", "configMap": {"name": "m", "defaultMode": 0}},
            {"name": "down", "downwardAPI": {"items": [{"path": "n", "fieldRef": {"fieldPath": "metadata.name"}}]}},
            {"name": "all", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}},
            {"name": "image", "image": {"reference": "x"}},
        ],
    }));
    assert_eq!(found["spec"]["containers"][0]["env"][0]["valueFrom"]["fieldRef"]["apiVersion"], "v1");
    let volumes = json!([
        {"name": "none", "emptyDir": {}},
        {"name": "host", "hostPath": {"path": "/x", "type": ""}},
        {"name": "secret", "secret": {"secretName": "s", "defaultMode": 420}},
        {"name": "map", "configMap": {"name": "m", "defaultMode": 0}},
        {"name": "down", "downwardAPI": {"defaultMode": 420, "items": [{"path": "n", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.name"}}]}},
        {"name": "all", "projected": {"defaultMode": 420, "sources": [{"serviceAccountToken": {"path": "t", "expirationSeconds": 3600}}]}},
        {"name": "image", "image": {"reference": "x", "pullPolicy": "Always"}},
    ]);
    assert_eq!(found["spec"]["volumes"], volumes);
}

// k8s: 1.a.6, 1.b.1
#[test]
fn a_grace_of_zero_stays_and_a_negative_one_becomes_one() {
    for (written, repaired) in [(0, 0), (-5, 1), (7, 7)] {
        let mut pod = pod(json!({"containers": [], "terminationGracePeriodSeconds": written}));
        default_pod(&mut pod);
        let grace = |pod: &Pod| pod.spec.as_ref().and_then(|spec| spec.termination_grace_period_seconds);
        assert_eq!(grace(&pod), Some(written));
        repair_grace_period(&mut pod);
        assert_eq!(grace(&pod), Some(repaired));
    }
}

#[test]
fn the_two_names_of_the_service_account_agree() {
    let found = defaulted(json!({"containers": [], "serviceAccount": "x"}));
    assert_eq!((&found["spec"]["serviceAccount"], &found["spec"]["serviceAccountName"]), (&json!("x"), &json!("x")));
}

#[test]
fn plain_text_of_a_secret_becomes_data() {
    let secret = json!({"metadata": {"name": "s"}, "data": {"a": "YQ==", "b": "Yg=="}, "stringData": {"b": "B"}});
    let mut secret: Secret = serde_json::from_value(secret).expect("a secret");
    default_secret(&mut secret);
    let found = serde_json::to_value(secret).expect("serializes");
    assert_eq!(found["data"], json!({"a": "YQ==", "b": "Qg=="}));
    assert_eq!((&found["type"], &found["stringData"]), (&json!("Opaque"), &Value::Null));
}

#[test]
fn generated_names_fit_a_label() {
    assert_eq!(generated_name("job-", "x7k2q"), "job-x7k2q");
    assert_eq!(generated_name(&"a".repeat(80), "x7k2q").len(), 63);
}
