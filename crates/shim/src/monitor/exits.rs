//! Ends: reaping, and the order in which an end becomes known.
//!
//! ```text
//!   reaped ─▶ output read to its end ─▶ record on the disk ─▶ event
//! ```
//!
//! The shim is the reaper of everything in its pod. Whatever child it does not know is an orphan of some container and is
//! reaped without a word.

use rustix::process::{WaitOptions, WaitStatus, wait};

use super::Monitor;
use super::containers::{OomCount, Recheck, Save, Stage};
use super::execs::{DRAIN_MS, Ended, ExecEntry, ExecStage, Hold, Running};
use super::poll::Key;
use crate::moment::Moment;
use crate::protocol::{ContainerId, Event, ExecId, Keep, MemoryFacts, SignalNumber};
use crate::records::{ContainerExit, End, ExecExit};

/// How long the out-of-memory killer may take to count its kill, in milliseconds, and how often it is looked at meanwhile.
const OOM_RECHECK_MS: u64 = 50;
const OOM_RECHECKS_MAX: u32 = 20;
/// Ended execs that are remembered until newer ones push them out ([`Keep::Recent`]).
const EXECS_RECENT_MAX: usize = 32;

impl Monitor {
    /// Takes all children that have ended.
    pub(super) fn reap(&mut self) {
        while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
            let at = Moment::now();
            let pid = pid.as_raw_nonzero().get();
            let Some(end) = end_of(status) else { continue };
            if let Some(id) = self.container_of(pid) {
                self.end_container(&id, end, at);
            } else if let Some(id) = self.exec_of(pid) {
                self.end_exec(&id, end, at);
            }
        }
    }

    fn container_of(&self, pid: i32) -> Option<ContainerId> {
        self.containers
            .values()
            .find(|container| container.process.pid == pid && !container.is_exited())
            .map(|container| container.id.clone())
    }

    fn exec_of(&self, pid: i32) -> Option<ExecId> {
        self.execs.values().find(|exec| exec.running().is_some_and(|running| running.process.pid == pid)).map(|exec| exec.id.clone())
    }

    /// A container's init was reaped, or never ran its command.
    pub(super) fn end_container(&mut self, id: &ContainerId, end: End, at: Moment) {
        self.read_container_to_the_end(id);
        self.tell_oom_kills(id);
        let Some(container) = self.containers.get_mut(id) else { return };
        let exit = ContainerExit {
            container: id.clone(),
            process: container.process,
            started_at: container.started_at(),
            exited_at: at,
            end,
            oom_kills: container.oom_kills(),
            last_signal: container.last_signal.clone(),
            log_lines_lost: container.log.file().lines_lost(),
        };
        container.oom = OomCount { told: exit.oom_kills, before: container.oom.before, watch: None, recheck: None };
        container.stage = Stage::Exited { exit: Box::new(exit.clone()), save: Save::Pending };
        self.kill_leftovers(id);
        let recorded = self.save_container_exit(id);
        self.tell(Event::ContainerExited { exit: Box::new(exit), recorded });
    }

    fn end_exec(&mut self, id: &ExecId, end: End, at: Moment) {
        let Some(exec) = self.execs.get(id) else { return };
        let Some(&running) = exec.running() else { return };
        let container_exiting =
            self.containers.get(&exec.container).is_none_or(|container| container.is_exited() || container.process.is_exiting());
        self.read_exec_to_the_end(id);
        let Some(exec) = self.execs.get_mut(id) else { return };
        let ended = Ended { end, at, container_exiting };
        exec.stage = ExecStage::Draining { running, ended, until: at.plus_ms(DRAIN_MS) };
        self.finish_drained_exec(id);
    }

    /// Tells the end of an exec whose output has ended too.
    pub(super) fn finish_drained_exec(&mut self, id: &ExecId) {
        if self.execs.get(id).is_some_and(|exec| exec.capture.as_ref().is_none_or(|capture| !capture.is_open())) {
            self.finish_exec(id);
        }
    }

    /// Tells the end of an exec whose leader was reaped, whether or not descendants still hold its output open.
    pub(super) fn finish_exec(&mut self, id: &ExecId) {
        let Some(exec) = self.execs.get_mut(id) else { return };
        match exec.stage.clone_if_draining() {
            Some((running, ended)) => {
                let exit = ExecExit {
                    exec: id.clone(),
                    container: exec.container.clone(),
                    process: Some(running.process),
                    started_at: Some(running.started_at),
                    exited_at: ended.at,
                    end: ended.end,
                    timed_out: running.timed_out,
                    container_exiting: ended.container_exiting,
                    output_bytes: exec.capture.as_ref().map_or(0, |capture| capture.bytes_seen),
                    output_truncated: exec.capture.as_ref().is_some_and(super::execs::Capture::is_truncated),
                    output_open: exec.capture.as_ref().is_some_and(super::execs::Capture::is_open),
                    last_signal: exec.last_signal.clone(),
                };
                self.remove_exec_cgroup(id);
                self.tell_exec_exit(id, exit);
            }
            // Its end was told before, and the output of a descendant has ended.
            None => exec.drop_ended_capture(),
        }
    }

    /// Records and tells the end of an exec.
    pub(super) fn tell_exec_exit(&mut self, id: &ExecId, exit: ExecExit) {
        let Some(exec) = self.execs.get_mut(id) else { return };
        exec.stage = ExecStage::Exited { exit: Box::new(exit.clone()), save: Save::Pending };
        exec.drop_ended_capture();
        let recorded = self.save_exec_exit(id);
        self.tell(Event::ExecExited { exit: Box::new(exit), recorded });
        self.forget_released_exec(id);
        self.forget_old_execs();
    }

    fn forget_old_execs(&mut self) {
        let mut recent: Vec<_> = self
            .execs
            .values()
            .filter(|exec| exec.keep == Keep::Recent)
            .filter_map(|exec| match &exec.stage {
                ExecStage::Exited { exit, .. } => Some((exit.exited_at, exec.id.clone())),
                ExecStage::Running(_) | ExecStage::Draining { .. } => None,
            })
            .collect();
        recent.sort_unstable();
        for (_, id) in recent.iter().take(recent.len().saturating_sub(EXECS_RECENT_MAX)) {
            self.forget_exec(id);
        }
    }

    /// Forgets an exec that has ended, of which nothing has to be killed any more and for which nobody waits.
    pub(super) fn forget_released_exec(&mut self, id: &ExecId) {
        let is_done = |exec: &ExecEntry| exec.is_exited() && exec.killing.is_none() && matches!(exec.hold, Hold::Released);
        if self.execs.get(id).is_some_and(|exec| is_done(exec)) {
            self.forget_exec(id);
        }
    }

    /// Forgets an exec, with its records and output. Descendants of it that write go on into nothing.
    pub(super) fn forget_exec(&mut self, id: &ExecId) {
        let folder = self.exec_dir(id);
        if let Some(exec) = self.execs.remove(id) {
            if let Hold::Held(pipe, _) = &exec.hold {
                // The client may have the same end, so it is not enough to close it.
                let _ = self.poll.remove(pipe);
            }
            if let Some(capture) = exec.capture {
                self.sinks.add(exec.key, exec.container, capture);
            }
        }
        self.remove_folder(&folder);
    }

    pub(super) fn remove_folder(&mut self, folder: &std::path::Path) {
        match std::fs::remove_dir_all(folder) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => self.complain(format_args!("cannot remove {}: {error}", folder.display())),
        }
    }

    /// The kernel announced that a container ran out of memory.
    pub(super) fn serve_oom(&mut self, key: Key) {
        let Some(id) = self.container_id(key) else { return };
        let Some(container) = self.containers.get_mut(&id) else { return };
        let Some(watch) = &mut container.oom.watch else { return };
        if let Err(error) = watch.acknowledge() {
            // A source that cannot be cleared would wake us for ever. The count at the exit stays right without it.
            container.oom.watch = None;
            self.complain(format_args!("cannot watch the memory of container {id}: {}", super::describe(&error)));
            return;
        }
        container.oom.recheck = Some(Recheck { at: Moment::now().plus_ms(OOM_RECHECK_MS), tries_left: OOM_RECHECKS_MAX });
        self.tell_oom_kills(&id);
    }

    pub(super) fn recheck_oom(&mut self, id: &ContainerId, now: Moment) {
        if let Some(container) = self.containers.get_mut(id) {
            container.oom.recheck = container.oom.recheck.and_then(|recheck| {
                let tries_left = recheck.tries_left.checked_sub(1)?;
                Some(Recheck { at: now.plus_ms(OOM_RECHECK_MS), tries_left })
            });
        }
        self.tell_oom_kills(id);
    }

    /// Tells kills that were counted since the last look.
    fn tell_oom_kills(&mut self, id: &ContainerId) {
        let Some(container) = self.containers.get_mut(id) else { return };
        let oom_kills = container.oom_kills();
        if oom_kills > container.oom.told {
            container.oom.told = oom_kills;
            container.oom.recheck = None;
            let memory = container.cgroup.stats().ok().map(|stats| MemoryFacts {
                limit_bytes: stats.memory_limit_bytes,
                usage_bytes: stats.memory_usage_bytes,
                peak_bytes: stats.memory_peak_bytes,
            });
            self.tell(Event::OomKill { container: id.clone(), oom_kills, at: Moment::now(), memory });
        }
    }
}

impl ExecStage {
    fn clone_if_draining(&self) -> Option<(Running, Ended)> {
        match self {
            Self::Draining { running, ended, .. } => Some((*running, ended.clone())),
            Self::Running(_) | Self::Exited { .. } => None,
        }
    }
}

impl ExecEntry {
    /// Lets go of the output once nobody can write any more.
    fn drop_ended_capture(&mut self) {
        if self.is_exited() && self.capture.as_ref().is_some_and(|capture| !capture.is_open()) {
            self.capture = None;
        }
    }
}

fn end_of(status: WaitStatus) -> Option<End> {
    if let Some(code) = status.exit_status() {
        return Some(End::Exited { code: code as u8 });
    }
    let signal = SignalNumber::from_raw(status.terminating_signal()?)?;
    Some(End::Signaled { signal })
}
