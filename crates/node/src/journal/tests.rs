use std::fs;
use std::io::Write as _;

use lifecycle::{ContainerSpec, ImagePullPolicy, PodSpec, PodStatus, RestartPolicy};
use tempfile::TempDir;
use tokio::sync::mpsc;

use super::*;

fn spec() -> PodSpec {
    let app = ContainerSpec {
        name: "app".to_owned(),
        image: "image".to_owned(),
        image_pull_policy: ImagePullPolicy::Never,
        resources: lifecycle::Resources::default(),
        resize_policy: lifecycle::ResizePolicy::default(),
        volume_images: Vec::new(),
        restart_policy: None,
        restart_policy_rules: Vec::new(),
        post_start: None,
        pre_stop: None,
        startup_probe: None,
        liveness_probe: None,
        readiness_probe: None,
    };
    PodSpec {
        name: "pod".to_owned(),
        namespace: "default".to_owned(),
        uid: "uid".to_owned(),
        generation: 1,
        restart_policy: RestartPolicy::Always,
        termination_grace_period_secs: 30,
        active_deadline_secs: None,
        init_containers: Vec::new(),
        containers: vec![app],
        ephemeral_containers: Vec::new(),
    }
}

fn status() -> PodStatus {
    lifecycle::PodWorker::new(spec(), lifecycle::Timestamp::ZERO).status()
}

fn open(folder: &TempDir, resumed: bool, bytes_max: u64) -> (Journal, PathBuf, mpsc::UnboundedReceiver<Live>) {
    let path = folder.path().join("default_pod_uid.jsonl");
    let (watcher, watched) = mpsc::unbounded_channel();
    let journal = Journal::open(&path, Heading { spec: spec(), resumed }, bytes_max, watcher).expect("the journal is opened");
    (journal, path, watched)
}

fn warn(journal: &mut Journal, message: impl Into<String>) {
    journal.append(Record::Warning { message: message.into() });
    journal.flush();
}

fn messages(journal: &chronicle::Journal) -> Vec<&str> {
    journal
        .entries
        .iter()
        .filter_map(|entry| if let Record::Warning { message } = &entry.record { Some(message.as_str()) } else { None })
        .collect()
}

#[test]
fn what_is_written_is_read_back_and_told_to_the_watcher() {
    let folder = TempDir::new().expect("a folder");
    let (mut journal, path, mut watched) = open(&folder, false, JOURNAL_BYTES_MAX);
    warn(&mut journal, "first");
    warn(&mut journal, "second");
    drop(journal);
    let read = read(&path).expect("the journal is read");
    assert_eq!(messages(&read), ["first", "second"]);
    assert_eq!(read.entries.iter().map(|entry| entry.seq).collect::<Vec<_>>(), [0, 1, 2, 3]);
    let told: Vec<_> = std::iter::from_fn(|| watched.try_recv().ok()).collect();
    let written: Vec<_> = read.entries.into_iter().map(|entry| Live::Entry(Box::new(entry))).collect();
    assert_eq!(told, written);
}

#[test]
fn another_engine_goes_on_with_the_numbers_after_a_line_that_was_cut_short() {
    let folder = TempDir::new().expect("a folder");
    let (mut journal, path, _watched) = open(&folder, false, JOURNAL_BYTES_MAX);
    warn(&mut journal, "before");
    drop(journal);
    let mut file = fs::OpenOptions::new().append(true).open(&path).expect("the file");
    file.write_all(br#"{"seq":3,"at":{"bootNa"#).expect("half a line");
    let (mut journal, path, _watched) = open(&folder, true, JOURNAL_BYTES_MAX);
    warn(&mut journal, "after");
    drop(journal);
    let read = read(&path).expect("the journal is read");
    assert_eq!(messages(&read), ["before", "after"]);
    assert_eq!((read.unreadable_lines, read.lost_entries), (1, 0));
    assert!(read.entries.iter().any(|entry| matches!(entry.record, Record::Opened { resumed: true, .. })));
}

#[test]
fn a_pod_that_warns_without_end_keeps_its_newest_history_within_its_share() {
    let folder = TempDir::new().expect("a folder");
    let share = 64 << 10;
    let (mut journal, path, _watched) = open(&folder, false, share);
    journal.append(Record::Status(status()));
    journal.flush();
    for count in 0..20_000 {
        warn(&mut journal, format!("warning {count}"));
        let bytes = [path.clone(), older(&path)].iter().filter_map(|path| fs::metadata(path).ok()).map(|file| file.len()).sum::<u64>();
        assert!(bytes <= share + 4096, "{bytes} bytes after {count}");
    }
    drop(journal);
    let read = read(&path).expect("the journal is read");
    assert_eq!(messages(&read).last(), Some(&"warning 19999"));
    assert!(messages(&read).len() > 100, "{}", messages(&read).len());
    assert_eq!((read.lost_entries, read.unreadable_lines), (0, 0));
    assert!(read.dropped_entries > 0);
    // What is left can be understood without its beginning.
    let life = chronicle::Life::of(&read).expect("a heading");
    assert!(life.is_cut && life.spec.is_some() && life.status.is_some());
}

#[test]
fn numbers_go_on_when_an_engine_takes_over_right_after_the_files_changed() {
    let folder = TempDir::new().expect("a folder");
    let (mut journal, path, _watched) = open(&folder, false, JOURNAL_BYTES_MAX);
    warn(&mut journal, "before");
    drop(journal);
    fs::rename(&path, older(&path)).expect("the file becomes the older one");
    let (mut journal, path, _watched) = open(&folder, true, JOURNAL_BYTES_MAX);
    warn(&mut journal, "after");
    drop(journal);
    let read = read(&path).expect("the journal is read");
    assert_eq!(read.entries.iter().map(|entry| entry.seq).collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5]);
    assert_eq!(messages(&read), ["before", "after"]);
}

#[test]
fn only_root_may_read_a_journal() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = TempDir::new().expect("a folder");
    let (_journal, path, _watched) = open(&folder, false, JOURNAL_BYTES_MAX);
    assert_eq!(fs::metadata(path).expect("the file").permissions().mode() & 0o777, 0o600);
}

fn old_file(folder: &TempDir, name: &str, bytes: usize, age: Duration) {
    let path = folder.path().join(name);
    fs::write(&path, vec![b'x'; bytes]).expect("a journal");
    let written_at = std::time::UNIX_EPOCH + NOW - age;
    fs::File::options().append(true).open(path).expect("the journal").set_modified(written_at).expect("its time");
}

/// Wall-clock time of these tests.
const NOW: Duration = Duration::from_secs(1_000_000_000);
const DAY: Duration = Duration::from_secs(24 * 3600);

fn left(folder: &TempDir) -> Vec<String> {
    let names =
        fs::read_dir(folder.path()).expect("the folder").map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8"));
    let mut names: Vec<_> = names.collect();
    names.sort();
    names
}

#[test]
fn journals_go_by_age_count_and_size_and_those_of_living_pods_stay() {
    let limits = JournalLimits { bytes_max: 0, count_max: 3, total_bytes_max: 1000, age_max: 10 * DAY };
    let check = |what: &str, limits: JournalLimits, gone: &[&str]| {
        let folder = TempDir::new().expect("a folder");
        for (uid, age) in [("a", 1), ("b", 2), ("c", 3), ("d", 9), ("living", 20)] {
            old_file(&folder, &format!("default_{uid}_{uid}.jsonl"), 200, DAY * age);
        }
        old_file(&folder, "default_b_b.jsonl.1", 200, DAY * 2);
        fs::write(folder.path().join("notes.txt"), "not a journal").expect("a stranger");
        let before = left(&folder);
        let removed = retain(folder.path(), &limits, NOW, |uid| uid == "living").expect("the folder is looked through");
        let after = left(&folder);
        let missing: Vec<_> = before.into_iter().filter(|name| !after.contains(name)).collect();
        assert_eq!(missing, gone, "{what}");
        assert_eq!(removed.count, gone.iter().filter(|name| name.ends_with(".jsonl")).count(), "{what}");
    };
    let wide = JournalLimits { count_max: 100, total_bytes_max: 1 << 20, ..limits };
    check("nothing is over", wide, &[]);
    check("age", JournalLimits { age_max: DAY * 5, ..wide }, &["default_d_d.jsonl"]);
    check("count", JournalLimits { count_max: 2, ..wide }, &["default_c_c.jsonl", "default_d_d.jsonl"]);
    check("size", JournalLimits { total_bytes_max: 800, ..wide }, &["default_d_d.jsonl"]);
    check(
        "size of both files",
        JournalLimits { total_bytes_max: 500, ..wide },
        &["default_b_b.jsonl", "default_b_b.jsonl.1", "default_d_d.jsonl"],
    );
}

#[test]
fn without_a_share_of_the_disk_everything_is_told_and_nothing_is_kept() {
    let folder = TempDir::new().expect("a folder");
    let (mut journal, path, mut watched) = open(&folder, false, 0);
    warn(&mut journal, "told");
    drop(journal);
    let mut told = Vec::new();
    while let Ok(live) = watched.try_recv() {
        let Live::Passing { record, .. } = live else { panic!("an entry: {live:?}") };
        told.push(*record);
    }
    assert!(matches!(told.as_slice(), [Record::Opened { .. }, Record::Spec(_), Record::Warning { .. }]), "{told:?}");
    assert!(!path.exists());
}
