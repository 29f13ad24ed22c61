//! Who is to blame for a kill: the one who used the most of the time that the container had.
//!
//! Read from a grace account, and with what the kernel knew of the process's signal handling from an instance.

use std::time::Duration;

use lifecycle::{GraceAccount, PreStopEnd, ShareUser, Verdict};
use serde::Serialize;

const SIGKILL: i32 = 9;

/// Who is to blame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Blame {
    /// Nobody: the container was not killed, or not while it was being stopped.
    Nobody,
    /// The kernel, for lack of memory: no question of grace.
    OutOfMemory,
    /// Somebody outside of the engine who sent SIGKILL.
    Stranger,
    /// Whoever asked for it: it was killed at once.
    Asker,
    /// The preStop hook: it was still running when the grace was over.
    PreStopEndless,
    /// The preStop hook: it used most of the grace.
    PreStop,
    /// The other containers, which a sidecar has to wait for.
    Order,
    /// The start of the container, which had to end before its stop could begin.
    Starting,
    /// The process, which had most of the time for itself.
    Process,
}

/// Who is to blame for the end of a stop.
pub fn blame(account: &GraceAccount) -> Blame {
    let Some(exit) = &account.exit else { return Blame::Nobody };
    if exit.reason == "OOMKilled" {
        return Blame::OutOfMemory;
    }
    if account.verdict() != Verdict::Killed {
        return if exit.signal == Some(SIGKILL) { Blame::Stranger } else { Blame::Nobody };
    }
    let Some(signalled_at) = account.signalled_at else { return Blame::Asker };
    if account.pre_stop.as_ref().is_some_and(|hook| hook.end == PreStopEnd::OutOfGrace) {
        return Blame::PreStopEndless;
    }
    let users = [
        (ShareUser::StopSignal, Blame::Process),
        (ShareUser::PreStop, Blame::PreStop),
        (ShareUser::Order, Blame::Order),
        (ShareUser::Waiting, Blame::Starting),
    ];
    // Of equal shares the process's counts: it was there last.
    let most = users.iter().rev().max_by_key(|(user, _)| account.share_of(*user));
    // A process that got next to nothing because nobody had anything is still the one that did not end.
    most.filter(|(user, _)| account.share_of(*user) > Duration::ZERO || signalled_at == account.began_at)
        .map_or(Blame::Process, |(_, blame)| *blame)
}
