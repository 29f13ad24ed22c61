//! Which pods come to the node, and when: there is one node, so a pod is bound when it is made, unless it has gates or the node takes
//! no pods. Those that wait are bound when nothing holds them back any more.
//!
//! Acts; what holds a pod back is decided in [`strategy`]. Invariant: a pod waits only while its condition says why.

use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use super::{CONFLICT_RETRIES_MAX, Registry, WriteOptions, now};
use crate::kinds::{Kind, stored};
use crate::object::{self, time_text};
use crate::status::{ApiError, ApiResult};
use crate::store::{ObjectKey, Write, WriteError};
use crate::strategy::{self, Seat};

/// Who binds pods, in the reference's words.
const SCHEDULER: &str = "default-scheduler";

impl Registry {
    /// The node, and whether it takes pods that are new to it.
    pub(super) fn seat(&self) -> Seat {
        let node = self.node().to_owned();
        let is_cordoned = self.stored(stored("nodes"), "", &node).is_ok_and(|stored| strategy::is_cordoned(&stored.value()));
        if is_cordoned { Seat::Cordoned(node) } else { Seat::Open(node) }
    }

    /// What a change of an object means for pods that wait.
    pub(super) async fn after_update(&self, kind: &Kind, old: &Value, new: &Value) {
        let seated = match kind.kind {
            "Node" if strategy::is_cordoned(old) != strategy::is_cordoned(new) => self.seat_waiting().await,
            "Pod" if strategy::is_gated(old) && !strategy::is_gated(new) => self.seat_pod(object::namespace(new), object::name(new)).await,
            _ => return,
        };
        if let Err(error) = seated {
            tracing::warn!(%error, "pods that wait for the node cannot be bound; they are at the next start");
        }
    }

    /// Binds all pods that need not wait any more.
    pub(super) async fn seat_waiting(&self) -> ApiResult<()> {
        let kind = stored("pods");
        let waiting: Vec<ObjectKey> = {
            let listing = self.store.list(kind.stored_as);
            let waiting = listing.iter(None).filter(|(_, stored)| strategy::is_waiting(&stored.value()));
            waiting.map(|(key, _)| key.clone()).collect()
        };
        for key in waiting {
            self.seat_pod(&key.namespace, &key.name).await?;
        }
        Ok(())
    }

    /// Binds a pod that waits, or says why it goes on waiting.
    async fn seat_pod(&self, namespace: &str, name: &str) -> ApiResult<()> {
        let kind = stored("pods");
        for _ in 0..CONFLICT_RETRIES_MAX {
            let Ok(current) = self.stored(kind, namespace, name) else { return Ok(()) };
            let Some(seated) = strategy::seated(&current.value(), &self.seat(), &time_text(now())) else { return Ok(()) };
            match self.store.write(kind.stored_as, ObjectKey::new(namespace, name), Write::Update(current.revision, seated)).await {
                Ok(stored) => {
                    self.tell_seating(&stored.value()).await;
                    return Ok(());
                }
                Err(WriteError::Conflict(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(ApiError::modified(kind, name))
    }

    /// Binds a pod because a client says so, whatever the node says.
    ///
    /// # Errors
    /// There is no such pod or node, it is bound already, or gates hold it back.
    pub async fn bind(&self, namespace: &str, name: &str, target: &str) -> ApiResult<()> {
        let kind = stored("pods");
        let refused = |why: &str| {
            let message = format!("Operation cannot be fulfilled on pods/binding \"{name}\": {why}");
            ApiError::new(409, "Conflict", message)
        };
        for _ in 0..CONFLICT_RETRIES_MAX {
            let current = self.stored(kind, namespace, name)?;
            let pod = current.value();
            if let Some(node) = pod["spec"]["nodeName"].as_str().filter(|node| !node.is_empty()) {
                return Err(refused(&format!("pod {name} is already assigned to node \"{node}\"")));
            }
            if strategy::is_gated(&pod) {
                return Err(refused(&format!("pod {name} has non-empty .spec.schedulingGates")));
            }
            if target != self.node() {
                return Err(ApiError::not_found(stored("nodes"), target));
            }
            let Some(bound) = strategy::seated(&pod, &Seat::Open(target.to_owned()), &time_text(now())) else {
                return Err(refused(&format!("pod {name} is being deleted, cannot be assigned to a host")));
            };
            match self.store.write(kind.stored_as, ObjectKey::new(namespace, name), Write::Update(current.revision, bound)).await {
                Ok(stored) => {
                    self.tell_seating(&stored.value()).await;
                    return Ok(());
                }
                Err(WriteError::Conflict(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(ApiError::modified(kind, name))
    }

    /// Tells what became of a new pod. The node may have been told to take pods again while it was made.
    pub(super) async fn after_seating(&self, pod: &Value) {
        self.tell_seating(pod).await;
        if strategy::is_waiting(pod)
            && let Err(error) = Box::pin(self.seat_pod(object::namespace(pod), object::name(pod))).await
        {
            tracing::warn!(%error, "a pod that waits for the node cannot be bound; it is at the next start");
        }
    }

    /// Tells in an Event that a pod was bound, or why it was not. What has gates waits for them and not for the node.
    pub(super) async fn tell_seating(&self, pod: &Value) {
        // A mirror is of a pod that nobody had to schedule.
        if object::is_mirror(pod) || strategy::is_gated(pod) {
            return;
        }
        let (namespace, name, time) = (object::namespace(pod), object::name(pod), now());
        let event = match pod["spec"]["nodeName"].as_str() {
            Some(node) => {
                let message = format!("Successfully assigned {namespace}/{name} to {node}");
                event(pod, ("Normal", "Scheduled", "Binding", &message), (self.node(), time))
            }
            None => event(pod, ("Warning", "FailedScheduling", "Scheduling", strategy::UNSCHEDULABLE), (self.node(), time)),
        };
        if let Err(error) = Box::pin(self.create(stored("events"), namespace, event, &WriteOptions::of("usher"))).await {
            tracing::warn!(%error, namespace, name, "cannot record whether a pod was scheduled");
        }
    }
}

/// An Event of the scheduler's: its type, reason, action and message.
fn event(pod: &Value, (of, reason, action, message): (&str, &str, &str, &str), (node, time): (&str, Timestamp)) -> Value {
    let (namespace, name) = (object::namespace(pod), object::name(pod));
    json!({
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": { "name": format!("{name}.{:x}", time.as_nanosecond()), "namespace": namespace },
        "involvedObject": {
            "apiVersion": "v1",
            "kind": "Pod",
            "namespace": namespace,
            "name": name,
            "uid": object::uid(pod),
            "resourceVersion": object::meta(pod, "resourceVersion"),
        },
        "type": of,
        "reason": reason,
        "action": action,
        "message": message,
        "eventTime": object::micro_time_text(time),
        "reportingComponent": SCHEDULER,
        "reportingInstance": format!("{SCHEDULER}-{node}"),
    })
}
