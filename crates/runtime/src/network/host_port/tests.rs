use super::*;

fn port(host_ip: &str, host_port: u16, protocol: Protocol) -> HostPort {
    let host_ip = (!host_ip.is_empty()).then(|| host_ip.parse().expect("an address"));
    HostPort { host_ip, host_port, protocol, container_port: 80 }.normalized()
}

#[test]
fn two_host_ports_conflict_when_both_would_want_the_same_packets() {
    let conflict = |one: HostPort, two: HostPort| {
        assert_eq!(one.conflicts_with(&two), two.conflicts_with(&one));
        one.conflicts_with(&two)
    };
    let tcp = |ip| port(ip, 80, Protocol::Tcp);
    assert!(conflict(tcp(""), tcp("")));
    assert!(conflict(tcp(""), tcp("192.0.2.2")));
    assert!(conflict(tcp("192.0.2.2"), tcp("192.0.2.2")));
    assert!(!conflict(tcp("192.0.2.2"), tcp("192.0.2.3")));
    assert!(!conflict(tcp(""), port("", 80, Protocol::Udp)));
    assert!(!conflict(tcp(""), port("", 81, Protocol::Tcp)));
}

#[test]
fn unspecified_addresses_mean_all_addresses() {
    for unspecified in ["0.0.0.0", "::"] {
        assert_eq!(port(unspecified, 80, Protocol::Tcp), port("", 80, Protocol::Tcp));
    }
}

#[test]
fn a_host_port_is_written_as_users_write_it() {
    assert_eq!(port("", 80, Protocol::Tcp).to_string(), "80/TCP");
    assert_eq!(port("192.0.2.2", 53, Protocol::Udp).to_string(), "192.0.2.2:53/UDP");
    assert_eq!(port("fd00::2", 53, Protocol::Sctp).to_string(), "[fd00::2]:53/SCTP");
    assert_eq!(port("fd00::2", 53, Protocol::Sctp).claim_name(), "sctp-fd00::2-53");
    assert_eq!(port("", 80, Protocol::Tcp).claim_name(), "tcp-any-80");
}
