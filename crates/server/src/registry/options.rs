//! What a request says besides its object.

use serde_json::Value;

use crate::status::{ApiError, ApiResult};

/// What becomes of fields that are not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Validation {
    /// They are dropped.
    Ignore,
    /// They are dropped with a warning.
    #[default]
    Warn,
    /// The request is refused.
    Strict,
}

impl Validation {
    /// Reads `fieldValidation`.
    ///
    /// # Errors
    /// It is none of the three.
    pub fn parse(text: &str) -> ApiResult<Self> {
        match text {
            "" | "Warn" => Ok(Self::Warn),
            "Ignore" => Ok(Self::Ignore),
            "Strict" => Ok(Self::Strict),
            other => {
                let message =
                    format!("fieldValidation: Unsupported value: \"{other}\": supported values: \"Ignore\", \"Strict\", \"Warn\"");
                Err(ApiError::new(422, "Invalid", message))
            }
        }
    }
}

/// Whether a change takes place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DryRun {
    /// It does.
    #[default]
    No,
    /// Everything but the change takes place.
    All,
}

impl DryRun {
    /// Reads `dryRun`.
    ///
    /// # Errors
    /// It is neither absent nor `All`.
    pub fn parse<'a>(mut values: impl Iterator<Item = &'a str>) -> ApiResult<Self> {
        match (values.next(), values.next()) {
            (None | Some(""), None) => Ok(Self::No),
            (Some("All"), None) => Ok(Self::All),
            (first, _) => {
                let message = format!("dryRun: Unsupported value: \"{}\": supported values: \"All\"", first.unwrap_or_default());
                Err(ApiError::new(422, "Invalid", message))
            }
        }
    }
}

/// How an object is written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WriteOptions {
    /// Whether it is written at all.
    pub dry_run: DryRun,
    /// Who writes, for `managedFields`.
    pub manager: String,
    /// What becomes of unknown fields.
    pub validation: Validation,
}

impl WriteOptions {
    /// Those of a part of this program.
    pub fn of(manager: &str) -> Self {
        Self { manager: manager.to_owned(), ..Self::default() }
    }
}

/// How an object is deleted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeleteOptions {
    /// Whether it is deleted at all.
    pub dry_run: DryRun,
    /// The grace, where the client says one.
    pub grace_period_seconds: Option<i64>,
    /// The object must have this UID.
    pub uid: Option<String>,
    /// The object must have this revision.
    pub resource_version: Option<String>,
    /// What is to become of the dependents.
    pub propagation_policy: Option<String>,
    /// Who asks for it, for those who are told why a pod ended.
    pub by: Option<String>,
}

impl DeleteOptions {
    /// Reads a `DeleteOptions` object.
    ///
    /// # Errors
    /// It is no such object.
    pub fn read(options: &Value) -> ApiResult<Self> {
        let mut options = options.clone();
        crate::schema::check(&mut options, "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions", &mut Vec::new())
            .map_err(|error| ApiError::bad_request(error.to_string()))?;
        let text = |value: &Value| value.as_str().map(ToOwned::to_owned);
        let dry_run = options["dryRun"].as_array().into_iter().flatten().filter_map(Value::as_str);
        Ok(Self {
            dry_run: DryRun::parse(dry_run)?,
            grace_period_seconds: options["gracePeriodSeconds"].as_i64(),
            uid: text(&options["preconditions"]["uid"]),
            resource_version: text(&options["preconditions"]["resourceVersion"]),
            propagation_policy: match (text(&options["propagationPolicy"]), options["orphanDependents"].as_bool()) {
                (None, Some(true)) => Some("Orphan".to_owned()),
                (policy, _) => policy,
            },
            by: None,
        })
    }

    /// Takes over what the query says of the dependents, if it says anything, and judges it.
    ///
    /// # Errors
    /// It is none of the three policies.
    pub fn set_propagation(&mut self, policy: &str, orphans: bool) -> ApiResult<()> {
        match (policy, orphans) {
            ("", true) => self.propagation_policy = Some("Orphan".to_owned()),
            ("", false) => {}
            (policy, _) => self.propagation_policy = Some(policy.to_owned()),
        }
        match self.propagation_policy.as_deref() {
            None | Some("" | "Background" | "Foreground" | "Orphan") => Ok(()),
            Some(other) => {
                let message = format!(
                    "DeleteOptions.meta.k8s.io \"\" is invalid: propagationPolicy: Unsupported value: \"{other}\": supported values: \"Background\", \"Foreground\", \"Orphan\""
                );
                Err(ApiError::new(422, "Invalid", message))
            }
        }
    }
}
