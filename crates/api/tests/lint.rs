//! The rules over manifests: pages, good and faulty manifests, exact renderings, the machine formats.
//!
//! `tests/lint/good` holds manifests as careful people write them: nothing may be found. In `tests/lint/faulty` each
//! fault is marked on the next line by a comment with a caret under the column and the ids of the rules:
//!
//! ```text
//!   terminationGracePeriodSeconds: 0
//!   #                              ^ USH104
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use api::lint::{
    Context, ImageConfig, ImageFile, Images, Level, Measured, MeasuredContainer, NoImages, RULES, Report, Rule, Selection, json, lint,
    sarif,
};
use api::{Colour, Source, render};
use proptest::prelude::*;
use serde_json::Value;

fn report(name: &str, text: &str) -> (Source, Report) {
    let source = Source::new(name, text.as_bytes()).expect("text");
    let report = lint(&source, &Context { images: &NoImages, measured: &[], selection: &Selection::default() });
    (source, report)
}

/// What was found, as it is shown.
fn shown(source: &Source, report: &Report) -> String {
    let diagnostics: Vec<_> = report.findings.iter().map(api::lint::Finding::diagnostic).collect();
    render(source, &report.unreadable, Colour::Plain) + &render(source, &diagnostics, Colour::Plain)
}

fn ids(report: &Report) -> Vec<&'static str> {
    report.findings.iter().map(|finding| finding.rule.id).collect()
}

fn manifests(folder: &str) -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lint").join(folder);
    let entries = fs::read_dir(&folder).expect("the folder is there");
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    let named = paths.into_iter().map(|path| {
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        (name, fs::read_to_string(&path).expect("the manifest is readable"))
    });
    named.collect()
}

/// The manifests in the order of a page: what the rule finds, and how it is cured.
fn examples(page: &str) -> Vec<&str> {
    let blocks = page.split("```yaml\n").skip(1);
    blocks.map(|block| block.split("```").next().unwrap_or_default()).collect()
}

#[test]
fn every_rule_has_a_page_that_says_what_the_table_says() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/lint");
    let index = fs::read_to_string(folder.join("README.md")).expect("the index is readable");
    let mut known = BTreeSet::from(["README.md".to_owned()]);
    for rule in RULES {
        let begin = format!("# {}: {}\n\n{}. Level: **{}**.\n", rule.id, rule.name, rule.title, rule.level);
        assert!(rule.page.starts_with(&begin), "docs/lint/{}.md does not begin with:\n{begin}", rule.id);
        for part in ["\n## What\n", "\n## Why\n", "\n## Example\n", "\n## Fix\n"] {
            assert!(rule.page.contains(part), "docs/lint/{}.md has no part {part:?}", rule.id);
        }
        let row = format!("| [{id}]({id}.md) | {} | {} | {} |", rule.name, rule.level, rule.title, id = rule.id);
        assert!(index.contains(&row), "docs/lint/README.md has no row:\n{row}");
        known.insert(format!("{}.md", rule.id));
    }
    let pages = fs::read_dir(&folder).expect("the folder is there").map(|entry| entry.expect("an entry").file_name());
    let pages: BTreeSet<String> = pages.map(|name| name.to_string_lossy().into_owned()).collect();
    assert_eq!(pages, known, "pages and rules are the same");
}

#[test]
fn ids_and_names_are_unique_and_in_order() {
    assert!(RULES.is_sorted_by(|a, b| a.id < b.id));
    let names: BTreeSet<&str> = RULES.iter().map(|rule| rule.name).collect();
    assert_eq!(names.len(), RULES.len());
    assert_eq!(Rule::find("ush101"), Rule::find("prestop-takes-all-grace"));
    assert_eq!(Rule::find("USH000"), None);
}

#[test]
fn the_example_of_every_page_has_the_fault_and_its_cure_has_none() {
    let mut wrong = Vec::new();
    for rule in RULES {
        let blocks = examples(rule.page);
        let [faulty, cured] = blocks.as_slice() else { panic!("{} has two manifests", rule.id) };
        let (source, found) = report("page.yaml", faulty);
        if ids(&found) != [rule.id] {
            wrong.push(format!("{}: the example gives {:?}\n{}", rule.id, ids(&found), shown(&source, &found)));
        }
        let (source, found) = report("page.yaml", cured);
        if !found.findings.is_empty() || !found.unreadable.is_empty() {
            wrong.push(format!("{}: the cure is found faulty:\n{}", rule.id, shown(&source, &found)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

// k8s: 4.a.15, 5.a.10: the hooks of sidecars run when a job has completed.
#[test]
fn nothing_is_found_in_good_manifests() {
    const MANIFESTS_MIN: usize = 30;
    let manifests = manifests("good");
    assert!(manifests.len() >= MANIFESTS_MIN, "only {} good manifests", manifests.len());
    let mut wrong = String::new();
    for (name, text) in manifests {
        let (source, found) = report(&name, &text);
        assert!(found.pods > 0, "{name} has no pod");
        wrong.push_str(&shown(&source, &found));
    }
    assert!(wrong.is_empty(), "false alarms:\n{wrong}");
}

/// Line, column and rule of every mark.
fn marks(text: &str) -> BTreeSet<(usize, usize, String)> {
    let mut marks = BTreeSet::new();
    let mut marked = 0;
    for (index, line) in text.lines().enumerate() {
        let mark = line.trim_start().starts_with('#').then(|| line.split_once('^')).flatten();
        match mark {
            Some((before, ids)) => {
                let column = before.chars().count() + 1;
                marks.extend(ids.split_whitespace().map(|id| (marked, column, id.to_owned())));
            }
            None => marked = index + 1,
        }
    }
    marks
}

// k8s: 1.b.1, 1.b.5, 1.d.2, 1.d.7, 2.a.4, 2.a.11, 2.a.12, 2.d.1, 2.d.17, 3.a.1, 3.b.5, 3.b.9, 3.c.1, 3.c.2, 3.d.2, 3.d.5,
// k8s: 3.d.6, 3.d.23, 3.d.28, 3.e.6, 3.g.1, 3.g.3, 4.a.4, 4.b.4, 4.b.6, 6.c.2, 6.c.3, 6.c.4, 6.c.7, 7.a.8, 7.a.9, 7.a.11,
// k8s: 7.a.13, 7.d.1, 12.a.1, 12.a.3, 12.a.6, 12.a.7, 12.a.8, 12.a.10, 12.a.13, 12.b.3, 12.d.3, 12.d.4, 12.e.2
#[test]
fn every_planted_fault_is_found_at_its_place_and_nothing_else() {
    const MANIFESTS_MIN: usize = 30;
    let manifests = manifests("faulty");
    assert!(manifests.len() >= MANIFESTS_MIN, "only {} faulty manifests", manifests.len());
    let mut wrong = Vec::new();
    let mut planted = BTreeSet::new();
    for (name, text) in manifests {
        let (source, found) = report(&name, &text);
        let places: BTreeSet<_> = found
            .findings
            .iter()
            .map(|finding| {
                let place = source.position(source.first_line(finding.span).start);
                (place.line, place.column, finding.rule.id.to_owned())
            })
            .collect();
        let marks = marks(&text);
        assert!(!marks.is_empty(), "{name} has no mark");
        planted.extend(marks.iter().map(|(.., id)| id.clone()));
        if places != marks {
            let missing: Vec<_> = marks.difference(&places).collect();
            let extra: Vec<_> = places.difference(&marks).collect();
            wrong.push(format!("{name}: missing {missing:?}, extra {extra:?}\n{}", shown(&source, &found)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    let unplanted: Vec<_> = RULES.iter().map(|rule| rule.id).filter(|id| !planted.contains(*id)).collect();
    assert!(unplanted.is_empty(), "no faulty manifest has {unplanted:?}");
}

#[test]
fn faults_are_shown_word_by_word() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lint/renderings.txt");
    let mut fresh = String::new();
    for (name, text) in manifests("faulty") {
        let (source, found) = report(&name, &text);
        fresh.push_str(&format!("==== {name}\n{}\n", shown(&source, &found)));
    }
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, &fresh).expect("the renderings are writable");
    }
    let stored = fs::read_to_string(&path).expect("the renderings are readable");
    let difference = stored.lines().zip(fresh.lines()).find(|(stored, fresh)| stored != fresh);
    assert!(
        stored == fresh,
        "tests/lint/renderings.txt differs, first at {difference:?}; UPDATE=1 writes it anew, then read the difference"
    );
}

const FAULTY: &str = "apiVersion: v1
kind: Pod
metadata:
  name: web
spec:
  containers:
  - name: app
    image: example.com/app:1
    lifecycle:
      preStop: {sleep: {seconds: 28}}
  - name: side
    image: example.com/side:1
    lifecycle:
      preStop: {sleep: {seconds: 29}}
";

fn with_annotation(annotation: &str) -> String {
    FAULTY.replace("  name: web\n", &format!("  name: web\n  annotations: {{{annotation}}}\n"))
}

#[test]
fn findings_are_silenced_by_annotations_and_comments() {
    let silenced = |text: &str| {
        let (_, report) = report("m.yaml", text);
        let name = |finding: &api::lint::Finding| finding.container.clone().unwrap_or_default();
        (report.findings.iter().map(name).collect::<Vec<_>>(), report.silenced.iter().map(name).collect::<Vec<_>>())
    };
    let both = || vec!["app".to_owned(), "side".to_owned()];
    let (app, side) = (vec!["app".to_owned()], vec!["side".to_owned()]);
    assert_eq!(silenced(FAULTY), (both(), vec![]));
    assert_eq!(silenced(&with_annotation("lint.usher.dev/ignore: 'USH205, no-time-to-drain'")), (vec![], both()));
    assert_eq!(silenced(&with_annotation("lint.usher.dev/ignore: all")), (vec![], both()));
    assert_eq!(silenced(&with_annotation("lint.usher.dev/ignore: USH101")), (both(), vec![]));
    assert_eq!(silenced(&with_annotation("lint.usher.dev/ignore.app: USH102")), (side.clone(), app.clone()));
    assert_eq!(silenced(&FAULTY.replace("28}}", "28}} # lint.usher.dev/ignore: USH102")), (side, app.clone()));
    let before = FAULTY.replace(
        "      preStop: {sleep: {seconds: 29}}",
        "      # lint.usher.dev/ignore: USH102\n      # because\n      preStop: {sleep: {seconds: 29}}",
    );
    assert_eq!(silenced(&before), (app, vec!["side".to_owned()]));
    // A text that only looks like a comment silences nothing.
    let text = FAULTY.replace("image: example.com/app:1", "image: 'lint.usher.dev/ignore: USH102'");
    assert_eq!(silenced(&text).1, Vec::<String>::new());
}

#[test]
fn the_annotation_of_a_template_or_of_its_object_counts() {
    for place in ["metadata: {name: web, annotations: {lint.usher.dev/ignore: USH102}}", "metadata: {name: web}"] {
        let template = if place.contains("ignore") { "{}" } else { "{annotations: {lint.usher.dev/ignore: USH102}}" };
        let text = format!(
            "apiVersion: batch/v1\nkind: CronJob\n{place}\nspec:\n  schedule: '0 * * * *'\n  jobTemplate:\n    spec:\n      template:\n        \
             metadata: {template}\n        spec:\n          restartPolicy: Never\n          initContainers:\n          - name: side\n            image: x\n            \
             restartPolicy: Always\n            lifecycle: {{preStop: {{sleep: {{seconds: 28}}}}}}\n          containers: [{{name: app, image: x}}]\n"
        );
        let (source, report) = report("m.yaml", &text);
        assert_eq!((ids(&report).len(), report.silenced.len()), (0, 1), "{}", shown(&source, &report));
    }
}

#[test]
fn rules_are_selected() {
    let source = Source::new("m.yaml", FAULTY.replace("containers:", "containerss:").as_bytes()).expect("text");
    let run = |selection: &Selection| ids(&lint(&source, &Context { images: &NoImages, measured: &[], selection }));
    assert_eq!(run(&Selection::default()), ["USH001"]);
    let rule = |id| Rule::find(id).expect("a rule");
    assert_eq!(run(&Selection { only: vec![rule("USH102")], ignored: vec![] }), [] as [&str; 0]);
    assert_eq!(run(&Selection { only: vec![], ignored: vec![rule("unknown-field")] }), [] as [&str; 0]);
}

/// Images as a test wants them.
#[derive(Debug, Default)]
struct Shelf {
    config: ImageConfig,
    /// Files by path, each with where it really is.
    files: BTreeMap<&'static str, &'static str>,
}

impl Images for Shelf {
    fn config(&self, image: &str) -> Option<ImageConfig> {
        (image == "here:1").then(|| self.config.clone())
    }

    fn file(&self, image: &str, path: &str) -> ImageFile {
        match (image, self.files.get(path)) {
            ("here:1", Some(real)) => ImageFile::File((*real).to_owned()),
            ("here:1", None) => ImageFile::Missing,
            _ => ImageFile::Unknown,
        }
    }
}

fn with_images(container: &str, shelf: &Shelf) -> Vec<String> {
    let text = format!("apiVersion: v1\nkind: Pod\nmetadata: {{name: web}}\nspec:\n  containers:\n  - name: app\n{container}");
    let source = Source::new("m.yaml", text.as_bytes()).expect("text");
    let report = lint(&source, &Context { images: shelf, measured: &[], selection: &Selection::default() });
    assert!(report.unreadable.is_empty(), "{}", shown(&source, &report));
    report.findings.iter().map(|finding| format!("{} {}", finding.rule.id, finding.message)).collect()
}

#[test]
fn programs_are_looked_for_in_the_image() {
    let shelf = Shelf { files: [("/bin/sh", "/bin/dash"), ("/usr/bin/curl", "/usr/bin/curl")].into(), ..Shelf::default() };
    let hook = |image: &str, command: &str| format!("    image: {image}\n    lifecycle: {{preStop: {{exec: {{command: {command}}}}}}}\n");
    let check = |image: &str, command: &str| with_images(&hook(image, command), &shelf);
    let none: [&str; 0] = [];
    assert_eq!(check("here:1", "[nginx, -s, quit]"), ["USH207 nginx is not in the image of app, so its preStop always fails"]);
    assert_eq!(check("here:1", "[/bin/bash, -c, x]"), ["USH207 /bin/bash is not in the image of app, so its preStop always fails"]);
    assert_eq!(
        check("here:1", "[sh, -c, 'cd /tmp && wget -q http://x/ && curl y']"),
        ["USH207 wget is not in the image of app, but its preStop runs it"]
    );
    assert_eq!(check("here:1", "[curl, 'http://x/']"), none);
    assert_eq!(check("here:1", "[sh, -c, 'command -v wget && wget x']"), none);
    assert_eq!(check("here:1", "[sh, -c, 'wget x || true']"), none);
    assert_eq!(check("elsewhere:1", "[nginx, -s, quit]"), none);
    let mounted =
        hook("here:1", "[/tools/drain]") + "    volumeMounts: [{name: t, mountPath: /tools/}]\n  volumes: [{name: t, emptyDir: {}}]\n";
    assert_eq!(with_images(&mounted, &shelf), none);
    let own_path = hook("here:1", "[drain]") + "    env: [{name: PATH, value: /opt}]\n";
    assert_eq!(with_images(&own_path, &shelf), ["USH207 drain is not in the image of app, so its preStop always fails"]);
    // BusyBox has its programs inside, whatever files there are.
    let busybox = Shelf { files: [("/bin/sh", "/bin/busybox")].into(), ..Shelf::default() };
    assert_eq!(with_images(&hook("here:1", "[sh, -c, sleep 3]"), &busybox), none);
}

#[test]
fn the_image_says_what_process_1_is() {
    let words = |text: &str| text.split('|').map(str::to_owned).collect::<Vec<_>>();
    let shelf = |shell, entrypoint: &str, signal: Option<&str>| Shelf {
        config: ImageConfig { cmd: words(entrypoint), stop_signal: signal.map(str::to_owned), ..ImageConfig::default() },
        files: [("/bin/sh", shell)].into(),
    };
    let found = ["USH501 process 1 of app is a shell, which does not pass the stop signal on"];
    let none: [&str; 0] = [];
    let dash = shelf("/usr/bin/dash", "/bin/sh|-c|node server.js", None);
    assert_eq!(with_images("    image: here:1\n", &dash), found);
    assert_eq!(with_images("    image: here:1\n    command: [node, server.js]\n", &dash), none);
    assert_eq!(with_images("    image: here:1\n    command: [sh, -c, exec node server.js]\n", &dash), none);
    // BusyBox and bash give their place to the last command of a script.
    let busybox = shelf("/bin/busybox", "/bin/sh|-c|node server.js", None);
    assert_eq!(with_images("    image: here:1\n", &busybox), none);
    assert_eq!(with_images("    image: here:1\n    command: [sh, -c, 'node server.js | tee log']\n", &busybox), found);
    assert_eq!(with_images("    image: elsewhere:1\n", &dash), none);
    let kill = shelf("/bin/busybox", "node", Some("SIGKILL"));
    assert_eq!(
        with_images("    image: here:1\n", &kill),
        ["USH502 the image of app asks to be stopped with SIGKILL, which no process can handle"]
    );
}

fn with_runs(pod: &str, manifest: &str, app: MeasuredContainer) -> Vec<String> {
    lint_with(&[run_of("default", pod, app)], manifest)
}

fn run_of(namespace: &str, pod: &str, app: MeasuredContainer) -> Measured {
    Measured { namespace: namespace.to_owned(), pod: pod.to_owned(), containers: [("app".to_owned(), app)].into() }
}

fn lint_with(measured: &[Measured], manifest: &str) -> Vec<String> {
    let source = Source::new("m.yaml", manifest.as_bytes()).expect("text");
    let report = lint(&source, &Context { images: &NoImages, measured, selection: &Selection::default() });
    report.findings.iter().map(|finding| format!("{} {}", finding.rule.id, finding.message)).collect()
}

#[test]
fn measured_runs_count_where_they_took_longer_than_what_is_written() {
    let manifest = "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec:\n  terminationGracePeriodSeconds: 20\n  containers:\n  - name: app\n    image: x\n    \
                    livenessProbe: {tcpSocket: {port: 80}, periodSeconds: 5}\n    lifecycle: {preStop: {exec: {command: [/drain]}}}\n";
    let run = MeasuredContainer { pre_stop_seconds: Some(12.04), drain_seconds: Some(9.5), ..MeasuredContainer::default() };
    let found = ["USH102 app needs 21.5 s to stop (12 s of preStop, then 9.5 s of drain), but its grace is 20 s"];
    assert_eq!(with_runs("web", manifest, run.clone()), found);
    // Pods that a controller has made have more in their names.
    assert_eq!(with_runs("web-7d4b9c-x2x", manifest, run.clone()), found);
    for other in ["webshop", "web-shop-7d4b9c-x2x", "other"] {
        assert_eq!(with_runs(other, manifest, run.clone()), [] as [&str; 0], "{other}");
    }
    let run = MeasuredContainer { pre_stop_seconds: Some(20.0), ready_seconds: Some(15.2), ..MeasuredContainer::default() };
    let found = with_runs("web", manifest, run);
    assert_eq!(
        found,
        [
            "USH402 app took 15.2 s to be ready in a measured run, but liveness gives up after 15 s",
            "USH101 the preStop hook of app uses up the grace period of 20 s",
        ]
    );
}

#[test]
fn runs_of_all_pods_of_an_object_count_and_those_of_other_namespaces_do_not() {
    let manifest = |namespace: &str| {
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: web{namespace}}}\nspec:\n  terminationGracePeriodSeconds: 20\n  containers:\n  - name: app\n    \
             image: x\n    lifecycle: {{preStop: {{exec: {{command: [/drain]}}}}}}\n"
        )
    };
    let drain = |seconds| MeasuredContainer { drain_seconds: Some(seconds), ..MeasuredContainer::default() };
    let hook = |seconds| MeasuredContainer { pre_stop_seconds: Some(seconds), ..MeasuredContainer::default() };
    let runs =
        [run_of("default", "web-b2b", drain(3.0)), run_of("default", "web-c4c", drain(9.0)), run_of("default", "web-d5d", hook(12.0))];
    let found = ["USH102 app needs 21 s to stop (12 s of preStop, then 9 s of drain), but its grace is 20 s"];
    assert_eq!(lint_with(&runs, &manifest("")), found);
    let none = [] as [&str; 0];
    assert_eq!(lint_with(&runs, &manifest(", namespace: shop")), none);
    let elsewhere = [run_of("shop", "web", drain(25.0)), run_of("team", "web", drain(35.0))];
    assert_eq!(lint_with(&elsewhere, &manifest(", namespace: team")), ["USH102 app needs 35 s to drain, but its grace is 20 s"]);
    assert_eq!(lint_with(&elsewhere, &manifest("")), ["USH102 app needs 25 s to drain, but its grace is 20 s"], "the first one");
    assert_eq!(lint_with(&[runs.as_slice(), &elsewhere].concat(), &manifest("")), found, "`default` before others");
}

#[test]
fn a_measured_kill_and_a_swallowed_signal_feed_the_rules() {
    let manifest = "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec:\n  terminationGracePeriodSeconds: 20\n  containers:\n  - name: app\n    image: x\n    \
                    command: [/start.sh]\n";
    let run = MeasuredContainer { drain_seconds: Some(19.98), killed: true, ..MeasuredContainer::default() };
    assert_eq!(with_runs("web", manifest, run.clone()), ["USH102 app needs more than 20 s to drain, but its grace is 20 s"]);
    assert_eq!(with_runs("web", manifest, MeasuredContainer { killed: false, ..run }), [] as [&str; 0]);
    let swallowed =
        |process: &str| MeasuredContainer { killed: true, swallowed_by: Some(process.to_owned()), ..MeasuredContainer::default() };
    let found = ["USH501 process 1 of app was a shell in a measured run, and the stop signal came to nothing"];
    assert_eq!(with_runs("web", manifest, swallowed("bash")), found);
    assert_eq!(with_runs("web", manifest, swallowed("server")), [] as [&str; 0], "that is no shell");
}

#[test]
fn json_says_all_that_the_text_says() {
    let (source, found) = report("dir/m.yaml", FAULTY);
    let value = json(&[(&source, &found)]);
    let finding = &value["files"][0]["findings"][0];
    assert_eq!(value["version"], 1);
    assert_eq!((&finding["rule"], &finding["level"], &finding["container"]), (&"USH102".into(), &"warning".into(), &"app".into()));
    assert_eq!(finding["place"], serde_json::json!({"line": 10, "column": 34, "endLine": 10, "endColumn": 36}));
    assert_eq!(finding["path"], "spec.containers[0].lifecycle.preStop.sleep.seconds");
    assert_eq!((&value["files"][0]["objects"], &value["files"][0]["pods"]), (&1.into(), &1.into()));
}

/// The rules of SARIF 2.1.0 for what is written here; sections in brackets.
fn assert_sarif(log: &Value) {
    let text = |value: &Value| value.as_str().is_some_and(|text| !text.is_empty());
    assert_eq!(log["version"], "2.1.0", "[3.13.2]");
    assert!(log["$schema"].as_str().is_some_and(|schema| schema.ends_with("sarif-schema-2.1.0.json")), "[3.13.3]");
    for run in log["runs"].as_array().expect("[3.13.4]") {
        let driver = &run["tool"]["driver"];
        assert!(text(&driver["name"]), "[3.19.8]");
        let rules = driver["rules"].as_array().expect("[3.19.23]");
        let ids: BTreeSet<_> = rules.iter().map(|rule| rule["id"].as_str().expect("[3.49.3]")).collect();
        assert_eq!(ids.len(), rules.len(), "[3.19.23] unique");
        for rule in rules {
            assert!(text(&rule["shortDescription"]["text"]), "[3.49.9]");
            assert!(rule["shortDescription"]["text"].as_str().is_some_and(|text| text.ends_with('.')), "[3.11.3] a sentence");
            assert!(text(&rule["help"]["text"]) && text(&rule["help"]["markdown"]), "[3.49.13]");
            assert!(matches!(rule["defaultConfiguration"]["level"].as_str(), Some("note" | "warning" | "error")), "[3.50.3]");
        }
        for invocation in run["invocations"].as_array().expect("[3.14.11]") {
            assert!(invocation["executionSuccessful"].is_boolean(), "[3.20.14]");
        }
        assert!(matches!(run["columnKind"].as_str(), Some("unicodeCodePoints" | "utf16CodeUnits")), "[3.14.17]");
        for result in run["results"].as_array().expect("[3.14.23]") {
            assert!(text(&result["message"]["text"]), "[3.27.11]");
            let index = usize::try_from(result["ruleIndex"].as_u64().expect("[3.27.6]")).expect("an index");
            assert_eq!(rules[index]["id"], result["ruleId"], "[3.27.5], [3.52.5]");
            assert!(matches!(result["level"].as_str(), Some("none" | "note" | "warning" | "error")), "[3.27.10]");
            let related = result["relatedLocations"].as_array().expect("[3.27.22]");
            for location in result["locations"].as_array().expect("[3.27.12]").iter().chain(related) {
                let physical = &location["physicalLocation"];
                let uri = physical["artifactLocation"]["uri"].as_str().expect("[3.4.3]");
                assert!(!uri.contains([' ', '\\', '<']), "[3.4.3] a valid reference: {uri}");
                let number = |field: &str| physical["region"][field].as_u64().unwrap_or_else(|| panic!("[3.30] {field}"));
                let (start, end) = ((number("startLine"), number("startColumn")), (number("endLine"), number("endColumn")));
                assert!(start.0 >= 1 && start.1 >= 1 && end >= start, "[3.30.5] to [3.30.8]");
                assert!(physical["region"]["snippet"]["text"].is_string(), "[3.30.13]");
            }
            let ids: BTreeSet<_> = related.iter().map(|location| location["id"].as_u64().expect("[3.28.2]")).collect();
            assert_eq!(ids.len(), related.len(), "[3.28.2] unique");
            for (name, value) in result["partialFingerprints"].as_object().expect("[3.27.17]") {
                assert!(!name.is_empty() && text(value));
            }
            for suppression in result["suppressions"].as_array().into_iter().flatten() {
                assert_eq!(suppression["kind"], "inSource", "[3.35.2]");
            }
        }
    }
}

#[test]
fn sarif_keeps_the_rules_of_its_specification() {
    let mut texts = manifests("faulty");
    texts.push(("silent place.yaml".to_owned(), with_annotation("lint.usher.dev/ignore: all")));
    texts.push(("broken.yaml".to_owned(), "a: [".to_owned()));
    let reports: Vec<_> = texts.iter().map(|(name, text)| report(name, text)).collect();
    let pairs: Vec<_> = reports.iter().map(|(source, report)| (source, report)).collect();
    let log = sarif(&pairs, "1.2.3");
    assert_sarif(&log);
    let run = &log["runs"][0];
    let count: usize = reports.iter().map(|(_, report)| report.findings.len() + report.silenced.len()).sum();
    assert_eq!(run["results"].as_array().map(Vec::len), Some(count));
    assert_eq!(run["tool"]["driver"]["rules"].as_array().map(Vec::len), Some(RULES.len()));
    assert_eq!(run["invocations"][0]["executionSuccessful"], false, "one file could not be read");
    let silent: Vec<&Value> =
        run["results"].as_array().expect("results").iter().filter(|result| result["suppressions"].is_array()).collect();
    assert_eq!(silent.len(), 2);
    assert_eq!(silent[0]["locations"][0]["physicalLocation"]["artifactLocation"]["uri"], "silent%20place.yaml");
}

#[test]
fn what_is_no_object_is_told_apart() {
    let (_, values) = report("values.yaml", "image: {tag: 1}\n");
    assert!(values.is_foreign && values.objects == 0 && values.unreadable.len() == 2);
    let (_, chart) = report("t.yaml", "apiVersion: v1\nkind: {{ .Values.kind }}\nmetadata: [}\n");
    assert!(chart.is_template && !chart.is_foreign && !chart.unreadable.is_empty());
    let (_, chart) = report(
        "t.yaml",
        "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec:\n  containers:\n  - name: a\n    image: {{ .Values.image }}\n",
    );
    assert!(chart.is_template && chart.findings.is_empty() && chart.unreadable.len() == 1);
    let (_, text) = report("t.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {a: '{{ name }}'}\n");
    assert_eq!((text.is_template, text.objects, text.findings.len()), (false, 1, 0), "a template may stand in a value");
    let (_, empty) = report("e.yaml", "# nothing\n");
    assert_eq!((empty.objects, empty.unreadable.len(), empty.is_foreign), (0, 0, false));
    let (_, others) = report(
        "o.yaml",
        "apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {x: 1}\n---\napiVersion: batch.volcano.sh/v1alpha1\nkind: Job\nspec: {}\n---\napiVersion: \
         autoscaling/v2\nkind: HorizontalPodAutoscaler\n---\napiVersion: v1\nkind: PersistentVolumeClaim\n",
    );
    assert_eq!((others.objects, others.pods, others.findings.len()), (4, 0, 0));
    let (_, slips) = report("s.yaml", "apiVersion: apps/v1beta1\nkind: Deployment\n---\napiVersion: v1\nkind: Deploymnet\n");
    assert_eq!(ids(&slips), ["USH003", "USH003"]);
    let bare =
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\nspec: {template: {spec: {containers: [{name: app, image: x}]}}}\n";
    assert_eq!(ids(&report("b.yaml", bare).1), [] as [&str; 0], "a tool may add the selector");
    // A part of a Deployment that a tool lays over another.
    let (_, patch) = report(
        "p.yaml",
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\nspec: {template: {spec: {containers: [{name: app}]}}}\n",
    );
    assert_eq!(ids(&patch), [] as [&str; 0]);
}

#[test]
fn a_fault_in_a_block_of_text_is_shown_where_the_block_begins() {
    let script = "kind: Pod\napiVersion: v1\nmetadata: {name: web}\nspec:\n  containers:\n  - name: app\n    image: debian:12\n    command: [bash, -c]\n    args:\n    - \
                  |\n      ./exporter &\n      ./server &\n      wait\n";
    let (source, found) = report("m.yaml", script);
    assert_eq!(ids(&found), ["USH501"]);
    let place = source.position(source.first_line(found.findings[0].span).start);
    assert!((10..=11).contains(&place.line), "{place:?}");
    let (source, found) = report(
        "p.json",
        r#"{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {"containers": [{"name": "a", "image": "x",
 "lifecycle": {"preStop": {"exec": {"command": ["sleep", "30"]}}}}]}}"#,
    );
    let place = source.position(found.findings[0].span.start);
    assert_eq!((ids(&found), place.line, place.column), (vec!["USH101"], 2, 58));
}

#[test]
fn levels_are_ordered() {
    assert!(Level::Note < Level::Warning && Level::Warning < Level::Error);
    let (_, found) = report("m.yaml", FAULTY);
    assert_eq!(found.worst(), Some(Level::Warning));
    assert_eq!(report("m.yaml", "").1.worst(), None);
}

proptest! {
    /// Whatever the hook says, the rules come to an end without panic, and every place lies in the text.
    #[test]
    fn any_script_is_survived(script in "[a-z0-9 $(){};&|<>'\"`\\\\\n-]{0,60}", shell in prop::bool::ANY) {
        let quoted = serde_json::to_string(&script).expect("text is JSON");
        let command = if shell { format!("[sh, -c, {quoted}]") } else { format!("[{quoted}]") };
        let text = format!("{}    command: {command}\n", FAULTY.replace("{sleep: {seconds: 29}}", &format!("{{exec: {{command: {command}}}}}")));
        let (source, found) = report("m.yaml", &text);
        for finding in found.findings.iter().chain(&found.silenced) {
            prop_assert!(source.text().get(finding.span.start..finding.span.end).is_some());
        }
        let _ = shown(&source, &found);
    }
}
