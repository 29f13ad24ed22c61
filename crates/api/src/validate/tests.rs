//! The rules of Pods, each with the words of the reference. More, with places, is in `tests/wrong_manifests.txt`.

use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret};
use serde_json::{Value, json};

use super::*;
use crate::defaults::{default_config_map, default_pod, default_secret};

/// What is wrong with a Pod of this specification, in order.
fn pod(spec: Value) -> Vec<String> {
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": spec});
    let mut pod: Pod = serde_json::from_value(pod).expect("a pod");
    default_pod(&mut pod);
    validate_pod_create(&pod).iter().map(ToString::to_string).collect()
}

/// The same for a Pod with one container, which has `fields` besides name and image. `c` stands for its path.
fn container(fields: Value) -> Vec<String> {
    container_of(json!({}), fields)
}

fn container_of(mut spec: Value, fields: Value) -> Vec<String> {
    let mut container = json!({"name": "a", "image": "x"});
    container.as_object_mut().expect("a map").extend(fields.as_object().cloned().expect("a map"));
    spec["containers"] = json!([container]);
    pod(spec).into_iter().map(|error| error.replace("spec.containers[0]", "c")).collect()
}

#[track_caller]
fn check(found: Vec<String>, expected: &[&str]) {
    assert_eq!(found, expected);
}

#[test]
fn a_full_pod_is_valid() {
    let probe = json!({"httpGet": {"port": "web"}, "terminationGracePeriodSeconds": 100});
    let found = pod(json!({
        "os": {"name": "linux"},
        "terminationGracePeriodSeconds": 5,
        "activeDeadlineSeconds": 60,
        "hostname": "h", "subdomain": "s",
        "dnsPolicy": "None", "dnsConfig": {"nameservers": ["10.0.0.1"], "searches": [".", "a_b.c."], "options": [{"name": "ndots"}]},
        "hostAliases": [{"ip": "::1", "hostnames": ["a.b"]}],
        "nodeSelector": {"kubernetes.io/os": "linux"},
        "tolerations": [{"operator": "Exists"}, {"key": "a", "value": "b", "effect": "NoExecute", "tolerationSeconds": 1}],
        "securityContext": {"runAsUser": 0, "fsGroup": 1, "sysctls": [{"name": "net.ipv4.ip_forward", "value": "1"}], "seccompProfile": {"type": "RuntimeDefault"}},
        "volumes": [
            {"name": "e", "emptyDir": {"sizeLimit": "1Gi"}}, {"name": "h", "hostPath": {"path": "/x"}},
            {"name": "c", "configMap": {"name": "m", "items": [{"key": "a", "path": "a/b", "mode": 511}]}},
            {"name": "d", "downwardAPI": {"items": [{"path": "l", "fieldRef": {"fieldPath": "metadata.labels['app']"}}]}},
        ],
        "initContainers": [
            {"name": "i", "image": "x"},
            {"name": "s", "image": "x", "restartPolicy": "Always", "startupProbe": probe, "lifecycle": {"preStop": {"sleep": {"seconds": 5}}}},
        ],
        "containers": [{
            "name": "a", "image": "x",
            "ports": [{"containerPort": 80, "name": "web"}, {"containerPort": 80, "name": "dns", "protocol": "UDP"}],
            "env": [{"name": "a.b-C", "value": "1"}, {"name": "N", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}, {"name": "R", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu", "divisor": "1m"}}}],
            "envFrom": [{"prefix": "P_", "configMapRef": {"name": "m"}}],
            "volumeMounts": [{"name": "e", "mountPath": "/e", "subPath": "a"}, {"name": "h", "mountPath": "/h"}],
            "resources": {"limits": {"cpu": "1", "memory": "1Gi", "example.com/gpu": "1"}},
            "lifecycle": {"postStart": {"exec": {"command": ["true"]}}, "preStop": {"sleep": {"seconds": 0}}, "stopSignal": "SIGRTMIN+3"},
            "livenessProbe": probe,
            "readinessProbe": {"exec": {"command": ["true"]}, "successThreshold": 3},
            "restartPolicy": "OnFailure",
            "restartPolicyRules": [{"action": "RestartAllContainers", "exitCodes": {"operator": "NotIn", "values": []}}],
            "securityContext": {"privileged": true, "capabilities": {"add": ["NET_ADMIN"]}},
        }],
    }));
    check(found, &[]);
}

// k8s: 1.b.3, 1.b.5, 1.b.6, 1.c.1, 1.c.2, 1.c.3, 1.c.4, 1.c.5, 1.c.10
#[test]
fn probes_are_checked() {
    let probe = |fields: Value| container(json!({"livenessProbe": fields}));
    check(probe(json!({})), &["c.livenessProbe: Required value: must specify a handler type"]);
    check(
        probe(json!({"exec": {}, "httpGet": {"port": 0}, "tcpSocket": {"port": 0}, "grpc": {"port": 0}})),
        &[
            "c.livenessProbe.exec.command: Required value",
            "c.livenessProbe.httpGet: Forbidden: may not specify more than 1 handler type",
            "c.livenessProbe.tcpSocket: Forbidden: may not specify more than 1 handler type",
            "c.livenessProbe.grpc: Forbidden: may not specify more than 1 handler type",
        ],
    );
    check(
        probe(json!({
            "grpc": {"port": 70000}, "initialDelaySeconds": -1, "timeoutSeconds": -1, "periodSeconds": -1,
            "successThreshold": -1, "failureThreshold": -1, "terminationGracePeriodSeconds": 0,
        })),
        &[
            "c.livenessProbe.grpc.port: Invalid value: 70000: must be between 1 and 65535, inclusive",
            "c.livenessProbe.initialDelaySeconds: Invalid value: -1: must be greater than or equal to 0",
            "c.livenessProbe.timeoutSeconds: Invalid value: -1: must be greater than or equal to 0",
            "c.livenessProbe.periodSeconds: Invalid value: -1: must be greater than or equal to 0",
            "c.livenessProbe.successThreshold: Invalid value: -1: must be greater than or equal to 0",
            "c.livenessProbe.failureThreshold: Invalid value: -1: must be greater than or equal to 0",
            "c.livenessProbe.terminationGracePeriodSeconds: Invalid value: 0: must be greater than 0",
            "c.livenessProbe.successThreshold: Invalid value: -1: must be 1",
        ],
    );
    let exec = json!({"exec": {"command": ["true"]}, "successThreshold": 2, "terminationGracePeriodSeconds": 9});
    check(container(json!({"startupProbe": exec})), &["c.startupProbe.successThreshold: Invalid value: 2: must be 1"]);
    check(
        container(json!({"readinessProbe": exec})),
        &["c.readinessProbe.terminationGracePeriodSeconds: Invalid value: 9: must not be set for readinessProbes"],
    );
}

// k8s: 1.c.6, 1.c.7, 1.c.8, 1.c.9
#[test]
fn http_handlers_are_checked() {
    let hook = |http: Value| container(json!({"lifecycle": {"preStop": {"httpGet": http}}}));
    check(hook(json!({"port": "web"})), &[]);
    check(
        hook(json!({"port": "-", "scheme": "FTP", "httpHeaders": [{"name": "X_Y", "value": ""}]})),
        &[
            "c.lifecycle.preStop.httpGet.port: Invalid value: \"-\": must contain at least one letter (a-z)",
            "c.lifecycle.preStop.httpGet.port: Invalid value: \"-\": must not begin or end with a hyphen",
            "c.lifecycle.preStop.httpGet.scheme: Unsupported value: \"FTP\": supported values: \"HTTP\", \"HTTPS\"",
            "c.lifecycle.preStop.httpGet.httpHeaders: Invalid value: \"X_Y\": a valid HTTP header must consist of alphanumeric characters or '-' (e.g. 'X-Header-Name', regex used for validation is '[-A-Za-z0-9]+')",
        ],
    );
}

// k8s: 1.d.1, 1.d.2, 1.d.3, 1.d.5
#[test]
fn hooks_are_checked() {
    let lifecycle = |lifecycle: Value| container_of(json!({"terminationGracePeriodSeconds": 5}), json!({"lifecycle": lifecycle}));
    check(lifecycle(json!({})), &[]);
    check(lifecycle(json!({"postStart": {"tcpSocket": {"port": 1}}})), &[]);
    check(lifecycle(json!({"postStart": {}})), &["c.lifecycle.postStart: Required value: must specify a handler type"]);
    for (seconds, valid) in [(-1, false), (0, true), (5, true), (6, false)] {
        let found = lifecycle(json!({"postStart": {"sleep": {"seconds": seconds}}}));
        let error = format!(
            "c.lifecycle.postStart.sleep: Invalid value: {seconds}: must be non-negative and less than terminationGracePeriodSeconds (5)"
        );
        assert_eq!(found, if valid { vec![] } else { vec![error] }, "{seconds}");
    }
    check(
        lifecycle(json!({"preStop": {"sleep": {"seconds": 1}, "exec": {"command": ["x"]}, "tcpSocket": {"port": 1}}})),
        &[
            "c.lifecycle.preStop.tcpSocket: Forbidden: may not specify more than 1 handler type",
            "c.lifecycle.preStop.sleep: Forbidden: may not specify more than 1 handler type",
        ],
    );
}

// k8s: 1.d.6, 1.d.7
#[test]
fn stop_signals_are_checked() {
    let signal = |os: Value, signal: &str| container_of(os, json!({"lifecycle": {"stopSignal": signal}}));
    let linux = || json!({"os": {"name": "linux"}});
    check(signal(json!({}), "SIGTERM"), &["c.lifecycle.stopSignal: Forbidden: may not be set for containers with empty `spec.os.name`"]);
    assert_eq!(handler::linux_signals().len(), 65);
    for name in handler::linux_signals() {
        check(signal(linux(), &name), &[]);
    }
    for name in ["TERM", "15", "sigterm", "SIGRTMIN+16", "SIGRTMAX-15", ""] {
        let found = signal(linux(), name);
        assert_eq!(found.len(), 1, "{name}");
        assert!(found[0].starts_with(&format!("c.lifecycle.stopSignal: Unsupported value: \"{name}\": supported values: \"SIGABRT\", ")));
    }
}

// k8s: 1.d.9, 1.d.10, 1.e.12
#[test]
fn init_containers_and_sidecars_are_checked() {
    let hook = json!({"preStop": {"exec": {"command": ["true"]}}});
    let probe = json!({"exec": {"command": ["true"]}});
    let init = |restart: Value| {
        let init = json!({
            "name": "i", "image": "x", "restartPolicy": restart, "lifecycle": hook, "livenessProbe": probe,
            "readinessProbe": probe, "startupProbe": probe,
            "resizePolicy": [{"resourceName": "cpu", "restartPolicy": "RestartContainer"}],
        });
        pod(json!({"containers": [{"name": "a", "image": "x"}], "initContainers": [init]}))
    };
    check(init(json!("Always")), &[]);
    for restart in [Value::Null, json!("Never")] {
        check(
            init(restart),
            &[
                "spec.initContainers[0].lifecycle: Forbidden: may not be set for init containers without restartPolicy=Always",
                "spec.initContainers[0].livenessProbe: Forbidden: may not be set for init containers without restartPolicy=Always",
                "spec.initContainers[0].readinessProbe: Forbidden: may not be set for init containers without restartPolicy=Always",
                "spec.initContainers[0].startupProbe: Forbidden: may not be set for init containers without restartPolicy=Always",
                "spec.initContainers[0].resizePolicy[0].restartPolicy: Invalid value: \"RestartContainer\": must not be set to 'RestartContainer' for non-sidecar initContainers",
            ],
        );
    }
}

// k8s: 1.d.11, 1.d.12
#[test]
fn debug_containers_cannot_be_created_and_have_few_fields() {
    let found = pod(json!({
        "containers": [{"name": "a", "image": "x"}],
        "ephemeralContainers": [{"name": "a", "image": "x", "targetContainerName": "b", "lifecycle": {}, "ports": [], "tty": true}],
    }));
    check(
        found,
        &[
            "spec.ephemeralContainers[0].name: Duplicate value: \"a\"",
            "spec.ephemeralContainers[0].targetContainerName: Not found: \"b\"",
            "spec.ephemeralContainers[0].ports: Forbidden: cannot be set for an Ephemeral Container",
            "spec.ephemeralContainers[0].lifecycle: Forbidden: cannot be set for an Ephemeral Container",
            "spec.ephemeralContainers: Forbidden: cannot be set on create",
        ],
    );
}

// k8s: 1.d.14, 1.d.15, 1.d.16
#[test]
fn names_images_and_policies_of_containers_are_checked() {
    let found = pod(json!({
        "containers": [
            {"name": "a", "image": "x ", "imagePullPolicy": "always", "terminationMessagePolicy": "Log"},
            {"name": "a"}, {"name": "", "image": "x"},
        ],
        "initContainers": [{"name": "a", "image": "x"}],
    }));
    check(
        found,
        &[
            "spec.containers[0].terminationMessagePolicy: Unsupported value: \"Log\": supported values: \"File\", \"FallbackToLogsOnError\"",
            "spec.containers[0].imagePullPolicy: Unsupported value: \"always\": supported values: \"Always\", \"IfNotPresent\", \"Never\"",
            "spec.containers[1].image: Required value",
            "spec.containers[1].name: Duplicate value: \"a\"",
            "spec.containers[2].name: Required value",
            "spec.initContainers[0].name: Duplicate value: \"a\"",
            "spec.containers[0].image: Invalid value: \"x \": must not have leading or trailing whitespace",
        ],
    );
    check(pod(json!({"containers": []})), &["spec.containers: Required value"]);
}

// k8s: 1.e.1, 1.e.2, 1.e.3, 1.e.4, 1.e.5, 1.e.6, 1.e.7, 1.e.11
#[test]
fn restart_policies_are_checked() {
    check(
        container_of(json!({"restartPolicy": "never"}), json!({})),
        &["spec.restartPolicy: Unsupported value: \"never\": supported values: \"Always\", \"OnFailure\", \"Never\""],
    );
    check(
        container(json!({"restartPolicy": "Sometimes"})),
        &["c.restartPolicy: Unsupported value: \"Sometimes\": supported values: \"Always\", \"Never\", \"OnFailure\""],
    );
    let rule = json!({"action": "Restart", "exitCodes": {"operator": "In", "values": [1]}});
    check(
        container(json!({"restartPolicyRules": [rule]})),
        &["c.restartPolicy: Required value: must specify restartPolicy when restart rules are used"],
    );
    check(
        container(json!({"restartPolicy": "Never", "restartPolicyRules": vec![rule.clone(); 21]})),
        &["c.restartPolicyRules: Too many: 21: must have at most 20 items"],
    );
    check(
        container(json!({"restartPolicy": "Never", "restartPolicyRules": [
            {"action": "Stop"}, {"action": "Restart", "exitCodes": {"operator": "", "values": vec![1; 256]}},
        ]})),
        &[
            "c.restartPolicyRules[0].action: Unsupported value: \"Stop\": supported values: \"Restart\", \"RestartAllContainers\"",
            "c.restartPolicyRules[0].exitCodes: Required value: must be specified",
            "c.restartPolicyRules[1].exitCodes.operator: Unsupported value: \"\": supported values: \"In\", \"NotIn\"",
            "c.restartPolicyRules[1].exitCodes.values: Too many: 256: must have at most 255 items",
        ],
    );
    check(
        container_of(
            json!({"restartPolicy": "Never"}),
            json!({"resizePolicy": [{"resourceName": "cpu", "restartPolicy": "RestartContainer"}]}),
        ),
        &["c.resizePolicy: Invalid value: \"RestartContainer\": must be 'NotRequired' when pod `restartPolicy` is 'Never'"],
    );
}

// k8s: 1.f.1
#[test]
fn deadlines_are_checked() {
    for (seconds, valid) in [(0, false), (1, true), (i64::from(i32::MAX), true), (i64::from(i32::MAX) + 1, false)] {
        let found = container_of(json!({"activeDeadlineSeconds": seconds}), json!({}));
        let error = format!("spec.activeDeadlineSeconds: Invalid value: {seconds}: must be between 1 and 2147483647, inclusive");
        assert_eq!(found, if valid { vec![] } else { vec![error] });
    }
}

#[test]
fn variables_are_checked() {
    check(
        container(json!({"env": [
            {"name": ""},
            {"name": "A=B"},
            {"name": "C", "valueFrom": {}},
            {"name": "D", "value": "x", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
            {"name": "E", "valueFrom": {"secretKeyRef": {"name": "s", "key": ""}, "configMapKeyRef": {"name": "m", "key": "k"}}},
            {"name": "F", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels"}}},
            {"name": "G", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodename"}}},
            {"name": "H", "valueFrom": {"resourceFieldRef": {"resource": "cpu", "divisor": "0"}}},
            {"name": "I", "valueFrom": {"resourceFieldRef": {"resource": "limits.memory", "divisor": "3"}}},
        ]})),
        &[
            "c.env[0].name: Required value",
            "c.env[1].name: Invalid value: \"A=B\": a valid environment variable name must consist only of printable ASCII characters other than '='",
            "c.env[2].valueFrom: Invalid value: \"\": must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`",
            "c.env[3].valueFrom: Invalid value: \"\": may not be specified when `value` is not empty",
            "c.env[4].valueFrom.secretKeyRef.key: Required value",
            "c.env[4].valueFrom: Invalid value: \"\": may not have more than one field specified at a time",
            "c.env[5].valueFrom.fieldRef.fieldPath: Unsupported value: \"metadata.labels\": supported values: \"metadata.name\", \"metadata.namespace\", \"metadata.uid\", \"spec.nodeName\", \"spec.serviceAccountName\", \"status.hostIP\", \"status.hostIPs\", \"status.podIP\", \"status.podIPs\"",
            "c.env[6].valueFrom.fieldRef.fieldPath: Invalid value: \"spec.nodename\": error converting fieldPath: field label not supported: spec.nodename",
            "c.env[7].valueFrom.resourceFieldRef.resource: Unsupported value: \"cpu\": supported values: \"limits.cpu\", \"limits.ephemeral-storage\", \"limits.memory\", \"requests.cpu\", \"requests.ephemeral-storage\", \"requests.memory\"",
            "c.env[8].valueFrom.resourceFieldRef.divisor: Invalid value: \"limits.memory\": only divisor's values 1, 1k, 1M, 1G, 1T, 1P, 1E, 1Ki, 1Mi, 1Gi, 1Ti, 1Pi, 1Ei are supported with the memory resource",
        ],
    );
    check(
        container(json!({"envFrom": [{}, {"configMapRef": {"name": "m"}, "secretRef": {"name": ""}}]})),
        &[
            "c.envFrom: Invalid value: \"\": must specify one of: `configMapRef` or `secretRef`",
            "c.envFrom[1].secretRef.name: Required value",
            "c.envFrom: Invalid value: \"\": may not have more than one field specified at a time",
        ],
    );
}

#[test]
fn ports_are_checked() {
    check(
        container(json!({"ports": [
            {"containerPort": 0, "protocol": "ICMP", "hostPort": 65536},
            {"containerPort": 1, "name": "A"}, {"containerPort": 2, "name": "b"}, {"containerPort": 2, "name": "b"},
            {"containerPort": 3, "hostPort": 80}, {"containerPort": 4, "hostPort": 80}, {"containerPort": 5, "hostPort": 80, "protocol": "UDP"},
        ]})),
        &[
            "c.ports[0].containerPort: Required value",
            "c.ports[0].hostPort: Invalid value: 65536: must be between 1 and 65535, inclusive",
            "c.ports[0].protocol: Unsupported value: \"ICMP\": supported values: \"SCTP\", \"TCP\", \"UDP\"",
            "c.ports[1].name: Invalid value: \"A\": must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)",
            "c.ports[1].name: Invalid value: \"A\": must contain at least one letter (a-z)",
            "c.ports[3].name: Duplicate value: \"b\"",
            "c.ports[5].hostPort: Duplicate value: \"TCP//80\"",
        ],
    );
    check(
        container_of(json!({"hostNetwork": true}), json!({"ports": [{"containerPort": 80, "hostPort": 81}, {"containerPort": 82}]})),
        &["c.ports[0].hostPort: Invalid value: 81: must match `containerPort` when `hostNetwork` is true"],
    );
}

#[test]
fn volumes_and_mounts_are_checked() {
    check(
        container_of(
            json!({"volumes": [
                {"name": "A"}, {"name": "", "emptyDir": {}}, {"name": "b", "emptyDir": {}}, {"name": "b", "emptyDir": {}},
                {"name": "c", "emptyDir": {"sizeLimit": "-1"}, "secret": {}},
                {"name": "d", "secret": {"defaultMode": 512, "items": [{"key": "", "path": "../x"}, {"key": "k", "path": "/x", "mode": -1}, {"key": "k", "path": "..x"}]}},
                {"name": "e", "configMap": {}}, {"name": "f", "hostPath": {"path": ""}},
                {"name": "g", "downwardAPI": {"items": [{"path": "x"}]}},
                {"name": "h", "projected": {"sources": [{"configMap": {"name": "m", "items": [{"key": "a", "path": "p"}]}, "secret": {"name": "s", "items": [{"key": "a", "path": "p"}]}}]}},
                {"name": "i", "projected": {"sources": [{"serviceAccountToken": {"path": "", "expirationSeconds": 1}}]}},
            ]}),
            json!({"volumeMounts": [
                {"name": "b", "mountPath": "/b"}, {"name": "b", "mountPath": "/b", "subPath": "/x", "subPathExpr": "../y"},
                {"name": "", "mountPath": ""}, {"name": "zz", "mountPath": "/z", "mountPropagation": "Both", "recursiveReadOnly": "Enabled"},
            ]}),
        ),
        &[
            "spec.volumes[0].name: Invalid value: \"A\": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')",
            "spec.volumes[1].name: Required value",
            "spec.volumes[3].name: Duplicate value: \"b\"",
            "spec.volumes[4].emptyDir.sizeLimit: Forbidden: SizeLimit field must be a valid resource quantity",
            "spec.volumes[4].secret: Forbidden: may not specify more than 1 volume type",
            "spec.volumes[5].secret.secretName: Required value",
            "spec.volumes[5].secret.defaultMode: Invalid value: 512: must be a number between 0 and 0777 (octal), both inclusive",
            "spec.volumes[5].secret.items[0].key: Required value",
            "spec.volumes[5].secret.items[0].path: Invalid value: \"../x\": must not contain '..'",
            "spec.volumes[5].secret.items[1].path: Invalid value: \"/x\": must be a relative path",
            "spec.volumes[5].secret.items[1].mode: Invalid value: -1: must be a number between 0 and 0777 (octal), both inclusive",
            "spec.volumes[5].secret.items[2].path: Invalid value: \"..x\": must not start with '..'",
            "spec.volumes[6].configMap.name: Required value",
            "spec.volumes[7].hostPath.path: Required value",
            "spec.volumes[8].downwardAPI: Required value: one of fieldRef and resourceFieldRef is required",
            "spec.volumes[9].projected: Invalid value: \"m\": conflicting duplicate paths",
            "spec.volumes[9].projected.sources[0]: Forbidden: may not specify more than 1 volume type per source",
            "spec.volumes[10].projected.sources[0].serviceAccountToken.expirationSeconds: Invalid value: 1: may not specify a duration less than 10 minutes",
            "spec.volumes[10].projected.path: Required value",
            "c.volumeMounts[1].mountPath: Invalid value: \"/b\": must be unique",
            "c.volumeMounts.subPath: Invalid value: \"/x\": must be a relative path",
            "c.volumeMounts[1].subPathExpr: Invalid value: \"../y\": subPathExpr and subPath are mutually exclusive",
            "c.volumeMounts.subPathExpr: Invalid value: \"../y\": must not contain '..'",
            "c.volumeMounts[2].name: Required value",
            "c.volumeMounts[2].name: Not found: \"\"",
            "c.volumeMounts[2].mountPath: Required value",
            "c.volumeMounts[3].name: Not found: \"zz\"",
            "c.volumeMounts.mountPropagation: Unsupported value: \"Both\": supported values: \"Bidirectional\", \"HostToContainer\", \"None\"",
            "c.volumeMounts.recursiveReadOnly: Forbidden: may only be specified when readOnly is true",
            "c.volumeMounts.recursiveReadOnly: Forbidden: may only be specified when mountPropagation is None or not specified",
            "spec.volumes[10].projected.sources[0].serviceAccountToken: Forbidden: must not be specified when serviceAccountName is not set",
        ],
    );
}

#[test]
fn resources_are_checked() {
    check(
        container(json!({"resources": {
            "limits": {"cpu": "1", "memory": "-1", "gpu": "1", "example.com/gpu": "1500m", "hugepages-2Mi": "3Mi"},
            "requests": {"cpu": "2", "example.com/x": "1", "memory": "-1", "gpu": "1", "example.com/gpu": "1500m", "hugepages-2Mi": "3Mi"},
            "claims": [{"name": "c"}],
        }})),
        &[
            "c.resources.limits[example.com/gpu]: Invalid value: \"1500m\": must be an integer",
            "c.resources.limits[gpu]: Invalid value: \"gpu\": must be a standard resource type or fully qualified",
            "c.resources.limits[gpu]: Invalid value: \"gpu\": must be a standard resource for containers",
            "c.resources.limits[hugepages-2Mi]: Invalid value: \"3Mi\": 3Mi is not positive integer multiple of hugepages-2Mi",
            "c.resources.limits[memory]: Invalid value: \"-1\": must be greater than or equal to 0",
            "c.resources.requests: Invalid value: \"2\": must be less than or equal to cpu limit of 1",
            "c.resources.requests[example.com/gpu]: Invalid value: \"1500m\": must be an integer",
            "c.resources.limits: Required value: Limit must be set for non overcommitable resources",
            "c.resources.requests[gpu]: Invalid value: \"gpu\": must be a standard resource type or fully qualified",
            "c.resources.requests[gpu]: Invalid value: \"gpu\": must be a standard resource for containers",
            "c.resources.requests[hugepages-2Mi]: Invalid value: \"3Mi\": 3Mi is not positive integer multiple of hugepages-2Mi",
            "c.resources.requests[memory]: Invalid value: \"-1\": must be greater than or equal to 0",
            "c.resources.claims[0]: Not found: \"c\": must be one of the names in pod.spec.resourceClaims which is empty",
        ],
    );
    check(
        container_of(
            json!({"resources": {"requests": {"cpu": "1"}, "limits": {"cpu": "1"}}}),
            json!({"resources": {"requests": {"cpu": "2"}, "limits": {"cpu": "2"}}}),
        ),
        &[
            "spec.resources.requests[cpu]: Invalid value: \"1\": must be greater than or equal to aggregate container requests of 2",
            "spec.resources.containers[0][cpu].limits: Invalid value: \"2\": must be less than or equal to pod limits of 1",
        ],
    );
}

#[test]
fn security_is_checked() {
    check(
        container_of(
            json!({
                "hostNetwork": true, "hostPID": true, "shareProcessNamespace": true, "hostUsers": false,
                "securityContext": {
                    "runAsUser": -1, "fsGroup": 4294967296_i64, "supplementalGroups": [-1], "fsGroupChangePolicy": "Never",
                    "sysctls": [{"name": "net.x", "value": ""}, {"name": "A", "value": ""}, {"name": "", "value": ""}],
                    "seccompProfile": {"type": "Localhost"}, "appArmorProfile": {"type": "x"},
                },
            }),
            json!({"securityContext": {"procMount": "x", "runAsGroup": -1, "seccompProfile": {"type": "", "localhostProfile": "/x"}}}),
        ),
        &[
            "c.securityContext.runAsGroup: Invalid value: -1: must be between 0 and 2147483647, inclusive",
            "c.securityContext.procMount: Unsupported value: \"x\": supported values: \"Default\", \"Unmasked\"",
            "c.securityContext.seccompProfile.type: Required value: type is required when seccompProfile is set",
            "c.securityContext.seccompProfile.localhostProfile: Invalid value: {\"Type\":\"\",\"LocalhostProfile\":\"/x\"}: can only be set when seccomp type is Localhost",
            "spec.securityContext.fsGroup: Invalid value: 4294967296: must be between 0 and 2147483647, inclusive",
            "spec.securityContext.runAsUser: Invalid value: -1: must be between 0 and 2147483647, inclusive",
            "spec.securityContext.supplementalGroups[0]: Invalid value: -1: must be between 0 and 2147483647, inclusive",
            "spec.securityContext.shareProcessNamespace: Invalid value: true: ShareProcessNamespace and HostPID cannot both be enabled",
            "spec.securityContext.sysctls[0].name: Invalid value: \"net.x\": may not be specified when 'hostNetwork' is true",
            "spec.securityContext.sysctls[1].name: Invalid value: \"A\": must have at most 253 characters and match regex ^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$",
            "spec.securityContext.sysctls[2].name: Required value",
            "spec.securityContext.fsGroupChangePolicy: Unsupported value: \"Never\": supported values: \"Always\", \"OnRootMismatch\"",
            "spec.securityContext.seccompProfile.localhostProfile: Required value: must be set when seccomp type is Localhost",
            "spec.securityContext.appArmorProfile.type: Unsupported value: \"x\": supported values: \"Localhost\", \"RuntimeDefault\", \"Unconfined\"",
            "spec.hostNetwork: Forbidden: when `pod.Spec.HostUsers` is false",
            "spec.HostPID: Forbidden: when `pod.Spec.HostUsers` is false",
        ],
    );
}

#[test]
fn what_a_scheduler_reads_is_checked() {
    check(
        container_of(
            json!({
                "tolerations": [{"operator": "Is", "key": "a b"}, {"tolerationSeconds": 1, "effect": "Never"}, {"operator": "Exists", "value": "x"}],
                "topologySpreadConstraints": [{"maxSkew": 0, "topologyKey": "", "whenUnsatisfiable": "x", "minDomains": 0, "matchLabelKeys": ["a"]}],
                "affinity": {
                    "nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": []}},
                    "podAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 0, "podAffinityTerm": {"topologyKey": "zone"}}]},
                },
                "priorityClassName": "A", "preemptionPolicy": "x", "schedulingGates": [{"name": "g"}], "nodeName": "n",
            }),
            json!({}),
        ),
        &[
            "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms: Required value: must have at least one node selector term",
            "spec.affinity.podAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].weight: Invalid value: 0: must be in the range 1-100",
            "spec.topologySpreadConstraints[0].maxSkew: Invalid value: 0: must be greater than zero",
            "spec.topologySpreadConstraints[0].topologyKey: Required value: can not be empty",
            "spec.topologySpreadConstraints[0].whenUnsatisfiable: Unsupported value: \"x\": supported values: \"DoNotSchedule\", \"ScheduleAnyway\"",
            "spec.topologySpreadConstraints[0].minDomains: Invalid value: 0: must be greater than zero",
            "spec.topologySpreadConstraints[0].minDomains: Invalid value: 0: can only use minDomains if whenUnsatisfiable=DoNotSchedule, not x",
            "spec.topologySpreadConstraints[0].matchLabelKeys: Forbidden: must not be specified when labelSelector is not set",
            "spec.tolerations[0].key: Invalid value: \"a b\": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')",
            "spec.tolerations[0].operator: Unsupported value: \"Is\": supported values: \"Equal\", \"Exists\"",
            "spec.tolerations[1].operator: Invalid value: \"\": operator must be Exists when `key` is empty, which means \"match all values and all keys\"",
            "spec.tolerations[1].effect: Invalid value: \"Never\": effect must be 'NoExecute' when `tolerationSeconds` is set",
            "spec.tolerations[1].effect: Unsupported value: \"Never\": supported values: \"NoSchedule\", \"PreferNoSchedule\", \"NoExecute\"",
            "spec.tolerations[2].operator: Invalid value: \"x\": value must be empty when `operator` is 'Exists'",
            "spec.priorityClassName: Invalid value: \"A\": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')",
            "spec.preemptionPolicy: Unsupported value: \"x\": supported values: \"PreemptLowerPriority\", \"Never\"",
            "spec.nodeName: Forbidden: cannot be set until all schedulingGates have been cleared",
        ],
    );
}

#[test]
fn names_and_resolution_are_checked() {
    check(
        container_of(
            json!({
                "dnsPolicy": "x", "hostname": "a.b", "os": {"name": "dos"}, "hostAliases": [{"ip": "1.2.3", "hostnames": ["A"]}],
                "dnsConfig": {"nameservers": ["1.1.1.1", "1.1.1.2", "1.1.1.3", "x"], "searches": ["-"], "options": [{"value": "1"}]},
            }),
            json!({}),
        ),
        &[
            "spec.dnsPolicy: Unsupported value: \"x\": supported values: \"ClusterFirstWithHostNet\", \"ClusterFirst\", \"Default\", \"None\"",
            "spec.dnsConfig.nameservers: Invalid value: [\"1.1.1.1\",\"1.1.1.2\",\"1.1.1.3\",\"x\"]: must not have more than 3 nameservers",
            "spec.dnsConfig.nameservers[3]: Invalid value: \"x\": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
            "spec.dnsConfig.searches[0]: Invalid value: \"-\": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '_', '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '_?[a-z0-9]([-_a-z0-9]*[a-z0-9])?(\\._?[a-z0-9]([-_a-z0-9]*[a-z0-9])?)*')",
            "spec.dnsConfig.options[0]: Required value: must not be empty",
            "spec.hostname: Invalid value: \"a.b\": must not contain dots",
            "spec.hostAliases[0].ip: Invalid value: \"1.2.3\": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
            "spec.hostAliases[0].hostnames[0]: Invalid value: \"A\": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')",
            "spec.os: Unsupported value: \"dos\": supported values: \"linux\", \"windows\"",
        ],
    );
}

#[test]
fn metadata_is_checked() {
    let found = |metadata: Value| {
        let mut pod: Pod =
            serde_json::from_value(json!({"metadata": metadata, "spec": {"containers": [{"name": "a", "image": "x"}]}})).expect("a pod");
        default_pod(&mut pod);
        validate_pod_create(&pod).iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    check(found(json!({"generateName": "a-"})), &[]);
    check(found(json!({})), &["metadata.name: Required value: name or generateName is required"]);
    check(found(json!({"name": "p", "namespace": "a.b"})), &["metadata.namespace: Invalid value: \"a.b\": must not contain dots"]);
    check(
        found(json!({"name": "p", "labels": {"a": "x".repeat(64)}, "annotations": {"a/b/c": "x"}, "finalizers": ["x"]})),
        &[
            &format!("metadata.labels: Invalid value: \"{}\": must be no more than 63 bytes", "x".repeat(64)),
            "metadata.annotations: Invalid value: \"a/b/c\": a qualified name must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]') with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')",
            "metadata.finalizers[0]: Invalid value: \"x\": name is neither a standard finalizer name nor is it fully qualified",
        ],
    );
    check(
        found(json!({"name": "p", "annotations": {"a": "x".repeat(300_000)}})),
        &["metadata.annotations: Too long: may not be more than 262144 bytes"],
    );
}

#[test]
fn config_maps_and_secrets_are_checked() {
    let mut config_map: ConfigMap =
        serde_json::from_value(json!({"metadata": {"name": "m"}, "data": {"a": "x", "..": "y"}, "binaryData": {"a": "YQ=="}}))
            .expect("a config map");
    default_config_map(&mut config_map);
    check(
        validate_config_map(&config_map).iter().map(ToString::to_string).collect(),
        &["data[..]: Invalid value: \"..\": must not be '..'", "data[a]: Invalid value: \"a\": duplicate of key present in binaryData"],
    );
    let secret = |kind: &str, data: Value| {
        let secret = json!({"metadata": {"name": "s"}, "type": kind, "stringData": data});
        let mut secret: Secret = serde_json::from_value(secret).expect("a secret");
        default_secret(&mut secret);
        validate_secret(&secret).iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    check(secret("", json!({"a": "b"})), &[]);
    check(secret("", json!({"a": "x".repeat(DATA_BYTES_MAX + 1)})), &["data: Too long: may not be more than 1048576 bytes"]);
    check(secret("kubernetes.io/tls", json!({"tls.key": ""})), &["data[tls.crt]: Required value"]);
    check(secret("kubernetes.io/basic-auth", json!({})), &["data[username]: Required value", "data[password]: Required value"]);
    let found = secret("kubernetes.io/dockerconfigjson", json!({".dockerconfigjson": "{\"auths\": {\"a\": hunter2}}"}));
    assert!(found.len() == 1 && found[0].contains("redacted") && !found[0].contains("hunter2"), "{found:?}");
}
