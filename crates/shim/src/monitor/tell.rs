//! Telling clients: events to those who subscribed, output to those who follow, answers to who asked.

use super::Monitor;
use super::clients::DropReason;
use super::poll::Key;
use crate::log::Stream;
use crate::moment::Moment;
use crate::protocol::{ContainerId, Event, RawBytes, ServerFrame};

impl Monitor {
    /// Tells an event to all subscribers. It is counted also when nobody listens.
    pub(super) fn tell(&mut self, event: Event) {
        self.sequence += 1;
        let frame = ServerFrame::Event { sequence: self.sequence, event };
        self.send_to(&frame, |client| client.is_subscribed);
    }

    /// Tells what a container wrote to those who follow it.
    pub(super) fn tell_output(&mut self, key: Key, container: &ContainerId, stream: Stream, bytes: &[u8], at: Moment) {
        if self.clients.iter_mut().any(|client| client.follows.contains(&key)) {
            let bytes = RawBytes(bytes.to_vec());
            let frame = ServerFrame::Output { container: container.clone(), stream, bytes, at };
            self.send_to(&frame, |client| client.follows.contains(&key));
        }
    }

    fn send_to(&mut self, frame: &ServerFrame, is_meant: impl Fn(&super::clients::Client) -> bool) {
        let mut failed = Vec::new();
        for client in self.clients.iter_mut().filter(|client| is_meant(client)) {
            if let Err(reason) = client.queue(frame, Vec::new()) {
                failed.push((client.key(), reason));
            }
        }
        for (key, reason) in failed {
            self.drop_client(key, &reason);
        }
    }

    /// Sends what is queued, as far as the clients take it.
    pub(super) fn flush_clients(&mut self) {
        let mut failed = Vec::new();
        for client in self.clients.iter_mut().filter(|client| client.has_unsent()) {
            if let Err(reason) = client.flush(&self.poll) {
                failed.push((client.key(), reason));
            }
        }
        for (key, reason) in failed {
            self.drop_client(key, &reason);
        }
    }

    pub(super) fn drop_client(&mut self, key: Key, reason: &DropReason) {
        if let Some(client) = self.clients.remove(key)
            && !matches!(reason, DropReason::Closed)
        {
            let name = client.name.as_deref().unwrap_or("that said no hello");
            self.complain(format_args!("dropped the client {name}: {}", super::describe(reason)));
        }
    }
}
