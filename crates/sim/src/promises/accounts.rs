//! The grace account adds up: its shares follow each other without a gap, and its verdict is what really happened.

use std::time::Duration;

use lifecycle::{ContainerId, GraceAccount, Timestamp, Verdict as Judgement};

use super::{Promise, Verdict};
use crate::known::Known;
use crate::nature::Ending;
use crate::story::{Story, What};
use crate::timeline;
use crate::world::Fact;

const GAPS: &str = "the shares of a grace account follow each other without a gap and make the whole";
const VERDICT: &str = "the verdict of a grace account is what really happened";

/// Judges the accounts at the end of a story.
#[derive(Debug, Default)]
pub(super) struct Accounts;

impl<'a> Promise<'a> for Accounts {
    fn end(&mut self, _known: &Known<'a>, story: &'a Story) -> Verdict {
        timeline::accounts(story).iter().try_for_each(|account| {
            judge_shares(account)?;
            judge_verdict(story, account)
        })
    }
}

fn judge_shares(account: &GraceAccount) -> Verdict {
    let Some(used) = account.used() else { return Ok(()) };
    let mut from = Duration::ZERO;
    for share in account.shares() {
        if share.from != from || share.to < share.from {
            return Err((GAPS, format!("{account:?}")));
        }
        from = share.to;
    }
    let whole = used.max(Duration::from_secs(account.grace_secs));
    if from == whole { Ok(()) } else { Err((GAPS, format!("{from:?} of {whole:?}: {account:?}"))) }
}

fn judge_verdict(story: &Story, account: &GraceAccount) -> Verdict {
    let verdict = account.verdict();
    let Some((ended_at, ending)) = end_of(story, &account.container_id) else { return Ok(()) };
    // A process that went with its sandbox has no exit of its own.
    let Some(exit) = account.exit.as_ref() else { return Ok(()) };
    let was_signalled = account.signalled_at.is_some_and(|at| at <= ended_at);
    // By the engine, or by the stop signal's own end, whichever came in time.
    let kills = [account.killed_at, account.kill_due_at];
    let was_killed = ending.signal == Some(9) && kills.into_iter().flatten().any(|at| at <= ended_at);
    let is_right = match verdict {
        Judgement::InProgress => false,
        Judgement::Killed => was_killed && exit.code == ending.code,
        _ if was_killed => false,
        Judgement::Graceful | Judgement::GracefulInOvertime => account.signalled_at.is_some(),
        Judgement::EndedInPreStop => !was_signalled && account.pre_stop.is_some(),
        Judgement::EndedBefore => !was_signalled && account.pre_stop.is_none(),
    };
    if is_right { Ok(()) } else { Err((VERDICT, format!("{verdict:?}: {account:?}, ended at {ended_at} with {ending:?}"))) }
}

fn end_of<'b>(story: &'b Story, id: &ContainerId) -> Option<(Timestamp, &'b Ending)> {
    story.entries.iter().find_map(|entry| match &entry.what {
        What::Fact(Fact::Ended { id: ended, ending }) if ended == id => Some((entry.at, ending)),
        _ => None,
    })
}
