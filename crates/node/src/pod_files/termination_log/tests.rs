use std::fs;

use serde_json::json;

use super::super::test_folder::{TestFolder, pod};
use super::*;

struct Case {
    folder: TestFolder,
    log_path: PathBuf,
}

impl Case {
    fn new(said: Option<&[u8]>, log: &str) -> Self {
        let folder = TestFolder::new();
        let path = folder.files.make_termination_log("c", 3).expect("a termination log");
        match said {
            Some(said) => fs::write(path, said).expect("a file"),
            None => fs::remove_file(path).expect("no file"),
        }
        let log_path = folder.outside("3.log");
        fs::write(&log_path, log).expect("a log");
        Self { folder, log_path }
    }

    async fn message(&self, policy: &str, exit_code: i32) -> String {
        let pod = pod(json!({"containers": [{"name": "c", "terminationMessagePolicy": policy}]}));
        self.folder.files.termination_message(&pod, "c", 3, exit_code, &self.log_path).await
    }
}

const FALLBACK: &str = "FallbackToLogsOnError";

/// k8s: 2.e.4
#[test]
fn the_log_is_an_empty_file_that_everyone_may_write() {
    let folder = TestFolder::new();
    let path = folder.files.make_termination_log("c", 11).expect("a termination log");
    assert_eq!(path, folder.files.dir().join("containers/c/0000000b"));
    fs::write(&path, "old").expect("a file");
    folder.files.make_termination_log("c", 11).expect("a termination log");
    let metadata = fs::metadata(&path).expect("metadata");
    assert_eq!((metadata.len(), metadata.permissions().mode() & 0o7777), (0, 0o666));
    folder.files.remove_termination_log("c", 11).expect("removed");
    folder.files.remove_termination_log("c", 11).expect("removed twice");
    assert!(!path.exists());
}

/// k8s: 8.e.1
#[tokio::test]
async fn the_last_4096_bytes_are_the_message() {
    let said = [b"lost".as_slice(), &[b'x'; 4095], b"\n"].concat();
    let expected = format!("{}\n", "x".repeat(4095));
    assert_eq!(Case::new(Some(&said), "").message("File", 1).await, expected);
    assert_eq!(Case::new(Some(b"a\xffb"), "").message("File", 0).await, "a\u{fffd}b");
}

/// k8s: 8.e.2
#[tokio::test]
async fn a_failed_container_that_said_nothing_speaks_through_its_log() {
    let log = "2026-01-01T00:00:00.1Z stdout F out\n2026-01-01T00:00:00.2Z stderr P par\n2026-01-01T00:00:00.3Z stderr F tial\n";
    assert_eq!(Case::new(Some(b""), log).message(FALLBACK, 1).await, "out\npartial\n");
    assert_eq!(Case::new(None, log).message(FALLBACK, 137).await, "out\npartial\n");
    assert_eq!(Case::new(Some(b"said"), log).message(FALLBACK, 1).await, "said");
    assert_eq!(Case::new(Some(b""), log).message(FALLBACK, 0).await, "");
    assert_eq!(Case::new(Some(b""), log).message("File", 1).await, "");
}

/// k8s: 8.e.2
#[tokio::test]
async fn no_more_than_80_lines_and_2048_bytes_are_taken_from_the_log() {
    let lines = |count: usize, text: &str| (0..count).map(|index| format!("T stdout F {text}{index:02}\n")).collect::<String>();
    let message = Case::new(None, &lines(100, "")).message(FALLBACK, 1).await;
    assert_eq!((message.lines().count(), message.lines().next()), (80, Some("20")));
    let message = Case::new(None, &lines(80, &"y".repeat(97))).message(FALLBACK, 1).await;
    assert_eq!(message.len(), 2048);
    assert!(message.ends_with("y79\n"));
}

/// k8s: 8.e.4, 8.e.6
#[tokio::test]
async fn a_missing_file_is_no_message_and_a_broken_one_says_so() {
    let case = Case::new(None, "");
    assert_eq!(case.message("File", 1).await, "");
    let path = case.folder.files.termination_log("c", 3);
    std::os::unix::fs::symlink("/etc/passwd", &path).expect("a link");
    let expected = format!("Error on reading termination log {}: Too many levels of symbolic links (os error 40)", path.display());
    assert_eq!(case.message("File", 1).await, expected);
    fs::remove_file(&path).expect("no file");
    fs::remove_file(&case.log_path).expect("no log");
    let expected = "Error on reading termination message from logs: No such file or directory (os error 2)";
    assert_eq!(case.message(FALLBACK, 1).await, expected);
}
