//! From a spawned process to a shim: detached, alone, in the pod's namespaces, reachable.
//!
//! The spawning client reads [`StartupReport`]s, one JSON line each, from the process's standard output. The order of the
//! steps matters: what can fail for reasons of the caller (the state directory is taken) comes before anything changes, and
//! the socket comes last, so that who can connect finds a working shim.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::Path;

use rustix::fs::{FlockOperation, Mode, OFlags, flock};
use rustix::thread::UnshareFlags;
use serde::{Deserialize, Serialize};

use super::args::{Namespace, ShimArgs};
use crate::cgroup::{Cgroup, CgroupError, CgroupPath, CgroupPathError};
use crate::moment::Moment;
use crate::protocol::PROTOCOL_VERSION;
use crate::records::{self, Durability, ProcessIdentity, ReadProcessError, ShimIdentity, WriteRecordError, boot_id, write_record};
use crate::sys::{self, Forked};

/// What a starting shim tells the client that spawned it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StartupReport {
    /// The process that will be the shim exists; if it does not get ready in time, this is what to kill.
    Forked(ProcessIdentity),
    /// The socket is there.
    Ready(ShimIdentity),
    /// It did not work, and the process is ending.
    Failed(StartupFailure),
}

/// Why a shim did not come up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartupFailure {
    /// For programs.
    pub reason: StartupFailureReason,
    /// For people: the step and its causes.
    pub message: String,
}

/// The kinds of failure that a client can do something about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StartupFailureReason {
    /// Another shim lives in the state directory: connect to it.
    AlreadyRunning,
    /// A shim lived in the state directory before: read its records, remove the directory, use a new one.
    StateDirUsed,
    /// The command line is wrong: client and shim do not fit together.
    Arguments,
    /// The machine made a step fail.
    Failed,
}

/// Why a shim did not come up, inside it.
#[derive(Debug, thiserror::Error)]
pub(super) enum StartError {
    #[error("another shim is running in {0}")]
    AlreadyRunning(String),
    #[error("a shim has run in {0} before, and its records are still there")]
    StateDirUsed(String),
    #[error("cannot {step}")]
    Step { step: String, source: io::Error },
    #[error("cannot use the cgroup path for the {whose}")]
    CgroupPath { whose: &'static str, source: CgroupPathError },
    #[error("cannot move to the cgroup of shims")]
    Cgroup(#[from] CgroupError),
    #[error("cannot find out who this process is")]
    Identity(#[from] ReadProcessError),
    #[error("cannot record the shim")]
    Record(#[from] WriteRecordError),
}

impl StartError {
    pub(super) fn reason(&self) -> StartupFailureReason {
        match self {
            Self::AlreadyRunning(_) => StartupFailureReason::AlreadyRunning,
            Self::StateDirUsed(_) => StartupFailureReason::StateDirUsed,
            Self::Step { .. } | Self::CgroupPath { .. } | Self::Cgroup(_) | Self::Identity(_) | Self::Record(_) => {
                StartupFailureReason::Failed
            }
        }
    }
}

/// A shim that is ready to serve.
#[derive(Debug)]
pub(super) struct Started {
    pub(super) identity: ShimIdentity,
    pub(super) pod_cgroup: CgroupPath,
    pub(super) listener: UnixListener,
    /// Held locked for as long as the process lives.
    pub(super) lock: OwnedFd,
    /// The pid namespace that the containers share; the link to it leads through this descriptor.
    pub(super) processes: Option<OwnedFd>,
    /// Steps that did not work and are not worth failing for.
    pub(super) complaints: Vec<String>,
}

/// Leaves the caller behind: forks, ends the parent, and begins a session of its own. Returns only in the child.
///
/// The client waits for the parent, so no zombie of ours is left to it, and the shim belongs to the machine's init from
/// the start, as it would when the engine ends.
pub(super) fn detach() -> io::Result<()> {
    match sys::fork()? {
        Forked::Parent(_) => sys::exit(0),
        Forked::Child => {}
    }
    rustix::process::setsid()?;
    // The binary was executed through a link of `/proc`, whose name says nothing.
    rustix::thread::set_name(c"usher-shim")?;
    sys::close_all_except(&[])?;
    // Logs and folders get the modes that they are made with, less what this takes.
    rustix::process::umask(Mode::from_raw_mode(0o022));
    rustix::process::chdir("/")?;
    Ok(())
}

/// All steps up to the socket.
pub(super) fn start(args: &ShimArgs) -> Result<Started, StartError> {
    let dir = args.state_dir.display().to_string();
    let lock = take_state_dir(&args.state_dir, &dir)?;
    let mut complaints = Vec::new();
    let pod_cgroup = cgroup_path("pod", &args.cgroup)?;
    Cgroup::open(&cgroup_path("shim", &args.shim_cgroup)?)?.enter()?;
    if let Err(error) = protect_from_oom_killer() {
        complaints.push(format!("cannot lower the own oom_score_adj: {error}"));
    }
    step("become the reaper of orphans", rustix::process::set_child_subreaper(Some(rustix::process::getpid())))?;
    enter_namespaces(args)?;
    let processes = match args.pid {
        Namespace::New => Some(step("make the pid namespace of the pod", super::processes::share(&args.state_dir))?),
        Namespace::Host => None,
    };

    let identity = ShimIdentity {
        protocol: PROTOCOL_VERSION,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pod_uid: args.pod_uid.clone(),
        process: ProcessIdentity::of(rustix::process::getpid().as_raw_nonzero().get())?,
        boot_id: boot_id()?,
        cgroup: args.cgroup.clone(),
        started_at: Moment::now(),
    };
    write_record(&args.state_dir, records::SHIM_RECORD, &identity, Durability::Process)?;
    let listener = step("listen on the socket", listen(&args.state_dir))?;
    Ok(Started { identity, pod_cgroup, listener, lock, processes, complaints })
}

/// Tells the client which process to kill should the rest take too long.
pub(super) fn report_forked() {
    if let Ok(process) = ProcessIdentity::of(rustix::process::getpid().as_raw_nonzero().get()) {
        report(&StartupReport::Forked(process));
    }
}

/// Writes a report to the client. One that went away is no reason to fail.
pub(super) fn report(report: &StartupReport) {
    if let Ok(mut line) = serde_json::to_vec(report) {
        line.push(b'\n');
        let _ = io::stdout().write_all(&line).and_then(|()| io::stdout().flush());
    }
}

/// Lets go of the pipe to the client.
pub(super) fn close_stdio() -> io::Result<()> {
    let null = File::options().read(true).write(true).open("/dev/null")?;
    for target in 0..=2 {
        sys::dup2_stdio(null.as_fd(), target)?;
    }
    Ok(())
}

fn take_state_dir(dir: &Path, shown: &str) -> Result<OwnedFd, StartError> {
    let path = dir.join(records::SHIM_LOCK);
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let lock = step(&format!("open {}", path.display()), rustix::fs::open(&path, flags, Mode::from_raw_mode(0o600)))?;
    match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(rustix::io::Errno::WOULDBLOCK) => return Err(StartError::AlreadyRunning(shown.to_owned())),
        Err(errno) => return step(&format!("lock {}", path.display()), Err(errno)),
    }
    if fs::symlink_metadata(dir.join(records::SHIM_RECORD)).is_ok() {
        return Err(StartError::StateDirUsed(shown.to_owned()));
    }
    for folder in [records::CONTAINERS, records::EXECS] {
        step(&format!("create the folder {folder} in {shown}"), fs::create_dir_all(dir.join(folder)))?;
    }
    Ok(lock)
}

/// The value that the kubelet gives to what must outlive the pods. Below the caller's own it needs a capability.
const OOM_SCORE_ADJ: &str = "-998";

fn protect_from_oom_killer() -> io::Result<()> {
    fs::write("/proc/self/oom_score_adj", OOM_SCORE_ADJ)
}

fn enter_namespaces(args: &ShimArgs) -> Result<(), StartError> {
    let wanted =
        [(args.netns, UnshareFlags::NEWNET, "network"), (args.ipc, UnshareFlags::NEWIPC, "IPC"), (args.uts, UnshareFlags::NEWUTS, "UTS")];
    for (namespace, flag, name) in wanted {
        if namespace == Namespace::New {
            #[expect(unsafe_code, reason = "unsharing is unsafe where it changes file descriptors")]
            // SAFETY: only the network, IPC and UTS namespaces are unshared, never the file descriptor table.
            let unshared = unsafe { rustix::thread::unshare_unsafe(flag) };
            step(&format!("unshare the {name} namespace"), unshared)?;
        }
    }
    if args.netns == Namespace::New {
        step("bring up the loopback interface", bring_up_loopback())?;
    }
    if let Some(hostname) = &args.hostname {
        step(&format!("set the host name {hostname:?}"), rustix::system::sethostname(hostname.as_bytes()))?;
    }
    Ok(())
}

fn bring_up_loopback() -> io::Result<()> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
    let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    sys::set_loopback_up(socket.as_fd())
}

/// Binds through the directory's descriptor: a path longer than a socket address can hold works too.
fn listen(dir: &Path) -> io::Result<UnixListener> {
    let folder = File::open(dir)?;
    let path = format!("/proc/self/fd/{}/{}", folder.as_raw_fd(), records::SHIM_SOCKET);
    // Nobody else may connect, not even before the mode could be changed.
    let umask = rustix::process::umask(Mode::from_raw_mode(0o177));
    let bound = UnixListener::bind(path);
    rustix::process::umask(umask);
    let listener = bound?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

fn cgroup_path(whose: &'static str, path: &str) -> Result<CgroupPath, StartError> {
    CgroupPath::new(path).map_err(|source| StartError::CgroupPath { whose, source })
}

fn step<T, E: Into<io::Error>>(step: &str, result: Result<T, E>) -> Result<T, StartError> {
    result.map_err(|error| StartError::Step { step: step.to_owned(), source: error.into() })
}
