//! The workload's words, as the recordings' manifests use them. That this file exists also makes cargo build the program
//! for tests of other crates.

use std::process::{Command, Output};

fn tapp(arguments: &[&str], trace: &std::path::Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tapp")).args(arguments).env("TAPP", "me").env("TRACE_FILE", trace).output().expect("tapp runs")
}

/// The reported lines without their times and process ids.
fn reported(trace: &std::path::Path) -> Vec<String> {
    let text = std::fs::read_to_string(trace).unwrap_or_default();
    let without_time = text.lines().filter_map(|line| line.split_once(' ').map(|(_, rest)| rest));
    without_time.map(|rest| rest.split(' ').filter(|word| !word.starts_with("pid=")).collect::<Vec<_>>().join(" ")).collect()
}

#[test]
fn chained_words_are_done_in_order_and_the_code_is_the_last() {
    let trace = std::env::temp_dir().join(format!("tapp-words-{}", std::process::id()));
    let ended = tapp(&["say", "a", "then", "out", "x", "then", "sleep", "1", "then", "code", "3"], &trace);
    let lines = reported(&trace);
    let _ = std::fs::remove_file(&trace);
    assert_eq!(ended.status.code(), Some(3));
    assert_eq!((ended.stdout.as_slice(), ended.stderr.as_slice()), (&b"x\n"[..], &b"err-x\n"[..]));
    assert_eq!(lines, ["me hook: a ", "me hook: sleep begins", "me hook: sleep ends", "me hook: exit 3"]);
}

#[test]
fn an_unknown_word_is_refused() {
    let ended = tapp(&["dance"], std::path::Path::new("/dev/null"));
    assert_eq!(ended.status.code(), Some(64));
    assert_eq!(String::from_utf8_lossy(&ended.stderr), "tapp: \"dance\" is no word of tapp\n");
}
