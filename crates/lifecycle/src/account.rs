//! The grace account: who spent the grace period of a stop, and what came of it. Read from the journal, decided by nobody.
//!
//! Every stop of a container has a budget of whole seconds that begins to run at its `StopBegan`. What happened inside it is
//! cut into [`Share`]s that follow each other without a gap, so that inside the budget they add up to the whole of it.

mod reader;
mod sentence;

use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use serde::{Deserialize, Serialize};

use self::reader::Reader;
use crate::action::{ContainerId, Step, StopCause};
use crate::event::{Event, Exit, KillPod};
use crate::time::Timestamp;

/// The account of one stop of one container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GraceAccount {
    /// Name of the container.
    pub container: String,
    /// The instance.
    pub container_id: ContainerId,
    /// Why it was stopped.
    pub cause: StopCause,
    /// The budget in whole seconds, after any shortening.
    pub grace_secs: u64,
    /// Who set the budget.
    pub budget: Budget,
    /// When the countdown began.
    pub began_at: Timestamp,
    /// The preStop hook, if one ran.
    pub pre_stop: Option<PreStopUse>,
    /// When a sidecar began to wait for the others.
    pub order_wait_at: Option<Timestamp>,
    /// When the stop signal went out.
    pub signalled_at: Option<Timestamp>,
    /// When SIGKILL follows the stop signal, also if the engine is away by then.
    pub kill_due_at: Option<Timestamp>,
    /// When the engine sent SIGKILL.
    pub killed_at: Option<Timestamp>,
    /// How it ended, if it did.
    pub exit: Option<Exit>,
    /// What earlier stops of the container took where nothing cut them short.
    pub earlier: Measured,
}

/// Who set the budget of a stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Budget {
    /// The manifest, by a `terminationGracePeriodSeconds`.
    Manifest,
    /// Whoever asked that the pod go.
    Request,
}

/// Times that were seen to be needed: the longest of each. `None` where none was seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Measured {
    /// A preStop hook, from its begin to its own end.
    pub pre_stop: Option<Duration>,
    /// The process, from the stop signal to its own end.
    pub process: Option<Duration>,
}

/// What a preStop hook did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PreStopUse {
    /// When it began.
    pub began_at: Timestamp,
    /// When it ended or was given up.
    pub ended_at: Option<Timestamp>,
    /// How it ended.
    pub end: PreStopEnd,
}

/// How a preStop hook ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PreStopEnd {
    /// It still runs.
    Running,
    /// It succeeded.
    Succeeded,
    /// It failed.
    Failed,
    /// Its container ended, and it with it.
    ContainerEnded,
    /// The grace was over and it was cut off.
    OutOfGrace,
    /// The stop was cut short.
    Cancelled,
}

/// A stretch of time of a stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    /// Who used it.
    pub user: ShareUser,
    /// Where it begins, from the start of the countdown.
    pub from: Duration,
    /// Where it ends.
    pub to: Duration,
}

/// Who used a [`Share`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ShareUser {
    /// Before anything of this container could begin: it was still being started.
    Waiting,
    /// The preStop hook.
    PreStop,
    /// A sidecar's wait for the containers that stop before it.
    Order,
    /// The process, after the stop signal.
    StopSignal,
    /// From SIGKILL to the end.
    Kill,
    /// Nobody: left over when the container was gone.
    Unused,
}

impl Share {
    /// Its length.
    pub fn length(&self) -> Duration {
        self.to.saturating_sub(self.from)
    }
}

/// What is to be said of a stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verdict {
    /// It is not over.
    InProgress,
    /// The container ended while its preStop hook ran.
    EndedInPreStop,
    /// It ended by itself after the stop signal, inside the budget.
    Graceful,
    /// It ended by itself after the stop signal, but only thanks to the 2 s that come on top.
    GracefulInOvertime,
    /// It was killed.
    Killed,
    /// It ended before anything could be done.
    EndedBefore,
}

impl GraceAccount {
    /// The accounts of all stops in a journal, in the order in which they began.
    pub fn read<'a>(entries: impl IntoIterator<Item = (Timestamp, Entry<'a>)>) -> Vec<Self> {
        let mut reader = Reader::default();
        for (at, entry) in entries {
            match entry {
                Entry::Kill(kill) => reader.kill(kill),
                Entry::Step(step) => reader.step(step, at),
                Entry::Event(event) => reader.event(event, at),
            }
        }
        reader.look_back();
        reader.accounts
    }

    /// When the container was gone.
    pub fn exited_at(&self) -> Option<Timestamp> {
        self.exit.as_ref().map(|exit| exit.finished_at.max(self.began_at))
    }

    /// Time from the start of the countdown to the end of the container.
    pub fn used(&self) -> Option<Duration> {
        self.exited_at().map(|at| at.since(self.began_at))
    }

    /// When SIGKILL went out: sent by the engine, or as the stop signal's own end while the engine was away. One that was sent when
    /// the container had ended already, and nobody knew it yet, killed nobody.
    fn sigkill_at(&self) -> Option<Timestamp> {
        let by_itself = || {
            let due = self.kill_due_at?;
            self.exit.as_ref().filter(|exit| died_of_kill(exit) && exit.finished_at >= due).map(|_| due)
        };
        let came_too_late = |sent: &Timestamp| self.exit.as_ref().is_some_and(|exit| exit.finished_at < *sent);
        self.killed_at.filter(|sent| !came_too_late(sent)).or_else(by_itself)
    }

    /// The whole stop, cut up: first to last without a gap, up to the end of the budget or of the container, whichever is later.
    pub fn shares(&self) -> Vec<Share> {
        let Some(exited_at) = self.exited_at() else { return Vec::new() };
        let mut marks: Vec<(ShareUser, Timestamp)> = alloc::vec![(ShareUser::Waiting, self.began_at)];
        marks.extend(self.pre_stop.as_ref().map(|hook| (ShareUser::PreStop, hook.began_at)));
        marks.extend(self.order_wait_at.map(|at| (ShareUser::Order, at)));
        marks.extend(self.signalled_at.map(|at| (ShareUser::StopSignal, at)));
        marks.extend(self.sigkill_at().map(|at| (ShareUser::Kill, at)));
        let mut shares = Vec::new();
        let mut from = self.began_at;
        for (position, (user, _)) in marks.iter().enumerate() {
            let next = marks.get(position + 1).map_or(exited_at, |(_, at)| *at);
            let to = next.clamp(from, exited_at.max(from));
            if to > from {
                shares.push(Share { user: *user, from: from.since(self.began_at), to: to.since(self.began_at) });
            }
            from = to;
        }
        let budget = Duration::from_secs(self.grace_secs);
        let used = exited_at.since(self.began_at);
        if used < budget {
            shares.push(Share { user: ShareUser::Unused, from: used, to: budget });
        }
        shares
    }

    /// How much of the stop one user had.
    pub fn share_of(&self, user: ShareUser) -> Duration {
        self.shares().iter().filter(|share| share.user == user).map(Share::length).sum()
    }

    /// What is to be said of it.
    pub fn verdict(&self) -> Verdict {
        let (Some(exit), Some(used)) = (&self.exit, self.used()) else { return Verdict::InProgress };
        match (self.signalled_at, self.sigkill_at()) {
            (_, Some(_)) if died_of_kill(exit) => Verdict::Killed,
            (Some(_), _) if used > Duration::from_secs(self.grace_secs) => Verdict::GracefulInOvertime,
            (Some(_), _) => Verdict::Graceful,
            (None, _) if self.pre_stop.is_some() => Verdict::EndedInPreStop,
            (None, _) => Verdict::EndedBefore,
        }
    }

    /// A grace in whole seconds that would have been enough, if the times that were seen are those that are needed.
    fn enough_secs(&self) -> Option<u64> {
        let seen_longer = |seen: Option<Duration>, user| seen.filter(|seen| *seen > self.share_of(user));
        let pre_stop = self.own_pre_stop().or_else(|| seen_longer(self.earlier.pre_stop, ShareUser::PreStop))?;
        let process = self.own_process().or_else(|| seen_longer(self.earlier.process, ShareUser::StopSignal))?;
        let needed = self.share_of(ShareUser::Waiting) + pre_stop + self.share_of(ShareUser::Order) + process;
        // The next whole second, also after a whole one: whoever ends in the same instant is killed.
        Some(needed.as_secs() + 1)
    }

    /// A longer grace in whole seconds that would not have been enough either: the process would have had no more time than the
    /// 2 s that it had anyway.
    fn too_little_secs(&self) -> Option<u64> {
        let before_signal = self.signalled_at?.whole_secs_since(self.began_at);
        let secs = before_signal + self.share_of(ShareUser::StopSignal).as_secs();
        (self.verdict() == Verdict::Killed && secs > self.grace_secs).then_some(secs)
    }

    /// How long the preStop hook took, if it ran to its own end; no time at all where there is none.
    fn own_pre_stop(&self) -> Option<Duration> {
        match &self.pre_stop {
            None => Some(Duration::ZERO),
            Some(hook) => match hook.end {
                PreStopEnd::Succeeded | PreStopEnd::Failed => Some(hook.ended_at?.since(hook.began_at)),
                PreStopEnd::Running | PreStopEnd::ContainerEnded | PreStopEnd::OutOfGrace | PreStopEnd::Cancelled => None,
            },
        }
    }

    /// How long the process took after the stop signal, if it ended by itself.
    fn own_process(&self) -> Option<Duration> {
        match self.verdict() {
            Verdict::Graceful | Verdict::GracefulInOvertime => Some(self.share_of(ShareUser::StopSignal)),
            Verdict::InProgress | Verdict::EndedInPreStop | Verdict::Killed | Verdict::EndedBefore => None,
        }
    }
}

/// A journal entry as far as the account needs it.
#[derive(Clone, Copy, Debug)]
pub enum Entry<'a> {
    /// Someone asked that the pod go.
    Kill(&'a KillPod),
    /// The machine asked for something.
    Step(&'a Step),
    /// The world told something.
    Event(&'a Event),
}

const SIGKILL: i32 = 9;

fn died_of_kill(exit: &Exit) -> bool {
    exit.signal == Some(SIGKILL) || exit.code == 128 + SIGKILL
}
