//! Patches of all four forms.

use serde_json::{Value, json};

use super::update::Ownership;
use super::{DryRun, Registry, Validation, WriteOptions, fit, now, shown_as, stored_form};
use crate::kinds::{Kind, stored};
use crate::managed::{self, Force, Writer};
use crate::object::{self, meta_mut};
use crate::patch::{PatchError, apply_json_patch, apply_merge_patch, apply_strategic_patch};
use crate::schema::Misfit;
use crate::status::{ApiError, ApiResult};
use crate::strategy::Part;

/// The form of a patch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatchFormat {
    /// RFC 6902.
    Json,
    /// RFC 7386.
    Merge,
    /// Kubernetes' own.
    Strategic,
    /// Server-side apply.
    Apply(Force),
}

/// A patch.
#[derive(Clone, Debug, PartialEq)]
pub struct Patch {
    /// Its form.
    pub format: PatchFormat,
    /// Its text, parsed.
    pub value: Value,
    /// Keys that are there twice.
    pub duplicates: Vec<Misfit>,
}

impl Registry {
    /// Changes an object by a patch.
    ///
    /// # Errors
    /// The patch does not fit, or what it leads to is not valid.
    pub async fn patch(
        &self,
        kind: &Kind,
        part: Part,
        namespace: &str,
        name: &str,
        patch: &Patch,
        options: &WriteOptions,
    ) -> ApiResult<Patched> {
        if let PatchFormat::Apply(force) = patch.format {
            return self.apply(kind, part, namespace, name, patch, force, options).await;
        }
        let (object, warnings) = self
            .change(kind, part, namespace, name, options, |old| {
                let mut new = shown_as(kind, old.clone());
                let revision = object::meta(&new, "resourceVersion").to_owned();
                let patched = match patch.format {
                    PatchFormat::Json => apply_json_patch(&mut new, &patch.value),
                    PatchFormat::Strategic => apply_strategic_patch(&mut new, &patch.value, kind.definition),
                    PatchFormat::Merge | PatchFormat::Apply(_) => {
                        apply_merge_patch(&mut new, &patch.value);
                        Ok(())
                    }
                };
                patched.map_err(|error| refused(kind, name, &error))?;
                if object::name(&new) != name {
                    return Err(ApiError::bad_request(format!(
                        "the name of the object ({}) does not match the name on the URL ({name})",
                        object::name(&new)
                    )));
                }
                let (mut new, warnings) = fit(kind, new, patch.duplicates.clone(), options.validation)?;
                // A patch that says no revision changes whatever is there.
                if object::meta(&new, "resourceVersion") == revision {
                    meta_mut(&mut new).remove("resourceVersion");
                }
                Ok((stored_form(kind, new), Ownership::Note, warnings))
            })
            .await?;
        Ok(Patched { object, warnings, created: false })
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one request")]
    async fn apply(
        &self,
        kind: &Kind,
        part: Part,
        namespace: &str,
        name: &str,
        patch: &Patch,
        force: Force,
        options: &WriteOptions,
    ) -> ApiResult<Patched> {
        if options.manager.is_empty() {
            let message = "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required for apply patch";
            return Err(ApiError::new(422, "Invalid", message));
        }
        for field in ["apiVersion", "kind"] {
            if patch.value[field].as_str().unwrap_or_default().is_empty() {
                return Err(ApiError::bad_request(format!("invalid object type: {field} must be set in an apply patch")));
            }
        }
        if patch.value["metadata"].get("managedFields").is_some_and(|fields| fields.as_array().is_none_or(|fields| !fields.is_empty())) {
            return Err(ApiError::bad_request("metadata.managedFields must be nil"));
        }
        let (config, warnings) = fit(kind, patch.value.clone(), patch.duplicates.clone(), options.validation)?;
        let given = object::name(&config);
        if !given.is_empty() && given != name {
            return Err(ApiError::bad_request(format!("the name of the object ({given}) does not match the name on the URL ({name})")));
        }
        let mut config = stored_form(kind, config);
        meta_mut(&mut config).insert("name".to_owned(), json!(name));
        let stored_kind = stored(kind.stored_as);
        let writer = |now| Writer { name: &options.manager, part: part.name(), now };
        if self.stored(kind, namespace, name).is_err() {
            if part != Part::Whole {
                return Err(ApiError::not_found(kind, name));
            }
            if !object::meta(&config, "resourceVersion").is_empty() {
                return Err(ApiError::modified(kind, name));
            }
            let object = managed::apply(None, &config, stored_kind, &writer(now()), force)?;
            let quiet = WriteOptions { validation: Validation::Ignore, ..options.clone() };
            match self.create(kind, namespace, shown_as(kind, object), &quiet).await {
                Err(error) if error.reason == "AlreadyExists" && options.dry_run == DryRun::No => {}
                result => {
                    let (object, more) = result?;
                    return Ok(Patched { object, warnings: [warnings, more].concat(), created: true });
                }
            }
        }
        let (object, more) = self
            .change(kind, part, namespace, name, options, |old| {
                let mut new = managed::apply(Some(old), &config, stored_kind, &writer(now()), force)?;
                match config["metadata"].get("resourceVersion") {
                    Some(revision) => meta_mut(&mut new).insert("resourceVersion".to_owned(), revision.clone()),
                    None => meta_mut(&mut new).remove("resourceVersion"),
                };
                Ok((new, Ownership::Noted, Vec::new()))
            })
            .await?;
        Ok(Patched { object, warnings: [warnings, more].concat(), created: false })
    }
}

/// What a patch led to.
#[derive(Clone, Debug, PartialEq)]
pub struct Patched {
    /// The object.
    pub object: Value,
    /// Warnings for the client.
    pub warnings: Vec<String>,
    /// Whether the object was made by it.
    pub created: bool,
}

fn refused(kind: &Kind, name: &str, error: &PatchError) -> ApiError {
    match error {
        PatchError::Malformed(message) => ApiError::bad_request(message.clone()),
        PatchError::Unfit(message) => {
            let message = format!("the server rejected our request due to an error in our request: {message}");
            let mut error = ApiError::new(422, "Invalid", message);
            error.details = Some(json!({ "name": name, "kind": kind.kind }));
            error
        }
    }
}
