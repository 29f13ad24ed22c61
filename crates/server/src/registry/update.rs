//! Updates: an object replaced as a whole, or one of its parts.

use serde_json::{Value, json};

use super::create::place;
use super::{CONFLICT_RETRIES_MAX, DryRun, Registry, WriteOptions, now, shown_as, stored_form};
use crate::kinds::{Kind, stored};
use crate::managed::{Writer, note_update};
use crate::object::{self, keep_meta, meta_mut};
use crate::status::{ApiError, ApiResult};
use crate::store::{ObjectKey, Write, WriteError};
use crate::strategy::{self, Part};

/// Who notes what was changed in `managedFields`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ownership {
    /// The update does.
    Note,
    /// The change has noted it itself, as server-side apply does.
    Noted,
}

impl Registry {
    /// Replaces an object, or one part of it.
    ///
    /// # Errors
    /// The object is not there, was changed meanwhile, or would not be valid.
    pub async fn update(
        &self,
        kind: &Kind,
        part: Part,
        namespace: &str,
        name: &str,
        object: Value,
        options: &WriteOptions,
    ) -> ApiResult<(Value, Vec<String>)> {
        let given = object::name(&object);
        if given != name {
            let message = format!("the name of the object ({given}) does not match the name on the URL ({name})");
            return Err(ApiError::bad_request(message));
        }
        let mut object = object;
        place(kind, namespace, &mut object)?;
        if matches!(kind.kind, "Lease" | "Event") && part == Part::Whole && self.stored(kind, namespace, name).is_err() {
            meta_mut(&mut object).remove("resourceVersion");
            return self.create(kind, namespace, object, options).await;
        }
        let wanted = stored_form(kind, object);
        self.change(kind, part, namespace, name, options, |_| Ok((wanted.clone(), Ownership::Note, Vec::new()))).await
    }

    /// Changes an object by a function from what it is to what it is to be, which may run more than once.
    pub(super) async fn change(
        &self,
        kind: &Kind,
        part: Part,
        namespace: &str,
        name: &str,
        options: &WriteOptions,
        mut change: impl FnMut(&Value) -> ApiResult<(Value, Ownership, Vec<String>)>,
    ) -> ApiResult<(Value, Vec<String>)> {
        let stored_kind = stored(kind.stored_as);
        for _ in 0..CONFLICT_RETRIES_MAX {
            let current = self.stored(kind, namespace, name)?;
            let old = current.value();
            let (mut new, ownership, mut warnings) = change(&old)?;
            let expected = object::meta(&new, "resourceVersion").to_owned();
            if !expected.is_empty() && expected != current.revision.to_string() {
                return Err(ApiError::modified(kind, name));
            }
            let uid = object::uid(&new);
            if !uid.is_empty() && uid != object::uid(&old) {
                let why = format!("Precondition failed: UID in precondition: {uid}, UID in object meta: {}", object::uid(&old));
                return Err(ApiError::conflict(kind, name, &why));
            }
            for field in [
                "uid",
                "creationTimestamp",
                "deletionTimestamp",
                "deletionGracePeriodSeconds",
                "generation",
                "name",
                "namespace",
                "generateName",
            ] {
                keep_meta(&mut new, &old, field);
            }
            meta_mut(&mut new).remove("selfLink");
            let verdict = strategy::prepare_update(stored_kind, part, self.support(), (&old, &mut new))?;
            if !verdict.errors.is_empty() {
                return Err(ApiError::invalid(kind, name, &verdict.errors));
            }
            warnings.extend(verdict.warnings);
            let spec_changed = kind.kind != "Pod" && old["metadata"].get("generation").is_some() && old["spec"] != new["spec"];
            if spec_changed {
                let generation = old["metadata"]["generation"].as_i64().unwrap_or(0);
                meta_mut(&mut new).insert("generation".to_owned(), json!(generation + 1));
            }
            new["apiVersion"] = json!(stored_kind.api_version());
            new["kind"] = json!(stored_kind.kind);
            object::drop_empty(&mut new);
            meta_mut(&mut new).insert("resourceVersion".to_owned(), json!(current.revision.to_string()));
            if same_but_owners(&old, &new) && ownership == Ownership::Note && !brings_owners(&old, &new) {
                return Ok((shown_as(kind, old), warnings));
            }
            if ownership == Ownership::Note {
                note_update(Some(&old), &mut new, stored_kind, &Writer { name: &options.manager, part: part.name(), now: now() });
            }
            if new == old {
                return Ok((shown_as(kind, old), warnings));
            }
            if options.dry_run == DryRun::All {
                return Ok((shown_as(kind, new), warnings));
            }
            let key = ObjectKey::new(namespace, name);
            let write =
                if is_released(kind, &old, &new) { Write::Delete(current.revision) } else { Write::Update(current.revision, new.clone()) };
            match self.store.write(kind.stored_as, key, write).await {
                Ok(stored) => {
                    let new = stored.value();
                    Box::pin(self.after_update(kind, &old, &new)).await;
                    return Ok((shown_as(kind, new), warnings));
                }
                Err(WriteError::Conflict(_)) if !expected.is_empty() => return Err(ApiError::modified(kind, name)),
                Err(WriteError::Conflict(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(ApiError::modified(kind, name))
    }
}

/// Whether two objects differ at most in who owns their fields.
fn same_but_owners(old: &Value, new: &Value) -> bool {
    let without = |object: &Value| {
        let mut object = object.clone();
        meta_mut(&mut object).remove("managedFields");
        object
    };
    without(old) == without(new)
}

/// Whether an update sets the owners of fields itself.
fn brings_owners(old: &Value, new: &Value) -> bool {
    let owners = |object: &Value| object["metadata"].get("managedFields").cloned().unwrap_or(Value::Null);
    !owners(new).is_null() && owners(new) != owners(old)
}

/// Whether the last one that the deletion waited for has let go.
fn is_released(kind: &Kind, old: &Value, new: &Value) -> bool {
    let held = match kind.kind {
        "Namespace" => new["spec"]["finalizers"].as_array().is_some_and(|finalizers| !finalizers.is_empty()),
        _ => false,
    };
    let graceful = new["metadata"]["deletionGracePeriodSeconds"].as_i64().unwrap_or(0) > 0;
    let was_held = object::has_finalizers(old) || kind.kind == "Namespace";
    object::is_terminating(new) && was_held && !object::has_finalizers(new) && !held && !graceful
}
