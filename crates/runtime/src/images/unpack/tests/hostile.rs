//! Layers that try to get out.

use std::fs;

use super::*;

/// How a hostile layer has to end.
pub(super) enum Outcome {
    /// Refused, with this text in the error.
    Refused(&'static str),
    /// Unpacked, with all of it inside the layer: these paths exist there.
    Contained(&'static [&'static str]),
}
use Outcome::{Contained, Refused};

#[test]
fn no_layer_writes_outside_of_its_directory() {
    if !is_root_or_skip("no_layer_writes_outside_of_its_directory") {
        return;
    }
    for (name, layer, outcome) in hostile_layers() {
        let outside = tempfile::tempdir().expect("a temporary directory");
        fs::write(outside.path().join("victim"), "untouched").expect("a victim");
        let layer = layer(outside.path().to_str().expect("a plain path"));
        let directory = outside.path().join("a/b/c/layer");
        fs::create_dir_all(&directory).expect("a directory");
        let stream = layer.build();
        let unpacked = unpack_layer(stream.as_slice(), &directory, LayerLimits::default(), None);
        match (unpacked, outcome) {
            (Ok(_), Contained(paths)) => {
                for path in paths {
                    let path = path.replace("OUTSIDE", outside.path().to_str().expect("a plain path"));
                    let inside = directory.join(FILES_DIR).join(&path);
                    assert!(inside.symlink_metadata().is_ok(), "{name}: {path} is not in the layer");
                }
                assert_reassembles(&directory, &stream);
            }
            (Err(error), Refused(text)) => assert!(error.to_string().contains(text), "{name}: {error}"),
            (unpacked, _) => panic!("{name}: {unpacked:?}"),
        }
        let mut left: Vec<_> =
            fs::read_dir(outside.path()).expect("a directory").map(|entry| entry.expect("an entry").file_name()).collect();
        left.sort();
        assert_eq!(left, ["a", "victim"], "{name}");
        assert_eq!(fs::read_to_string(outside.path().join("victim")).expect("the victim"), "untouched", "{name}");
    }
}

pub(super) type MakeLayer = Box<dyn Fn(&str) -> LayerBuilder>;

/// Every closure gets the directory that it tries to reach.
pub(super) fn hostile_layers() -> Vec<(&'static str, MakeLayer, Outcome)> {
    let layer = LayerBuilder::new;
    vec![
        ("a name that climbs", Box::new(move |_| layer().file("../../../../victim", "x")), Refused("leads out of the root")),
        ("a name that climbs later", Box::new(move |_| layer().file("a/../../victim", "x")), Refused("leads out of the root")),
        ("an absolute name that climbs", Box::new(move |_| layer().file("/../victim", "x")), Refused("leads out of the root")),
        ("an absolute name", Box::new(move |_| layer().file("/victim", "x")), Contained(&["victim"])),
        (
            "a write through an absolute link",
            Box::new(move |outside| layer().symlink("out", outside).file("out/victim", "x")),
            Contained(&["out", "./OUTSIDE/victim"]),
        ),
        (
            "a write through a climbing link",
            Box::new(move |_| layer().symlink("out", "../../../../..").file("out/victim", "x")),
            Contained(&["out", "victim"]),
        ),
        (
            "a write through a chain of links",
            Box::new(move |outside| layer().symlink("one", outside).symlink("two", "one").file("two/new/victim", "x")),
            Contained(&["./OUTSIDE/new/victim"]),
        ),
        (
            "a write over a link to a file outside",
            Box::new(move |outside| layer().symlink("out", &format!("{outside}/victim")).file("out", "x")),
            Contained(&["out"]),
        ),
        (
            "a directory over a link to a directory outside",
            Box::new(move |outside| layer().symlink("out", outside).dir("out/").file("out/victim", "x")),
            Contained(&["out/victim"]),
        ),
        (
            "a link that replaces a directory in use",
            Box::new(move |outside| layer().dir("d/").file("d/first", "x").symlink("d", outside).file("d/victim", "x")),
            Contained(&["d", "./OUTSIDE/victim"]),
        ),
        (
            "links in a circle",
            Box::new(move |_| layer().symlink("a", "b").symlink("b", "a").file("a/x", "x")),
            Refused("write file \"a/x\""),
        ),
        (
            "a hard link to an absolute path",
            Box::new(move |outside| layer().hard_link("mine", &format!("{outside}/victim"))),
            Refused("has to be a file of the same layer"),
        ),
        (
            "a hard link to a climbing path",
            Box::new(move |_| layer().hard_link("mine", "../../../../victim")),
            Refused("leads out of the root"),
        ),
        (
            "a hard link through a link",
            Box::new(move |outside| layer().symlink("out", outside).hard_link("mine", "out/victim")),
            Refused("has to be a file of the same layer"),
        ),
        (
            "a hard link to a link, then a write",
            Box::new(move |outside| layer().symlink("out", &format!("{outside}/victim")).hard_link("mine", "out").file("mine", "x")),
            Contained(&["mine"]),
        ),
        ("a hard link to a directory", Box::new(move |_| layer().dir("d/").hard_link("mine", "d")), Refused("make hard link \"mine\"")),
        ("a hard link to the root", Box::new(move |_| layer().hard_link("mine", "/")), Refused("refuse hard link \"mine\"")),
        (
            "a file as the root",
            Box::new(move |_| layer().file("./", "").entry(b'0', ".", "", 0o644, b"")),
            Refused("has to be a directory"),
        ),
        ("a link as the root", Box::new(move |outside| layer().symlink("/", outside)), Refused("has to be a directory")),
        ("a whiteout of the parent", Box::new(move |_| layer().file("d/.wh...", "")), Refused("has to name a file of its own directory")),
        ("a whiteout of the directory", Box::new(move |_| layer().file("d/.wh..", "")), Refused("has to name a file of its own directory")),
        ("a whiteout of nothing", Box::new(move |_| layer().file(".wh.", "")), Refused("has to name a file of its own directory")),
        ("a whiteout with files in it", Box::new(move |_| layer().file(".wh.d/x", "")), Refused("a whiteout cannot be a directory")),
        (
            "a whiteout through a link",
            Box::new(move |outside| layer().symlink("out", outside).file("out/.wh.victim", "")),
            Contained(&["./OUTSIDE/victim"]),
        ),
        (
            "an opaque mark through a link",
            Box::new(move |outside| layer().symlink("out", outside).file("out/.wh..wh..opq", "")),
            Contained(&["./OUTSIDE"]),
        ),
        ("a file as parent", Box::new(move |_| layer().file("f", "").file("f/x", "")), Refused("write file \"f/x\"")),
        ("a device as parent", Box::new(move |_| layer().device(b'3', "n", (1, 3)).file("n/x", "")), Refused("write file \"n/x\"")),
        ("a disk of the host", Box::new(move |_| layer().device(b'4', "sda", (8, 0))), Contained(&["sda"])),
        (
            "an attribute that speaks to overlayfs",
            Box::new(move |outside| {
                let redirect = outside.as_bytes().to_vec();
                layer().pax(&[("SCHILY.xattr.trusted.overlay.redirect", redirect.as_slice())]).dir("d/")
            }),
            Contained(&["d"]),
        ),
        (
            "a user id that does not exist",
            Box::new(move |_| layer().pax(&[("uid", b"4294967295".as_slice())]).file("f", "")),
            Refused("write file \"f\""),
        ),
        (
            "a name with a NUL",
            Box::new(move |_| layer().pax(&[("path", b"a\0b".as_slice())]).file("f", "")),
            Refused("a name with a NUL byte"),
        ),
        ("a path that is too deep", Box::new(move |_| layer().file(&"d/".repeat(300), "")), Refused("more than 256 components")),
        ("a name that is too long", Box::new(move |_| layer().file(&"n".repeat(300), "")), Refused("write file")),
        (
            "content that is not there",
            Box::new(move |_| layer().pax(&[("size", b"99999999".as_slice())]).file("f", "short")),
            Refused("ends within the content of a file"),
        ),
        ("an entry of an unknown type", Box::new(move |_| layer().entry(b'M', "f", "", 0o644, b"")), Refused("entry type 'M'")),
    ]
}

#[test]
fn attributes_that_speak_to_overlayfs_or_the_host_are_left_out() {
    if !is_root_or_skip("attributes_that_speak_to_overlayfs_or_the_host_are_left_out") {
        return;
    }
    let layer = LayerBuilder::new()
        .pax(&[
            ("SCHILY.xattr.trusted.overlay.opaque", b"y"),
            ("SCHILY.xattr.trusted.other", b"y"),
            ("SCHILY.xattr.user.overlay.opaque", b"y"),
            ("SCHILY.xattr.security.selinux", b"y"),
        ])
        .dir("d/");
    assert_eq!(files_of(layer), lines(&[("./d", "dir 755 0:0")]));
}
