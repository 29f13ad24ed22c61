//! Verdicts for people.

use std::fmt::Write as _;

use chronicle::judge::{Check, Outcome, PodReport, RunReport, Spread, Verdict};
use chronicle::span_text;

use crate::story::paint::{Look, Paint, harmless};

/// Where sentences begin.
const INDENT: &str = "               ";

/// The whole report of one pod.
pub(super) fn report(report: &PodReport, paint: Paint) -> String {
    let mut text = String::new();
    let name = format!("{}/{}", report.namespace, report.name);
    for (number, run) in report.runs.iter().enumerate() {
        let of = if report.runs.len() > 1 { format!("  run {} of {}", number + 1, report.runs.len()) } else { String::new() };
        let began = chronicle::wall_text(run.began.wall_nanos);
        let _ = writeln!(text, "{}{}\n", paint.put(Look::Strong, &name), paint.put(Look::Dim, format!("  {began}{of}")));
        for verdict in &run.verdicts {
            push_verdict(&mut text, run, verdict, paint);
        }
        text.push('\n');
    }
    if report.runs.len() > 1 {
        push_spreads(&mut text, report, paint);
    }
    push_sum(&mut text, report, paint);
    text
}

fn push_verdict(text: &mut String, run: &RunReport, verdict: &Verdict, paint: Paint) {
    let (look, mark) = match verdict.outcome {
        Outcome::Passed => (Look::Good, "✓"),
        Outcome::Warned => (Look::Warn, "!"),
        Outcome::Failed => (Look::Bad, "✗"),
        Outcome::Skipped => (Look::Dim, "–"),
    };
    let check = format!("{:<12}", verdict.check.name());
    let sentence = harmless(&verdict.text);
    let sentence = if verdict.outcome == Outcome::Skipped { paint.put(Look::Dim, sentence) } else { sentence };
    let _ = writeln!(text, "{} {} {sentence}", paint.put(look, mark), paint.put(look, check));
    if matches!(verdict.outcome, Outcome::Passed | Outcome::Skipped) {
        return;
    }
    for evidence in &verdict.evidence {
        let moment = paint.put(Look::Dim, run.moment_text(evidence.at));
        let _ = writeln!(text, "{INDENT}{moment}  {}", harmless(&evidence.text));
    }
    if let Some(cure) = &verdict.cure {
        let _ = writeln!(text, "{INDENT}{} {}", paint.put(Look::Strong, "→"), harmless(cure));
    }
}

fn push_spreads(text: &mut String, report: &PodReport, paint: Paint) {
    let spreads = report.spreads();
    let mut rows = vec![["", "runs", "min", "median", "p95", "max"].map(str::to_owned)];
    let mut row = |name: String, spread: &Spread| {
        let time = |time| span_text(time);
        rows.push([name, spread.count.to_string(), time(spread.min), time(spread.median), time(spread.p95), time(spread.max)]);
    };
    spreads.ready.iter().for_each(|spread| row("Ready".to_owned(), spread));
    spreads.hooks.iter().for_each(|(name, spread)| row(name.clone(), spread));
    spreads.stop.iter().for_each(|spread| row("stop".to_owned(), spread));
    spreads.grace.iter().for_each(|(name, spread)| row(format!("{name} grace used"), spread));
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; 6] = std::array::from_fn(width);
    for (number, row) in rows.iter().enumerate() {
        let [name, figures @ ..] = row;
        let mut line = format!("{name:<width$}", width = widths[0]);
        for (figure, width) in figures.iter().zip(&widths[1..]) {
            let _ = write!(line, "  {figure:>width$}");
        }
        let look = if number == 0 { Look::Dim } else { Look::Plain };
        let _ = writeln!(text, "{}", paint.put(look, line));
    }
    if let Some(secs) = spreads.enough_secs {
        let _ = writeln!(text, "\nterminationGracePeriodSeconds: {secs} would have done in every run, with a margin");
    }
    text.push('\n');
}

/// `passed`, or what failed and the exit code.
fn push_sum(text: &mut String, report: &PodReport, paint: Paint) {
    let name = format!("{}/{}", report.namespace, report.name);
    let of = |outcome| {
        let found = report.verdicts().filter(move |verdict| verdict.outcome == outcome).map(|verdict| verdict.check);
        let mut checks: Vec<Check> = found.collect();
        checks.sort_unstable();
        checks.dedup();
        checks.iter().map(|check| check.name()).collect::<Vec<_>>().join(", ")
    };
    let (failed, warned) = (of(Outcome::Failed), of(Outcome::Warned));
    let warned = if warned.is_empty() { String::new() } else { format!("; warnings: {warned}") };
    let sum = if failed.is_empty() {
        paint.put(Look::Good, format!("PASSED {name}{warned}"))
    } else {
        paint.put(Look::Bad, format!("FAILED {name}: {failed}{warned} (exit code {})", report.exit_code()))
    };
    let _ = writeln!(text, "{sum}");
}
