//! A real registry (Debian's `docker-registry`) on a free port of loopback, and a way to put images into it.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use super::layers::gzip;
use crate::images::Digest;
use crate::images::manifest::{OCI_CONFIG, OCI_INDEX, OCI_MANIFEST};
use crate::images::platform::Platform;

/// Name and password of the registry that asks for them, and the line of its password file.
pub(crate) const USER: (&str, &str) = ("tester", "secret");
const HTPASSWD: &str = "tester:$2b$04$7EiE5ZXpA.DixPz1VzeaF.JXtB5yWnPhncOukRQwvjg3z.Suhh3Ke\n";

/// A running registry, killed when dropped.
pub(crate) struct TestRegistry {
    pub(crate) address: String,
    process: Child,
    _directory: tempfile::TempDir,
    auth: Option<(&'static str, &'static str)>,
    client: reqwest::Client,
}

/// Digests of an image in a registry.
#[derive(Debug, Clone)]
pub(crate) struct PushedImage {
    pub(crate) manifest: Digest,
    pub(crate) config: Digest,
    pub(crate) layers: Vec<Digest>,
    pub(crate) diff_ids: Vec<Digest>,
    pub(crate) manifest_size: usize,
}

impl TestRegistry {
    /// Starts one, or says why not.
    pub(crate) fn start_or_skip(test: &str, with_password: bool) -> Option<Self> {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let auth = if with_password {
            std::fs::write(directory.path().join("htpasswd"), HTPASSWD).expect("a file");
            format!("auth: {{htpasswd: {{realm: test, path: {}/htpasswd}}}}\n", directory.path().display())
        } else {
            String::new()
        };
        let config = format!(
            "version: 0.1\nstorage: {{filesystem: {{rootdirectory: {}/data}}}}\nhttp: {{addr: \"127.0.0.1:0\"}}\n{auth}",
            directory.path().display()
        );
        std::fs::write(directory.path().join("config.yml"), config).expect("a file");
        let spawned = Command::new("docker-registry").arg("serve").arg(directory.path().join("config.yml")).stderr(Stdio::piped()).spawn();
        let Ok(mut process) = spawned else {
            #[expect(clippy::print_stderr, reason = "how a test says that it was skipped")]
            {
                eprintln!("SKIP {test}: there is no docker-registry");
            }
            return None;
        };
        let mut log = BufReader::new(process.stderr.take().expect("a pipe"));
        let mut line = String::new();
        let address = loop {
            line.clear();
            assert!(log.read_line(&mut line).expect("a log") > 0, "the registry ended");
            if let Some((_, rest)) = line.split_once("listening on ") {
                break rest.split(['"', ',']).next().expect("an address").to_owned();
            }
        };
        // Its log has to be read, or it would stop one day.
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        crate::images::registry::install_crypto();
        let client = reqwest::Client::builder().no_proxy().tls_certs_only([]).build().expect("a client");
        Some(Self { address, process, _directory: directory, auth: with_password.then_some(USER), client })
    }

    fn request(&self, method: reqwest::Method, url: &str) -> reqwest::RequestBuilder {
        let request = self.client.request(method, url);
        match self.auth {
            Some((name, password)) => request.basic_auth(name, Some(password)),
            None => request,
        }
    }

    pub(crate) async fn push_blob(&self, repository: &str, bytes: Vec<u8>) -> Digest {
        let digest = Digest::sha256_of(&bytes);
        let url = format!("http://{}/v2/{repository}/blobs/uploads/", self.address);
        let begun = self.request(reqwest::Method::POST, &url).send().await.expect("an upload");
        let location = begun.headers()["location"].to_str().expect("a location").to_owned();
        let separator = if location.contains('?') { '&' } else { '?' };
        let url = format!("{location}{separator}digest={digest}");
        let put = self.request(reqwest::Method::PUT, &url).body(bytes).send().await.expect("an upload");
        assert!(put.status().is_success(), "{:?}", put.text().await);
        digest
    }

    pub(crate) async fn push_manifest(&self, repository: &str, tag: &str, media_type: &str, manifest: &Value) -> Digest {
        let bytes = manifest.to_string().into_bytes();
        let digest = Digest::sha256_of(&bytes);
        let url = format!("http://{}/v2/{repository}/manifests/{tag}", self.address);
        let put = self.request(reqwest::Method::PUT, &url).header("content-type", media_type).body(bytes).send().await.expect("an upload");
        assert!(put.status().is_success(), "{:?}", put.text().await);
        digest
    }

    /// Pushes an image of these tar streams, bottom first, compressed with gzip.
    pub(crate) async fn push_image(&self, repository: &str, tag: &str, layers: &[Vec<u8>]) -> PushedImage {
        self.push_image_for(repository, tag, layers, &Platform::host()).await
    }

    pub(crate) async fn push_image_for(&self, repository: &str, tag: &str, layers: &[Vec<u8>], platform: &Platform) -> PushedImage {
        let (mut descriptors, mut digests) = (Vec::new(), Vec::new());
        for layer in layers {
            let compressed = gzip(layer);
            let size = compressed.len();
            let digest = self.push_blob(repository, compressed).await;
            let media_type = "application/vnd.oci.image.layer.v1.tar+gzip";
            descriptors.push(json!({ "mediaType": media_type, "digest": digest.to_string(), "size": size }));
            digests.push(digest);
        }
        let diff_ids: Vec<Digest> = layers.iter().map(|layer| Digest::sha256_of(layer)).collect();
        let config = image_config(&diff_ids, platform).to_string().into_bytes();
        let config_size = config.len();
        let config = self.push_blob(repository, config).await;
        let manifest = json!({
            "schemaVersion": 2, "mediaType": OCI_MANIFEST, "layers": descriptors,
            "config": { "mediaType": OCI_CONFIG, "digest": config.to_string(), "size": config_size },
        });
        let manifest_size = manifest.to_string().len();
        let manifest = self.push_manifest(repository, tag, OCI_MANIFEST, &manifest).await;
        PushedImage { manifest, config, layers: digests, diff_ids, manifest_size }
    }

    pub(crate) async fn push_index(&self, repository: &str, tag: &str, images: &[(&PushedImage, Platform)]) -> Digest {
        let entry = |(image, platform): &(&PushedImage, Platform)| json!({ "mediaType": OCI_MANIFEST, "digest": image.manifest.to_string(), "size": image.manifest_size, "platform": platform });
        let index = json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": images.iter().map(entry).collect::<Vec<_>>() });
        self.push_manifest(repository, tag, OCI_INDEX, &index).await
    }
}

/// A configuration for an image of these layers.
pub(crate) fn image_config(diff_ids: &[Digest], platform: &Platform) -> Value {
    json!({
        "architecture": platform.architecture, "os": platform.os, "variant": platform.variant.clone().unwrap_or_default(),
        "config": { "Cmd": ["/bin/sh"], "User": "www" },
        "rootfs": { "type": "layers", "diff_ids": diff_ids.iter().map(ToString::to_string).collect::<Vec<_>>() },
    })
}

impl Drop for TestRegistry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
