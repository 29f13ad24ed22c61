//! Other processes that use a store: this test program again, running one of its tests that only acts when asked to.

use std::path::Path;
use std::process::{Child, Command, Stdio};

/// Tells a test that it is the child, and what to do.
const VARIABLE: &str = "USHER_TEST_CHILD";

/// What the child is asked to do: a store's directory and an argument. `None` in the ordinary run of its test.
pub(crate) fn child_task() -> Option<(String, String)> {
    let task = std::env::var(VARIABLE).ok()?;
    let (root, argument) = task.split_once('\n')?;
    Some((root.to_owned(), argument.to_owned()))
}

/// Starts the test `name` (its full path) as a child.
pub(crate) fn spawn_child(name: &str, root: &Path, argument: &str) -> Child {
    Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", name, "--nocapture"])
        .env(VARIABLE, format!("{}\n{argument}", root.display()))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("a child")
}
