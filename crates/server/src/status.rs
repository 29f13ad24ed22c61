//! What goes wrong, as clients are told: `Status` objects with the reasons, codes and words of the reference.

use std::fmt;

use api::{FieldError, validate::ErrorKind};
use serde_json::{Value, json};

use crate::kinds::Kind;
use crate::store::WriteError;

/// An error with everything a client learns of it.
#[derive(Clone, Debug, PartialEq)]
pub struct ApiError {
    /// The HTTP status.
    pub code: u16,
    /// The machine-readable reason; may be empty.
    pub reason: &'static str,
    /// The words.
    pub message: String,
    /// `details` of the `Status`.
    pub details: Option<Value>,
    /// `metadata.continue` of the `Status`, of a list that could go on otherwise.
    pub continue_token: Option<String>,
}

impl std::error::Error for ApiError {}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.message.fmt(f)
    }
}

/// The result of an operation of the API.
pub type ApiResult<T> = Result<T, ApiError>;

impl ApiError {
    /// An error without details.
    pub fn new(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        Self { code, reason, message: message.into(), details: None, continue_token: None }
    }

    fn about(code: u16, reason: &'static str, kind: &Kind, name: &str, message: String) -> Self {
        let mut details = json!({ "kind": kind.resource });
        if !name.is_empty() {
            details["name"] = json!(name);
        }
        if !kind.group.is_empty() {
            details["group"] = json!(kind.group);
        }
        Self { details: Some(details), ..Self::new(code, reason, message) }
    }

    /// There is no such object.
    pub fn not_found(kind: &Kind, name: &str) -> Self {
        Self::about(404, "NotFound", kind, name, format!("{} \"{name}\" not found", kind.group_resource()))
    }

    /// There is nothing at this path.
    pub fn no_such_path() -> Self {
        let message = "the server could not find the requested resource";
        Self { details: Some(json!({})), ..Self::new(404, "NotFound", message) }
    }

    /// There is such an object already.
    pub fn already_exists(kind: &Kind, name: &str) -> Self {
        Self::about(409, "AlreadyExists", kind, name, format!("{} \"{name}\" already exists", kind.group_resource()))
    }

    /// The object is not as the request expects.
    pub fn conflict(kind: &Kind, name: &str, why: &str) -> Self {
        let message = format!("Operation cannot be fulfilled on {} \"{name}\": {why}", kind.group_resource());
        Self::about(409, "Conflict", kind, name, message)
    }

    /// Another writer was faster.
    pub fn modified(kind: &Kind, name: &str) -> Self {
        let why = "the object has been modified; please apply your changes to the latest version and try again";
        Self::conflict(kind, name, why)
    }

    /// The request is not allowed in these circumstances.
    pub fn forbidden(kind: &Kind, name: &str, why: &str) -> Self {
        let message = match name {
            "" => format!("{} is forbidden: {why}", kind.group_resource()),
            name => format!("{} \"{name}\" is forbidden: {why}", kind.group_resource()),
        };
        Self::about(403, "Forbidden", kind, name, message)
    }

    /// Rules of the kind are broken.
    pub fn invalid(kind: &Kind, name: &str, errors: &[FieldError]) -> Self {
        let texts: Vec<_> = errors.iter().map(ToString::to_string).collect();
        let list = match texts.as_slice() {
            [one] => one.clone(),
            many => format!("[{}]", many.join(", ")),
        };
        let group_kind = if kind.group.is_empty() { kind.kind.to_owned() } else { format!("{}.{}", kind.kind, kind.group) };
        let causes: Vec<_> = errors
            .iter()
            .map(|error| json!({ "reason": reason(error.kind), "message": error.body(), "field": error.path.to_string() }))
            .collect();
        let mut details = json!({ "name": name, "kind": kind.kind, "causes": causes });
        if !kind.group.is_empty() {
            details["group"] = json!(kind.group);
        }
        let message = format!("{group_kind} \"{name}\" is invalid: {list}");
        Self { details: Some(details), ..Self::new(422, "Invalid", message) }
    }

    /// The request makes no sense.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message)
    }

    /// The verb is not possible here.
    pub fn method_not_allowed() -> Self {
        let message = "the server does not allow this method on the requested resource";
        Self { details: Some(json!({})), ..Self::new(405, "MethodNotAllowed", message) }
    }

    /// Nobody known asks.
    pub fn unauthorized() -> Self {
        Self::new(401, "Unauthorized", "Unauthorized")
    }

    /// Something that is not the client's fault.
    pub fn internal(message: impl fmt::Display) -> Self {
        let message = format!("Internal error occurred: {message}");
        let details = json!({ "causes": [{ "message": message }] });
        Self { details: Some(details), ..Self::new(500, "InternalError", message) }
    }

    /// The revision asked for is not kept any longer.
    pub fn expired(message: impl Into<String>) -> Self {
        Self::new(410, "Expired", message)
    }

    /// The body is in a form that is not understood.
    pub fn unsupported_media_type(accepted: &[&str]) -> Self {
        let accepted = accepted.join(", ");
        let message = format!("the body of the request was in an unknown format - accepted media types include: {accepted}");
        Self::new(415, "UnsupportedMediaType", message)
    }

    /// The body is too large.
    pub fn too_large(limit: usize) -> Self {
        Self::new(413, "RequestEntityTooLarge", format!("Request entity is too large: limit is {limit}"))
    }

    /// Try again later.
    pub fn too_many_requests(message: impl Into<String>) -> Self {
        let details = json!({ "retryAfterSeconds": RETRY_AFTER_SECONDS });
        Self { details: Some(details), ..Self::new(429, "TooManyRequests", message) }
    }

    /// The `Status` object.
    pub fn status(&self) -> Value {
        let mut status = json!({
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "code": self.code,
        });
        if !self.reason.is_empty() {
            status["reason"] = json!(self.reason);
        }
        if let Some(details) = &self.details {
            status["details"] = details.clone();
        }
        if let Some(token) = &self.continue_token {
            status["metadata"]["continue"] = json!(token);
        }
        status
    }
}

/// What a write that failed for reasons of the disk means for the client.
impl From<WriteError> for ApiError {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Full => Self::new(507, "InsufficientStorage", error.to_string()),
            WriteError::Closed => Self::new(503, "ServiceUnavailable", "the server is shutting down"),
            WriteError::Conflict(_) | WriteError::Failed(_) => Self::internal(error),
        }
    }
}

/// `Success`, for what gives back no object.
pub fn success(kind: &Kind, name: &str, uid: Option<&str>) -> Value {
    let mut details = json!({ "name": name, "kind": kind.resource });
    if !kind.group.is_empty() {
        details["group"] = json!(kind.group);
    }
    if let Some(uid) = uid {
        details["uid"] = json!(uid);
    }
    json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details })
}

fn reason(kind: ErrorKind) -> &'static str {
    kind.reason()
}

/// Seconds after which a client that was sent away may come back.
pub const RETRY_AFTER_SECONDS: u64 = 1;
