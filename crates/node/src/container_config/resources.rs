//! Requests and limits as what the kernel knows: weights, quotas, bytes, and who is killed first when memory runs out.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{Container, Pod, PodSpec, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use runtime::LinuxResources;

use crate::convert::{QosClass, qos_class};
use crate::eviction::rank::CRITICAL_PRIORITY;
use crate::machine::Machine;
use crate::quantity::{Amount, QuantityError};

/// The least weight, as cgroup v1 counts.
const SHARES_MIN: u64 = 2;
/// The greatest weight, as cgroup v1 counts.
const SHARES_MAX: u64 = 262_144;
/// Weight of one processor.
const SHARES_PER_CPU: u64 = 1024;
/// Length of the quota's period, in microseconds.
const PERIOD_MICROS: u64 = 100_000;
/// The kernel takes no smaller quota, in microseconds.
const QUOTA_MICROS_MIN: i64 = 1000;
/// Pods from which nothing should be taken.
const OOM_SCORE_GUARANTEED: i32 = -997;
/// Pods that asked for nothing.
const OOM_SCORE_BEST_EFFORT: i32 = 1000;

pub(crate) type List = BTreeMap<String, Quantity>;

/// What one container may use.
pub(crate) fn container_resources(pod: &Pod, container: &Container, machine: &Machine) -> Result<LinuxResources, QuantityError> {
    let cpu_request = amount(requests(container), "cpu")?;
    let cpu_limit = amount(limits(container), "cpu")?;
    let memory_limit = amount(limits(container), "memory")?;
    // A limit without a request asks for as much.
    let asked = cpu_request.or(cpu_limit).unwrap_or_default();
    let quota = cpu_limit.and_then(quota_micros);
    Ok(LinuxResources {
        cpu_shares: Some(shares(asked)),
        cpu_quota_micros: quota,
        cpu_period_micros: quota.map(|_| PERIOD_MICROS),
        memory_limit_bytes: memory_limit.map(Amount::units).filter(|bytes| *bytes > 0),
        pids_limit: None,
        oom_score_adj: Some(oom_score_adj(pod, container, machine)?),
        cpuset_cpus: None,
        hugepage_limits: hugepage_limits(limits(container))?,
        unified: unified(machine),
    })
}

/// A container that runs out of memory is killed as a whole, as the kubelet has it (`singleProcessOOMKill: false`). Version 1
/// cannot do that: there one process is killed.
fn unified(machine: &Machine) -> BTreeMap<String, String> {
    let whole = machine.has_unified_cgroups.then(|| ("memory.oom.group".to_owned(), "1".to_owned()));
    whole.into_iter().collect()
}

/// What all containers of the pod together may use.
pub(crate) fn pod_resources(pod: &Pod) -> Result<LinuxResources, QuantityError> {
    let Some(spec) = &pod.spec else { return Ok(LinuxResources::default()) };
    let asked = match pod_level(pod, "cpu", |resources| resources.requests.as_ref())? {
        Some(asked) => asked,
        None => total(spec, |container| Ok(amount(requests(container), "cpu")?.unwrap_or_default()))?,
    };
    let asked = asked + overhead(spec, "cpu")?;
    let quota = pod_limit(pod, "cpu")?.and_then(quota_micros);
    Ok(LinuxResources {
        cpu_shares: Some(shares(asked)),
        cpu_quota_micros: quota,
        cpu_period_micros: quota.map(|_| PERIOD_MICROS),
        memory_limit_bytes: pod_memory_limit_bytes(pod)?,
        hugepage_limits: pod_hugepage_limits(spec)?,
        ..LinuxResources::default()
    })
}

/// The pod's memory limit in bytes; none unless the pod has one or each of its containers.
pub(crate) fn pod_memory_limit_bytes(pod: &Pod) -> Result<Option<i64>, QuantityError> {
    Ok(pod_limit(pod, "memory")?.map(Amount::units).filter(|bytes| *bytes > 0))
}

/// A resource of the pod itself, if it is set there and above zero.
pub(crate) fn pod_level(pod: &Pod, name: &str, side: fn(&ResourceRequirements) -> Option<&List>) -> Result<Option<Amount>, QuantityError> {
    let list = pod.spec.as_ref().and_then(|spec| spec.resources.as_ref()).and_then(side);
    Ok(amount(list, name)?.filter(|amount| !amount.is_zero()))
}

/// What the pod asks for of a resource, its overhead included: what a node keeps for it.
pub(crate) fn pod_request(pod: &Pod, name: &str) -> Result<Amount, QuantityError> {
    let Some(spec) = &pod.spec else { return Ok(Amount::default()) };
    let own = match pod_level(pod, name, |resources| resources.requests.as_ref())? {
        Some(own) => own,
        None => total(spec, |container| Ok(amount(requests(container), name)?.unwrap_or_default()))?,
    };
    Ok(own + overhead(spec, name)?)
}

fn pod_limit(pod: &Pod, name: &str) -> Result<Option<Amount>, QuantityError> {
    let Some(spec) = &pod.spec else { return Ok(None) };
    if let Some(limit) = pod_level(pod, name, |resources| resources.limits.as_ref())? {
        return Ok(Some(limit + overhead(spec, name)?));
    }
    for container in spec.containers.iter().chain(spec.init_containers.iter().flatten()) {
        if amount(limits(container), name)?.is_none_or(Amount::is_zero) {
            return Ok(None);
        }
    }
    let limit = total(spec, |container| Ok(amount(limits(container), name)?.unwrap_or_default()))?;
    Ok(Some(limit + overhead(spec, name)?))
}

/// What the pod costs beside its containers, as its RuntimeClass says.
fn overhead(spec: &PodSpec, name: &str) -> Result<Amount, QuantityError> {
    Ok(amount(spec.overhead.as_ref(), name)?.unwrap_or_default())
}

/// What runs at once: all regular containers with all sidecars, or one init container with the sidecars before it.
pub(crate) fn total(spec: &PodSpec, of: impl Fn(&Container) -> Result<Amount, QuantityError>) -> Result<Amount, QuantityError> {
    let mut at_start = Amount::default();
    let mut sidecars = Amount::default();
    for container in spec.init_containers.iter().flatten() {
        let amount = of(container)?;
        if is_sidecar(container) {
            sidecars = sidecars + amount;
            at_start = at_start.max(sidecars);
        } else {
            at_start = at_start.max(sidecars + amount);
        }
    }
    let regular = spec.containers.iter().map(of).sum::<Result<Amount, _>>()?;
    Ok(at_start.max(sidecars + regular))
}

fn is_sidecar(container: &Container) -> bool {
    container.restart_policy.as_deref() == Some("Always")
}

pub(crate) fn requests(container: &Container) -> Option<&List> {
    container.resources.as_ref().and_then(|resources| resources.requests.as_ref())
}

pub(crate) fn limits(container: &Container) -> Option<&List> {
    container.resources.as_ref().and_then(|resources| resources.limits.as_ref())
}

pub(crate) fn amount(list: Option<&List>, name: &str) -> Result<Option<Amount>, QuantityError> {
    list.and_then(|list| list.get(name)).map(Amount::parse).transpose()
}

fn shares(cpu: Amount) -> u64 {
    let millis = u64::try_from(cpu.millis()).unwrap_or(0);
    (millis.saturating_mul(SHARES_PER_CPU) / 1000).clamp(SHARES_MIN, SHARES_MAX)
}

fn quota_micros(cpu: Amount) -> Option<i64> {
    let period = i64::try_from(PERIOD_MICROS).unwrap_or(i64::MAX);
    let millis = cpu.millis();
    if millis <= 0 { None } else { Some((millis.saturating_mul(period) / 1000).max(QUOTA_MICROS_MIN)) }
}

/// The smaller a part of the machine's memory a container asked for, the sooner it is killed.
fn oom_score_adj(pod: &Pod, container: &Container, machine: &Machine) -> Result<i32, QuantityError> {
    let spec = pod.spec.as_ref();
    if spec.and_then(|spec| spec.priority).is_some_and(|priority| priority >= CRITICAL_PRIORITY) {
        return Ok(OOM_SCORE_GUARANTEED);
    }
    match qos_class(pod)? {
        QosClass::Guaranteed => return Ok(OOM_SCORE_GUARANTEED),
        QosClass::BestEffort => return Ok(OOM_SCORE_BEST_EFFORT),
        QosClass::Burstable => {}
    }
    let score = |bytes: i64| {
        let part = i128::from(bytes) * 1000 / i128::from(machine.memory_bytes.max(1));
        i32::try_from(1000 - part).unwrap_or(0)
    };
    let memory = |container: &Container| Ok::<_, QuantityError>(amount(requests(container), "memory")?.map_or(0, Amount::units));
    let mut adjusted = score(memory(container)?.saturating_add(unclaimed_memory_share(pod)?));
    if is_sidecar(container) {
        // A sidecar is not killed before the containers that it serves.
        let regular = spec.map(|spec| spec.containers.iter().map(memory).collect::<Result<Vec<_>, _>>()).transpose()?;
        adjusted = adjusted.min(score(regular.into_iter().flatten().min().unwrap_or(0)));
    }
    Ok(adjusted.clamp(1000 + OOM_SCORE_GUARANTEED, OOM_SCORE_BEST_EFFORT - 1))
}

/// Memory that the pod itself asks for beyond its containers, divided among them, in bytes.
fn unclaimed_memory_share(pod: &Pod) -> Result<i64, QuantityError> {
    let (Some(spec), Some(asked)) = (&pod.spec, pod_level(pod, "memory", |resources| resources.requests.as_ref())?) else {
        return Ok(0);
    };
    let claimed = total(spec, |container| Ok(amount(requests(container), "memory")?.unwrap_or_default()))?;
    let containers = spec.containers.len() + spec.init_containers.as_ref().map_or(0, Vec::len);
    let unclaimed = asked.units().saturating_sub(claimed.units()).max(0);
    Ok(unclaimed / i64::try_from(containers.max(1)).unwrap_or(i64::MAX))
}

/// All large pages of the pod together, where each container that runs with others counts.
fn pod_hugepage_limits(spec: &PodSpec) -> Result<BTreeMap<String, u64>, QuantityError> {
    let containers = || spec.containers.iter().chain(spec.init_containers.iter().flatten());
    let names: BTreeSet<_> = containers().filter_map(limits).flat_map(List::keys).filter(|name| name.starts_with("hugepages-")).collect();
    let totals = names.into_iter().map(|name| {
        let bytes = total(spec, |container| Ok(amount(limits(container), name)?.unwrap_or_default()))?.units();
        Ok((name.clone(), Quantity(bytes.to_string())))
    });
    hugepage_limits(Some(&totals.collect::<Result<_, _>>()?))
}

/// `hugepages-2Mi` of the API is `2MB` of the kernel.
fn hugepage_limits(list: Option<&List>) -> Result<BTreeMap<String, u64>, QuantityError> {
    let mut page_limits = BTreeMap::new();
    for (name, quantity) in list.into_iter().flatten() {
        let Some(size) = name.strip_prefix("hugepages-") else { continue };
        let bytes = u64::try_from(Amount::parse(&Quantity(size.to_owned()))?.units()).unwrap_or(0);
        let kernel_name = match bytes {
            bytes if bytes >= 1 << 30 => format!("{}GB", bytes >> 30),
            bytes if bytes >= 1 << 20 => format!("{}MB", bytes >> 20),
            bytes => format!("{}KB", bytes >> 10),
        };
        page_limits.insert(kernel_name, u64::try_from(Amount::parse(quantity)?.units()).unwrap_or(0));
    }
    Ok(page_limits)
}

#[cfg(test)]
mod tests;
