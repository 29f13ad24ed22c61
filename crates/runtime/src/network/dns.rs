//! A pod's `resolv.conf`, made from its `dnsPolicy` and `dnsConfig`, the node's own file and the cluster's DNS.
//!
//! Pure functions with the rules, limits and texts of the kubelet. One thing is added: a name server on the node's loopback is
//! of no use inside a pod, and that is said instead of left to be found out.

use std::fmt;
use std::net::IpAddr;

/// Most name servers a resolver asks. // kubelet: MaxDNSNameservers
const NAMESERVERS_MAX: usize = 3;
/// Most search domains. // kubelet: MaxDNSSearchPathsExpanded
const SEARCHES_MAX: usize = 32;
/// Most bytes of all search domains with a blank between each. // kubelet: MaxDNSSearchListCharsExpanded
const SEARCH_LINE_LEN_MAX: usize = 2048;
/// Most bytes of one search domain; some resolvers abort on a longer one. // kubelet: DNS1123SubdomainMaxLength
const SEARCH_LEN_MAX: usize = 253;
/// What a pod that uses the cluster's DNS asks its resolver for, so that `service.namespace` is tried with search domains.
const CLUSTER_OPTIONS: &str = "ndots:5";
/// Where systemd-resolved keeps the name servers that stand behind its own, which listens on the node's loopback only.
pub const SYSTEMD_RESOLVED_CONF: &str = "/run/systemd/resolve/resolv.conf";

/// The content of a `resolv.conf`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ResolvConf {
    /// Addresses of name servers, in the order in which they are asked.
    pub nameservers: Vec<String>,
    /// Domains to try names in, in order.
    pub searches: Vec<String>,
    /// `name` or `name:value`.
    pub options: Vec<String>,
}

/// A line of a `resolv.conf` that means nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("nameserver without an address in line {line}")]
pub struct ParseResolvConfError {
    /// Counted from 1.
    pub line: usize,
}

/// `spec.dnsPolicy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DnsPolicy {
    /// The cluster's DNS, except for a pod on the node's network.
    ClusterFirst,
    /// The cluster's DNS, for a pod on the node's network too.
    ClusterFirstWithHostNet,
    /// The node's own.
    Default,
    /// Nothing but `dnsConfig`.
    None,
}

/// One of `spec.dnsConfig.options`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DnsOption {
    /// The name, such as `ndots`.
    pub name: String,
    /// The value, if it takes one.
    pub value: Option<String>,
}

/// `spec.dnsConfig`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PodDnsConfig {
    /// Asked after those of the policy.
    pub nameservers: Vec<String>,
    /// Tried after those of the policy.
    pub searches: Vec<String>,
    /// These win over those of the policy.
    pub options: Vec<DnsOption>,
}

/// The cluster's DNS service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterDns {
    /// Its addresses; at least one.
    pub nameservers: Vec<IpAddr>,
    /// The cluster's domain, such as `cluster.local`; may be empty.
    pub domain: String,
}

/// What a pod's `resolv.conf` is made from.
#[derive(Debug, Clone, Copy)]
pub struct PodDns<'a> {
    /// `metadata.namespace`.
    pub namespace: &'a str,
    /// `spec.dnsPolicy`.
    pub policy: DnsPolicy,
    /// `spec.dnsConfig`.
    pub config: Option<&'a PodDnsConfig>,
    /// `spec.hostNetwork`.
    pub host_network: bool,
    /// The node's own file.
    pub node: &'a ResolvConf,
    /// The cluster's DNS, if this machine knows one.
    pub cluster: Option<&'a ClusterDns>,
}

/// Something that was left out, or will not work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DnsWarning {
    /// The pod wants the cluster's DNS, and there is none.
    MissingClusterDns,
    /// There were too many name servers.
    NameserversOmitted {
        /// Those that are left.
        applied: Vec<String>,
    },
    /// There were too many or too long search domains.
    SearchesOmitted {
        /// Those that are left.
        applied: Vec<String>,
    },
    /// The name server listens on the node's loopback, which is not the pod's.
    LoopbackNameserver {
        /// Its address.
        nameserver: String,
    },
}

impl DnsWarning {
    /// The `reason` of the Event that tells of it.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::MissingClusterDns => "MissingClusterDNS",
            Self::NameserversOmitted { .. } | Self::SearchesOmitted { .. } | Self::LoopbackNameserver { .. } => "DNSConfigForming",
        }
    }
}

/// The reference's words, where it has any. On the pod's Event it puts `pod: "NAME_NAMESPACE(UID)". ` before the first of them.
impl fmt::Display for DnsWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MissingClusterDns => f.write_str(
                "kubelet does not have ClusterDNS IP configured and cannot create Pod using \"ClusterFirst\" policy. \
                 Falling back to \"Default\" policy.",
            ),
            Self::NameserversOmitted { applied } => write!(
                f,
                "Nameserver limits were exceeded, some nameservers have been omitted, the applied nameserver line is: {}",
                applied.join(" ")
            ),
            Self::SearchesOmitted { applied } => write!(
                f,
                "Search Line limits were exceeded, some search paths have been omitted, the applied search line is: {}",
                applied.join(" ")
            ),
            Self::LoopbackNameserver { nameserver } => write!(
                f,
                "Nameserver {nameserver} listens on the loopback of the node and is not reached from pods; \
                 have this machine's resolv.conf name one that is"
            ),
        }
    }
}

impl ResolvConf {
    /// Reads a file's content. What the resolver would ignore is ignored.
    pub fn parse(text: &str) -> Result<Self, ParseResolvConfError> {
        let mut conf = Self::default();
        for (at, line) in text.lines().enumerate() {
            let mut fields = line.split_whitespace();
            match fields.next() {
                Some("nameserver") => {
                    let nameserver = fields.next().ok_or(ParseResolvConfError { line: at + 1 })?;
                    conf.nameservers.push(nameserver.to_owned());
                }
                // The last such line counts. A dot at the end is no difference, and a dot alone is no domain.
                Some("search") => {
                    let domains = fields.filter(|domain| *domain != ".");
                    conf.searches = domains.map(|domain| domain.strip_suffix('.').unwrap_or(domain).to_owned()).collect();
                }
                Some("options") => {
                    for option in fields {
                        let (name, value) = split_option(option);
                        set_option(&mut conf.options, name, value);
                    }
                }
                Some(_) | None => {}
            }
        }
        Ok(conf)
    }

    /// The file to give to pods, of the node's own and, where it has one, that of [`SYSTEMD_RESOLVED_CONF`].
    ///
    /// A node whose name servers are all on its loopback keeps the real ones in the second.
    pub fn for_pods(node: Self, resolved: Option<Self>) -> Self {
        match resolved {
            Some(resolved) if node.is_loopback_only() && resolved.names_reachable() => resolved,
            Some(_) | None => node,
        }
    }

    /// Whether it names name servers, and all of them listen on the loopback of whoever asks.
    pub fn is_loopback_only(&self) -> bool {
        !self.nameservers.is_empty() && !self.names_reachable()
    }

    fn names_reachable(&self) -> bool {
        self.nameservers.iter().any(|nameserver| !is_loopback(nameserver))
    }
}

/// The content of the file, as container runtimes write it.
impl fmt::Display for ResolvConf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.searches.is_empty() {
            writeln!(f, "search {}", self.searches.join(" "))?;
        }
        for nameserver in &self.nameservers {
            writeln!(f, "nameserver {nameserver}")?;
        }
        if !self.options.is_empty() {
            writeln!(f, "options {}", self.options.join(" "))?;
        }
        Ok(())
    }
}

/// Makes a pod's `resolv.conf`. // kubelet: dns Configurer.GetPodDNS
pub fn pod_resolv_conf(pod: &PodDns<'_>) -> (ResolvConf, Vec<DnsWarning>) {
    let mut warnings = Vec::new();
    let mut conf = match (source(pod), pod.cluster) {
        (Source::Nothing, _) => ResolvConf::default(),
        (Source::Node, _) => pod.node.clone(),
        (Source::Cluster, Some(cluster)) => from_cluster(pod, cluster),
        (Source::Cluster, None) => {
            warnings.push(DnsWarning::MissingClusterDns);
            pod.node.clone()
        }
    };
    if let Some(config) = pod.config {
        conf.nameservers.extend_from_slice(&config.nameservers);
        omit_duplicates(&mut conf.nameservers);
        conf.searches.extend_from_slice(&config.searches);
        omit_duplicates(&mut conf.searches);
        for option in &config.options {
            set_option(&mut conf.options, &option.name, option.value.as_deref().unwrap_or_default());
        }
    }
    warnings.extend(fit_nameservers(&mut conf.nameservers));
    warnings.extend(fit_searches(&mut conf.searches));
    if !pod.host_network {
        let unreachable = conf.nameservers.iter().filter(|nameserver| is_loopback(nameserver));
        warnings.extend(unreachable.map(|nameserver| DnsWarning::LoopbackNameserver { nameserver: nameserver.clone() }));
    }
    (conf, warnings)
}

/// Where a policy begins.
enum Source {
    Nothing,
    Node,
    Cluster,
}

fn source(pod: &PodDns<'_>) -> Source {
    match pod.policy {
        DnsPolicy::None => Source::Nothing,
        DnsPolicy::Default => Source::Node,
        DnsPolicy::ClusterFirst if pod.host_network => Source::Node,
        DnsPolicy::ClusterFirst | DnsPolicy::ClusterFirstWithHostNet => Source::Cluster,
    }
}

fn from_cluster(pod: &PodDns<'_>, cluster: &ClusterDns) -> ResolvConf {
    let mut searches = Vec::new();
    if !cluster.domain.is_empty() {
        let (namespace, domain) = (pod.namespace, &cluster.domain);
        searches.extend([format!("{namespace}.svc.{domain}"), format!("svc.{domain}"), domain.clone()]);
    }
    searches.extend_from_slice(&pod.node.searches);
    if !cluster.domain.is_empty() {
        omit_duplicates(&mut searches);
    }
    ResolvConf {
        nameservers: cluster.nameservers.iter().map(IpAddr::to_string).collect(),
        searches,
        options: vec![CLUSTER_OPTIONS.to_owned()],
    }
}

fn fit_nameservers(nameservers: &mut Vec<String>) -> Option<DnsWarning> {
    if nameservers.len() <= NAMESERVERS_MAX {
        return None;
    }
    nameservers.truncate(NAMESERVERS_MAX);
    Some(DnsWarning::NameserversOmitted { applied: nameservers.clone() })
}

fn fit_searches(searches: &mut Vec<String>) -> Option<DnsWarning> {
    let before = searches.len();
    searches.truncate(SEARCHES_MAX);
    searches.retain(|domain| domain.len() <= SEARCH_LEN_MAX);
    while searches.iter().map(String::len).sum::<usize>() + searches.len().saturating_sub(1) > SEARCH_LINE_LEN_MAX {
        searches.pop();
    }
    (searches.len() < before).then(|| DnsWarning::SearchesOmitted { applied: searches.clone() })
}

fn omit_duplicates(texts: &mut Vec<String>) {
    let mut seen = std::collections::BTreeSet::new();
    texts.retain(|text| seen.insert(text.clone()));
}

/// Sets an option, in the place of one of the same name if there is one. The reference's order is that of a hash map; this one is
/// stable.
fn set_option(options: &mut Vec<String>, name: &str, value: &str) {
    let text = if value.is_empty() { name.to_owned() } else { format!("{name}:{value}") };
    match options.iter_mut().find(|option| split_option(option).0 == name) {
        Some(option) => *option = text,
        None => options.push(text),
    }
}

fn split_option(option: &str) -> (&str, &str) {
    option.split_once(':').unwrap_or((option, ""))
}

fn is_loopback(nameserver: &str) -> bool {
    nameserver.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests;
