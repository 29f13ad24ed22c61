//! Pods that go because of a taint of the node with the effect `NoExecute`, at once or when they have tolerated it for as long as they
//! say. In a cluster a controller does this.
//!
//! Acts; who tolerates what is decided in [`strategy`].

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use super::{DeleteOptions, Disruption, Registry};
use crate::kinds::stored;
use crate::object;
use crate::status::ApiResult;
use crate::strategy;

/// Who deletes such pods, in the reference's words.
const CONTROLLER: &str = "taint-eviction-controller";
/// When something fails, such as a disk that is full.
const TRY_AGAIN: Duration = Duration::from_secs(10);

/// Since when pods bear taints that they tolerate for some time only, by their UIDs. Counted anew by each daemon, as by each controller.
pub(super) type Bearing = BTreeMap<String, Instant>;

impl Registry {
    /// Deletes pods whenever taints of the node drive them away; without end.
    pub(crate) async fn keep_evicting(self) {
        let mut bearing = Bearing::new();
        loop {
            let next = self.evict_intolerant(&mut bearing, Instant::now()).await.unwrap_or_else(|error| {
                tracing::warn!(%error, "a pod that does not tolerate the node's taints cannot be deleted; it is tried again");
                Some(TRY_AGAIN)
            });
            match next {
                Some(wait) => drop(tokio::time::timeout(wait, self.taints_changed.notified()).await),
                None => self.taints_changed.notified().await,
            }
        }
    }

    /// Deletes the pods whose time is over. Gives how long it is until the next one's is.
    pub(super) async fn evict_intolerant(&self, bearing: &mut Bearing, now: Instant) -> ApiResult<Option<Duration>> {
        let node = self.stored(stored("nodes"), "", self.node());
        let taints = node.map_or_else(|_| Vec::new(), |node| strategy::taints(&node.value()));
        let stays: Vec<(Value, Duration)> = if taints.is_empty() { Vec::new() } else { self.stays(&taints) };
        bearing.retain(|uid, _| stays.iter().any(|(pod, _)| object::uid(pod) == uid));
        let mut next: Option<Duration> = None;
        for (pod, stay) in stays {
            let since = *bearing.entry(object::uid(&pod).to_owned()).or_insert(now);
            let left = stay.saturating_sub(now.saturating_duration_since(since));
            if left.is_zero() {
                self.evict_tainted(&pod).await?;
            } else {
                next = Some(next.map_or(left, |next| next.min(left)));
            }
        }
        Ok(next)
    }

    /// The pods on the node that may not stay for ever, and for how long they may.
    fn stays(&self, taints: &[strategy::Taint]) -> Vec<(Value, Duration)> {
        let listing = self.store.list(stored("pods").stored_as);
        let bound = listing.iter(None).map(|(_, stored)| stored.value());
        // A mirror would come back.
        let bound = bound.filter(|pod| !strategy::is_waiting(pod) && !object::is_terminating(pod) && !object::is_mirror(pod));
        bound.filter_map(|pod| strategy::stay(&pod, taints).map(|stay| (pod, stay))).collect()
    }

    async fn evict_tainted(&self, pod: &Value) -> ApiResult<()> {
        let (namespace, name) = (object::namespace(pod), object::name(pod));
        tracing::info!(namespace, name, "a pod does not tolerate the node's taints and is deleted");
        let message = format!("Marking for deletion Pod {namespace}/{name}");
        self.tell_of(pod, CONTROLLER, ("Normal", "TaintManagerEviction", "Evicting", &message)).await;
        let by = Some("a taint of the node that it does not tolerate".to_owned());
        let options = DeleteOptions { uid: Some(object::uid(pod).to_owned()), by, ..DeleteOptions::default() };
        match self.disrupt(namespace, name, Disruption::Taint, &options).await {
            // Somebody else was faster.
            Err(error) if matches!(error.code, 404 | 409) => Ok(()),
            deleted => deleted.map(|_| ()),
        }
    }
}
