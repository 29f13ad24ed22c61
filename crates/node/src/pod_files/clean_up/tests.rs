use std::fs;
use std::os::unix::fs::symlink;

use rustix::mount::MountFlags;

use super::super::test_folder::{TestFolder, may_mount};
use super::*;

#[tokio::test]
async fn everything_of_the_pod_goes() {
    let folder = TestFolder::new();
    let dir = folder.files.dir();
    fs::create_dir_all(dir.join("volumes/a/b")).expect("folders");
    for index in 0..2000 {
        fs::write(dir.join(format!("volumes/a/{index}")), "x").expect("a file");
    }
    fs::write(dir.join("etc-hosts"), "x").expect("a file");
    folder.files.clean_up().await.expect("clean");
    assert!(!dir.exists());
    folder.files.clean_up().await.expect("clean again");
}

#[tokio::test]
async fn what_tells_an_engine_that_the_pod_has_ended_goes_last() {
    let folder = TestFolder::new();
    let dir = folder.files.dir();
    fs::create_dir_all(dir.join("volumes/state.json")).expect("folders");
    for name in ["state.json", "pod.json", "engine.lock", "sandbox.json"] {
        fs::write(dir.join(name), name).expect("a file");
    }
    for _ in 0..2 {
        folder.files.clean_up().await.expect("clean");
        let mut left: Vec<_> = fs::read_dir(dir).expect("a folder").flatten().map(|entry| entry.file_name()).collect();
        left.sort();
        assert_eq!(left, ["engine.lock", "pod.json", "state.json"]);
    }
    remove_pod_folder(dir).expect("removed");
    assert_eq!(fs::read_dir(dir.parent().expect("the pods")).expect("a folder").count(), 0);
}

#[test]
fn a_folder_that_an_engine_had_set_aside_when_it_died_goes() {
    let folder = TestFolder::new();
    fs::write(folder.files.dir().join("pod.json"), "{}").expect("a file");
    let aside = set_aside(folder.files.dir()).expect("set aside").expect("it is there");
    assert!(!folder.files.dir().exists() && is_set_aside(&aside) && aside.join("pod.json").exists(), "{}", aside.display());
    assert!(!is_set_aside(folder.files.dir()));
    remove_pod_folder(&aside).expect("removed");
    assert_eq!(fs::read_dir(aside.parent().expect("the pods")).expect("a folder").count(), 0);
}

#[tokio::test]
async fn a_tree_deeper_than_there_are_open_files_goes() {
    let folder = TestFolder::new();
    let mut below = rustix::fs::open(folder.files.dir(), OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).expect("the folder");
    for _ in 0..3000 {
        rustix::fs::mkdirat(&below, "d", Mode::RWXU).expect("a folder");
        below = rustix::fs::openat(&below, "d", OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).expect("the folder");
    }
    folder.files.clean_up().await.expect("clean");
    assert!(!folder.files.dir().exists());
}

#[tokio::test]
async fn links_are_removed_and_not_followed() {
    let folder = TestFolder::new();
    let precious = folder.outside("precious");
    fs::create_dir_all(precious.join("sub")).expect("folders");
    fs::write(precious.join("sub/file"), "keep").expect("a file");
    symlink(&precious, folder.files.dir().join("link")).expect("a link");
    symlink(precious.join("sub/file"), folder.files.dir().join("file")).expect("a link");
    folder.files.clean_up().await.expect("clean");
    assert!(!folder.files.dir().exists());
    assert_eq!(fs::read_to_string(precious.join("sub/file")).expect("the file"), "keep");
}

#[tokio::test]
async fn what_is_mounted_from_the_node_is_unmounted_and_kept() {
    if !may_mount("what_is_mounted_from_the_node_is_unmounted_and_kept") {
        return;
    }
    let folder = TestFolder::new();
    let precious = folder.outside("precious");
    fs::create_dir_all(&precious).expect("a folder");
    fs::write(precious.join("file"), "keep").expect("a file");
    // A name with a blank, one mount over another, and one inside of it.
    let place = folder.files.dir().join("a place");
    fs::create_dir_all(&place).expect("a folder");
    for _ in 0..3 {
        rustix::mount::mount(&precious, &place, "", MountFlags::BIND, None).expect("a mount");
    }
    fs::create_dir_all(place.join("inner")).expect("a folder");
    rustix::mount::mount("tmpfs", place.join("inner"), "tmpfs", MountFlags::empty(), None).expect("a mount");
    folder.files.clean_up().await.expect("clean");
    assert!(!folder.files.dir().exists());
    assert_eq!(fs::read_to_string(precious.join("file")).expect("the file"), "keep");
}

#[test]
fn a_mount_that_is_still_there_stops_the_removal() {
    if !may_mount("a_mount_that_is_still_there_stops_the_removal") {
        return;
    }
    let folder = TestFolder::new();
    let precious = folder.outside("precious");
    fs::create_dir_all(precious.join("sub")).expect("a folder");
    fs::write(precious.join("file"), "keep").expect("a file");
    let place = folder.files.dir().join("place");
    fs::create_dir_all(&place).expect("a folder");
    rustix::mount::mount(&precious, &place, "", MountFlags::BIND, None).expect("a mount");
    let error = remove_tree(folder.files.dir()).expect_err("an error");
    let CleanUpError::Remove { source, .. } = &error else { panic!("{error:?}") };
    assert_eq!(Errno::from_io_error(source), Some(Errno::XDEV));
    assert_eq!(fs::read_to_string(precious.join("file")).expect("the file"), "keep");
    assert!(precious.join("sub").is_dir());
}

#[test]
fn names_in_the_table_of_mounts_are_unescaped() {
    assert_eq!(unescape(br"/a\040b\134c\011"), b"/a b\\c\t");
    assert_eq!(unescape(br"/a\04"), br"/a\04");
    assert_eq!(unescape(br"/a\999"), br"/a\999");
}
