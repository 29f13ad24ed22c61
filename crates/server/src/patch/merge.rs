//! JSON merge patches (RFC 7386).

use serde_json::{Map, Value};

/// The deepest nesting of a patch that is followed; deeper values replace.
const DEPTH_MAX: usize = 128;

/// Changes an object by a merge patch.
pub fn apply_merge_patch(object: &mut Value, patch: &Value) {
    merge(object, patch, 0);
}

fn merge(target: &mut Value, patch: &Value, depth: usize) {
    let Value::Object(changes) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Some(fields) = target.as_object_mut() else { return };
    for (name, change) in changes {
        if change.is_null() {
            fields.remove(name);
        } else if depth < DEPTH_MAX {
            merge(fields.entry(name.clone()).or_insert(Value::Null), change, depth + 1);
        } else {
            fields.insert(name.clone(), change.clone());
        }
    }
}
