//! Port forwarding in channels of one WebSocket, as clients do it that do not speak SPDY: each port that the request names has a
//! channel for data, `2n`, and one for errors, `2n + 1`. Each of them begins with the number of its port.
//!
//! A port is one connection into the pod, made at once. Nobody can end one of them: all end with the WebSocket, which ends when the
//! pod has ended all.

use std::sync::Arc;

use bytes::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::websocket::{self, Message};
use super::{Io, StreamError, pings};
use crate::backend::{Backend, PodRef, Reader, Writer};

/// The most ports of one connection: the numbers of their channels are single bytes.
pub const PORTS_MAX: usize = 127;

/// The most pieces of data that wait on their way in either direction: the sender waits then.
const QUEUE_MAX: usize = 16;

/// The largest piece sent at once.
const PIECE_BYTES_MAX: usize = 32 * 1024;

/// A message to the client: its channel, and what is in it.
type Outgoing = (u8, Bytes);

/// Carries all ports until the client goes or the pod has ended all connections.
///
/// # Errors
/// The connection broke, or the client broke the protocol.
pub async fn run(io: impl Io, backend: &Arc<dyn Backend>, pod: &PodRef, ports: &[u16]) -> Result<(), StreamError> {
    let (reader, writer) = tokio::io::split(io);
    let (mut receiver, mut sender) = (websocket::Receiver::new(reader), websocket::Sender::new(writer));
    let (out, mut outgoing) = mpsc::channel::<Outgoing>(QUEUE_MAX);
    let (pongs, mut pongs_due) = mpsc::channel::<Bytes>(1);
    let mut inboxes = Vec::new();
    // They end with this.
    let mut connections = JoinSet::new();
    for (port, data_channel) in ports.iter().take(PORTS_MAX).zip((0..=u8::MAX).step_by(2)) {
        for channel in [data_channel, data_channel + 1] {
            let message = [&[channel][..], &port.to_le_bytes()].concat();
            sender.send(&[], &message).await?;
        }
        let (inbox, taken) = mpsc::channel(QUEUE_MAX);
        inboxes.push(inbox);
        let (backend, pod) = (Arc::clone(backend), pod.clone());
        connections.spawn(connect(backend, pod, *port, data_channel, taken, out.clone()));
    }
    drop(out);
    let waiting = inboxes.clone();
    let receiving = async move {
        loop {
            match receiver.receive().await? {
                Message::Data(data) => {
                    let Some((channel, _)) = data.split_first() else { continue };
                    let inbox = inboxes.get(usize::from(channel / 2)).filter(|_| channel % 2 == 0);
                    let inbox = inbox.ok_or(StreamError::Protocol("a message is for a channel that the client cannot write"))?;
                    let _ = inbox.send(data.slice(1..)).await;
                }
                Message::Ping(payload) => drop(pongs.try_send(payload)),
                Message::Close => return Ok(()),
            }
        }
    };
    let sending = async move {
        let mut pings = pings();
        loop {
            tokio::select! {
                next = outgoing.recv() => match next {
                    Some((channel, data)) => sender.send(&[channel], &data).await?,
                    None => return sender.close(1000).await,
                },
                Some(payload) = pongs_due.recv() => sender.pong(&payload).await?,
                _ = pings.tick() => {
                    sender.ping().await?;
                    // The client's own pings are behind data that the pod does not take: it must not take us for dead.
                    if waiting.iter().any(|inbox| inbox.capacity() == 0) {
                        sender.pong(&[]).await?;
                    }
                }
            }
        }
    };
    tokio::select! {
        received = receiving => received,
        sent = sending => sent.map_err(StreamError::Io),
    }
}

async fn connect(
    backend: Arc<dyn Backend>,
    pod: PodRef,
    port: u16,
    channel: u8,
    inbox: mpsc::Receiver<Bytes>,
    out: mpsc::Sender<Outgoing>,
) {
    match super::forward::open(&*backend, &pod, port).await {
        Ok(connection) => {
            // Nobody tells when the client has sent all, so the pod's end is the end.
            tokio::select! {
                () = send_out(connection.reader, channel, &out) => {}
                () = take_in(inbox, connection.writer) => {}
            }
        }
        Err(text) => {
            let _ = out.send((channel + 1, Bytes::from(text))).await;
        }
    }
}

async fn send_out(mut reader: Reader, channel: u8, out: &mpsc::Sender<Outgoing>) {
    let mut buffer = vec![0; PIECE_BYTES_MAX];
    while let Ok(read @ 1..) = reader.read(&mut buffer).await {
        if out.send((channel, Bytes::copy_from_slice(&buffer[..read]))).await.is_err() {
            return;
        }
    }
}

/// Ends with the client only: a pod that reads no more may still write.
async fn take_in(mut inbox: mpsc::Receiver<Bytes>, mut writer: Writer) {
    let mut is_open = true;
    while let Some(data) = inbox.recv().await {
        is_open = is_open && writer.write_all(&data).await.is_ok() && writer.flush().await.is_ok();
    }
}
