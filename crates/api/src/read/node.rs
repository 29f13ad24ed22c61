//! A value of a manifest with the place of every part of it.

use serde_json::{Map, Number, Value};

use crate::path::{FieldPath, Segment};
use crate::source::Span;

/// A value and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// The place of the value. For a block map or list that is the place of its first entry.
    pub span: Span,
    /// The value.
    pub data: Data,
}

/// The value of a [`Node`].
#[derive(Clone, Debug, PartialEq)]
pub enum Data {
    /// `null`, `~` or nothing.
    Null,
    /// A boolean.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A number that is not whole, or too large for `i64`; always finite.
    Float(f64),
    /// Text.
    Text(String),
    /// A list.
    List(Vec<Node>),
    /// A map, in the order of the text.
    Map(Vec<Entry>),
}

/// One entry of a map.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The key, as text.
    pub key: String,
    /// Where the key stands.
    pub key_span: Span,
    /// The value.
    pub value: Node,
}

/// Where a field stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its key; `None` for items of lists and for the object itself.
    pub key: Option<Span>,
    /// Its value.
    pub value: Span,
}

impl Node {
    /// What it is, with its article.
    pub fn describe(&self) -> &'static str {
        match &self.data {
            Data::Null => "nothing",
            Data::Bool(_) => "a boolean",
            Data::Int(_) | Data::Float(_) => "a number",
            Data::Text(_) => "a string",
            Data::List(_) => "a list",
            Data::Map(_) => "a map",
        }
    }

    /// The value of the entry `key`, where this is a map that has it.
    pub fn get(&self, key: &str) -> Option<&Self> {
        self.entry(key).map(|entry| &entry.value)
    }

    /// The entry `key`, where this is a map that has it.
    pub fn entry(&self, key: &str) -> Option<&Entry> {
        match &self.data {
            Data::Map(entries) => entries.iter().rev().find(|entry| entry.key == key),
            Data::Null | Data::Bool(_) | Data::Int(_) | Data::Float(_) | Data::Text(_) | Data::List(_) => None,
        }
    }

    /// The entries, where this is a map; none otherwise.
    pub fn entries(&self) -> &[Entry] {
        match &self.data {
            Data::Map(entries) => entries,
            Data::Null | Data::Bool(_) | Data::Int(_) | Data::Float(_) | Data::Text(_) | Data::List(_) => &[],
        }
    }

    /// The items, where this is a list; none otherwise.
    pub fn items(&self) -> &[Self] {
        match &self.data {
            Data::List(items) => items,
            Data::Null | Data::Bool(_) | Data::Int(_) | Data::Float(_) | Data::Text(_) | Data::Map(_) => &[],
        }
    }

    /// The text, where this is text.
    pub fn text(&self) -> Option<&str> {
        match &self.data {
            Data::Text(text) => Some(text),
            Data::Null | Data::Bool(_) | Data::Int(_) | Data::Float(_) | Data::List(_) | Data::Map(_) => None,
        }
    }

    /// The value without places.
    pub fn to_value(&self) -> Value {
        match &self.data {
            Data::Null => Value::Null,
            Data::Bool(value) => Value::Bool(*value),
            Data::Int(value) => Value::Number((*value).into()),
            Data::Float(value) => Number::from_f64(*value).map_or(Value::Null, Value::Number),
            Data::Text(text) => Value::String(text.clone()),
            Data::List(items) => Value::Array(items.iter().map(Self::to_value).collect()),
            Data::Map(entries) => {
                let pairs = entries.iter().map(|entry| (entry.key.clone(), entry.value.to_value()));
                Value::Object(pairs.collect::<Map<_, _>>())
            }
        }
    }

    /// The value of a field; `None` where the manifest does not have it.
    pub fn descendant(&self, path: &FieldPath) -> Option<&Self> {
        path.segments().iter().try_fold(self, |node, segment| Some(node.step(segment)?.0))
    }

    /// The place of a field; `None` where the manifest does not have it.
    pub fn find(&self, path: &FieldPath) -> Option<Place> {
        let mut place = Place { key: None, value: self.span };
        let mut node = self;
        for segment in path.segments() {
            (node, place) = node.step(segment)?;
        }
        Some(place)
    }

    /// The place of a field, or of the nearest thing around it that the manifest has, and the path of what was found.
    pub fn find_nearest(&self, path: &FieldPath) -> (FieldPath, Place) {
        let mut place = Place { key: None, value: self.span };
        let mut found = FieldPath::root();
        let mut node = self;
        for segment in path.segments() {
            let Some((next, next_place)) = node.step(segment) else {
                break;
            };
            (node, place) = (next, next_place);
            found = found.with(segment.clone());
        }
        (found, place)
    }

    fn step(&self, segment: &Segment) -> Option<(&Self, Place)> {
        match (segment, &self.data) {
            (Segment::Field(name), Data::Map(_)) => self.entry(name),
            (Segment::Key(name), Data::Map(_)) => self.entry(name),
            (Segment::Index(index), Data::List(items)) => {
                let item = items.get(*index)?;
                return Some((item, Place { key: None, value: item.span }));
            }
            _ => None,
        }
        .map(|entry| (&entry.value, Place { key: Some(entry.key_span), value: entry.value.span }))
    }
}
