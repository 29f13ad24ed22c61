//! Who asked for the deletion of what is being deleted, for those who are told why a pod ended.
//!
//! Known to this process only: a daemon that takes up a stop that another one began does not know it any more. Not in the objects,
//! which belong to their users.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// The most that are remembered. A node has far fewer pods; more are those of ends that nobody waits for.
const ASKERS_MAX: usize = 4096;

/// Askers by the UIDs of objects.
#[derive(Clone, Debug, Default)]
pub(super) struct Askers(Arc<Mutex<BTreeMap<String, String>>>);

impl Askers {
    /// Remembers who asked; of several, the last.
    pub(super) fn note(&self, uid: &str, by: &str) {
        let mut askers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if askers.len() >= ASKERS_MAX && !askers.contains_key(uid) {
            askers.pop_first();
        }
        askers.insert(uid.to_owned(), by.to_owned());
    }

    /// Who asked, if it is known.
    pub(super) fn of(&self, uid: &str) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(uid).cloned()
    }

    /// Nobody will ask any more.
    pub(super) fn forget(&self, uid: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(uid);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_asker_is_remembered_and_no_more_than_a_bound_of_them() {
        let askers = Askers::default();
        askers.note("a", "one");
        askers.note("a", "two");
        assert_eq!(askers.of("a").as_deref(), Some("two"));
        askers.forget("a");
        assert_eq!(askers.of("a"), None);
        for number in 0..ASKERS_MAX + 10 {
            askers.note(&number.to_string(), "x");
        }
        assert_eq!(askers.0.lock().expect("nobody panicked").len(), ASKERS_MAX);
    }
}
