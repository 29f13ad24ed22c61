//! Creation.

use serde_json::{Value, json};

use super::{DryRun, Registry, WriteOptions, now, random_suffix, random_uid, shown_as, stored_form};
use crate::kinds::{Kind, stored};
use crate::managed::{Writer, note_update};
use crate::object::{self, meta_mut, time_text};
use crate::status::{ApiError, ApiResult};
use crate::store::{ObjectKey, Write, WriteError};
use crate::strategy::{self, Seat};

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
        self.admit(kind, namespace, &mut object)?;
        let seat = match stored_kind.kind {
            "Pod" => self.seat(),
            _ => Seat::open(self.node()),
        };
        let verdict = strategy::prepare_create(stored_kind, &mut object, (&seat, self.support()))?;
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
            strategy::note_scheduled(&mut object, &seat, &time_text(now));
        }
        object["apiVersion"] = json!(stored_kind.api_version());
        object["kind"] = json!(stored_kind.kind);
        object::drop_empty(&mut object);
        Ok((object, verdict.warnings))
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
            "Pod" => self.after_seating(object).await,
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
