//! Leases of addresses: who gets which.
//!
//! The search goes round and round, so that an address that was just given back is the last to be given out again: whoever
//! still talks to the old pod does not meet the new one. A pod has the same slot in the IPv6 range, so one lease serves both.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use super::{LockedState, PodRecord, ReclaimedPod, StateError, claim_record, list, read_record, remove, replace_record};
use crate::network::config::SETTING_IPV4_SUBNET;
use crate::network::owner::{Owner, OwnerRecord};
use crate::network::subnet::Ipv4Subnet;

/// How many addresses are tried in one round. A Linux bridge has 1,023 ports, so among this many addresses in a row most are
/// free or stale.
const SCAN_MAX: u32 = 4096;

/// A lease as it is written into the file named by its address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct AddressLease {
    pod_uid: String,
    owner: OwnerRecord,
}

/// What a pod got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::network) struct ClaimedAddress {
    /// The address.
    pub(in crate::network) ipv4: Ipv4Addr,
    /// The pod had it before: its interface may be there already.
    pub(in crate::network) held_before: bool,
    /// Pods whose leases were found stale on the way.
    pub(in crate::network) reclaimed: Vec<ReclaimedPod>,
}

/// Why a pod got no address.
#[derive(Debug, thiserror::Error)]
pub enum ClaimAddressError {
    /// All are taken.
    #[error(
        "no free address in {subnet}: {leased} of {capacity} are leased; delete pods, or set {} to a larger range",
        SETTING_IPV4_SUBNET
    )]
    Exhausted {
        /// The pods' range.
        subnet: Ipv4Subnet,
        /// How many addresses of it are taken.
        leased: usize,
        /// How many it has for pods.
        capacity: u32,
    },
    /// The pod is attached for a shim that is still running.
    #[error("pod {pod_uid} is already attached to the network for process {pid}, which is still running")]
    HeldByOther {
        /// The pod.
        pod_uid: String,
        /// The shim that holds its address.
        pid: u32,
    },
    /// The state folder failed.
    #[error(transparent)]
    State(#[from] StateError),
}

impl LockedState<'_> {
    /// Leases an address for a pod, or finds the one that this owner already has for it.
    pub(in crate::network) fn claim_address(&mut self, pod_uid: &str, owner: Owner) -> Result<ClaimedAddress, ClaimAddressError> {
        let mut reclaimed = Vec::new();
        if let Some(record) = self.pod(pod_uid)? {
            if record.owner == self.state.vantage.record(owner) {
                if let Some(claimed) = self.renew_address(pod_uid, &record)? {
                    return Ok(claimed);
                }
            } else if !self.state.vantage.is_gone(&record.owner) {
                return Err(ClaimAddressError::HeldByOther { pod_uid: pod_uid.to_owned(), pid: record.owner.owner.pid });
            }
            self.release(pod_uid)?;
            reclaimed.push(ReclaimedPod { pod_uid: pod_uid.to_owned(), host_link: record.host_link });
        }

        let mut free = self.take_free_address(pod_uid, owner)?;
        if free.is_none() {
            reclaimed.extend(self.reclaim()?);
            free = self.take_free_address(pod_uid, owner)?;
        }
        let Some(ipv4) = free else {
            let subnet = self.state.subnet;
            let leased = self.leased_addresses()?.into_iter().filter(|ip| subnet.slot(*ip).is_some()).count();
            return Err(ClaimAddressError::Exhausted { subnet, leased, capacity: subnet.pods_max() });
        };
        Ok(ClaimedAddress { ipv4, held_before: false, reclaimed })
    }

    /// The addresses that are leased, of the range and of one that the network had before.
    pub(in crate::network) fn leased_addresses(&self) -> Result<BTreeSet<Ipv4Addr>, StateError> {
        Ok(list(&self.dir("addresses"))?.iter().filter_map(|name| name.parse().ok()).collect())
    }

    /// The address of an earlier attach by the same owner, unless the range was changed in between.
    fn renew_address(&mut self, pod_uid: &str, record: &PodRecord) -> Result<Option<ClaimedAddress>, StateError> {
        if self.state.subnet.slot(record.ipv4).is_none() {
            return Ok(None);
        }
        let path = self.dir("addresses").join(record.ipv4.to_string());
        let lease = AddressLease { pod_uid: pod_uid.to_owned(), owner: record.owner.clone() };
        // The attach may have died between the index and the lease.
        let ours = claim_record(&path, &lease)? || read_record(&path)?.is_some_and(|found: AddressLease| found == lease);
        let claimed = ClaimedAddress { ipv4: record.ipv4, held_before: true, reclaimed: Vec::new() };
        Ok(ours.then_some(claimed))
    }

    fn take_free_address(&mut self, pod_uid: &str, owner: Owner) -> Result<Option<Ipv4Addr>, StateError> {
        let subnet = self.state.subnet;
        let owner = self.state.vantage.record(owner);
        let last = self.dir("last-address");
        let start = read_record(&last)?.and_then(|ip| subnet.slot(ip)).map_or(0, |slot| slot + 1);
        for step in 0..subnet.pods_max().min(SCAN_MAX) {
            let slot = (start + step) % subnet.pods_max();
            let Some(ipv4) = subnet.pod_address(slot) else {
                continue;
            };
            let path = self.dir("addresses").join(ipv4.to_string());
            if path.exists() {
                continue;
            }
            let record = PodRecord { owner: owner.clone(), ipv4, host_link: None, host_ports: Vec::new() };
            self.put_pod(pod_uid, &record)?;
            let lease = AddressLease { pod_uid: pod_uid.to_owned(), owner: owner.clone() };
            if claim_record(&path, &lease)? {
                replace_record(&last, &ipv4)?;
                return Ok(Some(ipv4));
            }
        }
        // Nothing was found, so the index, if a lost race left one, points nowhere.
        remove(&self.pod_path(pod_uid)?)?;
        Ok(None)
    }

    pub(super) fn release_address(&mut self, pod_uid: &str, ipv4: Ipv4Addr) -> Result<(), StateError> {
        let path = self.dir("addresses").join(ipv4.to_string());
        match read_record::<AddressLease>(&path)? {
            Some(lease) if lease.pod_uid != pod_uid => Ok(()),
            Some(_) | None => remove(&path),
        }
    }

    /// Leases that no pod record points to: their process died while it took or gave them.
    pub(super) fn reclaim_stray_addresses(&mut self) -> Result<(), StateError> {
        let dir = self.dir("addresses");
        for name in list(&dir)? {
            let path = dir.join(&name);
            let stale = match read_record::<AddressLease>(&path)? {
                Some(lease) => self.state.vantage.is_gone(&lease.owner),
                None => true,
            };
            if stale {
                remove(&path)?;
            }
        }
        Ok(())
    }
}
