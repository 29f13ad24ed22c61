//! JSON patches (RFC 6902).

use serde::Deserialize;
use serde_json::Value;

use super::PatchError;

/// The most operations in one patch, as in the reference.
const OPERATIONS_MAX: usize = 10_000;

/// The largest object that a patch may make by copying, in values.
const COPIED_VALUES_MAX: usize = 200_000;

#[derive(Deserialize)]
#[serde(tag = "op", rename_all = "lowercase")]
enum Operation {
    Add { path: String, value: Value },
    Remove { path: String },
    Replace { path: String, value: Value },
    Move { from: String, path: String },
    Copy { from: String, path: String },
    Test { path: String, value: Value },
}

/// Changes an object by a JSON patch: all of it, or an error.
///
/// # Errors
/// The patch is not well formed, or does not fit the object.
pub fn apply_json_patch(object: &mut Value, patch: &Value) -> Result<(), PatchError> {
    let operations = patch.as_array().ok_or_else(|| PatchError::Malformed("a JSON patch is a list of operations".to_owned()))?;
    if operations.len() > OPERATIONS_MAX {
        let message = format!("The allowed maximum operations in a JSON patch is {OPERATIONS_MAX}, got {}", operations.len());
        return Err(PatchError::Malformed(message));
    }
    let mut copied = 0;
    for operation in operations {
        let operation = Operation::deserialize(operation).map_err(|error| PatchError::Malformed(error.to_string()))?;
        match operation {
            Operation::Add { path, value } => add(object, &path, value)?,
            Operation::Remove { path } => drop(remove(object, &path)?),
            Operation::Replace { path, value } => *find(object, &path)? = value,
            Operation::Move { from, path } => {
                let value = remove(object, &from)?;
                add(object, &path, value)?;
            }
            Operation::Copy { from, path } => {
                let value = find(object, &from)?.clone();
                copied += size(&value);
                if copied > COPIED_VALUES_MAX {
                    return Err(PatchError::Malformed("the patch copies too much".to_owned()));
                }
                add(object, &path, value)?;
            }
            Operation::Test { path, value } => {
                if find(object, &path).map(|found| found.clone()).unwrap_or(Value::Null) != value {
                    return Err(PatchError::Unfit(format!("testing value {path} failed: test failed")));
                }
            }
        }
    }
    Ok(())
}

fn size(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(size).sum::<usize>(),
        Value::Object(fields) => 1 + fields.values().map(size).sum::<usize>(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 1,
    }
}

fn missing(path: &str) -> PatchError {
    PatchError::Unfit(format!("the patch names {path}, which the object does not have: missing value"))
}

/// The steps of a pointer.
fn steps(path: &str) -> Result<Vec<String>, PatchError> {
    match path.strip_prefix('/') {
        Some(rest) => Ok(rest.split('/').map(|step| step.replace("~1", "/").replace("~0", "~")).collect()),
        None if path.is_empty() => Ok(Vec::new()),
        None => Err(PatchError::Malformed(format!("the path {path:?} does not begin with /"))),
    }
}

fn find<'v>(object: &'v mut Value, path: &str) -> Result<&'v mut Value, PatchError> {
    steps(path)?.iter().try_fold(object, |value, step| descend(value, step)).ok_or_else(|| missing(path))
}

fn descend<'v>(value: &'v mut Value, step: &str) -> Option<&'v mut Value> {
    match value {
        Value::Object(fields) => fields.get_mut(step),
        Value::Array(items) => items.get_mut(index(step)?),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    }
}

fn index(step: &str) -> Option<usize> {
    let plain = step == "0" || !step.starts_with(['0', '+']);
    plain.then(|| step.parse().ok())?
}

fn add(object: &mut Value, path: &str, value: Value) -> Result<(), PatchError> {
    let steps = steps(path)?;
    let Some((last, above)) = steps.split_last() else {
        *object = value;
        return Ok(());
    };
    let place = above.iter().try_fold(object, |value, step| descend(value, step)).ok_or_else(|| missing(path))?;
    match place {
        Value::Object(fields) => {
            fields.insert(last.clone(), value);
        }
        Value::Array(items) if last == "-" => items.push(value),
        Value::Array(items) => {
            let at = index(last).filter(|at| *at <= items.len()).ok_or_else(|| missing(path))?;
            items.insert(at, value);
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => return Err(missing(path)),
    }
    Ok(())
}

fn remove(object: &mut Value, path: &str) -> Result<Value, PatchError> {
    let steps = steps(path)?;
    let Some((last, above)) = steps.split_last() else {
        return Ok(object.take());
    };
    let place = above.iter().try_fold(object, |value, step| descend(value, step)).ok_or_else(|| missing(path))?;
    match place {
        Value::Object(fields) => fields.remove(last).ok_or_else(|| missing(path)),
        Value::Array(items) => {
            let at = index(last).filter(|at| *at < items.len()).ok_or_else(|| missing(path))?;
            Ok(items.remove(at))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Err(missing(path)),
    }
}
