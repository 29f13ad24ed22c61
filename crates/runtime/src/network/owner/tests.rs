use super::*;
use std::process::{Command, Stdio};

#[test]
fn the_start_time_is_found_behind_any_command_name() {
    let stat = "77 (a) b (c) S 1 77 77 0 -1 4194304 1 0 0 0 0 0 0 0 20 0 1 0 4242 1 1";
    assert_eq!(ProcessStat::parse(stat), Some(ProcessStat { state: b'S', start_time: 4242 }));
    assert_eq!(ProcessStat::parse("77 (cut short) S 1"), None);
    assert_eq!(ProcessStat::parse(""), None);
}

#[test]
fn an_owner_is_there_until_its_process_ends_even_unreaped() {
    let vantage = Vantage::here().expect("proc is readable");
    let mut child = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().expect("cat starts");
    let record = vantage.record(Owner::of(child.id()).expect("the child is there"));
    assert!(!vantage.is_gone(&record));

    drop(child.stdin.take());
    while !vantage.is_gone(&record) {
        std::thread::yield_now();
    }
    child.wait().expect("the child is ours");
    assert!(vantage.is_gone(&record));
}

#[test]
fn another_process_with_the_same_pid_is_not_the_owner() {
    let vantage = Vantage::here().expect("proc is readable");
    let mut record = vantage.record(Owner::of(std::process::id()).expect("we are there"));
    assert!(!vantage.is_gone(&record));
    record.owner.start_time += 1;
    assert!(vantage.is_gone(&record));
}

#[test]
fn an_owner_of_an_earlier_boot_is_gone_and_one_out_of_sight_is_not() {
    let vantage = Vantage::here().expect("proc is readable");
    let mut record = vantage.record(Owner::of(std::process::id()).expect("we are there"));
    record.pid_namespace += 1;
    record.owner.start_time += 1;
    assert!(!vantage.is_gone(&record));
    record.boot_id = "another boot".to_owned();
    assert!(vantage.is_gone(&record));
}

#[test]
fn a_process_that_is_not_there_cannot_be_named() {
    assert_eq!(Owner::of(u32::MAX).expect_err("no such pid").kind(), io::ErrorKind::NotFound);
}
