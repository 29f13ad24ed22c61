//! Archives made by hand.

use serde_json::json;

use super::layers::LayerBuilder;
use super::registry::image_config;
use crate::images::Digest;
use crate::images::platform::Platform;

/// What `docker save` writes for one image; without a name if `name` is empty. Layers bottom first.
pub(crate) fn docker_archive(name: &str, layers: &[LayerBuilder]) -> Vec<u8> {
    let streams: Vec<Vec<u8>> = layers.iter().map(|layer| layer.clone().build()).collect();
    let diff_ids: Vec<Digest> = streams.iter().map(|stream| Digest::sha256_of(stream)).collect();
    let config = image_config(&diff_ids, &Platform::host()).to_string();
    let names: Vec<&str> = if name.is_empty() { vec![] } else { vec![name] };
    let files: Vec<String> = (0..layers.len()).map(|number| format!("{number}/layer.tar")).collect();
    let manifest = json!([{ "Config": "config.json", "RepoTags": names, "Layers": files }]);
    let mut archive = LayerBuilder::new();
    for (file, stream) in files.iter().zip(streams) {
        archive = archive.file(file, stream);
    }
    archive.file("config.json", config).file("manifest.json", manifest.to_string()).build()
}
