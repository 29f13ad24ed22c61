//! The text of one manifest file, and places in it.
//!
//! Not a file reader: this crate opens nothing, the caller brings the bytes. Invariant: a [`Span`] made by this crate
//! lies inside the text of its [`Source`] and on character boundaries.

use thiserror::Error;

/// The largest manifest text accepted, in bytes: the limit that the Kubernetes API server sets on a request body, so
/// nothing larger could be sent to a cluster either.
pub const MANIFEST_BYTES_MAX: usize = 3 * 1024 * 1024;

/// Why bytes cannot be the text of a manifest.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum SourceError {
    /// The text is over [`MANIFEST_BYTES_MAX`].
    #[error("manifest {name} has {bytes} bytes, more than the {MANIFEST_BYTES_MAX} allowed")]
    TooLarge {
        /// Name of the file.
        name: String,
        /// Its size in bytes.
        bytes: usize,
    },
    /// The bytes are not UTF-8.
    #[error("manifest {name} is not UTF-8: bad byte at offset {offset} (line {line}); save it as UTF-8")]
    NotUtf8 {
        /// Name of the file.
        name: String,
        /// Offset of the first bad byte.
        offset: usize,
        /// Its line, from 1.
        line: usize,
    },
}

/// A range of bytes in the text of a [`Source`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Span {
    /// First byte.
    pub start: usize,
    /// One past the last byte; at least `start`.
    pub end: usize,
}

impl Span {
    /// The range from `start` to `end`; an `end` before the `start` gives an empty range.
    pub fn new(start: usize, end: usize) -> Self {
        Self { start, end: end.max(start) }
    }

    /// Whether the range has no bytes.
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }
}

/// A place as an editor shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
}

/// The text of one manifest file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    name: String,
    text: String,
    line_starts: Vec<usize>,
}

impl Source {
    /// Takes the bytes of the file `name` (shown in messages only). A byte order mark at the start is dropped.
    ///
    /// # Errors
    /// The bytes are too many or not UTF-8.
    pub fn new(name: impl Into<String>, bytes: &[u8]) -> Result<Self, SourceError> {
        let name = name.into();
        if bytes.len() > MANIFEST_BYTES_MAX {
            return Err(SourceError::TooLarge { name, bytes: bytes.len() });
        }
        let text = match std::str::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => {
                let offset = error.valid_up_to();
                let line = 1 + bytes.iter().take(offset).filter(|byte| **byte == b'\n').count();
                return Err(SourceError::NotUtf8 { name, offset, line });
            }
        };
        let text = text.strip_prefix('\u{feff}').unwrap_or(text).to_owned();
        let line_starts = std::iter::once(0).chain(text.bytes().enumerate().filter(|(_, b)| *b == b'\n').map(|(i, _)| i + 1));
        let line_starts = line_starts.collect();
        Ok(Self { name, text, line_starts })
    }

    /// The name of the file.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The whole text, without a byte order mark.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The text in `span`; empty where the span does not fit this source.
    pub fn slice(&self, span: Span) -> &str {
        self.text.get(span.start..span.end).unwrap_or_default()
    }

    /// Line and column of a byte offset; an offset past the end is the end.
    pub fn position(&self, offset: usize) -> Position {
        let line = self.line_of(offset);
        let start = self.line_starts[line];
        let before = self.text.get(start..offset.min(self.text.len())).unwrap_or_default();
        Position { line: line + 1, column: before.chars().count() + 1 }
    }

    /// The span of one line, from 1, without its line end; `None` past the last line.
    pub fn line_span(&self, line: usize) -> Option<Span> {
        let start = *self.line_starts.get(line.checked_sub(1)?)?;
        let end = self.line_starts.get(line).map_or(self.text.len(), |next| next - 1);
        let end = if self.text[start..end].ends_with('\r') { end - 1 } else { end };
        Some(Span::new(start, end))
    }

    /// `span` cut to its first line that has something in it, without blanks at its end, and at least one character
    /// wide where the line has one: what can be underlined.
    pub fn first_line(&self, span: Span) -> Span {
        let line = self.line_span(self.line_of(span.start) + 1).unwrap_or(span);
        let start = span.start.clamp(line.start, line.end);
        let text = self.text.get(start..span.end.clamp(start, line.end)).unwrap_or_default();
        let end = start + text.trim_end().len();
        if end > start {
            return Span::new(start, end);
        }
        let next = self.text[start..line.end].chars().next().map_or(0, char::len_utf8);
        Span::new(start, start + next)
    }

    /// Index (from 0) of the line of an offset.
    fn line_of(&self, offset: usize) -> usize {
        self.line_starts.partition_point(|start| *start <= offset).saturating_sub(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_characters_from_one() {
        let source = Source::new("p", "a: é\r\nb: 1".as_bytes()).expect("valid");
        assert_eq!(source.position(3), Position { line: 1, column: 4 });
        assert_eq!(source.position(5), Position { line: 1, column: 5 });
        assert_eq!(source.position(7), Position { line: 2, column: 1 });
        assert_eq!(source.position(999), Position { line: 2, column: 5 });
        assert_eq!(source.line_span(1), Some(Span::new(0, 5)));
    }

    #[test]
    fn a_byte_order_mark_is_dropped() {
        assert_eq!(Source::new("p", "\u{feff}a".as_bytes()).expect("valid").text(), "a");
    }

    #[test]
    fn bad_input_is_named_with_its_place() {
        let error = Source::new("p.yaml", b"a: 1\nb: \xff").expect_err("not UTF-8");
        assert_eq!(error.to_string(), "manifest p.yaml is not UTF-8: bad byte at offset 8 (line 2); save it as UTF-8");
        let error = Source::new("p.yaml", &vec![b' '; MANIFEST_BYTES_MAX + 1]).expect_err("too large");
        assert_eq!(error.to_string(), "manifest p.yaml has 3145729 bytes, more than the 3145728 allowed");
    }
}
