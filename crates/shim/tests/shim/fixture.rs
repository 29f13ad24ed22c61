//! A pod for one test: everything that a shim needs, and its removal whatever happens.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use shim::cgroup::{Cgroup, CgroupPath};
use shim::client::{CallError, ShimClient, kill_pod_cgroup, spawn_shim_program};
use shim::log::LogLimits;
use shim::monitor::{Namespace, ShimArgs};
use shim::protocol::{
    Answer, Call, ContainerId, ContainerState, ContainerStatus, CreateContainer, Event, Exec, ExecId, ExecOutput, ExecStatus, Keep,
    LogTarget, RefusalCode, Rootfs, ServerFrame, ShutdownMode, Snapshot, Stdin, Stdio,
};
use shim::records::{ContainerExit, ExecExit, ShimIdentity};

/// Bound of everything that a test waits for: long enough for a machine that is busy compiling.
pub(crate) const WITHIN: Duration = Duration::from_secs(20);

/// The shim for tests.
pub(crate) const HOST: &str = env!("CARGO_BIN_EXE_shim-host");

const BUSYBOX: &str = "/bin/busybox";

/// A pod with a running shim.
pub(crate) struct Pod {
    folder: tempfile::TempDir,
    pub(crate) shim: ShimIdentity,
}

impl Pod {
    /// Starts a pod, or says why `test` is skipped.
    pub(crate) fn start(test: &str) -> Option<Self> {
        Self::start_with(test, |_| {})
    }

    pub(crate) fn start_with(test: &str, edit: impl FnOnce(&mut ShimArgs)) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            return skip(test, "it needs root");
        }
        if !Path::new(BUSYBOX).exists() {
            return skip(test, "it needs /bin/busybox");
        }
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut args = shim_args(&folder.path().join("state"));
        edit(&mut args);
        fs::create_dir_all(&args.state_dir).expect("a writable folder");
        make_rootfs(&folder.path().join("rootfs"));
        let cgroup = CgroupPath::new(&args.cgroup).expect("a plain path");
        let _ = Cgroup::create_pod(&cgroup, &serde_json::from_value(json!({})).expect("no limits")).expect("the pod's cgroup");
        let shim = spawn_shim_program(HOST.as_ref(), &args, WITHIN).expect("the shim starts");
        Some(Self { folder, shim })
    }

    pub(crate) fn state_dir(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    pub(crate) fn client(&self) -> ShimClient {
        ShimClient::connect(&self.state_dir(), "test", WITHIN).expect("the shim is there")
    }

    /// A client that hears all events.
    pub(crate) fn subscriber(&self) -> ShimClient {
        let mut client = self.client();
        client.call(Call::Subscribe).expect("a snapshot");
        client
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn log_path(&self, id: &str) -> PathBuf {
        self.folder.path().join(format!("logs/{id}/0.log"))
    }

    /// The texts of a container's log, with stream and tag, without the timestamps.
    pub(crate) fn log(&self, id: &str) -> Vec<String> {
        let text = fs::read_to_string(self.log_path(id)).expect("the log is there");
        text.lines().map(|line| line.split_once(' ').expect("a timestamp first").1.to_owned()).collect()
    }

    /// A request for a container that runs a command of busybox's shell.
    pub(crate) fn shell(&self, id: &str, script: &str) -> CreateContainer {
        self.container(id, json!({ "args": ["/bin/sh", "-c", script] }))
    }

    /// A request for a container with these fields in its OCI process.
    pub(crate) fn container(&self, id: &str, process: Value) -> CreateContainer {
        let bundle = self.path(&format!("bundles/{id}"));
        fs::create_dir_all(&bundle).expect("a writable folder");
        let mut config = json!({
            "ociVersion": "1.2.0",
            "process": { "cwd": "/", "user": { "uid": 0, "gid": 0 }, "env": ["PATH=/bin"] },
            "root": { "path": "rootfs" },
            "mounts": [
                { "destination": "/proc", "type": "proc", "source": "proc" },
                { "destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["mode=1777"] },
                { "destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"] },
                { "destination": "/dev/pts", "type": "devpts", "source": "devpts",
                  "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"] },
            ],
            "linux": { "namespaces": [{ "type": "pid" }, { "type": "mount" }] },
        });
        merge(&mut config["process"], process);
        fs::write(bundle.join("config.json"), config.to_string()).expect("a writable folder");
        CreateContainer {
            container: container_id(id),
            bundle,
            rootfs: Rootfs::Path(self.path("rootfs")),
            cgroup: format!("{}/{id}", self.shim.cgroup),
            log: LogTarget { path: self.log_path(id), limits: LogLimits::default() },
            stdio: Stdio::Pipes { stdin: Stdin::Null },
            runtime: None,
        }
    }

    /// Changes the OCI configuration of a container that is to be created.
    pub(crate) fn edit_config(&self, request: &CreateContainer, edit: impl FnOnce(&mut Value)) {
        let path = request.bundle.join("config.json");
        let mut config = serde_json::from_slice(&fs::read(&path).expect("written before")).expect("JSON");
        edit(&mut config);
        fs::write(path, config.to_string()).expect("a writable folder");
    }

    /// A request to run a command of busybox's shell in a container.
    pub(crate) fn exec(&self, container: &str, id: &str, script: &str) -> Exec {
        let process = self.path(&format!("exec-{id}.json"));
        let json = json!({
            "args": ["/bin/sh", "-c", script], "cwd": "/", "user": { "uid": 0, "gid": 0 }, "env": ["PATH=/bin"],
        });
        fs::write(&process, json.to_string()).expect("a writable folder");
        Exec {
            exec: exec_id(id),
            container: container_id(container),
            process,
            timeout_ms: None,
            output: ExecOutput::Captured { bytes_max: ExecOutput::BYTES_MAX_DEFAULT },
            keep: Keep::UntilRemoved,
        }
    }

    pub(crate) fn kill_shim(&self) {
        let pid = rustix::process::Pid::from_raw(self.shim.process.pid).expect("a pid");
        let pidfd = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).expect("the shim lives");
        assert!(self.shim.process.is_alive());
        rustix::process::pidfd_send_signal(&pidfd, rustix::process::Signal::KILL).expect("the shim is ours");
        wait_readable(&pidfd);
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        let ended = ShimClient::connect(&self.state_dir(), "cleanup", WITHIN)
            .map(|mut client| client.call(Call::Shutdown { mode: ShutdownMode::KillAll }).is_ok())
            .unwrap_or(false);
        if !ended && self.shim.process.is_alive() {
            self.kill_shim();
        }
        wait_until("the shim is gone", || !self.shim.process.is_alive());
        let cleared = kill_pod_cgroup(&self.shim, WITHIN);
        let parent = Path::new(&self.shim.cgroup).parent().expect("the pod's cgroup has one");
        let removed = Cgroup::open(&CgroupPath::new(parent).expect("a plain path")).and_then(|parent| parent.remove());
        if !std::thread::panicking() {
            cleared.expect("the pod's cgroup is cleared");
            removed.expect("the test's cgroup is removed");
        }
    }
}

/// The arguments of a shim whose pod has all namespaces of its own.
pub(crate) fn shim_args(state_dir: &Path) -> ShimArgs {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let uid = format!("test-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    ShimArgs {
        state_dir: state_dir.to_owned(),
        cgroup: format!("usher-{uid}/pod"),
        pod_uid: uid.clone(),
        netns: Namespace::New,
        ipc: Namespace::New,
        uts: Namespace::New,
        pid: Namespace::Host,
        hostname: Some("web-0".into()),
        shim_cgroup: format!("usher-{uid}/shims"),
    }
}

#[expect(clippy::print_stderr, reason = "a skipped test says so")]
pub(crate) fn skip<T>(test: &str, why: &str) -> Option<T> {
    eprintln!("SKIP {test}: {why}");
    None
}

pub(crate) fn container_id(id: &str) -> ContainerId {
    id.parse().expect("a plain id")
}

pub(crate) fn exec_id(id: &str) -> ExecId {
    id.parse().expect("a plain id")
}

/// The calls that most tests make, with the answers that they expect.
pub(crate) trait Calls {
    fn create(&mut self, request: CreateContainer) -> ContainerStatus;
    fn start(&mut self, id: &str) -> ContainerStatus;
    fn run(&mut self, request: CreateContainer) -> ContainerStatus;
    fn exec(&mut self, request: Exec) -> ExecStatus;
    fn state(&mut self) -> Snapshot;
    fn stop(&mut self, id: &str, timeout_ms: u64);
    fn refused(&mut self, call: Call) -> RefusalCode;
    fn event(&mut self) -> Event;
    fn container_exit(&mut self, id: &str) -> ContainerExit;
    fn exec_exit(&mut self, id: &str) -> ExecExit;
    fn wait_for_log(&mut self, pod: &Pod, id: &str, text: &str);
}

impl Calls for ShimClient {
    fn create(&mut self, request: CreateContainer) -> ContainerStatus {
        match self.call(Call::CreateContainer(Box::new(request))).expect("the container is created") {
            Answer::Container(status) => status,
            other => panic!("not a container: {other:?}"),
        }
    }

    fn start(&mut self, id: &str) -> ContainerStatus {
        match self.call(Call::StartContainer { container: container_id(id) }).expect("the container starts") {
            Answer::Container(status) => status,
            other => panic!("not a container: {other:?}"),
        }
    }

    fn run(&mut self, request: CreateContainer) -> ContainerStatus {
        let id = request.container.clone();
        self.create(request);
        let status = self.start(id.as_str());
        assert!(!matches!(status.state, ContainerState::Created), "{status:?}");
        status
    }

    fn exec(&mut self, request: Exec) -> ExecStatus {
        match self.call(Call::Exec(Box::new(request))).expect("the exec is answered") {
            Answer::Exec(status) => status,
            other => panic!("not an exec: {other:?}"),
        }
    }

    fn state(&mut self) -> Snapshot {
        match self.call(Call::State).expect("a snapshot") {
            Answer::State(snapshot) => snapshot,
            other => panic!("not a snapshot: {other:?}"),
        }
    }

    fn stop(&mut self, id: &str, timeout_ms: u64) {
        let signal = shim::protocol::SignalNumber::TERM;
        let stop = Call::StopContainer { container: container_id(id), signal, timeout_ms, why: "test".into() };
        self.call(stop).expect("the stop is accepted");
    }

    fn refused(&mut self, call: Call) -> RefusalCode {
        match self.call(call) {
            Err(CallError::Refused(refusal)) => refusal.code,
            other => panic!("not refused: {other:?}"),
        }
    }

    fn event(&mut self) -> Event {
        loop {
            match self.next_frame(WITHIN).expect("an event comes") {
                ServerFrame::Event { event, .. } => return event,
                ServerFrame::Output { .. } => {}
                ServerFrame::Answer { .. } => panic!("an answer without a call"),
            }
        }
    }

    /// Waits for the exit of a container, over whatever else happens.
    fn container_exit(&mut self, id: &str) -> ContainerExit {
        loop {
            if let Event::ContainerExited { exit, .. } = self.event()
                && exit.container.as_str() == id
            {
                return *exit;
            }
        }
    }

    fn exec_exit(&mut self, id: &str) -> ExecExit {
        loop {
            if let Event::ExecExited { exit, .. } = self.event()
                && exit.exec.as_str() == id
            {
                return *exit;
            }
        }
    }

    /// Waits until a container that is followed has written `text`.
    fn wait_for_log(&mut self, pod: &Pod, id: &str, text: &str) {
        wait_until(&format!("container {id} writes {text:?}"), || fs::read_to_string(pod.log_path(id)).is_ok_and(|log| log.contains(text)));
    }
}

/// A file system with little room, mounted for as long as this lives.
pub(crate) struct Disk(tempfile::TempDir);

impl Disk {
    pub(crate) fn mount(test: &str, bytes: usize) -> Option<Self> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let options = std::ffi::CString::new(format!("size={bytes}")).expect("no NUL in a number");
        let flags = rustix::mount::MountFlags::empty();
        match rustix::mount::mount("tmpfs", folder.path(), "tmpfs", flags, options.as_c_str()) {
            Ok(()) => Some(Self(folder)),
            Err(errno) => skip(test, &format!("cannot mount a tmpfs: {errno}")),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(self.0.path(), rustix::mount::UnmountFlags::DETACH);
    }
}

/// No hierarchy has a group of that path.
pub(crate) fn assert_no_cgroup(path: &str) {
    let mut roots = vec![PathBuf::from("/sys/fs/cgroup")];
    roots.extend(fs::read_dir("/sys/fs/cgroup").expect("cgroups are mounted").flatten().map(|entry| entry.path()));
    for root in roots {
        let group = root.join(path);
        assert!(!group.exists(), "{} is left", group.display());
    }
}

/// Looks again and again until something is true, for what no event tells.
pub(crate) fn wait_until(what: &str, mut is_true: impl FnMut() -> bool) {
    let deadline = std::time::Instant::now() + WITHIN;
    while !is_true() {
        assert!(std::time::Instant::now() < deadline, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn wait_readable(fd: impl std::os::fd::AsFd) {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let timeout = Timespec { tv_sec: WITHIN.as_secs() as i64, tv_nsec: 0 };
    let mut fds = [PollFd::new(&fd, PollFlags::IN)];
    assert_eq!(poll(&mut fds, Some(&timeout)), Ok(1), "the process does not end");
}

fn make_rootfs(root: &Path) {
    for folder in ["bin", "dev", "proc", "tmp"] {
        fs::create_dir_all(root.join(folder)).expect("a writable folder");
    }
    fs::copy(BUSYBOX, root.join("bin/busybox")).expect("room for busybox");
    for applet in ["sh", "sleep", "cat", "echo", "true", "kill", "head", "dd", "seq", "stty", "grep"] {
        symlink("busybox", root.join("bin").join(applet)).expect("a new link");
    }
}

fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from,
    }
}
