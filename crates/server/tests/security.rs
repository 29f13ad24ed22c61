//! What the server refuses, and what it bounds.

mod support;

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::jiff::SignedDuration;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use server::security::certificates::{Certificates, Pair};
use server::security::identity::Renewal;
use server::{Patience, SECRETS_FOLDER};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use support::{Scene, scene, scene_with_patience};

/// How long any answer may take.
const ANSWER_TIME: Duration = Duration::from_secs(30);

fn pair(scene: &Scene, name: &str) -> Pair {
    let folder = scene.path("root").join(SECRETS_FOLDER);
    let read = |file: String| std::fs::read_to_string(folder.join(file)).expect("readable");
    Pair { certificate: read(format!("{name}.crt")), key: read(format!("{name}.key")) }
}

async fn connect(scene: &Scene, identity: Option<&Pair>) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    let authority = pair(scene, "ca").certificate;
    roots.add(CertificateDer::from_pem_slice(authority.as_bytes()).expect("a certificate")).expect("an authority");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots);
    let config = match identity {
        None => builder.with_no_client_auth(),
        Some(pair) => {
            let certificate = CertificateDer::from_pem_slice(pair.certificate.as_bytes()).expect("a certificate");
            let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).expect("a key");
            builder.with_client_auth_cert(vec![certificate], key).expect("they fit")
        }
    };
    let stream = TcpStream::connect(scene.server.addresses()[0]).await?;
    let name = ServerName::try_from("localhost").expect("a name");
    TlsConnector::from(Arc::new(config)).connect(name, stream).await
}

/// Sends a request and gives the code of the answer and its text.
async fn ask(scene: &Scene, identity: Option<&Pair>, request: &str) -> std::io::Result<(u16, String)> {
    let mut stream = connect(scene, identity).await?;
    stream.write_all(request.as_bytes()).await?;
    answer(&mut stream).await
}

async fn answer(stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> std::io::Result<(u16, String)> {
    let mut bytes = Vec::new();
    let read = tokio::time::timeout(ANSWER_TIME, stream.read_to_end(&mut bytes)).await.expect("an answer in time");
    let text = String::from_utf8_lossy(&bytes).into_owned();
    if text.is_empty() {
        read?;
    }
    let code = text.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
    Ok((code, text))
}

fn get(path: &str, more: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{more}\r\n")
}

fn request(method: &str, path: &str, body: &str) -> String {
    let head = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n");
    format!("{head}Content-Length: {}\r\n\r\n{body}", body.len())
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_anonymous_but_for_health() {
    let scene = scene().await;
    for path in ["/healthz", "/livez", "/readyz"] {
        assert_eq!(ask(&scene, None, &get(path, "")).await.expect("answered").0, 200, "{path}");
    }
    for path in ["/", "/api", "/version", "/metrics", "/openapi/v3", "/api/v1/pods", "/api/v1/namespaces/default/pods/x/exec"] {
        let (code, text) = ask(&scene, None, &get(path, "")).await.expect("answered");
        assert_eq!(code, 401, "{path}: {text}");
    }
    let (code, _) = ask(&scene, None, &get("/api/v1/pods", "Authorization: Bearer nonsense\r\n")).await.expect("answered");
    assert_eq!(code, 401);
    // Of the page everyone may have the files, and nothing that it shows.
    for (path, expected) in [
        ("/ui", 303),
        ("/ui/", 200),
        ("/ui/page.js", 200),
        ("/ui/pods", 401),
        ("/ui/life?uid=x", 401),
        ("/ui/log?namespace=default&name=x&uid=u&container=a", 401),
        ("/ui/nothing", 401),
    ] {
        let (code, text) = ask(&scene, None, &get(path, "")).await.expect("answered");
        assert_eq!(code, expected, "{path}: {text}");
    }
    for (method, path) in [("DELETE", "/ui/session"), ("POST", "/ui/code"), ("PUT", "/ui/session"), ("POST", "/ui/pods")] {
        let (code, text) = ask(&scene, None, &request(method, path, "{}")).await.expect("answered");
        assert_eq!(code, 401, "{method} {path}: {text}");
    }
    for body in ["{\"token\":\"nonsense\"}", "{\"code\":\"nonsense\"}"] {
        let (code, text) = ask(&scene, None, &request("POST", "/ui/session", body)).await.expect("answered");
        assert_eq!(code, 401, "{body}: {text}");
    }
    let (code, text) = ask(&scene, None, &get("/ui/me", "")).await.expect("answered");
    assert!(code == 200 && text.ends_with("{\"user\":null}"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_certificates_of_this_authority_that_are_valid_count() {
    let scene = scene().await;
    let admin = pair(&scene, "admin");
    assert_eq!(ask(&scene, Some(&admin), &get("/api/v1/pods", "")).await.expect("answered").0, 200);
    // A certificate of another authority, for the same name and group.
    let other = tempfile::tempdir().expect("a folder");
    let now = "2026-01-01T00:00:00Z".parse().expect("a time");
    let foreign = Certificates::load_or_make(other.path(), &[], now).expect("made").admin;
    assert!(ask(&scene, Some(&foreign), &get("/api/v1/pods", "")).await.is_err());
    // One of this authority that is over.
    let folder = scene.path("expired");
    std::fs::create_dir(&folder).expect("a folder");
    for file in ["ca.crt", "ca.key"] {
        std::fs::copy(scene.path("root").join(SECRETS_FOLDER).join(file), folder.join(file)).expect("copied");
    }
    let long_ago = "2020-01-01T00:00:00Z".parse().expect("a time");
    let expired = Certificates::load_or_make(&folder, &[], long_ago).expect("made").admin;
    assert!(ask(&scene, Some(&expired), &get("/api/v1/pods", "")).await.is_err());
}

/// Certificates that were made so long ago that they are good for six weeks more.
const ALMOST_OVER_DAYS: i64 = 320;

#[tokio::test(flavor = "multi_thread")]
async fn certificates_that_end_soon_are_made_anew_while_the_server_runs() {
    let scene = scene().await;
    let secrets = scene.path("root").join(SECRETS_FOLDER);
    let shown = async |identity: &Pair| {
        let stream = connect(&scene, Some(identity)).await.expect("connected");
        stream.get_ref().1.peer_certificates().expect("the server's")[0].to_vec()
    };
    let (first, before) = (pair(&scene, "admin"), shown(&pair(&scene, "admin")).await);
    assert_eq!(scene.server.renew_certificates().expect("looked"), Renewal::NothingToDo);
    assert_eq!(shown(&first).await, before);

    // Years have almost passed for all but the authority.
    let old = scene.path("old");
    std::fs::create_dir(&old).expect("a folder");
    for file in ["ca.crt", "ca.key"] {
        std::fs::copy(secrets.join(file), old.join(file)).expect("copied");
    }
    let long_ago = server::registry::now() - SignedDuration::from_hours(ALMOST_OVER_DAYS * 24);
    Certificates::load_or_make(&old, &[], long_ago).expect("made");
    for name in ["server", "admin", "read-only"] {
        for file in [format!("{name}.crt"), format!("{name}.key")] {
            std::fs::copy(old.join(&file), secrets.join(&file)).expect("copied");
        }
    }
    let (stale, kubeconfig) = (pair(&scene, "admin"), std::fs::read_to_string(scene.server.kubeconfig()).expect("readable"));
    assert_eq!(scene.server.renew_certificates().expect("renewed"), Renewal::Done);
    let fresh = pair(&scene, "admin");
    assert_ne!(fresh, stale, "it would have ended soon");
    assert_ne!(shown(&fresh).await, before, "whoever connects is shown the new one");
    assert_ne!(std::fs::read_to_string(scene.server.kubeconfig()).expect("readable"), kubeconfig, "users find the new one");
    for identity in [&first, &stale, &fresh] {
        let (code, text) = ask(&scene, Some(identity), &get("/api/v1/pods", "")).await.expect("answered");
        assert_eq!(code, 200, "what is still good goes on: {text}");
    }

    // Whoever removes the folder waits for the next start.
    std::fs::remove_dir_all(&secrets).expect("removed");
    assert_eq!(scene.server.renew_certificates().expect("looked"), Renewal::OtherAuthority);
    assert!(!secrets.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_have_the_rights_of_their_users() {
    let scene = scene().await;
    let token =
        |file: &str| std::fs::read_to_string(scene.path("root").join(SECRETS_FOLDER).join(file)).expect("readable").trim().to_owned();
    let with = |token: &str| format!("Authorization: Bearer {token}\r\n");
    let (admin, read_only) = (with(&token("admin.token")), with(&token("read-only.token")));
    for (header, path, expected) in [
        (&admin, "/api/v1/secrets", 200),
        (&read_only, "/api/v1/pods", 200),
        (&read_only, "/api/v1/secrets", 403),
        (&read_only, "/api/v1/namespaces/default/secrets/x", 403),
        (&read_only, "/api/v1/namespaces/default/pods/x/log", 403),
        (&read_only, "/api/v1/namespaces/default/pods/x/exec?command=sh&stdout=1", 403),
        (&read_only, "/api/v1/namespaces/default/pods/x/portforward", 403),
        (&read_only, "/api/v1/secrets?watch=1", 403),
    ] {
        let (code, text) = ask(&scene, None, &get(path, header)).await.expect("answered");
        assert_eq!(code, expected, "{path}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn names_do_not_leave_their_place() {
    let scene = scene().await;
    let admin = pair(&scene, "admin");
    for path in [
        "/api/v1/namespaces/default/pods/..",
        "/api/v1/namespaces/default/pods/%2e%2e%2f%2e%2e%2fetc%2fpasswd",
        "/api/v1/namespaces/default/pods/..%00/log",
        "/api/v1/namespaces/..%2f..%2fx/pods/y",
        "/api/v1/namespaces/default/pods/x/log/../../../nodes",
    ] {
        let (code, text) = ask(&scene, Some(&admin), &get(path, "")).await.expect("answered");
        assert_eq!(code, 404, "{path}: {text}");
    }
    let body = r#"{"metadata":{"name":"../../x"},"spec":{"containers":[{"name":"a","image":"b"}]}}"#;
    let request = format!(
        "POST /api/v1/namespaces/default/pods HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let (code, text) = ask(&scene, Some(&admin), &request).await.expect("answered");
    assert_eq!(code, 422, "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn large_bodies_are_refused_before_they_are_held() {
    let scene = scene().await;
    let admin = pair(&scene, "admin");
    // One that says its length.
    let head =
        "POST /api/v1/namespaces/default/pods HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n";
    let (code, text) = ask(&scene, Some(&admin), &format!("{head}Content-Length: 104857600\r\n\r\n")).await.expect("answered");
    assert_eq!(code, 413, "{text}");
    // One that does not: 100 MiB in pieces.
    let mut stream = connect(&scene, Some(&admin)).await.expect("connected");
    stream.write_all(format!("{head}Transfer-Encoding: chunked\r\n\r\n").as_bytes()).await.expect("written");
    let piece = [b"100000\r\n".to_vec(), vec![b' '; 1 << 20], b"\r\n".to_vec()].concat();
    let (mut reader, mut writer) = tokio::io::split(stream);
    let sending = tokio::spawn(async move {
        let mut sent = 0;
        while sent < 100 && writer.write_all(&piece).await.is_ok() {
            sent += 1;
        }
        sent
    });
    let (code, text) = answer(&mut reader).await.expect("answered");
    assert_eq!(code, 413, "{text}");
    drop(reader);
    let sent = sending.await.expect("the sender ends");
    assert!(sent < 100, "the server took all of it");
}

/// Bodies of 2 MiB of which 32 fit into what all bodies may hold; the last byte of each never comes.
const STALLED: usize = 40;
const STALLED_FIT: usize = 32;

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_wait_hold_bounded_memory_and_those_beyond_it_are_told_to_come_back() {
    let scene = scene().await;
    let admin = pair(&scene, "admin");
    let path = "/api/v1/namespaces/default/configmaps";
    let mut body = request("POST", path, &" ".repeat(2 << 20)).into_bytes();
    body.pop();
    let body = Arc::new(body);
    let (refused, mut refusals) = tokio::sync::mpsc::unbounded_channel();
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..STALLED {
        let stream = connect(&scene, Some(&admin)).await.expect("connected");
        let (body, refused) = (Arc::clone(&body), refused.clone());
        clients.spawn(async move {
            let (mut reader, mut writer) = tokio::io::split(stream);
            let sending = async {
                let _ = writer.write_all(&body).await;
                std::future::pending::<()>().await;
            };
            let mut text = Vec::new();
            tokio::select! {
                () = sending => {}
                _ = reader.read_to_end(&mut text) => { let _ = refused.send(String::from_utf8_lossy(&text).into_owned()); }
            }
        });
    }
    let mut told = 0;
    for _ in STALLED_FIT..STALLED {
        let text = tokio::time::timeout(ANSWER_TIME, refusals.recv()).await.expect("more than fit are held").expect("told");
        // An answer may be lost when the connection is closed before all of the body is read.
        assert!(text.is_empty() || text.starts_with("HTTP/1.1 429 "), "{text}");
        told += usize::from(!text.is_empty());
    }
    assert!(told > 0, "nobody is told why");
    let (code, text) = ask(&scene, Some(&admin), &get(path, "")).await.expect("answered");
    assert_eq!(code, 200, "who sends nothing is answered: {text}");
    // Who goes away gives the places back.
    clients.shutdown().await;
    let deadline = std::time::Instant::now() + ANSWER_TIME;
    let large = format!("{{\"metadata\":{{\"name\":\"m\"}},\"data\":{{\"x\":\"{}\"}}}}", "x".repeat(1 << 19));
    loop {
        let answered = ask(&scene, Some(&admin), &request("POST", path, &large)).await;
        match answered {
            Ok((201, _)) => return,
            Ok((0 | 429, _)) | Err(_) => assert!(std::time::Instant::now() < deadline, "the places are lost"),
            Ok((code, text)) => panic!("{code}: {text}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_can_send_little_and_take_no_places_of_those_who_are_known() {
    let scene = scene().await;
    let admin = pair(&scene, "admin");
    let (code, text) = ask(&scene, None, &request("POST", "/ui/session", &" ".repeat((16 << 10) + 1))).await.expect("answered");
    assert_eq!(code, 413, "{text}");
    let head = "POST /ui/session HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n";
    let chunked = format!("{head}Transfer-Encoding: chunked\r\n\r\n5000\r\n{}\r\n0\r\n\r\n", " ".repeat(0x5000));
    let (code, text) = ask(&scene, None, &chunked).await.expect("answered");
    assert_eq!(code, 413, "{text}");
    // Bodies that never come, of whoever: those of strangers fill their own places only.
    let mut waiting = Vec::new();
    let deadline = std::time::Instant::now() + ANSWER_TIME;
    let text = loop {
        assert!(waiting.len() < 65 && std::time::Instant::now() < deadline, "{} sessions are being begun", waiting.len());
        let mut stream = connect(&scene, None).await.expect("connected");
        stream.write_all(format!("{head}Content-Length: 100\r\nExpect: 100-continue\r\n\r\n").as_bytes()).await.expect("written");
        let mut begun = [0; 12];
        tokio::time::timeout(ANSWER_TIME, stream.read_exact(&mut begun)).await.expect("in time").expect("answered");
        if &begun != b"HTTP/1.1 100" {
            break String::from_utf8_lossy(&begun).into_owned();
        }
        waiting.push(stream);
    };
    assert_eq!((text.as_str(), waiting.len()), ("HTTP/1.1 429", 64));
    let (code, text) = ask(&scene, Some(&admin), &get("/api/v1/pods", "")).await.expect("answered");
    assert_eq!(code, 200, "{text}");
    let (code, text) = ask(&scene, Some(&admin), &request("POST", "/ui/code", "{}")).await.expect("answered");
    assert_eq!(code, 201, "{text}");
}

/// Ways of being slow, and what is said before.
const SLOW: [(&str, &str); 5] = [
    ("nothing after the greeting", ""),
    ("half a word", "GE"),
    ("a head without end", "GET /api/v1/pods HTTP/1.1\r\nHost: localhost\r\nX-"),
    (
        "a body without end",
        "POST /api/v1/namespaces HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{",
    ),
    ("no second request", "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"),
];

#[tokio::test(flavor = "multi_thread")]
async fn slow_clients_are_let_go_and_hold_up_nobody() {
    let time = Duration::from_secs(3);
    let scene = scene_with_patience(Patience { handshake: time, head: time, body: time, ..Patience::default() }).await;
    let admin = pair(&scene, "admin");
    let mut slow = Vec::new();
    for _ in 0..10 {
        let stream = TcpStream::connect(scene.server.addresses()[0]).await.expect("connected");
        slow.push(("no greeting", tokio::spawn(until_closed(stream))));
        for (what, said) in SLOW {
            let mut stream = connect(&scene, Some(&admin)).await.expect("connected");
            stream.write_all(said.as_bytes()).await.expect("written");
            slow.push((what, tokio::spawn(until_closed(stream))));
        }
    }
    let (code, text) = ask(&scene, Some(&admin), &get("/api/v1/namespaces", "")).await.expect("answered");
    assert_eq!(code, 200, "{text}");
    for (what, closed) in slow {
        let text = closed.await.unwrap_or_else(|_| panic!("it waits for a client that says {what}"));
        assert_eq!(text.contains("HTTP/1.1 408 "), what == "a body without end", "{what}: {text}");
        assert_eq!(text.contains("HTTP/1.1 200 "), what == "no second request", "{what}: {text}");
    }
}

/// What comes until the other side closes.
async fn until_closed(mut stream: impl tokio::io::AsyncRead + Unpin) -> String {
    let mut bytes = Vec::new();
    // Broken or ended, it is over.
    let _ = tokio::time::timeout(ANSWER_TIME, stream.read_to_end(&mut bytes)).await.expect("it is closed");
    String::from_utf8_lossy(&bytes).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn names_of_containers_do_not_leave_their_pod() {
    let scene = scene().await;
    let admin = pair(&scene, "admin");
    let pod = serde_json::json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "p", "namespace": "default" }, "spec": { "containers": [{ "name": "a", "image": "x" }] },
    });
    let pods = server::kinds::stored("pods");
    scene.server.registry().create(pods, "default", pod, &server::registry::WriteOptions::of("test")).await.expect("created");
    for container in ["..", "../a", "..%2f..%2fother_pod_uid%2fa", "a%00", "%2fetc", "a%2f..%2fa"] {
        for part in ["log?", "exec?command=true&stdout=1&", "attach?stdout=1&"] {
            let path = format!("/api/v1/namespaces/default/pods/p/{part}container={container}");
            let (code, text) = ask(&scene, Some(&admin), &get(&path, "")).await.expect("answered");
            assert!(code == 400 && text.contains("is not valid for pod p"), "{path}: {text}");
        }
        let path = format!("/ui/log?namespace=default&name=p&uid=u&container={container}");
        let (code, text) = ask(&scene, Some(&admin), &get(&path, "")).await.expect("answered");
        assert!(code == 400 && text.contains("is no container"), "{path}: {text}");
    }
    for port in ["0", "65536", "-1", "x", "80,0"] {
        let path = format!("/api/v1/namespaces/default/pods/p/portforward?ports={port}");
        let (code, text) = ask(&scene, Some(&admin), &get(&path, "")).await.expect("answered");
        assert!(code == 400 && text.contains("must be a number from 1 to 65535"), "{path}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_read_its_watch_holds_up_nobody() {
    let scene = scene().await;
    let admin = pair(&scene, "admin");
    // Watches that are never read.
    let mut idle = Vec::new();
    for _ in 0..50 {
        let mut stream = connect(&scene, Some(&admin)).await.expect("connected");
        stream.write_all(get("/api/v1/configmaps?watch=1", "").as_bytes()).await.expect("written");
        idle.push(stream);
    }
    let registry = scene.server.registry();
    let kind = server::kinds::stored("configmaps");
    let text = "x".repeat(200_000);
    let begun = std::time::Instant::now();
    for number in 0..100 {
        let object = serde_json::json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": format!("m{number}"), "namespace": "default" }, "data": { "x": text },
        });
        registry.create(kind, "default", object, &server::registry::WriteOptions::of("test")).await.expect("created");
    }
    assert!(begun.elapsed() < Duration::from_secs(20), "writers wait for readers: {:?}", begun.elapsed());
    let (code, _) = ask(&scene, Some(&admin), &get("/api/v1/namespaces/default/configmaps/m99", "")).await.expect("answered");
    assert_eq!(code, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_upgrades_and_frames_are_refused() {
    let scene = scene().await;
    let admin = pair(&scene, "admin");
    let pod = serde_json::json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "p", "namespace": "default" }, "spec": { "containers": [{ "name": "a", "image": "x" }] },
    });
    let pods = server::kinds::stored("pods");
    scene.server.registry().create(pods, "default", pod, &server::registry::WriteOptions::of("test")).await.expect("created");
    let exec = "/api/v1/namespaces/default/pods/p/exec?command=cat&stdin=1&stdout=1";
    let socket = |more: &str| {
        format!(
            "GET {exec} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n{more}\r\n"
        )
    };
    for (what, request) in [
        ("no upgrade", get(exec, "")),
        ("no key", socket("Sec-WebSocket-Protocol: v5.channel.k8s.io\r\n")),
        ("unknown protocol", socket("Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: v9\r\n")),
        ("no command", get("/api/v1/namespaces/default/pods/p/exec?stdout=1", "")),
        ("no stream", get("/api/v1/namespaces/default/pods/p/exec?command=x", "")),
    ] {
        let mut stream = connect(&scene, Some(&admin)).await.expect("connected");
        stream.write_all(request.as_bytes()).await.expect("written");
        let mut head = [0; 12];
        tokio::time::timeout(ANSWER_TIME, stream.read_exact(&mut head)).await.expect("in time").expect("answered");
        assert_eq!(&head, b"HTTP/1.1 400", "{what}");
    }
    let mut stream = connect(&scene, Some(&admin)).await.expect("connected");
    let request = socket("Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: v5.channel.k8s.io\r\n");
    stream.write_all(request.as_bytes()).await.expect("written");
    let mut head = [0; 12];
    stream.read_exact(&mut head).await.expect("answered");
    assert_eq!(&head, b"HTTP/1.1 101");
    // A frame that is not masked ends the connection.
    stream.write_all(&[0x82, 1, 0]).await.expect("written");
    let mut rest = Vec::new();
    let ended = tokio::time::timeout(ANSWER_TIME, stream.read_to_end(&mut rest)).await;
    assert!(ended.is_ok(), "the connection goes on");
}

#[tokio::test(flavor = "multi_thread")]
async fn root_of_the_machine_needs_no_certificate() {
    let scene = scene().await;
    let mut stream = UnixStream::connect(scene.path("api.sock")).await.expect("connected");
    stream.write_all(get("/api/v1/secrets", "").as_bytes()).await.expect("written");
    let (code, text) = answer(&mut stream).await.expect("answered");
    assert_eq!(code, 200, "{text}");
    use std::os::unix::fs::PermissionsExt as _;
    let mode = std::fs::metadata(scene.path("api.sock")).expect("there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_is_there_after_a_restart() {
    let scene = scene().await;
    let kind = server::kinds::stored("configmaps");
    let object = serde_json::json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "m", "namespace": "default" } });
    let (created, _) =
        scene.server.registry().create(kind, "default", object, &server::registry::WriteOptions::of("test")).await.expect("created");
    let Scene { server, folder, .. } = scene;
    let kubeconfig = std::fs::read_to_string(server.kubeconfig()).expect("readable");
    tokio::time::timeout(ANSWER_TIME, server.stop()).await.expect("it stops");
    let again = support::start(folder.path(), Arc::new(support::MadeUp)).await;
    assert_eq!(again.registry().get(kind, "default", "m").expect("there"), created);
    let certificate = |text: &str| text.lines().find(|line| line.contains("client-certificate-data")).map(ToOwned::to_owned);
    let after = std::fs::read_to_string(again.kubeconfig()).expect("readable");
    assert_eq!(certificate(&after), certificate(&kubeconfig), "clients go on with what they have");
    again.stop().await;
}
