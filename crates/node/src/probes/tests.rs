use lifecycle::{HttpGet, Scheme};
use runtime::Moment;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;

const LOOPBACK: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
const TIMEOUT: Duration = Duration::from_secs(60);

async fn attempt(handler: ProbeHandler) -> ProbeOutcome {
    ask(&handler, Some(LOOPBACK), TIMEOUT).await
}

fn failure(output: &str) -> ProbeOutcome {
    ProbeOutcome::Failure { output: output.to_owned() }
}

fn exec_result(exit_code: i32) -> ExecResult {
    let at = Moment { boot_nanos: 0, wall_nanos: 0 };
    ExecResult {
        exit_code,
        timed_out: false,
        killed: false,
        container_ended: false,
        stdout: "out\n".to_owned(),
        stderr: "err\n".to_owned(),
        truncated: false,
        started_at: at,
        finished_at: at,
    }
}

/// k8s: 7.d.3, 7.d.4
#[test]
fn a_command_tells_by_its_exit_code() {
    let command = ["sh", "-c", "say \"x\""].map(ToOwned::to_owned);
    let outcome = |ended| exec_outcome(&command, TIMEOUT, ended);
    assert_eq!(outcome(Ok(exec_result(0))), ProbeOutcome::Success);
    assert_eq!(outcome(Ok(exec_result(3))), failure("out\nerr\n"));
    let late = ExecResult { timed_out: true, ..exec_result(137) };
    assert_eq!(outcome(Ok(late)), failure("command timed out: \"sh -c say \\\"x\\\"\" timed out after 1m0s"));
    let long = ExecResult { stdout: "ä".repeat(6000), ..exec_result(1) };
    assert_eq!(outcome(Ok(long)), failure(&"ä".repeat(5120)));
    // k8s: 7.b.1
    let cut_short = ExecResult { container_ended: true, ..exec_result(137) };
    let error = ProbeOutcome::Error { error: "the container ended while the command ran".to_owned() };
    assert_eq!(outcome(Ok(cut_short)), error);
    let error = ProbeOutcome::Error { error: "container c is not running".to_owned() };
    assert_eq!(outcome(Err(ExecError::NotRunning { container: "c".to_owned() })), error);
}

async fn http_attempt(answer: &'static str) -> ProbeOutcome {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        let _ = stream.read(&mut [0; 4096]).await;
        let _ = stream.write_all(answer.as_bytes()).await;
    });
    let get = HttpGet { host: None, port: HttpPort::Number(port), path: "/".to_owned(), scheme: Scheme::Http, headers: vec![] };
    match attempt(ProbeHandler::HttpGet(get)).await {
        ProbeOutcome::Failure { output } => failure(&output.replace(&port.to_string(), "PORT")),
        other @ (ProbeOutcome::Success | ProbeOutcome::Warning { .. } | ProbeOutcome::Error { .. }) => other,
    }
}

/// k8s: 7.e.3, 7.e.5, 7.e.6
#[tokio::test]
async fn an_answer_tells_by_its_status() {
    assert_eq!(http_attempt("HTTP/1.1 204 No\r\n\r\n").await, ProbeOutcome::Success);
    let warning = ProbeOutcome::Warning { output: "Probe terminated redirects, Response body: moved".to_owned() };
    assert_eq!(http_attempt("HTTP/1.1 302 Go\r\nLocation: http://elsewhere.invalid/\r\n\r\nmoved").await, warning);
    assert_eq!(http_attempt("HTTP/1.1 304 Same\r\n\r\n").await, ProbeOutcome::Warning { output: warning_without_body() });
    assert_eq!(http_attempt("HTTP/1.1 500 Oh\r\n\r\nsecret").await, failure("HTTP probe failed with statuscode: 500"));
    assert_eq!(http_attempt("HTTP/1.1 404 No\r\n\r\n").await, failure("HTTP probe failed with statuscode: 404"));
    assert_eq!(http_attempt("").await, failure("Get \"http://127.0.0.1:PORT/\": EOF"));
    let error = ProbeOutcome::Error { error: "unexpected EOF".to_owned() };
    assert_eq!(http_attempt("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc").await, error);
}

fn warning_without_body() -> String {
    "Probe terminated redirects, Response body: ".to_owned()
}

/// k8s: 7.e.8
#[tokio::test]
async fn an_unknown_port_is_an_error_and_no_failure() {
    let text = "strconv.Atoi: parsing \"web\": invalid syntax";
    let port = HttpPort::Unresolved(text.to_owned());
    let error = ProbeOutcome::Error { error: text.to_owned() };
    let get = HttpGet { host: None, port: port.clone(), path: "/".to_owned(), scheme: Scheme::Http, headers: vec![] };
    assert_eq!(attempt(ProbeHandler::HttpGet(get)).await, error);
    assert_eq!(attempt(ProbeHandler::TcpSocket { host: None, port }).await, error);
}

/// k8s: 7.f.1
#[tokio::test]
async fn a_port_that_can_be_connected_to_is_a_success() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
    let number = listener.local_addr().expect("an address").port();
    let handler = |host: Option<&str>| ProbeHandler::TcpSocket { host: host.map(str::to_owned), port: HttpPort::Number(number) };
    assert_eq!(attempt(handler(None)).await, ProbeOutcome::Success);
    assert_eq!(attempt(handler(Some("127.0.0.1"))).await, ProbeOutcome::Success);
    drop(listener);
    let text = format!("dial tcp 127.0.0.1:{number}: connect: connection refused");
    assert_eq!(attempt(handler(None)).await, failure(&text));
    let outcome = ask(&handler(None), None, TIMEOUT).await;
    assert_eq!(outcome, ProbeOutcome::Error { error: "the pod has no address".to_owned() });
}

#[test]
fn addresses_are_joined_with_ports_as_go_does() {
    assert_eq!(join_host_port("fd00::5", 80), "[fd00::5]:80");
    assert_eq!(join_host_port("h", 80), "h:80");
}
