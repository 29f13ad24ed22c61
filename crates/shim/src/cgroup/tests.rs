//! Names of groups.

use super::*;

#[test]
fn paths_that_could_leave_the_hierarchy_are_refused() {
    for path in ["", "/usher", "a/../b", "..", "./a", "a/b/c/d/e/f/g/h/i", "a\nb"] {
        assert!(CgroupPath::new(path).is_err(), "{path:?}");
    }
    let pod = CgroupPath::new("usher/pod1").expect("valid");
    assert!(pod.join("").is_err() && pod.join("a/b").is_err() && pod.join("..").is_err());
    assert_eq!(pod.join("container").expect("valid").as_path(), Path::new("usher/pod1/container"));
}
