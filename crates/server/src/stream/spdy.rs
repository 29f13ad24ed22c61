//! The server's side of SPDY/3.1, as far as Kubernetes' clients use it: streams that the client opens, with headers,
//! data in both directions, and their ends.
//!
//! No flow control: these clients neither grant nor heed it. A reader that is slow makes the whole connection wait.
//! Whatever is not allowed ends the connection.

use std::collections::HashMap;

use bytes::{Buf as _, Bytes, BytesMut};
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::{mpsc, watch};

use super::{Io, StreamError};

/// The longest frame accepted. Clients send at most 32 KiB of data at once.
const FRAME_BYTES_MAX: usize = 1024 * 1024;
/// The longest headers of a stream, unpacked.
const HEADERS_BYTES_MAX: usize = 16 * 1024;
/// The most streams open at the same time.
const STREAMS_MAX: usize = 512;
/// The most frames that wait for the reader of a stream, and for the connection.
const QUEUE_MAX: usize = 16;

const SYN_STREAM: u16 = 1;
const SYN_REPLY: u16 = 2;
const RST_STREAM: u16 = 3;
const SETTINGS: u16 = 4;
const PING: u16 = 6;
const GOAWAY: u16 = 7;
const HEADERS: u16 = 8;
const WINDOW_UPDATE: u16 = 9;
/// The number of our own questions for a sign of life; a server's are even.
const PING_ID: u32 = 2;
const FLAG_FIN: u8 = 1;
const VERSION: u16 = 3;

/// Words that begin the dictionary of header compression, each behind its length.
const DICTIONARY_WORDS: &[&str] = &[
    "options",
    "head",
    "post",
    "put",
    "delete",
    "trace",
    "accept",
    "accept-charset",
    "accept-encoding",
    "accept-language",
    "accept-ranges",
    "age",
    "allow",
    "authorization",
    "cache-control",
    "connection",
    "content-base",
    "content-encoding",
    "content-language",
    "content-length",
    "content-location",
    "content-md5",
    "content-range",
    "content-type",
    "date",
    "etag",
    "expect",
    "expires",
    "from",
    "host",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "last-modified",
    "location",
    "max-forwards",
    "pragma",
    "proxy-authenticate",
    "proxy-authorization",
    "range",
    "referer",
    "retry-after",
    "server",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "vary",
    "via",
    "warning",
    "www-authenticate",
    "method",
    "get",
    "status",
    "200 OK",
    "version",
    "HTTP/1.1",
    "url",
    "public",
    "set-cookie",
    "keep-alive",
    "origin",
];

/// What follows them.
const DICTIONARY_TEXT: &str = "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized403 Forbidden404 Not Found500 Internal Server Error501 Not Implemented503 Service UnavailableJan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMTchunked,text/html,image/png,image/jpg,image/gif,application/xml,application/xhtml+xml,text/plain,text/javascript,publicprivatemax-age=gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0.";

fn dictionary() -> Vec<u8> {
    let mut bytes = Vec::with_capacity(1423);
    for word in DICTIONARY_WORDS {
        bytes.extend_from_slice(&u32::try_from(word.len()).expect("words are short").to_be_bytes());
        bytes.extend_from_slice(word.as_bytes());
    }
    bytes.extend_from_slice(DICTIONARY_TEXT.as_bytes());
    bytes
}

/// A frame on its way out.
#[derive(Debug)]
enum Outgoing {
    Data {
        stream: u32,
        data: Bytes,
        fin: bool,
    },
    Reply(u32),
    Reset(u32),
    Ping(u32),
    /// Nothing more comes.
    Finish,
}

/// The streams of which somebody here still holds an end.
type OpenStreams = HashMap<u32, OpenStream>;

/// A stream as the reader of the connection knows it.
struct OpenStream {
    /// Where its data goes; `None` after the client's last.
    inbox: Option<mpsc::Sender<Bytes>>,
    /// Tells that the client wants nothing of it any more.
    reset: watch::Sender<bool>,
}

/// A connection, from which streams come.
#[derive(Debug)]
pub struct Connection {
    streams: mpsc::Receiver<Stream>,
    out: mpsc::Sender<Outgoing>,
    ended: watch::Receiver<bool>,
    written: watch::Receiver<bool>,
}

/// A stream that the client has opened.
#[derive(Debug)]
pub struct Stream {
    id: u32,
    headers: Vec<(String, String)>,
    inbox: mpsc::Receiver<Bytes>,
    out: mpsc::Sender<Outgoing>,
    ended: watch::Receiver<bool>,
    is_reset: watch::Receiver<bool>,
}

impl Connection {
    /// Speaks SPDY on `io`.
    pub fn new(io: impl Io) -> Self {
        let (reader, writer) = tokio::io::split(io);
        let (new_streams, streams) = mpsc::channel(QUEUE_MAX);
        let (out, outgoing) = mpsc::channel(QUEUE_MAX);
        let (ending, ended) = watch::channel(false);
        let (writing, written) = watch::channel(false);
        tokio::spawn(async move {
            if let Err(error) = write(writer, outgoing).await {
                tracing::debug!(%error, "a SPDY connection broke while writing");
            }
            writing.send_replace(true);
        });
        let (to_streams, to_ended) = (out.clone(), ended.clone());
        let mut gone = written.clone();
        tokio::spawn(async move {
            let reading = Reading {
                io: reader,
                buffer: BytesMut::new(),
                open: OpenStreams::new(),
                headers: HeaderReader::new(),
                new_streams,
                out: to_streams,
                ended: to_ended,
            };
            tokio::select! {
                result = reading.run() => if let Err(error) = result {
                    tracing::debug!(%error, "a SPDY connection ended");
                },
                _ = gone.wait_for(|gone| *gone) => {}
            }
            ending.send_replace(true);
        });
        Self { streams, out, ended, written }
    }

    /// The next stream; `None` when the connection is over.
    pub async fn accept(&mut self) -> Option<Stream> {
        self.streams.recv().await
    }

    /// Waits for the end of the connection.
    pub async fn closed(&self) {
        let _ = self.ended.clone().wait_for(|ended| *ended).await;
    }

    /// Asks for a sign of life. A client that is gone ends the connection by that.
    ///
    /// # Errors
    /// The connection is over.
    pub async fn ping(&self) -> Result<(), StreamError> {
        self.out.send(Outgoing::Ping(PING_ID)).await.map_err(|_| StreamError::Io(std::io::ErrorKind::BrokenPipe.into()))
    }

    /// Writes out what is under way and closes.
    pub async fn finish(self) {
        if self.out.send(Outgoing::Finish).await.is_ok() {
            let _ = self.written.clone().wait_for(|written| *written).await;
        }
    }
}

impl Stream {
    /// A header of the stream, by its name in small letters.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The next data; `None` at the end.
    pub async fn receive(&mut self) -> Option<Bytes> {
        self.inbox.recv().await
    }

    /// Sends data.
    ///
    /// # Errors
    /// The connection is over.
    pub async fn send(&self, data: Bytes) -> Result<(), StreamError> {
        self.push(Outgoing::Data { stream: self.id, data, fin: false }).await
    }

    /// Says that nothing more comes.
    ///
    /// # Errors
    /// The connection is over.
    pub async fn finish(&self) -> Result<(), StreamError> {
        self.push(Outgoing::Data { stream: self.id, data: Bytes::new(), fin: true }).await
    }

    /// Says that the stream is of no use any longer.
    ///
    /// # Errors
    /// The connection is over.
    pub async fn reset(&self) -> Result<(), StreamError> {
        self.push(Outgoing::Reset(self.id)).await
    }

    async fn push(&self, frame: Outgoing) -> Result<(), StreamError> {
        self.out.send(frame).await.map_err(|_| StreamError::Io(std::io::ErrorKind::BrokenPipe.into()))
    }

    /// The two directions of the stream apart.
    pub fn split(self) -> (mpsc::Receiver<Bytes>, StreamSender) {
        (self.inbox, StreamSender { id: self.id, out: self.out, ended: self.ended, is_reset: self.is_reset })
    }
}

/// The direction to the client of a stream.
#[derive(Clone, Debug)]
pub struct StreamSender {
    id: u32,
    out: mpsc::Sender<Outgoing>,
    ended: watch::Receiver<bool>,
    is_reset: watch::Receiver<bool>,
}

impl StreamSender {
    /// Sends data; `false` when the connection is over.
    pub async fn send(&self, data: Bytes) -> bool {
        self.out.send(Outgoing::Data { stream: self.id, data, fin: false }).await.is_ok()
    }

    /// Waits until the client wants no more of the stream, or is gone.
    pub async fn gone(&self) {
        let (mut is_reset, mut ended) = (self.is_reset.clone(), self.ended.clone());
        // Nobody can reset a stream of a connection whose reader has ended, which tells that.
        let reset = async {
            if is_reset.wait_for(|reset| *reset).await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            () = reset => {}
            _ = ended.wait_for(|ended| *ended) => {}
        }
    }

    /// Says that nothing more comes.
    pub async fn finish(&self) {
        let _ = self.out.send(Outgoing::Data { stream: self.id, data: Bytes::new(), fin: true }).await;
    }
}

struct Reading<R> {
    io: R,
    buffer: BytesMut,
    open: OpenStreams,
    headers: HeaderReader,
    new_streams: mpsc::Sender<Stream>,
    out: mpsc::Sender<Outgoing>,
    ended: watch::Receiver<bool>,
}

impl<R: AsyncRead + Unpin> Reading<R> {
    async fn run(mut self) -> Result<(), StreamError> {
        loop {
            let Some(mut frame) = self.frame().await? else { return Ok(()) };
            let first = frame.get_u32();
            let second = frame.get_u32();
            let flags = (second >> 24) as u8;
            if first & 0x8000_0000 == 0 {
                self.data(first, flags, frame.freeze()).await;
                continue;
            }
            if (first >> 16) as u16 & 0x7fff != VERSION {
                return Err(StreamError::Protocol("a frame is of another version of SPDY"));
            }
            match first as u16 {
                SYN_STREAM => self.begin(flags, frame).await?,
                RST_STREAM if frame.len() >= 4 => {
                    if let Some(stream) = self.open.remove(&(frame.get_u32() & 0x7fff_ffff)) {
                        stream.reset.send_replace(true);
                    }
                }
                PING if frame.len() >= 4 => {
                    let id = frame.get_u32();
                    // What a client asks has an odd number, an answer to what we asked an even one.
                    if id % 2 == 1 {
                        let _ = self.out.send(Outgoing::Ping(id)).await;
                    }
                }
                HEADERS if frame.len() >= 4 => {
                    // Their compression goes on with the rest, so they must be read even if nobody wants them.
                    frame.advance(4);
                    self.headers.read(&frame)?;
                }
                GOAWAY => return Ok(()),
                SETTINGS | WINDOW_UPDATE => {}
                _ => return Err(StreamError::Protocol("a frame has an unknown kind or is too short")),
            }
        }
    }

    /// A whole frame with its head; `None` at the end.
    async fn frame(&mut self) -> Result<Option<BytesMut>, StreamError> {
        loop {
            if let [_, _, _, _, _, a, b, c, ..] = self.buffer[..] {
                let length = u32::from_be_bytes([0, a, b, c]) as usize;
                if length > FRAME_BYTES_MAX {
                    return Err(StreamError::Protocol("a frame is too long"));
                }
                if self.buffer.len() >= 8 + length {
                    return Ok(Some(self.buffer.split_to(8 + length)));
                }
                self.buffer.reserve(8 + length - self.buffer.len());
            }
            if self.io.read_buf(&mut self.buffer).await? == 0 {
                return Ok(None);
            }
        }
    }

    async fn begin(&mut self, flags: u8, mut frame: BytesMut) -> Result<(), StreamError> {
        if frame.len() < 10 {
            return Err(StreamError::Protocol("a frame is too short"));
        }
        let id = frame.get_u32() & 0x7fff_ffff;
        frame.advance(6);
        let headers = self.headers.read(&frame)?;
        self.open.retain(|_, stream| !stream.reset.is_closed());
        if self.open.len() >= STREAMS_MAX || self.open.contains_key(&id) {
            return Err(StreamError::Protocol("there are too many streams, or two of the same number"));
        }
        let (inbox, receiver) = mpsc::channel(QUEUE_MAX);
        let (reset, is_reset) = watch::channel(false);
        self.open.insert(id, OpenStream { inbox: Some(inbox).filter(|_| flags & FLAG_FIN == 0), reset });
        let _ = self.out.send(Outgoing::Reply(id)).await;
        let stream = Stream { id, headers, inbox: receiver, out: self.out.clone(), ended: self.ended.clone(), is_reset };
        // Nobody wants more streams: the connection goes on with those that there are.
        let _ = self.new_streams.send(stream).await;
        Ok(())
    }

    async fn data(&mut self, stream: u32, flags: u8, data: Bytes) {
        let Some(stream) = self.open.get_mut(&stream) else { return };
        let inbox = if flags & FLAG_FIN == 0 { stream.inbox.clone() } else { stream.inbox.take() };
        if let Some(inbox) = inbox
            && !data.is_empty()
        {
            let _ = inbox.send(data).await;
        }
    }
}

async fn write(mut io: impl AsyncWrite + Unpin, mut frames: mpsc::Receiver<Outgoing>) -> std::io::Result<()> {
    let mut headers = HeaderWriter::new();
    let mut buffer = Vec::new();
    while let Some(frame) = frames.recv().await {
        buffer.clear();
        match frame {
            Outgoing::Data { stream, data, fin } => {
                buffer.extend_from_slice(&stream.to_be_bytes());
                let flags = if fin { u32::from(FLAG_FIN) << 24 } else { 0 };
                buffer.extend_from_slice(&(flags | u32::try_from(data.len()).unwrap_or(0)).to_be_bytes());
                buffer.extend_from_slice(&data);
            }
            Outgoing::Reply(stream) => {
                let block = headers.empty();
                let body = [&stream.to_be_bytes()[..], &block].concat();
                control(&mut buffer, SYN_REPLY, &body);
            }
            Outgoing::Reset(stream) => {
                const CANCEL: u32 = 5;
                control(&mut buffer, RST_STREAM, &[stream.to_be_bytes(), CANCEL.to_be_bytes()].concat());
            }
            Outgoing::Ping(id) => control(&mut buffer, PING, &id.to_be_bytes()),
            Outgoing::Finish => {
                control(&mut buffer, GOAWAY, &[0; 8]);
                io.write_all(&buffer).await?;
                break;
            }
        }
        io.write_all(&buffer).await?;
        io.flush().await?;
    }
    io.flush().await?;
    io.shutdown().await
}

fn control(buffer: &mut Vec<u8>, kind: u16, body: &[u8]) {
    buffer.extend_from_slice(&(0x8000 | VERSION).to_be_bytes());
    buffer.extend_from_slice(&kind.to_be_bytes());
    buffer.extend_from_slice(&u32::try_from(body.len()).unwrap_or(0).to_be_bytes());
    buffer.extend_from_slice(body);
}

/// Unpacks headers. All headers of a connection are one compressed stream.
struct HeaderReader(Decompress);

impl HeaderReader {
    fn new() -> Self {
        Self(Decompress::new(true))
    }

    fn read(&mut self, packed: &[u8]) -> Result<Vec<(String, String)>, StreamError> {
        const BROKEN: StreamError = StreamError::Protocol("headers cannot be unpacked");
        let mut unpacked = Vec::with_capacity(HEADERS_BYTES_MAX);
        let mut rest = packed;
        while !rest.is_empty() {
            let before = self.0.total_in();
            let step = self.0.decompress_vec(rest, &mut unpacked, FlushDecompress::Sync);
            let taken = usize::try_from(self.0.total_in() - before).unwrap_or(0);
            rest = &rest[taken.min(rest.len())..];
            match step {
                Ok(Status::Ok | Status::BufError) if taken > 0 => {}
                Ok(Status::Ok | Status::BufError | Status::StreamEnd) => return Err(BROKEN),
                Err(error) if error.needs_dictionary().is_some() => {
                    self.0.set_dictionary(&dictionary()).map_err(|_| BROKEN)?;
                }
                Err(_) => return Err(BROKEN),
            }
            if unpacked.len() == unpacked.capacity() {
                return Err(StreamError::Protocol("the headers of a stream are too long"));
            }
        }
        parse_headers(&unpacked).ok_or(BROKEN)
    }
}

fn parse_headers(mut block: &[u8]) -> Option<Vec<(String, String)>> {
    fn number(block: &mut &[u8]) -> Option<usize> {
        let (number, rest) = block.split_first_chunk::<4>()?;
        *block = rest;
        usize::try_from(u32::from_be_bytes(*number)).ok()
    }
    fn text(block: &mut &[u8]) -> Option<String> {
        let length = number(block)?;
        let (text, rest) = block.split_at_checked(length)?;
        *block = rest;
        String::from_utf8(text.to_vec()).ok()
    }
    let count = number(&mut block)?;
    let mut headers = Vec::new();
    for _ in 0..count {
        headers.push((text(&mut block)?.to_lowercase(), text(&mut block)?));
    }
    Some(headers)
}

/// Packs headers.
struct HeaderWriter(Compress);

impl HeaderWriter {
    fn new() -> Self {
        let mut compress = Compress::new(Compression::fast(), true);
        compress.set_dictionary(&dictionary()).expect("nothing was packed yet");
        Self(compress)
    }

    /// A block without headers.
    fn empty(&mut self) -> Vec<u8> {
        let mut packed = Vec::with_capacity(128);
        self.0.compress_vec(&0_u32.to_be_bytes(), &mut packed, FlushCompress::Sync).expect("four bytes can be packed");
        packed
    }
}

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;

#[cfg(test)]
mod tests {
    use super::*;

    struct Client {
        packer: Compress,
    }

    impl Client {
        fn new() -> Self {
            let mut packer = Compress::new(Compression::fast(), true);
            packer.set_dictionary(&dictionary()).expect("nothing was packed yet");
            Self { packer }
        }

        fn open(&mut self, id: u32, headers: &[(&str, &str)]) -> Vec<u8> {
            let mut block = u32::try_from(headers.len()).expect("few").to_be_bytes().to_vec();
            for text in headers.iter().flat_map(|(name, value)| [name, value]) {
                block.extend_from_slice(&u32::try_from(text.len()).expect("short").to_be_bytes());
                block.extend_from_slice(text.as_bytes());
            }
            let mut packed = Vec::with_capacity(1024);
            self.packer.compress_vec(&block, &mut packed, FlushCompress::Sync).expect("packed");
            let body = [&id.to_be_bytes()[..], &[0; 6], &packed].concat();
            let mut frame = Vec::new();
            control(&mut frame, SYN_STREAM, &body);
            frame
        }
    }

    fn data(id: u32, flags: u8, data: &[u8]) -> Vec<u8> {
        let length = u32::try_from(data.len()).expect("short") | u32::from(flags) << 24;
        [&id.to_be_bytes()[..], &length.to_be_bytes(), data].concat()
    }

    #[test]
    fn the_dictionary_has_the_length_of_the_standard() {
        assert_eq!(dictionary().len(), 1423);
    }

    #[tokio::test]
    async fn streams_come_with_headers_and_data_in_both_directions() {
        let (ours, mut theirs) = tokio::io::duplex(64 * 1024);
        let mut connection = Connection::new(ours);
        let mut client = Client::new();
        theirs.write_all(&client.open(1, &[("streamType", "stdin")])).await.expect("written");
        theirs.write_all(&client.open(3, &[("streamType", "stdout"), ("port", "80")])).await.expect("written");
        theirs.write_all(&data(1, 0, b"hello")).await.expect("written");
        theirs.write_all(&data(1, FLAG_FIN, b"")).await.expect("written");
        let mut first = connection.accept().await.expect("a stream");
        let second = connection.accept().await.expect("a stream");
        assert_eq!((first.header("streamtype"), second.header("port")), (Some("stdin"), Some("80")));
        assert_eq!(first.receive().await, Some(Bytes::from_static(b"hello")));
        assert_eq!(first.receive().await, None);
        second.send(Bytes::from_static(b"world")).await.expect("sent");
        second.finish().await.expect("sent");
        connection.finish().await;
        let mut answer = Vec::new();
        theirs.read_to_end(&mut answer).await.expect("read");
        let expected = [data(3, 0, b"world"), data(3, FLAG_FIN, b"")].concat();
        assert!(answer.windows(expected.len()).any(|window| window == expected), "{answer:?}");
    }

    #[tokio::test]
    async fn what_is_not_spdy_ends_the_connection() {
        for bytes in [
            vec![0x80, 2, 0, 1, 0, 0, 0, 0],
            vec![0, 0, 0, 1, 0, 0xff, 0xff, 0xff],
            vec![0x80, 3, 0, 1, 0, 0, 0, 1, 0],
            vec![0x80, 3, 0, 99, 0, 0, 0, 0],
        ] {
            let (ours, mut theirs) = tokio::io::duplex(1024);
            let mut connection = Connection::new(ours);
            theirs.write_all(&bytes).await.expect("written");
            assert!(connection.accept().await.is_none(), "{bytes:?}");
        }
    }
}
