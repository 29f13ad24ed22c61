//! What a plain YAML scalar means to Kubernetes, which reads YAML with the rules of Go's YAML 1.1 library and then
//! sends it through JSON.
//!
//! Not the rules of YAML 1.2: `yes` is a boolean, `0644` is octal, `1_000` is a number. The truth table in
//! `scalar/tests.rs` was recorded from kubectl.

#[cfg(test)]
mod tests;

/// The meaning of a scalar.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Scalar {
    Null,
    Bool(bool),
    Int(i64),
    /// Finite, and not a whole number within `i64`.
    Float(f64),
    Text(String),
    /// A number that JSON has no way to write: an infinity or not-a-number.
    NotJson,
}

/// What the tag of a scalar asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tag {
    Null,
    Bool,
    Int,
    Float,
    Text,
    Timestamp,
    Binary,
}

/// Resolves a plain scalar without a tag.
pub(crate) fn resolve(text: &str) -> Scalar {
    if let Some(word) = word(text) {
        return word;
    }
    match text.as_bytes().first() {
        Some(b'.') => leading_dot(text),
        Some(b'+' | b'-' | b'0'..=b'9') => numeric(text),
        _ => Scalar::Text(text.to_owned()),
    }
}

/// Resolves a scalar with one of the standard tags; `None` where the text does not fit the tag.
pub(crate) fn resolve_tagged(tag: Tag, text: &str) -> Option<Scalar> {
    let plain = resolve(text);
    match (tag, plain) {
        (Tag::Text | Tag::Timestamp, _) => Some(Scalar::Text(text.to_owned())),
        (Tag::Binary, _) => {
            let bytes = crate::base64::decode(text).ok()?;
            String::from_utf8(bytes).ok().map(Scalar::Text)
        }
        (Tag::Null, Scalar::Null) => Some(Scalar::Null),
        (Tag::Bool, Scalar::Bool(value)) => Some(Scalar::Bool(value)),
        (Tag::Int, Scalar::Int(value)) => Some(Scalar::Int(value)),
        (Tag::Float, Scalar::Int(value)) => Some(Scalar::Int(value)),
        (Tag::Float, Scalar::Float(value)) => Some(Scalar::Float(value)),
        (Tag::Float, Scalar::NotJson) => Some(Scalar::NotJson),
        (Tag::Null | Tag::Bool | Tag::Int | Tag::Float, _) => None,
    }
}

/// A number as JSON carries it: whole numbers within `i64` as such, whatever they were written as.
pub(crate) fn number(value: f64) -> Scalar {
    if !value.is_finite() {
        return Scalar::NotJson;
    }
    // Below this magnitude the reference writes all digits, so a whole number comes back as an integer.
    const DIGITS_BELOW: f64 = 1e21;
    if value.fract() == 0.0
        && value.abs() < DIGITS_BELOW
        && let Ok(whole) = format!("{}", value + 0.0).parse::<i64>()
    {
        return Scalar::Int(whole);
    }
    if value == 0.0 { Scalar::Int(0) } else { Scalar::Float(value) }
}

/// The words that mean something.
fn word(text: &str) -> Option<Scalar> {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Some(Scalar::Null),
        "y" | "Y" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" | "true" | "True" | "TRUE" => Some(Scalar::Bool(true)),
        "n" | "N" | "no" | "No" | "NO" | "off" | "Off" | "OFF" | "false" | "False" | "FALSE" => Some(Scalar::Bool(false)),
        ".nan" | ".NaN" | ".NAN" | ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" | "-.inf" | "-.Inf" | "-.INF" => {
            Some(Scalar::NotJson)
        }
        _ => None,
    }
}

/// Text that begins with a dot. Here underscores are dropped only between digits.
fn leading_dot(text: &str) -> Scalar {
    let bytes = text.as_bytes();
    let is_digit = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_digit);
    let between = |(at, byte): (usize, &u8)| *byte != b'_' || is_digit(at.wrapping_sub(1)) && is_digit(at + 1);
    let plain = bytes.iter().enumerate().all(between).then(|| text.replace('_', ""));
    plain.and_then(|plain| decimal(&plain)).map_or_else(|| Scalar::Text(text.to_owned()), number)
}

/// Text that begins like a number: underscores are dropped wherever they stand, then an integer is tried, then a
/// decimal.
fn numeric(text: &str) -> Scalar {
    let plain: String = text.chars().filter(|c| *c != '_').collect();
    if let Some(value) = integer(&plain) {
        return value;
    }
    decimal(&plain).map_or_else(|| Scalar::Text(text.to_owned()), number)
}

/// An integer with Go's prefixes: `0x`, `0b`, `0o` in either case, and a bare leading zero for octal.
fn integer(text: &str) -> Option<Scalar> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let (radix, digits) = match digits.as_bytes() {
        [b'0', b'x' | b'X', ..] => (16, &digits[2..]),
        [b'0', b'b' | b'B', ..] => (2, &digits[2..]),
        [b'0', b'o' | b'O', ..] => (8, &digits[2..]),
        [b'0', _, ..] => (8, &digits[1..]),
        _ => (10, digits),
    };
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return None;
    }
    let magnitude = u64::from_str_radix(digits, radix).ok()?;
    let value = if negative { -i128::from(magnitude) } else { i128::from(magnitude) };
    match i64::try_from(value) {
        Ok(value) => Some(Scalar::Int(value)),
        // Unsigned numbers above `i64` pass through JSON and come out as floating point.
        Err(_) if !negative => Some(Scalar::Float(magnitude as f64)),
        Err(_) => None,
    }
}

/// A decimal number: digits with an optional point and exponent, nothing else that Rust's parser would also take.
fn decimal(text: &str) -> Option<f64> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (unsigned, None),
    };
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let mantissa_fits = match mantissa.split_once('.') {
        Some(("", fraction)) => digits(fraction),
        Some((whole, fraction)) => digits(whole) && (fraction.is_empty() || digits(fraction)),
        None => digits(mantissa),
    };
    let exponent_fits = exponent.is_none_or(|exponent| digits(exponent.strip_prefix(['+', '-']).unwrap_or(exponent)));
    if !mantissa_fits || !exponent_fits {
        return None;
    }
    // Out of range is no number to the reference, so it stays text.
    text.parse().ok().filter(|value: &f64| value.is_finite())
}
