//! What a process does with the pod network: attach and detach pods, give them host ports, collect what dead ones left.
//!
//! Each operation is a few steps in a fixed order, so that whatever it is cut off at, what is left is found and removed by the
//! next detach or collection: first the claim is written down, then the kernel's objects are made; removal goes the other way.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fd::OwnedFd;
use tokio::sync::OnceCell;

use super::bridge::{self, Bridge, BridgeError};
use super::check::missing_capabilities;
use super::config::{NetworkConfig, NetworkConfigError, SETTING_IPV6_SUBNET};
use super::host_port::HostPort;
use super::links::{LinkError, Links};
use super::netns;
use super::nft::Nft;
use super::node_rules::{self, RulesError};
use super::owner::Owner;
use super::pod_link::{self, ConnectPodError};
use super::problem::{Notice, Problem};
use super::state::{ClaimAddressError, ClaimHostPortsError, LockedState, ReclaimedPod, State, StateError};

/// The addresses of a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PodIps {
    /// The pod's IPv4 address.
    pub ipv4: Ipv4Addr,
    /// The pod's IPv6 address, if the network has an IPv6 subnet.
    pub ipv6: Option<Ipv6Addr>,
}

impl PodIps {
    /// The addresses in the order of `status.podIPs`, the main one first.
    pub fn iter(&self) -> impl Iterator<Item = IpAddr> + use<> {
        std::iter::once(IpAddr::V4(self.ipv4)).chain(self.ipv6.map(IpAddr::V6))
    }
}

/// An attached pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    /// The pod's addresses.
    pub pod_ips: PodIps,
    /// What the user should be told: what was changed on the machine, and what does not work.
    pub notices: Vec<Notice>,
}

/// What [`PodNetwork::gc`] removed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Collected {
    /// Uids of pods whose shim was gone.
    pub pods: Vec<String>,
    /// Interfaces that no pod had any more.
    pub interfaces: Vec<String>,
}

/// Why the network of this machine cannot be used at all.
#[derive(Debug, thiserror::Error)]
pub enum OpenNetworkError {
    /// The settings are wrong.
    #[error(transparent)]
    Config(#[from] NetworkConfigError),
    /// The machine does not tell which boot and which processes these are.
    #[error(transparent)]
    State(#[from] StateError),
}

/// Why a pod was not attached. It has nothing then, as before.
#[derive(Debug, thiserror::Error)]
pub enum AttachPodError {
    /// The machine cannot do it.
    #[error("no network for pod {pod_uid}: {problem}")]
    Problem {
        /// The pod.
        pod_uid: String,
        /// What is in the way.
        problem: Box<Problem>,
    },
    /// No address.
    #[error(transparent)]
    Address(#[from] ClaimAddressError),
    /// No interface.
    #[error("cannot connect pod {pod_uid} to bridge {bridge}")]
    Connect {
        /// The pod.
        pod_uid: String,
        /// The bridge.
        bridge: String,
        /// Why.
        source: ConnectPodError,
    },
    /// The bridge failed.
    #[error("cannot set up bridge {bridge}")]
    Bridge {
        /// The bridge.
        bridge: String,
        /// Why.
        source: LinkError,
    },
    /// The state folder failed.
    #[error(transparent)]
    State(#[from] StateError),
    /// The rules failed.
    #[error(transparent)]
    Rules(#[from] RulesError),
}

/// Why a pod was not detached, or what stale pods left was not removed. Trying again is safe.
#[derive(Debug, thiserror::Error)]
pub enum DetachPodError {
    /// An interface failed.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// The state folder failed.
    #[error(transparent)]
    State(#[from] StateError),
    /// The rules failed.
    #[error(transparent)]
    Rules(#[from] RulesError),
}

/// Why host ports were not changed.
#[derive(Debug, thiserror::Error)]
pub enum HostPortError {
    /// The pod cannot have them.
    #[error(transparent)]
    Claim(#[from] ClaimHostPortsError),
    /// The port's address has no counterpart in the pod.
    #[error("host port {port} of pod {pod_uid} is on an IPv6 address, and pods have none; give them a range with {}", SETTING_IPV6_SUBNET)]
    NoIpv6 {
        /// The port.
        port: HostPort,
        /// The pod.
        pod_uid: String,
    },
    /// The state folder failed.
    #[error(transparent)]
    State(#[from] StateError),
    /// The rules failed.
    #[error(transparent)]
    Rules(#[from] RulesError),
}

/// The pod network, as one process uses it. Processes that use the same bridge share the network.
///
/// It works in the network namespace of the threads that call it, and on the tokio runtime that its first call is made from.
#[derive(Debug)]
pub struct PodNetwork {
    config: NetworkConfig,
    state: State,
    links: OnceCell<Links>,
    nft: Arc<Nft>,
    /// Index of a bridge that was seen to be right.
    verified_bridge: Mutex<Option<u32>>,
    /// Other people's firewalls are looked at once, for the first pod.
    firewall_seen: AtomicBool,
}

impl PodNetwork {
    /// Checks the settings. Changes nothing on the machine: the first pod does.
    pub fn new(config: NetworkConfig) -> Result<Self, OpenNetworkError> {
        config.validate()?;
        let state = State::new(&config)?;
        Ok(Self {
            config,
            state,
            links: OnceCell::new(),
            nft: Arc::default(),
            verified_bridge: Mutex::new(None),
            firewall_seen: AtomicBool::new(false),
        })
    }

    /// The settings.
    pub fn config(&self) -> &NetworkConfig {
        &self.config
    }

    /// Connects a pod: an address, an `eth0` with it in `netns`, the way out.
    ///
    /// `owner` is the pod's shim; when it is gone, so is its right to the address. Attaching again for the same owner gives
    /// the same address and repairs what is missing. A caller that drops the future has to [`detach`](Self::detach) the pod.
    pub async fn attach(&self, netns: OwnedFd, pod_uid: &str, owner: Owner) -> Result<Attachment, AttachPodError> {
        if let Some(problem) = missing_capabilities().pop() {
            return Err(AttachPodError::Problem { pod_uid: pod_uid.to_owned(), problem: Box::new(problem) });
        }
        netns::check_is_not_node(&netns).map_err(|error| self.connect_error(pod_uid, error.into()))?;
        let (config, nft, uid) = (self.config.clone(), Arc::clone(&self.nft), pod_uid.to_owned());
        let ((claimed, mut notices), followed) = self
            .with_state::<_, AttachPodError>(move |state| {
                let claimed = state.claim_address(&uid, owner)?;
                match node_rules::prepare(&config, &nft, state) {
                    Ok(notices) => Ok((claimed, notices)),
                    Err(error) => {
                        if !claimed.held_before {
                            state.release(&uid)?;
                        }
                        Err(error)
                    }
                }
            })
            .await?;
        notices.extend(followed);
        if !self.firewall_seen.swap(true, Ordering::Relaxed) {
            notices.extend(node_rules::firewall(&self.config, &self.nft));
        }

        let pod_ips = PodIps { ipv4: claimed.ipv4, ipv6: self.config.ipv6_of(claimed.ipv4) };
        let connected = self.connect(netns, pod_uid, &pod_ips, &claimed.reclaimed).await;
        let Err(error) = connected else {
            return Ok(Attachment { pod_ips, notices });
        };
        if !claimed.held_before
            && let Err(undo) = self.detach(pod_uid).await
        {
            tracing::warn!(pod_uid, error = %undo, "the address of a pod that could not be attached stays leased until its shim ends");
        }
        Err(error)
    }

    /// Gives a pod host ports, all of them or none. The pod has to be attached. Ports that it has already stay as they are.
    pub async fn add_host_ports(&self, pod_uid: &str, ports: &[HostPort]) -> Result<Vec<Notice>, HostPortError> {
        let is_ipv6 = |port: &&HostPort| port.normalized().host_ip.is_some_and(|ip| ip.is_ipv6());
        if self.config.ipv6_subnet.is_none()
            && let Some(port) = ports.iter().find(is_ipv6)
        {
            return Err(HostPortError::NoIpv6 { port: *port, pod_uid: pod_uid.to_owned() });
        }
        let on_ipv6_loopback: Vec<HostPort> =
            ports.iter().copied().filter(|port| port.host_ip == Some(Ipv6Addr::LOCALHOST.into())).collect();
        let (uid, ports) = (pod_uid.to_owned(), ports.to_vec());
        let (addresses_missing, mut notices) =
            self.with_state::<_, HostPortError>(move |state| Ok(state.claim_host_ports(&uid, &ports)?)).await?;
        notices.extend(addresses_missing.into_iter().map(Notice::HostAddressMissing));
        notices.extend(on_ipv6_loopback.into_iter().map(Notice::HostAddressUnserved));
        Ok(notices)
    }

    /// Takes host ports from a pod. Those that it does not have are passed over.
    pub async fn remove_host_ports(&self, pod_uid: &str, ports: &[HostPort]) -> Result<(), HostPortError> {
        let (uid, ports) = (pod_uid.to_owned(), ports.to_vec());
        self.with_state::<_, HostPortError>(move |state| Ok(state.give_up_host_ports(&uid, &ports)?)).await?;
        Ok(())
    }

    /// Takes everything from a pod: host ports, interface, address. A pod that has nothing is fine.
    pub async fn detach(&self, pod_uid: &str) -> Result<(), DetachPodError> {
        let uid = pod_uid.to_owned();
        let (record, _) = self.with_state::<_, DetachPodError>(move |state| Ok(state.pod(&uid)?)).await?;
        let Some(record) = record else { return Ok(()) };
        // While the lease is the pod's, so is the interface of that name; an index stays the pod's for ever.
        let links = self.links().await?;
        let host_link = match record.host_link {
            Some(index) => Some(index),
            None => links.by_name(&pod_link::node_end(record.ipv4)).await?.map(|link| link.index),
        };
        if let Some(index) = host_link {
            links.delete(index).await?;
        }
        let uid = pod_uid.to_owned();
        self.with_state::<_, DetachPodError>(move |state| Ok(state.release(&uid)?)).await?;
        Ok(())
    }

    /// Removes what pods left whose shim is gone. Running pods are not touched, whichever process they belong to.
    pub async fn gc(&self) -> Result<Collected, DetachPodError> {
        // Interfaces before leases: one that is made later has its lease before it.
        let interfaces = self.pod_interfaces().await?;
        let (reclaimed, _) = self.with_state::<_, DetachPodError>(|state| Ok(state.reclaim()?)).await?;
        let uids = reclaimed.iter().map(|pod| pod.pod_uid.clone());
        let mut collected = Collected { pods: uids.collect(), interfaces: Vec::new() };

        let (leased, _) = self.with_state::<_, DetachPodError>(|state| Ok(state.leased_addresses()?)).await?;
        for (address, link) in interfaces {
            if !leased.contains(&address) && self.links().await?.delete(link.index).await? {
                collected.interfaces.push(link.name);
            }
        }
        Ok(collected)
    }

    async fn connect(&self, netns: OwnedFd, pod_uid: &str, pod_ips: &PodIps, reclaimed: &[ReclaimedPod]) -> Result<(), AttachPodError> {
        let links = self.links().await.map_err(|error| self.bridge_error(pod_uid, error.into()))?;
        for pod in reclaimed {
            if let Some(index) = pod.host_link {
                links.delete(index).await.map_err(|error| self.connect_error(pod_uid, error.into()))?;
            }
        }
        let bridge = self.bridge(links).await.map_err(|error| self.bridge_error(pod_uid, error))?;
        let host_link = pod_link::connect(links, &self.config, bridge, pod_uid, pod_ips, netns)
            .await
            .map_err(|error| self.connect_error(pod_uid, error))?;
        let uid = pod_uid.to_owned();
        self.with_state::<_, AttachPodError>(move |state| Ok(state.set_host_link(&uid, host_link)?)).await?;
        Ok(())
    }

    async fn bridge(&self, links: &Links) -> Result<Bridge, BridgeError> {
        let verified = *self.verified_bridge.lock().unwrap_or_else(PoisonError::into_inner);
        let bridge = bridge::ensure(links, &self.config, verified).await?;
        *self.verified_bridge.lock().unwrap_or_else(PoisonError::into_inner) = Some(bridge.index);
        Ok(bridge)
    }

    async fn pod_interfaces(&self) -> Result<Vec<(Ipv4Addr, super::links::Link)>, LinkError> {
        let links = self.links().await?;
        let Some(bridge) = links.by_name(&self.config.bridge).await? else {
            return Ok(Vec::new());
        };
        let ports = links.all().await?.into_iter().filter(|link| link.bridge == Some(bridge.index));
        Ok(ports.filter_map(|link| Some((pod_link::node_end_address(&link.name)?, link))).collect())
    }

    async fn links(&self) -> Result<&Links, LinkError> {
        self.links.get_or_try_init(|| async { Links::open(&tokio::runtime::Handle::current()) }).await
    }

    /// Works on the state folder under its lock, and lets the rules follow if host ports changed, whatever came of the work.
    async fn with_state<T, E>(
        &self,
        work: impl FnOnce(&mut LockedState<'_>) -> Result<T, E> + Send + 'static,
    ) -> Result<(T, Vec<Notice>), E>
    where
        T: Send + 'static,
        E: From<StateError> + From<RulesError> + Send + 'static,
    {
        let (state, config, nft) = (self.state.clone(), self.config.clone(), Arc::clone(&self.nft));
        let done = tokio::task::spawn_blocking(move || {
            let mut locked = state.lock()?;
            let done = work(&mut locked);
            let notices =
                if !locked.changed_host_ports().is_empty() { node_rules::follow::<E>(&config, &nft, &locked) } else { Ok(Vec::new()) };
            Ok((done?, notices?))
        });
        done.await.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
    }

    fn connect_error(&self, pod_uid: &str, source: ConnectPodError) -> AttachPodError {
        let pod_uid = pod_uid.to_owned();
        if let ConnectPodError::Problem(problem) = source {
            return AttachPodError::Problem { pod_uid, problem };
        }
        AttachPodError::Connect { pod_uid, bridge: self.config.bridge.clone(), source }
    }

    fn bridge_error(&self, pod_uid: &str, error: BridgeError) -> AttachPodError {
        match error {
            BridgeError::Problem(problem) => AttachPodError::Problem { pod_uid: pod_uid.to_owned(), problem },
            BridgeError::Link(source) => AttachPodError::Bridge { bridge: self.config.bridge.clone(), source },
        }
    }
}
