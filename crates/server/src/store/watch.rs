//! The changes of one resource, as one watcher sees them.
//!
//! A watcher has no queue: it holds the revision up to which it has seen, and reads on from there when it is woken.
//! So a slow one costs nothing, and is told when the changes it needs are not kept any longer.

use std::sync::{Arc, RwLock};

use tokio::sync::watch;

use super::shelf::Shelves;
use super::{Event, Revision};

/// The most changes handed over at once.
const BATCH_MAX: usize = 128;

/// The watcher is so far behind that changes it has not seen are not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("changes after revision {0} are not kept any longer")]
pub struct Expired(pub Revision);

/// The changes of one resource after a revision.
#[derive(Debug)]
pub struct Watch {
    shelves: Arc<RwLock<Shelves>>,
    resource: &'static str,
    seen: Revision,
    wake: watch::Receiver<()>,
}

impl Watch {
    pub(super) fn new(shelves: Arc<RwLock<Shelves>>, resource: &'static str, since: Revision, wake: watch::Receiver<()>) -> Self {
        Self { shelves, resource, seen: since, wake }
    }

    /// The next changes in order, as soon as there are any. May be dropped and called again: nothing is lost.
    ///
    /// # Errors
    /// Changes that the watcher has not seen are gone. It has to list and begin anew.
    pub async fn next(&mut self) -> Result<Vec<Arc<Event>>, Expired> {
        loop {
            self.wake.borrow_and_update();
            let events = self.ready()?;
            if !events.is_empty() {
                return Ok(events);
            }
            if self.wake.changed().await.is_err() {
                // Nobody can write any longer.
                std::future::pending::<()>().await;
            }
        }
    }

    /// The changes that are there already; may be none.
    ///
    /// # Errors
    /// As [`next`](Self::next).
    pub fn ready(&mut self) -> Result<Vec<Arc<Event>>, Expired> {
        let shelves = self.shelves.read().expect("no holder of this lock panics");
        let Some(shelf) = shelves.by_resource.get(self.resource) else { return Ok(Vec::new()) };
        let events = shelf.changes_after(self.seen, BATCH_MAX).ok_or(Expired(self.seen))?;
        if let Some(last) = events.last() {
            self.seen = last.revision;
        }
        Ok(events)
    }

    /// A revision up to which the watcher has seen everything of its resource, for bookmarks.
    ///
    /// # Errors
    /// As [`next`](Self::next).
    pub fn seen_up_to(&mut self) -> Option<Revision> {
        let shelves = self.shelves.read().expect("no holder of this lock panics");
        let behind = shelves.by_resource.get(self.resource).is_some_and(|shelf| shelf.last > self.seen);
        (!behind).then(|| shelves.revision.max(self.seen))
    }
}
