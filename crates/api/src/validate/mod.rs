//! The rules that the Kubernetes API sets for new objects, in its words and order.
//!
//! Objects come in defaulted (see [`defaults`](crate::defaults)). Only what an author writes is looked at, not the
//! status, and not the sources of volumes that need a cluster or a cloud: those are refused by
//! [`support`](crate::support). Where the reference goes over a map in no order, this goes over it by key.

mod affinity;
mod configmap;
mod container;
mod env;
mod error;
mod handler;
mod meta;
mod mounts;
mod names;
mod pod;
mod ports;
mod resources;
mod restart;
mod scheduling;
mod security;
mod volume;
mod workload;

#[cfg(test)]
mod tests;

pub use self::configmap::{DATA_BYTES_MAX, validate_config_map, validate_secret};
pub(crate) use self::error::quote;
pub use self::error::{BadValue, ErrorKind, FieldError};
pub use self::meta::{NameRule, Scope, validate_object_meta};
pub(crate) use self::names::is_sysctl_name;
pub use self::pod::{validate_pod_create, validate_pod_spec};
pub use self::workload::validate_replica;

/// Errors in the order found.
type Errors = Vec<FieldError>;

/// An error for each complaint about a text.
fn complain(errors: &mut Errors, path: &crate::path::FieldPath, value: &str, complaints: Vec<String>) {
    errors.extend(complaints.into_iter().map(|complaint| FieldError::invalid(path, value, complaint)));
}

/// The text of a field, where absent and empty are the same.
fn text(field: &Option<String>) -> &str {
    field.as_deref().unwrap_or_default()
}
