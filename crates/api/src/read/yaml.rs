//! YAML text to [`Node`]s: anchors, aliases and merge keys are expanded, scalars resolved, duplicate keys reported.
//!
//! Invariant: work and memory are bounded by [`NODES_MAX`], [`ALIAS_NODES_MAX`] and [`DEPTH_MAX`], whatever the text
//! says.

use std::collections::BTreeMap;

use saphyr_parser::{Event, Parser, ScalarStyle, StrInput, Tag as YamlTag};

use super::error::ReadError;
use super::flow::Shifted;
use super::node::{Data, Entry, Node};
use super::scalar::{self, Scalar, Tag};
use super::{ALIAS_NODES_MAX, DEPTH_MAX, DOCUMENTS_MAX, NODES_MAX, READ_ERRORS_MAX, syntax};
use crate::source::{Source, Span};

/// Reads all documents. What was read before a syntax error is kept; errors that do not end the reading are collected.
pub(super) fn read(source: &Source, errors: &mut Vec<ReadError>) -> Vec<Node> {
    if let Some(error) = syntax::forbidden_character(source) {
        errors.push(error);
        return Vec::new();
    }
    let mut shifted = Shifted::new(source.text());
    loop {
        let (documents, mut told, stopped) = read_shifted(source, &shifted);
        if stopped.is_some_and(|(said, character)| shifted.shift(&said, character)) {
            continue;
        }
        errors.append(&mut told);
        return documents;
    }
}

/// Documents, errors, and what the parser said, and at which character, if it could not go on.
type Read = (Vec<Node>, Vec<ReadError>, Option<(String, usize)>);

fn read_shifted(source: &Source, shifted: &Shifted<'_>) -> Read {
    let mut documents = Vec::new();
    let mut builder = Builder::new(source, shifted);
    if let Err(error) = builder.stream(&mut documents) {
        builder.errors.push(error);
    }
    (documents, builder.errors, builder.stopped)
}

struct Builder<'s> {
    source: &'s Source,
    shifted: &'s Shifted<'s>,
    parser: Parser<'s, StrInput<'s>>,
    /// What the parser said when it could not go on, and at which character of the shifted text.
    stopped: Option<(String, usize)>,
    offsets: Offsets,
    /// By the parser's number of the anchor; `None` while its value is still being read.
    anchors: BTreeMap<usize, Option<Node>>,
    nodes: usize,
    alias_nodes: usize,
    errors: Vec<ReadError>,
}

impl<'s> Builder<'s> {
    fn new(source: &'s Source, shifted: &'s Shifted<'s>) -> Self {
        Self {
            source,
            shifted,
            parser: Parser::new_from_str(shifted.text()),
            stopped: None,
            offsets: Offsets::new(source.text()),
            anchors: BTreeMap::new(),
            nodes: 0,
            alias_nodes: 0,
            errors: Vec::new(),
        }
    }

    fn stream(&mut self, documents: &mut Vec<Node>) -> Result<(), ReadError> {
        loop {
            match self.next()? {
                (Event::StreamEnd, _) => return Ok(()),
                (Event::DocumentStart(_), span) => {
                    if documents.len() == DOCUMENTS_MAX {
                        return Err(ReadError::TooManyDocuments { span });
                    }
                    self.anchors.clear();
                    let first = self.next()?;
                    documents.push(self.node(first, 0)?);
                }
                _ => {}
            }
        }
    }

    /// Collects an error that does not end the reading.
    fn tell(&mut self, error: ReadError) {
        if self.errors.len() < READ_ERRORS_MAX {
            self.errors.push(error);
        }
    }

    fn next(&mut self) -> Result<(Event<'s>, Span), ReadError> {
        match self.parser.next_event() {
            Some(Ok((event, span))) => {
                let span = Span::new(self.byte(span.start.index()), self.byte(span.end.index()));
                Ok((event, span))
            }
            Some(Err(error)) => {
                let offset = self.byte(error.marker().index());
                self.stopped = Some((error.info().to_owned(), error.marker().index()));
                Err(syntax::explain(self.source, error.info(), offset))
            }
            None => Ok((Event::StreamEnd, Span::default())),
        }
    }

    /// The byte of the source that a character of the parser's is.
    fn byte(&self, character: usize) -> usize {
        self.offsets.byte(self.shifted.original(character))
    }

    fn node(&mut self, (event, span): (Event<'s>, Span), depth: usize) -> Result<Node, ReadError> {
        if depth > DEPTH_MAX {
            return Err(ReadError::TooDeep { span });
        }
        self.nodes += 1;
        if self.nodes > NODES_MAX {
            return Err(ReadError::TooManyNodes { span });
        }
        let (anchor, node) = match event {
            Event::Alias(anchor) => return self.alias(anchor, span),
            Event::Scalar(text, style, anchor, tag) => (anchor, self.scalar(&text, style, tag.as_deref(), span)),
            Event::SequenceStart(anchor, _) => {
                self.open(anchor);
                (anchor, self.list(span, depth)?)
            }
            Event::MappingStart(anchor, _) => {
                self.open(anchor);
                (anchor, self.map(span, depth)?)
            }
            // The parser gives a value after a document start and after a key.
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd
            | Event::SequenceEnd
            | Event::MappingEnd => (0, Node { span, data: Data::Null }),
        };
        if anchor > 0 {
            self.anchors.insert(anchor, Some(node.clone()));
        }
        Ok(node)
    }

    fn open(&mut self, anchor: usize) {
        if anchor > 0 {
            self.anchors.insert(anchor, None);
        }
    }

    fn alias(&mut self, anchor: usize, span: Span) -> Result<Node, ReadError> {
        let node = match self.anchors.get(&anchor) {
            Some(Some(node)) => node,
            Some(None) => return Err(ReadError::AliasLoop { span }),
            // The parser lets an alias refer to an earlier document.
            None => return Err(syntax::explain(self.source, syntax::UNKNOWN_ANCHOR, span.start)),
        };
        self.alias_nodes += size(node);
        if self.alias_nodes > ALIAS_NODES_MAX {
            return Err(ReadError::AliasBomb { span });
        }
        Ok(Node { span, data: node.data.clone() })
    }

    fn list(&mut self, span: Span, depth: usize) -> Result<Node, ReadError> {
        let mut items = Vec::new();
        let end = loop {
            match self.next()? {
                (Event::SequenceEnd, end) => break end,
                event => items.push(self.node(event, depth + 1)?),
            }
        };
        let span = self.collection_span(span, end, items.last().map(|item| item.span));
        Ok(Node { span, data: Data::List(items) })
    }

    fn map(&mut self, span: Span, depth: usize) -> Result<Node, ReadError> {
        let mut entries = Entries::default();
        let mut last = None;
        let end = loop {
            let (event, key_span) = match self.next()? {
                (Event::MappingEnd, end) => break end,
                event => event,
            };
            let merge = matches!(&event, Event::Scalar(text, ScalarStyle::Plain, _, None) if text == "<<");
            let key_node = self.node((event, key_span), depth + 1)?;
            let next = self.next()?;
            let value = self.node(next, depth + 1)?;
            last = Some(value.span);
            if merge {
                self.merge(&mut entries, value);
                continue;
            }
            let Some(key) = self.key(&key_node) else {
                continue;
            };
            let entry = Entry { key, key_span: key_node.span, value };
            if let Some(first) = entries.set(entry, Origin::Written) {
                let key = self.key(&key_node).unwrap_or_default();
                self.tell(ReadError::DuplicateKey { key, span: key_node.span, first });
            }
        };
        let span = self.collection_span(span, end, last);
        Ok(Node { span, data: Data::Map(entries.list) })
    }

    /// Adds the entries of a `<<`. As in the reference, a merge replaces what was written before it in the map, and is
    /// replaced by what is written after it; of several merged maps the first wins.
    fn merge(&mut self, entries: &mut Entries, value: Node) {
        let span = value.span;
        let maps = match value.data {
            Data::Map(merged) => vec![merged],
            Data::List(items) => {
                let maps = items.into_iter().rev().map(|item| match item.data {
                    Data::Map(merged) => Some(merged),
                    Data::Null | Data::Bool(_) | Data::Int(_) | Data::Float(_) | Data::Text(_) | Data::List(_) => None,
                });
                match maps.collect() {
                    Some(maps) => maps,
                    None => return self.tell(ReadError::BadMerge { span }),
                }
            }
            Data::Null | Data::Bool(_) | Data::Int(_) | Data::Float(_) | Data::Text(_) => {
                return self.tell(ReadError::BadMerge { span });
            }
        };
        for entry in maps.into_iter().flatten() {
            entries.set(entry, Origin::Merged);
        }
    }

    /// The text of a key; numbers and booleans are written out, as the way through JSON does.
    fn key(&mut self, node: &Node) -> Option<String> {
        match &node.data {
            Data::Text(text) => Some(text.clone()),
            Data::Bool(value) => Some(value.to_string()),
            Data::Int(value) => Some(value.to_string()),
            Data::Float(value) => Some(value.to_string()),
            Data::Null | Data::List(_) | Data::Map(_) => {
                self.tell(ReadError::BadKey { found: node.describe(), span: node.span });
                None
            }
        }
    }

    fn scalar(&mut self, text: &str, style: ScalarStyle, tag: Option<&YamlTag>, span: Span) -> Node {
        let span = self.scalar_span(style, span);
        let resolved = match tag.map(standard_tag) {
            None if style == ScalarStyle::Plain => Some(scalar::resolve(text)),
            None | Some(None) => Some(Scalar::Text(text.to_owned())),
            Some(Some(tag)) => scalar::resolve_tagged(tag, text),
        };
        let data = match resolved {
            Some(Scalar::Null) => Data::Null,
            Some(Scalar::Bool(value)) => Data::Bool(value),
            Some(Scalar::Int(value)) => Data::Int(value),
            Some(Scalar::Float(value)) => Data::Float(value),
            Some(Scalar::Text(text)) => Data::Text(text),
            Some(Scalar::NotJson) => {
                let message = format!("`{text}` is a number that JSON cannot hold, so Kubernetes refuses it");
                self.tell(ReadError::BadScalar { message, span });
                Data::Null
            }
            None => {
                let tag = tag.map(|tag| tag.suffix.clone()).unwrap_or_default();
                let message = format!("{text:?} is no value of type `!!{tag}`");
                self.tell(ReadError::BadScalar { message, span });
                Data::Null
            }
        };
        Node { span, data }
    }

    /// The place of a scalar. The parser's range of a quoted scalar runs on into what follows it on its line, so the
    /// closing quote is looked for here.
    fn scalar_span(&self, style: ScalarStyle, span: Span) -> Span {
        let quote = match style {
            ScalarStyle::SingleQuoted => '\'',
            ScalarStyle::DoubleQuoted => '"',
            ScalarStyle::Plain | ScalarStyle::Literal | ScalarStyle::Folded => return span,
        };
        let text = self.source.slice(span);
        let Some(open) = text.find(quote) else {
            return span;
        };
        let mut chars = text[open + 1..].char_indices().peekable();
        while let Some((at, c)) = chars.next() {
            let escaped =
                (c == '\\' && quote == '"') || (c == quote && quote == '\'' && chars.peek().is_some_and(|(_, next)| *next == quote));
            if escaped {
                chars.next();
            } else if c == quote {
                return Span::new(span.start, span.start + open + 1 + at + 1);
            }
        }
        span
    }

    /// The place of a list or map, from its first character to the end of its last value. The parser gives the end of
    /// a block collection only as the start of what follows it.
    fn collection_span(&self, start: Span, end: Span, last: Option<Span>) -> Span {
        let flow = self.source.slice(start).ends_with(['[', '{']);
        let end = if flow { end.end } else { last.map_or(start.end, |last| last.end.max(start.end)) };
        Span::new(start.start, end)
    }
}

/// Entries of a map under construction, with an index so that a map with many keys stays fast.
#[derive(Default)]
struct Entries {
    list: Vec<Entry>,
    index: BTreeMap<String, (usize, Origin)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Origin {
    Written,
    Merged,
}

impl Entries {
    /// Sets an entry; the last one wins. Gives the place of an earlier one of the same key where both were written.
    fn set(&mut self, entry: Entry, origin: Origin) -> Option<Span> {
        match self.index.get_mut(&entry.key) {
            Some((at, known)) => {
                let both_written = *known == Origin::Written && origin == Origin::Written;
                let first = both_written.then_some(self.list[*at].key_span);
                *known = origin;
                self.list[*at] = entry;
                first
            }
            None => {
                self.index.insert(entry.key.clone(), (self.list.len(), origin));
                self.list.push(entry);
                None
            }
        }
    }
}

/// The number of values in a value, itself included.
fn size(node: &Node) -> usize {
    match &node.data {
        Data::List(items) => 1 + items.iter().map(size).sum::<usize>(),
        Data::Map(entries) => 1 + entries.iter().map(|entry| 1 + size(&entry.value)).sum::<usize>(),
        Data::Null | Data::Bool(_) | Data::Int(_) | Data::Float(_) => 1,
        // Long texts count for more, so that a large text cannot be multiplied freely.
        Data::Text(text) => 1 + text.len() / 64,
    }
}

/// What a tag asks for; `None` for tags that are not of YAML's own types, which leave the scalar text.
fn standard_tag(tag: &YamlTag) -> Option<Tag> {
    if !tag.is_yaml_core_schema() {
        return None;
    }
    match tag.suffix.as_str() {
        "null" => Some(Tag::Null),
        "bool" => Some(Tag::Bool),
        "int" => Some(Tag::Int),
        "float" => Some(Tag::Float),
        "str" => Some(Tag::Text),
        "timestamp" => Some(Tag::Timestamp),
        "binary" => Some(Tag::Binary),
        _ => None,
    }
}

/// From the parser's character numbers to bytes.
enum Offsets {
    /// All characters are one byte.
    Ascii { len: usize },
    /// The byte offset of every character, and the length.
    Table(Vec<u32>),
}

impl Offsets {
    fn new(text: &str) -> Self {
        if text.is_ascii() {
            return Self::Ascii { len: text.len() };
        }
        // The text is at most a few MiB, so offsets fit.
        let clamp = |offset: usize| u32::try_from(offset).unwrap_or(u32::MAX);
        Self::Table(text.char_indices().map(|(at, _)| clamp(at)).chain(std::iter::once(clamp(text.len()))).collect())
    }

    fn byte(&self, character: usize) -> usize {
        match self {
            Self::Ascii { len } => character.min(*len),
            Self::Table(table) => table.get(character).or(table.last()).map_or(0, |offset| *offset as usize),
        }
    }
}
