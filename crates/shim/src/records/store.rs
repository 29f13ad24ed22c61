//! Records as files: whole or absent, and on the disk when it is said so.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

/// What a record must survive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// The end of any process. What a record of a running process needs: after the machine went down it runs no more.
    Process,
    /// The end of the machine: file and folder are synced.
    Machine,
}

/// Longest record that is read, in bytes; ours stay far below.
const RECORD_BYTES_MAX: u64 = 64 * 1024;

/// A record could not be written; what was there before is untouched.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} the record {path}")]
pub struct WriteRecordError {
    /// The step that failed.
    pub action: &'static str,
    /// The record.
    pub path: PathBuf,
    /// Why.
    pub source: io::Error,
}

/// A record is there but cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ReadRecordError {
    /// The file cannot be read.
    #[error("cannot read the record {path}")]
    Read {
        /// The record.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is no such record.
    #[error("cannot understand the record {path}")]
    Parse {
        /// The record.
        path: PathBuf,
        /// What JSON found wrong.
        source: serde_json::Error,
    },
}

/// Writes `record` as the file `name` in `folder`: aside first, then renamed into place.
///
/// # Errors
/// When a step fails, such as for want of room; nothing is left behind.
pub fn write_record<T: Serialize>(folder: &Path, name: &str, record: &T, durability: Durability) -> Result<(), WriteRecordError> {
    let path = folder.join(name);
    let aside = folder.join(format!(".{name}.new"));
    write_aside(&aside, record, durability)
        .and_then(|()| fs::rename(&aside, &path).map_err(|error| ("rename", error)))
        .and_then(|()| match durability {
            Durability::Process => Ok(()),
            Durability::Machine => File::open(folder).and_then(|folder| folder.sync_all()).map_err(|error| ("sync the folder of", error)),
        })
        .map_err(|(action, source)| {
            let _ = fs::remove_file(&aside);
            WriteRecordError { action, path, source }
        })
}

fn write_aside<T: Serialize>(aside: &Path, record: &T, durability: Durability) -> Result<(), (&'static str, io::Error)> {
    let text = serde_json::to_vec(record).map_err(|error| ("encode", error.into()))?;
    let mut file = File::options().write(true).create(true).truncate(true).mode(0o600).open(aside).map_err(|error| ("create", error))?;
    file.write_all(&text).map_err(|error| ("write", error))?;
    match durability {
        Durability::Process => Ok(()),
        Durability::Machine => file.sync_all().map_err(|error| ("sync", error)),
    }
}

/// Reads the record `name` in `folder`; `None` when there is none.
///
/// # Errors
/// When the file cannot be read or holds something else.
pub fn read_record<T: DeserializeOwned>(folder: &Path, name: &str) -> Result<Option<T>, ReadRecordError> {
    let path = folder.join(name);
    let mut text = Vec::new();
    match File::open(&path).and_then(|file| file.take(RECORD_BYTES_MAX).read_to_end(&mut text)) {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(ReadRecordError::Read { path, source }),
    }
    match serde_json::from_slice(&text) {
        Ok(record) => Ok(Some(record)),
        Err(source) => Err(ReadRecordError::Parse { path, source }),
    }
}

#[cfg(test)]
mod tests {
    use super::{Durability, ReadRecordError, read_record, write_record};

    #[test]
    fn a_record_is_read_as_it_was_written_and_replaced_as_a_whole() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for (text, durability) in [("a longer record", Durability::Machine), ("short", Durability::Process)] {
            write_record(folder.path(), "r.json", &text, durability).expect("the disk has room");
            let read = read_record::<String>(folder.path(), "r.json").expect("readable");
            assert_eq!(read.as_deref(), Some(text));
        }
        assert_eq!(folder.path().read_dir().expect("readable").count(), 1, "something was left beside the record");
    }

    #[test]
    fn a_record_that_was_never_written_is_absent_and_a_foreign_one_is_an_error() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        assert!(read_record::<String>(folder.path(), "r.json").expect("no error").is_none());
        std::fs::write(folder.path().join("r.json"), "{").expect("writable");
        let error = read_record::<String>(folder.path(), "r.json").expect_err("no JSON");
        assert!(matches!(error, ReadRecordError::Parse { .. }), "{error}");
    }

    #[test]
    fn a_record_that_cannot_be_written_leaves_nothing_behind() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        // A folder in the record's place makes the rename fail after the writing.
        std::fs::create_dir_all(folder.path().join("r.json/inside")).expect("writable");
        let error = write_record(folder.path(), "r.json", &"text", Durability::Machine).expect_err("in the way");
        assert_eq!(error.action, "rename");
        assert_eq!(folder.path().read_dir().expect("readable").count(), 1);
    }
}
