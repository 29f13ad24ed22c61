//! The pod network on a machine of its own. Needs root; the real network is never touched.

mod attach;
mod concurrency;
mod host_ports;
mod machine;
mod reach;
mod support;
