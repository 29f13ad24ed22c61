//! The strict walk over an object along its type. Finds everything that does not fit at once, and gives the object
//! without it, so that the rest can still be validated.

use serde_json::{Map, Value};

use super::error::{SchemaError, SchemaErrorKind};
use super::{Object, Type, UnknownKind, hint, schemas, type_of_kind};
use crate::path::FieldPath;
use crate::quantity::Quantity;
use crate::read::{Data, Document, Entry, Node, Place};

/// The most errors collected for one object; after that the rest of the object is not looked at.
pub const SCHEMA_ERRORS_MAX: usize = 100;

/// Fields that the API description calls required although their absence means something legal: the API server takes
/// the zero value.
const ABSENT_IS_LEGAL: &[(&str, &str)] = &[
    // `sleep: {}` sleeps zero seconds.
    ("io.k8s.api.core.v1.SleepAction", "seconds"),
    // Headers and kernel parameters may be empty.
    ("io.k8s.api.core.v1.HTTPHeader", "value"),
    ("io.k8s.api.core.v1.Sysctl", "value"),
];

/// An object after the strict walk.
#[derive(Clone, Debug, PartialEq)]
pub struct Checked {
    /// The object without what did not fit, without nulls, with amounts in canonical form: it can be taken into the
    /// typed API objects.
    pub value: Value,
    /// Everything that did not fit, in the order of the text.
    pub errors: Vec<SchemaError>,
}

/// Checks an object against the type of its kind.
pub fn check(document: &Document) -> Checked {
    let name = match type_of_kind(&document.api_version, &document.kind) {
        Ok(name) => name,
        Err(UnknownKind::Elsewhere) => return Checked { value: document.value.clone(), errors: Vec::new() },
        Err(unknown) => {
            return Checked { value: document.value.clone(), errors: vec![unknown_kind(document, unknown)] };
        }
    };
    check_as(document, name)
}

/// Checks an object against the type `name`, whatever its kind.
pub fn check_as(document: &Document, name: &'static str) -> Checked {
    let mut walk = Walk { root: name, errors: Vec::new() };
    let place = Place { key: None, value: document.positions.span };
    let value = walk.value(&document.positions, &Type::Named(name), &FieldPath::root(), place, None);
    Checked { value: value.unwrap_or_else(|| Value::Object(Map::new())), errors: walk.errors }
}

fn unknown_kind(document: &Document, unknown: UnknownKind) -> SchemaError {
    let field = match unknown {
        UnknownKind::OtherVersion { .. } => "apiVersion",
        UnknownKind::Near(_) | UnknownKind::Elsewhere | UnknownKind::Other => "kind",
    };
    let path = FieldPath::new(field);
    let (_, place) = document.place(&path);
    let (note, help) = match unknown {
        UnknownKind::OtherVersion { version, kind } => (format!("{kind} is in `{version}`"), None),
        UnknownKind::Near(kind) => (format!("did you mean `{kind}`?"), None),
        UnknownKind::Elsewhere | UnknownKind::Other => {
            let kinds: Vec<_> = super::KINDS.iter().map(|known| known.1).collect();
            (String::new(), Some(format!("the kinds known here are {}", kinds.join(", "))))
        }
    };
    let kind = SchemaErrorKind::UnknownKind { kind: document.kind.clone(), api_version: document.api_version.clone() };
    SchemaError { kind, path, place, note, help }
}

struct Walk {
    /// The type of the whole object.
    root: &'static str,
    errors: Vec<SchemaError>,
}

/// The object type around a value, and its field that the value is in.
type Around<'a> = Option<(&'static str, &'a str)>;

impl Walk {
    /// The value as it will be, or `None` where it does not fit or is null.
    fn value(&mut self, node: &Node, of: &Type, path: &FieldPath, place: Place, around: Around<'_>) -> Option<Value> {
        if matches!(node.data, Data::Null) || self.errors.len() >= SCHEMA_ERRORS_MAX {
            return None;
        }
        let fitted = match (of, &node.data) {
            (Type::Any, _) => Ok(node.to_value()),
            (Type::Named(name), Data::Map(entries)) => {
                let object = schemas().object(name)?;
                return Some(self.object(name, object, node, entries, path, place));
            }
            (Type::MapOf(values), Data::Map(entries)) => {
                return Some(self.map(entries, values, path, around));
            }
            (Type::List(items), Data::List(nodes)) => {
                return Some(self.list(nodes, items, path, around));
            }
            (Type::Named(_) | Type::MapOf(_) | Type::List(_), _) => Err(None),
            (Type::Text, Data::Text(text)) => Ok(Value::String(text.clone())),
            (Type::Boolean, Data::Bool(value)) => Ok(Value::Bool(*value)),
            (Type::Int32 | Type::Int64 | Type::IntOrString, Data::Int(value)) => whole(of, *value),
            (Type::IntOrString, Data::Text(text)) => Ok(Value::String(text.clone())),
            (Type::Quantity, Data::Text(_) | Data::Int(_) | Data::Float(_)) => quantity(node),
            (Type::Base64, Data::Text(text)) => match crate::base64::decode(text) {
                Ok(_) => Ok(Value::String(text.clone())),
                Err(at) => Err(Some(format!("illegal base64 data at input byte {}", at.0))),
            },
            (Type::Time, Data::Text(text)) => time(text),
            (Type::Duration, Data::Text(text)) => match crate::duration::parse(text) {
                Some(_) => Ok(Value::String(text.clone())),
                None => Err(Some(format!("{text:?} is no length of time"))),
            },
            (
                Type::Text
                | Type::Boolean
                | Type::Int32
                | Type::Int64
                | Type::IntOrString
                | Type::Quantity
                | Type::Base64
                | Type::Time
                | Type::Duration,
                _,
            ) => Err(None),
        };
        match fitted {
            Ok(value) => Some(value),
            Err(reason) => {
                self.misfit(node, of, path, place, around, reason);
                None
            }
        }
    }

    fn misfit(&mut self, node: &Node, of: &Type, path: &FieldPath, place: Place, around: Around<'_>, reason: Option<String>) {
        let (kind, (note, help)) = match reason {
            Some(reason) => (SchemaErrorKind::BadValue { reason }, hint::bad_value(of)),
            None => {
                let (expected, found) = (hint::expected(of), hint::found(node));
                let hint = hint::wrong_type(node, of, around);
                (SchemaErrorKind::WrongType { expected, found }, hint)
            }
        };
        self.errors.push(SchemaError { kind, path: path.clone(), place, note, help });
    }

    fn object(
        &mut self,
        name: &'static str,
        object: &'static Object,
        node: &Node,
        entries: &[Entry],
        path: &FieldPath,
        place: Place,
    ) -> Value {
        let mut fields = Map::new();
        for entry in entries {
            if self.errors.len() >= SCHEMA_ERRORS_MAX {
                break;
            }
            let here = path.child(entry.key.clone());
            let entry_place = Place { key: Some(entry.key_span), value: entry.value.span };
            match object.fields.get(entry.key.as_str()) {
                Some(of) => {
                    let around = Some((name, entry.key.as_str()));
                    if let Some(value) = self.value(&entry.value, of, &here, entry_place, around) {
                        fields.insert(entry.key.clone(), value);
                    }
                }
                None => {
                    let (note, help) = hint::unknown_field(self.root, name, path, entry);
                    let kind = SchemaErrorKind::UnknownField;
                    self.errors.push(SchemaError { kind, path: here, place: entry_place, note, help });
                }
            }
        }
        // What the server reports is not for an author to complete.
        if !name.ends_with("Status") {
            self.missing(name, object, node, path, place);
        }
        Value::Object(fields)
    }

    fn missing(&mut self, name: &'static str, object: &'static Object, node: &Node, path: &FieldPath, place: Place) {
        for field in &object.required {
            let absent = node.get(field).is_none_or(|value| matches!(value.data, Data::Null));
            if absent && !ABSENT_IS_LEGAL.contains(&(name, field)) {
                let note = format!("`{field}` is missing here");
                let kind = SchemaErrorKind::Missing;
                self.errors.push(SchemaError { kind, path: path.child(*field), place, note, help: None });
            }
        }
    }

    fn list(&mut self, nodes: &[Node], items: &Type, path: &FieldPath, around: Around<'_>) -> Value {
        let mut values = Vec::with_capacity(nodes.len());
        for (index, node) in nodes.iter().enumerate() {
            let here = path.index(index);
            let place = Place { key: None, value: node.span };
            if matches!(node.data, Data::Null) && self.errors.len() < SCHEMA_ERRORS_MAX {
                self.misfit(node, items, &here, place, around, None);
            }
            match self.value(node, items, &here, place, around) {
                Some(value) => values.push(value),
                // Something must stand there, so that the items behind it keep their numbers.
                None => values.push(empty(items)),
            }
        }
        Value::Array(values)
    }

    fn map(&mut self, entries: &[Entry], values: &Type, path: &FieldPath, around: Around<'_>) -> Value {
        let mut map = Map::new();
        for entry in entries {
            let place = Place { key: Some(entry.key_span), value: entry.value.span };
            let value = self.value(&entry.value, values, &path.key(entry.key.clone()), place, around);
            let null = matches!(entry.value.data, Data::Null);
            match value {
                Some(value) => map.insert(entry.key.clone(), value),
                // As in the reference: a label without a value has the empty one.
                None if null && matches!(values, Type::Text | Type::Base64) => map.insert(entry.key.clone(), Value::String(String::new())),
                None => None,
            };
        }
        Value::Object(map)
    }
}

/// A whole number, within the range of its type.
fn whole(of: &Type, value: i64) -> Result<Value, Option<String>> {
    if matches!(of, Type::Int32 | Type::IntOrString) && i32::try_from(value).is_err() {
        let reason = format!("{value} is out of range, it must be between {} and {}", i32::MIN, i32::MAX);
        return Err(Some(reason));
    }
    Ok(Value::Number(value.into()))
}

/// An amount in canonical form. Numbers are taken as they would be written in JSON.
fn quantity(node: &Node) -> Result<Value, Option<String>> {
    let text = match &node.data {
        Data::Text(text) => text.trim().to_owned(),
        Data::Int(value) => value.to_string(),
        Data::Float(value) => value.to_string(),
        Data::Null | Data::Bool(_) | Data::List(_) | Data::Map(_) => return Err(None),
    };
    match Quantity::parse(&text) {
        Ok(quantity) => Ok(Value::String(quantity.to_string())),
        Err(error) => Err(Some(error.to_string())),
    }
}

fn time(text: &str) -> Result<Value, Option<String>> {
    let value = Value::String(text.to_owned());
    match serde_json::from_value::<k8s_openapi::apimachinery::pkg::apis::meta::v1::Time>(value.clone()) {
        Ok(_) => Ok(value),
        Err(_) => Err(Some(format!("{text:?} is no time like 2006-01-02T15:04:05Z"))),
    }
}

/// What takes the place of an item that does not fit.
fn empty(of: &Type) -> Value {
    match of {
        Type::Named(_) | Type::MapOf(_) => Value::Object(Map::new()),
        Type::List(_) => Value::Array(Vec::new()),
        Type::Text | Type::Base64 | Type::Time | Type::IntOrString => Value::String(String::new()),
        Type::Duration => Value::String("0s".to_owned()),
        Type::Quantity => Value::String("0".to_owned()),
        Type::Boolean => Value::Bool(false),
        Type::Int32 | Type::Int64 => Value::Number(0.into()),
        Type::Any => Value::Null,
    }
}
