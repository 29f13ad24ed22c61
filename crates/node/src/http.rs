//! The GET of hooks and probes, as the reference's HTTP client makes it: same bytes, same rules, same error texts.
//!
//! Not a general client: one request, one connection, no pool, no proxy, no cookies, HTTP/1.1 only. Everything happens in the caller's
//! future: dropping it closes the connection. It connects from the engine's network namespace (k8s: 3.d.23).
//!
//! Left out on purpose: connections are not kept alive for a next request, HTTPS probes do not negotiate HTTP/2, and a socket is
//! not made to linger, which would block a thread of the engine.

mod connection;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod request;
mod response;
mod socket;
mod url;

use std::borrow::Cow;
use std::net::IpAddr;
use std::time::Duration;

use lifecycle::{HttpGet, HttpPort, Scheme};
use tokio::time::{Instant, timeout_at};

use self::request::Headers;
use self::response::{BodyError, Head};
use self::url::Url;
use crate::go_text::quote;

pub(crate) use self::connection::dial;
pub(crate) use self::request::PROBE_USER_AGENT;

/// So many redirects to the same host are followed (k8s: 3.d.18).
const REDIRECTS_MAX: usize = 10;
/// So much of a body is read, in bytes (k8s: 3.d.19, 7.e.6).
const BODY_BYTES_MAX: u64 = 10 * 1024;
/// So much of the body of a redirect is read, in bytes.
const REDIRECT_BODY_BYTES_MAX: u64 = 2 * 1024;
/// k8s: 3.d.20
const SCHEME_MISMATCH: &str = "http: server gave HTTP response to HTTPS client";

/// What the request is for: hooks and probes differ in headers, time limit and what is done with the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A hook: no time limit; HTTPS falls back to HTTP (k8s: 3.d.16, 3.d.20).
    Hook,
    /// A probe: everything within the time limit (k8s: 7.e.2).
    Probe {
        /// From the beginning to the end of the body.
        timeout: Duration,
    },
}

impl Purpose {
    fn deadline(self) -> Option<Instant> {
        match self {
            // k8s: 3.d.16
            Self::Hook => None,
            Self::Probe { timeout } => Some(Instant::now() + timeout),
        }
    }
}

/// An answer; whatever its status, the request has been made (k8s: 3.d.17).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpAnswer {
    /// Of the last response.
    pub status: u16,
    /// Its first 10 KiB. For hooks it is empty: they read and drop it.
    pub body: Vec<u8>,
    /// It came over HTTP although HTTPS was asked for (k8s: 3.d.20).
    pub fell_back_to_http: bool,
}

/// There was no answer. The text is the reference's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HttpError {
    /// The request could not be made: an unknown port, no address (k8s: 3.d.2, 3.d.5, 7.e.8).
    #[error("{0}")]
    Request(String),
    /// The other side could not be reached, or broke off.
    #[error("{0}")]
    Transport(String),
    /// The body of the answer could not be read; hooks never see this.
    #[error("{0}")]
    Body(String),
}

/// Makes the request; `pod_ip` is asked where it names no host (k8s: 3.d.2, 7.e.1).
pub async fn get(get: &HttpGet, pod_ip: Option<IpAddr>, purpose: Purpose) -> Result<HttpAnswer, HttpError> {
    let port = match &get.port {
        HttpPort::Number(port) => *port,
        HttpPort::Unresolved(text) => return Err(HttpError::Request(text.clone())),
    };
    let host = match (&get.host, pod_ip) {
        (Some(host), _) => host.clone(),
        (None, Some(ip)) => ip.to_string(),
        (None, None) => return Err(HttpError::Request("failed to find networking container: the pod has no address".to_owned())),
    };
    let url = Url::of_pod(get.scheme, &host, port, &get.path);
    let headers = Headers::new(&get.headers, purpose);
    let deadline = purpose.deadline();
    let answered = follow(&url, &headers, purpose, deadline).await;
    match answered {
        // k8s: 3.d.20
        Err(HttpError::Transport(text)) if purpose == Purpose::Hook && get.scheme == Scheme::Https && text.contains(SCHEME_MISMATCH) => {
            let retried = follow(&url.with_scheme("http"), &headers.without("Authorization"), purpose, deadline).await;
            retried.map(|answer| HttpAnswer { fell_back_to_http: true, ..answer }).map_err(|_| HttpError::Transport(text))
        }
        other => other,
    }
}

/// Makes the request and those that redirects ask for.
async fn follow(first: &Url, first_headers: &Headers, purpose: Purpose, deadline: Option<Instant>) -> Result<HttpAnswer, HttpError> {
    let mut url = Cow::Borrowed(first);
    let mut headers = Cow::Borrowed(first_headers);
    let mut redirects = 0;
    loop {
        let failed = |text: String| HttpError::Transport(format!("Get {}: {text}", quote(&url.to_string())));
        let exchange = within(deadline, exchange(&url, &headers)).await;
        let (mut stream, head) = match exchange {
            Some(exchanged) => exchanged.map_err(failed)?,
            None => return Err(failed("context deadline exceeded (Client.Timeout exceeded while awaiting headers)".to_owned())),
        };
        let Some(location) = head.redirect() else { return answer(stream, &head, purpose, deadline).await };
        let next = match url.join(&location) {
            Ok(next) => next,
            Err(error) => return Err(failed(format!("failed to parse Location header {}: {error}", quote(&location)))),
        };
        // k8s: 3.d.18
        if next.hostname() != first.hostname() {
            return answer(stream, &head, purpose, deadline).await;
        }
        redirects += 1;
        if redirects >= REDIRECTS_MAX {
            return Err(HttpError::Transport(format!("Get {}: stopped after {REDIRECTS_MAX} redirects", quote(&location))));
        }
        if head.content_length().is_none_or(|length| length <= REDIRECT_BODY_BYTES_MAX) {
            let _ = within(deadline, response::read_body(&mut stream, &head, REDIRECT_BODY_BYTES_MAX)).await;
        }
        headers = Cow::Owned(first_headers.for_redirect(&url, &next, &location));
        url = Cow::Owned(next);
    }
}

/// `None` if the deadline came first.
async fn within<T>(deadline: Option<Instant>, work: impl Future<Output = T>) -> Option<T> {
    match deadline {
        Some(deadline) => timeout_at(deadline, work).await.ok(),
        None => Some(work.await),
    }
}

/// Sends one request and reads the head of the answer; errors are texts without the URL.
async fn exchange(url: &Url, headers: &Headers) -> Result<(connection::Connection, Head), String> {
    let bytes = headers.request(url)?;
    let mut connection = connection::connect(url).await?;
    tokio::task::yield_now().await;
    // The answer may come before all is sent, so a failed write is told only if there is none.
    let written = connection.write(&bytes).await;
    let head = response::read_head(&mut connection).await;
    match (head, written) {
        (Ok(head), _) => Ok((connection, head)),
        (Err(error), Ok(())) => Err(error),
        (Err(_), Err(error)) => Err(error),
    }
}

async fn answer(
    mut connection: connection::Connection,
    head: &Head,
    purpose: Purpose,
    deadline: Option<Instant>,
) -> Result<HttpAnswer, HttpError> {
    let status = head.status;
    match purpose {
        Purpose::Hook => {
            // k8s: 3.d.19: a larger one is not read; one that does not end holds the hook up.
            if head.content_length().is_none_or(|length| length <= BODY_BYTES_MAX) {
                let _ = response::read_body(&mut connection, head, BODY_BYTES_MAX).await;
            }
            Ok(HttpAnswer { status, body: Vec::new(), fell_back_to_http: false })
        }
        Purpose::Probe { .. } => match within(deadline, response::read_body(&mut connection, head, BODY_BYTES_MAX)).await {
            Some(Ok(body)) => Ok(HttpAnswer { status, body, fell_back_to_http: false }),
            Some(Err(BodyError(text))) => Err(HttpError::Body(text)),
            None => {
                let text = "context deadline exceeded (Client.Timeout or context cancellation while reading body)";
                Err(HttpError::Body(text.to_owned()))
            }
        },
    }
}

#[cfg(test)]
mod tests;
