//! Images in the words of the seam.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use tokio::sync::mpsc;

use super::Inner;
use super::errors::chain;
use crate::images::{self, Image, ImageQuery, ImageReference, Keyring, ProgressListener, PullOptions, PullPhase, StoreError};
use crate::{ImageStatus, ImageStatusError, PullImageError, PullProgress, RegistryCredential, RemoveStoredImageError, StoredImage};

/// What the kubelet shows for a pull that failed, whatever the cause.
// k8s: 9.b.3
const ERR_IMAGE_PULL: &str = "ErrImagePull";
/// What it shows for a name that is none.
const INVALID_IMAGE_NAME: &str = "InvalidImageName";

/// Looks for an image by a name as users write it, or by its id.
pub(crate) async fn status(runtime: &Inner, image: &str) -> Result<Option<ImageStatus>, ImageStatusError> {
    let query = ImageQuery::parse(image)
        .map_err(|error| ImageStatusError::InvalidName { image: image.to_owned(), message: error.reason.to_string() })?;
    let store = runtime.image_store().await.map_err(|source| ImageStatusError::Store { source: source.into() })?;
    let found = store.image_status(&query).await.map_err(|source| ImageStatusError::Store { source: source.into() })?;
    Ok(found.map(|found| told(&found, &query)))
}

/// Pulls an image.
pub(crate) async fn pull(
    runtime: &Inner,
    image: &str,
    credentials: &[RegistryCredential],
    progress: mpsc::UnboundedSender<PullProgress>,
) -> Result<ImageStatus, PullImageError> {
    let failed = |message: String| PullImageError { reason: ERR_IMAGE_PULL, message };
    let reference =
        ImageReference::parse(image).map_err(|error| PullImageError { reason: INVALID_IMAGE_NAME, message: error.to_string() })?;
    let mut keyring = Keyring::default();
    for credential in credentials {
        keyring.add_docker_config_json(&credential.docker_config_json).map_err(|error| failed(chain(&error)))?;
    }
    let store = runtime.image_store().await.map_err(|error| failed(chain(&error)))?;
    let options = PullOptions { auths: keyring.lookup(&reference), progress: listener(progress) };
    let pulled = store.pull(&reference, &options).await.map_err(|error| failed(error.message()))?;
    Ok(told(&pulled, &ImageQuery::Reference(reference)))
}

/// All images.
pub(crate) async fn list(runtime: &Inner) -> Result<Vec<StoredImage>, ImageStatusError> {
    let failed = |source: StoreError| ImageStatusError::Store { source: source.into() };
    let store = runtime.image_store().await.map_err(failed)?;
    // First the images: one that comes in between is not among them, and one that is used from then on cannot be removed.
    let images = store.list().await.map_err(failed)?;
    let used: BTreeSet<_> = store.leases().await.map_err(failed)?.into_iter().map(|lease| lease.image).collect();
    let told = |image: Image| StoredImage {
        is_used: used.contains(&image.id),
        is_pinned: image.repo_digests.is_empty(),
        id: image.id.to_string(),
        names: image.repo_tags.into_iter().chain(image.repo_digests).collect(),
        size_bytes: image.size,
    };
    Ok(images.into_iter().map(told).collect())
}

/// Removes an image.
pub(crate) async fn remove(runtime: &Inner, id: &str) -> Result<u64, RemoveStoredImageError> {
    let failed = |source: crate::Cause| RemoveStoredImageError { image: id.to_owned(), source };
    let query = ImageQuery::parse(id).map_err(|error| failed(error.into()))?;
    let store = runtime.image_store().await.map_err(|error| failed(error.into()))?;
    let removed = store.remove(&query).await.map_err(|error| failed(error.into()))?;
    Ok(removed.pruned.bytes)
}

/// Of several names, the one that was asked for is shown, if it is a tag.
// k8s: 8.c.16
fn told(image: &Image, query: &ImageQuery) -> ImageStatus {
    let id = image.id.to_string();
    let asked = match query {
        ImageQuery::Reference(reference) => Some(reference),
        ImageQuery::Id(_) => None,
    };
    let tag = asked.map(ImageReference::store_name).filter(|name| image.repo_tags.contains(name));
    let of_repository = |name: &&String| asked.is_some_and(|asked| name.starts_with(&format!("{}@", asked.repository())));
    let digest = image.repo_digests.iter().find(of_repository).or(image.repo_digests.first());
    let config = image.config.config().as_ref();
    ImageStatus {
        reference: tag.as_ref().or(image.repo_tags.first()).or(digest).unwrap_or(&id).clone(),
        image_ref: digest.unwrap_or(&id).clone(),
        size_bytes: image.size,
        user: config.and_then(|config| config.user().clone()).unwrap_or_default(),
        stop_signal: config.and_then(|config| config.stop_signal().clone()).filter(|signal| !signal.is_empty()),
        id,
    }
}

/// Adds up what is told of single layers.
fn listener(progress: mpsc::UnboundedSender<PullProgress>) -> ProgressListener {
    let layers: Mutex<BTreeMap<String, images::PullProgress>> = Mutex::default();
    ProgressListener::new(move |step| {
        let mut layers = layers.lock().unwrap_or_else(PoisonError::into_inner);
        layers.insert(step.layer.to_string(), step);
        let is_done = |layer: &&images::PullProgress| match layer.phase {
            PullPhase::AlreadyPresent | PullPhase::Done => true,
            PullPhase::Waiting | PullPhase::Downloading | PullPhase::Unpacking => false,
        };
        let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        // Nobody has to listen.
        let _ = progress.send(PullProgress {
            bytes: layers.values().map(|layer| layer.bytes).sum(),
            total_bytes: layers.values().map(|layer| layer.total).sum(),
            layers_done: count(layers.values().filter(is_done).count()),
            layers: count(layers.len()),
        });
    })
}
