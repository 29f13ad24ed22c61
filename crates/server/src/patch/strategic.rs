//! Strategic merge patches: merge patches that know which lists merge by a key, and take directives.
//!
//! Directives: `$patch: replace|delete|merge`, `$deleteFromPrimitiveList/FIELD`, `$setElementOrder/FIELD`,
//! `$retainKeys`.

use serde_json::{Map, Value};

use super::PatchError;
use crate::schema::{Field, ListKind, Type, definition};

const PATCH: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const DELETE_FROM: &str = "$deleteFromPrimitiveList/";
const ELEMENT_ORDER: &str = "$setElementOrder/";

/// The deepest nesting of a patch that is followed.
const DEPTH_MAX: usize = 64;

/// Changes an object of the type `name` by a strategic merge patch.
///
/// # Errors
/// The patch is not well formed.
pub fn apply_strategic_patch(object: &mut Value, patch: &Value, name: &'static str) -> Result<(), PatchError> {
    merge(object, patch, &Type::Named(name), None, 0)
}

fn malformed<T>(message: String) -> Result<T, PatchError> {
    Err(PatchError::Malformed(message))
}

/// Merges a map or object. `field` is where it stands.
fn merge(target: &mut Value, patch: &Value, of: &Type, field: Option<&Field>, depth: usize) -> Result<(), PatchError> {
    let Value::Object(changes) = patch else {
        *target = patch.clone();
        return Ok(());
    };
    if depth > DEPTH_MAX {
        return malformed("the patch is nested too deep".to_owned());
    }
    match changes.get(PATCH).map(|directive| directive.as_str().unwrap_or_default()) {
        Some("replace") => {
            *target = clean(patch);
            return Ok(());
        }
        Some("delete") => {
            *target = Value::Object(Map::new());
            return Ok(());
        }
        Some("merge") | None => {}
        Some(other) => return malformed(format!("unrecognized value for directive $patch: {other:?}")),
    }
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Some(fields) = target.as_object_mut() else { return Ok(()) };
    if let Some(retained) = changes.get(RETAIN_KEYS) {
        if !field.is_some_and(|field| field.retains_keys) {
            return malformed("the $retainKeys directive is not allowed here".to_owned());
        }
        let retained = texts(retained);
        fields.retain(|name, _| retained.contains(&name.as_str()));
    }
    for (name, change) in changes.iter().filter(|(name, _)| !name.starts_with('$')) {
        let known = child(of, name);
        merge_field(fields, name, change, known.as_ref(), depth)?;
    }
    for (directive, values) in changes {
        if let Some(name) = directive.strip_prefix(DELETE_FROM)
            && let (Some(Value::Array(items)), Value::Array(unwanted)) = (fields.get_mut(name), values)
        {
            items.retain(|item| !unwanted.contains(item));
        }
    }
    for (directive, order) in changes {
        if let Some(name) = directive.strip_prefix(ELEMENT_ORDER)
            && let Some(Value::Array(items)) = fields.get_mut(name)
        {
            let key = child(of, name).and_then(|field| field.merge_key);
            reorder(items, order, key);
        }
    }
    Ok(())
}

fn merge_field(fields: &mut Map<String, Value>, name: &str, change: &Value, known: Option<&Field>, depth: usize) -> Result<(), PatchError> {
    let plain = Type::Any;
    match change {
        Value::Null => {
            fields.remove(name);
        }
        Value::Object(_) if deletes(change) && !known.is_some_and(|field| field.merges) => {
            // `$patch: delete` leaves the field empty, as in the reference's merging of maps.
            fields.remove(name);
        }
        Value::Object(_) => {
            let of = known.map_or(&plain, |field| &field.of);
            match fields.get_mut(name) {
                Some(target) => merge(target, change, of, known, depth + 1)?,
                None => {
                    let mut target = Value::Object(Map::new());
                    merge(&mut target, change, of, known, depth + 1)?;
                    fields.insert(name.to_owned(), target);
                }
            }
        }
        Value::Array(items) => {
            let merges = known.filter(|field| field.merges);
            match merges {
                None => {
                    fields
                        .insert(name.to_owned(), Value::Array(items.iter().filter(|item| item.get(PATCH).is_none()).map(clean).collect()));
                }
                Some(field) => {
                    let before = match fields.remove(name) {
                        Some(Value::Array(items)) => items,
                        _ => Vec::new(),
                    };
                    let after = merge_list(before, items, field, name, depth)?;
                    fields.insert(name.to_owned(), Value::Array(after));
                }
            }
        }
        Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            fields.insert(name.to_owned(), change.clone());
        }
    }
    Ok(())
}

fn deletes(change: &Value) -> bool {
    change.get(PATCH).and_then(Value::as_str) == Some("delete")
}

fn merge_list(mut items: Vec<Value>, changes: &[Value], field: &Field, name: &str, depth: usize) -> Result<Vec<Value>, PatchError> {
    let Some(key) = field.merge_key else {
        // Plain values: the union.
        for change in changes {
            if !items.contains(change) {
                items.push(change.clone());
            }
        }
        return Ok(items);
    };
    if changes.iter().any(|change| change.get(PATCH).and_then(Value::as_str) == Some("replace")) {
        return Ok(changes.iter().filter(|change| change.get(PATCH).is_none()).map(clean).collect());
    }
    let Type::List(of) = &field.of else { return Ok(items) };
    for change in changes {
        let Some(wanted) = change.get(key) else {
            return malformed(format!("map: {change} does not contain declared merge key: {key} (in {name})"));
        };
        let at = items.iter().position(|item| item.get(key) == Some(wanted));
        if deletes(change) {
            items.retain(|item| item.get(key) != Some(wanted));
            continue;
        }
        match at {
            Some(at) => merge(&mut items[at], change, of, Some(field), depth + 1)?,
            None => {
                let mut item = Value::Object(Map::new());
                merge(&mut item, change, of, Some(field), depth + 1)?;
                items.push(item);
            }
        }
    }
    Ok(items)
}

/// Puts the items that are named into the order given. Others keep their place relative to the item before them.
fn reorder(items: &mut Vec<Value>, order: &Value, key: Option<&str>) {
    let Some(order) = order.as_array() else { return };
    let identity = |item: &Value| match key {
        Some(key) => item.get(key).cloned().unwrap_or(Value::Null),
        None => item.clone(),
    };
    let wanted: Vec<Value> = order.iter().map(identity).collect();
    let rank = |item: &Value| wanted.iter().position(|wanted| *wanted == identity(item));
    // What is not named goes with the named item that stands before it.
    let mut groups: Vec<(Option<usize>, Vec<Value>)> = vec![(None, Vec::new())];
    for item in items.drain(..) {
        match rank(&item) {
            Some(rank) => groups.push((Some(rank), vec![item])),
            None => {
                if let Some((_, group)) = groups.last_mut() {
                    group.push(item);
                }
            }
        }
    }
    groups.sort_by_key(|(rank, _)| *rank);
    items.extend(groups.into_iter().flat_map(|(_, group)| group));
}

fn child(of: &Type, name: &str) -> Option<Field> {
    if let Type::MapOf(values) = of {
        let of = (**values).clone();
        return Some(Field { of, list: ListKind::Atomic, atomic: false, merge_key: None, merges: false, retains_keys: false });
    }
    let Type::Named(of) = of else { return None };
    definition(of)?.fields.get(name).cloned()
}

fn texts(value: &Value) -> Vec<&str> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

/// The value without directives and nulls.
fn clean(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let fields = fields.iter().filter(|(name, value)| !name.starts_with('$') && !value.is_null());
            Value::Object(fields.map(|(name, value)| (name.clone(), clean(value))).collect())
        }
        Value::Array(items) => Value::Array(items.iter().map(clean).collect()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    }
}
