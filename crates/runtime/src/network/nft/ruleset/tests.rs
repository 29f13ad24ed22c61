use super::*;
use crate::network::host_port::Protocol;

fn ruleset(host_ports: Vec<HostPortTarget>) -> Ruleset {
    Ruleset {
        bridge: "usher0".to_owned(),
        ipv4: "10.189.0.0/16".parse().expect("a subnet"),
        ipv6: Some("fd12::/64".parse().expect("a subnet")),
        host_ports,
    }
}

fn target(host_ip: Option<&str>, protocol: Protocol) -> HostPortTarget {
    HostPortTarget {
        port: HostPort { host_ip: host_ip.map(|ip| ip.parse().expect("an address")), host_port: 8080, protocol, container_port: 80 },
        ipv4: Ipv4Addr::new(10, 189, 0, 2),
        ipv6: Some("fd12::2".parse().expect("an address")),
    }
}

/// The names of the maps that a host port goes to.
fn maps(target: &HostPortTarget) -> Vec<&'static str> {
    let families = ruleset(vec![]).families();
    let all = families.iter().flat_map(|family| family.maps.iter().map(move |map| (family, map)));
    all.filter(|(family, map)| element(target, family, map).is_some()).map(|(_, map)| map.name).collect()
}

#[test]
fn a_host_port_goes_to_the_map_of_its_address_or_to_those_for_all() {
    assert_eq!(maps(&target(None, Protocol::Tcp)), ["host-ports-any-4", "host-ports-any-6"]);
    assert_eq!(maps(&target(Some("192.0.2.2"), Protocol::Tcp)), ["host-ports-4"]);
    assert_eq!(maps(&target(Some("2001:db8::2"), Protocol::Tcp)), ["host-ports-6"]);
    let ipv4_only = HostPortTarget { ipv6: None, ..target(None, Protocol::Tcp) };
    assert_eq!(maps(&ipv4_only), ["host-ports-any-4"]);
}

#[test]
fn keys_and_values_fill_whole_registers() {
    let families = ruleset(vec![]).families();
    let (key, value) = element(&target(Some("192.0.2.2"), Protocol::Udp), &families[0], &families[0].maps[0]).expect("fits");
    assert_eq!(key, [17, 0, 0, 0, 192, 0, 2, 2, 0x1f, 0x90, 0, 0]);
    assert_eq!(value, [10, 189, 0, 2, 0, 80, 0, 0]);
    let (key, value) = element(&target(None, Protocol::Tcp), &families[1], &families[1].maps[1]).expect("fits");
    assert_eq!(key, [6, 0, 0, 0, 0x1f, 0x90, 0, 0]);
    assert_eq!(value.len(), 20);
}

#[test]
fn the_mark_changes_with_what_the_rules_are_made_from_and_not_with_host_ports() {
    let one = ruleset(vec![]);
    assert_eq!(one.mark(), ruleset(vec![target(None, Protocol::Tcp)]).mark());
    let other = Ruleset { ipv4: "10.188.0.0/16".parse().expect("a subnet"), ..one.clone() };
    assert_ne!(one.mark(), other.mark());
    assert_ne!(one.mark(), Ruleset { ipv6: None, ..one.clone() }.mark());
}

/// Works in a network namespace of its own; `None`, and a word to the reader, if that is not allowed.
#[expect(clippy::print_stderr, reason = "a skipped test says why")]
fn apart<T: Send>(test: &str, work: impl FnOnce() -> T + Send) -> Option<T> {
    crate::network::netns::inside_new(work).inspect_err(|error| eprintln!("SKIP {test}: {error}")).ok()
}

#[test]
fn a_table_is_replaced_whole_as_often_as_one_likes() {
    apart("a_table_is_replaced_whole_as_often_as_one_likes", || {
        let nft = Nft::default();
        let bare = ruleset(vec![]);
        assert!(!bare.is_in_place(&nft).expect("nf_tables works"));
        bare.replace(&nft).expect("nf_tables works");
        assert!(bare.is_in_place(&nft).expect("nf_tables works"));
        let full = ruleset(vec![target(None, Protocol::Tcp), target(Some("192.0.2.2"), Protocol::Udp)]);
        full.replace(&nft).expect("nf_tables works");
        full.replace(&nft).expect("nf_tables works");
        assert!(bare.is_in_place(&nft).expect("nf_tables works"));
        let other = Ruleset { ipv4: "10.188.0.0/16".parse().expect("a subnet"), ..full };
        assert!(!other.is_in_place(&nft).expect("nf_tables works"));
        other.replace(&nft).expect("nf_tables works");
        assert!(other.is_in_place(&nft).expect("nf_tables works"));
    });
}

#[test]
fn as_many_host_ports_as_are_allowed_go_in_at_once() {
    apart("as_many_host_ports_as_are_allowed_go_in_at_once", || {
        let nft = Nft::default();
        let ports = (1..=1024).map(|host_port| {
            let target = target(None, Protocol::Tcp);
            HostPortTarget { port: HostPort { host_port, ..target.port }, ..target }
        });
        ruleset(ports.collect()).replace(&nft).expect("nf_tables works");
    });
}

#[test]
fn what_the_kernel_refuses_is_named() {
    apart("what_the_kernel_refuses_is_named", || {
        let nft = Nft::default();
        // The same key twice, with two values.
        let one = target(None, Protocol::Tcp);
        let two = HostPortTarget { ipv4: Ipv4Addr::new(10, 189, 0, 3), ..one };
        let refused = ruleset(vec![one, two]).replace(&nft).expect_err("a map has one value for a key");
        assert_eq!(refused.to_string(), "nf_tables failed to add host ports to map host-ports-any-4");
        assert!(!refused.is_unsupported());
        assert!(!ruleset(vec![]).is_in_place(&nft).expect("nf_tables works"));
    });
}
