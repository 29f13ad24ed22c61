//! Fuzz targets: what a registry answers, and the layers that it sends.

mod layer;
mod registry;

pub use self::layer::layer;
pub use self::registry::{documents as registry_documents, replies as registry_replies};
