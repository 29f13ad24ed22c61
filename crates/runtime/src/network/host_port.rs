//! A port of the node that leads to a port of a pod: the type, and when two of them cannot both be.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

/// The protocols that Kubernetes knows for ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Protocol {
    /// TCP, the default.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

/// One `hostPort` of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct HostPort {
    /// The node's address; absent means all of them. `0.0.0.0` and `::` are taken as absent.
    pub host_ip: Option<IpAddr>,
    /// The node's port, 1 to 65535.
    pub host_port: u16,
    /// The protocol of both ends.
    pub protocol: Protocol,
    /// The pod's port, 1 to 65535.
    pub container_port: u16,
}

impl Protocol {
    /// The number of the protocol in an IP header.
    pub(super) fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
            Self::Sctp => 132,
        }
    }
}

impl HostPort {
    /// The same port with "all addresses" written in one way only.
    pub(super) fn normalized(self) -> Self {
        Self { host_ip: self.host_ip.filter(|ip| !ip.is_unspecified()), ..self }
    }

    /// Whether both would want the same packets.
    pub(super) fn conflicts_with(&self, other: &Self) -> bool {
        let addresses_meet = match (self.host_ip, other.host_ip) {
            (Some(one), Some(two)) => one == two,
            (None, _) | (_, None) => true,
        };
        self.protocol == other.protocol && self.host_port == other.host_port && addresses_meet
    }

    /// The file name of its claim.
    pub(super) fn claim_name(&self) -> String {
        let protocol = self.protocol.to_string().to_ascii_lowercase();
        match self.host_ip {
            Some(ip) => format!("{protocol}-{ip}-{}", self.host_port),
            None => format!("{protocol}-any-{}", self.host_port),
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
            Self::Sctp => "SCTP",
        })
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host_ip {
            Some(ip) => write!(f, "{}/{}", SocketAddr::new(ip, self.host_port), self.protocol),
            None => write!(f, "{}/{}", self.host_port, self.protocol),
        }
    }
}

#[cfg(test)]
mod tests;
