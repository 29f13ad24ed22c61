//! The small gRPC server: the standard health protocol, one canned answer. What it is asked is not decoded, only reported.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use crate::report::report;

/// With which a client of HTTP/2 begins.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Largest frame that is read, the protocol's first limit.
const FRAME_MAX_BYTES: usize = 16 << 10;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// `:status: 200`, `content-type: application/grpc`, in HPACK without tables.
const HEAD: &[u8] = b"\x88\x0f\x10\x10application/grpc";

/// `grpc-status: 0`
const TRAILERS: &[u8] = b"\x00\x0bgrpc-status\x010";

/// Serves for ever, a thread for each connection: SERVING until `fail_after`, then NOT_SERVING.
pub(crate) fn serve(port: u16, fail_after: Option<Duration>) -> std::io::Result<()> {
    let listener = TcpListener::bind((crate::everywhere(), port))?;
    let started = Instant::now();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || answer(stream, started, fail_after));
        }
    });
    Ok(())
}

fn answer(mut stream: TcpStream, started: Instant, fail_after: Option<Duration>) -> std::io::Result<()> {
    let mut preface = [0; PREFACE.len()];
    stream.read_exact(&mut preface)?;
    if preface != PREFACE {
        report("grpc: no HTTP/2");
        return Ok(());
    }
    stream.write_all(&frame(SETTINGS, 0, 0, &[]))?;
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head)?;
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        if length > FRAME_MAX_BYTES {
            return Ok(());
        }
        let mut payload = vec![0; length];
        stream.read_exact(&mut payload)?;
        let (kind, flags, id) = (head[3], head[4], u32::from_be_bytes([head[5], head[6], head[7], head[8]]));
        match kind {
            SETTINGS | PING if flags & ACK == 0 => stream.write_all(&frame(kind, ACK, 0, if kind == PING { &payload } else { &[] }))?,
            HEADERS | DATA if flags & END_STREAM != 0 => {
                let is_serving = fail_after.is_none_or(|after| started.elapsed() < after);
                let status = if is_serving { 1 } else { 2 };
                report(&format!("grpc: health check, answer {status}"));
                stream.write_all(&frame(HEADERS, END_HEADERS, id, HEAD))?;
                stream.write_all(&frame(DATA, 0, id, &[0, 0, 0, 0, 2, 8, status]))?;
                stream.write_all(&frame(HEADERS, END_HEADERS | END_STREAM, id, TRAILERS))?;
            }
            _ => {}
        }
    }
}

fn frame(kind: u8, flags: u8, id: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap_or(0).to_be_bytes();
    let mut bytes = vec![length[1], length[2], length[3], kind, flags];
    bytes.extend_from_slice(&id.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}
