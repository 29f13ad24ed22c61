use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

use super::*;

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder")
}

fn measured(path: &Path) -> DiskUse {
    let mut meter = DiskMeter::default();
    meter.measure([path.to_owned()]);
    meter.usage(path)
}

fn du(path: &Path, option: &str) -> u64 {
    let output = Command::new("du").args(["-s", "-x", option]).arg(path).output().expect("du runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.split_whitespace().next().and_then(|number| number.parse().ok()).expect("a number")
}

#[test]
fn a_tree_takes_what_du_says() {
    let folder = folder();
    let inside = folder.path().join("a/b/c");
    fs::create_dir_all(&inside).expect("folders");
    for index in 0..2000 {
        fs::write(inside.join(format!("file-{index}")), vec![7; index * 3]).expect("a file");
    }
    fs::write(folder.path().join("large"), vec![7; 3 << 20]).expect("a file");
    fs::hard_link(folder.path().join("large"), inside.join("again")).expect("a link");
    symlink("/usr", inside.join("away")).expect("a link");
    let sparse = fs::File::create(folder.path().join("sparse")).expect("a file");
    sparse.set_len(1 << 30).expect("a hole");
    let found = measured(folder.path());
    assert_eq!(found.bytes, du(folder.path(), "--block-size=1"));
    assert_eq!(found.inodes, du(folder.path(), "--inodes"));
}

#[test]
fn a_large_tree_is_counted_in_pieces_and_what_is_known_meanwhile_is_a_lower_bound() {
    let folder = folder();
    for group in 0..5 {
        let inside = folder.path().join(group.to_string());
        fs::create_dir(&inside).expect("a folder");
        let first = inside.join("0");
        fs::write(&first, "").expect("a file");
        for index in 1..1000 {
            // Names cost nothing, and each is looked at.
            fs::hard_link(&first, inside.join(index.to_string())).expect("a link");
        }
    }
    let mut tree = Tree::default();
    let mut known = Vec::new();
    let mut looked_at = Vec::new();
    while tree.whole.is_none() {
        looked_at.push(tree.go_on(folder.path(), 2000));
        known.push(tree.known().inodes);
    }
    assert_eq!(tree.known().inodes, 1 + 5 + 5);
    assert_eq!(looked_at.len(), 3, "{looked_at:?}");
    assert!(looked_at.iter().all(|entries| *entries < 2000 + 1000), "a piece is a piece: {looked_at:?}");
    assert!(known.is_sorted() && known[0] > 1 && known[0] < 11, "{known:?}");
}

#[test]
fn what_is_gone_or_too_deep_takes_nothing_and_stops_nothing() {
    let folder = folder();
    let mut deep = folder.path().to_owned();
    for _ in 0..DEPTH_MAX + 10 {
        deep.push("d");
    }
    fs::create_dir_all(&deep).expect("folders");
    let found = measured(folder.path());
    assert_eq!(found.inodes, DEPTH_MAX as u64 + 1);
    let gone = measured(&folder.path().join("nothing"));
    assert_eq!(gone, DiskUse::default());
}

#[test]
fn every_tree_has_its_turn_and_what_is_not_asked_for_is_forgotten() {
    let folder = folder();
    let paths: Vec<PathBuf> = (0..3).map(|index| folder.path().join(index.to_string())).collect();
    for path in &paths {
        fs::create_dir(path).expect("a folder");
        fs::write(path.join("file"), vec![7; 1 << 16]).expect("a file");
    }
    let mut meter = DiskMeter::default();
    meter.measure(paths.clone());
    assert!(paths.iter().all(|path| meter.usage(path).bytes >= 1 << 16));
    meter.measure(paths[..1].to_vec());
    assert_eq!(meter.usage(&paths[2]), DiskUse::default());
    fs::remove_file(paths[0].join("file")).expect("it goes");
    meter.measure(paths[..1].to_vec());
    assert!(meter.usage(&paths[0]).bytes < 1 << 16);
}
