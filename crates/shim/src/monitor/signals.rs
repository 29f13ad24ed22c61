//! Signals at the edge: those that the shim gets, as a file descriptor, and those that it sends, through pidfds.

use std::io;
use std::os::fd::{BorrowedFd, FromRawFd as _, OwnedFd};

use rustix::process::{Signal, pidfd_send_signal};

use crate::protocol::SignalNumber;

/// Signals that must not end or stop the shim: only a shutdown call does. `SIGCHLD` is how it learns of exits.
const TAKEN: [i32; 7] = [libc::SIGCHLD, libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGQUIT, libc::SIGUSR1, libc::SIGUSR2];

/// The shim's signals, blocked and readable.
#[derive(Debug)]
pub(super) struct SignalFd(OwnedFd);

impl SignalFd {
    /// Blocks the signals that the shim takes and makes them readable. A process that the shim starts inherits the block until
    /// it lifts it.
    #[expect(unsafe_code, reason = "signal sets and signalfd have no safe wrapper among our dependencies")]
    pub(super) fn new() -> io::Result<Self> {
        // SAFETY: a signal set is plain bits, all zero is a valid one, and sigemptyset sets it up.
        let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
        // SAFETY: `set` lives through the calls, and all numbers are valid signals.
        unsafe {
            libc::sigemptyset(&raw mut set);
            for signal in TAKEN {
                libc::sigaddset(&raw mut set, signal);
            }
        }
        // SAFETY: `set` was set up above; the old mask is not asked for.
        if unsafe { libc::sigprocmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()) } != 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: `set` was set up above; -1 asks for a new descriptor.
        let fd = unsafe { libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor was just made and nobody else owns it.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Takes all pending signals and gives those that are not `SIGCHLD` to `other`, as signal number and sender's pid.
    pub(super) fn drain(&self, mut other: impl FnMut(u32, u32)) {
        const RECORD_BYTES: usize = size_of::<libc::signalfd_siginfo>();
        let mut records = [0; 4 * RECORD_BYTES];
        while let Ok(bytes @ 1..) = rustix::io::read(&self.0, &mut records) {
            for record in records[..bytes].chunks_exact(RECORD_BYTES) {
                // The record begins with the signal's number; the sender's pid is the fourth word.
                let word = |at: usize| record.as_chunks::<4>().0.get(at).map_or(0, |word| u32::from_ne_bytes(*word));
                let (signal, sender) = (word(0), word(3));
                if signal != libc::SIGCHLD as u32 {
                    other(signal, sender);
                }
            }
        }
    }
}

impl std::os::fd::AsFd for SignalFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Sends a signal to the process behind a pidfd; a process that is gone is an error (`ESRCH`).
pub(super) fn send_signal(pidfd: BorrowedFd<'_>, signal: SignalNumber) -> rustix::io::Result<()> {
    #[expect(unsafe_code, reason = "real-time signals have no safe constructor")]
    // SAFETY: the number is 1 to 64 by its type. Those that the C library keeps for its threads are harmless here: the signal
    // goes to another process, by a plain system call.
    let signal = unsafe { Signal::from_raw_unchecked(signal.as_raw()) };
    pidfd_send_signal(pidfd, signal)
}
