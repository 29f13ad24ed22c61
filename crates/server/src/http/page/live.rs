//! What an open page is told: the list of pods, or the life of one, anew each time that something changes in it.
//!
//! Each is a stream of server-sent events, each event the whole of what is to be shown; so a page that missed one misses nothing.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use http::StatusCode;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame;
use serde_json::{Value, json};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{OwnedSemaphorePermit, broadcast, watch};
use tokio::time::Instant;

use super::super::answer::{self, Answer};
use super::super::limits::WATCH_TIME;
use super::super::route::{Shared, stopped};
use super::{look, sees_output};
use crate::backend::BackendError;
use crate::kinds::stored;
use crate::lives::{Remembered, Sight};
use crate::object;
use crate::registry::now;
use crate::security::users::User;
use crate::status::{ApiError, ApiResult};
use crate::store::Watch;
use crate::table::{self, Include};

/// After a change it is waited so long for more: what happens at once is shown at once, and no page is told more often.
const GATHER: Duration = Duration::from_millis(200);

/// Something is sent at least so often: the time goes on in a life, and whoever has gone away is noticed.
const PULSE: Duration = Duration::from_secs(5);

/// What is said of a pod of the API that has no journal.
const WAITING: &str = "Nothing has happened to this pod yet: the node has not taken it up.";

/// Pods that are gone and still shown, the newest.
const GONE_MAX: usize = 200;

/// A page that is open.
struct Open {
    shared: Arc<Shared>,
    stop: watch::Receiver<bool>,
    end: Instant,
    /// What was told last.
    told: String,
    _permit: OwnedSemaphorePermit,
}

impl Open {
    fn new(shared: &Arc<Shared>) -> ApiResult<Self> {
        let permit = Arc::clone(&shared.watches)
            .try_acquire_owned()
            .map_err(|_| ApiError::too_many_requests("too many watches, please try again later."))?;
        let end = Instant::now() + WATCH_TIME;
        Ok(Self { shared: Arc::clone(shared), stop: shared.stop.clone(), end, told: String::new(), _permit: permit })
    }

    /// What is sent: the data, or a comment if it was told already.
    fn event(&mut self, name: &str, data: &Value) -> Bytes {
        let data = data.to_string();
        if data == self.told {
            return Bytes::from_static(b":\n\n");
        }
        let text = format!("event: {name}\ndata: {data}\n\n");
        self.told = data;
        text.into()
    }

    /// Waits for a change, or until it is time to tell something. False at the end of the stream.
    async fn wait(&mut self, changed: impl Future<Output = ()>) -> bool {
        let wait = async {
            tokio::select! {
                () = changed => tokio::time::sleep(GATHER).await,
                () = tokio::time::sleep(PULSE) => {}
            }
        };
        tokio::select! {
            () = stopped(&mut self.stop) => false,
            () = tokio::time::sleep_until(self.end) => false,
            () = wait => true,
        }
    }
}

fn answer(pieces: impl Stream<Item = Bytes> + Send + 'static) -> Answer {
    use futures_util::StreamExt as _;
    let mut answer = answer::raw(StatusCode::OK, "text/event-stream", Bytes::new());
    *answer.body_mut() = StreamBody::new(pieces.map(|piece| Ok::<_, Infallible>(Frame::data(piece)))).boxed_unsync();
    answer
}

/// The list of pods.
pub(super) fn pods(shared: &Arc<Shared>, user: &User) -> ApiResult<Answer> {
    look(user, "list", "", "pods")?;
    let open = Open::new(shared)?;
    let store = shared.registry.store();
    let watch = store.watch("pods", store.revision());
    let pieces = futures_util::stream::unfold((open, watch, true), |(mut open, mut watch, is_first)| async move {
        if !is_first && !open.wait(pods_changed(&mut watch)).await {
            return None;
        }
        // What came meanwhile is told with this.
        let store = open.shared.registry.store();
        watch = store.watch("pods", store.revision());
        let list = list(&open.shared).await;
        let piece = open.event("pods", &list);
        Some((piece, (open, watch, false)))
    });
    Ok(answer(pieces))
}

async fn pods_changed(watch: &mut Watch) {
    // Whoever is so far behind that changes are lost looks anew, as after any change.
    let _ = watch.next().await;
}

/// The pods of the API, and those that are gone and remembered.
async fn list(shared: &Shared) -> Value {
    let kind = stored("pods");
    let stored: Vec<Value> = shared.registry.store().list(kind.stored_as).iter(None).map(|(_, stored)| stored.value()).collect();
    let known: BTreeSet<&str> = stored.iter().map(object::uid_on_node).collect();
    let mut gone: Vec<Remembered> = shared.lives.remembered().await;
    gone.retain(|pod| !known.contains(pod.uid.as_str()));
    gone.sort_by(|a, b| b.last_millis.cmp(&a.last_millis).then_with(|| a.uid.cmp(&b.uid)));
    gone.truncate(GONE_MAX);
    let present: Vec<Value> = stored
        .iter()
        .map(|pod| {
            let row = table::row(kind, pod, Include::None, now());
            let cell = |index: usize| row["cells"][index].clone();
            let meta = &pod["metadata"];
            json!({
                "namespace": meta["namespace"], "name": meta["name"], "uid": object::uid_on_node(pod), "created": meta["creationTimestamp"],
                "ready": cell(1), "status": cell(2), "restarts": cell(3), "ip": cell(5),
            })
        })
        .collect();
    let gone: Vec<Value> = gone
        .iter()
        .map(|pod| json!({ "namespace": pod.namespace, "name": pod.name, "uid": pod.uid, "lastMillis": pod.last_millis }))
        .collect();
    json!({ "present": present, "gone": gone })
}

/// The life of a pod.
pub(super) fn life(shared: &Arc<Shared>, user: &User, uid: &str) -> ApiResult<Answer> {
    look(user, "get", "", "pods")?;
    let uid = super::file_name(uid, "uid")?;
    let sight = if sees_output(user) { Sight::Everything } else { Sight::WithoutOutput };
    let open = Open::new(shared)?;
    let changes = shared.lives.changes();
    let pieces = futures_util::stream::unfold(Some((open, changes, true)), move |state| {
        let uid = uid.clone();
        async move {
            let (mut open, mut changes, is_first) = state?;
            if !is_first && !open.wait(life_changed(&mut changes, &uid)).await {
                return None;
            }
            changes = changes.resubscribe();
            let (piece, is_over) = match open.shared.lives.life(uid.clone(), sight).await {
                Ok(life) => (open.event("life", &life), life["isOver"] == true),
                Err(BackendError::NotFound(_)) if is_known(&open.shared, &uid) => {
                    (open.event("waiting", &json!({ "message": WAITING })), false)
                }
                Err(BackendError::NotFound(message) | BackendError::Invalid(message) | BackendError::Failed(message)) => {
                    (open.event("lost", &json!({ "message": message })), true)
                }
            };
            Some((piece, (!is_over).then_some((open, changes, false))))
        }
    });
    Ok(answer(pieces))
}

/// Whether a pod with this uid is in the API: the node may not have taken it up yet.
fn is_known(shared: &Shared, uid: &str) -> bool {
    let pods = shared.registry.store().list(stored("pods").stored_as);
    pods.iter(None).any(|(_, stored)| object::uid_on_node(&stored.value()) == uid)
}

async fn life_changed(changes: &mut broadcast::Receiver<String>, uid: &str) {
    loop {
        match changes.recv().await {
            Ok(changed) if changed == uid => return,
            Ok(_) => {}
            Err(RecvError::Lagged(_)) => return,
            Err(RecvError::Closed) => std::future::pending().await,
        }
    }
}
