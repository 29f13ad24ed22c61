//! Pods: made ready for creation and update.

use api::path::FieldPath;
use api::validate::validate_pod_create;
use api::{FieldError, NodeSupport, Severity};
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use super::pod_resize::validate_resize;
use super::pod_update::validate_update;
use super::qos::qos_class;
use super::scheduling::{Seat, is_gated};
use super::{Part, Verdict, shown, typed};
use crate::kinds::stored;
use crate::object::meta_mut;
use crate::status::{ApiError, ApiResult};

/// There is one node, so the pod is bound to it at once, unless something holds it back.
pub(super) fn prepare_create(object: &mut Value, seat: &Seat, support: &NodeSupport) -> ApiResult<Verdict> {
    let mut pod: Pod = typed(stored("pods"), object)?;
    let unsupported = api::unsupported(&pod, support);
    let (default, warn) = (api::defaults::default_pod, api::warnings);
    default(&mut pod);
    let mut warnings: Vec<_> = warn(&pod).iter().map(ToString::to_string).collect();
    api::defaults::repair_grace_period(&mut pod);
    let mut errors = validate_pod_create(&pod);
    for field in &unsupported {
        match field.severity {
            Severity::Error => errors.push(FieldError::forbidden(&field.path, field.message)),
            Severity::Warning | Severity::Note => warnings.push(field.to_string()),
        }
    }
    let spec = pod.spec.get_or_insert_default();
    let qos = qos_class(spec);
    // k8s: 1.a.13
    pod.metadata.generation = Some(1);
    *object = serde_json::to_value(&pod).map_err(ApiError::internal)?;
    if is_gated(object) || seat.obstacle(object).is_some() {
        object["spec"].as_object_mut().map(|spec| spec.remove("nodeName"));
    } else {
        object["spec"]["nodeName"] = json!(seat.node());
    }
    object["status"] = json!({ "phase": "Pending", "qosClass": qos });
    Ok(Verdict { errors, warnings })
}

pub(super) fn prepare_update(part: Part, support: &NodeSupport, old: &Value, new: &mut Value) -> ApiResult<Verdict> {
    let kind = stored("pods");
    let mut pod: Pod = typed(kind, new)?;
    api::defaults::default_pod(&mut pod);
    let mut verdict = Verdict::default();
    if part == Part::EphemeralContainers {
        // What the engine cannot do yet is refused here too.
        let refused = api::unsupported(&pod, support).into_iter().filter(|field| field.severity == Severity::Error);
        verdict.errors.extend(refused.map(|field| FieldError::forbidden(&field.path, field.message)));
    } else {
        verdict.warnings = api::warnings(&pod).iter().map(ToString::to_string).collect();
    }
    let before: Pod = typed(kind, old)?;
    let found = if part == Part::Resize { validate_resize(&before, &pod) } else { validate_update(part, &before, &pod) };
    for error in found {
        if verdict.errors.iter().all(|known| known.to_string() != error.to_string()) {
            verdict.errors.push(error);
        }
    }
    api::defaults::repair_grace_period(&mut pod);
    *new = serde_json::to_value(&pod).map_err(ApiError::internal)?;
    if new["spec"] != old["spec"] {
        let generation = old["metadata"]["generation"].as_i64().unwrap_or(1);
        meta_mut(new).insert("generation".to_owned(), json!(generation + 1));
    }
    Ok(verdict)
}

/// What a status may say. k8s: 1.g.5
pub(super) fn prepare_status(old: &Value, new: &mut Value) -> ApiResult<Verdict> {
    let mut pod: Pod = typed(stored("pods"), new)?;
    let mut errors = Vec::new();
    let path = FieldPath::new("status");
    if let Some(generation) = pod.status.as_ref().and_then(|status| status.observed_generation).filter(|generation| *generation < 0) {
        // k8s: 1.g.4
        errors.push(FieldError::invalid(&path.child("observedGeneration"), generation, "must be a non-negative integer"));
    }
    let class = old["status"].get("qosClass").and_then(Value::as_str);
    if let (Some(class), Some(status)) = (class, pod.status.as_mut())
        && status.qos_class.get_or_insert_with(|| class.to_owned()) != class
    {
        errors.push(FieldError::invalid(&path.child("qosClass"), shown(&new["status"]["qosClass"]), "field is immutable"));
    }
    *new = serde_json::to_value(&pod).map_err(ApiError::internal)?;
    Ok(Verdict { errors, warnings: Vec::new() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(status: Value) -> Vec<String> {
        let old = json!({ "metadata": { "name": "p" }, "spec": { "containers": [] }, "status": { "phase": "Pending", "qosClass": "BestEffort" } });
        let mut new = old.clone();
        new["status"] = status;
        let verdict = prepare_status(&old, &mut new).expect("a pod");
        assert_eq!(new["status"]["phase"], "Running");
        verdict.errors.iter().map(ToString::to_string).collect()
    }

    // k8s: 1.g.4, 1.g.5
    #[test]
    fn a_status_keeps_its_class_and_counts_forwards() {
        assert_eq!(judged(json!({ "phase": "Running" })), Vec::<String>::new());
        assert_eq!(judged(json!({ "phase": "Running", "qosClass": "BestEffort", "observedGeneration": 2 })), Vec::<String>::new());
        let class = judged(json!({ "phase": "Running", "qosClass": "Guaranteed" }));
        assert_eq!(class, ["status.qosClass: Invalid value: \"Guaranteed\": field is immutable"]);
        let generation = judged(json!({ "phase": "Running", "observedGeneration": -1 }));
        assert_eq!(generation, ["status.observedGeneration: Invalid value: -1: must be a non-negative integer"]);
    }
}
