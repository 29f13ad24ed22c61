use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use super::super::test_folder::{TestFolder, may_mount};
use super::*;

fn stage(folder: &TestFolder, volume_path: &Path, sub_path: &str) -> Result<PathBuf, SubPathError> {
    folder.files.stage_sub_path(SubPath { volume_path, volume: "v", container: "c", index: 2, sub_path })
}

fn volume(folder: &TestFolder) -> PathBuf {
    let path = folder.outside("volume");
    fs::create_dir_all(path.join("dir")).expect("folders");
    fs::write(path.join("dir/file"), "content").expect("a file");
    path
}

#[test]
fn a_part_of_a_volume_is_mounted_to_a_place_of_its_own() {
    if !may_mount("a_part_of_a_volume_is_mounted_to_a_place_of_its_own") {
        return;
    }
    let folder = TestFolder::new();
    let volume = volume(&folder);
    let place = stage(&folder, &volume, "dir").expect("a place");
    assert_eq!(place, folder.files.dir().join("volume-subpaths/v/c/2"));
    assert_eq!(fs::read_to_string(place.join("file")).expect("the file"), "content");
    // The next instance may want another one: a file in place of a folder.
    let place = stage(&folder, &volume, "dir/file").expect("a place");
    assert_eq!(fs::read_to_string(&place).expect("the file"), "content");
    assert_eq!(fs::metadata(&place).expect("metadata").ino(), fs::metadata(volume.join("dir/file")).expect("metadata").ino());
}

#[test]
fn links_inside_of_the_volume_are_legal() {
    if !may_mount("links_inside_of_the_volume_are_legal") {
        return;
    }
    let folder = TestFolder::new();
    let volume = volume(&folder);
    symlink("dir", volume.join("..data")).expect("a link");
    symlink("..data/file", volume.join("key")).expect("a link");
    let place = stage(&folder, &volume, "key").expect("a place");
    assert_eq!(fs::read_to_string(place).expect("the file"), "content");
}

#[test]
fn no_link_leads_out_of_the_volume() {
    let folder = TestFolder::new();
    let volume = volume(&folder);
    fs::write(folder.outside("secret"), "secret").expect("a file");
    symlink(folder.outside("secret"), volume.join("absolute")).expect("a link");
    symlink("../secret", volume.join("upwards")).expect("a link");
    symlink("..", volume.join("parent")).expect("a link");
    symlink("/proc/self/root", volume.join("magic")).expect("a link");
    let refused = SubPathError::Prepare { mount: "v".into(), container: "c".into() };
    for sub_path in ["absolute", "upwards", "parent/secret", "magic", "magic/etc"] {
        assert_eq!(stage(&folder, &volume, sub_path), Err(refused.clone()), "{sub_path}");
    }
    // Neither is anything made outside.
    assert_eq!(stage(&folder, &volume, "parent/made"), Err(refused.clone()));
    assert!(!folder.outside("made").exists());
    assert_eq!(refused.to_string(), "failed to prepare subPath for volumeMount \"v\" of container \"c\"");
}

#[test]
fn a_path_that_is_not_beneath_is_refused_in_the_words_of_the_reference() {
    let folder = TestFolder::new();
    let volume = volume(&folder);
    let error = |sub_path: &str| stage(&folder, &volume, sub_path).expect_err("an error").to_string();
    assert_eq!(error("/etc"), "error SubPath `/etc` must not be an absolute path");
    assert_eq!(error("dir/../.."), "unable to provision SubPath `dir/../..`: must not contain '..'");
}

#[test]
fn a_part_that_is_missing_is_made_with_the_rights_of_the_volume() {
    if !may_mount("a_part_that_is_missing_is_made_with_the_rights_of_the_volume") {
        return;
    }
    let folder = TestFolder::new();
    let volume = volume(&folder);
    fs::set_permissions(&volume, fs::Permissions::from_mode(0o2777)).expect("rights");
    let place = stage(&folder, &volume, "dir/new/deep").expect("a place");
    assert_eq!(fs::metadata(&place).expect("metadata").permissions().mode() & 0o7777, 0o2777);
    assert!(volume.join("dir/new/deep").is_dir());
}

#[tokio::test]
async fn cleaning_up_unmounts_the_parts_and_keeps_their_content() {
    if !may_mount("cleaning_up_unmounts_the_parts_and_keeps_their_content") {
        return;
    }
    let folder = TestFolder::new();
    let volume = volume(&folder);
    stage(&folder, &volume, "dir").expect("a place");
    folder.files.clean_up().await.expect("clean");
    assert!(!folder.files.dir().exists());
    assert_eq!(fs::read_to_string(volume.join("dir/file")).expect("the file"), "content");
}
