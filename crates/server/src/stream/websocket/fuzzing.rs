//! A fuzz target: what a client may send on a WebSocket.

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncWriteExt as _};

use super::{MESSAGE_BYTES_MAX, Message, Receiver};
use crate::fuzzing::block_on;

/// The bytes of a client. The first says in pieces of which size they arrive.
///
/// They come to an end, with messages of bounded size, the same however they arrive, and with no more held than a message.
pub fn websocket_frames(data: &[u8]) {
    let Some((first, bytes)) = data.split_first() else { return };
    let piece = usize::from(*first) + 1;
    block_on(async {
        let whole = messages(Receiver::new(bytes)).await;
        let (mut client, server) = tokio::io::duplex(64);
        let sending = async move {
            for piece in bytes.chunks(piece) {
                if client.write_all(piece).await.is_err() {
                    return;
                }
            }
        };
        let (_, in_pieces) = tokio::join!(sending, messages(Receiver::new(server)));
        assert!(whole == in_pieces, "it depends on how the bytes arrive");
    });
}

async fn messages<R: AsyncRead + Unpin>(mut receiver: Receiver<R>) -> (Vec<Message>, String) {
    let mut messages = Vec::new();
    loop {
        let received = receiver.receive().await;
        check_held(&receiver.buffer);
        match received {
            Ok(Message::Close) => {
                messages.push(Message::Close);
                return (messages, String::new());
            }
            Ok(message) => {
                let (Message::Data(data) | Message::Ping(data)) = &message else { continue };
                assert!(data.len() <= MESSAGE_BYTES_MAX, "a message of {} bytes", data.len());
                messages.push(message);
            }
            Err(error) => return (messages, error.to_string()),
        }
    }
}

fn check_held(buffer: &BytesMut) {
    // What was asked for with one frame may be rounded up.
    assert!(buffer.capacity() <= 3 * MESSAGE_BYTES_MAX, "{} bytes are held", buffer.capacity());
}

#[cfg(test)]
mod tests {
    use super::websocket_frames;
    use crate::fuzzing::replay::replay;

    /// A frame of a client, in one of the three forms of its length.
    fn frame(first: u8, form: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![first];
        match form {
            126 => frame.extend([&[0x80 | 126][..], &u16::try_from(payload.len()).expect("short").to_be_bytes()].concat()),
            127 => frame.extend([&[0x80 | 127][..], &(payload.len() as u64).to_be_bytes()].concat()),
            _ => frame.push(0x80 | u8::try_from(payload.len()).expect("short")),
        }
        frame.extend([1, 2, 3, 4]);
        frame.extend(payload.iter().enumerate().map(|(at, byte)| byte ^ [1, 2, 3, 4][at % 4]));
        frame
    }

    #[test]
    fn frames_of_the_corpus_come_to_an_end() {
        let seeds = [
            ("stdin and close", vec![frame(0x82, 0, b"\x00ls\n"), frame(0x82, 0, b"\xff\x00"), frame(0x88, 0, &1000_u16.to_be_bytes())]),
            ("resize", vec![frame(0x82, 126, b"\x04{\"Width\":80,\"Height\":24}"), frame(0x89, 0, b"ping")]),
            ("fragments", vec![frame(0x02, 0, b"on"), frame(0x89, 0, b""), frame(0x00, 127, b"e "), frame(0x80, 0, b"message")]),
            ("text", vec![frame(0x81, 0, b"text"), frame(0x8a, 0, b"pong")]),
            ("not masked", vec![vec![0x82, 1, 0]]),
            ("too long", vec![[&[0x82, 0xff][..], &u64::MAX.to_be_bytes(), &[0; 4]].concat()]),
            ("announced and not sent", vec![[&[0x82, 0xff][..], &0x000f_ffff_u64.to_be_bytes(), &[0; 9]].concat()]),
            ("extension", vec![frame(0xc2, 0, b"x")]),
            ("continuation of nothing", vec![frame(0x80, 0, b"x")]),
            ("close in pieces", vec![frame(0x08, 0, b"x")]),
        ];
        let seeds = seeds.map(|(name, frames)| (name.to_owned(), [vec![6], frames.concat()].concat()));
        replay("websocket_frames", seeds, websocket_frames);
    }
}
