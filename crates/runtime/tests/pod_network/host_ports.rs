//! Host ports: from where they lead to the pod, and who may have them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use futures_util::TryStreamExt as _;
use rtnetlink::RouteMessageBuilder;
use runtime::network::{HostPort, NetworkConfig, Notice, PodNetwork, Protocol};

use crate::support::{NODE_OUTSIDE, Node, OUTSIDE, Server, ask, link_index, udp};

const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 189, 0, 1);

fn tcp(host_port: u16, container_port: u16) -> HostPort {
    HostPort { host_ip: None, host_port, protocol: Protocol::Tcp, container_port }
}

#[test]
fn a_host_port_leads_to_the_pod_from_everywhere() {
    let Some(node) = Node::new("a_host_port_leads_to_the_pod_from_everywhere") else {
        return;
    };
    let outside = node.outside(1500);
    let network = PodNetwork::new(node.config()).expect("valid");
    let (pod, other) = (node.pod(&network, "pod"), node.pod(&network, "other"));
    let server = pod.netns.inside(|| Server::start((Ipv4Addr::UNSPECIFIED, 8000)));
    let changed = node.run(network.add_host_ports("pod", &[tcp(80, 8000)])).expect("it is free");
    let said: Vec<String> = changed.iter().map(Notice::to_string).collect();
    let expected = "changed kernel setting net.ipv4.conf.usher0.route_localnet from 0 to 1: host ports answer on 127.0.0.1";
    assert_eq!(said, [expected]);

    assert_eq!(ask((Ipv4Addr::LOCALHOST, 80)).expect("reached by the node's loopback"), GATEWAY);
    assert_eq!(ask((Ipv4Addr::new(127, 5, 5, 5), 80)).expect("reached by another loopback address"), GATEWAY);
    assert_eq!(ask((GATEWAY, 80)).expect("reached by the bridge"), GATEWAY);
    assert_eq!(ask((NODE_OUTSIDE, 80)).expect("reached by the node's address"), NODE_OUTSIDE);
    for address in [GATEWAY, NODE_OUTSIDE] {
        assert_eq!(other.netns.inside(|| ask((address, 80))).expect("reached from another pod"), GATEWAY);
        assert_eq!(pod.netns.inside(|| ask((address, 80))).expect("reached from the pod itself"), GATEWAY);
    }
    assert_eq!(outside.inside(|| ask((NODE_OUTSIDE, 80))).expect("reached from outside"), OUTSIDE);
    pod.netns.inside(|| server.stop());
}

#[test]
fn a_host_port_on_one_address_leads_to_the_pod_from_there_only() {
    let Some(node) = Node::new("a_host_port_on_one_address_leads_to_the_pod_from_there_only") else {
        return;
    };
    let _outside = node.outside(1500);
    let network = PodNetwork::new(node.config()).expect("valid");
    let pods = [node.pod(&network, "local"), node.pod(&network, "public")];
    let servers =
        [8001, 8002].map(|port| pods.each_ref()[usize::from(port - 8001)].netns.inside(|| Server::start((Ipv4Addr::UNSPECIFIED, port))));
    let at = |ip: Ipv4Addr, port| HostPort { host_ip: Some(ip.into()), ..tcp(80, port) };
    node.run(network.add_host_ports("local", &[at(Ipv4Addr::LOCALHOST, 8001)])).expect("it is free");
    node.run(network.add_host_ports("public", &[at(NODE_OUTSIDE, 8002)])).expect("it is free");

    assert_eq!(ask((Ipv4Addr::LOCALHOST, 80)).expect("reached"), GATEWAY);
    assert_eq!(ask((NODE_OUTSIDE, 80)).expect("reached"), NODE_OUTSIDE);
    let refused = ask((GATEWAY, 80)).expect_err("nobody is there");
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    for (pod, server) in pods.iter().zip(servers) {
        pod.netns.inside(|| server.stop());
    }
}

#[test]
fn a_udp_host_port_answers_from_where_it_was_asked() {
    let Some(node) = Node::new("a_udp_host_port_answers_from_where_it_was_asked") else {
        return;
    };
    let network = PodNetwork::new(node.config()).expect("valid");
    let pod = node.pod(&network, "pod");
    let server = pod.netns.inside(|| udp((Ipv4Addr::UNSPECIFIED, 5353)));
    let port = HostPort { protocol: Protocol::Udp, ..tcp(53, 5353) };
    node.run(network.add_host_ports("pod", &[port])).expect("it is free");

    let client = udp((Ipv4Addr::UNSPECIFIED, 0));
    for asked in [Ipv4Addr::LOCALHOST, GATEWAY] {
        client.send_to(b"who", (asked, 53)).expect("sent");
        let mut buffer = [0; 8];
        let (_, peer) = server.recv_from(&mut buffer).expect("arrived");
        server.send_to(b"me", peer).expect("sent");
        let (len, from) = client.recv_from(&mut buffer).expect("arrived");
        assert_eq!((&buffer[..len], from), (&b"me"[..], SocketAddr::from((asked, 53))));
    }
}

#[test]
fn a_udp_client_finds_each_new_pod_without_falling_silent() {
    let Some(node) = Node::new("a_udp_client_finds_each_new_pod_without_falling_silent") else { return };
    let outside = node.outside(1500);
    let network = PodNetwork::new(node.config()).expect("valid");
    let port = HostPort { protocol: Protocol::Udp, ..tcp(53, 5353) };
    let first = node.pod(&network, "first");
    let client = outside.inside(|| udp((OUTSIDE, 4000)));
    let mut buffer = [0; 8];
    // The packet from before there is a pod is answered by the node: nobody is there. That the answer came tells that the node
    // has decided about the connection.
    client.connect((NODE_OUTSIDE, 53)).expect("no packet is sent");
    client.send(b"zero").expect("sent");
    assert_eq!(client.recv(&mut buffer).expect_err("refused").kind(), std::io::ErrorKind::ConnectionRefused);

    let server = first.netns.inside(|| udp((Ipv4Addr::UNSPECIFIED, 5353)));
    node.run(network.add_host_ports("first", &[port])).expect("it is free");
    client.send(b"one").expect("sent");
    assert_eq!(server.recv(&mut buffer).expect("the first pod gets it"), 3);
    node.run(network.detach("first")).expect("detached");

    let second = node.pod(&network, "second");
    let server = second.netns.inside(|| udp((Ipv4Addr::UNSPECIFIED, 5353)));
    node.run(network.add_host_ports("second", &[port])).expect("it is free");
    client.send(b"two").expect("sent");
    assert_eq!(server.recv(&mut buffer).expect("the second pod gets it"), 3);
}

#[test]
fn a_host_port_that_is_taken_away_leads_nowhere() {
    let Some(node) = Node::new("a_host_port_that_is_taken_away_leads_nowhere") else {
        return;
    };
    let network = PodNetwork::new(node.config()).expect("valid");
    let pod = node.pod(&network, "pod");
    let server = pod.netns.inside(|| Server::start((Ipv4Addr::UNSPECIFIED, 8000)));
    node.run(network.add_host_ports("pod", &[tcp(80, 8000), tcp(81, 8000)])).expect("they are free");
    ask((GATEWAY, 80)).expect("reached");
    node.run(network.remove_host_ports("pod", &[tcp(80, 8000)])).expect("removed");
    let refused = |port| ask((GATEWAY, port)).expect_err("nobody is there").kind();
    assert_eq!(refused(80), std::io::ErrorKind::ConnectionRefused);
    ask((GATEWAY, 81)).expect("reached");
    pod.netns.inside(|| server.stop());

    node.run(network.detach("pod")).expect("detached");
    assert_eq!(refused(81), std::io::ErrorKind::ConnectionRefused);
}

#[test]
fn host_ports_are_given_together_or_not_at_all() {
    let Some(node) = Node::new("host_ports_are_given_together_or_not_at_all") else {
        return;
    };
    let network = PodNetwork::new(node.config()).expect("valid");
    let (one, two) = (node.pod(&network, "one"), node.pod(&network, "two"));
    let server = two.netns.inside(|| Server::start((Ipv4Addr::UNSPECIFIED, 8000)));
    node.run(network.add_host_ports("one", &[tcp(80, 8000)])).expect("it is free");
    let refused = node.run(network.add_host_ports("two", &[tcp(81, 8000), tcp(80, 8000)])).expect_err("taken");
    assert_eq!(refused.to_string(), "host port 80/TCP of pod two conflicts with 80/TCP of pod one");
    ask((GATEWAY, 81)).expect_err("it was not given");

    let _daemon = Server::start((GATEWAY, 82));
    let refused = node.run(network.add_host_ports("two", &[tcp(82, 8000)])).expect_err("taken");
    assert_eq!(refused.to_string(), "host port 82/TCP of pod two is in use by another process of this machine");
    two.netns.inside(|| server.stop());
    drop(one);
}

#[test]
fn a_host_port_waits_for_an_address_that_the_node_does_not_have() {
    let Some(node) = Node::new("a_host_port_waits_for_an_address_that_the_node_does_not_have") else {
        return;
    };
    let network = PodNetwork::new(node.config()).expect("valid");
    let pod = node.pod(&network, "pod");
    let port = HostPort { host_ip: Some(NODE_OUTSIDE.into()), ..tcp(80, 8000) };
    let notices = node.run(network.add_host_ports("pod", &[port])).expect("it is free");
    assert!(notices.contains(&Notice::HostAddressMissing(port)), "{notices:?}");

    let _outside = node.outside(1500);
    let server = pod.netns.inside(|| Server::start((Ipv4Addr::UNSPECIFIED, 8000)));
    ask((NODE_OUTSIDE, 80)).expect("reached");
    pod.netns.inside(|| server.stop());
}

#[test]
fn host_ports_work_for_ipv6_but_for_the_nodes_loopback() {
    let Some(node) = Node::new("host_ports_work_for_ipv6_but_for_the_nodes_loopback") else {
        return;
    };
    let ipv4_only = PodNetwork::new(node.config()).expect("valid");
    let gateway = "fd12:3456::1".parse::<Ipv6Addr>().expect("an address");
    let on_ipv6 = HostPort { host_ip: Some(gateway.into()), ..tcp(81, 8000) };
    let refused = node.run(ipv4_only.add_host_ports("pod", &[on_ipv6])).expect_err("there is none").to_string();
    let expected =
        "host port [fd12:3456::1]:81/TCP of pod pod is on an IPv6 address, and pods have none; give them a range with --ipv6-subnet";
    assert_eq!(refused, expected);

    let config = NetworkConfig { ipv6_subnet: Some("fd12:3456::/64".parse().expect("a subnet")), ..node.config() };
    let network = PodNetwork::new(config).expect("valid");
    let (pod, other) = (node.pod(&network, "pod"), node.pod(&network, "other"));
    let server = pod.netns.inside(|| Server::start((Ipv6Addr::UNSPECIFIED, 8000)));
    let on_loopback = HostPort { host_ip: Some(Ipv6Addr::LOCALHOST.into()), ..tcp(82, 8000) };
    let notices = node.run(network.add_host_ports("pod", &[tcp(80, 8000), on_ipv6, on_loopback])).expect("they are free");
    assert!(notices.contains(&Notice::HostAddressUnserved(on_loopback)), "{notices:?}");
    for port in [80, 81] {
        assert_eq!(ask((gateway, port)).expect("reached"), gateway);
        assert_eq!(other.netns.inside(|| ask((gateway, port))).expect("reached from a pod"), gateway);
        assert_eq!(pod.netns.inside(|| ask((gateway, port))).expect("reached from the pod itself"), gateway);
    }
    let refused = ask((Ipv6Addr::LOCALHOST, 80)).expect_err("not served");
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    ask((Ipv4Addr::LOCALHOST, 80)).expect("reached");
    pod.netns.inside(|| server.stop());
}

#[test]
fn a_pod_does_not_reach_what_listens_on_the_nodes_loopback() {
    let Some(node) = Node::new("a_pod_does_not_reach_what_listens_on_the_nodes_loopback") else {
        return;
    };
    let network = PodNetwork::new(node.config()).expect("valid");
    let pod = node.pod(&network, "pod");
    node.run(network.add_host_ports("pod", &[tcp(80, 8000)])).expect("it is free");
    let private = udp((Ipv4Addr::UNSPECIFIED, 9000));

    // A pod that may change its own network, as one with CAP_NET_ADMIN.
    node.run(async {
        let routes = pod.netns.routes();
        let lo = link_index(&routes, "lo").await.expect("it is there");
        let own = routes.address().get().set_link_index_filter(lo).execute();
        let own: Vec<_> = own.try_collect().await.expect("readable");
        for address in own {
            routes.address().del(address).execute().await.expect("removed");
        }
        let eth0 = link_index(&routes, "eth0").await.expect("it is there");
        let loopback = RouteMessageBuilder::<Ipv4Addr>::new()
            .destination_prefix(Ipv4Addr::new(127, 0, 0, 0), 8)
            .gateway(GATEWAY)
            .output_interface(eth0)
            .build();
        routes.route().add(loopback).execute().await.expect("a route");
    });
    let attacker = pod.netns.inside(|| udp((pod.ip(), 0)));
    attacker.send_to(b"evil", (Ipv4Addr::LOCALHOST, 9000)).expect("sent");
    attacker.send_to(b"good", (GATEWAY, 9000)).expect("sent");
    // Packets of one socket do not overtake each other: had the first arrived, it would be here first.
    let mut buffer = [0; 8];
    let (len, from) = private.recv_from(&mut buffer).expect("the second arrives");
    assert_eq!((&buffer[..len], from.ip()), (&b"good"[..], IpAddr::V4(pod.ip())));
}
