//! A machine for one test: its own root, its own logs, its own network namespace, the images it needs, and the promise that
//! nothing is left when it is dropped, also after a failed assertion.
#![allow(dead_code, reason = "each test file uses a part of it")]
#![expect(clippy::print_stderr, reason = "skipped tests say so, failed ones tell the whole story")]

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{LazyLock, mpsc};
use std::time::{Duration, Instant};

use serde_json::Value;

/// Nothing in these tests takes longer unless it hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The newer kubectl of this machine, or else the old one that `KUBECTL_OLD` names.
static KUBECTL: LazyLock<Option<String>> = LazyLock::new(|| {
    let old = std::env::var("KUBECTL_OLD").ok();
    [Some("kubectl".to_owned()), old].into_iter().flatten().find(|kubectl| runs(kubectl))
});

fn runs(kubectl: &str) -> bool {
    let version = Command::new(kubectl).args(["version", "--client"]).stdout(Stdio::null()).stderr(Stdio::null()).status();
    version.is_ok_and(|status| status.success())
}

/// The kubectl that tests use. They have asked whether there is one.
pub(crate) fn kubectl() -> &'static str {
    KUBECTL.as_deref().expect("a test without kubectl skips itself")
}

/// Whether there is a kubectl; without one a test skips itself, with a word on stderr.
pub(crate) fn has_kubectl(test: &str) -> bool {
    if KUBECTL.is_none() {
        eprintln!("SKIP {test}: there is no kubectl, and KUBECTL_OLD names none");
    }
    KUBECTL.is_some()
}

/// Whether there is a kubectl that is newer than the old one, for what that one cannot do.
pub(crate) fn has_new_kubectl(test: &str) -> bool {
    let is_new = KUBECTL.as_deref() == Some("kubectl");
    if !is_new {
        eprintln!("SKIP {test}: there is no kubectl but an old one");
    }
    is_new
}

/// A machine of its own.
pub(crate) struct Machine {
    folder: tempfile::TempDir,
    bridge: String,
    /// Its root is a file system in memory, to be unmounted in the end.
    in_memory: bool,
}

impl Machine {
    /// Makes the machine with the images `tapp:1` and `busybox`; `None`, with a word on stderr, where the test cannot run.
    pub(crate) fn new(test: &str) -> Option<Self> {
        let machine = Self::without_images(test)?;
        machine.import_images();
        Some(machine)
    }

    /// Makes the machine without images.
    pub(crate) fn without_images(test: &str) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            eprintln!("SKIP {test}: needs root");
            return None;
        }
        // Only this thread moves, and what it spawns: the machine's own network is never touched.
        if let Err(error) = unshare_network() {
            eprintln!("SKIP {test}: cannot make a network namespace: {error}");
            return None;
        }
        let folder = tempfile::Builder::new().prefix("usher-test-").tempdir().expect("a temporary folder");
        let bridge = format!("ut{}", std::process::id());
        Some(Self { folder, bridge, in_memory: false })
    }

    /// Makes the machine with its root on a file system of its own, of so many MiB, and with the images.
    pub(crate) fn in_memory(test: &str, size_mib: u64) -> Option<Self> {
        let mut machine = Self::without_images(test)?;
        fs::create_dir(machine.root()).expect("a folder for the root");
        let options = std::ffi::CString::new(format!("size={size_mib}m")).expect("no zero in it");
        let mounted = rustix::mount::mount("tmpfs", machine.root(), "tmpfs", rustix::mount::MountFlags::empty(), Some(options.as_c_str()));
        mounted.expect("a file system in memory");
        machine.in_memory = true;
        machine.import_images();
        Some(machine)
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.path().join("root")
    }

    pub(crate) fn log_root(&self) -> PathBuf {
        self.path().join("logs")
    }

    /// The command line of usher, with this machine's folders.
    pub(crate) fn usher<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_usher"));
        command.args(arguments).arg("--root").arg(self.root()).arg("--log-root").arg(self.log_root());
        command.args(["--bridge", &self.bridge, "--subnet", "10.199.0.0/16", "--color", "never"]).stdin(Stdio::null());
        command
    }

    /// Runs a command of usher to its end.
    pub(crate) fn output<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Output {
        let child = self.usher(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("usher starts");
        wait_with_output(child)
    }

    /// Writes a file of this machine and returns its path.
    pub(crate) fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path().join(name);
        fs::write(&path, text).expect("a file is written");
        path
    }

    /// Starts `usher run -o json` and follows its journal.
    pub(crate) fn run(&self, manifest: &str, more: &[&str]) -> Running {
        let path = self.file("pod.yaml", manifest);
        self.run_file(&path, more)
    }

    /// Starts `usher run -o json` on a file.
    pub(crate) fn run_file(&self, path: &Path, more: &[&str]) -> Running {
        let mut arguments = vec!["run".to_owned(), path.display().to_string(), "-o".to_owned(), "json".to_owned()];
        arguments.extend(more.iter().map(|word| (*word).to_owned()));
        let mut child = self.usher(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("usher starts");
        let stdout = child.stdout.take().expect("stdout is piped");
        let (sender, entries) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let value = serde_json::from_str(&line).unwrap_or(Value::String(line));
                if sender.send(value).is_err() {
                    return;
                }
            }
        });
        Running { child, entries, seen: Vec::new() }
    }

    fn import_images(&self) {
        let bundle = self.path().join("image");
        let bin = bundle.join("bin");
        fs::create_dir_all(&bin).expect("a folder for the image");
        for folder in ["etc", "tmp", "usr/bin", "usr/share"] {
            fs::create_dir_all(bundle.join(folder)).expect("a folder of the image");
        }
        fs::write(bundle.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n").expect("passwd");
        fs::write(bundle.join("etc/group"), "root:x:0:root\nuucp:x:10:root\nnogroup:x:65534:\n").expect("group");
        fs::copy("/bin/busybox", bin.join("busybox")).expect("busybox-static is installed");
        let applets = Command::new("/bin/busybox").arg("--list").output().expect("busybox runs");
        for applet in String::from_utf8_lossy(&applets.stdout).lines().filter(|applet| *applet != "busybox") {
            let _ = std::os::unix::fs::symlink("busybox", bin.join(applet));
        }
        fs::copy(tapp(), bin.join("tapp")).expect("tapp is built");
        let packed = Command::new("tar").arg("-C").arg(&bundle).arg("-cf").arg(self.image_tar()).arg(".").status().expect("tar runs");
        assert!(packed.success(), "tar packs the image");
        self.import_image("busybox", &[]);
        self.import_image("tapp:1", &[]);
    }

    /// Imports the image of the tests, busybox and `tapp`, under a name of its own.
    pub(crate) fn import_image(&self, name: &str, more: &[&str]) {
        let tar = self.image_tar().display().to_string();
        let output = self.output([&["image", "import", name, &tar, "--cmd", "sh", "--env", "PATH=/bin:/usr/bin"], more].concat());
        assert!(output.status.success(), "the image is imported: {}", String::from_utf8_lossy(&output.stderr));
    }

    fn image_tar(&self) -> PathBuf {
        self.path().join("image.tar")
    }

    /// Imports a root file system of the files of this machine's own Debian packages, as `scripts/example-images` does.
    pub(crate) fn import_example_images(&self) {
        for program in ["/bin/busybox", "/usr/sbin/nginx"] {
            // This machine has no network to install it from.
            assert!(Path::new(program).exists(), "{program} is missing: scripts/test installs what the tests need");
        }
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../scripts/example-images");
        let wrapper =
            self.file("usher", &format!("#!/bin/sh\nexec {} \"$@\" --root {}\n", env!("CARGO_BIN_EXE_usher"), self.root().display()));
        let mut command = Command::new("bash");
        command.arg(script).env("USHER", format!("sh {}", wrapper.display())).stdout(Stdio::piped()).stderr(Stdio::piped());
        let output = wait_with_output(command.stdin(Stdio::null()).spawn().expect("the script starts"));
        assert!(output.status.success(), "the images are made: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// Process ids of the shims of this machine's pods.
    pub(crate) fn shims(&self) -> Vec<i32> {
        let root = self.root().display().to_string();
        let is_shim = |command: &[u8]| {
            let words: Vec<_> = command.split(|byte| *byte == 0).map(String::from_utf8_lossy).collect();
            words.get(1).is_some_and(|word| word == "shim") && words.iter().any(|word| word.contains(&root))
        };
        let pids = fs::read_dir("/proc").expect("proc").flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
        let all: Vec<i32> = pids.filter(|pid| fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|command| is_shim(&command))).collect();
        // What a shim has forked is called like it until it has become the command of a container.
        let is_forked = |pid: &i32| {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            let parent = stat.rsplit_once(") ").and_then(|(_, fields)| fields.split(' ').nth(1)?.parse().ok());
            parent.is_some_and(|parent: i32| all.contains(&parent))
        };
        all.iter().copied().filter(|pid| !is_forked(pid)).collect()
    }

    /// Names of the processes whose cgroup or command line belongs to this machine.
    pub(crate) fn left_behind(&self) -> Vec<String> {
        let mut left = Vec::new();
        let root = self.root().display().to_string();
        for entry in fs::read_dir("/proc").expect("proc").flatten() {
            let Ok(command) = fs::read(entry.path().join("cmdline")) else { continue };
            let command = String::from_utf8_lossy(&command).replace('\0', " ");
            if command.contains(&root) {
                left.push(format!("process {} {command}", entry.file_name().to_string_lossy()));
            }
        }
        let mounts = fs::read_to_string("/proc/self/mountinfo").expect("mountinfo");
        left.extend(mounts.lines().filter(|line| line.contains(&root)).map(|line| format!("mount {line}")));
        let pods = fs::read_dir(self.root().join("pods")).into_iter().flatten().flatten();
        left.extend(pods.map(|pod| format!("folder {}", pod.path().display())));
        let leases = Path::new("/run/usher/network").join(&self.bridge);
        left.extend(leases_in(&leases).into_iter().map(|lease| format!("lease {lease}")));
        left
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let removed = self.output(["rm", "--all", "--force", "--quiet"]);
        if self.in_memory {
            let _ = rustix::mount::unmount(self.root(), rustix::mount::UnmountFlags::empty());
        }
        let left = self.left_behind();
        let _ = fs::remove_dir_all(Path::new("/run/usher/network").join(&self.bridge));
        if std::thread::panicking() {
            eprintln!("clean-up: {removed:?}; left: {left:?}");
        } else {
            assert!(left.is_empty(), "left behind: {left:#?}");
        }
    }
}

fn leases_in(folder: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut leases = Vec::new();
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.path().is_dir() {
            leases.extend(leases_in(&entry.path()));
        } else if name.parse::<std::net::IpAddr>().is_ok() {
            leases.push(name);
        }
    }
    leases
}

fn unshare_network() -> std::io::Result<()> {
    let output = {
        #[expect(unsafe_code, reason = "leaving a namespace is marked unsafe because other threads do not follow; only this one matters")]
        // SAFETY: no other thread relies on sharing a network namespace with this one.
        unsafe {
            rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWNET)
        }
    };
    output?;
    let up = Command::new("ip").args(["link", "set", "lo", "up"]).status()?;
    if up.success() { Ok(()) } else { Err(std::io::Error::other("cannot bring lo up")) }
}

/// The workload, built beside the tested binary.
pub(crate) fn tapp() -> PathBuf {
    let usher = Path::new(env!("CARGO_BIN_EXE_usher"));
    let tapp = usher.with_file_name("tapp");
    assert!(tapp.exists(), "{} is missing: build the workspace, not this crate alone", tapp.display());
    tapp
}

/// An `usher run` in progress.
pub(crate) struct Running {
    pub(crate) child: Child,
    entries: mpsc::Receiver<Value>,
    pub(crate) seen: Vec<Value>,
}

impl Running {
    /// Waits for an entry of the journal; panics with what came instead when patience is over.
    pub(crate) fn wait_for(&mut self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.entries.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(entry) => {
                    self.seen.push(entry.clone());
                    if wanted(&entry) {
                        return entry;
                    }
                }
                Err(_) => panic!("{what} did not come; the journal so far:\n{}", self.story()),
            }
        }
    }

    /// Waits until tapp in this container handles signals, which it says; it may have done so before.
    pub(crate) fn wait_handling(&mut self, container: &str) {
        let says = |entry: &Value| {
            let line = entry["output"]["line"].as_str().unwrap_or_default();
            entry["output"]["container"] == container && line.ends_with("main: start")
        };
        if !self.seen.iter().any(says) {
            self.wait_for(&format!("the first word of {container}"), says);
        }
    }

    /// Waits for the next entry of the journal; false when there is none, or none came in time.
    pub(crate) fn next(&mut self, deadline: Instant) -> bool {
        let entry = self.entries.recv_timeout(deadline.saturating_duration_since(Instant::now()));
        entry.map(|entry| self.seen.push(entry)).is_ok()
    }

    /// Waits until a container shows Running.
    pub(crate) fn wait_running(&mut self, container: &str) {
        self.wait_for(&format!("{container} running"), |entry| {
            entry["status"]["containerStatuses"]
                .as_array()
                .is_some_and(|statuses| statuses.iter().any(|status| status["name"] == container && status["state"]["state"] == "Running"))
        });
    }

    /// Sends a signal to the engine.
    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        // Not yet waited for, so the pid is still its own; it may have ended already.
        let _ = rustix::process::kill_process(pid, signal);
    }

    /// Asks for a graceful stop, as Ctrl-C does.
    pub(crate) fn interrupt(&self) {
        self.signal(rustix::process::Signal::INT);
    }

    /// Waits for the end; returns the exit code and the whole journal.
    pub(crate) fn end(mut self) -> Ended {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.entries.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(entry) => self.seen.push(entry),
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    let _ = self.child.kill();
                    panic!("usher run did not end; the journal so far:\n{}", self.story());
                }
            }
        }
        let mut stderr = String::new();
        if let Some(mut pipe) = self.child.stderr.take() {
            let _ = pipe.read_to_string(&mut stderr);
        }
        let status = self.child.wait().expect("usher run is waited for");
        Ended { code: status.code(), entries: std::mem::take(&mut self.seen), stderr }
    }

    fn story(&self) -> String {
        self.seen.iter().map(|entry| format!("{entry}\n")).collect()
    }
}

/// An `usher run` that has ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) entries: Vec<Value>,
    pub(crate) stderr: String,
}

impl Ended {
    /// Kubernetes Events as `reason: message`, in order.
    pub(crate) fn events(&self) -> Vec<String> {
        let actions = self.entries.iter().map(|entry| &entry["action"]["action"]).filter(|action| action["action"] == "RecordEvent");
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        actions.map(|action| format!("{}: {}", text(&action["reason"]), text(&action["message"]))).collect()
    }

    /// Lines that the containers printed.
    pub(crate) fn output(&self) -> Vec<String> {
        let lines = self.entries.iter().filter_map(|entry| entry["output"]["line"].as_str());
        lines.map(str::to_owned).collect()
    }

    /// Lines that hooks printed.
    pub(crate) fn hook_output(&self) -> Vec<String> {
        let lines = self.entries.iter().filter(|entry| entry["runtime"]["runtimeEvent"] == "ExecOutput");
        lines.filter_map(|entry| entry["runtime"]["line"].as_str()).map(str::to_owned).collect()
    }

    /// The last published status.
    pub(crate) fn status(&self) -> &Value {
        self.entries.iter().rev().map(|entry| &entry["status"]).find(|status| status.is_object()).expect("a status was published")
    }

    /// The first entry that is wanted.
    pub(crate) fn find(&self, wanted: impl Fn(&Value) -> bool) -> Option<&Value> {
        self.entries.iter().find(|entry| wanted(entry))
    }

    /// Seconds between two entries.
    pub(crate) fn seconds_between(&self, from: &Value, to: &Value) -> f64 {
        let nanos = |entry: &Value| entry["at"]["bootNanos"].as_u64().expect("an entry has its time");
        (nanos(to) as f64 - nanos(from) as f64) / 1e9
    }

    /// For the message of a failed assertion.
    pub(crate) fn story(&self) -> String {
        self.entries.iter().map(|entry| format!("{entry}\n")).collect::<String>() + &self.stderr
    }
}

fn wait_with_output(mut child: Child) -> Output {
    let deadline = Instant::now() + PATIENCE;
    let read = |mut pipe: Box<dyn std::io::Read + Send>| {
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            let _ = pipe.read_to_end(&mut bytes);
            bytes
        })
    };
    let stdout = read(Box::new(child.stdout.take().expect("stdout is piped")));
    let stderr = read(Box::new(child.stderr.take().expect("stderr is piped")));
    let pid = rustix::process::Pid::from_child(&child);
    let pidfd = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).expect("a pidfd of the child");
    let left = deadline.saturating_duration_since(Instant::now());
    let timeout = rustix::time::Timespec { tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX), tv_nsec: 0 };
    let mut fds = [rustix::event::PollFd::new(&pidfd, rustix::event::PollFlags::IN)];
    if rustix::event::poll(&mut fds, Some(&timeout)).unwrap_or(0) == 0 {
        let _ = child.kill();
    }
    let status = child.wait().expect("the child is waited for");
    let (stdout, stderr) = (stdout.join().unwrap_or_default(), stderr.join().unwrap_or_default());
    Output { status, stdout, stderr }
}
