//! Values of the configuration that are of the right type and still cannot be: out of range, or against each other.

use std::time::Duration;

use serde_json::Value;

use super::wrong_value;
use crate::diagnostic::Diagnostic;
use crate::path::FieldPath;
use crate::quantity::Quantity;
use crate::read::Document;

/// Whole numbers, and the least and the largest that each may be.
const RANGES: &[(&str, i64, i64)] = &[
    ("maxPods", 0, i64::MAX),
    ("podsPerCore", 0, i64::MAX),
    ("podPidsLimit", -1, i64::MAX),
    ("nodeStatusMaxImages", -1, i64::MAX),
    ("maxParallelImagePulls", 1, i64::MAX),
    ("evictionMaxPodGracePeriod", 0, i64::MAX),
    ("containerLogMaxFiles", 2, i64::MAX),
    ("imageGCHighThresholdPercent", 0, 100),
    ("imageGCLowThresholdPercent", 0, 100),
];

/// What can be kept from pods.
const RESERVED: [&str; 3] = ["cpu", "memory", "ephemeral-storage"];

/// Everything that is wrong with the values.
pub(super) fn wrong(document: &Document, value: &Value) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    ranges(value, &mut found);
    log_size(value, &mut found);
    for field in ["systemReserved", "kubeReserved"] {
        reserved(field, value, &mut found);
    }
    pulls(value, &mut found);
    restarts(value, &mut found);
    sysctls(value, &mut found);
    shutdown(value, &mut found);
    found.into_iter().map(|(path, message)| wrong_value(document, path, &message)).collect()
}

type Found = Vec<(FieldPath, String)>;

fn ranges(value: &Value, found: &mut Found) {
    for (field, least, largest) in RANGES {
        let Some(number) = value.get(field).and_then(Value::as_i64) else { continue };
        if number < *least {
            found.push((FieldPath::new(*field), format!("Invalid value: {number}: must be at least {least}")));
        } else if number > *largest {
            found.push((FieldPath::new(*field), format!("Invalid value: {number}: must be at most {largest}")));
        }
    }
    if value.get("podPidsLimit").and_then(Value::as_i64) == Some(0) {
        found.push((FieldPath::new("podPidsLimit"), "Invalid value: 0: must be above zero, or -1 for no limit".to_owned()));
    }
}

fn log_size(value: &Value, found: &mut Found) {
    let field = "containerLogMaxSize";
    let Some(text) = value.get(field).and_then(Value::as_str) else { return };
    let message = match Quantity::parse(text) {
        Ok(amount) if !amount.is_negative() && !amount.is_zero() => return,
        Ok(_) => "must be above zero".to_owned(),
        Err(error) => error.to_string(),
    };
    found.push((FieldPath::new(field), format!("Invalid value: {text:?}: {message}")));
}

fn reserved(field: &'static str, value: &Value, found: &mut Found) {
    for (resource, amount) in value.get(field).and_then(Value::as_object).into_iter().flatten() {
        let path = FieldPath::new(field).key(resource.clone());
        let text = amount.as_str().unwrap_or_default();
        let message = match Quantity::parse(text) {
            Ok(_) if !RESERVED.contains(&resource.as_str()) => {
                format!("Unsupported value: there are {}", RESERVED.join(", "))
            }
            Ok(amount) if amount.is_negative() => format!("Invalid value: {text:?}: must not be below zero"),
            Ok(_) => continue,
            Err(error) => format!("Invalid value: {text:?}: {error}"),
        };
        found.push((path, message));
    }
}

fn pulls(value: &Value, found: &mut Found) {
    let field = "maxParallelImagePulls";
    let many = value.get(field).and_then(Value::as_i64).is_some_and(|count| count > 1);
    if many && value.get("serializeImagePulls") == Some(&Value::Bool(true)) {
        found.push((FieldPath::new(field), "Invalid value: must be 1 with serializeImagePulls: true".to_owned()));
    }
}

/// k8s: 5.b.15
fn restarts(value: &Value, found: &mut Found) {
    let [field, inner] = ["crashLoopBackOff", "maxContainerRestartPeriod"];
    let Some(text) = value.get(field).and_then(|back_off| back_off.get(inner)).and_then(Value::as_str) else { return };
    let is_in_range = |period: Duration| (Duration::from_secs(1)..=Duration::from_secs(300)).contains(&period);
    if crate::duration::parse(text).is_some_and(|period| !is_in_range(period)) {
        let message = format!("Invalid value: {text:?}: must be set between 1s and 300s");
        found.push((FieldPath::new(field).child(inner), message));
    }
}

fn sysctls(value: &Value, found: &mut Found) {
    let field = "allowedUnsafeSysctls";
    for (index, pattern) in value.get(field).and_then(Value::as_array).into_iter().flatten().enumerate() {
        let wrong = pattern.as_str().and_then(|pattern| crate::sysctls::parse_pattern(pattern).err());
        found.extend(wrong.map(|error| (FieldPath::new(field).index(index), format!("Invalid value: {error}"))));
    }
}

fn shutdown(value: &Value, found: &mut Found) {
    let [total_field, critical_field, groups_field] =
        ["shutdownGracePeriod", "shutdownGracePeriodCriticalPods", "shutdownGracePeriodByPodPriority"];
    let period = |field: &str| value.get(field).and_then(Value::as_str).and_then(crate::duration::parse);
    let [total, critical] = [total_field, critical_field].map(|field| period(field).unwrap_or_default());
    if critical > total {
        found.push((FieldPath::new(critical_field), format!("Invalid value: must not be longer than {total_field}")));
    }
    if !total.is_zero() && total < Duration::from_secs(1) {
        found.push((FieldPath::new(total_field), "Invalid value: must be either zero or at least 1s".to_owned()));
    }
    let groups = value.get(groups_field).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    if !groups.is_empty() && (!total.is_zero() || !critical.is_zero()) {
        let message = format!("Invalid value: cannot be given together with {total_field} or {critical_field}");
        found.push((FieldPath::new(groups_field), message));
    }
    let mut priorities = std::collections::BTreeSet::new();
    for (index, group) in groups.iter().enumerate() {
        let path = FieldPath::new(groups_field).index(index);
        let priority = group["priority"].as_i64().unwrap_or_default();
        if !priorities.insert(priority) {
            found.push((path.child("priority"), format!("Duplicate value: {priority}")));
        }
        if group["shutdownGracePeriodSeconds"].as_i64().is_some_and(|secs| secs < 0) {
            found.push((path.child("shutdownGracePeriodSeconds"), "Invalid value: must not be below zero".to_owned()));
        }
    }
}
