use serde_json::{Value, json};

use super::*;

fn config(spec: Value) -> PodSandboxConfig {
    let pod = json!({"metadata": {"name": "p", "namespace": "ns", "uid": "u"}, "spec": spec});
    sandbox_config(&serde_json::from_value(pod).expect("a pod"), 2)
}

#[test]
fn ports_of_the_node_lead_to_containers_and_sidecars() {
    let config = config(json!({
        "initContainers": [
            {"name": "i", "ports": [{"containerPort": 1, "hostPort": 1}]},
            {"name": "s", "restartPolicy": "Always", "ports": [{"containerPort": 2, "hostPort": 2002, "protocol": "UDP"}]},
        ],
        "containers": [{"name": "c", "ports": [{"containerPort": 3}, {"containerPort": 4, "hostPort": 4004, "hostIP": "127.0.0.1"}]}],
    }));
    let port = |protocol: &str, host_ip: Option<IpAddr>, host_port, container_port| PortMapping {
        protocol: protocol.to_owned(),
        host_ip,
        host_port,
        container_port,
    };
    assert_eq!(config.port_mappings, [port("TCP", Some([127, 0, 0, 1].into()), 4004, 4), port("UDP", None, 2002, 2)]);
    assert_eq!((config.attempt, config.hostname.as_str(), config.uid.as_str()), (2, "p", "u"));
}

#[test]
fn namespaces_and_kernel_parameters_are_as_the_pod_says() {
    let config = config(json!({
        "containers": [{"name": "c", "ports": [{"containerPort": 4, "hostPort": 4}]}], "hostname": "h",
        "hostNetwork": true, "hostPID": true, "hostIPC": true, "shareProcessNamespace": true,
        "securityContext": {"sysctls": [{"name": "net.core.somaxconn", "value": "1"}]},
    }));
    assert!(config.host_network && config.host_pid && config.host_ipc && config.share_process_namespace);
    assert_eq!(config.port_mappings, []);
    assert_eq!(config.hostname, Machine::this().hostname);
    assert_eq!(config.sysctls.get("net.core.somaxconn").map(String::as_str), Some("1"));
}
