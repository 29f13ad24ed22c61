//! What the store holds in memory: each resource's objects, and its latest changes.
//!
//! Changed only by the writer thread, after its transaction is on disk.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use tokio::sync::watch;

use super::{Change, Event, ObjectKey, Revision, Stored};

/// The most changes of one resource that are kept for watchers that are behind. At 200 changes a second, which is far
/// above what one machine's pods make, this is 20 s.
pub(super) const CHANGES_KEPT_MAX: usize = 4096;

/// The most bytes of objects in those changes.
pub(super) const CHANGES_KEPT_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Objects by name.
pub(super) type Objects = BTreeMap<ObjectKey, Arc<Stored>>;

/// All resources.
#[derive(Debug, Default)]
pub(super) struct Shelves {
    pub(super) revision: Revision,
    pub(super) by_resource: BTreeMap<String, Shelf>,
}

/// One resource.
#[derive(Debug, Default)]
pub(super) struct Shelf {
    pub(super) objects: Arc<Objects>,
    /// The revision of its last change, also if that was a deletion.
    pub(super) last: Revision,
    changes: VecDeque<Arc<Event>>,
    bytes: usize,
    /// Changes up to this revision are not in `changes`.
    forgotten: Revision,
    wake: Option<watch::Sender<()>>,
}

/// All objects of a resource at one revision.
#[derive(Clone, Debug)]
pub struct Listing {
    /// The revision of the whole store when the list was taken.
    pub revision: Revision,
    /// The revision of the last change of the resource.
    pub last: Revision,
    pub(super) objects: Arc<Objects>,
}

impl Listing {
    /// The objects in order, of one namespace or of all.
    pub fn iter<'a>(&'a self, namespace: Option<&'a str>) -> impl Iterator<Item = (&'a ObjectKey, &'a Arc<Stored>)> + 'a {
        self.after(namespace, None)
    }

    /// The same, without those up to `key`.
    pub fn after<'a>(
        &'a self,
        namespace: Option<&'a str>,
        key: Option<&ObjectKey>,
    ) -> impl Iterator<Item = (&'a ObjectKey, &'a Arc<Stored>)> + 'a {
        use std::ops::Bound;
        let first = ObjectKey::new(namespace.unwrap_or_default(), "");
        let start = match key {
            Some(key) if *key >= first => Bound::Excluded(key.clone()),
            Some(_) | None => Bound::Included(first),
        };
        let range = self.objects.range((start, Bound::Unbounded));
        range.take_while(move |(key, _)| namespace.is_none_or(|namespace| key.namespace == namespace))
    }

    /// The same objects under the name of another revision, since which they have not changed.
    #[must_use]
    pub fn as_of(self, revision: Revision) -> Self {
        Self { revision: revision.min(self.revision), ..self }
    }

    /// The object `key`.
    pub fn get(&self, key: &ObjectKey) -> Option<&Arc<Stored>> {
        self.objects.get(key)
    }

    /// How many objects there are in all namespaces.
    pub fn len(&self) -> usize {
        self.objects.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.objects.is_empty()
    }
}

impl Shelves {
    pub(super) fn read(&self, resource: &str, key: &ObjectKey) -> Option<Arc<Stored>> {
        self.by_resource.get(resource)?.objects.get(key).cloned()
    }

    pub(super) fn list(&self, resource: &str) -> Listing {
        let shelf = self.by_resource.get(resource);
        Listing {
            revision: self.revision,
            last: shelf.map_or(Revision(0), |shelf| shelf.last),
            objects: shelf.map(|shelf| Arc::clone(&shelf.objects)).unwrap_or_default(),
        }
    }

    pub(super) fn subscribe(&mut self, resource: &str) -> watch::Receiver<()> {
        let shelf = self.by_resource.entry(resource.to_owned()).or_default();
        shelf.wake.get_or_insert_with(|| watch::Sender::new(())).subscribe()
    }

    /// Takes over a change that is on disk.
    pub(super) fn apply(&mut self, resource: &str, event: Arc<Event>) {
        self.revision = event.revision;
        let shelf = self.by_resource.entry(resource.to_owned()).or_default();
        shelf.last = event.revision;
        let objects = Arc::make_mut(&mut shelf.objects);
        match &event.change {
            Change::Added(object) | Change::Modified { object, .. } => objects.insert(event.key.clone(), Arc::clone(object)),
            Change::Deleted(_) => objects.remove(&event.key),
        };
        shelf.keep(event);
    }

    /// Wakes the watchers of a resource, once for all changes that were taken over.
    pub(super) fn wake(&self, resource: &str) {
        if let Some(wake) = self.by_resource.get(resource).and_then(|shelf| shelf.wake.as_ref()) {
            wake.send_replace(());
        }
    }
}

impl Shelf {
    /// A resource as the file has it.
    pub(super) fn load(objects: Objects, last: Revision) -> Self {
        Self { objects: Arc::new(objects), last, forgotten: last, ..Self::default() }
    }

    fn keep(&mut self, event: Arc<Event>) {
        self.bytes += weight(&event);
        self.changes.push_back(event);
        while self.changes.len() > CHANGES_KEPT_MAX || self.bytes > CHANGES_KEPT_BYTES_MAX && self.changes.len() > 1 {
            let Some(oldest) = self.changes.pop_front() else { break };
            self.bytes -= weight(&oldest);
            self.forgotten = oldest.revision;
        }
    }

    /// The changes after `since`, at most `max`; `None` if some of them are not kept.
    pub(super) fn changes_after(&self, since: Revision, max: usize) -> Option<Vec<Arc<Event>>> {
        if since < self.forgotten {
            return None;
        }
        let from = self.changes.partition_point(|event| event.revision <= since);
        Some(self.changes.range(from..).take(max).cloned().collect())
    }
}

fn weight(event: &Event) -> usize {
    match &event.change {
        Change::Added(object) | Change::Deleted(object) => object.json.len(),
        Change::Modified { object, previous } => object.json.len() + previous.json.len(),
    }
}
