//! The life of namespaces: what each has from its start, and how one ends.

use std::time::Duration;

use serde_json::json;

use super::{DeleteOptions, ListOptions, Registry, WriteOptions};
use crate::kinds::{KINDS, stored};
use crate::object;
use crate::status::ApiResult;
use crate::store::{ObjectKey, Write, WriteError};
use crate::strategy::{self, Part};

/// Namespaces that are there from the start.
const INITIAL: [&str; 4] = ["default", "kube-node-lease", "kube-public", "kube-system"];

/// How often a namespace that is to end is looked at again, while pods in it use their grace.
const EMPTY_EVERY: Duration = Duration::from_millis(200);

const MANAGER: &str = "usher";

impl Registry {
    /// Makes what every machine has, where it is missing, and goes on with ends that were begun.
    ///
    /// # Errors
    /// The disk refuses.
    pub async fn bootstrap(&self) -> ApiResult<()> {
        let kind = stored("namespaces");
        for name in INITIAL {
            if self.stored(kind, "", name).is_err() {
                let object = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } });
                self.create(kind, "", object, &WriteOptions::of(MANAGER)).await?;
            }
        }
        for name in ["system-node-critical", "system-cluster-critical"] {
            let classes = stored("priorityclasses");
            if self.stored(classes, "", name).is_err() {
                let value = if name == "system-node-critical" { 2_000_001_000 } else { 2_000_000_000 };
                let object = json!({
                    "apiVersion": "scheduling.k8s.io/v1",
                    "kind": "PriorityClass",
                    "metadata": { "name": name },
                    "value": value,
                    "description": "Used for system critical pods.",
                });
                self.create(classes, "", object, &WriteOptions::of(MANAGER)).await?;
            }
        }
        for namespace in self.list(kind, None, &ListOptions::default())?.items {
            let namespace = namespace.value();
            if object::is_terminating(&namespace) {
                self.empty_namespace_soon(object::name(&namespace));
            } else {
                self.furnish_namespace(object::name(&namespace)).await;
            }
        }
        self.bind_claims().await?;
        // An engine may have died between the change that lets them come and their coming.
        self.seat_waiting().await
    }

    /// Claims that an older version left unbound.
    async fn bind_claims(&self) -> ApiResult<()> {
        let kind = stored("persistentvolumeclaims");
        for item in self.list(kind, None, &ListOptions::default())?.items {
            let mut claim = item.value();
            if claim["status"]["phase"] != "Pending" {
                continue;
            }
            strategy::bind_claim(&mut claim);
            let key = ObjectKey::new(object::namespace(&claim), object::name(&claim));
            match self.store.write(kind.stored_as, key, Write::Update(item.revision, claim)).await {
                Ok(_) | Err(WriteError::Conflict(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Every namespace has a service account.
    pub(super) async fn furnish_namespace(&self, name: &str) {
        let kind = stored("serviceaccounts");
        if self.stored(kind, name, "default").is_ok() {
            return;
        }
        let object = json!({ "apiVersion": "v1", "kind": "ServiceAccount", "metadata": { "name": "default", "namespace": name } });
        if let Err(error) = Box::pin(self.create(kind, name, object, &WriteOptions::of(MANAGER))).await {
            tracing::warn!(%error, namespace = name, "cannot make the default service account");
        }
    }

    /// Deletes what is in a namespace that is being deleted, and lets it go when it is empty.
    pub(super) fn empty_namespace_soon(&self, name: &str) {
        let (registry, name) = (self.clone(), name.to_owned());
        tokio::spawn(async move {
            loop {
                match Box::pin(registry.empty_namespace(&name)).await {
                    Ok(Emptying::Done) => return,
                    Ok(Emptying::Waiting) => {}
                    Err(error) => tracing::warn!(%error, namespace = name, "cannot empty a namespace yet"),
                }
                tokio::time::sleep(EMPTY_EVERY).await;
            }
        });
    }

    async fn empty_namespace(&self, name: &str) -> ApiResult<Emptying> {
        let namespaces = stored("namespaces");
        let Ok(namespace) = self.get(namespaces, "", name) else { return Ok(Emptying::Done) };
        if !object::is_terminating(&namespace) {
            return Ok(Emptying::Done);
        }
        let by = match self.askers.of(object::uid(&namespace)) {
            Some(asker) => format!("the end of its namespace, deleted by {asker}"),
            None => "the end of its namespace".to_owned(),
        };
        let options = DeleteOptions { by: Some(by), ..DeleteOptions::default() };
        let mut left = 0;
        for kind in KINDS.iter().filter(|kind| kind.namespaced && kind.group != "events.k8s.io") {
            // Events last: the end of pods makes more of them.
            if kind.kind == "Event" && left > 0 {
                continue;
            }
            self.delete_collection(kind, Some(name), &ListOptions::default(), &options).await?;
            left += self.list(kind, Some(name), &ListOptions::default())?.items.len();
        }
        if left > 0 {
            return Ok(Emptying::Waiting);
        }
        self.askers.forget(object::uid(&namespace));
        let mut done = namespace;
        done["spec"]["finalizers"] = json!([]);
        self.update(namespaces, Part::Finalize, "", name, done, &WriteOptions::of(MANAGER)).await?;
        Ok(Emptying::Waiting)
    }
}

enum Emptying {
    Done,
    Waiting,
}
