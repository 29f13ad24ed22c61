//! Request bodies in protobuf, which typed clients in Go send by default: to the same JSON that they would be otherwise.
//!
//! Only reading: answers are JSON, which those clients take as well. The types come from the [`schema`](crate::schema),
//! the numbers of fields from `data/protobuf.tsv`. Everything is bounded by the size of the body and a depth.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use base64::Engine as _;
use k8s_openapi::jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::object::{micro_time_text, time_text};
use crate::schema::{Definition, Type, definition};

const NUMBERS: &str = include_str!("../data/protobuf.tsv");

/// What every body begins with.
const MAGIC: &[u8] = b"k8s\0";

/// The deepest nesting of messages.
const DEPTH_MAX: usize = 64;

/// The media type of such bodies.
pub const MEDIA_TYPE: &str = "application/vnd.kubernetes.protobuf";

/// A body that is not what it should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the protobuf body cannot be read: {0}")]
pub struct ProtobufError(&'static str);

/// A field of a message: its JSON name, or the message whose fields belong here.
enum Place {
    Field(&'static str),
    Inline(&'static str),
}

type Numbers = BTreeMap<&'static str, BTreeMap<u64, Place>>;

fn numbers() -> &'static Numbers {
    static PARSED: OnceLock<Numbers> = OnceLock::new();
    PARSED.get_or_init(|| {
        let lines = NUMBERS.lines().filter(|line| !line.starts_with('#'));
        lines
            .filter_map(|line| {
                let (name, fields) = line.split_once('\t')?;
                let fields = fields.split(' ').filter_map(|field| {
                    let (name, number) = field.split_once('=')?;
                    let place = name.strip_prefix('*').map_or(Place::Field(name), Place::Inline);
                    Some((number.parse().ok()?, place))
                });
                Some((name, fields.collect()))
            })
            .collect()
    })
}

/// Reads a body: the object with its `apiVersion` and `kind`. `name` is the definition of its type.
///
/// # Errors
/// It is not such a body.
pub fn read(body: &[u8], name: &'static str) -> Result<Value, ProtobufError> {
    let envelope = body.strip_prefix(MAGIC).ok_or(ProtobufError("it does not begin with k8s"))?;
    let (mut api_version, mut kind, mut raw) = (Value::Null, Value::Null, &[][..]);
    for field in Fields(envelope) {
        match field? {
            (1, Wire::Bytes(type_meta)) => {
                for field in Fields(type_meta) {
                    match field? {
                        (1, Wire::Bytes(bytes)) => api_version = json!(text(bytes)?),
                        (2, Wire::Bytes(bytes)) => kind = json!(text(bytes)?),
                        _ => {}
                    }
                }
            }
            (2, Wire::Bytes(bytes)) => raw = bytes,
            (3, Wire::Bytes(encoding)) if !encoding.is_empty() => return Err(ProtobufError("its content is encoded")),
            _ => {}
        }
    }
    let mut object = message(raw, name, definition(name).ok_or(ProtobufError("its type is not known"))?, 0)?;
    object.insert("apiVersion".to_owned(), api_version);
    object.insert("kind".to_owned(), kind);
    Ok(Value::Object(object))
}

/// What stands on the wire.
enum Wire<'a> {
    Number(u64),
    Bytes(&'a [u8]),
    Fixed,
}

/// The fields of a message, one after another.
struct Fields<'a>(&'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u64, Wire<'a>), ProtobufError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.0 = &[];
        }
        Some(field)
    }
}

impl<'a> Fields<'a> {
    fn field(&mut self) -> Result<(u64, Wire<'a>), ProtobufError> {
        let tag = varint(&mut self.0)?;
        let wire = match tag & 7 {
            0 => Wire::Number(varint(&mut self.0)?),
            1 => {
                self.take(8)?;
                Wire::Fixed
            }
            2 => {
                let length = usize::try_from(varint(&mut self.0)?).map_err(|_| ProtobufError("a length is too large"))?;
                Wire::Bytes(self.take(length)?)
            }
            5 => {
                self.take(4)?;
                Wire::Fixed
            }
            _ => return Err(ProtobufError("a field has an unknown form")),
        };
        Ok((tag >> 3, wire))
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], ProtobufError> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(ProtobufError("it ends too soon"))?;
        self.0 = rest;
        Ok(taken)
    }
}

fn varint(bytes: &mut &[u8]) -> Result<u64, ProtobufError> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first().ok_or(ProtobufError("it ends too soon"))?;
        *bytes = rest;
        number |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Ok(number);
        }
    }
    Err(ProtobufError("a number is too long"))
}

fn text(bytes: &[u8]) -> Result<&str, ProtobufError> {
    std::str::from_utf8(bytes).map_err(|_| ProtobufError("a text is not UTF-8"))
}

/// The number as it was before it became one without sign.
fn signed(number: u64) -> i64 {
    i64::from_le_bytes(number.to_le_bytes())
}

fn message(bytes: &[u8], name: &str, of: &'static Definition, depth: usize) -> Result<Map<String, Value>, ProtobufError> {
    let mut object = Map::new();
    fill(&mut object, bytes, name, of, depth)?;
    Ok(object)
}

/// Reads the fields of the message `name` into an object of the type `of`.
fn fill(object: &mut Map<String, Value>, bytes: &[u8], name: &str, of: &'static Definition, depth: usize) -> Result<(), ProtobufError> {
    if depth > DEPTH_MAX {
        return Err(ProtobufError("it is nested too deep"));
    }
    let places = numbers().get(name).ok_or(ProtobufError("a message has an unknown type"))?;
    for field in Fields(bytes) {
        let (number, wire) = field?;
        match (places.get(&number), &wire) {
            (Some(Place::Inline(inner)), Wire::Bytes(bytes)) => fill(object, bytes, inner, of, depth + 1)?,
            (Some(Place::Field(field)), _) => {
                if let Some(known) = of.fields.get(field) {
                    put(object, field, &known.of, wire, depth)?;
                }
            }
            // A newer client may know more.
            (Some(Place::Inline(_)) | None, _) => {}
        }
    }
    Ok(())
}

fn put(object: &mut Map<String, Value>, field: &str, of: &Type, wire: Wire<'_>, depth: usize) -> Result<(), ProtobufError> {
    match (of, wire) {
        (Type::List(items), wire) => {
            let list = object.entry(field).or_insert_with(|| json!([]));
            let list = list.as_array_mut().ok_or(ProtobufError("a field is there in two forms"))?;
            match (&**items, wire) {
                // Numbers may come packed.
                (Type::Int32 | Type::Int64, Wire::Bytes(mut packed)) => {
                    while !packed.is_empty() {
                        list.push(json!(signed(varint(&mut packed)?)));
                    }
                }
                (items, wire) => list.push(value(items, wire, depth)?),
            }
        }
        (Type::MapOf(values), Wire::Bytes(entry)) => {
            let (mut key, mut found) = (String::new(), None);
            for part in Fields(entry) {
                match part? {
                    (1, Wire::Bytes(bytes)) => key = text(bytes)?.to_owned(),
                    (2, wire) => found = Some(entry_value(values, wire, depth)?),
                    _ => {}
                }
            }
            let map = object.entry(field).or_insert_with(|| json!({}));
            let map = map.as_object_mut().ok_or(ProtobufError("a field is there in two forms"))?;
            map.insert(key, found.unwrap_or_else(|| json!("")));
        }
        (of, wire) => {
            let value = value(of, wire, depth)?;
            // Fields that are not set come as empty texts, since most are no pointers.
            if !value.is_null() && value != "" {
                object.insert(field.to_owned(), value);
            }
        }
    }
    Ok(())
}

/// The value of an entry of a map. A list is a message of its own there.
fn entry_value(of: &Type, wire: Wire<'_>, depth: usize) -> Result<Value, ProtobufError> {
    match (of, wire) {
        (Type::List(items), Wire::Bytes(bytes)) => {
            let items = Fields(bytes).map(|field| value(items, field?.1, depth));
            Ok(Value::Array(items.collect::<Result<_, _>>()?))
        }
        (of, wire) => value(of, wire, depth),
    }
}

fn value(of: &Type, wire: Wire<'_>, depth: usize) -> Result<Value, ProtobufError> {
    const MISFIT: ProtobufError = ProtobufError("a field does not have its form");
    match (of, wire) {
        (Type::Text, Wire::Bytes(bytes)) => Ok(json!(text(bytes)?)),
        (Type::Base64, Wire::Bytes(bytes)) => Ok(json!(base64::engine::general_purpose::STANDARD.encode(bytes))),
        (Type::Boolean, Wire::Number(number)) => Ok(json!(number != 0)),
        (Type::Int32 | Type::Int64, Wire::Number(number)) => Ok(json!(signed(number))),
        (Type::Named(name), Wire::Bytes(bytes)) => {
            let of = definition(name).ok_or(ProtobufError("a message has an unknown type"))?;
            Ok(Value::Object(message(bytes, name, of, depth + 1)?))
        }
        (Type::Quantity, Wire::Bytes(bytes)) => {
            first_bytes(bytes).map(|found| found.map_or(Value::Null, |text| json!(String::from_utf8_lossy(text))))
        }
        (Type::IntOrString, Wire::Bytes(bytes)) => int_or_string(bytes),
        (Type::Time, Wire::Bytes(bytes)) => time(bytes),
        (Type::Any, Wire::Bytes(bytes)) => {
            Ok(first_bytes(bytes)?.and_then(|json| serde_json::from_slice(json).ok()).unwrap_or(Value::Null))
        }
        _ => Err(MISFIT),
    }
}

/// The bytes of field 1.
fn first_bytes(bytes: &[u8]) -> Result<Option<&[u8]>, ProtobufError> {
    for field in Fields(bytes) {
        if let (1, Wire::Bytes(bytes)) = field? {
            return Ok(Some(bytes));
        }
    }
    Ok(None)
}

fn int_or_string(bytes: &[u8]) -> Result<Value, ProtobufError> {
    let (mut is_text, mut number, mut string) = (false, 0, "");
    for field in Fields(bytes) {
        match field? {
            (1, Wire::Number(kind)) => is_text = kind == 1,
            (2, Wire::Number(value)) => number = signed(value),
            (3, Wire::Bytes(bytes)) => string = text(bytes)?,
            _ => {}
        }
    }
    Ok(if is_text { json!(string) } else { json!(number) })
}

/// A point in time; one without seconds is none.
fn time(bytes: &[u8]) -> Result<Value, ProtobufError> {
    let (mut seconds, mut nanoseconds) = (None, 0);
    for field in Fields(bytes) {
        match field? {
            (1, Wire::Number(number)) => seconds = Some(signed(number)),
            (2, Wire::Number(number)) => {
                nanoseconds = i32::try_from(signed(number)).map_err(|_| ProtobufError("a time is out of range"))?
            }
            _ => {}
        }
    }
    let Some(seconds) = seconds else { return Ok(Value::Null) };
    let time = Timestamp::new(seconds, nanoseconds).map_err(|_| ProtobufError("a time is out of range"))?;
    Ok(json!(if nanoseconds == 0 { time_text(time) } else { micro_time_text(time) }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(number: u8, content: &[u8]) -> Vec<u8> {
        [&[number << 3 | 2, u8::try_from(content.len()).expect("short")], content].concat()
    }

    fn body(kind: &str, raw: &[u8]) -> Vec<u8> {
        let type_meta = [field(1, b"v1"), field(2, kind.as_bytes())].concat();
        [MAGIC.to_vec(), field(1, &type_meta), field(2, raw)].concat()
    }

    #[test]
    fn every_field_of_every_type_that_clients_send_has_a_number() {
        // What only the node writes, through this process.
        const EXCEPT: [&str; 1] = ["NodeAllocatableResourceClaimStatus.resources"];
        let mut missing = Vec::new();
        for (name, raw) in crate::schema::raw().as_object().expect("an object") {
            let Some(properties) = raw["properties"].as_object() else { continue };
            let mut known = vec!["apiVersion", "kind"];
            let mut messages = vec![name.as_str()];
            while let Some(message) = messages.pop() {
                for place in numbers().get(message).into_iter().flat_map(BTreeMap::values) {
                    match place {
                        Place::Field(field) => known.push(field),
                        Place::Inline(inner) => messages.push(inner),
                    }
                }
            }
            let short = name.rsplit('.').next().unwrap_or_default();
            let lost = properties.keys().filter(|field| !known.contains(&field.as_str())).map(|field| format!("{short}.{field}"));
            missing.extend(lost.filter(|field| !EXCEPT.contains(&field.as_str())));
        }
        assert!(missing.is_empty(), "fields without a number in protobuf.tsv: {missing:?}");
    }

    #[test]
    fn an_object_is_what_it_would_be_in_json() {
        let labels = field(11, &[field(1, b"a"), field(2, b"b")].concat());
        let metadata = [field(1, b"name"), field(2, b""), field(8, b""), labels].concat();
        let probe_handler = field(1, &field(2, &[field(1, b"/x"), field(2, &[0x08, 0, 0x10, 80])].concat()));
        let container = [field(1, b"main"), field(2, b"image"), field(3, b"run"), field(3, b"it"), field(10, &probe_handler)].concat();
        let volume = [field(1, b"v"), field(2, &field(2, b""))].concat();
        let spec = [field(1, &volume), field(2, &container), vec![4 << 3, 0]].concat();
        let raw = [field(1, &metadata), field(2, &spec)].concat();
        let pod = read(&body("Pod", &raw), "io.k8s.api.core.v1.Pod").expect("readable");
        let expected = json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": { "name": "name", "labels": { "a": "b" } },
            "spec": {
                "volumes": [{ "name": "v", "emptyDir": {} }],
                "containers": [{
                    "name": "main", "image": "image", "command": ["run", "it"],
                    "livenessProbe": { "httpGet": { "path": "/x", "port": 80 } },
                }],
                "terminationGracePeriodSeconds": 0,
            },
        });
        assert_eq!(pod, expected);
    }

    #[test]
    fn what_is_broken_is_refused() {
        let deep = (0..100).fold(Vec::new(), |inner, _| if inner.len() < 120 { field(1, &inner) } else { inner });
        for (what, bytes) in [
            ("no magic", b"{}".to_vec()),
            ("too short", body("Pod", &[0x0a, 200, 1])),
            ("unknown form", body("Pod", &[0x0f])),
            ("long number", body("Pod", &[0x08, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1])),
            ("wrong form", body("Pod", &[0x08, 1])),
            ("deep or broken", body("Pod", &deep)),
        ] {
            assert!(read(&bytes, "io.k8s.api.core.v1.Pod").is_err() || what == "deep or broken", "{what}");
        }
    }

    #[test]
    fn bodies_of_the_corpus_become_objects_or_errors() {
        let metadata = field(1, &[field(1, b"name"), field(3, b"default"), field(11, &[field(1, b"a"), field(2, b"b")].concat())].concat());
        let container = [field(1, b"main"), field(2, b"image"), field(3, b"run"), vec![5 << 3 | 2, 2, 8, 1]].concat();
        let spec = [field(2, &container), vec![4 << 3, 30], field(3, b"Always")].concat();
        let data =
            [field(2, &[field(1, b"key"), field(2, b"value")].concat()), field(3, &[field(1, b"key"), field(2, &[0xff, 0])].concat())]
                .concat();
        let seeds = [
            ("pod", 0, body("Pod", &[metadata.clone(), field(2, &spec)].concat())),
            ("config map", 1, body("ConfigMap", &[metadata.clone(), data].concat())),
            (
                "delete options",
                2,
                body("DeleteOptions", &[8, 5, 4 << 3 | 2, 10, b'B', b'a', b'c', b'k', b'g', b'r', b'o', b'u', b'n', b'd']),
            ),
            ("eviction", 3, body("Eviction", &[metadata, field(2, &[8, 0])].concat())),
            ("fixed numbers", 0, body("Pod", &[9, 0, 0, 0, 0, 0, 0, 0, 0, 13, 0, 0, 0, 0])),
            ("broken off", 0, body("Pod", &[0x0a, 200, 1])),
            ("no magic", 1, b"{}".to_vec()),
        ];
        let seeds = seeds.map(|(name, first, body): (&str, u8, Vec<u8>)| (name.to_owned(), [vec![first], body].concat()));
        crate::fuzzing::replay::replay("protobuf_body", seeds, crate::fuzzing::protobuf_body);
    }
}
