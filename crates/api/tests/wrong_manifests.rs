//! Manifests as people get them wrong, each with exactly what they are told.
//!
//! The cases are in `wrong_manifests.txt`: a line `==== name`, the manifest, a line `----`, the rendering.
//! `UPDATE=1` writes the renderings anew; then read the difference.

use std::path::Path;

use api::{Colour, Source, load, render};

struct Case {
    name: String,
    manifest: String,
    rendering: String,
}

fn cases(text: &str) -> Vec<Case> {
    let sections = text.split("==== ").skip(1).map(|section| {
        let (name, rest) = section.split_once('\n').expect("a name");
        let (manifest, rendering) = rest.split_once("\n----\n").unwrap_or((rest.trim_end(), ""));
        Case { name: name.to_owned(), manifest: format!("{manifest}\n"), rendering: rendering.trim_end().to_owned() }
    });
    sections.collect()
}

#[test]
fn wrong_manifests_are_explained() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/wrong_manifests.txt");
    let text = std::fs::read_to_string(&path).expect("the cases are readable");
    let mut cases = cases(&text);
    const CASES_MIN: usize = 40;
    assert!(cases.len() >= CASES_MIN, "only {} cases were found", cases.len());
    let mut wrong = Vec::new();
    let mut written = String::new();
    for case in &mut cases {
        let source = Source::new("pod.yaml", case.manifest.as_bytes()).expect("text");
        let manifest = load(&source);
        let found = render(&source, &manifest.diagnostics, Colour::Plain).trim_end().to_owned();
        if !manifest.has_errors() || found != case.rendering {
            wrong.push(format!("==== {}\nexpected:\n{}\nfound:\n{found}", case.name, case.rendering));
        }
        written.push_str(&format!("==== {}\n{}----\n{found}\n\n", case.name, case.manifest));
    }
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, written).expect("the cases are writable");
        return;
    }
    assert!(wrong.is_empty(), "{} cases differ:\n\n{}", wrong.len(), wrong.join("\n\n"));
}
