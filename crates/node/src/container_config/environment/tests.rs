use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use super::*;

fn objects() -> Objects {
    let mut objects = Objects::default();
    let config_map = json!({"metadata": {"name": "cm", "namespace": "ns"}, "data": {"k": "v", "l": "w"}});
    objects.insert_config_map(serde_json::from_value(config_map).expect("a config map"));
    // "s" and an invalid byte; stringData wins over data.
    let secret = json!({
        "metadata": {"name": "se", "namespace": "ns"}, "data": {"p": "cw==", "bad": "/w==", "q": "b2xk"}, "stringData": {"q": "new"},
    });
    objects.insert_secret(serde_json::from_value(secret).expect("a secret"));
    objects
}

fn environment_of(env: Value, env_from: Value) -> Result<Vec<(String, String)>, String> {
    let container = json!({"name": "c", "env": env, "envFrom": env_from});
    let pod = json!({"metadata": {"name": "p", "namespace": "ns"}, "spec": {"containers": [container]}});
    let pod: Pod = serde_json::from_value(pod).expect("a pod");
    let facts = PodFacts { pod: &pod, node_name: "n", node_ips: &[], pod_ips: &[] };
    let machine = Machine { memory_bytes: 1, cpu_millis: 1, hostname: String::new(), has_unified_cgroups: false };
    let container = &pod.spec.as_ref().expect("a spec").containers[0];
    environment(container, &facts, &machine, &objects()).map_err(|error| error.to_string())
}

fn check(env: Value, env_from: Value, expected: &[(&str, &str)]) {
    let expected: Vec<_> = expected.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    assert_eq!(environment_of(env, env_from), Ok(expected));
}

fn check_error(env: Value, env_from: Value, expected: &str) {
    assert_eq!(environment_of(env, env_from), Err(expected.to_owned()));
}

#[test]
fn variables_are_expanded_from_those_before_them() {
    let env = json!([
        {"name": "A", "value": "1"}, {"name": "B", "value": "$(A)2$(C)$$(A)"}, {"name": "C", "value": "3"}, {"name": "E"},
    ]);
    check(env, json!([]), &[("A", "1"), ("B", "12$(C)$(A)"), ("C", "3"), ("E", "")]);
}

#[test]
fn a_name_that_comes_twice_keeps_its_place_and_has_the_last_value() {
    check(
        json!([{"name": "A", "value": "1"}, {"name": "B", "value": "2"}, {"name": "A", "value": "3"}]),
        json!([]),
        &[("A", "3"), ("B", "2")],
    );
}

#[test]
fn whole_objects_come_first_and_single_variables_win() {
    let env_from = json!([{"configMapRef": {"name": "cm"}, "prefix": "X_"}, {"configMapRef": {"name": "none", "optional": true}}]);
    check(json!([{"name": "X_k", "value": "mine $(X_l)"}]), env_from, &[("X_k", "mine w"), ("X_l", "w")]);
}

#[test]
fn values_come_from_objects_and_fields() {
    let env = json!([
        {"name": "K", "valueFrom": {"configMapKeyRef": {"name": "cm", "key": "k"}}},
        {"name": "P", "valueFrom": {"secretKeyRef": {"name": "se", "key": "p"}}},
        {"name": "Q", "valueFrom": {"secretKeyRef": {"name": "se", "key": "q"}}},
        {"name": "N", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": "O", "valueFrom": {"configMapKeyRef": {"name": "cm", "key": "none", "optional": true}}},
        {"name": "R", "valueFrom": {"secretKeyRef": {"name": "none", "key": "none", "optional": true}}},
    ]);
    check(env, json!([]), &[("K", "v"), ("P", "s"), ("Q", "new"), ("N", "p")]);
}

/// k8s: 2.c.6
#[test]
fn what_is_missing_is_told_in_the_words_of_the_reference() {
    let key_of = |source: &str, name: &str, key: &str| json!([{"name": "X", "valueFrom": {source: {"name": name, "key": key}}}]);
    check_error(key_of("configMapKeyRef", "none", "k"), json!([]), "configmap \"none\" not found");
    check_error(key_of("secretKeyRef", "none", "k"), json!([]), "secret \"none\" not found");
    check_error(key_of("configMapKeyRef", "cm", "z"), json!([]), "couldn't find key z in ConfigMap ns/cm");
    check_error(key_of("secretKeyRef", "se", "z"), json!([]), "couldn't find key z in Secret ns/se");
    check_error(json!([]), json!([{"configMapRef": {"name": "none"}}]), "configmap \"none\" not found");
    check_error(json!([]), json!([{"secretRef": {"name": "none"}}]), "secret \"none\" not found");
}

#[test]
fn what_no_variable_can_hold_is_refused() {
    let text = "the value of environment variable X is not UTF-8 text without NUL";
    check_error(json!([{"name": "X", "valueFrom": {"secretKeyRef": {"name": "se", "key": "bad"}}}]), json!([]), text);
    check_error(json!([{"name": "X", "value": "a\u{0}b"}]), json!([]), text);
    let file = json!([{"name": "X", "valueFrom": {"fileKeyRef": {"key": "k", "path": "p", "volumeName": "v"}}}]);
    check_error(file, json!([]), "valueFrom.fileKeyRef of environment variable X is not supported");
}
