//! `usher serve` with a real kubectl and real containers.

mod admission;
mod conditions;
mod ends;
mod forwards;
mod hostile;
mod logs;
mod python;
mod streams;
mod supervised;
#[path = "../support/mod.rs"]
mod support;
#[path = "../support/terminal.rs"]
mod terminal;
mod usage;

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use support::{Machine, PATIENCE, has_kubectl, has_new_kubectl, kubectl};

const POD: &str = "apiVersion: v1
kind: Pod
metadata:
  name: web
spec:
  terminationGracePeriodSeconds: 20
  containers:
  - name: app
    image: tapp:1
    imagePullPolicy: Never
    command: [sh, -c, 'echo \"colour is $COLOUR\"; exec tapp run']
    env:
    - {name: COLOUR, valueFrom: {configMapKeyRef: {name: settings, key: colour}}}
    lifecycle:
      postStart: {exec: {command: [tapp, say, postStart]}}
      preStop: {exec: {command: [tapp, say, preStop]}}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {colour: green}
";

/// A served machine. The daemon is killed when this is dropped; the machine then cleans up its pods.
struct Served<'m> {
    machine: &'m Machine,
    child: Child,
}

impl<'m> Served<'m> {
    fn start(machine: &'m Machine) -> Self {
        let mut child = machine
            .usher(["serve", "--listen", "127.0.0.1:6443", "--eviction-hard", "memory.available<1Mi"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("usher starts");
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let ready = lines.by_ref().map_while(Result::ok).any(|line| line.starts_with("export KUBECONFIG="));
        let served = Self { machine, child };
        assert!(ready, "the daemon says that it serves");
        served
    }

    fn signal(&mut self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).expect("the daemon is there");
        self.child.wait().expect("it ends");
    }

    /// A command of kubectl, or of another version of it.
    fn command(&self, kubectl: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(kubectl);
        command.arg("--kubeconfig").arg(self.machine.root().join("server/kubeconfig"));
        command.arg("--cache-dir").arg(self.machine.path().join("cache")).args(arguments);
        command.env("HOME", self.machine.path()).stdin(Stdio::null());
        command
    }

    fn kubectl(&self, arguments: &[&str]) -> (bool, String, String) {
        let output = self.command(kubectl(), arguments).output().expect("kubectl runs");
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        (output.status.success(), text(output.stdout), text(output.stderr))
    }

    #[track_caller]
    fn ok(&self, arguments: &[&str]) -> String {
        let (success, out, err) = self.kubectl(arguments);
        assert!(success, "kubectl {arguments:?}: {out}{err}");
        out
    }

    fn pod(&self) -> Value {
        serde_json::from_str(&self.ok(&["get", "pod", "web", "-o", "json"])).expect("JSON")
    }

    fn start_pod(&self) {
        let manifest = self.machine.file("pod.yaml", POD);
        self.ok(&["apply", "-f", manifest.to_str().expect("text")]);
        self.ok(&["wait", "--for=condition=Ready", "pod/web", "--timeout=30s"]);
    }
}

impl Drop for Served<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn machine(test: &str) -> Option<Machine> {
    if has_kubectl(test) { Machine::new(test) } else { None }
}

/// For what old versions of kubectl cannot ask for.
fn machine_with_new_kubectl(test: &str) -> Option<Machine> {
    if has_new_kubectl(test) { Machine::new(test) } else { None }
}

/// How often the journals say that a hook was begun.
fn hooks_begun(machine: &Machine, hook: &str) -> usize {
    let folder = std::fs::read_dir(machine.root().join("journals")).expect("journals");
    let texts = folder.map(|entry| std::fs::read_to_string(entry.expect("an entry").path()).expect("readable"));
    let lines: Vec<String> = texts.flat_map(|text| text.lines().map(ToOwned::to_owned).collect::<Vec<_>>()).collect();
    let entries = lines.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    entries.filter(|entry| entry["action"]["action"]["action"] == "RunHook" && entry["action"]["action"]["hook"] == hook).count()
}

#[test]
fn kubectl_sees_a_pod_from_its_start_to_its_end() {
    let Some(machine) = machine("kubectl_sees_a_pod_from_its_start_to_its_end") else { return };
    let served = Served::start(&machine);
    served.start_pod();
    let log = served.ok(&["logs", "web"]);
    assert!(log.starts_with("colour is green\n"), "{log}");
    assert_eq!(served.ok(&["exec", "web", "--", "sh", "-c", "echo inside"]), "inside\n");
    let (success, _, err) = served.kubectl(&["exec", "web", "--", "sh", "-c", "exit 3"]);
    assert!(!success && err.contains("exit code 3"), "{err}");
    let table = served.ok(&["get", "pods", "-o", "wide", "--no-headers"]);
    assert!(table.contains("1/1") && table.contains("Running") && table.contains("10.199."), "{table}");
    assert!(served.ok(&["get", "nodes", "--no-headers"]).contains("Ready"));
    let began = Instant::now();
    served.ok(&["delete", "pod", "web"]);
    assert!(began.elapsed() < Duration::from_secs(15), "it ends by itself, before its grace: {:?}", began.elapsed());
    let events = served.ok(&["get", "events", "-o", "jsonpath={range .items[*]}{.reason} {end}"]);
    for reason in ["Scheduled", "Created", "Started", "Killing"] {
        assert!(events.split(' ').any(|event| event == reason), "{reason} is not in {events}");
    }
    assert_eq!(served.ok(&["get", "pods", "-o", "name"]), "");
}

#[test]
fn pods_live_on_when_the_daemon_is_killed() {
    let Some(machine) = machine("pods_live_on_when_the_daemon_is_killed") else { return };
    let mut served = Served::start(&machine);
    served.start_pod();
    let before = served.pod();
    for signal in [Signal::KILL, Signal::TERM] {
        served.signal(signal);
        served = Served::start(&machine);
        let after = served.pod();
        let status = |pod: &Value| pod["status"]["containerStatuses"][0].clone();
        for field in ["containerID", "restartCount", "state"] {
            assert_eq!(status(&after)[field], status(&before)[field], "{field} after {signal:?}");
        }
        assert_eq!(after["metadata"]["uid"], before["metadata"]["uid"]);
    }
    served.ok(&["delete", "pod", "web", "--timeout=30s"]);
    assert_eq!(hooks_begun(&machine, "PostStart"), 1, "a hook that has run is not run again");
    assert_eq!(hooks_begun(&machine, "PreStop"), 1);
}

// k8s: 8.f.4
#[test]
fn pods_and_the_node_have_addresses_of_both_families_that_outlive_the_daemon() {
    let test = "pods_and_the_node_have_addresses_of_both_families_that_outlive_the_daemon";
    let Some(machine) = machine(test) else { return };
    if std::net::UdpSocket::bind("[::1]:0").is_err() {
        #[expect(clippy::print_stderr, reason = "tests say why they skip")]
        {
            eprintln!("SKIP {test}: the kernel has no IPv6");
        }
        return;
    }
    for arguments in [
        "link add lan0 type veth peer name lan1",
        "link set lan0 up",
        "link set lan1 up",
        "addr add 192.0.2.10/24 dev lan0",
        "-6 addr add 2001:db8:5::10/64 dev lan0 nodad",
        "route add default dev lan0",
        "-6 route add default dev lan0",
    ] {
        assert!(Command::new("ip").args(arguments.split(' ')).status().expect("ip runs").success(), "ip {arguments}");
    }
    let mut served = Served::start(&machine);
    let web = POD
        .replace("    env:", "    ports: [{containerPort: 8080, hostPort: 18080}]\n    env:")
        .replace("exec tapp run", "exec tapp run --http 8080");
    let manifest = machine.file("pod.yaml", &web);
    served.ok(&["apply", "-f", manifest.to_str().expect("text")]);
    served.ok(&["wait", "--for=condition=Ready", "pod/web", "--timeout=60s"]);
    let ips = |field: &str, list: &Value| -> Vec<String> {
        list.as_array().expect("a list").iter().map(|ip| ip[field].as_str().expect("an address").to_owned()).collect()
    };
    let expected = ["10.199.0.2", "fd75:7368:6572::ac7:2"];
    let node = ["192.0.2.10", "2001:db8:5::10"];
    let before = served.pod()["status"].clone();
    assert_eq!((before["podIP"].as_str(), ips("ip", &before["podIPs"])), (Some(expected[0]), expected.map(str::to_owned).to_vec()));
    assert_eq!((before["hostIP"].as_str(), ips("ip", &before["hostIPs"])), (Some(node[0]), node.map(str::to_owned).to_vec()));
    let addresses = served.ok(&["get", "nodes", "-o", "jsonpath={.items[0].status.addresses[?(@.type==\"InternalIP\")].address}"]);
    assert_eq!(addresses, node.join(" "));

    served.signal(Signal::KILL);
    served = Served::start(&machine);
    assert_eq!(ips("ip", &served.pod()["status"]["podIPs"]), expected);
    let by_port = std::net::TcpStream::connect("[2001:db8:5::10]:18080");
    assert!(by_port.is_ok(), "{by_port:?}");
    // Its leases are given back with it: the next pod has the next addresses, and the machine that ends finds none.
    served.ok(&["delete", "pod", "web", "--timeout=60s"]);
    served.ok(&["apply", "-f", manifest.to_str().expect("text")]);
    served.ok(&["wait", "--for=condition=Ready", "pod/web", "--timeout=60s"]);
    assert_eq!(ips("ip", &served.pod()["status"]["podIPs"]), ["10.199.0.3", "fd75:7368:6572::ac7:3"]);
    served.ok(&["delete", "pod", "web", "--timeout=60s"]);
}

#[test]
fn a_stop_that_was_begun_goes_on_after_a_kill() {
    let Some(machine) = machine("a_stop_that_was_begun_goes_on_after_a_kill") else { return };
    let mut served = Served::start(&machine);
    served.start_pod();
    served.ok(&["delete", "pod", "web", "--wait=false"]);
    served.signal(Signal::KILL);
    served = Served::start(&machine);
    let deadline = Instant::now() + PATIENCE;
    while !served.ok(&["get", "pods", "-o", "name"]).is_empty() {
        assert!(Instant::now() < deadline, "the pod stays: {}", served.pod());
        // Each round asks a server; nothing is awaited but its answer.
        std::thread::yield_now();
    }
}

/// What a control group of version 1 says, for the container and for its pod.
fn limits(pod: &Value, controller: &str, file: &str) -> [String; 2] {
    let id = pod["status"]["containerStatuses"][0]["containerID"].as_str().and_then(|id| id.rsplit('/').next()).expect("an id").to_owned();
    let uid = pod["metadata"]["uid"].as_str().expect("a uid");
    let of_pod = format!("/sys/fs/cgroup/{controller}/usher/pod{uid}");
    [format!("{of_pod}/{id}"), of_pod].map(|folder| std::fs::read_to_string(format!("{folder}/{file}")).expect("a file").trim().to_owned())
}

/// Waits until the pod is as wanted; each round asks the server.
#[track_caller]
fn await_pod(served: &Served<'_>, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let pod = served.pod();
        if wanted(&pod) {
            return pod;
        }
        assert!(Instant::now() < deadline, "{what} does not come: {pod:#}");
        std::thread::yield_now();
    }
}

const RESIZED: &str = "apiVersion: v1
kind: Pod
metadata:
  name: web
spec:
  terminationGracePeriodSeconds: 5
  containers:
  - name: app
    image: tapp:1
    imagePullPolicy: Never
    command: [sh, -c, \"trap 'exit 0' TERM; head -c 20000000 /dev/zero > /dev/shm/held; touch /tmp/ready; while true; do sleep 0.1; done\"]
    readinessProbe: {exec: {command: [test, -e, /tmp/ready]}, periodSeconds: 1}
    resizePolicy: [{resourceName: cpu, restartPolicy: NotRequired}, {resourceName: memory, restartPolicy: NotRequired}]
    resources: {requests: {cpu: 100m, memory: 32Mi}, limits: {cpu: 200m, memory: 64Mi}}
";

// k8s: 10.d.18, 8.c.19
#[test]
fn a_pod_is_resized_while_it_runs() {
    let Some(machine) = machine_with_new_kubectl("a_pod_is_resized_while_it_runs") else { return };
    if !std::path::Path::new("/sys/fs/cgroup/memory").exists() {
        #[expect(clippy::print_stderr, reason = "tests say why they skip")]
        {
            eprintln!("SKIP a_pod_is_resized_while_it_runs: limits are in cgroup version 2 here, see version_2.rs");
        }
        return;
    }
    let served = Served::start(&machine);
    let manifest = machine.file("pod.yaml", RESIZED);
    served.ok(&["apply", "-f", manifest.to_str().expect("text")]);
    served.ok(&["wait", "--for=condition=Ready", "pod/web", "--timeout=30s"]);
    let before = served.pod();
    let resize = |resources: &str| {
        let patch = format!("{{\"spec\":{{\"containers\":[{{\"name\":\"app\",\"resources\":{resources}}}]}}}}");
        served.kubectl(&["patch", "pod", "web", "--subresource", "resize", "--patch", &patch])
    };
    let has = |pod: &Value, cpu: &str| pod["status"]["containerStatuses"][0]["resources"]["limits"]["cpu"] == cpu;
    let condition = |pod: &Value, kind: &str| {
        let all = pod["status"]["conditions"].as_array().cloned().unwrap_or_default();
        all.into_iter().find(|condition| condition["type"] == kind)
    };

    // More, and less.
    for (request, limit, shares, quota) in [("200m", "400m", "204", "40000"), ("50m", "100m", "51", "10000")] {
        let (success, _, err) = resize(&format!("{{\"requests\":{{\"cpu\":\"{request}\"}},\"limits\":{{\"cpu\":\"{limit}\"}}}}"));
        assert!(success, "{err}");
        let pod = await_pod(&served, limit, |pod| has(pod, limit) && condition(pod, "PodResizeInProgress").is_none());
        assert_eq!(limits(&pod, "cpu", "cpu.cfs_quota_us"), [quota, quota]);
        assert_eq!(limits(&pod, "cpu", "cpu.shares"), [shares, shares]);
        assert_eq!(pod["status"]["containerStatuses"][0]["allocatedResources"]["cpu"], request);
    }

    // Less memory than is in use.
    let (success, _, err) = resize("{\"requests\":{\"memory\":\"4Mi\"},\"limits\":{\"cpu\":\"300m\",\"memory\":\"8Mi\"}}");
    assert!(success, "{err}");
    let is_refused = |pod: &Value| condition(pod, "PodResizeInProgress").is_some_and(|condition| condition["reason"] == "Error");
    let pod = await_pod(&served, "the refusal", is_refused);
    let message = condition(&pod, "PodResizeInProgress").expect("it")["message"].as_str().expect("a text").to_owned();
    assert!(message.starts_with("cannot decrease memory limits: [attempting to set container \"app\" memory limit (8388608)"), "{message}");
    assert_eq!(limits(&pod, "memory", "memory.limit_in_bytes"), [(64 << 20).to_string(), (64 << 20).to_string()]);
    assert_eq!(limits(&pod, "cpu", "cpu.cfs_quota_us"), ["10000", "10000"], "nothing of it is written");
    let (success, _, err) = resize("{\"requests\":{\"memory\":\"32Mi\"},\"limits\":{\"cpu\":\"100m\",\"memory\":\"128Mi\"}}");
    assert!(success, "{err}");
    let pod = await_pod(&served, "more memory", |pod| condition(pod, "PodResizeInProgress").is_none());
    assert_eq!(limits(&pod, "memory", "memory.limit_in_bytes"), [(128 << 20).to_string(), (128 << 20).to_string()]);

    // More than the machine has.
    let (success, _, err) = resize("{\"requests\":{\"cpu\":\"1000\"},\"limits\":{\"cpu\":\"1000\"}}");
    assert!(success, "{err}");
    let pod = await_pod(&served, "the verdict", |pod| condition(pod, "PodResizePending").is_some());
    let pending = condition(&pod, "PodResizePending").expect("it");
    assert_eq!(pending["reason"], "Infeasible");
    assert!(pending["message"].as_str().is_some_and(|text| text.starts_with("Node didn't have enough capacity: cpu, requested: 1000000")));
    assert!(has(&pod, "100m"), "nothing has changed: {pod:#}");
    let (success, _, err) = resize("{\"limits\":{\"memory\":null}}");
    assert!(!success && err.contains("resource limits cannot be removed"), "{err}");

    // It is the same container all the time.
    for field in ["containerID", "restartCount", "state"] {
        assert_eq!(pod["status"]["containerStatuses"][0][field], before["status"]["containerStatuses"][0][field], "{field}");
    }
    assert_eq!(pod["status"]["qosClass"], "Burstable");
    let events = served.ok(&["get", "events", "-o", "jsonpath={range .items[*]}{.reason} {end}"]);
    for reason in ["ResizeStarted", "ResizeCompleted", "ResizeError", "ResizeInfeasible"] {
        assert!(events.split(' ').any(|event| event == reason), "{reason} is not in {events}");
    }
    served.ok(&["delete", "pod", "web", "--timeout=30s"]);
}
