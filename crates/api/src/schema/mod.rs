//! The types of the Kubernetes API, as data: which fields there are, of what type, and how lists merge.
//!
//! The data is `data/schema.json`, checked against the API types by `tests/schema_data.rs`. It is parsed on first use.
//! Nothing here says what values mean; that is [`validate`](crate::validate).

mod check;
mod error;
mod hint;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::OnceLock;

use serde_json::Value;

pub use self::check::{Checked, SCHEMA_ERRORS_MAX, check, check_as};
pub use self::error::{SchemaError, SchemaErrorKind};

/// The reduced OpenAPI definitions: JSON, one type a line, by full name such as `io.k8s.api.core.v1.Pod`. References
/// are bare names; the merge rules have their OpenAPI names (`x-kubernetes-list-map-keys` and so on).
pub const SCHEMA_JSON: &str = include_str!("../../data/schema.json");

/// The same of the configuration of a node, whose types are not among those of the API. `format: duration` is text such as `1m30s`.
pub const CONFIGURATION_JSON: &str = include_str!("../../data/kubelet-configuration.json");

/// The kinds that manifests may have: `apiVersion`, `kind`, type.
const KINDS: &[(&str, &str, &str)] = &[
    ("v1", "Pod", "io.k8s.api.core.v1.Pod"),
    ("v1", "ConfigMap", "io.k8s.api.core.v1.ConfigMap"),
    ("v1", "Secret", "io.k8s.api.core.v1.Secret"),
    ("v1", "PodTemplate", "io.k8s.api.core.v1.PodTemplate"),
    ("v1", "PersistentVolumeClaim", "io.k8s.api.core.v1.PersistentVolumeClaim"),
    ("v1", "ReplicationController", "io.k8s.api.core.v1.ReplicationController"),
    ("apps/v1", "DaemonSet", "io.k8s.api.apps.v1.DaemonSet"),
    ("apps/v1", "Deployment", "io.k8s.api.apps.v1.Deployment"),
    ("apps/v1", "ReplicaSet", "io.k8s.api.apps.v1.ReplicaSet"),
    ("apps/v1", "StatefulSet", "io.k8s.api.apps.v1.StatefulSet"),
    ("batch/v1", "CronJob", "io.k8s.api.batch.v1.CronJob"),
    ("batch/v1", "Job", "io.k8s.api.batch.v1.Job"),
];

/// The groups whose kinds are all known by name, so that another kind in them is a slip of the hand.
const KNOWN_GROUPS: &[&str] = &["", "apps", "batch"];

/// A group that the kinds of another one once were in.
const OLD_GROUP: &str = "extensions";

/// Kinds of [`KNOWN_GROUPS`] that nothing is done with here.
const OTHER_KINDS: &[&str] = &[
    "Binding",
    "ComponentStatus",
    "ControllerRevision",
    "Endpoints",
    "Event",
    "LimitRange",
    "Namespace",
    "Node",
    "PersistentVolume",
    "ResourceQuota",
    "Service",
    "ServiceAccount",
];

/// A type of the API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Type {
    /// A named object type.
    Named(&'static str),
    List(Box<Self>),
    /// A map with free keys.
    MapOf(Box<Self>),
    Text,
    /// Text that is base64.
    Base64,
    Boolean,
    Int32,
    Int64,
    /// An amount, such as `500m`.
    Quantity,
    /// A whole number or text.
    IntOrString,
    /// A point in time, as text.
    Time,
    /// A length of time, as text such as `1m30s`.
    Duration,
    /// Anything.
    Any,
}

/// The fields of a named object type.
#[derive(Debug)]
pub(crate) struct Object {
    pub(crate) fields: BTreeMap<&'static str, Type>,
    pub(crate) required: Vec<&'static str>,
}

/// All types by name.
pub(crate) struct Schemas {
    definitions: Value,
    objects: OnceLock<BTreeMap<&'static str, Object>>,
}

const QUANTITY: &str = "io.k8s.apimachinery.pkg.api.resource.Quantity";
const INT_OR_STRING: &str = "io.k8s.apimachinery.pkg.util.intstr.IntOrString";

/// The types, parsed on the first call.
pub(crate) fn schemas() -> &'static Schemas {
    static SCHEMAS: OnceLock<Schemas> = OnceLock::new();
    SCHEMAS.get_or_init(|| {
        let read = |text| serde_json::from_str::<serde_json::Map<String, Value>>(text);
        let mut definitions = read(SCHEMA_JSON).expect("data/schema.json is JSON, as its test checks");
        definitions.extend(read(CONFIGURATION_JSON).expect("data/kubelet-configuration.json is JSON, as its test checks"));
        let definitions = Value::Object(definitions);
        Schemas { definitions, objects: OnceLock::new() }
    })
}

impl Schemas {
    /// The object type `name`.
    pub(crate) fn object(&'static self, name: &str) -> Option<&'static Object> {
        self.objects.get_or_init(|| self.objects()).get(name)
    }

    fn objects(&'static self) -> BTreeMap<&'static str, Object> {
        let definitions = self.definitions.as_object().into_iter().flatten();
        let objects = definitions.filter_map(|(name, definition)| {
            let fields = definition.get("properties")?.as_object()?;
            let fields = fields.iter().map(|(field, schema)| (field.as_str(), self.type_of(schema))).collect();
            let required = definition.get("required").and_then(Value::as_array).into_iter().flatten();
            let required = required.filter_map(Value::as_str).collect();
            Some((name.as_str(), Object { fields, required }))
        });
        objects.collect()
    }

    fn type_of(&'static self, schema: &'static Value) -> Type {
        if let Some(target) = schema.get("$ref").and_then(Value::as_str) {
            return match target {
                QUANTITY => Type::Quantity,
                INT_OR_STRING => Type::IntOrString,
                _ => match self.definitions.get(target) {
                    Some(definition) if definition.get("properties").is_some() => Type::Named(target),
                    Some(definition) => self.type_of(definition),
                    None => Type::Any,
                },
            };
        }
        let format = schema.get("format").and_then(Value::as_str);
        match (schema.get("type").and_then(Value::as_str), format) {
            (Some("string"), Some("byte")) => Type::Base64,
            (Some("string"), Some("date-time")) => Type::Time,
            (Some("string"), Some("duration")) => Type::Duration,
            (Some("string"), _) => Type::Text,
            (Some("boolean"), _) => Type::Boolean,
            (Some("integer"), Some("int64")) => Type::Int64,
            (Some("integer"), _) => Type::Int32,
            (Some("array"), _) => {
                let items = schema.get("items").map_or(Type::Any, |items| self.type_of(items));
                Type::List(Box::new(items))
            }
            (Some("object"), _) => match schema.get("additionalProperties") {
                Some(values) => Type::MapOf(Box::new(self.type_of(values))),
                None => Type::Any,
            },
            _ => Type::Any,
        }
    }
}

/// The type of a kind, or why it is not known.
pub(crate) fn type_of_kind(api_version: &str, kind: &str) -> Result<&'static str, UnknownKind> {
    if let Some((.., name)) = KINDS.iter().find(|known| known.0 == api_version && known.1 == kind) {
        return Ok(name);
    }
    let group = api_version.split_once('/').map_or("", |(group, _)| group);
    let is_known_group = KNOWN_GROUPS.contains(&group);
    if let Some((version, kind, _)) = KINDS.iter().find(|known| known.1 == kind && (is_known_group || group == OLD_GROUP)) {
        return Err(UnknownKind::OtherVersion { version, kind });
    }
    if !is_known_group || OTHER_KINDS.contains(&kind) {
        return Err(UnknownKind::Elsewhere);
    }
    let near = crate::nearest::nearest(kind, KINDS.iter().map(|known| known.1));
    Err(near.map_or(UnknownKind::Other, UnknownKind::Near))
}

/// Why a kind is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UnknownKind {
    /// The kind is in another `apiVersion`.
    OtherVersion { version: &'static str, kind: &'static str },
    /// This kind was probably meant.
    Near(&'static str),
    /// There is, or may be, such a kind; it is no business of this crate.
    Elsewhere,
    /// Nothing like it is known.
    Other,
}
