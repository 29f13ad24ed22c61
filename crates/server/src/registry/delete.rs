//! Deletion: at once, with grace, or when the last finalizer is gone.

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::{CONFLICT_RETRIES_MAX, DeleteOptions, DryRun, ListOptions, Registry, now, shown_as};
use crate::kinds::{Kind, stored};
use crate::object::{self, meta_mut, parse_time, time_text};
use crate::status::{ApiError, ApiResult};
use crate::store::{ObjectKey, Write, WriteError};

/// Namespaces that always are.
const PROTECTED_NAMESPACES: [&str; 3] = ["default", "kube-public", "kube-system"];

/// What became of an object that was to be deleted.
#[derive(Clone, Debug, PartialEq)]
pub enum Deletion {
    /// It is gone; its last state.
    Gone(Value),
    /// It goes when its grace is over or its finalizers are gone.
    Pending(Value),
}

impl Deletion {
    /// The object.
    pub fn object(&self) -> &Value {
        let (Self::Gone(object) | Self::Pending(object)) = self;
        object
    }
}

/// What a deletion does next.
#[derive(Debug, PartialEq)]
enum Step {
    /// Nothing: it is on its way already.
    Nothing,
    /// Say in the object that it is being deleted, and leave it.
    Mark(Value),
    /// Say so, and remove it then.
    MarkAndRemove(Value),
    /// Remove it.
    Remove,
}

impl Registry {
    /// Deletes an object, or begins to.
    ///
    /// # Errors
    /// There is no such object, it is not the one meant, or it may not be deleted.
    pub async fn delete(&self, kind: &Kind, namespace: &str, name: &str, options: &DeleteOptions) -> ApiResult<Deletion> {
        if kind.kind == "Namespace" && PROTECTED_NAMESPACES.contains(&name) {
            return Err(ApiError::forbidden(kind, name, "this namespace may not be deleted"));
        }
        let mut marked = None;
        for _ in 0..CONFLICT_RETRIES_MAX {
            let current = match (self.stored(kind, namespace, name), &marked) {
                (Ok(current), None) => current,
                (Ok(current), Some(marked)) if object::uid(&current.value()) == object::uid(marked) => current,
                // Whoever waited for the mark was faster: it is gone all the same.
                (Ok(_) | Err(_), Some(marked)) => return Ok(Deletion::Gone(shown_as(kind, marked.clone()))),
                (Err(error), None) => return Err(error),
            };
            let old = current.value();
            check_preconditions(kind, name, &old, options)?;
            let step = decide(stored(kind.stored_as), &old, options.grace_period_seconds, now());
            let show = |object: Value| shown_as(kind, object);
            if options.dry_run == DryRun::All {
                return Ok(match step {
                    Step::Nothing => Deletion::Pending(show(old)),
                    Step::Mark(object) => Deletion::Pending(show(object)),
                    Step::MarkAndRemove(object) => Deletion::Gone(show(object)),
                    Step::Remove => Deletion::Gone(show(old)),
                });
            }
            if matches!(step, Step::Mark(_) | Step::MarkAndRemove(_))
                && let Some(by) = &options.by
            {
                // Before the mark can be seen.
                self.askers.note(object::uid(&old), by);
            }
            let key = ObjectKey::new(namespace, name);
            let written = match step {
                Step::Nothing => return Ok(Deletion::Pending(show(old))),
                Step::Mark(object) => {
                    let marked = self.store.write(kind.stored_as, key, Write::Update(current.revision, object)).await;
                    marked.map(|stored| Deletion::Pending(show(stored.value())))
                }
                Step::MarkAndRemove(object) => {
                    match self.store.write(kind.stored_as, key.clone(), Write::Update(current.revision, object)).await {
                        Ok(written) => {
                            marked = Some(written.value());
                            self.remove(kind, key, written.revision).await.map(|object| Deletion::Gone(show(object)))
                        }
                        Err(error) => Err(error),
                    }
                }
                Step::Remove => self.remove(kind, key, current.revision).await.map(|object| Deletion::Gone(show(object))),
            };
            match written {
                Ok(deletion) => {
                    if kind.kind == "Namespace" {
                        self.empty_namespace_soon(name);
                    }
                    return Ok(deletion);
                }
                Err(WriteError::Conflict(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(ApiError::modified(kind, name))
    }

    async fn remove(&self, kind: &Kind, key: ObjectKey, revision: crate::store::Revision) -> Result<Value, WriteError> {
        let gone = self.store.write(kind.stored_as, key, Write::Delete(revision)).await?.value();
        // Of a pod that goes at once, the node has still to be told.
        if kind.kind != "Pod" {
            self.askers.forget(object::uid(&gone));
        }
        Ok(gone)
    }

    /// The object with this UID is gone, and whoever had to be told is.
    pub fn forget_asker(&self, uid: &str) {
        self.askers.forget(uid);
    }

    /// Who asked for the deletion of the object with this UID, if that is known.
    pub fn deletion_asker(&self, uid: &str) -> Option<String> {
        self.askers.of(uid)
    }

    /// Deletes all objects that a list gives.
    ///
    /// # Errors
    /// The list cannot be made, or one of them may not be deleted.
    pub async fn delete_collection(
        &self,
        kind: &Kind,
        namespace: Option<&str>,
        list: &ListOptions,
        options: &DeleteOptions,
    ) -> ApiResult<Vec<Value>> {
        let found = self.list(kind, namespace, list)?;
        let mut deleted = Vec::with_capacity(found.items.len());
        for item in &found.items {
            let object = item.value();
            match self.delete(kind, object::namespace(&object), object::name(&object), options).await {
                Ok(deletion) => deleted.push(deletion.object().clone()),
                Err(error) if error.code == 404 => {}
                Err(error) => return Err(error),
            }
        }
        Ok(deleted)
    }
}

pub(super) fn check_preconditions(kind: &Kind, name: &str, object: &Value, options: &DeleteOptions) -> ApiResult<()> {
    let checks = [("UID", "uid", &options.uid), ("ResourceVersion", "resourceVersion", &options.resource_version)];
    for (title, field, wanted) in checks {
        let found = object::meta(object, field);
        if let Some(wanted) = wanted
            && wanted != found
        {
            let why = format!("Precondition failed: {title} in precondition: {wanted}, {title} in object meta: {found}");
            return Err(ApiError::conflict(kind, name, &why));
        }
    }
    Ok(())
}

/// What deleting an object comes to.
fn decide(kind: &Kind, object: &Value, asked: Option<i64>, now: Timestamp) -> Step {
    let held = object::has_finalizers(object);
    let mark = |object: Value| if held { Step::Mark(object) } else { Step::MarkAndRemove(object) };
    match (kind.kind, object::is_terminating(object)) {
        ("Pod", false) => {
            let grace = pod_grace(object, asked);
            let marked = marked(object, grace, now);
            if grace == 0 { mark(marked) } else { Step::Mark(marked) }
        }
        ("Pod", true) => again(object, asked, now),
        ("Namespace", false) => {
            let mut marked = marked(object, 0, now);
            meta_mut(&mut marked).remove("deletionGracePeriodSeconds");
            marked["status"]["phase"] = json!("Terminating");
            Step::Mark(marked)
        }
        ("Namespace", true) => Step::Nothing,
        (_, false) if held => Step::Mark(marked(object, 0, now)),
        (_, true) if held => Step::Nothing,
        (_, false | true) => Step::Remove,
    }
}

/// k8s: 1.b.7, 1.b.8, 1.b.9
fn pod_grace(pod: &Value, asked: Option<i64>) -> i64 {
    let finished = matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed"));
    let unbound = pod["spec"]["nodeName"].as_str().unwrap_or_default().is_empty();
    if finished || unbound {
        return 0;
    }
    let own = pod["spec"]["terminationGracePeriodSeconds"].as_i64();
    match asked.or(own).unwrap_or(0) {
        negative if negative < 0 => 1,
        seconds => seconds,
    }
}

/// The object with the end of its grace in it. k8s: 1.b.10
fn marked(object: &Value, grace: i64, now: Timestamp) -> Value {
    let mut marked = object.clone();
    let end = now.checked_add(SignedDuration::from_secs(grace)).unwrap_or(Timestamp::MAX);
    let generation = object["metadata"]["generation"].as_i64();
    let metadata = meta_mut(&mut marked);
    metadata.insert("deletionTimestamp".to_owned(), json!(time_text(end)));
    metadata.insert("deletionGracePeriodSeconds".to_owned(), json!(grace));
    if let Some(generation) = generation {
        metadata.insert("generation".to_owned(), json!(generation + 1));
    }
    marked
}

/// A pod that is being deleted is deleted again.
fn again(pod: &Value, asked: Option<i64>, now: Timestamp) -> Step {
    let held = object::has_finalizers(pod);
    // k8s: 1.b.14
    let Some(stored) = pod["metadata"]["deletionGracePeriodSeconds"].as_i64().filter(|seconds| *seconds > 0) else {
        return if held { Step::Nothing } else { Step::Remove };
    };
    // k8s: 1.b.11
    let Some(asked) = asked.map(|asked| if asked < 0 { 1 } else { asked }).filter(|asked| *asked < stored) else {
        return Step::Nothing;
    };
    // k8s: 1.b.12, 1.b.13
    let end = parse_time(object::meta(pod, "deletionTimestamp")).unwrap_or(now);
    let mut end = end.checked_sub(SignedDuration::from_secs(stored - asked)).unwrap_or(now);
    let mut grace = asked;
    if end < now {
        end = now;
        grace = grace.min(1);
    }
    let mut marked = pod.clone();
    let metadata = meta_mut(&mut marked);
    metadata.insert("deletionTimestamp".to_owned(), json!(time_text(end)));
    metadata.insert("deletionGracePeriodSeconds".to_owned(), json!(grace));
    if grace == 0 && !held { Step::MarkAndRemove(marked) } else { Step::Mark(marked) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + second).expect("a time")
    }

    fn pod(changes: Value) -> Value {
        let mut pod = json!({
            "metadata": { "name": "p", "generation": 1 },
            "spec": { "nodeName": "n", "terminationGracePeriodSeconds": 30 },
            "status": { "phase": "Running" },
        });
        crate::patch::apply_merge_patch(&mut pod, &changes);
        pod
    }

    fn grace_and_end(step: Step) -> (Option<i64>, String) {
        match step {
            Step::Mark(object) | Step::MarkAndRemove(object) => {
                (object["metadata"]["deletionGracePeriodSeconds"].as_i64(), object::meta(&object, "deletionTimestamp").to_owned())
            }
            Step::Nothing | Step::Remove => panic!("{step:?} marks nothing"),
        }
    }

    // k8s: 1.b.7, 1.b.9, 1.b.10
    #[test]
    fn the_grace_is_what_was_asked_for_or_else_the_pods_own() {
        let check = |asked, grace| {
            let step = decide(stored("pods"), &pod(json!({})), asked, at(0));
            assert!(matches!(&step, Step::Mark(object) if object["metadata"]["generation"] == 2), "{step:?}");
            assert_eq!(grace_and_end(step), (Some(grace), time_text(at(grace))));
        };
        check(None, 30);
        check(Some(100), 100);
        check(Some(5), 5);
        check(Some(-3), 1);
    }

    // k8s: 1.b.8, 1.b.15
    #[test]
    fn finished_and_unbound_pods_and_those_without_grace_go_at_once() {
        for (changes, asked) in [
            (json!({ "status": { "phase": "Succeeded" } }), Some(60)),
            (json!({ "status": { "phase": "Failed" } }), None),
            (json!({ "spec": { "nodeName": null } }), None),
            (json!({}), Some(0)),
        ] {
            let step = decide(stored("pods"), &pod(changes.clone()), asked, at(0));
            assert!(matches!(step, Step::MarkAndRemove(_)), "{changes}");
            assert_eq!(grace_and_end(step).0, Some(0));
        }
        let held = pod(json!({ "metadata": { "finalizers": ["x/y"] } }));
        assert!(matches!(decide(stored("pods"), &held, Some(0), at(0)), Step::Mark(_)));
    }

    // k8s: 1.b.11, 1.b.12, 1.b.13, 1.b.14
    #[test]
    fn deleting_again_only_shortens() {
        let going =
            |grace: i64| pod(json!({ "metadata": { "deletionTimestamp": time_text(at(grace)), "deletionGracePeriodSeconds": grace } }));
        let pods = stored("pods");
        for asked in [None, Some(30), Some(60)] {
            assert_eq!(decide(pods, &going(30), asked, at(10)), Step::Nothing, "{asked:?}");
        }
        let step = decide(pods, &going(30), Some(20), at(10));
        assert!(matches!(&step, Step::Mark(object) if object["metadata"]["generation"] == 1));
        assert_eq!(grace_and_end(step), (Some(20), time_text(at(20))));
        assert_eq!(grace_and_end(decide(pods, &going(30), Some(5), at(10))), (Some(1), time_text(at(10))));
        assert_eq!(grace_and_end(decide(pods, &going(30), Some(0), at(10))), (Some(0), time_text(at(10))));
        assert!(matches!(decide(pods, &going(30), Some(0), at(10)), Step::MarkAndRemove(_)));
        assert_eq!(decide(pods, &going(0), None, at(0)), Step::Remove);
    }

    #[test]
    fn other_objects_wait_for_their_finalizers_only() {
        let map = json!({ "metadata": { "name": "a" } });
        assert_eq!(decide(stored("configmaps"), &map, Some(30), at(0)), Step::Remove);
        let held = json!({ "metadata": { "name": "a", "finalizers": ["x/y"] } });
        let Step::Mark(going) = decide(stored("configmaps"), &held, None, at(0)) else { panic!("it is held") };
        assert_eq!(decide(stored("configmaps"), &going, None, at(1)), Step::Nothing);
    }
}
