//! Which instance of a container is meant by its log, as the kubelet chooses it, and why there may be none.
//!
//! One difference: while a container's `postStart` hook runs, its status says that it waits, but it may have printed something already.
//! That is given out; the kubelet says that the container is being created.

use k8s_openapi::api::core::v1::{ContainerState, ContainerStateTerminated, ContainerStatus, PodStatus};

/// Which log of a container is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// That of the instance that runs, or ran last.
    Present,
    /// That of the instance that ended last.
    Previous,
}

/// What a status says about the log of a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice {
    /// It is that of this instance.
    Instance(u32),
    /// It is that of this instance, if it has printed anything; otherwise, it is as the second says.
    IfThere(u32, Box<Self>),
    /// There is none, and why.
    Nothing(String),
}

/// The status of a container of the pod, whatever kind it is.
pub fn status_of<'s>(status: &'s PodStatus, container: &str) -> Option<&'s ContainerStatus> {
    let all = [&status.container_statuses, &status.init_container_statuses, &status.ephemeral_container_statuses];
    all.into_iter().flatten().flatten().find(|status| status.name == container)
}

/// Chooses the instance.
pub fn choose(status: &PodStatus, pod: &str, container: &str, wanted: Wanted) -> Choice {
    let nothing = |what: String| Choice::Nothing(format!("container \"{container}\" in pod \"{pod}\" is {what}"));
    let Some(status) = status_of(status, container) else { return nothing("not available".to_owned()) };
    let newest = u32::try_from(status.restart_count).unwrap_or_default();
    let last = status.last_state.as_ref().and_then(|state| state.terminated.as_ref());
    let last = last.filter(|last| last.container_id.is_some());
    // While a container waits for its next start, its last instance is its newest.
    let instance_of =
        |last: &ContainerStateTerminated| if last.container_id == status.container_id { newest } else { newest.saturating_sub(1) };
    if wanted == Wanted::Previous {
        return last.map_or_else(
            || Choice::Nothing(format!("previous terminated container \"{container}\" in pod \"{pod}\" not found")),
            |last| Choice::Instance(instance_of(last)),
        );
    }
    let state = status.state.clone().unwrap_or_default();
    let ended = |last: Option<&ContainerStateTerminated>| {
        last.map_or_else(|| nothing("terminated".to_owned()), |last| Choice::Instance(instance_of(last)))
    };
    match &state {
        ContainerState { running: Some(_), .. } => Choice::Instance(newest),
        ContainerState { terminated: Some(terminated), .. } if terminated.container_id.is_some() => Choice::Instance(newest),
        ContainerState { terminated: Some(_), .. } => ended(last),
        ContainerState { waiting, .. } => {
            let next = match (&status.container_id, last) {
                (None, _) => 0,
                (Some(_), Some(last)) if last.container_id == status.container_id => newest + 1,
                (Some(_), _) => newest,
            };
            let otherwise = match (last, waiting.as_ref().and_then(|waiting| waiting.reason.as_deref()).unwrap_or("ContainerCreating")) {
                (Some(_), _) => ended(last),
                (None, "ErrImagePull") => nothing("waiting to start: image can't be pulled".to_owned()),
                (None, "ImagePullBackOff") => nothing("waiting to start: trying and failing to pull image".to_owned()),
                (None, reason) => nothing(format!("waiting to start: {reason}")),
            };
            Choice::IfThere(next, Box::new(otherwise))
        }
    }
}

/// Whether nothing more comes from this instance of the container. An instance of which the status does not know yet is being started.
pub fn has_ended(status: &PodStatus, container: &str, instance: u32) -> bool {
    let Some(status) = status_of(status, container) else { return true };
    let newest = u32::try_from(status.restart_count).unwrap_or_default();
    let last = status.last_state.as_ref().and_then(|state| state.terminated.as_ref());
    let newest_has_ended = status.state.as_ref().is_some_and(|state| state.terminated.is_some())
        || last.is_some_and(|last| last.container_id.is_some() && last.container_id == status.container_id);
    newest > instance || newest == instance && newest_has_ended
}

#[cfg(test)]
mod tests;
