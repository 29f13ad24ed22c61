//! What a node does for itself: pods that have to go because it is short, is full or goes down, and pods that it does not take. Real
//! containers, which really fill a file system.

mod support;

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use serde_json::Value;
use support::{Ended, Machine, PATIENCE, has_kubectl, kubectl};

/// Enough for the images and what the engine writes; the pods fill the rest.
const ROOT_MIB: u64 = 160;
/// So much has to be free, which the images leave and the pods take.
const FREE_MIB: u64 = 60;

/// A pod that fills a volume until little is free, but enough for the engine to go on, and then waits.
fn filler(name: &str, more: &str) -> String {
    format!(
        "apiVersion: v1
kind: Pod
metadata: {{name: {name}}}
spec:
  terminationGracePeriodSeconds: 20
{more}
  volumes: [{{name: data, emptyDir: {{}}}}]
  containers:
  - name: app
    image: tapp:1
    imagePullPolicy: Never
    command:
    - sh
    - -c
    - |
      trap 'exit 0' TERM
      while [ $(df -k /data | tail -1 | tr -s ' ' | cut -d' ' -f4) -gt 30000 ]; do
        dd if=/dev/zero bs=1M count=4 2>/dev/null >> /data/file
      done
      exec tapp run
    volumeMounts: [{{name: data, mountPath: /data}}]
    lifecycle: {{preStop: {{exec: {{command: [tapp, say, preStop]}}}}}}
"
    )
}

fn evicted(ended: &Ended, message: &str) -> Value {
    let status = ended.status();
    assert_eq!((&status["phase"], &status["reason"]), (&"Failed".into(), &"Evicted".into()), "{}", ended.story());
    let told = status["message"].as_str().expect("a message");
    assert!(told.starts_with(message), "{told}");
    assert!(ended.events().contains(&format!("Evicted: {told}")), "{:?}", ended.events());
    status.clone()
}

// k8s: 4.a.18, 8.a.18, 8.b.14, 8.b.15, 10.d.2
#[test]
fn a_pod_that_fills_the_disk_is_evicted_with_its_hooks_in_one_second() {
    let Some(machine) = Machine::in_memory("a_pod_that_fills_the_disk_is_evicted_with_its_hooks_in_one_second", ROOT_MIB) else { return };
    let hard = format!("nodefs.available<{FREE_MIB}Mi");
    let more = ["--eviction-hard", hard.as_str(), "--eviction-monitoring-period", "500ms"];
    let ended = machine.run(&filler("filler", ""), &more).end();
    assert_eq!(ended.code, Some(1), "{}", ended.story());
    let status =
        evicted(&ended, &format!("The node was low on resource: ephemeral-storage. Threshold quantity: {FREE_MIB}Mi, available: "));
    let condition = status["conditions"].as_array().into_iter().flatten().find(|condition| condition["kind"] == "DisruptionTarget");
    let condition = condition.unwrap_or_else(|| panic!("no condition: {status}"));
    assert_eq!((&condition["reason"], &condition["message"]), (&"TerminationByKubelet".into(), &status["message"]), "{condition}");
    assert!(ended.output().iter().any(|line| line.contains("preStop")), "the hook ran: {}", ended.story());
    let began = ended.find(|entry| entry["action"]["action"]["note"] == "StopBegan").expect("a stop");
    assert_eq!(began["action"]["action"]["graceSecs"], 1, "{began}");
    let kill = ended.find(|entry| entry["kill"].is_object()).expect("somebody asked");
    assert_eq!(kill["kill"]["trigger"], "Evicted");
    let why = machine.output(["why", "filler"]);
    let why = String::from_utf8_lossy(&why.stdout).into_owned();
    assert!(why.contains("Failed with reason Evicted (The node was low on resource: ephemeral-storage."), "{why}");
    assert!(why.contains("evicted with a grace of 1 s by the node: nodefs.available is "), "{why}");
}

// k8s: 8.a.18
#[test]
fn when_memory_is_short_the_pod_that_uses_most_goes_first_and_is_told_what_it_used() {
    let Some(machine) = Machine::new("when_memory_is_short_the_pod_that_uses_most_goes_first_and_is_told_what_it_used") else { return };
    let eater = "trap \"exit 0\" TERM; text=$(head -c 50000000 /dev/zero | tr \"\\0\" a); while true; do sleep 0.1; done";
    // Of three pods the middle one is the first to go; the next goes only when it is gone.
    let pods = [script("modest", "exec tapp run", "", ""), script("eater", eater, "", ""), script("other", "exec tapp run", "", "")];
    let more = ["--eviction-hard", "memory.available<1000Ti", "--eviction-monitoring-period", "3s"];
    let ended = machine.run(&pods.join("---\n"), &more).end();
    let kills = kills(&machine);
    assert_eq!(kills.len(), 3, "{kills:?}");
    assert_eq!(kills[0], "eater Evicted {\"Seconds\":1}");
    let told = ended.events().into_iter().find(|event| event.starts_with("Evicted: ")).expect("an event");
    let start = "Evicted: The node was low on resource: memory. Threshold quantity: 1000Ti, available: ";
    assert!(told.starts_with(start) && told.ends_with("i, request is 0, has larger consumption of memory. "), "{told}");
    let usage = told.split("Container app was using ").nth(1).and_then(|rest| rest.split_once("i, request")).expect("a usage").0;
    let (number, unit) = usage.split_at(usage.len() - 1);
    let kib = number.parse::<u64>().expect("a number") * if unit == "M" { 1024 } else { 1 };
    assert!((48_000..200_000).contains(&kib), "{told}");
}

/// A pod whose container runs a script.
fn script(name: &str, script: &str, container: &str, rest: &str) -> String {
    format!(
        "apiVersion: v1
kind: Pod
metadata: {{name: {name}}}
spec:
  terminationGracePeriodSeconds: 20
{rest}
  containers:
  - name: app
    image: tapp:1
    imagePullPolicy: Never
    command: [sh, -c, '{script}']
{container}
"
    )
}

/// Runs a pod that exceeds a limit of its own, on a node that is short of nothing.
fn exceeding(machine: &Machine, manifest: &str, message: &str) {
    let ended = machine.run(manifest, &["--eviction-monitoring-period", "300ms"]).end();
    let status = evicted(&ended, message);
    assert_eq!(status["message"], message);
    let condition = status["conditions"].as_array().into_iter().flatten().find(|condition| condition["kind"] == "DisruptionTarget");
    assert_eq!(condition, None, "k8s: 8.b.14");
    let kill = ended.find(|entry| entry["kill"].is_object()).expect("somebody asked");
    assert!(kill["kill"]["by"].as_str().is_some_and(|by| message.contains(by.trim_start_matches("the node: "))), "{kill}");
}

// k8s: 8.a.19, 4.a.18, 8.b.14
#[test]
fn a_pod_whose_empty_dir_grows_over_its_limit_is_evicted() {
    let Some(machine) = Machine::new("a_pod_whose_empty_dir_grows_over_its_limit_is_evicted") else { return };
    let more = "    volumeMounts: [{name: data, mountPath: /data}]";
    let volumes = "  volumes: [{name: data, emptyDir: {sizeLimit: 10Mi}}]";
    let manifest = script("grower", "dd if=/dev/zero of=/data/file bs=1M count=12 2>/dev/null; exec tapp run", more, volumes);
    exceeding(&machine, &manifest, "Usage of EmptyDir volume \"data\" exceeds the limit \"10Mi\". ");
}

// k8s: 8.a.19
#[test]
fn what_a_container_writes_into_its_own_files_counts_against_its_limit() {
    let Some(machine) = Machine::new("what_a_container_writes_into_its_own_files_counts_against_its_limit") else { return };
    let more = "    resources: {limits: {ephemeral-storage: 10Mi}}
  - name: other
    image: tapp:1
    imagePullPolicy: Never
    command: [tapp, run]
    resources: {limits: {ephemeral-storage: 100Mi}}";
    let manifest = script("writer", "dd if=/dev/zero of=/file bs=1M count=12 2>/dev/null; exec tapp run", more, "");
    exceeding(&machine, &manifest, "Container app exceeded its local ephemeral storage limit \"10Mi\". ");
}

// k8s: 8.a.19
#[test]
fn what_a_container_prints_counts_against_its_limit() {
    let Some(machine) = Machine::new("what_a_container_prints_counts_against_its_limit") else { return };
    let more = "    resources: {limits: {ephemeral-storage: 4Mi}}";
    let manifest = script("printer", "yes a line of output that is printed again and again | head -c 6000000; exec tapp run", more, "");
    exceeding(&machine, &manifest, "Pod ephemeral local storage usage exceeds the total limit of containers 4Mi. ");
}

/// Folders of a name somewhere below.
fn find(below: &Path, name: &str) -> Vec<PathBuf> {
    let folders = std::fs::read_dir(below).into_iter().flatten().flatten().map(|entry| entry.path());
    let folders: Vec<_> = folders.filter(|path| path.is_dir() && !path.is_symlink()).collect();
    let found = folders.iter().filter(|path| path.file_name().is_some_and(|found| found == name)).cloned();
    found.chain(folders.iter().flat_map(|path| find(path, name))).collect()
}

/// Keeps processes from running, and so from dying, until it is dropped: a group of the freezer of version 1.
struct Frozen {
    group: PathBuf,
}

impl Frozen {
    fn freeze(name: &str, pids: &str) -> Self {
        let group = Path::new("/sys/fs/cgroup/freezer").join(name);
        std::fs::create_dir(&group).expect("a group of its own");
        let frozen = Self { group };
        for pid in pids.lines() {
            std::fs::write(frozen.group.join("cgroup.procs"), pid).expect("a process of the pod");
        }
        std::fs::write(frozen.group.join("freezer.state"), "FROZEN").expect("the group can be frozen");
        frozen
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        let _ = std::fs::write(self.group.join("freezer.state"), "THAWED");
        // Those that were not killed go back to where they came from.
        for pid in std::fs::read_to_string(self.group.join("cgroup.procs")).unwrap_or_default().lines() {
            let _ = std::fs::write("/sys/fs/cgroup/freezer/cgroup.procs", pid);
        }
        let deadline = Instant::now() + PATIENCE;
        while std::fs::remove_dir(&self.group).is_err_and(|error| error.kind() != std::io::ErrorKind::NotFound) && Instant::now() < deadline
        {
            std::thread::yield_now();
        }
    }
}

// k8s: 3.f.12
#[test]
fn an_evicted_pod_that_the_kernel_does_not_let_die_is_told_to_exceed_its_grace() {
    let test = "an_evicted_pod_that_the_kernel_does_not_let_die_is_told_to_exceed_its_grace";
    let unified = Path::new("/sys/fs/cgroup/unified/usher");
    if !Path::new("/sys/fs/cgroup/freezer/cgroup.procs").exists() || !Path::new("/sys/fs/cgroup/unified/cgroup.procs").exists() {
        #[expect(clippy::print_stderr, reason = "tests say why they skip")]
        {
            eprintln!("SKIP {test}: only where both versions of control groups are there is a freezer that usher does not use");
        }
        return;
    }
    let Some(machine) = Machine::new(test) else { return };
    let more = "    volumeMounts: [{name: data, mountPath: /data}]";
    let volumes = "  volumes: [{name: data, emptyDir: {sizeLimit: 10Mi}}]";
    let mut running = machine.run(&script("stuck", "exec tapp run", more, volumes), &["--eviction-monitoring-period", "300ms"]);
    running.wait_running("app");
    let pods: Vec<_> = std::fs::read_dir(machine.root().join("pods")).expect("pods").map(|pod| pod.expect("a pod").path()).collect();
    let uid = pods[0].file_name().and_then(|uid| uid.to_str()).expect("a uid");
    let of_pod = unified.join(format!("pod{uid}"));
    let groups = std::fs::read_dir(&of_pod).expect("the pod's group").flatten().map(|entry| entry.path().join("cgroup.procs"));
    let pids: String = groups.filter_map(|procs| std::fs::read_to_string(procs).ok()).collect();
    let frozen = Frozen::freeze(&format!("usher-test-{}", std::process::id()), &pids);
    // Written from outside: nothing in the pod moves any more.
    let volume = find(&pods[0].join("volumes"), "data").pop().expect("the folder of the volume");
    std::fs::write(volume.join("file"), vec![1; 12 << 20]).expect("written");
    let text = "Container runtime did not kill the pod within specified grace period.";
    running.wait_for("the event", |entry| {
        let record = &entry["action"]["action"];
        record["reason"] == "ExceededGracePeriod" && record["message"] == text && record["kind"] == "Warning"
    });
    drop(frozen);
    let ended = running.end();
    evicted(&ended, "Usage of EmptyDir volume \"data\" exceeds the limit \"10Mi\". ");
    let asked = ended.find(|entry| entry["kill"].is_object()).expect("somebody asked");
    let told = ended.find(|entry| entry["action"]["action"]["reason"] == "ExceededGracePeriod").expect("it came");
    assert!(ended.seconds_between(asked, told) >= 10.0, "{}", ended.story());
}

/// A served machine. The daemon is killed when this is dropped; the machine then cleans up its pods.
struct Served<'m> {
    machine: &'m Machine,
    child: Child,
}

impl<'m> Served<'m> {
    fn start(machine: &'m Machine, more: &[&str]) -> Self {
        // Whatever the disk of the machine that tests: only what a test asks for is evicted.
        let calm: &[&str] = if more.contains(&"--eviction-hard") { &[] } else { &["--eviction-hard", "memory.available<1Mi"] };
        let arguments = [&["serve", "--listen", "127.0.0.1:6443"], calm, more].concat();
        let mut child = machine.usher(arguments).stdout(Stdio::piped()).spawn().expect("usher starts");
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let is_ready = lines.by_ref().map_while(Result::ok).any(|line| line.starts_with("export KUBECONFIG="));
        let served = Self { machine, child };
        assert!(is_ready, "the daemon says that it serves");
        served
    }

    fn kubectl(&self, arguments: &[&str]) -> Result<String, String> {
        let mut command = Command::new(kubectl());
        command.arg("--kubeconfig").arg(self.machine.root().join("server/kubeconfig"));
        command.arg("--cache-dir").arg(self.machine.path().join("cache")).args(arguments).env("HOME", self.machine.path());
        let output = command.stdin(Stdio::null()).output().expect("kubectl runs");
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stdout) + &text(output.stderr)) }
    }

    #[track_caller]
    fn ok(&self, arguments: &[&str]) -> String {
        self.kubectl(arguments).unwrap_or_else(|error| panic!("kubectl {arguments:?}: {error}"))
    }

    fn apply(&self, manifest: &str) {
        let file = self.machine.file("applied.yaml", manifest);
        self.ok(&["apply", "-f", file.to_str().expect("text")]);
    }

    /// Asks until the answer is the wanted one.
    #[track_caller]
    fn wait(&self, arguments: &[&str], wanted: &str) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let answer = self.kubectl(arguments);
            if answer.as_deref() == Ok(wanted) {
                return;
            }
            assert!(Instant::now() < deadline, "kubectl {arguments:?} says {answer:?}, not {wanted:?}");
        }
    }

    fn pod(&self, name: &str) -> Value {
        serde_json::from_str(&self.ok(&["get", "pod", name, "-o", "json"])).expect("JSON")
    }
}

impl Drop for Served<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

// k8s: 4.c.1, 4.c.2, 8.a.22, 10.d.12, 10.d.14, 10.e.1
#[test]
fn a_served_node_shows_its_pressure_evicts_spares_critical_pods_and_takes_no_others() {
    let test = "a_served_node_shows_its_pressure_evicts_spares_critical_pods_and_takes_no_others";
    if !has_kubectl(test) {
        return;
    }
    let Some(machine) = Machine::in_memory(test, ROOT_MIB) else { return };
    let hard = format!("nodefs.available<{FREE_MIB}Mi");
    let more = ["--eviction-hard", hard.as_str(), "--eviction-monitoring-period", "300ms", "--eviction-pressure-transition-period", "1s"];
    let served = Served::start(&machine, &more);
    let pressure = ["get", "nodes", "-o", "jsonpath={.items[0].status.conditions[?(@.type=='DiskPressure')].status}"];
    assert_eq!(served.ok(&pressure), "False");
    let phase = |name: &'static str| ["get", "pod", name, "-o", "jsonpath={.status.phase} {.status.reason}"];

    served.apply(&script("bystander", "exec tapp run", "", ""));
    served.ok(&["wait", "--for=condition=Ready", "pod/bystander", "--timeout=30s"]);
    // It takes more than there may be, and stays; whoever is not critical has to go.
    served.apply(&filler("critical", "  priorityClassName: system-cluster-critical"));
    served.wait(&phase("bystander"), "Failed Evicted");
    served.wait(&pressure, "True");
    assert_eq!(served.pod("critical")["status"]["phase"], "Running");
    let message = served.pod("bystander")["status"]["message"].clone();
    assert!(message.as_str().is_some_and(|text| text.starts_with("The node was low on resource: ephemeral-storage. ")), "{message}");

    served.apply(&script("late", "exec tapp run", "", ""));
    served.wait(&phase("late"), "Failed Evicted");
    let status = served.pod("late")["status"].clone();
    assert_eq!(status["message"], "Pod was rejected: The node had condition: [DiskPressure]. ");
    assert_eq!((&status["conditions"], &status["containerStatuses"]), (&Value::Null, &Value::Null), "{status}");
    let events = served.ok(&["get", "events", "-o", "jsonpath={range .items[*]}{.involvedObject.name}/{.reason}: {.message}{'\\n'}{end}"]);
    assert!(events.lines().any(|line| line == "late/Evicted: The node had condition: [DiskPressure]. "), "{events}");
    assert!(events.lines().any(|line| line.ends_with("/EvictionThresholdMet: Attempting to reclaim ephemeral-storage")), "{events}");
    let why = machine.output(["why", "late"]);
    let why = String::from_utf8_lossy(&why.stdout).into_owned();
    assert!(why.contains("it Failed with reason Evicted (Pod was rejected: The node had condition: [DiskPressure])"), "{why}");

    let metrics = served.ok(&["get", "--raw", "/metrics"]);
    for line in ["kubelet_evictions{eviction_signal=\"nodefs.available\"} 1", "kubelet_evictions{eviction_signal=\"memory.available\"} 0"] {
        assert!(metrics.lines().any(|found| found == line), "{line}: {metrics}");
    }
    served.ok(&["delete", "pod", "critical", "--timeout=30s"]);
    served.wait(&pressure, "False");
    served.apply(&script("again", "exec tapp run", "", ""));
    served.ok(&["wait", "--for=condition=Ready", "pod/again", "--timeout=30s"]);
    served.ok(&["delete", "pod", "--all", "--timeout=30s"]);
}

/// A pod that asks for nothing but what `more` says, and says so when its preStop hook runs.
fn quiet(name: &str, more: &str, container: &str) -> String {
    let hook = "    lifecycle: {preStop: {exec: {command: [tapp, say, preStop]}}}";
    script(name, "exec tapp run", &format!("{container}\n{hook}"), more)
}

/// Names of the journals' pods, in the order in which a request for their end stands there, with its trigger and grace.
fn kills(machine: &Machine) -> Vec<String> {
    let folder = std::fs::read_dir(machine.root().join("journals")).expect("journals");
    let mut found = Vec::new();
    for path in folder.map(|entry| entry.expect("an entry").path()) {
        let name = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.split('_').nth(1)).expect("a name").to_owned();
        let text = std::fs::read_to_string(&path).expect("readable");
        let entries = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        for entry in entries.filter(|entry| entry["kill"].is_object()) {
            let at = entry["at"]["bootNanos"].as_u64().expect("a time");
            found.push((at, format!("{name} {} {}", entry["kill"]["trigger"].as_str().unwrap_or_default(), entry["kill"]["grace"])));
        }
    }
    found.sort();
    found.into_iter().map(|(_, kill)| kill).collect()
}

fn hook_succeeded(machine: &Machine, pod: &str) -> bool {
    let output = machine.output(["journal", pod, "-o", "json"]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut entries = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    entries.any(|entry| entry["event"]["event"] == "HookFinished" && entry["event"]["outcome"]["outcome"] == "Succeeded")
}

// k8s: 4.a.20, 8.a.20, 8.a.22, 8.b.15, 10.d.1, 10.d.13
#[test]
fn a_node_that_is_full_takes_no_pod_and_makes_room_for_critical_ones() {
    let test = "a_node_that_is_full_takes_no_pod_and_makes_room_for_critical_ones";
    if !has_kubectl(test) {
        return;
    }
    let Some(machine) = Machine::new(test) else { return };
    let served = Served::start(&machine, &["--max-pods", "2"]);
    assert_eq!(served.ok(&["get", "nodes", "-o", "jsonpath={.items[0].status.allocatable.pods}"]), "2");
    let phase = |name: &'static str| ["get", "pod", name, "-o", "jsonpath={.status.phase} {.status.reason}"];
    served.apply(&quiet("first", "", "    resources: {requests: {cpu: 1m}}"));
    served.apply(&quiet("second", "", ""));
    served.ok(&["wait", "--for=condition=Ready", "pod/first", "pod/second", "--timeout=30s"]);
    served.apply(&quiet("third", "", ""));
    served.wait(&phase("third"), "Failed OutOfpods");
    let message = "Pod was rejected: Node didn't have enough resource: pods, requested: 1, used: 2, capacity: 2";
    assert_eq!(served.pod("third")["status"]["message"], message);
    let huge = "    resources: {requests: {memory: 1000Ti}}";
    served.ok(&["delete", "pod", "first", "--timeout=30s"]);
    served.apply(&quiet("huge", "", huge));
    served.wait(&phase("huge"), "Failed OutOfmemory");
    served.apply(&quiet("fourth", "", "    resources: {requests: {cpu: 1m}}"));
    served.ok(&["wait", "--for=condition=Ready", "pod/fourth", "--timeout=30s"]);

    // Of the two, the one that asked for nothing makes room.
    served.apply(&quiet("critical", "  priorityClassName: system-cluster-critical", ""));
    served.ok(&["wait", "--for=condition=Ready", "pod/critical", "--timeout=30s"]);
    let status = served.pod("second")["status"].clone();
    assert_eq!((&status["phase"], &status["reason"]), (&"Failed".into(), &"Preempting".into()), "{status}");
    assert_eq!(status["message"], "Preempted in order to admit critical pod");
    let condition = status["conditions"].as_array().into_iter().flatten().find(|condition| condition["type"] == "DisruptionTarget");
    assert_eq!(condition.expect("a condition")["message"], "Pod was preempted by Kubelet to accommodate a critical pod.");
    assert_eq!(served.pod("fourth")["status"]["phase"], "Running");
    let events = served.ok(&["get", "events", "-o", "jsonpath={range .items[*]}{.involvedObject.name}/{.reason}: {.message}{'\\n'}{end}"]);
    assert!(events.lines().any(|line| line == "second/Preempting: Preempted in order to admit critical pod"), "{events}");
    assert!(hook_succeeded(&machine, "second"), "its hook ran");
    let why = machine.output(["why", "second"]);
    let why = String::from_utf8_lossy(&why.stdout).into_owned();
    assert!(why.contains("preempted with the grace of its spec by the node, for the critical pod default/critical"), "{why}");
    served.ok(&["delete", "pod", "--all", "--timeout=30s"]);
}

// k8s: 8.a.19
#[test]
fn what_an_ephemeral_container_writes_counts_against_the_limit_of_its_pod() {
    let test = "what_an_ephemeral_container_writes_counts_against_the_limit_of_its_pod";
    if !has_kubectl(test) {
        return;
    }
    let Some(machine) = Machine::new(test) else { return };
    let served = Served::start(&machine, &["--eviction-monitoring-period", "300ms"]);
    served.apply(&script("web", "exec tapp run", "    resources: {limits: {ephemeral-storage: 10Mi}}", ""));
    served.ok(&["wait", "--for=condition=Ready", "pod/web", "--timeout=60s"]);
    let fill = "dd if=/dev/zero of=/file bs=1M count=6; head -c 6000000 /dev/zero | tr '\\0' a; exec tapp run";
    served.ok(&["debug", "web", "--image=tapp:1", "--container=hog", "--", "sh", "-c", fill]);
    served.wait(&["get", "pod", "web", "-o", "jsonpath={.status.phase} {.status.reason}"], "Failed Evicted");
    let message = "Pod ephemeral local storage usage exceeds the total limit of containers 10Mi. ";
    assert_eq!(served.pod("web")["status"]["message"], message);
    let metrics = served.ok(&["get", "--raw", "/metrics"]);
    assert!(metrics.lines().any(|line| line == "kubelet_evictions{eviction_signal=\"ephemeralpodfs.limit\"} 1"), "{metrics}");
    served.ok(&["delete", "pod", "web", "--timeout=60s"]);
}

// k8s: 11.b.1, 10.d.12; unlike 11.b.2 with its hooks
#[test]
fn pods_that_a_new_engine_does_not_take_any_more_go_with_their_hooks_the_youngest_first() {
    let test = "pods_that_a_new_engine_does_not_take_any_more_go_with_their_hooks_the_youngest_first";
    if !has_kubectl(test) {
        return;
    }
    let Some(machine) = Machine::new(test) else { return };
    let mut served = Served::start(&machine, &["--max-pods", "3"]);
    for name in ["second", "first", "last"] {
        served.apply(&quiet(name, "", ""));
        served.ok(&["wait", "--for=condition=Ready", &format!("pod/{name}"), "--timeout=60s"]);
        // Creation times are whole seconds, and equal ones say nothing.
        let created = |pod: Value| pod["metadata"]["creationTimestamp"].as_str().expect("a time").to_owned();
        let deadline = Instant::now() + PATIENCE;
        while server_second(&served) <= created(served.pod(name)) {
            assert!(Instant::now() < deadline, "time stands still");
        }
    }
    let pid = rustix::process::Pid::from_child(&served.child);
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("the daemon is there");
    served.child.wait().expect("it ends");
    drop(served);

    let served = Served::start(&machine, &["--max-pods", "2"]);
    served.wait(&["get", "pod", "last", "-o", "jsonpath={.status.phase} {.status.reason}"], "Failed OutOfpods");
    let message = "Node didn't have enough resource: pods, requested: 1, used: 2, capacity: 2";
    assert_eq!(served.pod("last")["status"]["message"], format!("Pod was rejected: {message}"));
    assert!(hook_succeeded(&machine, "last"), "its hook ran");
    for name in ["first", "second"] {
        let status = served.pod(name)["status"].clone();
        assert_eq!((&status["phase"], &status["containerStatuses"][0]["restartCount"]), (&"Running".into(), &0.into()), "{name}: {status}");
    }
    let events = served.ok(&["get", "events", "-o", "jsonpath={range .items[*]}{.involvedObject.name}/{.reason}: {.message}{'\\n'}{end}"]);
    assert!(events.lines().any(|line| line == format!("last/OutOfpods: {message}")), "{events}");
    let why = machine.output(["why", "last"]);
    let why = String::from_utf8_lossy(&why.stdout).into_owned();
    assert!(why.contains("it Failed with reason OutOfpods (Pod was rejected: Node didn't have enough resource: pods,"), "{why}");
    served.ok(&["delete", "pod", "--all", "--timeout=60s"]);
}

/// The present second, as the API writes it: that of an object that is made for it and is not kept.
fn server_second(served: &Served<'_>) -> String {
    served.ok(&["create", "configmap", "clock", "--dry-run=server", "-o", "jsonpath={.metadata.creationTimestamp}"])
}

// k8s: 4.a.21, 4.c.3, 8.a.21, 8.b.15
#[test]
fn a_machine_that_goes_down_stops_its_pods_by_priority_with_their_hooks_and_takes_no_others() {
    let test = "a_machine_that_goes_down_stops_its_pods_by_priority_with_their_hooks_and_takes_no_others";
    if !has_kubectl(test) {
        return;
    }
    let Some(machine) = Machine::new(test) else { return };
    let mut served = Served::start(&machine, &["--shutdown-grace-period", "15s", "--shutdown-grace-period-critical-pods", "7s"]);
    // It hears no stop signal, so that there is time to ask for another pod meanwhile.
    let deaf = "    lifecycle: {preStop: {exec: {command: [tapp, say, preStop]}}}";
    served.apply(&script("usual", "exec tapp run --ignore-term", deaf, ""));
    served.apply(&quiet("critical", "  priorityClassName: system-cluster-critical", ""));
    served.ok(&["wait", "--for=condition=Ready", "pod/usual", "pod/critical", "--timeout=30s"]);
    let pid = rustix::process::Pid::from_child(&served.child);
    rustix::process::kill_process(pid, rustix::process::Signal::POWER).expect("the daemon is there");
    let ready = ["get", "nodes", "-o", "jsonpath={.items[0].status.conditions[?(@.type=='Ready')].message}"];
    served.wait(&ready, "node is shutting down");
    served.apply(&quiet("late", "", ""));
    served.wait(&["get", "pod", "late", "-o", "jsonpath={.status.phase} {.status.reason}"], "Failed NodeShutdown");
    assert!(served.child.wait().expect("it ends").success());
    assert_eq!(kills(&machine), ["usual NodeShutdown {\"Seconds\":8}", "critical NodeShutdown {\"Seconds\":7}"]);
    assert!(hook_succeeded(&machine, "usual") && hook_succeeded(&machine, "critical"), "their hooks ran");
    assert_eq!(machine.shims(), [0; 0], "nothing runs");

    let served = Served::start(&machine, &[]);
    for name in ["usual", "critical"] {
        let status = served.pod(name)["status"].clone();
        assert_eq!((&status["phase"], &status["reason"]), (&"Failed".into(), &"Terminated".into()), "{name}: {status}");
        assert_eq!(status["message"], "Pod was terminated in response to imminent node shutdown.");
        let condition = status["conditions"].as_array().into_iter().flatten().find(|condition| condition["type"] == "DisruptionTarget");
        assert_eq!(condition.expect("a condition")["reason"], "TerminationByKubelet");
    }
    let status = served.pod("late")["status"].clone();
    assert_eq!(status["message"], "Pod was rejected: Pod was rejected as the node is shutting down.");
}

#[test]
fn limits_of_the_node_that_cannot_be_understood_are_refused_with_the_cure() {
    let Some(machine) = Machine::without_images("limits_of_the_node_that_cannot_be_understood_are_refused_with_the_cure") else { return };
    let cases: [(&[&str], &str); 6] = [
        (&["--eviction-hard", "memory.free<1Gi"], "\"memory.free\" is no eviction signal"),
        (&["--eviction-soft", "memory.available<1Gi"], "the soft threshold of memory.available has no grace period; give one"),
        (&["--pod-max-pids", "0"], "\"0\" is not a number of processes; write for example 1024, or -1 for no limit"),
        (&["--shutdown-grace-period", "5s", "--shutdown-grace-period-critical-pods", "6s"], "critical pods cannot have 6s of a shutdown"),
        (&["--shutdown-grace-period-by-pod-priority", "high=6s"], "write for example 1000=20s"),
        (&["--shutdown-grace-period-by-pod-priority", "1=6s,1=7s"], "priority 1 is given twice"),
    ];
    for (arguments, wanted) in cases {
        let output = machine.output([&["serve", "--listen", "127.0.0.1:6443"], arguments].concat());
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && error.contains(wanted), "{arguments:?}: {error}");
    }
}
