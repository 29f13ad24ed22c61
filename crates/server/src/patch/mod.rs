//! The four ways in which a patch changes an object. Each is a function from an object and a patch to an object.

mod json;
mod merge;
mod strategic;
#[cfg(test)]
mod tests;

pub use self::json::apply_json_patch;
pub use self::merge::apply_merge_patch;
pub use self::strategic::apply_strategic_patch;

/// Why a patch cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatchError {
    /// It is not well formed.
    #[error("{0}")]
    Malformed(String),
    /// It does not fit the object.
    #[error("{0}")]
    Unfit(String),
}
