//! The bridge that connects the pods: made by whoever needs it first, then left in place.
//!
//! Several processes may get here at once; each step is fine with finding itself done already. A bridge that is not ours is
//! never changed.

use std::net::IpAddr;

use rustix::io::Errno;

use super::collision::{default_link, describe, find_collision};
use super::config::{NetworkConfig, SETTING_IPV4_SUBNET, SETTING_IPV6_SUBNET};
use super::links::{Link, LinkError, Links, Mac};
use super::problem::Problem;
use super::sysctl;

/// How often a bridge that comes and goes is looked for. Two processes that both make it need two.
const ATTEMPTS_MAX: u32 = 4;
/// The size of packets on Ethernet, in bytes: what a machine without a default route gets.
const MTU_ETHERNET: u32 = 1500;
/// IPv6 does not work below this, in bytes.
const MTU_IPV6_MIN: u32 = 1280;

/// Why there is no bridge to join.
#[derive(Debug, thiserror::Error)]
pub(super) enum BridgeError {
    #[error(transparent)]
    Problem(Box<Problem>),
    #[error(transparent)]
    Link(#[from] LinkError),
}

impl BridgeError {
    fn problem(problem: Problem) -> Self {
        Self::Problem(Box::new(problem))
    }
}

/// What pods need to know of the bridge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bridge {
    pub(super) index: u32,
    /// In bytes.
    pub(super) mtu: u32,
}

/// Finds or makes the bridge, up and with the gateways' addresses.
///
/// `verified` is the index of a bridge that this process has seen to be right before; it is not looked at again.
pub(super) async fn ensure(links: &Links, config: &NetworkConfig, verified: Option<u32>) -> Result<Bridge, BridgeError> {
    let mut attempt = 0;
    let link = loop {
        if let Some(link) = links.by_name(&config.bridge).await? {
            break link;
        }
        check_collisions(links, config, None).await?;
        let mtu = mtu(links, config).await?;
        attempt += 1;
        match links.add_bridge(&config.bridge, mac(config.ipv4_subnet.gateway()), mtu).await {
            Ok(()) => {}
            Err(error) if error.errno() == Some(Errno::EXIST) && attempt < ATTEMPTS_MAX => {}
            Err(error) if error.errno() == Some(Errno::OPNOTSUPP) => {
                return Err(BridgeError::problem(Problem::BridgesUnavailable { reason: error.source.to_string() }));
            }
            Err(error) => return Err(error.into()),
        }
    };
    if !link.is_up {
        links.set_up(&config.bridge).await?;
    }
    if verified != Some(link.index) {
        // Fails where the kernel has no IPv6, and then there is nothing to be taken in by.
        let _ = sysctl::refuse_routers(&config.bridge);
        check_and_address(links, config, &link).await?;
    }
    Ok(Bridge { index: link.index, mtu: config.mtu.unwrap_or(link.mtu) })
}

/// Refuses ranges that are somebody else's on this machine.
pub(super) async fn check_collisions(links: &Links, config: &NetworkConfig, bridge: Option<u32>) -> Result<(), BridgeError> {
    for (subnet, prefix_len, setting) in subnets(config) {
        let routes = links.routes(subnet.is_ipv6()).await?;
        let Some(route) = find_collision(&routes, (subnet, prefix_len), bridge) else {
            continue;
        };
        let link = match route.link {
            Some(index) => links.by_index(index).await?,
            None => None,
        };
        // Another process has made our bridge since we looked for it.
        if link.as_ref().is_some_and(|link| link.name == config.bridge) {
            continue;
        }
        let route = describe(route, link.as_ref().map(|link| link.name.as_str()));
        return Err(BridgeError::problem(Problem::SubnetCollides { subnet: format!("{subnet}/{prefix_len}"), route, setting }));
    }
    Ok(())
}

/// Refuses an existing interface that cannot be our bridge. Says which gateway addresses it still lacks.
pub(super) async fn check_existing(links: &Links, config: &NetworkConfig, link: &Link) -> Result<Vec<(IpAddr, u8)>, BridgeError> {
    if !link.is_bridge {
        return Err(BridgeError::problem(Problem::NotABridge { bridge: config.bridge.clone() }));
    }
    let found = links.addresses(link.index).await?;
    let missing: Vec<_> = gateways(config).into_iter().filter(|gateway| !found.contains(gateway)).collect();
    for gateway in &missing {
        if let Some(foreign) = found.iter().find(|address| address.0.is_ipv4() == gateway.0.is_ipv4()) {
            return Err(BridgeError::problem(Problem::ForeignBridge {
                bridge: config.bridge.clone(),
                found: format!("{}/{}", foreign.0, foreign.1),
                wanted: format!("{}/{}", gateway.0, gateway.1),
            }));
        }
    }
    Ok(missing)
}

/// A MAC address made from the IPv4 address. Whoever gets the address next gets the same MAC, so no neighbour's memory of it
/// can be stale; and the bridge does not change its own with every pod that comes or goes.
pub(super) fn mac(address: std::net::Ipv4Addr) -> Mac {
    let [a, b, c, d] = address.octets();
    // The lowest bits of the first byte say: locally administered, one receiver.
    [0x0a, 0x75, a, b, c, d]
}

async fn check_and_address(links: &Links, config: &NetworkConfig, link: &Link) -> Result<(), BridgeError> {
    let missing = check_existing(links, config, link).await?;
    if missing.is_empty() {
        return Ok(());
    }
    check_collisions(links, config, Some(link.index)).await?;
    if missing.iter().any(|(address, _)| address.is_ipv6()) {
        // Only matters where a machine forbids IPv6 by default; what else is wrong is told when the address is refused.
        match sysctl::enable_ipv6(&config.bridge) {
            Err(error) if error.source.kind() == std::io::ErrorKind::NotFound => {
                return Err(BridgeError::problem(Problem::Ipv6Unavailable));
            }
            Ok(_) | Err(_) => {}
        }
    }
    for (address, prefix_len) in missing {
        links.add_address(link.index, address, prefix_len).await?;
    }
    Ok(())
}

async fn mtu(links: &Links, config: &NetworkConfig) -> Result<u32, LinkError> {
    if let Some(mtu) = config.mtu {
        return Ok(mtu);
    }
    let outward = match default_link(&links.routes(false).await?) {
        Some(index) => links.by_index(index).await?,
        None => None,
    };
    let mtu = outward.map_or(MTU_ETHERNET, |link| link.mtu);
    Ok(if config.ipv6_subnet.is_some() { mtu.max(MTU_IPV6_MIN) } else { mtu })
}

fn subnets(config: &NetworkConfig) -> Vec<(IpAddr, u8, &'static str)> {
    let ipv4 = config.ipv4_subnet;
    let mut subnets = vec![(IpAddr::V4(ipv4.network()), ipv4.prefix_len(), SETTING_IPV4_SUBNET)];
    subnets.extend(config.ipv6_subnet.map(|ipv6| (IpAddr::V6(ipv6.network()), ipv6.prefix_len(), SETTING_IPV6_SUBNET)));
    subnets
}

fn gateways(config: &NetworkConfig) -> Vec<(IpAddr, u8)> {
    let ipv4 = config.ipv4_subnet;
    let mut gateways = vec![(IpAddr::V4(ipv4.gateway()), ipv4.prefix_len())];
    gateways.extend(config.ipv6_subnet.map(|ipv6| (IpAddr::V6(ipv6.gateway()), ipv6.prefix_len())));
    gateways
}
