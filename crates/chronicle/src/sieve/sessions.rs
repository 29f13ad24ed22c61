//! Which sessions of people are kept: all of a person's, few of a script's, and always the last before a container ended.
//!
//! A script that runs a command each second for years must not push a pod's history out of its journal. So a number of sessions are
//! kept at once, and one more for each pause; of the others the newest are remembered, and kept if the container ends with them.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use lifecycle::Timestamp;

use crate::record::SessionFacts;
use crate::sieve::cut;

/// Sessions that are kept at once: more than a person begins while looking for a fault.
pub const SESSIONS_MAX: u64 = 30;

/// After so long one more is kept. At two entries for each session, a month of them takes less than half of a journal.
pub const SESSION_EVERY: Duration = Duration::from_secs(600);

/// Bytes of a session's command that are kept.
pub const COMMAND_BYTES_MAX: usize = 512;

/// Words of a session's command that are kept.
const COMMAND_WORDS_MAX: usize = 32;

/// Sessions beyond those that are remembered: enough to know who was there when the container ended.
const REMEMBERED_MAX: usize = 4;

/// A session that was over for longer has nothing to do with the end of the container.
const BEFORE_END: Duration = Duration::from_secs(10);

/// Open sessions of which the begin was kept. Whoever never says that a session is over does not fill the memory.
const OPEN_MAX: usize = 256;

/// Decides which sessions are kept.
#[derive(Clone, Debug, Default)]
pub(super) struct Sessions {
    used: u64,
    regained_at: Timestamp,
    /// Those whose begin was kept, and whose end will be.
    open: BTreeSet<String>,
    /// The newest of those that were not kept.
    others: VecDeque<SessionFacts>,
    left_out: u64,
}

impl Sessions {
    /// Takes the begin or the end of a session; says whether it is to be kept.
    pub(super) fn take(&mut self, facts: SessionFacts) -> (SessionFacts, bool) {
        let mut facts = SessionFacts { command: cut_command(facts.command), ..facts };
        if facts.finished_at.is_some() {
            let is_kept = self.open.remove(&facts.id);
            if let Some(other) = self.others.iter_mut().find(|other| other.id == facts.id) {
                *other = facts.clone();
            }
            return (facts, is_kept);
        }
        if self.may_keep(facts.started_at.timestamp()) {
            if self.open.len() >= OPEN_MAX {
                self.open.pop_first();
            }
            self.open.insert(facts.id.clone());
            facts.left_out = std::mem::take(&mut self.left_out);
            return (facts, true);
        }
        self.left_out += 1;
        if self.others.len() >= REMEMBERED_MAX {
            self.others.pop_front();
        }
        self.others.push_back(facts.clone());
        (facts, false)
    }

    /// A container ended: the sessions of it that were there and are not kept yet.
    pub(super) fn ended(&mut self, container_id: &str, at: Timestamp) -> Vec<SessionFacts> {
        let is_of = |facts: &SessionFacts| facts.container_id == container_id;
        let was_there = |facts: &SessionFacts| facts.finished_at.is_none_or(|finished| finished.timestamp() + BEFORE_END >= at);
        let mut last: Vec<SessionFacts> = self.others.iter().filter(|facts| is_of(facts) && was_there(facts)).cloned().collect();
        self.others.retain(|facts| !is_of(facts));
        self.left_out = self.left_out.saturating_sub(last.len() as u64);
        for facts in &mut last {
            facts.left_out = std::mem::take(&mut self.left_out);
            if facts.finished_at.is_none() {
                self.open.insert(facts.id.clone());
            }
        }
        last
    }

    fn may_keep(&mut self, at: Timestamp) -> bool {
        let pauses = u64::try_from(at.since(self.regained_at).as_nanos() / SESSION_EVERY.as_nanos()).unwrap_or(u64::MAX);
        self.used = self.used.saturating_sub(pauses);
        self.regained_at = if self.used == 0 { at } else { self.regained_at + SESSION_EVERY * u32::try_from(pauses).unwrap_or(u32::MAX) };
        let may = self.used < SESSIONS_MAX;
        self.used += u64::from(may);
        may
    }
}

/// The first words of a command, as far as there is room for them.
pub fn cut_command(command: Vec<String>) -> Vec<String> {
    let mut left = COMMAND_BYTES_MAX;
    let mut kept = Vec::new();
    for word in command {
        if left == 0 || kept.len() >= COMMAND_WORDS_MAX {
            kept.push("…".to_owned());
            break;
        }
        let word = cut(&word, left);
        left = left.saturating_sub(word.len());
        kept.push(word);
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Moment, SessionVerb};

    const fn at(secs: u64) -> Moment {
        Moment { boot_nanos: secs * 1_000_000_000, wall_nanos: 0 }
    }

    fn begin(id: u64, secs: u64) -> SessionFacts {
        SessionFacts {
            id: format!("exec-{id}"),
            container: "app".to_owned(),
            container_id: "one".to_owned(),
            verb: SessionVerb::Exec,
            command: vec!["date".to_owned()],
            tty: false,
            by: None,
            started_at: at(secs),
            finished_at: None,
            exit_code: None,
            left_out: 0,
        }
    }

    fn end(id: u64, secs: u64) -> SessionFacts {
        SessionFacts { finished_at: Some(at(secs)), exit_code: Some(0), ..begin(id, secs) }
    }

    #[test]
    fn a_script_that_runs_commands_without_end_is_kept_now_and_then() {
        let mut sessions = Sessions::default();
        let (mut kept, mut told) = (0, 0);
        let day = 24 * 3600;
        for second in 0..day {
            let (facts, is_kept) = sessions.take(begin(second, 1_000_000 + second));
            kept += u64::from(is_kept);
            told += if is_kept { facts.left_out } else { 0 };
            assert_eq!(sessions.take(end(second, 1_000_000 + second)).1, is_kept, "who is there at the begin is there at the end");
        }
        assert_eq!(kept, SESSIONS_MAX + day / SESSION_EVERY.as_secs() - 1);
        assert_eq!(told + kept + sessions.left_out, day, "those that are left out are counted");
    }

    #[test]
    fn the_sessions_that_were_there_when_the_container_ended_are_kept() {
        let mut sessions = Sessions::default();
        for id in 0..SESSIONS_MAX + 10 {
            sessions.take(begin(id, 100));
            sessions.take(end(id, 101));
        }
        sessions.take(begin(77, 103));
        let last = sessions.ended("one", at(104).timestamp());
        assert_eq!(last.iter().map(|facts| facts.id.as_str()).collect::<Vec<_>>(), ["exec-37", "exec-38", "exec-39", "exec-77"]);
        assert_eq!(last.iter().map(|facts| facts.left_out).collect::<Vec<_>>(), [7, 0, 0, 0]);
        assert!(sessions.take(end(77, 104)).1, "its end, too");
        assert_eq!(sessions.ended("one", at(105).timestamp()), [], "once");
    }

    #[test]
    fn a_long_command_is_cut() {
        let command = vec!["sh".to_owned(), "-c".to_owned(), "x".repeat(5000), "more".to_owned()];
        let (facts, _) = Sessions::default().take(SessionFacts { command, ..begin(1, 1) });
        assert!(facts.command.concat().len() < COMMAND_BYTES_MAX + 40, "{:?}", facts.command);
        assert!(facts.command[2].ends_with("bytes cut)") && facts.command[3] == "…", "{:?}", facts.command);
    }
}
