//! Bytes with file descriptors beside them, over a unix socket.
//!
//! Descriptors travel with the first byte of the frame that they belong to, and the receiver claims them in the order of the
//! frames. One call each way; both work on blocking and on non-blocking sockets.

use std::collections::VecDeque;
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, recvmsg,
    sendmsg,
};

/// Most descriptors that come with one frame: the three standard streams, and the one by which a command is held.
pub const PASSED_FDS_MAX: usize = 4;

/// Sends as much of `bytes` as the socket takes, and `fds` with it if anything is sent. Returns how many bytes went.
///
/// # Errors
/// `INVAL` for more than [`PASSED_FDS_MAX`] descriptors, and whatever the socket says.
pub fn send_with_fds(socket: BorrowedFd<'_>, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> Result<usize, Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(PASSED_FDS_MAX))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(Errno::INVAL);
    }
    sendmsg(socket, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL)
}

/// Receives into `buffer`, and descriptors that came along into `fds`. Returns how many bytes came; 0 is the end.
///
/// # Errors
/// `MSGSIZE` when more descriptors came than fit (they are closed), and whatever the socket says.
pub fn receive_with_fds(socket: BorrowedFd<'_>, buffer: &mut [u8], fds: &mut VecDeque<OwnedFd>) -> Result<usize, Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(PASSED_FDS_MAX))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = recvmsg(socket, &mut [IoSliceMut::new(buffer)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(passed) = message {
            fds.extend(passed);
        }
    }
    if received.flags.contains(ReturnFlags::CTRUNC) || fds.len() > PASSED_FDS_MAX {
        fds.clear();
        return Err(Errno::MSGSIZE);
    }
    Ok(received.bytes)
}
