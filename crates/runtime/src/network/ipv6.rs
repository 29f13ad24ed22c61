//! Whether pods have IPv6 addresses too, and from which range where nobody named one.
//!
//! Only looked at, never changed. All processes of a machine come to the same answer as long as the machine stays as it is, which they
//! have to: those that use the same bridge share one network.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use super::collision::WAY_OUT_PREFIX_LEN_MAX;
use super::config::SETTING_IPV6_SUBNET;
use super::subnet::{Ipv4Subnet, Ipv6Subnet, SubnetError, prefixes_overlap};
use super::sysctl;

/// What an administrator says of the pods' IPv6.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Ipv6Pods {
    /// They have it where the machine does, from [`Ipv6Subnet::beside`] their IPv4 range: `auto`.
    #[default]
    Auto,
    /// They do not: `off`.
    Off,
    /// They have it, from this range.
    Subnet(Ipv6Subnet),
}

/// Why pods have IPv4 addresses only, though nobody turned IPv6 off.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Ipv6Missing {
    /// There is none to be had.
    #[error("the kernel has no IPv6")]
    NotInKernel,
    /// New interfaces do not get it.
    #[error("kernel setting {} is 1; {} with a range gives it to pods all the same", sysctl::IPV6_DISABLED_BY_DEFAULT, SETTING_IPV6_SUBNET)]
    Forbidden,
    /// Somebody else has the range that pods would get.
    #[error("{subnet} collides with route {route} of this machine; give pods another range with {}", SETTING_IPV6_SUBNET)]
    Collides {
        /// The range.
        subnet: Ipv6Subnet,
        /// The route that is in the way, as `ip route` writes it.
        route: String,
    },
    /// The machine does not tell what it has.
    #[error("cannot read {path}: {reason}")]
    Unreadable {
        /// What was looked at.
        path: String,
        /// What the system said.
        reason: String,
    },
}

/// Where the kernel lists its IPv6 routes.
const ROUTES: &str = "/proc/thread-self/net/ipv6_route";

impl Ipv6Pods {
    /// The range that pods beside this IPv4 range have, if any; looks in the network namespace of the calling thread.
    ///
    /// # Errors
    /// When pods would have IPv6 if the machine let them.
    pub fn subnet(self, ipv4: Ipv4Subnet, bridge: &str) -> Result<Option<Ipv6Subnet>, Ipv6Missing> {
        match self {
            Self::Off => Ok(None),
            Self::Subnet(subnet) => Ok(Some(subnet)),
            Self::Auto => beside(ipv4, bridge).map(Some),
        }
    }
}

impl FromStr for Ipv6Pods {
    type Err = SubnetError;

    fn from_str(text: &str) -> Result<Self, SubnetError> {
        match text {
            "auto" => Ok(Self::Auto),
            "off" => Ok(Self::Off),
            subnet => subnet.parse().map(Self::Subnet),
        }
    }
}

fn beside(ipv4: Ipv4Subnet, bridge: &str) -> Result<Ipv6Subnet, Ipv6Missing> {
    let unreadable = |path: &str, source: &io::Error| Ipv6Missing::Unreadable { path: path.to_owned(), reason: source.to_string() };
    match sysctl::is_ipv6_on() {
        Ok(Some(true)) => {}
        Ok(Some(false)) => return Err(Ipv6Missing::Forbidden),
        Ok(None) => return Err(Ipv6Missing::NotInKernel),
        Err(error) => return Err(unreadable(&error.name, &error.source)),
    }
    let subnet = Ipv6Subnet::beside(ipv4);
    let routes = fs::read_to_string(ROUTES).map_err(|error| unreadable(ROUTES, &error))?;
    match routes.lines().filter_map(destination).find(|route| is_in_the_way(route, subnet, bridge)) {
        Some(((address, prefix_len), link)) => Err(Ipv6Missing::Collides { subnet, route: format!("{address}/{prefix_len} dev {link}") }),
        None => Ok(subnet),
    }
}

/// Of a line like `fd000000000000000000000000000000 40 … eth0`: where the route leads, and through which interface.
fn destination(line: &str) -> Option<((Ipv6Addr, u8), &str)> {
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    let address = u128::from_str_radix(fields.first()?, 16).ok()?;
    let prefix_len = u8::from_str_radix(fields.get(1)?, 16).ok()?;
    Some(((Ipv6Addr::from(address), prefix_len), fields.last()?))
}

fn is_in_the_way(((address, prefix_len), link): &((Ipv6Addr, u8), &str), subnet: Ipv6Subnet, bridge: &str) -> bool {
    let ours = (IpAddr::V6(subnet.network()), subnet.prefix_len());
    // Routes that refuse packets are on the loopback.
    *link != bridge && *link != "lo" && *prefix_len > WAY_OUT_PREFIX_LEN_MAX && prefixes_overlap((IpAddr::V6(*address), *prefix_len), ours)
}

#[cfg(test)]
mod tests;
