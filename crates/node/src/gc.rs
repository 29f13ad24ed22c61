//! Garbage collection: what no pod needs any more goes, by the reference's rules and numbers.
//!
//! ```text
//!   images::ImageMemory ── which images go ──▶ Collector ──▶ the runtime, the disk
//!   dead, logs ── which logs go ───────────────────┘
//! ```
//!
//! [`images`], [`dead`] and the choices of [`logs`] decide and do no IO; [`collector`] acts, and so do the rest of `logs` and [`folders`].
//! Records and root file systems of dead containers are none of its business: of each container the machine of its pod keeps one, and has
//! older ones removed as soon as there is a newer one. Their logs are (k8s: 5.c.6). Invariant: nothing that a pod on this machine uses is removed, and nothing that this
//! engine did not make: the folder of logs may be shared with others.

pub mod collector;
pub mod dead;
pub mod folders;
pub mod images;
pub mod logs;

use std::time::Duration;

pub use collector::{Collector, GcMetrics, Trouble};
pub use dead::DeadPolicy;
pub use images::{ImagePolicy, ImagePolicyError};
pub use logs::{LogPolicy, PodName};

/// What is collected, and how often.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GcConfig {
    /// Which images go.
    pub images: ImagePolicy,
    /// Which logs of dead instances of containers go, of pods that are there.
    pub dead: DeadPolicy,
    /// Which logs of pods that are gone go.
    pub logs: LogPolicy,
    /// Time between two collections.
    pub every: Duration,
}

/// As often as the reference collects containers; it looks at images every fifth time.
pub const EVERY_DEFAULT: Duration = Duration::from_secs(60);
