//! What the service manager is told: that the daemon serves, that it lives, that it ends.
//!
//! systemd's protocol, which others speak too: lines of text in one datagram to the socket that `$NOTIFY_SOCKET` names. Without that
//! variable nothing is told. Signs of life are not sent by a task of their own: whoever drives the pods sends them between two pieces of
//! its work, so that a daemon that drives no more is seen and started anew. Its pods do not notice.

use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use tokio::time::{Interval, MissedTickBehavior};

use crate::environment;

/// Time between two signs of life where nobody says how many are wanted.
const SIGN_EVERY: Duration = Duration::from_secs(10);
/// Signs of life in the time after which the daemon counts as dead: one may be late.
const SIGNS_IN_TIME: u32 = 3;
/// How long a service manager that does not read may hold up the daemon.
const TELL_WITHIN: Duration = Duration::from_millis(500);
/// How much longer than to the next sign of life it may take until all pods are stopped.
const STOP_MARGIN: Duration = Duration::from_secs(30);

/// The service manager, if there is one.
#[derive(Debug)]
pub(super) struct Supervisor {
    socket: Option<(UnixDatagram, SocketAddr)>,
    sign_every: Duration,
    stage: Stage,
}

/// What a sign of life says besides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Serves,
    /// Pods are being stopped, each in its grace: that takes as long as it takes.
    StopsPods,
}

impl Supervisor {
    /// The one that the environment names.
    ///
    /// # Errors
    /// Its socket cannot be used.
    pub(super) fn from_environment() -> anyhow::Result<Self> {
        let wanted = watchdog_period(
            environment::text(environment::WATCHDOG_USEC).as_deref(),
            environment::text(environment::WATCHDOG_PID).as_deref(),
            std::process::id(),
        );
        let sign_every = wanted.map_or(SIGN_EVERY, |period| period / SIGNS_IN_TIME);
        let socket = match environment::path(environment::NOTIFY_SOCKET) {
            None => None,
            Some(path) => {
                let what = || format!("cannot tell the service manager anything: ${} is {}", environment::NOTIFY_SOCKET, path.display());
                let address = address(path.clone()).with_context(what)?;
                let socket = UnixDatagram::unbound().with_context(what)?;
                socket.set_write_timeout(Some(TELL_WITHIN)).with_context(what)?;
                Some((socket, address))
            }
        };
        Ok(Self { socket, sign_every, stage: Stage::Serves })
    }

    /// The daemon serves; `status` is for people.
    pub(super) fn ready(&self, status: &str) {
        self.tell(&format!("READY=1\nSTATUS={status}"));
    }

    /// The daemon ends, and leaves its pods as they are.
    pub(super) fn stopping(&self) {
        self.tell("STOPPING=1\nSTATUS=ending; the pods live on");
    }

    /// The daemon ends when its pods have.
    pub(super) fn stopping_pods(&mut self) {
        self.stage = Stage::StopsPods;
        self.tell("STOPPING=1\nSTATUS=stopping the pods, each in its grace");
        self.sign();
    }

    /// When signs of life are due.
    pub(super) fn signs(&self) -> Interval {
        let mut signs = tokio::time::interval(self.sign_every);
        signs.set_missed_tick_behavior(MissedTickBehavior::Delay);
        signs
    }

    /// A sign of life.
    pub(super) fn sign(&self) {
        match self.stage {
            Stage::Serves => self.tell("WATCHDOG=1"),
            Stage::StopsPods => {
                let more = (self.sign_every + STOP_MARGIN).as_micros();
                self.tell(&format!("WATCHDOG=1\nEXTEND_TIMEOUT_USEC={more}"));
            }
        }
    }

    fn tell(&self, what: &str) {
        let Some((socket, address)) = &self.socket else { return };
        if let Err(error) = socket.send_to_addr(what.as_bytes(), address) {
            tracing::warn!(%error, what, "cannot tell the service manager");
        }
    }
}

/// A path, or a name without one, which begins with `@`.
fn address(path: PathBuf) -> std::io::Result<SocketAddr> {
    let bytes = path.into_os_string().into_vec();
    match bytes.strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(std::ffi::OsStr::from_bytes(&bytes)),
    }
}

/// After how long without a sign of life this process counts as dead, if anybody looks.
fn watchdog_period(period_usec: Option<&str>, pid: Option<&str>, own: u32) -> Option<Duration> {
    // The variables are inherited by processes that are not meant.
    if pid.is_some_and(|pid| pid.parse() != Ok(own)) {
        return None;
    }
    let period: u64 = period_usec?.parse().ok()?;
    (period > 0).then(|| Duration::from_micros(period))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_process_that_is_meant_is_watched() {
        let check = |period, pid| watchdog_period(period, pid, 7).map(|period| period.as_millis());
        assert_eq!(check(Some("30000000"), Some("7")), Some(30_000));
        assert_eq!(check(Some("30000000"), None), Some(30_000));
        assert_eq!(check(Some("30000000"), Some("8")), None);
        assert_eq!(check(None, Some("7")), None);
        assert_eq!(check(Some("0"), None), None);
        assert_eq!(check(Some("soon"), None), None);
    }
}
