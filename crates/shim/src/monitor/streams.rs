//! What processes write: into logs, to those who listen, or nowhere.

use std::os::fd::OwnedFd;

use rustix::event::epoll::EventFlags;

use super::Monitor;
use super::audience::STALL_MS;
use super::containers::Container;
use super::output::{Flow, READS_IN_TURN, READS_TO_THE_END, read_available};
use super::poll::{Key, Source};
use crate::log::Stream;
use crate::moment::Moment;
use crate::protocol::{ContainerId, Event, ExecId, RawBytes};

impl Monitor {
    pub(super) fn serve_container_output(&mut self, key: Key, stream: Stream) {
        if let Some(id) = self.container_id(key) {
            self.read_container(&id, stream, READS_IN_TURN);
        }
    }

    /// Reads all that a container left, when its init is gone.
    pub(super) fn read_container_to_the_end(&mut self, id: &ContainerId) {
        for stream in [Stream::Stdout, Stream::Stderr] {
            self.read_container(id, stream, READS_TO_THE_END);
        }
    }

    fn read_container(&mut self, id: &ContainerId, stream: Stream, reads: usize) {
        let Some((id, mut container)) = self.containers.remove_entry(id) else { return };
        let output = match stream {
            Stream::Stdout => &mut container.stdout,
            Stream::Stderr => &mut container.stderr,
        };
        if let Some(fd) = output {
            let mut buffer = self.take_buffer();
            let flow = read_available(&*fd, &mut buffer, reads, |bytes| {
                let now = Moment::now();
                container.log.append(stream, bytes, now);
                self.tell_output(container.key, &id, stream, bytes, now);
                container.audience.hear(stream, bytes, now);
            });
            self.return_buffer(buffer);
            if flow == Flow::Ended {
                let is_held = container.held.remove(&stream);
                self.close_output(output.take().filter(|_| !is_held));
                container.log.finish(stream, Moment::now());
            }
            if let Some(error) = container.log.file_mut().take_rotation_error() {
                self.complain(format_args!("cannot rotate the log of container {id}: {error}"));
            }
            self.settle_audience(&mut container);
        }
        self.containers.insert(id, container);
    }

    /// Closes our side of a container's output. A client may have the same terminal, so it is not enough to close it.
    pub(super) fn close_output(&mut self, output: Option<OwnedFd>) {
        if let Some(fd) = output
            && let Err(errno) = self.poll.remove(&fd)
        {
            self.complain(format_args!("cannot stop watching an output: {errno}"));
        }
    }

    /// Somebody who looks at a container's output has caught up, or has gone.
    pub(super) fn serve_audience(&mut self, key: Key) {
        let id = self.containers.values().find(|container| container.audience.has(key)).map(|container| container.id.clone());
        let Some((id, mut container)) = id.and_then(|id| self.containers.remove_entry(&id)) else { return };
        container.audience.serve(key, Moment::now());
        self.settle_audience(&mut container);
        self.containers.insert(id, container);
    }

    pub(super) fn drop_stalled_audience(&mut self, id: &ContainerId, now: Moment) {
        let Some((id, mut container)) = self.containers.remove_entry(id) else { return };
        container.audience.drop_stalled(now);
        self.complain(format_args!("somebody who looked at container {id} took nothing for {STALL_MS} ms and is let go"));
        self.settle_audience(&mut container);
        self.containers.insert(id, container);
    }

    /// Closes the pipes that are done with, and reads the container's output exactly as long as nobody is behind. A stream that is
    /// not read leaves the event loop: one that has ended would wake it for ever.
    pub(super) fn settle_audience(&mut self, container: &mut Container) {
        let Container { key, audience, held, stdout, stderr, .. } = container;
        audience.settle(&self.poll, |stream| match stream {
            Stream::Stdout => stdout.is_none(),
            Stream::Stderr => stderr.is_none(),
        });
        let outputs = [(Stream::Stdout, stdout, Source::ContainerStdout(*key)), (Stream::Stderr, stderr, Source::ContainerStderr(*key))];
        for (stream, output, source) in outputs {
            let Some(fd) = output else { continue };
            let changed = if audience.is_behind(stream) {
                if held.insert(stream) { self.poll.remove(&*fd) } else { Ok(()) }
            } else if held.remove(&stream) {
                self.poll.add(&*fd, source, EventFlags::IN)
            } else {
                Ok(())
            };
            if let Err(errno) = changed {
                self.complain(format_args!("cannot change how an output is watched: {errno}"));
            }
        }
    }

    pub(super) fn serve_exec_output(&mut self, key: Key, stream: Stream) {
        match self.exec_id(key) {
            Some(id) => {
                self.read_exec(&id, stream, READS_IN_TURN);
                self.finish_drained_exec(&id);
            }
            None => self.read_sink(key, stream),
        }
    }

    /// Reads what an exec left, when its leader is gone.
    pub(super) fn read_exec_to_the_end(&mut self, id: &ExecId) {
        for stream in [Stream::Stdout, Stream::Stderr] {
            self.read_exec(id, stream, READS_TO_THE_END);
        }
    }

    fn read_exec(&mut self, id: &ExecId, stream: Stream, reads: usize) {
        let Some((id, mut exec)) = self.execs.remove_entry(id) else { return };
        if let Some(capture) = &mut exec.capture {
            let taken = match stream {
                Stream::Stdout => capture.stdout.take(),
                Stream::Stderr => capture.stderr.take(),
            };
            if let Some(fd) = taken {
                let mut buffer = self.take_buffer();
                let flow = read_available(&fd, &mut buffer, reads, |bytes| {
                    let at = Moment::now();
                    let kept = capture.take(stream, bytes, at);
                    if !kept.is_empty() {
                        let bytes = RawBytes(kept.to_vec());
                        self.tell(Event::ExecOutput { exec: id.clone(), stream, bytes, at });
                    }
                });
                self.return_buffer(buffer);
                match (flow, stream) {
                    (Flow::Open, Stream::Stdout) => capture.stdout = Some(fd),
                    (Flow::Open, Stream::Stderr) => capture.stderr = Some(fd),
                    (Flow::Ended, _) => capture.log.finish(stream, Moment::now()),
                }
            }
        }
        self.execs.insert(id, exec);
    }

    fn read_sink(&mut self, key: Key, stream: Stream) {
        let mut buffer = self.take_buffer();
        if let Some(output) = self.sinks.output(key, stream)
            && let Some(fd) = output
            && read_available(&*fd, &mut buffer, READS_IN_TURN, |_| {}) == Flow::Ended
        {
            *output = None;
            self.sinks.sweep();
        }
        self.return_buffer(buffer);
    }

    /// Adds a process's output to the event loop.
    pub(super) fn watch_output(&mut self, fd: impl std::os::fd::AsFd, source: Source) -> rustix::io::Result<()> {
        self.poll.add(fd, source, EventFlags::IN)
    }
}
