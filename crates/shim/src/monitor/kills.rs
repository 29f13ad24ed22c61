//! Sending signals, and killing until nothing is left.
//!
//! Every signal that goes out is remembered with its reason and told. The first SIGKILL is the one that counts as the cause
//! of death: later ones, sent because something forked while it was being killed, are not told.

use super::Monitor;
use super::containers::Killing;
use super::signals::send_signal;
use crate::moment::Moment;
use crate::protocol::{ContainerId, Event, ExecId, SignalNumber, Target};
use crate::records::{Sender, SentSignal, SignalHandling};

/// Pause between two rounds of killing, in milliseconds.
const KILL_AGAIN_MS: u64 = 50;
/// Rounds of killing, ten seconds in all; what is left then sits in the kernel and dies when that lets go of it.
const KILL_TRIES_MAX: u32 = 200;

impl Killing {
    pub(super) fn begin(now: Moment) -> Self {
        Self { again_at: now.plus_ms(KILL_AGAIN_MS), tries_left: KILL_TRIES_MAX }
    }

    /// The next round, if there is one.
    fn next(self, now: Moment) -> Option<Self> {
        let tries_left = self.tries_left.checked_sub(1)?;
        Some(Self { again_at: now.plus_ms(KILL_AGAIN_MS), tries_left })
    }
}

impl Monitor {
    /// Sends a signal to a container's init.
    pub(super) fn signal_container(&mut self, id: &ContainerId, signal: SignalNumber, by: Sender, why: &str) -> rustix::io::Result<()> {
        let Some(container) = self.containers.get_mut(id) else { return Err(rustix::io::Errno::SRCH) };
        let pidfd = container.pidfd().ok_or(rustix::io::Errno::SRCH)?;
        let handling = SignalHandling::of(container.process.pid, signal);
        let at = Moment::now();
        send_signal(pidfd, signal)?;
        let sent = SentSignal { signal, by, why: why.to_owned(), at, handling };
        if !is_kill(container.last_signal.as_ref()) {
            container.last_signal = Some(sent.clone());
        }
        self.tell(Event::SignalSent { target: Target::Container(id.clone()), signal: sent });
        Ok(())
    }

    /// Kills every process of a container, and goes on until none is left. Once is enough: another call changes nothing.
    pub(super) fn kill_container(&mut self, id: &ContainerId, by: Sender, why: &str) {
        let Some(container) = self.containers.get_mut(id) else { return };
        if container.killing.is_some() {
            return;
        }
        container.killing = Some(Killing::begin(Moment::now()));
        // The init first, by its pidfd: with a pid namespace of its own everything in it dies with it.
        match self.signal_container(id, SignalNumber::KILL, by, why) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => {}
            Err(errno) => self.complain(format_args!("cannot kill the init of container {id}: {errno}")),
        }
        self.kill_container_cgroup(id);
    }

    /// The init is gone; what it left behind in a pid namespace that is not its own goes too.
    pub(super) fn kill_leftovers(&mut self, id: &ContainerId) {
        let Some(container) = self.containers.get_mut(id) else { return };
        let is_left = container.cgroup.is_populated().unwrap_or(false);
        if is_left {
            container.killing.get_or_insert(Killing::begin(Moment::now()));
            self.kill_container_cgroup(id);
        } else {
            container.killing = None;
        }
    }

    pub(super) fn kill_container_again(&mut self, id: &ContainerId, now: Moment) {
        let Some(container) = self.containers.get_mut(id) else { return };
        let is_over = container.is_exited() && !container.cgroup.is_populated().unwrap_or(false);
        container.killing = if is_over { None } else { container.killing.and_then(|killing| killing.next(now)) };
        if container.killing.is_some() {
            self.kill_container_cgroup(id);
        } else if !is_over {
            self.complain(format_args!("container {id} does not die: its processes hang in the kernel"));
        }
    }

    fn kill_container_cgroup(&mut self, id: &ContainerId) {
        let Some(Err(error)) = self.containers.get(id).map(|container| container.cgroup.kill()) else { return };
        self.complain(format_args!("cannot kill the cgroup of container {id}: {}", super::describe(&error)));
    }

    /// Kills the process tree of an exec, and goes on until nothing is left of it.
    pub(super) fn kill_exec(&mut self, id: &ExecId, by: Sender, why: &str) {
        let Some(exec) = self.execs.get_mut(id) else { return };
        if exec.killing.is_some() {
            return;
        }
        let now = Moment::now();
        let signal = SentSignal { signal: SignalNumber::KILL, by, why: why.to_owned(), at: now, handling: None };
        exec.killing = Some(Killing::begin(now));
        exec.last_signal.get_or_insert_with(|| signal.clone());
        if let (Some(process), Some(_)) = (&exec.process, exec.running()) {
            // Gone already is as good.
            let _ = send_signal(process.pidfd(), SignalNumber::KILL);
        }
        self.kill_exec_cgroup(id);
        self.tell(Event::SignalSent { target: Target::Exec(id.clone()), signal });
    }

    pub(super) fn kill_exec_again(&mut self, id: &ExecId, now: Moment) {
        let Some(exec) = self.execs.get_mut(id) else { return };
        let is_over = exec.running().is_none() && !exec.is_populated();
        exec.killing = if is_over { None } else { exec.killing.and_then(|killing| killing.next(now)) };
        if exec.killing.is_some() {
            self.kill_exec_cgroup(id);
        } else if is_over {
            self.remove_exec_cgroup(id);
            self.forget_released_exec(id);
        } else {
            self.complain(format_args!("exec {id} does not die: its processes hang in the kernel"));
        }
    }

    fn kill_exec_cgroup(&mut self, id: &ExecId) {
        let Some(Err(error)) = self.execs.get(id).map(|exec| exec.kill_once()) else { return };
        self.complain(format_args!("cannot kill the cgroup of exec {id}: {}", super::describe(&error)));
    }

    /// Removes the cgroup of an exec when nothing lives in it; else it goes with the container's.
    pub(super) fn remove_exec_cgroup(&mut self, id: &ExecId) {
        let Some(process) = self.execs.get(id).and_then(|exec| exec.process.as_ref()) else { return };
        if let Err(error) = process.remove_cgroup() {
            self.complain(format_args!("cannot remove the cgroup of exec {id}: {}", super::describe(&error)));
        }
    }
}

fn is_kill(sent: Option<&SentSignal>) -> bool {
    sent.is_some_and(|sent| sent.signal == SignalNumber::KILL)
}
