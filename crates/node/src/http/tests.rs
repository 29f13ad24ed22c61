use std::sync::{Arc, Mutex};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;

/// A server on the loopback that keeps what it is asked and gives its answers one after another, each on a connection of its own.
struct Server {
    port: u16,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Server {
    async fn answering(answers: &[&str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
        let port = listener.local_addr().expect("an address").port();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (answers, kept) = (answers.iter().map(|answer| (*answer).to_owned()).collect::<Vec<_>>(), Arc::clone(&asked));
        tokio::spawn(async move {
            for answer in answers {
                let (mut stream, _) = listener.accept().await.expect("a connection");
                let request = read_request(&mut stream).await;
                kept.lock().expect("a list").push(request);
                stream.write_all(answer.as_bytes()).await.expect("written");
            }
        });
        Self { port, asked }
    }

    fn asked(&self) -> Vec<String> {
        let asked = self.asked.lock().expect("a list");
        asked.iter().map(|request| request.replace(&self.port.to_string(), "PORT").replace("\r\n", " | ")).collect()
    }

    fn get(&self, path: &str, headers: &[(&str, &str)]) -> HttpGet {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        HttpGet { host: None, port: HttpPort::Number(self.port), path: path.to_owned(), scheme: Scheme::Http, headers }
    }
}

/// Up to the empty line, or a TLS hello as one word.
async fn read_request(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => request.push(byte),
            Err(_) => break,
        }
        if request.starts_with(&[0x16, 0x03]) {
            return "TLS".to_owned();
        }
    }
    String::from_utf8_lossy(&request).into_owned()
}

const LOOPBACK: Option<IpAddr> = Some(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST));
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const PROBE: Purpose = Purpose::Probe { timeout: Duration::from_secs(60) };

async fn check_request(path: &str, headers: &[(&str, &str)], purpose: Purpose, expected: &str) {
    let server = Server::answering(&[OK]).await;
    get(&server.get(path, headers), LOOPBACK, purpose).await.expect("an answer");
    assert_eq!(server.asked(), [format!("{expected} |  | ")]);
}

/// The lines that the reference's requests had, recorded by their receiver.
///
/// k8s: 3.d.10, 3.d.12, 3.d.14, 7.e.1, 7.e.7
#[tokio::test]
async fn requests_are_those_of_the_reference_byte_by_byte() {
    let hook = Purpose::Hook;
    let host = "Host: 127.0.0.1:PORT";
    let hook_agent = "User-Agent: kube-lifecycle/1.36";
    let gzip = "Accept-Encoding: gzip";
    check_request("/status/200", &[], hook, &format!("GET /status/200 HTTP/1.1 | {host} | {hook_agent} | Accept: */* | {gzip}")).await;
    check_request("/status/500", &[], hook, &format!("GET /status/500 HTTP/1.1 | {host} | {hook_agent} | Accept: */* | {gzip}")).await;
    check_request(
        "/status/200?a=b",
        &[("X-Hook", "yes")],
        hook,
        &format!("GET /status/200?a=b HTTP/1.1 | {host} | {hook_agent} | Accept: */* | X-Hook: yes | {gzip}"),
    )
    .await;
    check_request(
        "/",
        &[("Host", "hook.example"), ("User-Agent", "mine/1")],
        hook,
        &format!("GET / HTTP/1.1 | Host: hook.example | User-Agent: mine/1 | Accept: */* | {gzip}"),
    )
    .await;
    check_request(
        "/healthz",
        &[],
        PROBE,
        &format!("GET /healthz HTTP/1.1 | {host} | User-Agent: kube-probe/1.36 | Accept: */* | Connection: close"),
    )
    .await;
}

/// k8s: 3.d.10, 3.d.11, 3.d.13
#[tokio::test]
async fn headers_of_the_user_are_named_sorted_and_repeated_as_go_does() {
    let start = "GET / HTTP/1.1 | Host: 127.0.0.1:PORT | User-Agent: kube-lifecycle/1.36";
    check_request(
        "/",
        &[("x-b", "2"), ("X-B", " 1 "), ("aCCept", ""), ("a-a", "first"), ("Content-Length", "7")],
        Purpose::Hook,
        &format!("{start} | A-A: first | X-B: 2 | X-B: 1 | Accept-Encoding: gzip"),
    )
    .await;
    check_request("/", &[("accept-encoding", "br")], Purpose::Hook, &format!("{start} | Accept: */* | Accept-Encoding: br")).await;
    check_request(
        "/",
        &[("User-Agent", ""), ("Connection", "close")],
        PROBE,
        "GET / HTTP/1.1 | Host: 127.0.0.1:PORT | Accept: */* | Connection: close",
    )
    .await;
}

#[tokio::test]
async fn no_header_value_can_start_a_new_line() {
    let server = Server::answering(&[]).await;
    let error = get(&server.get("/", &[("x-a", "1\r\nHost: other")]), LOOPBACK, Purpose::Hook).await;
    let text = format!("Get \"http://127.0.0.1:{}/\": net/http: invalid header field value for \"X-A\"", server.port);
    assert_eq!(error, Err(HttpError::Transport(text)));
}

/// k8s: 3.d.17
#[tokio::test]
async fn every_status_is_an_answer() {
    for (status, expected) in [("200 OK", 200), ("404 Not Found", 404), ("500 Oh", 500), ("301 Without a place", 301)] {
        let server = Server::answering(&[&format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n")]).await;
        let answer = get(&server.get("/", &[]), LOOPBACK, Purpose::Hook).await;
        assert_eq!(answer, Ok(HttpAnswer { status: expected, body: vec![], fell_back_to_http: false }));
    }
}

/// k8s: 3.d.19
#[tokio::test]
async fn a_hook_reads_no_body_that_is_too_large_and_waits_for_one_that_is_not() {
    let ended = async |head: &str, body: usize| {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
        let port = listener.local_addr().expect("an address").port();
        let wanted = HttpGet { host: None, port: HttpPort::Number(port), path: "/".to_owned(), scheme: Scheme::Http, headers: vec![] };
        let mut hook = tokio::spawn(async move { get(&wanted, LOOPBACK, Purpose::Hook).await });
        let (mut stream, _) = listener.accept().await.expect("a connection");
        read_request(&mut stream).await;
        stream.write_all(format!("HTTP/1.1 200 OK\r\n{head}\r\n{}", "x".repeat(body)).as_bytes()).await.expect("written");
        // The connection stays open: the end of the body is only what its length says.
        let waited = tokio::time::timeout(Duration::from_millis(300), &mut hook).await;
        hook.abort();
        waited.is_ok()
    };
    assert!(ended("Content-Length: 10241\r\n", 0).await, "a body over 10 KiB is not read");
    assert!(ended("Content-Length: 10240\r\n", 10_240).await, "a body of 10 KiB is read");
    assert!(ended("", 10_240).await, "of a body without a length the first 10 KiB are read");
    assert!(!ended("Content-Length: 10240\r\n", 10_239).await, "a body that does not end holds the hook up");
}

/// k8s: 7.e.6
#[tokio::test]
async fn a_probe_gets_the_first_10_kib_of_the_body() {
    let server = Server::answering(&[&format!("HTTP/1.1 200 OK\r\n\r\n{}", "x".repeat(20_000))]).await;
    let answer = get(&server.get("/", &[]), LOOPBACK, PROBE).await.expect("an answer");
    assert_eq!(answer.body.len(), 10_240);
}

fn redirect(status: u16, location: &str) -> String {
    format!("HTTP/1.1 {status} Go\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n")
}

/// k8s: 3.d.18
#[tokio::test]
async fn redirects_to_the_same_host_are_followed_with_the_same_headers() {
    let server = Server::answering(&[&redirect(302, "next?x"), OK]).await;
    let answer = get(&server.get("/a/b", &[("X-A", "1"), ("Host", "h.example")]), LOOPBACK, Purpose::Hook).await;
    assert_eq!(answer.map(|answer| answer.status), Ok(200));
    let second = "GET /a/next?x HTTP/1.1 | Host: h.example | User-Agent: kube-lifecycle/1.36 | Accept: */* | \
                  Referer: http://127.0.0.1:PORT/a/b | X-A: 1 | Accept-Encoding: gzip |  | ";
    assert_eq!(server.asked()[1], second);
}

/// k8s: 3.d.18
#[tokio::test]
async fn a_redirect_to_another_host_is_the_answer() {
    for location in ["http://localhost/x", "//elsewhere.invalid/x", "mailto:x"] {
        let server = Server::answering(&[&redirect(307, location)]).await;
        let answer = get(&server.get("/", &[]), LOOPBACK, Purpose::Hook).await;
        assert_eq!(answer.map(|answer| answer.status), Ok(307), "{location}");
    }
}

/// k8s: 3.d.18, 7.e.4
#[tokio::test]
async fn redirects_without_end_are_given_up_after_the_tenth() {
    let answers = vec![redirect(301, "/again"); 11];
    let server = Server::answering(&answers.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let error = get(&server.get("/", &[]), LOOPBACK, PROBE).await;
    assert_eq!(error, Err(HttpError::Transport("Get \"/again\": stopped after 10 redirects".to_owned())));
    assert_eq!(server.asked().len(), 10);
}

async fn check_error(get_: HttpGet, ip: Option<IpAddr>, expected: HttpError) {
    assert_eq!(get(&get_, ip, Purpose::Hook).await, Err(expected));
}

#[tokio::test]
async fn what_keeps_a_request_from_its_answer_is_told_in_gos_words() {
    let port = {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
        listener.local_addr().expect("an address").port()
    };
    let plain = HttpGet { host: None, port: HttpPort::Number(port), path: "/ok".to_owned(), scheme: Scheme::Http, headers: vec![] };
    let text = format!("Get \"http://127.0.0.1:{port}/ok\": dial tcp 127.0.0.1:{port}: connect: connection refused");
    check_error(plain.clone(), LOOPBACK, HttpError::Transport(text)).await;
    let ended = Server::answering(&[""]).await;
    let text = format!("Get \"http://127.0.0.1:{}/\": EOF", ended.port);
    check_error(ended.get("/", &[]), LOOPBACK, HttpError::Transport(text)).await;
    let unknown = HttpGet { host: Some("no-such-host.invalid".to_owned()), ..plain.clone() };
    let error = get(&unknown, LOOPBACK, Purpose::Hook).await.expect_err("an error").to_string();
    let prefix = format!("Get \"http://no-such-host.invalid:{port}/ok\": dial tcp: lookup no-such-host.invalid: ");
    assert!(error.starts_with(&prefix), "{error}");
    // k8s: 3.d.2, 3.d.5
    let text = "failed to find networking container: the pod has no address".to_owned();
    check_error(plain.clone(), None, HttpError::Request(text)).await;
    let text = "strconv.Atoi: parsing \"web\": invalid syntax".to_owned();
    check_error(HttpGet { port: HttpPort::Unresolved(text.clone()), ..plain }, LOOPBACK, HttpError::Request(text)).await;
}

/// k8s: 7.e.2
#[tokio::test]
async fn a_probe_gives_up_when_its_time_is_over() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
    let port = listener.local_addr().expect("an address").port();
    let silent = HttpGet { host: None, port: HttpPort::Number(port), path: "/".to_owned(), scheme: Scheme::Http, headers: vec![] };
    let purpose = Purpose::Probe { timeout: Duration::from_millis(50) };
    let text = format!("Get \"http://127.0.0.1:{port}/\": context deadline exceeded (Client.Timeout exceeded while awaiting headers)");
    assert_eq!(get(&silent, LOOPBACK, purpose).await, Err(HttpError::Transport(text)));
    drop(listener.accept().await.expect("the first connection"));
    let purpose = Purpose::Probe { timeout: Duration::from_millis(500) };
    let answer = tokio::spawn(async move { get(&silent, LOOPBACK, purpose).await });
    let (mut stream, _) = listener.accept().await.expect("a connection");
    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab").await.expect("written");
    let text = "context deadline exceeded (Client.Timeout or context cancellation while reading body)";
    assert_eq!(answer.await.expect("an answer"), Err(HttpError::Body(text.to_owned())));
}

/// k8s: 3.d.16, 7.e.2
#[tokio::test]
async fn a_hook_has_no_time_limit_and_a_probe_has_its_own() {
    assert_eq!(Purpose::Hook.deadline(), None);
    let left = PROBE.deadline().map(|deadline| deadline - Instant::now());
    assert!(left.is_some_and(|left| left <= Duration::from_secs(60) && left > Duration::from_secs(50)), "{left:?}");
}

#[tokio::test]
async fn dropping_the_request_closes_the_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
    let port = listener.local_addr().expect("an address").port();
    let silent = HttpGet { host: None, port: HttpPort::Number(port), path: "/".to_owned(), scheme: Scheme::Http, headers: vec![] };
    let running = tokio::spawn(async move { get(&silent, LOOPBACK, Purpose::Hook).await });
    let (mut stream, _) = listener.accept().await.expect("a connection");
    read_request(&mut stream).await;
    running.abort();
    assert_eq!(stream.read(&mut [0; 1]).await.expect("an end"), 0);
}

/// k8s: 3.d.20
#[tokio::test]
async fn a_hook_falls_back_from_https_to_http_and_tells_no_secret() {
    let server = Server::answering(&["HTTP/1.0 400 Bad Request\r\n\r\nnot TLS", OK]).await;
    let https = HttpGet { scheme: Scheme::Https, ..server.get("/ok", &[("Authorization", "Bearer x"), ("X-A", "1")]) };
    let answer = get(&https, LOOPBACK, Purpose::Hook).await;
    // k8s: 3.d.21
    assert_eq!(answer.map(|answer| (answer.status, answer.fell_back_to_http)), Ok((200, true)));
    let second = "GET /ok HTTP/1.1 | Host: 127.0.0.1:PORT | User-Agent: kube-lifecycle/1.36 | Accept: */* | X-A: 1 | \
                  Accept-Encoding: gzip |  | ";
    assert_eq!(server.asked(), ["TLS", second]);
}

/// k8s: 3.d.20
#[tokio::test]
async fn if_the_fallback_fails_too_the_first_error_is_told_and_probes_do_not_fall_back() {
    for purpose in [Purpose::Hook, PROBE] {
        let server = Server::answering(&["HTTP/1.1 400 Bad Request\r\n\r\n", ""]).await;
        let https = HttpGet { scheme: Scheme::Https, ..server.get("/", &[]) };
        let text = format!("Get \"https://127.0.0.1:{}/\": http: server gave HTTP response to HTTPS client", server.port);
        assert_eq!(get(&https, LOOPBACK, purpose).await, Err(HttpError::Transport(text)));
        assert_eq!(server.asked().len(), if purpose == Purpose::Hook { 2 } else { 1 });
    }
}

/// k8s: 3.d.15
#[tokio::test]
async fn a_certificate_of_somebody_else_that_expired_is_as_good_as_any() {
    let certificate = CertificateDer::from_pem_slice(CERTIFICATE.as_bytes()).expect("a certificate");
    let key = PrivateKeyDer::from_pem_slice(KEY.as_bytes()).expect("a key");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().expect("versions");
    let config = config.with_no_client_auth().with_single_cert(vec![certificate], key).expect("a configuration");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
    let port = listener.local_addr().expect("an address").port();
    let served = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.expect("a connection");
        let mut stream = tokio_rustls::TlsAcceptor::from(Arc::new(config)).accept(stream).await.expect("TLS");
        let request = read_request(&mut stream).await;
        // It hangs up without saying good-bye.
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nhello").await.expect("written");
        stream.flush().await.expect("flushed");
        request
    });
    let https = HttpGet { host: None, port: HttpPort::Number(port), path: "/".to_owned(), scheme: Scheme::Https, headers: vec![] };
    let answer = get(&https, LOOPBACK, PROBE).await;
    assert_eq!(answer, Ok(HttpAnswer { status: 200, body: b"hello".to_vec(), fell_back_to_http: false }));
    assert!(served.await.expect("a request").starts_with("GET / HTTP/1.1\r\n"));
}

#[tokio::test]
async fn what_is_no_tls_at_all_is_told_in_gos_words() {
    let server = Server::answering(&["220 mail ready\r\n"]).await;
    let https = HttpGet { scheme: Scheme::Https, ..server.get("/", &[]) };
    let text = format!("Get \"https://127.0.0.1:{}/\": tls: first record does not look like a TLS handshake", server.port);
    assert_eq!(get(&https, LOOPBACK, Purpose::Hook).await, Err(HttpError::Transport(text)));
}

/// Made for this test, and for `somebody-else.invalid`; it was good for one day.
const CERTIFICATE: &str = "\
-----BEGIN CERTIFICATE-----\n\
MIIBlDCCATugAwIBAgIUY3Rs2Raw2LKyANmj3fhpzL/cAuowCgYIKoZIzj0EAwIw\n\
IDEeMBwGA1UEAwwVc29tZWJvZHktZWxzZS5pbnZhbGlkMB4XDTI2MTEyMzE3MDAz\n\
NloXDTI2MTEyNDE3MDAzNlowIDEeMBwGA1UEAwwVc29tZWJvZHktZWxzZS5pbnZh\n\
bGlkMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAErnkz3E0nwBi33f1osM2mpJTw\n\
nRuABPeiRMZN92Hv5xBk3S3DpZqHnkI+E5Neij/Lo7llcwUQjfNufOtTZt5MOaNT\n\
MFEwHQYDVR0OBBYEFMxMbq8JmAXkhhxtRZXHKKzQGl5qMB8GA1UdIwQYMBaAFMxM\n\
bq8JmAXkhhxtRZXHKKzQGl5qMA8GA1UdEwEB/wQFMAMBAf8wCgYIKoZIzj0EAwID\n\
RwAwRAIgIdyFrrxatGdeNI6RgCeG15SGIdD1rLLrl+yeaEREjxcCIArTuVO2frID\n\
8Ko9Bo20uOoGQ0THf/tjdXaPKFU2emDv\n\
-----END CERTIFICATE-----\n\
";

/// Its key, which opens nothing.
const KEY: &str = "\
-----BEGIN PRIVATE KEY-----\n\
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgbxHCpaYXdDL6DTw3\n\
2dL4WfPtb3BJoaXW8LaB19Hv/rChRANCAASueTPcTSfAGLfd/WiwzaaklPCdG4AE\n\
96JExk33Ye/nEGTdLcOlmoeeQj4Tk16KP8ujuWVzBRCN825861Nm3kw5\n\
-----END PRIVATE KEY-----\n\
";
