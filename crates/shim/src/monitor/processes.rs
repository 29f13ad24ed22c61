//! The pid namespace that the containers of a pod share (`shareProcessNamespace`).
//!
//! A pid namespace lives as long as its first process, so there is one that does nothing but take in orphans, as the pause process of
//! other runtimes does. It dies with the shim, and with it the kernel kills whatever is left in the namespace.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::fs::symlink;
use std::path::Path;

use rustix::process::{Signal, set_parent_process_death_signal};

use crate::records;
use crate::sys::{self, Forked};

/// Makes the namespace with its first process, and the link by which containers find it. Who keeps the descriptor keeps the link valid.
pub(super) fn share(state_dir: &Path) -> io::Result<OwnedFd> {
    let first = match sys::clone3(libc::CLONE_NEWPID as u64, None)? {
        Forked::Parent(first) => first,
        Forked::Child => rest(),
    };
    let namespace = OwnedFd::from(File::open(format!("/proc/{}/ns/pid", first.pid))?);
    // By way of this process's descriptor and not of a process id, which another process may have later.
    let own = std::process::id();
    symlink(format!("/proc/{own}/fd/{}", namespace.as_raw_fd()), state_dir.join(records::PID_NAMESPACE))?;
    Ok(namespace)
}

/// What the first process does for ever.
fn rest() -> ! {
    let prepared = set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(io::Error::from)
        .and_then(|()| sys::close_all_except(&[]))
        .and_then(|()| sys::close_stdio_of_child())
        .and_then(|()| Ok(rustix::thread::set_name(c"usher-pause")?));
    if prepared.is_err() {
        sys::exit(1);
    }
    sys::reap_orphans_for_ever()
}
