//! Drives pods: the lifecycle's decisions, done with real IO.
//!
//! A pod is driven by one [`PodDriver`]: it hands events to the pure machine in `lifecycle`, has the actions done by a
//! [`runtime::Runtime`], writes the journal, and keeps the state from which another engine can go on. Kubernetes types meet
//! the machine's words in `convert`, and nowhere else.

pub mod admission;
pub mod agent;
mod allocations;
pub mod clock;
pub mod container_config;
pub mod control;
pub mod convert;
mod driver;
pub mod events;
pub mod eviction;
mod expansion;
pub mod folder_watch;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub mod gc;
mod go_text;
pub mod http;
pub mod journal;
pub mod logs;
mod machine;
mod machine_use;
pub mod metrics;
mod objects;
pub mod observer;
pub mod pod_files;
mod pod_world;
pub mod preemption;
pub mod probes;
pub mod quantity;
pub mod shutdown;
mod state;
pub mod static_pods;

pub use allocations::Allocations;
pub use driver::{DriverState, OpenPodError, Pod, PodDriver, PodHandle, RunHook};
pub use machine_use::{MachineUse, machine_use};
pub use pod_world::{NewPodError, NodeConfig, PodWorld, read_manifest};
pub use state::{LoadStateError, PodState, SaveStateError};

/// An error and all its causes in one line.
pub fn error_chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
