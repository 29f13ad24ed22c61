//! Sets of fields of an object, as `managedFields` has them.
//!
//! A set is a tree; its steps are the keys of the `FieldsV1` form: `f:name` for a field, `k:{…}` for an item of a list
//! told apart by keys, `v:…` for an item of a list told apart by value.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::schema::{Field, ListKind, Type, definition};

/// The deepest nesting of a set that is read.
const DEPTH_MAX: usize = 64;

/// A set of fields: whether the thing itself is in it, and what is in it below.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldSet {
    /// Whether the thing at this place itself is in the set.
    pub itself: bool,
    /// What of it is in the set, by step.
    pub below: BTreeMap<String, Self>,
}

/// How a value is divided into fields.
pub(crate) enum Division<'a> {
    /// Not at all.
    Leaf,
    /// By name: each with its step, its name and how it is divided itself.
    Fields(Vec<(String, &'a str, Shape)>),
    /// Items of a list, each with its step.
    Items(Vec<(String, &'a Value)>, Shape),
}

/// The type of a value with how it merges.
#[derive(Clone, Debug)]
pub(crate) struct Shape {
    pub(crate) of: Type,
    pub(crate) list: ListKind,
    pub(crate) atomic: bool,
}

impl Shape {
    pub(crate) fn root(name: &'static str) -> Self {
        Self::plain(Type::Named(name))
    }

    pub(crate) fn plain(of: Type) -> Self {
        Self { of, list: ListKind::Atomic, atomic: false }
    }

    fn of_field(field: &Field) -> Self {
        Self { of: field.of.clone(), list: field.list.clone(), atomic: field.atomic }
    }

    /// The shape of a field or entry.
    pub(crate) fn child(&self, name: &str) -> Option<Self> {
        if let Type::MapOf(values) = &self.of {
            return Some(Self::plain((**values).clone()));
        }
        let Type::Named(of) = &self.of else { return None };
        definition(of)?.fields.get(name).map(Self::of_field)
    }

    /// The shape of an item of a list.
    pub(crate) fn item(&self) -> Option<Self> {
        let Type::List(items) = &self.of else { return None };
        Some(Self::plain((**items).clone()))
    }

    /// How a value of this shape is divided.
    pub(crate) fn divide<'a>(&self, value: &'a Value) -> Division<'a> {
        match (&self.of, value) {
            _ if self.atomic => Division::Leaf,
            (Type::Named(name), Value::Object(_)) if definition(name).is_none_or(|definition| definition.atomic) => Division::Leaf,
            (Type::Named(_) | Type::MapOf(_), Value::Object(fields)) => {
                let fields = fields.keys().filter_map(|name| Some((format!("f:{name}"), name.as_str(), self.child(name)?)));
                Division::Fields(fields.collect())
            }
            (Type::List(_), Value::Array(items)) => match (&self.list, self.item()) {
                (ListKind::Atomic, _) | (_, None) => Division::Leaf,
                (ListKind::Set, Some(_)) => {
                    let items = items.iter().map(|item| (format!("v:{item}"), item));
                    Division::Items(items.collect(), Self { of: Type::Any, list: ListKind::Atomic, atomic: true })
                }
                (ListKind::Map(keys), Some(shape)) => {
                    let items = items.iter().map(|item| (item_step(item, keys), item));
                    Division::Items(items.collect(), shape)
                }
            },
            _ => Division::Leaf,
        }
    }
}

/// The step to an item told apart by keys. Keys that are absent have their default.
fn item_step(item: &Value, keys: &[&'static str]) -> String {
    let keys: Map<String, Value> = keys
        .iter()
        .filter_map(|key| match item.get(key) {
            Some(value) => Some(((*key).to_owned(), value.clone())),
            None if *key == "protocol" => Some(((*key).to_owned(), json!("TCP"))),
            None => None,
        })
        .collect();
    format!("k:{}", Value::Object(keys))
}

impl FieldSet {
    fn leaf() -> Self {
        Self { itself: true, below: BTreeMap::new() }
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        !self.itself && self.below.is_empty()
    }

    /// All fields of a value.
    pub(crate) fn of(value: &Value, shape: &Shape) -> Self {
        match shape.divide(value) {
            Division::Leaf => Self::leaf(),
            Division::Fields(fields) if fields.is_empty() => Self::leaf(),
            Division::Fields(fields) => {
                let below = fields.into_iter().map(|(step, name, shape)| (step, Self::of(&value[name], &shape)));
                Self { itself: false, below: below.collect() }
            }
            Division::Items(items, _) if items.is_empty() => Self::leaf(),
            Division::Items(items, shape) => {
                let below = items.into_iter().map(|(step, item)| (step, Self { itself: true, ..Self::of(item, &shape) }));
                Self { itself: false, below: below.collect() }
            }
        }
    }

    /// The fields that `new` has otherwise than `old`, or that `old` does not have.
    pub(crate) fn changed(old: Option<&Value>, new: &Value, shape: &Shape) -> Self {
        let Some(old) = old else {
            let all = Self::of(new, shape);
            return Self { itself: true, ..all };
        };
        if old == new {
            return Self::default();
        }
        match shape.divide(new) {
            Division::Leaf => Self::leaf(),
            Division::Fields(fields) => {
                let mut set = Self::default();
                for (step, name, shape) in fields {
                    set.add(step, Self::changed(old.get(name), &new[name], &shape));
                }
                set
            }
            Division::Items(items, item_shape) => {
                let before = match shape.divide(old) {
                    Division::Items(items, _) => items,
                    Division::Leaf | Division::Fields(_) => Vec::new(),
                };
                let mut set = Self::default();
                for (step, item) in items {
                    let before = before.iter().find(|(known, _)| *known == step).map(|(_, item)| *item);
                    set.add(step, Self::changed(before, item, &item_shape));
                }
                set
            }
        }
    }

    fn add(&mut self, step: String, set: Self) {
        if !set.is_empty() {
            self.below.insert(step, set);
        }
    }

    /// What is in either.
    pub fn union(mut self, other: &Self) -> Self {
        self.itself |= other.itself;
        for (step, set) in &other.below {
            let own = self.below.remove(step).unwrap_or_default();
            self.below.insert(step.clone(), own.union(set));
        }
        self
    }

    /// What is in this but not in the other.
    pub fn without(&self, other: &Self) -> Self {
        let mut set = Self { itself: self.itself && !other.itself, below: BTreeMap::new() };
        for (step, own) in &self.below {
            match other.below.get(step) {
                Some(other) => set.add(step.clone(), own.without(other)),
                None => set.add(step.clone(), own.clone()),
            }
        }
        set
    }

    /// What is in both.
    pub fn common(&self, other: &Self) -> Self {
        let mut set = Self { itself: self.itself && other.itself, below: BTreeMap::new() };
        for (step, own) in &self.below {
            if let Some(other) = other.below.get(step) {
                set.add(step.clone(), own.common(other));
            }
        }
        set
    }

    /// Without what lies at a path of steps.
    pub fn remove(&mut self, path: &[&str]) {
        let Some((first, rest)) = path.split_first() else { return };
        let Some(below) = self.below.get_mut(*first) else { return };
        if !rest.is_empty() {
            below.remove(rest);
        }
        if rest.is_empty() || below.is_empty() {
            self.below.remove(*first);
        }
    }

    /// What of it a value still has.
    pub(crate) fn present_in(&self, value: &Value, shape: &Shape) -> Self {
        let mut set = Self { itself: self.itself, below: BTreeMap::new() };
        match shape.divide(value) {
            Division::Leaf => {}
            Division::Fields(fields) => {
                for (step, name, shape) in fields {
                    if let Some(own) = self.below.get(&step) {
                        set.add(step, own.present_in(&value[name], &shape));
                    }
                }
            }
            Division::Items(items, shape) => {
                for (step, item) in items {
                    if let Some(own) = self.below.get(&step) {
                        set.add(step, own.present_in(item, &shape));
                    }
                }
            }
        }
        set
    }

    /// The paths in it, as conflicts name them: `.spec.containers[name="a"].image`.
    pub fn paths(&self) -> Vec<String> {
        let mut paths = Vec::new();
        self.collect("", &mut paths);
        paths
    }

    fn collect(&self, at: &str, paths: &mut Vec<String>) {
        if self.itself {
            paths.push(at.to_owned());
        }
        for (step, set) in &self.below {
            set.collect(&format!("{at}{}", shown(step)), paths);
        }
    }

    /// The `FieldsV1` form.
    pub fn to_json(&self) -> Value {
        let mut fields = Map::new();
        if self.itself && !self.below.is_empty() {
            fields.insert(".".to_owned(), json!({}));
        }
        fields.extend(self.below.iter().map(|(step, set)| (step.clone(), set.to_json())));
        Value::Object(fields)
    }

    /// Reads the `FieldsV1` form; what is not understood is left out.
    pub fn from_json(value: &Value) -> Self {
        let mut set = Self::read(value, 0);
        set.itself = false;
        set
    }

    fn read(value: &Value, depth: usize) -> Self {
        let empty = Map::new();
        let fields = value.as_object().unwrap_or(&empty);
        let mut set = Self { itself: fields.is_empty() || fields.contains_key("."), below: BTreeMap::new() };
        if depth < DEPTH_MAX {
            for (step, value) in fields.iter().filter(|(step, _)| step.as_str() != ".") {
                set.below.insert(canonical(step), Self::read(value, depth + 1));
            }
        }
        set
    }
}

/// The step as this module writes it, whatever blanks and order its JSON has.
fn canonical(step: &str) -> String {
    match step.split_at_checked(2) {
        Some((kind @ ("k:" | "v:"), json)) => match serde_json::from_str::<Value>(json) {
            Ok(value) => format!("{kind}{value}"),
            Err(_) => step.to_owned(),
        },
        _ => step.to_owned(),
    }
}

fn shown(step: &str) -> String {
    match step.split_at_checked(2) {
        Some(("f:", name)) => format!(".{name}"),
        Some(("k:", keys)) => {
            let keys: Map<String, Value> = serde_json::from_str(keys).unwrap_or_default();
            let keys: Vec<_> = keys.iter().map(|(key, value)| format!("{key}={value}")).collect();
            format!("[{}]", keys.join(","))
        }
        Some(("v:", value)) => format!("[={value}]"),
        _ => format!(".{step}"),
    }
}
