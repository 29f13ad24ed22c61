//! The page for people: its files, its sessions, and what it is told while it is open.
//!
//! Everything that it is told depends on the role of its user, as in the API; nothing can be changed through it. The files hold no
//! secret and are for everyone. A browser is told to run only these files, to send nothing elsewhere, and to take nothing that a
//! pod said for markup.

mod live;
mod sessions;

use std::sync::Arc;
use std::time::Instant;

use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue, LOCATION};
use http::{HeaderMap, Method, Request, StatusCode};
use hyper::body::Incoming;
use serde_json::{Value, json};

use super::answer::{self, Answer};
use super::held::read_small_body;
use super::limits::PAGE_BODY_BYTES_MAX;
use super::log::{backend_error, stream};
use super::request::Query;
use super::route::{Shared, token};
use crate::backend::{LogOptions, PodRef};
use crate::security::users::{Action, READ_ONLY_GROUP, Role, User, may};
use crate::status::{ApiError, ApiResult};

pub(crate) use self::sessions::Sessions;

/// Lines of a log that the page begins with.
const LOG_LINES: u64 = 1000;

/// The page's files, with their media types.
const FILES: [(&str, &str, &str); 4] = [
    ("/ui/", "text/html; charset=utf-8", include_str!("assets/index.html")),
    ("/ui/page.css", "text/css; charset=utf-8", include_str!("assets/page.css")),
    ("/ui/page.js", "text/javascript; charset=utf-8", include_str!("assets/page.js")),
    ("/ui/icon.svg", "image/svg+xml", include_str!("assets/icon.svg")),
];

const HEADERS: [(&str, &str); 6] = [
    (
        "content-security-policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
    ),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    ("x-frame-options", "DENY"),
];

/// Someone who looks at the page.
struct Viewer {
    user: User,
    /// The token of the session, if they came by one.
    session: Option<String>,
}

/// Whether a request is one of the page's, or of a browser that has come to the front door.
pub(super) fn is_wanted(path: &str, headers: &HeaderMap) -> bool {
    let wants_page = || headers.get(http::header::ACCEPT).is_some_and(|accept| accept.as_bytes().starts_with(b"text/html"));
    path == "/ui" || path.starts_with("/ui/") || (path == "/" && wants_page())
}

/// Answers a request of the page. `connected` is who the connection belongs to, if that is known.
pub(super) async fn serve(shared: &Arc<Shared>, connected: Option<User>, request: Request<Incoming>) -> Answer {
    let mut answer = match route(shared, connected, request).await {
        Ok(answer) => answer,
        Err(error) => answer::error(&error),
    };
    let headers = answer.headers_mut();
    for (name, value) in HEADERS {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

async fn route(shared: &Arc<Shared>, connected: Option<User>, request: Request<Incoming>) -> ApiResult<Answer> {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    if method == Method::GET {
        if let Some(&(_, media, text)) = FILES.iter().find(|(file, ..)| *file == path) {
            return Ok(answer::raw(StatusCode::OK, media, text));
        }
        if matches!(path.as_str(), "/" | "/ui") {
            return Ok(redirect());
        }
    }
    if (&method, path.as_str()) == (&Method::POST, "/ui/session") {
        return begin(shared, request).await;
    }
    if (&method, path.as_str()) == (&Method::GET, "/ui/me") {
        let viewer = viewer(shared, connected, request.headers()).ok();
        return Ok(answer::json(StatusCode::OK, &viewer.map_or_else(|| json!({ "user": null }), |viewer| me(shared, &viewer.user))));
    }
    let query = Query::parse(request.uri().query().unwrap_or_default());
    let viewer = viewer(shared, connected, request.headers())?;
    match (method, path.as_str()) {
        (Method::DELETE, "/ui/session") => {
            viewer.session.iter().for_each(|token| shared.sessions.end(token));
            Ok(answer::json(StatusCode::OK, &json!({})))
        }
        (Method::POST, "/ui/code") => code(shared, viewer, request).await,
        (Method::GET, "/ui/pods") => live::pods(shared, &viewer.user),
        (Method::GET, "/ui/life") => live::life(shared, &viewer.user, query.get("uid")),
        (Method::GET, "/ui/log") => log(shared, &viewer.user, &query).await,
        _ => Err(ApiError::no_such_path()),
    }
}

fn redirect() -> Answer {
    let mut answer = answer::text(StatusCode::SEE_OTHER, "");
    answer.headers_mut().insert(LOCATION, HeaderValue::from_static("/ui/"));
    answer
}

/// A session's token is good here and nowhere else.
fn viewer(shared: &Shared, connected: Option<User>, headers: &HeaderMap) -> ApiResult<Viewer> {
    let viewer = match token(headers) {
        None => connected.map(|user| Viewer { user, session: None }),
        Some(token) => match shared.sessions.user(token, Instant::now()) {
            Some(user) => Some(Viewer { user, session: Some(token.to_owned()) }),
            None => shared.user_of_token(token).map(|user| Viewer { user, session: None }),
        },
    };
    viewer.ok_or_else(ApiError::unauthorized)
}

fn role_word(user: &User) -> &'static str {
    match user.role() {
        Role::Admin => "admin",
        Role::ReadOnly => "read-only",
        Role::Known => "known",
    }
}

fn me(shared: &Shared, user: &User) -> Value {
    json!({ "user": user.name, "role": role_word(user), "node": shared.registry.node(), "seesOutput": sees_output(user) })
}

/// Begins a session for whoever has a token or a code. Only JSON is taken, which no other page can send without being asked.
async fn begin(shared: &Arc<Shared>, request: Request<Incoming>) -> ApiResult<Answer> {
    let _place = shared.strangers_place()?;
    let wanted = json_body(shared, request).await?;
    let user = match (wanted["token"].as_str(), wanted["code"].as_str()) {
        (Some(token), _) => shared.user_of_token(token.trim()),
        (None, Some(code)) => shared.sessions.redeem(code, Instant::now()),
        (None, None) => return Err(ApiError::bad_request("neither a token nor a code")),
    };
    let user = user.ok_or_else(ApiError::unauthorized)?;
    look(&user, "list", "", "pods")?;
    let mut told = me(shared, &user);
    told["session"] = json!(shared.sessions.begin(user, Instant::now())?);
    Ok(answer::json(StatusCode::CREATED, &told))
}

/// Makes a link for a browser: of one's own role, or of the one that only looks. Nobody gets from a session to another one.
async fn code(shared: &Arc<Shared>, viewer: Viewer, request: Request<Incoming>) -> ApiResult<Answer> {
    if viewer.session.is_some() {
        return Err(ApiError::new(403, "Forbidden", "a session of the page cannot make links"));
    }
    look(&viewer.user, "list", "", "pods")?;
    let _place = shared.place()?;
    let wanted = json_body(shared, request).await?;
    let user = match (wanted["role"].as_str(), viewer.user.role()) {
        (None, _) | (Some("admin"), Role::Admin) => viewer.user,
        (Some("read-only"), _) => User::new("usher-read-only", vec![READ_ONLY_GROUP.to_owned()]),
        (Some(role), _) => return Err(ApiError::bad_request(format!("the role {role:?} is none that {} can give", viewer.user.name))),
    };
    Ok(answer::json(StatusCode::CREATED, &json!({ "code": shared.sessions.code(user, Instant::now())? })))
}

async fn json_body(shared: &Shared, request: Request<Incoming>) -> ApiResult<Value> {
    let media = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if media.split(';').next().unwrap_or_default().trim() != "application/json" {
        return Err(ApiError::unsupported_media_type(&["application/json"]));
    }
    let body = read_small_body(shared, request, PAGE_BODY_BYTES_MAX).await?;
    serde_json::from_slice(&body).map_err(|error| ApiError::bad_request(format!("the body cannot be read: {error}")))
}

/// Checks that someone may look at this of all pods.
fn look(user: &User, verb: &str, part: &str, what: &str) -> ApiResult<()> {
    let action = Action { verb, resource: "pods", part, ..Action::default() };
    if may(user.role(), &action) {
        return Ok(());
    }
    Err(ApiError::new(403, "Forbidden", format!("forbidden: User \"{}\" cannot {verb} {what}", user.name)))
}

/// Whether someone may see what containers and hooks print.
fn sees_output(user: &User) -> bool {
    look(user, "get", "log", "pods/log").is_ok()
}

/// The log of a container, also of a pod that is gone.
async fn log(shared: &Arc<Shared>, user: &User, query: &Query) -> ApiResult<Answer> {
    look(user, "get", "log", "pods/log")?;
    let name = |parameter: &str| file_name(query.get(parameter), parameter);
    let pod = PodRef { namespace: name("namespace")?, name: name("name")?, uid: name("uid")? };
    let options = LogOptions {
        container: name("container")?,
        follow: query.flag("follow")?,
        previous: query.flag("previous")?,
        timestamps: true,
        tail_lines: Some(LOG_LINES),
        ..LogOptions::default()
    };
    let permit = Arc::clone(&shared.streams)
        .try_acquire_owned()
        .map_err(|_| ApiError::too_many_requests("too many logs are being read, please try again later."))?;
    let reader = shared.backend.logs(pod, options).await.map_err(|error| backend_error(&error))?;
    Ok(stream(reader, permit, shared.stop.clone()))
}

/// Names become parts of paths: what is no name goes no further.
fn file_name(text: &str, what: &str) -> ApiResult<String> {
    let is_name = text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.'))
        && text.len() <= 253;
    if is_name { Ok(text.to_owned()) } else { Err(ApiError::bad_request(format!("{text:?} is no {what}"))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_name_becomes_no_part_of_a_path() {
        for name in ["app", "web-0", "10.0.0.1", "0b1c"] {
            assert_eq!(file_name(name, "name").expect(name), name);
        }
        for no_name in ["", "..", ".", "../x", "a/b", "a\0b", "A", "-a", "a b", &"a".repeat(254)] {
            assert!(file_name(no_name, "name").is_err(), "{no_name}");
        }
    }

    #[test]
    fn the_page_brings_all_that_it_needs_and_nothing_that_its_policy_forbids() {
        let (_, _, index) = FILES[0];
        for wanted in ["page.css", "page.js", "icon.svg"] {
            assert!(index.contains(wanted), "{wanted}");
        }
        for (file, _, text) in FILES {
            for forbidden in ["http://", "https://", " style=", "<style", "onclick", "innerHTML", "eval("] {
                let text = text.replace("http://www.w3.org/2000/svg", "");
                assert!(!text.contains(forbidden), "{forbidden} in {file}");
            }
        }
        assert!(!index.contains("<script>"), "no script in the page itself");
    }

    #[test]
    fn only_browsers_are_shown_the_page_at_the_front_door() {
        let mut headers = HeaderMap::new();
        assert!(!is_wanted("/", &headers) && is_wanted("/ui", &headers) && is_wanted("/ui/pods", &headers));
        headers.insert(http::header::ACCEPT, HeaderValue::from_static("application/json, */*"));
        assert!(!is_wanted("/", &headers) && !is_wanted("/uix", &headers));
        headers.insert(http::header::ACCEPT, HeaderValue::from_static("text/html,application/xhtml+xml"));
        assert!(is_wanted("/", &headers) && !is_wanted("/api", &headers));
    }
}
