use super::*;

fn line(destination: &str, prefix_len: &str, link: &str) -> String {
    let none = "0".repeat(32);
    format!("{destination} {prefix_len} {none} 00 {none} 00000100 00000001 00000000 00000001 {link:>8}")
}

#[test]
fn what_is_said_of_the_pods_ipv6_is_auto_off_or_a_range() {
    assert_eq!("auto".parse(), Ok(Ipv6Pods::Auto));
    assert_eq!("off".parse(), Ok(Ipv6Pods::Off));
    let subnet = "fd12::/64".parse().expect("a subnet");
    assert_eq!("fd12::/64".parse(), Ok(Ipv6Pods::Subnet(subnet)));
    let refused = "on".parse::<Ipv6Pods>().expect_err("refused").to_string();
    assert_eq!(refused, r#""on" is not a subnet of the form fd12:3456:789a::/64"#);

    let ipv4 = "10.189.0.0/16".parse().expect("a subnet");
    assert_eq!(Ipv6Pods::Off.subnet(ipv4, "usher0"), Ok(None));
    assert_eq!(Ipv6Pods::Subnet(subnet).subnet(ipv4, "usher0"), Ok(Some(subnet)));
}

#[test]
fn a_route_to_the_pods_range_is_in_the_way_unless_it_is_the_bridges_own_or_a_way_out() {
    let subnet = Ipv6Subnet::beside("10.189.0.0/16".parse().expect("a subnet"));
    let ours = "fd75736865720000000000000abd0000";
    let wider = "fd000000000000000000000000000000";
    let blocked = |line: &str| is_in_the_way(&destination(line).expect("a route"), subnet, "usher0");
    assert!(blocked(&line(ours, "70", "eth0")));
    assert!(blocked(&line(wider, "08", "tun0")));
    assert!(!blocked(&line(ours, "70", "usher0")), "the bridge's own");
    assert!(!blocked(&line(wider, "08", "lo")), "refuses packets");
    assert!(!blocked(&line(&"0".repeat(32), "00", "eth0")), "a way out");
    assert!(!blocked(&line(wider, "40", "eth0")), "another range");
    assert_eq!(destination("not a route"), None);
}
