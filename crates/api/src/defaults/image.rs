//! The tag in the reference of an image, which decides the default pull policy.

/// The longest reference without tag and digest, in bytes.
const NAME_BYTES_MAX: usize = 255;
/// The longest tag, in bytes.
const TAG_BYTES_MAX: usize = 128;

/// The tag of an image reference: `latest` where neither tag nor digest is given, `None` where there is only a digest
/// or the text is no reference.
pub fn image_tag(reference: &str) -> Option<String> {
    let (rest, digest) = match reference.split_once('@') {
        Some((rest, digest)) => (rest, Some(digest)),
        None => (reference, None),
    };
    let slash = rest.rfind('/').map_or(0, |at| at + 1);
    let (name, tag) = match rest[slash..].find(':') {
        Some(colon) => (&rest[..slash + colon], Some(&rest[slash + colon + 1..])),
        None => (rest, None),
    };
    if !is_name(name) || digest.is_some_and(|digest| !is_digest(digest)) {
        return None;
    }
    match tag {
        Some(tag) => is_tag(tag).then(|| tag.to_owned()),
        None if digest.is_some() => None,
        None => Some("latest".to_owned()),
    }
}

fn is_name(name: &str) -> bool {
    let mut parts = name.split('/').peekable();
    let is_host = |part: &str| part.contains(['.', ':']) || part == "localhost" || part.bytes().any(|b| b.is_ascii_uppercase());
    if name.contains('/') && parts.peek().is_some_and(|part| is_host(part)) {
        let host = parts.next().unwrap_or_default();
        if !host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b':' | b'[' | b']')) {
            return false;
        }
    }
    let is_part = |part: &str| {
        let ends = |b: Option<&u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'_' | b'-');
        ends(part.as_bytes().first()) && ends(part.as_bytes().last()) && part.bytes().all(inner)
    };
    name.len() <= NAME_BYTES_MAX && parts.all(is_part)
}

fn is_tag(tag: &str) -> bool {
    let first = |b: &u8| b.is_ascii_alphanumeric() || *b == b'_';
    tag.len() <= TAG_BYTES_MAX
        && tag.as_bytes().first().is_some_and(first)
        && tag.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
}

fn is_digest(digest: &str) -> bool {
    const HEX_MIN: usize = 32;
    let Some((algorithm, hex)) = digest.split_once(':') else {
        return false;
    };
    algorithm.bytes().next().is_some_and(|b| b.is_ascii_alphabetic()) && hex.len() >= HEX_MIN && hex.bytes().all(|b| b.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    // k8s: 1.a.1
    #[test]
    fn the_tag_is_latest_only_where_nothing_else_pins_the_image() {
        let digest = format!("sha256:{}", "a".repeat(64));
        let cases = [
            ("nginx".to_owned(), Some("latest")),
            ("nginx:1.27".to_owned(), Some("1.27")),
            ("localhost:5000/nginx".to_owned(), Some("latest")),
            ("localhost:5000/a/nginx:x".to_owned(), Some("x")),
            (format!("nginx@{digest}"), None),
            (format!("nginx:latest@{digest}"), Some("latest")),
            ("Nginx".to_owned(), None),
            ("nginx:".to_owned(), None),
            (String::new(), None),
            ("a b".to_owned(), None),
            ("nginx@sha256:short".to_owned(), None),
        ];
        for (reference, tag) in cases {
            assert_eq!(image_tag(&reference).as_deref(), tag, "{reference}");
        }
    }
}
