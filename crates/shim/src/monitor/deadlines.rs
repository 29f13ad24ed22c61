//! What falls due without anything happening: ends of grace periods, time limits, second looks.

use super::Monitor;
use super::containers::Container;
use super::execs::{ExecEntry, ExecStage};
use crate::moment::Moment;
use crate::protocol::{ContainerId, ExecId};
use crate::records::Sender;

/// What a container needs at a moment.
enum ContainerDue {
    Kill(String),
    KillAgain,
    RecheckOom,
    DropStalled,
}

/// What an exec needs at a moment.
enum ExecDue {
    TimeOut,
    KillAgain,
    Finish,
}

impl Monitor {
    /// When the shim must wake up next by itself, in boot time.
    pub(super) fn next_deadline_ns(&self) -> Option<u64> {
        let own = [self.save_again_at, self.accept_paused_until, self.shutdown.map(|shutdown| shutdown.give_up_at)];
        self.containers
            .values()
            .filter_map(|container| container.next_deadline_ns())
            .chain(self.execs.values().filter_map(|exec| exec.next_deadline_ns()))
            .chain(own.into_iter().flatten().map(|at| at.boot_ns))
            .min()
    }

    /// Does what is due. Kills come first: nothing else may hold up the end of a grace period.
    pub(super) fn serve_deadlines(&mut self, now: Moment) {
        let is_due = |at: Option<Moment>| at.is_some_and(|at| at.boot_ns <= now.boot_ns);
        let containers: Vec<(ContainerId, ContainerDue)> =
            self.containers.values().filter_map(|container| container.due(now).map(|due| (container.id.clone(), due))).collect();
        for (id, due) in containers {
            match due {
                ContainerDue::Kill(why) => self.kill_container(&id, Sender::StopDeadline, &why),
                ContainerDue::KillAgain => self.kill_container_again(&id, now),
                ContainerDue::RecheckOom => self.recheck_oom(&id, now),
                ContainerDue::DropStalled => self.drop_stalled_audience(&id, now),
            }
        }
        let execs: Vec<(ExecId, ExecDue)> =
            self.execs.values().filter_map(|exec| exec.due(now).map(|due| (exec.id.clone(), due))).collect();
        for (id, due) in execs {
            match due {
                ExecDue::TimeOut => {
                    if let Some(ExecStage::Running(running)) = self.execs.get_mut(&id).map(|exec| &mut exec.stage) {
                        running.timed_out = true;
                    }
                    self.kill_exec(&id, Sender::ExecTimeout, "the time limit was reached");
                }
                ExecDue::KillAgain => self.kill_exec_again(&id, now),
                ExecDue::Finish => self.finish_exec(&id),
            }
        }
        if is_due(self.save_again_at) {
            self.save_again();
        }
        if is_due(self.accept_paused_until) {
            self.pause_accepting(None);
        }
        if is_due(self.shutdown.map(|shutdown| shutdown.give_up_at)) {
            self.give_up_shutdown();
        }
    }
}

impl Container {
    fn due(&self, now: Moment) -> Option<ContainerDue> {
        let is_due = |at: Moment| at.boot_ns <= now.boot_ns;
        match self.killing {
            Some(killing) if is_due(killing.again_at) => return Some(ContainerDue::KillAgain),
            Some(_) => {}
            None if self.is_exited() => {}
            None if self.stop.is_due(now) => {
                return self.stop.deadline().map(|deadline| ContainerDue::Kill(deadline.why.clone()));
            }
            None => {}
        }
        let recheck = self.oom.recheck.filter(|recheck| is_due(recheck.at)).map(|_| ContainerDue::RecheckOom);
        recheck.or_else(|| self.audience.next_deadline().filter(|at| is_due(*at)).map(|_| ContainerDue::DropStalled))
    }
}

impl ExecEntry {
    fn due(&self, now: Moment) -> Option<ExecDue> {
        let is_due = |at: Moment| at.boot_ns <= now.boot_ns;
        match &self.stage {
            ExecStage::Running(running) if !running.timed_out && running.deadline.is_some_and(is_due) => {
                return Some(ExecDue::TimeOut);
            }
            ExecStage::Draining { until, .. } if is_due(*until) => return Some(ExecDue::Finish),
            ExecStage::Running(_) | ExecStage::Draining { .. } | ExecStage::Exited { .. } => {}
        }
        self.killing.filter(|killing| is_due(killing.again_at)).map(|_| ExecDue::KillAgain)
    }
}
