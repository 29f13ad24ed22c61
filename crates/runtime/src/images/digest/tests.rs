use super::*;

#[test]
fn a_digest_that_parses_prints_as_it_was() {
    let text = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    assert_eq!(Digest::parse(text).map(|digest| digest.to_string()), Ok(text.to_owned()));
    assert_eq!(Digest::sha256_of(b"").to_string(), text);
}

#[test]
fn anything_but_a_registered_digest_is_refused() {
    let upper = format!("sha256:{}", "A".repeat(64));
    let slash = format!("sha256:{}", "../".repeat(22));
    for (text, error) in [
        ("", ParseDigestError::Format),
        ("sha256", ParseDigestError::Format),
        ("sha256:12", ParseDigestError::Length),
        ("md5:d41d8cd98f00b204e9800998ecf8427e", ParseDigestError::Algorithm),
        (upper.as_str(), ParseDigestError::Format),
        (slash.as_str(), ParseDigestError::Length),
    ] {
        assert_eq!(Digest::parse(text), Err(error), "{text}");
    }
}

#[test]
fn both_registered_algorithms_are_computed() {
    let mut hasher = Hasher::new(DigestAlgorithm::Sha512);
    hasher.update(b"a");
    hasher.update(b"bc");
    let digest = hasher.finish().to_string();
    assert!(digest.starts_with("sha512:ddaf35a193617abacc417349ae20413112e6fa4e89a97ea2"), "{digest}");
}
