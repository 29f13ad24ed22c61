//! A fuzz target: what a client may send to the shim's end of its connection.

use std::collections::VecDeque;
use std::io::Read as _;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};

use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};

use super::clients::{Accepted, Clients, DropReason};
use super::poll::{Key, Poll};
use crate::protocol::{
    Answer, Call, ExecOutput, FrameReader, MalformedRequest, PASSED_FDS_MAX, Refusal, RefusalCode, Request, ServerFrame, decode_body,
    receive_with_fds, send_with_fds,
};

/// Pieces of one input at most; more say nothing new.
const PIECES_MAX: usize = 64;

/// What one client sends, in pieces: a byte for the length, one for how many descriptors come along, and the bytes.
///
/// Every request is answered once and in order, up to where the client is dropped; a descriptor that came is claimed by a request or
/// closed, and in any case nobody has it when the client is gone.
pub fn client(data: &[u8]) {
    let poll = Poll::new().expect("an epoll set");
    let mut clients = Clients::default();
    let theirs = connect(&mut clients, &poll);
    let mut pipes = Vec::new();
    let mut answered = Vec::new();
    for (fds, bytes) in pieces(data) {
        let passed: Vec<OwnedFd> = (0..fds).map(|_| pipe(&mut pipes)).collect();
        let borrowed: Vec<BorrowedFd<'_>> = passed.iter().map(|fd| fd.as_fd()).collect();
        if send_with_fds(theirs.as_fd(), bytes, &borrowed).is_err() {
            break;
        }
        drop(passed);
        if serve(&mut clients, &poll, &mut answered).is_err() {
            clients.remove(Key::FIRST);
            break;
        }
    }
    assert!(received(&theirs, &answered), "every answer, in order");
    clients.remove(Key::FIRST);
    for mut pipe in pipes {
        let end = pipe.read(&mut [0]);
        assert!(matches!(end, Ok(0)), "a descriptor that the client passed is still open somewhere: {end:?}");
    }
}

fn connect(clients: &mut Clients, poll: &Poll) -> UnixStream {
    // Addresses without a file are given by the kernel; this one is only as long as the listener lives.
    let name = format!("usher-fuzz-{}-{:?}", std::process::id(), std::thread::current().id());
    let address = SocketAddr::from_abstract_name(name).expect("a short name");
    let listener = UnixListener::bind_addr(&address).expect("a free name");
    let theirs = UnixStream::connect_addr(&address).expect("somebody listens");
    theirs.set_nonblocking(true).expect("a socket");
    assert!(matches!(clients.accept(listener.as_fd(), Key::FIRST, poll), Accepted::Client));
    theirs
}

fn pieces(data: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let mut rest = data;
    let pieces = std::iter::from_fn(move || {
        let [length, fds, after @ ..] = rest else { return None };
        let (bytes, after) = after.split_at(usize::from(*length).min(after.len()));
        rest = after;
        Some((usize::from(*fds) % (PASSED_FDS_MAX + 1), bytes))
    });
    pieces.filter(|(_, bytes)| !bytes.is_empty()).take(PIECES_MAX)
}

/// The end to pass on; ours is readable at its end when nobody has the other.
fn pipe(pipes: &mut Vec<std::fs::File>) -> OwnedFd {
    let (ours, theirs) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).expect("a pipe");
    pipes.push(ours.into());
    theirs
}

/// As the monitor does, without doing what is asked.
fn serve(clients: &mut Clients, poll: &Poll, answered: &mut Vec<u64>) -> Result<(), DropReason> {
    let client = clients.by_key(Key::FIRST).expect("connected");
    let mut buffer = [0; 100];
    while client.receive(&mut buffer)? {
        while let Some(request) = client.next_request()? {
            let (id, result, fds) = match request {
                Ok(Request { id, call: Call::Exec(exec) }) if exec.output == ExecOutput::Passed => {
                    match client.take_passed::<PASSED_FDS_MAX>() {
                        Some(_) => (id, Ok(Box::new(Answer::Done)), Vec::new()),
                        None => (id, Err(Refusal::new(RefusalCode::InvalidArgument, "no descriptors came")), Vec::new()),
                    }
                }
                Ok(Request { id, call: Call::OpenStdin { .. } }) => {
                    let null = std::fs::File::open("/dev/null").expect("the null device");
                    (id, Ok(Box::new(Answer::Done)), vec![null.into()])
                }
                Ok(Request { id, .. }) => (id, Ok(Box::new(Answer::Done)), Vec::new()),
                Err(MalformedRequest::Call { id, source }) => {
                    (id, Err(Refusal::new(RefusalCode::UnknownCall, source.to_string())), Vec::new())
                }
                Err(error @ MalformedRequest::NoRequest { .. }) => return Err(error.into()),
            };
            client.queue(&ServerFrame::Answer { id, result }, fds)?;
            answered.push(id);
        }
    }
    client.flush(poll)
}

/// Whether these answers came, and no others; without the last ones if the client was dropped before they were sent.
fn received(theirs: &UnixStream, answered: &[u64]) -> bool {
    let mut reader = FrameReader::default();
    let mut fds = VecDeque::new();
    let mut buffer = [0; 4096];
    let mut ids = Vec::new();
    let is_complete = loop {
        match receive_with_fds(theirs.as_fd(), &mut buffer, &mut fds) {
            Ok(0) | Err(Errno::CONNRESET) => break false,
            Err(Errno::AGAIN) => break true,
            received => reader.extend(&buffer[..received.expect("a living connection")]),
        }
        fds.clear();
        while let Some(body) = reader.next_body().expect("the shim sends frames") {
            match decode_body(body).expect("the shim sends messages") {
                ServerFrame::Answer { id, .. } => ids.push(id),
                other @ (ServerFrame::Event { .. } | ServerFrame::Output { .. }) => panic!("nobody asked for {other:?}"),
            }
        }
    };
    if is_complete { ids == answered } else { answered.starts_with(&ids) }
}
