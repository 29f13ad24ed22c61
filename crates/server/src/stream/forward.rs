//! Port forwarding: pairs of SPDY streams, each pair a connection into the pod.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::sync::mpsc;

use super::Io;
use super::spdy::{self, Stream};
use super::websocket::{self, Message};
use crate::backend::{Backend, Connection, PodRef};

/// The largest piece sent at once.
const PIECE_BYTES_MAX: usize = 32 * 1024;

/// The most halves of pairs that wait for the other half.
const HALVES_MAX: usize = 64;

/// What is under way between a tunnel and its protocol.
const TUNNEL_BYTES: usize = 64 * 1024;

/// Serves all pairs that the client opens, until it goes.
pub async fn run(mut connection: spdy::Connection, backend: Arc<dyn Backend>, pod: PodRef) {
    let mut halves: BTreeMap<String, Stream> = BTreeMap::new();
    while let Some(stream) = connection.accept().await {
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
        tokio::spawn(async move { pair(error, data, &*backend, pod).await });
    }
    connection.finish().await;
}

async fn pair(error: Stream, data: Stream, backend: &dyn Backend, pod: PodRef) {
    let port = data.header("port").and_then(|port| port.parse().ok()).filter(|port| *port > 0);
    let opened = match port {
        Some(port) => backend.port_forward(pod, port).await.map_err(|error| format!("error forwarding port {port} to pod: {error}")),
        None => Err("the stream names no port".to_owned()),
    };
    let (_, error) = error.split();
    let (inbox, outbox) = data.split();
    match opened {
        Ok(connection) => {
            carry(connection, inbox, &outbox).await;
        }
        Err(text) => {
            error.send(Bytes::from(text)).await;
        }
    }
    outbox.finish().await;
    error.finish().await;
}

/// Carries data both ways until the pod has closed and everything from it is sent.
async fn carry(connection: Connection, mut inbox: mpsc::Receiver<Bytes>, outbox: &spdy::StreamSender) {
    let Connection { mut reader, mut writer } = connection;
    let in_task = tokio::spawn(async move {
        while let Some(data) = inbox.recv().await {
            if writer.write_all(&data).await.is_err() || writer.flush().await.is_err() {
                return;
            }
        }
        let _ = writer.shutdown().await;
    });
    let mut buffer = vec![0; PIECE_BYTES_MAX];
    loop {
        let read = tokio::select! {
            read = reader.read(&mut buffer) => read,
            () = outbox.gone() => break,
        };
        match read {
            Ok(0) | Err(_) => break,
            Ok(read) => {
                if !outbox.send(Bytes::copy_from_slice(&buffer[..read])).await {
                    break;
                }
            }
        }
    }
    in_task.abort();
}

/// A WebSocket whose messages are a stream of bytes: the protocol inside talks to what this gives.
pub fn tunnel(io: impl Io) -> DuplexStream {
    let (ours, inner) = tokio::io::duplex(TUNNEL_BYTES);
    tokio::spawn(async move {
        let (reader, writer) = tokio::io::split(io);
        let (mut from, mut to) = tokio::io::split(ours);
        let (mut receiver, mut sender) = (websocket::Receiver::new(reader), websocket::Sender::new(writer));
        let (pongs, mut pongs_due) = mpsc::channel::<Bytes>(1);
        let inwards = async move {
            let ended = loop {
                match receiver.receive().await {
                    Ok(Message::Data(data)) => {
                        if to.write_all(&data).await.is_err() {
                            break Ok(());
                        }
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
        let outwards = async move {
            let mut buffer = vec![0; PIECE_BYTES_MAX];
            loop {
                tokio::select! {
                    read = from.read(&mut buffer) => match read? {
                        0 => return sender.close(1000).await,
                        read => sender.send(&[], &buffer[..read]).await?,
                    },
                    Some(payload) = pongs_due.recv() => sender.pong(&payload).await?,
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
