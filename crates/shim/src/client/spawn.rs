//! Starting a shim: the engine's own binary once more, in another mode, as a process that no longer belongs to it.

use std::io::{self, Read as _};
use std::os::fd::AsFd as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::monitor::{ShimArgs, StartupFailure, StartupReport};
use crate::records::{ProcessIdentity, ShimIdentity};

/// A shim did not come up. Nothing of it is left, except where the message says so.
#[derive(Debug, thiserror::Error)]
pub enum SpawnShimError {
    /// The process could not be made.
    #[error("cannot start the shim process")]
    Spawn(#[source] io::Error),
    /// It told why it cannot work.
    #[error("the shim cannot start: {}", .0.message)]
    Failed(StartupFailure),
    /// It ended without a word.
    #[error("the shim process ended before it was ready")]
    Ended,
    /// It took too long, and was killed if it could be found.
    #[error("the shim was not ready within {within:?}")]
    TimedOut {
        /// The time it had.
        within: Duration,
        /// The process that was killed.
        killed: Option<ProcessIdentity>,
    },
}

/// Without the C library's cache of freed blocks the heap of an idle shim can be given back nearly whole. Speed of the allocator
/// does not matter in a shim. Other C libraries do not look at this.
const MALLOC_SETTINGS: (&str, &str) = ("GLIBC_TUNABLES", "glibc.malloc.tcache_count=0");

/// What lists of processes show in front of the arguments.
const PROCESS_NAME: &str = "usher";

/// Most bytes of reports that are read.
const REPORT_BYTES_MAX: usize = 64 * 1024;

/// Starts a shim from the binary that is running, and waits until its socket is there. Blocks for some milliseconds, at most
/// for `within`.
///
/// The binary's `main` must hand over to [`crate::monitor::main`] when its first argument is [`crate::monitor::MODE`]. The shim
/// is not a child of the caller when this returns: it needs no waiting for, and outlives the caller.
///
/// # Errors
/// When it does not come up; see [`StartupFailure::reason`] for what can be done about it.
pub fn spawn_shim(args: &ShimArgs, within: Duration) -> Result<ShimIdentity, SpawnShimError> {
    spawn_shim_program(Path::new("/proc/self/exe"), args, within)
}

/// Like [`spawn_shim`], from another binary.
///
/// # Errors
/// As [`spawn_shim`].
pub fn spawn_shim_program(program: &Path, args: &ShimArgs, within: Duration) -> Result<ShimIdentity, SpawnShimError> {
    let deadline = Instant::now() + within;
    // Nothing of the caller's environment is of use to a shim, and it would be in its memory for months.
    let mut child = Command::new(program)
        .arg0(PROCESS_NAME)
        .args(args.to_args())
        .env_clear()
        .env(MALLOC_SETTINGS.0, MALLOC_SETTINGS.1)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(SpawnShimError::Spawn)?;
    let ready = child.stdout.take().ok_or(SpawnShimError::Ended).and_then(|stdout| read_reports(stdout, deadline, within));
    if ready.is_err() {
        // It may hang before it has detached; then it is still this very child.
        let _ = child.kill();
    }
    // The process that was spawned forks and ends at once; the shim is its child.
    let _ = child.wait();
    ready
}

fn read_reports(mut stdout: ChildStdout, deadline: Instant, within: Duration) -> Result<ShimIdentity, SpawnShimError> {
    let mut process = None;
    let mut text = Vec::new();
    let mut buffer = [0; 4096];
    while text.len() < REPORT_BYTES_MAX {
        if !wait_readable(&stdout, deadline) {
            return Err(SpawnShimError::TimedOut { within, killed: process.filter(kill_process) });
        }
        let bytes = match stdout.read(&mut buffer) {
            Ok(0) => return Err(SpawnShimError::Ended),
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(SpawnShimError::Spawn(error)),
        };
        text.extend_from_slice(&buffer[..bytes]);
        while let Some(end) = text.iter().position(|&byte| byte == b'\n') {
            let report = serde_json::from_slice(&text[..end]);
            text.drain(..=end);
            match report {
                Ok(StartupReport::Forked(forked)) => process = Some(forked),
                Ok(StartupReport::Ready(identity)) => return Ok(identity),
                Ok(StartupReport::Failed(failure)) => return Err(SpawnShimError::Failed(failure)),
                Err(error) => return Err(SpawnShimError::Spawn(error.into())),
            }
        }
    }
    Err(SpawnShimError::Ended)
}

fn wait_readable(stdout: &ChildStdout, deadline: Instant) -> bool {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return false;
        }
        let timeout = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: i64::from(left.subsec_nanos()) };
        let mut fds = [PollFd::from_borrowed_fd(stdout.as_fd(), PollFlags::IN)];
        match poll(&mut fds, Some(&timeout)) {
            Ok(0) | Err(rustix::io::Errno::INTR) => {}
            Ok(_) => return true,
            Err(_) => return false,
        }
    }
}

/// Kills just this process, even if its pid should be used again in this moment.
fn kill_process(process: &ProcessIdentity) -> bool {
    let Some(Ok(pidfd)) = Pid::from_raw(process.pid).map(|pid| pidfd_open(pid, PidfdFlags::empty())) else {
        return false;
    };
    process.is_alive() && pidfd_send_signal(&pidfd, Signal::KILL).is_ok()
}
