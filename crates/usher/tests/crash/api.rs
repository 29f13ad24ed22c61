//! The API through the daemon's socket, by a client that knows that the daemon may die at any instant.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::PATIENCE;

/// Where the load is.
pub(crate) const PODS: &str = "/api/v1/namespaces/default/pods";
pub(crate) const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";
pub(crate) const EVENTS: &str = "/api/v1/namespaces/default/events";

/// What came of a request.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// The whole answer came: whatever it says is acknowledged.
    Answered(u16, Value),
    /// Nobody listened: the request never left.
    NotSent,
    /// The connection broke: it may have been carried out or not.
    Unknown,
}

/// A client of one daemon and of those that come after it.
#[derive(Clone, Debug)]
pub(crate) struct Api {
    socket: PathBuf,
}

impl Api {
    pub(crate) fn new(socket: &Path) -> Self {
        Self { socket: socket.to_owned() }
    }

    pub(crate) fn get(&self, path: &str) -> Outcome {
        self.ask("GET", path, "application/json", "")
    }

    pub(crate) fn create(&self, path: &str, object: &Value) -> Outcome {
        self.ask("POST", path, "application/json", &object.to_string())
    }

    pub(crate) fn merge(&self, path: &str, patch: &Value) -> Outcome {
        self.ask("PATCH", path, "application/merge-patch+json", &patch.to_string())
    }

    pub(crate) fn delete(&self, path: &str, grace_secs: Option<u64>) -> Outcome {
        let query = grace_secs.map(|secs| format!("?gracePeriodSeconds={secs}")).unwrap_or_default();
        self.ask("DELETE", &format!("{path}{query}"), "application/json", "")
    }

    fn ask(&self, method: &str, path: &str, content: &str, body: &str) -> Outcome {
        let Ok(mut stream) = UnixStream::connect(&self.socket) else { return Outcome::NotSent };
        stream.set_read_timeout(Some(PATIENCE)).expect("a time limit");
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: usher\r\nConnection: close\r\nContent-Type: {content}\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        if stream.write_all(request.as_bytes()).is_err() {
            return Outcome::Unknown;
        }
        let mut answer = Vec::new();
        match stream.read_to_end(&mut answer) {
            Ok(_) => understand(&answer).unwrap_or(Outcome::Unknown),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => panic!("no answer within {PATIENCE:?} to {method} {path}"),
            Err(_) => Outcome::Unknown,
        }
    }

    /// Opens a session with a command in a container, over a WebSocket. Returns when the command's first output is here; `None` if
    /// there is no session.
    pub(crate) fn exec(&self, pod: &str, container: &str, command: &[&str]) -> Option<UnixStream> {
        let words: String = command.iter().map(|word| format!("&command={}", word.replace(' ', "%20").replace(';', "%3B"))).collect();
        let mut stream = UnixStream::connect(&self.socket).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).expect("a time limit");
        let request = format!(
            "GET {PODS}/{pod}/exec?container={container}&stdout=true{words} HTTP/1.1\r\nHost: usher\r\nConnection: Upgrade\r\n\
             Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             Sec-WebSocket-Protocol: v4.channel.k8s.io\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).ok()?;
        let mut seen = Vec::new();
        let mut buffer = [0; 1024];
        loop {
            let read = stream.read(&mut buffer).ok().filter(|read| *read > 0)?;
            seen.extend_from_slice(&buffer[..read]);
            if seen.windows(SESSION_BEGUN.len()).any(|window| window == SESSION_BEGUN.as_bytes()) {
                return Some(stream);
            }
            if seen.starts_with(b"HTTP/1.1 ") && !seen.starts_with(b"HTTP/1.1 101") {
                return None;
            }
        }
    }
}

/// What the command of a session prints first.
pub(crate) const SESSION_BEGUN: &str = "session-begun";

/// `None` if this is not all of an answer.
fn understand(answer: &[u8]) -> Option<Outcome> {
    let answer = std::str::from_utf8(answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let code = head.split(' ').nth(1)?.parse().ok()?;
    let length = head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length:").map(|text| text.trim().parse().ok()));
    if length.flatten() != Some(body.len()) {
        return None;
    }
    Some(Outcome::Answered(code, serde_json::from_str(body).unwrap_or(Value::Null)))
}
