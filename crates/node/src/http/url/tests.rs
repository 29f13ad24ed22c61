use super::*;

fn check(path: &str, target: &str) {
    assert_eq!(Url::of_pod(Scheme::Http, "10.0.0.5", 80, path).request_target(), target, "{path:?}");
}

/// k8s: 3.d.8
#[test]
fn the_path_of_a_hook_goes_on_the_wire_as_go_would_send_it() {
    check("/", "/");
    check("", "/");
    check("ok", "/ok");
    check("/status/200?a=b", "/status/200?a=b");
    check("?a=b", "/?a=b");
    check("/x?", "/x?");
    check("/x#part", "/x");
    check("/a b?c d", "/a%20b?c d");
    check("/ä", "/%C3%A4");
    check("/a%2fb", "/a%2fb");
    check("/a%2fb\"", "/a/b%22");
    check("/!*'()[];:@&=+$,", "/!*'()[];:@&=+$,");
    check("/a/../b", "/a/../b");
    check("//host/x", "/x");
    check("http://other:1/x?y", "/x?y");
    // What is no URL is a path.
    check("/%zz", "/%25zz");
    check("/50%", "/50%25");
    check("/a\nb?c", "/a%0Ab%3Fc");
    check("1:2", "/1:2");
    check(":x", "/:x");
}

/// k8s: 3.d.7, 3.d.9
#[test]
fn hosts_are_written_with_their_port() {
    let check = |scheme, host: &str, port, expected: &str| {
        let url = Url::of_pod(scheme, host, port, "/x#y");
        assert_eq!(url.to_string(), expected);
        assert_eq!((url.hostname(), url.port()), (host, Some(port)));
    };
    check(Scheme::Http, "10.0.0.5", 8080, "http://10.0.0.5:8080/x#y");
    check(Scheme::Https, "fd00::5", 443, "https://[fd00::5]:443/x#y");
    check(Scheme::Http, "example.com", 80, "http://example.com:80/x#y");
}

#[test]
fn redirects_lead_where_go_would_go() {
    let check = |location: &str, expected: &str| {
        let from = Url::of_pod(Scheme::Http, "h", 81, "/a/b?c");
        assert_eq!(from.join(location).map(|url| url.to_string()), Ok(expected.to_owned()), "{location:?}");
    };
    check("/x", "http://h:81/x");
    check("x", "http://h:81/a/x");
    check("./x/", "http://h:81/a/x/");
    check("../x?y#z", "http://h:81/x?y#z");
    check("../../../x/..", "http://h:81/");
    check("", "http://h:81/a/b?c");
    check("?d", "http://h:81/a/b?d");
    check("//k/x", "http://k/x");
    check("https://h/x", "https://h/x");
    check("HTTP://h:82", "http://h:82/");
    check("https://user:secret@h/x", "https://h/x");
    let from = Url::of_pod(Scheme::Http, "h", 81, "/");
    assert_eq!(from.join("https://h").map(|url| url.port()), Ok(Some(443)));
    assert_eq!(
        from.join("/\u{7f}").map_err(|error| error.to_string()),
        Err("parse \"/\\x7f\": net/url: invalid control character in URL".to_owned())
    );
    assert_eq!(from.join(":x").map_err(|error| error.to_string()), Err("parse \":x\": missing protocol scheme".to_owned()));
    assert_eq!(from.join("/%x").map_err(|error| error.to_string()), Err("parse \"/%x\": invalid URL escape \"%x\"".to_owned()));
}
