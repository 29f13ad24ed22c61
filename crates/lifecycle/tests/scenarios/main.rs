//! Scenarios: one for each behaviour row that the machine keeps, played in virtual time, with the trace that must come out.
//!
//! A test's name is the promise; `k8s:` above it cites the rows. The language is explained in `script.rs`.

mod account;
mod ephemeral;
mod hooks;
mod init;
mod node;
mod probes;
mod resize;
mod restart;
mod restart_all;
mod script;
mod start;
mod status;
mod stop;
mod update;
