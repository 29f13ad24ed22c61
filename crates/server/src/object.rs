//! Reading and writing the metadata of objects that are plain JSON.

use k8s_openapi::jiff::{Timestamp, fmt::temporal::DateTimePrinter};
use serde_json::{Map, Value};

/// On the mirror of a static pod: the UID of that.
const MIRROR_ANNOTATION: &str = "kubernetes.io/config.mirror";

/// `metadata.FIELD` as text; empty if it is not there.
pub fn meta<'a>(object: &'a Value, field: &str) -> &'a str {
    object["metadata"][field].as_str().unwrap_or_default()
}

/// `metadata.name`.
pub fn name(object: &Value) -> &str {
    meta(object, "name")
}

/// `metadata.namespace`.
pub fn namespace(object: &Value) -> &str {
    meta(object, "namespace")
}

/// `metadata.uid`.
pub fn uid(object: &Value) -> &str {
    meta(object, "uid")
}

/// Whether the object is the mirror of a pod that the node runs by itself.
pub fn is_mirror(pod: &Value) -> bool {
    pod["metadata"]["annotations"].get(MIRROR_ANNOTATION).is_some()
}

/// The UID under which the node runs a pod: a mirror names that of the pod that it shows.
pub fn uid_on_node(pod: &Value) -> &str {
    pod["metadata"]["annotations"][MIRROR_ANNOTATION].as_str().unwrap_or_else(|| uid(pod))
}

/// Whether the object is being deleted.
pub fn is_terminating(object: &Value) -> bool {
    !meta(object, "deletionTimestamp").is_empty()
}

/// `metadata.finalizers`.
pub fn finalizers(object: &Value) -> impl Iterator<Item = &str> {
    object["metadata"]["finalizers"].as_array().into_iter().flatten().filter_map(Value::as_str)
}

/// Whether anything waits to clean up behind the object.
pub fn has_finalizers(object: &Value) -> bool {
    finalizers(object).next().is_some()
}

/// A field of the object's metadata, to write.
pub fn meta_mut(object: &mut Value) -> &mut Map<String, Value> {
    let metadata = &mut object["metadata"];
    if !metadata.is_object() {
        *metadata = Value::Object(Map::new());
    }
    metadata.as_object_mut().expect("it was made an object")
}

/// Takes `metadata.FIELD` over from another object, or its absence.
pub fn keep_meta(object: &mut Value, of: &Value, field: &str) {
    let kept = of["metadata"].get(field).cloned();
    let metadata = meta_mut(object);
    match kept {
        Some(value) => metadata.insert(field.to_owned(), value),
        None => metadata.remove(field),
    };
}

/// Takes a top-level field over from another object, or its absence.
pub fn keep(object: &mut Value, of: &Value, field: &str) {
    let Some(fields) = object.as_object_mut() else { return };
    match of.get(field) {
        Some(value) => fields.insert(field.to_owned(), value.clone()),
        None => fields.remove(field),
    };
}

/// A point in time as objects have it: whole seconds.
pub fn time_text(time: Timestamp) -> String {
    print(time, 0)
}

/// A point in time with microseconds, as events and leases have it.
pub fn micro_time_text(time: Timestamp) -> String {
    print(time, 6)
}

fn print(time: Timestamp, digits: u8) -> String {
    let printer = DateTimePrinter::new().precision(Some(digits));
    let mut text = String::new();
    printer.print_timestamp(&time, &mut text).expect("writing to a string");
    text
}

/// A point in time from an object.
pub fn parse_time(text: &str) -> Option<Timestamp> {
    text.parse().ok()
}

/// Fields that are null, and maps and lists in metadata that are empty, are the same as absent ones.
pub fn drop_empty(object: &mut Value) {
    drop_nulls(object);
    if let Some(metadata) = object["metadata"].as_object_mut() {
        let is_empty =
            |value: &Value| value.as_object().is_some_and(Map::is_empty) || value.as_array().is_some_and(Vec::is_empty) || value == "";
        metadata.retain(|_, value| !is_empty(value));
    }
}

fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, value| !value.is_null());
            fields.values_mut().for_each(drop_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
