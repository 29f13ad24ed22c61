//! Kernel settings of the network, as files.
//!
//! `/proc/sys/net` shows the network namespace of the thread that opens it, so these work on whichever that is. A setting is
//! written only if it differs, and every change is reported: it outlives the pods.

use std::fmt;
use std::fs;
use std::io;
use std::path::PathBuf;

/// Lets IPv4 packets pass from one interface to another.
const IPV4_FORWARD: &str = "net/ipv4/ip_forward";
/// Likewise for IPv6.
const IPV6_FORWARD: &str = "net/ipv6/conf/all/forwarding";

/// Whether new interfaces are without IPv6, as `sysctl` names it.
pub(super) const IPV6_DISABLED_BY_DEFAULT: &str = "net.ipv6.conf.default.disable_ipv6";

/// A kernel setting that was changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SysctlChange {
    /// The setting, as `sysctl` names it.
    pub name: String,
    /// Its value before.
    pub from: String,
    /// Its value now.
    pub to: String,
    /// What needs it.
    pub reason: &'static str,
}

/// Why a kernel setting is not as it has to be.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} kernel setting {name}")]
pub struct SysctlError {
    /// `read` or `set`.
    pub action: &'static str,
    /// The setting, as `sysctl` names it.
    pub name: String,
    /// What the system said.
    pub source: io::Error,
}

/// Makes the node pass on the pods' IPv4 packets.
pub(super) fn enable_ipv4_forwarding() -> Result<Vec<SysctlChange>, SysctlError> {
    let change = set(IPV4_FORWARD, "1", "pods reach other networks through this machine")?;
    Ok(change.into_iter().collect())
}

/// Whether the node passes on IPv4 packets.
pub(super) fn ipv4_forwarding() -> Result<bool, SysctlError> {
    Ok(read(IPV4_FORWARD)? != "0")
}

/// Whether the node passes on IPv6 packets.
pub(super) fn ipv6_forwarding() -> Result<bool, SysctlError> {
    Ok(read(IPV6_FORWARD)? != "0")
}

/// Whether new interfaces have IPv6; `None` if the kernel has none.
pub(super) fn is_ipv6_on() -> Result<Option<bool>, SysctlError> {
    match read(&IPV6_DISABLED_BY_DEFAULT.replace('.', "/")) {
        Ok(disabled) => Ok(Some(disabled == "0")),
        Err(error) if error.source.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Makes the node pass on the pods' IPv6 packets.
///
/// A router does not listen to other routers unless told to: interfaces that get their own address or route from router
/// advertisements are told to go on, or the machine would lose its IPv6 when those run out. Not so the bridge, where no router is.
pub(super) fn enable_ipv6_forwarding(bridge: &str) -> Result<Vec<SysctlChange>, SysctlError> {
    if ipv6_forwarding()? {
        return Ok(Vec::new());
    }
    let mut changes = Vec::new();
    let folder = path("net/ipv6/conf");
    let io = |source| SysctlError { action: "read", name: "net.ipv6.conf".to_owned(), source };
    // One entry for each interface of the machine.
    for entry in fs::read_dir(folder).map_err(io)? {
        let interface = entry.map_err(io)?.file_name();
        let name = format!("net/ipv6/conf/{}/accept_ra", interface.to_string_lossy());
        let has_routers = !["all", "default", "lo", bridge].iter().any(|name| interface == *name);
        if has_routers && read(&name)? == "1" {
            changes.extend(set(&name, "2", "a machine that forwards IPv6 ignores routers otherwise")?);
        }
    }
    changes.extend(set(IPV6_FORWARD, "1", "pods reach other networks through this machine")?);
    Ok(changes)
}

/// Lets the bridge carry packets of the node's loopback, for `127.0.0.1:hostPort`. Our rules keep others from using it.
pub(super) fn enable_route_localnet(bridge: &str) -> Result<Vec<SysctlChange>, SysctlError> {
    let name = format!("net/ipv4/conf/{bridge}/route_localnet");
    let change = set(&name, "1", "host ports answer on 127.0.0.1")?;
    Ok(change.into_iter().collect())
}

/// Allows IPv6 on an interface of a machine that forbids it by default.
pub(super) fn enable_ipv6(interface: &str) -> Result<Vec<SysctlChange>, SysctlError> {
    let change = set(&format!("net/ipv6/conf/{interface}/disable_ipv6"), "0", "pods have IPv6 addresses")?;
    Ok(change.into_iter().collect())
}

/// Keeps a pod from being taken for a router by whoever is behind this interface: there is none among pods.
pub(super) fn refuse_routers(interface: &str) -> Result<Vec<SysctlChange>, SysctlError> {
    let change = set(&format!("net/ipv6/conf/{interface}/accept_ra"), "0", "no pod is a router")?;
    Ok(change.into_iter().collect())
}

fn set(name: &str, to: &str, reason: &'static str) -> Result<Option<SysctlChange>, SysctlError> {
    let from = read(name)?;
    if from == to {
        return Ok(None);
    }
    fs::write(path(name), to).map_err(|source| SysctlError { action: "set", name: dotted(name), source })?;
    Ok(Some(SysctlChange { name: dotted(name), from, to: to.to_owned(), reason }))
}

fn read(name: &str) -> Result<String, SysctlError> {
    let value = fs::read_to_string(path(name));
    let value = value.map_err(|source| SysctlError { action: "read", name: dotted(name), source })?;
    Ok(value.trim().to_owned())
}

/// The file of a setting, whose name is written with slashes.
pub(super) fn path(name: &str) -> PathBuf {
    PathBuf::from("/proc/sys").join(name)
}

/// `sysctl` swaps dots and slashes, so that an interface `eth0.5` is `eth0/5` in a setting's name.
fn dotted(name: &str) -> String {
    name.chars()
        .map(|c| match c {
            '/' => '.',
            '.' => '/',
            other => other,
        })
        .collect()
}

impl fmt::Display for SysctlChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "changed kernel setting {} from {} to {}: {}", self.name, self.from, self.to, self.reason)
    }
}
