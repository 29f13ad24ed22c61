//! The text of a request body to a JSON value, with the keys that are there twice.

use std::cell::RefCell;
use std::fmt;

use serde::de::{DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use crate::schema::Misfit;

/// The most keys that are there twice of which is told.
const DUPLICATES_MAX: usize = 100;

/// Reads JSON. As in the reference, of two values for a key the last counts.
///
/// # Errors
/// It is no JSON.
pub fn read_json(text: &[u8]) -> Result<(Value, Vec<Misfit>), serde_json::Error> {
    let duplicates = RefCell::new(Vec::new());
    let mut reader = serde_json::Deserializer::from_slice(text);
    let value = Node { path: String::new(), duplicates: &duplicates }.deserialize(&mut reader)?;
    reader.end()?;
    Ok((value, duplicates.into_inner()))
}

/// Reads YAML that holds one object.
///
/// # Errors
/// It is no YAML with one object; the text says where.
pub fn read_yaml(text: &[u8]) -> Result<(Value, Vec<Misfit>), String> {
    if text.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{') {
        return read_json(text).map_err(|error| error.to_string());
    }
    let source = api::Source::new("body", text).map_err(|error| error.to_string())?;
    let mut reading = api::read(&source);
    let mut duplicates = Vec::new();
    for error in &reading.errors {
        let api::ReadError::DuplicateKey { key, .. } = error else { return Err(error.to_string()) };
        duplicates.push(Misfit::Duplicate(key.clone()));
    }
    match reading.documents.len() {
        1 => Ok((reading.documents.remove(0).value, duplicates)),
        count => Err(format!("there must be one object, not {count}")),
    }
}

struct Node<'a> {
    path: String,
    duplicates: &'a RefCell<Vec<Misfit>>,
}

impl Node<'_> {
    fn child(&self, path: String) -> Self {
        Node { path, duplicates: self.duplicates }
    }
}

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = Value;

    fn deserialize<D: serde::Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        serde_json::Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("a number is out of range"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = items.next_element_seed(self.child(format!("{}[{}]", self.path, values.len())))? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut fields = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            let path = if self.path.is_empty() { key.clone() } else { format!("{}.{key}", self.path) };
            let value = entries.next_value_seed(self.child(path.clone()))?;
            if fields.insert(key, value).is_some() {
                let mut duplicates = self.duplicates.borrow_mut();
                if duplicates.len() >= DUPLICATES_MAX {
                    return Err(A::Error::custom("too many keys are there twice"));
                }
                duplicates.push(Misfit::Duplicate(path));
            }
        }
        Ok(Value::Object(fields))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn keys_that_are_there_twice_are_told_with_their_path() {
        let text = br#"{"a":1,"b":[{"c":1,"c":2.5}],"a":null}"#;
        let (value, duplicates) = read_json(text).expect("JSON");
        assert_eq!(value, json!({ "a": null, "b": [{ "c": 2.5 }] }));
        assert_eq!(duplicates, [Misfit::Duplicate("b[0].c".to_owned()), Misfit::Duplicate("a".to_owned())]);
        assert!(read_json(b"{} x").is_err());
        assert!(read_json(b"[1,").is_err());
    }
}
