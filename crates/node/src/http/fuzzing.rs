//! A fuzz target: what the other side of a hook or probe may answer.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use lifecycle::{HttpGet, HttpPort, Scheme};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::fuzzing::block_on;

use super::{BODY_BYTES_MAX, HttpAnswer, HttpError, Purpose, get};

/// Between the answers to requests that follow each other because of redirects.
const SEPARATOR: &[u8] = b"\n====\n";
/// No answer takes longer; redirects to hosts of this machine that do not answer do not either.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The raw answers to the requests of one hook and of one probe.
///
/// Both come to an end: an answer with a status and no more of a body than is read at most, or an error with words.
pub fn http_answer(data: &[u8]) {
    block_on(async {
        for purpose in [Purpose::Probe { timeout: TIMEOUT }, Purpose::Hook] {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
            let port = listener.local_addr().expect("bound").port();
            let server = tokio::spawn(serve(listener, split(data)));
            let wanted = HttpGet {
                scheme: Scheme::Http,
                host: None,
                port: HttpPort::Number(port),
                path: "/path?query".to_owned(),
                headers: Vec::new(),
            };
            let asked = get(&wanted, Some(IpAddr::V4(Ipv4Addr::LOCALHOST)), purpose);
            let answered = tokio::time::timeout(2 * TIMEOUT, asked).await.expect("an end");
            server.abort();
            check(&answered, purpose);
        }
    });
}

fn check(answered: &Result<HttpAnswer, HttpError>, purpose: Purpose) {
    match answered {
        Ok(HttpAnswer { status, body, .. }) => {
            assert!(*status <= 999, "{status}");
            let bytes_max = if purpose == Purpose::Hook { 0 } else { BODY_BYTES_MAX };
            assert!(body.len() as u64 <= bytes_max, "{} bytes", body.len());
        }
        Err(HttpError::Request(text) | HttpError::Transport(text) | HttpError::Body(text)) => assert!(!text.is_empty()),
    }
}

fn split(data: &[u8]) -> Vec<Vec<u8>> {
    let mut parts = Vec::new();
    let mut rest = data;
    while let Some(at) = rest.windows(SEPARATOR.len()).position(|window| window == SEPARATOR) {
        parts.push(rest[..at].to_vec());
        rest = &rest[at + SEPARATOR.len()..];
    }
    parts.push(rest.to_vec());
    parts
}

/// Answers each request with the next answer, and closes the connection.
async fn serve(listener: TcpListener, answers: Vec<Vec<u8>>) {
    for answer in answers {
        let Ok((mut stream, _)) = listener.accept().await else { return };
        let mut request = [0; 4096];
        let _ = stream.read(&mut request).await;
        let _ = stream.write_all(&answer).await;
        let _ = stream.shutdown().await;
    }
    // Whoever asks again finds nobody.
}

#[cfg(test)]
mod tests {
    use super::http_answer;
    use crate::fuzzing::replay::replay;

    #[test]
    fn answers_of_the_corpus_come_to_an_end() {
        let chunks = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n6\r\n world\r\n0\r\nTrailer: t\r\n\r\n";
        let redirect = "HTTP/1.1 302 Found\r\nLocation: ../other?x#y\r\nContent-Length: 2\r\n\r\nno\n====\nHTTP/1.1 200 OK\r\n\r\nyes";
        let elsewhere = "HTTP/1.1 307 x\r\nLocation: http://elsewhere.example:80/\r\n\r\n";
        let to_itself = "HTTP/1.1 301 x\r\nLocation: http://127.0.0.1:1/x\r\n\r\n";
        let to_tls = "HTTP/1.1 308 x\r\nLocation: https://127.0.0.1/x\r\n\r\n";
        let interim = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nLink: x\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n";
        let seeds = [
            ("length", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello"),
            ("until-the-end", "HTTP/1.0 500 Oh no\r\nServer: x\r\n\r\nwords"),
            ("chunks", chunks),
            ("chunks-without-end", &chunks[..70]),
            ("redirect", redirect),
            ("redirect-elsewhere", elsewhere),
            ("redirect-to-itself", to_itself),
            ("redirect-to-tls", to_tls),
            ("interim", interim),
            ("gzip", "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc"),
            ("no-http", "\u{15}\u{3}\u{1}\0\u{2}\u{2}P"),
            ("folded", "HTTP/1.1 200 OK\r\nA: b\r\n c\r\nBad Name : x\r\n\r\n"),
        ];
        let seeds = seeds.map(|(name, text)| (name.to_owned(), text.as_bytes().to_vec()));
        replay("http_answer", seeds, http_answer);
    }
}
