//! What an evicted pod is told, in the reference's words (k8s: 8.a.18).

use super::manager::Shortage;
use super::signal::Signal;
use super::threshold::Level;
use crate::quantity::{binary_text, decimal_text};

/// A container that may have used more than it asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerUse {
    /// Its name.
    pub name: String,
    /// What it uses of that which is short, in bytes.
    pub usage: u64,
    /// What it asked for.
    pub request: u64,
    /// The same as it was written; `0` if it asked for none.
    pub request_text: String,
}

/// `status.message` and text of the Event of a pod that goes for this shortage.
pub fn eviction_message(shortage: &Shortage, containers: &[ContainerUse]) -> String {
    let resource = shortage.threshold.signal.resource();
    let mut message = format!("The node was low on resource: {resource}. ");
    message += &format!("Threshold quantity: {}, available: {}. ", level_text(shortage), available_text(shortage));
    for container in containers.iter().filter(|container| container.usage > container.request) {
        let ContainerUse { name, usage, request_text, .. } = container;
        let usage = binary_text(*usage);
        message += &format!("Container {name} was using {usage}, request is {request_text}, has larger consumption of {resource}. ");
    }
    message
}

/// For the journal: `memory.available is 80Mi, under its threshold of 100Mi`.
pub fn shortage_text(shortage: &Shortage) -> String {
    format!("{} is {}, under its threshold of {}", shortage.threshold.signal, available_text(shortage), level_text(shortage))
}

fn level_text(shortage: &Shortage) -> String {
    match &shortage.threshold.level {
        Level::Amount { text, .. } => text.clone(),
        Level::Part(_) => binary_text(shortage.level()),
    }
}

fn available_text(shortage: &Shortage) -> String {
    let available = shortage.observation.available;
    match shortage.threshold.signal {
        Signal::NodeFsInodesFree | Signal::ImageFsInodesFree => decimal_text(available),
        Signal::MemoryAvailable | Signal::NodeFsAvailable | Signal::ImageFsAvailable | Signal::PidAvailable => binary_text(available),
    }
}

#[cfg(test)]
mod tests;
