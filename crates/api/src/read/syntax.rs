//! Says what a YAML syntax error usually comes from, and points at the line that is to be changed.
//!
//! The parser reports where it could not go on, which is often the line after the mistake.

use super::error::ReadError;
use crate::source::{Source, Span};

/// What the parser says of an alias that refers to nothing.
pub(super) const UNKNOWN_ANCHOR: &str = "unknown anchor";

/// The first character that YAML does not allow in a text.
pub(super) fn forbidden_character(source: &Source) -> Option<ReadError> {
    let allowed = |c: char| matches!(c, '\t' | '\n' | '\r' | '\u{85}') || !c.is_control() && !is_noncharacter(c);
    let (at, c) = source.text().char_indices().find(|(_, c)| !allowed(*c))?;
    Some(ReadError::Syntax {
        message: format!("the control character U+{:04X} is not allowed in YAML", u32::from(c)),
        span: Span::new(at, at + c.len_utf8()),
        help: Some(format!("inside double quotes it can be written as \"\\u{:04X}\"", u32::from(c))),
    })
}

fn is_noncharacter(c: char) -> bool {
    matches!(c, '\u{fffe}' | '\u{ffff}')
}

/// The error for what the parser says at `offset`.
pub(super) fn explain(source: &Source, info: &str, offset: usize) -> ReadError {
    let line = source.position(offset).line;
    if let Some(span) = tab_in_indentation(source, line) {
        return error("a tab cannot indent YAML", span, "indent with spaces, two for each level");
    }
    let here = Span::new(offset, offset);
    if info.contains("recursion limit") {
        return ReadError::TooDeep { span: here };
    }
    if info.contains("tab") {
        return error("a tab is not allowed here", here, "indent with spaces, two for each level");
    }
    if info.contains("simple key") {
        let span = line_before(source, offset).unwrap_or(here);
        return error("this line has no `: ` after its key", span, "write `key: value`, with a blank after the colon");
    }
    if info.contains("mapping values are not allowed") {
        return error(
            "a `:` that begins a value is not allowed here",
            here,
            "check the indentation of this line and the one before it; quote a value that has `: ` in it",
        );
    }
    if info.contains("did not find expected key") || info.contains("did not find expected '-'") {
        let span = source.line_span(line).map_or(here, |span| {
            let text = source.slice(span);
            Span::new(span.start + (text.len() - text.trim_start().len()), span.end)
        });
        return error(
            "this line is not indented like the lines that it belongs to",
            span,
            "entries of one map or list begin in the same column",
        );
    }
    if info.contains("unexpected end of stream") && info.contains("quoted") {
        return error("this quote is never closed", here, "end the text with the same kind of quote");
    }
    if info.contains("trailing content") {
        return error("there is text behind the closing quote", here, "put all of the text inside the quotes");
    }
    if let Some(c) = unexpected_character(source, info, offset) {
        return error(&format!("a value cannot begin with `{c}`"), here, "put the value in quotes");
    }
    if info.contains(UNKNOWN_ANCHOR) {
        return error("this alias has no anchor before it", here, "name the value first: `key: &name value`");
    }
    if info.contains("flow") || info.contains("',' or") || info.contains("illegal placement of ':'") {
        return error(
            "this list or map in brackets is not well formed",
            here,
            "check that every bracket is closed and entries have commas between them",
        );
    }
    ReadError::Syntax { message: format!("this is not YAML: {info}"), span: here, help: None }
}

fn error(message: &str, span: Span, help: &str) -> ReadError {
    ReadError::Syntax { message: message.to_owned(), span, help: Some(help.to_owned()) }
}

/// The blanks at the start of a line, where they hold a tab; also of the line before, since a tab can end a value.
fn tab_in_indentation(source: &Source, line: usize) -> Option<Span> {
    for line in [Some(line), line.checked_sub(1), Some(line + 1)].into_iter().flatten() {
        let Some(span) = source.line_span(line) else {
            continue;
        };
        let text = source.slice(span);
        let indentation = text.len() - text.trim_start_matches([' ', '\t']).len();
        if text.len() > indentation && text[..indentation].contains('\t') {
            let tab = text.find('\t').unwrap_or(0);
            return Some(Span::new(span.start + tab, span.start + indentation));
        }
    }
    None
}

/// The last line before `offset` that is neither blank nor a comment, without its indentation.
fn line_before(source: &Source, offset: usize) -> Option<Span> {
    let mut line = source.position(offset).line;
    while line > 1 {
        line -= 1;
        let span = source.line_span(line)?;
        let text = source.slice(span);
        let trimmed = text.trim_start();
        if !trimmed.is_empty() && !trimmed.starts_with('#') {
            return Some(Span::new(span.start + text.len() - trimmed.len(), span.end));
        }
    }
    None
}

fn unexpected_character(source: &Source, info: &str, offset: usize) -> Option<char> {
    let c = source.text().get(offset..)?.chars().next()?;
    (info.contains("unexpected character") && matches!(c, '@' | '`' | '%' | '|' | '>')).then_some(c)
}
