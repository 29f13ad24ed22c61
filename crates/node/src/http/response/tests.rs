use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;

use super::super::connection::connect;
use super::super::url::Url;
use super::*;

/// A connection to a server that says this and hangs up.
async fn connection_to(said: &[u8]) -> Connection {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
    let port = listener.local_addr().expect("an address").port();
    let said = said.to_vec();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        stream.write_all(&said).await.expect("written");
    });
    connect(&Url::of_pod(lifecycle::Scheme::Http, "127.0.0.1", port, "/")).await.expect("a connection")
}

async fn check_head(said: &str, expected: Result<u16, &str>) {
    let head = read_head(&mut connection_to(said.as_bytes()).await).await;
    assert_eq!(head.map(|head| head.status), expected.map_err(str::to_owned), "{said:?}");
}

#[tokio::test]
async fn what_is_wrong_with_a_head_is_told_in_gos_words() {
    let broken = "net/http: HTTP/1.x transport connection broken: ";
    check_head("HTTP/1.1 200 OK\r\n\r\n", Ok(200)).await;
    check_head("HTTP/1.0 404\nA: b\n\n", Ok(404)).await;
    check_head("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No\r\n\r\n", Ok(204)).await;
    check_head("HTTP/1.1 101 Switching\r\n\r\n", Ok(101)).await;
    check_head("", Err("EOF")).await;
    check_head("HTTP/1.1 200", Err(&format!("{broken}unexpected EOF"))).await;
    check_head("HTTP/1.1 200 OK\r\nA: b\r\n", Err(&format!("{broken}unexpected EOF"))).await;
    check_head("nonsense\r\n", Err(&format!("{broken}malformed HTTP response \"nonsense\""))).await;
    check_head("HTTP/1.1 20 OK\r\n", Err(&format!("{broken}malformed HTTP status code \"20\""))).await;
    check_head("HTTP/x 200 OK\r\n", Err(&format!("{broken}malformed HTTP version \"HTTP/x\""))).await;
    check_head("HTTP/1.1 200 OK\r\nno colon\r\n\r\n", Err(&format!("{broken}malformed MIME header line: no colon"))).await;
    check_head(&"HTTP/1.1 103 Hints\r\n\r\n".repeat(6), Err("net/http: too many 1xx informational responses")).await;
}

#[tokio::test]
async fn a_head_without_end_is_given_up() {
    let said = format!("HTTP/1.1 200 OK\r\nA: {}", "x".repeat(HEAD_BYTES_MAX));
    check_head(&said, Err("net/http: server response headers exceeded 1048576 bytes; aborted")).await;
}

async fn check_body(said: &str, expected: Result<&str, &str>) {
    let mut connection = connection_to(said.as_bytes()).await;
    let head = read_head(&mut connection).await.expect("a head");
    let body = read_body(&mut connection, &head, 8).await.map_err(|BodyError(text)| text);
    let body = body.map(|body| String::from_utf8(body).expect("text"));
    assert_eq!(body, expected.map(str::to_owned).map_err(str::to_owned), "{said:?}");
}

#[tokio::test]
async fn bodies_are_read_to_their_end_or_the_bound() {
    check_body("HTTP/1.1 200 OK\r\n\r\nto the end", Ok("to the e")).await;
    check_body("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcdef", Ok("abc")).await;
    check_body("HTTP/1.1 204 OK\r\nContent-Length: 3\r\n\r\nabcdef", Ok("")).await;
    check_body("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc", Err("unexpected EOF")).await;
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n";
    check_body(&format!("{chunked}3;x=y\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"), Ok("abcde")).await;
    check_body(&format!("{chunked}3\r\nabc\r\nA\r\n0123456789\r\n"), Ok("abc01234")).await;
    check_body(&format!("{chunked}8\r\nabcdefgh\r\n5\r\n"), Ok("abcdefgh")).await;
    check_body(&format!("{chunked}3\r\nab"), Err("unexpected EOF")).await;
    check_body(&format!("{chunked}x\r\n"), Err("invalid byte in chunk length")).await;
    check_body(&format!("{chunked}1\r\nabc"), Err("malformed chunked encoding")).await;
}
