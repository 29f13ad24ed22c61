//! A registry with one image, on the network of the thread that starts it, until the test ends.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use sha2::{Digest as _, Sha256};

/// How much of a layer is sent at once, and the pause after it where the line is slow.
const PIECE_BYTES: usize = 32 * 1024;
const PAUSE: Duration = Duration::from_millis(40);

/// The registry, from outside.
pub(crate) struct Registry {
    port: u16,
}

/// What it has, and for whom.
struct Shop {
    /// The manifest, the configuration and the layer.
    contents: [Vec<u8>; 3],
    pause: Option<Duration>,
    /// The `Authorization` that it asks for.
    authorization: Option<String>,
}

impl Registry {
    /// For everyone, at once.
    pub(crate) fn open(layer: Vec<u8>) -> Self {
        Self::start(layer, None, None)
    }

    /// Sends its layer as if the line were slow.
    pub(crate) fn slow(layer: Vec<u8>) -> Self {
        Self::start(layer, Some(PAUSE), None)
    }

    /// Asks for this header of HTTP: `Basic …`.
    pub(crate) fn private(layer: Vec<u8>, authorization: &str) -> Self {
        Self::start(layer, None, Some(authorization.to_owned()))
    }

    /// The name of its image.
    pub(crate) fn image(&self) -> String {
        format!("{}/some/image:1", self.host())
    }

    /// Its own name, as credentials have it.
    pub(crate) fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    fn start(layer: Vec<u8>, pause: Option<Duration>, authorization: Option<String>) -> Self {
        let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
        let config = json!({
            "architecture": architecture, "os": "linux", "config": { "Env": ["PATH=/bin"] },
            "rootfs": { "type": "layers", "diff_ids": [digest(&layer)] },
        });
        let config = config.to_string().into_bytes();
        let descriptor = |kind: &str, bytes: &[u8]| json!({ "mediaType": kind, "digest": digest(bytes), "size": bytes.len() });
        let manifest = json!({
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": descriptor("application/vnd.oci.image.config.v1+json", &config),
            "layers": [descriptor("application/vnd.oci.image.layer.v1.tar", &layer)],
        });
        let shop = Arc::new(Shop { contents: [manifest.to_string().into_bytes(), config, layer], pause, authorization });
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shop = Arc::clone(&shop);
                // A client that goes away is its own matter.
                std::thread::spawn(move || drop(shop.serve(stream)));
            }
        });
        Self { port }
    }
}

impl Shop {
    fn serve(&self, mut stream: TcpStream) -> std::io::Result<()> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte)?;
            head.push(byte[0]);
        }
        let head = String::from_utf8_lossy(&head).into_owned();
        if let Some(wanted) = &self.authorization {
            let given = head.lines().filter_map(|line| line.split_once(": "));
            let mut given = given.filter(|(name, _)| name.eq_ignore_ascii_case("authorization"));
            if !given.any(|(_, value)| value == wanted) {
                let refusal = "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"images\"\r\n";
                return stream.write_all(format!("{refusal}Content-Length: 0\r\nConnection: close\r\n\r\n").as_bytes());
            }
        }
        let path = head.split(' ').nth(1).unwrap_or_default();
        let [manifest, ..] = &self.contents;
        let is_asked_for = |content: &&Vec<u8>| path.ends_with(&digest(content)) || (path.ends_with("/1") && *content == manifest);
        let Some(content) = self.contents.iter().find(is_asked_for) else {
            return stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        };
        let head = "HTTP/1.1 200 OK\r\nContent-Type: application/vnd.oci.image.manifest.v1+json\r\nConnection: close\r\n";
        write!(stream, "{head}Content-Length: {}\r\n\r\n", content.len())?;
        for piece in content.chunks(PIECE_BYTES) {
            stream.write_all(piece)?;
            if let Some(pause) = self.pause.filter(|_| content.len() > PIECE_BYTES) {
                std::thread::sleep(pause);
            }
        }
        Ok(())
    }
}

fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold("sha256:".to_owned(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// A layer with a shell: about two megabytes, a few seconds over a slow line. `folder` is for what it is made of.
pub(crate) fn shell_layer(folder: &Path) -> Vec<u8> {
    let root = folder.join("layer");
    std::fs::create_dir_all(root.join("bin")).expect("a folder");
    std::fs::copy("/bin/busybox", root.join("bin/sh")).expect("busybox-static is installed");
    let packed = std::process::Command::new("tar").arg("-C").arg(&root).args(["-cf", "-", "."]).output().expect("tar runs");
    assert!(packed.status.success() && packed.stdout.len() > 10 * PIECE_BYTES);
    packed.stdout
}
