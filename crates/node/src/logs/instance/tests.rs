//! Logs in files of every state, and while they are rotated.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use super::{InstanceLog, LogPart, Piece, newest_instance};

/// A log whose file is rotated as the shim does it.
struct Log {
    folder: TempDir,
    rotations: u32,
    lines: u32,
}

impl Log {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a folder"), rotations: 0, lines: 0 }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn add(&mut self, lines: &[&str]) {
        for line in lines {
            let (stream, tag, text) = match line.split_once(':') {
                Some(("e", text)) => ("stderr", "F", text),
                Some(("p", text)) => ("stdout", "P", text),
                _ => ("stdout", "F", *line),
            };
            let line = format!("2026-01-02T03:04:{:02}.000000000Z {stream} {tag} {text}\n", self.lines);
            self.raw(line.as_bytes());
            self.lines += 1;
        }
    }

    fn raw(&self, bytes: &[u8]) {
        use std::io::Write as _;
        let path = self.path().join("0.log");
        fs::OpenOptions::new().append(true).create(true).open(path).and_then(|mut file| file.write_all(bytes)).expect("written");
    }

    fn rotated(&self, number: u32) -> std::path::PathBuf {
        self.path().join(format!("0.log.20260102-0304{number:02}"))
    }

    fn rotate(&mut self) {
        fs::rename(self.path().join("0.log"), self.rotated(self.rotations)).expect("renamed");
        self.rotations += 1;
    }

    fn open(&self, part: LogPart) -> InstanceLog {
        InstanceLog::open(self.path(), 0, part).expect("readable")
    }
}

/// Everything that can be had now.
fn rest(log: &mut InstanceLog) -> String {
    let mut rest = Vec::new();
    while let Piece::Text(text) = log.read_next().expect("readable") {
        rest.extend(text);
    }
    String::from_utf8(rest).expect("text")
}

fn tail(lines: u64) -> LogPart {
    LogPart { tail_lines: Some(lines), ..LogPart::default() }
}

#[test]
fn lines_come_from_all_files_of_the_instance_in_order() {
    let mut log = Log::new();
    assert_eq!(log.open(LogPart::default()).read_next().expect("no error"), Piece::NotYet);
    for line in ["one", "two", "three"] {
        log.add(&[line]);
        log.rotate();
    }
    log.add(&["four"]);
    for (name, text) in [("1.log", "another"), ("0.log.gz", "none"), ("0.log.tmp", "none"), ("x.log", "none")] {
        fs::write(log.path().join(name), format!("2026-01-02T03:04:05Z stdout F {text}\n")).expect("written");
    }
    assert_eq!(rest(&mut log.open(LogPart::default())), "one\ntwo\nthree\nfour\n");
    assert_eq!(newest_instance(log.path()), Some(1));
    assert_eq!(rest(&mut InstanceLog::open(log.path(), 1, LogPart::default()).expect("readable")), "another\n");
}

#[test]
fn a_reader_goes_on_over_rotations_and_misses_nothing_that_is_kept() {
    let mut log = Log::new();
    log.add(&["one"]);
    let mut reader = log.open(LogPart::default());
    assert_eq!(rest(&mut reader), "one\n");
    assert_eq!(rest(&mut reader), "");
    // Written, rotated, written and rotated again, before it looks.
    log.add(&["two"]);
    log.rotate();
    log.add(&["three"]);
    log.rotate();
    log.add(&["four"]);
    assert_eq!(rest(&mut reader), "two\nthree\nfour\n");
    // The file that it reads, and the one after it, are removed: what it holds is read, what is gone is gone.
    log.add(&["five"]);
    log.rotate();
    log.add(&["six"]);
    log.rotate();
    log.add(&["seven"]);
    for number in 0..4 {
        fs::remove_file(log.rotated(number)).expect("removed");
    }
    assert_eq!(rest(&mut reader), "five\nseven\n");
    // Rotated, and nothing written since.
    log.rotate();
    assert_eq!(rest(&mut reader), "");
    log.add(&["eight"]);
    assert_eq!(rest(&mut reader), "eight\n");
}

#[test]
fn the_last_lines_are_counted_over_files_and_a_line_without_an_end_counts() {
    let mut log = Log::new();
    assert_eq!(rest(&mut log.open(tail(1))), "");
    log.add(&["one", "p:tw", "o"]);
    log.rotate();
    log.add(&["three", "four"]);
    for (lines, expected) in [(0, ""), (1, "four\n"), (2, "three\nfour\n"), (3, "two\nthree\nfour\n"), (4, "one\ntwo\nthree\nfour\n")] {
        assert_eq!(rest(&mut log.open(tail(lines))), expected, "{lines}");
        assert_eq!(rest(&mut log.open(tail(9))), "one\ntwo\nthree\nfour\n");
    }
    log.add(&["p:fi"]);
    assert_eq!(rest(&mut log.open(tail(1))), "fi");
    assert_eq!(rest(&mut log.open(tail(2))), "four\nfi");
    // Followed from the end on.
    let mut reader = log.open(tail(0));
    assert_eq!(rest(&mut reader), "");
    log.add(&["ve", "six"]);
    log.rotate();
    log.add(&["seven"]);
    assert_eq!(rest(&mut reader), "six\nseven\n");
}

#[test]
fn times_streams_and_sizes_choose_what_is_shown() {
    let mut log = Log::new();
    log.add(&["one", "e:two", "p:th", "ree", "e:four"]);
    let all = LogPart::default();
    let since = Some("2026-01-02T03:04:03Z".parse().expect("a time"));
    assert_eq!(rest(&mut log.open(LogPart { since, ..all.clone() })), "ree\nfour\n");
    assert_eq!(rest(&mut log.open(LogPart { since, ..tail(1) })), "four\n");
    assert_eq!(rest(&mut log.open(LogPart { stream: Some("stderr".to_owned()), ..all.clone() })), "two\nfour\n");
    assert_eq!(rest(&mut log.open(LogPart { stream: Some("stderr".to_owned()), ..tail(1) })), "four\n");
    let times = rest(&mut log.open(LogPart { timestamps: true, ..tail(2) }));
    assert_eq!(times, "2026-01-02T03:04:02.000000000Z three\n2026-01-02T03:04:04.000000000Z four\n");
    let mut limited = log.open(LogPart { limit_bytes: Some(6), ..all });
    assert_eq!(rest(&mut limited), "one\ntw");
    assert_eq!(limited.read_next().expect("no error"), Piece::Enough);
}

#[test]
fn bytes_come_as_they_were_printed_and_a_line_that_is_being_written_waits() {
    let log = Log::new();
    log.raw(b"2026-01-02T03:04:05Z stdout F \xff\xfe\n2026-01-02T03:04:05Z std");
    let mut reader = log.open(LogPart::default());
    assert_eq!(reader.read_next().expect("readable"), Piece::Text(b"\xff\xfe\n".to_vec()));
    assert_eq!(reader.read_next().expect("readable"), Piece::NotYet);
    // The writer takes back what did not fit on the disk, and writes something else.
    let file = fs::OpenOptions::new().write(true).open(log.path().join("0.log")).expect("there");
    file.set_len(33).expect("cut");
    log.raw(b"2026-01-02T03:04:06Z stdout F whole\n");
    assert_eq!(rest(&mut reader), "whole\n");
}
