//! `data/openapi.json.gz` is what the API types say, with how lists and maps merge from the two `merge.tsv`.
//!
//! `UPDATE=1 cargo nextest run -p usher-server schema_data` writes the file anew, after an update of `k8s-openapi`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::path::Path;

use k8s_openapi::api::{authentication, authorization, coordination, core, events, node, policy, scheduling};
use k8s_openapi::apimachinery::pkg::apis::meta;
use schemars::generate::{SchemaGenerator, SchemaSettings};
use serde_json::{Map, Value, json};

const PREFIX: &str = "#/$defs/";

#[test]
fn schema_data_is_what_the_api_types_say() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |path: &str| std::fs::read_to_string(folder.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
    let merge = read("data/merge.tsv") + &read("../api/data/merge.tsv");
    let fresh = text(&definitions(&merge));
    let path = folder.join("data/openapi.json.gz");
    if std::env::var_os("UPDATE").is_some() {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        packed.write_all(fresh.as_bytes()).expect("packed");
        std::fs::write(&path, packed.finish().expect("packed")).expect("openapi.json.gz is writable");
    }
    let mut stored = String::new();
    let file = std::fs::File::open(&path).expect("openapi.json.gz is readable");
    flate2::read::GzDecoder::new(file).read_to_string(&mut stored).expect("it can be unpacked");
    assert!(stored == fresh, "data/openapi.json.gz is out of date: run this test with UPDATE=1");
}

fn definitions(merge: &str) -> BTreeMap<String, Value> {
    let mut generator = SchemaSettings::draft2020_12().into_generator();
    roots(&mut generator);
    let mut definitions: BTreeMap<String, Value> =
        generator.take_definitions(true).into_iter().map(|(name, schema)| (name, reduced(&schema))).collect();
    for (name, definition) in &mut definitions {
        correct_required(name, definition);
    }
    for line in merge.lines().filter(|line| !line.starts_with('#')) {
        let [name, field, kind, keys, patch_key, patch] = line.split('\t').collect::<Vec<_>>()[..] else {
            panic!("merge.tsv has a line that is not six columns: {line}");
        };
        let Some(definition) = definitions.get_mut(name) else { continue };
        let target = match field {
            "*" => Some(definition),
            _ => definition.get_mut("properties").and_then(|fields| fields.get_mut(field)),
        };
        annotate(target.unwrap_or_else(|| panic!("{name} has no {field}")), [kind, keys, patch_key, patch]);
    }
    definitions
}

fn roots(generator: &mut SchemaGenerator) {
    generator.subschema_for::<core::v1::Binding>();
    generator.subschema_for::<core::v1::ConfigMap>();
    generator.subschema_for::<core::v1::Event>();
    generator.subschema_for::<core::v1::Namespace>();
    generator.subschema_for::<core::v1::Node>();
    generator.subschema_for::<core::v1::PersistentVolumeClaim>();
    generator.subschema_for::<core::v1::Pod>();
    generator.subschema_for::<core::v1::Secret>();
    generator.subschema_for::<core::v1::ServiceAccount>();
    generator.subschema_for::<coordination::v1::Lease>();
    generator.subschema_for::<events::v1::Event>();
    generator.subschema_for::<node::v1::RuntimeClass>();
    generator.subschema_for::<scheduling::v1::PriorityClass>();
    generator.subschema_for::<policy::v1::Eviction>();
    generator.subschema_for::<authentication::v1::SelfSubjectReview>();
    generator.subschema_for::<authentication::v1::TokenRequest>();
    generator.subschema_for::<authentication::v1::TokenReview>();
    generator.subschema_for::<authorization::v1::SelfSubjectAccessReview>();
    generator.subschema_for::<authorization::v1::SelfSubjectRulesReview>();
    generator.subschema_for::<meta::v1::DeleteOptions>();
    generator.subschema_for::<meta::v1::ListMeta>();
    generator.subschema_for::<meta::v1::Status>();
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

/// With references by bare name.
fn reduced(schema: &Value) -> Value {
    match schema {
        Value::Object(fields) => {
            // A field that adds its own text to a type.
            if let Some([only]) = fields.get("allOf").and_then(Value::as_array).map(Vec::as_slice) {
                let mut only = reduced(only);
                if let Some(description) = fields.get("description") {
                    only["description"] = description.clone();
                }
                return only;
            }
            let reduced = fields.iter().map(|(name, value)| match (name.as_str(), value.as_str()) {
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

/// One type a line.
fn text(definitions: &BTreeMap<String, Value>) -> String {
    let mut text = String::from("{\n");
    for (position, (name, definition)) in definitions.iter().enumerate() {
        let comma = if position + 1 < definitions.len() { "," } else { "" };
        writeln!(text, "{}:{definition}{comma}", json!(name)).expect("writing to a string");
    }
    text.push_str("}\n");
    text
}
