//! What a hostile image or process cannot do.

mod support;

use std::{collections::HashSet, fs, os::unix::fs::symlink, path::Path};

use serde_json::json;
use shim::seccomp::runtime_default;
use support::{chain, controller_directory, nothing, place, wait};

#[test]
fn masked_and_read_only_paths_cannot_be_used() {
    let Some(mut place) = place("masked_and_read_only_paths_cannot_be_used") else { return };
    place
        .add("/linux/maskedPaths", json!("/secret/file"))
        .add("/linux/maskedPaths", json!("/secret/dir"))
        .add("/linux/maskedPaths", json!("/bin/sh/x"));
    place.add("/linux/maskedPaths", json!("/secret/other")).add("/linux/maskedPaths", json!("/secret/dir2"));
    for directory in ["dir", "dir2"] {
        fs::create_dir_all(place.path("lower/secret").join(directory)).expect("made");
        fs::write(place.path("lower/secret").join(directory).join("x"), "x").expect("written");
    }
    fs::write(place.path("lower/secret/file"), "x").expect("written");
    fs::write(place.path("lower/secret/other"), "x").expect("written");
    let output = place.output(
        "cat /secret/file /secret/other; ls /secret/dir /secret/dir2; touch /secret/dir/new 2>/dev/null || echo read-only; \
         wc -c < /proc/timer_list; \
         for file in /proc/sys/kernel/core_pattern /proc/sysrq-trigger /proc/sys/kernel/panic /proc/irq/default_smp_affinity; do \
         [ -e $file ] && sh -c \"echo 0 > $file\" 2>/dev/null && echo written $file; done; \
         umount /proc/sys 2>/dev/null && echo uncovered; echo end",
    );
    assert_eq!(output, "/secret/dir:\n\n/secret/dir2:\nread-only\n0\nend\n");
    place.assert_nothing_left();
}

#[test]
fn the_container_cannot_raise_its_own_limits() {
    let Some(mut place) = place("the_container_cannot_raise_its_own_limits") else { return };
    let output = place.output(
        "cd /sys/fs/cgroup; for file in memory/memory.limit_in_bytes memory.max; do [ -e $file ] || continue; cat $file; \
         sh -c \"echo 999997440 > $file\" 2>&1 | grep -o 'Read-only file system'; cat $file; done; mkdir new memory/new 2>/dev/null && echo made; \
         cut -d: -f3 /proc/self/cgroup | grep container; echo end",
    );
    // The unlimited hierarchies show where the tests themselves are.
    assert_eq!(output, "268435456\nRead-only file system\n268435456\nend\n");
    place.assert_nothing_left();
}

#[test]
fn devices_of_the_host_do_not_open_even_with_a_node_of_ones_own() {
    let Some(mut place) = place("devices_of_the_host_do_not_open_even_with_a_node_of_ones_own") else { return };
    // kmsg and mem are character devices that any machine has.
    let script = "mkdir /nodes; cd /nodes; mknod kmsg c 1 11 && mknod mem c 1 1 && mknod disk b 7 0 && mknod null c 1 3 || echo cannot make; \
         for node in kmsg mem disk; do head -c 1 $node 2>&1 | grep -o 'Operation not permitted'; done; cat null && echo null opens";
    assert_eq!(place.output(script), "Operation not permitted\nOperation not permitted\nOperation not permitted\nnull opens\n");
    // A device that anybody may open, once the rules allow it.
    place.add("/linux/resources/devices", json!({"allow": true, "type": "c", "major": 10, "minor": 229, "access": "r"}));
    let output = place.output("mknod /fuse c 10 229; (: < /fuse) && echo opens; (: > /fuse) 2>/dev/null || echo not for writing");
    assert_eq!(output, "opens\nnot for writing\n");
    place.assert_nothing_left();
}

#[test]
fn mounts_and_namespaces_are_refused() {
    let Some(mut place) = place("mounts_and_namespaces_are_refused") else { return };
    let script = "mount -t tmpfs x /tmp 2>/dev/null && echo mounted; mount -o remount,rw /sys 2>/dev/null && echo remounted; \
         unshare -m true 2>/dev/null && echo unshared; umount /sys 2>/dev/null && echo unmounted; hostname x 2>/dev/null && echo renamed; echo end";
    assert_eq!(place.output(script), "end\n", "by capabilities");
    place.set("/linux/seccomp", json!(runtime_default(&HashSet::new())));
    assert_eq!(place.output(script), "end\n", "by the filter");
    place.assert_nothing_left();
}

#[test]
fn the_hosts_processes_are_not_seen_and_not_reached() {
    let Some(mut place) = place("the_hosts_processes_are_not_seen_and_not_reached") else { return };
    let own = std::process::id();
    let output = place.output(&format!(
        "ls /proc | grep -c '^{own}$'; kill -0 {own} 2>/dev/null && echo reached; ls -l /proc/1/cwd /proc/1/root | grep -o -- '-> .*'"
    ));
    assert_eq!(output, "0\n-> /\n-> /\n");
    place.assert_nothing_left();
}

#[test]
fn links_in_the_image_do_not_lead_mounts_out_of_the_root() {
    let Some(mut place) = place("links_in_the_image_do_not_lead_mounts_out_of_the_root") else { return };
    let lower = place.path("lower");
    let host = place.path("host");
    fs::create_dir(&host).expect("made");
    fs::write(place.path("content"), "content").expect("written");
    symlink(&host, lower.join("absolute")).expect("linked");
    symlink("../../../../../../../../../../../..", lower.join("up")).expect("linked");
    symlink("../../../dev-of-the-host", lower.join("dev")).expect("linked");
    symlink("/nowhere/dangling", lower.join("dangling")).expect("linked");
    let targets =
        ["/absolute/made".to_owned(), format!("/up{}/made", host.display()), "/dangling/made".to_owned(), "/../../../outside".to_owned()];
    for target in &targets {
        place.add("/mounts", json!({"destination": target, "source": place.path("content").to_str(), "options": ["bind"]}));
    }
    let output = place.output(&format!(
        "cat {}; echo; cat /nowhere/dangling/made /outside; echo; echo x > /dev/null; stat -c %F /dev-of-the-host/null; readlink /dev",
        targets.join(" ")
    ));
    assert_eq!(output, "contentcontentcontentcontent\ncontentcontent\ncharacter special file\n../../../dev-of-the-host\n");
    assert_eq!(fs::read_dir(&host).expect("listed").count(), 0, "nothing was made on the host");
    assert!(!Path::new("/dev-of-the-host").exists() && !Path::new("/outside").exists());
    place.assert_nothing_left();
}

#[test]
fn proc_and_sys_are_not_mounted_through_links() {
    for (name, target) in [("proc", "/etc"), ("sys", "tmp")] {
        let Some(place) = place("proc_and_sys_are_not_mounted_through_links") else { return };
        let _ = fs::remove_dir(place.path("lower").join(name));
        symlink(target, place.path("lower").join(name)).expect("linked");
        let error = chain(&place.create_with(nothing()).expect_err("a link"));
        assert!(error.contains(&format!("open ordinary directory (not a symbolic link) /{name}")), "{error}");
        place.assert_nothing_left();
    }
}

#[test]
fn masks_do_not_trust_the_images_null_device() {
    let Some(mut place) = place("masks_do_not_trust_the_images_null_device") else { return };
    // The image's /dev is its own: nothing is mounted there.
    let mounts = place.config["mounts"].as_array_mut().expect("list");
    mounts.retain(|mount| !mount["destination"].as_str().expect("text").starts_with("/dev"));
    fs::create_dir(place.path("lower/dev")).expect("made");
    symlink("/proc/sys/kernel/core_pattern", place.path("lower/dev/null")).expect("linked");
    fs::write(place.path("lower/etc/hidden"), "x").expect("written");
    place.set("/linux/maskedPaths", json!(["/etc/hidden"]));
    assert_eq!(place.output("stat -c '%F %t:%T' /etc/hidden"), "character special file 1:3\n");
    place.assert_nothing_left();
}

#[test]
fn the_working_directory_cannot_be_a_descriptor_of_the_runtime() {
    let Some(mut place) = place("the_working_directory_cannot_be_a_descriptor_of_the_runtime") else { return };
    for number in 3..20 {
        place.set("/process/cwd", json!(format!("/proc/self/fd/{number}")));
        let error = place.create_with(nothing()).map(|_| ()).map_err(|error| chain(&error));
        assert!(error.is_err(), "descriptor {number}");
    }
    place.assert_nothing_left();
}

#[test]
fn no_descriptor_of_the_host_is_left_open() {
    let Some(mut place) = place("no_descriptor_of_the_host_is_left_open") else { return };
    // One that is not closed by execve by itself.
    let leak = fs::File::open("/etc").expect("opened");
    rustix::io::fcntl_setfd(&leak, rustix::io::FdFlags::empty()).expect("set");
    place.arguments(&["sleep", "1000"]);
    let running = place.run_with(nothing());
    let mut open: Vec<_> =
        fs::read_dir(format!("/proc/{}/fd", running.pid())).expect("listed").flatten().map(|entry| entry.file_name()).collect();
    open.sort_unstable();
    assert_eq!(open, ["0", "1", "2"]);
    place.stop(&running);
    drop((running, leak));
    place.assert_nothing_left();
}

#[test]
fn containers_die_with_the_process_that_made_them() {
    let Some(mut place) = place("containers_die_with_the_process_that_made_them") else { return };
    place.arguments(&["sleep", "1000"]);
    // The thread that forked is what the kernel takes for the parent.
    let cgroup = place.cgroup();
    let running = std::thread::scope(|scope| scope.spawn(|| place.run_with(nothing())).join().expect("ran"));
    assert_eq!(wait(running.pidfd()).terminating_signal(), Some(libc::SIGKILL));
    cgroup.remove().expect("removed");
}

#[test]
fn only_hierarchies_of_the_container_are_shown() {
    let Some(mut place) = place("only_hierarchies_of_the_container_are_shown") else { return };
    let Some(memory) = controller_directory(Path::new(""), "memory") else { return };
    if memory.ends_with("memory") {
        let shown = place.output("ls /sys/fs/cgroup | tr '\\n' ' '; grep ' /sys/fs/cgroup/memory ' /proc/self/mountinfo | cut -d' ' -f4,6");
        assert!(shown.contains("memory ") && !shown.contains("systemd"), "{shown}");
        if Path::new("/sys/fs/cgroup/cpu,cpuacct").exists() {
            assert_eq!(place.output("cat /sys/fs/cgroup/cpu/cpu.shares; readlink /sys/fs/cgroup/cpuacct"), "128\ncpu,cpuacct\n");
        }
        assert!(shown.ends_with("/ ro,nosuid,nodev,noexec,relatime\n"), "{shown}");
    } else {
        assert!(place.output("ls /sys/fs/cgroup").contains("memory.max"));
    }
    place.assert_nothing_left();
}

/// What a container could do to the file of the program that becomes it.
#[test]
fn a_program_executed_from_its_read_only_mount_cannot_be_overwritten() {
    let test = "a_program_executed_from_its_read_only_mount_cannot_be_overwritten";
    let Some(place) = place(test) else { return };
    let own = std::env::current_exe().expect("known");
    let sealed = shim::container::read_only_executable().unwrap_or_else(|error| panic!("{}", chain(&error)));
    let sealed_path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&sealed));
    for (program, is_sealed) in [(own.to_str().expect("text"), false), (sealed_path.as_str(), true)] {
        // It would list its tests and end, but the pipe is full.
        let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC | rustix::pipe::PipeFlags::NONBLOCK).expect("pipe");
        while rustix::io::write(&write, &[0; 4096]).is_ok() {}
        rustix::fs::fcntl_setfl(&write, rustix::fs::OFlags::empty()).expect("set");
        let mut child =
            std::process::Command::new(program).arg("--list").stdout(write).stderr(std::process::Stdio::null()).spawn().expect("executed");
        let link = format!("/proc/{}/exe", child.id());
        let mount = rustix::fs::statvfs(link.as_str()).expect("looked at");
        assert_eq!(mount.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY), is_sealed, "{program}");
        child.kill().expect("killed");
        child.wait().expect("reaped");
        drop(read);
    }
    drop(sealed);
    place.assert_nothing_left();
}
