//! All steps from the text of a manifest to objects that can be run, with everything wrong found at once.

use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::defaults::{DEFAULT_NAMESPACE, default_config_map, default_pod, default_secret, repair_grace_period};
use crate::diagnostic::{Diagnostic, Severity};
use crate::overrides::Overrides;
use crate::path::{FieldPath, Segment};
use crate::read::{Document, read};
use crate::schema::{self, SCHEMA_ERRORS_MAX, SchemaError, SchemaErrorKind};
use crate::source::{Source, Span};
use crate::support::{NodeSupport, unsupported_at};
use crate::validate::{ErrorKind, FieldError, validate_config_map, validate_pod_create, validate_replica, validate_secret};
use crate::warnings::warnings_at;
use crate::workload::{Replica, WorkloadKind, replica};

/// The most fields of one object that are told of as not valid; the others are counted.
pub const FIELD_ERRORS_MAX: usize = 100;

/// An object of a manifest, defaulted and valid.
#[derive(Clone, Debug, PartialEq)]
pub enum Object {
    /// A Pod that the engine can run.
    Pod(Box<Pod>),
    /// A ConfigMap.
    ConfigMap(ConfigMap),
    /// A Secret.
    Secret(Secret),
    /// One Pod, which the engine can run, of an object that makes Pods.
    Replica(Box<Replica>),
    /// An object of another kind. If the kind is known, it fits its type; nothing more was checked.
    Other(Box<Other>),
}

/// An object of which no Pod is made here.
#[derive(Clone, Debug, PartialEq)]
pub struct Other {
    /// The object as written.
    pub document: Document,
    /// The object as it fits its type; see [`schema::Checked`].
    pub value: Value,
}

/// A manifest after all steps.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Manifest {
    /// The objects without errors, in the order of the text.
    pub objects: Vec<Object>,
    /// Everything found, in the order of the text.
    pub diagnostics: Vec<Diagnostic>,
}

impl Manifest {
    /// Whether something is wrong, so that nothing of the manifest should be used.
    pub fn has_errors(&self) -> bool {
        self.diagnostics.iter().any(|diagnostic| diagnostic.severity == Severity::Error)
    }
}

/// What reading a manifest depends on beside its text.
#[derive(Clone, Copy, Debug)]
pub struct LoadOptions<'a> {
    /// Of objects that name none.
    pub namespace: &'a str,
    /// Changes of the Pods.
    pub overrides: &'a Overrides,
    /// What the node on which they are to run does for its pods.
    pub node: &'a NodeSupport,
}

/// Reads a manifest and takes every object in it through all steps.
///
/// Objects that name no namespace are in [`DEFAULT_NAMESPACE`]; see [`load_into`] for another.
pub fn load(source: &Source) -> Manifest {
    load_into(source, DEFAULT_NAMESPACE)
}

/// The same, with the namespace of objects that name none.
pub fn load_into(source: &Source, namespace: &str) -> Manifest {
    load_with(source, LoadOptions { namespace, overrides: &Overrides::default(), node: &NodeSupport::default() })
}

/// The same, with changes of the Pods.
pub fn load_with(source: &Source, options: LoadOptions<'_>) -> Manifest {
    let reading = read(source);
    let mut manifest = Manifest { objects: Vec::new(), diagnostics: reading.diagnostics() };
    for document in reading.documents {
        take(document, options, &mut manifest);
    }
    // Errors of reading come before those of the objects they may explain.
    manifest.diagnostics.sort_by_key(|diagnostic| diagnostic.primary.as_ref().map(|label| label.span.start));
    manifest
}

fn take(document: Document, options: LoadOptions<'_>, manifest: &mut Manifest) {
    let checked = schema::check(&document);
    let mut step = Step { document: &document, options, schema: checked.errors, diagnostics: Vec::new() };
    let (api_version, kind) = (document.api_version.as_str(), document.kind.as_str());
    let object = match (api_version, kind, WorkloadKind::of(api_version, kind)) {
        ("v1", "Pod", _) => step.pod(checked.value),
        ("v1", "ConfigMap", _) => step.simple(checked.value, default_config_map, validate_config_map).map(Object::ConfigMap),
        ("v1", "Secret", _) => step.simple(checked.value, default_secret, validate_secret).map(Object::Secret),
        (.., Some(kind)) => step.workload(kind, checked.value),
        (.., None) => {
            step.report(Vec::new(), Missing::Schema);
            Some(Object::Other(Box::new(Other { document: document.clone(), value: checked.value })))
        }
    };
    let wrong = step.diagnostics.iter().any(|diagnostic| diagnostic.severity == Severity::Error);
    manifest.diagnostics.append(&mut step.diagnostics);
    manifest.objects.extend(object.filter(|_| !wrong));
}

/// Who speaks of fields that are not there.
#[derive(Clone, PartialEq, Eq)]
enum Missing {
    /// The rules of the kind do, in the words of the reference.
    Rules,
    /// The rules do inside of this field, the type elsewhere.
    RulesIn(FieldPath),
    /// There are no rules for the kind here, so its type does.
    Schema,
}

struct Step<'d> {
    document: &'d Document,
    options: LoadOptions<'d>,
    schema: Vec<SchemaError>,
    diagnostics: Vec<Diagnostic>,
}

impl Step<'_> {
    fn pod(&mut self, value: Value) -> Option<Object> {
        let mut pod: Pod = self.typed(value)?;
        self.complete(&mut pod, &FieldPath::root(), Missing::Rules, validate_pod_create);
        Some(Object::Pod(Box::new(pod)))
    }

    /// One Pod of what makes Pods; what is said of it names the places in the template.
    fn workload(&mut self, kind: WorkloadKind, value: Value) -> Option<Object> {
        let value = self.with_namespace(value);
        let mut replica = match replica(kind, value) {
            Ok(replica) => replica,
            Err(error) => return self.no_such(&error),
        };
        let mut pod = std::mem::take(&mut replica.pod);
        self.complete(&mut pod, &kind.template_path(), Missing::RulesIn(kind.template_path()), |pod| {
            replica.pod.clone_from(pod);
            validate_replica(&replica)
        });
        replica.pod = pod;
        Some(Object::Replica(Box::new(replica)))
    }

    /// Takes a Pod that is at `path` of the document through the steps after reading.
    fn complete(&mut self, pod: &mut Pod, path: &FieldPath, missing: Missing, validate: impl FnOnce(&Pod) -> Vec<FieldError>) {
        let problems = self.options.overrides.apply(pod);
        let (_, kind) = self.document.place(&FieldPath::new("kind"));
        self.diagnostics.extend(problems.into_iter().map(|problem| Diagnostic::error(problem).at(kind.value, "")));
        let refused = unsupported_at(pod, &path.child("spec"), self.options.node);
        default_pod(pod);
        let warnings = warnings_at(pod, path);
        repair_grace_period(pod);
        self.report(validate(pod), missing);
        self.diagnostics.extend(refused.iter().map(|unsupported| unsupported.diagnostic(self.document)));
        let follows = |path: &FieldPath| self.schema.iter().any(|cause| cause.path.contains(path));
        let warnings = warnings.iter().filter(|warning| !follows(&warning.path));
        self.diagnostics.extend(warnings.map(|warning| warning.diagnostic(self.document)));
    }

    fn simple<T: DeserializeOwned>(&mut self, value: Value, default: fn(&mut T), validate: fn(&T) -> Vec<FieldError>) -> Option<T> {
        let mut object: T = self.typed(value)?;
        default(&mut object);
        self.report(validate(&object), Missing::Rules);
        Some(object)
    }

    /// The typed object. What fits its schema fits its type, so an error here is a gap between the two.
    fn typed<T: DeserializeOwned>(&mut self, value: Value) -> Option<T> {
        let value = self.with_namespace(value);
        match serde_json::from_value(value) {
            Ok(object) => Some(object),
            Err(error) => self.no_such(&error),
        }
    }

    fn with_namespace(&self, mut value: Value) -> Value {
        if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
            let named = metadata.get("namespace").is_some_and(|namespace| namespace != "");
            if !named {
                metadata.insert("namespace".to_owned(), Value::from(self.options.namespace));
            }
        }
        value
    }

    fn no_such<T>(&mut self, error: &serde_json::Error) -> Option<T> {
        let place = self.document.positions.span;
        let kind = &self.document.kind;
        self.diagnostics.push(Diagnostic::error(format!("this is no {kind}: {error}")).at(place, ""));
        self.report(Vec::new(), Missing::Schema);
        None
    }

    /// Tells of errors, each once: what a value of the wrong type leads to in the rules is not told of again.
    fn report(&mut self, errors: Vec<FieldError>, missing: Missing) {
        let told = |error: &&SchemaError| {
            error.kind != SchemaErrorKind::Missing
                || match &missing {
                    Missing::Rules => false,
                    Missing::RulesIn(path) => *path == error.path || !path.contains(&error.path),
                    Missing::Schema => true,
                }
        };
        self.diagnostics.extend(self.schema.iter().filter(told).map(SchemaError::diagnostic));
        if self.schema.len() >= SCHEMA_ERRORS_MAX {
            // The rest of the object was not looked at, so the rules would miss what is there.
            return;
        }
        let is_news =
            |error: &&FieldError| !self.schema.iter().any(|cause| leads_to(cause, error)) && !is_about_default(error, self.document);
        let mut errors = errors.iter().filter(is_news);
        let shown = errors.by_ref().take(FIELD_ERRORS_MAX).map(|error| error.diagnostic(self.document));
        self.diagnostics.extend(shown.collect::<Vec<_>>());
        let more = errors.count();
        if more > 0 {
            let message = format!("{} more fields of this {} are not valid", more, self.document.kind);
            let end = self.document.positions.span.end;
            self.diagnostics.push(Diagnostic::error(message).at(Span::new(end, end), ""));
        }
    }
}

/// Whether an error of the rules is there only because a value was of the wrong type, or under a wrong name, and
/// therefore left out.
pub(crate) fn leads_to(cause: &SchemaError, error: &FieldError) -> bool {
    let path = error.exact.as_ref().unwrap_or(&error.path);
    match &cause.kind {
        SchemaErrorKind::WrongType { .. } | SchemaErrorKind::BadValue { .. } => {
            cause.path.contains(path) || path.contains(&cause.path) && error.kind == ErrorKind::Required
        }
        SchemaErrorKind::UnknownField => {
            // `imag: x` already says what is the matter with the missing `image`.
            let meant = path.segments().last().and_then(|segment| match segment {
                Segment::Field(name) => Some(format!("did you mean `{name}`?")),
                Segment::Index(_) | Segment::Key(_) => None,
            });
            // What a hook or probe should do is there, under the wrong name.
            let misplaced = cause.path.parent().as_ref() == Some(path) && error.detail == "must specify a handler type";
            let named = cause.path.parent() == path.parent() && meant.is_some_and(|meant| meant == cause.note);
            error.kind == ErrorKind::Required && (misplaced || named)
        }
        SchemaErrorKind::Missing | SchemaErrorKind::UnknownKind { .. } => false,
    }
}

/// Whether an error is about a request that nobody wrote: it was taken from the limit, which has the same error.
fn is_about_default(error: &FieldError, document: &Document) -> bool {
    let request = Segment::Field("requests".into());
    let Some((key, above)) = error.path.segments().split_last() else { return false };
    let Some((field, resources)) = above.split_last().filter(|(field, _)| **field == request) else { return false };
    let path = |field: &Segment| resources.iter().chain([field, key]).fold(FieldPath::root(), |path, step| path.with(step.clone()));
    let limit = path(&Segment::Field("limits".into()));
    document.positions.find(&path(field)).is_none() && document.positions.find(&limit).is_some()
}

/// For fuzzers: takes any bytes through all steps and the rendering. Must not panic, and every place found must lie in
/// the text.
pub fn fuzz_read(data: &[u8]) {
    let Ok(source) = Source::new("fuzz.yaml", data) else {
        return;
    };
    let manifest = load(&source);
    for diagnostic in &manifest.diagnostics {
        for label in diagnostic.primary.iter().chain(&diagnostic.related) {
            let inside = source.text().get(label.span.start..label.span.end).is_some();
            assert!(inside, "{:?} is not inside the text for: {}", label.span, diagnostic.message);
        }
    }
    let _ = crate::render(&source, &manifest.diagnostics, crate::Colour::Plain);
}
