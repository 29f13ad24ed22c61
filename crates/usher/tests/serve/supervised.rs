//! What a service manager is told, on a socket as systemd makes it.

use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::process::{Child, Stdio};
use std::sync::mpsc;
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process};

use crate::support::{Machine, PATIENCE};

/// A daemon that is supervised. It is killed when this is dropped.
struct Supervised {
    told: mpsc::Receiver<String>,
    child: Child,
}

impl Supervised {
    fn start(machine: &Machine, socket: UnixDatagram, name: &str, more: &[&str]) -> Self {
        let arguments = [&["serve", "--listen", "127.0.0.1:6443", "--eviction-hard", "memory.available<1Mi"], more].concat();
        let mut command = machine.usher(arguments);
        command.env("NOTIFY_SOCKET", name).env("WATCHDOG_USEC", "600000").stdout(Stdio::null());
        let (sender, told) = mpsc::channel();
        // A socket that is not read takes only a few messages.
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(read) = socket.recv(&mut buffer) {
                if sender.send(String::from_utf8_lossy(&buffer[..read]).into_owned()).is_err() {
                    return;
                }
            }
        });
        Self { told, child: command.spawn().expect("usher starts") }
    }

    /// Waits for a message with this line in it; all of it, and those before.
    #[track_caller]
    fn wait_for(&self, line: &str) -> Vec<String> {
        let deadline = Instant::now() + PATIENCE;
        let mut seen: Vec<String> = Vec::new();
        while let Ok(message) = self.told.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            let is_wanted = message.lines().any(|told| told == line);
            seen.push(message);
            if is_wanted {
                return seen;
            }
        }
        panic!("{line} is not told: {seen:?}");
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("the daemon is there");
    }
}

impl Drop for Supervised {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_service_manager_is_told_that_the_daemon_serves_lives_and_ends() {
    let Some(machine) = Machine::new("a_service_manager_is_told_that_the_daemon_serves_lives_and_ends") else { return };
    let path = machine.path().join("notify");
    let socket = UnixDatagram::bind(&path).expect("a socket");
    let mut daemon = Supervised::start(&machine, socket, path.to_str().expect("text"), &[]);
    let told = daemon.wait_for("READY=1");
    assert_eq!(told.len(), 1, "nothing is told before it serves: {told:?}");
    assert!(told[0].contains("STATUS=serving on https://127.0.0.1:6443, 0 pods adopted"), "{told:?}");
    for _ in 0..3 {
        daemon.wait_for("WATCHDOG=1");
    }
    daemon.signal(Signal::TERM);
    daemon.wait_for("STOPPING=1");
    assert!(daemon.child.wait().expect("it ends").success());
}

const SLOW: &str = "apiVersion: v1
kind: Pod
metadata: {name: slow}
spec:
  terminationGracePeriodSeconds: 600
  containers:
  - name: app
    image: tapp:1
    imagePullPolicy: Never
    command: [sh, -c, 'trap \"until [ -e /tmp/go ]; do sleep 0.05; done; exit 0\" TERM; touch /tmp/ready; sleep 10000 & wait']
    readinessProbe: {exec: {command: [test, -e, /tmp/ready]}, periodSeconds: 1}
";

#[test]
fn a_daemon_that_stops_pods_asks_for_the_time_that_they_take() {
    let Some(machine) = super::machine("a_daemon_that_stops_pods_asks_for_the_time_that_they_take") else { return };
    let name = format!("usher-test-{}", std::process::id());
    let socket = SocketAddr::from_abstract_name(&name).and_then(|address| UnixDatagram::bind_addr(&address)).expect("a socket");
    let mut daemon = Supervised::start(&machine, socket, &format!("@{name}"), &["--stop-pods"]);
    daemon.wait_for("READY=1");
    let kubectl = |arguments: &[&str]| {
        let mut command = std::process::Command::new(super::kubectl());
        command.arg("--kubeconfig").arg(machine.root().join("server/kubeconfig")).args(arguments).env("HOME", machine.path());
        let output = command.output().expect("kubectl runs");
        assert!(output.status.success(), "{arguments:?}: {output:?}");
    };
    let manifest = machine.file("slow.yaml", SLOW);
    kubectl(&["apply", "-f", manifest.to_str().expect("text")]);
    kubectl(&["wait", "--for=condition=Ready", "pod/slow", "--timeout=60s"]);
    daemon.signal(Signal::TERM);
    daemon.wait_for("STOPPING=1");
    for _ in 0..3 {
        let told = daemon.wait_for("WATCHDOG=1").pop().unwrap_or_default();
        assert!(told.lines().any(|line| line.starts_with("EXTEND_TIMEOUT_USEC=")), "{told}");
    }
    // The API still answers, and the container now ends in its own time.
    kubectl(&["exec", "slow", "--", "touch", "/tmp/go"]);
    assert!(daemon.child.wait().expect("it ends").success());
    assert_eq!(machine.shims(), Vec::<i32>::new(), "the pod has ended before the daemon");
}
