//! Rules of the volumes of a Pod.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{
    DownwardAPIVolumeFile, HostPathVolumeSource, KeyToPath, ProjectedVolumeSource, ServiceAccountTokenProjection, Volume, VolumeProjection,
};

use super::env::{Holder, validate_field_ref, validate_resource_ref};
use super::error::FieldError;
use super::{Errors, complain, names, text};
use crate::path::FieldPath;
use crate::quantity::Quantity;

const FILE_MODE: &str = "must be a number between 0 and 0777 (octal), both inclusive";

/// Fields of a Pod that a file can be made from.
const FILE_FIELDS: [&str; 5] = ["metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid"];

/// Checks the volumes of a Pod; gives those that are right, by name.
pub(super) fn validate_volumes<'a>(
    volumes: &'a [Volume],
    pod_name: &str,
    path: &FieldPath,
    errors: &mut Errors,
) -> BTreeMap<&'a str, &'a Volume> {
    let mut right = BTreeMap::new();
    for (index, volume) in volumes.iter().enumerate() {
        let path = path.index(index);
        let name_path = path.child("name");
        let mut wrong = Vec::new();
        validate_source(volume, pod_name, &path, &mut wrong);
        if volume.name.is_empty() {
            wrong.push(FieldError::required(&name_path, ""));
        } else {
            complain(&mut wrong, &name_path, &volume.name, names::dns_label(&volume.name));
        }
        if right.contains_key(volume.name.as_str()) {
            wrong.push(FieldError::duplicate(&name_path, &volume.name));
        }
        if wrong.is_empty() {
            right.insert(volume.name.as_str(), volume);
        }
        errors.append(&mut wrong);
    }
    right
}

/// Exactly one source: the first in the order of the reference is checked, every later one forbidden.
fn validate_source(volume: &Volume, pod_name: &str, path: &FieldPath, errors: &mut Errors) {
    let sources = sources(volume);
    for (position, (field, shown)) in sources.iter().enumerate() {
        if position > 0 {
            let error = FieldError::forbidden(&path.child(*shown), "may not specify more than 1 volume type");
            errors.push(error.exactly(path.child(*field)));
        } else {
            validate_first_source(volume, field, pod_name, path, errors);
        }
    }
    if sources.is_empty() {
        errors.push(FieldError::required(path, "must specify a volume type"));
    }
}

/// The sources that a volume has, in the order of the reference: the field, and what messages call it where it is one
/// too many.
fn sources(volume: &Volume) -> Vec<(&'static str, &'static str)> {
    let all = [
        (volume.empty_dir.is_some(), "emptyDir", "emptyDir"),
        (volume.host_path.is_some(), "hostPath", "hostPath"),
        (volume.git_repo.is_some(), "gitRepo", "gitRepo"),
        (volume.gce_persistent_disk.is_some(), "gcePersistentDisk", "gcePersistentDisk"),
        (volume.aws_elastic_block_store.is_some(), "awsElasticBlockStore", "awsElasticBlockStore"),
        (volume.secret.is_some(), "secret", "secret"),
        (volume.nfs.is_some(), "nfs", "nfs"),
        (volume.iscsi.is_some(), "iscsi", "iscsi"),
        (volume.glusterfs.is_some(), "glusterfs", "glusterfs"),
        (volume.flocker.is_some(), "flocker", "flocker"),
        (volume.persistent_volume_claim.is_some(), "persistentVolumeClaim", "persistentVolumeClaim"),
        (volume.rbd.is_some(), "rbd", "rbd"),
        (volume.cinder.is_some(), "cinder", "cinder"),
        (volume.cephfs.is_some(), "cephfs", "cephFS"),
        (volume.quobyte.is_some(), "quobyte", "quobyte"),
        // Spelt like this in the reference.
        (volume.downward_api.is_some(), "downwardAPI", "downwarAPI"),
        (volume.fc.is_some(), "fc", "fc"),
        (volume.flex_volume.is_some(), "flexVolume", "flexVolume"),
        (volume.config_map.is_some(), "configMap", "configMap"),
        (volume.azure_file.is_some(), "azureFile", "azureFile"),
        (volume.vsphere_volume.is_some(), "vsphereVolume", "vsphereVolume"),
        (volume.photon_persistent_disk.is_some(), "photonPersistentDisk", "photonPersistentDisk"),
        (volume.portworx_volume.is_some(), "portworxVolume", "portworxVolume"),
        (volume.azure_disk.is_some(), "azureDisk", "azureDisk"),
        (volume.storageos.is_some(), "storageos", "storageos"),
        (volume.projected.is_some(), "projected", "projected"),
        (volume.scale_io.is_some(), "scaleIO", "scaleIO"),
        (volume.csi.is_some(), "csi", "csi"),
        (volume.ephemeral.is_some(), "ephemeral", "ephemeral"),
        (volume.image.is_some(), "image", "image"),
    ];
    all.into_iter().filter(|(present, ..)| *present).map(|(_, field, shown)| (field, shown)).collect()
}

fn validate_first_source(volume: &Volume, field: &'static str, pod_name: &str, path: &FieldPath, errors: &mut Errors) {
    let path = path.child(field);
    let required = |field: &'static str, value: &str, errors: &mut Errors| {
        if value.is_empty() {
            errors.push(FieldError::required(&path.child(field), ""));
        }
    };
    if let Some(limit) = volume.empty_dir.as_ref().and_then(|empty| empty.size_limit.as_ref())
        && field == "emptyDir"
        && Quantity::parse(&limit.0).is_ok_and(|limit| limit.is_negative())
    {
        let detail = "SizeLimit field must be a valid resource quantity";
        errors.push(FieldError::forbidden(&path.child("sizeLimit"), detail));
    }
    match field {
        "hostPath" => validate_host_path(volume.host_path.as_ref(), &path, errors),
        "secret" => {
            if let Some(secret) = &volume.secret {
                required("secretName", text(&secret.secret_name), errors);
                validate_mode(secret.default_mode, &path.child("defaultMode"), errors);
                validate_items(secret.items.as_deref(), &path.child("items"), errors);
            }
        }
        "configMap" => {
            if let Some(config_map) = &volume.config_map {
                required("name", &config_map.name, errors);
                validate_mode(config_map.default_mode, &path.child("defaultMode"), errors);
                validate_items(config_map.items.as_deref(), &path.child("items"), errors);
            }
        }
        "downwardAPI" => {
            if let Some(downward) = &volume.downward_api {
                validate_mode(downward.default_mode, &path.child("defaultMode"), errors);
                validate_files(downward.items.as_deref(), &path, errors);
            }
        }
        "projected" => {
            if let Some(projected) = &volume.projected {
                validate_projected(projected, &path, errors);
            }
        }
        "persistentVolumeClaim" => {
            if let Some(claim) = &volume.persistent_volume_claim {
                required("claimName", &claim.claim_name, errors);
            }
        }
        "nfs" => {
            if let Some(nfs) = &volume.nfs {
                required("server", &nfs.server, errors);
                required("path", &nfs.path, errors);
                if !nfs.path.starts_with('/') {
                    let path = path.child("path");
                    errors.push(FieldError::invalid(&path, &nfs.path, "must be an absolute path"));
                }
            }
        }
        "ephemeral" => {
            if volume.ephemeral.as_ref().is_some_and(|source| source.volume_claim_template.is_none()) {
                errors.push(FieldError::required(&path.child("volumeClaimTemplate"), ""));
            }
            if !pod_name.is_empty() && !volume.name.is_empty() {
                let claim = format!("{pod_name}-{}", volume.name);
                let name = path.parent().unwrap_or_default().child("name");
                let wrong = names::dns_subdomain(&claim).into_iter();
                let wrong = wrong.map(|text| format!("PVC name {}: {text}", super::error::quote(&claim)));
                errors.extend(wrong.map(|text| FieldError::invalid(&name, &volume.name, text)));
            }
        }
        "image" => {
            if let Some(image) = &volume.image {
                required("reference", text(&image.reference), errors);
                super::container::validate_pull_policy(text(&image.pull_policy), &path.child("pullPolicy"), errors);
            }
        }
        // The other sources need a cluster or a cloud and are refused before they are used.
        _ => {}
    }
}

fn validate_host_path(host_path: Option<&HostPathVolumeSource>, path: &FieldPath, errors: &mut Errors) {
    let Some(host_path) = host_path else { return };
    if host_path.path.is_empty() {
        return errors.push(FieldError::required(&path.child("path"), ""));
    }
    validate_no_backsteps(&host_path.path, &path.child("path"), errors);
    const TYPES: [&str; 8] = ["", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket"];
    let kind = text(&host_path.type_);
    if !TYPES.contains(&kind) {
        errors.push(FieldError::not_supported(&path.child("type"), kind, &TYPES));
    }
}

fn validate_mode(mode: Option<i32>, path: &FieldPath, errors: &mut Errors) {
    if let Some(mode) = mode.filter(|mode| !(0..=0o777).contains(mode)) {
        errors.push(FieldError::invalid(path, mode, FILE_MODE));
    }
}

fn validate_items(items: Option<&[KeyToPath]>, path: &FieldPath, errors: &mut Errors) {
    for (index, item) in items.into_iter().flatten().enumerate() {
        let path = path.index(index);
        if item.key.is_empty() {
            errors.push(FieldError::required(&path.child("key"), ""));
        }
        if item.path.is_empty() {
            errors.push(FieldError::required(&path.child("path"), ""));
        }
        validate_local_path(&item.path, &path.child("path"), errors);
        validate_mode(item.mode, &path.child("mode"), errors);
    }
}

/// Checks files made from the Pod itself. The reference leaves the number of the file out of its paths.
fn validate_files(files: Option<&[DownwardAPIVolumeFile]>, path: &FieldPath, errors: &mut Errors) {
    for (index, file) in files.into_iter().flatten().enumerate() {
        let exact = path.child("items").index(index);
        let mut wrong = Vec::new();
        validate_file(file, path, &mut wrong);
        errors.extend(wrong.into_iter().map(|error| {
            let below = &error.path.segments()[path.segments().len()..];
            let exact = below.iter().fold(exact.clone(), |path, segment| path.with(segment.clone()));
            error.exactly(exact)
        }));
    }
}

fn validate_file(file: &DownwardAPIVolumeFile, path: &FieldPath, errors: &mut Errors) {
    if file.path.is_empty() {
        errors.push(FieldError::required(&path.child("path"), ""));
    }
    validate_local_path(&file.path, &path.child("path"), errors);
    match (&file.field_ref, &file.resource_field_ref) {
        (Some(field), resource) => {
            validate_field_ref(field, &FILE_FIELDS, &path.child("fieldRef"), errors);
            if resource.is_some() {
                let detail = "fieldRef and resourceFieldRef can not be specified simultaneously";
                errors.push(FieldError::invalid(path, "resource", detail));
            }
        }
        (None, Some(resource)) => {
            validate_resource_ref(resource, Holder::File, &path.child("resourceFieldRef"), errors);
        }
        (None, None) => errors.push(FieldError::required(path, "one of fieldRef and resourceFieldRef is required")),
    }
    validate_mode(file.mode, &path.child("mode"), errors);
}

fn validate_projected(projected: &ProjectedVolumeSource, path: &FieldPath, errors: &mut Errors) {
    validate_mode(projected.default_mode, &path.child("defaultMode"), errors);
    let mut paths = BTreeSet::new();
    for (index, source) in projected.sources.iter().flatten().enumerate() {
        let here = path.child("sources").index(index);
        validate_projection(source, path, &here, &mut paths, errors);
    }
}

fn validate_projection<'a>(
    source: &'a VolumeProjection,
    volume: &FieldPath,
    path: &FieldPath,
    paths: &mut BTreeSet<&'a str>,
    errors: &mut Errors,
) {
    let mut kinds = 0;
    let mut claim = |file: &'a str, shown: &str, errors: &mut Errors| {
        if !file.is_empty() && !paths.insert(file) {
            errors.push(FieldError::invalid(volume, shown, "conflicting duplicate paths").exactly(path.clone()));
        }
    };
    let secret = source.secret.as_ref().map(|secret| ("secret", &secret.name, &secret.items));
    let config_map = source.config_map.as_ref().map(|map| ("configMap", &map.name, &map.items));
    for (field, name, items) in [secret, config_map].into_iter().flatten() {
        kinds += 1;
        let path = path.child(field);
        if name.is_empty() {
            errors.push(FieldError::required(&path.child("name"), ""));
        }
        validate_items(items.as_deref(), &path.child("items"), errors);
        for item in items.iter().flatten() {
            claim(&item.path, name, errors);
        }
    }
    if let Some(downward) = &source.downward_api {
        kinds += 1;
        validate_files(downward.items.as_deref(), &path.child("downwardAPI"), errors);
        for file in downward.items.iter().flatten() {
            claim(&file.path, &file.path, errors);
        }
    }
    if let Some(token) = &source.service_account_token {
        kinds += 1;
        validate_token(token, volume, &path.child("serviceAccountToken"), errors);
    }
    kinds += usize::from(source.cluster_trust_bundle.is_some()) + usize::from(source.pod_certificate.is_some());
    if kinds > 1 {
        errors.push(FieldError::forbidden(path, "may not specify more than 1 volume type per source"));
    }
}

fn validate_token(token: &ServiceAccountTokenProjection, volume: &FieldPath, path: &FieldPath, errors: &mut Errors) {
    let seconds = token.expiration_seconds.unwrap_or_default();
    let field = path.child("expirationSeconds");
    if seconds < 10 * 60 {
        errors.push(FieldError::invalid(&field, seconds, "may not specify a duration less than 10 minutes"));
    }
    if seconds > 1 << 32 {
        errors.push(FieldError::invalid(&field, seconds, "may not specify a duration larger than 2^32 seconds"));
    }
    // The reference names the volume here.
    let (shown, exact) = (volume.child("path"), path.child("path"));
    let mut wrong = Vec::new();
    match token.path.as_str() {
        "" => wrong.push(FieldError::required(&shown, "")),
        file => validate_local_path(file, &shown, &mut wrong),
    }
    errors.extend(wrong.into_iter().map(|error| error.exactly(exact.clone())));
}

/// A path below a directory that does not leave it, nor begin like a reserved name.
pub(super) fn validate_local_path(file: &str, path: &FieldPath, errors: &mut Errors) {
    validate_descending_path(file, path, errors);
    if file.starts_with("..") && !file.starts_with("../") {
        errors.push(FieldError::invalid(path, file, "must not start with '..'"));
    }
}

/// A path below a directory that does not leave it.
pub(super) fn validate_descending_path(file: &str, path: &FieldPath, errors: &mut Errors) {
    if file.starts_with('/') {
        errors.push(FieldError::invalid(path, file, "must be a relative path"));
    }
    validate_no_backsteps(file, path, errors);
}

fn validate_no_backsteps(file: &str, path: &FieldPath, errors: &mut Errors) {
    if file.split('/').any(|part| part == "..") {
        errors.push(FieldError::invalid(path, file, "must not contain '..'"));
    }
}
