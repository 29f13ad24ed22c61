//! What can go wrong with a registry, in the words that Kubernetes users know from their pod's status.

use std::error::Error;
use std::io;

use reqwest::Url;

use crate::images::digest::Digest;
use crate::images::reference::quote;

/// Why a registry did not give what was asked for.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// There is no such image, or no such blob.
    #[error("{what}: not found")]
    NotFound {
        /// The name or digest.
        what: String,
    },
    /// Not with these credentials, or not without any.
    #[error("pull access denied, repository does not exist or may require authorization: {detail}")]
    Unauthorized {
        /// What the registry, or its token service, says.
        detail: String,
    },
    /// No answer: no connection, a broken one, or silence.
    #[error("failed to do request: {request}: {detail}")]
    Unreachable {
        /// `Get "http://…"`.
        request: String,
        /// As in `dial tcp 127.0.0.1:5000: connect: connection refused`.
        detail: String,
        /// Whether asking again may help: something was reached, and then lost.
        is_transient: bool,
    },
    /// An answer that is none of the expected ones.
    #[error("unexpected status from GET request to {url}: {status}{detail}")]
    Status {
        /// The URL.
        url: String,
        /// Number and name of the status.
        status: String,
        /// What the body says, after a colon, if anything.
        detail: String,
    },
    /// More bytes than allowed.
    #[error("{what} is larger than {bytes_max} bytes")]
    TooLarge {
        /// What was asked for.
        what: String,
        /// The bound, in bytes.
        bytes_max: u64,
    },
    /// Other content than what was asked for.
    #[error("{what} has digest {actual}, expected {expected}")]
    BadDigest {
        /// What was asked for.
        what: String,
        /// Its digest, as the reference or the manifest says.
        expected: Digest,
        /// Its digest, as computed.
        actual: Digest,
    },
    /// Fewer or more bytes than the manifest says.
    #[error("{what} has not the {expected} bytes that its descriptor says")]
    BadSize {
        /// What was asked for.
        what: String,
        /// Its size, as the manifest says.
        expected: u64,
    },
    /// The client could not be set up: a certificate or a proxy is wrong.
    #[error("set up the client for registries: {detail}")]
    Client {
        /// What is wrong.
        detail: String,
        /// The client's error.
        #[source]
        source: reqwest::Error,
    },
}

impl RegistryError {
    /// Whether asking again may help.
    pub(crate) fn is_transient(&self) -> bool {
        matches!(self, Self::Unreachable { is_transient: true, .. })
    }

    pub(crate) fn timeout(url: &Url) -> Self {
        let detail = "no answer within the time limit (i/o timeout)".to_owned();
        Self::Unreachable { request: request_text(url), detail, is_transient: true }
    }

    /// Takes an error of the HTTP client apart.
    pub(crate) fn from_request(url: &Url, error: &reqwest::Error) -> Self {
        let io_error = find::<io::Error>(error);
        let address = address_of(url);
        let detail = match io_error.map(io::Error::kind) {
            _ if is_name_resolution(error) => format!("dial tcp: lookup {}: no such host", url.host_str().unwrap_or_default()),
            Some(io::ErrorKind::ConnectionRefused) => format!("dial tcp {address}: connect: connection refused"),
            Some(io::ErrorKind::HostUnreachable) => format!("dial tcp {address}: connect: no route to host"),
            Some(io::ErrorKind::NetworkUnreachable) => format!("dial tcp {address}: connect: network is unreachable"),
            Some(io::ErrorKind::ConnectionReset) => format!("read tcp {address}: read: connection reset by peer"),
            Some(io::ErrorKind::UnexpectedEof) => "EOF".to_owned(),
            _ if error.is_timeout() => format!("dial tcp {address}: i/o timeout"),
            _ if is_plain_answer_to_tls(error) => "http: server gave HTTP response to HTTPS client".to_owned(),
            _ => innermost(error),
        };
        // A refused connection is an answer; a certificate does not get better by waiting.
        let is_transient = error.is_body() || error.is_decode() || error.is_timeout() || (error.is_request() && !error.is_connect());
        Self::Unreachable { request: request_text(url), detail, is_transient }
    }
}

fn request_text(url: &Url) -> String {
    format!("Get {}", quote(url.as_str()))
}

fn address_of(url: &Url) -> String {
    format!("{}:{}", url.host_str().unwrap_or_default(), url.port_or_known_default().unwrap_or_default())
}

/// The first error of this type in the chain.
fn find<'a, T: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a T> {
    std::iter::successors(Some(error), |error| inner_source(*error)).find_map(|error| error.downcast_ref::<T>())
}

/// The source of an error, also where an [`io::Error`] wraps one without calling it its source.
fn inner_source<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    match wrapped {
        Some(wrapped) => Some(wrapped),
        None => error.source(),
    }
}

fn is_name_resolution(error: &reqwest::Error) -> bool {
    std::iter::successors(Some(error as &(dyn Error + 'static)), |error| inner_source(*error))
        .any(|error| error.to_string().contains("failed to lookup address"))
}

fn is_plain_answer_to_tls(error: &reqwest::Error) -> bool {
    find::<rustls::Error>(error)
        .is_some_and(|error| matches!(error, rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType)))
}

/// The text of the error that started it all: the outer ones only say that a request failed.
pub(crate) fn innermost(error: &(dyn Error + 'static)) -> String {
    std::iter::successors(Some(error), |error| inner_source(*error)).last().map(ToString::to_string).unwrap_or_default()
}
