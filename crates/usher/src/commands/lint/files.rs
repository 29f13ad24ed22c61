//! The texts that `usher lint` looks at: files, all manifests under folders, standard input.
//!
//! Folders are gone through in the order of names. Links to folders are not followed, so a walk always ends; what begins
//! with a dot is left out.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use api::source::MANIFEST_BYTES_MAX;

/// The most files of one command line.
const FILES_MAX: usize = 20_000;

/// What manifests in folders end in.
const ENDINGS: &[&str] = &["yaml", "yml", "json"];

/// One text.
#[derive(Debug)]
pub(super) struct Text {
    /// The file, as it is shown.
    pub(super) name: String,
    /// What is in it, or why it cannot be read.
    pub(super) bytes: Result<Vec<u8>, UnreadableFile>,
    /// How it came here.
    pub(super) given: Given,
}

/// How a text came to be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Given {
    /// Somebody named it.
    ByName,
    /// It was in a folder that somebody named.
    ByFolder,
}

/// A file cannot be read.
#[derive(Debug)]
pub(super) struct UnreadableFile {
    name: String,
    source: io::Error,
}

impl std::fmt::Display for UnreadableFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "cannot read {}: {}", self.name, self.source)
    }
}

/// Reads all texts that the command line names.
pub(super) fn read(names: &[PathBuf]) -> anyhow::Result<Vec<Text>> {
    let mut found = Vec::new();
    for name in names {
        if name.is_dir() {
            walk(name, &mut found)?;
        } else {
            found.push((name.clone(), Given::ByName));
        }
        anyhow::ensure!(found.len() <= FILES_MAX, "there are more than {FILES_MAX} files; name some folders alone");
    }
    Ok(found.into_iter().map(|(path, given)| text(&path, given)).collect())
}

fn walk(folder: &Path, found: &mut Vec<(PathBuf, Given)>) -> anyhow::Result<()> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?;
    let mut entries = entries.collect::<io::Result<Vec<_>>>().with_context(|| format!("cannot list {}", folder.display()))?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        if entry.file_name().to_string_lossy().starts_with('.') {
            continue;
        }
        let kind = entry.file_type().with_context(|| format!("cannot look at {}", path.display()))?;
        let is_manifest = path.extension().and_then(|ending| ending.to_str()).is_some_and(|ending| ENDINGS.contains(&ending));
        if kind.is_dir() {
            walk(&path, found)?;
        } else if is_manifest && path.is_file() {
            found.push((path, Given::ByFolder));
        }
        anyhow::ensure!(found.len() <= FILES_MAX, "there are more than {FILES_MAX} manifests in {}", folder.display());
    }
    Ok(())
}

fn text(path: &Path, given: Given) -> Text {
    // One byte more than is allowed is enough to see that it is too much.
    let limit = MANIFEST_BYTES_MAX as u64 + 1;
    let mut bytes = Vec::new();
    let (name, read) = if path == Path::new("-") {
        ("<stdin>".to_owned(), io::stdin().lock().take(limit).read_to_end(&mut bytes))
    } else {
        (path.display().to_string(), fs::File::open(path).and_then(|file| file.take(limit).read_to_end(&mut bytes)))
    };
    let bytes = read.map(|_| bytes).map_err(|source| UnreadableFile { name: name.clone(), source });
    Text { name, bytes, given }
}
