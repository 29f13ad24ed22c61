//! Kubernetes objects as their authors write them: read strictly, checked, defaulted and validated.
//!
//! A manifest goes through these steps, each usable alone:
//!
//! ```text
//! bytes ── Source ── read ──► Document ── schema::check ──► value ──► k8s-openapi types ── default, validate
//!                     │                        │                                                │
//!                ReadError               SchemaError                             FieldError, Warning, Unsupported
//!                     └────────────────────────┴──────────── Diagnostic ────────────────────────┘
//! ```
//!
//! [`load`] does all of them and collects everything wrong at once. The messages of validation, and what is valid, are
//! those of the Kubernetes API server; a [`Diagnostic`] adds the place in the text and what was probably meant.
//!
//! This crate decides and touches nothing: no sockets, no files, no clock, no randomness.

mod base64;
pub mod configuration;
pub mod defaults;
pub mod diagnostic;
pub mod duration;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub mod lint;
pub mod manifest;
mod nearest;
pub mod overrides;
pub mod path;
pub mod priority;
pub mod quantity;
pub mod read;
pub mod schema;
pub mod source;
pub mod support;
pub mod sysctls;
pub mod template;
pub mod validate;
pub mod warnings;
pub mod workload;

pub use crate::diagnostic::{Colour, Diagnostic, Label, Severity, render};
pub use crate::manifest::{LoadOptions, Manifest, Object, fuzz_read, load, load_into, load_with};
pub use crate::overrides::Overrides;
pub use crate::path::FieldPath;
pub use crate::quantity::Quantity;
pub use crate::read::{Document, ReadError, Reading, read};
pub use crate::schema::{SchemaError, SchemaErrorKind};
pub use crate::source::{Position, Source, SourceError, Span};
pub use crate::support::{NodeSupport, Setting, Unsupported, unsupported};
pub use crate::template::{Ending, Template, Workload};
pub use crate::validate::{BadValue, ErrorKind, FieldError};
pub use crate::warnings::{Warning, warnings};
pub use crate::workload::Replica;
