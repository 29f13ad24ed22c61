//! Port forwarding: pairs of SPDY streams, each pair a connection into the pod.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::sync::mpsc;

use super::spdy::{self, Stream};
use super::websocket::{self, Message};
use super::{Io, pings};
use crate::backend::{Backend, Connection, PodRef, Reader, Writer};

/// The largest piece sent at once.
const PIECE_BYTES_MAX: usize = 32 * 1024;

/// The most halves of pairs that wait for the other half.
const HALVES_MAX: usize = 64;

/// What is under way between a tunnel and its protocol.
const TUNNEL_BYTES: usize = 64 * 1024;

/// Serves all pairs that the client opens, until it goes.
pub async fn run(mut connection: spdy::Connection, backend: Arc<dyn Backend>, pod: PodRef) {
    let mut halves: BTreeMap<String, Stream> = BTreeMap::new();
    let mut pings = pings();
    loop {
        let stream = tokio::select! {
            stream = connection.accept() => stream,
            _ = pings.tick() => match connection.ping().await {
                Ok(()) => continue,
                Err(_) => break,
            },
        };
        let Some(stream) = stream else { break };
        let Some(request) = stream.header("requestid").map(ToOwned::to_owned) else {
            let _ = stream.reset().await;
            continue;
        };
        let Some(other) = halves.remove(&request) else {
            if halves.len() == HALVES_MAX {
                let _ = stream.reset().await;
                continue;
            }
            halves.insert(request, stream);
            continue;
        };
        let (error, data) = if other.header("streamtype") == Some("error") { (other, stream) } else { (stream, other) };
        let (backend, pod) = (Arc::clone(&backend), pod.clone());
        tokio::spawn(async move { pair(error, data, &*backend, &pod).await });
    }
    connection.finish().await;
}

/// Connects to a port of a pod; the error is in the words of the kubelet's streaming server.
pub(super) async fn open(backend: &dyn Backend, pod: &PodRef, port: u16) -> Result<Connection, String> {
    let opened = backend.port_forward(pod.clone(), port).await;
    opened.map_err(|error| format!("error forwarding port {port} to pod {}, uid {}: {error}", pod.name, pod.uid))
}

async fn pair(error: Stream, data: Stream, backend: &dyn Backend, pod: &PodRef) {
    let port = data.header("port").and_then(|port| port.parse().ok()).filter(|port| *port > 0);
    let opened = match port {
        Some(port) => open(backend, pod, port).await,
        None => Err("the stream names no port".to_owned()),
    };
    let (_, error) = error.split();
    let (inbox, outbox) = data.split();
    match opened {
        Ok(connection) => carry(connection, inbox, &outbox, &error).await,
        Err(text) => {
            error.send(Bytes::from(text)).await;
            outbox.finish().await;
            error.finish().await;
        }
    }
}

/// Carries data both ways, each until its sender has ended it, or nobody takes it any more. The client waits for an end without an error
/// before it closes its side, so it is told that as soon as the pod has said all; what it still sends arrives.
async fn carry(connection: Connection, inbox: mpsc::Receiver<Bytes>, outbox: &spdy::StreamSender, error: &spdy::StreamSender) {
    let Connection { reader, writer } = connection;
    let inwards = async {
        tokio::select! {
            () = take_in(inbox, writer) => {}
            () = outbox.gone() => {}
        }
    };
    let outwards = async {
        tokio::select! {
            () = send_out(reader, outbox) => outbox.finish().await,
            () = outbox.gone() => {}
        }
        error.finish().await;
    };
    tokio::join!(inwards, outwards);
}

async fn take_in(mut inbox: mpsc::Receiver<Bytes>, mut writer: Writer) {
    while let Some(data) = inbox.recv().await {
        if writer.write_all(&data).await.is_err() || writer.flush().await.is_err() {
            return;
        }
    }
    let _ = writer.shutdown().await;
}

async fn send_out(mut reader: Reader, outbox: &spdy::StreamSender) {
    let mut buffer = vec![0; PIECE_BYTES_MAX];
    // A connection that the pod broke has ended as well.
    while let Ok(read @ 1..) = reader.read(&mut buffer).await {
        if !outbox.send(Bytes::copy_from_slice(&buffer[..read])).await {
            return;
        }
    }
}

/// A WebSocket whose messages are a stream of bytes: the protocol inside talks to what this gives.
pub fn tunnel(io: impl Io) -> DuplexStream {
    let (ours, inner) = tokio::io::duplex(TUNNEL_BYTES);
    tokio::spawn(async move {
        let (reader, writer) = tokio::io::split(io);
        let (mut from, mut to) = tokio::io::split(ours);
        let (mut receiver, mut sender) = (websocket::Receiver::new(reader), websocket::Sender::new(writer));
        let (pongs, mut pongs_due) = mpsc::channel::<Bytes>(1);
        let is_held_up = AtomicBool::new(false);
        let inwards = async {
            let ended = loop {
                match receiver.receive().await {
                    Ok(Message::Data(data)) => {
                        is_held_up.store(true, Ordering::Relaxed);
                        if to.write_all(&data).await.is_err() {
                            break Ok(());
                        }
                        is_held_up.store(false, Ordering::Relaxed);
                    }
                    Ok(Message::Ping(payload)) => drop(pongs.try_send(payload)),
                    Ok(Message::Close) => break Ok(()),
                    Err(error) => break Err(error),
                }
            };
            // However the client ended, the protocol inside learns of it.
            let _ = to.shutdown().await;
            ended
        };
        let outwards = async {
            let mut pings = pings();
            let mut buffer = vec![0; PIECE_BYTES_MAX];
            loop {
                tokio::select! {
                    read = from.read(&mut buffer) => match read? {
                        0 => return sender.close(1000).await,
                        read => sender.send(&[], &buffer[..read]).await?,
                    },
                    Some(payload) = pongs_due.recv() => sender.pong(&payload).await?,
                    // The client's own pings are behind data that the pod does not take: it must not take us for dead.
                    _ = pings.tick(), if is_held_up.load(Ordering::Relaxed) => sender.pong(&[]).await?,
                }
            }
        };
        let (inwards, outwards) = tokio::join!(inwards, outwards);
        if let Err(error) = inwards {
            tracing::debug!(%error, "a tunnel ended");
        }
        if let Err(error) = outwards {
            tracing::debug!(%error, "a tunnel ended");
        }
    });
    inner
}
