//! Kubernetes Events of this node's pods: the machine's words become objects with names, times and counts.
//!
//! Not a log: what repeats is counted in one object, what comes in too many variants is folded, and what floods is left out, all by
//! the reference's rules and numbers. Not a store either: the list is bounded and kept in memory.

pub(crate) mod untold;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use k8s_openapi::jiff;
use lifecycle::{EventKind, EventRecord};

/// k8s: 10.a.1
const COMPONENT: &str = "kubelet";
/// k8s: 10.b.2
const SPAM_BURST: f64 = 25.0;
/// One more Event of an object is let through after so long (k8s: 10.b.2).
const SPAM_REFILL: Duration = Duration::from_secs(300);
/// From so many different messages on they are folded (k8s: 10.b.3).
const SIMILAR_MAX: usize = 10;
/// Messages further apart are not similar (k8s: 10.b.3).
const SIMILAR_WITHIN: Duration = Duration::from_secs(600);
/// k8s: 10.b.3
const FOLDED_PREFIX: &str = "(combined from similar events): ";
/// Events kept; the oldest go first. The reference remembers as many (k8s: 10.b.4).
const EVENTS_MAX: usize = 4096;

/// What became of a record.
#[derive(Clone, Debug, PartialEq)]
pub enum Recorded {
    /// There is a new Event.
    Added(Event),
    /// An Event that was there has been counted up; its message may be another one.
    Counted(Event),
    /// Nothing: there were too many about this object.
    Dropped,
}

/// What makes two Events one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    namespace: String,
    name: String,
    uid: String,
    /// Empty for folded ones, which speak of no single container.
    field_path: String,
    is_warning: bool,
    reason: String,
    /// Empty for folded ones.
    message: String,
}

/// Messages that differ, of one object, kind and reason.
#[derive(Debug, Default)]
struct Similar {
    messages: BTreeSet<String>,
    last_nanos: u64,
}

/// Room for more Events about one object and of one kind.
#[derive(Debug)]
struct Room {
    tokens: f64,
    last_nanos: u64,
}

/// The Events of one node.
#[derive(Debug)]
pub struct EventRecorder {
    node_name: String,
    /// In the order in which they came up first.
    order: VecDeque<Key>,
    events: BTreeMap<Key, Event>,
    similar: BTreeMap<Key, Similar>,
    rooms: BTreeMap<Key, Room>,
    last_nanos: u64,
}

impl EventRecorder {
    /// No Events yet; `node_name` is the host that they name.
    pub fn new(node_name: &str) -> Self {
        Self {
            node_name: node_name.to_owned(),
            order: VecDeque::new(),
            events: BTreeMap::new(),
            similar: BTreeMap::new(),
            rooms: BTreeMap::new(),
            last_nanos: 0,
        }
    }

    /// All Events that are kept, the oldest first.
    pub fn list(&self) -> impl Iterator<Item = &Event> {
        self.order.iter().filter_map(|key| self.events.get(key))
    }

    /// Those of one pod.
    pub fn list_of<'a>(&'a self, uid: &'a str) -> impl Iterator<Item = &'a Event> {
        self.list().filter(move |event| event.involved_object.uid.as_deref() == Some(uid))
    }

    /// Forgets the Events of a pod.
    pub fn forget(&mut self, uid: &str) {
        self.order.retain(|key| key.uid != uid);
        self.events.retain(|key, _| key.uid != uid);
        self.similar.retain(|key, _| key.uid != uid);
        self.rooms.retain(|key, _| key.uid != uid);
    }

    /// Takes up what the machine of a pod said at this wall-clock time, in nanoseconds since 1970.
    pub fn record(&mut self, pod: &Pod, record: &EventRecord, wall_nanos: u64) -> Recorded {
        let field_path = record.about.as_ref().map(ToString::to_string);
        let (key, message) = self.key(pod, record, field_path.as_deref().unwrap_or_default(), wall_nanos);
        let is_known = self.events.contains_key(&key);
        let mut event = match self.events.remove(&key) {
            Some(event) => counted(event, message, wall_nanos),
            None => self.new_event(pod, record, field_path, message, wall_nanos),
        };
        event.last_timestamp = time(wall_nanos);
        if !is_known {
            self.make_place(key.clone());
        }
        self.events.insert(key.clone(), event.clone());
        // k8s: 10.b.2: what is dropped is counted all the same.
        match (self.takes_room(&key, wall_nanos), is_known) {
            (false, _) => Recorded::Dropped,
            (true, true) => Recorded::Counted(event),
            (true, false) => Recorded::Added(event),
        }
    }

    /// k8s: 10.b.3, 10.b.4
    fn key(&mut self, pod: &Pod, record: &EventRecord, field_path: &str, wall_nanos: u64) -> (Key, String) {
        let metadata = &pod.metadata;
        let part = |text: &Option<String>| text.clone().unwrap_or_default();
        let folded = Key {
            namespace: part(&metadata.namespace),
            name: part(&metadata.name),
            uid: part(&metadata.uid),
            field_path: String::new(),
            is_warning: record.kind == EventKind::Warning,
            reason: record.reason.clone(),
            message: String::new(),
        };
        let similar = self.similar.entry(folded.clone()).or_default();
        if wall_nanos.saturating_sub(similar.last_nanos) > nanos(SIMILAR_WITHIN) {
            similar.messages.clear();
        }
        similar.last_nanos = wall_nanos;
        if similar.messages.len() + usize::from(!similar.messages.contains(&record.message)) >= SIMILAR_MAX {
            return (folded, format!("{FOLDED_PREFIX}{}", record.message));
        }
        similar.messages.insert(record.message.clone());
        let key = Key { field_path: field_path.to_owned(), message: record.message.clone(), ..folded };
        (key, record.message.clone())
    }

    fn new_event(&mut self, pod: &Pod, record: &EventRecord, field_path: Option<String>, message: String, wall_nanos: u64) -> Event {
        let metadata = &pod.metadata;
        // Two in the same nanosecond would have the same name.
        self.last_nanos = wall_nanos.max(self.last_nanos + 1);
        Event {
            metadata: ObjectMeta {
                // k8s: 10.a.4
                name: Some(format!("{}.{:x}", metadata.name.as_deref().unwrap_or_default(), self.last_nanos)),
                namespace: metadata.namespace.clone(),
                creation_timestamp: time(wall_nanos),
                ..ObjectMeta::default()
            },
            // k8s: 10.a.3
            involved_object: ObjectReference {
                api_version: Some("v1".to_owned()),
                kind: Some("Pod".to_owned()),
                name: metadata.name.clone(),
                namespace: metadata.namespace.clone(),
                uid: metadata.uid.clone(),
                resource_version: metadata.resource_version.clone(),
                field_path,
            },
            type_: Some(kind(record.kind).to_owned()),
            reason: Some(record.reason.clone()),
            message: Some(message),
            count: Some(1),
            first_timestamp: time(wall_nanos),
            // k8s: 10.a.1, 10.a.2
            source: Some(EventSource { component: Some(COMPONENT.to_owned()), host: Some(self.node_name.clone()) }),
            reporting_component: Some(COMPONENT.to_owned()),
            reporting_instance: Some(self.node_name.clone()),
            ..Event::default()
        }
    }

    /// Puts a key behind all others, and takes the oldest out if there are too many.
    fn make_place(&mut self, key: Key) {
        self.order.push_back(key);
        if self.order.len() <= EVENTS_MAX {
            return;
        }
        let Some(Key { uid, .. }) = self.order.pop_front().inspect(|oldest| drop(self.events.remove(oldest))) else { return };
        // Nothing is remembered of a pod of which no Event is left.
        if !self.order.iter().any(|key| key.uid == uid) {
            self.similar.retain(|key, _| key.uid != uid);
            self.rooms.retain(|key, _| key.uid != uid);
        }
    }

    /// k8s: 10.b.2
    fn takes_room(&mut self, key: &Key, wall_nanos: u64) -> bool {
        let object = Key { field_path: String::new(), reason: String::new(), message: String::new(), ..key.clone() };
        let room = self.rooms.entry(object).or_insert(Room { tokens: SPAM_BURST, last_nanos: wall_nanos });
        let waited = Duration::from_nanos(wall_nanos.saturating_sub(room.last_nanos));
        room.tokens = (room.tokens + waited.as_secs_f64() / SPAM_REFILL.as_secs_f64()).min(SPAM_BURST);
        room.last_nanos = room.last_nanos.max(wall_nanos);
        let has_room = room.tokens >= 1.0;
        if has_room {
            room.tokens -= 1.0;
        }
        has_room
    }
}

/// A Warning about the node itself (k8s: 10.e.1).
pub fn node_event(node_name: &str, reason: &str, message: String, wall_nanos: u64) -> Event {
    Event {
        metadata: ObjectMeta {
            // k8s: 10.a.4
            name: Some(format!("{node_name}.{wall_nanos:x}")),
            namespace: Some("default".to_owned()),
            creation_timestamp: time(wall_nanos),
            ..ObjectMeta::default()
        },
        involved_object: ObjectReference {
            kind: Some("Node".to_owned()),
            name: Some(node_name.to_owned()),
            // The reference has the name here, too.
            uid: Some(node_name.to_owned()),
            ..ObjectReference::default()
        },
        type_: Some(kind(EventKind::Warning).to_owned()),
        reason: Some(reason.to_owned()),
        message: Some(message),
        count: Some(1),
        first_timestamp: time(wall_nanos),
        last_timestamp: time(wall_nanos),
        source: Some(EventSource { component: Some(COMPONENT.to_owned()), host: Some(node_name.to_owned()) }),
        reporting_component: Some(COMPONENT.to_owned()),
        reporting_instance: Some(node_name.to_owned()),
        ..Event::default()
    }
}

/// k8s: 10.b.4
fn counted(event: Event, message: String, wall_nanos: u64) -> Event {
    Event { count: event.count.map(|count| count.saturating_add(1)), message: Some(message), last_timestamp: time(wall_nanos), ..event }
}

const fn kind(kind: EventKind) -> &'static str {
    match kind {
        EventKind::Normal => "Normal",
        EventKind::Warning => "Warning",
    }
}

fn time(wall_nanos: u64) -> Option<Time> {
    let secs = i64::try_from(wall_nanos / 1_000_000_000).ok()?;
    jiff::Timestamp::from_second(secs).ok().map(Time)
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
