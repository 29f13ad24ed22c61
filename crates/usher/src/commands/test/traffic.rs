//! The steady stream of requests: one connection each, sent on time whether or not the ones before are answered.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use chronicle::judge::{Reply, Request};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use node::clock;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};

use super::target::Target;

/// A request that takes longer is given up.
pub(super) const TIMEOUT: Duration = Duration::from_secs(5);

/// Sends requests until the moment that `until` names once it is known, or its sender is gone; returns all of them, in the order in
/// which they were sent.
pub(super) async fn send(target: Target, ip: IpAddr, rate: u32, mut until: watch::Receiver<Option<Instant>>) -> Vec<Request> {
    let address = SocketAddr::new(ip, target.port);
    let mut ticks = interval(Duration::from_secs(1) / rate);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut under_way = JoinSet::new();
    let mut requests = Vec::new();
    loop {
        let end = *until.borrow_and_update();
        tokio::select! {
            biased;
            () = sleep_until(end.unwrap_or_else(Instant::now)), if end.is_some() => break,
            known = until.changed() => if known.is_err() { break },
            Some(done) = under_way.join_next() => requests.extend(done),
            _ = ticks.tick() => {
                under_way.spawn(request(address, target.path.clone()));
            }
        }
    }
    while let Some(done) = under_way.join_next().await {
        requests.extend(done);
    }
    requests.sort_by_key(|request| request.sent_at);
    requests
}

async fn request(address: SocketAddr, path: String) -> Request {
    let sent_at = clock::now();
    let reply = timeout(TIMEOUT, exchange(address, &path)).await.unwrap_or(Reply::TimedOut);
    Request { sent_at, ended_at: clock::now(), reply }
}

async fn exchange(address: SocketAddr, path: &str) -> Reply {
    let stream = match TcpStream::connect(address).await {
        Ok(stream) => stream,
        Err(error) => return unconnected(&error),
    };
    match ask(stream, address, path).await {
        Ok(status) => Reply::Answered(status),
        Err(error) => Reply::BrokenOff(node::error_chain(&error)),
    }
}

fn unconnected(error: &std::io::Error) -> Reply {
    let kind = error.kind();
    if kind == ErrorKind::ConnectionRefused {
        Reply::Refused
    } else if kind == ErrorKind::TimedOut {
        Reply::TimedOut
    } else if matches!(kind, ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted) {
        Reply::BrokenOff(error.to_string())
    } else {
        Reply::Unreachable(error.to_string())
    }
}

/// Sends the request and reads the whole answer.
async fn ask(stream: TcpStream, address: SocketAddr, path: &str) -> Result<u16, hyper::Error> {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let request = hyper::Request::get(path)
        .header("Host", address.to_string())
        .header("User-Agent", concat!("usher-test/", env!("CARGO_PKG_VERSION")))
        .header("Accept", "*/*")
        .header("Connection", "close")
        .body(Empty::<Bytes>::new())
        .expect("path and headers were checked when the command line was read");
    let exchange = async move {
        let response = sender.send_request(request).await?;
        let status = response.status().as_u16();
        let mut body = response.into_body();
        while let Some(frame) = body.frame().await {
            frame?;
        }
        Ok(status)
    };
    // The connection ends with the answer; what it has to say of its own end comes after.
    tokio::select! {
        biased;
        done = exchange => done,
        Err(error) = connection => Err(error),
    }
}
