//! Interfaces, addresses and routes, by rtnetlink.
//!
//! Every operation here is one request (or a few that cannot be less), and says what it tried when it fails. What belongs
//! together, and in which order, is decided by the callers. A [`Links`] speaks to the network namespace in which it was
//! opened, whichever thread uses it later.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use futures_util::TryStreamExt as _;
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::address::{AddressAttribute, AddressFlags, AddressHeaderFlags};
use rtnetlink::packet_route::link::{InfoData, InfoKind, InfoVeth, LinkAttribute, LinkFlags, LinkInfo, LinkMessage};
use rtnetlink::packet_route::route::{RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteType};
use rtnetlink::{Handle, LinkBridge, LinkBridgePort, LinkMessageBuilder, LinkUnspec, LinkVeth, RouteMessageBuilder};
use rustix::fd::{AsRawFd as _, BorrowedFd};
use rustix::io::Errno;
use tokio::sync::Mutex;
use tokio::task::JoinHandle;

/// `RT_TABLE_LOCAL`: the machine's own addresses, which are in the other tables as networks.
const ROUTE_TABLE_LOCAL: u32 = 255;

/// A MAC address.
pub(super) type Mac = [u8; 6];

/// Why an interface, address or route is not as it has to be.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action}")]
pub struct LinkError {
    /// What was tried, with which object.
    pub action: String,
    /// What the system said.
    pub source: io::Error,
}

impl LinkError {
    fn new(action: String, error: rtnetlink::Error) -> Self {
        let source = if let rtnetlink::Error::NetlinkError(message) = &error {
            let errno = message.code.map(|code| io::Error::from_raw_os_error(-code.get()));
            errno.unwrap_or_else(|| io::Error::other("no reason given"))
        } else {
            io::Error::other(error)
        };
        Self { action, source }
    }

    /// The system's error number, if that is what failed.
    pub(super) fn errno(&self) -> Option<Errno> {
        Errno::from_io_error(&self.source)
    }
}

/// What is known of an interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) index: u32,
    pub(super) name: String,
    pub(super) is_bridge: bool,
    pub(super) is_up: bool,
    /// In bytes.
    pub(super) mtu: u32,
    /// Index of the other end of a veth pair, in that end's namespace.
    pub(super) peer: Option<u32>,
    /// Index of the bridge that it is a port of.
    pub(super) bridge: Option<u32>,
}

/// A route of the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Route {
    pub(super) destination: (IpAddr, u8),
    pub(super) gateway: Option<IpAddr>,
    /// Absent for a route over several interfaces.
    pub(super) link: Option<u32>,
    pub(super) metric: u32,
    /// Only such a route leads somewhere; others refuse.
    pub(super) is_unicast: bool,
    pub(super) is_main_table: bool,
}

/// One pod's pair of interfaces.
#[derive(Debug)]
pub(super) struct VethPair<'a> {
    /// Name of the node's end.
    pub(super) node_end: &'a str,
    /// Index of the bridge that the node's end joins.
    pub(super) bridge: u32,
    /// Where the pod's end goes.
    pub(super) netns: BorrowedFd<'a>,
    /// Name of the pod's end.
    pub(super) pod_end: &'a str,
    pub(super) pod_mac: Mac,
    /// In bytes, of both ends.
    pub(super) mtu: u32,
}

/// A connection to the kernel's interfaces, addresses and routes of one network namespace.
#[derive(Debug)]
pub(super) struct Links {
    handle: Handle,
    connection: JoinHandle<()>,
    /// The kernel gives one list at a time on one socket, and calls it busy meanwhile.
    listing: Mutex<()>,
}

impl Drop for Links {
    fn drop(&mut self) {
        // An open socket would keep a pod's namespace alive.
        self.connection.abort();
    }
}

impl Links {
    /// Opens a connection in the namespace of the calling thread, to be driven by `runtime`.
    pub(super) fn open(runtime: &tokio::runtime::Handle) -> Result<Self, LinkError> {
        let _context = runtime.enter();
        let (connection, handle, _) =
            rtnetlink::new_connection().map_err(|source| LinkError { action: "open a route netlink socket".to_owned(), source })?;
        Ok(Self { handle, connection: runtime.spawn(connection), listing: Mutex::new(()) })
    }

    /// The interface of this name.
    pub(super) async fn by_name(&self, name: &str) -> Result<Option<Link>, LinkError> {
        let request = self.handle.link().get().match_name(name.to_owned()).execute();
        one_link(request.try_collect().await, || format!("look for interface {name}"))
    }

    /// The interface of this index.
    pub(super) async fn by_index(&self, index: u32) -> Result<Option<Link>, LinkError> {
        let request = self.handle.link().get().match_index(index).execute();
        one_link(request.try_collect().await, || format!("look for interface {index}"))
    }

    /// All interfaces.
    pub(super) async fn all(&self) -> Result<Vec<Link>, LinkError> {
        let _listing = self.listing.lock().await;
        let messages: Result<Vec<LinkMessage>, _> = self.handle.link().get().execute().try_collect().await;
        let messages = messages.map_err(|error| LinkError::new("list interfaces".to_owned(), error))?;
        Ok(messages.iter().map(link).collect())
    }

    /// Makes a bridge and starts it. `EEXIST` if the name is taken.
    pub(super) async fn add_bridge(&self, name: &str, mac: Mac, mtu: u32) -> Result<(), LinkError> {
        let bridge = LinkBridge::new(name).address(mac.to_vec()).mtu(mtu).up().build();
        let added = self.handle.link().add(bridge).execute().await;
        added.map_err(|error| LinkError::new(format!("make bridge {name}"), error))
    }

    /// Starts an interface.
    pub(super) async fn set_up(&self, name: &str) -> Result<(), LinkError> {
        let change = LinkUnspec::new_with_name(name).up().build();
        let changed = self.handle.link().change(change).execute().await;
        changed.map_err(|error| LinkError::new(format!("start interface {name}"), error))
    }

    /// Makes a veth pair whose pod end comes into being inside the pod's namespace, with its MAC address, and whose node end
    /// is started and joins the bridge. Moving a finished interface into a namespace would take ten times as long. The pod's
    /// end cannot be started in the same request: at that moment it has no other end.
    pub(super) async fn add_veth_pair(&self, pair: &VethPair<'_>) -> Result<(), LinkError> {
        let pod_end = LinkMessageBuilder::<LinkUnspec>::new()
            .name(pair.pod_end)
            .address(pair.pod_mac.to_vec())
            .mtu(pair.mtu)
            .setns_by_fd(pair.netns.as_raw_fd())
            .build();
        let node_end = LinkMessageBuilder::<LinkVeth>::new_with_info_kind(InfoKind::Veth)
            .set_info_data(InfoData::Veth(InfoVeth::Peer(pod_end)))
            .name(pair.node_end)
            .mtu(pair.mtu)
            .controller(pair.bridge)
            .up()
            .build();
        let added = self.handle.link().add(node_end).execute().await;
        added.map_err(|error| LinkError::new(format!("make veth pair {}", pair.node_end), error))
    }

    /// Lets the bridge send a packet back through the port it came from, and names the port's pod to users.
    pub(super) async fn set_bridge_port(&self, name: &str, alias: &str) -> Result<(), LinkError> {
        let port = LinkBridgePort::new(0).name(name).alias(alias).hairpin(true).build();
        let set = self.handle.link().set_port(port).execute().await;
        set.map_err(|error| LinkError::new(format!("set hairpin mode of {name}"), error))
    }

    /// Deletes an interface; `false` if there is none of this index.
    pub(super) async fn delete(&self, index: u32) -> Result<bool, LinkError> {
        let deleted = self.handle.link().del(index).execute().await;
        let error = match deleted {
            Ok(()) => return Ok(true),
            Err(error) => LinkError::new(format!("delete interface {index}"), error),
        };
        if matches!(error.errno(), Some(Errno::NODEV | Errno::NXIO)) { Ok(false) } else { Err(error) }
    }

    /// The addresses of an interface, link-local ones left out.
    pub(super) async fn addresses(&self, index: u32) -> Result<Vec<(IpAddr, u8)>, LinkError> {
        let _listing = self.listing.lock().await;
        let request = self.handle.address().get().set_link_index_filter(index).execute();
        let messages: Vec<_> =
            request.try_collect().await.map_err(|error| LinkError::new(format!("list the addresses of interface {index}"), error))?;
        let own = messages.iter().filter_map(|message| {
            let address = message
                .attributes
                .iter()
                .find_map(|attribute| if let AddressAttribute::Address(address) = attribute { Some(*address) } else { None })?;
            Some((address, message.header.prefix_len))
        });
        Ok(own.filter(|(address, _)| !is_link_local(*address)).collect())
    }

    /// Gives an interface an address; it may have it already. IPv6 is used at once, without looking for duplicates: the
    /// addresses are ours to give.
    pub(super) async fn add_address(&self, index: u32, address: IpAddr, prefix_len: u8) -> Result<(), LinkError> {
        let mut request = self.handle.address().add(index, address, prefix_len);
        if address.is_ipv6() {
            request.message_mut().header.flags |= AddressHeaderFlags::Nodad;
            request.message_mut().attributes.push(AddressAttribute::Flags(AddressFlags::Nodad));
        }
        let action = || format!("give interface {index} address {address}/{prefix_len}");
        existing_is_fine(request.execute().await, action)
    }

    /// Sends everything without a better route to a gateway; it may be so already.
    pub(super) async fn add_default_route(&self, index: u32, gateway: IpAddr) -> Result<(), LinkError> {
        let route = match gateway {
            IpAddr::V4(gateway) => RouteMessageBuilder::<Ipv4Addr>::new().gateway(gateway).output_interface(index).build(),
            IpAddr::V6(gateway) => RouteMessageBuilder::<Ipv6Addr>::new().gateway(gateway).output_interface(index).build(),
        };
        let added = self.handle.route().add(route).execute().await;
        existing_is_fine(added, || format!("route by default to {gateway}"))
    }

    /// All routes of a family but those to the machine itself.
    pub(super) async fn routes(&self, ipv6: bool) -> Result<Vec<Route>, LinkError> {
        let mut filter = RouteMessage::default();
        filter.header.address_family = if ipv6 { AddressFamily::Inet6 } else { AddressFamily::Inet };
        let _listing = self.listing.lock().await;
        let messages: Vec<RouteMessage> = self
            .handle
            .route()
            .get(filter)
            .execute()
            .try_collect()
            .await
            .map_err(|error| LinkError::new("list the routes of this machine".to_owned(), error))?;
        Ok(messages.iter().filter_map(|message| route(message, ipv6)).collect())
    }
}

fn one_link(found: Result<Vec<LinkMessage>, rtnetlink::Error>, action: impl FnOnce() -> String) -> Result<Option<Link>, LinkError> {
    let error = match found {
        Ok(messages) => return Ok(messages.first().map(link)),
        Err(error) => LinkError::new(action(), error),
    };
    if matches!(error.errno(), Some(Errno::NODEV | Errno::NXIO)) { Ok(None) } else { Err(error) }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the kernel has many attributes and adds more; these are the ones that matter")]
fn link(message: &LinkMessage) -> Link {
    let mut link = Link {
        index: message.header.index,
        name: String::new(),
        is_bridge: false,
        is_up: message.header.flags.contains(LinkFlags::Up),
        mtu: 0,
        peer: None,
        bridge: None,
    };
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name.clone_from(name),
            LinkAttribute::Mtu(mtu) => link.mtu = *mtu,
            LinkAttribute::Link(index) => link.peer = Some(*index),
            LinkAttribute::Controller(index) => link.bridge = Some(*index),
            LinkAttribute::LinkInfo(infos) => {
                link.is_bridge = infos.contains(&LinkInfo::Kind(InfoKind::Bridge));
            }
            _ => {}
        }
    }
    link
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the kernel has many attributes and adds more; these are the ones that matter")]
fn route(message: &RouteMessage, ipv6: bool) -> Option<Route> {
    let header: &RouteHeader = &message.header;
    let unspecified = if ipv6 { IpAddr::V6(Ipv6Addr::UNSPECIFIED) } else { IpAddr::V4(Ipv4Addr::UNSPECIFIED) };
    let mut table = u32::from(header.table);
    let mut route = Route {
        destination: (unspecified, header.destination_prefix_length),
        gateway: None,
        link: None,
        metric: 0,
        is_unicast: header.kind == RouteType::Unicast,
        is_main_table: false,
    };
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(address) => route.destination.0 = ip(address)?,
            RouteAttribute::Gateway(address) => route.gateway = ip(address),
            RouteAttribute::Oif(index) => route.link = Some(*index),
            RouteAttribute::Priority(metric) => route.metric = *metric,
            RouteAttribute::Table(number) => table = *number,
            _ => {}
        }
    }
    route.is_main_table = table == u32::from(RouteHeader::RT_TABLE_MAIN);
    (table != ROUTE_TABLE_LOCAL).then_some(route)
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the kernel has many attributes and adds more; these are the ones that matter")]
fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(address) => Some(IpAddr::V4(*address)),
        RouteAddress::Inet6(address) => Some(IpAddr::V6(*address)),
        _ => None,
    }
}

fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}

fn existing_is_fine(done: Result<(), rtnetlink::Error>, action: impl FnOnce() -> String) -> Result<(), LinkError> {
    let Err(error) = done else { return Ok(()) };
    let error = LinkError::new(action(), error);
    if error.errno() == Some(Errno::EXIST) { Ok(()) } else { Err(error) }
}
