//! The namespaces of a container: which it gets anew, which it joins, and which it shares with the shim.
//!
//! As in the OCI specification: listed without a path is new, with a path is joined, not listed is inherited.

use std::{
    collections::BTreeMap,
    fs::File,
    os::{fd::AsFd as _, unix::fs::MetadataExt as _},
    path::{Path, PathBuf},
};

use oci_spec::runtime::{LinuxNamespace, LinuxNamespaceType};
use rustix::{
    net::{AddressFamily, SocketFlags, SocketType, socket_with},
    thread::{LinkNameSpaceType, move_into_link_name_space},
};

use super::error::{During as _, Failure};
use crate::sys;

/// The namespaces of a container, understood.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct NamespacePlan {
    /// Flags for `clone3`. The cgroup namespace is not among them: it is rooted where the process is, so it is made later.
    pub(crate) new: u64,
    pub(crate) new_cgroup: bool,
    join: Vec<(LinkNameSpaceType, &'static str, PathBuf)>,
    listed: Vec<&'static str>,
}

impl NamespacePlan {
    /// Understands `linux.namespaces`.
    pub(crate) fn new(namespaces: &[LinuxNamespace]) -> Result<Self, Failure> {
        let mut plan = Self::default();
        for namespace in namespaces {
            let (kind, name) = kind(namespace.typ()).map_err(|problem| Failure::bundle("linux.namespaces", problem))?;
            if plan.listed.contains(&name) {
                return Err(Failure::bundle("linux.namespaces", format!("{name} is listed twice")));
            }
            plan.listed.push(name);
            match namespace.path() {
                Some(path) if name == "mnt" => {
                    let problem = format!("a mount namespace cannot be joined ({}): leave its path out", path.display());
                    return Err(Failure::bundle("linux.namespaces", problem));
                }
                Some(path) => plan.join.push((kind, name, path.clone())),
                None if name == "cgroup" => plan.new_cgroup = true,
                None => plan.new |= flag(namespace.typ()),
            }
        }
        if !plan.listed.contains(&"mnt") {
            return Err(Failure::bundle("linux.namespaces", "a mount namespace is needed: add {\"type\": \"mount\"}"));
        }
        Ok(plan)
    }

    /// Whether the container gets a namespace of this kind that nobody else is in.
    pub(crate) fn is_new(&self, kind: LinuxNamespaceType) -> bool {
        self.new & flag(kind) != 0
    }

    /// Whether the namespace of that name, as in `/proc/<pid>/ns`, is listed at all.
    fn is_listed(&self, name: &str) -> bool {
        self.listed.contains(&name)
    }

    /// Joins what is to be joined. In the case of the pid namespace, it is the children that will be in it.
    pub(crate) fn join(&self) -> Result<(), Failure> {
        for (kind, name, path) in &self.join {
            let file = File::open(path).during_path("open namespace", path)?;
            let wanted = file.metadata().during_path("look at namespace", path)?;
            let own = std::fs::metadata(format!("/proc/self/ns/{name}")).during("look at own namespace", name)?;
            if (own.dev(), own.ino()) != (wanted.dev(), wanted.ino()) {
                move_into_link_name_space(file.as_fd(), Some(*kind)).during_path("join namespace", path)?;
            }
        }
        Ok(())
    }

    /// Checks `linux.sysctl`: only what belongs to a namespace of the container may be set, never the host's. Gives file and value.
    pub(crate) fn sysctls(&self, settings: &BTreeMap<String, String>) -> Result<Vec<(PathBuf, String)>, Failure> {
        let mut files = Vec::new();
        for (key, value) in settings {
            let refused = |problem: &str| Failure::bundle(format!("linux.sysctl.{key}"), problem);
            // With a slash as the first separator, dots are part of names (such as those of interfaces).
            let parts: Vec<_> = match (key.find('/'), key.find('.')) {
                (Some(slash), dot) if dot.is_none_or(|dot| slash < dot) => key.split('/').collect(),
                _ => key.split('.').collect(),
            };
            if parts.len() < 2 || parts.iter().any(|part| part.is_empty() || *part == "." || *part == ".." || part.contains('/')) {
                return Err(refused("malformed name"));
            }
            let owner = owner_of_sysctl(&parts).ok_or_else(|| refused("belongs to the whole machine and cannot be set for a container"))?;
            if !self.is_listed(owner) {
                return Err(refused(&format!("needs {owner} in linux.namespaces")));
            }
            files.push((Path::new("/proc/sys").join(parts.join("/")), value.clone()));
        }
        Ok(files)
    }
}

/// A new network namespace has its loopback interface down.
pub(crate) fn set_loopback_up() -> Result<(), Failure> {
    let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None).during("open", "socket")?;
    sys::set_loopback_up(socket.as_fd()).during("set up interface", "lo")
}

fn owner_of_sysctl(parts: &[&str]) -> Option<&'static str> {
    match parts {
        ["net", ..] => Some("net"),
        ["fs", "mqueue", ..] => Some("ipc"),
        ["kernel", "sem" | "shm_rmid_forced"] => Some("ipc"),
        ["kernel", name] if name.starts_with("shm") || name.starts_with("msg") => Some("ipc"),
        ["kernel", "domainname"] => Some("uts"),
        _ => None,
    }
}

fn kind(kind: LinuxNamespaceType) -> Result<(LinkNameSpaceType, &'static str), &'static str> {
    match kind {
        LinuxNamespaceType::Mount => Ok((LinkNameSpaceType::Mount, "mnt")),
        LinuxNamespaceType::Cgroup => Ok((LinkNameSpaceType::ControlGroup, "cgroup")),
        LinuxNamespaceType::Uts => Ok((LinkNameSpaceType::HostNameAndNISDomainName, "uts")),
        LinuxNamespaceType::Ipc => Ok((LinkNameSpaceType::InterProcessCommunication, "ipc")),
        LinuxNamespaceType::Pid => Ok((LinkNameSpaceType::ProcessID, "pid")),
        LinuxNamespaceType::Network => Ok((LinkNameSpaceType::Network, "net")),
        LinuxNamespaceType::User => Err("user namespaces are not supported by this runtime; leave it out"),
        LinuxNamespaceType::Time => Err("time namespaces are not supported by this runtime; leave it out"),
    }
}

/// The numbers of the specification's type are those of the kernel's flags.
fn flag(kind: LinuxNamespaceType) -> u64 {
    kind as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(json: &str) -> Result<NamespacePlan, String> {
        NamespacePlan::new(&serde_json::from_str::<Vec<_>>(json).expect("test JSON is valid")).map_err(|failure| format!("{failure:?}"))
    }

    #[test]
    fn listed_is_new_and_a_path_is_joined() {
        let plan =
            check(r#"[{"type":"mount"},{"type":"pid"},{"type":"cgroup"},{"type":"network","path":"/proc/1/ns/net"}]"#).expect("valid");
        assert_eq!(plan.new, (libc::CLONE_NEWNS | libc::CLONE_NEWPID) as u64);
        assert!(plan.new_cgroup && plan.is_new(LinuxNamespaceType::Pid) && !plan.is_new(LinuxNamespaceType::Network));
        assert_eq!(plan.join.len(), 1);
    }

    #[test]
    fn what_cannot_be_isolated_is_refused() {
        assert!(check(r#"[{"type":"pid"}]"#).is_err(), "no mount namespace");
        assert!(check(r#"[{"type":"mount","path":"/proc/1/ns/mnt"}]"#).is_err());
        assert!(check(r#"[{"type":"mount"},{"type":"user"}]"#).is_err());
        assert!(check(r#"[{"type":"mount"},{"type":"pid"},{"type":"pid"}]"#).is_err());
    }

    #[test]
    fn only_settings_of_the_containers_own_namespaces_are_written() {
        let plan = check(r#"[{"type":"mount"},{"type":"network"}]"#).expect("valid");
        let sysctl = |key: &str| plan.sysctls(&BTreeMap::from([(key.to_owned(), "1".to_owned())])).map(|files| files[0].0.clone()).ok();
        assert_eq!(sysctl("net.ipv4.ip_forward"), Some("/proc/sys/net/ipv4/ip_forward".into()));
        assert_eq!(sysctl("net/ipv4/conf/eth0.1/forwarding"), Some("/proc/sys/net/ipv4/conf/eth0.1/forwarding".into()));
        assert_eq!(sysctl("kernel.shmmax"), None, "ipc is not listed");
        assert_eq!(sysctl("kernel.panic"), None);
        assert_eq!(sysctl("vm.swappiness"), None);
        assert_eq!(sysctl("net..x"), None);
        assert_eq!(sysctl("net/../kernel/panic"), None);
    }
}
