//! The API as the agent needs it, given by the server in this process.

use std::collections::BTreeSet;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Event, PodStatus};
use node::Pod;
use node::agent::PodApi;
use node::container_config::Objects;
use node::static_pods::{is_static, uid_on_node};
use serde_json::Value;
use server::client::NodeClient;
use server::status::{ApiError, ApiResult};

use super::statics::Book;

/// Time between two attempts while the disk refuses.
const RETRY_EVERY: Duration = Duration::from_secs(1);

/// The server in this process.
#[derive(Clone, Debug)]
pub(super) struct ServerApi {
    client: NodeClient,
    /// Of static pods.
    book: Book,
}

impl ServerApi {
    pub(super) fn new(client: NodeClient) -> Self {
        Self { client, book: Book::default() }
    }

    /// What is known of static pods, whether the API shows them or not.
    pub(super) const fn book(&self) -> &Book {
        &self.book
    }

    /// Shows a static pod, with what is known of it.
    pub(super) async fn create_mirror(&self, mirror: &Pod) -> ApiResult<Pod> {
        let statuses = self.book.open().await;
        let made = self.client.create_mirror(mirror).await?;
        match statuses.get(uid_on_node(mirror)) {
            Some(status) => {
                let (namespace, name, uid) = identity(&made);
                self.client.set_status(namespace, name, uid, status).await
            }
            None => Ok(made),
        }
    }

    /// The object of a pod in the API, if it is that of this pod: of a static one, its mirror.
    fn stored(&self, pod: &Pod) -> Option<Pod> {
        let (namespace, name, uid) = identity(pod);
        self.client.pod(namespace, name).ok().filter(|stored| uid_on_node(stored) == uid)
    }

    /// k8s: 11.c.8
    async fn publish_static(&self, pod: &Pod, status: &PodStatus) -> ApiResult<()> {
        let mut statuses = self.book.open().await;
        statuses.insert(identity(pod).2.to_owned(), status.clone());
        let Some(mirror) = self.stored(pod) else { return Ok(()) };
        let (namespace, name, uid) = identity(&mirror);
        self.client.set_status(namespace, name, uid, status).await.map(drop)
    }
}

/// Namespace, name and UID of a pod.
fn identity(pod: &Pod) -> (&str, &str, &str) {
    let metadata = &pod.metadata;
    (
        metadata.namespace.as_deref().unwrap_or_default(),
        metadata.name.as_deref().unwrap_or_default(),
        metadata.uid.as_deref().unwrap_or_default(),
    )
}

/// Whether trying again may help: the disk may have room later. What the API refuses for good, it refuses again.
fn may_pass(error: &ApiError) -> bool {
    error.code >= 500 && error.code != 503
}

impl PodApi for ServerApi {
    fn objects(&self, pod: &Pod) -> Objects {
        let (namespace, ..) = identity(pod);
        let mut names = References::default();
        if let Ok(spec) = serde_json::to_value(&pod.spec) {
            names.find(&spec);
        }
        let mut objects = Objects::default();
        for config_map in names.config_maps.iter().filter_map(|name| self.client.config_map(namespace, name)) {
            objects.insert_config_map(config_map);
        }
        for secret in names.secrets.iter().filter_map(|name| self.client.secret(namespace, name)) {
            objects.insert_secret(secret);
        }
        if let Some(class) = pod.spec.as_ref().and_then(|spec| spec.runtime_class_name.as_deref())
            && let Some(handler) = self.client.runtime_handler(class)
        {
            objects.insert_runtime_class(class, handler);
        }
        objects
    }

    fn has_pod(&self, namespace: &str, name: &str, uid: &str) -> bool {
        self.client.pod(namespace, name).is_ok_and(|stored| uid_on_node(&stored) == uid)
    }

    fn status(&self, pod: &Pod) -> Option<PodStatus> {
        self.stored(pod)?.status
    }

    fn deletion_asker(&self, pod: &Pod) -> Option<String> {
        self.client.deletion_asker(identity(pod).2)
    }

    async fn publish_status(&self, pod: &Pod, status: PodStatus) {
        let (namespace, name, uid) = identity(pod);
        loop {
            let published = if is_static(pod) {
                self.publish_static(pod, &status).await
            } else {
                self.client.set_status(namespace, name, uid, &status).await.map(drop)
            };
            match published {
                Err(error) if may_pass(&error) => {
                    tracing::warn!(%error, namespace, name, "the status of a pod cannot be stored yet");
                    tokio::time::sleep(RETRY_EVERY).await;
                }
                Err(error) => {
                    tracing::debug!(%error, namespace, name, "the API does not want the status of a pod");
                    return;
                }
                Ok(()) => return,
            }
        }
    }

    fn events(&self, pod: &Pod) -> Vec<Event> {
        let (namespace, name, uid) = identity(pod);
        self.client.events_about(namespace, name, uid)
    }

    async fn record_event(&self, event: Event, _: bool) {
        if let Err(error) = self.client.store_event(&event).await {
            tracing::warn!(%error, reason = event.reason, "an event cannot be stored");
        }
    }

    async fn remove_pod(&self, pod: &Pod) {
        let (namespace, name, uid) = identity(pod);
        loop {
            match self.client.remove_pod(namespace, name, uid).await {
                Err(error) if may_pass(&error) => {
                    tracing::warn!(%error, namespace, name, "a pod that has ended cannot be removed yet");
                    tokio::time::sleep(RETRY_EVERY).await;
                }
                // Another pod has the name, or the server stops: the next one removes it.
                Err(_) | Ok(()) => return,
            }
        }
    }
}

/// The objects that a pod speaks of.
#[derive(Debug, Default)]
struct References {
    config_maps: BTreeSet<String>,
    secrets: BTreeSet<String>,
}

impl References {
    fn find(&mut self, value: &Value) {
        match value {
            Value::Object(fields) => {
                for (field, value) in fields {
                    let name = value["name"].as_str().or_else(|| value["secretName"].as_str()).map(ToOwned::to_owned);
                    match field.as_str() {
                        "configMap" | "configMapKeyRef" | "configMapRef" => self.config_maps.extend(name),
                        "secret" | "secretKeyRef" | "secretRef" => self.secrets.extend(name),
                        "imagePullSecrets" => {
                            let names = value.as_array().into_iter().flatten().filter_map(|entry| entry["name"].as_str());
                            self.secrets.extend(names.map(ToOwned::to_owned));
                        }
                        _ => {}
                    }
                    self.find(value);
                }
            }
            Value::Array(items) => items.iter().for_each(|item| self.find(item)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn everything_that_a_pod_speaks_of_is_found() {
        let spec = json!({
            "imagePullSecrets": [{ "name": "pull" }],
            "volumes": [
                { "name": "a", "configMap": { "name": "files" } },
                { "name": "b", "secret": { "secretName": "keys" } },
                { "name": "c", "projected": { "sources": [{ "secret": { "name": "more" } }, { "configMap": { "name": "yet" } }] } },
            ],
            "containers": [{
                "name": "main",
                "envFrom": [{ "configMapRef": { "name": "all" } }, { "secretRef": { "name": "hidden" } }],
                "env": [{ "name": "x", "valueFrom": { "secretKeyRef": { "name": "one", "key": "k" } } }],
            }],
        });
        let mut names = References::default();
        names.find(&spec);
        assert_eq!(names.config_maps.iter().collect::<Vec<_>>(), ["all", "files", "yet"]);
        assert_eq!(names.secrets.iter().collect::<Vec<_>>(), ["hidden", "keys", "more", "one", "pull"]);
    }
}
