//! Clients that take more than they should, and what the daemon and its pods make of it.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustls::client::WantsClientCert;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, ConfigBuilder, RootCertStore, StreamOwned};

use crate::streams::memory;
use crate::support::PATIENCE;
use crate::{Served, machine};

/// So many watches, unless `USHER_WATCHES` says otherwise. The documentation tells what 10,000 take.
const WATCHES: usize = 1_000;
/// The most that one of them takes, its TLS connection included, as the documentation says.
const WATCH_KIB_MAX: u64 = 64;
/// What the daemon may take besides.
const SLACK_KIB: u64 = 16 * 1024;
/// Connections are made side by side.
const THREADS: usize = 4;

/// Clients that send too much at the same time, of each kind.
const SENDERS: usize = 64;
/// What each of them would send, if it could.
const SENT_MIB: usize = 100;
/// What the daemon may take for all of them, as the documentation says: the bodies that it holds, what is lost between them while they
/// grow, and connections.
const HOSTILE_KIB_MAX: u64 = 192 * 1024;

type Connection = StreamOwned<ClientConnection, TcpStream>;

/// The client of the administrator.
fn client(served: &Served<'_>) -> Arc<ClientConfig> {
    let secrets = served.machine.root().join("server/pki");
    let read = |file: &str| std::fs::read(secrets.join(file)).expect("readable");
    let certificate = CertificateDer::from_pem_slice(&read("admin.crt")).expect("a certificate");
    let key = PrivateKeyDer::from_pem_slice(&read("admin.key")).expect("a key");
    Arc::new(trusting(served).with_client_auth_cert(vec![certificate], key).expect("they fit"))
}

/// A client that nobody knows.
fn stranger(served: &Served<'_>) -> Arc<ClientConfig> {
    Arc::new(trusting(served).with_no_client_auth())
}

fn trusting(served: &Served<'_>) -> ConfigBuilder<ClientConfig, WantsClientCert> {
    let authority = std::fs::read(served.machine.root().join("server/pki/ca.crt")).expect("readable");
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(&authority).expect("a certificate")).expect("an authority");
    let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
    builder.with_safe_default_protocol_versions().expect("versions").with_root_certificates(roots)
}

fn connect(config: &Arc<ClientConfig>) -> Connection {
    let socket = TcpStream::connect("127.0.0.1:6443").expect("connected");
    socket.set_read_timeout(Some(PATIENCE)).expect("set");
    socket.set_write_timeout(Some(PATIENCE)).expect("set");
    let name = ServerName::try_from("localhost").expect("a name");
    StreamOwned::new(ClientConnection::new(Arc::clone(config), name).expect("a connection"), socket)
}

/// A watch that has begun.
fn watch(config: &Arc<ClientConfig>) -> Connection {
    let mut stream = connect(config);
    stream.write_all(b"GET /api/v1/configmaps?watch=1&resourceVersion=0 HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("asked");
    read_until(&mut stream, "\r\n\r\n");
    stream
}

/// Reads until a text has come.
#[track_caller]
fn read_until(stream: &mut Connection, wanted: &str) -> String {
    let mut read = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&read).into_owned();
        if text.contains(wanted) {
            return text;
        }
        match stream.read(&mut buffer) {
            Ok(length @ 1..) => read.extend_from_slice(&buffer[..length]),
            ended => panic!("{wanted:?} does not come: {ended:?}; {text}"),
        }
    }
}

#[test]
fn idle_watches_take_bounded_memory_and_harm_no_pod() {
    let name = "idle_watches_take_bounded_memory_and_harm_no_pod";
    let Some(machine) = machine(name) else { return };
    let count = std::env::var("USHER_WATCHES").ok().and_then(|count| count.parse().ok()).unwrap_or(WATCHES);
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).expect("as much as is allowed");
    if limit.maximum.is_some_and(|files| files < 2 * count as u64) {
        #[expect(clippy::print_stderr, reason = "tests say why they skip")]
        {
            eprintln!("SKIP {name}: at most {:?} files may be open", limit.maximum);
        }
        return;
    }
    let served = Served::start(&machine);
    served.start_pod();
    let config = client(&served);
    // What the first few make the daemon prepare is not counted.
    let mut first: Vec<Connection> = (0..THREADS).map(|_| watch(&config)).collect();
    let (before, container) = (memory(&served), served.pod()["status"]["containerStatuses"][0].clone());
    let begin = || {
        let config = Arc::clone(&config);
        std::thread::spawn(move || (0..count / THREADS).map(|_| watch(&config)).collect::<Vec<_>>())
    };
    let begun: Vec<_> = (0..THREADS).map(|_| begin()).collect();
    let mut watches: Vec<Connection> = begun.into_iter().flat_map(|thread| thread.join().expect("all begin")).collect();
    let grown = memory(&served).saturating_sub(before);
    #[expect(clippy::print_stderr, reason = "a figure of the documentation")]
    {
        eprintln!("{} idle watches: {grown} KiB, {} bytes each; {before} KiB before", watches.len(), grown * 1024 / watches.len() as u64);
    }
    assert!(grown <= watches.len() as u64 * WATCH_KIB_MAX + SLACK_KIB, "{} idle watches took {grown} KiB", watches.len());
    // All of them are there.
    served.ok(&["create", "configmap", "news"]);
    for watch in first.iter_mut().chain(&mut watches) {
        read_until(watch, "\"name\":\"news\"");
    }
    drop((first, watches));
    let after = served.pod()["status"]["containerStatuses"][0].clone();
    for field in ["containerID", "restartCount", "state"] {
        assert_eq!(after[field], container[field], "{field}");
    }
    served.ok(&["delete", "pod", "web"]);
}

/// The most that the daemon has held since [`forget_peak`], in KiB.
fn peak(served: &Served<'_>) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", served.child.id())).expect("the daemon is there");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("it has memory");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

/// Lets [`peak`] begin anew.
fn forget_peak(served: &Served<'_>) {
    std::fs::write(format!("/proc/{}/clear_refs", served.child.id()), "5").expect("the daemon is there");
}

/// Sends a body without end in pieces of a MiB; gives how many were taken before the server had enough.
fn send_without_end(config: &Arc<ClientConfig>, path: &str) -> usize {
    let mut stream = connect(config);
    let head = format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n");
    stream.write_all(head.as_bytes()).expect("asked");
    let piece = [b"100000\r\n".to_vec(), vec![b' '; 1 << 20], b"\r\n".to_vec()].concat();
    (0..SENT_MIB).take_while(|_| stream.write_all(&piece).is_ok()).count()
}

/// Runs this for so many clients at once.
fn at_once<T: Send + 'static>(count: usize, run: impl Fn() -> T + Clone + Send + 'static) -> Vec<T> {
    let threads: Vec<_> = (0..count).map(|_| std::thread::spawn(run.clone())).collect();
    threads.into_iter().map(|thread| thread.join().expect("it ends")).collect()
}

/// Requests whose rest never comes.
fn slow_clients(config: &Arc<ClientConfig>) -> Vec<Connection> {
    let head = format!("GET /api/v1/pods HTTP/1.1\r\nHost: localhost\r\nX-Long: {}", "x".repeat(32 << 10));
    let body = "POST /api/v1/namespaces/default/configmaps HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n";
    let body = format!("{body}Content-Length: 3000000\r\n\r\n{}", " ".repeat(1 << 20));
    let slow = |said: &str| {
        let mut stream = connect(config);
        // Those for whose body there is no place are not listened to.
        let _ = stream.write_all(said.as_bytes());
        stream
    };
    (0..SENDERS).flat_map(|_| [slow(&head), slow(&body)]).collect()
}

/// What no client of a protocol says, and how the connection begins on which it is said.
fn broken_frames() -> Vec<(&'static str, String, Vec<u8>)> {
    let path = "/api/v1/namespaces/default/pods/web";
    let socket = |part: &str, protocol: &str| {
        let upgrade =
            "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==";
        format!("GET {path}/{part} HTTP/1.1\r\nHost: localhost\r\n{upgrade}\r\nSec-WebSocket-Protocol: {protocol}\r\n\r\n")
    };
    let spdy = |part: &str, protocol: &str| {
        let upgrade = "Connection: Upgrade\r\nUpgrade: SPDY/3.1\r\nX-Stream-Protocol-Version";
        format!("POST {path}/{part} HTTP/1.1\r\nHost: localhost\r\n{upgrade}: {protocol}\r\n\r\n")
    };
    let exec = "exec?command=cat&stdin=1&stdout=1";
    let (channels, session, forward) = ("v5.channel.k8s.io", "v4.channel.k8s.io", "portforward.k8s.io");
    let much = |head: &[u8]| [head, &vec![0; 2 << 20][..]].concat();
    vec![
        ("a WebSocket frame without mask", socket(exec, channels), vec![0x82, 1, 0]),
        ("a WebSocket frame of 2^63 bytes", socket(exec, channels), much(&[0x82, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff])),
        ("a WebSocket frame of an unknown kind", socket(exec, channels), vec![0xf3, 0x80, 0, 0, 0, 0]),
        ("an end of nothing begun", socket(exec, channels), vec![0x80, 0x80, 0, 0, 0, 0]),
        ("a frame in a tunnel that is none", socket("portforward", "SPDY/3.1+portforward.k8s.io"), vec![0x82, 0x81, 0, 0, 0, 0, 0xff]),
        ("SPDY data of a stream that there is not", spdy(exec, session), vec![0, 0, 0, 9, 0, 0, 0, 1, 0]),
        ("a SPDY frame of 16 MiB", spdy(exec, session), much(&[0x80, 3, 0, 1, 0, 0xff, 0xff, 0xff])),
        ("a SPDY frame of another version", spdy("portforward", forward), vec![0x80, 9, 0, 1, 0, 0, 0, 0]),
        (
            "headers that do not unpack",
            spdy("portforward", forward),
            vec![0x80, 3, 0, 1, 0, 0, 0, 12, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0xff, 0xff],
        ),
    ]
}

/// Says something broken, and that nothing more comes; the server has to close.
fn say_broken(config: &Arc<ClientConfig>, what: &str, head: &str, frame: &[u8]) {
    let mut stream = connect(config);
    stream.write_all(head.as_bytes()).expect("asked");
    let answer = read_until(&mut stream, "\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 101 "), "{what}: {answer}");
    // It may close before it has taken all.
    let _ = stream.write_all(frame);
    stream.conn.send_close_notify();
    let _ = stream.flush();
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer) {
            Ok(1..) => {}
            Ok(0) => return,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => panic!("{what}: the connection stays"),
            Err(_) => return,
        }
    }
}

#[test]
fn clients_that_send_too_much_too_slowly_or_nonsense_take_bounded_memory_and_harm_no_pod() {
    let test = "clients_that_send_too_much_too_slowly_or_nonsense_take_bounded_memory_and_harm_no_pod";
    let Some(machine) = machine(test) else { return };
    let served = Served::start(&machine);
    served.start_pod();
    let (admin, stranger) = (client(&served), stranger(&served));
    // What the first clients make the daemon prepare is not counted.
    drop(watch(&admin));
    let (before, container) = (memory(&served), served.pod()["status"]["containerStatuses"][0].clone());
    forget_peak(&served);

    for (config, path) in [(&admin, "/api/v1/namespaces/default/configmaps"), (&stranger, "/ui/session")] {
        let config = Arc::clone(config);
        let taken = at_once(SENDERS, move || send_without_end(&config, path));
        assert!(taken.iter().all(|pieces| *pieces < SENT_MIB), "{path}: {taken:?}");
    }
    let slow = slow_clients(&admin);
    for (what, head, frame) in broken_frames() {
        for _ in 0..8 {
            say_broken(&admin, what, &head, &frame);
        }
    }
    // It answers others while they wait.
    let after = served.pod()["status"]["containerStatuses"][0].clone();
    let grown = peak(&served).saturating_sub(before);
    drop(slow);
    #[expect(clippy::print_stderr, reason = "a figure of the documentation")]
    {
        eprintln!("hostile clients: {grown} KiB at most; {before} KiB before");
    }
    assert!(grown <= HOSTILE_KIB_MAX, "hostile clients took {grown} KiB");
    for field in ["containerID", "restartCount", "state", "ready"] {
        assert_eq!(after[field], container[field], "{field}");
    }
    assert_eq!(served.ok(&["exec", "web", "--", "sh", "-c", "echo inside"]), "inside\n");
    served.ok(&["delete", "pod", "web"]);
}
