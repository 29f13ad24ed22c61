//! The standard health protocol of gRPC (`grpc.health.v1.Health/Check`), asked in the clear (k8s: 7.f.2).
//!
//! Not a gRPC client: one call with a message of one field, over one HTTP/2 connection that lives in the caller's future.
//! As with the reference's client, a server that does not answer as HTTP/2 counts as not connected, and is tried again until the
//! time is over.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use ::http::{HeaderMap, Method, Request, StatusCode, Version};
use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use lifecycle::{ProbeOutcome, go_duration};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout_at};

use crate::go_text::quote;
use crate::http::PROBE_USER_AGENT;

/// The pause before the second attempt to connect.
const RETRY_PAUSE: Duration = Duration::from_secs(1);
/// How much longer each further pause is, in percent.
const RETRY_GROWTH_PERCENT: u32 = 160;
/// An answer of one number needs a few bytes; more is no health answer.
const ANSWER_BYTES_MAX: usize = 1024;
/// Length of the header of a message: one byte for compression, four for the length.
const MESSAGE_HEADER_BYTES: usize = 5;
/// The one good status.
const SERVING: u64 = 1;
/// Names of `HealthCheckResponse.ServingStatus` by their numbers.
const SERVING_STATUS: [&str; 4] = ["UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"];
/// Names of the codes of gRPC by their numbers.
const CODES: [&str; 17] = [
    "OK",
    "Canceled",
    "Unknown",
    "InvalidArgument",
    "DeadlineExceeded",
    "NotFound",
    "AlreadyExists",
    "PermissionDenied",
    "ResourceExhausted",
    "FailedPrecondition",
    "Aborted",
    "OutOfRange",
    "Unimplemented",
    "Internal",
    "Unavailable",
    "DataLoss",
    "Unauthenticated",
];
const UNKNOWN: u16 = 2;
const DEADLINE_EXCEEDED: u16 = 4;
const UNIMPLEMENTED: u16 = 12;
const INTERNAL: u16 = 13;
const UNAVAILABLE: u16 = 14;

/// The end of a call that is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failed {
    pub(super) code: u16,
    pub(super) message: String,
}

/// How one connection went.
pub(super) enum Attempt {
    /// The other side never answered as HTTP/2.
    NotConnected,
    /// It did, and this came of the call.
    Called(Result<u64, Failed>),
}

/// Asks for the health of a service at the pod.
pub(super) async fn check(ip: IpAddr, port: u16, service: &str, timeout: Duration) -> ProbeOutcome {
    let address = SocketAddr::new(ip, port);
    let deadline = Instant::now() + timeout;
    // Set as soon as the other side speaks HTTP/2.
    let is_connected = Arc::new(AtomicBool::new(false));
    let called = timeout_at(deadline, call(address, service, &is_connected)).await;
    let output = match called {
        Ok(Ok(SERVING)) => return ProbeOutcome::Success,
        Ok(Ok(status)) => {
            let known = usize::try_from(status).ok().and_then(|status| SERVING_STATUS.get(status));
            format!("service unhealthy (responded with {})", quote(&known.map_or_else(|| status.to_string(), |name| (*name).to_owned())))
        }
        Ok(Err(failed)) => explain(&failed, timeout),
        Err(_) if is_connected.load(Ordering::Relaxed) => format!("timeout: health rpc did not complete within {}", go_duration(timeout)),
        Err(_) => {
            let address = quote(&address.to_string());
            format!("timeout: failed to connect service {address} within {}: context deadline exceeded", go_duration(timeout))
        }
    };
    ProbeOutcome::Failure { output }
}

fn explain(failed: &Failed, timeout: Duration) -> String {
    match failed.code {
        UNIMPLEMENTED => {
            let message = &failed.message;
            format!("error: this server does not implement the grpc health protocol (grpc.health.v1.Health): {message}")
        }
        DEADLINE_EXCEEDED => format!("timeout: health rpc did not complete within {}", go_duration(timeout)),
        code => {
            let name = CODES.get(usize::from(code)).map_or_else(|| format!("Code({code})"), |name| (*name).to_owned());
            format!("error: health rpc probe failed: rpc error: code = {name} desc = {}", failed.message)
        }
    }
}

/// Connects again and again until there is HTTP/2, then calls once.
async fn call(address: SocketAddr, service: &str, is_connected: &Arc<AtomicBool>) -> Result<u64, Failed> {
    let mut pause = RETRY_PAUSE;
    loop {
        if let Attempt::Called(called) = attempt(address, service, is_connected).await {
            return called;
        }
        sleep(pause).await;
        pause = pause * RETRY_GROWTH_PERCENT / 100;
    }
}

pub(super) async fn attempt(address: SocketAddr, service: &str, is_connected: &Arc<AtomicBool>) -> Attempt {
    let Ok(stream) = TcpStream::connect(address).await else { return Attempt::NotConnected };
    let heard = Heard { stream, is_connected: Arc::clone(is_connected), first: Vec::with_capacity(FRAME_HEADER_BYTES) };
    let Ok((sender, connection)) = h2::client::handshake(heard).await else { return Attempt::NotConnected };
    let called = tokio::select! {
        called = ask(sender, address, service) => called,
        ended = connection => Err(Failed {
            code: UNAVAILABLE,
            message: ended.err().map_or_else(|| "error reading from server: EOF".to_owned(), |error| error.to_string()),
        }),
    };
    if is_connected.load(Ordering::Relaxed) { Attempt::Called(called) } else { Attempt::NotConnected }
}

async fn ask(sender: SendRequest<Bytes>, address: SocketAddr, service: &str) -> Result<u64, Failed> {
    let broken = |error: h2::Error| Failed { code: UNAVAILABLE, message: error.to_string() };
    let mut sender = sender.ready().await.map_err(broken)?;
    let request = Request::builder()
        .method(Method::POST)
        .uri(format!("http://{address}/grpc.health.v1.Health/Check"))
        .version(Version::HTTP_2)
        .header("content-type", "application/grpc")
        .header("user-agent", PROBE_USER_AGENT)
        .header("te", "trailers")
        .body(())
        .map_err(|error| Failed { code: INTERNAL, message: error.to_string() })?;
    let (response, mut body) = sender.send_request(request, false).map_err(broken)?;
    body.send_data(question(service), true).map_err(broken)?;
    read_answer(response).await
}

/// `HealthCheckRequest { service }`, framed as a message.
fn question(service: &str) -> Bytes {
    let mut message = Vec::new();
    if !service.is_empty() {
        message.push(0x0a);
        push_varint(&mut message, service.len());
        message.extend_from_slice(service.as_bytes());
    }
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    let mut framed = vec![0];
    framed.extend_from_slice(&length.to_be_bytes());
    framed.extend_from_slice(&message);
    Bytes::from(framed)
}

fn push_varint(bytes: &mut Vec<u8>, mut value: usize) {
    while value >= 0x80 {
        bytes.push(u8::try_from(value & 0x7f).unwrap_or_default() | 0x80);
        value >>= 7;
    }
    bytes.push(u8::try_from(value).unwrap_or_default());
}

async fn read_answer(response: ResponseFuture) -> Result<u64, Failed> {
    let broken = |error: h2::Error| Failed { code: UNAVAILABLE, message: error.to_string() };
    let (head, mut body) = response.await.map_err(broken)?.into_parts();
    if head.status != StatusCode::OK {
        return Err(unexpected_status(head.status));
    }
    let mut bytes = Vec::new();
    while let Some(data) = body.data().await {
        let data = data.map_err(broken)?;
        let _ = body.flow_control().release_capacity(data.len());
        bytes.extend_from_slice(&data);
        if bytes.len() > ANSWER_BYTES_MAX {
            return Err(Failed { code: INTERNAL, message: format!("the answer is longer than {ANSWER_BYTES_MAX} bytes") });
        }
    }
    let trailers = body.trailers().await.map_err(broken)?;
    // An answer that is nothing but an end has its status in the head.
    match status_of(trailers.as_ref().unwrap_or(&head.headers)) {
        Some(Failed { code: 0, .. }) => serving_status(&bytes),
        Some(failed) => Err(failed),
        None => Err(Failed { code: INTERNAL, message: "server closed the stream without sending trailers".to_owned() }),
    }
}

/// As gRPC maps the statuses of HTTP.
fn unexpected_status(status: StatusCode) -> Failed {
    let code = match status.as_u16() {
        400 => INTERNAL,
        401 => 16,
        403 => 7,
        404 => UNIMPLEMENTED,
        429 | 502 | 503 | 504 => UNAVAILABLE,
        _ => UNKNOWN,
    };
    let reason = status.canonical_reason().unwrap_or_default();
    Failed { code, message: format!("unexpected HTTP status code received from server: {} ({reason})", status.as_u16()) }
}

fn status_of(headers: &HeaderMap) -> Option<Failed> {
    let code = headers.get("grpc-status")?.to_str().ok()?.parse().unwrap_or(UNKNOWN);
    let message = headers.get("grpc-message").map(|message| unescape(message.as_bytes())).unwrap_or_default();
    Some(Failed { code, message })
}

/// `grpc-message` has everything but plain ASCII as `%41`.
pub(super) fn unescape(message: &[u8]) -> String {
    let mut plain = Vec::with_capacity(message.len());
    let mut rest = message;
    while let Some((first, after)) = rest.split_first() {
        let digits = after.get(..2).filter(|_| *first == b'%').and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                plain.push(byte);
                rest = &after[2..];
            }
            None => {
                plain.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&plain).into_owned()
}

/// The field `status` of a `HealthCheckResponse`; a field that is left out is 0.
pub(super) fn serving_status(framed: &[u8]) -> Result<u64, Failed> {
    let bad = |message: &str| Failed { code: INTERNAL, message: message.to_owned() };
    let (header, message) = framed.split_at_checked(MESSAGE_HEADER_BYTES).ok_or_else(|| bad("unexpected EOF"))?;
    if header[0] != 0 {
        return Err(bad("grpc: compressed flag set with identity or empty encoding"));
    }
    let mut rest = message;
    let mut status = 0;
    while !rest.is_empty() {
        let key = take_varint(&mut rest).ok_or_else(|| bad("grpc: error unmarshalling response"))?;
        let value = match key & 7 {
            0 => take_varint(&mut rest),
            1 => skip(&mut rest, 8),
            2 => take_varint(&mut rest).and_then(|length| skip(&mut rest, usize::try_from(length).ok()?)),
            5 => skip(&mut rest, 4),
            _ => None,
        };
        let value = value.ok_or_else(|| bad("grpc: error unmarshalling response"))?;
        if key == 0x08 {
            status = value;
        }
    }
    Ok(status)
}

fn skip(bytes: &mut &[u8], count: usize) -> Option<u64> {
    *bytes = bytes.get(count..)?;
    Some(0)
}

fn take_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// Length of the header of an HTTP/2 frame.
const FRAME_HEADER_BYTES: usize = 9;
/// Where the type stands in it.
const FRAME_TYPE_AT: usize = 3;
/// The frame that every server starts with.
const SETTINGS_FRAME: u8 = 4;

/// Listens for the first frame of the server.
struct Heard {
    stream: TcpStream,
    is_connected: Arc<AtomicBool>,
    first: Vec<u8>,
}

impl AsyncRead for Heard {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer);
        let room = FRAME_HEADER_BYTES - self.first.len();
        self.first.extend(buffer.filled()[before..].iter().take(room));
        // `HTTP/1.1` has a `P` there.
        if self.first.len() == FRAME_HEADER_BYTES && self.first[FRAME_TYPE_AT] == SETTINGS_FRAME {
            self.is_connected.store(true, Ordering::Relaxed);
        }
        polled
    }
}

impl AsyncWrite for Heard {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests;
