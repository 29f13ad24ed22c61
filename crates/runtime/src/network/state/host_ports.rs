//! Claims on host ports: one pod for each, machine-wide.
//!
//! Claims are made all or none. What packets do is the rules' business; these files are what the rules are made from.

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use super::{LockedState, StateError, claim_record, list, read_record, remove};
use crate::network::host_port::HostPort;
use crate::network::node_socket::NodeSocket;
use crate::network::owner::OwnerRecord;

/// All host ports of one bridge. They go to the kernel in one message, which its socket buffer limits to about 200 kB, at
/// about 60 bytes each.
const HOST_PORTS_MAX: usize = 1024;

/// A claim as it is written into the file named by its port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::network) struct HostPortClaim {
    pub(in crate::network) pod_uid: String,
    pub(in crate::network) port: HostPort,
    pub(in crate::network) pod_ipv4: Ipv4Addr,
    owner: OwnerRecord,
}

/// Why a pod did not get its host ports. None of those asked for together was given.
#[derive(Debug, thiserror::Error)]
pub enum ClaimHostPortsError {
    /// Another pod of this machine has it.
    #[error("host port {wanted} of pod {pod_uid} conflicts with {held} of pod {holder}")]
    HeldByPod {
        /// What was asked for.
        wanted: HostPort,
        /// By which pod.
        pod_uid: String,
        /// What is taken.
        held: HostPort,
        /// By which pod.
        holder: String,
    },
    /// The same port was asked for twice, for two ports of the pod.
    #[error("host port {wanted} of pod {pod_uid} is asked for twice")]
    AskedTwice {
        /// What was asked for.
        wanted: HostPort,
        /// By which pod.
        pod_uid: String,
    },
    /// Something that is not a pod listens there.
    #[error("host port {wanted} of pod {pod_uid} is in use by another process of this machine")]
    HeldByNode {
        /// What was asked for.
        wanted: HostPort,
        /// By which pod.
        pod_uid: String,
    },
    /// There is a bound, and it was met.
    #[error("pod {pod_uid} asks for {asked} host ports where {held} of at most {} are taken", HOST_PORTS_MAX)]
    TooMany {
        /// The pod.
        pod_uid: String,
        /// How many it asked for.
        asked: usize,
        /// How many are taken by all pods.
        held: usize,
    },
    /// Host ports lead to an address, and the pod has none.
    #[error("pod {pod_uid} is not attached to the network")]
    NotAttached {
        /// The pod.
        pod_uid: String,
    },
    /// The state folder failed.
    #[error(transparent)]
    State(#[from] StateError),
}

impl LockedState<'_> {
    /// Claims host ports for an attached pod. Those that it has already are left as they are.
    ///
    /// Returns those whose address the node does not have at the moment: they wait for it.
    pub(in crate::network) fn claim_host_ports(&mut self, pod_uid: &str, ports: &[HostPort]) -> Result<Vec<HostPort>, ClaimHostPortsError> {
        let Some(mut record) = self.pod(pod_uid)? else {
            return Err(ClaimHostPortsError::NotAttached { pod_uid: pod_uid.to_owned() });
        };
        let (wanted, addresses_missing) = self.check_host_ports(pod_uid, ports)?;
        if wanted.is_empty() {
            return Ok(addresses_missing);
        }

        record.host_ports.retain(|port| !wanted.contains(port));
        record.host_ports.extend(&wanted);
        self.put_pod(pod_uid, &record)?;
        self.changed_host_ports.extend(&wanted);
        for (done, &port) in wanted.iter().enumerate() {
            let claim = HostPortClaim { pod_uid: pod_uid.to_owned(), port, pod_ipv4: record.ipv4, owner: record.owner.clone() };
            let failed = match claim_record(&self.dir("host-ports").join(port.claim_name()), &claim) {
                Ok(true) => continue,
                // No file, yet one that could not be read as a claim: its process died writing it.
                Ok(false) => self.overwrite_unreadable_claim(&claim).err(),
                Err(error) => Some(error),
            };
            if let Some(error) = failed {
                self.release_host_ports(pod_uid, &wanted[..done])?;
                record.host_ports.retain(|port| !wanted.contains(port));
                self.put_pod(pod_uid, &record)?;
                return Err(error.into());
            }
        }
        Ok(addresses_missing)
    }

    /// Gives back host ports of a pod; those that it does not have are passed over.
    pub(in crate::network) fn give_up_host_ports(&mut self, pod_uid: &str, ports: &[HostPort]) -> Result<(), StateError> {
        let Some(mut record) = self.pod(pod_uid)? else {
            return Ok(());
        };
        let ports: Vec<HostPort> = ports.iter().map(|port| port.normalized()).collect();
        self.release_host_ports(pod_uid, &ports)?;
        record.host_ports.retain(|port| !ports.contains(port));
        self.put_pod(pod_uid, &record)
    }

    /// All claims, in a stable order.
    fn host_port_claims(&self) -> Result<Vec<HostPortClaim>, StateError> {
        let dir = self.dir("host-ports");
        let mut claims = Vec::new();
        for name in list(&dir)?.iter().take(HOST_PORTS_MAX) {
            claims.extend(read_record::<HostPortClaim>(&dir.join(name))?);
        }
        Ok(claims)
    }

    /// Claims whose pod is there: what the rules are made from.
    pub(in crate::network) fn live_host_port_claims(&self) -> Result<Vec<HostPortClaim>, StateError> {
        let mut claims = self.host_port_claims()?;
        claims.retain(|claim| !self.state.vantage.is_gone(&claim.owner));
        Ok(claims)
    }

    pub(super) fn release_host_ports(&mut self, pod_uid: &str, ports: &[HostPort]) -> Result<(), StateError> {
        for port in ports {
            let path = self.dir("host-ports").join(port.claim_name());
            if read_record::<HostPortClaim>(&path)?.is_some_and(|claim| claim.pod_uid == pod_uid && claim.port == *port) {
                remove(&path)?;
                self.changed_host_ports.push(*port);
            }
        }
        Ok(())
    }

    /// Claims that no pod record points to: their process died while it took or gave them.
    pub(super) fn reclaim_stray_host_ports(&mut self) -> Result<(), StateError> {
        let dir = self.dir("host-ports");
        for name in list(&dir)? {
            let path = dir.join(&name);
            let claim = read_record::<HostPortClaim>(&path)?;
            if claim.as_ref().is_none_or(|claim| self.state.vantage.is_gone(&claim.owner)) {
                remove(&path)?;
                self.changed_host_ports.extend(claim.map(|claim| claim.port));
            }
        }
        Ok(())
    }

    /// Which ports are new to the pod, and which of them name an address that the node lacks.
    fn check_host_ports(&mut self, pod_uid: &str, ports: &[HostPort]) -> Result<(Vec<HostPort>, Vec<HostPort>), ClaimHostPortsError> {
        let pod = || pod_uid.to_owned();
        let mut claims = self.host_port_claims()?;
        let held: Vec<HostPort> = claims.iter().filter(|claim| claim.pod_uid == pod_uid).map(|claim| claim.port).collect();
        let (mut wanted, mut addresses_missing): (Vec<HostPort>, Vec<HostPort>) = (Vec::new(), Vec::new());
        for port in ports.iter().map(|port| port.normalized()).filter(|port| !held.contains(port)) {
            if held.iter().chain(&wanted).any(|other| other.conflicts_with(&port)) {
                return Err(ClaimHostPortsError::AskedTwice { wanted: port, pod_uid: pod() });
            }
            while let Some(at) = claims.iter().position(|claim| claim.port.conflicts_with(&port)) {
                let holder = claims.swap_remove(at);
                if !self.state.vantage.is_gone(&holder.owner) {
                    let (held, holder) = (holder.port, holder.pod_uid);
                    return Err(ClaimHostPortsError::HeldByPod { wanted: port, pod_uid: pod(), held, holder });
                }
                self.release_host_ports(&holder.pod_uid, &[holder.port])?;
            }
            match NodeSocket::at(&port, self.state.families) {
                NodeSocket::Taken => {
                    return Err(ClaimHostPortsError::HeldByNode { wanted: port, pod_uid: pod() });
                }
                NodeSocket::NoSuchAddress => addresses_missing.push(port),
                NodeSocket::Free => {}
            }
            wanted.push(port);
        }
        if claims.len() + wanted.len() > HOST_PORTS_MAX {
            let (asked, held) = (ports.len(), claims.len());
            return Err(ClaimHostPortsError::TooMany { pod_uid: pod(), asked, held });
        }
        Ok((wanted, addresses_missing))
    }

    fn overwrite_unreadable_claim(&self, claim: &HostPortClaim) -> Result<(), StateError> {
        super::replace_record(&self.dir("host-ports").join(claim.port.claim_name()), claim)
    }
}
