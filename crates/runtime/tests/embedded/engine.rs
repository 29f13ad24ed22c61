//! Engines come and go, containers stay.

use std::os::fd::OwnedFd;
use std::time::Duration;

use runtime::{Runtime as _, RuntimeEvent};
use rustix::net::sockopt::socket_peercred;
use rustix::net::{Shutdown, shutdown};
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, Signal, kill_process, pidfd_getfd, pidfd_open};

use crate::support::{Machine, Pod, eventually};

#[test]
fn a_new_engine_finds_everything_again() {
    let Some(machine) = Machine::new("a_new_engine_finds_everything_again") else { return };
    let first = machine.engine();
    let pod = Pod::start(&machine, &first, "kept");
    let quick = pod.run("quick", "until [ -e /dev/shm/go ]; do sleep 0.01; done; exit 4");
    let app = pod.run("app", "trap 'exit 6' TERM; echo ready; while :; do sleep 0.05; done");
    pod.wait_for_line("app", "stdout F ready");
    let request = pod.request(&app, "hook", &["sh", "-c", "echo early; until [ -e /dev/shm/go ]; do sleep 0.01; done; echo late; exit 2"]);
    let hook = {
        let (engine, request) = (first.clone(), request.clone());
        machine.run(async { tokio::spawn(async move { engine.exec(&request).await }) })
    };
    eventually("the hook has begun", || pod.ask(&app, "cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' '").contains("late"));
    let ips = pod.ips.clone();
    // The engine goes away in the middle of it.
    hook.abort();
    drop(pod);
    drop(first);

    std::fs::write(machine.pod_dir("kept").join("shm/go"), "").expect("the pod's shared memory");
    let shim = std::fs::read_dir(machine.pod_dir("kept").join("shim.0/execs/hook")).expect("the hook's records").count();
    assert!(shim > 0);
    eventually("the hook ends while nobody looks", || machine.pod_dir("kept").join("shim.0/execs/hook/exit.json").exists());
    eventually("so does a container", || machine.pod_dir("kept").join("shim.0/containers").join(&quick).join("exit.json").exists());

    let second = machine.engine();
    let sandbox = machine.run(second.run_pod_sandbox(&crate::support::pod_config("kept"))).expect("it is there");
    assert_eq!(sandbox.ips, ips);
    let mut pod = Pod::take_up(&machine, &second, "kept", ips);
    assert!(matches!(pod.event(), RuntimeEvent::ContainerExited { container_id, exit } if container_id == quick && exit.code == 4));
    let listed = machine.run(second.list_containers("kept")).expect("a list");
    let shown: Vec<_> = listed.iter().map(|it| (it.id.as_str(), it.name.as_str(), it.started_at.is_some(), it.exit.is_some())).collect();
    assert_eq!(shown, [(quick.as_str(), "quick", true, true), (app.as_str(), "app", true, false)]);
    let result = machine.run(second.exec(&request)).expect("the hook's result, not another run");
    assert_eq!((result.exit_code, result.stdout.as_str()), (2, "early\nlate\n"));
    assert_eq!(pod.ask(&app, "echo still there"), "still there\n");
    let pods = machine.run(second.pods()).expect("a list");
    let shown: Vec<_> = pods.iter().map(|pod| (pod.namespace.as_str(), pod.name.as_str(), pod.alive, pod.containers.len())).collect();
    assert_eq!(shown, [("space", "name-kept", true, 2)]);
    machine.run(second.stop_container("kept", &app, Duration::from_secs(30))).expect("the signal is out");
    assert_eq!(pod.exit_of(&app).code, 6);
    pod.remove();
}

#[test]
fn an_engine_that_finds_a_dead_shim_ends_what_it_left() {
    let Some(machine) = Machine::new("an_engine_that_finds_a_dead_shim_ends_what_it_left") else { return };
    let first = machine.engine();
    let pod = Pod::start(&machine, &first, "orphans");
    pod.run("app", "sleep 1000");
    drop(pod);
    drop(first);
    crate::ends::kill_shim(&machine, "orphans");

    let second = machine.engine();
    let mut pod = Pod::take_up(&machine, &second, "orphans", Vec::new());
    assert!(matches!(pod.event(), RuntimeEvent::SandboxLost { .. }));
    let left = machine.left_overs(&second, "orphans");
    assert!(!left.iter().any(|left| left.starts_with("cgroup") || left.starts_with("mount")), "{left:?}");
    pod.remove();
}

#[test]
fn a_line_that_breaks_loses_no_answer() {
    let Some(machine) = Machine::new("a_line_that_breaks_loses_no_answer") else { return };
    let engine = machine.engine();
    let mut pod = Pod::start(&machine, &engine, "broken");
    let app = pod.run("app", "trap 'exit 6' TERM; while :; do sleep 0.05; done");
    let request = pod.request(&app, "hook", &["sh", "-c", "echo early; until [ -e /dev/shm/go ]; do sleep 0.01; done; echo late; exit 2"]);
    let hook = {
        let engine = engine.clone();
        machine.run(async { tokio::spawn(async move { engine.exec(&request).await }) })
    };
    eventually("the hook has begun", || pod.ask(&app, "cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' '").contains("late"));
    let created = pod.create(&pod.container("second", "sleep 1000"));

    // The shim stands still with a question that has come and is not answered.
    let shim = crate::ends::shim_of(&machine, "broken");
    kill_process(shim, Signal::STOP).expect("it is there");
    let start = {
        let (engine, id) = (engine.clone(), created.clone());
        machine.run(async { tokio::spawn(async move { engine.start_container("broken", &id).await }) })
    };
    let lines = lines_to(shim);
    eventually("the start is on its way", || lines.iter().any(|line| unread(line) > 0));
    for line in &lines {
        shutdown(line, Shutdown::Both).expect("a line");
    }
    kill_process(shim, Signal::CONT).expect("it is there");

    machine.run(start).expect("no panic").expect("started, or found started");
    assert_eq!(pod.ask(&created, "echo once"), "once\n");
    std::fs::write(machine.pod_dir("broken").join("shm/go"), "").expect("the pod's shared memory");
    let result = machine.run(hook).expect("no panic").expect("a result");
    assert_eq!((result.exit_code, result.stdout.as_str()), (2, "early\nlate\n"));
    machine.run(engine.stop_container("broken", &app, Duration::from_secs(30))).expect("the signal is out");
    assert_eq!(pod.exit_of(&app).code, 6);
    pod.remove();
}

/// This process's connections to that one.
fn lines_to(peer: Pid) -> Vec<OwnedFd> {
    let own = pidfd_open(rustix::process::getpid(), PidfdFlags::empty()).expect("we live");
    let fds = std::fs::read_dir("/proc/self/fd").expect("proc is mounted").flatten();
    let numbers = fds.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let copies = numbers.filter_map(|number| pidfd_getfd(&own, number, PidfdGetfdFlags::empty()).ok());
    copies.filter(|fd| socket_peercred(fd).is_ok_and(|other| other.pid == peer)).collect()
}

/// Bytes that were sent and not read.
#[expect(unsafe_code, reason = "rustix has no call of its own for this")]
fn unread(line: &OwnedFd) -> i32 {
    // SAFETY: SIOCOUTQ gives a C int.
    unsafe { rustix::ioctl::ioctl(line, rustix::ioctl::Getter::<SIOCOUTQ, i32>::new()) }.expect("a socket")
}

const SIOCOUTQ: rustix::ioctl::Opcode = 0x5411;
