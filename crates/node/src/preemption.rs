//! Which pods go so that a critical one finds room (k8s: 4.a.20).
//!
//! Pure. By quality of service: what asked for nothing goes before what asked for something, and what was guaranteed goes last. Within a
//! class as few and as small pods as possible: always the one that comes closest to what is missing.

use std::fmt;

use k8s_openapi::api::core::v1::Pod;

use crate::admission::request;
use crate::convert::{QosClass, qos_class};
use crate::eviction::rank::is_critical;

/// So much of a resource has to become free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Requirement {
    /// Its name.
    pub resource: &'static str,
    /// Above zero, in the unit of [`crate::admission::Allocatable`].
    pub quantity: i64,
}

/// Even if all went that may, there would not be enough.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct NoVictims {
    missing: Vec<Requirement>,
}

impl fmt::Display for NoVictims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no set of running pods found to reclaim resources: [")?;
        self.missing.iter().try_for_each(|missing| write!(f, "(res: {}, q: {}), ", missing.resource, missing.quantity))?;
        f.write_str("]")
    }
}

/// Uids of the pods that have to go so that `pod` finds what it misses.
///
/// # Errors
/// When even all of them are not enough.
pub fn victims(pod: &Pod, others: &[&Pod], missing: &[Requirement]) -> Result<Vec<String>, NoVictims> {
    let of_class = |class: QosClass| -> Vec<&Pod> {
        let may_go = others.iter().copied().filter(|other| is_preemptable(pod, other));
        may_go.filter(|other| qos_class(other).unwrap_or(QosClass::BestEffort) == class).collect()
    };
    let best_effort = of_class(QosClass::BestEffort);
    let burstable = of_class(QosClass::Burstable);
    let guaranteed = of_class(QosClass::Guaranteed);
    let left = without(missing, &[&best_effort[..], &burstable[..], &guaranteed[..]].concat());
    if !left.is_empty() {
        return Err(NoVictims { missing: left });
    }
    // Of each class only what is needed although all of the lower classes go.
    let of_guaranteed = closest(guaranteed, without(missing, &[&best_effort[..], &burstable[..]].concat()));
    let of_burstable = closest(burstable, without(missing, &[&best_effort[..], &of_guaranteed[..]].concat()));
    let of_best_effort = closest(best_effort, without(missing, &[&of_burstable[..], &of_guaranteed[..]].concat()));
    let uid = |pod: &Pod| pod.metadata.uid.clone().unwrap_or_default();
    Ok([of_best_effort, of_burstable, of_guaranteed].concat().into_iter().map(uid).collect())
}

fn is_preemptable(pod: &Pod, other: &Pod) -> bool {
    if is_critical(pod) && !is_critical(other) {
        return true;
    }
    let priority = |pod: &Pod| pod.spec.as_ref().and_then(|spec| spec.priority);
    matches!((priority(pod), priority(other)), (Some(own), Some(its)) if own > its)
}

/// What is still missing when these pods are gone.
fn without(missing: &[Requirement], pods: &[&Pod]) -> Vec<Requirement> {
    let left = missing.iter().map(|Requirement { resource, quantity }| {
        let freed = pods.iter().fold(0_i64, |sum, pod| sum.saturating_add(request(pod, resource)));
        Requirement { resource, quantity: quantity.saturating_sub(freed) }
    });
    left.filter(|requirement| requirement.quantity > 0).collect()
}

/// Takes the pod that comes closest, until nothing is missing; of equals the smaller one.
fn closest(mut pods: Vec<&Pod>, mut missing: Vec<Requirement>) -> Vec<&Pod> {
    let mut chosen = Vec::new();
    while !missing.is_empty() && !pods.is_empty() {
        let size = |pod: &Pod| (request(pod, "memory"), request(pod, "cpu"));
        let better = |a: &&Pod, b: &&Pod| distance(&missing, a).total_cmp(&distance(&missing, b)).then_with(|| size(a).cmp(&size(b)));
        let Some(best) = (0..pods.len()).min_by(|a, b| better(&pods[*a], &pods[*b])) else { break };
        let pod = pods.remove(best);
        missing = without(&missing, &[pod]);
        chosen.push(pod);
    }
    chosen
}

/// How far a pod is from freeing what is missing: 0 if it frees all of it, 1 for each resource of which it frees nothing.
fn distance(missing: &[Requirement], pod: &Pod) -> f64 {
    let part = |requirement: &Requirement| {
        let left = requirement.quantity.saturating_sub(request(pod, requirement.resource)).max(0);
        let part = left as f64 / requirement.quantity as f64;
        part * part
    };
    missing.iter().map(part).sum()
}

#[cfg(test)]
mod tests;
