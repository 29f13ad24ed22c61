//! What the store promises to writers and watchers.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::*;

const PODS: &str = "pods";

fn object(name: &str, number: u64) -> Value {
    json!({ "metadata": { "name": name }, "number": number })
}

fn key(name: &str) -> ObjectKey {
    ObjectKey::new("default", name)
}

fn temp() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

fn open(folder: &Path) -> Store {
    Store::open(&folder.join("store.redb")).expect("the store opens")
}

async fn create(store: &Store, name: &str, number: u64) -> Arc<Stored> {
    store.write(PODS, key(name), Write::Create(object(name, number))).await.expect("the object can be created")
}

/// What a watcher that lists and then watches believes to be there.
#[derive(Default)]
struct Mirror {
    objects: BTreeMap<ObjectKey, u64>,
    last: Revision,
}

impl Mirror {
    fn of(listing: &Listing) -> Self {
        let objects = listing.iter(None).map(|(key, stored)| (key.clone(), stored.revision.0)).collect();
        Self { objects, last: listing.revision }
    }

    fn take(&mut self, event: &Event) {
        assert!(event.revision > self.last, "{:?} after {:?}", event.revision, self.last);
        self.last = event.revision;
        match &event.change {
            Change::Added(object) => {
                assert_eq!(object.revision, event.revision);
                assert_eq!(self.objects.insert(event.key.clone(), object.revision.0), None, "added twice");
            }
            Change::Modified { object, previous } => {
                let known = self.objects.insert(event.key.clone(), object.revision.0);
                assert_eq!(known, Some(previous.revision.0), "a change was missed");
            }
            Change::Deleted(object) => {
                assert_eq!(object.value()["metadata"]["resourceVersion"], json!(event.revision.to_string()));
                assert!(self.objects.remove(&event.key).is_some(), "deleted what was not there");
            }
        }
    }
}

/// Each writer changes a few shared objects, taking conflicts as they come. Gives the revisions it was told of.
async fn writer(store: Store, seed: u64, rounds: u64) -> Vec<Revision> {
    let mut random = seed;
    let mut told = Vec::new();
    for round in 0..rounds {
        random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        let name = format!("pod-{}", (random >> 33) % 5);
        let current = store.read(PODS, &key(&name));
        let write = match (&current, (random >> 40) % 4) {
            (None, _) => Write::Create(object(&name, round)),
            (Some(current), 0) => Write::Delete(current.revision),
            (Some(current), _) => Write::Update(current.revision, object(&name, round)),
        };
        match store.write(PODS, key(&name), write).await {
            Ok(stored) => {
                told.push(stored.revision);
                assert!(store.revision() >= stored.revision, "answered before it can be read");
            }
            Err(WriteError::Conflict(found)) => assert_ne!(found, current.map(|current| current.revision)),
            Err(error) => panic!("{error}"),
        }
    }
    told
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_watcher_sees_every_change_once_and_in_order() {
    let folder = temp();
    let store = open(folder.path());
    let mut watchers = Vec::new();
    let mut writers = Vec::new();
    let (done, finished) = tokio::sync::watch::channel(None::<Revision>);
    for seed in 0..8 {
        writers.push(tokio::spawn(writer(store.clone(), seed, 150)));
        for _ in 0..3 {
            // Watchers begin at whatever revision there is when they are first run.
            let (store, mut finished) = (store.clone(), finished.clone());
            watchers.push(tokio::spawn(async move {
                let listing = store.list(PODS);
                let mut mirror = Mirror::of(&listing);
                let mut watch = store.watch(PODS, listing.revision);
                loop {
                    tokio::select! {
                        events = watch.next() => events.expect("not behind").iter().for_each(|event| mirror.take(event)),
                        _ = finished.wait_for(|end| end.is_some_and(|end| mirror.last >= end)) => return mirror,
                    }
                }
            }));
        }
        tokio::task::yield_now().await;
    }
    let mut told = Vec::new();
    for writer in writers {
        told.extend(writer.await.expect("the writer ends"));
    }
    told.sort_unstable();
    let all: Vec<_> = (1..=store.revision().0).map(Revision).collect();
    assert_eq!(told, all, "every revision was told to exactly one writer");
    done.send_replace(Some(store.revision()));
    let end = Mirror::of(&store.list(PODS));
    for watcher in watchers {
        assert_eq!(watcher.await.expect("the watcher ends").objects, end.objects);
    }
}

#[tokio::test]
async fn a_write_needs_the_object_as_expected() {
    let folder = temp();
    let store = open(folder.path());
    let first = create(&store, "a", 1).await;
    let again = store.write(PODS, key("a"), Write::Create(object("a", 2))).await;
    assert!(matches!(again, Err(WriteError::Conflict(Some(found))) if found == first.revision));
    let second = store.write(PODS, key("a"), Write::Update(first.revision, object("a", 3))).await.expect("as expected");
    let late = store.write(PODS, key("a"), Write::Delete(first.revision)).await;
    assert!(matches!(late, Err(WriteError::Conflict(Some(found))) if found == second.revision));
    store.write(PODS, key("a"), Write::Delete(second.revision)).await.expect("as expected");
    let gone = store.write(PODS, key("a"), Write::Update(second.revision, object("a", 4))).await;
    assert!(matches!(gone, Err(WriteError::Conflict(None))));
    assert_eq!(store.revision(), Revision(3), "refused writes take no revision");
}

#[tokio::test]
async fn objects_and_revisions_outlive_the_store() {
    let folder = temp();
    let store = open(folder.path());
    create(&store, "a", 1).await;
    let b = create(&store, "b", 2).await;
    store.write("nodes", ObjectKey::new("", "n"), Write::Create(object("n", 0))).await.expect("created");
    store.write(PODS, key("b"), Write::Delete(b.revision)).await.expect("deleted");
    store.close().await;
    assert!(matches!(store.write(PODS, key("c"), Write::Create(json!({}))).await, Err(WriteError::Closed)));

    let store = open(folder.path());
    assert_eq!(store.revision(), Revision(4));
    let names: Vec<_> = store.list(PODS).iter(None).map(|(key, _)| key.name.clone()).collect();
    assert_eq!(names, ["a"]);
    assert_eq!(store.read(PODS, &key("a")).expect("a").value()["number"], json!(1));
    // Who has seen the last change of pods has missed nothing, whatever happened to others.
    assert!(store.watch(PODS, Revision(4)).ready().expect("nothing missed").is_empty());
    assert_eq!(store.watch(PODS, Revision(3)).ready().err(), Some(Expired(Revision(3))));
    assert!(store.watch("nodes", Revision(3)).ready().expect("nothing missed").is_empty());
    assert_eq!(create(&store, "c", 3).await.revision, Revision(5));
}

#[tokio::test]
async fn a_file_that_is_mostly_empty_gives_its_room_back_and_keeps_what_is_in_it() {
    let folder = temp();
    let size = || std::fs::metadata(folder.path().join("store.redb")).expect("the file is there").len();
    let store = open(folder.path());
    create(&store, "kept", 7).await;
    let text = "x".repeat(1 << 20);
    let large = |number: u64| json!({ "metadata": { "name": format!("large-{number}") }, "text": text });
    let mut made = Vec::new();
    for number in 0..16 {
        made.push(store.write(PODS, key(&format!("large-{number}")), Write::Create(large(number))).await.expect("created"));
    }
    let full = size();
    assert!(full > 16 << 20, "nothing to give back: {full}");
    for (number, large) in made.iter().enumerate() {
        store.write(PODS, key(&format!("large-{number}")), Write::Delete(large.revision)).await.expect("deleted");
    }
    store.close().await;
    let store = open(folder.path());
    assert!(size() < full / 3, "{full} bytes became {}", size());
    assert_eq!(store.read(PODS, &key("kept")).expect("it is kept").value()["number"], json!(7));
    assert_eq!(create(&store, "more", 1).await.revision, Revision(34));
}

#[tokio::test]
async fn a_watcher_that_is_too_far_behind_is_told() {
    let folder = temp();
    let store = open(folder.path());
    let mut behind = store.watch(PODS, Revision(0));
    let mut other = store.watch("nodes", Revision(0));
    let names: Vec<_> = (0..=shelf::CHANGES_KEPT_MAX).map(|number| format!("pod-{number}")).collect();
    futures_util::future::join_all(names.iter().map(|name| create(&store, name, 0))).await;
    assert_eq!(behind.next().await.err(), Some(Expired(Revision(0))));
    assert!(other.ready().expect("nothing happened to nodes").is_empty());
}

#[tokio::test]
async fn a_listing_stays_as_it_was() {
    let folder = temp();
    let store = open(folder.path());
    let a = create(&store, "a", 1).await;
    let listing = store.list(PODS);
    create(&store, "b", 2).await;
    store.write(PODS, key("a"), Write::Delete(a.revision)).await.expect("deleted");
    let names: Vec<_> = listing.iter(None).map(|(key, _)| key.name.as_str()).collect();
    assert_eq!(names, ["a"]);
    assert_eq!(listing.revision, a.revision);
}

#[tokio::test]
async fn listings_go_on_behind_a_key_within_a_namespace() {
    let folder = temp();
    let store = open(folder.path());
    for (namespace, name) in [("a", "x"), ("b", "x"), ("b", "y"), ("c", "x")] {
        let key = ObjectKey::new(namespace, name);
        store.write(PODS, key, Write::Create(object(name, 0))).await.expect("created");
    }
    let listing = store.list(PODS);
    let names = |namespace, after: Option<ObjectKey>| {
        listing.after(namespace, after.as_ref()).map(|(key, _)| format!("{}/{}", key.namespace, key.name)).collect::<Vec<_>>()
    };
    assert_eq!(names(Some("b"), None), ["b/x", "b/y"]);
    assert_eq!(names(Some("b"), Some(ObjectKey::new("b", "x"))), ["b/y"]);
    assert_eq!(names(None, Some(ObjectKey::new("b", "x"))), ["b/y", "c/x"]);
}

#[test]
fn a_file_of_a_newer_version_is_refused() {
    let folder = temp();
    let file = folder.path().join("store.redb");
    {
        let database = redb::Database::create(&file).expect("a database");
        let transaction = database.begin_write().expect("a transaction");
        transaction.open_table(file::NUMBERS).expect("the table").insert("format", 2).expect("written");
        transaction.commit().expect("committed");
    }
    let error = Store::open(&file).expect_err("refused");
    assert!(matches!(error, OpenError::Newer { found: 2, .. }), "{error}");
    assert!(error.to_string().contains("use the version that wrote it"), "{error}");
}

#[tokio::test]
async fn a_backup_gives_back_everything() {
    let folder = temp();
    let store = open(folder.path());
    create(&store, "a", 1).await;
    let b = create(&store, "b", 2).await;
    store.write(PODS, key("b"), Write::Delete(b.revision)).await.expect("deleted");
    let mut backup = Vec::new();
    assert_eq!(store.backup(&mut backup).expect("a backup"), Revision(3));

    let copy = folder.path().join("copy.redb");
    Store::restore(&backup[..], &copy).expect("restored");
    let restored = Store::open(&copy).expect("the copy opens");
    assert_eq!(restored.revision(), Revision(3));
    assert_eq!(restored.read(PODS, &key("a")), store.read(PODS, &key("a")));
    assert!(restored.watch(PODS, Revision(2)).ready().is_err(), "the deletion of b is not kept");
    assert!(matches!(Store::restore(&backup[..], &copy), Err(RestoreError::Exists(_))));

    let other = folder.path().join("other.redb");
    let half = &backup[..backup.len() / 2];
    assert!(matches!(Store::restore(half, &other), Err(RestoreError::Damaged { .. })));
    let changed = String::from_utf8(backup.clone()).expect("text").replace("\"number\":1", "\"number\":7");
    assert!(matches!(Store::restore(changed.as_bytes(), &other), Err(RestoreError::Damaged { .. })));
    assert!(!other.exists(), "nothing is left of what could not be restored");
}

#[tokio::test]
async fn a_full_disk_refuses_writes_and_lets_reads_go_on() {
    let folder = temp();
    let mount = folder.path().join("small");
    std::fs::create_dir(&mount).expect("a folder");
    let Some(_small) = SmallDisk::mount(&mount) else {
        return;
    };
    let store = open(&mount);
    let first = create(&store, "first", 1).await;
    let large = "x".repeat(256 * 1024);
    let mut names = Vec::new();
    let error = loop {
        let name = format!("large-{}", names.len());
        let value = json!({ "metadata": { "name": name }, "text": large });
        match store.write(PODS, key(&name), Write::Create(value)).await {
            Ok(stored) => names.push((name, stored)),
            Err(error) => break error,
        }
        assert!(names.len() < 100, "16 MiB hold no 25 MiB");
    };
    assert!(matches!(error, WriteError::Full), "{error:?}");
    let revision = store.revision();
    assert_eq!(store.read(PODS, &key("first")).as_ref(), Some(&first));
    assert_eq!(store.list(PODS).len(), names.len() + 1);

    // Room again: something else on the disk goes away.
    SmallDisk::grow(&mount);
    let after = create(&store, "after", 2).await;
    assert_eq!(after.revision.0, revision.0 + 1);
    store.close().await;
    let store = open(&mount);
    assert_eq!(store.list(PODS).len(), names.len() + 2, "all that was acknowledged is there");
    store.close().await;
}

/// A file system of 16 MiB, gone when dropped.
struct SmallDisk<'a>(&'a Path);

impl<'a> SmallDisk<'a> {
    fn mount(at: &'a Path) -> Option<Self> {
        let status = Command::new("mount").args(["-t", "tmpfs", "-o", "size=16m", "usher-test"]).arg(at).status();
        if status.is_ok_and(|status| status.success()) {
            return Some(Self(at));
        }
        #[expect(clippy::print_stderr, reason = "tests say why they skip")]
        {
            eprintln!("SKIP a_full_disk_refuses_writes_and_lets_reads_go_on: cannot mount a tmpfs, which needs root");
        }
        None
    }

    fn grow(at: &Path) {
        let status = Command::new("mount").args(["-o", "remount,size=64m"]).arg(at).status().expect("mount runs");
        assert!(status.success());
    }
}

impl Drop for SmallDisk<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0).status();
    }
}

const CHILD: &str = "USHER_TEST_STORE_CHILD";

/// Not a test by itself: the process that the next test kills.
#[tokio::test]
async fn child_that_is_killed() {
    let Some(folder) = std::env::var_os(CHILD) else { return };
    let store = open(Path::new(&folder));
    let count = store.list(PODS).len() as u64;
    for number in count.. {
        create(&store, &format!("pod-{number:06}"), number).await;
        #[expect(clippy::print_stdout, reason = "the parent reads it")]
        {
            println!("acknowledged {number}");
        }
    }
}

#[tokio::test]
async fn nothing_acknowledged_is_lost_when_the_process_is_killed() {
    let folder = temp();
    let mut acknowledged = 0;
    for round in 0..5 {
        let mut child = Command::new(std::env::current_exe().expect("this test"))
            .args(["--exact", "store::tests::child_that_is_killed", "--nocapture"])
            .env(CHILD, folder.path())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the child starts");
        let output = BufReader::new(child.stdout.take().expect("piped"));
        let numbers = output.lines().map_while(Result::ok).filter_map(|line| {
            let (_, number) = line.split_once("acknowledged ")?;
            number.trim().parse::<u64>().ok()
        });
        for number in numbers.take(50 + round * 13) {
            acknowledged = number;
        }
        child.kill().expect("killed");
        child.wait().expect("ended");
    }
    let store = open(folder.path());
    let listing = store.list(PODS);
    let numbers: Vec<_> = listing.iter(None).map(|(_, stored)| stored.value()["number"].as_u64().expect("a number")).collect();
    assert!(numbers.len() as u64 > acknowledged, "{} of {acknowledged}", numbers.len());
    assert_eq!(numbers, (0..numbers.len() as u64).collect::<Vec<_>>(), "no hole");
    assert_eq!(store.revision().0, numbers.len() as u64);
}
