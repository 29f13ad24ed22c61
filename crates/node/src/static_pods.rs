//! Static pods: those that a file on the node describes, and the mirror of each that the API shows.
//!
//! Decides and does no IO: what a file says becomes a pod of this node, a pod becomes its mirror, and it is told whether a pod that has
//! ended is to begin again. Invariant: the same file at the same place on the same node gives the same uid, whatever engine reads it, so
//! that a pod is found again.

use std::collections::BTreeSet;
use std::path::Path;

use k8s_openapi::api::core::v1::{Pod, PodSpec, PodStatus, Toleration};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use serde_json::Value;

/// Where a pod comes from: `file` for static pods.
pub const SOURCE_ANNOTATION: &str = "kubernetes.io/config.source";
/// The hash of a static pod, which is its uid.
pub const HASH_ANNOTATION: &str = "kubernetes.io/config.hash";
/// When the file was written.
pub const SEEN_ANNOTATION: &str = "kubernetes.io/config.seen";
/// Only on mirrors: the hash of the pod that is mirrored.
pub const MIRROR_ANNOTATION: &str = "kubernetes.io/config.mirror";
/// Which file describes the pod.
pub const FILE_ANNOTATION: &str = "usher.dev/manifest-file";

/// `kubernetes.io/config.source` of pods of files.
const SOURCE_FILE: &str = "file";
/// The longest name of a pod, in bytes.
const NAME_BYTES_MAX: usize = 253;
/// Priorities of the classes that every cluster has.
const SYSTEM_PRIORITIES: [(&str, i32); 2] = [("system-cluster-critical", 2_000_000_000), ("system-node-critical", 2_000_001_000)];

/// Where a static pod comes from.
#[derive(Clone, Copy, Debug)]
pub struct Origin<'a> {
    /// The node.
    pub node_name: &'a str,
    /// The file.
    pub file: &'a Path,
    /// When it was written, as RFC 3339.
    pub seen: &'a str,
    /// What it says, before anything was filled in.
    pub written: &'a Value,
}

/// Why a pod cannot be a static one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StaticPodError {
    /// It speaks of an object of the API, which may not be there when the node starts. The text is the reference's.
    #[error("static pods may not reference {0}")]
    References(&'static str),
    /// The node's name behind it makes its name too long.
    #[error("the name {name:?} of the pod is too long: with the node's name behind it, it must have at most {NAME_BYTES_MAX} characters")]
    Name {
        /// That name.
        name: String,
    },
    /// Its uid is given, and is none.
    #[error("metadata.uid {uid:?} must consist of letters, digits and '-'; leave it out, and it is made of what the file says")]
    Uid {
        /// What was given.
        uid: String,
    },
}

/// The pod that a file describes, as it runs on the node (k8s: 11.c.1).
///
/// # Errors
/// When it cannot be a static pod.
pub fn static_pod(mut pod: Pod, origin: &Origin<'_>) -> Result<Pod, StaticPodError> {
    let spec = pod.spec.get_or_insert_default();
    if let Some(resource) = referenced(spec) {
        return Err(StaticPodError::References(resource));
    }
    let uid = uid_of(&pod.metadata, origin)?;
    let name = format!("{}-{}", pod.metadata.name.as_deref().unwrap_or_default(), origin.node_name.to_lowercase());
    if name.len() > NAME_BYTES_MAX {
        return Err(StaticPodError::Name { name });
    }
    let spec = pod.spec.get_or_insert_default();
    spec.node_name = Some(origin.node_name.to_owned());
    let class = spec.priority_class_name.as_deref();
    if spec.priority.is_none() {
        spec.priority = SYSTEM_PRIORITIES.iter().find(|(name, _)| class == Some(*name)).map(|(_, priority)| *priority);
    }
    let everything = Toleration { effect: Some("NoExecute".to_owned()), operator: Some("Exists".to_owned()), ..Toleration::default() };
    let tolerations = spec.tolerations.get_or_insert_default();
    if !tolerations.contains(&everything) {
        tolerations.push(everything);
    }
    let annotations = pod.metadata.annotations.get_or_insert_default();
    annotations.remove(MIRROR_ANNOTATION);
    let file = origin.file.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let set = [(SOURCE_ANNOTATION, SOURCE_FILE.to_owned()), (HASH_ANNOTATION, uid.clone()), (SEEN_ANNOTATION, origin.seen.to_owned())];
    annotations.extend(set.into_iter().chain([(FILE_ANNOTATION, file)]).map(|(key, value)| (key.to_owned(), value)));
    (pod.metadata.name, pod.metadata.uid) = (Some(name), Some(uid));
    pod.status = Some(PodStatus { phase: Some("Pending".to_owned()), ..PodStatus::default() });
    Ok(pod)
}

/// The object by which the API shows a static pod; `node_uid` is that of the Node object, if there is one (k8s: 11.c.5).
pub fn mirror(pod: &Pod, node_name: &str, node_uid: Option<&str>) -> Pod {
    let mut annotations = pod.metadata.annotations.clone().unwrap_or_default();
    annotations.insert(MIRROR_ANNOTATION.to_owned(), annotations.get(HASH_ANNOTATION).cloned().unwrap_or_default());
    let owner = node_uid.map(|uid| OwnerReference {
        api_version: "v1".to_owned(),
        kind: "Node".to_owned(),
        name: node_name.to_owned(),
        uid: uid.to_owned(),
        controller: Some(true),
        block_owner_deletion: None,
    });
    let metadata = ObjectMeta {
        name: pod.metadata.name.clone(),
        namespace: pod.metadata.namespace.clone(),
        labels: pod.metadata.labels.clone(),
        annotations: Some(annotations),
        owner_references: owner.map(|owner| vec![owner]),
        ..ObjectMeta::default()
    };
    Pod { metadata, spec: pod.spec.clone(), status: None }
}

/// Whether a pod comes from a file.
pub fn is_static(pod: &Pod) -> bool {
    annotation(pod, SOURCE_ANNOTATION).is_some_and(|source| source != "api") && !is_mirror(pod)
}

/// Whether an object is the mirror of a static pod.
pub fn is_mirror(pod: &Pod) -> bool {
    annotation(pod, MIRROR_ANNOTATION).is_some()
}

/// The uid under which the node runs a pod of the API: a mirror names that of its static pod.
pub fn uid_on_node(pod: &Pod) -> &str {
    annotation(pod, MIRROR_ANNOTATION).or(pod.metadata.uid.as_deref()).unwrap_or_default()
}

/// An annotation of a pod.
pub fn annotation<'a>(pod: &'a Pod, key: &str) -> Option<&'a str> {
    pod.metadata.annotations.as_ref()?.get(key).map(String::as_str)
}

/// When what is known of the end of a pod was learnt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Learnt {
    /// Since the engine began.
    ByThisEngine,
    /// Before that: what kept a pod from running may have passed.
    Before,
}

/// Whether a static pod with this status has ended for good, so that it is not run again while its file stays as it is.
pub fn is_over(pod: &Pod, status: &PodStatus, learnt: Learnt) -> bool {
    if !matches!(status.phase.as_deref(), Some("Succeeded" | "Failed")) {
        return false;
    }
    match status.reason.as_deref().unwrap_or_default() {
        // By itself if it may end at all; otherwise somebody asked, and the file still wants it.
        "" => pod.spec.as_ref().and_then(|spec| spec.restart_policy.as_deref()).is_some_and(|policy| policy != "Always"),
        "DeadlineExceeded" => true,
        // The node did not take it, or went down.
        _ => learnt == Learnt::ByThisEngine,
    }
}

fn uid_of(metadata: &ObjectMeta, origin: &Origin<'_>) -> Result<String, StaticPodError> {
    match metadata.uid.as_deref().filter(|uid| !uid.is_empty()) {
        Some(uid) if uid.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') => Ok(uid.to_owned()),
        Some(uid) => Err(StaticPodError::Uid { uid: uid.to_owned() }),
        None => {
            let Origin { node_name, file, written, .. } = origin;
            let identity = format!("{written}host:{}file:{}", node_name.to_lowercase(), file.display());
            Ok(format!("{:032x}", hash(identity.as_bytes())))
        }
    }
}

/// FNV-1a of 128 bits.
pub fn hash(bytes: &[u8]) -> u128 {
    const BASIS: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    bytes.iter().fold(BASIS, |hash, byte| (hash ^ u128::from(*byte)).wrapping_mul(PRIME))
}

/// The kind of object of the API that a pod speaks of, by the name of its resource.
fn referenced(spec: &PodSpec) -> Option<&'static str> {
    if spec.service_account_name.as_deref().is_some_and(|name| !name.is_empty()) {
        return Some("serviceaccounts");
    }
    if spec.image_pull_secrets.as_ref().is_some_and(|secrets| !secrets.is_empty()) {
        return Some("secrets");
    }
    if spec.resource_claims.as_ref().is_some_and(|claims| !claims.is_empty()) {
        return Some("resourceclaims");
    }
    let written = serde_json::to_value(spec).ok()?;
    let mut found = BTreeSet::new();
    collect(&written, &mut found);
    let order = ["secrets", "configmaps", "persistentvolumeclaims", "clustertrustbundles", "serviceaccounts"];
    order.into_iter().find(|resource| found.contains(resource))
}

/// Fields by which a pod speaks of objects, wherever they stand in it.
fn collect(value: &Value, found: &mut BTreeSet<&'static str>) {
    match value {
        Value::Object(fields) => {
            for (field, value) in fields {
                let resource = match field.as_str() {
                    "secret" | "secretRef" | "secretKeyRef" => Some("secrets"),
                    "configMap" | "configMapRef" | "configMapKeyRef" => Some("configmaps"),
                    "persistentVolumeClaim" | "ephemeral" => Some("persistentvolumeclaims"),
                    "clusterTrustBundle" => Some("clustertrustbundles"),
                    "serviceAccountToken" => Some("serviceaccounts"),
                    _ => None,
                };
                if let Some(resource) = resource.filter(|_| value.is_object()) {
                    found.insert(resource);
                }
                collect(value, found);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(spec: Value) -> Pod {
        let mut pod = json!({ "metadata": { "name": "web", "namespace": "ns" }, "spec": { "containers": [{ "name": "c" }] } });
        for (field, value) in spec.as_object().into_iter().flatten() {
            pod["spec"][field] = value.clone();
        }
        serde_json::from_value(pod).expect("a pod")
    }

    fn made(pod: Pod, file: &str, written: &Value) -> Result<Pod, StaticPodError> {
        static_pod(pod, &Origin { node_name: "Node-A", file: Path::new(file), seen: "2026-01-01T00:00:00Z", written })
    }

    // k8s: 11.c.1
    #[test]
    fn a_static_pod_is_known_by_what_its_file_says_the_node_and_the_file() {
        let written = json!({ "a": 1 });
        let one = made(pod(json!({})), "/m/web.yaml", &written).expect("a static pod");
        let uid = one.metadata.uid.clone().expect("a uid");
        assert!(uid.len() == 32 && uid.bytes().all(|byte| byte.is_ascii_hexdigit()), "{uid}");
        assert_eq!(one.metadata.name.as_deref(), Some("web-node-a"));
        let expected = [
            (SOURCE_ANNOTATION, "file"),
            (HASH_ANNOTATION, uid.as_str()),
            (SEEN_ANNOTATION, "2026-01-01T00:00:00Z"),
            (FILE_ANNOTATION, "web.yaml"),
        ];
        for (key, value) in expected {
            assert_eq!(annotation(&one, key), Some(value));
        }
        let tolerations = serde_json::to_value(&one.spec.as_ref().expect("a spec").tolerations).expect("JSON");
        assert_eq!(tolerations, json!([{ "effect": "NoExecute", "operator": "Exists" }]));
        assert_eq!(one.status.as_ref().and_then(|status| status.phase.as_deref()), Some("Pending"));
        assert!(is_static(&one) && !is_mirror(&one) && crate::eviction::rank::is_critical(&one), "k8s: 4.c.1, 11.c.9");

        let again = made(pod(json!({})), "/m/web.yaml", &written).expect("a static pod");
        assert_eq!(again, one);
        for (file, written) in [("/m/other.yaml", written), ("/m/web.yaml", json!({ "a": 2 }))] {
            let other = made(pod(json!({})), file, &written).expect("a static pod");
            assert_ne!(other.metadata.uid, one.metadata.uid, "{file}");
        }
        // The published example of the hash.
        assert_eq!(hash(b"a"), 0xd228_cb69_6f1a_8caf_7891_2b70_4e4a_8964);
    }

    #[test]
    fn a_uid_that_is_given_is_kept_and_must_be_one() {
        let with = |uid: &str| {
            let mut pod = pod(json!({}));
            pod.metadata.uid = Some(uid.to_owned());
            made(pod, "/m/a.yaml", &json!({}))
        };
        assert_eq!(with("1234-ab").expect("a static pod").metadata.uid.as_deref(), Some("1234-ab"));
        assert_eq!(with("../../etc"), Err(StaticPodError::Uid { uid: "../../etc".to_owned() }));
    }

    #[test]
    fn a_static_pod_speaks_of_no_objects_of_the_api() {
        let cases = [
            (json!({ "serviceAccountName": "x" }), "serviceaccounts"),
            (json!({ "imagePullSecrets": [{ "name": "x" }] }), "secrets"),
            (json!({ "volumes": [{ "name": "v", "configMap": { "name": "x" } }] }), "configmaps"),
            (json!({ "volumes": [{ "name": "v", "projected": { "sources": [{ "secret": { "name": "x" } }] } }] }), "secrets"),
            (json!({ "volumes": [{ "name": "v", "persistentVolumeClaim": { "claimName": "x" } }] }), "persistentvolumeclaims"),
            (json!({ "containers": [{ "name": "c", "envFrom": [{ "configMapRef": { "name": "x" } }] }] }), "configmaps"),
        ];
        for (spec, resource) in cases {
            let refused = made(pod(spec), "/m/a.yaml", &json!({})).expect_err(resource);
            assert_eq!(refused.to_string(), format!("static pods may not reference {resource}"));
        }
        let own = json!({ "volumes": [{ "name": "v", "emptyDir": {} }, { "name": "h", "hostPath": { "path": "/x" } }] });
        assert!(made(pod(own), "/m/a.yaml", &json!({})).is_ok());
    }

    #[test]
    fn the_system_classes_have_their_priorities() {
        let priority = |spec| made(pod(spec), "/m/a.yaml", &json!({})).ok().and_then(|pod| pod.spec?.priority);
        assert_eq!(priority(json!({ "priorityClassName": "system-node-critical" })), Some(2_000_001_000));
        assert_eq!(priority(json!({ "priorityClassName": "system-node-critical", "priority": 5 })), Some(5));
        assert_eq!(priority(json!({})), None);
    }

    // k8s: 11.c.5
    #[test]
    fn a_mirror_has_the_hash_of_its_pod_and_belongs_to_the_node() {
        let one = made(pod(json!({})), "/m/web.yaml", &json!({})).expect("a static pod");
        let mirrored = mirror(&one, "node-a", Some("n-1"));
        assert!(is_mirror(&mirrored) && !is_static(&mirrored));
        assert_eq!(uid_on_node(&mirrored), one.metadata.uid.as_deref().expect("a uid"));
        assert_eq!((mirrored.metadata.uid.as_ref(), mirrored.status.as_ref()), (None, None), "the API gives it those");
        let owner = serde_json::to_value(&mirrored.metadata.owner_references).expect("JSON");
        assert_eq!(owner, json!([{ "apiVersion": "v1", "kind": "Node", "name": "node-a", "uid": "n-1", "controller": true }]));
        assert!(crate::eviction::rank::is_critical(&mirrored));
    }

    // k8s: 11.c.6, 11.c.10
    #[test]
    fn a_static_pod_begins_again_unless_it_has_ended_for_good() {
        let status = |phase: &str, reason: &str| PodStatus {
            phase: Some(phase.to_owned()),
            reason: Some(reason.to_owned()).filter(|reason| !reason.is_empty()),
            ..PodStatus::default()
        };
        let (always, never) = (pod(json!({ "restartPolicy": "Always" })), pod(json!({ "restartPolicy": "Never" })));
        for learnt in [Learnt::ByThisEngine, Learnt::Before] {
            assert!(!is_over(&never, &status("Running", ""), learnt));
            assert!(is_over(&never, &status("Succeeded", ""), learnt), "it is done");
            assert!(!is_over(&always, &status("Succeeded", ""), learnt), "somebody stopped it");
            assert!(is_over(&always, &status("Failed", "DeadlineExceeded"), learnt));
            assert_eq!(is_over(&always, &status("Failed", "OutOfcpu"), learnt), learnt == Learnt::ByThisEngine);
            assert_eq!(is_over(&never, &status("Failed", "Terminated"), learnt), learnt == Learnt::ByThisEngine);
        }
    }
}
