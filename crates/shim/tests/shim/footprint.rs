//! What a shim costs while it waits, and that it does not grow.

use std::fs;
use std::time::Duration;

use shim::protocol::Call;

use crate::fixture::{Calls as _, Pod, container_id, wait_until};

/// A tenth of a megabyte.
const OWN_KIB_MAX: u64 = 102;

#[test]
fn an_idle_shim_with_a_container_owns_less_than_a_tenth_of_a_megabyte() {
    let Some(pod) = Pod::start("an_idle_shim_with_a_container_owns_less_than_a_tenth_of_a_megabyte") else { return };
    let mut client = pod.subscriber();
    // Not only waiting: it has logged, run a command and told of it.
    client.run(pod.shell("a", "seq 1 20000; echo ready; exec sleep 1000"));
    client.wait_for_log(&pod, "a", "ready");
    client.exec(pod.exec("a", "x", "seq 1 5000"));
    client.exec_exit("x");
    drop(client);
    wait_until(&format!("own memory is at most {OWN_KIB_MAX} KiB, not {}", own_kib(&pod)), || {
        std::thread::sleep(Duration::from_millis(100));
        own_kib(&pod) <= OWN_KIB_MAX
    });
}

#[test]
fn a_thousand_containers_leave_neither_memory_nor_descriptors_behind() {
    let Some(pod) = Pod::start("a_thousand_containers_leave_neither_memory_nor_descriptors_behind") else { return };
    let mut client = pod.subscriber();
    let round = |client: &mut shim::client::ShimClient, n: u32| {
        let id = format!("c{n}");
        client.run(pod.shell(&id, "echo hello"));
        client.container_exit(&id);
        client.call(Call::RemoveContainer { container: container_id(&id) }).expect("it has exited");
    };
    for n in 0..50 {
        round(&mut client, n);
    }
    let fds = fd_count(&pod);
    for n in 50..1_000 {
        round(&mut client, n);
    }
    assert_eq!(fd_count(&pod), fds);
    drop(client);
    wait_until(&format!("own memory is at most {OWN_KIB_MAX} KiB, not {}", own_kib(&pod)), || {
        std::thread::sleep(Duration::from_millis(100));
        own_kib(&pod) <= OWN_KIB_MAX
    });
}

/// Memory that this shim has alone: all that is not backed by a file. (What the binary's pages are counted as depends on whether
/// the disk has them already.)
fn own_kib(pod: &Pod) -> u64 {
    let rollup = fs::read_to_string(format!("/proc/{}/smaps_rollup", pod.shim.process.pid)).expect("the shim lives");
    let line = rollup.lines().find(|line| line.starts_with("Anonymous:")).expect("a line of that name");
    line.split_ascii_whitespace().nth(1).and_then(|kib| kib.parse().ok()).expect("a number")
}

fn fd_count(pod: &Pod) -> usize {
    fs::read_dir(format!("/proc/{}/fd", pod.shim.process.pid)).expect("the shim lives").count()
}
