//! Clients that take more than they should, and what the daemon and its pods make of it.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

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

type Connection = StreamOwned<ClientConnection, TcpStream>;

fn client(served: &Served<'_>) -> Arc<ClientConfig> {
    let secrets = served.machine.root().join("server/pki");
    let read = |file: &str| std::fs::read(secrets.join(file)).expect("readable");
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(&read("ca.crt")).expect("a certificate")).expect("an authority");
    let certificate = CertificateDer::from_pem_slice(&read("admin.crt")).expect("a certificate");
    let key = PrivateKeyDer::from_pem_slice(&read("admin.key")).expect("a key");
    let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().expect("versions").with_root_certificates(roots);
    Arc::new(builder.with_client_auth_cert(vec![certificate], key).expect("they fit"))
}

/// A watch that has begun.
fn watch(config: &Arc<ClientConfig>) -> Connection {
    let socket = TcpStream::connect("127.0.0.1:6443").expect("connected");
    socket.set_read_timeout(Some(PATIENCE)).expect("set");
    let name = ServerName::try_from("localhost").expect("a name");
    let mut stream = StreamOwned::new(ClientConnection::new(Arc::clone(config), name).expect("a connection"), socket);
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
