//! The configuration of an image, as far as the store itself looks at it.

use oci_spec::image::ImageConfiguration;

use super::digest::{Digest, ParseDigestError};
use super::platform::Platform;

/// A configuration that was read and found usable.
#[derive(Debug, Clone)]
pub(crate) struct CheckedConfig {
    /// `diff_id`s, bottom first.
    pub(crate) layers: Vec<Digest>,
}

/// Why a configuration is none.
#[derive(Debug, thiserror::Error)]
pub enum ImageConfigError {
    /// It cannot be read.
    #[error("the image configuration is broken")]
    Malformed(#[source] serde_json::Error),
    /// A `diff_id` is not a digest.
    #[error("the image configuration has a broken diff id {0:?}")]
    DiffId(String, #[source] ParseDigestError),
    /// Layers of the manifest and of the configuration do not fit.
    #[error("the manifest has {manifest} layers, and the image configuration {config}")]
    LayerCount {
        /// Layers in the manifest.
        manifest: usize,
        /// Layers in the configuration.
        config: usize,
    },
    /// It is for another machine.
    #[error("no match for platform in manifest: the image is for {image}, and {wanted} is needed: not found")]
    Platform {
        /// What the image is for.
        image: String,
        /// What was looked for.
        wanted: String,
    },
}

/// Reads a configuration and checks that it fits the machine and the number of layers that the manifest has.
pub(crate) fn check_config(bytes: &[u8], layer_count: usize, wanted: &Platform) -> Result<CheckedConfig, ImageConfigError> {
    let config: ImageConfiguration = serde_json::from_slice(bytes).map_err(ImageConfigError::Malformed)?;
    let variant = config.variant().clone().filter(|variant| !variant.is_empty());
    let platform = Platform { os: config.os().to_string(), architecture: config.architecture().to_string(), variant };
    if !wanted.runs(&platform) {
        return Err(ImageConfigError::Platform { image: platform.to_string(), wanted: wanted.to_string() });
    }
    let diff_ids = config.rootfs().diff_ids();
    if diff_ids.len() != layer_count {
        return Err(ImageConfigError::LayerCount { manifest: layer_count, config: diff_ids.len() });
    }
    let parse = |text: &String| Digest::parse(text).map_err(|error| ImageConfigError::DiffId(text.clone(), error));
    Ok(CheckedConfig { layers: diff_ids.iter().map(parse).collect::<Result<_, _>>()? })
}
