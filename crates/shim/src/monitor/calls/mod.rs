//! Serving calls: who may ask, what is checked, what is answered.
//!
//! Each call is carried out to its end before the next one of any client, so clients never see half of one. A refusal means
//! that nothing changed.

mod containers;
mod execs;
mod shutdown;

use std::os::fd::OwnedFd;

use super::Monitor;
use super::clients::DropReason;
use super::poll::Key;
use crate::moment::Moment;
use crate::protocol::{Answer, Call, Greeting, MalformedRequest, PROTOCOL_VERSION, Refusal, RefusalCode, Request, ServerFrame, Snapshot};

/// Longest reason that is kept with a signal, in bytes.
const WHY_BYTES_MAX: usize = 256;
/// Longest message of a command that never ran, in bytes: with all bounds reached a snapshot must still fit into a frame.
const END_BYTES_MAX: usize = 1024;
/// Longest client name that is kept, in bytes.
const NAME_BYTES_MAX: usize = 64;

/// An answer, and the descriptors that go with it.
pub(super) struct Reply {
    answer: Answer,
    fds: Vec<OwnedFd>,
}

impl From<Answer> for Reply {
    fn from(answer: Answer) -> Self {
        Self { answer, fds: Vec::new() }
    }
}

impl Monitor {
    /// A client sent something, or went away.
    pub(super) fn serve_client(&mut self, key: Key) {
        let mut buffer = self.take_buffer();
        let received = match self.clients.by_key(key) {
            Some(client) => client.receive(&mut buffer),
            None => Ok(false),
        };
        self.return_buffer(buffer);
        let served = match received {
            Ok(true) => self.serve_requests(key),
            Ok(false) => Ok(()),
            Err(reason) => Err(reason),
        };
        if let Err(reason) = served {
            self.drop_client(key, &reason);
        }
    }

    fn serve_requests(&mut self, key: Key) -> Result<(), DropReason> {
        while let Some(client) = self.clients.by_key(key) {
            let Some(request) = client.next_request()? else { return Ok(()) };
            match request {
                Ok(request) => self.serve_request(key, request)?,
                Err(error) => {
                    let (MalformedRequest::Call { id, .. }, message) = (&error, super::describe(&error)) else {
                        return Err(error.into());
                    };
                    self.answer(key, *id, Err(Refusal::new(RefusalCode::UnknownCall, message)))?;
                }
            }
        }
        Ok(())
    }

    fn serve_request(&mut self, key: Key, request: Request) -> Result<(), DropReason> {
        let Request { id, call } = request;
        if let Call::Hello { protocol, client } = call {
            let result = self.greet(key, protocol, &client);
            return self.answer(key, id, result);
        }
        let result = if self.clients.by_key(key).is_none_or(|client| client.name.is_none()) {
            Err(Refusal::new(RefusalCode::NotGreeted, "the first call must be hello"))
        } else if let Call::Shutdown { mode } = call {
            match self.shut_down(key, id, mode) {
                // The answer comes when everything has ended.
                Ok(()) => return Ok(()),
                Err(refusal) => Err(refusal),
            }
        } else {
            self.serve_call(key, call)
        };
        self.answer(key, id, result)
    }

    fn serve_call(&mut self, key: Key, call: Call) -> Result<Reply, Refusal> {
        match call {
            Call::State => Ok(Answer::State(self.snapshot()).into()),
            Call::Subscribe => {
                let snapshot = self.snapshot();
                if let Some(client) = self.clients.by_key(key) {
                    client.is_subscribed = true;
                }
                Ok(Answer::State(snapshot).into())
            }
            Call::CreateContainer(request) => self.create_container(*request),
            Call::StartContainer { container } => self.start_container(&container),
            Call::SignalContainer { container, signal, why } => self.call_signal_container(&container, signal, cut(&why, WHY_BYTES_MAX)),
            Call::StopContainer { container, signal, timeout_ms, why } => {
                self.stop_container(&container, signal, timeout_ms, cut(&why, WHY_BYTES_MAX))
            }
            Call::KillContainer { container, why } => self.call_kill_container(&container, cut(&why, WHY_BYTES_MAX)),
            Call::RemoveContainer { container } => self.remove_container(&container),
            Call::Exec(request) => self.exec(key, *request),
            Call::KillExec { exec, why } => self.call_kill_exec(&exec, cut(&why, WHY_BYTES_MAX)),
            Call::RemoveExec { exec } => self.remove_exec(&exec),
            Call::ReopenLog { container } => self.reopen_log(&container),
            Call::SetLogLimits { container, limits } => self.set_log_limits(&container, limits),
            Call::ResizeTerminal { container, size } => self.resize_terminal(&container, size),
            Call::Stats => Ok(Answer::Stats(self.stats()).into()),
            Call::OpenStdin { container } => self.open_stdin(&container),
            Call::CloseStdin { container } => self.close_stdin(&container),
            Call::FollowOutput { container } => self.follow_output(key, &container),
            Call::AttachOutput { container } => self.attach_output(key, &container),
            Call::UnfollowOutput { container } => self.unfollow_output(key, &container),
            // Served by the caller, because they answer in their own time or before the greeting.
            Call::Hello { .. } | Call::Shutdown { .. } => Err(Refusal::new(RefusalCode::UnknownCall, "this call is served elsewhere")),
        }
    }

    fn greet(&mut self, key: Key, protocol: u32, name: &str) -> Result<Reply, Refusal> {
        if protocol != PROTOCOL_VERSION {
            let message = format!("this shim speaks version {PROTOCOL_VERSION} of the protocol, not {protocol}");
            return Err(Refusal::new(RefusalCode::NotGreeted, message));
        }
        if let Some(client) = self.clients.by_key(key) {
            client.name = Some(cut(name, NAME_BYTES_MAX).to_owned());
        }
        Ok(Answer::Hello(Greeting { shim: self.identity.clone() }).into())
    }

    fn snapshot(&self) -> Snapshot {
        Snapshot {
            at: Moment::now(),
            sequence: self.sequence,
            containers: self.containers.values().map(|container| container.status()).collect(),
            execs: self.execs.values().map(|exec| exec.status()).collect(),
        }
    }

    /// Queues the answer to a request.
    pub(super) fn answer(&mut self, key: Key, id: u64, result: Result<Reply, Refusal>) -> Result<(), DropReason> {
        let (result, fds) = match result {
            Ok(reply) => (Ok(Box::new(reply.answer)), reply.fds),
            Err(refusal) => (Err(refusal), Vec::new()),
        };
        match self.clients.by_key(key) {
            Some(client) => client.queue(&ServerFrame::Answer { id, result }, fds),
            None => Ok(()),
        }
    }
}

/// The beginning of a text, at most `bytes_max` bytes.
fn cut(text: &str, bytes_max: usize) -> &str {
    let mut end = text.len().min(bytes_max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// Why a command never ran, as it is recorded.
fn describe_end(error: &dyn std::error::Error) -> String {
    cut(&super::describe(error), END_BYTES_MAX).to_owned()
}

fn not_found(what: &str, id: impl std::fmt::Display) -> Refusal {
    Refusal::new(RefusalCode::NotFound, format!("there is no {what} {id}"))
}

fn failed(what: impl std::fmt::Display, error: &dyn std::error::Error) -> Refusal {
    Refusal::new(RefusalCode::Failed, format!("cannot {what}: {}", super::describe(error)))
}
