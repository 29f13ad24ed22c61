//! Watching: what is there, then every change of it.

use std::collections::VecDeque;
use std::sync::Arc;

use serde_json::{Value, json};

use super::list::parse_revision;
use super::{ListOptions, Registry, shown_as};
use crate::kinds::Kind;
use crate::object::meta_mut;
use crate::selector::Selector;
use crate::status::{ApiError, ApiResult};
use crate::store::{Change, Event, Expired, Revision, Stored, Watch};

/// What a notice says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoticeKind {
    /// The object is there, or is selected from this change on.
    Added,
    /// It changed.
    Modified,
    /// It is gone, or is not selected any longer.
    Deleted,
    /// Nothing happened up to this revision.
    Bookmark,
}

impl NoticeKind {
    /// The word of the protocol.
    pub fn word(self) -> &'static str {
        match self {
            Self::Added => "ADDED",
            Self::Modified => "MODIFIED",
            Self::Deleted => "DELETED",
            Self::Bookmark => "BOOKMARK",
        }
    }
}

/// One thing that a watcher is told.
#[derive(Clone, Debug)]
pub struct Notice {
    /// What it says.
    pub kind: NoticeKind,
    /// The object; for bookmarks only its revision counts.
    pub object: Arc<Stored>,
}

/// The changes of the objects that a watcher wants.
#[derive(Debug)]
pub struct Changes {
    kind: &'static Kind,
    watch: Watch,
    namespace: Option<String>,
    selector: Selector,
    ready: VecDeque<Notice>,
}

impl Registry {
    /// Watches objects of one namespace or of all. `initial` is `sendInitialEvents`.
    ///
    /// # Errors
    /// The options contradict each other.
    pub fn watch(&self, kind: &'static Kind, namespace: Option<&str>, options: &ListOptions, initial: Option<bool>) -> ApiResult<Changes> {
        if initial.is_none() && !options.resource_version_match.is_empty() {
            return Err(invalid(
                "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
            ));
        }
        if initial.is_some() && options.resource_version_match != "NotOlderThan" {
            return Err(invalid(
                "resourceVersionMatch: Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
            ));
        }
        let asked = match options.resource_version.as_str() {
            "" => None,
            text => Some(parse_revision(text)?),
        };
        let starts_with_state = initial.unwrap_or(asked.is_none_or(|asked| asked.0 == 0));
        let mut ready = VecDeque::new();
        let since = if starts_with_state {
            let plain = ListOptions { selector: options.selector.clone(), ..ListOptions::default() };
            let list = self.list(kind, namespace, &plain)?;
            ready.extend(list.items.into_iter().map(|object| Notice { kind: NoticeKind::Added, object }));
            if initial == Some(true) {
                ready.push_back(bookmark(kind, list.revision, Initial::End));
            }
            list.revision
        } else {
            match asked {
                Some(asked) if asked.0 > 0 => asked,
                Some(_) | None => self.store.revision(),
            }
        };
        let watch = self.store.watch(kind.stored_as, since);
        Ok(Changes { kind, watch, namespace: namespace.map(ToOwned::to_owned), selector: options.selector.clone(), ready })
    }
}

fn invalid(what: &str) -> ApiError {
    ApiError::new(422, "Invalid", format!("ListOptions.meta.k8s.io \"\" is invalid: {what}"))
}

impl Changes {
    /// The next notice. May be dropped and called again: nothing is lost.
    ///
    /// # Errors
    /// The watcher is so far behind that changes are lost to it.
    pub async fn next(&mut self) -> ApiResult<Notice> {
        loop {
            if let Some(notice) = self.ready.pop_front() {
                return Ok(notice);
            }
            let events = self.watch.next().await.map_err(expired)?;
            for event in events {
                if let Some(notice) = self.notice(&event) {
                    self.ready.push_back(notice);
                }
            }
        }
    }

    /// A notice that is there already.
    ///
    /// # Errors
    /// As [`next`](Self::next).
    pub fn try_next(&mut self) -> ApiResult<Option<Notice>> {
        if self.ready.is_empty() {
            let events = self.watch.ready().map_err(expired)?;
            let notices: Vec<_> = events.iter().filter_map(|event| self.notice(event)).collect();
            self.ready.extend(notices);
        }
        Ok(self.ready.pop_front())
    }

    /// A bookmark, if the watcher has been told everything that happened.
    pub fn bookmark(&mut self) -> Option<Notice> {
        if !self.ready.is_empty() {
            return None;
        }
        self.watch.seen_up_to().map(|revision| bookmark(self.kind, revision, Initial::No))
    }

    fn notice(&self, event: &Event) -> Option<Notice> {
        if self.namespace.as_ref().is_some_and(|namespace| *namespace != event.key.namespace) {
            return None;
        }
        let wanted = |object: &Stored| self.selector.is_everything() || self.selector.matches(&object.value());
        let notice = |kind, object: &Arc<Stored>| Some(Notice { kind, object: Arc::clone(object) });
        match &event.change {
            Change::Added(object) if wanted(object) => notice(NoticeKind::Added, object),
            Change::Deleted(object) if wanted(object) => notice(NoticeKind::Deleted, object),
            Change::Added(_) | Change::Deleted(_) => None,
            Change::Modified { object, previous } => match (wanted(previous), wanted(object)) {
                (true, true) => notice(NoticeKind::Modified, object),
                (false, true) => notice(NoticeKind::Added, object),
                (true, false) => {
                    // As it was when it was selected, with the revision of the change.
                    let mut value = previous.value();
                    meta_mut(&mut value).insert("resourceVersion".to_owned(), json!(event.revision.to_string()));
                    let gone = Arc::new(stored(event.revision, &value));
                    Some(Notice { kind: NoticeKind::Deleted, object: gone })
                }
                (false, false) => None,
            },
        }
    }
}

fn stored(revision: Revision, value: &Value) -> Stored {
    Stored { revision, json: serde_json::to_vec(value).expect("JSON values can always be written").into() }
}

#[derive(Clone, Copy)]
enum Initial {
    End,
    No,
}

fn bookmark(kind: &Kind, revision: Revision, initial: Initial) -> Notice {
    let mut object = json!({
        "kind": kind.kind,
        "apiVersion": kind.api_version(),
        "metadata": { "resourceVersion": revision.to_string(), "creationTimestamp": null },
    });
    if matches!(initial, Initial::End) {
        object["metadata"]["annotations"] = json!({ "k8s.io/initial-events-end": "true" });
    }
    Notice { kind: NoticeKind::Bookmark, object: Arc::new(stored(revision, &object)) }
}

/// The error that ends a watch which is too far behind.
fn expired(Expired(since): Expired) -> ApiError {
    ApiError::expired(format!("too old resource version: {since}"))
}

impl Notice {
    /// The object as a kind shows it.
    pub fn value(&self, kind: &Kind) -> Value {
        let value = self.object.value();
        if self.kind == NoticeKind::Bookmark { value } else { shown_as(kind, value) }
    }
}
