use super::*;

fn keyring(entries: &[(&str, &str)]) -> Keyring {
    let auths: serde_json::Map<String, serde_json::Value> = entries
        .iter()
        .map(|(location, name)| ((*location).to_owned(), serde_json::json!({ "auth": STANDARD.encode(format!("{name}:pw:{name}")) })))
        .collect();
    let mut keyring = Keyring::default();
    keyring.add_docker_config_json(serde_json::json!({ "auths": auths }).to_string().as_bytes()).expect("a good secret");
    keyring
}

fn names(keyring: &Keyring, image: &str) -> Vec<String> {
    let found = keyring.lookup(&ImageReference::parse(image).expect("a name"));
    let name = |auth: Auth| match auth {
        Auth::Basic { username, password } => {
            assert_eq!(password, format!("pw:{username}"));
            username
        }
        other @ (Auth::Anonymous | Auth::Bearer(_)) => format!("{other:?}"),
    };
    found.into_iter().map(name).collect()
}

// kubelet: credentialprovider TestURLsMatch, BasicDockerKeyring.Lookup
#[test]
fn credentials_match_as_in_the_kubelet() {
    for (location, image, is_match) in [
        ("registry.local", "registry.local/a/b", true),
        ("registry.local:5000", "registry.local:5000/a", true),
        ("registry.local", "registry.local:5000/a", false),
        ("registry.local:5000", "registry.local/a", false),
        ("https://registry.local", "registry.local/a", true),
        ("http://registry.local/v2/", "registry.local/a", true),
        ("https://registry.local/v1/", "registry.local/a", true),
        ("registry.local/team", "registry.local/team/app", true),
        ("registry.local/team", "registry.local/teams/app", true),
        ("registry.local/team", "registry.local/other/app", false),
        ("*.local", "registry.local/a", true),
        ("*.local", "a.b.local/a", false),
        ("*.*.local", "a.b.local/a", true),
        ("prefix-*.local", "prefix-x.local/a", true),
        ("prefix-*.local", "other.local/a", false),
        ("reg?stry.local", "registry.local/a", false),
        ("*.local:5000/team", "registry.local:5000/team/a", true),
        ("https://index.docker.io/v1/", "nginx", true),
        ("index.docker.io", "bitnami/redis", true),
        ("docker.io", "nginx", true),
        ("docker.io/library", "nginx", true),
        ("docker.io/bitnami", "nginx", false),
        ("index.docker.io", "quay.io/a/b", false),
    ] {
        let found = names(&keyring(&[(location, "user")]), image);
        assert_eq!(!found.is_empty(), is_match, "{location} for {image}");
    }
}

#[test]
fn the_longest_path_comes_first_and_all_matches_are_given() {
    let keyring = keyring(&[("quay.io", "host"), ("quay.io/team", "team"), ("quay.io/team/app", "app"), ("*.io", "wild")]);
    assert_eq!(names(&keyring, "quay.io/team/app"), ["app", "team", "host", "wild"]);
    assert_eq!(names(&keyring, "quay.io/other"), ["host", "wild"]);
}

#[test]
fn all_ways_to_write_an_entry_are_read() {
    let mut keyring = Keyring::default();
    let secret = r#"{"auths": {"a.io": {"username": "u", "password": "p", "email": "e"}, "b.io": {"registrytoken": "t"}, "c.io": {}}, "credsStore": "x"}"#;
    keyring.add_docker_config_json(secret.as_bytes()).expect("a good secret");
    keyring.add_dockercfg(br#"{"d.io": {"auth": "dTpw"}}"#).expect("a good secret");
    let basic = Auth::Basic { username: "u".to_owned(), password: "p".to_owned() };
    for (image, auth) in
        [("a.io/x", basic.clone()), ("b.io/x", Auth::Bearer("t".to_owned())), ("c.io/x", Auth::Anonymous), ("d.io/x", basic)]
    {
        assert_eq!(keyring.lookup(&ImageReference::parse(image).expect("a name")), [auth], "{image}");
    }
}

#[test]
fn bad_secrets_are_refused_and_good_ones_never_printed() {
    let mut keyring = Keyring::default();
    for (secret, text) in [
        ("", "the pull secret is no valid .dockerconfigjson at line 1 column 0"),
        ("[]", "the pull secret is no valid .dockerconfigjson at line 1 column 1"),
        (r#"{"auths": {"a.io": "hunter2"}}"#, "the pull secret is no valid .dockerconfigjson at line 1 column 28"),
        (
            r#"{"auths": {"a.io": {"auth": "???"}}}"#,
            "the field \"auth\" for \"a.io\" in the pull secret is not the base64 of a name, a colon and a password",
        ),
        (
            r#"{"auths": {"a.io": {"auth": "bm9jb2xvbg=="}}}"#,
            "the field \"auth\" for \"a.io\" in the pull secret is not the base64 of a name, a colon and a password",
        ),
    ] {
        let error = keyring.add_docker_config_json(secret.as_bytes()).expect_err("a bad secret");
        assert_eq!(error.to_string(), text, "{secret}");
        assert!(std::error::Error::source(&error).is_none(), "a source could quote the secret");
    }
    keyring.add_docker_config_json(br#"{"auths": {"a.io": {"username": "u", "password": "hunter2"}}}"#).expect("a good secret");
    assert!(!format!("{keyring:?}").contains("hunter2"));
}
