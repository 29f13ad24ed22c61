//! Errors between the parts of the embedded runtime, and how they become those of the seam.

use std::error::Error;
use std::io;
use std::path::PathBuf;

use shim::records::{ReadRecordError, WriteRecordError};

use super::link::{CallError, ConnectError};
use super::pod_folder::InvalidUid;
use crate::Cause;

/// A sandbox is not there, or cannot be spoken to.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReachError {
    /// No such pod can exist.
    #[error(transparent)]
    Uid(#[from] InvalidUid),
    /// Nothing was made for it.
    #[error("there is no sandbox")]
    NoSandbox,
    /// It was there, and its shim is gone.
    #[error("the sandbox is gone")]
    Gone,
    /// Its record cannot be used.
    #[error("cannot use the record of the sandbox")]
    Record(#[from] ReadRecordError),
    /// Its shim does not let us in.
    #[error("cannot reach the shim")]
    Connect(#[from] ConnectError),
}

/// A step on the way to a container, an exec or an end failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StepError {
    /// The sandbox cannot be reached.
    #[error(transparent)]
    Reach(#[from] ReachError),
    /// The shim did not do it.
    #[error(transparent)]
    Call(#[from] CallError),
    /// A file or folder.
    #[error("cannot {action} {path}")]
    File {
        /// What was tried.
        action: &'static str,
        /// With which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A record.
    #[error(transparent)]
    Write(#[from] WriteRecordError),
    /// A record.
    #[error(transparent)]
    Read(#[from] ReadRecordError),
    /// Something that is told in one sentence.
    #[error("{0}")]
    Told(String),
    /// Another part failed.
    #[error("cannot {action}")]
    Part {
        /// What was tried.
        action: &'static str,
        /// Why.
        source: Cause,
    },
}

impl StepError {
    pub(crate) fn file(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { action, path, source }
    }

    pub(crate) fn part<E: Into<Cause>>(action: &'static str) -> impl FnOnce(E) -> Self {
        move |source| Self::Part { action, source: source.into() }
    }
}

/// How often something is asked of a shim that may safely be asked twice.
const TRIES_MAX: u32 = 3;

/// Tries of a call whose answer may get lost although the shim lives, and carried it out. Only for what a shim does once however often
/// it is asked for.
#[derive(Debug, Default)]
pub(crate) struct Tries {
    failed: u32,
}

impl Tries {
    /// Whether to ask once more after this error. Another look for the shim tells whether it is still there.
    pub(crate) fn again(&mut self, error: &StepError) -> bool {
        self.failed += 1;
        matches!(error, StepError::Call(CallError::Lost | CallError::TimedOut(_))) && self.failed < TRIES_MAX
    }
}

/// An error with all its causes, in one line.
pub(crate) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
