//! What a registry answers: its documents alone, and whole pulls with every answer made up.

use std::collections::BTreeSet;
use std::fs;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::fuzzing::{CELL, Cell, set_loopback_up};
use crate::images::config::check_config;
use crate::images::manifest::Document;
use crate::images::registry::{Auth, parse_challenges};
use crate::images::{Digest, ImageReference, ImageStore, ImageStoreConfig, Platform, PullOptions};

/// Between the answers of one input.
const SEPARATOR: &[u8] = b"\n====\n";
/// Answers of one input at most.
const ANSWERS_MAX: usize = 12;
/// A request is read up to here.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// What the registry and its token service are shown, and nobody else.
const USER: &str = "fuzz-user";
const PASSWORD: &str = "fuzz-password";
/// `USER:PASSWORD` in base64.
const CREDENTIALS: &str = "ZnV6ei11c2VyOmZ1enotcGFzc3dvcmQ=";

/// Any bytes as a challenge, a manifest, an index, and the configuration of an image.
///
/// Everything ends, and what was read as a manifest is the same when it is written and read again.
pub fn documents(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let challenges = parse_challenges(&text);
    assert!(challenges.len() <= data.len() + 1);
    let layers_max = 4;
    for told in [None, Some("application/vnd.oci.image.index.v1+json"), Some("text/html")] {
        match Document::parse(data, told) {
            Ok(Document::Image(manifest)) => {
                let _ = manifest.check(layers_max);
                let _ = manifest.content_size();
                let written = serde_json::to_vec(&manifest).expect("JSON");
                assert_eq!(Document::parse(&written, told).expect("what was read before"), Document::Image(manifest));
            }
            Ok(Document::Index(index)) => {
                let chosen = Platform::host().choose(&index);
                assert!(chosen.is_none_or(|chosen| index.manifests.contains(chosen)));
                let written = serde_json::to_vec(&index).expect("JSON");
                assert_eq!(Document::parse(&written, told).expect("what was read before"), Document::Index(index));
            }
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
    for layers in 0..3 {
        if let Ok(config) = check_config(data, layers, &Platform::host()) {
            assert_eq!(config.layers.len(), layers);
        }
    }
    let _ = ImageReference::parse(&text).map(|reference| {
        let again = ImageReference::parse(&reference.to_string()).expect("a reference, written in full, is one");
        assert_eq!(again.to_string(), reference.to_string());
    });
}

/// The answers to the requests of one pull, in order, between separators. One that does not begin with `HTTP/` is the body of a
/// success. In an answer, `{digest N}`, `{size N}` and `{diff N}` are digest, length and unpacked digest of the body of answer N,
/// which must be a later one, and `{port}` is the registry's.
///
/// A pull that fails leaves nothing that can be seen, and credentials go to the registry and its token service only.
pub fn replies(data: &[u8]) {
    static PULLER: OnceLock<Option<Mutex<Cell>>> = OnceLock::new();
    let cell = PULLER.get_or_init(|| Cell::start(set_up).map(Mutex::new));
    if let Some(cell) = cell {
        cell.lock().unwrap_or_else(PoisonError::into_inner).work(data);
    }
}

fn set_up() -> impl FnMut(&[u8]) {
    let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    tokio.block_on(set_loopback_up());
    move |data| tokio.block_on(pull(data))
}

async fn pull(data: &[u8]) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = listener.local_addr().expect("bound").port();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let answers = answers(data, port);
    let token_services = token_services(&answers);
    let server = tokio::spawn(serve(listener, answers, Arc::clone(&asked)));

    let root = format!("{CELL}/store");
    let mut config = ImageStoreConfig::new(&root);
    (config.registries.retries, config.registries.retry_pause) = (1, Duration::from_millis(1));
    config.registries.read_timeout = Duration::from_secs(2);
    config.registries.connect_timeout = Duration::from_millis(200);
    config.limits.layer.bytes_max = 256 * 1024;
    config.limits.layer.entries_max = 300;
    config.limits.manifest_bytes_max = 64 * 1024;
    config.limits.config_bytes_max = 64 * 1024;
    config.limits.layers_max = 4;
    let store = ImageStore::open(config).await.expect("a new store");
    let reference = ImageReference::parse(&format!("127.0.0.1:{port}/fuzz/image:tag")).expect("a good name");
    let auths = vec![Auth::Basic { username: USER.to_owned(), password: PASSWORD.to_owned() }];
    let pulled = store.pull(&reference, &PullOptions { auths, ..PullOptions::default() }).await;
    server.abort();
    let _ = server.await;

    let images = store.list().await.expect("the store is whole");
    match pulled {
        Ok(image) => {
            assert_eq!(images.iter().map(|listed| &listed.id).collect::<Vec<_>>(), [&image.id]);
            assert!(image.lower_dirs().iter().all(|directory| directory.is_dir()), "{image:?}");
        }
        Err(error) => {
            assert!(images.is_empty(), "{error}, but there is {images:?}");
            assert!(!error.message().is_empty());
        }
    }
    assert_eq!(fs::read_dir(format!("{root}/tmp")).expect("a store").count(), 0, "something was left half made");
    drop(store);
    remove_store(&root);
    check_credentials(&asked.lock().unwrap_or_else(PoisonError::into_inner), port, &token_services);
}

/// A layer that was given up may be put away by its thread while the store is removed; it is gone soon after.
fn remove_store(root: &str) {
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    while let Err(error) = fs::remove_dir_all(root) {
        assert!(std::time::Instant::now() < deadline, "the store cannot be removed: {error}");
        std::thread::yield_now();
    }
}

/// The hosts of the token services that answers name, as requests name them.
fn token_services(answers: &[Vec<u8>]) -> BTreeSet<String> {
    let heads = answers.iter().map(|answer| String::from_utf8_lossy(&answer[..answer.len() - body_of(answer).len()]).into_owned());
    let values = heads.flat_map(|head| {
        let fields = head.lines().filter_map(|line| line.split_once(':'));
        let challenges = fields.filter(|(name, _)| name.eq_ignore_ascii_case("www-authenticate"));
        challenges.map(|(_, value)| value.trim().to_owned()).collect::<Vec<_>>()
    });
    let realms = values.flat_map(|value| parse_challenges(&value)).filter_map(|challenge| challenge.realm);
    let urls = realms.filter_map(|realm| reqwest::Url::parse(&realm).ok());
    urls.filter_map(|url| Some(url.host_str()?.to_owned() + &url.port().map_or_else(String::new, |port| format!(":{port}")))).collect()
}

/// Nobody sees the credentials but the registry and the token services that it named.
fn check_credentials(asked: &[String], port: u16, token_services: &BTreeSet<String>) {
    let registry = format!("127.0.0.1:{port}");
    for head in asked {
        let has_credentials = head.contains(CREDENTIALS) || head.contains(PASSWORD);
        let host = head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("host:").map(|host| host.trim().to_owned()));
        let may_see = host.is_some_and(|host| host == registry || token_services.contains(&host));
        assert!(!has_credentials || may_see, "credentials went elsewhere: {head}");
    }
}

async fn serve(listener: TcpListener, answers: Vec<Vec<u8>>, asked: Arc<Mutex<Vec<String>>>) {
    let mut answers = answers.into_iter();
    while let Ok((mut stream, _)) = listener.accept().await {
        let Some(head) = read_head(&mut stream).await else { continue };
        asked.lock().unwrap_or_else(PoisonError::into_inner).push(head);
        // Without an answer left, the connection is closed.
        if let Some(answer) = answers.next() {
            let _ = stream.write_all(&answer).await;
            let _ = stream.shutdown().await;
        }
    }
}

async fn read_head(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    let mut buffer = [0; 4096];
    while !head.windows(4).any(|window| window == b"\r\n\r\n") && head.len() < HEAD_BYTES_MAX {
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => return None,
            Ok(length) => head.extend_from_slice(&buffer[..length]),
        }
        // A client that speaks TLS is answered at once.
        if !head[0].is_ascii_alphabetic() {
            break;
        }
    }
    Some(String::from_utf8_lossy(&head).into_owned())
}

/// The answers as they go over the wire.
fn answers(data: &[u8], port: u16) -> Vec<Vec<u8>> {
    let mut texts: Vec<Vec<u8>> = split(data).into_iter().take(ANSWERS_MAX).map(<[u8]>::to_vec).collect();
    // From the last to the first, since each may speak of later ones.
    for at in (0..texts.len()).rev() {
        let mut text = replace(&texts[at], b"{port}", port.to_string().as_bytes());
        for (other, answer) in texts.iter().enumerate().skip(at + 1) {
            let body = body_of(answer);
            let diff = || unpacked(body).map_or_else(String::new, |bytes| Digest::sha256_of(&bytes).to_string());
            for (name, value) in [
                ("digest", &(|| Digest::sha256_of(body).to_string()) as &dyn Fn() -> String),
                ("size", &|| body.len().to_string()),
                ("diff", &diff),
            ] {
                let pattern = format!("{{{name} {other}}}");
                if find(&text, pattern.as_bytes()).is_some() {
                    text = replace(&text, pattern.as_bytes(), value().as_bytes());
                }
            }
        }
        texts[at] = text;
    }
    texts.into_iter().map(|text| if text.starts_with(b"HTTP/") { text } else { success(&text) }).collect()
}

fn success(body: &[u8]) -> Vec<u8> {
    [format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()).as_bytes(), body].concat()
}

fn body_of(answer: &[u8]) -> &[u8] {
    let head = if answer.starts_with(b"HTTP/") { find(answer, b"\r\n\r\n").map_or(answer.len(), |at| at + 4) } else { 0 };
    &answer[head..]
}

fn unpacked(body: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let limit = 1 << 20;
    let stream = crate::images::unpack::decompress(body).ok()?;
    std::io::Read::read_to_end(&mut std::io::Read::take(stream, limit), &mut bytes).ok()?;
    Some(bytes)
}

fn split(data: &[u8]) -> Vec<&[u8]> {
    let mut parts = Vec::new();
    let mut rest = data;
    while let Some(at) = find(rest, SEPARATOR) {
        parts.push(&rest[..at]);
        rest = &rest[at + SEPARATOR.len()..];
    }
    parts.push(rest);
    parts
}

fn find(bytes: &[u8], pattern: &[u8]) -> Option<usize> {
    bytes.windows(pattern.len()).position(|window| window == pattern)
}

/// Replaces the first few.
fn replace(text: &[u8], pattern: &[u8], value: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text;
    for _ in 0..8 {
        let Some(at) = find(rest, pattern) else { break };
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(value);
        rest = &rest[at + pattern.len()..];
    }
    out.extend_from_slice(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::{SEPARATOR, answers, documents, replies};
    use crate::fuzzing::replay::replay;
    use crate::images::Platform;
    use crate::images::testing::is_root_or_skip;
    use crate::images::testing::layers::LayerBuilder;

    fn manifest(layers: &[usize]) -> String {
        let config = r#"{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{digest 1}","size":{size 1}}"#;
        let layer = |at: &usize| {
            format!(r#"{{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"{{digest {at}}}","size":{{size {at}}}}}"#)
        };
        let layers: Vec<String> = layers.iter().map(layer).collect();
        format!(
            r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{config},"layers":[{}]}}"#,
            layers.join(",")
        )
    }

    fn config(layers: &[usize]) -> String {
        let Platform { os, architecture, .. } = Platform::host();
        let diffs: Vec<String> = layers.iter().map(|at| format!(r#""{{diff {at}}}""#)).collect();
        format!(
            r#"{{"architecture":"{architecture}","os":"{os}","config":{{"Cmd":["sh"]}},"rootfs":{{"type":"layers","diff_ids":[{}]}}}}"#,
            diffs.join(",")
        )
    }

    /// The index says where the image is; what answers it is one later than in `manifest`.
    fn shifted(text: &str) -> String {
        text.replace(" 2}", " 3}").replace(" 1}", " 2}")
    }

    fn seeds() -> Vec<(String, Vec<u8>)> {
        let layer = LayerBuilder::new().dir("bin/").file("bin/sh", "#!");
        let (plain, packed) = (layer.clone().build(), layer.build_gzip());
        let bearer = "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Bearer realm=\"http://127.0.0.1:{port}/token\",service=\"s\"\r\n\r\n";
        let elsewhere = "HTTP/1.1 307 Temporary Redirect\r\nLocation: http://localhost:{port}/blob\r\n\r\n";
        let index = format!(
            r#"{{"schemaVersion":2,"manifests":[{{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"{{digest 1}}","size":{{size 1}},"platform":{{"os":"linux","architecture":"{}"}}}}]}}"#,
            Platform::host().architecture
        );
        let parts = |parts: &[&[u8]]| parts.join(SEPARATOR);
        let (manifest, config) = (manifest(&[2]), config(&[2]));
        vec![
            ("image".to_owned(), parts(&[manifest.as_bytes(), config.as_bytes(), &packed])),
            ("image-plain".to_owned(), parts(&[manifest.as_bytes(), config.as_bytes(), &plain])),
            ("index".to_owned(), parts(&[index.as_bytes(), shifted(&manifest).as_bytes(), shifted(&config).as_bytes(), &packed])),
            ("token".to_owned(), parts(&[bearer.as_bytes(), br#"{"token":"t"}"#, b"{}"])),
            ("basic".to_owned(), parts(&[b"HTTP/1.1 401 no\r\nwww-authenticate: Basic realm=x\r\n\r\n", b"{}"])),
            ("redirect".to_owned(), parts(&[elsewhere.as_bytes(), b"{}"])),
            (
                "redirect-after-basic".to_owned(),
                parts(&[b"HTTP/1.1 401 no\r\nwww-authenticate: Basic\r\n\r\n", elsewhere.as_bytes(), b"{}"]),
            ),
            (
                "token-elsewhere".to_owned(),
                parts(&[bearer.replace("127.0.0.1", "localhost").as_bytes(), elsewhere.as_bytes(), br#"{"token":"t"}"#]),
            ),
            ("broken-layer".to_owned(), parts(&[manifest.as_bytes(), config.as_bytes(), &packed[..packed.len() / 2]])),
            ("error".to_owned(), b"HTTP/1.1 500 no\r\n\r\n{\"errors\":[{\"code\":\"DENIED\",\"message\":\"m\"}]}".to_vec()),
            ("chunked".to_owned(), b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n".to_vec()),
        ]
    }

    #[test]
    fn documents_of_the_corpus_are_read_to_an_end() {
        let (manifest, config) = (manifest(&[2]), config(&[2]));
        let filled = |text: &str| {
            let texts = [manifest.as_bytes(), config.as_bytes(), b"layer"].join(SEPARATOR);
            let at = if text == manifest { 0 } else { 1 };
            let answer = &answers(&texts, 1)[at];
            super::body_of(answer).to_vec()
        };
        let index = br#"{"schemaVersion":2,"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","size":0,"platform":{"os":"linux","architecture":"arm64","variant":"v8"},"annotations":null}]}"#;
        let seeds = [
            ("manifest".to_owned(), filled(&manifest)),
            ("config".to_owned(), filled(&config)),
            ("index".to_owned(), index.to_vec()),
            ("challenge".to_owned(), br#"Bearer realm="https://a/t?x=b,c",service="r \"x\"", Basic realm=y"#.to_vec()),
            (
                "reference".to_owned(),
                b"registry.local:5000/a/b:tag@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855".to_vec(),
            ),
        ];
        replay("registry_documents", seeds, documents);
    }

    #[test]
    fn answers_of_the_corpus_end_pulls_that_leave_nothing_half_made_and_tell_nobody_the_password() {
        if !is_root_or_skip("answers_of_the_corpus_end_pulls_that_leave_nothing_half_made_and_tell_nobody_the_password") {
            return;
        }
        replay("registry_replies", seeds(), replies);
    }
}
