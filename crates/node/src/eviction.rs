//! Pods that have to go because the node is short of memory, disk or processes.
//!
//! ```text
//!  reading ──▶ Manager ──▶ rank ──▶ message ──▶ the pod's driver, which stops it with its hooks
//!     │      (thresholds,   │
//!     │       conditions)   └── what each pod uses: the runtime, disk_usage
//!     └── /proc, statvfs
//! ```
//!
//! [`signal`], [`threshold`], [`manager`], [`rank`], [`local_storage`] and [`message`] decide and do no IO; the others act. What becomes of
//! a pod that is evicted is its machine's business. For the node's sake one pod goes at a time, and what it frees is looked at before
//! another has to; a pod that uses more disk than it may goes in any case.

pub mod disk_usage;
pub mod local_storage;
pub mod manager;
pub mod message;
pub mod rank;
pub mod reading;
pub mod signal;
mod storage;
pub mod threshold;
pub mod watch;

pub use manager::{Manager, Observation, Observations, Verdict};
pub use signal::{NodeCondition, Signal};
pub use threshold::{EvictionConfig, EvictionConfigError, Threshold};
pub use watch::{Watch, WatchedPod};
