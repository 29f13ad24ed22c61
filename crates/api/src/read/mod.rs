//! Text to objects: the documents of a manifest with the place of every value.
//!
//! Not a check of what the objects say: see [`schema`](crate::schema) for that. Invariant: reading is bounded in time
//! and memory by the constants of this module, whatever the text is, and never panics.

mod error;
mod flow;
mod json;
mod node;
pub(crate) mod scalar;
mod syntax;
mod yaml;

#[cfg(test)]
mod tests;

use serde_json::Value;

pub use self::error::ReadError;
pub use self::node::{Data, Entry, Node, Place};
use crate::diagnostic::Diagnostic;
use crate::path::FieldPath;
use crate::source::Source;

/// The deepest nesting accepted. A Pod needs about 15, a schema inside a custom resource about 60.
pub const DEPTH_MAX: usize = 100;

/// The most values accepted in one text; memory for them is some tens of megabytes.
pub const NODES_MAX: usize = 200_000;

/// The most values that aliases may add, so that a few lines cannot expand to gigabytes. Honest manifests repeat a few
/// hundred values.
pub const ALIAS_NODES_MAX: usize = 50_000;

/// The most documents accepted in one text.
pub const DOCUMENTS_MAX: usize = 1_000;

/// The most errors collected that do not end the reading, such as keys that are set twice.
pub const READ_ERRORS_MAX: usize = 100;

/// One Kubernetes object of a manifest.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// `apiVersion`, not empty.
    pub api_version: String,
    /// `kind`, not empty.
    pub kind: String,
    /// The object as written.
    pub value: Value,
    /// The object with the place of every value.
    pub positions: Node,
}

impl Document {
    /// The place of a field, or of the nearest thing around it that the manifest has.
    pub fn place(&self, path: &FieldPath) -> (FieldPath, Place) {
        self.positions.find_nearest(path)
    }

    /// `metadata.name`, or `metadata.generateName`, where the manifest has one.
    pub fn name(&self) -> Option<&str> {
        let metadata = self.positions.get("metadata")?;
        metadata.get("name").or_else(|| metadata.get("generateName"))?.text()
    }
}

/// What was read from a text.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reading {
    /// The objects that could be read, items of a `List` one by one, also where there are errors.
    pub documents: Vec<Document>,
    /// Everything wrong with the text, in the order found.
    pub errors: Vec<ReadError>,
}

impl Reading {
    /// The errors for a person.
    pub fn diagnostics(&self) -> Vec<Diagnostic> {
        self.errors.iter().map(ReadError::diagnostic).collect()
    }
}

/// Reads a manifest: YAML with any number of documents, or JSON. Documents that hold nothing are passed over, and a
/// `List` gives its items.
pub fn read(source: &Source) -> Reading {
    let mut reading = Reading::default();
    let nodes =
        if json::is_json(source.text()) { json::read(source, &mut reading.errors) } else { yaml::read(source, &mut reading.errors) };
    for node in nodes {
        take(node, &mut reading);
    }
    if reading.documents.is_empty() && reading.errors.is_empty() {
        reading.errors.push(ReadError::Empty);
    }
    reading
}

fn take(node: Node, reading: &mut Reading) {
    match node.data {
        Data::Null => return,
        Data::Map(_) => {}
        Data::Bool(_) | Data::Int(_) | Data::Float(_) | Data::Text(_) | Data::List(_) => {
            reading.errors.push(ReadError::NotAnObject { found: node.describe(), span: node.span });
            return;
        }
    }
    let (api_version, kind) = match (type_field(&node, "apiVersion"), type_field(&node, "kind")) {
        (Ok(api_version), Ok(kind)) => (api_version, kind),
        (api_version, kind) => {
            reading.errors.extend([api_version.err(), kind.err()].into_iter().flatten());
            return;
        }
    };
    if api_version == "v1" && kind == "List" {
        return take_items(node, reading);
    }
    let value = node.to_value();
    reading.documents.push(Document { api_version, kind, value, positions: node });
}

fn take_items(list: Node, reading: &mut Reading) {
    let Data::Map(entries) = list.data else {
        return;
    };
    let Some(items) = entries.into_iter().rev().find(|entry| entry.key == "items") else {
        return;
    };
    match items.value.data {
        Data::List(nodes) => {
            for node in nodes {
                take(node, reading);
            }
        }
        Data::Null => {}
        Data::Bool(_) | Data::Int(_) | Data::Float(_) | Data::Text(_) | Data::Map(_) => {
            let found = items.value.describe();
            reading.errors.push(ReadError::NotAnObject { found, span: items.value.span });
        }
    }
}

fn type_field(node: &Node, field: &'static str) -> Result<String, ReadError> {
    let example = match field {
        "kind" => "Pod",
        _ => "v1",
    };
    match node.entry(field) {
        Some(entry) => match entry.value.text() {
            Some(text) if !text.is_empty() => Ok(text.to_owned()),
            _ => {
                let help = format!("it is a string, such as `{field}: {example}`");
                Err(ReadError::MissingType { field, span: entry.value.span, help })
            }
        },
        None => {
            let keys = node.entries().iter().map(|entry| entry.key.as_str());
            let near = crate::nearest::nearest(field, keys);
            let help = match near {
                Some(near) => format!("`{near}` is written `{field}`"),
                None => format!("begin the object with `{field}: {example}`"),
            };
            let span = near.and_then(|near| node.entry(near)).map_or(node.span, |entry| entry.key_span);
            Err(ReadError::MissingType { field, span, help })
        }
    }
}
