//! The pod network of one machine: an address for every pod, a way out, and ways in by host ports.
//!
//! Every pod has a network namespace (its shim made it) with an `eth0` that is one end of a veth pair; the other ends are ports
//! of one bridge, which is the pods' gateway. Rules in one nf_tables table of our own let pods out under the machine's address
//! and lead host ports in.
//!
//! ```text
//!   pod namespace            node
//!   eth0 10.189.0.2/16 ===== usher-0abd0002 ┐
//!   eth0 10.189.0.3/16 ===== usher-0abd0003 ┴ usher0 10.189.0.1/16 --- forwarding, masquerade --- eth0, ...
//! ```
//!
//! There is no daemon behind this: any number of processes attach and detach pods at the same time. What they have to agree
//! on is a folder under a lock (`state`); interfaces are the kernel's to keep apart. So three things hold whatever process
//! dies when:
//!
//! * Two running pods never have the same address, and no two pods the same host port.
//! * What belongs to a pod is owned by its shim. When that is gone, whoever needs the address or port next takes it.
//! * Nothing is changed on the machine that is not reported ([`Notice::Changed`]), apart from what is ours alone: the bridge,
//!   its ports, the table, the folder.
//!
//! It is not a firewall, a load balancer or a service network, and pods of two machines do not meet here.

pub mod dns;
pub mod hosts;

mod bridge;
mod check;
mod collision;
mod config;
mod host_port;
mod ipv6;
mod links;
mod netns;
mod nft;
mod node_rules;
mod node_socket;
mod owner;
mod pod_link;
mod pod_network;
mod problem;
mod state;
mod subnet;
mod sysctl;

pub use self::check::{Check, Finding, check};
pub use self::config::{
    NetworkConfig, NetworkConfigError, SETTING_BRIDGE, SETTING_IPV4_SUBNET, SETTING_IPV6_SUBNET, SETTING_MTU, SETTING_STATE_DIR,
};
pub use self::host_port::{HostPort, Protocol};
pub use self::ipv6::{Ipv6Missing, Ipv6Pods};
pub use self::links::LinkError;
pub use self::netns::NetnsError;
pub(crate) use self::netns::tcp_socket_inside;
pub use self::nft::{ForwardDrop, NftError};
pub use self::node_rules::RulesError;
pub use self::owner::Owner;
pub use self::pod_link::ConnectPodError;
pub use self::pod_network::{AttachPodError, Attachment, Collected, DetachPodError, HostPortError, OpenNetworkError, PodIps, PodNetwork};
pub use self::problem::{Notice, Problem, Severity};
pub use self::state::{ClaimAddressError, ClaimHostPortsError, StateError};
pub use self::subnet::{Ipv4Subnet, Ipv6Subnet, SubnetError};
pub use self::sysctl::{SysctlChange, SysctlError};
