//! The walk along the type: what fits is kept, what does not is told of.

use serde_json::{Value, json};

use super::*;
use crate::read::read;
use crate::source::Source;

fn checked(text: &str) -> Checked {
    let source = Source::new("m.yaml", text.as_bytes()).expect("text");
    let reading = read(&source);
    assert_eq!(reading.errors, []);
    check(&reading.documents[0])
}

fn spec(text: &str) -> (Value, Vec<String>) {
    let checked = checked(&format!("apiVersion: v1\nkind: Pod\nspec: {text}\n"));
    (checked.value["spec"].clone(), checked.errors.iter().map(ToString::to_string).collect())
}

#[test]
fn what_fits_is_kept_and_nulls_are_absent() {
    let (value, errors) = spec(
        "{containers: [{name: a, image: x, command: null, stdin: true, ports: [{containerPort: 80}]}], terminationGracePeriodSeconds: 30.0, nodeSelector: {a: }}",
    );
    assert_eq!(errors, Vec::<String>::new());
    assert_eq!(
        value,
        json!({
            "containers": [{"name": "a", "image": "x", "stdin": true, "ports": [{"containerPort": 80}]}],
            "terminationGracePeriodSeconds": 30,
            "nodeSelector": {"a": ""},
        })
    );
}

#[test]
fn what_does_not_fit_is_left_out_and_items_keep_their_numbers() {
    let (value, errors) = spec("{containers: [5, {name: [], image: x, imag: y}], hostNetwork: 1}");
    assert_eq!(value, json!({"containers": [{}, {"image": "x"}]}));
    assert_eq!(
        errors,
        [
            "spec.containers[0]: expected a map, found the number 5",
            "spec.containers[1].name: expected a string, found a list",
            "unknown field \"spec.containers[1].imag\"",
            "spec.hostNetwork: expected a boolean, found the number 1",
        ]
    );
}

#[test]
fn amounts_are_taken_as_text_or_number_and_become_canonical() {
    let (value, errors) =
        spec("{containers: [{name: a, resources: {limits: {cpu: 0.5, memory: 1024Mi, a/b: 3}, requests: {cpu: \" 1 \"}}}]}");
    assert_eq!(errors, Vec::<String>::new());
    let resources = &value["containers"][0]["resources"];
    assert_eq!(*resources, json!({"limits": {"cpu": "500m", "memory": "1Gi", "a/b": "3"}, "requests": {"cpu": "1"}}));
}

#[test]
fn numbers_must_be_within_their_type() {
    let (_, errors) = spec("{containers: [{name: a, ports: [{containerPort: 4294967296}]}], activeDeadlineSeconds: 4294967296}");
    assert_eq!(
        errors,
        ["spec.containers[0].ports[0].containerPort: 4294967296 is out of range, it must be between -2147483648 and 2147483647"]
    );
}

#[test]
fn times_and_base64_are_checked() {
    let times = |time: &str| {
        let checked = checked(&format!("apiVersion: v1\nkind: Pod\nmetadata: {{creationTimestamp: {time}}}\nspec: {{containers: []}}\n"));
        checked.errors.len()
    };
    assert_eq!((times("null"), times("2024-01-02T03:04:05Z"), times("yesterday")), (0, 0, 1));
}

#[test]
fn status_is_looked_at_but_need_not_be_complete() {
    let checked = checked("apiVersion: v1\nkind: Pod\nspec: {containers: []}\nstatus: {containerStatuses: [{name: a}], phas: x}\n");
    let errors: Vec<_> = checked.errors.iter().map(ToString::to_string).collect();
    assert_eq!(errors, ["unknown field \"status.phas\""]);
}

#[test]
fn absence_that_means_zero_is_legal() {
    let (_, errors) =
        spec("{containers: [{name: a, lifecycle: {preStop: {sleep: {}}, postStart: {httpGet: {port: 1, httpHeaders: [{name: a}]}}}}]}");
    assert_eq!(errors, Vec::<String>::new());
}

#[test]
fn errors_are_bounded() {
    let fields: String = (0..1000).map(|number| format!("zzz{number}: 1\n")).collect();
    let checked = checked(&format!("apiVersion: v1\nkind: ConfigMap\n{fields}"));
    assert_eq!(checked.errors.len(), SCHEMA_ERRORS_MAX);
}

#[test]
fn all_kinds_have_a_type() {
    for (api_version, kind, name) in KINDS {
        assert_eq!(type_of_kind(api_version, kind), Ok(*name));
        assert!(schemas().object(name).is_some(), "{name}");
    }
    assert_eq!(type_of_kind("apps/v1beta1", "Deployment"), Err(UnknownKind::OtherVersion { version: "apps/v1", kind: "Deployment" }));
    assert_eq!(type_of_kind("v1", "configmap"), Err(UnknownKind::Near("ConfigMap")));
    assert_eq!(type_of_kind("extensions/v1beta1", "DaemonSet"), Err(UnknownKind::OtherVersion { version: "apps/v1", kind: "DaemonSet" }));
    assert_eq!(type_of_kind("v1", "Zebra"), Err(UnknownKind::Other));
}

#[test]
fn kinds_of_others_are_no_slips_of_the_hand() {
    for (api_version, kind) in
        [("v1", "Service"), ("v1", "PersistentVolume"), ("networking.k8s.io/v1", "Ingress"), ("example.com/v1", "Job")]
    {
        assert_eq!(type_of_kind(api_version, kind), Err(UnknownKind::Elsewhere), "{kind}");
    }
}

#[test]
fn merge_rules_are_in_the_data() {
    let data: Value = serde_json::from_str(SCHEMA_JSON).expect("JSON");
    let ports = &data["io.k8s.api.core.v1.Container"]["properties"]["ports"];
    assert_eq!(ports["x-kubernetes-list-map-keys"], json!(["containerPort", "protocol"]));
    assert_eq!(ports["x-kubernetes-patch-merge-key"], "containerPort");
}
