//! Garbage of a node: which of its pods are there, and which nobody knows any more.

use std::sync::Arc;

use runtime::Runtime;

use super::{PodApi, Shared};
use crate::clock;
use crate::driver::Pod;
use crate::events::node_event;
use crate::eviction::Signal;
use crate::gc::{Collector, PodName, logs};

impl<R: Runtime, A: PodApi> Shared<R, A> {
    fn names_there(&self) -> Vec<PodName> {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let name =
            |pod: &Pod| PodName { namespace: text(&pod.metadata.namespace), name: text(&pod.metadata.name), uid: text(&pod.metadata.uid) };
        self.pods().values().map(|driven| name(&driven.pod)).collect()
    }

    /// Pods of which something is remembered, that are not here, and that the API does not know either: nobody asks for their logs by
    /// the API.
    async fn names_gone(&self) -> Vec<PodName> {
        let node = self.node.clone();
        let remembered = tokio::task::spawn_blocking(move || logs::remembered(&node)).await;
        let remembered = match remembered {
            Ok(Ok(remembered)) => remembered,
            Ok(Err(error)) => {
                tracing::warn!(%error, "pods that are gone cannot be listed");
                return Vec::new();
            }
            Err(_) => return Vec::new(),
        };
        let there = self.names_there();
        let is_gone = |pod: &PodName| !there.contains(pod) && !self.api.has_pod(&pod.namespace, &pod.name, &pod.uid);
        remembered.into_iter().filter(is_gone).collect()
    }

    /// The node is short of this: what nobody needs goes before pods do.
    pub(super) async fn relieve(self: Arc<Self>, signal: Signal) {
        let Some(collector) = self.collector.get() else { return };
        let gone = self.names_gone().await;
        collector.lock().await.relieve(signal, gone).await;
    }
}

/// Collects for as long as the agent lives.
pub(super) async fn collect<R: Runtime, A: PodApi>(shared: Arc<Shared<R, A>>, collector: Arc<tokio::sync::Mutex<Collector<R>>>) {
    let every = collector.lock().await.every();
    let mut times = tokio::time::interval(every);
    times.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        times.tick().await;
        let gone = shared.names_gone().await;
        let there = shared.names_there();
        let troubles = collector.lock().await.collect(&there, gone).await;
        for trouble in troubles {
            tracing::warn!(why = trouble.message, "garbage cannot be collected");
            let event = node_event(&shared.node.node_name, trouble.reason, trouble.message, clock::moment().wall_nanos);
            shared.api.record_event(event, true).await;
        }
    }
}
