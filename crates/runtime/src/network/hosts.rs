//! A pod's `/etc/hosts` and the host name that stands in it, as the kubelet makes them.
//!
//! Pure functions; the caller reads the node's file and writes the pod's.

use std::net::IpAddr;

/// Linux keeps 64 bytes, the last of them zero.
const HOSTNAME_LEN_MAX: usize = 63;
/// What the kernel takes for the host name of a machine, in bytes.
const KERNEL_NAME_LEN_MAX: usize = 64;
/// First line of the file of a pod with a network of its own.
const HEADER: &str = "# Kubernetes-managed hosts file.\n";
/// First line of the file of a pod on the node's network.
const HEADER_HOST_NETWORK: &str = "# Kubernetes-managed hosts file (host network).\n";
/// Stands before the entries of `spec.hostAliases`.
const HEADER_ALIASES: &str = "\n# Entries added by HostAliases.\n";
/// Names that every machine knows.
const LOCAL_ENTRIES: &str = "127.0.0.1\tlocalhost\n\
                             ::1\tlocalhost ip6-localhost ip6-loopback\n\
                             fe00::0\tip6-localnet\n\
                             fe00::0\tip6-mcastprefix\n\
                             fe00::1\tip6-allnodes\n\
                             fe00::2\tip6-allrouters\n";

/// One of `spec.hostAliases`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostAlias {
    /// The address.
    pub ip: String,
    /// Its names.
    pub hostnames: Vec<String>,
}

/// What a pod's name is made from. All parts are valid already.
#[derive(Debug, Clone, Copy)]
pub struct PodNames<'a> {
    /// `metadata.name`.
    pub name: &'a str,
    /// `metadata.namespace`.
    pub namespace: &'a str,
    /// `spec.hostname`.
    pub hostname: Option<&'a str>,
    /// `spec.subdomain`.
    pub subdomain: Option<&'a str>,
    /// `spec.hostnameOverride`.
    pub hostname_override: Option<&'a str>,
    /// The cluster's domain; may be empty.
    pub cluster_domain: &'a str,
}

/// A pod's name in the network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodHostname {
    /// The host name, at most 63 bytes.
    pub hostname: String,
    /// The domain; empty without `spec.subdomain`.
    pub domain: String,
}

impl PodHostname {
    /// The name with the domain, if there is one, as `spec.setHostnameAsFQDN` makes it the host name. // kubelet: GetNodenameForKernel
    pub fn into_full(self) -> Result<Self, PodHostnameError> {
        if self.domain.is_empty() {
            return Ok(self);
        }
        let hostname = format!("{}.{}", self.hostname, self.domain);
        if hostname.len() > KERNEL_NAME_LEN_MAX {
            return Err(PodHostnameError::FullNameTooLong { requested: hostname.len(), hostname });
        }
        Ok(Self { hostname, ..self })
    }
}

/// A pod cannot have the host name that it asks for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PodHostnameError {
    /// Nothing is left of a host name that was cut to what Linux keeps.
    #[error("hostname for pod {pod:?} was invalid: {hostname:?}")]
    Empty {
        /// `metadata.name`.
        pod: String,
        /// The name before it was cut.
        hostname: String,
    },
    /// With `spec.setHostnameAsFQDN` nothing is cut.
    #[error(
        "failed to construct FQDN from pod hostname and cluster domain, FQDN {hostname} is too long ({KERNEL_NAME_LEN_MAX} characters is the max, {requested} characters requested)"
    )]
    FullNameTooLong {
        /// The name with its domain.
        hostname: String,
        /// Its length in bytes.
        requested: usize,
    },
}

/// The host name and domain of a pod. // kubelet: GeneratePodHostNameAndDomain
pub fn pod_hostname(pod: &PodNames<'_>) -> Result<PodHostname, PodHostnameError> {
    if let Some(hostname) = pod.hostname_override {
        return Ok(PodHostname { hostname: cut_hostname(pod.name, hostname)?, domain: String::new() });
    }
    let hostname = pod.hostname.filter(|hostname| !hostname.is_empty()).unwrap_or(pod.name);
    let domain = match pod.subdomain {
        Some(subdomain) if !subdomain.is_empty() => {
            format!("{subdomain}.{}.svc.{}", pod.namespace, pod.cluster_domain)
        }
        Some(_) | None => String::new(),
    };
    Ok(PodHostname { hostname: cut_hostname(pod.name, hostname)?, domain })
}

/// `/etc/hosts` of a pod with a network of its own. // kubelet: managedHostsFileContent
pub fn managed_hosts(pod_ips: &[IpAddr], name: &PodHostname, aliases: &[HostAlias]) -> String {
    let mut content = format!("{HEADER}{LOCAL_ENTRIES}");
    for ip in pod_ips {
        let PodHostname { hostname, domain } = name;
        let entry = if domain.is_empty() { hostname.clone() } else { format!("{hostname}.{domain}\t{hostname}") };
        content.push_str(&format!("{ip}\t{entry}\n"));
    }
    content.push_str(&alias_entries(aliases));
    content
}

/// `/etc/hosts` of a pod on the node's network: the node's, whatever bytes are in it. // kubelet: nodeHostsFileContent
pub fn host_network_hosts(node_hosts: &[u8], aliases: &[HostAlias]) -> Vec<u8> {
    [HEADER_HOST_NETWORK.as_bytes(), node_hosts, alias_entries(aliases).as_bytes()].concat()
}

fn alias_entries(aliases: &[HostAlias]) -> String {
    if aliases.is_empty() {
        return String::new();
    }
    let entries = aliases.iter().map(|alias| format!("{}\t{}\n", alias.ip, alias.hostnames.join("\t")));
    HEADER_ALIASES.chars().chain(entries.collect::<String>().chars()).collect()
}

fn cut_hostname(pod: &str, hostname: &str) -> Result<String, PodHostnameError> {
    if hostname.len() <= HOSTNAME_LEN_MAX {
        return Ok(hostname.to_owned());
    }
    let end = (0..=HOSTNAME_LEN_MAX).rev().find(|at| hostname.is_char_boundary(*at)).unwrap_or(0);
    let cut = hostname[..end].trim_end_matches(['-', '.']);
    if cut.is_empty() {
        return Err(PodHostnameError::Empty { pod: pod.to_owned(), hostname: hostname.to_owned() });
    }
    Ok(cut.to_owned())
}

#[cfg(test)]
mod tests;
