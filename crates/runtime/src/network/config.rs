//! What an administrator may set about the pod network, and the check of it that needs no machine.
//!
//! What can be set on the command line has its flag as a constant, so that messages can say which setting to change.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

use super::subnet::{Ipv4Subnet, Ipv6Subnet};

/// Name of the setting for [`NetworkConfig::bridge`], for messages.
pub const SETTING_BRIDGE: &str = "--bridge";
/// Name of the setting for [`NetworkConfig::ipv4_subnet`], for messages.
pub const SETTING_IPV4_SUBNET: &str = "--subnet";
/// Name of the setting for [`NetworkConfig::ipv6_subnet`], for messages.
pub const SETTING_IPV6_SUBNET: &str = "--ipv6-subnet";
/// Name of the setting for [`NetworkConfig::mtu`], for messages.
pub const SETTING_MTU: &str = "network.mtu";
/// Name of the setting for [`NetworkConfig::state_dir`], for messages.
pub const SETTING_STATE_DIR: &str = "network.stateDir";

/// The kernel keeps interface names in 16 bytes, the last of them zero.
const BRIDGE_NAME_LEN_MAX: usize = 15;
/// RFC 791: every host must accept packets of this size, in bytes.
const MTU_IPV4_MIN: u32 = 576;
/// RFC 8200: every link must carry packets of this size, in bytes.
const MTU_IPV6_MIN: u32 = 1280;
/// An IP packet cannot be longer, in bytes.
const MTU_MAX: u32 = 65_535;
/// The default range: inside the private 10/8, and not one that other container tools take by default.
const IPV4_SUBNET_DEFAULT: &str = "10.189.0.0/16";

/// The settings of the pod network of one machine.
///
/// All processes that name the same bridge share one network, so they have to agree on the other fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkConfig {
    /// Name of the bridge, 1 to 15 characters; also the name of the folder in `state_dir`.
    pub bridge: String,
    /// The pods' IPv4 addresses.
    pub ipv4_subnet: Ipv4Subnet,
    /// The pods' IPv6 addresses; none if absent. It has to hold as many pods as the IPv4 range.
    pub ipv6_subnet: Option<Ipv6Subnet>,
    /// Size of the largest packet, in bytes; absent means that of the interface of the default route.
    pub mtu: Option<u32>,
    /// Where leases and host ports are kept; one folder in it for each bridge. Should not outlive a boot.
    pub state_dir: PathBuf,
}

/// A setting that cannot work on any machine.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NetworkConfigError {
    /// The kernel, or a path, would not take this name.
    #[error(
        "{} {bridge:?} is not an interface name: 1 to {} letters, digits, '-', '_' or '.', starting with a letter or digit",
        SETTING_BRIDGE,
        BRIDGE_NAME_LEN_MAX
    )]
    BridgeName {
        /// What was given.
        bridge: String,
    },
    /// Packets of this size are not allowed by the address families in use.
    #[error("{} {mtu} is outside {min} to {}", SETTING_MTU, MTU_MAX)]
    Mtu {
        /// What was given, in bytes.
        mtu: u32,
        /// The least that is allowed with the families configured, in bytes.
        min: u32,
    },
    /// Pods take the same slot in both families.
    #[error("{} {ipv6} holds {ipv6_pods} pods, fewer than the {ipv4_pods} of {} {ipv4}", SETTING_IPV6_SUBNET, SETTING_IPV4_SUBNET)]
    Ipv6TooSmall {
        /// The IPv6 range.
        ipv6: Ipv6Subnet,
        /// How many pods it holds.
        ipv6_pods: u32,
        /// The IPv4 range.
        ipv4: Ipv4Subnet,
        /// How many pods it holds.
        ipv4_pods: u32,
    },
    /// A relative folder would be another one for each process.
    #[error("{} {path:?} is not an absolute path", SETTING_STATE_DIR)]
    StateDir {
        /// What was given.
        path: PathBuf,
    },
}

impl Default for NetworkConfig {
    fn default() -> Self {
        Self {
            bridge: "usher0".to_owned(),
            ipv4_subnet: IPV4_SUBNET_DEFAULT.parse().expect("the default subnet is well formed"),
            ipv6_subnet: None,
            mtu: None,
            state_dir: PathBuf::from("/run/usher/network"),
        }
    }
}

impl NetworkConfig {
    /// Checks what can be known without looking at the machine.
    pub fn validate(&self) -> Result<(), NetworkConfigError> {
        if !is_interface_name(&self.bridge) {
            return Err(NetworkConfigError::BridgeName { bridge: self.bridge.clone() });
        }
        let min = if self.ipv6_subnet.is_some() { MTU_IPV6_MIN } else { MTU_IPV4_MIN };
        if let Some(mtu) = self.mtu.filter(|mtu| !(min..=MTU_MAX).contains(mtu)) {
            return Err(NetworkConfigError::Mtu { mtu, min });
        }
        if let Some(ipv6) = self.ipv6_subnet
            && ipv6.pods_max() < self.ipv4_subnet.pods_max()
        {
            let (ipv6_pods, ipv4_pods) = (ipv6.pods_max(), self.ipv4_subnet.pods_max());
            return Err(NetworkConfigError::Ipv6TooSmall { ipv6, ipv6_pods, ipv4: self.ipv4_subnet, ipv4_pods });
        }
        if !self.state_dir.is_absolute() {
            return Err(NetworkConfigError::StateDir { path: self.state_dir.clone() });
        }
        Ok(())
    }

    /// The IPv6 address of the pod that has this IPv4 address, if the network has IPv6: a pod has the same place in both ranges.
    pub(super) fn ipv6_of(&self, ipv4: Ipv4Addr) -> Option<Ipv6Addr> {
        self.ipv6_subnet?.pod_address(self.ipv4_subnet.slot(ipv4)?)
    }
}

/// Stricter than the kernel, so that the name is also safe as a path and in a rule listing.
fn is_interface_name(name: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    (1..=BRIDGE_NAME_LEN_MAX).contains(&name.len()) && name.as_bytes()[0].is_ascii_alphanumeric() && name.bytes().all(allowed)
}

#[cfg(test)]
mod tests;
