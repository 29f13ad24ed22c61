use std::collections::BTreeMap;
use std::io::Write;

use super::*;
use crate::images::testing::is_root_or_skip;
use crate::images::testing::layers::{LayerBuilder, gzip};
use crate::images::testing::trees::{describe, describe_without_times};

mod against_gnu_tar;
mod hostile;

/// Unpacks a stream into a fresh directory.
fn unpack(stream: &[u8]) -> (tempfile::TempDir, Result<UnpackedLayer, UnpackLayerError>) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let unpacked = unpack_layer(stream, directory.path(), LayerLimits::default(), None);
    (directory, unpacked)
}

/// What the layer holds when unpacked, without the root and without times.
fn files_of(layer: LayerBuilder) -> BTreeMap<String, String> {
    let (directory, unpacked) = unpack(&layer.build());
    unpacked.expect("a good layer");
    let mut files = describe_without_times(&directory.path().join(FILES_DIR));
    files.remove(".");
    files
}

/// Layers that try to get out, for the fuzzer to begin with.
pub(crate) fn fuzz_seeds() -> Vec<(String, Vec<u8>)> {
    let layers = hostile::hostile_layers().into_iter();
    layers.map(|(name, layer, _)| (format!("{name}.tar"), layer("/outside").build())).collect()
}

fn lines(expected: &[(&str, &str)]) -> BTreeMap<String, String> {
    expected.iter().map(|(path, line)| ((*path).to_owned(), (*line).to_owned())).collect()
}

fn assert_reassembles(directory: &Path, stream: &[u8]) {
    let mut copy = Vec::new();
    reassemble_layer(directory, &Digest::sha256_of(stream), &mut copy).expect("the layer can be put together again");
    assert!(copy == stream, "the streams differ");
}

#[test]
fn every_kind_of_object_is_made_with_its_rights() {
    if !is_root_or_skip("every_kind_of_object_is_made_with_its_rights") {
        return;
    }
    let capability = b"\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    let layer = LayerBuilder::new()
        .owned_entry(b'5', "d/", "", 0o1777, (1, 2), b"")
        .owned_entry(b'0', "d/suid", "", 0o6755, (1000, 1000), b"x")
        .pax(&[("SCHILY.xattr.security.capability", capability), ("SCHILY.xattr.user.note", b"n")])
        .file("d/capable", "c")
        .symlink("d/link", "/etc/passwd")
        .hard_link("hard", "d/suid")
        .device(b'3', "null", (1, 3))
        .device(b'4', "disk", (8, 1))
        .entry(b'6', "pipe", "", 0o640, b"");
    assert_eq!(
        files_of(layer),
        lines(&[
            ("./d", "dir 1777 1:2"),
            (
                "./d/capable",
                "file \"c\" 644 0:0 security.capability=[1, 0, 0, 2, 0, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0] user.note=[110]"
            ),
            ("./d/link", "link to /etc/passwd 777 0:0"),
            ("./d/suid", "file \"x\" 6755 1000:1000 same as ./d/suid"),
            ("./disk", "block 801 600 0:0"),
            ("./hard", "file \"x\" 6755 1000:1000 same as ./d/suid"),
            ("./null", "char 103 600 0:0"),
            ("./pipe", "fifo 640 0:0"),
        ])
    );
}

#[test]
fn whiteouts_become_what_overlayfs_understands() {
    if !is_root_or_skip("whiteouts_become_what_overlayfs_understands") {
        return;
    }
    let opaque = "trusted.overlay.opaque=[121]";
    let layer = LayerBuilder::new()
        .file("a/.wh.gone", "")
        .file("no/entry/of/its/own/.wh..wh..opq", "")
        .dir("kept/")
        .file("kept/x", "x")
        .file(".wh.kept", "")
        .file("file", "f")
        .file(".wh.file", "")
        .file(".wh.back", "")
        .dir("back/")
        .file(".wh.deep", "")
        .file("deep/down", "d")
        .file(".wh.again", "")
        .file("again", "a")
        .file(".wh..wh.aufs", "")
        .file(".wh..wh.plnk/1.2", "content of no file");
    assert_eq!(
        files_of(layer),
        lines(&[
            ("./a", "dir 755 0:0"),
            ("./a/gone", "char 0 0 0:0"),
            ("./again", "file \"a\" 644 0:0"),
            ("./back", &format!("dir 755 0:0 {opaque}")),
            ("./deep", &format!("dir 755 0:0 {opaque}")),
            ("./deep/down", "file \"d\" 644 0:0"),
            ("./file", "file \"f\" 644 0:0"),
            ("./kept", &format!("dir 755 0:0 {opaque}")),
            ("./kept/x", "file \"x\" 644 0:0"),
            ("./no", "dir 755 0:0"),
            ("./no/entry", "dir 755 0:0"),
            ("./no/entry/of", "dir 755 0:0"),
            ("./no/entry/of/its", "dir 755 0:0"),
            ("./no/entry/of/its/own", &format!("dir 755 0:0 {opaque}")),
        ])
    );
}

#[test]
fn directories_without_an_entry_and_an_opaque_root_are_reported() {
    let (_directory, unpacked) = unpack(&LayerBuilder::new().file("a/b/c", "").dir("a/").file(".wh..wh..opq", "").build());
    let unpacked = unpacked.expect("a good layer");
    assert_eq!((unpacked.implied, unpacked.root_is_opaque), (vec![String::new(), "a/b".to_owned()], true));

    let (_directory, unpacked) = unpack(&LayerBuilder::new().dir("./").dir("a").file("a/b", "").build());
    let unpacked = unpacked.expect("a good layer");
    assert_eq!((unpacked.implied, unpacked.root_is_opaque), (vec![], false));
}

#[test]
fn all_compressions_give_the_same_layer_whose_digest_covers_every_byte() {
    let mut stream = LayerBuilder::new().file("a", "content").build();
    stream.resize(stream.len() + 9000, 0);
    let zstd = zstd::encode_all(stream.as_slice(), 3).expect("memory");
    let mut skippable_first = vec![0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3];
    skippable_first.extend_from_slice(&zstd);
    let two_members = [gzip(&stream[..700]), gzip(&stream[700..])].concat();
    let two_frames =
        [zstd::encode_all(&stream[..700], 1), zstd::encode_all(&stream[700..], 1)].map(|frame| frame.expect("memory")).concat();
    for compressed in [stream.clone(), gzip(&stream), two_members, zstd, two_frames, skippable_first] {
        let (directory, unpacked) = unpack(&compressed);
        let unpacked = unpacked.expect("a good layer");
        assert_eq!((unpacked.diff_id, unpacked.tar_bytes), (Digest::sha256_of(&stream), stream.len() as u64));
        assert_reassembles(directory.path(), &stream);
    }
}

#[test]
fn a_layer_with_another_diff_id_is_refused() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let stream = LayerBuilder::new().file("a", "b").build();
    let other = Digest::sha256_of(b"other");
    let error = unpack_layer(stream.as_slice(), directory.path(), LayerLimits::default(), Some(&other)).expect_err("the wrong digest");
    assert!(matches!(error, UnpackLayerError::WrongDiffId { .. }), "{error}");
}

#[test]
fn layers_that_repeat_names_keep_the_last_and_can_still_be_put_together() {
    if !is_root_or_skip("layers_that_repeat_names_keep_the_last_and_can_still_be_put_together") {
        return;
    }
    let layer = LayerBuilder::new()
        .file("a", "first")
        .file("a", "second")
        .dir("d/")
        .file("d/x", "in a directory")
        .file("d", "a file over a directory")
        .file("e", "a file")
        .dir("e/")
        .file("e/y", "a directory over a file")
        .symlink("s", "e")
        .file("s", "over a link")
        .hard_link("h", "a")
        .file("h", "over a hard link")
        .file("a", "third");
    let stream = layer.clone().build();
    let (directory, unpacked) = unpack(&stream);
    assert_eq!(unpacked.expect("a good layer").displaced, 6);
    assert_reassembles(directory.path(), &stream);
    assert_eq!(
        files_of(layer),
        lines(&[
            ("./a", "file \"third\" 644 0:0"),
            ("./d", "file \"a file over a directory\" 644 0:0"),
            ("./e", "dir 755 0:0"),
            ("./e/y", "file \"a directory over a file\" 644 0:0"),
            ("./h", "file \"over a hard link\" 644 0:0"),
            ("./s", "file \"over a link\" 644 0:0"),
        ])
    );
}

#[test]
fn a_changed_file_is_found_when_the_layer_is_put_together() {
    let stream = LayerBuilder::new().file("a", "content").build();
    let (directory, unpacked) = unpack(&stream);
    let diff_id = unpacked.expect("a good layer").diff_id;
    std::fs::write(directory.path().join(FILES_DIR).join("a"), "kontent").expect("a write");
    let error = reassemble_layer(directory.path(), &diff_id, &mut Vec::new()).expect_err("a changed layer");
    assert!(matches!(error, ReassembleLayerError::Changed { .. }), "{error}");
    std::fs::write(directory.path().join(FILES_DIR).join("a"), "short").expect("a write");
    let error = reassemble_layer(directory.path(), &diff_id, &mut Vec::new()).expect_err("a changed layer");
    assert!(matches!(error, ReassembleLayerError::File { .. }), "{error}");
}

#[test]
fn names_longer_than_the_kernel_takes_at_once_are_fine() {
    if !is_root_or_skip("names_longer_than_the_kernel_takes_at_once_are_fine") {
        return;
    }
    let part = "p".repeat(200);
    let deep = vec![part.as_str(); 40].join("/");
    let stream = LayerBuilder::new().file(&format!("{deep}/file"), "deep down").build();
    let (directory, unpacked) = unpack(&stream);
    assert_eq!(unpacked.expect("a good layer").implied.len(), 41);
    assert_reassembles(directory.path(), &stream);
}

#[test]
fn an_empty_layer_is_a_layer() {
    for stream in [Vec::new(), vec![0; 1024], vec![0; 10240]] {
        let (directory, unpacked) = unpack(&stream);
        assert_eq!(unpacked.expect("a good layer").entries, 0);
        assert_reassembles(directory.path(), &stream);
    }
}

#[test]
fn limits_stop_a_layer_before_it_fills_the_disk() {
    let zeros = LayerBuilder::new().file("zeros", vec![0; 4 * 1024 * 1024]).build_gzip();
    let many = (0..200).fold(LayerBuilder::new(), |layer, index| layer.file(&format!("f{index}"), "")).build();
    let limits = LayerLimits { bytes_max: 1024 * 1024, entries_max: 100, ratio_max: 100 };
    for (layer, error) in
        [(&zeros, "the layer is larger than 1048576 bytes when decompressed"), (&many, "the layer has more than 100 entries")]
    {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let refused = unpack_layer(layer.as_slice(), directory.path(), limits, None).expect_err("too large");
        assert_eq!(refused.to_string(), error);
    }

    let mut encoder = zstd::Encoder::new(Vec::new(), 1).expect("memory");
    let header = LayerBuilder::new().entry(b'0', "zeros", "", 0o644, b"").build();
    encoder.write_all(&header[..512]).expect("memory");
    let block = vec![0; 1024 * 1024];
    (0..1100).for_each(|_| encoder.write_all(&block).expect("memory"));
    let bomb = encoder.finish().expect("memory");
    let (_directory, refused) = unpack(&bomb);
    let error = refused.expect_err("a bomb").to_string();
    assert_eq!(error, "the layer decompresses to more than 200 times its size, which no honest layer does");
}

#[test]
fn errors_of_the_source_and_of_the_decoder_are_told_apart() {
    let good = LayerBuilder::new().file("a", vec![1; 100_000]).build_gzip();
    let (_directory, cut) = unpack(&good[..good.len() / 2]);
    assert!(matches!(cut, Err(UnpackLayerError::Decompress(_))), "{cut:?}");

    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::from(io::ErrorKind::ConnectionReset))
        }
    }
    let directory = tempfile::tempdir().expect("a temporary directory");
    let broken = unpack_layer(good[..500].chain(Broken), directory.path(), LayerLimits::default(), None);
    assert!(matches!(broken, Err(UnpackLayerError::Read(_))), "{broken:?}");

    let (_directory, xz) = unpack(b"\xfd7zXZ\0\0\0");
    assert_eq!(xz.expect_err("xz").to_string(), "xz compression is not supported: use gzip, zstd or none");
}

#[test]
fn a_full_disk_is_told_as_such() {
    if !is_root_or_skip("a_full_disk_is_told_as_such") {
        return;
    }
    let disk = crate::images::testing::TinyDisk::mount("2m");
    let stream = LayerBuilder::new().file("large", vec![7; 4 * 1024 * 1024]).build();
    let error = unpack_layer(stream.as_slice(), disk.path(), LayerLimits::default(), None).expect_err("a full disk");
    assert!(matches!(error, UnpackLayerError::NoSpace(_)), "{error:?}");
}
