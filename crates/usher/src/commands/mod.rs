//! One file for each command.

pub(crate) mod attach;
pub(crate) mod backup;
pub(crate) mod check;
pub(crate) mod daemon;
pub(crate) mod events;
pub(crate) mod exec;
pub(crate) mod image;
pub(crate) mod journal;
pub(crate) mod journals;
pub(crate) mod kubeconfig;
pub(crate) mod lint;
pub(crate) mod logs;
pub(crate) mod pods;
pub(crate) mod ps;
pub(crate) mod rm;
pub(crate) mod run;
pub(crate) mod serve;
pub(crate) mod session;
pub(crate) mod session_told;
pub(crate) mod test;
pub(crate) mod timeline;
pub(crate) mod ui;
pub(crate) mod why;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::sync::Arc;

use anyhow::Context as _;
use node::NodeConfig;
use runtime::{EmbeddedConfig, EmbeddedRuntime};

use crate::cli::Global;
use crate::node_options::default_pod_pids;

/// Something went wrong that is not the pod's own end: bad arguments, an unusable machine.
pub(crate) const EXIT_ERROR: u8 = 125;

/// Default of `containerLogMaxSize`.
const LOG_MAX_BYTES: u64 = 10 << 20;

/// Default of `containerLogMaxFiles`.
const LOG_MAX_FILES: u32 = 5;

/// The runtime as the command line configures it.
pub(crate) fn runtime(global: &Global) -> anyhow::Result<Arc<EmbeddedRuntime>> {
    let mut config = EmbeddedConfig::new(global.root(), &global.bridge, &global.subnet, global.ipv6_subnet)?;
    config.handlers = global.runtime_handler.iter().cloned().collect();
    let runtime = EmbeddedRuntime::new(config).context("cannot set up the runtime")?;
    Ok(Arc::new(runtime))
}

/// The node as the command line configures it.
pub(crate) fn node_config(global: &Global) -> NodeConfig {
    let node_name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    NodeConfig {
        allocations: node::Allocations::default(),
        root: global.root(),
        log_root: global.log_root(),
        node_name,
        host_ips: host_ips(),
        log_max_bytes: LOG_MAX_BYTES,
        log_max_files: LOG_MAX_FILES,
        journal: global.journal_limits(),
        pod_pids_max: default_pod_pids(),
        back_off_max: lifecycle::BACK_OFF_MAX,
        pulls: None,
    }
}

/// The addresses of the node; of a machine without a network, its loopback address.
fn host_ips() -> Vec<IpAddr> {
    let found = own_addresses();
    if found.is_empty() { vec![Ipv4Addr::LOCALHOST.into()] } else { found }
}

/// The addresses from which this machine reaches others: at most one of each family, IPv4 first (k8s: 8.f.4).
pub(crate) fn own_addresses() -> Vec<IpAddr> {
    // Connecting a UDP socket sends nothing: it only asks for the way, here to addresses that are nobody's.
    let way_to = |here: IpAddr, there: IpAddr| {
        let socket = UdpSocket::bind((here, 0)).ok()?;
        socket.connect((there, 9)).ok()?;
        Some(socket.local_addr().ok()?.ip())
    };
    let ipv4 = way_to(Ipv4Addr::UNSPECIFIED.into(), Ipv4Addr::new(192, 0, 2, 1).into());
    let ipv6 = way_to(Ipv6Addr::UNSPECIFIED.into(), Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into());
    let is_link_local = |ip: &IpAddr| matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local());
    [ipv4, ipv6].into_iter().flatten().filter(|ip| !ip.is_unspecified() && !ip.is_loopback() && !is_link_local(ip)).collect()
}
