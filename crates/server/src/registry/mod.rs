//! The verbs of the API on stored objects: everything that a client can do with them, in-process or over HTTP.
//!
//! Acts: it reads the clock, draws names, and writes to the store. What an object must be like is decided in
//! [`strategy`](crate::strategy).

mod admission;
mod askers;
mod create;
mod delete;
mod disruption;
mod expiry;
mod finished;
mod list;
mod namespaces;
mod options;
mod patch;
mod pod_status;
mod scheduling;
mod taints;
#[cfg(test)]
mod tests;
mod update;
mod watch;

use std::sync::{Arc, Mutex};

use api::{NodeSupport, Setting};
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::body::read_json;
use crate::kinds::{Kind, api_version};
use crate::schema::{self, Misfit};
use crate::status::{ApiError, ApiResult};
use crate::store::{ObjectKey, Store, Stored};

use self::askers::Askers;
pub use self::delete::Deletion;
pub use self::disruption::Disruption;
pub use self::list::{List, ListOptions};
pub use self::options::{DeleteOptions, DryRun, Validation, WriteOptions};
pub use self::patch::{Patch, PatchFormat};
pub use self::watch::{Changes, Notice, NoticeKind};

/// How often a change that others get in the way of is tried again.
const CONFLICT_RETRIES_MAX: usize = 50;

/// The objects and what can be done with them.
#[derive(Clone, Debug)]
pub struct Registry {
    store: Store,
    /// The name of the node, which is the only one.
    node: Arc<str>,
    /// What it does for its pods.
    support: Arc<NodeSupport>,
    /// The states that lists in pieces began with.
    snapshots: Arc<Mutex<Vec<list::Snapshot>>>,
    /// Who asked for what is being deleted.
    askers: Askers,
    /// Taints of the node may drive other pods away than before.
    taints_changed: Arc<Notify>,
}

impl Registry {
    /// The registry over a store, for the node of this name.
    pub fn new(store: Store, node: &str) -> Self {
        let support = Arc::new(NodeSupport { setting: Setting::Served, ..NodeSupport::default() });
        Self { store, node: Arc::from(node), support, snapshots: Arc::default(), askers: Askers::default(), taints_changed: Arc::default() }
    }

    /// The same, for a node that does this for its pods.
    #[must_use]
    pub fn with_support(self, support: NodeSupport) -> Self {
        Self { support: Arc::new(NodeSupport { setting: Setting::Served, ..support }), ..self }
    }

    /// What the node does for its pods.
    pub(crate) fn support(&self) -> &NodeSupport {
        &self.support
    }

    /// The name of the node.
    pub fn node(&self) -> &str {
        &self.node
    }

    /// The store.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// An object.
    ///
    /// # Errors
    /// There is no such object.
    pub fn get(&self, kind: &Kind, namespace: &str, name: &str) -> ApiResult<Value> {
        let stored = self.stored(kind, namespace, name)?;
        Ok(shown_as(kind, stored.value()))
    }

    pub(crate) fn stored(&self, kind: &Kind, namespace: &str, name: &str) -> ApiResult<Arc<Stored>> {
        let key = ObjectKey::new(namespace, name);
        self.store.read(kind.stored_as, &key).ok_or_else(|| ApiError::not_found(kind, name))
    }
}

/// The form of the body of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// JSON.
    Json,
    /// YAML.
    Yaml,
    /// Protobuf in Kubernetes' envelope.
    Protobuf,
}

/// Reads the body of a request as an object of a kind, and makes it fit. Gives warnings.
///
/// # Errors
/// It is no such object, or has unknown fields where those are not allowed.
pub fn read_object(kind: &Kind, body: &[u8], encoding: Encoding, validation: Validation) -> ApiResult<(Value, Vec<String>)> {
    let read = match encoding {
        Encoding::Json => read_json(body).map_err(|error| error.to_string()),
        Encoding::Yaml => crate::body::read_yaml(body),
        Encoding::Protobuf => {
            crate::protobuf::read(body, kind.definition).map(|value| (value, Vec::new())).map_err(|error| error.to_string())
        }
    };
    let (value, duplicates) = read.map_err(|error| unreadable(kind, &error))?;
    fit(kind, value, duplicates, validation)
}

fn unreadable(kind: &Kind, error: &str) -> ApiError {
    ApiError::bad_request(format!("couldn't get version/kind; json parse error: {error} (expected a {})", kind.kind))
}

/// Makes a value fit the type of a kind.
pub(crate) fn fit(kind: &Kind, mut value: Value, duplicates: Vec<Misfit>, validation: Validation) -> ApiResult<(Value, Vec<String>)> {
    if !value.is_object() {
        return Err(unreadable(kind, "the body is no object"));
    }
    let version = kind.api_version();
    let (given_version, given_kind) = (value["apiVersion"].as_str().unwrap_or_default(), value["kind"].as_str().unwrap_or_default());
    if !given_version.is_empty() && given_version != version || !given_kind.is_empty() && given_kind != kind.kind {
        let message = format!(
            "the API version in the data ({given_version}) does not match the expected API version ({version}), or its kind ({given_kind}) is not {}",
            kind.kind
        );
        return Err(ApiError::bad_request(message));
    }
    let handled = |error: &dyn std::fmt::Display| {
        let name = kind.kind;
        ApiError::bad_request(format!("{name} in version \"{}\" cannot be handled as a {name}: {error}", kind.version))
    };
    let mut misfits = duplicates;
    schema::check(&mut value, kind.definition, &mut misfits).map_err(|error| handled(&error))?;
    value["apiVersion"] = json!(version);
    value["kind"] = json!(kind.kind);
    let texts: Vec<String> = misfits.iter().map(ToString::to_string).collect();
    match validation {
        Validation::Strict if !texts.is_empty() => Err(handled(&format!("strict decoding error: {}", texts.join(", ")))),
        Validation::Warn | Validation::Strict => Ok((value, texts)),
        Validation::Ignore => Ok((value, Vec::new())),
    }
}

/// Fields of events under the names of `events.k8s.io` and of the core group.
const EVENT_FIELDS: &[(&str, &str)] = &[
    ("regarding", "involvedObject"),
    ("note", "message"),
    ("reportingController", "reportingComponent"),
    ("deprecatedSource", "source"),
    ("deprecatedFirstTimestamp", "firstTimestamp"),
    ("deprecatedLastTimestamp", "lastTimestamp"),
    ("deprecatedCount", "count"),
];

/// A stored object as this kind shows it.
pub(crate) fn shown_as(kind: &Kind, mut object: Value) -> Value {
    if kind.group == "events.k8s.io" {
        rename(&mut object, |(new, old)| (old, new));
        object["apiVersion"] = json!(api_version(kind.group, kind.version));
    }
    object
}

/// An object of this kind as it is stored.
pub(crate) fn stored_form(kind: &Kind, mut object: Value) -> Value {
    if kind.group == "events.k8s.io" {
        rename(&mut object, |pair| pair);
        object["apiVersion"] = json!("v1");
    }
    object
}

fn rename(object: &mut Value, direction: fn((&'static str, &'static str)) -> (&'static str, &'static str)) {
    let Some(fields) = object.as_object_mut() else { return };
    for pair in EVENT_FIELDS {
        let (from, to) = direction(*pair);
        if let Some(value) = fields.remove(from) {
            fields.insert(to.to_owned(), value);
        }
    }
}

/// The time of a change.
pub fn now() -> Timestamp {
    let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let seconds = i64::try_from(since_epoch.as_secs()).unwrap_or(i64::MAX);
    let nanoseconds = i32::try_from(since_epoch.subsec_nanos()).unwrap_or(0);
    Timestamp::new(seconds, nanoseconds).unwrap_or(Timestamp::MAX)
}

/// A random identifier (version 4).
pub(crate) fn random_uid() -> ApiResult<String> {
    let mut bytes = [0; 16];
    fill_random(&mut bytes)?;
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]))
}

/// The end of a generated name: letters and digits that make no words.
pub(crate) fn random_suffix() -> ApiResult<String> {
    const LETTERS: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";
    let mut bytes = [0; 5];
    fill_random(&mut bytes)?;
    Ok(bytes.iter().map(|byte| char::from(LETTERS[usize::from(*byte) % LETTERS.len()])).collect())
}

pub(crate) fn fill_random(bytes: &mut [u8]) -> ApiResult<()> {
    use ring::rand::SecureRandom as _;
    ring::rand::SystemRandom::new().fill(bytes).map_err(|_| ApiError::internal("no random numbers"))
}
