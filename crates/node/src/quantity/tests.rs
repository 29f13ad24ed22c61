use super::*;

fn check(text: &str, millis: i64, units: i64) {
    let amount = Amount::parse(&Quantity(text.to_owned())).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!((amount.millis(), amount.units()), (millis, units), "{text}");
}

#[test]
fn quantities_are_read_as_the_reference_reads_them() {
    check("0", 0, 0);
    check("1", 1000, 1);
    check("500m", 500, 1);
    check("0.5", 500, 1);
    check(".5", 500, 1);
    check("1.", 1000, 1);
    check("+1.5", 1500, 2);
    check("-1.5", -1500, -1);
    check("100u", 1, 1);
    check("1n", 1, 1);
    check("1Ki", 1_024_000, 1024);
    check("1.5Gi", 1_610_612_736_000, 1_610_612_736);
    check("1k", 1_000_000, 1000);
    check("1e3", 1_000_000, 1000);
    check("1E3", 1_000_000, 1000);
    check("1E", i64::MAX, 1_000_000_000_000_000_000);
    check("12e-1", 1200, 2);
    check("9007199254740988Ki", i64::MAX, 9_223_372_036_854_771_712);
}

#[test]
fn numbers_are_written_as_the_reference_writes_them() {
    let binary = [(0, "0"), (1000, "1k"), (1023, "1023"), (1024, "1Ki"), (1536, "1536"), (100 << 20, "100Mi"), (1 << 60, "1Ei")];
    for (bytes, text) in binary {
        assert_eq!(binary_text(bytes), text, "{bytes}");
    }
    for (number, text) in [(0, "0"), (999, "999"), (16_777_216, "16777216"), (3_000_000, "3M"), (1_000_000_000_000_000_000, "1E")] {
        assert_eq!(decimal_text(number), text, "{number}");
    }
}

#[test]
fn a_number_too_large_is_cut_not_wrapped() {
    check("99999999999999999999999999999999999999999999999", i64::MAX, i64::MAX);
    check("1e400", i64::MAX, i64::MAX);
    check("999999Ei", i64::MAX, i64::MAX);
    check("1e-400", 1, 1);
}

#[test]
fn what_is_no_quantity_is_refused() {
    for text in ["", "-", ".", "1.2.3", "1x", "Gi", "1 Gi", "1gi", "0x10", "1e", "--1", &"1".repeat(65)] {
        let error = Amount::parse(&Quantity(text.to_owned()));
        assert_eq!(error, Err(QuantityError { text: text.to_owned() }), "{text:?}");
    }
}
