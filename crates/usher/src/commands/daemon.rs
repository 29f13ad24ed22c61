//! The `usher serve` of this machine, asked through its socket.
//!
//! One request a connection, in the form in which an answer ends with the connection: no more of HTTP is needed here.

use std::io::{BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail};
use node::Pod;
use serde_json::Value;

use crate::cli::Global;
use crate::commands::serve::SOCKET_FILE;

/// By this name the daemon knows who asks.
const USER_AGENT: &str = concat!("usher/", env!("CARGO_PKG_VERSION"));

/// The daemon is on this machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// A daemon that listens.
#[derive(Clone, Debug)]
pub(crate) struct Daemon {
    socket: PathBuf,
}

/// What it says.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) code: u16,
    pub(crate) body: Vec<u8>,
}

impl Daemon {
    /// The daemon that runs with this root, if one does.
    ///
    /// # Errors
    /// It cannot be told: not root, for example.
    pub(crate) fn running(global: &Global) -> anyhow::Result<Option<Self>> {
        let socket = global.root().join(SOCKET_FILE);
        match UnixStream::connect(&socket) {
            Ok(_) => Ok(Some(Self { socket })),
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => Ok(None),
            Err(error) => Err(error).with_context(|| format!("cannot connect to {}", socket.display())),
        }
    }

    /// The daemon, which has to run.
    ///
    /// # Errors
    /// It does not.
    pub(crate) fn needed(global: &Global) -> anyhow::Result<Self> {
        let running = Self::running(global)?;
        running.with_context(|| format!("nobody listens on {}; is `usher serve` running?", global.root().join(SOCKET_FILE).display()))
    }

    /// Asks, and waits for the whole answer.
    ///
    /// # Errors
    /// There is none.
    pub(crate) fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> anyhow::Result<Answer> {
        let mut reader = BufReader::new(self.send(method, path, body)?);
        let (code, length) = head(&mut reader)?;
        let mut body = Vec::new();
        reader.read_to_end(&mut body).context("the daemon does not answer")?;
        if length.is_some_and(|length| length != body.len()) {
            bail!("the daemon's answer breaks off");
        }
        Ok(Answer { code, body })
    }

    /// Something that is there; what it says otherwise is the error.
    ///
    /// # Errors
    /// It is not there, or there is no answer.
    pub(crate) fn get(&self, path: &str) -> anyhow::Result<Value> {
        let answer = self.ask("GET", path, None)?;
        if answer.code != 200 {
            bail!("{}", answer.message());
        }
        serde_json::from_slice(&answer.body).context("the daemon's answer cannot be read")
    }

    /// The pods that it knows, as the API has them.
    ///
    /// # Errors
    /// There is no answer.
    pub(crate) fn pods(&self) -> anyhow::Result<Vec<Pod>> {
        let list = self.get("/api/v1/pods")?;
        serde_json::from_value(list["items"].clone()).context("the daemon's pods cannot be read")
    }

    /// What it says from now on, line by line.
    ///
    /// # Errors
    /// It refuses.
    pub(crate) fn lines(&self, path: &str) -> anyhow::Result<impl Iterator<Item = std::io::Result<String>> + use<>> {
        let mut reader = BufReader::new(self.send("GET", path, None)?);
        let (code, _) = head(&mut reader)?;
        if code != 200 {
            let mut body = Vec::new();
            reader.read_to_end(&mut body).context("the daemon does not answer")?;
            bail!("{}", Answer { code, body }.message());
        }
        reader.get_ref().set_read_timeout(None)?;
        Ok(reader.lines())
    }

    fn send(&self, method: &str, path: &str, body: Option<&Value>) -> anyhow::Result<UnixStream> {
        let mut stream = UnixStream::connect(&self.socket).with_context(|| format!("cannot connect to {}", self.socket.display()))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let body = body.map(Value::to_string).unwrap_or_default();
        let length = body.len();
        // At once: the daemon may answer and close before it has read all of it.
        let request = format!(
            "{method} {path} HTTP/1.0\r\nHost: usher\r\nUser-Agent: {USER_AGENT}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        stream.write_all(request.as_bytes()).context("the daemon does not listen")?;
        Ok(stream)
    }
}

impl Answer {
    /// What it says to people.
    pub(crate) fn message(&self) -> String {
        let told: Value = serde_json::from_slice(&self.body).unwrap_or_default();
        told["message"].as_str().map_or_else(|| format!("the daemon answers {}", self.code), ToOwned::to_owned)
    }
}

/// The most of an answer's head that is read.
const HEAD_BYTES_MAX: u64 = 64 << 10;

/// Status and length of the body.
fn head(reader: &mut BufReader<UnixStream>) -> anyhow::Result<(u16, Option<usize>)> {
    let mut code = None;
    let mut length = None;
    let mut head = reader.take(HEAD_BYTES_MAX);
    loop {
        let mut line = String::new();
        head.read_line(&mut line).context("the daemon does not answer")?;
        let line = line.trim_end();
        if line.is_empty() {
            break;
        }
        match line.split_once(':') {
            None => code = line.split(' ').nth(1).and_then(|code| code.parse().ok()),
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => length = value.trim().parse().ok(),
            Some(_) => {}
        }
    }
    Ok((code.context("the daemon's answer cannot be read")?, length))
}
