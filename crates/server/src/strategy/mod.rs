//! What is special about each kind: what a client may not set, what is filled in, what is valid, what may change.
//!
//! Everything here decides and touches nothing.

mod pod;
mod pod_resize;
mod pod_status;
mod pod_update;
mod qos;
mod scheduling;
mod taints;

pub(crate) use self::pod_status::with_what_others_wrote;
pub use self::scheduling::Seat;
pub(crate) use self::scheduling::{is_gated, is_waiting, note_scheduled, seated, told_obstacle};
pub(crate) use self::taints::{Taint, stay, taints};

use api::path::FieldPath;
use api::validate::{NameRule, Scope, validate_config_map, validate_object_meta, validate_secret};
use api::{BadValue, FieldError, NodeSupport};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::kinds::Kind;
use crate::object::{keep, meta_mut};
use crate::status::{ApiError, ApiResult};

/// Which endpoint of an object is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The object without its status.
    Whole,
    /// Its status.
    Status,
    /// The ephemeral containers of a pod.
    EphemeralContainers,
    /// What the containers of a pod ask for and may use.
    Resize,
    /// The finalizers of a namespace.
    Finalize,
}

impl Part {
    /// Its name in paths and in `managedFields`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Whole => "",
            Self::Status => "status",
            Self::EphemeralContainers => "ephemeralcontainers",
            Self::Resize => "resize",
            Self::Finalize => "finalize",
        }
    }
}

/// An object made ready, with what is wrong with it and what is to be said about it.
#[derive(Debug, Default)]
pub struct Verdict {
    /// Rules that it breaks.
    pub errors: Vec<FieldError>,
    /// Warnings for the client.
    pub warnings: Vec<String>,
}

/// Makes an object that is to be created ready: sets what the client may not, fills in defaults, and judges it.
///
/// # Errors
/// The object does not fit its type in a way that the schema does not tell.
pub fn prepare_create(kind: &Kind, object: &mut Value, (seat, support): (&Seat, &NodeSupport)) -> ApiResult<Verdict> {
    if kind.has_status() && kind.kind != "Node" {
        object.as_object_mut().map(|fields| fields.remove("status"));
    }
    match kind.kind {
        "Pod" => pod::prepare_create(object, seat, support),
        "Namespace" => {
            object["spec"]["finalizers"] = json!(["kubernetes"]);
            object["status"] = json!({ "phase": "Active" });
            let name = crate::object::name(object).to_owned();
            let labels = meta_mut(object).entry("labels").or_insert_with(|| json!({}));
            labels["kubernetes.io/metadata.name"] = json!(name);
            judge(kind, object)
        }
        "PersistentVolumeClaim" => {
            default_claim(object);
            bind_claim(object);
            judge(kind, object)
        }
        "PriorityClass" => {
            if object.get("preemptionPolicy").is_none() {
                object["preemptionPolicy"] = json!("PreemptLowerPriority");
            }
            if object.get("value").is_none() {
                object["value"] = json!(0);
            }
            judge(kind, object)
        }
        _ => judge(kind, object),
    }
}

fn default_claim(claim: &mut Value) {
    if claim["spec"].get("volumeMode").is_none() {
        claim["spec"]["volumeMode"] = json!("Filesystem");
    }
}

/// A claim is a folder of this machine, which is made on first use: nothing has to be waited for.
pub(crate) fn bind_claim(claim: &mut Value) {
    if claim["spec"]["volumeName"].as_str().is_none_or(str::is_empty) {
        claim["spec"]["volumeName"] = json!(format!("pvc-{}", crate::object::uid(claim)));
    }
    claim["status"] = json!({
        "phase": "Bound",
        "accessModes": claim["spec"]["accessModes"],
        "capacity": { "storage": claim["spec"]["resources"]["requests"]["storage"] },
    });
}

/// Makes the object that an update through `part` leads to ready: what the part does not reach stays as it was.
///
/// # Errors
/// The object does not fit its type in a way that the schema does not tell.
pub fn prepare_update(kind: &Kind, part: Part, support: &NodeSupport, (old, new): (&Value, &mut Value)) -> ApiResult<Verdict> {
    match part {
        Part::Whole => {
            if kind.has_status() {
                keep(new, old, "status");
            }
            if kind.kind == "Namespace" {
                keep(new, old, "spec");
            }
            if kind.kind == "PersistentVolumeClaim" {
                default_claim(new);
                if new["spec"].get("volumeName").is_none()
                    && let Some(volume) = old["spec"].get("volumeName")
                {
                    new["spec"]["volumeName"] = volume.clone();
                }
            }
        }
        Part::Status => {
            let status = new.get("status").cloned();
            let metadata = new["metadata"].clone();
            *new = old.clone();
            new["metadata"] = metadata;
            // k8s: 1.b.17
            crate::object::keep_meta(new, old, "ownerReferences");
            if let Some(fields) = new.as_object_mut() {
                match status {
                    Some(status) => fields.insert("status".to_owned(), status),
                    None => fields.remove("status"),
                };
            }
            if kind.kind == "Pod" {
                return pod::prepare_status(old, new);
            }
        }
        Part::EphemeralContainers => {
            let added = new["spec"].get("ephemeralContainers").cloned();
            *new = old.clone();
            new["spec"]["ephemeralContainers"] = added.unwrap_or_else(|| json!([]));
        }
        Part::Resize => pod_resize::keep_all_but_resources(old, new),
        Part::Finalize => {
            let finalizers = new["spec"]["finalizers"].clone();
            *new = old.clone();
            new["spec"]["finalizers"] = if finalizers.is_null() { json!([]) } else { finalizers };
        }
    }
    let mut verdict = match kind.kind {
        "Pod" => return pod::prepare_update(part, support, old, new),
        _ => judge(kind, new)?,
    };
    verdict.errors.extend(immutable(kind, old, new));
    Ok(verdict)
}

/// What must not change in kinds that have few rules.
fn immutable(kind: &Kind, old: &Value, new: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    match kind.kind {
        "ConfigMap" | "Secret" => {
            if kind.kind == "Secret" && old["type"] != new["type"] {
                let value = new["type"].as_str().unwrap_or_default();
                errors.push(FieldError::invalid(&FieldPath::new("type"), value, "field is immutable"));
            }
            if old["immutable"] == json!(true) {
                if new["immutable"] != json!(true) {
                    errors.push(FieldError::forbidden(&FieldPath::new("immutable"), "field is immutable when `immutable` is set"));
                }
                for field in ["data", "binaryData"] {
                    if old[field] != new[field] {
                        errors.push(FieldError::forbidden(&FieldPath::new(field), "field is immutable when `immutable` is set"));
                    }
                }
            }
        }
        "PriorityClass" => {
            for field in ["value", "preemptionPolicy"] {
                if old[field] != new[field] {
                    errors.push(FieldError::forbidden(&FieldPath::new(field), "may not be changed in an update."));
                }
            }
        }
        "RuntimeClass" if old["handler"] != new["handler"] => {
            let value = new["handler"].as_str().unwrap_or_default();
            errors.push(FieldError::invalid(&FieldPath::new("handler"), value, "field is immutable"));
        }
        "PersistentVolumeClaim" if old["spec"] != new["spec"] => {
            let detail = "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims";
            errors.push(FieldError::forbidden(&FieldPath::new("spec"), detail));
        }
        _ => {}
    }
    errors
}

/// The rules of kinds other than pods.
fn judge(kind: &Kind, object: &mut Value) -> ApiResult<Verdict> {
    let errors = match kind.kind {
        "ConfigMap" => retyped::<ConfigMap>(kind, object, |map| {
            api::defaults::default_config_map(map);
            validate_config_map(map)
        })?,
        "Secret" => retyped::<Secret>(kind, object, |secret| {
            api::defaults::default_secret(secret);
            validate_secret(secret)
        })?,
        _ => {
            let meta: ObjectMeta = typed(kind, &object["metadata"])?;
            let scope = if kind.namespaced { Scope::Namespaced } else { Scope::Cluster };
            let rule = if kind.kind == "Namespace" { NameRule::Label } else { NameRule::Subdomain };
            let mut errors = validate_object_meta(&meta, scope, rule);
            errors.extend(own_rules(kind, object));
            errors
        }
    };
    Ok(Verdict { errors, warnings: Vec::new() })
}

fn own_rules(kind: &Kind, object: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    match kind.kind {
        "RuntimeClass" if object["handler"].as_str().unwrap_or_default().is_empty() => {
            errors.push(FieldError::required(&FieldPath::new("handler"), ""));
        }
        "PersistentVolumeClaim" => {
            let spec = FieldPath::new("spec");
            if object["spec"]["accessModes"].as_array().is_none_or(Vec::is_empty) {
                errors.push(FieldError::required(&spec.child("accessModes"), "at least 1 access mode is required"));
            }
            if object["spec"]["resources"]["requests"].get("storage").is_none() {
                errors.push(FieldError::required(&spec.child("resources").key("storage"), ""));
            }
        }
        "Event" => {
            let involved = object["involvedObject"]["namespace"].as_str().unwrap_or_default();
            let namespace = crate::object::namespace(object);
            let matches = involved == namespace || involved.is_empty() && namespace == "default";
            if !matches {
                let path = FieldPath::new("involvedObject").child("namespace");
                errors.push(FieldError::invalid(&path, involved, "does not match event.namespace"));
            }
        }
        "Lease" => {
            let seconds = object["spec"]["leaseDurationSeconds"].as_i64();
            if let Some(seconds) = seconds.filter(|seconds| *seconds <= 0) {
                let path = FieldPath::new("spec").child("leaseDurationSeconds");
                errors.push(FieldError::invalid(&path, seconds, "must be greater than 0"));
            }
        }
        _ => {}
    }
    errors
}

/// Takes an object through its type, so that it is as the type would write it.
fn retyped<T: DeserializeOwned + Serialize>(
    kind: &Kind,
    object: &mut Value,
    change: impl FnOnce(&mut T) -> Vec<FieldError>,
) -> ApiResult<Vec<FieldError>> {
    let mut whole: T = typed(kind, object)?;
    let errors = change(&mut whole);
    *object = serde_json::to_value(&whole).map_err(ApiError::internal)?;
    Ok(errors)
}

fn typed<T: DeserializeOwned>(kind: &Kind, object: &Value) -> ApiResult<T> {
    T::deserialize(object).map_err(|error| {
        let (kind, version) = (kind.kind, kind.api_version());
        ApiError::bad_request(format!("{kind} in version \"{version}\" cannot be handled as a {kind}: {error}"))
    })
}

/// A value as field errors show it.
fn shown(value: &Value) -> BadValue {
    value.as_str().map_or_else(|| BadValue::Raw(value.to_string()), BadValue::from)
}
