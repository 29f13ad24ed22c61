//! The OpenAPI document in version 2, as protobuf: the only form in which kubectl takes it.
//!
//! Written field by field, in the numbers of the message `openapi.v2.Document` of Google's gnostic. Only what the
//! document of this API has is written.

use std::sync::OnceLock;

use bytes::Bytes;
use serde_json::Value;

use crate::openapi;

/// `/openapi/v2` as protobuf.
pub(crate) fn document_v2() -> Bytes {
    static DOCUMENT: OnceLock<Bytes> = OnceLock::new();
    DOCUMENT.get_or_init(|| Bytes::from(document(&openapi::build_v2()))).clone()
}

/// A message under construction.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.0.push((number & 0x7f) as u8 | 0x80);
            number >>= 7;
        }
        self.0.push(number as u8);
    }

    fn bytes(&mut self, field: u64, bytes: &[u8]) {
        self.varint(field << 3 | 2);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    fn text(&mut self, field: u64, text: &Value) {
        if let Some(text) = text.as_str() {
            self.bytes(field, text.as_bytes());
        }
    }

    fn message(&mut self, field: u64, message: Self) {
        self.bytes(field, &message.0);
    }

    /// An entry of a map with free keys: its name and its value.
    fn named(&mut self, field: u64, name: &str, value: Self) {
        let mut entry = Self::default();
        entry.bytes(1, name.as_bytes());
        entry.message(2, value);
        self.message(field, entry);
    }

    fn extensions(&mut self, field: u64, of: &Value) {
        for (name, value) in entries(of).filter(|(name, _)| name.starts_with("x-")) {
            // A value of any kind is YAML text, and JSON is YAML.
            let mut any = Self::default();
            any.bytes(2, value.to_string().as_bytes());
            self.named(field, name, any);
        }
    }
}

fn entries(value: &Value) -> impl Iterator<Item = (&str, &Value)> {
    value.as_object().into_iter().flatten().map(|(name, value)| (name.as_str(), value))
}

fn texts(value: &Value) -> impl Iterator<Item = &str> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str)
}

fn document(document: &Value) -> Vec<u8> {
    let mut message = Message::default();
    message.text(1, &document["swagger"]);
    let mut info = Message::default();
    info.text(1, &document["info"]["title"]);
    info.text(2, &document["info"]["version"]);
    message.message(2, info);
    let mut paths = Message::default();
    for (path, item) in entries(&document["paths"]) {
        paths.named(2, path, path_item(item));
    }
    message.message(8, paths);
    let mut definitions = Message::default();
    for (name, definition) in entries(&document["definitions"]) {
        definitions.named(1, name, schema(definition));
    }
    message.message(9, definitions);
    message.0
}

fn path_item(item: &Value) -> Message {
    let mut message = Message::default();
    for (field, verb) in [(2, "get"), (3, "put"), (4, "post"), (5, "delete"), (8, "patch")] {
        if let Some(of) = item.get(verb) {
            message.message(field, operation(of));
        }
    }
    message
}

fn operation(of: &Value) -> Message {
    let mut message = Message::default();
    message.text(3, &of["description"]);
    message.text(5, &of["operationId"]);
    texts(&of["consumes"]).for_each(|media| message.bytes(7, media.as_bytes()));
    for parameter in of["parameters"].as_array().into_iter().flatten() {
        let mut query = Message::default();
        query.text(2, &parameter["in"]);
        query.text(4, &parameter["name"]);
        query.text(6, &parameter["type"]);
        // Each of these is one choice among several, and so a message of its own.
        let wrapped = [3, 2, 1].into_iter().fold(query, |inner, field| {
            let mut outer = Message::default();
            outer.message(field, inner);
            outer
        });
        message.message(8, wrapped);
    }
    let mut responses = Message::default();
    for (code, response) in entries(&of["responses"]) {
        let mut described = Message::default();
        described.text(1, &response["description"]);
        if let Some(of) = response.get("schema") {
            let mut item = Message::default();
            item.message(1, schema(of));
            described.message(2, item);
        }
        let mut value = Message::default();
        value.message(1, described);
        responses.named(1, code, value);
    }
    message.message(9, responses);
    message.extensions(13, of);
    message
}

fn schema(of: &Value) -> Message {
    let mut message = Message::default();
    message.text(1, &of["$ref"]);
    message.text(2, &of["format"]);
    message.text(4, &of["description"]);
    texts(&of["required"]).for_each(|name| message.bytes(19, name.as_bytes()));
    if of["additionalProperties"].is_object() {
        let mut item = Message::default();
        item.message(1, schema(&of["additionalProperties"]));
        message.message(21, item);
    }
    if let Some(name) = of["type"].as_str() {
        let mut item = Message::default();
        item.bytes(1, name.as_bytes());
        message.message(22, item);
    }
    if of["items"].is_object() {
        let mut item = Message::default();
        item.message(1, schema(&of["items"]));
        message.message(23, item);
    }
    if of["properties"].is_object() {
        let mut properties = Message::default();
        for (name, property) in entries(&of["properties"]) {
            properties.named(1, name, schema(property));
        }
        message.message(25, properties);
    }
    message.extensions(31, of);
    message
}
