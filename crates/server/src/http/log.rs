//! `pods/NAME/log`.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame;
use serde_json::Value;
use tokio::io::AsyncReadExt as _;
use tokio::sync::{OwnedSemaphorePermit, watch};

use super::answer::{self, Answer};
use super::request::{ObjectPath, Query};
use super::route::{Shared, stopped};
use crate::backend::{BackendError, LogOptions, PodRef, Reader};
use crate::object::{self, parse_time};
use crate::registry::now;
use crate::status::{ApiError, ApiResult};

/// What is read of a log at once.
const PIECE_BYTES: usize = 32 * 1024;

pub(super) async fn serve(shared: &Arc<Shared>, path: &ObjectPath, query: &Query) -> ApiResult<Answer> {
    let permit = Arc::clone(&shared.streams)
        .try_acquire_owned()
        .map_err(|_| ApiError::too_many_requests("too many logs are being read, please try again later."))?;
    let (pod, object) = pod(shared, path)?;
    let mut options = LogOptions {
        container: container(&object, query.get("container"), path)?,
        follow: query.flag("follow")?,
        previous: query.flag("previous")?,
        timestamps: query.flag("timestamps")?,
        tail_lines: positive(query, "tailLines", 0)?,
        limit_bytes: positive(query, "limitBytes", 1)?,
        ..LogOptions::default()
    };
    options.stream = match query.get("stream") {
        "" | "All" => None,
        "Stdout" => Some("stdout".to_owned()),
        "Stderr" => Some("stderr".to_owned()),
        other => {
            return Err(invalid(&format!("stream: Unsupported value: \"{other}\": supported values: \"All\", \"Stderr\", \"Stdout\"")));
        }
    };
    options.since = match (positive(query, "sinceSeconds", 1)?, query.get("sinceTime")) {
        (Some(_), time) if !time.is_empty() => return Err(invalid("at most one of `sinceTime` or `sinceSeconds` may be specified")),
        (Some(seconds), _) => now().checked_sub(std::time::Duration::from_secs(seconds)).ok(),
        (None, "") => None,
        (None, time) => Some(parse_time(time).ok_or_else(|| ApiError::bad_request(format!("sinceTime: {time:?} is no time")))?),
    };
    let reader = shared.backend.logs(pod, options).await.map_err(|error| backend_error(&error))?;
    Ok(stream(reader, permit, shared.stop.clone()))
}

/// A log as the body of an answer, to its end or that of the server.
pub(super) fn stream(reader: Reader, permit: OwnedSemaphorePermit, stop: watch::Receiver<bool>) -> Answer {
    let pieces = futures_util::stream::unfold((reader, permit), move |(mut reader, permit)| {
        let mut stop = stop.clone();
        async move {
            let mut piece = vec![0; PIECE_BYTES];
            let read = tokio::select! {
                read = reader.read(&mut piece) => read,
                () = stopped(&mut stop) => return None,
            };
            match read {
                Ok(0) | Err(_) => None,
                Ok(read) => {
                    piece.truncate(read);
                    Some((Ok::<_, Infallible>(Frame::data(Bytes::from(piece))), (reader, permit)))
                }
            }
        }
    });
    let mut answer = answer::text(StatusCode::OK, "");
    *answer.body_mut() = StreamBody::new(pieces).boxed_unsync();
    answer
}

fn invalid(what: &str) -> ApiError {
    ApiError::new(422, "Invalid", format!("PodLogOptions \"\" is invalid: {what}"))
}

fn positive(query: &Query, name: &str, least: i64) -> ApiResult<Option<u64>> {
    match query.number::<i64>(name)? {
        Some(number) if number < least => {
            Err(invalid(&format!("{name}: Invalid value: {number}: must be greater than or equal to {least}")))
        }
        number => Ok(number.and_then(|number| u64::try_from(number).ok())),
    }
}

/// The pod of a request, and its object.
pub(super) fn pod(shared: &Shared, path: &ObjectPath) -> ApiResult<(PodRef, Value)> {
    let name = path.name.as_deref().unwrap_or_default();
    let object = shared.registry.get(path.kind, path.namespace(), name)?;
    let pod = PodRef { namespace: path.namespace().to_owned(), name: name.to_owned(), uid: object::uid_on_node(&object).to_owned() };
    Ok((pod, object))
}

/// The container that is meant.
pub(super) fn container(pod: &Value, wanted: &str, path: &ObjectPath) -> ApiResult<String> {
    let name = path.name.as_deref().unwrap_or_default();
    let names = |field: &str| {
        let containers = pod["spec"][field].as_array().into_iter().flatten();
        containers.filter_map(|container| container["name"].as_str().map(ToOwned::to_owned)).collect::<Vec<_>>()
    };
    let (regular, init, ephemeral) = (names("containers"), names("initContainers"), names("ephemeralContainers"));
    if !wanted.is_empty() {
        let known = regular.iter().chain(&init).chain(&ephemeral).any(|container| container == wanted);
        return if known {
            Ok(wanted.to_owned())
        } else {
            Err(ApiError::bad_request(format!("container {wanted} is not valid for pod {name}")))
        };
    }
    match regular.as_slice() {
        [only] => Ok(only.clone()),
        _ => {
            let mut message = format!("a container name must be specified for pod {name}, choose one of: [{}]", regular.join(" "));
            if !init.is_empty() {
                message += &format!(" or one of the init containers: [{}]", init.join(" "));
            }
            if !ephemeral.is_empty() {
                message += &format!(" or one of the ephemeral containers: [{}]", ephemeral.join(" "));
            }
            Err(ApiError::bad_request(message))
        }
    }
}

/// What an error of the node means for a client.
pub(super) fn backend_error(error: &BackendError) -> ApiError {
    match error {
        BackendError::NotFound(message) => ApiError::new(404, "NotFound", message.clone()),
        BackendError::Invalid(message) => ApiError::bad_request(message.clone()),
        BackendError::Failed(message) => ApiError::internal(message),
    }
}
