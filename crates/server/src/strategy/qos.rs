//! The quality of service class of a pod, from the requests and limits of its containers.

use std::collections::BTreeMap;

use api::Quantity;
use k8s_openapi::api::core::v1::{PodSpec, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as ApiQuantity;

const COUNTED: [&str; 2] = ["cpu", "memory"];

/// `Guaranteed`, `Burstable` or `BestEffort`.
pub(super) fn qos_class(spec: &PodSpec) -> &'static str {
    if let Some(resources) = &spec.resources {
        return class([Some(resources)].into_iter());
    }
    let init = spec.init_containers.iter().flatten();
    class(spec.containers.iter().chain(init).map(|container| container.resources.as_ref()))
}

fn class<'a>(resources: impl Iterator<Item = Option<&'a ResourceRequirements>>) -> &'static str {
    let (mut guaranteed, mut any) = (true, false);
    for resources in resources {
        let requests = amounts(resources.and_then(|resources| resources.requests.as_ref()));
        let limits = amounts(resources.and_then(|resources| resources.limits.as_ref()));
        any |= !requests.is_empty() || !limits.is_empty();
        guaranteed &= limits.len() == COUNTED.len() && requests == limits;
    }
    match (any, guaranteed) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    }
}

/// The amounts that count: of processor and memory, and not zero.
fn amounts(amounts: Option<&BTreeMap<String, ApiQuantity>>) -> BTreeMap<&str, Quantity> {
    let counted = amounts.into_iter().flatten().filter(|(name, _)| COUNTED.contains(&name.as_str()));
    let parsed = counted.filter_map(|(name, amount)| Some((name.as_str(), Quantity::parse(&amount.0).ok()?)));
    parsed.filter(|(_, amount)| !amount.is_zero()).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn classes_follow_requests_and_limits() {
        let check = |resources: &[Value], expected: &str| {
            let containers: Vec<_> = resources.iter().map(|resources| json!({ "name": "a", "resources": resources })).collect();
            let spec: PodSpec = serde_json::from_value(json!({ "containers": containers })).expect("a spec");
            assert_eq!(qos_class(&spec), expected, "{resources:?}");
        };
        let full = json!({ "limits": { "cpu": "1", "memory": "1Gi" }, "requests": { "cpu": "1000m", "memory": "1024Mi" } });
        check(&[json!({})], "BestEffort");
        check(std::slice::from_ref(&full), "Guaranteed");
        check(&[full, json!({})], "Burstable");
        check(&[json!({ "requests": { "cpu": "1" } })], "Burstable");
        check(&[json!({ "requests": { "cpu": "0" } })], "BestEffort");
    }
}
