//! The quality of service class of a pod, from what its containers ask for and may have.
//!
//! Only cpu and memory count, and only amounts above zero.

use std::collections::BTreeMap;
use std::fmt;

use k8s_openapi::api::core::v1::{Pod, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use crate::quantity::{Amount, QuantityError};

/// `status.qosClass`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QosClass {
    /// Every container has limits of cpu and memory, and asks for as much.
    Guaranteed,
    /// Something is asked for or limited, but not so.
    Burstable,
    /// Nothing is asked for or limited.
    BestEffort,
}

impl fmt::Display for QosClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Guaranteed => "Guaranteed",
            Self::Burstable => "Burstable",
            Self::BestEffort => "BestEffort",
        })
    }
}

/// The names that count, in the order in which they are kept.
const COUNTED: [&str; 2] = ["cpu", "memory"];

/// The class of a pod whose requests are defaulted from its limits (k8s: 8.f.6, 1.a.12).
///
/// Where the pod itself has resources, they alone decide. Init containers count, ephemeral ones do not.
pub fn qos_class(pod: &Pod) -> Result<QosClass, QuantityError> {
    let Some(spec) = &pod.spec else { return Ok(QosClass::BestEffort) };
    if let Some(resources) = spec.resources.as_ref().filter(|resources| is_set(resources)) {
        return class_of([Some(resources)].into_iter());
    }
    let init = spec.init_containers.iter().flatten();
    class_of(spec.containers.iter().chain(init).map(|container| container.resources.as_ref()))
}

fn is_set(resources: &ResourceRequirements) -> bool {
    resources.requests.as_ref().is_some_and(|list| !list.is_empty()) || resources.limits.as_ref().is_some_and(|list| !list.is_empty())
}

fn class_of<'a>(all: impl Iterator<Item = Option<&'a ResourceRequirements>>) -> Result<QosClass, QuantityError> {
    let mut requests = [Amount::default(); 2];
    let mut limits = [Amount::default(); 2];
    let mut is_each_limited = true;
    for resources in all {
        let asked = counted(resources.and_then(|resources| resources.requests.as_ref()))?;
        let limited = counted(resources.and_then(|resources| resources.limits.as_ref()))?;
        is_each_limited &= limited.iter().all(|amount| !amount.is_zero());
        for index in 0..COUNTED.len() {
            requests[index] = requests[index] + asked[index];
            limits[index] = limits[index] + limited[index];
        }
    }
    Ok(if requests == [Amount::default(); 2] && limits == [Amount::default(); 2] {
        QosClass::BestEffort
    } else if is_each_limited && requests == limits {
        QosClass::Guaranteed
    } else {
        QosClass::Burstable
    })
}

fn counted(list: Option<&BTreeMap<String, Quantity>>) -> Result<[Amount; 2], QuantityError> {
    let mut amounts = [Amount::default(); 2];
    for (index, name) in COUNTED.into_iter().enumerate() {
        if let Some(quantity) = list.and_then(|list| list.get(name)) {
            let amount = Amount::parse(quantity)?;
            amounts[index] = if amount > Amount::default() { amount } else { Amount::default() };
        }
    }
    Ok(amounts)
}

#[cfg(test)]
mod tests;
