//! A registry of one image, on the loopback of a test's own network.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use sha2::{Digest as _, Sha256};

/// How much of a layer is sent at once, with a pause after it.
pub(crate) const PIECE_BYTES: usize = 32 * 1024;

/// A registry with one image, which sends its layer as if the line were slow.
pub(crate) struct SlowRegistry {
    port: u16,
}

impl SlowRegistry {
    /// Serves from threads of this one's network until the test ends.
    pub(crate) fn start(layer: Vec<u8>, pause: Duration) -> Self {
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
        let contents = Arc::new([manifest.to_string().into_bytes(), config, layer]);
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let contents = Arc::clone(&contents);
                // A client that goes away is its own matter.
                std::thread::spawn(move || drop(serve(stream, contents.as_ref(), pause)));
            }
        });
        Self { port }
    }

    /// The name of its image.
    pub(crate) fn image(&self) -> String {
        format!("127.0.0.1:{}/slow/image:1", self.port)
    }

    /// A pod that pulls it.
    pub(crate) fn pod(&self, name: &str) -> String {
        let image = self.image();
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec:\n  restartPolicy: Never\n  containers:\n  - name: app\n    \
             image: {image}\n    imagePullPolicy: Always\n    command: [sh, -c, echo pulled and run]\n"
        )
    }
}

fn serve(mut stream: TcpStream, contents: &[Vec<u8>; 3], pause: Duration) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let path = head.split(' ').nth(1).unwrap_or_default();
    let found = contents.iter().find(|content| path.ends_with(&digest(content)) || (path.ends_with("/1") && **content == contents[0]));
    let Some(content) = found else { return stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n") };
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/vnd.oci.image.manifest.v1+json\r\nConnection: close\r\n";
    write!(stream, "{head}Content-Length: {}\r\n\r\n", content.len())?;
    for piece in content.chunks(PIECE_BYTES) {
        stream.write_all(piece)?;
        if content.len() > PIECE_BYTES && !pause.is_zero() {
            std::thread::sleep(pause);
        }
    }
    Ok(())
}

fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold("sha256:".to_owned(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
