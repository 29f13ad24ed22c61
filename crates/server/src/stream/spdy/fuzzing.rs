//! A fuzz target: what a client may send on a SPDY connection.

use flate2::{Compress, Compression, FlushCompress};
use tokio::io::AsyncWriteExt as _;
use tokio::task::JoinSet;

use super::{Connection, HEADERS_BYTES_MAX, SYN_STREAM, control, dictionary};
use crate::fuzzing::block_on;

/// The bytes of a client. If the first is odd, they are as on the wire; otherwise they are frames whose headers are still to be packed,
/// which nobody finds by chance: a kind, a flag, a number, a length, and so much content.
///
/// They come to an end: the connection is over, with it all streams, and headers are bounded. Every third stream is dropped at once,
/// another is answered with what it says, the rest is read to its end.
pub fn spdy_frames(data: &[u8]) {
    let Some((first, bytes)) = data.split_first() else { return };
    let bytes = if first % 2 == 1 { bytes.to_vec() } else { packed(bytes) };
    block_on(async {
        let (client, server) = tokio::io::duplex(256);
        let (mut answers, mut client) = tokio::io::split(client);
        let mut connection = Connection::new(server);
        let sending = async {
            let _ = client.write_all(&bytes).await;
            let _ = client.shutdown().await;
        };
        let mut nowhere = tokio::io::sink();
        let taking = tokio::io::copy(&mut answers, &mut nowhere);
        let serving = async {
            let mut streams = JoinSet::new();
            while let Some(mut stream) = connection.accept().await {
                let length: usize = stream.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
                // Small letters may be longer.
                assert!(length <= 3 * HEADERS_BYTES_MAX, "headers of {length} bytes");
                match stream.id % 3 {
                    0 => drop(stream),
                    1 => drop(streams.spawn(async move { while stream.receive().await.is_some() {} })),
                    _ => {
                        let (mut inbox, outbox) = stream.split();
                        streams.spawn(async move {
                            while let Some(data) = inbox.recv().await {
                                outbox.send(data).await;
                            }
                            outbox.finish().await;
                        });
                    }
                }
            }
            connection.closed().await;
            while streams.join_next().await.is_some() {}
            connection.finish().await;
        };
        let ((), _, ()) = tokio::join!(sending, taking, serving);
    });
}

/// Frames as on the wire, of frames as they are easily varied.
fn packed(mut bytes: &[u8]) -> Vec<u8> {
    let mut packer = Compress::new(Compression::fast(), true);
    packer.set_dictionary(&dictionary()).expect("nothing was packed yet");
    let mut frames = Vec::new();
    while let [kind, flags, id, length, rest @ ..] = bytes {
        let (content, rest) = rest.split_at(usize::from(*length).min(rest.len()));
        bytes = rest;
        let id = u32::from(*id);
        match u16::from(*kind) {
            0 => {
                let length = u32::try_from(content.len()).unwrap_or(0) | u32::from(*flags) << 24;
                frames.extend([&id.to_be_bytes()[..], &length.to_be_bytes(), content].concat());
            }
            kind @ (SYN_STREAM | super::HEADERS) => {
                let mut block = Vec::with_capacity(1024);
                packer.compress_vec(content, &mut block, FlushCompress::Sync).expect("short contents can be packed");
                let before: &[u8] = if kind == SYN_STREAM { &[0; 6] } else { &[] };
                let begin = frames.len();
                control(&mut frames, kind, &[&id.to_be_bytes()[..], before, &block].concat());
                frames[begin + 4] = *flags;
            }
            kind => control(&mut frames, kind, &[&id.to_be_bytes()[..], content].concat()),
        }
    }
    frames
}

#[cfg(test)]
mod tests {
    use super::spdy_frames;
    use crate::fuzzing::replay::replay;

    fn frame(kind: u8, flags: u8, id: u8, content: &[u8]) -> Vec<u8> {
        [&[kind, flags, id, u8::try_from(content.len()).expect("short")], content].concat()
    }

    fn headers(headers: &[(&str, &str)]) -> Vec<u8> {
        let mut block = u32::try_from(headers.len()).expect("few").to_be_bytes().to_vec();
        for text in headers.iter().flat_map(|(name, value)| [name, value]) {
            block.extend(u32::try_from(text.len()).expect("short").to_be_bytes());
            block.extend(text.as_bytes());
        }
        block
    }

    #[test]
    fn frames_of_the_corpus_come_to_an_end() {
        let open = |id: u8, flags: u8, list: &[(&str, &str)]| frame(1, flags, id, &headers(list));
        let exec: Vec<_> = ["error", "stdin", "stdout", "stderr"]
            .into_iter()
            .zip([1, 3, 5, 7])
            .map(|(kind, id)| open(id, 0, &[("streamType", kind)]))
            .collect();
        let pair = [
            open(1, 1, &[("streamType", "error"), ("port", "80"), ("requestID", "0")]),
            open(3, 0, &[("streamType", "data"), ("port", "80"), ("requestID", "0")]),
        ];
        let raw = |bytes: &[u8]| [&[1], bytes].concat();
        let packed = |frames: &[Vec<u8>]| [vec![0], frames.concat()].concat();
        let many: Vec<_> = (0..200).map(|id| open(id, 0, &[])).collect();
        let seeds = [
            ("exec", packed(&[exec.concat(), frame(0, 0, 3, b"ls\n"), frame(0, 1, 3, b""), frame(7, 0, 0, &[0; 4])])),
            ("forward", packed(&[pair.concat(), frame(0, 0, 3, b"GET / HTTP/1.0\r\n\r\n"), frame(3, 0, 3, &[0, 0, 0, 5])])),
            ("pings", packed(&[frame(6, 0, 1, b""), frame(6, 0, 2, b""), frame(4, 0, 0, &[0; 8]), frame(9, 0, 1, &[0; 4])])),
            ("more headers", packed(&[open(1, 0, &[("a", "b")]), frame(8, 0, 1, &headers(&[("c", "d")])), open(3, 0, &[("e", "f")])])),
            ("two of one number", packed(&[open(1, 0, &[]), open(1, 0, &[])])),
            ("data for nobody", packed(&[frame(0, 0, 9, b"x"), frame(3, 0, 9, &[0; 4])])),
            ("many streams", packed(&many)),
            (
                "data after the last",
                packed(&[open(2, 1, &[]), frame(0, 0, 2, b"x"), open(5, 0, &[]), frame(0, 1, 5, b"x"), frame(0, 0, 5, b"y")]),
            ),
            ("another version", raw(&[0x80, 2, 0, 1, 0, 0, 0, 0])),
            ("too long", raw(&[0, 0, 0, 1, 0, 0xff, 0xff, 0xff])),
            ("too short", raw(&[0x80, 3, 0, 1, 0, 0, 0, 1, 0])),
            ("unknown", raw(&[0x80, 3, 0, 99, 0, 0, 0, 0])),
            ("headers that are not packed", raw(&[0x80, 3, 0, 1, 0, 0, 0, 14, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4])),
        ];
        replay("spdy_frames", seeds.map(|(name, seed)| (name.to_owned(), seed)), spdy_frames);
    }
}
