//! System call filters: OCI `linux.seccomp` made into programs for the kernel, and the filter for containers that ask for no other.

mod bpf;
mod compile;
mod profile;
mod tables;

pub use self::{
    compile::{CompileSeccompError, Filter, compile},
    profile::runtime_default,
};

#[cfg(test)]
mod tests;
