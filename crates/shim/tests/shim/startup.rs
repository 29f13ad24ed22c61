//! How a shim comes up and goes.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};

use shim::client::{Life, ShimClient, ShimRecord, SpawnShimError, spawn_shim_program};
use shim::monitor::{Namespace, StartupFailureReason};
use shim::protocol::{Call, ShutdownMode};

use crate::fixture::{HOST, Pod, WITHIN, shim_args, wait_until};

#[test]
fn a_shim_is_detached_from_whoever_started_it() {
    let Some(pod) = Pod::start("a_shim_is_detached_from_whoever_started_it") else { return };
    let shim = pod.shim.process.pid.to_string();
    let stat = fs::read_to_string(format!("/proc/{shim}/stat")).expect("the shim lives");
    assert!(stat.contains("(usher-shim)"), "{stat}");
    let (parent, session) = parent_and_session(&stat);
    assert_ne!(parent, std::process::id().to_string(), "the shim is a child of its caller");
    assert_eq!(session, shim, "the shim does not lead a session of its own");
    // Zero where our session's leader is outside of our pid namespace, as in a container that was entered: not an error.
    let own = fs::read_to_string("/proc/self/stat").expect("we live");
    assert_ne!(session, parent_and_session(&own).1, "the shim is in the session of its caller");
    let fds = || -> Vec<String> {
        let entries = fs::read_dir(format!("/proc/{}/fd", pod.shim.process.pid)).expect("the shim lives");
        let targets = entries.map(|entry| fs::read_link(entry.expect("readable").path()).unwrap_or_default().display().to_string());
        // The log is there if the machine refused something, such as a lower oom_score_adj.
        targets.filter(|target| !target.ends_with("shim.log")).collect()
    };
    // Null three times, the lock, the socket, and the event loop with its signals and timer. The caller's pipe is let go of
    // just after the shim said that it is ready.
    let is_alone = |fds: &[String]| fds.len() == 8 && fds.iter().filter(|target| *target == "/dev/null").count() == 3;
    let deadline = Instant::now() + WITHIN;
    loop {
        let fds = fds();
        if is_alone(&fds) {
            break;
        }
        assert!(Instant::now() < deadline, "it holds more or less than its own descriptors: {fds:?}");
        std::thread::sleep(Duration::from_millis(2));
    }
    let environment = fs::read(format!("/proc/{}/environ", pod.shim.process.pid)).expect("the shim lives");
    assert_eq!(String::from_utf8_lossy(&environment), "GLIBC_TUNABLES=glibc.malloc.tcache_count=0\0");
}

#[test]
fn a_shim_has_the_namespaces_and_the_name_that_it_was_given() {
    let Some(pod) = Pod::start_with("a_shim_has_the_namespaces_and_the_name_that_it_was_given", |args| {
        args.ipc = Namespace::Host;
    }) else {
        return;
    };
    let of = |pid: &str, name: &str| fs::read_link(format!("/proc/{pid}/ns/{name}")).expect("the process lives");
    let pid = pod.shim.process.pid.to_string();
    for (name, is_new) in [("net", true), ("uts", true), ("ipc", false), ("mnt", false), ("pid", false)] {
        assert_eq!(of(&pid, name) != of("self", name), is_new, "{name}");
    }
}

#[test]
fn a_shim_lives_in_a_cgroup_of_shims_and_not_in_the_pods() {
    let Some(pod) = Pod::start("a_shim_lives_in_a_cgroup_of_shims_and_not_in_the_pods") else { return };
    let groups = fs::read_to_string(format!("/proc/{}/cgroup", pod.shim.process.pid)).expect("the shim lives");
    assert!(groups.lines().any(|line| line.ends_with("/shims")), "{groups}");
    assert!(!groups.contains(&pod.shim.cgroup), "{groups}");
}

#[test]
fn a_second_shim_in_the_same_directory_is_refused() {
    let Some(pod) = Pod::start("a_second_shim_in_the_same_directory_is_refused") else { return };
    let error = spawn_shim_program(HOST.as_ref(), &shim_args(&pod.state_dir()), WITHIN).expect_err("the first one lives");
    assert!(is_reason(&error, StartupFailureReason::AlreadyRunning), "{error}");
    pod.client();

    pod.kill_shim();
    let error = spawn_shim_program(HOST.as_ref(), &shim_args(&pod.state_dir()), WITHIN).expect_err("one lived here");
    assert!(is_reason(&error, StartupFailureReason::StateDirUsed), "{error}");
}

#[test]
fn a_shim_that_cannot_start_says_why_and_leaves_nothing() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let error = spawn_shim_program(HOST.as_ref(), &shim_args(&folder.path().join("missing")), WITHIN).expect_err("there is no such folder");
    assert!(is_reason(&error, StartupFailureReason::Failed), "{error}");
    assert!(error.to_string().contains("missing/shim.lock: No such file"), "{error}");

    let wrong = shim::monitor::ShimArgs { state_dir: "relative".into(), ..shim_args(folder.path()) };
    let error = spawn_shim_program(HOST.as_ref(), &wrong, WITHIN).expect_err("the path is relative");
    assert!(is_reason(&error, StartupFailureReason::Arguments), "{error}");
    assert_eq!(fs::read_dir(folder.path()).expect("readable").count(), 0);
}

#[test]
fn a_program_that_is_no_shim_is_noticed() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let error = spawn_shim_program("/bin/true".as_ref(), &shim_args(folder.path()), WITHIN).expect_err("it says nothing");
    assert!(matches!(error, SpawnShimError::Ended), "{error}");
}

#[test]
fn a_state_directory_with_a_very_long_path_works() {
    let name = "a_state_directory_with_a_very_long_path_works";
    let folder = tempfile::tempdir().expect("a temporary folder");
    let long = folder.path().join("x".repeat(200)).join("state");
    let Some(pod) = Pod::start_with(name, |args| args.state_dir.clone_from(&long)) else { return };
    let mut client = ShimClient::connect(&long, "test", WITHIN).expect("the shim is there");
    assert_eq!(client.greeting().shim, pod.shim);
    client.call(Call::Shutdown { mode: ShutdownMode::WhenEmpty }).expect("nothing lives");
}

#[test]
fn the_socket_is_for_the_owner_only() {
    let Some(pod) = Pod::start("the_socket_is_for_the_owner_only") else { return };
    let mode = fs::metadata(pod.state_dir().join("shim.sock")).expect("the socket is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn only_a_shutdown_ends_a_shim() {
    let Some(pod) = Pod::start("only_a_shutdown_ends_a_shim") else { return };
    let pid = rustix::process::Pid::from_raw(pod.shim.process.pid).expect("a pid");
    for signal in [rustix::process::Signal::TERM, rustix::process::Signal::INT, rustix::process::Signal::HUP] {
        rustix::process::kill_process(pid, signal).expect("the shim is ours");
    }
    let log = pod.state_dir().join("shim.log");
    wait_until("the signals are noted", || fs::read_to_string(&log).is_ok_and(|text| text.matches("is ignored").count() == 3));
    let record = ShimRecord::load(&pod.state_dir()).expect("readable").expect("a shim was here");
    assert_eq!((record.life, &record.shim), (Life::Alive, &pod.shim));

    pod.client().call(Call::Shutdown { mode: ShutdownMode::WhenEmpty }).expect("nothing lives");
    wait_until("the shim is gone", || !pod.shim.process.is_alive());
    assert!(!pod.state_dir().join("shim.sock").exists());
    let record = ShimRecord::load(&pod.state_dir()).expect("readable").expect("a shim was here");
    assert_eq!(record.life, Life::Dead);
}

#[test]
fn a_directory_without_a_shim_has_no_record() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    assert!(ShimRecord::load(folder.path()).expect("readable").is_none());
}

fn parent_and_session(stat: &str) -> (&str, &str) {
    let fields: Vec<_> = stat.rsplit_once(')').expect("a name").1.split_ascii_whitespace().collect();
    (fields[1], fields[3])
}

fn is_reason(error: &SpawnShimError, reason: StartupFailureReason) -> bool {
    matches!(error, SpawnShimError::Failed(failure) if failure.reason == reason)
}
