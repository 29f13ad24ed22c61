use std::fs;
use std::path::PathBuf;

use super::*;
use crate::images::testing::is_root_or_skip;
use crate::images::testing::layers::LayerBuilder;
use crate::images::testing::overlay::Overlay;
use crate::images::unpack::{FILES_DIR, LayerLimits, unpack_layer};

/// Unpacks layers, bottom first; gives their directories, top first.
fn unpack(layers: Vec<LayerBuilder>) -> (tempfile::TempDir, Vec<PathBuf>) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut paths = Vec::new();
    for (number, layer) in layers.into_iter().enumerate() {
        let path = directory.path().join(number.to_string());
        fs::create_dir(&path).expect("a directory");
        unpack_layer(layer.build().as_slice(), &path, LayerLimits::default(), None).expect("a good layer");
        paths.insert(0, path.join(FILES_DIR));
    }
    (directory, paths)
}

#[test]
fn files_are_read_as_overlayfs_would_show_them() {
    if !is_root_or_skip("files_are_read_as_overlayfs_would_show_them") {
        return;
    }
    let (_directory, layers) = unpack(vec![
        LayerBuilder::new()
            .file("etc/a", "a0")
            .file("etc/b", "b0")
            .file("etc/c", "c0")
            .file("opaque/x", "x0")
            .file("gone/x", "x0")
            .file("dir-to-file/x", "x0")
            .file("file-to-dir", "f0")
            .file("usr/lib/deep", "d0")
            .file("both/lower", "l0"),
        LayerBuilder::new()
            .file("etc/b", "b1")
            .file("etc/.wh.c", "")
            .file("opaque/.wh..wh..opq", "")
            .file("opaque/y", "y1")
            .file(".wh.gone", "")
            .file("dir-to-file", "f1")
            .file("file-to-dir/x", "x1")
            .symlink("lib", "usr/lib")
            .symlink("absolute", "/etc/a")
            .symlink("climbing", "../../../etc/a")
            .symlink("loop", "loop")
            .symlink("dangling", "nowhere"),
        LayerBuilder::new().file("both/upper", "u2").dir("gone/").file("gone/z", "z2"),
    ]);
    let root = LayeredRoot::open(&layers).expect("layers");
    let overlay = Overlay::mount(&layers, None);
    let paths = [
        "etc/a",
        "etc/b",
        "etc/c",
        "opaque/x",
        "opaque/y",
        "gone/x",
        "gone/z",
        "dir-to-file",
        "dir-to-file/x",
        "file-to-dir",
        "file-to-dir/x",
        "lib/deep",
        "usr/lib/deep",
        "both/lower",
        "both/upper",
        "dangling",
        "loop",
        "nothing",
        "etc/../etc/./a",
    ];
    for path in paths {
        let seen = fs::read(overlay.root().join(path)).ok();
        assert_eq!(root.read_file(path, 100).ok().flatten(), seen, "{path}");
    }
    // What leads to the root of the machine in a mere mount leads to the image's root here, as in a container.
    for path in ["absolute", "climbing", "/../../etc/a"] {
        assert_eq!(root.read_file(path, 100).expect("a file").as_deref(), Some(&b"a0"[..]), "{path}");
    }
}

#[test]
fn long_files_and_odd_objects_are_errors() {
    if !is_root_or_skip("long_files_and_odd_objects_are_errors") {
        return;
    }
    let (_directory, layers) = unpack(vec![LayerBuilder::new().file("long", "12345").entry(b'6', "pipe", "", 0o644, b"").dir("dir/")]);
    let root = LayeredRoot::open(&layers).expect("layers");
    for path in ["long", "pipe", "dir"] {
        assert!(root.read_file(path, 4).is_err(), "{path}");
    }
    assert_eq!(root.read_file("long", 5).expect("a file").as_deref(), Some(&b"12345"[..]));
}

#[test]
fn a_file_is_found_behind_links_and_its_real_path_is_told() {
    if !is_root_or_skip("a_file_is_found_behind_links_and_its_real_path_is_told") {
        return;
    }
    let (_directory, layers) = unpack(vec![
        LayerBuilder::new().file("usr/bin/dash", "#!").symlink("bin", "usr/bin").symlink("usr/bin/sh", "dash"),
        LayerBuilder::new().symlink("usr/bin/away", "../../../etc/passwd").file("usr/bin/gone", "x"),
        LayerBuilder::new().file("usr/bin/.wh.gone", ""),
    ]);
    let root = LayeredRoot::open(&layers).expect("the layers open");
    let found = |path: &str| root.find_file(path).expect("the layers are read").map(|(real, _)| String::from_utf8(real).expect("text"));
    assert_eq!(found("/bin/sh").as_deref(), Some("/usr/bin/dash"));
    assert_eq!(found("/usr/bin/dash").as_deref(), Some("/usr/bin/dash"));
    assert_eq!(found("/usr/bin/../bin/sh").as_deref(), Some("/usr/bin/dash"));
    assert_eq!(found("/usr/bin/gone"), None);
    // A link out of the image ends inside of it, where there is nothing.
    assert_eq!(found("/usr/bin/away"), None);
    root.find_file("/usr/bin").expect_err("a folder is no file");
}
