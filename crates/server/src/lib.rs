//! The Kubernetes API of one machine: what kubectl and other clients talk to.
//!
//! ```text
//! HTTP ──► http ──► registry ──► strategy (decides)
//!           │          │
//!        backend     store ──► one file
//!       (the node)     ▲
//!                    client (the node's side, in process)
//! ```
//!
//! This crate knows objects, not containers: it stores and shows them by the rules of the API. What only an engine can
//! do is behind [`backend::Backend`].

pub mod backend;
pub mod body;
pub mod client;
pub mod discovery;
pub mod fields;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod http;
pub mod kinds;
pub mod lives;
pub mod managed;
pub mod object;
pub mod openapi;
mod openapi_proto;
pub mod patch;
pub mod protobuf;
pub mod registry;
mod reviews;
pub mod schema;
pub mod security;
pub mod selector;
mod server;
pub mod status;
pub mod store;
pub mod strategy;
pub mod stream;
pub mod table;

pub use self::http::{ListenError, Patience};
pub use self::security::identity::{KUBECONFIG_FILE, READ_ONLY_KUBECONFIG_FILE, SECRETS_FOLDER};
pub use self::server::{Config, STORE_FILE, Server, StartError};

/// Where the backup of all objects is, for administrators.
pub const BACKUP_PATH: &str = "/usher/backup";

/// Bytes as hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
