//! Runs a fuzz target on everything that is committed for it: seeds, and inputs that once broke something. Part of the tests of
//! each crate that has targets.

use std::fs;
use std::path::{Path, PathBuf};

/// Runs `target` on its inputs, in the order of their names. `UPDATE=1` writes `seeds` first: inputs that are made by hand.
pub(crate) fn replay(target: &str, seeds: impl IntoIterator<Item = (String, Vec<u8>)>, run: impl Fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz");
    let seeds: Vec<_> = seeds.into_iter().collect();
    let corpus = folder.join("corpus").join(target);
    if std::env::var_os("UPDATE").is_some() {
        fs::create_dir_all(&corpus).expect("the corpus is writable");
        for (name, input) in &seeds {
            fs::write(corpus.join(name.replace([' ', '/'], "-")), input).expect("the corpus is writable");
        }
    }
    let mut inputs = files(&corpus);
    assert!(inputs.len() >= seeds.len().max(1), "{} holds fewer inputs than there are seeds: run this with UPDATE=1", corpus.display());
    inputs.extend(files(&folder.join("regressions").join(target)));
    for path in inputs {
        let _told = Told(&path);
        run(&fs::read(&path).expect("an input is readable"));
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    files.sort();
    files
}

/// Names the input on which a target fails.
struct Told<'a>(&'a Path);

impl Drop for Told<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            #[expect(clippy::print_stderr, reason = "a failed test says on which input")]
            {
                eprintln!("failed on {}", self.0.display());
            }
        }
    }
}
