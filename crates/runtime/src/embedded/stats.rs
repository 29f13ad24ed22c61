//! What a pod uses, as its control groups count it.

use std::sync::Arc;

use shim::cgroup::{Cgroup, CgroupPath, CgroupStats};

use super::errors::{ReachError, StepError};
use super::pods::Pod;
use super::{Inner, blocking, containers};
use crate::{ContainerStats, PodStats};

/// The folder of a container's own files, beside its record; see `pod_folder`.
const WRITABLE_LAYER: &str = "upper";

/// What the pod uses now. A container that comes or goes meanwhile may be missing.
pub(crate) async fn of(runtime: &Arc<Inner>, pod: &Arc<Pod>) -> Result<PodStats, StepError> {
    let record = match pod.sandbox().await {
        Ok(record) => record,
        Err(ReachError::NoSandbox) => return Ok(PodStats::default()),
        Err(error) => return Err(error.into()),
    };
    let known = containers::list(runtime, pod).await?;
    let folder = pod.folder.clone();
    blocking(move || {
        let whole = stats(&record.cgroup)?;
        let mut counted = Vec::new();
        for container in known {
            let Ok(id) = container.id.parse() else { continue };
            let own = if container.exit.is_none() { stats(&format!("{}/{id}", record.cgroup))? } else { CgroupStats::default() };
            let writable_layer = folder.container_dir(&id).join(WRITABLE_LAYER);
            counted.push(ContainerStats {
                id: container.id,
                name: container.name,
                cpu_usage_nanos: own.cpu_usage_nanos,
                memory_usage_bytes: own.memory_usage_bytes,
                memory_working_set_bytes: own.memory_working_set_bytes,
                writable_layer,
            });
        }
        let (memory_usage_bytes, memory_working_set_bytes) = (whole.memory_usage_bytes, whole.memory_working_set_bytes);
        Ok(PodStats { memory_usage_bytes, memory_working_set_bytes, processes: whole.pids, containers: counted })
    })
    .await
}

fn stats(cgroup: &str) -> Result<CgroupStats, StepError> {
    let path = CgroupPath::new(cgroup).map_err(StepError::part("use a cgroup"))?;
    let read = Cgroup::open(&path).and_then(|cgroup| cgroup.stats());
    read.map_err(StepError::part("read what a cgroup uses"))
}
