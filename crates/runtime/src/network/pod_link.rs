//! One pod's connection to the bridge: a veth pair, and what the pod's end needs to be a network.

use std::net::{IpAddr, Ipv4Addr};

use rustix::fd::{AsFd as _, OwnedFd};
use rustix::io::Errno;
use tokio::runtime;

use super::bridge::{Bridge, mac};
use super::config::NetworkConfig;
use super::links::{LinkError, Links, VethPair};
use super::netns::{self, NetnsError};
use super::sysctl;
use super::{PodIps, problem::Problem};

/// The name that every container runtime gives it, and that programs look for.
pub(super) const POD_INTERFACE: &str = "eth0";
/// Begins the name of every node end, so that they are recognised.
const NODE_END_PREFIX: &str = "usher-";
/// One removal of a stale pair, and one more in case its namespace was being torn down meanwhile.
const ATTEMPTS_MAX: u32 = 3;

/// Why a pod is not connected.
#[derive(Debug, thiserror::Error)]
pub enum ConnectPodError {
    /// The machine cannot do it.
    #[error(transparent)]
    Problem(Box<Problem>),
    /// The kernel's limit for one bridge.
    #[error("bridge {bridge} has no free port: a Linux bridge holds at most 1023 pods")]
    BridgeFull {
        /// The bridge.
        bridge: String,
    },
    /// Somebody else set up the pod's namespace.
    #[error("the pod's network namespace has an interface {POD_INTERFACE} already")]
    InterfaceTaken,
    /// Interfaces, addresses or routes failed.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// The pod's namespace could not be entered.
    #[error(transparent)]
    Netns(#[from] NetnsError),
}

/// Name of the node's end of the pod with this address. The address makes it unique: the kernel itself refuses to connect the
/// same address twice.
pub(super) fn node_end(ipv4: Ipv4Addr) -> String {
    format!("{NODE_END_PREFIX}{:08x}", u32::from(ipv4))
}

/// The address of the pod whose node end has this name.
pub(super) fn node_end_address(name: &str) -> Option<Ipv4Addr> {
    let hex = name.strip_prefix(NODE_END_PREFIX).filter(|hex| hex.len() == 8)?;
    Some(Ipv4Addr::from(u32::from_str_radix(hex, 16).ok()?))
}

/// Connects the pod and returns the index of the node's end.
///
/// What is there already from an earlier attempt is kept if it is whole, and made anew if not.
pub(super) async fn connect(
    node: &Links,
    config: &NetworkConfig,
    bridge: Bridge,
    pod_uid: &str,
    ips: &PodIps,
    netns: OwnedFd,
) -> Result<u32, ConnectPodError> {
    let node_end = node_end(ips.ipv4);
    let alias = format!("usher pod {pod_uid}");
    let (pod, netns) = open_in_pod(netns, config.ipv6_subnet.is_some()).await?;
    let pair = VethPair {
        node_end: &node_end,
        bridge: bridge.index,
        netns: netns.as_fd(),
        pod_end: POD_INTERFACE,
        pod_mac: mac(ips.ipv4),
        mtu: bridge.mtu,
    };
    add_pair(node, &pod, config, &pair).await?;
    let (index, ()) = tokio::try_join!(finish_node_end(node, &node_end, &alias), finish_pod_end(&pod, config, ips))?;
    Ok(index)
}

/// Opens a connection to the pod's namespace.
async fn open_in_pod(netns: OwnedFd, ipv6: bool) -> Result<(Links, OwnedFd), ConnectPodError> {
    let runtime = runtime::Handle::current();
    let opened = tokio::task::spawn_blocking(move || {
        let links = netns::inside(netns.as_fd(), || {
            // Fails where the kernel has no IPv6, and then there is nothing to be taken in by.
            let _ = sysctl::refuse_routers("default");
            if ipv6 {
                // Only matters where a machine forbids IPv6 by default; if this fails there, giving the address fails too.
                let _ = sysctl::enable_ipv6("default");
            }
            Links::open(&runtime)
        })??;
        Ok((links, netns))
    });
    opened.await.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
}

async fn add_pair(node: &Links, pod: &Links, config: &NetworkConfig, pair: &VethPair<'_>) -> Result<(), ConnectPodError> {
    for attempt in 1.. {
        let error = match node.add_veth_pair(pair).await {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        match error.errno() {
            Some(Errno::EXIST) if attempt < ATTEMPTS_MAX => {}
            Some(Errno::XFULL) => {
                return Err(ConnectPodError::BridgeFull { bridge: config.bridge.clone() });
            }
            Some(Errno::OPNOTSUPP) => {
                let reason = error.source.to_string();
                return Err(ConnectPodError::Problem(Box::new(Problem::VethsUnavailable { reason })));
            }
            Some(_) | None => return Err(error.into()),
        }
        let pod_end = pod.by_name(POD_INTERFACE).await?;
        match (node.by_name(pair.node_end).await?, pod_end) {
            (Some(node_end), Some(pod_end)) if pod_end.peer == Some(node_end.index) => {
                return Ok(());
            }
            (_, Some(_)) => return Err(ConnectPodError::InterfaceTaken),
            // Left by a pod that had this address before.
            (Some(stale), None) => drop(node.delete(stale.index).await?),
            (None, None) => {}
        }
    }
    unreachable!("the loop returns at the last attempt")
}

async fn finish_node_end(node: &Links, node_end: &str, alias: &str) -> Result<u32, ConnectPodError> {
    let (link, ()) = tokio::try_join!(node.by_name(node_end), node.set_bridge_port(node_end, alias))?;
    // Gone again at once: the pod's namespace was.
    let link = link.ok_or(ConnectPodError::Netns(NetnsError::Gone))?;
    Ok(link.index)
}

async fn finish_pod_end(pod: &Links, config: &NetworkConfig, ips: &PodIps) -> Result<(), ConnectPodError> {
    let (link, (), ()) = tokio::try_join!(pod.by_name(POD_INTERFACE), pod.set_up(POD_INTERFACE), pod.set_up("lo"))?;
    let link = link.ok_or(ConnectPodError::Netns(NetnsError::Gone))?;
    let ipv4 = config.ipv4_subnet;
    pod.add_address(link.index, IpAddr::V4(ips.ipv4), ipv4.prefix_len()).await?;
    pod.add_default_route(link.index, IpAddr::V4(ipv4.gateway())).await?;
    if let (Some(subnet), Some(address)) = (config.ipv6_subnet, ips.ipv6) {
        pod.add_address(link.index, IpAddr::V6(address), subnet.prefix_len()).await?;
        pod.add_default_route(link.index, IpAddr::V6(subnet.gateway())).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
