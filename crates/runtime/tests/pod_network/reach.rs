//! Who reaches whom, and as whom.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rtnetlink::RouteMessageBuilder;
use runtime::network::{NetworkConfig, Notice, PodNetwork};

use crate::support::{NODE_OUTSIDE, Node, OUTSIDE, Server, ask, link_index};

#[test]
fn pods_reach_each_other_and_the_node_under_their_own_addresses() {
    let Some(node) = Node::new("pods_reach_each_other_and_the_node_under_their_own_addresses") else {
        return;
    };
    let network = PodNetwork::new(node.config()).expect("valid");
    let (a, b) = (node.pod(&network, "a"), node.pod(&network, "b"));
    assert_ne!(a.ip(), b.ip());

    let server = b.netns.inside(|| Server::start((Ipv4Addr::UNSPECIFIED, 8000)));
    assert_eq!(a.netns.inside(|| ask((b.ip(), 8000))).expect("reached"), a.ip());
    assert_eq!(b.netns.inside(|| ask((b.ip(), 8000))).expect("reached"), b.ip());
    assert_eq!(b.netns.inside(|| ask((Ipv4Addr::LOCALHOST, 8000))).expect("reached"), Ipv4Addr::LOCALHOST);
    let gateway = network.config().ipv4_subnet.gateway();
    assert_eq!(ask((b.ip(), 8000)).expect("reached"), gateway);
    b.netns.inside(|| server.stop());

    let server = Server::start((gateway, 8001));
    assert_eq!(a.netns.inside(|| ask((gateway, 8001))).expect("reached"), a.ip());
    server.stop();
}

#[test]
fn pods_reach_the_outside_as_the_node() {
    let Some(node) = Node::new("pods_reach_the_outside_as_the_node") else {
        return;
    };
    let outside = node.outside(1500);
    let network = PodNetwork::new(node.config()).expect("valid");
    let pod = node.pod(&network, "pod");
    let server = outside.inside(|| Server::start((OUTSIDE, 8000)));
    assert_eq!(pod.netns.inside(|| ask((OUTSIDE, 8000))).expect("reached"), NODE_OUTSIDE);
    outside.inside(|| server.stop());
}

#[test]
fn the_first_pod_turns_forwarding_on_and_only_it_says_so() {
    let Some(node) = Node::new("the_first_pod_turns_forwarding_on_and_only_it_says_so") else {
        return;
    };
    let network = PodNetwork::new(node.config()).expect("valid");
    let said: Vec<String> = node.pod(&network, "a").attachment.notices.iter().map(Notice::to_string).collect();
    let expected = "changed kernel setting net.ipv4.ip_forward from 0 to 1: pods reach other networks through this machine";
    assert_eq!(said, [expected]);
    assert_eq!(node.pod(&network, "b").attachment.notices, []);
}

#[test]
fn pods_have_ipv6_addresses_where_the_network_has() {
    let Some(node) = Node::new("pods_have_ipv6_addresses_where_the_network_has") else {
        return;
    };
    let config = NetworkConfig { ipv6_subnet: Some("fd12:3456::/64".parse().expect("a subnet")), ..node.config() };
    let network = PodNetwork::new(config).expect("valid");
    let (a, b) = (node.pod(&network, "a"), node.pod(&network, "b"));
    let [a6, b6] = [&a, &b].map(|pod| pod.attachment.pod_ips.ipv6.expect("has one"));
    assert_eq!(a6, "fd12:3456::2".parse::<Ipv6Addr>().expect("an address"));
    let order: Vec<IpAddr> = a.attachment.pod_ips.iter().collect();
    assert_eq!(order, [IpAddr::V4(a.ip()), IpAddr::V6(a6)]);

    let server = b.netns.inside(|| Server::start((Ipv6Addr::UNSPECIFIED, 8000)));
    assert_eq!(a.netns.inside(|| ask((b6, 8000))).expect("reached"), a6);
    assert_eq!(a.netns.inside(|| ask((b.ip(), 8000))).expect("reached"), a.ip());
    let gateway = "fd12:3456::1".parse::<Ipv6Addr>().expect("an address");
    assert_eq!(ask((b6, 8000)).expect("reached"), gateway);
    b.netns.inside(|| server.stop());
    let forwarding = std::fs::read_to_string("/proc/sys/net/ipv6/conf/all/forwarding").expect("readable");
    assert_eq!(forwarding.trim(), "1");
}

#[test]
fn no_pod_is_taken_for_a_router_by_the_node_or_another_pod() {
    let Some(node) = Node::new("no_pod_is_taken_for_a_router_by_the_node_or_another_pod") else { return };
    let accepts = |interface: &str| std::fs::read_to_string(format!("/proc/sys/net/ipv6/conf/{interface}/accept_ra"));
    if accepts("lo").is_err() {
        return;
    }
    // With and without IPv6 for pods: a router that is believed could give them some.
    let six = NetworkConfig { ipv6_subnet: Some("fd12:3456::/64".parse().expect("a subnet")), ..node.config() };
    for (uid, config) in [("four", node.config()), ("six", six)] {
        let network = PodNetwork::new(config).expect("valid");
        let pod = node.pod(&network, uid);
        assert_eq!(pod.netns.inside(|| accepts("eth0")).expect("readable").trim(), "0", "{uid}");
        assert_eq!(accepts("usher0").expect("readable").trim(), "0", "{uid}");
    }
}

#[test]
fn pods_get_the_packet_size_of_the_way_out_unless_told_another() {
    let Some(node) = Node::new("pods_get_the_packet_size_of_the_way_out_unless_told_another") else {
        return;
    };
    let _outside = node.outside(1380);
    let routes = node.routes();
    node.run(async {
        let link = link_index(&routes, "wan0").await.expect("it is there");
        let default = RouteMessageBuilder::<Ipv4Addr>::new().gateway(OUTSIDE).output_interface(link).build();
        routes.route().add(default).execute().await.expect("a route");
    });
    let detected = PodNetwork::new(node.config()).expect("valid");
    assert_eq!(node.run(mtu_of(&node.pod(&detected, "a"))), 1380);
    let told = PodNetwork::new(NetworkConfig { mtu: Some(1300), ..node.config() }).expect("valid");
    assert_eq!(node.run(mtu_of(&node.pod(&told, "b"))), 1300);
}

async fn mtu_of(pod: &crate::support::Pod) -> u32 {
    use futures_util::TryStreamExt as _;
    use rtnetlink::packet_route::link::LinkAttribute;
    let routes = pod.netns.routes();
    let link = routes.link().get().match_name("eth0".to_owned()).execute().try_next().await;
    let attributes = link.expect("readable").expect("it is there").attributes;
    let mtu = attributes.iter().find_map(|attribute| if let LinkAttribute::Mtu(mtu) = attribute { Some(*mtu) } else { None });
    mtu.expect("every interface has one")
}
