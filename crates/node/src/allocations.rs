//! What the pods of this engine ask for of its node: numbers that every pod's world shares.
//!
//! Bookkeeping only: whether something fits is decided in `lifecycle`. Pods of other engines on the machine are not known here.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use lifecycle::Room;
use tokio::sync::watch;

use crate::admission::Allocatable;
use crate::machine::Machine;

/// Who has what. Clones share the book.
#[derive(Clone, Debug)]
pub struct Allocations {
    book: Arc<Mutex<BTreeMap<String, Allocation>>>,
    /// What pods can have of the node; all of it where nobody has said.
    capacity: Arc<Mutex<Option<Allocation>>>,
    changed: Arc<watch::Sender<()>>,
}

/// What one pod asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Allocation {
    /// Thousandths of a processor.
    pub(crate) cpu_millis: u64,
    /// Bytes.
    pub(crate) memory_bytes: u64,
}

impl Default for Allocations {
    fn default() -> Self {
        Self { book: Arc::default(), capacity: Arc::default(), changed: Arc::new(watch::Sender::new(())) }
    }
}

impl Allocations {
    /// Notes what a pod has from here on; `None` if it is gone.
    pub(crate) fn note(&self, uid: &str, allocation: Option<Allocation>) {
        let mut book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        let before = match allocation {
            Some(allocation) => book.insert(uid.to_owned(), allocation),
            None => book.remove(uid),
        };
        drop(book);
        if before != allocation {
            self.changed.send_replace(());
        }
    }

    /// Sets what pods can have of the node.
    pub(crate) fn set_capacity(&self, allocatable: &Allocatable) {
        let of = |name| allocatable.get(name).and_then(|amount| u64::try_from(*amount).ok()).unwrap_or(u64::MAX);
        let capacity = Allocation { cpu_millis: of("cpu"), memory_bytes: of("memory") };
        *self.capacity.lock().unwrap_or_else(PoisonError::into_inner) = Some(capacity);
    }

    fn capacity(&self) -> Allocation {
        let positive = |number: i64| u64::try_from(number).unwrap_or_default();
        let said = *self.capacity.lock().unwrap_or_else(PoisonError::into_inner);
        said.unwrap_or_else(|| {
            let machine = Machine::this();
            Allocation { cpu_millis: positive(machine.cpu_millis), memory_bytes: positive(machine.memory_bytes) }
        })
    }

    /// Tells when anything has changed.
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// The node's room as a pod sees it, which itself takes no part of it.
    pub(crate) fn room(&self, uid: &str) -> Room {
        let Allocation { cpu_millis, memory_bytes } = self.capacity();
        let book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        let others = || book.iter().filter(|(other, _)| *other != uid).map(|(_, allocation)| allocation);
        Room {
            cpu_millis,
            memory_bytes,
            used_cpu_millis: others().map(|other| other.cpu_millis).fold(0, u64::saturating_add),
            used_memory_bytes: others().map(|other| other.memory_bytes).fold(0, u64::saturating_add),
        }
    }
}
