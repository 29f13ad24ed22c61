//! The configuration file of a node: a `KubeletConfiguration`, read as strictly as a manifest.
//!
//! Everything wrong is found at once, with its place. A field that is not acted on is refused by name, so that nobody relies on what
//! does not happen; [`fields`] has what becomes of each. Not here: what thresholds of eviction mean, which the node knows.

pub mod fields;
mod values;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Deserializer};
use serde_json::Value;

use self::fields::{Fate, fate};
use crate::diagnostic::{Diagnostic, Severity};
use crate::path::FieldPath;
use crate::read::{Document, ReadError, read};
use crate::schema::{SchemaError, check_as};
use crate::source::Source;

/// The kind of the file.
pub const KIND: &str = "KubeletConfiguration";
/// Its version.
pub const API_VERSION: &str = "kubelet.config.k8s.io/v1beta1";
/// Its type, of which [`CONFIGURATION_JSON`](crate::schema::CONFIGURATION_JSON) tells the fields.
pub const TYPE: &str = "io.k8s.kubelet.config.v1beta1.KubeletConfiguration";

/// What the file says, of the fields that are acted on. What it does not say is `None`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct KubeletConfiguration {
    /// The folder, or the file, of static pods.
    pub static_pod_path: Option<String>,
    /// Time between two looks at it.
    #[serde(deserialize_with = "duration")]
    pub file_check_frequency: Option<Duration>,
    /// Images go when more than this part of their file system is in use.
    #[serde(rename = "imageGCHighThresholdPercent")]
    pub image_gc_high_threshold_percent: Option<i64>,
    /// They go until no more than this is in use.
    #[serde(rename = "imageGCLowThresholdPercent")]
    pub image_gc_low_threshold_percent: Option<i64>,
    /// Younger images stay.
    #[serde(rename = "imageMinimumGCAge", deserialize_with = "duration")]
    pub image_minimum_gc_age: Option<Duration>,
    /// Images that were not used for so long go in any case; zero for never.
    #[serde(rename = "imageMaximumGCAge", deserialize_with = "duration")]
    pub image_maximum_gc_age: Option<Duration>,
    /// The most pods at a time.
    pub max_pods: Option<u32>,
    /// The most pods for each CPU; 0 for no limit.
    pub pods_per_core: Option<u32>,
    /// The most processes of one pod; -1 for no limit.
    pub pod_pids_limit: Option<i64>,
    /// The most images in the node's status; -1 for no limit.
    pub node_status_max_images: Option<i64>,
    /// Whether images are pulled one after the other.
    pub serialize_image_pulls: Option<bool>,
    /// The most pulls at a time.
    pub max_parallel_image_pulls: Option<u32>,
    /// Hard thresholds, by signal.
    pub eviction_hard: Option<BTreeMap<String, String>>,
    /// Soft thresholds, by signal.
    pub eviction_soft: Option<BTreeMap<String, String>>,
    /// Their grace periods, by signal.
    pub eviction_soft_grace_period: Option<BTreeMap<String, String>>,
    /// What has to be there beyond a threshold, by signal.
    pub eviction_minimum_reclaim: Option<BTreeMap<String, String>>,
    /// How long a condition of the node stays after it was last true.
    #[serde(deserialize_with = "duration")]
    pub eviction_pressure_transition_period: Option<Duration>,
    /// The longest grace in seconds of a pod that a soft threshold evicts.
    pub eviction_max_pod_grace_period: Option<u64>,
    /// Whether hard thresholds that the file does not name keep their defaults.
    pub merge_default_eviction_settings: Option<bool>,
    /// The largest log file of a container, an amount of bytes.
    pub container_log_max_size: Option<String>,
    /// How many log files of a container are kept.
    pub container_log_max_files: Option<u32>,
    /// Kept from pods for the system, by resource.
    pub system_reserved: Option<BTreeMap<String, String>>,
    /// Kept from pods for the engine, by resource.
    pub kube_reserved: Option<BTreeMap<String, String>>,
    /// Kernel parameters that pods may set besides the safe ones: names, or beginnings that end with `*`.
    pub allowed_unsafe_sysctls: Option<Vec<String>>,
    /// Pauses before containers that crash are started again.
    pub crash_loop_back_off: Option<CrashLoopBackOff>,
    /// How long all pods may take when the machine goes down.
    #[serde(deserialize_with = "duration")]
    pub shutdown_grace_period: Option<Duration>,
    /// The last part of that, for critical pods.
    #[serde(deserialize_with = "duration")]
    pub shutdown_grace_period_critical_pods: Option<Duration>,
    /// Times of groups of pods instead.
    pub shutdown_grace_period_by_pod_priority: Option<Vec<PriorityGroup>>,
}

/// Pauses before containers that crash are started again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CrashLoopBackOff {
    /// The longest one.
    #[serde(deserialize_with = "duration")]
    pub max_container_restart_period: Option<Duration>,
}

/// Pods of this priority and above, and how long they may take when the machine goes down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PriorityGroup {
    /// The lowest priority in the group.
    pub priority: i32,
    /// How long.
    pub shutdown_grace_period_seconds: u64,
}

/// A file after reading.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Loaded {
    /// What it says; the default if something is wrong with it.
    pub configuration: KubeletConfiguration,
    /// Where it says that, unless it cannot be read at all.
    pub document: Option<Document>,
    /// Everything that is wrong, in the order of the text.
    pub diagnostics: Vec<Diagnostic>,
}

impl Loaded {
    /// Whether something is wrong, so that nothing of the file should be used.
    pub fn has_errors(&self) -> bool {
        self.diagnostics.iter().any(|diagnostic| diagnostic.severity == Severity::Error)
    }

    /// Tells of something more that is wrong with the value at `path`.
    pub fn refuse(&mut self, path: FieldPath, message: impl std::fmt::Display) {
        let Some(document) = &self.document else { return };
        self.diagnostics.push(wrong_value(document, path, &message.to_string()));
        self.diagnostics.sort_by_key(|diagnostic| diagnostic.primary.as_ref().map(|label| label.span.start));
    }
}

/// Reads the text of a configuration file, YAML or JSON.
pub fn load(source: &Source) -> Loaded {
    let reading = read(source);
    let mut diagnostics: Vec<_> = reading.errors.iter().map(unreadable).collect();
    let mut documents = reading.documents.into_iter();
    let Some(document) = documents.next() else { return Loaded { diagnostics, ..Loaded::default() } };
    for other in documents {
        let message = format!("a configuration file has one {KIND}");
        diagnostics.push(Diagnostic::error(message).at(other.positions.span, "this is another object"));
    }
    if !check_kind(&document, &mut diagnostics) {
        return Loaded { diagnostics, document: Some(document), ..Loaded::default() };
    }
    let checked = check_as(&document, TYPE);
    diagnostics.extend(checked.errors.iter().map(SchemaError::diagnostic));
    diagnostics.extend(refused(&document));
    diagnostics.extend(values::wrong(&document, &checked.value));
    diagnostics.sort_by_key(|diagnostic| diagnostic.primary.as_ref().map(|label| label.span.start));
    let mut loaded = Loaded { diagnostics, document: Some(document), ..Loaded::default() };
    if !loaded.has_errors() {
        match serde_json::from_value(checked.value) {
            Ok(configuration) => loaded.configuration = configuration,
            // What fits its type and its ranges can be taken, so an error here is a gap between them.
            Err(error) => loaded.refuse(FieldPath::root(), format!("this is no {KIND}: {error}")),
        }
    }
    loaded
}

/// As of a manifest, but in the words of this file.
fn unreadable(error: &ReadError) -> Diagnostic {
    if let ReadError::MissingType { field, span, .. } = error {
        let value = if *field == "kind" { KIND } else { API_VERSION };
        return Diagnostic::error(error.to_string()).at(*span, "").help(format!("begin the file with `{field}: {value}`"));
    }
    if *error == ReadError::Empty {
        let help = format!("it begins with `apiVersion: {API_VERSION}` and `kind: {KIND}`");
        return Diagnostic::error("there is no configuration in this file").help(help);
    }
    error.diagnostic()
}

fn check_kind(document: &Document, diagnostics: &mut Vec<Diagnostic>) -> bool {
    let wrong = [("kind", &document.kind, KIND), ("apiVersion", &document.api_version, API_VERSION)];
    let wrong = wrong.into_iter().find(|(_, found, wanted)| found.as_str() != *wanted);
    let Some((field, _, wanted)) = wrong else { return true };
    let (_, place) = document.place(&FieldPath::new(field));
    let message = format!("no matches for kind {:?} in version {:?}", document.kind, document.api_version);
    diagnostics.push(Diagnostic::error(message).about(FieldPath::new(field)).at(place.value, format!("write `{field}: {wanted}`")));
    false
}

/// Fields that there are, but that are not acted on, or not in that way.
fn refused(document: &Document) -> Vec<Diagnostic> {
    let entries = document.positions.entries().iter();
    let refused = entries.filter_map(|entry| {
        let path = FieldPath::new(entry.key.clone());
        match fate(&entry.key)? {
            Fate::ActedOn(_) => None,
            Fate::Only { value, why } => {
                let is_so = serde_json::from_str(value).is_ok_and(|value: Value| entry.value.to_value() == value);
                let message = format!("{path}: Unsupported value: only {value} is supported");
                (!is_so).then(|| Diagnostic::error(message).about(path).at(entry.value.span, "").help(why))
            }
            Fate::Refused(why) => {
                let message = format!("\"{path}\" is a field of {KIND} that is not supported here");
                let refused = Diagnostic::error(message).about(path).at(entry.key_span, "");
                Some(if why.is_empty() { refused } else { refused.help(why) })
            }
        }
    });
    refused.collect()
}

fn wrong_value(document: &Document, path: FieldPath, message: &str) -> Diagnostic {
    let (_, place) = document.place(&path);
    let span = match place.key {
        Some(key) if place.value.is_empty() => key,
        _ => place.value,
    };
    let message = if path.is_root() { message.to_owned() } else { format!("{path}: {message}") };
    Diagnostic::error(message).about(path).at(span, "")
}

fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let text = String::deserialize(deserializer)?;
    crate::duration::parse(&text).map(Some).ok_or_else(|| serde::de::Error::custom(format!("{text:?} is no length of time")))
}
