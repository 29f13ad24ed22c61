//! A daemon on a machine of a test, and what kubectl sees of it.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::support::{Machine, PATIENCE, kubectl};

/// A served machine. The daemon is killed when this is dropped; the machine then cleans up its pods.
pub(crate) struct Served<'m> {
    machine: &'m Machine,
    child: Child,
}

impl<'m> Served<'m> {
    pub(crate) fn start(machine: &'m Machine, more: &[&str]) -> Self {
        let arguments = [&["serve", "--listen", "127.0.0.1:6443"], more].concat();
        let mut child = machine.usher(arguments).stdout(Stdio::piped()).spawn().expect("usher starts");
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let is_ready = lines.by_ref().map_while(Result::ok).any(|line| line.starts_with("export KUBECONFIG="));
        let served = Self { machine, child };
        assert!(is_ready, "the daemon says that it serves");
        served
    }

    /// The same, with nothing that is evicted, whatever the disk of the machine that tests.
    pub(crate) fn calm(machine: &'m Machine, more: &[&str]) -> Self {
        Self::start(machine, &[&["--eviction-hard", "memory.available<1Mi"], more].concat())
    }

    pub(crate) fn kubectl(&self, arguments: &[&str]) -> Result<String, String> {
        let mut command = Command::new(kubectl());
        command.arg("--kubeconfig").arg(self.machine.root().join("server/kubeconfig"));
        command.arg("--cache-dir").arg(self.machine.path().join("cache")).args(arguments).env("HOME", self.machine.path());
        let output = command.stdin(Stdio::null()).output().expect("kubectl runs");
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stdout) + &text(output.stderr)) }
    }

    #[track_caller]
    pub(crate) fn ok(&self, arguments: &[&str]) -> String {
        self.kubectl(arguments).unwrap_or_else(|error| panic!("kubectl {arguments:?}: {error}"))
    }

    #[track_caller]
    pub(crate) fn apply(&self, manifest: &str) {
        let file = self.machine.file("applied.yaml", manifest);
        self.ok(&["apply", "-f", file.to_str().expect("text")]);
    }

    /// Asks until the pod is as wanted; null if there is none.
    #[track_caller]
    pub(crate) fn wait(&self, pod: &str, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let answer = self.kubectl(&["get", "pod", pod, "-o", "json", "--ignore-not-found"]);
            let object = answer.as_deref().map_or(Value::Null, |text| serde_json::from_str(text).unwrap_or(Value::Null));
            if answer.is_ok() && wanted(&object) {
                return object;
            }
            assert!(Instant::now() < deadline, "{what} of {pod} does not come: {answer:?}");
        }
    }

    /// Waits until its first container runs.
    #[track_caller]
    pub(crate) fn running(&self, pod: &str) -> Value {
        self.wait(pod, "a running container", |object| container(object)["state"]["running"].is_object())
    }

    /// Waits until there is no such pod.
    #[track_caller]
    pub(crate) fn gone(&self, pod: &str) {
        self.wait(pod, "the end", Value::is_null);
    }

    /// Ends the daemon by a signal.
    pub(crate) fn signal(mut self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("the daemon is there");
        self.child.wait().expect("it ends");
    }
}

impl Drop for Served<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What the API says of the first container of a pod.
pub(crate) fn container(pod: &Value) -> &Value {
    &pod["status"]["containerStatuses"][0]
}
