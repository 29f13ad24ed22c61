//! What of a pod's happenings is kept: everything that changes something, and counts of the rest.
//!
//! A pod that probes or prints for years must not fill its journal. So an attempt of a probe is kept only if it turned what is
//! published; the others are counted, and the counts are kept when they reach a power of ten, when the result turns, and when
//! the instance ends. Of what a hook prints the first lines are kept, and the cut is marked. Sessions of people are kept as long as
//! they are as rare as people's are; see [`sessions`].
//!
//! Pure: it is given everything that passed in one turn of the driver, and gives back what is to be written.

pub mod sessions;

use std::collections::BTreeMap;
use std::time::Duration;

use lifecycle::{Action, ActionId, Event, Hook, HookOutcome, Note, ProbeKind, ProbeOutcome, Step};

use self::sessions::Sessions;
use crate::record::{Happening, Moment, OutputCut, ProbeCounts, ProbeFailure, Record, exec_id as exec_id_of};

/// Lines of a hook run that are kept: more than people read, less than a loop prints.
pub const HOOK_LINES_MAX: u64 = 200;

/// Bytes of a hook run's lines that are kept.
pub const HOOK_BYTES_MAX: u64 = 16 << 10;

/// Bytes of output that are kept beside a failed hook's outcome: its lines were told before.
pub const OUTCOME_BYTES_MAX: usize = 2 << 10;

/// Bytes of a failed probe's output that are kept with the counts.
pub const PROBE_OUTPUT_MAX: usize = 512;

/// How the runtime's ids of probe commands begin.
const PROBE_EXEC: &str = "probe-";

/// How the runtime's ids of people's commands begin: what is to be known of them stands in [`Record::Session`].
pub const SESSION_EXEC: &str = "exec-";

/// Something that passed.
#[derive(Clone, Debug, PartialEq)]
pub struct Passed {
    /// When.
    pub at: Moment,
    /// What.
    pub record: Record,
    /// Whether it is to be kept; the others are only shown while they happen.
    pub is_kept: bool,
}

/// Decides what is kept.
#[derive(Clone, Debug, Default)]
pub struct Sieve {
    /// Attempts that are under way.
    attempts: BTreeMap<ActionId, (Moment, Step)>,
    counts: BTreeMap<(String, ProbeKind), ProbeCounts>,
    output: BTreeMap<String, Printed>,
    /// The instance that ended last.
    ended: Option<String>,
    sessions: Sessions,
}

#[derive(Clone, Copy, Debug, Default)]
struct Printed {
    lines: u64,
    bytes: u64,
    is_cut: bool,
}

impl Sieve {
    /// Sifts what passed in one turn; everything comes back, in order, with what is to be kept marked, and with counts added.
    pub fn sift(&mut self, turn: Vec<(Moment, Record)>) -> Vec<Passed> {
        let turned: Vec<(String, ProbeKind)> = turn.iter().filter_map(|(_, record)| turned(record)).collect();
        let mut passed = Vec::with_capacity(turn.len());
        for (at, record) in turn {
            self.pass(at, record, &turned, &mut passed);
        }
        passed
    }

    fn pass(&mut self, at: Moment, record: Record, turned: &[(String, ProbeKind)], passed: &mut Vec<Passed>) {
        match record {
            Record::Action(step) if matches!(step.action, Action::RunProbe { .. }) => {
                self.attempts.insert(step.id, (at, step.clone()));
                passed.push(Passed { at, record: Record::Action(step), is_kept: false });
            }
            Record::Event(Event::ProbeFinished { id, outcome }) => self.probe_finished(at, id, outcome, turned, passed),
            Record::Event(Event::ContainerExited { container_id, exit }) => {
                self.tell_counts(at, passed, |counts| counts.container_id == container_id.0);
                self.attempts.retain(|_, (_, step)| instance_of(step) != Some(&container_id.0));
                self.counts.retain(|_, counts| counts.container_id != container_id.0);
                self.forget_output(&container_id.0);
                let last = self.sessions.ended(&container_id.0, exit.finished_at).into_iter();
                passed.extend(last.map(|facts| Passed { at, record: Record::Session(facts), is_kept: true }));
                passed.push(Passed { at, record: Record::Event(Event::ContainerExited { container_id, exit }), is_kept: true });
            }
            Record::Event(Event::HookFinished { id, outcome }) => {
                let outcome = without_long_output(outcome);
                passed.push(Passed { at, record: Record::Event(Event::HookFinished { id, outcome }), is_kept: true });
            }
            // What a probe's failure says stands with the attempt or with the counts.
            Record::Action(step) if is_probe_event(&step.action) => {
                passed.push(Passed { at, record: Record::Action(step), is_kept: !turned.is_empty() });
            }
            Record::Kill(kill) => {
                self.tell_counts(at, passed, |_| true);
                passed.push(Passed { at, record: Record::Kill(kill), is_kept: true });
            }
            Record::Runtime(happening) => self.happening(at, happening, passed),
            Record::Hook(mut facts) => {
                facts.output_cut |= self.output.get(&facts.exec_id()).is_some_and(|printed| printed.is_cut);
                passed.push(Passed { at, record: Record::Hook(facts), is_kept: true });
            }
            Record::Session(facts) => {
                let (facts, is_kept) = self.sessions.take(facts);
                passed.push(Passed { at, record: Record::Session(facts), is_kept });
            }
            Record::Opened { .. }
            | Record::Spec(_)
            | Record::Event(_)
            | Record::Action(_)
            | Record::Status(_)
            | Record::Warning { .. }
            | Record::Pull(_)
            | Record::Volumes(_)
            | Record::Probes(_)
            | Record::OutputCut(_)
            | Record::Full => passed.push(Passed { at, record, is_kept: true }),
        }
    }

    /// What a command printed may be told after its end and after that of its container: it is remembered until another one ends.
    fn forget_output(&mut self, ended: &str) {
        if let Some(before) = self.ended.replace(ended.to_owned()) {
            self.output.retain(|exec_id, _| [Hook::PostStart, Hook::PreStop].iter().all(|hook| *exec_id != exec_id_of(*hook, &before)));
        }
    }

    fn probe_finished(
        &mut self,
        at: Moment,
        id: ActionId,
        outcome: ProbeOutcome,
        turned: &[(String, ProbeKind)],
        passed: &mut Vec<Passed>,
    ) {
        let attempt = self.attempts.remove(&id);
        let Some((began_at, Step { action: Action::RunProbe { container, container_id, probe, .. }, .. })) = &attempt else {
            // Another engine asked for it.
            passed.push(Passed { at, record: Record::Event(Event::ProbeFinished { id, outcome }), is_kept: true });
            return;
        };
        let key = (container.clone(), *probe);
        if turned.contains(&key) {
            self.tell_counts(at, passed, |counts| counts.container == key.0 && counts.probe == key.1);
            self.counts.remove(&key);
            if let Some((began_at, step)) = attempt {
                passed.push(Passed { at: began_at, record: Record::Action(step), is_kept: true });
            }
            passed.push(Passed { at, record: Record::Event(Event::ProbeFinished { id, outcome }), is_kept: true });
            return;
        }
        let counts = self.counts.entry(key).or_insert_with(|| fresh_counts(container, &container_id.0, *probe, *began_at));
        count(counts, *began_at, at, &outcome);
        let is_round = is_power_of_ten(counts.successes + counts.failures + counts.errors);
        let told = is_round.then(|| counts.clone());
        passed.push(Passed { at, record: Record::Event(Event::ProbeFinished { id, outcome }), is_kept: false });
        passed.extend(told.map(|counts| Passed { at, record: Record::Probes(counts), is_kept: true }));
    }

    /// Counts are sums since the last turn or start: a later one of the same probe replaces an earlier one.
    fn tell_counts(&self, at: Moment, passed: &mut Vec<Passed>, is_wanted: impl Fn(&ProbeCounts) -> bool) {
        let wanted = self.counts.values().filter(|counts| is_wanted(counts));
        passed.extend(wanted.map(|counts| Passed { at, record: Record::Probes(counts.clone()), is_kept: true }));
    }

    fn happening(&mut self, at: Moment, happening: Happening, passed: &mut Vec<Passed>) {
        let is_kept = match &happening {
            Happening::ExecStarted { exec_id, .. } => !exec_id.starts_with(PROBE_EXEC) && !exec_id.starts_with(SESSION_EXEC),
            Happening::ExecOutput { exec_id, .. } if exec_id.starts_with(PROBE_EXEC) => false,
            Happening::ExecOutput { exec_id, line, .. } => {
                let printed = self.output.entry(exec_id.clone()).or_default();
                let bytes = line.len() as u64;
                let fits = printed.lines < HOOK_LINES_MAX && printed.bytes + bytes <= HOOK_BYTES_MAX;
                if fits && !printed.is_cut {
                    printed.lines += 1;
                    printed.bytes += bytes;
                } else if !printed.is_cut {
                    printed.is_cut = true;
                    let cut = OutputCut { exec_id: exec_id.clone(), lines: printed.lines, bytes: printed.bytes };
                    passed.push(Passed { at, record: Record::OutputCut(cut), is_kept: true });
                }
                !printed.is_cut
            }
            Happening::SignalSent { .. } | Happening::OomKilled { .. } => true,
        };
        passed.push(Passed { at, record: Record::Runtime(happening), is_kept });
    }
}

fn turned(record: &Record) -> Option<(String, ProbeKind)> {
    match record {
        Record::Action(Step { action: Action::Note(Note::ProbeTurned { container, probe, .. }), .. }) => Some((container.clone(), *probe)),
        Record::Opened { .. }
        | Record::Spec(_)
        | Record::Kill(_)
        | Record::Event(_)
        | Record::Action(_)
        | Record::Runtime(_)
        | Record::Status(_)
        | Record::Warning { .. }
        | Record::Pull(_)
        | Record::Volumes(_)
        | Record::Hook(_)
        | Record::Probes(_)
        | Record::OutputCut(_)
        | Record::Session(_)
        | Record::Full => None,
    }
}

fn is_probe_event(action: &Action) -> bool {
    matches!(action, Action::RecordEvent(record) if matches!(record.reason.as_str(), "Unhealthy" | "ProbeWarning"))
}

fn instance_of(step: &Step) -> Option<&String> {
    if let Action::RunProbe { container_id, .. } = &step.action { Some(&container_id.0) } else { None }
}

fn fresh_counts(container: &str, container_id: &str, probe: ProbeKind, first_at: Moment) -> ProbeCounts {
    ProbeCounts {
        container: container.to_owned(),
        container_id: container_id.to_owned(),
        probe,
        successes: 0,
        failures: 0,
        errors: 0,
        first_at,
        last_at: first_at,
        longest: Duration::ZERO,
        total: Duration::ZERO,
        last_failure: None,
        failures_in_row: 0,
    }
}

fn count(counts: &mut ProbeCounts, began_at: Moment, at: Moment, outcome: &ProbeOutcome) {
    let took = at.timestamp().since(began_at.timestamp());
    counts.longest = counts.longest.max(took);
    counts.total += took;
    counts.last_at = at;
    let failed = |output: &str| Some(ProbeFailure { at, output: cut(output, PROBE_OUTPUT_MAX) });
    match outcome {
        ProbeOutcome::Success | ProbeOutcome::Warning { .. } => {
            counts.successes += 1;
            counts.failures_in_row = 0;
        }
        ProbeOutcome::Failure { output } => {
            counts.failures += 1;
            counts.failures_in_row += 1;
            counts.last_failure = failed(output);
        }
        ProbeOutcome::Error { error } => {
            counts.errors += 1;
            counts.last_failure = failed(error);
        }
    }
}

const fn is_power_of_ten(mut count: u64) -> bool {
    while count > 1 && count.is_multiple_of(10) {
        count /= 10;
    }
    count == 1
}

fn without_long_output(outcome: HookOutcome) -> HookOutcome {
    let cut = |text: String| cut(&text, OUTCOME_BYTES_MAX);
    match outcome {
        HookOutcome::ExitedNonZero { code, stdout, stderr } => {
            HookOutcome::ExitedNonZero { code, stdout: cut(stdout), stderr: cut(stderr) }
        }
        HookOutcome::ContainerEnded { stdout, stderr } => HookOutcome::ContainerEnded { stdout: cut(stdout), stderr: cut(stderr) },
        HookOutcome::Succeeded
        | HookOutcome::FailedToRun { .. }
        | HookOutcome::HttpFailed { .. }
        | HookOutcome::TimedOut { .. }
        | HookOutcome::Cancelled => outcome,
    }
}

/// At most `bytes_max` bytes of text, cut between characters, the cut marked.
pub fn cut(text: &str, bytes_max: usize) -> String {
    if text.len() <= bytes_max {
        return text.to_owned();
    }
    let end = (0..=bytes_max).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    format!("{}… ({} bytes cut)", &text[..end], text.len() - end)
}

#[cfg(test)]
mod tests;
