//! A machine for every test: a network and a mount namespace, a folder, and cgroups of its own.

use std::collections::BTreeSet;
use std::fs;
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use runtime::images::{ArchiveInput, ImageReference, ImageStore, ImportOptions};
use runtime::network::Ipv6Pods;
use runtime::{ContainerConfig, ContainerExit, EmbeddedConfig, EmbeddedRuntime, ExecRequest, PodSandboxConfig, Runtime as _, RuntimeEvent};
use rustix::mount::{MountPropagationFlags, mount_change};
use rustix::thread::UnshareFlags;
use shim::cgroup::{Cgroup, CgroupPath};
use tokio::sync::mpsc;

/// What has not happened after this long will not. Only tests that fail wait for it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
/// The image of all tests.
pub(crate) const IMAGE: &str = "docker.io/library/busybox:test";

static NEXT: AtomicU32 = AtomicU32::new(0);

/// The machine of a test.
pub(crate) struct Machine {
    tokio: tokio::runtime::Runtime,
    dir: tempfile::TempDir,
    cgroup_parent: String,
}

impl Machine {
    /// Leaves the real network and mounts; `None`, and a word to the reader, if that is not allowed.
    #[expect(clippy::print_stderr, reason = "a skipped test says why")]
    pub(crate) fn new(test: &str) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            eprintln!("SKIP {test}: needs root");
            return None;
        }
        if !Path::new(BUSYBOX).exists() {
            eprintln!("SKIP {test}: needs {BUSYBOX}, linked statically");
            return None;
        }
        if let Err(error) = leave_node() {
            eprintln!("SKIP {test}: cannot make namespaces: {error}");
            return None;
        }
        // Threads that the runtime starts begin in the namespaces of this one.
        let tokio = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("threads");
        let cgroup_parent = format!("usher-test-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let machine = Self { tokio, dir: tempfile::tempdir().expect("a folder"), cgroup_parent };
        machine.run(set_loopback_up());
        Some(machine)
    }

    pub(crate) fn run<T>(&self, work: impl Future<Output = T>) -> T {
        self.tokio.block_on(work)
    }

    /// A runtime as an engine makes one. The image is there.
    pub(crate) fn engine(&self) -> EmbeddedRuntime {
        let mut config = EmbeddedConfig::new(self.path("root"), "usher0", "10.77.0.0/16", Ipv6Pods::Auto).expect("valid settings");
        config.network.state_dir = self.path("network");
        config.shim_executable = PathBuf::from(env!("CARGO_BIN_EXE_runtime-host"));
        config.cgroup_parent.clone_from(&self.cgroup_parent);
        let engine = EmbeddedRuntime::new(config).expect("a fit machine");
        self.run(async {
            if engine.image_status(IMAGE).await.expect("a store").is_none() {
                import(engine.image_store().await.expect("a store")).await;
            }
        });
        engine
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn pod_dir(&self, uid: &str) -> PathBuf {
        self.path("root").join("pods").join(uid)
    }

    /// What a pod may have left on the machine, in words; nothing if it is all gone.
    pub(crate) fn left_overs(&self, engine: &EmbeddedRuntime, uid: &str) -> Vec<String> {
        let mut left = Vec::new();
        if self.pod_dir(uid).exists() {
            left.push(format!("folder {}", self.pod_dir(uid).display()));
        }
        for hierarchy in fs::read_dir("/sys/fs/cgroup").expect("cgroups are mounted").flatten() {
            let group = hierarchy.path().join(&self.cgroup_parent).join(format!("pod{uid}"));
            if group.exists() {
                left.push(format!("cgroup {}", group.display()));
            }
        }
        let mounts = fs::read_to_string("/proc/thread-self/mountinfo").expect("proc is mounted");
        let here = self.pod_dir(uid).display().to_string();
        left.extend(mounts.lines().filter(|mount| mount.contains(&here)).map(|mount| format!("mount {mount}")));
        let leases = self.run(async { engine.image_store().await.expect("a store").leases().await.expect("readable leases") });
        left.extend(leases.into_iter().filter(|lease| lease.pod_dir == self.pod_dir(uid)).map(|lease| format!("lease {lease:?}")));
        left
    }

    /// Interfaces of the machine, pods' ends not counted.
    pub(crate) fn interfaces(&self) -> BTreeSet<String> {
        let table = fs::read_to_string("/proc/thread-self/net/dev").expect("proc is mounted");
        table.lines().skip(2).filter_map(|line| Some(line.split_once(':')?.0.trim().to_owned())).collect()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // What a test that failed left running.
        for group in [self.cgroup_parent.as_str(), &format!("{}/shims", self.cgroup_parent)] {
            if let Ok(cgroup) = CgroupPath::new(group).map_err(|_| ()).and_then(|path| Cgroup::open(&path).map_err(|_| ())) {
                let _ = cgroup.kill_all(Duration::from_secs(5));
                let _ = cgroup.remove();
            }
        }
        let _ = CgroupPath::new(self.cgroup_parent.as_str()).map(|path| Cgroup::open(&path).map(|cgroup| cgroup.remove()));
    }
}

const BUSYBOX: &str = "/bin/busybox";

async fn import(store: &ImageStore) {
    let mut tar = tar::Builder::new(Vec::new());
    let mut add = |path: &str, kind: tar::EntryType, mode: u32, content: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_size(content.len() as u64);
        tar.append_data(&mut header, path, content).expect("in memory");
    };
    for dir in ["bin", "etc", "tmp", "www", "proc", "sys", "dev"] {
        add(dir, tar::EntryType::Directory, if dir == "tmp" { 0o1777 } else { 0o755 }, b"");
    }
    add("bin/busybox", tar::EntryType::Regular, 0o755, &fs::read(BUSYBOX).expect("readable"));
    add("etc/passwd", tar::EntryType::Regular, 0o644, b"root:x:0:0:root:/:/bin/sh\nwww:x:33:33:www:/:/bin/sh\n");
    add("etc/group", tar::EntryType::Regular, 0o644, b"root:x:0:\nwheel:x:10:root\nwww:x:33:\n");
    add("www/index.html", tar::EntryType::Regular, 0o644, b"hello from the pod\n");
    for applet in [
        "cat", "echo", "env", "false", "httpd", "id", "kill", "ls", "pwd", "sh", "sleep", "tail", "true", "wget", "hostname", "dd", "stty",
        "tty", "tr", "grep",
    ] {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_size(0);
        header.set_mode(0o777);
        tar.append_link(&mut header, format!("bin/{applet}"), "busybox").expect("in memory");
    }
    let input = ArchiveInput::Reader(Box::new(Cursor::new(tar.into_inner().expect("in memory"))));
    let name = ImageReference::parse(IMAGE).expect("a good name");
    store.import_rootfs(input, &name, &ImportOptions::default()).await.expect("a good root file system");
}

#[expect(unsafe_code, reason = "rustix marks unshare as unsafe because of its flag CLONE_FILES")]
fn leave_node() -> std::io::Result<()> {
    // SAFETY: only namespaces of this thread are changed; file descriptors stay shared.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNET | UnshareFlags::NEWNS) }?;
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
    Ok(())
}

async fn set_loopback_up() {
    let (connection, handle, _) = rtnetlink::new_connection().expect("a socket");
    tokio::spawn(connection);
    let up = rtnetlink::LinkUnspec::new_with_index(1).up().build();
    handle.link().change(up).execute().await.expect("loopback is the first interface");
}

/// A pod for tests.
pub(crate) struct Pod<'a> {
    machine: &'a Machine,
    pub(crate) engine: EmbeddedRuntime,
    pub(crate) uid: String,
    pub(crate) ips: Vec<std::net::IpAddr>,
    events: Option<mpsc::UnboundedReceiver<RuntimeEvent>>,
}

pub(crate) fn pod_config(uid: &str) -> PodSandboxConfig {
    PodSandboxConfig {
        name: format!("name-{uid}"),
        namespace: "space".to_owned(),
        uid: uid.to_owned(),
        hostname: format!("host-{uid}"),
        ..PodSandboxConfig::default()
    }
}

impl<'a> Pod<'a> {
    /// Runs a sandbox and listens to it.
    pub(crate) fn start(machine: &'a Machine, engine: &EmbeddedRuntime, uid: &str) -> Self {
        Self::start_with(machine, engine, &pod_config(uid))
    }

    pub(crate) fn start_with(machine: &'a Machine, engine: &EmbeddedRuntime, config: &PodSandboxConfig) -> Self {
        let sandbox = machine.run(engine.run_pod_sandbox(config)).unwrap_or_else(|error| panic!("{}", chain(&error)));
        Self::take_up(machine, engine, &config.uid, sandbox.ips)
    }

    /// Listens to a sandbox that is there.
    pub(crate) fn take_up(machine: &'a Machine, engine: &EmbeddedRuntime, uid: &str, ips: Vec<std::net::IpAddr>) -> Self {
        let events = machine.run(engine.events(uid)).expect("a sandbox");
        Self { machine, engine: engine.clone(), uid: uid.to_owned(), ips, events: Some(events) }
    }

    pub(crate) fn log_path(&self, name: &str) -> PathBuf {
        self.machine.path("logs").join(&self.uid).join(name).join("0.log")
    }

    /// Settings of a container that runs a shell script.
    pub(crate) fn container(&self, name: &str, script: &str) -> ContainerConfig {
        let image = self.machine.run(self.engine.image_status(IMAGE)).expect("a store").expect("the image");
        ContainerConfig {
            pod_uid: self.uid.clone(),
            name: name.to_owned(),
            image_id: image.id,
            command: ["sh", "-c", script].map(str::to_owned).to_vec(),
            log_path: self.log_path(name),
            log_max_bytes: 1 << 20,
            log_max_files: 3,
            ..ContainerConfig::default()
        }
    }

    pub(crate) fn create(&self, config: &ContainerConfig) -> String {
        self.machine.run(self.engine.create_container(config)).unwrap_or_else(|error| panic!("{}", chain(&error)))
    }

    /// Creates and starts a container that runs a shell script.
    pub(crate) fn run(&self, name: &str, script: &str) -> String {
        self.run_with(&self.container(name, script))
    }

    pub(crate) fn run_with(&self, config: &ContainerConfig) -> String {
        let id = self.create(config);
        self.machine.run(self.engine.start_container(&self.uid, &id)).unwrap_or_else(|error| panic!("{}", chain(&error)));
        id
    }

    /// The next event.
    pub(crate) fn event(&mut self) -> RuntimeEvent {
        let events = self.events.as_mut().expect("listening");
        let next = self.machine.run(async { tokio::time::timeout(PATIENCE, events.recv()).await });
        next.expect("something happens").expect("the sandbox is there")
    }

    /// The events until the last one is told.
    pub(crate) fn rest(&mut self) -> Vec<RuntimeEvent> {
        let mut events = self.events.take().expect("listening");
        self.machine.run(async {
            let mut rest = Vec::new();
            while let Some(event) = tokio::time::timeout(PATIENCE, events.recv()).await.expect("the events end") {
                rest.push(event);
            }
            rest
        })
    }

    /// Waits for a container's end.
    pub(crate) fn exit_of(&mut self, id: &str) -> ContainerExit {
        loop {
            if let RuntimeEvent::ContainerExited { container_id, exit } = self.event()
                && container_id == id
            {
                return exit;
            }
        }
    }

    pub(crate) fn request(&self, container: &str, exec: &str, command: &[&str]) -> ExecRequest {
        ExecRequest {
            pod_uid: self.uid.clone(),
            container_id: container.to_owned(),
            exec_id: exec.to_owned(),
            command: command.iter().map(|word| (*word).to_owned()).collect(),
            timeout: None,
            output_cap: 4096,
        }
    }

    /// Runs a shell script in a container and gives what it prints.
    pub(crate) fn ask(&self, container: &str, script: &str) -> String {
        let exec = format!("ask-{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let request = self.request(container, &exec, &["sh", "-c", script]);
        let result = self.machine.run(self.engine.exec(&request)).unwrap_or_else(|error| panic!("{}", chain(&error)));
        assert_eq!(result.exit_code, 0, "{script}: {}{}", result.stdout, result.stderr);
        result.stdout
    }

    /// Lines of a container's log, without their times.
    pub(crate) fn log(&self, name: &str) -> Vec<String> {
        let text = fs::read_to_string(self.log_path(name)).unwrap_or_default();
        text.lines().map(|line| line.split_once(' ').expect("a time").1.to_owned()).collect()
    }

    /// Waits for a line in a container's log.
    pub(crate) fn wait_for_line(&self, name: &str, line: &str) {
        eventually(&format!("line {line:?} of {name}"), || self.log(name).iter().any(|logged| logged == line));
    }

    /// Stops and removes the pod, and sees that nothing of it is left.
    pub(crate) fn remove(self) {
        self.machine.run(self.engine.stop_pod_sandbox(&self.uid)).unwrap_or_else(|error| panic!("{}", chain(&error)));
        self.machine.run(self.engine.remove_pod_sandbox(&self.uid)).unwrap_or_else(|error| panic!("{}", chain(&error)));
        assert_eq!(self.machine.left_overs(&self.engine, &self.uid), [""; 0]);
    }
}

/// Waits until `is_so`, which another process makes true.
pub(crate) fn eventually(what: &str, is_so: impl Fn() -> bool) {
    let deadline = std::time::Instant::now() + PATIENCE;
    while !is_so() {
        assert!(std::time::Instant::now() < deadline, "{what} did not happen");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// An error with its causes.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
