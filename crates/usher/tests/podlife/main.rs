//! Pods through the whole of `usher run` with real containers: one file for each part of the Pod specification.

#[path = "../support/registry.rs"]
mod registry;
#[path = "../support/mod.rs"]
mod support;

mod env;
mod init;
mod last_words;
mod private_images;
mod probes;
mod projections;
mod restarts;
mod runtime_classes;
mod sub_paths;
mod volumes;
mod workloads;

use serde_json::Value;
use support::{Ended, Machine, Running};

/// A manifest of one pod; `spec` is not indented.
fn pod(name: &str, spec: &str) -> String {
    format!("apiVersion: v1\nkind: Pod\nmetadata:\n  name: {name}\nspec:\n{}", indented(spec))
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("  {line}\n")).collect()
}

/// A pod that ends by itself: one container with one shell command, and what else the pod has.
fn shell_pod(name: &str, command: &str, container: &str, rest: &str) -> String {
    let script: String = command.lines().map(|line| format!("    {line}\n")).collect();
    let container: String = container.lines().map(|line| format!("  {line}\n")).collect();
    let spec = format!(
        "restartPolicy: Never\nterminationGracePeriodSeconds: 2\ncontainers:\n- name: app\n  image: tapp:1\n  imagePullPolicy: Never\n  \
         command:\n  - sh\n  - -c\n  - |\n{script}{container}{rest}"
    );
    pod(name, &spec)
}

/// Runs a manifest whose pod ends by itself.
fn run_to_end(machine: &Machine, manifest: &str) -> Ended {
    machine.run(manifest, &[]).end()
}

fn is_action(entry: &Value, action: &str) -> bool {
    entry["action"]["action"]["action"] == action
}

fn is_action_of(entry: &Value, action: &str, container: &str) -> bool {
    is_action(entry, action) && entry["action"]["action"]["container"] == container
}

fn is_event(entry: &Value, text: &str) -> bool {
    let record = &entry["action"]["action"];
    record["action"] == "RecordEvent"
        && format!("{}: {}", record["reason"].as_str().unwrap_or_default(), record["message"].as_str().unwrap_or_default()) == text
}

fn is_turn(entry: &Value, container: &str, probe: &str, success: bool) -> bool {
    let note = &entry["action"]["action"];
    note["note"] == "ProbeTurned" && note["container"] == container && note["probe"] == probe && note["success"] == success
}

/// The status of a container in an entry that has one.
fn status_of<'a>(entry: &'a Value, container: &str) -> Option<&'a Value> {
    let lists = [&entry["status"]["initContainerStatuses"], &entry["status"]["containerStatuses"]];
    lists.into_iter().filter_map(Value::as_array).flatten().find(|status| status["name"] == container)
}

fn wait_event(running: &mut Running, text: &str) -> Value {
    running.wait_for(text, |entry| is_event(entry, text))
}

fn has_line(ended: &Ended, wanted: &str) -> bool {
    ended.output().iter().any(|line| line.contains(wanted))
}

/// Position of the first line that has the text, for questions of order.
#[track_caller]
fn line_of(ended: &Ended, wanted: &str) -> usize {
    let found = ended.output().iter().position(|line| line.contains(wanted));
    found.unwrap_or_else(|| panic!("no line has {wanted:?}: {}", ended.story()))
}
