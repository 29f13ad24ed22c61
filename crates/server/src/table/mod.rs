//! Objects as rows, with the columns of the reference: what `kubectl get` shows.

mod ages;
mod pods;

use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use self::ages::{micro_since, since};
use crate::kinds::Kind;

/// What of each object a row carries besides its cells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Include {
    /// Nothing.
    None,
    /// Its metadata.
    #[default]
    Metadata,
    /// All of it.
    Object,
}

/// A column: name, type, whether only wide tables have it.
type Column = (&'static str, &'static str, bool);

const AGE: Column = ("Age", "string", false);
const NAME: Column = ("Name", "string", false);

fn columns(kind: &Kind) -> &'static [Column] {
    match kind.kind {
        "Pod" => &[
            NAME,
            ("Ready", "string", false),
            ("Status", "string", false),
            ("Restarts", "string", false),
            AGE,
            ("IP", "string", true),
            ("Node", "string", true),
            ("Nominated Node", "string", true),
            ("Readiness Gates", "string", true),
        ],
        "Event" => &[
            ("Last Seen", "string", false),
            ("Type", "string", false),
            ("Reason", "string", false),
            ("Object", "string", false),
            ("Subobject", "string", true),
            ("Source", "string", true),
            ("Message", "string", false),
            ("First Seen", "string", true),
            ("Count", "integer", true),
            ("Name", "string", true),
        ],
        "Node" => &[
            NAME,
            ("Status", "string", false),
            ("Roles", "string", false),
            AGE,
            ("Version", "string", false),
            ("Internal-IP", "string", true),
            ("External-IP", "string", true),
            ("OS-Image", "string", true),
            ("Kernel-Version", "string", true),
            ("Container-Runtime", "string", true),
        ],
        "ConfigMap" => &[NAME, ("Data", "integer", false), AGE],
        "Secret" => &[NAME, ("Type", "string", false), ("Data", "integer", false), AGE],
        "Namespace" => &[NAME, ("Status", "string", false), AGE],
        "ServiceAccount" => &[NAME, ("Secrets", "integer", false), AGE],
        "Lease" => &[NAME, ("Holder", "string", false), AGE],
        "RuntimeClass" => &[NAME, ("Handler", "string", false), AGE],
        "PriorityClass" => {
            &[NAME, ("Value", "integer", false), ("Global-Default", "boolean", false), AGE, ("PreemptionPolicy", "string", false)]
        }
        "PersistentVolumeClaim" => &[
            NAME,
            ("Status", "string", false),
            ("Volume", "string", false),
            ("Capacity", "string", false),
            ("Access Modes", "string", false),
            ("StorageClass", "string", false),
            ("VolumeAttributesClass", "string", false),
            AGE,
            ("VolumeMode", "string", true),
        ],
        _ => &[NAME, AGE],
    }
}

/// The head of a table: what its columns are.
pub fn column_definitions(kind: &Kind) -> Value {
    let columns = columns(kind).iter().map(|(name, of, wide)| {
        let format = if *name == "Name" { "name" } else { "" };
        json!({ "name": name, "type": of, "format": format, "description": name, "priority": i32::from(*wide) })
    });
    Value::Array(columns.collect())
}

/// An object as a row. Objects are as they are stored.
pub fn row(kind: &Kind, object: &Value, include: Include, now: Timestamp) -> Value {
    let mut row = json!({ "cells": cells(kind, object, now) });
    match include {
        Include::None => {}
        Include::Metadata => row["object"] = partial(object),
        Include::Object => row["object"] = object.clone(),
    }
    row
}

/// The metadata of an object, as an object.
pub fn partial(object: &Value) -> Value {
    json!({ "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": object["metadata"] })
}

fn cells(kind: &Kind, object: &Value, now: Timestamp) -> Vec<Value> {
    let name = json!(crate::object::name(object));
    let age = json!(since(&object["metadata"]["creationTimestamp"], now));
    match kind.kind {
        "Pod" => pods::cells(object, name, age, now),
        "Event" => event(object, name, now),
        "Node" => node(object, name, age),
        "ConfigMap" => vec![name, json!(length(&object["data"]) + length(&object["binaryData"])), age],
        "Secret" => vec![name, text(&object["type"]), json!(length(&object["data"])), age],
        "Namespace" => vec![name, text(&object["status"]["phase"]), age],
        "ServiceAccount" => vec![name, json!(length(&object["secrets"])), age],
        "Lease" => vec![name, text(&object["spec"]["holderIdentity"]), age],
        "RuntimeClass" => vec![name, text(&object["handler"]), age],
        "PriorityClass" => {
            let global = object["globalDefault"].as_bool().unwrap_or(false);
            vec![name, object["value"].clone(), json!(global), age, text(&object["preemptionPolicy"])]
        }
        "PersistentVolumeClaim" => claim(object, name, age),
        _ => vec![name, age],
    }
}

fn event(object: &Value, name: Value, now: Timestamp) -> Vec<Value> {
    let has = |field: &str| object[field].as_str().is_some();
    let first = if has("firstTimestamp") { since(&object["firstTimestamp"], now) } else { micro_since(&object["eventTime"], now) };
    let mut last = if has("lastTimestamp") { since(&object["lastTimestamp"], now) } else { first.clone() };
    let mut count = object["count"].as_i64().unwrap_or(0).max(1);
    if object["series"].is_object() {
        last = micro_since(&object["series"]["lastObservedTime"], now);
        count = object["series"]["count"].as_i64().unwrap_or(count);
    }
    let involved = &object["involvedObject"];
    let target = format!("{}/{}", plain(&involved["kind"]).to_lowercase(), plain(&involved["name"]));
    let message = plain(&object["message"]).trim().to_owned();
    vec![
        json!(last),
        text(&object["type"]),
        text(&object["reason"]),
        json!(target),
        text(&involved["fieldPath"]),
        json!(source(object)),
        json!(message),
        json!(first),
        json!(count),
        name,
    ]
}

fn source(object: &Value) -> String {
    let pick = |first: &Value, second: &Value| if plain(first).is_empty() { plain(second).to_owned() } else { plain(first).to_owned() };
    let component = pick(&object["source"]["component"], &object["reportingComponent"]);
    let host = pick(&object["source"]["host"], &object["reportingInstance"]);
    if host.is_empty() { component } else { format!("{component}, {host}") }
}

fn node(object: &Value, name: Value, age: Value) -> Vec<Value> {
    let conditions = object["status"]["conditions"].as_array();
    let ready = conditions.into_iter().flatten().find(|condition| condition["type"] == "Ready");
    let mut status = match ready.map(|ready| plain(&ready["status"])) {
        Some("True") => "Ready".to_owned(),
        Some(_) => "NotReady".to_owned(),
        None => "Unknown".to_owned(),
    };
    if object["spec"]["unschedulable"] == json!(true) {
        status += ",SchedulingDisabled";
    }
    let labels = object["metadata"]["labels"].as_object();
    let roles: Vec<_> = labels.into_iter().flatten().filter_map(|(key, _)| key.strip_prefix("node-role.kubernetes.io/")).collect();
    let roles = if roles.is_empty() { "<none>".to_owned() } else { roles.join(",") };
    let address = |of: &str| {
        let addresses = object["status"]["addresses"].as_array();
        let found = addresses.into_iter().flatten().find(|address| address["type"] == of);
        json!(found.map_or("<none>", |address| plain(&address["address"])))
    };
    let info = |field: &str| match plain(&object["status"]["nodeInfo"][field]) {
        "" => json!("<unknown>"),
        known => json!(known),
    };
    vec![
        name,
        json!(status),
        json!(roles),
        age,
        text(&object["status"]["nodeInfo"]["kubeletVersion"]),
        address("InternalIP"),
        address("ExternalIP"),
        info("osImage"),
        info("kernelVersion"),
        info("containerRuntimeVersion"),
    ]
}

fn claim(object: &Value, name: Value, age: Value) -> Vec<Value> {
    let bound = !plain(&object["spec"]["volumeName"]).is_empty();
    let phase = if crate::object::is_terminating(object) { json!("Terminating") } else { text(&object["status"]["phase"]) };
    let modes = object["status"]["accessModes"].as_array().into_iter().flatten().map(|mode| match plain(mode) {
        "ReadWriteOnce" => "RWO",
        "ReadOnlyMany" => "ROX",
        "ReadWriteMany" => "RWX",
        "ReadWriteOncePod" => "RWOP",
        other => other,
    });
    let (capacity, modes) = if bound {
        (text(&object["status"]["capacity"]["storage"]), modes.collect::<Vec<_>>().join(","))
    } else {
        (json!(""), String::new())
    };
    let class = |field: &str| match plain(&object["spec"][field]) {
        "" => json!("<unset>"),
        class => json!(class),
    };
    let storage_class = text(&object["spec"]["storageClassName"]);
    let mode = match plain(&object["spec"]["volumeMode"]) {
        "" => json!("<unset>"),
        mode => json!(mode),
    };
    vec![
        name,
        phase,
        text(&object["spec"]["volumeName"]),
        capacity,
        json!(modes),
        storage_class,
        class("volumeAttributesClassName"),
        age,
        mode,
    ]
}

fn plain(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn text(value: &Value) -> Value {
    json!(plain(value))
}

fn length(value: &Value) -> usize {
    match value {
        Value::Object(fields) => fields.len(),
        Value::Array(items) => items.len(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
    }
}
