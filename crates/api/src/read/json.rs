//! JSON text to [`Node`]s: one or more objects after another, as kubectl takes them.
//!
//! Not through `serde_json`, which gives no places. Same bounds as the YAML reader.

use super::error::ReadError;
use super::node::{Data, Entry, Node};
use super::{DEPTH_MAX, DOCUMENTS_MAX, NODES_MAX, READ_ERRORS_MAX};
use crate::source::{Source, Span};

/// Whether the text is meant as JSON: an object in braces whose first key is quoted, or that is empty.
pub(super) fn is_json(text: &str) -> bool {
    let Some(inside) = text.trim_start().strip_prefix('{') else {
        return false;
    };
    inside.trim_start().starts_with(['"', '}'])
}

/// Reads all documents; what was read before a syntax error is kept.
pub(super) fn read(source: &Source, errors: &mut Vec<ReadError>) -> Vec<Node> {
    let mut documents = Vec::new();
    let mut reader = Reader { text: source.text(), at: 0, nodes: 0, errors: Vec::new() };
    if let Err(error) = reader.stream(&mut documents) {
        reader.errors.push(error);
    }
    errors.append(&mut reader.errors);
    documents
}

struct Reader<'s> {
    text: &'s str,
    at: usize,
    nodes: usize,
    errors: Vec<ReadError>,
}

impl Reader<'_> {
    fn stream(&mut self, documents: &mut Vec<Node>) -> Result<(), ReadError> {
        while self.peek().is_some() {
            if documents.len() == DOCUMENTS_MAX {
                return Err(ReadError::TooManyDocuments { span: self.here() });
            }
            documents.push(self.value(0)?);
        }
        Ok(())
    }

    fn value(&mut self, depth: usize) -> Result<Node, ReadError> {
        let next = self.peek();
        if depth > DEPTH_MAX {
            return Err(ReadError::TooDeep { span: self.here() });
        }
        self.nodes += 1;
        if self.nodes > NODES_MAX {
            return Err(ReadError::TooManyNodes { span: self.here() });
        }
        let start = self.at;
        let data = match next {
            Some('{') => self.map(depth)?,
            Some('[') => self.list(depth)?,
            Some('"') => Data::Text(self.string()?),
            Some('-' | '0'..='9') => self.number()?,
            Some('t') => self.word("true", Data::Bool(true))?,
            Some('f') => self.word("false", Data::Bool(false))?,
            Some('n') => self.word("null", Data::Null)?,
            Some(']' | '}') => return Err(self.no_value()),
            Some(_) => {
                return Err(self.error("this is no JSON value", "text is written in double quotes"));
            }
            None => {
                return Err(self.error("the text ends where a value is expected", "check that every bracket is closed"));
            }
        };
        Ok(Node { span: Span::new(start, self.at), data })
    }

    /// The error for a closing bracket where a value is expected.
    fn no_value(&self) -> ReadError {
        if self.text[..self.at].trim_end().ends_with(',') {
            return self.error("there is a comma too many before this bracket", "JSON allows no comma after the last entry");
        }
        self.error("a value is expected here", "check that every bracket is closed by its own kind")
    }

    fn map(&mut self, depth: usize) -> Result<Data, ReadError> {
        let mut entries: Vec<Entry> = Vec::new();
        let mut index = std::collections::BTreeMap::new();
        self.at += 1;
        if self.peek() == Some('}') {
            self.at += 1;
            return Ok(Data::Map(entries));
        }
        loop {
            match self.peek() {
                Some('"') => {}
                Some('}') => {
                    return Err(self.error("there is a comma too many before this bracket", "JSON allows no comma after the last entry"));
                }
                _ => {
                    return Err(self.error("a key in double quotes is expected here", "JSON keys are written in double quotes"));
                }
            }
            let start = self.at;
            let key = self.string()?;
            let key_span = Span::new(start, self.at);
            if self.peek() != Some(':') {
                return Err(self.error("a colon is expected after this key", "write \"key\": value"));
            }
            self.at += 1;
            let value = self.value(depth + 1)?;
            if let Some(first) = index.insert(key.clone(), key_span) {
                self.tell(ReadError::DuplicateKey { key: key.clone(), span: key_span, first });
            }
            entries.push(Entry { key, key_span, value });
            if self.separator('}')? {
                return Ok(Data::Map(entries));
            }
        }
    }

    fn list(&mut self, depth: usize) -> Result<Data, ReadError> {
        let mut items = Vec::new();
        self.at += 1;
        if self.peek() == Some(']') {
            self.at += 1;
            return Ok(Data::List(items));
        }
        loop {
            items.push(self.value(depth + 1)?);
            if self.separator(']')? {
                return Ok(Data::List(items));
            }
        }
    }

    /// After an entry: a comma, or the closing bracket, which gives `true`.
    fn separator(&mut self, close: char) -> Result<bool, ReadError> {
        match self.peek() {
            Some(',') => {
                self.at += 1;
                Ok(false)
            }
            Some(c) if c == close => {
                self.at += 1;
                Ok(true)
            }
            Some(_) => Err(self.error("a comma or a closing bracket is expected here", "entries have commas between them")),
            None => Err(self.error("the text ends before its brackets are closed", "check that every bracket is closed")),
        }
    }

    fn string(&mut self) -> Result<String, ReadError> {
        let mut out = String::new();
        let start = self.at;
        self.at += 1;
        loop {
            let Some(c) = self.text[self.at..].chars().next() else {
                self.at = start;
                return Err(self.error("this quote is never closed", "end the text with a double quote"));
            };
            match c {
                '"' => {
                    self.at += 1;
                    return Ok(out);
                }
                '\\' => out.push(self.escape()?),
                c if u32::from(c) < 0x20 => {
                    return Err(self.error("a control character is not allowed inside quotes", "write a line break as \\n, a tab as \\t"));
                }
                c => {
                    out.push(c);
                    self.at += c.len_utf8();
                }
            }
        }
    }

    fn escape(&mut self) -> Result<char, ReadError> {
        let next = self.text[self.at + 1..].chars().next();
        let plain = match next {
            Some('u') => return self.unicode_escape(),
            Some(c @ ('"' | '\\' | '/')) => c,
            Some('b') => '\u{8}',
            Some('f') => '\u{c}',
            Some('n') => '\n',
            Some('r') => '\r',
            Some('t') => '\t',
            _ => {
                return Err(self.error("this escape is not known to JSON", "write a backslash as \\\\"));
            }
        };
        self.at += 2;
        Ok(plain)
    }

    /// `\uXXXX`, also two of them for one character; half a pair becomes the replacement character, as in Go.
    fn unicode_escape(&mut self) -> Result<char, ReadError> {
        let unit = |text: &str, at: usize| {
            let digits = text.get(at..at + 6)?.strip_prefix("\\u")?;
            digits.bytes().all(|b| b.is_ascii_hexdigit()).then(|| u16::from_str_radix(digits, 16).ok())?
        };
        let Some(first) = unit(self.text, self.at) else {
            return Err(self.error("this escape is not complete", "write \\u and four hexadecimal digits"));
        };
        self.at += 6;
        let second = unit(self.text, self.at);
        if let Some(second) = second
            && let Some(Ok(c)) = char::decode_utf16([first, second]).next()
            && u32::from(c) > 0xffff
        {
            self.at += 6;
            return Ok(c);
        }
        Ok(char::from_u32(u32::from(first)).unwrap_or(char::REPLACEMENT_CHARACTER))
    }

    fn number(&mut self) -> Result<Data, ReadError> {
        let rest = &self.text[self.at..];
        let length = rest.bytes().take_while(|b| matches!(b, b'-' | b'+' | b'.' | b'e' | b'E' | b'0'..=b'9')).count();
        let text = &rest[..length];
        if !is_json_number(text) {
            return Err(self.error("this is no JSON number", "numbers are written like 5, -5, 0.5 or 5e3"));
        }
        let span = Span::new(self.at, self.at + length);
        self.at += length;
        if let Ok(whole) = text.parse() {
            return Ok(Data::Int(whole));
        }
        let value = text.parse::<f64>().unwrap_or(f64::INFINITY);
        if !value.is_finite() {
            let message = format!("`{text}` is out of range");
            self.tell(ReadError::BadScalar { message, span });
            return Ok(Data::Null);
        }
        // Unlike in YAML, a whole number with a point or exponent stays one.
        Ok(Data::Float(value))
    }

    fn word(&mut self, word: &str, data: Data) -> Result<Data, ReadError> {
        if !self.text[self.at..].starts_with(word) {
            return Err(self.error("this is no JSON value", "text is written in double quotes"));
        }
        self.at += word.len();
        Ok(data)
    }

    /// The next character that is not blank, which is then the current one.
    fn peek(&mut self) -> Option<char> {
        let rest = &self.text[self.at..];
        self.at += rest.len() - rest.trim_start_matches([' ', '\t', '\n', '\r']).len();
        self.text[self.at..].chars().next()
    }

    /// Collects an error that does not end the reading.
    fn tell(&mut self, error: ReadError) {
        if self.errors.len() < READ_ERRORS_MAX {
            self.errors.push(error);
        }
    }

    fn here(&self) -> Span {
        Span::new(self.at, self.at)
    }

    fn error(&self, message: &str, help: &str) -> ReadError {
        ReadError::Syntax { message: message.to_owned(), span: self.here(), help: Some(help.to_owned()) }
    }
}

/// The grammar of JSON numbers, which is narrower than Rust's.
fn is_json_number(text: &str) -> bool {
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (unsigned, None),
    };
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (mantissa, None),
    };
    digits(whole)
        && (whole == "0" || !whole.starts_with('0'))
        && fraction.is_none_or(digits)
        && exponent.is_none_or(|exponent| digits(exponent.strip_prefix(['+', '-']).unwrap_or(exponent)))
}
