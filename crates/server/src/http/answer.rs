//! Answers: JSON, in the form that the client asks for, with warnings.

use std::convert::Infallible;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER, WARNING};
use http::{HeaderMap, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use serde_json::Value;

use crate::status::{ApiError, ApiResult, RETRY_AFTER_SECONDS};

/// The body of an answer.
pub(crate) type Body = UnsyncBoxBody<Bytes, Infallible>;
/// An answer.
pub(crate) type Answer = Response<Body>;

/// The longest warnings together, in bytes: headers have a limit.
const WARNINGS_BYTES_MAX: usize = 4 * 1024;

/// How objects are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Shape {
    /// As they are.
    #[default]
    Object,
    /// As rows.
    Table(&'static str),
    /// Their metadata only.
    Partial(&'static str),
}

pub(crate) fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).boxed_unsync()
}

pub(crate) fn json(code: StatusCode, value: &Value) -> Answer {
    raw(code, "application/json", serde_json::to_vec(value).expect("JSON values can always be written"))
}

pub(crate) fn raw(code: StatusCode, content_type: &'static str, bytes: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(full(bytes));
    *answer.status_mut() = code;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    answer
}

pub(crate) fn text(code: StatusCode, text: &'static str) -> Answer {
    raw(code, "text/plain; charset=utf-8", text)
}

pub(crate) fn error(error: &ApiError) -> Answer {
    let code = StatusCode::from_u16(error.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut answer = json(code, &error.status());
    if error.code == 429 {
        answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from(RETRY_AFTER_SECONDS));
    }
    answer
}

/// Adds the warnings to an answer, as many as fit.
pub(crate) fn warn(mut answer: Answer, warnings: &[String]) -> Answer {
    let mut bytes = 0;
    for warning in warnings {
        let mut quoted = String::with_capacity(warning.len());
        for c in warning.chars() {
            match c {
                '"' | '\\' => quoted.extend(['\\', c]),
                c if c.is_control() => quoted.push(' '),
                c => quoted.push(c),
            }
        }
        bytes += quoted.len();
        if bytes > WARNINGS_BYTES_MAX {
            break;
        }
        if let Ok(value) = HeaderValue::from_bytes(format!("299 - \"{quoted}\"").as_bytes()) {
            answer.headers_mut().append(WARNING, value);
        }
    }
    answer
}

/// What the client accepts, best first.
pub(crate) fn accepted(headers: &HeaderMap) -> impl Iterator<Item = Accepted<'_>> {
    let values = headers.get_all(http::header::ACCEPT).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(|range| {
        let mut parts = range.split(';').map(str::trim);
        let media = parts.next().unwrap_or_default();
        let mut accepted = Accepted { media, ..Accepted::default() };
        for part in parts {
            match part.split_once('=') {
                Some(("as", value)) => accepted.kind = value,
                Some(("g", value)) => accepted.group = value,
                Some(("v", value)) => accepted.version = value,
                Some(_) | None => {}
            }
        }
        accepted
    })
}

/// One thing that the client accepts.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Accepted<'a> {
    pub(crate) media: &'a str,
    pub(crate) kind: &'a str,
    pub(crate) group: &'a str,
    pub(crate) version: &'a str,
}

impl Accepted<'_> {
    pub(crate) fn is_json(&self) -> bool {
        matches!(self.media, "application/json" | "application/*" | "*/*" | "")
    }
}

/// The form in which the client wants objects.
///
/// # Errors
/// It wants none that there is.
pub(crate) fn shape(headers: &HeaderMap) -> ApiResult<Shape> {
    if !headers.contains_key(http::header::ACCEPT) {
        return Ok(Shape::Object);
    }
    for accepted in accepted(headers).filter(Accepted::is_json) {
        let version = match accepted.version {
            "v1" => "meta.k8s.io/v1",
            "v1beta1" => "meta.k8s.io/v1beta1",
            "" if accepted.kind.is_empty() => return Ok(Shape::Object),
            _ => continue,
        };
        match (accepted.group, accepted.kind) {
            ("meta.k8s.io", "Table") => return Ok(Shape::Table(version)),
            ("meta.k8s.io", "PartialObjectMetadata" | "PartialObjectMetadataList") => return Ok(Shape::Partial(version)),
            _ => {}
        }
    }
    let message = "only the following media types are accepted: application/json";
    Err(ApiError::new(406, "NotAcceptable", message))
}
