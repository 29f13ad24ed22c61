use super::*;

fn check(text: &str, expected: &str) {
    let lookup = |name: &str| match name {
        "A" => Some("a".to_owned()),
        "B" => Some("$(A)".to_owned()),
        "EMPTY" => Some(String::new()),
        _ => None,
    };
    assert_eq!(expand(text, lookup), expected, "{text}");
}

#[test]
fn references_are_expanded_as_the_reference_expands_them() {
    check("plain", "plain");
    check("$(A)", "a");
    check("x$(A)y$(A)z", "xayaz");
    check("$(EMPTY)", "");
    check("$(B)", "$(A)");
    check("$(NONE)", "$(NONE)");
    check("$$(A)", "$(A)");
    check("$$$(A)", "$a");
    check("$$$$(A)", "$$(A)");
    check("$A", "$A");
    check("$", "$");
    check("$$", "$");
    check("a$", "a$");
    check("$(A", "$(A");
    check("$(A$(A)", "$(A$(A)");
    check("$()", "$()");
    check("ä$(A)ö", "äaö");
    check("$ä(A)", "$ä(A)");
}
