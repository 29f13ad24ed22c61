//! Services that stand in the same text as the pods that they send traffic to.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::Value;

use super::view::{ContainerView, PodView, Role, Sink};
use crate::path::FieldPath;
use crate::read::Document;
use crate::source::Span;
use crate::template::Workload;
use crate::workload::WorkloadKind;

/// A Service with a selector.
#[derive(Debug)]
pub(super) struct Service {
    name: String,
    namespace: String,
    selector: BTreeMap<String, String>,
    /// Ports of the pods that it sends to.
    targets: Vec<IntOrString>,
    /// Where its selector stands.
    span: Span,
}

/// The Services of a text.
pub(super) fn of_documents(documents: &[Document]) -> Vec<Service> {
    documents.iter().filter_map(of_document).collect()
}

fn of_document(document: &Document) -> Option<Service> {
    if (document.api_version.as_str(), document.kind.as_str()) != ("v1", "Service") {
        return None;
    }
    let selector = document.value.pointer("/spec/selector").and_then(Value::as_object)?;
    let selector: BTreeMap<String, String> =
        selector.iter().filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect();
    let ports = document.value.pointer("/spec/ports").and_then(Value::as_array);
    let target = |port: &Value| {
        let target = port.get("targetPort").or_else(|| port.get("port"))?;
        match target.as_str() {
            Some(name) => Some(IntOrString::String(name.to_owned())),
            None => Some(IntOrString::Int(i32::try_from(target.as_i64()?).ok()?)),
        }
    };
    let (_, place) = document.place(&FieldPath::new("spec").child("selector"));
    (!selector.is_empty()).then(|| Service {
        name: document.name().unwrap_or_default().to_owned(),
        namespace: namespace_of(document),
        selector,
        targets: ports.into_iter().flatten().filter_map(target).collect(),
        span: place.key.unwrap_or(place.value),
    })
}

fn namespace_of(document: &Document) -> String {
    document.value.pointer("/metadata/namespace").and_then(Value::as_str).unwrap_or_default().to_owned()
}

impl Service {
    /// Whether it sends traffic to a container of a pod.
    fn reaches(&self, pod: &PodView<'_>, container: &ContainerView<'_>) -> bool {
        let selects = self.selector.iter().all(|(key, value)| pod.labels.get(key) == Some(value));
        let declared = || container.container.ports.iter().flatten();
        let sends = |target: &IntOrString| match target {
            IntOrString::Int(number) => declared().any(|port| port.container_port == *number),
            IntOrString::String(name) => declared().any(|port| port.name.as_ref() == Some(name)),
        };
        self.namespace == namespace_of(pod.document) && selects && self.targets.iter().any(sends)
    }
}

/// `USH214`. k8s: 12.d.4
pub(super) fn no_delay(pod: &PodView<'_>, sink: &mut Sink<'_>) {
    // Members of a StatefulSet are mostly known to their clients one by one.
    if pod.completes() || pod.workload == Workload::Of(WorkloadKind::StatefulSet) {
        return;
    }
    for container in pod.with_role(Role::Regular).filter(|container| container.hook("preStop").is_none()) {
        let Some(service) = pod.services.iter().find(|service| service.reaches(pod, container)) else { continue };
        let name = &container.container.name;
        let message = format!("{name} may be sent requests after its stop signal: it serves a Service, and has no preStop hook");
        let draft =
            sink.key(&container.path.child("ports"), message).note("who sends to it hears of the stop at the same moment, and not at once");
        let draft = draft.see_span(service.span, format!("the Service {} sends here", service.name));
        draft.help("a pause before the stop signal lets the news spread: `lifecycle: {preStop: {sleep: {seconds: 5}}}`");
    }
}
