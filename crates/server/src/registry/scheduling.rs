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
    /// The node, and which pods that are new to it it takes.
    pub(super) fn seat(&self) -> Seat {
        let node = self.stored(stored("nodes"), "", self.node());
        node.map_or_else(|_| Seat::open(self.node()), |node| Seat::of(self.node(), &node.value()))
    }

    /// What a change of an object means for pods that wait, and for those that are on the node.
    pub(super) async fn after_update(&self, kind: &Kind, old: &Value, new: &Value) {
        let is_other_seat = |node: &str| Seat::of(node, old) != Seat::of(node, new);
        let seated = match kind.kind {
            "Node" if is_other_seat(self.node()) => {
                self.taints_changed.notify_one();
                self.seat_waiting().await
            }
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
        let seat = |pod: &Value| Ok(strategy::seated(pod, &self.seat(), &time_text(now())));
        match self.seat_as(namespace, name, seat).await {
            // It went meanwhile.
            Err(error) if error.code == 404 => Ok(()),
            seated => seated,
        }
    }

    /// Binds a pod because a client says so, whatever the node says.
    ///
    /// # Errors
    /// There is no such pod or node, it is bound already, or gates hold it back.
    pub async fn bind(&self, namespace: &str, name: &str, target: &str) -> ApiResult<()> {
        let refused = |why: &str| {
            let message = format!("Operation cannot be fulfilled on pods/binding \"{name}\": {why}");
            Err(ApiError::new(409, "Conflict", message))
        };
        let bind = |pod: &Value| {
            if let Some(node) = pod["spec"]["nodeName"].as_str().filter(|node| !node.is_empty()) {
                return refused(&format!("pod {name} is already assigned to node \"{node}\""));
            }
            if strategy::is_gated(pod) {
                return refused(&format!("pod {name} has non-empty .spec.schedulingGates"));
            }
            if target != self.node() {
                return Err(ApiError::not_found(stored("nodes"), target));
            }
            match strategy::seated(pod, &Seat::open(target), &time_text(now())) {
                Some(bound) => Ok(Some(bound)),
                None => refused(&format!("pod {name} is being deleted, cannot be assigned to a host")),
            }
        };
        self.seat_as(namespace, name, bind).await
    }

    /// Writes what is made of a pod, anew if somebody else wrote meanwhile, and tells of it. `None`: it stays as it is.
    async fn seat_as(&self, namespace: &str, name: &str, seat: impl Fn(&Value) -> ApiResult<Option<Value>>) -> ApiResult<()> {
        let kind = stored("pods");
        for _ in 0..CONFLICT_RETRIES_MAX {
            let current = self.stored(kind, namespace, name)?;
            let Some(seated) = seat(&current.value())? else { return Ok(()) };
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
        match pod["spec"]["nodeName"].as_str() {
            Some(node) => {
                self.taints_changed.notify_one();
                let message = format!("Successfully assigned {}/{} to {node}", object::namespace(pod), object::name(pod));
                self.tell_of(pod, SCHEDULER, ("Normal", "Scheduled", "Binding", &message)).await;
            }
            None => {
                let why = strategy::told_obstacle(pod).unwrap_or_default();
                self.tell_of(pod, SCHEDULER, ("Warning", "FailedScheduling", "Scheduling", why)).await;
            }
        }
    }

    /// Records an Event about a pod: by whom, and its type, reason, action and message.
    pub(super) async fn tell_of(&self, pod: &Value, by: &str, told: (&str, &str, &str, &str)) {
        let (namespace, name) = (object::namespace(pod), object::name(pod));
        let event = event(pod, (by, self.node()), told, now());
        if let Err(error) = Box::pin(self.create(stored("events"), namespace, event, &WriteOptions::of("usher"))).await {
            tracing::warn!(%error, namespace, name, "cannot record an event about a pod");
        }
    }
}

fn event(pod: &Value, (by, node): (&str, &str), (of, reason, action, message): (&str, &str, &str, &str), time: Timestamp) -> Value {
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
        "reportingComponent": by,
        "reportingInstance": format!("{by}-{node}"),
    })
}
