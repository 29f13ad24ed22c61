//! Rules of ConfigMaps and Secrets.

use k8s_openapi::api::core::v1::{ConfigMap, Secret};

use super::error::FieldError;
use super::meta::validate_meta;
use super::{Errors, complain, names, text};
use crate::path::FieldPath;

/// All values of a ConfigMap or Secret together, in bytes.
pub const DATA_BYTES_MAX: usize = 1024 * 1024;

/// Checks a ConfigMap. It must have been defaulted.
pub fn validate_config_map(config_map: &ConfigMap) -> Vec<FieldError> {
    let mut errors = Vec::new();
    validate_meta(&config_map.metadata, &mut errors);
    let mut bytes = 0;
    let path = FieldPath::new("data");
    for (key, value) in config_map.data.iter().flatten() {
        complain(&mut errors, &path.key(key), key, names::config_map_key(key));
        if config_map.binary_data.as_ref().is_some_and(|binary| binary.contains_key(key)) {
            errors.push(FieldError::invalid(&path.key(key), key, "duplicate of key present in binaryData"));
        }
        bytes += value.len();
    }
    let path = FieldPath::new("binaryData");
    for (key, value) in config_map.binary_data.iter().flatten() {
        complain(&mut errors, &path.key(key), key, names::config_map_key(key));
        bytes += value.0.len();
    }
    if bytes > DATA_BYTES_MAX {
        // The reference names no field here, which shows as `[]`.
        errors.push(FieldError::too_long(&FieldPath::root().key(""), DATA_BYTES_MAX).exactly(FieldPath::new("data")));
    }
    errors
}

/// Checks a Secret. It must have been defaulted.
pub fn validate_secret(secret: &Secret) -> Vec<FieldError> {
    let mut errors = Vec::new();
    validate_meta(&secret.metadata, &mut errors);
    let path = FieldPath::new("data");
    let mut bytes = 0;
    for (key, value) in secret.data.iter().flatten() {
        complain(&mut errors, &path.key(key), key, names::config_map_key(key));
        bytes += value.0.len();
    }
    if bytes > DATA_BYTES_MAX {
        errors.push(FieldError::too_long(&path, DATA_BYTES_MAX));
    }
    validate_type(secret, &path, &mut errors);
    errors
}

/// Secrets of well-known types have well-known keys.
fn validate_type(secret: &Secret, path: &FieldPath, errors: &mut Errors) {
    let value = |key: &str| secret.data.as_ref().and_then(|data| data.get(key));
    let required = |key: &str| FieldError::required(&path.key(key), "");
    match text(&secret.type_) {
        "kubernetes.io/service-account-token" => {
            const KEY: &str = "kubernetes.io/service-account.name";
            let name = secret.metadata.annotations.as_ref().and_then(|annotations| annotations.get(KEY));
            if name.is_none_or(String::is_empty) {
                let path = FieldPath::new("metadata").child("annotations").key(KEY);
                errors.push(FieldError::required(&path, ""));
            }
        }
        kind @ ("kubernetes.io/dockercfg" | "kubernetes.io/dockerconfigjson") => {
            let key = if kind.ends_with("json") { ".dockerconfigjson" } else { ".dockercfg" };
            match value(key) {
                None => errors.push(required(key)),
                Some(json) => {
                    let parsed = serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(&json.0);
                    if let Err(error) = parsed {
                        let path = path.key(key);
                        errors.push(FieldError::invalid(&path, "<secret contents redacted>", redacted(&error)));
                    }
                }
            }
        }
        "kubernetes.io/basic-auth" if value("username").is_none() && value("password").is_none() => {
            errors.extend([required("username"), required("password")]);
        }
        "kubernetes.io/ssh-auth" if value("ssh-privatekey").is_none_or(|key| key.0.is_empty()) => {
            errors.push(required("ssh-privatekey"));
        }
        "kubernetes.io/tls" => {
            errors.extend(["tls.crt", "tls.key"].into_iter().filter(|key| value(key).is_none()).map(required));
        }
        _ => {}
    }
}

/// Where JSON is wrong, without any of it.
fn redacted(error: &serde_json::Error) -> String {
    if error.is_eof() {
        return "unexpected end of JSON input".to_owned();
    }
    format!("not a JSON object (line {}, column {})", error.line(), error.column())
}
