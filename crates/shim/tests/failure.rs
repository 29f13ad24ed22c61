//! A creation that fails at any step says where, and leaves nothing.

mod support;

use std::{fs, os::unix::fs::symlink};

use serde_json::{Value, json};
use shim::container::{CreateContainer, CreateContainerError, Rootfs, StartContainerError, create};
use support::{Place, chain, nothing, open_fds, pipes, place, wait};

/// Applies the change, expects this error, and that nothing is left.
fn check(place: &mut Place, change: impl FnOnce(&mut Place), expected: &str) {
    let before = place.config.clone();
    change(place);
    let error = chain(&place.create_with(nothing()).map(|_| ()).expect_err(expected));
    assert!(error.starts_with(expected), "{error:?} does not start with {expected:?}");
    place.config = before;
    place.assert_nothing_left();
}

#[test]
fn missing_commands_are_told_before_the_start() {
    let Some(mut place) = place("missing_commands_are_told_before_the_start") else { return };
    fs::write(place.path("lower/etc/text"), "no program").expect("written");
    for (command, text) in [
        ("tapp", "exec: \"tapp\": executable file not found in $PATH"),
        ("/no/such", "exec: \"/no/such\": stat /no/such: no such file or directory"),
        ("/etc/text", "exec: \"/etc/text\": permission denied"),
        ("/etc", "exec: \"/etc\": is a directory"),
        ("bin/no", "exec: \"bin/no\": stat bin/no: no such file or directory"),
    ] {
        place.arguments(&[command]);
        let error = place.create_with(nothing()).map(|_| ()).expect_err("no such command");
        assert!(matches!(&error, CreateContainerError::Command(_)), "{error:?}");
        assert_eq!(error.to_string(), text);
        place.assert_nothing_left();
    }
    // With the capability to pass over permissions, as in the reference, the check would pass.
    place.set("/process/capabilities", json!({}));
    place.set("/process/user", json!({"uid": 1000, "gid": 1000})).arguments(&["/root/secret"]);
    use std::os::unix::fs::PermissionsExt as _;
    fs::create_dir_all(place.path("lower/root")).expect("made");
    fs::set_permissions(place.path("lower/root"), fs::Permissions::from_mode(0o700)).expect("set");
    let error = place.create_with(nothing()).map(|_| ()).expect_err("not for this user");
    assert_eq!(error.to_string(), "exec: \"/root/secret\": stat /root/secret: permission denied");
    place.assert_nothing_left();
}

#[test]
fn what_execve_refuses_is_told_by_the_start() {
    let Some(mut place) = place("what_execve_refuses_is_told_by_the_start") else { return };
    use std::os::unix::fs::PermissionsExt as _;
    for (content, text) in
        [("no program\0", "exec /program: exec format error"), ("#!/no/interpreter\n", "exec /program: no such file or directory")]
    {
        fs::write(place.path("lower/program"), content).expect("written");
        fs::set_permissions(place.path("lower/program"), fs::Permissions::from_mode(0o755)).expect("set");
        place.arguments(&["/program"]);
        let created = place.create_with(nothing()).unwrap_or_else(|error| panic!("{}", chain(&error)));
        let error = created.start().map(|_| ()).expect_err("not executable");
        assert!(matches!(&error, StartContainerError::Command(_)), "{error:?}");
        assert_eq!(error.to_string(), text);
        place.assert_nothing_left();
    }
}

#[test]
fn malformed_and_unsupported_bundles_are_refused_with_the_field() {
    let Some(mut place) = place("malformed_and_unsupported_bundles_are_refused_with_the_field") else { return };
    let unsupported = |field: &str| format!("read bundle: {field}: is not supported by this runtime; leave it out");
    check(
        &mut place,
        |place| {
            place.set("/hooks", json!({"prestart": [{"path": "/bin/true"}]}));
        },
        &unsupported("hooks"),
    );
    check(
        &mut place,
        |place| {
            place.set("/process/args", json!([]));
        },
        "read bundle: process.args: must name a command",
    );
    check(
        &mut place,
        |place| {
            place.set("/process/cwd", json!("relative"));
        },
        "read bundle: process.cwd: must be an absolute path",
    );
    check(
        &mut place,
        |place| {
            place.set("/process/args", json!(["a\0b"]));
        },
        "read bundle: process.args[0]: must not contain a NUL byte",
    );
    check(
        &mut place,
        |place| {
            place.set("/process/env", json!(["A=1", "B"]));
        },
        "read bundle: process.env[1]: must be of the form NAME=value",
    );
    check(
        &mut place,
        |place| {
            place.set("/process/user", json!({"uid": u32::MAX, "gid": 0}));
        },
        "read bundle: process.user: 4294967295 is not an id",
    );
    check(
        &mut place,
        |place| {
            place.set("/process/capabilities/bounding", json!(["CAP_NO"]));
        },
        "read bundle: config.json: ",
    );
    check(
        &mut place,
        |place| {
            place.set("/linux/namespaces", json!([{"type": "pid"}]));
        },
        "read bundle: linux.namespaces: a mount namespace is needed",
    );
    check(
        &mut place,
        |place| {
            place.add("/linux/namespaces", json!({"type": "user"}));
        },
        "read bundle: linux.namespaces: user namespaces are not",
    );
    check(
        &mut place,
        |place| {
            place.set("/linux/sysctl", json!({"kernel.panic": "1"}));
        },
        "read bundle: linux.sysctl.kernel.panic: belongs to the whole machine",
    );
    check(
        &mut place,
        |place| {
            place.set("/linux/seccomp", json!({"defaultAction": "SCMP_ACT_NOTIFY"}));
        },
        "read bundle: linux.seccomp: SCMP_ACT_NOTIFY",
    );
    place.set("/process/apparmorProfile", json!("missing"));
    // Where the security module is on, it knows of the profile only when the program is to be executed.
    match place.create_with(nothing()) {
        Err(error) => assert!(chain(&error).starts_with("apply process.apparmorProfile or process.selinuxLabel"), "{}", chain(&error)),
        Ok(created) => {
            let error = chain(&created.start().map(|_| ()).expect_err("no such profile"));
            assert!(error.starts_with("set security label exec missing"), "{error}");
        }
    }
    place.config["process"].as_object_mut().expect("object").remove("apparmorProfile");
    check(
        &mut place,
        |place| {
            place.set("/process", Value::Null);
        },
        "read bundle: process: is missing",
    );
    fs::write(place.path("bundle/config.json"), "{").expect("written");
    let bundle = place.path("bundle");
    let request = CreateContainer { id: "test", bundle: &bundle, rootfs: &place.overlay(), cgroup: &place.cgroup };
    let error = chain(&create(&request, nothing()).expect_err("no JSON"));
    assert!(error.starts_with("read bundle: config.json: EOF while parsing"), "{error}");
    fs::remove_file(place.path("bundle/config.json")).expect("removed");
    let error = chain(&create(&request, nothing()).expect_err("no file"));
    assert!(error.starts_with("open ") && error.ends_with("config.json: No such file or directory (os error 2)"), "{error}");
    place.assert_nothing_left();
}

#[test]
fn every_failing_step_is_named_and_leaves_nothing() {
    let Some(mut place) = place("every_failing_step_is_named_and_leaves_nothing") else { return };
    let add = |mount: Value| {
        move |place: &mut Place| {
            place.add("/mounts", mount);
        }
    };
    check(
        &mut place,
        |place| {
            place.add("/linux/namespaces", json!({"type": "network", "path": "/no/ns"}));
        },
        "open namespace /no/ns: No such file",
    );
    check(
        &mut place,
        |place| {
            place.add("/linux/namespaces", json!({"type": "network", "path": "/proc/self/ns/uts"}));
        },
        "join namespace /proc/self/ns/uts: Invalid argument",
    );
    check(
        &mut place,
        add(json!({"destination": "/x", "source": "/no/source", "options": ["bind"]})),
        "open mount source /no/source: No such file",
    );
    check(&mut place, add(json!({"destination": "/x", "type": "nofs", "source": "x"})), "open file system nofs: No such device");
    check(
        &mut place,
        add(json!({"destination": "/x", "type": "tmpfs", "options": ["size=much"]})),
        "set mount option of tmpfs: size: Invalid argument",
    );
    check(&mut place, add(json!({"destination": "/bin/busybox/x", "type": "tmpfs"})), "open mount target /bin/busybox/x: Not a directory");
    check(
        &mut place,
        |place| {
            place.set("/process/cwd", json!("/bin/busybox"));
        },
        "enter process.cwd /bin/busybox: Not a directory",
    );
    check(
        &mut place,
        |place| {
            place.set("/process/rlimits", json!([{"type": "RLIMIT_CORE", "hard": 1, "soft": 2}]));
        },
        "set limit RLIMIT_CORE: Invalid argument",
    );
    check(
        &mut place,
        |place| {
            place.set("/linux/resources/cpu", json!({"cpus": "9999"}));
        },
        "write \"9999\" to",
    );
    check(
        &mut place,
        |place| {
            place.set("/linux/devices", json!([{"path": "/proc/x", "type": "c", "major": 1, "minor": 3}]));
        },
        "make device /proc/x",
    );
    symlink("loop", place.path("lower/loop")).expect("linked");
    check(
        &mut place,
        add(json!({"destination": "/loop/x", "type": "tmpfs"})),
        "open mount target /loop/x: Too many levels of symbolic links",
    );
    place.bundle();
    let bundle = place.path("bundle");
    for (rootfs, expected) in [
        (Rootfs::Path("/no/root".into()), "open mount source /no/root: No such file"),
        (
            Rootfs::Overlay { lower: vec!["/no/lower".into()], upper: place.path("upper"), work: place.path("work") },
            "set overlay's lowerdir+ /no/lower: No such file",
        ),
        (Rootfs::Overlay { lower: vec![place.path("lower")], upper: "/proc".into(), work: place.path("work") }, "mount overlay"),
        (Rootfs::Overlay { lower: vec![], upper: place.path("upper"), work: place.path("work") }, "read bundle: rootfs: an overlay needs"),
    ] {
        let request = CreateContainer { id: "test", bundle: &bundle, rootfs: &rootfs, cgroup: &place.cgroup };
        let error = chain(&create(&request, nothing()).map(|_| ()).expect_err(expected));
        let old_kernel = "open layer /no/lower: No such file";
        assert!(error.starts_with(expected) || error.starts_with(old_kernel), "{error:?} does not start with {expected:?}");
        place.assert_nothing_left();
    }
}

#[test]
fn after_a_failure_the_same_directories_can_be_used_again() {
    let Some(mut place) = place("after_a_failure_the_same_directories_can_be_used_again") else { return };
    place.arguments(&["/no/such"]);
    place.create_with(nothing()).map(|_| ()).expect_err("no such command");
    place.arguments(&["true"]);
    assert_eq!(place.run().code, Some(0));
    place.assert_nothing_left();
}

#[test]
fn two_hundred_containers_in_a_row_leave_nothing() {
    let Some(mut place) = place("two_hundred_containers_in_a_row_leave_nothing") else { return };
    let fds = open_fds();
    for index in 0..200 {
        match index % 4 {
            0 => assert_eq!(
                place.arguments(&["/no/such"]).create_with(nothing()).map(|_| ()).map_err(|error| chain(&error).is_empty()),
                Err(false)
            ),
            1 => drop(place.arguments(&["true"]).create_with(nothing()).unwrap_or_else(|error| panic!("{}", chain(&error)))),
            _ => {
                let (stdio, streams) = pipes();
                let running = place.arguments(&["true"]).run_with(stdio);
                assert_eq!(wait(running.pidfd()).exit_status(), Some(0));
                place.cgroup().remove().expect("removed");
                drop(streams);
            }
        }
        assert_eq!(open_fds(), fds, "after container {index}");
    }
    place.assert_nothing_left();
}
