//! The standard streams of a process.

use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};

use super::{
    console::Console,
    error::{During as _, Failure},
    process::TerminalSize,
    resolve::Root,
};
use crate::sys;

/// The standard streams of a process. Our copies are closed when the call returns.
#[derive(Debug)]
pub enum Stdio {
    /// Three open files.
    Files {
        /// Read by the process.
        stdin: OwnedFd,
        /// Written by the process.
        stdout: OwnedFd,
        /// Written by the process.
        stderr: OwnedFd,
    },
    /// A terminal from the container's own devpts (`process.terminal` is true), whose other side `take_console` gives.
    Console,
}

impl Stdio {
    /// Checks that a terminal is asked for on both sides, or on neither.
    pub(super) fn check(&self, terminal: Option<TerminalSize>) -> Result<(), Failure> {
        match (self, terminal) {
            (Self::Files { .. }, None) | (Self::Console, Some(_)) => Ok(()),
            (Self::Files { .. }, Some(_)) => Err(Failure::bundle("process.terminal", "is true, but the streams that were given are files")),
            (Self::Console, None) => Err(Failure::bundle("process.terminal", "is false, but a terminal was asked for")),
        }
    }

    /// The descriptors that a child process must keep.
    pub(super) fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        match self {
            Self::Files { stdin, stdout, stderr } => vec![stdin.as_fd(), stdout.as_fd(), stderr.as_fd()],
            Self::Console => Vec::new(),
        }
    }

    /// Opens the terminal, if it is one. To be called when the container's root is `/`.
    pub(super) fn open_console(&self, root: &Root, size: Option<TerminalSize>) -> Result<Option<Console>, Failure> {
        match (self, size) {
            (Self::Console, Some(size)) => Console::open(root, size).map(Some),
            (Self::Console, None) | (Self::Files { .. }, _) => Ok(None),
        }
    }

    /// Makes these the streams of this process. Returns our side of the terminal, if it is one.
    pub(super) fn take(self, console: Option<Console>) -> Result<Option<OwnedFd>, Failure> {
        if let Some(console) = console {
            return console.take().map(Some);
        }
        let Self::Files { stdin, stdout, stderr } = self else { return Ok(None) };
        // None may be overwritten before it has been used.
        let mut sources = Vec::with_capacity(3);
        for fd in [stdin, stdout, stderr] {
            let above = if fd.as_raw_fd() > 2 { fd } else { rustix::io::fcntl_dupfd_cloexec(&fd, 3).during("copy", "standard stream")? };
            sources.push(above);
        }
        for (target, source) in (0..).zip(&sources) {
            sys::dup2_stdio(source.as_fd(), target).during("set standard stream", target)?;
        }
        Ok(None)
    }
}
