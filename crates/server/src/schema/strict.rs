//! Taking a JSON object into its type, as the reference's decoder does: fields that are not known are dropped and told
//! of, values of a wrong type are errors, nulls are absent.

use serde_json::{Map, Value};

use super::{Type, definition};

/// The most unknown fields told of in one object.
const MISFITS_MAX: usize = 100;

/// The deepest nesting followed.
const DEPTH_MAX: usize = 64;

/// A field that does not belong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Misfit {
    /// The type has no such field: its path.
    Unknown(String),
    /// It is there twice.
    Duplicate(String),
}

impl std::fmt::Display for Misfit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unknown(path) => write!(f, "unknown field \"{path}\""),
            Self::Duplicate(path) => write!(f, "duplicate field \"{path}\""),
        }
    }
}

/// A value of the wrong type, in the words of the reference's decoder.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Mistype(pub String);

/// Makes an object fit its type. What is not known is dropped, and told of.
///
/// # Errors
/// A value has the wrong type.
pub fn check(value: &mut Value, definition: &'static str, misfits: &mut Vec<Misfit>) -> Result<(), Mistype> {
    let mut walk = Walk { misfits, owner: definition };
    walk.value(value, &Type::Named(definition), "", "", 0)
}

struct Walk<'m> {
    misfits: &'m mut Vec<Misfit>,
    /// The definition around the value.
    owner: &'static str,
}

impl Walk<'_> {
    /// `path` is as people write it, `dotted` is without indexes.
    fn value(&mut self, value: &mut Value, of: &Type, path: &str, dotted: &str, depth: usize) -> Result<(), Mistype> {
        if depth > DEPTH_MAX {
            return Err(Mistype(format!("json: {path} is nested too deep")));
        }
        match (of, &mut *value) {
            (_, Value::Null) | (Type::Any, _) => Ok(()),
            (Type::Named(name), Value::Object(fields)) => self.object(fields, name, path, dotted, depth),
            (Type::MapOf(values), Value::Object(entries)) => {
                if matches!(**values, Type::Text | Type::Base64) {
                    // A label without a value has the empty one.
                    entries.values_mut().filter(|value| value.is_null()).for_each(|value| *value = Value::String(String::new()));
                }
                entries.iter_mut().try_for_each(|(key, value)| self.value(value, values, &join(path, key), &join(dotted, key), depth + 1))
            }
            (Type::List(items), Value::Array(values)) => values
                .iter_mut()
                .enumerate()
                .try_for_each(|(index, value)| self.value(value, items, &format!("{path}[{index}]"), dotted, depth + 1)),
            (Type::Text, Value::String(_)) | (Type::Boolean, Value::Bool(_)) | (Type::IntOrString, Value::String(_)) => Ok(()),
            (Type::Int32 | Type::Int64 | Type::IntOrString, Value::Number(number)) => match whole(number) {
                Some(whole) if of == &Type::Int64 || i32::try_from(whole).is_ok() => {
                    *value = Value::from(whole);
                    Ok(())
                }
                _ => Err(self.mistype(&format!("number {number}"), of, dotted)),
            },
            (Type::Quantity, Value::String(_) | Value::Number(_)) => {
                let text = value.as_str().map_or_else(|| value.to_string(), |text| text.trim().to_owned());
                let quantity = api::Quantity::parse(&text).map_err(|error| {
                    Mistype(format!(
                        "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$' ({path}: {error})"
                    ))
                })?;
                *value = Value::String(quantity.to_string());
                Ok(())
            }
            (Type::Base64, Value::String(text)) => {
                use base64::Engine as _;
                let clean: String = text.chars().filter(|c| !matches!(c, '\r' | '\n')).collect();
                match base64::engine::general_purpose::STANDARD.decode(clean) {
                    Ok(_) => Ok(()),
                    Err(base64::DecodeError::InvalidByte(at, _)) => Err(Mistype(format!("illegal base64 data at input byte {at}"))),
                    Err(_) => Err(Mistype(format!("illegal base64 data at input byte {}", text.len().saturating_sub(1)))),
                }
            }
            (Type::Time, Value::String(text)) => match crate::object::parse_time(text) {
                Some(_) => Ok(()),
                None => Err(Mistype(format!("parsing time {text:?} as \"2006-01-02T15:04:05Z07:00\": cannot parse {text:?} as \"2006\""))),
            },
            (_, other) => {
                let found = match other {
                    Value::Bool(_) => "bool",
                    Value::Number(_) => "number",
                    Value::String(_) => "string",
                    Value::Array(_) => "array",
                    Value::Object(_) | Value::Null => "object",
                };
                Err(self.mistype(found, of, dotted))
            }
        }
    }

    fn object(
        &mut self,
        fields: &mut Map<String, Value>,
        name: &'static str,
        path: &str,
        dotted: &str,
        depth: usize,
    ) -> Result<(), Mistype> {
        let Some(definition) = definition(name) else { return Ok(()) };
        fields.retain(|field, value| {
            let known = definition.fields.contains_key(field.as_str());
            if !known && self.misfits.len() < MISFITS_MAX {
                self.misfits.push(Misfit::Unknown(join(path, field)));
            }
            known && !value.is_null()
        });
        for (field, value) in fields {
            let Some(known) = definition.fields.get(field.as_str()) else { continue };
            let around = std::mem::replace(&mut self.owner, name);
            self.value(value, &known.of, &join(path, field), &join(dotted, field), depth + 1)?;
            self.owner = around;
        }
        Ok(())
    }

    fn mistype(&self, found: &str, of: &Type, dotted: &str) -> Mistype {
        let go = go_type(of);
        let owner = self.owner.rsplit('.').next().unwrap_or_default();
        match dotted {
            "" => Mistype(format!("json: cannot unmarshal {found} into Go value of type {go}")),
            dotted => Mistype(format!("json: cannot unmarshal {found} into Go struct field {owner}.{dotted} of type {go}")),
        }
    }
}

/// A number without a fraction, however it is written.
fn whole(number: &serde_json::Number) -> Option<i64> {
    if let Some(whole) = number.as_i64() {
        return Some(whole);
    }
    let float = number.as_f64()?;
    // Up to here every whole number has its own float.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    (float.fract() == 0.0 && float.abs() <= EXACT).then_some(float as i64)
}

fn go_type(of: &Type) -> String {
    match of {
        Type::Named(name) => {
            let mut parts = name.rsplit('.');
            let (short, version) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
            format!("{version}.{short}")
        }
        Type::List(items) => format!("[]{}", go_type(items)),
        Type::MapOf(values) => format!("map[string]{}", go_type(values)),
        Type::Text => "string".to_owned(),
        Type::Base64 => "[]uint8".to_owned(),
        Type::Boolean => "bool".to_owned(),
        Type::Int32 => "int32".to_owned(),
        Type::Int64 => "int64".to_owned(),
        Type::Quantity => "resource.Quantity".to_owned(),
        Type::IntOrString => "intstr.IntOrString".to_owned(),
        Type::Time => "v1.Time".to_owned(),
        Type::Any => "interface {}".to_owned(),
    }
}

fn join(path: &str, field: &str) -> String {
    if path.is_empty() { field.to_owned() } else { format!("{path}.{field}") }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const POD: &str = "io.k8s.api.core.v1.Pod";

    #[test]
    fn what_is_not_known_is_dropped_and_told() {
        let mut pod = json!({ "spec": { "containers": [{ "name": "a", "imag": "x", "ports": null }], "foo": 1 } });
        let mut misfits = Vec::new();
        check(&mut pod, POD, &mut misfits).expect("all types fit");
        let texts: Vec<_> = misfits.iter().map(ToString::to_string).collect();
        assert_eq!(texts, ["unknown field \"spec.foo\"", "unknown field \"spec.containers[0].imag\""]);
        assert_eq!(pod, json!({ "spec": { "containers": [{ "name": "a" }] } }));
    }

    #[test]
    fn wrong_types_have_the_words_of_the_reference() {
        let cases = [
            (
                json!({ "spec": { "containers": [{ "ports": [{ "containerPort": "80" }] }] } }),
                "json: cannot unmarshal string into Go struct field ContainerPort.spec.containers.ports.containerPort of type int32",
            ),
            (json!({ "spec": "x" }), "json: cannot unmarshal string into Go struct field Pod.spec of type v1.PodSpec"),
            (
                json!({ "metadata": { "labels": { "a": 1 } } }),
                "json: cannot unmarshal number into Go struct field ObjectMeta.metadata.labels.a of type string",
            ),
        ];
        for (mut object, text) in cases {
            let error = check(&mut object, POD, &mut Vec::new()).expect_err(text);
            assert_eq!(error.to_string(), text);
        }
    }

    #[test]
    fn amounts_become_canonical_and_labels_without_value_empty() {
        let mut pod = json!({
            "metadata": { "labels": { "a": null } },
            "spec": { "containers": [{ "resources": { "limits": { "cpu": 0.5, "memory": "1024Ki" } } }], "activeDeadlineSeconds": 5.0 },
        });
        check(&mut pod, POD, &mut Vec::new()).expect("all types fit");
        assert_eq!(pod["metadata"]["labels"]["a"], "");
        assert_eq!(pod["spec"]["containers"][0]["resources"]["limits"], json!({ "cpu": "500m", "memory": "1Mi" }));
        assert_eq!(pod["spec"]["activeDeadlineSeconds"], json!(5));
    }
}
