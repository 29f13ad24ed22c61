//! The channel between the shim and the two short-lived sides of a creation: the creator and the process it makes.
//!
//! One `SOCK_SEQPACKET` pair, whose far end both share and which `execve` closes: the end of the channel after the start
//! is the news that the command runs. Invariant: every wait has a deadline.

use std::{
    io::{self, IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    net::{
        AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
        SocketFlags, SocketType, recvmsg, send, sendmsg, socketpair,
    },
};

use super::error::Failure;

/// What a child tells the shim.
#[derive(Debug)]
pub(crate) enum Report {
    /// From the creator: the process exists. Sent before anything else can fail.
    Spawned { pid: i32, pidfd: OwnedFd },
    /// From the process: everything is done up to `execve`.
    Ready { clamped: Vec<String>, console: Option<OwnedFd> },
    /// From either: it gave up.
    Failed(Failure),
    /// Nobody is left on the far end.
    Ended,
}

/// Makes the pair: the shim's end and the children's.
pub(crate) fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?)
}

/// Creator's side: announces the new process.
pub(crate) fn send_spawned(channel: BorrowedFd<'_>, pid: i32, pidfd: BorrowedFd<'_>) -> io::Result<()> {
    let mut message = vec![KIND_SPAWNED];
    message.extend_from_slice(&pid.to_le_bytes());
    send_with_fd(channel, &message, Some(pidfd))
}

/// The process's side: ready for the start.
pub(crate) fn send_ready(channel: BorrowedFd<'_>, clamped: &[String], console: Option<BorrowedFd<'_>>) -> io::Result<()> {
    let mut message = vec![KIND_READY];
    let mut text = clamped.join("\n").into_bytes();
    text.truncate(MESSAGE_BYTES_MAX - 1);
    message.extend_from_slice(&text);
    send_with_fd(channel, &message, console)
}

/// Either side: gives up. The answer cannot be told to anybody if this fails.
pub(crate) fn send_failed(channel: BorrowedFd<'_>, failure: &Failure) {
    let mut message = vec![KIND_FAILED];
    message.extend_from_slice(&failure.encode());
    let _ = send(channel, &message, SendFlags::NOSIGNAL);
}

/// The process's side: waits for [`release`]. `false` if the shim has gone or has given up.
pub(crate) fn wait_for_release(channel: BorrowedFd<'_>) -> bool {
    let mut byte = [0u8; 1];
    loop {
        match rustix::io::read(channel, &mut byte) {
            Ok(count) => return count == 1,
            Err(Errno::INTR) => {}
            Err(_) => return false,
        }
    }
}

/// The shim's side: lets the process go on to `execve`.
pub(crate) fn release(channel: BorrowedFd<'_>) -> io::Result<()> {
    send(channel, &[1], SendFlags::NOSIGNAL)?;
    Ok(())
}

/// The shim's side: the next report, or `TimedOut` when there is none until `deadline`.
pub(crate) fn receive(channel: BorrowedFd<'_>, deadline: Instant) -> io::Result<Report> {
    wait_readable(channel, deadline)?;
    let mut buffer = [0u8; MESSAGE_BYTES_MAX];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let received = loop {
        match recvmsg(channel, &mut [IoSliceMut::new(&mut buffer)], &mut ancillary, RecvFlags::CMSG_CLOEXEC) {
            Ok(message) => break message.bytes,
            Err(Errno::INTR) => {}
            // The far end was closed while a message of ours lay in it unread.
            Err(Errno::CONNRESET) => return Ok(Report::Ended),
            Err(error) => return Err(error.into()),
        }
    };
    let mut fd = None;
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(fds) = message {
            fd = fd.or(fds.last());
        }
    }
    decode(&buffer[..received], fd).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))
}

fn decode(message: &[u8], fd: Option<OwnedFd>) -> Option<Report> {
    let Some((&kind, rest)) = message.split_first() else { return Some(Report::Ended) };
    match kind {
        KIND_SPAWNED => Some(Report::Spawned { pid: i32::from_le_bytes(rest.try_into().ok()?), pidfd: fd? }),
        KIND_READY => {
            let text = String::from_utf8_lossy(rest);
            Some(Report::Ready { clamped: text.lines().map(str::to_owned).collect(), console: fd })
        }
        KIND_FAILED => Failure::decode(rest).map(Report::Failed),
        _ => None,
    }
}

/// Waits until `fd` can be read or has ended; `TimedOut` after `deadline`.
pub(crate) fn wait_readable(fd: BorrowedFd<'_>, deadline: Instant) -> io::Result<()> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left == Duration::ZERO {
            return Err(io::ErrorKind::TimedOut.into());
        }
        let timeout = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: i64::from(left.subsec_nanos()) };
        match poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&timeout)) {
            Ok(0) | Err(Errno::INTR) => {}
            Ok(_) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}

fn send_with_fd(channel: BorrowedFd<'_>, message: &[u8], fd: Option<BorrowedFd<'_>>) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let fds = fd.as_slice();
    if !fds.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    sendmsg(channel.as_fd(), &[IoSlice::new(message)], &mut ancillary, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// More than the longest failure (two cut texts and seven bytes).
const MESSAGE_BYTES_MAX: usize = 4096;
const KIND_SPAWNED: u8 = 1;
const KIND_READY: u8 = 2;
const KIND_FAILED: u8 = 3;
