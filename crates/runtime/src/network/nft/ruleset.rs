//! The rules of one bridge, and how they get into the kernel.
//!
//! They are one table of their own, made from the configuration and the claims on host ports, and always replaced whole in one
//! batch: packets see the old table or the new one. So there is nothing to compare, nothing to repair, and no rule of an
//! earlier version can stay. In the words of `nft`:
//!
//! ```text
//! table inet usher-usher0 {
//!     map host-ports-4     { type inet_proto . ipv4_addr . inet_service : ipv4_addr . inet_service; }
//!     map host-ports-any-4 { type inet_proto . inet_service : ipv4_addr . inet_service; }
//!     chain guard       { type filter hook prerouting priority raw;
//!         iifname "usher0" ip daddr 127.0.0.0/8 drop }
//!     chain prerouting  { type nat hook prerouting priority dstnat;
//!         fib daddr type local jump host-ports }
//!     chain output      { type nat hook output priority -100;
//!         fib daddr type local jump host-ports }
//!     chain host-ports  {
//!         ip6 daddr ::1 return
//!         meta nfproto ipv4 dnat ip to meta l4proto . ip daddr . th dport map @host-ports-4
//!         meta nfproto ipv4 dnat ip to meta l4proto . th dport map @host-ports-any-4 }
//!     chain postrouting { type nat hook postrouting priority srcnat;
//!         ip saddr 10.189.0.0/16 ip daddr != 10.189.0.0/16 masquerade
//!         oifname "usher0" ct status dnat ip saddr 10.189.0.0/16 masquerade
//!         oifname "usher0" ip saddr 127.0.0.0/8 masquerade }
//! }
//! ```
//!
//! * The first masquerade is for what leaves the pods' range. The second is for a pod that goes through a host port to a pod
//!   (itself too): the answer would otherwise go from pod to pod directly, and come from an address nobody called. The third
//!   is for the node's own `127.0.0.1:hostPort`.
//! * The guard stands for `route_localnet`, which the third needs and which alone would let pods reach what listens on the
//!   node's loopback. Answers pass it, because on the wire they go to the bridge's address.
//! * `[::1]:hostPort` cannot be served (there is no `route_localnet` for IPv6) and is left to the node, which refuses at once.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::expression::{Base, Compare, DATA_VALUE, Expressions, Meta, Register, Verdict};
use super::socket::{Batch, Nft, NftError, ReadRequest, SUBSYSTEM};
use super::wire::{Buffer, NLM_F_APPEND, NLM_F_CREATE, find};
use crate::network::host_port::HostPort;
use crate::network::subnet::{Ipv4Subnet, Ipv6Subnet};

/// To be raised when the rules change, so that a newer process replaces an older one's table. Part of the table's mark.
const RULES_VERSION: u8 = 1;
/// Keeps one message below half a page of the kernel's answers, in which a refused message comes back whole.
const ELEMENTS_PER_MESSAGE: usize = 100;

const NFPROTO_INET: u8 = 1;
const NFPROTO_IPV4: u8 = 2;
const NFPROTO_IPV6: u8 = 10;

const NFT_MSG_NEWTABLE: u8 = 0;
const NFT_MSG_GETTABLE: u8 = 1;
const NFT_MSG_DELTABLE: u8 = 2;
const NFT_MSG_NEWCHAIN: u8 = 3;
const NFT_MSG_NEWRULE: u8 = 6;
const NFT_MSG_NEWSET: u8 = 9;
const NFT_MSG_NEWSETELEM: u8 = 12;
const NFT_MSG_DELSETELEM: u8 = 14;

const NFTA_TABLE_NAME: u16 = 1;
const NFTA_TABLE_USERDATA: u16 = 6;

/// `IPS_DST_NAT`, in the machine's order as the register holds it.
const STATUS_DNAT: [u8; 4] = (1_u32 << 5).to_ne_bytes();
/// `RTN_LOCAL`, likewise.
const KIND_LOCAL: [u8; 4] = 2_u32.to_ne_bytes();

/// A host port and the pod it leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::network) struct HostPortTarget {
    pub(in crate::network) port: HostPort,
    pub(in crate::network) ipv4: Ipv4Addr,
    pub(in crate::network) ipv6: Option<Ipv6Addr>,
}

/// Everything that the rules of a bridge depend on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::network) struct Ruleset {
    pub(in crate::network) bridge: String,
    pub(in crate::network) ipv4: Ipv4Subnet,
    pub(in crate::network) ipv6: Option<Ipv6Subnet>,
    pub(in crate::network) host_ports: Vec<HostPortTarget>,
}

/// How the rules speak of one address family.
#[derive(Debug, Clone)]
struct Family {
    number: u8,
    address_len: u32,
    source_offset: u32,
    destination_offset: u32,
    network: Vec<u8>,
    netmask: Vec<u8>,
    /// Host ports on one address, and on all addresses.
    maps: [Map; 2],
}

/// A map from host ports to pods.
#[derive(Debug, Clone, Copy)]
struct Map {
    name: &'static str,
    /// Names the map within a batch.
    id: u32,
    /// Whether the key holds the node's address.
    by_address: bool,
}

impl Ruleset {
    /// Makes the kernel's table this one: its host ports only, if the rest is in place, and all of it otherwise. Taking the old
    /// rules out of the way of packets is what costs most, four times as much as all else.
    pub(in crate::network) fn apply(&self, nft: &Nft) -> Result<(), NftError> {
        if self.is_in_place(nft)? { nft.with(|socket| socket.commit(self.host_ports_batch())) } else { self.replace(nft) }
    }

    /// Puts the table into the kernel, in place of the one that is there.
    fn replace(&self, nft: &Nft) -> Result<(), NftError> {
        nft.with(|socket| socket.commit(self.batch()))
    }

    /// Whether the kernel has a table of this version and configuration. Says nothing of host ports.
    pub(in crate::network) fn is_in_place(&self, nft: &Nft) -> Result<bool, NftError> {
        let table = table_name(&self.bridge);
        let request = ReadRequest { subsystem: SUBSYSTEM, kind: NFT_MSG_GETTABLE, family: NFPROTO_INET, all: false };
        let mark = self.mark();
        let name = |message: &mut Buffer| message.text(NFTA_TABLE_NAME, &table);
        let is_mark = |_, attributes: &[u8]| Some(find(attributes, NFTA_TABLE_USERDATA)? == mark);
        let marks = nft.with(|socket| socket.read("look for its table", request, name, is_mark))?;
        Ok(marks == [true])
    }

    fn batch(&self) -> Batch {
        let table = table_name(&self.bridge);
        let mut batch = Batch::new();
        // A table can only be deleted if it is there, so it is made first.
        add_table(&mut batch, &table, &[]);
        delete_table(&mut batch, &table);
        add_table(&mut batch, &table, &self.mark());

        let families = self.families();
        for (family, map) in families.iter().flat_map(|family| family.maps.iter().map(move |map| (family, map))) {
            add_map(&mut batch, &table, family, map);
            self.add_elements(&mut batch, &table, family, map);
        }
        add_chain(&mut batch, &table, "host-ports", None);
        add_chain(&mut batch, &table, "guard", Some(("filter", Hook::Prerouting, -300)));
        add_chain(&mut batch, &table, "prerouting", Some(("nat", Hook::Prerouting, -100)));
        add_chain(&mut batch, &table, "output", Some(("nat", Hook::Output, -100)));
        add_chain(&mut batch, &table, "postrouting", Some(("nat", Hook::Postrouting, 100)));

        let mut rules = Rules { batch: &mut batch, table: &table, bridge: &self.bridge };
        rules.guard_loopback();
        rules.redirect_host_ports(&families);
        rules.masquerade(&families);
        batch
    }

    fn host_ports_batch(&self) -> Batch {
        let table = table_name(&self.bridge);
        let mut batch = Batch::new();
        let families = self.families();
        for (family, map) in families.iter().flat_map(|family| family.maps.iter().map(move |map| (family, map))) {
            batch.push(format!("empty map {}", map.name), NFT_MSG_DELSETELEM, NFPROTO_INET, 0, |message| {
                message.text(1, &table);
                message.text(2, map.name);
            });
            self.add_elements(&mut batch, &table, family, map);
        }
        batch
    }

    fn families(&self) -> Vec<Family> {
        let mut families = vec![Family {
            number: NFPROTO_IPV4,
            address_len: 4,
            source_offset: 12,
            destination_offset: 16,
            network: self.ipv4.network().octets().to_vec(),
            netmask: self.ipv4.netmask().octets().to_vec(),
            maps: [Map { name: "host-ports-4", id: 1, by_address: true }, Map { name: "host-ports-any-4", id: 2, by_address: false }],
        }];
        families.extend(self.ipv6.map(|ipv6| Family {
            number: NFPROTO_IPV6,
            address_len: 16,
            source_offset: 8,
            destination_offset: 24,
            network: ipv6.network().octets().to_vec(),
            netmask: ipv6.netmask().octets().to_vec(),
            maps: [Map { name: "host-ports-6", id: 3, by_address: true }, Map { name: "host-ports-any-6", id: 4, by_address: false }],
        }));
        families
    }

    fn add_elements(&self, batch: &mut Batch, table: &str, family: &Family, map: &Map) {
        let elements: Vec<_> = self.host_ports.iter().filter_map(|target| element(target, family, map)).collect();
        for part in elements.chunks(ELEMENTS_PER_MESSAGE) {
            let step = format!("add host ports to map {}", map.name);
            batch.push(step, NFT_MSG_NEWSETELEM, NFPROTO_INET, NLM_F_CREATE, |message| {
                message.text(1, table);
                message.text(2, map.name);
                message.nest(3, |list| part.iter().for_each(|element| put_element(list, element)));
            });
        }
    }

    /// Tells tables of another version or configuration from this one: FNV-1a over what the rules are made from.
    fn mark(&self) -> [u8; 8] {
        let text = format!("{RULES_VERSION} {} {} {:?}", self.bridge, self.ipv4, self.ipv6);
        let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        hash.to_be_bytes()
    }
}

/// The table of a bridge, so that users recognise it in a listing.
pub(super) fn table_name(bridge: &str) -> String {
    format!("usher-{bridge}")
}

/// Where in a packet's way a chain sits, with the kernel's number for it.
#[derive(Debug, Clone, Copy)]
#[repr(u32)]
enum Hook {
    Prerouting = 0,
    Output = 3,
    Postrouting = 4,
}

fn add_table(batch: &mut Batch, table: &str, mark: &[u8]) {
    batch.push(format!("add table {table}"), NFT_MSG_NEWTABLE, NFPROTO_INET, NLM_F_CREATE, |message| {
        message.text(NFTA_TABLE_NAME, table);
        if !mark.is_empty() {
            message.bytes(NFTA_TABLE_USERDATA, mark);
        }
    });
}

fn delete_table(batch: &mut Batch, table: &str) {
    batch.push(format!("delete table {table}"), NFT_MSG_DELTABLE, NFPROTO_INET, 0, |message| {
        message.text(NFTA_TABLE_NAME, table);
    });
}

fn add_chain(batch: &mut Batch, table: &str, chain: &str, base: Option<(&str, Hook, i32)>) {
    batch.push(format!("add chain {chain}"), NFT_MSG_NEWCHAIN, NFPROTO_INET, NLM_F_CREATE, |message| {
        message.text(1, table);
        message.text(3, chain);
        if let Some((kind, hook, priority)) = base {
            message.nest(4, |nested| {
                nested.u32(1, hook as u32);
                nested.bytes(2, &priority.to_be_bytes());
            });
            message.text(7, kind);
        }
    });
}

fn add_map(batch: &mut Batch, table: &str, family: &Family, map: &Map) {
    /// `NFT_SET_MAP`.
    const IS_MAP: u32 = 8;
    // How `nft` numbers the types, 6 bits each; the kernel only keeps it for listings.
    const INET_PROTO: u32 = 12;
    const INET_SERVICE: u32 = 13;
    let address_type = if family.number == NFPROTO_IPV4 { 7 } else { 8 };
    let fields: &[u32] = if map.by_address { &[INET_PROTO, address_type, INET_SERVICE] } else { &[INET_PROTO, INET_SERVICE] };
    let key_type = fields.iter().fold(0, |sum, field| sum << 6 | field);
    let key_len = 4 + 4 + if map.by_address { family.address_len } else { 0 };
    batch.push(format!("add map {}", map.name), NFT_MSG_NEWSET, NFPROTO_INET, NLM_F_CREATE, |message| {
        message.text(1, table);
        message.text(2, map.name);
        message.u32(3, IS_MAP);
        message.u32(4, key_type);
        message.u32(5, key_len);
        message.u32(6, address_type << 6 | INET_SERVICE);
        message.u32(7, family.address_len + 4);
        message.u32(10, map.id);
    });
}

/// Key and value of a host port, if this map is the one for it. Each field is padded to whole registers.
fn element(target: &HostPortTarget, family: &Family, map: &Map) -> Option<(Vec<u8>, Vec<u8>)> {
    let pod = if family.number == NFPROTO_IPV4 { IpAddr::V4(target.ipv4) } else { IpAddr::V6(target.ipv6?) };
    let mut key = vec![target.port.protocol.number(), 0, 0, 0];
    match (map.by_address, target.port.host_ip) {
        (true, Some(host_ip)) if host_ip.is_ipv4() == pod.is_ipv4() => key.extend(octets(host_ip)),
        (false, None) => {}
        (true, Some(_) | None) | (false, Some(_)) => return None,
    }
    key.extend(target.port.host_port.to_be_bytes());
    key.extend([0; 2]);
    let mut value = octets(pod);
    value.extend(target.port.container_port.to_be_bytes());
    value.extend([0; 2]);
    Some((key, value))
}

fn put_element(list: &mut Buffer, (key, value): &(Vec<u8>, Vec<u8>)) {
    list.nest(1, |element| {
        element.nest(1, |nested| nested.bytes(DATA_VALUE, key));
        element.nest(2, |nested| nested.bytes(DATA_VALUE, value));
    });
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

/// The rules of a table, in the order in which they are written.
struct Rules<'a> {
    batch: &'a mut Batch,
    table: &'a str,
    bridge: &'a str,
}

impl Rules<'_> {
    fn guard_loopback(&mut self) {
        let bridge = self.bridge;
        self.rule("guard", "drop packets to the node's loopback", |rule| {
            rule.interface(Meta::InputInterface, bridge);
            is_family(rule, NFPROTO_IPV4).payload(Base::Network, 16, 1, Register(0));
            rule.compare(Register(0), Compare::Equal, &[127]).verdict(Verdict::Drop);
        });
    }

    fn redirect_host_ports(&mut self, families: &[Family]) {
        for chain in ["prerouting", "output"] {
            self.rule(chain, "find packets to the node by fib", |rule| {
                rule.destination_kind(Register(0)).compare(Register(0), Compare::Equal, &KIND_LOCAL);
                rule.verdict(Verdict::Jump("host-ports"));
            });
        }
        for family in families {
            if family.number == NFPROTO_IPV6 {
                self.rule("host-ports", "leave ::1 to the node", |rule| {
                    is_family(rule, family.number).payload(Base::Network, family.destination_offset, 16, Register(0));
                    rule.compare(Register(0), Compare::Equal, &Ipv6Addr::LOCALHOST.octets()).verdict(Verdict::Return);
                });
            }
            for map in &family.maps {
                self.rule("host-ports", "redirect host ports by nat", |rule| {
                    let address_len = if map.by_address { family.address_len } else { 0 };
                    is_family(rule, family.number).meta(Meta::Protocol, Register(0));
                    if map.by_address {
                        rule.payload(Base::Network, family.destination_offset, address_len, Register(1));
                    }
                    rule.payload(Base::Transport, 2, 2, Register(1 + address_len / 4));
                    rule.lookup(map.name, map.id, Register(0), Register(0));
                    rule.destination_nat(family.number, Register(0), Register(family.address_len / 4));
                });
            }
        }
    }

    fn masquerade(&mut self, families: &[Family]) {
        let bridge = self.bridge;
        for family in families {
            self.rule("postrouting", "masquerade what leaves the pods' range", |rule| {
                is_family(rule, family.number);
                in_subnet(rule, family, family.source_offset, Compare::Equal);
                in_subnet(rule, family, family.destination_offset, Compare::NotEqual).masquerade();
            });
            self.rule("postrouting", "masquerade pods that go through host ports, by ct status", |rule| {
                rule.interface(Meta::OutputInterface, bridge).connection_status(Register(0));
                rule.mask(Register(0), &STATUS_DNAT).compare(Register(0), Compare::NotEqual, &[0; 4]);
                is_family(rule, family.number);
                in_subnet(rule, family, family.source_offset, Compare::Equal).masquerade();
            });
        }
        self.rule("postrouting", "masquerade the node's loopback", |rule| {
            rule.interface(Meta::OutputInterface, bridge);
            is_family(rule, NFPROTO_IPV4).payload(Base::Network, 12, 1, Register(0));
            rule.compare(Register(0), Compare::Equal, &[127]).masquerade();
        });
    }

    fn rule(&mut self, chain: &str, step: &str, fill: impl FnOnce(&mut Expressions<'_>)) {
        let table = self.table;
        self.batch.push(step, NFT_MSG_NEWRULE, NFPROTO_INET, NLM_F_CREATE | NLM_F_APPEND, |message| {
            message.text(1, table);
            message.text(2, chain);
            message.nest(4, |list| fill(&mut Expressions::new(list)));
        });
    }
}

fn is_family<'r, 'a>(rule: &'r mut Expressions<'a>, family: u8) -> &'r mut Expressions<'a> {
    rule.meta(Meta::Family, Register(0)).compare(Register(0), Compare::Equal, &[family])
}

fn in_subnet<'r, 'a>(rule: &'r mut Expressions<'a>, family: &Family, offset: u32, how: Compare) -> &'r mut Expressions<'a> {
    rule.payload(Base::Network, offset, family.address_len, Register(0)).mask(Register(0), &family.netmask).compare(
        Register(0),
        how,
        &family.network,
    )
}

#[cfg(test)]
mod tests;
