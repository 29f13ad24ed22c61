//! Reading what processes write: without blocking, and never so long that somebody else waits.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};

/// Bytes taken with one read.
pub(super) const READ_BYTES: usize = 16 * 1024;
/// Reads in a row from one stream while others may wait.
pub(super) const READS_IN_TURN: usize = 4;
/// Reads in a row that empty a pipe of the largest size that the kernel gives to the unprivileged (1 MiB), when its writers are gone.
pub(super) const READS_TO_THE_END: usize = 64;

/// Whether more may come from a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flow {
    /// A writer is left.
    Open,
    /// Nobody writes any more.
    Ended,
}

/// A pipe whose read end does not block and whose write end does, as programs expect of their output.
pub(super) fn output_pipe() -> rustix::io::Result<(OwnedFd, OwnedFd)> {
    let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
    set_nonblocking(read.as_fd())?;
    Ok((read, write))
}

/// A pipe for input: both ends block.
pub(super) fn input_pipe() -> rustix::io::Result<(OwnedFd, OwnedFd)> {
    pipe_with(PipeFlags::CLOEXEC)
}

pub(super) fn set_nonblocking(fd: BorrowedFd<'_>) -> rustix::io::Result<()> {
    let flags = rustix::fs::fcntl_getfl(fd)?;
    rustix::fs::fcntl_setfl(fd, flags | OFlags::NONBLOCK)
}

/// Reads what is there, at most `reads` buffers full.
pub(super) fn read_available(fd: impl AsFd, buffer: &mut [u8], reads: usize, mut take: impl FnMut(&[u8])) -> Flow {
    for _ in 0..reads {
        match rustix::io::read(&fd, &mut *buffer) {
            Ok(0) => return Flow::Ended,
            Ok(bytes) => take(&buffer[..bytes]),
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => return Flow::Open,
            // A terminal whose other side was closed says EIO.
            Err(_) => return Flow::Ended,
        }
    }
    Flow::Open
}

#[cfg(test)]
mod tests {
    use super::{Flow, READ_BYTES, output_pipe, read_available};

    #[test]
    fn a_pipe_is_read_until_it_is_empty_or_ended() {
        let (read, write) = output_pipe().expect("a pipe");
        let mut buffer = vec![0; READ_BYTES];
        let mut got = Vec::new();
        rustix::io::write(&write, b"some output").expect("room in the pipe");
        assert_eq!(read_available(&read, &mut buffer, 4, |bytes| got.extend_from_slice(bytes)), Flow::Open);
        assert_eq!(got, b"some output");
        drop(write);
        assert_eq!(read_available(&read, &mut buffer, 4, |_| panic!("nothing is left")), Flow::Ended);
    }

    #[test]
    fn a_reader_gives_others_their_turn() {
        let (read, write) = output_pipe().expect("a pipe");
        let mut buffer = [0; 2];
        rustix::io::write(&write, b"123456").expect("room in the pipe");
        let mut got = Vec::new();
        assert_eq!(read_available(&read, &mut buffer, 2, |bytes| got.extend_from_slice(bytes)), Flow::Open);
        assert_eq!(got, b"1234");
    }
}
