//! From a request to who answers it.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::header::AUTHORIZATION;
use http::{HeaderMap, Method, Request, StatusCode};
use hyper::body::Incoming;
use serde_json::Value;
use tokio::sync::{Semaphore, SemaphorePermit, watch};

use super::answer::{self, Accepted, Answer, accepted};
use super::held::read_body;
use super::limits::{BODIES_BYTES_MAX, Patience, REQUESTS_MAX, STRANGERS_MAX, STREAMS_OPEN_MAX, WATCHES_MAX};
use super::metrics::Metrics;
use super::objects;
use super::page::{self, Sessions};
use super::request::{ObjectPath, Query, Target, target};
use super::usage::{self, Meter};
use crate::BACKUP_PATH;
use crate::backend::Backend;
use crate::body::{read_json, read_yaml};
use crate::discovery::{self, Which};
use crate::kinds::{Review, stored};
use crate::lives::Lives;
use crate::openapi;
use crate::protobuf;
use crate::registry::{Encoding, Registry, now};
use crate::reviews;
use crate::security::tokens::{ISSUER, Tokens};
use crate::security::users::{Action, User, may};
use crate::status::{ApiError, ApiResult};

/// What all connections share.
pub(crate) struct Shared {
    pub(crate) registry: Registry,
    pub(crate) backend: Arc<dyn Backend>,
    pub(super) lives: Arc<dyn Lives>,
    pub(super) sessions: Sessions,
    pub(crate) tokens: Tokens,
    requests: Semaphore,
    /// For each byte of the bodies that are held.
    pub(super) bodies: Arc<Semaphore>,
    strangers: Semaphore,
    pub(super) watches: Arc<Semaphore>,
    pub(super) streams: Arc<Semaphore>,
    pub(super) patience: Patience,
    pub(super) stop: watch::Receiver<bool>,
    metrics: Metrics,
    pub(super) meter: Meter,
    /// Whether the engine behind it has taken up its pods.
    is_ready: Arc<AtomicBool>,
}

/// What is said until then.
const NOT_READY: &str = "[-]pods-adopted failed: the pods that were here before are being taken up";

/// A request with what was read of it.
pub(super) struct Call {
    pub(super) method: Method,
    pub(super) query: Query,
    pub(super) headers: HeaderMap,
    pub(super) request: Request<Incoming>,
    pub(super) user: User,
}

impl Shared {
    pub(crate) fn new(
        registry: Registry,
        node: (Arc<dyn Backend>, Arc<dyn Lives>),
        metrics: Metrics,
        tokens: Tokens,
        patience: Patience,
        (stop, is_ready): (watch::Receiver<bool>, Arc<AtomicBool>),
    ) -> Self {
        let (backend, lives) = node;
        Self {
            registry,
            backend,
            lives,
            sessions: Sessions::default(),
            tokens,
            requests: Semaphore::new(REQUESTS_MAX),
            bodies: Arc::new(Semaphore::new(BODIES_BYTES_MAX)),
            strangers: Semaphore::new(STRANGERS_MAX),
            watches: Arc::new(Semaphore::new(WATCHES_MAX)),
            streams: Arc::new(Semaphore::new(STREAMS_OPEN_MAX)),
            patience,
            stop,
            metrics,
            meter: Meter::default(),
            is_ready,
        }
    }

    /// A place among the requests at work, of someone who is known.
    pub(super) fn place(&self) -> ApiResult<SemaphorePermit<'_>> {
        self.requests.try_acquire().map_err(|_| ApiError::too_many_requests("too many requests, please try again later."))
    }

    /// A place of someone who is not known yet, so that strangers take none from those who are.
    pub(super) fn strangers_place(&self) -> ApiResult<SemaphorePermit<'_>> {
        self.strangers.try_acquire().map_err(|_| ApiError::too_many_requests("too many sessions are being begun, please try again later."))
    }

    /// Whose a token is.
    pub(super) fn user_of_token(&self, token: &str) -> Option<User> {
        let account = |namespace: &str, name: &str| {
            let account = self.registry.get(stored("serviceaccounts"), namespace, name).ok()?;
            Some(crate::object::uid(&account).to_owned())
        };
        self.tokens.user(token, now().as_second(), account)
    }
}

/// Answers a request. `user` is who the connection belongs to, if that is known.
pub(super) async fn handle(shared: Arc<Shared>, user: Option<User>, request: Request<Incoming>) -> Result<Answer, Infallible> {
    let answer = match route(&shared, user, request).await {
        Ok(answer) => answer,
        Err(error) => answer::error(&error),
    };
    shared.metrics.count(answer.status().is_server_error());
    Ok(answer)
}

async fn route(shared: &Arc<Shared>, user: Option<User>, request: Request<Incoming>) -> ApiResult<Answer> {
    let path = request.uri().path().to_owned();
    // The only things that anyone may know.
    match path.as_str() {
        "/healthz" | "/livez" => return Ok(answer::text(StatusCode::OK, "ok")),
        "/readyz" if shared.is_ready.load(Ordering::Acquire) => return Ok(answer::text(StatusCode::OK, "ok")),
        "/readyz" => return Ok(answer::text(StatusCode::SERVICE_UNAVAILABLE, NOT_READY)),
        _ => {}
    }
    if page::is_wanted(&path, request.headers()) {
        return Ok(page::serve(shared, user, request).await);
    }
    let user = match token(request.headers()) {
        Some(token) => shared.user_of_token(token),
        None => user,
    };
    let user = user.ok_or_else(ApiError::unauthorized)?;
    let query = Query::parse(request.uri().query().unwrap_or_default());
    let (method, headers) = (request.method().clone(), request.headers().clone());
    let incoming = Call { method, query, headers, request, user };
    match target(&path)? {
        Target::Objects(path) => objects::serve(shared, path, incoming).await,
        Target::Measured(path) => usage::serve(shared, &path, &incoming).await,
        Target::Review(review) => review_request(shared, review, incoming).await,
        Target::Path(parts) => {
            let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
            if incoming.method != Method::GET {
                return Err(ApiError::method_not_allowed());
            }
            let action = Action { verb: "get", path: &path, ..Action::default() };
            if !may(incoming.user.role(), &action) {
                let message = format!("forbidden: User \"{}\" cannot get path \"{path}\"", incoming.user.name);
                return Err(ApiError::new(403, "Forbidden", message));
            }
            if path == BACKUP_PATH {
                return backup(shared).await;
            }
            described(shared, &parts, &incoming.headers)
        }
    }
}

pub(super) fn token(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// Checks that a user may do something with objects.
pub(super) fn authorize(user: &User, path: &ObjectPath, verb: &str) -> ApiResult<()> {
    let kind = path.kind;
    let name = path.name.as_deref().unwrap_or_default();
    let action = Action { verb, group: kind.group, resource: kind.resource, part: &path.part, namespace: path.namespace(), name, path: "" };
    if may(user.role(), &action) {
        return Ok(());
    }
    let resource = if path.part.is_empty() { kind.resource.to_owned() } else { format!("{}/{}", kind.resource, path.part) };
    let place = match path.namespace() {
        "" => "at the cluster scope".to_owned(),
        namespace => format!("in the namespace \"{namespace}\""),
    };
    let why = format!("User \"{}\" cannot {verb} resource \"{resource}\" in API group \"{}\" {place}", user.name, kind.group);
    Err(ApiError::forbidden(kind, name, &why))
}

/// All objects as they are at one revision. Writers go on meanwhile.
async fn backup(shared: &Shared) -> ApiResult<Answer> {
    let store = shared.registry.store().clone();
    let made = tokio::task::spawn_blocking(move || {
        let mut bytes = Vec::new();
        store.backup(&mut bytes).map(|_| bytes)
    });
    let bytes = made.await.map_err(ApiError::internal)?.map_err(ApiError::internal)?;
    Ok(answer::raw(StatusCode::OK, "application/jsonl", bytes))
}

/// What the API says of itself.
fn described(shared: &Shared, parts: &[&str], headers: &HeaderMap) -> ApiResult<Answer> {
    let ok = |value: Value| Ok(answer::json(StatusCode::OK, &value));
    match parts {
        ["api"] => Ok(discovered(Which::Core, headers)),
        ["apis"] => Ok(discovered(Which::Groups, headers)),
        ["apis", group] => ok(discovery::group(group).ok_or_else(ApiError::no_such_path)?),
        ["api", version] => ok(discovery::resource_list("", version).ok_or_else(ApiError::no_such_path)?),
        ["apis", group, version] => ok(discovery::resource_list(group, version).ok_or_else(ApiError::no_such_path)?),
        ["version"] => ok(discovery::version()),
        ["openapi", "v2"] => Ok(openapi_v2(headers)),
        ["openapi", "v3"] => ok(openapi::index()),
        ["openapi", "v3", "api", "v1"] => openapi_v3(""),
        ["openapi", "v3", "apis", group, "v1"] => openapi_v3(group),
        ["metrics"] => {
            let text = shared.metrics.text(shared).map_err(ApiError::internal)?;
            Ok(answer::raw(StatusCode::OK, prometheus::TEXT_FORMAT, text))
        }
        [] => ok(
            serde_json::json!({ "paths": ["/api", "/apis", "/healthz", "/livez", "/metrics", "/openapi/v2", "/openapi/v3", "/readyz", "/version"] }),
        ),
        _ => Err(ApiError::no_such_path()),
    }
}

fn openapi_v3(group: &str) -> ApiResult<Answer> {
    let document = openapi::document_v3(group).ok_or_else(ApiError::no_such_path)?;
    Ok(answer::raw(StatusCode::OK, "application/json", document))
}

/// kubectl takes this document as protobuf only.
fn openapi_v2(headers: &HeaderMap) -> Answer {
    const PROTOBUF: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";
    // The name that older clients ask by is no valid media type, so nothing may be answered under it.
    const OLD: &str = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";
    match accepted(headers).any(|accepted| matches!(accepted.media, PROTOBUF | OLD)) {
        true => answer::raw(StatusCode::OK, PROTOBUF, crate::openapi_proto::document_v2()),
        false => answer::raw(StatusCode::OK, "application/json", openapi::document_v2()),
    }
}

fn discovered(which: Which, headers: &HeaderMap) -> Answer {
    for accepted in accepted(headers).filter(Accepted::is_json) {
        let media = match (accepted.group, accepted.kind, accepted.version) {
            ("apidiscovery.k8s.io", "APIGroupDiscoveryList", "v2") => {
                "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
            }
            ("apidiscovery.k8s.io", "APIGroupDiscoveryList", "v2beta1") => {
                "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList"
            }
            ("", "", "") => break,
            _ => continue,
        };
        let document = discovery::aggregated(which, accepted.version);
        return answer::raw(StatusCode::OK, media, document.to_string());
    }
    let document = match which {
        Which::Core => discovery::core_versions(),
        Which::Groups => discovery::group_list(),
    };
    answer::json(StatusCode::OK, &document)
}

async fn review_request(shared: &Arc<Shared>, review: &'static Review, incoming: Call) -> ApiResult<Answer> {
    if incoming.method != Method::POST {
        return Err(ApiError::method_not_allowed());
    }
    let action = Action { verb: "create", group: review.group, resource: review.resource, ..Action::default() };
    if !may(incoming.user.role(), &action) {
        let message = format!(
            "{}.{} is forbidden: User \"{}\" cannot create resource \"{}\" in API group \"{}\" at the cluster scope",
            review.resource, review.group, incoming.user.name, review.resource, review.group
        );
        return Err(ApiError::new(403, "Forbidden", message));
    }
    let encoding = encoding(&incoming.headers)?;
    let user = incoming.user.clone();
    let _place = shared.place()?;
    let body = read_body(shared, incoming.request).await?;
    let (mut request, _) = parse(&body, encoding, review.definition)?;
    crate::schema::check(&mut request, review.definition, &mut Vec::new()).map_err(|error| {
        ApiError::bad_request(format!("{} in version \"v1\" cannot be handled as a {}: {error}", review.kind, review.kind))
    })?;
    let authenticate = |token: &str| {
        let user = shared.user_of_token(token)?;
        let audiences = shared.tokens.audiences(token);
        Some((user, if audiences.is_empty() { vec![ISSUER.to_owned()] } else { audiences }))
    };
    let answer = reviews::answer(review, request, &user, authenticate)?;
    Ok(answer::json(StatusCode::CREATED, &answer))
}

/// The form of a body.
pub(super) fn encoding(headers: &HeaderMap) -> ApiResult<Encoding> {
    let media = headers.get(http::header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    match media.split(';').next().unwrap_or_default().trim() {
        "" | "application/json" | "*/*" => Ok(Encoding::Json),
        "application/yaml" => Ok(Encoding::Yaml),
        protobuf::MEDIA_TYPE => Ok(Encoding::Protobuf),
        _ => Err(ApiError::unsupported_media_type(&["application/json", "application/yaml", protobuf::MEDIA_TYPE])),
    }
}

/// Reads a body. `definition` is the type that it has in protobuf.
pub(super) fn parse(body: &[u8], encoding: Encoding, definition: &'static str) -> ApiResult<(Value, Vec<crate::schema::Misfit>)> {
    let parsed = match encoding {
        Encoding::Json => read_json(body).map_err(|error| error.to_string()),
        Encoding::Yaml => read_yaml(body),
        Encoding::Protobuf => protobuf::read(body, definition).map(|value| (value, Vec::new())).map_err(|error| error.to_string()),
    };
    parsed.map_err(|error| ApiError::bad_request(format!("the body cannot be read: {error}")))
}

/// Waits until the server stops.
pub(super) async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

/// A time from a number of seconds in the query.
pub(super) fn seconds(query: &Query, name: &str) -> ApiResult<Option<Duration>> {
    Ok(query.number::<u64>(name)?.map(Duration::from_secs))
}
