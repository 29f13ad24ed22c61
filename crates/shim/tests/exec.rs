//! Commands in running containers.

mod support;

use std::{collections::HashSet, os::fd::AsFd as _, path::Path};

use serde_json::json;
use shim::{
    container::{ExecError, ExecTarget, Stdio, exec},
    seccomp::runtime_default,
};
use support::{PATIENCE, Place, cgroup_directories, chain, eventually, finish, nothing, pipes, place, read_until, wait, write};

fn sleeping(test: &str) -> Option<Place> {
    let mut place = place(test)?;
    place.arguments(&["sleep", "1000"]);
    Some(place)
}

#[test]
fn a_command_sees_what_the_container_sees() {
    let Some(mut place) = sleeping("a_command_sees_what_the_container_sees") else { return };
    place.add("/mounts", json!({"destination": "/scratch", "type": "tmpfs", "source": "tmpfs", "options": ["size=64k"]}));
    place.script("echo of the container > /scratch/file; sleep 1000");
    let running = place.run_with(nothing());
    eventually("the file is there", || place.exec(&running, "test -s /scratch/file").code == Some(0));
    let outcome = place.exec(
        &running,
        "cat /scratch/file; cat /proc/1/cmdline | tr '\\0' ' '; pwd; ls /proc/self/fd | wc -l; cut -d' ' -f6 /proc/self/stat",
    );
    assert_eq!(outcome.errors, "");
    let lines: Vec<_> = outcome.output.lines().collect();
    assert_eq!(lines[..4], ["of the container", "sleep 1000 /", "4", lines[3]]);
    assert_ne!(lines[3], "1", "a session of its own");
    assert_eq!(place.exec(&running, "exit 7").code, Some(7));
    for kind in ["mnt", "pid", "net", "ipc", "uts", "cgroup"] {
        let link = std::fs::read_link(format!("/proc/{}/ns/{kind}", running.pid())).expect("read");
        assert_eq!(place.exec(&running, &format!("readlink /proc/self/ns/{kind}")).output.trim(), link.to_str().expect("text"));
    }
    place.stop(&running);
    drop(running);
    place.assert_nothing_left();
}

#[test]
fn a_command_has_the_containers_user_and_privileges() {
    let Some(mut place) = sleeping("a_command_has_the_containers_user_and_privileges") else { return };
    place.set("/linux/seccomp", json!(runtime_default(&HashSet::new())));
    place.set("/process/user", json!({"uid": 1000, "gid": 1000, "additionalGids": [77]}));
    place.set("/process/oomScoreAdj", json!(321));
    let running = place.run_with(nothing());
    let show = "id -u; grep -E '^(Groups|CapBnd|NoNewPrivs|Seccomp:)' /proc/self/status; cat /proc/self/oom_score_adj; echo $HOME";
    let expected = "1000\nGroups:\t77 \nCapBnd:\t00000000880425fb\nNoNewPrivs:\t1\nSeccomp:\t2\n321\n/home/user\n";
    let (stdio, streams) = pipes();
    let least = place.process_json(&json!({"args": ["sh", "-c", show]}));
    let process = exec(&running.exec_target(), &least, "least", stdio).unwrap_or_else(|error| panic!("{}", chain(&error)));
    assert_eq!(finish(process.pidfd(), streams).output, expected);
    assert!(process.remove_cgroup().expect("removed"));
    let other = place.process_json(&json!({"args": ["sh", "-c", show], "user": {"uid": 0, "gid": 0}, "cwd": "/tmp",
        "capabilities": {"bounding": ["CAP_KILL"]}, "noNewPrivileges": false, "env": ["HOME=/x", "PATH=/bin"]}));
    let (stdio, streams) = pipes();
    let process = exec(&running.exec_target(), &other, "other", stdio).unwrap_or_else(|error| panic!("{}", chain(&error)));
    let expected = "0\nGroups:\t\nCapBnd:\t0000000000000020\nNoNewPrivs:\t0\nSeccomp:\t2\n321\n/x\n";
    assert_eq!(finish(process.pidfd(), streams).output.replace("Groups:\t \n", "Groups:\t\n"), expected);
    assert!(process.remove_cgroup().expect("removed"));
    place.stop(&running);
}

#[test]
fn a_command_counts_against_the_containers_limits_and_has_its_device_rules() {
    let Some(mut place) = sleeping("a_command_counts_against_the_containers_limits_and_has_its_device_rules") else { return };
    place.set("/linux/resources/memory", json!({"limit": 33_554_432, "swap": 33_554_432}));
    let running = place.run_with(nothing());
    assert_eq!(
        place.exec(&running, "mknod /mem c 1 1; head -c 1 /mem 2>&1 | grep -o 'Operation not permitted'").output,
        "Operation not permitted\n"
    );
    // More than the container's memory limit.
    let outcome = place.exec(&running, "head -c 50000000 /dev/zero | tail -c 49999999 | wc -c");
    assert_eq!(outcome.output, "0\n", "tail was killed");
    assert_eq!(place.cgroup().oom_kills().expect("counted"), 1);
    place.stop(&running);
}

/// Double-forked, in sessions of their own, with and without a living leader.
#[test]
fn kill_tree_kills_what_has_left_the_tree() {
    let Some(place) = sleeping("kill_tree_kills_what_has_left_the_tree") else { return };
    let running = place.run_with(nothing());
    let script = "(setsid sh -c '(setsid sleep 2001 & ) ; sleep 2002' & ) ; (trap '' TERM HUP; sleep 2003 &) ; echo ready; sleep 2004";
    let (stdio, streams) = pipes();
    let process = place.exec_with(&running, "tree", script, stdio).unwrap_or_else(|error| panic!("{}", chain(&error)));
    read_until(streams.stdout.as_fd(), "ready\n");
    let sleepers = || place.exec(&running, "grep -l '^sleep.200' /proc/[0-9]*/cmdline | wc -l").output;
    eventually("all four sleep", || sleepers() == "4\n");
    process.kill_tree(PATIENCE).expect("killed");
    assert_eq!(wait(process.pidfd()).terminating_signal(), Some(libc::SIGKILL));
    assert_eq!(sleepers(), "0\n");
    assert!(process.remove_cgroup().expect("removed"));
    assert_eq!(place.exec(&running, "echo the container lives").output, "the container lives\n");
    place.stop(&running);
    drop((running, process, streams));
    place.assert_nothing_left();
}

#[test]
fn the_group_of_a_command_stays_while_descendants_live_and_goes_with_the_container() {
    let Some(place) = sleeping("the_group_of_a_command_stays_while_descendants_live_and_goes_with_the_container") else { return };
    let running = place.run_with(nothing());
    let process =
        place.exec_with(&running, "daemon", "setsid sleep 3000 & exit 3", nothing()).unwrap_or_else(|error| panic!("{}", chain(&error)));
    assert_eq!(wait(process.pidfd()).exit_status(), Some(3));
    assert!(!process.remove_cgroup().expect("tried"), "a daemon is left in it");
    assert!(!cgroup_directories(process.cgroup().as_path()).is_empty());
    place.stop(&running);
    drop((running, process));
    place.assert_nothing_left();
}

#[test]
fn missing_commands_are_told_in_the_known_words() {
    let Some(place) = sleeping("missing_commands_are_told_in_the_known_words") else { return };
    std::fs::write(place.path("lower/etc/text"), "no program").expect("written");
    let running = place.run_with(nothing());
    let fds = support::open_fds();
    for (command, text) in [
        ("tapp", "exec: \"tapp\": executable file not found in $PATH"),
        ("/no/such", "exec: \"/no/such\": stat /no/such: no such file or directory"),
        ("/etc/text", "exec: \"/etc/text\": permission denied"),
        ("/etc", "exec: \"/etc\": is a directory"),
    ] {
        let error = exec(&running.exec_target(), &place.process(&[command]), "missing", nothing()).expect_err("no such command");
        assert!(matches!(&error, ExecError::Command(_)), "{error:?}");
        assert_eq!(error.to_string(), text);
    }
    assert_eq!(cgroup_directories(&place.cgroup.as_path().join("exec-missing")), Vec::<std::path::PathBuf>::new());
    assert_eq!(support::open_fds(), fds);
    place.stop(&running);
    drop(running);
    place.assert_nothing_left();
}

#[test]
fn a_container_that_has_ended_takes_no_commands() {
    let Some(mut place) = place("a_container_that_has_ended_takes_no_commands") else { return };
    place.arguments(&["true"]);
    let running = place.run_with(nothing());
    eventually("it has ended", || !place.cgroup().is_populated().expect("read"));
    let late = |running: &shim::container::RunningContainer| place.exec_with(running, "late", "true", nothing()).expect_err("it has ended");
    assert!(matches!(late(&running), ExecError::NotRunning), "a zombie");
    wait(running.pidfd());
    let error = late(&running);
    assert!(matches!(error, ExecError::NotRunning), "reaped: {error:?}");
    place.cgroup().remove().expect("removed");
    late(&running);
    assert_eq!(cgroup_directories(place.cgroup.as_path()), Vec::<std::path::PathBuf>::new(), "not made again");
    drop(running);
    place.assert_nothing_left();
}

#[test]
fn a_command_can_have_a_terminal() {
    let Some(place) = sleeping("a_command_can_have_a_terminal") else { return };
    let running = place.run_with(nothing());
    let mut process = place.config["process"].clone();
    process["args"] = json!(["sh", "-c", "tty; stty size; read line; echo got $line"]);
    process["terminal"] = json!(true);
    process["consoleSize"] = json!({"height": 11, "width": 22});
    let mut process = exec(&running.exec_target(), &place.process_json(&process), "tty", Stdio::Console)
        .unwrap_or_else(|error| panic!("{}", chain(&error)));
    let console = process.take_console().expect("there is a terminal");
    assert_eq!(read_until(console.as_fd(), "11 22\r\n"), "/dev/pts/0\r\n11 22\r\n");
    write(console.as_fd(), "words\n");
    read_until(console.as_fd(), "got words\r\n");
    assert_eq!(wait(process.pidfd()).exit_status(), Some(0));
    assert!(process.remove_cgroup().expect("removed"));
    place.stop(&running);
}

/// What a shim that has been replaced would have: pid, bundle and cgroup.
#[test]
fn a_container_is_found_by_its_pid_bundle_and_cgroup() {
    let Some(place) = sleeping("a_container_is_found_by_its_pid_bundle_and_cgroup") else { return };
    let running = place.run_with(nothing());
    let pid = rustix::process::Pid::from_raw(running.pid()).expect("positive");
    let pidfd = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).expect("opened");
    let target = ExecTarget { pidfd: pidfd.as_fd(), bundle: &place.path("bundle"), cgroup: &place.cgroup };
    let (stdio, streams) = pipes();
    let process = exec(&target, &place.process(&["echo", "found"]), "again", stdio).unwrap_or_else(|error| panic!("{}", chain(&error)));
    assert_eq!(finish(process.pidfd(), streams).output, "found\n");
    assert!(exec(&target, &place.process(&["true"]), "a/../../b", nothing()).is_err(), "an id is one name");
    assert!(exec(&target, Path::new("/no/such.json"), "x", nothing()).is_err());
    assert!(process.remove_cgroup().expect("removed"));
    place.stop(&running);
}
