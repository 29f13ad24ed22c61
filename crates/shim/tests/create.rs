//! Containers are what their bundles say.

mod support;

use std::{collections::HashSet, fs};

use oci_spec::runtime::Capability;
use rustix::mount::{MountPropagationFlags, mount_change};
use serde_json::json;
use shim::{
    container::{CreateContainer, Rootfs, create},
    seccomp::runtime_default,
};
use support::{Outcome, chain, nothing, pipes, place, read_until, wait, write};

#[test]
fn the_exit_code_is_the_commands() {
    let Some(mut place) = place("the_exit_code_is_the_commands") else { return };
    for (arguments, code) in [(vec!["true"], 0), (vec!["/bin/false"], 1), (vec!["sh", "-c", "exit 42"], 42)] {
        place.arguments(&arguments);
        let Outcome { code: actual, signal, .. } = place.run();
        assert_eq!((actual, signal), (Some(code), None), "{arguments:?}");
    }
    place.script("kill -TERM $$; kill -KILL $$");
    assert_eq!(place.run().code, Some(0), "PID 1 is deaf to signals that it does not handle, as on any machine");
    place.assert_nothing_left();
}

#[test]
fn the_command_is_process_one_and_leads_a_session() {
    let Some(mut place) = place("the_command_is_process_one_and_leads_a_session") else { return };
    assert_eq!(place.output("echo $$; cut -d' ' -f4-7 /proc/self/stat; ls -d /proc/[0-9]*"), "1\n1 1 1 0\n/proc/1\n");
    place.assert_nothing_left();
}

#[test]
fn environment_directory_and_streams_are_as_given() {
    let Some(mut place) = place("environment_directory_and_streams_are_as_given") else { return };
    place.set("/process/cwd", json!("/made/on/the/way"));
    place.set("/process/env", json!(["A=1", "B=two words", "PATH=/bin", "A=3"]));
    place.script("pwd; env | sort; umask; cat; echo to stderr >&2; ls /proc/self/fd | tr '\\n' ' '");
    let (stdio, mut streams) = pipes();
    let running = place.run_with(stdio);
    write(std::os::fd::AsFd::as_fd(streams.stdin.as_ref().expect("open")), "from stdin\n");
    drop(streams.stdin.take());
    let outcome = support::finish(running.pidfd(), streams);
    let expected = "/made/on/the/way\nA=3\nB=two words\nHOME=/root\nPATH=/bin\nPWD=/made/on/the/way\nSHLVL=1\n0022\nfrom stdin\n";
    // The fourth is the directory that `ls` reads.
    assert_eq!(outcome.output, format!("{expected}0 1 2 3 "));
    assert_eq!(outcome.errors, "to stderr\n");
    drop(running);
    place.cgroup().remove().expect("removed");
    place.assert_nothing_left();
}

#[test]
fn the_user_has_its_groups_home_and_streams() {
    let Some(mut place) = place("the_user_has_its_groups_home_and_streams") else { return };
    place.set("/process/user", json!({"uid": 1000, "gid": 1001, "additionalGids": [5, 2000], "umask": 63}));
    let output = place
        .output("id -u; id -g; grep Groups: /proc/self/status; echo $HOME; umask; echo opened > /proc/self/fd/1; echo also > /dev/stdout");
    assert_eq!(output, "1000\n1001\nGroups:\t5 2000 \n/home/user\n0077\nopened\nalso\n");
    place.set("/process/user", json!({"uid": 4321, "gid": 0}));
    assert_eq!(place.output("echo $HOME; grep -E 'Cap(Prm|Eff|Amb)' /proc/self/status | cut -f2 | sort -u"), "/\n0000000000000000\n");
    place.assert_nothing_left();
}

#[test]
fn capabilities_are_exactly_those_granted() {
    let Some(mut place) = place("capabilities_are_exactly_those_granted") else { return };
    let show = "grep -E '^(Cap|NoNewPrivs|Seccomp:)' /proc/self/status";
    assert_eq!(
        place.output(show),
        "CapInh:\t0000000000000000\nCapPrm:\t00000000880425fb\nCapEff:\t00000000880425fb\nCapBnd:\t00000000880425fb\n\
         CapAmb:\t0000000000000000\nNoNewPrivs:\t1\nSeccomp:\t0\n"
    );
    let ambient = ["CAP_NET_BIND_SERVICE", "CAP_KILL"];
    place.set("/process/user", json!({"uid": 1000, "gid": 1000}));
    place.set(
        "/process/capabilities",
        json!({"bounding": ambient, "effective": ambient, "permitted": ambient, "inheritable": ambient, "ambient": ["CAP_KILL"]}),
    );
    assert_eq!(
        place.output(show),
        "CapInh:\t0000000000000420\nCapPrm:\t0000000000000020\nCapEff:\t0000000000000020\nCapBnd:\t0000000000000420\n\
         CapAmb:\t0000000000000020\nNoNewPrivs:\t1\nSeccomp:\t0\n"
    );
    place.config["process"].as_object_mut().expect("object").remove("capabilities");
    place.set("/process/user", json!({"uid": 0, "gid": 0}));
    assert_eq!(place.output("grep Cap /proc/self/status | cut -f2 | sort -u"), "0000000000000000\n");
    place.assert_nothing_left();
}

#[test]
fn the_system_call_filter_is_on_with_and_without_no_new_privileges() {
    let Some(mut place) = place("the_system_call_filter_is_on_with_and_without_no_new_privileges") else { return };
    place.set("/linux/seccomp", json!(runtime_default(&HashSet::from([Capability::Chown]))));
    for no_new_privileges in [true, false] {
        place.set("/process/noNewPrivileges", json!(no_new_privileges));
        let output =
            place.output("grep -E '^(NoNewPrivs|Seccomp:|CapEff)' /proc/self/status; unshare -n true 2>&1; chroot / true 2>&1; echo $?");
        let expected = format!(
            "CapEff:\t00000000880425fb\nNoNewPrivs:\t{}\nSeccomp:\t2\nunshare: unshare(0x40000000): Operation not permitted\n\
             chroot: can't change root directory to '/': Operation not permitted\n1\n",
            i32::from(no_new_privileges)
        );
        assert_eq!(output, expected, "CAP_SYS_CHROOT alone does not open chroot: the filter was made without it");
    }
    place.set("/process/user", json!({"uid": 1000, "gid": 1000}));
    let output = place.output("grep -E '^(Seccomp:|CapEff)' /proc/self/status");
    assert_eq!(output, "CapEff:\t0000000000000000\nSeccomp:\t2\n");
    place.assert_nothing_left();
}

#[test]
fn limits_are_set_and_clamped_where_this_machine_grants_less() {
    let Some(mut place) = place("limits_are_set_and_clamped_where_this_machine_grants_less") else { return };
    let most = rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum.unwrap_or(u64::MAX);
    place.set(
        "/process/rlimits",
        json!([{"type": "RLIMIT_NOFILE", "hard": 100, "soft": 50}, {"type": "RLIMIT_CORE", "hard": u64::MAX, "soft": 0}]),
    );
    place.set("/process/oomScoreAdj", json!(500));
    assert_eq!(place.output("ulimit -Hn; ulimit -Sn; cat /proc/self/oom_score_adj"), "100\n50\n500\n");
    place.set("/process/rlimits", json!([{"type": "RLIMIT_NOFILE", "hard": most + 1, "soft": 64}]));
    place.set("/process/oomScoreAdj", json!(-999));
    place.script("ulimit -Sn");
    let created = place.create_with(nothing()).unwrap_or_else(|error| panic!("{}", chain(&error)));
    let privileged = rustix::thread::capabilities(None).expect("read").effective.contains(rustix::thread::CapabilitySet::SYS_RESOURCE);
    if !privileged {
        let clamped = created.clamped().join("\n");
        assert!(clamped.contains("RLIMIT_NOFILE") && clamped.contains("oomScoreAdj -999"), "{clamped}");
    }
    let running = created.start().expect("started");
    assert_eq!(wait(running.pidfd()).exit_status(), Some(0));
    drop(running);
    place.cgroup().remove().expect("removed");
    place.assert_nothing_left();
}

#[test]
fn capabilities_that_the_runtime_lacks_are_reported() {
    let Some(mut place) = place("capabilities_that_the_runtime_lacks_are_reported") else { return };
    let own = rustix::thread::capabilities(None).expect("read").permitted;
    for set in ["bounding", "effective", "permitted"] {
        place.add(&format!("/process/capabilities/{set}"), json!("CAP_SYS_RESOURCE"));
    }
    let created = place.create_with(nothing()).unwrap_or_else(|error| panic!("{}", chain(&error)));
    let lacks = !own.contains(rustix::thread::CapabilitySet::SYS_RESOURCE);
    assert_eq!(created.clamped().iter().any(|phrase| phrase.contains("SYS_RESOURCE")), lacks);
    drop(created);
    place.assert_nothing_left();
}

#[test]
fn mounts_have_their_options() {
    let Some(mut place) = place("mounts_have_their_options") else { return };
    for (name, text) in [("shared/file", "content"), ("single", "one file")] {
        let path = place.path(name);
        fs::create_dir_all(path.parent().expect("has a parent")).expect("made");
        fs::write(path, text).expect("written");
    }
    let source = |name: &str| place.path(name).to_str().expect("text").to_owned();
    let binds = [
        json!({"destination": "/ro", "type": "bind", "source": source("shared"), "options": ["rbind", "ro", "nosuid", "nodev"]}),
        json!({"destination": "/rw/deep/dir", "type": "bind", "source": source("shared"), "options": ["rbind", "rprivate", "rw", "noexec"]}),
        json!({"destination": "/etc/some/single", "source": source("single"), "options": ["bind", "rro"]}),
        json!({"destination": "/scratch", "type": "tmpfs", "source": "tmpfs", "options": ["size=64k", "mode=1700", "noexec"]}),
    ];
    for bind in binds {
        place.add("/mounts", bind);
    }
    let output = place.output(
        "cat /ro/file /etc/some/single; echo; echo x 2>/dev/null > /ro/file || echo ro; echo changed > /rw/deep/dir/file; \
         echo x 2>/dev/null > /etc/some/single || echo rro; stat -c %a /scratch; \
         grep -E ' /(ro|rw/deep/dir|scratch) ' /proc/self/mountinfo | cut -d' ' -f5,6,7",
    );
    assert_eq!(
        output,
        "contentone file\nro\nrro\n1700\n/ro ro,nosuid,nodev,relatime -\n/rw/deep/dir rw,noexec,relatime -\n/scratch rw,noexec,relatime -\n"
    );
    assert_eq!(fs::read_to_string(place.path("shared/file")).expect("read"), "changed\n");
    place.assert_nothing_left();
}

#[test]
fn devices_links_and_terminals_are_there() {
    let Some(mut place) = place("devices_links_and_terminals_are_there") else { return };
    place.set("/linux/devices", json!([{"path": "/dev/extra/one", "type": "c", "major": 10, "minor": 229, "fileMode": 432, "gid": 7}]));
    let output = place.output(
        "cd /dev; ls | tr '\\n' ' '; echo; stat -c '%n %t:%T %a %F' null zero full random urandom tty; for link in fd stdin stdout stderr ptmx; do readlink $link; done; \
         stat -c '%t:%T %a %g' extra/one; echo x > null; head -c 3 zero | wc -c; mount | grep -c devpts",
    );
    assert_eq!(
        output,
        "extra fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero \n\
         null 1:3 666 character special file\nzero 1:5 666 character special file\nfull 1:7 666 character special file\n\
         random 1:8 666 character special file\nurandom 1:9 666 character special file\ntty 5:0 666 character special file\n\
         /proc/self/fd\n/proc/self/fd/0\n/proc/self/fd/1\n/proc/self/fd/2\npts/ptmx\na:e5 660 7\n3\n1\n"
    );
    place.assert_nothing_left();
}

#[test]
fn a_terminal_controls_its_session_and_has_the_size_asked_for() {
    let Some(mut place) = place("a_terminal_controls_its_session_and_has_the_size_asked_for") else { return };
    place.set("/process/terminal", json!(true)).set("/process/consoleSize", json!({"height": 33, "width": 99}));
    place.script("tty; stty size; test -c /dev/console && readlink /proc/self/fd/2; echo into it > /dev/tty; echo done");
    let mut created = place.create_with(shim::container::Stdio::Console).unwrap_or_else(|error| panic!("{}", chain(&error)));
    let console = created.take_console().expect("there is a terminal");
    let running = created.start().expect("started");
    let output = read_until(std::os::fd::AsFd::as_fd(&console), "done");
    assert_eq!(output.replace('\r', "").trim_end(), "/dev/pts/0\n33 99\n/dev/pts/0\ninto it\ndone");
    assert_eq!(wait(running.pidfd()).exit_status(), Some(0));
    drop(console);
    place.cgroup().remove().expect("removed");
    drop(running);
    place.assert_nothing_left();
}

#[test]
fn streams_and_terminal_must_agree() {
    let Some(mut place) = place("streams_and_terminal_must_agree") else { return };
    place.set("/process/terminal", json!(true));
    let error = place.create_with(nothing()).expect_err("files for a terminal");
    assert_eq!(error.to_string(), "read bundle: process.terminal: is true, but the streams that were given are files");
    place.set("/process/terminal", json!(false));
    place.create_with(shim::container::Stdio::Console).expect_err("a terminal for files");
    place.assert_nothing_left();
}

#[test]
fn a_prepared_directory_can_be_the_root_and_be_read_only() {
    let Some(mut place) = place("a_prepared_directory_can_be_the_root_and_be_read_only") else { return };
    place.set("/root/readonly", json!(true));
    for directory in ["sys", "dev"] {
        fs::create_dir(place.path("lower").join(directory)).expect("made");
    }
    place.script("echo x 2>/dev/null > /file || echo read-only; echo x > /dev/shm/y && echo but shm; ls /");
    let bundle = place.bundle();
    let (stdio, streams) = pipes();
    let rootfs = Rootfs::Path(place.path("lower"));
    let request = CreateContainer { id: "test", bundle: &bundle, rootfs: &rootfs, cgroup: &place.cgroup };
    let running = create(&request, stdio).unwrap_or_else(|error| panic!("{}", chain(&error))).start().expect("started");
    let outcome = support::finish(running.pidfd(), streams);
    assert_eq!(outcome.output, "read-only\nbut shm\nbin\ndev\netc\nproc\nsys\ntmp\n");
    drop(running);
    place.cgroup().remove().expect("removed");
    place.assert_nothing_left();
}

#[test]
fn the_topmost_layer_of_many_wins() {
    let Some(mut place) = place("the_topmost_layer_of_many_wins") else { return };
    // Together their paths are longer than the page that mount(2) takes.
    let mut lower = Vec::new();
    for index in 0..60 {
        let layer = place.path(&format!("layer-{index}-{}", "x".repeat(100)));
        fs::create_dir_all(layer.join("etc")).expect("made");
        fs::write(layer.join("etc/who"), index.to_string()).expect("written");
        fs::write(layer.join(format!("etc/only-{index}")), "").expect("written");
        lower.push(layer);
    }
    lower.push(place.path("lower"));
    place.script("cat /etc/who; ls /etc | grep -c only");
    let bundle = place.bundle();
    let rootfs = Rootfs::Overlay { lower, upper: place.path("upper"), work: place.path("work") };
    let (stdio, streams) = pipes();
    let request = CreateContainer { id: "test", bundle: &bundle, rootfs: &rootfs, cgroup: &place.cgroup };
    let running = create(&request, stdio).unwrap_or_else(|error| panic!("{}", chain(&error))).start().expect("started");
    assert_eq!(support::finish(running.pidfd(), streams).output, "060\n");
    drop(running);
    place.cgroup().remove().expect("removed");
    place.assert_nothing_left();
}

#[test]
fn a_container_with_new_namespaces_has_its_own_names_and_settings() {
    let Some(mut place) = place("a_container_with_new_namespaces_has_its_own_names_and_settings") else { return };
    let host = fs::read_to_string("/proc/sys/kernel/hostname").expect("read");
    for kind in ["uts", "network", "ipc"] {
        place.add("/linux/namespaces", json!({"type": kind}));
    }
    place
        .set("/hostname", json!("inside"))
        .set("/linux/sysctl", json!({"net.ipv4.ip_unprivileged_port_start": "7", "kernel.shmmni": "99"}));
    let output = place
        .output("hostname; cat /proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/kernel/shmmni; ip link | grep -o 'lo: <[A-Z,_]*>'");
    assert_eq!(output, "inside\n7\n99\nlo: <LOOPBACK,UP,LOWER_UP>\n");
    assert_eq!(fs::read_to_string("/proc/sys/kernel/hostname").expect("read"), host);
    place.assert_nothing_left();
}

#[test]
fn a_pid_namespace_can_be_joined() {
    let Some(mut first) = place("a_pid_namespace_can_be_joined") else { return };
    let Some(mut second) = place("a_pid_namespace_can_be_joined") else { return };
    first.arguments(&["sleep", "1000"]);
    let running = first.run_with(nothing());
    let path = format!("/proc/{}/ns/pid", running.pid());
    second.set("/linux/namespaces", json!([{"type": "mount"}, {"type": "pid", "path": path}]));
    assert_eq!(second.output("echo $$; tr '\\0' ' ' < /proc/1/cmdline"), "2\nsleep 1000 ");
    first.stop(&running);
}

#[test]
fn a_created_container_runs_nothing_until_it_is_started() {
    let Some(mut place) = place("a_created_container_runs_nothing_until_it_is_started") else { return };
    place.script("echo ran > /ran");
    let created = place.create_with(nothing()).unwrap_or_else(|error| panic!("{}", chain(&error)));
    assert!(!place.path("upper/ran").exists());
    drop(created);
    assert!(!place.path("upper/ran").exists());
    place.assert_nothing_left();
    let running = place.run_with(nothing());
    assert_eq!(wait(running.pidfd()).exit_status(), Some(0));
    assert!(place.path("upper/ran").exists());
    drop(running);
    place.cgroup().remove().expect("removed");
    place.assert_nothing_left();
}

/// `HostToContainer` and `Bidirectional` of volumes.
#[test]
fn mounts_propagate_as_asked_and_no_further() {
    let test = "mounts_propagate_as_asked_and_no_further";
    use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_change, unmount};
    let Some(mut place) = place(test) else { return };
    // A host of this thread's own, with shared mounts as a service manager makes them.
    #[expect(deprecated, reason = "the flag changes no memory and no descriptors")]
    rustix::thread::unshare(rustix::thread::UnshareFlags::NEWNS).expect("unshared");
    mount_change("/", MountPropagationFlags::REC | MountPropagationFlags::PRIVATE).expect("private");
    mount_change("/", MountPropagationFlags::REC | MountPropagationFlags::SHARED).expect("shared");
    let volume = place.path("volume");
    fs::create_dir_all(volume.join("from-host")).expect("made");
    fs::create_dir_all(volume.join("from-container")).expect("made");
    mount("volume", &volume, "tmpfs", MountFlags::empty(), None).expect("mounted");
    for directory in ["from-host", "from-container"] {
        fs::create_dir(volume.join(directory)).expect("made");
    }
    let table = || fs::read_to_string("/proc/thread-self/mountinfo").expect("read");
    let before = table().lines().count();
    for (target, option) in [("/private", "rprivate"), ("/slave", "rslave"), ("/shared", "rshared")] {
        place.add("/mounts", json!({"destination": target, "source": volume.to_str(), "options": ["rbind", option]}));
    }
    place.set("/linux/rootfsPropagation", json!("rshared"));
    for set in ["bounding", "effective", "permitted"] {
        place.add(&format!("/process/capabilities/{set}"), json!("CAP_SYS_ADMIN"));
    }
    place.script("mount -t tmpfs inner /shared/from-container && echo x > /shared/from-container/file; sleep 1000");
    let running = place.run_with(nothing());
    support::eventually("the host sees the container's mount", || volume.join("from-container/file").exists());
    assert_eq!(table().lines().count(), before + 1, "and nothing else of the container");
    mount("late", volume.join("from-host"), "tmpfs", MountFlags::empty(), None).expect("mounted");
    fs::write(volume.join("from-host/file"), "").expect("written");
    let seen =
        place.exec(&running, "cd /; ls private/from-host slave/from-host shared/from-host private/from-container slave/from-container");
    assert_eq!(
        seen.output,
        "private/from-container:\n\nprivate/from-host:\n\nshared/from-host:\nfile\n\nslave/from-container:\nfile\n\nslave/from-host:\nfile\n"
    );
    place.stop(&running);
    for mounted in ["from-host", "from-container", ""] {
        unmount(volume.join(mounted), UnmountFlags::DETACH).expect("unmounted");
    }
    drop(running);
    place.assert_nothing_left();
}

#[test]
fn where_the_hosts_mounts_are_shared_it_sees_nothing_of_a_containers() {
    let Some(mut place) = place("where_the_hosts_mounts_are_shared_it_sees_nothing_of_a_containers") else { return };
    // As systemd has them, but in a namespace of the test's own: nothing reaches the real host.
    #[expect(deprecated, reason = "the flag changes no memory and no descriptors")]
    rustix::thread::unshare(rustix::thread::UnshareFlags::NEWNS).expect("unshared");
    for propagation in [MountPropagationFlags::PRIVATE, MountPropagationFlags::SHARED] {
        mount_change("/", MountPropagationFlags::REC | propagation).expect("changed");
    }
    let mounts = || fs::read_to_string("/proc/thread-self/mountinfo").expect("read");
    let before = mounts();
    place.arguments(&["sleep", "1000"]);
    let bundle = place.bundle();
    for rootfs in [place.overlay(), Rootfs::Path(place.path("lower"))] {
        let request = CreateContainer { id: "test", bundle: &bundle, rootfs: &rootfs, cgroup: &place.cgroup };
        let created = create(&request, nothing()).unwrap_or_else(|error| panic!("{rootfs:?}: {}", chain(&error)));
        let running = created.start().unwrap_or_else(|error| panic!("{rootfs:?}: {}", chain(&error)));
        assert_eq!(mounts(), before, "{rootfs:?}");
        place.stop(&running);
    }
    place.assert_nothing_left();
}
