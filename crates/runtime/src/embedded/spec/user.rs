//! Whom a container runs as, as far as it can be said without reading the image's files.

use crate::{SecurityContext, images};

/// A user with its groups, by numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ResolvedUser {
    /// User id.
    pub(crate) uid: u32,
    /// Primary group id.
    pub(crate) gid: u32,
    /// All group ids, the primary one included.
    pub(crate) groups: Vec<u32>,
}

impl ResolvedUser {
    /// What the image's files say, and what the manifest adds. `strictSupplementalGroups` leaves out the image's groups.
    pub(crate) fn new(of_image: &images::ResolvedUser, security: &SecurityContext) -> Self {
        let gid = of_image.gid;
        let of_image_groups = if security.strict_supplemental_groups { &[] } else { of_image.additional_gids.as_slice() };
        let mut groups = Vec::new();
        for group in std::iter::once(&gid).chain(of_image_groups).chain(&security.supplemental_groups) {
            if !groups.contains(group) {
                groups.push(*group);
            }
        }
        Self { uid: of_image.uid, gid, groups }
    }
}

/// The user to be looked up in the image's files: `user` or `user:group`.
pub(crate) fn user_to_resolve(security: &SecurityContext, image: &ImageUser) -> String {
    let user = match (security.run_as_user, image) {
        (Some(id), _) => id.to_string(),
        (None, ImageUser::Id(id)) => id.to_string(),
        (None, ImageUser::Name(name)) => name.clone(),
    };
    match security.run_as_group {
        Some(group) => format!("{user}:{group}"),
        None => user,
    }
}

/// `User` of an image's configuration: its group part counts for nothing under a kubelet, because CRI has no word for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ImageUser {
    /// A number; no user at all is number 0.
    Id(u32),
    /// A name, to be looked up in the image.
    Name(String),
}

impl ImageUser {
    /// Reads the image's `User`.
    pub(crate) fn parse(user: &str) -> Self {
        let user = user.split_once(':').map_or(user, |(user, _)| user);
        match user.parse() {
            Ok(id) => Self::Id(id),
            Err(_) if user.is_empty() => Self::Id(0),
            Err(_) => Self::Name(user.to_owned()),
        }
    }
}

/// Refuses a user that `runAsNonRoot` does not allow, in the kubelet's words. `pod` is `name_namespace(uid)`.
// k8s: 2.c.6
pub(crate) fn check_non_root(security: &SecurityContext, image: &ImageUser, pod: &str, container: &str) -> Result<(), String> {
    if !security.run_as_non_root {
        return Ok(());
    }
    let place = format!("(pod: {pod:?}, container: {container})");
    match (security.run_as_user, image) {
        (Some(0), _) => Err(format!("container's runAsUser breaks non-root policy {place}")),
        (Some(_), _) => Ok(()),
        (None, ImageUser::Id(0)) => Err(format!("container has runAsNonRoot and image will run as root {place}")),
        (None, ImageUser::Id(_)) => Ok(()),
        (None, ImageUser::Name(name)) => {
            Err(format!("container has runAsNonRoot and image has non-numeric user ({name}), cannot verify user is non-root {place}"))
        }
    }
}
