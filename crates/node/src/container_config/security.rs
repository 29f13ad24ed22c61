//! The rights of a container: its own security context over the pod's.

use std::path::Path;

use k8s_openapi::api::core::v1::{AppArmorProfile as V1AppArmorProfile, Container, Pod, SeccompProfile as V1SeccompProfile};
use runtime::{AppArmorProfile, ImageStatus, SeccompProfile, SecurityContext};

/// A container's rights cannot be as its pod wants them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecurityError {
    /// `runAsNonRoot` and `runAsUser: 0`.
    #[error("container's runAsUser breaks non-root policy (pod: {pod:?}, container: {container})")]
    UserIsRoot {
        /// `name_namespace(uid)`.
        pod: String,
        /// Its name.
        container: String,
    },
    /// `runAsNonRoot` and an image of root's.
    #[error("container has runAsNonRoot and image will run as root (pod: {pod:?}, container: {container})")]
    ImageIsRoot {
        /// `name_namespace(uid)`.
        pod: String,
        /// Its name.
        container: String,
    },
    /// `runAsNonRoot` and a user of whom only the image knows who it is.
    #[error(
        "container has runAsNonRoot and image has non-numeric user ({user}), cannot verify user is non-root (pod: {pod:?}, container: {container})"
    )]
    ImageUserHasNoNumber {
        /// The image's user.
        user: String,
        /// `name_namespace(uid)`.
        pod: String,
        /// Its name.
        container: String,
    },
    /// A user or group id that does not exist.
    #[error("{field} of container {container} is not a user or group id: {id}")]
    Id {
        /// The field.
        field: &'static str,
        /// The container's name.
        container: String,
        /// The number.
        id: i64,
    },
    /// A value that this engine does not have.
    #[error("{field}: {value:?} of container {container} is not supported")]
    Unsupported {
        /// The field.
        field: &'static str,
        /// Its value.
        value: String,
        /// The container's name.
        container: String,
    },
}

/// The rights of the container; `seccomp_root` is where profiles of type `Localhost` are.
pub(super) fn security_context(
    pod: &Pod,
    container: &Container,
    image: &ImageStatus,
    seccomp_root: &Path,
) -> Result<SecurityContext, SecurityError> {
    let pod_wide = pod.spec.as_ref().and_then(|spec| spec.security_context.clone()).unwrap_or_default();
    let own = container.security_context.clone().unwrap_or_default();
    let id =
        |field: &'static str, id: i64| u32::try_from(id).map_err(|_| SecurityError::Id { field, container: container.name.clone(), id });
    let run_as_user = own.run_as_user.or(pod_wide.run_as_user).map(|user| id("runAsUser", user)).transpose()?;
    let run_as_non_root = own.run_as_non_root.or(pod_wide.run_as_non_root).unwrap_or(false);
    if run_as_non_root {
        check_non_root(pod, container, run_as_user, &image.user)?;
    }
    let groups = pod_wide.fs_group.into_iter().chain(pod_wide.supplemental_groups.into_iter().flatten());
    let privileged = own.privileged.unwrap_or(false);
    let app_armor = own.app_armor_profile.as_ref().or(pod_wide.app_armor_profile.as_ref());
    let app_armor = app_armor_profile(app_armor, container)?;
    let capabilities = own.capabilities.unwrap_or_default();
    let seccomp = own.seccomp_profile.as_ref().or(pod_wide.seccomp_profile.as_ref());
    Ok(SecurityContext {
        run_as_user,
        run_as_group: own.run_as_group.or(pod_wide.run_as_group).map(|group| id("runAsGroup", group)).transpose()?,
        run_as_non_root,
        supplemental_groups: groups.map(|group| id("supplementalGroups", group)).collect::<Result<_, _>>()?,
        strict_supplemental_groups: pod_wide.supplemental_groups_policy.as_deref() == Some("Strict"),
        privileged,
        add_capabilities: capabilities.add.unwrap_or_default(),
        drop_capabilities: capabilities.drop.unwrap_or_default(),
        readonly_rootfs: own.read_only_root_filesystem.unwrap_or(false),
        no_new_privs: own.allow_privilege_escalation == Some(false),
        seccomp: if privileged { SeccompProfile::Unconfined } else { seccomp_profile(seccomp, seccomp_root, container)? },
        unmasked_proc: own.proc_mount.as_deref() == Some("Unmasked"),
        app_armor,
    })
}

fn check_non_root(pod: &Pod, container: &Container, user: Option<u32>, image_user: &str) -> Result<(), SecurityError> {
    let metadata = &pod.metadata;
    let part = |text: &Option<String>| text.clone().unwrap_or_default();
    let full = format!("{}_{}({})", part(&metadata.name), part(&metadata.namespace), part(&metadata.uid));
    let container = container.name.clone();
    match (user, image_user.split(':').next().unwrap_or_default()) {
        (Some(0), _) => Err(SecurityError::UserIsRoot { pod: full, container }),
        (Some(_), _) => Ok(()),
        (None, "") => Err(SecurityError::ImageIsRoot { pod: full, container }),
        (None, name) => match name.parse::<i64>() {
            Ok(0) => Err(SecurityError::ImageIsRoot { pod: full, container }),
            Ok(_) => Ok(()),
            Err(_) => Err(SecurityError::ImageUserHasNoNumber { user: name.to_owned(), pod: full, container }),
        },
    }
}

fn seccomp_profile(profile: Option<&V1SeccompProfile>, root: &Path, container: &Container) -> Result<SeccompProfile, SecurityError> {
    let Some(profile) = profile else { return Ok(SeccompProfile::default()) };
    match (profile.type_.as_str(), &profile.localhost_profile) {
        ("RuntimeDefault", _) => Ok(SeccompProfile::RuntimeDefault),
        ("Unconfined", _) => Ok(SeccompProfile::Unconfined),
        ("Localhost", Some(name)) if is_inside(name) => Ok(SeccompProfile::Localhost(root.join(name))),
        (type_, name) => Err(SecurityError::Unsupported {
            field: "securityContext.seccompProfile",
            value: format!("{type_} {}", name.as_deref().unwrap_or_default()),
            container: container.name.clone(),
        }),
    }
}

fn is_inside(name: &str) -> bool {
    let path = Path::new(name);
    path.components().all(|component| matches!(component, std::path::Component::Normal(_) | std::path::Component::CurDir))
}

fn app_armor_profile(profile: Option<&V1AppArmorProfile>, container: &Container) -> Result<AppArmorProfile, SecurityError> {
    match profile.map(|profile| (profile.type_.as_str(), profile.localhost_profile.as_deref())) {
        None => Ok(AppArmorProfile::Unspecified),
        Some(("RuntimeDefault", _)) => Ok(AppArmorProfile::RuntimeDefault),
        Some(("Unconfined", _)) => Ok(AppArmorProfile::Unconfined),
        Some(("Localhost", Some(name))) if !name.trim().is_empty() => Ok(AppArmorProfile::Localhost(name.trim().to_owned())),
        Some((type_, name)) => Err(SecurityError::Unsupported {
            field: "securityContext.appArmorProfile",
            value: format!("{type_} {}", name.unwrap_or_default()).trim_end().to_owned(),
            container: container.name.clone(),
        }),
    }
}

#[cfg(test)]
mod tests;
