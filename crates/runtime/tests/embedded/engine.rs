//! Engines come and go, containers stay.

use std::time::Duration;

use runtime::{Runtime as _, RuntimeEvent};

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
