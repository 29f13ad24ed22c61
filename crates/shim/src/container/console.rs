//! A terminal for a process, from the container's own devpts, so that programs find its name under `/dev/pts`.
//!
//! The container's file tree may be hostile: what is opened as the multiplexer is checked to be the kernel's, and the other side
//! is asked of the kernel by descriptor, not by name.

use std::{
    os::fd::{AsFd as _, OwnedFd},
    path::Path,
};

use rustix::{
    fs::{Mode, OFlags, ResolveFlags, fstat, fstatfs, makedev, openat2},
    io::Errno,
    process::ioctl_tiocsctty,
    pty::{OpenptFlags, ioctl_tiocgptpeer, unlockpt},
    termios::{Winsize, tcsetwinsize},
};

use super::{
    error::{During as _, Failure},
    mounts::Detached,
    process::TerminalSize,
    resolve::{Missing, Root},
};
use crate::sys;

/// Both sides of a terminal.
#[derive(Debug)]
pub(crate) struct Console {
    pub(crate) ours: OwnedFd,
    theirs: OwnedFd,
}

impl Console {
    /// Opens a new terminal.
    pub(crate) fn open(root: &Root, size: TerminalSize) -> Result<Self, Failure> {
        let path = Path::new("/dev/pts/ptmx");
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS;
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let ours = openat2(root.as_fd(), path, flags, Mode::empty(), resolve).during_path("open terminal multiplexer", path)?;
        let status = fstat(&ours).during_path("look at", path)?;
        let filesystem = fstatfs(&ours).during_path("look at file system of", path)?;
        if status.st_rdev != makedev(5, 2) || filesystem.f_type as u64 != DEVPTS_MAGIC {
            return Err(Failure::step("find the terminal multiplexer at", path.display(), Errno::NODEV));
        }
        unlockpt(&ours).during("unlock", "terminal")?;
        let theirs = ioctl_tiocgptpeer(&ours, OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).during("open", "terminal")?;
        let size = Winsize { ws_row: size.rows, ws_col: size.columns, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&ours, size).during("set size of", "terminal")?;
        Ok(Self { ours, theirs })
    }

    /// Shows it as `/dev/console`, which the main process of a container with a terminal expects.
    pub(crate) fn show_as_dev_console(&self, root: &Root) -> Result<(), Failure> {
        let path = Path::new("/dev/console");
        let place = root.open_or_make(path, Missing::File).during_path("make", path)?;
        let terminal = Detached::bind_fd(self.theirs.as_fd()).during("clone", "terminal")?;
        terminal.attach(place.as_fd()).during_path("mount terminal at", path)
    }

    /// Makes it the standard streams and the controlling terminal of this process, which leads its session. Returns our side.
    pub(crate) fn take(self) -> Result<OwnedFd, Failure> {
        for target in 0..=2 {
            sys::dup2_stdio(self.theirs.as_fd(), target).during("set standard stream", target)?;
        }
        ioctl_tiocsctty(rustix::stdio::stdin()).during("make controlling", "terminal")?;
        Ok(self.ours)
    }
}

const DEVPTS_MAGIC: u64 = 0x1cd1;
