//! Kubernetes quantities as exact numbers: `500m`, `1Gi`, `1e3`.
//!
//! Not validation: text that is no quantity was refused long before; here it is an error that names it.
//! Invariant: no rounding but the reference's own, up to the next billionth and in [`Amount::units`] up to the next unit.

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

/// The reference keeps quantities within 63 bits of units; larger ones are cut to this (in units).
const UNITS_MAX: i128 = i64::MAX as i128;
const NANOS_PER_UNIT: i128 = 1_000_000_000;
const NANOS_PER_MILLI: i128 = 1_000_000;
/// Longer than any quantity with a meaning; keeps the arithmetic within 128 bits (in characters).
const TEXT_LEN_MAX: usize = 64;

/// A quantity, in billionths of its unit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Amount {
    nanos: i128,
}

/// Text that is no quantity.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a quantity, such as 500m, 2 or 1Gi")]
pub struct QuantityError {
    /// The text.
    pub text: String,
}

impl Amount {
    /// Reads a quantity.
    pub fn parse(quantity: &Quantity) -> Result<Self, QuantityError> {
        parse(&quantity.0).map(|nanos| Self { nanos }).ok_or_else(|| QuantityError { text: quantity.0.clone() })
    }

    /// An amount of whole units.
    pub const fn from_units(units: i64) -> Self {
        Self { nanos: units as i128 * NANOS_PER_UNIT }
    }

    /// An amount of thousandths of a unit.
    pub const fn from_millis(millis: i64) -> Self {
        Self { nanos: millis as i128 * NANOS_PER_MILLI }
    }

    /// Whole units, rounded up, as Go's `Value()`.
    pub fn units(self) -> i64 {
        saturate(div_ceil(self.nanos, NANOS_PER_UNIT))
    }

    /// Thousandths, rounded up, as Go's `MilliValue()`.
    pub fn millis(self) -> i64 {
        saturate(div_ceil(self.nanos, NANOS_PER_MILLI))
    }

    /// Whether this is nothing at all.
    pub const fn is_zero(self) -> bool {
        self.nanos == 0
    }
}

/// A number of bytes as the reference writes it: in the largest power of 1024 that leaves no rest.
pub fn binary_text(bytes: u64) -> String {
    if bytes < 1024 { decimal_text(bytes) } else { scaled(bytes, 1024, &["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"]) }
}

/// A number as the reference writes it: in the largest power of 1000 that leaves no rest.
pub fn decimal_text(number: u64) -> String {
    scaled(number, 1000, &["", "k", "M", "G", "T", "P", "E"])
}

fn scaled(mut number: u64, step: u64, suffixes: &[&str]) -> String {
    let mut power = 0;
    while number != 0 && number.is_multiple_of(step) && power + 1 < suffixes.len() {
        number /= step;
        power += 1;
    }
    format!("{number}{}", suffixes[power])
}

impl std::ops::Add for Amount {
    type Output = Self;

    fn add(self, rhs: Self) -> Self {
        Self { nanos: self.nanos.saturating_add(rhs.nanos).clamp(-UNITS_MAX * NANOS_PER_UNIT, UNITS_MAX * NANOS_PER_UNIT) }
    }
}

impl std::iter::Sum for Amount {
    fn sum<I: Iterator<Item = Self>>(amounts: I) -> Self {
        amounts.fold(Self::default(), |sum, amount| sum + amount)
    }
}

/// Division that rounds up; `divisor` is positive.
pub(crate) fn div_ceil(value: i128, divisor: i128) -> i128 {
    value.div_euclid(divisor) + i128::from(value.rem_euclid(divisor) != 0)
}

pub(crate) fn saturate(value: i128) -> i64 {
    i64::try_from(value).unwrap_or(if value < 0 { i64::MIN } else { i64::MAX })
}

fn parse(text: &str) -> Option<i128> {
    if text.len() > TEXT_LEN_MAX {
        return None;
    }
    let (is_negative, rest) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let digits_len = rest.bytes().take_while(|byte| byte.is_ascii_digit() || *byte == b'.').count();
    let (number, suffix) = rest.split_at(digits_len);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if fraction.contains('.') || (whole.is_empty() && fraction.is_empty()) {
        return None;
    }
    let digits: String = [whole, fraction].concat();
    let digits = digits.trim_start_matches('0');
    let scale = scale(suffix)?;
    let exponent = i32::try_from(fraction.len()).ok()?;
    let nanos = in_nanos(digits, exponent, scale);
    Some(if is_negative { -nanos } else { nanos })
}

/// A power of ten, or a power of two.
enum Scale {
    Decimal(i32),
    Binary(u32),
}

fn scale(suffix: &str) -> Option<Scale> {
    let scale = match suffix {
        "n" => Scale::Decimal(-9),
        "u" => Scale::Decimal(-6),
        "m" => Scale::Decimal(-3),
        "" => Scale::Decimal(0),
        "k" => Scale::Decimal(3),
        "M" => Scale::Decimal(6),
        "G" => Scale::Decimal(9),
        "T" => Scale::Decimal(12),
        "P" => Scale::Decimal(15),
        "E" => Scale::Decimal(18),
        "Ki" => Scale::Binary(10),
        "Mi" => Scale::Binary(20),
        "Gi" => Scale::Binary(30),
        "Ti" => Scale::Binary(40),
        "Pi" => Scale::Binary(50),
        "Ei" => Scale::Binary(60),
        _ => {
            let exponent = suffix.strip_prefix(['e', 'E'])?;
            Scale::Decimal(exponent.parse().ok()?)
        }
    };
    Some(scale)
}

/// The number `digits / 10^fraction_len * scale`, in billionths, rounded up and cut at the largest quantity.
fn in_nanos(digits: &str, fraction_len: i32, scale: Scale) -> i128 {
    let max = UNITS_MAX * NANOS_PER_UNIT;
    if digits.is_empty() {
        return 0;
    }
    let (factor, power) = match scale {
        Scale::Decimal(power) => (1_i128, power),
        Scale::Binary(shift) => (1_i128 << shift, 0),
    };
    let power = power.saturating_sub(fraction_len).saturating_add(9);
    let Ok(number) = digits.parse::<i128>() else { return max };
    let Some(number) = number.checked_mul(factor) else { return max };
    let Some(ten) = 10_i128.checked_pow(power.unsigned_abs()) else {
        return if power > 0 { max } else { 1 };
    };
    if power >= 0 { number.checked_mul(ten).map_or(max, |nanos| nanos.min(max)) } else { div_ceil(number, ten).min(max) }
}

#[cfg(test)]
mod tests;
