use chronicle::chart::{Line, diagram, draw, page, picture};
use chronicle::why::{Present, why};
use chronicle::{Life, OutputLine, lanes, read};

fn life(recorded: &str) -> Life {
    Life::of(&read([recorded]).expect("the recording is read")).expect("a heading")
}

fn text(life: &Life, width: usize) -> String {
    let drawn = draw(&lanes(life, life.read_to.timestamp()), width);
    let line = |line: &Line| line.iter().map(|cell| cell.text.as_str()).collect::<String>() + "\n";
    drawn.iter().map(line).collect()
}

macro_rules! charts {
    ($($test:ident = $name:literal,)*) => {
        $(
            #[test]
            fn $test() {
                let life = life(include_str!(concat!("../../fixtures/journals/", $name, ".jsonl")));
                insta::with_settings!({ snapshot_path => "../../fixtures/charts", prepend_module_to_snapshot => false, omit_expression => true }, {
                    insta::assert_snapshot!($name, text(&life, 110));
                    insta::assert_snapshot!(concat!($name, "-narrow"), text(&life, 70));
                    insta::assert_snapshot!(concat!($name, "-mermaid"), diagram(&life, &lanes(&life, life.read_to.timestamp())));
                });
            }
        )*
    };
}

charts! {
    chart_of_a_graceful_life = "graceful",
    chart_of_a_pod_killed_for_its_pre_stop = "killed-pre-stop",
    chart_of_a_crash_loop = "crash-loop",
    chart_of_a_liveness_restart = "liveness-failed",
    chart_of_an_engine_that_went_away = "engine-killed",
    chart_of_a_sidecar_that_waits = "stopping-sidecar",
}

#[test]
fn no_line_is_wider_than_the_terminal() {
    for seed in 0..60 {
        let life = Life::of(&sim::journal::of(&sim::play(&sim::plan::Plan::of(seed)))).expect("a heading");
        for width in [60, 80, 133, 200] {
            for line in text(&life, width).lines() {
                assert!(line.chars().count() <= width, "seed {seed}, {width} columns: {line}");
            }
        }
    }
}

/// Reads tags and text of XML far enough to know that it is well-formed; returns the names of all elements.
pub(crate) fn elements(xml: &str) -> Vec<String> {
    let (mut open, mut all, mut rest) = (Vec::new(), Vec::new(), xml);
    while let Some((before, after)) = rest.split_once('<') {
        assert!(!before.contains('>') || !open.is_empty(), "text outside: {before}");
        let is_escaped = before
            .split('&')
            .skip(1)
            .all(|entity| entity.split(';').next().is_some_and(|name| ["amp", "lt", "gt", "quot", "#39"].contains(&name)));
        assert!(is_escaped, "a bare & in {before}");
        let (tag, behind) = after.split_once('>').expect("a tag ends");
        assert!(tag.matches('"').count() % 2 == 0, "quotes in {tag}");
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop().as_deref(), Some(name), "{name} is closed");
        } else if !tag.starts_with('!') {
            let name: String = tag.split(|character: char| character.is_whitespace() || character == '/').next().unwrap_or("").to_owned();
            all.push(name.clone());
            if !tag.ends_with('/') && !["meta"].contains(&name.as_str()) {
                open.push(name);
            }
        }
        rest = behind;
    }
    assert!(open.is_empty(), "{open:?} are not closed");
    all
}

#[test]
fn pictures_and_pages_are_well_formed_and_need_nothing_from_elsewhere() {
    for seed in 0..40 {
        let life = Life::of(&sim::journal::of(&sim::play(&sim::plan::Plan::of(seed)))).expect("a heading");
        let drawn = lanes(&life, life.read_to.timestamp());
        let present = Present { now: life.read_to.timestamp(), is_driven: true };
        for text in [picture(&life, &drawn), page(&life, &drawn, &why(&life, None, present))] {
            let names = elements(&text);
            for banned in ["script", "link", "img", "iframe", "object", "image", "use"] {
                assert!(!names.iter().any(|name| name == banned), "{banned}");
            }
            let without_name = text.replace("http://www.w3.org/2000/svg", "");
            assert!(
                !without_name.contains("http://") && !without_name.contains("https://") && !without_name.contains("@import"),
                "seed {seed}"
            );
        }
    }
}

#[test]
fn pictures_and_pages_tell_of_gaps_in_the_journal() {
    let recorded = include_str!("../../fixtures/journals/graceful.jsonl");
    let lines: Vec<&str> = recorded.lines().collect();
    let gappy = [&lines[..4], &["torn"], &lines[5..8], &lines[10..]].concat().join("\n");
    let life = life(&gappy);
    let told = ["2 entries are missing: the disk refused them", "1 line cannot be read and is left out"];
    let drawn = lanes(&life, life.read_to.timestamp());
    for text in [picture(&life, &drawn), page(&life, &drawn, &[])] {
        elements(&text);
        for notice in told {
            assert_eq!(text.matches(notice).count(), 1, "{notice}");
        }
    }
    let view = serde_json::to_value(chronicle::chart::view(&life, Present { now: life.read_to.timestamp(), is_driven: true }));
    assert_eq!(view.expect("JSON")["notices"].as_array().map(Vec::len), Some(2));
}

#[test]
fn a_session_is_a_thin_mark_that_ends_nothing() {
    let recorded = include_str!("../../fixtures/journals/graceful.jsonl");
    let mut life = life(recorded);
    let began_at = life.containers[0].instances[0].running_at.expect("it ran");
    life.containers[0].instances[0].sessions.push(chronicle::SessionRun {
        id: "exec-1".to_owned(),
        verb: chronicle::SessionVerb::Exec,
        command: vec!["ls".to_owned(), "<b>".to_owned()],
        tty: false,
        by: Some("usher-admin".to_owned()),
        began_at,
        ended_at: Some(began_at),
        exit_code: Some(2),
        left_out: 3,
    });
    let chart = text(&life, 110);
    let row = chart.lines().find(|line| line.contains("  sessions")).expect("a row");
    assert!(row.contains('┊') && row.contains("4 sessions, last exec ls <b>"), "{chart}");
    let drawn = lanes(&life, life.read_to.timestamp());
    let svg = picture(&life, &drawn);
    elements(&svg);
    assert!(svg.contains("exec ls &lt;b&gt; by usher-admin, exit code 2"), "{svg}");
    assert_eq!(life.without_output().containers[0].instances[0].sessions[0].command, [] as [&str; 0], "not for those who only look");
}

#[test]
fn what_a_pod_says_is_text_in_every_picture() {
    let hostile = "</text><script>alert(1)</script>&\"'\u{1b}[2J";
    let mut life = life(include_str!("../../fixtures/journals/graceful.jsonl"));
    life.name = hostile.to_owned();
    life.containers[0].name = hostile.to_owned();
    for run in life.containers.iter_mut().flat_map(|container| &mut container.instances).flat_map(|instance| &mut instance.hooks) {
        run.output.push(OutputLine { at: None, stream: "stdout".to_owned(), line: hostile.to_owned() });
    }
    let drawn = lanes(&life, life.read_to.timestamp());
    for text in [picture(&life, &drawn), page(&life, &drawn, &[])] {
        assert!(!elements(&text).contains(&"script".to_owned()));
        assert!(!text.contains('\u{1b}'));
    }
    assert!(!diagram(&life, &drawn).contains('\u{1b}'));
}
