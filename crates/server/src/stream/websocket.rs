//! The server's side of WebSocket (RFC 6455): messages in, messages out.
//!
//! No extensions. Messages are bounded, and whatever is not allowed ends the connection.

use base64::Engine as _;
use bytes::{Buf as _, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::StreamError;

/// The largest message accepted. kubectl sends at most 32 KiB at once.
pub const MESSAGE_BYTES_MAX: usize = 1024 * 1024;

const KEY_SUFFIX: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

const CONTINUATION: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// The answer to a client's key.
pub fn accept_key(key: &str) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY, format!("{key}{KEY_SUFFIX}").as_bytes());
    base64::engine::general_purpose::STANDARD.encode(digest)
}

/// What comes from the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// Data.
    Data(Bytes),
    /// The client wants a sign of life: its payload.
    Ping(Bytes),
    /// The client closes.
    Close,
}

/// Reads messages.
#[derive(Debug)]
pub struct Receiver<R> {
    io: R,
    buffer: BytesMut,
}

/// A frame's head.
struct Head {
    is_final: bool,
    opcode: u8,
    mask: [u8; 4],
    length: usize,
    size: usize,
}

impl<R: AsyncRead + Unpin> Receiver<R> {
    /// Reads from `io`.
    pub fn new(io: R) -> Self {
        Self { io, buffer: BytesMut::with_capacity(8 * 1024) }
    }

    /// The next message. An end without a closing message is an error.
    ///
    /// # Errors
    /// The connection broke, or the client broke the protocol.
    pub async fn receive(&mut self) -> Result<Message, StreamError> {
        let mut message: Option<BytesMut> = None;
        loop {
            let (head, payload) = self.frame().await?;
            match (head.opcode, &mut message) {
                (CLOSE, _) => return Ok(Message::Close),
                (PING, None) => return Ok(Message::Ping(payload.freeze())),
                // A sign of life in the middle of a message needs no answer before its end.
                (PING | PONG, _) => {}
                (TEXT | BINARY, None) if head.is_final => return Ok(Message::Data(payload.freeze())),
                (TEXT | BINARY, None) => message = Some(payload),
                (CONTINUATION, Some(begun)) => {
                    if begun.len() + payload.len() > MESSAGE_BYTES_MAX {
                        return Err(StreamError::Protocol("a message is too long"));
                    }
                    begun.extend_from_slice(&payload);
                    if head.is_final {
                        return Ok(Message::Data(message.take().unwrap_or_default().freeze()));
                    }
                }
                (TEXT | BINARY, Some(_)) => return Err(StreamError::Protocol("a message begins inside another")),
                (CONTINUATION, None) => return Err(StreamError::Protocol("a message goes on that did not begin")),
                _ => return Err(StreamError::Protocol("a frame has an unknown kind")),
            }
        }
    }

    async fn frame(&mut self) -> Result<(Head, BytesMut), StreamError> {
        loop {
            if let Some(head) = head(&self.buffer)? {
                if self.buffer.len() >= head.size + head.length {
                    self.buffer.advance(head.size);
                    let mut payload = self.buffer.split_to(head.length);
                    for (at, byte) in payload.iter_mut().enumerate() {
                        *byte ^= head.mask[at % 4];
                    }
                    return Ok((head, payload));
                }
                self.buffer.reserve(head.size + head.length - self.buffer.len());
            }
            if self.io.read_buf(&mut self.buffer).await? == 0 {
                return Err(StreamError::Io(std::io::ErrorKind::UnexpectedEof.into()));
            }
        }
    }
}

/// The head of the frame at the start of the buffer, as soon as all of it is there.
fn head(buffer: &[u8]) -> Result<Option<Head>, StreamError> {
    let [first, second, rest @ ..] = buffer else { return Ok(None) };
    let opcode = first & 0x0f;
    let is_final = first & 0x80 != 0;
    if first & 0x70 != 0 {
        return Err(StreamError::Protocol("a frame uses an extension"));
    }
    if second & 0x80 == 0 {
        return Err(StreamError::Protocol("a frame of a client is not masked"));
    }
    let (length, extra) = match second & 0x7f {
        126 => match rest.first_chunk::<2>() {
            Some(bytes) => (u64::from(u16::from_be_bytes(*bytes)), 2),
            None => return Ok(None),
        },
        127 => match rest.first_chunk::<8>() {
            Some(bytes) => (u64::from_be_bytes(*bytes), 8),
            None => return Ok(None),
        },
        length => (u64::from(length), 0),
    };
    let length = usize::try_from(length).ok().filter(|length| *length <= MESSAGE_BYTES_MAX);
    let Some(length) = length else { return Err(StreamError::Protocol("a frame is too long")) };
    if opcode >= CLOSE && (length > 125 || !is_final) {
        return Err(StreamError::Protocol("a control frame is too long or in pieces"));
    }
    let Some(mask) = rest.get(extra..).and_then(|rest| rest.first_chunk::<4>()) else { return Ok(None) };
    Ok(Some(Head { is_final, opcode, mask: *mask, length, size: 2 + extra + 4 }))
}

/// Writes messages.
#[derive(Debug)]
pub struct Sender<W> {
    io: W,
}

impl<W: AsyncWrite + Unpin> Sender<W> {
    /// Writes to `io`.
    pub fn new(io: W) -> Self {
        Self { io }
    }

    /// Sends data that begins with `prefix`, in one message.
    ///
    /// # Errors
    /// The connection broke.
    pub async fn send(&mut self, prefix: &[u8], data: &[u8]) -> std::io::Result<()> {
        self.frame(BINARY, prefix, data).await
    }

    /// Answers a ping.
    ///
    /// # Errors
    /// The connection broke.
    pub async fn pong(&mut self, payload: &[u8]) -> std::io::Result<()> {
        self.frame(PONG, &[], payload).await
    }

    /// Asks for a sign of life.
    ///
    /// # Errors
    /// The connection broke.
    pub async fn ping(&mut self) -> std::io::Result<()> {
        self.frame(PING, &[], &[]).await
    }

    /// Says that nothing more comes, and why.
    ///
    /// # Errors
    /// The connection broke.
    pub async fn close(&mut self, code: u16) -> std::io::Result<()> {
        self.frame(CLOSE, &code.to_be_bytes(), &[]).await?;
        self.io.shutdown().await
    }

    async fn frame(&mut self, opcode: u8, prefix: &[u8], data: &[u8]) -> std::io::Result<()> {
        let length = prefix.len() + data.len();
        let mut frame = Vec::with_capacity(length + 10);
        frame.push(0x80 | opcode);
        match (u8::try_from(length), u16::try_from(length)) {
            (Ok(short), _) if short < 126 => frame.push(short),
            (_, Ok(medium)) => {
                frame.push(126);
                frame.extend_from_slice(&medium.to_be_bytes());
            }
            _ => {
                frame.push(127);
                frame.extend_from_slice(&(length as u64).to_be_bytes());
            }
        }
        frame.extend_from_slice(prefix);
        frame.extend_from_slice(data);
        self.io.write_all(&frame).await?;
        self.io.flush().await
    }
}

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;

#[cfg(test)]
mod tests {
    use super::*;

    fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![first, 0x80 | u8::try_from(payload.len()).expect("short"), 1, 2, 3, 4];
        frame.extend(payload.iter().enumerate().map(|(at, byte)| byte ^ [1, 2, 3, 4][at % 4]));
        frame
    }

    #[test]
    fn the_key_is_answered_as_in_the_standard() {
        assert_eq!(accept_key("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[tokio::test]
    async fn messages_come_whole_also_in_pieces() {
        let bytes = [masked(0x82, b"one"), masked(0x02, b"t"), masked(0x89, b"p"), masked(0x80, b"wo"), masked(0x88, b"")].concat();
        let mut receiver = Receiver::new(&bytes[..]);
        assert_eq!(receiver.receive().await.expect("a message"), Message::Data(Bytes::from_static(b"one")));
        assert_eq!(receiver.receive().await.expect("a message"), Message::Data(Bytes::from_static(b"two")));
        assert_eq!(receiver.receive().await.expect("a message"), Message::Close);
        assert!(receiver.receive().await.is_err());
    }

    #[tokio::test]
    async fn what_the_standard_does_not_allow_ends_the_connection() {
        let long = [vec![0x82, 0xff], u64::MAX.to_be_bytes().to_vec(), vec![0; 4]].concat();
        for (what, bytes) in [
            ("not masked", vec![0x82, 1, b'x']),
            ("extension", masked(0xc2, b"x")),
            ("unknown kind", masked(0x83, b"x")),
            ("continuation first", masked(0x80, b"x")),
            ("too long", long),
            ("ping in pieces", masked(0x09, b"x")),
            ("two at once", [masked(0x02, b"x"), masked(0x82, b"y")].concat()),
        ] {
            let error = Receiver::new(&bytes[..]).receive().await.expect_err(what);
            assert!(matches!(error, StreamError::Protocol(_)), "{what}: {error}");
        }
    }
}
