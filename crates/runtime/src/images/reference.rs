//! Image names: parsing and normalising.
//!
//! A name is read by the grammar of the distribution project, and made full by the rules that Docker and Kubernetes share
//! (`nginx` is `docker.io/library/nginx:latest`). Not here: which pull policy a tag implies, which registry is asked how.
//! Invariant: an [`ImageReference`] has a domain, a path, and a tag or a digest (or both).
//!
//! The error texts are those of the reference implementation, because the kubelet shows them to users.

use std::fmt;
use std::str::FromStr;

use super::digest::{Digest, ParseDigestError};

/// Longest repository path, in bytes.
const PATH_LEN_MAX: usize = 255;
/// Longest tag, in bytes.
const TAG_LEN_MAX: usize = 128;
/// Longest text looked at: a domain name, a path, a tag and a SHA-512 digest fit with room to spare.
const REFERENCE_LEN_MAX: usize = 1024;

const DEFAULT_DOMAIN: &str = "docker.io";
const LEGACY_DEFAULT_DOMAIN: &str = "index.docker.io";
const OFFICIAL_PATH_PREFIX: &str = "library/";
const DEFAULT_TAG: &str = "latest";

/// A full image name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImageReference {
    domain: String,
    path: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

/// A text that is no image name. Displays as the kubelet's `couldn't parse image name "…": …`; the kubelet puts
/// `Failed to apply default image tag "…": ` in front of it for its event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("couldn't parse image name {}: {reason}", quote(name))]
pub struct ParseImageReferenceError {
    /// The text as it was given.
    pub name: String,
    /// What is wrong with it.
    pub reason: InvalidReference,
}

/// What makes a text no image name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidReference {
    /// It does not follow the grammar.
    #[error("invalid reference format")]
    Format,
    /// The repository has upper-case letters.
    #[error("invalid reference format: repository name ({0}) must be lowercase")]
    Uppercase(String),
    /// It looks like an image id, which cannot be a repository.
    #[error("invalid repository name ({0}), cannot specify 64-byte hexadecimal strings")]
    Identifier(String),
    /// The repository is too long.
    #[error("repository name must not be more than {PATH_LEN_MAX} characters")]
    TooLong,
    /// The digest is not one.
    #[error(transparent)]
    Digest(#[from] ParseDigestError),
}

impl ImageReference {
    /// Reads a name as users write it and makes it full. Without tag and digest the tag is `latest`.
    // k8s: 9.a.1
    pub fn parse(name: &str) -> Result<Self, ParseImageReferenceError> {
        parse_normalized(name).map_err(|reason| ParseImageReferenceError { name: name.to_owned(), reason })
    }

    /// The registry, with its port if it has one (`docker.io`, `localhost:5000`).
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// The repository within the registry (`library/nginx`).
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The tag.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest. If there is one, it decides and the tag is only a remark.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// Registry and repository without tag and digest (`docker.io/library/nginx`): what pull secrets are matched with.
    pub fn repository(&self) -> String {
        format!("{}/{}", self.domain, self.path)
    }

    /// The same repository by this digest only.
    pub fn with_digest(&self, digest: Digest) -> Self {
        Self { domain: self.domain.clone(), path: self.path.clone(), tag: None, digest: Some(digest) }
    }

    /// What stands after `/manifests/` in a request to the registry: the digest if there is one, else the tag.
    pub fn identifier(&self) -> String {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => digest.to_string(),
            (None, Some(tag)) => tag.clone(),
            (None, None) => DEFAULT_TAG.to_owned(),
        }
    }

    /// The name under which the store keeps it: with a digest the tag is left out, since the digest decides.
    pub fn store_name(&self) -> String {
        match &self.digest {
            Some(digest) => format!("{}@{digest}", self.repository()),
            None => format!("{}:{}", self.repository(), self.identifier()),
        }
    }
}

impl fmt::Display for ImageReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.domain, self.path)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

impl FromStr for ImageReference {
    type Err = ParseImageReferenceError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::parse(name)
    }
}

fn parse_normalized(name: &str) -> Result<ImageReference, InvalidReference> {
    if name.len() > REFERENCE_LEN_MAX {
        return Err(InvalidReference::TooLong);
    }
    if name.len() == 64 && name.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
        return Err(InvalidReference::Identifier(name.to_owned()));
    }
    let (domain, remainder) = split_domain(name);
    let repository = remainder.split(':').next().unwrap_or_default();
    if repository.to_lowercase() != repository {
        return Err(InvalidReference::Uppercase(repository.to_owned()));
    }
    let (rest, digest) = match remainder.split_once('@') {
        Some((rest, digest)) => (rest, Some(digest)),
        None => (remainder.as_str(), None),
    };
    let (path, tag) = match rest.split_once(':') {
        Some((path, tag)) => (path, Some(tag)),
        None => (rest, None),
    };
    let well_formed = is_domain(&domain) && is_path(path) && tag.is_none_or(is_tag) && digest.is_none_or(has_digest_shape);
    if !well_formed {
        return Err(InvalidReference::Format);
    }
    if path.len() > PATH_LEN_MAX {
        return Err(InvalidReference::TooLong);
    }
    let digest = digest.map(Digest::parse).transpose()?;
    let tag = match (tag, &digest) {
        (Some(tag), _) => Some(tag.to_owned()),
        (None, Some(_)) => None,
        (None, None) => Some(DEFAULT_TAG.to_owned()),
    };
    Ok(ImageReference { domain, path: path.to_owned(), tag, digest })
}

/// Decides whether the first component is a registry: only if it has a dot or a colon, is `localhost`, or has upper-case
/// letters (which a repository cannot have).
fn split_domain(name: &str) -> (String, String) {
    let (domain, remainder) = match name.split_once('/') {
        None => (DEFAULT_DOMAIN, name),
        Some((LEGACY_DEFAULT_DOMAIN, rest)) => (DEFAULT_DOMAIN, rest),
        Some((first, rest)) if first == "localhost" || first.contains(['.', ':']) || first.to_lowercase() != first => (first, rest),
        Some(_) => (DEFAULT_DOMAIN, name),
    };
    if domain == DEFAULT_DOMAIN && !remainder.contains('/') {
        return (domain.to_owned(), format!("{OFFICIAL_PATH_PREFIX}{remainder}"));
    }
    (domain.to_owned(), remainder.to_owned())
}

/// `host[:port]`, where host is a domain name, an IPv4 address or an IPv6 address in brackets.
fn is_domain(domain: &str) -> bool {
    if let Some(rest) = domain.strip_prefix('[') {
        let Some((address, port)) = rest.split_once(']') else { return false };
        let address_ok = !address.is_empty() && address.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b':');
        return address_ok && (port.is_empty() || port.strip_prefix(':').is_some_and(is_port));
    }
    let (host, port) = match domain.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (domain, None),
    };
    port.is_none_or(is_port) && host.split('.').all(is_domain_component)
}

fn is_port(port: &str) -> bool {
    !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_domain_component(component: &str) -> bool {
    !component.is_empty()
        && !component.starts_with('-')
        && !component.ends_with('-')
        && component.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

fn is_path(path: &str) -> bool {
    path.split('/').all(is_path_component)
}

/// Lower-case letters and digits, in groups separated by one dot, one or two underscores, or any number of hyphens.
fn is_path_component(component: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = component.as_bytes();
    if !bytes.first().copied().is_some_and(is_plain) || !bytes.last().copied().is_some_and(is_plain) {
        return false;
    }
    bytes.split(|byte| is_plain(*byte)).all(|separator| match separator {
        [] | b"." | b"_" | b"__" => true,
        hyphens => hyphens.iter().all(|byte| *byte == b'-'),
    })
}

fn is_tag(tag: &str) -> bool {
    tag.len() <= TAG_LEN_MAX
        && tag.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        && tag.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-'))
}

/// `algorithm:hex` with at least 32 hexadecimal digits; whether the algorithm exists is asked later, for a better error.
fn has_digest_shape(digest: &str) -> bool {
    let Some((algorithm, hex)) = digest.split_once(':') else { return false };
    let is_algorithm_part = |part: &str| {
        part.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic()) && part.bytes().all(|byte| byte.is_ascii_alphanumeric())
    };
    algorithm.split(['+', '.', '-', '_']).all(is_algorithm_part) && hex.len() >= 32 && hex.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Quotes as Go's `%q` does, which is how Kubernetes prints names in messages.
pub fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        match character {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            control if control.is_control() && u32::from(control) < 0x80 => quoted.push_str(&format!("\\x{:02x}", u32::from(control))),
            control if control.is_control() => quoted.push_str(&format!("\\u{:04x}", u32::from(control))),
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests;
