use std::io::{Cursor, Write};
use std::process::Command;
use std::sync::Mutex;

use super::*;
use crate::images::testing::archives::docker_archive;
use crate::images::testing::layers::{LayerBuilder, gzip};
use crate::images::testing::trees::describe;
use crate::images::testing::{TestStore, is_root_or_skip, names_in, query, reference};
use crate::images::{Digest, Image, ImageStore, ImportOptions};

fn layers() -> Vec<LayerBuilder> {
    vec![
        LayerBuilder::new().dir("./").file("a", "1").file("b", vec![5; 100_000]).hard_link("c", "b"),
        LayerBuilder::new().dir("./").symlink("d", "a").file("a", "first").file("a", "second").pax(&[("mtime", b"5.25")]).file("e", ""),
    ]
}

fn stream(bytes: Vec<u8>) -> ArchiveInput {
    ArchiveInput::Reader(Box::new(Cursor::new(bytes)))
}

async fn load(store: &ImageStore, input: ArchiveInput) -> Vec<Image> {
    store.load(input, &LoadOptions::default()).await.expect("a good archive")
}

async fn load_error(input: ArchiveInput) -> String {
    let test = TestStore::open().await;
    let error = test.store.load(input, &LoadOptions::default()).await.expect_err("a bad archive");
    assert_eq!((test.names_in("tmp"), test.names_in("leases"), test.names_in("locks")), (vec![], vec![], vec![]));
    let chain = std::iter::successors(Some(&error as &dyn std::error::Error), |error| error.source());
    chain.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

#[tokio::test]
async fn what_is_exported_is_read_back_as_the_same_image() {
    let (one, other) = (TestStore::open().await, TestStore::open().await);
    let image = load(&one.store, stream(docker_archive("app:1", &layers()))).await.remove(0);
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("app.tar");
    one.store.export(&query("app:1"), ExportTarget::Path(path.clone())).await.expect("an export");
    assert_eq!(names_in(directory.path()), ["app.tar"]);

    let loaded = load(&other.store, ArchiveInput::Path(path.clone())).await.remove(0);
    assert_eq!(
        (&loaded.id, &loaded.manifest, &loaded.diff_ids, &loaded.repo_tags),
        (&image.id, &image.manifest, &image.diff_ids, &image.repo_tags)
    );
    for (ours, theirs) in image.lower_dirs().iter().zip(loaded.lower_dirs()) {
        assert_eq!(describe(ours), describe(theirs));
    }
    let again = directory.path().join("again.tar");
    other.store.export(&query("app:1"), ExportTarget::Path(again.clone())).await.expect("an export");
    assert!(std::fs::read(path).expect("a file") == std::fs::read(again).expect("a file"), "an export is always the same");
}

#[tokio::test]
async fn an_image_without_a_name_is_exported_by_its_id() {
    let test = TestStore::open().await;
    let image = load(&test.store, stream(docker_archive("", &layers()))).await.remove(0);
    assert_eq!((image.repo_tags.len(), image.repo_digests.len()), (0, 0));
    let written = Shared::default();
    test.store.export(&image.id.clone().into(), ExportTarget::Writer(Box::new(written.clone()))).await.expect("an export");
    let other = TestStore::open().await;
    let archive = written.0.lock().expect("no panic").clone();
    assert_eq!(load(&other.store, stream(archive)).await.remove(0).id, image.id);
}

/// A writer whose bytes the test can see.
#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("no panic").extend_from_slice(buffer);
        Ok(buffer.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn archives_are_read_from_files_pipes_and_directories_compressed_or_not() {
    let made = TestStore::open().await;
    let image = load(&made.store, stream(docker_archive("app:1", &layers()))).await.remove(0);
    let directory = tempfile::tempdir().expect("a temporary directory");
    let oci = directory.path().join("oci.tar");
    made.store.export(&query("app:1"), ExportTarget::Path(oci.clone())).await.expect("an export");
    let layout = directory.path().join("layout");
    std::fs::create_dir(&layout).expect("a directory");
    let unpacked = Command::new("tar").arg("-xf").arg(&oci).arg("-C").arg(&layout).status().expect("tar runs");
    assert!(unpacked.success(), "GNU tar reads what is exported");
    let bytes = std::fs::read(&oci).expect("a file");
    let zipped = directory.path().join("oci.tar.zst");
    std::fs::write(&zipped, zstd::encode_all(bytes.as_slice(), 1).expect("memory")).expect("a file");
    for input in [
        ArchiveInput::Path(oci),
        ArchiveInput::Path(layout),
        ArchiveInput::Path(zipped),
        stream(bytes.clone()),
        stream(gzip(&bytes)),
        stream(gzip(&docker_archive("app:1", &layers()))),
    ] {
        let what = format!("{input:?}");
        let test = TestStore::open().await;
        let loaded = load(&test.store, input).await.remove(0);
        assert_eq!((&loaded.id, loaded.repo_tags.as_slice()), (&image.id, &["docker.io/library/app:1".to_owned()][..]), "{what}");
        assert_eq!(test.names_in("tmp"), Vec::<String>::new(), "{what}");
    }
}

#[tokio::test]
async fn a_name_may_be_given_and_layers_may_be_links_within_the_archive() {
    let layer = LayerBuilder::new().file("a", "1").build();
    let diff_ids = vec![Digest::sha256_of(&layer); 2];
    let config = crate::images::testing::registry::image_config(&diff_ids, &crate::images::Platform::host()).to_string();
    let manifest = r#"[{"Config": "c.json", "RepoTags": null, "Layers": ["one/layer.tar", "two/layer.tar"]}]"#;
    let archive = LayerBuilder::new()
        .file("one/layer.tar", layer)
        .symlink("two/layer.tar", "../one/layer.tar")
        .file("c.json", config)
        .file("manifest.json", manifest)
        .build();
    let test = TestStore::open().await;
    let options = LoadOptions { name: Some(reference("given:2")) };
    let image = test.store.load(stream(archive), &options).await.expect("a good archive").remove(0);
    assert_eq!((image.repo_tags.as_slice(), image.lower_dirs().len()), (&["docker.io/library/given:2".to_owned()][..], 2));
}

#[tokio::test]
async fn bad_archives_are_refused_with_the_place() {
    let good = docker_archive("app:1", &layers());
    let missing = LayerBuilder::new().file("manifest.json", r#"[{"Config": "c.json", "Layers": []}]"#).build();
    let outside = LayerBuilder::new().file("manifest.json", r#"[{"Config": "../../etc/passwd", "Layers": []}]"#).build();
    let link =
        LayerBuilder::new().symlink("c.json", "/etc/passwd").file("manifest.json", r#"[{"Config": "c.json", "Layers": []}]"#).build();
    let circle = LayerBuilder::new().symlink("manifest.json", "manifest.json").build();
    let name = docker_archive("Bad Name", &layers());
    let blob =
        format!(r#"{{"schemaVersion": 2, "manifests": [{{"mediaType": "x", "digest": "{}", "size": 2}}]}}"#, Digest::sha256_of(b"a"));
    let digest = LayerBuilder::new().file("index.json", blob).file(&format!("blobs/sha256/{}", Digest::sha256_of(b"a").hex()), "b").build();
    for (archive, text) in [
        (LayerBuilder::new().file("etc/passwd", "").build(), "neither index.json (OCI) nor manifest.json (docker save)"),
        (b"no archive at all".to_vec(), "\"-\" is no archive"),
        (good[..good.len() / 2].to_vec(), "\"-\" is no archive"),
        (missing, "read \"c.json\" in the archive: there is no such file"),
        (outside, "read \"../../etc/passwd\" in the archive: there is no such file"),
        (link, "read \"c.json\" in the archive: there is no such file"),
        (circle, "neither index.json"),
        (name, "couldn't parse image name \"Bad Name\""),
        (digest, "in the archive has digest"),
    ] {
        let error = load_error(stream(archive)).await;
        assert!(error.contains(text), "{error}");
    }
    assert!(load_error(ArchiveInput::Path("/nonexistent".into())).await.contains("read the archive \"/nonexistent\""));
}

#[tokio::test]
async fn an_archive_that_is_too_large_to_be_stored_is_refused() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut settings = crate::images::testing::config(directory.path());
    settings.limits.archive_bytes_max = 10_000;
    let store = ImageStore::open(settings).await.expect("a store");
    let error = store.load(stream(docker_archive("app:1", &layers())), &LoadOptions::default()).await.expect_err("a large archive");
    assert_eq!(error.to_string(), "the archive is larger than 10000 bytes");
    assert_eq!(names_in(&directory.path().join("tmp")), Vec::<String>::new());
}

#[tokio::test]
async fn an_export_that_fails_leaves_no_file() {
    let test = TestStore::open().await;
    let image = load(&test.store, stream(docker_archive("app:1", &layers()))).await.remove(0);
    let directory = tempfile::tempdir().expect("a temporary directory");
    let target = || ExportTarget::Path(directory.path().join("app.tar"));
    let missing = test.store.export(&query("nope"), target()).await.expect_err("no image");
    assert_eq!(missing.to_string(), "image docker.io/library/nope:latest is not in the store");
    std::fs::write(image.lower_dirs()[1].join("a"), "x").expect("a write");
    let changed = test.store.export(&query("app:1"), target()).await.expect_err("a changed layer");
    assert!(matches!(changed, ExportImageError::Layer { .. }), "{changed:?}");
    assert_eq!(names_in(directory.path()), Vec::<String>::new());
    let nowhere = test.store.export(&query("app:1"), ExportTarget::Path("/nonexistent/app.tar".into())).await;
    assert!(matches!(nowhere, Err(ExportImageError::Write { .. })), "{nowhere:?}");
}

#[tokio::test]
async fn an_imported_tree_survives_export_and_load_with_all_its_rights() {
    if !is_root_or_skip("an_imported_tree_survives_export_and_load_with_all_its_rights") {
        return;
    }
    let rootfs = LayerBuilder::new()
        .owned_entry(b'5', "./", "", 0o711, (1, 2), b"")
        .owned_entry(b'0', "suid", "", 0o4755, (3, 4), b"x")
        .device(b'3', "null", (1, 3))
        .entry(b'6', "pipe", "", 0o600, b"")
        .pax(&[("SCHILY.xattr.user.note", b"n")])
        .file("noted", "n");
    let (one, other) = (TestStore::open().await, TestStore::open().await);
    let image = one.store.import_rootfs(stream(rootfs.build()), &reference("tree"), &ImportOptions::default()).await.expect("an image");
    let written = Shared::default();
    one.store.export(&query("tree"), ExportTarget::Writer(Box::new(written.clone()))).await.expect("an export");
    let archive = written.0.lock().expect("no panic").clone();
    let loaded = load(&other.store, stream(archive)).await.remove(0);
    assert_eq!((&loaded.id, &loaded.manifest), (&image.id, &image.manifest));
    assert_eq!(describe(&image.lower_dirs()[0]), describe(&loaded.lower_dirs()[0]));
}
