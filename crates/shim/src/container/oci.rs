//! Containers that another OCI runtime makes, by its command line: `runc`, `crun`, and what is like them.
//!
//! ```text
//! shim ──fork──▶ creator      makes the cgroup, mounts the root file system in a mount namespace of its own, writes a bundle
//!   │              └─▶ RUNTIME create ──▶ init        the runtime ends, and its orphan becomes the shim's
//!   │◀── pidfd ────┘
//!   └──▶ RUNTIME start                               lets it run
//! ```
//!
//! From then on it is a container as any other: the shim reaps its init, kills its cgroup, and runs commands in it. So the runtime's
//! containers must be processes of this kernel; what it keeps of them lies in the bundle's folder `oci`, and goes with it.
//!
//! What the pod's namespaces and this machine ask for is done by the creator, and left out of what the runtime is told.

use std::{
    fs::{self, DirBuilder, File},
    io::{self, Read as _},
    os::{
        fd::{AsFd as _, BorrowedFd, OwnedFd},
        unix::fs::DirBuilderExt as _,
    },
    path::{Path, PathBuf},
    process::{Command, Stdio as ChildStdio},
    time::{Duration, Instant},
};

use rustix::{
    fs::{Mode, OFlags, open},
    io::Errno,
    process::{Pid, PidfdFlags, pidfd_open},
};
use serde_json::{Value, json};

use super::{
    CreateContainer,
    bundle::{CONFIG, read_config, read_container},
    channel,
    error::{CommandError, During as _, Failure},
    init::set_kernel_settings,
    rootfs,
    stdio::Stdio,
};
use crate::{
    cgroup::{self, CgroupPath, Level, Prepared},
    sys,
};

/// How the container is let run that a runtime has made.
#[derive(Debug)]
pub(crate) struct Starter {
    program: PathBuf,
    folder: PathBuf,
    id: String,
}

impl Starter {
    pub(crate) fn new(request: &CreateContainer<'_>, program: &Path) -> Self {
        Self { program: program.to_owned(), folder: request.bundle.join(FOLDER), id: request.id.to_owned() }
    }

    /// Lets the container run.
    pub(crate) fn start(&self) -> Result<(), Failure> {
        let mut command = self.command("start");
        command.arg(&self.id).stdin(ChildStdio::null()).stdout(ChildStdio::null()).stderr(ChildStdio::null());
        self.run(&mut command)
    }

    fn command(&self, verb: &str) -> Command {
        let mut command = Command::new(&self.program);
        command.env_clear().env("PATH", PATH);
        command.arg("--root").arg(self.folder.join("state"));
        command.arg("--log").arg(self.log()).args(["--log-format", "json", verb]);
        command
    }

    fn log(&self) -> PathBuf {
        self.folder.join("log")
    }

    /// Waits for a bounded time; whatever goes wrong is told in the runtime's own words, where it left any.
    fn run(&self, command: &mut Command) -> Result<(), Failure> {
        let name = self.program.display();
        let mut child = command.spawn().during("run OCI runtime", &name)?;
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).unwrap_or(Pid::INIT);
        let ended = pidfd_open(pid, PidfdFlags::empty())
            .map_err(io::Error::from)
            .and_then(|pidfd| channel::wait_readable(pidfd.as_fd(), Instant::now() + RUN_TIME_MAX));
        if let Err(error) = ended {
            // It hangs: nobody waits for it any longer.
            let _ = child.kill();
            let _ = child.wait();
            return Err(Failure::step("wait for OCI runtime", &name, error));
        }
        let status = child.wait().during("wait for OCI runtime", &name)?;
        if status.success() {
            return Ok(());
        }
        let text = last_error(&self.log()).unwrap_or_else(|| format!("OCI runtime {name} failed with {status}, and does not say why"));
        Err(understand(text))
    }
}

/// Has the runtime forget a container of this bundle that has ended. What it keeps of it lies in the bundle's folder, so nothing is lost if
/// that fails; only runtimes that keep more elsewhere need it.
pub fn forget(program: &Path, bundle: &Path, id: &str) {
    let starter = Starter { program: program.to_owned(), folder: bundle.join(FOLDER), id: id.to_owned() };
    if !starter.folder.join("state").exists() {
        return;
    }
    let mut command = starter.command("delete");
    command.args(["--force", &starter.id]).stdin(ChildStdio::null()).stdout(ChildStdio::null()).stderr(ChildStdio::null());
    let _ = starter.run(&mut command);
}

/// The creator's part of a creation by `program`.
pub(crate) fn create_in_creator(
    request: &CreateContainer<'_>,
    program: &Path,
    channel: BorrowedFd<'_>,
    stdio: Stdio,
) -> Result<(), Failure> {
    let mut plan = read_container(request.bundle)?;
    let Stdio::Files { stdin, stdout, stderr } = stdio else {
        return Err(Failure::bundle("process.terminal", "is not supported for containers of another OCI runtime; leave it out"));
    };
    let mut prepared = cgroup::prepare(request.cgroup, &plan.resources, Level::Container)?;
    plan.clamped.append(&mut prepared.clamped);
    let starter = Starter::new(request, program);
    let made = plan
        .process
        .set_inherited(&mut plan.clamped)
        .and_then(|()| set_kernel_settings(&plan.environment))
        .and_then(|()| prepare_bundle(request, &starter.folder))
        .and_then(|()| run_create(&starter, [stdin, stdout, stderr]))
        .and_then(|()| take_init(&starter.folder, &mut prepared));
    match made {
        Ok((pid, pidfd)) => {
            channel::send_spawned(channel, pid, pidfd.as_fd()).during("tell the shim of process", pid)?;
            channel::send_ready(channel, &plan.clamped, None).during("tell the shim of", "readiness")
        }
        Err(failure) => {
            prepared.abandon();
            Err(failure)
        }
    }
}

/// Makes a bundle as runtimes want it: the root file system is mounted at its place, for us and the runtime only.
fn prepare_bundle(request: &CreateContainer<'_>, folder: &Path) -> Result<(), Failure> {
    sys::unshare_mount_namespace().during("make", "mount namespace")?;
    rootfs::make_dependent()?;
    let place = folder.join("rootfs");
    DirBuilder::new().recursive(true).mode(0o700).create(&place).during_path("make", &place)?;
    // Of an attempt before this one.
    let _ = fs::remove_file(folder.join("log"));
    let root = rootfs::detached(request.rootfs)?;
    let target = open(&place, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).during_path("open", &place)?;
    root.attach(target.as_fd()).during_path("mount root file system on", &place)?;
    let config: Value = serde_json::from_slice(&read_config(request.bundle)?).map_err(|error| Failure::bundle(CONFIG, error))?;
    let config = adapted(config, &place, request.cgroup);
    let path = folder.join(CONFIG);
    fs::write(&path, config.to_string()).during_path("write", &path)
}

/// The configuration without what is done already, or belongs to the pod.
fn adapted(mut config: Value, rootfs: &Path, cgroup: &CgroupPath) -> Value {
    config["root"]["path"] = json!(rootfs);
    config["linux"]["cgroupsPath"] = json!(Path::new("/").join(cgroup.as_path()));
    for (parent, field) in [("/process", "oomScoreAdj"), ("/linux", "sysctl"), ("", "hostname"), ("", "domainname")] {
        if let Some(fields) = config.pointer_mut(parent).and_then(Value::as_object_mut) {
            fields.remove(field);
        }
    }
    if let Some(namespaces) = config.pointer_mut("/linux/namespaces").and_then(Value::as_array_mut) {
        let is_inherited = |namespace: &Value| namespace["path"].as_str().is_some_and(|path| path.starts_with("/proc/self/ns/"));
        namespaces.retain(|namespace| !is_inherited(namespace));
    }
    config
}

fn run_create(starter: &Starter, [stdin, stdout, stderr]: [OwnedFd; 3]) -> Result<(), Failure> {
    let mut command = starter.command("create");
    command.arg("--bundle").arg(&starter.folder).arg("--pid-file").arg(starter.folder.join("pid")).arg(&starter.id);
    // The container's init inherits them from the runtime.
    command.stdin(stdin).stdout(stdout).stderr(stderr);
    starter.run(&mut command)
}

/// The init that the runtime has made, in all of the cgroups that are ours.
fn take_init(folder: &Path, prepared: &mut Prepared) -> Result<(i32, OwnedFd), Failure> {
    let path = folder.join("pid");
    let text = fs::read_to_string(&path).during_path("read", &path)?;
    let pid = text.trim().parse().ok().and_then(Pid::from_raw);
    let pid = pid.ok_or_else(|| Failure::step("find a process id in", path.display(), Errno::INVAL))?;
    let number = pid.as_raw_nonzero().get();
    let pidfd = pidfd_open(pid, PidfdFlags::empty()).during("open pidfd of", number)?;
    prepared.join(number)?;
    prepared.join_unified(number)?;
    Ok((number, pidfd))
}

/// What the runtime wrote last as an error.
fn last_error(log: &Path) -> Option<String> {
    let mut text = String::new();
    File::open(log).ok()?.take(LOG_BYTES_MAX).read_to_string(&mut text).ok()?;
    let mut entries = text.lines().rev().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    entries.find_map(|entry| match entry["level"].as_str() {
        Some("error" | "fatal") | None => entry["msg"].as_str().map(str::to_owned),
        Some(_) => None,
    })
}

/// Whether the command of the container is at fault, or the runtime.
fn understand(text: String) -> Failure {
    let known = [
        ("executable file not found in", libc::ENOENT),
        ("no such file or directory", libc::ENOENT),
        ("permission denied", libc::EACCES),
        ("exec format error", libc::ENOEXEC),
        ("is a directory", libc::EISDIR),
    ];
    let errno = known.iter().find(|(words, _)| text.contains(words)).map(|(_, errno)| *errno);
    match (text.find("exec: ").or_else(|| text.find("executable file")), errno) {
        (Some(begin), Some(errno)) => Failure::Command(CommandError { text: text[begin..].to_owned(), errno }),
        (_, errno) => {
            Failure::step("make container with another OCI runtime:", text, io::Error::from_raw_os_error(errno.unwrap_or(libc::EIO)))
        }
    }
}

/// In the bundle's folder; all that the runtime and we need beside the bundle.
const FOLDER: &str = "oci";
/// Where the runtime finds its helpers.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// A runtime takes some tens of milliseconds.
const RUN_TIME_MAX: Duration = Duration::from_secs(15);
/// Of a runtime's log; an error is at its begin, because the log is new each time.
const LOG_BYTES_MAX: u64 = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_pod_has_and_the_machine_gives_is_not_asked_of_the_runtime_again() {
        let config = json!({
            "root": { "path": "rootfs", "readonly": true },
            "hostname": "a",
            "process": { "args": ["x"], "oomScoreAdj": -5 },
            "linux": {
                "sysctl": { "net.ipv4.ip_forward": "1" },
                "namespaces": [{ "type": "mount" }, { "type": "network", "path": "/proc/self/ns/net" }, { "type": "pid", "path": "/run/x" }],
            },
        });
        let cgroup = CgroupPath::new("usher/pod1/c").expect("a path");
        let expected = json!({
            "root": { "path": "/b/oci/rootfs", "readonly": true },
            "process": { "args": ["x"] },
            "linux": { "cgroupsPath": "/usher/pod1/c", "namespaces": [{ "type": "mount" }, { "type": "pid", "path": "/run/x" }] },
        });
        assert_eq!(adapted(config, Path::new("/b/oci/rootfs"), &cgroup), expected);
    }

    #[test]
    fn a_command_that_cannot_be_run_is_told_from_a_runtime_that_cannot() {
        let text = "unable to start container process: exec: \"nope\": executable file not found in $PATH";
        let Failure::Command(error) = understand(text.to_owned()) else { panic!("the command is at fault") };
        assert_eq!((error.text.as_str(), error.errno), ("exec: \"nope\": executable file not found in $PATH", libc::ENOENT));
        let Failure::Step(error) = understand("bpf create: permission denied".to_owned()) else { panic!("the runtime is at fault") };
        assert!(error.object.contains("bpf create"), "{error:?}");
    }

    #[test]
    fn the_last_error_of_a_runtimes_log_is_what_is_told() {
        let folder = tempfile::tempdir().expect("a folder");
        let log = folder.path().join("log");
        assert_eq!(last_error(&log), None);
        let text = "{\"level\":\"warning\",\"msg\":\"odd\"}\nnot json\n{\"level\":\"error\",\"msg\":\"first\"}\n{\"level\":\"error\",\"msg\":\"last\"}\n";
        fs::write(&log, text).expect("written");
        assert_eq!(last_error(&log).as_deref(), Some("last"));
    }
}
