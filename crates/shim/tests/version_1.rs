//! Machines without a version 2 hierarchy: this one, with it unmounted in a mount namespace of the test's own.
//!
//! One test, because the hierarchies are looked up once in the life of a process.

mod support;

use std::{os::fd::AsFd as _, path::Path};

use rustix::mount::{MountPropagationFlags, UnmountFlags, mount_change, unmount};
use serde_json::json;
use support::{PATIENCE, cgroup_directories, chain, controller_directory, eventually, nothing, pipes, place, read_until, skip, wait};

#[test]
fn without_version_2_containers_are_limited_counted_and_killed_whole() {
    let test = "without_version_2_containers_are_limited_counted_and_killed_whole";
    let unified = Path::new("/sys/fs/cgroup/unified");
    if !unified.join("cgroup.procs").exists() || controller_directory(Path::new(""), "freezer").is_none() {
        return skip(test, "needs version 1 hierarchies, and one of version 2 at /sys/fs/cgroup/unified to unmount");
    }
    if !rustix::process::geteuid().is_root() {
        return skip(test, "needs root");
    }
    #[expect(deprecated, reason = "the flag changes no memory and no descriptors")]
    rustix::thread::unshare(rustix::thread::UnshareFlags::NEWNS).expect("unshared");
    mount_change("/", MountPropagationFlags::REC | MountPropagationFlags::PRIVATE).expect("private");
    unmount(unified, UnmountFlags::DETACH).expect("unmounted");
    let Some(mut place) = place(test) else { return };
    place.arguments(&["sleep", "1000"]).set("/linux/resources/memory", json!({"limit": 33_554_432, "swap": 33_554_432}));
    let running = place.run_with(nothing());
    let script = "(setsid sh -c '(setsid sleep 2001 & ) ; sleep 2002' & ) ; echo ready; sleep 2003";
    let (stdio, streams) = pipes();
    let process = place.exec_with(&running, "tree", script, stdio).unwrap_or_else(|error| panic!("{}", chain(&error)));
    read_until(streams.stdout.as_fd(), "ready\n");
    let sleepers = || place.exec(&running, "grep -l '^sleep.200' /proc/[0-9]*/cmdline | wc -l").output;
    eventually("all three sleep", || sleepers() == "3\n");
    process.kill_tree(PATIENCE).expect("killed");
    assert_eq!(wait(process.pidfd()).terminating_signal(), Some(libc::SIGKILL));
    assert_eq!(sleepers(), "0\n");
    assert!(process.remove_cgroup().expect("removed"));
    assert_eq!(place.exec(&running, "head -c 50000000 /dev/zero | tail -c 49999999 | wc -c").output, "0\n");
    assert_eq!(place.cgroup().oom_kills().expect("counted"), 1);
    assert!(place.cgroup().stats().expect("read").cpu_usage_nanos.is_some_and(|nanos| nanos > 0));
    assert!(cgroup_directories(place.cgroup.as_path()).iter().any(|directory| directory.join("freezer.state").exists()));
    place.stop(&running);
    drop((running, process, streams));
    place.assert_nothing_left();
}
