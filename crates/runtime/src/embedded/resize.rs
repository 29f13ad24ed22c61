//! Other limits for what runs: the files of its control groups are written by the engine, the shim has no part in it.
//!
//! Not the order in which groups are raised and lowered: that is the caller's.

use shim::cgroup::{Cgroup, CgroupError, CgroupPath};
use shim::protocol::ContainerId;

use super::pods::Pod;
use super::spec::linux_resources;
use super::{StepError, blocking};
use crate::{Cause, LinuxResources, UpdateResourcesError};

/// Writes the limits of the pod's group, or of one container's.
pub(crate) async fn update(pod: &Pod, container: Option<&ContainerId>, resources: &LinuxResources) -> Result<(), UpdateResourcesError> {
    let object = container.map_or_else(|| pod.uid().to_owned(), ToString::to_string);
    let sandbox = pod.sandbox().await.map_err(|error| failed(&object, StepError::from(error).into()))?;
    let path = container.map_or_else(|| sandbox.cgroup.clone(), |id| format!("{}/{id}", sandbox.cgroup));
    let mut limits = linux_resources(resources);
    if let Some(mut memory) = *limits.memory() {
        memory.set_check_before_update(Some(true));
        limits.set_memory(Some(memory));
    }
    let written = blocking(move || {
        let cgroup = Cgroup::open(&CgroupPath::new(path)?)?;
        cgroup.update(&limits)?;
        Ok::<_, Cause>(())
    });
    written.await.map_err(|error| match error.downcast_ref::<CgroupError>() {
        Some(CgroupError::LimitBelowUsage { limit_bytes, usage_bytes }) => {
            UpdateResourcesError::BelowUsage { limit_bytes: *limit_bytes, usage_bytes: *usage_bytes }
        }
        Some(_) | None => failed(&object, error),
    })
}

pub(crate) fn failed(object: &str, source: Cause) -> UpdateResourcesError {
    UpdateResourcesError::Failed { object: object.to_owned(), source }
}
