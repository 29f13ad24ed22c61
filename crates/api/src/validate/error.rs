//! One rule of the API that an object breaks, in the words of the reference.

use std::fmt;

use crate::diagnostic::Diagnostic;
use crate::path::{FieldPath, Segment};
use crate::read::Document;

/// What kind of rule is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// A reference to something that is not there.
    NotFound,
    /// A value that must be given is not.
    Required,
    /// A value that must be unique is not.
    Duplicate,
    /// A value that is not well formed or out of bounds.
    Invalid,
    /// A value that is none of those allowed.
    NotSupported,
    /// A value that is not allowed in these circumstances.
    Forbidden,
    /// A value with too many bytes.
    TooLong,
    /// A list with too many items.
    TooMany,
}

impl ErrorKind {
    /// The machine-readable reason, as in the causes of a `Status`.
    pub fn reason(self) -> &'static str {
        match self {
            Self::NotFound => "FieldValueNotFound",
            Self::Required => "FieldValueRequired",
            Self::Duplicate => "FieldValueDuplicate",
            Self::Invalid => "FieldValueInvalid",
            Self::NotSupported => "FieldValueNotSupported",
            Self::Forbidden => "FieldValueForbidden",
            Self::TooLong => "FieldValueTooLong",
            Self::TooMany => "FieldValueTooMany",
        }
    }

    fn label(self) -> &'static str {
        match self {
            Self::NotFound => "Not found",
            Self::Required => "Required value",
            Self::Duplicate => "Duplicate value",
            Self::Invalid => "Invalid value",
            Self::NotSupported => "Unsupported value",
            Self::Forbidden => "Forbidden",
            Self::TooLong => "Too long",
            Self::TooMany => "Too many",
        }
    }
}

/// The value that breaks a rule, as messages show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BadValue {
    /// Not shown.
    None,
    /// Text, shown in quotes.
    Text(String),
    /// Anything else, shown as it is.
    Raw(String),
}

impl From<&str> for BadValue {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<&String> for BadValue {
    fn from(text: &String) -> Self {
        Self::Text(text.clone())
    }
}

impl From<i32> for BadValue {
    fn from(value: i32) -> Self {
        Self::Raw(value.to_string())
    }
}

impl From<i64> for BadValue {
    fn from(value: i64) -> Self {
        Self::Raw(value.to_string())
    }
}

impl From<bool> for BadValue {
    fn from(value: bool) -> Self {
        Self::Raw(value.to_string())
    }
}

/// One rule of the API that an object breaks.
///
/// Its `Display` is the text of the reference (k8s: 1.h.1):
/// `spec.containers[0].image: Required value`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError {
    /// What kind of rule.
    pub kind: ErrorKind,
    /// The field.
    pub path: FieldPath,
    /// Its value.
    pub value: BadValue,
    /// What the rule is; may be empty.
    pub detail: String,
    /// The values allowed, for [`ErrorKind::NotSupported`].
    pub supported: Vec<String>,
    /// The field that an author has to change, where the reference names one around it.
    pub exact: Option<FieldPath>,
}

impl std::error::Error for FieldError {}

impl FieldError {
    fn new(kind: ErrorKind, path: &FieldPath, value: BadValue, detail: impl Into<String>) -> Self {
        Self { kind, path: path.clone(), value, detail: detail.into(), supported: Vec::new(), exact: None }
    }

    /// A value must be given.
    pub fn required(path: &FieldPath, detail: impl Into<String>) -> Self {
        Self::new(ErrorKind::Required, path, BadValue::None, detail)
    }

    /// A value is not well formed or out of bounds.
    pub fn invalid(path: &FieldPath, value: impl Into<BadValue>, detail: impl Into<String>) -> Self {
        Self::new(ErrorKind::Invalid, path, value.into(), detail)
    }

    /// A value must be unique.
    pub fn duplicate(path: &FieldPath, value: impl Into<BadValue>) -> Self {
        Self::new(ErrorKind::Duplicate, path, value.into(), "")
    }

    /// A value is not allowed here.
    pub fn forbidden(path: &FieldPath, detail: impl Into<String>) -> Self {
        Self::new(ErrorKind::Forbidden, path, BadValue::None, detail)
    }

    /// A reference to something that is not there.
    pub fn not_found(path: &FieldPath, value: impl Into<BadValue>) -> Self {
        Self::new(ErrorKind::NotFound, path, value.into(), "")
    }

    /// A value is none of `supported`, which are shown in the order given.
    pub fn not_supported(path: &FieldPath, value: impl Into<BadValue>, supported: &[&str]) -> Self {
        let quoted: Vec<_> = supported.iter().map(|value| quote(value)).collect();
        let detail = if quoted.is_empty() { String::new() } else { format!("supported values: {}", quoted.join(", ")) };
        let supported = supported.iter().map(|value| (*value).to_owned()).collect();
        Self { supported, ..Self::new(ErrorKind::NotSupported, path, value.into(), detail) }
    }

    /// A value has more than `max` bytes.
    pub fn too_long(path: &FieldPath, max: usize) -> Self {
        Self::new(ErrorKind::TooLong, path, BadValue::None, format!("may not be more than {max} bytes"))
    }

    /// A list has more than `max` items.
    pub fn too_many(path: &FieldPath, items: usize, max: usize) -> Self {
        let value = BadValue::Raw(items.to_string());
        Self::new(ErrorKind::TooMany, path, value, format!("must have at most {max} items"))
    }

    /// The same error, about this part of the field.
    #[must_use]
    pub fn exactly(mut self, path: FieldPath) -> Self {
        self.exact = Some(path);
        self
    }

    /// The message without the path.
    pub fn body(&self) -> String {
        let shows_value = !matches!(self.kind, ErrorKind::Required | ErrorKind::Forbidden | ErrorKind::TooLong);
        let mut text = self.kind.label().to_owned();
        match &self.value {
            BadValue::Text(value) if shows_value => text = format!("{text}: {}", quote(value)),
            BadValue::Raw(value) if shows_value => text = format!("{text}: {value}"),
            BadValue::Text(_) | BadValue::Raw(_) | BadValue::None => {}
        }
        if !self.detail.is_empty() {
            text = format!("{text}: {}", self.detail);
        }
        text
    }

    /// The same for a person, with its place in the manifest.
    pub fn diagnostic(&self, document: &Document) -> Diagnostic {
        let path = self.exact.as_ref().unwrap_or(&self.path);
        let (found, place) = document.place(path);
        let whole = found == *path;
        let key_is_wrong = match (path.segments().last(), &self.value) {
            (Some(Segment::Key(key)), BadValue::Text(value)) => key == value,
            _ => false,
        };
        // Where the value is wrong, the value; where it is missing or not allowed, what has or lacks it.
        let about_key = !whole || key_is_wrong || matches!(self.kind, ErrorKind::Forbidden | ErrorKind::Required);
        let span = match place.key {
            Some(key) if about_key || place.value.is_empty() => key,
            Some(_) | None => place.value,
        };
        Diagnostic::error(self.to_string()).about(self.path.clone()).at(span, self.note(whole))
    }

    fn note(&self, whole: bool) -> String {
        match (self.kind, &self.value) {
            (ErrorKind::NotSupported, BadValue::Text(value)) => {
                let near = crate::nearest::nearest(value, self.supported.iter().map(String::as_str));
                near.map_or_else(String::new, |near| format!("did you mean `{near}`?"))
            }
            (ErrorKind::Required, _) if !whole => match self.path.segments().last() {
                Some(Segment::Field(name)) => format!("`{name}` is missing here"),
                _ => String::new(),
            },
            _ => String::new(),
        }
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.body())
    }
}

/// Text in double quotes with Go's escapes.
pub(crate) fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{b}' => out.push_str("\\v"),
            c if u32::from(c) < 0x20 || c == '\u{7f}' => out.push_str(&format!("\\x{:02x}", u32::from(c))),
            // What is white but no blank, or has no width, is not printed by Go.
            c if c.is_control() || (c.is_whitespace() && c != ' ') || c == '\u{feff}' || c == '\u{200b}' => {
                out.push_str(&format!("\\u{:04x}", u32::from(c)));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    // k8s: 1.h.1
    #[test]
    fn errors_have_the_words_of_the_reference() {
        let path = FieldPath::new("spec").child("x");
        let cases = [
            (FieldError::required(&path, ""), "spec.x: Required value"),
            (FieldError::required(&path, "why"), "spec.x: Required value: why"),
            (FieldError::invalid(&path, "a\"b\n", "why"), "spec.x: Invalid value: \"a\\\"b\\n\": why"),
            (FieldError::invalid(&path, -5_i64, "why"), "spec.x: Invalid value: -5: why"),
            (FieldError::invalid(&path, BadValue::Raw("null".to_owned()), "why"), "spec.x: Invalid value: null: why"),
            (FieldError::duplicate(&path, "a"), "spec.x: Duplicate value: \"a\""),
            (FieldError::forbidden(&path, "why"), "spec.x: Forbidden: why"),
            (FieldError::not_found(&path, "a"), "spec.x: Not found: \"a\""),
            (FieldError::not_supported(&path, "a", &["b", "c"]), "spec.x: Unsupported value: \"a\": supported values: \"b\", \"c\""),
            (FieldError::too_long(&path, 9), "spec.x: Too long: may not be more than 9 bytes"),
            (FieldError::too_many(&path, 21, 20), "spec.x: Too many: 21: must have at most 20 items"),
        ];
        for (error, text) in cases {
            assert_eq!(error.to_string(), text);
        }
    }

    #[test]
    fn text_is_quoted_as_go_quotes_it() {
        assert_eq!(quote("é\u{1}\u{7f}\u{a0}\\"), "\"é\\x01\\x7f\\u00a0\\\\\"");
    }
}
