use ::http::{HeaderValue, Response};
use h2::server::SendResponse;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::*;

const LOOPBACK: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
const TIMEOUT: Duration = Duration::from_secs(60);

/// What the server was asked: method and path, headers, and the message.
type Asked = JoinHandle<(String, HeaderMap, Vec<u8>)>;

/// A real server of HTTP/2 that answers one call.
async fn server(answer: impl FnOnce(SendResponse<Bytes>) + Send + 'static) -> (u16, Asked) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
    let port = listener.local_addr().expect("an address").port();
    let served = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.expect("a connection");
        let mut connection = h2::server::handshake(stream).await.expect("HTTP/2");
        let (request, respond) = connection.accept().await.expect("a call").expect("a call");
        // The connection moves only while it is asked for more.
        tokio::spawn(async move { while connection.accept().await.is_some() {} });
        let (head, mut body) = request.into_parts();
        let mut message = Vec::new();
        while let Some(data) = body.data().await {
            message.extend_from_slice(&data.expect("data"));
        }
        answer(respond);
        (format!("{} {}", head.method, head.uri.path()), head.headers, message)
    });
    (port, served)
}

fn trailers(code: &'static str, message: &'static str) -> HeaderMap {
    let entries = [("grpc-status", code), ("grpc-message", message)];
    entries.into_iter().map(|(name, value)| (name.parse().expect("a name"), HeaderValue::from_static(value))).collect()
}

fn answering(message: &'static [u8]) -> impl FnOnce(SendResponse<Bytes>) + Send {
    move |mut respond| {
        let head = Response::builder().header("content-type", "application/grpc").body(()).expect("a head");
        let mut stream = respond.send_response(head, false).expect("sent");
        stream.send_data(Bytes::from_static(message), false).expect("sent");
        stream.send_trailers(trailers("0", "")).expect("sent");
    }
}

async fn check_answer(answer: impl FnOnce(SendResponse<Bytes>) + Send + 'static, expected: Option<&str>) {
    let (port, asked) = server(answer).await;
    let outcome = check(LOOPBACK, port, "my.service", TIMEOUT).await;
    let expected = expected.map_or(ProbeOutcome::Success, |output| ProbeOutcome::Failure { output: output.to_owned() });
    assert_eq!(outcome, expected);
    let (call, headers, message) = asked.await.expect("a call");
    assert_eq!(call, "POST /grpc.health.v1.Health/Check");
    assert_eq!(headers["content-type"], "application/grpc");
    assert_eq!(headers["te"], "trailers");
    // k8s: 7.f.3
    assert_eq!(headers["user-agent"], "kube-probe/1.36");
    assert_eq!(message, b"\0\0\0\0\x0c\x0a\x0amy.service");
}

/// k8s: 7.f.2
#[tokio::test]
async fn only_serving_is_a_success() {
    check_answer(answering(b"\0\0\0\0\x02\x08\x01"), None).await;
    check_answer(answering(b"\0\0\0\0\x02\x08\x02"), Some("service unhealthy (responded with \"NOT_SERVING\")")).await;
    check_answer(answering(b"\0\0\0\0\x02\x08\x03"), Some("service unhealthy (responded with \"SERVICE_UNKNOWN\")")).await;
    check_answer(answering(b"\0\0\0\0\0"), Some("service unhealthy (responded with \"UNKNOWN\")")).await;
    check_answer(answering(b"\0\0\0\0\x02\x08\x09"), Some("service unhealthy (responded with \"9\")")).await;
    // A field of a later version is passed over.
    check_answer(answering(b"\0\0\0\0\x06\x12\x02ab\x08\x01"), None).await;
}

fn ending(code: &'static str, message: &'static str) -> impl FnOnce(SendResponse<Bytes>) + Send {
    move |mut respond| {
        let mut head = Response::builder().header("content-type", "application/grpc").body(()).expect("a head");
        head.headers_mut().extend(trailers(code, message));
        respond.send_response(head, true).expect("sent");
    }
}

/// k8s: 7.f.2
#[tokio::test]
async fn an_error_of_the_call_is_told_in_the_words_of_the_reference() {
    check_answer(
        ending("12", "unknown service grpc.health.v1.Health"),
        Some(
            "error: this server does not implement the grpc health protocol (grpc.health.v1.Health): unknown service grpc.health.v1.Health",
        ),
    )
    .await;
    check_answer(ending("4", "late"), Some("timeout: health rpc did not complete within 1m0s")).await;
    check_answer(
        ending("5", "no such%20service %C3%A4"),
        Some("error: health rpc probe failed: rpc error: code = NotFound desc = no such service ä"),
    )
    .await;
    check_answer(ending("99", ""), Some("error: health rpc probe failed: rpc error: code = Code(99) desc = ")).await;
    let text = "error: health rpc probe failed: rpc error: code = Internal desc = grpc: error unmarshalling response";
    check_answer(answering(b"\0\0\0\0\x02\x08\xff"), Some(text)).await;
    let not_found = |mut respond: SendResponse<Bytes>| {
        respond.send_response(Response::builder().status(503).body(()).expect("a head"), true).expect("sent");
    };
    let text = "error: health rpc probe failed: rpc error: code = Unavailable desc = unexpected HTTP status code received from \
                server: 503 (Service Unavailable)";
    check_answer(not_found, Some(text)).await;
}

async fn check_timeout(port: u16, expected: &str) {
    let outcome = check(LOOPBACK, port, "", Duration::from_millis(200)).await;
    assert_eq!(outcome, ProbeOutcome::Failure { output: expected.to_owned() });
}

/// k8s: 7.f.2
#[tokio::test]
async fn whoever_does_not_speak_http_2_is_not_connected() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
    let port = listener.local_addr().expect("an address").port();
    let text = format!("timeout: failed to connect service \"127.0.0.1:{port}\" within 200ms: context deadline exceeded");
    // It accepts, and says nothing.
    check_timeout(port, &text).await;
    // It speaks HTTP/1.1.
    let served = tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        }
    });
    check_timeout(port, &text).await;
    served.abort();
    let _ = served.await;
    // Nobody is there.
    check_timeout(port, &text).await;
}

/// k8s: 7.f.2
#[tokio::test]
async fn a_call_without_an_answer_is_given_up() {
    let (port, _asked) = server(std::mem::forget).await;
    check_timeout(port, "timeout: health rpc did not complete within 200ms").await;
}

#[tokio::test]
async fn a_server_that_comes_late_is_found() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
    let port = listener.local_addr().expect("an address").port();
    let served = tokio::spawn(async move {
        // The first connection ends before it has begun.
        let (mut first, _) = listener.accept().await.expect("a connection");
        let _ = first.read(&mut [0; 1]).await;
        drop(first);
        let (stream, _) = listener.accept().await.expect("a connection");
        let mut connection = h2::server::handshake(stream).await.expect("HTTP/2");
        let (_, respond) = connection.accept().await.expect("a call").expect("a call");
        answering(b"\0\0\0\0\x02\x08\x01")(respond);
        while connection.accept().await.is_some() {}
    });
    assert_eq!(check(LOOPBACK, port, "", TIMEOUT).await, ProbeOutcome::Success);
    served.await.expect("served");
}
