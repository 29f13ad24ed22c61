//! Rules of requests and limits of resources.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{PodSpec, ResourceClaim, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as ApiQuantity;

use super::error::FieldError;
use super::{Errors, complain, names, text};
use crate::path::FieldPath;
use crate::quantity::Quantity;

const HUGE_PAGES: &str = "hugepages-";

/// Whose resources they are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Owner {
    Container,
    Pod,
}

/// Checks requests and limits of a container or of a pod as a whole.
pub(super) fn validate_resources(
    resources: &ResourceRequirements,
    owner: Owner,
    claims: &BTreeSet<&str>,
    path: &FieldPath,
    errors: &mut Errors,
) {
    let (limits, requests) = (amounts(&resources.limits), amounts(&resources.requests));
    let limits_path = path.child("limits");
    let requests_path = path.child("requests");
    for (name, amount) in &limits {
        validate_amount(name, amount, owner, &limits_path.key(*name), errors);
    }
    for (name, amount) in &requests {
        validate_amount(name, amount, owner, &requests_path.key(*name), errors);
        validate_request(name, amount, limits.get(name), &limits_path, &requests_path, errors);
    }
    let has = |wanted: fn(&str) -> bool| limits.keys().chain(requests.keys()).any(|name| wanted(name));
    if has(|name| name.starts_with(HUGE_PAGES)) && !has(|name| matches!(name, "cpu" | "memory")) {
        errors.push(FieldError::forbidden(path, "HugePages require cpu or memory"));
    }
    validate_claims(resources.claims.as_deref().unwrap_or_default(), claims, &path.child("claims"), errors);
}

/// Checks the resources of a pod as a whole against those of its containers.
pub(super) fn validate_pod_resources(spec: &PodSpec, claims: &BTreeSet<&str>, path: &FieldPath, errors: &mut Errors) {
    let Some(resources) = &spec.resources else {
        return;
    };
    if resources.claims.is_some() {
        let path = path.child("claims");
        errors.push(FieldError::forbidden(&path, "claims cannot be set for Resources at pod-level"));
    }
    validate_resources(resources, Owner::Pod, claims, path, errors);
    let requests = amounts(&resources.requests);
    for (name, total) in crate::defaults::container_requests(spec) {
        let asked = requests.get(name.as_str()).copied().unwrap_or(Quantity::ZERO);
        if total > asked {
            let path = path.child("requests").key(&name);
            let detail = format!("must be greater than or equal to aggregate container requests of {total}");
            errors.push(FieldError::invalid(&path, &asked.to_string(), detail));
        }
    }
    let limits = amounts(&resources.limits);
    for (index, container) in spec.containers.iter().enumerate() {
        let own = container.resources.as_ref().map(|resources| amounts(&resources.limits)).unwrap_or_default();
        for (name, limit) in own {
            if let Some(pod_limit) = limits.get(name).filter(|pod_limit| limit > **pod_limit) {
                let shown = path.child("containers").index(index).key(name).child("limits");
                let detail = format!("must be less than or equal to pod limits of {pod_limit}");
                let exact = path.parent().unwrap_or_default().child("containers").index(index);
                let exact = exact.child("resources").child("limits").key(name);
                errors.push(FieldError::invalid(&shown, &limit.to_string(), detail).exactly(exact));
            }
        }
    }
}

/// Amounts by name; those that are none were reported when the object was read.
fn amounts(amounts: &Option<BTreeMap<String, ApiQuantity>>) -> BTreeMap<&str, Quantity> {
    let amounts = amounts.iter().flatten();
    amounts.filter_map(|(name, amount)| Some((name.as_str(), Quantity::parse(&amount.0).ok()?))).collect()
}

fn validate_amount(name: &str, amount: &Quantity, owner: Owner, path: &FieldPath, errors: &mut Errors) {
    validate_name(name, owner, path, errors);
    if amount.is_negative() {
        errors.push(FieldError::invalid(path, &amount.to_string(), "must be greater than or equal to 0"));
    }
    if is_extended(name) && !amount.is_whole() {
        errors.push(FieldError::invalid(path, &amount.to_string(), "must be an integer"));
    }
    if let Some(size) = name.strip_prefix(HUGE_PAGES) {
        let pages = Quantity::parse(size).is_ok_and(|size| amount.is_multiple_of(&size) && !amount.is_negative());
        if !pages {
            let detail = format!("{amount} is not positive integer multiple of {name}");
            errors.push(FieldError::invalid(path, &amount.to_string(), detail));
        }
    }
}

fn validate_name(name: &str, owner: Owner, path: &FieldPath, errors: &mut Errors) {
    let wrong = names::qualified_name(name);
    let is_name = wrong.is_empty();
    complain(errors, path, name, wrong);
    if !name.contains('/') {
        let standard = matches!(name, "cpu" | "memory" | "ephemeral-storage") || name.starts_with(HUGE_PAGES);
        let standard_for_pod = matches!(name, "cpu" | "memory") || name.starts_with(HUGE_PAGES);
        if is_name && !standard {
            errors.push(FieldError::invalid(path, name, "must be a standard resource type or fully qualified"));
        }
        match owner {
            Owner::Container if !standard => {
                errors.push(FieldError::invalid(path, name, "must be a standard resource for containers"));
            }
            Owner::Pod if !standard_for_pod => {
                let supported = ["cpu", "hugepages-", "memory"];
                errors.push(FieldError::not_supported(path, name, &supported));
            }
            Owner::Container | Owner::Pod => {}
        }
    } else if !is_native(name) && !is_extended(name) {
        errors.push(FieldError::invalid(path, name, "doesn't follow extended resource name standard"));
    }
}

fn validate_request(
    name: &str,
    request: &Quantity,
    limit: Option<&Quantity>,
    limits: &FieldPath,
    requests: &FieldPath,
    errors: &mut Errors,
) {
    let overcommit = is_native(name) && !name.starts_with(HUGE_PAGES);
    let exact = requests.key(name);
    let shown = request.to_string();
    match limit {
        Some(limit) if !overcommit && request != limit => {
            let detail = format!("must be equal to {name} limit of {limit}");
            errors.push(FieldError::invalid(requests, &shown, detail).exactly(exact));
        }
        Some(limit) if request > limit => {
            let detail = format!("must be less than or equal to {name} limit of {limit}");
            errors.push(FieldError::invalid(requests, &shown, detail).exactly(exact));
        }
        Some(_) => {}
        None if !overcommit => {
            let detail = "Limit must be set for non overcommitable resources";
            errors.push(FieldError::required(limits, detail).exactly(exact));
        }
        None => {}
    }
}

fn validate_claims(used: &[ResourceClaim], claims: &BTreeSet<&str>, path: &FieldPath, errors: &mut Errors) {
    let (mut whole, mut parts, mut names_of_parts) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for (index, claim) in used.iter().enumerate() {
        let path = path.index(index);
        let name = claim.name.as_str();
        if name.is_empty() {
            errors.push(FieldError::required(&path, ""));
            continue;
        }
        let request = text(&claim.request);
        complain_if_set(errors, &path.child("request"), request);
        // A claim as a whole overlaps with every request of it.
        if whole.contains(name) || request.is_empty() && names_of_parts.contains(name) {
            errors.push(FieldError::duplicate(&path, name));
        } else if request.is_empty() {
            whole.insert(name);
        } else if parts.insert((name, request)) {
            names_of_parts.insert(name);
        } else {
            errors.push(FieldError::duplicate(&path, &format!("{name}/{request}")));
        }
        if !claims.contains(name) {
            let mut detail = "must be one of the names in pod.spec.resourceClaims".to_owned();
            match claims.is_empty() {
                true => detail.push_str(" which is empty"),
                false => detail.push_str(&format!(": {}", claims.iter().copied().collect::<Vec<_>>().join(", "))),
            }
            errors.push(FieldError { detail, ..FieldError::not_found(&path, name) });
        }
    }
}

fn complain_if_set(errors: &mut Errors, path: &FieldPath, value: &str) {
    if !value.is_empty() {
        complain(errors, path, value, names::dns_label(value));
    }
}

/// Whether a name is one of Kubernetes' own.
fn is_native(name: &str) -> bool {
    !name.contains('/') || name.contains("kubernetes.io/")
}

/// Whether a name is that of a resource which something else than Kubernetes provides.
fn is_extended(name: &str) -> bool {
    !is_native(name) && !name.starts_with("requests.") && names::qualified_name(&format!("requests.{name}")).is_empty()
}
