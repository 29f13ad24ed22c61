//! Limits, counts and kills of cgroups.

mod support;

use std::{
    fs,
    os::fd::AsFd as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use oci_spec::runtime::LinuxResources;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde_json::json;
use shim::cgroup::{Cgroup, CgroupError, CgroupPath};
use support::{PATIENCE, Place, cgroup_directories, chain, controller_directory, eventually, nothing, place, wait};

fn value(place: &Place, controller: &str, files: [&str; 2]) -> String {
    let directory = controller_directory(place.cgroup.as_path(), controller).expect("the controller is there");
    let text = files.iter().find_map(|file| fs::read_to_string(directory.join(file)).ok());
    text.unwrap_or_else(|| panic!("no {files:?} in {}", directory.display())).trim().to_owned()
}

#[test]
fn limits_are_written_and_can_be_changed() {
    let Some(mut place) = place("limits_are_written_and_can_be_changed") else { return };
    place.arguments(&["sleep", "1000"]);
    place.set("/linux/resources/memory", json!({"limit": 67_108_864, "swap": 67_108_864}));
    place.set("/linux/resources/cpu", json!({"shares": 512, "quota": 20000, "period": 50000}));
    place.set("/linux/resources/pids", json!({"limit": 33}));
    let running = place.run_with(nothing());
    assert_eq!(value(&place, "memory", ["memory.limit_in_bytes", "memory.max"]), "67108864");
    let shares = value(&place, "cpu", ["cpu.shares", "cpu.weight"]);
    assert!(shares == "512" || shares == "59", "{shares}");
    let quota = value(&place, "cpu", ["cpu.cfs_quota_us", "cpu.max"]);
    assert!(quota == "20000" || quota == "20000 50000", "{quota}");
    assert_eq!(value(&place, "pids", ["pids.max", "pids.max"]), "33");
    for bytes in [134_217_728_i64, 33_554_432] {
        let other: LinuxResources =
            serde_json::from_value(json!({"memory": {"limit": bytes, "swap": bytes}, "pids": {"limit": -1}})).expect("valid");
        place.cgroup().update(&other).unwrap_or_else(|error| panic!("{}", chain(&error)));
        assert_eq!(value(&place, "memory", ["memory.limit_in_bytes", "memory.max"]), bytes.to_string());
    }
    assert_eq!(value(&place, "pids", ["pids.max", "pids.max"]), "max");
    let tight: LinuxResources = serde_json::from_value(json!({"memory": {"limit": 4096, "checkBeforeUpdate": true}})).expect("valid");
    assert!(place.cgroup().update(&tight).is_err());
    place.stop(&running);
    drop(running);
    place.assert_nothing_left();
}

#[test]
fn an_out_of_memory_kill_is_counted_and_told() {
    let Some(mut place) = place("an_out_of_memory_kill_is_counted_and_told") else { return };
    place.set("/linux/resources/memory", json!({"limit": 33_554_432, "swap": 33_554_432}));
    // The container's own process is killed, not a child of it.
    place.arguments(&["tail", "-c", "200000000", "/dev/zero"]);
    let created = place.create_with(nothing()).unwrap_or_else(|error| panic!("{}", chain(&error)));
    let mut watch = place.cgroup().watch_oom().expect("watched").expect("there is a memory controller");
    let running = created.start().expect("started");
    let interest = if watch.interest() == rustix::event::epoll::EventFlags::PRI { PollFlags::PRI } else { PollFlags::IN };
    let timeout = Timespec { tv_sec: 20, tv_nsec: 0 };
    assert_eq!(poll(&mut [PollFd::new(&watch.as_fd(), interest)], Some(&timeout)).expect("poll"), 1, "told");
    watch.acknowledge().expect("acknowledged");
    assert_eq!(wait(running.pidfd()).terminating_signal(), Some(libc::SIGKILL));
    assert_eq!(place.cgroup().oom_kills().expect("counted"), 1);
    place.cgroup().remove().expect("removed");
    assert_eq!(place.cgroup().oom_kills().expect("a group that is gone"), 0);
    drop((running, watch));
    place.assert_nothing_left();
}

#[test]
fn a_container_that_cannot_even_be_created_in_its_memory_says_so() {
    let Some(mut place) = place("a_container_that_cannot_even_be_created_in_its_memory_says_so") else { return };
    place.set("/linux/resources/memory", json!({"limit": 4096, "swap": 4096}));
    match place.create_with(nothing()) {
        Err(error) => assert!(chain(&error).contains("memory"), "{}", chain(&error)),
        // The kernel may take the pages from those that can be thrown away, and kill only at execve.
        Ok(created) => match created.start() {
            Ok(running) => assert_eq!(wait(running.pidfd()).terminating_signal(), Some(libc::SIGKILL)),
            Err(error) => assert!(!chain(&error).is_empty()),
        },
    }
    place.cgroup().remove().expect("removed");
    place.assert_nothing_left();
}

#[test]
fn a_fork_bomb_is_stopped_and_killed_whole() {
    let Some(mut place) = place("a_fork_bomb_is_stopped_and_killed_whole") else { return };
    place.set("/linux/resources/pids", json!({"limit": 50}));
    // The shell that forks gives up at the limit; its children stay.
    place.script("(while :; do setsid sleep 1000 & done) 2>/dev/null; exec sleep 1000");
    let running = place.run_with(nothing());
    eventually("the limit is reached", || value(&place, "pids", ["pids.current", "pids.current"]).parse::<u32>().expect("a number") >= 49);
    place.stop(&running);
    drop(running);
    place.assert_nothing_left();
}

#[test]
fn what_a_container_uses_is_told() {
    let Some(mut place) = place("what_a_container_uses_is_told") else { return };
    place.set("/linux/resources/pids", json!({"limit": 50}));
    place.script("head -c 20000000 /dev/zero > /dev/shm/file; sleep 1000");
    let running = place.run_with(nothing());
    eventually("the memory is charged", || {
        place.cgroup().stats().expect("read").memory_usage_bytes.is_some_and(|bytes| bytes > 20_000_000)
    });
    let stats = place.cgroup().stats().expect("read");
    assert!(stats.cpu_usage_nanos.is_some_and(|nanos| nanos > 0), "{stats:?}");
    assert!(stats.memory_working_set_bytes <= stats.memory_usage_bytes, "{stats:?}");
    assert_eq!(stats.memory_limit_bytes, Some(268_435_456));
    assert!(stats.pids.is_some_and(|pids| pids >= 1), "{stats:?}");
    place.stop(&running);
    assert_eq!(place.cgroup().stats().expect("read").memory_usage_bytes, None);
}

#[test]
fn a_pods_group_holds_its_containers_and_goes_last() {
    let Some(mut place) = place("a_pods_group_holds_its_containers_and_goes_last") else { return };
    let pod = CgroupPath::new(place.cgroup.as_path().parent().expect("has a parent")).expect("valid");
    let limits: LinuxResources =
        serde_json::from_value(json!({"memory": {"limit": 100_000_000}, "cpu": {"shares": 300}, "pids": {"limit": 99}})).expect("valid");
    let (group, clamped) = Cgroup::create_pod(&pod, &limits).unwrap_or_else(|error| panic!("{}", chain(&error)));
    assert_eq!(clamped, Vec::<String>::new());
    Cgroup::create_pod(&pod, &limits).expect("made twice is no error");
    place.arguments(&["sleep", "1000"]);
    let running = place.run_with(nothing());
    assert!(group.is_populated().expect("read"));
    let busy = Instant::now();
    assert!(group.remove().is_err(), "a container lives in it");
    assert!(busy.elapsed() < Duration::from_secs(10), "bounded");
    group.kill_all(PATIENCE).expect("killed");
    wait(running.pidfd());
    group.remove().expect("removed with what was in it");
    assert_eq!(cgroup_directories(pod.as_path()), Vec::<PathBuf>::new());
    group.remove().expect("gone is no error");
    drop(running);
    place.assert_nothing_left();
}

#[test]
fn only_hierarchies_that_are_needed_have_directories() {
    let Some(mut place) = place("only_hierarchies_that_are_needed_have_directories") else { return };
    place.arguments(&["sleep", "1000"]);
    let running = place.run_with(nothing());
    let directories = cgroup_directories(place.cgroup.as_path());
    let needed = ["memory", "devices", "cpu", "unified"];
    let version_2 = directories.len() == 1;
    let is_needed = |directory: &PathBuf| needed.iter().any(|name| directory.starts_with(Path::new("/sys/fs/cgroup").join(name)));
    assert!(version_2 || directories.iter().all(is_needed), "{directories:?}");
    place.stop(&running);
}

#[test]
fn processors_can_be_chosen() {
    let Some(mut place) = place("processors_can_be_chosen") else { return };
    if controller_directory(Path::new(""), "cpuset").is_none() {
        return;
    }
    place.set("/linux/resources/cpu", json!({"shares": 128, "cpus": "0", "mems": "0"}));
    assert_eq!(place.output("grep Cpus_allowed_list /proc/self/status | cut -f2"), "0\n");
    place.assert_nothing_left();
}

#[test]
fn limits_that_cannot_be_kept_are_refused_and_leave_nothing() {
    let Some(mut place) = place("limits_that_cannot_be_kept_are_refused_and_leave_nothing") else { return };
    place.set("/linux/resources/rdma", json!({"mlx5_1": {"hcaHandles": 3}}));
    let error = place.create_with(nothing()).expect_err("not supported");
    assert_eq!(error.to_string(), "read bundle: linux.resources.rdma: this runtime sets no RDMA limits; leave it out");
    place.set("/linux/resources/rdma", json!({}));
    place.set("/linux/resources/cpu", json!({"shares": 128, "quota": 5}));
    let error = chain(&place.create_with(nothing()).expect_err("the kernel refuses a quota this small"));
    assert!(error.starts_with("write \"5"), "{error}");
    place.assert_nothing_left();
}

#[test]
fn a_group_in_use_is_not_taken_over() {
    let Some(mut place) = place("a_group_in_use_is_not_taken_over") else { return };
    place.arguments(&["sleep", "1000"]);
    let running = place.run_with(nothing());
    let error = chain(&place.create_with(nothing()).expect_err("in use"));
    assert!(error.starts_with("replace old cgroup"), "{error}");
    assert!(place.cgroup().is_populated().expect("read"), "the first container lives");
    place.stop(&running);
    for directory in cgroup_directories(place.cgroup.as_path().parent().expect("has a parent")) {
        fs::create_dir(directory.join("container")).expect("made");
    }
    place.arguments(&["true"]);
    assert_eq!(place.run().code, Some(0), "an empty group that a crash left is made anew");
}

#[test]
fn killing_is_bounded() {
    let Some(place) = place("killing_is_bounded") else { return };
    let group = place.cgroup();
    group.kill_all(Duration::from_secs(1)).expect("a group that does not exist is empty");
    assert!(!group.is_populated().expect("read"));
    let error = CgroupError::StillPopulated { path: place.cgroup.as_path().to_owned(), within: Duration::from_secs(1) };
    assert!(error.to_string().starts_with("processes are left in cgroup usher-core-"));
}
