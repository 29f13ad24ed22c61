//! Clients that write down what they ask and what they are told: over HTTP on the server's socket, each with a connection of its own.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use server::Server;
use server::kinds::stored;
use server::registry::ListOptions;
use tokio::net::UnixStream;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use crate::checker::{Answer, Ask, Moment, Op, Seen};

/// Where the objects are.
const OBJECTS: &str = "/api/v1/namespaces/default/configmaps";

/// A server that is being started is asked again after so long.
const PAUSE: Duration = Duration::from_millis(5);

/// The numbers of xorshift, which are good enough to choose by.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

/// One client.
pub(crate) struct Client {
    socket: PathBuf,
    begun: Instant,
    connection: Option<SendRequest<Full<Bytes>>>,
}

impl Client {
    pub(crate) fn new(socket: &Path, begun: Instant) -> Self {
        Self { socket: socket.to_owned(), begun, connection: None }
    }

    fn now(&self) -> Moment {
        self.begun.elapsed().as_nanos()
    }

    /// Asks, and says what became of it.
    pub(crate) async fn ask(&mut self, ask: Ask) -> Op {
        let (method, path, content_type, body) = request(&ask);
        self.connect().await;
        let begun = self.now();
        let answered = self.send(method, &path, content_type, body).await;
        let ended = self.now();
        let answer = match answered {
            Ok((status, text)) => answer(&ask, status, &text),
            Err(error) => {
                self.connection = None;
                Answer::Unknown(error)
            }
        };
        Op { begun, ended, ask, answer }
    }

    /// Until there is a server.
    async fn connect(&mut self) {
        while self.connection.as_ref().is_none_or(SendRequest::is_closed) {
            let Ok(stream) = UnixStream::connect(&self.socket).await else {
                tokio::time::sleep(PAUSE).await;
                continue;
            };
            let Ok((sender, connection)) = handshake(TokioIo::new(stream)).await else { continue };
            tokio::spawn(connection);
            self.connection = Some(sender);
        }
    }

    async fn send(&mut self, method: Method, path: &str, content_type: &str, body: Option<Value>) -> Result<(StatusCode, Bytes), String> {
        let answer = self.begin(method, path, content_type, body).await?;
        let status = answer.status();
        let body = answer.into_body().collect().await.map_err(|error| error.to_string())?;
        Ok((status, body.to_bytes()))
    }

    async fn begin(
        &mut self,
        method: Method,
        path: &str,
        content_type: &str,
        body: Option<Value>,
    ) -> Result<http::Response<Incoming>, String> {
        let connection = self.connection.as_mut().ok_or("there is no connection")?;
        connection.ready().await.map_err(|error| error.to_string())?;
        let body = body.map_or_else(Bytes::new, |body| Bytes::from(body.to_string()));
        let request = Request::builder().method(method).uri(path).header("host", "localhost").header("content-type", content_type);
        let request = request.body(Full::new(body)).map_err(|error| error.to_string())?;
        connection.send_request(request).await.map_err(|error| error.to_string())
    }
}

fn request(ask: &Ask) -> (Method, String, &'static str, Option<Value>) {
    const JSON: &str = "application/json";
    let object = |key: &str, number: u64, version: Option<u64>| {
        let mut object =
            json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": key }, "data": { "number": number.to_string() } });
        if let Some(version) = version {
            object["metadata"]["resourceVersion"] = json!(version.to_string());
        }
        Some(object)
    };
    let at = |key: &str| format!("{OBJECTS}/{key}");
    match ask {
        Ask::Create { key, number } => (Method::POST, OBJECTS.to_owned(), JSON, object(key, *number, None)),
        Ask::Update { key, number, version } => (Method::PUT, at(key), JSON, object(key, *number, Some(*version))),
        Ask::Patch { key, number } => {
            (Method::PATCH, at(key), "application/merge-patch+json", Some(json!({ "data": { "number": number.to_string() } })))
        }
        Ask::Delete { key, version } => {
            let options =
                json!({ "kind": "DeleteOptions", "apiVersion": "v1", "preconditions": { "resourceVersion": version.to_string() } });
            (Method::DELETE, at(key), JSON, Some(options))
        }
        Ask::Get { key } => (Method::GET, at(key), JSON, None),
        Ask::List => (Method::GET, OBJECTS.to_owned(), JSON, None),
    }
}

fn answer(ask: &Ask, status: StatusCode, text: &[u8]) -> Answer {
    let Ok(value) = serde_json::from_slice::<Value>(text) else { return Answer::Unknown(String::from_utf8_lossy(text).into_owned()) };
    match (status.as_u16(), value["reason"].as_str()) {
        (200 | 201, _) => match ask {
            Ask::Get { .. } => Answer::Found(version(&value), number(&value)),
            Ask::List => Answer::Listed(version(&value), value["items"].as_array().into_iter().flatten().filter_map(item).collect()),
            Ask::Delete { .. } => Answer::Deleted(None),
            Ask::Create { .. } | Ask::Update { .. } | Ask::Patch { .. } => Answer::Written(version(&value), number(&value)),
        },
        (404, _) => Answer::Absent,
        (409, Some("AlreadyExists")) => Answer::Exists,
        (409, _) => Answer::Conflict,
        _ => Answer::Unknown(value.to_string()),
    }
}

fn version(object: &Value) -> u64 {
    object["metadata"]["resourceVersion"]
        .as_str()
        .and_then(|version| version.parse().ok())
        .unwrap_or_else(|| panic!("no version: {object}"))
}

fn number(object: &Value) -> u64 {
    object["data"]["number"].as_str().and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("no number: {object}"))
}

/// An object of the run; what every namespace has is none.
fn item(object: &Value) -> Option<(String, u64, u64)> {
    let name = object["metadata"]["name"].as_str()?;
    object["data"].get("number")?;
    Some((name.to_owned(), version(object), number(object)))
}

impl Seen {
    /// Takes an event; one of an object that is not of the run counts for its version only.
    fn take(&mut self, kind: &str, object: &Value) {
        self.up_to = version(object);
        self.events.extend(item(object).map(|(name, version, number)| (kind.to_owned(), name, version, number)));
    }
}

/// What a server knows of its writes, from its start to its end: without a gap, which no client can promise over a restart.
pub(crate) struct Observer {
    stop: oneshot::Sender<()>,
    task: JoinHandle<Seen>,
}

impl Observer {
    /// Before any client has been answered.
    pub(crate) fn begin(server: &Server) -> Self {
        let registry = server.registry();
        let after = registry.store().revision().0;
        let options = ListOptions { resource_version: after.to_string(), ..ListOptions::default() };
        let mut changes = registry.watch(stored("configmaps"), Some("default"), &options, None).expect("a watch");
        let (stop, mut stopped) = oneshot::channel();
        let task = tokio::spawn(async move {
            let mut seen = Seen { after, events: Vec::new(), up_to: after };
            loop {
                let notice = tokio::select! {
                    notice = changes.next() => notice.expect("not behind"),
                    _ = &mut stopped => break,
                };
                seen.take(notice.kind.word(), &notice.object.value());
            }
            while let Some(notice) = changes.try_next().expect("not behind") {
                seen.take(notice.kind.word(), &notice.object.value());
            }
            seen
        });
        Self { stop, task }
    }

    /// After the server has stopped.
    pub(crate) async fn end(self) -> Seen {
        let _ = self.stop.send(());
        self.task.await.expect("it ends")
    }
}

/// How a watch begins.
enum Begin {
    /// Behind a list.
    List,
    /// With what there is, as part of the watch.
    InitialEvents,
    /// Behind what was seen last.
    GoOn(u64),
}

/// A client that watches, breaks off now and then, and goes on.
pub(crate) struct Watching {
    client: Client,
    random: Random,
    ending: watch::Receiver<Option<u64>>,
    seen: Vec<Seen>,
    lists: Vec<Op>,
}

impl Watching {
    pub(crate) fn new(socket: &Path, begun: Instant, random: Random, ending: watch::Receiver<Option<u64>>) -> Self {
        Self { client: Client::new(socket, begun), random, ending, seen: Vec::new(), lists: Vec::new() }
    }

    /// Watches until the last write is seen: what was told, and the lists that were taken to begin.
    pub(crate) async fn run(mut self) -> (Vec<Seen>, Vec<Op>) {
        let mut begin = Begin::List;
        loop {
            let Some(after) = self.watch(begin).await else {
                // Too long ago, or there is no server.
                begin = if self.random.below(2) == 0 { Begin::List } else { Begin::InitialEvents };
                continue;
            };
            if self.ending.borrow().is_some_and(|end| after >= end) {
                return (self.seen, self.lists);
            }
            begin = match self.random.below(4) {
                0 => Begin::List,
                1 => Begin::InitialEvents,
                _ => Begin::GoOn(after),
            };
        }
    }

    /// One watch; the version up to which everything was seen. `None` if it did not come about.
    async fn watch(&mut self, begin: Begin) -> Option<u64> {
        let after = match begin {
            Begin::GoOn(version) => Some(version),
            Begin::InitialEvents => None,
            Begin::List => {
                let list = self.client.ask(Ask::List).await;
                let Answer::Listed(version, _) = list.answer else { return None };
                self.lists.push(list);
                Some(version)
            }
        };
        let from = after.map_or_else(
            || "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true".to_owned(),
            |after| format!("resourceVersion={after}"),
        );
        self.client.connect().await;
        let begun = self.client.now();
        let answer = self.client.begin(Method::GET, &format!("{OBJECTS}?watch=1&{from}"), "application/json", None).await;
        // Its connection is the watch's from here on.
        let _connection = self.client.connection.take();
        let answer = answer.ok().filter(|answer| answer.status() == StatusCode::OK)?;
        let mut lines = Lines { body: answer.into_body(), text: Vec::new() };
        let after = match after {
            Some(after) => after,
            None => self.initial(&mut lines, begun).await?,
        };
        let mut seen = Seen { after, events: Vec::new(), up_to: after };
        let events_max = 1 + self.random.below(200);
        let mut is_kept = true;
        while (seen.events.len() as u64) < events_max {
            let up_to = seen.up_to;
            let line = tokio::select! {
                line = lines.next() => line,
                _ = self.ending.wait_for(|end| end.is_some_and(|end| up_to >= end)) => None,
            };
            let Some(line) = line else { break };
            let event: Value = serde_json::from_slice(&line).expect("JSON");
            let (kind, object) = (event["type"].as_str().unwrap_or_default(), &event["object"]);
            if kind == "ERROR" {
                assert_eq!(object["code"], 410, "{event}");
                is_kept = false;
                break;
            }
            seen.take(kind, object);
        }
        let up_to = seen.up_to;
        if !seen.events.is_empty() {
            self.seen.push(seen);
        }
        is_kept.then_some(up_to)
    }

    /// What there is, up to the bookmark that ends it: as good as a list.
    async fn initial(&mut self, lines: &mut Lines, begun: Moment) -> Option<u64> {
        let mut items = Vec::new();
        loop {
            let event: Value = serde_json::from_slice(&lines.next().await?).expect("JSON");
            let object = &event["object"];
            match event["type"].as_str() {
                Some("ADDED") => items.extend(item(object)),
                Some("BOOKMARK") => {
                    assert_eq!(object["metadata"]["annotations"]["k8s.io/initial-events-end"], "true", "{event}");
                    let at = version(object);
                    self.lists.push(Op { begun, ended: self.client.now(), ask: Ask::List, answer: Answer::Listed(at, items) });
                    return Some(at);
                }
                _ => return None,
            }
        }
    }
}

/// The lines of an answer that goes on.
struct Lines {
    body: Incoming,
    text: Vec<u8>,
}

impl Lines {
    /// `None` at the end.
    async fn next(&mut self) -> Option<Vec<u8>> {
        loop {
            if let Some(end) = self.text.iter().position(|byte| *byte == b'\n') {
                let rest = self.text.split_off(end + 1);
                return Some(std::mem::replace(&mut self.text, rest));
            }
            let frame = self.body.frame().await?.ok()?;
            self.text.extend(frame.into_data().unwrap_or_default());
        }
    }
}
