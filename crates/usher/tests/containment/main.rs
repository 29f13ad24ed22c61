//! What containers of `usher run` may do to the machine and to each other, and what they get of it: one file for each part.

#![expect(clippy::print_stderr, reason = "skipped tests say so")]

#[path = "../support/mod.rs"]
mod support;

mod break_out;
mod ipv6;
mod namespaces;
mod ports;
mod resources;
mod security;

use support::{Ended, Machine};

/// A manifest of one pod; `spec` is not indented.
fn pod(name: &str, spec: &str) -> String {
    let spec: String = spec.lines().map(|line| format!("  {line}\n")).collect();
    format!("apiVersion: v1\nkind: Pod\nmetadata:\n  name: {name}\nspec:\n{spec}")
}

/// A container with one shell command; `more` are its other fields.
fn shell(name: &str, command: &str, more: &str) -> String {
    let script: String = command.lines().map(|line| format!("    {line}\n")).collect();
    let more: String = more.lines().map(|line| format!("  {line}\n")).collect();
    format!("- name: {name}\n  image: tapp:1\n  imagePullPolicy: Never\n  command:\n  - sh\n  - -c\n  - |\n{script}{more}")
}

/// A pod that ends by itself: one container with one shell command, and what else the pod has.
fn shell_pod(name: &str, command: &str, container: &str, rest: &str) -> String {
    let container = shell("app", command, container);
    pod(name, &format!("restartPolicy: Never\nterminationGracePeriodSeconds: 2\ncontainers:\n{container}{rest}"))
}

/// Runs a manifest whose pod ends by itself.
fn run_to_end(machine: &Machine, manifest: &str) -> Ended {
    machine.run(manifest, &[]).end()
}

/// Runs one container with one shell command and returns what it printed.
fn printed(machine: &Machine, command: &str, container: &str, rest: &str) -> Vec<String> {
    run_to_end(machine, &shell_pod("isolated", command, container, rest)).output()
}
