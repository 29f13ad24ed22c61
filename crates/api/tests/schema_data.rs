//! `data/schema.json` is what the API types say, with how lists and maps merge from `data/merge.tsv`.
//!
//! `UPDATE=1 cargo nextest run -p usher-api schema_data` writes the file anew, after an update of `k8s-openapi`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

use k8s_openapi::api::{apps, batch, core};
use schemars::generate::{SchemaGenerator, SchemaSettings};
use serde_json::{Map, Value, json};

const PREFIX: &str = "#/$defs/";

#[test]
fn schema_data_is_what_the_api_types_say() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("data");
    let merge = std::fs::read_to_string(data.join("merge.tsv")).expect("merge.tsv is readable");
    let fresh = text(&definitions(&merge));
    let path = data.join("schema.json");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &fresh).expect("schema.json is writable");
    }
    let stored = std::fs::read_to_string(&path).expect("schema.json is readable");
    assert!(stored == fresh, "data/schema.json is out of date: run this test with UPDATE=1");
}

#[test]
fn every_list_has_a_merge_rule_and_every_rule_a_field() {
    let merge = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("data/merge.tsv")).expect("merge.tsv is readable");
    let definitions = definitions(&merge);
    let mut without = Vec::new();
    let mut known = BTreeSet::new();
    for (name, definition) in &definitions {
        for (field, schema) in definition["properties"].as_object().into_iter().flatten() {
            known.insert(format!("{name} {field}"));
            if schema["type"] == "array" && schema.get("x-kubernetes-list-type").is_none() {
                without.push(format!("{name} {field}"));
            }
        }
    }
    assert!(without.is_empty(), "lists without a rule in merge.tsv:\n{}", without.join("\n"));
    let rules = rules(&merge);
    let fields = rules.keys().filter(|(_, field)| *field != "*").map(|(name, field)| format!("{name} {field}"));
    let lost: Vec<_> = fields.filter(|rule| !known.contains(rule)).collect();
    assert!(lost.is_empty(), "rules in merge.tsv without a field:\n{}", lost.join("\n"));
}

type Rules<'a> = BTreeMap<(&'a str, &'a str), [&'a str; 4]>;

fn rules(merge: &str) -> Rules<'_> {
    let mut rules = Rules::new();
    for line in merge.lines().filter(|line| !line.starts_with('#')) {
        let [name, field, kind, keys, patch_key, patch] = line.split('\t').collect::<Vec<_>>()[..] else {
            panic!("merge.tsv has a line that is not six columns: {line}");
        };
        rules.insert((name, field), [kind, keys, patch_key, patch]);
    }
    rules
}

fn definitions(merge: &str) -> BTreeMap<String, Value> {
    let mut generator = SchemaSettings::draft2020_12().into_generator();
    roots(&mut generator);
    let mut definitions: BTreeMap<String, Value> =
        generator.take_definitions(true).into_iter().map(|(name, schema)| (name, reduced(&schema))).collect();
    for (name, definition) in &mut definitions {
        correct_required(name, definition);
    }
    for ((name, field), rule) in rules(merge) {
        let Some(definition) = definitions.get_mut(name) else {
            continue;
        };
        let target = match field {
            "*" => Some(definition),
            _ => definition.get_mut("properties").and_then(|fields| fields.get_mut(field)),
        };
        if let Some(target) = target {
            annotate(target, rule);
        }
    }
    definitions
}

fn roots(generator: &mut SchemaGenerator) {
    generator.subschema_for::<core::v1::Pod>();
    generator.subschema_for::<core::v1::ConfigMap>();
    generator.subschema_for::<core::v1::Secret>();
    generator.subschema_for::<core::v1::PodTemplate>();
    generator.subschema_for::<core::v1::PersistentVolumeClaim>();
    generator.subschema_for::<core::v1::ReplicationController>();
    generator.subschema_for::<apps::v1::Deployment>();
    generator.subschema_for::<apps::v1::StatefulSet>();
    generator.subschema_for::<apps::v1::DaemonSet>();
    generator.subschema_for::<apps::v1::ReplicaSet>();
    generator.subschema_for::<batch::v1::Job>();
    generator.subschema_for::<batch::v1::CronJob>();
}

/// The types of `k8s-openapi` have some fields without `Option` that the API lets be absent.
fn correct_required(name: &str, definition: &mut Value) {
    const NAME_MAY_BE_ABSENT: [&str; 8] = [
        "ConfigMapEnvSource",
        "ConfigMapKeySelector",
        "ConfigMapProjection",
        "ConfigMapVolumeSource",
        "LocalObjectReference",
        "SecretEnvSource",
        "SecretKeySelector",
        "SecretProjection",
    ];
    let short = name.rsplit('.').next().unwrap_or_default();
    let absent = if NAME_MAY_BE_ABSENT.contains(&short) { "name" } else { "metadata" };
    if let Some(required) = definition.get_mut("required").and_then(Value::as_array_mut) {
        required.retain(|field| field != absent);
        if required.is_empty() {
            definition.as_object_mut().expect("a definition is an object").remove("required");
        }
    }
}

/// Without texts for readers, and with references by bare name.
fn reduced(schema: &Value) -> Value {
    match schema {
        Value::Object(fields) => {
            // A field that adds its own text to a type: only the type counts.
            if let Some([only]) = fields.get("allOf").and_then(Value::as_array).map(Vec::as_slice) {
                return reduced(only);
            }
            let kept = fields.iter().filter(|(name, value)| !(*name == "description" && value.is_string()));
            let reduced = kept.map(|(name, value)| match (name.as_str(), value.as_str()) {
                ("$ref", Some(target)) => (name.clone(), json!(target.strip_prefix(PREFIX).unwrap_or(target))),
                _ => (name.clone(), reduced(value)),
            });
            Value::Object(reduced.collect::<Map<_, _>>())
        }
        Value::Array(items) => Value::Array(items.iter().map(reduced).collect()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => schema.clone(),
    }
}

fn annotate(target: &mut Value, [kind, keys, patch_key, patch]: [&str; 4]) {
    match kind {
        "-" => {}
        "map-atomic" => target["x-kubernetes-map-type"] = json!("atomic"),
        _ => target["x-kubernetes-list-type"] = json!(kind),
    }
    if keys != "-" {
        target["x-kubernetes-list-map-keys"] = json!(keys.split(',').collect::<Vec<_>>());
    }
    if patch_key != "-" {
        target["x-kubernetes-patch-merge-key"] = json!(patch_key);
    }
    if patch != "-" {
        target["x-kubernetes-patch-strategy"] = json!(patch);
    }
}

/// One type a line, so that a change shows as a change of its line.
fn text(definitions: &BTreeMap<String, Value>) -> String {
    let mut text = String::from("{\n");
    for (position, (name, definition)) in definitions.iter().enumerate() {
        let comma = if position + 1 < definitions.len() { "," } else { "" };
        writeln!(text, "{}:{definition}{comma}", json!(name)).expect("writing to a string");
    }
    text.push_str("}\n");
    text
}
