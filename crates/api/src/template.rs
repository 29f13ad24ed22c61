//! Where an object describes Pods: the objects that make Pods, and the path of what they make them from.
//!
//! Not a reading of the template itself: that is the business of whoever asks. Invariant: for a kind that is known here,
//! the answer depends on `apiVersion` and `kind` alone, so it is there for broken objects too.

use crate::path::FieldPath;
use crate::read::Document;
use crate::workload::WorkloadKind;

/// A kind of object that describes Pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workload {
    /// A Pod, which is its own template.
    Pod,
    /// A template that waits for somebody to use it.
    PodTemplate,
    /// What makes Pods by itself.
    Of(WorkloadKind),
}

/// How the Pods of a workload are meant to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// They run until somebody deletes them; the API takes no other `restartPolicy` than `Always`.
    Deleted,
    /// They run until their work is done; the API takes no `restartPolicy` of `Always`.
    Completed,
    /// Their own `restartPolicy` says.
    ByRestartPolicy,
}

/// Where an object describes Pods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    /// What the object is.
    pub workload: Workload,
    /// The path of the thing with the `metadata` and `spec` of the Pods; the object itself for a Pod.
    pub path: FieldPath,
}

impl Workload {
    /// The workload of an object's type, if it is one.
    pub fn of(api_version: &str, kind: &str) -> Option<Self> {
        match (api_version, kind) {
            ("v1", "Pod") => Some(Self::Pod),
            ("v1", "PodTemplate") => Some(Self::PodTemplate),
            _ => WorkloadKind::of(api_version, kind).map(Self::Of),
        }
    }

    /// The path from the object to the `metadata` and `spec` of its Pods.
    pub fn template_path(self) -> FieldPath {
        match self {
            Self::Pod => FieldPath::root(),
            Self::PodTemplate => FieldPath::new("template"),
            Self::Of(kind) => kind.template_path(),
        }
    }

    /// How its Pods are meant to end.
    pub const fn ending(self) -> Ending {
        match self {
            Self::Pod | Self::PodTemplate => Ending::ByRestartPolicy,
            Self::Of(kind) if kind.is_job() => Ending::Completed,
            Self::Of(_) => Ending::Deleted,
        }
    }
}

impl Template {
    /// Where `document` describes Pods, if it does.
    pub fn of(document: &Document) -> Option<Self> {
        let workload = Workload::of(&document.api_version, &document.kind)?;
        Some(Self { workload, path: workload.template_path() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Source, read};

    #[test]
    fn the_template_of_every_kind_is_found() {
        let text = "apiVersion: batch/v1\nkind: CronJob\nspec: {jobTemplate: {spec: {template: {spec: {restartPolicy: Never}}}}}\n\
                    ---\napiVersion: v1\nkind: Pod\n---\napiVersion: v1\nkind: Service\n---\napiVersion: apps/v1\nkind: Deployment\n";
        let reading = read(&Source::new("m.yaml", text.as_bytes()).expect("text"));
        let templates: Vec<_> = reading.documents.iter().map(Template::of).collect();
        let [Some(cron_job), Some(pod), None, Some(deployment)] = templates.as_slice() else {
            panic!("three of the four make pods: {templates:?}");
        };
        assert_eq!(cron_job.path.to_string(), "spec.jobTemplate.spec.template");
        assert!(reading.documents[0].positions.find(&cron_job.path.child("spec").child("restartPolicy")).is_some());
        assert_eq!((cron_job.workload.ending(), pod.workload.ending()), (Ending::Completed, Ending::ByRestartPolicy));
        assert!(pod.path.is_root());
        assert_eq!((deployment.path.to_string(), deployment.workload.ending()), ("spec.template".to_owned(), Ending::Deleted));
    }
}
