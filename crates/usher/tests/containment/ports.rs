//! Ports of the machine that lead into pods, as somebody on the machine finds them. The machine is the test's own network namespace.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use super::support::{Machine, PATIENCE};
use super::{pod, shell};

/// Longer than any answer takes within one machine.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// Asks until the server is there.
pub(super) fn asked(what: &str, mut ask: impl FnMut() -> std::io::Result<String>) -> String {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match ask() {
            Ok(answer) if !answer.is_empty() => return answer,
            Ok(_) | Err(_) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(50)),
            other => panic!("{what}: {other:?}"),
        }
    }
}

pub(super) fn tcp(address: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, ANSWER_WITHIN)?;
    stream.set_read_timeout(Some(ANSWER_WITHIN))?;
    let _ = stream.write_all(b"who\n");
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer.trim().to_owned())
}

pub(super) fn udp(address: SocketAddr) -> std::io::Result<String> {
    let own: IpAddr = if address.is_ipv6() { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((own, 0))?;
    socket.set_read_timeout(Some(ANSWER_WITHIN))?;
    socket.connect(address)?;
    socket.send(b"who\n")?;
    let mut buffer = [0; 64];
    let len = socket.recv(&mut buffer)?;
    Ok(String::from_utf8_lossy(&buffer[..len]).trim().to_owned())
}

#[test]
fn ports_of_the_machine_lead_to_the_containers_by_tcp_and_udp_and_end_with_the_pod() {
    let Some(machine) = Machine::new("ports_of_the_machine_lead_to_the_containers_by_tcp_and_udp_and_end_with_the_pod") else { return };
    let ports = "ports:
- {containerPort: 8080, hostPort: 18080}
- {containerPort: 8081, hostPort: 18081, hostIP: 127.0.0.1}
- {containerPort: 5353, hostPort: 15353, protocol: UDP}";
    let script = "trap 'kill $(jobs -p); exit 0' TERM
nc -ll -p 8080 -e sh -c 'read line; echo by tcp' &
nc -ll -p 8081 -e sh -c 'read line; echo by one address' &
tapp run --udp 5353 &
echo ready; while true; do sleep 0.1; done";
    let manifest = pod("serving", &format!("terminationGracePeriodSeconds: 2\ncontainers:\n{}", shell("app", script, ports)));
    let mut running = machine.run(&manifest, &[]);
    running.wait_for("ready", |entry| entry["output"]["line"] == "ready");
    let local = |port: u16| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let gateway = |port: u16| SocketAddr::from((Ipv4Addr::new(10, 199, 0, 1), port));
    assert_eq!(asked("tcp", || tcp(local(18080))), "by tcp");
    assert_eq!(asked("tcp at another address", || tcp(gateway(18080))), "by tcp");
    assert_eq!(asked("udp", || udp(local(15353))), "by udp");
    assert_eq!(asked("one address", || tcp(local(18081))), "by one address");
    assert!(tcp(gateway(18081)).is_err(), "only the address that was named leads there");
    running.interrupt();
    let ended = running.end();
    assert_eq!(ended.code, Some(0), "{}", ended.story());
    let refused = tcp(local(18080)).expect_err("the port went with the pod");
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
}
