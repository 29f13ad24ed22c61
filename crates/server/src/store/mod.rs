//! The objects of the API: durable in one file, whole in memory, watched by revision.
//!
//! ```text
//! write ──► queue ──► writer thread: check ─► one transaction for all that wait ─► sync ─► shelves ─► answer
//! list, read, watch ◄──────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! Not a judge of objects: it knows JSON with `metadata.resourceVersion`, and nothing else of the API. Invariants:
//! every change has a revision of its own, one greater than the one before; nothing is answered or seen before it is
//! on disk; a watch gives each change after its start once and in order, or says that it cannot.

mod backup;
mod file;
mod shelf;
#[cfg(test)]
mod tests;
mod watch;
mod writer;

use std::path::Path;
use std::sync::{Arc, RwLock};

use bytes::Bytes;
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};

pub use self::backup::{BackupError, RestoreError, Summary, check as check_backup};
pub use self::file::{FORMAT_VERSION, OpenError};
pub use self::shelf::Listing;
pub use self::watch::{Expired, Watch};

use self::shelf::Shelves;
use self::writer::Job;

/// The most writes that wait for the disk; further writers wait before they queue.
const WRITES_QUEUED_MAX: usize = 1024;

/// The place of a change in the order of all changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(pub u64);

impl std::fmt::Display for Revision {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// The name of an object within its resource. Objects outside namespaces have an empty one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey {
    /// The namespace, or nothing.
    pub namespace: String,
    /// The name.
    pub name: String,
}

impl ObjectKey {
    /// The key of `name` in `namespace`.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }
}

/// An object as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// The revision of its last change, which is also in its JSON.
    pub revision: Revision,
    /// The object.
    pub json: Bytes,
}

impl Stored {
    /// The object, parsed.
    pub fn value(&self) -> Value {
        serde_json::from_slice(&self.json).expect("the store wrote this JSON itself")
    }
}

/// What happened to an object.
#[derive(Clone, Debug)]
pub enum Change {
    /// It was not there before.
    Added(Arc<Stored>),
    /// It was there before, differently.
    Modified {
        /// As it is since.
        object: Arc<Stored>,
        /// As it was.
        previous: Arc<Stored>,
    },
    /// It is gone; its last state, with the revision of the deletion.
    Deleted(Arc<Stored>),
}

/// One change of one object.
#[derive(Clone, Debug)]
pub struct Event {
    /// Its place in the order.
    pub revision: Revision,
    /// The object.
    pub key: ObjectKey,
    /// What happened.
    pub change: Change,
}

/// One change that is asked for. It takes place if the object is as expected.
#[derive(Clone, Debug)]
pub enum Write {
    /// Store an object that must not be there.
    Create(Value),
    /// Store an object that must be there at this revision.
    Update(Revision, Value),
    /// Remove an object that must be there at this revision.
    Delete(Revision),
}

/// Why a write did not take place.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The object was not as expected; its revision, if it is there at all.
    #[error("the object was changed by another writer")]
    Conflict(Option<Revision>),
    /// The disk is full. Reads go on.
    #[error("the disk of the store is full; free some space, writes go on by themselves then")]
    Full,
    /// The file could not be written.
    #[error("could not write to the store: {0}")]
    Failed(String),
    /// The store is being closed.
    #[error("the store is closed")]
    Closed,
}

/// The store. Clones are handles of the same one.
#[derive(Clone, Debug)]
pub struct Store {
    shelves: Arc<RwLock<Shelves>>,
    jobs: mpsc::Sender<Job>,
}

impl Store {
    /// Opens the store in `file`, which is made if it is not there.
    ///
    /// # Errors
    /// The file cannot be read, is in use, or was written by a newer version.
    pub fn open(file: &Path) -> Result<Self, OpenError> {
        let (database, shelves) = file::open(file)?;
        let shelves = Arc::new(RwLock::new(shelves));
        let (jobs, queue) = mpsc::channel(WRITES_QUEUED_MAX);
        writer::spawn(database, file.to_owned(), Arc::clone(&shelves), queue).map_err(OpenError::Thread)?;
        Ok(Self { shelves, jobs })
    }

    /// Makes a change. When this returns, it is on disk.
    ///
    /// # Errors
    /// The object was not as expected, or the disk refused.
    pub async fn write(&self, resource: &'static str, key: ObjectKey, write: Write) -> Result<Arc<Stored>, WriteError> {
        let (answer, answered) = oneshot::channel();
        self.jobs.send(Job::Write { resource, key, write, answer }).await.map_err(|_| WriteError::Closed)?;
        answered.await.map_err(|_| WriteError::Closed)?
    }

    /// The object `key`.
    pub fn read(&self, resource: &str, key: &ObjectKey) -> Option<Arc<Stored>> {
        self.shelves.read().expect("no holder of this lock panics").read(resource, key)
    }

    /// All objects of a resource as they are at one revision. Taking it costs nothing; keeping it makes the next
    /// write copy the table of references.
    pub fn list(&self, resource: &str) -> Listing {
        self.shelves.read().expect("no holder of this lock panics").list(resource)
    }

    /// The revision of the last change of all.
    pub fn revision(&self) -> Revision {
        self.shelves.read().expect("no holder of this lock panics").revision
    }

    /// The changes of a resource after `since`.
    pub fn watch(&self, resource: &'static str, since: Revision) -> Watch {
        let wake = self.shelves.write().expect("no holder of this lock panics").subscribe(resource);
        Watch::new(Arc::clone(&self.shelves), resource, since, wake)
    }

    /// Waits until all that was asked for is written, then closes the file. Later writes are refused.
    pub async fn close(&self) {
        let (answer, answered) = oneshot::channel();
        if self.jobs.send(Job::Close { answer }).await.is_ok() {
            let _ = answered.await;
        }
    }
}
