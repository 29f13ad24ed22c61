//! The connections: frames in, frames out, and nobody can hold the shim up.
//!
//! Everything is non-blocking. What a client does not read is kept up to a bound, then the client is dropped; what a client
//! sends that is no frame drops that client. Both are its own fault and touch no other.

use std::collections::VecDeque;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use rustix::net::{SocketFlags, accept_with, sockopt::socket_peercred};
use serde::Serialize;

use super::poll::{Key, Poll, Source};
use crate::protocol::{
    FrameReader, MalformedRequest, PASSED_FDS_MAX, ReadFrameError, Request, WriteFrameError, encode_frame, receive_with_fds, send_with_fds,
};

/// Most connections at once: an engine, its successor, some tools. Each may hold a frame in each direction.
const CLIENTS_MAX: usize = 16;
/// Unread output at which a client is dropped, in bytes: a full snapshot and as much in events.
const UNREAD_BYTES_MAX: usize = 2 << 20;
/// One connection.
#[derive(Debug)]
pub(super) struct Client {
    key: Key,
    socket: OwnedFd,
    reader: FrameReader,
    /// Descriptors that came and were not claimed by a request.
    passed: VecDeque<OwnedFd>,
    unsent: VecDeque<Outgoing>,
    unsent_bytes: usize,
    waits_for_room: bool,
    /// The name that the client gave with its hello, which must come first.
    pub(super) name: Option<String>,
    /// Gets every event.
    pub(super) is_subscribed: bool,
    /// Containers whose output it gets.
    pub(super) follows: Vec<Key>,
}

/// Bytes to send, and the descriptors that go with the first of them.
#[derive(Debug)]
struct Outgoing {
    bytes: Vec<u8>,
    sent: usize,
    fds: Vec<OwnedFd>,
}

/// Why a connection ends.
#[derive(Debug, thiserror::Error)]
pub(super) enum DropReason {
    #[error("it closed the connection")]
    Closed,
    #[error("it sent no valid frame")]
    Frame(#[from] ReadFrameError),
    #[error("it sent no request")]
    Request(#[from] MalformedRequest),
    #[error("it passed more than {PASSED_FDS_MAX} file descriptors")]
    TooManyFds,
    #[error("it did not read {0} bytes in time")]
    Slow(usize),
    #[error("the connection failed")]
    Socket(#[from] Errno),
    #[error("a frame for it could not be made")]
    Encode(#[from] WriteFrameError),
}

impl Client {
    pub(super) fn key(&self) -> Key {
        self.key
    }

    /// Reads what is there into `buffer`, once, and keeps it. `false`: nothing was there.
    pub(super) fn receive(&mut self, buffer: &mut [u8]) -> Result<bool, DropReason> {
        let bytes = match receive_with_fds(self.socket.as_fd(), buffer, &mut self.passed) {
            Ok(0) => return Err(DropReason::Closed),
            Ok(bytes) => bytes,
            Err(Errno::AGAIN | Errno::INTR) => return Ok(false),
            Err(Errno::MSGSIZE) => return Err(DropReason::TooManyFds),
            Err(errno) => return Err(errno.into()),
        };
        self.reader.extend(&buffer[..bytes]);
        Ok(true)
    }

    /// The next request that is complete. An error with an id is to be refused, any other ends the connection.
    pub(super) fn next_request(&mut self) -> Result<Option<Result<Request, MalformedRequest>>, DropReason> {
        let Some(body) = self.reader.next_body()? else {
            if !self.reader.is_mid_frame() {
                // Whatever was passed along with the frames so far and not claimed was a mistake of the client's.
                self.passed.clear();
            }
            return Ok(None);
        };
        match Request::parse(body) {
            Err(MalformedRequest::NoRequest { source }) => Err(MalformedRequest::NoRequest { source }.into()),
            parsed => Ok(Some(parsed)),
        }
    }

    /// Claims descriptors that came with the request being served.
    pub(super) fn take_passed<const N: usize>(&mut self) -> Option<[OwnedFd; N]> {
        if self.passed.len() < N {
            return None;
        }
        self.passed.drain(..N).collect::<Vec<_>>().try_into().ok()
    }

    /// Queues a frame, with descriptors to pass along.
    pub(super) fn queue<T: Serialize>(&mut self, frame: &T, fds: Vec<OwnedFd>) -> Result<(), DropReason> {
        let mut bytes = Vec::new();
        encode_frame(frame, &mut bytes)?;
        bytes.shrink_to_fit();
        self.unsent_bytes += bytes.len();
        self.unsent.push_back(Outgoing { bytes, sent: 0, fds });
        if self.unsent_bytes > UNREAD_BYTES_MAX { Err(DropReason::Slow(self.unsent_bytes)) } else { Ok(()) }
    }

    /// Sends as much as the socket takes, and asks to be told when it takes more.
    pub(super) fn flush(&mut self, poll: &Poll) -> Result<(), DropReason> {
        while let Some(outgoing) = self.unsent.front_mut() {
            match outgoing.send(self.socket.as_fd()) {
                Ok(bytes) => {
                    self.unsent_bytes -= bytes;
                    if outgoing.sent == outgoing.bytes.len() {
                        self.unsent.pop_front();
                    }
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return self.wait_for_room(poll, true),
                Err(errno) => return Err(errno.into()),
            }
        }
        self.unsent = VecDeque::new();
        self.wait_for_room(poll, false)
    }

    pub(super) fn has_unsent(&self) -> bool {
        !self.unsent.is_empty()
    }

    fn wait_for_room(&mut self, poll: &Poll, waits: bool) -> Result<(), DropReason> {
        if self.waits_for_room != waits {
            let interest = if waits { EventFlags::IN | EventFlags::OUT } else { EventFlags::IN };
            poll.modify(&self.socket, Source::Client(self.key), interest)?;
            self.waits_for_room = waits;
        }
        Ok(())
    }
}

impl Outgoing {
    fn send(&mut self, socket: BorrowedFd<'_>) -> Result<usize, Errno> {
        let fds: Vec<_> = self.fds.iter().map(OwnedFd::as_fd).collect();
        let bytes = send_with_fds(socket, &self.bytes[self.sent..], &fds)?;
        drop(fds);
        self.fds.clear();
        self.sent += bytes;
        Ok(bytes)
    }
}

/// All connections.
#[derive(Debug, Default)]
pub(super) struct Clients {
    all: Vec<Client>,
}

/// What came of a connection attempt.
#[derive(Debug)]
pub(super) enum Accepted {
    /// A client is connected.
    Client,
    /// Somebody was turned away, for this reason.
    Refused(&'static str),
    /// There is nobody (any more).
    Nobody,
    /// No descriptor is free; the attempt waits in the queue.
    NoRoom(Errno),
}

impl Clients {
    /// Takes one connection from the listener.
    pub(super) fn accept(&mut self, listener: BorrowedFd<'_>, key: Key, poll: &Poll) -> Accepted {
        let socket = match accept_with(listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) {
            Ok(socket) => socket,
            Err(errno @ (Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM)) => return Accepted::NoRoom(errno),
            Err(_) => return Accepted::Nobody,
        };
        let own = rustix::process::geteuid();
        match socket_peercred(&socket) {
            Ok(peer) if peer.uid.is_root() || peer.uid == own => {}
            Ok(_) | Err(_) => return Accepted::Refused("it belongs to another user"),
        }
        if self.all.len() >= CLIENTS_MAX {
            // Whoever connected and never spoke makes room for somebody who might.
            let Some(silent) = self.all.iter().position(|client| client.name.is_none()) else {
                return Accepted::Refused("there are too many clients");
            };
            self.all.remove(silent);
        }
        if poll.add(&socket, Source::Client(key), EventFlags::IN).is_err() {
            return Accepted::Refused("it cannot be waited for");
        }
        self.all.push(Client {
            key,
            socket,
            reader: FrameReader::default(),
            passed: VecDeque::new(),
            unsent: VecDeque::new(),
            unsent_bytes: 0,
            waits_for_room: false,
            name: None,
            is_subscribed: false,
            follows: Vec::new(),
        });
        Accepted::Client
    }

    pub(super) fn by_key(&mut self, key: Key) -> Option<&mut Client> {
        self.all.iter_mut().find(|client| client.key == key)
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Client> {
        self.all.iter_mut()
    }

    /// Ends a connection.
    pub(super) fn remove(&mut self, key: Key) -> Option<Client> {
        let at = self.all.iter().position(|client| client.key == key)?;
        Some(self.all.remove(at))
    }
}
