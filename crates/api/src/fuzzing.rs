//! The fuzz target of this crate; see `cargo xtask fuzz`. Neither in the product nor in its interface.

use crate::{Colour, Object, Source, fuzz_read, load, render};

/// Any bytes as a manifest. What is accepted must be accepted again, as the same, when it is written down.
pub fn manifest(data: &[u8]) {
    fuzz_read(data);
    let Ok(source) = Source::new("fuzz.yaml", data) else { return };
    // The same bytes as the configuration of a node.
    let configuration = crate::configuration::load(&source);
    let _ = render(&source, &configuration.diagnostics, Colour::Plain);
    let manifest = load(&source);
    assert_eq!(manifest, load(&source), "the same text gives the same objects and the same words");
    for object in &manifest.objects {
        let Object::Pod(pod) = object else { continue };
        let written = serde_json::to_string(pod).expect("an object of the API is JSON");
        let again = Source::new("fuzz.json", written.as_bytes()).expect("JSON is text");
        let read = load(&again);
        assert!(!read.has_errors(), "{written}\n{}", render(&again, &read.diagnostics, Colour::Plain));
        assert_eq!(read.objects, std::slice::from_ref(object), "{written}");
    }
}

#[cfg(test)]
#[path = "../../../fuzz/replay.rs"]
mod replay;

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{manifest, replay};

    /// Every example, and every manifest that people get wrong.
    fn seeds() -> Vec<(String, Vec<u8>)> {
        let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
        let mut seeds = Vec::new();
        for entry in std::fs::read_dir(examples).expect("there are examples").flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.ends_with(".yaml") {
                seeds.push((name, std::fs::read(entry.path()).expect("an example is readable")));
            }
        }
        let wrong = include_str!("../tests/wrong_manifests.txt").split("==== ").skip(1);
        seeds.extend(wrong.enumerate().map(|(number, section)| {
            let text = section.split_once('\n').map_or("", |(_, rest)| rest).split("\n----\n").next().unwrap_or_default();
            (format!("wrong-{number:02}.yaml"), text.as_bytes().to_vec())
        }));
        seeds
    }

    #[test]
    fn manifests_of_the_corpus_are_read_to_an_end_and_what_is_accepted_is_accepted_again() {
        for (_, seed) in seeds() {
            manifest(&seed);
        }
        let every_kind = include_str!("../tests/manifests.rs").split("r#\"").nth(1).and_then(|text| text.split("\"#").next());
        let list = r#"{"apiVersion":"v1","kind":"List","items":[{"apiVersion":"v1","kind":"Pod","metadata":{"name":"a"},"spec":{"containers":[{"name":"c","image":"i"}]}}]}"#;
        let seeds = [("every-kind.yaml", every_kind.expect("a manifest")), ("list.json", list)];
        replay::replay("manifest", seeds.map(|(name, text)| (name.to_owned(), text.as_bytes().to_vec())), manifest);
    }
}
