//! The other side of the shim: starting one, speaking to it, and reading what it left behind.
//!
//! - [`spawn_shim`] starts a shim and waits until it can be reached.
//! - [`ShimClient`] speaks to it, blocking, for tests and tools. An async engine takes [`connect`] and the codec of
//!   [`crate::protocol`] instead.
//! - [`ShimRecord`] tells the truth from the state directory alone, and [`kill_pod_cgroup`] ends what a dead shim left.

mod blocking;
mod record;
mod spawn;

pub use blocking::{CallError, ConnectError, ShimClient, connect};
pub use record::{ContainerRecord, ExecRecord, KillPodError, Life, LoadRecordError, ShimRecord, kill_pod_cgroup};
pub use spawn::{SpawnShimError, spawn_shim, spawn_shim_program};
