//! The pods that this process knows, and the lines to their shims.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use shim::records::ContainerExit;
use tokio::sync::Mutex as AsyncMutex;

use super::errors::ReachError;
use super::link::{ConnectError, Link};
use super::pod_folder::{PodFolder, SandboxRecord};
use super::{Inner, blocking, sandbox};

/// One pod, as long as anybody speaks of it.
#[derive(Debug)]
pub(crate) struct Pod {
    pub(crate) folder: PodFolder,
    /// Held while something about the pod is made or removed, so that two such works do not meet.
    pub(crate) work: AsyncMutex<()>,
    link: AsyncMutex<Option<Link>>,
}

/// The pods by uid.
#[derive(Debug, Default)]
pub(crate) struct Pods {
    all: Mutex<BTreeMap<String, Arc<Pod>>>,
}

impl Pods {
    /// The pod of this folder.
    pub(crate) fn get(&self, folder: PodFolder) -> Arc<Pod> {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || Arc::new(Pod { folder: folder.clone(), work: AsyncMutex::default(), link: AsyncMutex::default() });
        Arc::clone(all.entry(folder.uid().to_owned()).or_insert_with(new))
    }

    /// Forgets a pod that was removed.
    pub(crate) fn forget(&self, uid: &str) {
        self.all.lock().unwrap_or_else(PoisonError::into_inner).remove(uid);
    }
}

impl Pod {
    pub(crate) fn uid(&self) -> &str {
        self.folder.uid()
    }

    /// The record of what was made for the pod.
    pub(crate) async fn sandbox(&self) -> Result<SandboxRecord, ReachError> {
        let folder = self.folder.clone();
        blocking(move || folder.sandbox()).await?.ok_or(ReachError::NoSandbox)
    }

    /// The line to the pod's shim, made anew if this process has none.
    pub(crate) async fn link(self: &Arc<Self>, runtime: &Arc<Inner>) -> Result<Link, ReachError> {
        let mut held = self.link.lock().await;
        if let Some(link) = held.as_ref().filter(|link| !link.is_closed()) {
            return Ok(link.clone());
        }
        let record = self.sandbox().await?;
        let dir = self.folder.shim_dir(record.shim);
        if !record.is_ready {
            return Err(ReachError::Gone);
        }
        // The line must not keep the runtime alive that holds it.
        let (runtime, pod) = (Arc::downgrade(runtime), Arc::downgrade(self));
        let on_lost = move || -> std::pin::Pin<Box<dyn Future<Output = Vec<ContainerExit>> + Send>> {
            Box::pin(async move {
                match (runtime.upgrade(), pod.upgrade()) {
                    (Some(runtime), Some(pod)) => sandbox::release_lost(&runtime, &pod, &record).await,
                    (None, _) | (_, None) => Vec::new(),
                }
            })
        };
        let opened = Link::open(&dir, Box::new(on_lost)).await;
        let link = opened.map_err(|error| if matches!(error, ConnectError::Dead) { ReachError::Gone } else { error.into() })?;
        *held = Some(link.clone());
        Ok(link)
    }

    /// Lets go of the line.
    pub(crate) async fn drop_link(&self) {
        *self.link.lock().await = None;
    }
}
