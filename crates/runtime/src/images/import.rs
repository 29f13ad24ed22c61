//! Import of a root file system: a tar stream becomes an image of one layer.
//!
//! The same stream with the same options gives the same image, on any machine and at any time: nothing of the moment goes
//! into the configuration.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde_json::{Map, Value, json};

use super::archive::{ArchiveInput, CancelOnDrop};
use super::digest::Digest;
use super::manifest::{Annotations, Descriptor, ImageManifest, OCI_CONFIG, OCI_LAYER, OCI_MANIFEST};
use super::reference::ImageReference;
use super::store::{Image, ImageStore, NewImage, StoreError};
use super::unpack::{UnpackLayerError, unpack_layer};

/// What the image says about how to run it.
///
/// On the command line:
///
/// ```text
/// usher image import NAME ROOTFS.tar [OPTIONS]      ROOTFS.tar may be - for standard input, and compressed
///   --entrypoint ARGS     ARGS is a JSON array of strings, or one argument; repeated, it adds arguments
///   --cmd ARGS            likewise
///   --env NAME=VALUE      repeated for more
///   --user USER           name or number, with or without :GROUP
///   --workdir PATH
///   --stop-signal SIGNAL  SIGQUIT, or a number
///   --expose PORT         80, 80/tcp or 53/udp; repeated for more
///   --label NAME=VALUE    repeated for more
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImportOptions {
    /// The program with its fixed arguments.
    pub entrypoint: Vec<String>,
    /// Arguments that a container may replace; the program, if there is no entrypoint.
    pub cmd: Vec<String>,
    /// Environment, `NAME=VALUE`.
    pub env: Vec<String>,
    /// Who runs it: `name` or `uid`, with or without `:group`.
    pub user: Option<String>,
    /// Where it runs; an absolute path.
    pub workdir: Option<String>,
    /// The signal that asks it to stop.
    pub stop_signal: Option<String>,
    /// Ports it listens on, `80/tcp`.
    pub exposed_ports: BTreeSet<String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
}

/// Why a root file system could not be imported.
#[derive(Debug, thiserror::Error)]
pub enum ImportImageError {
    /// An option makes no sense.
    #[error("{option} {value:?} is not valid: {reason}")]
    Option {
        /// The option, as on the command line.
        option: &'static str,
        /// Its value.
        value: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The file cannot be opened.
    #[error("open {path:?}")]
    Open {
        /// The file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// The root file system cannot be unpacked.
    #[error("unpack the root file system")]
    Unpack(#[source] UnpackLayerError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl ImportOptions {
    /// Reads a value of `--entrypoint` or `--cmd`: a JSON array of strings, or one argument.
    pub fn parse_arguments(option: &'static str, value: &str) -> Result<Vec<String>, ImportImageError> {
        if !value.trim_start().starts_with('[') {
            return Ok(vec![value.to_owned()]);
        }
        let reason = "it begins like a JSON array of strings, but is none";
        serde_json::from_str(value).map_err(|_| ImportImageError::Option { option, value: value.to_owned(), reason })
    }

    fn check(&self) -> Result<(), ImportImageError> {
        let bad = |option, value: &str, reason| Err(ImportImageError::Option { option, value: value.to_owned(), reason });
        if let Some(variable) = self.env.iter().find(|variable| variable.find('=').is_none_or(|equals| equals == 0)) {
            return bad("--env", variable, "it has to be NAME=VALUE");
        }
        if let Some(workdir) = self.workdir.as_ref().filter(|workdir| !workdir.starts_with('/')) {
            return bad("--workdir", workdir, "it has to be an absolute path");
        }
        let is_port = |port: &str| {
            let (number, protocol) = port.split_once('/').unwrap_or((port, "tcp"));
            number.parse::<u16>().is_ok_and(|number| number > 0) && matches!(protocol, "tcp" | "udp" | "sctp")
        };
        if let Some(port) = self.exposed_ports.iter().find(|port| !is_port(port)) {
            return bad("--expose", port, "it has to be PORT, PORT/tcp, PORT/udp or PORT/sctp");
        }
        let is_signal = |signal: &str| {
            let is_name = signal.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || matches!(byte, b'+' | b'-'));
            !signal.is_empty() && is_name
        };
        if let Some(signal) = self.stop_signal.as_ref().filter(|signal| !is_signal(signal)) {
            return bad("--stop-signal", signal, "it has to be a name such as SIGQUIT, or a number");
        }
        Ok(())
    }

    /// The configuration of an image with one layer, with its fields in a fixed order.
    fn image_config(&self, diff_id: &Digest, platform: &super::platform::Platform) -> Vec<u8> {
        let mut config = Map::new();
        let mut set = |key: &str, value: Value| {
            config.insert(key.to_owned(), value);
        };
        let strings = |values: &[String]| Value::from(values.to_vec());
        let keys = |keys: &BTreeSet<String>| Value::from(keys.iter().map(|key| (with_protocol(key), json!({}))).collect::<Map<_, _>>());
        for (key, value) in [("User", &self.user), ("WorkingDir", &self.workdir), ("StopSignal", &self.stop_signal)] {
            if let Some(value) = value {
                set(key, Value::from(value.clone()));
            }
        }
        for (key, values) in [("Env", &self.env), ("Entrypoint", &self.entrypoint), ("Cmd", &self.cmd)] {
            if !values.is_empty() {
                set(key, strings(values));
            }
        }
        if !self.exposed_ports.is_empty() {
            set("ExposedPorts", keys(&self.exposed_ports));
        }
        if !self.labels.is_empty() {
            set(
                "Labels",
                Value::from(self.labels.iter().map(|(key, value)| (key.clone(), Value::from(value.clone()))).collect::<Map<_, _>>()),
            );
        }
        let mut image = json!({
            "architecture": platform.architecture,
            "config": config,
            "history": [{ "created_by": "usher image import" }],
            "os": platform.os,
            "rootfs": { "type": "layers", "diff_ids": [diff_id.to_string()] },
        });
        if let Some(variant) = &platform.variant {
            image["variant"] = Value::from(variant.clone());
        }
        image.to_string().into_bytes()
    }
}

fn with_protocol(port: &str) -> String {
    if port.contains('/') { port.to_owned() } else { format!("{port}/tcp") }
}

impl ImageStore {
    /// Makes an image named `name` of a root file system, a tar stream with any compression that layers may have.
    pub async fn import_rootfs(
        &self,
        input: ArchiveInput,
        name: &ImageReference,
        options: &ImportOptions,
    ) -> Result<Image, ImportImageError> {
        options.check()?;
        let (options, name) = (options.clone(), name.clone());
        let (_cancel, cancelled) = CancelOnDrop::new();
        self.blocking(move |store| {
            let open_error = |(path, source)| ImportImageError::Open { path, source };
            let stream = cancelled.reader(input.into_reader().map_err(open_error)?);
            let temp = store.temp_dir()?;
            let content = temp.path().join("layer");
            std::fs::create_dir(&content).map_err(|source| StoreError::io("make", &content, source))?;
            let layer = unpack_layer(stream, &content, store.config().limits.layer, None).map_err(ImportImageError::Unpack)?;
            // Claimed before it is visible, so that no prune can come in between.
            let _lease = store.work_lease(std::slice::from_ref(&layer.diff_id))?;
            store.publish_layer(&temp, &content, &layer)?;
            let config = options.image_config(&layer.diff_id, &store.config().platform);
            Ok(store.commit_image(new_image(config, &[(layer.diff_id, layer.tar_bytes)], vec![name.store_name()]))?)
        })
        .await
    }
}

/// An image of uncompressed layers (`diff_id` and length, bottom first), with the manifest that such an image has.
pub(super) fn new_image(config: Vec<u8>, layers: &[(Digest, u64)], names: Vec<String>) -> NewImage {
    let descriptor = |media_type: &str, digest: &Digest, size| Descriptor {
        media_type: media_type.to_owned(),
        digest: digest.clone(),
        size,
        platform: None,
        annotations: Annotations::default(),
    };
    let id = Digest::sha256_of(&config);
    let manifest = ImageManifest {
        schema_version: 2,
        media_type: OCI_MANIFEST.to_owned(),
        config: descriptor(OCI_CONFIG, &id, config.len() as u64),
        layers: layers.iter().map(|(diff_id, size)| descriptor(OCI_LAYER, diff_id, *size)).collect(),
    };
    let manifest_bytes = json!(manifest).to_string().into_bytes();
    NewImage {
        id,
        manifest: Digest::sha256_of(&manifest_bytes),
        size: manifest.content_size() + manifest_bytes.len() as u64,
        config,
        manifest_bytes,
        names,
        layers: layers.iter().map(|(diff_id, _)| diff_id.clone()).collect(),
    }
}

#[cfg(test)]
mod tests;
