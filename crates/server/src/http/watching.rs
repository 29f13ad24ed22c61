//! Watches over HTTP: one JSON object for each change.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::{BufMut as _, Bytes, BytesMut};
use http::StatusCode;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame;
use serde_json::{Value, json};
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::{Instant, Interval, MissedTickBehavior};

use super::answer::{self, Answer, Shape};
use super::limits::{WATCH_PIECE_BYTES, WATCH_TIME, WATCH_TIME_MAX};
use super::objects::{include, list_options};
use super::request::ObjectPath;
use super::route::{Call, Shared, seconds, stopped};
use crate::kinds::Kind;
use crate::registry::{Changes, Notice, NoticeKind, now};
use crate::status::{ApiError, ApiResult};
use crate::table::{self, Include};

struct Watching {
    changes: Changes,
    kind: &'static Kind,
    shape: Shape,
    include: Include,
    /// Whether a table was sent with its head already.
    has_head: bool,
    bookmarks: Option<Interval>,
    end: Instant,
    stop: watch::Receiver<bool>,
    _permit: OwnedSemaphorePermit,
}

/// Begins a watch.
pub(super) fn serve(shared: &Shared, path: &ObjectPath, call: &Call) -> ApiResult<Answer> {
    let permit = Arc::clone(&shared.watches)
        .try_acquire_owned()
        .map_err(|_| ApiError::too_many_requests("too many watches, please try again later."))?;
    let options = list_options(path, &call.query)?;
    let initial = call.query.optional_flag("sendInitialEvents")?;
    let changes = shared.registry.watch(path.kind, path.namespace.as_deref(), &options, initial)?;
    let time = seconds(&call.query, "timeoutSeconds")?.filter(|time| !time.is_zero()).unwrap_or(WATCH_TIME).min(WATCH_TIME_MAX);
    let every = shared.patience.bookmark;
    let mut bookmarks = tokio::time::interval_at(Instant::now() + every, every);
    bookmarks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let watching = Watching {
        changes,
        kind: path.kind,
        shape: answer::shape(&call.headers)?,
        include: include(&call.query)?,
        has_head: false,
        bookmarks: call.query.flag("allowWatchBookmarks")?.then_some(bookmarks),
        end: Instant::now() + time,
        stop: shared.stop.clone(),
        _permit: permit,
    };
    let pieces = futures_util::stream::unfold(Some(watching), |watching| async move {
        let mut watching = watching?;
        let (piece, goes_on) = watching.piece().await?;
        Some((Ok::<_, Infallible>(Frame::data(piece)), goes_on.then_some(watching)))
    });
    let mut answer = answer::raw(StatusCode::OK, "application/json", Bytes::new());
    *answer.body_mut() = StreamBody::new(pieces).boxed_unsync();
    Ok(answer)
}

impl Watching {
    /// What is to be sent next, and whether the watch goes on after it; `None` at its end.
    async fn piece(&mut self) -> Option<(Bytes, bool)> {
        let mut text = BytesMut::new();
        let first = tokio::select! {
            biased;
            () = stopped(&mut self.stop) => return None,
            notice = self.changes.next() => notice,
            () = tokio::time::sleep_until(self.end) => return None,
            () = tick(&mut self.bookmarks) => match self.changes.bookmark() {
                Some(bookmark) => Ok(bookmark),
                // Something happened just then and comes next.
                None => self.changes.next().await,
            },
        };
        let mut next = first.map(Some);
        loop {
            match next {
                Ok(Some(notice)) => self.write(&mut text, &notice),
                Ok(None) => return Some((text.freeze(), true)),
                Err(error) => {
                    put(&mut text, "ERROR", error.status().to_string().as_bytes());
                    return Some((text.freeze(), false));
                }
            }
            if text.len() > WATCH_PIECE_BYTES {
                return Some((text.freeze(), true));
            }
            next = self.changes.try_next();
        }
    }

    fn write(&mut self, text: &mut BytesMut, notice: &Notice) {
        let is_plain = self.shape == Shape::Object && (self.kind.group != "events.k8s.io" || notice.kind == NoticeKind::Bookmark);
        if is_plain {
            return put(text, notice.kind.word(), &notice.object.json);
        }
        let value = match self.shape {
            Shape::Object => notice.value(self.kind),
            Shape::Partial(version) => {
                let mut partial = table::partial(&notice.object.value());
                partial["apiVersion"] = json!(version);
                partial
            }
            Shape::Table(version) => self.table(version, &notice.object.value()),
        };
        put(text, notice.kind.word(), value.to_string().as_bytes());
    }

    fn table(&mut self, version: &str, object: &Value) -> Value {
        let mut table = json!({
            "kind": "Table",
            "apiVersion": version,
            "metadata": { "resourceVersion": object["metadata"]["resourceVersion"] },
            "columnDefinitions": null,
            "rows": [table::row(self.kind, object, self.include, now())],
        });
        if !self.has_head {
            table["columnDefinitions"] = table::column_definitions(self.kind);
            self.has_head = true;
        }
        table
    }
}

async fn tick(interval: &mut Option<Interval>) {
    match interval {
        Some(interval) => drop(interval.tick().await),
        None => std::future::pending().await,
    }
}

fn put(text: &mut BytesMut, word: &str, object: &[u8]) {
    text.reserve(object.len() + 64);
    text.put_slice(b"{\"type\":\"");
    text.put_slice(word.as_bytes());
    text.put_slice(b"\",\"object\":");
    text.put_slice(object);
    text.put_slice(b"}\n");
}
