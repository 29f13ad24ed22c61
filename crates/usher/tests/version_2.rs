//! Pods on a machine that has version 2 of control groups and nothing else: what is limited, counted, killed, shown and left.
//!
//! `cargo xtask vm` makes such a machine. Elsewhere these tests skip themselves: what they ask of version 1 is asked by the others.
#![expect(clippy::print_stderr, reason = "skipped tests say so")]

#[path = "observe/served.rs"]
#[allow(dead_code, reason = "others use the rest of it")]
mod served;
mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use rustix::process::Signal;
use serde_json::{Value, json};
use served::Served;
use support::{Ended, Machine, Running};

/// Where version 2 is mounted when it is alone.
const UNIFIED: &str = "/sys/fs/cgroup";

fn machine(test: &str) -> Option<Machine> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    if !Path::new(UNIFIED).join("cgroup.controllers").exists() || mounts.contains(" - cgroup cgroup ") {
        eprintln!("SKIP {test}: this machine has version 1 of control groups; `cargo xtask vm` boots one that has not");
        return None;
    }
    Machine::new(test)
}

/// A pod of one container that runs a script.
fn pod(name: &str, more: &str, script: &str) -> String {
    let script: String = script.lines().map(|line| format!("      {line}\n")).collect();
    let more: String = more.lines().map(|line| format!("    {line}\n")).collect();
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata:\n  name: {name}\nspec:\n  restartPolicy: Never\n  terminationGracePeriodSeconds: 2\n  \
         containers:\n  - name: app\n    image: busybox\n    imagePullPolicy: Never\n{more}    command:\n    - sh\n    - -c\n    - |\n{script}"
    )
}

fn run(machine: &Machine, manifest: &str) -> Ended {
    machine.run(manifest, &[]).end()
}

/// The groups whose path contains `part`.
fn groups(part: &str) -> Vec<PathBuf> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                found.push(entry.path());
                walk(&entry.path(), found);
            }
        }
    }
    let mut found = Vec::new();
    walk(Path::new(UNIFIED), &mut found);
    found.retain(|path| path.to_string_lossy().contains(part));
    found
}

/// Waits until the container runs and its script has come to say so, behind its `trap`.
fn wait_ready(running: &mut Running) {
    let is_ready = |entry: &Value| entry["output"]["line"] == "ready";
    running.wait_running("app");
    if !running.seen.iter().any(is_ready) {
        running.wait_for("a script that is ready", is_ready);
    }
}

fn uid(running: &Running) -> String {
    running.seen.iter().find_map(|entry| entry["opened"]["uid"].as_str()).expect("the journal begins with the pod").to_owned()
}

fn read(group: &Path, file: &str) -> String {
    fs::read_to_string(group.join(file)).unwrap_or_else(|error| panic!("{}/{file}: {error}", group.display())).trim().to_owned()
}

#[test]
fn limits_are_in_the_files_of_the_pods_and_the_containers_groups() {
    let Some(machine) = machine("limits_are_in_the_files_of_the_pods_and_the_containers_groups") else { return };
    let resources = "resources: {requests: {cpu: 250m}, limits: {memory: 64Mi, cpu: 500m}}";
    let mut running = machine.run(&pod("limited", resources, "trap 'exit 0' TERM\necho ready\nwhile :; do sleep 0.1; done"), &[]);
    wait_ready(&mut running);
    let mut of_pod = groups(&uid(&running));
    of_pod.sort_by_key(|path| path.components().count());
    let [pod, container] = of_pod.as_slice() else { panic!("a group of the pod and one in it: {of_pod:?}") };
    for group in [pod, container] {
        assert_eq!(read(group, "memory.max"), (64 << 20).to_string(), "{}", group.display());
        assert_eq!(read(group, "memory.swap.max"), "0", "{}: no swap beside the memory", group.display());
        assert_eq!(read(group, "cpu.max"), "50000 100000", "{}", group.display());
        assert_eq!(read(group, "cpu.weight"), "35", "{}: 256 shares", group.display());
    }
    assert_eq!(read(pod, "cgroup.procs"), "", "version 2 wants processes in leaves");
    assert_ne!(read(container, "cgroup.procs"), "");
    assert_eq!((read(pod, "memory.oom.group"), read(container, "memory.oom.group")), ("0".to_owned(), "1".to_owned()));
    assert!(read(container, "cgroup.controllers").contains("pids"), "processes are counted");
    running.interrupt();
    let ended = running.end();
    assert_eq!(ended.code, Some(0), "{}", ended.story());
}

#[test]
fn a_limit_of_large_pages_is_in_the_files_of_both_groups() {
    let test = "a_limit_of_large_pages_is_in_the_files_of_both_groups";
    let Some(machine) = machine(test) else { return };
    if !fs::read_to_string(Path::new(UNIFIED).join("cgroup.controllers")).unwrap_or_default().contains("hugetlb") {
        eprintln!("SKIP {test}: the kernel does not limit large pages");
        return;
    }
    let resources = "resources: {limits: {memory: 64Mi, cpu: 500m, hugepages-2Mi: 4Mi}}";
    let mut running = machine.run(&pod("large", resources, "trap 'exit 0' TERM\necho ready\nwhile :; do sleep 0.1; done"), &[]);
    wait_ready(&mut running);
    let of_pod = groups(&uid(&running));
    assert_eq!(of_pod.len(), 2, "a group of the pod and one in it: {of_pod:?}");
    for group in &of_pod {
        assert_eq!(read(group, "hugetlb.2MB.max"), (4 << 20).to_string(), "{}", group.display());
    }
    running.interrupt();
    let ended = running.end();
    assert_eq!(ended.code, Some(0), "{}", ended.story());
}

#[test]
fn a_container_that_eats_its_memory_is_told_as_killed_for_that_and_dies_as_a_whole() {
    let Some(machine) = machine("a_container_that_eats_its_memory_is_told_as_killed_for_that_and_dies_as_a_whole") else { return };
    let resources = "resources: {limits: {memory: 32Mi}}";
    // The process that eats is a child: it takes the others with it, as with the reference.
    let ended = run(&machine, &pod("eater", resources, "tail -c 200000000 /dev/zero &\nwait $!\necho survived"));
    assert_eq!(ended.code, Some(1), "{}", ended.story());
    let exit = &ended.status()["containerStatuses"][0]["state"]["exit"];
    assert_eq!((&exit["reason"], &exit["code"]), (&"OOMKilled".into(), &137.into()), "{}", ended.story());
    let told = ended.find(|entry| entry["runtime"]["runtimeEvent"] == "OomKilled");
    assert!(told.is_some_and(|entry| entry["runtime"]["count"].as_u64() >= Some(1)), "{}", ended.story());
    assert!(!ended.output().contains(&"survived".to_owned()), "{}", ended.story());
}

// k8s: 10.d.18
#[test]
fn a_resize_is_in_the_files_of_both_groups_or_in_none_while_memory_that_it_takes_is_in_use() {
    let Some(machine) = machine("a_resize_is_in_the_files_of_both_groups_or_in_none_while_memory_that_it_takes_is_in_use") else { return };
    let served = Served::start(&machine, &[]);
    let spec = "terminationGracePeriodSeconds: 5
containers:
- name: app
  image: busybox
  imagePullPolicy: Never
  command: [sh, -c, \"trap 'exit 0' TERM; head -c 20000000 /dev/zero > /dev/shm/held; touch /tmp/ready; while true; do sleep 0.1; done\"]
  readinessProbe: {exec: {command: [test, -e, /tmp/ready]}, periodSeconds: 1, timeoutSeconds: 30}
  resources: {requests: {cpu: 100m, memory: 32Mi}, limits: {cpu: 200m, memory: 64Mi}}";
    served.create_pod("resized", spec);
    served.wait_ready("resized");
    const POD: &str = "/api/v1/namespaces/default/pods/resized";
    let before: Value = serde_json::from_str(&served.get(POD)).expect("JSON");
    let mut of_pod = groups(before["metadata"]["uid"].as_str().expect("a uid"));
    of_pod.sort_by_key(|path| path.components().count());
    let files = |file: &str| {
        let both: Vec<_> = of_pod.iter().take(2).map(|group| read(group, file)).collect();
        assert_eq!(both[0], both[1], "{file}: the pod has what its only container has");
        both[0].clone()
    };
    let resize = |requests: Value, limits: Value| {
        let patch = json!({ "spec": { "containers": [{ "name": "app", "resources": { "requests": requests, "limits": limits } }] } });
        let kind = "Content-Type: application/strategic-merge-patch+json";
        let answer = served.ask("PATCH", &format!("{POD}/resize"), &[kind], &patch.to_string());
        assert_eq!(answer.code, 200, "{answer:?}");
    };
    let condition = |pod: &Value| {
        let all = pod["status"]["conditions"].as_array().cloned().unwrap_or_default();
        all.into_iter().find(|condition| condition["type"] == "PodResizeInProgress")
    };
    let wait_done = |cpu: &str| {
        served.wait("resized", cpu, |pod| {
            let has = |pod: &Value| pod["status"]["containerStatuses"][0]["resources"]["limits"]["cpu"] == cpu;
            pod.is_some_and(|pod| has(pod) && condition(pod).is_none())
        });
    };

    resize(json!({ "cpu": "300m" }), json!({ "cpu": "400m", "memory": "128Mi" }));
    wait_done("400m");
    let written = [files("memory.max"), files("cpu.max"), files("cpu.weight")];
    assert_eq!(written, [(128 << 20).to_string(), "40000 100000".to_owned(), files("cpu.weight")]);

    resize(json!({ "memory": "4Mi" }), json!({ "cpu": "500m", "memory": "8Mi" }));
    served.wait("resized", "the refusal", |pod| pod.and_then(condition).is_some_and(|condition| condition["reason"] == "Error"));
    let refused: Value = serde_json::from_str(&served.get(POD)).expect("JSON");
    let message = condition(&refused).expect("it waits")["message"].as_str().expect("a text").to_owned();
    for whose in ["container \"app\"", "pod"] {
        assert!(message.contains(&format!("attempting to set {whose} memory limit (8388608) below current usage (")), "{message}");
    }
    assert_eq!([files("memory.max"), files("cpu.max"), files("cpu.weight")], written, "nothing of it is written");

    resize(json!({ "memory": "32Mi" }), json!({ "cpu": "500m", "memory": "96Mi" }));
    wait_done("500m");
    assert_eq!([files("memory.max"), files("cpu.max")], [(96 << 20).to_string(), "50000 100000".to_owned()]);
    let after: Value = serde_json::from_str(&served.get(POD)).expect("JSON");
    for field in ["containerID", "restartCount", "state"] {
        assert_eq!(after["status"]["containerStatuses"][0][field], before["status"]["containerStatuses"][0][field], "{field}");
    }
    served.delete_pod("resized");
    served.wait_gone("resized");
}

#[test]
fn a_fork_bomb_meets_the_limit_of_its_pod_and_harms_nobody() {
    let Some(machine) = machine("a_fork_bomb_meets_the_limit_of_its_pod_and_harms_nobody") else { return };
    let script = "trap '' TERM\necho ready\nbomb() { bomb | bomb & wait; }\nwhile true; do (bomb) 2>/dev/null; done";
    let mut running = machine.run(&pod("bomb", "", script), &["--pod-max-pids", "40"]);
    wait_ready(&mut running);
    let mut of_pod = groups(&uid(&running));
    of_pod.sort_by_key(|path| path.components().count());
    let [pod, container] = of_pod.as_slice() else { panic!("a group of the pod and one in it: {of_pod:?}") };
    assert_eq!([read(pod, "pids.max"), read(container, "pids.max")], ["40", "40"]);
    let deadline = Instant::now() + support::PATIENCE;
    let refused = || read(container, "pids.events").trim_start_matches("max ").parse::<u64>().expect("a count");
    while refused() < 100 {
        let count = read(pod, "pids.current");
        assert!(count.parse::<u32>().is_ok_and(|count| count <= 40), "{count}");
        assert!(Instant::now() < deadline, "the bomb does not burst: {count} processes, {} refused", refused());
    }
    running.interrupt();
    let ended = running.end();
    // Its shell is killed, as it does not listen, or has ended by itself because it could not fork.
    assert!(matches!(ended.code, Some(1 | 2)), "{}", ended.story());
}

// k8s: 8.a.18
#[test]
fn the_pod_that_uses_most_memory_is_evicted_first_and_told_what_it_used() {
    let Some(machine) = machine("the_pod_that_uses_most_memory_is_evicted_first_and_told_what_it_used") else { return };
    let eater = "trap 'exit 0' TERM\ntext=$(head -c 30000000 /dev/zero | tr '\\0' a)\necho ready\nwhile :; do sleep 0.1; done";
    let modest = "trap 'exit 0' TERM\nwhile :; do sleep 0.1; done";
    let pods = pod("modest", "", modest) + "---\n" + &pod("eater", "", eater);
    let more = ["--eviction-hard", "memory.available<1000Ti", "--eviction-monitoring-period", "15s"];
    let ended = machine.run(&pods, &more).end();
    let told: Vec<_> = ended.events().into_iter().filter(|event| event.starts_with("Evicted: ")).collect();
    assert_eq!(told.len(), 2, "{told:?}");
    let usage = |event: &str| {
        let usage = event.split("Container app was using ").nth(1)?.split_once("Ki, ")?.0;
        usage.parse::<u64>().ok()
    };
    // How far the shell of an emulated machine has come is not known, but it is far above the other.
    let [first, second] = [usage(&told[0]), usage(&told[1])];
    assert!(first.zip(second).is_some_and(|(first, second)| first > 4 * second), "{told:?}");
}

#[test]
fn a_command_has_a_group_of_its_own_and_dies_with_all_its_processes() {
    let Some(machine) = machine("a_command_has_a_group_of_its_own_and_dies_with_all_its_processes") else { return };
    let probe = "readinessProbe:\n  timeoutSeconds: 2\n  periodSeconds: 30\n  exec: {command: [sh, -c, setsid sleep 4242 & sleep 4242]}";
    let script = "trap 'exit 0' TERM\nwhile :; do\n  echo \"sleepers $(grep -l '^sleep.4242' /proc/[0-9]*/cmdline 2>/dev/null | wc -l) \
                  groups $(ls -d /sys/fs/cgroup/*/ 2>/dev/null | wc -l)\"\n  sleep 0.2\ndone";
    let mut running = machine.run(&pod("prober", probe, script), &[]);
    let line = |entry: &Value| entry["output"]["line"].as_str().unwrap_or_default().to_owned();
    running.wait_for("the probe's processes, in a group below the container's", |entry| line(entry) == "sleepers 2 groups 1");
    running.wait_for("their end", |entry| entry["event"]["event"] == "ProbeFinished");
    running.wait_for("nothing of them", |entry| line(entry) == "sleepers 0 groups 0");
    running.interrupt();
    let ended = running.end();
    assert_eq!(ended.code, Some(0), "{}", ended.story());
}

#[test]
fn devices_that_a_container_may_make_do_not_open() {
    let Some(machine) = machine("devices_that_a_container_may_make_do_not_open") else { return };
    let script = "mkdir /nodes; cd /nodes\nmknod kmsg c 1 11; mknod mem c 1 1; mknod disk b 7 0; mknod null c 1 3\n\
                  for node in kmsg mem disk; do head -c 1 $node 2>&1 | grep -o 'Operation not permitted'; done\ncat null && echo null opens";
    let ended = run(&machine, &pod("maker", "", script));
    let refused = "Operation not permitted";
    assert_eq!(ended.output(), [refused, refused, refused, "null opens"], "{}", ended.story());
}

#[test]
fn a_container_sees_its_own_group_and_changes_nothing_in_it() {
    let Some(machine) = machine("a_container_sees_its_own_group_and_changes_nothing_in_it") else { return };
    let script = "cat /proc/self/cgroup; cd /sys/fs/cgroup\nls -d usher 2>/dev/null\ngrep -qx 1 cgroup.procs && echo own processes\n\
                  mkdir new 2>&1 | grep -o 'Read-only file system'\n\
                  for file in memory.max cgroup.kill cgroup.procs; do sh -c \"echo 1 > $file\" 2>&1 | grep -o 'Read-only file system'; done\n\
                  mount -o remount,rw /sys/fs/cgroup 2>/dev/null && echo remounted\necho end";
    let ended = run(&machine, &pod("looker", "resources: {limits: {memory: 32Mi}}", script));
    let refused = "Read-only file system";
    assert_eq!(ended.output(), ["0::/", "own processes", refused, refused, refused, refused, "end"], "{}", ended.story());
}

#[test]
fn the_machine_is_fit_and_check_names_its_controllers() {
    let Some(machine) = machine("the_machine_is_fit_and_check_names_its_controllers") else { return };
    let output = machine.output(["check"]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}");
    let controllers = text.lines().find_map(|line| line.split_once("cgroup controllers: ")).expect("a line about controllers").1;
    for wanted in ["cpu", "memory", "pids"] {
        assert!(controllers.split(", ").any(|name| name == wanted), "{text}");
    }
}

#[test]
fn a_container_that_forks_without_end_is_killed_at_once_and_as_a_whole() {
    let Some(machine) = machine("a_container_that_forks_without_end_is_killed_at_once_and_as_a_whole") else { return };
    let script =
        "trap '' TERM\n(while :; do setsid sleep 4343 & sleep 0.02; done) &\n(while :; do setsid sh -c 'sleep 4343; :' & sleep 0.02; done)";
    let mut running = machine.run(&pod("forker", "", script), &[]);
    running.wait_running("app");
    running.interrupt();
    let ended = running.end();
    assert_eq!(ended.code, Some(2), "it had to be killed: {}", ended.story());
    let killed = ended.find(|entry| entry["action"]["action"]["action"] == "KillContainer");
    let exited = ended.find(|entry| entry["event"]["event"] == "ContainerExited").expect("it exited");
    assert!(killed.is_none_or(|killed| ended.seconds_between(killed, exited) < 2.0), "{}", ended.story());
    let sleepers = fs::read_dir("/proc")
        .expect("listed")
        .flatten()
        .filter(|entry| fs::read(entry.path().join("cmdline")).is_ok_and(|command| command.starts_with(b"sleep\x004343")));
    assert_eq!(sleepers.count(), 0);
}

#[test]
fn a_pod_whose_engine_was_killed_leaves_no_group_after_rm() {
    let Some(machine) = machine("a_pod_whose_engine_was_killed_leaves_no_group_after_rm") else { return };
    let mut running = machine.run(&pod("orphan", "", "trap 'exit 0' TERM\necho ready\nwhile :; do sleep 0.1; done"), &[]);
    wait_ready(&mut running);
    let uid = uid(&running);
    running.signal(Signal::KILL);
    running.child.wait().expect("the engine is waited for");
    assert!(!groups(&uid).is_empty(), "the pod lives on");
    let removed = machine.output(["rm", "orphan"]);
    assert!(removed.status.success(), "{}", String::from_utf8_lossy(&removed.stderr));
    assert_eq!(groups(&uid), Vec::<PathBuf>::new());
}
