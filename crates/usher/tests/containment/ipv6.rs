//! Pods with addresses of both families, where the kernel has IPv6. The machine is the test's own network namespace, so the first
//! pod's addresses are known.

use std::net::{Ipv6Addr, SocketAddr};
use std::process::Command;

use super::ports::{asked, tcp, udp};
use super::support::Machine;
use super::{pod, printed, run_to_end, shell, shell_pod};

/// The bridge, beside 10.199.0.1.
const GATEWAY: Ipv6Addr = Ipv6Addr::new(0xfd75, 0x7368, 0x6572, 0, 0, 0, 0x0ac7, 1);
/// The first pod, beside 10.199.0.2.
const FIRST_POD: &str = "fd75:7368:6572::ac7:2";

fn machine(test: &str) -> Option<Machine> {
    if std::net::UdpSocket::bind("[::1]:0").is_err() {
        eprintln!("SKIP {test}: the kernel has no IPv6");
        return None;
    }
    Machine::new(test)
}

fn ip(arguments: &str) {
    let done = Command::new("ip").args(arguments.split(' ')).status().expect("ip runs");
    assert!(done.success(), "ip {arguments}");
}

#[test]
fn a_pod_has_an_ipv6_loopback_where_the_kernel_has_ipv6() {
    let Some(machine) = machine("a_pod_has_an_ipv6_loopback_where_the_kernel_has_ipv6") else { return };
    let script = "nc -ll -p 80 -e echo by six & until nc ::1 80 < /dev/null 2> /dev/null | grep 'by six'; do sleep 0.05; done; kill $!
grep -c ip6-loopback /etc/hosts";
    assert_eq!(printed(&machine, script, "", ""), ["by six", "1"]);
}

// k8s: 8.f.4
#[test]
fn a_pod_has_an_address_of_each_family_in_status_environment_and_hosts() {
    let Some(machine) = machine("a_pod_has_an_address_of_each_family_in_status_environment_and_hosts") else { return };
    let script = "echo $IPS
ip -6 -o addr show dev eth0 scope global | sed 's/.*inet6 //; s/ .*//'
ip -6 route | grep -c default
grep -w both /etc/hosts | tr '\\t' ' '
cat /proc/sys/net/ipv6/conf/eth0/accept_ra";
    let env = "env: [{name: IPS, valueFrom: {fieldRef: {fieldPath: status.podIPs}}}]";
    let ended = run_to_end(&machine, &shell_pod("both", script, env, ""));
    let expected = [
        &format!("10.199.0.2,{FIRST_POD}"),
        &format!("{FIRST_POD}/112"),
        "1",
        "10.199.0.2 both",
        &format!("{FIRST_POD} both"),
        // No other pod is taken for a router.
        "0",
    ];
    assert_eq!(ended.output(), expected, "{}", ended.story());
    let told = ended.find(|entry| entry["status"]["podIps"].as_array().is_some_and(|ips| ips.len() == 2));
    let told = told.unwrap_or_else(|| panic!("a status with both: {}", ended.story()));
    assert_eq!(told["status"]["podIps"], serde_json::json!(["10.199.0.2", FIRST_POD]));
}

#[test]
fn ports_of_the_machine_lead_to_the_containers_by_ipv6_too() {
    let Some(machine) = machine("ports_of_the_machine_lead_to_the_containers_by_ipv6_too") else { return };
    let ports = format!(
        "ports:
- {{containerPort: 8080, hostPort: 18080}}
- {{containerPort: 8080, hostPort: 18081, hostIP: 127.0.0.1}}
- {{containerPort: 8080, hostPort: 18082, hostIP: '{GATEWAY}'}}
- {{containerPort: 5353, hostPort: 15353, protocol: UDP}}"
    );
    let script = "trap 'kill $(jobs -p); exit 0' TERM
nc -ll -p 8080 -e sh -c 'read line; echo by tcp' &
tapp run --udp 5353 &
echo ready; while true; do sleep 0.1; done";
    let manifest = pod("serving", &format!("terminationGracePeriodSeconds: 2\ncontainers:\n{}", shell("app", script, &ports)));
    let mut running = machine.run(&manifest, &[]);
    running.wait_for("ready", |entry| entry["output"]["line"] == "ready");
    let at = |port: u16| SocketAddr::from((GATEWAY, port));
    assert_eq!(asked("tcp", || tcp(at(18080))), "by tcp");
    assert_eq!(asked("udp", || udp(at(15353))), "by udp");
    assert_eq!(asked("one address", || tcp(at(18082))), "by tcp");
    assert!(tcp(at(18081)).is_err(), "a port on an IPv4 address leads from there only");
    assert!(tcp(SocketAddr::from(([10, 199, 0, 1], 18082))).is_err(), "a port on an IPv6 address leads from there only");
    running.interrupt();
    let ended = running.end();
    assert_eq!(ended.code, Some(0), "{}", ended.story());
    let refused = tcp(at(18080)).expect_err("the port went with the pod");
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
}

// k8s: 3.d.9, 7.a.13
#[test]
fn probes_and_hooks_reach_the_ipv6_address_that_they_name() {
    let Some(machine) = machine("probes_and_hooks_reach_the_ipv6_address_that_they_name") else { return };
    let spec = format!(
        r#"terminationGracePeriodSeconds: 10
containers:
- name: app
  image: tapp:1
  imagePullPolicy: Never
  command: ["tapp", "run", "--http", "8080"]
  startupProbe: {{httpGet: {{host: "{FIRST_POD}", port: 8080, path: /from-startup}}, periodSeconds: 1, failureThreshold: 60}}
  readinessProbe: {{tcpSocket: {{host: "{FIRST_POD}", port: 8080}}, periodSeconds: 1}}
  lifecycle: {{preStop: {{httpGet: {{host: "{FIRST_POD}", port: 8080, path: /from-hook}}}}}}"#
    );
    let mut running = machine.run(&pod("six", &spec), &[]);
    let is_ready = |condition: &serde_json::Value| condition["kind"] == "Ready" && condition["is_true"] == true;
    running.wait_for("ready", |entry| entry["status"]["conditions"].as_array().is_some_and(|conditions| conditions.iter().any(is_ready)));
    running.interrupt();
    let ended = running.end();
    assert_eq!(ended.code, Some(0), "{}", ended.story());
    for path in ["/from-startup", "/from-hook"] {
        let asked = ended.output().into_iter().find(|line| line.contains(path)).unwrap_or_else(|| panic!("{path}: {}", ended.story()));
        assert!(asked.contains(&format!("[{FIRST_POD}]:8080")), "{asked}");
    }
}

#[test]
fn pods_have_ipv4_only_where_ipv6_is_off_or_not_to_be_had() {
    let Some(machine) = machine("pods_have_ipv4_only_where_ipv6_is_off_or_not_to_be_had") else { return };
    let found = || {
        let output = machine.output(["check"]);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    assert!(found().contains("network: addresses for pods: 10.199.0.0/16 and fd75:7368:6572::ac7:0/112\n"), "{}", found());

    let manifest = shell_pod("four", "echo $IPS", "env: [{name: IPS, valueFrom: {fieldRef: {fieldPath: status.podIPs}}}]", "");
    let ended = machine.run(&manifest, &["--ipv6-subnet", "off"]).end();
    assert_eq!(ended.output(), ["10.199.0.2"], "{}", ended.story());

    // Somebody's network that takes in the range: pods do without, and so does the check say.
    ip("link add lan0 type veth peer name lan1");
    ip("link set lan0 up");
    ip("link set lan1 up");
    ip("-6 addr add fd75:7368:6572::1/64 dev lan0 nodad");
    let why = "network: IPv6: pods have IPv4 only, because fd75:7368:6572::ac7:0/112 collides with route fd75:7368:6572::/64 dev lan0 \
               of this machine; give pods another range with --ipv6-subnet\n";
    assert!(found().contains(why), "{}", found());
    assert_eq!(run_to_end(&machine, &manifest).output(), ["10.199.0.3"]);
    let ended = machine.run(&manifest, &["--ipv6-subnet", "fd12:3456::/64"]).end();
    assert_eq!(ended.output(), ["10.199.0.4,fd12:3456::4"], "{}", ended.story());
}
