//! A story as the journal that an engine would have written of it: the same entries, from virtual time.
//!
//! Signals are told when they reached the process, as the real runtime tells them. What was really so and no engine can know
//! is left out.

use chronicle::{Entry, Happening, JOURNAL_VERSION, Journal, Kill, Moment, Record};
use lifecycle::{PodStatus, Timestamp};

use crate::story::{Story, What};
use crate::world::Fact;

/// The virtual clock's zero on the wall: 2026-01-01 00:00:00 UTC.
const WALL_START_NANOS: u64 = 1_767_225_600_000_000_000;

const SIGTERM: i32 = 15;

/// Writes the journal of a story.
pub fn of(story: &Story) -> Journal {
    let mut writer = Writer { entries: Vec::new(), last: None };
    writer.open(story, story.start, false);
    writer.push(story.start, Record::Spec(Box::new(story.pod.clone())));
    for entry in &story.entries {
        writer.take(story, entry.at, &entry.what);
    }
    Journal { entries: writer.entries, ..Journal::default() }
}

struct Writer {
    entries: Vec<Entry>,
    last: Option<PodStatus>,
}

impl Writer {
    fn push(&mut self, at: Timestamp, record: Record) {
        let seq = self.entries.len() as u64;
        self.entries.push(Entry { seq, at: moment(at), record });
    }

    fn open(&mut self, story: &Story, at: Timestamp, resumed: bool) {
        let pod = &story.pod;
        self.push(
            at,
            Record::Opened {
                version: JOURNAL_VERSION,
                name: pod.name.clone(),
                namespace: pod.namespace.clone(),
                uid: pod.uid.clone(),
                resumed,
                continued: false,
                engine: None,
            },
        );
    }

    fn take(&mut self, story: &Story, at: Timestamp, what: &What) {
        match what {
            What::Asked(kill, _) => self.push(at, Record::Kill(Kill::plain(*kill, None))),
            What::Told(event) => self.push(at, Record::Event(event.clone())),
            What::Did(step) => self.push(at, Record::Action(step.clone())),
            What::Shown(status) => {
                if self.last.as_ref() != Some(status) {
                    self.push(at, Record::Status((**status).clone()));
                    self.last = Some((**status).clone());
                }
            }
            What::Fact(Fact::StopSignal { id }) => {
                let sent = Happening::SignalSent {
                    container_id: id.0.clone(),
                    signal: SIGTERM,
                    why: "stop".to_owned(),
                    at: moment(at),
                    handling: None,
                };
                self.push(at, Record::Runtime(sent));
            }
            What::EngineStarted => self.open(story, at, true),
            What::Updated(spec) => self.push(at, Record::Spec(spec.clone())),
            What::RoomChanged | What::ToldAgain(_) | What::Due(_) | What::Fact(_) | What::EngineStopped => {}
        }
    }
}

const fn moment(at: Timestamp) -> Moment {
    Moment { boot_nanos: at.as_nanos(), wall_nanos: WALL_START_NANOS + at.as_nanos() }
}
