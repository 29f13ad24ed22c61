//! The whole store as a stream of lines, and back.
//!
//! The first line says what it is, then there is one line for each object, and the last has a digest of all before it,
//! so that half a backup is not taken for a whole one.

use std::collections::BTreeMap;
use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};

use super::file::{self, FORMAT_VERSION};
use super::{ObjectKey, OpenError, Revision, Store};
use crate::hex;

const KIND: &str = "usher-backup";

/// The longest line accepted: an object with room for its frame.
const LINE_BYTES_MAX: u64 = 8 * 1024 * 1024;

#[derive(Deserialize, Serialize)]
struct Head {
    kind: String,
    format: u64,
    revision: u64,
    /// Revisions of the last changes.
    last: BTreeMap<String, u64>,
}

#[derive(Deserialize, Serialize)]
struct Line<'a> {
    resource: String,
    namespace: String,
    name: String,
    revision: u64,
    #[serde(borrow)]
    object: &'a RawValue,
}

#[derive(Deserialize, Serialize)]
struct Foot {
    sha256: String,
    objects: usize,
}

/// Why a backup could not be made.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The stream did not take it.
    #[error("cannot write the backup")]
    Write(#[source] std::io::Error),
    /// An object cannot be written as JSON, which the store rules out.
    #[error("cannot write an object into the backup")]
    Object(#[source] serde_json::Error),
}

/// Why a backup could not be restored.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// There is a store already.
    #[error("{} exists already; restore into a folder without a store", .0.display())]
    Exists(PathBuf),
    /// The stream cannot be read.
    #[error("cannot read the backup")]
    Read(#[source] std::io::Error),
    /// It is something else, or of a newer version.
    #[error("this is no backup that can be restored: {0}")]
    Foreign(String),
    /// It is not what was written.
    #[error("the backup is damaged at line {line}: {reason}")]
    Damaged {
        /// From 1.
        line: usize,
        /// What is wrong there.
        reason: String,
    },
    /// The store could not be made.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The store could not be written.
    #[error("cannot write the store: {0}")]
    Write(String),
}

impl Store {
    /// Writes all objects, as they are at one revision. Writers go on meanwhile.
    ///
    /// # Errors
    /// The stream does not take it.
    pub fn backup(&self, mut to: impl Write) -> Result<Revision, BackupError> {
        let (revision, shelves) = {
            let shelves = self.shelves.read().expect("no holder of this lock panics");
            let lists: Vec<_> = shelves.by_resource.keys().map(|name| (name.clone(), shelves.list(name))).collect();
            (shelves.revision, lists)
        };
        let mut digest = Sha256::new();
        let mut line = |value: Vec<u8>| -> Result<(), BackupError> {
            let mut value = value;
            value.push(b'\n');
            digest.update(&value);
            to.write_all(&value).map_err(BackupError::Write)
        };
        let last = shelves.iter().map(|(name, list)| (name.clone(), list.last.0)).collect();
        let head = Head { kind: KIND.to_owned(), format: FORMAT_VERSION, revision: revision.0, last };
        line(serde_json::to_vec(&head).map_err(BackupError::Object)?)?;
        let mut objects = 0;
        for (resource, list) in &shelves {
            for (key, stored) in list.iter(None) {
                let text = std::str::from_utf8(&stored.json).expect("JSON is UTF-8");
                let object: &RawValue = serde_json::from_str(text).map_err(BackupError::Object)?;
                let (namespace, name) = (key.namespace.clone(), key.name.clone());
                let entry = Line { resource: resource.clone(), namespace, name, revision: stored.revision.0, object };
                line(serde_json::to_vec(&entry).map_err(BackupError::Object)?)?;
                objects += 1;
            }
        }
        let foot = Foot { sha256: hex(&digest.finalize()), objects };
        let mut foot = serde_json::to_vec(&foot).map_err(BackupError::Object)?;
        foot.push(b'\n');
        to.write_all(&foot).map_err(BackupError::Write)?;
        to.flush().map_err(BackupError::Write)?;
        Ok(revision)
    }

    /// Makes a store in `file` from a backup. Either all of it is there afterwards, or nothing.
    ///
    /// # Errors
    /// There is a store already, or the backup is not whole.
    pub fn restore(from: impl BufRead, file: &Path) -> Result<Revision, RestoreError> {
        if file.exists() {
            return Err(RestoreError::Exists(file.to_owned()));
        }
        let result = restore(from, file);
        if result.is_err() {
            let _ = std::fs::remove_file(file);
        }
        result
    }
}

/// What a backup holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// How many objects.
    pub objects: usize,
    /// As of which revision.
    pub revision: Revision,
}

/// Reads a backup to its end, to see that it is whole.
///
/// # Errors
/// It is not.
pub fn check(from: impl BufRead) -> Result<Summary, RestoreError> {
    let (head, mut lines) = begin(from)?;
    let objects = lines.read_all(|_, _| Ok(()))?;
    Ok(Summary { objects, revision: Revision(head.revision) })
}

fn restore(from: impl BufRead, file: &Path) -> Result<Revision, RestoreError> {
    let (head, mut lines) = begin(from)?;
    let (database, _) = file::open(file)?;
    let failed = |error: redb::Error| RestoreError::Write(error.to_string());
    let transaction = database.begin_write().map_err(|error| failed(error.into()))?;
    lines.read_all(|key, entry| {
        file::put(&transaction, &entry.resource, key, Revision(entry.revision), Some(entry.object.get().as_bytes())).map_err(failed)
    })?;
    file::set_numbers(&transaction, Revision(head.revision), &head.last).map_err(failed)?;
    transaction.commit().map_err(|error| failed(error.into()))?;
    Ok(Revision(head.revision))
}

fn begin<R: BufRead>(mut from: R) -> Result<(Head, Lines<R>), RestoreError> {
    let head = next_line(&mut from, 0)?.ok_or_else(|| RestoreError::Foreign("it is empty".to_owned()))?;
    let parsed: Head = serde_json::from_slice(&head).map_err(|error| RestoreError::Foreign(error.to_string()))?;
    if parsed.kind != KIND {
        return Err(RestoreError::Foreign(format!("its kind is {:?}, not {KIND:?}", parsed.kind)));
    }
    if parsed.format > FORMAT_VERSION {
        return Err(RestoreError::Foreign(format!("it has format {}, this version knows up to {FORMAT_VERSION}", parsed.format)));
    }
    let mut digest = Sha256::new();
    digest.update(&head);
    Ok((parsed, Lines { from, digest }))
}

/// The lines after the first.
struct Lines<R> {
    from: R,
    digest: Sha256,
}

impl<R: BufRead> Lines<R> {
    /// Hands on every object, and checks that these are all; their number.
    fn read_all(&mut self, mut take: impl FnMut(&ObjectKey, &Line<'_>) -> Result<(), RestoreError>) -> Result<usize, RestoreError> {
        let mut objects = 0;
        let mut number = 0;
        loop {
            number += 1;
            let damaged = |reason: String| RestoreError::Damaged { line: number + 1, reason };
            let line = next_line(&mut self.from, number)?.ok_or_else(|| damaged("it ends here, without its last line".to_owned()))?;
            if let Ok(foot) = serde_json::from_slice::<Foot>(&line) {
                let found = hex(&self.digest.clone().finalize());
                if foot.objects != objects || foot.sha256 != found {
                    return Err(damaged(format!("its digest is {}, but that of the lines before is {found}", foot.sha256)));
                }
                return Ok(objects);
            }
            let entry: Line<'_> = serde_json::from_slice(&line).map_err(|error| damaged(error.to_string()))?;
            let key = ObjectKey::new(entry.namespace.clone(), entry.name.clone());
            take(&key, &entry)?;
            self.digest.update(&line);
            objects += 1;
        }
    }
}

fn next_line(from: &mut impl BufRead, number: usize) -> Result<Option<Vec<u8>>, RestoreError> {
    use std::io::Read as _;
    let mut line = Vec::new();
    let read = from.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line).map_err(RestoreError::Read)?;
    if read == 0 {
        return Ok(None);
    }
    if !line.ends_with(b"\n") {
        return Err(RestoreError::Damaged { line: number + 1, reason: "it ends in the middle of the line".to_owned() });
    }
    Ok(Some(line))
}
