use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;

use super::*;
use crate::images::manifest::{OCI_CONFIG, OCI_INDEX, OCI_MANIFEST};
use crate::images::platform::Platform;
use crate::images::store::{ImageQuery, ImageStoreConfig};
use crate::images::testing::layers::{LayerBuilder, gzip};
use crate::images::testing::registry::{TestRegistry, USER, image_config};
use crate::images::testing::server::{Reply, Request, TestServer};
use crate::images::testing::{TestStore, config, eventually, open_store, query, reference};

mod failures;

fn layers() -> Vec<Vec<u8>> {
    vec![
        LayerBuilder::new().dir("./").file("etc/passwd", "www:x:33:33::/var/www:\n").build(),
        LayerBuilder::new().dir("./").file("bin/app", vec![7; 300_000]).build(),
    ]
}

fn with_auth(auth: Auth) -> PullOptions {
    PullOptions { auths: vec![auth], ..PullOptions::default() }
}

#[tokio::test]
async fn an_image_is_pulled_by_tag_and_by_digest() {
    let Some(registry) = TestRegistry::start_or_skip("an_image_is_pulled_by_tag_and_by_digest", false) else { return };
    let pushed = registry.push_image("team/app", "1", &layers()).await;
    let test = TestStore::open().await;
    let by_tag = reference(&format!("{}/team/app:1", registry.address));
    let by_digest = by_tag.with_digest(pushed.manifest.clone());

    let image = test.store.pull(&by_digest, &PullOptions::default()).await.expect("an image");
    assert_eq!((image.repo_tags.len(), image.repo_digests.as_slice()), (0, &[by_digest.to_string()][..]));
    let image = test.store.pull(&by_tag, &PullOptions::default()).await.expect("an image");
    assert_eq!((&image.id, &image.manifest, &image.diff_ids), (&pushed.config, &pushed.manifest, &pushed.diff_ids));
    assert_eq!((image.repo_tags.as_slice(), image.repo_digests.as_slice()), (&[by_tag.to_string()][..], &[by_digest.to_string()][..]));
    assert_eq!(image.resolve_user("www").expect("a user").uid, 33);
    for name in [by_tag.to_string(), by_digest.to_string(), pushed.config.to_string()] {
        let found = test.store.image_status(&query(&name)).await.expect("a status");
        assert_eq!(found.as_ref(), Some(&image), "{name}");
    }
    let compressed: usize = layers().iter().map(|layer| gzip(layer).len()).sum();
    let config = image_config(&pushed.diff_ids, &Platform::host()).to_string().len();
    assert_eq!(image.size, (compressed + config + pushed.manifest_size) as u64);
}

#[tokio::test]
async fn an_index_leads_to_the_image_for_this_machine() {
    let Some(registry) = TestRegistry::start_or_skip("an_index_leads_to_the_image_for_this_machine", false) else { return };
    let host = Platform::host();
    let other = Platform { os: "linux".to_owned(), architecture: "mips64le".to_owned(), variant: None };
    let for_other = registry.push_image_for("app", "other", &layers()[..1], &other).await;
    let for_host = registry.push_image("app", "host", &layers()).await;
    let index = registry.push_index("app", "both", &[(&for_other, other.clone()), (&for_host, host)]).await;
    registry.push_index("app", "foreign", &[(&for_other, other)]).await;

    let test = TestStore::open().await;
    let name = reference(&format!("{}/app:both", registry.address));
    let image = test.store.pull(&name, &PullOptions::default()).await.expect("an image");
    assert_eq!((&image.id, &image.manifest), (&for_host.config, &for_host.manifest));
    assert_eq!(image.repo_digests, [name.with_digest(index.clone()).to_string()]);
    test.store.pull(&name.with_digest(index), &PullOptions::default()).await.expect("an image by the digest of its index");

    let wanted = Platform::host();
    for (tag, text) in [
        ("foreign", format!("no match for platform in manifest: {wanted} is needed, and there is linux/mips64le: not found")),
        ("other", format!("no match for platform in manifest: the image is for linux/mips64le, and {wanted} is needed: not found")),
    ] {
        let name = reference(&format!("{}/app:{tag}", registry.address));
        let error = test.store.pull(&name, &PullOptions::default()).await.expect_err("no image for this machine");
        assert!(error.message().ends_with(&text), "{}", error.message());
    }
}

#[tokio::test]
async fn passwords_are_shown_to_registries_that_ask() {
    let Some(registry) = TestRegistry::start_or_skip("passwords_are_shown_to_registries_that_ask", true) else { return };
    registry.push_image("app", "1", &layers()).await;
    let test = TestStore::open().await;
    let name = reference(&format!("{}/app:1", registry.address));
    let good = Auth::Basic { username: USER.0.to_owned(), password: USER.1.to_owned() };
    let bad = Auth::Basic { username: USER.0.to_owned(), password: "wrong".to_owned() };
    for (auths, detail) in
        [(vec![], "authorization failed: no basic auth credentials"), (vec![bad.clone()], "authorization failed: 401 Unauthorized")]
    {
        let options = PullOptions { auths, ..PullOptions::default() };
        let message = test.store.pull(&name, &options).await.expect_err("no access").message();
        let text = format!(
            "failed to pull and unpack image \"{name}\": failed to resolve reference \"{name}\": pull access denied, repository does not exist or may require authorization: {detail}"
        );
        assert!(message.starts_with(&text), "{message}");
        assert!(!message.contains("wrong"), "{message}");
    }
    // As when a password is being rotated.
    let options = PullOptions { auths: vec![bad, Auth::Anonymous, good], ..PullOptions::default() };
    test.store.pull(&name, &options).await.expect("an image");
}

// k8s: 9.b.3
#[tokio::test]
async fn what_is_missing_is_told_in_the_words_of_containerd() {
    let Some(registry) = TestRegistry::start_or_skip("what_is_missing_is_told_in_the_words_of_containerd", false) else { return };
    registry.push_image("app", "1", &layers()).await;
    let test = TestStore::open().await;
    let digest = Digest::sha256_of(b"other");
    for name in
        [format!("{}/app:2", registry.address), format!("{}/nope:1", registry.address), format!("{}/app@{digest}", registry.address)]
    {
        let error = test.store.pull(&reference(&name), &PullOptions::default()).await.expect_err("no image");
        assert!(matches!(error.registry_error(), Some(RegistryError::NotFound { .. })), "{error:?}");
        let text = format!("failed to pull and unpack image \"{name}\": failed to resolve reference \"{name}\": {name}: not found");
        assert_eq!(error.message(), text);
    }
}

#[tokio::test]
async fn progress_tells_of_every_layer_from_its_first_byte_to_its_last() {
    let Some(registry) = TestRegistry::start_or_skip("progress_tells_of_every_layer_from_its_first_byte_to_its_last", false) else {
        return;
    };
    let pushed = registry.push_image("app", "1", &layers()).await;
    let test = TestStore::open().await;
    let name = reference(&format!("{}/app:1", registry.address));
    let told = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&told);
    let progress = ProgressListener::new(move |progress| sink.lock().expect("no panic").push(progress));
    let options = PullOptions { progress, ..PullOptions::default() };
    test.store.pull(&name, &options).await.expect("an image");
    let layers: Vec<_> = told.lock().expect("no panic").iter().take(pushed.layers.len()).map(|progress| progress.layer.clone()).collect();
    assert_eq!(layers, pushed.layers, "the whole is known from the beginning");
    for layer in &pushed.layers {
        let told: Vec<PullProgress> = told.lock().expect("no panic").iter().filter(|progress| progress.layer == *layer).cloned().collect();
        let phases: Vec<PullPhase> = told.iter().map(|progress| progress.phase).collect();
        assert_eq!(phases, [PullPhase::Waiting, PullPhase::Downloading, PullPhase::Unpacking, PullPhase::Done]);
        let total = told[0].total;
        assert_eq!(told.iter().map(|progress| progress.bytes).collect::<Vec<_>>(), [0, 0, total, total]);
    }
}

/// A registry of one image, whose answers a test may change.
pub(super) struct Fixture {
    pub(super) server: TestServer,
    pub(super) image: Arc<ServedImage>,
}

/// What a [`Fixture`] serves.
pub(super) struct ServedImage {
    pub(super) manifest: Vec<u8>,
    pub(super) config: Vec<u8>,
    pub(super) layers: Vec<Vec<u8>>,
}

impl ServedImage {
    fn new(streams: &[Vec<u8>]) -> Self {
        let layers: Vec<Vec<u8>> = streams.iter().map(|stream| gzip(stream)).collect();
        let diff_ids: Vec<Digest> = streams.iter().map(|stream| Digest::sha256_of(stream)).collect();
        let config = image_config(&diff_ids, &Platform::host()).to_string().into_bytes();
        let descriptor = |media_type: &str, bytes: &[u8]| json!({ "mediaType": media_type, "digest": Digest::sha256_of(bytes).to_string(), "size": bytes.len() });
        let manifest = json!({
            "schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": descriptor(OCI_CONFIG, &config),
            "layers": layers.iter().map(|layer| descriptor("application/vnd.oci.image.layer.v1.tar+gzip", layer)).collect::<Vec<_>>(),
        });
        Self { manifest: manifest.to_string().into_bytes(), config, layers }
    }

    /// The answer of an honest registry.
    pub(super) fn answer(&self, request: &Request) -> Reply {
        let path = request.path.as_str();
        if path.contains("/manifests/") {
            return Reply::ok(self.manifest.clone());
        }
        let blobs = self.layers.iter().chain([&self.config]);
        let digest = path.rsplit('/').next().unwrap_or_default();
        blobs
            .into_iter()
            .find(|blob| Digest::sha256_of(blob).to_string() == digest)
            .map_or_else(Reply::not_found, |blob| Reply::ok(blob.clone()))
    }
}

impl Fixture {
    /// Serves an image; `answer` may answer first.
    pub(super) async fn start(
        streams: &[Vec<u8>],
        answer: impl Fn(&ServedImage, &Request) -> Option<Reply> + Send + Sync + 'static,
    ) -> Self {
        let image = Arc::new(ServedImage::new(streams));
        let served = Arc::clone(&image);
        let server = TestServer::start(move |request| answer(&served, request).unwrap_or_else(|| served.answer(request))).await;
        Self { server, image }
    }

    pub(super) fn name(&self) -> ImageReference {
        reference(&format!("{}/app:1", self.server.address))
    }
}

#[tokio::test]
async fn an_image_that_is_up_to_date_costs_one_request() {
    let fixture = Fixture::start(&layers(), |_, _| None).await;
    let test = TestStore::open().await;
    let first = test.store.pull(&fixture.name(), &PullOptions::default()).await.expect("an image");
    fixture.server.requests.lock().expect("no panic").clear();
    let second = test.store.pull(&fixture.name(), &PullOptions::default()).await.expect("an image");
    assert_eq!((first, fixture.server.paths()), (second, vec!["/v2/app/manifests/1".to_owned()]));
}

#[tokio::test]
async fn tasks_that_pull_the_same_image_at_once_download_each_layer_once() {
    let fixture = Fixture::start(&layers(), |_, _| None).await;
    let test = TestStore::open().await;
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let (store, name) = (open_store(test.directory.path()).await, fixture.name());
        tasks.spawn(async move { store.pull(&name, &PullOptions::default()).await.expect("an image").id });
    }
    let ids = tasks.join_all().await;
    assert_eq!((ids.len(), ids.iter().collect::<BTreeSet<_>>().len()), (8, 1));
    for layer in &fixture.image.layers {
        let digest = Digest::sha256_of(layer).to_string();
        assert_eq!(fixture.server.paths().iter().filter(|path| path.ends_with(&digest)).count(), 1);
    }
}

#[tokio::test]
async fn a_token_is_fetched_once_where_the_registry_says_and_shown_to_it_only() {
    let token_server = TestServer::start(|request| match request.header("authorization") {
        Some(basic) if basic == "Basic dTpw" => Reply::ok(r#"{"access_token": "T", "expires_in": 60}"#),
        Some(_) => Reply::Full("401 Unauthorized", vec![], vec![]),
        None => Reply::Full("403 Forbidden", vec![], br#"{"errors": [{"code": "DENIED", "message": "no anonymous pulls"}]}"#.to_vec()),
    })
    .await;
    let elsewhere = Fixture::start(&layers(), |_, _| None).await;
    let (realm, blobs) = (token_server.address, elsewhere.server.address);
    let fixture = Fixture::start(&layers(), move |_, request| match request.header("authorization").as_deref() {
        Some("Bearer T") if request.path.contains("/blobs/") => {
            Some(Reply::Full("307 Temporary Redirect", vec![("location", format!("http://{blobs}{}", request.path))], vec![]))
        }
        Some("Bearer T") => None,
        _ => {
            let challenge = format!("Bearer realm=\"http://{realm}/token\",service=\"reg\",scope=\"repository:app:pull\"");
            Some(Reply::Full("401 Unauthorized", vec![("www-authenticate", challenge)], vec![]))
        }
    })
    .await;
    let test = TestStore::open().await;
    let denied = test.store.pull(&fixture.name(), &PullOptions::default()).await.expect_err("no access").message();
    assert!(denied.contains("failed to authorize: failed to fetch anonymous token: unexpected status from GET request to"), "{denied}");
    assert!(denied.ends_with("403 Forbidden: server message: denied: no anonymous pulls"), "{denied}");

    token_server.requests.lock().expect("no panic").clear();
    let auth = Auth::Basic { username: "u".to_owned(), password: "p".to_owned() };
    test.store.pull(&fixture.name(), &with_auth(auth)).await.expect("an image");
    assert_eq!(token_server.paths(), ["/token?service=reg&scope=repository%3Aapp%3Apull"]);
    let leaked =
        elsewhere.server.requests.lock().expect("no panic").iter().filter(|request| request.header("authorization").is_some()).count();
    assert_eq!((elsewhere.server.paths().len(), leaked), (3, 0));
    let fixed = Fixture::start(&layers(), |_, request| (request.header("authorization")? != "Bearer fixed").then(Reply::not_found)).await;
    test.store.pull(&fixed.name(), &with_auth(Auth::Bearer("fixed".to_owned()))).await.expect("an image");
    assert_eq!(fixed.server.requests.lock().expect("no panic")[0].header("authorization").as_deref(), Some("Bearer fixed"));
}

#[tokio::test]
async fn a_download_that_breaks_off_goes_on_where_it_was() {
    let layer = LayerBuilder::new().dir("./").file("noise", noise(900_000)).build();
    for with_ranges in [true, false] {
        let fixture = Fixture::start(std::slice::from_ref(&layer), move |image, request| {
            let blob = image.layers.iter().find(|blob| request.path.ends_with(&Digest::sha256_of(blob).to_string()))?;
            let range = request.header("range").map(|range| range["bytes=".len()..range.len() - 1].parse::<usize>().expect("a range"));
            Some(match range {
                None => Reply::Cut(blob.len(), blob[..300_000].to_vec()),
                Some(from) if with_ranges => Reply::Full("206 Partial Content", vec![], blob[from..].to_vec()),
                Some(from) => Reply::Cut(blob.len(), blob[..(from + 200_000).min(blob.len())].to_vec()),
            })
        })
        .await;
        let test = TestStore::open().await;
        test.store.pull(&fixture.name(), &PullOptions::default()).await.expect("an image");
        let requests = fixture.server.paths().iter().filter(|path| path.contains("/blobs/")).count();
        assert_eq!(requests, if with_ranges { 3 } else { 6 }, "with ranges: {with_ranges}");
    }
}

fn noise(len: usize) -> Vec<u8> {
    let mut state: u64 = 7;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 56) as u8
    };
    (0..len).map(|_| next()).collect()
}

#[tokio::test]
async fn a_pull_that_nobody_waits_for_leaves_nothing() {
    let layer = LayerBuilder::new().dir("./").file("noise", noise(900_000)).build();
    // The layer never ends, so the pull is always in the middle of it.
    let fixture = Fixture::start(std::slice::from_ref(&layer), |image, request| {
        let blob = image.layers.iter().find(|blob| request.path.ends_with(&Digest::sha256_of(blob).to_string()))?;
        Some(Reply::Cut(blob.len(), blob[..300_000].to_vec())).filter(|_| request.header("range").is_none()).or(Some(Reply::Silence))
    })
    .await;
    let test = TestStore::open().await;
    let (store, name) = (test.store.clone(), fixture.name());
    let pull = tokio::spawn(async move { store.pull(&name, &PullOptions::default()).await });
    let tmp = test.directory.path().join("tmp");
    let is_unpacking = || test.names_in("tmp").iter().any(|name| tmp.join(name).join("layer/fs/noise").exists());
    eventually("the unpacking", is_unpacking).await;
    pull.abort();
    eventually("the cleaning", || test.names_in("tmp").is_empty() && test.names_in("locks").is_empty()).await;
    assert_eq!((test.names_in("leases"), test.names_in("layers")), (vec![], vec![]));
    assert_eq!(test.store.list().await.expect("a list"), vec![]);
}

#[tokio::test]
async fn a_layer_that_another_process_unpacks_for_too_long_is_told_as_busy() {
    let fixture = Fixture::start(&layers(), |_, _| None).await;
    let directory = tempfile::tempdir().expect("a temporary directory");
    let settings = ImageStoreConfig { layer_wait: Duration::from_millis(20), ..config(directory.path()) };
    let store = ImageStore::open(settings).await.expect("a store");
    let diff_id = Digest::sha256_of(&layers()[0]);
    let lock = StoreFileLock::try_acquire_removable(&store.layer_lock(&diff_id)).expect("a lock");
    let error = store.pull(&fixture.name(), &PullOptions::default()).await.expect_err("a locked layer");
    assert!(error.message().contains("the image store is busy"), "{}", error.message());
    drop(lock);
    store.pull(&fixture.name(), &PullOptions::default()).await.expect("an image");
    assert!(store.image_status(&ImageQuery::from(fixture.name())).await.expect("a status").is_some());
}
