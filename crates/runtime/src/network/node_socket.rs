//! Who is in the way of a host port on the node itself.
//!
//! A rule for a host port goes before every socket: a process of the node that listens there would silently lose its clients
//! to the pod, `sshd` too. Only sockets that wait for strangers count; a connection that happens to have the port does not.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with, sockopt};

use super::host_port::{HostPort, Protocol};

/// The address families in which host ports lead to pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Families {
    /// IPv4 only.
    Ipv4,
    /// IPv4 and IPv6.
    Both,
}

/// What the node has at a host port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NodeSocket {
    /// Nobody waits there, or it cannot be told.
    Free,
    /// Some process waits there.
    Taken,
    /// The node does not have that address at the moment.
    NoSuchAddress,
}

impl NodeSocket {
    /// Looks in the network namespace of the calling thread. A port on all addresses has those of IPv6 where pods have them.
    pub(super) fn at(port: &HostPort, families: Families) -> Self {
        let all: &[IpAddr] = match families {
            Families::Ipv4 => &[IpAddr::V4(Ipv4Addr::UNSPECIFIED)],
            Families::Both => &[IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)],
        };
        let addresses = port.host_ip.as_ref().map_or(all, std::slice::from_ref);
        let found = addresses.iter().map(|address| Self::at_address(port, SocketAddr::new(*address, port.host_port)));
        found.max_by_key(|found| *found == Self::Taken).unwrap_or(Self::Free)
    }

    fn at_address(port: &HostPort, address: SocketAddr) -> Self {
        let (kind, waiting) = match port.protocol {
            Protocol::Tcp => (SocketType::STREAM, Waiting { tables: ["tcp", "tcp6"], state: "0A" }),
            Protocol::Udp => (SocketType::DGRAM, Waiting { tables: ["udp", "udp6"], state: "07" }),
            Protocol::Sctp => return Self::Free,
        };
        match try_bind(address, kind) {
            Err(rustix::io::Errno::ADDRINUSE) if waiting.is_listed(port.host_port).unwrap_or(true) => Self::Taken,
            Err(rustix::io::Errno::ADDRNOTAVAIL) => Self::NoSuchAddress,
            Ok(()) | Err(_) => Self::Free,
        }
    }
}

/// Takes the address for an instant, without listening.
fn try_bind(address: SocketAddr, kind: SocketType) -> rustix::io::Result<()> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = socket_with(family, kind, SocketFlags::CLOEXEC, None)?;
    if address.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    if kind == SocketType::STREAM {
        sockopt::set_socket_reuseaddr(&socket, true)?;
    }
    bind(&socket, &address)
}

/// Where the kernel lists sockets, and which state there means "waiting for strangers".
struct Waiting {
    tables: [&'static str; 2],
    state: &'static str,
}

impl Waiting {
    /// Whether any socket waits at this port, whatever its address.
    fn is_listed(&self, port: u16) -> io::Result<bool> {
        for table in self.tables {
            let path = format!("/proc/thread-self/net/{table}");
            for line in BufReader::new(File::open(path)?).lines().skip(1) {
                if self.matches(&line?, port) {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// Fields: number, local `ADDRESS:PORT` in hex, remote, state.
    fn matches(&self, line: &str, port: u16) -> bool {
        let mut fields = line.split_ascii_whitespace();
        let local = fields.nth(1).and_then(|local| local.rsplit_once(':'));
        let local_port = local.and_then(|(_, port)| u16::from_str_radix(port, 16).ok());
        local_port == Some(port) && fields.nth(1) == Some(self.state)
    }
}

#[cfg(test)]
mod tests;
