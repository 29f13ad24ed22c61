use super::*;

const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

// k8s: 9.a.1
#[test]
fn names_are_made_full_as_docker_and_kubernetes_do() {
    for (name, full) in [
        ("nginx", "docker.io/library/nginx:latest"),
        ("nginx:1.25", "docker.io/library/nginx:1.25"),
        ("docker.io/nginx", "docker.io/library/nginx:latest"),
        ("index.docker.io/nginx", "docker.io/library/nginx:latest"),
        ("bitnami/redis", "docker.io/bitnami/redis:latest"),
        ("localhost/app", "localhost/app:latest"),
        ("localhost:5000/app:v1", "localhost:5000/app:v1"),
        ("127.0.0.1:5000/a/b", "127.0.0.1:5000/a/b:latest"),
        ("[::1]:5000/app", "[::1]:5000/app:latest"),
        ("registry.k8s.io/pause:3.9", "registry.k8s.io/pause:3.9"),
        ("Registry/app", "Registry/app:latest"),
        ("ghcr.io/a-b__c.d---e/f_g", "ghcr.io/a-b__c.d---e/f_g:latest"),
        ("host:80", "docker.io/library/host:80"),
    ] {
        assert_eq!(ImageReference::parse(name).map(|reference| reference.to_string()), Ok(full.to_owned()), "{name}");
    }
}

#[test]
fn a_digest_takes_the_place_of_the_default_tag_and_decides() {
    let reference = ImageReference::parse(&format!("nginx@{DIGEST}")).expect("a digest reference");
    assert_eq!((reference.tag(), reference.identifier().as_str()), (None, DIGEST));
    assert_eq!(reference.to_string(), format!("docker.io/library/nginx@{DIGEST}"));

    let both = ImageReference::parse(&format!("quay.io/a/b:v1@{DIGEST}")).expect("tag and digest");
    assert_eq!((both.tag(), both.identifier().as_str()), (Some("v1"), DIGEST));
    assert_eq!(both.store_name(), format!("quay.io/a/b@{DIGEST}"));
}

// k8s: 9.a.2
#[test]
fn names_that_are_none_get_the_texts_of_the_kubelet() {
    let long = "a".repeat(256);
    let identifier = "a".repeat(64);
    let upper_hex = format!("nginx@sha256:{}", "A".repeat(64));
    for (name, text) in [
        ("", "couldn't parse image name \"\": invalid reference format".to_owned()),
        ("nginx:", "couldn't parse image name \"nginx:\": invalid reference format".to_owned()),
        (":tag", "couldn't parse image name \":tag\": invalid reference format".to_owned()),
        ("nginx::1", "couldn't parse image name \"nginx::1\": invalid reference format".to_owned()),
        ("ngi nx", "couldn't parse image name \"ngi nx\": invalid reference format".to_owned()),
        ("a//b", "couldn't parse image name \"a//b\": invalid reference format".to_owned()),
        ("-a", "couldn't parse image name \"-a\": invalid reference format".to_owned()),
        ("a___b", "couldn't parse image name \"a___b\": invalid reference format".to_owned()),
        ("../a", "couldn't parse image name \"../a\": invalid reference format".to_owned()),
        ("a:/b", "couldn't parse image name \"a:/b\": invalid reference format".to_owned()),
        ("a\"\n", "couldn't parse image name \"a\\\"\\n\": invalid reference format".to_owned()),
        ("nginx@sha256:12", "couldn't parse image name \"nginx@sha256:12\": invalid reference format".to_owned()),
        (
            "quay.io/A/b",
            "couldn't parse image name \"quay.io/A/b\": invalid reference format: repository name (A/b) must be lowercase".to_owned(),
        ),
        (
            "Nginx",
            "couldn't parse image name \"Nginx\": invalid reference format: repository name (library/Nginx) must be lowercase".to_owned(),
        ),
        (&long, format!("couldn't parse image name \"{long}\": repository name must not be more than 255 characters")),
        (
            &identifier,
            format!(
                "couldn't parse image name \"{identifier}\": invalid repository name ({identifier}), cannot specify 64-byte hexadecimal strings"
            ),
        ),
        (&upper_hex, format!("couldn't parse image name \"{upper_hex}\": invalid checksum digest format")),
        (
            "a@md5:d41d8cd98f00b204e9800998ecf8427e",
            "couldn't parse image name \"a@md5:d41d8cd98f00b204e9800998ecf8427e\": unsupported digest algorithm".to_owned(),
        ),
    ] {
        assert_eq!(ImageReference::parse(name).map_err(|error| error.to_string()), Err(text), "{name}");
    }
}

proptest::proptest! {
    #[test]
    fn a_parsed_name_parses_to_itself(name in "([a-zA-Z0-9.:-]{1,12}/)?[a-z0-9._/-]{1,20}(:[a-zA-Z0-9._-]{1,10})?") {
        if let Ok(reference) = ImageReference::parse(&name) {
            proptest::prop_assert_eq!(ImageReference::parse(&reference.to_string()), Ok(reference));
        }
    }
}
