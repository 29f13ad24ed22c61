use super::*;
use crate::Moment;

fn line(seq: u64, record: Record) -> String {
    serde_json::to_string(&Entry { seq, at: Moment::default(), record }).expect("JSON")
}

fn warning(text: &str) -> Record {
    Record::Warning { message: text.to_owned() }
}

#[test]
fn what_a_power_cut_leaves_at_the_end_is_left_out() {
    let text = format!("{}\n{}\n{}", line(0, warning("a")), line(1, warning("b")), &line(2, warning("c"))[..30]);
    let journal = read([text.as_str()]).expect("a journal");
    assert_eq!(journal.entries.len(), 2);
    assert_eq!((journal.unreadable_lines, journal.lost_entries), (1, 0));
}

#[test]
fn a_torn_line_in_the_middle_costs_only_itself() {
    let text = format!("{}\n{}\n{}\n", line(0, warning("a")), &line(1, warning("b"))[..20], line(2, warning("c")));
    let journal = read([text.as_str()]).expect("a journal");
    assert_eq!(journal.entries.iter().map(|entry| entry.seq).collect::<Vec<_>>(), [0, 2]);
    assert_eq!((journal.unreadable_lines, journal.lost_entries), (1, 0));
}

#[test]
fn entries_that_the_disk_refused_are_counted() {
    let text = [line(0, warning("a")), line(5, warning("b")), line(6, warning("c"))].join("\n");
    assert_eq!(read([text.as_str()]).expect("a journal").lost_entries, 4);
}

#[test]
fn both_files_are_one_journal_and_a_beginning_that_is_gone_is_counted() {
    let (older, newer) = ([line(40, warning("a")), line(41, warning("b"))].join("\n"), line(42, warning("c")));
    let journal = read([older.as_str(), newer.as_str()]).expect("a journal");
    assert_eq!((journal.entries.len(), journal.dropped_entries, journal.lost_entries), (3, 40, 0));
}

#[test]
fn people_are_told_of_what_is_gone_missing_and_unreadable() {
    let text = [line(40, warning("a")), line(43, warning("b")), "half a line".to_owned(), line(45, warning("c"))].join("\n");
    let notices = read([text.as_str()]).expect("a journal").notices();
    assert_eq!(
        notices,
        [
            "the first 40 entries are gone: the journal was full",
            "2 entries are missing: the disk refused them",
            "1 line cannot be read and is left out: the engine or the machine died while it was written",
        ]
    );
    assert_eq!(read([line(0, warning("a")).as_str()]).expect("a journal").notices(), [] as [&str; 0]);
}

#[test]
fn a_newer_format_is_refused_whatever_else_its_heading_holds() {
    let text = r#"{"seq":0,"at":{"bootNanos":1,"wallNanos":2},"opened":{"version":3,"pod":{"name":"a"}}}"#;
    let refused = read([text]).expect_err("a newer format");
    assert_eq!(
        refused.to_string(),
        "it has format 3, this usher reads formats 1 to 2; read it with the usher that wrote it, or a later one"
    );
    let text = text.replace(r#""pod":{"name":"a"}"#, r#""name":"a","namespace":"b","uid":"c","resumed":false"#);
    assert_eq!(read([text.as_str()]), Err(ReadError::Newer { version: 3 }));
}

#[test]
fn what_is_no_journal_is_said_to_be_none() {
    for text in ["", "\n\n", "hello\n{}\n"] {
        assert_eq!(read([text]), Err(ReadError::Nothing), "{text:?}");
    }
}

/// Recorded with the usher that wrote format 1.
#[test]
fn a_journal_of_format_1_is_read_to_its_end() {
    let journal = read([include_str!("../../fixtures/journals/format-1.jsonl")]).expect("format 1 is read");
    assert_eq!((journal.unreadable_lines, journal.lost_entries, journal.dropped_entries), (0, 0, 0));
    assert!(matches!(journal.entries[0].record, Record::Opened { version: 1, .. }));
    let life = crate::Life::of(&journal).expect("a heading");
    assert!(life.is_over());
    let app = life.container("app").expect("the container");
    assert_eq!(app.instances.len(), 1);
    assert_eq!(app.instances[0].hooks.len(), 2);
    assert_eq!(life.accounts.len(), 1);
}
