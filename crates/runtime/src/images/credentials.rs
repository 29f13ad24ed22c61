//! Pull secrets: which credentials are for which image, by the rules of the kubelet.
//!
//! Only the files' contents and the matching; where the secrets come from, and what it means that none fits, is decided
//! elsewhere. Several may fit, since that is how passwords are rotated: they are tried in order.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::Url;
use serde::Deserialize;

use super::reference::ImageReference;
use super::registry::Auth;

const DEFAULT_REGISTRY: &str = "index.docker.io";

/// Credentials from pull secrets.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Keyring {
    /// Location (host, perhaps with port and path, perhaps with `*` in labels of the host) to credentials.
    entries: BTreeMap<String, Vec<Auth>>,
}

/// Why a pull secret cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ParseCredentialsError {
    /// It is no JSON of the right shape.
    #[error("the pull secret is no valid {format} at line {line} column {column}")]
    Json {
        /// `.dockerconfigjson` or `.dockercfg`.
        format: &'static str,
        /// The place of the first mistake. What stands there is not told: it may be the secret.
        line: usize,
        /// The place of the first mistake, in bytes.
        column: usize,
    },
    /// An `auth` that is not the base64 of `name:password`.
    #[error("the field \"auth\" for {location:?} in the pull secret is not the base64 of a name, a colon and a password")]
    Auth {
        /// The entry.
        location: String,
    },
}

#[derive(Deserialize)]
struct DockerConfig {
    #[serde(default)]
    auths: Option<BTreeMap<String, Entry>>,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(default)]
    username: Option<String>,
    #[serde(default)]
    password: Option<String>,
    #[serde(default)]
    auth: Option<String>,
    #[serde(default)]
    registrytoken: Option<String>,
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(&self.entries).finish()
    }
}

impl Keyring {
    /// Adds a secret of type `kubernetes.io/dockerconfigjson` (the content of `~/.docker/config.json`).
    pub fn add_docker_config_json(&mut self, content: &[u8]) -> Result<(), ParseCredentialsError> {
        let config: DockerConfig = parse(".dockerconfigjson", content)?;
        self.add(config.auths.unwrap_or_default())
    }

    /// Adds a secret of the older type `kubernetes.io/dockercfg`.
    pub fn add_dockercfg(&mut self, content: &[u8]) -> Result<(), ParseCredentialsError> {
        self.add(parse(".dockercfg", content)?)
    }

    /// The credentials for an image, best match first; empty if it has to be pulled anonymously.
    // kubelet: credentialprovider BasicDockerKeyring.Lookup
    pub fn lookup(&self, reference: &ImageReference) -> Vec<Auth> {
        let repository = reference.repository();
        // In reverse order a longer path comes before its own beginning.
        let matching = self.entries.iter().rev().filter(|(location, _)| matches(location, &repository));
        let found: Vec<Auth> = matching.flat_map(|(_, auths)| auths).cloned().collect();
        if found.is_empty() && reference.domain() == "docker.io" {
            return self.entries.get(DEFAULT_REGISTRY).cloned().unwrap_or_default();
        }
        found
    }

    fn add(&mut self, auths: BTreeMap<String, Entry>) -> Result<(), ParseCredentialsError> {
        for (location, entry) in auths {
            let auth = entry.auth(&location)?;
            if let Some(key) = location_key(&location) {
                self.entries.entry(key).or_default().push(auth);
            }
        }
        Ok(())
    }
}

fn parse<T: for<'a> Deserialize<'a>>(format: &'static str, content: &[u8]) -> Result<T, ParseCredentialsError> {
    // An array would be read as the fields of an object, in order.
    if content.trim_ascii_start().starts_with(b"[") {
        return Err(ParseCredentialsError::Json { format, line: 1, column: 1 });
    }
    let json_error = |error: serde_json::Error| ParseCredentialsError::Json { format, line: error.line(), column: error.column() };
    serde_json::from_slice(content).map_err(json_error)
}

impl Entry {
    fn auth(self, location: &str) -> Result<Auth, ParseCredentialsError> {
        if let Some(token) = self.registrytoken.filter(|token| !token.is_empty()) {
            return Ok(Auth::Bearer(token));
        }
        let Some(auth) = self.auth.filter(|auth| !auth.is_empty()) else {
            let (username, password) = (self.username.unwrap_or_default(), self.password.unwrap_or_default());
            return Ok(if username.is_empty() && password.is_empty() { Auth::Anonymous } else { Auth::Basic { username, password } });
        };
        let bad_auth = || ParseCredentialsError::Auth { location: location.to_owned() };
        let decoded = STANDARD.decode(auth.trim_end()).map_err(|_| bad_auth())?;
        let decoded = String::from_utf8(decoded).map_err(|_| bad_auth())?;
        let (username, password) = decoded.split_once(':').ok_or_else(bad_auth)?;
        // Old clients padded with NULs.
        Ok(Auth::Basic { username: username.to_owned(), password: password.trim_matches('\0').to_owned() })
    }
}

/// Host and path of an entry, as images are matched with: without scheme, and without the version of the protocol.
fn location_key(location: &str) -> Option<String> {
    let has_scheme = location.starts_with("https://") || location.starts_with("http://");
    let rest = if has_scheme { location.split_once("://")?.1 } else { location };
    // Parsed only to refuse what is no URL; wildcards are fine in a URL's host, but would be changed.
    Url::parse(&format!("https://{}", rest.replace('*', "x"))).ok()?;
    let rest = rest.split(['?', '#']).next()?;
    let (host, path) = match rest.find('/') {
        Some(slash) => rest.split_at(slash),
        None => (rest, ""),
    };
    let path = path.strip_prefix("/v1/").or_else(|| path.strip_prefix("/v2/")).map_or(path.to_owned(), |rest| format!("/{rest}"));
    Some(if path == "/" { host.to_owned() } else { format!("{host}{path}") })
}

/// Whether credentials for `location` are for `repository`: each label of the host matches, the port is the same, the path
/// is a beginning.
// kubelet: credentialprovider URLsMatch
fn matches(location: &str, repository: &str) -> bool {
    let split = |text: &str| {
        let (host, path) = text.split_once('/').map_or((text, String::new()), |(host, path)| (host, format!("/{path}")));
        let (name, port) = split_port(host);
        (name.to_owned(), port.to_owned(), path)
    };
    let (pattern, pattern_port, pattern_path) = split(location);
    let (host, port, path) = split(repository);
    let (patterns, labels): (Vec<_>, Vec<_>) = (pattern.split('.').collect(), host.split('.').collect());
    pattern_port == port
        && patterns.len() == labels.len()
        && path.starts_with(&pattern_path)
        && patterns.iter().zip(labels).all(|(pattern, label)| glob_matches(pattern.as_bytes(), label.as_bytes()))
}

fn split_port(host: &str) -> (&str, &str) {
    let bracket = host.rfind(']').unwrap_or_default();
    match host.rfind(':').filter(|colon| *colon > bracket) {
        Some(colon) => (&host[..colon], &host[colon + 1..]),
        None => (host, ""),
    }
}

/// Matches one label with `*`.
fn glob_matches(pattern: &[u8], label: &[u8]) -> bool {
    let (mut at, mut in_label) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while in_label < label.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, in_label));
                at += 1;
            }
            Some(byte) if *byte == label[in_label] => {
                at += 1;
                in_label += 1;
            }
            _ => {
                let Some((star_at, matched)) = star else { return false };
                star = Some((star_at, matched + 1));
                (at, in_label) = (star_at + 1, matched + 1);
            }
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests;
