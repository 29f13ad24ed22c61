//! What the shim waits for: one epoll set, in which every descriptor is known by what it means.

use std::os::fd::{AsFd, OwnedFd};

use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};

/// A number that stands for one client, container or exec for as long as the shim lives. Never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Key(u32);

impl Key {
    pub(super) const FIRST: Self = Self(1);

    pub(super) fn next(self) -> Self {
        Self(self.0.checked_add(1).expect("a shim does not make four billion things"))
    }
}

/// Who has something to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// The socket: a new client.
    Listener,
    /// Signals, exits among them.
    Signals,
    /// A deadline.
    Timer,
    /// A client's connection.
    Client(Key),
    /// A container's stdout or terminal.
    ContainerStdout(Key),
    /// A container's stderr.
    ContainerStderr(Key),
    /// A container ran out of memory.
    ContainerOom(Key),
    /// An exec's captured stdout.
    ExecStdout(Key),
    /// An exec's captured stderr.
    ExecStderr(Key),
    /// A pipe of somebody who looks at a container's output.
    Audience(Key),
    /// Nobody holds an exec any more.
    ExecHold(Key),
}

impl Source {
    fn to_data(self) -> EventData {
        let (kind, key) = match self {
            Self::Listener => (1, 0),
            Self::Signals => (2, 0),
            Self::Timer => (3, 0),
            Self::Client(key) => (4, key.0),
            Self::ContainerStdout(key) => (5, key.0),
            Self::ContainerStderr(key) => (6, key.0),
            Self::ContainerOom(key) => (7, key.0),
            Self::ExecStdout(key) => (8, key.0),
            Self::ExecStderr(key) => (9, key.0),
            Self::Audience(key) => (10, key.0),
            Self::ExecHold(key) => (11, key.0),
        };
        EventData::new_u64((kind << 32) | u64::from(key))
    }

    fn from_data(data: EventData) -> Option<Self> {
        let data = data.u64();
        let key = Key(data as u32);
        Some(match data >> 32 {
            1 => Self::Listener,
            2 => Self::Signals,
            3 => Self::Timer,
            4 => Self::Client(key),
            5 => Self::ContainerStdout(key),
            6 => Self::ContainerStderr(key),
            7 => Self::ContainerOom(key),
            8 => Self::ExecStdout(key),
            9 => Self::ExecStderr(key),
            10 => Self::Audience(key),
            11 => Self::ExecHold(key),
            _ => return None,
        })
    }
}

/// How many ready descriptors are taken at once: more than there can be clients, see [`Ready::sources`].
const EVENTS_AT_ONCE: usize = 32;

/// The epoll set. A descriptor that nobody else has leaves it by being closed; one that was passed to a client must be removed.
#[derive(Debug)]
pub(super) struct Poll {
    epoll: OwnedFd,
}

impl Poll {
    pub(super) fn new() -> rustix::io::Result<Self> {
        Ok(Self { epoll: epoll::create(CreateFlags::CLOEXEC)? })
    }

    pub(super) fn add(&self, fd: impl AsFd, source: Source, interest: EventFlags) -> rustix::io::Result<()> {
        epoll::add(&self.epoll, fd, source.to_data(), interest)
    }

    /// Takes a descriptor out that others have too: the set knows the open file, not our name of it.
    pub(super) fn remove(&self, fd: impl AsFd) -> rustix::io::Result<()> {
        epoll::delete(&self.epoll, fd)
    }

    pub(super) fn modify(&self, fd: impl AsFd, source: Source, interest: EventFlags) -> rustix::io::Result<()> {
        epoll::modify(&self.epoll, fd, source.to_data(), interest)
    }

    /// Waits for at most `timeout` (`None`: for ever), and returns who is ready. Level-triggered: who is not served is ready again.
    pub(super) fn wait(&self, timeout: Option<Timespec>) -> rustix::io::Result<Ready> {
        let mut events = [Event { flags: EventFlags::empty(), data: EventData::new_u64(0) }; EVENTS_AT_ONCE];
        let count = match epoll::wait(&self.epoll, &mut events, timeout.as_ref()) {
            Ok(count) => count,
            Err(rustix::io::Errno::INTR) => 0,
            Err(errno) => return Err(errno),
        };
        Ok(Ready { events, count })
    }
}

/// The ready descriptors of one wait.
pub(super) struct Ready {
    events: [Event; EVENTS_AT_ONCE],
    count: usize,
}

impl Ready {
    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Who is ready. New clients come last, so that those who left have made room for them.
    pub(super) fn sources(&self) -> impl Iterator<Item = Source> {
        let all = || {
            self.events[..self.count].iter().filter_map(|event| {
                // The event is packed: its data is copied out, not borrowed.
                let data = event.data;
                Source::from_data(data)
            })
        };
        all().filter(|source| *source != Source::Listener).chain(all().filter(|source| *source == Source::Listener))
    }
}

#[cfg(test)]
mod tests {
    use super::{Key, Source};

    #[test]
    fn every_source_is_known_again() {
        let key = Key(u32::MAX);
        for source in [
            Source::Listener,
            Source::Signals,
            Source::Timer,
            Source::Client(key),
            Source::ContainerStdout(key),
            Source::ContainerStderr(key),
            Source::ContainerOom(key),
            Source::ExecStdout(key),
            Source::ExecStderr(key),
            Source::Audience(key),
            Source::ExecHold(key),
        ] {
            assert_eq!(Source::from_data(source.to_data()), Some(source));
        }
    }
}
