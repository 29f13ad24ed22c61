//! Amounts of resources, as Kubernetes writes them: `500m`, `1.5Gi`, `1e3`.
//!
//! Exact arithmetic, never floating point. Invariant: a value lies within ±(2^63−1) and is a whole number of
//! nano-units; parsing rounds away from zero to that, and caps what is larger, as the reference does.

use std::cmp::Ordering;
use std::fmt;

use thiserror::Error;

const NANOS: i128 = 1_000_000_000;
const MILLI: i128 = 1_000_000;
/// The largest amount, in nano-units.
const NANOS_MAX: i128 = i64::MAX as i128 * NANOS;
/// Digits of an exponent beyond which any number is capped or rounded to the least amount.
const EXPONENT_MAX: i64 = 1_000;

/// Why a text is not an amount. The texts are those of the reference.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum QuantityError {
    /// It does not look like an amount at all.
    #[error("quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'")]
    Format,
    /// The digits are no number.
    #[error("unable to parse numeric part of quantity")]
    Numeric,
    /// The suffix is not known.
    #[error("unable to parse quantity's suffix")]
    Suffix,
}

/// How an amount was written, which decides how it is written again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Powers of ten by letter: `m`, `k`, `M`.
    DecimalSi,
    /// Powers of 1024: `Ki`, `Mi`.
    BinarySi,
    /// Powers of ten by exponent: `1e3`.
    DecimalExponent,
}

/// An amount of a resource. Equality and order go by the amount alone.
#[derive(Clone, Copy, Debug)]
pub struct Quantity {
    nanos: i128,
    format: Format,
}

const BINARY: [(&str, u32); 6] = [("Ki", 10), ("Mi", 20), ("Gi", 30), ("Ti", 40), ("Pi", 50), ("Ei", 60)];
const DECIMAL: [(&str, i64); 10] =
    [("n", -9), ("u", -6), ("m", -3), ("", 0), ("k", 3), ("M", 6), ("G", 9), ("T", 12), ("P", 15), ("E", 18)];

impl Quantity {
    /// Zero.
    pub const ZERO: Self = Self { nanos: 0, format: Format::DecimalSi };

    /// Parses an amount.
    ///
    /// # Errors
    /// The text is not written as an amount.
    pub fn parse(text: &str) -> Result<Self, QuantityError> {
        let (negative, unsigned) = match text.as_bytes().first() {
            Some(b'-') => (true, &text[1..]),
            Some(b'+') => (false, &text[1..]),
            _ => (false, text),
        };
        let split = unsigned.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(unsigned.len());
        let (number, suffix) = unsigned.split_at(split);
        if number.is_empty() || !is_suffix_shape(suffix) {
            return Err(QuantityError::Format);
        }
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if fraction.contains('.') || whole.is_empty() && fraction.is_empty() {
            return Err(QuantityError::Numeric);
        }
        let (magnitude, format) = match unit(suffix)? {
            Unit::Binary(shift) => (binary(whole, fraction, shift), Format::BinarySi),
            Unit::Decimal(exponent) => (decimal(whole, fraction, exponent), Format::DecimalSi),
            Unit::Exponent(exponent) => (decimal(whole, fraction, exponent), Format::DecimalExponent),
        };
        Ok(Self { nanos: if negative { -magnitude } else { magnitude }, format })
    }

    /// A whole amount, such as bytes.
    pub fn from_whole(value: i64, format: Format) -> Self {
        Self { nanos: i128::from(value) * NANOS, format }
    }

    /// An amount in thousandths, such as milli-CPUs.
    pub fn from_milli(value: i64) -> Self {
        Self { nanos: i128::from(value) * MILLI, format: Format::DecimalSi }
    }

    /// The amount in whole units, such as bytes, rounded away from zero.
    pub fn value(&self) -> i64 {
        saturate(div_away(self.nanos, NANOS))
    }

    /// The amount in thousandths, such as milli-CPUs, rounded away from zero; capped at the range of `i64`.
    pub fn milli_value(&self) -> i64 {
        saturate(div_away(self.nanos, MILLI))
    }

    /// Whether the amount is below zero.
    pub fn is_negative(&self) -> bool {
        self.nanos < 0
    }

    /// Whether the amount is zero.
    pub fn is_zero(&self) -> bool {
        self.nanos == 0
    }

    /// Whether the amount is a whole number of units.
    pub fn is_whole(&self) -> bool {
        self.nanos % NANOS == 0
    }

    /// The amount rounded away from zero to whole thousandths.
    #[must_use]
    pub fn round_up_milli(&self) -> Self {
        Self { nanos: div_away(self.nanos, MILLI) * MILLI, format: self.format }
    }

    /// Whether the amount is a whole multiple of `of`.
    pub fn is_multiple_of(&self, of: &Self) -> bool {
        of.nanos != 0 && self.nanos % of.nanos == 0
    }

    /// The sum, capped.
    #[must_use]
    pub fn saturating_add(&self, other: &Self) -> Self {
        Self { nanos: (self.nanos + other.nanos).clamp(-NANOS_MAX, NANOS_MAX), format: self.format }
    }
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.nanos == other.nanos
    }
}

impl Eq for Quantity {}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Self) -> Ordering {
        self.nanos.cmp(&other.nanos)
    }
}

/// The canonical form: no fraction, and the largest suffix that keeps the amount exact.
impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.nanos == 0 {
            return f.write_str("0");
        }
        // Small or broken amounts would lose precision in powers of 1024.
        let binary = self.format == Format::BinarySi && self.is_whole() && self.nanos.abs() >= 1024 * NANOS;
        if binary {
            let mut mantissa = self.nanos / NANOS;
            let mut suffix = "";
            for (name, _) in BINARY {
                if mantissa % 1024 != 0 {
                    break;
                }
                mantissa /= 1024;
                suffix = name;
            }
            return write!(f, "{mantissa}{suffix}");
        }
        let mut mantissa = self.nanos;
        let mut power = 0;
        while power + 1 < DECIMAL.len() && mantissa % 1000 == 0 {
            mantissa /= 1000;
            power += 1;
        }
        let (suffix, exponent) = DECIMAL[power];
        match self.format {
            Format::DecimalExponent if exponent == 0 => write!(f, "{mantissa}"),
            Format::DecimalExponent => write!(f, "{mantissa}e{exponent}"),
            Format::DecimalSi | Format::BinarySi => write!(f, "{mantissa}{suffix}"),
        }
    }
}

enum Unit {
    Binary(u32),
    Decimal(i64),
    Exponent(i64),
}

/// Whether a suffix is made of what suffixes are made of: letters, then a signed number.
fn is_suffix_shape(suffix: &str) -> bool {
    let rest = suffix.trim_start_matches(['e', 'E', 'i', 'n', 'u', 'm', 'k', 'K', 'M', 'G', 'T', 'P']);
    let rest = rest.strip_prefix(['+', '-']).unwrap_or(rest);
    rest.bytes().all(|b| b.is_ascii_digit())
}

fn unit(suffix: &str) -> Result<Unit, QuantityError> {
    if let Some((_, shift)) = BINARY.iter().find(|(name, _)| *name == suffix) {
        return Ok(Unit::Binary(*shift));
    }
    if let Some((_, exponent)) = DECIMAL.iter().find(|(name, _)| *name == suffix) {
        return Ok(Unit::Decimal(*exponent));
    }
    let exponent = suffix.strip_prefix(['e', 'E']).ok_or(QuantityError::Suffix)?;
    let exponent: i64 = exponent.parse().map_err(|_| QuantityError::Suffix)?;
    Ok(Unit::Exponent(exponent.clamp(-EXPONENT_MAX, EXPONENT_MAX)))
}

/// `whole.fraction × 10^exponent` in nano-units, rounded up and capped.
fn decimal(whole: &str, fraction: &str, exponent: i64) -> i128 {
    // The number of nano-units is the digits with the point moved behind `point` of them.
    let whole = whole.trim_start_matches('0');
    let digits = || whole.bytes().chain(fraction.bytes()).map(|b| i128::from(b - b'0'));
    let point = i64::try_from(whole.len()).unwrap_or(i64::MAX).saturating_add(exponent).saturating_add(9);
    let mut nanos: i128 = 0;
    let mut rest = false;
    let mut position = 0;
    for digit in digits() {
        if position < point {
            nanos = (nanos * 10 + digit).min(NANOS_MAX);
        } else {
            rest |= digit != 0;
        }
        position += 1;
    }
    while position < point && nanos != 0 && nanos < NANOS_MAX {
        nanos = (nanos * 10).min(NANOS_MAX);
        position += 1;
    }
    (nanos + i128::from(rest)).min(NANOS_MAX)
}

/// `whole.fraction × 2^shift` in nano-units, rounded up and capped.
fn binary(whole: &str, fraction: &str, shift: u32) -> i128 {
    const CAP: i128 = i64::MAX as i128;
    let whole = whole.bytes().fold(0, |sum: i128, b| (sum * 10 + i128::from(b - b'0')).min(CAP + 1));
    let units = whole << shift;
    if units > CAP {
        return NANOS_MAX;
    }
    // 18 digits are finer than a nano-unit of the largest suffix needs; what is behind them only rounds up.
    const DIGITS: usize = 18;
    let kept = fraction.bytes().take(DIGITS).fold(0, |sum: i128, b| sum * 10 + i128::from(b - b'0'));
    let scale = 10_i128.pow(u32::try_from(fraction.len().min(DIGITS)).unwrap_or(0));
    let rest = fraction.bytes().skip(DIGITS).any(|b| b != b'0');
    let product = kept << shift;
    let part = product % scale * NANOS;
    let nanos = product / scale * NANOS + div_away(part, scale) + i128::from(rest && part % scale == 0);
    (units * NANOS + nanos).min(NANOS_MAX)
}

/// Division that rounds away from zero.
fn div_away(value: i128, by: i128) -> i128 {
    value / by + (value % by).signum()
}

fn saturate(value: i128) -> i64 {
    i64::try_from(value).unwrap_or(if value < 0 { i64::MIN } else { i64::MAX })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_have_one_canonical_form() {
        let cases = [
            ("0", "0"),
            ("0Ki", "0"),
            ("-0", "0"),
            ("1", "1"),
            ("100m", "100m"),
            ("0.5", "500m"),
            (".5", "500m"),
            ("5.", "5"),
            ("1000m", "1"),
            ("1.5", "1500m"),
            ("1.5Gi", "1536Mi"),
            ("1024Mi", "1Gi"),
            ("1025Mi", "1025Mi"),
            ("0.5Ki", "512"),
            ("1000", "1k"),
            ("1500k", "1500k"),
            ("1000k", "1M"),
            ("1e3", "1e3"),
            ("12e2", "1200"),
            ("1E3", "1e3"),
            ("1e-3", "1e-3"),
            ("100E-3", "100e-3"),
            ("1e0", "1"),
            ("-1.5", "-1500m"),
            ("+1", "1"),
            ("128974848", "128974848"),
            ("129e6", "129e6"),
            ("123Mi", "123Mi"),
            ("1n", "1n"),
            ("0.1n", "1n"),
            ("1.0000000001", "1000000001n"),
            ("9223372036854775807", "9223372036854775807"),
            ("9223372036854775808", "9223372036854775807"),
            ("100E", "9223372036854775807"),
            ("8Ei", "9223372036854775807"),
            ("7Ei", "7Ei"),
            ("1e400", "9223372036854775807"),
            ("1e-400", "1e-9"),
            ("1.1Ki", "1126400m"),
            ("0.0000000001Ki", "103n"),
        ];
        for (text, canonical) in cases {
            let quantity = Quantity::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(quantity.to_string(), canonical, "{text}");
            let again = Quantity::parse(canonical).expect("canonical forms parse");
            assert_eq!(again, quantity, "{text}");
        }
    }

    #[test]
    fn what_is_no_amount_is_refused_with_the_reference_text() {
        let format = Err(QuantityError::Format);
        for text in ["", "-", "Mi", "1 Gi", "abc", "1Mb", "1K8sB", "1,5", "--1", "½", "1e3x"] {
            assert_eq!(Quantity::parse(text), format, "{text}");
        }
        for text in ["1.2.3", "."] {
            assert_eq!(Quantity::parse(text), Err(QuantityError::Numeric), "{text}");
        }
        for text in ["1K", "1mi", "1GiM", "1e", "1e+", "1ki", "5M5"] {
            assert_eq!(Quantity::parse(text), Err(QuantityError::Suffix), "{text}");
        }
    }

    #[test]
    fn amounts_are_converted_rounding_away_from_zero() {
        let parse = |text| Quantity::parse(text).expect("an amount");
        assert_eq!(parse("1.5Gi").value(), 1_610_612_736);
        assert_eq!(parse("0.1").value(), 1);
        assert_eq!(parse("-0.1").value(), -1);
        assert_eq!(parse("250m").milli_value(), 250);
        assert_eq!(parse("0.0001").milli_value(), 1);
        assert_eq!(parse("2").milli_value(), 2000);
        assert_eq!(parse("100E").milli_value(), i64::MAX);
        assert_eq!(parse("0.0001").round_up_milli().to_string(), "1m");
        assert!(parse("1Gi") > parse("1G") && parse("1000m") == parse("1") && parse("-1").is_negative());
    }
}
