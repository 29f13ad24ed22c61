//! URLs as Go's `net/url` reads, joins and writes them: the path of a hook is whatever its author wrote (k8s: 3.d.8).

use std::fmt;

use lifecycle::Scheme;

use crate::go_text::quote;

/// An absolute URL of HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Url {
    scheme: String,
    /// With the port as it is written, IPv6 in brackets.
    authority: String,
    /// Escaped.
    path: String,
    query: Option<String>,
    fragment: Option<String>,
}

/// A reference that is no URL.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum UrlError {
    /// It has a control character.
    #[error("parse {}: net/url: invalid control character in URL", quote(.0))]
    Control(String),
    /// It has a `%` that is followed by something else than two hexadecimal digits.
    #[error("parse {}: invalid URL escape {}", quote(.reference), quote(.escape))]
    Escape { reference: String, escape: String },
    /// It starts with a colon.
    #[error("parse {}: missing protocol scheme", quote(.0))]
    NoScheme(String),
    /// A relative path that could be taken for a scheme.
    #[error("parse {}: first path segment in URL cannot contain colon", quote(.0))]
    Colon(String),
}

/// A reference: each part may be missing.
#[derive(Debug, Default)]
struct Reference {
    scheme: Option<String>,
    /// What follows the scheme if it is no path, such as `me@example.com` after `mailto:`.
    opaque: Option<String>,
    authority: Option<String>,
    path: String,
    query: Option<String>,
    fragment: Option<String>,
}

impl Url {
    /// The URL of a request to a pod (k8s: 3.d.7, 3.d.8, 3.d.9).
    pub(super) fn of_pod(scheme: Scheme, host: &str, port: u16, written: &str) -> Self {
        let parts = parse(written).unwrap_or_else(|_| Reference { path: escape(written.as_bytes()), ..Reference::default() });
        let scheme = match scheme {
            Scheme::Http => "http",
            Scheme::Https => "https",
        };
        let authority = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
        let path = parts.opaque.unwrap_or(parts.path);
        Self { scheme: scheme.to_owned(), authority, path: rooted(path), query: parts.query, fragment: parts.fragment }
    }

    pub(super) fn with_scheme(mut self, scheme: &str) -> Self {
        scheme.clone_into(&mut self.scheme);
        self
    }

    pub(super) fn scheme(&self) -> &str {
        &self.scheme
    }

    /// Host and port as they are written.
    pub(super) fn authority(&self) -> &str {
        &self.authority
    }

    /// The host without port and brackets.
    pub(super) fn hostname(&self) -> &str {
        let host = self.split_port().0;
        host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
    }

    /// The port to connect to.
    pub(super) fn port(&self) -> Option<u16> {
        match (self.split_port().1, self.scheme.as_str()) {
            (Some("") | None, "https") => Some(443),
            (Some("") | None, _) => Some(80),
            (Some(port), _) => port.parse().ok(),
        }
    }

    fn split_port(&self) -> (&str, Option<&str>) {
        match self.authority.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => (host, Some(port)),
            Some(_) | None => (&self.authority, None),
        }
    }

    /// What the request line asks for.
    pub(super) fn request_target(&self) -> String {
        match &self.query {
            Some(query) => format!("{}?{query}", self.path),
            None => self.path.clone(),
        }
    }

    /// The URL that a reference in an answer from this one means.
    pub(super) fn join(&self, written: &str) -> Result<Self, UrlError> {
        let reference = parse(written)?;
        let scheme = reference.scheme.clone().unwrap_or_else(|| self.scheme.clone());
        let fragment = reference.fragment;
        if let Some(opaque) = reference.opaque {
            return Ok(Self { scheme, authority: String::new(), path: opaque, query: reference.query, fragment });
        }
        if reference.scheme.is_some() || reference.authority.is_some() {
            let authority = reference.authority.unwrap_or_default();
            return Ok(Self { scheme, authority, path: rooted(without_dots(&reference.path)), query: reference.query, fragment });
        }
        let authority = self.authority.clone();
        if reference.path.is_empty() {
            let query = reference.query.or_else(|| self.query.clone());
            return Ok(Self { scheme, authority, path: self.path.clone(), query, fragment });
        }
        let path = if reference.path.starts_with('/') {
            reference.path
        } else {
            let folder = self.path.rsplit_once('/').map_or("", |(folder, _)| folder);
            format!("{folder}/{}", reference.path)
        };
        Ok(Self { scheme, authority, path: rooted(without_dots(&path)), query: reference.query, fragment })
    }

    /// Without what a next server need not know.
    pub(super) fn as_referer(&self) -> String {
        self.to_string()
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", self.scheme, self.authority, self.request_target())?;
        match &self.fragment {
            Some(fragment) => write!(f, "#{fragment}"),
            None => Ok(()),
        }
    }
}

fn rooted(path: String) -> String {
    if path.starts_with('/') { path } else { format!("/{path}") }
}

fn parse(written: &str) -> Result<Reference, UrlError> {
    let whole = || written.to_owned();
    if written.bytes().any(|byte| byte < 0x20 || byte == 0x7f) {
        return Err(UrlError::Control(whole()));
    }
    let (rest, fragment) = match written.split_once('#') {
        Some((rest, fragment)) => (rest, Some(fragment.to_owned()).filter(|fragment| !fragment.is_empty())),
        None => (written, None),
    };
    let (scheme, rest) = split_scheme(rest).ok_or_else(|| UrlError::NoScheme(whole()))?;
    let (rest, query) = match rest.split_once('?') {
        Some((rest, query)) => (rest, Some(query.to_owned())),
        None => (rest, None),
    };
    let mut reference = Reference { scheme, query, fragment, ..Reference::default() };
    if reference.scheme.is_some() && !rest.starts_with('/') {
        reference.opaque = Some(rest.to_owned());
        return Ok(reference);
    }
    let path = match rest.strip_prefix("//") {
        Some(after) if reference.scheme.is_some() || !rest.starts_with("///") => {
            let end = after.find('/').unwrap_or(after.len());
            let authority = &after[..end];
            reference.authority = Some(authority.rsplit_once('@').map_or(authority, |(_, host)| host).to_owned());
            &after[end..]
        }
        Some(_) | None => rest,
    };
    let first = path.split('/').next().unwrap_or_default();
    if reference.scheme.is_none() && reference.authority.is_none() && first.contains(':') {
        return Err(UrlError::Colon(whole()));
    }
    if let Some(escape) = bad_escape(path) {
        return Err(UrlError::Escape { reference: whole(), escape });
    }
    reference.path = if is_encoded(path) { path.to_owned() } else { escape(&unescape(path)) };
    Ok(reference)
}

/// The scheme in small letters, and what follows its colon; `None` if there is a colon but nothing before it.
fn split_scheme(text: &str) -> Option<(Option<String>, &str)> {
    for (index, byte) in text.bytes().enumerate() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' => {}
            b'0'..=b'9' | b'+' | b'-' | b'.' if index > 0 => {}
            b':' if index > 0 => return Some((Some(text[..index].to_ascii_lowercase()), &text[index + 1..])),
            b':' => return None,
            _ => return Some((None, text)),
        }
    }
    Some((None, text))
}

fn bad_escape(path: &str) -> Option<String> {
    let mut rest = path;
    while let Some(at) = rest.find('%') {
        let escape = &rest.as_bytes()[at..(at + 3).min(rest.len())];
        if escape.len() < 3 || !escape[1].is_ascii_hexdigit() || !escape[2].is_ascii_hexdigit() {
            return Some(String::from_utf8_lossy(escape).into_owned());
        }
        rest = &rest[at + 3..];
    }
    None
}

fn unescape(path: &str) -> Vec<u8> {
    let bytes = path.as_bytes();
    let mut plain = Vec::with_capacity(bytes.len());
    let mut index = 0;
    while let Some(byte) = bytes.get(index) {
        let digits = bytes.get(index + 1..index + 3).and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()).filter(|_| *byte == b'%') {
            Some(escaped) => {
                plain.push(escaped);
                index += 3;
            }
            None => {
                plain.push(*byte);
                index += 1;
            }
        }
    }
    plain
}

/// Whether a path can stand in a request as it is written.
fn is_encoded(path: &str) -> bool {
    path.bytes().all(|byte| matches!(byte, b'!' | b'\'' | b'(' | b')' | b'*' | b'[' | b']' | b'%') || !is_escaped(byte))
}

/// Whether Go escapes this byte in a path.
const fn is_escaped(byte: u8) -> bool {
    let is_plain = byte.is_ascii_alphanumeric()
        || matches!(byte, b'-' | b'_' | b'.' | b'~' | b'$' | b'&' | b'+' | b',' | b'/' | b':' | b';' | b'=' | b'@');
    !is_plain
}

fn escape(path: &[u8]) -> String {
    let mut escaped = String::with_capacity(path.len());
    for byte in path {
        if is_escaped(*byte) {
            escaped.push_str(&format!("%{byte:02X}"));
        } else {
            escaped.push(char::from(*byte));
        }
    }
    escaped
}

/// A path in which `.` and `..` are carried out, never above the root.
fn without_dots(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut last = "";
    for part in path.strip_prefix('/').unwrap_or(path).split('/') {
        last = part;
        match part {
            "." => {}
            ".." => {
                kept.pop();
            }
            part => kept.push(part),
        }
    }
    let mut joined = format!("/{}", kept.join("/"));
    if matches!(last, "." | "..") && !joined.ends_with('/') {
        joined.push('/');
    }
    joined
}

#[cfg(test)]
mod tests;
