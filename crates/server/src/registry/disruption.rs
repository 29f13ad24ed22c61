//! Deletions that nobody asked for in the name of the pod's user: its status says so before it goes.

use serde_json::{Value, json};

use super::delete::check_preconditions;
use super::update::Ownership;
use super::{DeleteOptions, Deletion, DryRun, Registry, WriteOptions, now};
use crate::kinds::stored;
use crate::object::{self, meta_mut, time_text};
use crate::status::ApiResult;
use crate::strategy::Part;

/// Why a pod goes, in the reference's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disruption {
    /// Somebody asked for its eviction, as `kubectl drain` does.
    Eviction,
    /// It does not tolerate a taint of the node.
    Taint,
}

impl Disruption {
    fn condition(self, now: &str) -> Value {
        let (reason, message) = match self {
            Self::Eviction => ("EvictionByEvictionAPI", "Eviction API: evicting"),
            Self::Taint => ("DeletionByTaintManager", "Taint manager: deleting due to NoExecute taint"),
        };
        json!({ "type": CONDITION, "status": "True", "reason": reason, "message": message, "lastTransitionTime": now })
    }
}

const CONDITION: &str = "DisruptionTarget";

impl Registry {
    /// Deletes a pod whose status says why; of one that goes already, it says what it said before.
    ///
    /// # Errors
    /// As for [`Registry::delete`].
    pub async fn disrupt(&self, namespace: &str, name: &str, why: Disruption, options: &DeleteOptions) -> ApiResult<Deletion> {
        let kind = stored("pods");
        if options.dry_run == DryRun::All {
            return self.delete(kind, namespace, name, options).await;
        }
        let writer = WriteOptions::of("usher");
        let noted = self.change(kind, Part::Status, namespace, name, &writer, |old| {
            check_preconditions(kind, name, old, options)?;
            let mut new = old.clone();
            meta_mut(&mut new).remove("resourceVersion");
            if !object::is_terminating(old) {
                note(&mut new, why.condition(&time_text(now())));
            }
            Ok((new, Ownership::Note, Vec::new()))
        });
        let (pod, _) = noted.await?;
        // Who wants it as it was gets it as it is with the word in it.
        let resource_version = options.resource_version.as_ref().map(|_| object::meta(&pod, "resourceVersion").to_owned());
        self.delete(kind, namespace, name, &DeleteOptions { resource_version, ..options.clone() }).await
    }
}

fn note(pod: &mut Value, condition: Value) {
    let known = pod["status"]["conditions"].as_array().into_iter().flatten();
    let others = known.filter(|condition| condition["type"] != CONDITION).cloned();
    pod["status"]["conditions"] = others.chain([condition]).collect();
}
