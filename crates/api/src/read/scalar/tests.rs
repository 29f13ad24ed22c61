//! The truth table of plain scalars, recorded from kubectl 1.32 (`kubectl label --local -o json`).

use super::*;

/// Plain scalar, and what kubectl makes of it: a JSON value, `text` for the same text, `ERROR` where it refuses.
const KUBECTL: &[(&str, &str)] = &[
    ("0644", "420"),
    ("0o644", "420"),
    ("0O644", "420"),
    ("08", "8"),
    ("0x1F", "31"),
    ("0X1F", "31"),
    ("-0x1F", "-31"),
    ("+0x1F", "31"),
    ("0b11", "3"),
    ("0B11", "3"),
    ("-0b11", "-3"),
    ("1_000", "1000"),
    ("1__0", "10"),
    ("_1", "text"),
    ("1_", "1"),
    ("0_1", "1"),
    (".5", "0.5"),
    ("5.", "5"),
    ("1e3", "1000"),
    ("1E3", "1000"),
    ("1e400", "text"),
    ("1.5e+3", "1500"),
    ("+1", "1"),
    ("+.5", "0.5"),
    ("-.5", "-0.5"),
    ("123456789012345678901234567890", "1.2345678901234568e+29"),
    ("9223372036854775808", "9223372036854776000"),
    ("18446744073709551615", "18446744073709552000"),
    ("18446744073709551616", "18446744073709552000"),
    ("-9223372036854775808", "-9223372036854775808"),
    ("-9223372036854775809", "-9223372036854776000"),
    ("1:30", "text"),
    ("190:20:30", "text"),
    ("~", "null"),
    ("null", "null"),
    ("Null", "null"),
    ("NULL", "null"),
    ("nUll", "text"),
    ("yes", "true"),
    ("Yes", "true"),
    ("YES", "true"),
    ("yEs", "text"),
    ("y", "true"),
    ("Y", "true"),
    ("n", "false"),
    ("N", "false"),
    ("on", "true"),
    ("On", "true"),
    ("ON", "true"),
    ("oN", "text"),
    ("Off", "false"),
    ("true", "true"),
    ("True", "true"),
    ("TRUE", "true"),
    ("tRue", "text"),
    ("=", "text"),
    ("2001-12-14", "text"),
    ("2001-12-14t21:59:43.10-05:00", "text"),
    ("1.0", "1"),
    ("1.10", "1.1"),
    ("0.1", "0.1"),
    ("100.0", "100"),
    ("1e21", "1e+21"),
    ("1e20", "100000000000000000000"),
    ("1e6", "1000000"),
    ("1.5e6", "1500000"),
    ("123456789.123", "123456789.123"),
    ("0", "0"),
    ("-0", "0"),
    ("+0", "0"),
    ("00", "0"),
    ("-07", "-7"),
    ("0o8", "text"),
    ("0b12", "text"),
    ("0x", "text"),
    ("0xg", "text"),
    (".", "text"),
    ("..", "text"),
    ("1.2.3", "text"),
    ("1e", "text"),
    ("e1", "text"),
    ("1,000", "text"),
    ("0.", "0"),
    ("0.0", "0"),
    ("-0.0", "0"),
    ("0e0", "0"),
    ("1_000.5", "1000.5"),
    ("1e1_0", "10000000000"),
    ("0x_1", "1"),
    ("0x1_F", "31"),
    ("0644_0", "3360"),
    ("0_644", "420"),
    ("0777777777777777777777777", "7.777777777777778e+23"),
    ("0xFFFFFFFFFFFFFFFF", "18446744073709552000"),
    ("0x1FFFFFFFFFFFFFFFF", "text"),
    (".inf", "ERROR"),
    ("-.inf", "ERROR"),
    ("+.inf", "ERROR"),
    (".Inf", "ERROR"),
    (".INF", "ERROR"),
    (".iNF", "text"),
    (".nan", "ERROR"),
    (".NaN", "ERROR"),
    (".NAN", "ERROR"),
    ("inf", "text"),
    ("nan", "text"),
    ("+", "text"),
    ("-5", "-5"),
    ("1 2", "text"),
    ("0x1p4", "text"),
    ("0.1e1", "1"),
    (".5e1", "5"),
    ("5.e1", "50"),
    ("1.e", "text"),
    ("1e+", "text"),
    ("1e-5", "0.00001"),
    ("1.5E-7", "1.5e-7"),
    ("1_e3", "1000"),
    ("._5", "text"),
    (".0_7", "0.07"),
    (".5_", "text"),
    (".1__2", "text"),
    (".5e1_0", "5000000000"),
    ("0b", "text"),
    ("0o", "text"),
    ("0o_7", "7"),
    ("-0o7", "-7"),
    ("+0o7", "7"),
    ("12e03", "12000"),
    ("-2E+05", "-200000"),
    ("685_230.15", "685230.15"),
    ("0b1010_0111", "167"),
    ("0b111111111111111111111111111111111111111111111111111111111111111111", "text"),
    ("1_2_3", "123"),
    ("1__2", "12"),
    ("00.5", "0.5"),
    ("01.5", "1.5"),
    ("08.5", "8.5"),
    ("09", "9"),
    ("0777", "511"),
    ("-0777", "-511"),
    ("+0777", "511"),
];

#[test]
fn plain_scalars_mean_what_kubectl_takes_them_for() {
    let mut wrong = Vec::new();
    for (text, expected) in KUBECTL {
        let found = match resolve(text) {
            Scalar::Null => "null".to_owned(),
            Scalar::Bool(value) => value.to_string(),
            Scalar::Int(value) => value.to_string(),
            Scalar::Float(value) => value.to_string(),
            Scalar::Text(found) if found == *text => "text".to_owned(),
            Scalar::Text(found) => format!("other text {found:?}"),
            Scalar::NotJson => "ERROR".to_owned(),
        };
        let same_number = matches!((found.parse::<f64>(), expected.parse::<f64>()), (Ok(a), Ok(b)) if a == b);
        let both_numbers = found != "text" && *expected != "text";
        if found != *expected && !(same_number && both_numbers) {
            wrong.push(format!("{text}: expected {expected}, found {found}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn tags_decide_and_refuse() {
    let cases = [
        (Tag::Text, "yes", Some(Scalar::Text("yes".to_owned()))),
        (Tag::Int, "5", Some(Scalar::Int(5))),
        (Tag::Int, "x", None),
        (Tag::Float, "5", Some(Scalar::Int(5))),
        (Tag::Float, "5.5", Some(Scalar::Float(5.5))),
        (Tag::Bool, "yes", Some(Scalar::Bool(true))),
        (Tag::Bool, "5", None),
        (Tag::Null, "", Some(Scalar::Null)),
        (Tag::Binary, "aGVsbG8=", Some(Scalar::Text("hello".to_owned()))),
        (Tag::Timestamp, "2001-12-14", Some(Scalar::Text("2001-12-14".to_owned()))),
    ];
    for (tag, text, expected) in cases {
        assert_eq!(resolve_tagged(tag, text), expected, "{tag:?} {text}");
    }
}

#[test]
fn whole_numbers_are_integers_however_they_are_written() {
    assert_eq!(number(-0.0), Scalar::Int(0));
    assert_eq!(number(30.0), Scalar::Int(30));
    assert_eq!(number(-7e3), Scalar::Int(-7000));
    assert_eq!(number(1e21), Scalar::Float(1e21));
    assert_eq!(number(f64::INFINITY), Scalar::NotJson);
}
