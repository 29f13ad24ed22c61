//! The environment of a container, in the order in which its pod names the variables.
//!
//! A name that comes twice keeps its first place and has its last value. Variables of services do not exist here.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, EnvFromSource, EnvVarSource};

use super::field_ref::{FieldRefError, PodFacts, field_value, resource_value};
use crate::expansion::expand;
use crate::machine::Machine;
use crate::objects::Objects;

/// A container's environment cannot be had. The texts are the reference's (k8s: 2.c.6).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnvironmentError {
    /// An object that is not optional is not there.
    #[error("{kind} {name:?} not found")]
    NoObject {
        /// `configmap` or `secret`.
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// The object is there, the key is not.
    #[error("couldn't find key {key} in {kind} {namespace}/{name}")]
    NoKey {
        /// The key.
        key: String,
        /// `ConfigMap` or `Secret`.
        kind: &'static str,
        /// Of the object.
        namespace: String,
        /// Of the object.
        name: String,
    },
    /// A value that a variable cannot have.
    #[error("the value of environment variable {variable} is not UTF-8 text without NUL")]
    NotText {
        /// The variable.
        variable: String,
    },
    /// A source that this engine does not have.
    #[error("valueFrom.{field} of environment variable {variable} is not supported")]
    Unsupported {
        /// The field.
        field: &'static str,
        /// The variable.
        variable: String,
    },
    /// A field of the pod cannot be told.
    #[error(transparent)]
    Field(#[from] FieldRefError),
}

/// Variables in the order in which their names came up first.
#[derive(Default)]
struct Variables {
    list: Vec<(String, String)>,
    places: BTreeMap<String, usize>,
}

impl Variables {
    fn set(&mut self, name: &str, value: String) -> Result<(), EnvironmentError> {
        if value.contains('\0') {
            return Err(EnvironmentError::NotText { variable: name.to_owned() });
        }
        match self.places.get(name) {
            Some(place) => self.list[*place].1 = value,
            None => {
                self.places.insert(name.to_owned(), self.list.len());
                self.list.push((name.to_owned(), value));
            }
        }
        Ok(())
    }

    fn value_of(&self, name: &str) -> Option<String> {
        self.places.get(name).map(|place| self.list[*place].1.clone())
    }
}

/// All variables of a container: `envFrom` first, then `env` over it.
pub(crate) fn environment(
    container: &Container,
    facts: &PodFacts<'_>,
    machine: &Machine,
    objects: &Objects,
) -> Result<Vec<(String, String)>, EnvironmentError> {
    let mut variables = Variables::default();
    for source in container.env_from.iter().flatten() {
        add_all(&mut variables, source, facts, objects)?;
    }
    for variable in container.env.iter().flatten() {
        let written = variable.value.as_deref().unwrap_or_default();
        let value = match &variable.value_from {
            Some(source) if written.is_empty() => source_value(&variable.name, source, container, facts, machine, objects)?,
            Some(_) | None => Some(expand(written, |name| variables.value_of(name))),
        };
        if let Some(value) = value {
            variables.set(&variable.name, value)?;
        }
    }
    Ok(variables.list)
}

fn add_all(variables: &mut Variables, source: &EnvFromSource, facts: &PodFacts<'_>, objects: &Objects) -> Result<(), EnvironmentError> {
    let prefix = source.prefix.as_deref().unwrap_or_default();
    let namespace = namespace(facts);
    if let Some(wanted) = &source.config_map_ref {
        match objects.config_map(namespace, &wanted.name) {
            Some(config_map) => {
                for (key, value) in config_map.data.iter().flatten() {
                    variables.set(&format!("{prefix}{key}"), value.clone())?;
                }
            }
            None if wanted.optional == Some(true) => {}
            None => return Err(EnvironmentError::NoObject { kind: "configmap", name: wanted.name.clone() }),
        }
    } else if let Some(wanted) = &source.secret_ref {
        match objects.secret(namespace, &wanted.name) {
            Some(secret) => {
                for (key, value) in secret.data.iter().flatten() {
                    let name = format!("{prefix}{key}");
                    let value = text(&name, &value.0)?;
                    variables.set(&name, value)?;
                }
            }
            None if wanted.optional == Some(true) => {}
            None => return Err(EnvironmentError::NoObject { kind: "secret", name: wanted.name.clone() }),
        }
    }
    Ok(())
}

/// The value of a variable from elsewhere; `None` if it is optional and not there, which leaves the variable out.
fn source_value(
    variable: &str,
    source: &EnvVarSource,
    container: &Container,
    facts: &PodFacts<'_>,
    machine: &Machine,
    objects: &Objects,
) -> Result<Option<String>, EnvironmentError> {
    let namespace = namespace(facts);
    if let Some(field) = &source.field_ref {
        return Ok(Some(field_value(&field.field_path, facts)?));
    }
    if let Some(selector) = &source.resource_field_ref {
        return Ok(Some(resource_value(selector, facts.pod, Some(container), machine)?));
    }
    if let Some(wanted) = &source.config_map_key_ref {
        let object = objects.config_map(namespace, &wanted.name);
        let is_there = object.is_some();
        let value = object.and_then(|object| object.data.as_ref()?.get(&wanted.key)).cloned();
        return found(value, is_there, wanted.optional, ("configmap", "ConfigMap"), namespace, (&wanted.name, &wanted.key));
    }
    if let Some(wanted) = &source.secret_key_ref {
        let object = objects.secret(namespace, &wanted.name);
        let is_there = object.is_some();
        let value = object.and_then(|object| object.data.as_ref()?.get(&wanted.key));
        let value = value.map(|value| text(variable, &value.0)).transpose()?;
        return found(value, is_there, wanted.optional, ("secret", "Secret"), namespace, (&wanted.name, &wanted.key));
    }
    if source.file_key_ref.is_some() {
        return Err(EnvironmentError::Unsupported { field: "fileKeyRef", variable: variable.to_owned() });
    }
    Ok(Some(String::new()))
}

fn found(
    value: Option<String>,
    is_object_there: bool,
    optional: Option<bool>,
    (resource, kind): (&'static str, &'static str),
    namespace: &str,
    (name, key): (&str, &str),
) -> Result<Option<String>, EnvironmentError> {
    match value {
        Some(value) => Ok(Some(value)),
        None if optional == Some(true) => Ok(None),
        None if is_object_there => {
            Err(EnvironmentError::NoKey { key: key.to_owned(), kind, namespace: namespace.to_owned(), name: name.to_owned() })
        }
        None => Err(EnvironmentError::NoObject { kind: resource, name: name.to_owned() }),
    }
}

fn text(variable: &str, bytes: &[u8]) -> Result<String, EnvironmentError> {
    String::from_utf8(bytes.to_vec()).map_err(|_| EnvironmentError::NotText { variable: variable.to_owned() })
}

fn namespace<'a>(facts: &PodFacts<'a>) -> &'a str {
    facts.pod.metadata.namespace.as_deref().unwrap_or_default()
}

#[cfg(test)]
mod tests;
