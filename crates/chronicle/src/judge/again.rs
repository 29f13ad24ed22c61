//! The second start: a fresh pod from the same manifest, with the volumes that the first one left.

use std::time::Duration;

use super::{Check, Outcome, Verdict, before_the_request, first_ready, start};
use crate::life::Life;
use crate::read::Journal;
use crate::text::span_text;

/// Whether the pod works when it is started once more; `None` if a journal has no heading. What failed in the first run already is not
/// the second's fault.
pub fn second_start(first: &Journal, second: &Journal, ready_within: Duration) -> Option<Verdict> {
    let ((first, first_failed), (life, failed)) = (start_of(first, ready_within)?, start_of(second, ready_within)?);
    let verdict = |outcome, text: String| Verdict::new(Check::SecondStart, "pod", outcome, text);
    if first_failed.iter().any(|failed| matches!(failed.check, Check::Up | Check::Ready)) {
        return Some(verdict(Outcome::Skipped, "the first start did not work either".to_owned()));
    }
    let is_new = |failed: &Verdict| !first_failed.iter().any(|before| (before.check, &before.whom) == (failed.check, &failed.whom));
    let Some(failed) = failed.into_iter().find(is_new) else {
        let took = |life: &Life| first_ready(life).map_or_else(|| "not at all".to_owned(), |at| span_text(life.age(at)));
        let text = match first_ready(&life) {
            Some(_) => format!("Ready again, after {} (the first time {})", took(&life), took(&first)),
            None => "it Succeeded again".to_owned(),
        };
        return Some(verdict(Outcome::Passed, text));
    };
    let text = format!("the first start worked, the second did not: {}", failed.text);
    let verdict = Verdict { evidence: failed.evidence, ..verdict(Outcome::Failed, text) };
    let cure = "what the first run left in its volumes must not stand in the way of the next: locks, sockets, half-written files";
    Some(verdict.cured(cure).ordered())
}

/// A life, and what failed on its way up.
fn start_of(journal: &Journal, ready_within: Duration) -> Option<(Life, Vec<Verdict>)> {
    let life = Life::of(journal)?;
    let before = before_the_request(journal).unwrap_or_else(|| life.clone());
    let verdicts = [start::up(&life), start::ready(&life, &before, ready_within), start::hooks(&life)];
    let failed = verdicts.into_iter().flatten().filter(|verdict| verdict.outcome == Outcome::Failed).collect();
    Some((life, failed))
}
