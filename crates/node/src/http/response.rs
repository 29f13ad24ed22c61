//! The head and the body of an answer, read as Go reads them, with its words for what is wrong.

use std::collections::BTreeMap;

use super::connection::Connection;
use super::request::canonical;
use crate::go_text::quote;

/// The head of an answer is at most so long, in bytes. Go's client allows ten times as much, for every connection.
const HEAD_BYTES_MAX: usize = 1024 * 1024;
/// Interim answers before the real one.
const INTERIM_ANSWERS_MAX: usize = 5;
/// A line that tells the size of a chunk is at most so long, in bytes.
const CHUNK_LINE_BYTES_MAX: usize = 4096;

/// Status and headers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) status: u16,
    /// By canonical name, the first value of each.
    headers: BTreeMap<String, String>,
}

/// The body broke off.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct BodyError(pub(super) String);

impl Head {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// Where this answer sends the client, if it does.
    pub(super) fn redirect(&self) -> Option<String> {
        let location = self.header("Location").filter(|location| !location.is_empty())?;
        matches!(self.status, 301 | 302 | 303 | 307 | 308).then(|| location.to_owned())
    }

    /// The length of the body as it was announced; unknown for chunks, and for what would have to be unpacked.
    pub(super) fn content_length(&self) -> Option<u64> {
        if self.has_no_body() {
            return Some(0);
        }
        let is_packed = self.header("Content-Encoding").is_some_and(|encoding| encoding.eq_ignore_ascii_case("gzip"));
        if self.is_chunked() || is_packed { None } else { self.announced_length() }
    }

    fn announced_length(&self) -> Option<u64> {
        self.header("Content-Length").and_then(|length| length.trim().parse().ok())
    }

    fn is_chunked(&self) -> bool {
        self.header("Transfer-Encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked"))
    }

    const fn has_no_body(&self) -> bool {
        matches!(self.status, 100..=199 | 204 | 304)
    }
}

/// Reads the head of the answer, after interim ones.
pub(super) async fn read_head(connection: &mut Connection) -> Result<Head, String> {
    for _ in 0..=INTERIM_ANSWERS_MAX {
        let head = read_one_head(connection).await?;
        // Switching protocols is an end in itself.
        if !(100..200).contains(&head.status) || head.status == 101 {
            return Ok(head);
        }
    }
    Err("net/http: too many 1xx informational responses".to_owned())
}

async fn read_one_head(connection: &mut Connection) -> Result<Head, String> {
    let broken = |text: String| format!("net/http: HTTP/1.x transport connection broken: {text}");
    let mut room = HEAD_BYTES_MAX;
    let line = match next_line(connection, &mut room).await? {
        Some(line) => line,
        None if room == HEAD_BYTES_MAX => return Err("EOF".to_owned()),
        None => return Err(broken("unexpected EOF".to_owned())),
    };
    let status = parse_status(&line).map_err(broken)?;
    let mut headers = BTreeMap::new();
    loop {
        let line = next_line(connection, &mut room).await?.ok_or_else(|| broken("unexpected EOF".to_owned()))?;
        if line.is_empty() {
            return Ok(Head { status, headers });
        }
        // A line that goes on is of no header that matters here.
        if line.starts_with([' ', '\t']) {
            continue;
        }
        let (name, value) = line.split_once(':').ok_or_else(|| broken(format!("malformed MIME header line: {line}")))?;
        if name.is_empty() || name.ends_with([' ', '\t']) {
            return Err(broken(format!("malformed MIME header line: {line}")));
        }
        headers.entry(canonical(name)).or_insert_with(|| value.trim_matches([' ', '\t']).to_owned());
    }
}

/// A line without its end; `None` if the connection ended first.
async fn next_line(connection: &mut Connection, room: &mut usize) -> Result<Option<String>, String> {
    let line = connection.read_line(*room).await?;
    *room -= line.len();
    if *room == 0 {
        return Err(format!("net/http: server response headers exceeded {HEAD_BYTES_MAX} bytes; aborted"));
    }
    let text = match line.strip_suffix(b"\n") {
        Some(text) => text.strip_suffix(b"\r").unwrap_or(text),
        None => return Ok(None),
    };
    Ok(Some(String::from_utf8_lossy(text).into_owned()))
}

fn parse_status(line: &str) -> Result<u16, String> {
    let (version, rest) = line.split_once(' ').ok_or_else(|| format!("malformed HTTP response {}", quote(line)))?;
    let code = rest.trim_start_matches(' ').split(' ').next().unwrap_or_default();
    let status = if code.len() == 3 && code.bytes().all(|byte| byte.is_ascii_digit()) { code.parse().ok() } else { None };
    let status = status.ok_or_else(|| format!("malformed HTTP status code {}", quote(code)))?;
    let digits = version.strip_prefix("HTTP/").map(str::as_bytes);
    match digits {
        Some([major, b'.', minor]) if major.is_ascii_digit() && minor.is_ascii_digit() => Ok(status),
        Some(_) | None => Err(format!("malformed HTTP version {}", quote(version))),
    }
}

/// Reads the body, at most so many bytes of it; what comes after is left.
pub(super) async fn read_body(connection: &mut Connection, head: &Head, bytes_max: u64) -> Result<Vec<u8>, BodyError> {
    let mut body = Vec::new();
    if head.has_no_body() {
        return Ok(body);
    }
    if head.is_chunked() {
        read_chunks(connection, bytes_max, &mut body).await?;
        return Ok(body);
    }
    let announced = head.announced_length();
    let wanted = announced.unwrap_or(bytes_max).min(bytes_max);
    connection.read_up_to(wanted, &mut body).await.map_err(BodyError)?;
    if announced.is_some() && (body.len() as u64) < wanted {
        return Err(BodyError("unexpected EOF".to_owned()));
    }
    Ok(body)
}

async fn read_chunks(connection: &mut Connection, bytes_max: u64, body: &mut Vec<u8>) -> Result<(), BodyError> {
    loop {
        let line = connection.read_line(CHUNK_LINE_BYTES_MAX).await.map_err(BodyError)?;
        let Some(line) = line.strip_suffix(b"\n") else { return Err(BodyError("unexpected EOF".to_owned())) };
        let digits = line.split(|byte| *byte == b';').next().unwrap_or_default();
        let digits = String::from_utf8_lossy(digits);
        let size = u64::from_str_radix(digits.trim(), 16);
        let size = size.map_err(|_| BodyError("invalid byte in chunk length".to_owned()))?;
        let room = bytes_max.saturating_sub(body.len() as u64);
        // Trailers are of no interest.
        if size == 0 || room == 0 {
            return Ok(());
        }
        let before = body.len() as u64;
        let wanted = size.min(room);
        connection.read_up_to(wanted, body).await.map_err(BodyError)?;
        if body.len() as u64 - before < wanted {
            return Err(BodyError("unexpected EOF".to_owned()));
        }
        if size > room {
            return Ok(());
        }
        let end = connection.read_line(CHUNK_LINE_BYTES_MAX).await.map_err(BodyError)?;
        if !matches!(end.as_slice(), b"\r\n" | b"\n") {
            return Err(BodyError("malformed chunked encoding".to_owned()));
        }
    }
}

#[cfg(test)]
mod tests;
