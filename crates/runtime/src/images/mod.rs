//! Images: from a registry or an archive to directories that a container's root file system is made of.
//!
//! ```text
//!   registry ──┐                         ┌── image_status, list, lease ──▶ lower directories for overlayfs
//!   archive  ──┼─▶ unpack ─▶ ImageStore ─┤
//!   rootfs   ──┘                         └── export ──▶ archive
//! ```
//!
//! The store ([`ImageStore`]) is a directory without a daemon, which many processes use at once. Nothing here knows of
//! Pods, of pull policies or of mounts.

mod archive;
mod config;
mod credentials;
mod digest;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod import;
mod layered;
mod limits;
mod lookup;
mod manifest;
mod platform;
mod progress;
mod pull;
mod reference;
mod registry;
mod rootfs;
mod store;
#[cfg(test)]
mod testing;
mod unpack;
mod user;

pub use self::archive::{ArchiveInput, ExportImageError, ExportTarget, LoadImageError, LoadOptions, OpenArchiveError};
pub use self::config::ImageConfigError;
pub use self::credentials::{Keyring, ParseCredentialsError};
pub use self::digest::{Digest, DigestAlgorithm, ParseDigestError};
pub use self::import::{ImportImageError, ImportOptions};
pub use self::limits::ImageLimits;
pub use self::manifest::ManifestError;
pub use self::platform::Platform;
pub use self::progress::{ProgressListener, PullPhase, PullProgress};
pub use self::pull::{PullImageError, PullOptions};
pub use self::reference::{ImageReference, InvalidReference, ParseImageReferenceError, quote};
pub use self::registry::{Auth, RegistryConfig, RegistryError, RegistryTransport};
pub use self::rootfs::{PrepareUpperError, UpperDirs};
pub use self::store::{
    Image, ImageQuery, ImageStore, ImageStoreConfig, ImageUser, Lease, ParseImageQueryError, PruneImagesError, PruneReport, PruneScope,
    RemoveImageError, RemoveReport, StoreError,
};
pub use self::unpack::{
    EntryPathError, LayerLimitError, LayerLimits, RATIO_FREE_BYTES, ReassembleLayerError, UnpackLayerError, UnsupportedCompression,
};
pub use self::user::{ResolveUserError, ResolvedUser};
