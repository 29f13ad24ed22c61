//! Requests and limits of a container as the machine's plain numbers, and back.
//!
//! Only processor and memory, which are what can be changed while a container runs. What the manifest writes in its own way is
//! shown in that way as long as it means the same.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, ContainerResizePolicy, Pod, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use lifecycle::{ResizePolicy, ResizeRestart, Resources, cpu_text, memory_text};

use crate::quantity::Amount;

type List = BTreeMap<String, Quantity>;

/// What the container asks for and may use. What is no quantity is left out: such a container is refused when it is created.
pub(crate) fn resources(container: &Container) -> Resources {
    let requirements = container.resources.as_ref();
    let requests = requirements.and_then(|requirements| requirements.requests.as_ref());
    let limits = requirements.and_then(|requirements| requirements.limits.as_ref());
    Resources {
        cpu_request_millis: read(requests, "cpu", Amount::millis),
        cpu_limit_millis: read(limits, "cpu", Amount::millis),
        memory_request_bytes: read(requests, "memory", Amount::units),
        memory_limit_bytes: read(limits, "memory", Amount::units),
    }
}

pub(crate) fn resize_policy(policies: Option<&[ContainerResizePolicy]>) -> ResizePolicy {
    let of = |name: &str| {
        let restarts =
            policies.into_iter().flatten().any(|policy| policy.resource_name == name && policy.restart_policy == "RestartContainer");
        if restarts { ResizeRestart::RestartContainer } else { ResizeRestart::NotRequired }
    };
    ResizePolicy { cpu: of("cpu"), memory: of("memory") }
}

/// The requirements with `to` in place of what they say of processor and memory.
pub(crate) fn with_resources(requirements: &ResourceRequirements, to: Resources) -> ResourceRequirements {
    let side = |list: Option<&List>, cpu: Option<u64>, memory: Option<u64>| {
        let mut written = list.cloned().unwrap_or_default();
        write(&mut written, "cpu", cpu, Amount::millis, cpu_text);
        write(&mut written, "memory", memory, Amount::units, memory_text);
        (list.is_some() || !written.is_empty()).then_some(written)
    };
    ResourceRequirements {
        requests: side(requirements.requests.as_ref(), to.cpu_request_millis, to.memory_request_bytes),
        limits: side(requirements.limits.as_ref(), to.cpu_limit_millis, to.memory_limit_bytes),
        claims: requirements.claims.clone(),
    }
}

/// The same of all containers of the pod, by name.
pub(crate) fn pod_resources(pod: &Pod) -> BTreeMap<String, Resources> {
    let containers = pod.spec.iter().flat_map(|spec| spec.containers.iter().chain(spec.init_containers.iter().flatten()));
    containers.map(|container| (container.name.clone(), resources(container))).collect()
}

/// The pod with these resources in its containers; those that are not named have none of processor and memory.
pub(crate) fn pod_with_resources(pod: &Pod, of: &BTreeMap<String, Resources>) -> Pod {
    let mut pod = pod.clone();
    let containers = pod.spec.iter_mut().flat_map(|spec| spec.containers.iter_mut().chain(spec.init_containers.iter_mut().flatten()));
    for container in containers {
        let to = of.get(&container.name).copied().unwrap_or_default();
        if to != resources(container) {
            container.resources = Some(with_resources(&container.resources.clone().unwrap_or_default(), to));
        }
    }
    pod
}

fn read(list: Option<&List>, name: &str, unit: fn(Amount) -> i64) -> Option<u64> {
    let amount = Amount::parse(list?.get(name)?).ok()?;
    u64::try_from(unit(amount)).ok()
}

fn write(list: &mut List, name: &str, to: Option<u64>, unit: fn(Amount) -> i64, text: fn(u64) -> String) {
    let before = read(Some(list), name, unit);
    match to {
        None => {
            list.remove(name);
        }
        Some(_) if before == to => {}
        Some(number) => {
            list.insert(name.to_owned(), Quantity(text(number)));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_means_the_same_keeps_its_text_and_the_rest_is_written_as_kubernetes_does() {
        let written = |text: serde_json::Value, to: Resources| {
            let requirements: ResourceRequirements = serde_json::from_value(text).expect("requirements");
            serde_json::to_value(with_resources(&requirements, to)).expect("as JSON")
        };
        let to = Resources {
            cpu_request_millis: Some(500),
            cpu_limit_millis: Some(2000),
            memory_request_bytes: Some(64 << 20),
            memory_limit_bytes: Some(1000),
        };
        let before = json!({"requests": {"cpu": "0.5", "memory": "1Gi", "hugepages-2Mi": "4Mi"}, "limits": {"cpu": "1"}});
        let after = json!({"requests": {"cpu": "0.5", "memory": "64Mi", "hugepages-2Mi": "4Mi"}, "limits": {"cpu": "2", "memory": "1000"}});
        assert_eq!(written(before, to), after);
        assert_eq!(written(json!({"limits": {"cpu": "1"}}), Resources::default()), json!({"limits": {}}));
        assert_eq!(written(json!({}), Resources::default()), json!({}));
    }
}
