//! Can this machine give pods a network? Finds out by doing, where nothing is left behind, and by looking, where something would
//! be.
//!
//! Bridge, veth pair and rules are made in a network namespace that ends with the check. What is said about a problem is said in
//! the same words as by an operation that meets it: see [`Problem`].

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};

use rustix::fd::{AsFd as _, OwnedFd};
use rustix::fs::{Access, access};
use rustix::thread::CapabilitySet;
use tokio::runtime;

use super::bridge::{self, BridgeError};
use super::config::NetworkConfig;
use super::links::{LinkError, Links, VethPair};
use super::netns::{self, NetnsError};
use super::nft::{Nft, NftError, forward_drops};
use super::node_rules;
use super::pod_link::POD_INTERFACE;
use super::problem::{Problem, Severity};
use super::sysctl::{self, SysctlError};

/// Something that pods need.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Check {
    /// The right to change networks.
    Privileges,
    /// A network namespace for each pod.
    NetworkNamespaces,
    /// A bridge.
    Bridges,
    /// Pairs of interfaces.
    Veths,
    /// nf_tables with NAT.
    Rules,
    /// IPv6, if pods are to have it.
    Ipv6,
    /// Packets pass from one interface to another.
    Forwarding,
    /// A range of addresses of their own.
    Subnet,
    /// No firewall in the way.
    Firewall,
    /// A folder for leases.
    StateDir,
}

/// The answer to one check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What was looked at.
    pub check: Check,
    /// What is wrong with it, if anything.
    pub problem: Option<Problem>,
}

impl Check {
    /// What it is about, in a few words.
    pub fn title(self) -> &'static str {
        match self {
            Self::Privileges => "privileges",
            Self::NetworkNamespaces => "network namespaces",
            Self::Bridges => "bridges",
            Self::Veths => "veth pairs",
            Self::Rules => "nf_tables rules",
            Self::Ipv6 => "IPv6",
            Self::Forwarding => "packet forwarding",
            Self::Subnet => "addresses for pods",
            Self::Firewall => "firewall",
            Self::StateDir => "state folder",
        }
    }
}

impl Finding {
    /// Whether pods can have a network in spite of it.
    pub fn is_passed(&self) -> bool {
        self.problem.as_ref().is_none_or(|problem| problem.severity() < Severity::Blocks)
    }

    fn new(check: Check, problem: Option<Problem>) -> Self {
        Self { check, problem }
    }
}

/// Looks at everything that pods need. What cannot be looked at, because something before it is missing, is left out.
pub async fn check(config: &NetworkConfig) -> Vec<Finding> {
    let missing = missing_capabilities();
    let privileged = missing.is_empty();
    let mut findings = findings(Check::Privileges, missing);
    if privileged {
        findings.extend(kernel(config).await);
    }
    if config.ipv6_subnet.is_some() {
        let missing = matches!(sysctl::is_ipv6_on(), Ok(None)).then_some(Problem::Ipv6Unavailable);
        findings.push(Finding::new(Check::Ipv6, missing));
    }
    findings.extend(self::findings(Check::Forwarding, forwarding(config)));
    findings.push(Finding::new(Check::Subnet, subnet(config).await));
    if privileged {
        findings.extend(firewall(config));
    }
    findings.push(Finding::new(Check::StateDir, state_dir(config)));
    findings
}

/// What the calling thread may not do and would have to.
pub(super) fn missing_capabilities() -> Vec<Problem> {
    let effective = rustix::thread::capabilities(None).map_or(CapabilitySet::empty(), |sets| sets.effective);
    let needed = [(CapabilitySet::NET_ADMIN, "CAP_NET_ADMIN"), (CapabilitySet::SYS_ADMIN, "CAP_SYS_ADMIN")];
    let missing = needed.into_iter().filter(|(set, _)| !effective.contains(*set));
    missing.map(|(_, capability)| Problem::CapabilityMissing { capability }).collect()
}

/// One finding for each problem, or one that says that there is none.
fn findings(check: Check, problems: Vec<Problem>) -> Vec<Finding> {
    if problems.is_empty() {
        return vec![Finding::new(check, None)];
    }
    problems.into_iter().map(|problem| Finding::new(check, Some(problem))).collect()
}

/// What a new namespace can do.
struct Trial {
    links: Links,
    netns: OwnedFd,
    rules: Result<(), NftError>,
}

async fn kernel(config: &NetworkConfig) -> Vec<Finding> {
    let namespaces = |problem| Finding::new(Check::NetworkNamespaces, problem);
    let trial = match trial(config.clone()).await {
        Ok(trial) => trial,
        Err(reason) => return vec![namespaces(Some(Problem::NamespacesUnavailable { reason }))],
    };
    let rules = trial.rules.as_ref().err().map(|error| Problem::RulesUnavailable { reason: chain(error) });
    let mut findings = vec![namespaces(None), Finding::new(Check::Rules, rules)];
    let gateway = config.ipv4_subnet.gateway();
    if let Err(error) = trial.links.add_bridge(&config.bridge, bridge::mac(gateway), 1500).await {
        findings.push(Finding::new(Check::Bridges, Some(Problem::BridgesUnavailable { reason: error.source.to_string() })));
        return findings;
    }
    findings.push(Finding::new(Check::Bridges, None));
    let veths = match trial_pair(config, &trial).await {
        Ok(()) => None,
        Err(error) => Some(Problem::VethsUnavailable { reason: error.source.to_string() }),
    };
    findings.push(Finding::new(Check::Veths, veths));
    findings
}

async fn trial(config: NetworkConfig) -> Result<Trial, String> {
    let runtime = runtime::Handle::current();
    let made = tokio::task::spawn_blocking(move || {
        netns::inside_new(|| {
            let netns = std::fs::File::open("/proc/thread-self/ns/net").map_err(|error| error.to_string())?;
            let rules = node_rules::bare_ruleset(&config).apply(&Nft::default());
            let links = Links::open(&runtime).map_err(|error| chain(&error))?;
            Ok(Trial { links, netns: netns.into(), rules })
        })
        .map_err(|error: NetnsError| chain(&error))?
    });
    made.await.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
}

async fn trial_pair(config: &NetworkConfig, trial: &Trial) -> Result<(), LinkError> {
    let Some(bridge) = trial.links.by_name(&config.bridge).await? else {
        return Ok(());
    };
    let pair = VethPair {
        node_end: "usher-trial",
        bridge: bridge.index,
        netns: trial.netns.as_fd(),
        pod_end: POD_INTERFACE,
        pod_mac: bridge::mac(config.ipv4_subnet.gateway()),
        mtu: 1500,
    };
    trial.links.add_veth_pair(&pair).await?;
    trial.links.set_bridge_port(pair.node_end, "usher trial").await
}

fn forwarding(config: &NetworkConfig) -> Vec<Problem> {
    let ipv4 = forwarding_problem("net.ipv4.ip_forward", sysctl::ipv4_forwarding());
    let ipv6 = config.ipv6_subnet.and_then(|_| forwarding_problem("net.ipv6.conf.all.forwarding", sysctl::ipv6_forwarding()));
    ipv4.into_iter().chain(ipv6).collect()
}

fn forwarding_problem(name: &str, is_on: Result<bool, SysctlError>) -> Option<Problem> {
    let refused = |reason: String| Some(Problem::SysctlRefused { setting: name.to_owned(), reason });
    match is_on {
        Ok(true) => None,
        Ok(false) => match OpenOptions::new().write(true).open(sysctl::path(&name.replace('.', "/"))) {
            Ok(_) => Some(Problem::ForwardingOff { setting: name.to_owned() }),
            Err(error) => refused(error.to_string()),
        },
        // That there is no IPv6 is a finding of its own.
        Err(error) if error.source.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => refused(error.source.to_string()),
    }
}

async fn subnet(config: &NetworkConfig) -> Option<Problem> {
    let look = async {
        let links = Links::open(&runtime::Handle::current())?;
        let existing = links.by_name(&config.bridge).await?;
        if let Some(existing) = &existing {
            bridge::check_existing(&links, config, existing).await?;
        }
        bridge::check_collisions(&links, config, existing.map(|link| link.index)).await
    };
    match look.await {
        Err(BridgeError::Problem(problem)) => Some(*problem),
        // The first pod will meet it and say it; nothing is known here about addresses.
        Ok(()) | Err(BridgeError::Link(_)) => None,
    }
}

fn firewall(config: &NetworkConfig) -> Vec<Finding> {
    // Without nf_tables, which is a finding of its own, there is nothing to see.
    let drops = forward_drops(&Nft::default(), &config.bridge).unwrap_or_default();
    let problems = drops.into_iter().map(|by| Problem::ForwardDropped { by, bridge: config.bridge.clone() });
    findings(Check::Firewall, problems.collect())
}

/// Whether the folder, or the nearest one above that exists, can be written.
fn state_dir(config: &NetworkConfig) -> Option<Problem> {
    let wanted = config.state_dir.join(&config.bridge);
    let existing = wanted.ancestors().find(|path| path.exists()).map_or_else(|| PathBuf::from("/"), Path::to_path_buf);
    let unusable = |reason: String| Problem::StateDirUnusable { path: existing.clone(), reason };
    if !existing.is_dir() {
        return Some(unusable("not a folder".to_owned()));
    }
    access(&existing, Access::WRITE_OK | Access::EXEC_OK).err().map(|errno| unusable(errno.to_string()))
}

/// An error with its sources, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let sources = std::iter::successors(error.source(), |error| error.source());
    sources.fold(error.to_string(), |text, source| format!("{text}: {source}"))
}
