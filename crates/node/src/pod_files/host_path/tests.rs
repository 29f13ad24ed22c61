use std::os::unix::net::UnixListener;

use super::*;
use crate::error_chain;

fn check(path: &Path, type_: &str, expected: Result<(), &str>) {
    let source = HostPathVolumeSource { path: path.to_string_lossy().into_owned(), type_: Some(type_.to_owned()) };
    let result = check_host_path(&source).map_err(|error| error_chain(&error));
    let expected = expected.map_err(|text| text.replace("PATH", &path.to_string_lossy()));
    assert_eq!(result, expected, "{type_}");
}

#[test]
fn the_type_of_what_is_there_has_to_fit() {
    let folder = tempfile::tempdir().expect("a folder");
    let (dir, file, socket) = (folder.path().join("dir"), folder.path().join("file"), folder.path().join("socket"));
    fs::create_dir(&dir).expect("a folder");
    fs::write(&file, "").expect("a file");
    let _listener = UnixListener::bind(&socket).expect("a socket");
    let none = folder.path().join("none");
    check(&dir, "Directory", Ok(()));
    check(&dir, "DirectoryOrCreate", Ok(()));
    check(&file, "File", Ok(()));
    check(&file, "FileOrCreate", Ok(()));
    check(&socket, "Socket", Ok(()));
    check(Path::new("/dev/null"), "CharDevice", Ok(()));
    check(&none, "", Ok(()));
    check(&none, "Directory", Err("hostPath type check failed: PATH is not a directory"));
    check(&file, "Directory", Err("hostPath type check failed: PATH is not a directory"));
    check(&file, "DirectoryOrCreate", Err("hostPath type check failed: PATH is not a directory"));
    check(&dir, "File", Err("hostPath type check failed: PATH is not a file"));
    check(&none, "File", Err("hostPath type check failed: PATH is not a file"));
    check(&dir, "FileOrCreate", Err("hostPath type check failed: PATH is not a file"));
    check(&file, "Socket", Err("hostPath type check failed: PATH is not a socket file"));
    check(&file, "CharDevice", Err("hostPath type check failed: PATH is not a character device"));
    check(Path::new("/dev/null"), "BlockDevice", Err("hostPath type check failed: PATH is not a block device"));
    check(&dir, "Nonsense", Err("Nonsense is an invalid volume type"));
    check(&dir.join(".."), "Directory", Err("invalid HostPath `PATH`: must not contain '..'"));
    assert!(!none.exists());
}

#[test]
fn what_is_missing_is_made_where_the_type_says_so() {
    let folder = tempfile::tempdir().expect("a folder");
    let dir = folder.path().join("a/b");
    check(&dir, "DirectoryOrCreate", Ok(()));
    assert!(dir.is_dir());
    let file = folder.path().join("file");
    check(&file, "FileOrCreate", Ok(()));
    assert!(file.is_file());
    // The folder of a file is not made.
    check(&folder.path().join("none/file"), "FileOrCreate", Err("open PATH: No such file or directory (os error 2)"));
}
