//! The process of a container or of a command in it: what OCI `process` asks for, understood before anything is made, and the last
//! stretch from root on the host's terms to the first instruction of the command.
//!
//! ```text
//! prepare      limits, cwd, identity, capabilities, no_new_privs         (before the start; may fail)
//!   └ ready    tell the shim, wait for its word
//!      └ run   security profile, system call filter, execve             (after the start)
//! ```
//!
//! Invariant: from the moment the identity is the container's, no descriptor of the host is open but the channel.

use std::{
    ffi::CString,
    io,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
};

use oci_spec::runtime::{LinuxSeccomp, PosixRlimit, PosixRlimitType, Process};
use rustix::{
    fs::{Gid, Mode, OFlags, Uid, fchown, fstat, makedev, open, openat},
    io::Errno,
    process::{Resource, Rlimit, Signal, fchdir, getcwd, getrlimit, set_parent_process_death_signal, setrlimit, umask},
    thread::{CapabilitySet, set_keep_capabilities, set_no_new_privs, set_thread_groups, set_thread_res_gid, set_thread_res_uid},
};

use super::{
    capabilities::CapabilityPlan,
    channel, command,
    error::{During as _, Failure},
    resolve::Root,
};
use crate::{
    seccomp::{self, Filter},
    sys,
};

/// A process to be, understood.
#[derive(Debug)]
pub(crate) struct ProcessPlan {
    arguments: Vec<CString>,
    environment: Vec<CString>,
    pub(crate) cwd: PathBuf,
    user: Identity,
    capabilities: CapabilityPlan,
    rlimits: Vec<(Resource, Rlimit, String)>,
    no_new_privileges: bool,
    oom_score_adj: Option<i32>,
    pub(crate) terminal: Option<TerminalSize>,
    filter: Option<Filter>,
    labels: Vec<Label>,
}

/// The size of a new terminal; zero is "unknown".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct TerminalSize {
    pub(crate) rows: u16,
    pub(crate) columns: u16,
}

#[derive(Debug)]
struct Identity {
    uid: u32,
    gid: u32,
    groups: Vec<u32>,
    umask: u32,
}

/// A security module's word for the program to come.
#[derive(Debug)]
struct Label {
    file: &'static str,
    content: String,
    opened: Option<OwnedFd>,
}

impl ProcessPlan {
    /// Understands `process` and its system call filter.
    pub(crate) fn new(process: &Process, seccomp: Option<&LinuxSeccomp>) -> Result<Self, Failure> {
        refuse_unsupported(process)?;
        let arguments = strings("process.args", process.args().as_deref().unwrap_or_default())?;
        if arguments.is_empty() {
            return Err(Failure::bundle("process.args", "must name a command"));
        }
        if !process.cwd().is_absolute() {
            return Err(Failure::bundle("process.cwd", "must be an absolute path"));
        }
        let filter = seccomp.map(seccomp::compile).transpose().map_err(|error| Failure::bundle("linux.seccomp", error))?;
        Ok(Self {
            arguments,
            environment: environment(process.env().as_deref().unwrap_or_default())?,
            cwd: process.cwd().clone(),
            user: identity(process)?,
            capabilities: CapabilityPlan::new(process.capabilities().as_ref()),
            rlimits: process.rlimits().iter().flatten().map(rlimit).collect(),
            no_new_privileges: process.no_new_privileges().unwrap_or(false),
            oom_score_adj: process.oom_score_adj(),
            terminal: process.terminal().unwrap_or(false).then(|| terminal_size(process)),
            filter,
            labels: labels(process),
        })
    }

    /// Sets what a child inherits and what needs the host's `/proc`. To be called in the creator, which ends soon after.
    pub(crate) fn set_inherited(&mut self, clamped: &mut Vec<String>) -> Result<(), Failure> {
        if let Some(wanted) = self.oom_score_adj {
            set_oom_score_adj(wanted, clamped)?;
        }
        self.capabilities.clamp(clamped)
    }

    /// Opens the files of the security modules in the host's `/proc`. To be called in the process itself.
    pub(crate) fn open_labels(&mut self, proc: BorrowedFd<'_>) -> Result<(), Failure> {
        for label in &mut self.labels {
            let file = openat(proc, label.file, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())
                .during("apply process.apparmorProfile or process.selinuxLabel: this machine lacks the security module:", label.file)?;
            label.opened = Some(file);
        }
        Ok(())
    }

    /// Becomes the process in all but the program. `root` is where `/` is already; every descriptor but it, the standard streams and
    /// those in `kept` is closed.
    pub(crate) fn prepare(
        mut self,
        root: Root,
        kept: &[BorrowedFd<'_>],
        mut clamped: Vec<String>,
    ) -> Result<(ReadyProcess, Vec<String>), Failure> {
        let labels = self.labels.iter().filter_map(|label| label.opened.as_ref()).map(OwnedFd::as_fd);
        let kept: Vec<_> = labels.chain([root.as_fd()]).chain(kept.iter().copied()).collect();
        sys::close_all_except(&kept).during("close", "descriptors")?;
        sys::reset_signals().during("reset", "signals")?;
        // Containers must not see the keys of the host's session. Where keyrings are full or absent there is nothing to see.
        let _ = sys::join_new_session_keyring();
        for (resource, limit, name) in &self.rlimits {
            set_rlimit(*resource, limit, name, &mut clamped)?;
        }
        self.set_home(&root);
        give_stdio(&self.user)?;
        let entered = enter_directory(&root, &self.cwd)?;
        drop(root);
        self.capabilities.limit_bounding_set()?;
        self.take_identity()?;
        if !entered {
            let root = open("/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).during("open", "/")?;
            if !enter_directory(&Root::new(root), &self.cwd)? {
                return Err(Failure::step("enter process.cwd", self.cwd.display(), Errno::ACCESS));
            }
        }
        // Without no_new_privs only CAP_SYS_ADMIN may set a filter, so it is kept for that one call.
        let late = self.filter.is_some() && !self.no_new_privileges;
        self.capabilities.apply(if late { CapabilitySet::SYS_ADMIN } else { CapabilitySet::empty() })?;
        if self.no_new_privileges {
            set_no_new_privs(true).during("set", "no_new_privs")?;
        }
        // After every change of credentials, which would reset it.
        set_parent_process_death_signal(Some(Signal::KILL)).during("bind to", "the shim's life")?;
        umask(Mode::from_raw_mode(self.user.umask));
        let path = command::find(&self.arguments[0], &self.environment)?;
        Ok((ReadyProcess { path, plan: self }, clamped))
    }

    fn take_identity(&self) -> Result<(), Failure> {
        let Identity { uid, gid, groups, .. } = &self.user;
        let groups: Vec<_> = groups.iter().copied().map(Gid::from_raw).collect();
        set_keep_capabilities(true).during("keep", "capabilities")?;
        set_thread_groups(&groups).during("set", "additional groups")?;
        let gid_raw = Gid::from_raw(*gid);
        set_thread_res_gid(gid_raw, gid_raw, gid_raw).during("set group", gid)?;
        let uid_raw = Uid::from_raw(*uid);
        set_thread_res_uid(uid_raw, uid_raw, uid_raw).during("set user", uid)?;
        set_keep_capabilities(false).during("stop keeping", "capabilities")
    }

    /// Programs expect it, and only the container's own list of users knows it.
    fn set_home(&mut self, root: &Root) {
        if self.environment.iter().any(|entry| entry.as_bytes().starts_with(b"HOME=") && entry.as_bytes().len() > 5) {
            return;
        }
        self.environment.retain(|entry| !entry.as_bytes().starts_with(b"HOME="));
        let home = home_of(root, self.user.uid).unwrap_or_else(|| b"/".to_vec());
        if let Ok(entry) = CString::new([b"HOME=".as_slice(), &home].concat()) {
            self.environment.push(entry);
        }
    }
}

/// A process that has everything but its program.
#[derive(Debug)]
pub(crate) struct ReadyProcess {
    path: CString,
    plan: ProcessPlan,
}

impl ReadyProcess {
    /// Tells the shim. An error means that nobody is there any more who would start, watch or reap this process.
    pub(crate) fn announce(&self, channel: BorrowedFd<'_>, clamped: &[String], console: Option<&OwnedFd>) -> Result<(), Failure> {
        channel::send_ready(channel, clamped, console.map(OwnedFd::as_fd)).during("tell the shim of", "readiness")
    }

    /// Becomes the command. Returns only what prevented it.
    pub(crate) fn run(self) -> Failure {
        self.become_command().err().unwrap_or(Failure::NotRunning)
    }

    fn become_command(self) -> Result<(), Failure> {
        let Self { path, plan } = self;
        for label in &plan.labels {
            if let Some(file) = &label.opened {
                rustix::io::write(file, label.content.as_bytes()).during("set security label", &label.content)?;
            }
        }
        if let Some(filter) = &plan.filter {
            filter.install().during("install", "system call filter")?;
            if !plan.no_new_privileges {
                plan.capabilities.apply(CapabilitySet::empty())?;
            }
        }
        let error = sys::execve(&path, &plan.arguments, &plan.environment);
        Err(command::refused(&path, &error))
    }
}

fn refuse_unsupported(process: &Process) -> Result<(), Failure> {
    let refused = [
        ("process.ioPriority", process.io_priority().is_some()),
        ("process.scheduler", process.scheduler().is_some()),
        ("process.execCPUAffinity", process.exec_cpu_affinity().is_some()),
    ];
    match refused.iter().find(|(_, given)| *given) {
        Some((field, _)) => Err(Failure::bundle(*field, "is not supported by this runtime; leave it out")),
        None => Ok(()),
    }
}

fn strings(field: &str, values: &[String]) -> Result<Vec<CString>, Failure> {
    let convert = |(index, value): (usize, &String)| {
        CString::new(value.as_str()).map_err(|_| Failure::bundle(format!("{field}[{index}]"), "must not contain a NUL byte"))
    };
    values.iter().enumerate().map(convert).collect()
}

/// Of entries with the same name the last counts, as in a shell.
fn environment(entries: &[String]) -> Result<Vec<CString>, Failure> {
    let name = |entry: &str| entry.split_once('=').map(|(name, _)| name.to_owned());
    for (index, entry) in entries.iter().enumerate() {
        if name(entry).is_none_or(|name| name.is_empty()) {
            return Err(Failure::bundle(format!("process.env[{index}]"), "must be of the form NAME=value"));
        }
    }
    let names: Vec<_> = entries.iter().map(|entry| name(entry)).collect();
    let is_last = |index: usize| !names[index + 1..].contains(&names[index]);
    let kept: Vec<_> = (0..entries.len()).filter(|&index| is_last(index)).map(|index| entries[index].clone()).collect();
    strings("process.env", &kept)
}

fn identity(process: &Process) -> Result<Identity, Failure> {
    let user = process.user();
    let groups = user.additional_gids().clone().unwrap_or_default();
    // The kernel takes the largest number as "leave it as it is".
    if [user.uid(), user.gid()].contains(&u32::MAX) || groups.contains(&u32::MAX) {
        return Err(Failure::bundle("process.user", "4294967295 is not an id"));
    }
    Ok(Identity { uid: user.uid(), gid: user.gid(), groups, umask: user.umask().unwrap_or(UMASK_DEFAULT) & 0o777 })
}

fn rlimit(limit: &PosixRlimit) -> (Resource, Rlimit, String) {
    let resource = match limit.typ() {
        PosixRlimitType::RlimitCpu => Resource::Cpu,
        PosixRlimitType::RlimitFsize => Resource::Fsize,
        PosixRlimitType::RlimitData => Resource::Data,
        PosixRlimitType::RlimitStack => Resource::Stack,
        PosixRlimitType::RlimitCore => Resource::Core,
        PosixRlimitType::RlimitRss => Resource::Rss,
        PosixRlimitType::RlimitNproc => Resource::Nproc,
        PosixRlimitType::RlimitNofile => Resource::Nofile,
        PosixRlimitType::RlimitMemlock => Resource::Memlock,
        PosixRlimitType::RlimitAs => Resource::As,
        PosixRlimitType::RlimitLocks => Resource::Locks,
        PosixRlimitType::RlimitSigpending => Resource::Sigpending,
        PosixRlimitType::RlimitMsgqueue => Resource::Msgqueue,
        PosixRlimitType::RlimitNice => Resource::Nice,
        PosixRlimitType::RlimitRtprio => Resource::Rtprio,
        PosixRlimitType::RlimitRttime => Resource::Rttime,
    };
    // OCI writes the largest number for "unlimited", as the kernel does.
    let value = |number: u64| (number != u64::MAX).then_some(number);
    (resource, Rlimit { current: value(limit.soft()), maximum: value(limit.hard()) }, limit.typ().to_string())
}

fn terminal_size(process: &Process) -> TerminalSize {
    let cells = |number: u64| u16::try_from(number).unwrap_or(u16::MAX);
    process
        .console_size()
        .map_or_else(TerminalSize::default, |size| TerminalSize { rows: cells(size.height()), columns: cells(size.width()) })
}

fn labels(process: &Process) -> Vec<Label> {
    let mut labels = Vec::new();
    if let Some(profile) = process.apparmor_profile().as_deref().filter(|profile| !profile.is_empty()) {
        labels.push(Label { file: "self/attr/apparmor/exec", content: format!("exec {profile}"), opened: None });
    }
    if let Some(label) = process.selinux_label().as_deref().filter(|label| !label.is_empty()) {
        labels.push(Label { file: "self/attr/exec", content: label.to_owned(), opened: None });
    }
    labels
}

/// A lower value than the present one needs CAP_SYS_RESOURCE; without it, the present one stays.
fn set_oom_score_adj(wanted: i32, clamped: &mut Vec<String>) -> Result<(), Failure> {
    let path = "/proc/self/oom_score_adj";
    let refused = match std::fs::write(path, wanted.to_string()) {
        Ok(()) => return Ok(()),
        Err(error) => error,
    };
    let present = std::fs::read_to_string(path).ok().and_then(|text| text.trim().parse::<i32>().ok());
    match present {
        Some(present) if refused.raw_os_error() == Some(libc::EACCES) && wanted < present => {
            clamped.push(format!("process.oomScoreAdj {wanted} needs CAP_SYS_RESOURCE: it stays at {present}"));
            Ok(())
        }
        _ => Err(Failure::step(format!("write {wanted} to"), path, refused)),
    }
}

/// Raising a hard limit needs CAP_SYS_RESOURCE; without it, the present hard limit is the most there is.
fn set_rlimit(resource: Resource, wanted: &Rlimit, name: &str, clamped: &mut Vec<String>) -> Result<(), Failure> {
    match setrlimit(resource, *wanted) {
        Err(Errno::PERM) => {}
        other => return other.during("set limit", name),
    }
    let most = getrlimit(resource).maximum;
    let least = |a: Option<u64>, b: Option<u64>| match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    };
    let granted = Rlimit { current: least(wanted.current, most), maximum: least(wanted.maximum, most) };
    let number = |limit: Option<u64>| limit.map_or_else(|| "unlimited".to_owned(), |limit| limit.to_string());
    clamped.push(format!("{name} {} needs CAP_SYS_RESOURCE: it is {}", number(wanted.maximum), number(granted.maximum)));
    setrlimit(resource, granted).during("set limit", name)
}

/// Lets the user of the process open its own streams by name (`/dev/stdout`), which are pipes of the shim's user.
fn give_stdio(user: &Identity) -> Result<(), Failure> {
    if user.uid == 0 {
        return Ok(());
    }
    for fd in [rustix::stdio::stdin(), rustix::stdio::stdout(), rustix::stdio::stderr()] {
        let Ok(status) = fstat(fd) else { continue };
        if status.st_rdev == makedev(1, 3) || status.st_uid == user.uid {
            continue;
        }
        match fchown(fd, Some(Uid::from_raw(user.uid)), None) {
            // A file of another file system, or one that is read-only: it works as it is, or it never would.
            Ok(()) | Err(Errno::INVAL | Errno::PERM | Errno::ROFS) => {}
            Err(errno) => return Err(Failure::step("give standard streams to user", user.uid, errno)),
        }
    }
    Ok(())
}

/// `false` if the permission is missing: the user of the process may have it where root of the host has not.
fn enter_directory(root: &Root, path: &Path) -> Result<bool, Failure> {
    let entered = root.open(path).and_then(|directory| fchdir(&directory).map_err(io::Error::from));
    match entered {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Ok(false),
        other => other.during_path("enter process.cwd", path)?,
    }
    let real = getcwd(Vec::new()).during("look at", "working directory")?;
    // The kernel marks a directory outside of the root.
    if !real.as_bytes().starts_with(b"/") {
        return Err(Failure::step("enter process.cwd", path.display(), Errno::XDEV));
    }
    Ok(true)
}

/// The home directory in the container's list of users.
fn home_of(root: &Root, uid: u32) -> Option<Vec<u8>> {
    let file = root.open_to_read(Path::new("/etc/passwd")).ok()?;
    let mut text = vec![0; PASSWD_BYTES_MAX];
    let mut length = 0;
    while length < text.len() {
        match rustix::io::read(&file, &mut text[length..]) {
            Ok(0) => break,
            Ok(count) => length += count,
            Err(_) => return None,
        }
    }
    // name:password:uid:gid:comment:home:shell
    text[..length].split(|&byte| byte == b'\n').find_map(|line| {
        let mut fields = line.split(|&byte| byte == b':');
        let number = std::str::from_utf8(fields.nth(2)?).ok()?.parse::<u32>().ok()?;
        let home = fields.nth(2)?;
        (number == uid && !home.is_empty()).then(|| home.to_vec())
    })
}

const UMASK_DEFAULT: u32 = 0o022;
/// Far more than any list of users in an image.
const PASSWD_BYTES_MAX: usize = 256 * 1024;
