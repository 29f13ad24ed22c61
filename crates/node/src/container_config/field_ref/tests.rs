use serde_json::{Value, json};

use super::*;

fn pod(spec: Value) -> Pod {
    let metadata = json!({
        "name": "p", "namespace": "ns", "uid": "u",
        "labels": {"app": "web", "b": "2"}, "annotations": {"a.io/k": "say \"hi\""},
    });
    serde_json::from_value(json!({"metadata": metadata, "spec": spec})).expect("a pod")
}

fn check_field(spec: Value, path: &str, expected: &str) {
    let pod = pod(spec);
    let node_ips = ["192.0.2.1", "2001:db8::1"].map(|ip| ip.parse().expect("an address"));
    let pod_ips = ["10.0.0.5", "fd00::5"].map(|ip| ip.parse().expect("an address"));
    let facts = PodFacts { pod: &pod, node_name: "n1", node_ips: &node_ips, pod_ips: &pod_ips };
    assert_eq!(field_value(path, &facts).as_deref(), Ok(expected), "{path}");
}

#[test]
fn fields_of_the_pod_are_told_as_text() {
    let spec = json!({"containers": [], "serviceAccountName": "sa"});
    for (path, expected) in [
        ("metadata.name", "p"),
        ("metadata.namespace", "ns"),
        ("metadata.uid", "u"),
        ("metadata.labels['app']", "web"),
        ("metadata.labels['none']", ""),
        ("metadata.annotations['a.io/k']", "say \"hi\""),
        ("metadata.labels", "app=\"web\"\nb=\"2\""),
        ("metadata.annotations", "a.io/k=\"say \\\"hi\\\"\""),
        ("spec.nodeName", "n1"),
        ("spec.serviceAccountName", "sa"),
        ("status.hostIP", "192.0.2.1"),
        ("status.hostIPs", "192.0.2.1,2001:db8::1"),
        ("status.podIP", "10.0.0.5"),
        ("status.podIPs", "10.0.0.5,fd00::5"),
    ] {
        check_field(spec.clone(), path, expected);
    }
    check_field(json!({"containers": [], "nodeName": "named"}), "spec.nodeName", "named");
    check_field(json!({"containers": [], "hostNetwork": true}), "status.podIP", "192.0.2.1");
}

#[test]
fn a_field_that_may_not_be_told_is_named() {
    let pod = pod(json!({"containers": []}));
    let facts = PodFacts { pod: &pod, node_name: "", node_ips: &[], pod_ips: &[] };
    for path in ["spec.containers", "metadata.finalizers['x']", "status.phase"] {
        let error = field_value(path, &facts).expect_err("an error");
        assert_eq!(error.to_string(), format!("unsupported fieldPath: {path}"));
    }
}

fn check_resource(resources: Value, selector: Value, expected: Result<&str, &str>) {
    let pod = pod(json!({"containers": [{"name": "c", "resources": resources}]}));
    let machine = Machine { memory_bytes: 8 << 30, cpu_millis: 4000, hostname: String::new(), has_unified_cgroups: false };
    let selector: ResourceFieldSelector = serde_json::from_value(selector).expect("a selector");
    let own = &pod.spec.as_ref().expect("a spec").containers[0];
    let value = resource_value(&selector, &pod, Some(own), &machine).map_err(|error| error.to_string());
    assert_eq!(value.as_deref().map_err(String::as_str), expected, "{selector:?}");
}

#[test]
fn resources_are_told_in_units_of_the_divisor_rounded_up() {
    let given = json!({"requests": {"cpu": "250m", "memory": "100Mi"}, "limits": {"cpu": "1500m"}});
    check_resource(given.clone(), json!({"resource": "requests.cpu"}), Ok("1"));
    check_resource(given.clone(), json!({"resource": "requests.cpu", "divisor": "1m"}), Ok("250"));
    check_resource(given.clone(), json!({"resource": "limits.cpu"}), Ok("2"));
    check_resource(given.clone(), json!({"resource": "requests.memory", "divisor": "1Mi"}), Ok("100"));
    check_resource(given.clone(), json!({"resource": "requests.memory", "divisor": "1Gi"}), Ok("1"));
    check_resource(given.clone(), json!({"resource": "requests.memory", "divisor": "0"}), Ok("104857600"));
    // Without a limit: all of the machine.
    check_resource(given.clone(), json!({"resource": "limits.memory", "divisor": "1Gi"}), Ok("8"));
    check_resource(json!({}), json!({"resource": "limits.cpu"}), Ok("4"));
    check_resource(json!({}), json!({"resource": "requests.memory"}), Ok("0"));
    check_resource(given.clone(), json!({"resource": "requests.cpu", "containerName": "c"}), Ok("1"));
    check_resource(given.clone(), json!({"resource": "requests.cpu", "containerName": "d"}), Err("container d not found"));
    check_resource(given, json!({"resource": "limits.pods"}), Err("unsupported container resource : limits.pods"));
}
