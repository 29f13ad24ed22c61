//! The grace accounts of simulated pods against what was really so, which no account knows: when hooks ran, when the signal
//! reached the process, when and of what it died.

use std::collections::BTreeMap;
use std::time::Duration;

use chronicle::blame::{Blame, blame};
use chronicle::{Entry, Journal, Life, Record};
use lifecycle::{ContainerId, GraceAccount, Hook, HookOutcome, ShareUser, Timestamp, Verdict};
use sim::nature::Ending;
use sim::plan::Plan;
use sim::story::{Story, What};
use sim::world::Fact;

/// Pods that are judged.
const PODS: u64 = 1000;

/// News take up to 60 ms in the simulated world, for the signal on its way and for the hook's end on its way back.
const NEWS: Duration = Duration::from_millis(60);

/// What was really so with one instance.
#[derive(Debug, Default)]
struct Truth {
    hook_began: Option<Timestamp>,
    hook_ended: Option<(Timestamp, HookOutcome)>,
    signalled: Option<Timestamp>,
    ended: Option<(Timestamp, Ending)>,
}

fn truths(story: &Story) -> BTreeMap<ContainerId, Truth> {
    let mut truths: BTreeMap<ContainerId, Truth> = BTreeMap::new();
    for entry in &story.entries {
        let What::Fact(fact) = &entry.what else { continue };
        match fact {
            Fact::HookBegan { id, hook: Hook::PreStop } => truths.entry(id.clone()).or_default().hook_began = Some(entry.at),
            Fact::HookEnded { id, hook: Hook::PreStop, outcome } => {
                truths.entry(id.clone()).or_default().hook_ended = Some((entry.at, outcome.clone()));
            }
            Fact::StopSignal { id } => drop(truths.entry(id.clone()).or_default().signalled.get_or_insert(entry.at)),
            Fact::Ended { id, ending } => truths.entry(id.clone()).or_default().ended = Some((entry.at, ending.clone())),
            Fact::Started { .. } | Fact::HookBegan { .. } | Fact::HookEnded { .. } | Fact::SandboxLost | Fact::Misuse(_) => {}
        }
    }
    truths
}

/// Stretches in which no engine was there: what happened then, the engine learnt later.
fn absences(story: &Story) -> Vec<(Timestamp, Timestamp)> {
    let mut absences = Vec::new();
    let mut since = None;
    for entry in &story.entries {
        match entry.what {
            What::EngineStopped => since = Some(entry.at),
            What::EngineStarted => absences.extend(since.take().map(|since| (since, entry.at))),
            What::Asked(..)
            | What::Updated(_)
            | What::RoomChanged
            | What::Told(_)
            | What::ToldAgain(_)
            | What::Due(_)
            | What::Did(_)
            | What::Shown(_)
            | What::Fact(_) => {}
        }
    }
    absences
}

/// A story's life, read from its journal after a way through its text, as a file would hold it.
fn life(story: &Story) -> Life {
    let written: String = sim::journal::of(story).entries.iter().map(|entry| serde_json::to_string(entry).expect("JSON") + "\n").collect();
    let journal: Journal = chronicle::read([written.as_str()]).expect("a journal");
    Life::of(&journal).expect("a heading")
}

fn judge_sum(account: &GraceAccount) -> Result<(), String> {
    let Some(used) = account.used() else { return Ok(()) };
    let mut at = Duration::ZERO;
    for share in account.shares() {
        if share.from != at || share.to < share.from {
            return Err(format!("a gap at {at:?}"));
        }
        at = share.to;
    }
    let whole = used.max(Duration::from_secs(account.grace_secs));
    let sum: Duration = account.shares().iter().map(lifecycle::Share::length).sum();
    if at == whole && sum == whole { Ok(()) } else { Err(format!("the shares make {sum:?} of {whole:?}")) }
}

/// Whose fault the death was, from what was really so.
fn true_blame(account: &GraceAccount, truth: &Truth) -> Option<Blame> {
    let (ended_at, ending) = truth.ended.as_ref()?;
    if ending.reason == "OOMKilled" {
        return Some(Blame::OutOfMemory);
    }
    if ending.signal != Some(9) {
        return Some(Blame::Nobody);
    }
    let due = account.killed_at.or(account.kill_due_at);
    if due.is_none_or(|due| due > *ended_at) {
        // It went with its sandbox.
        return Some(Blame::Stranger);
    }
    let Some(signal_at) = account.signalled_at else { return Some(Blame::Asker) };
    let began = account.began_at;
    // The hook as it really ran, until its end or until the stop went on without it.
    let hook_end = truth.hook_ended.as_ref().map_or(signal_at, |(at, _)| (*at).min(signal_at));
    let hook = truth.hook_began.map_or(Duration::ZERO, |from| hook_end.since(from));
    let was_cut_off = truth.hook_began.is_some()
        && truth
            .hook_ended
            .as_ref()
            .is_none_or(|(at, outcome)| *at >= signal_at && matches!(outcome, HookOutcome::Cancelled | HookOutcome::ContainerEnded { .. }));
    if signal_at.since(began) >= Duration::from_secs(account.grace_secs) {
        if was_cut_off {
            return Some(Blame::PreStopEndless);
        }
        if truth.hook_ended.as_ref().is_some_and(|(at, _)| *at == signal_at) {
            // It ended in the very instant in which nobody waited for it any longer.
            return None;
        }
    }
    let starting = truth.hook_began.unwrap_or(signal_at).since(began).min(account.share_of(ShareUser::Waiting) + NEWS);
    let order = if account.order_wait_at.is_some() {
        signal_at.since(truth.hook_ended.as_ref().map_or(began, |(at, _)| (*at).max(began)))
    } else {
        Duration::ZERO
    };
    let kill_at = due.unwrap_or(*ended_at).min(*ended_at);
    let process = kill_at.since(truth.signalled.unwrap_or(signal_at));
    let mut users = [(process, Blame::Process), (hook, Blame::PreStop), (order, Blame::Order), (starting, Blame::Starting)];
    users.sort_by_key(|(time, _)| std::cmp::Reverse(*time));
    // Too close to call within the time that news take.
    (users[0].0 > users[1].0 + NEWS * 2).then_some(users[0].1)
}

#[derive(Debug, Default)]
struct Tally {
    accounts: usize,
    blamed: BTreeMap<String, usize>,
    undecided: usize,
}

fn judge(story: &Story, tally: &mut Tally) -> Result<(), String> {
    let truths = truths(story);
    let absences = absences(story);
    let life = life(story);
    for account in &life.accounts {
        tally.accounts += 1;
        let fail = |what: String| format!("{what}: {account:#?}\n{:#?}", truths.get(&account.container_id));
        judge_sum(account).map_err(fail)?;
        let (Some(truth), Some(exit)) = (truths.get(&account.container_id), &account.exit) else { continue };
        let Some((ended_at, ending)) = &truth.ended else { continue };
        if exit.finished_at != *ended_at || exit.code != ending.code {
            return Err(fail("the end is not the true one".to_owned()));
        }
        let was_awake = |from: Timestamp, to: Timestamp| absences.iter().all(|(since, until)| to < *since || from > *until);
        if was_awake(account.began_at, *ended_at) {
            judge_shares(account, truth).map_err(fail)?;
        }
        let found = blame(account);
        match true_blame(account, truth) {
            Some(right) if found != right && was_awake(account.began_at, *ended_at) => {
                return Err(fail(format!("{found:?} is blamed, and it was {right:?}")));
            }
            Some(_) => *tally.blamed.entry(format!("{found:?}")).or_default() += 1,
            None => tally.undecided += 1,
        }
        let is_killed = account.verdict() == Verdict::Killed;
        let fault =
            matches!(found, Blame::Asker | Blame::PreStopEndless | Blame::PreStop | Blame::Order | Blame::Starting | Blame::Process);
        if fault && !is_killed {
            return Err(fail("somebody is blamed for a kill that was none".to_owned()));
        }
    }
    Ok(())
}

/// The shares of hook and process are as long as hook and process really took, but for the time that news take.
fn judge_shares(account: &GraceAccount, truth: &Truth) -> Result<(), String> {
    let close = |what: &str, ours: Duration, real: Duration| {
        if ours.abs_diff(real) <= NEWS * 2 { Ok(()) } else { Err(format!("{what} had {real:?}, the account says {ours:?}")) }
    };
    let (Some((ended_at, _)), Some(signal_at)) = (&truth.ended, account.signalled_at) else { return Ok(()) };
    if let Some(from) = truth.hook_began {
        let to = truth.hook_ended.as_ref().map_or(*ended_at, |(at, _)| *at).min(signal_at).min(*ended_at);
        close("the hook", account.share_of(ShareUser::PreStop), to.since(from))?;
    }
    if let Some(from) = truth.signalled {
        let to = account.killed_at.unwrap_or(*ended_at).min(*ended_at);
        let by_itself = account.kill_due_at.filter(|_| account.share_of(ShareUser::Kill) > Duration::ZERO).unwrap_or(to);
        close("the process", account.share_of(ShareUser::StopSignal), to.min(by_itself.max(from)).since(from))?;
    }
    Ok(())
}

#[test]
fn the_accounts_of_a_thousand_pods_add_up_and_blame_who_is_to_blame() {
    let mut tally = Tally::default();
    for seed in 0..PODS {
        let story = sim::play(&Plan::of(seed));
        if let Err(wrong) = judge(&story, &mut tally) {
            panic!("seed {seed}: {wrong}\n{}", sim::timeline::text(&story));
        }
    }
    assert!(tally.accounts > 900, "{tally:?}");
    // Every kind of blame was put to the test.
    for kind in ["Nobody", "Asker", "PreStopEndless", "PreStop", "Order", "Starting", "Process", "OutOfMemory", "Stranger"] {
        assert!(tally.blamed.get(kind).is_some_and(|count| *count > 0), "{kind} never came: {tally:?}");
    }
    assert!(tally.undecided * 20 < tally.accounts, "too many were too close to call: {tally:?}");
}

#[test]
fn the_journal_of_a_story_is_the_same_after_its_way_through_a_file() {
    for seed in 0..50 {
        let journal = sim::journal::of(&sim::play(&Plan::of(seed)));
        let written: String = journal.entries.iter().map(|entry| serde_json::to_string(entry).expect("JSON") + "\n").collect();
        let read = chronicle::read([written.as_str()]).expect("a journal");
        assert_eq!(read.entries.len(), journal.entries.len());
        let different = read.entries.iter().zip(&journal.entries).find(|(one, other): &(&Entry, &Entry)| one != other);
        assert_eq!(different, None, "seed {seed}");
        assert!(matches!(read.entries[0].record, Record::Opened { .. }));
    }
}
