//! Verdicts as JUnit XML, as servers for continuous integration read it: a suite for each pod, a case for each verdict of each run.

use std::fmt::Write as _;

use super::report::{is_failure, rfc3339};
use super::{Outcome, PodReport, RunReport, Verdict};

/// The whole document.
pub fn junit(pods: &[PodReport]) -> String {
    let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let all: Vec<_> = pods.iter().flat_map(PodReport::verdicts).collect();
    let secs: f64 = pods.iter().flat_map(|pod| &pod.runs).map(|run| run.lived.as_secs_f64()).sum();
    let _ = writeln!(xml, "<testsuites name=\"usher test\" {} time=\"{secs:.3}\">", counts(&all));
    for pod in pods {
        suite(&mut xml, pod);
    }
    xml.push_str("</testsuites>\n");
    xml
}

fn counts(verdicts: &[&Verdict]) -> String {
    let failures = verdicts.iter().filter(|verdict| is_failure(verdict)).count();
    let skipped = verdicts.iter().filter(|verdict| verdict.outcome == Outcome::Skipped).count();
    format!("tests=\"{}\" failures=\"{failures}\" errors=\"0\" skipped=\"{skipped}\"", verdicts.len())
}

fn suite(xml: &mut String, pod: &PodReport) {
    let all: Vec<_> = pod.verdicts().collect();
    let secs: f64 = pod.runs.iter().map(|run| run.lived.as_secs_f64()).sum();
    let name = attribute(&format!("{}/{}", pod.namespace, pod.name));
    let began = pod.runs.first().map_or(0, |run| run.began.wall_nanos);
    // The schema wants no zone.
    let timestamp = rfc3339(began).chars().take(19).collect::<String>();
    let _ = writeln!(xml, "  <testsuite name=\"{name}\" {} time=\"{secs:.3}\" timestamp=\"{timestamp}\">", counts(&all));
    for (number, run) in pod.runs.iter().enumerate() {
        for verdict in &run.verdicts {
            case(xml, pod, number + 1, run, verdict);
        }
    }
    xml.push_str("  </testsuite>\n");
}

fn case(xml: &mut String, pod: &PodReport, number: usize, run: &RunReport, verdict: &Verdict) {
    let several = if pod.runs.len() > 1 { format!("run {number}: ") } else { String::new() };
    let name = attribute(&format!("{several}{} ({})", verdict.check.name(), verdict.whom));
    let class = attribute(&format!("{}.{}", pod.namespace, pod.name));
    let _ = write!(xml, "    <testcase classname=\"{class}\" name=\"{name}\" time=\"{:.3}\"", run.lived.as_secs_f64());
    let (text, message, body) = (content(&verdict.text), attribute(&verdict.text), content(&body(run, verdict)));
    let _ = match verdict.outcome {
        Outcome::Passed => writeln!(xml, "><system-out>{text}</system-out></testcase>"),
        Outcome::Warned => writeln!(xml, "><system-out>warning: {body}</system-out></testcase>"),
        Outcome::Skipped => writeln!(xml, "><skipped message=\"{message}\"/></testcase>"),
        Outcome::Failed => {
            writeln!(xml, "><failure message=\"{message}\" type=\"{}\">{body}</failure></testcase>", verdict.check.name())
        }
    };
}

/// Sentence, evidence and cure.
fn body(run: &RunReport, verdict: &Verdict) -> String {
    let mut body = verdict.text.clone();
    for evidence in &verdict.evidence {
        let _ = write!(body, "\n{}  {}", run.moment_text(evidence.at), evidence.text);
    }
    if let Some(cure) = &verdict.cure {
        let _ = write!(body, "\ncure: {cure}");
    }
    body
}

/// Text as the value of an attribute, in which a bare line break would be lost.
fn attribute(text: &str) -> String {
    content(text).replace('\n', "&#10;")
}

/// Text as content; what XML 1.0 cannot hold is shown as its code.
fn content(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\n' | '\t' => safe.push(character),
            control if control.is_control() || matches!(control, '\u{fffe}' | '\u{ffff}') => safe.extend(control.escape_default()),
            other => safe.push(other),
        }
    }
    safe
}
