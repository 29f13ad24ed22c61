//! The types of the API as data: their fields, how lists and maps merge, and their descriptions.
//!
//! Read from `data/openapi.json.gz`, which `tests/schema_data.rs` checks against the API types. The crate `api` has the
//! types of manifests; this has all that are served, with the texts for `kubectl explain`.

mod strict;

use std::collections::BTreeMap;
use std::io::Read as _;
use std::sync::OnceLock;

use serde_json::Value;

pub use self::strict::{Misfit, Mistype, check};

const PACKED: &[u8] = include_bytes!("../../data/openapi.json.gz");

const QUANTITY: &str = "io.k8s.apimachinery.pkg.api.resource.Quantity";
const INT_OR_STRING: &str = "io.k8s.apimachinery.pkg.util.intstr.IntOrString";
const FIELDS_V1: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.FieldsV1";

/// A type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Type {
    /// An object with named fields: its definition.
    Named(&'static str),
    /// A list.
    List(Box<Self>),
    /// A map with free keys.
    MapOf(Box<Self>),
    /// Text.
    Text,
    /// Text that is base64.
    Base64,
    /// True or false.
    Boolean,
    /// A whole number of 32 bits.
    Int32,
    /// A whole number of 64 bits.
    Int64,
    /// An amount.
    Quantity,
    /// A whole number or text.
    IntOrString,
    /// A point in time.
    Time,
    /// Anything.
    Any,
}

/// How the items of a list are told apart, for server-side apply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListKind {
    /// Not at all: the list is one value.
    Atomic,
    /// By their value.
    Set,
    /// By these fields.
    Map(Vec<&'static str>),
}

/// A field of a definition.
#[derive(Clone, Debug)]
pub struct Field {
    /// Its type.
    pub of: Type,
    /// For lists, how items are told apart.
    pub list: ListKind,
    /// Whether a map or object is one value.
    pub atomic: bool,
    /// For strategic merge patches: the field that tells items apart.
    pub merge_key: Option<&'static str>,
    /// For strategic merge patches: whether lists merge.
    pub merges: bool,
    /// For strategic merge patches: whether fields that are not in the patch's `$retainKeys` go.
    pub retains_keys: bool,
}

/// An object type.
#[derive(Debug)]
pub struct Definition {
    /// Its fields.
    pub fields: BTreeMap<&'static str, Field>,
    /// Whether it is one value for server-side apply.
    pub atomic: bool,
}

struct Schema {
    raw: Value,
    definitions: OnceLock<BTreeMap<&'static str, Definition>>,
}

fn schema() -> &'static Schema {
    static SCHEMA: OnceLock<Schema> = OnceLock::new();
    SCHEMA.get_or_init(|| {
        let mut text = String::new();
        flate2::read::GzDecoder::new(PACKED).read_to_string(&mut text).expect("the data can be unpacked, as its test checks");
        Schema { raw: serde_json::from_str(&text).expect("the data is JSON, as its test checks"), definitions: OnceLock::new() }
    })
}

/// All definitions as OpenAPI has them, with references by bare name.
pub fn raw() -> &'static Value {
    &schema().raw
}

/// The definition `name`.
pub fn definition(name: &str) -> Option<&'static Definition> {
    let schema = schema();
    schema.definitions.get_or_init(|| schema.parse()).get(name)
}

impl Schema {
    fn parse(&'static self) -> BTreeMap<&'static str, Definition> {
        let all = self.raw.as_object().into_iter().flatten();
        let objects = all.filter_map(|(name, definition)| {
            let fields = definition.get("properties")?.as_object()?;
            let fields = fields.iter().map(|(field, schema)| (field.as_str(), self.field(schema))).collect();
            Some((name.as_str(), Definition { fields, atomic: is_atomic(definition) }))
        });
        objects.collect()
    }

    fn field(&'static self, schema: &'static Value) -> Field {
        let keys = schema["x-kubernetes-list-map-keys"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let strategies = schema["x-kubernetes-patch-strategy"].as_str().unwrap_or_default();
        Field {
            of: self.type_of(schema),
            list: match schema["x-kubernetes-list-type"].as_str() {
                Some("set") => ListKind::Set,
                Some("map") => ListKind::Map(keys.collect()),
                _ => ListKind::Atomic,
            },
            atomic: is_atomic(schema),
            merge_key: schema["x-kubernetes-patch-merge-key"].as_str(),
            merges: strategies.split(',').any(|strategy| strategy == "merge"),
            retains_keys: strategies.split(',').any(|strategy| strategy == "retainKeys"),
        }
    }

    fn type_of(&'static self, schema: &'static Value) -> Type {
        if let Some(target) = schema.get("$ref").and_then(Value::as_str) {
            return match target {
                QUANTITY => Type::Quantity,
                INT_OR_STRING => Type::IntOrString,
                FIELDS_V1 => Type::Any,
                _ => match self.raw.get(target) {
                    Some(definition) if definition.get("properties").is_some() => Type::Named(target),
                    Some(definition) => self.type_of(definition),
                    None => Type::Any,
                },
            };
        }
        let format = schema.get("format").and_then(Value::as_str);
        match (schema.get("type").and_then(Value::as_str), format) {
            (Some("string"), Some("byte")) => Type::Base64,
            (Some("string"), Some("date-time")) => Type::Time,
            (Some("string"), _) => Type::Text,
            (Some("boolean"), _) => Type::Boolean,
            (Some("integer"), Some("int64")) => Type::Int64,
            (Some("integer"), _) => Type::Int32,
            (Some("array"), _) => Type::List(Box::new(schema.get("items").map_or(Type::Any, |items| self.type_of(items)))),
            (Some("object"), _) => match schema.get("additionalProperties") {
                Some(values) => Type::MapOf(Box::new(self.type_of(values))),
                None => Type::Any,
            },
            _ => Type::Any,
        }
    }
}

fn is_atomic(schema: &Value) -> bool {
    schema["x-kubernetes-map-type"] == "atomic"
}
