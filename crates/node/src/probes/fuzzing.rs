//! A fuzz target: what a server may answer to a question about its health.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::fuzzing::block_on;

use super::grpc::{Attempt, attempt, serving_status, unescape};

/// No answer takes longer.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The bytes of a server after the client's greeting; and, without HTTP/2 around them, as the message and the status text.
///
/// The call comes to an end, with a status, or with an error that has words.
pub fn grpc_answer(data: &[u8]) {
    let _ = serving_status(data);
    assert!(unescape(data).len() <= 3 * data.len(), "a text does not grow but by replacement characters");
    block_on(async {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let server = tokio::spawn(serve(listener, data.to_vec()));
        let is_connected = Arc::new(AtomicBool::new(false));
        let attempted = tokio::time::timeout(TIMEOUT, attempt(address, "service", &is_connected)).await.expect("an end");
        server.abort();
        if let Attempt::Called(Err(failed)) = attempted {
            assert_ne!(failed.code, 0, "OK is no failure: {failed:?}");
        }
    });
}

async fn serve(listener: TcpListener, answer: Vec<u8>) {
    let Ok((mut stream, _)) = listener.accept().await else { return };
    let mut greeting = [0; 4096];
    let _ = stream.read(&mut greeting).await;
    let _ = stream.write_all(&answer).await;
    let _ = stream.shutdown().await;
    // What the client says until it has read everything; a connection that is closed before may lose what was written.
    while stream.read(&mut greeting).await.is_ok_and(|length| length > 0) {}
}

#[cfg(test)]
mod tests {
    use super::grpc_answer;
    use crate::fuzzing::replay::replay;

    fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).expect("a short frame").to_be_bytes();
        [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
    }

    /// `:status: 200`, then headers without indexing.
    fn headers(pairs: &[(&str, &str)], indexed: &[u8]) -> Vec<u8> {
        let mut block = indexed.to_vec();
        for (name, value) in pairs {
            block.push(0);
            for text in [name, value] {
                block.push(u8::try_from(text.len()).expect("a short text"));
                block.extend_from_slice(text.as_bytes());
            }
        }
        block
    }

    #[test]
    fn answers_of_the_corpus_come_to_an_end() {
        let settings = frame(4, 0, 0, b"");
        let ok = headers(&[("content-type", "application/grpc")], &[0x88]);
        let serving = [0, 0, 0, 0, 2, 8, 1];
        let trailers = headers(&[("grpc-status", "0"), ("grpc-message", "a%20b")], &[]);
        let good = [settings.clone(), frame(1, 4, 1, &ok), frame(0, 0, 1, &serving), frame(1, 5, 1, &trailers)].concat();
        let only_trailers = headers(&[("content-type", "application/grpc"), ("grpc-status", "12"), ("grpc-message", "no")], &[0x88]);
        let seeds = [
            ("serving".to_owned(), good),
            ("unimplemented".to_owned(), [settings.clone(), frame(1, 5, 1, &only_trailers)].concat()),
            ("not-found".to_owned(), [settings.clone(), frame(1, 5, 1, &[0x8d])].concat()),
            ("reset".to_owned(), [settings.clone(), frame(3, 0, 1, &[0, 0, 0, 8])].concat()),
            ("goaway".to_owned(), [settings, frame(7, 0, 0, &[0; 8])].concat()),
            ("http-1".to_owned(), b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()),
            ("message".to_owned(), serving.to_vec()),
        ];
        replay("grpc_answer", seeds, grpc_answer);
    }
}
