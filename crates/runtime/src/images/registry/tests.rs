use super::auth::{Challenge, parse_challenges};
use super::*;

#[test]
fn registries_on_loopback_are_plain_and_all_others_are_not() {
    let mut config = RegistryConfig::default();
    config.transports.insert("registry.local:5000".to_owned(), RegistryTransport::Http);
    config.transports.insert("localhost:8443".to_owned(), RegistryTransport::HttpsUnverified);
    for (domain, transport) in [
        ("docker.io", RegistryTransport::Https),
        ("localhost", RegistryTransport::Http),
        ("localhost:5000", RegistryTransport::Http),
        ("127.0.0.1:5000", RegistryTransport::Http),
        ("127.9.9.9", RegistryTransport::Http),
        ("[::1]:5000", RegistryTransport::Http),
        ("localhost.example.org", RegistryTransport::Https),
        ("10.0.0.1:5000", RegistryTransport::Https),
        ("registry.local:5000", RegistryTransport::Http),
        ("registry.local", RegistryTransport::Https),
        ("localhost:8443", RegistryTransport::HttpsUnverified),
    ] {
        assert_eq!(config.transport(domain), transport, "{domain}");
    }
}

#[test]
fn challenges_are_read_in_all_their_forms() {
    let bearer = Challenge {
        scheme: "bearer".to_owned(),
        realm: Some("https://auth.io/token?a=b,c".to_owned()),
        service: Some("reg \"x\"".to_owned()),
        scope: None,
        error: None,
    };
    let basic = Challenge { scheme: "basic".to_owned(), realm: Some("r".to_owned()), ..Challenge::default() };
    let negotiate = Challenge { scheme: "negotiate".to_owned(), ..Challenge::default() };
    for (header, challenges) in [
        (r#"Bearer realm="https://auth.io/token?a=b,c",service="reg \"x\"""#, vec![bearer.clone()]),
        (r#"bearer realm = "https://auth.io/token?a=b,c" , service="reg \"x\"", Basic realm=r"#, vec![bearer, basic.clone()]),
        (r#"Negotiate, Basic realm="r""#, vec![negotiate, basic]),
        ("", vec![]),
        ("=,=\"", vec![]),
    ] {
        assert_eq!(parse_challenges(header), challenges, "{header}");
    }
}

proptest::proptest! {
    #[test]
    fn any_challenge_is_read_to_its_end(header in "[a-z=\", \\\\]{0,40}") {
        parse_challenges(&header);
    }
}
