//! The small server: GET `/status/N`, `/sleep/MS`, `/healthz`, anything else.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use crate::report::report;

/// First byte of a TLS record that begins a handshake.
const TLS_HANDSHAKE: u8 = 0x16;

/// Request head that is read at most.
const HEAD_MAX_BYTES: u64 = 64 << 10;

/// Serves for ever, a thread for each connection; `/healthz` fails from `fail_after` on.
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

fn answer(stream: TcpStream, started: Instant, fail_after: Option<Duration>) -> std::io::Result<()> {
    let mut first = [0];
    if stream.peek(&mut first)? == 1 && first[0] == TLS_HANDSHAKE {
        report("http: TLS ClientHello on the plain port");
        // What a Go server says to a TLS client that meets a plain port.
        return (&stream).write_all(b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTPS request to an HTTP server.\n");
    }
    let mut reader = BufReader::new((&stream).take(HEAD_MAX_BYTES));
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let line = line.trim_end().to_owned();
        let is_end = line.is_empty();
        head.push(line);
        if is_end {
            break;
        }
    }
    report(&format!("http: {} | ", head.join(" | ")));
    let path = head[0].split(' ').nth(1).unwrap_or("/");
    let path = path.split('?').next().unwrap_or(path);
    let status = match path.trim_start_matches('/').split_once('/') {
        Some(("status", status)) => status.parse().unwrap_or(200),
        Some(("sleep", millis)) => {
            std::thread::sleep(Duration::from_millis(millis.parse().unwrap_or(0)));
            200
        }
        _ if path == "/healthz" && fail_after.is_some_and(|after| started.elapsed() >= after) => 500,
        _ => 200,
    };
    let body = format!("status {status}\n");
    // At once, as servers do: each part of its own would be a packet.
    let answer = format!("HTTP/1.1 {status} tapp\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len());
    (&stream).write_all(answer.as_bytes())
}
