//! Findings in SARIF 2.1.0, which code hosts and editors show at the line.
//!
//! Numbers in brackets are sections of the specification.

use serde_json::{Value, json};

use super::{Finding, Level, RULES, Report, Rule};
use crate::source::{Source, Span};

/// The schema of the format.
const SCHEMA: &str = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json";

/// All findings of several texts as one SARIF log. `version` is that of the program.
pub fn sarif(reports: &[(&Source, &Report)], version: &str) -> Value {
    let rules: Vec<Value> = RULES.iter().map(descriptor).collect();
    let results = reports.iter().flat_map(|(source, report)| {
        let loud = report.findings.iter().map(|finding| result(source, finding));
        // [3.35] Told of, so that a viewer can say that they are known.
        let silenced = report.silenced.iter().map(|finding| {
            let mut result = result(source, finding);
            result["suppressions"] = json!([{"kind": "inSource", "status": "accepted"}]);
            result
        });
        loud.chain(silenced).collect::<Vec<_>>()
    });
    let problems = reports.iter().flat_map(|(source, report)| {
        let problem = |diagnostic: &crate::Diagnostic| {
            let place = diagnostic.primary.as_ref().map_or_else(Span::default, |label| label.span);
            json!({"level": "error", "message": {"text": diagnostic.message}, "locations": [location(source, place)]})
        };
        report.unreadable.iter().map(problem).collect::<Vec<_>>()
    });
    let problems: Vec<Value> = problems.collect();
    json!({
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {"name": "usher", "version": version, "rules": rules}},
            // [3.20] Whether all that was asked for could be read.
            "invocations": [{"executionSuccessful": problems.is_empty(), "toolExecutionNotifications": problems}],
            // [3.14.17]
            "columnKind": "unicodeCodePoints",
            "results": results.collect::<Vec<_>>(),
        }],
    })
}

/// [3.49]
fn descriptor(rule: &Rule) -> Value {
    json!({
        "id": rule.id,
        "name": pascal_case(rule.name),
        "shortDescription": {"text": format!("{}.", rule.title)},
        "help": {"text": rule.page, "markdown": rule.page},
        "defaultConfiguration": {"level": level(rule.level)},
    })
}

/// [3.27]
fn result(source: &Source, finding: &Finding) -> Value {
    let index = RULES.iter().position(|rule| rule == finding.rule);
    let mut location = location(source, finding.span);
    // [3.33]
    let mut logical = vec![json!({"fullyQualifiedName": format!("{}: {}", finding.object, finding.path), "kind": "member"})];
    if finding.object.is_empty() {
        logical.clear();
    }
    location["logicalLocations"] = Value::Array(logical);
    let related = finding.related.iter().enumerate().map(|(id, label)| {
        let mut related = self::location(source, label.span);
        related["id"] = json!(id);
        if !label.text.is_empty() {
            related["message"] = json!({"text": label.text});
        }
        related
    });
    let mut text = finding.message.clone();
    for more in [&finding.note].into_iter().filter(|note| !note.is_empty()).chain(&finding.help) {
        text.push_str(".\n");
        text.push_str(more);
    }
    json!({
        "ruleId": finding.rule.id,
        "ruleIndex": index,
        "level": level(finding.rule.level),
        "message": {"text": text},
        "locations": [location],
        "relatedLocations": related.collect::<Vec<_>>(),
        // [3.27.17] Stays the same when lines are added above.
        "partialFingerprints": {"fieldPath/v1": format!("{}/{}/{}", finding.rule.id, finding.object, finding.path)},
    })
}

/// [3.28], [3.29], [3.30]
fn location(source: &Source, span: Span) -> Value {
    let span = source.first_line(span);
    let (start, end) = (source.position(span.start), source.position(span.end));
    json!({"physicalLocation": {
        "artifactLocation": {"uri": uri(source.name())},
        "region": {
            "startLine": start.line, "startColumn": start.column, "endLine": end.line, "endColumn": end.column,
            "snippet": {"text": source.slice(span)},
        },
    }})
}

fn level(level: Level) -> &'static str {
    match level {
        Level::Error => "error",
        Level::Warning => "warning",
        Level::Note => "note",
    }
}

/// [3.4.3] A path as a URI reference: relative paths stay relative.
fn uri(name: &str) -> String {
    let name = name.strip_prefix("./").unwrap_or(name);
    let mut uri = String::new();
    if name.starts_with('/') {
        uri.push_str("file://");
    }
    for byte in name.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' | b'~' => uri.push(char::from(byte)),
            byte => uri.push_str(&format!("%{byte:02X}")),
        }
    }
    uri
}

/// `grace-zero` as `GraceZero`.
fn pascal_case(name: &str) -> String {
    let word = |word: &str| {
        let mut letters = word.chars();
        letters.next().map(|first| first.to_ascii_uppercase().to_string() + letters.as_str()).unwrap_or_default()
    };
    name.split('-').map(word).collect()
}
