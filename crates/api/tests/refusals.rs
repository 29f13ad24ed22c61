//! Every field that is refused or passed over is told of by name: a case for each rule of [`api::support::RULES`] that says so, and for
//! each source of volumes that no rule knows.

use std::collections::{BTreeMap, BTreeSet};

use api::Severity;
use api::schema::SCHEMA_JSON;
use api::support::{RULES, Verdict};
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

const APP_ARMOR: &str = r#"{"type": "Localhost", "localhostProfile": "mine"}"#;
const CLAIM: &str = r#"[{"name": "gpu", "request": "one"}]"#;
const PROBE: &str = r#"{"exec": {"command": ["true"]}}"#;

/// For each rule, a value that is not the same as nothing: of the field itself, or, where one alone would not be valid, of what it is in.
const CASES: &[(&str, &str)] = &[
    ("spec.affinity", r#"{"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{"topologyKey": "zone"}]}}"#),
    ("spec.hostUsers", "false"),
    ("spec.nodeName", r#""elsewhere""#),
    ("spec.nodeSelector", r#"{"disk": "ssd"}"#),
    ("spec.os.name", r#""windows""#),
    ("spec.readinessGates", r#"[{"conditionType": "example.com/served"}]"#),
    ("spec.resourceClaims", r#"[{"name": "gpu", "resourceClaimName": "gpu"}]"#),
    ("spec.resources.claims", CLAIM),
    ("spec.schedulerName", r#""mine""#),
    ("spec.schedulingGates", r#"[{"name": "example.com/gate"}]"#),
    ("spec.schedulingGroup", r#"{"podGroupName": "group"}"#),
    ("spec.serviceAccountName", r#""robot""#),
    ("spec.securityContext.appArmorProfile.localhostProfile", APP_ARMOR),
    ("spec.securityContext.appArmorProfile.type", r#"{"type": "RuntimeDefault"}"#),
    ("spec.securityContext.seLinuxChangePolicy", r#""Recursive""#),
    ("spec.securityContext.seLinuxOptions", r#"{"level": "s0:c1,c2"}"#),
    ("spec.volumes.ephemeral", r#"{"volumeClaimTemplate": {"spec": {"accessModes": ["ReadWriteOnce"]}}}"#),
    ("spec.volumes.nfs", r#"{"server": "other", "path": "/data"}"#),
    ("spec.volumes.projected.sources.clusterTrustBundle", r#"{"name": "ca", "path": "ca.pem"}"#),
    ("spec.volumes.projected.sources.podCertificate", r#"{"signerName": "example.com/signer", "keyType": "ED25519"}"#),
    ("spec.volumes.projected.sources.serviceAccountToken", r#"{"path": "token"}"#),
    ("spec.containers.env.valueFrom.fileKeyRef", r#"{"volumeName": "v", "path": "p", "key": "k"}"#),
    ("spec.containers.resources.claims", CLAIM),
    ("spec.containers.securityContext.appArmorProfile.localhostProfile", APP_ARMOR),
    ("spec.containers.securityContext.appArmorProfile.type", r#"{"type": "RuntimeDefault"}"#),
    ("spec.containers.securityContext.procMount", r#""Unmasked""#),
    ("spec.containers.securityContext.seLinuxOptions", r#"{"level": "s0:c1,c2"}"#),
    ("spec.containers.volumeDevices", r#"[{"name": "v", "devicePath": "/dev/xvda"}]"#),
    ("spec.ephemeralContainers.lifecycle", r#"{"preStop": {"sleep": {"seconds": 1}}}"#),
    ("spec.ephemeralContainers.livenessProbe", PROBE),
    ("spec.ephemeralContainers.ports", r#"[{"containerPort": 80}]"#),
    ("spec.ephemeralContainers.readinessProbe", PROBE),
    ("spec.ephemeralContainers.resizePolicy", r#"[{"resourceName": "cpu", "restartPolicy": "NotRequired"}]"#),
    ("spec.ephemeralContainers.resources", r#"{"limits": {"cpu": "1"}}"#),
    ("spec.ephemeralContainers.restartPolicy", r#""Always""#),
    ("spec.ephemeralContainers.restartPolicyRules", r#"[{"action": "Restart", "exitCodes": {"operator": "In", "values": [1]}}]"#),
    ("spec.ephemeralContainers.startupProbe", PROBE),
    ("spec.ephemeralContainers.volumeMounts.subPath", r#""inside""#),
    ("spec.ephemeralContainers.volumeMounts.subPathExpr", r#""$(INSIDE)""#),
];

/// Rules whose case is a value of what the field is in.
const OF_WHAT_IT_IS_IN: &str = ".appArmorProfile.";

/// Fields that are lists of objects.
const LISTS: [&str; 6] = ["containers", "ephemeralContainers", "volumes", "sources", "env", "volumeMounts"];

/// A pod in which nothing but the field at `rule` is set, and that field's path.
fn pod_with(rule: &str, value: Value) -> (Value, String) {
    let (place, below) = match rule.split_once(OF_WHAT_IT_IS_IN) {
        Some((place, below)) => (format!("{place}{}", OF_WHAT_IT_IS_IN.trim_end_matches('.')), format!(".{below}")),
        None => (rule.to_owned(), String::new()),
    };
    let fields: Vec<&str> = place.split('.').skip(1).collect();
    let mut value = value;
    for field in fields.iter().rev() {
        let inner = if LISTS.contains(field) { named(field, value) } else { value };
        value = json!({ (*field): inner });
    }
    if value.get("containers").is_none() {
        value["containers"] = json!([{"name": "app", "image": "app:1"}]);
    }
    let path = |field: &&str| if LISTS.contains(field) { format!("{field}[0]") } else { (*field).to_owned() };
    let path = fields.iter().map(path).collect::<Vec<_>>().join(".");
    (value, format!("spec.{path}{below}"))
}

/// The list of one item with these fields, and what each such item must have.
fn named(field: &str, mut item: Value) -> Value {
    match field {
        "containers" | "ephemeralContainers" => (item["name"], item["image"]) = (json!("app"), json!("app:1")),
        "volumes" => item["name"] = json!("v"),
        "env" => item["name"] = json!("VARIABLE"),
        "volumeMounts" => (item["name"], item["mountPath"]) = (json!("v"), json!("/v")),
        _ => {}
    }
    json!([item])
}

/// What is said of the fields that the engine does not act on.
fn told(spec: &Value) -> Vec<(Severity, String)> {
    let pod: Pod =
        serde_json::from_value(json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": spec})).expect("a pod");
    api::unsupported(&pod, &api::NodeSupport::default()).iter().map(|found| (found.severity, found.to_string())).collect()
}

#[test]
fn every_rule_that_refuses_or_ignores_a_field_says_so_by_its_name() {
    let cases: BTreeMap<&str, &str> = CASES.iter().copied().collect();
    let mut judged = BTreeSet::new();
    for (rule, verdict, _) in RULES {
        let (severity, message) = match verdict {
            Verdict::Supported | Verdict::Meaningless | Verdict::Fails(_) => continue,
            Verdict::Ignored(message) => (Severity::Warning, message),
            Verdict::Refused(message) | Verdict::ServedOnly(message) => (Severity::Error, message),
        };
        let value = cases.get(rule).unwrap_or_else(|| panic!("there is no case for the rule of {rule}"));
        let (spec, path) = pod_with(rule, serde_json::from_str(value).expect("JSON"));
        let expected = (severity, format!("{path}: {message}"));
        let told = told(&spec);
        assert!(told.contains(&expected), "{expected:?} is not in {told:?}");
        // A Localhost profile is told of with its type.
        assert!(told.iter().all(|(_, text)| text.starts_with(path.rsplit_once('.').map_or(&*path, |(above, _)| above))), "{told:?}");
        judged.insert(*rule);
    }
    let needless: Vec<_> = cases.keys().filter(|rule| !judged.contains(*rule)).collect();
    assert!(needless.is_empty(), "cases of rules that neither refuse nor ignore: {needless:?}");
}

#[test]
fn what_is_refused_is_refused_with_its_place_when_a_manifest_is_read() {
    for (rule, verdict, _) in RULES {
        // k8s: 1.d.11: ephemeral containers come while the pod lives, not with the manifest.
        let (Verdict::Refused(message) | Verdict::ServedOnly(message), false) = (verdict, rule.starts_with("spec.ephemeralContainers"))
        else {
            continue;
        };
        let (_, value) = CASES.iter().find(|(of, _)| of == rule).expect("the other test asks for a case");
        let (spec, path) = pod_with(rule, serde_json::from_str(value).expect("JSON"));
        let text = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": spec}).to_string();
        let manifest = api::load(&api::Source::new("pod.json", text.as_bytes()).expect("text"));
        let told = manifest.diagnostics.iter().find(|told| told.message == format!("{path}: {message}"));
        let told = told.unwrap_or_else(|| panic!("{path}: {:?}", manifest.diagnostics));
        assert!(told.severity == Severity::Error && told.primary.is_some(), "{told:?}");
        assert!(manifest.objects.is_empty(), "{rule}: a pod that is refused is not to be run");
    }
}

#[test]
fn every_source_of_volumes_that_no_rule_knows_is_refused_by_its_name() {
    let definitions: Value = serde_json::from_str(SCHEMA_JSON).expect("JSON");
    let fields = definitions["io.k8s.api.core.v1.Volume"]["properties"].as_object().expect("fields");
    let has_rule = |field: &str| RULES.iter().any(|(rule, ..)| rule.split('.').take(3).eq(["spec", "volumes", field]));
    let unknown: Vec<_> = fields.keys().filter(|field| !has_rule(field)).collect();
    const SOURCES_MIN: usize = 15;
    assert!(unknown.len() > SOURCES_MIN, "only {unknown:?}");
    for source in unknown {
        let of = &definitions[fields[source]["$ref"].as_str().expect("a type")];
        let value = of["properties"].as_object().expect("fields").iter().find_map(|(field, schema)| match schema["type"].as_str() {
            Some("string") => Some(json!({ (field.as_str()): "x" })),
            Some("array") => Some(json!({ (field.as_str()): ["x"] })),
            _ => None,
        });
        let (spec, path) = pod_with(&format!("spec.volumes.{source}"), value.expect("a field with text"));
        assert_eq!(told(&spec), [(Severity::Error, format!("{path}: not supported"))]);
    }
}
