//! One finding about a manifest, with the place it is about, and its rendering with the source lines underlined.
//!
//! A [`Diagnostic`] is what a person reads; machines read the errors that it is made from
//! ([`FieldError`](crate::FieldError), [`SchemaError`](crate::SchemaError)).

use annotate_snippets::{Annotation, AnnotationKind, Element, Group, Level, Renderer, Snippet};

use crate::path::FieldPath;
use crate::source::{Source, Span};

/// The most findings that one rendering shows; the rest are counted. A file that is wrong all over does not fill the
/// screen, and the first errors often cause the later ones.
pub const RENDERED_DIAGNOSTICS_MAX: usize = 50;

/// The longest source line shown around a place, in bytes; beyond that the line is cut out of the rendering, so that a
/// manifest on one line does not print as megabytes.
const SHOWN_LINE_BYTES_MAX: usize = 400;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The manifest is refused.
    Error,
    /// The manifest is accepted, but does not mean what its author may think.
    Warning,
    /// The manifest is accepted; its author may want to know this.
    Note,
}

/// Whether the rendering may use terminal colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colour {
    /// Plain text.
    Plain,
    /// With ANSI escape sequences.
    Ansi,
}

/// A place in the source and what is to be said of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    /// The place.
    pub span: Span,
    /// What is said under it; may be empty.
    pub text: String,
}

/// One finding about a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// The rule that found it, where the rules have names: shown behind the severity, as in `warning[USH101]`.
    pub code: Option<&'static str>,
    /// What is wrong, in one line.
    pub message: String,
    /// The field that it is about, where there is one.
    pub path: Option<FieldPath>,
    /// The place that it is about; `None` where the finding has no place, such as an empty file.
    pub primary: Option<Label>,
    /// Other places that explain it, such as the first of two equal keys.
    pub related: Vec<Label>,
    /// What to do about it.
    pub help: Vec<String>,
}

impl Diagnostic {
    /// An error without a place.
    pub fn error(message: impl Into<String>) -> Self {
        let severity = Severity::Error;
        Self { severity, code: None, message: message.into(), path: None, primary: None, related: Vec::new(), help: Vec::new() }
    }

    /// A warning without a place.
    pub fn warning(message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(message) }
    }

    /// A note without a place.
    pub fn note(message: impl Into<String>) -> Self {
        Self { severity: Severity::Note, ..Self::error(message) }
    }

    /// The same finding, under the name of a rule.
    #[must_use]
    pub fn code(mut self, code: &'static str) -> Self {
        self.code = Some(code);
        self
    }

    /// The same finding, about this place.
    #[must_use]
    pub fn at(mut self, span: Span, text: impl Into<String>) -> Self {
        self.primary = Some(Label { span, text: text.into() });
        self
    }

    /// The same finding, about this field.
    #[must_use]
    pub fn about(mut self, path: FieldPath) -> Self {
        self.path = Some(path);
        self
    }

    /// The same finding, with one more place that explains it.
    #[must_use]
    pub fn see(mut self, span: Span, text: impl Into<String>) -> Self {
        self.related.push(Label { span, text: text.into() });
        self
    }

    /// The same finding, with one more line of help.
    #[must_use]
    pub fn help(mut self, text: impl Into<String>) -> Self {
        self.help.push(text.into());
        self
    }
}

/// Renders findings in the order given, each with its source line underlined. At most [`RENDERED_DIAGNOSTICS_MAX`] are
/// shown. There is an empty line between two findings; the text ends with a line feed, or is empty where there are none.
pub fn render(source: &Source, diagnostics: &[Diagnostic], colour: Colour) -> String {
    let renderer = match colour {
        Colour::Plain => Renderer::plain(),
        Colour::Ansi => Renderer::styled(),
    };
    let shown = &diagnostics[..diagnostics.len().min(RENDERED_DIAGNOSTICS_MAX)];
    let mut parts: Vec<String> = shown.iter().map(|diagnostic| render_one(source, diagnostic, &renderer)).collect();
    if diagnostics.len() > shown.len() {
        parts.push(format!("and {} more", diagnostics.len() - shown.len()));
    }
    if parts.is_empty() {
        return String::new();
    }
    parts.join("\n\n") + "\n"
}

fn render_one(source: &Source, diagnostic: &Diagnostic, renderer: &Renderer) -> String {
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
        Severity::Note => Level::NOTE,
    };
    let title = level.primary_title(printable(&diagnostic.message));
    let title = match diagnostic.code {
        Some(code) => title.id(code),
        None => title,
    };
    let help: Vec<String> = diagnostic.help.iter().map(|text| printable(text)).collect();
    let help = help.into_iter().map(|text| Element::from(Level::HELP.message(text)));
    let Some(primary) = &diagnostic.primary else {
        let place = annotate_snippets::Origin::path(source.name());
        return renderer.render(&[title.element(place).elements(help)]);
    };
    let mut windows = vec![Window::around(source, primary, AnnotationKind::Primary)];
    for label in &diagnostic.related {
        let window = Window::around(source, label, AnnotationKind::Context);
        match windows.iter_mut().find(|known| known.line == window.line) {
            Some(known) => known.labels.extend(window.labels),
            None => windows.push(window),
        }
    }
    let group: Group<'_> = title.elements(windows.into_iter().map(|window| window.into_snippet(source.name())));
    renderer.render(&[group.elements(help)])
}

/// One source line with what is to be said of it.
struct Window {
    line: usize,
    text: String,
    labels: Vec<(AnnotationKind, std::ops::Range<usize>, String)>,
}

impl Window {
    fn around(source: &Source, label: &Label, kind: AnnotationKind) -> Self {
        let span = source.first_line(label.span);
        let line = source.position(span.start).line;
        let whole = source.line_span(line).unwrap_or(span);
        let shown = if whole.end - whole.start > SHOWN_LINE_BYTES_MAX { span } else { whole };
        let end = floor_char(source.text(), shown.end.min(shown.start + SHOWN_LINE_BYTES_MAX));
        let shown = Span::new(shown.start, end);
        let range = (span.start - shown.start)..(span.end.min(shown.end) - shown.start);
        let text = printable_same_length(source.slice(shown));
        Self { line, text, labels: vec![(kind, range, printable(&label.text))] }
    }

    fn into_snippet<'a>(self, name: &'a str) -> Element<'a> {
        let annotations = self.labels.into_iter().map(|(kind, range, text)| -> Annotation<'a> {
            let annotation = kind.span(range);
            if text.is_empty() { annotation } else { annotation.label(text) }
        });
        Snippet::source(self.text).path(name).line_start(self.line).fold(false).annotations(annotations).into()
    }
}

/// The offset itself or the nearest one before it that is a character boundary.
fn floor_char(text: &str, offset: usize) -> usize {
    (0..=offset.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}

/// `text` on one line and without control characters, which could otherwise steer the reader's terminal.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// The same, keeping the length in bytes, so that spans stay right.
fn printable_same_length(text: &str) -> String {
    let blank = |c: char| {
        if c.is_control() && c != '\t' { " ".repeat(c.len_utf8()) } else { c.to_string() }
    };
    text.chars().map(blank).collect()
}
