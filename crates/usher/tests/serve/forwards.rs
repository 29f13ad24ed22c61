//! `kubectl port-forward` into pods.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::process::{Child, Stdio};

use crate::support::PATIENCE;
use crate::{Served, kubectl, machine};

/// Three servers that can be reached from inside the pod only, or from everywhere.
const PODS: &str = "apiVersion: v1
kind: Pod
metadata: {name: inner}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: app
    image: tapp:1
    imagePullPolicy: Never
    command: [tapp, run, --reverse, '127.0.0.1:7000', --reverse, '[::1]:7001', --http, '8000']
---
apiVersion: v1
kind: Pod
metadata: {name: host}
spec:
  hostNetwork: true
  terminationGracePeriodSeconds: 1
  containers:
  - {name: app, image: 'tapp:1', imagePullPolicy: Never, command: [tapp, run, --reverse, '127.0.0.1:7002', --reverse, '[::1]:7003']}
";

/// The ways of kubectl to forward: SPDY inside WebSocket, SPDY, and one that knows nothing but SPDY.
fn ways() -> Vec<(String, &'static [(&'static str, &'static str)])> {
    let mut ways: Vec<(String, &'static [(&str, &str)])> = vec![
        (kubectl().to_owned(), &[("KUBECTL_PORT_FORWARD_WEBSOCKETS", "true")]),
        (kubectl().to_owned(), &[("KUBECTL_PORT_FORWARD_WEBSOCKETS", "false")]),
    ];
    ways.extend(std::env::var("KUBECTL_OLD").ok().map(|old| (old, [].as_slice())));
    ways
}

/// A kubectl that forwards, until this is dropped.
struct Forwarding {
    child: Child,
    stdout: BufReader<std::process::ChildStdout>,
}

impl Forwarding {
    fn start(served: &Served<'_>, kubectl: &str, environment: &[(&str, &str)], pod: &str, ports: &[u16]) -> Self {
        let mut command = served.command(kubectl, &["port-forward", "--address", "127.0.0.1", pod]);
        command.args(ports.iter().map(|port| format!(":{port}"))).envs(environment.iter().copied());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("kubectl starts");
        let stdout = BufReader::new(child.stdout.take().expect("piped"));
        Self { child, stdout }
    }

    /// Connects to the next of the ports that were asked for.
    fn next_port(&mut self) -> u16 {
        let mut line = String::new();
        self.stdout.read_line(&mut line).expect("kubectl says where");
        let port = line.split("127.0.0.1:").nth(1).and_then(|rest| rest.split(' ').next()).and_then(|port| port.parse().ok());
        port.unwrap_or_else(|| panic!("no port in {line:?}; {}", self.errors()))
    }

    /// Ends kubectl; what it complained of.
    fn errors(&mut self) -> String {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let mut errors = String::new();
        if let Some(mut stderr) = self.child.stderr.take() {
            let _ = stderr.read_to_string(&mut errors);
        }
        errors
    }
}

impl Drop for Forwarding {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn connect(port: u16) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", port)).expect("kubectl listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("set");
    stream.set_write_timeout(Some(PATIENCE)).expect("set");
    stream
}

/// Sends everything, ends its own side, and reads the other to its end.
fn talk(port: u16, text: &[u8]) -> Vec<u8> {
    let mut stream = connect(port);
    stream.write_all(text).expect("sent");
    stream.shutdown(Shutdown::Write).expect("ended");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("answered");
    answer
}

fn start_pods(served: &Served<'_>) {
    let manifest = served.machine.file("forwards.yaml", PODS);
    served.ok(&["apply", "-f", manifest.to_str().expect("text")]);
    served.ok(&["wait", "--for=condition=Ready", "pod/inner", "pod/host", "--timeout=60s"]);
    for (pod, port) in [("inner", 7000), ("inner", 8000), ("host", 7002)] {
        let listens = format!("until cat /proc/net/tcp* | grep -q ':{port:04X} 0*:0000 0A'; do sleep 0.05; done");
        served.ok(&["exec", pod, "--", "sh", "-c", &listens]);
    }
}

#[test]
fn a_port_is_forwarded_to_what_listens_only_inside_its_pod() {
    let Some(machine) = machine("a_port_is_forwarded_to_what_listens_only_inside_its_pod") else { return };
    let served = Served::start(&machine);
    start_pods(&served);
    for (kubectl, environment) in ways() {
        let what = format!("{kubectl} {environment:?}");
        let mut inner = Forwarding::start(&served, &kubectl, environment, "pod/inner", &[7000, 8000]);
        let (reverse, http) = (inner.next_port(), inner.next_port());
        // The pod answers only once the client's side has ended, and ends by itself.
        assert_eq!(talk(reverse, b"olleh"), b"hello", "{what}");
        // The pod ends first.
        let mut stream = connect(http);
        stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("answered");
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("status 200\n"), "{what}: {answer}");
        // Several at once, one of which is idle all the time.
        let idle = connect(reverse);
        let sender = |number: u8| {
            std::thread::spawn(move || {
                let text: Vec<u8> = (0..1_000_000_u32).map(|at| (at % 251) as u8 ^ number).collect();
                (talk(reverse, &text), text)
            })
        };
        for talking in [1, 2, 3, 4].map(sender) {
            let (answer, text) = talking.join().expect("it does not fail");
            assert!(answer.iter().eq(text.iter().rev()), "{what}: other bytes came back");
        }
        drop(idle);
        let mut host = Forwarding::start(&served, &kubectl, environment, "pod/host", &[7002]);
        assert_eq!(talk(host.next_port(), b"tsoh"), b"host", "{what}");
    }
    served.ok(&["delete", "pod", "inner", "host"]);
}

#[test]
fn a_port_is_forwarded_over_ipv6_where_nothing_listens_on_ipv4() {
    let Some(machine) = machine("a_port_is_forwarded_over_ipv6_where_nothing_listens_on_ipv4") else { return };
    if !std::path::Path::new("/proc/net/if_inet6").exists() {
        #[expect(clippy::print_stderr, reason = "tests say why they skip")]
        {
            eprintln!("SKIP a_port_is_forwarded_over_ipv6_where_nothing_listens_on_ipv4: this kernel has no IPv6");
        }
        return;
    }
    let served = Served::start(&machine);
    start_pods(&served);
    let mut inner = Forwarding::start(&served, kubectl(), &[], "pod/inner", &[7001]);
    assert_eq!(talk(inner.next_port(), b"xis"), b"six");
    // The same in the machine's own namespace.
    let mut host = Forwarding::start(&served, kubectl(), &[], "pod/host", &[7003]);
    assert_eq!(talk(host.next_port(), b"xis"), b"six");
    served.ok(&["delete", "pod", "inner", "host"]);
}

#[test]
fn a_port_at_which_nothing_listens_is_told_with_the_reference_s_words() {
    let Some(machine) = machine("a_port_at_which_nothing_listens_is_told_with_the_reference_s_words") else { return };
    let served = Served::start(&machine);
    start_pods(&served);
    let uid = served.ok(&["get", "pod", "inner", "-o", "jsonpath={.metadata.uid}"]);
    for (kubectl, environment) in ways() {
        let mut inner = Forwarding::start(&served, &kubectl, environment, "pod/inner", &[9]);
        let port = inner.next_port();
        assert_eq!(talk(port, b""), b"");
        let errors = inner.errors();
        let begin = format!("an error occurred forwarding {port} -> 9: error forwarding port 9 to pod inner, uid {uid}: ");
        let end = format!(
            "failed to connect to localhost:9 inside namespace \"{uid}\", IPv4: dial tcp4 127.0.0.1:9: connect: connection refused"
        );
        // Newer ones quote the text once more.
        let plain = errors.replace('\\', "");
        assert!(plain.contains(&begin) && plain.contains(&end), "{kubectl} {environment:?}: {errors}");
    }
    served.ok(&["delete", "pod", "inner", "host"]);
    let (success, _, err) = served.kubectl(&["port-forward", "pod/inner", ":7000"]);
    assert!(!success && err.contains("pods \"inner\" not found"), "{err}");
}
