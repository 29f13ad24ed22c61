//! Rules of security contexts: ids, seccomp, AppArmor, kernel parameters.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{AppArmorProfile, PodSecurityContext, PodSpec, SeccompProfile, SecurityContext};
use serde_json::{Value, json};

use super::error::{BadValue, FieldError};
use super::volume::validate_descending_path;
use super::{Errors, names};
use crate::path::FieldPath;

/// The longest path of an AppArmor profile: the longest path of the system without its end.
const PROFILE_BYTES_MAX: usize = 4095;

const PROFILE_TYPES: [&str; 3] = ["Localhost", "RuntimeDefault", "Unconfined"];

/// Checks the security context of a container.
pub(super) fn validate_container(security: Option<&SecurityContext>, host_users: bool, path: &FieldPath, errors: &mut Errors) {
    let Some(security) = security else { return };
    validate_id(security.run_as_user, &path.child("runAsUser"), errors);
    validate_id(security.run_as_group, &path.child("runAsGroup"), errors);
    if let Some(mount) = &security.proc_mount {
        let path = path.child("procMount");
        if !matches!(mount.as_str(), "Default" | "Unmasked") {
            errors.push(FieldError::not_supported(&path, mount, &["Default", "Unmasked"]));
        }
        if host_users && mount == "Unmasked" {
            errors.push(FieldError::invalid(&path, mount, "`hostUsers` must be false to use `Unmasked`"));
        }
    }
    validate_seccomp(security.seccomp_profile.as_ref(), &path.child("seccompProfile"), errors);
    if security.allow_privilege_escalation == Some(false) {
        validate_no_escalation(security, path, errors);
    }
    validate_app_armor(security.app_armor_profile.as_ref(), &path.child("appArmorProfile"), errors);
}

fn validate_no_escalation(security: &SecurityContext, path: &FieldPath, errors: &mut Errors) {
    let exact = path.child("allowPrivilegeEscalation");
    let mut complain = |detail: &str| {
        errors.push(FieldError::invalid(path, shown(security), detail).exactly(exact.clone()));
    };
    if security.privileged == Some(true) {
        complain("cannot set `allowPrivilegeEscalation` to false and `privileged` to true");
    }
    let added = security.capabilities.iter().flat_map(|capabilities| capabilities.add.iter().flatten());
    for _ in added.filter(|capability| *capability == "CAP_SYS_ADMIN") {
        complain("cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN");
    }
}

/// A security context as the reference shows it: its own field names, in its own order.
fn shown(security: &SecurityContext) -> BadValue {
    let part = |name: &str, value: Value| format!("\"{name}\":{value}");
    let options = |fields: Vec<String>| format!("{{{}}}", fields.join(","));
    let nested = |name: &str, fields: Option<Vec<String>>| match fields {
        Some(fields) => format!("\"{name}\":{}", options(fields)),
        None => format!("\"{name}\":null"),
    };
    let capabilities = security.capabilities.as_ref();
    let capabilities = capabilities.map(|capabilities| vec![part("Add", json!(capabilities.add)), part("Drop", json!(capabilities.drop))]);
    let se_linux = security.se_linux_options.as_ref().map(|options| {
        let text = |text: &Option<String>| json!(text.as_deref().unwrap_or_default());
        vec![
            part("User", text(&options.user)),
            part("Role", text(&options.role)),
            part("Type", text(&options.type_)),
            part("Level", text(&options.level)),
        ]
    });
    let profile = |kind: &str, localhost: &Option<String>| vec![part("Type", json!(kind)), part("LocalhostProfile", json!(localhost))];
    let seccomp = security.seccomp_profile.as_ref().map(|own| profile(&own.type_, &own.localhost_profile));
    let app_armor = security.app_armor_profile.as_ref().map(|own| profile(&own.type_, &own.localhost_profile));
    BadValue::Raw(options(vec![
        nested("Capabilities", capabilities),
        part("Privileged", json!(security.privileged)),
        nested("SELinuxOptions", se_linux),
        part("WindowsOptions", Value::Null),
        part("RunAsUser", json!(security.run_as_user)),
        part("RunAsGroup", json!(security.run_as_group)),
        part("RunAsNonRoot", json!(security.run_as_non_root)),
        part("ReadOnlyRootFilesystem", json!(security.read_only_root_filesystem)),
        part("AllowPrivilegeEscalation", json!(security.allow_privilege_escalation)),
        part("ProcMount", json!(security.proc_mount)),
        nested("SeccompProfile", seccomp),
        nested("AppArmorProfile", app_armor),
    ]))
}

/// Checks the security context of a Pod.
pub(super) fn validate_pod(spec: &PodSpec, path: &FieldPath, errors: &mut Errors) {
    let empty = PodSecurityContext::default();
    let security = spec.security_context.as_ref().unwrap_or(&empty);
    validate_id(security.fs_group, &path.child("fsGroup"), errors);
    validate_id(security.run_as_user, &path.child("runAsUser"), errors);
    validate_id(security.run_as_group, &path.child("runAsGroup"), errors);
    for (index, group) in security.supplemental_groups.iter().flatten().enumerate() {
        validate_id(Some(*group), &path.child("supplementalGroups").index(index), errors);
    }
    if spec.share_process_namespace == Some(true) && spec.host_pid == Some(true) {
        let exact = path.parent().unwrap_or_default().child("shareProcessNamespace");
        let detail = "ShareProcessNamespace and HostPID cannot both be enabled";
        errors.push(FieldError::invalid(&path.child("shareProcessNamespace"), true, detail).exactly(exact));
    }
    validate_sysctls(spec, security, &path.child("sysctls"), errors);
    let choices = [
        ("fsGroupChangePolicy", &security.fs_group_change_policy, ["Always", "OnRootMismatch"]),
        ("supplementalGroupsPolicy", &security.supplemental_groups_policy, ["Merge", "Strict"]),
        ("seLinuxChangePolicy", &security.se_linux_change_policy, ["MountOption", "Recursive"]),
    ];
    let mut choices = choices.into_iter();
    if let Some((field, value, allowed)) = choices.next() {
        validate_choice(value.as_deref(), &allowed, &path.child(field), errors);
    }
    validate_seccomp(security.seccomp_profile.as_ref(), &path.child("seccompProfile"), errors);
    validate_app_armor(security.app_armor_profile.as_ref(), &path.child("appArmorProfile"), errors);
    for (field, value, allowed) in choices {
        validate_choice(value.as_deref(), &allowed, &path.child(field), errors);
    }
}

fn validate_choice(value: Option<&str>, allowed: &[&str], path: &FieldPath, errors: &mut Errors) {
    if let Some(value) = value.filter(|value| !allowed.contains(value)) {
        errors.push(FieldError::not_supported(path, value, allowed));
    }
}

fn validate_id(id: Option<i64>, path: &FieldPath, errors: &mut Errors) {
    if let Some(id) = id {
        errors.extend(names::user_or_group_id(id).into_iter().map(|text| FieldError::invalid(path, id, text)));
    }
}

fn validate_sysctls(spec: &PodSpec, security: &PodSecurityContext, path: &FieldPath, errors: &mut Errors) {
    const FORMAT: &str = r"^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$";
    let mut seen = BTreeSet::new();
    for (index, sysctl) in security.sysctls.iter().flatten().enumerate() {
        let path = path.index(index).child("name");
        let name = sysctl.name.as_str();
        if name.is_empty() {
            errors.push(FieldError::required(&path, ""));
        } else if !names::is_sysctl_name(name) {
            let max = names::DNS_SUBDOMAIN_BYTES_MAX;
            let detail = format!("must have at most {max} characters and match regex {FORMAT}");
            errors.push(FieldError::invalid(&path, name, detail));
        } else if seen.contains(name) {
            errors.push(FieldError::duplicate(&path, name));
        }
        match crate::sysctls::namespace(name) {
            Some("net") if spec.host_network == Some(true) => {
                errors.push(FieldError::invalid(&path, name, "may not be specified when 'hostNetwork' is true"));
            }
            Some("ipc") if spec.host_ipc == Some(true) => {
                errors.push(FieldError::invalid(&path, name, "may not be specified when 'hostIPC' is true"));
            }
            _ => {}
        }
        seen.insert(name);
    }
}

fn validate_seccomp(profile: Option<&SeccompProfile>, path: &FieldPath, errors: &mut Errors) {
    let Some(profile) = profile else { return };
    let localhost = path.child("localhostProfile");
    match profile.type_.as_str() {
        "" => {
            let detail = "type is required when seccompProfile is set";
            errors.push(FieldError::required(&path.child("type"), detail));
        }
        kind if !PROFILE_TYPES.contains(&kind) => {
            errors.push(FieldError::not_supported(&path.child("type"), kind, &PROFILE_TYPES));
        }
        _ => {}
    }
    match (profile.type_.as_str(), &profile.localhost_profile) {
        ("Localhost", None) => {
            errors.push(FieldError::required(&localhost, "must be set when seccomp type is Localhost"));
        }
        ("Localhost", Some(file)) => validate_descending_path(file, &localhost, errors),
        (kind, Some(file)) => {
            let value = format!("{{\"Type\":{},\"LocalhostProfile\":{}}}", json!(kind), json!(file));
            let detail = "can only be set when seccomp type is Localhost";
            errors.push(FieldError::invalid(&localhost, BadValue::Raw(value), detail));
        }
        (_, None) => {}
    }
}

fn validate_app_armor(profile: Option<&AppArmorProfile>, path: &FieldPath, errors: &mut Errors) {
    let Some(profile) = profile else { return };
    let localhost = path.child("localhostProfile");
    match (profile.type_.as_str(), profile.localhost_profile.as_deref()) {
        ("Localhost", file) => match file {
            Some(file) if file.trim() != file => {
                errors.push(FieldError::invalid(&localhost, file, "must not be padded with whitespace"));
            }
            None | Some("") => {
                errors.push(FieldError::required(&localhost, "must be set when AppArmor type is Localhost"));
            }
            Some(file) if file.len() > PROFILE_BYTES_MAX => {
                errors.push(FieldError::too_long(&localhost, PROFILE_BYTES_MAX));
            }
            Some(_) => {}
        },
        ("RuntimeDefault" | "Unconfined", Some(file)) => {
            errors.push(FieldError::invalid(&localhost, file, "can only be set when AppArmor type is Localhost"));
        }
        ("RuntimeDefault" | "Unconfined", None) => {}
        ("", _) => {
            let detail = "type is required when appArmorProfile is set";
            errors.push(FieldError::required(&path.child("type"), detail));
        }
        (other, _) => errors.push(FieldError::not_supported(&path.child("type"), other, &PROFILE_TYPES)),
    }
}
