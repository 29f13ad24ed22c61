//! The container world: images, sandboxes, containers, their network, behind one seam with CRI's verbs.
//!
//! [`Runtime`] is the seam. [`EmbeddedRuntime`] is the runtime that needs no other daemon: a shim process for each pod, which outlives
//! the engine. Nothing here knows a Pod object, decides about a lifecycle, or records an Event.

mod cri;
mod embedded;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub mod images;
pub mod network;
mod streams;

pub use cri::*;
pub use embedded::{
    EmbeddedConfig, EmbeddedConfigError, EmbeddedRuntime, Finding, OpenRuntimeError, PodRecord, Severity, check, has_app_armor,
    has_controller, has_default_app_armor_profile,
};
pub use streams::{
    AttachRequest, ContainerStreams, StreamReader, StreamWriter, StreamingExecRequest, StreamsEnd, Terminal, TerminalSize, WantedStreams,
};
