use std::path::Path;

use super::{CriLog, Stream};
use crate::log::{LINE_BYTES_MAX, LogFile, LogLimits};
use crate::moment::Moment;

/// 2016-10-06T00:17:09.669794202Z.
const NOW: Moment = Moment { boot_ns: 1, wall_ns: 1_475_713_029_669_794_202 };
const STAMP: &str = "2016-10-06T00:17:09.669794202Z";

#[test]
fn lines_of_both_streams_are_written_in_the_order_of_their_newlines() {
    check(
        |log| {
            log.append(Stream::Stdout, b"out one\nout t", NOW);
            log.append(Stream::Stderr, b"err one\n\n", NOW);
            log.append(Stream::Stdout, b"wo\n", NOW);
        },
        &["stdout F out one", "stderr F err one", "stderr F ", "stdout F out two"],
    );
}

#[test]
fn a_stream_that_ends_without_a_newline_leaves_a_partial_line() {
    check(
        |log| {
            log.append(Stream::Stdout, b"prompt> ", NOW);
            log.append(Stream::Stderr, b"done\n", NOW);
            log.finish(Stream::Stdout, NOW);
            log.finish(Stream::Stderr, NOW);
        },
        &["stderr F done", "stdout P prompt> "],
    );
}

#[test]
fn a_long_line_is_split_into_parts_and_only_the_last_is_full() {
    let long = "x".repeat(LINE_BYTES_MAX);
    check(
        |log| log.append(Stream::Stdout, format!("{long}{long}end\n").as_bytes(), NOW),
        &[&format!("stdout P {long}"), &format!("stdout P {long}"), "stdout F end"],
    );
}

#[test]
fn bytes_that_are_not_text_are_kept_as_they_are() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("0.log");
    let mut log = open(&path, LogLimits::default());
    log.append(Stream::Stdout, b"\x1b[31m\xff\0red\r\n", NOW);
    let written = std::fs::read(&path).expect("the log was written");
    assert_eq!(written, [STAMP.as_bytes(), b" stdout F \x1b[31m\xff\0red\r\n"].concat());
}

#[test]
fn no_file_grows_past_its_limit_and_no_line_is_lost_while_files_are_kept() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("0.log");
    let limits = LogLimits { file_bytes_max: 1_000, files_max: 100 };
    let mut log = open(&path, limits);
    let input: String = (0..300).map(|n| format!("line {n}\n")).collect();
    log.append(Stream::Stdout, input.as_bytes(), NOW);

    let mut files: Vec<_> =
        std::fs::read_dir(folder.path()).expect("the folder is there").map(|entry| entry.expect("a readable entry").path()).collect();
    // The current file sorts first but was written last.
    files.sort_unstable();
    files.rotate_left(1);
    assert!(files.len() > 10, "only {} files", files.len());
    let mut lines = Vec::new();
    for file in &files {
        let text = std::fs::read_to_string(file).expect("a readable log");
        assert!(text.len() <= 1_000, "{} has {} bytes", file.display(), text.len());
        lines.extend(text.lines().map(|line| line.replace(&format!("{STAMP} stdout F "), "")));
    }
    assert_eq!(lines, (0..300).map(|n| format!("line {n}")).collect::<Vec<_>>());
}

#[test]
fn a_line_in_parts_is_not_torn_apart_by_a_rotation() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("0.log");
    let mut log = open(&path, LogLimits { file_bytes_max: 20_000, files_max: 5 });
    let long = vec![b'x'; LINE_BYTES_MAX];
    log.append(Stream::Stdout, &long, NOW);
    log.append(Stream::Stdout, &long, NOW);
    log.append(Stream::Stdout, b"end\nnext\n", NOW);

    let rotated = folder.path().join("0.log.20161006-001709");
    let first = std::fs::read_to_string(rotated).expect("the log was rotated once");
    let second = std::fs::read_to_string(&path).expect("the log goes on");
    assert_eq!(first.lines().map(|line| &line[31..40]).collect::<Vec<_>>(), ["stdout P ", "stdout P ", "stdout F "]);
    assert!(second.ends_with("stdout F next\n") && second.lines().count() == 1, "{second}");
}

fn check(write: impl FnOnce(&mut CriLog), expected: &[&str]) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("deep/er/0.log");
    write(&mut open(&path, LogLimits::default()));
    let text = std::fs::read_to_string(&path).expect("the log was written");
    let lines: Vec<_> = expected.iter().map(|line| format!("{STAMP} {line}\n")).collect();
    assert_eq!(text, lines.concat());
}

fn open(path: &Path, limits: LogLimits) -> CriLog {
    CriLog::new(LogFile::open(path, limits).expect("the log opens"))
}
