//! The pods of this machine as a list, whoever runs them.

use std::io;
use std::sync::Arc;

use super::errors::chain;
use super::link::is_shim_alive;
use super::pod_folder::PodFolder;
use super::{Inner, blocking, containers};
use crate::ContainerRecord;

/// A pod that has, or had, a sandbox.
#[derive(Clone, Debug, PartialEq)]
pub struct PodRecord {
    /// `metadata.uid`.
    pub uid: String,
    /// `metadata.name`.
    pub name: String,
    /// `metadata.namespace`.
    pub namespace: String,
    /// Its shim lives.
    pub alive: bool,
    /// Its addresses, the main one first.
    pub ips: Vec<std::net::IpAddr>,
    /// Its containers, oldest first.
    pub containers: Vec<ContainerRecord>,
}

pub(crate) async fn pods(runtime: &Arc<Inner>) -> io::Result<Vec<PodRecord>> {
    let root = runtime.config.root.clone();
    let folders = blocking(move || PodFolder::all(&root)).await?;
    let mut pods = Vec::new();
    for folder in folders {
        pods.extend(pod(runtime, folder).await);
    }
    pods.sort_by(|a, b| (&a.namespace, &a.name, &a.uid).cmp(&(&b.namespace, &b.name, &b.uid)));
    Ok(pods)
}

async fn pod(runtime: &Arc<Inner>, folder: PodFolder) -> Option<PodRecord> {
    let of = folder.clone();
    let found = blocking(move || {
        let Some(record) = of.sandbox()? else { return Ok(None) };
        let alive = record.is_ready && is_shim_alive(&of.shim_dir(record.shim)).unwrap_or(false);
        Ok::<_, shim::records::ReadRecordError>(Some((record, alive)))
    });
    let (record, alive) = match found.await {
        Ok(found) => found?,
        Err(error) => {
            tracing::warn!(pod = folder.uid(), error = chain(&error), "the record of a pod cannot be read");
            return None;
        }
    };
    let pod = runtime.pods.get(folder);
    let containers = containers::list(runtime, &pod).await.unwrap_or_else(|error| {
        tracing::warn!(pod = pod.uid(), error = chain(&error), "the containers of a pod cannot be listed");
        Vec::new()
    });
    let config = record.config;
    Some(PodRecord { uid: config.uid, name: config.name, namespace: config.namespace, alive, ips: record.ips, containers })
}
