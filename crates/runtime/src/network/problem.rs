//! What a machine may lack for pods to have a network, in the words that every command uses.
//!
//! A problem says *what* is wrong, *why* that matters and *what to do*. A check of the machine lists problems; an operation that
//! meets one fails with it or, where pods can live with it, goes on and reports it as a [`Notice`].

use std::fmt;
use std::path::PathBuf;

use super::config::{SETTING_BRIDGE, SETTING_IPV6_SUBNET, SETTING_STATE_DIR};
use super::host_port::HostPort;
use super::nft::ForwardDrop;
use super::sysctl::SysctlChange;

/// Something about the machine that is in the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Problem {
    /// The process may not do what it has to.
    CapabilityMissing {
        /// `CAP_NET_ADMIN` or `CAP_SYS_ADMIN`.
        capability: &'static str,
    },
    /// The kernel refused to make a network namespace.
    NamespacesUnavailable {
        /// What the system said.
        reason: String,
    },
    /// The kernel refused to make a bridge.
    BridgesUnavailable {
        /// What the system said.
        reason: String,
    },
    /// The kernel refused to make a veth pair.
    VethsUnavailable {
        /// What the system said.
        reason: String,
    },
    /// The kernel cannot do our nf_tables rules.
    RulesUnavailable {
        /// What the system said.
        reason: String,
    },
    /// Pods are to have IPv6, and the kernel has none.
    Ipv6Unavailable,
    /// Packets do not pass from pods to other interfaces.
    ForwardingOff {
        /// The setting, as `sysctl` names it.
        setting: String,
    },
    /// A kernel setting has to be changed and cannot be.
    SysctlRefused {
        /// The setting, as `sysctl` names it.
        setting: String,
        /// What the system said.
        reason: String,
    },
    /// The pods' addresses are somebody else's already.
    SubnetCollides {
        /// The pods' range.
        subnet: String,
        /// The route that is in the way, as `ip route` writes it.
        route: String,
        /// The setting to change.
        setting: &'static str,
    },
    /// An interface that is not a bridge has the bridge's name.
    NotABridge {
        /// The name.
        bridge: String,
    },
    /// The bridge belongs to another range.
    ForeignBridge {
        /// The bridge.
        bridge: String,
        /// The address that it has.
        found: String,
        /// The address that it should have.
        wanted: String,
    },
    /// A firewall drops what the pods send.
    ForwardDropped {
        /// Whose.
        by: ForwardDrop,
        /// The bridge, for the cure.
        bridge: String,
    },
    /// Leases cannot be written down.
    StateDirUnusable {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
}

/// How much a problem matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Will be put right by the first pod, and reported then.
    Note,
    /// Pods run, with something missing.
    Limits,
    /// No pod can have a network of its own.
    Blocks,
}

/// Something that a caller should tell the user although all went well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// The pod runs, with something missing.
    Limited(Problem),
    /// A setting of the machine was changed.
    Changed(SysctlChange),
    /// A host port names an address that the node does not have at the moment.
    HostAddressMissing(HostPort),
    /// A host port is on `::1`, from which the kernel leads nothing to pods.
    HostAddressUnserved(HostPort),
}

impl Problem {
    /// What is wrong: a phrase without a full stop.
    pub fn what(&self) -> String {
        match self {
            Self::CapabilityMissing { capability } => format!("{capability} is missing"),
            Self::NamespacesUnavailable { reason } => {
                format!("cannot make a network namespace: {reason}")
            }
            Self::BridgesUnavailable { reason } => format!("cannot make a bridge: {reason}"),
            Self::VethsUnavailable { reason } => format!("cannot make a veth pair: {reason}"),
            Self::RulesUnavailable { reason } => format!("cannot set nf_tables rules: {reason}"),
            Self::Ipv6Unavailable => "the kernel has no IPv6".to_owned(),
            Self::ForwardingOff { setting } => format!("kernel setting {setting} is 0"),
            Self::SysctlRefused { setting, reason } => {
                format!("cannot set kernel setting {setting}: {reason}")
            }
            Self::SubnetCollides { subnet, route, .. } => {
                format!("the pods' subnet {subnet} collides with route {route} of this machine")
            }
            Self::NotABridge { bridge } => format!("interface {bridge} exists and is not a bridge"),
            Self::ForeignBridge { bridge, found, wanted } => {
                format!("bridge {bridge} has address {found} instead of {wanted}")
            }
            Self::ForwardDropped { by, .. } => format!("{by} drops forwarded packets by default"),
            Self::StateDirUnusable { path, reason } => {
                format!("cannot use folder {}: {reason}", path.display())
            }
        }
    }

    /// Why it matters: a sentence without a full stop.
    pub fn why(&self) -> &'static str {
        match self {
            Self::CapabilityMissing { .. } => "each pod gets a network of its own, which only a privileged process can make",
            Self::NamespacesUnavailable { .. } => "each pod has a network namespace of its own",
            Self::BridgesUnavailable { .. } => "pods are connected by a bridge",
            Self::VethsUnavailable { .. } => "each pod is connected to the bridge by a veth pair",
            Self::RulesUnavailable { .. } => {
                "without them pods reach each other and this machine, but nothing outside, and host ports lead nowhere"
            }
            Self::Ipv6Unavailable => "pods are to have IPv6 addresses",
            Self::ForwardingOff { .. } => "pods reach other networks through this machine; the first pod sets it to 1",
            Self::SysctlRefused { .. } => "pods reach each other and this machine, but nothing outside",
            Self::SubnetCollides { .. } => "packets for that network would go to pods, or the other way round",
            Self::NotABridge { .. } => "pods are connected by a bridge of that name",
            Self::ForeignBridge { .. } => "the bridge is the pods' gateway and has to be in their subnet",
            Self::ForwardDropped { .. } => {
                "pods reach nothing outside, and are not reached through host ports, unless a rule there lets them"
            }
            Self::StateDirUnusable { .. } => "processes agree there on which pod has which address",
        }
    }

    /// What to do: an imperative without a full stop.
    pub fn cure(&self) -> String {
        const KERNEL: &str = "use a kernel with";
        match self {
            Self::CapabilityMissing { .. } => "run as root, or give the pod hostNetwork: true".to_owned(),
            Self::NamespacesUnavailable { .. } => {
                format!("{KERNEL} CONFIG_NET_NS, and raise sysctl user.max_net_namespaces if that is the limit")
            }
            Self::BridgesUnavailable { .. } => {
                format!("{KERNEL} CONFIG_BRIDGE, or load its module: modprobe bridge")
            }
            Self::VethsUnavailable { .. } => {
                format!("{KERNEL} CONFIG_VETH, or load its module: modprobe veth")
            }
            Self::RulesUnavailable { .. } => format!(
                "{KERNEL} CONFIG_NF_TABLES_INET, CONFIG_NFT_NAT, CONFIG_NFT_MASQ, CONFIG_NFT_FIB_INET and CONFIG_NFT_CT, \
                 or load the modules: modprobe -a nf_tables nft_chain_nat nft_masq nft_fib_inet nft_ct"
            ),
            Self::Ipv6Unavailable => format!("{KERNEL} CONFIG_IPV6 and without ipv6.disable=1, or say {SETTING_IPV6_SUBNET} off"),
            Self::ForwardingOff { .. } => "nothing".to_owned(),
            Self::SysctlRefused { setting, .. } => {
                format!("set it yourself: sysctl -w {setting}=1, outside the container if this runs in one")
            }
            Self::SubnetCollides { setting, .. } => {
                format!("set {setting} to a range that is free here")
            }
            Self::NotABridge { bridge } => {
                format!("set {SETTING_BRIDGE} to another name, or remove the interface: ip link delete {bridge}")
            }
            Self::ForeignBridge { bridge, .. } => {
                format!("set {SETTING_BRIDGE} to another name, or remove the bridge when no pod uses it: ip link delete {bridge}")
            }
            Self::ForwardDropped { by, bridge } if by.is_iptables() => format!(
                "allow the bridge there: {tool} -I FORWARD -i {bridge} -j ACCEPT, and the same with -o",
                tool = if by.family == "ip" { "iptables" } else { "ip6tables" },
            ),
            Self::ForwardDropped { by, bridge } => format!(
                "allow the bridge there: nft insert rule {family} {table} {chain} iifname {bridge} accept, and the same with oifname",
                family = by.family,
                table = by.table,
                chain = by.chain,
            ),
            Self::StateDirUnusable { .. } => {
                format!("set {SETTING_STATE_DIR} to a folder that can be written")
            }
        }
    }

    /// How much it matters.
    pub fn severity(&self) -> Severity {
        match self {
            Self::ForwardingOff { .. } => Severity::Note,
            Self::RulesUnavailable { .. } | Self::SysctlRefused { .. } | Self::ForwardDropped { .. } => Severity::Limits,
            Self::CapabilityMissing { .. }
            | Self::NamespacesUnavailable { .. }
            | Self::BridgesUnavailable { .. }
            | Self::VethsUnavailable { .. }
            | Self::Ipv6Unavailable
            | Self::SubnetCollides { .. }
            | Self::NotABridge { .. }
            | Self::ForeignBridge { .. }
            | Self::StateDirUnusable { .. } => Severity::Blocks,
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}); to cure it, {}", self.what(), self.why(), self.cure())
    }
}

impl std::error::Error for Problem {}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Limited(problem) => problem.fmt(f),
            Self::Changed(change) => change.fmt(f),
            Self::HostAddressMissing(port) => {
                write!(f, "host port {port} is not reached until this machine has that address")
            }
            Self::HostAddressUnserved(port) => {
                write!(
                    f,
                    "host port {port} is never reached: the kernel leads nothing from ::1 to pods; take 127.0.0.1, or an address of an interface"
                )
            }
        }
    }
}
