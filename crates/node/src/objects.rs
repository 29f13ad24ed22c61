//! The ConfigMaps and Secrets that pods of this engine may speak of.
//!
//! Not a cache of a cluster: whoever starts a pod says what there is.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret};
use runtime::RegistryCredential;

/// Key of a Secret of type `kubernetes.io/dockerconfigjson`.
const DOCKER_CONFIG_JSON_KEY: &str = ".dockerconfigjson";
/// Key of a Secret of type `kubernetes.io/dockercfg`.
const DOCKER_CONFIG_KEY: &str = ".dockercfg";

/// ConfigMaps and Secrets by namespace and name.
#[derive(Clone, Default, PartialEq)]
pub struct Objects {
    config_maps: BTreeMap<(String, String), ConfigMap>,
    secrets: BTreeMap<(String, String), Secret>,
    runtime_handlers: BTreeMap<String, String>,
}

impl Objects {
    /// Adds a ConfigMap, in place of one of the same name.
    pub fn insert_config_map(&mut self, config_map: ConfigMap) {
        let metadata = &config_map.metadata;
        let key = (metadata.namespace.clone().unwrap_or_default(), metadata.name.clone().unwrap_or_default());
        self.config_maps.insert(key, config_map);
    }

    /// Adds a Secret, in place of one of the same name; `stringData` is moved into `data`, over what is there.
    pub fn insert_secret(&mut self, mut secret: Secret) {
        for (key, value) in secret.string_data.take().unwrap_or_default() {
            secret.data.get_or_insert_default().insert(key, k8s_openapi::ByteString(value.into_bytes()));
        }
        let metadata = &secret.metadata;
        let key = (metadata.namespace.clone().unwrap_or_default(), metadata.name.clone().unwrap_or_default());
        self.secrets.insert(key, secret);
    }

    /// Adds a RuntimeClass: pods of this class have their containers made by this handler.
    pub fn insert_runtime_class(&mut self, name: impl Into<String>, handler: impl Into<String>) {
        self.runtime_handlers.insert(name.into(), handler.into());
    }

    /// The handler of the pod's RuntimeClass, empty for the usual runtime. The error is the name of a class that is not there.
    pub fn runtime_handler<'a>(&self, pod: &'a Pod) -> Result<String, &'a str> {
        let class = pod.spec.as_ref().and_then(|spec| spec.runtime_class_name.as_deref()).filter(|class| !class.is_empty());
        class.map_or_else(|| Ok(String::new()), |class| self.runtime_handlers.get(class).cloned().ok_or(class))
    }

    /// The ConfigMap of this name.
    pub fn config_map(&self, namespace: &str, name: &str) -> Option<&ConfigMap> {
        self.config_maps.get(&(namespace.to_owned(), name.to_owned()))
    }

    /// The Secret of this name.
    pub fn secret(&self, namespace: &str, name: &str) -> Option<&Secret> {
        self.secrets.get(&(namespace.to_owned(), name.to_owned()))
    }

    /// What there is when these objects are given in place of the earlier ones: immutable ones that were there stay as they were.
    /// Also which of these would have changed, as `kind name`.
    pub fn replaced_by(&self, mut fresh: Self) -> (Self, Vec<String>) {
        let mut kept = Vec::new();
        for (key, object) in self.config_maps.iter().filter(|(_, object)| object.immutable == Some(true)) {
            if fresh.config_maps.insert(key.clone(), object.clone()).as_ref() != Some(object) {
                kept.push(format!("ConfigMap {}", key.1));
            }
        }
        for (key, object) in self.secrets.iter().filter(|(_, object)| object.immutable == Some(true)) {
            if fresh.secrets.insert(key.clone(), object.clone()).as_ref() != Some(object) {
                kept.push(format!("Secret {}", key.1));
            }
        }
        (fresh, kept)
    }

    /// Credentials for registries from the pod's `imagePullSecrets` that are there, in their order.
    pub fn pull_credentials(&self, pod: &Pod) -> Vec<RegistryCredential> {
        self.pull_secrets(pod).filter_map(|(_, secret)| credential(secret?)).collect()
    }

    /// Names of the pod's `imagePullSecrets` that are not there (k8s: 9.b.11).
    pub fn missing_pull_secrets(&self, pod: &Pod) -> Vec<String> {
        self.pull_secrets(pod).filter(|(_, secret)| secret.is_none()).map(|(name, _)| name.to_owned()).collect()
    }

    fn pull_secrets<'a>(&'a self, pod: &'a Pod) -> impl Iterator<Item = (&'a str, Option<&'a Secret>)> {
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        let references = pod.spec.iter().flat_map(|spec| spec.image_pull_secrets.iter().flatten());
        references.map(move |reference| (reference.name.as_str(), self.secret(namespace, &reference.name)))
    }
}

fn credential(secret: &Secret) -> Option<RegistryCredential> {
    let data = secret.data.as_ref()?;
    if let Some(json) = data.get(DOCKER_CONFIG_JSON_KEY) {
        return Some(RegistryCredential { docker_config_json: json.0.clone() });
    }
    // The older form is what the newer one has under `auths`.
    let auths = data.get(DOCKER_CONFIG_KEY)?;
    let json = [b"{\"auths\":", auths.0.as_slice(), b"}"].concat();
    Some(RegistryCredential { docker_config_json: json })
}

/// Names only: contents may be secret.
impl std::fmt::Debug for Objects {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Objects")
            .field("config_maps", &self.config_maps.keys().collect::<Vec<_>>())
            .field("secrets", &self.secrets.keys().collect::<Vec<_>>())
            .field("runtime_handlers", &self.runtime_handlers)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn objects(value: &str, immutable: bool) -> Objects {
        let mut objects = Objects::default();
        for name in ["fixed", "free"] {
            let map =
                json!({"metadata": {"name": name, "namespace": "ns"}, "immutable": immutable && name == "fixed", "data": {"k": value}});
            objects.insert_config_map(serde_json::from_value(map).expect("a ConfigMap"));
        }
        objects
    }

    // k8s: 9.b.11, 10.d.16
    #[test]
    fn pull_secrets_that_are_not_there_are_named_in_their_order() {
        let mut objects = Objects::default();
        let secret = json!({"metadata": {"name": "there", "namespace": "ns"}, "stringData": {".dockerconfigjson": "{}"}});
        objects.insert_secret(serde_json::from_value(secret).expect("a Secret"));
        let pod = json!({
            "metadata": {"namespace": "ns"},
            "spec": {"containers": [], "imagePullSecrets": [{"name": "z"}, {"name": "there"}, {"name": "a"}]},
        });
        let pod = serde_json::from_value(pod).expect("a Pod");
        assert_eq!(objects.missing_pull_secrets(&pod), ["z", "a"]);
        assert_eq!(objects.pull_credentials(&pod).len(), 1);
    }

    #[test]
    fn immutable_objects_stay_as_they_were() {
        let (all, kept) = objects("one", true).replaced_by(objects("two", false));
        assert_eq!(kept, ["ConfigMap fixed"]);
        let value = |name: &str| all.config_map("ns", name).and_then(|map| map.data.as_ref()?.get("k").cloned());
        assert_eq!((value("fixed").as_deref(), value("free").as_deref()), (Some("one"), Some("two")));
        assert_eq!(objects("one", true).replaced_by(objects("one", true)), (objects("one", true), vec![]));
        assert_eq!(objects("one", true).replaced_by(Objects::default()).1, ["ConfigMap fixed"]);
    }
}
