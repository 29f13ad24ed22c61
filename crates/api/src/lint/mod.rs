//! Rules over manifests: what will go wrong in the life of a pod, found without running it.
//!
//! ```text
//!  Source ── read ──► documents ── shape ──► PodView ── RULES ──► findings ── silence ──► Report ──► text, JSON, SARIF
//!                                              ▲
//!                          Images, Measured ───┘   (what the caller knows of the world)
//! ```
//!
//! Validation says what Kubernetes refuses; most rules here are about manifests that it takes and that then do not do
//! what their author thinks. Invariant: a rule speaks only where it is sure. What it cannot tell it does not say, so a
//! finding is worth reading. Pure: whoever calls brings the text, and answers for images and measured runs.

mod drain;
mod facts;
mod grace;
mod hooks;
mod json;
mod ports;
mod probes;
mod process;
mod programs;
mod rule;
mod sarif;
mod services;
mod shape;
mod shell;
mod sidecars;
mod silence;
mod view;

pub use self::facts::{ImageConfig, ImageFile, Images, Measured, MeasuredContainer, NoImages};
pub use self::json::json;
pub use self::rule::{Level, RULES, Rule};
pub use self::sarif::sarif;
pub use self::silence::{IGNORE_ANNOTATION, IGNORE_COMMENT};
use self::view::{PodView, Sink};
use crate::defaults::DEFAULT_NAMESPACE;
use crate::diagnostic::{Diagnostic, Label, Severity};
use crate::path::{FieldPath, Segment};
use crate::read::{Document, ReadError, read};
use crate::source::{Source, Span};

/// The most findings of one text; more would not be read.
pub const FINDINGS_MAX: usize = 1_000;

/// What begins an action of a template.
pub(crate) const TEMPLATE_ACTION: &str = "{{";

/// One thing that a rule has found.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// The rule.
    pub rule: &'static Rule,
    /// What was found, in one line.
    pub message: String,
    /// The field that it is about.
    pub path: FieldPath,
    /// Where that stands.
    pub span: Span,
    /// What is said under the place; may be empty.
    pub note: String,
    /// Other places that explain it.
    pub related: Vec<Label>,
    /// What follows from it, and what to do about it.
    pub help: Vec<String>,
    /// Kind and name of the object; empty where the text has none.
    pub object: String,
    /// The container that it is about, where it is about one.
    pub container: Option<String>,
}

impl Finding {
    /// The same for a person.
    pub fn diagnostic(&self) -> Diagnostic {
        let severity = match self.rule.level {
            Level::Error => Severity::Error,
            Level::Warning => Severity::Warning,
            Level::Note => Severity::Note,
        };
        let diagnostic = Diagnostic { severity, ..Diagnostic::error(&self.message) };
        let mut diagnostic = diagnostic.code(self.rule.id).about(self.path.clone()).at(self.span, &self.note);
        diagnostic.related.clone_from(&self.related);
        diagnostic.help.clone_from(&self.help);
        diagnostic
    }
}

/// Which rules are to look.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// These alone; all where there are none.
    pub only: Vec<&'static Rule>,
    /// All but these.
    pub ignored: Vec<&'static Rule>,
}

impl Selection {
    /// Whether a rule is to look.
    pub fn has(&self, rule: &Rule) -> bool {
        (self.only.is_empty() || self.only.contains(&rule)) && !self.ignored.contains(&rule)
    }
}

/// What the caller knows and wants.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// The images that are at hand.
    pub images: &'a dyn Images,
    /// Runs that were measured.
    pub measured: &'a [Measured],
    /// Which rules are to look.
    pub selection: &'a Selection,
}

/// What was found in one text.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// What was found, in the order of the text.
    pub findings: Vec<Finding>,
    /// What was found and is silenced in the text.
    pub silenced: Vec<Finding>,
    /// Why the text, or a part of it, could not be read.
    pub unreadable: Vec<Diagnostic>,
    /// Whether all that cannot be read are documents that are no Kubernetes objects, such as the values of a chart.
    pub is_foreign: bool,
    /// Whether the text is a template that makes a manifest, such as those of a chart. Nothing is looked for in it.
    pub is_template: bool,
    /// How many objects were read.
    pub objects: usize,
    /// How many of them describe pods.
    pub pods: usize,
}

impl Report {
    /// The level of the worst finding.
    pub fn worst(&self) -> Option<Level> {
        self.findings.iter().map(|finding| finding.rule.level).max()
    }
}

/// Looks at all objects of a text.
pub fn lint(source: &Source, context: &Context<'_>) -> Report {
    let reading = read(source);
    let mut report = Report { objects: reading.documents.len(), ..Report::default() };
    let mut found = Vec::new();
    let is_foreign = |error: &ReadError| matches!(error, ReadError::NotAnObject { .. } | ReadError::MissingType { .. });
    report.is_foreign = reading.documents.is_empty() && !reading.errors.is_empty() && reading.errors.iter().all(is_foreign);
    // `{{ .Values.image }}` is a map with a map as its key.
    let is_action = |error: &ReadError| matches!(error, ReadError::BadKey { .. } | ReadError::Syntax { .. });
    report.is_template = source.text().contains(TEMPLATE_ACTION) && reading.errors.iter().any(is_action);
    if report.is_template {
        report.unreadable = reading.errors.iter().filter(|error| is_action(error)).take(1).map(ReadError::diagnostic).collect();
        return report;
    }
    for error in &reading.errors {
        match error {
            ReadError::DuplicateKey { .. } | ReadError::BadKey { .. } | ReadError::BadMerge { .. } | ReadError::BadScalar { .. } => {
                found.extend(shape::of_text(error));
            }
            ReadError::Empty => {}
            ReadError::Syntax { .. }
            | ReadError::AliasLoop { .. }
            | ReadError::AliasBomb { .. }
            | ReadError::TooDeep { .. }
            | ReadError::TooManyNodes { .. }
            | ReadError::TooManyDocuments { .. }
            | ReadError::NotAnObject { .. }
            | ReadError::MissingType { .. } => report.unreadable.push(error.diagnostic()),
        }
    }
    let mut silence = silence::of_comments(source, &mut found);
    let services = services::of_documents(&reading.documents);
    for document in &reading.documents {
        report.pods += usize::from(of_object(document, context, &services, &mut found));
        silence.add_annotations(document, &mut found);
    }
    found.retain(|finding| context.selection.has(finding.rule));
    settle(&mut found);
    (report.silenced, report.findings) = found.into_iter().partition(|finding| silence.covers(source, finding));
    report
}

/// Looks at one object; whether it describes pods.
fn of_object(document: &Document, context: &Context<'_>, services: &[services::Service], found: &mut Vec<Finding>) -> bool {
    let Some(pod) = shape::of_object(document, found) else { return false };
    let measured = measured(document, context.measured);
    let view = PodView::new(document, &pod, context.images, services, measured.as_ref());
    for rule in RULES {
        if let Some(check) = rule.check.filter(|_| context.selection.has(rule)) {
            check(&view, &mut Sink { rule, document, found });
        }
    }
    true
}

/// What all runs of an object's pods have shown together: in its namespace; in `default` if it names none; or else in the first other
/// namespace in which there were any.
fn measured(document: &Document, runs: &[Measured]) -> Option<Measured> {
    let name = document.name();
    let namespace =
        document.positions.get("metadata").and_then(|metadata| metadata.get("namespace")?.text()).filter(|name| !name.is_empty());
    let of_object = || runs.iter().filter(|run| is_pod_of(&run.pod, name));
    let namespace = match namespace {
        Some(namespace) => namespace,
        None if of_object().any(|run| run.namespace == DEFAULT_NAMESPACE) => DEFAULT_NAMESPACE,
        None => of_object().map(|run| run.namespace.as_str()).min()?,
    };
    let mut runs = of_object().filter(|run| run.namespace == namespace);
    let mut all = runs.next()?.clone();
    runs.for_each(|run| all.merge(run));
    Some(all)
}

/// Whether a pod of that name is one of an object's: its own name, or with what a controller adds to it. What is added
/// has no vowels, so the pods of `web-shop` are not taken for those of `web`.
fn is_pod_of(pod: &str, object: Option<&str>) -> bool {
    let Some(rest) = object.and_then(|name| pod.strip_prefix(name.trim_end_matches('-'))) else { return false };
    let is_added = |part: &str| part.chars().all(|c| c.is_ascii_digit() || (c.is_ascii_lowercase() && !"aeiou".contains(c)));
    rest.is_empty() || rest.strip_prefix('-').is_some_and(|rest| rest.split('-').all(is_added))
}

/// Puts findings in order, and leaves out what is said twice.
fn settle(found: &mut Vec<Finding>) {
    found.sort_by(|a, b| (a.span.start, a.rule.id, &a.message).cmp(&(b.span.start, b.rule.id, &b.message)));
    found.dedup_by(|a, b| a.rule == b.rule && a.span == b.span && a.message == b.message);
    // What a rule explains need not be said in the words of the API too.
    let explained: Vec<Span> = found.iter().filter(|finding| finding.rule.check.is_some()).map(|finding| finding.span).collect();
    let is_general = |finding: &Finding| matches!(finding.rule.id, "USH003" | "USH004");
    found.retain(|finding| !(is_general(finding) && explained.contains(&finding.span)));
    found.truncate(FINDINGS_MAX);
}

/// Kind and name of an object.
fn object_name(document: &Document) -> String {
    match document.name() {
        Some(name) => format!("{} {name}", document.kind),
        None => document.kind.clone(),
    }
}

/// The name of the container that a path is in.
fn container_of(document: &Document, path: &FieldPath) -> Option<String> {
    let is_list = |segment: &Segment| matches!(segment, Segment::Field(name) if name == "containers" || name == "initContainers");
    let at = path.segments().iter().position(is_list)?;
    let container = path.segments().get(..at + 2)?.iter().fold(FieldPath::root(), |path, segment| path.with(segment.clone()));
    let place = document.positions.descendant(&container.child("name"))?;
    place.text().map(str::to_owned)
}
