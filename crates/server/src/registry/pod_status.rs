//! The node's word about its pods.

use serde_json::Value;

use super::update::Ownership;
use super::{Registry, WriteOptions};
use crate::kinds::stored;
use crate::object::{self, meta_mut};
use crate::status::{ApiError, ApiResult};
use crate::strategy::{Part, with_what_others_wrote};

impl Registry {
    /// Sets what the node sees of a pod that must have this UID. What others wrote into the status stays, also what they wrote after
    /// the node looked last (k8s: 8.b.2).
    ///
    /// # Errors
    /// The pod is gone, or another one has its name.
    pub async fn set_pod_status(&self, namespace: &str, name: &str, uid: &str, status: &Value, options: &WriteOptions) -> ApiResult<Value> {
        let kind = stored("pods");
        let changed = self.change(kind, Part::Status, namespace, name, options, |old| {
            let found = object::uid(old);
            if found != uid {
                let why = format!("Precondition failed: UID in precondition: {uid}, UID in object meta: {found}");
                return Err(ApiError::conflict(kind, name, &why));
            }
            let mut new = old.clone();
            // Whoever writes meanwhile is waited for.
            meta_mut(&mut new).remove("resourceVersion");
            new["status"] = with_what_others_wrote(&old["status"], status.clone());
            Ok((new, Ownership::Note, Vec::new()))
        });
        changed.await.map(|(pod, _)| pod)
    }
}
