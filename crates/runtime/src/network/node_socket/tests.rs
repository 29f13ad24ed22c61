use super::*;
use std::net::{TcpListener, TcpStream, UdpSocket};

/// Not the loopback address that everybody uses, so that tests that run side by side do not meet there.
const LOOPBACK: Ipv4Addr = Ipv4Addr::new(127, 77, 0, 1);

fn host_port(protocol: Protocol, port: u16) -> HostPort {
    HostPort { host_ip: Some(IpAddr::from(LOOPBACK)), host_port: port, protocol, container_port: 80 }
}

#[test]
fn a_listener_is_in_the_way_and_a_connection_is_not() {
    let listener = TcpListener::bind((LOOPBACK, 0)).expect("loopback is there");
    let address = listener.local_addr().expect("bound");
    let stream = TcpStream::connect(address).expect("the listener is there");
    let client_port = stream.local_addr().expect("connected").port();

    assert_eq!(NodeSocket::at(&host_port(Protocol::Tcp, address.port()), Families::Both), NodeSocket::Taken);
    let everywhere = HostPort { host_ip: None, ..host_port(Protocol::Tcp, address.port()) };
    assert_eq!(NodeSocket::at(&everywhere, Families::Both), NodeSocket::Taken);
    assert_eq!(NodeSocket::at(&host_port(Protocol::Tcp, client_port), Families::Both), NodeSocket::Free);
    drop(listener);
    assert_eq!(NodeSocket::at(&host_port(Protocol::Tcp, address.port()), Families::Both), NodeSocket::Free);
}

#[test]
fn a_udp_server_is_in_the_way_and_a_udp_client_is_not() {
    let server = UdpSocket::bind((LOOPBACK, 0)).expect("loopback is there");
    let port = server.local_addr().expect("bound").port();
    let client = UdpSocket::bind((LOOPBACK, 0)).expect("loopback is there");
    client.connect((LOOPBACK, port)).expect("no packet is sent");
    let client_port = client.local_addr().expect("bound").port();

    assert_eq!(NodeSocket::at(&host_port(Protocol::Udp, port), Families::Both), NodeSocket::Taken);
    assert_eq!(NodeSocket::at(&host_port(Protocol::Tcp, port), Families::Both), NodeSocket::Free);
    assert_eq!(NodeSocket::at(&host_port(Protocol::Udp, client_port), Families::Both), NodeSocket::Free);
}

#[test]
fn an_address_that_the_node_lacks_is_told_apart() {
    let elsewhere = HostPort { host_ip: Some(IpAddr::from([203, 0, 113, 9])), ..host_port(Protocol::Tcp, 8080) };
    assert_eq!(NodeSocket::at(&elsewhere, Families::Both), NodeSocket::NoSuchAddress);
}

#[test]
fn a_listener_on_ipv6_alone_is_in_the_way_where_pods_have_ipv6() {
    // Fails where the kernel has no IPv6, and then there is nothing to be in the way.
    let Ok(listener) = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)) else { return };
    let port = listener.local_addr().expect("bound").port();
    let everywhere = HostPort { host_ip: None, ..host_port(Protocol::Tcp, port) };
    assert_eq!(NodeSocket::at(&everywhere, Families::Both), NodeSocket::Taken);
    assert_eq!(NodeSocket::at(&everywhere, Families::Ipv4), NodeSocket::Free);
}
