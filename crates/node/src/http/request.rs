//! The bytes of a request: which headers, in which order (k8s: 3.d.10 to 3.d.14).
//!
//! Go writes `Host` and `User-Agent` first, then all others by name, then those that its transport adds.

use std::collections::BTreeMap;

use super::Purpose;
use super::url::Url;
use crate::go_text::quote;

/// k8s: 3.d.10
const HOOK_USER_AGENT: &str = "kube-lifecycle/1.36";
/// k8s: 3.d.10, 7.e.1
pub(crate) const PROBE_USER_AGENT: &str = "kube-probe/1.36";
/// Headers that have a place of their own, or that a request without a body does not have.
const NOT_AMONG_OTHERS: [&str; 5] = ["Host", "User-Agent", "Content-Length", "Transfer-Encoding", "Trailer"];

/// The headers of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Headers {
    /// By canonical name; values in the order of the manifest.
    named: BTreeMap<String, Vec<String>>,
    /// The `Host` that the user wants; empty for the URL's.
    host: String,
    purpose: Purpose,
}

impl Headers {
    pub(super) fn new(written: &[(String, String)], purpose: Purpose) -> Self {
        let mut named: BTreeMap<String, Vec<String>> = BTreeMap::new();
        // k8s: 3.d.13
        for (name, value) in written {
            named.entry(canonical(name)).or_default().push(value.clone());
        }
        let default_user_agent = match purpose {
            Purpose::Hook => HOOK_USER_AGENT,
            Purpose::Probe { .. } => PROBE_USER_AGENT,
        };
        named.entry("User-Agent".to_owned()).or_insert_with(|| vec![default_user_agent.to_owned()]);
        // k8s: 3.d.11
        let accepted = named.entry("Accept".to_owned()).or_insert_with(|| vec!["*/*".to_owned()]);
        if accepted.first().is_none_or(String::is_empty) {
            named.remove("Accept");
        }
        // k8s: 3.d.12
        let host = first(&named, "Host").to_owned();
        Self { named, host, purpose }
    }

    pub(super) fn without(mut self, name: &str) -> Self {
        self.named.remove(name);
        self
    }

    /// The headers of the request that a redirect asks for.
    pub(super) fn for_redirect(&self, from: &Url, to: &Url, location: &str) -> Self {
        let mut next = self.clone();
        let is_relative = !location.contains("://");
        if !is_relative {
            next.host = String::new();
        }
        let would_tell = from.scheme() == "https" && to.scheme() == "http";
        if !would_tell && first(&self.named, "Referer").is_empty() {
            next.named.insert("Referer".to_owned(), vec![from.as_referer()]);
        }
        next
    }

    /// The whole request, or why Go would not send it.
    pub(super) fn request(&self, url: &Url) -> Result<Vec<u8>, String> {
        if !matches!(url.scheme(), "http" | "https") {
            return Err(format!("unsupported protocol scheme {}", quote(url.scheme())));
        }
        if url.authority().is_empty() {
            return Err("http: no Host in request URL".to_owned());
        }
        let is_illegal = |value: &&String| value.bytes().any(|byte| (byte < 0x20 && byte != b'\t') || byte == 0x7f);
        if let Some((name, _)) = self.named.iter().find(|(_, values)| values.iter().any(|value| is_illegal(&value))) {
            return Err(format!("net/http: invalid header field value for {}", quote(name)));
        }
        let host = if self.host.is_empty() { url.authority() } else { &self.host };
        let mut text = format!("GET {} HTTP/1.1\r\nHost: {host}\r\n", url.request_target());
        let user_agent = first(&self.named, "User-Agent");
        if !user_agent.is_empty() {
            push(&mut text, "User-Agent", user_agent);
        }
        let others = self.named.iter().filter(|(name, _)| !NOT_AMONG_OTHERS.contains(&name.as_str()));
        for (name, values) in others {
            for value in values {
                push(&mut text, name, value);
            }
        }
        match self.purpose {
            // k8s: 3.d.14
            Purpose::Hook if first(&self.named, "Accept-Encoding").is_empty() && first(&self.named, "Range").is_empty() => {
                push(&mut text, "Accept-Encoding", "gzip");
            }
            // k8s: 7.e.7
            Purpose::Probe { .. } if !first(&self.named, "Connection").eq_ignore_ascii_case("close") => {
                push(&mut text, "Connection", "close");
            }
            Purpose::Hook | Purpose::Probe { .. } => {}
        }
        text.push_str("\r\n");
        Ok(text.into_bytes())
    }
}

fn first<'a>(named: &'a BTreeMap<String, Vec<String>>, name: &str) -> &'a str {
    named.get(name).and_then(|values| values.first()).map(String::as_str).unwrap_or_default()
}

fn push(text: &mut String, name: &str, value: &str) {
    text.push_str(name);
    text.push_str(": ");
    text.push_str(value.trim_matches([' ', '\t']));
    text.push_str("\r\n");
}

/// `x-hook` as `X-Hook`; a name that is none stays as it is.
pub(super) fn canonical(name: &str) -> String {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if !name.bytes().all(is_token) {
        return name.to_owned();
    }
    let mut starts_word = true;
    let letters = name.chars().map(|letter| {
        let written = if starts_word { letter.to_ascii_uppercase() } else { letter.to_ascii_lowercase() };
        starts_word = letter == '-';
        written
    });
    letters.collect()
}
