//! The shim as a process: started, spoken to, killed.
//!
//! Every test has a pod of its own (state directory, cgroup, shim) that goes away with it. Tests with containers need root and
//! a static busybox, and say `SKIP` where these are missing.

#![expect(clippy::wildcard_enum_match_arm, reason = "a test names what it expects, and everything else is wrong")]

mod containers;
mod execs;
mod fixture;
mod footprint;
mod records;
mod startup;
mod stops;
mod wire;
