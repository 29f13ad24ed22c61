//! The truth, whoever is killed at whatever moment.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use shim::client::{Life, ShimRecord, connect, kill_pod_cgroup};
use shim::protocol::{Call, ContainerState, Event, PROTOCOL_VERSION, Recorded, Request, Target, encode_frame};
use shim::records::{CONTAINERS, ContainerExit, EXIT_RECORD, End, read_record};

use crate::fixture::{Calls as _, Disk, Pod, WITHIN, assert_no_cgroup, container_id, wait_until};

#[test]
fn an_exit_is_on_the_disk_before_it_is_told() {
    let Some(pod) = Pod::start("an_exit_is_on_the_disk_before_it_is_told") else { return };
    let mut client = pod.subscriber();
    client.run(pod.shell("a", "exit 9"));
    let exit = client.container_exit("a");
    let folder = pod.state_dir().join(CONTAINERS).join("a");
    let record = read_record::<ContainerExit>(&folder, EXIT_RECORD).expect("readable");
    assert_eq!(record, Some(exit));
}

#[test]
fn a_client_that_dies_in_the_middle_is_followed_by_one_that_sees_everything() {
    let Some(pod) = Pod::start("a_client_that_dies_in_the_middle_is_followed_by_one_that_sees_everything") else { return };
    let mut dying = connect(&pod.state_dir()).expect("the shim listens");
    let calls = [
        Call::Hello { protocol: PROTOCOL_VERSION, client: "dying".into() },
        Call::CreateContainer(Box::new(pod.shell("a", "exec sleep 1000"))),
        Call::StartContainer { container: container_id("a") },
        Call::CreateContainer(Box::new(pod.shell("b", "exit 2"))),
        Call::StartContainer { container: container_id("b") },
    ];
    let mut bytes = Vec::new();
    for (id, call) in (0..).zip(calls) {
        encode_frame(&Request { id, call }, &mut bytes).expect("fits");
    }
    dying.write_all(&bytes).expect("the shim listens");
    // The kernel closes a killed process's sockets just so: with answers unread.
    drop(dying);

    let exited = pod.state_dir().join("containers/b/exit.json");
    wait_until("the second container has ended", || exited.exists());
    let state = pod.client().state();
    let [a, b] = &state.containers[..] else { panic!("{state:?}") };
    assert!(matches!(a.state, ContainerState::Running { .. }), "{a:?}");
    assert!(matches!(&b.state, ContainerState::Exited(exit) if exit.end == End::Exited { code: 2 }), "{b:?}");
}

#[test]
fn a_killed_shim_leaves_records_to_read_and_a_cgroup_to_clear() {
    let Some(pod) = Pod::start("a_killed_shim_leaves_records_to_read_and_a_cgroup_to_clear") else { return };
    let mut client = pod.subscriber();
    client.run(pod.shell("ended", "exit 4"));
    client.container_exit("ended");
    let running = client.run(pod.shell("running", "trap '' TERM HUP; while :; do sleep 1; done"));
    client.exec(pod.exec("running", "x", "sleep 1000"));
    pod.kill_shim();

    let record = ShimRecord::load(&pod.state_dir()).expect("readable").expect("a shim was here");
    assert_eq!(record.life, Life::Dead);
    let [ended, lost] = &record.containers[..] else { panic!("{record:?}") };
    assert_eq!(ended.exit.as_ref().map(|exit| &exit.end), Some(&End::Exited { code: 4 }));
    assert!(lost.created.is_some() && lost.started.is_some() && lost.exit.is_none(), "{lost:?}");
    assert!(record.execs[0].started.is_some() && record.execs[0].exit.is_none(), "{record:?}");

    kill_pod_cgroup(&record.shim, WITHIN).expect("the pod is cleared");
    assert!(!running.process.is_alive());
    let record = ShimRecord::load(&pod.state_dir()).expect("readable").expect("a shim was here");
    assert_eq!((record.containers[1].life, record.execs[0].life), (Life::Dead, Life::Dead));
    assert_no_cgroup(&pod.shim.cgroup);
}

#[test]
fn a_living_shims_pod_is_not_killed_behind_its_back() {
    let Some(pod) = Pod::start("a_living_shims_pod_is_not_killed_behind_its_back") else { return };
    let container = pod.client().run(pod.shell("a", "exec sleep 1000"));
    let error = kill_pod_cgroup(&pod.shim, WITHIN).expect_err("the shim lives");
    assert!(error.to_string().contains("lives"), "{error}");
    assert!(container.process.is_alive());
}

#[test]
fn a_forced_shutdown_records_every_end_and_leaves_nothing_running() {
    let Some(pod) = Pod::start("a_forced_shutdown_records_every_end_and_leaves_nothing_running") else { return };
    let mut client = pod.client();
    let container = client.run(pod.shell("a", "trap '' TERM; while :; do sleep 1; done"));
    client.exec(pod.exec("a", "x", "sleep 1000"));
    let when_empty = shim::protocol::ShutdownMode::WhenEmpty;
    assert_eq!(client.refused(Call::Shutdown { mode: when_empty }), shim::protocol::RefusalCode::WrongState);
    client.call(Call::Shutdown { mode: shim::protocol::ShutdownMode::KillAll }).expect("everything can be killed");
    wait_until("the shim is gone", || !pod.shim.process.is_alive());
    assert!(!container.process.is_alive());
    let record = ShimRecord::load(&pod.state_dir()).expect("readable").expect("a shim was here");
    let exit = record.containers[0].exit.as_ref().expect("recorded");
    assert_eq!(exit.killed_by_shim().map(|sent| sent.by), Some(shim::records::Sender::Shutdown));
    assert!(record.execs[0].exit.is_some(), "{record:?}");
}

#[test]
fn a_full_disk_delays_the_record_but_not_the_event() {
    let name = "a_full_disk_delays_the_record_but_not_the_event";
    let Some(disk) = Disk::mount(name, 256 * 1024) else { return };
    let state_dir = disk.path().join("state");
    let Some(pod) = Pod::start_with(name, |args| args.state_dir.clone_from(&state_dir)) else { return };
    let mut client = shim::client::ShimClient::connect(&state_dir, "test", WITHIN).expect("the shim is there");
    client.call(Call::Subscribe).expect("a snapshot");
    client.run(pod.shell("a", "exec sleep 1000"));
    let ballast = disk.path().join("ballast");
    fill(&ballast);
    client.call(Call::KillContainer { container: container_id("a"), why: String::new() }).expect("it runs");
    let recorded = loop {
        if let Event::ContainerExited { recorded, .. } = client.event() {
            break recorded;
        }
    };
    assert!(matches!(&recorded, Recorded::Unsaved { error } if error.contains("No space left")), "{recorded:?}");
    fs::remove_file(ballast).expect("the ballast is there");
    loop {
        if let Event::RecordSaved { target } = client.event() {
            assert_eq!(target, Target::Container(container_id("a")));
            break;
        }
    }
    let record = read_record::<ContainerExit>(&state_dir.join("containers/a"), EXIT_RECORD).expect("readable");
    assert!(record.is_some());
    drop(pod);
}

fn fill(path: &Path) {
    let mut file = fs::File::create(path).expect("writable");
    while file.write_all(&[0; 4096]).is_ok() {}
    while file.write_all(&[0]).is_ok() {}
}
