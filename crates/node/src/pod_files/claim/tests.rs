use std::os::unix::fs::symlink;

use super::super::test_folder::skip;
use super::*;

#[test]
fn names_of_claims_name_one_folder() {
    for right in ["data", "data-db-0", "a.b-c.0"] {
        assert!(is_claim_name(right), "{right}");
    }
    let long = "a".repeat(NAME_BYTES_MAX + 1);
    for wrong in ["", ".", "..", "../etc", "a/b", "/etc", "a..b", "-a", "a-", "Data", "a b", &long] {
        assert!(!is_claim_name(wrong), "{wrong}");
    }
}

#[test]
fn the_walk_of_the_group_stays_in_the_folder_and_the_top_comes_last() {
    if !rustix::process::geteuid().is_root() {
        skip("the_walk_of_the_group_stays_in_the_folder_and_the_top_comes_last", "not root");
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let outside = folder.path().join("outside");
    fs::create_dir(&outside).expect("a folder");
    fs::write(outside.join("secret"), "").expect("a file");
    let claim = folder.path().join("claims/ns/data");
    make_claim(&claim, None, ChangePolicy::Always).expect("a claim");
    fs::create_dir(claim.join("deep")).expect("a folder");
    fs::write(claim.join("deep/file"), "").expect("a file");
    symlink(&outside, claim.join("out")).expect("a link");
    symlink(outside.join("secret"), claim.join("deep/out")).expect("a link");
    make_claim(&claim, Some(77), ChangePolicy::OnRootMismatch).expect("given");
    let group = |path: &Path| fs::symlink_metadata(path).expect("there").gid();
    for inside in ["", "deep", "deep/file", "out", "deep/out"] {
        assert_eq!(group(&claim.join(inside)), 77, "{inside}");
    }
    assert_eq!((group(&outside), group(&outside.join("secret"))), (0, 0));
    assert_eq!(fs::metadata(&claim).expect("there").mode() & 0o7777, 0o2777);
    assert_eq!(fs::metadata(claim.join("deep/file")).expect("there").mode() & 0o060, 0o060);
    fs::write(claim.join("new"), "").expect("a file");
    std::os::unix::fs::lchown(claim.join("new"), None, Some(0)).expect("changed");
    make_claim(&claim, Some(77), ChangePolicy::OnRootMismatch).expect("left alone");
    assert_eq!(group(&claim.join("new")), 0);
    make_claim(&claim, Some(77), ChangePolicy::Always).expect("given");
    assert_eq!(group(&claim.join("new")), 77);
}
