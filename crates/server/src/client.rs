//! The node's side of the API, in the same process: pods to run, and what became of them.
//!
//! Only in Kubernetes' terms; what else the API and the node need of each other is in [`backend`](crate::backend).

use std::collections::{BTreeSet, VecDeque};

use k8s_openapi::api::core::v1::{ConfigMap, Event, Node, Pod, PodStatus, Secret};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::kinds::stored;
use crate::object::micro_time_text;
use crate::registry::{Changes, DeleteOptions, ListOptions, NoticeKind, Patch, PatchFormat, Registry, WriteOptions, now};
use crate::selector::Selector;
use crate::status::{ApiError, ApiResult};
use crate::store::Watch;
use crate::strategy::Part;

/// The name under which the node writes.
const MANAGER: &str = "kubelet";

/// The node's side of the API.
#[derive(Clone, Debug)]
pub struct NodeClient {
    registry: Registry,
}

/// Something about a pod of the node.
#[derive(Clone, Debug)]
pub enum PodChange {
    /// It is there, or is there differently. A deletion timestamp in it asks for its end.
    Present(Box<Pod>),
    /// It is gone from the API: nothing is to be left of it.
    Gone(Box<Pod>),
    /// All pods that were there when the watch began have been told: their UIDs. Others that the node knows are gone.
    Synced(BTreeSet<String>),
}

/// The pods of the node, and every change of them.
#[derive(Debug)]
pub struct PodChanges {
    registry: Registry,
    changes: Option<Changes>,
    ready: VecDeque<PodChange>,
}

/// The changes of one pod.
#[derive(Debug)]
pub struct PodWatch {
    registry: Registry,
    namespace: String,
    name: String,
    changes: Option<Changes>,
}

impl PodWatch {
    /// Waits until the pod has changed, or may have. May be dropped and called again: nothing is lost.
    pub async fn changed(&mut self) {
        let is_kept = match &mut self.changes {
            Some(changes) => changes.next().await.is_ok(),
            None => false,
        };
        if !is_kept {
            self.begin();
        }
    }

    fn begin(&mut self) {
        let kind = stored("pods");
        let selector = Selector::parse(kind, "", &format!("metadata.name={}", self.name));
        let since = self.registry.store().revision().to_string();
        self.changes = selector.ok().and_then(|selector| {
            let options = ListOptions { selector, resource_version: since, ..ListOptions::default() };
            self.registry.watch(kind, Some(&self.namespace), &options, None).ok()
        });
    }
}

/// What pods refer to.
const REFERRED: [&str; 2] = ["configmaps", "secrets"];

/// The changes of what pods refer to.
#[derive(Debug)]
pub struct ObjectChanges {
    registry: Registry,
    watches: [Watch; 2],
}

impl ObjectChanges {
    /// Waits until at least one of the objects has changed. May be dropped and called again: nothing is lost.
    pub async fn next(&mut self) {
        let [first, second] = &mut self.watches;
        let kept = tokio::select! {
            events = first.next() => events.is_ok(),
            events = second.next() => events.is_ok(),
        };
        if !kept {
            // So much has changed that not all of it is kept, which is all that has to be known.
            let store = self.registry.store();
            let since = store.revision();
            self.watches = REFERRED.map(|resource| store.watch(resource, since));
        }
    }
}

/// An event about a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodEvent {
    /// `Normal` or `Warning`.
    pub kind: &'static str,
    /// The machine-readable reason.
    pub reason: String,
    /// What happened.
    pub message: String,
    /// The container, as `spec.containers{name}`; may be empty.
    pub field_path: String,
}

impl NodeClient {
    /// The node's side of a registry.
    pub fn new(registry: Registry) -> Self {
        Self { registry }
    }

    /// The pods of this node from the start.
    pub fn pods(&self) -> PodChanges {
        PodChanges { registry: self.registry.clone(), changes: None, ready: VecDeque::new() }
    }

    /// A pod.
    ///
    /// # Errors
    /// There is none.
    pub fn pod(&self, namespace: &str, name: &str) -> ApiResult<Pod> {
        typed(self.registry.get(stored("pods"), namespace, name)?)
    }

    /// The changes of one pod from now on.
    pub fn pod_changes(&self, namespace: &str, name: &str) -> PodWatch {
        let mut watch = PodWatch { registry: self.registry.clone(), namespace: namespace.to_owned(), name: name.to_owned(), changes: None };
        watch.begin();
        watch
    }

    /// The handler of a RuntimeClass, if there is such a class.
    pub fn runtime_handler(&self, class: &str) -> Option<String> {
        let class = self.registry.get(stored("runtimeclasses"), "", class).ok()?;
        class["handler"].as_str().map(ToOwned::to_owned)
    }

    /// Sets the status of a pod that must have this UID; conditions that are not the node's stay as they are.
    ///
    /// # Errors
    /// The pod is gone, or another one has its name.
    pub async fn set_status(&self, namespace: &str, name: &str, uid: &str, status: &PodStatus) -> ApiResult<Pod> {
        let status = serde_json::to_value(status).map_err(ApiError::internal)?;
        typed(self.registry.set_pod_status(namespace, name, uid, &status, &WriteOptions::of(MANAGER)).await?)
    }

    /// Makes the mirror of a pod that the node runs by itself.
    ///
    /// # Errors
    /// Another pod has its name, its namespace is not there, or it cannot be stored.
    pub async fn create_mirror(&self, mirror: &Pod) -> ApiResult<Pod> {
        let namespace = mirror.metadata.namespace.as_deref().unwrap_or_default();
        let object = serde_json::to_value(mirror).map_err(ApiError::internal)?;
        let made = self.registry.create(stored("pods"), namespace, object, &WriteOptions::of(MANAGER)).await?;
        typed(made.0)
    }

    /// The UID of the node's object, if there is one.
    pub fn node_uid(&self) -> Option<String> {
        let node = self.registry.get(stored("nodes"), "", self.registry.node()).ok()?;
        node["metadata"]["uid"].as_str().map(ToOwned::to_owned)
    }

    /// Who asked for the deletion of the pod with this UID, if this process was asked.
    pub fn deletion_asker(&self, uid: &str) -> Option<String> {
        self.registry.deletion_asker(uid)
    }

    /// Removes a pod whose end is complete. k8s: 1.b.16
    ///
    /// # Errors
    /// Another pod has its name. That it is gone already is no error.
    pub async fn remove_pod(&self, namespace: &str, name: &str, uid: &str) -> ApiResult<()> {
        let options = DeleteOptions { grace_period_seconds: Some(0), uid: Some(uid.to_owned()), ..DeleteOptions::default() };
        match self.registry.delete(stored("pods"), namespace, name, &options).await {
            Err(error) if error.code != 404 => Err(error),
            Ok(_) | Err(_) => {
                self.registry.forget_asker(uid);
                Ok(())
            }
        }
    }

    /// Removes pods that have ended, the oldest first, until no more than `count_max` are left; returns how many went.
    ///
    /// # Errors
    /// One of them cannot be removed.
    pub async fn remove_surplus_finished(&self, count_max: usize) -> ApiResult<usize> {
        self.registry.remove_surplus_finished(count_max).await
    }

    /// Records an event about a pod.
    ///
    /// # Errors
    /// It cannot be stored.
    pub async fn record(&self, namespace: &str, name: &str, uid: &str, event: &PodEvent) -> ApiResult<()> {
        let time = now();
        let (seconds, node) = (crate::object::time_text(time), self.registry.node());
        // The name is that of the reference: the pod's and the time in hexadecimal.
        let nanoseconds = time.as_nanosecond();
        let object = json!({
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": { "name": format!("{name}.{nanoseconds:x}"), "namespace": namespace },
            "involvedObject": {
                "apiVersion": "v1", "kind": "Pod", "namespace": namespace, "name": name, "uid": uid, "fieldPath": event.field_path,
            },
            "type": event.kind,
            "reason": event.reason,
            "message": event.message,
            "source": { "component": MANAGER, "host": node },
            "reportingComponent": MANAGER,
            "reportingInstance": node,
            "firstTimestamp": seconds,
            "lastTimestamp": seconds,
            "count": 1,
        });
        self.registry.create(stored("events"), namespace, object, &WriteOptions::of(MANAGER)).await.map(drop)
    }

    /// Stores an event, whether it is there already or not.
    ///
    /// # Errors
    /// It cannot be stored.
    pub async fn store_event(&self, event: &Event) -> ApiResult<()> {
        let mut object = serde_json::to_value(event).map_err(ApiError::internal)?;
        let (namespace, name) =
            (event.metadata.namespace.as_deref().unwrap_or_default(), event.metadata.name.as_deref().unwrap_or_default());
        crate::object::meta_mut(&mut object).remove("resourceVersion");
        self.registry.update(stored("events"), Part::Whole, namespace, name, object, &WriteOptions::of(MANAGER)).await.map(drop)
    }

    /// The events about a pod.
    pub fn events_about(&self, namespace: &str, name: &str, uid: &str) -> Vec<Event> {
        let listing = self.registry.store().list(stored("events").stored_as);
        // By their names first: others need not be parsed.
        let prefix = format!("{name}.");
        let named = listing.iter(Some(namespace)).filter(|(key, _)| key.name.starts_with(&prefix));
        let values = named.map(|(_, stored)| stored.value());
        values.filter(|value| value["involvedObject"]["uid"] == uid).filter_map(|value| typed(value).ok()).collect()
    }

    /// A ConfigMap, or `None` if there is none.
    pub fn config_map(&self, namespace: &str, name: &str) -> Option<ConfigMap> {
        typed(self.registry.get(stored("configmaps"), namespace, name).ok()?).ok()
    }

    /// A Secret, or `None` if there is none.
    pub fn secret(&self, namespace: &str, name: &str) -> Option<Secret> {
        typed(self.registry.get(stored("secrets"), namespace, name).ok()?).ok()
    }

    /// The changes of what pods refer to, from now on.
    pub fn object_changes(&self) -> ObjectChanges {
        let store = self.registry.store();
        let since = store.revision();
        let watches = REFERRED.map(|resource| store.watch(resource, since));
        ObjectChanges { registry: self.registry.clone(), watches }
    }

    /// The name of the node.
    pub fn node(&self) -> &str {
        self.registry.node()
    }

    /// Makes the node's object, or brings it up to date.
    ///
    /// # Errors
    /// It cannot be stored.
    pub async fn set_node(&self, node: &Node) -> ApiResult<()> {
        let kind = stored("nodes");
        let mut object = serde_json::to_value(node).map_err(ApiError::internal)?;
        object["metadata"]["name"] = json!(self.registry.node());
        let options = WriteOptions::of(MANAGER);
        if self.registry.get(kind, "", self.registry.node()).is_err() {
            self.registry.create(kind, "", object.clone(), &options).await?;
        }
        let patch = Patch { format: PatchFormat::Merge, value: json!({ "status": object["status"] }), duplicates: Vec::new() };
        self.registry.patch(kind, Part::Status, "", self.registry.node(), &patch, &options).await?;
        self.renew_lease().await
    }

    /// Says that the node lives.
    ///
    /// # Errors
    /// It cannot be stored.
    pub async fn renew_lease(&self) -> ApiResult<()> {
        let time = micro_time_text(now());
        let name = self.registry.node();
        let lease = json!({
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": { "name": name, "namespace": "kube-node-lease" },
            "spec": { "holderIdentity": name, "leaseDurationSeconds": 40, "renewTime": time },
        });
        self.registry.update(stored("leases"), Part::Whole, "kube-node-lease", name, lease, &WriteOptions::of(MANAGER)).await.map(drop)
    }
}

impl PodChanges {
    /// The next change. May be dropped and called again: nothing is lost. Whoever is too far behind is told everything
    /// anew, up to another [`PodChange::Synced`].
    ///
    /// # Errors
    /// The API cannot list pods, which is a bug.
    pub async fn next(&mut self) -> ApiResult<PodChange> {
        let kind = stored("pods");
        loop {
            if let Some(change) = self.ready.pop_front() {
                return Ok(change);
            }
            let Some(changes) = &mut self.changes else {
                self.begin()?;
                continue;
            };
            match changes.next().await {
                Ok(notice) => {
                    let pod = || typed(notice.value(kind)).map(Box::new);
                    match notice.kind {
                        NoticeKind::Added | NoticeKind::Modified => return Ok(PodChange::Present(pod()?)),
                        NoticeKind::Deleted => return Ok(PodChange::Gone(pod()?)),
                        NoticeKind::Bookmark => {}
                    }
                }
                Err(error) if error.code == 410 => self.changes = None,
                Err(error) => return Err(error),
            }
        }
    }

    fn begin(&mut self) -> ApiResult<()> {
        let kind = stored("pods");
        let selector = Selector::parse(kind, "", &format!("spec.nodeName={}", self.registry.node()))?;
        let list = self.registry.list(kind, None, &ListOptions { selector: selector.clone(), ..ListOptions::default() })?;
        let mut uids = BTreeSet::new();
        for item in list.items {
            let pod: Pod = typed(item.value())?;
            uids.extend(pod.metadata.uid.clone());
            self.ready.push_back(PodChange::Present(Box::new(pod)));
        }
        self.ready.push_back(PodChange::Synced(uids));
        let since = ListOptions { selector, resource_version: list.revision.to_string(), ..ListOptions::default() };
        self.changes = Some(self.registry.watch(kind, None, &since, None)?);
        Ok(())
    }
}

fn typed<T: DeserializeOwned>(object: Value) -> ApiResult<T> {
    serde_json::from_value(object).map_err(ApiError::internal)
}
