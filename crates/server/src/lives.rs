//! What the node remembers of the lives of its pods: the seam between the page and the journals.
//!
//! The server does not know what a life is made of: it hands on what it is given, and sees to it that everybody gets only what they
//! may see.

use futures_util::future::BoxFuture;
use serde_json::Value;
use tokio::sync::broadcast;

use crate::backend::BackendError;

/// A pod that there is, or was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remembered {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
    /// When something of it was last written down, in milliseconds since 1970.
    pub last_millis: u64,
}

/// How much of a life is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sight {
    /// All of it.
    Everything,
    /// Not what hooks printed.
    WithoutOutput,
}

/// What the node remembers.
pub trait Lives: Send + Sync + 'static {
    /// All pods that are remembered, those that are gone included, in no order.
    fn remembered(&self) -> BoxFuture<'_, Vec<Remembered>>;

    /// The life of a pod, as the page shows it.
    fn life(&self, uid: String, sight: Sight) -> BoxFuture<'_, Result<Value, BackendError>>;

    /// UIDs of pods in which something passed, from here on. Who falls behind has to look anew.
    fn changes(&self) -> broadcast::Receiver<String>;
}

/// Nothing is remembered.
#[derive(Debug)]
pub struct NoLives(broadcast::Sender<String>);

impl Default for NoLives {
    fn default() -> Self {
        Self(broadcast::Sender::new(1))
    }
}

impl Lives for NoLives {
    fn remembered(&self) -> BoxFuture<'_, Vec<Remembered>> {
        Box::pin(std::future::ready(Vec::new()))
    }

    fn life(&self, uid: String, _: Sight) -> BoxFuture<'_, Result<Value, BackendError>> {
        Box::pin(std::future::ready(Err(BackendError::NotFound(format!("no pod with uid {uid} is remembered")))))
    }

    fn changes(&self) -> broadcast::Receiver<String> {
        self.0.subscribe()
    }
}
