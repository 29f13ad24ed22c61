//! Defaults of volumes.

use k8s_openapi::api::core::v1::{DownwardAPIVolumeFile, EmptyDirVolumeSource, ProjectedVolumeSource, Volume, VolumeProjection};

use super::container::pull_policy;
use super::default_text;

/// Permissions of files made from Secrets, ConfigMaps and the like.
const FILE_MODE: i32 = 0o644;
/// Life of a projected service account token, in seconds.
const TOKEN_SECONDS: i64 = 3600;

/// Fills in a volume. One without any source is an empty directory.
pub(super) fn default_volume(volume: &mut Volume) {
    let named_only = Volume { name: volume.name.clone(), ..Volume::default() };
    if *volume == named_only {
        volume.empty_dir = Some(EmptyDirVolumeSource::default());
    }
    // k8s: 1.a.2
    if let Some(image) = &mut volume.image {
        default_text(&mut image.pull_policy, pull_policy(image.reference.as_deref().unwrap_or_default()));
    }
    if let Some(host_path) = &mut volume.host_path {
        host_path.type_.get_or_insert_default();
    }
    if let Some(secret) = &mut volume.secret {
        secret.default_mode.get_or_insert(FILE_MODE);
    }
    if let Some(config_map) = &mut volume.config_map {
        config_map.default_mode.get_or_insert(FILE_MODE);
    }
    if let Some(downward) = &mut volume.downward_api {
        downward.default_mode.get_or_insert(FILE_MODE);
        default_files(&mut downward.items);
    }
    if let Some(projected) = &mut volume.projected {
        default_projected(projected);
    }
    if let Some(claim) = volume.ephemeral.as_mut().and_then(|volume| volume.volume_claim_template.as_mut()) {
        default_text(&mut claim.spec.volume_mode, "Filesystem");
    }
}

fn default_projected(projected: &mut ProjectedVolumeSource) {
    projected.default_mode.get_or_insert(FILE_MODE);
    for source in projected.sources.iter_mut().flatten() {
        default_projection(source);
    }
}

fn default_projection(source: &mut VolumeProjection) {
    if let Some(downward) = &mut source.downward_api {
        default_files(&mut downward.items);
    }
    if let Some(token) = &mut source.service_account_token {
        token.expiration_seconds.get_or_insert(TOKEN_SECONDS);
    }
}

fn default_files(files: &mut Option<Vec<DownwardAPIVolumeFile>>) {
    for field in files.iter_mut().flatten().filter_map(|file| file.field_ref.as_mut()) {
        default_text(&mut field.api_version, "v1");
    }
}
