//! Firewalls of others that drop what the pods send.
//!
//! A packet that one table accepts can still be dropped by another; so a machine whose `FORWARD` policy is to drop (a container
//! tool or a firewall has set it) keeps pods from the outside, whatever our own table says. Only looked at, never changed.

use std::fmt;

use super::socket::{Nft, NftError, ReadRequest, SUBSYSTEM};
use super::wire::{Buffer, find, find_text, find_u32};

const NFT_MSG_GETCHAIN: u8 = 4;
const NFT_MSG_GETRULE: u8 = 7;
const NFTA_RULE_TABLE: u16 = 1;
const NFTA_CHAIN_TABLE: u16 = 1;
const NFTA_CHAIN_NAME: u16 = 3;
const NFTA_CHAIN_HOOK: u16 = 4;
const NFTA_CHAIN_POLICY: u16 = 5;
const NFTA_HOOK_HOOKNUM: u16 = 1;
/// `NF_INET_FORWARD`.
const HOOK_FORWARD: u32 = 2;
/// `NF_DROP`.
const POLICY_DROP: u32 = 0;

/// The families of tables that see IP packets, by number and name.
const FAMILIES: [(u8, &str); 3] = [(1, "inet"), (2, "ip"), (10, "ip6")];

/// A chain that drops forwarded packets unless one of its rules says otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForwardDrop {
    /// Family of the table, as `nft` calls it: `inet`, `ip` or `ip6`.
    pub family: &'static str,
    /// The table.
    pub table: String,
    /// The chain.
    pub chain: String,
}

impl ForwardDrop {
    /// Whether `iptables` made it, and so should be used to change it.
    pub(in crate::network) fn is_iptables(&self) -> bool {
        self.family != "inet" && self.table == "filter" && self.chain == "FORWARD"
    }
}

/// All such chains of a network namespace, except where a rule of the same table speaks of the bridge: then somebody has decided
/// what becomes of it. Those of the older `iptables-legacy` cannot be seen this way.
pub(in crate::network) fn forward_drops(nft: &Nft, bridge: &str) -> Result<Vec<ForwardDrop>, NftError> {
    let request = ReadRequest { subsystem: SUBSYSTEM, kind: NFT_MSG_GETCHAIN, family: 0, all: true };
    let mut drops = nft.with(|socket| socket.read("list chains", request, |_| {}, parse))?;
    // Few machines have any, and fewer more than one for each family.
    for at in (0..drops.len()).rev() {
        if speaks_of(nft, &drops[at], bridge)? {
            drops.remove(at);
        }
    }
    Ok(drops)
}

fn speaks_of(nft: &Nft, drop: &ForwardDrop, bridge: &str) -> Result<bool, NftError> {
    let family = FAMILIES.iter().find(|(_, name)| *name == drop.family).map_or(0, |(number, _)| *number);
    let request = ReadRequest { subsystem: SUBSYSTEM, kind: NFT_MSG_GETRULE, family, all: true };
    let table = |message: &mut Buffer| message.text(NFTA_RULE_TABLE, &drop.table);
    // However a rule compares the interface's name, the name is in it.
    let is_in = |_, rule: &[u8]| Some(rule.windows(bridge.len()).any(|bytes| bytes == bridge.as_bytes()));
    let found = nft.with(|socket| socket.read("list rules", request, table, is_in))?;
    Ok(found.contains(&true))
}

fn parse(family: u8, chain: &[u8]) -> Option<ForwardDrop> {
    let (_, family) = FAMILIES.iter().find(|(number, _)| *number == family)?;
    let hook = find_u32(find(chain, NFTA_CHAIN_HOOK)?, NFTA_HOOK_HOOKNUM)?;
    let policy = find_u32(chain, NFTA_CHAIN_POLICY)?;
    if hook != HOOK_FORWARD || policy != POLICY_DROP {
        return None;
    }
    Some(ForwardDrop { family, table: find_text(chain, NFTA_CHAIN_TABLE)?, chain: find_text(chain, NFTA_CHAIN_NAME)? })
}

impl fmt::Display for ForwardDrop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "chain {} of table {} {}", self.chain, self.family, self.table)
    }
}

#[cfg(test)]
mod tests;
