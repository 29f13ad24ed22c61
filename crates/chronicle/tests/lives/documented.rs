//! Whatever the code can write into a journal is named in its documentation.

use std::collections::BTreeSet;

const PAGE: &str = include_str!("../../../../docs/journal.md");
const RECORDS: &str = include_str!("../../src/record.rs");
const ACTIONS: &str = include_str!("../../../lifecycle/src/action.rs");
const EVENTS: &str = include_str!("../../../lifecycle/src/event.rs");

/// The words between backquotes.
fn documented() -> BTreeSet<&'static str> {
    let marked = PAGE.split('`').skip(1).step_by(2);
    marked.flat_map(|text| text.split(|c: char| !c.is_ascii_alphanumeric())).collect()
}

/// The lines of a type, without its comments and attributes.
fn body<'a>(source: &'a str, head: &str) -> impl Iterator<Item = &'a str> + use<'a> {
    let begin = source.find(head).unwrap_or_else(|| panic!("there is no {head}"));
    let lines = source[begin..].lines().skip(1).take_while(|line| *line != "}");
    lines.map(str::trim_end).filter(|line| !line.trim_start().starts_with("//") && !line.trim_start().starts_with('#'))
}

/// The variants of an enum.
fn variants(source: &'static str, name: &str) -> Vec<String> {
    let lines = body(source, &format!("pub enum {name} {{"))
        .filter_map(|line| line.strip_prefix("    "))
        .filter(|line| !line.starts_with([' ', '}']));
    lines.map(|line| line.split(['{', '(', ',', ' ']).next().unwrap_or_default().to_owned()).collect()
}

/// The fields of all structs that a file has, and of the variants of an enum.
fn fields(source: &str) -> Vec<String> {
    let lines = source.lines().filter_map(|line| {
        let field = line.trim_start().strip_prefix("pub ").unwrap_or(line.trim_start());
        let (name, rest) = field.split_once(": ")?;
        let is_field = rest.ends_with(',') && name.chars().all(|c| c.is_ascii_lowercase() || c == '_') && line.starts_with("    ");
        is_field.then(|| camel_case(name))
    });
    lines.collect()
}

fn camel_case(name: &str) -> String {
    let mut words = name.split('_');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |text, word| text + &word[..1].to_uppercase() + &word[1..])
}

fn small_first(name: &str) -> String {
    name[..1].to_lowercase() + &name[1..]
}

#[test]
fn every_record_and_field_that_can_be_written_is_documented() {
    let documented = documented();
    let mut wanted: Vec<String> = variants(RECORDS, "Record").iter().map(|name| small_first(name)).collect();
    assert!(wanted.len() >= 15 && wanted.contains(&"outputCut".to_owned()), "{wanted:?}");
    wanted.extend(variants(RECORDS, "Happening"));
    wanted.extend(variants(RECORDS, "Disposition").iter().map(|name| small_first(name)));
    wanted.extend(variants(RECORDS, "SessionVerb").iter().map(|name| small_first(name)));
    for (source, name, least) in [(ACTIONS, "Action", 18), (ACTIONS, "Note", 6), (EVENTS, "Event", 19)] {
        let found = variants(source, name);
        assert!(found.len() >= least, "{name}: {found:?}");
        wanted.extend(found);
    }
    let found = fields(RECORDS);
    assert!(found.len() > 60 && found.contains(&"fellBackToHttp".to_owned()) && found.contains(&"version".to_owned()), "{found:?}");
    // `record` and `kill` are flattened: their fields stand in their place.
    wanted.extend(found.into_iter().filter(|field| !["record", "kill"].contains(&field.as_str())));
    let missing: BTreeSet<&String> = wanted.iter().filter(|word| !documented.contains(word.as_str())).collect();
    assert!(missing.is_empty(), "docs/journal.md does not name {missing:?}");
}
