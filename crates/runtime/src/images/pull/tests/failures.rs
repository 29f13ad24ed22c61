//! Registries that fail, lie, or want too much.

use super::*;
use crate::images::digest::Digest;

/// Pulls from a registry that lies, and gives the message. Nothing may be left of it.
async fn refused(fixture: &Fixture) -> (PullImageError, String) {
    let test = TestStore::open().await;
    let error = test.store.pull(&fixture.name(), &PullOptions::default()).await.expect_err("a refusal");
    assert_eq!((test.names_in("tmp"), test.names_in("leases"), test.names_in("locks")), (vec![], vec![], vec![]));
    assert_eq!(test.store.list().await.expect("a list"), vec![]);
    let message = error.message();
    (error, message)
}

fn is_layer(image: &ServedImage, request: &Request) -> bool {
    request.path.ends_with(&Digest::sha256_of(&image.layers[0]).to_string())
}

// k8s: 9.b.3
#[tokio::test]
async fn a_registry_that_is_not_there_is_told_with_its_address() {
    // Bound and never listened on: a connection is refused for sure.
    let address = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener.local_addr().expect("an address")
    };
    let test = TestStore::open().await;
    let name = format!("{address}/app:1");
    let error = test.store.pull(&reference(&name), &PullOptions::default()).await.expect_err("no registry");
    assert_eq!(
        error.message(),
        format!(
            "failed to pull and unpack image \"{name}\": failed to resolve reference \"{name}\": failed to do request: \
             Get \"http://{address}/v2/app/manifests/1\": dial tcp {address}: connect: connection refused"
        )
    );
    let unknown = test.store.pull(&reference("registry.invalid:5000/app:1"), &PullOptions::default()).await.expect_err("no registry");
    assert!(unknown.message().ends_with("dial tcp: lookup registry.invalid: no such host"), "{}", unknown.message());
}

#[tokio::test]
async fn a_registry_without_encryption_is_told_as_such() {
    let fixture = Fixture::start(&layers(), |_, _| None).await;
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut settings = config(directory.path());
    let transport = crate::images::RegistryTransport::HttpsUnverified;
    settings.registries.transports.insert(fixture.server.address.to_string(), transport);
    let store = ImageStore::open(settings).await.expect("a store");
    let error = store.pull(&fixture.name(), &PullOptions::default()).await.expect_err("no encryption");
    assert!(error.message().ends_with("http: server gave HTTP response to HTTPS client"), "{}", error.message());
}

#[tokio::test]
async fn a_silent_registry_is_given_up() {
    let fixture = Fixture::start(&layers(), |_, _| Some(Reply::Silence)).await;
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut settings = config(directory.path());
    settings.registries.read_timeout = Duration::from_millis(20);
    settings.registries.retries = 2;
    let store = ImageStore::open(settings).await.expect("a store");
    let error = store.pull(&fixture.name(), &PullOptions::default()).await.expect_err("silence");
    assert!(error.message().ends_with("no answer within the time limit (i/o timeout)"), "{}", error.message());
    assert_eq!(fixture.server.paths().len(), 3, "asked once and two times more");
}

#[tokio::test]
async fn a_server_error_is_told_and_not_repeated() {
    let fixture = Fixture::start(&layers(), |_, _| {
        Some(Reply::Full(
            "429 Too Many Requests",
            vec![],
            br#"{"errors": [{"code": "TOOMANYREQUESTS", "message": "slow\u0000 down"}]}"#.to_vec(),
        ))
    })
    .await;
    let (_, message) = refused(&fixture).await;
    assert!(message.ends_with("/v2/app/manifests/1: 429 Too Many Requests: server message: toomanyrequests: slow down"), "{message}");
    assert_eq!(fixture.server.paths().len(), 1);
}

#[tokio::test]
async fn content_with_another_digest_is_refused() {
    let damaged = Fixture::start(&layers(), |image, request| {
        let mut layer = image.layers[0].clone();
        let middle = layer.len() / 2;
        layer[middle] ^= 1;
        is_layer(image, request).then(|| Reply::ok(layer))
    })
    .await;
    let (error, message) = refused(&damaged).await;
    assert!(matches!(error.registry_error(), Some(RegistryError::BadDigest { .. })), "{message}");

    let config = Fixture::start(&layers(), |image, request| {
        let is_config = request.path.ends_with(&Digest::sha256_of(&image.config).to_string());
        is_config.then(|| Reply::ok(b"{}".to_vec()))
    })
    .await;
    assert!(
        refused(&config).await.1.contains("has digest sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a, expected")
    );

    let manifest = Fixture::start(&layers(), |_, _| None).await;
    let test = TestStore::open().await;
    let name = manifest.name().with_digest(Digest::sha256_of(b"other"));
    let error = test.store.pull(&name, &PullOptions::default()).await.expect_err("another manifest");
    assert!(matches!(error.registry_error(), Some(RegistryError::BadDigest { .. })), "{error:?}");
}

#[tokio::test]
async fn a_layer_that_is_not_the_one_of_the_configuration_is_refused() {
    let fixture = Fixture::start(&layers(), |_, _| None).await;
    let mut image = ServedImage::new(&layers());
    // The manifest leads to another layer, honestly described.
    let other = gzip(&LayerBuilder::new().file("other", "x").build());
    let mut manifest: serde_json::Value = serde_json::from_slice(&image.manifest).expect("JSON");
    manifest["layers"][0]["digest"] = Digest::sha256_of(&other).to_string().into();
    manifest["layers"][0]["size"] = other.len().into();
    image.manifest = manifest.to_string().into_bytes();
    image.layers[0] = other;
    drop(fixture);
    let server = TestServer::start(move |request| image.answer(request)).await;
    let test = TestStore::open().await;
    let error =
        test.store.pull(&reference(&format!("{}/app:1", server.address)), &PullOptions::default()).await.expect_err("another layer");
    assert!(matches!(error, PullImageError::Layer { source: UnpackLayerError::WrongDiffId { .. }, .. }), "{error:?}");
    assert_eq!(test.names_in("tmp"), Vec::<String>::new());
}

#[tokio::test]
async fn a_layer_longer_or_shorter_than_its_descriptor_is_refused() {
    for extra in [-10i64, 10] {
        let fixture = Fixture::start(&layers(), move |image, request| {
            let mut layer = image.layers[0].clone();
            layer.resize((layer.len() as i64 + extra) as usize, 0);
            is_layer(image, request).then(|| Reply::ok(layer))
        })
        .await;
        let (error, message) = refused(&fixture).await;
        assert!(matches!(error.registry_error(), Some(RegistryError::BadSize { .. })), "{message}");
    }
}

#[tokio::test]
async fn endless_answers_are_cut_at_their_bounds() {
    let endless_manifest = Fixture::start(&layers(), |_, _| Some(Reply::Endless)).await;
    let (_, message) = refused(&endless_manifest).await;
    assert!(message.ends_with("is larger than 4194304 bytes"), "{message}");

    let endless_config = Fixture::start(&layers(), |image, request| {
        request.path.ends_with(&Digest::sha256_of(&image.config).to_string()).then_some(Reply::Endless)
    })
    .await;
    let (_, message) = refused(&endless_config).await;
    assert!(message.ends_with("is larger than 8388608 bytes"), "{message}");

    let endless_layer = Fixture::start(&layers(), |image, request| is_layer(image, request).then_some(Reply::Endless)).await;
    let (error, message) = refused(&endless_layer).await;
    assert!(matches!(error.registry_error(), Some(RegistryError::BadSize { .. })), "{message}");
}

#[tokio::test]
async fn images_that_are_none_or_too_large_are_refused_by_name() {
    for (manifest, text) in [
        (json!({ "schemaVersion": 1, "name": "app", "fsLayers": [] }), "schemaVersion=1"),
        (json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [] }), "there is none: not found"),
        (
            json!({ "schemaVersion": 2, "config": { "mediaType": "application/vnd.oci.empty.v1+json", "digest": Digest::sha256_of(b"").to_string(), "size": 0 }, "layers": [] }),
            "unsupported media type \"application/vnd.oci.empty.v1+json\"",
        ),
        (
            json!({
                "schemaVersion": 2, "config": { "mediaType": OCI_CONFIG, "digest": Digest::sha256_of(b"").to_string(), "size": 0 },
                "layers": vec![json!({ "mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": Digest::sha256_of(b"").to_string(), "size": 1 }); 128],
            }),
            "the image has 128 layers, more than 127",
        ),
        (json!("no manifest"), "the manifest is broken"),
    ] {
        let fixture = Fixture::start(&layers(), move |_, _| Some(Reply::ok(manifest.to_string()))).await;
        let (_, message) = refused(&fixture).await;
        assert!(message.contains(text), "{message}");
    }
}

#[tokio::test]
async fn a_hostile_layer_fails_the_pull_and_leaves_the_good_layers_for_a_prune() {
    let hostile = LayerBuilder::new().file("../../escape", "x").build();
    let fixture = Fixture::start(&[layers()[0].clone(), hostile], |_, _| None).await;
    let (error, message) = refused(&fixture).await;
    assert!(matches!(error, PullImageError::Layer { .. }), "{message}");
    assert!(message.ends_with("refuse entry \"../../escape\": the name leads out of the root file system"), "{message}");
}
