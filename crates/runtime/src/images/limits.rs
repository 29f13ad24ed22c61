//! How large images may be. Every bound is there because an image comes from a stranger.

use super::unpack::LayerLimits;

/// The bounds for one image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImageLimits {
    /// Most bytes of a manifest or an index. Registries refuse more than 4 MiB as well.
    pub manifest_bytes_max: u64,
    /// Most bytes of an image configuration.
    pub config_bytes_max: u64,
    /// Most layers: more than any builder makes, and within what one mount takes.
    pub layers_max: usize,
    /// The bounds of each layer.
    pub layer: LayerLimits,
    /// Most bytes of an archive that has to be stored before it can be read (from a pipe, or compressed).
    pub archive_bytes_max: u64,
}

impl Default for ImageLimits {
    fn default() -> Self {
        Self {
            manifest_bytes_max: 4 * 1024 * 1024,
            config_bytes_max: 8 * 1024 * 1024,
            layers_max: 127,
            layer: LayerLimits::default(),
            archive_bytes_max: 64 * 1024 * 1024 * 1024,
        }
    }
}
