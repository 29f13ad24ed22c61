use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::{LogFile, LogLimits};
use crate::moment::Moment;

const NOW: Moment = Moment { boot_ns: 1, wall_ns: 1_475_713_029_669_794_202 };
const SMALL: LogLimits = LogLimits { file_bytes_max: 100, files_max: 3 };

#[test]
fn the_oldest_rotated_files_go_and_foreign_files_stay() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("0.log");
    fs::write(folder.path().join("0.log.notes"), "mine").expect("a writable folder");
    let mut log = LogFile::open(&path, SMALL).expect("the log opens");
    for n in 0..6 {
        log.write_lines(format!("{n}{}\n", "x".repeat(80)).as_bytes(), 1, true, NOW);
    }
    // Rotated within one second: the names count on in seconds, so that they stay unique and in order.
    let expected = ["0.log", "0.log.20161006-001712", "0.log.20161006-001713", "0.log.notes"];
    assert_eq!(names(folder.path()), expected);
    let first = |name: &str| fs::read_to_string(folder.path().join(name)).expect("readable")[..1].to_owned();
    assert_eq!([first(expected[1]), first(expected[2]), first("0.log")], ["3", "4", "5"]);
}

#[test]
fn a_log_is_readable_by_its_group_only() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("0.log");
    LogFile::open(&path, SMALL).expect("the log opens");
    let mode = fs::metadata(&path).expect("the log is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o640);
}

#[test]
fn a_log_that_was_renamed_by_someone_else_is_begun_anew_on_reopen() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("0.log");
    let mut log = LogFile::open(&path, SMALL).expect("the log opens");
    log.write_lines(b"one\n", 1, true, NOW);
    fs::rename(&path, folder.path().join("old")).expect("renamed");
    log.write_lines(b"two\n", 1, true, NOW);
    log.reopen().expect("the log opens again");
    log.write_lines(b"three\n", 1, true, NOW);
    assert_eq!(fs::read_to_string(folder.path().join("old")).expect("readable"), "one\ntwo\n");
    assert_eq!(fs::read_to_string(&path).expect("readable"), "three\n");
}

#[test]
fn a_full_disk_loses_lines_but_tells_so_as_soon_as_there_is_room() {
    let Some(disk) = SmallDisk::mount("a_full_disk_loses_lines_but_tells_so_as_soon_as_there_is_room") else {
        return;
    };
    let path = disk.path().join("0.log");
    let ballast = disk.path().join("ballast");
    fs::write(&ballast, vec![0; SmallDisk::BYTES - 16 * 1024]).expect("the ballast fits");
    let limits = LogLimits::default();
    let mut log = LogFile::open(&path, limits).expect("the log opens");
    let line = format!("{}\n", "x".repeat(6_000));
    for _ in 0..10 {
        log.write_lines(line.as_bytes(), 1, true, NOW);
    }
    let kept = 10 - usize::try_from(log.lines_lost()).expect("a small number");
    assert!((1..10).contains(&kept), "kept {kept} lines");
    let is_whole = fs::read_to_string(&path).expect("readable") == line.repeat(kept);
    assert!(is_whole, "something other than {kept} whole lines was left behind");

    fs::remove_file(&ballast).expect("the ballast is there");
    log.write_lines(b"after\n", 1, true, NOW);
    let text = fs::read_to_string(&path).expect("readable");
    let tail: Vec<_> = text.lines().skip(kept).collect();
    let lost = 10 - kept;
    let mark = format!(
        "2016-10-06T00:17:09.669794202Z stderr F usher: {lost} log lines ({} bytes) were lost here since \
         2016-10-06T00:17:09.669794202Z: No space left on device (os error 28)",
        lost * line.len()
    );
    assert_eq!(tail, [mark.as_str(), "after"]);
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(folder)
        .expect("a readable folder")
        .map(|entry| entry.expect("a readable entry").file_name().to_string_lossy().into_owned())
        .collect();
    names.sort_unstable();
    names
}

/// A file system of its own with little room, in a mount that goes away with it.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    const BYTES: usize = 64 * 1024;

    fn mount(test: &str) -> Option<Self> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let options = std::ffi::CString::new(format!("size={}", Self::BYTES)).expect("no NUL in a number");
        let mounted = rustix::mount::mount("tmpfs", folder.path(), "tmpfs", rustix::mount::MountFlags::empty(), options.as_c_str());
        if let Err(errno) = mounted {
            // The test's only way to say that it did not run.
            #[expect(clippy::print_stderr, reason = "a skipped test says so")]
            {
                eprintln!("SKIP {test}: cannot mount a tmpfs: {errno}");
            }
            return None;
        }
        Some(Self(folder))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(self.0.path(), rustix::mount::UnmountFlags::DETACH);
    }
}
