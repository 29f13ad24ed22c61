//! One alarm for all deadlines.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime};

/// A timer on the boot clock, which goes off also for what fell due while the machine was suspended.
#[derive(Debug)]
pub(super) struct Timer {
    fd: OwnedFd,
    armed_ns: Option<u64>,
}

impl Timer {
    pub(super) fn new() -> rustix::io::Result<Self> {
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        Ok(Self { fd: timerfd_create(TimerfdClockId::Boottime, flags)?, armed_ns: None })
    }

    /// Sets the alarm for the boot time `at_ns`, in the past for at once, or for never.
    pub(super) fn arm(&mut self, at_ns: Option<u64>) -> rustix::io::Result<()> {
        // Further away than the kernel's time reaches is never.
        let at_ns = at_ns.filter(|&ns| i64::try_from(ns).is_ok());
        if self.armed_ns == at_ns {
            return Ok(());
        }
        const NEVER: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };
        let it_value = at_ns.map_or(NEVER, |ns| {
            let ns = ns.max(1) as i64;
            Timespec { tv_sec: ns / 1_000_000_000, tv_nsec: ns % 1_000_000_000 }
        });
        let alarm = Itimerspec { it_interval: NEVER, it_value };
        timerfd_settime(&self.fd, TimerfdTimerFlags::ABSTIME, &alarm)?;
        self.armed_ns = at_ns;
        Ok(())
    }

    /// The alarm went off.
    pub(super) fn acknowledge(&mut self) {
        let mut expirations = [0; 8];
        // Nothing to read means that it was set anew in the meantime, which is as good.
        let _ = rustix::io::read(&self.fd, &mut expirations);
        self.armed_ns = None;
    }
}

impl AsFd for Timer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
