//! Which pod goes first.
//!
//! Of memory and disk: those that use more than they asked for, then the less important, then those that are furthest over what they
//! asked for. Of processes nobody asks for any: the less important, then those that have most. Critical pods never go (k8s: 4.c.1).

use std::cmp::Reverse;
use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Pod;

use super::signal::Signal;

/// From this priority on a pod is critical to the node.
pub const CRITICAL_PRIORITY: i32 = 2_000_000_000;

/// A pod that may have to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Its uid.
    pub uid: String,
    /// `spec.priority`; 0 without one.
    pub priority: i32,
    /// What it uses of that which is short; `None` if that cannot be told: then it goes first.
    pub usage: Option<u64>,
    /// What it asked for of it.
    pub request: u64,
}

/// Sorts the pods: the first is the first to go. Equals keep their order.
pub fn rank(signal: Signal, candidates: &mut [Candidate]) {
    candidates.sort_by_key(|candidate| {
        let Candidate { priority, usage, request, .. } = candidate;
        let over = usage.map(|usage| i128::from(usage) - i128::from(*request));
        let class = match (signal, over) {
            (Signal::PidAvailable, _) => Class::Over,
            (_, None) => Class::Unknown,
            (_, Some(over)) if over > 0 => Class::Over,
            (_, Some(_)) => Class::Within,
        };
        (class, *priority, over.is_some(), Reverse(over))
    });
}

/// How a pod stands to what it asked for, the first to go first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Class {
    Unknown,
    Over,
    Within,
}

/// k8s: 4.c.1: static pods, their mirrors, and pods of a system priority.
pub fn is_critical(pod: &Pod) -> bool {
    let priority = pod.spec.as_ref().and_then(|spec| spec.priority);
    priority.is_some_and(|priority| priority >= CRITICAL_PRIORITY) || is_static(pod.metadata.annotations.as_ref())
}

fn is_static(annotations: Option<&BTreeMap<String, String>>) -> bool {
    let Some(annotations) = annotations else { return false };
    let is_mirror = annotations.contains_key("kubernetes.io/config.mirror");
    is_mirror || annotations.get("kubernetes.io/config.source").is_some_and(|source| source != "api")
}

#[cfg(test)]
mod tests;
