//! Why a text is not a list of Kubernetes objects, before any schema is looked at.

use thiserror::Error;

use super::{ALIAS_NODES_MAX, DEPTH_MAX, DOCUMENTS_MAX, NODES_MAX};
use crate::diagnostic::Diagnostic;
use crate::source::Span;

/// One thing wrong with the text of a manifest.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ReadError {
    /// The text is not YAML or JSON.
    #[error("{message}")]
    Syntax {
        /// What the parser stumbled over.
        message: String,
        /// Where.
        span: Span,
        /// What usually cures it.
        help: Option<String>,
    },
    /// A map has the same key twice. Kubernetes refuses this, most YAML libraries take the last one in silence.
    #[error("key {key:?} already set in map")]
    DuplicateKey {
        /// The key as it is after resolving.
        key: String,
        /// The second one.
        span: Span,
        /// The first one.
        first: Span,
    },
    /// A key that is not a scalar, or null.
    #[error("{found} cannot be the key of a map")]
    BadKey {
        /// What stands there.
        found: &'static str,
        /// Where.
        span: Span,
    },
    /// A `<<` whose value is no map.
    #[error("`<<` takes a map or a list of maps")]
    BadMerge {
        /// The value.
        span: Span,
    },
    /// A scalar that its tag does not allow, or that JSON cannot hold.
    #[error("{message}")]
    BadScalar {
        /// What is wrong with it.
        message: String,
        /// Where.
        span: Span,
    },
    /// An anchor that is used inside the value that it names.
    #[error("this alias stands inside the value that it names")]
    AliasLoop {
        /// The alias.
        span: Span,
    },
    /// Aliases that multiply beyond [`ALIAS_NODES_MAX`].
    #[error("aliases expand to more than {ALIAS_NODES_MAX} values")]
    AliasBomb {
        /// The alias that went over.
        span: Span,
    },
    /// Nesting over [`DEPTH_MAX`].
    #[error("values are nested more than {DEPTH_MAX} deep")]
    TooDeep {
        /// The first value that is too deep.
        span: Span,
    },
    /// More than [`NODES_MAX`] values.
    #[error("the text has more than {NODES_MAX} values")]
    TooManyNodes {
        /// The first value too many.
        span: Span,
    },
    /// More than [`DOCUMENTS_MAX`] documents.
    #[error("the text has more than {DOCUMENTS_MAX} documents")]
    TooManyDocuments {
        /// The first document too many.
        span: Span,
    },
    /// A document that is not a map.
    #[error("a Kubernetes object is a map with `apiVersion` and `kind`, but this is {found}")]
    NotAnObject {
        /// What it is.
        found: &'static str,
        /// Where.
        span: Span,
    },
    /// `apiVersion` or `kind` is absent, empty or not a string.
    #[error("{field}: Required value")]
    MissingType {
        /// `apiVersion` or `kind`.
        field: &'static str,
        /// The value that is no string, or the object.
        span: Span,
        /// What usually cures it.
        help: String,
    },
    /// Nothing but blanks, comments and separators.
    #[error("there is no object in this manifest")]
    Empty,
}

impl ReadError {
    /// The place of the error.
    pub fn span(&self) -> Option<Span> {
        match self {
            Self::Syntax { span, .. }
            | Self::DuplicateKey { span, .. }
            | Self::BadKey { span, .. }
            | Self::BadMerge { span }
            | Self::BadScalar { span, .. }
            | Self::AliasLoop { span }
            | Self::AliasBomb { span }
            | Self::TooDeep { span }
            | Self::TooManyNodes { span }
            | Self::TooManyDocuments { span }
            | Self::NotAnObject { span, .. }
            | Self::MissingType { span, .. } => Some(*span),
            Self::Empty => None,
        }
    }

    /// The same for a person.
    pub fn diagnostic(&self) -> Diagnostic {
        let mut diagnostic = Diagnostic::error(self.to_string());
        if let Some(span) = self.span() {
            diagnostic = diagnostic.at(span, "");
        }
        match self {
            Self::Syntax { help: Some(help), .. } | Self::MissingType { help, .. } => diagnostic.help(help),
            Self::DuplicateKey { first, .. } => diagnostic.see(*first, "first set here"),
            Self::BadKey { .. } => diagnostic.help("quote the key if it is meant as text"),
            Self::NotAnObject { found: "a list", .. } => {
                diagnostic.help("several objects are separate documents, with a line `---` between them, or the `items` of a `kind: List`")
            }
            Self::Empty => diagnostic.help("a manifest begins with `apiVersion: v1` and `kind: Pod`"),
            Self::Syntax { help: None, .. }
            | Self::BadMerge { .. }
            | Self::BadScalar { .. }
            | Self::AliasLoop { .. }
            | Self::AliasBomb { .. }
            | Self::TooDeep { .. }
            | Self::TooManyNodes { .. }
            | Self::TooManyDocuments { .. }
            | Self::NotAnObject { .. } => diagnostic,
        }
    }
}
