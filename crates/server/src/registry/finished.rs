//! Pods that have ended and stay for whoever wants to look at them: when there are too many, the oldest go.

use serde_json::Value;

use super::{DeleteOptions, Registry};
use crate::kinds::stored;
use crate::object;
use crate::status::ApiResult;

/// A pod that has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Finished {
    namespace: String,
    name: String,
    uid: String,
    created: String,
    is_evicted: bool,
}

impl Registry {
    /// Removes pods that have ended, until no more than `count_max` are left; returns how many went.
    ///
    /// # Errors
    /// One of them cannot be removed.
    pub async fn remove_surplus_finished(&self, count_max: usize) -> ApiResult<usize> {
        let kind = stored("pods");
        let surplus = {
            let list = self.store.list(kind.stored_as);
            // Most nodes never have so many pods: then none is looked at.
            if list.iter(None).count() <= count_max {
                return Ok(0);
            }
            surplus(list.iter(None).filter_map(|(_, stored)| finished(&stored.value())).collect(), count_max)
        };
        for pod in &surplus {
            let options = DeleteOptions { grace_period_seconds: Some(0), uid: Some(pod.uid.clone()), ..DeleteOptions::default() };
            match self.delete(kind, &pod.namespace, &pod.name, &options).await {
                Ok(_) => {}
                // Someone else was faster.
                Err(error) if matches!(error.code, 404 | 409) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(surplus.len())
    }
}

/// `None` for pods that go on, that are being deleted already, and for mirrors, which would come back.
fn finished(pod: &Value) -> Option<Finished> {
    let has_ended = matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed"));
    if !has_ended || object::is_terminating(pod) || object::is_mirror(pod) {
        return None;
    }
    Some(Finished {
        namespace: object::namespace(pod).to_owned(),
        name: object::name(pod).to_owned(),
        uid: object::uid(pod).to_owned(),
        created: object::meta(pod, "creationTimestamp").to_owned(),
        is_evicted: pod["status"]["reason"] == "Evicted",
    })
}

/// As in the reference: evicted ones first, then the oldest, then by name.
fn surplus(mut finished: Vec<Finished>, count_max: usize) -> Vec<Finished> {
    finished.sort_by(|a, b| {
        let evicted_first = b.is_evicted.cmp(&a.is_evicted);
        evicted_first.then_with(|| (&a.created, &a.namespace, &a.name).cmp(&(&b.created, &b.namespace, &b.name)))
    });
    finished.truncate(finished.len().saturating_sub(count_max));
    finished
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(name: &str, second: u32, changes: &Value) -> Value {
        let mut pod = json!({
            "metadata": { "name": name, "namespace": "ns", "uid": name, "creationTimestamp": format!("2026-01-01T00:00:{second:02}Z") },
            "status": { "phase": "Succeeded" },
        });
        crate::patch::apply_merge_patch(&mut pod, changes);
        pod
    }

    #[test]
    fn the_oldest_that_have_ended_go_and_evicted_ones_before_them() {
        let pods = [
            pod("young", 9, &json!({})),
            pod("old", 1, &json!({ "status": { "phase": "Failed" } })),
            pod("evicted", 8, &json!({ "status": { "phase": "Failed", "reason": "Evicted" } })),
            pod("running", 0, &json!({ "status": { "phase": "Running" } })),
            pod("going", 0, &json!({ "metadata": { "deletionTimestamp": "2026-01-01T00:00:00Z" } })),
            pod("mirror", 0, &json!({ "metadata": { "annotations": { "kubernetes.io/config.mirror": "x" } } })),
            pod("middle", 5, &json!({})),
        ];
        let names = |count_max| {
            let finished = pods.iter().filter_map(finished).collect();
            surplus(finished, count_max).into_iter().map(|pod| pod.name).collect::<Vec<_>>()
        };
        assert_eq!(names(0), ["evicted", "old", "middle", "young"]);
        assert_eq!(names(2), ["evicted", "old"]);
        assert_eq!(names(4), [""; 0]);
    }
}
