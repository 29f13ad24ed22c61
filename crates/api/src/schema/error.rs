//! What is wrong with an object before its values are looked at: fields that do not exist, values of the wrong type.

use thiserror::Error;

use crate::diagnostic::Diagnostic;
use crate::path::FieldPath;
use crate::read::Place;

/// One way in which an object does not fit its type.
#[derive(Clone, Debug, Error, PartialEq)]
#[error("{}", .kind.text(.path))]
pub struct SchemaError {
    /// What is wrong.
    pub kind: SchemaErrorKind,
    /// The field.
    pub path: FieldPath,
    /// Where it stands; for a missing field, the thing that lacks it.
    pub place: Place,
    /// What to say at the place, such as the name that was probably meant; may be empty.
    pub note: String,
    /// What to do about it.
    pub help: Option<String>,
}

/// What is wrong with a field.
#[derive(Clone, Debug, PartialEq)]
pub enum SchemaErrorKind {
    /// The type has no such field.
    UnknownField,
    /// The value is of another type.
    WrongType {
        /// What the field takes, with its article.
        expected: &'static str,
        /// What stands there.
        found: String,
    },
    /// The value is of the right type but not written as the type asks for.
    BadValue {
        /// What is wrong with it.
        reason: String,
    },
    /// A field that must be there is not.
    Missing,
    /// No kind of that name is known in that `apiVersion`.
    UnknownKind {
        /// The `kind` of the object.
        kind: String,
        /// Its `apiVersion`.
        api_version: String,
    },
}

impl SchemaErrorKind {
    fn text(&self, path: &FieldPath) -> String {
        match self {
            // The words of the reference's strict decoder.
            Self::UnknownField => format!("unknown field \"{path}\""),
            Self::WrongType { expected, found } => {
                format!("{path}: expected {expected}, found {found}")
            }
            Self::BadValue { reason } => format!("{path}: {reason}"),
            Self::Missing => format!("{path}: Required value"),
            // And of kubectl.
            Self::UnknownKind { kind, api_version } => {
                format!("no matches for kind {kind:?} in version {api_version:?}")
            }
        }
    }
}

impl SchemaError {
    /// The same for a person.
    pub fn diagnostic(&self) -> Diagnostic {
        let span = match self.kind {
            SchemaErrorKind::UnknownField => self.place.key.unwrap_or(self.place.value),
            SchemaErrorKind::Missing => self.place.key.unwrap_or(self.place.value),
            SchemaErrorKind::WrongType { .. } | SchemaErrorKind::BadValue { .. } | SchemaErrorKind::UnknownKind { .. } => {
                match self.place.key {
                    // Nothing to underline: the key will do.
                    Some(key) if self.place.value.is_empty() => key,
                    _ => self.place.value,
                }
            }
        };
        let diagnostic = Diagnostic::error(self.to_string()).about(self.path.clone()).at(span, &self.note);
        match &self.help {
            Some(help) => diagnostic.help(help),
            None => diagnostic,
        }
    }
}
