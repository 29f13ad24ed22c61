//! Connections that the kernel remembers and that a new host port makes wrong.
//!
//! Where a packet goes is decided once for each connection. UDP has no end, so as long as a client goes on sending, its
//! packets follow the first decision: to a pod that is gone, or past a host port that came later. Such memories are erased
//! when host ports change. TCP mends itself: the old connection fails and the client makes a new one.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};

use super::socket::{Nft, NftError, ReadRequest};
use super::wire::{find, find_u16};

/// `NFNL_SUBSYS_CTNETLINK`.
const SUBSYSTEM: u8 = 1;
const CT_GET: u8 = 1;
const CT_DELETE: u8 = 2;
const FAMILY_IPV4: u8 = 2;
const FAMILY_IPV6: u8 = 10;
const PROTOCOL_UDP: u8 = 17;

const CTA_TUPLE_ORIG: u16 = 1;
const CTA_TUPLE_REPLY: u16 = 2;
const CTA_TUPLE_IP: u16 = 1;
const CTA_TUPLE_PROTO: u16 = 2;
const CTA_IP_V4_SRC: u16 = 1;
const CTA_IP_V4_DST: u16 = 2;
const CTA_IP_V6_SRC: u16 = 3;
const CTA_IP_V6_DST: u16 = 4;
const CTA_PROTO_NUM: u16 = 1;
const CTA_PROTO_DST_PORT: u16 = 3;

/// A UDP connection, as far as it matters here.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Connection {
    family: u8,
    /// What the client wrote to.
    destination: IpAddr,
    port: u16,
    /// Who answers.
    answerer: IpAddr,
    /// Names it to the kernel.
    tuple: Vec<u8>,
}

/// Forgets UDP connections to these host ports that lead to a pod, or to the node itself. Others with the same port, such as
/// the node's own questions to a name server outside, stay.
pub(in crate::network) fn forget_udp(nft: &Nft, ports: &[u16], is_pod: impl Fn(IpAddr) -> bool) -> Result<(), NftError> {
    if ports.is_empty() {
        return Ok(());
    }
    let list = ReadRequest { subsystem: SUBSYSTEM, kind: CT_GET, family: 0, all: true };
    let known = nft.with(|socket| socket.read("list connections", list, |_| {}, parse))?;
    for connection in known.iter().filter(|connection| ports.contains(&connection.port)) {
        let undecided = connection.answerer == connection.destination && is_of_node(connection.destination);
        if is_pod(connection.answerer) || undecided {
            let delete = ReadRequest { subsystem: SUBSYSTEM, kind: CT_DELETE, family: connection.family, all: false };
            let name = |message: &mut super::wire::Buffer| {
                message.nest(CTA_TUPLE_ORIG, |tuple| tuple.raw(&connection.tuple));
            };
            nft.with(|socket| socket.read("forget a connection", delete, name, |_, _| None::<()>))?;
        }
    }
    Ok(())
}

fn parse(family: u8, connection: &[u8]) -> Option<Connection> {
    let original = find(connection, CTA_TUPLE_ORIG)?;
    let protocol = find(original, CTA_TUPLE_PROTO)?;
    if find(protocol, CTA_PROTO_NUM)? != [PROTOCOL_UDP] {
        return None;
    }
    let port = find_u16(protocol, CTA_PROTO_DST_PORT)?;
    let destination = address(family, find(original, CTA_TUPLE_IP)?, CTA_IP_V4_DST, CTA_IP_V6_DST)?;
    let reply = find(find(connection, CTA_TUPLE_REPLY)?, CTA_TUPLE_IP)?;
    let answerer = address(family, reply, CTA_IP_V4_SRC, CTA_IP_V6_SRC)?;
    Some(Connection { family, destination, port, answerer, tuple: original.to_vec() })
}

fn address(family: u8, tuple: &[u8], ipv4: u16, ipv6: u16) -> Option<IpAddr> {
    match family {
        FAMILY_IPV4 => Some(IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(find(tuple, ipv4)?).ok()?))),
        FAMILY_IPV6 => Some(IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(find(tuple, ipv6)?).ok()?))),
        _ => None,
    }
}

/// Only a machine's own addresses can be bound.
fn is_of_node(address: IpAddr) -> bool {
    UdpSocket::bind((address, 0)).is_ok()
}
