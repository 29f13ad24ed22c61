//! One Pod of the objects that make Pods: of a Deployment, a Job and so on, as their controllers would make it.
//!
//! Not a controller: one Pod, made once. Its name is the one that the controller would give, with one difference: the last
//! characters are not drawn at random but made from what the Pod is of, so that it has the same name whenever it is run.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    EnvVar, EnvVarSource, ObjectFieldSelector, PersistentVolumeClaim, PersistentVolumeClaimVolumeSource, Pod, PodTemplateSpec, Volume,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use serde::Deserialize;
use serde_json::Value;

use crate::defaults::{DEFAULT_NAMESPACE, default_text, generated_name};
use crate::path::FieldPath;

/// A kind that makes Pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorkloadKind {
    /// `apps/v1`
    Deployment,
    /// `apps/v1`
    StatefulSet,
    /// `apps/v1`
    DaemonSet,
    /// `apps/v1`
    ReplicaSet,
    /// `v1`
    ReplicationController,
    /// `batch/v1`
    Job,
    /// `batch/v1`
    CronJob,
    /// `v1`; makes nothing by itself: its Pod is the one that somebody makes from it.
    PodTemplate,
}

/// One Pod of a workload.
#[derive(Clone, Debug, PartialEq)]
pub struct Replica {
    /// What the workload is.
    pub kind: WorkloadKind,
    /// Its metadata.
    pub metadata: ObjectMeta,
    /// How many Pods it would have: `replicas`, or `parallelism` of a Job; `None` where that depends on the cluster or the time.
    pub wanted: Option<i64>,
    /// Which Pods are its own; `None` where it says nothing.
    pub selector: Option<LabelSelector>,
    /// The labels of the template, which are to be selected.
    pub labels: BTreeMap<String, String>,
    /// The one Pod.
    pub pod: Pod,
}

/// What all of the kinds say, each the part that it has.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Workload {
    metadata: ObjectMeta,
    spec: WorkloadSpec,
    /// That of a PodTemplate, which has no `spec`.
    template: PodTemplateSpec,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct WorkloadSpec {
    replicas: Option<i64>,
    parallelism: Option<i64>,
    completion_mode: Option<String>,
    suspend: Option<bool>,
    selector: Option<Value>,
    service_name: Option<String>,
    ordinals: Option<Ordinals>,
    volume_claim_templates: Vec<PersistentVolumeClaim>,
    template: PodTemplateSpec,
    job_template: Option<Box<Workload>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Ordinals {
    start: i64,
}

impl WorkloadKind {
    const ALL: [Self; 8] = [
        Self::Deployment,
        Self::StatefulSet,
        Self::DaemonSet,
        Self::ReplicaSet,
        Self::ReplicationController,
        Self::Job,
        Self::CronJob,
        Self::PodTemplate,
    ];

    /// The kind that an object says it is, if it makes Pods.
    pub fn of(api_version: &str, kind: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.name() == kind && known.api_version() == api_version)
    }

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Deployment => "Deployment",
            Self::StatefulSet => "StatefulSet",
            Self::DaemonSet => "DaemonSet",
            Self::ReplicaSet => "ReplicaSet",
            Self::ReplicationController => "ReplicationController",
            Self::Job => "Job",
            Self::CronJob => "CronJob",
            Self::PodTemplate => "PodTemplate",
        }
    }

    const fn api_version(self) -> &'static str {
        match self {
            Self::Deployment | Self::StatefulSet | Self::DaemonSet | Self::ReplicaSet => "apps/v1",
            Self::ReplicationController | Self::PodTemplate => "v1",
            Self::Job | Self::CronJob => "batch/v1",
        }
    }

    /// Where the template of its Pods is.
    pub fn template_path(self) -> FieldPath {
        let spec = FieldPath::new("spec");
        match self {
            Self::PodTemplate => FieldPath::new("template"),
            Self::CronJob => spec.child("jobTemplate").child("spec").child("template"),
            Self::Deployment | Self::StatefulSet | Self::DaemonSet | Self::ReplicaSet | Self::ReplicationController | Self::Job => {
                spec.child("template")
            }
        }
    }

    /// Whether its Pods come to an end.
    pub const fn is_job(self) -> bool {
        matches!(self, Self::Job | Self::CronJob)
    }
}

/// The Pod that a workload makes first. What fits the schema of the kind fits here, so an error is a gap between the two.
pub(crate) fn replica(kind: WorkloadKind, value: Value) -> Result<Replica, serde_json::Error> {
    let Workload { mut metadata, spec, template } = serde_json::from_value(value)?;
    default_text(&mut metadata.namespace, DEFAULT_NAMESPACE);
    let mut spec = match (kind, spec.job_template) {
        (WorkloadKind::CronJob, Some(job)) => job.spec,
        (WorkloadKind::PodTemplate, _) => WorkloadSpec { template, ..WorkloadSpec::default() },
        (_, job_template) => WorkloadSpec { job_template, ..spec },
    };
    let template = std::mem::take(&mut spec.template);
    let name = metadata.name.clone().or_else(|| metadata.generate_name.clone()).unwrap_or_default();
    let mut pod = Pod { metadata: template.metadata.unwrap_or_default(), spec: template.spec, status: None };
    pod.metadata.namespace.clone_from(&metadata.namespace);
    let labels = pod.metadata.labels.clone().unwrap_or_default();
    let shown = serde_json::to_string(&pod.spec)?;
    let suffix = characters(fnv(&[kind.name(), metadata.namespace.as_deref().unwrap_or_default(), &name]), SUFFIX_LENGTH);
    pod.metadata.generate_name = None;
    match kind {
        WorkloadKind::StatefulSet => as_of_stateful_set(&mut pod, &name, &spec),
        WorkloadKind::Deployment => {
            let revision = characters(fnv(&[&shown]), REVISION_LENGTH);
            pod.metadata.name = Some(generated_name(&format!("{name}-{revision}-"), &suffix));
            label(&mut pod, "pod-template-hash", &revision);
        }
        WorkloadKind::Job | WorkloadKind::CronJob => {
            as_of_job(&mut pod, &name, &suffix, &spec);
        }
        WorkloadKind::DaemonSet | WorkloadKind::ReplicaSet | WorkloadKind::ReplicationController | WorkloadKind::PodTemplate => {
            pod.metadata.name = Some(generated_name(&format!("{name}-"), &suffix));
        }
    }
    let (wanted, selector) = (wanted(kind, &spec), spec.selector.and_then(|written| selector(kind, written)));
    Ok(Replica { kind, metadata, wanted, selector, labels, pod })
}

const fn wanted(kind: WorkloadKind, spec: &WorkloadSpec) -> Option<i64> {
    let given = match kind {
        WorkloadKind::DaemonSet | WorkloadKind::CronJob | WorkloadKind::PodTemplate => return None,
        WorkloadKind::Job => match spec.suspend {
            Some(true) => Some(0),
            Some(false) | None => spec.parallelism,
        },
        WorkloadKind::Deployment | WorkloadKind::StatefulSet | WorkloadKind::ReplicaSet | WorkloadKind::ReplicationController => {
            spec.replicas
        }
    };
    match given {
        Some(given) => Some(given),
        None => Some(1),
    }
}

/// That of a ReplicationController is a plain map of labels; that of a Job is made for it.
fn selector(kind: WorkloadKind, written: Value) -> Option<LabelSelector> {
    match kind {
        WorkloadKind::ReplicationController => {
            Some(LabelSelector { match_labels: serde_json::from_value(written).ok()?, match_expressions: None })
        }
        WorkloadKind::Job | WorkloadKind::CronJob | WorkloadKind::PodTemplate => None,
        WorkloadKind::Deployment | WorkloadKind::StatefulSet | WorkloadKind::DaemonSet | WorkloadKind::ReplicaSet => {
            serde_json::from_value(written).ok()
        }
    }
}

/// A stable name, which is also the host's name, and claims of its own.
fn as_of_stateful_set(pod: &mut Pod, name: &str, spec: &WorkloadSpec) {
    let ordinal = spec.ordinals.as_ref().map_or(0, |ordinals| ordinals.start);
    let pod_name = format!("{name}-{ordinal}");
    label(pod, "statefulset.kubernetes.io/pod-name", &pod_name);
    label(pod, "apps.kubernetes.io/pod-index", &ordinal.to_string());
    if let Some(own) = &mut pod.spec {
        own.hostname = Some(pod_name.clone());
        own.subdomain = spec.service_name.clone().filter(|service| !service.is_empty());
        let volumes = own.volumes.get_or_insert_default();
        for template in &spec.volume_claim_templates {
            let claim = template.metadata.name.clone().unwrap_or_default();
            // A claim takes the place of a volume of its name.
            volumes.retain(|volume| volume.name != claim);
            let source = PersistentVolumeClaimVolumeSource { claim_name: format!("{claim}-{pod_name}"), read_only: None };
            volumes.push(Volume { name: claim, persistent_volume_claim: Some(source), ..Volume::default() });
        }
    }
    pod.metadata.name = Some(pod_name);
}

/// Of an Indexed Job the Pod of index 0, which knows its index.
fn as_of_job(pod: &mut Pod, name: &str, suffix: &str, spec: &WorkloadSpec) {
    label(pod, "job-name", name);
    label(pod, "batch.kubernetes.io/job-name", name);
    if spec.completion_mode.as_deref() != Some("Indexed") {
        pod.metadata.name = Some(generated_name(&format!("{name}-"), suffix));
        return;
    }
    pod.metadata.name = Some(generated_name(&format!("{name}-0-"), suffix));
    pod.metadata.annotations.get_or_insert_default().insert(COMPLETION_INDEX.to_owned(), "0".to_owned());
    label(pod, COMPLETION_INDEX, "0");
    let Some(own) = &mut pod.spec else { return };
    own.hostname = Some(format!("{name}-0"));
    for container in own.containers.iter_mut().chain(own.init_containers.iter_mut().flatten()) {
        let variables = container.env.get_or_insert_default();
        if variables.iter().all(|variable| variable.name != "JOB_COMPLETION_INDEX") {
            let field = ObjectFieldSelector { api_version: None, field_path: format!("metadata.annotations['{COMPLETION_INDEX}']") };
            let from = EnvVarSource { field_ref: Some(field), ..EnvVarSource::default() };
            variables.push(EnvVar { name: "JOB_COMPLETION_INDEX".to_owned(), value: None, value_from: Some(from) });
        }
    }
}

fn label(pod: &mut Pod, key: &str, value: &str) {
    pod.metadata.labels.get_or_insert_default().insert(key.to_owned(), value.to_owned());
}

/// Where a Pod of an Indexed Job finds its index.
const COMPLETION_INDEX: &str = "batch.kubernetes.io/job-completion-index";

/// The characters that names are made distinct with: no vowels, so that no words come out.
const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

/// Characters that the API server adds to a `generateName`.
const SUFFIX_LENGTH: usize = 5;

/// Characters that name a revision of a Deployment.
const REVISION_LENGTH: usize = 10;

fn characters(mut number: u64, length: usize) -> String {
    let count = ALPHABET.len() as u64;
    let next = |number: &mut u64| {
        let pick = usize::try_from(*number % count).unwrap_or_default();
        *number /= count;
        char::from(ALPHABET[pick])
    };
    (0..length).map(|_| next(&mut number)).collect()
}

/// FNV-1a, 64 bits, over texts each with an end mark.
fn fnv(texts: &[&str]) -> u64 {
    let bytes = texts.iter().flat_map(|text| text.bytes().chain([0xff]));
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}
