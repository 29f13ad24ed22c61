//! Rules about the shape of objects, which reading and validation know already: `USH001` to `USH004`. They also make
//! the pod that the other rules look at.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{PersistentVolumeClaimVolumeSource, Pod, PodSpec, PodTemplateSpec, Volume};
use serde_json::Value;

use super::{Finding, Rule, TEMPLATE_ACTION, container_of, object_name};
use crate::defaults::{default_pod, default_pod_spec};
use crate::diagnostic::Diagnostic;
use crate::manifest::{FIELD_ERRORS_MAX, leads_to};
use crate::path::FieldPath;
use crate::read::{Document, ReadError};
use crate::schema::{self, SCHEMA_ERRORS_MAX, SchemaError, SchemaErrorKind, UnknownKind, type_of_kind};
use crate::template::{Ending, Template, Workload};
use crate::validate::{FieldError, validate_pod_create, validate_pod_spec};
use crate::warnings::warnings;
use crate::workload::WorkloadKind;

/// The pod that an object describes.
#[derive(Debug)]
pub(super) struct Described {
    pub(super) template: Template,
    /// Defaulted.
    pub(super) spec: PodSpec,
    /// Of the pods.
    pub(super) labels: BTreeMap<String, String>,
}

/// Kinds of the groups known here that describe no pods, or are of the past.
const OTHER_KINDS: &[&str] = &[
    "Binding",
    "ComponentStatus",
    "ControllerRevision",
    "Endpoints",
    "Event",
    "LimitRange",
    "List",
    "Namespace",
    "Node",
    "PersistentVolume",
    "PersistentVolumeClaim",
    "ReplicationController",
    "ResourceQuota",
    "Service",
    "ServiceAccount",
];

/// What is wrong with the text around the objects.
pub(super) fn of_text(error: &ReadError) -> Option<Finding> {
    finding("USH003", error.diagnostic(), None)
}

/// Looks at the shape of an object, and gives the pod that it describes.
pub(super) fn of_object(document: &Document, found: &mut Vec<Finding>) -> Option<Described> {
    let checked = schema::check(document);
    let template = Template::of(document);
    let is_patch = template.as_ref().is_some_and(|template| is_patch(document, template));
    for error in &checked.errors {
        let id = match error.kind {
            SchemaErrorKind::UnknownField => "USH001",
            SchemaErrorKind::WrongType { .. } | SchemaErrorKind::BadValue { .. } => "USH002",
            SchemaErrorKind::UnknownKind { .. } if !is_slip(document) => return None,
            // What a pod lacks is said below, in the words of its rules.
            SchemaErrorKind::Missing if is_patch || in_pod(error, template.as_ref()) || is_selector(error) => continue,
            SchemaErrorKind::Missing | SchemaErrorKind::UnknownKind { .. } => "USH003",
        };
        found.extend(finding(id, error.diagnostic(), Some(document)));
    }
    let template = template?;
    let value = template.path.segments().iter().try_fold(&checked.value, |value, segment| match segment {
        crate::path::Segment::Field(name) => value.get(name.as_ref()),
        crate::path::Segment::Index(_) | crate::path::Segment::Key(_) => None,
    });
    let described: PodTemplateSpec = serde_json::from_value(value.cloned().unwrap_or(Value::Null)).ok()?;
    let mut spec = described.spec.clone().unwrap_or_default();
    let restart_policy = spec.restart_policy.clone();
    default_pod_spec(&mut spec);
    if !is_patch && checked.errors.len() < SCHEMA_ERRORS_MAX {
        refused(document, &template, &described, &spec, &checked.errors, found);
        restart_policy_of(document, &template, restart_policy.as_deref(), found);
    }
    let labels = described.metadata.as_ref().and_then(|metadata| metadata.labels.clone()).unwrap_or_default();
    warned(document, &template, described, &spec, &checked.errors, found);
    Some(Described { template, spec, labels })
}

/// What the API server refuses.
fn refused(
    document: &Document,
    template: &Template,
    described: &PodTemplateSpec,
    spec: &PodSpec,
    schema: &[SchemaError],
    found: &mut Vec<Finding>,
) {
    let errors: Vec<FieldError> = match template.workload {
        Workload::Pod => {
            let mut metadata = described.metadata.clone().unwrap_or_default();
            metadata.namespace.get_or_insert_with(|| crate::defaults::DEFAULT_NAMESPACE.to_owned());
            validate_pod_create(&Pod { metadata, spec: Some(spec.clone()), status: None })
        }
        Workload::PodTemplate | Workload::Of(_) => validate_pod_spec(&with_claims(document, spec), &template.path.child("spec")),
    };
    // A value that a template will fill in is not the value.
    let is_filled_in = |error: &FieldError| error.to_string().contains(TEMPLATE_ACTION);
    let is_news = |error: &&FieldError| !is_filled_in(error) && !schema.iter().any(|cause| leads_to(cause, error));
    let errors = errors.iter().filter(is_news).take(FIELD_ERRORS_MAX);
    found.extend(errors.filter_map(|error| finding("USH003", error.diagnostic(document), Some(document))));
}

/// The pods of a StatefulSet get a volume for each of its claim templates.
fn with_claims(document: &Document, spec: &PodSpec) -> PodSpec {
    let mut spec = spec.clone();
    let claims = document.value.pointer("/spec/volumeClaimTemplates").and_then(Value::as_array);
    for claim in claims.into_iter().flatten() {
        let Some(name) = claim.pointer("/metadata/name").and_then(Value::as_str) else { continue };
        let volumes = spec.volumes.get_or_insert_default();
        if volumes.iter().all(|volume| volume.name != name) {
            let source = PersistentVolumeClaimVolumeSource { claim_name: name.to_owned(), read_only: None };
            volumes.push(Volume { name: name.to_owned(), persistent_volume_claim: Some(source), ..Volume::default() });
        }
    }
    spec
}

/// Controllers take one way of ending only.
fn restart_policy_of(document: &Document, template: &Template, written: Option<&str>, found: &mut Vec<Finding>) {
    let policy = written.filter(|policy| !policy.is_empty()).unwrap_or("Always");
    if !matches!(policy, "Always" | "OnFailure" | "Never") {
        return;
    }
    let allowed = match template.workload.ending() {
        Ending::Deleted if policy != "Always" => "`Always`",
        Ending::Completed if policy == "Always" => "`Never` or `OnFailure`",
        Ending::Deleted | Ending::Completed | Ending::ByRestartPolicy => return,
    };
    let path = template.path.child("spec").child("restartPolicy");
    let (exact, place) = document.place(&path);
    let message = format!("the pods of a {} must have a restartPolicy of {allowed}", document.kind);
    let note = if exact == path { "the API server refuses this" } else { "`restartPolicy` is missing here: the default is `Always`" };
    let span = if exact == path { place.value } else { place.key.unwrap_or(place.value) };
    found.extend(finding("USH003", Diagnostic::error(message).about(path).at(span, note), Some(document)));
}

/// What the API server takes with a warning.
fn warned(
    document: &Document,
    template: &Template,
    described: PodTemplateSpec,
    spec: &PodSpec,
    schema: &[SchemaError],
    found: &mut Vec<Finding>,
) {
    let mut pod = Pod { metadata: described.metadata.unwrap_or_default(), spec: described.spec, status: None };
    default_pod(&mut pod);
    // Requests that are taken from limits would be told of twice.
    pod.spec = Some(spec.clone());
    for mut warning in warnings(&pod) {
        // A rule of its own says this.
        if warning.path.segments().last() == Some(&crate::path::Segment::Field("tcpSocket".into())) {
            continue;
        }
        warning.path = warning.path.segments().iter().fold(template.path.clone(), |path, segment| path.with(segment.clone()));
        if schema.iter().any(|cause| cause.path.contains(&warning.path)) {
            continue;
        }
        found.extend(finding("USH004", warning.diagnostic(document), Some(document)));
    }
}

fn finding(id: &str, diagnostic: Diagnostic, document: Option<&Document>) -> Option<Finding> {
    let primary = diagnostic.primary?;
    let path = diagnostic.path.unwrap_or_default();
    Some(Finding {
        rule: Rule::find(id)?,
        message: diagnostic.message,
        container: document.and_then(|document| container_of(document, &path)),
        object: document.map(object_name).unwrap_or_default(),
        path,
        span: primary.span,
        note: primary.text,
        related: diagnostic.related,
        help: diagnostic.help,
    })
}

/// Tools that put labels on all objects of a folder add the selector too, so manifests for them lack it.
fn is_selector(error: &SchemaError) -> bool {
    error.path == FieldPath::new("spec").child("selector")
}

/// Whether something is missing in the pod itself, so that the rules of pods say so.
fn in_pod(error: &SchemaError, template: Option<&Template>) -> bool {
    template.is_some_and(|template| template.workload == Workload::Pod || template.path.child("spec").contains(&error.path))
}

/// Whether a kind that is not known is a slip, and not one of the many others: custom resources, services and so on.
fn is_slip(document: &Document) -> bool {
    let group = document.api_version.split_once('/').map_or("", |(group, _)| group);
    match type_of_kind(&document.api_version, &document.kind) {
        Ok(_) | Err(UnknownKind::Elsewhere | UnknownKind::Other) => false,
        Err(UnknownKind::OtherVersion { .. }) => matches!(group, "" | "apps" | "batch" | "extensions"),
        Err(UnknownKind::Near(_)) => matches!(group, "" | "apps" | "batch") && !OTHER_KINDS.contains(&document.kind.as_str()),
    }
}

/// Whether this is a part of an object, to be laid over another: the selector is missing and no container has an image.
fn is_patch(document: &Document, template: &Template) -> bool {
    let spec = template.path.child("spec");
    let containers = document.positions.descendant(&spec.child("containers")).map(crate::read::Node::items).unwrap_or_default();
    let without_image = containers.iter().all(|container| container.get("image").is_none());
    let selected = matches!(
        template.workload,
        Workload::Of(WorkloadKind::Deployment | WorkloadKind::StatefulSet | WorkloadKind::DaemonSet | WorkloadKind::ReplicaSet)
    );
    selected && without_image && document.positions.find(&FieldPath::new("spec").child("selector")).is_none()
}
