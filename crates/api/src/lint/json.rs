//! Findings for programs.

use serde_json::{Value, json};

use super::{Finding, Report};
use crate::source::{Source, Span};

/// Version of the format; it counts up when a field changes its meaning or goes.
const VERSION: u32 = 1;

/// All findings of several texts as one JSON value.
pub fn json(reports: &[(&Source, &Report)]) -> Value {
    let files = reports.iter().map(|(source, report)| {
        let findings: Vec<Value> = report.findings.iter().map(|finding| one(source, finding)).collect();
        let silenced: Vec<Value> = report.silenced.iter().map(|finding| one(source, finding)).collect();
        let unreadable = report.unreadable.iter().map(|diagnostic| {
            let place = diagnostic.primary.as_ref().map(|label| region(source, label.span));
            json!({"message": diagnostic.message, "place": place, "help": diagnostic.help})
        });
        json!({
            "file": source.name(), "objects": report.objects, "pods": report.pods,
            "findings": findings, "silenced": silenced, "unreadable": unreadable.collect::<Vec<_>>(),
        })
    });
    json!({"version": VERSION, "files": files.collect::<Vec<_>>()})
}

fn one(source: &Source, finding: &Finding) -> Value {
    let related = finding.related.iter().map(|label| json!({"place": region(source, label.span), "text": label.text}));
    json!({
        "rule": finding.rule.id, "name": finding.rule.name, "level": finding.rule.level.to_string(),
        "message": finding.message, "note": finding.note, "help": finding.help,
        "object": finding.object, "container": finding.container, "path": finding.path.to_string(),
        "place": region(source, finding.span), "related": related.collect::<Vec<_>>(),
    })
}

/// A place, with lines and columns from 1; the end is behind the last character.
fn region(source: &Source, span: Span) -> Value {
    let span = source.first_line(span);
    let (start, end) = (source.position(span.start), source.position(span.end));
    json!({"line": start.line, "column": start.column, "endLine": end.line, "endColumn": end.column})
}
