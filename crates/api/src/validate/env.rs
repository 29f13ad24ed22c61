//! Rules of environment variables and of the references that fill them and files.

use k8s_openapi::api::core::v1::{EnvFromSource, EnvVar, EnvVarSource, FileKeySelector, ObjectFieldSelector, ResourceFieldSelector};

use super::error::FieldError;
use super::pod::PodContext;
use super::volume::validate_local_path;
use super::{Errors, complain, names, text};
use crate::path::FieldPath;
use crate::quantity::Quantity;

/// Fields of a Pod that a variable can take its value from.
const ENV_FIELDS: [&str; 9] = [
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];

/// Resources of a container that a variable or file can take its value from.
const RESOURCES: [&str; 6] =
    ["limits.cpu", "limits.ephemeral-storage", "limits.memory", "requests.cpu", "requests.ephemeral-storage", "requests.memory"];

/// Checks the variables of a container.
pub(super) fn validate_env(env: &[EnvVar], context: &PodContext<'_>, path: &FieldPath, errors: &mut Errors) {
    for (index, variable) in env.iter().enumerate() {
        let path = path.index(index);
        if variable.name.is_empty() {
            errors.push(FieldError::required(&path.child("name"), ""));
        } else {
            complain(errors, &path.child("name"), &variable.name, names::env_var_name(&variable.name));
        }
        if let Some(from) = &variable.value_from {
            validate_value_from(from, text(&variable.value), context, &path.child("valueFrom"), errors);
        }
    }
}

fn validate_value_from(from: &EnvVarSource, value: &str, context: &PodContext<'_>, path: &FieldPath, errors: &mut Errors) {
    let mut sources = 0;
    if let Some(field) = &from.field_ref {
        sources += 1;
        validate_field_ref(field, &ENV_FIELDS, &path.child("fieldRef"), errors);
    }
    if let Some(resource) = &from.resource_field_ref {
        sources += 1;
        validate_resource_ref(resource, Holder::Variable, &path.child("resourceFieldRef"), errors);
    }
    if let Some(key) = &from.config_map_key_ref {
        sources += 1;
        validate_key_ref(&key.name, &key.key, &path.child("configMapKeyRef"), errors);
    }
    if let Some(key) = &from.secret_key_ref {
        sources += 1;
        validate_key_ref(&key.name, &key.key, &path.child("secretKeyRef"), errors);
    }
    if let Some(file) = &from.file_key_ref {
        sources += 1;
        validate_file_ref(file, context, &path.child("fileKeyRef"), errors);
    }
    let complaint = match (sources, value) {
        (0, _) => "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`",
        (_, value) if !value.is_empty() => "may not be specified when `value` is not empty",
        (1, _) => return,
        _ => "may not have more than one field specified at a time",
    };
    errors.push(FieldError::invalid(path, "", complaint));
}

/// Checks the sources that a container takes whole sets of variables from.
pub(super) fn validate_env_from(sources: &[EnvFromSource], path: &FieldPath, errors: &mut Errors) {
    for (index, source) in sources.iter().enumerate() {
        let here = path.index(index);
        let prefix = text(&source.prefix);
        if !prefix.is_empty() {
            complain(errors, &here.child("prefix"), prefix, names::env_var_name(prefix));
        }
        let config_map = source.config_map_ref.as_ref().map(|source| ("configMapRef", &source.name));
        let secret = source.secret_ref.as_ref().map(|source| ("secretRef", &source.name));
        for (field, name) in [config_map, secret].into_iter().flatten() {
            let path = here.child(field).child("name");
            match name.as_str() {
                "" => errors.push(FieldError::required(&path, "")),
                name => complain(errors, &path, name, names::generate_name(name)),
            }
        }
        // The reference names the list here, not its item.
        let complaint = match (config_map, secret) {
            (None, None) => "must specify one of: `configMapRef` or `secretRef`",
            (Some(_), Some(_)) => "may not have more than one field specified at a time",
            (Some(_), None) | (None, Some(_)) => continue,
        };
        errors.push(FieldError::invalid(path, "", complaint).exactly(here));
    }
}

fn validate_key_ref(name: &str, key: &str, path: &FieldPath, errors: &mut Errors) {
    complain(errors, &path.child("name"), name, names::dns_subdomain(name));
    match key {
        "" => errors.push(FieldError::required(&path.child("key"), "")),
        key => complain(errors, &path.child("key"), key, names::config_map_key(key)),
    }
}

fn validate_file_ref(file: &FileKeySelector, context: &PodContext<'_>, path: &FieldPath, errors: &mut Errors) {
    match file.key.as_str() {
        "" => errors.push(FieldError::required(&path.child("key"), "")),
        key => complain(errors, &path.child("key"), key, names::env_var_name(key)),
    }
    let volume = path.child("volumeName");
    match (file.volume_name.as_str(), context.volumes.get(file.volume_name.as_str())) {
        ("", _) => errors.push(FieldError::required(&volume, "")),
        (name, None) => errors.push(FieldError::not_found(&volume, name)),
        (_, Some(_)) => {}
    }
    match file.path.as_str() {
        "" => errors.push(FieldError::required(&path.child("path"), "")),
        file => validate_local_path(file, &path.child("path"), errors),
    }
}

/// Checks a reference to a field of the Pod, which must be one of `fields` or one label or annotation.
pub(super) fn validate_field_ref(field: &ObjectFieldSelector, fields: &[&str], path: &FieldPath, errors: &mut Errors) {
    let version = text(&field.api_version);
    if version.is_empty() {
        return errors.push(FieldError::required(&path.child("apiVersion"), ""));
    }
    let name = field.field_path.as_str();
    if name.is_empty() {
        return errors.push(FieldError::required(&path.child("fieldPath"), ""));
    }
    if let Some((map, key)) = name.strip_suffix("']").and_then(|name| name.split_once("['")) {
        return match map {
            "metadata.annotations" => complain(errors, path, &key.to_lowercase(), names::qualified_name(&key.to_lowercase())),
            "metadata.labels" => complain(errors, path, key, names::qualified_name(key)),
            _ => errors.push(FieldError::invalid(path, map, "does not support subscript")),
        };
    }
    if !is_known_field(name) || version != "v1" {
        let why =
            if version == "v1" { format!("field label not supported: {name}") } else { format!("unsupported pod version: {version}") };
        let detail = format!("error converting fieldPath: {why}");
        return errors.push(FieldError::invalid(&path.child("fieldPath"), name, detail));
    }
    if !fields.contains(&name) {
        errors.push(FieldError::not_supported(&path.child("fieldPath"), name, fields));
    }
}

/// Fields that the API knows for references, wherever they may be used.
fn is_known_field(name: &str) -> bool {
    const MORE: [&str; 7] = [
        "metadata.annotations",
        "metadata.labels",
        "spec.restartPolicy",
        "spec.schedulerName",
        "spec.hostNetwork",
        "spec.host",
        "status.phase",
    ];
    ENV_FIELDS.contains(&name) || MORE.contains(&name)
}

/// What takes a value from a resource; a file must say of which container.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Holder {
    Variable,
    File,
}

/// Checks a reference to a resource of a container.
pub(super) fn validate_resource_ref(resource: &ResourceFieldSelector, holder: Holder, path: &FieldPath, errors: &mut Errors) {
    let name = resource.resource.as_str();
    let huge = name.starts_with("limits.hugepages-") || name.starts_with("requests.hugepages-");
    if holder == Holder::File && text(&resource.container_name).is_empty() {
        errors.push(FieldError::required(&path.child("containerName"), ""));
    } else if name.is_empty() {
        errors.push(FieldError::required(&path.child("resource"), ""));
    } else if !RESOURCES.contains(&name) && !huge {
        errors.push(FieldError::not_supported(&path.child("resource"), name, &RESOURCES));
    }
    validate_divisor(resource, huge, &path.child("divisor"), errors);
}

fn validate_divisor(resource: &ResourceFieldSelector, huge: bool, path: &FieldPath, errors: &mut Errors) {
    let divisor = resource.divisor.as_ref().and_then(|divisor| Quantity::parse(&divisor.0).ok());
    let Some(divisor) = divisor.filter(|divisor| !divisor.is_zero()) else {
        return;
    };
    let name = resource.resource.as_str();
    const UNITS: &str = "1, 1k, 1M, 1G, 1T, 1P, 1E, 1Ki, 1Mi, 1Gi, 1Ti, 1Pi, 1Ei";
    let shown = divisor.to_string();
    let (allowed, what) = match name.split_once('.').map_or("", |(_, resource)| resource) {
        "cpu" => (&["1m", "1"][..], "only divisor's values 1m and 1 are supported with the cpu resource".to_owned()),
        "memory" => (&[][..], format!("only divisor's values {UNITS} are supported with the memory resource")),
        "ephemeral-storage" => (&[][..], format!("only divisor's values {UNITS} are supported with the local ephemeral storage resource")),
        _ if huge => (&[][..], format!("only divisor's values {UNITS} are supported with the hugepages resource")),
        _ => return,
    };
    let fits = if allowed.is_empty() { UNITS.split(", ").any(|unit| unit == shown) } else { allowed.contains(&shown.as_str()) };
    if !fits {
        errors.push(FieldError::invalid(path, name, what));
    }
}
