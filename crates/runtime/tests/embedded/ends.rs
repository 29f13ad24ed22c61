//! Who ended what, and in which order it is told.

use std::time::Duration;

use runtime::{Runtime as _, RuntimeEvent};

use crate::support::{Machine, Pod};

#[test]
fn a_container_that_ignores_its_stop_signal_is_killed_at_the_deadline() {
    let Some(machine) = Machine::new("a_container_that_ignores_its_stop_signal_is_killed_at_the_deadline") else { return };
    let engine = machine.engine();
    let mut pod = Pod::start(&machine, &engine, "stubborn");
    let id = pod.run("app", "trap 'echo got it' TERM; echo ready; while :; do sleep 0.05; done");
    pod.wait_for_line("app", "stdout F ready");
    let asked = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let asked = asked.tv_sec as u64 * 1_000_000_000 + asked.tv_nsec as u64;
    machine.run(engine.stop_container("stubborn", &id, Duration::from_millis(400))).expect("the signal is out");
    let mut told = Vec::new();
    let exit = loop {
        match pod.event() {
            RuntimeEvent::SignalSent { signal, why, at, .. } => told.push((signal, why, at)),
            RuntimeEvent::ContainerExited { exit, .. } => break exit,
            _ => {}
        }
    };
    let shown: Vec<_> = told.iter().map(|(signal, why, _)| (*signal, why.as_str())).collect();
    assert_eq!(shown, [(15, "stop"), (9, "deadline")]);
    let grace = told[1].2.boot_nanos - asked;
    assert!(grace >= 400_000_000, "killed after {grace} ns");
    assert_eq!((exit.code, exit.signal, exit.killed_by_runtime), (137, Some(9), true));
    assert!(pod.log("app").contains(&"stdout F got it".to_owned()));
    machine.run(engine.stop_container("stubborn", &id, Duration::ZERO)).expect("one that has ended is stopped");
    pod.remove();
}

#[test]
fn a_container_gets_its_own_stop_signal_and_may_end_in_grace() {
    let Some(machine) = Machine::new("a_container_gets_its_own_stop_signal_and_may_end_in_grace") else { return };
    let engine = machine.engine();
    let mut pod = Pod::start(&machine, &engine, "polite");
    let mut config = pod.container("app", "trap 'exit 7' QUIT; echo ready; while :; do sleep 0.05; done");
    config.stop_signal = Some("SIGQUIT".to_owned());
    let id = pod.run_with(&config);
    pod.wait_for_line("app", "stdout F ready");
    machine.run(engine.stop_container("polite", &id, Duration::from_secs(30))).expect("the signal is out");
    let exit = pod.exit_of(&id);
    assert_eq!((exit.code, exit.signal, exit.killed_by_runtime), (7, None, false));
    pod.remove();
}

#[test]
fn a_command_that_dies_with_its_container_says_so_after_the_container() {
    let Some(machine) = Machine::new("a_command_that_dies_with_its_container_says_so_after_the_container") else { return };
    let engine = machine.engine();
    for round in 0..5 {
        let mut pod = Pod::start(&machine, &engine, &format!("round-{round}"));
        let id = pod.run("app", "trap 'exit 0' TERM; echo ready; while :; do sleep 0.01; done");
        pod.wait_for_line("app", "stdout F ready");
        // The classic of the documentation: a preStop that asks the main process to go and waits until it is gone.
        let request =
            pod.request(&id, "prestop", &["sh", "-c", "echo begun; kill -TERM 1; while kill -0 1; do sleep 0.01; done; sleep 1000"]);
        let result = machine.run(engine.exec(&request)).expect("a result");
        assert!(result.container_ended && !result.killed && !result.timed_out, "{result:?}");
        assert_eq!((result.exit_code, result.stdout.as_str()), (137, "begun\n"));
        // It is told already, before the command's end was.
        let told = loop {
            match pod.event() {
                RuntimeEvent::ContainerExited { container_id, exit } => break (container_id, exit.code),
                _ => {}
            }
        };
        assert_eq!(told, (id, 0));
        pod.remove();
    }
}

#[test]
fn a_sandbox_whose_shim_dies_is_lost_with_everything_in_it() {
    let Some(machine) = Machine::new("a_sandbox_whose_shim_dies_is_lost_with_everything_in_it") else { return };
    let engine = machine.engine();
    let mut pod = Pod::start(&machine, &engine, "lost");
    let ended = pod.run("ended", "exit 5");
    pod.exit_of(&ended);
    let app = pod.run("app", "echo $$; sleep 1000");
    let request = pod.request(&app, "hook", &["sleep", "1000"]);
    let hook = {
        let engine = engine.clone();
        let _context = machine.run(async { tokio::spawn(async move { engine.exec(&request).await }) });
        _context
    };
    loop {
        if let RuntimeEvent::ExecStarted { .. } = pod.event() {
            break;
        }
    }
    kill_shim(&machine, "lost");
    let rest = pod.rest();
    assert!(matches!(rest.last(), Some(RuntimeEvent::SandboxLost { .. })), "{rest:?}");
    machine.run(hook).expect("no panic").expect_err("nobody knows how the hook ended");
    let again = machine.run(engine.events("lost")).expect("the records are there");
    let mut again = machine.run(async move {
        let mut again = again;
        let mut all = Vec::new();
        while let Some(event) = again.recv().await {
            all.push(event);
        }
        all
    });
    assert!(matches!(again.pop(), Some(RuntimeEvent::SandboxLost { .. })));
    assert!(matches!(&again[..], [RuntimeEvent::ContainerExited { container_id, exit }] if *container_id == ended && exit.code == 5));
    let listed = machine.run(engine.list_containers("lost")).expect("from the records");
    let shown: Vec<_> = listed.iter().map(|it| (it.name.as_str(), it.exit.as_ref().map(|exit| exit.code))).collect();
    assert_eq!(shown, [("ended", Some(5)), ("app", None)]);
    // The folder alone is left, until it is removed.
    let left = machine.left_overs(&engine, "lost");
    assert!(left.iter().all(|left| left.starts_with("folder") || left.starts_with("lease")), "{left:?}");
    assert_eq!(machine.interfaces().into_iter().collect::<Vec<_>>(), ["lo", "usher0"]);

    // A new sandbox takes its place.
    let next = Pod::start(&machine, &engine, "lost");
    let id = next.run("app", "sleep 1000");
    assert_eq!(next.ask(&id, "echo works"), "works\n");
    assert_eq!(machine.run(engine.list_containers("lost")).expect("a list").len(), 3);
    next.remove();
}

/// The process of the pod's newest shim.
pub(crate) fn shim_of(machine: &Machine, uid: &str) -> rustix::process::Pid {
    let shims = std::fs::read_dir(machine.pod_dir(uid)).expect("a pod").flatten().map(|entry| entry.path());
    let newest = shims.filter(|path| path.join("shim.json").exists()).max().expect("a shim");
    let record = shim::client::ShimRecord::load(&newest).expect("readable").expect("a shim");
    rustix::process::Pid::from_raw(record.shim.process.pid).expect("a process")
}

pub(crate) fn kill_shim(machine: &Machine, uid: &str) {
    let pid = shim_of(machine, uid);
    let shim = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).expect("it lives");
    rustix::process::pidfd_send_signal(&shim, rustix::process::Signal::KILL).expect("killed");
    // Until it is gone its socket still takes connections.
    let mut ended = [rustix::event::PollFd::new(&shim, rustix::event::PollFlags::IN)];
    let within = rustix::event::Timespec { tv_sec: 20, tv_nsec: 0 };
    assert_eq!(rustix::event::poll(&mut ended, Some(&within)), Ok(1), "the shim does not end");
}
