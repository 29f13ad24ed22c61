//! Requests and limits, as the kernel has them for the container and for its pod, and what is told of a container that needed more.
//!
//! Files of cgroup version 1; `version_2.rs` has those of the other one.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde_json::Value;

use super::break_out::pid_of;
use super::support::{Machine, PATIENCE, Running};
use super::{pod, shell, shell_pod};

/// Where the kernel keeps the limits of one of a pod's containers, and of the pod.
struct Groups {
    test: &'static str,
    container: String,
}

impl Groups {
    /// The groups of the container that shows Running.
    fn of(test: &'static str, status: &Value) -> Self {
        let id = status["containerId"].as_str().and_then(|id| id.rsplit('/').next()).expect("an id").to_owned();
        Self { test, container: id }
    }

    fn container(&self, controller: &str) -> PathBuf {
        let root = Path::new("/sys/fs/cgroup").join(controller);
        find(&root, &self.container).unwrap_or_else(|| panic!("{}: no group of {} in {}", self.test, self.container, root.display()))
    }

    fn read(&self, controller: &str, file: &str) -> [String; 2] {
        let container = self.container(controller);
        let pod = container.parent().expect("the pod's").to_owned();
        [container, pod].map(|folder| fs::read_to_string(folder.join(file)).expect("a file of the group").trim().to_owned())
    }
}

/// The folder whose name has the id in it.
fn find(folder: &Path, id: &str) -> Option<PathBuf> {
    let folders = fs::read_dir(folder).ok()?.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    let folders: Vec<PathBuf> = folders.map(|entry| entry.path()).collect();
    let has = |path: &&PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().contains(id));
    folders.iter().find(has).cloned().or_else(|| folders.iter().find_map(|folder| find(folder, id)))
}

fn skip_without_version_1(test: &str) -> bool {
    let skip = !Path::new("/sys/fs/cgroup/memory").exists();
    if skip {
        eprintln!("SKIP {test}: limits are in cgroup version 2 here, see version_2.rs");
    }
    skip
}

fn status_when_running(running: &mut Running) -> Value {
    let entry = running.wait_for("app running", |entry| {
        entry["status"]["containerStatuses"]
            .as_array()
            .is_some_and(|all| !all.is_empty() && all.iter().all(|status| status["state"]["state"] == "Running"))
    });
    entry["status"].clone()
}

/// A pod that stays until it is stopped.
fn staying(resources: &[&str], rest: &str) -> String {
    let containers: String = resources
        .iter()
        .enumerate()
        .map(|(index, resources)| {
            let script = "trap 'exit 0' TERM; cat /proc/self/oom_score_adj; while true; do sleep 0.1; done";
            let resources = if resources.is_empty() { String::new() } else { format!("resources: {{{resources}}}") };
            shell(&format!("app-{index}"), script, &resources)
        })
        .collect();
    pod("limited", &format!("terminationGracePeriodSeconds: 2\ncontainers:\n{containers}{rest}"))
}

#[test]
fn a_fork_bomb_stays_within_the_limit_of_its_pod() {
    let test = "a_fork_bomb_stays_within_the_limit_of_its_pod";
    if skip_without_version_1(test) {
        return;
    }
    let Some(machine) = Machine::new(test) else { return };
    // Each of its processes starts two more and waits for them; whoever cannot start any dies and makes room for others.
    let bomb = "trap '' TERM; bomb() { bomb | bomb & wait; }; while true; do (bomb) 2>/dev/null; done";
    let mut running = machine.run(&shell_pod("bomb", bomb, "", ""), &["--pod-max-pids", "40"]);
    let status = status_when_running(&mut running);
    let groups = Groups::of(test, &status["containerStatuses"][0]);
    assert_eq!(groups.read("pids", "pids.max"), ["40", "40"]);
    let deadline = Instant::now() + PATIENCE;
    let refused = || -> u64 {
        let [events, _] = groups.read("pids", "pids.events");
        events.strip_prefix("max ").and_then(|count| count.parse().ok()).expect("a count")
    };
    while refused() < 1000 {
        let [_, in_pod] = groups.read("pids", "pids.current");
        assert!(in_pod.parse::<u32>().is_ok_and(|count| count <= 40), "{in_pod}");
        assert!(Instant::now() < deadline, "the bomb does not burst: {in_pod} processes, {} refused", refused());
    }
    running.interrupt();
    let ended = running.end();
    // Its shell is killed, as it does not listen, or has ended by itself because it could not fork.
    assert!(matches!(ended.code, Some(1 | 2)), "{}", ended.story());
}

// k8s: 8.f.6
#[test]
fn limits_and_requests_are_in_the_groups_of_the_container_and_of_the_pod() {
    let test = "limits_and_requests_are_in_the_groups_of_the_container_and_of_the_pod";
    if skip_without_version_1(test) {
        return;
    }
    let Some(machine) = Machine::new(test) else { return };
    let check = |resources: &[&str], rest: &str, wanted: [[&str; 2]; 4]| {
        let mut running = machine.run(&staying(resources, rest), &[]);
        let status = status_when_running(&mut running);
        let groups = Groups::of(test, &status["containerStatuses"][0]);
        let files = [("cpu", "cpu.shares"), ("cpu", "cpu.cfs_quota_us"), ("cpu", "cpu.cfs_period_us"), ("memory", "memory.limit_in_bytes")];
        let found = files.map(|(controller, file)| groups.read(controller, file));
        let unlimited = |text: &String| if text == "9223372036854771712" { "-1".to_owned() } else { text.clone() };
        assert_eq!(
            found.each_ref().map(|both| both.each_ref().map(unlimited)),
            wanted.map(|both| both.map(str::to_owned)),
            "{resources:?} {rest}"
        );
        running.interrupt();
        // It may have been asked before it listened; how it ends is not the question.
        running.end();
    };
    let period = ["100000", "100000"];
    check(&[""], "", [["2", "2"], ["-1", "-1"], period, ["-1", "-1"]]);
    let both = "requests: {cpu: 250m, memory: 32Mi}, limits: {cpu: 500m, memory: 64Mi}";
    check(&[both], "", [["256", "256"], ["50000", "50000"], period, ["67108864", "67108864"]]);
    check(&[both, both], "", [["256", "512"], ["50000", "100000"], period, ["67108864", "134217728"]]);
    // One without limits leaves the pod without.
    check(&[both, "requests: {cpu: 1}"], "", [["256", "1280"], ["50000", "-1"], period, ["67108864", "-1"]]);
    check(&["limits: {cpu: 1500m, memory: 64Mi}"], "", [["1536", "1536"], ["150000", "150000"], period, ["67108864", "67108864"]]);
    let of_pod = "resources: {requests: {cpu: 1, memory: 64Mi}, limits: {cpu: 2, memory: 128Mi}}";
    check(&[""], of_pod, [["2", "1024"], ["-1", "200000"], period, ["-1", "134217728"]]);
}

#[test]
fn who_dies_first_when_memory_runs_out_follows_the_class_as_far_as_usher_may_say() {
    let Some(machine) = Machine::new("who_dies_first_when_memory_runs_out_follows_the_class_as_far_as_usher_may_say") else { return };
    let own: i32 = fs::read_to_string("/proc/self/oom_score_adj").expect("a score").trim().parse().expect("a number");
    let score = |resources: &str| {
        let mut running = machine.run(&staying(&[resources], ""), &[]);
        status_when_running(&mut running);
        // It may have come before the status.
        let is_line = |entry: &Value| entry["output"]["line"].is_string();
        let seen = running.seen.iter().find(|entry| is_line(entry)).cloned();
        let line = seen.unwrap_or_else(|| running.wait_for("its score", is_line));
        running.interrupt();
        running.end();
        line["output"]["line"].as_str().and_then(|line| line.parse::<i32>().ok()).expect("a score")
    };
    assert_eq!(score(""), 1000);
    let memory = fs::read_to_string("/proc/meminfo").expect("meminfo");
    let total: i64 = memory.lines().next().and_then(|line| line.split_whitespace().nth(1)).and_then(|kib| kib.parse().ok()).expect("kB");
    let quarter = total / 4;
    let burstable = score(&format!("requests: {{memory: {quarter}Ki}}"));
    assert!((750..=751).contains(&burstable), "a quarter of the machine: {burstable}");
    assert_eq!(score("requests: {memory: 1Mi}"), 999);
    let guaranteed = score("limits: {memory: 64Mi, cpu: 100m}");
    // Nobody may lower it below their own without a capability.
    let status = fs::read_to_string("/proc/self/status").expect("status");
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:\t")).expect("capabilities");
    const SYS_RESOURCE: u64 = 1 << 24;
    let may_lower = u64::from_str_radix(effective, 16).expect("a number") & SYS_RESOURCE != 0;
    assert_eq!(guaranteed, if may_lower { -997 } else { own.max(-997) });
}

#[test]
fn a_container_that_needs_more_memory_than_its_limit_is_told_to_be_killed_for_it() {
    let Some(machine) = Machine::new("a_container_that_needs_more_memory_than_its_limit_is_told_to_be_killed_for_it") else { return };
    let hungry = "exec tail /dev/zero";
    let limited = "resources: {limits: {memory: 16Mi}}";
    let ended = machine.run(&shell_pod("hungry", hungry, limited, ""), &[]).end();
    let state = &ended.status()["containerStatuses"][0]["state"]["exit"];
    assert_eq!((&state["reason"], &state["code"]), (&"OOMKilled".into(), &137.into()), "{}", ended.story());
    assert_eq!(ended.code, Some(1), "{}", ended.story());
    // The same signal from somebody else is not the same thing.
    let mut running = machine.run(&shell_pod("killed", "exec sleep 86404", limited, ""), &[]);
    running.wait_running("app");
    let pid = rustix::process::Pid::from_raw(pid_of("sleep 86404").cast_signed()).expect("a number");
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("killed");
    let ended = running.end();
    let state = &ended.status()["containerStatuses"][0]["state"]["exit"];
    assert_eq!((&state["reason"], &state["code"]), (&"Error".into(), &137.into()), "{}", ended.story());
}
