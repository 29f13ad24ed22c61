//! What kernel and privileges have to be for containers.

use std::collections::BTreeSet;
use std::fs;

use oci_spec::runtime::LinuxResources;
use rustix::thread::{CapabilitySet, UnshareFlags};
use shim::cgroup::{Cgroup, CgroupPath};

use super::{Finding, Severity};
use crate::embedded::app_armor::{has_app_armor, has_default_app_armor_profile};
use crate::embedded::errors::chain;

const PRIVILEGES: &str = "privileges";
const CGROUPS: &str = "cgroups";
const CONTROLLERS: &str = "cgroup controllers";
const SECCOMP: &str = "system call filters";
const APP_ARMOR: &str = "AppArmor";

/// What the runtime itself needs, and what every container is given.
const NEEDED: [(CapabilitySet, &str); 8] = [
    (CapabilitySet::SYS_ADMIN, "CAP_SYS_ADMIN"),
    (CapabilitySet::CHOWN, "CAP_CHOWN"),
    (CapabilitySet::DAC_OVERRIDE, "CAP_DAC_OVERRIDE"),
    (CapabilitySet::FOWNER, "CAP_FOWNER"),
    (CapabilitySet::MKNOD, "CAP_MKNOD"),
    (CapabilitySet::SETUID, "CAP_SETUID"),
    (CapabilitySet::SETGID, "CAP_SETGID"),
    (CapabilitySet::SETPCAP, "CAP_SETPCAP"),
];

pub(super) fn privileges() -> Vec<Finding> {
    let effective = rustix::thread::capabilities(None).map_or(CapabilitySet::empty(), |sets| sets.effective);
    let missing: Vec<&str> = NEEDED.iter().filter(|(needed, _)| !effective.contains(*needed)).map(|(_, name)| *name).collect();
    let mut findings = Vec::new();
    if missing.is_empty() {
        findings.push(Finding::fine(PRIVILEGES, "root"));
    } else {
        findings.push(Finding::wrong(
            PRIVILEGES,
            Severity::Blocks,
            format!("{} missing", list(&missing, "is", "are")),
            "only a privileged process can make containers",
            "run as root",
        ));
    }
    if !effective.contains(CapabilitySet::SYS_RESOURCE) {
        findings.push(Finding::wrong(
            PRIVILEGES,
            Severity::Limits,
            "CAP_SYS_RESOURCE is missing",
            "containers cannot be protected from the out-of-memory killer better than usher itself is, nor have more open files than it",
            "nothing if that will do; else run with all of root's capabilities, outside of a container if this runs in one",
        ));
    }
    findings
}

fn list(names: &[&str], one: &str, many: &str) -> String {
    format!("{} {}", names.join(", "), if names.len() == 1 { one } else { many })
}

/// Tries each kind in a thread that ends with it.
pub(super) fn namespaces() -> Vec<Finding> {
    let kinds = [
        (UnshareFlags::NEWNS, "mount", "CONFIG_NAMESPACES", "user.max_mnt_namespaces"),
        (UnshareFlags::NEWPID, "pid", "CONFIG_PID_NS", "user.max_pid_namespaces"),
        (UnshareFlags::NEWIPC, "ipc", "CONFIG_IPC_NS", "user.max_ipc_namespaces"),
        (UnshareFlags::NEWUTS, "uts", "CONFIG_UTS_NS", "user.max_uts_namespaces"),
        (UnshareFlags::NEWCGROUP, "cgroup", "CONFIG_CGROUPS", "user.max_cgroup_namespaces"),
    ];
    let tried = kinds.into_iter().map(|(flag, name, option, limit)| {
        let subject = format!("{name} namespaces");
        match in_own_thread(move || unshare(flag)) {
            Ok(()) => Finding::fine(&subject, String::new()),
            Err(reason) => Finding::wrong(
                &subject,
                Severity::Blocks,
                format!("cannot make a {name} namespace: {reason}"),
                "each container has namespaces of its own",
                format!("use a kernel with {option}, and raise sysctl {limit} if that is the limit"),
            ),
        }
    });
    tried.collect()
}

/// Runs `work` in a thread of its own, which keeps whatever it changes about itself.
pub(super) fn in_own_thread<T: Send + 'static>(work: impl FnOnce() -> Result<T, String> + Send + 'static) -> Result<T, String> {
    let thread = std::thread::Builder::new().name("check".to_owned()).spawn(work).map_err(|error| error.to_string())?;
    thread.join().unwrap_or_else(|_| Err("the check broke off".to_owned()))
}

pub(super) fn unshare(flags: UnshareFlags) -> Result<(), String> {
    #[expect(unsafe_code, reason = "unsharing is unsafe where it changes file descriptors")]
    // SAFETY: only namespaces are unshared, never the file descriptor table, and the thread ends soon.
    let unshared = unsafe { rustix::thread::unshare_unsafe(flags) };
    unshared.map_err(|error| error.to_string())
}

/// Makes a pod's cgroup and removes it.
pub(super) fn cgroup(parent: &str) -> Finding {
    let tried = || -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let path = CgroupPath::new(format!("{parent}/check-{}", std::process::id()))?;
        let made = Cgroup::create_pod(&path, &LinuxResources::default());
        let removed = Cgroup::open(&path)?.remove();
        made?;
        Ok(removed?)
    };
    match tried() {
        Ok(()) => Finding::fine(CGROUPS, String::new()),
        Err(error) => Finding::wrong(
            CGROUPS,
            Severity::Blocks,
            format!("cannot make a cgroup: {}", chain(error.as_ref())),
            "each pod and each container is limited, watched and killed by its cgroup",
            "mount the cgroup hierarchies writable (in a container: run it with --privileged and --cgroupns=host)",
        ),
    }
}

/// Which resources are limited and counted.
pub(super) fn controllers() -> Finding {
    let found = found_controllers();
    let wanted = [
        ("memory", "memory limits do not hold, and out-of-memory kills are not told"),
        ("cpu", "cpu requests and limits do not hold"),
        ("pids", "limits on processes do not hold"),
    ];
    let missing: Vec<_> = wanted.iter().filter(|(name, _)| !found.contains(*name)).collect();
    if missing.is_empty() {
        return Finding::fine(CONTROLLERS, found.into_iter().collect::<Vec<_>>().join(", "));
    }
    let names: Vec<&str> = missing.iter().map(|(name, _)| *name).collect();
    let effects: Vec<&str> = missing.iter().map(|(_, effect)| *effect).collect();
    Finding::wrong(
        CONTROLLERS,
        Severity::Limits,
        format!("cgroup {} missing", list(&names, "controller is", "controllers are")),
        &effects.join("; "),
        "enable them: boot with cgroup_enable=memory where the memory controller is off by default, or mount the hierarchies of cgroup v1",
    )
}

/// Controllers of v1 are options of their mounts, those of v2 stand in a file at its root.
pub(super) fn found_controllers() -> BTreeSet<String> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    controllers_in(&mounts, |path| fs::read_to_string(path).unwrap_or_default())
}

fn controllers_in(mounts: &str, read: impl Fn(&str) -> String) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for mount in mounts.lines() {
        let Some((place, of_file_system)) = mount.split_once(" - ") else { continue };
        let mut fields = of_file_system.split(' ');
        match (fields.next(), place.split(' ').nth(4)) {
            (Some("cgroup"), _) => found.extend(fields.nth(1).unwrap_or_default().split(',').map(str::to_owned)),
            (Some("cgroup2"), Some(path)) => {
                found.extend(read(&format!("{path}/cgroup.controllers")).split_whitespace().map(str::to_owned));
            }
            (_, _) => {}
        }
    }
    const KNOWN: [&str; 10] = ["blkio", "cpu", "cpuacct", "cpuset", "devices", "freezer", "hugetlb", "io", "memory", "pids"];
    found.retain(|name| KNOWN.contains(&name.as_str()));
    found
}

pub(super) fn seccomp() -> Finding {
    let actions = fs::read_to_string("/proc/sys/kernel/seccomp/actions_avail").unwrap_or_default();
    if ["allow", "errno"].iter().all(|action| actions.split_whitespace().any(|known| known == *action)) {
        return Finding::fine(SECCOMP, String::new());
    }
    Finding::wrong(
        SECCOMP,
        Severity::Blocks,
        "the kernel has no seccomp filters",
        "containers run with a filter unless their manifest says otherwise",
        "use a kernel with CONFIG_SECCOMP_FILTER",
    )
}

pub(super) fn app_armor() -> Finding {
    match (has_app_armor(), has_default_app_armor_profile()) {
        (false, _) => Finding::fine(APP_ARMOR, "not in this kernel"),
        (true, true) => Finding::fine(APP_ARMOR, String::new()),
        (true, false) => Finding::wrong(
            APP_ARMOR,
            Severity::Limits,
            "apparmor_parser is not installed",
            "without it containers run without the default profile, which keeps those with many rights from the machine",
            "install the package apparmor",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::controllers_in;

    #[test]
    fn controllers_are_found_in_both_kinds_of_hierarchy() {
        let mounts = "30 23 0:26 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n\
                      31 30 0:27 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu,cpuacct\n\
                      32 30 0:28 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd\n\
                      33 30 0:29 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
        let found = controllers_in(mounts, |path| {
            assert_eq!(path, "/sys/fs/cgroup/unified/cgroup.controllers");
            "memory pids rdma".to_owned()
        });
        assert_eq!(found.into_iter().collect::<Vec<_>>(), ["cpu", "cpuacct", "memory", "pids"]);
    }
}
