use std::fs;
use std::os::unix::fs::symlink;

use super::*;

const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\n\n# comment\n+nis\nbroken:x:abc:0::/:\nwww:x:33:33:web:/var/www:/bin/false\nshort:x:44:45\n1000:x:7:7::/seven:\n";
const GROUP: &str = "root:x:0:\nwww:x:33:www\nadm:x:4:syslog,www\nlog:x:5: www \nextra:x:33:www\nbroken:x:abc:www\n";

fn image_root(passwd: Option<&str>, group: Option<&str>) -> (tempfile::TempDir, LayeredRoot) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    fs::create_dir(directory.path().join("etc")).expect("a directory");
    for (name, content) in [("passwd", passwd), ("group", group)] {
        if let Some(content) = content {
            fs::write(directory.path().join("etc").join(name), content).expect("a file");
        }
    }
    let root = LayeredRoot::open(&[directory.path()]).expect("a layer");
    (directory, root)
}

fn resolve(user: &str) -> Result<(u32, u32, Vec<u32>, Option<String>), String> {
    let (_directory, root) = image_root(Some(PASSWD), Some(GROUP));
    let resolved = resolve_user(&root, user).map_err(|error| error.to_string())?;
    Ok((resolved.uid, resolved.gid, resolved.additional_gids, resolved.home))
}

#[test]
fn users_are_found_as_containerd_finds_them() {
    let home = |home: &str| Some(home.to_owned());
    for (user, resolved) in [
        ("", (0, 0, vec![0], home("/root"))),
        ("0", (0, 0, vec![0], home("/root"))),
        ("www", (33, 33, vec![33, 4, 5], home("/var/www"))),
        ("33", (33, 33, vec![33, 4, 5], home("/var/www"))),
        ("www:adm", (33, 4, vec![4, 5, 33], home("/var/www"))),
        ("www:99", (33, 99, vec![99, 4, 5, 33], home("/var/www"))),
        ("12345", (12345, 0, vec![0], None)),
        ("12345:adm", (12345, 4, vec![4], None)),
        ("12345:678", (12345, 678, vec![678], None)),
        ("short", (44, 45, vec![45], home(""))),
        ("1000", (1000, 0, vec![0], None)),
    ] {
        assert_eq!(resolve(user), Ok(resolved), "{user}");
    }
}

#[test]
fn missing_and_broken_entries_are_errors_and_never_root() {
    for (user, error) in [
        ("nobody", "no users found: \"nobody\" is not in /etc/passwd of the image"),
        ("broken", "no users found: \"broken\" is not in /etc/passwd of the image"),
        ("-1", "no users found: \"-1\" is not in /etc/passwd of the image"),
        ("4294967296", "no users found: \"4294967296\" is not in /etc/passwd of the image"),
        ("www:wheel", "no groups found: \"wheel\" is not in /etc/group of the image"),
        ("www:broken", "no groups found: \"broken\" is not in /etc/group of the image"),
        ("a:b:c", "invalid USER value \"a:b:c\""),
    ] {
        assert_eq!(resolve(user), Err(error.to_owned()), "{user}");
    }
}

#[test]
fn numbers_need_no_files_but_names_do() {
    let (_directory, root) = image_root(None, None);
    let resolved = resolve_user(&root, "1000:1001").expect("numbers");
    assert_eq!((resolved.uid, resolved.gid, resolved.additional_gids), (1000, 1001, vec![1001]));
    assert!(resolve_user(&root, "root").is_err());
}

#[test]
fn a_link_to_the_hosts_files_leads_into_the_image() {
    let (directory, root) = image_root(None, None);
    symlink("/etc/passwd-of-the-image", directory.path().join("etc/passwd")).expect("a link");
    assert!(resolve_user(&root, "root").is_err());
    fs::write(directory.path().join("etc/passwd-of-the-image"), "root:x:5:5::/:\n").expect("a file");
    assert_eq!(resolve_user(&root, "root").expect("a user").uid, 5);
}

#[test]
fn a_file_that_is_too_long_or_none_is_an_error() {
    let (_directory, root) = image_root(Some(&"x".repeat(5 * 1024 * 1024)), None);
    assert!(matches!(resolve_user(&root, "root"), Err(ResolveUserError::Read { .. })));
    let (directory, root) = image_root(None, None);
    fs::create_dir(directory.path().join("etc/passwd")).expect("a directory");
    assert!(matches!(resolve_user(&root, "root"), Err(ResolveUserError::Read { .. })));
}
