//! The shim: the small single-threaded process, one for each pod, that starts the pod's containers and outlives the engine.
//!
//! - [`monitor`] is the process: it holds containers, reaps, remembers, and enforces deadlines. The binary enters it by [`main`].
//! - [`client`] starts shims and speaks to them, and reads what they left behind.
//! - [`protocol`] is what both say, [`records`] what is written down.
//! - [`log`] writes what containers print.
//! - [`container`] creates containers and runs commands in them, from OCI bundles.
//! - [`cgroup`] limits, counts and kills them.
//! - [`seccomp`] turns OCI system call filters into kernel programs.
//!
//! Invariant: no thread is ever started, and whatever needs much memory runs in a short-lived child process.

pub mod cgroup;
pub mod client;
pub mod container;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub mod log;
pub mod moment;
pub mod monitor;
pub mod protocol;
pub mod records;
pub mod seccomp;
mod sys;

pub use monitor::main;
