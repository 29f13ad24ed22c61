//! Bodies of requests, read whole. What all of them hold together is bounded: each byte has a place until its body is dropped, and
//! whoever finds none is told to come back. Streams are not bodies, and do not pass here.

use std::ops::Deref;
use std::sync::Arc;

use http::Request;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::sync::OwnedSemaphorePermit;

use super::limits::BODY_BYTES_MAX;
use super::route::Shared;
use crate::status::{ApiError, ApiResult};

/// A body that was read, with the places of its bytes.
#[derive(Default)]
pub(super) struct Held {
    bytes: Vec<u8>,
    places: Option<OwnedSemaphorePermit>,
}

impl Deref for Held {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

/// The whole body of a request.
pub(super) async fn read_body(shared: &Shared, request: Request<Incoming>) -> ApiResult<Held> {
    read_small_body(shared, request, BODY_BYTES_MAX).await
}

/// The whole body of a request that has at most so many bytes.
pub(super) async fn read_small_body(shared: &Shared, request: Request<Incoming>, bytes_max: usize) -> ApiResult<Held> {
    let declared = request.headers().get(http::header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if declared.is_some_and(|length| length > bytes_max) {
        return Err(ApiError::too_large(bytes_max));
    }
    let time = shared.patience.body;
    match tokio::time::timeout(time, collect(shared, request.into_body(), bytes_max)).await {
        Ok(body) => body,
        Err(_) => Err(ApiError::new(408, "Timeout", format!("the body did not come within {time:?}"))),
    }
}

async fn collect(shared: &Shared, mut body: Incoming, bytes_max: usize) -> ApiResult<Held> {
    let mut held = Held::default();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| ApiError::bad_request(format!("the body broke off: {error}")))?;
        // Trailers say nothing here.
        let Ok(data) = frame.into_data() else { continue };
        if held.bytes.len() + data.len() > bytes_max {
            return Err(ApiError::too_large(bytes_max));
        }
        let count = u32::try_from(data.len()).expect("no more than the largest body");
        // To wait here would let those who have half of theirs wait for each other.
        let places = Arc::clone(&shared.bodies).try_acquire_many_owned(count);
        let places = places.map_err(|_| ApiError::too_many_requests("too much is being sent, please try again later."))?;
        match &mut held.places {
            Some(all) => all.merge(places),
            None => held.places = Some(places),
        }
        held.bytes.extend_from_slice(&data);
    }
    Ok(held)
}
