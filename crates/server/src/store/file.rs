//! The file of the store: one `redb` database with two tables.
//!
//! Read whole at the start, and only written afterwards.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bytes::Bytes;
use redb::{Database, DatabaseError, ReadableTable as _, TableDefinition, WriteTransaction};

use super::shelf::{Objects, Shelf, Shelves};
use super::{ObjectKey, Revision, Stored};

/// The version of the layout below. A file with a greater one is refused.
pub const FORMAT_VERSION: u64 = 1;

/// `RESOURCE \0 NAMESPACE \0 NAME` to revision (8 bytes, big endian) and JSON.
pub(super) const OBJECTS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("objects");
/// `format`, `revision`, and `last/RESOURCE`: the revision of the last change of a resource.
pub(super) const NUMBERS: TableDefinition<'_, &str, u64> = TableDefinition::new("numbers");

pub(super) const REVISION: &str = "revision";
const FORMAT: &str = "format";
const LAST: &str = "last/";

/// What redb may cache. The objects are in memory already, so only pages that are being changed matter.
const CACHE_BYTES: usize = 4 * 1024 * 1024;

/// How long a killed engine may hold the lock of the file after its death.
const LOCK_WAIT: Duration = Duration::from_secs(5);
const LOCK_POLL: Duration = Duration::from_millis(20);

/// Files below this size are not worth compacting.
const COMPACT_BYTES_MIN: u64 = 8 * 1024 * 1024;
/// A file this many times larger than what is stored in it is compacted.
const COMPACT_FACTOR: u64 = 4;

/// Why the store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process uses the file.
    #[error("the store {} is in use by another process; stop it first", .0.display())]
    InUse(PathBuf),
    /// A newer version of this program wrote the file.
    #[error("the store {} has format {found}, but this version knows formats up to {FORMAT_VERSION}; use the version that wrote it", file.display())]
    Newer {
        /// The file.
        file: PathBuf,
        /// Its format.
        found: u64,
    },
    /// The file cannot be read.
    #[error("cannot open the store {}: {reason}", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// What the database says.
        reason: String,
    },
    /// The writer could not be started.
    #[error("cannot start the thread that writes the store")]
    Thread(#[source] std::io::Error),
}

/// Opens the file and reads all of it.
pub(super) fn open(file: &Path) -> Result<(Database, Shelves), OpenError> {
    let mut database = open_database(file)?;
    let unreadable = |error: redb::Error| OpenError::Unreadable { file: file.to_owned(), reason: error.to_string() };
    check_format(&database, file)?;
    let shelves = load(&database).map_err(unreadable)?;
    compact(&mut database, file);
    Ok((database, shelves))
}

/// Opens the database without reading it.
pub(super) fn open_database(file: &Path) -> Result<Database, OpenError> {
    let deadline = Instant::now() + LOCK_WAIT;
    loop {
        match Database::builder().set_cache_size(CACHE_BYTES).create(file) {
            Ok(database) => return Ok(database),
            Err(DatabaseError::DatabaseAlreadyOpen) if Instant::now() < deadline => std::thread::sleep(LOCK_POLL),
            Err(DatabaseError::DatabaseAlreadyOpen) => return Err(OpenError::InUse(file.to_owned())),
            Err(error) => return Err(OpenError::Unreadable { file: file.to_owned(), reason: error.to_string() }),
        }
    }
}

fn check_format(database: &Database, file: &Path) -> Result<(), OpenError> {
    let unreadable = |error: redb::Error| OpenError::Unreadable { file: file.to_owned(), reason: error.to_string() };
    let found = format_of(database).map_err(unreadable)?;
    if found > FORMAT_VERSION {
        return Err(OpenError::Newer { file: file.to_owned(), found });
    }
    Ok(())
}

/// The format of the file; a file that has none yet gets the present one.
fn format_of(database: &Database) -> Result<u64, redb::Error> {
    let transaction = database.begin_write()?;
    let found = {
        let mut numbers = transaction.open_table(NUMBERS)?;
        let found = numbers.get(FORMAT)?.map(|number| number.value());
        match found {
            Some(found) => found,
            None => {
                numbers.insert(FORMAT, FORMAT_VERSION)?;
                FORMAT_VERSION
            }
        }
    };
    if found <= FORMAT_VERSION {
        transaction.open_table(OBJECTS)?;
    }
    transaction.commit()?;
    Ok(found)
}

fn load(database: &Database) -> Result<Shelves, redb::Error> {
    // A write transaction that is given up, since it can do all that is needed.
    let transaction = database.begin_write()?;
    let mut revision = Revision(0);
    let mut lasts: BTreeMap<String, Revision> = BTreeMap::new();
    {
        let numbers = transaction.open_table(NUMBERS)?;
        for entry in numbers.iter()? {
            let (name, number) = entry?;
            match name.value() {
                REVISION => revision = Revision(number.value()),
                name => {
                    if let Some(resource) = name.strip_prefix(LAST) {
                        lasts.insert(resource.to_owned(), Revision(number.value()));
                    }
                }
            }
        }
    }
    let mut objects: BTreeMap<String, Objects> = BTreeMap::new();
    {
        let table = transaction.open_table(OBJECTS)?;
        for entry in table.iter()? {
            let (key, value) = entry?;
            let Some((resource, key)) = decode_key(key.value()) else { continue };
            let Some((revision, json)) = value.value().split_first_chunk::<8>() else { continue };
            let revision = Revision(u64::from_be_bytes(*revision));
            let stored = Stored { revision, json: Bytes::copy_from_slice(json) };
            objects.entry(resource).or_default().insert(key, std::sync::Arc::new(stored));
        }
    }
    transaction.abort()?;
    let mut shelves = Shelves { revision, by_resource: BTreeMap::new() };
    for (resource, last) in lasts {
        let objects = objects.remove(&resource).unwrap_or_default();
        shelves.by_resource.insert(resource, Shelf::load(objects, last));
    }
    Ok(shelves)
}

/// Writes one object, or its absence, and the numbers that go with it.
pub(super) fn put(
    transaction: &WriteTransaction,
    resource: &str,
    key: &ObjectKey,
    revision: Revision,
    json: Option<&[u8]>,
) -> Result<(), redb::Error> {
    let mut objects = transaction.open_table(OBJECTS)?;
    let key = encode_key(resource, key);
    match json {
        Some(json) => {
            let mut value = Vec::with_capacity(8 + json.len());
            value.extend_from_slice(&revision.0.to_be_bytes());
            value.extend_from_slice(json);
            objects.insert(key.as_slice(), value.as_slice())?;
        }
        None => {
            objects.remove(key.as_slice())?;
        }
    }
    let mut numbers = transaction.open_table(NUMBERS)?;
    numbers.insert(REVISION, revision.0)?;
    numbers.insert(format!("{LAST}{resource}").as_str(), revision.0)?;
    Ok(())
}

/// Sets the revisions of the store and of its resources.
pub(super) fn set_numbers(transaction: &WriteTransaction, revision: Revision, lasts: &BTreeMap<String, u64>) -> Result<(), redb::Error> {
    let mut numbers = transaction.open_table(NUMBERS)?;
    numbers.insert(REVISION, revision.0)?;
    for (resource, last) in lasts {
        numbers.insert(format!("{LAST}{resource}").as_str(), *last)?;
    }
    Ok(())
}

/// Gives room back to the file system, if that is worth it. Failure changes nothing.
pub(super) fn compact(database: &mut Database, file: &Path) {
    let size = std::fs::metadata(file).map_or(0, |metadata| metadata.len());
    if size < COMPACT_BYTES_MIN {
        return;
    }
    let stored = database.begin_write().ok().and_then(|transaction| {
        let stats = transaction.stats().ok()?;
        transaction.abort().ok()?;
        Some(stats.stored_bytes() + stats.metadata_bytes())
    });
    if stored.is_some_and(|stored| size / COMPACT_FACTOR > stored) {
        match database.compact() {
            Ok(_) => tracing::debug!(file = %file.display(), size, "compacted the store"),
            Err(error) => tracing::warn!(file = %file.display(), %error, "could not compact the store"),
        }
    }
}

fn encode_key(resource: &str, key: &ObjectKey) -> Vec<u8> {
    [resource, &key.namespace, &key.name].join("\0").into_bytes()
}

fn decode_key(bytes: &[u8]) -> Option<(String, ObjectKey)> {
    let mut parts = std::str::from_utf8(bytes).ok()?.split('\0');
    let resource = parts.next()?.to_owned();
    Some((resource, ObjectKey::new(parts.next()?, parts.next()?)))
}
