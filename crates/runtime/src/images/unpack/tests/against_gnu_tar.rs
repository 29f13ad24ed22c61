//! Ordinary trees: whatever GNU tar packs and unpacks, this unpacks alike.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::process::Command;

use proptest::prelude::*;
use rustix::fs::{AtFlags, CWD, FileType, Mode, XattrFlags};

use super::*;

#[derive(Debug, Clone)]
enum Object {
    File { size: usize, mode: u32, hard_links: u8 },
    Directory { mode: u32, children: Vec<(String, Self)> },
    Symlink { target: String },
    Fifo,
    Xattr { value: Vec<u8> },
}

fn object() -> impl Strategy<Value = Object> {
    let leaf = prop_oneof![
        4 => (0usize..3000, 0u32..0o10000, 0u8..3).prop_map(|(size, mode, hard_links)| Object::File { size, mode, hard_links }),
        1 => "[a-z./]{1,150}".prop_map(|target| Object::Symlink { target }),
        1 => Just(Object::Fifo),
        1 => prop::collection::vec(any::<u8>(), 1..50).prop_map(|value| Object::Xattr { value }),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        (0u32..0o10000, prop::collection::vec((name(), inner), 0..6)).prop_map(|(mode, children)| Object::Directory { mode, children })
    })
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z]{1,8}", "[ -.0-~]{1,30}", "[a-zäöü€]{50,80}"]
        .prop_filter("not a special name", |name| !matches!(name.as_str(), "." | "..") && !name.starts_with(".wh."))
}

fn make(path: PathBuf, object: &Object) {
    if path.symlink_metadata().is_ok() {
        return;
    }
    match object {
        Object::File { size, mode, hard_links } => {
            fs::write(&path, vec![b'x'; *size]).expect("a file");
            for number in 0..*hard_links {
                let _ = fs::hard_link(&path, path.with_extension(format!("hard{number}")));
            }
            fs::set_permissions(&path, fs::Permissions::from_mode(*mode)).expect("a mode");
        }
        Object::Directory { mode, children } => {
            fs::create_dir(&path).expect("a directory");
            for (name, child) in children {
                make(path.join(name), child);
            }
            fs::set_permissions(&path, fs::Permissions::from_mode(*mode)).expect("a mode");
        }
        Object::Symlink { target } => symlink(target, &path).expect("a link"),
        Object::Fifo => rustix::fs::mknodat(CWD, &path, FileType::Fifo, Mode::from_raw_mode(0o600), 0).expect("a fifo"),
        Object::Xattr { value } => {
            fs::write(&path, "").expect("a file");
            rustix::fs::setxattr(&path, "user.test", value, XattrFlags::empty()).expect("an attribute");
            rustix::fs::chownat(CWD, &path, Some(rustix::fs::Uid::from_raw(3_000_000)), None, AtFlags::empty()).expect("an owner");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, max_shrink_iters: 200, ..ProptestConfig::default() })]
    #[test]
    fn trees_packed_by_gnu_tar_unpack_as_gnu_tar_does(children in prop::collection::vec((name(), object()), 1..8), posix: bool) {
        if is_root_or_skip("trees_packed_by_gnu_tar_unpack_as_gnu_tar_does") {
            compare(&children, posix);
        }
    }
}

fn compare(children: &[(String, Object)], posix: bool) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (source, by_tar, by_us) = (directory.path().join("source"), directory.path().join("tar"), directory.path().join("us"));
    for path in [&source, &by_tar, &by_us] {
        fs::create_dir(path).expect("a directory");
    }
    for (name, child) in children {
        make(source.join(name), child);
    }
    let format: &[&str] = if posix { &["--format=posix", "--xattrs", "--xattrs-include=*"] } else { &["--format=gnu"] };
    let archive = directory.path().join("archive");
    let packed = Command::new("tar").args(format).arg("-cf").arg(&archive).arg("-C").arg(&source).arg(".").status().expect("tar runs");
    let extract: &[&str] = &["--xattrs", "--xattrs-include=*", "--same-owner", "--numeric-owner", "-p"];
    let unpacked = Command::new("tar").args(extract).arg("-xf").arg(&archive).arg("-C").arg(&by_tar).status().expect("tar runs");
    assert!(packed.success() && unpacked.success(), "tar failed");

    let stream = fs::read(&archive).expect("the archive");
    let layer = unpack_layer(stream.as_slice(), &by_us, LayerLimits::default(), None).expect("a good layer");
    assert_eq!(layer.implied, Vec::<String>::new());
    assert_eq!(describe(&by_us.join(FILES_DIR)), describe(&by_tar));
    assert_reassembles(&by_us, &stream);
}
