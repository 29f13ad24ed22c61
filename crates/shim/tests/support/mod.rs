//! Bundles around a static busybox, and proofs that nothing is left of them.
#![allow(dead_code, reason = "every test program uses another part of it")]
#![expect(clippy::print_stderr, reason = "skipped tests say so")]

use std::{
    fs::{self, File},
    io::{Read as _, Write as _},
    os::{
        fd::{AsFd as _, BorrowedFd, OwnedFd},
        unix::fs::symlink,
    },
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    pipe::{PipeFlags, pipe_with},
    process::{WaitId, WaitIdOptions, WaitIdStatus, waitid},
};
use serde_json::{Value, json};
use shim::{
    cgroup::{Cgroup, CgroupPath},
    container::{
        CreateContainer, CreateContainerError, CreatedContainer, ExecError, ExecProcess, Rootfs, RunningContainer, Stdio, create, exec,
    },
};

/// A wait in a test ends here at the latest.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A directory with a root file system and a bundle, and a cgroup of its own. Everything goes when it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) directory: tempfile::TempDir,
    pub(crate) cgroup: CgroupPath,
    pub(crate) config: Value,
    fds_before: usize,
}

pub(crate) fn skip(test: &str, why: &str) {
    eprintln!("SKIP {test}: {why}");
}

/// `None`, with a word on stderr, where tests with containers cannot run.
pub(crate) fn place(test: &str) -> Option<Place> {
    if !rustix::process::geteuid().is_root() {
        skip(test, "needs root");
        return None;
    }
    if !Path::new("/bin/busybox").exists() {
        skip(test, "needs /bin/busybox (package busybox-static)");
        return None;
    }
    let directory = tempfile::Builder::new().prefix("usher-core-").tempdir().expect("temporary directory");
    let name = directory.path().file_name().expect("has a name").to_string_lossy().replace('.', "-");
    for sub in ["lower/bin", "lower/etc", "lower/proc", "lower/tmp", "upper", "work", "bundle"] {
        fs::create_dir_all(directory.path().join(sub)).expect("made");
    }
    let lower = directory.path().join("lower");
    fs::copy("/bin/busybox", lower.join("bin/busybox")).expect("copied");
    let list = Command::new("/bin/busybox").arg("--list").output().expect("busybox runs");
    for applet in String::from_utf8_lossy(&list.stdout).lines().filter(|applet| *applet != "busybox") {
        symlink("busybox", lower.join("bin").join(applet)).expect("linked");
    }
    fs::write(lower.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000::/home/user:/bin/sh\n").expect("written");
    Some(Place {
        cgroup: CgroupPath::new(name).expect("valid").join("container").expect("valid"),
        config: config(&["true"]),
        fds_before: open_fds(),
        directory,
    })
}

/// A bundle as a kubelet would have it made.
pub(crate) fn config(arguments: &[&str]) -> Value {
    let capabilities = [
        "CHOWN",
        "DAC_OVERRIDE",
        "FSETID",
        "FOWNER",
        "MKNOD",
        "NET_RAW",
        "SETGID",
        "SETUID",
        "SETFCAP",
        "SETPCAP",
        "NET_BIND_SERVICE",
        "SYS_CHROOT",
        "KILL",
    ]
    .map(|name| format!("CAP_{name}"));
    json!({
        "ociVersion": "1.1.0",
        "root": {"path": "rootfs"},
        "process": {
            "args": arguments,
            "cwd": "/",
            "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
            "user": {"uid": 0, "gid": 0},
            "capabilities": {"bounding": capabilities, "effective": capabilities, "permitted": capabilities},
            "noNewPrivileges": true,
        },
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc", "options": ["nosuid", "noexec", "nodev"]},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]},
            {"destination": "/dev/pts", "type": "devpts", "source": "devpts",
             "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]},
            {"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue", "options": ["nosuid", "noexec", "nodev"]},
            {"destination": "/dev/shm", "type": "tmpfs", "source": "shm", "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]},
            {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "noexec", "nodev", "ro"]},
            {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["nosuid", "noexec", "nodev", "relatime", "ro"]},
        ],
        "linux": {
            "namespaces": [{"type": "pid"}, {"type": "mount"}, {"type": "cgroup"}],
            "resources": {
                "devices": [{"allow": false, "access": "rwm"}],
                "cpu": {"shares": 128},
                "memory": {"limit": 268_435_456},
            },
            "maskedPaths": ["/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/sched_debug", "/proc/scsi", "/sys/firmware"],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
        },
    })
}

/// What a process left behind.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) code: Option<i32>,
    pub(crate) signal: Option<i32>,
    pub(crate) output: String,
    pub(crate) errors: String,
}

/// A process with our ends of its streams.
#[derive(Debug)]
pub(crate) struct Streams {
    pub(crate) stdin: Option<OwnedFd>,
    pub(crate) stdout: OwnedFd,
    pub(crate) stderr: OwnedFd,
}

/// Pipes for a process.
pub(crate) fn pipes() -> (Stdio, Streams) {
    let pipe = || pipe_with(PipeFlags::CLOEXEC).expect("pipe");
    let ((stdin, to), (from, stdout), (errors, stderr)) = (pipe(), pipe(), pipe());
    (Stdio::Files { stdin, stdout, stderr }, Streams { stdin: Some(to), stdout: from, stderr: errors })
}

/// The null device three times.
pub(crate) fn nothing() -> Stdio {
    let open = || File::options().read(true).write(true).open("/dev/null").expect("null device").into();
    Stdio::Files { stdin: open(), stdout: open(), stderr: open() }
}

impl Place {
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Changes the configuration.
    pub(crate) fn set(&mut self, pointer: &str, value: Value) -> &mut Self {
        let (parent, key) = pointer.rsplit_once('/').expect("a pointer");
        self.config.pointer_mut(parent).unwrap_or_else(|| panic!("no {parent}"))[key] = value;
        self
    }

    pub(crate) fn add(&mut self, pointer: &str, value: Value) -> &mut Self {
        self.config.pointer_mut(pointer).and_then(Value::as_array_mut).unwrap_or_else(|| panic!("no list {pointer}")).push(value);
        self
    }

    pub(crate) fn arguments(&mut self, arguments: &[&str]) -> &mut Self {
        self.set("/process/args", json!(arguments))
    }

    /// A script for the shell in the container.
    pub(crate) fn script(&mut self, script: &str) -> &mut Self {
        self.arguments(&["sh", "-c", script])
    }

    pub(crate) fn overlay(&self) -> Rootfs {
        Rootfs::Overlay { lower: vec![self.path("lower")], upper: self.path("upper"), work: self.path("work") }
    }

    pub(crate) fn bundle(&self) -> PathBuf {
        fs::write(self.path("bundle/config.json"), self.config.to_string()).expect("written");
        self.path("bundle")
    }

    pub(crate) fn create_with(&self, stdio: Stdio) -> Result<CreatedContainer, CreateContainerError> {
        let bundle = self.bundle();
        create(&CreateContainer { id: "test", bundle: &bundle, rootfs: &self.overlay(), cgroup: &self.cgroup }, stdio)
    }

    /// Creates and starts.
    pub(crate) fn run_with(&self, stdio: Stdio) -> RunningContainer {
        let created = self.create_with(stdio).unwrap_or_else(|error| panic!("create: {}", chain(&error)));
        created.start().unwrap_or_else(|error| panic!("start: {}", chain(&error)))
    }

    /// Runs the configured container to its end.
    pub(crate) fn run(&self) -> Outcome {
        let (stdio, streams) = pipes();
        let running = self.run_with(stdio);
        let outcome = finish(running.pidfd(), streams);
        self.cgroup().kill_all(PATIENCE).expect("killed");
        self.cgroup().remove().expect("removed");
        outcome
    }

    /// Runs the script and gives what it printed; it must succeed.
    pub(crate) fn output(&mut self, script: &str) -> String {
        self.script(script);
        let outcome = self.run();
        assert_eq!((outcome.code, outcome.errors.as_str()), (Some(0), ""), "{script}: {}", outcome.output);
        outcome.output
    }

    pub(crate) fn cgroup(&self) -> Cgroup {
        Cgroup::open(&self.cgroup).expect("opened")
    }

    /// Writes a process JSON as a kubelet's exec would have it, and gives its path.
    pub(crate) fn process(&self, arguments: &[&str]) -> PathBuf {
        let mut process = self.config["process"].clone();
        process["args"] = json!(arguments);
        self.process_json(&process)
    }

    pub(crate) fn process_json(&self, process: &Value) -> PathBuf {
        let path = self.path("process.json");
        fs::write(&path, process.to_string()).expect("written");
        path
    }

    /// Starts a script in the container.
    pub(crate) fn exec_with(&self, running: &RunningContainer, id: &str, script: &str, stdio: Stdio) -> Result<ExecProcess, ExecError> {
        exec(&running.exec_target(), &self.process(&["sh", "-c", script]), id, stdio)
    }

    /// Runs a script in the container to its end.
    pub(crate) fn exec(&self, running: &RunningContainer, script: &str) -> Outcome {
        let (stdio, streams) = pipes();
        let process = self.exec_with(running, "script", script, stdio).unwrap_or_else(|error| panic!("exec: {}", chain(&error)));
        let outcome = finish(process.pidfd(), streams);
        assert!(process.remove_cgroup().expect("removed"), "cgroup of the command is empty");
        outcome
    }

    /// Ends the container.
    pub(crate) fn stop(&self, running: &RunningContainer) {
        self.cgroup().kill_all(PATIENCE).expect("killed");
        wait(running.pidfd());
        self.cgroup().remove().expect("removed");
    }

    /// Nothing is left: neither cgroups, nor mounts, nor processes, nor descriptors.
    pub(crate) fn assert_nothing_left(&self) {
        let pod = self.cgroup.as_path().parent().expect("has a parent");
        Cgroup::open(&CgroupPath::new(pod).expect("valid")).expect("opened").remove().expect("removed");
        assert_eq!(cgroup_directories(pod), Vec::<PathBuf>::new());
        let mounts = fs::read_to_string("/proc/thread-self/mountinfo").expect("read");
        let own = self.directory.path().to_string_lossy();
        assert_eq!(mounts.lines().find(|line| line.contains(&*own)), None, "mounts");
        let children = waitid(WaitId::All, WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT);
        assert_eq!(children.err(), Some(rustix::io::Errno::CHILD), "no child is left, dead or alive");
        assert_eq!(open_fds(), self.fds_before, "descriptors");
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let pod = CgroupPath::new(self.cgroup.as_path().parent().expect("has a parent")).expect("valid");
        if let Ok(pod) = Cgroup::open(&pod) {
            let _ = pod.kill_all(PATIENCE);
            while let Ok(Some(_)) = waitid(WaitId::All, WaitIdOptions::EXITED | WaitIdOptions::NOHANG) {}
            let _ = pod.remove();
        }
    }
}

/// An error with its causes.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(&format!(": {error}"));
        source = error.source();
    }
    text
}

/// Reads what the process prints, and reaps it.
pub(crate) fn finish(pidfd: BorrowedFd<'_>, streams: Streams) -> Outcome {
    drop(streams.stdin);
    let output = read_all(streams.stdout);
    let errors = read_all(streams.stderr);
    let status = wait(pidfd);
    Outcome { code: status.exit_status(), signal: status.terminating_signal(), output, errors }
}

fn read_all(fd: OwnedFd) -> String {
    let deadline = Instant::now() + PATIENCE;
    let mut file = File::from(fd);
    let mut text = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        assert!(ready(file.as_fd(), deadline), "no end of output: {}", String::from_utf8_lossy(&text));
        match file.read(&mut buffer).expect("read") {
            0 => return String::from_utf8_lossy(&text).into_owned(),
            count => text.extend_from_slice(&buffer[..count]),
        }
    }
}

/// Reads until the text has come.
pub(crate) fn read_until(fd: BorrowedFd<'_>, wanted: &str) -> String {
    let deadline = Instant::now() + PATIENCE;
    let mut text = Vec::new();
    let mut buffer = [0; 4096];
    while !String::from_utf8_lossy(&text).contains(wanted) {
        let text_so_far = String::from_utf8_lossy(&text).into_owned();
        assert!(ready(fd, deadline), "no {wanted:?} in {text_so_far:?}");
        let count = rustix::io::read(fd, &mut buffer).expect("read");
        assert_ne!(count, 0, "end before {wanted:?} in {text_so_far:?}");
        text.extend_from_slice(&buffer[..count]);
    }
    String::from_utf8_lossy(&text).into_owned()
}

pub(crate) fn write(fd: BorrowedFd<'_>, text: &str) {
    File::from(fd.try_clone_to_owned().expect("copied")).write_all(text.as_bytes()).expect("written");
}

/// Waits for the end of a child.
pub(crate) fn wait(pidfd: BorrowedFd<'_>) -> WaitIdStatus {
    assert!(ready(pidfd, Instant::now() + PATIENCE), "the process does not end");
    waitid(WaitId::PidFd(pidfd), WaitIdOptions::EXITED).expect("reaped").expect("has ended")
}

fn ready(fd: BorrowedFd<'_>, deadline: Instant) -> bool {
    let left = deadline.saturating_duration_since(Instant::now());
    let timeout = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: i64::from(left.subsec_nanos()) };
    poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&timeout)).expect("poll") > 0
}

/// Checks again and again until it holds.
pub(crate) fn eventually(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "never: {what}");
        let pause = Timespec { tv_sec: 0, tv_nsec: 1_000_000 };
        poll(&mut [], Some(&pause)).expect("poll");
    }
}

pub(crate) fn open_fds() -> usize {
    fs::read_dir("/proc/self/fd").expect("listed").count()
}

/// The group's directories in every hierarchy.
pub(crate) fn cgroup_directories(path: &Path) -> Vec<PathBuf> {
    let mounts = fs::read_to_string("/proc/thread-self/mountinfo").expect("read");
    let of_cgroups = mounts.lines().filter(|line| line.contains(" - cgroup"));
    let directories = of_cgroups.filter_map(|line| Some(Path::new(line.split(' ').nth(4)?).join(path)));
    directories.filter(|directory| directory.exists()).collect()
}

/// The directory of the group where the controller is, whatever the version.
pub(crate) fn controller_directory(path: &Path, controller: &str) -> Option<PathBuf> {
    let directories = cgroup_directories(path);
    let v1 = directories.iter().find(|directory| {
        let mount = directory.ancestors().nth(path.components().count()).and_then(Path::file_name);
        mount.is_some_and(|name| name.to_string_lossy().split(',').any(|part| part == controller))
    });
    v1.or_else(|| directories.iter().find(|directory| directory.join("cgroup.controllers").exists())).cloned()
}
