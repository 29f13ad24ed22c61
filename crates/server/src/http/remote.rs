//! `pods/NAME/exec`, `attach` and `portforward`: requests after which the connection is something else.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{
    CONNECTION, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::{HeaderMap, StatusCode};
use hyper_util::rt::TokioIo;

use super::answer::{self, Answer};
use super::limits::UPGRADE_TIME;
use super::log::{container, pod};
use super::request::{ObjectPath, Query};
use super::route::{Call, Shared, stopped};
use crate::backend::{Backend, ExecOptions, PodRef, Streams};
use crate::status::{ApiError, ApiResult};
use crate::stream::forward::{self, tunnel};
use crate::stream::ports::{self, PORTS_MAX};
use crate::stream::remote::{self, Output, over_spdy, over_websocket};
use crate::stream::spdy;
use crate::stream::websocket::accept_key;

/// Protocols of sessions over WebSocket, best first.
const SESSION_PROTOCOLS: [&str; 2] = ["v5.channel.k8s.io", "v4.channel.k8s.io"];
/// The protocol of sessions over SPDY.
const SPDY_SESSION_PROTOCOL: &str = "v4.channel.k8s.io";
/// The protocol of forwarding over SPDY.
const FORWARD_PROTOCOL: &str = "portforward.k8s.io";
/// The same, with SPDY inside WebSocket.
const TUNNEL_PROTOCOL: &str = "SPDY/3.1+portforward.k8s.io";
/// Forwarding in channels of a WebSocket.
const PORTS_PROTOCOL: &str = "v4.channel.k8s.io";

const STREAM_PROTOCOL: &str = "x-stream-protocol-version";

/// How the connection goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Carrier {
    /// With sessions or SPDY inside.
    WebSocket,
    /// With a channel for each port inside.
    Ports,
    Spdy,
}

/// What the client wants.
#[derive(Clone, Debug)]
enum Wish {
    Exec(ExecOptions),
    Attach(ExecOptions),
    /// To these ports; clients that speak SPDY name them later.
    Forward(Vec<u16>),
}

pub(super) fn serve(shared: &Arc<Shared>, path: &ObjectPath, call: Call) -> ApiResult<Answer> {
    let permit = Arc::clone(&shared.streams)
        .try_acquire_owned()
        .map_err(|_| ApiError::too_many_requests("too many streams are open, please try again later."))?;
    let (pod, object) = pod(shared, path)?;
    let wish = match path.part.as_str() {
        "portforward" => Wish::Forward(named_ports(&call.query)?),
        part => {
            let container = container(&object, call.query.get("container"), path)?;
            let options = ExecOptions { user: call.user.name.clone(), ..options(&call.query, container)? };
            if part == "attach" {
                Wish::Attach(options)
            } else if options.command.is_empty() {
                return Err(ApiError::bad_request("you must specify at least 1 command for the container"));
            } else {
                Wish::Exec(options)
            }
        }
    };
    let phase = object["status"]["phase"].as_str().unwrap_or_default();
    if matches!(phase, "Succeeded" | "Failed") {
        let message = match wish {
            Wish::Exec(_) | Wish::Attach(_) => format!("cannot exec into a container in a completed pod; current phase is {phase}"),
            Wish::Forward(_) => format!("unable to forward port because pod is not running. Current status={phase}"),
        };
        return Err(ApiError::bad_request(message));
    }
    let (carrier, answer) = agree(&call.headers, &wish)?;
    let backend = Arc::clone(&shared.backend);
    let mut stop = shared.stop.clone();
    tokio::spawn(async move {
        let _permit = permit;
        let upgraded = tokio::time::timeout(UPGRADE_TIME, hyper::upgrade::on(call.request)).await;
        let Ok(Ok(upgraded)) = upgraded else { return };
        let carried = carry(TokioIo::new(upgraded), carrier, wish, backend, pod);
        tokio::select! {
            () = carried => {}
            () = stopped(&mut stop) => {}
        }
    });
    Ok(answer)
}

fn options(query: &Query, container: String) -> ApiResult<ExecOptions> {
    let streams =
        Streams { stdin: query.flag("stdin")?, stdout: query.flag("stdout")?, stderr: query.flag("stderr")?, tty: query.flag("tty")? };
    if !streams.stdin && !streams.stdout && !streams.stderr {
        return Err(ApiError::bad_request("you must specify at least 1 of stdin, stdout, stderr"));
    }
    // There is one output on a terminal.
    let streams = Streams { stderr: streams.stderr && !streams.tty, ..streams };
    Ok(ExecOptions { container, command: query.all("command").map(ToOwned::to_owned).collect(), streams, user: String::new() })
}

fn named_ports(query: &Query) -> ApiResult<Vec<u16>> {
    let words = query.all("ports").flat_map(|ports| ports.split(',')).filter(|port| !port.is_empty());
    let port = |word: &str| match word.parse() {
        Ok(port @ 1..) => Ok(port),
        Ok(0) | Err(_) => Err(ApiError::bad_request(format!("port \"{word}\" must be a number from 1 to 65535"))),
    };
    let ports = words.map(port).collect::<ApiResult<Vec<u16>>>()?;
    if ports.len() > PORTS_MAX {
        return Err(ApiError::bad_request(format!("at most {PORTS_MAX} ports can be forwarded by one request")));
    }
    Ok(ports)
}

/// Chooses the protocol, and makes the answer that says so.
fn agree(headers: &HeaderMap, wish: &Wish) -> ApiResult<(Carrier, Answer)> {
    let upgrade = headers.get(UPGRADE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let mut answer = answer::raw(StatusCode::SWITCHING_PROTOCOLS, "text/plain", Bytes::new());
    answer.headers_mut().clear();
    let mut set = |name: http::HeaderName, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            answer.headers_mut().insert(name, value);
        }
    };
    if upgrade.eq_ignore_ascii_case("websocket") {
        let key = headers
            .get(SEC_WEBSOCKET_KEY)
            .and_then(|key| key.to_str().ok())
            .ok_or_else(|| ApiError::bad_request("the request has no Sec-WebSocket-Key"))?;
        if headers.get(SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
            return Err(ApiError::bad_request("only version 13 of WebSocket is known"));
        }
        let known: &[&str] = if matches!(wish, Wish::Forward(_)) { &[TUNNEL_PROTOCOL, PORTS_PROTOCOL] } else { &SESSION_PROTOCOLS };
        let protocol = choose(headers, "sec-websocket-protocol", known).ok_or_else(|| {
            ApiError::bad_request(format!("unable to negotiate a websocket subprotocol; the server knows {}", known.join(", ")))
        })?;
        set(UPGRADE, "websocket");
        set(CONNECTION, "Upgrade");
        set(SEC_WEBSOCKET_ACCEPT, &accept_key(key));
        set(SEC_WEBSOCKET_PROTOCOL, protocol);
        let carrier = match wish {
            Wish::Forward(ports) if protocol == PORTS_PROTOCOL => {
                if ports.is_empty() {
                    return Err(ApiError::bad_request("query parameter \"ports\" is required"));
                }
                Carrier::Ports
            }
            Wish::Forward(_) | Wish::Exec(_) | Wish::Attach(_) => Carrier::WebSocket,
        };
        return Ok((carrier, answer));
    }
    if upgrade.eq_ignore_ascii_case("SPDY/3.1") {
        let known = if matches!(wish, Wish::Forward(_)) { FORWARD_PROTOCOL } else { SPDY_SESSION_PROTOCOL };
        if choose(headers, STREAM_PROTOCOL, &[known]).is_none() {
            return Err(ApiError::new(
                403,
                "Forbidden",
                format!("unable to upgrade: unable to negotiate protocol: the server knows {known}"),
            ));
        }
        set(UPGRADE, "SPDY/3.1");
        set(CONNECTION, "Upgrade");
        set(http::HeaderName::from_static(STREAM_PROTOCOL), known);
        return Ok((Carrier::Spdy, answer));
    }
    Err(ApiError::bad_request("Upgrade request required"))
}

/// The best protocol that both know.
fn choose<'k>(headers: &HeaderMap, name: &str, known: &[&'k str]) -> Option<&'k str> {
    let offered: Vec<&str> = headers
        .get_all(name)
        .into_iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .collect();
    known.iter().find(|known| offered.contains(known)).copied()
}

async fn carry(io: impl crate::stream::Io, carrier: Carrier, wish: Wish, backend: Arc<dyn Backend>, pod: PodRef) {
    let (session, streams) = match wish {
        Wish::Forward(wanted) => {
            let connection = match carrier {
                Carrier::WebSocket => spdy::Connection::new(tunnel(io)),
                Carrier::Spdy => spdy::Connection::new(io),
                Carrier::Ports => {
                    if let Err(error) = ports::run(io, &backend, &pod, &wanted).await {
                        tracing::debug!(%error, "forwarding broke");
                    }
                    return;
                }
            };
            return forward::run(connection, backend, pod).await;
        }
        Wish::Exec(options) => (backend.exec(pod, options.clone()).await, options.streams),
        Wish::Attach(options) => (backend.attach(pod, options.clone()).await, options.streams),
    };
    let (client, peer) = remote::remote();
    let running = async move {
        match session {
            Ok(session) => remote::run(session, client).await,
            Err(error) => {
                let _ = client.output.send(Output::End(remote::status(Err(error.to_string())))).await;
            }
        }
    };
    let carrying = async move {
        let carried = match carrier {
            Carrier::WebSocket | Carrier::Ports => over_websocket(io, peer).await,
            Carrier::Spdy => over_spdy(spdy::Connection::new(io), streams, peer).await,
        };
        if let Err(error) = carried {
            tracing::debug!(%error, "a session with a container broke");
        }
    };
    tokio::join!(running, carrying);
}
