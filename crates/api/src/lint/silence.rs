//! Findings that the author of a manifest has silenced in its text: by an annotation or by a comment.

use super::{Finding, Rule, container_of, object_name};
use crate::path::FieldPath;
use crate::read::Document;
use crate::source::{Source, Span};
use crate::template::Template;

/// The annotation that silences rules, on the object or on its template: ids or names, with commas. With a dot and the
/// name of a container behind it, it is about that container alone.
pub const IGNORE_ANNOTATION: &str = "lint.usher.dev/ignore";

/// The beginning of a comment that silences rules on its line, or, where the line has nothing else, on the next one.
pub const IGNORE_COMMENT: &str = "lint.usher.dev/ignore:";

/// Silences every rule.
const ALL: &str = "all";

/// What is silenced in a text.
#[derive(Debug, Default)]
pub(super) struct Silence {
    /// By line, from 1.
    lines: Vec<(usize, Rules)>,
    /// By object: the span of the object, and the container where it is about one.
    objects: Vec<(Span, Option<String>, Rules)>,
}

/// Rules that are silenced.
#[derive(Debug)]
enum Rules {
    All,
    Some(Vec<&'static Rule>),
}

impl Rules {
    fn has(&self, rule: &Rule) -> bool {
        match self {
            Self::All => true,
            Self::Some(rules) => rules.contains(&rule),
        }
    }
}

/// Reads the comments of a text.
pub(super) fn of_comments(source: &Source, found: &mut Vec<Finding>) -> Silence {
    let mut silence = Silence::default();
    for line in 1.. {
        let Some(span) = source.line_span(line) else { break };
        let text = source.slice(span);
        let Some((before, rest)) = text.split_once(IGNORE_COMMENT) else { continue };
        let Some(code) = before.trim_end().strip_suffix('#') else { continue };
        let rest = rest.trim_start();
        let at = span.start + text.len() - rest.len();
        let rules = parse(rest, Span::new(at, at + rest.trim_end().len()), None, &FieldPath::root(), found);
        let line = if code.trim().is_empty() { next_line(source, line) } else { line };
        silence.lines.push((line, rules));
    }
    silence
}

/// The next line with something other than a comment in it.
fn next_line(source: &Source, line: usize) -> usize {
    let has_content = |line: &usize| {
        source.line_span(*line).is_none_or(|span| {
            let text = source.slice(span).trim_start();
            !text.is_empty() && !text.starts_with('#')
        })
    };
    (line + 1..).find(has_content).unwrap_or(line)
}

impl Silence {
    /// Reads the annotations of an object and its template.
    pub(super) fn add_annotations(&mut self, document: &Document, found: &mut Vec<Finding>) {
        let mut homes = vec![FieldPath::new("metadata")];
        homes.extend(Template::of(document).filter(|template| !template.path.is_root()).map(|template| template.path.child("metadata")));
        for home in homes {
            let path = home.child("annotations");
            let Some(annotations) = document.positions.descendant(&path) else { continue };
            for entry in annotations.entries() {
                let container = match entry.key.strip_prefix(IGNORE_ANNOTATION) {
                    Some("") => None,
                    Some(rest) if rest.starts_with('.') => Some(rest[1..].to_owned()),
                    Some(_) | None => continue,
                };
                let Some(text) = entry.value.text() else { continue };
                let rules = parse(text, entry.value.span, Some(document), &path.key(entry.key.clone()), found);
                self.objects.push((document.positions.span, container, rules));
            }
        }
    }

    /// Whether a finding is silenced.
    pub(super) fn covers(&self, source: &Source, finding: &Finding) -> bool {
        let line = source.position(source.first_line(finding.span).start).line;
        let by_line = self.lines.iter().any(|(silent, rules)| *silent == line && rules.has(finding.rule));
        by_line
            || self.objects.iter().any(|(object, container, rules)| {
                let inside = object.start <= finding.span.start && finding.span.start <= object.end.max(object.start);
                inside && rules.has(finding.rule) && (container.is_none() || *container == finding.container)
            })
    }
}

/// Reads ids and names of rules, and tells of words that are neither.
fn parse(text: &str, span: Span, document: Option<&Document>, path: &FieldPath, found: &mut Vec<Finding>) -> Rules {
    let mut rules = Vec::new();
    for word in text.split([',', ' ', '\t', '\r']).filter(|word| !word.is_empty()) {
        if word.eq_ignore_ascii_case(ALL) {
            return Rules::All;
        }
        match Rule::find(word) {
            Some(rule) => rules.push(rule),
            None => found.extend(unknown(word, span, document, path)),
        }
    }
    Rules::Some(rules)
}

fn unknown(word: &str, span: Span, document: Option<&Document>, path: &FieldPath) -> Option<Finding> {
    let names = super::RULES.iter().flat_map(|rule| [rule.id, rule.name]);
    let near = crate::nearest::nearest(word, names);
    Some(Finding {
        rule: Rule::find("USH005")?,
        message: format!("there is no rule {word:?} to ignore"),
        path: path.clone(),
        span,
        note: near.map(|near| format!("did you mean `{near}`?")).unwrap_or_default(),
        related: Vec::new(),
        help: vec!["`usher lint --rules` lists all rules".to_owned()],
        object: document.map(object_name).unwrap_or_default(),
        container: document.and_then(|document| container_of(document, path)),
    })
}
