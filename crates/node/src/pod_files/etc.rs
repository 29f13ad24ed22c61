//! `/etc/hosts`, `/etc/hostname` and `/etc/resolv.conf` of a pod: read what the node has, and write what the network's rules make of it.

use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::{Pod, PodDNSConfig};
use runtime::network::dns::{
    DnsOption, DnsPolicy, DnsWarning, ParseResolvConfError, PodDns, PodDnsConfig, ResolvConf, SYSTEMD_RESOLVED_CONF, pod_resolv_conf,
};
use runtime::network::hosts::{HostAlias, PodHostname, PodHostnameError, PodNames, host_network_hosts, managed_hosts, pod_hostname};

use super::{PodFiles, blocking, set_mode};
use crate::machine::Machine;

/// Everyone may read these.
const ETC_FILE_MODE: u32 = 0o644;
/// What subdomains of pods end with.
const CLUSTER_DOMAIN: &str = "cluster.local";
/// The node's own hosts.
const NODE_HOSTS: &str = "/etc/hosts";
/// The node's own resolver.
const NODE_RESOLV_CONF: &str = "/etc/resolv.conf";

/// One of the files could not be made.
#[derive(Debug, thiserror::Error)]
pub enum EtcFilesError {
    /// A file of the node cannot be read, or one of the pod cannot be written.
    #[error("cannot {what} {}", path.display())]
    Io {
        /// `read` or `write`.
        what: &'static str,
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The node's resolver means nothing.
    #[error("cannot understand the resolver of the node")]
    Resolver {
        /// Why.
        source: ParseResolvConfError,
    },
    /// The pod has no usable host name.
    #[error(transparent)]
    Hostname(#[from] PodHostnameError),
}

/// The pod's host name; empty if the kernel cannot have it, which is told when the pod's files are written.
pub fn hostname(pod: &Pod) -> String {
    kernel_hostname(pod).unwrap_or_default()
}

/// The host name that the kernel and `/etc/hostname` have: with the domain where the pod says so.
fn kernel_hostname(pod: &Pod) -> Result<String, PodHostnameError> {
    let is_full = pod.spec.as_ref().and_then(|spec| spec.set_hostname_as_fqdn).unwrap_or(false);
    let name = names_of(pod)?;
    Ok(if is_full { name.into_full()? } else { name }.hostname)
}

fn names_of(pod: &Pod) -> Result<PodHostname, PodHostnameError> {
    let spec = pod.spec.as_ref();
    pod_hostname(&PodNames {
        name: pod.metadata.name.as_deref().unwrap_or_default(),
        namespace: pod.metadata.namespace.as_deref().unwrap_or_default(),
        hostname: spec.and_then(|spec| spec.hostname.as_deref()),
        subdomain: spec.and_then(|spec| spec.subdomain.as_deref()),
        hostname_override: spec.and_then(|spec| spec.hostname_override.as_deref()),
        cluster_domain: CLUSTER_DOMAIN,
    })
}

impl PodFiles {
    /// Where the pod's `/etc/hosts` is.
    pub fn etc_hosts(&self) -> PathBuf {
        self.dir().join("etc-hosts")
    }

    /// Where the pod's `/etc/hostname` is.
    pub fn etc_hostname(&self) -> PathBuf {
        self.dir().join("hostname")
    }

    /// Where the pod's `/etc/resolv.conf` is.
    pub fn resolv_conf(&self) -> PathBuf {
        self.dir().join("resolv.conf")
    }

    /// Writes the three files; to be called when the sandbox is there, since the pod's addresses stand in them. Tells what of the
    /// resolver was left out, or will not work.
    pub async fn write_etc_files(&self, pod: &Pod, pod_ips: &[IpAddr]) -> Result<Vec<DnsWarning>, EtcFilesError> {
        let (files, pod, pod_ips) = (self.clone(), pod.clone(), pod_ips.to_vec());
        blocking(move || files.write_etc_files_now(&pod, &pod_ips)).await
    }

    fn write_etc_files_now(&self, pod: &Pod, pod_ips: &[IpAddr]) -> Result<Vec<DnsWarning>, EtcFilesError> {
        let uses_host_network = uses_host_network(pod);
        let name = names_of(pod)?;
        let hosts = if uses_host_network {
            host_network_hosts(&read(Path::new(NODE_HOSTS))?, &aliases(pod))
        } else {
            managed_hosts(pod_ips, &name, &aliases(pod)).into_bytes()
        };
        write(&self.etc_hosts(), &hosts)?;
        let shown = if uses_host_network { Machine::this().hostname } else { kernel_hostname(pod)? };
        write(&self.etc_hostname(), format!("{shown}\n").as_bytes())?;
        let (resolver, warnings) = resolver(pod, &node_resolver()?);
        write(&self.resolv_conf(), resolver.to_string().as_bytes())?;
        Ok(warnings)
    }
}

fn uses_host_network(pod: &Pod) -> bool {
    pod.spec.as_ref().and_then(|spec| spec.host_network).unwrap_or(false)
}

fn aliases(pod: &Pod) -> Vec<HostAlias> {
    let aliases = pod.spec.iter().flat_map(|spec| spec.host_aliases.iter().flatten());
    aliases.map(|alias| HostAlias { ip: alias.ip.clone(), hostnames: alias.hostnames.clone().unwrap_or_default() }).collect()
}

/// The node's resolver; where that listens on the node's loopback, which no pod can reach, the one behind it.
fn node_resolver() -> Result<ResolvConf, EtcFilesError> {
    let own = parse(&read(Path::new(NODE_RESOLV_CONF))?)?;
    if own.is_loopback_only() {
        let behind = parse(&read(Path::new(SYSTEMD_RESOLVED_CONF))?)?;
        if !behind.nameservers.is_empty() {
            return Ok(behind);
        }
    }
    Ok(own)
}

fn parse(file: &[u8]) -> Result<ResolvConf, EtcFilesError> {
    ResolvConf::parse(&String::from_utf8_lossy(file)).map_err(|source| EtcFilesError::Resolver { source })
}

/// There is no cluster's DNS here.
fn resolver(pod: &Pod, of_node: &ResolvConf) -> (ResolvConf, Vec<DnsWarning>) {
    let spec = pod.spec.as_ref();
    let policy = match spec.and_then(|spec| spec.dns_policy.as_deref()) {
        Some("None") => DnsPolicy::None,
        Some("Default") => DnsPolicy::Default,
        Some("ClusterFirstWithHostNet") => DnsPolicy::ClusterFirstWithHostNet,
        Some(_) | None => DnsPolicy::ClusterFirst,
    };
    let config = spec.and_then(|spec| spec.dns_config.as_ref()).map(dns_config);
    pod_resolv_conf(&PodDns {
        namespace: pod.metadata.namespace.as_deref().unwrap_or_default(),
        policy,
        config: config.as_ref(),
        host_network: uses_host_network(pod),
        node: of_node,
        cluster: None,
    })
}

fn dns_config(config: &PodDNSConfig) -> PodDnsConfig {
    let options = config.options.iter().flatten();
    PodDnsConfig {
        nameservers: config.nameservers.clone().unwrap_or_default(),
        searches: config.searches.clone().unwrap_or_default(),
        options: options.map(|option| DnsOption { name: option.name.clone().unwrap_or_default(), value: option.value.clone() }).collect(),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, EtcFilesError> {
    match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        read => read.map_err(|source| EtcFilesError::Io { what: "read", path: path.to_owned(), source }),
    }
}

fn write(path: &Path, content: &[u8]) -> Result<(), EtcFilesError> {
    let written = fs::write(path, content).and_then(|()| set_mode(path, ETC_FILE_MODE));
    written.map_err(|source| EtcFilesError::Io { what: "write", path: path.to_owned(), source })
}

#[cfg(test)]
mod tests;
