//! The API as OpenAPI documents, which kubectl reads for `explain`, `apply` and its checks.
//!
//! Made from the schema and the table of kinds, once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

use bytes::Bytes;
use serde_json::{Map, Value, json};

use crate::discovery::KUBERNETES_VERSION;
use crate::kinds::{KINDS, Kind, REVIEWS, api_version, groups};
use crate::schema;

const LIST_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta";
const DELETE_OPTIONS: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions";
const STATUS: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.Status";
const PATCH: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.Patch";

/// Parts of objects that are objects of kinds of their own: the kind and its definition.
const PART_DEFINITIONS: &[(&str, &str)] = &[
    ("Binding", "io.k8s.api.core.v1.Binding"),
    ("Eviction", "io.k8s.api.policy.v1.Eviction"),
    ("TokenRequest", "io.k8s.api.authentication.v1.TokenRequest"),
];

/// `/openapi/v3`: where the documents are.
pub fn index() -> Value {
    let paths = group_versions().into_iter().map(|(path, group)| {
        let hash = crate::hex(&ring::digest::digest(&ring::digest::SHA256, &document_v3(group).unwrap_or_default()).as_ref()[..16]);
        (path.clone(), json!({ "serverRelativeURL": format!("/openapi/v3/{path}?hash={hash}") }))
    });
    json!({ "paths": paths.collect::<Map<_, _>>() })
}

fn group_versions() -> Vec<(String, &'static str)> {
    let others = groups().into_iter().map(|group| (format!("apis/{}", api_version(group, "v1")), group));
    std::iter::once(("api/v1".to_owned(), "")).chain(others).collect()
}

/// `/openapi/v3/api/v1` and `/openapi/v3/apis/GROUP/v1`.
pub fn document_v3(group: &str) -> Option<Bytes> {
    static DOCUMENTS: OnceLock<BTreeMap<&'static str, Bytes>> = OnceLock::new();
    let documents = DOCUMENTS.get_or_init(|| {
        let documents = group_versions().into_iter().map(|(_, group)| (group, Bytes::from(build_v3(group).to_string())));
        documents.collect()
    });
    documents.get(group).cloned()
}

/// `/openapi/v2`.
pub fn document_v2() -> Bytes {
    static DOCUMENT: OnceLock<Bytes> = OnceLock::new();
    DOCUMENT.get_or_init(|| Bytes::from(build_v2().to_string())).clone()
}

/// The same as a value.
pub fn build_v2() -> Value {
    let mut paths = Map::new();
    for kind in KINDS {
        add_paths(&mut paths, kind, Form::V2);
    }
    let mut definitions = Map::new();
    for (name, mut definition) in definitions_of(None) {
        refer(&mut definition, "#/definitions/");
        definitions.insert(name, definition);
    }
    json!({ "swagger": "2.0", "info": { "title": "Kubernetes", "version": KUBERNETES_VERSION }, "paths": paths, "definitions": definitions })
}

fn build_v3(group: &str) -> Value {
    let mut paths = Map::new();
    for kind in KINDS.iter().filter(|kind| kind.group == group) {
        add_paths(&mut paths, kind, Form::V3);
    }
    let mut schemas = Map::new();
    for (name, mut definition) in definitions_of(Some(group)) {
        refer(&mut definition, "#/components/schemas/");
        schemas.insert(name, definition);
    }
    json!({
        "openapi": "3.0.0",
        "info": { "title": "Kubernetes", "version": KUBERNETES_VERSION },
        "paths": paths,
        "components": { "schemas": schemas },
    })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    V2,
    V3,
}

/// The definitions of a group, or of all, and what they refer to.
fn definitions_of(group: Option<&str>) -> BTreeMap<String, Value> {
    let raw = schema::raw();
    let wanted = |of: &str| group.is_none_or(|group| group == of);
    let mut found: BTreeMap<String, Value> = BTreeMap::new();
    let mut roots: Vec<&str> = vec![LIST_META, DELETE_OPTIONS, STATUS];
    let mut kinds: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for kind in KINDS.iter().filter(|kind| wanted(kind.group)) {
        roots.push(kind.definition);
        let gvk = |name: String| json!({ "group": kind.group, "version": kind.version, "kind": name });
        kinds.entry(kind.definition.to_owned()).or_default().push(gvk(kind.kind.to_owned()));
        let list = format!("{}List", kind.definition);
        found.insert(list.clone(), list_definition(kind));
        kinds.entry(list).or_default().push(gvk(format!("{}List", kind.kind)));
        for part in kind.parts {
            if let Some((_, definition)) = PART_DEFINITIONS.iter().find(|(kind, _)| *kind == part.kind) {
                let (group, version) = part.of.unwrap_or((kind.group, kind.version));
                roots.push(definition);
                kinds.entry((*definition).to_owned()).or_default().push(json!({ "group": group, "version": version, "kind": part.kind }));
            }
        }
    }
    for review in REVIEWS.iter().filter(|review| wanted(review.group)) {
        roots.push(review.definition);
        kinds.entry(review.definition.to_owned()).or_default().push(json!({ "group": review.group, "version": "v1", "kind": review.kind }));
    }
    for group in std::iter::once("").chain(groups()) {
        kinds.entry(DELETE_OPTIONS.to_owned()).or_default().push(json!({ "group": group, "version": "v1", "kind": "DeleteOptions" }));
    }
    kinds.entry(STATUS.to_owned()).or_default().push(json!({ "group": "", "version": "v1", "kind": "Status" }));
    let mut seen: BTreeSet<&str> = BTreeSet::new();
    while let Some(name) = roots.pop() {
        if !seen.insert(name) {
            continue;
        }
        if let Some(definition) = raw.get(name) {
            references(definition, &mut roots);
            found.insert(name.to_owned(), definition.clone());
        }
    }
    found.insert(PATCH.to_owned(), json!({ "type": "object", "description": "Patch is provided to give a concrete name and type to the Kubernetes PATCH request body." }));
    for (name, kinds) in kinds {
        if let Some(definition) = found.get_mut(&name) {
            definition["x-kubernetes-group-version-kind"] = json!(kinds);
        }
    }
    found
}

fn list_definition(kind: &Kind) -> Value {
    json!({
        "type": "object",
        "description": format!("{}List is a list of {} objects.", kind.kind, kind.kind),
        "required": ["items"],
        "properties": {
            "apiVersion": { "type": "string" },
            "kind": { "type": "string" },
            "metadata": { "$ref": LIST_META },
            "items": { "type": "array", "items": { "$ref": kind.definition } },
        },
    })
}

fn references<'v>(value: &'v Value, into: &mut Vec<&'v str>) {
    match value {
        Value::Object(fields) => {
            if let Some(target) = fields.get("$ref").and_then(Value::as_str) {
                into.push(target);
            }
            fields.values().for_each(|value| references(value, into));
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, into)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn refer(value: &mut Value, prefix: &str) {
    match value {
        Value::Object(fields) => {
            if let Some(Value::String(target)) = fields.get_mut("$ref") {
                *target = format!("{prefix}{target}");
            }
            fields.values_mut().for_each(|value| refer(value, prefix));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| refer(item, prefix)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn add_paths(paths: &mut Map<String, Value>, kind: &Kind, form: Form) {
    let prefix = if kind.group.is_empty() { "/api/v1".to_owned() } else { format!("/apis/{}", kind.api_version()) };
    let collection = match kind.namespaced {
        true => format!("{prefix}/namespaces/{{namespace}}/{}", kind.resource),
        false => format!("{prefix}/{}", kind.resource),
    };
    let item = format!("{collection}/{{name}}");
    let operation = |verb: &str, action: &str| operation(kind, kind.kind, verb, action, form);
    paths.insert(
        collection.clone(),
        json!({ "get": operation("get", "list"), "post": operation("post", "post"), "delete": operation("delete", "deletecollection") }),
    );
    paths.insert(
        item.clone(),
        json!({
            "get": operation("get", "get"),
            "put": operation("put", "put"),
            "patch": operation("patch", "patch"),
            "delete": operation("delete", "delete"),
        }),
    );
    if kind.namespaced {
        paths.insert(format!("{prefix}/{}", kind.resource), json!({ "get": operation("get", "list") }));
    }
    for part in kind.parts.iter().filter(|part| part.kind == kind.kind && part.verbs.contains(&"patch")) {
        paths.insert(
            format!("{item}/{}", part.name),
            json!({ "get": operation("get", "get"), "put": operation("put", "put"), "patch": operation("patch", "patch") }),
        );
    }
}

fn operation(kind: &Kind, name: &str, verb: &str, action: &str, form: Form) -> Value {
    let writes = matches!(verb, "post" | "put" | "patch" | "delete");
    let mut names = vec![("pretty", "string")];
    if writes {
        names.push(("dryRun", "string"));
    }
    if matches!(verb, "post" | "put" | "patch") {
        names.extend([("fieldManager", "string"), ("fieldValidation", "string")]);
    }
    if verb == "patch" {
        names.push(("force", "boolean"));
    }
    let parameters: Vec<_> = names
        .into_iter()
        .map(|(name, of)| match form {
            Form::V2 => json!({ "name": name, "in": "query", "type": of, "uniqueItems": true }),
            Form::V3 => json!({ "name": name, "in": "query", "schema": { "type": of, "uniqueItems": true } }),
        })
        .collect();
    let definition = match (action, verb) {
        ("list", _) => format!("{}List", kind.definition),
        ("delete" | "deletecollection", _) => STATUS.to_owned(),
        _ => kind.definition.to_owned(),
    };
    let response = match form {
        Form::V2 => json!({ "description": "OK", "schema": { "$ref": format!("#/definitions/{definition}") } }),
        Form::V3 => {
            let schema = json!({ "$ref": format!("#/components/schemas/{definition}") });
            json!({ "description": "OK", "content": { "application/json": { "schema": schema } } })
        }
    };
    let mut operation = json!({
        "description": format!("{action} {}", kind.resource),
        "operationId": format!("{action}{}{}{name}", kind.group.replace('.', ""), kind.version),
        "parameters": parameters,
        "responses": { "200": response },
        "x-kubernetes-action": action,
        "x-kubernetes-group-version-kind": { "group": kind.group, "version": kind.version, "kind": name },
    });
    if verb == "patch" {
        let formats = [
            "application/json-patch+json",
            "application/merge-patch+json",
            "application/strategic-merge-patch+json",
            "application/apply-patch+yaml",
        ];
        match form {
            Form::V2 => operation["consumes"] = json!(formats),
            Form::V3 => {
                let content =
                    formats.map(|format| (format.to_owned(), json!({ "schema": { "$ref": format!("#/components/schemas/{PATCH}") } })));
                operation["requestBody"] = json!({ "content": Map::from_iter(content) });
            }
        }
    }
    operation
}
