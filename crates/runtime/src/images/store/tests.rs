use std::fs;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use super::*;
use crate::images::testing::layers::LayerBuilder;
use crate::images::testing::overlay::Overlay;
use crate::images::testing::trees::describe_without_times;
use crate::images::testing::{TestStore, config, eventually, is_root_or_skip, names_in, open_store, query};
use crate::images::unpack::FILES_DIR;

mod crash;
mod removal;

fn layer(content: &str) -> LayerBuilder {
    LayerBuilder::new().dir("./").file("content", content)
}

#[tokio::test]
async fn an_image_is_found_by_name_and_by_id() {
    let test = TestStore::open().await;
    let image = test.import("localhost/app:1", layer("a")).await;
    test.import("localhost/app:2", layer("a")).await;
    for text in ["localhost/app:1", "localhost/app:2", &image.id.to_string(), image.id.hex()] {
        let found = test.store.image_status(&query(text)).await.expect("a status").expect("the image");
        assert_eq!((&found.id, found.repo_tags), (&image.id, vec!["localhost/app:1".to_owned(), "localhost/app:2".to_owned()]), "{text}");
    }
    for text in ["localhost/app", "localhost/app:3", &Digest::sha256_of(b"other").to_string()] {
        assert_eq!(test.store.image_status(&query(text)).await.expect("a status"), None, "{text}");
    }
    assert_eq!(test.open_again().await.list().await.expect("a list").len(), 1);
}

#[tokio::test]
async fn a_name_moves_to_the_image_that_took_it() {
    let test = TestStore::open().await;
    let old = test.import("app", layer("old")).await;
    let new = test.import("app", layer("new")).await;
    let found = test.store.image_status(&query("app")).await.expect("a status").expect("the image");
    assert_eq!(found.id, new.id);
    assert_eq!(test.store.image_status(&old.id.into()).await.expect("a status"), None);
}

#[tokio::test]
async fn only_the_owner_gets_to_the_layers() {
    let test = TestStore::open().await;
    let mode = fs::metadata(test.directory.path().join("layers")).expect("a directory").mode();
    assert_eq!(mode & 0o777, 0o700);
}

#[test]
fn the_user_of_an_image_is_told_as_cri_tells_it() {
    for (user, told) in [
        ("", ImageUser::Unset),
        ("0", ImageUser::Uid(0)),
        ("1000:1000", ImageUser::Uid(1000)),
        ("www", ImageUser::Name("www".to_owned())),
        ("www:adm", ImageUser::Name("www".to_owned())),
        (":adm", ImageUser::Unset),
    ] {
        let config = serde_json::json!({
            "architecture": "amd64", "os": "linux", "config": { "User": user }, "rootfs": { "type": "layers", "diff_ids": [] },
        });
        let image = Image {
            id: Digest::sha256_of(b""),
            manifest: Digest::sha256_of(b""),
            repo_tags: vec![],
            repo_digests: vec![],
            size: 0,
            config: serde_json::from_value(config).expect("a configuration"),
            layers: vec![],
            diff_ids: vec![],
        };
        assert_eq!(image.user(), told, "{user}");
    }
}

#[tokio::test]
async fn stores_of_another_layout_and_broken_ones_are_refused_and_left_alone() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let index = directory.path().join(INDEX_FILE);
    for (content, text) in [(r#"{"version": 2, "other": 1}"#, "has layout 2"), ("{", "is broken"), (r#"{"version": 1}"#, "is broken")] {
        fs::write(&index, content).expect("a file");
        let error = ImageStore::open(config(directory.path())).await.expect_err("no store").to_string();
        assert!(error.contains(text), "{error}");
        assert_eq!(fs::read_to_string(&index).expect("the index"), content);
    }
}

#[tokio::test]
async fn a_store_that_somebody_keeps_locked_is_told_as_busy() {
    let test = TestStore::open().await;
    let mut short = config(test.directory.path());
    short.lock_wait = Duration::from_millis(20);
    let store = ImageStore::open(short).await.expect("a store");
    let lock = test.store.lock().expect("the lock");
    let error = store.prune(PruneScope::Unreferenced).await.expect_err("a locked store");
    assert!(error.to_string().contains("busy"), "{error}");
    drop(lock);
    store.prune(PruneScope::Unreferenced).await.expect("a prune");
}

#[tokio::test]
async fn what_a_dead_process_left_is_removed_and_what_a_living_one_makes_is_not() {
    let test = TestStore::open().await;
    let alive = test.store.temp_dir().expect("a directory");
    let dead = test.directory.path().join("tmp/dead");
    fs::create_dir_all(dead.join("layer/fs")).expect("a directory");
    fs::write(test.directory.path().join("tmp/file"), "").expect("a file");
    test.open_again().await;
    assert_eq!(names_in(&test.directory.path().join("tmp")), [alive.path().file_name().expect("a name").to_string_lossy()]);
    let path = alive.path().to_owned();
    drop(alive);
    assert!(!path.exists());
}

#[tokio::test]
async fn a_layer_whose_description_was_cut_short_is_made_anew() {
    let test = TestStore::open().await;
    let image = test.import("app", layer("a")).await;
    let directory = test.store.layer_dir(&image.diff_ids[0]);
    fs::write(directory.join("layer.json"), "").expect("a file");
    assert_eq!(test.store.image_status(&query("app")).await.expect("a status"), None);
    assert_eq!(test.store.list().await.expect("a list"), vec![]);
    test.import("app", layer("a")).await;
    assert!(test.store.image_status(&query("app")).await.expect("a status").is_some());
}

#[tokio::test]
async fn a_broken_configuration_counts_as_missing() {
    let test = TestStore::open().await;
    let image = test.import("app", layer("a")).await;
    fs::write(test.directory.path().join("blobs/sha256").join(image.id.hex()), "{}").expect("a file");
    assert_eq!(test.store.image_status(&query("app")).await.expect("a status"), None);
}

/// Pretends that a layer was never synced.
fn mark_unsynced(store: &ImageStore, diff_id: &Digest) {
    let path = store.layer_dir(diff_id).join("layer.json");
    let mut stored: serde_json::Value = serde_json::from_slice(&fs::read(&path).expect("a file")).expect("JSON");
    stored["is_synced"] = false.into();
    fs::write(path, stored.to_string()).expect("a file");
}

fn is_synced(store: &ImageStore, diff_id: &Digest) -> bool {
    let bytes = fs::read(store.layer_dir(diff_id).join("layer.json")).expect("a file");
    let stored: serde_json::Value = serde_json::from_slice(&bytes).expect("JSON");
    stored["is_synced"].as_bool().expect("a flag")
}

#[tokio::test]
async fn layers_that_were_new_when_the_machine_stopped_are_checked_before_use() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let test = TestStore { store: ImageStore::open_in_boot(config(directory.path()), "one").await.expect("a store"), directory };
    let good = test.import("good", layer("good")).await;
    let bad = test.import("bad", layer("bad")).await;
    for image in [&good, &bad] {
        eventually("the sync of a new layer", || is_synced(&test.store, &image.diff_ids[0])).await;
        mark_unsynced(&test.store, &image.diff_ids[0]);
    }
    // What a file system leaves of a file whose data was not written in time.
    fs::write(test.store.lower_dir(&bad.diff_ids[0]).join("content"), "").expect("a file");
    assert!(test.store.image_status(&query("bad")).await.expect("a status").is_some(), "in the same boot nothing is checked");

    let next = ImageStore::open_in_boot(config(test.directory.path()), "two").await.expect("a store");
    assert_eq!(next.image_status(&query("bad")).await.expect("a status"), None);
    assert!(next.image_status(&query("good")).await.expect("a status").is_some());
    assert!(!next.layer_dir(&bad.diff_ids[0]).exists(), "a broken layer is removed");
    assert!(is_synced(&next, &good.diff_ids[0]), "a layer is checked once");
    assert_eq!(names_in(&test.directory.path().join("tmp")), Vec::<String>::new());
}

#[tokio::test]
async fn stacked_layers_show_what_their_whiteouts_leave() {
    if !is_root_or_skip("stacked_layers_show_what_their_whiteouts_leave") {
        return;
    }
    let layers = [
        LayerBuilder::new().dir("./").dir("a/").file("a/kept", "1").file("a/gone", "1").dir("hidden/").file("hidden/x", "1").file("b", "1"),
        LayerBuilder::new().file("a/.wh.gone", "").file("hidden/.wh..wh..opq", "").file("hidden/y", "2").file(".wh.b", "").file("c", "2"),
    ];
    let test = TestStore::open().await;
    let image = stack(&test, &layers).await;
    let overlay = Overlay::mount(image.lower_dirs(), None);
    let seen = describe_without_times(&overlay.root());
    let names: Vec<&str> = seen.keys().map(String::as_str).collect();
    assert_eq!(names, [".", "./a", "./a/kept", "./c", "./hidden", "./hidden/y"]);
}

/// Makes an image of several layers, bottom first, by way of an archive.
async fn stack(test: &TestStore, layers: &[LayerBuilder]) -> Image {
    let archive = crate::images::testing::archives::docker_archive("stack:1", layers);
    let input = crate::images::ArchiveInput::Reader(Box::new(io::Cursor::new(archive)));
    let images = test.store.load(input, &crate::images::LoadOptions::default()).await.expect("a good archive");
    images.into_iter().next().expect("an image")
}

#[tokio::test]
async fn directories_without_an_entry_keep_the_rights_that_a_lower_layer_gave_them() {
    if !is_root_or_skip("directories_without_an_entry_keep_the_rights_that_a_lower_layer_gave_them") {
        return;
    }
    let layers = [
        LayerBuilder::new()
            .owned_entry(b'5', "./", "", 0o711, (1, 1), b"")
            .owned_entry(b'5', "tmp/", "", 0o1777, (0, 0), b"")
            .owned_entry(b'5', "home/", "", 0o751, (2, 2), b"")
            .owned_entry(b'5', "home/user/", "", 0o700, (1000, 1000), b"")
            .owned_entry(b'5', "replaced/", "", 0o700, (3, 3), b""),
        LayerBuilder::new().file("home/user/first", "1").owned_entry(b'5', "changed/", "", 0o750, (4, 4), b""),
        LayerBuilder::new()
            .file("tmp/new", "2")
            .file("home/user/second", "2")
            .file(".wh.replaced", "")
            .file("replaced/x", "2")
            .file("changed/x", "2")
            .file("fresh/x", "2"),
    ];
    let test = TestStore::open().await;
    let image = stack(&test, &layers).await;
    let overlay = Overlay::mount(image.lower_dirs(), None);
    let seen = describe_without_times(&overlay.root());
    for (path, rights) in [
        (".", "dir 711 1:1"),
        ("./tmp", "dir 1777 0:0"),
        ("./home", "dir 751 2:2"),
        ("./home/user", "dir 700 1000:1000"),
        ("./changed", "dir 750 4:4"),
        ("./replaced", "dir 755 0:0"),
        ("./fresh", "dir 755 0:0"),
    ] {
        assert_eq!(seen.get(path).map(String::as_str), Some(rights), "{path}");
    }
    assert_eq!(fs::read_to_string(overlay.root().join("home/user/first")).expect("a lower file"), "1");
    assert_eq!(fs::read_to_string(overlay.root().join("tmp/new")).expect("an upper file"), "2");
    // The layer itself is kept once for all images and does not change.
    assert_eq!(fs::metadata(test.store.lower_dir(&image.diff_ids[2]).join("tmp")).expect("a directory").mode() & 0o7777, 0o755);
}

#[tokio::test]
async fn an_opaque_root_ends_the_stack() {
    if !is_root_or_skip("an_opaque_root_ends_the_stack") {
        return;
    }
    let test = TestStore::open().await;
    let layers = [
        layer("below"),
        LayerBuilder::new().dir("./").file(".wh..wh..opq", "").file("middle", ""),
        LayerBuilder::new().dir("./").file("top", ""),
    ];
    let image = stack(&test, &layers).await;
    let expected: Vec<_> = image.diff_ids[1..].iter().rev().map(|diff_id| test.store.lower_dir(diff_id)).collect();
    assert_eq!(image.lower_dirs(), expected);
}

#[tokio::test]
async fn an_image_without_layers_still_has_a_directory_to_mount() {
    let test = TestStore::open().await;
    let image = stack(&test, &[]).await;
    assert_eq!(image.lower_dirs().len(), 1);
    assert_eq!(names_in(&image.lower_dirs()[0]), Vec::<String>::new());
}

#[tokio::test]
async fn a_full_disk_is_an_error_that_leaves_nothing() {
    if !is_root_or_skip("a_full_disk_is_an_error_that_leaves_nothing") {
        return;
    }
    let disk = crate::images::testing::TinyDisk::mount("2m");
    let store = open_store(disk.path()).await;
    let large = LayerBuilder::new().file("large", vec![7; 4 * 1024 * 1024]).build();
    let input = crate::images::ArchiveInput::Reader(Box::new(io::Cursor::new(large)));
    let options = crate::images::ImportOptions::default();
    let error = store.import_rootfs(input, &crate::images::testing::reference("a"), &options).await.expect_err("a full disk");
    assert!(format!("{error:?}").contains("NoSpace"), "{error:?}");
    assert_eq!(names_in(&disk.path().join("tmp")), Vec::<String>::new());
    let small = TestStore { store, directory: tempfile::tempdir().expect("a temporary directory") };
    small.import("small", layer("fits")).await;
    assert!(small.store.lower_dir(&Digest::sha256_of(&layer("fits").build())).parent().is_some_and(|path| path.join(FILES_DIR).is_dir()));
}
