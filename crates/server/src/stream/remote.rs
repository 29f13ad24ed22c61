//! A command in a container, with its streams on one connection to the client.
//!
//! The client's side is WebSocket with a channel number before each message, or SPDY with a stream for each channel;
//! both come down to the two queues of [`Remote`].

use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::{mpsc, watch};

use super::websocket::{self, Message};
use super::{Io, StreamError, pings, spdy};
use crate::backend::{Exit, Reader, Session, Streams, TerminalSize, Writer};

/// The most pieces of data that wait on their way in either direction: the sender waits then.
const QUEUE_MAX: usize = 16;

/// The largest piece of output sent at once.
const PIECE_BYTES_MAX: usize = 32 * 1024;

/// How long a stream may stay silent after the command ended before it is given up: something that the command started may hold it
/// open.
const DRAIN_TIME: Duration = Duration::from_millis(1500);

const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const ERROR: u8 = 3;
const RESIZE: u8 = 4;
const CLOSE: u8 = 255;

/// What comes from the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// Data for the input of the command.
    Stdin(Bytes),
    /// No more of that.
    StdinEnd,
    /// The terminal has another size.
    Resize(TerminalSize),
}

/// What goes to the client.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Output of the command.
    Stdout(Bytes),
    /// Errors of the command.
    Stderr(Bytes),
    /// How it ended: a `Status`. Nothing comes after it.
    End(Value),
}

/// The client's side of a session.
#[derive(Debug)]
pub struct Remote {
    /// From the client.
    pub input: mpsc::Receiver<Input>,
    /// To the client.
    pub output: mpsc::Sender<Output>,
}

/// The other ends of a [`Remote`].
#[derive(Debug)]
pub struct RemotePeer {
    /// To the session.
    pub input: mpsc::Sender<Input>,
    /// From the session.
    pub output: mpsc::Receiver<Output>,
}

/// Both ends.
pub fn remote() -> (Remote, RemotePeer) {
    let (input_to, input) = mpsc::channel(QUEUE_MAX);
    let (output, output_from) = mpsc::channel(QUEUE_MAX);
    (Remote { input, output }, RemotePeer { input: input_to, output: output_from })
}

/// Runs a session until its command or the client ends.
pub async fn run(session: Session, remote: Remote) {
    let Session { stdin, stdout, stderr, resize, exit } = session;
    let Remote { input, output } = remote;
    let (rest, remaining) = watch::channel(Rest::All);
    let feeding = tokio::spawn(feed(stdin, resize, input));
    let out = tokio::spawn(drain(stdout, output.clone(), Output::Stdout, remaining.clone()));
    let err = tokio::spawn(drain(stderr, output.clone(), Output::Stderr, remaining));
    let (ended, left) = tokio::select! {
        ended = exit => {
            let left = if ended.as_ref().is_ok_and(|end| *end == Exit::Detached) { Rest::Nothing } else { Rest::WhatIsThere };
            (Some(ended), left)
        }
        () = output.closed() => (None, Rest::Nothing),
    };
    feeding.abort();
    rest.send_replace(left);
    let _ = out.await;
    let _ = err.await;
    if let Some(ended) = ended {
        let status = status(ended.map_err(|error| error.to_string()));
        let _ = output.send(Output::End(status)).await;
    }
}

/// What is still to be read of the output of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rest {
    /// It runs.
    All,
    /// It has ended, and so its output ends as soon as it is read.
    WhatIsThere,
    /// Nobody wants it.
    Nothing,
}

impl Rest {
    /// Waits until it makes no sense to wait for more output.
    async fn is_over(remaining: &mut watch::Receiver<Self>) {
        match remaining.wait_for(|rest| *rest != Self::All).await.map(|rest| *rest) {
            Ok(Self::WhatIsThere) => tokio::time::sleep(DRAIN_TIME).await,
            Ok(Self::All | Self::Nothing) | Err(_) => {}
        }
    }
}

async fn feed(mut stdin: Option<Writer>, resize: Option<mpsc::Sender<TerminalSize>>, mut input: mpsc::Receiver<Input>) {
    while let Some(next) = input.recv().await {
        match next {
            Input::Stdin(data) => {
                if let Some(writer) = &mut stdin
                    && (writer.write_all(&data).await.is_err() || writer.flush().await.is_err())
                {
                    // The command does not want any more; what still comes is dropped.
                    stdin = None;
                }
            }
            Input::StdinEnd => {
                if let Some(mut writer) = stdin.take() {
                    let _ = writer.shutdown().await;
                }
            }
            Input::Resize(size) => {
                if let Some(resize) = &resize {
                    let _ = resize.try_send(size);
                }
            }
        }
    }
}

/// A client that does not take its output holds up the reading, and with it the command.
async fn drain(reader: Option<Reader>, output: mpsc::Sender<Output>, wrap: fn(Bytes) -> Output, mut remaining: watch::Receiver<Rest>) {
    let Some(mut reader) = reader else { return };
    let mut buffer = vec![0; PIECE_BYTES_MAX];
    loop {
        let read = tokio::select! {
            biased;
            read = reader.read(&mut buffer) => read,
            () = Rest::is_over(&mut remaining) => return,
        };
        match read {
            // A terminal whose other side is gone gives an error, which is its end.
            Ok(0) | Err(_) => return,
            Ok(read) => {
                if output.send(wrap(Bytes::copy_from_slice(&buffer[..read]))).await.is_err() || *remaining.borrow() == Rest::Nothing {
                    return;
                }
            }
        }
    }
}

/// The `Status` that tells a client how its command ended.
pub fn status(ended: Result<Exit, String>) -> Value {
    match ended {
        Ok(Exit::Code(0) | Exit::Detached | Exit::Over) => json!({ "metadata": {}, "status": "Success" }),
        Ok(Exit::Code(code)) => json!({
            "metadata": {},
            "status": "Failure",
            "message": format!("command terminated with non-zero exit code: exit status {code}"),
            "reason": "NonZeroExitCode",
            "details": { "causes": [{ "reason": "ExitCode", "message": code.to_string() }] },
        }),
        Err(message) => json!({
            "metadata": {},
            "status": "Failure",
            "message": message,
            "reason": "InternalError",
            "details": { "causes": [{ "message": message }] },
            "code": 500,
        }),
    }
}

/// The size in a message of the resize channel.
pub fn terminal_size(data: &[u8]) -> Option<TerminalSize> {
    let size: Value = serde_json::from_slice(data).ok()?;
    let side = |name: &str| size[name].as_u64().and_then(|side| u16::try_from(side).ok());
    Some(TerminalSize { width: side("Width")?, height: side("Height")? })
}

/// Carries a session over WebSocket, in the subprotocols `v4.channel.k8s.io` and `v5.channel.k8s.io`.
///
/// # Errors
/// The connection broke, or the client broke the protocol.
pub async fn over_websocket(io: impl Io, peer: RemotePeer) -> Result<(), StreamError> {
    let (reader, writer) = tokio::io::split(io);
    let (mut receiver, mut sender) = (websocket::Receiver::new(reader), websocket::Sender::new(writer));
    let RemotePeer { input, mut output } = peer;
    let (pongs, mut pongs_due) = mpsc::channel::<Bytes>(1);
    let waiting = input.clone();
    let receiving = async move {
        loop {
            match receiver.receive().await? {
                Message::Data(data) => match data.split_first() {
                    Some((&STDIN, _)) => drop(input.send(Input::Stdin(data.slice(1..))).await),
                    Some((&RESIZE, size)) => {
                        if let Some(size) = terminal_size(size) {
                            let _ = input.send(Input::Resize(size)).await;
                        }
                    }
                    Some((&CLOSE, [STDIN])) => drop(input.send(Input::StdinEnd).await),
                    Some(_) => return Err(StreamError::Protocol("a message is for a channel that the client cannot write")),
                    None => {}
                },
                Message::Ping(payload) => drop(pongs.try_send(payload)),
                Message::Close => return Ok(()),
            }
        }
    };
    let sending = async move {
        // Tells the client that the connection stands.
        sender.send(&[ERROR], &[]).await?;
        let mut pings = pings();
        loop {
            tokio::select! {
                next = output.recv() => match next {
                    Some(Output::Stdout(data)) => sender.send(&[STDOUT], &data).await?,
                    Some(Output::Stderr(data)) => sender.send(&[STDERR], &data).await?,
                    Some(Output::End(status)) => {
                        sender.send(&[ERROR], status.to_string().as_bytes()).await?;
                        return sender.close(1000).await;
                    }
                    None => return sender.close(1011).await,
                },
                Some(payload) = pongs_due.recv() => sender.pong(&payload).await?,
                _ = pings.tick() => {
                    sender.ping().await?;
                    // The client's own pings are behind data that the command does not take: it must not take us for dead.
                    if waiting.capacity() == 0 {
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

/// Carries a session over SPDY: a stream for each channel, in the protocol `v4.channel.k8s.io`.
///
/// # Errors
/// The client did not open the streams it asked for, or broke the protocol.
pub async fn over_spdy(mut connection: spdy::Connection, streams: Streams, peer: RemotePeer) -> Result<(), StreamError> {
    let RemotePeer { input, mut output } = peer;
    let mut open = open_streams(&mut connection, streams).await?;
    let stdin = open.stdin.take();
    let resize = open.resize.take();
    let feed = input.clone();
    let feeding = tokio::spawn(async move {
        let Some(mut stdin) = stdin else { return };
        while let Some(data) = stdin.receive().await {
            if feed.send(Input::Stdin(data)).await.is_err() {
                return;
            }
        }
        let _ = feed.send(Input::StdinEnd).await;
    });
    let resizing = tokio::spawn(async move {
        let Some(mut resize) = resize else { return };
        while let Some(data) = resize.receive().await {
            // Sizes come one after another without anything between them.
            for size in data.split_inclusive(|byte| *byte == b'}').filter_map(terminal_size) {
                let _ = input.send(Input::Resize(size)).await;
            }
        }
    });
    let mut pings = pings();
    let result = loop {
        tokio::select! {
            next = output.recv() => match next {
                Some(Output::Stdout(data)) => if let Some(stdout) = &open.stdout { stdout.send(data).await?; },
                Some(Output::Stderr(data)) => if let Some(stderr) = &open.stderr { stderr.send(data).await?; },
                Some(Output::End(status)) => {
                    for stream in [&open.stdout, &open.stderr].into_iter().flatten() {
                        stream.finish().await?;
                    }
                    if status["status"] != "Success" {
                        open.error.send(Bytes::from(status.to_string())).await?;
                    }
                    open.error.finish().await?;
                    break Ok(());
                }
                None => break Ok(()),
            },
            () = connection.closed() => break Ok(()),
            _ = pings.tick() => connection.ping().await?,
        }
    };
    feeding.abort();
    resizing.abort();
    connection.finish().await;
    result
}

struct Open {
    error: spdy::Stream,
    stdin: Option<spdy::Stream>,
    stdout: Option<spdy::Stream>,
    stderr: Option<spdy::Stream>,
    resize: Option<spdy::Stream>,
}

/// How long a client has to open its streams.
const OPEN_TIME: Duration = Duration::from_secs(30);

async fn open_streams(connection: &mut spdy::Connection, streams: Streams) -> Result<Open, StreamError> {
    let wanted = 1
        + usize::from(streams.stdin)
        + usize::from(streams.stdout)
        + usize::from(streams.stderr && !streams.tty)
        + usize::from(streams.tty);
    let mut opened = std::collections::BTreeMap::new();
    while opened.len() < wanted {
        let stream = tokio::time::timeout(OPEN_TIME, connection.accept()).await.map_err(|_| StreamError::Idle)?;
        let Some(stream) = stream else { return Err(StreamError::Protocol("the connection ended before its streams were open")) };
        let Some(kind) = stream.header("streamtype").map(ToOwned::to_owned) else {
            return Err(StreamError::Protocol("a stream says no type"));
        };
        if opened.insert(kind, stream).is_some() {
            return Err(StreamError::Protocol("two streams have the same type"));
        }
    }
    let Some(error) = opened.remove("error") else { return Err(StreamError::Protocol("there is no stream for the end")) };
    let mut take = |kind: &str| opened.remove(kind);
    Ok(Open { error, stdin: take("stdin"), stdout: take("stdout"), stderr: take("stderr"), resize: take("resize") })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The next frame of the server: its first byte and its payload.
    async fn frame(io: &mut (impl tokio::io::AsyncRead + Unpin)) -> (u8, Vec<u8>) {
        let (first, length) = (io.read_u8().await.expect("a frame"), io.read_u8().await.expect("a frame"));
        assert!(length < 126, "these frames are short");
        let mut payload = vec![0; usize::from(length)];
        io.read_exact(&mut payload).await.expect("a whole frame");
        (first, payload)
    }

    #[tokio::test]
    async fn a_client_whose_input_is_not_taken_is_told_that_the_connection_lives() {
        const PONG: u8 = 0x8a;
        let (mut client, ours) = tokio::io::duplex(64 * 1024);
        let (remote, peer) = remote();
        let carrying = tokio::spawn(over_websocket(ours, peer));
        // Nobody takes the input: the last of these, and what comes after them, is not even read.
        for _ in 0..QUEUE_MAX + 2 {
            client.write_all(&[0x82, 0x82, 0, 0, 0, 0, STDIN, b'x']).await.expect("written");
        }
        let told = async { while frame(&mut client).await != (PONG, Vec::new()) {} };
        tokio::time::timeout(Duration::from_secs(30), told).await.expect("a sign of life");
        drop((client, remote));
        let _ = carrying.await.expect("it ends");
    }
}
