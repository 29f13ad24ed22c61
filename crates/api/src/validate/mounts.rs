//! Rules of what containers mount.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{Container, VolumeDevice, VolumeMount};

use super::error::FieldError;
use super::pod::PodContext;
use super::volume::validate_descending_path;
use super::{Errors, text};
use crate::path::FieldPath;

/// The volumes and paths that mounts, or devices, of a container take.
struct Taken<'a> {
    names: BTreeSet<&'a str>,
    paths: BTreeSet<&'a str>,
}

impl<'a> Taken<'a> {
    fn new(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> Self {
        let (names, paths) = pairs.unzip();
        Self { names, paths }
    }
}

/// Checks the mounts and block devices of a container.
pub(super) fn validate_mounts(container: &Container, context: &PodContext<'_>, path: &FieldPath, errors: &mut Errors) {
    let mounts = container.volume_mounts.as_deref().unwrap_or_default();
    let devices = container.volume_devices.as_deref().unwrap_or_default();
    let device_paths = Taken::new(devices.iter().map(|device| (device.name.as_str(), device.device_path.as_str())));
    let mount_paths = Taken::new(mounts.iter().map(|mount| (mount.name.as_str(), mount.mount_path.as_str())));
    let privileged = container.security_context.as_ref().and_then(|security| security.privileged) == Some(true);
    let list = path.child("volumeMounts");
    let mut taken = BTreeSet::new();
    for (index, mount) in mounts.iter().enumerate() {
        let path = list.index(index);
        validate_mount(mount, &mut taken, &device_paths, context, &path, errors);
        // From here on the reference names the list, not its item.
        let start = errors.len();
        validate_sub_paths(mount, &list, &path, errors);
        validate_propagation(mount, privileged, &list.child("mountPropagation"), errors);
        validate_recursive_read_only(mount, &list.child("recursiveReadOnly"), errors);
        for error in &mut errors[start..] {
            if error.exact.is_none()
                && let Some(field) = error.path.segments().last()
            {
                error.exact = Some(path.with(field.clone()));
            }
        }
    }
    validate_devices(devices, &mount_paths, context, &path.child("volumeDevices"), errors);
}

fn validate_mount<'a>(
    mount: &'a VolumeMount,
    taken: &mut BTreeSet<&'a str>,
    devices: &Taken<'_>,
    context: &PodContext<'_>,
    path: &FieldPath,
    errors: &mut Errors,
) {
    let (name, mount_path) = (mount.name.as_str(), mount.mount_path.as_str());
    if name.is_empty() {
        errors.push(FieldError::required(&path.child("name"), ""));
    }
    let volume = context.volumes.get(name);
    if volume.is_none() {
        errors.push(FieldError::not_found(&path.child("name"), name));
    }
    if mount_path.is_empty() {
        errors.push(FieldError::required(&path.child("mountPath"), ""));
    }
    if !taken.insert(mount_path) {
        errors.push(FieldError::invalid(&path.child("mountPath"), mount_path, "must be unique"));
    }
    if devices.names.contains(name) {
        errors.push(FieldError::invalid(&path.child("name"), name, "must not already exist in volumeDevices"));
    }
    if devices.paths.contains(mount_path) {
        let detail = "must not already exist as a path in volumeDevices";
        errors.push(FieldError::invalid(&path.child("mountPath"), mount_path, detail));
    }
    if volume.is_some_and(|volume| volume.image.is_some()) {
        for (field, value) in [("subPath", text(&mount.sub_path)), ("subPathExpr", text(&mount.sub_path_expr))] {
            if !value.is_empty() {
                errors.push(FieldError::invalid(&path.child(field), value, "not allowed in image volume sources"));
            }
        }
    }
}

fn validate_sub_paths(mount: &VolumeMount, list: &FieldPath, path: &FieldPath, errors: &mut Errors) {
    let (sub_path, expression) = (text(&mount.sub_path), text(&mount.sub_path_expr));
    if !sub_path.is_empty() {
        validate_descending_path(sub_path, &list.child("subPath"), errors);
    }
    if !expression.is_empty() {
        if !sub_path.is_empty() {
            let detail = "subPathExpr and subPath are mutually exclusive";
            errors.push(FieldError::invalid(&path.child("subPathExpr"), expression, detail));
        }
        validate_descending_path(expression, &list.child("subPathExpr"), errors);
    }
}

fn validate_propagation(mount: &VolumeMount, privileged: bool, path: &FieldPath, errors: &mut Errors) {
    let Some(propagation) = &mount.mount_propagation else {
        return;
    };
    match propagation.as_str() {
        "Bidirectional" if !privileged => {
            let detail = "Bidirectional mount propagation is available only to privileged containers";
            errors.push(FieldError::forbidden(path, detail));
        }
        "Bidirectional" | "HostToContainer" | "None" => {}
        other => {
            let supported = ["Bidirectional", "HostToContainer", "None"];
            errors.push(FieldError::not_supported(path, other, &supported));
        }
    }
}

fn validate_recursive_read_only(mount: &VolumeMount, path: &FieldPath, errors: &mut Errors) {
    match mount.recursive_read_only.as_deref() {
        None | Some("Disabled") => {}
        Some("Enabled" | "IfPossible") => {
            if mount.read_only != Some(true) {
                errors.push(FieldError::forbidden(path, "may only be specified when readOnly is true"));
            }
            if mount.mount_propagation.as_deref().is_some_and(|propagation| propagation != "None") {
                let detail = "may only be specified when mountPropagation is None or not specified";
                errors.push(FieldError::forbidden(path, detail));
            }
        }
        Some(other) => {
            errors.push(FieldError::not_supported(path, other, &["Disabled", "Enabled", "IfPossible"]));
        }
    }
}

fn validate_devices(devices: &[VolumeDevice], mounts: &Taken<'_>, context: &PodContext<'_>, path: &FieldPath, errors: &mut Errors) {
    let (mut names, mut paths) = (BTreeSet::new(), BTreeSet::new());
    for (index, device) in devices.iter().enumerate() {
        let here = path.index(index);
        let (name, device_path) = (device.name.as_str(), device.device_path.as_str());
        let invalid = |field: &'static str, value: &str, detail: &str| FieldError::invalid(&here.child(field), value, detail);
        if name.is_empty() {
            errors.push(FieldError::required(&here.child("name"), ""));
        }
        if names.contains(name) {
            errors.push(invalid("name", name, "must be unique"));
        }
        match context.volumes.get(name) {
            Some(volume) if volume.persistent_volume_claim.is_none() && volume.ephemeral.is_none() => {
                let detail = "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode";
                errors.push(invalid("name", name, detail));
            }
            Some(_) => {}
            None => errors.push(FieldError::not_found(&here.child("name"), name)),
        }
        if device_path.is_empty() {
            errors.push(FieldError::required(&here.child("devicePath"), ""));
        }
        if paths.contains(device_path) {
            errors.push(invalid("devicePath", device_path, "must be unique"));
        }
        if device_path.split('/').any(|part| part == "..") {
            errors.push(invalid("devicePath", device_path, "can not contain backsteps ('..')"));
        } else {
            paths.insert(device_path);
        }
        if mounts.names.contains(name) {
            errors.push(invalid("name", name, "must not already exist in volumeMounts"));
        }
        if mounts.paths.contains(device_path) {
            errors.push(invalid("devicePath", device_path, "must not already exist as a path in volumeMounts"));
        }
        if !name.is_empty() {
            names.insert(name);
        }
    }
}
