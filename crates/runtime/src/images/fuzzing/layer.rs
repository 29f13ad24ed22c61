//! Any bytes as a layer. They are unpacked in a cell with `chroot`, next to files that nobody may touch.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crate::fuzzing::{CELL, Cell};
use crate::images::unpack::{FILES_DIR, LayerLimits, OPAQUE_XATTR, UnpackedLayer, is_compressed, reassemble_layer, unpack_layer};

/// Where a layer is unpacked, in the cell.
const INTO: &str = "/store/layer";
const BLOCK: usize = 512;
const CHECKSUM: std::ops::Range<usize> = 148..156;
const SIZE: std::ops::Range<usize> = 124..136;
const LIMITS: LayerLimits = LayerLimits { bytes_max: 256 * 1024, entries_max: 300, ratio_max: 200 };

/// A layer as it came. Checksums of tar headers are put right first, or nearly every change would be refused for them alone.
///
/// Nothing outside of the layer's own directory is made, changed, linked to or removed; what is inside keeps the limits and has no
/// attributes that speak to the kernel; and what was taken can be put together again to the byte.
pub fn layer(data: &[u8]) {
    static UNPACKER: OnceLock<Option<std::sync::Mutex<Cell>>> = OnceLock::new();
    let cell = UNPACKER.get_or_init(|| Cell::start(set_up).map(std::sync::Mutex::new));
    if let Some(cell) = cell {
        cell.lock().unwrap_or_else(std::sync::PoisonError::into_inner).work(data);
    }
}

fn set_up() -> impl FnMut(&[u8]) {
    rustix::process::chroot(CELL).expect("root may do that");
    std::env::set_current_dir("/").expect("it is there");
    for folder in ["/etc", "/outside/folder", "/store", "/victim"] {
        fs::create_dir_all(folder).expect("a new file system");
    }
    for file in ["/etc/passwd", "/outside/file", "/outside/folder/file", "/store/file", "/victim/x", "/x"] {
        fs::write(file, "untouched").expect("a new file system");
    }
    std::os::unix::fs::symlink("/outside", "/store/link").expect("a new file system");
    let before = outside();
    move |data| unpack(data, &before)
}

fn unpack(data: &[u8], before: &BTreeMap<PathBuf, Facts>) {
    let into = Path::new(INTO);
    fs::create_dir(into).expect("it was removed");
    let mut stream = data.to_vec();
    if !is_compressed(&stream) {
        put_checksums_right(&mut stream);
    }
    if let Ok(unpacked) = unpack_layer(stream.as_slice(), into, LIMITS, None) {
        let mut again = Vec::new();
        reassemble_layer(into, &unpacked.diff_id, &mut again).expect("what was unpacked can be put together again");
        assert_eq!(again.len() as u64, unpacked.tar_bytes);
        assert!(is_compressed(&stream) || again == stream);
        check_content(into, &unpacked);
    }
    fs::remove_dir_all(into).expect("the layer can be removed");
    assert_eq!(outside(), *before, "something outside of the layer was touched");
}

/// As a reader finds them: from header to header over the content between.
fn put_checksums_right(stream: &mut [u8]) {
    let mut at = 0;
    while let Some(header) = stream.get_mut(at..at + BLOCK) {
        if header.iter().all(|byte| *byte == 0) {
            return;
        }
        header[CHECKSUM].fill(b' ');
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[CHECKSUM].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        let digits: String = header[SIZE].iter().map(|byte| char::from(*byte)).take_while(|digit| ('0'..='7').contains(digit)).collect();
        let size = usize::from_str_radix(&digits, 8).unwrap_or(0);
        at = at.saturating_add(BLOCK).saturating_add(size.min(stream.len()).next_multiple_of(BLOCK));
    }
}

/// What can be seen of a file without opening it; the change time tells of everything that is done to it.
#[derive(Debug, PartialEq, Eq)]
struct Facts {
    inode: u64,
    links: u64,
    mode: u32,
    size: u64,
    changed: (i64, i64),
}

/// Everything in the cell but the layer. The times of the directories that it lies in change with it.
fn outside() -> BTreeMap<PathBuf, Facts> {
    let mut found = BTreeMap::new();
    walk(Path::new("/"), &mut |path| {
        if path == Path::new(INTO) {
            return false;
        }
        let stat = fs::symlink_metadata(path).expect("it was just listed");
        let changed = if INTO.starts_with(&*path.to_string_lossy()) { (0, 0) } else { (stat.ctime(), stat.ctime_nsec()) };
        let links = if INTO.starts_with(&*path.to_string_lossy()) { 0 } else { stat.nlink() };
        let size = if stat.is_dir() { 0 } else { stat.size() };
        found.insert(path.to_owned(), Facts { inode: stat.ino(), links, mode: stat.mode(), size, changed });
        true
    });
    found
}

fn check_content(into: &Path, unpacked: &UnpackedLayer) {
    let mut bytes = 0;
    let mut objects = 0_u64;
    walk(into, &mut |path| {
        let stat = fs::symlink_metadata(path).expect("it was just listed");
        objects += 1;
        bytes += if stat.is_file() && stat.nlink() == 1 { stat.size() } else { 0 };
        for name in attributes(path) {
            let is_known = matches!(name.as_bytes(), b"security.capability" | b"system.posix_acl_access" | b"system.posix_acl_default")
                || name == OPAQUE_XATTR
                || name.as_bytes().starts_with(b"user.") && !name.as_bytes().starts_with(b"user.overlay.");
            assert!(is_known, "{} has {}", path.display(), name.display());
        }
        true
    });
    // The recipe holds what becomes no file, and is compressed.
    assert!(bytes <= 2 * LIMITS.bytes_max, "{bytes} bytes were written");
    let depth_max = 256;
    assert!(objects <= (unpacked.entries + 1) * depth_max, "{objects} objects came of {} entries", unpacked.entries);
    assert!(into.join(FILES_DIR).is_dir());
}

fn attributes(path: &Path) -> Vec<OsString> {
    let mut names = vec![0; 64 * 1024];
    match rustix::fs::llistxattr(path, &mut names) {
        Ok(length) => {
            let names = names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty());
            names.map(|name| std::ffi::OsStr::from_bytes(name).to_owned()).collect()
        }
        Err(_) => Vec::new(),
    }
}

/// Visits a path and what is below it, where the visitor wants that; links are not followed.
fn walk(path: &Path, visit: &mut dyn FnMut(&Path) -> bool) {
    let is_directory = fs::symlink_metadata(path).is_ok_and(|stat| stat.is_dir());
    if !visit(path) || !is_directory {
        return;
    }
    for entry in fs::read_dir(path).expect("root may list it").flatten() {
        walk(&entry.path(), visit);
    }
}

#[cfg(test)]
mod tests {
    use super::layer;
    use crate::fuzzing::replay::replay;
    use crate::images::testing::is_root_or_skip;
    use crate::images::testing::layers::LayerBuilder;
    use crate::images::unpack::fuzz_seeds;

    #[test]
    fn layers_of_the_corpus_touch_nothing_outside_of_their_directory() {
        if !is_root_or_skip("layers_of_the_corpus_touch_nothing_outside_of_their_directory") {
            return;
        }
        let good = LayerBuilder::new().dir("d/").file("d/f", "content").symlink("d/l", "f").hard_link("h", "d/f").file(".wh.gone", "");
        let good = good.file("d/.wh..wh..opq", "").pax(&[("path", b"long/name"), ("SCHILY.xattr.user.note", b"n")]).file("f", "again");
        let mut seeds = vec![("good.tar".to_owned(), good.clone().build()), ("good.tar.gz".to_owned(), good.clone().build_gzip())];
        seeds.push(("good.tar.zst".to_owned(), zstd::encode_all(good.build().as_slice(), 1).expect("compressed")));
        let bomb = LayerBuilder::new().file("zeros", vec![0; 1 << 20]);
        seeds.push(("bomb.tar.zst".to_owned(), zstd::encode_all(bomb.build().as_slice(), 19).expect("compressed")));
        seeds.extend(fuzz_seeds());
        replay("layer", seeds, layer);
    }
}
