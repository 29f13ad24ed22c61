//! Where spans go, and how.

use std::fmt;
use std::str::FromStr;
use std::sync::OnceLock;
use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Client, StatusCode, Url};

/// How long a collector may take for one request.
const PATIENCE: Duration = Duration::from_secs(10);
/// Where traces go below the address of a collector.
const TRACES: &str = "v1/traces";

/// The address of a collector, as `OTEL_EXPORTER_OTLP_ENDPOINT` has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint(Url);

/// Headers of every request, as `OTEL_EXPORTER_OTLP_HEADERS` has them. Their values are secrets: nothing prints them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Headers(HeaderMap);

/// A collector.
#[derive(Debug)]
pub(super) struct Collector {
    client: Client,
    endpoint: Endpoint,
}

/// Why spans were not taken.
#[derive(Debug, thiserror::Error)]
pub(super) enum PostError {
    /// The request did not get through.
    #[error("cannot reach the collector")]
    Request(#[from] reqwest::Error),
    /// The collector does not want it.
    #[error("the collector answers {0}")]
    Refused(StatusCode),
}

impl PostError {
    /// Whether trying again may help, as the specification has it.
    pub(super) fn may_pass(&self) -> bool {
        match self {
            Self::Request(_) => true,
            Self::Refused(code) => matches!(code.as_u16(), 429 | 502 | 503 | 504),
        }
    }
}

impl FromStr for Endpoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |why: &str| format!("{text:?} is no address of a collector: {why}; write it as http://HOST:4318");
        let mut url = Url::parse(text).map_err(|error| wrong(&error.to_string()))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(wrong("it begins with neither http:// nor https://"));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(wrong("it has more than a path"));
        }
        let path = format!("{}/{TRACES}", url.path().trim_end_matches('/'));
        url.set_path(&path);
        Ok(Self(url))
    }
}

impl FromStr for Headers {
    type Err = String;

    /// What is wrong is told by its position: a part of it may be a secret.
    fn from_str(text: &str) -> Result<Self, String> {
        let mut headers = HeaderMap::new();
        for (position, entry) in text.split(',').map(str::trim).enumerate().filter(|(_, entry)| !entry.is_empty()) {
            let wrong =
                |why: &str| format!("entry {} {why}; write NAME=VALUE, with a comma between two, and percent-encode values", position + 1);
            let (name, value) = entry.split_once('=').ok_or_else(|| wrong("has no `=`"))?;
            let name = HeaderName::from_bytes(name.trim().as_bytes()).map_err(|_| wrong("has a name that HTTP does not allow"))?;
            let value = percent_decoded(value.trim()).ok_or_else(|| wrong("has a `%` that is not followed by two hexadecimal digits"))?;
            let mut value = HeaderValue::from_bytes(&value).map_err(|_| wrong("has a value that HTTP does not allow"))?;
            value.set_sensitive(true);
            headers.append(name, value);
        }
        Ok(Self(headers))
    }
}

fn percent_decoded(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        if *first != b'%' {
            bytes.push(*first);
            rest = after;
            continue;
        }
        let digits = after.get(..2).filter(|digits| digits.iter().all(u8::is_ascii_hexdigit))?;
        bytes.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
        rest = &after[2..];
    }
    Some(bytes)
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Collector {
    /// # Errors
    /// The certificates of this machine cannot be used.
    pub(super) fn new(endpoint: Endpoint, Headers(headers): Headers) -> Result<Self, reqwest::Error> {
        static CRYPTO: OnceLock<()> = OnceLock::new();
        // Whoever was first has chosen the same.
        CRYPTO.get_or_init(|| drop(rustls::crypto::ring::default_provider().install_default()));
        // A redirect may lead to somebody whom the headers are not for.
        let redirects = if headers.is_empty() { Policy::default() } else { Policy::none() };
        let client = Client::builder().user_agent(concat!("usher/", env!("CARGO_PKG_VERSION"))).timeout(PATIENCE).no_proxy();
        let client = client.default_headers(headers).redirect(redirects).build()?;
        Ok(Self { client, endpoint })
    }

    pub(super) const fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Sends one request.
    ///
    /// # Errors
    /// It did not get through, or the collector does not want it.
    pub(super) async fn post(&self, body: String) -> Result<(), PostError> {
        let answer = self.client.post(self.endpoint.0.clone()).header(CONTENT_TYPE, "application/json").body(body).send().await?;
        if answer.status().is_success() { Ok(()) } else { Err(PostError::Refused(answer.status())) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_the_specification_has_them() {
        let read = |text: &str| text.parse::<Endpoint>().map(|endpoint| endpoint.to_string());
        for (text, expected) in [
            ("http://127.0.0.1:4318", "http://127.0.0.1:4318/v1/traces"),
            ("http://[::1]:9/", "http://[::1]:9/v1/traces"),
            ("https://gateway/otlp/", "https://gateway/otlp/v1/traces"),
        ] {
            assert_eq!(read(text).as_deref(), Ok(expected), "{text}");
        }
        for wrong in ["127.0.0.1:4318", "collector:4318", "http://", "grpc://a:4317", "http://a/?b", "http://a/#b", ""] {
            let error = read(wrong).expect_err(wrong);
            assert!(error.contains("write it as http://HOST:4318"), "{error}");
        }
    }

    #[test]
    fn headers_are_read_as_the_specification_has_them_and_their_values_are_never_shown() {
        let headers: Headers = "authorization=Bearer%20s3cret, x-team = a=b,,X-Empty=".parse().expect("headers");
        let values = ["authorization", "x-team", "x-empty"].map(|name| headers.0.get(name).map(|value| value.as_bytes().to_vec()));
        assert_eq!(values, [Some(b"Bearer s3cret".to_vec()), Some(b"a=b".to_vec()), Some(Vec::new())]);
        assert!(!format!("{headers:?}").contains("s3cret"));
        for (wrong, why) in [
            ("a=1,s3cret", "entry 2 has no `=`"),
            ("s3 cret=1", "entry 1 has a name"),
            ("a=s3cret%2", "entry 1 has a `%`"),
            ("a=s3cret%0a", "entry 1 has a value"),
        ] {
            let error = wrong.parse::<Headers>().expect_err(wrong);
            assert!(error.contains(why) && !error.contains("s3"), "{error}");
        }
    }

    #[test]
    fn only_what_may_pass_is_tried_again() {
        for (code, expected) in [(400, false), (401, false), (404, false), (429, true), (500, false), (503, true)] {
            assert_eq!(PostError::Refused(StatusCode::from_u16(code).expect("a code")).may_pass(), expected, "{code}");
        }
    }
}
