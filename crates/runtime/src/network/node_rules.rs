//! What the node itself needs for pods: rules that follow the state folder, and kernel settings.
//!
//! Both are done under the folder's lock, so that an older view never replaces a newer one.

use std::net::IpAddr;

use super::config::NetworkConfig;
use super::host_port::{HostPort, Protocol};
use super::nft::{HostPortTarget, Nft, NftError, Ruleset, forget_udp, forward_drops};
use super::problem::{Notice, Problem};
use super::state::{LockedState, StateError};
use super::sysctl::{self, SysctlChange, SysctlError};

/// Why the rules of a bridge are not as they should be, though the kernel has what they need.
#[derive(Debug, thiserror::Error)]
#[error("cannot set the nf_tables rules of bridge {bridge}")]
pub struct RulesError {
    /// The bridge.
    pub bridge: String,
    /// Why.
    pub source: NftError,
}

/// Makes the rules what the state folder says, and lets the node answer its own host ports.
pub(super) fn follow<E>(config: &NetworkConfig, nft: &Nft, state: &LockedState<'_>) -> Result<Vec<Notice>, E>
where
    E: From<RulesError> + From<StateError>,
{
    let ruleset = ruleset(config, state)?;
    let applied = ruleset.apply(nft);
    if applied.is_ok() {
        forget_udp_connections(config, nft, state.changed_host_ports());
    }
    match applied {
        // The rules guard the setting, so it comes second and only with them. It needs the bridge, which an attached pod has.
        Ok(()) if !ruleset.host_ports.is_empty() => Ok(notices(sysctl::enable_route_localnet(&config.bridge))),
        Ok(()) => Ok(Vec::new()),
        Err(error) => tolerate(config, error).map_err(E::from),
    }
}

/// Makes sure that the rules are there, and that packets pass from pods to other interfaces.
pub(super) fn prepare<E>(config: &NetworkConfig, nft: &Nft, state: &LockedState<'_>) -> Result<Vec<Notice>, E>
where
    E: From<RulesError> + From<StateError>,
{
    let mut found = match bare_ruleset(config).is_in_place(nft) {
        Ok(true) => Vec::new(),
        Ok(false) => follow::<E>(config, nft, state)?,
        Err(error) => tolerate(config, error)?,
    };
    found.extend(notices(sysctl::enable_ipv4_forwarding()));
    if config.ipv6_subnet.is_some() {
        found.extend(notices(sysctl::enable_ipv6_forwarding(&config.bridge)));
    }
    Ok(found)
}

/// Says whose firewall keeps pods from the outside.
pub(super) fn firewall(config: &NetworkConfig, nft: &Nft) -> Vec<Notice> {
    // A machine whose rules cannot be listed says so when ours are set.
    let drops = forward_drops(nft, &config.bridge).unwrap_or_default();
    let problem = |by| Notice::Limited(Problem::ForwardDropped { by, bridge: config.bridge.clone() });
    drops.into_iter().map(problem).collect()
}

/// Lets UDP clients of before find the new pod. Without it they do so when they have been silent for half a minute.
fn forget_udp_connections(config: &NetworkConfig, nft: &Nft, changed: &[HostPort]) {
    let udp = changed.iter().filter(|port| port.protocol == Protocol::Udp);
    let ports: Vec<u16> = udp.map(|port| port.host_port).collect();
    let is_pod = |address: IpAddr| match address {
        IpAddr::V4(address) => config.ipv4_subnet.contains(address),
        IpAddr::V6(address) => config.ipv6_subnet.is_some_and(|subnet| subnet.contains(address)),
    };
    if let Err(error) = forget_udp(nft, &ports, is_pod) {
        tracing::warn!(?ports, error = %error, "UDP clients of host ports may be led to where the ports led before");
    }
}

fn ruleset(config: &NetworkConfig, state: &LockedState<'_>) -> Result<Ruleset, StateError> {
    let claims = state.live_host_port_claims()?;
    let targets =
        claims.into_iter().map(|claim| HostPortTarget { port: claim.port, ipv4: claim.pod_ipv4, ipv6: config.ipv6_of(claim.pod_ipv4) });
    Ok(Ruleset { host_ports: targets.collect(), ..bare_ruleset(config) })
}

/// The rules without host ports.
pub(super) fn bare_ruleset(config: &NetworkConfig) -> Ruleset {
    Ruleset { bridge: config.bridge.clone(), ipv4: config.ipv4_subnet, ipv6: config.ipv6_subnet, host_ports: Vec::new() }
}

/// A kernel without nf_tables leaves pods without the outside, not without a life.
fn tolerate(config: &NetworkConfig, error: NftError) -> Result<Vec<Notice>, RulesError> {
    if error.is_unsupported() {
        return Ok(vec![Notice::Limited(Problem::RulesUnavailable { reason: error.to_string() })]);
    }
    Err(RulesError { bridge: config.bridge.clone(), source: error })
}

fn notices(set: Result<Vec<SysctlChange>, SysctlError>) -> Vec<Notice> {
    match set {
        Ok(changes) => changes.into_iter().map(Notice::Changed).collect(),
        Err(error) => vec![Notice::Limited(Problem::SysctlRefused { setting: error.name, reason: error.source.to_string() })],
    }
}
