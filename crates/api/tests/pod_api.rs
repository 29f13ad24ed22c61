//! `docs/pod-api.md`: what becomes of every field of a Pod, made from the API types, the table of [`api::support::RULES`], and
//! `data/proofs.tsv`, which names for a field the tests that prove it.
//!
//! `UPDATE=1 cargo nextest run -p usher-api pod_api` writes the page anew. A field of the API that nobody thought of is in the page
//! by itself, as refused; a supported one without a test says that it is not proven.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use api::schema::SCHEMA_JSON;
use api::support::{RULES, Verdict, rule_path};
use serde_json::Value;

const CORE: &str = "io.k8s.api.core.v1.";

/// Types in the order in which a reader wants them; the others follow by name.
const FIRST: [&str; 12] = [
    "PodSpec",
    "Container",
    "Lifecycle",
    "LifecycleHandler",
    "Probe",
    "ContainerRestartRule",
    "EnvVar",
    "EnvVarSource",
    "EnvFromSource",
    "VolumeMount",
    "Volume",
    "VolumeProjection",
];

/// What becomes of a field at one place.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fate {
    Supported,
    /// Parts of it have fates of their own.
    Parts,
    Meaningless,
    Fails(String),
    Ignored(String),
    Refused(String),
    /// Refused unless there is an API.
    ServedOnly(String),
}

/// What is known of all fields.
#[derive(Default)]
struct Fields {
    /// By type and field: its fates, each with the places that have it.
    fates: BTreeMap<(String, String), BTreeMap<Fate, BTreeSet<String>>>,
    /// Types that are only under fields that are not acted on, with these fields.
    below: BTreeMap<String, BTreeSet<String>>,
}

#[test]
fn the_page_of_the_pod_api_is_up_to_date() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let proofs = proofs(&fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("data/proofs.tsv")).expect("proofs.tsv"));
    let fields = fields();
    let fresh = page(&fields, &proofs);
    let path = root.join("docs/pod-api.md");
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, &fresh).expect("the page is writable");
    }
    let stored = fs::read_to_string(&path).expect("the page is readable");
    assert!(stored == fresh, "docs/pod-api.md is out of date: run this test with UPDATE=1");
}

#[test]
fn every_proof_is_a_test_that_is_there_and_of_a_field_that_is_supported() {
    let proofs = proofs(&fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("data/proofs.tsv")).expect("proofs.tsv"));
    let fields = fields();
    let mut tests = BTreeSet::new();
    collect_tests(&Path::new(env!("CARGO_MANIFEST_DIR")).join(".."), &mut tests);
    const TESTS_MIN: usize = 500;
    assert!(tests.len() > TESTS_MIN, "only {} tests were found", tests.len());
    let mut wrong = Vec::new();
    for ((of, field), names) in &proofs {
        match fields.fates.get(&(of.clone(), field.clone())) {
            Some(fates)
                if fates.keys().any(|fate| matches!(fate, Fate::Supported | Fate::Parts | Fate::Fails(_) | Fate::ServedOnly(_))) => {}
            Some(_) => wrong.push(format!("{of}.{field} is not supported")),
            None => wrong.push(format!("{of}.{field} is no field")),
        }
        wrong.extend(names.iter().filter(|name| !tests.contains(*name)).map(|name| format!("{of}.{field}: there is no test {name}")));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_field_of_a_pod_is_missing_in_the_page() {
    let fields = fields();
    let definitions: Value = serde_json::from_str(SCHEMA_JSON).expect("JSON");
    let mut all = BTreeSet::new();
    reach(&definitions, &format!("{CORE}PodSpec"), &mut all);
    let known = |name: &str| fields.below.contains_key(short(name)) || fields.fates.keys().any(|(of, _)| of == short(name));
    let missing: Vec<_> = all.iter().filter(|name| !known(name)).collect();
    assert!(missing.is_empty(), "{missing:?}");
    for name in all.iter().filter(|name| !fields.below.contains_key(short(name))) {
        for field in definitions[name]["properties"].as_object().expect("fields").keys() {
            assert!(fields.fates.contains_key(&(short(name).to_owned(), field.clone())), "{name}.{field}");
        }
    }
}

/// All types that a type leads to, itself among them.
fn reach(definitions: &Value, name: &str, all: &mut BTreeSet<String>) {
    let Some(properties) = definitions[name]["properties"].as_object() else { return };
    if all.insert(name.to_owned()) {
        properties.values().filter_map(target).for_each(|target| reach(definitions, target, all));
    }
}

/// The type that a field's values, items or entries have.
fn target(schema: &Value) -> Option<&str> {
    let inner = schema.get("items").or_else(|| schema.get("additionalProperties")).unwrap_or(schema);
    inner.get("$ref").and_then(Value::as_str)
}

fn short(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name)
}

fn fields() -> Fields {
    let definitions: Value = serde_json::from_str(SCHEMA_JSON).expect("JSON");
    let mut fields = Fields::default();
    let mut not_acted_on = BTreeSet::new();
    walk(&definitions, &format!("{CORE}PodSpec"), "spec", &mut fields, &mut not_acted_on);
    for (name, place) in not_acted_on {
        let mut below = BTreeSet::new();
        reach(&definitions, &name, &mut below);
        for name in below {
            if !fields.fates.keys().any(|(of, _)| of == short(&name)) {
                fields.below.entry(short(&name).to_owned()).or_default().insert(place.clone());
            }
        }
    }
    fields
}

fn walk(definitions: &Value, name: &str, place: &str, fields: &mut Fields, not_acted_on: &mut BTreeSet<(String, String)>) {
    let Some(properties) = definitions[name]["properties"].as_object() else { return };
    for (field, schema) in properties {
        let place = format!("{place}.{field}");
        let fate = fate(&rule_path(&place));
        let fates = fields.fates.entry((short(name).to_owned(), field.clone())).or_default();
        fates.entry(fate.clone()).or_default().insert(place.clone());
        match (fate, target(schema)) {
            (Fate::Supported | Fate::Parts | Fate::ServedOnly(_), Some(target)) => walk(definitions, target, &place, fields, not_acted_on),
            (Fate::Meaningless | Fate::Fails(_) | Fate::Ignored(_) | Fate::Refused(_), Some(target)) => {
                not_acted_on.insert((target.to_owned(), place));
            }
            (_, None) => {}
        }
    }
}

/// As the engine decides: the rule of the field, or of what it is in.
fn fate(place: &str) -> Fate {
    let is_above = |rule: &str| place.strip_prefix(rule).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
    let is_below = |rule: &str| rule.strip_prefix(place).is_some_and(|rest| rest.starts_with('.'));
    let but = |same: &[&str]| match same {
        [] => String::new(),
        values => format!(" (other than `{}`)", values.join("`, `")),
    };
    match RULES.iter().find(|(rule, ..)| is_above(rule)) {
        Some((_, Verdict::Supported, _)) => Fate::Supported,
        Some((_, Verdict::Meaningless, _)) => Fate::Meaningless,
        Some((_, Verdict::Fails(message), _)) => Fate::Fails((*message).to_owned()),
        Some((_, Verdict::Ignored(message), same)) => Fate::Ignored(format!("{message}{}", but(same))),
        Some((_, Verdict::Refused(message), same)) => Fate::Refused(format!("{message}{}", but(same))),
        Some((_, Verdict::ServedOnly(message), same)) => Fate::ServedOnly(format!("{message}{}", but(same))),
        None if RULES.iter().any(|(rule, ..)| is_below(rule)) => Fate::Parts,
        None => Fate::Refused("not supported".to_owned()),
    }
}

type Proofs = BTreeMap<(String, String), Vec<String>>;

fn proofs(text: &str) -> Proofs {
    let mut proofs = Proofs::new();
    for line in text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        let (field, tests) = line.split_once('\t').unwrap_or_else(|| panic!("no tab in proofs.tsv: {line}"));
        let (of, field) = field.split_once('.').unwrap_or_else(|| panic!("no Type.field in proofs.tsv: {line}"));
        let tests = tests.split_whitespace().map(str::to_owned).collect();
        let earlier = proofs.insert((of.to_owned(), field.to_owned()), tests);
        assert!(earlier.is_none(), "{of}.{field} is twice in proofs.tsv");
    }
    proofs
}

/// Names of the tests below a folder: functions that follow `#[test]` or `#[tokio::test]`.
fn collect_tests(dir: &Path, tests: &mut BTreeSet<String>) {
    for entry in fs::read_dir(dir).expect("a folder").map(|entry| entry.expect("an entry").path()) {
        if entry.is_dir() {
            collect_tests(&entry, tests);
        } else if entry.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&entry).expect("a source file");
            let mut is_test = false;
            for line in text.lines().map(str::trim) {
                if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
                    is_test = true;
                } else if let Some((_, rest)) = line.split_once("fn ").filter(|_| is_test && !line.starts_with("//")) {
                    tests.insert(rest.split(['(', '<']).next().unwrap_or_default().to_owned());
                    is_test = false;
                }
            }
        }
    }
}

fn page(fields: &Fields, proofs: &Proofs) -> String {
    let mut page = String::from(HEAD);
    let counted = fields.fates.iter().filter(|(_, fates)| fates.contains_key(&Fate::Supported)).map(|(field, _)| field);
    let (supported, proven) = counted.fold((0, 0), |(all, proven), field| (all + 1, proven + usize::from(proofs.contains_key(field))));
    writeln!(page, "Of {supported} supported fields {proven} name their proof.\n").expect("writing to a string");
    let mut types: Vec<&str> = FIRST.to_vec();
    let others: BTreeSet<&str> = fields.fates.keys().map(|(of, _)| of.as_str()).filter(|of| !FIRST.contains(of)).collect();
    types.extend(others);
    for of in types {
        writeln!(page, "## {of}\n\n| Field | Fate | Proof, or what is said |\n| --- | --- | --- |").expect("writing to a string");
        for ((_, field), fates) in fields.fates.iter().filter(|((owner, _), _)| owner == of) {
            for (fate, places) in fates {
                let at = if fates.len() > 1 { format!(" at {}", listed(places)) } else { String::new() };
                let proof = proofs.get(&(of.to_owned(), field.clone()));
                let (word, said) = row(fate, proof);
                writeln!(page, "| `{field}`{at} | {word} | {said} |").expect("writing to a string");
            }
        }
        page.push('\n');
    }
    page.push_str(BELOW);
    let definitions: Value = serde_json::from_str(SCHEMA_JSON).expect("JSON");
    for (of, places) in &fields.below {
        let name = definitions.as_object().expect("types").keys().find(|name| short(name) == of).expect("the type");
        let own: BTreeSet<String> = definitions[name]["properties"].as_object().expect("fields").keys().cloned().collect();
        writeln!(page, "| {of} | {} | {} |", quoted(own.iter()).join(", "), listed(places)).expect("writing to a string");
    }
    page
}

fn row(fate: &Fate, proof: Option<&Vec<String>>) -> (&'static str, String) {
    match (fate, proof) {
        (Fate::Supported, Some(tests)) => ("supported", quoted(tests.iter()).join(", ")),
        (Fate::Parts, Some(tests)) => ("in parts", quoted(tests.iter()).join(", ")),
        (Fate::Supported, None) => ("supported", "not proven".to_owned()),
        (Fate::Parts, None) => ("in parts", "see its fields".to_owned()),
        (Fate::Meaningless, _) => ("accepted", "has no meaning here, nothing is said".to_owned()),
        (Fate::Fails(message), Some(tests)) => ("fails", format!("{message} ({})", quoted(tests.iter()).join(", "))),
        (Fate::Fails(message), None) => ("fails", message.clone()),
        (Fate::Ignored(message), _) => ("ignored", message.clone()),
        (Fate::Refused(message), _) => ("refused", message.clone()),
        (Fate::ServedOnly(message), tests) => {
            let proof = tests.map_or_else(|| "not proven".to_owned(), |tests| quoted(tests.iter()).join(", "));
            ("served", format!("{proof}; elsewhere refused: {message}"))
        }
    }
}

/// The first few, quoted.
fn listed(texts: &BTreeSet<String>) -> String {
    const SHOWN_MAX: usize = 16;
    let mut shown = quoted(texts.iter().take(SHOWN_MAX));
    if texts.len() > SHOWN_MAX {
        shown.push(format!("{} more", texts.len() - SHOWN_MAX));
    }
    shown.join(", ")
}

fn quoted<'a>(texts: impl Iterator<Item = &'a String>) -> Vec<String> {
    texts.map(|text| format!("`{text}`")).collect()
}

const HEAD: &str = "# Fields of a Pod

What becomes of every field of a Pod that is given to usher. Made from the types of the Kubernetes API, the engine's own table of what
it acts on, and the names of the tests that prove it; a test keeps this page up to date (`crates/api/tests/pod_api.rs`).

* **supported**: acted on, as the kubelet and containerd do, apart from the [deliberate differences](differences.md). The tests named
  run real containers, unless what they prove is only a text or a computation. *Not proven* means that no test shows the effect in a
  real container by itself.
* **accepted**: nothing here depends on it, and nobody would expect it to.
* **fails**: what it asks for is done and never succeeds, as with the kubelet; the API warns of it.
* **ignored**: the Pod runs without it, with this warning.
* **refused**: the Pod is not run, with this error and its place in the manifest.
* **served**: supported by `usher serve`, whose clients can change the Pod; refused by `usher run` and in files of static pods.
* **in parts**: its own fields have different fates; the tests named are about it as a whole.

Init containers have the same fields as containers, with the same fates. Ephemeral containers have them too, but for those that are
refused there.

";

const BELOW: &str = "## Types that are only in fields which are not acted on

| Type | Fields | Only in |
| --- | --- | --- |
";
