//! Text to documents: structure, bounds and places. Scalars have a table of their own.

use serde_json::{Value, json};

use super::*;
use crate::source::Span;

fn source(text: &str) -> Source {
    Source::new("m.yaml", text.as_bytes()).expect("text")
}

/// The object with `rest` after its type.
fn object(rest: &str) -> Value {
    let reading = read(&source(&format!("apiVersion: v1\nkind: X\n{rest}")));
    assert_eq!(reading.errors, [], "{rest}");
    let mut value = reading.documents.into_iter().next().expect("a document").value;
    let map = value.as_object_mut().expect("a map");
    map.remove("apiVersion");
    map.remove("kind");
    value
}

fn errors(rest: &str) -> Vec<String> {
    let reading = read(&source(&format!("apiVersion: v1\nkind: X\n{rest}")));
    reading.errors.iter().map(ToString::to_string).collect()
}

#[test]
fn documents_are_told_apart_and_empty_ones_passed_over() {
    let text = "---\n# nothing\n---\napiVersion: v1\nkind: A\nmetadata: {name: a}\n...\n---\napiVersion: v1\nkind: B\nmetadata: {generateName: b-}\n---\n";
    let reading = read(&source(text));
    assert_eq!(reading.errors, []);
    let found: Vec<_> = reading.documents.iter().map(|d| (d.kind.as_str(), d.name())).collect();
    assert_eq!(found, [("A", Some("a")), ("B", Some("b-"))]);
}

#[test]
fn documents_before_a_syntax_error_are_kept() {
    let reading = read(&source("apiVersion: v1\nkind: A\n---\nkind: [\n"));
    assert_eq!((reading.documents.len(), reading.errors.len()), (1, 1));
}

#[test]
fn line_ends_and_byte_order_marks_do_not_matter() {
    let unix = "apiVersion: v1\nkind: A\nx: |\n  a\n  b\ny: [1,\n  2]\n";
    let windows = unix.replace('\n', "\r\n");
    let marked = format!("\u{feff}{unix}");
    let value = |text: &str| read(&source(text)).documents.remove(0).value;
    assert_eq!(value(unix), value(&windows));
    assert_eq!(value(unix), value(&marked));
    assert_eq!(value(unix)["x"], "a\nb\n");
}

#[test]
fn json_and_yaml_give_the_same() {
    let json = r#"{"apiVersion": "v1", "kind": "A", "a": [1, -2.5, 1e2, true, null, "x\u00e9\n\ud83d\ude00"]}"#;
    let reading = read(&source(&format!("{json}\n{json}")));
    assert_eq!(reading.errors, []);
    assert_eq!(reading.documents.len(), 2);
    let expected: Value = serde_json::from_str(json).expect("JSON");
    assert_eq!(reading.documents[0].value, expected);
    assert_eq!(expected["a"][5], "xé\n😀");
    let json = json.replace("\\ud83d\\ude00", "");
    let yaml = read(&source(&format!("# as YAML\n{json}"))).documents.remove(0).value;
    assert_eq!(yaml["a"], json!([1, -2.5, 100, true, null, "xé\n"]));
}

#[test]
fn items_of_a_list_are_objects() {
    let text = "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: A}\n- {apiVersion: v1, kind: List, items: [{apiVersion: v1, kind: B}]}\n- {kind: C}\n";
    let reading = read(&source(text));
    let kinds: Vec<_> = reading.documents.iter().map(|document| document.kind.as_str()).collect();
    assert_eq!(kinds, ["A", "B"]);
    assert_eq!(reading.errors[0].to_string(), "apiVersion: Required value");
}

// What kubectl 1.32 makes of the same texts.
#[test]
fn keys_are_text_whatever_they_look_like() {
    assert_eq!(
        object("n: 1\n0644: 2\n1.5: 3\n1e3: 4\ntrue: 5\n2001-12-14: 6\n0x10: 7\n1_0: 8\n\"5\": 9\n"),
        json!({"false": 1, "420": 2, "1.5": 3, "1000": 4, "true": 5, "2001-12-14": 6, "16": 7, "10": 8, "5": 9})
    );
}

// As kubectl does it: a merge replaces what stands before it, the first of several merged maps wins.
#[test]
fn merge_keys_are_expanded_as_by_the_reference() {
    let found = object("b: &b {x: 1, z: 2}\nm: {x: 9, <<: *b}\nl: {<<: *b, x: 9}\no: {<<: [*b, {x: 5, w: 6}]}\nq: {\"<<\": 1}\n");
    assert_eq!(found["m"], json!({"x": 1, "z": 2}));
    assert_eq!(found["l"], json!({"x": 9, "z": 2}));
    assert_eq!(found["o"], json!({"x": 1, "z": 2, "w": 6}));
    assert_eq!(found["q"], json!({"<<": 1}));
    assert_eq!(errors("m: {<<: 1}\n"), ["`<<` takes a map or a list of maps"]);
}

#[test]
fn anchors_are_known_only_in_their_document_and_after_their_value() {
    assert_eq!(object("a: &a [1]\nb: *a\n"), json!({"a": [1], "b": [1]}));
    assert_eq!(errors("a: &a [1, *a]\n"), ["this alias stands inside the value that it names"]);
    assert_eq!(errors("a: &a 1\n---\nb: *a\n"), ["this alias has no anchor before it"]);
}

#[test]
fn equal_keys_are_errors_with_both_places() {
    let text = "apiVersion: v1\nkind: X\na: 1\nn: 2\na: 3\nno: 4\n";
    let reading = read(&source(text));
    let span = |start, end| Span::new(start, end);
    let duplicate = |key: &str, at, first| ReadError::DuplicateKey { key: key.to_owned(), span: at, first };
    assert_eq!(reading.errors, [duplicate("a", span(33, 34), span(23, 24)), duplicate("false", span(38, 40), span(28, 29))]);
    assert_eq!(reading.documents.len(), 1);
    let json = read(&source(r#"{"apiVersion": "v1", "kind": "X", "a": 1, "a": 2}"#));
    assert_eq!(json.errors, [duplicate("a", span(42, 45), span(34, 37))]);
}

#[test]
fn places_are_those_of_keys_and_values() {
    let text = "apiVersion: v1\nkind: X\nspec:\n  é: \"a # b\" # c\n  list:\n  - x: 'it''s' # d\n  - {y: 1}\n  block: |\n    text\n";
    let source = source(text);
    let document = read(&source).documents.remove(0);
    let at = |path: &FieldPath| {
        let place = document.positions.find(path).expect("found");
        (place.key.map(|key| source.slice(key)), source.slice(source.first_line(place.value)))
    };
    let spec = FieldPath::new("spec");
    assert_eq!(at(&spec.child("é")), (Some("é"), "\"a # b\""));
    assert_eq!(at(&spec.child("list").index(0)), (None, "x: 'it''s'"));
    assert_eq!(at(&spec.child("list").index(0).child("x")), (Some("x"), "'it''s'"));
    assert_eq!(at(&spec.child("list").index(1)), (None, "{y: 1}"));
    assert_eq!(at(&spec.child("block")), (Some("block"), "text"));
    let (found, _) = document.place(&spec.child("list").index(7).child("x"));
    assert_eq!(found, spec.child("list"));
}

#[test]
fn a_few_lines_cannot_expand_without_bound() {
    let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..9 {
        let list = vec![format!("*a{}", level - 1); 10].join(", ");
        bomb.push_str(&format!("a{level}: &a{level} [{list}]\n"));
    }
    assert_eq!(errors(&bomb), ["aliases expand to more than 50000 values"]);
    let text = format!("a: &a {}\nb: [{}]\n", "x".repeat(100_000), vec!["*a"; 100].join(", "));
    assert_eq!(errors(&text), ["aliases expand to more than 50000 values"]);
}

#[test]
fn nesting_and_size_are_bounded() {
    let deep = |depth: usize| format!("a: {}{}\n", "[".repeat(depth), "]".repeat(depth));
    assert_eq!(errors(&deep(DEPTH_MAX - 1)), Vec::<String>::new());
    assert_eq!(errors(&deep(DEPTH_MAX + 1)), ["values are nested more than 100 deep"]);
    assert_eq!(errors(&deep(100_000)), ["values are nested more than 100 deep"]);
    let json = format!("{{\"a\": {}", "[".repeat(100_000));
    assert_eq!(read(&source(&json)).errors[0].to_string(), "values are nested more than 100 deep");
    let wide = format!("a:\n{}", "- 1\n".repeat(NODES_MAX));
    assert_eq!(errors(&wide), ["the text has more than 200000 values"]);
    let many = "kind: X\n---\n".repeat(DOCUMENTS_MAX + 1);
    let reading = read(&source(&many));
    assert_eq!(reading.errors.iter().map(ToString::to_string).filter(|e| e.contains("documents")).count(), 1);
}

#[test]
fn lists_in_brackets_may_stand_as_far_left_as_their_key() {
    let text = "spec:\n  ü: é\n  args: [\n    a,\n    {b: c,\n  d: e\n  },\n  ]\n  after: |\n    ]\n     }\n";
    let expected = json!({ "spec": { "ü": "é", "args": ["a", { "b": "c", "d": "e" }], "after": "]\n }\n" } });
    assert_eq!(object(text), expected);
    let whole = source(&format!("apiVersion: v1\nkind: X\n{text}"));
    let reading = read(&whole);
    let place = |path: &FieldPath| whole.slice(reading.documents[0].positions.find(path).expect("there").value).to_owned();
    let args = FieldPath::new("spec").child("args");
    assert_eq!(place(&args.index(1).child("d")), "e");
    assert_eq!(place(&FieldPath::new("spec").child("ü")), "é");
    // What is wrong is told at its place in the text as it was written.
    let [error] = errors("args: [\n]\n b: c\n")[..].to_vec().try_into().expect("one error");
    assert_eq!(error, errors("args: [\n  ]\n b: c\n").remove(0));
}

#[test]
fn control_characters_and_bad_scalars_are_refused() {
    assert_eq!(errors("a: \u{1}\n"), ["the control character U+0001 is not allowed in YAML"]);
    assert_eq!(errors("a: .inf\n"), ["`.inf` is a number that JSON cannot hold, so Kubernetes refuses it"]);
    assert_eq!(errors("a: !!int x\n"), ["\"x\" is no value of type `!!int`"]);
    assert_eq!(errors("? [a]\n: 1\n~: 2\n"), ["a list cannot be the key of a map", "nothing cannot be the key of a map"]);
    assert_eq!(read(&source("{\"a\": 1e400}")).errors[0].to_string(), "`1e400` is out of range");
}

#[test]
fn json_mistakes_are_explained() {
    let error = |text: &str| read(&source(text)).errors[0].to_string();
    assert_eq!(error("{\"a\": 'x'}"), "this is no JSON value");
    assert_eq!(error("{\"a\": 01}"), "this is no JSON number");
    assert_eq!(error("{\"a\" 1}"), "a colon is expected after this key");
    assert_eq!(error("{\"a\": 1 \"b\": 2}"), "a comma or a closing bracket is expected here");
    assert_eq!(error("{\"a\": \"x"), "this quote is never closed");
    assert_eq!(error("{\"a\": \"\\x\"}"), "this escape is not known to JSON");
    assert_eq!(error("{\"a\": \"\n\"}"), "a control character is not allowed inside quotes");
    assert_eq!(error("{\"a\": [1, 2"), "the text ends before its brackets are closed");
    assert_eq!(error("{\"a\": tru}"), "this is no JSON value");
}

#[test]
fn yaml_in_braces_is_not_mistaken_for_json() {
    let reading = read(&source("{apiVersion: v1, kind: X}"));
    assert_eq!((reading.documents.len(), reading.errors.len()), (1, 0));
}
