//! Who looks at a container's output: pipes that clients passed, into which goes what comes from now on.
//!
//! A pipe that is full holds up the reading, and so the container, as a terminal does; but whoever takes nothing for
//! [`STALL_MS`] is let go. Invariant: no more waits for a pipe than what was read in one turn, or at the container's end.

use std::os::fd::OwnedFd;

use rustix::io::Errno;

use super::output::set_nonblocking;
use super::poll::{Key, Poll, Source};
use crate::log::Stream;
use crate::moment::Moment;
use rustix::event::epoll::EventFlags;

/// How long somebody may hold up a container, in milliseconds.
pub(super) const STALL_MS: u64 = 30_000;
/// Most pipes of one container.
pub(super) const SINKS_MAX: usize = 32;

/// The pipes of one container.
#[derive(Debug, Default)]
pub(super) struct Audience {
    sinks: Vec<Sink>,
}

#[derive(Debug)]
struct Sink {
    key: Key,
    stream: Stream,
    pipe: OwnedFd,
    /// What the pipe did not take.
    pending: Vec<u8>,
    /// When it took something last, if something is pending.
    waits_since: Option<Moment>,
    is_watched_for_room: bool,
    is_broken: bool,
}

impl Audience {
    pub(super) fn len(&self) -> usize {
        self.sinks.len()
    }

    /// Takes a pipe, and has the loop tell when its reader goes.
    pub(super) fn add(&mut self, key: Key, stream: Stream, pipe: OwnedFd, poll: &Poll) -> rustix::io::Result<()> {
        use std::os::fd::AsFd as _;
        set_nonblocking(pipe.as_fd())?;
        poll.add(&pipe, Source::Audience(key), EventFlags::empty())?;
        let (pending, waits_since) = (Vec::new(), None);
        self.sinks.push(Sink { key, stream, pipe, pending, waits_since, is_watched_for_room: false, is_broken: false });
        Ok(())
    }

    pub(super) fn has(&self, key: Key) -> bool {
        self.sinks.iter().any(|sink| sink.key == key)
    }

    /// Passes output on.
    pub(super) fn hear(&mut self, stream: Stream, bytes: &[u8], now: Moment) {
        for sink in self.sinks.iter_mut().filter(|sink| sink.stream == stream) {
            sink.pending.extend_from_slice(bytes);
            sink.flush(now);
        }
    }

    /// The pipe has room, or nobody reads it any more.
    pub(super) fn serve(&mut self, key: Key, now: Moment) {
        let Some(sink) = self.sinks.iter_mut().find(|sink| sink.key == key) else { return };
        if sink.pending.is_empty() {
            // Nothing else is waited for.
            sink.is_broken = true;
        } else {
            sink.flush(now);
        }
    }

    /// Whether somebody has to catch up before more is read.
    pub(super) fn is_behind(&self, stream: Stream) -> bool {
        self.sinks.iter().any(|sink| sink.stream == stream && !sink.is_broken && !sink.pending.is_empty())
    }

    pub(super) fn next_deadline(&self) -> Option<Moment> {
        self.sinks.iter().filter_map(|sink| sink.waits_since).map(|since| since.plus_ms(STALL_MS)).min_by_key(|at| at.boot_ns)
    }

    /// Lets go of those who hold the container up for too long.
    pub(super) fn drop_stalled(&mut self, now: Moment) {
        for sink in &mut self.sinks {
            sink.is_broken |= sink.waits_since.is_some_and(|since| since.plus_ms(STALL_MS).boot_ns <= now.boot_ns);
        }
    }

    /// Closes pipes that are broken, or whose stream has ended and that have taken all; waits for room in the others.
    pub(super) fn settle(&mut self, poll: &Poll, has_ended: impl Fn(Stream) -> bool) {
        for sink in &mut self.sinks {
            sink.is_broken |= sink.pending.is_empty() && has_ended(sink.stream);
            let needs_room = !sink.is_broken && !sink.pending.is_empty();
            if needs_room != sink.is_watched_for_room {
                let interest = if needs_room { EventFlags::OUT } else { EventFlags::empty() };
                sink.is_broken |= poll.modify(&sink.pipe, Source::Audience(sink.key), interest).is_err();
                sink.is_watched_for_room = needs_room;
            }
        }
        self.sinks.retain(|sink| {
            if sink.is_broken {
                // The client may have the same end, so it is not enough to close it.
                let _ = poll.remove(&sink.pipe);
            }
            !sink.is_broken
        });
    }

    /// Closes all pipes.
    pub(super) fn close(&mut self, poll: &Poll) {
        for sink in self.sinks.drain(..) {
            let _ = poll.remove(&sink.pipe);
        }
    }
}

impl Sink {
    fn flush(&mut self, now: Moment) {
        let mut taken = 0;
        while taken < self.pending.len() && !self.is_broken {
            match rustix::io::write(&self.pipe, &self.pending[taken..]) {
                Ok(bytes) => taken += bytes,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break,
                Err(_) => self.is_broken = true,
            }
        }
        if taken == self.pending.len() || self.is_broken {
            self.pending = Vec::new();
            self.waits_since = None;
        } else {
            self.pending.drain(..taken);
            if taken > 0 || self.waits_since.is_none() {
                self.waits_since = Some(now);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::{Audience, Key, Moment, Poll, STALL_MS, Stream};

    fn audience() -> (Audience, Poll, std::io::PipeReader) {
        let poll = Poll::new().expect("an epoll set");
        let (reader, writer) = std::io::pipe().expect("a pipe");
        let mut audience = Audience::default();
        audience.add(Key::FIRST, Stream::Stdout, writer.into(), &poll).expect("watched");
        (audience, poll, reader)
    }

    #[test]
    fn a_reader_gets_all_of_its_stream_and_then_the_end() {
        let (mut audience, poll, mut reader) = audience();
        let now = Moment::now();
        audience.hear(Stream::Stderr, b"not this", now);
        audience.hear(Stream::Stdout, b"this ", now);
        audience.hear(Stream::Stdout, b"and this", now);
        assert!(!audience.is_behind(Stream::Stdout));
        audience.settle(&poll, |stream| stream == Stream::Stdout);
        assert_eq!(audience.len(), 0);
        let mut read = String::new();
        reader.read_to_string(&mut read).expect("readable");
        assert_eq!(read, "this and this");
    }

    #[test]
    fn a_reader_that_is_behind_catches_up_before_its_end() {
        let (mut audience, poll, mut reader) = audience();
        let bytes = vec![b'x'; 100_000];
        audience.hear(Stream::Stdout, &bytes, Moment::now());
        assert!(audience.is_behind(Stream::Stdout) && !audience.is_behind(Stream::Stderr));
        audience.settle(&poll, |_| true);
        assert_eq!(audience.len(), 1, "it has not got all");
        let mut read = vec![0; 65536];
        reader.read_exact(&mut read).expect("readable");
        audience.serve(Key::FIRST, Moment::now());
        assert!(!audience.is_behind(Stream::Stdout));
        audience.settle(&poll, |_| true);
        reader.read_to_end(&mut read).expect("readable");
        assert_eq!(read.len(), 100_000);
    }

    #[test]
    fn a_reader_that_takes_nothing_for_too_long_is_let_go() {
        let (mut audience, poll, _reader) = audience();
        let begun = Moment::now();
        audience.hear(Stream::Stdout, &vec![b'x'; 100_000], begun);
        audience.settle(&poll, |_| false);
        let deadline = audience.next_deadline().expect("one waits");
        assert_eq!(deadline.boot_ns, begun.plus_ms(STALL_MS).boot_ns);
        audience.drop_stalled(begun.plus_ms(STALL_MS - 1));
        audience.settle(&poll, |_| false);
        assert_eq!(audience.len(), 1);
        audience.drop_stalled(deadline);
        audience.settle(&poll, |_| false);
        assert_eq!((audience.len(), audience.next_deadline()), (0, None));
    }

    #[test]
    fn a_reader_that_has_gone_is_forgotten() {
        let (mut audience, poll, reader) = audience();
        drop(reader);
        audience.hear(Stream::Stdout, b"nobody hears this", Moment::now());
        audience.settle(&poll, |_| false);
        assert_eq!(audience.len(), 0);
    }
}
