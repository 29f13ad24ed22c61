//! Creation.

use serde_json::{Value, json};

use super::{DryRun, Registry, WriteOptions, now, random_suffix, random_uid, shown_as, stored_form};
use crate::kinds::{Kind, stored};
use crate::managed::{Writer, note_update};
use crate::object::{self, meta_mut, time_text};
use crate::status::{ApiError, ApiResult};
use crate::store::{ObjectKey, Write, WriteError};
use crate::strategy;

/// How often another name is drawn when a generated one is taken.
const GENERATED_NAMES_MAX: usize = 8;

impl Registry {
    /// Creates an object that fits its type. Gives it as it is, and warnings.
    ///
    /// # Errors
    /// It is not valid, there is one of that name, its namespace is not there, or the disk refuses.
    pub async fn create(&self, kind: &Kind, namespace: &str, object: Value, options: &WriteOptions) -> ApiResult<(Value, Vec<String>)> {
        if !object::meta(&object, "resourceVersion").is_empty() {
            return Err(ApiError::new(500, "", "resourceVersion should not be set on objects to be created"));
        }
        let generated = object::name(&object).is_empty();
        let mut tries = 0;
        loop {
            let prepared = self.prepare_new(kind, namespace, object.clone(), options)?;
            let (object, warnings) = prepared;
            if options.dry_run == DryRun::All {
                let name = object::name(&object);
                if self.stored(kind, namespace, name).is_ok() {
                    return Err(ApiError::already_exists(kind, name));
                }
                return Ok((object, warnings));
            }
            tries += 1;
            match self.store_new(kind, namespace, object).await {
                Err(error) if generated && error.reason == "AlreadyExists" && tries < GENERATED_NAMES_MAX => {}
                result => return result.map(|object| (object, warnings)),
            }
        }
    }

    /// The object as it would be stored.
    pub(super) fn prepare_new(
        &self,
        kind: &Kind,
        namespace: &str,
        mut object: Value,
        options: &WriteOptions,
    ) -> ApiResult<(Value, Vec<String>)> {
        place(kind, namespace, &mut object)?;
        name(&mut object)?;
        let now = now();
        let metadata = meta_mut(&mut object);
        for field in ["deletionTimestamp", "deletionGracePeriodSeconds", "selfLink", "resourceVersion", "generation"] {
            metadata.remove(field);
        }
        metadata.insert("uid".to_owned(), json!(random_uid()?));
        metadata.insert("creationTimestamp".to_owned(), json!(time_text(now)));
        let has_spec = matches!(kind.kind, "Pod" | "PriorityClass" | "RuntimeClass");
        if has_spec {
            metadata.insert("generation".to_owned(), json!(1));
        }
        let mut object = stored_form(kind, object);
        let stored_kind = stored(kind.stored_as);
        self.admit(kind, namespace, &object)?;
        if stored_kind.kind == "Pod" {
            self.admit_runtime_class(kind, &mut object)?;
        }
        let verdict = strategy::prepare_create(stored_kind, &mut object, self.node())?;
        let name = object::name(&object).to_owned();
        if !verdict.errors.is_empty() {
            return Err(ApiError::invalid(kind, &name, &verdict.errors));
        }
        let is_applied =
            object["metadata"]["managedFields"].as_array().is_some_and(|entries| entries.iter().any(|entry| entry["operation"] == "Apply"));
        if !is_applied {
            meta_mut(&mut object).remove("managedFields");
            note_update(None, &mut object, stored_kind, &Writer { name: &options.manager, part: "", now });
        }
        if kind.kind == "Pod" {
            strategy::note_scheduled(&mut object, &time_text(now));
        }
        object["apiVersion"] = json!(stored_kind.api_version());
        object["kind"] = json!(stored_kind.kind);
        object::drop_empty(&mut object);
        Ok((object, verdict.warnings))
    }

    /// A pod's RuntimeClass must be there, and says what the pod costs beside its containers.
    fn admit_runtime_class(&self, kind: &Kind, pod: &mut Value) -> ApiResult<()> {
        let name = object::name(pod).to_owned();
        let rejected = |why: &str| Err(ApiError::forbidden(kind, &name, &format!("pod rejected: {why}")));
        let asked = pod["spec"].get("overhead").cloned().filter(|overhead| overhead.as_object().is_some_and(|list| !list.is_empty()));
        let Some(class) = pod["spec"]["runtimeClassName"].as_str().map(ToOwned::to_owned) else {
            return match asked {
                Some(_) => rejected("Pod Overhead set without corresponding RuntimeClass defined Overhead"),
                None => Ok(()),
            };
        };
        let Ok(found) = self.stored(stored("runtimeclasses"), "", &class) else {
            return rejected(&format!("RuntimeClass {class:?} not found"));
        };
        let fixed = found.value()["overhead"].get("podFixed").cloned();
        match (asked, fixed) {
            (Some(asked), fixed) if fixed.as_ref() != Some(&asked) => {
                rejected("Pod's Overhead doesn't match RuntimeClass's defined Overhead")
            }
            (None, Some(fixed)) => {
                pod["spec"]["overhead"] = fixed;
                Ok(())
            }
            (Some(_) | None, _) => Ok(()),
        }
    }

    /// What the state of others says about the object.
    fn admit(&self, kind: &Kind, namespace: &str, object: &Value) -> ApiResult<()> {
        if !kind.namespaced {
            return Ok(());
        }
        let name = object::name(object);
        let namespaces = stored("namespaces");
        let Ok(owner) = self.stored(namespaces, "", namespace) else {
            return Err(ApiError::not_found(namespaces, namespace));
        };
        if object::is_terminating(&owner.value()) {
            let why = format!("unable to create new content in namespace {namespace} because it is being terminated");
            let mut error = ApiError::forbidden(kind, name, &why);
            if let Some(details) = &mut error.details {
                let message = format!("namespace {namespace} is being terminated");
                details["causes"] = json!([{ "reason": "NamespaceTerminating", "message": message, "field": "metadata.namespace" }]);
            }
            return Err(error);
        }
        Ok(())
    }

    pub(super) async fn store_new(&self, kind: &Kind, namespace: &str, object: Value) -> ApiResult<Value> {
        let name = object::name(&object).to_owned();
        let key = ObjectKey::new(namespace, &name);
        match self.store.write(kind.stored_as, key, Write::Create(object)).await {
            Ok(stored) => {
                let object = stored.value();
                self.after_create(kind, &object).await;
                Ok(shown_as(kind, object))
            }
            Err(WriteError::Conflict(_)) => Err(ApiError::already_exists(kind, &name)),
            Err(error) => Err(error.into()),
        }
    }

    async fn after_create(&self, kind: &Kind, object: &Value) {
        match kind.kind {
            "Namespace" => self.furnish_namespace(object::name(object)).await,
            // A mirror is of a pod that nobody had to schedule.
            "Pod" if object["spec"].get("nodeName").is_some() && !object::is_mirror(object) => {
                let (namespace, name) = (object::namespace(object), object::name(object));
                let message = format!("Successfully assigned {namespace}/{name} to {}", self.node());
                let time = now();
                let event = json!({
                    "apiVersion": "v1",
                    "kind": "Event",
                    "metadata": { "name": format!("{name}.{:x}", time.as_nanosecond()), "namespace": namespace },
                    "involvedObject": {
                        "apiVersion": "v1",
                        "kind": "Pod",
                        "namespace": namespace,
                        "name": name,
                        "uid": object::uid(object),
                        "resourceVersion": object::meta(object, "resourceVersion"),
                    },
                    "type": "Normal",
                    "reason": "Scheduled",
                    "action": "Binding",
                    "message": message,
                    "eventTime": object::micro_time_text(time),
                    "reportingComponent": "default-scheduler",
                    "reportingInstance": format!("default-scheduler-{}", self.node()),
                });
                let options = WriteOptions::of("usher");
                if let Err(error) = Box::pin(self.create(stored("events"), namespace, event, &options)).await {
                    tracing::warn!(%error, namespace, name, "cannot record that a pod was scheduled");
                }
            }
            _ => {}
        }
    }
}

/// The namespace of the object is that of the request.
pub(super) fn place(kind: &Kind, namespace: &str, object: &mut Value) -> ApiResult<()> {
    let given = object::namespace(object);
    if !kind.namespaced {
        if !given.is_empty() {
            meta_mut(object).remove("namespace");
        }
        return Ok(());
    }
    if !given.is_empty() && given != namespace {
        return Err(ApiError::bad_request("the namespace of the provided object does not match the namespace sent on the request"));
    }
    meta_mut(object).insert("namespace".to_owned(), json!(namespace));
    Ok(())
}

/// The object has a name, drawn if it only says how that begins.
fn name(object: &mut Value) -> ApiResult<()> {
    let beginning = object::meta(object, "generateName").to_owned();
    if object::name(object).is_empty() && !beginning.is_empty() {
        let name = api::defaults::generated_name(&beginning, &random_suffix()?);
        meta_mut(object).insert("name".to_owned(), json!(name));
    }
    Ok(())
}
