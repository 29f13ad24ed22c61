//! The address ranges that pods live in, and the arithmetic on them.
//!
//! A subnet is a proper network (no host bits set) of a length that leaves room for the gateway and at least one pod.
//! Nothing here asks the machine; what the ranges may collide with is `routes`.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// Longest IPv4 prefix: a /30 holds the gateway and one pod, a /31 no pod at all.
const IPV4_PREFIX_LEN_MAX: u8 = 30;
/// Shortest IPv4 prefix: nobody owns more than one eighth-bit block, and anything shorter is a typing error.
const IPV4_PREFIX_LEN_MIN: u8 = 8;
/// Longest IPv6 prefix, by the same reasoning as for IPv4.
const IPV6_PREFIX_LEN_MAX: u8 = 126;
/// Where the ranges are that pods get without being told otherwise: a block of unique local addresses that says `usher` in ASCII.
const IPV6_BLOCK: Ipv6Addr = Ipv6Addr::new(0xfd75, 0x7368, 0x6572, 0, 0, 0, 0, 0);
/// Shortest IPv6 prefix: the block of unique local addresses is `fc00::/7`, and one site's part of it is `fd00::/8` at most.
const IPV6_PREFIX_LEN_MIN: u8 = 8;

/// Why a text is not a usable subnet.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SubnetError {
    /// The text is not `ADDRESS/LENGTH` of the right family.
    #[error("{text:?} is not a subnet of the form {example}")]
    Malformed {
        /// What was given.
        text: String,
        /// A subnet that would have been right.
        example: &'static str,
    },
    /// Bits after the prefix are set, so it is unclear which network is meant.
    #[error("{given} has bits set after its prefix; the network is {network}")]
    HostBits {
        /// What was given.
        given: String,
        /// The network that contains it.
        network: String,
    },
    /// The prefix is too short or too long for pods.
    #[error("prefix length /{len} of {given} is outside /{min} to /{max}")]
    PrefixLen {
        /// What was given.
        given: String,
        /// Its prefix length, in bits.
        len: u8,
        /// The smallest length that is accepted, in bits.
        min: u8,
        /// The greatest length that is accepted, in bits.
        max: u8,
    },
    /// The range has a meaning of its own (loopback, multicast, link local, ...).
    #[error("{given} is reserved and cannot be given to pods")]
    Reserved {
        /// What was given.
        given: String,
    },
}

/// A range of IPv4 addresses for pods; the first address is the gateway (the bridge itself).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ipv4Subnet {
    network: Ipv4Addr,
    prefix_len: u8,
}

impl Ipv4Subnet {
    /// Checks that `network/prefix_len` is a proper network with room for pods, /8 to /30.
    pub fn new(network: Ipv4Addr, prefix_len: u8) -> Result<Self, SubnetError> {
        let given = || format!("{network}/{prefix_len}");
        if !(IPV4_PREFIX_LEN_MIN..=IPV4_PREFIX_LEN_MAX).contains(&prefix_len) {
            let (min, max) = (IPV4_PREFIX_LEN_MIN, IPV4_PREFIX_LEN_MAX);
            return Err(SubnetError::PrefixLen { given: given(), len: prefix_len, min, max });
        }
        let masked = Ipv4Addr::from(u32::from(network) & mask_v4(prefix_len));
        if masked != network {
            return Err(SubnetError::HostBits { given: given(), network: format!("{masked}/{prefix_len}") });
        }
        let first = network.octets()[0];
        if first == 0 || first >= 224 || network.is_loopback() || network.is_link_local() {
            return Err(SubnetError::Reserved { given: given() });
        }
        Ok(Self { network, prefix_len })
    }

    /// The network address.
    pub fn network(self) -> Ipv4Addr {
        self.network
    }

    /// Length of the prefix, in bits.
    pub fn prefix_len(self) -> u8 {
        self.prefix_len
    }

    /// The netmask.
    pub fn netmask(self) -> Ipv4Addr {
        Ipv4Addr::from(mask_v4(self.prefix_len))
    }

    /// The first address: the bridge, which is the pods' gateway.
    pub fn gateway(self) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.network) + 1)
    }

    /// How many pods have room: every address but network, gateway and broadcast.
    pub fn pods_max(self) -> u32 {
        (1_u32 << (32 - self.prefix_len)) - 3
    }

    /// The address of the pod at `slot`, counted from 0; `None` past [`Self::pods_max`].
    pub fn pod_address(self, slot: u32) -> Option<Ipv4Addr> {
        (slot < self.pods_max()).then(|| Ipv4Addr::from(u32::from(self.network) + 2 + slot))
    }

    /// The slot whose address this is; `None` for network, gateway, broadcast and addresses outside.
    pub fn slot(self, address: Ipv4Addr) -> Option<u32> {
        let offset = u32::from(address).checked_sub(u32::from(self.network) + 2)?;
        (offset < self.pods_max()).then_some(offset)
    }

    /// Whether the address lies in the range.
    pub fn contains(self, address: Ipv4Addr) -> bool {
        u32::from(address) & mask_v4(self.prefix_len) == u32::from(self.network)
    }
}

/// A range of IPv6 addresses for pods; the first address is the gateway (the bridge itself).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ipv6Subnet {
    network: Ipv6Addr,
    prefix_len: u8,
}

impl Ipv6Subnet {
    /// Checks that `network/prefix_len` is a proper network with room for pods, /8 to /126.
    pub fn new(network: Ipv6Addr, prefix_len: u8) -> Result<Self, SubnetError> {
        let given = || format!("{network}/{prefix_len}");
        if !(IPV6_PREFIX_LEN_MIN..=IPV6_PREFIX_LEN_MAX).contains(&prefix_len) {
            let (min, max) = (IPV6_PREFIX_LEN_MIN, IPV6_PREFIX_LEN_MAX);
            return Err(SubnetError::PrefixLen { given: given(), len: prefix_len, min, max });
        }
        let masked = Ipv6Addr::from(u128::from(network) & mask_v6(prefix_len));
        if masked != network {
            return Err(SubnetError::HostBits { given: given(), network: format!("{masked}/{prefix_len}") });
        }
        let reserved = network.is_unspecified() || network.is_loopback() || network.is_multicast();
        if reserved || network.is_unicast_link_local() {
            return Err(SubnetError::Reserved { given: given() });
        }
        Ok(Self { network, prefix_len })
    }

    /// The range that goes with an IPv4 range if nobody names another: `fd75:7368:6572::abd:0/112` with `10.189.0.0/16`. A pod's
    /// addresses end alike, and ranges of two bridges are apart if their IPv4 ranges are.
    pub fn beside(ipv4: Ipv4Subnet) -> Self {
        let network = u128::from(IPV6_BLOCK) | u128::from(u32::from(ipv4.network()));
        Self { network: Ipv6Addr::from(network), prefix_len: 96 + ipv4.prefix_len() }
    }

    /// The network address.
    pub fn network(self) -> Ipv6Addr {
        self.network
    }

    /// Length of the prefix, in bits.
    pub fn prefix_len(self) -> u8 {
        self.prefix_len
    }

    /// The netmask, as an address.
    pub fn netmask(self) -> Ipv6Addr {
        Ipv6Addr::from(mask_v6(self.prefix_len))
    }

    /// The first address: the bridge, which is the pods' gateway.
    pub fn gateway(self) -> Ipv6Addr {
        Ipv6Addr::from(u128::from(self.network) + 1)
    }

    /// How many slots have an address, capped at what 32 bits count.
    pub fn pods_max(self) -> u32 {
        let free = (1_u128 << (128 - u32::from(self.prefix_len))) - 2;
        u32::try_from(free).unwrap_or(u32::MAX)
    }

    /// The address of the pod at `slot`, counted from 0; `None` past [`Self::pods_max`].
    pub fn pod_address(self, slot: u32) -> Option<Ipv6Addr> {
        (slot < self.pods_max()).then(|| Ipv6Addr::from(u128::from(self.network) + 2 + u128::from(slot)))
    }

    /// Whether the address lies in the range.
    pub fn contains(self, address: Ipv6Addr) -> bool {
        u128::from(address) & mask_v6(self.prefix_len) == u128::from(self.network)
    }
}

/// Whether two prefixes share an address; prefixes of different families never do.
pub(super) fn prefixes_overlap(one: (IpAddr, u8), other: (IpAddr, u8)) -> bool {
    let shorter = one.1.min(other.1);
    match (one.0, other.0) {
        (IpAddr::V4(a), IpAddr::V4(b)) => (u32::from(a) ^ u32::from(b)) & mask_v4(shorter) == 0,
        (IpAddr::V6(a), IpAddr::V6(b)) => (u128::from(a) ^ u128::from(b)) & mask_v6(shorter) == 0,
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
    }
}

impl fmt::Display for Ipv4Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.prefix_len)
    }
}

impl fmt::Display for Ipv6Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.prefix_len)
    }
}

impl FromStr for Ipv4Subnet {
    type Err = SubnetError;

    fn from_str(text: &str) -> Result<Self, SubnetError> {
        let (network, prefix_len) = split(text, "10.189.0.0/16")?;
        Self::new(network, prefix_len)
    }
}

impl FromStr for Ipv6Subnet {
    type Err = SubnetError;

    fn from_str(text: &str) -> Result<Self, SubnetError> {
        let (network, prefix_len) = split(text, "fd12:3456:789a::/64")?;
        Self::new(network, prefix_len)
    }
}

fn split<A: FromStr>(text: &str, example: &'static str) -> Result<(A, u8), SubnetError> {
    let malformed = || SubnetError::Malformed { text: text.to_owned(), example };
    let (address, length) = text.split_once('/').ok_or_else(malformed)?;
    let address = address.parse().map_err(|_| malformed())?;
    let length = length.parse().map_err(|_| malformed())?;
    Ok((address, length))
}

fn mask_v4(prefix_len: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(prefix_len.min(32))).unwrap_or(0)
}

fn mask_v6(prefix_len: u8) -> u128 {
    u128::MAX.checked_shl(128 - u32::from(prefix_len.min(128))).unwrap_or(0)
}

#[cfg(test)]
mod tests;
