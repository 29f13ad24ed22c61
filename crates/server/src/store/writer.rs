//! The thread that alone changes the store.
//!
//! Writes that wait are taken together into one transaction, so that many writers share one sync of the disk. Each is
//! checked against what those before it in the same transaction did.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock};

use bytes::Bytes;
use redb::Database;
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};

use super::shelf::Shelves;
use super::{Change, Event, ObjectKey, Revision, Stored, Write, WriteError, file};

/// The most writes in one transaction: the first of them waits for all.
const BATCH_MAX: usize = 256;

/// Transactions between two looks at the size of the file.
const COMPACT_EVERY: u64 = 4096;

type Answer = oneshot::Sender<Result<Arc<Stored>, WriteError>>;

/// What the thread is asked for.
#[derive(Debug)]
pub(super) enum Job {
    Write { resource: &'static str, key: ObjectKey, write: Write, answer: Answer },
    Close { answer: oneshot::Sender<()> },
}

/// Starts the thread. It ends when the queue is closed or a job says so.
pub(super) fn spawn(
    database: Database,
    file: PathBuf,
    shelves: Arc<RwLock<Shelves>>,
    queue: mpsc::Receiver<Job>,
) -> Result<(), std::io::Error> {
    let writer = Writer { database: Some(database), file, shelves, transactions: 0 };
    std::thread::Builder::new().name("store".to_owned()).spawn(move || writer.run(queue)).map(drop)
}

struct Writer {
    /// `None` after an error, until it could be opened again.
    database: Option<Database>,
    file: PathBuf,
    shelves: Arc<RwLock<Shelves>>,
    transactions: u64,
}

/// A write that is part of a transaction.
struct Planned {
    resource: &'static str,
    event: Arc<Event>,
    answer: Answer,
}

impl Writer {
    fn run(mut self, mut queue: mpsc::Receiver<Job>) {
        while let Some(first) = queue.blocking_recv() {
            let mut jobs = vec![first];
            while jobs.len() < BATCH_MAX
                && let Ok(job) = queue.try_recv()
            {
                jobs.push(job);
            }
            let mut close = None;
            let mut writes = Vec::with_capacity(jobs.len());
            for job in jobs {
                match job {
                    Job::Write { resource, key, write, answer } => writes.push((resource, key, write, answer)),
                    Job::Close { answer } => close = Some(answer),
                }
            }
            let planned = self.plan(writes);
            self.carry_out(planned);
            if let Some(answer) = close {
                self.database = None;
                let _ = answer.send(());
                return;
            }
        }
    }

    /// Decides which writes take place and what each leads to; answers the others.
    fn plan(&self, writes: Vec<(&'static str, ObjectKey, Write, Answer)>) -> Vec<Planned> {
        let shelves = self.shelves.read().expect("no holder of this lock panics");
        let mut revision = shelves.revision;
        let mut changed: BTreeMap<(&'static str, ObjectKey), Option<Arc<Stored>>> = BTreeMap::new();
        let mut planned = Vec::with_capacity(writes.len());
        for (resource, key, write, answer) in writes {
            let place = (resource, key);
            let current = match changed.get(&place) {
                Some(current) => current.clone(),
                None => shelves.read(resource, &place.1),
            };
            let next = Revision(revision.0 + 1);
            let Some(change) = change(write, current.clone(), next) else {
                let _ = answer.send(Err(WriteError::Conflict(current.map(|current| current.revision))));
                continue;
            };
            revision = next;
            let key = place.1.clone();
            let after = match &change {
                Change::Added(object) | Change::Modified { object, .. } => Some(Arc::clone(object)),
                Change::Deleted(_) => None,
            };
            changed.insert(place, after);
            planned.push(Planned { resource, event: Arc::new(Event { revision, key, change }), answer });
        }
        planned
    }

    fn carry_out(&mut self, planned: Vec<Planned>) {
        if planned.is_empty() {
            return;
        }
        if let Err(error) = self.commit(&planned) {
            tracing::warn!(file = %self.file.display(), %error, "the store cannot be written");
            // After an error of the disk a database does nothing more until it is opened again.
            self.database = None;
            for Planned { answer, .. } in planned {
                let _ = answer.send(Err(write_error(&error)));
            }
            return;
        }
        let mut resources: Vec<&'static str> = Vec::new();
        {
            let mut shelves = self.shelves.write().expect("no holder of this lock panics");
            for Planned { resource, event, .. } in &planned {
                shelves.apply(resource, Arc::clone(event));
                if !resources.contains(resource) {
                    resources.push(resource);
                }
            }
            for resource in resources {
                shelves.wake(resource);
            }
        }
        for Planned { event, answer, .. } in planned {
            let (Change::Added(object) | Change::Modified { object, .. } | Change::Deleted(object)) = &event.change;
            let _ = answer.send(Ok(Arc::clone(object)));
        }
        self.transactions += 1;
        if self.transactions.is_multiple_of(COMPACT_EVERY)
            && let Some(database) = &mut self.database
        {
            file::compact(database, &self.file);
        }
    }

    fn commit(&mut self, planned: &[Planned]) -> Result<(), redb::Error> {
        let database = match &mut self.database {
            Some(database) => database,
            closed => closed.insert(reopen(&self.file)?),
        };
        let transaction = database.begin_write()?;
        for Planned { resource, event, .. } in planned {
            let json = match &event.change {
                Change::Added(object) | Change::Modified { object, .. } => Some(&object.json[..]),
                Change::Deleted(_) => None,
            };
            file::put(&transaction, resource, &event.key, event.revision, json)?;
        }
        transaction.commit()?;
        Ok(())
    }
}

/// Opens the file after an error. What memory holds is what the last transaction that succeeded left, and so does the
/// file.
fn reopen(path: &Path) -> Result<Database, redb::Error> {
    file::open_database(path).map_err(|error| match error {
        file::OpenError::Unreadable { reason, .. } => redb::Error::Io(std::io::Error::other(reason)),
        error @ (file::OpenError::InUse(_) | file::OpenError::Newer { .. } | file::OpenError::Thread(_)) => {
            redb::Error::Io(std::io::Error::other(error.to_string()))
        }
    })
}

fn write_error(error: &redb::Error) -> WriteError {
    if let redb::Error::Io(io) = error {
        let full =
            matches!(io.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded | std::io::ErrorKind::FileTooLarge);
        if full || io.to_string().contains("No space left") {
            return WriteError::Full;
        }
    }
    WriteError::Failed(error.to_string())
}

/// What a write leads to, or `None` if the object is not as expected.
fn change(write: Write, current: Option<Arc<Stored>>, revision: Revision) -> Option<Change> {
    match (write, current) {
        (Write::Create(value), None) => Some(Change::Added(stored(value, revision))),
        (Write::Update(expected, value), Some(previous)) if previous.revision == expected => {
            Some(Change::Modified { object: stored(value, revision), previous })
        }
        (Write::Delete(expected), Some(previous)) if previous.revision == expected => {
            Some(Change::Deleted(stored(previous.value(), revision)))
        }
        (Write::Create(_) | Write::Update(..) | Write::Delete(_), _) => None,
    }
}

/// The object with its revision in it.
pub(super) fn stored(mut value: Value, revision: Revision) -> Arc<Stored> {
    value["metadata"]["resourceVersion"] = Value::String(revision.to_string());
    let json = serde_json::to_vec(&value).expect("JSON values can always be written");
    Arc::new(Stored { revision, json: Bytes::from(json) })
}
