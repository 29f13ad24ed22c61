//! Who owns which fields of an object: `metadata.managedFields`, kept at every write, and server-side apply.

use k8s_openapi::jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::fields::{Division, FieldSet, Shape};
use crate::kinds::Kind;
use crate::object::{meta_mut, time_text};
use crate::status::{ApiError, ApiResult};

/// The most managers of updates that an object keeps; older ones become one, as in the reference.
const UPDATE_MANAGERS_MAX: usize = 10;
/// The name of what older managers become.
const ANCIENT: &str = "ancient-changes";

/// The manager and the annotation of kubectl's two ways to apply.
const KUBECTL: &str = "kubectl";
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Fields that nobody owns: the server sets them, or they say which object it is.
const UNOWNED: &[&[&str]] = &[
    &["f:apiVersion"],
    &["f:kind"],
    &["f:metadata", "f:name"],
    &["f:metadata", "f:namespace"],
    &["f:metadata", "f:creationTimestamp"],
    &["f:metadata", "f:deletionTimestamp"],
    &["f:metadata", "f:deletionGracePeriodSeconds"],
    &["f:metadata", "f:selfLink"],
    &["f:metadata", "f:uid"],
    &["f:metadata", "f:generation"],
    &["f:metadata", "f:managedFields"],
    &["f:metadata", "f:resourceVersion"],
];

/// Who writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Writer<'a> {
    /// The name of the field manager.
    pub name: &'a str,
    /// The endpoint: `status`, or nothing.
    pub part: &'a str,
    /// When.
    pub now: Timestamp,
}

#[derive(Clone, Debug, PartialEq)]
struct Entry {
    manager: String,
    operation: String,
    api_version: String,
    part: String,
    time: Option<String>,
    set: FieldSet,
}

impl Entry {
    fn is(&self, manager: &str, operation: &str, part: &str, api_version: &str) -> bool {
        self.manager == manager && self.operation == operation && self.part == part && self.api_version == api_version
    }

    fn title(&self) -> String {
        let mut title = format!("\"{}\"", self.manager);
        if !self.part.is_empty() {
            title += &format!(" with subresource \"{}\"", self.part);
        }
        if self.operation == "Update" {
            title += &format!(" using {}", self.api_version);
        }
        title
    }
}

/// Notes in `new` what a writer changed against `old`. The entries that `new` brings count, if it brings any.
pub fn note_update(old: Option<&Value>, new: &mut Value, kind: &Kind, writer: &Writer<'_>) {
    let shape = Shape::root(kind.definition);
    let brought = new["metadata"].get("managedFields").filter(|fields| fields.as_array().is_some_and(|entries| !entries.is_empty()));
    // `[{}]` empties the list.
    let mut entries = match (brought, old) {
        (Some(fields), _) => read(fields),
        (None, Some(old)) => read(&old["metadata"]["managedFields"]),
        (None, None) => Vec::new(),
    };
    let mut changed = match old {
        Some(old) => FieldSet::changed(Some(old), new, &shape),
        None => FieldSet::of(new, &shape),
    };
    drop_unowned(&mut changed);
    let version = kind.api_version();
    let mine = entries.iter().position(|entry| entry.is(writer.name, "Update", writer.part, &version));
    let mut own = mine.map(|at| entries.remove(at));
    for entry in &mut entries {
        entry.set = entry.set.without(&changed).present_in(new, &shape);
    }
    if let Some(own) = &mut own {
        let set = own.set.clone().union(&changed).present_in(new, &shape);
        if !changed.is_empty() || set != own.set {
            own.time = Some(time_text(writer.now));
        }
        own.set = set;
    } else if !changed.is_empty() {
        own = Some(Entry {
            manager: writer.name.to_owned(),
            operation: "Update".to_owned(),
            api_version: version,
            part: writer.part.to_owned(),
            time: Some(time_text(writer.now)),
            set: changed,
        });
    }
    entries.extend(own);
    write(new, entries);
}

/// Applies what a manager wants (`config`) to an object: server-side apply.
///
/// # Errors
/// Others own fields that it would change, and it does not take them by force.
pub fn apply(live: Option<&Value>, config: &Value, kind: &Kind, writer: &Writer<'_>, by_force: Force) -> ApiResult<Value> {
    let shape = Shape::root(kind.definition);
    let version = kind.api_version();
    let mut wanted = FieldSet::of(config, &shape);
    drop_unowned(&mut wanted);
    let empty = json!({});
    let base = live.unwrap_or(&empty);
    let mut entries = read(&base["metadata"]["managedFields"]);
    let mine = entries.iter().position(|entry| entry.is(writer.name, "Apply", writer.part, &version));
    let own = mine.map(|at| entries.remove(at));

    let mut merged = merged(base, config, &shape);
    if let Some(own) = &own {
        let others = entries.iter().fold(FieldSet::default(), |all, entry| all.union(&entry.set));
        prune(&mut merged, &own.set.without(&wanted).without(&others), &others, &shape);
    }
    let changed = FieldSet::changed(Some(base), &merged, &shape).common(&wanted);
    let conflicts: Vec<_> =
        entries.iter().map(|entry| (entry.title(), entry.set.common(&changed).paths())).filter(|(_, paths)| !paths.is_empty()).collect();
    if !conflicts.is_empty() && by_force == Force::No && !is_upgrade(base, &entries, &changed, writer, &shape) {
        return Err(conflict(&conflicts));
    }
    if writer.name == KUBECTL && base["metadata"]["annotations"].get(LAST_APPLIED).is_some() {
        // Who goes back to client-side apply later finds what was applied last.
        let mut applied = config.clone();
        meta_mut(&mut applied).remove("managedFields");
        merged["metadata"]["annotations"][LAST_APPLIED] = json!(format!("{applied}\n"));
    }
    for entry in &mut entries {
        entry.set = entry.set.without(&changed).present_in(&merged, &shape);
    }
    if !wanted.is_empty() {
        // The time is that of the last change of what is owned.
        let unchanged = own.as_ref().filter(|own| own.set == wanted && changed.is_empty());
        let time = unchanged.and_then(|own| own.time.clone()).unwrap_or_else(|| time_text(writer.now));
        entries.push(Entry {
            manager: writer.name.to_owned(),
            operation: "Apply".to_owned(),
            api_version: version,
            part: writer.part.to_owned(),
            time: Some(time),
            set: wanted,
        });
    }
    write(&mut merged, entries);
    Ok(merged)
}

/// Whether kubectl takes nothing but what its own client-side apply had set before, as that says in its annotation.
fn is_upgrade(base: &Value, entries: &[Entry], changed: &FieldSet, writer: &Writer<'_>, shape: &Shape) -> bool {
    let applied = base["metadata"]["annotations"][LAST_APPLIED].as_str().and_then(|text| serde_json::from_str::<Value>(text).ok());
    let Some(applied) = applied.filter(|_| writer.name == KUBECTL) else { return false };
    let own = FieldSet::of(&applied, shape);
    entries.iter().all(|entry| entry.set.common(changed).without(&own).is_empty())
}

/// Whether fields that others own may be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Force {
    /// That is a conflict.
    No,
    /// They are taken.
    Yes,
}

fn conflict(conflicts: &[(String, Vec<String>)]) -> ApiError {
    let causes: Vec<_> = conflicts
        .iter()
        .flat_map(|(title, paths)| paths.iter().map(move |path| (title, path)))
        .map(|(title, path)| json!({ "reason": "FieldManagerConflict", "message": format!("conflict with {title}"), "field": path }))
        .collect();
    let count = causes.len();
    let text = match conflicts {
        [(title, paths)] if paths.len() == 1 => format!("conflict with {title}: {}", paths[0]),
        _ => {
            let texts = conflicts.iter().map(|(title, paths)| {
                let plural = if paths.len() == 1 { "conflict" } else { "conflicts" };
                let paths: Vec<_> = paths.iter().map(|path| format!("\n- {path}")).collect();
                format!("{plural} with {title}:{}", paths.concat())
            });
            texts.collect::<Vec<_>>().join("\n")
        }
    };
    let plural = if count == 1 { "conflict" } else { "conflicts" };
    let mut error = ApiError::new(409, "Conflict", format!("Apply failed with {count} {plural}: {text}"));
    error.details = Some(json!({ "causes": causes }));
    error
}

/// The object with everything that `config` says; what it does not say stays.
fn merged(base: &Value, config: &Value, shape: &Shape) -> Value {
    match shape.divide(config) {
        Division::Leaf => config.clone(),
        Division::Fields(fields) => {
            let mut object = base.as_object().cloned().unwrap_or_default();
            for (_, name, shape) in fields {
                let value = match object.get(name) {
                    Some(before) => merged(before, &config[name], &shape),
                    None => config[name].clone(),
                };
                object.insert(name.to_owned(), value);
            }
            Value::Object(object)
        }
        Division::Items(wanted, item_shape) => {
            let before = match shape.divide(base) {
                Division::Items(items, _) => items,
                Division::Leaf | Division::Fields(_) => Vec::new(),
            };
            let mut items: Vec<(String, Value)> = before.into_iter().map(|(step, item)| (step, item.clone())).collect();
            for (step, item) in wanted {
                match items.iter_mut().find(|(known, _)| *known == step) {
                    Some((_, before)) => *before = merged(before, item, &item_shape),
                    None => items.push((step, item.clone())),
                }
            }
            Value::Array(items.into_iter().map(|(_, item)| item).collect())
        }
    }
}

/// Takes away what the manager does not want any longer and nobody else owns.
fn prune(value: &mut Value, gone: &FieldSet, others: &FieldSet, shape: &Shape) {
    let nothing = FieldSet::default();
    match value {
        Value::Object(fields) => {
            for (step, gone) in &gone.below {
                let Some(name) = step.strip_prefix("f:") else { continue };
                let others = others.below.get(step).unwrap_or(&nothing);
                let Some(shape) = shape.child(name) else { continue };
                let Some(field) = fields.get_mut(name) else { continue };
                if gone.below.is_empty() {
                    if others.is_empty() {
                        fields.remove(name);
                    }
                    continue;
                }
                prune(field, gone, others, &shape);
                let is_empty = field.as_object().is_some_and(Map::is_empty) || field.as_array().is_some_and(Vec::is_empty);
                if is_empty && others.is_empty() {
                    fields.remove(name);
                }
            }
        }
        Value::Array(_) => {
            let Division::Items(items, item_shape) = shape.divide(value) else { return };
            let steps: Vec<String> = items.into_iter().map(|(step, _)| step).collect();
            let Value::Array(items) = value else { return };
            let mut kept = Vec::with_capacity(items.len());
            for (step, mut item) in steps.into_iter().zip(items.drain(..)) {
                let others = others.below.get(&step).unwrap_or(&nothing);
                match gone.below.get(&step) {
                    Some(gone) if gone.itself && others.is_empty() => continue,
                    Some(gone) => prune(&mut item, gone, others, &item_shape),
                    None => {}
                }
                kept.push(item);
            }
            *items = kept;
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn drop_unowned(set: &mut FieldSet) {
    set.itself = false;
    for path in UNOWNED {
        set.remove(path);
    }
    // `metadata` itself is not owned, only what is in it.
    if let Some(metadata) = set.below.get_mut("f:metadata") {
        metadata.itself = false;
        if metadata.below.is_empty() {
            set.below.remove("f:metadata");
        }
    }
}

fn read(entries: &Value) -> Vec<Entry> {
    let entries = entries.as_array().into_iter().flatten().filter_map(|entry| {
        let text = |field: &str| entry[field].as_str().unwrap_or_default().to_owned();
        let entry = Entry {
            manager: text("manager"),
            operation: text("operation"),
            api_version: text("apiVersion"),
            part: text("subresource"),
            time: entry["time"].as_str().map(ToOwned::to_owned),
            set: FieldSet::from_json(&entry["fieldsV1"]),
        };
        (!entry.operation.is_empty()).then_some(entry)
    });
    entries.collect()
}

fn write(object: &mut Value, mut entries: Vec<Entry>) {
    entries.retain(|entry| !entry.set.is_empty());
    cap_updates(&mut entries);
    // Applied sets first, then by time and name, as in the reference.
    entries.sort_by(|a, b| (&a.operation, &a.time, &a.manager).cmp(&(&b.operation, &b.time, &b.manager)));
    let entries: Vec<_> = entries.iter().map(to_json).collect();
    let metadata = meta_mut(object);
    if entries.is_empty() {
        metadata.remove("managedFields");
    } else {
        metadata.insert("managedFields".to_owned(), Value::Array(entries));
    }
}

fn cap_updates(entries: &mut Vec<Entry>) {
    while entries.iter().filter(|entry| entry.operation == "Update").count() > UPDATE_MANAGERS_MAX {
        let oldest = entries
            .iter()
            .enumerate()
            .filter(|(_, entry)| entry.operation == "Update" && entry.manager != ANCIENT)
            .min_by_key(|(_, entry)| entry.time.clone());
        let Some((at, _)) = oldest else { return };
        let oldest = entries.remove(at);
        match entries.iter_mut().find(|entry| entry.manager == ANCIENT) {
            Some(ancient) => ancient.set = ancient.set.clone().union(&oldest.set),
            None => entries.push(Entry { manager: ANCIENT.to_owned(), part: String::new(), ..oldest }),
        }
    }
}

fn to_json(entry: &Entry) -> Value {
    let mut json = json!({
        "manager": entry.manager,
        "operation": entry.operation,
        "apiVersion": entry.api_version,
        "fieldsType": "FieldsV1",
        "fieldsV1": entry.set.to_json(),
    });
    if let Some(time) = &entry.time {
        json["time"] = json!(time);
    }
    if !entry.part.is_empty() {
        json["subresource"] = json!(entry.part);
    }
    json
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::stored;

    fn writer(name: &str) -> Writer<'_> {
        Writer { name, part: "", now: Timestamp::from_second(1_700_000_000).expect("a time") }
    }

    fn config_map(data: Value) -> Value {
        json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "a" }, "data": data })
    }

    fn apply_as(name: &str, live: Option<&Value>, config: &Value, force: Force) -> ApiResult<Value> {
        apply(live, config, stored("configmaps"), &writer(name), force)
    }

    #[test]
    fn a_manager_takes_away_what_it_stops_to_want() {
        let first = apply_as("me", None, &config_map(json!({ "a": "1", "b": "2" })), Force::No).expect("applied");
        let second = apply_as("me", Some(&first), &config_map(json!({ "a": "1" })), Force::No).expect("applied");
        assert_eq!(second["data"], json!({ "a": "1" }));
        assert_eq!(second["metadata"]["managedFields"][0]["fieldsV1"], json!({ "f:data": { "f:a": {} } }));
        let third = apply_as("me", Some(&second), &json!({ "metadata": { "name": "a" } }), Force::No).expect("applied");
        assert_eq!(third.get("data"), None);
    }

    #[test]
    fn a_field_of_another_manager_is_a_conflict_unless_it_has_that_value_or_is_taken() {
        let mut live = config_map(json!({ "a": "1", "b": "2" }));
        note_update(None, &mut live, stored("configmaps"), &writer("editor"));
        let error = apply_as("me", Some(&live), &config_map(json!({ "a": "9" })), Force::No).expect_err("a conflict");
        assert_eq!(error.message, "Apply failed with 1 conflict: conflict with \"editor\" using v1: .data.a");
        assert_eq!((error.code, error.reason), (409, "Conflict"));
        let shared = apply_as("me", Some(&live), &config_map(json!({ "a": "1" })), Force::No).expect("the same value");
        assert_eq!(shared["data"], live["data"]);
        let taken = apply_as("me", Some(&live), &config_map(json!({ "a": "9" })), Force::Yes).expect("taken");
        assert_eq!(taken["data"], json!({ "a": "9", "b": "2" }));
        let editor = &taken["metadata"]["managedFields"][1];
        assert_eq!((editor["manager"].as_str(), &editor["fieldsV1"]), (Some("editor"), &json!({ "f:data": { "f:b": {} } })));
    }

    #[test]
    fn what_two_managers_want_stays_when_one_stops() {
        let first = apply_as("one", None, &config_map(json!({ "a": "1" })), Force::No).expect("applied");
        let second = apply_as("two", Some(&first), &config_map(json!({ "a": "1" })), Force::No).expect("applied");
        let third = apply_as("one", Some(&second), &json!({ "metadata": { "name": "a" } }), Force::No).expect("applied");
        assert_eq!(third["data"], json!({ "a": "1" }));
    }

    #[test]
    fn an_update_takes_what_it_changes_and_forgets_what_is_gone() {
        let live = apply_as("applier", None, &config_map(json!({ "a": "1", "b": "2" })), Force::No).expect("applied");
        let mut new = live.clone();
        new["data"] = json!({ "a": "5", "c": "3" });
        note_update(Some(&live), &mut new, stored("configmaps"), &writer("editor"));
        let entries = new["metadata"]["managedFields"].as_array().expect("entries");
        assert_eq!(entries.len(), 1, "nothing of the applier's is left: {entries:?}");
        assert_eq!(entries[0]["fieldsV1"], json!({ "f:data": { "f:a": {}, "f:c": {} } }));
    }

    #[test]
    fn items_of_lists_are_told_apart_by_their_keys() {
        let pod = |containers: Value| json!({ "metadata": { "name": "p" }, "spec": { "containers": containers } });
        let apply_pod = |live: Option<&Value>, name: &str, config: &Value| apply(live, config, stored("pods"), &writer(name), Force::No);
        let first = apply_pod(None, "one", &pod(json!([{ "name": "a", "image": "x" }]))).expect("applied");
        let both = apply_pod(Some(&first), "two", &pod(json!([{ "name": "b", "image": "y" }]))).expect("applied");
        assert_eq!(both["spec"]["containers"], json!([{ "name": "a", "image": "x" }, { "name": "b", "image": "y" }]));
        let error = apply_pod(Some(&both), "two", &pod(json!([{ "name": "a", "image": "z" }]))).expect_err("a conflict");
        assert_eq!(error.message, "Apply failed with 1 conflict: conflict with \"one\": .spec.containers[name=\"a\"].image");
        let only = apply_pod(Some(&both), "one", &json!({ "metadata": { "name": "p" } })).expect("applied");
        assert_eq!(only["spec"]["containers"], json!([{ "name": "b", "image": "y" }]));
    }
}
