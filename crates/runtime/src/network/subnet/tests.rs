use super::*;

fn v4(text: &str) -> Ipv4Subnet {
    text.parse().expect("a valid subnet")
}

#[test]
fn addresses_of_a_subnet_are_gateway_then_pods_then_broadcast() {
    let subnet = v4("10.189.0.0/16");
    assert_eq!(subnet.gateway(), Ipv4Addr::new(10, 189, 0, 1));
    assert_eq!(subnet.pod_address(0), Some(Ipv4Addr::new(10, 189, 0, 2)));
    assert_eq!(subnet.pods_max(), 65_533);
    assert_eq!(subnet.pod_address(65_532), Some(Ipv4Addr::new(10, 189, 255, 254)));
    assert_eq!(subnet.pod_address(65_533), None);
    assert_eq!(subnet.to_string(), "10.189.0.0/16");
}

#[test]
fn a_slot_is_the_inverse_of_a_pod_address() {
    let subnet = v4("192.168.7.8/29");
    for slot in 0..subnet.pods_max() {
        let address = subnet.pod_address(slot).expect("inside");
        assert_eq!(subnet.slot(address), Some(slot));
    }
    for outside in ["192.168.7.8", "192.168.7.9", "192.168.7.15", "192.168.7.16", "0.0.0.0"] {
        assert_eq!(subnet.slot(outside.parse().expect("an address")), None, "{outside}");
    }
}

#[test]
fn the_smallest_subnet_holds_one_pod() {
    let subnet = v4("10.0.0.4/30");
    assert_eq!(subnet.pods_max(), 1);
    assert_eq!(subnet.pod_address(0), Some(Ipv4Addr::new(10, 0, 0, 6)));
}

#[test]
fn a_wrong_subnet_says_what_is_wrong_and_what_would_be_right() {
    let message = |text: &str| text.parse::<Ipv4Subnet>().expect_err("refused").to_string();
    assert_eq!(message("10.189.0.0"), r#""10.189.0.0" is not a subnet of the form 10.189.0.0/16"#);
    assert_eq!(message("fd00::/64"), r#""fd00::/64" is not a subnet of the form 10.189.0.0/16"#);
    assert_eq!(message("10.189.3.0/16"), "10.189.3.0/16 has bits set after its prefix; the network is 10.189.0.0/16");
    assert_eq!(message("10.189.0.0/31"), "prefix length /31 of 10.189.0.0/31 is outside /8 to /30");
    assert_eq!(message("10.189.0.0/200"), "prefix length /200 of 10.189.0.0/200 is outside /8 to /30");
    for reserved in ["127.0.0.0/8", "224.0.0.0/8", "169.254.0.0/16", "0.0.0.0/8", "240.0.0.0/8"] {
        assert_eq!(message(reserved), format!("{reserved} is reserved and cannot be given to pods"));
    }
    let message = |text: &str| text.parse::<Ipv6Subnet>().expect_err("refused").to_string();
    assert_eq!(message("fd00::1/64"), "fd00::1/64 has bits set after its prefix; the network is fd00::/64");
    assert_eq!(message("fd00::/127"), "prefix length /127 of fd00::/127 is outside /8 to /126");
    assert_eq!(message("fe80::/64"), "fe80::/64 is reserved and cannot be given to pods");
}

#[test]
fn an_ipv6_subnet_numbers_its_pods_like_the_ipv4_one() {
    let subnet: Ipv6Subnet = "fd12::/64".parse().expect("a valid subnet");
    assert_eq!(subnet.gateway(), "fd12::1".parse::<Ipv6Addr>().expect("an address"));
    assert_eq!(subnet.pod_address(0), Some("fd12::2".parse().expect("an address")));
    assert_eq!(subnet.pods_max(), u32::MAX);
    assert_eq!("fd12::/126".parse::<Ipv6Subnet>().expect("a valid subnet").pods_max(), 2);
}

#[test]
fn prefixes_overlap_when_one_holds_the_other() {
    let prefix = |text: &str| {
        let (address, len) = text.split_once('/').expect("a prefix");
        (address.parse::<IpAddr>().expect("an address"), len.parse::<u8>().expect("a length"))
    };
    let overlap = |one, other| prefixes_overlap(prefix(one), prefix(other));
    assert!(overlap("10.189.0.0/16", "10.189.4.0/24"));
    assert!(overlap("10.189.4.0/24", "10.189.0.0/16"));
    assert!(overlap("10.0.0.0/8", "10.189.0.0/16"));
    assert!(overlap("0.0.0.0/0", "10.189.0.0/16"));
    assert!(!overlap("10.188.0.0/16", "10.189.0.0/16"));
    assert!(overlap("fd00::/8", "fd12::/64"));
    assert!(!overlap("::/0", "10.189.0.0/16"));
}

#[test]
fn the_range_beside_an_ipv4_range_numbers_pods_alike_and_is_apart_from_those_beside_others() {
    let beside = |text: &str| Ipv6Subnet::beside(v4(text));
    assert_eq!(beside("10.189.0.0/16").to_string(), "fd75:7368:6572::abd:0/112");
    for ipv4 in ["10.189.0.0/16", "192.168.7.8/30", "10.0.0.0/8"].map(v4) {
        let ipv6 = Ipv6Subnet::beside(ipv4);
        assert!(ipv6.pods_max() >= ipv4.pods_max(), "{ipv4}");
        assert_eq!(Ipv6Subnet::new(ipv6.network(), ipv6.prefix_len()), Ok(ipv6));
        let last = ipv4.pods_max() - 1;
        for slot in [0, last] {
            let (four, six) = (ipv4.pod_address(slot).expect("inside"), ipv6.pod_address(slot).expect("inside"));
            assert_eq!(six.octets()[12..], four.octets(), "{ipv4}");
        }
    }
    let (one, other) = (beside("10.189.0.0/24"), beside("10.189.1.0/24"));
    assert!(!prefixes_overlap((one.network().into(), one.prefix_len()), (other.network().into(), other.prefix_len())));
}
