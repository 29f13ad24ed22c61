//! A directory tree as text: everything that a layer can say about it, one line for each object.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use crate::images::digest::Digest;
use crate::images::unpack::escape_path;

/// Describes all that is beneath `root`, the root itself as `.`.
pub(crate) fn describe(root: &Path) -> BTreeMap<String, String> {
    describe_with(root, true)
}

/// The same without times: what a reader of the tree sees of names, contents and rights.
pub(crate) fn describe_without_times(root: &Path) -> BTreeMap<String, String> {
    describe_with(root, false)
}

fn describe_with(root: &Path, with_times: bool) -> BTreeMap<String, String> {
    let mut lines = BTreeMap::new();
    let mut first_of_inode = BTreeMap::new();
    visit(root, ".", with_times, &mut first_of_inode, &mut lines);
    lines
}

fn visit(path: &Path, name: &str, times: bool, first_of_inode: &mut BTreeMap<u64, String>, lines: &mut BTreeMap<String, String>) {
    let stat = fs::symlink_metadata(path).expect("an object of the tree");
    let kind = stat.file_type();
    let what = if kind.is_dir() {
        "dir".to_owned()
    } else if kind.is_symlink() {
        format!("link to {}", fs::read_link(path).expect("a link").display())
    } else if kind.is_char_device() {
        format!("char {:x}", stat.rdev())
    } else if kind.is_block_device() {
        format!("block {:x}", stat.rdev())
    } else if kind.is_fifo() {
        "fifo".to_owned()
    } else {
        let content = fs::read(path).expect("a file");
        let text =
            if content.len() < 40 { String::from_utf8_lossy(&content).into_owned() } else { Digest::sha256_of(&content).to_string() };
        format!("file {text:?}")
    };
    let mut line = format!("{what} {:o} {}:{}", stat.mode() & 0o7777, stat.uid(), stat.gid());
    if times {
        line += &format!(" {}.{:09}", stat.mtime(), stat.mtime_nsec());
    }
    for (xattr, value) in xattrs(path) {
        line += &format!(" {xattr}={value:?}");
    }
    if !kind.is_dir() && stat.nlink() > 1 {
        let first = first_of_inode.entry(stat.ino()).or_insert_with(|| name.to_owned());
        line += &format!(" same as {first}");
    }
    lines.insert(name.to_owned(), line);
    if kind.is_dir() {
        let mut children: Vec<_> = fs::read_dir(path).expect("a directory").map(|child| child.expect("a child").path()).collect();
        children.sort();
        for child in children {
            let child_name = escape_path(child.file_name().expect("a name").as_bytes());
            visit(&child, &format!("{name}/{child_name}"), times, first_of_inode, lines);
        }
    }
}

fn xattrs(path: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut names = vec![0; 4096];
    let len = rustix::fs::llistxattr(path, &mut names).unwrap_or(0);
    names.truncate(len);
    names
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty())
        .map(|name| {
            let mut value = vec![0; 4096];
            let len = rustix::fs::lgetxattr(path, name, &mut value).expect("a value");
            value.truncate(len);
            (String::from_utf8_lossy(name).into_owned(), value)
        })
        .collect()
}
