//! Containers that look at the processes of another one.

use runtime::{ContainerConfig, Runtime as _};

use crate::support::{Machine, Pod, eventually};

#[test]
fn a_container_sees_the_processes_of_its_target_and_ends_with_it() {
    let Some(machine) = Machine::new("a_container_sees_the_processes_of_its_target_and_ends_with_it") else { return };
    let engine = machine.engine();
    let mut pod = Pod::start(&machine, &engine, "target");
    let target = pod.run("app", "sleep 1001; true");
    let other = pod.run("other", "sleep 1002; true");
    let config = ContainerConfig { target_id: Some(target.clone()), ..pod.container("debug", "sleep 1003; true") };
    let debug = pod.run_with(&config);
    let seen = pod.ask(&debug, "cat /proc/[0-9]*/cmdline | tr '\\0' ' '");
    assert!(seen.contains("sleep 1001") && seen.contains("sleep 1003") && !seen.contains("sleep 1002"), "{seen}");
    let seen = pod.ask(&target, "cat /proc/[0-9]*/cmdline | tr '\\0' ' '");
    assert!(seen.contains("sleep 1003"), "{seen}");
    machine.run(engine.kill_container(&pod.uid, &target)).expect("killed");
    assert_eq!(pod.exit_of(&debug).code, 137, "its processes were the target's");
    eventually("the other lives", || pod.ask(&other, "echo alive") == "alive\n");
    pod.remove();
}

#[test]
fn a_container_whose_target_does_not_run_is_not_made() {
    let Some(machine) = Machine::new("a_container_whose_target_does_not_run_is_not_made") else { return };
    let engine = machine.engine();
    let mut pod = Pod::start(&machine, &engine, "ended");
    let target = pod.run("app", "true");
    pod.exit_of(&target);
    for id in [target, "0000".to_owned()] {
        let config = ContainerConfig { target_id: Some(id.clone()), ..pod.container("debug", "true") };
        let error = machine.run(engine.create_container(&config)).expect_err("there is nothing to be seen");
        let expected = format!("failed to create container: container {id}, whose processes are to be seen, is not running");
        assert_eq!(error.to_string(), expected);
    }
    pod.remove();
}
